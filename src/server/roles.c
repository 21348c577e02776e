/* roles.c - changing the role of a member of an ensemble; the leader's part in what learners' clients want; syncs.
 *
 * A role ends wholly before the next begins. Nothing that is under way survives, for its fate is decided by the logs that meet in the next epoch, and
 * a client whose connection is closed cannot tell a request that was lost from one whose answer was. Its session does survive: the tree knows it.
 *
 * Syncs. What must hold when a sync is answered: everything that was committed anywhere before the client asked is applied here. The shell
 * asks the leader, which asks a quorum whether it still leads, and says core_synced. But there is an earlier proof: when
 * a transaction that this leader proposed *after* it had the sync is committed, a quorum followed it after that moment. So on a
 * leader any later transaction answers a sync, and on a learner a later one of the same session, and answers never have to wait for
 * one another.
 * Source: Leader.processSync, LeaderSessionTracker, SessionTrackerImpl.checkSession, LearnerHandler (3.9). */
#include "core_internal.h"

/* ---- roles ---- */

enum core_role core_role(const struct core *c)
{
    return c->role;
}

void core_become(struct core *c, enum core_role role, int64_t epoch, int64_t now_ms)
{
    ASSERT(role != CORE_STANDALONE);
    ASSERT(!core_has_committed(c));
    c->now_ms = MAX(c->now_ms, now_ms);
    c->role = role;
    if (role == CORE_LEADER) {
        int64_t start = (int64_t)((uint64_t)epoch << 32);
        ASSERT(tree_last_zxid(c->tree) <= start);
        tree_set_last_zxid(c->tree, start);
    }
    c->last_proposed = c->committed = tree_last_zxid(c->tree);
    c->reconfig_zxid = 0;
    c->orphans_due = role == CORE_LEADER;
    overlay_restart(c); /* before the sessions, on whose lists its changes are */
    pipeline_forget(c);
    learner_forget(c);
    c->asked.len = 0;
    sessions_restart(c);
    reaper_restart(c);
    ASSERT(c->requests == 0);
}

void core_set_tree(struct core *c, struct tree *tree)
{
    ASSERT(c->role == CORE_NONE);
    c->tree = tree;
    core_become(c, CORE_NONE, 0, c->now_ms);
}

int core_replay(struct core *c, struct buf txn)
{
    ASSERT(c->role == CORE_NONE);
    struct txn_header h;
    struct tree_result res = { 0 };
    struct rd r = rd_buf(txn);
    arena_reset(&c->apply_arena);
    txn_header_read(&r, &c->apply_arena, &h);
    if (r.rc != 0 || tree_apply(c->tree, &h, buf_of(r.p, rd_left(&r)), &c->apply_arena, &res) != 0)
        return RC_MALFORMED;
    c->last_proposed = c->committed = tree_last_zxid(c->tree);
    return 0;
}

/* ---- a leader's learners ---- */

/* The learner chose the id; one that would make the session's ephemerals look like something else is refused. */
static int32_t remote_create(struct core *c, const struct core_remote_request *q, struct session **ret)
{
    struct rd r = rd_buf(q->body);
    int32_t timeout_ms = rd_i32(&r);
    struct session *s = core_session_find(c, q->session_id);
    if (r.rc != 0)
        return ZK_MARSHALLINGERROR;
    if (tree_owner_kind(c->tree, q->session_id, NULL) != ZNODE_EPHEMERAL)
        return ZK_BADARGUMENTS;
    if (s && (s->closing || s->local))
        return ZK_SESSIONEXPIRED;
    if (!s)
        s = core_session_add(c, q->session_id, timeout_ms);
    s->timeout_ms = timeout_ms;
    s->peer = q->peer;
    *ret = s;
    return ZK_OK;
}

