"""Long-running subcommands of quoll under test (up, sync, dns), and asking them by dig."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from zkserver import WAIT_S, eventually, free_port, running


def dig(port, name, rtype="A", *options):
    """The answers as `dig +short` prints them, sorted; raises when there is no reply at all."""
    out = subprocess.run(["dig", "@127.0.0.1", "-p", str(port), "+short", "+tries=1", "+time=10", *options, name, rtype],
                         capture_output=True, text=True, check=True, timeout=30).stdout
    return sorted(out.split("\n")[:-1])


def rcode(port, name, rtype="A", *options):
    out = subprocess.run(["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=10", *options, name, rtype],
                         capture_output=True, text=True, check=True, timeout=30).stdout
    return out.split("status: ")[1].split(",")[0]


class QuollProcess:
    """`quoll COMMAND ARGS`, with an admin port of its own. start() waits until /readyz says so unless told not to."""

    def __init__(self, build_dir, command, *args, env=None):
        self.program = build_dir / "quoll"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="quoll-proc-"))
        self.http_port = free_port()
        self.args = [str(self.program), command, *map(str, args), "--http-listen", f"127.0.0.1:{self.http_port}"]
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.out, self.err = self.dir / "out", self.dir / "err"

    def start(self, ready=True):
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.process = subprocess.Popen(self.args, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=self.env, cwd=self.dir)
        running.add(self)
        if ready:
            eventually(self.ready, what=lambda: f"readiness of {self.args[1]}: {self.err.read_text()[-2000:]}")
        return self

    def log_tail(self, lines=40):
        return "\n".join(self.err.read_text(errors="replace").splitlines()[-lines:])

    def ready(self):
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.err.read_text()[-2000:]}"
        return self.http("/readyz")[0] == 200

    def http(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metric(self, name):
        for line in self.http("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def end(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        code = self.process.wait(timeout=WAIT_S)
        self.process = None
        return code

    def close(self):
        if self.process:
            self.end(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *exc):
        self.close()


class QuollUp(QuollProcess):
    """`quoll up`, everything on free ports."""

    def __init__(self, build_dir, *args, data=None, **kw):
        self.zk_port, self.dns_port = free_port(), free_port()
        super().__init__(build_dir, "up", "--client-listen", f"127.0.0.1:{self.zk_port}", "--dns-listen",
                         f"127.0.0.1:{self.dns_port}", *args, **kw)
        self.args += ["--data", str(data or self.dir / "data")]

    @property
    def zk(self):
        return f"127.0.0.1:{self.zk_port}"


def quoll(build_dir, *args, check=True, env=None, stdin=None, timeout=60):
    """Runs one command to its end: the CompletedProcess with text output."""
    done = subprocess.run([str(build_dir / "quoll"), *map(str, args)], capture_output=True, text=True, input=stdin,
                          env={**os.environ, **(env or {})}, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"quoll {' '.join(map(str, args))}: exit {done.returncode}: {done.stderr}")
    return done
