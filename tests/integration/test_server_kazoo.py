"""The server under foreign clients: kazoo and its recipes, Apache's C client (cli_mt) and Java shell (zkCli.sh), and bytes from nobody."""
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (BadVersionError, NoAuthError, NodeExistsError, NoNodeError, NotEmptyError, RolledBackError,
                              RuntimeInconsistency)
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.party import Party
from kazoo.recipe.queue import LockingQueue, Queue
from kazoo.recipe.watchers import ChildrenWatch, DataWatch
from kazoo.security import make_digest_acl

import rawzk
from skipping import skip_loudly
from driversrv import DriverServer
from zkserver import eventually

WAIT_S = 30


@pytest.fixture(scope="module")
def server(build_dir):
    with DriverServer(build_dir, extendedTypesEnabled="true", **{"4lw.commands.whitelist": "*"}) as s:
        yield s


@pytest.fixture
def connect(server):
    """Makes clients; ends them afterwards."""
    clients = []

    def make(**kwargs):
        client = KazooClient(hosts=server.address, timeout=kwargs.pop("timeout", 4), **kwargs)
        client.start(timeout=WAIT_S)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.stop()
        client.close()


@pytest.fixture
def zk(connect):
    return connect()


@pytest.fixture
def base(zk, request):
    path = "/" + re.sub(r"\W", "_", request.node.name)
    zk.ensure_path(path)
    return path


class Events:
    """Collects what it is called with; wait(n) returns the first n."""

    def __init__(self):
        self.list, self.changed = [], threading.Condition()

    def __call__(self, *args):
        with self.changed:
            self.list.append(args[0] if len(args) == 1 else args)
            self.changed.notify_all()

    def wait(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.list) >= n, WAIT_S), f"{self.list} instead of {n} events"
            return self.list[:n]


# ---- data ----


def test_crud(zk, base):
    path = zk.create(f"{base}/a", b"one")
    assert path == f"{base}/a"
    data, stat = zk.get(path)
    assert (data, stat.version, stat.dataLength, stat.numChildren, stat.ephemeralOwner) == (b"one", 0, 3, 0, 0)
    assert stat.czxid == stat.mzxid == stat.pzxid
    assert zk.set(path, b"two", version=0).version == 1
    with pytest.raises(BadVersionError):
        zk.set(path, b"three", version=0)
    with pytest.raises(NodeExistsError):
        zk.create(path)
    zk.create(f"{path}/child", b"")
    assert zk.get_children(base) == ["a"]
    assert zk.exists(path).numChildren == 1
    with pytest.raises(NotEmptyError):
        zk.delete(path)
    zk.delete(f"{path}/child")
    zk.delete(path, version=1)
    assert zk.exists(path) is None
    with pytest.raises(NoNodeError):
        zk.get(path)
    assert zk.create(f"{base}/stat", b"xyz", include_data=True)[1].dataLength == 3
    assert zk.sync(base) == base


def test_large_values(zk, base):
    big = os.urandom(1000000)
    zk.create(f"{base}/big", big)
    assert zk.get(f"{base}/big")[0] == big
    assert [zk.get(f"{base}/big")[0] == big for _ in range(10)] == [True] * 10


def test_many_children(zk, base):
    handles = [zk.create_async(f"{base}/child-with-a-longer-name-{i:05}") for i in range(5000)]
    assert all(h.get(timeout=WAIT_S) for h in handles)
    assert len(zk.get_children(base)) == 5000
    assert zk.exists(base).numChildren == 5000


def test_sequences(zk, base):
    names = [zk.create(f"{base}/n-", sequence=True) for _ in range(12)]
    assert names == [f"{base}/n-{i:010}" for i in range(12)]


def test_ephemerals(connect, zk, base):
    other = connect()
    path = other.create(f"{base}/e", ephemeral=True)
    assert zk.exists(path).ephemeralOwner == other.client_id[0]
    gone = Events()
    zk.exists(path, watch=gone)
    other.stop()
    assert gone.wait(1)[0].type == "DELETED"
    assert zk.exists(path) is None


def test_transactions(zk, base):
    t = zk.transaction()
    t.create(f"{base}/a", b"1")
    t.set_data(f"{base}/a", b"2")
    t.check(f"{base}/a", version=1)
    t.create(f"{base}/s", sequence=True)
    results = t.commit()
    assert results[0] == f"{base}/a" and results[1].version == 1 and results[2] is True
    t = zk.transaction()
    t.create(f"{base}/b")
    t.delete(f"{base}/none")
    t.create(f"{base}/c")
    results = t.commit()
    assert [type(r) for r in results] == [RolledBackError, NoNodeError, RuntimeInconsistency]
    assert zk.exists(f"{base}/b") is None


