"""Lists and watches of the API source against recorded and made-up answers, good and bad."""
import json
import os
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

from kube_api import (ApiServer, Dump, b64, event, fixture, fixture_events, list_of, service, status,
                      write_kubeconfig)
from zkserver import eventually

FAST = ["backoff_min_ms=20", "backoff_max_ms=100"]
GONE = fixture_events("gone.watch.jsonl")[0]


@pytest.fixture
def api():
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def dumps():
    running = []
    yield running
    for dump in running:
        assert dump.close() == 0


@pytest.fixture
def watch(api, dumps, tmp_path):
    """Starts a source on the server; the server's answers must be in place."""
    def start(*options, cluster=None, user=None, server=None, env=None):
        config = write_kubeconfig(tmp_path / "config", server or api.url, cluster, user)
        dump = Dump("api", f"kubeconfig={config}", *FAST, *options, env=env)
        dumps.append(dump)
        return dump
    return start


def stream(*events, then=None):
    """A watch that sends these events, each a line, and then does `then` (default: stays open)."""
    def play(request):
        request.begin_stream()
        for line in events:
            request.chunk(line + b"\n")
        (then or type(request).hold)(request)
    return play


def end(request):
    request.end_stream()


def cut(request):
    request.cut()


def hold(request):
    request.hold()


def services(*names, rv=100):
    return lambda r: r.answer(list_of("Service", [service(n, 1) for n in names], rv))


def test_recorded_lists_and_watches(api, watch):
    api.on("services?watch", stream(*fixture_events("services.watch.jsonl"), then=end), stream())
    api.on("endpointslices?watch", stream(*fixture_events("endpointslices.watch.jsonl"), then=end), stream())
    dump = watch()
    dump.until_synced()
    again = api.wait_requests(2, "services", watch=True)[1]
    slices_again = api.wait_requests(2, "endpointslices", watch=True)[1]
    dump.until(lambda: dump.stats()["events"] == 5 + 8, "all events")

    # The recorded history: ratings came, edge went; the lists' other services stand.
    listed = {i["metadata"]["name"] for i in json.loads(fixture("services.list.json"))["items"]}
    assert set(dump.names("Service")) == (listed | {"ratings"}) - {"edge"}
    ports = dump.objects[("Service", "default", "my-service")]["spec"]["ports"]
    assert len(ports) == 1
    # Watches go on where the last event or bookmark was.
    for request, name in ((again, "services"), (slices_again, "endpointslices")):
        last = json.loads(fixture_events(f"{name}.watch.jsonl")[-1])["object"]["metadata"]["resourceVersion"]
        assert request.query["resourceVersion"] == last
    first = api.seen("services", watch=True)[0].query
    assert first["allowWatchBookmarks"] == "true" and 300 <= int(first["timeoutSeconds"]) <= 600
    assert first["resourceVersion"] == "301"
    # One shape for all: kind and apiVersion are there, managedFields are not.
    for (kind, _, _), obj in dump.objects.items():
        assert obj["kind"] == kind
        assert obj["apiVersion"] == ("discovery.k8s.io/v1" if kind == "EndpointSlice" else "v1")
        assert "managedFields" not in obj["metadata"]
    assert dump.problems() == []


