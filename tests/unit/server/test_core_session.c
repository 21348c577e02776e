/* Sessions in virtual time: ids, passwords, expiry, re-attach, closing. */
#include "harness.h"

static void test_password(void **state)
{
    static const struct {
        uint64_t id;
        const char *passwd;
    } cases[] = { { 0x0100000000000001, "054cc74a37327db215e702e20c73f005" },
                  { 0x0100012345670000, "4be494d27cc739baa123244a251a7415" },
                  { 0xff00000000000001, "054cc74a37327db215e702e20c73f005" } }; /* the top 16 bits do not count */
    struct world w = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t p[ZK_PASSWORD_LEN];
        session_passwd((int64_t)cases[i].id, p);
        assert_hex(&w, buf_of(p, sizeof(p)), cases[i].passwd);
    }
    arena_free(&w.arena);
}

static void test_first_id(void **state)
{
    assert_int_equal(session_first_id(5, 0xff23456789ab), 0x0523456789ab0000); /* 40 bits of the clock */
    assert_int_equal((uint64_t)session_first_id(128, 0), 0x8000000000000001); /* not the container mark */
    assert_int_equal((uint64_t)session_first_id(5, WALL0) >> 56, 5);
}

static void test_clamp(void **state)
{
    static const int32_t cases[][2] = { { 0, 4000 }, { -1, 4000 }, { 4000, 4000 }, { 5000, 5000 }, { 40001, 40000 },
                                        { INT32_MIN, 4000 }, { INT32_MAX, 40000 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(session_timeout_clamp(cases[i][0], 4000, 40000), cases[i][1]);
}

/* The example of the log format: the first transaction of a fresh store, byte for byte. */
static void test_first_txn(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    struct buf t = w.log.items[0];
    assert_int_equal(t.n, 48);
    uint8_t copy[48];
    memcpy(copy, t.p, sizeof(copy));
    store_u64(copy, 0x0100000000000001); /* the example's session; ours comes from the clock */
    assert_hex(&w, buf_of(copy, sizeof(copy)),
               "0100000000000001 00000000 0000000000000001 0000018bcfe56800 fffffff6 00007530 00000002 0000000051c6d660");
    world_done(&w);
}

static void test_create_waits_for_the_log(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    core_connect(w.core, 2, 0, buf_of(NULL, 0), 100);
    world_pump(&w);
    assert_int_equal(count_got(&w, CORE_SESSION_READY, 2), 0);
    assert_false(core_has_committed(w.core));
    core_persisted(w.core, w.appended);
    assert_true(core_has_committed(w.core));
    core_apply(w.core, 0);
    world_pump(&w);
    assert_int_equal(count_got(&w, CORE_SESSION_READY, 2), 1);
    const struct got *g = &w.got.items[w.got.len - 1];
    assert_int_equal(g->timeout_ms, 4000);
    assert_int_equal(g->session_id, w.session + 1);
    assert_int_equal(tree_session_timeout(w.tree, g->session_id), 4000);
    uint8_t p[ZK_PASSWORD_LEN];
    session_passwd(g->session_id, p);
    assert_memory_equal(g->passwd, p, sizeof(p));
    world_done(&w);
}

static void test_reattach(void **state)
{
    enum who { SELF, UNKNOWN };
    static const struct {
        const char *name;
        enum who who;
        int spoil;       /* byte of the password to flip, -1: none */
        size_t passwd_len;
        bool ok;
    } cases[] = { { "right", SELF, -1, 16, true },         { "wrong first byte", SELF, 0, 16, false },
                  { "wrong last byte", SELF, 15, 16, false }, { "short", SELF, -1, 15, false },
                  { "none", SELF, -1, 0, false },           { "unknown session", UNKNOWN, -1, 16, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        print_message("case: %s\n", cases[i].name);
        world_init(&w);
        world_start(&w);
        int64_t id = cases[i].who == SELF ? w.session : w.session + 77;
        uint8_t p[ZK_PASSWORD_LEN];
        session_passwd(id, p);
        if (cases[i].spoil >= 0)
            p[cases[i].spoil] ^= 1;
        core_connect(w.core, 2, id, buf_of(p, cases[i].passwd_len), 10000);
        world_pump(&w);
        assert_int_equal(core_outstanding(w.core), 0); /* no transaction for it */
        const struct got *g = &w.got.items[w.got.len - 1];
        assert_int_equal(g->type, CORE_SESSION_READY);
        assert_int_equal(g->session_id, cases[i].ok ? id : 0);
        assert_int_equal(g->timeout_ms, cases[i].ok ? 10000 : 0);
        /* Only who proves to own the session takes its connection over. */
        assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 1), cases[i].ok);
        world_done(&w);
    }
}

/* The end of the old connection, reported late, must not detach the new one. */
static void test_late_disconnect(void **state)
{
    struct world w;
    uint8_t p[ZK_PASSWORD_LEN];
    world_init(&w);
    world_start(&w);
    session_passwd(w.session, p);
    core_connect(w.core, 2, w.session, buf_of(p, sizeof(p)), 4000);
    core_disconnected(w.core, 1, w.session);
    world_tick(&w, 20000);
    world_flush(&w);
    assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 2), 1);
    assert_int_equal(core_live_sessions(w.core), 0);
    world_done(&w);
}

