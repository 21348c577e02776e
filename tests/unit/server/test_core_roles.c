/* Each role by itself: zxids, what is forwarded, who owns a session, syncs, touches, reconfig, and how roles end. */
#include "ensemble.h"

#include <stdio.h>

static struct ensemble e;

static int setup(void **state)
{
    ensemble_init(&e);
    ensemble_start(&e);
    return 0;
}

static int teardown(void **state)
{
    ensemble_settle(&e);
    ensemble_same(&e);
    ensemble_done(&e);
    return 0;
}

static const struct got *answered(int who, uint64_t conn, int64_t session, int32_t xid, const char *text)
{
    ensemble_submit(&e, who, conn, session, xid, text);
    ensemble_settle(&e);
    const struct got *g = ensemble_reply(&e, who, conn, xid);
    assert_non_null(g);
    return g;
}

static struct core *core_of(int who)
{
    return e.m[who].core;
}

static struct core *leader(void)
{
    return core_of(e.leader);
}

/* ---- routing ---- */

static void test_routing(void **state)
{
    static const struct {
        int32_t op;
        bool alone, ensemble;
    } cases[] = { { ZK_OP_CREATE, true, true },   { ZK_OP_CLOSE_SESSION, true, true }, { ZK_OP_SYNC, false, true },
                  { ZK_OP_GET_DATA, false, false }, { ZK_OP_PING, false, false },      { ZK_OP_CHECK, false, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(core_op_is_submitted(CORE_STANDALONE, cases[i].op), cases[i].alone);
        assert_int_equal(core_op_is_submitted(CORE_LEADER, cases[i].op), cases[i].ensemble);
        assert_int_equal(core_op_is_submitted(CORE_LEARNER, cases[i].op), cases[i].ensemble);
    }
}

/* ---- writes ---- */

static void test_writes_through_all(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        int64_t s = ensemble_connect(&e, who, 1, 10000);
        assert_int_equal((s >> 56) & 0xff, who + 1); /* ids begin with the server's own */
        char create[40];
        snprintf(create, sizeof(create), "create /n%d x 0", who);
        assert_int_equal(answered(who, 1, s, 1, create)->err, ZK_OK);
        assert_int_equal(answered(who, 1, s, 2, create)->err, ZK_NODEEXISTS);
        assert_int_equal(answered(who, 1, s, 3, "multi create /m ~ 0 ; delete /m -1")->err, ZK_OK);
        const struct got *g = answered(who, 1, s, 4, "create2 /two x 1");
        assert_int_equal(g->zxid >> 32, 1);
        assert_int_equal(g->op, ZK_OP_CREATE2);
        assert_int_equal(rd_left(&g->body), 4 + 4 + 68);
        assert_int_equal(answered(who, 1, s, 5, "close")->err, ZK_OK);
        assert_int_equal(ensemble_count(&e, who, CORE_CLOSE_CONN, 1), 1);
        for (int i = 0; i < MEMBERS; i++)
            assert_null(tree_find(e.m[i].tree, jstr_of("/two"))); /* an ephemeral goes with its session */
    }
}

/* Nothing is answered before it is committed, and then in the session's order. */
static void test_commit_answers(void **state)
{
    for (int who = 0; who < 2; who++) {
        int64_t s = ensemble_connect(&e, who, 1, 10000);
        ensemble_submit(&e, who, 1, s, 1, "create /c ~ 0");
        ensemble_submit(&e, who, 1, s, 2, "delete /c -1");
        while (ensemble_deliver(&e, 1, true))
            ; /* acknowledged by nobody: learner 1 has been sent nothing yet */
        ensemble_apply(&e, who, 0);
        assert_null(ensemble_reply(&e, who, 1, 1));
        ensemble_settle(&e);
        assert_int_equal(ensemble_reply(&e, who, 1, 2)->zxid, ensemble_reply(&e, who, 1, 1)->zxid + 1);
        (void)answered(who, 1, s, 3, "close");
    }
}

