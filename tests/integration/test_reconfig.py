"""Members that come, go, move and change roles while clients write: Quoll alone and together with Apache's servers."""
import json
import pathlib
import re
import struct
import subprocess
import threading

import pytest
import rawzk
from clients import Load, assert_equal_trees, close, connect
from kazoo import exceptions as ke
from reconfens import SUPER, Changing, config_text, line_of, wait_mode
from skipping import need_apache
from zkserver import WAIT_S, eventually, free_port

KINDS = ["qqq", "qqa", "qaa", "aaa"]


def ensemble(build_dir, kinds, props=None):
    if "a" in kinds.lower():
        need_apache()
    return Changing(build_dir, kinds, props)


def finish(load, e):
    acked = load.finish()
    found = assert_equal_trees(e)
    lost = acked - found.keys()
    assert not lost, f"{len(lost)} of {len(acked)} acknowledged writes are lost: {sorted(lost)[:3]}\n{e.logs()}"
    assert load.lost_sessions == 0


def voters(text):
    return sorted(int(line.split("=")[0][7:]) for line in text.splitlines() if ":participant" in line)


def version(text):
    return int(text.rsplit("version=", 1)[1], 16)


def wait_config(e, text):
    """Every running server shows this configuration."""
    for s in e.servers:
        if s.process:
            eventually(lambda s=s: config_text(s)[0].decode() == text, what=f"server {s.myid} has the new configuration")


def member_line(e, text, myid):
    return next(line.split("=", 1)[1] for line in text.splitlines() if line.startswith(f"server.{myid}="))


@pytest.mark.parametrize("kinds,joiner", [("qqq", "q"), ("qqq", "a"), ("aaa", "q"), ("qqa", "q")])
def test_add_and_remove(build_dir, kinds, joiner):
    """A fourth and a fifth server join, two old ones leave; then the newcomers are needed, and bear it."""
    if joiner == "a":
        need_apache()
    with ensemble(build_dir, kinds) as e:
        leader = e.leader()
        load = Load(e.hosts)
        load.progress()
        a, b = e.joiner(joiner), e.joiner(joiner)
        assert a.mode() == b.mode() == "follower"
        text = e.reconfig(joining=f"server.{a.myid}={e.lines[a.myid]},server.{b.myid}={e.lines[b.myid]}")
        assert voters(text) == [1, 2, 3, 4, 5]
        wait_config(e, text)
        assert e.leader() is leader
        load.progress()
        gone = [s for s in e.servers[:3] if s is not leader]
        text = e.reconfig(leaving=",".join(str(s.myid) for s in gone), hosts=leader.address)
        assert voters(text) == sorted([leader.myid, 4, 5])
        for s in gone:  # without a vote, but still there
            wait_mode(e, s, "follower")
        load.progress()
        finish(load, e)
        for s in gone:
            s.kill9()
        leader.kill9()
        wait_config(e, text)
        assert e.leader() in (a, b)
        client = connect(f"{a.address},{b.address}")
        client.create("/by-newcomers")
        close(client)


@pytest.mark.parametrize("kinds", KINDS)
def test_move_the_leader(build_dir, kinds):
    """The leader leaves, twice: a follower of its choice goes on without an election. Who left is taken back."""
    with ensemble(build_dir, kinds) as e:
        load = Load(e.hosts)
        load.progress()
        spare = e.joiner("q")
        text = e.reconfig(joining=f"server.{spare.myid}={e.lines[spare.myid]}")
        for _ in range(2):
            old = e.leader()
            line = member_line(e, text, old.myid)
            left = e.reconfig(leaving=str(old.myid), hosts=",".join(s.address for s in e.servers if s is not old))
            assert old.myid not in voters(left)
            wait_mode(e, old, "follower")
            new = e.leader()
            assert new is not old
            wait_config(e, left)
            load.progress()
            text = e.reconfig(joining=f"server.{old.myid}={line}")
            wait_config(e, text)
            load.progress()
        finish(load, e)


