/* The session against a scripted server: connecting, replies, loss, re-attach, expiry, deadlines, hostile bytes. */
#include "fake.h"

static void fake_exists(const char *path, const char *name)
{
    assert_int_equal(quoll_exists(F.c, path, fake_watch, (void *)(uintptr_t)name, fake_done, (void *)(uintptr_t)name), 0);
}

static void fake_get(const char *path, const char *name)
{
    assert_int_equal(quoll_get(F.c, path, NULL, NULL, fake_done, (void *)(uintptr_t)name), 0);
}

static const struct zk_stat ST = { .mzxid = 5 };

static void test_servers_in_turn(void **state)
{
    fake_open((struct quoll_options){ .servers = "a,b,c" });
    expect_dial(0);
    assert_int_equal(F.now, 1000); /* the first attempt is at once */
    session_disconnected(F.s, "refused", F.now);
    expect_dial(1);
    assert_int_equal(F.now, 1000); /* and so are the others of the round */
    session_connected(F.s, F.now);
    session_disconnected(F.s, "closed", F.now); /* before a ConnectResponse: next server, no expiry */
    expect_dial(2);
    F.now += 2999; /* 9000 / 3 servers */
    tick();
    size_t server;
    assert_int_equal(session_poll(F.s, &server), SESSION_NOTHING);
    F.now += 1;
    assert_int_equal(ask_io(&server), SESSION_HANG_UP);
    int64_t before = F.now;
    expect_dial(0);
    assert_true(F.now > before && F.now < before + 1000); /* a pause between rounds */
    answer_connect(0, 7, 6000, false);
    assert_string_equal(told(), "connected ");
    assert_int_equal(quoll_session_id(F.c), 7);
    assert_int_equal(quoll_session_timeout_ms(F.c), 6000);
    fake_close();
}

static void test_pings_and_read_timeout(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    pass(1999); /* 9000 * 2/3 / 2, less a second */
    expect_silence();
    pass(1);
    expect_op(ZK_OP_PING);
    assert_int_equal(F.h.xid, ZK_XID_PING);
    answer(0);
    pass(5999);
    assert_string_equal(told(), "");
    pass(1);
    assert_string_equal(told(), "connecting ");
    fake_close();
}

static void test_replies_in_order(void **state)
{
    fake_open((struct quoll_options){ .servers = "a/root" });
    fake_up();
    fake_get("/x", "one");
    fake_get("/", "two");
    expect_path(ZK_OP_GET_DATA, "/root/x");
    int32_t first = F.h.xid;
    assert_int_equal(first, 1);
    expect_path(ZK_OP_GET_DATA, "/root");
    assert_int_equal(F.h.xid, 2);
    F.h.xid = first;
    answer(QUOLL_NO_NODE);
    F.h.xid = 2;
    answer_data("v", &ST);
    assert_string_equal(told(), "one=-101 two=0 ");
    fake_get("/x", "three");
    F.h.xid = 7; /* not what is next */
    answer(0);
    assert_string_equal(told(), "connecting three=-4 ");
    fake_close();
}

static void test_loss_and_reattach(void **state)
{
    fake_open((struct quoll_options){ .servers = "a,b" });
    quoll_add_auth(F.c, "digest", "u:p", 3, fake_done, (void *)(uintptr_t) "auth");
    fake_up();
    expect_op(ZK_OP_AUTH);
    answer(0);
    fake_exists("/there", "D");
    fake_exists("/absent", "E");
    quoll_add_watch(F.c, "/tree", true, fake_watch, (void *)(uintptr_t) "R", fake_done, (void *)(uintptr_t) "R");
    expect_op(ZK_OP_EXISTS);
    answer_stat(&ST);
    expect_op(ZK_OP_EXISTS);
    answer(QUOLL_NO_NODE);
    expect_op(ZK_OP_ADD_WATCH);
    answer(0);
    fake_get("/x", "inflight");
    assert_string_equal(told(), "auth=0 D=0 E=-101 R=0 ");
    cut();
    /* The order in which watchers hear of a session is not promised. */
    const char *t = told();
    assert_non_null(strstr(t, "connecting "));
    assert_non_null(strstr(t, "R:session0 "));
    assert_non_null(strstr(t, "inflight=-4 "));
    fake_get("/x", "queued");
    expect_dial(1);
    answer_connect(7, 7, 9000, false);
    expect_op(ZK_OP_AUTH);
    answer(0);
    expect_op(ZK_OP_SET_WATCHES2);
    assert_int_equal(F.h.xid, ZK_XID_SET_WATCHES);
    struct set_watches2 sw;
    set_watches2_read(&F.body, &F.arena, &sw);
    assert_int_equal(sw.relative_zxid, 100);
    assert_true(sw.data.n == 1 && jstr_is(sw.data.v[0], "/there"));
    assert_true(sw.exist.n == 1 && jstr_is(sw.exist.v[0], "/absent"));
    assert_int_equal(sw.child.n, 0);
    assert_int_equal(sw.persistent.n, 0);
    assert_true(sw.recursive.n == 1 && jstr_is(sw.recursive.v[0], "/tree"));
    (void)told();
    event(QUOLL_EVENT_CREATED, "/absent"); /* caught up, before the reply */
    answer(0);
    expect_path(ZK_OP_GET_DATA, "/x");
    answer_data("v", &ST);
    event(QUOLL_EVENT_CREATED, "/absent"); /* consumed */
    event(QUOLL_EVENT_CREATED, "/tree/a");
    assert_string_equal(told(), "E:1/absent queued=0 R:1/tree/a ");
    fake_close();
}

