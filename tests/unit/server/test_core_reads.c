/* Reads: every opcode's reply, errors and watches; events as they go out. */
#include "harness.h"

#include <stdio.h>

struct reader {
    struct world w;
    struct watch_table *watches;
    struct watcher watcher;
    struct wr events, out;
};

static void on_event(void *data, struct watcher *watcher, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    struct reader *r = data;
    assert_ptr_equal(watcher, &r->watcher);
    event_encode(&r->events, type, path, zxid);
}

static void reader_init(struct reader *r)
{
    *r = (struct reader){ 0 };
    world_init(&r->w);
    world_start(&r->w);
    r->watches = watch_table_new(on_event, r);
    r->watcher.ids = r->w.ids;
    tree_attach_watches(r->w.tree, r->watches);
}

static void reader_done(struct reader *r)
{
    watch_remove_all(r->watches, &r->watcher);
    tree_detach_watches(r->w.tree, r->watches);
    watch_table_free(r->watches);
    wr_free(&r->events);
    wr_free(&r->out);
    world_done(&r->w);
}

static int32_t run(struct reader *r, int32_t xid, int32_t op, struct buf body)
{
    struct read_context ctx = { .tree = r->w.tree, .watches = r->watches, .watcher = &r->watcher,
                                .session_id = r->w.session, .ids = r->watcher.ids };
    struct arena a = arena_init();
    void *copy = x_memdup(body.p, body.n);
    wr_reset(&r->out);
    int32_t rc = read_execute(&ctx, xid, op, buf_of(copy, body.n), &a, &r->out);
    free(copy);
    arena_free(&a);
    assert_int_equal(r->out.rc, 0);
    return rc;
}

/* Runs and takes the header off; the rest is in *ret. */
static int32_t read_body(struct reader *r, int32_t op, struct buf body, struct rd *ret)
{
    struct reply_header h;
    int32_t rc = run(r, 77, op, body);
    *ret = rd_init(r->out.p, r->out.n);
    assert_int_equal(rd_u32(ret), r->out.n - 4); /* one frame */
    reply_header_read(ret, NULL, &h);
    assert_int_equal(h.xid, 77);
    assert_int_equal(h.err, rc);
    assert_int_equal(h.zxid, tree_last_zxid(r->w.tree));
    if (rc)
        assert_int_equal(rd_left(ret), 0);
    return rc;
}

/* path, then what follows it */
static struct buf path_and(struct reader *r, const char *path, int width, int64_t value)
{
    struct wr w = wr_init(0);
    jute_write_str(&w, jstr_of(path));
    if (width == 1)
        wr_u8(&w, (uint8_t)value);
    if (width == 4)
        wr_i32(&w, (int32_t)value);
    struct buf b = buf_of(arena_memdup(&r->w.arena, w.p, w.n), w.n);
    wr_free(&w);
    return b;
}

static void expect_events(struct reader *r, const char *frames)
{
    assert_hex(&r->w, buf_of(r->events.p, r->events.n), frames);
    wr_reset(&r->events);
}

