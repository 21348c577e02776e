"""The discovery path with Apache ZooKeeper as the ensemble: sync and dns as processes of their own, and an outage."""
import pathlib
import shutil
import time

import pytest

import apache as apache_server
from skipping import skip_loudly
from quollproc import QuollProcess, dig, quoll, rcode
from zkserver import eventually, free_port

SHOP = pathlib.Path(__file__).resolve().parents[2] / "examples" / "shop"
NAME = "my-service.default.svc.cluster.local"
OUTAGE_S = 20


@pytest.fixture
def apache():
    why = apache_server.available()
    if why:
        skip_loudly(why)
    with apache_server.ApacheServer() as a:
        yield a


def test_discovery_on_apache(apache, build_dir, tmp_path):
    manifests = pathlib.Path(shutil.copytree(SHOP, tmp_path / "shop"))
    dns_port = free_port()
    zk = ["--zk", apache.address]
    with QuollProcess(build_dir, "sync", "--manifests", manifests, *zk) as sync, \
            QuollProcess(build_dir, "dns", "--dns-listen", f"127.0.0.1:{dns_port}", *zk) as dns:
        eventually(lambda: dig(dns_port, NAME) == ["10.96.100.1"], what="the first answer")
        assert "10.96.100.1:80" in quoll(build_dir, "resolve", "my-service.default", "-o", "plain", *zk).stdout

        apache.kill9()
        file = manifests / "my-service.yaml"
        file.write_text(file.read_text().replace("10.96.100.1", "10.96.100.9"))
        asked, end = 0, time.monotonic() + OUTAGE_S
        while time.monotonic() < end or asked <= 50:
            assert dig(dns_port, NAME) == ["10.96.100.1"], "answers go on from memory"
            asked += 1
        assert dns.metric("quoll_table_stale_seconds") > 10
        assert dns.http("/readyz")[0] == 200 and "from memory" in dns.http("/readyz")[1]

        apache.start()
        eventually(lambda: dig(dns_port, NAME) == ["10.96.100.9"], what="the change made during the outage")
        eventually(lambda: dns.metric("quoll_table_stale_seconds") == 0, what="freshness")
        # Its absence withdrew nothing: the other services never went away.
        assert dig(dns_port, "db.shop.svc.cluster.local") == ["10.244.1.20", "10.244.2.20"]
        assert sync.end() == 0 and dns.end() == 0
        assert "my-service" in quoll(build_dir, "ls", "/quoll/registry/default/default", *zk).stdout


def test_before_the_registry_is_read_nothing_is_denied(build_dir):
    """SERVFAIL, not NXDOMAIN, while ZooKeeper has never been reached."""
    dns_port = free_port()
    p = QuollProcess(build_dir, "dns", "--dns-listen", f"127.0.0.1:{dns_port}", "--zk", f"127.0.0.1:{free_port()}")
    try:
        p.start(ready=False)
        eventually(lambda: rcode(dns_port, NAME) == "SERVFAIL", what="an answer")
        assert p.http("/readyz")[0] == 503
    finally:
        p.close()
