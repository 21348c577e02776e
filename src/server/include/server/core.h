/* core.h - the server core: sessions, request preparation, the pipeline of writes. Sans-I/O.
 *
 * Purpose    Everything that orders and decides: which zxid a write gets, whether it is valid against what is committed *and* what
 *            is under way, when a session expires, what the client is told. It reads no clock, socket or file: connections are
 *            numbers, time is an argument, durability is an event. The core that ships is the core that a simulator can run.
 * Life of a write
 *            core_submit -> prepared against the tree overlaid with pending changes (prep.c) -> CORE_APPEND effect
 *            -> core_persisted(zxid) -> core_apply: tree_apply, watches fire, CORE_REPLY effect.
 *            In standalone mode "persisted" means committed; in an ensemble a quorum's answer takes its place: see the roles below.
 * Threading  One owner: the core thread. core_apply must be called under the tree's write lock; the rest needs no lock, since the
 *            core is the tree's only writer.
 * Ownership  Input is borrowed for the call. Effects and their bytes are valid until the next core_effects_clear.
 * Errors     What a client did wrong is a reply. RC_NOMEM cannot happen (x_malloc). A txn of our own making that does not apply is a bug: ASSERT.
 * Source     PrepRequestProcessor, FinalRequestProcessor, SessionTrackerImpl, ContainerManager (3.9). */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H

#include "tree/tree.h"

struct core;

/* ---- roles of a server: see core_become ----
 * STANDALONE zxid = last + 1. core_submit -> CORE_APPEND -> core_persisted -> core_apply -> CORE_REPLY. sync is a read.
 * LEADER     zxid = epoch << 32 | counter, from 1. core_submit (own clients) and core_submit_remote (learners' clients) -> CORE_PROPOSE ->
 *            core_committed -> core_apply -> CORE_REPLY to own clients. Expires sessions, reaps nodes; knows for each session by which learner
 *            its client comes (its owner): a write by another way is refused with SESSIONMOVED (-118).
 * LEARNER    Follower or observer. core_submit -> CORE_FORWARD; core_learner_txn and core_committed bring what the leader made of it ->
 *            core_apply -> CORE_REPLY for the oldest local request with the transaction's session and cxid. Validates nothing, expires
 *            nothing: touches are gathered for the leader.
 * NONE       Looking for a leader, or being brought up to date. Serves nobody: whoever connects is told to go.
 * READONLY   As NONE, but who asked for it (core_connect_read_only) is served from the tree as it stands: reads only, every write and sync is
 *            answered NOTREADONLY (-119). Sessions made here are local and end with the role; those made before come and go, and live or
 *            expire elsewhere.
 * Local sessions (local.c; core_config.local_sessions): born in LEADER and LEARNER without a transaction, known to this server alone, expired
 * and closed by it. Their writes are ordered like any other. The first ephemeral makes one global, by a createSession ahead of it, or
 * is refused (-120). On a leader a session that it does not know is refused (-112), unless it may be a learner's local one. They
 * survive a change of role, which only takes their connections. */
enum core_role { CORE_STANDALONE, CORE_LEADER, CORE_LEARNER, CORE_NONE, CORE_READONLY };

struct reconfig_request;

struct core_config {
    int64_t server_id;          /* 1 for standalone: top byte of session ids */
    int32_t tick_ms;            /* tickTime */
    int32_t min_session_ms, max_session_ms; /* already defaulted */
    bool skip_acl, enforce_quota, extended_types, no_digest;
    bool local_sessions;        /* localSessionsEnabled; without effect when STANDALONE */
    bool local_upgrade;         /* localSessionsUpgradingEnabled */
    bool refuse_leading;        /* leaderServes=no: LEADER has no clients of its own */
    uint32_t snap_count;        /* snapCount; roll and snapshot after snap_count/2 + random */
    int64_t snap_size_bytes;    /* snapSizeLimitInKb; <= 0 off */
    int64_t container_check_ms; /* znode.container.checkIntervalMs, 60000 */
    int32_t container_max_per_minute; /* 10000 */
    int64_t container_max_never_used_ms; /* 0 off */
    uint32_t max_txn;           /* a write whose transaction would be larger is refused, so that the log stays readable */
    uint64_t seed;              /* of the randomness used for snapshot spacing */
    uint32_t counter_max;       /* LEADER: the last counter of an epoch; 0: 0xFFFFFFFE (tests) */
    /* LEADER, STANDALONE: what a reconfig request makes of the configuration. Validates, in this order: another one in progress (-14), curConfigId
     * (-103), members (-8), a synced quorum of the new configuration (-13). ZK_OK: *ret_text is the new text, its version being zxid; borrowed
     * until the next call. Anything else: the client's error (STANDALONE: always -6). Must not call back. NULL: reconfiguration is disabled
     * (-123). */
    int32_t (*reconfig)(void *data, const struct reconfig_request *q, int64_t zxid, struct buf *ret_text);
    void *reconfig_data;
};

