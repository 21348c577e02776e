"""The whole path with a real kube-apiserver: kubectl in, dig out."""
import pytest

from quollproc import QuollUp, dig, quoll, rcode
from zkserver import eventually


@pytest.fixture
def up(build_dir, control_plane):
    with QuollUp(build_dir, "--kubeconfig", control_plane.kubeconfig) as u:
        yield u


def test_a_service_from_kubectl_to_dig_and_back(up, control_plane, build_dir):
    cp, port = control_plane, up.dns_port
    eventually(lambda: dig(port, "kubernetes.default.svc.cluster.local") == ["10.96.0.1"], what="the API server's own service")

    cp.apply("""
apiVersion: v1
kind: Namespace
metadata: {name: shop}
""")
    eventually(lambda: rcode(port, "shop.svc.cluster.local") == "NOERROR", what="the namespace")
    cp.apply("""
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.44.4, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: pg, port: 5432}]}
""")
    eventually(lambda: dig(port, "web.shop.svc.cluster.local") == ["10.96.44.4"], what="the cluster IP")
    assert dig(port, "4.44.96.10.in-addr.arpa", "PTR") == ["web.shop.svc.cluster.local."]
    for i in range(3):
        cp.pod("shop", "db", i, f"10.244.1.{20 + i}")
        cp.pod("shop", "web", i, f"10.244.2.{20 + i}")
    all_db = ["10.244.1.20", "10.244.1.21", "10.244.1.22"]
    eventually(lambda: dig(port, "db.shop.svc.cluster.local") == all_db, what="three endpoints")
    assert dig(port, "db-1.db.shop.svc.cluster.local") == ["10.244.1.21"]
    assert len(dig(port, "_pg._tcp.db.shop.svc.cluster.local", "SRV")) == 3
    plain = quoll(build_dir, "resolve", "web.shop", "-e", "-o", "plain", "--zk", up.zk).stdout
    assert sorted(plain.split()) == [f"10.244.2.{20 + i}:8080" for i in range(3)]

    cp.status("shop", "db-1", "10.244.1.21", False)
    eventually(lambda: dig(port, "db.shop.svc.cluster.local") == ["10.244.1.20", "10.244.1.22"], what="the unready pod leaves")
    assert rcode(port, "db-1.db.shop.svc.cluster.local") == "NXDOMAIN"

    # etcd and the API server die in the middle: answers stay, and what changes afterwards arrives.
    cp.run("stop")
    assert dig(port, "db.shop.svc.cluster.local") == ["10.244.1.20", "10.244.1.22"]
    eventually(lambda: up.metric("quoll_kube_errors_total") > 0, what="the outage to be noticed")
    assert dig(port, "web.shop.svc.cluster.local") == ["10.96.44.4"]
    cp.run("up")
    cp.status("shop", "db-1", "10.244.1.21", True)
    eventually(lambda: dig(port, "db.shop.svc.cluster.local") == all_db, timeout=60, what="the change after the outage")
    assert dig(port, "web.shop.svc.cluster.local") == ["10.96.44.4"]

    cp.kubectl("delete", "service", "web", "-n", "shop")
    eventually(lambda: rcode(port, "web.shop.svc.cluster.local") == "NXDOMAIN", what="the deleted service is gone")
    assert dig(port, "db.shop.svc.cluster.local") == all_db
    # No kubelet confirms the end of a pod here, so a namespace with pods would stay.
    cp.kubectl("delete", "pods", "--all", "-n", "shop", "--force", "--grace-period=0")
    cp.kubectl("delete", "namespace", "shop", "--wait=false")
    eventually(lambda: rcode(port, "shop.svc.cluster.local") == "NXDOMAIN", timeout=60, what="the namespace is gone")
