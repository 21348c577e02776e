"""Strangers and enemies at the client port of `quoll server`, while a well-behaved kazoo client works.

After each attack: the client still has its session and has lost no event, its requests were answered in time, and the server's memory stays
below a bound that has nothing to do with how long the attack went on.
"""
import os
import pathlib
import re
import resource
import socket
import struct
import threading
import time

import pytest
from kazoo.client import KazooClient

import zkjute as j
from quollsrv import QuollServer
from test_differential import OPEN, Closed, Link

WAIT_S = 30
SLOWEST_S = 5
RSS_MAX_KB = 300 << 10  # far above what the server needs, far below what the attacks ask for
MB = 1000000


@pytest.fixture(scope="module")
def server(build_dir):
    missing = QuollServer.available(build_dir)
    if missing:
        pytest.fail(missing)
    args = ["--http-listen", "off", "--set", "maxClientCnxns=0", "--set", "tickTime=2000", "--set", "preAllocSize=1024"]
    with QuollServer(build_dir, args=args) as s:
        yield s


def rss_kb(server, what="VmRSS"):
    return int(re.search(what + r":\s+(\d+)", pathlib.Path(f"/proc/{server.process.pid}/status").read_text()).group(1))


class GoodClient:
    """Writes and reads all the time, and watches what it writes."""

    def __init__(self, server, path="/good"):
        self.zk = KazooClient(server.address, timeout=20)
        self.zk.start(timeout=WAIT_S)
        self.session, self.path = self.zk.client_id, path
        self.zk.ensure_path(self.path)
        self.done, self.problem, self.slowest, self.rounds = threading.Event(), None, 0.0, 0
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        try:
            while not self.done.is_set():
                seen = threading.Event()
                self.zk.get(self.path, watch=lambda event, seen=seen: seen.set())
                value, start = b"%d" % self.rounds, time.monotonic()
                self.zk.set(self.path, value)
                assert self.zk.get(self.path)[0] == value
                self.slowest = max(self.slowest, time.monotonic() - start)
                assert seen.wait(WAIT_S), "a lost event"
                self.rounds += 1
                time.sleep(0.002)  # a client's pace: one that fills the machine would measure itself
        except Exception as e:  # told by finish()
            self.problem = e

    def finish(self):
        rounds, end = self.rounds, time.monotonic() + WAIT_S
        while self.rounds < rounds + 2 and not self.problem and time.monotonic() < end:
            time.sleep(0.01)  # it has to get through twice more
        self.done.set()
        self.thread.join(WAIT_S)
        same = self.zk.client_id == self.session and self.zk.connected
        self.zk.stop()
        self.zk.close()
        assert self.problem is None and same, f"the good client suffered: {self.problem!r}"
        assert self.rounds > rounds and self.slowest < SLOWEST_S, f"{self.rounds} rounds, the slowest {self.slowest:.1f} s"


@pytest.fixture(autouse=True)
def good(server):
    client = GoodClient(server)
    yield client
    client.finish()
    assert server.process.poll() is None, server.log_tail()
    if "asan" not in str(server.program) and "tsan" not in str(server.program):  # whose own memory is much more
        assert rss_kb(server, "VmHWM") < RSS_MAX_KB, f"{rss_kb(server, 'VmHWM')} kB at most, {rss_kb(server)} kB now"


def session(server):
    link = Link(server.port)
    link.send(j.connect(20000))
    link.frame()
    return link


def call(link, op, body=b"", xid=1):
    link.send(j.request(xid, op, body))
    return reply(link)


def reply(link):
    frame = link.frame()
    return (*struct.unpack(">iqi", frame[:16]), frame[16:])


def push(sock, data, seconds=2.0):
    """As much of data as the other side takes before it has stopped for a while."""
    sock.settimeout(seconds)
    try:
        sock.sendall(data)
    except OSError:
        pass


def big_node(server, path="/big"):
    link = session(server)
    call(link, j.CREATE, j.create(path, b"x" * MB, OPEN, 0))
    return link


