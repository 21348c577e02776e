"""A server whose disk fails, fills or stalls leaves the quorum, and the others go on; with its disk mended it comes back and is like them."""
import pathlib

import pytest

from clients import Load, assert_equal_trees, close, connect
from quollens import Ensemble, QuollMember
from quollsrv import QuollServer
from zkserver import eventually

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
def ens(build_dir, request):
    """Another syncLimit: @pytest.mark.parametrize("ens", [LIMIT], indirect=True)."""
    missing = QuollServer.available(build_dir)
    if missing:
        pytest.fail(missing)
    e = Ensemble(build_dir, "qqq", {"tickTime": TICK_MS, "syncLimit": getattr(request, "param", SYNC_LIMIT), "snapCount": 2000,
                                    "maxSessionTimeout": 20000})
    for s in e.servers:
        s.__class__ = Member
    try:
        yield e.start()
    finally:
        for s in e.servers:
            s.disk("ok")
        e.close()


def writer_beside(ens, bad):
    """One client of the others, that writes."""
    load = Load(",".join(s.address for s in ens.servers if s is not bad), writers=1, timeout=20.0)
    load.progress()
    return load


def finish(ens, load):
    load.progress()
    acked = load.finish()
    assert load.lost_sessions == 0
    missing = acked - assert_equal_trees(ens).keys()
    assert not missing, f"{len(missing)} acknowledged writes are gone: {sorted(missing)[:3]}"


@pytest.mark.parametrize("who", ("leader", "follower"))
@pytest.mark.parametrize("state", ("fail", "full"))
def test_disk_fails(ens, who, state):
    bad = ens.leader() if who == "leader" else ens.followers()[0]
    writer = writer_beside(ens, bad)
    bad.disk(state)
    eventually(lambda: bad.process.poll() is not None, what="the end of a server with a broken disk")
    assert bad.process.returncode == EXIT_DISK
    assert "log" in bad.log_tail(5), bad.log_tail()
    bad.process = None
    writer.progress()
    assert writer.longest < 5, f"{writer.longest:.1f} s without a write"
    bad.disk("ok")
    bad.start()
    finish(ens, writer)


@pytest.mark.parametrize("who", ("leader", "follower"))
def test_disk_stalls(ens, who):
    """Longer than anybody can wait for: the server lets go of its role, stays alive, and is back when its disk is."""
    bad = ens.leader() if who == "leader" else ens.followers()[0]
    writer = writer_beside(ens, bad)
    bad.disk("stall")
    eventually(lambda: bad.mode() is None, what="the server's leaving of the quorum")
    writer.progress(500)
    assert bad.process.poll() is None and bad.mode() is None, bad.log_tail()
    assert "leaving the quorum" in pathlib.Path(bad.log_path).read_text()
    assert writer.longest < LIMIT_S + 5, f"{writer.longest:.1f} s without a write"
    bad.disk("ok")
    bad.wait_ready()
    finish(ens, writer)


@pytest.mark.parametrize("ens", [30 * SYNC_LIMIT], indirect=True)
@pytest.mark.parametrize("who", ("leader", "follower"))
def test_disk_hesitates(ens, who):
    """For less than syncLimit: nobody notices, since a quorum of the others suffices."""
    bad = ens.leader() if who == "leader" else ens.followers()[0]
    writer = writer_beside(ens, bad)
    before = ens.leader()
    bad.disk("stall")
    writer.progress(20)
    bad.disk("ok")
    finish(ens, writer)
    assert ens.leader() is before and "leaving the quorum" not in pathlib.Path(bad.log_path).read_text()


def test_disk_stalls_during_snapshot(ens):
    """The end of a role does not wait for a snapshot that the disk does not take."""
    bad = ens.leader()
    writer = writer_beside(ens, bad)
    zk = connect(bad.address, timeout=20.0)
    zk.ensure_path("/big")
    snapshots = bad.datadir / "data" / "version-2"
    for n in range(40):
        zk.create(f"/big/{n}", b"x" * 900000)
    known = len(list(snapshots.glob(".snapshot.*"))) + len(list(snapshots.glob("snapshot.*")))
    eventually(lambda: zk.set("/big/1", b"y") and
               len(list(snapshots.glob(".snapshot.*"))) + len(list(snapshots.glob("snapshot.*"))) > known, what="a snapshot")
    bad.disk("stall")
    close(zk)
    eventually(lambda: bad.mode() is None, what="the server's leaving of the quorum")
    writer.progress(200)
    assert writer.longest < LIMIT_S + 5, f"{writer.longest:.1f} s without a write"
    bad.disk("ok")
    bad.wait_ready()
    finish(ens, writer)