def test_digest_acl(connect, zk, base):
    acl = make_digest_acl("user", "secret", all=True)
    zk.create(f"{base}/private", b"x", acl=[acl])
    for call in (lambda: zk.get(f"{base}/private"), lambda: zk.set(f"{base}/private", b""),
                 lambda: zk.create(f"{base}/private/c")):
        with pytest.raises(NoAuthError):
            call()
    owner = connect(auth_data=[("digest", "user:secret")])
    assert owner.get(f"{base}/private")[0] == b"x"
    zk.add_auth("digest", "user:secret")
    assert zk.get(f"{base}/private")[0] == b"x"
    assert zk.get_acls(f"{base}/private")[0] == [acl]
    wrong = connect(auth_data=[("digest", "user:wrong")])
    with pytest.raises(NoAuthError):
        wrong.get(f"{base}/private")


# ---- watches ----


def test_watches(connect, zk, base):
    other, seen = connect(), Events()
    path = f"{base}/w"
    assert zk.exists(path, watch=seen) is None
    other.create(path)
    assert seen.wait(1)[0][:1] + seen.list[0][2:] == ("CREATED", path)
    zk.get(path, watch=seen)
    other.set(path, b"1")
    other.set(path, b"2")
    zk.get_children(path, watch=seen)
    other.create(f"{path}/c")
    other.create(f"{path}/d")
    assert [e.type for e in seen.wait(3)] == ["CREATED", "CHANGED", "CHILD"]
    zk.get(path, watch=seen)
    other.delete(path, recursive=True)
    assert seen.wait(4)[3].type == "DELETED"
    zk.sync(base)
    assert len(seen.list) == 4


def test_event_precedes_the_reply_that_shows_it(server, connect, base):
    """On one connection: whoever reads new data has been told before."""
    path = f"{base}/order"
    writer = connect()
    writer.create(path, b"0")
    raw = rawzk.RawClient(server.port, timeout_ms=20000)
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            writer.set(path, str(i).encode())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        watched, told, xid = None, True, 0
        for _ in range(3000):
            xid += 1
            raw.send(rawzk.with_watch(xid, rawzk.GET, path, watch=True))
            while (got := raw.reply())[0] == -1:
                told = True
            size = struct.unpack(">i", got[3][:4])[0]
            value = int(got[3][4:4 + size])
            assert told or watched == value, f"read {value} before the event of the change from {watched}"
            watched, told = value, False
    finally:
        stop.set()
        thread.join()
        raw.close()


def test_events_and_replies_in_the_order_of_their_zxids(server, zk, base):
    """Writes that are committed together: the event of a later one does not overtake the reply to an earlier one."""
    zk.create(f"{base}/n", b"")
    c = rawzk.RawClient(server.port)
    watch = rawzk.string(f"{base}/n") + struct.pack(">i", 0)
    assert c.call(rawzk.request(1, 106, watch))[2] == 0
    for burst in range(10):
        c.send(b"".join(rawzk.set_data(10 + i, f"{base}/n", b"") for i in range(50)))
        got = [c.reply()[:2] for _ in range(100)]
        zxids = [zxid for _, zxid in got]
        assert [xid for xid, _ in got] == [x for i in range(50) for x in (-1, 10 + i)], burst
        assert zxids == sorted(zxids)
    c.close()


def test_watch_recipes(zk, base):
    data, children = Events(), Events()
    DataWatch(zk, f"{base}/d", lambda value, stat: data(value))
    zk.create(f"{base}/d", b"1")
    data.wait(2)
    zk.set(f"{base}/d", b"2")
    assert data.wait(3) == [None, b"1", b"2"]
    ChildrenWatch(zk, base, lambda names: children(sorted(names)))
    zk.create(f"{base}/e")
    assert children.wait(2) == [["d"], ["d", "e"]]


# ---- sessions ----


