"""Clients that never stop, and know at every moment what the tree must hold.

Each worker owns its nodes and one session. A request whose connection broke may have been carried out or not: the worker looks (after a
sync) and goes on from what it finds, which must be one of the two. So at any pause the tree has to be exactly what the workers
expect: nothing acknowledged is lost, nothing refused or withdrawn is there, nothing happened twice.
"""
import random
import struct
import threading
import time

import rawzk
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, ConnectionClosedError, ConnectionLoss, NoNodeError, OperationTimeoutError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState
from kazoo.recipe.lock import Lock
from kazoo.retry import KazooRetry
from zkserver import eventually

BROKEN = (ConnectionLoss, ConnectionClosedError, OperationTimeoutError, KazooTimeoutError)
SESSION_MS = 12000
PATIENCE_S = 60  # for one answer, over all reconnections


class Gate:
    """Lets workers do one thing at a time each; closing it waits until all have done theirs."""

    def __init__(self):
        self.changed = threading.Condition()
        self.open = True
        self.inside = 0

    def __enter__(self):
        with self.changed:
            self.changed.wait_for(lambda: self.open)
            self.inside += 1

    def __exit__(self, *exc):
        with self.changed:
            self.inside -= 1
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.open = False
            if not self.changed.wait_for(lambda: self.inside == 0, PATIENCE_S):
                raise AssertionError(f"{self.inside} requests were not answered in {PATIENCE_S} s")

    def reopen(self):
        with self.changed:
            self.open = True
            self.changed.notify_all()


class Figures:
    """What the load counted: acknowledged writes, the longest time without one, violations."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acked = 0
        self.unsure = 0
        self.last_ack = time.monotonic()
        self.longest_gap = 0.0
        self.violations = []
        self.expired = 0

    def ack(self, n=1):
        with self.lock:
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self.last_ack)
            self.last_ack = now
            self.acked += n

    def restart_gap(self):
        """Forgets the longest gap; returns it."""
        with self.lock:
            gap, self.longest_gap, self.last_ack = self.longest_gap, 0.0, time.monotonic()
            return gap

    def violation(self, text):
        with self.lock:
            if len(self.violations) < 20:
                self.violations.append(text)


def connect(hosts, on_state=None):
    retry = KazooRetry(max_tries=-1, delay=0.02, backoff=1, max_jitter=0.02)
    client = KazooClient(hosts, timeout=SESSION_MS / 1000, connection_retry=retry)
    if on_state:
        client.add_listener(on_state)
    client.start(timeout=30)
    return client


class Worker(threading.Thread):
    """A thread with a session. step() does one thing; expected: its nodes, path -> data."""

    PACE_S = 0.01  # a pace, not a wait: two cores run servers, clients and JVMs

    def __init__(self, load, name):
        super().__init__(name=name, daemon=True)
        self.load, self.figures = load, load.figures
        self.base = f"/load/{name}"
        self.client = connect(load.hosts, self.on_state)
        self.session = self.client.client_id[0]
        self.client.ensure_path(self.base)
        self.expected = {self.base: b""}
        self.alive = self.client.create(f"/alive/{name}", b"", ephemeral=True, makepath=True)

    def on_state(self, state):
        if state == KazooState.LOST and not self.load.ending:
            self.figures.expired += 1
            self.figures.violation(f"{self.name}: the session expired")

    def run(self):
        while True:
            with self.load.gate:
                if self.load.ending:
                    return
                try:
                    self.step()
                except Exception as e:  # pylint: disable=broad-except
                    self.figures.violation(f"{self.name}: {type(e).__name__} {e}")
            time.sleep(self.PACE_S)

    def step(self):
        raise NotImplementedError

    def sure(self, ask):
        """The answer to a read after a sync, however often the connection breaks on the way."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.client.sync("/")
                return ask()
            except BROKEN:
                if time.monotonic() > end:
                    raise

    def look(self, path):
        try:
            return self.sure(lambda: self.client.get(path))[0]
        except NoNodeError:
            return None

    def finish(self):
        self.client.stop()
        self.client.close()


