/* test_quota.c - the stats that the tree keeps by itself, and what a limit refuses (spec 3.7). */
#include "util.h"

#include <stdio.h>

static void assert_text(const struct tree *t, const char *path, const char *want)
{
    const struct znode *n = tree_find(t, jstr_of(path));
    assert_non_null(n);
    struct jbuf d = znode_data(n);
    char text[128];
    snprintf(text, sizeof(text), "%.*s", (int)d.n, (const char *)d.p);
    assert_string_equal(text, want);
}

#define Q "/zookeeper/quota"
#define STATS "/zookeeper_stats"
#define LIMITS "/zookeeper_limits"

static void test_stats_follow(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    int64_t z = 0;
    util_create(t, ++z, "/a", "12345", 0);
    util_create(t, ++z, "/a/b", "123", 0);
    util_create(t, ++z, Q "/a", "", 0);
    util_create(t, ++z, Q "/a" LIMITS, "count=5,bytes=-1", 0);
    util_create(t, ++z, Q "/a" STATS, "anything", 0);
    assert_text(t, Q "/a" STATS, "count=2,bytes=8"); /* counted when the node is made */
    struct zk_stat before = util_stat(t, Q "/a" STATS);
    uint64_t digest = tree_digest(t);

    util_create(t, ++z, "/a/c", "1", 0);
    assert_text(t, Q "/a" STATS, "count=3,bytes=9");
    util_create(t, ++z, "/ab", "not below", 0);
    util_set(t, ++z, "/a", "1", 1);
    assert_text(t, Q "/a" STATS, "count=3,bytes=5");
    util_set(t, ++z, "/a/b", NULL, 1);
    assert_text(t, Q "/a" STATS, "count=3,bytes=2");
    util_delete(t, ++z, "/a/c");
    assert_text(t, Q "/a" STATS, "count=2,bytes=1");
    struct zk_stat after = util_stat(t, Q "/a" STATS);
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.mzxid, before.mzxid);
    assert_int_not_equal(tree_digest(t), digest); /* of what was changed itself; tree_check knows that stats are not in it */
    tree_check(t);

    /* The longest path under a quota is the one that counts. */
    util_create(t, ++z, Q "/a/b", "", 0);
    util_create(t, ++z, Q "/a/b" LIMITS, "count=5,bytes=-1", 0);
    util_create(t, ++z, Q "/a/b" STATS, "", 0);
    util_create(t, ++z, "/a/b/c", "12", 0);
    assert_text(t, Q "/a/b" STATS, "count=2,bytes=2");
    assert_text(t, Q "/a" STATS, "count=2,bytes=1");

    util_delete(t, ++z, Q "/a/b" LIMITS);
    util_create(t, ++z, "/a/b/d", "1", 0);
    assert_text(t, Q "/a/b" STATS, "count=2,bytes=2");
    assert_text(t, Q "/a" STATS, "count=3,bytes=2");
    tree_load_settle(t); /* as after a restart: all is counted anew */
    assert_text(t, Q "/a" STATS, "count=4,bytes=4");
    tree_check(t);
    tree_free(t);
}

/* Quotas over the quota tree itself, on "/", without stats: odd, and must do no harm. */
static void test_odd_places(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    int64_t z = 0;
    util_create(t, ++z, Q LIMITS, "count=1,bytes=1", 0);
    util_create(t, ++z, Q STATS, "untouched", 0);
    assert_text(t, Q STATS, "untouched");
    util_create(t, ++z, "/zookeeper/quotaX", "", 0);
    util_create(t, ++z, "/zookeeper/quotaX" LIMITS, "", 0);
    util_create(t, ++z, Q "/zookeeper", "", 0);
    util_create(t, ++z, Q "/zookeeper" LIMITS, NULL, 0);
    util_create(t, ++z, Q "/zookeeper" STATS, NULL, 0);
    util_create(t, ++z, Q "/zookeeper" STATS "/below", "", 0);
    util_set(t, ++z, Q "/zookeeper" STATS, "count=1,bytes=-1=;b=3;a=nonsense", 1);
    assert_text(t, Q "/zookeeper" STATS, "count=1,bytes=14=;a=-1;b=3"); /* -1, and 15 by which that text outgrew "count=11,bytes=.." */
    util_delete(t, ++z, Q "/zookeeper" STATS "/below");
    util_delete(t, ++z, Q "/zookeeper" STATS);
    util_create(t, ++z, "/zookeeper/x", "", 0);
    tree_check(t);
    tree_free(t);
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *limits;
        int64_t count, bytes;
        bool over;
    } cases[] = {
        /* Under /a stand 2 nodes with 8 bytes. */
        { "count=2,bytes=8", 1, 100, false }, /* soft limits refuse nothing */
        { "count=-1,bytes=-1=;countHardLimit=2", 1, 0, true },
        { "count=-1,bytes=-1=;countHardLimit=3", 1, 0, false },
        { "count=1,bytes=-1=;countHardLimit=3", 1, 0, false },
        { "count=-1,bytes=-1=;countHardLimit=2", 0, 10, false }, /* setData adds no node */
        { "count=-1,bytes=-1=;byteHardLimit=10", 1, 2, false },
        { "count=-1,bytes=-1=;byteHardLimit=10", 1, 3, true },
        { "count=-1,bytes=-1=;byteHardLimit=1", 1, 0, false }, /* no byte more */
        { "count=-1,bytes=-1=;byteHardLimit=1", 0, -1, true }, /* less, and still too much */
        { "byteHardLimit=10;countHardLimit=3", 1, 3, true },
        { "count=-1,bytes=-1=;countHardLimit=0", 1, 0, true },
        { "count=-1,bytes=-1=;countHardLimit=", 1, 0, false },
        { "", 1, 1, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tree *t = tree_new(NULL);
        print_message("case: %s\n", cases[i].limits);
        util_create(t, 1, "/a", "12345", 0);
        util_create(t, 2, "/a/b", "123", 0);
        util_create(t, 3, Q "/a", "", 0);
        util_create(t, 4, Q "/a" LIMITS, cases[i].limits, 0);
        assert_int_equal(tree_quota_check(t, jstr_of("/a/n"), cases[i].count, cases[i].bytes), ZK_OK); /* no stats yet */
        util_create(t, 5, Q "/a" STATS, "", 0);
        int32_t want = cases[i].over ? ZK_QUOTAEXCEEDED : ZK_OK;
        assert_int_equal(tree_quota_check(t, jstr_of("/a/n"), cases[i].count, cases[i].bytes), want);
        assert_int_equal(tree_quota_check(t, jstr_of("/a"), cases[i].count, cases[i].bytes), want);
        assert_int_equal(tree_quota_check(t, jstr_of("/ab"), cases[i].count, cases[i].bytes), ZK_OK);
        assert_int_equal(tree_quota_check(t, jstr_of("/"), cases[i].count, cases[i].bytes), ZK_OK);
        tree_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_follow),
        cmocka_unit_test(test_odd_places),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
