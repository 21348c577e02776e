"""The checker itself: what it must accept, and each kind of wrong that it must see."""
import itertools
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import linear  # noqa: E402


def op(f, t0, t1, r="ok", c="a", k="/k", **more):
    return {"c": c, "s": 1, "f": f, "k": k, "t0": t0, "t1": t1, "r": r, **more}


def create(v, t0, t1, r="ok", **more):
    return op("create", t0, t1, r, v=v, **more)


def put(v, t0, t1, version=None, r="ok", ver=-1, **more):
    st = (1, 1, version) if version is not None else None
    return op("set", t0, t1, r, v=v, ver=ver, st=st, **more)


def delete(t0, t1, r="ok", ver=-1, **more):
    return op("delete", t0, t1, r, ver=ver, **more)


def sync(got, version, t0, t1, **more):
    return op("sync", t0, t1, got=got, st=(1, 1, version), **more)


def none(t0, t1, **more):
    return op("sync", t0, t1, "fail", e="NoNode", **more)


GOOD = {
    "empty": [],
    "one after another": [create("a", 0, 1), put("b", 2, 3, 1), sync("b", 1, 4, 5), delete(6, 7), none(8, 9)],
    "at the same time, in either order": [create("a", 0, 1), put("b", 2, 9, 2), put("c", 2, 9, 1), sync("b", 2, 10, 11)],
    "a read at the same time sees the old value": [create("a", 0, 1), put("b", 2, 9, 1), sync("a", 0, 3, 4)],
    "a read at the same time sees the new value": [create("a", 0, 1), put("b", 2, 9, 1), sync("b", 1, 3, 4)],
    "unknown, and did not happen": [create("a", 0, 1), put("b", 2, None, r="unknown"), sync("a", 0, 5, 6)],
    "unknown, and did happen": [create("a", 0, 1), put("b", 2, None, r="unknown"), sync("b", 1, 5, 6)],
    "unknown, and happened long after": [create("a", 0, 1), put("b", 2, None, r="unknown"), sync("a", 0, 5, 6), sync("b", 1, 7, 8)],
    "unknown, unseen, and counted": [create("a", 0, 1), put("b", 2, None, r="unknown"), put("c", 5, 6, 2)],
    "two unknown, only the last one seen": [create("a", 0, 1), put("b", 2, None, r="unknown"), put("c", 3, None, r="unknown"),
                                            sync("c", 2, 5, 6)],
    "unknown delete": [create("a", 0, 1), delete(2, None, "unknown"), none(3, 4), create("b", 5, 6)],
    "unknown create behind another's": [create("a", 0, None, "unknown"), create("b", 1, 2), sync("b", 0, 3, 4)],
    "refusals": [delete(0, 1, "fail", e="NoNode"), create("a", 2, 3), create("b", 4, 5, "fail", e="NodeExists"),
                 put("c", 6, 7, r="fail", ver=5, e="BadVersion"), put("d", 8, 9, 1, ver=0)],
    "refused for a reason that says nothing": [create("a", 0, 1), put("b", 2, 3, r="fail", e="SessionMoved"), sync("a", 0, 4, 5)],
    "a refusal explained by an unknown write": [create("a", 0, None, "unknown"), create("b", 1, 2, "fail", e="NodeExists")],
    "versions begin again": [create("a", 0, 1), put("b", 2, 3, 1), delete(4, 5), create("c", 6, 7), put("d", 8, 9, 1)],
}

BAD = {
    "lost write": [create("a", 0, 1), put("b", 2, 3, 1), sync("a", 0, 4, 5)],
    "lost create": [create("a", 0, 1), none(2, 3)],
    "deleted comes back": [create("a", 0, 1), delete(2, 3), sync("a", 0, 4, 5)],
    "a value that nobody wrote": [create("a", 0, 1), sync("x", 0, 2, 3)],
    "reads go back": [create("a", 0, 1), put("b", 2, 9, 1), sync("b", 1, 3, 4), sync("a", 0, 5, 6)],
    "seen before it was asked for": [create("a", 0, 1), sync("b", 1, 2, 3), put("b", 4, 5, 1)],
    "refused, and yet seen": [create("a", 0, 1), put("b", 2, 3, r="fail", ver=7, e="BadVersion"), sync("b", 1, 4, 5)],
    "both of two that exclude each other": [create("a", 0, 1), put("b", 2, 9, 1, ver=0), put("c", 2, 9, 1, ver=0)],
    "created twice": [create("a", 0, 1), create("b", 2, 3)],
    "refused without a reason": [create("a", 0, 1), delete(2, 3, "fail", e="NoNode")],
    "version skips": [create("a", 0, 1), put("b", 2, 3, 2)],
    "applied twice": [create("a", 0, 1), put("b", 2, None, r="unknown"), sync("b", 1, 4, 5), sync("b", 2, 6, 7)],
    "unknown, seen, and gone again": [create("a", 0, 1), put("b", 2, None, r="unknown"), sync("b", 1, 4, 5), sync("a", 0, 6, 7)],
    "deleted by nobody": [create("a", 0, 1), none(2, 3), sync("a", 0, 4, 5)],
    "an unknown write before it began": [create("a", 0, 1), sync("b", 1, 2, 3), put("b", 4, None, r="unknown")],
}


