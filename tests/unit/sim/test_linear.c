/* Linearizability of keys: what may be, what may not. The zxids of these stories are mostly left out of the question: the search decides. */
#include <stdio.h>

#include "story.h"

static struct story s;

static int setup(void **state)
{
    story_begin(&s);
    return 0;
}

static int teardown(void **state)
{
    story_end(&s);
    return 0;
}

static void wrote(int client, const char *data, int64_t zxid)
{
    answered(&s, sends(&s, client, ZK_OP_SET_DATA, "/r", data, -1), zxid);
}

static void reads(int client, const char *data, int32_t version, int64_t zxid)
{
    shows(&s, sends_synced(&s, client, "/r"), zxid, data, version);
}

static void test_in_order(void **state)
{
    wrote(0, "a", Z(6));
    reads(1, "a", 1, Z(6));
    wrote(1, "b", Z(7));
    reads(0, "b", 2, Z(7));
    verdict_of(&s, check_linear, NULL);
}

static void test_stale_read(void **state)
{
    wrote(0, "a", Z(6));
    wrote(0, "b", Z(7));
    reads(1, "a", 1, Z(6)); /* asked after b was acknowledged */
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_unsynced_stale_read_is_legal(void **state)
{
    struct hist_op *op;

    wrote(0, "a", Z(6));
    wrote(0, "b", Z(7));
    reads(2, "b", 2, Z(7));
    op = sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1);
    shows(&s, op, Z(6), "a", 1);
    verdict_of(&s, check_linear, NULL);
}

static void test_concurrent_read_may_see_either(void **state)
{
    struct hist_op *w = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), *x, *y;

    x = sends_synced(&s, 1, "/r");
    y = sends_synced(&s, 2, "/r");
    shows(&s, x, Z(6), "a", 1);
    shows(&s, y, Z(5), "", 0);
    answered(&s, w, Z(6));
    verdict_of(&s, check_linear, NULL);
}

static void test_seen_then_unseen(void **state)
{
    struct hist_op *w = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1);

    reads(1, "a", 1, Z(6));
    reads(2, "", 0, Z(5)); /* after another saw it */
    answered(&s, w, Z(6));
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_lost_write(void **state)
{
    wrote(0, "a", Z(6));
    reads(1, "", 0, Z(7));
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_unknown_write_may_have_happened(void **state)
{
    lost(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1));
    reads(1, "", 0, Z(5));
    reads(1, "a", 1, Z(6)); /* much later than it was given up */
    verdict_of(&s, check_linear, NULL);
}

static void test_unknown_write_may_not_have_happened(void **state)
{
    lost(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1));
    wrote(1, "b", Z(6));
    reads(1, "b", 1, Z(6));
    verdict_of(&s, check_linear, NULL);
}

