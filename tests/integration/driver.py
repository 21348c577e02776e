"""Talks to client_driver: libquoll under the control of a test."""
import json
import queue
import subprocess
import threading
import time

from zkserver import WAIT_S

CONNECTING, CONNECTED, READ_ONLY, EXPIRED, AUTH_FAILED, CLOSED = range(6)
SESSION, CREATED, DELETED, DATA_CHANGED, CHILDREN_CHANGED, WATCH_REMOVED = -1, 1, 2, 3, 4, 5


class Driver:
    """One client. Every line that the program prints is kept; wait() looks for the next that fits, in order."""

    def __init__(self, program, servers, *options, connect=True):
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.pending = []  # read but not asked for yet
        self.seen = []     # everything, for messages
        self.next_id = 1
        threading.Thread(target=self._read, daemon=True).start()
        assert self.call("open", servers, *options) == 0
        if connect:
            self.wait(kind="state", state=CONNECTED)

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _next(self, timeout):
        item = self.lines.get(timeout=timeout)
        if item is None:
            self.lines.put(None)
            raise AssertionError(f"driver ended; it said {self.seen[-20:]}")
        self.seen.append(item)
        return item

    def wait(self, timeout=WAIT_S, check=None, **want):
        """The first line not yet taken whose fields are those of want; it is taken, the others are kept."""
        def fits(item):
            return all(item.get(k) == v for k, v in want.items()) and (check is None or check(item))

        for i, item in enumerate(self.pending):
            if fits(item):
                return self.pending.pop(i)
        end = time.monotonic() + timeout
        while True:
            try:
                item = self._next(max(end - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(f"no {want} within {timeout} s; last lines: {self.seen[-20:]}") from None
            if fits(item):
                return item
            self.pending.append(item)

    def drain(self):
        """What has come until now: takes all lines that are there."""
        while not self.lines.empty():
            self.pending.append(self._next(1))
        taken, self.pending = self.pending, []
        return taken

    def send(self, *fields):
        ident = str(self.next_id)
        self.next_id += 1
        self.process.stdin.write("\t".join([ident, *map(str, fields)]) + "\n")
        self.process.stdin.flush()
        return ident

    def call(self, *fields):
        """A command that answers at once; returns its code."""
        return self.wait(kind="called", id=self.send(*fields))["err"]

    def result(self, ident, timeout=WAIT_S):
        return self.wait(timeout, check=lambda i: i["kind"] in ("result", "called"), id=ident)

    def ask(self, *fields, timeout=WAIT_S):
        return self.result(self.send(*fields), timeout)

    def create(self, path, value="-", mode=0, ttl=0, *acls):
        return self.ask("create", path, value, mode, ttl, *acls)

    def get(self, path, watch=""):
        return self.ask("get", path, watch)

    def close(self, how="close"):
        if self.process.poll() is None:
            self.send(how)
            self.wait(kind="closed")
            self.process.stdin.close()
        assert self.process.wait(timeout=WAIT_S) == 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if kind is None:
            self.close()
        else:
            self.process.kill()
            self.process.wait()
