"""Every shape of netns.py once, with three servers and few clients, in a process of its own; `make chaos` has more. Skipped, loudly,
where network namespaces cannot be made."""
import os
import pathlib
import subprocess

from skipping import skip_loudly

HERE = pathlib.Path(__file__).resolve().parent
SEED = os.environ.get("QUOLL_CHAOS_SEED")


def cut(*shapes, servers=3):
    """Runs the shapes once each; the whole output is in the failure."""
    seed = ["--seed", SEED] if SEED else []
    args = [HERE / "netns.py", "--light", "--seconds", 0, "--servers", servers, "--only", ",".join(shapes), *seed]
    done = subprocess.run(["/usr/bin/python3", *map(str, args)], capture_output=True, text=True, timeout=540, check=False)
    if done.returncode == 77:
        skip_loudly(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr


def test_cut_in_two():
    """The minority refuses writes, with the old leader in it and without; the majority goes on; nobody writes the same zxid."""
    cut("isolated_leader", "split")


def test_one_way_and_lossy():
    """Leaders and followers that are heard and do not hear, and the reverse; a server that alone sees both halves; loss; flapping."""
    cut("mute_leader", "deaf_leader", "deaf_follower", "bridge", "flapping")
