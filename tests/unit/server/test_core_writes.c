/* Writes one by one: which error wins, the bytes of replies and transactions, order, and what is under way. */
#include "harness.h"

#include <stdio.h>

struct step {
    const char *request;
    int32_t err;
};

static void run_steps(const struct step *steps, size_t n, bool extended, bool enforce_quota)
{
    struct world w;
    world_init(&w);
    w.cfg.extended_types = extended;
    w.cfg.enforce_quota = enforce_quota;
    world_start(&w);
    for (size_t i = 0; i < n; i++) {
        int64_t before = w.appended;
        const struct got *g = call(&w, steps[i].request);
        if (g->err != steps[i].err)
            fail_msg("%s: %d instead of %d", steps[i].request, g->err, steps[i].err);
        assert_int_equal(g->zxid, before + 1); /* good or bad, each takes one zxid */
        if (g->err)
            assert_int_equal(g->bytes.n, 20); /* a header without a body */
    }
    struct tree *t = replay(&w);
    assert_same_tree(w.tree, t);
    tree_free(t);
    world_done(&w);
}
#define RUN(steps) run_steps((steps), ARRAY_LEN(steps), false, false)

static void test_create_errors(void **state)
{
    static const struct step steps[] = {
        { "create /a x 0", 0 },
        { "create /a x 0", ZK_NODEEXISTS },
        { "create / x 0", ZK_NODEEXISTS },
        { "create /a/b/c x 0", ZK_NONODE },
        { "create /a/b x 0", 0 },
        { "create /n ~ 0", 0 },
        { "create /m '' 0", 0 },
        { "create ~ x 0", ZK_MARSHALLINGERROR },
        { "create '' x 0", ZK_BADARGUMENTS },
        { "create a x 0", ZK_BADARGUMENTS },
        { "create a/b x 0", ZK_NONODE },
        { "create /a/ x 0", ZK_BADARGUMENTS },
        { "create /a/ x 2", 0 },
        { "create /a//c x 0", ZK_NONODE },
        { "create /a/. x 0", ZK_BADARGUMENTS },
        { "create /a/.. x 0", ZK_BADARGUMENTS },
        { "create /a/x%00y x 0", ZK_BADARGUMENTS },
        { "create /a/%01 x 0", ZK_BADARGUMENTS },
        { "create /a/%ED%A0%80 x 0", ZK_BADARGUMENTS },
        { "create /a/%F0%9F%98%80 x 0", ZK_BADARGUMENTS },
        { "create /%C3%A9 x 0", 0 },
        { "create /zookeeper/mine x 0", 0 },
        /* flags */
        { "create /f x 7", ZK_BADARGUMENTS },
        { "create /f x -1", ZK_BADARGUMENTS },
        { "create /f x 4", ZK_BADARGUMENTS },
        { "create /f x 5", ZK_UNIMPLEMENTED },
        { "create2 /f x 6", ZK_UNIMPLEMENTED },
        { "create2 /f x 4", ZK_BADARGUMENTS },
        { "ttl /f x 5 1000", ZK_UNIMPLEMENTED },
        { "ttl /f x 0 1000", ZK_BADARGUMENTS },
        { "ttl /f x 0 -1", ZK_BADARGUMENTS },  /* stops the reference for good */
        { "ttl /f x 4 -5", ZK_BADARGUMENTS },
        { "ttl /f x 9 1000", ZK_BADARGUMENTS },
        { "container /f x 5", ZK_BADARGUMENTS },
        { "container /f x 7", ZK_BADARGUMENTS },
        { "container /c x 4", 0 },
        { "container /c0 x 0", 0 },
        { "container /c2- x 2", 0 },
        { "container /c1 x 1", 0 },
        /* ephemerals have no children */
        { "create /e x 1", 0 },
        { "create /e/x x 0", ZK_NOCHILDRENFOREPHEMERALS },
        { "create /c/x x 1", 0 },
        { "create /c1/x x 0", 0 },
        /* access control lists */
        { "create /acl x 0 none", ZK_INVALIDACL },
        { "create /acl x 0 null", ZK_INVALIDACL },
        { "create /acl x 0 world:somebody:31", ZK_INVALIDACL },
        { "create /acl x 0 nosuch:x:31", ZK_INVALIDACL },
        { "create /acl x 0 digest:nocolon:31", ZK_INVALIDACL },
        { "create /acl x 0 auth:x:31", ZK_INVALIDACL }, /* an address does not authenticate */
        { "create /acl x 0 ~:x:31", ZK_INVALIDACL },
        { "create /acl x 0 world:~:31", ZK_MARSHALLINGERROR },
        { "create /locked x 0 world:anyone:1", 0 },
        { "create /locked/x x 0", ZK_NOAUTH },
    };
    RUN(steps);
}

