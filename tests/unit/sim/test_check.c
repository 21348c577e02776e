/* The other checks: each finds what it is for and nothing in what is right. */
#include "story.h"

static struct story s;
static struct zk_stat r_stat; /* of /r as it was made */

static struct zk_stat stat_of(const char *path, int64_t zxid)
{
    const struct check_input in = story_input(&s);
    struct model *m = model_new(in.log, in.log_len, false);
    const struct model_node *n = model_at(m, jstr_of(path), zxid);
    struct zk_stat stat = { 0 };

    if (n)
        model_stat(m, n, &stat);
    model_free(m);
    return stat;
}

static int setup(void **state)
{
    story_begin(&s);
    r_stat = stat_of("/r", Z(5));
    return 0;
}

static int teardown(void **state)
{
    story_end(&s);
    return 0;
}

/* A write as it should be. */
static struct hist_op *writes(int client, const char *path, const char *data, int32_t version)
{
    struct hist_op *op = sends(&s, client, ZK_OP_SET_DATA, path, data, -1);
    int64_t zxid = commits(&s, op, version);
    struct zk_stat stat = stat_of(path, zxid);

    shows_stat(&s, op, zxid, NULL, &stat);
    return op;
}

static void test_nothing(void **state)
{
    verdict(&s, NULL);
    writes(0, "/r", "a", 1);
    verdict(&s, NULL);
}

static void test_protocol(void **state)
{
    mark(&s, 1, HIST_PROTOCOL);
    verdict(&s, "history.protocol");
}

/* ---- the log ---- */

static void test_log_gap(void **state)
{
    s.counter++;
    commits(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), 1);
    verdict(&s, "log.valid");
}

static void test_log_going_back(void **state)
{
    s.counter--;
    commits(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), 1);
    verdict(&s, "log.valid");
}

static void test_log_wrong_version(void **state)
{
    commits(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), 2);
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_no_parent(void **state)
{
    commits(&s, sends(&s, 0, ZK_OP_CREATE, "/x/y", "a", -1), 1);
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_exists(void **state)
{
    commits(&s, sends(&s, 0, ZK_OP_CREATE, "/r", "a", -1), 2);
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_parent_cversion(void **state)
{
    commits(&s, sends(&s, 0, ZK_OP_CREATE, "/r/x", "a", -1), 2);
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_not_empty(void **state)
{
    commits(&s, sends(&s, 0, ZK_OP_CREATE, "/r/x", "a", -1), 1);
    verdict_of(&s, check_log, NULL);
    commits(&s, sends(&s, 0, ZK_OP_DELETE, "/r", NULL, -1), 0);
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_close_forgets_ephemeral(void **state)
{
    commits_create(&s, session_of(1), 1, "/r/e", "x", true, 1);
    commits_close(&s, session_of(1), 0, NULL);
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_close_takes_ephemeral(void **state)
{
    commits_create(&s, session_of(1), 1, "/r/e", "x", true, 1);
    commits_close(&s, session_of(1), 0, "/r/e");
    verdict_of(&s, check_log, NULL);
}

static void test_log_close_takes_anothers(void **state)
{
    commits_create(&s, session_of(1), 1, "/r/e", "x", true, 1);
    commits_close(&s, session_of(2), 0, "/r/e");
    verdict_of(&s, check_log, "log.valid");
}

static void test_log_ephemeral_of_the_dead(void **state)
{
    commits_close(&s, session_of(1), 0, NULL);
    commits_create(&s, session_of(1), 1, "/r/e", "x", true, 1);
    verdict_of(&s, check_log, "log.valid");
}

/* ---- acknowledged ---- */

static void test_write_lost(void **state)
{
    struct zk_stat stat = { .czxid = Z(5), .mzxid = Z(6), .version = 1 };

    shows_stat(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), Z(6), NULL, &stat);
    verdict(&s, "history.acknowledged");
}

static void test_write_replaced(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1);

    writes(1, "/r", "b", 1);
    answered(&s, x, Z(6)); /* which is the other's */
    verdict_of(&s, check_acknowledged, "history.acknowledged");
}

static void test_unknown_is_free(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), *y = sends(&s, 1, ZK_OP_SET_DATA, "/r", "b", -1);

    lost(&s, x);
    lost(&s, y);
    commits(&s, x, 1);
    verdict(&s, NULL);
}

static void test_committed_twice(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1);

    lost(&s, x);
    commits(&s, x, 1);
    commits(&s, x, 2);
    verdict(&s, "history.acknowledged");
}

static void test_asked_for_by_nobody(void **state)
{
    commits_create(&s, session_of(1), 77, "/r/x", "x", false, 1);
    verdict(&s, "history.acknowledged");
}

static void test_refused_but_done(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", 3);

    refused(&s, x, ZK_BADVERSION, commits(&s, x, 1));
    verdict(&s, "history.acknowledged");
}

static void test_refused(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", 3);

    refused(&s, x, ZK_BADVERSION, commits_error(&s, x, ZK_BADVERSION));
    verdict(&s, NULL);
}

static void test_refused_for_no_reason(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", 0);

    refused(&s, x, ZK_BADVERSION, commits_error(&s, x, ZK_BADVERSION));
    verdict(&s, "history.acknowledged");
}

static void test_wrong_stat(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1);
    int64_t zxid = commits(&s, x, 1);
    struct zk_stat stat = stat_of("/r", zxid);

    stat.version++;
    shows_stat(&s, x, zxid, NULL, &stat);
    verdict(&s, "history.acknowledged");
}

