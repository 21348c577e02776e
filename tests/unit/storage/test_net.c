/* test_net.c - snapshots from leader to learner: a stream recorded from an Apache leader, our own in buffers
 * and chunks of every size, trees that change meanwhile, damage. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/str.h"
#include "store_util.h"

static const struct storage_config cfg = {.max_record = 1 << 16};

static struct tree *model(int64_t n)
{
    struct tree *t = tree_new(&(struct tree_options){0});
    for (int64_t z = 1; z <= n; z++) {
        struct wr txn = history_txn(z);
        apply_txn(t, &txn);
        wr_free(&txn);
    }
    return t;
}

/* The whole stream, taken in buffers of n bytes. */
static struct wr encode(struct tree *t, size_t n)
{
    struct wr out = wr_init(0);
    uint8_t *p = x_malloc(n);
    struct snap_encoder *e = snap_encoder_new(t, NULL);
    assert_int_equal(snap_encoder_zxid(e), tree_last_zxid(t));
    for (size_t got; (got = snap_encoder_read(e, p, n)) > 0;)
        wr_bytes(&out, p, got);
    snap_encoder_free(e);
    free(p);
    return out;
}

/* Feeds chunks of n bytes; returns the rc, and in *ret_used the bytes of the stream. */
static int decode(const struct storage_config *c, struct buf in, size_t n, int64_t zxid, struct tree **ret,
                  size_t *ret_used)
{
    struct snap_decoder *d = snap_decoder_new(c);
    struct storage_error err;
    int rc = RC_SHORT;
    size_t at = 0, used = 0;
    while (rc == RC_SHORT && at < in.n) {
        size_t part = MIN(n, in.n - at);
        uint8_t *copy = x_memdup(in.p + at, part); /* so that the sanitizer sees every read beyond */
        rc = snap_decoder_feed(d, copy, part, &used, &err);
        free(copy);
        if (rc == RC_SHORT)
            assert_int_equal(used, part);
        if (rc == 0 || rc == RC_SHORT)
            at += used;
    }
    if (rc == 0) {
        rc = snap_decoder_take(d, zxid, ret, &err);
        *ret_used = at;
    } else if (rc != RC_SHORT) {
        assert_non_null(strstr(err.text, "snapshot stream"));
        assert_int_equal(snap_decoder_feed(d, "", 1, &used, &err), rc); /* errors stay */
    }
    snap_decoder_free(d);
    return rc;
}

static void check_same(struct tree *a, struct tree *b)
{
    char *want = describe_tree(a), *got = describe_tree(b);
    assert_string_equal(got, want);
    free(want);
    free(got);
    tree_check(b);
}

/* What Apache's leader sent, and the packets behind it, which are not the decoder's. */
static void test_recorded(void **state)
{
    uint8_t *p;
    size_t n;
    assert_int_equal(file_read(TEST_FIXTURES "/zookeeper-quorum/snap-stream.bin", 1 << 20, &p, &n), 0);
    assert_int_equal(n, 1366);
    for (size_t chunk = 1; chunk <= n; chunk += chunk < 40 ? 1 : 331) {
        struct tree *t;
        size_t used;
        assert_int_equal(decode(&cfg, buf_of(p, n), chunk, 0x10000000d, &t, &used), 0);
        assert_int_equal(used, 1154);
        tree_load_settle(t);
        tree_check(t);
        assert_int_equal(tree_last_zxid(t), 0x10000000d);
        assert_int_equal(tree_session_count(t), 0);
        struct jbuf data = znode_data(tree_find(t, jstr_of("/a")));
        assert_true(data.n == 3 && memcmp(data.p, "two", 3) == 0);
        assert_non_null(tree_find(t, jstr_of("/after")));
        assert_int_equal(znode_child_count(tree_find(t, jstr_of("/"))), 8);
        /* Our stream of that tree is as long, and gives the same tree. The order of children is free. */
        struct wr again = encode(t, 4096);
        assert_int_equal(again.n, 1154);
        struct tree *copy;
        assert_int_equal(decode(&cfg, buf_of(again.p, again.n), 100, 0x10000000d, &copy, &used), 0);
        tree_load_settle(copy);
        check_same(t, copy);
        /* The tables, the root and the end are the same bytes. */
        assert_memory_equal(again.p, p, 82 + 12 + 8 + 60 - 8);
        assert_memory_equal(again.p + again.n - 19, p + 1154 - 19, 19);
        wr_free(&again);
        tree_free(copy);
        tree_free(t);
    }
    free(p);
}

