/* test_tree.c - golden values and the rules of applying, one by one. */
#include "util.h"

#include <stdio.h>

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
    static const char *const refused[] = { "/", "", "a", "/a/", "/x/y", "//y", "//", "/a//y" };
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

/* Replays over a fuzzy snapshot (spec 6.5). */
static void test_replay_of_create(void **state)
{
    (void)state;
    static const struct {
        int32_t type, cversion;
        int32_t want_cversion;
        int64_t want_pzxid;
    } cases[] = {
        { ZK_OP_CREATE, 1, 5, 3 },   { ZK_OP_CREATE, 5, 5, 3 },   { ZK_OP_CREATE, 6, 6, 20 },
        { ZK_OP_CREATE, -1, 6, 20 }, { ZK_OP_CREATE2, 6, 5, 3 }, { ZK_OP_CREATE_CONTAINER, 6, 5, 3 },
    };
    static struct jacl read_entry = { 1, { "world", 5 }, { "anyone", 6 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tree *t = tree_new(NULL);
        print_message("case %zu\n", i);
        util_create(t, 2, "/p", "", 0);
        util_create_as(t, 3, ZK_OP_CREATE, "/p/n", "old", util_open, 0, 5, 0);
        assert_int_equal(util_create_as(t, 20, cases[i].type, "/p/n", "new", (struct jacls){ &read_entry, 1 }, 0,
                                        cases[i].cversion, 0),
                         ZK_NODEEXISTS);
        struct zk_stat_persisted s;
        znode_stat_persisted(tree_find(t, jstr_of("/p")), &s);
        assert_int_equal(s.cversion, cases[i].want_cversion);
        assert_int_equal(s.pzxid, cases[i].want_pzxid);
        const struct znode *n = tree_find(t, jstr_of("/p/n"));
        assert_int_equal(znode_data(n).n, 3);
        assert_memory_equal(znode_data(n).p, "old", 3);
        assert_int_equal(tree_acl(t, n).v[0].perms, 1); /* 3.9.5: the creation's ACL comes back */
        tree_check(t);
        tree_free(t);
    }
}

static void test_delete_of_missing_raises_pzxid(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    util_create(t, 5, "/p", "", 0);
    assert_int_equal(util_delete(t, 9, "/p/gone"), ZK_NONODE);
    assert_int_equal(util_stat(t, "/p").pzxid, 9);
    assert_int_equal(util_stat(t, "/p").cversion, 0);
    assert_int_equal(util_delete(t, 7, "/p/gone"), ZK_NONODE);
    assert_int_equal(util_stat(t, "/p").pzxid, 9);
    assert_int_equal(util_set(t, 10, "/p/gone", "", 1), ZK_NONODE);
    assert_int_equal(util_set_acl(t, 11, "/p/gone", util_open, 1), ZK_NONODE);
    assert_int_equal(tree_last_zxid(t), 11);
    tree_check(t);
    tree_free(t);
}

/* The counter ends at 2^31 - 1: what comes after is not larger and is ignored (spec 3.4). */
static void test_cversion_overflow(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    util_create(t, 1, "/p", "", 0);
    assert_int_equal(util_create_as(t, 2, ZK_OP_CREATE, "/p/a", "", util_open, 0, INT32_MAX, 0), ZK_OK);
    assert_int_equal(util_create_as(t, 3, ZK_OP_CREATE, "/p/b", "", util_open, 0, INT32_MIN + 1, 0), ZK_OK);
    struct zk_stat_persisted s;
    znode_stat_persisted(tree_find(t, jstr_of("/p")), &s);
    assert_int_equal(s.cversion, INT32_MAX);
    assert_int_equal(s.pzxid, 2);
    assert_int_equal(util_stat(t, "/p").cversion, -4); /* 2 * (2^31 - 1) - 2, in 32 bits */
    tree_check(t);
    tree_free(t);
}

static void test_multi_results(void **state)
{
    (void)state;
    static const struct {
        const char *ops; /* c create, d delete, s setData, k check, e error */
        int32_t err, errs[4];
        bool done;
    } cases[] = {
        { "", ZK_OK, { 0 }, false },
        { "cs", ZK_OK, { 0, 0 }, true },
        { "ke", ZK_BADVERSION, { 0, ZK_BADVERSION }, false },
        { "cse", ZK_BADVERSION, { 0, 0, ZK_BADVERSION }, false },
        { "ces", ZK_BADVERSION, { 0, ZK_BADVERSION, ZK_RUNTIMEINCONSISTENCY }, false },
        { "ecs", ZK_BADVERSION, { ZK_BADVERSION, ZK_RUNTIMEINCONSISTENCY, ZK_RUNTIMEINCONSISTENCY }, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: '%s'\n", cases[i].ops);
        struct tree *t = tree_new(NULL);
        uint64_t before = tree_digest(t);
        struct txn x = { .h = util_header(1, ZK_OP_MULTI, 1) };
        wr_i32(&x.body, (int32_t)strlen(cases[i].ops));
        for (const char *op = cases[i].ops; *op; op++) {
            struct wr sub = wr_init(0);
            int32_t type = *op == 'c' ? ZK_OP_CREATE2 : *op == 's' ? ZK_OP_SET_DATA : *op == 'k' ? ZK_OP_CHECK : ZK_OP_ERROR;
            if (*op == 'c') {
                util_write_create(&sub, type, jstr_of("/m"), util_data("x"), util_open, false, 1, 0);
            } else if (*op == 'e') {
                wr_i32(&sub, ZK_BADVERSION);
            } else {
                jute_write_str(&sub, jstr_of("/m"));
                if (*op == 's')
                    jute_write_buf(&sub, util_data("four"));
                wr_i32(&sub, 1);
            }
            wr_i32(&x.body, type);
            jute_write_buf(&x.body, (struct jbuf){ sub.p, (int32_t)sub.n });
            wr_free(&sub);
        }
        struct arena a = arena_init();
        struct tree_result r;
        assert_int_equal(util_apply(t, &x, &a, &r), cases[i].err);
        assert_int_equal(r.sub_count, strlen(cases[i].ops));
        for (int32_t k = 0; k < r.sub_count; k++) {
            assert_int_equal(r.sub[k].err, cases[i].errs[k]);
            assert_int_equal(r.sub[k].type == ZK_OP_ERROR, !cases[i].done);
        }
        if (cases[i].done) {
            assert_int_equal(r.sub[0].stat.version, 0); /* as it was at that step */
            assert_int_equal(r.sub[0].stat.data_length, 1);
            assert_int_equal(r.sub[1].stat.data_length, 4);
        } else {
            assert_int_equal(tree_digest(t), before);
        }
        assert_int_equal(tree_last_zxid(t), 1);
        arena_free(&a);
        wr_free(&x.body);
        tree_free(t);
    }
}

/* Bodies as older servers wrote them, and bodies cut short: refused whole, or understood. */
static void test_bodies(void **state)
{
    (void)state;
    struct arena a = arena_init();
    struct tree_result r;
    struct tree *t = tree_new(NULL);
    assert_int_equal(util_create_as(t, 1, ZK_OP_CREATE, "/old", "x", util_open, 0, NO_CVERSION, 0), ZK_OK);
    assert_int_equal(util_create_as(t, 2, ZK_OP_CREATE, "/old2", "x", util_open, 0, NO_CVERSION, 0), ZK_OK);
    struct zk_stat_persisted s;
    znode_stat_persisted(tree_find(t, jstr_of("/")), &s);
    assert_int_equal(s.cversion, 2);
    util_session(t, 3, 9, 4000);
    util_create(t, 4, "/e", "", 9);
    struct txn close = { .h = util_header(5, ZK_OP_CLOSE_SESSION, 9) }; /* without a body */
    assert_int_equal(util_run(t, &close), ZK_OK);
    assert_null(tree_find(t, jstr_of("/e")));
    assert_false(tree_session_known(t, 9));

    static const uint8_t digest_only[12] = { 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0 };
    size_t len = 99;
    assert_int_equal(tree_txn_body_len(&close.h, buf_of(digest_only, 12), &a, &len), 0);
    assert_int_equal(len, 0);

    struct txn x = { .h = util_header(6, ZK_OP_CREATE_TTL, 1) };
    util_write_create(&x.body, ZK_OP_CREATE_TTL, jstr_of("/t"), util_data("x"), util_open, false, 3, 1000);
    uint64_t before = tree_digest(t);
    for (size_t n = 0; n < x.body.n; n++) {
        assert_int_equal(tree_apply(t, &x.h, buf_of(x.body.p, n), &a, &r), RC_MALFORMED);
        assert_int_equal(tree_txn_body_len(&x.h, buf_of(x.body.p, n), &a, &len), RC_MALFORMED);
    }
    size_t whole = x.body.n;
    wr_text(&x.body, "a digest..."); /* what follows is not the body's */
    assert_int_equal(tree_txn_body_len(&x.h, buf_of(x.body.p, x.body.n), &a, &len), 0);
    assert_int_equal(len, whole);
    x.h.type = 99;
    assert_int_equal(tree_apply(t, &x.h, buf_of(x.body.p, x.body.n), &a, &r), RC_MALFORMED);
    assert_int_equal(tree_digest(t), before);
    assert_int_equal(tree_last_zxid(t), 5);
    wr_free(&x.body);
    arena_free(&a);
    tree_free(t);
}

static void collect(void *data, const struct znode *n)
{
    struct arena a = arena_init();
    struct wr *w = data;
    struct jstr p = znode_path(n, &a);
    wr_bytes(w, p.p, (size_t)p.n);
    wr_text(w, " ");
    arena_free(&a);
}

static void test_kinds_and_reaping(void **state)
{
    (void)state;
    struct tree *t = tree_new(&(struct tree_options){ .extended_types = true }), *plain = tree_new(NULL);
    const int64_t ttl_owner = (int64_t)UINT64_C(0xff000000000003e8);
    int64_t ttl = 0;
    assert_int_equal(tree_owner_kind(t, 0, NULL), ZNODE_PERSISTENT);
    assert_int_equal(tree_owner_kind(t, 77, NULL), ZNODE_EPHEMERAL);
    assert_int_equal(tree_owner_kind(t, INT64_MIN, NULL), ZNODE_CONTAINER);
    assert_int_equal(tree_owner_kind(t, ttl_owner, &ttl), ZNODE_TTL);
    assert_int_equal(ttl, 1000);
    assert_int_equal(tree_owner_kind(plain, ttl_owner, NULL), ZNODE_EPHEMERAL);

    /* Times are 1700000000000 + zxid. */
    util_create_as(t, 1, ZK_OP_CREATE_CONTAINER, "/c", "", util_open, 0, 1, 0);
    util_create_as(t, 2, ZK_OP_CREATE_TTL, "/t", "", util_open, 0, 2, 1000);
    util_create_as(t, 3, ZK_OP_CREATE_TTL, "/full", "", util_open, 0, 3, 1);
    util_create(t, 4, "/full/k", "", 0);
    util_create(t, 5, "/c/k", "", 0);
    assert_int_equal(util_create_as(t, 6, ZK_OP_CREATE_TTL, "/bad", "", util_open, 0, 4, 0), ZK_BADARGUMENTS);
    assert_int_equal(util_create_as(t, 6, ZK_OP_CREATE_TTL, "/bad", "", util_open, 0, 4, -5), ZK_BADARGUMENTS);
    assert_int_equal(util_stat(t, "/t").ephemeral_owner, 0);
    static const struct {
        int64_t after, never_used;
        const char *want_before, *want_after; /* before and after /c/k is deleted */
    } cases[] = {
        { 10, 0, "", "/c " }, { 1002, 0, "", "/c " }, { 1003, 0, "/t ", "/c /t " }, { 10, 5, "", "/c " },
    };
    for (int deleted = 0; deleted < 2; deleted++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct wr w = wr_init(0);
            tree_each_reapable(t, 1700000000000 + cases[i].after, cases[i].never_used, collect, &w);
            assert_string_equal(wr_cstr(&w), deleted ? cases[i].want_after : cases[i].want_before);
            wr_free(&w);
        }
        util_delete(t, 20, "/c/k");
    }
    struct wr w = wr_init(0);
    util_create_as(plain, 1, ZK_OP_CREATE_CONTAINER, "/never", "", util_open, 0, 1, 0);
    tree_each_reapable(plain, 1700000001001, 0, collect, &w);
    assert_string_equal(wr_cstr(&w), "");
    tree_each_reapable(plain, 1700000001001, 1000, collect, &w);
    assert_string_equal(wr_cstr(&w), "");
    tree_each_reapable(plain, 1700000001002, 1000, collect, &w);
    assert_string_equal(wr_cstr(&w), "/never ");
    wr_free(&w);
    tree_check(t);
    tree_free(plain);
    tree_free(t);
}

static void test_ephemerals(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    struct wr w = wr_init(0);
    struct arena a = arena_init();
    util_session(t, 1, 5, 1000);
    util_create(t, 2, "/a", "", 5);
    util_create(t, 3, "/ab", "", 5);
    util_create(t, 4, "/b", "", 5);
    util_create(t, 5, "/o", "", 6); /* of a session that is not in the table */
    static const struct {
        const char *prefix;
        int32_t n;
    } cases[] = { { NULL, 3 }, { "", 3 }, { "  ", 3 }, { "/", 3 }, { "/a", 2 }, { "/ab", 1 }, { "/c", 0 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        wr_reset(&w);
        tree_get_ephemerals(t, 5, jstr_of(cases[i].prefix), &w);
        struct rd r = rd_init(w.p, w.n);
        assert_int_equal(jute_read_strs(&r, &a).n, cases[i].n);
        assert_int_equal(r.rc, 0);
        assert_int_equal(rd_left(&r), 0);
    }
    assert_int_equal(tree_kill_orphans(t), 1);
    assert_null(tree_find(t, jstr_of("/o")));
    assert_int_equal(util_stat(t, "/").pzxid, 5);
    assert_int_equal(tree_kill_orphans(t), 0);
    assert_int_equal(tree_last_zxid(t), 5);
    wr_free(&w);
    arena_free(&a);
    tree_check(t);
    tree_free(t);
}

static void test_reads_and_acls(void **state)
{
    (void)state;
    static struct jacl entries[] = { { ZK_PERM_ALL, { "digest", 6 }, { "u:hash", 6 } }, { ZK_PERM_READ, { "ip", 2 }, { "10.0.0.1", 8 } } };
    struct tree *t = tree_new(NULL);
    struct auth_ids *nobody = auth_ids_new("10.0.0.9"), *reader = auth_ids_new("10.0.0.1"),
                    *owner = auth_ids_add(auth_ids_new("10.0.0.9"), "digest", "u:hash");
    util_create_as(t, 1, ZK_OP_CREATE, "/s", "secret", (struct jacls){ entries, 2 }, 0, 1, 0);
    const struct {
        const struct auth_ids *ids;
        bool skip;
        int32_t err;
        const char *digest; /* as getACL shows it */
    } cases[] = { { nobody, false, ZK_NOAUTH, NULL }, { reader, false, ZK_OK, "u:x" }, { owner, false, ZK_OK, "u:hash" },
                  { nobody, true, ZK_OK, "u:hash" }, { NULL, false, ZK_NOAUTH, NULL } };
    struct arena a = arena_init();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct zk_stat s;
        struct jbuf d;
        struct wr w = wr_init(0);
        int32_t count;
        print_message("case %zu\n", i);
        struct jstr path = jstr_of("/s"), none = jstr_of("/none");
        assert_int_equal(tree_get_data(t, path, cases[i].ids, cases[i].skip, &d, &s), cases[i].err);
        assert_int_equal(tree_exists(t, path, cases[i].ids, cases[i].skip, &s), cases[i].err);
        assert_int_equal(tree_count_descendants(t, path, cases[i].ids, cases[i].skip, &count), cases[i].err);
        assert_int_equal(tree_get_children(t, path, cases[i].ids, cases[i].skip, &w, &s), cases[i].err);
        assert_int_equal(tree_get_data(t, none, cases[i].ids, cases[i].skip, &d, &s), ZK_NONODE);
        assert_int_equal(tree_exists(t, none, cases[i].ids, cases[i].skip, &s), ZK_NONODE);
        wr_reset(&w);
        assert_int_equal(tree_get_acl(t, path, cases[i].ids, cases[i].skip, &w, &s), cases[i].err);
        if (cases[i].digest) {
            struct rd r = rd_init(w.p, w.n);
            struct jacls acl = jute_read_acls(&r, &a);
            assert_int_equal(acl.n, 2);
            assert_true(jstr_is(acl.v[0].id, cases[i].digest));
            assert_true(jstr_is(acl.v[1].id, "10.0.0.1"));
        }
        wr_free(&w);
    }
    arena_free(&a);
    auth_ids_unref(nobody);
    auth_ids_unref(reader);
    auth_ids_unref(owner);
    tree_free(t);
}

/* Ids count up from the highest seen, are shared by equal lists, and are not used again. */
static void test_acl_ids(void **state)
{
    (void)state;
    static struct jacl one[] = { { 1, { "ip", 2 }, { "1.1.1.1", 7 } }, { 2, { "ip", 2 }, { "2.2.2.2", 7 } } },
                       two[] = { { 2, { "ip", 2 }, { "2.2.2.2", 7 } }, { 1, { "ip", 2 }, { "1.1.1.1", 7 } } };
    struct tree *t = tree_new(NULL);
    const struct {
        const char *path;
        struct jacls acl;
        int64_t id;
    } cases[] = { { "/a", util_open, 2 }, { "/b", { one, 2 }, 3 }, { "/c", { two, 2 }, 4 }, { "/d", { one, 2 }, 3 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        util_create_as(t, (int64_t)i + 1, ZK_OP_CREATE, cases[i].path, "", cases[i].acl, 0, -1, 0);
        assert_int_equal(tree_acl_id(t, tree_find(t, jstr_of(cases[i].path))), cases[i].id);
    }
    assert_int_equal(tree_acl_count(t), 4);
    util_delete(t, 10, "/c");
    assert_int_equal(tree_acl_count(t), 3);
    util_set_acl(t, 11, "/a", util_open, 1); /* its only user lets go of it first */
    assert_int_equal(tree_acl_id(t, tree_find(t, jstr_of("/a"))), 5);
    util_set_acl(t, 12, "/b", (struct jacls){ two, 2 }, 1);
    assert_int_equal(tree_acl_id(t, tree_find(t, jstr_of("/b"))), 6);
    assert_int_equal(tree_acl_id(t, tree_find(t, jstr_of("/d"))), 3);
    tree_check(t);
    tree_free(t);
}

static void test_loading(void **state)
{
    (void)state;
    struct zk_stat_persisted s = { .czxid = 4 };
    struct jbuf x = util_data("x");
    struct tree *t = tree_load_begin(NULL);
    assert_int_equal(tree_load_node(t, jstr_of("/a"), x, 1, &s), RC_CORRUPT); /* before the root */
    assert_int_equal(tree_load_end(t, 1), RC_CORRUPT);
    assert_int_equal(tree_load_node(t, jstr_of(""), x, -1, &s), 0);
    assert_int_equal(tree_load_node(t, jstr_of(""), x, -1, &s), RC_CORRUPT);
    static const char *const bad[] = { "/", "a", "/none/a", "/a/", "//", "/x//y", "//y" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(tree_load_node(t, jstr_of(bad[i]), x, 1, &s), RC_CORRUPT);
    assert_int_equal(tree_load_node(t, (struct jstr){ NULL, 0 }, x, 1, &s), RC_CORRUPT);
    tree_load_acl(t, 7, util_open);
    tree_load_acl(t, 8, util_open);
    assert_int_equal(tree_load_node(t, jstr_of("/a"), x, 7, &s), 0);
    assert_int_equal(tree_load_node(t, jstr_of("/a"), x, 7, &s), RC_CORRUPT);
    assert_int_equal(tree_load_node(t, jstr_of("/u"), x, 99, &s), 0); /* an id that the map lacks */
    assert_int_equal(tree_load_end(t, 50), 0);
    assert_int_equal(tree_last_zxid(t), 50);
    assert_non_null(tree_find(t, jstr_of("/zookeeper/config")));
    assert_int_equal(tree_acl(t, tree_find(t, jstr_of("/u"))).n, -1);
    tree_load_settle(t);
    assert_int_equal(tree_acl_count(t), 2); /* 7 and that of /zookeeper/config; 8 has no user */
    struct auth_ids *ids = auth_ids_new("10.0.0.1");
    assert_int_equal(tree_exists(t, jstr_of("/u"), ids, false, &(struct zk_stat){ 0 }), ZK_NOAUTH);
    auth_ids_unref(ids);
    util_set_acl(t, 51, "/u", util_open, 1);
    assert_int_equal(tree_acl_id(t, tree_find(t, jstr_of("/u"))), 7);
    tree_check(t);
    tree_free(t);
    tree_free(NULL);
}

/* The index splits its segments and the nodes grow and shrink under their children. */
static void test_many_nodes(void **state)
{
    (void)state;
    enum { N = 30000 };
    struct tree *t = tree_new(NULL);
    char path[64], data[64];
    util_create(t, 1, "/d", "", 0);
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/d/n%d", i);
        snprintf(data, sizeof(data), "%d", i);
        assert_int_equal(util_create(t, i + 2, path, data, 0), ZK_OK);
    }
    tree_check(t);
    static const char *const sizes[] = { "short", "much longer than it was before, so that it stands elsewhere", "", NULL,
                                         "long again, and again elsewhere, as long as it takes to be long" };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        util_set(t, N + 10 + (int64_t)i, "/d", sizes[i], 1);
        struct jbuf d = znode_data(tree_find(t, jstr_of("/d")));
        assert_int_equal(d.n, sizes[i] ? strlen(sizes[i]) : 0);
        if (d.n > 0)
            assert_memory_equal(d.p, sizes[i], d.n);
    }
    for (int i = 0; i < N; i += 2) {
        snprintf(path, sizeof(path), "/d/n%d", i);
        assert_int_equal(util_delete(t, 2 * N + i, path), ZK_OK);
    }
    tree_check(t);
    for (int i = 1; i < N; i += 2) {
        snprintf(path, sizeof(path), "/d/n%d", i);
        snprintf(data, sizeof(data), "%d", i);
        const struct znode *n = tree_find(t, jstr_of(path));
        assert_non_null(n);
        assert_memory_equal(znode_data(n).p, data, strlen(data));
    }
    int32_t count;
    assert_int_equal(tree_count_descendants(t, jstr_of("/d"), NULL, false, &count), ZK_OK);
    assert_int_equal(count, N / 2);
    assert_int_equal(tree_count_descendants(t, jstr_of("/"), NULL, false, &count), ZK_OK);
    assert_int_equal(count, N / 2 + 4);
    tree_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_lookup_of_odd_paths),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_null_and_empty_data),
        cmocka_unit_test(test_replay_of_create),
        cmocka_unit_test(test_delete_of_missing_raises_pzxid),
        cmocka_unit_test(test_cversion_overflow),
        cmocka_unit_test(test_multi_results),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_kinds_and_reaping),
        cmocka_unit_test(test_ephemerals),
        cmocka_unit_test(test_reads_and_acls),
        cmocka_unit_test(test_acl_ids),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_many_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