static void test_simple_reads(void **state)
{
    static const struct {
        int32_t op;
        const char *path;
        int width; /* of what follows the path */
        int64_t value;
        int32_t err;
        size_t body; /* its length when there is no error */
    } cases[] = {
        { ZK_OP_EXISTS, "/a", 1, 0, 0, 68 },
        { ZK_OP_EXISTS, "/no", 1, 0, ZK_NONODE, 0 },
        { ZK_OP_EXISTS, NULL, 1, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_EXISTS, "/locked", 1, 0, ZK_NOAUTH, 0 },
        { ZK_OP_EXISTS, "odd//path", 1, 1, ZK_NONODE, 0 },
        { ZK_OP_GET_DATA, "/a", 1, 0, 0, 4 + 2 + 68 },
        { ZK_OP_GET_DATA, "/null", 1, 0, 0, 4 + 68 },
        { ZK_OP_GET_DATA, "/no", 1, 1, ZK_NONODE, 0 },
        { ZK_OP_GET_DATA, "/locked", 1, 1, ZK_NOAUTH, 0 },
        { ZK_OP_GET_DATA, "/a/", 1, 1, ZK_NONODE, 0 },
        { ZK_OP_GET_DATA, NULL, 1, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_GET_ACL, "/a", 0, 0, 0, 27 + 68 },
        { ZK_OP_GET_ACL, "/no", 0, 0, ZK_NONODE, 0 },
        { ZK_OP_GET_ACL, NULL, 0, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_GET_CHILDREN, "/a", 1, 0, 0, 4 + 5 + 5 },
        { ZK_OP_GET_CHILDREN, "/locked", 1, 0, ZK_NOAUTH, 0 },
        { ZK_OP_GET_CHILDREN2, "/a", 1, 0, 0, 4 + 5 + 5 + 68 },
        { ZK_OP_GET_CHILDREN2, "/no", 1, 0, ZK_NONODE, 0 },
        { ZK_OP_GET_ALL_CHILDREN_NUMBER, "/", 0, 0, 0, 4 },
        { ZK_OP_GET_ALL_CHILDREN_NUMBER, "/locked", 0, 0, ZK_NOAUTH, 0 },
        { ZK_OP_GET_ALL_CHILDREN_NUMBER, NULL, 0, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_SYNC, "anything", 0, 0, 0, 12 },
        { ZK_OP_SYNC, NULL, 0, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_GET_EPHEMERALS, NULL, 0, 0, 0, 4 + 4 + 4 },
        { ZK_OP_GET_EPHEMERALS, "/a", 0, 0, 0, 4 + 4 + 4 },
        { ZK_OP_GET_EPHEMERALS, "/b", 0, 0, 0, 4 },
        { ZK_OP_ADD_WATCH, "/w", 4, 0, 0, 4 },
        { ZK_OP_ADD_WATCH, "/w", 4, 2, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_ADD_WATCH, "/w", 4, -1, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_ADD_WATCH, NULL, 4, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_CHECK_WATCHES, "/w", 4, 4, 0, 0 },
        { ZK_OP_CHECK_WATCHES, "/w", 4, 5, ZK_NOWATCHER, 0 },
        { ZK_OP_CHECK_WATCHES, "/w", 4, 3, 0, 0 },
        { ZK_OP_CHECK_WATCHES, "/w", 4, 0, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_CHECK_WATCHES, "/w", 4, 6, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_CHECK_WATCHES, NULL, 4, 1, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_REMOVE_WATCHES, "/w", 4, 2, ZK_NOWATCHER, 0 },
        { ZK_OP_REMOVE_WATCHES, "/w", 4, 4, 0, 0 },
        { ZK_OP_REMOVE_WATCHES, "/w", 4, 4, ZK_NOWATCHER, 0 },
        { ZK_OP_REMOVE_WATCHES, "/w", 4, 9, ZK_MARSHALLINGERROR, 0 },
        { ZK_OP_WHO_AM_I, NULL, 0, 0, 0, 4 + 6 + 13 },
    };
    struct reader r;
    reader_init(&r);
    call(&r.w, "create /a hi 0");
    call(&r.w, "create /null ~ 0");
    call(&r.w, "create /a/x x 0");
    call(&r.w, "create /a/e x 1");
    call(&r.w, "create /locked x 0 world:anyone:30");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rd body;
        print_message("case: %zu %s %s\n", i, zk_op_name(cases[i].op), cases[i].path ? cases[i].path : "null");
        struct buf b = path_and(&r, cases[i].path, cases[i].width, cases[i].value);
        assert_int_equal(read_body(&r, cases[i].op, b, &body), cases[i].err);
        assert_int_equal(rd_left(&body), cases[i].body);
        for (size_t n = 0; n < b.n && cases[i].op != ZK_OP_WHO_AM_I; n++) /* ends early */
            assert_int_equal(read_body(&r, cases[i].op, buf_of(b.p, n), &body), ZK_MARSHALLINGERROR);
    }
    struct rd body;
    struct buf nul = hex(&r.w, "00000003 2f0061 00");
    assert_int_equal(read_body(&r, ZK_OP_EXISTS, nul, &body), ZK_BADARGUMENTS);
    reader_done(&r);
}