@pytest.mark.parametrize("name", GOOD)
def test_accepts(name):
    for order in itertools.islice(itertools.permutations(GOOD[name]), 24):
        assert linear.linearize(list(order)) is None


@pytest.mark.parametrize("name", BAD)
def test_refuses(name):
    for order in itertools.islice(itertools.permutations(BAD[name]), 24):
        assert linear.linearize(list(order)) is not None


def simulate(rng, clients, count, unknown):
    """A legal history: operations take effect at a random moment inside their span; some are never answered, or never happen."""
    events, t = [], 0.0
    for n in range(count):
        t += rng.random()
        c = n % clients
        t0, at = t, t + rng.random() * clients
        events.append((at, t0, at + rng.random(), c, n))
    state, out = None, []
    for at, t0, t1, c, n in sorted(events):
        o = op(rng.choice(["create", "set", "set", "set", "delete", "sync", "sync"]), t0, t1, c=c, v=f"v{n}")
        o["ver"] = rng.choice([-1, -1, state[1] if state else 0, 3])
        lost = rng.random() < unknown and o["f"] != "sync"
        if lost and rng.random() < 0.5:
            out.append(dict(o, r="unknown", t1=None))
            continue
        if o["f"] == "sync":
            o.update({"r": "fail", "e": "NoNode"} if state is None else {"got": state[0], "st": (1, 1, state[1])})
        elif o["f"] == "create":
            if state is None:
                state = (o["v"], 0)
            else:
                o.update(r="fail", e="NodeExists")
        elif state is None:
            o.update(r="fail", e="NoNode")
        elif o["ver"] not in (-1, state[1]):
            o.update(r="fail", e="BadVersion")
        elif o["f"] == "delete":
            state = None
        else:
            state = (o["v"], state[1] + 1)
            o["st"] = (1, 1, state[1])
        out.append(dict(o, r="unknown", t1=None, e=None, st=None) if lost else o)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_legal_histories_pass_and_broken_ones_do_not(seed):
    rng = random.Random(seed)
    history = simulate(rng, clients=5, count=100, unknown=0.1)
    assert linear.linearize(history) is None
    reads = [o for o in history if o["f"] == "sync" and o["r"] == "ok"]
    old, new = sorted(rng.sample(reads, 2), key=lambda o: o["t0"])
    if old["got"] != new["got"]:  # the later one shows a state that was over, or was not yet
        at = history.index(new)
        stale = dict(new, got=old["got"], st=(1, 1, new["st"][2] + 7))
        assert linear.linearize(history[:at] + [stale] + history[at + 1:], budget=20000) is not None


def test_gives_up_loudly():
    history = simulate(random.Random(1), clients=6, count=100, unknown=0.1)
    assert "undecided" in linear.linearize(history, budget=20)


# ---- the other checks ----


def wrote(z, t0, t1, c="a", k="/k", f="set"):
    return op(f, t0, t1, c=c, k=k, st=(1, z, 1), v="x", ver=-1)


def read(z, t0, t1, c="a", k="/k", f="read"):
    return op(f, t0, t1, c=c, k=k, got="x", st=(1, z, 1))


def test_zxid_order():
    assert not list(linear.check_zxid_order([wrote(5, 0, 1), wrote(4, 0, 2, k="/l"), wrote(6, 3, 4)]))
    assert len(list(linear.check_zxid_order([wrote(5, 0, 1), wrote(4, 2, 3, k="/l")]))) == 1
    assert len(list(linear.check_zxid_order([wrote(5, 0, 1), wrote(5, 0, 1, k="/l")]))) == 1


