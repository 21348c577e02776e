"""Our server and Apache's, fed the same requests: every reply, event, zxid and closed connection must be the same.

A seed makes a stream of steps: requests of several connections, one by one or pipelined, good and bad. Each step runs on both servers;
after it every connection is pinged, so that all its events are in, in order. Times are checked for consistency and not compared, session ids become
ordinals, and lists without an order are sorted. What Apache's 3.8 does otherwise on purpose is in KNOWN.

QUOLL_DIFF_SEEDS    seeds, e.g. "7" or "100-120" (default: 1-3)
QUOLL_DIFF_STEPS    steps per seed (default 1000)
"""
import base64
import hashlib
import itertools
import os
import random
import socket
import struct
import zlib

import pytest

import apache
import zkjute as j
from skipping import skip_loudly
from quollsrv import QuollServer

SUPER = "super:" + base64.b64encode(hashlib.sha1(b"super:secret").digest()).decode()
BOB = "bob:" + base64.b64encode(hashlib.sha1(b"bob:secret").digest()).decode()
CONNS = 4
TIMEOUT_MS = 40000
UNIMPLEMENTED, NOAUTH, NOWATCHER = -6, -102, -121
OPEN = [(31, "world", "anyone")]
EXCUSED = {j.EXISTS: NOAUTH, j.CHECK_WATCHES: NOWATCHER}  # our error, where 3.8 may say 0 (KNOWN)
WATCH_OPS = (j.EXISTS, j.GET_DATA, j.GET_CHILDREN, j.GET_CHILDREN2)

# Differences that are there on purpose, with the reason. Rules of the first kind turn our item into what 3.8 sends; the generator never
# makes requests of the second kind.
KNOWN = {
    "event zxid": "3.8 sends -1 in the header of every event; 3.9 the transaction's zxid (checked here to be of this step)",
    "exists needs READ": "3.8.4 and 3.9.2 check READ on exists; Debian's 3.8.0 does not",
    "checkWatches": "3.8 finds the watches of other connections on that path as well",
    "create2 in a multi": "3.8.0 executes it as create: result type 1, path only",
}
NEVER_MADE = {
    "check outside of a multi": "3.8.0 executes it and does not answer; 3.9 answers -6 and closes",
    "createTTL with other flags and a negative ttl": "stops 3.8.0 for good",
    "create with flag 4, outside of a multi": "3.8 makes a persistent node and spoils its digest; we refuse with -8",
    "deleteContainer": "3.8.0 takes the whole packet for the path; 3.9 deletes any empty node; we answer -6 and close",
    "null path in addWatch, sync, setWatches, steps of a multi": "accepted or half executed; we answer -5",
    "flags outside 0..6, or createContainer with 0..3, inside a multi": "3.8.0 refuses only that step; 3.9 all of it",
    "several modes on one path of one connection, and removing by types 4 and 5": "3.8 keeps the last mode only; 3.9 all of them",
    "quotas that are no text of a quota": "exceptions inside the reference: -5 to all writes below; we take them for no quota",
    "writes pipelined behind a setACL or a quota": "the reference checks them against what is applied; we against what is under way (ACLs)",
    "text that is not UTF-8 in sync": "the reference echoes U+FFFD; we echo what came",
    "wrong password while the session has a connection": "the reference closes that one; we do not",
}


# ---- one connection to one server ----


class Closed(Exception):
    pass


