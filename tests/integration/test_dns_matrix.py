"""The cases of tests/fixtures/dns/matrix.txt over UDP and TCP, asked with dig.

QUOLL_DNS_SERVER says of which server: "fixture" (the DNS server alone over a table), "up" (the whole path: `quoll up` with the
objects as manifests, edited in the files), or "all", the default. Not expressible with manifests, and left out for "up": setups with
--unsynced (that server never stays so).
"""
import json
import os
import pathlib
import re
import signal
import socket
import socketserver
import struct
import subprocess
import threading
import time

import pytest

from zkserver import WAIT_S

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QUOLL_BUILD", ROOT / "build"))
FIXTURES = ROOT / "tests" / "fixtures" / "dns"
ZONES = ["cluster.local", "10.in-addr.arpa", "ip6.arpa"]
ORIGIN = "cluster.local."
RECORD_TTL = "5"
KIND = os.environ.get("QUOLL_DNS_SERVER", "all")


# ---- the file of cases ----

class Case:
    def __init__(self, line):
        f = [x.strip() for x in line.split("|")] + [""]
        self.id, self.name, kind, self.rcode, self.answer, self.additional = f[:6]
        self.type, *self.options = kind.split()
        self.cut = self.rcode.endswith("/TC")
        self.rcode = self.rcode.removesuffix("/TC")
        self.qname = ORIGIN if self.name == "@" else self.name if self.name.endswith(".") else self.name + "." + ORIGIN


def load_setups():
    setups = []
    for line in (FIXTURES / "matrix.txt").read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("setup "):
            _, name, *flags = line.split()
            setups.append((name, flags, []))
        elif line.startswith(("put ", "del ")):
            setups[-1][2].append(tuple(line.split(" ", 2)))
        else:
            setups[-1][2].append(Case(line))
    return setups


def load_registry():
    return json.loads((FIXTURES / "registry.json").read_text())


# ---- registry nodes as Kubernetes objects ----

def manifest(path, node):
    parts = path.split("/")
    if parts[0] == ".pods":
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": parts[2], "namespace": parts[1]},
                "status": {"phase": "Running", "podIP": node["ips"][0], "podIPs": [{"ip": ip} for ip in node["ips"]]}}
    if len(parts) == 1:
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": path}}
    if len(parts) == 2:
        if node.get("type") == "ExternalName":
            spec = {"type": "ExternalName", "externalName": node["externalName"]}
        else:
            ips = node.get("clusterIPs")
            spec = {"type": "ClusterIP", "clusterIP": ips[0] if ips else "None", "clusterIPs": ips or ["None"],
                    "ipFamilies": ["IPv6" if ":" in ip else "IPv4" for ip in ips or ["0.0.0.0"]]}
            if node.get("publishNotReadyAddresses"):
                spec["publishNotReadyAddresses"] = True
            if node.get("ports"):
                spec["ports"] = [{"protocol": "TCP", **p} for p in node["ports"]]
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": parts[1], "namespace": parts[0]}, "spec": spec}
    endpoints = []
    for e in node["endpoints"]:
        d = {"addresses": [e["address"]],
             "conditions": {"ready": e.get("ready", True), "serving": e.get("serving", True), "terminating": False}}
        if "hostname" in e:
            d["hostname"] = e["hostname"]
        if "pod" in e:
            d["targetRef"] = {"kind": "Pod", "name": e["pod"], "namespace": parts[0]}
        endpoints.append(d)
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": parts[2], "namespace": parts[0], "labels": {"kubernetes.io/service-name": parts[1]}},
            "addressType": node["addressType"],
            "ports": [{"name": p.get("name", ""), "protocol": p.get("protocol", "TCP"), "port": p["port"]} for p in node["ports"]],
            "endpoints": endpoints}


def test_manifests_are_the_registry():
    """manifests.yaml holds the same objects as registry.json."""
    yaml = pytest.importorskip("yaml")
    objects = list(yaml.safe_load_all((FIXTURES / "manifests.yaml").read_text()))
    assert objects == [manifest(p, n) for p, n in load_registry().items()]


# ---- the upstream server ----

