"""mntr beside the server of Apache, as each role: every figure of theirs is one of ours, or is named in docs/compatibility.md with the reason."""
import pathlib
import re

import pytest
from clients import close, connect
from quollens import Ensemble
from skipping import need_apache
from zkserver import eventually

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
ROLES = ("leader", "follower", "observer")


def mntr(server):
    return dict(line.split("\t", 1) for line in server.four_letter("mntr").splitlines() if "\t" in line)


def general(key):
    """A key's name, with what stands for a server or a path in it replaced as in the documentation."""
    key = re.sub(r"_\d+_(?=learner_|ack_latency)", "_N_", key)
    return re.sub(r"^(zk_[a-z0-9]+_).+(?=_(read|write)_per_namespace$)", r"\1PATH", key)


def figure(key):
    return re.sub(r"^zk_((avg|min|max|cnt|sum|p50|p95|p99|p999)_)?", "", key)


def figures_left_out():
    """The names in the section of the documentation that lists them."""
    section = DOCS.read_text().split("### Figures that Quoll does not have", 1)[1].split("\n#", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def roles(build_dir, kinds):
    """role -> mntr, after a little of everything."""
    with Ensemble(build_dir, kinds) as e:
        clients = [connect(s.address) for s in e.servers]
        for i, c in enumerate(clients):
            c.create(f"/n{i}", b"x")
            c.create(f"/n{i}/e", ephemeral=True)
            c.get(f"/n{i}", watch=lambda event: None)
            c.set(f"/n{i}", b"y")
            c.sync("/")
        for s in e.servers:
            eventually(lambda s=s: "cnt_propagation_latency\t0\n" not in s.four_letter("mntr"), what="a transaction everywhere")
        found = {s.mode(): mntr(s) for s in e.servers}
        for c in clients:
            close(c)
        return found


def test_figures_of_the_reference(build_dir):
    need_apache()
    theirs, ours = roles(build_dir, "aaA"), roles(build_dir, "qqQ")
    left_out = figures_left_out()
    seen = set()
    for role in ROLES:
        missing = {general(k) for k in theirs[role]} - {general(k) for k in ours[role]}
        seen |= {figure(k) for k in missing}
        unexplained = sorted(k for k in missing if figure(k) not in left_out)
        assert not unexplained, f"{role}: {unexplained}"
    assert left_out == seen, f"in the documentation, and there: {sorted(left_out - seen)}"


def test_latencies_of_roles(build_dir):
    """Each is counted in the role that can measure it, and in no other."""
    found = roles(build_dir, "qqQ")
    counted = {role: {k for k in ("quorum_ack", "propagation", "proposal", "proposal_ack_creation", "commit_propagation")
                      if int(found[role][f"zk_cnt_{k}_latency"]) > 0} for role in ROLES}
    assert counted == {"leader": {"quorum_ack", "propagation"}, "observer": {"propagation"},
                       "follower": {"propagation", "proposal", "proposal_ack_creation", "commit_propagation"}}
    for role in ROLES:
        figures = found[role]
        for k in ("propagation_latency", "quorum_ack_latency", "proposal_latency", "sync_processor_queue_time_ms",
                  "sync_processor_queue_flush_time_ms", "sync_processor_queue_and_flush_time_ms"):
            values = [int(figures[f"zk_{q}_{k}"]) for q in ("min", "p50", "p95", "p99", "p999", "max")]
            assert values == sorted(values), (role, k, values)
        assert int(figures["zk_sync_processor_request_queued"]) >= 9, role
        assert figures["zk_cnt_startup_snap_load_time"] == figures["zk_cnt_startup_txns_load_time"] == "1"


@pytest.mark.parametrize("key,want", [("zk_avg_12_learner_handler_qp_size", "zk_avg_N_learner_handler_qp_size"),
                                      ("zk_max_a_b_write_per_namespace", "zk_max_PATH_write_per_namespace"),
                                      ("zk_p999_readlatency", "zk_p999_readlatency")])
def test_general_names(key, want):
    assert general(key) == want