def test_sessions():
    def found(*records):
        return len(list(linear.check_sessions(list(records))))

    assert found(wrote(5, 0, 1, "b"), read(5, 2, 3), read(5, 4, 5), wrote(6, 6, 7)) == 0
    assert found(wrote(5, 0, 1, "b"), wrote(7, 2, 3, "b"), read(5, 4, 5), read(7, 4, 5, "c")) == 0  # stale is allowed
    assert found(wrote(5, 0, 1, "b"), wrote(7, 2, 3, "b"), read(7, 4, 5), read(5, 6, 7)) == 1  # going back is not
    assert found(wrote(5, 0, 1, "b"), wrote(7, 2, 3, "b"), wrote(8, 4, 5, k="/l"), read(5, 6, 7)) == 1  # nor behind its own write
    assert found(read(9, 0, 1), wrote(8, 2, 3)) == 1
    assert found(op("read", 0, 1, got="x", st=(9, 8, 0))) == 1


def seq(n, t0, t1, c="a"):
    return op("seq", t0, t1, c=c, k="/q", got=f"/q/n{n:010}")


def test_sequential():
    assert not list(linear.check_sequential([seq(0, 0, 2), seq(2, 1, 2), seq(1, 1, 3), seq(7, 4, 5)]))
    assert list(linear.check_sequential([seq(3, 0, 1), seq(3, 0, 1, "b")]))
    assert list(linear.check_sequential([seq(3, 0, 1), seq(2, 2, 3)]))


def node(data="", owner=0, children=0, **more):
    return (data, {"ephemeralOwner": owner, "numChildren": children, "children": children, "cversion": children, "version": 0, **more})


TREE = {"/log": node(children=1), "/log/1": node("v1"), "/e": node(owner=7), "/p1": node(), "/p2": node(), "/q": node(children=1),
        "/q/n0000000000": node()}


def final(*records, tree=None, live=(7,)):
    return list(linear.check_final(list(records), TREE if tree is None else tree, set(live)))


def test_final():
    kept = op("add", 0, 1, k="/log/1", v="v1")
    assert not final(kept, op("add", 0, None, "unknown", k="/log/2", v="v2"), op("pair", 0, 1, k="/p1", v="/p2"), seq(0, 0, 1),
                     dict(op("ephemeral", 0, 1, k="/e"), s=7), op("pair", 0, None, "unknown", k="/r1", v="/r2"))
    assert "lost" in final(op("add", 0, 1, k="/log/3", v="v3"))[0]
    assert "wrong value" in final(op("add", 0, None, "unknown", k="/log/1", v="other"))[0]
    assert "refused" in final(op("add", 0, 1, "fail", k="/log/1", v="v1"))[0]
    assert "lost" in final(seq(5, 0, 1))[0]
    assert "half" in final(op("pair", 0, None, "unknown", k="/p1", v="/r2"))[0]
    assert "lost" in final(op("pair", 0, 1, k="/r1", v="/r2"))[0]
    assert "gone" in final(dict(op("ephemeral", 0, 1, k="/f"), s=7))[0]
    assert not final(dict(op("ephemeral", 0, 1, k="/f"), s=8))
    assert "outlived" in final(live=())[0]
    assert "says 3 children" in final(tree={"/x": node(numChildren=3)})[0]
    assert "cversion" in final(kept, tree={"/log": node(children=1, cversion=2), "/log/1": node("v1")})[0]


def test_sightings_and_expiries():
    closed = op("close", 0, 5, k="/e")
    assert not list(linear.check_sightings([closed, op("seen", 4, 6, k="/e", got=True), op("seen", 7, 8, k="/e", got=False)]))
    assert list(linear.check_sightings([closed, op("seen", 6, 7, k="/e", got=True)]))
    assert not list(linear.check_expiries([op("expired", 0, 4.2, v=4)], 0.5))
    assert list(linear.check_expiries([op("expired", 0, 3.2, v=4)], 0.5))


def test_compare_trees():
    assert not list(linear.compare_trees({"1": TREE, "2": dict(TREE)}))
    assert list(linear.compare_trees({"1": TREE, "2": {**TREE, "/more": node()}}))
    assert list(linear.compare_trees({"1": TREE, "2": dict(TREE), "3": {**TREE, "/p1": node(cversion=4)}}))
