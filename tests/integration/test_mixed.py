"""Ensembles of Apache's servers and ours: each way of synchronisation forced in both directions and proven by what both sides
logged, observers of either kind, and the same trees everywhere afterwards."""
import re
import shutil
import time

import pytest
import rawzk
from clients import Load, assert_equal_trees, close, connect
from kazoo.exceptions import BadVersionError
from quollens import LEARNED, TAUGHT, Ensemble, Said, assert_digests_agree, ephemerals_and_sessions, last_way
from skipping import need_apache
from zkserver import WAIT_S, eventually

SYNC = 9


def assert_same(e):
    """Trees with every field of every Stat, sessions, ephemerals, and no digest that differs from the leader's."""
    running = [s for s in e.servers if s.process]
    found = assert_equal_trees(e)
    eventually(lambda: len({str(ephemerals_and_sessions(s)) for s in running}) == 1,
               what=lambda: f"the same sessions: {[ephemerals_and_sessions(s) for s in running]}")
    assert_digests_agree(running)
    return found


def logged(server, text):
    """Whether the text is in the server's transaction logs."""
    return any(text in f.read_bytes() for f in (server.datadir / "data" / "version-2").glob("log.*"))


class Rounds:
    """Three servers whose roles the start order decides: `old` (3) leads first, then `lead` (2), with `third` (1) to make a
    quorum. What comes back behind `lead` is `old`."""

    def __init__(self, ensemble):
        self.e = ensemble
        self.third, self.lead, self.old = ensemble.servers[:3]
        self.levels = 0

    def begin(self, *servers):
        for s in servers:
            s.start(wait=False)
        for s in servers:
            s.wait_ready()

    def begin_under_old(self):
        self.begin(self.third, self.old)
        assert self.e.leader() is self.old, self.e.logs()

    def level(self):
        """Waits until every voter has in its log what the leader has: one that has applied it and not logged it loses the next election.
        Returns a client: the end of its session would be a transaction more."""
        voters = [s for s in self.e.servers if s.process and s.mode() != "observer"]
        client = rawzk.RawClient(self.e.leader().port, timeout_ms=60000)
        self.levels += 1
        path = f"/level{self.levels}."
        assert client.call(rawzk.create(1, path))[2] == 0
        eventually(lambda: all(logged(s, path.encode()) for s in voters), what="the same in all logs")
        return client

    def kill_all(self):
        client = self.level()
        self.end_all()
        client.close()

    def end_all(self):
        for s in self.e.servers:
            if s.process:
                s.kill9()

    def leave_tail(self, name):
        """Everybody is dead, and `old`, which led, has logged transactions that nobody else has."""
        client = self.level()
        followers = [self.third, self.lead]
        for s in followers:
            s.pause()
        for i in range(20):
            client.send(rawzk.create(i + 1, f"/{name}{i}"))
        eventually(lambda: logged(self.old, f"/{name}19".encode()), what="the tail on the leader's disk")
        self.end_all()  # what the sockets of the stopped servers hold must not be seen
        client.close()

    def begin_under_lead(self):
        self.begin(self.third, self.lead)
        assert self.e.leader() is self.lead, self.e.logs()

    def rejoin(self, way, server=None):
        """Starts the server, and proves from the logs of both sides by which way it was synchronised."""
        server = server or self.old
        leader = self.e.leader()
        learner_said, leader_said = Said(server), Said(leader)
        server.start()
        assert self.e.leader() is leader
        ways = last_way(LEARNED, learner_said.text()), last_way(TAUGHT, leader_said.text())
        assert ways == (way, way), f"{ways} instead of {way}\n{learner_said.tail()}\n----\n{leader_said.tail()}"
        return leader_said.text()

    def write(self, prefix, count, data=b"y" * 20):
        c = connect(self.e.leader().address, timeout=30.0)
        for r in [c.create_async(f"/{prefix}{i}", data) for i in range(count)]:
            r.get(timeout=WAIT_S)
        close(c)


# What keeps a leader from reading its log on disk must not be the log's preallocation; and no session may end, by a transaction,
# while servers start.
PROPS = {"preAllocSize": 64, "maxSessionTimeout": 60000}


