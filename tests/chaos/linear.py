"""Is a history one that a linearizable register, a sequentially consistent session and a durable log can have?

Pure: records in, findings (texts) out. A record is a dict; the writers of them are worker.py, ChaosClient.java and stayer.py.

  c     client, which does one thing at a time        s     its session
  f     create, set, delete: writes; sync: a sync and a read after it; read: a read alone
  k     the node's path                               v     the value written (every write has its own)
  ver   the version that set and delete expect, or -1
  t0,t1 invocation and response, seconds on one monotonic clock; t1 is None when there was no response
  r     ok; fail: refused for the reason e, nothing changed; unknown: it may have happened, then or any time later
  e     NoNode, NodeExists, BadVersion or another reason
  got   the value read                                st    (czxid, mzxid, version) of the reply

Linearizability is decided per node, which is enough because it composes. The search is Wing and Gong's with Lowe's memory of
configurations (Testing for linearizability, 2016). Zxids are no part of it; zxid_order and sessions check them on their own.
"""
import collections
import math

UNBOUND = math.inf
BUDGET = 2_000_000  # configurations per node, after which the search gives up, and says so
WRITES = ("create", "set", "delete")


# ---- the model: one node. State: None, or (value, version) ----


def step(state, op):
    """(possible, state after). The value of a write that nobody ever saw is forgotten: it makes no difference."""
    f, r, e = op["f"], op["r"], op.get("e")
    if f in ("sync", "read"):
        if r == "fail":
            return e == "NoNode" and state is None, state
        return state is not None and (op["got"], op["st"][2]) == state, state
    if f == "create":
        if state is not None:
            return r == "fail" and e == "NodeExists", state
        return r != "fail", (op["sees"], 0)
    if state is None:
        return r == "fail" and e == "NoNode", state
    if op["ver"] not in (-1, state[1]):
        return r == "fail" and e == "BadVersion", state
    if r == "fail":
        return False, state
    if f == "delete":
        return True, None
    after = (op["sees"], state[1] + 1)
    if r == "ok" and op.get("st") and op["st"][2] != after[1]:
        return False, state
    return True, after


def prepare(ops):
    """Drops what says nothing, and finds out which written values anybody ever saw, and as which version."""
    refusals = ("NoNode", "NodeExists", "BadVersion")
    ops = [o for o in ops if o["r"] == "ok" or (o["r"] == "fail" and o.get("e") in refusals)
           or (o["r"] == "unknown" and o["f"] in WRITES)]
    seen = {}
    for o in ops:
        if o["f"] in ("sync", "read") and o["r"] == "ok":
            seen.setdefault(o["got"], set()).add(o["st"][2])
        elif o["f"] in ("set", "create") and o["r"] == "ok":
            seen.setdefault(o["v"], set())
    out = []
    for o in ops:
        o = dict(o, sees=o.get("v") if o.get("v") in seen else "?")
        o["as"] = seen.get(o.get("v"), set()) if o["r"] == "unknown" and o["f"] in WRITES else None
        out.append(o)
    return sorted(out, key=lambda o: o["t0"])


def candidates(known, low, done, maybe, tried):
    """What may come next, as (index, whether its outcome is known): what was invoked before the first response among all that
    is left. Known ones first; of those whose outcome and value nobody knows, and that are alike, only the oldest."""
    first, out = UNBOUND, []
    for i in range(low, len(known)):
        o = known[i]
        if o["t0"] > first:
            break
        if not done >> i & 1:
            first = min(first, o["t1"])
            out.append(i)
    out = [(i, True) for i in out if known[i]["t0"] <= first]
    alike = set()
    for seen in (True, False):
        for i, o in enumerate(maybe):
            if tried >> i & 1 or bool(o["as"]) != seen or o["t0"] > first:
                continue
            kind = (o["f"], o.get("ver", -1))
            if kind in alike:
                continue
            out.append((i, False))
            if not seen:
                alike.add(kind)
    return out


def linearize(records, budget=BUDGET):
    """None when the records of one node have a legal order, else what to say about it."""
    ops = prepare(records)
    known = [o for o in ops if o["r"] != "unknown"]
    maybe = [o for o in ops if o["r"] == "unknown"]
    start = (0, 0, None)  # the known ones done, the others done, the node's state
    memo, stack, best = {start}, [(start, 0, iter(candidates(known, 0, 0, maybe, 0)))], start
    while stack:
        (done, tried, state), low, left = stack[-1]
        if done == (1 << len(known)) - 1:
            return None
        for i, sure in left:
            o = known[i] if sure else maybe[i]
            ok, after = step(state, o)
            if not ok or (o["as"] and after[1] not in o["as"]):
                continue  # impossible; or it was seen, but as another version
            now = (done | 1 << i, tried, after) if sure else (done, tried | 1 << i, after)
            if now in memo:
                continue
            memo.add(now)
            if len(memo) > budget:
                return f"undecided after {budget} configurations of {len(ops)} operations"
            if now[0].bit_count() > best[0].bit_count():
                best = now
            at = low
            while now[0] >> at & 1:
                at += 1
            stack.append((now, at, iter(candidates(known, at, now[0], maybe, now[1]))))
            break
        else:
            stack.pop()
    return "no legal order; at best " + explain(known, best[0], best[2], len(maybe))


