#!/usr/bin/python3
"""An ensemble on a network of its own, that is cut in every way while real clients work; then everything is checked.

usage: netns.py [--servers N] [--seconds S] [--seed N] [--only SHAPE,...] [--light] [--keep]

Each server has a network namespace with an address; a bridge joins them, and the clients are at the bridge, so that they reach every server
whatever the servers can do among each other. All of it lives in a network namespace of this process: nothing of the machine
changes, and everything is gone when the process is. The servers' namespaces have no names, which would need mounts, and a chroot whose root is
no mount point cannot keep those to itself: they are what open files of this process refer to. Cuts are nftables rules in the servers' namespaces: packets vanish
silently, as they do where a cable or a switch fails, and connections stay open until somebody's patience ends.

Needs root, ip (iproute2), nft (nftables) and nsenter (util-linux). Exit status 1: something is wrong; 77: this machine cannot do it.
"""
import ctypes
import logging
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time

import chaos
import javaclient
import rawzk
from clients import close, connect, create_at_last
from kazoo.exceptions import NotReadOnlyCallError
from kazoo.protocol.states import KeeperState
from quollens import Ensemble
from zkserver import eventually

CLONE_NEWNET = 0x40000000
NOTREADONLY = -119
PROPS = {**chaos.PROPS, "readonlymode.enabled": "true"}
NET = "10.77.0"
CLIENTS = f"{NET}.254"


class Unable(Exception):
    """This machine lacks what it takes."""


def sh(*args, stdin=None):
    done = subprocess.run(list(map(str, args)), capture_output=True, text=True, input=stdin, check=False)
    if done.returncode != 0:
        raise Unable(f"{' '.join(map(str, args))}: {done.stderr.strip()}")
    return done.stdout


def libc_call(name, *args):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*args) != 0:
        raise Unable(f"{name}: {os.strerror(ctypes.get_errno())}")


