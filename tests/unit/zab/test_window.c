/* The committed-log window, the order of zxids, and the choice between DIFF, TRUNC and SNAP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "zab/window.h"

#define Z(epoch, counter) zxid_of(epoch, counter)

static void test_follows(void **state)
{
    static const struct {
        const char *name;
        int64_t prev, next;
        bool yes;
    } cases[] = {
        { "next", 0x100000001, 0x100000002, true },
        { "the first ever", 0, 0x100000001, true },
        { "first of an epoch behind its own zxid", 0x200000000, 0x200000001, true },
        { "first of the next epoch", 0x100000007, 0x200000001, true },
        { "first of a later epoch", 0x100000007, 0x500000001, true },
        { "the same", 0x100000001, 0x100000001, false },
        { "a gap", 0x100000001, 0x100000003, false },
        { "an epoch that does not begin at its beginning", 0x100000007, 0x200000002, false },
        { "an epoch's own zxid is no transaction", 0x100000007, 0x200000000, false },
        { "back", 0x200000001, 0x100000002, false },
        { "the last counter", 0x1fffffffd, 0x1fffffffe, true },
        { "behind the last counter", 0x1fffffffe, 0x1ffffffff, false },
        { "over into the next epoch", 0x1ffffffff, 0x200000000, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        assert_int_equal(zxid_follows(cases[i].prev, cases[i].next), cases[i].yes);
    }
}

/* base, then from..to of epoch 1, then 1..second of epoch `epoch`. */
static struct zab_window *window_of(int64_t base, uint32_t from, uint32_t to, int64_t epoch, uint32_t second)
{
    struct zab_window *w = zab_window_new(0, 0);

    zab_window_reset(w, base);
    for (uint32_t c = from; c <= to && c > 0; c++)
        assert_int_equal(zab_window_push_bytes(w, Z(1, c), buf_str("x")), 0);
    for (uint32_t c = 1; c <= second; c++)
        assert_int_equal(zab_window_push_bytes(w, Z(epoch, c), buf_str("y")), 0);
    zab_window_check(w);
    return w;
}

