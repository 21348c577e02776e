/* core_internal.h - what the files of the server core share. See server/core.h for what the core is.
 *
 * core.c      making, time, effects, figures            session.c   tracker, expiry, passwords
 * overlay.c   the state as it will be once everything    prep.c      validates one operation and writes its txn
 *             under way is applied                       prep_multi.c  the same for many at once
 * pipeline.c  zxids, append -> persisted -> apply        replies.c   what a client is sent
 * reaper.c    containers and TTL nodes                   reads.c     everything that needs no zxid (net threads)
 * roles.c     changing the role, syncs; what a leader    learner.c   requests for the leader, and what comes back
 *             does for learners                          local.c     sessions of this server alone; the read-only role */
#ifndef SERVER_CORE_INTERNAL_H
#define SERVER_CORE_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "server/core.h"

/* ---- sessions ---- */
#define SESSION_RING 256 /* buckets; a session further away than the ring goes around once more */

struct session {
    int64_t id;
    int32_t timeout_ms;
    bool closing;       /* a closeSession is under way: later writes fail */
    bool local;         /* known to this server alone; false from its upgrade on */
    bool read_only;     /* local, and made in the READONLY role, with which it ends */
    uint64_t conn;      /* 0: none at present */
    uint64_t peer;      /* leader: the learner that its client comes by */
    int64_t expiry_ms;  /* end of the bucket it lies in */
    struct list bucket; /* alone when closing; learner: of those heard from */
    struct list owned;  /* of struct change: what is under way for its ephemerals */
    struct list requests; /* of struct request */
};
#define PEER_OWN 0              /* our own connection */
#define PEER_UNKNOWN UINT64_MAX /* whoever writes first */

struct sessions {
    struct u64map by_id;
    struct list ring[SESSION_RING];
    int64_t interval_ms;
    int64_t ticked_ms;      /* the last tick */
    int64_t lag_ms;         /* how long we stood still: the sessions' clock is behind ours by that */
    int64_t next_expiry_ms; /* like session.expiry_ms by the sessions' clock */
    int64_t next_id;
    size_t live;         /* global */
    size_t local;
    struct ended *ended; /* leader, with local sessions: the oldest; see session_ended */
    struct ended **ended_tail;
    struct u64map ended_ids;
    struct list touched; /* learner: struct session.bucket of global ones; local ones lie in the ring */
};

void sessions_init(struct core *c, int64_t wall_ms);
void sessions_done(struct core *c);
int64_t sessions_next_wake(const struct core *c);
struct session *core_session_find(const struct core *c, int64_t id); /* NULL: no such session */
void core_session_touch(struct core *c, struct session *s);
void core_session_set_closing(struct core *c, struct session *s);
void core_session_remove(struct core *c, struct session *s);
struct session *core_session_add(struct core *c, int64_t id, int32_t timeout_ms); /* not touched yet */
void sessions_tick(struct core *c);
/* Forgets what is known of connections and requests (every connection is told to close) and starts from the tree's table. */
void sessions_restart(struct core *c);
/* LEADER with local sessions: was this a global session that ended not long ago? A learner's client may have sent a write before its
 * server knew; without this it would pass for a local session's, after the session is over for everybody. The reference lets it pass. */
bool session_ended(const struct core *c, int64_t session_id);
bool session_is_of(const struct core *c, int64_t session_id); /* does its id begin with our server's? */
/* The session goes on by this connection of ours. */
void session_attach(struct core *c, uint64_t conn, struct session *s, int32_t timeout_ms);

