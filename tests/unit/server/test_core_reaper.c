/* Containers and TTL nodes go when their time has come, in virtual time. */
#include "harness.h"

static void start(struct world *w)
{
    world_init(w);
    w->cfg.extended_types = true;
}

/* Lets time pass in the steps that the core asks for, the session kept alive. */
static void pass(struct world *w, int64_t ms)
{
    int64_t end = w->now + ms;
    while (w->now < end) {
        int64_t wake = MIN(core_next_wake(w->core), end);
        assert_true(wake >= w->now);
        core_touch(w->core, w->session);
        world_tick(w, MAX(wake - w->now, 1));
        world_flush(w);
    }
}

static void test_containers(void **state)
{
    struct world w;
    start(&w);
    world_start(&w);
    call(&w, "container /never x 4");
    call(&w, "container /used x 4");
    call(&w, "container /full x 4");
    call(&w, "create /plain x 0");
    call(&w, "create /used/x x 0");
    call(&w, "create /full/x x 0");
    pass(&w, 61000);
    assert_true(exists(&w, "/used"));
    call(&w, "delete /used/x -1");
    pass(&w, 58000);
    assert_true(exists(&w, "/used")); /* only the checks look */
    pass(&w, 2000);
    assert_false(exists(&w, "/used"));
    assert_true(exists(&w, "/never"));
    assert_true(exists(&w, "/full"));
    assert_true(exists(&w, "/plain"));
    struct txn_header h;
    struct rd r = rd_buf(w.log.items[w.log.len - 1]);
    txn_header_read(&r, NULL, &h);
    assert_int_equal(h.type, ZK_OP_DELETE_CONTAINER);
    assert_int_equal(h.client_id, 0);
    assert_int_equal(h.cxid, 0);
    size_t n = w.log.len;
    pass(&w, 300000);
    assert_int_equal(w.log.len, n); /* nothing to do costs no zxid */
    world_done(&w);
}

static void test_never_used(void **state)
{
    struct world w;
    start(&w);
    w.cfg.container_max_never_used_ms = 90000;
    world_start(&w);
    call(&w, "container /never x 4");
    pass(&w, 61000);
    assert_true(exists(&w, "/never"));
    pass(&w, 60000);
    assert_false(exists(&w, "/never"));
    world_done(&w);
}

static void test_ttl(void **state)
{
    struct world w;
    start(&w);
    w.cfg.container_check_ms = 1000;
    world_start(&w);
    call(&w, "ttl /t x 5 5000");
    call(&w, "ttl /renewed x 5 5000");
    call(&w, "ttl /parent x 5 5000");
    call(&w, "create /parent/x x 0");
    pass(&w, 3000);
    call(&w, "set /renewed y -1");
    pass(&w, 1500);
    assert_true(exists(&w, "/t"));
    pass(&w, 2000);
    assert_false(exists(&w, "/t"));
    assert_true(exists(&w, "/renewed"));
    pass(&w, 2600);
    assert_false(exists(&w, "/renewed"));
    assert_true(exists(&w, "/parent")); /* as long as it has a child */
    call(&w, "delete /parent/x -1");
    pass(&w, 2000);
    assert_false(exists(&w, "/parent"));
    struct tree *t = replay(&w);
    assert_same_tree(w.tree, t);
    tree_free(t);
    world_done(&w);
}

/* A write under way can save a node that the check has named, and one that is under way can be in the way. */
static void test_race(void **state)
{
    struct world w;
    start(&w);
    w.cfg.container_check_ms = 10000;
    world_start(&w);
    call(&w, "ttl /renewed x 5 1000");
    call(&w, "ttl /gains-child x 5 1000");
    call(&w, "ttl /goes x 5 1000");
    pass(&w, 9999);
    world_tick(&w, 0);
    submit(&w, "set /renewed y -1");
    submit(&w, "create /gains-child/x x 0");
    submit(&w, "delete /goes -1");
    world_pump(&w);
    size_t n = w.log.len;
    world_tick(&w, 5); /* the check */
    world_tick(&w, 100);
    world_pump(&w);
    assert_int_equal(w.log.len, n);
    world_flush(&w);
    assert_true(exists(&w, "/renewed"));
    assert_true(exists(&w, "/gains-child"));
    world_done(&w);
}

static void test_rate(void **state)
{
    struct world w;
    start(&w);
    w.cfg.container_check_ms = 10000;
    w.cfg.container_max_per_minute = 60; /* one a second */
    world_start(&w);
    for (int i = 0; i < 10; i++)
        call(&w, "ttl /t x 6 1");
    pass(&w, 10000);
    size_t n = w.log.len;
    pass(&w, 5000);
    assert_in_range(w.log.len - n, 4, 6);
    pass(&w, 10000);
    assert_int_equal(znode_child_count(tree_find(w.tree, jstr_of("/"))), 1);
    world_done(&w);
}

static void test_off(void **state)
{
    struct world w;
    start(&w);
    w.cfg.container_check_ms = 0;
    world_start(&w);
    call(&w, "ttl /t x 5 1");
    pass(&w, 200000);
    assert_true(exists(&w, "/t"));
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_containers), cmocka_unit_test(test_never_used), cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_race),       cmocka_unit_test(test_rate),       cmocka_unit_test(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