STRANGERS = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "ssh": b"SSH-2.0-scanner\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "smb": b"\0\0\0\x2f\xffSMBr",
    "postgres": struct.pack(">ii", 8, 80877103),
    "half a length": b"\0\0",
    "half a connect": j.connect()[:20],
    "negative length": struct.pack(">i", -1) + b"x" * 100,
    "largest length": struct.pack(">i", 0x7fffffff) + b"x" * 100,
    "zero lengths": bytes(4000),
    "password of 2 GB": struct.pack(">iiqiqi", 44, 0, 0, 1000, 0, 0x7fffffff) + bytes(16),
    "telnet interrupt": bytes.fromhex("fff4fffd06"),
    "a word and rubbish": b"ruok" + os.urandom(5000),
    "connect, then rubbish": j.connect() + os.urandom(5000),
    "connect twice": j.connect() * 2,
    "session operations from a client": j.connect() + j.request(1, -10, struct.pack(">i", 1000)) + j.request(2, -1),
    "request without a header": j.connect() + struct.pack(">ii", 4, 1),
    "empty request": j.connect() + struct.pack(">i", 0),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers(server, name):
    for hang_up in (socket.SHUT_WR, None):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as s:
                push(s, STRANGERS[name])
                if hang_up is not None:
                    try:
                        s.shutdown(hang_up)
                        while s.recv(1 << 16):
                            pass
                    except OSError:
                        pass


def test_byte_by_byte(server):
    """Slow, but right: served like everybody."""
    slow = [Link(server.port) for _ in range(20)]
    talk = j.connect(20000) + j.request(1, j.GET_DATA, j.path_flag("/", 0)) + j.request(2, j.PING)
    for i in range(len(talk)):
        for link in slow:
            link.send(talk[i:i + 1])
    for link in slow:
        link.frame()
        assert reply(link)[0] == 1
        assert reply(link)[0] == -2
        link.socket.close()


