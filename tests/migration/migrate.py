#!/usr/bin/python3
"""Replaces a running ensemble of three Apache ZooKeeper servers by Quoll, one server at a time, under load that never stops; and
back again, on the same data directories and with the same zoo.cfg files.

    migrate.py [--build DIR] [--passes N] [--kill] [--keep]

After every replacement: all trees equal (every node, every field of its Stat), all sessions there, exactly what the clients were
told. At the end: no session expired, no acknowledged write lost, every watch told once. Exit code 0 then.
"""
import argparse
import logging
import pathlib
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

# pylint: disable=wrong-import-position
import apache  # noqa: E402
from load import Load, connect  # noqa: E402
from quollens import LEARNED, Said, assert_digests_agree, dump, ephemerals_and_sessions, last_way  # noqa: E402
from zkserver import ZkServer, eventually, free_port  # noqa: E402

APACHE, QUOLL = "Apache", "Quoll"
PASSES = [(QUOLL, "last"), (APACHE, "first"), (QUOLL, "first"), (APACHE, "last")]  # to which kind; when the leader's turn comes

CONFIG = """# The configuration of server {myid}, as an administrator of Apache ZooKeeper would write it.
tickTime=1000
initLimit=10
syncLimit=5
dataDir={dir}/data
dataLogDir={dir}/log
clientPort={port}
maxClientCnxns=0
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
snapCount=2000
admin.enableServer=false
4lw.commands.whitelist=srvr, mntr, dump, ruok
{servers}
"""


class Member(ZkServer):
    """A place in the ensemble: data directories and a zoo.cfg, written once. kind says whose program runs there."""

    def __init__(self, build_dir, base, myid, servers):
        super().__init__(base / f"server{myid}")
        self.build_dir, self.myid, self.kind = build_dir, myid, APACHE
        self.config = self.datadir / "zoo.cfg"
        for name in ("data", "log"):
            (self.datadir / name).mkdir()
        (self.datadir / "data" / "myid").write_text(f"{myid}\n")
        self.config.write_text(CONFIG.format(myid=myid, dir=self.datadir, port=self.port, servers=servers))

    def command(self):
        if self.kind == QUOLL:
            return [str(self.build_dir / "quoll"), "server", str(self.config)], None
        return apache.java_command(self.config, {}), None

    def logged_twice(self):
        """Whether Apache's server broke off a synchronisation and logged its transactions again (ZOOKEEPER-4394). Reading them twice gives
        digests that differ on the way, not at the end."""
        return b"WARN org.apache.zookeeper.server.persistence.FileTxnLog - Current zxid" in self.log_path.read_bytes()


