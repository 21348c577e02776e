"""Ensembles of our servers, and of ours and Apache's: service, failover under load, synchronisation, equal trees."""
import shutil
import threading

import pytest
import rawzk
from clients import Load, assert_equal_trees, close, connect, create_at_last
from kazoo.exceptions import KazooException
from quollens import Ensemble
from skipping import need_apache
from zkserver import WAIT_S, eventually



@pytest.fixture(name="three")
def three_fixture(build_dir):
    with Ensemble(build_dir, "qqq") as e:
        yield e


def test_service_of_three(three):
    """Every server takes writes, sees those of the others, and says what it is."""
    modes = [s.mode() for s in three.servers]
    assert sorted(modes) == ["follower", "follower", "leader"]
    clients = [connect(s.address) for s in three.servers]
    for i, c in enumerate(clients):
        assert c.create(f"/n{i}", b"%d" % i) == f"/n{i}"
        c.set(f"/n{i}", b"changed")
    for c in clients:
        c.sync("/")
        assert {"n0", "n1", "n2"} <= set(c.get_children("/"))
        assert c.get("/n1")[0] == b"changed"
    with pytest.raises(KazooException):
        clients[1].create("/n0")
    t = clients[2].transaction()
    t.create("/multi")
    t.set_data("/n0", b"multi")
    t.delete("/n2")
    assert not any(isinstance(r, Exception) for r in t.commit())
    clients[0].sync("/")
    assert clients[0].get("/n0")[0] == b"multi"
    assert_equal_trees(three)
    close(*clients)
    mntr = three.leader().four_letter("mntr")
    assert "zk_synced_followers\t2" in mntr
    assert "zk_quorum_size\t3" in mntr
    assert "zk_peer_state\tfollowing - broadcast" in three.followers()[0].four_letter("mntr")
    conf = three.servers[0].four_letter("conf")
    assert "serverId=1\n" in conf and "membership: \nserver.1=" in conf and conf.endswith("version=0")


def test_watches_and_sessions_move(three):
    """A watch set at one server fires for a write at another; a session goes on at another server with its ephemerals."""
    a, b = connect(three.servers[0].address), connect(three.servers[1].address)
    a.create("/w", b"")
    b.sync("/")
    fired = threading.Event()
    b.get("/w", watch=lambda event: fired.set())
    a.set("/w", b"new")
    assert fired.wait(WAIT_S)
    for at in range(3):  # made at one server, gone on with at the next
        own = rawzk.RawClient(three.servers[at].port)
        assert own.call(rawzk.create(1, "/mine", flags=1))[2] == 0
        own.close()  # without a goodbye: the session lives on
        go_on = {"session": own.session, "passwd": own.passwd}
        moved = rawzk.RawClient(three.servers[(at + 1) % 3].port, **go_on)
        assert moved.session == own.session
        b.sync("/")
        assert b.exists("/mine").ephemeralOwner == own.session
        assert moved.call(rawzk.create(2, f"/by-moved{at}"))[2] == 0
        moved.send(rawzk.request(3, rawzk.CLOSE))
        assert moved.reply()[2] == 0
        moved.close()
        b.sync("/")
        assert b.exists("/mine") is None
        late = rawzk.RawClient(three.servers[at].port, **go_on)
        assert late.session == 0  # it is over, everywhere
        late.close()
    close(a, b)


def test_sessions_expire_by_the_leader(three):
    """A client of a follower that falls silent loses its session; one that pings does not."""
    silent = rawzk.RawClient(three.followers()[0].port, timeout_ms=4000)
    alive = connect(three.followers()[1].address, timeout=4.0)
    assert silent.call(rawzk.create(1, "/silent", flags=1))[2] == 0
    alive.create("/alive", ephemeral=True)
    silent.close()
    eventually(lambda: alive.exists("/silent") is None, what="expiry")
    assert alive.exists("/alive")
    close(alive)


@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_kill_under_load(three, victim):
    """kill -9 and restart, twice: no acknowledged write is lost, no session either, and all trees are equal."""
    load = Load(three.hosts)
    load.progress()
    for _ in range(2):
        server = three.leader() if victim == "leader" else three.followers()[0]
        server.kill9()
        load.progress()
        server.start()
        load.progress()
    acked = load.finish()
    found = assert_equal_trees(three)
    lost = [p for p in acked if p not in found]
    assert not lost, f"{len(lost)} of {len(acked)} acknowledged writes are lost: {lost[:3]}\n{three.logs()}"
    assert load.lost_sessions == 0


def test_all_killed_at_once(three):
    """The whole ensemble is killed under load: what was acknowledged is there after the restart."""
    load = Load(three.hosts)
    load.progress(100)
    for s in three.servers:
        s.kill9()
    for s in three.servers:
        s.start(wait=False)
    three.wait_ready()
    load.progress()
    acked = load.finish()
    found = assert_equal_trees(three)
    assert not [p for p in acked if p not in found]