/* A transaction of the session with another cxid, or of another kind, is not the answer. */
static void test_matching(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    uint64_t other = 77;
    ensemble_submit(&e, 1, 1, s, 5, "create /mine ~ 0");
    struct core_remote_request q = { .peer = other, .session_id = s, .op = ZK_OP_DELETE, .auth = { NULL, -1 } };
    assert_int_equal(core_revalidate(leader(), other, s, 10000), CORE_SESSION_LIVES);
    q.cxid = 5; /* refused, and it is a delete */
    q.op = ZK_OP_CLOSE_SESSION;
    core_submit_remote(leader(), &q);
    ensemble_pump(&e, 0);
    while (ensemble_deliver(&e, 1, false))
        ;
    ensemble_settle(&e);
    assert_null(ensemble_reply(&e, 1, 1, 5));
    assert_true(ensemble_count(&e, 1, CORE_CLOSE_CONN, 1) > 0); /* closed by the other */
    assert_null(tree_find(e.m[1].tree, jstr_of("/mine")));
}

/* What comes back for a multi has the steps that the leader gave it, even when that is not what was asked for. */
static void test_matching_multi(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    char text[8 * 20] = "multi create /s0 ~ 0";
    struct world w = { .arena = arena_init() };
    struct core_remote_request q = { .peer = 77, .session_id = s, .cxid = 5, .auth = { NULL, -1 } };
    ensemble_submit(&e, 1, 1, s, 5, "multi create2 /mine ~ 0");
    for (int i = 1; i < 8; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " ; create /s%d ~ 0", i);
    assert_int_equal(core_revalidate(leader(), q.peer, s, 10000), CORE_SESSION_LIVES);
    q.body = request_body(&w, text, &q.op);
    core_submit_remote(leader(), &q);
    ensemble_pump(&e, 0);
    ensemble_settle(&e);
    const struct got *g = ensemble_reply(&e, 1, 1, 5);
    struct rd r = g->body;
    struct multi_header h = { .done = false };
    size_t steps = 0;
    while (multi_header_read(&r, NULL, &h), r.rc == 0 && !h.done) {
        (void)rd_take(&r, (size_t)rd_i32(&r));
        if (h.type == ZK_OP_CREATE2)
            (void)rd_take(&r, 68);
        steps++;
    }
    assert_int_equal(r.rc, 0);
    assert_int_equal(steps, 8);
    arena_free(&w.arena);
}

static void test_learner_refuses_garbage(void **state)
{
    static const char txn[] = "0100000000000000 00000001 0000000100000001 0000000000000000 00000001 "
                              "000000022f61 ffffffff ffffffff 00 00000001";
    struct world w = { .arena = arena_init() };
    struct buf good = hex(&w, txn);
    assert_int_equal(core_learner_txn(core_of(1), (INT64_C(1) << 32) + 2, good), RC_MALFORMED); /* not that zxid */
    for (size_t n = 0; n + 4 < good.n; n++) {
        void *copy = x_memdup(good.p, n);
        assert_int_equal(core_learner_txn(core_of(1), (INT64_C(1) << 32) + 1, buf_of(copy, n)), RC_MALFORMED);
        free(copy);
    }
    assert_int_equal(core_outstanding(core_of(1)), 0);
    for (int i = 1; i < MEMBERS; i++)
        assert_int_equal(core_learner_txn(core_of(i), (INT64_C(1) << 32) + 1, good), 0);
    assert_int_equal(core_last_proposed(core_of(1)), (INT64_C(1) << 32) + 1);
    assert_int_equal(core_learner_txn(core_of(1), (INT64_C(1) << 32) + 1, good), RC_MALFORMED); /* not behind the last */
    arena_free(&w.arena);
    ensemble_elect(&e, 0); /* drops what the leader never proposed */
}

/* ---- sessions ---- */

