/* core.h - the server core: sessions, request preparation, the pipeline of writes. Sans-I/O.
 *
 * Purpose    Everything that orders and decides: which zxid a write gets, whether it is valid against what is committed *and* what
 *            is under way, when a session expires, what the client is told. It reads no clock, socket or file: connections are
 *            numbers, time is an argument, durability is an event. The core that ships is the core that a simulator can run.
 * Life of a write
 *            core_submit -> prepared against the tree overlaid with pending changes (prep.c) -> CORE_APPEND effect
 *            -> core_persisted(zxid) -> core_apply: tree_apply, watches fire, CORE_REPLY effect.
 *            In standalone mode "persisted" means committed; in an ensemble a quorum of acknowledgements takes its
 *            place, between persisted and apply (pipeline.c is the one place that knows).
 * Threading  One owner: the core thread. core_apply must be called under the tree's write lock; the rest needs no lock, since the
 *            core is the tree's only writer.
 * Ownership  Input is borrowed for the call. Effects and their bytes are valid until the next core_effects_clear.
 * Errors     What a client did wrong is a reply. RC_NOMEM cannot happen (x_malloc). A txn of our own making that does not apply is a bug: ASSERT.
 * Source     PrepRequestProcessor, FinalRequestProcessor, SessionTrackerImpl, ContainerManager (3.9). */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H

#include "tree/tree.h"

struct core;

struct core_config {
    int64_t server_id;          /* 1 for standalone: top byte of session ids */
    int32_t tick_ms;            /* tickTime */
    int32_t min_session_ms, max_session_ms; /* already defaulted */
    bool skip_acl, enforce_quota, extended_types, no_digest;
    uint32_t snap_count;        /* snapCount; roll and snapshot after snap_count/2 + random */
    int64_t snap_size_bytes;    /* snapSizeLimitInKb; <= 0 off */
    int64_t container_check_ms; /* znode.container.checkIntervalMs, 60000 */
    int32_t container_max_per_minute; /* 10000 */
    int64_t container_max_never_used_ms; /* 0 off */
    uint32_t max_txn;           /* a write whose transaction would be larger is refused, so that the log stays readable */
    uint64_t seed;              /* of the randomness used for snapshot spacing */
};

/* conn: a number that the shell chose for a connection, unique for its life, never 0. */
enum core_effect_type {
    CORE_APPEND,        /* append txn to the log; tell core_persisted when durable. In zxid order */
    CORE_ROLL_LOG,      /* the appends that follow go to a new file */
    CORE_SNAPSHOT,      /* take a snapshot in the background; tell core_snapshot_done */
    CORE_REPLY,         /* send bytes (a whole frame with its length) to conn: finishes one of its writes */
    CORE_SESSION_READY, /* answer conn's ConnectRequest: session_id, timeout_ms, passwd; 0/0 = invalid: answer so, then close */
    CORE_CLOSE_CONN,    /* close conn once what is queued for it has been sent */
};
struct core_effect {
    enum core_effect_type type;
    uint64_t conn;
    int64_t zxid;        /* APPEND; REPLY: of the reply header */
    struct buf bytes;    /* APPEND: txn (header, body, digest); REPLY: frame */
    int32_t err;         /* REPLY */
    int32_t op;          /* REPLY: opcode, for statistics */
    int64_t session_id;  /* SESSION_READY */
    int32_t timeout_ms;
    uint8_t passwd[ZK_PASSWORD_LEN];
};

/* The tree is borrowed and must be recovered already; now_ms is monotonic, wall_ms since the epoch (session ids, mtime).
 * Sessions found in the tree start with a full fresh timeout. */
struct core *core_new(const struct core_config *cfg, struct tree *tree, int64_t now_ms, int64_t wall_ms);
void core_free(struct core *c);

/* A ConnectRequest that passed the shell's checks (frame, zxid). session_id 0: create; else re-attach. Answered by
 * CORE_SESSION_READY; an older connection of the same session gets CORE_CLOSE_CONN. */
void core_connect(struct core *c, uint64_t conn, int64_t session_id, struct buf passwd, int32_t timeout_ms);
/* The connection is gone (the session lives on). */
void core_disconnected(struct core *c, uint64_t conn, int64_t session_id);
/* Some packet of the session came in (the shell may batch these; each write touches by itself). */
void core_touch(struct core *c, int64_t session_id);

/* A write: any of create*, delete, setData, setACL, multi, closeSession, reconfig (answered as the reference's standalone server does).
 * body: the request behind its header. ids: the identities the connection had when the request came (a reference is taken if needed).
 * Answered by exactly one CORE_REPLY (in order per conn), except to a session that is gone. */
struct core_request {
    uint64_t conn;
    int64_t session_id;
    int32_t xid, op;
    struct buf body;
    struct auth_ids *ids;
};
void core_submit(struct core *c, const struct core_request *req);
bool core_op_is_write(int32_t op); /* does this opcode go through core_submit? */

/* Moves time on: expires sessions, runs the reaper. Call at least every core_next_wake. */
void core_tick(struct core *c, int64_t now_ms, int64_t wall_ms);
int64_t core_next_wake(const struct core *c); /* monotonic ms */

void core_persisted(struct core *c, int64_t zxid); /* the log is durable up to zxid */
bool core_has_committed(const struct core *c);     /* is there something for core_apply? */
/* Applies what is committed, at most max_txns (0: all). Under the write lock. */
void core_apply(struct core *c, uint32_t max_txns);
void core_snapshot_done(struct core *c, bool ok);

size_t core_effects(struct core *c, const struct core_effect **ret);
void core_effects_clear(struct core *c);

/* ---- looking in (core thread, or under the read lock where said) ---- */
int64_t core_last_proposed(const struct core *c);
uint64_t core_outstanding(const struct core *c);   /* proposed, not applied */
size_t core_live_sessions(const struct core *c);
/* How often the tree's digest after an apply was not the one written into the transaction. Not 0: a bug of ours. */
uint64_t core_digest_mismatches(const struct core *c);
/* For the four-letter word `dump`: sessions by expiry, ascending. */
void core_each_expiry(const struct core *c, void (*fn)(void *data, int64_t expiry_mono_ms, int64_t session_id), void *data);

/* ---- pure helpers ---- */
int32_t session_timeout_clamp(int32_t requested_ms, int32_t min_ms, int32_t max_ms);
void session_passwd(int64_t session_id, uint8_t out[ZK_PASSWORD_LEN]); /* spec: java.util.Random(id ^ 0xB3415C00) */
int64_t session_first_id(int64_t server_id, int64_t wall_ms);

/* ---- reads: executed by net threads under the read lock (reads.c) ---- */
struct read_context {
    const struct tree *tree;
    struct watch_table *watches; /* the calling net thread's */
    struct watcher *watcher;     /* the connection's */
    int64_t session_id;
    struct auth_ids *ids;
    bool skip_acl;
};
/* Executes one read request (every opcode that is not a write, not ping/auth/sasl), registers its watches and appends the whole reply
 * frame to w, preceded by the catch-up events of setWatches. Returns the error of the reply, or a positive value when the connection must be
 * closed after sending (unknown opcode). */
int32_t read_execute(const struct read_context *ctx, int32_t xid, int32_t op, struct buf body, struct arena *a, struct wr *w);
/* Appends a watch event frame. */
void event_encode(struct wr *w, enum zk_event_type type, struct jstr path, int64_t zxid);
void reply_header_encode(struct wr *w, int32_t xid, int64_t zxid, int32_t err); /* whole frame without body */
/* The client is told this about itself. */
void who_am_i_encode(struct wr *w, const struct auth_ids *ids);

#endif
