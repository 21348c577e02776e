"""The writer (src/sync) and the table's feed (src/discovery) against Apache's server: reconciling, restarts, hand-over, outages."""
import contextlib
import json
import pathlib
import signal
import subprocess
import threading

import pytest
from kazoo.client import KazooClient

import apache as apache_server
from skipping import skip_loudly
from zkserver import eventually

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "kube"
KINDS = {"Namespace": "namespaces", "Service": "services", "EndpointSlice": "endpointslices"}
ALL_KINDS = {**KINDS, "Pod": "pods"}
BASE = "/quoll/registry/test"
MARK = b'{"managedBy":"quoll-sync","schema":1}'


@pytest.fixture(scope="module")
def server():
    why = apache_server.available()
    if why:
        skip_loudly(why)
    with apache_server.ApacheServer() as a:
        yield a


@pytest.fixture
def zk(server):
    client = KazooClient(server.address, timeout=20)
    client.start(timeout=30)
    if client.exists(BASE):
        client.delete(BASE, recursive=True)
    yield client
    client.stop()
    client.close()


class Writer:
    def __init__(self, build_dir, server, *options):
        self.args = [str(build_dir / "tests" / "integration" / "sync_driver"), server.address, "test", *options]
        self.process = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, verb, **rest):
        self.process.stdin.write(json.dumps({"do": verb, **rest}) + "\n")
        self.process.stdin.flush()

    def ask(self, verb):
        self.tell(verb)
        return json.loads(self.process.stdout.readline())

    def feed(self, kinds=KINDS, sync=True):
        """Everything that the recorded cluster has."""
        for kind in kinds:
            for obj in recorded(kind):
                self.tell("upsert", kind=kind, object=obj)
            if sync:
                self.tell("synced", kind=kind)
        return self

    def in_step(self):
        return eventually(lambda: (s := self.ask("stats"))["in_step"] and s, what="writer in step")

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.stdin.close()
            rc = self.process.wait(timeout=20)
            if exc[0] is None:
                assert rc == 0, "everything closed and freed"


@pytest.fixture
def start(build_dir, server):
    return lambda *options: Writer(build_dir, server, *options)


def recorded(kind):
    return json.loads((FIXTURES / f"{ALL_KINDS[kind]}.list.json").read_text())["items"]


def tree(zk, path=BASE):
    """Relative path -> (data, version) of everything but the lock."""
    found = {}
    for name in zk.get_children(path):
        if name == ".leader":
            continue
        data, stat = zk.get(f"{path}/{name}")
        found[f"{path}/{name}"[len(BASE) + 1:]] = (data, stat.version)
        found.update(tree(zk, f"{path}/{name}"))
    return found


def service(name, ns="shop", **spec):
    return {"metadata": {"name": name, "namespace": ns}, "spec": {"ports": [{"port": 80}], **spec}}


def slice_of(service_name, name, *addresses, ns="shop"):
    return {"metadata": {"name": name, "namespace": ns, "labels": {"kubernetes.io/service-name": service_name}},
            "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": [a]} for a in addresses]}


def test_everything_recorded_is_stored(zk, start):
    with start() as w:
        s = w.feed().in_step()
        assert (s["leading"], s["epoch"], s["errors"], s["problems"]) == (True, 1, 0, [])
        have = tree(zk)
        names = {obj["metadata"]["name"] for obj in recorded("Namespace")}
        assert {p for p in have if p.count("/") == 0} == names
        assert {p for p in have if p.count("/") == 1} == {
            f"{o['metadata']['namespace']}/{o['metadata']['name']}" for o in recorded("Service")}
        assert {p for p in have if p.count("/") == 2} == {
            "{namespace}/{service}/{name}".format(service=o["metadata"]["labels"]["kubernetes.io/service-name"], **o["metadata"])
            for o in recorded("EndpointSlice")}
        assert all(version == 0 for _, version in have.values()), "every node is written once"
        assert have["shop"][0] == MARK
        mine = json.loads(have["default/my-service"][0])
        assert [(p["name"], p["port"]) for p in mine["ports"]] == [("http", 80), ("metrics", 9090)]
        assert mine["labels"] == {"team": "core"} and "annotations" not in mine
        # A reader on the same connection has the same.
        seen = w.ask("services")
        assert seen["synced"] and not seen["stale"]
        assert {f"{x['namespace']}/{x['name']}" for x in seen["services"]} == {p for p in have if p.count("/") == 1}
        assert next(x for x in seen["services"] if x["name"] == "my-service")["readyEndpoints"] == 3
        assert seen["notified"] < seen["generation"], "listeners are called once for many changes"


def test_restart_writes_nothing(zk, start):
    with start() as w:
        w.feed().in_step()
        before = tree(zk)
    with start() as w:
        s = w.feed().in_step()
        assert s["writes"] == 0 and s["epoch"] == 2
    assert tree(zk) == before


