"""Clients under chaos: a process of kazoo clients, or of clients that speak the protocol by hand. Histories go to OUT (see linear.py).

usage: worker.py {kazoo|raw} HOSTS NAME CLIENTS SEED OUT [RATE]

A line on standard input ends the load; then one line with the sessions that live goes to standard output. They live on until
standard input ends.
"""
import json
import logging
import os
import pathlib
import random
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
import rawzk  # noqa: E402
from kazoo import exceptions as ke  # noqa: E402
from kazoo.client import KazooClient, KazooState  # noqa: E402
from kazoo.handlers.threading import KazooTimeoutError  # noqa: E402
from kazoo.retry import KazooRetry  # noqa: E402

KAZOO_TIMEOUT_S = 10.0
STAYER_TIMEOUT_S = 2.5
MAYFLY_TIMEOUT_S = 2.0
KEY_SECONDS, KEYS = 6, 4  # registers: so many at once, for so long; ChaosClient.java has the same
REFUSED = {ke.NoNodeError: "NoNode", ke.NodeExistsError: "NodeExists", ke.BadVersionError: "BadVersion",
           ke.SessionMovedError: "SessionMoved", ke.NotReadOnlyCallError: "NotReadOnly"}
stop = threading.Event()


class Journal:
    """One file per process, a line per operation; nothing is held back but the last moment."""

    def __init__(self, path):
        self.file = open(path, "w", buffering=1 << 16, encoding="ascii")
        self.lock = threading.Lock()

    def put(self, **record):
        with self.lock:
            self.file.write(json.dumps(record) + "\n")

    def close(self):
        with self.lock:
            self.file.close()


def stat_of(s):
    return (s.czxid, s.mzxid, s.version)


class KazooWorker:
    """One client, one operation at a time, on registers, numbered nodes, sequential nodes and pairs made by a multi."""

    def __init__(self, journal, hosts, name, seed, rate):
        self.journal, self.name, self.rate = journal, name, rate
        self.rng = random.Random(seed)
        self.version, self.count, self.heard = {}, 0, time.monotonic()
        self.lives = 1
        retry = KazooRetry(max_tries=-1, delay=0.02, backoff=1, max_jitter=0.05)
        self.client = KazooClient(hosts, timeout=KAZOO_TIMEOUT_S, connection_retry=retry)
        self.session = 0
        self.client.add_listener(self.on_state)
        self.client.start(timeout=60)
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def on_state(self, state):
        if state == KazooState.LOST and self.session and not stop.is_set():
            self.journal.put(c=self.name, s=self.session, f="expired", k="", v=KAZOO_TIMEOUT_S, t0=self.heard, t1=time.monotonic(), r="ok")
            self.session = 0

    def do(self, f, call, **what):
        t0 = time.monotonic()
        record = {"c": f"{self.name}.{self.lives}", "s": self.session, "f": f, "t0": t0, **what}
        try:
            more = call()
            record.update(r="ok", t1=time.monotonic(), **(more or {}))
            self.heard = t0
        except tuple(REFUSED) as e:
            record.update(r="fail", e=REFUSED[type(e)], t1=time.monotonic())
            self.heard = t0
        except (ke.KazooException, KazooTimeoutError) as e:
            record.update(r="unknown", e=type(e).__name__, t1=None)
        self.journal.put(**record)
        return record

    def begin_session(self):
        """The session's own ephemeral, by which it can be seen to live."""
        self.session = self.client.client_id[0]
        self.lives += 1
        self.do("ephemeral", lambda: self.client.create(f"/chaos/eph/{self.name}-{self.session:x}", ephemeral=True) and None,
                k=f"/chaos/eph/{self.name}-{self.session:x}")

    def run(self):
        while not stop.is_set():
            began = time.monotonic()
            if self.client.connected and self.client.client_id and self.client.client_id[0] != self.session:
                self.begin_session()
            self.one()
            stop.wait(max(0.001, 1 / self.rate - (time.monotonic() - began)))

    def one(self):
        dice, c, self.count = self.rng.random(), self.client, self.count + 1
        mine = f"{self.name}-{self.count}"
        key = f"/chaos/reg/{int(time.monotonic() // KEY_SECONDS)}-{self.rng.randrange(KEYS)}"
        if dice < 0.40:
            self.write(c, key, mine)
        elif dice < 0.60:
            self.look("sync", key)
        elif dice < 0.75:
            self.look("read", key)
        elif dice < 0.90:
            path = f"/chaos/log/{self.name}/{self.count}"
            self.do("add", lambda: c.create(path, mine.encode()) and None, k=path, v=mine)
        elif dice < 0.95:
            self.do("seq", lambda: {"got": c.create("/chaos/seq/n", sequence=True)}, k="/chaos/seq/n")
        else:
            self.pair(f"/chaos/pair/{mine}")

    def write(self, c, key, mine):
        dice = self.rng.random()
        ver = self.version.get(key, -1) if self.rng.random() < 0.5 else -1
        if dice < 0.25:
            o = self.do("create", lambda: {"st": stat_of(c.create(key, mine.encode(), include_data=True)[1])}, k=key, v=mine)
        elif dice < 0.88:
            o = self.do("set", lambda: {"st": stat_of(c.set(key, mine.encode(), ver))}, k=key, v=mine, ver=ver)
        else:
            o = self.do("delete", lambda: c.delete(key, ver) and None, k=key, ver=ver)
        if o["r"] == "ok" and "st" in o:
            self.version[key] = o["st"][2]

    def look(self, f, key):
        def call():
            if f == "sync":
                self.client.sync(key)
            data, stat = self.client.get(key)
            return {"got": data.decode(), "st": stat_of(stat)}

        o = self.do(f, call, k=key)
        if o["r"] == "ok":
            self.version[key] = o["st"][2]

    def pair(self, path):
        def call():
            t = self.client.transaction()
            t.create(path + "a", b"")
            t.create(path + "b", b"")
            for result in t.commit():
                if isinstance(result, Exception):
                    raise result

        self.do("pair", call, k=path + "a", v=path + "b")


