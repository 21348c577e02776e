"""The client library against real servers: Apache's, and ours once the build has it."""
import time

import pytest

import apache
from skipping import skip_loudly
from driver import (AUTH_FAILED, CHILDREN_CHANGED, CONNECTED, CONNECTING, CREATED, DATA_CHANGED, DELETED, EXPIRED,
                    SESSION, WATCH_REMOVED, Driver)
from quollsrv import QuollServer
from zkserver import free_port

NO_NODE, BAD_VERSION, NODE_EXISTS, NOT_EMPTY, NO_AUTH, NO_WATCHER = -101, -103, -110, -111, -102, -121
CONNECTION_LOSS, BAD_ARGUMENTS, MARSHALLING, TIMEOUT = -4, -8, -5, -7
EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, TTL = 1, 2, 3, 4, 5


def make_server(kind, build_dir, **kwargs):
    if kind == "apache":
        missing = apache.available()
        if missing:
            skip_loudly(missing)
        return apache.ApacheServer(**kwargs)
    missing = QuollServer.available(build_dir)
    if missing:
        skip_loudly(missing)
    return QuollServer(build_dir)


@pytest.fixture(scope="module", params=["apache", "quoll"])
def shared(request, build_dir):
    """A server that many tests use; each keeps to its own subtree."""
    with make_server(request.param, build_dir) as server:
        yield server


@pytest.fixture(params=["apache", "quoll"])
def server(request, build_dir):
    """A server of the test's own, to be stopped and started."""
    with make_server(request.param, build_dir) as srv:
        yield srv


@pytest.fixture
def root(request, shared, client_driver):
    """A chroot of the test's own, made through a client without one."""
    path = "/" + "".join(ch if ch.isalnum() else "-" for ch in request.node.name)
    with Driver(client_driver, shared.address) as d:
        assert d.create(path)["err"] == 0
    return path


@pytest.fixture
def driver(shared, root, client_driver):
    with Driver(client_driver, shared.address + root) as d:
        yield d


def test_every_operation(driver):
    d = driver
    assert d.create("/a", "hello")["path"] == "/a"
    assert d.create("/a", "hello")["err"] == NODE_EXISTS
    got = d.get("/a")
    assert (got["err"], bytes.fromhex(got["data"]), got["stat"]["version"]) == (0, b"hello", 0)
    assert d.ask("set", "/a", "new", 0)["stat"]["version"] == 1
    assert d.ask("set", "/a", "new", 0)["err"] == BAD_VERSION
    assert d.ask("exists", "/nothing")["err"] == NO_NODE
    assert d.ask("exists", "/a")["stat"]["data_length"] == 3
    assert d.create("/a/null")["err"] == 0
    assert not d.get("/a/null")["data"]
    seq = d.create("/a/s-", "x", SEQUENTIAL)
    assert seq["path"] == "/a/s-0000000001"
    assert seq["stat"]["czxid"] == seq["zxid"]
    assert d.create("/a/e-", "x", EPHEMERAL_SEQUENTIAL)["path"] == "/a/e-0000000002"
    assert d.create("/a/c", "x", CONTAINER)["path"] == "/a/c"
    assert d.create("/a/t", "x", TTL, 60000)["path"] == "/a/t"
    names = d.ask("children", "/a")
    assert sorted(names["children"][1:]) == ["c", "e-0000000002", "null", "s-0000000001", "t"]
    assert names["stat"]["num_children"] == 5
    assert d.ask("count", "/a")["count"] == 5
    assert d.ask("ephemerals", "/")["children"][1:] == ["/a/e-0000000002"]
    assert d.ask("sync", "/a")["path"] == "/a"
    assert any(scheme == "ip" for _, scheme, _ in d.ask("whoami")["acls"])
    assert d.ask("delete", "/a", -1)["err"] == NOT_EMPTY
    assert d.ask("delete", "/a/t", 7)["err"] == BAD_VERSION
    assert d.ask("delete", "/a/t", 0)["err"] == 0


