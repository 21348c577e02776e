"""A Kubernetes API server under test control, and the program that watches it.

ApiServer answers lists from recorded files or from what a test gives it, and plays watches that the test scripts
step by step, over plain sockets, so that it can cut a connection anywhere or fall silent. Dump runs
kube_dump and keeps the objects that it was told of.
"""
import base64
import json
import os
import pathlib
import queue
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures" / "kube"
BUILD = pathlib.Path(os.environ.get("QUOLL_BUILD", HERE.parent.parent / "build"))
DEADLINE_S = 60


def fixture(name):
    return (FIXTURES / name).read_bytes()


def fixture_events(name):
    return [line for line in fixture(name).splitlines() if line.strip()]


def status(code, reason, message="", **details):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code, "details": details}


def service(name, rv, ns="default", uid=None):
    return {"metadata": {"name": name, "namespace": ns, "uid": uid or "uid-" + name, "resourceVersion": str(rv)},
            "spec": {"clusterIP": "10.96.1.1", "ports": [{"port": 80, "protocol": "TCP"}]}}


def list_of(kind, items, rv, cont=None):
    api = "discovery.k8s.io/v1" if kind == "EndpointSlice" else "v1"
    meta = {"resourceVersion": str(rv)}
    if cont:
        meta["continue"] = cont
    return {"kind": kind + "List", "apiVersion": api, "metadata": meta, "items": items}


def event(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode()


class Request:
    """One request that the server got: .path, .query (single values), .headers (lower case), .peer."""

    def __init__(self, sock, head, peer):
        self.sock, self.peer = sock, peer
        lines = head.decode("latin-1").split("\r\n")
        self.method, target, _ = lines[0].split(" ", 2)
        parts = urllib.parse.urlsplit(target)
        self.path = parts.path
        self.query = {k: v[-1] for k, v in urllib.parse.parse_qs(parts.query).items()}
        self.headers = {}
        for line in lines[1:]:
            if ":" in line:
                key, value = line.split(":", 1)
                self.headers.setdefault(key.lower(), value.strip())
        self.resource = self.path.rsplit("/", 1)[-1]
        self.watch = self.query.get("watch") == "1"
        self.time = time.monotonic()

    def answer(self, body, code=200, headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        head = [f"HTTP/1.1 {code} X", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
        self.sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def begin_stream(self):
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data):
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self):
        self.sock.sendall(b"0\r\n\r\n")

    def cut(self):
        self.sock.shutdown(socket.SHUT_RDWR)

    def hold(self):
        """Says nothing until the client goes away or the server stops."""
        self.sock.settimeout(None)
        try:
            while self.sock.recv(4096):
                pass
        except OSError:
            pass


class ApiServer:
    """handlers: "services", "services?watch" ... -> a list of functions, taken one a request; the last one stays."""

    def __init__(self, port=0, tls=None):
        self.handlers, self.requests, self.lock = {}, [], threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self.before = None
        self.tls = tls
        for resource, name in (("services", "services"), ("endpointslices", "endpointslices"),
                               ("namespaces", "namespaces"), ("pods", "pods")):
            body = fixture(name + ".list.json")
            self.handlers[resource] = [lambda r, body=body: r.answer(body)]
            self.handlers[resource + "?watch"] = [lambda r: (r.begin_stream(), r.hold())]
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(50)
        self.port = self.listener.getsockname()[1]
        self.open = set()
        self.running = True
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, resource, *functions):
        with self.lock:
            self.handlers[resource] = list(functions)

    def _accept(self):
        while self.running:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, peer), daemon=True).start()

    def _serve(self, sock, peer):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self.lock:
                self.open.add(sock)
                if not self.running:
                    return
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    data = sock.recv(65536)
                    if not data:
                        return
                    pending += data
                head, pending = pending.split(b"\r\n\r\n", 1)
                self._dispatch(Request(sock, head, peer))
        except (OSError, ssl.SSLError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def _dispatch(self, request):
        key = request.resource + ("?watch" if request.watch else "")
        with self.lock:
            self.requests.append(request)
            self.arrived.notify_all()
            functions = self.handlers.get(key)
            function = functions.pop(0) if functions and len(functions) > 1 else functions and functions[0]
        if self.before and self.before(request):
            return
        if function:
            function(request)
        else:
            request.answer(fixture("not-found.json"), 404)

    def seen(self, resource, watch=None):
        with self.lock:
            return [r for r in self.requests if r.resource == resource and (watch is None or r.watch == watch)]

    def wait_requests(self, count, resource, watch=None):
        end = time.monotonic() + DEADLINE_S
        with self.arrived:
            while True:
                found = [r for r in self.requests if r.resource == resource and (watch is None or r.watch == watch)]
                if len(found) >= count:
                    return found
                left = end - time.monotonic()
                assert left > 0, f"only {len(found)} of {count} requests for {resource}"
                self.arrived.wait(left)

    def stop(self):
        with self.lock:
            self.running = False
            sockets = list(self.open)
        # A thread blocked in accept() keeps a closed listener alive; shutdown wakes it.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"


def write_kubeconfig(path, server, cluster=None, user=None):
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "lab",
              "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
              "users": [{"name": "u", "user": user or {}}],
              "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u"}}]}
    path.write_text(json.dumps(config))
    return path


def b64(data):
    return base64.b64encode(data).decode()


class Dump:
    """A running kube_dump. .objects maps (kind, ns, name) to the object; .log holds every callback."""

    def __init__(self, *args, env=None):
        self.process = subprocess.Popen([str(BUILD / "tests/integration/kube_dump"), *args], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "no_proxy": "*", **(env or {})})
        self.lines = queue.Queue()
        self.objects, self.log, self.synced = {}, [], {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _apply(self, line):
        self.log.append(line)
        if line["call"] == "upsert":
            self.objects[(line["kind"], line["ns"], line["name"])] = line["object"]
        elif line["call"] == "delete":
            del self.objects[(line["kind"], line["ns"], line["name"])]
        elif line["call"] == "synced":
            self.synced[line["kind"]] = self.synced.get(line["kind"], 0) + 1

    def until(self, condition, what=""):
        end = time.monotonic() + DEADLINE_S
        while not condition():
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"waited in vain for {what}; problems: {self.problems()[-5:]}")
            assert line is not None, f"kube_dump ended with {self.process.wait()}; problems: {self.problems()[-5:]}"
            self._apply(line)

    def until_synced(self, times=1):
        self.until(lambda: all(self.synced.get(k, 0) >= times for k in ("Namespace", "Service", "EndpointSlice")),
                   "all kinds to be synced")

    def has(self, kind, ns, name):
        return (kind, ns, name) in self.objects

    def names(self, kind):
        return sorted(name for k, _, name in self.objects if k == kind)

    def problems(self):
        return [line["text"] for line in self.log if line["call"] == "problem"]

    def deletes(self):
        return [line["name"] for line in self.log if line["call"] == "delete"]

    def stats(self):
        before = sum(line["call"] == "stats" for line in self.log)
        self.process.stdin.write("stats\n")
        self.process.stdin.flush()
        self.until(lambda: sum(line["call"] == "stats" for line in self.log) > before, "stats")
        return [line for line in self.log if line["call"] == "stats"][-1]

    def close(self):
        """Ends the program and tells whether it ended by itself, with everything freed."""
        if self.process.poll() is None:
            self.process.stdin.write("quit\n")
            self.process.stdin.flush()
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
