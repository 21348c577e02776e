"""`quoll sim`: runs repeat bit for bit, find historical bugs, and say what they found."""
import json
import subprocess
import xml.etree.ElementTree as ET

import pytest


def sim(build_dir, *args, code=0):
    r = subprocess.run([build_dir / "quoll", "sim", *map(str, args)], capture_output=True, text=True, timeout=300)
    assert r.returncode == code, f"exit {r.returncode}\n{r.stdout[-4000:]}\n{r.stderr[-2000:]}"
    return r


def sim_json(build_dir, *args, code=0):
    return json.loads(sim(build_dir, *args, "-o", "json", code=code).stdout)


# Bugs that few seeds find, and a bound with room above what docs/simulator.md states: any change of the simulator moves the seeds.
BUGS = {2845: 12, 2872: 6, 3127: 12, 3911: 20, 4394: 20, 4646: 6, 4882: 30, 4925: 12}


@pytest.fixture(scope="module")
def broken(build_dir):
    """A bug and a seed that finds it."""
    found = sim_json(build_dir, "--seeds", 6, "--servers", 5, "--reintroduce", 4646, "--stop-at-first", code=1)
    return 4646, found["findings"][0]["seed"]


def test_same_seed_same_run(build_dir):
    runs = [sim_json(build_dir, "--seeds", "1-6", "--servers", 5, *extra) for extra in ([], ["--jobs", 1], ["--log-level", "debug"])]
    figures = [{k: r[k] for k in ("trace_hash", "events", "elections", "commits", "requests")} for r in runs]
    assert figures[0] == figures[1] == figures[2]
    assert figures[0]["commits"] > 0 and figures[0]["elections"] >= 6
    assert sim_json(build_dir, "--seeds", "7-12", "--servers", 5)["trace_hash"] != figures[0]["trace_hash"]


def test_twice_compares_processes(build_dir):
    r = sim_json(build_dir, "--seeds", 4, "--twice")
    assert r["seeds"] == 4 and r["seeds_with_findings"] == 0


def test_members_change(build_dir):
    r = sim_json(build_dir, "--seeds", 8, "--all-faults")
    assert r["seeds_with_findings"] == 0 and r["reconfigurations"] >= 16
    assert sim_json(build_dir, "--seeds", 8, "--reconfig", "--all-faults", "--jobs", 1)["trace_hash"] == r["trace_hash"]
    assert sim_json(build_dir, "--seeds", 2)["reconfigurations"] == 0


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_finds_historical_bug(build_dir, bug):
    r = sim_json(build_dir, "--seeds", BUGS[bug], "--servers", 5, "--reintroduce", f"ZOOKEEPER-{bug}", "--stop-at-first", code=1)
    found = r["findings"][0]
    assert f"--reintroduce ZOOKEEPER-{bug}" in found["command"] and found["text"]
    # ... and it is the bug that was found, not the schedule.
    assert sim_json(build_dir, "--seed", found["seed"], "--servers", 5)["seeds_with_findings"] == 0


def test_stops_at_the_lowest_seed_with_a_finding(build_dir):
    """... whichever ends first: with one process at a time that is the first, anyway."""
    for first in (1, 101, 201, 301):
        args = "--seeds", f"{first}-{first + 40}", "--servers", 5, "--reintroduce", 3127, "--stop-at-first"
        alone = sim_json(build_dir, *args, "--jobs", 1, code=1)["broken_seeds"]
        assert len(alone) == 1 and sim_json(build_dir, *args, "--jobs", 6, code=1)["broken_seeds"] == alone


def test_finding_is_explained_and_repeats(build_dir, broken, tmp_path):
    bug, seed = broken
    r = sim(build_dir, "--seed", seed, "--servers", 5, "--reintroduce", bug, "--timeline", tmp_path / "t.svg", code=1)
    assert f"Seed {seed}: " in r.stdout and "Again:" in r.stdout and "Timeline" in r.stdout
    command = next(line.split("Again:", 1)[1] for line in r.stdout.splitlines() if "Again:" in line).split()
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 1
    assert [x for x in again.stdout.splitlines() if x.startswith("trace ")] == [x for x in r.stdout.splitlines() if x.startswith("trace ")]
    svg = ET.parse(tmp_path / "t.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert sum(1 for _ in svg.iter("{http://www.w3.org/2000/svg}circle")) > 10


def test_minimize_leaves_a_finding_with_fewer_faults(build_dir, broken):
    bug, seed = broken
    found = sim_json(build_dir, "--seed", seed, "--servers", 5, "--reintroduce", bug, "--minimize", code=1)["findings"][0]
    assert found["minimized"]["left"] < found["minimized"]["faults"]
    smaller = subprocess.run(found["command"].split(), capture_output=True, text=True, timeout=300, check=False)
    assert smaller.returncode == 1 and f" {found['name']}" in smaller.stdout


def test_timeline_of_a_clean_seed(build_dir, tmp_path):
    sim(build_dir, "--seed", 1, "--timeline", tmp_path / "t.txt")
    text = (tmp_path / "t.txt").read_text()
    assert len(text.splitlines()) > 100


@pytest.mark.parametrize("args", [["--seeds", "x"], ["--seeds", "5-1"], ["--faults", "rain"], ["--reintroduce", "ZOOKEEPER-1"],
                                  ["--duration", "soon"], ["--servers", "0"], ["--skip", "a"], ["--output", "xml"], ["extra"]])
def test_usage_errors(build_dir, args):
    r = sim(build_dir, *args, code=2)
    assert r.stdout == "" and r.stderr.startswith("quoll sim: ")


def test_unwritable_timeline(build_dir, tmp_path):
    sim(build_dir, "--seed", 1, "--timeline", tmp_path / "no" / "t.svg", code=3)


def test_help_names_faults_and_bugs(build_dir):
    text = sim(build_dir, "--help").stdout
    for word in ("partition:", "bit-rot:", "ZOOKEEPER-3911:", "ZOOKEEPER-4925:"):
        assert word in text
