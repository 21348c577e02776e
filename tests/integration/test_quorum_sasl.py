"""SASL between servers: ours, Apache's among ours, who is refused, and the way there without a pause."""
import re
import threading
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

import apache
from quollens import Ensemble, dump
from quollsrv import QuollServer
from test_quorum_tls import PASSWORD, WAIT_S, Pki, client, tls_props, write_through_leader_change

SECRET = "between servers, \\\"quoted\\\""
MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"
ON = {"quorum.auth.enableSasl": "true", "quorum.auth.learnerRequireSasl": "true", "quorum.auth.serverRequireSasl": "true"}


@pytest.fixture(scope="module", autouse=True)
def available(build_dir):
    missing = QuollServer.available(build_dir)
    if missing:
        pytest.fail(missing)


def jaas(where, name="jaas.conf", user="quorum", learner=SECRET, server=SECRET, module=MODULE):
    path = where / name
    path.write_text(f'// between servers\nQuorumServer {{\n  {module} required\n  user_{user}="{server}";\n}};\n'
                    f'QuorumLearner {{\n  {module} required\n  username="{user}"\n  password="{learner}";\n}};\n')
    return path


def set_jaas(server, path):
    """Ours reads the key, Apache's JVM the property of that name."""
    if not isinstance(server, apache.ApacheServer):
        server.props["java.security.auth.login.config"] = path
    else:
        server.env["JAVA_TOOL_OPTIONS"] = f"-Djava.security.auth.login.config={path}"


def ensemble(build_dir, kinds, path, props=ON):
    ens = Ensemble(build_dir, kinds, props)
    for s in ens.servers:
        set_jaas(s, path)
    return ens


def no_secret(ens):
    for s in ens.servers:
        assert "between servers, " not in s.log_path.read_text()


def authenticated(server, port):
    return re.search(rf"{port} port: authenticated as quorum", server.log_path.read_text())


def authenticated_by_apache(server):
    """Somebody, on the election port."""
    return re.search(r"QuorumConnectionThread.*Successfully completed the authentication using SASL. learner addr", server.log_path.read_text())


def until(ens, what):
    end = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < end, ens.logs()
        time.sleep(0.02)


@pytest.mark.parametrize("kinds", ("qqq", "qqa", "aaq", "qqqQ", "qaqQ"))
def test_ensemble(build_dir, tmp_path, kinds):
    if "a" in kinds and (missing := apache.available()):
        pytest.skip(missing)
    with ensemble(build_dir, kinds, jaas(tmp_path)) as ens:
        write_through_leader_change(ens)
        no_secret(ens)
        ours = [s for s in ens.servers if not isinstance(s, apache.ApacheServer)]
        assert any(authenticated(s, "election") for s in ours) or any(authenticated_by_apache(s) for s in ens.servers), ens.logs()
        if kinds != "aaq":  # there ours has the highest id, and connects to the others, which then say it
            assert any(authenticated(s, "election") for s in ours), ens.logs()
        if kinds == "qqq":
            assert any(authenticated(s, "quorum") for s in ours), ens.logs()


def test_with_tls(build_dir, tmp_path):
    pki = Pki(tmp_path, "right")
    with ensemble(build_dir, "qqq", jaas(tmp_path), {**ON, **tls_props(pki, pki.key("member"))}) as ens:
        write_through_leader_change(ens)
        assert any(authenticated(s, "quorum") for s in ens.servers)
        assert PASSWORD not in ens.logs()


def outsider_is_refused(ens, outsider, told, where):
    try:
        for s in ens.servers:
            s.start(wait=False)
        for s in ens.servers:
            if s is not outsider:
                s.wait_ready()
        zk = client(ens)
        zk.create("/works", b"")
        zk.stop()
        zk.close()
        until(ens, lambda: any(told in s.log_path.read_text() for s in where))
        assert ens.mode(outsider) is None
        no_secret(ens)
    finally:
        ens.close()


@pytest.mark.parametrize("last", (True, False), ids=("calls", "is called"))
def test_wrong_password(build_dir, tmp_path, last):
    ens = ensemble(build_dir, "qqq", jaas(tmp_path))
    outsider = ens.servers[2 if last else 0]
    set_jaas(outsider, jaas(tmp_path, "wrong.conf", learner="between servers, wrong", server="between servers, wrong"))
    outsider_is_refused(ens, outsider, "wrong name or password", [s for s in ens.servers if s is not outsider])


