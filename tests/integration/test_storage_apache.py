"""Data directories go both ways between our storage and Apache's server."""
import base64
import hashlib
import json
import re
import shutil
import subprocess

import pytest
from kazoo.client import KazooClient
from kazoo.security import ACL, Id, make_digest_acl

import apache
from skipping import skip_loudly

SUPER = base64.b64encode(hashlib.sha1(b"super:secret").digest()).decode()
STATS = {"czxid": "czxid", "mzxid": "mzxid", "pzxid": "pzxid", "ctime": "ctime", "mtime": "mtime", "version": "version",
         "cversion": "cversion", "aversion": "aversion", "ephemeralOwner": "ephemeralOwner", "dataLength": "dataLength",
         "numChildren": "numChildren"}


@pytest.fixture(scope="module", autouse=True)
def needs_apache():
    missing = apache.available()
    if missing:
        skip_loudly(missing)


@pytest.fixture(scope="module")
def tool(build_dir):
    path = build_dir / "tests" / "integration" / "storage_tool"
    assert path.exists(), "storage_tool is not built"

    def run(*args):
        done = subprocess.run([str(path), *map(str, args)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done
    return run


def server(datadir, **system):
    return apache.ApacheServer(datadir=datadir, system={"DigestAuthenticationProvider.superDigest": f"super:{SUPER}", **system},
                               props={"preAllocSize": 16, "snapCount": 40} if "small" in datadir.name else None)


def connect(srv):
    zk = KazooClient(srv.address, timeout=20, auth_data=[("digest", "super:secret")])
    zk.start(timeout=20)
    return zk


def tree_of(zk, path="/"):
    """All nodes as storage_tool prints them."""
    data, stat = zk.get(path)
    acls, _ = zk.get_acls(path)
    nodes = {path: {"data": base64.b64encode(data or b"").decode(),
                    "acl": [[a.perms, a.id.scheme, a.id.id] for a in acls],
                    **{key: getattr(stat, key) for key in STATS}}}
    for child in zk.get_children(path):
        nodes.update(tree_of(zk, path.rstrip("/") + "/" + child))
    return nodes


def compare(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for path, node in theirs.items():
        assert ours[path] == node, path


@pytest.mark.parametrize("method", ["", "gz", "snappy"])
def test_apache_reads_ours(tool, tmp_path, method):
    tool("write", tmp_path / "data", *([method] if method else []))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    ours = json.loads(tool("dump", tmp_path / "copy").stdout)
    assert ours["sessions"] == {"1234567": 40000}
    assert [p for p, n in ours["nodes"].items() if n["ephemeralOwner"]]
    with server(tmp_path) as srv:
        zk = connect(srv)
        compare(ours["nodes"], tree_of(zk))
        zk.stop()
        srv.stop()
        log = srv.log_path.read_text(errors="replace")
    assert "igest" not in "".join(line for line in log.splitlines(True) if "not match" in line), log
    # And back: what Apache wrote on top (its sessions only) is ours again.
    again = json.loads(tool("dump", tmp_path / "data").stdout)
    assert again["zxid"] > ours["zxid"]
    compare(again["nodes"], ours["nodes"])


def busy(zk, zk2):
    """A bit of everything that kazoo can do."""
    zk.create("/plain", b"data")
    zk.create("/null", b"")
    zk.create("/acl", b"x", acl=[make_digest_acl("joe", "pass", all=True), ACL(1, Id("world", "anyone"))])
    zk.create("/seq", b"")
    for i in range(60):
        zk.create("/seq/s-", bytes([i]) * i, sequence=True)
    for i in range(0, 60, 7):
        zk.delete(f"/seq/s-{i:010d}")
    zk.create("/live", b"mine", ephemeral=True)
    zk2.create("/dying", b"", ephemeral=True)
    zk.set("/plain", b"changed")
    zk.set_acls("/plain", [ACL(31, Id("ip", "127.0.0.1"))])
    t = zk.transaction()
    t.create("/tx", b"1")
    t.set_data("/tx", b"2")
    t.create("/tx/kid", b"\0\xff")
    t.commit()
    t = zk.transaction()
    t.create("/never", b"")
    t.check("/tx", 77)
    t.commit()
    try:
        zk.create("/tx", b"")
    except Exception:  # an error transaction
        pass
    zk2.stop()
    zk2.close()
    for i in range(30):
        zk.set("/tx/kid", b"%d" % i)


@pytest.mark.parametrize("method", ["", "gz", "snappy"])
def test_we_read_apaches(tool, tmp_path, method):
    top = tmp_path / "small"
    srv = server(top, **({"snapshot.compression.method": method} if method else {}))
    try:
        srv.start()
        zk, zk2 = connect(srv), connect(srv)
        busy(zk, zk2)
        session = zk.client_id[0]
        theirs = tree_of(zk)
        srv.kill9()
        files = sorted(p.name for p in (top / "data" / "version-2").iterdir())
        assert any(re.fullmatch(r"snapshot\.[1-9a-f][0-9a-f]*" + (r"\." + method if method else ""), f) for f in files), files
        ours = json.loads(tool("dump", top / "data").stdout)
        compare(ours["nodes"], theirs)
        assert f"{session:x}" in ours["sessions"]
        assert ours["nodes"]["/live"]["ephemeralOwner"] == session
        assert "/dying" not in ours["nodes"]
        zk.stop()
        zk.close()
        # Apache takes the directory back after we cut and trimmed it.
        srv.start()
        zk = connect(srv)
        compare({p: n for p, n in tree_of(zk).items() if p not in ("/live", "/")},
                {p: n for p, n in theirs.items() if p not in ("/live", "/")})
        zk.stop()
        zk.close()
    finally:
        srv.close()


def java(cls, *args):
    return subprocess.run(["java", "-Xmx128m", "-cp", f"/etc/zookeeper/conf:{apache.JAR}", f"org.apache.zookeeper.server.{cls}",
                           *map(str, args)], capture_output=True, text=True, timeout=60)


def test_apaches_formatters(tool, tmp_path):
    tool("write", tmp_path)
    version2 = tmp_path / "version-2"
    snapshots = sorted(version2.glob("snapshot.*"), key=lambda p: int(p.suffix[1:], 16))
    assert len(snapshots) == 3
    out = java("SnapshotFormatter", snapshots[-1])
    assert out.returncode == 0, out.stderr
    assert "/app/item-0000000001" in out.stdout
    assert "0x00000001234567, 40000, 5" in out.stdout
    logs = sorted(version2.glob("log.*"), key=lambda p: int(p.suffix[1:], 16))
    assert len(logs) == 4
    txns = 0
    for log in logs:
        out = java("persistence.TxnLogToolkit", "-d", log)
        assert out.returncode == 0, out.stderr
        assert "CRC ERROR" not in out.stdout
        txns += len(re.findall(r"session 0x", out.stdout))
    assert txns == json.loads(tool("dump", tmp_path).stdout)["zxid"]
