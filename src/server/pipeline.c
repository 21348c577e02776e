/* pipeline.c - the way of a write: zxid, log, commit, apply, reply.
 *
 * Standalone, a transaction is committed when it is durable here: core_persisted moves c->committed. In an ensemble a quorum's answer
 * does: core_committed. A learner's transactions come from its leader (learner.c). That everything leaves in zxid order
 * follows from c->head being one queue.
 * Source: PrepRequestProcessor, SyncRequestProcessor, FinalRequestProcessor (3.9). */
#include "core_internal.h"

void pending_unref(struct pending *p)
{
    ASSERT(p->refs > 0);
    if (--p->refs > 0)
        return;
    wr_free(&p->txn);
    free(p->create2.p);
    free(p);
}

/* Begins a transaction; its zxid is final, whatever becomes of the request. */
struct pending *pipeline_begin(struct core *c, int64_t session_id, int32_t xid, int32_t op, uint64_t conn,
                               size_t body_len)
{
    struct pending *p = x_calloc(1, sizeof(*p));
    p->refs = 1;
    p->zxid = ++c->last_proposed;
    p->time_ms = c->wall_ms;
    p->conn = conn;
    p->session_id = session_id;
    p->xid = xid;
    p->op = op;
    /* Mostly the only allocation for its bytes: a txn is about as long as its request. */
    p->txn.cap = TXN_HEADER_LEN + TXN_DIGEST_LEN + body_len + 32;
    p->txn.p = x_malloc(p->txn.cap);
    return p;
}

/* ---- snapshots: spaced by chance, so that the servers of an ensemble do not all write theirs at once ---- */

static uint64_t random_below(struct core *c, uint64_t n)
{
    uint64_t z = (c->rng += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return n ? (z ^ (z >> 31)) % n : 0;
}

static void snapshot_space(struct core *c)
{
    uint64_t half = MAX(c->cfg.snap_count, 2u) / 2;
    c->txns_since_snap = 0;
    c->bytes_since_snap = 0;
    c->snap_at_txns = half + random_below(c, half);
    int64_t half_bytes = c->cfg.snap_size_bytes / 2;
    c->snap_at_bytes = half_bytes > 0 ? half_bytes + (int64_t)random_below(c, (uint64_t)half_bytes) : INT64_MAX;
}

void snapshot_when_due(struct core *c, size_t txn_len)
{
    if (c->snap_at_txns == 0)
        snapshot_space(c); /* the first */
    c->txns_since_snap++;
    c->bytes_since_snap += (int64_t)txn_len;
    if (c->txns_since_snap <= c->snap_at_txns && c->bytes_since_snap <= c->snap_at_bytes)
        return;
    snapshot_space(c);
    effect_add(c, CORE_ROLL_LOG, 0);
    if (c->snapshot_running)
        return; /* the last one is not finished: this turn is left out */
    c->snapshot_running = true;
    effect_add(c, CORE_SNAPSHOT, 0);
}

void core_snapshot_done(struct core *c, bool ok)
{
    (void)ok; /* the shell said why; the next turn tries again */
    c->snapshot_running = false;
}

void pipeline_queue(struct core *c, struct pending *p)
{
    p->next = NULL;
    *c->tail = p;
    c->tail = &p->next;
    c->outstanding++;
}

void pipeline_forget(struct core *c)
{
    for (struct pending *p = c->head, *next; p; p = next) {
        next = p->next;
        pending_unref(p);
    }
    c->head = NULL;
    c->tail = &c->head;
    c->outstanding = 0;
}

/* The counter must never reach into the epoch's bits (ZOOKEEPER-1277). */
bool pipeline_full(const struct core *c)
{
    uint32_t max = c->cfg.counter_max != 0 ? c->cfg.counter_max : ZXID_COUNTER_LAST;
    return c->role == CORE_LEADER && (uint32_t)c->last_proposed >= max;
}

bool core_zxid_exhausted(const struct core *c)
{
    return pipeline_full(c);
}

void pipeline_append(struct core *c, struct pending *p)
{
    pipeline_queue(c, p);
    struct core_effect *e = effect_add(c, c->role == CORE_LEADER ? CORE_PROPOSE : CORE_APPEND, 0);
    e->zxid = p->zxid;
    e->bytes = buf_of(p->txn.p, p->txn.n);
    p->refs++;
    VEC_PUSH(&c->appended, p);
    snapshot_when_due(c, p->txn.n);
}

/* ---- submitting ---- */

bool core_op_is_write(int32_t op)
{
    switch (op) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
    case ZK_OP_DELETE:
    case ZK_OP_SET_DATA:
    case ZK_OP_SET_ACL:
    case ZK_OP_MULTI:
    case ZK_OP_RECONFIG:
    case ZK_OP_CLOSE_SESSION:
        return true;
    }
    return false;
}

