"""`quoll server` and Apache's server on each other's data directories, after kill -9, as their users would do it.

What must be the same on both sides: every znode with its data, ACL and whole Stat, and the sessions, which their clients take up again on the
other server. Small snapCount and log files, so that snapshots are written in the middle.
"""
import base64
import hashlib
import queue
import random
import re
import shutil
import struct

import pytest
from kazoo.client import KazooClient
from kazoo.recipe.watchers import ChildrenWatch, DataWatch

import apache
import zkjute as j
from skipping import skip_loudly
from quollsrv import QuollServer
from test_differential import BOB, OPEN, Closed, Link
from zkserver import eventually, free_port

SUPER = "super:" + base64.b64encode(hashlib.sha1(b"super:secret").digest()).decode()
SETTINGS = {"maxSessionTimeout": 120000, "DigestAuthenticationProvider.superDigest": SUPER, "maxClientCnxns": 0, "preAllocSize": 64}
WRITES = 400


@pytest.fixture(scope="module", autouse=True)
def needs_both(build_dir):
    missing = apache.available() or QuollServer.available(build_dir)
    if missing:
        skip_loudly(missing)


class Session:
    """A raw session, which outlives its connections."""

    def __init__(self, server, timeout_ms=60000):
        self.id, self.passwd, self.xid, self.timeout_ms = 0, bytes(16), 0, timeout_ms
        self.attach(server)

    def attach(self, server):
        """On any server that has the session's data; raises Closed when the session is gone."""
        self.link = Link(server.port)
        self.link.send(j.connect(self.timeout_ms, self.id, self.passwd))
        r = j.Reader(self.link.frame())
        _, timeout, got, passwd = *r.unpack(">iiq"), r.bytes()
        if timeout <= 0:
            raise Closed()
        assert self.id in (0, got)
        self.id, self.passwd = got, passwd

    def call(self, op, body=b""):
        """(err, values)"""
        self.xid += 1
        self.link.send(j.request(self.xid, op, body))
        while True:
            frame = self.link.frame()
            r = j.Reader(frame)
            xid, _, err = r.unpack(">iqi")
            if xid != -1:
                return err, None if err else j.decode(op, frame[16:])

    def close(self):
        assert self.call(j.CLOSE)[0] == 0
        self.link.socket.close()


def tree_of(server):
    """Every znode: data, ACL and Stat, by the super user, through a session that is closed again."""
    s = Session(server)
    assert s.call(j.AUTH, j.auth("digest", b"super:secret"))[0] == 0
    nodes, todo = {}, ["/"]
    while todo:
        path = todo.pop()
        (data, stat), (acl, _), (names,) = (s.call(op, body)[1] for op, body in (
            (j.GET_DATA, j.path_flag(path, 0)), (j.GET_ACL, j.string(path)), (j.GET_CHILDREN, j.path_flag(path, 0))))
        nodes[path] = (data, acl, stat)
        todo += [path.rstrip("/") + "/" + name for name in names]
    s.close()
    return nodes


def same_tree(a, b):
    assert sorted(a) == sorted(b)
    for path, node in a.items():
        assert node == b[path], path