def test_ten_thousand_connections_come_and_go(server):
    for i in range(10000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as s:
            if i % 3 == 0:
                s.sendall(b"\0\0\0\x2c" if i % 2 else b"srvr")
    assert "Mode: standalone" in server.four_letter("srvr")


def test_a_thousand_idle_connections(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    idle = [Link(server.port) for _ in range(500)] + [session(server) for _ in range(500)]
    for link in idle[500:]:
        assert call(link, j.PING)[2] == 0
    for link in idle:
        link.socket.close()


def test_connections_over_the_limit(build_dir):
    args = ["--http-listen", "off", "--set", "maxClientCnxns=20", "--set", "preAllocSize=1024"]
    with QuollServer(build_dir, args=args) as own:
        kept = session(own)
        refused = 0
        crowd = []
        for _ in range(500):
            crowd.append(socket.create_connection(("127.0.0.1", own.port), timeout=WAIT_S))
        for s in crowd[30:]:
            try:
                refused += s.recv(1) == b""
            except OSError:
                refused += 1
        assert refused == len(crowd) - 30
        assert call(kept, j.PING)[2] == 0
        for s in crowd:
            s.close()


def test_reads_of_big_data_never_received(server):
    greedy = [big_node(server) for _ in range(10)]
    for link in greedy:
        push(link.socket, b"".join(j.request(n, j.GET_DATA, j.path_flag("/big", 0)) for n in range(2000)), 0.2)
    for link in greedy:
        link.socket.close()


def test_one_request_that_asks_for_gigabytes(server):
    """A multiRead of 40,000 steps, each of 1 MB: refused, not made."""
    link = big_node(server)
    link.send(j.request(1, j.MULTI_READ, j.multi([(j.GET_DATA, j.path_flag("/big", 0))] * 40000)))
    xid, _, err, body = reply(link)
    assert (xid, err, body) == (1, -5, b"")
    assert call(link, j.MULTI_READ, j.multi([(j.GET_DATA, j.path_flag("/big", 0))] * 5))[2] == 0
    link.socket.close()


def test_hundred_thousand_children(server):
    link = session(server)
    call(link, j.CREATE, j.create("/many", b"", OPEN, 0))
    for start in range(0, 100000, 2000):
        steps = [(j.CREATE, j.create("/many/a-rather-long-name-", b"", OPEN, 2))] * 2000
        assert call(link, j.MULTI, j.multi(steps), start)[2] == 0
    for _ in range(5):
        _, _, err, body = call(link, j.GET_CHILDREN, j.path_flag("/many", 0))
        assert err == 0 and struct.unpack(">i", body[:4])[0] == 100000
    push(link.socket, b"".join(j.request(n, j.GET_CHILDREN, j.path_flag("/many", 0)) for n in range(2000)), 0.5)
    link.socket.close()


def test_huge_multis(server):
    link = session(server)
    call(link, j.CREATE, j.create("/multi", b"", OPEN, 0))
    many = 30000
    assert call(link, j.MULTI, j.multi([(j.SET_DATA, j.set_data("/multi", b"x", -1))] * many))[2] == 0
    assert j.decode(j.GET_DATA, call(link, j.GET_DATA, j.path_flag("/multi", 0))[3])[1]["version"] == many
    failing = [(j.SET_DATA, j.set_data("/multi", b"y", -1))] * many + [(j.CHECK, j.path_version("/none", -1))]
    assert call(link, j.MULTI, j.multi(failing))[2] == 0
    assert j.decode(j.GET_DATA, call(link, j.GET_DATA, j.path_flag("/multi", 0))[3])[0] == b"x"
    assert call(link, j.MULTI, j.multi([(j.CHECK, j.path_version("/multi", -1))] * 40000))[2] == 0
    link.send(j.request(9, j.MULTI, b"\0" * (MB - 100)))  # steps of type 0
    assert reply(link)[2] == -5
    link.socket.close()


def test_deep_paths(server):
    link = session(server)
    deep = "/d" * 400000
    for op, body in ((j.CREATE, j.create(deep, b"", OPEN, 0)), (j.GET_DATA, j.path_flag(deep, 0)), (j.EXISTS, j.path_flag(deep, 1)),
                     (j.DELETE, j.path_version(deep, -1)), (j.ADD_WATCH, j.path_version(deep, 1)), (j.SYNC, j.string(deep)),
                     (j.REMOVE_WATCHES, j.path_version(deep, 3)), (j.GET_EPHEMERALS, j.string(deep))):
        assert call(link, op, body)[2] in (0, -101), op
    path, made = "", 0
    while made < 3000:
        steps = []
        for _ in range(100):
            path += "/d"
            steps.append((j.CREATE, j.create(path, b"", OPEN, 0)))
        assert call(link, j.MULTI, j.multi(steps))[2] == 0
        made += 100
    assert call(link, j.GET_ALL_CHILDREN_NUMBER, j.string("/d"))[3] == struct.pack(">i", 2999)
    assert call(link, j.ADD_WATCH, j.path_version("/d", 1))[2] == 0
    link.send(j.request(5, j.SET_DATA, j.set_data(path, b"x", -1)))
    assert reply(link)[0] == -1
    assert reply(link)[0] == 5
    link.socket.close()


def test_events_never_received(server):
    """Watchers of everything that do not read, while somebody writes a lot: they are cut off, and nobody else."""
    blind = [session(server) for _ in range(4)]
    for link in blind:
        assert call(link, j.ADD_WATCH, j.path_version("/", 1))[2] == 0
    writer = session(server)
    path = "/" + "long" * 25000
    assert call(writer, j.CREATE, j.create(path, b"", OPEN, 0))[2] == 0
    for n in range(500):
        assert call(writer, j.SET_DATA, j.set_data(path, b"", -1), n)[2] == 0
    assert call(writer, j.DELETE, j.path_version(path, -1))[2] == 0
    for link in blind:
        with pytest.raises(Closed):
            for _ in range(502):
                link.frame()
        link.socket.close()
    writer.socket.close()


def test_watches_in_great_lists(server):
    link = session(server)
    names = [f"/none/{n}" for n in range(50000)]
    assert call(link, j.SET_WATCHES, j.set_watches(0, [], names, []))[2] == 0
    link.send(j.request(7, j.SET_WATCHES, j.set_watches(0, names, [], [])))
    events = 0
    while (got := reply(link))[0] == -1:
        events += 1
    assert got[0] == 7 and events == len(names)
    link.socket.close()


def test_authentication_without_end(server):
    """Identities are kept for as long as a connection lives; a client cannot make the server keep more and more."""
    link = session(server)
    for n in range(3000):
        xid, _, err, _ = call(link, j.AUTH, j.auth("digest", b"user:%d" % (n % 3)), -4)
        assert (xid, err) == (-4, 0)
    assert len(j.decode(j.WHO_AM_I, call(link, j.WHO_AM_I)[3])[0]) == 4
    link.socket.close()
