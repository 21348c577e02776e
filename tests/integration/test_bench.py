"""quoll bench against our server and Apache's: what it counts, what it leaves behind, and that it lives through the death of a server."""
import json
import signal
import subprocess
import time

import apache
import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl
from quollens import Ensemble
from quollproc import quoll
from quollsrv import QuollServer
from skipping import skip_loudly
from zkserver import WAIT_S, eventually


@pytest.fixture(scope="module", params=["quoll", "apache"])
def server(request, build_dir):
    if request.param == "apache":
        if apache.available():
            skip_loudly(apache.available())
        with apache.ApacheServer() as s:
            yield s
    else:
        with QuollServer(build_dir) as s:
            yield s


@pytest.fixture
def client(server):
    c = KazooClient(server.address)
    c.start(timeout=30)
    yield c
    c.stop()
    c.close()


def bench(build_dir, server, *args, **kwargs):
    done = quoll(build_dir, "bench", "--zk", getattr(server, "address", server), "--warm-up", "0", "-o", "json", *args, **kwargs)
    return json.loads(done.stdout)


def assert_adds_up(r):
    """Every figure that is a sum is the sum."""
    for key in ("ok", "errors", "lost", "unknown"):
        assert r[key] == sum(o[key] for o in r["operations"].values())
    assert r["ok"] == sum(s["ok"] for s in r["servers"])
    assert r["ops_per_s"] == pytest.approx(r["ok"] / r["elapsed_s"], rel=0.01)
    for o in [r, *r["operations"].values(), *r["servers"]]:
        t = o["latency_us"]
        if o["ok"]:
            assert 0 < t["p50"] <= t["p90"] <= t["p99"] <= t["p99.9"] <= t["p99.99"] <= t["max"]
            assert 0 < t["mean"] <= t["max"]


def test_all_operations(build_dir, server, client):
    mix = "get=4,exists=2,children=2,sync=1,set=3,create=2,delete=2,ephemeral=1,multi=1"
    r = bench(build_dir, server, "--mix", mix, "-c", "5", "-i", "4", "-n", "4000", "--keys", "50", "--value-size", "0-3000")
    assert_adds_up(r)
    assert r["ok"] == 4000 and not r["errors"] and not r["lost"] and not r["unknown"] and r["prepared"] == 50
    assert set(r["operations"]) == set(part.split("=")[0] for part in mix.split(","))
    assert r["operations"]["get"]["ok"] > r["operations"]["multi"]["ok"]
    assert not client.exists("/quoll-bench")


def test_by_time(build_dir, server):
    r = bench(build_dir, server, "-d", "2", "-c", "3", "-i", "8")
    assert_adds_up(r)
    assert r["elapsed_s"] == pytest.approx(2, abs=0.05)
    assert len(r["seconds"]) == 2
    assert sum(s["ok"] for s in r["seconds"]) == r["ok"]
    assert r["worst_second"]["ok"] == min(s["ok"] for s in r["seconds"])
    assert r["worst_second"]["p99_us"] == max(s["p99_us"] for s in r["seconds"])
    assert 0 < r["longest_gap"]["ms"] <= 2000
    assert r["servers"] == [{**r["servers"][0], "connections": 3, "connects": 3}]


def test_same_seed_same_operations(build_dir, server):
    counts = [{k: o["ok"] for k, o in bench(build_dir, server, "-n", "500", "-c", "1", "--mix", "get=1,set=1,exists=1", "--keys", "5", "--seed",
                                           seed)["operations"].items()} for seed in (7, 7, 8)]
    assert counts[0] == counts[1] != counts[2]


def test_rate(build_dir, server):
    r = bench(build_dir, server, "--rate", "200", "-d", "2", "-c", "2", "--keys", "5")
    assert_adds_up(r)
    assert r["ok"] + r["unsent"] == 400


def test_a_stall_is_charged_to_all_that_were_due(build_dir, server):
    """Coordinated omission: two stopped seconds must show in about half of the operations of four, not in one per connection."""
    args = [build_dir / "quoll", "bench", "--zk", server.address, "--warm-up", "0", "-o", "json", "--rate", "500", "-d", "4", "-c", "2", "--mix",
            "get", "--keys", "5"]
    p = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    try:
        wait_connections(server, 2)
        time.sleep(0.3)  # somewhere within its four seconds
        server.pause()
        time.sleep(2)  # the length of the stall is what is tested
        server.resume()
        out = json.loads(p.communicate(timeout=WAIT_S)[0])
    finally:
        server.resume()
        p.kill()
        p.wait()
    assert_adds_up(out)
    assert out["ok"] + out["unsent"] == 2000
    assert out["longest_gap"]["ms"] > 1900
    assert out["latency_us"]["p90"] > 500_000


def wait_connections(server, count):
    eventually(lambda: int(server.four_letter("mntr").split("zk_num_alive_connections\t")[1].split()[0]) > count, what="the connections")


def test_prepare_and_keep(build_dir, server, client):
    r = bench(build_dir, server, "--prepare", "--keys", "300", "--path", "/a/b", "--value-size", "33", "-c", "4")
    assert r["prepared"] == 300 and r["prepare_s"] > 0
    assert len(client.get_children("/a/b/keys")) == 300
    assert len(client.get("/a/b/keys/k00000299")[0]) == 33
    r = bench(build_dir, server, "--keys", "300", "--path", "/a/b", "-n", "50", "--mix", "set=1,create=1", "-c", "4")
    assert r["prepared"] == 0
    assert client.get_children("/a/b") == ["keys"]  # what was there is left, what the run made is not
    assert len(client.get_children("/a/b/keys")) == 300
    client.delete("/a", recursive=True)
    bench(build_dir, server, "--keys", "3", "-n", "5", "--keep", "-c", "1")
    assert sorted(client.get_children("/quoll-bench/keys")) == ["k00000000", "k00000001", "k00000002"]
    client.delete("/quoll-bench", recursive=True)


