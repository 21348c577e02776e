/* history.h - what the virtual clients saw: the only thing by which the service is judged.
 *
 * Contents   One list of records in the order in which they happened at the clients. The order is total, since the world is one
 *            thread: a record's number is its place. A request is one record (struct hist_op) that is entered when it is sent and
 *            completed later; struct hist_mark says where in the order the completion, an event or a change of the connection stands.
 * Outcomes   OK and ERROR are what a reply said. UNKNOWN: the connection went first; the request may or may not have taken effect, then or later.
 * Ownership  Everything lives in the history's arena until history_free.
 * Units      *_us is virtual microseconds. order: place in the total order, from 0. */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "jute/records.h"

enum hist_outcome { HIST_PENDING, HIST_OK, HIST_ERROR, HIST_UNKNOWN };

/* One step of a multi, or a whole request's arguments and results: what applies to its opcode. */
struct hist_step {
    int32_t op;          /* ZK_OP_* */
    struct jstr path;
    struct jbuf data;    /* written */
    int32_t version;     /* expected; -1 any */
    int32_t flags;       /* create */
    int64_t ttl_ms;
    struct jacls acl;
    /* results; valid with outcome OK, of a multi with err 0 */
    int32_t err;         /* multi: of the step */
    struct jstr made;    /* create: the name it got */
    bool has_stat;
    struct zk_stat stat;
    struct jbuf got;     /* getData */
    struct jstrs children;
    struct jacls got_acl;
};
struct hist_op {
    uint32_t id;         /* index in history.ops */
    uint32_t client;
    uint32_t conn;       /* the client's connection: numbered over all clients */
    uint32_t server;     /* index of the server that it was sent to */
    int64_t session_id;
    int32_t xid;
    bool watch;          /* a read that leaves a watch; addWatch: always */
    uint32_t sync;       /* reads: 1 + the op id of the sync sent just before it on the same connection, or 0 */
    enum hist_outcome outcome;
    int32_t err;         /* ZK_*; of a multi: of its first failing step */
    int64_t zxid;        /* of the reply's header */
    uint64_t invoke, done; /* order; done: UINT64_MAX while pending, and for UNKNOWN */
    int64_t invoke_us, done_us;
    struct hist_step arg; /* arg.op is the request's opcode */
    struct hist_step *steps; /* multi */
    uint32_t step_count;
    int64_t relative_zxid; /* setWatches2, whose lists follow */
    const struct reconfig_request *change; /* reconfig; in the history's arena */
    struct jstrs lists[5]; /* data, exist, child, persistent, recursive */
};

enum hist_mark_type {
    HIST_INVOKED,      /* op */
    HIST_COMPLETED,    /* op: a reply came, or it became UNKNOWN */
    HIST_EVENT,        /* a watch event */
    HIST_CONNECTED,    /* the session is established or re-established by this connection */
    HIST_DISCONNECTED, /* the connection is gone */
    HIST_EXPIRED,      /* a server said that the session is not valid */
    HIST_CLOSED,       /* closeSession was answered */
    HIST_ABANDONED,    /* the client went away without closing its session */
    HIST_PONG,         /* a ping was answered: zxid, and since_us when it was sent */
    HIST_PROTOCOL,     /* the server broke the protocol: text */
};
struct hist_mark {
    enum hist_mark_type type;
    uint32_t client, conn, server;
    int64_t session_id;
    int64_t at_us;
    uint32_t op;            /* INVOKED, COMPLETED: index */
    int64_t zxid;           /* EVENT, PONG: of the header */
    int64_t since_us;       /* PONG */
    int32_t timeout_ms;     /* CONNECTED: negotiated */
    bool fresh;             /* CONNECTED: a new session */
    int32_t event;          /* EVENT: enum zk_event_type */
    struct jstr path;       /* EVENT */
    const char *text;       /* PROTOCOL; NULL otherwise */
};

struct history {
    struct VEC(struct hist_op *) ops;
    struct VEC(struct hist_mark) marks; /* index: order */
    uint32_t conns;         /* connections so far: the next gets this number */
    struct arena arena;
};

struct history *history_new(void);
void history_free(struct history *h);

/* Enters a request that is being sent; the caller has filled in what it asks (strings are copied by the caller into h->arena). */
struct hist_op *history_invoke(struct history *h, const struct hist_op *op, int64_t now_us);
void history_complete(struct history *h, struct hist_op *op, enum hist_outcome outcome, int64_t now_us);
void history_mark(struct history *h, const struct hist_mark *m);

struct jstr history_str(struct history *h, struct jstr s);   /* copies into the arena */
struct jbuf history_buf(struct history *h, struct jbuf b);

bool hist_op_is_write(const struct hist_op *op);
bool hist_op_is_read(const struct hist_op *op);
/* One line for people: who, what, where, when, outcome. */
void hist_op_print(struct wr *w, const struct hist_op *op);
void hist_mark_print(struct wr *w, const struct history *h, uint64_t order);
const char *hist_outcome_name(enum hist_outcome o);

#endif