static void test_unknown_opcodes(void **state)
{
    static const int32_t ops[] = { 0, -1, 10, 13, 20, 23, 99, 108, -10, -12, 1000, INT32_MIN, INT32_MAX, ZK_OP_SASL,
                                   ZK_OP_AUTH };
    struct reader r;
    reader_init(&r);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        assert_false(core_op_is_write(ops[i]));
        assert_int_equal(run(&r, 5, ops[i], buf_of("", 0)), 1); /* then close */
        assert_hex(&r.w, buf_of(r.out.p, r.out.n), "00000010 00000005 ffffffffffffffff fffffffa");
    }
    reader_done(&r);
}

/* Every opcode belongs somewhere: a write, a read, or the connection's own. */
static void test_every_opcode(void **state)
{
    static const int32_t elsewhere[] = { ZK_OP_NOTIFICATION, ZK_OP_PING, ZK_OP_AUTH, ZK_OP_SASL, ZK_OP_CHECK,
                                         ZK_OP_DELETE_CONTAINER, ZK_OP_CREATE_SESSION, ZK_OP_ERROR };
    struct reader r;
    reader_init(&r);
#define X(name, code, shortname)                                                                             \
    {                                                                                                        \
        bool special = false;                                                                                \
        for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)                                                    \
            special |= elsewhere[i] == (code);                                                               \
        assert_int_equal(run(&r, 1, (code), buf_of("", 0)) == 1, special || core_op_is_write(code));         \
    }
    ZK_OPS(X)
#undef X
    reader_done(&r);
}

/* Watches: who gets what, in which order, with which zxid. */
static void test_one_shot_watches(void **state)
{
    struct reader r;
    struct rd b;
    reader_init(&r);
    assert_int_equal(read_body(&r, ZK_OP_EXISTS, path_and(&r, "/a", 1, 1), &b), ZK_NONODE);
    assert_int_equal(read_body(&r, ZK_OP_GET_CHILDREN, path_and(&r, "/", 1, 1), &b), 0);
    assert_int_equal(read_body(&r, ZK_OP_GET_DATA, path_and(&r, "/b", 1, 1), &b), ZK_NONODE); /* leaves no watch */
    call(&r.w, "create /a x 0"); /* zxid 2 */
    call(&r.w, "create /b x 0");
    expect_events(&r, "0000001e ffffffff 0000000000000002 00000000 00000001 00000003 00000002 2f61"
                      "0000001d ffffffff 0000000000000002 00000000 00000004 00000003 00000001 2f");
    assert_int_equal(read_body(&r, ZK_OP_GET_DATA, path_and(&r, "/a", 1, 1), &b), 0);
    assert_int_equal(read_body(&r, ZK_OP_GET_DATA, path_and(&r, "/a", 1, 1), &b), 0);
    assert_int_equal(read_body(&r, ZK_OP_GET_CHILDREN2, path_and(&r, "/a", 1, 1), &b), 0);
    assert_int_equal(read_body(&r, ZK_OP_EXISTS, path_and(&r, "/a", 1, 0), &b), 0); /* asks for none */
    call(&r.w, "setacl /a open -1");
    expect_events(&r, "");
    call(&r.w, "delete /a -1"); /* zxid 5: once, although data and child watches match */
    expect_events(&r, "0000001e ffffffff 0000000000000005 00000000 00000002 00000003 00000002 2f61");
    call(&r.w, "create /a x 0");
    expect_events(&r, "");
    reader_done(&r);
}

