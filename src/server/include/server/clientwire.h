/* clientwire.h - what a client's connection means, without the connection: frames, the handshake's records, and which request may go on.
 *
 * Purpose    The rules of a client connection as pure functions, so that every front end (sockets in conn.c, virtual connections in
 *            the simulator) has the same ones.
 * Order      Replies leave in the order of the requests. A write goes to the core as long as everything before it is a write or was
 *            executed; a read behind an own unfinished write waits, and everything behind it with it.
 * Threading  Pure; the caller's.
 * Source     NIOServerCnxn, ZooKeeperServer.processConnectRequest, processPacket (3.9). */
#ifndef SERVER_CLIENTWIRE_H
#define SERVER_CLIENTWIRE_H

#include "server/core.h"

enum {
    CLIENT_OUT_SOFT = 1 << 20,          /* with more unsent bytes, a client's requests wait */
    CLIENT_OUTSTANDING_MAX = 1000,      /* writes under way per connection */
    CLIENT_OUTSTANDING_BYTES = 8 << 20, /* the same in bytes */
};

/* The next frame of a stream: > 0 its whole length with the prefix, 0 more bytes are needed, RC_TOOBIG. */
int64_t frame_next(const uint8_t *p, size_t n, uint32_t max, struct buf *ret);

/* A ConnectRequest. *ret borrows from frame. *ret_old_client: there was no readOnly byte, so the answer has none.
 * 0 or the decoder's error. */
int client_connect_read(struct buf frame, struct arena *a, struct connect_request *ret, bool *ret_old_client);
/* Does this ConnectRequest take a read-only server? Never, when it is malformed or an old client's. */
bool client_connect_takes_read_only(struct buf frame, struct arena *a);
/* Appends the answer's whole frame. timeout_ms 0 and session_id 0: the session is not valid. passwd: ZK_PASSWORD_LEN bytes. */
void client_connect_answer(struct wr *w, int32_t timeout_ms, int64_t session_id, const uint8_t *passwd, bool old_client);
/* The same from a read-only server, to a client that takes one. */
void client_connect_answer_read_only(struct wr *w, int32_t timeout_ms, int64_t session_id, const uint8_t *passwd);

enum client_class {
    CLIENT_SUBMITTED, /* goes through core_submit: writes, in an ensemble sync */
    CLIENT_AUTH,      /* answered at once, whatever is under way */
    CLIENT_READ,      /* executed in place: reads, watches, ping */
};
struct client_request {
    int32_t xid, op;
    enum client_class class;
    struct buf body; /* borrows */
};
/* Splits a frame that came after the handshake. 0, or RC_SHORT: not even a header. */
int client_request_read(struct buf frame, enum core_role role, struct client_request *ret);

/* How busy a connection and its server are. */
struct client_load {
    uint32_t outstanding;      /* writes under way */
    size_t outstanding_bytes;
    size_t unsent;             /* bytes of output that the client has not taken */
    int64_t all_outstanding, all_limit; /* over all connections; globalOutstandingLimit */
};
/* May the request go on now? If not, it and all behind it wait for replies to go out. The reference stops reading a socket
 * whose connection has requests under way while the server as a whole has too many. */
bool client_may_go_on(const struct client_request *q, const struct client_load *load);

/* Answers an auth or sasl packet into w; *ids grows. Returns the error: not ZK_OK means to close once it is sent. */
int32_t client_auth_answer(struct wr *w, const struct client_request *q, struct arena *a, struct auth_ids **ids,
                           const char *super_digest);
/* Executes a CLIENT_READ, ping included, and appends its reply to w. As read_execute: > 0 means to close once it is sent. */
int32_t client_read_answer(struct wr *w, const struct client_request *q, const struct read_context *ctx, struct arena *a);

#endif
