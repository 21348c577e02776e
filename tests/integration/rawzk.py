"""ZooKeeper's protocol by hand, as little of it as tests need that no client library would let through."""
import socket
import struct

CREATE, EXISTS, GET, SET, CHILDREN, PING, AUTH, CLOSE = 1, 3, 4, 5, 8, 11, 100, -11
NONODE, NODEEXISTS = -101, -110
OPEN_ACL = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"


def string(b):
    b = b.encode() if isinstance(b, str) else b
    return struct.pack(">i", len(b)) + b


def frame(body):
    return struct.pack(">i", len(body)) + body


def request(xid, op, body=b""):
    return frame(struct.pack(">ii", xid, op) + body)


def create(xid, path, data=b"", flags=0):
    return request(xid, CREATE, string(path) + string(data) + OPEN_ACL + struct.pack(">i", flags))


def set_data(xid, path, data, version=-1):
    return request(xid, SET, string(path) + string(data) + struct.pack(">i", version))


def with_watch(xid, op, path, watch=False):
    return request(xid, op, string(path) + bytes([watch]))


def connect_request(timeout_ms=10000, session=0, passwd=bytes(16), last_zxid=0, read_only=False):
    return frame(struct.pack(">iqiq", 0, last_zxid, timeout_ms, session) + string(passwd) + bytes([read_only]))


class RawClient:
    """One connection. Replies come back as (xid, zxid, err, body)."""

    def __init__(self, port, timeout_s=20, host="127.0.0.1", **session):
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.send(connect_request(**session))
        answer = self.frame()
        _, self.timeout_ms, self.session = struct.unpack(">iiq", answer[:16])
        self.passwd = answer[20:36]
        self.read_only = answer[36:37] == b"\1"

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """More bytes into the buffer; ConnectionError at the end."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError("closed by the server")
        self.buffer += part

    def take(self):
        """A whole frame from the buffer, or None."""
        if len(self.buffer) < 4:
            return None
        size = struct.unpack(">i", self.buffer[:4])[0]
        if len(self.buffer) < 4 + size:
            return None
        body, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
        return body

    def frame(self):
        while (body := self.take()) is None:
            self.receive()
        return body

    @staticmethod
    def parse(body):
        return (*struct.unpack(">iqi", body[:16]), body[16:])

    def reply(self):
        return self.parse(self.frame())

    def call(self, packet):
        self.send(packet)
        return self.reply()

    def children(self, path):
        """Names, or None when the node does not exist."""
        _, _, err, body = self.call(with_watch(1, CHILDREN, path))
        if err == NONODE:
            return None
        assert err == 0, err
        count, names, at = struct.unpack(">i", body[:4])[0], [], 4
        for _ in range(count):
            size = struct.unpack(">i", body[at:at + 4])[0]
            names.append(body[at + 4:at + 4 + size].decode())
            at += 4 + size
        return names

    def close(self):
        self.socket.close()