static void test_session_moves(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    assert_int_equal(answered(1, 1, s, 1, "create /a ~ 1")->err, ZK_OK);
    ensemble_submit(&e, 1, 1, s, 2, "set /a x -1"); /* on its way */
    ensemble_attach(&e, 2, 9, s, 8000);
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 9), 0); /* the leader has to be asked */
    assert_true(ensemble_deliver(&e, 2, true) || true);
    while (ensemble_deliver(&e, 2, true))
        ;
    ensemble_settle(&e);
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 9), 1);
    assert_null(ensemble_reply(&e, 1, 1, 2)); /* it came too late: closed without an answer */
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 1), 1);
    assert_int_equal(answered(2, 9, s, 1, "set /a y -1")->err, ZK_OK);

    ensemble_attach(&e, 0, 5, s, 8000); /* the leader itself */
    ensemble_settle(&e);
    assert_int_equal(ensemble_count(&e, 0, CORE_SESSION_READY, 5), 1);
    ensemble_submit(&e, 2, 9, s, 2, "multi set /a z -1");
    ensemble_settle(&e);
    assert_null(ensemble_reply(&e, 2, 9, 2));
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 9), 1);

    ensemble_attach(&e, 1, 12, s, 8000); /* and away from it: it knows at once */
    ensemble_settle(&e);
    assert_int_equal(ensemble_count(&e, 0, CORE_CLOSE_CONN, 5), 1);
    ensemble_submit(&e, 0, 5, s, 7, "set /a never -1");
    assert_int_equal(answered(1, 12, s, 1, "close")->err, ZK_OK);
}

static void test_revalidation(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    static const struct {
        const char *name;
        int64_t off;
        bool passwd, ok;
    } cases[] = { { "as it is", 0, true, true }, { "wrong password", 0, false, false }, { "no such session", 99, true, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t conn = 20 + i;
        uint8_t passwd[ZK_PASSWORD_LEN];
        print_message("case: %s\n", cases[i].name);
        session_passwd(s + cases[i].off, passwd);
        passwd[0] ^= !cases[i].passwd;
        core_connect(core_of(2), conn, s + cases[i].off, buf_of(passwd, sizeof(passwd)), 10000);
        ensemble_pump(&e, 2);
        ensemble_settle(&e);
        assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, conn), 1);
        const struct got *g = &e.m[2].got.items[e.m[2].got.len - 1];
        assert_int_equal(g->session_id, cases[i].ok ? s : 0);
    }
    /* Gone before the answer came: nobody is told, and the answer belongs to nobody else. */
    ensemble_attach(&e, 1, 30, s, 10000);
    core_disconnected(core_of(1), 30, 0);
    ensemble_attach(&e, 1, 31, s, 10000);
    ensemble_settle(&e);
    assert_int_equal(ensemble_count(&e, 1, CORE_SESSION_READY, 30), 0);
    assert_int_equal(ensemble_count(&e, 1, CORE_SESSION_READY, 31), 1);
}

/* A server that is behind does not know the session yet. */
static void test_revalidation_ahead(void **state)
{
    core_connect(core_of(1), 1, 0, buf_of("", 0), 10000);
    ensemble_pump(&e, 1);
    assert_true(ensemble_deliver(&e, 1, true));
    while (ensemble_deliver(&e, 1, false) || ensemble_deliver(&e, 1, true))
        ensemble_apply(&e, 1, 0);
    const struct got *g = &e.m[1].got.items[e.m[1].got.len - 1];
    assert_int_equal(g->type, CORE_SESSION_READY);
    int64_t s = g->session_id;
    assert_false(tree_session_known(e.m[2].tree, s));
    ensemble_attach(&e, 2, 3, s, 10000);
    assert_true(ensemble_deliver(&e, 2, true));
    core_revalidated(core_of(2), s, true); /* overtakes the rest */
    ensemble_pump(&e, 2);
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 3), 1);
    assert_int_equal(answered(2, 3, s, 1, "create /e ~ 1")->err, ZK_OK);
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 3), 1); /* its createSession is not this connection's answer */
}

