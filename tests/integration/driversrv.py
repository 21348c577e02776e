"""Our server without the command line around it: server_driver.c."""
import subprocess

from zkserver import ZkServer, running


class DriverServer(ZkServer):
    """settings: keys of zoo.cfg. disk: real, volatile (what was not synced dies with the process) or lying (nothing is synced)."""

    def __init__(self, build_dir, datadir=None, port=None, disk="real", **settings):
        super().__init__(datadir, port)
        self.program = build_dir / "tests" / "integration" / "server_driver"
        self.disk = disk
        self.settings = {"tickTime": 200, "maxClientCnxns": 0, "preAllocSize": 1024, "quoll.netThreads": 3,
                         **settings}

    def command(self):
        args = [str(self.program), "--data", str(self.datadir / "data"), "--listen", self.address, "--disk", self.disk]
        for key, value in self.settings.items():
            args += ["--set", f"{key}={value}"]
        return args, None

    def start(self, wait=True):
        assert self.process is None, "already running"
        args, env = self.command()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, env=env)
        running.add(self)
        line = self.process.stdout.readline() if wait else b"ready"
        if not line.startswith(b"ready"):
            code = self.process.wait()
            raise RuntimeError(f"server ended with {code}:\n{self.log_tail()}")
        return self

    def _end(self, sig):
        process = self.process
        super()._end(sig)
        if process:
            process.stdout.close()
