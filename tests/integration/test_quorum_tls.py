"""TLS between servers: keys of both kinds, Apache's servers among ours, who is refused, and the way there without a pause."""
import pathlib
import socket
import ssl
import subprocess

import pytest

import apache
from clients import assert_equal_trees, close, connect, create_at_last, rolling_restarts
from quollens import Ensemble
from quollsrv import QuollServer
from skipping import need_apache, skip_loudly
from zkserver import WAIT_S, eventually

PASSWORD = "between-servers"


class Pki:
    """An authority and the keys that it signed."""

    def __init__(self, where, name):
        self.dir = pathlib.Path(where)
        self.ca, self.ca_key = self.dir / f"{name}.pem", self.dir / f"{name}-key.pem"
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                 "-keyout", self.ca_key, "-out", self.ca)

    @staticmethod
    def run(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    def key(self, name, san="IP:127.0.0.1,DNS:localhost"):
        """(PEM with key and chain, PKCS12 of the same)"""
        key, csr, cert, ext = (self.dir / f"{name}{s}" for s in (".key", ".csr", ".crt", ".ext"))
        ext.write_text(f"subjectAltName={san}\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", csr)
        self.run("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", "2", "-extfile", ext,
                 "-out", cert)
        pem, p12 = self.dir / f"{name}-both.pem", self.dir / f"{name}.p12"
        pem.write_text(key.read_text() + cert.read_text() + self.ca.read_text())
        self.run("pkcs12", "-export", "-inkey", key, "-in", cert, "-certfile", self.ca, "-passout", f"pass:{PASSWORD}", "-out", p12)
        return pem, p12


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"), "right")


@pytest.fixture(scope="module")
def keys(pki):
    return pki.key("member")


@pytest.fixture(scope="module", autouse=True)
def available(build_dir):
    missing = QuollServer.available(build_dir)
    if missing:
        pytest.fail(missing)


def tls_props(pki, keys, p12=False):
    key = ({"ssl.quorum.keyStore.location": keys[1], "ssl.quorum.keyStore.password": PASSWORD} if p12 else
           {"ssl.quorum.keyStore.location": keys[0]})
    return {"sslQuorum": "true", **key, "ssl.quorum.trustStore.location": pki.ca}


def write_through_leader_change(ens):
    zk = connect(ens.hosts)
    zk.create("/before", b"1" * 100000)
    leader = ens.leader()
    leader.kill9()
    create_at_last(zk, "/after", b"2")
    leader.start()
    close(zk)
    assert assert_equal_trees(ens)["/after"][0] == b"2"


def try_one(ens):
    """A client is served."""
    zk = connect(ens.hosts)
    zk.create("/works", b"")
    close(zk)


def start_without(ens, outsider):
    """Starts all, and waits until all but one serve."""
    for s in ens.servers:
        s.start(wait=False)
    for s in ens.servers:
        if s is not outsider:
            s.wait_ready()


def logs_say(servers, told):
    eventually(lambda: any(told in s.log_path.read_text() for s in servers), what=lambda: f"{told}: {[s.log_tail() for s in servers]}")


def end_by_itself(server):
    """The log of a server that refuses its settings."""
    server.start(wait=False)
    assert server.process.wait(WAIT_S) not in (0, None)
    server.process = None
    return server.log_path.read_text()


@pytest.mark.parametrize("p12", (False, True), ids=("pem", "pkcs12"))
def test_ensemble(build_dir, pki, keys, p12):
    with Ensemble(build_dir, "qqq", tls_props(pki, keys, p12)) as ens:
        write_through_leader_change(ens)
        quorum, election = ens.quorum_ports(ens.leader())
        for port in (quorum, election):
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as s:
                context = ssl.create_default_context(cafile=str(pki.ca))
                context.load_cert_chain(str(keys[0]))
                with context.wrap_socket(s, server_hostname="127.0.0.1") as t:
                    assert t.version() == "TLSv1.3"


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("tls1.2", "tls1.3"))
def test_nothing_is_resumed(build_dir, pki, keys, version):
    """Java's TLS 1.2 comes back with whatever ticket it was given, which must not cost it the connection."""
    with Ensemble(build_dir, "qqq", tls_props(pki, keys)) as ens:
        port = ens.quorum_ports(ens.leader())[1]
        context = ssl.create_default_context(cafile=str(pki.ca))
        context.load_cert_chain(str(keys[0]))
        context.minimum_version = context.maximum_version = version
        session = None
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as s:
                with context.wrap_socket(s, server_hostname="127.0.0.1", session=session) as t:
                    assert not t.session_reused
                    session = t.session
                    assert not session.has_ticket