/* Two things wrong at once: the order of the checks shows. */
static void test_create_order(void **state)
{
    static const struct step steps[] = {
        { "create /locked x 0 world:anyone:1", 0 },
        { "create /e x 1", 0 },
        { "create /open x 0", 0 },
        { "create nopath x 9 none", ZK_BADARGUMENTS },
        { "ttl ~ x 5 0 none", ZK_UNIMPLEMENTED },
        { "create ~ x 0 none", ZK_MARSHALLINGERROR },
        { "create nopath x 0 none", ZK_BADARGUMENTS },
        { "create /no/parent x 0 none", ZK_INVALIDACL },
        { "create /no/%01 x 0", ZK_NONODE },
        { "create /locked/%01 x 0", ZK_NOAUTH },
        { "create /e/%01 x 0", ZK_BADARGUMENTS },
        { "create /e/x x 0", ZK_NOCHILDRENFOREPHEMERALS },
    };
    RUN(steps);
}

static void test_ttl(void **state)
{
    static const struct step steps[] = {
        { "create /f x 5", ZK_BADARGUMENTS },
        { "create2 /f x 6", ZK_BADARGUMENTS },
        { "ttl /f x 5 0", ZK_BADARGUMENTS },
        { "ttl /f x 5 -1", ZK_BADARGUMENTS },
        { "ttl /f x 5 1099511627776", ZK_BADARGUMENTS },
        { "ttl /f x 5 1099511627775", 0 },
        { "ttl /g- x 6 1", 0 },
        { "ttl /h x 1 1", ZK_BADARGUMENTS },
        { "ttl /h x 0 -1", ZK_BADARGUMENTS },
        { "create /f/child x 0", 0 },
    };
    run_steps(steps, ARRAY_LEN(steps), true, false);
}

static void test_delete_errors(void **state)
{
    static const struct step steps[] = {
        { "create /a x 0", 0 },
        { "create /a/b x 0", 0 },
        { "delete ~ -1", ZK_MARSHALLINGERROR },
        { "delete '' -1", ZK_BADARGUMENTS },
        { "delete a -1", ZK_BADARGUMENTS },
        { "delete / -1", ZK_BADARGUMENTS },
        { "delete /zookeeper -1", ZK_BADARGUMENTS },
        { "delete /zookeeper/quota -1", ZK_BADARGUMENTS },
        { "delete /zookeeper/config -1", ZK_BADARGUMENTS },
        { "delete /a%00 -1", ZK_BADARGUMENTS },
        { "delete /a/ -1", ZK_NONODE },
        { "delete /x/y -1", ZK_NONODE },
        { "delete /x -1", ZK_NONODE },
        { "delete /a 1", ZK_BADVERSION }, /* before the children */
        { "delete /a 0", ZK_NOTEMPTY },
        { "delete /a/b 0", 0 },
        { "delete /a -1", 0 },
        { "delete /a -1", ZK_NONODE },
        { "create /locked x 0 world:anyone:4", 0 },
        { "create /locked/x x 0", 0 },
        { "delete /locked/x -1", ZK_NOAUTH },
        { "delete /locked/nothing -1", ZK_NOAUTH },
        { "delete /locked 5", ZK_BADVERSION },
    };
    RUN(steps);
    assert_false(core_op_is_write(ZK_OP_CHECK));
}

