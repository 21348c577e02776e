"""Our server, `quoll server`."""
import subprocess

from zkserver import ZkServer


class QuollServer(ZkServer):
    """args: further flags of `quoll server`. TTL nodes and all four-letter words are on, as in ApacheServer."""

    def __init__(self, build_dir, datadir=None, port=None, args=()):
        super().__init__(datadir, port)
        self.program = build_dir / "quoll"
        self.args = list(args)

    @staticmethod
    def available(build_dir):
        """None when the program has the subcommand, else why not."""
        program = build_dir / "quoll"
        if not program.exists():
            return f"{program} is not built"
        done = subprocess.run([program, "server", "--help"], capture_output=True, check=False)
        return None if done.returncode == 0 else "quoll has no subcommand server"

    def command(self):
        return [str(self.program), "server", "--data", str(self.datadir / "data"),
                "--client-listen", self.address, "--set", "extendedTypesEnabled=true",
                "--set", "4lw.commands.whitelist=*", *map(str, self.args)], None