void core_submit_remote(struct core *c, const struct core_remote_request *q)
{
    ASSERT(c->role == CORE_LEADER);
    ASSERT(q->peer != PEER_OWN && q->peer != PEER_UNKNOWN);
    if (pipeline_full(c))
        return;
    struct session *s = core_session_find(c, q->session_id);
    if (q->op == ZK_OP_SYNC) {
        effect_add(c, CORE_PEER_SYNC, 0)->peer = q->peer;
        return;
    }
    int32_t refused = q->op == ZK_OP_CREATE_SESSION ? remote_create(c, q, &s) : ZK_OK;
    if (s && s->peer == q->peer)
        core_session_touch(c, s);
    struct pending *p = pipeline_begin(c, q->session_id, q->cxid, q->op, 0, q->body.n);
    struct auth_ids *ids = auth_ids_from(q->auth);
    struct prep pr = { .c = c, .p = p, .session = s, .peer = q->peer, .ids = ids, .a = &c->prep_arena };
    arena_reset(&c->prep_arena);
    if (refused)
        prep_refusal(&pr, refused);
    else
        prep_request(&pr, q->body);
    pipeline_append(c, p);
    auth_ids_unref(ids);
}

void core_touch_remote(struct core *c, int64_t session_id, int32_t timeout_ms)
{
    ASSERT(c->role == CORE_LEADER);
    struct session *s = core_session_find(c, session_id);
    if (!s)
        return;
    s->timeout_ms = timeout_ms;
    core_session_touch(c, s);
}

enum core_revalidation core_revalidate(struct core *c, uint64_t peer, int64_t session_id, int32_t timeout_ms)
{
    ASSERT(c->role == CORE_LEADER);
    ASSERT(peer != PEER_OWN && peer != PEER_UNKNOWN);
    struct session *s = core_session_find(c, session_id);
    if (!s || s->local) /* a local session stays where it is */
        return CORE_SESSION_OVER;
    if (s->closing) {
        VEC_PUSH(&c->asked, ((struct asked){ peer, session_id }));
        return CORE_SESSION_ENDING;
    }
    if (s->conn != 0)
        effect_add(c, CORE_CLOSE_CONN, s->conn);
    s->conn = 0;
    s->peer = peer;
    s->timeout_ms = timeout_ms;
    core_session_touch(c, s);
    return CORE_SESSION_LIVES;
}

void answer_asked(struct core *c, int64_t session_id)
{
    for (size_t i = c->asked.len; i-- > 0;) {
        struct asked a = c->asked.items[i];
        if (a.session_id != session_id)
            continue;
        struct core_effect *e = effect_add(c, CORE_SESSION_ENDED, 0);
        e->peer = a.peer;
        e->session_id = session_id;
        c->asked.items[i] = c->asked.items[--c->asked.len];
    }
}

/* ---- own clients' requests that wait ---- */

struct request *core_request_add(struct core *c, struct session *s, uint64_t conn, int32_t xid, int32_t op, struct buf body)
{
    struct request *r = x_calloc(1, sizeof(*r) + body.n);
    list_init(&r->sync_link);
    list_push_back(&s->requests, &r->link);
    r->session_id = s->id;
    r->conn = conn;
    r->xid = xid;
    r->op = op;
    r->body_len = body.n;
    if (body.n > 0)
        memcpy(r->body, body.p, body.n);
    c->requests++;
    return r;
}

void core_request_free(struct core *c, struct request *r)
{
    list_remove(&r->link);
    list_remove(&r->sync_link);
    if (r->tag != 0)
        (void)u64map_del(&c->syncs_by_tag, r->tag);
    c->requests--;
    free(r->create2.p);
    free(r);
}

void requests_forget(struct core *c, struct session *s)
{
    while (!list_empty(&s->requests))
        core_request_free(c, CONTAINER_OF(s->requests.next, struct request, link));
}