class Link:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # the end shows when reading

    def receive(self, n):
        while len(self.buffer) < n:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed()
            self.buffer += part
        got, self.buffer = self.buffer[:n], self.buffer[n:]
        return got

    def frame(self):
        return self.receive(struct.unpack(">i", self.receive(4))[0])

    def hang_up(self):
        """Half-close and wait for the end: then the server has forgotten the connection."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(65536):
                pass
        except OSError:
            pass
        self.socket.close()


# ---- one server, and what it has said ----


class Side:
    def __init__(self, server):
        self.server = server
        self.links = {}
        self.sessions = {}   # conn -> (id, password)
        self.ordinals = {}   # session id -> ordinal
        self.times = {0: 0}  # zxid -> time

    def connect(self, conn, mode):
        """mode: new, attach, wrong (password), unknown (session). What came of it, comparable."""
        link = Link(self.server.port)
        session, passwd = self.sessions.get(conn, (0, bytes(16)))
        if mode == "new":
            session, passwd = 0, bytes(16)
        elif mode == "wrong":
            passwd = bytes(16)
        elif mode == "unknown":
            session ^= 0x10000000
        link.send(j.connect(TIMEOUT_MS, session, passwd))
        version, timeout, got, size = struct.unpack(">iiqi", (body := link.frame())[:20])
        answer = ["connected", version, timeout, size, len(body)]
        if timeout <= 0:
            with pytest.raises(Closed):
                link.receive(1)
            link.socket.close()
            return [*answer, got, body[20:]]
        if mode == "new":
            self.ordinals[got] = len(self.ordinals)
        else:
            assert (got, body[20:36]) == (session, passwd)
        self.sessions[conn] = (got, body[20:36])
        self.links[conn] = link
        return [*answer, self.ordinals[got]]

    def stat(self, s):
        """Times belong to zxids; sessions have ordinals."""
        for time, zxid in (("ctime", "czxid"), ("mtime", "mzxid")):
            assert self.times.setdefault(s[zxid], s[time]) == s[time], f"two times of zxid {s[zxid]}"
        owner = s["ephemeralOwner"]
        return {**s, "ctime": "T", "mtime": "T", "ephemeralOwner": self.ordinals[owner] + 1 if owner else 0}

    def plain(self, v):
        if isinstance(v, dict):
            return self.stat(v)
        if isinstance(v, (list, tuple)):
            return [self.plain(x) for x in v]
        return v

    def item(self, body, op):
        xid, zxid, err = struct.unpack(">iqi", body[:16])
        if xid == -1:
            return ["event", zxid, err, *j.event(body[16:])]
        values = body[16:].hex() if err else self.plain(j.decode(op, body[16:]))
        return ["reply", xid, zxid, err, values]

    def read_replies(self, conn, ops):
        """Items up to and with the last of the replies, or the end of the connection."""
        items, link = [], self.links[conn]
        ops = list(ops)
        try:
            while ops:
                items.append(self.item(link.frame(), ops[0]))
                if items[-1][0] == "reply":
                    ops.pop(0)
        except Closed:
            items.append(["closed"])
            link.socket.close()
            del self.links[conn]
        return items

    def run(self, conn, requests):
        """Sends all requests, then pings every connection. {conn: items}"""
        self.links[conn].send(b"".join(j.request(xid, op, body) for xid, op, body in requests))
        got = {conn: self.read_replies(conn, [op for _, op, _ in requests])}
        if conn in self.links and (requests[-1][1] == j.CLOSE or got[conn][-1][2:4] == [-1, UNIMPLEMENTED]):
            got[conn] += self.read_replies(conn, [None])  # its end
        for c in list(self.links):
            self.links[c].send(j.request(-2, j.PING))
        for c in list(self.links):
            got.setdefault(c, []).extend(self.read_replies(c, [j.PING]))
        return got


# ---- comparing ----


def create_flags(body):
    """The flags of a create request, or None when it does not decode."""
    r = j.Reader(body)
    try:
        r.bytes()
        r.bytes()
        r.list(lambda: (r.i32(), r.bytes(), r.bytes()))
        return r.i32()
    except (struct.error, AssertionError):
        return None


def as_38(request, it):
    """Our reply, as 3.8 would have sent it."""
    _, op, _, steps = request
    if op == j.MULTI and it[3] == 0:
        it = [*it[:4], [[1, r[1], r[2][:1]] if kind == j.CREATE2 and r[0] == j.CREATE2 else r for kind, r in zip([*steps, 0], it[4])]]
    return it


def comparable(conn, step, before, after, ours, theirs):
    """Both sides' items of one connection, with the KNOWN differences taken out."""
    catch_up = conn == step[0] and any(op in (j.SET_WATCHES, j.SET_WATCHES2) for _, op, _, _ in step[1])
    a, b = [], list(theirs)
    requests = iter(step[1])
    for it in ours:
        if it[0] == "event":
            assert before < it[1] <= after or (catch_up and it[1] == -1), f"an event of zxid {it[1]}, not of ({before}, {after}]"
            it = ["event", -1, *it[2:]]
        elif it[0] == "reply" and conn == step[0] and (request := next(requests, None)):
            it = as_38(request, it)
            n = len(a)
            if EXCUSED.get(request[1]) == it[3] and n < len(b) and b[n][:4] == ["reply", it[1], it[2], 0]:
                b[n] = it
        a.append(it)
    if any(op == j.CLOSE for _, op, _, _ in step[1]):  # its ephemerals go in the order of a hash table
        a, b = (sorted(x, key=lambda it: (it[0] != "event", it[2:] if it[0] == "event" else [])) for x in (a, b))
    return a, b