def test_reattach(server, zk, base):
    """The connection breaks, the session does not: ephemerals stay, and kazoo's watch recipe goes on."""
    states, values = Events(), Events()
    zk.add_listener(states)
    path = zk.create(f"{base}/e", ephemeral=True)
    session = zk.client_id[0]
    DataWatch(zk, path, lambda value, stat: values(value))
    zk._connection._socket.shutdown(socket.SHUT_RDWR)  # kazoo's own way of simulating a broken link
    assert states.wait(2) == [KazooState.SUSPENDED, KazooState.CONNECTED]
    assert zk.client_id[0] == session
    assert zk.exists(path)
    zk.set(path, b"after")
    eventually(lambda: values.list[-1] == b"after", what="the new value")


def test_expiry_of_a_killed_client(zk, server, base):
    """A client that dies without a word: its ephemeral goes when its session's time is over, not before."""
    code = ("import sys,time; from kazoo.client import KazooClient\n"
            f"k=KazooClient(hosts='{server.address}',timeout=2); k.start(); k.create('{base}/e',ephemeral=True)\n"
            "print('up',flush=True); time.sleep(1000)\n")
    child = subprocess.Popen(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"up\n"
    gone = Events()
    assert zk.exists(f"{base}/e", watch=gone)
    child.kill()
    start = time.monotonic()
    child.wait()
    child.stdout.close()
    assert gone.wait(1)[0].type == "DELETED"
    assert 0.5 < time.monotonic() - start < 10  # 2 s, pinged at most 2/3 of that ago


def test_silent_session_expires_and_its_connection_closes(server):
    start = time.monotonic()
    silent = rawzk.RawClient(server.port, timeout_ms=400)
    assert silent.timeout_ms == 400
    with pytest.raises(ConnectionError):
        silent.receive()
    assert 0.4 <= time.monotonic() - start < WAIT_S
    again = rawzk.RawClient(server.port, session=silent.session, passwd=silent.passwd)
    assert (again.session, again.timeout_ms) == (0, 0)


def test_reads_keep_a_session_alive(server):
    """Four times the session's timeout, with nothing but reads."""
    reader = rawzk.RawClient(server.port, timeout_ms=1500)  # a client that the machine lets wait for longer has lost it rightly
    end, xid = time.monotonic() + 6, 0
    while time.monotonic() < end:
        xid += 1
        assert reader.call(rawzk.with_watch(xid, rawzk.EXISTS, "/"))[2] == 0
        time.sleep(0.05)  # a slow client
    reader.close()


def test_the_last_request_of_a_connection_counts(build_dir):
    """A session lives its timeout from its client's last request, whatever else the server was busy with and however soon the connection went."""
    with DriverServer(build_dir, tickTime=1000, minSessionTimeout=2000, **{"quoll.netThreads": 1}) as own:
        busy, short = rawzk.RawClient(own.port, timeout_ms=20000), rawzk.RawClient(own.port, timeout_ms=4000)
        assert short.call(rawzk.create(1, "/short", flags=1))[2] == 0

        def lives():
            return busy.call(rawzk.with_watch(1, rawzk.EXISTS, "/short"))[2] == 0

        start = time.monotonic()
        while time.monotonic() - start < 3:
            assert lives()
        short.send(rawzk.request(2, rawzk.PING))
        heard = time.monotonic()
        assert lives()
        short.reply()
        short.close()
        while lives():
            assert time.monotonic() - heard < WAIT_S
            time.sleep(0.005)
        assert time.monotonic() - heard >= 4
        busy.close()


def test_expired_session_is_told(connect, server):
    lost = connect(timeout=1)
    states = Events()
    lost.add_listener(states)
    session, passwd = lost.client_id
    closer = rawzk.RawClient(server.port, session=session, passwd=passwd)  # takes the session over, and ends it
    closer.call(rawzk.request(1, rawzk.CLOSE))
    assert KazooState.LOST in states.wait(2)
    eventually(lambda: lost.connected and lost.client_id[0] != session, what="a new session")


def test_restart_keeps_data_and_sessions(build_dir):
    with DriverServer(build_dir) as own:
        zk = KazooClient(hosts=own.address, timeout=4, connection_retry={"max_tries": -1, "max_delay": 0.2})
        zk.start(timeout=WAIT_S)
        states = Events()
        zk.create("/kept", b"value")
        zk.create("/eph", ephemeral=True)
        before, session = zk.get("/kept"), zk.client_id[0]
        zk.add_listener(states)
        own.stop()
        own.start()
        assert states.wait(2) == [KazooState.SUSPENDED, KazooState.CONNECTED]
        assert zk.client_id[0] == session
        assert zk.get("/kept") == before
        assert zk.exists("/eph").ephemeralOwner == session
        zk.stop()
        zk.close()


# ---- recipes ----


def test_lock(connect, base):
    order, holders = Events(), []

    def work(client, name):
        with client.Lock(f"{base}/lock", name):
            holders.append(name)
            assert len(holders) == 1
            order(name)
            holders.remove(name)

    threads = [threading.Thread(target=work, args=(connect(), f"w{i}")) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(WAIT_S)
    assert sorted(order.list) == ["w0", "w1", "w2", "w3"]


def test_lock_of_a_dead_holder_passes_on(connect, base):
    holder, waiter = connect(), connect()
    assert holder.Lock(f"{base}/lock").acquire(timeout=WAIT_S)
    lock = waiter.Lock(f"{base}/lock")
    threading.Timer(0.1, holder.stop).start()
    assert lock.acquire(timeout=WAIT_S)
    lock.release()


def test_election(connect, base):
    led = Events()
    elections = [Election(connect(), f"{base}/e", f"c{i}") for i in range(3)]
    threads = [threading.Thread(target=e.run, args=(led, f"c{i}")) for i, e in enumerate(elections)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(WAIT_S)
    assert sorted(led.list) == ["c0", "c1", "c2"]


def test_barrier(connect, zk, base):
    barrier = Barrier(zk, f"{base}/b")
    barrier.create()
    passed = Events()
    thread = threading.Thread(target=lambda: passed(Barrier(connect(), f"{base}/b").wait(WAIT_S)))
    thread.start()
    barrier.remove()
    thread.join(WAIT_S)
    assert passed.list == [True]


def test_double_barrier(connect, base):
    inside = Events()

    def run(client, i):
        barrier = DoubleBarrier(client, f"{base}/b", 3, f"p{i}")
        barrier.enter()
        inside(i)
        barrier.leave()

    threads = [threading.Thread(target=run, args=(connect(), i)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(WAIT_S)
    assert sorted(inside.list) == [0, 1, 2]


def test_counter(connect, base):
    def count(client):
        counter = Counter(client, f"{base}/c")
        for _ in range(10):
            counter += 1

    clients = [connect() for _ in range(3)]
    threads = [threading.Thread(target=count, args=(c,)) for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join(WAIT_S)
    assert Counter(clients[0], f"{base}/c").value == 30


def test_queues(zk, base):
    queue = Queue(zk, f"{base}/q")
    for item in (b"1", b"2", b"3"):
        queue.put(item)
    assert len(queue) == 3
    assert [queue.get() for _ in range(4)] == [b"1", b"2", b"3", None]
    locking = LockingQueue(zk, f"{base}/lq")
    locking.put(b"low", priority=200)
    locking.put(b"high", priority=1)
    assert locking.get(timeout=WAIT_S) == b"high"
    assert locking.consume()
    assert locking.get(timeout=WAIT_S) == b"low"


def test_party(connect, base):
    a, b = Party(connect(), f"{base}/p", "a"), Party(connect(), f"{base}/p", "b")
    a.join()
    b.join()
    assert sorted(a) == ["a", "b"]
    b.leave()
    assert list(a) == ["a"]


# ---- other clients ----


def find_program(*names):
    for name in names:
        path = shutil.which(name) or (name if pathlib.Path(name).exists() else None)
        if path:
            return path
    return None


def test_cli_mt(server, zk, base):
    program = find_program("cli_mt", "/usr/lib/zookeeper/bin/cli_mt")
    if not program:
        skip_loudly("no cli_mt (apt-get install zookeeper-bin)")
    for command, expected in ((f"create {base}/c", None), (f"set {base}/c hello", None), (f"get {base}/c", "hello"),
                              (f"ls {base}", "c")):
        out = subprocess.run([program, server.address, f"cmd:{command}"], capture_output=True, text=True, timeout=WAIT_S,
                             check=False)
        assert expected is None or expected in out.stdout + out.stderr
    assert zk.get(f"{base}/c")[0] == b"hello"


def test_zkcli(server, zk, base):
    program = find_program("/usr/share/zookeeper/bin/zkCli.sh")
    if not program or not shutil.which("java"):
        skip_loudly("no zkCli.sh or no java (apt-get install zookeeper default-jre-headless)")
    script = (f"create {base}/a one\nget {base}/a\ncreate -e {base}/e\nls {base}\nset {base}/a two\nstat {base}/a\n"
              f"addauth digest u:p\nwhoami\ncreate -c {base}/container\ncreate -t 100000 {base}/ttl\ngetAllChildrenNumber {base}\n"
              f"getEphemerals\nsetquota -n 10 {base}/a\nlistquota {base}/a\ndeleteall {base}/a\nquit\n")
    out = subprocess.run([program, "-server", server.address], input=script, capture_output=True, text=True, timeout=120,
                         check=False)
    text = out.stdout + out.stderr
    for expected in (f"Created {base}/a", "\none\n", f"Created {base}/e", "[a, e]", "dataLength = 3", "digest: u",
                     f"Created {base}/container", f"Created {base}/ttl", f"{base}/e"):
        assert expected in text, f"{expected!r} not in:\n{text}"
    assert zk.exists(f"{base}/a") is None


# ---- strangers ----


def test_garbage_changes_nothing_for_others(server, zk, base):
    rng = random.Random(7)
    seen = Events()
    zk.create(f"{base}/w")
    zk.get(f"{base}/w", watch=seen)
    session = zk.client_id
    for i in range(300):
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as s:
            kind = i % 6
            if kind == 0:
                data = rng.randbytes(rng.randrange(1, 5000))
            elif kind == 1:
                data = struct.pack(">i", rng.choice([-1, -2**31, 2**31 - 1, 0x100000])) + rng.randbytes(100)
            elif kind == 2:  # a connect request with random contents
                data = struct.pack(">i", 45) + rng.randbytes(45)
            elif kind == 3:  # random requests in a session
                data = rawzk.connect_request(2000) + b"".join(
                    rawzk.request(n, rng.choice(list(range(-12, 25)) + list(range(99, 109))), rng.randbytes(rng.randrange(60)))
                    for n in range(20))
            elif kind == 4:  # right shape, lengths that lie
                data = rawzk.connect_request(2000) + rawzk.request(
                    1, rawzk.CREATE, struct.pack(">i", rng.choice([-5, 2**31 - 1, 1000000])) + b"/x")
            else:  # a large packet that never ends
                data = rawzk.connect_request(2000) + struct.pack(">i", 1000000) + b"x" * 1000
            try:
                s.sendall(data)
                if kind != 5 and i % 2:
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
            except OSError:
                pass  # refused: just as well
    assert zk.client_id == session and zk.connected
    zk.set(f"{base}/w", b"still here")
    assert seen.wait(1)[0].type == "CHANGED"
    assert server.process.poll() is None


def test_a_client_that_does_not_read_is_not_served_without_end(server, zk, base):
    """10,000 reads of 1 MB each, never received: the server stops executing them, and others do not notice."""
    zk.create(f"{base}/big", b"x" * 1000000)
    raw = rawzk.RawClient(server.port, timeout_ms=10000)
    raw.socket.settimeout(2)
    try:
        raw.send(b"".join(rawzk.with_watch(n, rawzk.GET, f"{base}/big") for n in range(1, 10000)))
    except OSError:
        pass  # back-pressure
    assert zk.get(f"{base}/big")[0][:1] == b"x"
    rss_kb = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{server.process.pid}/status").read_text()).group(1))
    if "asan" not in str(server.program) and "tsan" not in str(server.program):
        assert rss_kb < 300000
    raw.socket.settimeout(WAIT_S)
    for n in range(1, 20):
        xid, _, err, body = raw.reply()
        assert (xid, err, len(body)) == (n, 0, 4 + 1000000 + 68)
    raw.close()


def test_limit_of_connections_per_address(build_dir):
    with DriverServer(build_dir, maxClientCnxns=3) as own:
        clients = [rawzk.RawClient(own.port) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", own.port), timeout=WAIT_S) as fourth:
            assert fourth.recv(1) == b""
        clients.pop().close()

        def again():
            try:
                return rawzk.RawClient(own.port)
            except OSError:
                return None

        clients.append(eventually(again, what="room for a connection"))
        for c in clients:
            assert c.call(rawzk.request(-2, rawzk.PING))[0] == -2
            c.close()


def test_silent_connection_is_closed(build_dir):
    with DriverServer(build_dir, **{"nio.sessionlessCnxnTimeout": 300}) as own:
        with socket.create_connection(("127.0.0.1", own.port), timeout=WAIT_S) as s:
            assert s.recv(1) == b""


# ---- four-letter words ----

SHAPES = {
    "ruok": r"imok",
    "isro": r"rw",
    "srvr": r"Zookeeper version: 3\.9\.\d+-\S+, built on .+\nLatency min/avg/max: \d+/\d+\.\d{1,4}/\d+\nReceived: \d+\nSent: \d+\n"
            r"Connections: \d+\nOutstanding: 0\nZxid: 0x[0-9a-f]+\nMode: standalone\nNode count: \d+\n",
    "stat": r"Zookeeper version: .+\nClients:\n( /127\.0\.0\.1:\d+\[[01]\]\(queued=\d+,recved=\d+,sent=\d+\)\n)+\nLatency (.+\n)+",
    "cons": r"( /127\.0\.0\.1:\d+\[[01]\]\(queued=\d+,recved=\d+,sent=\d+(,sid=0x[0-9a-f]+,lop=\w+,est=\d+,to=\d+(,lcxid=0x[0-9a-f]+)?"
            r",lzxid=0x[0-9a-f]+,lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+)?\)\n)+\n",
    "conf": r"clientPort=\d+\nsecureClientPort=-1\ndataDir=.+/version-2\ndataDirSize=\d+\ndataLogDir=.+/version-2\ndataLogSize=\d+\n"
            r"tickTime=200\nmaxClientCnxns=0\nminSessionTimeout=400\nmaxSessionTimeout=4000\nclientPortListenBacklog=-1\nserverId=0\n",
    "dirs": r"datadir_size: \d+\nlogdir_size: \d+\n",
    "wchs": r"\d+ connections watching \d+ paths\nTotal watches:\d+\n",
    "wchc": r"(0x[0-9a-f]+\n(\t/.*\n)+)+\n",
    "wchp": r"(/.*\n(\t0x[0-9a-f]+\n)+)+\n",
    "dump": r"SessionTracker dump:\nSession Sets \(\d+\)/\(\d+\):\n(\d+ expire at .+ UTC \d{4}:\n(\t0x[0-9a-f]+\n)+)+"
            r"ephemeral nodes dump:\nSessions with Ephemerals \(1\):\n0x[0-9a-f]+:\n\t/.+\n"
            r"Connections dump:\nConnections Sets \(\d+\)/\(\d+\):\n(\d+ expire at .+:\n(\tip: /127\.0\.0\.1:\d+ sessionId: 0x[0-9a-f]+\n)+)+",
    "envi": r"Environment:\nzookeeper\.version=3\.9\.[^\n]+\nhost\.name=.+\n(\S+=.*\n)+",
    "mntr": r"zk_version\t3\.9\..+\nzk_server_state\tstandalone\n(zk_\w+\t-?\d+(\.\d+)?\n)+",
    "crst": r"Connection stats reset\.\n",
    "srst": r"Server stats reset\.\n",
}


@pytest.mark.parametrize("word", SHAPES)
def test_four_letter_shape(server, zk, base, word):
    zk.create(f"{base}/e", ephemeral=True)
    zk.get(f"{base}/e", watch=lambda e: None)
    assert re.fullmatch(SHAPES[word], server.four_letter(word)), server.four_letter(word)


def test_figures_are_real(server, zk, base):
    def mntr():
        return {k: float(v) for k, v in re.findall(r"^zk_(\w+)\t(-?[\d.]+)$", server.four_letter("mntr"), re.M)}

    before = mntr()
    for i in range(10):
        zk.create(f"{base}/{i}", b"x" * 100, ephemeral=i < 3)
        zk.get(f"{base}/{i}", watch=lambda e: None)
    after = mntr()
    grown = {k: after[k] - before[k] for k in after}
    assert grown["znode_count"] == 10
    assert grown["ephemerals_count"] == 3
    assert grown["watch_count"] == 10
    assert grown["packets_received"] >= 20
    assert grown["commit_count"] == grown["proposal_count"] == 10
    assert grown["cnt_updatelatency"] == 10
    assert grown["cnt_readlatency"] >= 10
    assert grown["cnt_fsynctime"] == 10
    assert grown["approximate_data_size"] == sum(len(f"{base}/{i}") + 100 for i in range(10))
    assert after["open_file_descriptor_count"] > 5
    assert after["num_alive_connections"] >= 1


def test_words_need_the_whitelist(build_dir):
    with DriverServer(build_dir, **{"4lw.commands.whitelist": "ruok, stat"}) as own:
        assert own.four_letter("ruok") == "imok"
        assert own.four_letter("mntr") == "mntr is not executed because it is not in the whitelist.\n"
        assert own.four_letter("srvr").startswith("Zookeeper version: ")
