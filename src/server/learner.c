/* learner.c - what a follower or observer does for its own clients: it asks the leader, and finds its answers among the transactions.
 *
 * Requests of a session leave in order and their transactions come back in that order, so a transaction is the answer to the oldest request of its
 * session, if that has its cxid, and else one that came in through another server. Syncs have no transaction; they are
 * passed over. That the kind fits too is asked because a client that moved here may count its cxids anew, while a request that it made elsewhere is
 * still under way.
 * Source: FollowerRequestProcessor, CommitProcessor, LearnerSessionTracker, Learner.validateSession (3.9). */
#include "core_internal.h"

/* A client wants to go on with its session, and the leader has been asked. */
struct revalidation {
    struct list link; /* core.revalidations, in the order asked */
    uint64_t conn;    /* 0: gone meanwhile */
    int64_t session_id;
    int32_t timeout_ms;
};

/* ---- asking ---- */

void learner_submit(struct core *c, struct session *s, const struct core_request *q, int32_t expired_as)
{
    if (q->op == ZK_OP_SYNC) {
        sync_submit(c, s, q);
        return;
    }
    struct request *r = core_request_add(c, s, q->conn, q->xid, q->op, buf_of(NULL, 0));
    r->err = expired_as;
    if (q->op == ZK_OP_MULTI)
        r->create2 = multi_create2(c, q->body);
    (void)effect_forward(c, CORE_FORWARD, q);
}

/* The id is ours to choose, since it begins with our own. */
void learner_create_session(struct core *c, struct session *s, uint64_t conn)
{
    uint8_t timeout[4];
    for (int i = 0; i < 4; i++)
        timeout[i] = (uint8_t)((uint32_t)s->timeout_ms >> (24 - 8 * i));
    struct core_request q = { .conn = conn, .session_id = s->id, .op = ZK_OP_CREATE_SESSION,
                              .body = buf_of(timeout, sizeof(timeout)) };
    learner_submit(c, s, &q, 0);
}

void learner_revalidate(struct core *c, uint64_t conn, int64_t session_id, int32_t timeout_ms)
{
    struct revalidation *v = x_calloc(1, sizeof(*v));
    v->conn = conn;
    v->session_id = session_id;
    v->timeout_ms = timeout_ms;
    list_push_back(&c->revalidations, &v->link);
    struct core_effect *e = effect_add(c, CORE_REVALIDATE, conn);
    e->session_id = session_id;
    e->timeout_ms = timeout_ms;
}

static void revalidation_free(struct revalidation *v)
{
    list_remove(&v->link);
    free(v);
}

void core_revalidated(struct core *c, int64_t session_id, bool valid)
{
    struct revalidation *v = NULL;
    LIST_EACH(it, &c->revalidations)
    {
        struct revalidation *u = CONTAINER_OF(it, struct revalidation, link);
        if (u->session_id == session_id) {
            v = u;
            break;
        }
    }
    if (!v)
        return;
    struct session *s = core_session_find(c, session_id);
    if (v->conn != 0 && !valid) {
        session_ready(c, v->conn, NULL);
    } else if (v->conn != 0) {
        if (!s) /* its createSession has not come here yet */
            s = core_session_add(c, session_id, v->timeout_ms);
        session_attach(c, v->conn, s, v->timeout_ms);
    }
    revalidation_free(v);
}

void learner_disconnected(struct core *c, uint64_t conn)
{
    LIST_EACH(it, &c->revalidations)
    {
        struct revalidation *v = CONTAINER_OF(it, struct revalidation, link);
        if (v->conn == conn)
            v->conn = 0; /* the leader's answer comes all the same */
    }
}

void learner_forget(struct core *c)
{
    LIST_EACH_SAFE(it, &c->revalidations)
    {
        struct revalidation *v = CONTAINER_OF(it, struct revalidation, link);
        if (v->conn != 0)
            effect_add(c, CORE_CLOSE_CONN, v->conn);
        revalidation_free(v);
    }
}

void core_take_touches(struct core *c, void (*fn)(void *data, int64_t session_id, int32_t timeout_ms), void *data)
{
    LIST_EACH_SAFE(it, &c->sessions.touched)
    {
        struct session *s = CONTAINER_OF(it, struct session, bucket);
        list_remove(&s->bucket);
        fn(data, s->id, s->timeout_ms);
    }
}

/* ---- what the leader made of it ---- */

static void read_digest(struct pending *p, struct rd *r)
{
    struct txn_digest d;
    txn_digest_read(r, NULL, &d);
    p->has_digest = r->rc == 0 && d.version == DIGEST_VERSION;
    p->digest = (uint64_t)d.tree_digest;
}

int core_learner_txn(struct core *c, int64_t zxid, struct buf txn)
{
    ASSERT(c->role == CORE_LEARNER);
    struct txn_header h;
    struct rd r = rd_buf(txn);
    size_t body_len;
    txn_header_read(&r, NULL, &h);
    if (r.rc != 0 || h.zxid != zxid || zxid <= c->last_proposed)
        return RC_MALFORMED;
    arena_reset(&c->prep_arena);
    if (tree_txn_body_len(&h, buf_of(r.p, rd_left(&r)), &c->prep_arena, &body_len) != 0)
        return RC_MALFORMED;

    struct pending *p = x_calloc(1, sizeof(*p));
    p->refs = 1;
    p->zxid = zxid;
    p->time_ms = h.time_ms;
    p->session_id = h.client_id;
    p->xid = h.cxid;
    p->op = p->txn_type = h.type;
    p->body_len = body_len;
    wr_bytes(&p->txn, txn.p, txn.n);
    (void)rd_take(&r, body_len);
    if (!c->cfg.no_digest && h.type != ZK_OP_ERROR)
        read_digest(p, &r);
    c->last_proposed = zxid;
    pipeline_queue(c, p);
    snapshot_when_due(c, txn.n);
    return 0;
}

static struct request *oldest_write(const struct session *s)
{
    LIST_EACH(it, &s->requests)
    {
        struct request *r = CONTAINER_OF(it, struct request, link);
        if (r->tag == 0 && !r->local)
            return r;
    }
    return NULL;
}

/* An applied transaction that answers a request proves the syncs which were sent ahead of it: the leader had them before. */
static void take_request(struct core *c, struct session *s, struct request *r, struct pending *p, struct tree_result *res)
{
    while (s->requests.next != &r->link)
        sync_answer(c, CONTAINER_OF(s->requests.next, struct request, link));
    p->conn = r->conn;
    p->op = r->op;
    p->create2 = r->create2;
    r->create2 = (struct step_marks){ NULL, 0 };
    for (int32_t i = 0; r->err != 0 && i < res->sub_count; i++)
        if (res->sub[i].err == ZK_SESSIONEXPIRED)
            res->sub[i].err = r->err;
    if (r->err != 0 && p->err == ZK_SESSIONEXPIRED)
        p->err = r->err;
    core_request_free(c, r);
}

void learner_match(struct core *c, struct pending *p, struct tree_result *res)
{
    struct session *s = core_session_find(c, p->session_id);
    if (p->txn_type != ZK_OP_MULTI)
        p->err = res->err;
    if (p->txn_type == ZK_OP_CREATE_SESSION && !s)
        s = core_session_add(c, p->session_id, tree_session_timeout(c->tree, p->session_id));
    struct request *r = s ? oldest_write(s) : NULL;
    if (r && r->xid == p->xid && (r->op == p->txn_type || p->txn_type == ZK_OP_ERROR))
        take_request(c, s, r, p, res);
}