static void test_every_size(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 7, 64, 1000, 4096, 65536, 1 << 20};
    struct tree *t = model(2000);
    struct wr whole = encode(t, 1 << 20);
    wr_u32(&whole, 0xdeadbeef); /* what follows on the connection */
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct wr w = encode(t, sizes[i]);
        assert_int_equal(w.n, whole.n - 4);
        assert_memory_equal(w.p, whole.p, w.n);
        struct tree *copy;
        size_t used;
        assert_int_equal(decode(&cfg, buf_of(whole.p, whole.n), sizes[i], 2000, &copy, &used), 0);
        assert_int_equal(used, w.n);
        tree_load_settle(copy);
        check_same(t, copy);
        tree_free(copy);
        wr_free(&w);
    }
    wr_free(&whole);
    tree_free(t);
}

/* Three learners at once, and an encoder given up half-way, while the tree changes: image and transactions
 * give the leader's tree. */
static void test_fuzzy(void **state)
{
    enum { LEARNERS = 3 };
    struct tree *t = model(6000);
    int64_t next = 6001;
    struct snap_encoder *e[LEARNERS] = {0};
    struct wr image[LEARNERS];
    int64_t zxid[LEARNERS];
    bool done[LEARNERS] = {false};
    struct snap_encoder *given_up = snap_encoder_new(t, NULL);
    uint8_t p[5000];
    for (int round = 0, left = LEARNERS; left > 0; round++) {
        for (int i = 0; i < LEARNERS; i++) {
            if (round < i * 20 || done[i])
                continue;
            if (!e[i]) {
                e[i] = snap_encoder_new(t, NULL);
                image[i] = wr_init(0);
                zxid[i] = snap_encoder_zxid(e[i]);
            }
            size_t got = snap_encoder_read(e[i], p, sizeof(p));
            wr_bytes(&image[i], p, got);
            if (got == 0) {
                done[i] = true;
                left--;
                snap_encoder_free(e[i]);
            }
        }
        if (round == 10)
            (void)snap_encoder_read(given_up, p, sizeof(p));
        if (round == 30)
            snap_encoder_free(given_up);
        for (int i = 0; i < 5; i++, next++) {
            struct wr txn = history_txn(next);
            apply_txn(t, &txn);
            wr_free(&txn);
        }
    }
    for (int i = 0; i < LEARNERS; i++) {
        struct tree *copy;
        size_t used;
        assert_int_equal(decode(&cfg, buf_of(image[i].p, image[i].n), 777, zxid[i], &copy, &used), 0);
        for (int64_t z = zxid[i] + 1; z < next; z++) {
            struct wr txn = history_txn(z);
            apply_txn(copy, &txn);
            wr_free(&txn);
        }
        tree_load_settle(copy);
        check_same(t, copy);
        tree_free(copy);
        wr_free(&image[i]);
    }
    tree_free(t);
}

static void test_damage(void **state)
{
    struct tree *t = model(40), *copy;
    struct wr w = encode(t, 4096);
    size_t used;
    for (size_t n = 0; n < w.n; n++)
        assert_int_equal(decode(&cfg, buf_of(w.p, n), 50, 40, &copy, &used), RC_SHORT);
    for (size_t at = 0; at < w.n;
         at++) { /* there is no checksum: most changes are a different tree, none may hurt */
        w.p[at] ^= 0x80;
        int rc = decode(&cfg, buf_of(w.p, w.n), 50, 40, &copy, &used);
        if (rc == 0) {
            tree_load_settle(copy);
            tree_check(copy);
            tree_free(copy);
        }
        assert_true(rc == 0 || rc == RC_SHORT || rc == RC_CORRUPT || rc == RC_TOOBIG);
        w.p[at] ^= 0x80;
    }
    w.p[w.n - 1] = 'E';
    assert_int_equal(decode(&cfg, buf_of(w.p, w.n), 50, 40, &copy, &used), RC_CORRUPT);
    wr_free(&w);
    tree_free(t);
}

/* A node that claims more than max_record is refused as soon as so much has come, not when all of it has. */
static void test_limit(void **state)
{
    struct wr w = wr_init(0);
    wr_u32(&w, 0);
    wr_u32(&w, 0);
    jute_write_str(&w, jstr_of(""));
    wr_u32(&w, INT32_MAX);
    for (int i = 0; i < 100000; i++)
        wr_u8(&w, 'x');
    struct tree *t;
    size_t used;
    assert_int_equal(decode(&cfg, buf_of(w.p, w.n), 4096, 1, &t, &used), RC_TOOBIG);
    w.n = 70000;
    assert_int_equal(decode(&cfg, buf_of(w.p, w.n - 1000), 4096, 1, &t, &used), RC_SHORT);
    wr_free(&w);
    /* no root */
    static const uint8_t empty[] = "\0\0\0\0\0\0\0\0\0\0\0\1/\0\0\0\012BenWasHere";
    assert_int_equal(decode(&cfg, buf_of(empty, sizeof(empty) - 1), 5, 1, &t, &used), RC_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_every_size), cmocka_unit_test(test_fuzzy),
        cmocka_unit_test(test_damage),   cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