static void count_touch(void *data, int64_t session_id, int32_t timeout_ms)
{
    struct note *n = data;
    n->session_id = session_id;
    n->timeout_ms = timeout_ms;
    n->xid++;
}

static void test_touches(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000), t = ensemble_connect(&e, 1, 2, 6000);
    struct note n = { 0 };
    core_take_touches(core_of(1), count_touch, &n);
    assert_int_equal(n.xid, 2); /* both were created here */
    n.xid = 0;
    core_touch(core_of(1), s);
    core_touch(core_of(1), s);
    core_take_touches(core_of(1), count_touch, &n);
    assert_int_equal(n.xid, 1);
    assert_int_equal(n.session_id, s);
    assert_int_equal(n.timeout_ms, 10000);
    core_take_touches(core_of(2), count_touch, &n);
    assert_int_equal(n.xid, 1); /* nobody is connected there */

    /* Only the leader lets sessions expire, and only those it hears nothing of. */
    for (int i = 0; i < 10; i++) {
        e.now += 2000;
        core_touch_remote(leader(), s, 10000);
        for (int k = 0; k < MEMBERS; k++) {
            core_tick(core_of(k), e.now, WALL0 + e.now);
            ensemble_pump(&e, k);
        }
    }
    assert_int_equal(core_outstanding(core_of(1)), 0);
    ensemble_settle(&e);
    assert_true(tree_session_known(e.m[2].tree, s));
    assert_false(tree_session_known(e.m[2].tree, t));
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 2), 1);
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 1), 0);
    assert_int_equal(core_next_wake(core_of(1)), INT64_MAX);
}

static void test_new_leader_gives_full_timeouts(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    e.now += 9000;
    ensemble_elect(&e, 2);
    ensemble_pass(&e, 2, 9000);
    ensemble_settle(&e);
    assert_true(tree_session_known(e.m[2].tree, s));
    ensemble_pass(&e, 2, 4000);
    ensemble_settle(&e);
    assert_false(tree_session_known(e.m[2].tree, s));
}

/* A leader that nobody follows any more closes sessions in vain: its client learns that from a committed transaction, not from the proposal. */
static void test_expiry_is_told_when_committed(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    ensemble_pass(&e, 0, 14000);
    assert_int_equal(core_outstanding(leader()), 1);
    ensemble_attach(&e, 0, 31, s, 10000);
    assert_int_equal(ensemble_count(&e, 0, CORE_SESSION_READY, 31), 0);
    assert_int_equal(ensemble_count(&e, 0, CORE_CLOSE_CONN, 31), 1); /* it may ask another server */
    ensemble_attach(&e, 2, 32, s, 10000);
    while (ensemble_deliver(&e, 2, true))
        ;
    while (ensemble_deliver(&e, 2, false))
        ;
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 32), 0);
    ensemble_settle(&e);
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 32), 1);
    assert_int_equal(e.m[2].got.items[e.m[2].got.len - 1].session_id, 0);

    /* Withdrawn by a new leader, it lives on. */
    s = ensemble_connect(&e, 1, 2, 10000);
    ensemble_pass(&e, 0, 14000);
    ensemble_attach(&e, 2, 33, s, 10000);
    while (ensemble_deliver(&e, 2, true))
        ;
    ensemble_elect(&e, 1);
    ensemble_settle(&e);
    assert_int_equal(ensemble_count(&e, 2, CORE_SESSION_READY, 33), 0);
    ensemble_attach(&e, 2, 34, s, 10000);
    ensemble_settle(&e);
    assert_int_equal(e.m[2].got.items[e.m[2].got.len - 1].session_id, s);
}

