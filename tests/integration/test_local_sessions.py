"""Read-only mode and local sessions, with kazoo, Java and raw clients, alone and among Apache's servers."""
import pathlib
import struct
import subprocess
import threading

import javaclient
import pytest
import rawzk
from clients import assert_equal_trees, close, connect, create_at_last
from kazoo.client import KazooState
from kazoo.exceptions import KazooException, NotReadOnlyCallError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KeeperState
from quollens import Ensemble
from skipping import need_apache, skip_loudly
from zkserver import WAIT_S, eventually

SOURCE = pathlib.Path(__file__).parent / "java" / "ReadOnlyClient.java"
READ_ONLY = {"readonlymode.enabled": "true"}
LOCAL = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
EPHEMERAL_ON_LOCAL = -120


def mntr(server, key):
    for line in server.four_letter("mntr").splitlines():
        if line.startswith(f"zk_{key}\t"):
            return line.split("\t")[1]
    return None


def cut_off(e):
    """Leaves one server alone, with /seen, once it serves read-only. Returns it and those that are down."""
    c = connect(e.hosts)
    c.create("/seen", b"before")
    for s in e.servers:
        one = connect(s.address)
        one.sync("/")
        close(one)
    close(c)
    alone, *others = e.followers() + [e.leader()]
    for s in others:
        s.kill9()
    eventually(lambda: alone.four_letter("isro") == "ro", what="read-only mode")
    return alone, others


def come_back(e, others):
    for s in others:
        s.start(wait=False)
    e.wait_ready()


# ---- read-only mode ----

def test_read_only_by_hand(build_dir):
    """What is served and what is refused; the words say so; who asked for nothing is sent away; all ends with the quorum's return."""
    with Ensemble(build_dir, "qqq", READ_ONLY) as e:
        live = rawzk.RawClient(e.servers[0].port, read_only=True)
        assert not live.read_only
        alone, others = cut_off(e)
        assert "Mode: read-only\n" in alone.four_letter("srvr")
        assert "READ-ONLY mode; serving only read-only clients\n" in alone.four_letter("srvr")
        assert mntr(alone, "server_state") == "read-only"
        with pytest.raises(OSError):
            rawzk.RawClient(alone.port)
        went_on = rawzk.RawClient(alone.port, read_only=True, session=live.session, passwd=live.passwd)
        assert went_on.session == live.session and went_on.read_only
        assert went_on.call(rawzk.create(1, "/w"))[2] == -119
        c = rawzk.RawClient(alone.port, read_only=True)
        assert c.read_only and c.session != 0
        assert mntr(alone, "local_sessions") == "1"
        zxid = c.call(rawzk.with_watch(1, rawzk.GET, "/seen", True))
        assert zxid[2] == 0 and zxid[3][4:10] == b"before"
        refused = [rawzk.create(2, "/w"), rawzk.create(3, "/w", flags=1), rawzk.set_data(4, "/seen", b"x"),
                   rawzk.request(5, 2, rawzk.string("/seen") + struct.pack(">i", -1)), rawzk.request(6, 9, rawzk.string("/")),
                   rawzk.request(7, 14, struct.pack(">ibi", -1, 1, -1))]
        for i, packet in enumerate(refused):
            assert c.call(packet) == (i + 2, zxid[1], -119, b"")
        assert c.call(rawzk.request(-2, rawzk.PING))[:3] == (-2, zxid[1], 0)
        again = rawzk.RawClient(alone.port, read_only=True, session=c.session, passwd=c.passwd)
        assert again.session == c.session and again.read_only
        other = rawzk.RawClient(alone.port, read_only=True)
        assert other.call(rawzk.request(1, rawzk.CLOSE))[2] == 0
        with pytest.raises(OSError):
            other.receive()
        come_back(e, others)
        with pytest.raises(OSError):
            again.receive()  # told to go
        late = rawzk.RawClient(alone.port, read_only=True, session=c.session, passwd=c.passwd)
        assert late.session == 0 and not late.read_only  # it was never a real one
        assert alone.four_letter("isro") == "rw"
        with pytest.raises(OSError):
            went_on.receive()
        moved = rawzk.RawClient(alone.port, read_only=True, session=live.session, passwd=live.passwd)
        assert moved.session == live.session and not moved.read_only
        assert moved.call(rawzk.create(1, "/w"))[2] == 0