def test_pods_when_asked_for(api, watch):
    recorded = json.loads(fixture("pods.list.json"))["items"]
    gone = json.dumps({"type": "DELETED", "object": recorded[0]}).encode()
    api.on("pods?watch", stream(gone))
    dump = watch("pods=1", "page_limit=7")
    dump.until(lambda: dump.synced.get("Pod"), "Pods to be synced")
    request = api.seen("pods", watch=False)[0]
    assert request.query == {"limit": "7", "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
    first = recorded[0]["metadata"]["name"]
    dump.until(lambda: not dump.has("Pod", recorded[0]["metadata"]["namespace"], first), "the deletion")
    assert set(dump.names("Pod")) == {i["metadata"]["name"] for i in recorded} - {first}
    for (kind, _, name), obj in dump.objects.items():
        if kind == "Pod":
            want = next(i for i in recorded if i["metadata"]["name"] == name)
            assert "spec" not in obj and "labels" not in obj["metadata"] and obj["status"]["podIP"] == want["status"]["podIP"]
    assert dump.stats()["synced"][3] is True


def test_pods_are_not_asked_for_by_themselves(api, watch):
    dump = watch()
    dump.until_synced()
    for resource in ("services", "endpointslices", "namespaces"):
        api.wait_requests(1, resource, watch=True)
    assert api.seen("pods") == [] and dump.stats()["synced"] == [True, True, True, False]


def test_history_as_a_watch(api, watch):
    api.on("services", lambda r: r.answer(fixture("gone.list.json")))
    api.on("services?watch", stream(*fixture_events("services.watch-from-1.jsonl")))
    dump = watch()
    want = {}
    for line in fixture_events("services.watch-from-1.jsonl"):
        ev = json.loads(line)
        name = ev["object"]["metadata"].get("name")
        want.pop(name, None) if ev["type"] == "DELETED" else name and want.update({name: 1})
    dump.until(lambda: dump.names("Service") == sorted(want), "the end of the history")
    assert dump.problems() == []


def test_pages(api, watch):
    whole = json.loads(fixture("endpointslices.list.json"))
    page1 = json.loads(fixture("endpointslices.page1.json"))
    first = {i["metadata"]["name"] for i in page1["items"]}
    rest = [i for i in whole["items"] if i["metadata"]["name"] not in first]
    assert first and rest
    api.on("endpointslices", lambda r: r.answer(page1),
           lambda r: r.answer(list_of("EndpointSlice", rest, 301)))
    dump = watch("page_limit=3")
    dump.until(lambda: dump.synced.get("EndpointSlice"), "slices to be synced")
    one, two = api.seen("endpointslices", watch=False)
    assert one.query["limit"] == "3" and "continue" not in one.query
    assert two.query["continue"] == page1["metadata"]["continue"]
    assert len(dump.names("EndpointSlice")) == len(whole["items"])
    assert dump.synced["EndpointSlice"] == 1


def test_expired_page_token_restarts_the_list(api, watch):
    api.on("services", lambda r: r.answer(list_of("Service", [service("a", 1)], 5, cont="tok")),
           lambda r: r.answer(status(410, "Expired"), 410), services("a", "b"))
    dump = watch()
    dump.until(lambda: dump.synced.get("Service"), "services to be synced")
    requests = api.seen("services", watch=False)
    assert [r.query.get("continue") for r in requests] == [None, "tok", None]
    assert dump.names("Service") == ["a", "b"] and dump.deletes() == []


def test_gone_relists_and_reports_only_differences(api, watch):
    api.on("services", services("a", "b", "c"), services("b", "c", "d", rv=200))
    api.on("services?watch", stream(GONE), stream())
    dump = watch()
    dump.until(lambda: dump.synced.get("Service") == 2, "the second list")
    assert dump.names("Service") == ["b", "c", "d"] and dump.deletes() == ["a"]
    upserts = [line["name"] for line in dump.log if line["call"] == "upsert" and line["kind"] == "Service"]
    assert upserts == ["a", "b", "c", "d"]
    assert dump.stats()["relists_gone"] == 1
    assert api.wait_requests(2, "services", watch=True)[1].query["resourceVersion"] == "200"


def test_gone_for_ever_is_no_storm(api, watch):
    api.on("services?watch", lambda r: r.answer(status(410, "Gone"), 410))
    dump = watch("backoff_min_ms=200", "backoff_max_ms=400")
    api.wait_requests(4, "services", watch=True)
    times = [r.time for r in api.seen("services", watch=True)][:4]
    assert times[3] - times[1] >= 0.4  # only the first relist comes at once
    assert dump.deletes() == []


def test_cut_in_the_middle_of_an_object(api, watch):
    line = event("ADDED", service("late", 150))

    def half(at):
        def play(request):
            request.begin_stream()
            request.chunk(event("ADDED", service("early", 120)) + b"\n")
            request.chunk(line[:at])
            request.cut()
        return play
    api.on("services", services("a"))
    api.on("services?watch", half(1), half(len(line) // 2), half(len(line) - 1), stream(line))
    dump = watch()
    dump.until(lambda: dump.has("Service", "default", "late"), "the event behind the cuts")
    watches = api.seen("services", watch=True)
    assert [r.query["resourceVersion"] for r in watches[:4]] == ["100", "120", "120", "120"]
    assert len(api.seen("services", watch=False)) == 1  # no list was needed
    assert dump.deletes() == []


def test_long_event_in_small_chunks(api, watch):
    big = service("big", 150)
    big["metadata"]["annotations"] = {"blob": "x{\\\"" * 400_000}
    line = event("ADDED", big) + b"\n"
    assert len(line) > 1 << 20

    def play(request):
        request.begin_stream()
        for i in range(0, len(line), 1777):
            request.chunk(line[i:i + 1777])
        request.hold()
    api.on("services?watch", play)
    dump = watch()
    dump.until(lambda: dump.has("Service", "default", "big"), "the long event")
    assert dump.objects[("Service", "default", "big")]["metadata"]["annotations"] == big["metadata"]["annotations"]


def test_half_open_connection_is_given_up(api, watch):
    api.on("services", services("a"))
    api.on("services?watch", stream(), stream(event("ADDED", service("b", 130))))
    dump = watch("watch_timeout_min_s=1", "watch_grace_ms=200")
    dump.until(lambda: dump.has("Service", "default", "b"), "an event on the second connection")
    first, second = api.seen("services", watch=True)[:2]
    assert 1.2 <= second.time - first.time <= 2.2 + 1
    assert first.peer != second.peer
    assert second.query["resourceVersion"] == "100" and dump.deletes() == []
    assert any("taking the connection for dead" in p for p in dump.problems())


def test_silent_list_is_given_up(api, watch):
    api.on("services", hold, services("a"))
    dump = watch("watch_grace_ms=200")
    dump.until_synced()
    assert dump.has("Service", "default", "a")


def test_empty_watches_lead_to_a_list(api, watch):
    api.on("services", services("a", "b"), services("b", rv=200))
    api.on("services?watch", stream(then=end), stream(then=end), stream(then=end), stream())
    dump = watch()
    dump.until(lambda: dump.deletes() == ["a"], "the relist")
    assert len(api.seen("services", watch=True)) in (3, 4)


def test_watch_that_timed_out_goes_on_at_once(api, watch):
    api.on("services?watch", stream(event("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "777"}}),
                                    then=end), stream())
    dump = watch("backoff_min_ms=5000", "backoff_max_ms=5000")
    first, second = api.wait_requests(2, "services", watch=True)[:2]
    assert second.query["resourceVersion"] == "777" and second.time - first.time < 3
    assert dump.problems() == []


def test_api_server_restarts(api, watch):
    api.on("services", services("a"))
    dump = watch()
    dump.until_synced()
    api.wait_requests(1, "services", watch=True)
    api.stop()
    dump.until(lambda: len(dump.problems()) >= 6, "complaints about the server")
    assert dump.deletes() == [] and dump.has("Service", "default", "a")
    back = ApiServer(port=api.port)
    try:
        back.on("services?watch", stream(event("ADDED", service("b", 130))))
        dump.until(lambda: dump.has("Service", "default", "b"), "an event after the restart")
        assert back.seen("services")[0].query["resourceVersion"] == "100"
        assert dump.deletes() == []
    finally:
        back.stop()


@pytest.mark.parametrize("code", [500, 503, 403])
def test_refused_lists_are_repeated_with_back_off(api, watch, code):
    refuse = (lambda r: r.answer(status(code, "X", "no\x1b[31m way"), code))
    api.on("services", refuse, refuse, services("a"))
    dump = watch("backoff_min_ms=150", "backoff_max_ms=300")
    dump.until_synced()
    times = [r.time for r in api.seen("services", watch=False)]
    assert len(times) == 3 and times[1] - times[0] >= 0.14 and times[2] - times[1] >= 0.14
    assert any(f"list services: {code}" in p and "retrying in" in p for p in dump.problems())
    assert not any("\x1b" in p for p in dump.problems())


def test_retry_after_is_obeyed(api, watch):
    api.on("services", lambda r: r.answer(status(429, "TooManyRequests"), 429, ["Retry-After: 1"]), services("a"))
    api.on("services?watch", stream(event("ERROR", status(429, "TooManyRequests", retryAfterSeconds=1))), stream())
    dump = watch()
    dump.until_synced()
    api.wait_requests(2, "services", watch=True)
    lists, watches = api.seen("services", watch=False), api.seen("services", watch=True)
    assert lists[1].time - lists[0].time >= 0.95
    assert watches[1].time - watches[0].time >= 0.95
    assert watches[1].query["resourceVersion"] == "100"


@pytest.mark.parametrize("body", [b"<html>login</html>", b"{}", b"[]", b'{"kind":"ServiceList","metadata":{},"items":1}',
                                  b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata"'])
def test_answers_that_are_no_lists(api, watch, body):
    api.on("services", services("a"), lambda r: r.answer(body), services("a", rv=300))
    api.on("services?watch", stream(GONE), stream())
    dump = watch()
    dump.until(lambda: dump.synced.get("Service") == 2, "the good list")
    assert dump.deletes() == [] and len(dump.problems()) == 1


def test_malformed_events_end_the_watch(api, watch):
    api.on("services?watch", stream(b"<html>"), stream(b'{"type":"ADDED","object":{"metadata":{}}}'),
           stream(event("ADDED", service("b", 400))))
    dump = watch()
    dump.until(lambda: dump.has("Service", "default", "b"), "the event after the malformed ones")
    assert dump.deletes() == []


def test_deleted_event_of_a_predecessor_is_ignored(api, watch):
    api.on("services", services("a"))
    api.on("services?watch", stream(event("ADDED", service("a", 110, uid="new")),
                                    event("DELETED", service("a", 111, uid="uid-a")),
                                    event("ADDED", service("b", 112)), event("DELETED", service("b", 113))))
    dump = watch()
    dump.until(lambda: dump.deletes() == ["b"], "the second deletion")
    assert dump.objects[("Service", "default", "a")]["metadata"]["uid"] == "new"


def test_beta_slices(api, watch):
    endpoint = {"addresses": ["10.0.0.1"], "topology": {"topology.kubernetes.io/zone": "z", "kubernetes.io/hostname": "n",
                                                        "region": "r"}}
    beta = list_of("EndpointSlice", [{"metadata": {"name": "s", "namespace": "default", "resourceVersion": "1"},
                                      "addressType": "IPv4", "endpoints": [endpoint]}], 9)

    def answer(request):
        if request.path.startswith("/apis/discovery.k8s.io/v1/"):
            request.answer(fixture("not-found.json"), 404)
        else:
            request.answer(beta)
    api.on("endpointslices", answer)
    dump = watch()
    dump.until_synced()
    watch_path = api.wait_requests(1, "endpointslices", watch=True)[0].path
    assert watch_path == "/apis/discovery.k8s.io/v1beta1/endpointslices"
    slice_ = dump.objects[("EndpointSlice", "default", "s")]
    assert slice_["apiVersion"] == "discovery.k8s.io/v1"
    assert slice_["endpoints"][0] == {"addresses": ["10.0.0.1"], "zone": "z", "nodeName": "n",
                                      "deprecatedTopology": {"region": "r"}}
    assert dump.problems() == []


def test_one_namespace_with_a_role_only(api, watch):
    api.on("namespaces", lambda r: r.answer(status(403, "Forbidden"), 403))
    dump = watch("ns=shop")
    dump.until_synced()
    assert dump.names("Namespace") == ["shop"] and dump.problems() == []
    assert api.seen("namespaces")[0].query["fieldSelector"] == "metadata.name=shop"
    assert api.seen("services")[0].path == "/api/v1/namespaces/shop/services"
    assert api.seen("endpointslices")[0].path == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


# ---- credentials ----

def only(token, api, on_refusal=None):
    """Lets requests with this bearer token pass."""
    def check(request):
        if request.headers.get("authorization") == "Bearer " + token:
            return False
        if on_refusal:
            on_refusal()
        request.answer(fixture("unauthorized.json"), 401)
        return True
    api.before = check


def test_rotated_token_is_read_again_at_once(api, watch, tmp_path):
    path = tmp_path / "token"
    path.write_text("first-secret\n")
    (tmp_path / "new").write_text("second-secret\n")

    lock = threading.Lock()

    def rotate():  # in one step, as the kubelet does
        with lock:
            if (tmp_path / "new").exists():
                (tmp_path / "new").rename(path)
    only("second-secret", api, rotate)
    dump = watch("backoff_min_ms=50000", "backoff_max_ms=50000", user={"tokenFile": "token"})
    begin = time.monotonic()
    dump.until_synced()
    assert time.monotonic() - begin < 40
    assert dump.stats()["unauthorized"] >= 1
    assert not any("secret" in p for p in dump.problems())


def test_refused_token_backs_off(api, watch):
    only("good", api)
    dump = watch("backoff_min_ms=200", "backoff_max_ms=400", user={"token": "bad-secret"})
    times = [r.time for r in api.wait_requests(5, "services")]
    assert times[1] - times[0] < 0.19  # once at once
    assert times[4] - times[1] >= 0.6
    dump.until(lambda: any("401 Unauthorized" in p for p in dump.problems()), "the complaint")
    assert not any("secret" in p for p in dump.problems())


def test_basic_authentication_and_impersonation(api, watch):
    dump = watch(user={"username": "me", "password": "pw", "as": "bot", "as-uid": "7", "as-groups": ["g1"],
                       "as-user-extra": {"acme.com/x": ["v"]}})
    dump.until_synced()
    headers = api.seen("services")[0].headers
    assert headers["authorization"] == "Basic " + b64(b"me:pw")
    assert headers["impersonate-user"] == "bot" and headers["impersonate-uid"] == "7"
    assert headers["impersonate-group"] == "g1" and headers["impersonate-extra-acme.com%2fx"] == "v"


def plugin(tmp_path, script):
    path = tmp_path / "plugin"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"command": "./plugin", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "provideClusterInfo": True, "args": ["one", "two"], "env": [{"name": "WORD", "value": "hello"}]}


CREDENTIAL = ('{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
              '"status":{"token":"plugin-secret-%s"}}')


def test_exec_plugin(api, watch, tmp_path):
    out = tmp_path / "seen"
    exec_ = plugin(tmp_path, f'echo "$1 $2 $WORD" >>{out}; echo "$KUBERNETES_EXEC_INFO" >>{out}; '
                             f"n=$(grep -c hello {out}); echo '{CREDENTIAL % '_N_'}' | sed \"s/_N_/$n/\"")
    only("plugin-secret-2", api)  # the first token has expired already: a second run is needed
    dump = watch(user={"exec": exec_})
    dump.until_synced()
    lines = out.read_text().splitlines()
    assert lines[0] == "one two hello" and len(lines) == 4  # two runs, whoever asked
    info = json.loads(lines[1])
    assert info["kind"] == "ExecCredential" and info["apiVersion"] == exec_["apiVersion"]
    assert info["spec"]["cluster"]["server"] == api.url and info["spec"]["interactive"] is False
    assert not any("secret" in p for p in dump.problems())


@pytest.mark.parametrize("script,text", [
    ("exit 3", "exit status 3"), ("echo token-secret", "not JSON"), ("kill -9 $$", "signal 9"),
    ("echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}'", "apiVersion"),
    ("head -c 2000000 /dev/zero", "1 MiB"),
])
def test_exec_plugin_that_fails(api, watch, tmp_path, script, text):
    dump = watch(user={"exec": plugin(tmp_path, script)})
    dump.until(lambda: any(text in p for p in dump.problems()), "the complaint")
    assert api.requests == [] and not any("secret" in p for p in dump.problems())


def test_exec_plugin_that_is_not_there(api, watch, tmp_path):
    exec_ = plugin(tmp_path, "")
    exec_.update(command="/nonexistent/plugin", installHint="Install it.")
    dump = watch(user={"exec": exec_})
    dump.until(lambda: any("Install it." in p for p in dump.problems()), "the complaint")


def test_closing_while_a_plugin_runs(api, watch, tmp_path):
    mark = tmp_path / "started"
    dump = watch(user={"exec": plugin(tmp_path, f"touch {mark}; exec sleep 1000")})
    eventually(mark.exists, what="the plugin")
    assert dump.close() == 0


def test_in_cluster(api, dumps, tmp_path):
    """The pod's token and environment; the API is HTTPS there, so only the way to the server is checked."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("shop")
    env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
    env.update(KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT=str(api.port),
               QUOLL_SERVICEACCOUNT_DIR=str(tmp_path), KUBECONFIG="")
    dump = Dump("api", *FAST, env=env)
    dumps.append(dump)
    dump.until(lambda: dump.log, "the first line")
    assert dump.log[0]["text"] == f"https://127.0.0.1:{api.port} (in cluster)"


# ---- TLS ----

@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA with a server certificate for api.test and 127.0.0.1 (IP), one for api.test only, and a client's."""
    d = tmp_path_factory.mktemp("pki")

    def run(*args):
        subprocess.run(["openssl", *args], check=True, cwd=d, capture_output=True)
    for ca in ("ca", "other"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{ca}.key",
            "-out", f"{ca}.crt", "-days", "2", "-subj", f"/CN={ca}")
    for name, names in (("server", "DNS:api.test,IP:127.0.0.1"), ("named", "DNS:api.test"), ("client", "DNS:client")):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.csr", "-subj", f"/CN={name}")
        (d / "ext").write_text(f"subjectAltName={names}\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            f"{name}.crt", "-days", "2", "-extfile", "ext")
    return d


@pytest.fixture
def tls_api(pki):
    servers = []

    def start(cert="server", client_ca=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / f"{cert}.crt", pki / f"{cert}.key")
        if client_ca:
            context.load_verify_locations(pki / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        names = []
        context.sni_callback = lambda sock, name, ctx: names.append(name)
        servers.append(ApiServer(tls=context))
        servers[-1].names = names
        return servers[-1]
    yield start
    for server in servers:
        server.stop()


def test_tls_with_ca_data_and_client_certificate(tls_api, watch, pki):
    server = tls_api(client_ca=True)
    dump = watch(server=server.url, cluster={"certificate-authority-data": b64((pki / "ca.crt").read_bytes())},
                 user={"client-certificate-data": b64((pki / "client.crt").read_bytes()),
                       "client-key-data": b64((pki / "client.key").read_bytes())})
    dump.until_synced()
    assert dump.problems() == []


def test_tls_with_files(tls_api, watch, pki):
    server = tls_api(client_ca=True)
    dump = watch(server=server.url, cluster={"certificate-authority": str(pki / "ca.crt")},
                 user={"client-certificate": str(pki / "client.crt"), "client-key": str(pki / "client.key")})
    dump.until_synced()


@pytest.mark.parametrize("cluster", [{}, {"ca": "other"}, {"ca": "ca", "cert": "named"}])
def test_tls_refuses_the_wrong_certificate(tls_api, watch, pki, cluster):
    server = tls_api(cluster.get("cert", "server"))
    ca = {"certificate-authority": str(pki / f"{cluster['ca']}.crt")} if "ca" in cluster else {}
    dump = watch(server=server.url, cluster=ca, user={"token": "top-secret"})
    dump.until(lambda: len(dump.problems()) >= 3, "complaints")
    assert server.requests == [] and all("SSL" in p or "certificate" in p for p in dump.problems())


def test_tls_insecure(tls_api, watch):
    server = tls_api()
    watch(server=server.url, cluster={"insecure-skip-tls-verify": True}).until_synced()


def test_tls_server_name(tls_api, watch, pki):
    server = tls_api("named")
    dump = watch(server=server.url, cluster={"certificate-authority": str(pki / "ca.crt"), "tls-server-name": "api.test"})
    dump.until_synced()
    assert set(server.names) == {"api.test"}
    assert server.seen("services")[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_in_cluster_over_tls(tls_api, dumps, pki, tmp_path):
    server = tls_api()
    (tmp_path / "token").write_text("pod-token\n")
    (tmp_path / "ca.crt").write_bytes((pki / "ca.crt").read_bytes())
    only("pod-token", server)
    dump = Dump("api", *FAST, f"serviceaccount_dir={tmp_path}",
                env={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port),
                     "KUBECONFIG": ""})
    dumps.append(dump)
    dump.until_synced()


def test_proxy(api, watch):
    """The server as its own forward proxy: it sees the absolute form of the target."""
    dump = watch(server="http://cluster.invalid:6443", cluster={"proxy-url": api.url}, env={"no_proxy": ""})
    dump.until_synced()
    assert api.seen("services")[0].headers["host"] == "cluster.invalid:6443"


def test_server_that_is_not_there(dumps, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    config = write_kubeconfig(tmp_path / "config", f"http://user:pass-secret@127.0.0.1:{port}")
    dump = Dump("api", f"kubeconfig={config}", *FAST)
    dumps.append(dump)
    dump.until(lambda: len(dump.problems()) >= 4, "complaints")
    assert all(f"http://127.0.0.1:{port}: " in p for p in dump.problems())
    assert "secret" not in json.dumps(dump.log)