static void test_persistent_watches(void **state)
{
    struct reader r;
    struct rd b;
    reader_init(&r);
    assert_int_equal(read_body(&r, ZK_OP_ADD_WATCH, path_and(&r, "/p", 4, 0), &b), 0);
    assert_int_equal(read_body(&r, ZK_OP_ADD_WATCH, path_and(&r, "/r", 4, 1), &b), 0);
    call(&r.w, "create /p x 0"); /* 2 */
    call(&r.w, "create /p/c x 0");
    expect_events(&r, "0000001e ffffffff 0000000000000002 00000000 00000001 00000003 00000002 2f70"
                      "0000001e ffffffff 0000000000000003 00000000 00000004 00000003 00000002 2f70");
    call(&r.w, "create /r x 0");
    call(&r.w, "create /r/c x 0");
    call(&r.w, "create /rr x 0"); /* components, not characters */
    expect_events(&r, "0000001e ffffffff 0000000000000004 00000000 00000001 00000003 00000002 2f72"
                      "00000020 ffffffff 0000000000000005 00000000 00000001 00000003 00000004 2f722f63");
    assert_int_equal(read_body(&r, ZK_OP_REMOVE_WATCHES, path_and(&r, "/r", 4, 5), &b), 0);
    assert_int_equal(read_body(&r, ZK_OP_REMOVE_WATCHES, path_and(&r, "/p", 4, 3), &b), 0);
    call(&r.w, "set /r/c y 0");
    call(&r.w, "set /p y 0");
    expect_events(&r, "");
    reader_done(&r);
}

static void write_list(struct wr *w, const char *a, const char *b)
{
    wr_i32(w, (a != NULL) + (b != NULL));
    if (a)
        jute_write_str(w, jstr_of(a));
    if (b)
        jute_write_str(w, jstr_of(b));
}

static void test_set_watches(void **state)
{
    struct reader r;
    struct wr w = wr_init(0);
    reader_init(&r);
    call(&r.w, "create /old x 0");     /* 2 */
    call(&r.w, "create /changed x 0"); /* 3 */
    call(&r.w, "set /changed y 0");    /* 4 */
    wr_i64(&w, 3);
    write_list(&w, "/changed", "/gone");
    write_list(&w, "/old", "/future");
    write_list(&w, "/old", NULL);
    write_list(&w, "/p", NULL);
    write_list(&w, "/rec", NULL);
    assert_int_equal(run(&r, -8, ZK_OP_SET_WATCHES2, buf_of(w.p, w.n)), 0);
    /* catch-up events with zxid -1, then the reply */
    assert_hex(&r.w, buf_of(r.out.p, r.out.n),
               "00000024 ffffffff ffffffffffffffff 00000000 00000003 00000003 00000008 2f6368616e676564"
               "00000021 ffffffff ffffffffffffffff 00000000 00000002 00000003 00000005 2f676f6e65"
               "00000020 ffffffff ffffffffffffffff 00000000 00000001 00000003 00000004 2f6f6c64"
               "00000010 fffffff8 0000000000000004 00000000");
    call(&r.w, "create /future x 0"); /* 5 */
    call(&r.w, "create /rec x 0");    /* 6 */
    expect_events(&r, "00000023 ffffffff 0000000000000005 00000000 00000001 00000003 00000007 2f667574757265"
                      "00000020 ffffffff 0000000000000006 00000000 00000001 00000003 00000004 2f726563");
    for (size_t n = 0; n < w.n; n++)
        assert_int_equal(run(&r, 1, ZK_OP_SET_WATCHES2, buf_of(w.p, n)), ZK_MARSHALLINGERROR);
    /* the old opcode has three lists; null lists and null paths */
    wr_reset(&w);
    wr_i64(&w, 3);
    wr_i32(&w, -1);
    wr_i32(&w, -1);
    wr_i32(&w, -1);
    assert_int_equal(run(&r, 9, ZK_OP_SET_WATCHES, buf_of(w.p, w.n)), 0);
    assert_int_equal(r.out.n, 20);
    wr_reset(&w);
    wr_i64(&w, 3);
    wr_i32(&w, 1);
    jute_write_str(&w, (struct jstr){ NULL, 0 });
    write_list(&w, NULL, NULL);
    write_list(&w, NULL, NULL);
    assert_int_equal(run(&r, 9, ZK_OP_SET_WATCHES, buf_of(w.p, w.n)), ZK_MARSHALLINGERROR);
    wr_free(&w);
    reader_done(&r);
}