static void test_set_errors(void **state)
{
    static const struct step steps[] = {
        { "create /a x 0", 0 },
        { "set ~ x -1", ZK_BADARGUMENTS },
        { "set a x -1", ZK_BADARGUMENTS },
        { "set /a/ x -1", ZK_BADARGUMENTS },
        { "set /b x -1", ZK_NONODE },
        { "set /a x 1", ZK_BADVERSION },
        { "set /a x 0", 0 },
        { "set /a ~ 1", 0 },
        { "set /a '' -1", 0 },
        { "set /a x 1", ZK_BADVERSION },
        { "set / x -1", 0 },
        { "create /locked x 0 world:anyone:17", 0 },
        { "set /locked x 9", ZK_NOAUTH },
        { "set /zookeeper/config x -1", ZK_NOAUTH },
        { "setacl ~ open -1", ZK_BADARGUMENTS },
        { "setacl a open -1", ZK_BADARGUMENTS },
        { "setacl /b none -1", ZK_INVALIDACL },
        { "setacl /b world:~:1 -1", ZK_MARSHALLINGERROR },
        { "setacl /b open -1", ZK_NONODE },
        { "setacl /a open 5", ZK_BADVERSION },
        { "setacl /a world:anyone:1 0", 0 },
        { "setacl /a open -1", ZK_NOAUTH },
        { "setacl /locked world:anyone:31 0", 0 },
        { "setacl /locked world:anyone:31 0", ZK_BADVERSION },
        { "set /locked x 0", 0 },
        { "reconfig", ZK_RECONFIGDISABLED },
    };
    RUN(steps);
}

static void test_quota(void **state)
{
    static const struct step steps[] = {
        { "create /q abc 0", 0 },
        { "create /zookeeper/quota/q '' 0", 0 },
        { "create /zookeeper/quota/q/zookeeper_limits count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3 0", 0 },
        { "create /zookeeper/quota/q/zookeeper_stats count=0,bytes=0 0", 0 },
        { "create /q/1 12 0", 0 },
        { "create /q/2 12 0", 0 },
        { "create /q/3 x 0", ZK_QUOTAEXCEEDED },
        { "set /q/1 12345 -1", 0 },
        { "set /q/1 123456 7", ZK_QUOTAEXCEEDED }, /* before the version */
        { "set /q/1 54321 7", ZK_BADVERSION },
        { "delete /q/2 -1", 0 },
        { "create /q/3 12 0", 0 },
    };
    run_steps(steps, ARRAY_LEN(steps), false, true);
}

/* Bodies that end early: an error transaction with a zxid of its own, in order. */
static void test_undecodable(void **state)
{
    static const int32_t ops[] = { ZK_OP_CREATE,     ZK_OP_CREATE2,  ZK_OP_CREATE_CONTAINER, ZK_OP_CREATE_TTL,
                                   ZK_OP_DELETE,     ZK_OP_SET_DATA, ZK_OP_SET_ACL,          ZK_OP_MULTI,
                                   ZK_OP_RECONFIG };
    static const char *const full[] = { "create /a x 0",   "create2 /a x 0",   "container /a x 4", "ttl /a x 5 10",
                                        "delete /a -1",    "set /a x -1",      "setacl /a open -1",
                                        "multi create /a x 0 ; delete /a 0", "reconfig" };
    struct world w;
    world_init(&w);
    world_start(&w);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        int32_t op;
        struct buf body = request_body(&w, full[i], &op);
        assert_int_equal(op, ops[i]);
        for (size_t n = 0; n < body.n; n++) {
            int64_t before = core_last_proposed(w.core);
            int32_t xid = submit_raw(&w, ops[i], buf_of(body.p, n));
            world_flush(&w);
            assert_int_equal(reply_of(&w, xid)->err, ZK_MARSHALLINGERROR);
            assert_int_equal(reply_of(&w, xid)->zxid, before + 1);
            struct buf t = w.log.items[w.log.len - 1];
            assert_int_equal(t.n, 36); /* header and error: no digest */
            w.got.len = 0;
        }
    }
    world_done(&w);
}