# ---- making requests ----

ACLS = [OPEN, [(31, "auth", "")], [(31, "auth", "x"), (1, "world", "anyone")], [(1, "world", "anyone")], [(2, "world", "anyone")],
        [(31, "digest", BOB)], [(31, "ip", "127.0.0.1")], [(31, "ip", "127.0.0.0/8")], [(31, "ip", "10.0.0.0/8")], [(0, "world", "anyone")],
        [(16, "world", "anyone"), (1, "digest", BOB)], [(1, "digest", "a:b")], [(-1, "world", "anyone")], [(64, "world", "anyone")],
        [(31, "digest", ":x")], [(31, "digest", "a:b:")], [(4, "world", "anyone"), (4, "world", "anyone"), (1, "ip", "127.0.0.1/32")]]
BAD_ACLS = [[], None, [(31, "nosuch", "x")], [(31, "world", "me")], [(31, None, "x")], [(31, "world", None)], [(31, "ip", None)],
            [(31, "ip", "bad")], [(31, "ip", "1.2.3.4/33")], [(31, "ip", "1.2.3.4/x")], [(31, "ip", "1.2.3")], [(31, "digest", "nocolon")],
            [(31, "digest", "a:b:c")], [(31, "digest", "user:")], [(31, "super", "")], [(31, "", "x")], [(31, "sasl", "x")], [(31, "digest", "")],
            [(31, "ip", "")], [(31, "ip", "256.1.1.1")], [(31, "ip", "1.2.3.4/-1")], [(31, "auth", None)], [(31, "digest", None)]]
ODD_PATHS = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "", "a", "//", "/a/", "/a//b", "/a/../b", "/.", "/a/.", "/a\0b", "/a\x01",
             "/\x7f", "/\ud7ff", "/\ue000", "/\ufff0", "/é", "/日本", b"/\xff", b"/\xed\xa0\x80", b"/\xf0\x9f\x98\x80", b"/\xc0\x80", "/nope/x",
             "/x" * 200, "/zookeeper/x", "/zookeeper/quota/q", "/a/...",
             "/ a", "/a b", b"/\xe2\x82", "/a/b/c/d/e"]
LIMITS = [b"count=5,bytes=-1", b"count=-1,bytes=20", b"count=3,bytes=10=;byteHardLimit=40;countHardLimit=6", b"countHardLimit=4", b"",
          b"count=2,bytes=30=;byteHardLimit=-1;countHardLimit=3"]