def test_empty_server_joins_by_snapshot(three):
    """A server whose disk was lost gets everything; so does one whose leader was restarted since."""
    c = connect(three.hosts)
    for i in range(700):  # more than the window of committed transactions
        c.create(f"/s{i}", b"x" * 100)
    c.create("/eph", ephemeral=True)
    victim = three.followers()[0]
    victim.kill9()
    shutil.rmtree(victim.datadir / "data")
    victim.start()
    found = assert_equal_trees(three)
    assert len([p for p in found if p.startswith("/s")]) == 700
    assert "/eph" in found
    close(c)


def test_server_behind_catches_up_from_the_log(three):
    """A server that missed more than the window holds."""
    c = connect(three.leader().address)  # not to the one that is killed
    c.create("/before")
    victim = three.followers()[0]
    victim.kill9()
    for i in range(1200):
        c.create(f"/l{i}", b"y" * 20)
    victim.start()
    assert len([p for p in assert_equal_trees(three) if p.startswith("/l")]) == 1200
    close(c)


def test_uncommitted_tail_is_truncated(three):
    """What a leader logged alone is withdrawn when it comes back behind another."""
    c = connect(three.hosts)
    c.create("/kept")
    leader = three.leader()
    others = [s for s in three.servers if s is not leader]
    alone = connect(leader.address)
    for s in others:
        s.pause()
    for i in range(20):
        alone.create_async(f"/gone{i}", b"")
    eventually(lambda: "zk_proposals_outstanding\t20" in leader.four_letter("mntr"), what="proposals")
    leader.kill9()
    for s in others:
        s.kill9()  # what the sockets of the stopped servers hold must not be seen
    alone.stop()
    for s in others:
        s.start(wait=False)
    for s in others:
        s.wait_ready()
    create_at_last(c, "/after")
    leader.start()
    found = assert_equal_trees(three)
    assert "/kept" in found and "/after" in found
    assert not [p for p in found if p.startswith("/gone")]
    log = leader.log_path.read_text()
    assert "with the leader by TRUNC" in log or "with the leader by SNAP" in log
    close(c)


def test_minority_serves_nobody(three):
    """Without a quorum there are no answers; with one again there are, and the sessions live."""
    c = connect(three.hosts, timeout=20.0)
    c.create("/x")
    session = c.client_id[0]
    leader = three.leader()
    followers = three.followers()
    for s in followers:
        s.kill9()
    eventually(lambda: "not currently serving" in leader.four_letter("srvr"), what="stepping down")
    assert leader.four_letter("ruok") == "imok"
    assert leader.four_letter("isro") == "null"
    for s in followers:
        s.start(wait=False)
    three.wait_ready()
    eventually(lambda: c.connected and c.exists("/x"), what="service")
    assert c.client_id[0] == session
    close(c)


def test_observer(build_dir):
    """An observer serves reads and writes, has no vote, and survives the loss of the leader."""
    with Ensemble(build_dir, "qqqQ") as e:
        observer = e.servers[3]
        assert observer.mode() == "observer"
        c = connect(observer.address)
        c.create("/by-observer", b"1")
        e.leader().kill9()
        e.leader()  # another one: the observer has lost its connection by now
        eventually(lambda: observer.mode() == "observer" and c.connected and c.exists("/by-observer"), what="observer again")
        c.create("/again")
        close(c)
        assert {"/by-observer", "/again"} <= assert_equal_trees(e).keys()


def test_orderly_stop(three):
    """SIGTERM ends each kind of member with 0, under load; the others go on."""
    load = Load(three.hosts)
    load.progress()
    for server in (three.followers()[0], three.leader()):
        server.process.terminate()
        assert server.process.wait(timeout=WAIT_S) == 0, server.log_tail()
        server.process = None
        server.start()
        load.progress()
    acked = load.finish()
    assert not acked - assert_equal_trees(three).keys()


def test_ensemble_of_one(build_dir):
    """standaloneEnabled=false: one server that elects itself, again after a restart."""
    with Ensemble(build_dir, "q", {"standaloneEnabled": "false"}) as e:
        c = connect(e.hosts)
        c.create("/one")
        assert e.servers[0].mode() == "leader"
        e.servers[0].kill9()
        e.servers[0].start()
        eventually(lambda: c.connected and c.exists("/one"), what="service")
        close(c)


@pytest.mark.parametrize("kinds", ["qqa", "aaq", "qaa", "aqq"])
def test_mixed(build_dir, kinds):
    """Ours and Apache's in one ensemble, both majorities; the leader is killed under load, so that both kinds come to lead."""
    need_apache()
    with Ensemble(build_dir, kinds) as e:
        load = Load(e.hosts)
        load.progress()
        first = e.leader()
        first.kill9()
        load.progress()
        first.start()
        load.progress()
        victim = e.followers()[0]
        victim.kill9()
        load.progress()
        shutil.rmtree(victim.datadir / "data")
        victim.start()
        load.progress()
        acked = load.finish()
        found = assert_equal_trees(e)
        lost = [p for p in acked if p not in found]
        assert not lost, f"{len(lost)} of {len(acked)} acknowledged writes are lost: {lost[:3]}\n{e.logs()}"