static void test_multi_read(void **state)
{
    struct reader r;
    struct rd b;
    struct multi_header mh;
    struct zk_stat s;
    int32_t op;
    reader_init(&r);
    call(&r.w, "create /a hi 0");
    struct buf body = request_body(&r.w, "multi getdata /a ; children /no ; children /a ; getdata /no", &op);
    assert_int_equal(read_body(&r, ZK_OP_MULTI_READ, body, &b), 0);
    multi_header_read(&b, NULL, &mh);
    assert_int_equal(mh.type, ZK_OP_GET_DATA);
    assert_int_equal(jute_read_buf(&b).n, 2);
    zk_stat_read(&b, &s);
    multi_header_read(&b, NULL, &mh);
    assert_int_equal(mh.type, -1);
    assert_int_equal(mh.err, ZK_NONODE);
    assert_int_equal(rd_i32(&b), ZK_NONODE);
    multi_header_read(&b, NULL, &mh);
    assert_int_equal(mh.type, ZK_OP_GET_CHILDREN);
    assert_int_equal(rd_i32(&b), 0);
    multi_header_read(&b, NULL, &mh);
    assert_int_equal(mh.err, ZK_NONODE);
    assert_int_equal(rd_i32(&b), ZK_NONODE);
    multi_header_read(&b, NULL, &mh);
    assert_true(mh.done);
    assert_int_equal(b.rc, 0);
    assert_int_equal(rd_left(&b), 0);
    call(&r.w, "set /a ho 0"); /* the steps asked for watches and got none */
    expect_events(&r, "");
    for (size_t n = 0; n < body.n; n++)
        assert_int_equal(read_body(&r, ZK_OP_MULTI_READ, buf_of(body.p, n), &b), ZK_MARSHALLINGERROR);
    body = request_body(&r.w, "multi getdata /a ; check /a 0", &op);
    assert_int_equal(read_body(&r, ZK_OP_MULTI_READ, body, &b), ZK_MARSHALLINGERROR);
    body = request_body(&r.w, "multi", &op);
    assert_int_equal(read_body(&r, ZK_OP_MULTI_READ, body, &b), 0);
    assert_int_equal(rd_left(&b), 9);
    reader_done(&r);
}

static void test_who_am_i(void **state)
{
    struct world w = { 0 };
    struct wr out = wr_init(0);
    struct auth_ids *ids = auth_ids_new("10.0.0.1");
    ids = auth_ids_add(ids, "digest", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=");
    ids = auth_ids_add(ids, "super", "anything");
    who_am_i_encode(&out, ids);
    assert_hex(&w, buf_of(out.p, out.n),
               "00000003 00000002 6970 00000008 31302e302e302e31 00000006 646967657374 00000003 626f62"
               "00000005 7375706572 00000000");
    auth_ids_unref(ids);
    wr_free(&out);
    arena_free(&w.arena);
}

/* The reply's zxid is that of the tree, not of what is under way. */
static void test_reads_see_the_applied(void **state)
{
    struct reader r;
    struct rd b;
    reader_init(&r);
    submit(&r.w, "create /a x 0");
    world_pump(&r.w);
    assert_int_equal(read_body(&r, ZK_OP_EXISTS, path_and(&r, "/a", 1, 0), &b), ZK_NONODE);
    world_flush(&r.w);
    assert_int_equal(read_body(&r, ZK_OP_EXISTS, path_and(&r, "/a", 1, 0), &b), 0);
    reader_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_reads),      cmocka_unit_test(test_unknown_opcodes),
        cmocka_unit_test(test_every_opcode),      cmocka_unit_test(test_one_shot_watches),
        cmocka_unit_test(test_persistent_watches), cmocka_unit_test(test_set_watches),
        cmocka_unit_test(test_multi_read),        cmocka_unit_test(test_who_am_i),
        cmocka_unit_test(test_reads_see_the_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