class Maker:
    """Random requests. It knows the zxid that both servers are at, and nothing else of what they answer."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.zxid = 0
        self.xid = 0
        self.pipelined = False

    def path(self, zones="nnnnaceqo"):
        zone = self.r.choice(zones)
        if zone == "q" and self.pipelined:
            zone = "n"
        if zone == "o":
            return self.r.choice(ODD_PATHS)
        depth = self.r.choice((0, 1, 1, 1, 2, 2, 3))
        top = {"n": f"/n{self.r.randrange(2)}", "a": "/acl", "c": "/con", "e": "/eph", "q": "/q"}[zone]
        return top + "".join("/" + self.r.choice("abc") for _ in range(depth))

    def data(self):
        return self.r.choice((None, b"", b"x", b"data", bytes(range(30)), b"y" * 500))

    def acl(self, path):
        if self.r.random() < 0.07:
            return self.r.choice(BAD_ACLS)
        return self.r.choice(ACLS) if isinstance(path, str) and path.startswith("/acl/") else OPEN

    def version(self):
        return self.r.choice((-1, -1, -1, 0, 1, 2, -2, 2147483647))

    @staticmethod
    def watch_mode(conn, path):
        """The one mode in which a connection watches a path (KNOWN)."""
        path = path.encode("utf-8", "surrogatepass") if isinstance(path, str) else path
        path = path.decode("utf-8", "replace").encode()  # as Java reads it, more or less
        return zlib.crc32(b"%d" % conn + path) % 3

    def create(self, op, multi=False):
        path = self.path()
        flags = self.r.choice((0, 0, 0, 1, 1, 2, 3))
        if op == j.CREATE_CONTAINER:
            flags = 4 if multi else self.r.choice((4, 4, 4, 0, 2, 5))
        elif op == j.CREATE_TTL:
            flags = self.r.choice((5, 5, 6))
        elif not multi and self.r.random() < 0.05:
            flags = self.r.choice((5, 6, 7, -1, 100))
        if flags in (2, 3, 6) and self.r.random() < 0.3:
            path = (path if isinstance(path, str) else "/n0") + "/"
        if op == j.CREATE_TTL:
            ttl = self.r.choice((3600000, 3600000, 1 << 39, (1 << 40) - 1, 1 << 40, 0, -1))
            return j.create_ttl(path, self.data(), self.acl(path), flags, ttl)
        return j.create(path, self.data(), self.acl(path), flags)

    def set_acl(self):
        path = self.path("aaano")
        return j.set_acl(path, self.acl(path), self.version())

    def quota(self):
        """Making, changing and removing quotas of /q and below."""
        path = "/zookeeper/quota/q" + self.r.choice(("", "", "/a"))
        leaf = path + self.r.choice(("", "/zookeeper_limits", "/zookeeper_limits", "/zookeeper_stats"))
        op = self.r.choice((j.CREATE, j.CREATE, j.SET_DATA, j.GET_DATA, j.DELETE))
        data = self.r.choice(LIMITS)
        return op, {j.CREATE: lambda: j.create(leaf, data, OPEN, 0), j.SET_DATA: lambda: j.set_data(leaf, data, -1),
                    j.GET_DATA: lambda: j.path_flag(leaf, 0), j.DELETE: lambda: j.path_version(leaf, -1)}[op]()

    def steps(self):
        out = []
        for _ in range(self.r.choice((0, 1, 1, 2, 2, 3, 4, 6))):
            op = self.r.choice((j.CREATE, j.CREATE, j.CREATE2, j.CREATE_CONTAINER, j.CREATE_TTL, j.DELETE, j.SET_DATA, j.SET_DATA, j.CHECK))
            out.append((op, self.simple(op, multi=True)))
        return out

    def simple(self, op, multi=False):
        if op in (j.CREATE, j.CREATE2, j.CREATE_CONTAINER, j.CREATE_TTL):
            return self.create(op, multi)
        if op in (j.DELETE, j.CHECK):
            return j.path_version(self.path(), self.version())
        return j.set_data(self.path(), self.data(), self.version())

    def read(self, conn, op):
        path = self.path("nnnnaceqo")
        watch = self.r.random() < 0.5 and self.watch_mode(conn, path) == 0
        if op == j.EXISTS and isinstance(path, str) and path.startswith("/acl"):
            watch = False  # 3.8 would leave one where READ is missing
        return j.path_flag(path, watch)

    def watch_paths(self, conn, mode):
        paths = [self.path("nnce") for _ in range(self.r.randrange(4))]
        return [p for p in paths if self.watch_mode(conn, p) == mode]

    def watch_request(self, conn):
        kind = self.r.choice((j.ADD_WATCH, j.ADD_WATCH, j.SET_WATCHES, j.SET_WATCHES2, j.CHECK_WATCHES, j.REMOVE_WATCHES))
        if kind == j.ADD_WATCH:
            path = self.path("nnnceqo" if self.r.random() < 0.5 else "nce")
            mode = self.watch_mode(conn, path)
            return kind, j.path_version(path, mode - 1 if mode else self.r.choice((2, -1, 100)))
        if kind in (j.SET_WATCHES, j.SET_WATCHES2):
            lists = [self.watch_paths(conn, 0) for _ in range(3)]
            if kind == j.SET_WATCHES2:
                lists += [self.watch_paths(conn, 1), self.watch_paths(conn, 2)]
            return kind, j.set_watches(self.r.choice((0, self.zxid, max(0, self.zxid - 20))), *lists)
        path = self.path("nnce")
        return kind, j.path_version(path, self.r.choice((1, 2, 3, 0, 6, -1)) if self.watch_mode(conn, path) == 0 else 3)

    def other(self):
        op = self.r.choice((j.GET_ACL, j.GET_ACL, j.SYNC, j.GET_EPHEMERALS, j.GET_ALL_CHILDREN_NUMBER, j.WHO_AM_I, j.PING, j.MULTI_READ, j.RECONFIG))
        if op in (j.WHO_AM_I, j.PING):
            return op, b""
        if op == j.GET_EPHEMERALS:
            return op, j.string(self.r.choice((None, "", "/", "/eph", "/n0/a", "/ep", "x")))
        if op == j.RECONFIG:
            return op, j.string("") * 3 + struct.pack(">q", -1)
        if op == j.MULTI_READ:
            steps = [(self.r.choice((j.GET_DATA, j.GET_CHILDREN)), j.path_flag(self.path(), self.r.random() < 0.3)) for _ in range(self.r.randrange(5))]
            return op, j.multi(steps)
        return op, j.string(self.path("nnnnaceqo" if op != j.SYNC else "nq"))

    def request(self, conn, pipelined=False):
        """(xid, op, body, opcodes of the steps of a multi)"""
        self.pipelined = pipelined
        what = self.r.choices(("write", "read", "watch", "multi", "acl", "other", "quota", "broken"), (34, 22, 12, 10, *((0, 9, 0) if pipelined else (5, 9, 4)), 4))[0]
        steps = []
        if what == "write":
            op = self.r.choice((j.CREATE, j.CREATE, j.CREATE, j.CREATE2, j.CREATE_CONTAINER, j.CREATE_TTL, j.DELETE, j.DELETE, j.SET_DATA, j.SET_DATA))
            body = self.simple(op)
        elif what == "read":
            op = self.r.choice(WATCH_OPS)
            body = self.read(conn, op)
        elif what == "watch":
            op, body = self.watch_request(conn)
        elif what == "multi":
            made = self.steps()
            op, body, steps = j.MULTI, j.multi(made), [s for s, _ in made]
        elif what == "acl":
            op, body = j.SET_ACL, self.set_acl()
        elif what == "other":
            op, body = self.other()
        elif what == "quota":
            op, body = self.quota()
        else:
            op, body = self.r.choice((self.broken, self.flipped))()
        self.xid += 1
        xid = self.xid if self.r.random() < 0.95 else self.r.choice((0, -8, -5, -(1 << 31), (1 << 31) - 1, 1))
        return xid, op, body, steps

    def flipped(self):
        """A body with one byte changed."""
        op = self.r.choice((j.CREATE, j.CREATE2, j.DELETE, j.SET_DATA, j.SET_DATA, j.GET_ACL, j.GET_DATA))
        body = bytearray(j.string(self.path()) if op == j.GET_ACL else j.path_flag(self.path(), 0) if op == j.GET_DATA else self.simple(op))
        at = self.r.randrange(min(8, len(body)) if op in (j.CREATE, j.CREATE2) else len(body))
        body[at] ^= 1 << self.r.randrange(8)
        if op in (j.CREATE, j.CREATE2) and create_flags(bytes(body)) == 4 or op == j.GET_DATA and at == len(body) - 1:
            body[at:] = b""
        return op, bytes(body)

    def broken(self):
        """A body that is cut, or has something behind it."""
        op, body = self.r.choice([(op, self.simple(op)) for op in (j.CREATE, j.CREATE2, j.CREATE_TTL, j.DELETE, j.SET_DATA)] +
                                 [(j.SET_DATA, b"") if self.pipelined else (j.SET_ACL, self.set_acl()), (j.GET_DATA, j.path_flag(self.path(), 0)), (j.GET_CHILDREN, j.path_flag(self.path(), 0)),
                                  (j.GET_ACL, j.string(self.path())), (j.MULTI_READ, j.multi([(j.GET_DATA, j.path_flag("/", 0))])),
                                  (j.GET_ALL_CHILDREN_NUMBER, j.string("/n0")), (j.SET_WATCHES, j.set_watches(0, [], [], [])),
                                  (j.REMOVE_WATCHES, j.path_version("/n0", 3)), (j.GET_EPHEMERALS, j.string("/")),
                                  (j.MULTI, j.multi([(j.SET_DATA, j.set_data("/n0", b"", -1))])), (j.MULTI, j.multi([(j.GET_DATA, j.path_flag("/", 0))])),
                                  (j.MULTI, j.multi([(j.SET_ACL, j.set_acl("/n0", OPEN, -1))])), (j.MULTI, j.multi([(99, b"")]))])
        if self.r.random() < 0.3 and op != j.MULTI:
            return op, body + b"behind"
        return op, body[:self.r.randrange(len(body) or 1)]


# ---- running ----


class Pair:
    def __init__(self, ours, theirs, seed):
        self.sides = (Side(ours), Side(theirs))
        self.maker = Maker(seed)
        self.zxid = 0
        self.done = []  # the last steps, for the message of a failure

    def connect(self, conn, mode):
        got = [side.connect(conn, mode) for side in self.sides]
        self.done.append((conn, mode))
        assert got[0] == got[1], self.story()
        return got[0]

    def story(self, conn=None, ours=(), theirs=()):
        """The last steps and what differs, for the message of a failure."""
        def short(v):
            text = repr(v)
            return text if len(text) < 700 else text[:700] + "..."
        lines = [short(step) for step in self.done[-6:]]
        for n, (a, b) in enumerate(itertools.zip_longest(ours, theirs)):
            if a != b:
                lines += [f"connection {conn}, item {n}:", f"  ours   {short(a)}", f"  theirs {short(b)}"]
        return "\n".join(lines)

    def step(self, conn, requests):
        self.done.append((conn, requests))
        got = [side.run(conn, [(xid, op, body) for xid, op, body, _ in requests]) for side in self.sides]
        after = [max([it[2] for items in g.values() for it in items if it[0] == "reply"], default=self.zxid) for g in got]
        for c in sorted(set(got[0]) | set(got[1])):
            a, b = comparable(c, (conn, requests), self.zxid, after[0], got[0].get(c, []), got[1].get(c, []))
            if a != b:
                pytest.fail(self.story(c, a, b), pytrace=False)
        assert after[0] == after[1], f"zxids taken\n{self.story()}"
        self.zxid = self.maker.zxid = after[0]

    def links(self):
        assert self.sides[0].links.keys() == self.sides[1].links.keys()
        return self.sides[0].links

    def end_connection(self, conn):
        for side in self.sides:
            side.links.pop(conn).hang_up()

    def auth(self, conn):
        m = self.maker
        scheme, data = m.r.choice([("digest", b"bob:secret"), ("digest", b"al:x"), ("digest", b"noone"), ("ip", b"x"), ("digest", b""),
                                   ("nosuch", b"x"), ("world", b""), ("auth", b""), ("", b"")])
        if m.r.random() < 0.2:  # without SASL configured: accepted, to no effect
            self.step(conn, [(m.r.choice((-4, 12345)), j.SASL, j.string(data), [])])
        else:
            self.step(conn, [(m.r.choice((-4, -4, -4, 12345)), j.AUTH, j.auth(scheme, data), [])])

    def random_step(self):
        m = self.maker
        conn = m.r.randrange(CONNS)
        if conn not in self.links():
            mode = m.r.choices(("attach", "new", "wrong", "unknown"), (6, 1, 1, 1))[0]
            self.connect(conn, mode if conn in self.sides[0].sessions else "new")
            self.ping()
            return
        what = m.r.choices(("one", "burst", "auth", "close", "hang up", "unknown op"), (80, 14, 2, 1, 2, 1))[0]
        if what == "one":
            self.step(conn, [m.request(conn)])
        elif what == "burst":
            self.step(conn, [m.request(conn, pipelined=True) for _ in range(m.r.randrange(2, 12))])
        elif what == "auth":
            self.auth(conn)
        elif what == "close":
            self.step(conn, [(m.xid, j.CLOSE, b"", [])])
            for side in self.sides:
                del side.sessions[conn]
        elif what == "hang up":
            self.end_connection(conn)
        else:
            self.step(conn, [(m.xid, m.r.choice((-1, 0, 10, 23, 50, 99, 108, 1000, -5)), b"", [])])

    def ping(self):
        """A connect may have taken a zxid."""
        conn = next(iter(self.links()), None)
        if conn is not None:
            self.step(conn, [(1, j.PING, b"", [])])

    def walk(self):
        """The whole tree, by the super user."""
        conn = CONNS
        self.connect(conn, "new")
        self.ping()
        self.step(conn, [(-4, j.AUTH, j.auth("digest", b"super:secret"), [])])
        todo = ["/"]
        while todo:
            path = todo.pop()
            self.step(conn, [(1, j.GET_DATA, j.path_flag(path, 0), []), (2, j.GET_ACL, j.string(path), []),
                             (3, j.GET_CHILDREN2, j.path_flag(path, 0), [])])
            link = self.sides[0].links[conn]
            link.send(j.request(1, j.GET_CHILDREN, j.path_flag(path, 0)))
            todo += [path.rstrip("/") + "/" + name for name in j.decode(j.GET_CHILDREN, link.frame()[16:])[0]]


def seeds():
    first, _, last = os.environ.get("QUOLL_DIFF_SEEDS", "1-3").partition("-")
    return range(int(first), int(last or first) + 1)


@pytest.fixture(scope="module", autouse=True)
def needs_both(build_dir):
    missing = apache.available() or QuollServer.available(build_dir)
    if missing:
        skip_loudly(missing)


@pytest.fixture
def servers(build_dir):
    props = {"maxSessionTimeout": 60000, "DigestAuthenticationProvider.superDigest": SUPER, "enforceQuota": "true", "maxClientCnxns": 0}
    args = [a for k, v in props.items() for a in ("--set", f"{k}={v}")]
    with QuollServer(build_dir, args=[*args, "--http-listen", "off"]) as ours, apache.ApacheServer(props=props) as theirs:
        yield ours, theirs


@pytest.mark.parametrize("seed", seeds())
def test_same_as_apache(servers, seed):
    pair = Pair(*servers, seed)
    for conn in range(CONNS):
        pair.connect(conn, "new")
    pair.ping()
    m = pair.maker
    for top in ("/n0", "/n1", "/acl", "/eph", "/q"):
        pair.step(0, [(1, j.CREATE, j.create(top, b"", OPEN, 0), [])])
    pair.step(0, [(1, j.CREATE_CONTAINER, j.create("/con", b"", OPEN, 4), [])])
    for _ in range(int(os.environ.get("QUOLL_DIFF_STEPS", "1000"))):
        pair.random_step()
    pair.walk()
