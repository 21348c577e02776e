"""An ensemble under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer: what no unit test puts together is threads, sockets, TLS and SASL.

QUOLL_BUILD_ASAN   a build directory with -Db_sanitize=address,undefined (default: build-asan beside the other, as scripts/test makes it)
Any other suite runs on it too, by QUOLL_BUILD.
"""
import os
import pathlib

import pytest

from quollens import Ensemble
from quollsrv import QuollServer
from skipping import skip_loudly
from test_quorum_sasl import ON, authenticated, jaas
from test_quorum_tls import Pki, tls_props, write_through_leader_change


@pytest.fixture
def asan_dir(build_dir):
    path = pathlib.Path(os.environ.get("QUOLL_BUILD_ASAN", build_dir.parent / "build-asan")).resolve()
    if not (path / "quoll").exists():
        skip_loudly(f"{path} holds no quoll: make sanitize builds it")
    if missing := QuollServer.available(path):
        pytest.fail(missing)
    return path


def test_ensemble(asan_dir, tmp_path, monkeypatch):
    """Elections, synchronisation, the death of a leader, and an orderly end, at which leaks are looked for."""
    reports = tmp_path / "reports"
    reports.mkdir()
    monkeypatch.setenv("ASAN_OPTIONS", f"detect_leaks=1:exitcode=99:log_path={reports}/asan")
    monkeypatch.setenv("UBSAN_OPTIONS", f"halt_on_error=1:print_stacktrace=1:log_path={reports}/ubsan")
    pki = Pki(tmp_path, "right")
    props = {**ON, **tls_props(pki, pki.key("member")), "java.security.auth.login.config": jaas(tmp_path)}
    with Ensemble(asan_dir, "qqq", props) as ens:
        try:
            write_through_leader_change(ens)
            assert any(authenticated(s, "election") for s in ens.servers), ens.logs()
            for s in ens.servers:
                process = s.process
                s.stop()
                assert process.returncode == 0, f"exit {process.returncode}\n{s.log_tail()}"
        finally:
            found = "\n".join(path.read_text(errors="replace") for path in sorted(reports.iterdir()))
            assert found == "", found