static void test_expiry_by_the_server(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    fake_exists("/there", "D");
    expect_op(ZK_OP_EXISTS);
    answer_stat(&ST);
    cut();
    fake_get("/x", "queued");
    expect_dial(0);
    (void)told();
    answer_connect(7, 0, 0, false);
    assert_string_equal(told(), "expired D:session3 queued=-112 connecting ");
    assert_int_equal(quoll_session_id(F.c), 0);
    fake_get("/x", "later");
    int64_t before = F.now;
    expect_dial(0);
    assert_int_equal(F.now, before);
    answer_connect(0, 8, 9000, false);
    expect_op(ZK_OP_GET_DATA); /* no watch is left to be set */
    answer_data("v", &ST);
    assert_string_equal(told(), "connected later=0 ");
    fake_close();
}

static void test_expiry_by_the_clock(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    cut();
    assert_string_equal(told(), "connecting ");
    int64_t lost = F.now;
    while (F.now < lost + 11999) {
        F.now = MIN(MAX(F.now + 1, session_wake_ms(F.s)), lost + 11999);
        size_t server;
        if (ask_io(&server) == SESSION_DIAL)
            session_disconnected(F.s, "refused", F.now);
    }
    assert_string_equal(told(), "");
    F.now = lost + 12000; /* 4/3 of the timeout */
    tick();
    assert_string_equal(told(), "expired connecting ");
    /* The zxid is kept for one timeout, for the sake of order, then given up. */
    assert_int_equal(F.s->zxid_reset_ms, F.now + 9000);
    fake_close();
}

static void test_no_new_session(void **state)
{
    fake_open((struct quoll_options){ .servers = "a", .no_new_session = true });
    fake_up();
    cut();
    expect_dial(0);
    answer_connect(7, 0, 0, false);
    assert_string_equal(told(), "connecting expired ");
    assert_int_equal(quoll_get(F.c, "/x", NULL, NULL, NULL, NULL), QUOLL_SESSION_EXPIRED);
    assert_int_equal(session_wake_ms(F.s), INT64_MAX);
    fake_close();
}

static void test_auth_failed(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    quoll_add_auth(F.c, "bad", "x", 1, fake_done, (void *)(uintptr_t) "auth");
    fake_up();
    fake_get("/x", "get");
    expect_op(ZK_OP_AUTH);
    answer(QUOLL_AUTH_FAILED);
    assert_string_equal(told(), "auth=-115 auth-failed get=-115 ");
    assert_int_equal(quoll_get(F.c, "/x", NULL, NULL, NULL, NULL), QUOLL_AUTH_FAILED);
    fake_close();
}

static void test_deadlines(void **state)
{
    fake_open((struct quoll_options){ .servers = "a", .operation_timeout_ms = 500 });
    fake_get("/q", "queued");
    quoll_set_deadline(F.c, 200);
    fake_get("/q", "sooner");
    pass(499);
    assert_string_equal(told(), "sooner=-7 ");
    pass(1);
    assert_string_equal(told(), "queued=-7 ");
    fake_up();
    expect_silence();
    quoll_set_deadline(F.c, 0);
    fake_exists("/a", "A");
    fake_get("/b", "B");
    expect_op(ZK_OP_EXISTS);
    struct request_header late = F.h;
    pass(500);
    assert_string_equal(told(), "A=-7 B=-7 ");
    F.h = late;
    answer_stat(&ST); /* too late: passed over in its place, and no watch of it stands */
    expect_op(ZK_OP_GET_DATA);
    answer_data("x", &ST);
    assert_int_equal(F.s->watches.paths.len, 0);
    assert_int_equal(F.s->request_count, 0);
    assert_string_equal(told(), "");
    fake_close();
}