def explain(known, done, state, maybe):
    left = [o for i, o in enumerate(known) if not done >> i & 1]
    last = [o for i, o in enumerate(known) if done >> i & 1][-3:]
    return (f"{len(known) - len(left)} of {len(known)} (and any of {maybe} unknown), to state {state}, after {[brief(o) for o in last]}; "
            f"then {[brief(o) for o in left[:4]]}")


def brief(o):
    out = "?" if o["t1"] is None else f"{o['t1']:.4f}"
    return (f"{o['c']} {o['f']} {o['k']} v={o.get('v')} ver={o.get('ver')} [{o['t0']:.4f},{out}] {o['r']} {o.get('e') or ''} "
            f"got={o.get('got')} st={o.get('st')}")


# ---- checks of whole histories: each yields texts ----


def check_linearizable(records, budget=BUDGET):
    by_key = collections.defaultdict(list)
    for o in records:
        if o["f"] in WRITES + ("sync",):
            by_key[o["k"]].append(o)
    for k, ops in by_key.items():
        text = linearize(ops, budget)
        if text:
            yield f"not linearizable: {k}: {text}"


def check_zxid_order(records):
    """A write answered before another was asked for has the lower zxid, over all nodes."""
    writes = [(o["t0"], o["t1"], o["st"][1], o) for o in records
              if o["f"] in ("create", "set") and o["r"] == "ok" and o.get("st")]
    seen = {}
    for _, _, z, o in writes:
        if z in seen:
            yield f"two writes with zxid {z:#x}: {brief(seen[z])}; {brief(o)}"
        seen[z] = o
    answered = sorted(writes, key=lambda w: w[1])
    highest, n = None, 0
    for t0, _, z, o in sorted(writes, key=lambda w: w[0]):
        while n < len(answered) and answered[n][1] < t0:
            if highest is None or answered[n][2] > highest[2]:
                highest = answered[n]
            n += 1
        if highest and highest[2] > z:
            yield f"zxid against time: {brief(highest[3])} was answered before {brief(o)}"


def check_sessions(records):
    """Each client (one after the other) sees a state that never goes back: not its own node's, nor behind any zxid it saw."""
    changes = collections.defaultdict(set)  # path -> zxids known to have changed it
    for o in records:
        if o["r"] == "ok" and o.get("st"):
            changes[o["k"]].update((o["st"][0], o["st"][1]))
    order = {k: sorted(z) for k, z in changes.items()}
    highest = {}
    for o in sorted((o for o in records if o["r"] == "ok" and o.get("st")), key=lambda o: o["t1"]):
        czxid, mzxid = o["st"][:2]
        if mzxid < czxid:
            yield f"mzxid below czxid: {brief(o)}"
        z, by = highest.get(o["c"], (0, None))
        if o["f"] in ("read", "sync"):
            missed = [x for x in order[o["k"]] if mzxid < x <= z]
            if missed:
                yield f"a read behind what its client had seen ({brief(by)}): zxid {missed[0]:#x} is missed by {brief(o)}"
        if o["f"] in ("create", "set") and mzxid <= z:
            yield f"a write with a zxid that its client had seen already ({brief(by)}): {brief(o)}"
        if mzxid > z:
            highest[o["c"]] = (mzxid, o)


def check_sequential(records):
    """records of f == "seq": got is the name. No name twice; numbers follow real time."""
    made = [o for o in records if o["f"] == "seq" and o["r"] == "ok"]
    seen = {}
    for o in made:
        if o["got"] in seen:
            yield f"sequential name {o['got']} given twice: {seen[o['got']]['c']}, {o['c']}"
        seen[o["got"]] = o
    answered = sorted(made, key=lambda o: o["t1"])
    highest, n = None, 0
    for o in sorted(made, key=lambda o: o["t0"]):
        while n < len(answered) and answered[n]["t1"] < o["t0"]:
            if highest is None or number(answered[n]) > number(highest):
                highest = answered[n]
            n += 1
        if highest and number(highest) >= number(o):
            yield f"sequential names against time: {highest['got']} was there before {o['got']} was asked for"