/* ---- transactions under way ---- */
struct step_marks { /* a byte per step of a multi; none: no step is marked */
    uint8_t *p;     /* owned by what has it */
    size_t len;
};
struct pending {
    struct pending *next;
    uint32_t refs; /* the queue's, an APPEND effect's, one per change that borrows from its bytes */
    int64_t zxid, time_ms;
    uint64_t conn; /* 0: nobody waits */
    int64_t session_id;
    int32_t xid, op;   /* as requested */
    int32_t txn_type;  /* as logged: differs when the request failed */
    int32_t err;       /* of an error txn */
    uint64_t digest;   /* of the tree once this is applied */
    bool has_digest;
    size_t body_len;   /* txn bytes between header and digest */
    struct wr txn;     /* header, body, digest */
    struct step_marks create2; /* a multi: which of its steps came as create2 */
};
#define TXN_HEADER_LEN 32
#define TXN_DIGEST_LEN 12
#define TXN_TYPE_OFFSET 28 /* of the type within the header */
#define DIGEST_VERSION 2
#define ZXID_COUNTER_LAST UINT32_C(0xFFFFFFFE)

void pending_unref(struct pending *p);

/* ---- overlay: per path, the newest state that is not applied yet ----
 * Bytes that a change brought with it stay in the transaction that brought them: the change holds a reference and an
 * offset (the buffer may still move while the transaction is being written). */
struct change {
    struct change *chain;    /* of the hash bucket */
    struct change *shadowed; /* the state before this transaction, while it is being prepared */
    struct list fifo;        /* all changes by zxid */
    struct list owned;       /* struct session.owned, or alone */
    uint64_t hash;
    int64_t zxid;
    bool deleted;
    int32_t child_count;
    uint64_t digest; /* 0: deleted, or not covered */
    struct zk_stat_persisted stat;
    struct pending *data_src, *acl_src; /* NULL: as in the tree */
    size_t data_off, acl_off, acl_len;
    int32_t data_len; /* -1: null */
    int32_t path_len;
    char path[];
};

struct overlay {
    struct change **buckets;
    size_t cap, len;
    struct list fifo;
    struct VEC(struct change *) journal; /* changes of the transaction being prepared */
    uint64_t digest;       /* of the tree once everything under way is applied */
    uint64_t digest_saved; /* before the transaction being prepared */
};

/* A node as a validation sees it: the overlay's, else the tree's. */
struct view {
    struct jstr path; /* borrowed */
    uint64_t hash;
    struct change *change;    /* may be NULL */
    const struct znode *node; /* the tree's, when there is no change */
    struct zk_stat_persisted stat;
    int32_t child_count;
};

void overlay_init(struct core *c);
void overlay_done(struct core *c);
void overlay_restart(struct core *c); /* nothing is under way, the digest is the tree's */
bool view_find(const struct core *c, struct jstr path, struct view *ret); /* false: no such node; *ret can still be edited */
struct jbuf view_data(const struct core *c, const struct view *v);
struct jacls view_acl(const struct core *c, const struct view *v, struct arena *a);
/* Every transaction's changes stand between begin and one of commit and rollback. */
void overlay_begin(struct core *c);
void overlay_commit(struct core *c);
void overlay_rollback(struct core *c);
/* Starts to change a node: the result is as in v, or zeroed if there was none; the caller changes it and seals it. */
struct change *change_edit(struct core *c, int64_t zxid, const struct view *v);
void change_set_data(struct change *ch, struct pending *src, size_t off, int32_t len);
void change_set_acl(struct change *ch, struct pending *src, size_t off, size_t len);
void change_seal(struct core *c, struct change *ch);
void overlay_drop(struct core *c, int64_t applied_zxid);

/* ---- preparation ---- */
struct op { /* any single operation, decoded; borrows from the request and the arena */
    int32_t type, flags, version;
    struct jstr path;
    struct jbuf data;
    struct jacls acl;
    int64_t ttl;
};
struct prep {
    struct core *c;
    struct pending *p;
    struct session *session; /* NULL: unknown; what needs one fails */
    uint64_t peer;           /* by whom the request came: only the session's owner may */
    struct auth_ids *ids;
    struct arena *a;
    int32_t no_ephemerals; /* the error for those; 0: allowed */
};
/* Decodes one operation; the caller checks r->rc. false: not an operation that can be decoded on its own. */
bool op_decode(struct rd *r, struct arena *a, int32_t type, struct op *ret);
/* Validates, appends the txn's body, records the changes. ZK_OK or an error with nothing changed but bytes in the txn.
 * ZK_MARSHALLINGERROR spoils a whole multi; any other error is a result of its step. */
