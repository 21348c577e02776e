/* Multi: all or nothing, also in what is under way. */
#include "harness.h"

#include <stdio.h>

/* Result of each step as text: "13:ok", "15:/path", "-1:-101"; then the stat's version where there is one. */
static void describe(const struct got *g, char *out, size_t n)
{
    struct rd r = g->body;
    size_t at = 0;
    out[0] = 0;
    for (;;) {
        struct multi_header mh;
        struct zk_stat s;
        multi_header_read(&r, NULL, &mh);
        assert_int_equal(r.rc, 0);
        if (mh.done)
            break;
        assert_int_equal(mh.err, mh.type == -1 ? mh.err : 0);
        at += (size_t)snprintf(out + at, n - at, "%s%d", at ? " " : "", mh.type);
        if (mh.type == ZK_OP_ERROR) {
            int32_t again = rd_i32(&r);
            assert_int_equal(again, mh.err);
            at += (size_t)snprintf(out + at, n - at, ":%d", mh.err);
        }
        if (mh.type == ZK_OP_CREATE || mh.type == ZK_OP_CREATE2) {
            struct jstr path = jute_read_str(&r);
            at += (size_t)snprintf(out + at, n - at, ":%.*s", path.n, path.p);
        }
        if (mh.type == ZK_OP_CREATE2 || mh.type == ZK_OP_SET_DATA) {
            zk_stat_read(&r, &s);
            at += (size_t)snprintf(out + at, n - at, ":v%d", s.version);
        }
    }
    assert_int_equal(r.rc, 0);
    assert_int_equal(rd_left(&r), 0);
}

static const struct {
    const char *request;
    int32_t err;         /* of the header */
    const char *results; /* NULL: no body */
} cases[] = {
    { "multi", 0, "" },
    { "multi create /a x 0", 0, "1:/a" },
    { "multi create2 /a/b x 0 ; set /a/b y 0 ; set /a/b z 1 ; check /a/b 2 ; delete /a/b 2", 0,
      "15:/a/b:v0 5:v1 5:v2 13 2" },
    { "multi create /a/s- x 2 ; create2 /a/s- x 2 ; create /a/s- x 3", 0,
      "1:/a/s-0000000001 15:/a/s-0000000002:v0 1:/a/s-0000000003" },
    { "multi create /a x 0", 0, "-1:-110" },
    { "multi check /a 0 ; create /a x 0 ; create /z x 0 ; delete /a 0", 0, "-1:0 -1:-110 -1:-2 -1:-2" },
    { "multi delete /a 7 ; check /a 0", 0, "-1:-103 -1:-2" },
    { "multi check /a 3", 0, "-1:-103" },
    { "multi check /nope -1", 0, "-1:-101" },
    { "multi check a -1", 0, "-1:-8" },
    /* rewriting by flags */
    { "multi create /c1 x 4 ; create2 /c2 x 4 ; container /c3 x 4 ; container /c4 x 0", 0,
      "15:/c1:v0 15:/c2:v0 15:/c3:v0 15:/c4:v0" },
    { "multi ttl /t1 x 0 5 ; ttl /t2 x 4 5 ; ttl /t3- x 2 -1", 0, "1:/t1 15:/t2:v0 1:/t3-0000000007" },
    { "multi ttl /t4 x 5 1000 ; ttl /t4- x 6 1000", 0, "15:/t4:v0 15:/t4-0000000009:v0" },
    { "multi ttl /t x 9 1000", 0, "-1:-8" },
    { "multi ttl /t x 5 0", 0, "-1:-8" },
    /* what spoils the whole */
    { "multi create /ok x 0 ; create /x x 5", -5, NULL },
    { "multi create /ok x 0 ; create2 /x x 6", -5, NULL },
    { "multi create /ok x 0 ; create /x x 7", -5, NULL },
    { "multi create /ok x 0 ; container /x x -1", -5, NULL },
    { "multi create /ok x 0 ; setacl /ok open -1", -5, NULL },
    { "multi create /ok x 0 ; getdata /ok", -5, NULL },
    { "multi create /ok x 0 ; children /ok", -5, NULL },
    { "multi create /ok x 0 ; multi", -5, NULL },
    { "multi create /ok x 0 ; create ~ x 0", -5, NULL },
    { "multi create /ok x 0 ; set ~ x 0", -5, NULL },
    { "multi create /ok x 0 ; delete ~ 0", -5, NULL },
    { "multi create /ok x 0 ; check ~ 0", -5, NULL },
    { "multi create /ok x 0 ; create /y x 0 world:~:1", -5, NULL },
    { "multi create /ok x 0 ; create /y x 0 none", 0, "-1:0 -1:-114" },
    { "multi check /locked 0", 0, "-1:-101" },
    { "multi create /locked x 0 world:anyone:2", 0, "1:/locked" },
    { "multi check /locked 0", 0, "-1:-102" },
    { "multi create /ok x 0 ; create /ok/y x 1 ; delete /ok -1", 0, "-1:0 -1:0 -1:-111" },
    { "multi create /ok x 1 ; create /ok/y x 0", 0, "-1:0 -1:-108" },
    { "multi create /ok x 0 ; delete /ok 0 ; create /ok y 0 ; check /ok 0", 0, "1:/ok 2 1:/ok 13" },
};