@pytest.mark.parametrize("kinds", ["qqqq", "qqaa", "aaaq"])
def test_roles(build_dir, kinds):
    """A follower and then the leader become observers, and voters again."""
    with ensemble(build_dir, kinds) as e:
        load = Load(e.hosts)
        load.progress()
        for who in ("follower", "leader"):
            s = e.leader() if who == "leader" else [f for f in e.followers() if f.myid == 4 or f.myid == 1][0]
            others = ",".join(o.address for o in e.servers if o is not s)
            was = config_text(s)[0].decode()
            line = member_line(e, was, s.myid)
            text = e.reconfig(joining=f"server.{s.myid}={line.replace('participant', 'observer')}", hosts=others)
            assert s.myid not in voters(text)
            wait_mode(e, s, "observer")
            wait_config(e, text)
            load.progress()
            text = e.reconfig(joining=f"server.{s.myid}={line}", hosts=others)
            assert s.myid in voters(text)
            wait_mode(e, s, "follower")
            wait_config(e, text)
            load.progress()
        finish(load, e)


@pytest.mark.parametrize("kinds", ["qqq", "qaq"])
def test_addresses(build_dir, kinds):
    """A follower moves all its ports; so does the leader, which costs it the leadership. A client that is connected stays."""
    with ensemble(build_dir, kinds) as e:
        load = Load(e.hosts)
        for who in ("follower", "leader"):
            quoll = [s for s in e.servers if kinds[s.myid - 1] == "q"]
            s = e.leader() if who == "leader" else [f for f in e.followers() if f in quoll][0]
            staying = connect(s.address)
            staying.create(f"/of-{who}", ephemeral=True)
            session = staying.client_id[0]
            dropped = threading.Event()
            staying.add_listener(lambda state: dropped.set())
            port = free_port()
            e.lines[s.myid] = line_of(port)
            text = e.reconfig(joining=f"server.{s.myid}={e.lines[s.myid]}", hosts=",".join(o.address for o in e.servers if o is not s))
            assert e.lines[s.myid] in text
            s.port = port
            eventually(lambda: s.mode() is not None, what="the new client port")
            wait_config(e, text)
            if who == "follower":
                staying.set(f"/of-{who}", b"still here")
                assert not dropped.is_set() and staying.client_id[0] == session
            close(staying)
            load.progress()
        moved = [s for s in e.servers if e.lines[s.myid] in text]
        assert len(moved) == 3
        # The new election and quorum ports are what the others find it by.
        for s in e.servers:
            s.kill9()
        for s in e.servers:
            s.start(wait=False)
        e.wait_ready()
        load.progress()
        client = connect(e.hosts)  # who lost his server with its port could not close his session: its end must not fall between two trees
        eventually(lambda: not [n for n in client.get_children("/") if n.startswith("of-")], what="the end of all ephemerals")
        close(client)
        finish(load, e)


def test_client_port_by_name(build_dir):
    """A name has to be resolved first; then one without an address, which leaves the port where it is."""
    with ensemble(build_dir, "qqq") as e:
        s = e.followers()[0]
        others = ",".join(o.address for o in e.servers if o is not s)
        port = free_port()
        s.host, old = "localhost", s.port
        for name, told in (("localhost", f"clients connect to .*:{port}\n"), ("nobody.invalid", "nobody.invalid:[0-9]*: the name has no address")):
            s.port = port
            line = e.lines[s.myid].split(";")[0] + f";{name}:{port if name == 'localhost' else old}"
            assert line in e.reconfig(joining=f"server.{s.myid}={line}", hosts=others)
            eventually(lambda: re.search(told, s.log_path.read_text()), what=told)
            wait_mode(e, s, "follower")


@pytest.mark.parametrize("kinds", ["qqq", "qaa"])
def test_absent_and_restarted(build_dir, kinds):
    """Who was away learns of the change from the others; all find it in their files after kill -9."""
    with ensemble(build_dir, kinds) as e:
        load = Load(e.hosts)
        load.progress()
        away = e.servers[0]
        away.kill9()
        load.progress()
        new = e.joiner("q")
        text = e.reconfig(joining=f"server.{new.myid}={e.lines[new.myid]}", hosts=new.address)
        away.start()
        wait_config(e, text)
        name = f"zoo.cfg.dynamic.{version(text):x}"
        for s in e.servers:
            props = s.config_props()
            assert pathlib.Path(props["dynamicConfigFile"]).name == name
            assert not [k for k in props if k.startswith("server.")]
            assert (s.datadir / name).read_text() == text.rsplit("\n", 1)[0]
            assert not (s.datadir / "zoo.cfg.dynamic.next").exists()
        assert e.servers[0].config.read_text().startswith("# by hand\ntickTime=500\n")
        assert "server.1=" in (e.servers[0].datadir / "zoo.cfg.bak").read_text()
        for s in e.servers:
            s.kill9()
        for s in e.servers:
            s.start(wait=False)
        e.wait_ready()
        load.progress()
        wait_config(e, text)
        finish(load, e)


