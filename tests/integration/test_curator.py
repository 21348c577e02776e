"""Curator's recipes and service discovery, from Debian's jars, against our server."""
import pathlib
import subprocess

import javaclient
import pytest
from quollsrv import QuollServer
from skipping import skip_loudly

JARS = ("curator-client", "curator-framework", "curator-recipes", "curator-x-discovery", "zookeeper", "zookeeper-jute", "guava",
        "failureaccess", "slf4j-api", "slf4j-nop", "jackson-core", "jackson-databind", "jackson-annotations")
SOURCE = pathlib.Path(__file__).parent / "java" / "CuratorSession.java"


@pytest.fixture(scope="module", name="curator")
def curator_fixture(tmp_path_factory):
    if why := javaclient.missing(JARS[:6], "libcurator-recipes-java libcurator-discovery-java"):
        skip_loudly(why)
    return javaclient.command(SOURCE, tmp_path_factory.mktemp("classes"), JARS, heap="256m")


def test_curator(build_dir, curator):
    with QuollServer(build_dir) as server:
        done = subprocess.run([*curator, server.address], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("all ok\n")
