"""Strangers and enemies at the quorum ports of an ensemble, while a well-behaved client works.

After each attack the same server leads in the same epoch, the client has its session and all its events, and no server's memory has grown
beyond a bound.
"""
import contextlib
import os
import socket
import struct
import time

import pytest

from quollens import Ensemble
from quollsrv import QuollServer
from test_hostile import RSS_MAX_KB, STRANGERS, WAIT_S, GoodClient, push, rss_kb

FOLLOWERINFO, OBSERVERINFO, ACKEPOCH, ACK, PROPOSAL, PING, REQUEST, NEWLEADER = 11, 16, 18, 3, 2, 5, 1, 10
LOOKING, FOLLOWING, LEADING = 0, 1, 2
STRANGER = 99


@pytest.fixture(scope="module")
def ens(build_dir):
    missing = QuollServer.available(build_dir)
    if missing:
        pytest.fail(missing)
    with Ensemble(build_dir, "qqq") as e:
        e.leader()
        yield e


def epoch(server):
    return int(server.four_letter("srvr").split("Zxid: ")[1].split()[0], 16) >> 32


@pytest.fixture(autouse=True)
def nothing_changes(ens):
    leader = ens.leader()
    before = epoch(leader)
    client = GoodClient(leader)
    beside = GoodClient(ens.followers()[0], "/beside")
    yield
    client.finish()
    beside.finish()
    assert ens.leader() is leader and epoch(leader) == before, ens.logs()
    for s in ens.servers:
        assert s.process.poll() is None, s.log_tail()
        if "asan" not in str(s.program) and "tsan" not in str(s.program):
            assert rss_kb(s, "VmHWM") < RSS_MAX_KB


def everywhere(ens):
    """Every quorum port that is open: elections' of all, and the leader's."""
    leader = ens.leader()
    return [ens.quorum_ports(s)[1] for s in ens.servers] + [ens.quorum_ports(leader)[0]]


def dial(port):
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)


def drained(sock):
    """Reads until the other side closes or has said nothing for a moment, for half a second at most."""
    end = time.monotonic() + 0.5
    sock.settimeout(0.05)
    with contextlib.suppress(OSError):
        while sock.recv(1 << 16) and time.monotonic() < end:
            pass


def hello(sid, address=b"127.0.0.1:1"):
    return struct.pack(">qqi", -65536, sid, len(address)) + address


def notification(state, leader, zxid, round_, peer_epoch, config=b""):
    body = struct.pack(">iqqqqii", state, leader, zxid, round_, peer_epoch, 2, len(config)) + config
    return struct.pack(">i", len(body)) + body


def packet(kind, zxid=0, data=None):
    body = struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    return struct.pack(">iq", kind, zxid) + body + struct.pack(">i", -1)


def learner_info(sid, config_version=0):
    return struct.pack(">qiq", sid, 0x10000, config_version)


ENEMIES = {
    **STRANGERS,
    "random": os.urandom(20000),
    "election hello of ourselves": hello(1) + notification(LOOKING, 1, 0, 1, 0),
    "election hello with a negative sid": hello(-5),
    "election hello with a huge address": struct.pack(">qqi", -65536, STRANGER, 1 << 30) + b"x" * 1000,
    "election hello of another version": struct.pack(">qqi", -70000, STRANGER, 4) + b"a:1 ",
    "election hello without an end": hello(STRANGER)[:17],
    "notifications cut short": hello(STRANGER) + b"".join(struct.pack(">i", n) + bytes(n) for n in range(60)),
    "a notification of 2 GB": hello(STRANGER) + struct.pack(">i", 0x7fffffff),
    "a notification with a bad config": hello(STRANGER) + notification(LOOKING, STRANGER, 1, 1, 1, b"server.1=\xff\xfe\nversion=zz"),
    "a packet of 2 GB": struct.pack(">iqi", FOLLOWERINFO, 0, 0x7fffffff) + bytes(100),
    "a packet with 2 billion identities": struct.pack(">iqii", FOLLOWERINFO, 0, 0, 0x7fffffff) + bytes(100),
    "a proposal for the leader": packet(PROPOSAL, 1 << 40, bytes(40)),
    "an acknowledgement of nothing": packet(ACK, 1 << 40) * 100,
    "a follower without a sid": packet(FOLLOWERINFO) * 2,
    "a follower with half a sid": packet(FOLLOWERINFO, 0, b"1234"),
    "packets of unknown types": packet(FOLLOWERINFO, 0, learner_info(STRANGER)) + b"".join(packet(n) for n in range(-5, 60)),
}