def propose(client, leader, **kwargs):
    """Asks the leader for a change that nobody can acknowledge now; returns once it is proposed."""
    client.reconfig_async(kwargs.get("joining"), kwargs.get("leaving"), None, -1)
    eventually(lambda: (leader.datadir / "zoo.cfg.dynamic.next").exists(), what="the proposal")


@pytest.mark.parametrize("kinds,joiner", [("qqq", "q"), ("aaa", "q"), ("qqq", "a")])
def test_joint_majority_lost(build_dir, kinds, joiner):
    """The old members have the proposal, the new ones do not: nobody can lead without one of these, and then the change is finished."""
    if joiner == "a":
        need_apache()
    with ensemble(build_dir, kinds) as e:
        load = Load(e.hosts)
        load.progress()
        a, b = e.joiner(joiner), e.joiner(joiner)
        leader = e.leader()
        kept, gone = [s for s in e.servers[:3] if s is not leader]
        joining = f"server.{a.myid}={e.lines[a.myid]},server.{b.myid}={e.lines[b.myid]}"
        client = e.admin(leader.address)
        a.pause()
        b.pause()
        propose(client, leader, joining=joining, leaving=f"{leader.myid},{gone.myid}")
        for s in (kept, gone):
            eventually(lambda s=s: (s.datadir / "zoo.cfg.dynamic.next").exists(), what="the proposal reaches the old members")
        leader.kill9()
        close(client)
        eventually(lambda: kept.mode() is None and gone.mode() is None, what="the others look for a leader")
        before = len(load.acked)
        with pytest.raises(AssertionError, match="a leader not reached"):  # a majority of the old members alone: long enough to elect one
            eventually(lambda: kept.mode() or gone.mode(), 3, "a leader")
        assert len(load.acked) == before
        a.resume()
        b.resume()
        e.leader()
        text = config_text(kept)[0].decode()
        assert voters(text) == sorted([kept.myid, a.myid, b.myid])
        wait_config(e, text)
        load.progress()
        gone.kill9()  # no member any more
        load.progress()
        finish(load, e)


@pytest.mark.parametrize("kinds", ["qqq", "qqa"])
def test_proposal_withdrawn(build_dir, kinds):
    """Only the leader has the proposal when all are killed: the others go on without it, and the leader drops it when it comes back."""
    with ensemble(build_dir, kinds) as e:
        client = connect(e.hosts)
        client.create("/before")
        close(client)
        leader = e.leader()
        followers = [s for s in e.servers if s is not leader]
        before = config_text(leader)[0].decode()
        client = e.admin(leader.address)
        for s in followers:
            s.pause()
        propose(client, leader, leaving=str(followers[0].myid))
        for s in e.servers:
            s.kill9()
        close(client)
        for s in followers:
            assert not (s.datadir / "zoo.cfg.dynamic.next").exists()
            s.start(wait=False)
        for s in followers:
            s.wait_ready()
        client = connect(",".join(s.address for s in followers))
        client.create("/after")
        close(client)
        leader.start()
        wait_config(e, before)
        eventually(lambda: not (leader.datadir / "zoo.cfg.dynamic.next").exists() or kinds[leader.myid - 1] == "a", what="no proposal")
        assert {"/before", "/after"} <= assert_equal_trees(e).keys()
        text = e.reconfig(leaving=str(followers[0].myid))
        assert voters(text) == sorted([leader.myid, followers[1].myid])


