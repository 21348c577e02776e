"""The rolling replacement of an Apache ensemble and the way back, as `make test-migration` runs it, each once."""
import pathlib
import sys

from skipping import need_apache

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "migration"))


def test_there_and_back(build_dir, tmp_path):
    need_apache()
    from migrate import PASSES, Migration  # pylint: disable=import-outside-toplevel

    migration = Migration(build_dir, tmp_path)
    try:
        migration.begin()
        for kind, turn in PASSES[:2]:
            migration.run_pass(kind, turn)
        migration.end()
    finally:
        migration.close()