bool core_op_is_submitted(enum core_role role, int32_t op)
{
    return core_op_is_write(op) || (op == ZK_OP_SYNC && role != CORE_STANDALONE);
}

void core_submit(struct core *c, const struct core_request *req)
{
    struct session *s = core_session_find(c, req->session_id);
    ASSERT(core_op_is_submitted(c->role == CORE_NONE ? CORE_LEARNER : c->role, req->op));
    if (!s)
        return; /* closed meanwhile: its connection is being closed too */
    if (c->role != CORE_STANDALONE && (s->conn != req->conn || c->role == CORE_NONE || pipeline_full(c)))
        return; /* Of a connection that was told to go. What it sent before may be lost, so what it sent behind must be. */
    core_session_touch(c, s);
    if (c->role == CORE_READONLY) {
        read_only_submit(c, s, req);
        return;
    }
    int32_t no_ephemerals = 0;
    if (s->local && (local_submit(c, s, req, &no_ephemerals) || pipeline_full(c)))
        return;
    if (c->role == CORE_LEARNER) {
        learner_submit(c, s, req, no_ephemerals);
        return;
    }
    if (req->op == ZK_OP_SYNC) {
        sync_submit(c, s, req);
        return;
    }
    struct pending *p = pipeline_begin(c, req->session_id, req->xid, req->op, req->conn, req->body.n);
    struct prep pr = { .c = c, .p = p, .session = s, .ids = req->ids, .a = &c->prep_arena, .no_ephemerals = no_ephemerals };
    arena_reset(&c->prep_arena);
    prep_request(&pr, req->body);
    pipeline_append(c, p);
}

static void submit_internal(struct core *c, struct session *s, int32_t op, uint64_t conn)
{
    if (pipeline_full(c))
        return;
    struct pending *p = pipeline_begin(c, s->id, 0, op, conn, 16);
    struct prep pr = { .c = c, .p = p, .session = s, .a = &c->prep_arena };
    arena_reset(&c->prep_arena);
    prep_request(&pr, buf_of("", 0));
    pipeline_append(c, p);
}

void submit_create_session(struct core *c, struct session *s, uint64_t conn)
{
    submit_internal(c, s, ZK_OP_CREATE_SESSION, conn);
}

void submit_close_session(struct core *c, struct session *s)
{
    submit_internal(c, s, ZK_OP_CLOSE_SESSION, 0);
}

struct orphans {
    struct core *c;
    struct VEC(int64_t) ids;
};

static void orphan_found(void *data, int64_t session, size_t count)
{
    struct orphans *o = data;
    if (!tree_session_known(o->c->tree, session))
        VEC_PUSH(&o->ids, session);
}

void submit_orphans(struct core *c)
{
    struct orphans o = { .c = c };
    c->orphans_due = false;
    tree_each_ephemeral_owner(c->tree, orphan_found, &o);
    for (size_t i = 0; i < o.ids.len && !pipeline_full(c); i++) {
        struct pending *p = pipeline_begin(c, o.ids.items[i], 0, ZK_OP_CLOSE_SESSION, 0, 16);
        struct prep pr = { .c = c, .p = p, .session = core_session_find(c, o.ids.items[i]), .a = &c->prep_arena };
        arena_reset(&c->prep_arena);
        prep_request(&pr, buf_of("", 0));
        pipeline_append(c, p);
    }
    VEC_FREE(&o.ids);
}

/* ---- commit and apply ---- */

static void committed_to(struct core *c, int64_t zxid)
{
    ASSERT(zxid <= c->last_proposed);
    if (zxid > c->committed)
        c->committed = zxid;
}

