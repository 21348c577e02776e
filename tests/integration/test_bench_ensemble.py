"""bench/ensemble works: every part for a moment, with our servers alone (nothing is said about how fast they are)."""
import json
import os
import pathlib
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "bench" / "ensemble"


def test_quick(build_dir, tmp_path):
    done = subprocess.run([SCRIPT, "--quick", "--only", "quoll", "--dir", tmp_path, "--json", tmp_path / "out.json"], capture_output=True, text=True,
                          env={**os.environ, "BUILD": str(build_dir)}, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    out = json.loads((tmp_path / "out.json").read_text())
    q = out["quoll"]
    for load in ("writes, one at a time", "writes, 32 in flight", "reads, one at a time", "reads, 32 in flight"):
        assert q[load]["ops_per_s"] > 0 and q[load]["cpu_us_per_op"] > 0 and q[load]["errors"] == 0
    assert len(q["failover"]["all_ms"]) == 1 and q["failover"]["worst_ms"] > 0
    assert q["join"]["seconds"] > 0 and q["join"]["before_p999_us"] > 0 and q["join"]["meanwhile_p999_us"] > 0
    assert len(q["memory"]["rss_mb"]) == 3
    assert "failover, median" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]  # nothing is left behind