def test_nothing_goes_before_every_kind_is_known(zk, start):
    with start() as w:
        w.feed().in_step()
    full = tree(zk)
    with start() as w:
        w.feed(["Namespace", "EndpointSlice"])
        w.tell("upsert", kind="Service", object=service("fresh", type="ExternalName", externalName="fresh.example.net"))
        eventually(lambda: zk.exists(f"{BASE}/shop/fresh"), what="an addition, which need not wait")
        assert {p: v for p, v in tree(zk).items() if p != "shop/fresh"} == full
        w.tell("synced", kind="Service")
        w.in_step()
        assert {p for p in tree(zk) if p.count("/") == 1} == {"shop/fresh"}, "now everything else is known to be gone"


def test_changes_follow(zk, start):
    with start() as w:
        w.feed().in_step()
        w.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.9"))
        w.tell("upsert", kind="EndpointSlice", object=slice_of("web", "web-a", "10.0.0.1"))
        w.tell("upsert", kind="EndpointSlice", object=slice_of("later", "later-a", "10.0.0.2"))
        s = w.in_step()
        assert "shop/web/web-a" in tree(zk) and not zk.exists(f"{BASE}/shop/later"), "no slice without its Service"
        assert s["max_lag_ms"] < 5000
        w.tell("upsert", kind="Service", object=service("later", clusterIP="None"))
        w.in_step()
        assert "shop/later/later-a" in tree(zk)
        w.tell("upsert", kind="EndpointSlice", object=slice_of("web", "web-a", "10.0.0.1", "10.0.0.3"))
        w.in_step()
        assert tree(zk)["shop/web/web-a"][1] == 1
        w.tell("upsert", kind="EndpointSlice", object=slice_of("later", "web-a", "10.0.0.1"))  # moved to another Service
        w.in_step()
        assert "shop/later/web-a" in tree(zk) and "shop/web/web-a" not in tree(zk)
        w.tell("delete", kind="Service", ns="shop", name="later")
        w.in_step()
        assert not [p for p in tree(zk) if p.startswith("shop/later")]
        w.tell("upsert", kind="Namespace", object={"metadata": {"name": "empty"}})
        w.in_step()
        assert tree(zk)["empty"][0] == MARK
        w.tell("delete", kind="Namespace", ns="", name="empty")
        w.in_step()
        assert "empty" not in tree(zk)


def test_malformed_objects_are_reported_and_left(zk, start):
    with start() as w:
        w.feed().in_step()
        w.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.9"))
        w.in_step()
        before = tree(zk)
        w.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.999"))
        s = w.in_step()
        assert s["skipped"] == 1 and s["problems"] == ["Service shop/web is skipped: spec.clusterIP: not an IP address"]
        assert tree(zk) == before
    with start() as w:  # also across a restart: what cannot be read is not gone
        w.feed(["Namespace", "EndpointSlice"])
        for obj in recorded("Service"):
            w.tell("upsert", kind="Service", object=obj)
        w.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.999"))
        w.tell("synced", kind="Service")
        w.in_step()
        assert tree(zk) == before
        w.tell("delete", kind="Service", ns="shop", name="web")
        w.in_step()
        assert "shop/web" not in tree(zk)


def test_damage_by_others_is_repaired_and_theirs_is_left(zk, start):
    with start() as w:
        w.feed().in_step()
        before = {p: data for p, (data, _) in tree(zk).items()}
        slice_path = next(p for p in before if p.startswith("default/my-service/"))
        zk.delete(f"{BASE}/{slice_path}")
        zk.set(f"{BASE}/default/my-service", b"vandals")
        zk.delete(f"{BASE}/shop/db", recursive=True)
        eventually(lambda: {p: data for p, (data, _) in tree(zk).items()} == before, what="repair")
        # Fields that others add stay, over our own changes too.
        added = {**json.loads(before["shop/cart"]), "x-owner": "me"}
        zk.set(f"{BASE}/shop/cart", json.dumps(added).encode())
        cart = next(o for o in recorded("Service") if o["metadata"]["name"] == "cart")
        cart["spec"]["ports"][0]["port"] = 8181
        w.tell("upsert", kind="Service", object=cart)
        eventually(lambda: (d := json.loads(zk.get(f"{BASE}/shop/cart")[0]))["ports"][0]["port"] == 8181 and d["x-owner"] == "me",
                   what="both changes")
        # Nodes of others stay, even below what goes.
        zk.create(f"{BASE}/shop/hand", b'{"schema":1,"type":"ExternalName","externalName":"a.example"}')
        zk.create(f"{BASE}/shop/cart/extra", b"theirs")
        zk.create(f"{BASE}/strange", b"not ours")
        w.tell("delete", kind="Service", ns="shop", name="cart")
        eventually(lambda: zk.get(f"{BASE}/shop/cart")[0] == b"", what="the service emptied")
        w.in_step()
        have = tree(zk)
        assert "shop/hand" in have and have["shop/cart/extra"][0] == b"theirs" and "strange" in have
        assert not [p for p in have if p.startswith("shop/cart/") and p != "shop/cart/extra"]
        zk.delete(f"{BASE}/shop/cart/extra")
        eventually(lambda: not zk.exists(f"{BASE}/shop/cart"), what="the empty parent to go")
    with start() as w:
        w.feed()
        w.tell("delete", kind="Service", ns="shop", name="cart")
        w.in_step()
        assert "shop/hand" in tree(zk) and "strange" in tree(zk), "a restart leaves them too"