@pytest.mark.parametrize("joiner", ["q", "a"])
def test_one_grows_to_three(build_dir, joiner):
    """standaloneEnabled=false: a single server becomes three, and one of three may go."""
    if joiner == "a":
        need_apache()
    with ensemble(build_dir, "q", {"standaloneEnabled": "false"}) as e:
        load = Load(e.hosts)
        load.progress()
        first = e.servers[0]
        for _ in range(2):
            s = e.joiner(joiner)
            text = e.reconfig(joining=f"server.{s.myid}={e.lines[s.myid]}")
        assert voters(text) == [1, 2, 3]
        wait_config(e, text)
        assert e.leader() is first
        load.progress()
        first.kill9()
        assert e.leader() is not first
        first.start()
        load.progress()
        finish(load, e)


def requests(e, leader):
    """What is wrong with each: the reference says which error comes first."""
    other = next(s for s in e.servers if s is not leader)
    line = e.lines[other.myid]
    host, quorum, election = line.split(":")[:3]
    return [
        ("wrong version", SUPER, (None, str(other.myid), None, 0x77)),
        ("not a sid", SUPER, (None, "x", None, -1)),
        ("no client port", SUPER, (f"server.9={host}:{quorum}:{free_port()}:participant", None, None, -1)),
        ("no equals sign", SUPER, ("server.9", None, None, -1)),
        ("nothing is left", SUPER, (None, "1,2,3", None, -1)),
        ("one is left", SUPER, (None, "1,2", None, -1)),
        ("no change", SUPER, (None, None, "", -1)),
        ("malformed members", SUPER, (None, None, "server.1=nonsense", -1)),
        ("nobody is there", SUPER, (f"server.7={line_of(free_port())},server.8={line_of(free_port())},server.9={line_of(free_port())}",
                                    "1,2", None, -1)),
        ("not connected, not allowed", None, (f"server.7={line_of(free_port())},server.8={line_of(free_port())},server.9={line_of(free_port())}",
                                              "1,2", None, -1)),
        ("not allowed", None, (None, str(other.myid), None, -1)),
        ("not allowed, malformed", None, (None, "x", None, -1)),
    ]


def test_errors_as_the_reference(build_dir):
    """The same wrong requests get the same errors, at the leader and at a follower."""
    need_apache()
    answers = []
    for kinds in ("qqq", "aaa"):
        with ensemble(build_dir, kinds) as e:
            leader = e.leader()
            got = []
            for at in (leader, e.followers()[0]):
                for name, auth, args in requests(e, leader):
                    client = connect(at.address, auth_data=[("digest", auth)] if auth else None)
                    try:
                        client.reconfig(*args)
                        got.append((name, None))
                    except ke.KazooException as why:
                        got.append((name, type(why).__name__))
                    close(client)
            answers.append(got)
    assert answers[0] == answers[1]
    assert {why for _, why in answers[0]} == {None, "BadVersionError", "BadArgumentsError", "MarshallingError", "NewConfigNoQuorumError",
                                              "NoAuthError"}


@pytest.mark.parametrize("kinds", ["qqq", "aaa"])
def test_disabled(build_dir, kinds):
    """Error -123, which kazoo does not know."""
    with ensemble(build_dir, kinds, {"reconfigEnabled": "false"}) as e:
        for s in e.servers:
            c = rawzk.RawClient(s.port)
            assert c.call(rawzk.request(1, 16, struct.pack(">iiiq", -1, -1, -1, -1)))[2] == -123
            c.close()


def test_alone(build_dir):
    """One server that is no ensemble: unimplemented, as at the reference."""
    with ensemble(build_dir, "q") as e:
        with pytest.raises(ke.UnimplementedError):
            e.reconfig(leaving="1")


@pytest.mark.parametrize("kinds", ["qqq", "aaq"])
def test_watch_and_stat(build_dir, kinds):
    """Clients of every server hear of a change, and see the same node."""
    with ensemble(build_dir, kinds) as e:
        clients = [connect(s.address) for s in e.servers]
        heard = [threading.Event() for _ in clients]
        for c, event in zip(clients, heard):
            data, stat = c.get("/zookeeper/config", watch=lambda _, event=event: event.set())
            assert stat.version == -1 and stat.mzxid == version(data.decode()) == 0x100000000
        follower = e.followers()[0]
        text = e.reconfig(leaving=str(follower.myid), version=0x100000000)
        for event in heard:
            assert event.wait(WAIT_S)
        stats = []
        for c in clients:
            c.sync("/")
            data, stat = c.get("/zookeeper/config")
            assert data.decode() == text
            stats.append(stat)
            close(c)
        assert len(set(stats)) == 1 and stats[0].mzxid == version(text)