static void test_server_without_add_watch(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    quoll_add_watch(F.c, "/t", true, fake_watch, (void *)(uintptr_t) "R", fake_done, (void *)(uintptr_t) "add");
    fake_get("/x", "behind");
    expect_op(ZK_OP_ADD_WATCH);
    answer(QUOLL_UNIMPLEMENTED);
    cut();
    assert_string_equal(told(), "add=-6 connecting behind=-4 ");
    expect_dial(0);
    answer_connect(7, 7, 9000, false); /* the session lives */
    quoll_add_watch(F.c, "/t", true, fake_watch, (void *)(uintptr_t) "R", fake_done, (void *)(uintptr_t) "add");
    expect_silence(); /* not asked again in this session */
    tick();
    assert_string_equal(told(), "connected add=-6 ");
    fake_close();
}

static void test_moving_to_a_server_without_set_watches2(void **state)
{
    fake_open((struct quoll_options){ .servers = "a/r" });
    fake_up();
    quoll_add_watch(F.c, "/t", true, fake_watch, (void *)(uintptr_t) "R", NULL, NULL);
    expect_op(ZK_OP_ADD_WATCH);
    answer(0);
    cut();
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    expect_op(ZK_OP_SET_WATCHES2);
    (void)told();
    answer(QUOLL_UNIMPLEMENTED);
    assert_string_equal(told(), "R:5/t ");
    cut();
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    expect_silence(); /* it would hang up again */
    fake_close();
}

static void test_server_without_create2(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    quoll_create(F.c, "/a", "x", 1, NULL, 0, QUOLL_PERSISTENT, 0, fake_done, (void *)(uintptr_t) "create");
    expect_path(ZK_OP_CREATE2, "/a");
    answer(QUOLL_UNIMPLEMENTED);
    cut();
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    expect_path(ZK_OP_CREATE, "/a");
    struct reply r = reply_begin(F.h.xid, F.zxid, 0);
    jute_write_str(&r.w, jstr_of("/a"));
    reply_end(&r);
    assert_string_equal(told(), "connecting connected create=0 ");
    fake_close();
}

static void test_read_only(void **state)
{
    fake_open((struct quoll_options){ .servers = "a,b", .read_only = true });
    expect_dial(0);
    answer_connect(0, 9, 9000, true);
    assert_string_equal(told(), "read-only ");
    size_t server;
    F.now += 100;
    assert_int_equal(ask_io(&server), SESSION_PROBE);
    assert_int_equal(server, 1);
    session_probed(F.s, false, F.now);
    F.now += 200; /* doubled */
    assert_int_equal(ask_io(&server), SESSION_PROBE);
    assert_int_equal(server, 0);
    session_probed(F.s, false, F.now);
    F.now += 400;
    assert_int_equal(ask_io(&server), SESSION_PROBE);
    session_probed(F.s, true, F.now);
    expect_dial(1);
    answer_connect(0, 10, 9000, false); /* the read-only session was nobody else's */
    assert_string_equal(told(), "connecting connected ");
    cut();
    expect_dial(0);
    answer_connect(10, 10, 9000, false);
    fake_close();
    fake_open((struct quoll_options){ .servers = "a" });
    expect_dial(0);
    answer_connect(0, 9, 9000, true); /* not asked for */
    assert_string_equal(told(), "");
    assert_int_equal(F.s->phase, PHASE_WAITING);
    fake_close();
}

static void test_close(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    fake_get("/x", "answered");
    fake_get("/x", "left");
    session_close(F.s, false, F.now);
    assert_int_equal(quoll_get(F.c, "/x", NULL, NULL, NULL, NULL), QUOLL_CLOSING);
    expect_op(ZK_OP_GET_DATA);
    answer_data("x", &ST);
    expect_op(ZK_OP_GET_DATA);
    expect_op(ZK_OP_CLOSE_SESSION);
    pass(SESSION_CLOSE_MS - 1);
    assert_false(session_finished(F.s));
    pass(1); /* the wait is bounded */
    assert_string_equal(told(), "answered=0 closed left=-116 ");
    fake_close();
}

static void test_oversized_reply_fails_alone(void **state)
{
    fake_open((struct quoll_options){ .servers = "a", .max_buffer = 200 });
    fake_up();
    fake_get("/x", "big");
    fake_get("/y", "next");
    expect_op(ZK_OP_GET_DATA);
    struct reply r = reply_begin(F.h.xid, F.zxid, 0);
    char data[1000] = { 0 };
    wr_bytes(&r.w, data, sizeof(data));
    jute_frame_end(&r.w, r.at);
    for (size_t i = 0; i < r.w.n; i++) /* byte by byte */
        session_input(F.s, r.w.p + i, 1, F.now);
    wr_free(&r.w);
    expect_op(ZK_OP_GET_DATA);
    answer_data("x", &ST);
    assert_string_equal(told(), "big=-5 next=0 ");
    fake_close();
}

