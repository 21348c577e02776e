"""Settings of an ensemble, one by one: what each changes as seen from outside. And the figures of the roles."""
import socket
import struct
import time

import pytest
from clients import close, connect
from quollens import Ensemble, QuollMember
from skipping import need_apache
from zkserver import WAIT_S, eventually, free_port

LOOKING, LEADING = 0, 2


def mntr(server):
    return dict(line.split("\t", 1) for line in server.four_letter("mntr").splitlines() if "\t" in line)


# ---- sockets ----

def keepalive_timers(ports):
    """How many established connections of these local or remote ports have a keep-alive timer."""
    count = 0
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            word = line.split()
            if word[3] == "01" and {int(word[1].split(":")[1], 16), int(word[2].split(":")[1], 16)} & ports:
                count += word[5].startswith("02")
    return count


@pytest.mark.parametrize("on", [False, True])
def test_tcp_keep_alive(build_dir, on):
    with Ensemble(build_dir, "qqq", {"tcpKeepAlive": str(on).lower()}) as e:
        ports = {p for s in e.servers for p in e.quorum_ports(s)}
        if on:
            eventually(lambda: keepalive_timers(ports) > 0, what="a keep-alive timer")
        else:
            assert keepalive_timers(ports) == 0


def test_silent_stranger_is_closed(build_dir):
    """quorumCnxnTimeoutMs: who connects to the election port and says nothing."""
    with Ensemble(build_dir, "qq", {"quorumCnxnTimeoutMs": 300, "syncLimit": 100}) as e:
        port = e.quorum_ports(e.servers[0])[1]
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
            assert s.recv(1) == b""
        assert time.monotonic() - start < 10  # syncLimit would be 50 s


def test_election_port_in_use(build_dir):
    """electionPortBindRetry: that many tries, then the reference's exit code."""
    lines = {f"server.{i}": f"127.0.0.1:{free_port()}:{free_port()}" for i in (1, 2)}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(lines["server.1"].split(":")[2])))
        taken.listen()
        server = QuollMember(build_dir, 1, {"initLimit": 5, "syncLimit": 5, "electionPortBindRetry": 2, **lines})
        try:
            server.start(wait=False)
            assert server.process.wait(timeout=WAIT_S) == 14
            assert server.log_path.read_text().count("trying again") == 1
            server.process = None
        finally:
            server.close()


# ---- elections ----

def notification(state, leader, zxid, rnd, epoch, config):
    body = struct.pack(">iqqqqii", state, leader, zxid, rnd, epoch, 2, len(config)) + config
    return struct.pack(">i", len(body)) + body