def test_without_reconfig(build_dir):
    """/zookeeper/config shows the members, as of version 0, also where they cannot be changed."""
    need_apache()
    with ensemble(build_dir, "qaq", {"reconfigEnabled": "false"}) as e:
        shown = [config_text(s) for s in e.servers]
        assert len({data for data, _ in shown}) == 1 and shown[0][0].endswith(b"\nversion=0")
        assert {(s.version, s.mzxid, s.aversion) for _, s in shown} == {(-1, 0, -1)}


def test_quoll_ensemble(build_dir):
    """Our own command: shows, adds, removes, replaces, and says what is wrong."""
    with ensemble(build_dir, "qqq") as e:
        new = e.joiner("q")

        def quoll(*args, auth=True, code=0):
            env = {"PATH": "/usr/bin:/bin", **({"QUOLL_AUTH": f"digest:{SUPER}"} if auth else {})}
            run = subprocess.run([build_dir / "quoll", "ensemble", "--zk", e.leader().address, *args], capture_output=True, text=True,
                                 timeout=60, env=env, check=False)
            assert run.returncode == code, run.stdout + run.stderr
            return run.stdout if code == 0 else run.stderr

        table = quoll(auth=False)
        assert table.splitlines()[0].split()[:2] == ["ID", "ROLE"] and table.endswith("version 100000000\n")
        assert quoll("-o", "plain") == config_text(new)[0].decode() + "\n"
        line = f"server.{new.myid}={e.lines[new.myid]}"
        assert "superuser" in quoll("--add", line, auth=False, code=1)
        assert "another version" in quoll("--add", line, "--if-version", "77", code=1)
        shown = json.loads(quoll("--add", line, "--if-version", "100000000", "-o", "json"))
        assert [m["id"] for m in shown["members"]] == [1, 2, 3, 4] and {m["role"] for m in shown["members"]} == {"participant"}
        assert shown["members"][3]["client"] == new.address and int(shown["version"], 16) > 1 << 32
        gone = e.followers()[0].myid
        assert f"\n{gone} " not in quoll("--remove", str(gone))
        text = quoll("-o", "plain")
        members = e.leader().datadir / "members"
        members.write_text("# observers\n" + text.replace(f"{line}", line.replace("participant", "observer")))
        assert "observer" in quoll("--replace", str(members))
        wait_mode(e, new, "observer")
        assert "--replace" in quoll("--replace", str(members), "--remove", "1", code=2)
        assert "too few voters" in quoll("--remove", "1,2,3", code=1)


def test_zkcli(build_dir):
    """The reference's own shell."""
    need_apache()
    with ensemble(build_dir, "qqq") as e:
        new = e.joiner("q")
        gone = e.followers()[0]
        script = f"addauth digest {SUPER}\nreconfig -add {new.myid}={e.lines[new.myid]}\nconfig -c\n" \
                 f"reconfig -remove {gone.myid} -v 100000000\nreconfig -remove {gone.myid}\nconfig -s\nquit\n"
        run = subprocess.run(["java", "-cp", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar", "org.apache.zookeeper.ZooKeeperMain",
                              "-server", e.leader().address], input=script, capture_output=True, text=True, timeout=120, check=False)
        out = run.stdout + run.stderr
        assert out.count("Committed new configuration:") == 2, out
        assert "version No is not valid" in out or "BadVersion" in out, out
        text = config_text(new)[0].decode()
        assert new.myid in voters(text) and gone.myid not in voters(text)
        assert text in out