def number(o):
    return int(o["got"][-10:])


def check_final(records, tree, live):
    """tree: path -> (data, stat dict) at the end. live: sessions that must be alive; every other one must be gone."""
    only_adds = {o["k"].rsplit("/", 1)[0] for o in records if o["f"] in ("add", "seq")}
    for o in records:
        there = o["k"] in tree
        if o["f"] == "add" and o["r"] == "ok" and not there:
            yield f"acknowledged and lost: {o['k']} of {o['c']}, answered at {o['t1']:.3f}"
        elif o["f"] == "add" and there and tree[o["k"]][0] != o["v"]:
            yield f"wrong value at the end: {o['k']}: {tree[o['k']][0]!r}"
        elif o["f"] == "add" and o["r"] == "fail" and there:
            yield f"refused ({o.get('e')}), and there: {o['k']} of {o['c']}"
        elif o["f"] == "seq" and o["r"] == "ok" and o["got"] not in tree:
            yield f"acknowledged and lost: {o['got']} of {o['c']}"
        elif o["f"] == "pair":
            if there != (o["v"] in tree):
                yield f"half of a multi: {o['k']} and {o['v']}"
            elif o["r"] == "ok" and not there:
                yield f"acknowledged and lost: multi of {o['k']} and {o['v']}"
        elif o["f"] == "ephemeral" and o["r"] == "ok" and o["s"] in live and not there:
            yield f"ephemeral {o['k']} is gone, though its session {o['s']:#x} lives"
    for path, (_, stat) in tree.items():
        owner = stat["ephemeralOwner"]
        if owner and owner not in live:
            yield f"ephemeral {path} outlived its session {owner:#x}"
        if stat["numChildren"] != stat["children"]:
            yield f"{path} says {stat['numChildren']} children and has {stat['children']}"
        if path in only_adds and stat["cversion"] != stat["children"]:
            yield f"{path}: {stat['children']} children were made, none deleted, and cversion is {stat['cversion']}"


def check_sightings(records):
    """f == "seen": a sync and a look whether an ephemeral (k) is there. After its session's closing was answered it is not."""
    closed = {o["k"]: o["t1"] for o in records if o["f"] == "close" and o["r"] == "ok"}
    for o in records:
        if o["f"] == "seen" and o["r"] == "ok" and o["got"] and o["t0"] > closed.get(o["k"], UNBOUND):
            yield f"ephemeral {o['k']} seen {o['t0'] - closed[o['k']]:.3f} s after its session was closed"


def check_expiries(records, tick_s):
    """f == "expired": the session s ended; t0 is when it was last heard (the invocation of its last answered request), t1
    when its client was told, v its timeout in seconds."""
    for o in records:
        if o["f"] == "expired" and o["t1"] - o["t0"] < o["v"] - tick_s:
            yield f"session {o['s']:#x} of {o['c']} expired {o['t1'] - o['t0']:.2f} s after it was heard; its timeout is {o['v']} s"


def final_reads(records, tree, end):
    """The tree at the end, as one more read of every node that is a register."""
    for k in {o["k"] for o in records if o["f"] in WRITES}:
        o = {"c": "final", "s": 0, "f": "sync", "k": k, "t0": end, "t1": end + 1}
        if k in tree:
            st = tree[k][1]
            yield dict(o, r="ok", got=tree[k][0], st=(st["czxid"], st["mzxid"], st["version"]))
        else:
            yield dict(o, r="fail", e="NoNode")


def compare_trees(trees):
    """trees: name of a server -> path -> (data, stat dict). Every node and every field is the same everywhere."""
    names = list(trees)
    for name in names[1:]:
        a, b = trees[names[0]], trees[name]
        for path in sorted(a.keys() ^ b.keys())[:5]:
            yield f"{path} is only at server {names[0] if path in a else name} of {names[0]} and {name}"
        for path in [p for p in a if p in b and a[p] != b[p]][:5]:
            yield f"{path} differs: server {names[0]} has {a[path]}, server {name} has {b[path]}"


def check(records, tree, live, tick_s, end):
    """Everything. records: all; tree: of one server at the end; live: sessions that must be alive."""
    registers = [o for o in records if o["f"] in WRITES + ("sync", "read")]
    found = list(check_linearizable(registers + list(final_reads(registers, tree, end))))
    found += check_zxid_order(registers)
    found += check_sessions(registers)
    found += check_sequential(records)
    found += check_final(records, tree, live)
    found += check_sightings(records)
    found += check_expiries(records, tick_s)
    return found