class Writer(Worker):
    """Creates, changes, deletes, alone or two at a time, over a hundred nodes."""

    NODES = 100

    def __init__(self, load, name):
        super().__init__(load, name)
        self.random = random.Random(name)
        self.count = 0
        self.values = {}

    def change(self, path):
        """The node's next value: None deletes it."""
        self.count += 1
        there = self.values.get(path) is not None
        return None if there and self.random.random() < 0.2 else b"%d of %s" % (self.count, self.name.encode())

    def apply(self, to, path, value):
        if self.values.get(path) is None:
            to.create(path, value)
        elif value is None:
            to.delete(path)
        else:
            to.set_data(path, value) if to is not self.client else to.set(path, value)

    def step(self):
        several = self.random.random() < 0.2
        paths = [f"{self.base}/{n}" for n in self.random.sample(range(self.NODES), 2 if several else 1)]
        values = {p: self.change(p) for p in paths}
        before = {p: self.values.get(p) for p in paths}
        try:
            if several:
                t = self.client.transaction()
                for p, v in values.items():
                    self.apply(t, p, v)
                results = t.commit()
                if any(isinstance(r, Exception) for r in results):
                    raise next(r for r in results if isinstance(r, Exception))
            else:
                self.apply(self.client, paths[0], values[paths[0]])
            self.figures.ack()
        except BROKEN:
            self.figures.unsure += 1
            found = {p: self.look(p) for p in paths}
            if found not in (before, values):
                raise AssertionError(f"{found}: neither {before} nor {values}") from None
            values = found
        self.values.update(values)
        self.expected = {self.base: b"", **{p: v for p, v in self.values.items() if v is not None}}


class Sequencer(Worker):
    """Sequential nodes: numbers rise, none comes twice, the last fifty stay."""

    def __init__(self, load, name):
        super().__init__(load, name)
        self.known = []
        self.count = 0

    def added(self, path):
        number = int(path[-10:])
        if self.known and number <= int(self.known[-1][-10:]):
            raise AssertionError(f"{path} after {self.known[-1]}")
        self.known.append(path)
        self.expected[path] = b"%d" % self.count

    def step(self):
        self.count += 1
        try:
            self.added(self.client.create(f"{self.base}/n-", b"%d" % self.count, sequence=True))
            self.figures.ack()
        except BROKEN:
            self.figures.unsure += 1
            names = self.sure(lambda: self.client.get_children(self.base))
            new = sorted({f"{self.base}/{n}" for n in names} - set(self.known))
            if len(new) > 1:
                raise AssertionError(f"one create made {new}") from None
            for path in new:
                self.added(path)
        if len(self.known) > 50:
            self.remove(self.known.pop(0))

    def remove(self, path):
        del self.expected[path]
        while True:
            try:
                self.client.delete(path)
                self.figures.ack()
                return
            except BROKEN:
                if self.look(path) is None:
                    return


class Locker(Worker):
    """One of several that take turns by kazoo's lock recipe; whoever has it counts up."""

    holders = []
    PACE_S = 0.05

    def __init__(self, load, name):
        super().__init__(load, name)
        self.lock = Lock(self.client, "/lock", name)
        self.client.ensure_path("/lock-counter")

    def step(self):
        if not self.lock.acquire(timeout=PATIENCE_S):
            raise AssertionError("the lock was not to be had")
        self.holders.append(self.name)
        if self.holders != [self.name]:
            self.figures.violation(f"{self.holders} hold the lock together")
        try:
            self.count_up()
        finally:
            self.holders.remove(self.name)
            self.lock.release()

    def count_up(self):
        data, stat = self.sure(lambda: self.client.get("/lock-counter"))
        value = b"%d" % (int(data or b"0") + 1)
        try:
            self.client.set("/lock-counter", value, stat.version)
            self.figures.ack()
        except BROKEN:
            self.figures.unsure += 1
            if self.look("/lock-counter") not in (data, value):
                raise AssertionError("somebody else counted under our lock") from None
        except BadVersionError:
            raise AssertionError("somebody else counted under our lock") from None


class Watcher(threading.Thread):
    """A client of one watch, by hand: moves from server to server with its session and sets its watch again as Apache's clients do
    (setWatches), so that a change while it was away is told on arrival. Exactly one event is due per change."""

    SET_WATCHES = 101

    def __init__(self, load, ports, path):
        super().__init__(name="watcher", daemon=True)
        self.load, self.ports, self.path = load, ports, path
        self.at = 0
        self.session = {"session": 0, "passwd": bytes(16)}
        self.last_zxid = 0
        self.registered = self.ending = False
        self.events = self.moves = 0
        self.seen = -1
        self.trace = []  # what it heard, for the one who looks for an event that did not come

    def note(self, what):
        self.trace.append(f"{time.monotonic():.4f} {self.ports[self.at % len(self.ports)]} last 0x{self.last_zxid:x} {what}")

    def run(self):
        while not self.ending:
            try:
                self.attached(self.attach())
            except OSError as e:
                self.note(f"{type(e).__name__} {e}")
                self.at += 1
                time.sleep(0.02)  # between attempts
            except Exception as e:  # pylint: disable=broad-except
                self.load.figures.violation(f"watcher: {type(e).__name__} {e}")
                raise

    def attach(self):
        c = rawzk.RawClient(self.ports[self.at % len(self.ports)], timeout_s=2, timeout_ms=SESSION_MS, last_zxid=self.last_zxid,
                            **self.session)
        if c.session == 0:
            self.load.figures.expired += 1
            self.load.figures.violation("watcher: the session expired")
        self.moves += self.session["session"] != 0
        self.session = {"session": c.session, "passwd": c.passwd}
        self.note(f"attached, registered {self.registered}")
        if self.registered:
            none = struct.pack(">i", 0)
            c.send(rawzk.request(-8, self.SET_WATCHES, struct.pack(">qi", self.last_zxid, 1) + rawzk.string(self.path) + none * 2))
        else:
            self.ask(c)
        return c

    def ask(self, c):
        c.send(rawzk.with_watch(1, rawzk.GET, self.path, True))

    def attached(self, c):
        try:
            while not self.ending:
                try:
                    xid, zxid, err, body = c.reply()
                except TimeoutError:
                    c.send(rawzk.request(-2, rawzk.PING))
                    xid, zxid, err, body = c.reply()
                if zxid > 0:
                    self.last_zxid = max(self.last_zxid, zxid)
                self.note(f"xid {xid} zxid 0x{zxid:x} err {err} {body[-24:] if xid == -1 else body[4:9]}")
                if xid == -1:
                    self.events += 1
                    self.registered = False
                    self.ask(c)
                elif xid == 1 and err == 0:
                    self.registered = True
                    size = struct.unpack(">i", body[:4])[0]
                    self.seen = int(body[4:4 + size] or b"0")
        finally:
            c.close()