/* Expires later than its timeout, by at most one tick; whatever the phase against the ticks. */
static void test_expiry_window(void **state)
{
    for (int64_t phase = 0; phase < 2000; phase += 333) {
        struct world w;
        world_init(&w);
        w.now += phase;
        world_start(&w);
        int64_t start = w.now, gone = 0;
        while (!gone && w.now < start + 60000) {
            int64_t wake = core_next_wake(w.core);
            assert_true(wake > w.now);
            world_tick(&w, wake - w.now);
            if (core_live_sessions(w.core) == 0)
                gone = w.now;
        }
        assert_true(gone > start + 30000);
        assert_true(gone <= start + 30000 + 2000);
        world_flush(&w);
        assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 1), 1);
        assert_int_equal(tree_session_count(w.tree), 0);
        world_done(&w);
    }
}

static void test_touch_keeps_alive(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    int64_t idle = world_connect(&w, 2, 4000);
    int64_t writing = world_connect(&w, 3, 4000);
    for (int i = 0; i < 40; i++) {
        world_tick(&w, 1000);
        core_touch(w.core, w.session);
        submit_on(&w, 3, writing, "create /x x 0"); /* a write touches by itself, even one that fails */
        world_flush(&w);
    }
    assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 1), 0);
    assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 2), 1);
    assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 3), 0);
    assert_int_equal(tree_session_timeout(w.tree, idle), 0);
    core_touch(w.core, idle); /* gone: nothing happens */
    world_done(&w);
}

/* A core that starts on a tree with sessions gives each a full fresh timeout, however long it may be. */
/* While the server stands still (stopped, starved, its machine suspended) it hears nobody, so no session's time passes. */
static void test_stall(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    int64_t id = world_connect(&w, 1, 10000);
    world_tick(&w, 3000);
    world_stall(&w, 60000);
    world_pump(&w);
    assert_int_equal(core_live_sessions(w.core), 2);
    core_touch(w.core, id);
    world_stall(&w, 15000);
    world_tick(&w, 7000);
    world_pump(&w);
    assert_int_equal(core_live_sessions(w.core), 2);
    assert_true(core_next_wake(w.core) > w.now);
    world_tick(&w, 7000); /* no more than a timeout and two ticks of its own time */
    world_pump(&w);
    assert_int_equal(core_live_sessions(w.core), 1);
    world_done(&w);
}

static void test_restored_sessions(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    core_free(w.core);
    /* A session from a server with other limits: further away than the ring of buckets reaches. */
    struct arena a = arena_init();
    uint8_t timeout[4];
    struct tree_result res;
    store_u32(timeout, 2000 * 1000);
    struct txn_header h = { .client_id = 42, .zxid = 2, .time_ms = WALL0, .type = ZK_OP_CREATE_SESSION };
    assert_int_equal(tree_apply(w.tree, &h, buf_of(timeout, 4), &a, &res), 0);
    arena_free(&a);
    w.appended = 2;
    w.core = core_new(&w.cfg, w.tree, w.now, w.wall);
    assert_int_equal(core_live_sessions(w.core), 2);
    world_tick(&w, 29999);
    assert_int_equal(core_live_sessions(w.core), 2);
    world_tick(&w, 2001);
    assert_int_equal(core_live_sessions(w.core), 1);
    world_tick(&w, 1960000);
    assert_int_equal(core_live_sessions(w.core), 1);
    world_tick(&w, 20000);
    assert_int_equal(core_live_sessions(w.core), 0);
    world_flush(&w);
    world_done(&w);
}

