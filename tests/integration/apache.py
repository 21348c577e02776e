"""Apache's server, from Debian's packages `zookeeper` and a JRE."""
import os
import pathlib
import shutil

from zkserver import ZkServer, free_port

JAR = pathlib.Path("/usr/share/java/zookeeper.jar")
LOGGER = JAR.with_name("slf4j-simple.jar")  # of libslf4j-java, which the other depends on; writes to stderr from INFO on
NETTY = [JAR.with_name(f"netty-{part}.jar") for part in ("common", "buffer", "transport", "codec", "handler", "resolver")]


def available():
    """None when Apache's server can be run here, else what is missing."""
    if not shutil.which("java"):
        return "no java (apt-get install default-jre-headless)"
    if not JAR.exists():
        return f"no {JAR} (apt-get install libzookeeper-java)"
    return None


def java_command(config, system, heap="256m"):
    """The argument list of a server with this configuration file. system: -D properties without the "zookeeper." prefix."""
    args = ["java", f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    args += [f"-Dzookeeper.{k}={v}" for k, v in system.items()]
    # Which way a learner is synchronised is partly said at this level only.
    args += ["-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.quorum.LearnerHandler=debug"]
    path = ":".join(map(str, ["/etc/zookeeper/conf", JAR, LOGGER, *NETTY]))
    return args + ["-cp", path, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]


class ApacheServer(ZkServer):
    """props: lines of zoo.cfg, over the defaults below. env: over the environment. system: -D properties without the
    "zookeeper." prefix. For an ensemble, give server.N lines in props and myid."""

    def __init__(self, datadir=None, port=None, props=None, env=None, system=None, myid=None, heap="256m"):
        super().__init__(datadir, port)
        self.props = {"tickTime": 500, "maxSessionTimeout": 60000, "dataDir": self.datadir / "data", "clientPort": self.port,
                      "clientPortAddress": "127.0.0.1", "admin.enableServer": "false", "maxClientCnxns": 0,
                      **(props or {})}
        self.env = {**os.environ, **(env or {})}
        self.system = {"extendedTypesEnabled": "true", "4lw.commands.whitelist": "*", **(system or {})}
        self.myid = myid
        self.heap = heap

    def command(self):
        (self.datadir / "data").mkdir(exist_ok=True)
        if self.myid is not None:
            (self.datadir / "data" / "myid").write_text(f"{self.myid}\n")
        config = self.datadir / "zoo.cfg"
        config.write_text("".join(f"{k}={v}\n" for k, v in self.props.items()))
        return self.command_for(config)

    def command_for(self, config):
        return java_command(config, self.system, self.heap), self.env


def ensemble(size=3, **kwargs):
    """Servers of one ensemble, not started. wait_ready() of each needs a quorum of them started with wait=False."""
    peers = {f"server.{i}": f"127.0.0.1:{free_port()}:{free_port()}" for i in range(1, size + 1)}
    props = {"initLimit": 20, "syncLimit": 10, **peers, **kwargs.pop("props", {})}
    return [ApacheServer(props=props, myid=i, **kwargs) for i in range(1, size + 1)]