def test_observer_without_a_log_becomes_a_voter(build_dir):
    """What it learned is in its memory alone (syncEnabled=false): it votes, logs and answers for it only when it is on its disk."""
    with ensemble(build_dir, "qqqQ", {"syncEnabled": "false"}) as e:
        observer = e.by_id(4)
        wait_mode(e, observer, "observer")
        zk = connect(e.hosts)
        for n in range(50):
            zk.create(f"/n{n}", b"x" * 100)
        line = e.lines[4].replace(":observer;", ":participant;")
        text = e.reconfig(joining=f"server.4={line}")
        assert voters(text) == [1, 2, 3, 4]
        wait_mode(e, observer, "follower")
        for n in range(50, 60):
            zk.create(f"/n{n}", b"x" * 100)
        close(zk)
        observer.kill9()
        observer.start()
        wait_mode(e, observer, "follower")
        observer.kill9()
        found = subprocess.run([str(build_dir / "tests" / "integration" / "storage_tool"), "dump", str(observer.datadir / "data")],
                               capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        for n in range(60):
            assert f"/n{n}" in found.stdout
        observer.start()
        wait_mode(e, observer, "follower")
        assert_equal_trees(e)


def test_change_that_cannot_be_kept(build_dir):
    """A server that cannot rewrite its zoo.cfg keeps what it has of the change: it must not come back as one of the old list alone."""
    with ensemble(build_dir, "qqq") as e:
        hindered = e.followers()[0]
        (hindered.datadir / "zoo.cfg.tmp").mkdir()
        a, b = e.joiner(), e.joiner()
        text = e.reconfig(joining=f"server.{a.myid}={e.lines[a.myid]},server.{b.myid}={e.lines[b.myid]}")
        wait_config(e, text)
        current = f"zoo.cfg.dynamic.{version(text):x}\n"
        assert current not in hindered.config.read_text()
        hindered.kill9()
        proposed = (hindered.datadir / "zoo.cfg.dynamic.next").read_text()
        assert sorted(proposed.splitlines()) == sorted(text.splitlines())
        (hindered.datadir / "zoo.cfg.tmp").rmdir()
        hindered.start()
        wait_config(e, text)
        assert current in hindered.config.read_text()
        assert not (hindered.datadir / "zoo.cfg.dynamic.next").exists()


def test_change_that_is_in_the_log_alone(build_dir):
    """No server could write a file about the change (a full disk): what their logs say counts beside the old list, whose majority must not go on alone."""
    with ensemble(build_dir, "qqq") as e:
        old = list(e.servers)
        for s in old:
            for name in ("zoo.cfg.tmp", "zoo.cfg.dynamic.next.tmp"):
                (s.datadir / name).mkdir()
        a, b = e.joiner(), e.joiner()
        leader = e.leader()
        others = [s for s in old if s is not leader]
        text = e.reconfig(joining=f"server.{a.myid}={e.lines[a.myid]},server.{b.myid}={e.lines[b.myid]}",
                          leaving=",".join(str(s.myid) for s in others), hosts=leader.address)
        assert voters(text) == sorted([leader.myid, a.myid, b.myid])
        wait_config(e, text)
        for s in e.servers:
            s.kill9()
        for s in old:
            s.start(wait=False)
        says = f"the log holds a configuration that no file does: version {version(text):x}"
        for s in old:
            eventually(lambda s=s: says in s.log_path.read_text(errors="replace"), 30, f"server {s.myid} remembers the change")
        a.start(wait=False)
        wait_config(e, text)
        assert e.leader() in (leader, a)


@pytest.mark.parametrize("later", [0x1000, 1])
def test_proposal_that_no_log_holds(build_dir, later):
    """The file about a proposed change is written before the log: a server that died in between proposed nothing that anybody may rely upon. Nor is
    one that was withdrawn, whose file a power cut brought back: its zxid may be another transaction's."""
    with ensemble(build_dir, "qqq") as e:
        client = connect(e.leader().address)
        client.create("/a")
        client.stop()
        client.close()
        text = config_text(e.leader())[0].decode()
        for s in e.servers:
            s.kill9()
        strangers = "".join(f"server.{i}={line_of(free_port())}\n" for i in (4, 5, 6))
        for s in e.servers:
            (s.datadir / "zoo.cfg.dynamic.next").write_text(f"{strangers}version={version(text) + later:x}")
        for s in e.servers:
            s.start(wait=False)
        wait_config(e, text)