class Upstream:
    """Knows www.example.net and nothing.example.net; cuts its answer about cut.example.net and has no TCP for it."""

    def __init__(self):
        outer = self
        self.asked = []

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                reply = outer.answer(self.request[0])
                self.request[1].sendto(reply, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                size = self.rfile.read(2)
                reply = outer.answer(self.rfile.read(struct.unpack("!H", size)[0]))
                if not reply[2] & 2:
                    self.wfile.write(struct.pack("!H", len(reply)) + reply)

        socketserver.TCPServer.allow_reuse_address = True
        while True:  # a port that is free for UDP may be taken for TCP
            self.udp = socketserver.UDPServer(("127.0.0.1", 0), Udp)
            self.port = self.udp.server_address[1]
            try:
                self.tcp = socketserver.TCPServer(("127.0.0.1", self.port), Tcp)
                break
            except OSError:
                self.udp.server_close()
        for server in (self.udp, self.tcp):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        self.asked.append((name, kind))
        flags, answer, authority = 0x8180, b"", b""
        if name == "www.example.net" and kind in (1, 28):
            data = socket.inet_aton("192.0.2.80") if kind == 1 else socket.inet_pton(socket.AF_INET6, "2001:db8::80")
            answer = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 300, len(data)) + data
        elif name == "cut.example.net":
            flags |= 0x0200
        else:
            flags |= 3
            zone = b"\x07example\x03net\x00"
            data = zone + zone + struct.pack("!5I", 1, 2, 3, 4, 30)
            authority = zone + struct.pack("!HHIH", 6, 1, 60, len(data)) + data
        return query[:2] + struct.pack("!5H", flags, 1, bool(answer), bool(authority), 0) + question + answer + authority

    def close(self):
        for server in (self.udp, self.tcp):
            server.shutdown()
            server.server_close()


# ---- the servers ----

class FixtureServer:
    def __init__(self, flags, tmp):
        command = [BUILD / "tests/integration/dns_fixture_server", FIXTURES / "registry.json", *flags]
        for zone in ZONES:
            command += ["--zone", zone]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline().split()
        assert first[:1] == ["listening"], first
        self.port = int(first[1])

    def command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def edit(self, verb, path, data=None):
        assert self.command(" ".join(x for x in (verb, path, data) if x)) == "ok"

    settle_s = 0  # an edit is seen by the next query

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=WAIT_S) == 0


class UpServer:
    settle_s = WAIT_S

    def __init__(self, flags, tmp):
        quoll = BUILD / "quoll"
        if not quoll.exists():
            pytest.skip("build/quoll is not there")
        known = subprocess.run([quoll, "up", "--help"], capture_output=True, text=True).stdout
        for flag in flags:
            if flag.startswith("--") and flag not in known:
                pytest.skip(f"quoll up has no {flag}")
        self.dir = tmp / "manifests"
        self.dir.mkdir()
        for path, node in load_registry().items():
            self.write(path, node)
        command = [quoll, "up", "--data", tmp / "data", "--manifests", self.dir, "--client-listen", "127.0.0.1:0",
                   "--dns-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *flags]
        for zone in ZONES:
            command += ["--zone", zone]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            found = re.search(r"DNS.*:(\d+)\s*$", line)
            if found:
                self.port = int(found[1])
                break
        else:
            pytest.fail("quoll up did not say where DNS is")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def file(self, path):
        return self.dir / (path.lstrip(".").replace("/", "~") + ".json")  # a file with a dot in front would be left out

    def write(self, path, node):
        target = self.file(path)
        part = target.with_suffix(".part")
        part.write_text(json.dumps(manifest(path, node)))
        part.rename(target)

    def edit(self, verb, path, data=None):
        if verb == "put":
            self.write(path, json.loads(data))
        else:
            self.file(path).unlink()

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=WAIT_S) == 0


# ---- asking and comparing ----

def dig(port, case, tcp):
    tcp = tcp or "XFR" in case.type  # dig shows nothing of a transfer refused over UDP
    command = ["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+timeout=8", "+ignore", "+noednsneg", "+nocookie",
               "+nocmd", "+nostats", "+noidnin", "+tcp" if tcp else "+notcp", "-q", case.qname, "-t", case.type]
    for option in case.options:
        if option.startswith("class="):
            command += ["-c", option[6:]]
        elif option.startswith("edns="):
            command += ["+edns=" + option[5:]]
        else:
            command += {"noedns": ["+noedns"], "norec": ["+norec"]}[option]
    return subprocess.run(command, capture_output=True, text=True).stdout


def parse_dig(text):
    """-> status, set of flags, {section: ["owner ttl TYPE rdata"]}"""
    status = re.search(r"status: (\w+)", text)
    flags = re.search(r"flags: ([\w ]*);", text)
    sections, current = {"ANSWER": [], "AUTHORITY": [], "ADDITIONAL": []}, None
    for line in text.splitlines():
        head = re.match(r";; (\w+) SECTION:", line)
        if head:
            current = sections.get(head[1])
        elif line and not line.startswith(";") and current is not None:
            owner, ttl, _, kind, rdata = line.split(None, 4)
            current.append(f"{owner} {ttl} {kind} {rdata}")
    return status[1] if status else None, set(flags[1].split()) if flags else set(), sections


def expected_record(case, text):
    words = text.split(" ")
    ttl = words.pop(0) if words[0].isdigit() else RECORD_TTL
    owner = words.pop(0) if words[0].endswith(".") else case.qname
    return " ".join([owner, ttl, *words])