static void test_zxids_against_time(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), *y;
    int64_t first = commits(&s, x, 1);

    y = sends(&s, 2, ZK_OP_SET_DATA, "/r", "c", -1);
    answered(&s, y, commits(&s, y, 2));
    (void)sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1);
    x = sends(&s, 3, ZK_OP_SET_DATA, "/r", "a", -1);
    answered(&s, x, first); /* sent after y was answered */
    verdict_of(&s, check_acknowledged, "history.acknowledged");
}

/* ---- reads ---- */

static void test_read(void **state)
{
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), Z(5), "", &r_stat);
    refused(&s, sends(&s, 1, ZK_OP_GET_DATA, "/none", NULL, -1), ZK_NONODE, Z(5));
    verdict(&s, NULL);
}

static void test_read_of_the_future(void **state)
{
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), Z(6), "", &r_stat);
    verdict(&s, "history.reads");
}

static void test_read_of_uncommitted_data(void **state)
{
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), Z(5), "a", &r_stat);
    verdict(&s, "history.reads");
}

static void test_read_finds_nothing(void **state)
{
    refused(&s, sends(&s, 1, ZK_OP_EXISTS, "/r", NULL, -1), ZK_NONODE, Z(5));
    verdict(&s, "history.reads");
}

static void test_read_finds_the_deleted(void **state)
{
    struct hist_op *x = sends(&s, 0, ZK_OP_DELETE, "/r", NULL, -1);

    answered(&s, x, commits(&s, x, 0));
    shows_stat(&s, sends(&s, 1, ZK_OP_EXISTS, "/r", NULL, -1), Z(6), NULL, &r_stat);
    verdict(&s, "history.reads");
}

static void test_read_of_a_new_leader(void **state)
{
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), INT64_C(2) << 32, "", &r_stat); /* before its first transaction */
    verdict(&s, NULL);
}

static void children_seen(const char *a, const char *b)
{
    struct hist_op *x = sends(&s, 1, ZK_OP_GET_CHILDREN, "/r", NULL, -1);

    x->arg.children = (struct jstrs){ arena_calloc(&s.h->arena, 2, sizeof(struct jstr)), b ? 2 : 1 };
    x->arg.children.v[0] = jstr_of(a);
    x->arg.children.v[1] = jstr_of(b);
    answered(&s, x, Z(7));
}