class Work:
    """A varied load of some sessions. What is written depends on the seed only."""

    TOPS = ("/plain", "/seq", "/acl", "/con", "/quota")

    def __init__(self, server, seed):
        self.r = random.Random(seed)
        self.sessions = [Session(server) for _ in range(3)]
        for top in self.TOPS:
            self.sessions[0].call(j.CREATE, j.create(top, b"", OPEN, 0))
        quota = "/zookeeper/quota/quota"
        for path, data in ((quota, b""), (quota + "/zookeeper_limits", b"count=5,bytes=100"), (quota + "/zookeeper_stats", b"count=0,bytes=0")):
            self.sessions[0].call(j.CREATE, j.create(path, data, OPEN, 0))

    def attach(self, server):
        for s in self.sessions:
            s.attach(server)

    def path(self):
        return self.r.choice(self.TOPS) + "".join("/" + self.r.choice("abcd") for _ in range(self.r.randrange(1, 4)))

    def step(self):
        r = self.r
        path, data = self.path(), r.choice((None, b"", b"some data", bytes(range(256)) * 4))
        acl = r.choice((OPEN, [(31, "digest", BOB)], [(1, "world", "anyone"), (31, "ip", "127.0.0.1/8")], [(31, "auth", "")])) if path.startswith("/acl") else OPEN
        return r.choice((
            lambda: (j.CREATE, j.create(path, data, acl, r.choice((0, 0, 0, 1, 2, 3)))),
            lambda: (j.CREATE2, j.create(path, data, acl, r.choice((0, 0, 1, 2)))),
            lambda: (j.CREATE_CONTAINER, j.create(path, data, acl, 4)),
            lambda: (j.CREATE_TTL, j.create_ttl(path, data, acl, r.choice((5, 6)), 3600000 + r.randrange(1000))),
            lambda: (j.DELETE, j.path_version(path, -1)),
            lambda: (j.SET_DATA, j.set_data(path, data, r.choice((-1, -1, 0)))),
            lambda: (j.SET_ACL, j.set_acl(path, acl, r.choice((-1, 0)))),
        ))()

    def run(self, steps):
        for _ in range(steps):
            s = self.r.choice(self.sessions)
            if self.r.random() < 0.2:
                made = [self.step() for _ in range(self.r.randrange(1, 5))]
                s.call(j.MULTI, j.multi([m for m in made if m[0] != j.SET_ACL]))
            elif self.r.random() < 0.03:
                Session(self.server_of(s)).close()
            else:
                s.call(*self.step())

    @staticmethod
    def server_of(session):
        class Same:
            port = session.link.socket.getpeername()[1]
        return Same


class Servers:
    """Ours and Apache's over copies of one data directory; at most one runs."""

    def __init__(self, build_dir, top, snap_count, **settings):
        self.top, self.count = top, 0
        self.settings = {**SETTINGS, "snapCount": snap_count, **settings}
        self.build_dir, self.running = build_dir, None

    def start(self, kind, data=None):
        """kind: quoll or apache. data: the directory (of a server that ended) to start on a copy of."""
        self.count += 1
        top = self.top / f"{self.count}-{kind}"
        top.mkdir()
        if data:
            shutil.copytree(data / "data", top / "data")
        if kind == "quoll":
            args = [a for k, v in self.settings.items() for a in ("--set", f"{k}={v}")]
            server = QuollServer(self.build_dir, top, args=[*args, "--http-listen", "off"])
        else:
            server = apache.ApacheServer(top, props=self.settings)
        self.running = server.start()
        return server

    def kill(self):
        server, self.running = self.running, None
        server.kill9()
        return server.datadir


@pytest.fixture(params=[100000, 60], ids=["log only", "snapshots between"])
def servers(build_dir, tmp_path, request):
    s = Servers(build_dir, tmp_path, request.param)
    yield s
    if s.running:
        s.running.kill9()


def snapshots(data):
    return [p.name for p in (data / "data" / "version-2").glob("snapshot.*") if re.fullmatch(r"snapshot\.[1-9a-f][0-9a-f]*", p.name)]


@pytest.mark.parametrize("order", [("quoll", "apache", "quoll", "apache"), ("apache", "quoll", "apache")], ids="-".join)
def test_there_and_back(servers, order):
    """Each server goes on where the one before it was killed, and shows what that one showed."""
    server = servers.start(order[0])
    work = Work(server, 7)
    for number, kind in enumerate(order[1:]):
        work.run(WRITES)
        before = tree_of(server)
        assert len(before) > 60
        assert sum(1 for _, _, stat in before.values() if stat["ephemeralOwner"]) > 5
        data = servers.kill()
        if servers.settings["snapCount"] == 60:
            assert len(snapshots(data)) >= 2
        server = servers.start(kind, data)
        same_tree(before, tree_of(server))
        work.attach(server)  # by the passwords that the other server gave out
        for s in work.sessions:
            mine = s.call(j.GET_EPHEMERALS, j.string("/"))[1][0]
            assert mine == sorted(p for p, (_, _, stat) in before.items() if stat["ephemeralOwner"] == s.id), number
    for s in work.sessions:
        s.close()
    assert not [p for p, (_, _, stat) in tree_of(server).items() if stat["ephemeralOwner"]]