def same(got, want):
    return got.startswith(want[:-1]) if want.endswith("*") else got == want


def difference(case, tcp, text):
    """What is wrong with dig's output; None when nothing is."""
    if "XFR" in case.type:
        return None if "Transfer failed." in text or "REFUSED" in text else "transfer was not refused"
    status, flags, sections = parse_dig(text)
    if status != case.rcode:
        return f"rcode {status}"
    if case.answer.startswith("#"):
        n, want = len(sections["ANSWER"]), int(case.answer[1:])
        ok = n == want and "tc" not in flags if tcp else 20 <= n < want and "tc" in flags
        return None if ok else f"{n} records, flags {flags}"
    if ("tc" in flags) != case.cut:
        return f"flags {flags}"
    items = [x.strip() for x in case.answer.split(",") if x.strip() not in ("", "-")]
    soa = [x.split()[1] if " " in x else ORIGIN for x in items if x.startswith("soa")]
    answer = [expected_record(case, x) for x in items if not x.startswith("soa")]
    additional = [expected_record(case, x.strip()) for x in case.additional.split(",") if x.strip()]
    for section, want in (("ANSWER", answer), ("ADDITIONAL", additional)):
        got = sections[section]
        if len(got) != len(want) or not all(any(same(g, w) for g in got) for w in want):
            return f"{section} {got}, wanted {want}"
    for i, w in enumerate(answer):
        if " CNAME " in w and sections["ANSWER"][i] != w:
            return f"CNAME out of order: {sections['ANSWER']}"
    zones = [x.split()[0].lower() for x in sections["AUTHORITY"] if x.split()[2] == "SOA"]
    if zones != soa or len(sections["AUTHORITY"]) != len(soa):
        return f"AUTHORITY {sections['AUTHORITY']}, wanted SOA of {soa}"
    return None


def check(server, case, tcp, deadline):
    """After an edit the answer may take its time to change, where the server is fed through files and a registry."""
    while True:
        text = dig(server.port, case, tcp)
        problem = difference(case, tcp, text)
        if not problem or time.monotonic() > deadline:
            return problem
        time.sleep(0.1)


def load_runs():
    """(kind, setup): a running system does not stay unsynced, so those setups are the fixture server's alone."""
    kinds = ["fixture", "up"] if KIND == "all" else [KIND]
    return [pytest.param(kind, setup, id=f"{kind}-{setup[0]}") for kind in kinds for setup in load_setups()
            if kind == "fixture" or "--unsynced" not in setup[1]]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("kind,setup", load_runs())
def test_matrix(setup, transport, kind, tmp_path):
    name, flags, steps = setup
    upstream = None
    if "STUB" in flags:
        upstream = Upstream()
        flags = [f"127.0.0.1:{upstream.port}" if f == "STUB" else f for f in flags]
    server = {"fixture": FixtureServer, "up": UpServer}[kind](flags, tmp_path)
    problems, asked = [], 0
    try:
        deadline = time.monotonic() + server.settle_s
        for step in steps:
            if isinstance(step, Case):
                problem = check(server, step, transport == "tcp", deadline)
                asked += 1
                if problem:
                    problems.append(f"case {step.id}, {step.qname} {step.type}: {problem}")
            else:
                server.edit(*step)
                deadline = time.monotonic() + server.settle_s
    finally:
        server.close()
        if upstream:
            upstream.close()
    assert asked > 0
    assert not problems, "\n".join(problems)


def test_forwarded_answers_are_cached(tmp_path):
    """Asked twice, the upstream hears it once; TTLs do not grow."""
    upstream = Upstream()
    server = FixtureServer(["--forward", f"127.0.0.1:{upstream.port}"], tmp_path)
    try:
        case = Case("x | www.example.net. | A | NOERROR | A 192.0.2.80 |")
        for _ in range(3):
            _, _, sections = parse_dig(dig(server.port, case, False))
            assert [x.split()[3] for x in sections["ANSWER"]] == ["192.0.2.80"]
            assert int(sections["ANSWER"][0].split()[1]) <= 300
        assert upstream.asked == [("www.example.net", 1)]
    finally:
        server.close()
        upstream.close()


def test_dead_upstream_is_servfail_and_the_next_one_is_asked(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        upstream = Upstream()
        case = Case("x | www.example.net. | A | NOERROR | A 192.0.2.80 |")
        both = FixtureServer(["--forward", f"127.0.0.1:{dead.getsockname()[1]}", "--forward", f"127.0.0.1:{upstream.port}"], tmp_path)
        alone = FixtureServer(["--forward", f"127.0.0.1:{dead.getsockname()[1]}"], tmp_path)
        try:
            assert parse_dig(dig(both.port, case, False))[0] == "NOERROR"
            assert parse_dig(dig(alone.port, case, False))[0] == "SERVFAIL"
        finally:
            both.close()
            alone.close()
            upstream.close()
