"""The DNS server's sockets: pipelining, parts of messages, junk, wildcard addresses, slow upstreams, clean stops."""
import random
import socket
import struct
import subprocess

import pytest

from test_dns_matrix import BUILD, FIXTURES, FixtureServer, Upstream


def query(name, kind=1, ident=7):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.rstrip(".").split("."))
    return struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


WEB = "web.shop.svc.cluster.local"
WEB_ADDRESS = socket.inet_aton("10.96.1.10")


def framed(message):
    return struct.pack("!H", len(message)) + message


def read_exactly(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def read_framed(sock):
    return read_exactly(sock, struct.unpack("!H", read_exactly(sock, 2))[0])


@pytest.fixture
def server(tmp_path):
    s = FixtureServer([], tmp_path)
    yield s
    s.close()


def connect(server, address="127.0.0.1"):
    s = socket.create_connection((address, server.port), timeout=10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def test_pipelined_queries_are_all_answered(server):
    with connect(server) as s:
        s.sendall(b"".join(framed(query(WEB, ident=i)) for i in range(1000)))
        for i in range(1000):
            reply = read_framed(s)
            assert struct.unpack("!H", reply[:2])[0] == i
            assert reply.endswith(WEB_ADDRESS)


def test_query_in_single_bytes(server):
    with connect(server) as s:
        for byte in framed(query(WEB)):
            s.sendall(bytes([byte]))
        assert read_framed(s).endswith(WEB_ADDRESS)


def test_replies_come_after_the_client_has_stopped_sending(server):
    with connect(server) as s:
        s.sendall(framed(query(WEB)) * 3)
        s.shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert read_framed(s).endswith(WEB_ADDRESS)
        assert s.recv(1) == b""


def test_client_that_does_not_read_is_held_back_and_loses_nothing(server):
    count, many = 3000, query("many.shop.svc.cluster.local")
    with connect(server) as s, connect(server) as other:
        s.settimeout(0.5)
        sent = 0
        data = framed(many) * count
        try:
            while sent < len(data):
                sent += s.send(data[sent:])
        except socket.timeout:
            pass  # the server has stopped reading
        other.sendall(framed(query(WEB)))
        assert read_framed(other).endswith(WEB_ADDRESS)
        s.settimeout(10)
        s.setblocking(True)
        whole = sent // len(framed(many))
        assert whole > 0
        for _ in range(whole):
            assert struct.unpack("!H", read_framed(s)[6:8])[0] == 200


def test_a_slow_upstream_does_not_hold_up_other_queries(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = FixtureServer(["--forward", f"127.0.0.1:{silent.getsockname()[1]}"], tmp_path)
        try:
            with connect(server) as s:
                s.sendall(framed(query("slow.example.net", ident=1)) + framed(query(WEB, ident=2)))
                assert read_framed(s)[:2] == b"\0\2"  # out of order
                asked, peer = silent.recvfrom(512)
                # Replies to another question, or with another id, are not taken; the right one is.
                good = asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:-11] + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4"
                forged = bytes([asked[0] ^ 1]) + good[1:-4] + b"\6\6\6\6"
                silent.sendto(forged, peer)
                silent.sendto(good.replace(b"\4slow", b"\4fast")[:-4] + b"\6\6\6\6", peer)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                    stranger.sendto(good[:-4] + b"\6\6\6\6", peer)
                silent.sendto(good, peer)
                reply = read_framed(s)
                assert reply[:2] == b"\0\1" and reply.endswith(b"\1\2\3\4")
        finally:
            server.close()


def test_equal_questions_are_asked_once(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.settimeout(10)
        server = FixtureServer(["--forward", f"127.0.0.1:{upstream.getsockname()[1]}"], tmp_path)
        try:
            with connect(server) as s:
                s.sendall(b"".join(framed(query("one.example.net", ident=i)) for i in range(20)))
                asked, peer = upstream.recvfrom(512)
                upstream.sendto(asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:-11] + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4",
                                peer)
                assert {read_framed(s)[1] for _ in range(20)} == set(range(20))
            assert "forwarded=1 " in server.command("stats")
        finally:
            server.close()


def test_stopping_with_questions_under_way(tmp_path):
    """Nothing is left open: the server's loop ends (its exit code says so)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = FixtureServer(["--forward", f"127.0.0.1:{silent.getsockname()[1]}"], tmp_path)
        with connect(server) as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            s.sendall(framed(query("slow.example.net")) + b"\0")
            u.sendto(query("slower.example.net"), ("127.0.0.1", server.port))
            silent.recvfrom(512)
            silent.recvfrom(512)
            server.close()


def test_junk_changes_nothing_for_others(server):
    rng = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u, connect(server) as good:
        u.settimeout(10)
        for _ in range(500):
            u.sendto(rng.randbytes(rng.randrange(0, 1400)), ("127.0.0.1", server.port))
        u.sendto(b"\0" * 60000, ("127.0.0.1", server.port))
        for _ in range(50):
            with connect(server) as bad:
                try:
                    bad.sendall(rng.choice([b"\xff\xff" + rng.randbytes(3000), framed(b""), framed(rng.randbytes(40)), b"\0"]))
                except ConnectionError:
                    pass  # it has hung up on us already: it may
        good.sendall(framed(query(WEB)))
        assert read_framed(good).endswith(WEB_ADDRESS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(10)
        u.sendto(query(WEB, ident=99), ("127.0.0.1", server.port))
        assert u.recv(512).endswith(WEB_ADDRESS)


@pytest.mark.parametrize("listen, family, address", [
    ("0.0.0.0:0", socket.AF_INET, "127.0.0.2"),
    ("[::]:0", socket.AF_INET, "127.0.0.3"),
    ("[::]:0", socket.AF_INET6, "::1"),
    ("[::1]:0", socket.AF_INET6, "::1"),
])
@pytest.mark.parametrize("forwarded", [False, True])
def test_replies_come_from_the_address_that_was_asked(listen, family, address, forwarded, tmp_path):
    upstream = Upstream()
    server = FixtureServer(["--listen", listen, "--forward", f"127.0.0.1:{upstream.port}"], tmp_path)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as u:
            u.settimeout(10)
            u.connect((address, server.port))  # takes replies from there only
            u.send(query("www.example.net" if forwarded else WEB))
            assert u.recv(512).endswith(socket.inet_aton("192.0.2.80") if forwarded else WEB_ADDRESS)
            # It names itself by that address, too.
            u.send(query("ns.dns.cluster.local", 1 if family == socket.AF_INET else 28))
            assert u.recv(512).endswith(socket.inet_pton(family, address))
    finally:
        server.close()
        upstream.close()


def test_port_in_use_and_bad_flags_are_named(server):
    fixture = BUILD / "tests/integration/dns_fixture_server"
    for flags, said in [(["--listen", f"127.0.0.1:{server.port}"], "already in use"), (["--forward", "nonsense"], "'nonsense'"),
                        (["--zone", "a..b"], "'a..b'"), (["--zone", "10.in-addr.arpa"], "reverse")]:
        run = subprocess.run([fixture, FIXTURES / "registry.json", *flags], capture_output=True, text=True, stdin=subprocess.PIPE)
        assert run.returncode == 2 and said in run.stderr
