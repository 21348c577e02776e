/* Local sessions: no transaction, one server, the upgrade. The read-only role. What an ensemble does about ephemerals without a session. And a
 * learner's answers to create2 within a multi. */
#include "ensemble.h"

static struct ensemble e;

static int setup_with(bool sessions, bool upgrade)
{
    ensemble_init(&e);
    e.cfg.local_sessions = sessions;
    e.cfg.local_upgrade = upgrade;
    ensemble_start(&e);
    return 0;
}

static int setup_upgrading(void **state)
{
    return setup_with(true, true);
}

static int setup_fixed(void **state)
{
    return setup_with(true, false);
}

static int setup_global(void **state)
{
    return setup_with(false, false);
}

static int setup_without_digest(void **state)
{
    ensemble_init(&e);
    e.cfg.no_digest = e.opt.no_digest = true; /* for a tree that changes by itself */
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

static struct core *core_of(int who)
{
    return e.m[who].core;
}

static const struct got *answered(int who, uint64_t conn, int64_t session, int32_t xid, const char *text)
{
    ensemble_submit(&e, who, conn, session, xid, text);
    ensemble_settle(&e);
    const struct got *g = ensemble_reply(&e, who, conn, xid);
    assert_non_null(g);
    return g;
}

static const struct got *ready(int who, uint64_t conn)
{
    for (size_t i = e.m[who].got.len; i-- > 0;)
        if (e.m[who].got.items[i].type == CORE_SESSION_READY && e.m[who].got.items[i].conn == conn)
            return &e.m[who].got.items[i];
    return NULL;
}

static int64_t owner_of(int who, const char *path)
{
    const struct znode *n = tree_find(e.m[who].tree, jstr_of(path));
    struct zk_stat_persisted st;
    if (!n)
        return 0;
    znode_stat_persisted(n, &st);
    return st.ephemeral_owner;
}

static bool everywhere(const char *path)
{
    bool all = true;
    for (int i = 0; i < MEMBERS; i++)
        all = all && tree_find(e.m[i].tree, jstr_of(path));
    return all;
}

/* ---- life ---- */

static void test_no_transaction(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        uint64_t conn = 10 + (uint64_t)who;
        core_connect(core_of(who), conn, 0, buf_of("", 0), 6000);
        ensemble_pump(&e, who); /* answered at once: nobody else is asked */
        assert_non_null(ready(who, conn));
        int64_t session = ready(who, conn)->session_id;
        assert_int_equal((uint64_t)session >> 56, who + 1);
        assert_int_equal(core_local_sessions(core_of(who)), 1);
        assert_int_equal(core_live_sessions(core_of(who)), 0);
        assert_int_equal(answered(who, conn, session, 1, "create /n ~ 0")->err, who == 0 ? 0 : ZK_NODEEXISTS);
        assert_int_equal(answered(who, conn, session, 2, "set /n x -1")->err, 0);
        assert_int_equal(answered(who, conn, session, 3, "multi check /n -1 ; set /n y -1")->err, 0);
        assert_false(tree_session_known(e.m[0].tree, session));
    }
    assert_int_equal(e.log.len, 9); /* nine writes and nothing for the sessions */
}

static void test_end_waits_for_writes(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        uint64_t conn = 10 + (uint64_t)who;
        int64_t session = ensemble_connect(&e, who, conn, 6000);
        size_t proposed = e.log.len;
        ensemble_submit(&e, who, conn, session, 1, "create /s- ~ 2");
        ensemble_submit(&e, who, conn, session, 2, "sync /");
        ensemble_submit(&e, who, conn, session, 3, "close");
        assert_null(ensemble_reply(&e, who, conn, 3));
        ensemble_settle(&e);
        const struct got *g = &e.m[who].got.items[e.m[who].got.len - 4];
        for (int i = 0; i < 3; i++) {
            assert_int_equal(g[i].type, CORE_REPLY);
            assert_int_equal(g[i].xid, i + 1);
            assert_int_equal(g[i].err, 0);
        }
        assert_int_equal(g[3].type, CORE_CLOSE_CONN);
        assert_int_equal(core_local_sessions(core_of(who)), 0);
        assert_int_equal(e.log.len, proposed + 1);
        ensemble_attach(&e, who, 50, session, 6000);
        ensemble_settle(&e);
        assert_int_equal(ready(who, 50)->session_id, 0);
    }
}