class FakeVoter:
    """A server, as far as the election port goes: votes for whoever asks, and follows nobody."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(WAIT_S)

    def read(self, n):
        out = b""
        while len(out) < n:
            part = self.socket.recv(n - len(out))
            assert part, "closed"
            out += part
        return out

    def meet(self):
        """The other has the higher id, so it is the one to connect."""
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(WAIT_S)
        head = self.read(20)
        self.read(struct.unpack(">i", head[16:])[0])

    def hear(self):
        """(state, leader, zxid, round, epoch), config."""
        body = self.read(struct.unpack(">i", self.read(4))[0])
        return struct.unpack(">iqqqq", body[:36]), body[44:]

    def close(self):
        self.socket.close()
        self.listener.close()


@pytest.mark.parametrize("limit", [100, -1])
def test_leader_gives_up_early(build_dir, limit):
    """leader.maxTimeToWaitForEpoch: any voter that looks again while the leader still waits for its epoch ends that wait. By default one that
    leaves no quorum of those who elected the leader does, since the wait is of no use then (ZOOKEEPER-3109)."""
    lines = {f"server.{i}": f"127.0.0.1:{free_port()}:{free_port()}" for i in (1, 2, 3)}
    server = QuollMember(build_dir, 3, {"initLimit": 1000, "syncLimit": 5, "leader.maxTimeToWaitForEpoch": limit, **lines})
    fakes = [FakeVoter(int(lines[f"server.{i}"].split(":")[2])) for i in (1, 2)]
    try:
        server.start(wait=False)
        for fake in fakes:
            fake.meet()
            vote, config = fake.hear()
            assert vote[0] == LOOKING and vote[1] == 3
        for fake in fakes:
            fake.socket.sendall(notification(LOOKING, *vote[1:], config))
        eventually(lambda: "leading: server 3 leads" in server.log_path.read_text(), what="an elected leader")
        time.sleep(0.3)  # the limit has to pass
        fakes[0].socket.sendall(notification(LOOKING, 1, 0, vote[3] + 1, 0, config))
        if limit < 0:
            said, _ = fakes[0].hear()
            while said[0] != LEADING:  # its answer: it still leads
                said, _ = fakes[0].hear()
            assert "leading no longer" not in server.log_path.read_text()
            fakes[1].socket.sendall(notification(LOOKING, 2, 0, vote[3] + 1, 0, config))
        eventually(lambda: "leading no longer" in server.log_path.read_text(), what="giving up")
    finally:
        server.close()
        for fake in fakes:
            fake.close()


def test_observer_delays(build_dir):
    """An observer that waits before it looks and before it connects comes back all the same."""
    delays = {"observer.election.DelayMs": 300, "observer.reconnectDelayMs": 300}
    with Ensemble(build_dir, "qqqQ", delays) as e:
        observer = e.servers[3]
        c = connect(observer.address)
        c.create("/a")
        for _ in range(2):
            leader = e.leader()
            leader.kill9()
            e.leader()  # another one: the observer has lost its connection by now
            eventually(lambda: observer.mode() == "observer" and c.connected and c.exists("/a"), what="the observer again")
            leader.start()
        close(c)


# ---- figures ----

def test_figures_of_roles(build_dir):
    with Ensemble(build_dir, "qqqQ") as e:
        leader = e.leader()
        c = connect(leader.address)
        for i in range(20):
            c.create(f"/n{i}", b"x" * 100)
        figures = mntr(leader)
        assert figures["zk_server_state"] == "leader"
        assert figures["zk_learners"] == "3" and figures["zk_synced_followers"] == "2" and figures["zk_synced_observers"] == "1"
        assert figures["zk_synced_non_voting_followers"] == "0" and figures["zk_pending_syncs"] == "0"
        assert int(figures["zk_min_proposal_size"]) > 0
        assert int(figures["zk_max_proposal_size"]) >= int(figures["zk_last_proposal_size"]) > 100
        assert int(figures["zk_cnt_quorum_ack_latency"]) >= 20 and int(figures["zk_max_quorum_ack_latency"]) < 5000
        at = e.followers()[0]
        eventually(lambda: int(mntr(at)["zk_cnt_propagation_latency"]) >= 20, what="the last commit at a follower that may be the slower one")
        assert int(mntr(at)["zk_max_propagation_latency"]) < 5000
        assert figures["zk_cnt_election_time"] >= "1" and int(figures["zk_last_election_time"]) >= 0
        assert "Proposal sizes last/min/max: " in leader.four_letter("srvr")
        close(c)


def test_lag(build_dir):
    """How far a follower is behind, while it is stopped and after."""
    with Ensemble(build_dir, "qqq", {"syncLimit": 60}) as e:
        leader = e.leader()
        slow = e.followers()[0]
        c = connect(leader.address)
        slow.pause()
        for i in range(30):
            c.create(f"/n{i}")
        figures = mntr(leader)
        assert int(figures[f"zk_learner_{slow.myid}_lag"]) in (30, 31)  # with or without the session
        others = [s for s in e.servers if s is not leader and s is not slow]
        assert int(figures[f"zk_learner_{others[0].myid}_lag"]) <= 1
        slow.resume()
        eventually(lambda: mntr(leader)[f"zk_learner_{slow.myid}_lag"] == "0", what="catching up")
        follower = mntr(slow)
        assert int(follower["zk_learner_proposal_received_count"]) >= 30
        assert int(follower["zk_learner_commit_received_count"]) >= 30
        assert int(follower["zk_cnt_follower_sync_time"]) >= 1
        assert "zk_learners" not in follower
        close(c)


def test_keys_of_the_reference(build_dir):
    """Dashboards made for Apache's mntr find the gauges of each role here too."""
    need_apache()
    roles = {}
    for kinds in ("aaa", "qqq"):
        with Ensemble(build_dir, kinds) as e:
            c = connect(e.leader().address)
            c.create("/x", b"")
            close(c)
            for s in (e.leader(), e.followers()[0]):
                roles[kinds, s.mode()] = set(mntr(s))
    wanted = ("learners", "synced_followers", "synced_observers", "synced_non_voting_followers", "pending_syncs", "leader_uptime",
              "last_proposal_size", "min_proposal_size", "max_proposal_size", "quorum_size", "global_sessions", "local_sessions",
              "looking_count", "proposal_count", "commit_count", "diff_count", "snap_count", "cnt_election_time", "avg_election_time",
              "cnt_follower_sync_time", "cnt_unavailable_time", "cnt_leader_unavailable_time", "learner_proposal_received_count",
              "learner_commit_received_count", "cnt_quorum_ack_latency", "cnt_propagation_latency", "cnt_observer_sync_time",
              "quit_leading_due_to_disloyal_voter", "revalidate_count", "peer_state", "server_state", "num_alive_connections", "outstanding_requests")
    for role in ("leader", "follower"):
        there = {f"zk_{k}" for k in wanted} & roles["aaa", role]
        assert len(there) > 15, sorted(roles["aaa", role])
        assert there <= roles["qqq", role], sorted(there - roles["qqq", role])
