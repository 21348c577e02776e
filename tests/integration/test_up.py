"""`quoll up`: the first walk of a user, from manifests through ZooKeeper to DNS and the command line, live."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest

from quollproc import QuollProcess, QuollUp, dig, quoll, rcode
from test_dns_server import query
from zkserver import WAIT_S, eventually, free_port

SHOP = pathlib.Path(__file__).resolve().parents[2] / "examples" / "shop"


@pytest.fixture
def manifests(tmp_path):
    return pathlib.Path(shutil.copytree(SHOP, tmp_path / "shop"))


@pytest.fixture
def up(build_dir, manifests):
    with QuollUp(build_dir, "--manifests", manifests) as u:
        u.manifests = manifests
        yield u


def test_first_walk(up, build_dir):
    eventually(lambda: dig(up.dns_port, "my-service.default.svc.cluster.local") == ["10.96.100.1"], what="the first answer")
    srv = dig(up.dns_port, "_http._tcp.my-service.default.svc.cluster.local", "SRV")
    assert srv == ["0 100 80 my-service.default.svc.cluster.local."]
    assert dig(up.dns_port, "1.100.96.10.in-addr.arpa", "PTR") == ["my-service.default.svc.cluster.local."]
    assert dig(up.dns_port, "db.shop.svc.cluster.local") == ["10.244.1.20", "10.244.2.20"]
    assert dig(up.dns_port, "db-1.db.shop.svc.cluster.local") == ["10.244.2.20"]
    assert rcode(up.dns_port, "db-2.db.shop.svc.cluster.local") == "NXDOMAIN"
    assert dig(up.dns_port, "dual.shop.svc.cluster.local", "AAAA") == ["fd00:10:96::3"]
    assert dig(up.dns_port, "cart.shop.svc.cluster.local", "A", "+tcp") == ["10.96.100.2"]
    assert dig(up.dns_port, "pay.shop.svc.cluster.local", "CNAME") != []
    assert rcode(up.dns_port, "nothing.default.svc.cluster.local") == "NXDOMAIN"
    assert rcode(up.dns_port, "www.example.com") == "REFUSED"

    zk = ["--zk", up.zk]
    plain = quoll(build_dir, "resolve", "my-service.default", "--output", "plain", *zk).stdout
    assert "10.96.100.1:80\n" in plain
    endpoints = quoll(build_dir, "resolve", "_http._tcp.my-service.default", "--endpoints", "--output", "plain", *zk).stdout
    assert len(endpoints.splitlines()) == 3
    env = quoll(build_dir, "resolve", "my-service", "--namespace", "default", "-o", "env", *zk).stdout
    assert "MY_SERVICE_SERVICE_HOST=10.96.100.1\n" in env
    json.loads(quoll(build_dir, "resolve", "db.shop", "-o", "json", *zk).stdout)
    services = quoll(build_dir, "services", *zk).stdout
    for name in ("my-service", "db", "cart", "pay", "dual"):
        assert re.search(rf"\b{name}\b", services), services
    assert quoll(build_dir, "resolve", "nothing.default", *zk, check=False).returncode == 4


def test_banner_names_what_listens_and_what_to_try(up):
    text = eventually(lambda: up.out.read_text().endswith("stops it.\n") and up.out.read_text(), what="the banner")
    for part in (up.zk, f"127.0.0.1:{up.dns_port}", f"127.0.0.1:{up.http_port}"):
        assert part in text
    assert len(re.findall(r"\n  (?:dig|\S*quoll) ", text)) >= 3


def waited_for_a_processor(*pids):
    """Seconds that the threads of these processes have been ready to run and did not: what others on this machine cost them."""
    return sum(int(s.read_text().split()[1]) for pid in pids for s in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def test_an_edit_shows_within_a_second(up):
    """Of a machine that has nothing else to do."""
    both = up.process.pid, os.getpid()
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.connect(("127.0.0.1", up.dns_port))
    asking.settimeout(WAIT_S)

    def shows(address):
        asking.send(query("my-service.default.svc.cluster.local"))
        return asking.recv(512).endswith(socket.inet_aton(address))

    file = up.manifests / "my-service.yaml"
    text = file.read_text()
    slowest = 0
    for i in range(5):
        want = f"10.96.100.{50 + i}"
        changed = file.with_suffix(".tmp")
        changed.write_text(text.replace("10.96.100.1", want))
        started = time.monotonic() - waited_for_a_processor(*both)
        changed.rename(file)  # as editors save
        eventually(lambda w=want: shows(w), what="the new address")
        slowest = max(slowest, time.monotonic() - waited_for_a_processor(*both) - started)
    asking.close()
    assert slowest < 1.0, f"slowest of five edits: {slowest:.2f} s"


def test_services_come_and_go(up, build_dir):
    extra = up.manifests / "extra.yaml"
    extra.write_text("""
