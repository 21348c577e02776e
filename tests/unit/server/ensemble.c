/* ensemble.c - see ensemble.h. */
#include "ensemble.h"

#define PEER(who) ((uint64_t)(who) + 1000)

static void start_member(struct ensemble *e, int who)
{
    struct core_config cfg = e->cfg;
    cfg.server_id = who + 1;
    e->m[who].tree = tree_new(&e->opt);
    e->m[who].core = core_new(&cfg, e->m[who].tree, e->now, WALL0 + who);
    core_become(e->m[who].core, CORE_NONE, 0, e->now);
}

void ensemble_init(struct ensemble *e)
{
    *e = (struct ensemble){ .now = 1000, .epoch = 1 };
    e->cfg = (struct core_config){ .tick_ms = 2000, .min_session_ms = 4000, .max_session_ms = 40000, .snap_count = 100000,
                                   .extended_types = true, .container_check_ms = 60000,
                                   .container_max_per_minute = 10000, .max_txn = 1 << 20, .seed = 7 };
    e->opt.extended_types = true;
    e->ids = auth_ids_new("127.0.0.1");
}

static void begin_epoch(struct ensemble *e)
{
    e->committed = e->epoch << 32;
    for (int i = 0; i < MEMBERS; i++) {
        e->acked[i] = e->committed;
        core_become(e->m[i].core, i == e->leader ? CORE_LEADER : CORE_LEARNER, e->epoch, e->now);
        ensemble_pump(e, i);
    }
}

void ensemble_start(struct ensemble *e)
{
    for (int i = 0; i < MEMBERS; i++)
        start_member(e, i);
    begin_epoch(e);
}

void ensemble_done(struct ensemble *e)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct member *m = &e->m[i];
        assert_int_equal(core_digest_mismatches(m->core), 0);
        core_free(m->core);
        tree_check(m->tree);
        tree_free(m->tree);
        VEC_FREE(&m->in.notes);
        VEC_FREE(&m->out.notes);
        VEC_FREE(&m->got);
    }
    VEC_FREE(&e->log);
    VEC_FREE(&e->log_zxids);
    auth_ids_unref(e->ids);
    arena_free(&e->arena);
}

/* ---- effects ---- */

static struct buf keep(struct ensemble *e, struct buf b)
{
    return buf_of(arena_memdup(&e->arena, b.p ? b.p : (const uint8_t *)"", b.n), b.n);
}

static struct jids keep_ids(struct ensemble *e, struct jids l)
{
    struct jids r = { arena_calloc(&e->arena, (size_t)MAX(l.n, 1), sizeof(*r.v)), l.n };
    for (int32_t i = 0; i < l.n; i++) {
        r.v[i].scheme = jstr_of(arena_strdup(&e->arena, buf_of(l.v[i].scheme.p, (size_t)l.v[i].scheme.n)));
        r.v[i].id = jstr_of(arena_strdup(&e->arena, buf_of(l.v[i].id.p, (size_t)l.v[i].id.n)));
    }
    return r;
}

static void propose(struct ensemble *e, const struct core_effect *fx)
{
    int64_t before = e->log_zxids.len > 0 ? e->log_zxids.items[e->log_zxids.len - 1] : 0;
    assert_int_equal(fx->zxid, before >> 32 == e->epoch ? before + 1 : (e->epoch << 32) + 1); /* from 1, no gap */
    struct buf txn = keep(e, fx->bytes);
    VEC_PUSH(&e->log, txn);
    VEC_PUSH(&e->log_zxids, fx->zxid);
    e->acked[e->leader] = fx->zxid;
    for (int i = 0; i < MEMBERS; i++)
        if (i != e->leader)
            VEC_PUSH(&e->m[i].in.notes, ((struct note){ .type = NOTE_TXN, .zxid = fx->zxid, .bytes = txn }));
}