class Setter(Worker):
    """Changes the watched node, and goes on when the watcher has heard of it."""

    PATH = "/watched"

    def __init__(self, load, name):
        super().__init__(load, name)
        self.client.create(self.PATH, b"0")
        self.sent = 0

    def step(self):
        self.sent += 1
        value = b"%d" % self.sent
        while True:
            try:
                self.client.set(self.PATH, value)
                self.figures.ack()
                break
            except BROKEN:
                self.figures.unsure += 1
                if self.look(self.PATH) == value:
                    break
        end = time.monotonic() + PATIENCE_S
        while self.load.watcher.seen < self.sent:
            if time.monotonic() > end:
                raise AssertionError(f"change {self.sent} was not told in {PATIENCE_S} s: the watcher knows {self.load.watcher.seen}")
            time.sleep(0.005)


class Guard(Worker):
    """Looks again and again whether every session's ephemeral node is there."""

    PACE_S = 0.03

    def step(self):
        for w in self.load.workers:
            try:
                stat = self.client.exists(w.alive)
            except BROKEN:
                return
            if stat is None or stat.ephemeralOwner != w.session:
                raise AssertionError(f"{w.alive} of session 0x{w.session:x}: {stat}")


class Load:
    """All of them, over the servers on these ports. Started at once."""

    def __init__(self, ports):
        self.hosts = ",".join(f"127.0.0.1:{p}" for p in ports)
        self.gate, self.figures = Gate(), Figures()
        self.ending = False
        kinds = [(Writer, 3), (Sequencer, 2), (Locker, 2), (Setter, 1), (Guard, 1)]
        self.workers = []
        for kind, count in kinds:
            self.workers += [kind(self, f"{kind.__name__.lower()}{i}") for i in range(count)]
        self.setter = next(w for w in self.workers if isinstance(w, Setter))
        self.watcher = Watcher(self, list(ports), Setter.PATH)
        self.watcher.start()
        eventually(lambda: self.watcher.seen >= 0, PATIENCE_S, "the first watch")
        for w in self.workers:
            w.start()

    @property
    def sessions(self):
        """The sessions that must live: id -> ephemeral node, None for the watcher's."""
        return {**{w.session: w.alive for w in self.workers}, self.watcher.session["session"]: None}

    def wrong(self, tree):
        """In what a tree (path -> (data, stat)) is not what the workers expect, while the gate is closed. Lines of text."""
        expected = {p: d for w in self.workers for p, d in w.expected.items()}
        found = {p: d for p, (d, _) in tree.items() if p.startswith("/load/")}
        out = [f"{p}: {found.get(p)} instead of {expected.get(p)}" for p in sorted(expected.keys() | found.keys())
               if found.get(p) != expected.get(p)]
        owners = {s: p for p, (_, stat) in tree.items() if (s := stat[7]) and p.startswith("/alive/")}
        out += [f"session 0x{w.session:x} without {w.alive}" for w in self.workers if owners.get(w.session) != w.alive]
        if int(tree[Setter.PATH][0]) != self.setter.sent:
            out.append(f"{Setter.PATH}: {tree[Setter.PATH][0]} instead of {self.setter.sent}")
        return out

    def finish(self):
        """Ends the load in good order."""
        self.abandon()
        for w in self.workers:
            w.join(PATIENCE_S)
        self.watcher.ending = True
        self.watcher.join(PATIENCE_S)
        for w in self.workers:
            w.finish()

    def abandon(self):
        """No thread begins anything any more."""
        self.ending = True
        self.gate.reopen()
