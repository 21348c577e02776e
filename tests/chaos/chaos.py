"""What every run under faults shares: clients in processes of their own, the trees at the end, the verdict."""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import javaclient  # noqa: E402
import linear  # noqa: E402
import rawzk  # noqa: E402
import zkjute  # noqa: E402
from apache import ApacheServer  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402

TICK_MS = 500
PROPS = {"tickTime": TICK_MS, "initLimit": 10, "syncLimit": 4, "maxSessionTimeout": 20000, "snapCount": 3000, "preAllocSize": 1024}


class Clients:
    """Processes of worker.py and of ChaosClient.java, all connected to all servers."""

    def __init__(self, hosts, folder, seed, kazoo=(2, 3), java=3, stayers=3, rate=30.0):
        self.folder, self.processes, self.stuck = pathlib.Path(folder), [], []
        prepare(hosts, [f"k{p}{i}" for p in range(kazoo[0]) for i in range(kazoo[1])] + [f"j{i}" for i in range(java)])
        if java:
            self.spawn(javaclient.command(HERE / "ChaosClient.java", self.folder / "classes"), hosts, "j", java, seed, [rate])
        for p in range(kazoo[0]):
            self.spawn(["/usr/bin/python3", HERE / "worker.py", "kazoo"], hosts, f"k{p}", kazoo[1], seed + p, [rate])
        if stayers:
            self.spawn(["/usr/bin/python3", HERE / "worker.py", "raw"], hosts, "r", stayers, seed + 100, [])
        for p, name in self.processes:
            line = p.stdout.readline()
            assert line == "running\n", f"clients {name}: {line!r}: {(self.folder / f'{name}.err').read_text()[-2000:]}"

    def spawn(self, command, hosts, name, count, seed, more):
        args = [*command, hosts, name, count, seed, self.folder / f"{name}.history", *more]
        with open(self.folder / f"{name}.err", "wb") as err:
            self.processes.append((subprocess.Popen([str(a) for a in args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err,
                                                    text=True), name))

    def stop(self):
        """Ends the load; the sessions go on. Returns those that live."""
        live = []
        for p, _ in self.processes:
            p.stdin.write("stop\n")
            p.stdin.flush()
        for p, name in self.processes:
            end = json.loads(p.stdout.readline() or '{"live": [], "stuck": ["the process"]}')
            live += end["live"]
            self.stuck += [f"{name}: {s}" for s in end["stuck"]]
        return set(live)

    def history(self):
        records = []
        for _, name in self.processes:
            with open(self.folder / f"{name}.history", encoding="ascii") as f:
                records += [json.loads(line) for line in f]
        return records

    def close(self):
        for p, _ in self.processes:
            p.kill()
            p.wait()


def prepare(hosts, names):
    c = KazooClient(hosts, timeout=10)
    c.start(timeout=60)
    for path in ["reg", "seq", "pair", "eph", "fly", "probe"] + [f"log/{n}" for n in names]:
        c.ensure_path(f"/chaos/{path}")
    c.stop()
    c.close()


def dump(host, port):
    """The whole tree of one server after a sync: path -> (data, stat with `children`, how many there are)."""
    wire = rawzk.RawClient(port, host=host, timeout_ms=20000)
    wire.call(rawzk.request(1, zkjute.SYNC, rawzk.string("/")))
    out, todo = {}, ["/"]
    while todo:
        batch, todo = todo[:200], todo[200:]
        wire.send(b"".join(rawzk.with_watch(2, rawzk.GET, p) + rawzk.with_watch(3, zkjute.GET_CHILDREN2, p) for p in batch))
        for path in batch:
            _, _, err, body = wire.reply()
            _, _, err2, body2 = wire.reply()
            if err or err2:
                continue  # gone meanwhile; the trees are compared once nothing changes
            data, stat = zkjute.decode(zkjute.GET_DATA, body)
            names, _ = zkjute.decode(zkjute.GET_CHILDREN2, body2)
            if path == "/zookeeper/config":
                stat["mtime"] = 0  # no transaction sets it before the first reconfig: every server by its own clock, as in the reference
            out[path] = (None if data is None else data.decode(errors="backslashreplace"), {**stat, "children": len(names)})
            todo += [f"{path.rstrip('/')}/{n}" for n in names]
    wire.call(rawzk.request(4, rawzk.CLOSE))
    wire.close()
    return out


def trees(servers, live, timeout=40):
    """Of every server, once those agree and no ephemeral of a dead session is left, or the time is over (then as they are)."""
    end = time.monotonic() + timeout
    while True:
        found = {s.myid: dump(s.host, s.port) for s in servers}
        owners = {stat["ephemeralOwner"] for _, stat in found[servers[0].myid].values()} - {0}
        if time.monotonic() > end or (owners <= live and not list(linear.compare_trees(found))):
            return found
        time.sleep(0.5)  # polling other processes: there is nothing to wait on


def log_figures(servers):
    """How often which server came to serve, and when (ms of the log's clock are not needed)."""
    text = "".join(s.log_path.read_text(errors="replace") for s in servers)
    return {"elections": len(re.findall(r"serving as leader in epoch|Peer state changed: leading - broadcast", text)),
            "follows": len(re.findall(r"serving as follower|Peer state changed: following - broadcast", text))}


def longest_without(records, kinds, start, end):
    """The longest time between two acknowledged operations of these kinds, of anybody."""
    times = sorted(o["t1"] for o in records if o["r"] == "ok" and o["t1"] and o["f"] in kinds)
    times = [start] + [t for t in times if start < t < end] + [end]
    gap, at = max((b - a, a) for a, b in zip(times, times[1:]))
    return f"{gap:.2f} s (at {at - start:.0f} s)"


def expired_by_sleeper(record, stops, logs):
    """Whether a leader of Apache's ended this session because it was stopped itself: then it closes sessions whose clients its followers heard all the time.
    Only if its log says that it was the one, and it was stopped between the client's last answer and the news. stops: (server, from, to); logs: server -> text,
    of Apache's."""
    return any(begin < record["t1"] and end > record["t0"] and f"Expiring session 0x{record['s']:x}, " in logs.get(server, "")
               for server, begin, end in stops)


def split_trees(found, logs):
    """The findings of comparing all trees, ours and theirs. Theirs are those of a server of Apache's whose log thread died of what its connection's end did to it
    (ZOOKEEPER-4409): what it had applied and not logged yet is missing after its next start. Only if its log says so, and at least two others agree."""
    holed = {i for i, text in logs.items() if "Severe unrecoverable error, from thread : SyncThread" in text}
    rest = {i: tree for i, tree in found.items() if i not in holed}
    differ = list(linear.compare_trees(found))
    if len(rest) < 2 or not holed:
        return differ, []
    ours = list(linear.compare_trees(rest))
    return (ours, [f"{text}; the log thread of {sorted(holed)} had died" for text in differ]) if not ours else (differ, [])


class Verdict:
    """What a run did, and what was wrong with it. theirs: what the reference is known for, and was proven to have done."""

    def __init__(self):
        self.findings, self.theirs, self.figures = [], [], {}

    def text(self):
        lines = [f"{k.replace('_', ' ')}: {v}" for k, v in self.figures.items()]
        lines += [f"of Apache's servers: {f}" for f in self.theirs[:30]]
        lines += [f"findings: {len(self.findings)}"] + [f"  {f}" for f in self.findings[:30]]
        return "\n".join(lines)


def judge(servers, clients, start, end, verdict, stops=()):
    """Ends the load, waits for the ensemble to settle, reads all trees, checks the history against them. All servers must run. stops: see
    expired_by_sleeper."""
    live = clients.stop()
    found = trees(servers, live)
    records = clients.history()
    logs = {s.myid: s.log_path.read_text(errors="replace") for s in servers if isinstance(s, ApacheServer)}
    differ, holes = split_trees(found, logs)
    tree = found[next((s.myid for s in servers if s.myid not in logs), servers[0].myid)]
    checked = time.monotonic()
    theirs = [o for o in records if list(linear.check_expiries([o], TICK_MS / 1000)) and expired_by_sleeper(o, stops, logs)]
    verdict.theirs += [f"{text}, by a leader that had been stopped" for text in linear.check_expiries(theirs, TICK_MS / 1000)]
    records = [o for o in records if o not in theirs] if theirs else records
    verdict.findings += differ
    verdict.theirs += holes
    verdict.findings += linear.check(records, tree, live, TICK_MS / 1000, checked)
    verdict.findings += [f"a client hangs: {s}" for s in clients.stuck]
    count = {r: sum(o["r"] == r for o in records) for r in ("ok", "fail", "unknown")}
    kinds = ("create", "set", "delete", "add", "seq", "pair", "ephemeral")
    verdict.figures.update({
        "seconds": round(end - start), "operations": len(records), "acknowledged": count["ok"], "refused": count["fail"],
        "unknown": count["unknown"], "writes_acknowledged": sum(o["r"] == "ok" and o["f"] in kinds for o in records),
        "sessions_alive_throughout": len(live), "sessions_expired_rightly": sum(o["f"] == "expired" for o in records),
        "short_sessions": sum(o["f"] == "close" for o in records), "znodes_compared": len(tree),
        "longest_time_in_which_no_client_wrote": longest_without(records, kinds, start, end),
        "longest_time_in_which_no_server_took_a_write": longest_without(records, ("probe",), start, end), **log_figures(servers),
        "seconds_to_check": round(time.monotonic() - checked)})
    return records


def save(servers, folder, verdict):
    """What is needed to find out why: logs, the verdict, and the data when something was found."""
    (folder / "verdict").write_text(verdict.text() + "\n")
    for s in servers:
        if s.log_path.exists():
            shutil.copy(s.log_path, folder / f"server{s.myid}.log")
        if verdict.findings:
            shutil.copytree(s.datadir / "data", folder / f"data{s.myid}", ignore=shutil.ignore_patterns("*.pid"))


def build_dir():
    path = pathlib.Path(os.environ.get("QUOLL_BUILD", HERE.parent.parent / "build")).resolve()
    assert (path / "quoll").exists(), f"{path} is not a build directory: set QUOLL_BUILD"
    return path


def workplace(prefix):
    return pathlib.Path(tempfile.mkdtemp(prefix=prefix))


def new_seed():
    return random.SystemRandom().randrange(1, 1000000)


def arguments(doc, servers, seconds):
    """The options that all runs have; the caller may add some."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=servers)
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--seed", type=int, default=new_seed())
    parser.add_argument("--keep", action="store_true", help="keep logs and histories of a good run too")
    return parser


def run_and_tell(args, prefix, run):
    """run(build directory, folder) -> Verdict. Prints what came of it, and ends the process."""
    folder = workplace(prefix)
    print(f"seed {args.seed}, folder {folder}", flush=True)
    verdict = run(build_dir(), folder)
    print(verdict.text())
    if verdict.findings or args.keep:
        print(f"logs and histories: {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(1 if verdict.findings else 0)