def test_a_service_that_another_manages_is_left_alone(zk, start):
    zk.create(f"{BASE}/shop/web", b'{"schema":1,"managedBy":"acme","clusterIPs":["10.9.9.9"]}', makepath=True)
    with start() as w:
        w.feed()
        w.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.9"))
        w.tell("upsert", kind="EndpointSlice", object=slice_of("web", "web-a", "10.0.0.1"))
        s = w.in_step()
        assert "shop/web is left alone: it is managed by acme" in s["problems"]
        have = tree(zk)
        assert b"acme" in have["shop/web"][0] and "shop/web/web-a" not in have


def test_second_writer_takes_over(zk, start):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(start())
        first.feed().in_step()  # before the other stands for election
        second = stack.enter_context(start()).feed()
        eventually(lambda: second.ask("stats")["kinds_synced"], what="the standby knows all")
        assert not second.ask("stats")["leading"]
        before = tree(zk)
        first.kill9()
        second.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.9"))
        s = second.in_step()
        assert s["epoch"] == 2 and s["writes"] == 1, "only the one thing that is new"
        after = tree(zk)
        assert after.pop("shop/web") and after == before


def test_killed_again_and_again_withdraws_nothing(zk, start):
    """Writers that are killed at any moment, most of them before they know everything: readers never miss a node."""
    with start() as w:
        w.feed().in_step()
    full = set(tree(zk))
    gone, rounds, stop = [], [], threading.Event()

    def read():
        while not stop.is_set():
            gone.extend(p for p in full if not zk.exists(f"{BASE}/{p}"))
            rounds.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for part in [["Namespace"], ["Service", "EndpointSlice"], list(KINDS)]:
            w = start().feed(part)
            eventually(lambda: w.ask("stats")["leading"], 30, "leadership")
            w.tell("upsert", kind="Service", object=service(f"new-{len(part)}", clusterIP="10.96.9.9"))
            eventually(lambda: zk.exists(f"{BASE}/shop/new-{len(part)}"), what="a sign of life")
            w.kill9()
    finally:
        stop.set()
        reader.join(timeout=60)
    assert not gone and len(rounds) > 10
    assert full <= set(tree(zk))


def pod(name, *ips, ns="shop", phase="Running"):
    return {"metadata": {"name": name, "namespace": ns}, "status": {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]}}


def test_pods_are_stored_when_asked_for(zk, start):
    with start() as w:
        w.feed(ALL_KINDS).in_step()
        without = tree(zk)
        assert ".pods" not in without
    with start("pods") as w:
        s = w.feed(ALL_KINDS).in_step()
        have = tree(zk)
        pods = {p: data for p, (data, _) in have.items() if p.startswith(".pods")}
        assert s["pods"] == 10 and s["writes"] == len(pods), "nothing else is written again"
        assert {p: v for p, v in have.items() if p not in pods} == without
        assert {p for p in pods if p.count("/") < 2} == {".pods", ".pods/default", ".pods/shop"}
        assert pods[".pods"] == pods[".pods/shop"] == MARK
        assert pods[".pods/shop/db-0"] == b'{"ips":["10.1.1.10"],"managedBy":"quoll-sync","schema":1}'
        assert {p for p in pods if p.count("/") == 2} == {
            ".pods/{namespace}/{name}".format(**o["metadata"]) for o in recorded("Pod")}
        # Changes: a Pod without an address, one that gets another, one that ends, the last of a namespace.
        w.tell("upsert", kind="Pod", object=pod("fresh", ns="other", phase="Pending"))
        w.in_step()
        assert ".pods/other" not in tree(zk)
        w.tell("upsert", kind="Pod", object=pod("fresh", "10.1.9.9", "fd00::9", ns="other"))
        w.tell("upsert", kind="Pod", object=pod("cart-0", phase="Succeeded"))
        w.in_step()
        have = tree(zk)
        assert json.loads(have[".pods/other/fresh"][0])["ips"] == ["10.1.9.9", "fd00::9"] and ".pods/shop/cart-0" not in have
        assert "other" not in have, "Pods make no namespace"
        w.tell("upsert", kind="Pod", object=pod("fresh", "bad", ns="other"))
        s = w.in_step()
        assert s["problems"] == ["Pod other/fresh is skipped: status.podIPs: not an IP address"]
        assert ".pods/other/fresh" in tree(zk), "what cannot be read stands"
        w.tell("delete", kind="Pod", ns="other", name="fresh")
        w.in_step()
        assert ".pods/other" not in tree(zk)
        # Damage is repaired, and others' nodes are left.
        zk.delete(f"{BASE}/.pods/shop/db-1")
        zk.create(f"{BASE}/.pods/shop/hand", b'{"schema":1,"ips":["192.0.2.1"]}')
        eventually(lambda: zk.exists(f"{BASE}/.pods/shop/db-1"), what="the repair")
        w.in_step()
    before = tree(zk)
    with start("pods") as w:
        assert w.feed(ALL_KINDS).tell("delete", kind="Pod", ns="shop", name="cart-0") is None
        w.in_step()
        assert {p: data for p, (data, _) in tree(zk).items()} == {p: data for p, (data, _) in before.items()}


