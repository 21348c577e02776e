"""A pytest plugin: no test runs for ever, and whoever reads a log knows which one was slow.

A test that runs for a minute is named on stderr. One that runs for QUOLL_TEST_SECONDS (default 600) fails, after the stacks of its threads, the stacks
of the servers that it runs and the ends of their logs went to stderr: what is needed to find out what hung.
"""
import faulthandler
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import zkserver

NAMED_S = 60
LIMIT_S = float(os.environ.get("QUOLL_TEST_SECONDS", "600"))
LAST_S = 240  # how much longer a test may take that does not even hear the signal; then the whole run is over

stderr = sys.__stderr__  # the real one, since pytest takes file descriptor 2 away while tests run


def pytest_configure():
    global stderr
    stderr = os.fdopen(os.dup(2), "w", buffering=1)


def pytest_unconfigure():
    """What a test left running must not keep the process from ending: it has ended by then, or is shown."""
    faulthandler.dump_traceback_later(NAMED_S, exit=True, file=stderr)


def stacks_of(process):
    """The stacks of another process, as far as this machine can tell. Java's go to its own log."""
    if pathlib.Path(os.readlink(f"/proc/{process.pid}/exe")).name == "java":
        process.send_signal(signal.SIGQUIT)
        time.sleep(1)  # nothing says when they are written
        return "(in its log)"
    if shutil.which("gdb"):
        done = subprocess.run(["gdb", "-p", str(process.pid), "-batch", "-nx", "-ex", "set pagination off", "-ex", "thread apply all bt 30"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        return done.stdout
    tasks = sorted(pathlib.Path(f"/proc/{process.pid}/task").iterdir())
    return "\n".join(f"{(t / 'comm').read_text().strip()}: {(t / 'stat').read_text().rsplit(')', 1)[1].split()[0]} "
                     f"in {(t / 'wchan').read_text()}" for t in tasks)


def show_servers():
    for server in list(zkserver.running):
        process = server.process
        if process is None:
            continue
        state = f"ended with {process.returncode}" if process.poll() is not None else f"process {process.pid}"
        print(f"---- {' '.join(map(str, process.args))}\n{state}", file=stderr)
        if process.returncode is None:
            try:
                print(stacks_of(process), file=stderr)
            except (OSError, subprocess.SubprocessError) as e:
                print(f"no stacks: {e}", file=stderr)
        print(f"---- its log\n{server.log_tail(120)}", file=stderr)


class Watch:
    """Of one test, from its setup to its teardown."""

    def __init__(self, name):
        self.name, self.began, self.due = name, time.monotonic(), LIMIT_S
        signal.signal(signal.SIGALRM, self.on_alarm)
        self.arm()
        faulthandler.dump_traceback_later(LIMIT_S + LAST_S, exit=True, file=stderr)

    def arm(self):
        left = self.due - (time.monotonic() - self.began)
        signal.setitimer(signal.ITIMER_REAL, max(0.001, min(NAMED_S, left)))

    def on_alarm(self, _signal, _frame):
        took = time.monotonic() - self.began
        print(f"\n{self.name} runs for {took:.0f} s", file=stderr)
        if took < self.due:
            self.arm()
            return
        faulthandler.dump_traceback(file=stderr, all_threads=True)
        show_servers()
        self.due = time.monotonic() - self.began + NAMED_S  # once more, should its cleaning up hang too
        self.arm()
        pytest.fail(f"still running after {took:.0f} s; stacks and logs are on stderr")

    @staticmethod
    def end():
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    assert threading.current_thread() is threading.main_thread()
    watch = Watch(item.nodeid)
    yield
    watch.end()