def test_chroot(build_dir, server, client):
    client.ensure_path("/under")
    bench(build_dir, server.address + "/under", "--keys", "3", "-n", "5", "--keep", "-c", "1", "--path", "/")
    assert client.get_children("/under") == ["keys"]
    client.delete("/under", recursive=True)


def test_sessions_end(build_dir, server):
    def sessions():
        return [line for line in server.four_letter("dump").splitlines() if line.strip().startswith("0x")]

    before = len(sessions())
    bench(build_dir, server, "-n", "20", "-c", "4", "--keys", "3")
    assert len(sessions()) == before


def test_text(build_dir, server):
    out = quoll(build_dir, "bench", "--zk", server.address, "-d", "1", "--warm-up", "0", "-c", "2", "--keys", "5").stdout
    assert "worst second:" in out and "p99.99" in out
    assert [line.split()[0] for line in out.splitlines() if line[:3] in ("get", "set", "all")] == ["get", "set", "all"]


def test_interrupted(build_dir, server, client):
    p = subprocess.Popen([build_dir / "quoll", "bench", "--zk", server.address, "-d", "600", "--warm-up", "0", "-o", "json", "-c", "2", "--keys", "5",
                          "--path", "/interrupted"], stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: client.exists("/interrupted/keys/k00000004"), what="the last of the nodes")
        time.sleep(0.3)  # in the middle of it
        p.send_signal(signal.SIGINT)
        out = json.loads(p.communicate(timeout=WAIT_S)[0])
    finally:
        p.kill()
        p.wait()
    assert_adds_up(out)
    assert p.returncode == 0 and out["interrupted"] and out["ok"] > 0 and out["elapsed_s"] < 60
    assert not client.exists("/interrupted")


def test_killed_server(build_dir):
    """The leader dies under load: its connections go to the others, and the time without a write is told."""
    with Ensemble(build_dir, "qqq") as e:
        p = subprocess.Popen([build_dir / "quoll", "bench", "--zk", e.hosts, "-d", "12", "--warm-up", "0", "-o", "json", "-c", "9", "-i", "4", "--keys",
                              "20", "--mix", "get=1,set=1"], stdout=subprocess.PIPE, text=True)
        try:
            leader = e.leader()
            wait_connections(leader, 3)
            time.sleep(1)  # in the middle of it
            leader.kill9()
            out = json.loads(p.communicate(timeout=WAIT_S)[0])
        finally:
            p.kill()
            p.wait()
    assert p.returncode == 0
    assert_adds_up(out)
    assert out["lost"] + out["unknown"] > 0 and out["errors"] == 0
    assert out["sessions_expired"] == 0 and out["reconnects"] >= 9  # an election closes the connections of all servers
    assert out["longest_gap_writes"]["ms"] >= 10
    by_server = {s["server"]: s for s in out["servers"]}
    assert by_server[leader.address]["connections"] == 0
    assert sum(s["connections"] for s in out["servers"]) == 9
    assert out["seconds"][-1]["ok"] > 0


def test_errors_are_counted_by_code(build_dir, server, client):
    bench(build_dir, server, "--prepare", "--keys", "2", "--path", "/denied", "-c", "1")
    client.set_acls("/denied/keys/k00000001", [make_digest_acl("someone", "else", all=True)])
    done = quoll(build_dir, "bench", "--zk", server.address, "--warm-up", "0", "-o", "json", "-n", "200", "-c", "1", "--keys", "2", "--path", "/denied",
                 "--mix", "get=1,set=1,multi=1", "--multi-size", "8", check=False)
    assert done.returncode == 1 and "answered by errors" in done.stderr
    r = json.loads(done.stdout)
    assert_adds_up(r)
    assert r["ok"] + r["errors"] == 200
    assert r["error_codes"] == {"NOAUTH": r["errors"]}
    assert all(r["operations"][op]["errors"] > 0 for op in ("get", "set", "multi"))


def test_refused_preparation(build_dir, server):
    done = quoll(build_dir, "bench", "--zk", server.address, "-c", "1", "--keys", "1", "--path", "/zookeeper/config/x/y", "-n", "1", check=False)
    assert done.returncode == 1 and "cannot make" in done.stderr


@pytest.mark.parametrize("args", [["--mix", "fetch"], ["--mix", "get=x"], ["--mix", "get=0"], ["--mix", "get,get"], ["--value-size", "5-3"],
                                  ["--value-size", "x"], ["--spread", "odd"], ["--connections", "0"], ["--zk", "h:0"], ["--path", "x"],
                                  ["--output", "xml"], ["--prepare", "--ops", "5"], ["--rate", "-1"], ["surplus"]])
def test_bad_flags(build_dir, args):
    done = quoll(build_dir, "bench", *args, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_there(build_dir):
    done = quoll(build_dir, "bench", "--zk", "127.0.0.1:1", "--timeout", "300", check=False)
    assert done.returncode == 5 and "0 of 50 connections" in done.stderr and "connection refused" in done.stderr