/* What a learner asks for is answered by a transaction, whatever it is. */
static void test_remote_requests(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    static const struct {
        const char *name;
        uint64_t peer;
        int64_t session; /* 0: s */
        int32_t op;
        const char *body;
        int32_t err; /* 0: not an error txn */
    } cases[] = {
        { "unknown session", 1001, 12345, ZK_OP_DELETE, "000000022f61 ffffffff", ZK_SESSIONEXPIRED },
        { "not its owner", 55, 0, ZK_OP_DELETE, "000000022f61 ffffffff", ZK_SESSIONMOVED },
        { "its owner", 1001, 0, ZK_OP_DELETE, "000000022f61 ffffffff", ZK_NONODE },
        { "unknown opcode", 1001, 0, 4711, "", ZK_UNIMPLEMENTED },
        { "no body", 1001, 0, ZK_OP_CREATE, "", ZK_MARSHALLINGERROR },
        { "createSession without timeout", 1001, INT64_C(0x0200000000000001), ZK_OP_CREATE_SESSION, "0000", ZK_MARSHALLINGERROR },
        { "createSession 0", 1001, INT64_MIN, ZK_OP_CREATE_SESSION, "00001000", ZK_BADARGUMENTS },
        { "createSession like a TTL", 1001, INT64_C(-0x00ffffffffffff00), ZK_OP_CREATE_SESSION, "00001000", ZK_BADARGUMENTS },
        { "createSession", 1001, INT64_C(0x0200000000000001), ZK_OP_CREATE_SESSION, "00001000", 0 },
        { "createSession again", 1002, INT64_C(0x0200000000000001), ZK_OP_CREATE_SESSION, "00001000", 0 },
        { "then it is the other's", 1001, INT64_C(0x0200000000000001), ZK_OP_DELETE, "000000022f61 ffffffff", ZK_SESSIONMOVED },
        { "anyone may close", 1001, INT64_C(0x0200000000000001), ZK_OP_CLOSE_SESSION, "", 0 },
        { "closing", 1002, INT64_C(0x0200000000000001), ZK_OP_CREATE_SESSION, "00001000", ZK_SESSIONEXPIRED },
        { "closing an unknown one", 1001, 4711, ZK_OP_CLOSE_SESSION, "", 0 },
        { "an internal opcode", 1001, 0, ZK_OP_ERROR, "00000000", ZK_UNIMPLEMENTED },
    };
    struct world w = { .arena = arena_init() };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        struct buf body = hex(&w, cases[i].body);
        size_t before = e.log.len;
        core_submit_remote(leader(), &(struct core_remote_request){ cases[i].peer, cases[i].session ? cases[i].session : s,
                                                                    7, cases[i].op, body, { NULL, -1 } });
        ensemble_pump(&e, 0);
        assert_int_equal(e.log.len, before + 1);
        struct rd r = rd_buf(e.log.items[before]);
        struct txn_header h;
        txn_header_read(&r, NULL, &h);
        assert_int_equal(h.cxid, 7);
        assert_int_equal(h.type, cases[i].err ? (int32_t)ZK_OP_ERROR : cases[i].op);
        if (cases[i].err)
            assert_int_equal(rd_i32(&r), cases[i].err);
    }
    arena_free(&w.arena);
}

/* A learner's sync takes no zxid, but its place: what the learner's clients asked for earlier is proposed ahead of it. */
static void test_remote_sync_keeps_its_place(void **state)
{
    const struct core_effect *fx;
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    struct core_remote_request write = { 1001, s, 1, ZK_OP_DELETE, { 0 }, { NULL, -1 } };
    struct core_remote_request sync = { 1001, s, 2, ZK_OP_SYNC, buf_str("/"), { NULL, -1 } };
    core_submit_remote(leader(), &write);
    core_submit_remote(leader(), &sync);
    core_submit_remote(leader(), &write);
    assert_int_equal(core_effects(leader(), &fx), 3);
    assert_int_equal(fx[0].type, CORE_PROPOSE);
    assert_int_equal(fx[1].type, CORE_PEER_SYNC);
    assert_int_equal(fx[1].peer, 1001);
    assert_int_equal(fx[2].type, CORE_PROPOSE);
    assert_int_equal(fx[2].zxid, fx[0].zxid + 1);
    ensemble_pump(&e, 0);
}