static void test_unknown_write_happens_once(void **state)
{
    lost(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1));
    reads(1, "a", 1, Z(6));
    wrote(1, "b", Z(7));
    reads(1, "a", 3, Z(8)); /* again */
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_value_from_nowhere(void **state)
{
    reads(1, "x", 1, Z(6));
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_wrong_version(void **state)
{
    wrote(0, "a", Z(6));
    reads(1, "a", 2, Z(6)); /* it was written once */
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_two_conditional_writes_win(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", 0), *y = sends(&s, 1, ZK_OP_SET_DATA, "/r", "b", 0);

    answered(&s, x, Z(6));
    answered(&s, y, Z(7));
    reads(2, "b", 2, Z(7));
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_conditional_write_loses(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", 0), *y = sends(&s, 1, ZK_OP_SET_DATA, "/r", "b", 0);

    answered(&s, x, Z(6));
    refused(&s, y, ZK_BADVERSION, Z(7));
    reads(2, "a", 1, Z(7));
    verdict_of(&s, check_linear, NULL);
}

static void test_conditional_write_loses_for_nothing(void **state)
{
    refused(&s, sends(&s, 1, ZK_OP_SET_DATA, "/r", "b", 0), ZK_BADVERSION, Z(6));
    reads(2, "", 0, Z(6));
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_delete_and_make_again(void **state)
{
    answered(&s, sends(&s, 0, ZK_OP_DELETE, "/r", NULL, -1), Z(6));
    refused(&s, sends_synced(&s, 1, "/r"), ZK_NONODE, Z(6));
    answered(&s, sends(&s, 2, ZK_OP_CREATE, "/r", "n", -1), Z(7));
    reads(1, "n", 0, Z(7));
    verdict_of(&s, check_linear, NULL);
}

static void test_there_after_delete(void **state)
{
    reads(1, "", 0, Z(5));
    answered(&s, sends(&s, 0, ZK_OP_DELETE, "/r", NULL, -1), Z(6));
    reads(1, "", 0, Z(5));
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_made_twice(void **state)
{
    answered(&s, sends(&s, 0, ZK_OP_CREATE, "/k", "a", -1), Z(6));
    answered(&s, sends(&s, 1, ZK_OP_CREATE, "/k", "b", -1), Z(7));
    shows(&s, sends_synced(&s, 2, "/k"), Z(7), "b", 0);
    verdict_of(&s, check_linear, "history.linearizable");
}

static void test_multi_counts(void **state)
{
    struct hist_step steps[] = { { .op = ZK_OP_CHECK, .path = jstr_of("/r"), .version = 0 },
                                 { .op = ZK_OP_SET_DATA, .path = jstr_of("/r"), .data = { (const uint8_t *)"m", 1 }, .version = -1 },
                                 { .op = ZK_OP_SET_DATA, .path = jstr_of("/r"), .data = { (const uint8_t *)"n", 1 }, .version = 1 } };

    answered(&s, sends_multi(&s, 0, steps, 3), Z(6));
    reads(1, "n", 2, Z(6));
    verdict_of(&s, check_linear, NULL);
    reads(1, "m", 1, Z(6)); /* half of it */
    verdict_of(&s, check_linear, "history.linearizable");
}

/* An order that the zxids do not suggest is as good: here they are nonsense. */
static void test_zxids_prove_nothing(void **state)
{
    wrote(0, "a", Z(9));
    wrote(0, "b", Z(3));
    reads(1, "b", 2, Z(1));
    verdict_of(&s, check_linear, NULL);
}

/* Many unknown writes and much concurrency, and a read that none of it explains: the search must end, and soon. */
static void test_hard_search_ends(void **state)
{
    struct hist_op *open[40];

    for (int i = 0; i < 40; i++) {
        char data[16];

        (void)snprintf(data, sizeof(data), "u%d", i);
        open[i] = sends(&s, i % 4, ZK_OP_SET_DATA, "/r", data, -1);
        if (i % 2)
            lost(&s, open[i]);
    }
    reads(1, "never written", 9, Z(9));
    for (int i = 0; i < 40; i += 2)
        answered(&s, open[i], Z(10 + i));
    verdict_of(&s, check_linear, "history.linearizable");
}

/* So many overlapping writes that a search cannot try all their orders, and a read that comes too late for what it shows. */
static void overlap(int writes)
{
    struct hist_op *open[64];

    for (int i = 0; i < writes; i++) {
        char data[16];

        (void)snprintf(data, sizeof(data), "u%d", i);
        open[i] = sends(&s, i % 4, ZK_OP_SET_DATA, "/r", data, -1);
        if (i % 2)
            lost(&s, open[i]);
    }
    for (int i = 0; i < writes; i += 2)
        answered(&s, open[i], Z(6 + i));
}

static void test_given_up_search(void **state)
{
    struct check_report r = { 0 };
    struct check_input in;

    overlap(60);
    reads(1, "u0", 1, Z(99)); /* after thirty writes */
    in = story_input(&s);
    check_linear(&in, NULL, &r); /* nothing is known of the log: undecided, which is neither a finding nor a proof */
    assert_int_equal(r.findings.len, 0);
    assert_int_equal(r.undecided, 1);
    check_report_free(&r);
    verdict_of(&s, check_linear, "history.linearizable"); /* the log's own order says no */
    assert_int_equal(s.report.undecided, 0);
}

/* Where the zxid of an answer that changed nothing would put it, it does not fit, but a little later it does. */
static void test_place_is_looked_for(void **state)
{
    struct hist_op *refusal = sends(&s, 0, ZK_OP_SET_DATA, "/r", "b", 0), *read = sends_synced(&s, 1, "/r");

    overlap(60);
    refused(&s, refusal, ZK_BADVERSION, Z(5));
    shows(&s, read, Z(5), "u2", 2);
    reads(1, "u58", 30, Z(99));
    verdict_of(&s, check_linear, NULL);
    assert_int_equal(s.report.undecided, 0);
}

/* A new leader shows the old state under its own zxid, a follower under the old one. That is no contradiction, and must be seen without a search, which so many
 * unknown writes would make hopeless. */
static void test_one_state_two_zxids(void **state)
{
    for (int i = 0; i < 60; i++)
        lost(&s, sends(&s, i % 4, ZK_OP_SET_DATA, "/r", "u", -1));
    answered(&s, sends(&s, 0, ZK_OP_CHECK, "/r", NULL, -1), Z(6));
    reads(1, "", 0, INT64_C(2) << 32);
    reads(2, "", 0, Z(6));
    refused(&s, sends(&s, 3, ZK_OP_SET_DATA, "/r", "b", 7), ZK_BADVERSION, (INT64_C(2) << 32) + 1);
    reads(2, "", 0, Z(6));
    verdict_of(&s, check_linear, NULL);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_in_order),
        TEST(test_stale_read),
        TEST(test_unsynced_stale_read_is_legal),
        TEST(test_concurrent_read_may_see_either),
        TEST(test_seen_then_unseen),
        TEST(test_lost_write),
        TEST(test_unknown_write_may_have_happened),
        TEST(test_unknown_write_may_not_have_happened),
        TEST(test_unknown_write_happens_once),
        TEST(test_value_from_nowhere),
        TEST(test_wrong_version),
        TEST(test_two_conditional_writes_win),
        TEST(test_conditional_write_loses),
        TEST(test_conditional_write_loses_for_nothing),
        TEST(test_delete_and_make_again),
        TEST(test_there_after_delete),
        TEST(test_made_twice),
        TEST(test_multi_counts),
        TEST(test_zxids_prove_nothing),
        TEST(test_hard_search_ends),
        TEST(test_one_state_two_zxids),
        TEST(test_given_up_search),
        TEST(test_place_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
