/* test_apache.c - the transaction logs of an Apache server, applied one by one: after each the tree's digest must be the one
 * that Apache wrote behind the transaction, and at the end the tree must be what a client read from it. */
#include "util.h"

#include <jansson.h>
#include <stdio.h>

#include "base/str.h"

static struct buf read_fixture(const char *name)
{
    char path[512];
    uint8_t *p;
    size_t n;
    snprintf(path, sizeof(path), "%s/apache-3.8/%s", FIXTURES, name);
    assert_int_equal(file_read(path, 1 << 20, &p, &n), 0);
    return buf_of(p, n);
}

static size_t apply_log(struct tree *t, const char *name, size_t *digests)
{
    struct buf file = read_fixture(name);
    struct rd r = rd_init(file.p + 16, file.n - 16);
    struct arena a = arena_init();
    size_t count = 0;
    while (rd_left(&r) > 12) {
        rd_u64(&r); /* checksum */
        struct jbuf txn = jute_read_buf(&r);
        if (txn.n == 0)
            break; /* padding */
        assert_int_equal(rd_u8(&r), 'B');
        struct rd x = rd_init(txn.p, (size_t)txn.n);
        struct txn_header h;
        txn_header_read(&x, &a, &h);
        struct buf body = buf_of(x.p, rd_left(&x));
        size_t len;
        struct tree_result res;
        assert_int_equal(tree_txn_body_len(&h, body, &a, &len), 0);
        assert_int_equal(tree_apply(t, &h, body, &a, &res), 0);
        assert_int_equal(tree_last_zxid(t), h.zxid);
        if (body.n - len >= 12) {
            struct rd d = rd_init(body.p + len, body.n - len);
            struct txn_digest digest;
            txn_digest_read(&d, &a, &digest);
            assert_int_equal(digest.version, 2);
            if ((uint64_t)digest.tree_digest != tree_digest(t))
                print_message("zxid %lld type %s\n", (long long)h.zxid, zk_op_name(h.type));
            assert_int_equal((uint64_t)digest.tree_digest, tree_digest(t));
            (*digests)++;
        }
        arena_reset(&a);
        count++;
    }
    arena_free(&a);
    free((void *)(uintptr_t)file.p);
    return count;
}

static int64_t field(const json_t *node, const char *name)
{
    const json_t *v = json_object_get(node, name);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void compare_acl(const struct tree *t, const struct znode *n, const json_t *want)
{
    struct jacls acl = tree_acl(t, n);
    assert_int_equal(acl.n, json_array_size(want));
    for (int32_t i = 0; i < acl.n; i++) {
        const json_t *e = json_array_get(want, (size_t)i);
        assert_int_equal(acl.v[i].perms, json_integer_value(json_array_get(e, 0)));
        assert_true(jstr_is(acl.v[i].scheme, json_string_value(json_array_get(e, 1))));
        assert_true(jstr_is(acl.v[i].id, json_string_value(json_array_get(e, 2))));
    }
}

static void compare_node(const struct tree *t, const char *path, const json_t *want)
{
    const struct znode *n = tree_find(t, jstr_of(path));
    struct zk_stat s;
    print_message("%s\n", path);
    assert_non_null(n);
    znode_stat(t, n, &s);
    const struct {
        const char *name;
        int64_t value;
    } fields[] = {
        { "czxid", s.czxid }, { "mzxid", s.mzxid }, { "pzxid", s.pzxid }, { "ctime", s.ctime }, { "mtime", s.mtime },
        { "version", s.version }, { "cversion", s.cversion }, { "aversion", s.aversion },
        { "ephemeralOwner", s.ephemeral_owner }, { "dataLength", s.data_length }, { "numChildren", s.num_children },
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        assert_int_equal(fields[i].value, field(want, fields[i].name));
    const json_t *data = json_object_get(want, "data");
    struct jbuf have = znode_data(n);
    uint8_t *bytes = NULL;
    int64_t len = json_is_string(data) ? base64_decode(json_string_value(data), json_string_length(data), &bytes) : 0;
    assert_int_equal(have.n, len);
    if (len > 0)
        assert_memory_equal(have.p, bytes, (size_t)len);
    free(bytes);
    compare_acl(t, n, json_object_get(want, "acl"));
}

static void test_logs(void **state)
{
    (void)state;
    struct tree *t = tree_new(&(struct tree_options){ .extended_types = true });
    static const char *const logs[] = { "version-2/log.1", "version-2/log.23", "version-2/log.53", "version-2/log.75",
                                        "version-2/log.99" };
    size_t count = 0, digests = 0;
    for (size_t i = 0; i < ARRAY_LEN(logs); i++)
        count += apply_log(t, logs[i], &digests);
    print_message("%zu transactions, %zu digests\n", count, digests);
    assert_true(count > 150);
    assert_true(digests > 100);
    tree_check(t);

    struct buf text = read_fixture("tree.json");
    json_error_t err;
    json_t *root = json_loadb((const char *)text.p, text.n, 0, &err), *nodes = json_object_get(root, "nodes");
    assert_true(json_object_size(nodes) > 50);
    const char *path;
    json_t *node;
    json_object_foreach(nodes, path, node) compare_node(t, path, node);
    struct tree_stats st;
    tree_stats(t, &st);
    assert_int_equal(st.nodes, json_object_size(nodes) + 1);
    json_decref(root);
    free((void *)(uintptr_t)text.p);
    tree_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_logs) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
