"""A server whose disk fails, fills or stalls leaves the quorum, and the others go on; with its disk mended it comes back and is like them."""
import pathlib
import threading
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from quollens import Ensemble, QuollMember, dump
from quollsrv import QuollServer

WAIT_S = 30
TICK_MS, SYNC_LIMIT = 200, 5
LIMIT_S = TICK_MS * SYNC_LIMIT / 1000
EXIT_DISK = 3


class Member(QuollMember):
    """Over a disk that this test can spoil."""

    def command(self):
        super().command()
        program = self.program.parent / "tests" / "integration" / "server_driver"
        return [str(program), "--config", str(self.datadir / "zoo.cfg"), "--disk", f"faulty:{self.control}"], None

    @property
    def control(self):
        return self.datadir / "disk"

    def disk(self, state):
        new = self.datadir / "disk.new"
        new.write_text(state)
        new.rename(self.control)


@pytest.fixture
def ens(build_dir):
    missing = QuollServer.available(build_dir)
    if missing:
        pytest.fail(missing)
    e = Ensemble(build_dir, "qqq", {"tickTime": TICK_MS, "syncLimit": SYNC_LIMIT, "snapCount": 2000})
    for s in e.servers:
        s.__class__ = Member
    try:
        yield e.start()
    finally:
        for s in e.servers:
            s.disk("ok")
        e.close()


class Writer(threading.Thread):
    """Creates one node after the other; knows which are there for certain, and how long the longest wait for one was."""

    def __init__(self, servers):
        super().__init__(daemon=True)
        self.zk = KazooClient(",".join(s.address for s in servers), timeout=20)
        self.zk.start(timeout=WAIT_S)
        self.zk.ensure_path("/w")
        self.session = self.zk.client_id
        self.acknowledged, self.longest, self.done, self.problem = [], 0.0, threading.Event(), None
        self.start()

    def run(self):
        n, last = 0, time.monotonic()
        while not self.done.is_set():
            path = f"/w/{n:07d}"
            n += 1
            try:
                self.zk.create(path, b"x" * 100)
                self.acknowledged.append(path)
                self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
            except KazooException:
                time.sleep(0.005)  # a client's pace while its connection comes back
            except Exception as e:
                self.problem = e
                return

    def more(self, count=50):
        """Waits until that many more writes have been acknowledged."""
        want, end = len(self.acknowledged) + count, time.monotonic() + WAIT_S
        while len(self.acknowledged) < want:
            assert self.problem is None and time.monotonic() < end, f"no writes: {self.problem!r}"
            time.sleep(0.005)

    def finish(self):
        self.more()
        self.done.set()
        self.join(WAIT_S)
        same = self.zk.client_id == self.session
        self.zk.stop()
        self.zk.close()
        assert self.problem is None and same


def wait_for(what, condition, seconds=WAIT_S):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def trees(ens):
    """The trees of all, once they have all applied the same."""
    out = []
    for s in ens.servers:
        zk = KazooClient(s.address, timeout=20)
        zk.start(timeout=WAIT_S)
        zk.sync("/")
        out.append(dump(zk))
        zk.stop()
        zk.close()
    return out


def check(ens, writer):
    for tree in (all_trees := trees(ens)):
        missing = [p for p in writer.acknowledged if p not in tree]
        assert not missing, f"{len(missing)} acknowledged writes are gone: {missing[:3]}"
        assert tree == all_trees[0]


@pytest.mark.parametrize("who", ("leader", "follower"))
@pytest.mark.parametrize("state", ("fail", "full"))
def test_disk_fails(ens, who, state):
    bad = ens.leader() if who == "leader" else ens.followers()[0]
    writer = Writer([s for s in ens.servers if s is not bad])
    writer.more()
    bad.disk(state)
    wait_for("the server goes on with a broken disk", lambda: bad.process.poll() is not None)
    assert bad.process.returncode == EXIT_DISK
    assert "log" in bad.log_tail(5), bad.log_tail()
    bad.process = None
    writer.more()
    assert writer.longest < 5, f"{writer.longest:.1f} s without a write"
    bad.disk("ok")
    bad.start()
    writer.finish()
    check(ens, writer)


@pytest.mark.parametrize("who", ("leader", "follower"))
def test_disk_stalls(ens, who):
    """Longer than anybody can wait for: the server lets go of its role, stays alive, and is back when its disk is."""
    bad = ens.leader() if who == "leader" else ens.followers()[0]
    writer = Writer([s for s in ens.servers if s is not bad])
    writer.more()
    bad.disk("stall")
    wait_for("the server stays in the quorum", lambda: ens.mode(bad) is None)
    writer.more(500)
    assert bad.process.poll() is None and ens.mode(bad) is None, bad.log_tail()
    assert "leaving the quorum" in pathlib.Path(bad.log_path).read_text()
    assert writer.longest < LIMIT_S + 5, f"{writer.longest:.1f} s without a write"
    bad.disk("ok")
    bad.wait_ready()
    writer.finish()
    check(ens, writer)


@pytest.mark.parametrize("who", ("leader", "follower"))
def test_disk_hesitates(ens, who):
    """For less than syncLimit: nobody notices, since a quorum of the others suffices."""
    bad = ens.leader() if who == "leader" else ens.followers()[0]
    writer = Writer([s for s in ens.servers if s is not bad])
    writer.more()
    before = ens.leader()
    bad.disk("stall")
    writer.more(20)
    bad.disk("ok")
    writer.finish()
    assert ens.leader() is before and "leaving the quorum" not in pathlib.Path(bad.log_path).read_text()
    check(ens, writer)


def test_disk_stalls_during_snapshot(ens):
    """The end of a role does not wait for a snapshot that the disk does not take."""
    bad = ens.leader()
    writer = Writer([s for s in ens.servers if s is not bad])
    zk = KazooClient(bad.address, timeout=20)
    zk.start(timeout=WAIT_S)
    zk.ensure_path("/big")
    snapshots = bad.datadir / "data" / "version-2"
    for n in range(40):
        zk.create(f"/big/{n}", b"x" * 900000)
    known = len(list(snapshots.glob(".snapshot.*"))) + len(list(snapshots.glob("snapshot.*")))
    wait_for("no snapshot begins", lambda: zk.set("/big/1", b"y") and
             len(list(snapshots.glob(".snapshot.*"))) + len(list(snapshots.glob("snapshot.*"))) > known)
    bad.disk("stall")
    zk.stop()
    zk.close()
    wait_for("the server stays in the quorum", lambda: ens.mode(bad) is None)
    writer.more(200)
    assert writer.longest < LIMIT_S + 5, f"{writer.longest:.1f} s without a write"
    bad.disk("ok")
    bad.wait_ready()
    writer.finish()
    check(ens, writer)
