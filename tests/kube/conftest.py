"""The real control plane: see control-plane. Needs root or sudo once, to install and build."""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from zkserver import free_port  # noqa: E402


@pytest.fixture(scope="session")
def build_dir():
    return pathlib.Path(os.environ.get("QUOLL_BUILD", HERE.parent.parent / "build")).resolve()


class ControlPlane:
    def __init__(self, where):
        self.dir = where
        self.kubeconfig = where / "kubeconfig"
        self.env = {**os.environ, "KUBE_PORT": str(free_port()), "ETCD_PORT": str(free_port())}

    def run(self, what):
        subprocess.run([HERE / "control-plane", what, self.dir], env=self.env, check=True, timeout=1800)

    def kubectl(self, *args, stdin=None):
        return subprocess.run(["kubectl", "--kubeconfig", self.kubeconfig, *args], input=stdin, capture_output=True, text=True,
                              check=True, timeout=60).stdout

    def apply(self, text):
        self.kubectl("apply", "-f", "-", stdin=text)

    def pod(self, ns, app, index, ip, ready=True):
        """Creates a pod, and its node since the slices name it, and sets its status as a kubelet would; none ever runs."""
        self.apply(f"""
apiVersion: v1
kind: Node
metadata: {{name: node-{index}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {app}-{index}, namespace: {ns}, labels: {{app: {app}}}}}
spec:
  nodeName: node-{index}
  hostname: {app}-{index}
  subdomain: {app}
  containers: [{{name: c, image: "example/{app}:1", ports: [{{name: http, containerPort: 8080}}]}}]
""")
        self.status(ns, f"{app}-{index}", ip, ready)

    def status(self, ns, name, ip, ready):
        # Debian's kubectl has no --subresource: the API itself.
        body = ('{"status":{"phase":"Running","podIP":"%s","podIPs":[{"ip":"%s"}],"conditions":[{"type":"Ready","status":"%s"}]}}'
                % (ip, ip, ready))
        subprocess.run(["curl", "-sSfk", "-o", "/dev/null", "-X", "PATCH", "-H", "Authorization: Bearer labtoken", "-H",
                        "Content-Type: application/merge-patch+json", "-d", body,
                        f"https://127.0.0.1:{self.env['KUBE_PORT']}/api/v1/namespaces/{ns}/pods/{name}/status"], check=True, timeout=30)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    cp = ControlPlane(tmp_path_factory.mktemp("kube"))
    try:
        cp.run("up")
        yield cp
    finally:
        cp.run("down")