static void test_identities_travel(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    e.ids = auth_ids_add(e.ids, "digest", "bob:x");
    assert_int_equal(answered(1, 1, s, 1, "create /acl ~ 0 auth::31")->err, ZK_OK);
    assert_int_equal(answered(1, 1, s, 2, "create /acl/x ~ 0")->err, ZK_OK);
    auth_ids_unref(e.ids);
    e.ids = auth_ids_new("127.0.0.1");
    assert_int_equal(answered(1, 1, s, 3, "create /acl/y ~ 0")->err, ZK_NOAUTH);
    e.ids = auth_ids_add(e.ids, "super", "");
    assert_int_equal(answered(1, 1, s, 4, "create /acl/y ~ 0")->err, ZK_OK);
}

/* ---- syncs ---- */

static void test_sync(void **state)
{
    for (int who = 0; who < 2; who++) {
        int64_t s = ensemble_connect(&e, who, 1, 10000);
        const struct got *g = answered(who, 1, s, 1, "sync /any/path");
        assert_int_equal(g->err, ZK_OK);
        assert_int_equal(g->zxid, tree_last_zxid(e.m[who].tree));
        struct rd body = g->body;
        assert_true(jstr_is(jute_read_str(&body), "/any/path"));

        /* Behind an own write, ahead of another: answers come in order, though the confirmation is late. */
        ensemble_submit(&e, who, 1, s, 2, "create /s ~ 0");
        ensemble_submit(&e, who, 1, s, 3, "sync /");
        ensemble_submit(&e, who, 1, s, 4, "delete /s -1");
        assert_null(ensemble_reply(&e, who, 1, 3));
        ensemble_settle(&e);
        size_t n = e.m[who].got.len;
        for (int32_t xid = 2; xid <= 4; xid++)
            assert_int_equal(e.m[who].got.items[n - 5 + (size_t)xid].xid, xid);
        (void)answered(who, 1, s, 5, "close");
    }
}

/* What was committed when it was confirmed has to be applied first. */
static void test_sync_waits(void **state)
{
    int64_t s = ensemble_connect(&e, 2, 1, 10000), t = ensemble_connect(&e, 0, 1, 10000);
    ensemble_submit(&e, 0, 1, t, 1, "create /w ~ 0");
    while (ensemble_deliver(&e, 1, false) || ensemble_deliver(&e, 1, true))
        ; /* committed by 0 and 1 */
    ensemble_apply(&e, 0, 0);
    assert_non_null(ensemble_reply(&e, 0, 1, 1));
    ensemble_submit(&e, 2, 1, s, 1, "sync /");
    while (ensemble_deliver(&e, 2, true) || ensemble_deliver(&e, 2, false))
        ;
    assert_true(core_has_committed(core_of(2)));
    assert_null(ensemble_reply(&e, 2, 1, 1));
    ensemble_apply(&e, 2, 0);
    assert_non_null(ensemble_reply(&e, 2, 1, 1));
    assert_true(tree_find(e.m[2].tree, jstr_of("/w")) != NULL);
}

/* On a leader, a later transaction is a proof too. The confirmation that comes then is no longer needed. */
static void test_sync_proven(void **state)
{
    int64_t s = ensemble_connect(&e, 0, 1, 10000), t = ensemble_connect(&e, 0, 2, 10000);
    ensemble_submit(&e, 0, 1, s, 1, "sync /");
    ensemble_submit(&e, 0, 2, t, 1, "create /p ~ 0");
    ensemble_quorum(&e, e.acked[0]);
    ensemble_apply(&e, 0, 0);
    assert_non_null(ensemble_reply(&e, 0, 1, 1));
    core_synced(core_of(0), 12345); /* unknown: ignored */
}