/* conn: a number that the shell chose for a connection, unique for its life, never 0. */
enum core_effect_type {
    CORE_APPEND,        /* append txn to the log; tell core_persisted when durable. In zxid order */
    CORE_ROLL_LOG,      /* the appends that follow go to a new file */
    CORE_SNAPSHOT,      /* take a snapshot in the background; tell core_snapshot_done */
    CORE_REPLY,         /* send bytes (a whole frame with its length) to conn: finishes one of its writes */
    CORE_SESSION_READY, /* answer conn's ConnectRequest: session_id, timeout_ms, passwd; 0/0 = invalid: answer so, then close */
    CORE_CLOSE_CONN,    /* close conn once what is queued for it has been sent */
    /* ensemble only */
    CORE_PROPOSE,       /* LEADER, in place of APPEND: propose txn as zxid; tell core_committed. In zxid order, without gaps */
    CORE_FORWARD,       /* LEARNER: send the leader a client's request: session_id, xid, op, bytes, auth. In order */
    CORE_SYNC,          /* LEADER, LEARNER: a client's sync: FORWARD's fields and tag; tell core_synced(tag). In order with PROPOSE, FORWARD */
    CORE_PEER_SYNC,     /* LEADER: the sync of a learner's client: peer. In order with PROPOSE; nothing to tell */
    CORE_REVALIDATE,    /* LEARNER: ask the leader whether session_id with timeout_ms lives; tell core_revalidated. In order */
    CORE_SESSION_ENDED, /* LEADER: answer to `peer`, who asked by core_revalidate: session_id is over */
};
struct core_effect {
    enum core_effect_type type;
    uint64_t conn;
    int64_t zxid;        /* APPEND; REPLY: of the reply header */
    struct buf bytes;    /* APPEND, PROPOSE: txn (header, body, digest); REPLY: frame; FORWARD, SYNC: the request behind its header */
    int32_t err;         /* REPLY */
    int32_t op;          /* REPLY: opcode, for statistics; FORWARD, SYNC */
    int32_t xid;         /* FORWARD, SYNC: cxid */
    uint64_t tag;        /* SYNC */
    uint64_t peer;       /* PEER_SYNC, SESSION_ENDED */
    struct jids auth;    /* FORWARD, SYNC: the client's identities */
    int64_t session_id;  /* SESSION_READY, FORWARD, SYNC, REVALIDATE */
    int32_t timeout_ms;
    bool read_only;      /* SESSION_READY: said in the ConnectResponse */
    uint8_t passwd[ZK_PASSWORD_LEN];
};

/* The tree is borrowed and must be recovered already; now_ms is monotonic, wall_ms since the epoch (session ids, mtime).
 * Sessions found in the tree start with a full fresh timeout. */
struct core *core_new(const struct core_config *cfg, struct tree *tree, int64_t now_ms, int64_t wall_ms);
void core_free(struct core *c);

/* A ConnectRequest that passed the shell's checks (frame, zxid). session_id 0: create; else re-attach. Answered by
 * CORE_SESSION_READY; an older connection of the same session gets CORE_CLOSE_CONN. */
void core_connect(struct core *c, uint64_t conn, int64_t session_id, struct buf passwd, int32_t timeout_ms);
/* The same for a client that takes a read-only server too; READONLY tells others to go (CORE_CLOSE_CONN). */
void core_connect_read_only(struct core *c, uint64_t conn, int64_t session_id, struct buf passwd, int32_t timeout_ms);
/* The connection is gone (the session lives on). */
void core_disconnected(struct core *c, uint64_t conn, int64_t session_id);
/* Some packet of the session came in (the shell may batch these; each write touches by itself). */
void core_touch(struct core *c, int64_t session_id);

/* A write: any of create*, delete, setData, setACL, multi, closeSession, reconfig.
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
bool core_op_is_write(int32_t op);
/* Does this opcode go through core_submit? The writes; in an ensemble sync too. Pure: net threads ask it with the role they were told. */
bool core_op_is_submitted(enum core_role role, int32_t op);

/* Moves time on: expires sessions, runs the reaper (STANDALONE, LEADER). Call at least every core_next_wake: a call that is late by more than
 * a tick is taken for a server that stood still, and the time is given back to the sessions. */
void core_tick(struct core *c, int64_t now_ms, int64_t wall_ms);
int64_t core_next_wake(const struct core *c); /* monotonic ms */

