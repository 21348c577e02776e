"""Ensembles: our servers from a plain zoo.cfg, alone or mixed with Apache's."""
import re

from apache import ApacheServer
from quollsrv import QuollServer
from zkserver import WAIT_S, eventually, free_port


# What each kind logs about one synchronisation; the last such line of a log is what happened.
LEARNED = re.compile(r"Getting a (?P<java>diff|snapshot) from (?:the )?leader|(?P<trunc>Truncating log to get in sync)"
                     r"|synchronising with the leader by (?P<own>DIFF|TRUNC|SNAP)")
TAUGHT = re.compile(r"Sending (?P<java>DIFF|TRUNC|snapshot) (?:zxid=|to follower|last zxid)|synchronising server \d+ by (?P<own>DIFF|TRUNC|SNAP)")
NAMES = {"diff": "DIFF", "snapshot": "SNAP"}


def last_way(pattern, text):
    found = None
    for m in pattern.finditer(text):
        groups = m.groupdict()
        found = groups.get("own") or ("TRUNC" if groups.get("trunc") else NAMES.get(groups["java"], groups["java"]))
    return found


class Said:
    """The lines that a server logs from now on."""

    def __init__(self, server):
        self.server = server
        self.start = server.log_path.stat().st_size if server.log_path.exists() else 0

    def text(self):
        with open(self.server.log_path, "rb") as f:
            f.seek(self.start)
            return f.read().decode(errors="replace")

    def tail(self):
        return "\n".join(line[:300] for line in self.text().splitlines()[-40:])


class QuollMember(QuollServer):
    """A member of an ensemble: props are the lines of its zoo.cfg."""

    def __init__(self, build_dir, myid, props, datadir=None, port=None, args=()):
        super().__init__(build_dir, datadir, port, args)
        self.myid = myid
        self.props = {"tickTime": 500, "dataDir": self.datadir / "data", "clientPort": self.port,
                      "clientPortAddress": "127.0.0.1", "maxClientCnxns": 0, "extendedTypesEnabled": "true",
                      "4lw.commands.whitelist": "*", **props}

    def command(self):
        data = self.datadir / "data"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(f"{self.myid}\n")
        config = self.datadir / "zoo.cfg"
        config.write_text("".join(f"{k}={v}\n" for k, v in self.props.items()))
        return [str(self.program), "server", str(config), *map(str, self.args)], None


class Ensemble:
    """kinds: one letter per server, q (ours) or a (Apache's); capital: an observer. Started on entry, closed on exit."""

    def __init__(self, build_dir, kinds="qqq", props=None):
        size = len(kinds)
        roles = ["observer" if k.isupper() else "participant" for k in kinds]
        lines = {f"server.{i + 1}": f"127.0.0.1:{free_port()}:{free_port()}:{roles[i]}" for i in range(size)}
        common = {"initLimit": 20, "syncLimit": 10, **lines, **(props or {})}
        self.servers = []
        for i, kind in enumerate(kinds):
            own = {**common, **({"peerType": "observer"} if kind.isupper() else {})}
            if kind.lower() == "q":
                self.servers.append(QuollMember(build_dir, i + 1, own))
            else:
                self.servers.append(ApacheServer(props=own, myid=i + 1))

    def start(self):
        for s in self.servers:
            s.start(wait=False)
        return self.wait_ready()

    def wait_ready(self):
        for s in self.servers:
            if s.process:
                s.wait_ready()
        return self

    @property
    def hosts(self):
        return ",".join(s.address for s in self.servers)

    def leader(self, timeout=WAIT_S):
        """The server that leads, once there is one."""
        def find():
            return next((s for s in self.servers if s.process and s.mode() == "leader"), None)

        return eventually(find, timeout, lambda: f"a leader\n{self.logs(10)}")

    def quorum_ports(self, server):
        """Where it listens for the others: for learners while it leads, and for elections."""
        quorum, election = self.servers[0].props[f"server.{server.myid}"].split(":")[1:3]
        return int(quorum), int(election)

    def followers(self):
        """Those that follow now: after an election, perhaps not yet all that will."""
        return [s for s in self.servers if s.process and s.mode() == "follower"]

    def logs(self, lines=60):
        return "\n".join(f"---- {s.myid}\n{s.log_tail(lines)}" for s in self.servers)

    def close(self):
        for s in self.servers:
            s.close()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()


def dump(client, path="/"):
    """The tree below path as one server shows it: path -> (data, stat). Under /zookeeper only what clients made."""
    out = {}
    level = [path]
    while level:
        asked = [(p, client.get_async(p), client.get_children_async(p)) for p in level]
        level = []
        for p, node, children in asked:
            data, stat = node.get(timeout=30)
            out[p] = (data, tuple(stat))
            below = (f"{p.rstrip('/')}/{child}" for child in children.get(timeout=30))
            level += [c for c in below if c != "/zookeeper/config"]
    return out


def ephemerals_and_sessions(server):
    """What `dump` tells of every session: the ids; and the ephemerals by owner."""
    sessions, _, rest = server.four_letter("dump").partition("ephemeral nodes dump")
    ids = sorted({int(x, 16) for x in re.findall(r"^\s*(0x[0-9a-f]+)", sessions, re.M)})
    return ids, sorted(line.strip() for line in rest.partition("Connections")[0].splitlines()[1:])


def assert_digests_agree(servers):
    for s in servers:
        found = re.search(r"zk_digest_mismatches_count\s+(\d+)", s.four_letter("mntr"))
        assert found and found[1] == "0", f"server {s.myid}: {found and found[0]}"