static void test_too_large(void **state)
{
    struct world w;
    world_init(&w);
    w.cfg.max_txn = 200;
    world_start(&w);
    /* 32 header + 6 path + 4 data + 27 acl + 1 + 4 + 12 digest = 86 without the data */
    char ok[256], big[256];
    char data[120];
    memset(data, 'd', sizeof(data));
    snprintf(ok, sizeof(ok), "create /a %.*s 0", 114, data);
    snprintf(big, sizeof(big), "create /b %.*s 0", 115, data);
    assert_int_equal(call_err(&w, ok), ZK_OK);
    assert_int_equal(w.log.items[w.log.len - 1].n, 200);
    assert_int_equal(call_err(&w, big), ZK_MARSHALLINGERROR);
    assert_int_equal(call_err(&w, "create /c x 0"), ZK_OK);
    char set[256];
    snprintf(set, sizeof(set), "set /c %.*s -1", 120, data);
    assert_int_equal(call_err(&w, set), ZK_OK);
    assert_int_equal(call_err(&w, "multi set /c 0123456789012345678901234567890 -1 ; "
                                  "set /c 0123456789012345678901234567890 -1 ; "
                                  "set /c 0123456789012345678901234567890 -1"),
                     ZK_MARSHALLINGERROR);
    struct zk_stat_persisted s;
    znode_stat_persisted(tree_find(w.tree, jstr_of("/c")), &s);
    assert_int_equal(s.version, 1);
    assert_int_equal(call_err(&w, "set /c x 1"), ZK_OK); /* nothing of it is left in what is under way */
    world_done(&w);
}

/* The byte examples of the protocol reference: whole frames. */
static void test_golden_frames(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    struct buf frame = hex(&w, "00000033 00000001 00000001 00000002 2f61 00000002 6869 00000001 0000001f "
                               "00000005 776f726c64 00000006 616e796f6e65 00000000");
    int32_t op;
    struct buf body = request_body(&w, "create /a hi 0", &op);
    assert_int_equal(body.n, frame.n - 12);
    assert_memory_equal(body.p, frame.p + 12, body.n);
    assert_hex(&w, call(&w, "create /a hi 0")->bytes, "00000016 00000001 0000000000000002 00000000 00000002 2f61");
    w.xid = 0;
    w.got.len = 0;
    assert_hex(&w, call(&w, "create /a hi 0")->bytes, "00000010 00000001 0000000000000003 ffffff92");
    w.xid = 2;
    while (core_last_proposed(w.core) < 7)
        call(&w, "delete /missing -1");
    call(&w, "create /b x 0"); /* zxid 8 */
    w.xid = 2;
    w.got.len = 0;
    frame = hex(&w, "00000037 00000003 0000000e 0000000d 00 ffffffff 00000002 2f61 00000000 "
                    "00000002 00 ffffffff 00000002 2f62 ffffffff ffffffff 01 ffffffff");
    body = request_body(&w, "multi check /a 0 ; delete /b -1", &op);
    assert_int_equal(body.n, frame.n - 12);
    assert_memory_equal(body.p, frame.p + 12, body.n);
    assert_hex(&w, call(&w, "multi check /a 0 ; delete /b -1")->bytes,
               "0000002b 00000003 0000000000000009 00000000 0000000d 00 00000000 00000002 00 00000000 ffffffff 01 ffffffff");
    w.xid = 2;
    w.got.len = 0;
    assert_hex(&w, call(&w, "multi check /a 0 ; delete /b -1")->bytes,
               "00000033 00000003 000000000000000a 00000000 ffffffff 00 00000000 00000000 "
               "ffffffff 00 ffffff9b ffffff9b ffffffff 01 ffffffff");
    world_done(&w);
}