static void test_read_children(void **state)
{
    commits_create(&s, session_of(0), 91, "/r/x", "x", false, 1);
    commits_create(&s, session_of(0), 92, "/r/y", "x", false, 2);
    children_seen("y", "x");
    verdict_of(&s, check_reads, NULL);
    children_seen("x", NULL);
    verdict_of(&s, check_reads, "history.reads");
}

static void test_read_other_children(void **state)
{
    commits_create(&s, session_of(0), 91, "/r/x", "x", false, 1);
    commits_create(&s, session_of(0), 92, "/r/y", "x", false, 2);
    children_seen("x", "z");
    verdict_of(&s, check_reads, "history.reads");
}

/* ---- the order within a session ---- */

static void test_session_goes_back(void **state)
{
    pong(&s, 1, Z(5));
    pong(&s, 1, Z(4));
    verdict(&s, "history.session-order");
}

static void test_session_lags_behind_others(void **state)
{
    pong(&s, 1, Z(5));
    pong(&s, 2, Z(4));
    verdict(&s, NULL);
}

static void test_session_behind_its_own_write(void **state)
{
    writes(1, "/r", "a", 1);
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), Z(5), "", &r_stat);
    verdict(&s, "history.session-order");
}

/* The zxids lie; what is shown of the znode does not. */
static void test_session_sees_an_older_znode(void **state)
{
    struct zk_stat newer = r_stat;

    newer.mzxid = Z(6);
    newer.version = 1;
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), Z(6), "a", &newer);
    shows_stat(&s, sends(&s, 1, ZK_OP_GET_DATA, "/r", NULL, -1), Z(7), "", &r_stat);
    verdict_of(&s, check_session_order, "history.session-order");
}

/* ---- sequential names ---- */

static struct hist_op *asks_next(int client)
{
    struct hist_op *op = sends(&s, client, ZK_OP_CREATE, "/r/n-", "", -1);

    op->arg.flags = ZK_PERSISTENT_SEQUENTIAL;
    return op;
}

static void gets(struct hist_op *op, const char *name)
{
    op->arg.made = jstr_of(name);
    answered(&s, op, Z(9));
}

static void test_sequential(void **state)
{
    struct hist_op *x = asks_next(0), *y = asks_next(1);

    gets(y, "/r/n-0000000001");
    gets(x, "/r/n-0000000000"); /* they were under way together */
    gets(asks_next(0), "/r/n-0000000007");
    verdict_of(&s, check_sequential, NULL);
}

static void test_sequential_twice(void **state)
{
    struct hist_op *x = asks_next(0), *y = asks_next(1);

    gets(y, "/r/n-0000000001");
    gets(x, "/r/n-0000000001");
    verdict_of(&s, check_sequential, "history.sequential");
}

static void test_sequential_back(void **state)
{
    gets(asks_next(0), "/r/n-0000000004");
    gets(asks_next(1), "/r/n-0000000003");
    verdict_of(&s, check_sequential, "history.sequential");
}

static void test_sequential_begins_again(void **state)
{
    gets(asks_next(0), "/r/n-0000000004");
    lost(&s, sends(&s, 2, ZK_OP_DELETE, "/r", NULL, -1));
    gets(asks_next(1), "/r/n-0000000000");
    verdict_of(&s, check_sequential, NULL);
}

static void test_sequential_verdict_of_the_log(void **state)
{
    struct hist_op *x = asks_next(0);

    x->arg.made = jstr_of("/r/n-0000000000");
    answered(&s, x, commits(&s, x, 1));
    verdict(&s, NULL);
}

/* ---- ephemerals ---- */

static struct hist_op *holds(int client)
{
    struct hist_op *op = sends(&s, client, ZK_OP_CREATE, "/r/e", "", -1);

    op->arg.flags = ZK_EPHEMERAL;
    op->arg.made = op->arg.path;
    answered(&s, op, Z(6));
    return op;
}

