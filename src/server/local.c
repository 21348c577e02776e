/* local.c - sessions that only this server knows, and the read-only role, which has no others.
 *
 * A local session takes no transaction to begin or to end, so nobody else can take it over: its client may come back here, and is told anywhere
 * else that it expired. It can own no ephemeral, since others could not tell when that has to go. Where upgrading is allowed, a
 * createSession goes ahead of the first request that would create one, on the same way, and from then on it is a session
 * like any other. The end of a local session has no transaction to be answered by: it is a request that waits here for those before it.
 * Source: LocalSessionTracker, UpgradeableSessionTracker, QuorumZooKeeperServer.checkUpgradeSession, ReadOnlyRequestProcessor (3.9). Unlike there a
 * local session survives the loss of the leader, and read-only mode does not need localSessionsEnabled. */
#include "core_internal.h"

/* ---- life ---- */

bool local_sessions_born(const struct core *c)
{
    return c->role == CORE_READONLY || (c->cfg.local_sessions && c->role != CORE_STANDALONE);
}

void local_session_begin(struct core *c, struct session *s)
{
    s->local = true;
    s->read_only = c->role == CORE_READONLY;
    c->sessions.live--;
    c->sessions.local++;
    core_session_touch(c, s);
    session_ready(c, s->conn, s);
}

bool local_session_survives(const struct session *s)
{
    return s->local && !s->closing && !s->read_only;
}

void local_session_expire(struct core *c, struct session *s)
{
    if (s->conn != 0)
        effect_add(c, CORE_CLOSE_CONN, s->conn);
    core_session_set_closing(c, s);
    core_session_remove(c, s);
}

/* ---- the end that a client asks for ---- */

static void answer_header(struct core *c, uint64_t conn, int64_t session_id, int32_t xid, int32_t op, int32_t err)
{
    struct wr *w = &c->frame;
    int64_t zxid = tree_last_zxid(c->tree);
    wr_reset(w);
    reply_header_encode(w, xid, zxid, err);
    struct core_effect *e = effect_add(c, CORE_REPLY, conn);
    e->zxid = zxid;
    e->bytes = buf_of(arena_memdup(&c->out_arena, w->p, w->n), w->n);
    e->err = err;
    e->op = op;
    e->session_id = session_id;
}

static void end_submit(struct core *c, struct session *s, const struct core_request *q)
{
    struct request *r = core_request_add(c, s, q->conn, q->xid, q->op, buf_of(NULL, 0));
    r->local = true;
    r->barrier = c->role == CORE_LEADER ? c->last_proposed : 0; /* a learner's writes are requests ahead of it */
    list_push_back(&c->locals, &r->sync_link);
    core_session_set_closing(c, s);
    locals_reached(c);
}

void locals_reached(struct core *c)
{
    LIST_EACH_SAFE(it, &c->locals)
    {
        struct request *r = CONTAINER_OF(it, struct request, sync_link);
        struct session *s = core_session_find(c, r->session_id);
        ASSERT(s && s->local);
        if (s->requests.next != &r->link || r->barrier > tree_last_zxid(c->tree))
            continue;
        answer_header(c, r->conn, s->id, r->xid, r->op, ZK_OK);
        effect_add(c, CORE_CLOSE_CONN, r->conn);
        core_session_remove(c, s); /* and its request */
    }
}

/* ---- upgrade ---- */

static bool is_ephemeral(const struct op *op)
{
    return (op->type == ZK_OP_CREATE || op->type == ZK_OP_CREATE2) && zk_flag_is_ephemeral(op->flags);
}

/* What cannot be decoded is left to those who answer so. */
static bool wants_ephemeral(struct core *c, const struct core_request *q)
{
    struct rd r = rd_init(q->body.p ? q->body.p : (const uint8_t *)"", q->body.n);
    struct op op;
    arena_reset(&c->prep_arena);
    if (q->op == ZK_OP_CREATE || q->op == ZK_OP_CREATE2)
        return op_decode(&r, &c->prep_arena, q->op, &op) && r.rc == 0 && is_ephemeral(&op);
    if (q->op != ZK_OP_MULTI || !multi_decode(c, &r, &c->prep_arena))
        return false;
    for (size_t i = 0; i < c->steps.len; i++)
        if (is_ephemeral(&c->steps.items[i]))
            return true;
    return false;
}

static void session_upgrade(struct core *c, struct session *s)
{
    s->local = false;
    c->sessions.local--;
    c->sessions.live++;
    list_remove(&s->bucket);
    core_session_touch(c, s);
    if (c->role == CORE_LEARNER)
        learner_create_session(c, s, 0);
    else
        submit_create_session(c, s, 0);
}

bool local_submit(struct core *c, struct session *s, const struct core_request *q, int32_t *ret_refused)
{
    if (s->closing)
        return true; /* nothing comes behind a session's end */
    if (q->op == ZK_OP_CLOSE_SESSION) {
        end_submit(c, s, q);
        return true;
    }
    if (!wants_ephemeral(c, q))
        return false;
    if (c->cfg.local_upgrade)
        session_upgrade(c, s);
    else
        *ret_refused = ZK_EPHEMERALONLOCALSESSION;
    return false;
}

/* ---- read-only ---- */

/* Known sessions go on as they are: whether they still live, only a quorum could tell, and it will, once there is one. This one may be too young to be
 * known here, or another read-only server's. */
void read_only_adopt(struct core *c, uint64_t conn, int64_t session_id, int32_t timeout_ms)
{
    struct session *s = core_session_add(c, session_id, timeout_ms);
    s->conn = conn;
    local_session_begin(c, s);
}

void read_only_submit(struct core *c, struct session *s, const struct core_request *q)
{
    if (q->op == ZK_OP_CLOSE_SESSION && s->local && !s->closing)
        end_submit(c, s, q);
    else
        answer_header(c, q->conn, s->id, q->xid, q->op, ZK_NOTREADONLY);
}
