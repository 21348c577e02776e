"""The limit of every other test (deadline.py): one that hangs fails, with all that is needed to find out why."""
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent

HANGS = '''
import threading
from zkserver import ZkServer


class Silent(ZkServer):
    def command(self):
        return ["sh", "-c", "echo what it logged last; exec sleep 1000"], None


def test_first():
    with Silent().start(wait=False):
        waits_for_ever()


def waits_for_ever():
    threading.Event().wait()


def test_second():
    threading.Thread(target=waits_for_ever, daemon=True).start()
'''


def test_one_that_hangs(tmp_path):
    (tmp_path / "test_hangs.py").write_text(HANGS)
    env = {**os.environ, "PYTHONPATH": str(HERE), "QUOLL_TEST_SECONDS": "2"}
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "deadline", tmp_path / "test_hangs.py"],
                          capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "test_hangs.py::test_first runs for 2 s" in done.stderr
    assert "in waits_for_ever" in done.stderr and "in waits_for_ever" not in done.stderr.split("---- ", 1)[1]
    assert "---- sh -c" in done.stderr and "what it logged last" in done.stderr
    assert "sleep" in done.stderr.split("its log")[0].split("exec sleep 1000", 1)[1]  # the stacks of the process, whoever showed them
    assert "still running after 2 s" in done.stdout