def test_read_only_keeps_a_kazoo_session(build_dir):
    """A client that was connected before reads on while its server is cut off, and has its session and its ephemeral afterwards."""
    with Ensemble(build_dir, "qqq", READ_ONLY) as e:
        c = connect(e.hosts, timeout=60.0, read_only=True)
        c.create("/mine", b"m", ephemeral=True)
        session = c.client_id[0]
        _, others = cut_off(e)
        eventually(lambda: c.client_state == KeeperState.CONNECTED_RO, what="a read-only connection")
        assert c.get("/mine")[0] == b"m"
        assert c.client_id[0] == session
        come_back(e, others)
        eventually(lambda: c.client_state == KeeperState.CONNECTED, what="a quorum")
        assert c.exists("/mine").ephemeralOwner == session == c.client_id[0]
        close(c)


def test_no_read_only_mode_unasked(build_dir):
    with Ensemble(build_dir, "qq") as e:
        alone, other = e.servers
        log = alone.log_path
        other.kill9()
        eventually(lambda: alone.four_letter("isro") == "null", what="stepping down")
        with pytest.raises(OSError):
            rawzk.RawClient(alone.port, read_only=True)
        eventually(lambda: log.read_text().count("looking for a leader") >= 2, what="an election without end")
        assert alone.four_letter("isro") == "null"


def test_read_only_kazoo(build_dir):
    """kazoo reads from the server that is cut off, is refused writes, and goes on with a session of its own."""
    with Ensemble(build_dir, "qqq", READ_ONLY) as e:
        alone, others = cut_off(e)
        c = connect(e.hosts, timeout=6.0, read_only=True)
        eventually(lambda: c.client_state == KeeperState.CONNECTED_RO, what="a read-only connection")
        assert c.get("/seen")[0] == b"before"
        assert c.get_children("/")
        with pytest.raises(NotReadOnlyCallError):
            c.create("/w", b"")
        with pytest.raises(NotReadOnlyCallError):
            c.set("/seen", b"after")
        come_back(e, others)
        create_at_last(c, "/eph", ephemeral=True)
        assert c.client_state == KeeperState.CONNECTED
        assert c.exists("/eph").ephemeralOwner == c.client_id[0]
        close(c)


@pytest.fixture(scope="module", name="java")
def java_fixture(tmp_path_factory):
    if why := javaclient.missing():
        skip_loudly(why)
    return javaclient.command(SOURCE, tmp_path_factory.mktemp("classes"))