@pytest.mark.parametrize("name", ENEMIES)
def test_strangers(ens, name):
    held = []
    for port in everywhere(ens):
        for hang_up in (True, False) * 5:
            s = dial(port)
            push(s, ENEMIES[name])
            if hang_up:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_WR)
                held.append(s)
            else:
                s.close()
    for s in held:
        drained(s)
        s.close()


def test_port_scanner(ens):
    reset = struct.pack("ii", 1, 0)
    for port in everywhere(ens):
        for n in range(1000):
            with dial(port) as s:
                if n % 2:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)


def test_idle_connections(ens):
    idle = []
    for port in everywhere(ens):
        for n in range(300):
            s = dial(port)
            idle.append(s)
            if n % 3:
                push(s, hello(STRANGER + n)[:9] if n % 3 == 1 else b"\0")
    for s in idle:
        s.close()


def test_unknown_server_votes(ens):
    """It has the best history there ever was, and shouts."""
    text = b"server.99=127.0.0.1:1:2:participant;0.0.0.0:3\nversion=7fffffffffff"
    for s in ens.servers:
        with dial(ens.quorum_ports(s)[1]) as c:
            push(c, hello(STRANGER))
            for state in (LOOKING, FOLLOWING, LEADING, 3, 7):
                for round_ in (0, 1, 1 << 62, -1):
                    push(c, notification(state, STRANGER, (1 << 62) + 5, round_, 1 << 30, text))
            drained(c)


def test_known_server_impersonated(ens):
    """Connections of elections are taken over by whoever says a server's name; those who serve have no use for them."""
    for s in ens.servers:
        for sid in (1, 2, 3):
            if sid == s.myid:
                continue
            for _ in range(10):
                with dial(ens.quorum_ports(s)[1]) as c:
                    push(c, hello(sid) + notification(LOOKING, sid, 1 << 62, 1 << 40, 1 << 30))
                    drained(c)


@pytest.mark.parametrize("kind", (FOLLOWERINFO, OBSERVERINFO))
def test_unknown_learner(ens, kind):
    """Says it has accepted an epoch far in the future, then falls silent, hangs up, or goes on with rubbish."""
    port = ens.quorum_ports(ens.leader())[0]
    for claimed in (0, 1 << 32, 0x7ffffffe << 32, -1):
        for more in (b"", packet(ACKEPOCH, 0, struct.pack(">i", 0)), packet(ACKEPOCH, 1 << 62, struct.pack(">i", -1)),
                     packet(ACKEPOCH, 0, struct.pack(">i", 0)) + packet(ACK, 1 << 62) + packet(PING, 0, bytes(37)) * 50,
                     packet(ACKEPOCH, 0, struct.pack(">i", 0)) + packet(REQUEST, 0, bytes(64))):
            with dial(port) as c:
                push(c, packet(kind, claimed, learner_info(STRANGER)) + more)
                drained(c)


def test_snapshots_never_received(ens):
    """Learners that have nothing, ask for everything and do not read it."""
    port = ens.quorum_ports(ens.leader())[0]
    greedy = []
    for n in range(50):
        c = dial(port)
        greedy.append(c)
        push(c, packet(OBSERVERINFO, 0, learner_info(STRANGER + n)) + packet(ACKEPOCH, 0, struct.pack(">i", 0)))
    for c in greedy:
        c.close()