@pytest.mark.parametrize("kinds", ("qqa", "aaq"))
def test_with_apache(build_dir, pki, keys, kinds):
    need_apache()
    if missing := [str(jar) for jar in apache.NETTY if not jar.exists()]:
        skip_loudly(f"no {missing[0]}, without which Apache's server speaks no TLS to others (apt-get install libnetty-java)")
    with Ensemble(build_dir, kinds, tls_props(pki, keys)) as ens:
        write_through_leader_change(ens)


def test_large_snapshot(build_dir, pki, keys):
    """More than any buffer on the way."""
    with Ensemble(build_dir, "qqq", {**tls_props(pki, keys), "forceSnapshotSync": "true"}) as ens:
        zk = connect(ens.hosts)
        zk.ensure_path("/big")
        for n in range(60):
            zk.create(f"/big/{n}", bytes([n]) * 900000)
        behind = ens.followers()[0]
        behind.kill9()
        zk.set("/big/1", b"changed")
        behind.start()
        one = connect(behind.address)
        one.sync("/")
        assert one.get("/big/1")[0] == b"changed" and one.get("/big/59")[0] == bytes([59]) * 900000
        close(one, zk)


def test_strange_authority(build_dir, pki, keys, tmp_path):
    """It does not serve, and says why; the others do."""
    other = Pki(tmp_path, "wrong")
    ens = Ensemble(build_dir, "qqq", tls_props(pki, keys))
    outsider = ens.servers[2]
    outsider.props.update(tls_props(other, other.key("outsider")))
    try:
        start_without(ens, outsider)
        try_one(ens)
        logs_say([outsider], "TLS")
        assert outsider.mode() is None
    finally:
        ens.close()


def test_wrong_name(build_dir, pki, keys):
    """Its certificate is for another host: those that it calls may take it for right, those who call it do not."""
    for check in ("true", "false"):
        ens = Ensemble(build_dir, "qqq", {**tls_props(pki, keys), "ssl.quorum.hostnameVerification": check})
        ens.servers[0].props.update(tls_props(pki, pki.key(f"elsewhere-{check}", "DNS:elsewhere.example")))
        try:
            start_without(ens, ens.servers[0])
            if check == "false":
                ens.servers[0].wait_ready()
            else:
                logs_say(ens.servers[1:], "does not name")
        finally:
            ens.close()


def test_plain_is_refused(build_dir, pki, keys):
    ens = Ensemble(build_dir, "qqq", tls_props(pki, keys))
    plain = ens.servers[2]
    for key in [k for k in plain.props if "ssl" in k]:
        del plain.props[key]
    try:
        start_without(ens, plain)
        try_one(ens)
        assert plain.mode() is None
    finally:
        ens.close()


@pytest.mark.parametrize("props, told", (
    ({"sslQuorum": "true"}, "keyStore.location"),
    ({"sslQuorum": "true", "ssl.quorum.keyStore.location": "/nowhere/key.pem"}, "/nowhere/key.pem"),
    ({"sslQuorum": "true", "ssl.quorum.keyStore.location": "/etc/hostname.jks"}, "keytool"),
    ({"portUnification": "true", "ssl.quorum.keyStore.location": "/etc/passwd", "ssl.quorum.keyStore.type": "PEM"}, "/etc/passwd"),
))
def test_bad_settings(build_dir, props, told):
    ens = Ensemble(build_dir, "qqq", props)
    try:
        assert told in end_by_itself(ens.servers[0])
    finally:
        ens.close()


def test_bad_password_is_not_shown(build_dir, pki, keys):
    props = {**tls_props(pki, keys, True), "ssl.quorum.keyStore.password": "not-the-secret"}
    ens = Ensemble(build_dir, "qqq", props)
    try:
        said = end_by_itself(ens.servers[0])
        assert str(keys[1]) in said and "not-the-secret" not in said
    finally:
        ens.close()


def test_from_plain_to_tls(build_dir, pki, keys):
    """Three rolling restarts: unification on, TLS on, unification off. A client goes on all the time."""
    stages = ({**tls_props(pki, keys), "sslQuorum": "false", "portUnification": "true"},
              {**tls_props(pki, keys), "portUnification": "true"}, {**tls_props(pki, keys), "portUnification": "false"})
    with Ensemble(build_dir, "qqq") as ens:
        rolling_restarts(ens, *(lambda s, props=props: s.props.update(props) for props in stages))