void core_persisted(struct core *c, int64_t zxid); /* STANDALONE: the log is durable up to zxid */
bool core_has_committed(const struct core *c);     /* is there something for core_apply? */
/* Applies what is committed, at most max_txns (0: all). Under the write lock. */
void core_apply(struct core *c, uint32_t max_txns);
void core_snapshot_done(struct core *c, bool ok);

/* ---- ensemble ---- */

/* Changes the role; a new core is STANDALONE. Whatever the role was, it ends: what is under way is forgotten (its fate is the log's), every
 * connection gets CORE_CLOSE_CONN, and requests still on their way from such connections are ignored. The tree stays.
 * Before: core_apply until nothing committed is left (ASSERT). Uncommitted transactions that stay in the log are then applied by
 * core_replay in NONE, so that memory is what the disk is. A snapshot under way goes on.
 * LEADER: epoch << 32 is at least the tree's last zxid and becomes it; every session in the tree gets a full timeout.
 * epoch is ignored by the other roles; STANDALONE cannot be gone back to. Under the write lock. */
void core_become(struct core *c, enum core_role role, int64_t epoch, int64_t now_ms);
enum core_role core_role(const struct core *c);
/* NONE: the state was replaced (snapshot loaded, log truncated). The caller frees the old tree and has attached watches to the new one. */
void core_set_tree(struct core *c, struct tree *tree);
/* NONE: applies one transaction as recovery does (synchronisation, uncommitted tail). Under the write lock.
 * RC_MALFORMED: cannot be decoded; nothing was applied. */
int core_replay(struct core *c, struct buf txn);

/* Everything up to zxid is committed, for core_apply. LEARNER: has been given by core_learner_txn. */
void core_committed(struct core *c, int64_t zxid);
/* The sync with this tag: what was committed when it was asked for is known here by core_committed. Tags of the past are ignored. */
void core_synced(struct core *c, uint64_t tag);

/* LEADER: a request of a learner's client. peer: the learner's connection, never 0. Always ends in one proposal (an error txn when refused),
 * whatever the opcode is, but for a sync, which ends in one CORE_PEER_SYNC. createSession: body is the timeout, session_id the learner's choice; the learner is its owner. */
struct core_remote_request {
    uint64_t peer;
    int64_t session_id;
    int32_t cxid, op;
    struct buf body;
    struct jids auth;
};
void core_submit_remote(struct core *c, const struct core_remote_request *req);
/* LEADER: a learner heard from the session. timeout_ms: as its client negotiated it there. */
void core_touch_remote(struct core *c, int64_t session_id, int32_t timeout_ms);
/* LEADER: may the session's client go on by this learner? If so the learner is its owner now, and an own connection of it is closed. When
 * the session is being closed, that is true only once it is committed: a leader that has lost its quorum must not tell anybody so. */
enum core_revalidation {
    CORE_SESSION_OVER,
    CORE_SESSION_LIVES,
    CORE_SESSION_ENDING, /* no answer yet: CORE_SESSION_ENDED, or none in this epoch */
};
enum core_revalidation core_revalidate(struct core *c, uint64_t peer, int64_t session_id, int32_t timeout_ms);
/* LEADER: this epoch has no zxid left: nothing is accepted any more, elect a new epoch. */
bool core_zxid_exhausted(const struct core *c);

/* LEARNER: a transaction from the leader, in zxid order; copied. RC_MALFORMED: cannot be decoded, or not behind the last one: leave this leader. */
int core_learner_txn(struct core *c, int64_t zxid, struct buf txn);
/* LEARNER: the leader's answer to the oldest CORE_REVALIDATE for this session. */
void core_revalidated(struct core *c, int64_t session_id, bool valid);
/* LEARNER: hands out the sessions heard from since the last call; each once. */
void core_take_touches(struct core *c, void (*fn)(void *data, int64_t session_id, int32_t timeout_ms), void *data);

size_t core_effects(struct core *c, const struct core_effect **ret);
void core_effects_clear(struct core *c);

/* ---- looking in (core thread, or under the read lock where said) ---- */
int64_t core_last_proposed(const struct core *c);  /* LEARNER: received; NONE: the tree's */
uint64_t core_outstanding(const struct core *c);   /* proposed (LEARNER: received), not applied; and own clients' requests that wait for the leader */
size_t core_live_sessions(const struct core *c);   /* global ones */
size_t core_local_sessions(const struct core *c);
/* How often the tree's digest after an apply was not the one written into the transaction. Not 0: a bug of ours. */
uint64_t core_digest_mismatches(const struct core *c);
/* For the four-letter word `dump`: global or local sessions by expiry, ascending; none that others let expire. */
void core_each_expiry(const struct core *c, bool local, void (*fn)(void *data, int64_t expiry_mono_ms, int64_t session_id), void *data);

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