def test_wrong_password_is_told(build_dir, tmp_path):
    ens = ensemble(build_dir, "qqq", jaas(tmp_path))
    set_jaas(ens.servers[2], jaas(tmp_path, "wrong.conf", learner="between servers, wrong"))
    outsider_is_refused(ens, ens.servers[2], "refuses our name or password", ens.servers[2:])


def test_apache_with_wrong_password(build_dir, tmp_path):
    if missing := apache.available():
        pytest.skip(missing)
    ens = ensemble(build_dir, "qqa", jaas(tmp_path))
    set_jaas(ens.servers[2], jaas(tmp_path, "wrong.conf", learner="between servers, wrong", server="between servers, wrong"))
    outsider_is_refused(ens, ens.servers[2], "wrong name or password", ens.servers[:2])


def test_required(build_dir, tmp_path):
    ens = ensemble(build_dir, "qqq", jaas(tmp_path))
    for key in [k for k in ens.servers[2].props if "auth" in k]:
        del ens.servers[2].props[key]
    outsider_is_refused(ens, ens.servers[2], "does not authenticate, which is required", ens.servers[:2])


def test_not_required(build_dir, tmp_path):
    """Who does not authenticate is taken all the same, on either side of the rest."""
    for out in (0, 2):
        ens = ensemble(build_dir, "qqq", jaas(tmp_path), {"quorum.auth.enableSasl": "true"})
        for key in [k for k in ens.servers[out].props if "auth" in k]:
            del ens.servers[out].props[key]
        with ens:
            write_through_leader_change(ens)


@pytest.mark.parametrize("props, text, told", (
    (ON, None, "java.security.auth.login.config"),
    (ON, "QuorumServer {\n a.DigestLoginModule required\n user_x=\"y;\n};\n", "jaas.conf:3: "),
    (ON, "QuorumServer {\n a.DigestLoginModule required\n user_x=y;\n};\n", "no section QuorumLearner"),
    (ON, "QuorumServer {\n com.sun.security.auth.module.Krb5LoginModule required\n useKeyTab=true;\n};\n", "Kerberos"),
    ({"quorum.auth.serverRequireSasl": "true", "quorum.auth.enableSasl": "true"}, None, "learnerRequireSasl"),
    ({"quorum.auth.learnerRequireSasl": "true"}, None, "enableSasl"),
))
def test_bad_settings(build_dir, tmp_path, props, text, told):
    ens = Ensemble(build_dir, "qqq", props)
    try:
        if text:
            (tmp_path / "jaas.conf").write_text(text)
            set_jaas(ens.servers[0], tmp_path / "jaas.conf")
        ens.servers[0].start(wait=False)
        assert ens.servers[0].process.wait(WAIT_S) not in (0, None)
        ens.servers[0].process = None
        assert told in ens.servers[0].log_tail()
    finally:
        ens.close()


def test_from_off_to_required(build_dir, tmp_path):
    """Three rolling restarts: enabled, learners authenticate, servers require it. A client goes on all the time."""
    path = jaas(tmp_path)
    keys = list(ON)
    stages = [{k: ON[k] for k in keys[:n]} for n in (1, 2, 3)]
    with Ensemble(build_dir, "qqq") as ens:
        zk = client(ens)
        session, acknowledged, done = zk.client_id, [], threading.Event()

        def work():
            n = 0
            while not done.is_set():
                try:
                    acknowledged.append(zk.create(f"/n{n}", b""))
                except KazooException:
                    time.sleep(0.01)  # a client's pace while it reconnects
                n += 1

        writer = threading.Thread(target=work)
        writer.start()
        try:
            for props in stages:
                for s in ens.servers:
                    s.stop()
                    s.props.update(props)
                    set_jaas(s, path)
                    s.start()
                    count, end = len(acknowledged), time.monotonic() + WAIT_S
                    while len(acknowledged) < count + 5:
                        assert time.monotonic() < end, ens.logs()
                        time.sleep(0.01)
        finally:
            done.set()
            writer.join(WAIT_S)
        tree = dump(zk)
        assert zk.client_id == session and all(p in tree for p in acknowledged)
        zk.stop()
        zk.close()
        for s in ens.servers:
            one = KazooClient(s.address, timeout=20)
            one.start(timeout=WAIT_S)
            one.stop()
            one.close()
        no_secret(ens)