int32_t prep_op(struct prep *pr, const struct op *op);
int32_t prep_multi(struct prep *pr, struct rd *r);
/* The steps of a multi as the reference's decoder rewrites them, into c->steps; false: the whole request is malformed. */
bool multi_decode(struct core *c, struct rd *r, struct arena *a);
/* Which steps of a request for the leader came as create2: owned. */
struct step_marks multi_create2(struct core *c, struct buf body);
/* Fills p->txn for the request: always a valid txn, if only one that says which error. */
void prep_request(struct prep *pr, struct buf body);
void prep_refusal(struct prep *pr, int32_t err); /* the request was refused before it got here */
void prep_delete_container(struct prep *pr, struct jstr path);

/* ---- pipeline ---- */
struct pending *pipeline_begin(struct core *c, int64_t session_id, int32_t xid, int32_t op, uint64_t conn, size_t body_len);
void pipeline_append(struct core *c, struct pending *p);
struct core_effect *effect_add(struct core *c, enum core_effect_type type, uint64_t conn);
void session_ready(struct core *c, uint64_t conn, const struct session *s); /* s NULL: invalid */
void submit_close_session(struct core *c, struct session *s);
void submit_create_session(struct core *c, struct session *s, uint64_t conn);
void pipeline_queue(struct core *c, struct pending *p); /* at the end of what is to be applied */
void pipeline_forget(struct core *c);                   /* all of it */
void snapshot_when_due(struct core *c, size_t txn_len);
/* LEADER: are this epoch's zxids used up? */
bool pipeline_full(const struct core *c);
/* LEADER: closes the sessions that own ephemerals and are not in the table. Such a tree cannot come from a correct history; removed without a
 * transaction they would stay at the others. */
void submit_orphans(struct core *c);

/* ---- own clients' requests that wait for the leader ----
 * LEARNER: all of them. LEADER: syncs, and the closing of a local session. A sync is answered when it is known that what was committed before it was asked for is applied
 * here: because core_synced said so, or because a transaction that was proposed after it is applied. */
struct request {
    struct list link;      /* struct session.requests, in the order they came */
    struct list sync_link; /* core.syncs, core.locals, or alone */
    int64_t session_id;
    uint64_t conn, tag;    /* tag: sync only, never 0 */
    int64_t barrier;       /* sync: answered at once when this is applied and it is confirmed; local: when this is applied */
    bool confirmed;        /* sync: core_synced was called */
    bool local;            /* the end of a local session: answered here, once everything before it is */
    int32_t err;           /* what an error of SESSIONEXPIRED (-112) is shown as; 0: as it is */
    struct step_marks create2; /* a multi: as struct pending.create2 */
    int32_t xid, op;
    size_t body_len;       /* sync */
    uint8_t body[];
};
struct request *core_request_add(struct core *c, struct session *s, uint64_t conn, int32_t xid, int32_t op, struct buf body);
void core_request_free(struct core *c, struct request *r);
void requests_forget(struct core *c, struct session *s);
/* Asks for a sync; the request's answer comes in the session's order. */
void sync_submit(struct core *c, struct session *s, const struct core_request *q);
void sync_answer(struct core *c, struct request *r);
/* Answers the syncs that zxid's being applied proves, before what zxid itself has for an answer ... */
void syncs_proven(struct core *c, int64_t zxid);
/* ... and those whose confirmation waited for it, after. */
void syncs_reached(struct core *c);
struct core_effect *effect_forward(struct core *c, enum core_effect_type type, const struct core_request *q);

