"""A short run of run.py with three servers; `make chaos` is the long one. QUOLL_CHAOS_SECONDS (default 25), QUOLL_CHAOS_SEED."""
import os
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import chaos  # noqa: E402
import run  # noqa: E402

SECONDS = float(os.environ.get("QUOLL_CHAOS_SECONDS", "25"))
SEED = int(os.environ.get("QUOLL_CHAOS_SEED", str(chaos.new_seed())))


@pytest.fixture(name="build")
def build_fixture():
    path = pathlib.Path(os.environ.get("QUOLL_BUILD", chaos.HERE.parent.parent / "build")).resolve()
    assert (path / "quoll").exists(), f"{path} is not a build directory: set QUOLL_BUILD"
    return path


def test_kills_and_stops(build):
    """Nothing acknowledged is lost, no session expires early, all trees are equal, every history is linearizable."""
    folder = chaos.workplace("quoll-chaos-")
    java = 2 if shutil.which("javac") else 0
    if not java:
        print("no javac (apt-get install default-jdk-headless): without the Java clients", file=sys.__stderr__)
    verdict = run.run(build, "qqq", SECONDS, SEED, folder, loud=False, kazoo=(1, 3), java=java)
    assert not verdict.findings, f"{folder}\n{verdict.text()}"
    assert verdict.figures["writes_acknowledged"] > 100
    assert verdict.figures["kills"] + verdict.figures["stops"] > 0
    shutil.rmtree(folder)