void core_persisted(struct core *c, int64_t zxid)
{
    ASSERT(c->role == CORE_STANDALONE);
    committed_to(c, zxid);
}

void core_committed(struct core *c, int64_t zxid)
{
    ASSERT(c->role == CORE_LEADER || c->role == CORE_LEARNER);
    committed_to(c, zxid);
}

bool core_has_committed(const struct core *c)
{
    return c->head && c->head->zxid <= c->committed;
}

static void answer(struct core *c, const struct pending *p, const struct tree_result *res)
{
    const struct znode *n = p->txn_type == ZK_OP_RECONFIG ? tree_find(c->tree, res->path) : NULL;
    wr_reset(&c->frame);
    reply_write(&c->frame, p, res, n ? znode_data(n) : (struct jbuf){ NULL, -1 });
    ASSERT(c->frame.rc == 0);
    struct core_effect *e = effect_add(c, CORE_REPLY, p->conn);
    e->zxid = p->zxid;
    e->bytes = buf_of(arena_memdup(&c->out_arena, c->frame.p, c->frame.n), c->frame.n);
    e->err = p->err;
    e->op = p->op;
    e->session_id = p->session_id;
}

/* The session is over: whoever holds a connection for it is told to hang up, the one that asked after its reply. */
static void finish_close(struct core *c, const struct pending *p)
{
    struct session *s = core_session_find(c, p->session_id);
    if (p->conn != 0)
        effect_add(c, CORE_CLOSE_CONN, p->conn);
    if (!s)
        return;
    if (s->conn != 0 && s->conn != p->conn)
        effect_add(c, CORE_CLOSE_CONN, s->conn);
    answer_asked(c, s->id);
    core_session_set_closing(c, s); /* it is already, but on a learner */
    core_session_remove(c, s);
}

/* Was the request refused because the session's client has gone to another server? Then this connection is a left-over: it is closed,
 * and not told why. */
static bool session_moved(const struct pending *p, const struct tree_result *res)
{
    for (int32_t i = 0; i < res->sub_count; i++)
        if (res->sub[i].err == ZK_SESSIONMOVED)
            return true;
    return p->err == ZK_SESSIONMOVED;
}

static void conclude(struct core *c, const struct pending *p, const struct tree_result *res)
{
    struct session *s = core_session_find(c, p->session_id);
    if (s && p->conn != 0) {
        if (p->op == ZK_OP_CREATE_SESSION)
            session_ready(c, p->conn, p->err == 0 ? s : NULL); /* a learner's may be refused */
        else if (session_moved(p, res))
            effect_add(c, CORE_CLOSE_CONN, p->conn);
        else
            answer(c, p, res);
    }
    if (p->txn_type == ZK_OP_CLOSE_SESSION ||
        (c->role == CORE_LEARNER && s && p->op == ZK_OP_CREATE_SESSION && !tree_session_known(c->tree, s->id)))
        finish_close(c, p);
}

static void apply_one(struct core *c, struct pending *p)
{
    struct txn_header h = { .client_id = p->session_id,
                            .cxid = p->xid,
                            .zxid = p->zxid,
                            .time_ms = p->time_ms,
                            .type = p->txn_type };
    struct tree_result res = { 0 };
    arena_reset(&c->apply_arena);
    int rc = tree_apply(c->tree, &h, buf_of(p->txn.p + TXN_HEADER_LEN, p->body_len), &c->apply_arena, &res);
    ASSERT(rc == 0);
    if (p->has_digest && p->digest != tree_digest(c->tree))
        c->digest_mismatches++;
    overlay_drop(c, p->zxid);

    if (c->role == CORE_LEARNER)
        learner_match(c, p, &res);
    else if (!list_empty(&c->syncs))
        syncs_proven(c, p->zxid);
    conclude(c, p, &res);
    if (!list_empty(&c->syncs))
        syncs_reached(c);
    if (!list_empty(&c->locals))
        locals_reached(c);
}

void core_apply(struct core *c, uint32_t max_txns)
{
    for (uint32_t n = 0; core_has_committed(c) && (max_txns == 0 || n < max_txns); n++) {
        struct pending *p = c->head;
        c->head = p->next;
        if (!c->head)
            c->tail = &c->head;
        c->outstanding--;
        apply_one(c, p);
        pending_unref(p);
    }
}