/* The shape of every write's reply. */
static void test_reply_bodies(void **state)
{
    static const struct {
        const char *request, *path; /* path: of the reply, NULL: none */
        bool stat;
        int32_t version, aversion;
    } cases[] = {
        { "create /a x 0", "/a", false, 0, 0 },
        { "create /s- x 2", "/s-0000000001", false, 0, 0 },
        { "create2 /b xyz 0", "/b", true, 0, 0 },
        { "create2 /s- x 3", "/s-0000000003", true, 0, 0 },
        { "container /c x 4", "/c", true, 0, 0 },
        { "container /cs x 2", "/cs0000000005", true, 0, 0 },
        { "ttl /t x 5 1000", "/t", true, 0, 0 },
        { "set /a y 0", NULL, true, 1, 0 },
        { "setacl /a open 0", NULL, true, 1, 1 },
        { "delete /b -1", NULL, false, 0, 0 },
    };
    struct world w;
    world_init(&w);
    w.cfg.extended_types = true;
    world_start(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct got *g = call(&w, cases[i].request);
        struct rd r = g->body;
        print_message("case: %s\n", cases[i].request);
        assert_int_equal(g->err, 0);
        if (cases[i].path)
            assert_true(jstr_is(jute_read_str(&r), cases[i].path));
        if (cases[i].stat) {
            struct zk_stat s;
            zk_stat_read(&r, &s);
            assert_int_equal(s.version, cases[i].version);
            assert_int_equal(s.aversion, cases[i].aversion);
        }
        assert_int_equal(r.rc, 0);
        assert_int_equal(rd_left(&r), 0);
    }
    world_done(&w);
}

/* What the log gets: types, expanded lists, counters. */
static void test_txn_bodies(void **state)
{
    static const struct {
        const char *request, *txn; /* behind the header, without the digest */
        int32_t type;
    } cases[] = {
        { "create /a hi 0", "00000002 2f61 00000002 6869 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 "
                            "00 00000001", ZK_OP_CREATE },
        { "create2 /e ~ 1", "00000002 2f65 ffffffff 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 "
                            "01 00000002", ZK_OP_CREATE2 },
        { "container /c '' 0", "00000002 2f63 00000000 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 "
                               "00000003", ZK_OP_CREATE_CONTAINER },
        { "ttl /t '' 5 7", "00000002 2f74 00000000 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 "
                           "00000004 0000000000000007", ZK_OP_CREATE_TTL },
        { "create /d '' 0 world:anyone:1,world:anyone:1", "00000002 2f64 00000000 00000001 00000001 00000005 "
          "776f726c64 00000006 616e796f6e65 00 00000005", ZK_OP_CREATE },
        { "set /a yo -1", "00000002 2f61 00000002 796f 00000001", ZK_OP_SET_DATA },
        { "setacl /a ip:127.0.0.1:31 -1", "00000002 2f61 00000001 0000001f 00000002 6970 00000009 3132372e302e302e31 "
                                          "00000001", ZK_OP_SET_ACL },
        { "delete /c 0", "00000002 2f63", ZK_OP_DELETE },
        { "delete /c 0", "ffffff9b", ZK_OP_ERROR },
        { "multi create /m '' 0 ; check /a 1 ; delete /m 0",
          "00000003 00000001 0000002a 00000002 2f6d 00000000 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 "
          "00 00000006 0000000d 0000000a 00000002 2f61 00000002 00000002 00000006 00000002 2f6d", ZK_OP_MULTI },
        { "multi check /a 1 ; delete /m 0 ; delete /a -1",
          "00000003 0000000d 0000000a 00000002 2f61 00000002 ffffffff 00000004 ffffff9b ffffffff 00000004 fffffffe",
          ZK_OP_MULTI },
        { "multi", "00000000", ZK_OP_MULTI },
    };
    struct world w;
    world_init(&w);
    w.cfg.extended_types = true;
    world_start(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct txn_header h;
        print_message("case: %s\n", cases[i].request);
        call(&w, cases[i].request);
        struct rd r = rd_buf(w.log.items[w.log.len - 1]);
        txn_header_read(&r, NULL, &h);
        assert_int_equal(h.type, cases[i].type);
        assert_int_equal(h.client_id, w.session);
        assert_int_equal(h.cxid, w.xid);
        assert_int_equal(h.zxid, w.appended);
        assert_int_equal(h.time_ms, WALL0);
        size_t digest = h.type == ZK_OP_ERROR ? 0 : 12;
        assert_hex(&w, buf_of(r.p, rd_left(&r) - digest), cases[i].txn);
    }
    world_done(&w);
}