/* Copies what the caller's request only lends. */
struct core_effect *effect_forward(struct core *c, enum core_effect_type type, const struct core_request *q)
{
    const struct auth_ids *ids = q->ids;
    struct jids auth = { NULL, ids ? ids->n : 0 };
    if (auth.n > 0)
        auth.v = arena_calloc(&c->out_arena, (size_t)auth.n, sizeof(*auth.v));
    for (int32_t i = 0; i < auth.n; i++)
        auth.v[i] = (struct jid){ jstr_of(ids->v[i].scheme), jstr_of(ids->v[i].id) };
    if (ids)
        VEC_PUSH(&c->lent, auth_ids_ref(q->ids));
    struct core_effect *e = effect_add(c, type, q->conn);
    e->session_id = q->session_id;
    e->xid = q->xid;
    e->op = q->op;
    e->bytes = buf_of(q->body.n > 0 ? arena_memdup(&c->out_arena, q->body.p, q->body.n) : NULL, q->body.n);
    e->auth = auth;
    return e;
}

/* ---- syncs ---- */

void sync_submit(struct core *c, struct session *s, const struct core_request *q)
{
    struct request *r = core_request_add(c, s, q->conn, q->xid, q->op, q->body);
    r->tag = ++c->last_tag;
    u64map_set(&c->syncs_by_tag, r->tag, r);
    if (c->role == CORE_LEADER) {
        r->barrier = c->last_proposed;
        list_push_back(&c->syncs, &r->sync_link);
    }
    effect_forward(c, CORE_SYNC, q)->tag = r->tag;
}

/* The path is neither checked nor looked up: it comes back as it went. */
void sync_answer(struct core *c, struct request *r)
{
    int64_t zxid = tree_last_zxid(c->tree);
    struct rd in = rd_init(r->body, r->body_len);
    struct path_only path;
    struct wr *w = &c->frame;
    path_only_read(&in, NULL, &path);
    int32_t err = in.rc != 0 || !path.path.p ? ZK_MARSHALLINGERROR : ZK_OK;
    wr_reset(w);
    size_t at = jute_frame_begin(w);
    reply_header_write(w, &(struct reply_header){ .xid = r->xid, .zxid = zxid, .err = err });
    if (!err)
        jute_write_str(w, path.path);
    jute_frame_end(w, at);
    ASSERT(w->rc == 0);
    struct core_effect *e = effect_add(c, CORE_REPLY, r->conn);
    e->zxid = zxid;
    e->bytes = buf_of(arena_memdup(&c->out_arena, w->p, w->n), w->n);
    e->err = err;
    e->op = r->op;
    e->session_id = r->session_id;
    core_request_free(c, r);
}

void syncs_proven(struct core *c, int64_t zxid)
{
    while (!list_empty(&c->syncs)) {
        struct request *r = CONTAINER_OF(c->syncs.next, struct request, sync_link);
        if (r->barrier >= zxid)
            return;
        sync_answer(c, r);
    }
}

/* On a learner, a write of the same session may still be ahead: it was not committed when the sync was asked for. */
static bool is_next_of_session(const struct core *c, const struct request *r)
{
    const struct session *s = core_session_find(c, r->session_id);
    return s && s->requests.next == &r->link;
}

void syncs_reached(struct core *c)
{
    LIST_EACH_SAFE(it, &c->syncs)
    {
        struct request *r = CONTAINER_OF(it, struct request, sync_link);
        if (!r->confirmed || r->barrier > tree_last_zxid(c->tree))
            return;
        if (is_next_of_session(c, r))
            sync_answer(c, r);
    }
}

void core_synced(struct core *c, uint64_t tag)
{
    struct request *r = u64map_get(&c->syncs_by_tag, tag);
    if (!r || r->confirmed)
        return;
    r->confirmed = true;
    if (c->role == CORE_LEARNER) {
        r->barrier = c->committed;
        list_push_back(&c->syncs, &r->sync_link);
    }
    syncs_reached(c);
    locals_reached(c);
}