def test_read_only_java(build_dir, java):
    """Java's canBeReadOnly: as above, and it finds its way out by polling isro."""
    with Ensemble(build_dir, "qqq", READ_ONLY) as e:
        alone, others = cut_off(e)
        with subprocess.Popen([*java, e.hosts, "/seen"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
            lines = []
            timer = threading.Timer(240, p.kill)
            timer.start()
            for line in p.stdout:
                lines.append(line.strip())
                if lines[-1] == "read-only session":
                    assert mntr(alone, "local_sessions") == "1"
                    come_back(e, others)
                    p.stdin.write("\n")
                    p.stdin.flush()
            timer.cancel()
            assert p.wait() == 0, lines
        assert lines[-1] == "done", lines
        for expected in ("read before", "create NOTREADONLY", "a session of its own"):
            assert expected in lines, lines


# ---- local sessions ----

@pytest.mark.parametrize("kinds", ["qqq", "qaq", "aqa"])
def test_local_sessions(build_dir, kinds):
    """Sessions take no transaction, stay at their server, become global with the first ephemeral, and are closed by their own server."""
    if "a" in kinds:
        need_apache()
    with Ensemble(build_dir, kinds, LOCAL) as e:
        for n, s in enumerate(e.servers):
            other = e.servers[(n + 1) % 3]
            before = rawzk.RawClient(s.port)
            made = before.call(rawzk.create(1, f"/n{n}"))
            assert made[2] == 0
            c = rawzk.RawClient(s.port)
            assert c.session >> 56 == s.myid
            assert before.call(rawzk.create(2, f"/m{n}"))[1] == made[1] + 1  # nothing in between
            assert c.call(rawzk.set_data(1, f"/n{n}", b"x"))[2] == 0
            at_other = rawzk.RawClient(other.port, session=c.session, passwd=c.passwd)
            assert at_other.session == 0
            assert c.call(rawzk.create(2, f"/p{n}"))[2] == 0  # it did not move
            if mntr(s, "local_sessions") is not None:
                assert mntr(s, "local_sessions") == "2"
            assert c.call(rawzk.create(3, f"/e{n}", flags=1))[2] == 0
            assert c.call(rawzk.create(4, f"/f{n}", flags=1))[2] == 0
            if mntr(s, "local_sessions") is not None:
                assert mntr(s, "local_sessions") == "1"
            c.close()  # without a goodbye
            moved = rawzk.RawClient(other.port, session=c.session, passwd=c.passwd)
            assert moved.session == c.session  # a global one does move
            assert moved.call(rawzk.request(5, 9, rawzk.string("/")))[2] == 0
            assert {f"e{n}", f"f{n}"} <= set(moved.children("/"))
            assert moved.call(rawzk.request(6, rawzk.CLOSE))[2] == 0
            assert before.call(rawzk.request(3, 9, rawzk.string("/")))[2] == 0
            assert not {f"e{n}", f"f{n}"} & set(before.children("/"))
            assert before.call(rawzk.request(4, rawzk.CLOSE))[2] == 0
            with pytest.raises(OSError):
                before.receive()
            gone = rawzk.RawClient(s.port, session=before.session, passwd=before.passwd)
            assert gone.session == 0
        a = [connect(s.address) for s in e.servers]
        lock = a[0].Lock("/lock", "a")
        assert lock.acquire(timeout=WAIT_S)
        assert not a[1].Lock("/lock", "b").acquire(blocking=False)
        lock.release()
        assert a[1].Lock("/lock", "b").acquire(timeout=WAIT_S)
        close(*a)


@pytest.mark.parametrize("kinds", ["qqq", "aqa"])
def test_no_upgrade(build_dir, kinds):
    """Without upgrading, ephemerals are refused, alone and within a multi, and all else goes on."""
    if "a" in kinds:
        need_apache()
    with Ensemble(build_dir, kinds, {"localSessionsEnabled": "true"}) as e:
        for n, s in enumerate(e.servers):
            c = rawzk.RawClient(s.port)
            assert c.call(rawzk.create(1, f"/e{n}", flags=1))[2] == EPHEMERAL_ON_LOCAL
            assert c.call(rawzk.create(2, f"/p{n}"))[2] == 0
            assert c.call(rawzk.create(3, f"/e{n}", flags=3))[2] == EPHEMERAL_ON_LOCAL
            if s in [m for m, k in zip(e.servers, kinds) if k == "q"]:
                step = struct.pack(">ibi", 1, 0, -1) + rawzk.create(0, f"/e{n}", flags=1)[12:]
                _, _, err, body = c.call(rawzk.request(4, 14, step + struct.pack(">ibi", -1, 1, -1)))
                assert err == 0 and struct.unpack(">i", body[9:13])[0] == EPHEMERAL_ON_LOCAL
            c.close()


def test_local_session_expires_here(build_dir):
    """A silent client's local session ends at its server; one of the same timeout that pings, and is older, does not."""
    with Ensemble(build_dir, "qqq", LOCAL) as e:
        alive = [connect(s.address, timeout=4.0) for s in e.servers]
        sessions = [c.client_id[0] for c in alive]
        silent = [rawzk.RawClient(s.port, timeout_ms=4000, timeout_s=WAIT_S) for s in e.servers]
        for s, quiet in zip(e.servers, silent):
            assert mntr(s, "local_sessions") == "2"
        for s, quiet, c, session in zip(e.servers, silent, alive, sessions):
            with pytest.raises(OSError):
                quiet.receive()
            eventually(lambda at=s: mntr(at, "local_sessions") == "1", what="expiry")
            assert c.exists("/") and c.client_id[0] == session
            close(c)
            assert mntr(s, "local_sessions") == "0", hex(session)


def test_local_session_survives_an_election(build_dir):
    """The leader dies: a follower's local session goes on (the reference forgets it)."""
    with Ensemble(build_dir, "qqq", LOCAL) as e:
        follower = e.followers()[0]
        c = connect(follower.address)
        session = c.client_id[0]
        lost = []
        c.add_listener(lambda state: lost.append(1) if state == KazooState.LOST else None)
        e.leader().kill9()
        e.leader()  # another one: the follower has noticed
        create_at_last(c, "/after", ephemeral=True)
        assert c.client_id[0] == session and not lost
        assert c.exists("/after").ephemeralOwner == session
        close(c)


@pytest.mark.parametrize("props", [{}, LOCAL])
def test_dump(build_dir, props):
    """The four-letter word shows sessions in the reference's shapes: by expiry where they expire, with their timeout elsewhere."""
    with Ensemble(build_dir, "qqq", props) as e:
        for s in e.servers:
            plain, owner = rawzk.RawClient(s.port), rawzk.RawClient(s.port)
            assert owner.call(rawzk.create(1, f"/e{s.myid}", flags=1))[2] == 0
            head = s.four_letter("dump").split("ephemeral nodes dump:")[0]
            assert f"0x{plain.session:x}" in head and f"0x{owner.session:x}" in head
            leads = s.mode() == "leader"
            if leads:
                assert ("Global Session Sets (" if props else "\nSession Sets (") in head
            else:
                assert "Global Sessions(" in head and f"0x{owner.session:x}\t10000ms\n" in head
            assert ("Local Session Sets (1)/(1):\n" in head) == bool(props)
            plain.close()
            owner.close()


@pytest.mark.parametrize("kinds", ["qqq", "aqa", "qaq"])
def test_multi_create2_through_all(build_dir, kinds):
    """A create2 within a multi is answered with its Stat, wherever the client is (Debian's 3.8.0 gives the path alone)."""
    if "a" in kinds:
        need_apache()
    with Ensemble(build_dir, kinds) as e:
        for n, (s, kind) in enumerate(zip(e.servers, kinds)):
            if kind == "a":
                continue
            c = rawzk.RawClient(s.port)
            steps = b"".join(struct.pack(">ibi", op, 0, -1) + rawzk.create(0, f"/c{op}-{n}", b"abc")[12:] for op in (1, 15))
            _, zxid, err, body = c.call(rawzk.request(1, 14, steps + struct.pack(">ibi", -1, 1, -1)))
            assert err == 0
            assert struct.unpack(">i", body[:4])[0] == 1
            at = 9 + 4 + len(f"/c1-{n}")
            assert struct.unpack(">i", body[at:at + 4])[0] == 15
            at += 9 + 4 + len(f"/c15-{n}")
            assert struct.unpack(">q", body[at:at + 8])[0] == zxid  # the Stat's czxid
            assert len(body) == at + 68 + 9
            c.close()


def test_leader_without_clients(build_dir):
    """leaderServes=no: the leader sends clients away, its followers serve; when it no longer leads it serves again."""
    with Ensemble(build_dir, "qqq", {"leaderServes": "no"}) as e:
        leader = e.leader()
        with pytest.raises(OSError):
            rawzk.RawClient(leader.port)
        assert leader.four_letter("isro") == "null"
        c = connect(e.hosts)
        c.create("/served")
        assert all(s.four_letter("isro") == "rw" for s in e.followers())
        leader.kill9()
        e.leader()  # started at once it could take part in the election, and win
        leader.start()
        assert leader.mode() == "follower"
        back = connect(leader.address)
        assert back.exists("/served")
        close(c, back)


@pytest.mark.parametrize("kinds", ["qqq", "qaq"])
def test_local_sessions_under_failover(build_dir, kinds):
    """Clients come, write, make ephemerals and go while leaders die: in the end no ephemeral is left, nothing acknowledged is lost, all trees are equal."""
    if "a" in kinds:
        need_apache()
    with Ensemble(build_dir, kinds, LOCAL) as e:
        first = connect(e.hosts)
        first.create("/kept")
        close(first)
        stop = threading.Event()
        acked = set()

        def visits(who):
            n = 0
            while not stop.is_set():
                try:
                    c = connect(e.servers[who % 3].address if n % 2 else e.hosts, timeout=4.0)
                except KazooTimeoutError:
                    continue  # its server was down for so long
                for _ in range(5):
                    path = f"/kept/{who}-{n}"
                    n += 1
                    try:
                        c.create(path)
                        acked.add(path)
                        if n % 3:
                            c.create(f"/eph-{who}-{n}", b"", ephemeral=True)
                    except (KazooException, KazooTimeoutError):
                        pass  # it may or may not be there
                    if stop.is_set():
                        break
                close(c)

        threads = [threading.Thread(target=visits, args=(i,), daemon=True) for i in range(4)]
        for t in threads:
            t.start()
        for _ in range(2):
            before = len(acked)
            eventually(lambda b=before: len(acked) > b + 30, what="writes")
            leader = e.leader()
            leader.kill9()
            before = len(acked)
            eventually(lambda b=before: len(acked) > b + 30, what="writes without it")
            leader.start()
        stop.set()
        for t in threads:
            t.join()
        last = connect(e.leader().address)
        eventually(lambda: not [n for n in last.get_children("/") if n.startswith("eph")], what="the end of all ephemerals")
        close(last)
        found = assert_equal_trees(e)
        assert not acked - found.keys()
