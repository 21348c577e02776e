/* test_truncate.c - history cut off by a leader's order, replaced by its snapshot; the end of the log read
 * back. Crashes at every operation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/log.h"
#include "store_util.h"

#define DIR "/data/version-2/"

static struct storage_config config(struct faultfs *fs)
{
    return (struct storage_config){.vfs = faultfs_vfs(fs), .data_dir = "/data", .prealloc_bytes = 8 << 10};
}

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

static void check_equals_model(struct tree *t, int64_t n)
{
    struct tree *m = model(n);
    char *want = describe_tree(m), *got = describe_tree(t);
    assert_string_equal(got, want);
    free(want);
    free(got);
    tree_free(m);
    tree_check(t);
}

static void append(struct txnlog *l, int64_t from, int64_t to)
{
    struct storage_error err;
    for (int64_t z = from; z <= to; z++) {
        struct wr txn = history_txn(z);
        assert_int_equal(txnlog_append(l, z, buf_of(txn.p, txn.n), &err), 0);
        wr_free(&txn);
    }
}

static void write_log(const struct storage_config *cfg, int64_t from, int64_t to)
{
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(cfg, &l, &err), 0);
    append(l, from, to);
    txnlog_close(l);
}

static void write_snapshot(const struct storage_config *cfg, int64_t zxid)
{
    struct tree *t = model(zxid);
    struct storage_error err;
    int64_t z, bytes;
    assert_int_equal(snapshot_write(cfg, t, NULL, &z, &bytes, &err), 0);
    tree_free(t);
}

/* Changes below it as it is being written: it begins at 30 and ends at 40. */
static struct tree *fuzzy_tree;
static void fuzzy_lock(void *data)
{
}
static void fuzzy_unlock(void *data)
{
    while (tree_last_zxid(fuzzy_tree) < 40) {
        struct wr txn = history_txn(tree_last_zxid(fuzzy_tree) + 1);
        apply_txn(fuzzy_tree, &txn);
        wr_free(&txn);
    }
}

enum base { BASE_PLAIN, BASE_FUZZY, BASE_DAMAGED_SNAPSHOT, BASE_AFTER_SNAP, BASE_HOLE };

/* Snapshots 20 and 50; logs 1-20, 21-50, 51-80. */
static struct faultfs *base_disk(enum base base)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    write_snapshot(&cfg, 20);
    write_snapshot(&cfg, 50);
    write_log(&cfg, 1, 20);
    write_log(&cfg, 21, base == BASE_AFTER_SNAP ? 40 : 50);
    write_log(&cfg, 51, 80);
    if (base == BASE_FUZZY) {
        fuzzy_tree = model(30);
        struct snapshot_locks locks = { .lock = fuzzy_lock, .unlock = fuzzy_unlock };
        struct storage_error err;
        int64_t z, bytes;
        assert_int_equal(snapshot_write(&cfg, fuzzy_tree, &locks, &z, &bytes, &err), 0);
        assert_int_equal(z, 30);
        tree_free(fuzzy_tree);
    }
    if (base == BASE_DAMAGED_SNAPSHOT)
        faultfs_flip(fs, DIR "snapshot.32", 300, 1);
    if (base == BASE_HOLE)
        faultfs_flip(fs, DIR "log.15", 600, 1);
    return fs;
}

struct text {
    struct wr w;
};
static void add_file(void *data, const char *path, struct buf content)
{
    struct text *t = data;
    wr_printf(&t->w, "%s\n", path);
    wr_bytes(&t->w, content.p, content.n);
}
static struct wr disk_content(struct faultfs *fs)
{
    struct text t = {wr_init(0)};
    faultfs_each(fs, add_file, &t);
    return t.w;
}

