"""Fixtures of every integration test.

QUOLL_BUILD   the build directory (default: ./build of the source tree)
Servers are started by the tests, on free ports of loopback, with their data in temporary directories.
"""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def skip_loudly(reason):
    """Skips a test and says so on stderr, since a silent skip looks like a pass."""
    print(f"SKIPPED: {reason}", file=sys.__stderr__, flush=True)
    pytest.skip(reason)


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