static void test_expiry_deletes_ephemerals(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    int64_t other = world_connect(&w, 2, 4000);
    submit_on(&w, 2, other, "create /e x 1");
    submit_on(&w, 2, other, "create /s x 3");
    submit_on(&w, 2, other, "create /p x 0");
    world_flush(&w);
    core_touch(w.core, w.session);
    world_tick(&w, 6000);
    world_flush(&w);
    assert_false(exists(&w, "/e"));
    assert_false(exists(&w, "/s0000000001"));
    assert_true(exists(&w, "/p"));
    assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 2), 1);
    struct rd r = rd_buf(w.log.items[w.log.len - 1]);
    struct txn_header h;
    struct close_session_txn body;
    txn_header_read(&r, &w.arena, &h);
    close_session_txn_read(&r, &w.arena, &body);
    assert_int_equal(h.type, ZK_OP_CLOSE_SESSION);
    assert_int_equal(h.cxid, 0);
    assert_int_equal(h.client_id, other);
    assert_int_equal(body.paths.n, 2);
    world_done(&w);
}

/* What is under way counts: created and not yet applied, deleted and not yet applied, deleted and created again. */
static void test_close_with_pending_ephemerals(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    int64_t other = world_connect(&w, 2, 30000);
    submit_on(&w, 2, other, "create /applied x 1");
    submit_on(&w, 2, other, "create /going x 1");
    submit_on(&w, 2, other, "create /becomes-plain x 1");
    submit_on(&w, 2, other, "create /again x 1");
    submit_on(&w, 2, other, "create /other-owner x 1");
    world_flush(&w);
    submit_on(&w, 2, other, "create /pending x 1");
    submit_on(&w, 2, other, "set /pending y -1");
    submit_on(&w, 2, other, "set /applied y -1");
    submit_on(&w, 2, other, "delete /going -1");
    submit_on(&w, 2, other, "delete /becomes-plain -1");
    submit_on(&w, 2, other, "create /becomes-plain x 0");
    submit_on(&w, 2, other, "delete /again -1");
    submit_on(&w, 2, other, "create /again x 1");
    submit_on(&w, 2, other, "delete /other-owner -1");
    submit(&w, "create /other-owner x 1");
    submit_on(&w, 2, other, "multi create /rolled-back x 1 ; delete /nothing -1");
    int32_t close = submit_on(&w, 2, other, "close");
    int32_t late = submit_on(&w, 2, other, "create /late x 1");
    int32_t again = submit(&w, "create /pending mine 0"); /* free again for others at once */
    world_flush(&w);
    assert_int_equal(reply_of(&w, close)->err, ZK_OK);
    assert_null(reply_of(&w, late)); /* nobody is left to hear -112 */
    assert_int_equal(reply_of(&w, again)->err, ZK_OK);
    assert_false(exists(&w, "/applied"));
    assert_false(exists(&w, "/going"));
    assert_true(exists(&w, "/becomes-plain"));
    assert_false(exists(&w, "/again"));
    assert_true(exists(&w, "/other-owner"));
    assert_false(exists(&w, "/rolled-back"));
    assert_false(exists(&w, "/late"));

    struct rd r = rd_buf(w.log.items[w.log.len - 3]);
    struct txn_header h;
    struct close_session_txn body;
    txn_header_read(&r, &w.arena, &h);
    close_session_txn_read(&r, &w.arena, &body);
    assert_int_equal(h.type, ZK_OP_CLOSE_SESSION);
    assert_int_equal(body.paths.n, 3); /* /applied /pending /again */
    world_done(&w);
}

static void test_close_by_client(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    int32_t xid = submit(&w, "close");
    core_connect(w.core, 9, w.session, buf_of((uint8_t[16]){ 0 }, 16), 4000); /* too late, even if the password were right */
    world_flush(&w);
    size_t n = w.got.len;
    const struct got *close = &w.got.items[n - 1], *reply = &w.got.items[n - 2];
    assert_int_equal(close->type, CORE_CLOSE_CONN); /* after the reply */
    assert_int_equal(close->conn, 1);
    assert_int_equal(reply->type, CORE_REPLY);
    assert_int_equal(reply->xid, xid);
    assert_int_equal(reply->bytes.n, 20);
    submit(&w, "create /x x 0"); /* of a session that is gone: no reply, no zxid */
    world_flush(&w);
    assert_int_equal(w.got.len, n);
    w.session = world_connect(&w, 1, 4000);
    world_done(&w);
}