def test_multi(driver):
    d = driver
    done = d.ask("multi", "create|/m|v|0", "set|/m|w|0", "create|/m/s-|x|2", "check|/m|1", "delete|/m/s-0000000000|-1")
    assert done["err"] == 0
    assert [r["err"] for r in done["results"]] == [0] * 5
    assert done["results"][0]["path"] == "/m"
    assert done["results"][2]["path"] == "/m/s-0000000000"
    failed = d.ask("multi", "create|/n|v|0", "check|/m|9", "create|/o|v|0")
    assert failed["err"] == BAD_VERSION
    assert [r["err"] for r in failed["results"]] == [0, BAD_VERSION, -2]
    assert d.ask("exists", "/n")["err"] == NO_NODE
    read = d.ask("multi_read", "get|/m", "children|/m", "get|/nothing")
    assert [r["err"] for r in read["results"]] == [0, 0, NO_NODE]
    assert bytes.fromhex(read["results"][0]["data"]) == b"w"
    assert d.ask("multi")["err"] == 0


def test_acl_and_auth(driver):
    d = driver
    assert d.ask("auth", "digest", "bob:secret")["err"] == 0
    assert d.create("/locked", "x", 0, 0, "31,auth,")["err"] == 0
    acl = d.ask("get_acl", "/locked")
    assert acl["acls"] == [[31, "digest", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0="]]
    assert d.ask("set_acl", "/locked", -1, "1,world,anyone", "31,auth,")["stat"]["aversion"] == 1
    assert d.ask("set", "/locked", "y", -1)["err"] == 0
    assert len(d.ask("get_acl", "/locked")["acls"]) == 2


def test_auth_failure_is_final(shared, client_driver):
    with Driver(client_driver, shared.address) as d:
        assert d.ask("auth", "no-such-scheme", "x")["err"] == -115
        d.wait(kind="state", state=AUTH_FAILED)
        assert d.ask("exists", "/")["err"] == -115


def test_bad_arguments(driver):
    d = driver
    for path in ("", "a", "/a/", "//", "/a/../b"):
        assert d.create(path)["err"] == BAD_ARGUMENTS, path
        assert d.ask("exists", path)["err"] == BAD_ARGUMENTS, path
    assert d.create("/a", "x" * 1048600)["err"] == BAD_ARGUMENTS, "larger than a server takes"
    assert d.create("/a", "x" * 1000000)["err"] == 0


def test_one_shot_watches(driver):
    d = driver
    assert d.ask("exists", "/w", "exist")["err"] == NO_NODE
    d.create("/w")
    d.wait(kind="event", watch="exist", type=CREATED, path="/w")
    d.get("/w", "data")
    d.ask("children", "/w", "child")
    d.ask("set", "/w", "1", -1)
    d.wait(kind="event", watch="data", type=DATA_CHANGED, path="/w")
    d.create("/w/c")
    d.wait(kind="event", watch="child", type=CHILDREN_CHANGED, path="/w")
    d.drain()
    d.ask("set", "/w", "2", -1)
    assert not [i for i in d.drain() if i["kind"] == "event"], "one-shot watches fire once"


def test_persistent_watches(driver):
    d = driver
    d.create("/p")
    assert d.ask("add_watch", "/p", "one", "exact")["err"] == 0
    d.create("/q")
    assert d.ask("add_watch", "/q", "all", "recursive")["err"] == 0
    for top, in (("/p",), ("/q",)):
        d.create(top + "/c")
        d.create(top + "/c/d")
        d.ask("set", top + "/c/d", "x", -1)
    d.ask("sync", "/")
    events = [(i["watch"], i["type"], i["path"]) for i in d.drain() if i["kind"] == "event"]
    assert events == [("one", CHILDREN_CHANGED, "/p"), ("all", CREATED, "/q/c"), ("all", CREATED, "/q/c/d"),
                      ("all", DATA_CHANGED, "/q/c/d")]
    assert d.ask("remove_watches", "/q", 5)["err"] == 0
    d.wait(kind="event", watch="all", type=WATCH_REMOVED, path="/q")
    assert d.ask("remove_watches", "/q", 5)["err"] == NO_WATCHER
    d.ask("set", "/q/c", "x", -1)
    assert not [i for i in d.drain() if i["kind"] == "event"]
    assert d.ask("check_watches", "/p", 3)["err"] == 0
    assert d.ask("check_watches", "/q", 3)["err"] == NO_WATCHER


def test_one_shot_on_a_path_with_a_persistent_watch(driver):
    """Servers before 3.9 keep one mode for each path: a one-shot watch must not take the lasting one away."""
    d = driver
    d.create("/x")
    assert d.ask("add_watch", "/x", "all", "recursive")["err"] == 0
    d.get("/x", "once")
    for value in ("1", "2"):
        d.ask("set", "/x", value, -1)
        d.wait(kind="event", watch="all", type=DATA_CHANGED, path="/x")
    d.create("/x/y")
    d.wait(kind="event", watch="all", type=CREATED, path="/x/y")
    d.wait(kind="event", watch="once", type=DATA_CHANGED, path="/x")


def test_chroot_is_stripped_and_absent_chroot_is_no_node(shared, client_driver):
    with Driver(client_driver, shared.address + "/not/there") as d:
        assert d.create("/a")["err"] == NO_NODE
        assert d.ask("exists", "/")["err"] == NO_NODE


def test_reply_larger_than_the_limit_fails_alone(shared, root, client_driver):
    with Driver(client_driver, shared.address + root, "max_buffer=1000") as d:
        d.create("/big", "x" * 5000)
        ids = [d.send("exists", "/big"), d.send("get", "/big", ""), d.send("exists", "/big")]
        assert [d.result(i)["err"] for i in ids] == [0, MARSHALLING, 0]
        assert not [i for i in d.drain() if i["kind"] == "state"]


def test_pipelining(driver):
    ids = [driver.send("create", f"/n{i}", "x", 0, 0) for i in range(5000)]
    assert all(driver.result(i)["err"] == 0 for i in ids)
    assert driver.ask("exists", "/")["stat"]["num_children"] == 5000


def test_restart_keeps_session_and_watches(server, client_driver):
    with Driver(client_driver, server.address, "timeout=40000") as d:
        session = d.seen[-1]["session"]
        d.ask("auth", "digest", "bob:secret")
        d.create("/e", "x", EPHEMERAL)
        d.create("/locked", "x", 0, 0, "31,auth,")
        d.create("/w", "x")
        d.get("/w", "data")
        d.ask("exists", "/later", "exist")
        d.ask("add_watch", "/w", "lasting", "recursive")
        server.stop()
        d.wait(kind="state", state=CONNECTING)
        queued = d.send("get", "/e", "")
        server.start()
        assert d.wait(kind="state", state=CONNECTED)["session"] == session
        assert d.result(queued)["err"] == 0, "asked while disconnected, answered after; the ephemeral lives"
        assert d.get("/locked")["err"] == 0, "auth was replayed"
        d.drain()
        with Driver(client_driver, server.address) as other:
            other.ask("set", "/w", "y", -1)
            other.create("/later")
        d.wait(kind="event", watch="data", type=DATA_CHANGED, path="/w")
        d.wait(kind="event", watch="lasting", type=DATA_CHANGED, path="/w")
        d.wait(kind="event", watch="exist", type=CREATED, path="/later")


def test_in_flight_fails_with_connection_loss_and_deadlines_hold(server, client_driver):
    with Driver(client_driver, server.address, "timeout=4000") as d:
        server.pause()
        asked = d.send("exists", "/")
        assert d.result(asked)["err"] == CONNECTION_LOSS
        server.resume()
        d.wait(kind="state", state=CONNECTED)
    with Driver(client_driver, server.address, "deadline=500") as d:
        server.pause()
        assert d.ask("exists", "/")["err"] == TIMEOUT
        server.resume()
        assert d.ask("exists", "/")["err"] in (0, TIMEOUT)


def test_expiry_makes_a_new_session(server, client_driver):
    with Driver(client_driver, server.address, "timeout=1500") as d:
        session = d.seen[-1]["session"]
        d.create("/e", "x", EPHEMERAL)
        d.create("/w")
        d.get("/w", "once")
        d.ask("add_watch", "/w", "lasting", "exact")
        server.stop()
        d.wait(kind="state", state=EXPIRED)
        d.wait(kind="event", watch="once", type=SESSION, state=EXPIRED)
        server.start()
        new = d.wait(kind="state", state=CONNECTED)
        assert new["session"] not in ("0", session)
        d.drain()
        d.ask("set", "/w", "y", -1)
        d.wait(kind="event", watch="lasting", type=DATA_CHANGED)
        assert not [i for i in d.drain() if i.get("watch") == "once" and i["type"] != SESSION]


def test_no_new_session(server, client_driver):
    with Driver(client_driver, server.address, "timeout=1500", "no_new_session") as d:
        server.stop()
        d.wait(kind="state", state=EXPIRED)
        assert d.ask("exists", "/")["err"] == -112
        d.drain()
        server.start()
        with Driver(client_driver, server.address):
            pass
        assert not [i for i in d.drain() if i["kind"] == "state"]


def test_several_servers(shared, root, client_driver):
    dead = ",".join(f"127.0.0.1:{free_port()}" for _ in range(3))
    with Driver(client_driver, f"{dead},{shared.address}{root}", "no_shuffle") as d:
        assert d.ask("exists", "/")["err"] == 0
        state = [i for i in d.seen if i["kind"] == "state"][-1]
        assert state["server"] == shared.address
        assert [i for i in d.seen if i["kind"] == "log"], "the dead ones are named"
    name = shared.address.replace("127.0.0.1", "localhost")
    with Driver(client_driver, name + root) as d:
        assert d.ask("exists", "/")["err"] == 0


def test_close_ends_the_session_and_detach_does_not(shared, root, client_driver):
    with Driver(client_driver, shared.address + root) as watcher:
        one = Driver(client_driver, shared.address + root)
        one.create("/closed", "x", EPHEMERAL)
        one.close()
        assert watcher.ask("exists", "/closed")["err"] == NO_NODE
        two = Driver(client_driver, shared.address + root)
        two.create("/detached", "x", EPHEMERAL)
        two.close("detach")
        assert watcher.ask("exists", "/detached")["err"] == 0


# ---- tree cache ----


class Copy:
    """The tree as a cache's reports tell it; checks their order."""

    def __init__(self):
        self.nodes = {}
        self.removed = 0

    def take(self, item):
        path, change = item["path"], item["change"]
        if change == "added":
            assert path not in self.nodes
            parent = path.rsplit("/", 1)[0] or "/"
            assert path == min([path, *self.nodes], key=len) or parent in self.nodes, f"{path} before its parent"
            self.nodes[path] = item["data"]
        elif change == "changed":
            assert path in self.nodes
            self.nodes[path] = item["data"]
        else:
            assert not [p for p in self.nodes if p.startswith(path.rstrip("/") + "/")], f"{path} before its children"
            del self.nodes[path]
            self.removed += 1

    def until(self, d, change, timeout=60):
        while True:
            item = d.wait(timeout, check=lambda i: i["kind"] == "cache")
            if item["change"] == change:
                return item
            if item["change"] not in ("synced", "stale"):
                self.take(item)

    def until_equal(self, d, want, timeout=30):
        end = time.monotonic() + timeout
        want = {p: v.encode().hex() for p, v in want.items()}
        while self.nodes != want:
            item = d.wait(max(end - time.monotonic(), 0.01), check=lambda i: i["kind"] == "cache")
            if item["change"] not in ("synced", "stale"):
                self.take(item)


def fill(d, want):
    for path, value in want.items():
        assert d.create(path, value)["err"] == 0


def test_cache_follows(driver, shared, root, client_driver):
    want = {"/t": "r", "/t/a": "1", "/t/a/x": "2", "/t/b": "3", "/t/big": "z" * 3000}
    fill(driver, want)
    with Driver(client_driver, shared.address + root) as d:
        copy = Copy()
        assert d.call("cache", "/t") == 0
        copy.until(d, "synced")
        copy.until_equal(d, want)
        driver.ask("set", "/t/a", "new", -1)
        driver.create("/t/c", "4")
        driver.create("/t/c/y", "5")
        driver.ask("delete", "/t/a/x", -1)
        driver.ask("multi", "delete|/t/b|-1", "create|/t/b|again|0", "create|/t/b/z|6|0")
        copy.until_equal(d, {"/t": "r", "/t/a": "new", "/t/b": "again", "/t/b/z": "6", "/t/c": "4", "/t/c/y": "5",
                             "/t/big": "z" * 3000})
        assert d.call("cache_close") == 0
        driver.ask("set", "/t/a", "unheard", -1)
        d.ask("sync", "/")
        assert not [i for i in d.drain() if i["kind"] == "cache"]


def test_cache_waits_for_its_root(driver, shared, root, client_driver):
    with Driver(client_driver, shared.address + root) as d:
        copy = Copy()
        d.call("cache", "/late/root")
        copy.until(d, "synced")
        assert copy.nodes == {}
        fill(driver, {"/late": "", "/late/root": "x", "/late/root/y": "z"})
        copy.until_equal(d, {"/late/root": "x", "/late/root/y": "z"})
        driver.ask("multi", "delete|/late/root/y|-1", "delete|/late/root|-1")
        copy.until_equal(d, {})
        fill(driver, {"/late/root": "back"})
        copy.until_equal(d, {"/late/root": "back"})


def test_cache_large_tree(driver, shared, root, client_driver):
    fill(driver, {"/t": ""})
    ids = [driver.send("create", f"/t/{i}", f"v{i}", 0, 0) for i in range(3000)]
    ids += [driver.send("create", f"/t/{i}/c", "x", 0, 0) for i in range(0, 3000, 3)]
    assert all(driver.result(i)["err"] == 0 for i in ids)
    with Driver(client_driver, shared.address + root) as d:
        copy = Copy()
        d.call("cache", "/")
        copy.until(d, "synced")
        assert len(copy.nodes) == 4002


@pytest.mark.parametrize("loss", ["restart", "expiry"])
def test_cache_over_a_loss(server, client_driver, loss):
    """What changed meanwhile is reported, nothing else is; the tree is never reported empty."""
    want = {"/t": "r", "/t/keep": "1", "/t/keep/deep": "1", "/t/change": "old", "/t/gone": "x", "/t/gone/deep": "x",
            "/t/big": "z" * 3000, "/t/bigchange": "z" * 3000}
    with Driver(client_driver, server.address) as setup:
        fill(setup, want)
    timeout = 1500 if loss == "expiry" else 20000
    with Driver(client_driver, server.address, f"timeout={timeout}") as d:
        copy = Copy()
        d.call("cache", "/t")
        copy.until(d, "synced")
        copy.until_equal(d, want)
        server.stop()
        copy.until(d, "stale")
        if loss == "expiry":
            d.wait(kind="state", state=EXPIRED)
        stale = d.wait(kind="called", id=d.send("stale"))["stale_ms"]
        assert stale > 0
        # The world goes on without the client: another port, so that it cannot come back in between.
        port, server.port = server.port, free_port()
        if hasattr(server, "props"):
            server.props["clientPort"] = server.port
        server.start()
        with Driver(client_driver, server.address) as other:
            other.ask("set", "/t/change", "new", -1)
            other.ask("set", "/t/bigchange", "y" * 3000, -1)
            other.ask("multi", "delete|/t/gone/deep|-1", "delete|/t/gone|-1")
            fill(other, {"/t/keep/new": "n", "/t/keep/deep/er": "d"})
        server.stop()
        server.port = port
        if hasattr(server, "props"):
            server.props["clientPort"] = port
        assert not [i for i in d.drain() if i["kind"] == "cache"], "nothing is reported while the server is away"
        server.start()
        reports = []
        while True:
            item = d.wait(60, check=lambda i: i["kind"] == "cache")
            if item["change"] == "synced":
                break
            reports.append((item["change"], item["path"]))
            copy.take(item)
        assert sorted(reports) == [("added", "/t/keep/deep/er"), ("added", "/t/keep/new"),
                                   ("changed", "/t/bigchange"), ("changed", "/t/change"),
                                   ("removed", "/t/gone"), ("removed", "/t/gone/deep")]
        assert item["stale_ms"] == 0


def test_cache_survives_kills_under_writes(server, client_driver):
    """Writes go on over several kills of the server; in the end the copy is the tree."""
    with Driver(client_driver, server.address) as d, Driver(client_driver, server.address) as writer:
        assert writer.create("/t")["err"] == 0
        copy = Copy()
        d.call("cache", "/t")
        copy.until(d, "synced")
        for turn in range(3):
            ids = [writer.send("create", f"/t/{turn}-{i}", "x", 0, 0) for i in range(200)]
            writer.result(ids.pop(20))
            server.kill9()
            server.start()
            for i in ids:
                writer.result(i)
            copy.until(d, "synced")
            assert copy.removed == 0
        want = {"/t", *("/t/" + n for n in writer.ask("children", "/t")["children"][1:])}
        assert len(want) > 60
        while set(copy.nodes) != want:
            item = d.wait(check=lambda i: i["kind"] == "cache")
            if item["change"] not in ("synced", "stale"):
                copy.take(item)
        assert copy.removed == 0