static void test_end_of_idle(void **state)
{
    int64_t session = ensemble_connect(&e, 1, 10, 6000);
    assert_int_equal(answered(1, 10, session, 1, "close")->err, 0);
    assert_int_equal(ensemble_count(&e, 1, CORE_CLOSE_CONN, 10), 1);
}

static void tick_to(int64_t ms)
{
    ensemble_pass(&e, -1, ms);
}

/* Its own server expires it, and nobody is told of touches. */
static void count_touch(void *data, int64_t session_id, int32_t timeout_ms)
{
    (*(int *)data)++;
}

static void test_expiry(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        uint64_t conn = 10 + (uint64_t)who;
        int touches = 0;
        int64_t session = ensemble_connect(&e, who, conn, 6000);
        assert_true(core_next_wake(core_of(who)) <= e.now + 8000);
        for (int i = 0; i < 5; i++) {
            tick_to(4000);
            core_touch(core_of(who), session);
            core_take_touches(core_of(who), count_touch, &touches);
        }
        assert_int_equal(touches, 0);
        assert_int_equal(ensemble_count(&e, who, CORE_CLOSE_CONN, conn), 0);
        tick_to(8001);
        assert_int_equal(ensemble_count(&e, who, CORE_CLOSE_CONN, conn), 1);
        assert_int_equal(core_local_sessions(core_of(who)), 0);
    }
    ensemble_settle(&e);
    assert_int_equal(e.log.len, 0);
    assert_true(core_next_wake(core_of(1)) == INT64_MAX);
}

/* ---- who may go on where ---- */

static void test_stays_at_its_server(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        int64_t session = ensemble_connect(&e, who, 10, 6000);
        for (int other = 0; other < MEMBERS; other++) {
            uint64_t conn = 20 + (uint64_t)other;
            if (other == who)
                continue;
            ensemble_attach(&e, other, conn, session, 6000);
            ensemble_settle(&e);
            assert_int_equal(ready(other, conn)->session_id, 0);
        }
        assert_int_equal(ensemble_count(&e, who, CORE_CLOSE_CONN, 10), 0);
        ensemble_attach(&e, who, 30, session, 6000); /* without asking anybody */
        assert_int_equal(ready(who, 30)->session_id, session);
        assert_int_equal(ensemble_count(&e, who, CORE_CLOSE_CONN, 10), 1);
        assert_int_equal(answered(who, 30, session, 1, "create /n- ~ 2")->err, 0);
        e.m[who].got.len = 0;
        for (int other = 0; other < MEMBERS; other++)
            e.m[other].got.len = 0;
    }
}

/* An election takes connections, not local sessions. */
static void test_survives_elections(void **state)
{
    int64_t session = ensemble_connect(&e, 2, 10, 6000);
    int64_t leaders = ensemble_connect(&e, 0, 11, 6000);
    ensemble_elect(&e, 1);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 10), 1);
    assert_int_equal(ensemble_count(&e, 0, CORE_CLOSE_CONN, 11), 1);
    ensemble_attach(&e, 2, 12, session, 6000);
    ensemble_attach(&e, 0, 13, leaders, 6000);
    assert_int_equal(ready(2, 12)->session_id, session);
    assert_int_equal(ready(0, 13)->session_id, leaders);
    assert_int_equal(answered(2, 12, session, 1, "create /a ~ 0")->err, 0);
    assert_int_equal(answered(0, 13, leaders, 1, "create /b ~ 1")->err, 0); /* and upgrades as before */
    assert_int_equal(owner_of(2, "/b"), leaders);
    tick_to(20000);
    ensemble_settle(&e);
    assert_int_equal(core_local_sessions(core_of(2)), 0);
    assert_false(everywhere("/b"));
}

/* ---- upgrade ---- */

static void check_upgraded(int who, uint64_t conn, int64_t session, const char *path)
{
    for (int i = 0; i < MEMBERS; i++) {
        assert_true(tree_session_known(e.m[i].tree, session));
        assert_true(owner_of(i, path) == session);
    }
    assert_int_equal(core_local_sessions(core_of(who)), 0);
    assert_int_equal(core_live_sessions(core_of(who)), 1);
    assert_int_equal(ensemble_count(&e, who, CORE_SESSION_READY, conn), 1); /* told once */
    assert_int_equal(ensemble_count(&e, who, CORE_CLOSE_CONN, conn), 0);
}