/* The parent is empty for whoever comes behind the close. */
static void test_close_then_delete_parent(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    int64_t other = world_connect(&w, 2, 30000);
    call(&w, "create /p x 0");
    submit_on(&w, 2, other, "create /p/e x 1");
    world_flush(&w);
    submit_on(&w, 2, other, "create /p/f x 1");
    int32_t full = submit(&w, "delete /p -1");
    submit_on(&w, 2, other, "close");
    int32_t empty = submit(&w, "delete /p -1");
    world_flush(&w);
    assert_int_equal(reply_of(&w, full)->err, ZK_NOTEMPTY);
    assert_int_equal(reply_of(&w, empty)->err, ZK_OK);
    world_done(&w);
}

/* Expired, but the closing transaction is not applied yet: writes are refused, in order, and cost a zxid. */
static void test_writes_while_closing(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    world_tick(&w, 40000);
    submit(&w, "create /x x 0");
    submit(&w, "multi create /x x 0 ; delete /y 0");
    submit(&w, "close"); /* never refused */
    world_pump(&w);
    static const int32_t types[] = { ZK_OP_CLOSE_SESSION, ZK_OP_ERROR, ZK_OP_MULTI, ZK_OP_CLOSE_SESSION };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct txn_header h;
        struct rd r = rd_buf(w.log.items[w.log.len - ARRAY_LEN(types) + i]);
        txn_header_read(&r, NULL, &h);
        assert_int_equal(h.type, types[i]);
        if (h.type == ZK_OP_ERROR)
            assert_int_equal(rd_i32(&r), ZK_SESSIONEXPIRED);
    }
    world_flush(&w);
    assert_false(exists(&w, "/x"));
    assert_int_equal(count_got(&w, CORE_CLOSE_CONN, 1), 2);
    world_done(&w);
}

static void test_close_unlisted_when_too_many(void **state)
{
    struct world w;
    world_init(&w);
    w.cfg.max_txn = 300;
    world_start(&w);
    int64_t other = world_connect(&w, 2, 4000);
    for (int i = 0; i < 40; i++)
        submit_on(&w, 2, other, "create /ephemeral-with-a-long-name- x 3");
    world_flush(&w);
    submit_on(&w, 2, other, "close");
    world_flush(&w);
    assert_true(w.log.items[w.log.len - 1].n <= 300);
    assert_int_equal(znode_child_count(tree_find(w.tree, jstr_of("/"))), 1); /* all went all the same */
    world_done(&w);
}

static void order_check(void *data, int64_t expiry, int64_t id)
{
    int64_t *last = data;
    assert_true(expiry >= last[0]);
    last[0] = expiry;
    last[1]++;
}

static void test_each_expiry(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    for (uint64_t i = 0; i < 20; i++)
        world_connect(&w, 10 + i, (int32_t)(4000 + i * 7919 % 36000));
    int64_t seen[2] = { 0, 0 };
    core_each_expiry(w.core, false, order_check, seen);
    assert_int_equal(seen[1], 21);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_first_id),
        cmocka_unit_test(test_clamp),
        cmocka_unit_test(test_first_txn),
        cmocka_unit_test(test_create_waits_for_the_log),
        cmocka_unit_test(test_reattach),
        cmocka_unit_test(test_late_disconnect),
        cmocka_unit_test(test_expiry_window),
        cmocka_unit_test(test_touch_keeps_alive),
        cmocka_unit_test(test_stall), cmocka_unit_test(test_restored_sessions),
        cmocka_unit_test(test_expiry_deletes_ephemerals),
        cmocka_unit_test(test_close_with_pending_ephemerals),
        cmocka_unit_test(test_close_by_client),
        cmocka_unit_test(test_close_then_delete_parent),
        cmocka_unit_test(test_writes_while_closing),
        cmocka_unit_test(test_close_unlisted_when_too_many),
        cmocka_unit_test(test_each_expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
