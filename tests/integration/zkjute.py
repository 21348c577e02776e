"""Requests and replies of the client protocol, field by field, for tests that send what no client library would send.

Requests are made by the functions named after the opcodes; None stands for a null string, buffer or vector. decode() turns the body of a
reply into plain values: Stat objects are dicts, lists whose order is not specified are sorted.
"""
import struct

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG = 11, 12, 13, 14, 15, 16
CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, MULTI_READ = range(17, 23)
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = range(100, 108)
CLOSE = -11

STAT = struct.Struct(">qqqqiiiqiiq")
STAT_FIELDS = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeralOwner", "dataLength", "numChildren", "pzxid")
MULTI_END = struct.pack(">ibi", -1, 1, -1)


# ---- requests ----


def string(v):
    if v is None:
        return struct.pack(">i", -1)
    v = v.encode() if isinstance(v, str) else v
    return struct.pack(">i", len(v)) + v


def vector(items, encode=string):
    if items is None:
        return struct.pack(">i", -1)
    return struct.pack(">i", len(items)) + b"".join(map(encode, items))


def acl_entry(entry):
    perms, scheme, name = entry
    return struct.pack(">i", perms) + string(scheme) + string(name)


def acls(entries):
    return vector(entries, acl_entry)


def create(path, data, acl, flags):
    return string(path) + string(data) + acls(acl) + struct.pack(">i", flags)


def create_ttl(path, data, acl, flags, ttl):
    return create(path, data, acl, flags) + struct.pack(">q", ttl)


def path_version(path, version):
    return string(path) + struct.pack(">i", version)


def path_flag(path, watch):
    return string(path) + bytes([watch])


def set_data(path, data, version):
    return string(path) + string(data) + struct.pack(">i", version)


def set_acl(path, acl, version):
    return string(path) + acls(acl) + struct.pack(">i", version)


def auth(scheme, data):
    return struct.pack(">i", 0) + string(scheme) + string(data)


def multi(steps):
    """steps: (opcode, body of the opcode's request)."""
    return b"".join(struct.pack(">ibi", op, 0, -1) + body for op, body in steps) + MULTI_END


def set_watches(zxid, *lists):
    return struct.pack(">q", zxid) + b"".join(map(vector, lists))


def request(xid, op, body=b""):
    return struct.pack(">iii", len(body) + 8, xid, op) + body


def connect(timeout_ms=10000, session=0, passwd=bytes(16), last_zxid=0, read_only=b"\0"):
    body = struct.pack(">iqiq", 0, last_zxid, timeout_ms, session) + string(passwd) + read_only
    return struct.pack(">i", len(body)) + body


# ---- replies ----


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def unpack(self, fmt):
        values = struct.unpack_from(fmt, self.data, self.at)
        self.at += struct.calcsize(fmt)
        return values

    def i32(self):
        return self.unpack(">i")[0]

    def bytes(self):
        n = self.i32()
        if n < 0:
            assert n == -1
            return None
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n:self.at]

    def str(self):
        v = self.bytes()
        return None if v is None else v.decode("utf-8", "backslashreplace")

    def stat(self):
        return dict(zip(STAT_FIELDS, self.unpack(STAT.format)))

    def list(self, item):
        n = self.i32()
        return None if n < 0 else [item() for _ in range(n)]

    def sorted(self, item):
        got = self.list(item)
        return None if got is None else sorted(got)

    def acl(self):
        return (self.i32(), self.str(), self.str())

    def end(self):
        assert self.at == len(self.data), f"{len(self.data) - self.at} bytes after the reply"


def one_result(r, op):
    """The body of one reply, or of one step of a multi."""
    if op == CREATE:
        return [r.str()]
    if op in (CREATE2, CREATE_CONTAINER, CREATE_TTL):
        return [r.str(), r.stat()]
    if op in (EXISTS, SET_DATA, SET_ACL):
        return [r.stat()]
    if op == GET_DATA:
        return [r.bytes(), r.stat()]
    if op == GET_ACL:
        return [r.list(r.acl), r.stat()]
    if op == GET_CHILDREN:
        return [r.sorted(r.str)]
    if op == GET_CHILDREN2:
        return [r.sorted(r.str), r.stat()]
    if op == SYNC:
        return [r.str()]
    if op == GET_EPHEMERALS:
        return [r.sorted(r.str)]
    if op in (GET_ALL_CHILDREN_NUMBER, ADD_WATCH):
        return [r.i32()]
    if op == WHO_AM_I:
        return [r.sorted(lambda: (r.str(), r.str()))]
    if op == SASL:
        return [r.bytes()]
    return []


def multi_results(r):
    results = []
    while True:
        kind, done, err = r.unpack(">ibi")
        if done:
            return results + [(kind, err)]
        results.append((kind, err, r.i32() if kind == -1 else one_result(r, kind)))


def decode(op, body):
    """The values of the successful reply to an op. What it does not understand fails an assertion or struct.unpack."""
    r = Reader(body)
    values = multi_results(r) if op in (MULTI, MULTI_READ) else one_result(r, op)
    r.end()
    return values


def event(body):
    r = Reader(body)
    kind, state, path = r.i32(), r.i32(), r.str()
    r.end()
    return kind, state, path