/* Every malformed frame ends the connection, and the session goes on with the next. */
static void test_malformed(void **state)
{
    static const struct {
        const char *name;
        uint8_t bytes[64];
        size_t len;
    } cases[] = {
        { "negative length", { 0xff, 0xff, 0xff, 0xff }, 4 },
        { "short header", { 0, 0, 0, 3, 0, 0, 0 }, 7 },
        { "no such xid", { 0, 0, 0, 16, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, 20 },
        { "data shorter than said",
          { 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff }, 24 },
        { "no stat", { 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 }, 24 },
        { "event without path",
          { 0, 0, 0, 28, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 255, 255, 255,
            255 },
          32 },
        { "answer to no auth", { 0, 0, 0, 16, 255, 255, 255, 252, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 20 },
        { "oversized and unknown", { 0x7f, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, 20 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        fake_open((struct quoll_options){ .servers = "a" });
        fake_up();
        fake_get("/x", "get");
        session_input(F.s, cases[i].bytes, cases[i].len, F.now);
        assert_int_equal(F.s->phase, PHASE_WAITING);
        assert_non_null(strstr(told(), "get="));
        expect_dial(0);
        answer_connect(7, 7, 9000, false);
        fake_close();
    }
}

static void test_malformed_handshake(void **state)
{
    static const uint8_t header_in_its_place[] = { 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0,
                                                   0, 0, 0, 0,  0, 0, 0, 0 };
    fake_open((struct quoll_options){ .servers = "a" });
    expect_dial(0);
    session_connected(F.s, F.now);
    session_input(F.s, header_in_its_place, sizeof(header_in_its_place), F.now);
    assert_int_equal(F.s->phase, PHASE_WAITING);
    assert_string_equal(told(), "");
    fake_close();
}

static void test_limits(void **state)
{
    fake_open((struct quoll_options){ .servers = "a", .max_request = 1 << 20 });
    char *big = x_calloc(1, 1 << 20);
    assert_int_equal(quoll_set(F.c, "/x", big, 1 << 20, -1, NULL, NULL), QUOLL_BAD_ARGUMENTS);
    int n = 0;
    while (quoll_set(F.c, "/x", big, 1 << 19, -1, NULL, NULL) == 0)
        assert_true(++n < 200);
    assert_in_range(n, 127, 129); /* 64 MiB wait; the rest is refused at once */
    assert_int_equal(quoll_set(F.c, "/x", big, 1 << 19, -1, NULL, NULL), QUOLL_THROTTLED);
    free(big);
    fake_close();
}

static void test_remove_watches(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    fake_up();
    fake_exists("/a", "A");
    expect_op(ZK_OP_EXISTS);
    answer_stat(&ST);
    fake_exists("/a", "B");
    expect_op(ZK_OP_EXISTS);
    answer_stat(&ST);
    (void)told();
    /* One of two: the server's entry stays. */
    quoll_remove_watches(F.c, "/a", QUOLL_WATCHER_DATA, fake_watch, (void *)(uintptr_t) "A", fake_done,
                         (void *)(uintptr_t) "rm");
    expect_path(ZK_OP_CHECK_WATCHES, "/a");
    assert_int_equal(rd_i32(&F.body), ZK_WATCHER_DATA);
    answer(0);
    quoll_remove_watches(F.c, "/a", QUOLL_WATCHER_DATA, NULL, NULL, fake_done, (void *)(uintptr_t) "rm");
    expect_path(ZK_OP_REMOVE_WATCHES, "/a");
    assert_int_equal(rd_i32(&F.body), ZK_WATCHER_ANY); /* nothing is left there */
    answer(0);
    quoll_remove_watches(F.c, "/a", QUOLL_WATCHER_DATA, NULL, NULL, fake_done, (void *)(uintptr_t) "rm");
    expect_silence();
    tick();
    assert_string_equal(told(), "A:5/a rm=0 B:5/a rm=0 rm=-121 ");
    fake_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers_in_turn),
        cmocka_unit_test(test_pings_and_read_timeout),
        cmocka_unit_test(test_replies_in_order),
        cmocka_unit_test(test_loss_and_reattach),
        cmocka_unit_test(test_expiry_by_the_server),
        cmocka_unit_test(test_expiry_by_the_clock),
        cmocka_unit_test(test_no_new_session),
        cmocka_unit_test(test_auth_failed),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_server_without_add_watch),
        cmocka_unit_test(test_moving_to_a_server_without_set_watches2),
        cmocka_unit_test(test_server_without_create2),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_oversized_reply_fails_alone),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_malformed_handshake),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_remove_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
