"""SASL between servers: ours, Apache's among ours, who is refused, and the way there without a pause."""
import re

import pytest

import apache
from clients import rolling_restarts
from quollens import Ensemble
from quollsrv import QuollServer
from skipping import need_apache
from test_quorum_tls import PASSWORD, Pki, end_by_itself, logs_say, start_without, tls_props, try_one, write_through_leader_change

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


@pytest.mark.parametrize("kinds", ("qqq", "qqa", "aaq", "qqqQ", "qaqQ"))
def test_ensemble(build_dir, tmp_path, kinds):
    if "a" in kinds:
        need_apache()
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
        start_without(ens, outsider)
        try_one(ens)
        logs_say(where, told)
        assert outsider.mode() is None
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
    need_apache()
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
        assert told in end_by_itself(ens.servers[0])
    finally:
        ens.close()


def test_from_off_to_required(build_dir, tmp_path):
    """Three rolling restarts: enabled, learners authenticate, servers require it. A client goes on all the time."""
    path = jaas(tmp_path)
    keys = list(ON)

    def stage(n):
        def change(s):
            s.props.update({k: ON[k] for k in keys[:n]})
            set_jaas(s, path)
        return change

    with Ensemble(build_dir, "qqq") as ens:
        rolling_restarts(ens, stage(1), stage(2), stage(3))
        no_secret(ens)
