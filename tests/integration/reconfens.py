"""Ensembles that change their members: servers whose configuration files the servers themselves rewrite."""
import base64
import hashlib

from apache import ApacheServer
from clients import close, connect
from kazoo.exceptions import ConnectionLoss
from quollens import Ensemble
from quollsrv import QuollServer
from zkserver import eventually, free_port

SUPER = "super:secret"
SUPER_DIGEST = "super:" + base64.b64encode(hashlib.sha1(SUPER.encode()).digest()).decode()


class Written:
    """A server that finds its zoo.cfg as it left it."""

    def setup(self, myid, props):
        self.myid = myid
        self.config = self.datadir / "zoo.cfg"
        data = self.datadir / "data"
        data.mkdir(exist_ok=True)
        (data / "myid").write_text(f"{myid}\n")
        all_props = {"tickTime": 500, "initLimit": 20, "syncLimit": 10, "dataDir": data, "maxClientCnxns": 0, "reconfigEnabled": "true",
                     "4lw.commands.whitelist": "*", "extendedTypesEnabled": "true", "admin.enableServer": "false",
                     "DigestAuthenticationProvider.superDigest": SUPER_DIGEST, **props}
        self.config.write_text("# by hand\n" + "".join(f"{k}={v}\n" for k, v in all_props.items()))

    def config_props(self):
        lines = [line for line in self.config.read_text().splitlines() if line and line[0] != "#"]
        return dict(line.split("=", 1) for line in lines)


class QuollWritten(Written, QuollServer):
    def __init__(self, build_dir, myid, props, port=None):
        QuollServer.__init__(self, build_dir, None, port)
        self.setup(myid, props)

    def command(self):
        return [str(self.program), "server", str(self.config), *map(str, self.args)], None


class ApacheWritten(Written, ApacheServer):
    def __init__(self, _build_dir, myid, props, port=None):
        ApacheServer.__init__(self, None, port, myid=myid)
        self.setup(myid, props)

    def command(self):
        args, env = super().command_for(self.config)
        return args, env


def line_of(port, role="participant", quorum=None, election=None):
    """What follows server.N=, on free ports but for the client's."""
    return f"127.0.0.1:{quorum or free_port()}:{election or free_port()}:{role};127.0.0.1:{port}"


class Changing(Ensemble):
    """As Ensemble; join() makes further servers, which are members once reconfig() says so."""

    def __init__(self, build_dir, kinds="qqq", props=None):
        self.build_dir = build_dir
        self.props = props or {}
        self.lines = {}
        self.servers = []
        for i, kind in enumerate(kinds):
            port = free_port()
            self.lines[i + 1] = line_of(port, "observer" if kind.isupper() else "participant")
            self.servers.append(port)
        self.servers = [self.make(i + 1, kind, self.servers[i], self.lines) for i, kind in enumerate(kinds)]

    def make(self, myid, kind, port, lines):
        cls = QuollWritten if kind.lower() == "q" else ApacheWritten
        return cls(self.build_dir, myid, {**{f"server.{n}": text for n, text in lines.items()}, **self.props}, port)

    def joiner(self, kind="q", role="participant"):
        """Another server, started: it knows the others and follows without a vote. Its line becomes lines[id]."""
        myid, port = max(self.lines) + 1, free_port()
        self.lines[myid] = line_of(port, role)
        server = self.make(myid, kind, port, self.lines)
        self.servers.append(server)
        return server.start()

    def by_id(self, myid):
        return next(s for s in self.servers if s.myid == myid)

    def admin(self, hosts=None):
        return connect(hosts or self.hosts, auth_data=[("digest", SUPER)])

    def reconfig(self, joining=None, leaving=None, members=None, version=-1, hosts=None):
        """The new configuration's text. Whoever the client is connected to may close the connection by the change: a server
        of Apache's then does not always answer before."""
        client = self.admin(hosts)
        try:
            before = client.get("/zookeeper/config")[0]
            try:
                return client.reconfig(joining, leaving, members, version)[0].decode()
            except ConnectionLoss:
                return self.changed(client, before)
        finally:
            close(client)

    def changed(self, client, before):
        def look():
            now = client.get("/zookeeper/config")[0]
            return now != before and now.decode()

        return eventually(look, what=lambda: f"another configuration\n{self.logs()}")


def config_text(server):
    client = connect(server.address)
    try:
        client.sync("/")
        return client.get("/zookeeper/config")
    finally:
        close(client)


def wait_mode(ensemble, server, mode):
    eventually(lambda: server.mode() == mode, what=lambda: f"server {server.myid} is {server.mode()}, not {mode}\n{ensemble.logs()}")
