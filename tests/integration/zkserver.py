"""What the servers under test have in common: a process, a port, a data directory, four-letter words."""
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref

WAIT_S = 60  # for whatever has to happen: a bound for those that hang, far above what a slow and busy machine needs

running = weakref.WeakSet()  # everything with a process and log_tail() that a test started
given = set()


def free_port():
    """A port of 127.0.0.1 that nobody listens on now and that was not given before, from below the range that outgoing connections take
    theirs from: one of those could otherwise have it before the server binds."""
    while True:
        port = random.randrange(10000, 32000)
        if port in given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port


def eventually(check, timeout=WAIT_S, what="condition"):
    """Calls check until it returns something true, and returns that; the last exception or value is in the failure."""
    end = time.monotonic() + timeout
    while True:
        try:
            last = check()
            if last:
                return last
        except Exception as e:  # pylint: disable=broad-except
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"{what() if callable(what) else what} not reached in {timeout} s; last: {last!r}")
        time.sleep(0.01)  # polling another process: there is nothing to wait on


class ZkServer:
    """One server process. start() returns once it serves clients; stop() and kill9() wait for its end.

    The port stays the same over restarts. Use as a context manager, or call close(), which also removes a data directory
    that this object made.
    """

    READY_TIMEOUT_S = WAIT_S
    host = "127.0.0.1"

    def __init__(self, datadir=None, port=None):
        self.own_dir = datadir is None
        self.datadir = pathlib.Path(datadir or tempfile.mkdtemp(prefix="quoll-test-"))
        self.datadir.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.process = None
        self.log_path = self.datadir / "server.out"

    def command(self):
        """The argument list, and the environment (None: ours)."""
        raise NotImplementedError

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def start(self, wait=True):
        assert self.process is None, "already running"
        args, env = self.command()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        running.add(self)
        if wait:
            self.wait_ready()
        return self

    def mode(self):
        """What srvr says it is: "standalone", "leader", "follower", "observer", "read-only"; None while it does not serve."""
        try:
            text = self.four_letter("srvr")
        except OSError:
            return None
        return text.split("Mode: ")[1].split()[0] if "Mode: " in text else None

    def wait_ready(self):
        end = time.monotonic() + self.READY_TIMEOUT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"server ended with {self.process.returncode}:\n{self.log_tail()}")
            if self.mode() not in (None, "read-only"):  # the latter is what a member may be before it finds the others
                return
            time.sleep(0.05)  # polling somebody else's process: there is nothing to wait on
        raise RuntimeError(f"server on port {self.port} not ready:\n{self.log_tail()}")

    def _end(self, sig):
        if self.process is None:
            return
        self.process.send_signal(sig)
        self.process.wait(timeout=WAIT_S)
        self.process = None

    def stop(self):
        self._end(signal.SIGTERM)

    def kill9(self):
        self._end(signal.SIGKILL)

    def pause(self):
        """Returns once every thread is stopped: the signal alone lets some go on for a moment."""
        self.process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + WAIT_S
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        while any(t.read_text().rsplit(")", 1)[1].split()[0] not in "Tt" for t in tasks.glob("*/stat")):
            assert time.monotonic() < end, "the server does not stop"
            time.sleep(0.001)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def four_letter(self, word, timeout=5):
        with socket.create_connection((self.host, self.port), timeout=timeout) as s:
            s.sendall(word.encode())
            answer = b""
            while True:
                part = s.recv(65536)
                if not part:
                    return answer.decode(errors="replace")
                answer += part

    def log_tail(self, lines=40):
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no output)"

    def close(self):
        self.kill9()
        if self.own_dir:
            shutil.rmtree(self.datadir, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *exc):
        self.close()