/* Replies leave in order and only for what is durable, failures included. */
static void test_order_and_durability(void **state)
{
    struct world w;
    int32_t xid[8];
    world_init(&w);
    world_start(&w);
    int64_t base = w.appended;
    xid[0] = submit(&w, "create /a x 0");
    xid[1] = submit(&w, "create /a x 0"); /* fails against what is under way */
    xid[2] = submit(&w, "create /a/s- x 2");
    xid[3] = submit(&w, "create /a/s- x 2");
    xid[4] = submit(&w, "delete /a -1"); /* not empty */
    xid[5] = submit(&w, "set /a y 0");
    xid[6] = submit(&w, "set /a z 0"); /* bad version */
    xid[7] = submit(&w, "delete /a/s-0000000000 0");
    world_pump(&w);
    w.got.len = 0;
    assert_int_equal(core_outstanding(w.core), 8);
    assert_false(exists(&w, "/a"));
    core_apply(w.core, 0); /* nothing is durable yet */
    world_pump(&w);
    assert_int_equal(w.got.len, 0);
    core_persisted(w.core, base + 3);
    core_apply(w.core, 1);
    core_apply(w.core, 0);
    core_persisted(w.core, base + 1); /* old news */
    world_pump(&w);
    assert_int_equal(w.got.len, 3);
    core_persisted(w.core, base + 8);
    core_apply(w.core, 0);
    world_pump(&w);
    assert_int_equal(w.got.len, 8);
    static const int32_t err[8] = { 0, ZK_NODEEXISTS, 0, 0, ZK_NOTEMPTY, 0, ZK_BADVERSION, 0 };
    for (int i = 0; i < 8; i++) {
        assert_int_equal(w.got.items[i].xid, xid[i]);
        assert_int_equal(w.got.items[i].zxid, base + 1 + i);
        assert_int_equal(w.got.items[i].err, err[i]);
    }
    struct rd r = w.got.items[3].body;
    assert_true(jstr_is(jute_read_str(&r), "/a/s-0000000001"));
    assert_int_equal(core_outstanding(w.core), 0);
    assert_int_equal(core_last_proposed(w.core), base + 8);
    world_done(&w);
}

/* Rights follow what is under way. */
static void test_pipelined_acl(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    submit(&w, "create /a x 0");
    submit(&w, "setacl /a world:anyone:16 -1");
    int32_t denied = submit(&w, "set /a y -1");
    submit(&w, "setacl /a world:anyone:31 1");
    int32_t granted = submit(&w, "set /a y -1");
    submit(&w, "delete /a -1");
    submit(&w, "create /a x 0 world:anyone:1");
    int32_t child = submit(&w, "create /a/b x 0");
    world_flush(&w);
    assert_int_equal(reply_of(&w, denied)->err, ZK_NOAUTH);
    assert_int_equal(reply_of(&w, granted)->err, ZK_OK);
    assert_int_equal(reply_of(&w, child)->err, ZK_NOAUTH);
    world_done(&w);
}

static void test_skip_acl(void **state)
{
    struct world w;
    world_init(&w);
    w.cfg.skip_acl = true;
    world_start(&w);
    assert_int_equal(call_err(&w, "create /a x 0 world:anyone:1"), ZK_OK);
    assert_int_equal(call_err(&w, "set /a y -1"), ZK_OK);
    assert_int_equal(call_err(&w, "create /a/b x 0"), ZK_OK);
    world_done(&w);
}