static void check_recovers(const struct storage_config *cfg, int64_t zxid)
{
    struct storage_recovered r;
    struct storage_error err = {""};
    if (storage_recover(cfg, NULL, NULL, &r, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(r.last_zxid, zxid);
    check_equals_model(r.tree, zxid);
    tree_free(r.tree);
}

static void test_truncate(void **state)
{
    static const struct {
        enum base base;
        int64_t zxid;
        int64_t snapshot; /* that it begins from; -1: RC_NOTFOUND */
    } cases[] = {
        {BASE_PLAIN, 80, 50},          {BASE_PLAIN, 79, 50},
        {BASE_PLAIN, 51, 50},          {BASE_PLAIN, 50, 50},
        {BASE_PLAIN, 49, 20},          {BASE_PLAIN, 21, 20},
        {BASE_PLAIN, 20, 20},          {BASE_PLAIN, 0, 0},
        {BASE_PLAIN, 19, -1}, /* no snapshot to begin from */
        {BASE_PLAIN, 81, -1}, /* cut strictly: the reference would keep what follows a missing target */
        {BASE_PLAIN, 0x100000000, -1}, {BASE_FUZZY, 35, 20}, /* snapshot.1e has seen 40 */
        {BASE_FUZZY, 30, 20},          {BASE_FUZZY, 40, 30},
        {BASE_FUZZY, 45, 30},          {BASE_DAMAGED_SNAPSHOT, 60, 20},
        {BASE_AFTER_SNAP, 60, 50},     {BASE_AFTER_SNAP, 40, 20},
        {BASE_AFTER_SNAP, 45, -1}, /* in the gap that a snapshot from a leader left */
        {BASE_HOLE, 49, -1},           {BASE_HOLE, 60, -1}, /* in the file that recovery would begin with */
        {BASE_HOLE, 50, 50},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("base %d to %lld\n", (int)cases[i].base, (long long)cases[i].zxid);
        struct faultfs *fs = base_disk(cases[i].base);
        struct storage_config cfg = config(fs);
        struct wr before = disk_content(fs);
        struct storage_recovered r;
        struct storage_error err = {""};
        int64_t zxid = cases[i].zxid;
        int rc = storage_truncate(&cfg, zxid, &r, &err);
        if (cases[i].snapshot < 0) {
            assert_int_equal(rc, RC_NOTFOUND);
            assert_true(err.text[0] != 0);
            struct wr after = disk_content(fs);
            assert_true(before.n == after.n && memcmp(before.p, after.p, after.n) == 0);
            wr_free(&after);
        } else {
            if (rc < 0)
                fail_msg("%s", err.text);
            assert_int_equal(r.last_zxid, zxid);
            assert_int_equal(r.snapshot_zxid, cases[i].snapshot);
            check_equals_model(r.tree, zxid);
            tree_free(r.tree);
            check_recovers(&cfg, zxid);
            write_log(&cfg, zxid + 1, zxid + 30); /* the way is free for what comes instead */
            check_recovers(&cfg, zxid + 30);
        }
        wr_free(&before);
        faultfs_free(fs);
    }
}

/* The writer stays open over a truncation. */
static void test_open_writer(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_recovered r;
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    tree_free(r.tree);
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    append(l, 1, 50);
    assert_int_equal(txnlog_roll(l, &err), 0);
    assert_int_equal(storage_truncate(&cfg, 33, &r, &err), 0);
    tree_free(r.tree);
    append(l, 34, 40);
    assert_int_equal(txnlog_sync(l, &err), 0);
    assert_non_null(faultfs_get(fs, DIR "log.22").p);
    txnlog_close(l);
    check_recovers(&cfg, 40);
    faultfs_free(fs);
}

static int do_truncate(const struct storage_config *cfg, int64_t zxid)
{
    struct storage_recovered r;
    struct storage_error err;
    int rc = storage_truncate(cfg, zxid, &r, &err);
    if (rc == 0)
        tree_free(r.tree);
    return rc;
}

static int do_replace(const struct storage_config *cfg, int64_t zxid)
{
    struct tree *t = model(zxid);
    struct storage_error err;
    int rc = storage_replace(cfg, t, &err);
    tree_free(t);
    return rc;
}

/* What was logged before a leader's snapshot may have been withdrawn: no learner of ours may ever get it. */
static void check_no_log(const struct storage_config *cfg)
{
    struct txnlog_reader *reader;
    struct storage_error err;
    struct txn_header h;
    struct buf txn;

    assert_int_equal(txnlog_reader_open(cfg, 0, &reader, &err), 0);
    assert_int_equal(txnlog_reader_next(reader, &h, &txn, &err), 0);
    txnlog_reader_close(reader);
}

/* A snapshot from the leader, before, within and behind what is on disk. */
static void test_replace(void **state)
{
    static const int64_t zxids[] = {0, 7, 20, 33, 50, 51, 66, 80, 81, 200};
    for (size_t i = 0; i < ARRAY_LEN(zxids); i++)
        for (int base = 0; base <= BASE_HOLE; base++) {
            struct faultfs *fs = base_disk((enum base)base);
            struct storage_config cfg = config(fs);
            assert_int_equal(do_replace(&cfg, zxids[i]), 0);
            check_recovers(&cfg, zxids[i]);
            check_no_log(&cfg);
            write_log(&cfg, zxids[i] + 1, zxids[i] + 40);
            check_recovers(&cfg, zxids[i] + 40);
            faultfs_free(fs);
        }
}

/* The power goes at every operation; the directory then stands for a beginning of the old history that is not
 * shorter than the target, or for the target, and the order can be carried out again. */
static void test_crash_everywhere(void **state)
{
    static const struct {
        int (*run)(const struct storage_config *cfg, int64_t zxid);
        enum base base;
        int64_t zxid;
    } cases[] = {
        {do_truncate, BASE_PLAIN, 60},      {do_truncate, BASE_PLAIN, 50}, {do_truncate, BASE_PLAIN, 30},
        {do_truncate, BASE_AFTER_SNAP, 30}, {do_truncate, BASE_PLAIN, 0},  {do_replace, BASE_PLAIN, 30},
        {do_replace, BASE_PLAIN, 66},       {do_replace, BASE_PLAIN, 120}, {do_replace, BASE_AFTER_SNAP, 45},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct faultfs *fs = base_disk(cases[i].base);
        struct storage_config cfg = config(fs);
        int64_t first = faultfs_ops(fs);
        assert_int_equal(cases[i].run(&cfg, cases[i].zxid), 0);
        int64_t last = faultfs_ops(fs);
        faultfs_free(fs);
        int64_t low = MIN(80, cases[i].zxid), high = MAX(80, cases[i].zxid);
        for (int mode = 0; mode < FAULTFS_MODES; mode++) {
            for (int64_t op = first; op < last; op++) {
                fs = base_disk(cases[i].base);
                cfg = config(fs);
                faultfs_crash_at(fs, op);
                assert_true(cases[i].run(&cfg, cases[i].zxid) < 0 || op == last - 1);
                faultfs_restart(fs, (enum faultfs_crash_mode)mode);
                struct storage_recovered r;
                struct storage_error err = {""};
                if (storage_recover(&cfg, NULL, NULL, &r, &err) < 0)
                    fail_msg("case %zu mode %d operation %lld: %s", i, mode, (long long)(op - first),
                             err.text);
                assert_in_range(r.last_zxid, low, high);
                check_equals_model(r.tree, r.last_zxid);
                tree_free(r.tree);
                assert_int_equal(cases[i].run(&cfg, cases[i].zxid), 0);
                check_recovers(&cfg, cases[i].zxid);
                faultfs_free(fs);
            }
        }
    }
}

/* A disk that fails in between is never taken for "nothing was changed". */
static void test_failures(void **state)
{
    for (int64_t k = 0; k < 4; k++) {
        struct faultfs *fs = base_disk(BASE_PLAIN);
        struct storage_config cfg = config(fs);
        faultfs_sync_error_at(fs, k);
        int rc = do_truncate(&cfg, 60);
        assert_int_equal(rc, k == 0 ? RC_IO : 0);
        faultfs_free(fs);
        fs = base_disk(BASE_PLAIN);
        cfg = config(fs);
        faultfs_no_space_at(fs, 0);
        assert_int_equal(do_replace(&cfg, 60), RC_NOSPACE);
        check_recovers(&cfg, 80);
        faultfs_free(fs);
    }
}

/* ---- the end of the log ---- */

struct seen {
    int64_t first, last;
    int n;
};
static void see(void *data, const struct txn_header *h, struct buf txn)
{
    struct seen *s = data;
    struct wr want = history_txn(h->zxid);
    assert_true(buf_eq(txn, buf_of(want.p, want.n)));
    wr_free(&want);
    if (s->n++ == 0)
        s->first = h->zxid;
    else
        assert_int_equal(h->zxid, s->last + 1);
    s->last = h->zxid;
}

static void test_recent(void **state)
{
    static const struct {
        enum base base;
        int64_t last;
        int count, want;
    } cases[] = {
        {BASE_PLAIN, 80, 1, 1},          {BASE_PLAIN, 80, 30, 30},      {BASE_PLAIN, 80, 31, 31},
        {BASE_PLAIN, 80, INT32_MAX, 80}, {BASE_PLAIN, 80, 500, 80},  {BASE_PLAIN, 50, 500, 50},     {BASE_PLAIN, 64, 500, 64},
        {BASE_PLAIN, 81, 500, 0},        {BASE_PLAIN, 0, 500, 0},       {BASE_AFTER_SNAP, 80, 10, 10},
        {BASE_AFTER_SNAP, 80, 500, 30},  {BASE_AFTER_SNAP, 45, 500, 0}, {BASE_HOLE, 80, 30, 30},
        {BASE_HOLE, 80, 31, RC_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        struct faultfs *fs = base_disk(cases[i].base);
        struct storage_config cfg = config(fs);
        faultfs_put(fs, DIR "log.51", "", 0); /* the file that a crash left before its first record */
        struct seen s = {0};
        struct storage_error err;
        int n = storage_each_recent(&cfg, cases[i].last, cases[i].count, see, &s, &err);
        assert_int_equal(n, cases[i].want);
        assert_int_equal(s.n, MAX(n, 0));
        if (n > 0) {
            assert_int_equal(s.last, cases[i].last);
            assert_int_equal(s.first, cases[i].last - n + 1);
        }
        faultfs_free(fs);
    }
}

static void count_one(void *data, const struct txn_header *h, struct buf txn)
{
    int *n = data;
    (void)h, (void)txn;
    ++*n;
}

static bool log_joined(const struct storage_config *cfg, int64_t zxid)
{
    struct txnlog_reader *r;
    struct storage_error err;
    struct txn_header h;
    struct buf txn;
    int rc;
    assert_int_equal(txnlog_reader_open(cfg, zxid, &r, &err), 0);
    assert_false(txnlog_reader_joined(r)); /* nothing was read yet */
    while ((rc = txnlog_reader_next(r, &h, &txn, &err)) > 0)
        ;
    assert_int_equal(rc, 0);
    bool joined = txnlog_reader_joined(r);
    txnlog_reader_close(r);
    return joined;
}

/* Logged up to 58 of epoch 2, then a leader's snapshot of epoch 4, then epoch 5: what came between is in no log here. Apache's servers leave such
 * directories, and a crash right after such a snapshot. */
static void test_gap_behind_a_snapshot(void **state)
{
    static const struct {
        int64_t snapshot; /* -1: none */
        int n;
        bool joined;
    } cases[] = {{-1, 4, true},          {0x400000007, 2, false}, {0x500000000, 2, false}, {0x20000003a, 4, true},
                 {0x200000039, 4, true}, {0x500000001, 4, true},  {0x500000002, 4, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct faultfs *fs = faultfs_new(1);
        struct storage_config cfg = config(fs);
        struct storage_error err;
        write_log(&cfg, 0x200000039, 0x20000003a);
        write_log(&cfg, 0x500000001, 0x500000002);
        if (cases[i].snapshot >= 0) {
            char name[64];
            snprintf(name, sizeof(name), DIR "snapshot.%llx", (unsigned long long)cases[i].snapshot);
            faultfs_put(fs, name, "x", 1);
        }
        int n = 0;
        assert_int_equal(storage_each_recent(&cfg, 0x500000002, 100, count_one, &n, &err), cases[i].n);
        assert_int_equal(n, cases[i].n);
        assert_int_equal(log_joined(&cfg, 0x200000039), cases[i].joined);
        assert_true(log_joined(&cfg, 0x500000001));
        assert_false(log_joined(&cfg, 0x200000038)); /* never logged */
        assert_false(log_joined(&cfg, 0x500000003)); /* not yet */
        faultfs_free(fs);
    }
}

static void test_span(void **state)
{
    struct faultfs *fs = base_disk(BASE_PLAIN);
    struct storage_config cfg = config(fs);
    struct storage_log_span s;
    struct storage_error err;
    int64_t l1 = (int64_t)faultfs_get(fs, DIR "log.1").n, l2 = (int64_t)faultfs_get(fs, DIR "log.15").n,
            l3 = (int64_t)faultfs_get(fs, DIR "log.33").n,
            snap = (int64_t)faultfs_get(fs, DIR "snapshot.32").n;
    uint8_t *padded = x_calloc(1, (size_t)l3 + 5000);
    memcpy(padded, faultfs_get(fs, DIR "log.33").p, (size_t)l3);
    faultfs_put(fs, DIR "log.33", padded, (size_t)l3 + 5000);
    free(padded);
    static const struct {
        int64_t zxid;
        bool covered;
        int files;
    } cases[] = {{0, false, 3}, {1, true, 3}, {20, true, 3}, {21, true, 2}, {51, true, 1}, {1000, true, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(storage_log_span(&cfg, cases[i].zxid, &s, &err), 0);
        assert_int_equal(s.covered, cases[i].covered);
        assert_int_equal(s.log_bytes, (cases[i].files > 2 ? l1 : 0) + (cases[i].files > 1 ? l2 : 0) + l3);
        assert_int_equal(s.snapshot_bytes, snap);
    }
    faultfs_free(fs);
    fs = faultfs_new(1);
    cfg = config(fs);
    assert_int_equal(storage_log_span(&cfg, 5, &s, &err), 0);
    assert_false(s.covered);
    assert_int_equal(s.log_bytes + s.snapshot_bytes, 0);
    faultfs_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_open_writer),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_recent),
        cmocka_unit_test(test_gap_behind_a_snapshot),
        cmocka_unit_test(test_span),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