static void closes(int client)
{
    answered(&s, sends(&s, client, ZK_OP_CLOSE_SESSION, NULL, NULL, -1), Z(7));
    mark(&s, client, HIST_CLOSED);
}

static void test_ephemeral_outlives(void **state)
{
    struct zk_stat stat = { .ephemeral_owner = session_of(0) };

    holds(0);
    closes(0);
    shows_stat(&s, sends_synced(&s, 1, "/r/e"), Z(8), "", &stat);
    verdict_of(&s, check_ephemerals, "history.ephemerals");
}

static void test_ephemeral_seen_late_without_sync(void **state)
{
    struct zk_stat stat = { .ephemeral_owner = session_of(0) };

    holds(0);
    closes(0);
    shows_stat(&s, sends(&s, 1, ZK_OP_EXISTS, "/r/e", NULL, -1), Z(6), NULL, &stat);
    verdict_of(&s, check_ephemerals, NULL);
}

static void test_ephemeral_vanishes(void **state)
{
    holds(0);
    refused(&s, sends_synced(&s, 1, "/r/e"), ZK_NONODE, Z(7));
    answered(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), Z(8)); /* it lives */
    verdict_of(&s, check_ephemerals, "history.ephemerals");
}

static void test_ephemeral_of_a_session_that_may_be_dead(void **state)
{
    holds(0);
    refused(&s, sends_synced(&s, 1, "/r/e"), ZK_NONODE, Z(7));
    verdict_of(&s, check_ephemerals, NULL);
}

static void test_ephemeral_deleted_by_somebody(void **state)
{
    holds(0);
    lost(&s, sends(&s, 2, ZK_OP_DELETE, "/r/e", NULL, -1));
    refused(&s, sends_synced(&s, 1, "/r/e"), ZK_NONODE, Z(7));
    answered(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), Z(8));
    verdict_of(&s, check_ephemerals, NULL);
}

/* ---- sessions ---- */

static void expires(int64_t heard_us, int64_t at_us, int64_t calm_from_us, const char *name)
{
    struct check_input in;
    struct check_calm calm = { calm_from_us, 100000000 };
    struct model *m;

    commits_close(&s, session_of(1), 0, NULL);
    s.log.items[s.log.len - 1].at_us = at_us;
    s.now_us = heard_us;
    pong(&s, 1, Z(5));
    s.h->marks.items[s.h->marks.len - 1].since_us = heard_us;
    in = story_input(&s);
    in.calm = &calm;
    in.calm_count = 1;
    in.drift_ppm = 10000;
    m = model_new(in.log, in.log_len, false);
    check_sessions(&in, m, &s.report);
    model_free(m);
    assert_int_equal(s.report.findings.len, name ? 1 : 0);
    if (name)
        assert_string_equal(s.report.findings.items[0].name, name);
}

/* Their timeout is 10 s. */
static void test_expires_in_time(void **state)
{
    expires(20000000, 30100000, 0, NULL);
}

static void test_expires_by_a_fast_clock(void **state)
{
    expires(20000000, 29950000, 0, NULL);
}

static void test_expires_early(void **state)
{
    expires(20000000, 29000000, 0, "history.sessions");
}

static void test_expires_before_the_leader_heard(void **state)
{
    expires(20000000, 20100000, 0, NULL);
}

static void test_expires_in_trouble(void **state)
{
    expires(20000000, 29000000, 25000000, NULL);
}

/* ---- replicas ---- */

static struct tree *tree_from_log(size_t count)
{
    struct tree *t = tree_new(&(struct tree_options){ 0 });
    struct arena a = arena_init();

    for (size_t i = 0; i < count; i++) {
        struct rd r = rd_buf(s.log.items[i].txn);
        struct txn_header h;
        struct tree_result res;

        txn_header_read(&r, &a, &h);
        assert_int_equal(tree_apply(t, &h, buf_of(r.p, rd_left(&r)), &a, &res), 0);
    }
    arena_free(&a);
    return t;
}