static void keep_got(struct ensemble *e, struct member *m, const struct core_effect *fx)
{
    struct got g = { .type = fx->type, .conn = fx->conn, .zxid = fx->zxid, .session_id = fx->session_id,
                     .err = fx->err, .op = fx->op, .timeout_ms = fx->timeout_ms, .read_only = fx->read_only };
    memcpy(g.passwd, fx->passwd, sizeof(g.passwd));
    if (fx->type == CORE_REPLY) {
        struct reply_header h;
        g.bytes = keep(e, fx->bytes);
        g.body = rd_buf(g.bytes);
        assert_int_equal(rd_u32(&g.body), fx->bytes.n - 4);
        reply_header_read(&g.body, NULL, &h);
        assert_int_equal(h.err, fx->err);
        g.xid = h.xid;
    }
    VEC_PUSH(&m->got, g);
}

static void to_leader(struct ensemble *e, struct member *m, enum note_type type, const struct core_effect *fx)
{
    VEC_PUSH(&m->out.notes, ((struct note){ .type = type, .session_id = fx->session_id, .xid = fx->xid, .op = fx->op,
                                            .timeout_ms = fx->timeout_ms, .tag = fx->tag, .bytes = keep(e, fx->bytes),
                                            .auth = keep_ids(e, fx->auth) }));
}

void ensemble_pump(struct ensemble *e, int who)
{
    struct member *m = &e->m[who];
    const struct core_effect *fx;
    size_t n = core_effects(m->core, &fx);
    for (size_t i = 0; i < n; i++) {
        switch (fx[i].type) {
        case CORE_PROPOSE:
            assert_int_equal(who, e->leader);
            propose(e, &fx[i]);
            break;
        case CORE_FORWARD:
            assert_int_not_equal(who, e->leader);
            to_leader(e, m, NOTE_REQUEST, &fx[i]);
            break;
        case CORE_REVALIDATE:
            to_leader(e, m, NOTE_REVALIDATE, &fx[i]);
            break;
        case CORE_SESSION_ENDED:
            VEC_PUSH(&e->m[fx[i].peer - PEER(0)].in.notes, ((struct note){ .type = NOTE_REVALIDATED, .session_id = fx[i].session_id }));
            break;
        case CORE_SYNC: /* the leader hears itself by its out queue, so that it can be late too */
            to_leader(e, m, NOTE_SYNC, &fx[i]);
            break;
        case CORE_APPEND:
            fail();
            break;
        default:
            keep_got(e, m, &fx[i]);
        }
    }
    core_effects_clear(m->core);
}

/* ---- deliveries ---- */

static void at_learner(struct ensemble *e, int who, const struct note *n)
{
    struct member *m = &e->m[who];
    switch (n->type) {
    case NOTE_TXN: {
        void *copy = x_memdup(n->bytes.p, n->bytes.n); /* exactly sized, and gone after the call */
        assert_int_equal(core_learner_txn(m->core, n->zxid, buf_of(copy, n->bytes.n)), 0);
        free(copy);
        m->received = n->zxid;
        VEC_PUSH(&m->out.notes, ((struct note){ .type = NOTE_ACK, .zxid = n->zxid }));
        break;
    }
    case NOTE_COMMIT:
        core_committed(m->core, n->zxid);
        break;
    case NOTE_SYNCED:
        core_synced(m->core, n->tag);
        break;
    case NOTE_REVALIDATED:
        core_revalidated(m->core, n->session_id, n->valid);
        break;
    default:
        fail();
    }
    ensemble_pump(e, who);
}

static void at_leader(struct ensemble *e, int from, const struct note *n)
{
    struct core *c = e->m[e->leader].core;
    struct member *m = &e->m[from];
    switch (n->type) {
    case NOTE_REQUEST:
        core_submit_remote(c, &(struct core_remote_request){ PEER(from), n->session_id, n->xid, n->op, n->bytes, n->auth });
        break;
    case NOTE_SYNC: /* what is committed has been sent ahead of the answer */
        if (from == e->leader)
            core_synced(c, n->tag);
        else
            VEC_PUSH(&m->in.notes, ((struct note){ .type = NOTE_SYNCED, .tag = n->tag }));
        break;
    case NOTE_REVALIDATE: {
        enum core_revalidation now = core_revalidate(c, PEER(from), n->session_id, n->timeout_ms);
        if (now != CORE_SESSION_ENDING)
            VEC_PUSH(&m->in.notes, ((struct note){ .type = NOTE_REVALIDATED, .session_id = n->session_id,
                                                   .valid = now == CORE_SESSION_LIVES }));
        break;
    }
    case NOTE_TOUCH:
        core_touch_remote(c, n->session_id, n->timeout_ms);
        break;
    case NOTE_ACK:
        e->acked[from] = n->zxid;
        ensemble_quorum(e, MIN(n->zxid, e->acked[e->leader]));
        break;
    default:
        fail();
    }
    ensemble_pump(e, e->leader);
}