static void test_sync_of_a_closed_session(void **state)
{
    for (int who = 0; who < 2; who++) {
        int64_t s = ensemble_connect(&e, who, 1, 10000);
        ensemble_submit(&e, who, 1, s, 1, "sync /");
        ensemble_submit(&e, who, 1, s, 2, "close");
        ensemble_submit(&e, who, 1, s, 3, "sync /");
        ensemble_submit(&e, who, 1, s, 4, "create /late ~ 0");
        ensemble_settle(&e);
        assert_non_null(ensemble_reply(&e, who, 1, 1));
        assert_non_null(ensemble_reply(&e, who, 1, 2));
        assert_null(tree_find(e.m[who].tree, jstr_of("/late")));
        assert_int_equal(core_outstanding(core_of(who)), 0);
    }
}

/* ---- roles ---- */

static void test_nobody_is_served(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000), t = ensemble_connect(&e, 0, 2, 10000);
    ensemble_submit(&e, 0, 2, t, 1, "create /gone ~ 0");
    ensemble_submit(&e, 1, 1, s, 1, "create /gone2 ~ 0");
    ensemble_attach(&e, 1, 3, t, 10000);
    core_become(core_of(1), CORE_NONE, 0, e.now);
    core_become(core_of(0), CORE_NONE, 0, e.now);
    ensemble_pump(&e, 0);
    ensemble_pump(&e, 1);
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 1), 1);
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 3), 1); /* it was waiting for its revalidation */
    assert_int_equal(ensemble_count(&e, 0, CORE_CLOSE_CONN, 2), 1);
    ensemble_submit(&e, 1, 1, s, 2, "create /x ~ 0"); /* still on its way from the net thread */
    core_connect(core_of(1), 7, 0, buf_of("", 0), 10000);
    ensemble_pump(&e, 1);
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 7), 1);
    assert_int_equal(core_outstanding(core_of(0)) + core_outstanding(core_of(1)), 0);
    assert_int_equal(core_role(core_of(1)), CORE_NONE);

    /* A connection of the old role may still send when the new one has begun: what it sent before was lost, so this must be too. */
    e.log.len = e.log_zxids.len = e.log.len - 1; /* "/gone" never left */
    ensemble_elect(&e, 1);
    ensemble_submit(&e, 1, 1, s, 3, "create /x ~ 0");
    ensemble_submit(&e, 0, 2, t, 3, "create /x ~ 0");
    ensemble_settle(&e);
    assert_null(tree_find(e.m[1].tree, jstr_of("/x")));
    assert_null(tree_find(e.m[1].tree, jstr_of("/gone")));
    ensemble_attach(&e, 1, 10, s, 10000);
    ensemble_settle(&e);
    assert_int_equal(answered(1, 10, s, 1, "create /x ~ 0")->zxid, (INT64_C(2) << 32) + 1);
}

static void test_counter_ends(void **state)
{
    ensemble_done(&e);
    ensemble_init(&e);
    e.cfg.counter_max = 3;
    ensemble_start(&e);
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    assert_int_equal(answered(1, 1, s, 1, "create /a ~ 0")->err, ZK_OK);
    assert_false(core_zxid_exhausted(leader()));
    assert_int_equal(answered(1, 1, s, 2, "create /b ~ 0")->err, ZK_OK);
    assert_true(core_zxid_exhausted(leader()));
    ensemble_submit(&e, 1, 1, s, 3, "create /c ~ 0");
    core_connect(leader(), 4, 0, buf_of("", 0), 10000);
    ensemble_pass(&e, 0, 100000); /* the session expires: not now */
    while (ensemble_deliver(&e, 1, true))
        ;
    assert_int_equal(core_last_proposed(leader()), (INT64_C(1) << 32) + 3);
    assert_int_equal(ensemble_count(&e, 0, CORE_CLOSE_CONN, 4), 1);
    ensemble_elect(&e, 2);
    ensemble_attach(&e, 1, 2, s, 10000);
    ensemble_settle(&e);
    assert_int_equal(answered(1, 2, s, 1, "create /c ~ 0")->zxid, (INT64_C(2) << 32) + 1);
}