static void test_results(void **state)
{
    struct world w;
    char got[512];
    world_init(&w);
    w.cfg.extended_types = true;
    world_start(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].request);
        int64_t before = w.appended;
        const struct got *g = call(&w, cases[i].request);
        assert_int_equal(g->zxid, before + 1);
        assert_int_equal(g->err, cases[i].err);
        if (cases[i].results) {
            describe(g, got, sizeof(got));
            assert_string_equal(got, cases[i].results);
        } else {
            assert_int_equal(g->bytes.n, 20);
        }
    }
    struct tree *t = replay(&w);
    assert_same_tree(w.tree, t);
    tree_free(t);
    world_done(&w);
}

/* A failed multi among pipelined writes leaves names, versions and counters as they were before it. */
static void test_rollback_restores_pending(void **state)
{
    struct world w;
    char got[512];
    world_init(&w);
    world_start(&w);
    call(&w, "create /p x 0");
    submit(&w, "create /p/s- x 2");   /* 0 */
    submit(&w, "set /p one 0");       /* version 1 */
    submit(&w, "create /q x 0");
    submit(&w, "delete /p/s-0000000000 0");
    int32_t failed = submit(&w, "multi create /p/s- x 2 ; set /p two 1 ; create /p/s- x 2 ; delete /q 0 ; "
                                "create /q/x x 0 ; create /new x 0");
    int32_t seq = submit(&w, "create /p/s- x 2");
    int32_t set = submit(&w, "set /p two 1");
    int32_t q = submit(&w, "create /q/x x 0");
    int32_t gone = submit(&w, "delete /p/s-0000000000 -1");
    int32_t fresh = submit(&w, "create /new y 0");
    int32_t good = submit(&w, "multi create /p/s- x 2 ; set /p three 2 ; check /p 3");
    world_flush(&w);
    describe(reply_of(&w, failed), got, sizeof(got));
    assert_string_equal(got, "-1:0 -1:0 -1:0 -1:0 -1:-101 -1:-2");
    struct rd r = reply_of(&w, seq)->body;
    assert_true(jstr_is(jute_read_str(&r), "/p/s-0000000001"));
    assert_int_equal(reply_of(&w, set)->err, 0);
    assert_int_equal(reply_of(&w, q)->err, 0);
    assert_int_equal(reply_of(&w, gone)->err, ZK_NONODE);
    assert_int_equal(reply_of(&w, fresh)->err, 0);
    describe(reply_of(&w, good), got, sizeof(got));
    assert_string_equal(got, "1:/p/s-0000000002 5:v3 13");
    struct tree *t = replay(&w);
    assert_same_tree(w.tree, t);
    tree_free(t);
    world_done(&w);
}

/* Each failing step of a long multi, with another write of the same node under way. */
static void test_rollback_at_every_step(void **state)
{
    for (int bad = 0; bad <= 6; bad++) {
        struct world w;
        char request[512] = "multi", got[256], expected[256] = "";
        static const char *const steps[] = { "create /a/x d 0", "set /a/x e 0", "create /a/s x 2", "delete /a/x 1",
                                             "create /a/x f 1", "set /a g 1" };
        world_init(&w);
        world_start(&w);
        call(&w, "create /a 0 0");
        submit(&w, "set /a 1 0");
        size_t n = strlen(request), e = 0;
        for (int i = 0; i < 6; i++) {
            n += (size_t)snprintf(request + n, sizeof(request) - n, "%s %s", i ? " ;" : "",
                                  i == bad ? "check /nothing 0" : steps[i]);
            e += (size_t)snprintf(expected + e, sizeof(expected) - e, "%s-1:%d", i ? " " : "",
                                  i < bad ? 0 : i == bad ? -101 : -2);
        }
        int32_t xid = submit(&w, request);
        int32_t after = submit(&w, "multi create /a/x h 0 ; create /a/s x 2");
        world_flush(&w);
        describe(reply_of(&w, xid), got, sizeof(got));
        if (bad < 6)
            assert_string_equal(got, expected);
        else
            assert_null(strstr(got, "-1"));
        describe(reply_of(&w, after), got, sizeof(got));
        assert_string_equal(got, bad < 6 ? "1:/a/x 1:/a/s0000000001" : "-1:-110 -1:-2");
        struct tree *t = replay(&w);
        assert_same_tree(w.tree, t);
        tree_free(t);
        world_done(&w);
    }
}

static void test_many_steps(void **state)
{
    struct world w;
    world_init(&w);
    world_start(&w);
    size_t n = 0, cap = 1 << 16;
    char *text = x_malloc(cap);
    n += (size_t)snprintf(text + n, cap - n, "multi");
    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(text + n, cap - n, " create /n%d x 0 ;", i);
    assert_int_equal(call_err(&w, text), 0);
    assert_true(exists(&w, "/n0"));
    assert_true(exists(&w, "/n999"));
    free(text);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_rollback_restores_pending),
        cmocka_unit_test(test_rollback_at_every_step),
        cmocka_unit_test(test_many_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