bool ensemble_deliver(struct ensemble *e, int learner, bool to_the_leader)
{
    struct queue *q = to_the_leader ? &e->m[learner].out : &e->m[learner].in;
    if (q->head == q->notes.len)
        return false;
    struct note n = q->notes.items[q->head++];
    if (to_the_leader)
        at_leader(e, learner, &n);
    else
        at_learner(e, learner, &n);
    return true;
}

void ensemble_quorum(struct ensemble *e, int64_t zxid)
{
    if (zxid <= e->committed)
        return;
    for (int64_t z = e->committed + 1; z <= zxid; z++)
        for (int i = 0; i < MEMBERS; i++)
            if (i != e->leader)
                VEC_PUSH(&e->m[i].in.notes, ((struct note){ .type = NOTE_COMMIT, .zxid = z }));
    e->committed = zxid;
    core_committed(e->m[e->leader].core, zxid);
}

void ensemble_apply(struct ensemble *e, int who, uint32_t max)
{
    core_apply(e->m[who].core, max);
    ensemble_pump(e, who);
}

void ensemble_settle(struct ensemble *e)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < MEMBERS; i++) {
            moved |= ensemble_deliver(e, i, true);
            moved |= ensemble_deliver(e, i, false);
            moved |= core_has_committed(e->m[i].core);
            ensemble_apply(e, i, 0);
        }
    }
}

/* ---- a new leader ---- */

static void replay_to(struct ensemble *e, struct member *m, int64_t last)
{
    for (size_t i = 0; i < e->log.len; i++)
        if (e->log_zxids.items[i] > tree_last_zxid(m->tree) && e->log_zxids.items[i] <= last)
            assert_int_equal(core_replay(m->core, e->log.items[i]), 0);
}

/* The election takes long enough for a read-only client to come, be refused a write, and be sent away again. */
static void read_only_interlude(struct ensemble *e, int who)
{
    struct core *c = e->m[who].core;
    const struct core_effect *fx;
    core_become(c, CORE_READONLY, 0, e->now);
    ensemble_pump(e, who);
    core_connect_read_only(c, UINT64_MAX, 0, buf_of("", 0), 6000);
    assert_int_equal(core_effects(c, &fx), 1);
    assert_int_equal(fx[0].type, CORE_SESSION_READY);
    int64_t session = fx[0].session_id;
    core_effects_clear(c);
    core_submit(c, &(struct core_request){ .conn = UINT64_MAX, .session_id = session, .xid = 1, .op = ZK_OP_SYNC, .ids = e->ids });
    assert_int_equal(core_effects(c, &fx), 1);
    assert_int_equal(fx[0].err, ZK_NOTREADONLY);
    core_effects_clear(c);
    core_become(c, CORE_NONE, 0, e->now);
    assert_true(core_effects(c, &fx) > 0);
    core_effects_clear(c);
}

void ensemble_elect(struct ensemble *e, int next)
{
    int64_t last = next == e->leader ? e->acked[next] : e->m[next].received;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *m = &e->m[i];
        ensemble_apply(e, i, 0); /* what is committed is not forgotten */
        core_become(m->core, CORE_NONE, 0, e->now);
        ensemble_pump(e, i);
        m->in.head = m->in.notes.len = m->out.head = m->out.notes.len = 0;
    }
    while (e->log.len > 0 && e->log_zxids.items[e->log.len - 1] > last)
        e->log.len = --e->log_zxids.len;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *m = &e->m[i];
        struct tree *old = m->tree;
        assert_true(tree_last_zxid(m->tree) <= MAX(last, e->epoch << 32)); /* nobody applied what was not committed */
        if (i == 0) { /* as after a truncation: from the start */
            m->tree = tree_new(&e->opt);
            core_set_tree(m->core, m->tree);
            tree_free(old);
            ensemble_pump(e, i);
        }
        replay_to(e, m, last);
        m->received = last;
        read_only_interlude(e, i);
    }
    e->leader = next;
    e->epoch++;
    begin_epoch(e);
}

