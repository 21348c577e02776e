/* test_apache_dir.c - a data directory that Apache's server wrote recovers to exactly the tree that its clients saw. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "base/str.h"
#include "store_util.h"

#define FIXTURE TEST_FIXTURES "/zookeeper-data/apache-3.8"

static struct storage_config config(struct faultfs *fs)
{
    return (struct storage_config){ .vfs = faultfs_vfs(fs), .data_dir = "/data", .tree = { .extended_types = true } };
}

static void check_int(const json_t *want, const char *key, int64_t got)
{
    json_int_t w = json_integer_value(json_object_get(want, key));
    if (w != got)
        fail_msg("%s: want %lld, got %lld", key, (long long)w, (long long)got);
}

static void check_node(const struct tree *t, const char *path, const json_t *want)
{
    print_message("%s\n", path);
    const struct znode *n = tree_find(t, jstr_of(path));
    assert_non_null(n);
    struct zk_stat s;
    znode_stat(t, n, &s);
    check_int(want, "czxid", s.czxid);
    check_int(want, "mzxid", s.mzxid);
    check_int(want, "pzxid", s.pzxid);
    check_int(want, "ctime", s.ctime);
    check_int(want, "mtime", s.mtime);
    check_int(want, "version", s.version);
    check_int(want, "cversion", s.cversion);
    check_int(want, "aversion", s.aversion);
    check_int(want, "ephemeralOwner", s.ephemeral_owner);
    check_int(want, "dataLength", s.data_length);
    check_int(want, "numChildren", s.num_children);
    struct jbuf data = znode_data(n);
    char *text = base64_encode(data.p, (size_t)data.n);
    assert_string_equal(text, json_string_value(json_object_get(want, "data")));
    free(text);
    struct jacls acl = tree_acl(t, n);
    const json_t *acls = json_object_get(want, "acl");
    assert_int_equal(acl.n, json_array_size(acls));
    for (int32_t i = 0; i < acl.n; i++) {
        const json_t *a = json_array_get(acls, (size_t)i);
        assert_int_equal(acl.v[i].perms, json_integer_value(json_array_get(a, 0)));
        assert_true(jstr_is(acl.v[i].scheme, json_string_value(json_array_get(a, 1))));
        assert_true(jstr_is(acl.v[i].id, json_string_value(json_array_get(a, 2))));
    }
}

static void check_tree(const struct tree *t)
{
    json_error_t e;
    json_t *doc = json_load_file(FIXTURE "/tree.json", 0, &e), *node;
    assert_non_null(doc);
    json_t *nodes = json_object_get(doc, "nodes");
    const char *path;
    json_object_foreach (nodes, path, node)
        check_node(t, path, node);
    int32_t below;
    assert_int_equal(tree_count_descendants(t, jstr_of("/"), NULL, true, &below), ZK_OK);
    assert_int_equal(below + 1, json_object_size(nodes));
    json_decref(doc);
    tree_check(t);
}

static struct tree *recover(struct faultfs *fs, struct storage_recovered *ret)
{
    struct storage_config cfg = config(fs);
    struct storage_error err = { 0 };
    if (storage_recover(&cfg, NULL, NULL, ret, &err) < 0)
        fail_msg("%s", err.text);
    return ret->tree;
}

/* Snapshot and log behind it; then the log from each older snapshot, from the first on. */
static void test_every_snapshot(void **state)
{
    static const char *const snapshots[] = { "97", "73", "51", "21", "0" };
    struct faultfs *fs = faultfs_new(1);
    faultfs_import(fs, FIXTURE "/version-2", "/data/version-2");
    char *first = NULL;
    for (size_t i = 0; i < ARRAY_LEN(snapshots); i++) {
        print_message("from snapshot.%s\n", snapshots[i]);
        struct storage_recovered r;
        struct tree *t = recover(fs, &r);
        assert_int_equal(r.snapshot_zxid, strtoll(snapshots[i], NULL, 16));
        assert_int_equal(r.last_zxid, 0xae);
        assert_false(r.created);
        check_tree(t);
        char *text = describe_tree(t); /* the sessions too: rebuilt from the log alone in the end */
        if (first)
            assert_string_equal(text, first);
        else
            first = x_strdup(text);
        free(text);
        tree_free(t);
        char path[64];
        snprintf(path, sizeof(path), "/data/version-2/snapshot.%s", snapshots[i]);
        faultfs_delete(fs, path);
    }
    free(first);
    faultfs_free(fs);
}

/* The digest that Apache logged with the last transaction that carries one is the digest of our tree. */
static void test_digest(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    faultfs_import(fs, FIXTURE "/version-2", "/data/version-2");
    struct storage_recovered rec;
    struct tree *t = recover(fs, &rec);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog_reader *r;
    struct txn_header h;
    struct buf txn;
    uint64_t logged = 0;
    int records = 0, rc;
    assert_int_equal(txnlog_reader_open(&cfg, 1, &r, &err), 0);
    while ((rc = txnlog_reader_next(r, &h, &txn, &err)) > 0) {
        struct arena a = arena_init();
        struct buf body = buf_of(txn.p + 32, txn.n - 32);
        size_t len;
        assert_int_equal(tree_txn_body_len(&h, body, &a, &len), 0);
        if (body.n - len == 12)
            logged = load_u64(body.p + len + 4);
        arena_free(&a);
        records++;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(records, 0xae);
    assert_int_equal(logged, tree_digest(t));
    txnlog_reader_close(r);
    tree_free(t);
    faultfs_free(fs);
}

static void test_compressed(void **state)
{
    static const char *const names[] = { "snapshot.ae.gz", "snapshot.ae.snappy" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct faultfs *fs = faultfs_new(1);
        char from[512], to[64];
        snprintf(from, sizeof(from), "%s/%s", FIXTURE, names[i]);
        snprintf(to, sizeof(to), "/data/version-2/%s", names[i]);
        uint8_t *p;
        size_t n;
        assert_int_equal(file_read(from, 1 << 20, &p, &n), 0);
        faultfs_put(fs, to, p, n);
        free(p);
        struct storage_recovered r;
        struct tree *t = recover(fs, &r);
        assert_int_equal(r.last_zxid, 0xae);
        check_tree(t);
        tree_free(t);
        faultfs_free(fs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_snapshot),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_compressed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