/* ---- reconfig ---- */

static int32_t reconfig_says;
static int reconfig_calls;

static int32_t reconfig_to(void *data, const struct reconfig_request *q, int64_t zxid, struct buf *ret)
{
    static char text[40];
    (void)data;
    reconfig_calls++;
    snprintf(text, sizeof(text), "server.1=a\nversion=%llx", (unsigned long long)zxid);
    *ret = buf_str(text);
    return reconfig_says;
}

static void test_reconfig(void **state)
{
    int64_t s = ensemble_connect(&e, 1, 1, 10000);
    assert_int_equal(answered(1, 1, s, 1, "reconfig")->err, ZK_RECONFIGDISABLED);
    ensemble_done(&e);
    ensemble_init(&e);
    e.cfg.reconfig = reconfig_to;
    ensemble_start(&e);
    for (int who = 0; who < 2; who++) {
        s = ensemble_connect(&e, who, 1, 10000);
        reconfig_says = ZK_NEWCONFIGNOQUORUM;
        assert_int_equal(answered(who, 1, s, 1, "reconfig")->err, ZK_NEWCONFIGNOQUORUM);
        reconfig_says = ZK_OK;
        assert_int_equal(answered(who, 1, s, 2, "reconfig")->err, ZK_NOAUTH); /* world may only read it */
        e.ids = auth_ids_add(e.ids, "super", "");
        reconfig_calls = 0;
        ensemble_submit(&e, who, 1, s, 3, "reconfig");
        ensemble_submit(&e, who, 1, s, 4, "reconfig");
        ensemble_settle(&e);
        assert_int_equal(reconfig_calls, 1); /* the second is behind the first, which nobody has seen yet */
        const struct got *g = ensemble_reply(&e, who, 1, 3);
        assert_int_equal(ensemble_reply(&e, who, 1, 4)->err, ZK_RECONFIGINPROGRESS);
        assert_int_equal(g->err, ZK_OK);
        struct rd body = g->body;
        struct data_stat ds;
        char expect[40];
        data_stat_read(&body, NULL, &ds);
        snprintf(expect, sizeof(expect), "server.1=a\nversion=%llx", (unsigned long long)g->zxid);
        assert_true(buf_is(buf_of(ds.data.p, (size_t)ds.data.n), expect));
        assert_int_equal(ds.stat.version, -1);
        assert_int_equal(ds.stat.mzxid, g->zxid);
        struct rd txn = rd_buf(e.log.items[e.log.len - 2]);
        struct txn_header h;
        txn_header_read(&txn, NULL, &h);
        assert_int_equal(h.type, ZK_OP_RECONFIG);
        assert_true(jstr_is(jute_read_str(&txn), "/zookeeper/config"));
        auth_ids_unref(e.ids);
        e.ids = auth_ids_new("127.0.0.1");
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routing),
        CASE(test_writes_through_all),
        CASE(test_commit_answers),
        CASE(test_matching),
        CASE(test_matching_multi),
        CASE(test_learner_refuses_garbage),
        CASE(test_session_moves),
        CASE(test_revalidation),
        CASE(test_revalidation_ahead),
        CASE(test_touches),
        CASE(test_new_leader_gives_full_timeouts),
        CASE(test_expiry_is_told_when_committed),
        CASE(test_remote_requests),
        CASE(test_remote_sync_keeps_its_place),
        CASE(test_identities_travel),
        CASE(test_sync),
        CASE(test_sync_waits),
        CASE(test_sync_proven),
        CASE(test_sync_of_a_closed_session),
        CASE(test_nobody_is_served),
        CASE(test_counter_ends),
        CASE(test_reconfig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
