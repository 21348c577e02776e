/* test_tree.c - golden values and the rules of applying, one by one. */
#include "util.h"

static void test_fresh(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    assert_int_equal(tree_digest(t), 0x51c6d660); /* as the reference prints it in its first transaction */
    static const struct {
        const char *path;
        int32_t cversion, children, aversion;
        int64_t acl_id;
    } nodes[] = {
        { "/", -1, 1, 0, -1 },
        { "", -1, 1, 0, -1 },
        { "/zookeeper", -2, 2, 0, -1 },
        { "/zookeeper/quota", 0, 0, 0, -1 },
        { "/zookeeper/config", 0, 0, -1, 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        struct zk_stat s = util_stat(t, nodes[i].path);
        print_message("case: '%s'\n", nodes[i].path);
        assert_int_equal(s.cversion, nodes[i].cversion);
        assert_int_equal(s.num_children, nodes[i].children);
        assert_int_equal(s.aversion, nodes[i].aversion);
        assert_int_equal(tree_acl_id(t, tree_find(t, jstr_of(nodes[i].path))), nodes[i].acl_id);
    }
    struct jacls config = tree_acl(t, tree_find(t, jstr_of("/zookeeper/config")));
    assert_int_equal(config.n, 1);
    assert_int_equal(config.v[0].perms, ZK_PERM_READ);
    int32_t count;
    assert_int_equal(tree_count_descendants(t, jstr_of("/"), NULL, false, &count), ZK_OK);
    assert_int_equal(count, 3);
    struct tree_stats st;
    tree_stats(t, &st);
    assert_int_equal(st.nodes, 5); /* the root counts twice, as in the reference's "Node count: 5" */
    assert_int_equal(st.data_bytes, 44);
    tree_check(t);
    tree_free(t);
}

static void test_lookup_of_odd_paths(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    assert_int_equal(util_create(t, 1, "/a", "x", 0), ZK_OK);
    assert_int_equal(util_create(t, 2, "/a/b", "x", 0), ZK_OK);
    static const char *const missing[] = { "a", "//", "/a/", "//a", "/a//b", "/b", "b", "/a/b/", "/a/b/c", "a/b", " " };
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        assert_null(tree_find(t, jstr_of(missing[i])));
    assert_null(tree_find(t, (struct jstr){ NULL, 0 }));
    assert_non_null(tree_find(t, jstr_of("/a/b")));
    static const char *const refused[] = { "/", "", "a", "/a/", "/x/y" };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_not_equal(util_create(t, 3, refused[i], "x", 0), ZK_OK);
        assert_int_not_equal(util_delete(t, 3, refused[i]), ZK_OK);
    }
    tree_check(t);
    tree_free(t);
}

/* What happens to whose stat (spec 3.3). */
static void test_stats(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    util_create(t, 10, "/a", "hi", 0);
    struct zk_stat s = util_stat(t, "/a"), root = util_stat(t, "/");
    assert_int_equal(s.czxid, 10);
    assert_int_equal(s.mzxid, 10);
    assert_int_equal(s.pzxid, 10);
    assert_int_equal(s.ctime, 1700000000010);
    assert_int_equal(s.mtime, 1700000000010);
    assert_int_equal(s.data_length, 2);
    assert_int_equal(root.pzxid, 10);
    assert_int_equal(root.mzxid, 0);
    assert_int_equal(root.cversion, 0); /* 2 * 1 - 2 */
    util_create(t, 11, "/a/b", NULL, 0);
    util_set(t, 12, "/a", "longer than it was before, by far", 1);
    util_set_acl(t, 13, "/a", util_open, 1);
    util_delete(t, 14, "/a/b");
    s = util_stat(t, "/a");
    assert_int_equal(s.czxid, 10);
    assert_int_equal(s.mzxid, 12);
    assert_int_equal(s.pzxid, 14);
    assert_int_equal(s.version, 1);
    assert_int_equal(s.aversion, 1);
    assert_int_equal(s.cversion, 2);
    assert_int_equal(s.num_children, 0);
    assert_int_equal(s.mtime, 1700000000012);
    assert_int_equal(tree_last_zxid(t), 14);
    tree_check(t);
    tree_free(t);
}

static void test_null_and_empty_data(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    util_create(t, 1, "/null", NULL, 0);
    util_create(t, 2, "/empty", "", 0);
    assert_null(znode_data(tree_find(t, jstr_of("/null"))).p);
    assert_non_null(znode_data(tree_find(t, jstr_of("/empty"))).p);
    util_set(t, 3, "/null", "", 1);
    util_set(t, 4, "/empty", NULL, 1);
    assert_non_null(znode_data(tree_find(t, jstr_of("/null"))).p);
    assert_null(znode_data(tree_find(t, jstr_of("/empty"))).p);
    tree_check(t);
    tree_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_lookup_of_odd_paths),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_null_and_empty_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
