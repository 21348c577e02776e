"""kill -9 under a pipelined write load: every acknowledged write is there after the restart.

The disk under the server drops what was not synced when the process dies (volatile_vfs), as a machine's power cut would; so an answer
that leaves before its sync is caught. QUOLL_CRASH_LOOPS (default 100) says how often, QUOLL_CRASH_SEED which random choices.
"""
import os
import random
import struct
import time

import rawzk
from driversrv import DriverServer

LOOPS = int(os.environ.get("QUOLL_CRASH_LOOPS", "100"))
SEED = int(os.environ.get("QUOLL_CRASH_SEED", str(time.time_ns() % 1000000)))
CONNECTIONS, WINDOW = 2, 64


def make_server(build_dir, disk):
    # Small files and few transactions per snapshot: crashes hit rolls, snapshots and allocations too.
    return DriverServer(build_dir, disk=disk, preAllocSize=16, snapCount=300, globalOutstandingLimit=100000)


class Writer:
    """Creates children of `base`, WINDOW at once. `acked`: those that the server has answered for."""

    def __init__(self, port, base, prefix):
        self.client = rawzk.RawClient(port, timeout_ms=40000)
        self.base, self.prefix = base, prefix
        self.sent, self.acked = 0, []

    def fill(self):
        packets = []
        while self.sent - len(self.acked) < WINDOW:
            self.sent += 1
            packets.append(rawzk.create(self.sent, f"{self.base}/{self.prefix}{self.sent}", b"x" * (self.sent % 200)))
        self.client.send(b"".join(packets))

    def drain(self):
        self.client.receive()
        while (body := self.client.take()) is not None:
            xid, _, err = struct.unpack(">iqi", body[:16])
            assert err == 0, f"create {xid}: {err}"
            assert xid == len(self.acked) + 1, "replies out of order"
            self.acked.append(f"{self.prefix}{xid}")


def write_until_killed(server, base, seconds):
    """Returns the names below base that were acknowledged."""
    setup = rawzk.RawClient(server.port)
    assert setup.call(rawzk.create(1, base))[2] == 0
    setup.close()
    writers = [Writer(server.port, base, chr(ord("a") + i)) for i in range(CONNECTIONS)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for w in writers:
            w.fill()
        for w in writers:
            w.drain()
    for w in writers:
        w.fill()  # something is under way when the blow falls
    server.kill9()
    for w in writers:
        try:
            while True:
                w.drain()  # answers that were sent before it count as well
        except OSError:
            w.client.close()
    return {name for w in writers for name in w.acked}


def missing(server, promised):
    client = rawzk.RawClient(server.port)
    lost = {}
    for base, names in promised.items():
        there = client.children(base)
        gone = names - set(there or ()) if there is not None else names | {base}
        if gone:
            lost[base] = len(gone)
    client.close()
    return lost


def test_nothing_acknowledged_is_lost(build_dir):
    print(f"QUOLL_CRASH_SEED={SEED}")
    rng = random.Random(SEED)
    promised, total = {}, 0
    with make_server(build_dir, "volatile") as server:
        for loop in range(LOOPS):
            base = f"/loop{loop}"
            names = write_until_killed(server, base, rng.uniform(0.01, 0.15))
            promised[base] = names
            total += len(names)
            server.start()
            recent = {b: n for b, n in promised.items() if b == base or loop % 10 == 0}
            assert not missing(server, recent), f"loop {loop}, seed {SEED}"
        assert not missing(server, promised), f"seed {SEED}"
        server.stop()  # and a stop in good order loses nothing either
        server.start()
        assert not missing(server, promised)
    print(f"{LOOPS} crashes, {total} acknowledged writes")
    assert total > LOOPS * CONNECTIONS


def test_a_disk_that_lies_is_caught(build_dir):
    """The same check fails when syncs do nothing: it can see what it is there for."""
    with make_server(build_dir, "lying") as server:
        names = write_until_killed(server, "/lie", 0.1)
        assert names
        server.start()
        assert missing(server, {"/lie": names})


def test_sessions_and_ephemerals_survive(build_dir):
    """A session and its ephemeral outlive a crash; the client re-attaches with its password."""
    with make_server(build_dir, "volatile") as server:
        client = rawzk.RawClient(server.port, timeout_ms=4000)
        assert client.call(rawzk.create(1, "/eph", flags=1))[2] == 0
        server.kill9()
        client.close()
        server.start()
        again = rawzk.RawClient(server.port, timeout_ms=4000, session=client.session, passwd=client.passwd)
        assert again.session == client.session
        assert again.call(rawzk.with_watch(1, rawzk.EXISTS, "/eph"))[2] == 0
        wrong = rawzk.RawClient(server.port, session=client.session, passwd=b"p" * 16)
        assert (wrong.session, wrong.timeout_ms) == (0, 0)