@pytest.mark.parametrize("kinds", ["qqa", "aqa", "aaq", "qaq"])
def test_ways_of_synchronisation(build_dir, kinds):
    """kinds: the third server, the leader, the one that comes back. DIFF from the window and from the log on disk, TRUNC, DIFF
    upon what a TRUNC left, SNAP to an empty server and to one with the tail of an older epoch."""
    need_apache()
    e = Ensemble(build_dir, kinds, PROPS)
    r = Rounds(e)
    try:
        r.begin_under_old()
        r.write("big", 30, b"z" * 100000)
        r.rejoin("SNAP", r.lead)
        r.write("small", 10)  # a leader without a transaction before its epoch has nothing to truncate to
        r.leave_tail("gone")
        r.begin_under_lead()
        r.rejoin("TRUNC")
        assert "/gone0" not in assert_same(e)
        r.old.kill9()
        r.write("window", 20)
        r.rejoin("DIFF")
        r.old.kill9()
        r.write("log", 700)
        assert re.search("Use txnlog and committedLog|by DIFF from the log", r.rejoin("DIFF"))
        r.old.kill9()
        shutil.rmtree(r.old.datadir / "data" / "version-2")
        r.rejoin("SNAP")
        assert_same(e)
        r.kill_all()
        r.begin_under_old()
        r.begin(r.lead)
        r.leave_tail("older")
        r.begin_under_lead()
        r.write("newer", 5)
        r.rejoin("SNAP")
        found = assert_same(e)
        assert not [p for p in found if p.startswith(("/gone", "/older"))]
        for prefix, count in (("big", 30), ("small", 10), ("window", 20), ("log", 700), ("newer", 5)):
            assert len([p for p in found if p.startswith("/" + prefix)]) == count
    finally:
        e.close()


class Visitor:
    """A client of one server, with an ephemeral node and a session of its own."""

    def __init__(self, server):
        self.server = server
        self.client = connect(server.address, timeout=60.0)
        self.session = self.client.client_id[0]
        self.path = self.client.create(f"/by{server.myid}", b"0", ephemeral=True)
        self.events = []

    def check(self, e, n):
        """Its session lives; what it writes through its server is seen by watches and reads at every other server, and the other way
        round."""
        eventually(lambda: self.client.connected, what="connection")
        assert self.client.client_id[0] == self.session
        seen = len(self.events)
        self.client.get(self.path, watch=self.events.append)
        for s in e.servers:
            other = connect(s.address)
            other.sync("/")
            assert other.exists(self.path).ephemeralOwner == self.session
            watched = []
            other.get(self.path, watch=watched.append)
            self.client.set(self.path, b"%d" % n)
            eventually(lambda: watched, what=f"the watch at server {s.myid}")
            name = other.create(f"/from{s.myid}-{self.server.myid}-{n}", b"")
            self.client.sync("/")
            assert self.client.exists(name)
            close(other)
        assert len(self.events) == seen + 1

    def bad_version(self):
        """A refused write comes back to the observer's client as its error."""
        with pytest.raises(BadVersionError):
            self.client.set(self.path, b"", version=77)


def test_observers(build_dir):
    """Observers of both kinds under a leader of either kind: sessions, ephemerals, watches and writes through them; DIFF and SNAP to them;
    the leader dies."""
    need_apache()
    e = Ensemble(build_dir, "qaqAQ", PROPS)
    r = Rounds(e)
    observers = e.servers[3:]
    visitors = []
    try:
        r.begin(e.servers[0], e.servers[1])
        r.begin(e.servers[2], *observers)
        for leader, other in ((e.servers[1], e.servers[2]), (e.servers[2], e.servers[1])):
            assert e.leader() is leader, e.logs(20)
            assert [s.mode() for s in observers] == ["observer"] * 2
            visitors = visitors or [Visitor(s) for s in observers]
            for n, v in enumerate(visitors):
                v.check(e, n + 10 * leader.myid)
                v.bad_version()
            for s in observers:
                s.kill9()
                r.write(f"missed{leader.myid}-{s.myid}-", 20)
                r.rejoin("DIFF", s)
                s.kill9()
                shutil.rmtree(s.datadir / "data" / "version-2")
                r.rejoin("SNAP", s)
            for v in visitors:
                eventually(lambda: v.client.connected, what="connection")
                assert v.client.client_id[0] == v.session
            assert_same(e)
            if leader is e.servers[1]:
                level = r.level()
                leader.kill9()
                assert e.leader() is other, e.logs(20)
                level.close()
                leader.start()
                e.wait_ready()
        for v in visitors:
            close(v.client)
        found = assert_same(e)
        assert len([p for p in found if p.startswith("/missed")]) == 80
        assert not [p for p in found if p.startswith("/by")]
    finally:
        e.close()


