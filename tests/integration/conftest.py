"""Fixtures of every integration test.

QUOLL_BUILD         the build directory (default: ./build of the source tree)
QUOLL_TEST_SECONDS  how long one test may take (deadline.py)
Servers are started by the tests, on free ports of loopback, with their data in temporary directories.
"""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import clients  # noqa: E402


def pytest_configure(config):
    config.pluginmanager.import_plugin("deadline")


@pytest.fixture(scope="session")
def build_dir():
    path = pathlib.Path(os.environ.get("QUOLL_BUILD", HERE.parent.parent / "build")).resolve()
    if not path.is_dir():
        pytest.fail(f"{path} is not a build directory: set QUOLL_BUILD")
    return path


@pytest.fixture(scope="session")
def client_driver(build_dir):
    """The program that speaks to libquoll for the tests (client_driver.c)."""
    path = build_dir / "tests" / "integration" / "client_driver"
    if not path.exists():
        pytest.fail(f"{path} is not built")
    return path


@pytest.fixture(autouse=True)
def no_client_left():
    """What a failed test leaves behind would knock at dead ports for as long as the others run."""
    yield
    clients.close_left()