apiVersion: v1
kind: Service
metadata: {name: extra, namespace: fresh}
spec: {clusterIP: 10.96.77.7, ports: [{name: http, port: 80}]}
""")
    name = "extra.fresh.svc.cluster.local"
    eventually(lambda: dig(up.dns_port, name) == ["10.96.77.7"], what="the new service")
    # Without a cluster IP of its own it is headless, and shown so.
    extra.write_text(extra.read_text().replace("clusterIP: 10.96.77.7, ", ""))
    eventually(lambda: rcode(up.dns_port, name) == "NXDOMAIN", what="a headless service without endpoints")
    assert re.search(r"fresh\s+extra\s+ClusterIP\s+None", quoll(build_dir, "services", "--zk", up.zk).stdout)
    extra.unlink()
    eventually(lambda: "extra" not in quoll(build_dir, "services", "--zk", up.zk).stdout, what="its removal")
    eventually(lambda: rcode(up.dns_port, "fresh.svc.cluster.local") == "NXDOMAIN", what="the namespace's removal")


def test_a_malformed_manifest_is_named_and_the_rest_goes_on(up):
    (up.manifests / "bad.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  ports:\n  - port: 99999\n")
    (up.manifests / "worse.yaml").write_text("a: [1, 2\nb: }\n")
    eventually(lambda: re.search(r"bad\.yaml:\d+: .*port", up.err.read_text()), what="the line about bad.yaml")
    eventually(lambda: re.search(r"worse\.yaml:\d+: ", up.err.read_text()), what="the line about worse.yaml")
    assert dig(up.dns_port, "my-service.default.svc.cluster.local") == ["10.96.100.1"]
    (up.manifests / "good.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec: {clusterIP: 10.96.1.99, ports: [{port: 1}]}\n")
    eventually(lambda: dig(up.dns_port, "good.default.svc.cluster.local") == ["10.96.1.99"], what="a good one after it")


def test_restart_answers_from_what_is_on_disk(build_dir, manifests, tmp_path):
    data = tmp_path / "data"
    with QuollUp(build_dir, "--manifests", manifests, data=data) as u:
        quoll(build_dir, "create", "-p", "/app/config", "debug: false", "--zk", u.zk)
        writes = u.metric("quoll_sync_writes_total")
        assert writes > 10
        assert u.end() == 0
    with QuollUp(build_dir, "--manifests", manifests, data=data) as u:
        assert quoll(build_dir, "get", "/app/config", "--zk", u.zk).stdout == "debug: false"
        eventually(lambda: u.metric("quoll_sync_in_step") == 1, what="in step")
        # What is in the registry already is not written again.
        assert u.metric("quoll_sync_writes_total") == 0
        assert dig(u.dns_port, "my-service.default.svc.cluster.local") == ["10.96.100.1"]
        assert u.end() == 0


def test_admin_pages(up):
    assert up.http("/healthz") == (200, "ok\n")
    status, text = up.http("/readyz")
    assert status == 200 and all(p in text for p in ("server", "sync", "dns"))
    before = up.metric("quoll_table_services")
    assert before >= 5
    assert up.http("/nothing")[0] == 404
    for line in up.http("/metrics")[1].splitlines():
        assert line.startswith("#") or re.match(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [-+0-9.eEinfNa]+$', line), line


# ---- what goes wrong is said in one line, with an exit code ----

def refused(build_dir, args, code, *parts):
    done = quoll(build_dir, *args, check=False, timeout=30)
    lines = [l for l in done.stderr.splitlines() if not re.match(r"^\d{4}-.* (INFO|WARN) ", l)]
    assert done.returncode == code, (done.returncode, done.stderr)
    assert len(lines) == 1, done.stderr
    for p in parts:
        assert str(p) in lines[0], lines[0]


@pytest.mark.parametrize("which", ["--client-listen", "--dns-listen", "--http-listen"])
def test_a_port_already_taken(build_dir, tmp_path, which):
    with socket.socket() as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        s.listen()
        u.bind(("127.0.0.1", port))
        args = {f: f"127.0.0.1:{free_port()}" for f in ("--client-listen", "--dns-listen", "--http-listen")}
        args[which] = f"127.0.0.1:{port}"
        refused(build_dir, ["up", "--data", tmp_path / "d", "--manifests", SHOP, *sum(args.items(), ())], 3, port, "in use")


def test_the_data_directory_is_taken(build_dir, up):
    refused(build_dir, ["server", "--data", up.dir / "data", "--client-listen", f"127.0.0.1:{free_port()}", "--http-listen", "off"],
            3, up.dir / "data")


def test_bad_input(build_dir, tmp_path):
    cfg = tmp_path / "zoo.cfg"
    cfg.write_text(f"dataDir={tmp_path}/d\ntickTime=fast\nclientPort={free_port()}\n")
    file = tmp_path / "q.yaml"
    file.write_text("ttl: soon\n")
    ports = ["--client-listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0", "--http-listen", "off", "--data", tmp_path / "d2"]
    refused(build_dir, ["up", "--manifests", tmp_path / "none", *ports], 3, tmp_path / "none")
    refused(build_dir, ["up", "--kubeconfig", tmp_path / "none", *ports], 3, tmp_path / "none")
    refused(build_dir, ["up", "--colour"], 2, "--colour")
    refused(build_dir, ["up", "--ttl", "7000"], 2, "--ttl", "3600")
    refused(build_dir, ["dns", "--config", file], 2, "q.yaml:1", "ttl")
    for command in ("up", "dns", "sync"):
        refused(build_dir, [command, "--pods", "maybe"], 2, "--pods: maybe", "disabled, insecure, verified")
    refused(build_dir, ["up", "--pods", "--ttl", "7000"], 2, "--ttl", "3600")
    refused(build_dir, ["server", cfg], 2, "zoo.cfg:2", "tickTime")
    refused(build_dir, ["server", tmp_path / "missing.cfg"], 3, "missing.cfg")
    refused(build_dir, ["up", "--dns-listen", "somewhere", *ports[:2], *ports[4:]], 2, "somewhere")
    refused(build_dir, ["ls", "relative"], 2, "relative")
    refused(build_dir, ["ls", "/", "--zk", f"127.0.0.1:{free_port()}", "--timeout", "500"], 5, "--zk")
    assert quoll(build_dir, "dance", check=False).returncode == 2
    assert quoll(build_dir, "up", "--help").stdout.startswith("quoll up")


def test_pods_in_separate_processes(build_dir, manifests):
    """Without --pods nothing of Pods is stored; with it, or with the mode as a variable, reader and writer agree."""
    (manifests / "pod.yaml").write_text("""
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop}
status: {phase: Running, podIP: 10.244.1.5}
""")
    name = "10-244-1-5.shop.pod.cluster.local"
    with QuollUp(build_dir, "--manifests", manifests, "--pods", "insecure") as up:
        zk = ["--zk", up.zk]
        assert dig(up.dns_port, name) == ["10.244.1.5"] and dig(up.dns_port, "192-0-2-9.shop.pod.cluster.local") == ["192.0.2.9"]
        assert quoll(build_dir, "ls", "/quoll/registry/default/.pods", *zk, check=False).returncode == 4
        port = free_port()
        with QuollProcess(build_dir, "dns", *zk, "--dns-listen", f"127.0.0.1:{port}", env={"QUOLL_PODS": "verified"}) as dns:
            assert rcode(port, name) == "NXDOMAIN", "no Pod is known"
            up.end()
            up.args[up.args.index("insecure")] = "verified"
            up.start()
            eventually(lambda: dig(port, name) == ["10.244.1.5"], what="the Pod")
            assert rcode(port, "192-0-2-9.shop.pod.cluster.local") == "NXDOMAIN"
            assert dns.metric("quoll_table_pods") == up.metric("quoll_sync_pods") == 1
            stored = quoll(build_dir, "get", "/quoll/registry/default/.pods/shop/web-0", *zk).stdout
            assert json.loads(stored) == {"schema": 1, "managedBy": "quoll-sync", "ips": ["10.244.1.5"]}
            assert "web-0" not in quoll(build_dir, "services", *zk).stdout
            (manifests / "pod.yaml").unlink()
            eventually(lambda: rcode(port, name) == "NXDOMAIN", what="its end")


def test_variables_and_file(build_dir, up, tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text(f"zk: {up.zk}\n")
    assert "my-service" in quoll(build_dir, "services", "--config", file).stdout
    assert "my-service" in quoll(build_dir, "services", env={"QUOLL_ZK": up.zk}).stdout
    wrong = f"127.0.0.1:{free_port()}"
    assert quoll(build_dir, "services", "--zk", wrong, "--timeout", "300", env={"QUOLL_ZK": up.zk}, check=False).returncode == 5


def test_znode_commands(build_dir, up):
    zk = ["--zk", up.zk]
    assert quoll(build_dir, "create", "/t", "one", *zk).stdout == "/t\n"
    assert quoll(build_dir, "create", "/t", "one", *zk, check=False).returncode == 1
    assert quoll(build_dir, "create", "/t/x/y", *zk, check=False).returncode == 4
    assert quoll(build_dir, "create", "-p", "/t/x/y", *zk).stdout == "/t/x/y\n"
    assert quoll(build_dir, "create", "-s", "/t/s-", *zk).stdout == "/t/s-0000000001\n"
    assert quoll(build_dir, "get", "/t", *zk).stdout == "one"
    assert quoll(build_dir, "set", "/t", "two", *zk).stdout == "version 1\n"
    assert quoll(build_dir, "set", "/t", "three", "--version", "0", *zk, check=False).returncode == 1
    assert quoll(build_dir, "set", "/t", "-", *zk, stdin="from a pipe").stdout == "version 2\n"
    got = json.loads(quoll(build_dir, "get", "/t", "-o", "json", *zk).stdout)
    assert got["data"] == "from a pipe" and got["stat"]["version"] == 2
    assert quoll(build_dir, "ls", "/t", *zk).stdout == "s-0000000001\nx\n"
    assert quoll(build_dir, "ls", "-R", "/t", *zk).stdout == "/t\n/t/s-0000000001\n/t/x\n/t/x/y\n"
    assert json.loads(quoll(build_dir, "stat", "/t", "-o", "json", *zk).stdout)["numChildren"] == 2
    assert "dataVersion = 2" in quoll(build_dir, "stat", "/t", *zk).stdout
    assert quoll(build_dir, "rm", "/t", *zk, check=False).returncode == 1
    quoll(build_dir, "rm", "-r", "/t", *zk)
    assert quoll(build_dir, "get", "/t", *zk, check=False).returncode == 4


def test_services_watch(build_dir, up):
    p = subprocess.Popen([str(build_dir / "quoll"), "services", "--watch", "-o", "plain", "--zk", up.zk], stdout=subprocess.PIPE)
    try:
        seen = b""
        os.set_blocking(p.stdout.fileno(), False)

        def has(text):
            nonlocal seen
            try:
                seen += os.read(p.stdout.fileno(), 65536)
            except BlockingIOError:
                pass
            return text in seen.decode()
        eventually(lambda: has("my-service.default\n"), what="the first list")
        (up.manifests / "late.yaml").write_text(
            "apiVersion: v1\nkind: Service\nmetadata: {name: late}\nspec: {clusterIP: 10.96.3.3, ports: [{port: 1}]}\n")
        eventually(lambda: has("late.default\n"), what="the change")
    finally:
        p.terminate()
        assert p.wait(10) == 0