static void replicas(size_t applied, const char *name)
{
    struct tree *x = tree_from_log(s.log.len), *y = tree_from_log(applied);
    struct check_replica r[] = { { 1, x }, { 2, y } };
    struct check_input in = story_input(&s);
    struct model *m = model_new(in.log, in.log_len, false);

    in.replicas = r;
    in.replica_count = 2;
    check_replicas(&in, m, &s.report);
    for (size_t i = 0; i < s.report.findings.len; i++)
        assert_string_equal(s.report.findings.items[i].name, name ? name : "none");
    assert_int_equal(s.report.findings.len > 0, name != NULL);
    model_free(m);
    tree_free(x);
    tree_free(y);
}

static void test_replicas_equal(void **state)
{
    commits_create(&s, session_of(1), 1, "/r/e", "x", true, 1);
    commits_create(&s, session_of(1), 2, "/r/p", "x", false, 2);
    commits_close(&s, session_of(1), 0, "/r/e");
    replicas(s.log.len, NULL);
}

static void test_replica_behind(void **state)
{
    commits_create(&s, session_of(1), 1, "/r/e", "x", true, 1);
    replicas(s.log.len - 1, "final.replicas");
}

static void test_replica_lacks_a_session(void **state)
{
    commits_close(&s, session_of(1), 0, NULL);
    replicas(s.log.len - 1, "final.replicas");
}

static void test_replica_with_old_data(void **state)
{
    commits(&s, sends(&s, 0, ZK_OP_SET_DATA, "/r", "a", -1), 1);
    replicas(s.log.len - 1, "final.replicas");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing),
        TEST(test_protocol),
        TEST(test_log_gap),
        TEST(test_log_going_back),
        TEST(test_log_wrong_version),
        TEST(test_log_no_parent),
        TEST(test_log_exists),
        TEST(test_log_parent_cversion),
        TEST(test_log_not_empty),
        TEST(test_log_close_forgets_ephemeral),
        TEST(test_log_close_takes_ephemeral),
        TEST(test_log_close_takes_anothers),
        TEST(test_log_ephemeral_of_the_dead),
        TEST(test_write_lost),
        TEST(test_write_replaced),
        TEST(test_unknown_is_free),
        TEST(test_committed_twice),
        TEST(test_asked_for_by_nobody),
        TEST(test_refused_but_done),
        TEST(test_refused),
        TEST(test_refused_for_no_reason),
        TEST(test_wrong_stat),
        TEST(test_zxids_against_time),
        TEST(test_read),
        TEST(test_read_of_the_future),
        TEST(test_read_of_uncommitted_data),
        TEST(test_read_finds_nothing),
        TEST(test_read_finds_the_deleted),
        TEST(test_read_of_a_new_leader),
        TEST(test_read_children),
        TEST(test_read_other_children),
        TEST(test_session_goes_back),
        TEST(test_session_lags_behind_others),
        TEST(test_session_behind_its_own_write),
        TEST(test_session_sees_an_older_znode),
        TEST(test_sequential),
        TEST(test_sequential_twice),
        TEST(test_sequential_back),
        TEST(test_sequential_begins_again),
        TEST(test_sequential_verdict_of_the_log),
        TEST(test_ephemeral_outlives),
        TEST(test_ephemeral_seen_late_without_sync),
        TEST(test_ephemeral_vanishes),
        TEST(test_ephemeral_of_a_session_that_may_be_dead),
        TEST(test_ephemeral_deleted_by_somebody),
        TEST(test_expires_in_time),
        TEST(test_expires_by_a_fast_clock),
        TEST(test_expires_early),
        TEST(test_expires_before_the_leader_heard),
        TEST(test_expires_in_trouble),
        TEST(test_replicas_equal),
        TEST(test_replica_behind),
        TEST(test_replica_lacks_a_session),
        TEST(test_replica_with_old_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