# ---- by hand: sessions whose last sign of life is known to the millisecond ----


def addresses(hosts):
    return [(h.rsplit(":", 1)[0], int(h.rsplit(":", 1)[1])) for h in hosts.split(",")]


class Stayer:
    """Keeps a short session, by a ping every 0.3 s and by moving to the next server after a second of silence. Looks, with
    a sync before it, whether ephemerals of closed sessions are gone."""

    def __init__(self, journal, hosts, name, seed, closed):
        self.journal, self.hosts, self.name, self.closed = journal, addresses(hosts), name, closed
        self.rng = random.Random(seed)
        self.session, self.passwd, self.heard, self.wire = 0, bytes(16), 0, None
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def connect(self):
        host, port = self.rng.choice(self.hosts)
        t0 = time.monotonic()
        self.wire = rawzk.RawClient(port, host=host, timeout_s=0.7, timeout_ms=int(STAYER_TIMEOUT_S * 1000), session=self.session,
                                    passwd=self.passwd)
        if self.session and self.wire.session == 0:
            self.journal.put(c=self.name, s=self.session, f="expired", k="", v=STAYER_TIMEOUT_S, t0=self.heard, t1=time.monotonic(), r="ok")
            self.session = 0
            raise ConnectionError("expired")
        fresh = self.session == 0
        self.session, self.passwd, self.heard = self.wire.session, self.wire.passwd, t0
        self.wire.socket.settimeout(1)
        if fresh:
            path = f"/chaos/eph/{self.name}-{self.session:x}"
            _, _, err, _ = self.wire.call(rawzk.create(1, path, flags=1))
            self.journal.put(c=self.name, s=self.session, f="ephemeral", k=path, t0=t0, t1=time.monotonic(), r="ok" if err == 0 else "fail")

    def turn(self):
        if self.wire is None:
            self.connect()
        t0 = time.monotonic()
        self.wire.call(rawzk.request(-2, rawzk.PING))
        self.heard = t0
        if self.closed and self.rng.random() < 0.5:
            path = self.rng.choice(self.closed[-20:])
            self.wire.call(rawzk.request(3, 9, rawzk.string(path)))
            _, _, err, _ = self.wire.call(rawzk.with_watch(4, rawzk.EXISTS, path))
            self.journal.put(c=self.name, s=self.session, f="seen", k=path, t0=t0, t1=time.monotonic(), r="ok", got=err == 0)

    def run(self):
        while not stop.is_set():
            try:
                self.turn()
                stop.wait(0.3)
            except (OSError, ConnectionError):
                if self.wire:
                    self.wire.close()
                self.wire = None
                stop.wait(0.05)

    def keep(self):
        """One ping after the load, so that the session lives while the trees are read."""
        try:
            if self.wire is None:
                self.connect()
            self.wire.call(rawzk.request(-2, rawzk.PING))
        except (OSError, ConnectionError):
            self.wire = None