static void test_upgrade(void **state)
{
    static const char *const requests[] = { "create /u ~ 1", "create2 /u ~ 1", "multi create /p- ~ 2 ; create /u ~ 1" };
    for (size_t k = 0; k < ARRAY_LEN(requests); k++) {
        for (int who = 0; who < MEMBERS; who++) {
            int64_t session = ensemble_connect(&e, who, 10, 6000);
            size_t before = e.log.len;
            ensemble_submit(&e, who, 10, session, 1, "create /before- ~ 2");
            ensemble_submit(&e, who, 10, session, 2, requests[k]);
            ensemble_submit(&e, who, 10, session, 3, "create /v ~ 1"); /* no second createSession */
            ensemble_settle(&e);
            for (int32_t xid = 1; xid <= 3; xid++)
                assert_int_equal(ensemble_reply(&e, who, 10, xid)->err, 0);
            assert_int_equal(e.log.len, before + 4);
            check_upgraded(who, 10, session, "/u");
            int other = (who + 1) % MEMBERS; /* it may go elsewhere now */
            ensemble_attach(&e, other, 40, session, 6000);
            ensemble_settle(&e);
            assert_int_equal(ready(other, 40)->session_id, session);
            assert_int_equal(answered(other, 40, session, 4, "close")->err, 0);
            assert_false(everywhere("/u"));
            assert_false(everywhere("/v"));
            for (int i = 0; i < MEMBERS; i++)
                e.m[i].got.len = 0;
        }
    }
}

/* What asks for no ephemeral, or cannot be read, upgrades nothing. */
static void test_no_upgrade(void **state)
{
    static const struct {
        const char *request;
        int32_t err;
    } cases[] = { { "create /n ~ 0", 0 },       { "container /c ~ 4", 0 },    { "ttl /t ~ 5 1000", 0 },
                  { "create /x ~ 99", ZK_BADARGUMENTS }, { "multi check / -1", 0 }, { "sync /", 0 } };
    int64_t session = ensemble_connect(&e, 1, 10, 6000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(answered(1, 10, session, (int32_t)i + 1, cases[i].request)->err, cases[i].err);
    for (uint8_t n = 0; n < 12; n += 3) {
        static const uint8_t junk[12] = { 0, 0, 0, 1, 0, 0, 0, 1, 0xff };
        for (int k = 0; k < 2; k++) {
            core_submit(core_of(1), &(struct core_request){ 10, session, 100 + n + k, k ? ZK_OP_MULTI : ZK_OP_CREATE, buf_of(junk, n), e.ids });
            ensemble_pump(&e, 1);
            ensemble_settle(&e);
            assert_int_equal(ensemble_reply(&e, 1, 10, 100 + n + k)->err, ZK_MARSHALLINGERROR);
        }
    }
    assert_int_equal(core_local_sessions(core_of(1)), 1);
}

/* The leader goes in the middle: whatever became of the upgrade, the session is global or gone, nowhere both. */
static void test_upgrade_meets_election(void **state)
{
    for (int delivered = 0; delivered < 6; delivered++) {
        int64_t session = ensemble_connect(&e, 2, 10, 6000);
        ensemble_submit(&e, 2, 10, session, 1, "create /u ~ 1");
        for (int k = 0; k < delivered; k++)
            (void)ensemble_deliver(&e, 2, k < 2);
        ensemble_elect(&e, (e.leader + 1) % 2);
        ensemble_attach(&e, 2, 11, session, 6000);
        ensemble_settle(&e);
        bool global = tree_session_known(e.m[2].tree, session);
        assert_int_equal(ready(2, 11)->session_id, global ? session : 0);
        assert_int_equal(core_local_sessions(core_of(2)), 0);
        for (int i = 0; i < MEMBERS; i++)
            assert_true(owner_of(i, "/u") == 0 || global);
        if (global)
            assert_int_equal(answered(2, 11, session, 2, "close")->err, 0);
        for (int i = 0; i < MEMBERS; i++)
            e.m[i].got.len = 0;
    }
}

static int32_t last_step_error(const struct got *g)
{
    struct rd r = g->body;
    struct multi_header h;
    int32_t err = 0;
    for (multi_header_read(&r, NULL, &h); r.rc == 0 && !h.done; multi_header_read(&r, NULL, &h))
        err = rd_i32(&r);
    assert_int_equal(r.rc, 0);
    return err;
}

static void test_refused(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        int64_t session = ensemble_connect(&e, who, 10, 6000);
        assert_int_equal(answered(who, 10, session, 1, "create /u ~ 1")->err, ZK_EPHEMERALONLOCALSESSION);
        assert_int_equal(answered(who, 10, session, 2, "create2 /u ~ 3")->err, ZK_EPHEMERALONLOCALSESSION);
        const struct got *g = answered(who, 10, session, 3, "multi set / x -1 ; create /u ~ 1");
        assert_int_equal(g->err, 0);
        assert_int_equal(last_step_error(g), ZK_EPHEMERALONLOCALSESSION);
        assert_int_equal(answered(who, 10, session, 4, "create /p- ~ 2")->err, 0);
        assert_int_equal(core_local_sessions(core_of(who)), 1);
        assert_false(everywhere("/u"));
        for (int i = 0; i < MEMBERS; i++)
            e.m[i].got.len = 0;
    }
}

