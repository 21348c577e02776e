"""A short run of run.py with three servers; `make chaos` is the long one. QUOLL_CHAOS_SECONDS (default 25), QUOLL_CHAOS_SEED."""
import os
import shutil

import chaos
import deadline
import javaclient
import run

SECONDS = float(os.environ.get("QUOLL_CHAOS_SECONDS", "25"))
SEED = int(os.environ.get("QUOLL_CHAOS_SEED", str(chaos.new_seed())))


def test_kills_and_stops():
    """Nothing acknowledged is lost, no session expires early, all trees are equal, every history is linearizable."""
    folder = chaos.workplace("quoll-chaos-")
    without = javaclient.missing()
    if without:
        print(f"{without}: without the Java clients", file=deadline.stderr)
    verdict = run.run(chaos.build_dir(), "qqq", SECONDS, SEED, folder, loud=False, kazoo=(1, 3), java=0 if without else 2)
    assert not verdict.findings, f"{folder}\n{verdict.text()}"
    assert verdict.figures["writes_acknowledged"] > 100
    assert verdict.figures["kills"] + verdict.figures["stops"] > 0
    shutil.rmtree(folder)


def test_only_a_sleeper_is_excused():
    """What counts as the doing of one of Apache's leaders that was stopped: its own word for it, about this session, and a stop at the time."""
    record = {"s": 0x1f, "t0": 10, "t1": 13}
    logs = {2: "ZooKeeperServer - Expiring session 0x1f, timeout of 2500ms exceeded"}
    assert chaos.expired_by_sleeper(record, [(2, 10.5, 12.5)], logs)
    assert not chaos.expired_by_sleeper(record, [(2, 7, 9.5)], logs)
    assert not chaos.expired_by_sleeper(record, [(2, 13.5, 15)], logs)
    assert not chaos.expired_by_sleeper(record, [(1, 10.5, 12.5)], logs)
    assert not chaos.expired_by_sleeper({**record, "s": 0x1}, [(2, 10.5, 12.5)], logs)
    assert not chaos.expired_by_sleeper(record, [], logs)


def test_only_a_dead_log_thread_excuses_a_hole():
    """A tree that differs counts as Apache's doing when that server's log names its log thread's death, and the others agree."""
    stat = {"version": 0}
    whole, holed = {"/": ("", stat), "/a": ("x", stat)}, {"/": ("", stat)}
    died = {3: "ERROR ZooKeeperCriticalThread - Severe unrecoverable error, from thread : SyncThread:3"}
    ours, theirs = chaos.split_trees({1: whole, 2: dict(whole), 3: holed}, died)
    assert not ours and len(theirs) == 1
    ours, theirs = chaos.split_trees({1: whole, 2: dict(whole), 3: holed}, {3: "nothing"})
    assert len(ours) == 1 and not theirs
    ours, theirs = chaos.split_trees({1: whole, 2: holed, 3: dict(whole)}, died)  # another one
    assert ours and not theirs
    ours, theirs = chaos.split_trees({1: whole, 3: holed}, died)  # nobody to say which
    assert ours and not theirs
    assert chaos.split_trees({1: whole, 2: dict(whole), 3: dict(whole)}, died) == ([], [])
