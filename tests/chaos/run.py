#!/usr/bin/python3
"""Servers of one ensemble are killed, stopped and restarted at random while real clients work; then everything is checked.

usage: run.py [--servers N | --kinds KINDS] [--seconds S] [--seed N] [--keep]

Three or five servers from plain zoo.cfg files, all ours or as --kinds says (q: ours, a: Apache's; qqaaq); kazoo clients, Apache's Java client and clients by hand, all connected to all. kill -9,
SIGSTOP for less and for more than syncLimit and the sessions' timeouts, restarts; now and then a majority at once, or all.
Exit status 1: something is wrong; the folder with logs, data and histories is kept and named. QUOLL_BUILD: the build directory.
"""
import random
import time

import chaos
from quollens import Ensemble

STOPS = ((0.55, 0.05, 1.5), (0.38, 2.2, 5.0), (0.07, 10.5, 13.0))  # share, seconds: below syncLimit; above it; above the sessions' timeouts


class Nemesis:
    """Does one thing at a time, to one server mostly; never leaves a majority down for longer than it says."""

    def __init__(self, ensemble, seed, until, say):
        self.e, self.rng, self.until, self.say = ensemble, random.Random(seed), until, say
        self.stopped = []  # (server, from, to)
        self.figures = {"kills": 0, "kills_of_the_leader": 0, "stops": 0, "stops_of_the_leader": 0, "longest_stop": 0.0, "majority_kills": 0,
                        "kills_of_all": 0}

    def sleep(self, low, high):
        time.sleep(min(self.rng.uniform(low, high), max(0.0, self.until - time.monotonic())))

    def pick(self):
        """The leader in four of ten cases, if there is one."""
        servers = self.e.servers
        if self.rng.random() < 0.4:
            for s in servers:
                if s.mode() == "leader":
                    return s, True
        s = self.rng.choice(servers)
        return s, s.mode() == "leader"

    def kill(self, victims):
        for s in victims:
            s.kill9()
        self.sleep(0, 0.2) if self.rng.random() < 0.4 else self.sleep(0.2, 4)
        self.rng.shuffle(victims)
        for s in victims:
            s.start(wait=False)
            self.sleep(0, 0.5)

    def kill_one(self):
        s, leads = self.pick()
        self.figures["kills"] += 1
        self.figures["kills_of_the_leader"] += leads
        self.say(f"kill -9 {s.myid}{' (leader)' if leads else ''}")
        self.kill([s])

    def kill_many(self):
        n = len(self.e.servers)
        count = n if self.rng.random() < 0.3 else n // 2 + 1
        self.figures["kills_of_all" if count == n else "majority_kills"] += 1
        self.figures["kills"] += count
        victims = self.rng.sample(self.e.servers, count)
        self.say(f"kill -9 {[s.myid for s in victims]}")
        self.kill(victims)

    def stop_one(self):
        s, leads = self.pick()
        dice = self.rng.random()
        for share, low, high in STOPS:
            if dice < share:
                break
            dice -= share
        seconds = min(self.rng.uniform(low, high), max(0.1, self.until - time.monotonic()))
        self.figures["stops"] += 1
        self.figures["stops_of_the_leader"] += leads
        self.figures["longest_stop"] = max(self.figures["longest_stop"], round(seconds, 1))
        self.say(f"SIGSTOP {s.myid}{' (leader)' if leads else ''} for {seconds:.1f} s")
        began = time.monotonic()
        s.pause()
        time.sleep(seconds)
        self.stopped.append((s.myid, began, time.monotonic()))
        if self.rng.random() < 0.15:
            self.figures["kills"] += 1
            self.kill([s])  # it never wakes up
        else:
            s.resume()

    def run(self):
        while time.monotonic() < self.until:
            self.sleep(0.2, 1.0) if self.rng.random() < 0.3 else self.sleep(1, 5)
            dead = [s for s in self.e.servers if s.process.poll() is not None]
            if dead:
                return [f"server {s.myid} ended by itself with {s.process.returncode}:\n{s.log_tail(15)}" for s in dead]
            dice = self.rng.random()
            if dice < 0.47:
                self.kill_one()
            elif dice < 0.53:
                self.kill_many()
            else:
                self.stop_one()
        return []


def run(build_dir, kinds, seconds, seed, folder, loud=True, **clients):
    """One run with a server of each of these kinds. Returns the Verdict."""
    started = time.monotonic()

    def say(text):
        if loud:
            print(f"{time.monotonic() - started:7.1f} {text}", flush=True)

    verdict = chaos.Verdict()
    verdict.figures.update({"seed": seed, "servers": kinds})
    with Ensemble(build_dir, kinds, chaos.PROPS) as e:
        load = chaos.Clients(e.hosts, folder, seed, **clients)
        try:
            start = time.monotonic()
            nemesis = Nemesis(e, seed, start + seconds, say)
            verdict.findings += nemesis.run()
            verdict.figures.update(nemesis.figures)
            for s in e.servers:
                if s.process.poll() is not None:
                    s.process = None
                    s.start(wait=False)
            healed = time.monotonic()
            e.wait_ready()
            verdict.figures["seconds_until_all_serve_again"] = round(time.monotonic() - healed, 2)
            time.sleep(2)  # clients find their way back
            say("settling and checking")
            chaos.judge(e.servers, load, start, time.monotonic(), verdict, nemesis.stopped)
        finally:
            load.close()
            chaos.save(e.servers, folder, verdict)
    return verdict


def main():
    parser = chaos.arguments(__doc__, servers=3, seconds=600)
    parser.add_argument("--kinds", help="a letter per server instead of a number of ours, q: ours, a: Apache's")
    args = parser.parse_args()
    kinds = args.kinds or "q" * args.servers
    chaos.run_and_tell(args, "quoll-chaos-", lambda build, folder: run(build, kinds, args.seconds, args.seed, folder))


if __name__ == "__main__":
    main()