/* ---- learner ---- */
/* expired_as: struct request.err. */
void learner_submit(struct core *c, struct session *s, const struct core_request *q, int32_t expired_as);
/* conn: who is told when it is made; 0: nobody. */
void learner_create_session(struct core *c, struct session *s, uint64_t conn);
void learner_revalidate(struct core *c, uint64_t conn, int64_t session_id, int32_t timeout_ms);
void learner_disconnected(struct core *c, uint64_t conn);
/* A learner that wants to know of a session whose closing is proposed. Few at any time: each has a client that came at that moment. */
struct asked {
    uint64_t peer;
    int64_t session_id;
};
void answer_asked(struct core *c, int64_t session_id); /* the session is over */
void learner_forget(struct core *c); /* revalidations under way: their connections are told to close */
/* Finds which of our requests an applied transaction answers, if any: p->conn and p->op are set then. */
void learner_match(struct core *c, struct pending *p, struct tree_result *res);

/* ---- local sessions, the read-only role ---- */
bool local_sessions_born(const struct core *c); /* is a new session a local one? */
void local_session_begin(struct core *c, struct session *s); /* s was just added, and is its client's */
bool local_session_survives(const struct session *s); /* a change of role */
void local_session_expire(struct core *c, struct session *s);
/* Looks at a local session's request before anybody else. True: dealt with. Else the session may be global now, and *ret_refused is not 0
 * when ephemerals are to be refused with it. */
bool local_submit(struct core *c, struct session *s, const struct core_request *q, int32_t *ret_refused);
void locals_reached(struct core *c); /* something was answered or applied: answers the ends that waited for it */
/* A client comes with a session that another server gave it. */
void read_only_adopt(struct core *c, uint64_t conn, int64_t session_id, int32_t timeout_ms);
void read_only_submit(struct core *c, struct session *s, const struct core_request *q);

/* ---- replies ---- */
/* Appends the reply frame of an applied write. data: of the node after a reconfig. */
void reply_write(struct wr *w, const struct pending *p, const struct tree_result *res, struct jbuf data);

/* ---- reaper ---- */
struct reaper {
    struct VEC(char *) queue; /* owned paths, taken from the end */
    int64_t next_check_ms, next_delete_ms;
};
void reaper_init(struct core *c);
void reaper_done(struct core *c);
void reaper_tick(struct core *c);
int64_t reaper_next_wake(const struct core *c);
void reaper_restart(struct core *c);

/* ---- the whole ---- */
struct core {
    struct core_config cfg;
    struct tree *tree; /* borrowed */
    int64_t now_ms, wall_ms;
    struct sessions sessions;
    struct overlay overlay;
    struct reaper reaper;

    enum core_role role;
    uint64_t requests;        /* of all sessions */
    uint64_t last_tag;
    struct u64map syncs_by_tag; /* struct request */
    struct list syncs;        /* LEADER: all, in the order they came; LEARNER: the confirmed ones */
    struct list locals;       /* struct request.local */
    bool orphans_due;         /* LEADER: submit_orphans */
    struct list revalidations; /* learner.c */
    struct VEC(struct asked) asked; /* LEADER */
    int64_t reconfig_zxid;    /* LEADER: of the last reconfig that was proposed */

    int64_t last_proposed, committed;
    struct pending *head, **tail; /* proposed, not applied, in zxid order */
    uint64_t outstanding;
    uint64_t digest_mismatches;

    uint64_t rng;
    uint64_t txns_since_snap;
    int64_t bytes_since_snap;
    uint64_t snap_at_txns;
    int64_t snap_at_bytes;
    bool snapshot_running;

    struct VEC(struct core_effect) effects;
    struct VEC(struct pending *) appended; /* references that APPEND and PROPOSE effects hold */
    struct VEC(struct auth_ids *) lent;    /* references that FORWARD and SYNC effects hold */
    struct arena prep_arena, apply_arena, out_arena;
    struct wr frame;             /* scratch */
    struct VEC(struct op) steps; /* scratch of prep_multi */
};

/* Does this server order writes itself? */
static inline bool core_orders(const struct core *c)
{
    return c->role == CORE_STANDALONE || c->role == CORE_LEADER;
}

static inline struct jstr path_parent(struct jstr path)
{
    int32_t i = path.n;
    while (i > 0 && path.p[i - 1] != '/')
        i--;
    return i <= 1 ? jstr_n("/", 1) : jstr_n(path.p, (size_t)i - 1);
}

#endif
