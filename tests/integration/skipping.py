"""Tests that this machine cannot run."""
import apache
import deadline
import pytest


def skip_loudly(reason):
    """Skips a test and says so on stderr, since a silent skip looks like a pass."""
    print(f"SKIPPED: {reason}", file=deadline.stderr)
    pytest.skip(reason)


def need_apache():
    if missing := apache.available():
        skip_loudly(missing)