class Mayflies:
    """Sessions that live for a moment, with an ephemeral; then are closed, or left alone."""

    def __init__(self, journal, hosts, name, seed, closed):
        self.journal, self.hosts, self.name, self.closed = journal, addresses(hosts), name, closed
        self.rng = random.Random(seed)
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def one(self, n):
        host, port = self.rng.choice(self.hosts)
        path = f"/chaos/fly/{self.name}-{n}"
        try:
            wire = rawzk.RawClient(port, host=host, timeout_s=1, timeout_ms=int(MAYFLY_TIMEOUT_S * 1000))
        except (OSError, ConnectionError):
            return
        t0, r = time.monotonic(), "unknown"
        try:
            if wire.call(rawzk.create(1, path, flags=1))[2] == 0 and self.rng.random() < 0.6:
                r = "ok" if wire.call(rawzk.request(2, rawzk.CLOSE))[2] == 0 else "fail"
        except (OSError, ConnectionError):
            pass
        wire.close()
        self.journal.put(c=self.name, s=wire.session, f="close", k=path, t0=t0, t1=time.monotonic(), r=r)
        if r == "ok":
            self.closed.append(path)

    def run(self):
        n = 0
        while not stop.is_set():
            n += 1
            self.one(n)
            stop.wait(0.2)


class Probe:
    """Writes to one server over its own connection, so that its service is seen without the habits of a client library."""

    def __init__(self, journal, address, name):
        self.journal, self.address, self.name = journal, address, name
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def run(self):
        host, port = self.address
        wire = None
        while not stop.is_set():
            t0, ok = time.monotonic(), False
            try:
                wire = wire or rawzk.RawClient(port, host=host, timeout_s=0.5, timeout_ms=4000)
                ok = wire.call(rawzk.set_data(1, "/chaos/probe", self.name.encode()))[2] == 0
                self.journal.put(c=self.name, s=wire.session, f="probe", k="/chaos/probe", t0=t0, t1=time.monotonic(), r="ok" if ok else "fail")
            except (OSError, ConnectionError):
                if wire:
                    wire.close()
                wire = None
            stop.wait(0.05)


def main():
    kind, hosts, name, count, seed, out = sys.argv[1:7]
    rate = float(sys.argv[7]) if len(sys.argv) > 7 else 40.0
    seed = int(seed) * 1000
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("CHAOS_LOG", "ERROR"), format="%(asctime)s %(threadName)s %(message)s")
    socket.setdefaulttimeout(10)
    journal, closed = Journal(out), []
    if kind == "kazoo":
        clients = [KazooWorker(journal, hosts, f"{name}{i}", seed + i, rate) for i in range(int(count))]
    else:
        clients = [Stayer(journal, hosts, f"{name}{i}", seed + i, closed) for i in range(int(count))]
        clients.append(Mayflies(journal, hosts, f"{name}fly", seed + 999, closed))
        clients += [Probe(journal, a, f"{name}probe{i}") for i, a in enumerate(addresses(hosts))]
    print("running", flush=True)
    sys.stdin.readline()
    stop.set()
    stuck = []
    for c in clients:
        c.thread.join(timeout=40)
        if c.thread.is_alive():
            stuck.append(c.name)
    journal.close()
    live = [c.session for c in clients if getattr(c, "session", 0)]
    print(json.dumps({"live": live, "stuck": stuck}), flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(0.5):
        for c in clients:
            if isinstance(c, Stayer):
                c.keep()
    os._exit(0)  # the clients' threads have nothing to say any more, and the servers may be gone


if __name__ == "__main__":
    main()