def test_pods_wait_for_their_own_list_alone(zk, start):
    with start("pods") as w:
        w.feed(ALL_KINDS).in_step()
    full = tree(zk)
    with start("pods") as w:  # a role that may not list Pods
        w.feed()
        w.tell("delete", kind="Service", ns="shop", name="cart")
        eventually(lambda: not zk.exists(f"{BASE}/shop/cart"), what="the removal of a Service")
        assert not w.ask("stats")["kinds_synced"]
        assert {p for p in tree(zk) if p.startswith(".pods")} == {p for p in full if p.startswith(".pods")}
        w.tell("upsert", kind="Pod", object=next(o for o in recorded("Pod") if o["metadata"]["name"] == "db-0"))
        w.tell("synced", kind="Pod")
        w.in_step()
        assert {p for p in tree(zk) if p.startswith(".pods")} == {".pods", ".pods/shop", ".pods/shop/db-0"}
    with start() as w:  # a writer that is not asked for Pods does not touch them
        w.feed(ALL_KINDS).in_step()
        assert {p for p in tree(zk) if p.startswith(".pods")} == {".pods", ".pods/shop", ".pods/shop/db-0"}


def test_deposed_writer_cannot_write(zk, start):
    """Somebody claims the epoch behind the leader's back: its next multi fails whole, and it has to stand again."""
    with start() as w:
        w.feed().in_step()
        zk.set(f"{BASE}/.leader", b'{"epoch":41}')
        w.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.9"))
        s = eventually(lambda: (s := w.ask("stats"))["in_step"] and s["epoch"] == 42 and s, what="another term")
        assert "shop/web" in tree(zk) and s["errors"] == 1


def test_paused_leader_is_fenced(zk, start):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(start())
        first.feed().in_step()
        second = stack.enter_context(start()).feed()
        first.process.send_signal(signal.SIGSTOP)
        try:
            # The server ends the session of the one that sleeps (4 s), and the other takes over.
            eventually(lambda: second.ask("stats")["leading"], 30, "take-over")
            second.tell("upsert", kind="Service", object=service("web", clusterIP="10.96.9.9"))
            second.in_step()
            first.tell("upsert", kind="Service", object=service("stale", clusterIP="10.96.9.8"))
        finally:
            first.process.send_signal(signal.SIGCONT)
        eventually(lambda: not first.ask("stats")["leading"], 30, "the deposed one to notice")
        assert not zk.exists(f"{BASE}/shop/stale") and zk.exists(f"{BASE}/shop/web")


def test_server_restarts_in_the_middle(zk, start, server):
    with start() as w:
        w.feed().in_step()
        before = tree(zk)
        server.kill9()
        for i in range(300):
            w.tell("upsert", kind="Service", object=service(f"s{i}", clusterIP=f"10.97.{i // 250}.{i % 250 + 1}"))
        eventually(lambda: w.ask("services")["stale"], what="the reader to notice")
        assert len(w.ask("services")["services"]) == len(recorded("Service")), "and to answer on"
        server.start()
        s = eventually(lambda: (s := w.ask("stats"))["in_step"] and s["writes"] >= 300 and s, 60, "the writer to catch up")
        eventually(lambda: zk.connected, 30, "kazoo")
        after = tree(zk)
        assert {p: v for p, v in after.items() if p in before} == before, "nothing else was touched"
        assert len(after) == len(before) + 300
        assert s["batches"] < 60, "in batches"
        eventually(lambda: len((r := w.ask("services"))["services"]) == len(recorded("Service")) + 300 and not r["stale"],
                   what="the reader to catch up")