# ---- our server killed and started again on its own directory ----


@pytest.fixture
def own(build_dir):
    with QuollServer(build_dir, args=["--http-listen", "off", "--set", "tickTime=200", "--set", "preAllocSize=64", "--set", "maxSessionTimeout=60000"]) as s:
        yield s


def test_sessions_survive_and_the_silent_ones_expire(own):
    kept, lost, closed = Session(own), Session(own, 600), Session(own)
    for n, s in enumerate((kept, lost, closed)):
        assert s.call(j.CREATE, j.create(f"/e{n}", b"", OPEN, 1))[0] == 0
    closed.close()
    for _ in range(3):
        own.kill9()
        own.start()
        kept.attach(own)
        assert kept.call(j.EXISTS, j.path_flag("/e0", 0))[1][0]["ephemeralOwner"] == kept.id
        assert kept.call(j.EXISTS, j.path_flag("/e2", 0))[0] == -101
    kept.call(j.EXISTS, j.path_flag("/e1", 1))
    eventually(lambda: kept.call(j.EXISTS, j.path_flag("/e1", 0))[0] == -101, what="the end of the ephemeral of a session that is gone")
    with pytest.raises(Closed):
        lost.attach(own)
    with pytest.raises(Closed):
        closed.attach(own)
    own.kill9()
    own.start()
    kept.attach(own)
    assert kept.call(j.EXISTS, j.path_flag("/e1", 0))[0] == -101
    assert kept.call(j.GET_EPHEMERALS, j.string("/"))[1] == [["/e0"]]
    fresh = Session(own)
    assert fresh.id not in (kept.id, lost.id, closed.id)


def test_watches_come_back_with_their_client(own):
    """What others change while the server is away from a client (here: on another port) is told after the restart: to kazoo's recipes, which
    look again, and to a client that sends setWatches, as the Java and C clients do."""
    zk = KazooClient(own.address, timeout=20, connection_retry={"max_tries": -1, "max_delay": 0.1})
    zk.start(timeout=30)
    for path in ("/data", "/kids", "/later", "/gone"):
        zk.create(path, b"")
    values, lists, session = queue.Queue(), queue.Queue(), zk.client_id
    DataWatch(zk, "/data", lambda data, stat: values.put(data))
    ChildrenWatch(zk, "/kids", lists.put)
    assert (values.get(timeout=30), lists.get(timeout=30)) == (b"", [])
    raw = Session(own)
    seen = raw.call(j.EXISTS, j.path_flag("/later", 0))[1][0]["czxid"] + 1  # /gone was created after it
    port = own.port
    own.kill9()
    own.port = free_port()
    own.start()
    other = Session(own)  # behind the clients' backs
    for op, body in ((j.SET_DATA, j.set_data("/data", b"new", -1)), (j.CREATE, j.create("/kids/a", b"", OPEN, 0)),
                     (j.DELETE, j.path_version("/gone", -1)), (j.CREATE, j.create("/none", b"", OPEN, 0))):
        assert other.call(op, body)[0] == 0
    own.kill9()
    own.port = port
    own.start()
    assert (values.get(timeout=30), lists.get(timeout=30)) == (b"new", ["a"])
    raw.attach(own)
    raw.link.send(j.request(1, j.SET_WATCHES, j.set_watches(seen, ["/data", "/later", "/gone"], ["/none", "/never"], ["/kids"])))
    events = [j.event(raw.link.frame()[16:]) for _ in range(4)]
    assert events == [(3, 3, "/data"), (2, 3, "/gone"), (1, 3, "/none"), (4, 3, "/kids")]
    assert struct.unpack(">iqi", raw.link.frame())[::2] == (1, 0)
    other.attach(own)
    assert other.call(j.SET_DATA, j.set_data("/later", b"new", -1))[0] == 0
    assert j.event(raw.link.frame()[16:]) == (3, 3, "/later")
    zk.set("/data", b"newer")
    assert values.get(timeout=30) == b"newer"
    assert values.empty() and lists.empty() and zk.client_id == session
    zk.stop()
    zk.close()