def test_leader_slow_to_listen(build_dir):
    """A server of Apache's that has won an election and is held up before it listens to its followers: they wait. One that leaves instead has a vote of
    another round afterwards, the leader waits for it, and with the third server down there is no service until initLimit ends that."""
    need_apache()
    with Ensemble(build_dir, "qaq", {"initLimit": 200, "syncLimit": 20}) as e:
        ours, theirs, leader = e.servers
        assert e.leader() is leader
        said = Said(ours)
        leader.kill9()
        eventually(lambda: "following: server 2 leads" in said.text(), what=lambda: f"the election\n{e.logs(20)}")
        theirs.pause()
        time.sleep(1)  # longer than the reference tries to connect
        theirs.resume()
        eventually(lambda: ours.mode() == "follower", what=lambda: f"service; initLimit is 100 s\n{e.logs(20)}")
        assert said.text().count("looking for a leader") == 1


class Pipeline:
    """A client that writes and syncs without waiting for answers."""

    def __init__(self, server, name, count):
        self.client = rawzk.RawClient(server.port, timeout_ms=20000)
        self.count = 2 * count
        assert self.client.call(rawzk.create(1, f"/{name}"))[2] == 0
        for n in range(count):
            self.client.send(rawzk.set_data(2 * n + 2, f"/{name}", b"%d" % n))
            self.client.send(rawzk.request(2 * n + 3, SYNC, rawzk.string("/")))

    def finish(self):
        """Every answer, in order."""
        for n in range(self.count):
            xid, _, err, _ = self.client.reply()
            assert (xid, err) == (n + 2, 0)
        self.client.close()


@pytest.mark.parametrize("kinds", ["aqqA", "qaaQ"])
def test_syncs_among_writes(build_dir, kinds):
    """A server of Apache's takes the first of its clients' writes and syncs that wait to be the next that the leader decides: one that
    is overtaken blocks all its clients for good. So a leader has to answer syncs and writes of one learner in the order asked."""
    need_apache()
    e = Ensemble(build_dir, kinds)
    r = Rounds(e)
    try:
        r.begin(*e.servers[:2])
        assert e.leader() is e.servers[1]
        r.begin(*e.servers[2:])
        for _ in range(3):
            pipelines = [Pipeline(s, f"p{s.myid}-{n}-{_}", 150) for n in range(3) for s in e.servers]
            for p in pipelines:
                p.finish()
        assert_same(e)
    finally:
        e.close()


def test_joining_under_load(build_dir):
    """A server of Apache's comes back under our leader while many writes are on their way: at the first attempt. (What is
    proposed ahead of NEWLEADER and committed ahead of UPTODATE may make it break off and log all of it twice, ZOOKEEPER-4394.)"""
    need_apache()
    e = Ensemble(build_dir, "qqa", PROPS)
    r = Rounds(e)
    try:
        r.begin(r.third, r.lead)
        assert e.leader() is r.lead
        load = Load(r.lead.address, writers=6)
        for _ in range(3):
            said = Said(r.old)
            r.old.start()
            load.progress(200)
            assert "Exception when following the leader" not in said.text(), said.tail()
            assert len(LEARNED.findall(said.text())) == 1
            r.old.kill9()
        load.finish()
    finally:
        e.close()
