"""As the integration tests', which has the pieces."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))


def pytest_configure(config):
    config.pluginmanager.import_plugin("deadline")
