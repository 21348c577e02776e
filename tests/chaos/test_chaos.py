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