void ensemble_same(struct ensemble *e)
{
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(core_outstanding(e->m[i].core), 0);
        assert_int_equal(core_digest_mismatches(e->m[i].core), 0);
    }
    for (int i = 1; i < MEMBERS; i++) {
        /* Who leads an epoch in which nothing was proposed yet is ahead by a zxid that no transaction has. */
        int64_t a = tree_last_zxid(e->m[0].tree), b = tree_last_zxid(e->m[i].tree);
        if (e->committed == e->epoch << 32) {
            tree_set_last_zxid(e->m[0].tree, MAX(a, b));
            tree_set_last_zxid(e->m[i].tree, MAX(a, b));
        }
        assert_same_tree(e->m[0].tree, e->m[i].tree);
    }
}

/* ---- clients ---- */

void ensemble_submit(struct ensemble *e, int who, uint64_t conn, int64_t session, int32_t xid, const char *text)
{
    int32_t op = ZK_OP_SYNC;
    struct world w = { .arena = e->arena };
    struct buf body;
    if (strncmp(text, "sync ", 5) == 0) {
        struct wr out = wr_init(0);
        jute_write_str(&out, jstr_of(text + 5));
        body = buf_of(arena_memdup(&w.arena, out.p, out.n), out.n);
        wr_free(&out);
    } else {
        body = request_body(&w, text, &op);
    }
    e->arena = w.arena;
    core_submit(e->m[who].core, &(struct core_request){ .conn = conn, .session_id = session, .xid = xid, .op = op,
                                                        .body = body, .ids = e->ids });
    ensemble_pump(e, who);
}

static const struct got *last_ready(const struct ensemble *e, int who, uint64_t conn)
{
    for (size_t i = e->m[who].got.len; i-- > 0;)
        if (e->m[who].got.items[i].type == CORE_SESSION_READY && e->m[who].got.items[i].conn == conn)
            return &e->m[who].got.items[i];
    return NULL;
}

int64_t ensemble_connect(struct ensemble *e, int who, uint64_t conn, int32_t timeout_ms)
{
    core_connect(e->m[who].core, conn, 0, buf_of("", 0), timeout_ms);
    ensemble_pump(e, who);
    ensemble_settle(e);
    const struct got *g = last_ready(e, who, conn);
    assert_non_null(g);
    assert_int_not_equal(g->session_id, 0);
    return g->session_id;
}

void ensemble_attach(struct ensemble *e, int who, uint64_t conn, int64_t session, int32_t timeout_ms)
{
    uint8_t passwd[ZK_PASSWORD_LEN];
    session_passwd(session, passwd);
    core_connect(e->m[who].core, conn, session, buf_of(passwd, sizeof(passwd)), timeout_ms);
    ensemble_pump(e, who);
}

const struct got *ensemble_reply(const struct ensemble *e, int who, uint64_t conn, int32_t xid)
{
    const struct got *found = NULL;
    for (size_t i = 0; i < e->m[who].got.len; i++) {
        const struct got *g = &e->m[who].got.items[i];
        if (g->type == CORE_REPLY && g->conn == conn && g->xid == xid) {
            assert_null(found); /* exactly one */
            found = g;
        }
    }
    return found;
}

size_t ensemble_count(const struct ensemble *e, int who, enum core_effect_type type, uint64_t conn)
{
    size_t n = 0;
    for (size_t i = 0; i < e->m[who].got.len; i++)
        n += e->m[who].got.items[i].type == type && e->m[who].got.items[i].conn == conn;
    return n;
}

void ensemble_pass(struct ensemble *e, int who, int64_t ms)
{
    while (ms > 0) {
        int64_t step = MIN(ms, 1000);
        e->now += step;
        ms -= step;
        for (int i = 0; i < MEMBERS; i++) {
            if (who >= 0 && i != who)
                continue;
            core_tick(e->m[i].core, e->now, WALL0 + e->now);
            ensemble_pump(e, i);
        }
    }
}