static void test_no_digest(void **state)
{
    struct world w;
    world_init(&w);
    w.cfg.no_digest = true;
    world_start(&w);
    assert_int_equal(w.log.items[0].n, 36);
    assert_int_equal(call_err(&w, "create /a x 0"), ZK_OK);
    assert_int_equal(call_err(&w, "close"), ZK_OK);
    assert_int_equal(w.log.items[w.log.len - 1].n, 36);
    world_done(&w);
}

/* The counter of sequential names ends at 2^31 - 1 and stays there; the digest says the same as the tree. */
static void test_sequence_overflow(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    call(&w, "create /p x 0");
    core_free(w.core);
    /* Another server's log brings the counter near its end. */
    struct wr t = wr_init(0);
    create_txn_write(&t, &(struct create_txn){ .path = jstr_of("/p/x"), .parent_cversion = INT32_MAX - 1 });
    struct txn_header h = { .zxid = w.appended + 1, .time_ms = WALL0, .type = ZK_OP_CREATE };
    struct tree_result res;
    assert_int_equal(tree_apply(w.tree, &h, buf_of(t.p, t.n), &w.arena, &res), 0);
    wr_free(&t);
    w.appended++;
    w.core = core_new(&w.cfg, w.tree, w.now, w.wall);
    static const char *const names[] = { "/p/2147483646", "/p/2147483647", NULL, NULL };
    int32_t xid[ARRAY_LEN(names)];
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        xid[i] = submit(&w, "create /p/ x 2");
    int32_t plain = submit(&w, "create /p/plain x 0");
    world_flush(&w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct got *g = reply_of(&w, xid[i]);
        struct rd r = g->body;
        assert_int_equal(g->err, names[i] ? ZK_OK : ZK_NODEEXISTS);
        if (names[i])
            assert_true(jstr_is(jute_read_str(&r), names[i]));
    }
    assert_int_equal(reply_of(&w, plain)->err, ZK_OK);
    world_done(&w);
}

static void test_snapshot_spacing(void **state)
{
    struct world w;
    world_init(&w);
    w.cfg.snap_count = 20;
    world_start(&w);
    size_t snaps = 0, rolls = 0, since = 0, distinct = 0, last = 0;
    for (int i = 0; i < 2000; i++) {
        w.got.len = 0;
        submit(&w, "delete /missing -1");
        world_flush(&w);
        since++;
        size_t roll = count_got(&w, CORE_ROLL_LOG, 0), snap = count_got(&w, CORE_SNAPSHOT, 0);
        if (!roll)
            continue;
        rolls++;
        snaps += snap;
        assert_true(i < 20 || (since > 10 && since <= 20 + 1)); /* snapCount / 2 and up to as much again */
        distinct += since != last;
        last = since;
        since = 0;
        if (rolls % 2 == 0)
            core_snapshot_done(w.core, true); /* every other one takes long: the turn between is left out */
    }
    assert_true(rolls > 90);
    assert_true(snaps > rolls / 2 - 2);
    assert_true(snaps < rolls / 2 + 2);
    assert_true(distinct > 10);
    world_done(&w);
}

static void test_snapshot_by_size(void **state)
{
    struct world w;
    world_init(&w);
    w.cfg.snap_size_bytes = 2000;
    world_start(&w);
    size_t bytes = w.log.items[0].n;
    while (count_got(&w, CORE_SNAPSHOT, 0) == 0) {
        assert_true(bytes <= 2000 + 36);
        call(&w, "delete /missing -1");
        bytes += 36;
    }
    assert_true(bytes > 1000);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_errors),
        cmocka_unit_test(test_create_order),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_delete_errors),
        cmocka_unit_test(test_set_errors),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_undecodable),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_golden_frames),
        cmocka_unit_test(test_reply_bodies),
        cmocka_unit_test(test_txn_bodies),
        cmocka_unit_test(test_order_and_durability),
        cmocka_unit_test(test_pipelined_acl),
        cmocka_unit_test(test_skip_acl),
        cmocka_unit_test(test_no_digest),
        cmocka_unit_test(test_sequence_overflow),
        cmocka_unit_test(test_snapshot_spacing),
        cmocka_unit_test(test_snapshot_by_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
