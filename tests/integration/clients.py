"""Clients of an ensemble under test: connections, load that knows what was acknowledged, and the trees in the end."""
import sys
import threading
import time
import traceback
import weakref

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry
from quollens import dump
from zkserver import WAIT_S, eventually

opened, loads = weakref.WeakSet(), weakref.WeakSet()


def connect(hosts, timeout=10.0, **kwargs):
    """A client that looks for a server without pause, unlike kazoo by default, which waits twice as long after each attempt."""
    retry = KazooRetry(max_tries=-1, delay=0.01, backoff=1, max_jitter=0.01)
    client = KazooClient(hosts, timeout=timeout, connection_retry=retry, **kwargs)
    opened.add(client)
    client.start(timeout=WAIT_S)
    return client


def close(*some):
    for c in some:
        c.stop()
        c.close()


def close_left():
    """Ends the load and the clients that a failed test did not."""
    for load in list(loads):
        load.stop.set()
    for c in list(opened):
        if not c._stopped.is_set():  # pylint: disable=protected-access
            close(c)


def create_at_last(client, path, value=b"", **kwargs):
    """Creates the node as soon as there is service; an attempt whose connection broke may have been the one."""
    def attempt():
        try:
            return client.create(path, value, **kwargs)
        except NodeExistsError:
            return path

    eventually(attempt, what=f"the creation of {path}")


def trees(ensemble):
    """One dump per running server, each after a sync."""
    out = []
    for s in ensemble.servers:
        if s.process:
            c = connect(s.address)
            c.sync("/")
            out.append(dump(c))
            close(c)
    return out


def assert_equal_trees(ensemble):
    found = trees(ensemble)
    for i, t in enumerate(found[1:], 1):
        assert t.keys() == found[0].keys(), f"server {i}: {sorted(t.keys() ^ found[0].keys())[:5]}\n{ensemble.logs()}"
        differ = [p for p in t if t[p] != found[0][p]]
        assert not differ, f"server {i}: {[(p, t[p], found[0][p]) for p in differ[:3]]}\n{ensemble.logs()}"
    return found[0]


class Load:
    """Writers that create numbered nodes below /load, and remember what was acknowledged, and the longest wait of one for the next
    acknowledgement."""

    def __init__(self, hosts, writers=3, timeout=10.0):
        self.acked = set()
        self.stop = threading.Event()
        self.lost_sessions = 0
        self.longest, self.timeout = 0.0, timeout
        self.problems = []
        first = connect(hosts)
        first.ensure_path("/load")
        close(first)
        loads.add(self)
        self.threads = [threading.Thread(target=self.run, args=(hosts, i), daemon=True) for i in range(writers)]
        for t in self.threads:
            t.start()

    def run(self, hosts, writer):
        try:
            client = connect(hosts, self.timeout)
            self.write(client, writer)
            close(client)
        except Exception as e:  # told by whoever waits for progress, and in the end
            self.problems.append(e)

    def write(self, client, writer):
        session, n, last = client.client_id[0], 0, time.monotonic()
        while not self.stop.is_set():
            path = f"/load/{writer}-{n}"
            n += 1
            try:
                client.create(path, b"x" * 50)
            except (KazooException, KazooTimeoutError):
                time.sleep(0.005)  # a client's pace while its connection comes back; it is unknown whether the node is there
                continue
            self.acked.add(path)
            self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
        if client.client_id and client.client_id[0] != session:
            self.lost_sessions += 1

    def progress(self, count=50):
        """Waits until that many more writes are acknowledged."""
        before = len(self.acked)
        eventually(lambda: self.problems or len(self.acked) >= before + count, what=f"{count} writes more than {before}")
        assert not self.problems, self.problems

    def finish(self):
        """What was acknowledged."""
        self.stop.set()
        for t in self.threads:
            t.join(2 * WAIT_S)
            if t.is_alive():
                raise AssertionError("a writer hangs:\n" + "".join(traceback.format_stack(sys._current_frames()[t.ident])))
        assert not self.problems, self.problems
        return self.acked


def rolling_restarts(ensemble, *changes):
    """For each change: every server in turn is stopped, changed and started, while a client writes all the time and keeps its session."""
    load = Load(ensemble.hosts, writers=1)
    for change in changes:
        for s in ensemble.servers:
            s.stop()
            change(s)
            s.start()
            load.progress(5)
    acked = load.finish()
    assert load.lost_sessions == 0
    assert acked <= assert_equal_trees(ensemble).keys()