/* ---- the leader and sessions that it does not know ---- */

static int32_t remote_err(int64_t session, const char *text)
{
    static int32_t xid = 1000;
    struct world w = { .arena = e.arena };
    int32_t op;
    struct buf body = request_body(&w, text, &op);
    e.arena = w.arena;
    core_submit_remote(core_of(e.leader), &(struct core_remote_request){ 1001, session, ++xid, op, body, { NULL, -1 } });
    ensemble_pump(&e, e.leader);
    struct buf txn = e.log.items[e.log.len - 1];
    struct txn_header h;
    struct rd r = rd_buf(txn);
    txn_header_read(&r, NULL, &h);
    int32_t err = h.type == ZK_OP_ERROR ? rd_i32(&r) : 0;
    ensemble_settle(&e);
    return err;
}

static void test_unknown_at_leader(void **state)
{
    const int64_t theirs = INT64_C(0x0200000000000777), ours = INT64_C(0x0100000000000777);
    bool local = e.cfg.local_sessions;
    assert_int_equal(remote_err(theirs, "create /a ~ 0"), local ? 0 : ZK_SESSIONEXPIRED);
    assert_int_equal(remote_err(theirs, "create /b ~ 1"), ZK_SESSIONEXPIRED);
    assert_int_equal(remote_err(ours, "create /c ~ 0"), ZK_SESSIONEXPIRED);
    int64_t own = ensemble_connect(&e, 0, 10, 6000);
    assert_int_equal(remote_err(own, "create /d ~ 0"), ZK_SESSIONMOVED); /* of ours, by another's way */
}

/* What a client sent before its server knew that the session is over comes to nothing, though it might be a local session's. */
static void test_late_write(void **state)
{
    int64_t session = ensemble_connect(&e, 1, 10, 6000);
    assert_int_equal(answered(1, 10, session, 1, "create /e ~ 1")->err, 0); /* global */
    ensemble_submit(&e, 1, 10, session, 2, "create /late ~ 0");
    for (int k = 0; k < 8; k++) { /* the leader expires it, and hears of the write only then */
        e.now += 2000;
        core_tick(core_of(0), e.now, WALL0 + e.now);
        ensemble_pump(&e, 0);
    }
    ensemble_quorum(&e, core_last_proposed(core_of(0)));
    ensemble_apply(&e, 0, 0);
    assert_false(tree_session_known(e.m[0].tree, session));
    ensemble_settle(&e);
    assert_false(everywhere("/late"));
    assert_false(everywhere("/e"));
    assert_int_equal(remote_err(session, "create /late ~ 0"), ZK_SESSIONEXPIRED);
    tick_to(59000);
    assert_int_equal(remote_err(session, "create /late ~ 0"), ZK_SESSIONEXPIRED);
    tick_to(10000); /* not remembered for ever */
    assert_int_equal(remote_err(session, "create /forgotten ~ 0"), 0);
}

/* ---- read-only ---- */

static void become_read_only(int who)
{
    ensemble_settle(&e);
    core_become(core_of(who), CORE_NONE, 0, e.now);
    core_become(core_of(who), CORE_READONLY, 0, e.now);
    ensemble_pump(&e, who);
}

static int64_t connect_read_only(int who, uint64_t conn)
{
    core_connect_read_only(core_of(who), conn, 0, buf_of("", 0), 6000);
    ensemble_pump(&e, who);
    assert_non_null(ready(who, conn));
    return ready(who, conn)->session_id;
}