class Migration:
    """say: takes each line of progress."""

    def __init__(self, build_dir, base, say=print):
        servers = "\n".join(f"server.{i}=127.0.0.1:{free_port()}:{free_port()}" for i in (1, 2, 3))
        self.members = [Member(build_dir, base, i, servers) for i in (1, 2, 3)]
        self.say = say
        self.start = time.monotonic()
        self.load = None
        self.worst_gap = 0.0

    def line(self, text):
        self.say(f"{time.monotonic() - self.start:6.1f} s  {text}")

    def leader(self):
        def find():
            return next((m for m in self.members if m.process and m.mode() == "leader"), None)

        return eventually(find, 60, "a leader")

    def begin(self):
        for m in self.members:
            m.start(wait=False)
        for m in self.members:
            m.wait_ready()
        self.line(f"three servers of Apache serve, {self.leader().myid} leads; clients begin")
        self.load = Load([m.port for m in self.members])
        self.progress()

    def progress(self, writes=150):
        """Until so many more writes are acknowledged."""
        goal = self.load.figures.acked + writes
        eventually(lambda: self.load.figures.acked >= goal or self.load.figures.violations, 60, "acknowledged writes")

    def compare(self):
        """Nothing under way: every server must show what the clients expect, and all the same. Returns the number of nodes."""
        self.load.gate.close()
        trees = []
        for m in self.members:
            c = connect(m.address)
            c.sync("/")
            trees.append(dump(c))
            c.stop()
            c.close()
        wrong = self.load.wrong(trees[0])
        for m, tree in zip(self.members[1:], trees[1:]):
            differ = sorted(p for p in tree.keys() | trees[0].keys() if tree.get(p) != trees[0].get(p))
            wrong += [f"{p}: server {m.myid} ({m.kind}) has {tree.get(p)}, server 1 {trees[0].get(p)}" for p in differ[:3]]
        wrong += self.compare_sessions()
        assert_digests_agree([m for m in self.members if not m.logged_twice()])
        self.load.figures.restart_gap()
        self.load.gate.reopen()
        assert not wrong, "\n".join(wrong)
        return len(trees[0])

    def compare_sessions(self):
        wanted = self.load.sessions
        wrong = []
        for m in self.members:
            ids, _ = ephemerals_and_sessions(m)
            wrong += [f"server {m.myid} ({m.kind}) does not know session 0x{s:x}" for s in sorted(wanted.keys() - set(ids))]
        return wrong

    def replace(self, m, kind, kill):
        was_leader = m.mode() == "leader"
        self.load.figures.restart_gap()
        m.kill9() if kill else m.stop()
        m.kind = kind
        said = Said(m)
        m.start()
        leader = self.leader()
        self.progress()
        gap = self.load.figures.restart_gap()
        self.worst_gap = max(self.worst_gap, gap)
        nodes = self.compare()
        way = last_way(LEARNED, said.text()) or "as leader"
        kinds = "".join(x.kind[0] for x in self.members)
        self.line(f"server {m.myid}{' (leader)' if was_leader else ''} is {kind} now, synchronised {way}; ensemble {kinds}, "
                  f"{leader.myid} ({leader.kind}) leads; {nodes} nodes equal on 3 servers; longest time without a write {gap * 1000:.0f} ms")
        if self.load.figures.violations:
            raise AssertionError("\n".join(self.load.figures.violations))

    def run_pass(self, kind, leader_turn, kill=False):
        self.line(f"to {kind}, the leader {leader_turn}")
        left = list(self.members)
        while left:
            leader = self.leader()
            others = [m for m in left if m is not leader]
            m = leader if leader in left and (leader_turn == "first" or not others) else others[0]
            left.remove(m)
            self.replace(m, kind, kill)

    def end(self):
        """The closing summary; raises when a promise was broken."""
        f = self.load.figures
        nodes = self.compare()
        sessions = len(self.load.sessions)
        self.load.finish()
        sent, events, moves = self.load.setter.sent, self.load.watcher.events, self.load.watcher.moves
        if events != sent:
            f.violation(f"{sent} changes of the watched node, {events} events")
            self.members[0].datadir.with_name("watcher.trace").write_text("\n".join(self.load.watcher.trace))
        self.line("summary")
        twice = sum(m.logged_twice() for m in self.members)
        for text in (f"{f.acked} writes acknowledged, {f.unsure} left unsure by a lost connection and looked up, 0 lost" if not f.violations else
                     f"{len(f.violations)} violations",
                     f"{sessions} sessions, {f.expired} expired; the watcher's moved {moves} times",
                     f"{sent} changes of a watched node, {events} events",
                     f"{nodes} nodes, equal on all servers with every field of their Stat; digests agree",
                     f"longest time without an acknowledged write: {self.worst_gap * 1000:.0f} ms",
                     *([f"{twice} of Apache's servers logged transactions twice (ZOOKEEPER-4394)"] if twice else [])):
            self.say(f"          {text}")
        if f.violations:
            raise AssertionError("\n".join(f.violations))

    def close(self):
        if self.load:
            self.load.abandon()
            self.load.watcher.ending = True
        for m in self.members:
            m.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build", help="build directory (default: build)")
    parser.add_argument("--passes", type=int, default=len(PASSES), choices=range(1, len(PASSES) + 1),
                        help="how often to go over all servers: there, back, there, back (default: all)")
    parser.add_argument("--kill", action="store_true", help="end servers by kill -9 instead of SIGTERM")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    args = parser.parse_args()
    missing = apache.available() or (None if (args.build / "quoll").exists() else f"no {args.build}/quoll")
    if missing:
        sys.exit(f"migrate.py: {missing}")
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    base = pathlib.Path(tempfile.mkdtemp(prefix="quoll-migration-"))
    migration = Migration(args.build.resolve(), base, lambda text: print(text, flush=True))
    failed = True
    try:
        migration.begin()
        for kind, turn in PASSES[:args.passes]:
            migration.run_pass(kind, turn, args.kill)
        migration.end()
        print("Migration: passed")
        failed = False
    except (AssertionError, RuntimeError) as e:
        print(f"{e}\nMigration: FAILED")
    finally:
        migration.close()
        if args.keep or failed:
            print(f"data and logs: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
