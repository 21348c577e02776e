"""Curator's recipes and service discovery, from Debian's jars, against our server."""
import pathlib
import shutil
import subprocess

import pytest

from conftest import skip_loudly
from quollsrv import QuollServer

JARS = [pathlib.Path("/usr/share/java") / f"{n}.jar" for n in (
    "curator-client", "curator-framework", "curator-recipes", "curator-x-discovery", "zookeeper", "zookeeper-jute", "guava",
    "failureaccess", "slf4j-api", "slf4j-nop", "jackson-core", "jackson-databind", "jackson-annotations")]
SOURCE = pathlib.Path(__file__).parent / "java" / "CuratorSession.java"


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    if not shutil.which("javac"):
        skip_loudly("no javac (apt-get install default-jdk-headless)")
    missing = [j.name for j in JARS[:6] if not j.exists()]
    if missing:
        skip_loudly(f"no {missing} (apt-get install libcurator-recipes-java libcurator-discovery-java)")
    out = tmp_path_factory.mktemp("classes")
    path = ":".join(str(j) for j in JARS if j.exists())
    subprocess.run(["javac", "-proc:none", "-nowarn", "-cp", path, "-d", out, SOURCE], check=True, timeout=300)
    return f"{out}:{path}"


def test_curator(build_dir, classes):
    with QuollServer(build_dir) as server:
        done = subprocess.run(["java", "-Xmx256m", "-cp", classes, "CuratorSession", server.address], capture_output=True, text=True,
                              timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("all ok\n")