def enter_own_world():
    """A network namespace for this process and all that it starts."""
    if os.geteuid() != 0:
        raise Unable("network namespaces need root")
    for tool, package in (("ip", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux")):
        if not shutil.which(tool):
            raise Unable(f"no {tool} (apt-get install {package})")
    libc_call("unshare", CLONE_NEWNET)
    sh("ip", "link", "set", "lo", "up")


def another_world():
    """A further network namespace, which lives for as long as this process or whoever is in it: a path that refers to it."""
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    libc_call("unshare", CLONE_NEWNET)
    path = f"/proc/{os.getpid()}/fd/{os.open('/proc/thread-self/ns/net', os.O_RDONLY)}"
    libc_call("setns", ours, CLONE_NEWNET)
    os.close(ours)
    return path


class Network:
    """Servers 1..n at NET.i. cut((a, b), ...): what a sends does not reach b."""

    def __init__(self, size):
        self.ids = range(1, size + 1)
        sh("ip", "link", "add", "br0", "type", "bridge")
        sh("ip", "addr", "add", f"{CLIENTS}/24", "dev", "br0")
        sh("ip", "link", "set", "br0", "up")
        self.worlds = {i: another_world() for i in self.ids}
        for i, world in self.worlds.items():
            sh("ip", "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", world)
            sh("ip", "link", "set", f"v{i}", "master", "br0", "up")
            self.at(i, "ip", "addr", "add", f"{NET}.{i}/24", "dev", "eth0")
            self.at(i, "ip", "link", "set", "eth0", "up")
            self.at(i, "ip", "link", "set", "lo", "up")
        self.heal()

    def enter(self, server):
        """What to put before a command that shall run at that server."""
        return ["nsenter", f"--net={self.worlds[server]}", "--"]

    def at(self, server, *command, stdin=None):
        return sh(*self.enter(server), *command, stdin=stdin)

    def rules(self, server, rules):
        """The input rules of one server, replaced in one transaction."""
        text = "add table inet cut\ndelete table inet cut\ntable inet cut {\nchain in { type filter hook input priority 0;\n"
        self.at(server, "nft", "-f", "-", stdin=text + "\n".join(rules) + "\n}\n}\n")

    def cut(self, pairs, loss=100):
        for i in self.ids:
            dice = "" if loss == 100 else f"numgen random mod 100 < {loss} "
            self.rules(i, [f"ip saddr {NET}.{a} {dice}drop" for a, b in pairs if b == i])

    def slow(self, kbit):
        """Every server sends no faster than that: packets queue for up to 400 ms, and are dropped beyond."""
        for i in self.ids:
            self.at(i, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{kbit}kbit", "burst", "4kb", "latency", "400ms")

    def fast(self):
        for i in self.ids:
            subprocess.run([*self.enter(i), "tc", "qdisc", "del", "dev", "eth0", "root"], capture_output=True, check=False)

    def heal(self):
        self.cut([])
        self.fast()


def both(a, b):
    return [(x, y) for x in a for y in b if x != y] + [(y, x) for x in a for y in b if x != y]


class NetEnsemble(Ensemble):
    """Members in the namespaces, with the usual ports, each at its own address."""

    def __init__(self, build_dir, net, props):
        size = len(net.ids)
        lines = {f"server.{i}": f"{NET}.{i}:2888:3888" for i in range(1, size + 1)}
        super().__init__(build_dir, "q" * size, {**props, **lines})
        for i, s in enumerate(self.servers, 1):
            s.host, s.port = f"{NET}.{i}", 2181
            s.props.update({"clientPort": 2181, "clientPortAddress": s.host})
            command = s.command
            s.command = lambda command=command, i=i: ([*net.enter(i), *command()[0]], None)


class Onlookers:
    """kazoo (read_only) and Java's client (canBeReadOnly), that know only the servers of a minority: what was is read, writes are refused,
    and after the cut they are clients like any other. java: the command of ReadOnlyClient.java, or None."""

    SEEN = "/chaos/probe"

    def __init__(self, hosts, java):
        self.hosts = hosts
        self.java = subprocess.Popen([*java, hosts, self.SEEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True) if java else None
        self.said = []
        if self.java:
            self.reader = threading.Thread(target=lambda: self.said.extend(line.strip() for line in self.java.stdout), daemon=True)
            self.reader.start()
        self.kazoo = connect(hosts, timeout=6.0, read_only=True)

    def look(self):
        """While the cut lasts, and its time to be noticed is over."""
        found, c = [], self.kazoo
        eventually(lambda: c.client_state == KeeperState.CONNECTED_RO, what=f"kazoo's read-only connection to {self.hosts}")
        c.get(self.SEEN)
        for name, write in (("set", lambda: c.set(self.SEEN, b"no")), ("create", lambda: c.create("/chaos/no", b""))):
            try:
                write()
                found.append(f"kazoo's {name} at the minority {self.hosts} was answered")
            except NotReadOnlyCallError:
                pass
        if self.java:
            eventually(lambda: "read-only session" in self.said, what=lambda: f"Java's read-only session: {self.said}")
            if "create NOTREADONLY" not in self.said:
                found.append(f"Java's client at the minority {self.hosts}: {self.said}")
        return found

    def after(self):
        """The cut is healed."""
        found, c, path = [], self.kazoo, f"/chaos/eph/onlooker-{time.monotonic():.6f}"
        create_at_last(c, path, ephemeral=True)
        if c.client_state != KeeperState.CONNECTED or c.exists(path).ephemeralOwner != c.client_id[0]:
            found.append(f"kazoo after the cut: {c.client_state}, session {c.client_id}, {c.exists(path)}")
        close(c)
        if self.java:
            self.java.stdin.write("\n")
            self.java.stdin.flush()
            eventually(lambda: self.java.poll() is not None, what=lambda: f"the end of Java's client: {self.said}")
            self.reader.join()
            if self.java.returncode != 0 or self.said[-2:] != ["a session of its own", "done"]:
                found.append(f"Java's client after the cut: {self.said}")
        return found

    def end(self):
        if self.java:
            self.java.kill()
            self.java.wait()


# ---- cuts ----


def minority(e, rng):
    """A minority with the leader, or without."""
    n = len(e.servers)
    ids = [s.myid for s in e.servers]
    leader = e.leader().myid
    others = rng.sample([i for i in ids if i != leader], n // 2)
    return others if rng.random() < 0.5 else [leader] + others[1:]


class Cuts:
    """One method per shape: makes it, holds it, says what must hold meanwhile. The caller heals."""

    SHAPES = ("split", "isolated_leader", "mute_leader", "deaf_leader", "deaf_follower", "mute_follower", "bridge", "flapping", "ring", "loss",
              "slow", "shattered", "long_absence")
    LIMIT_S = chaos.PROPS["syncLimit"] * chaos.TICK_MS / 1000
    HEALED_S = 10  # until all serve again: a SYN's third try, two elections, a busy machine

    def __init__(self, net, ensemble, rng, probes, java):
        self.net, self.e, self.rng, self.probes, self.java = net, ensemble, rng, probes, java
        self.onlookers, self.looks = None, 0
        self.ids = [s.myid for s in ensemble.servers]

    def hold(self, low=3.0, high=7.0):
        time.sleep(self.rng.uniform(low, high))

    def rest(self, some):
        return [i for i in self.ids if i not in some]

    def cut_off(self, few):
        """few have no quorum. From syncLimit and its granularity on they must refuse writes, and the others must take them."""
        self.net.cut(both(few, self.rest(few)))
        began = time.monotonic()
        self.hold(self.LIMIT_S + 6, self.LIMIT_S + 8)
        until = time.monotonic()
        found = self.probes.check_split(few, self.rest(few), began, began + self.LIMIT_S + 2, until)
        found += [f for i in few for f in self.read_only(self.e.servers[i - 1])]
        self.onlookers = Onlookers(",".join(self.e.servers[i - 1].address for i in few), self.java)
        self.looks += 1
        return found + self.onlookers.look()

    def healed(self):
        """What those that looked on meanwhile have to say."""
        onlookers, self.onlookers = self.onlookers, None
        return onlookers.after() if onlookers else []


    def read_only(self, server):
        """A server without a quorum, longer than it takes to know: nothing for those who want to write, old data for those who ask for that."""
        found = []
        try:
            rawzk.RawClient(server.port, host=server.host, timeout_s=2).close()
            found.append(f"server {server.myid} of the minority gives sessions to clients that want to write")
        except (OSError, ConnectionError):
            pass
        try:
            c = rawzk.RawClient(server.port, host=server.host, timeout_s=5, read_only=True)
            answers = (c.read_only, server.four_letter("isro"), c.call(rawzk.with_watch(1, rawzk.GET, "/chaos/probe"))[2],
                       c.call(rawzk.set_data(2, "/chaos/probe", b"no"))[2], c.call(rawzk.create(3, "/chaos/no"))[2])
            c.close()
            if answers != (True, "ro", 0, NOTREADONLY, NOTREADONLY):
                found.append(f"server {server.myid} of the minority, to a client that takes a read-only server: {answers}")
        except (OSError, ConnectionError) as e:
            found.append(f"server {server.myid} of the minority refuses a client that takes a read-only server: {e!r}")
        return found

    def split(self):
        return self.cut_off(minority(self.e, self.rng))

    def isolated_leader(self):
        return self.cut_off([self.e.leader().myid])

    def mute_leader(self):
        leader = self.e.leader().myid
        self.net.cut([(leader, i) for i in self.rest([leader])])
        self.hold()

    def deaf_leader(self):
        """It is heard and does not hear: at worst it is elected once more, and given up after another syncLimit."""
        leader = self.e.leader().myid
        rest = self.rest([leader])
        self.net.cut([(i, leader) for i in rest])
        began = time.monotonic()
        self.hold(2 * self.LIMIT_S + 5, 2 * self.LIMIT_S + 7)
        return self.probes.check_split([leader], rest, began, began + 2 * self.LIMIT_S + 3, time.monotonic())

    def deaf_follower(self):
        follower = self.rng.choice(self.e.followers()).myid
        self.net.cut([(i, follower) for i in self.rest([follower])])
        self.hold()

    def mute_follower(self):
        follower = self.rng.choice(self.e.followers()).myid
        self.net.cut([(follower, i) for i in self.rest([follower])])
        self.hold()

    def bridge(self):
        """Two halves that only one server sees both of."""
        ids = self.rng.sample(self.ids, len(self.ids))
        half = len(ids) // 2
        self.net.cut(both(ids[:half], ids[half + 1:]))
        self.hold()

    def ring(self):
        """Everybody hears a majority, itself among it, and nobody hears whom he is heard by: no connection works, no service is possible."""
        n = len(self.ids)
        ids = self.rng.sample(self.ids, n)
        lost = n - n // 2 - 1
        self.net.cut([(ids[(i + 1 + k) % n], ids[i]) for i in range(n) for k in range(lost)])
        self.hold()

    def flapping(self):
        for _ in range(self.rng.randrange(4, 10)):
            few = minority(self.e, self.rng) if self.rng.random() < 0.5 and self.serving() else [self.rng.choice(self.ids)]
            self.net.cut(both(few, self.rest(few)))
            self.hold(0.1, 1.5)
            self.net.heal()
            self.hold(0.05, 0.8)

    def serving(self):
        return any(s.mode() == "leader" for s in self.e.servers)

    def loss(self):
        self.net.cut(both(self.ids, self.ids), loss=self.rng.choice([3, 10, 25]))
        self.hold()

    def slow(self):
        self.net.slow(self.rng.choice([200, 500, 2000]))
        self.hold()

    def long_absence(self):
        """A follower's votes become rare; it must be back soon all the same."""
        follower = self.rng.choice(self.e.followers()).myid
        self.net.cut(both([follower], self.rest([follower])))
        self.hold(30, 40)

    def shattered(self):
        """Nobody reaches anybody."""
        self.net.cut(both(self.ids, self.ids))
        self.hold(1, 5)


class Probes:
    """A direct client per server that writes all the time: set of a node with a value of its own, over a connection that is made anew
    when it breaks, always to that server. What it was answered, and when, tells who served."""

    def __init__(self, servers):
        self.servers, self.answers = servers, {s.myid: [] for s in servers}  # (t0, t1, zxid)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(s,), daemon=True) for s in servers]
        for t in self.threads:
            t.start()

    def run(self, s):
        wire = None
        while not self.over.is_set():
            t0 = time.monotonic()
            try:
                wire = wire or rawzk.RawClient(s.port, host=s.host, timeout_s=0.6, timeout_ms=4000)
                _, zxid, err, _ = wire.call(rawzk.set_data(1, "/chaos/probe", struct.pack(">d", t0)))
                if err == 0:
                    self.answers[s.myid].append((t0, time.monotonic(), zxid))
            except (OSError, ConnectionError):
                if wire:
                    wire.close()
                wire = None
            self.over.wait(0.03)

    def check_split(self, few, many, cut, settled, until):
        """During a clean cut: no write of the few is answered that began after it; the many take writes in the end."""
        found = []
        for i in few:
            late = [a for a in self.answers[i] if a[0] > cut and a[1] <= until]
            if late:
                found.append(f"server {i} of the minority {few} answered {len(late)} writes, {late[0][0] - cut:.2f} s after it was cut off")
        if not any(a[0] > settled and a[1] <= until for i in many for a in self.answers[i]):
            found.append(f"the majority {many} took no write from {settled - cut:.1f} to {until - cut:.1f} s after it was cut off from {few}")
        return found

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join()

    def check(self):
        """No split brain: all answered writes, of all servers, have zxids of their own, in the order of time."""
        every = sorted((t0, t1, zxid, i) for i, answers in self.answers.items() for t0, t1, zxid in answers)
        found, seen, answered, highest, n = [], {}, sorted(every, key=lambda a: a[1]), (0, 0, 0, 0), 0
        for a in every:
            if a[2] in seen:
                found.append(f"servers {seen[a[2]][3]} and {a[3]} answered different writes with zxid {a[2]:#x}")
            seen[a[2]] = a
            while n < len(answered) and answered[n][1] < a[0]:
                highest = max(highest, answered[n], key=lambda x: x[2])
                n += 1
            if highest[2] > a[2]:
                found.append(f"server {a[3]} wrote {a[2]:#x} after server {highest[3]} had answered {highest[2]:#x}")
        return found


def onlooker(folder):
    """The command of ReadOnlyClient.java, if it can be had."""
    if why := javaclient.missing():
        print(f"{why}: nobody looks on from Java", file=sys.stderr)
        return None
    return javaclient.command(chaos.HERE.parent / "integration" / "java" / "ReadOnlyClient.java", folder / "onlooker")


def run(build_dir, net, seconds, seed, folder, shapes=Cuts.SHAPES, loud=True, **clients):
    """One run, in a process that has entered its own world. Returns the Verdict."""
    started, rng = time.monotonic(), random.Random(seed)
    verdict = chaos.Verdict()
    verdict.figures.update({"seed": seed, "servers": len(net.ids)})
    java = onlooker(folder)
    with NetEnsemble(build_dir, net, PROPS) as e:
        load = chaos.Clients(e.hosts, folder, seed, **clients)
        probes = Probes(e.servers)
        cuts = Cuts(net, e, rng, probes, java)
        try:
            start, n, healing = time.monotonic(), 0, []
            while time.monotonic() < start + seconds or n < len(shapes):
                shape = shapes[n] if n < len(shapes) else rng.choice(shapes)
                n += 1
                if loud:
                    print(f"{time.monotonic() - started:7.1f} {shape}", flush=True)
                verdict.findings += [f"{shape}: {f}" for f in getattr(cuts, shape)() or []]
                net.heal()
                healed = time.monotonic()
                e.wait_ready()  # which a read-only server is not
                healing.append(time.monotonic() - healed)
                if healing[-1] > cuts.HEALED_S:
                    verdict.findings.append(f"{shape}: all servers serve only {healing[-1]:.1f} s after the cut was healed")
                verdict.findings += [f"{shape}: {f}" for f in cuts.healed()]
                time.sleep(rng.uniform(0.5, 2.5))
            dead = [s for s in e.servers if s.process.poll() is not None]
            verdict.findings += [f"server {s.myid} ended by itself with {s.process.returncode}:\n{s.log_tail(15)}" for s in dead]
            probes.stop()
            verdict.findings += probes.check()
            verdict.figures.update({"cuts": n, "longest_until_all_serve_again": f"{max(healing):.2f} s",
                                    "read_only_clients_of_a_minority": cuts.looks * (2 if java else 1),
                                    "writes_of_direct_clients": sum(map(len, probes.answers.values()))})
            chaos.judge(e.servers, load, start, time.monotonic(), verdict)
        finally:
            if cuts.onlookers:
                cuts.onlookers.end()
            probes.over.set()
            load.close()
            chaos.save(e.servers, folder, verdict)
    return verdict


def main():
    parser = chaos.arguments(__doc__, servers=5, seconds=300)
    parser.add_argument("--only", default=",".join(Cuts.SHAPES), help="shapes of cuts, by comma: each once in this order, then at random")
    parser.add_argument("--light", action="store_true", help="few clients under load, none of them Java's")
    args = parser.parse_args()
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    try:
        enter_own_world()
        net = Network(args.servers)
    except Unable as e:
        print(f"cannot cut networks here: {e}", file=sys.stderr)
        sys.exit(77)
    light = {"kazoo": (1, 3), "java": 0} if args.light else {}
    chaos.run_and_tell(args, "quoll-netns-",
                       lambda build, folder: run(build, net, args.seconds, args.seed, folder, args.only.split(","), **light))


if __name__ == "__main__":
    main()