static void test_read_only(void **state)
{
    static const char *const writes[] = { "create /w ~ 0", "create2 /w ~ 1", "delete /w -1", "set / x -1", "setacl / open -1",
                                          "multi check / -1", "sync /", "reconfig", "container /w ~ 4" };
    int64_t global = ensemble_connect(&e, 2, 9, 6000);
    assert_int_equal(answered(2, 9, global, 1, "create /seen ~ 1")->err, 0);
    int64_t zxid = tree_last_zxid(e.m[2].tree);
    become_read_only(2);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 9), 1);

    core_connect(core_of(2), 20, 0, buf_of("", 0), 6000); /* who did not ask for it is sent away without an answer */
    ensemble_pump(&e, 2);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 20), 1);
    assert_null(ready(2, 20));

    int64_t session = connect_read_only(2, 21);
    assert_int_not_equal(session, 0);
    assert_true(ready(2, 21)->read_only);
    assert_int_equal(core_local_sessions(core_of(2)), 1);
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        ensemble_submit(&e, 2, 21, session, (int32_t)i + 1, writes[i]);
        const struct got *g = ensemble_reply(&e, 2, 21, (int32_t)i + 1); /* at once */
        assert_non_null(g);
        assert_int_equal(g->err, ZK_NOTREADONLY);
        assert_int_equal(g->zxid, zxid);
        assert_int_equal(rd_left(&g->body), 0);
    }
    ensemble_submit(&e, 2, 21, session, 50, "close");
    assert_int_equal(ensemble_reply(&e, 2, 21, 50)->err, 0);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 21), 1);
    assert_int_equal(tree_last_zxid(e.m[2].tree), zxid);
    core_become(core_of(2), CORE_LEARNER, 0, e.now);
}

static void attach_read_only(int who, uint64_t conn, int64_t session, bool forged)
{
    uint8_t passwd[ZK_PASSWORD_LEN];
    session_passwd(session, passwd);
    passwd[0] ^= forged;
    core_connect_read_only(core_of(who), conn, session, buf_of(passwd, sizeof(passwd)), 6000);
    ensemble_pump(&e, who);
}

static void test_read_only_sessions(void **state)
{
    int64_t global = ensemble_connect(&e, 2, 9, 40000);
    assert_int_equal(answered(2, 9, global, 1, "create /e ~ 1")->err, 0);
    become_read_only(2);
    int64_t session = connect_read_only(2, 21);
    attach_read_only(2, 22, session, false);
    assert_int_equal(ready(2, 22)->session_id, session);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 21), 1);
    attach_read_only(2, 23, session, true);
    assert_int_equal(ready(2, 23)->session_id, 0);
    attach_read_only(2, 24, global, false); /* lives or not, but not by what is known here */
    assert_int_equal(ready(2, 24)->session_id, global);
    assert_true(ready(2, 24)->read_only);
    ensemble_submit(&e, 2, 24, global, 1, "close"); /* which is not ours to do */
    assert_int_equal(ensemble_reply(&e, 2, 24, 1)->err, ZK_NOTREADONLY);
    attach_read_only(2, 25, INT64_C(0x0100000000000042), false); /* of another server, maybe younger than what is known here */
    assert_int_equal(ready(2, 25)->session_id, INT64_C(0x0100000000000042));
    core_disconnected(core_of(2), 25, INT64_C(0x0100000000000042));
    attach_read_only(2, 26, INT64_C(0x0300000000000042), false); /* of this one, and gone */
    assert_int_equal(ready(2, 26)->session_id, 0);

    tick_to(4000);
    core_touch(core_of(2), session);
    core_touch(core_of(2), global);
    tick_to(4000);
    assert_int_equal(core_local_sessions(core_of(2)), 1);
    core_become(core_of(2), CORE_NONE, 0, e.now);
    core_become(core_of(2), CORE_LEARNER, 0, e.now);
    ensemble_pump(&e, 2);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 22), 1);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 24), 1);
    assert_int_equal(core_local_sessions(core_of(2)), 0);
    ensemble_attach(&e, 2, 30, session, 6000); /* it was never a real one */
    ensemble_settle(&e);
    assert_int_equal(ready(2, 30)->session_id, 0);
    ensemble_attach(&e, 2, 31, global, 40000); /* this one was */
    ensemble_settle(&e);
    assert_int_equal(ready(2, 31)->session_id, global);
    assert_false(ready(2, 31)->read_only);
}