static void test_decide(void **state)
{
    static const struct {
        const char *name;
        int64_t base;
        uint32_t from, to;
        int64_t epoch;
        uint32_t second;
        int64_t peer, last;
        bool force;
        enum zab_sync_how how;
        int64_t zxid;
        size_t first;
    } cases[] = {
        { "both have nothing", 0, 0, 0, 0, 0, 0, 0, false, ZAB_SYNC_DIFF, 0, 0 },
        { "the same end", 0, 1, 7, 0, 0, 0x100000007, 0x100000007, false, ZAB_SYNC_DIFF, 0x100000007, 7 },
        { "forced", 0, 1, 7, 0, 0, 0x100000007, 0x100000007, true, ZAB_SYNC_SNAP, 0, 0 },
        { "a little behind", 0, 1, 7, 0, 0, 0x100000005, 0x100000007, false, ZAB_SYNC_DIFF, 0x100000007, 5 },
        { "at the window's first", 0x100000002, 3, 7, 0, 0, 0x100000003, 0x100000007, false, ZAB_SYNC_DIFF, 0x100000007, 1 },
        { "a new epoch serves, nothing written yet", 0, 1, 7, 0, 0, 0x100000007, 0x200000000, false, ZAB_SYNC_DIFF, 0x100000007, 7 },
        { "uncommitted tail, nothing new", 0, 1, 7, 0, 0, 0x100000008, 0x200000000, false, ZAB_SYNC_TRUNC, 0x100000007, 7 },
        { "uncommitted tail, a later epoch has written", 0, 1, 7, 2, 1, 0x100000008, 0x200000001, false, ZAB_SYNC_SNAP, 0, 0 },
        { "tail of a later epoch than ours", 0, 1, 7, 0, 0, 0x200000003, 0x300000000, false, ZAB_SYNC_TRUNC, 0x100000007, 7 },
        { "the end of an epoch, the next has written", 0, 1, 7, 2, 3, 0x100000007, 0x200000003, false, ZAB_SYNC_DIFF, 0x200000003, 7 },
        { "its epoch's own zxid, within", 0, 1, 7, 2, 3, 0x200000000, 0x200000003, false, ZAB_SYNC_DIFF, 0x200000003, 7 },
        { "its epoch's own zxid, an empty epoch", 0, 1, 7, 3, 3, 0x200000000, 0x300000003, false, ZAB_SYNC_DIFF, 0x300000003, 7 },
        { "its epoch's own zxid, beyond", 0, 1, 7, 0, 0, 0x200000000, 0x300000000, false, ZAB_SYNC_SNAP, 0, 0 },
        { "empty learner", 0, 1, 7, 0, 0, 0, 0x100000007, false, ZAB_SYNC_SNAP, 0, 0 },
        { "learner without a database", 0, 1, 7, 0, 0, -1, 0x100000007, false, ZAB_SYNC_SNAP, 0, 0 },
        { "behind the window", 0x100000003, 4, 7, 0, 0, 0x100000002, 0x100000007, false, ZAB_SYNC_LOG, 0x100000004, 0 },
        { "empty window", 0x100000009, 0, 0, 0, 0, 0x100000002, 0x100000009, false, ZAB_SYNC_LOG, 0x100000009, 0 },
        { "nothing to cut to in any log", 0, 0, 0, 0, 0, 0x100000001, 0x100000000, false, ZAB_SYNC_SNAP, 0, 0 },
        { "we have nothing at all", 0, 0, 0, 0, 0, 0x100000001, 0, false, ZAB_SYNC_SNAP, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        struct zab_window *w = window_of(cases[i].base, cases[i].from, cases[i].to, cases[i].epoch, cases[i].second);
        struct zab_sync_plan p = zab_sync_decide(w, cases[i].peer, cases[i].last, cases[i].force);
        assert_int_equal(p.how, cases[i].how);
        if (p.how != ZAB_SYNC_SNAP) {
            assert_int_equal(p.zxid, cases[i].zxid);
            assert_int_equal(p.first, cases[i].first);
        }
        zab_window_free(w);
    }
}

static void test_walk(void **state)
{
    static const struct {
        int64_t peer, prev, zxid;
        enum zab_walk step;
    } cases[] = {
        { 0x100000005, -1, 0x100000003, ZAB_WALK_SKIP },
        { 0x100000005, -1, 0x100000005, ZAB_WALK_DIFF },
        { 0x100000005, 0x100000004, 0x100000006, ZAB_WALK_TRUNC }, /* only in a log with a hole, from another implementation */
        { 0x100000005, -1, 0x100000006, ZAB_WALK_SNAP },
        { 0x100000005, 0x100000004, 0x200000001, ZAB_WALK_SNAP },
        { 0x200000000, 0x100000004, 0x200000001, ZAB_WALK_DIFF_SEND },
        { 0x200000000, -1, 0x200000001, ZAB_WALK_DIFF_SEND },
        { 0x200000000, 0x100000004, 0x300000001, ZAB_WALK_DIFF_SEND },
        { 0x200000000, -1, 0x300000001, ZAB_WALK_SNAP },
        { 0x200000000, -1, 0x200000004, ZAB_WALK_SNAP },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(zab_walk_step(cases[i].peer, cases[i].prev, cases[i].zxid), cases[i].step);
}

static void test_window(void **state)
{
    struct zab_window *w = window_of(0, 1, 499, 0, 0);

    assert_int_equal(zab_window_push_bytes(w, Z(1, 499), buf_str("x")), RC_INVAL);
    assert_int_equal(zab_window_push_bytes(w, Z(1, 501), buf_str("x")), RC_INVAL);
    zab_window_keep(w, 0); /* nothing applied: nothing goes */
    for (uint32_t c = 500; c <= 520; c++)
        assert_int_equal(zab_window_push_bytes(w, Z(1, c), buf_str("x")), 0);
    assert_int_equal(zab_window_len(w), 520);
    zab_window_keep(w, Z(1, 10));
    assert_int_equal(zab_window_len(w), 510);
    zab_window_keep(w, INT64_MAX);
    assert_int_equal(zab_window_len(w), ZAB_WINDOW_COUNT);
    assert_int_equal(zab_window_base(w), Z(1, 20));
    assert_int_equal(zab_window_min(w), Z(1, 21));
    assert_int_equal(zab_window_after(w, Z(1, 20)), 0);
    assert_int_equal(zab_window_after(w, Z(1, 25)), 5);
    assert_int_equal(zab_window_after(w, Z(2, 0)), ZAB_WINDOW_COUNT);
    zab_window_truncate(w, Z(1, 30));
    assert_int_equal(zab_window_max(w), Z(1, 30));
    assert_int_equal(zab_window_push_bytes(w, Z(2, 1), buf_str("y")), 0);
    zab_window_check(w);
    zab_window_truncate(w, Z(1, 5));
    assert_int_equal(zab_window_len(w), 0);
    assert_int_equal(zab_window_max(w), Z(1, 5));
    zab_window_reset(w, Z(3, 0));
    assert_int_equal(zab_window_push_bytes(w, Z(3, 1), buf_str("z")), 0);
    zab_window_check(w);
    zab_window_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_follows), cmocka_unit_test(test_decide), cmocka_unit_test(test_walk),
        cmocka_unit_test(test_window) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