static void test_read_only_expiry(void **state)
{
    become_read_only(2);
    (void)connect_read_only(2, 21);
    assert_true(core_next_wake(core_of(2)) < INT64_MAX);
    ensemble_pass(&e, 2, 9000);
    assert_int_equal(ensemble_count(&e, 2, CORE_CLOSE_CONN, 21), 1);
    core_become(core_of(2), CORE_LEARNER, 0, e.now);
}

/* ---- ephemerals without a session ---- */

static void test_orphans(void **state)
{
    for (int i = 0; i < MEMBERS; i++) { /* as a damaged history would leave them */
        struct wr txn = wr_init(0);
        struct arena a = { 0 };
        struct tree_result res;
        jute_write_str(&txn, jstr_of("/ghost"));
        jute_write_buf(&txn, (struct jbuf){ NULL, -1 });
        wr_i32(&txn, 0);
        wr_u8(&txn, 1);
        wr_i32(&txn, 1);
        assert_int_equal(tree_apply(e.m[i].tree, &(struct txn_header){ .client_id = 0x77, .zxid = tree_last_zxid(e.m[i].tree), .type = ZK_OP_CREATE },
                                    buf_of(txn.p, txn.n), &a, &res), 0);
        wr_free(&txn);
        arena_free(&a);
    }
    int64_t session = ensemble_connect(&e, 1, 10, 6000);
    assert_int_equal(answered(1, 10, session, 1, "create /mine ~ 1")->err, 0);
    assert_true(everywhere("/ghost"));
    size_t before = e.log.len;
    ensemble_elect(&e, 2);
    assert_true(core_next_wake(core_of(2)) <= e.now);
    tick_to(1);
    ensemble_settle(&e);
    assert_int_equal(e.log.len, before + 1); /* a transaction that all have */
    for (int i = 0; i < MEMBERS; i++) {
        assert_null(tree_find(e.m[i].tree, jstr_of("/ghost")));
        assert_true(owner_of(i, "/mine") == session);
    }
}

/* ---- create2 within a multi ---- */

static void test_multi_create2(void **state)
{
    for (int who = 0; who < MEMBERS; who++) {
        int64_t session = ensemble_connect(&e, who, 10, 6000);
        const struct got *g = answered(who, 10, session, 1, "multi create /m- a 2 ; create2 /m- bcd 2 ; check / -1 ; create2 /m- ~ 2");
        struct rd r = g->body;
        struct multi_header h;
        assert_int_equal(g->err, 0);
        static const int32_t types[] = { ZK_OP_CREATE, ZK_OP_CREATE2, ZK_OP_CHECK, ZK_OP_CREATE2 };
        static const int32_t lengths[] = { -1, 3, -1, 0 };
        for (size_t i = 0; i < ARRAY_LEN(types); i++) {
            struct zk_stat st;
            multi_header_read(&r, NULL, &h);
            assert_int_equal(h.type, types[i]);
            if (types[i] == ZK_OP_CHECK)
                continue;
            struct buf path = { NULL, (size_t)rd_i32(&r) };
            path.p = rd_take(&r, path.n);
            assert_int_equal(path.n, 13);
            if (types[i] != ZK_OP_CREATE2)
                continue;
            zk_stat_read(&r, &st);
            assert_int_equal(st.data_length, lengths[i]);
            assert_int_equal(st.czxid, g->zxid);
        }
        multi_header_read(&r, NULL, &h);
        assert_true(h.done);
        assert_int_equal(r.rc, 0);
        assert_int_equal(rd_left(&r), 0);
        for (int i = 0; i < MEMBERS; i++)
            e.m[i].got.len = 0;
    }
}

#define TEST(fn, setup) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_transaction, setup_upgrading),
        TEST(test_end_waits_for_writes, setup_upgrading),
        TEST(test_end_of_idle, setup_upgrading),
        TEST(test_expiry, setup_upgrading),
        TEST(test_stays_at_its_server, setup_upgrading),
        TEST(test_survives_elections, setup_upgrading),
        TEST(test_upgrade, setup_upgrading),
        TEST(test_no_upgrade, setup_upgrading),
        TEST(test_upgrade_meets_election, setup_upgrading),
        TEST(test_refused, setup_fixed),
        TEST(test_late_write, setup_upgrading),
        TEST(test_unknown_at_leader, setup_fixed),
        TEST(test_unknown_at_leader, setup_global),
        TEST(test_read_only, setup_global),
        TEST(test_read_only_sessions, setup_global),
        TEST(test_read_only_expiry, setup_global),
        TEST(test_orphans, setup_without_digest),
        TEST(test_multi_create2, setup_global),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
