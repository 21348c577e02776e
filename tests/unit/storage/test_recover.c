/* test_recover.c - snapshots and recovery over the disk that can be crashed: every trap of an Apache directory, crashes at every
 * operation over several lives, fuzzy snapshots. */
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
    return (struct storage_config){ .vfs = faultfs_vfs(fs), .data_dir = "/data", .prealloc_bytes = 8 << 10 };
}

/* The tree after the first n transactions of the history. */
static struct tree *model(int64_t n)
{
    struct tree_options opt = { 0 };
    struct tree *t = tree_new(&opt);
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

/* Writes transactions from..to of the history into one new log. */
static void write_log(const struct storage_config *cfg, int64_t from, int64_t to)
{
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(cfg, &l, &err), 0);
    for (int64_t z = from; z <= to; z++) {
        struct wr txn = history_txn(z);
        assert_int_equal(txnlog_append(l, z, buf_of(txn.p, txn.n), &err), 0);
        wr_free(&txn);
    }
    txnlog_close(l);
}

static void write_snapshot(const struct storage_config *cfg, int64_t zxid)
{
    struct tree *t = model(zxid);
    struct storage_error err;
    int64_t z, bytes;
    assert_int_equal(snapshot_write(cfg, t, NULL, &z, &bytes, &err), 0);
    assert_int_equal(z, zxid);
    tree_free(t);
}

/* What a killed process had written and not synced is found by the next one, which answers for it: a power cut must not take it back, nor what
 * comes behind it. */
static void test_found_is_durable(void **state)
{
    for (int mode = 0; mode < FAULTFS_MODES; mode++) {
        struct faultfs *fs = faultfs_new((uint64_t)mode + 1);
        struct storage_config cfg = config(fs);
        struct storage_recovered r;
        struct storage_error err;

        write_snapshot(&cfg, 0);
        write_log(&cfg, 1, 20);
        faultfs_lie(fs, true); /* the process is killed before its syncs */
        write_log(&cfg, 21, 30);
        faultfs_lie(fs, false);
        assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
        assert_int_equal(r.last_zxid, 30);
        tree_free(r.tree);
        write_log(&cfg, 31, 33);
        faultfs_restart(fs, (enum faultfs_crash_mode)mode);
        assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
        assert_int_equal(r.last_zxid, 33);
        check_equals_model(r.tree, 33);
        tree_free(r.tree);
        faultfs_free(fs);
    }
}

/* ---- snapshots ---- */

/* An empty directory gets snapshot.0, byte for byte as long as the reference's. */
static void test_fresh(void **state)
{
    static const struct {
        bool no_digest, no_zxid;
        size_t size;
    } cases[] = { { false, false, 478 }, { false, true, 457 }, { true, true, 424 }, { true, false, 445 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct faultfs *fs = faultfs_new(1);
        struct storage_config cfg = config(fs);
        cfg.tree.no_digest = cases[i].no_digest;
        cfg.no_last_zxid_section = cases[i].no_zxid;
        struct storage_recovered r;
        struct storage_error err;
        assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
        assert_true(r.created);
        tree_free(r.tree);
        struct buf f = faultfs_get(fs, DIR "snapshot.0");
        assert_int_equal(f.n, cases[i].size);
        /* header, no sessions, one ACL: id 1, READ for world:anyone */
        static const uint8_t head[] = "ZKSN\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1"
                                      "\0\0\0\1\0\0\0\1\0\0\0\5world\0\0\0\6anyone\0\0\0\0\0\0\0\0";
        assert_memory_equal(f.p, head, sizeof(head) - 1);
        assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
        assert_false(r.created);
        assert_int_equal(r.last_zxid, 0);
        tree_free(r.tree);
        faultfs_free(fs);
    }
}

static void test_formats_round_trip(void **state)
{
    static const char *const formats[] = { "", "gz", "snappy" };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct faultfs *fs = faultfs_new(1);
        struct storage_config cfg = config(fs);
        cfg.compression = formats[i];
        write_snapshot(&cfg, 1200); /* several windows of the compressors */
        struct storage_recovered r;
        struct storage_error err;
        assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
        assert_int_equal(r.last_zxid, 1200);
        check_equals_model(r.tree, 1200);
        tree_free(r.tree);
        faultfs_free(fs);
    }
}

/* Every proper prefix of a snapshot, and every flipped bit, is refused; where a section ends, a prefix is a snapshot of fewer sections. */
static void test_damaged_snapshots(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    write_snapshot(&cfg, 12);
    struct buf f = faultfs_get(fs, DIR "snapshot.c");
    struct storage_error err;
    struct tree *t;
    for (size_t n = 0; n < f.n; n++) {
        faultfs_put(fs, DIR "snapshot.d", f.p, n);
        int rc = snapshot_read(&cfg, DIR "snapshot.d", 13, &t, &err);
        bool whole = n == f.n - 21 || n == f.n - 21 - 33;
        assert_int_equal(rc, whole ? 0 : RC_CORRUPT);
        if (rc == 0)
            tree_free(t);
    }
    for (size_t at = 0; at < f.n; at++) {
        bool dbid = at >= 8 && at < 16;
        faultfs_flip(fs, DIR "snapshot.c", at, (uint8_t)(1 << at % 8));
        int rc = snapshot_read(&cfg, DIR "snapshot.c", 12, &t, &err);
        if (rc == 0)
            fail_msg("byte %zu%s was changed unseen", at, dbid ? " (dbid)" : "");
        faultfs_flip(fs, DIR "snapshot.c", at, (uint8_t)(1 << at % 8));
    }
    faultfs_free(fs);
}

/* The tree changes between the steps of the walk: snapshot plus log is the tree all the same. */
struct fuzzy {
    struct tree *t;
    int64_t next;
    int step, steps;
};

static void fuzzy_lock(void *data)
{
}

static void fuzzy_unlock(void *data)
{
    struct fuzzy *f = data;
    for (int i = 0; i < f->step; i++, f->next++) {
        struct wr txn = history_txn(f->next);
        apply_txn(f->t, &txn);
        wr_free(&txn);
    }
    f->steps++;
}

static void test_fuzzy(void **state)
{
    for (int step = 0; step <= 700; step += 35) {
        struct faultfs *fs = faultfs_new(1);
        struct storage_config cfg = config(fs);
        struct fuzzy f = { .t = model(20000), .next = 20001, .step = step };
        struct snapshot_locks locks = { .lock = fuzzy_lock, .unlock = fuzzy_unlock, .data = &f };
        struct storage_error err;
        int64_t zxid, bytes;
        assert_int_equal(snapshot_write(&cfg, f.t, &locks, &zxid, &bytes, &err), 0);
        assert_int_equal(zxid, 20000);
        assert_int_equal(bytes, faultfs_get(fs, DIR "snapshot.4e20").n);
        assert_true(f.steps > 3);
        int64_t last = f.next - 1;
        write_log(&cfg, 19990, MAX(last, 20000)); /* begins before the snapshot */
        struct storage_recovered r;
        if (storage_recover(&cfg, NULL, NULL, &r, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(r.last_zxid, last);
        char *want = describe_tree(f.t), *got = describe_tree(r.tree);
        assert_string_equal(got, want);
        free(want);
        free(got);
        tree_check(r.tree);
        tree_free(r.tree);
        tree_free(f.t);
        faultfs_free(fs);
    }
}

static void test_failed_snapshot(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct tree *t = model(5);
    struct tree_walk *w = tree_walk_begin(t); /* somebody else is writing one, too */
    struct storage_error err;
    int64_t zxid, bytes;
    faultfs_no_space_at(fs, 0);
    assert_int_equal(snapshot_write(&cfg, t, NULL, &zxid, &bytes, &err), RC_NOSPACE);
    faultfs_sync_error_at(fs, 0);
    assert_int_equal(snapshot_write(&cfg, t, NULL, &zxid, &bytes, &err), RC_IO);
    assert_null(faultfs_get(fs, DIR "snapshot.5").p); /* never under its name unless it is whole */
    assert_int_equal(snapshot_write(&cfg, t, NULL, &zxid, &bytes, &err), 0);
    tree_walk_end(w);
    tree_free(t);
    faultfs_free(fs);
}

/* A growing snapshot is handed to the disk in pieces, each byte once and in order; an error there is one of the snapshot. */
static int64_t written_back, pieces, fail_piece;
static int count_write_back(struct vfs_file *f, int64_t at, int64_t n)
{
    assert_int_equal(at, written_back);
    assert_in_range(n, 1 << 20, 2 << 20);
    written_back += n;
    return pieces++ == fail_piece ? RC_IO : 0;
}

static void test_write_back(void **state)
{
    struct tree *t = model(40000);
    for (fail_piece = -1; fail_piece < 2; fail_piece++) {
        struct faultfs *fs = faultfs_new(1);
        struct vfs vfs = *faultfs_vfs(fs);
        struct storage_config cfg = config(fs);
        struct storage_error err;
        int64_t zxid, bytes;
        vfs.write_back = count_write_back;
        cfg.vfs = &vfs;
        written_back = pieces = 0;
        int rc = snapshot_write(&cfg, t, NULL, &zxid, &bytes, &err);
        assert_int_equal(rc, fail_piece < 0 ? 0 : RC_IO);
        if (rc == 0)
            assert_in_range(bytes - written_back, 0, (1 << 20) - 1);
        else
            assert_null(faultfs_get(fs, DIR "snapshot.9c40").p);
        faultfs_free(fs);
    }
    assert_true(pieces > 1);
    tree_free(t);
}

/* ---- the traps of a directory ---- */

static void cut(struct faultfs *fs, const char *path, int64_t by)
{
    struct buf f = faultfs_get(fs, path);
    uint8_t *copy = x_memdup(f.p, f.n);
    faultfs_put(fs, path, copy, by >= 0 ? f.n - (size_t)by : (size_t)-by);
    free(copy);
}

static void zero(struct faultfs *fs, const char *path, size_t from, size_t to)
{
    struct buf f = faultfs_get(fs, path);
    uint8_t *copy = x_memdup(f.p, f.n);
    memset(copy + from, 0, to - from);
    faultfs_put(fs, path, copy, f.n);
    free(copy);
}

static void put_text(struct faultfs *fs, const char *path, const char *text)
{
    faultfs_put(fs, path, text, strlen(text));
}

/* Each starts from: snapshots 0x14 (20) and 0x32 (50); logs 1-20, 21-50, 51-80. */
static void trap_none(struct faultfs *fs)
{
}
static void trap_newest_snapshot_bad(struct faultfs *fs)
{
    faultfs_flip(fs, DIR "snapshot.32", 300, 1);
}
static void trap_newest_snapshot_short(struct faultfs *fs)
{
    cut(fs, DIR "snapshot.32", 7);
}
static void trap_all_snapshots_bad(struct faultfs *fs)
{
    faultfs_flip(fs, DIR "snapshot.32", 300, 1);
    faultfs_flip(fs, DIR "snapshot.14", 300, 1);
}
static void trap_no_snapshots(struct faultfs *fs)
{
    faultfs_delete(fs, DIR "snapshot.32");
    faultfs_delete(fs, DIR "snapshot.14");
}
static void trap_torn_tail(struct faultfs *fs)
{
    cut(fs, DIR "log.33", 3);
}
static void trap_empty_last_log(struct faultfs *fs)
{
    faultfs_put(fs, DIR "log.51", "", 0);
}
static void trap_short_header(struct faultfs *fs)
{
    faultfs_put(fs, DIR "log.51", "ZKLG\0\0", 6);
}
static void trap_header_only(struct faultfs *fs)
{
    faultfs_put(fs, DIR "log.51", "ZKLG\0\0\0\2\0\0\0\0\0\0\0\0", 16);
}
static void trap_foreign_file(struct faultfs *fs)
{
    put_text(fs, DIR "log.51", "this is not a transaction log");
}
static void trap_flip_in_middle(struct faultfs *fs)
{
    faultfs_flip(fs, DIR "log.33", 200, 4);
}
static void trap_flip_in_last_record(struct faultfs *fs)
{
    faultfs_flip(fs, DIR "log.33", faultfs_get(fs, DIR "log.33").n - 20, 4);
}
static void trap_zeros_in_middle(struct faultfs *fs)
{
    zero(fs, DIR "log.33", 100, 300);
}
static void trap_zero_end_in_middle(struct faultfs *fs)
{
    zero(fs, DIR "log.33", 300, 500); /* with the end mark; yet less than a sector: no disk does that in a crash */
}
static void trap_zeros_in_middle_of_older(struct faultfs *fs)
{
    zero(fs, DIR "log.15", 512, 1024);
    trap_newest_snapshot_bad(fs);
}
static void trap_lost_sector_of_last_batch(struct faultfs *fs)
{
    zero(fs, DIR "log.33", 1024, 1536);
}
static void trap_lost_sector_far_from_the_end(struct faultfs *fs)
{
    /* Thousands of acknowledged transactions follow: no crash loses that. */
    struct storage_config cfg = config(fs);
    faultfs_delete(fs, DIR "log.33");
    write_log(&cfg, 51, 20000);
    zero(fs, DIR "log.33", 1024, 1536);
}
static void trap_torn_middle_file(struct faultfs *fs)
{
    cut(fs, DIR "log.15", 3); /* log.33 begins with 51, 50 is gone; the snapshot 50 covers it */
}
static void trap_torn_middle_file_uncovered(struct faultfs *fs)
{
    cut(fs, DIR "log.15", 3);
    trap_newest_snapshot_bad(fs);
}
static void trap_torn_middle_file_rewritten(struct faultfs *fs)
{
    /* As a crash at 81 leaves it: a piece of a record, and the next life's file with the same zxid. */
    struct buf f = faultfs_get(fs, DIR "log.33");
    uint8_t *copy = x_malloc(f.n + 30);
    memcpy(copy, f.p, f.n);
    memcpy(copy + f.n, f.p + 16, 30);
    faultfs_put(fs, DIR "log.33", copy, f.n + 30);
    free(copy);
    struct storage_config cfg = config(fs);
    write_log(&cfg, 81, 85);
}
static void trap_missing_file(struct faultfs *fs)
{
    faultfs_delete(fs, DIR "log.15");
    trap_newest_snapshot_bad(fs);
}
static void trap_stale_tmp(struct faultfs *fs)
{
    put_text(fs, DIR ".snapshot.99.tmp", "half a snapshot");
    put_text(fs, DIR "snapshot.zz", "no name of ours");
    put_text(fs, DIR "log.", "nor this");
    put_text(fs, DIR "log.12345678901234567", "nor this");
}

static const struct trap {
    const char *name;
    void (*prepare)(struct faultfs *fs);
    bool trust_empty;
    int64_t last; /* expected; 0: refused as corrupt */
    const char *text; /* in the refusal */
} traps[] = {
    { "nothing wrong", trap_none, false, 80, NULL },
    { "newest snapshot has a flipped bit", trap_newest_snapshot_bad, false, 80, NULL },
    { "newest snapshot is cut off", trap_newest_snapshot_short, false, 80, NULL },
    { "no snapshot loads", trap_all_snapshots_bad, false, 0, "snapshot.32" },
    { "snapshots are gone, logs are not", trap_no_snapshots, false, 0, "trust.empty" },
    { "the same, trusted", trap_no_snapshots, true, 80, NULL },
    { "torn tail", trap_torn_tail, false, 79, NULL },
    { "0-byte last log", trap_empty_last_log, false, 80, NULL },
    { "partial header", trap_short_header, false, 80, NULL },
    { "header only", trap_header_only, false, 80, NULL },
    { "not a log", trap_foreign_file, false, 0, "log.51: damaged at offset 0" },
    { "flipped bit in the middle", trap_flip_in_middle, false, 0, "log.33: damaged at offset" },
    { "flipped bit in the last record", trap_flip_in_last_record, false, 0, "log.33: damaged at offset" },
    { "some zeros in the middle", trap_zeros_in_middle, false, 0, "the checksum does not fit" },
    { "some zeros over an end in the middle", trap_zero_end_in_middle, false, 0, "complete transactions follow" },
    { "a sector of zeros in an older file", trap_zeros_in_middle_of_older, false, 0, "log.15: damaged" },
    { "a lost sector of the last batch", trap_lost_sector_of_last_batch, false, -1, NULL },
    { "a lost sector far from the end", trap_lost_sector_far_from_the_end, false, 0, "complete transactions follow" },
    { "torn file, snapshot behind it", trap_torn_middle_file, false, 80, NULL },
    { "torn file, transactions missing", trap_torn_middle_file_uncovered, false, 0, "transactions are missing" },
    { "torn file, the next goes on", trap_torn_middle_file_rewritten, false, 85, NULL },
    { "a file is missing", trap_missing_file, false, 0, "a log file is missing" },
    { "other files", trap_stale_tmp, false, 80, NULL },
};

/* A server that came empty and got its history from a leader, at the beginning of an epoch: the log goes on in that epoch, and would seem to follow on the
 * empty tree as well. */
static void test_snapshot_of_a_leader_damaged(void **state)
{
    const int64_t epoch = INT64_C(1) << 32;
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_recovered r;
    struct storage_error err;
    struct tree *t = model(30);
    int64_t z, bytes;

    write_snapshot(&cfg, 0);
    tree_set_last_zxid(t, epoch);
    assert_int_equal(snapshot_write(&cfg, t, NULL, &z, &bytes, &err), 0);
    tree_free(t);
    write_log(&cfg, epoch + 1, epoch + 5);
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    assert_int_equal(r.last_zxid, epoch + 5);
    tree_free(r.tree);
    faultfs_flip(fs, DIR "snapshot.100000000", 300, 1);
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), RC_CORRUPT);
    assert_non_null(strstr(err.text, "the log does not hold what it held"));
    faultfs_free(fs);
}

static struct faultfs *trap_base(struct storage_config *cfg)
{
    struct faultfs *fs = faultfs_new(1);
    *cfg = config(fs);
    write_snapshot(cfg, 20);
    write_snapshot(cfg, 50);
    write_log(cfg, 1, 20);
    write_log(cfg, 21, 50);
    write_log(cfg, 51, 80);
    return fs;
}

static void test_traps(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(traps); i++) {
        const struct trap *tr = &traps[i];
        print_message("%s\n", tr->name);
        struct storage_config cfg;
        struct faultfs *fs = trap_base(&cfg);
        tr->prepare(fs);
        cfg.trust_empty = tr->trust_empty;
        /* Twice: what the first did to the directory must be right for the second. */
        for (int round = 0; round < 2; round++) {
            struct storage_recovered r;
            struct storage_error err = { 0 };
            int rc = storage_recover(&cfg, NULL, NULL, &r, &err);
            if (tr->last == 0) {
                assert_int_equal(rc, RC_CORRUPT);
                print_message("  %s\n", err.text);
                assert_non_null(strstr(err.text, tr->text));
                continue;
            }
            if (rc < 0)
                fail_msg("%s", err.text);
            if (tr->last > 0)
                assert_int_equal(r.last_zxid, tr->last);
            else
                assert_true(r.last_zxid >= 50 && r.last_zxid < 80);
            check_equals_model(r.tree, r.last_zxid);
            tree_free(r.tree);
        }
        faultfs_free(fs);
    }
}

/* One bit of the last record's length turns: the record is there, and was acknowledged. It must not be taken for half a write. */
static void test_damaged_length_of_the_last(void **state)
{
    for (int64_t last = 5; last < 12; last++)
        for (int bit = 0; bit < 32; bit++) {
            struct faultfs *fs = faultfs_new(1);
            struct storage_config cfg = config(fs);
            struct storage_recovered r = { 0 };
            struct storage_error err;
            write_snapshot(&cfg, 0);
            write_log(&cfg, 1, last);
            struct wr txn = history_txn(last);
            struct buf file = faultfs_get(fs, "/data/version-2/log.1");
            size_t used = file.n;
            while (file.p[used - 1] == 0)
                used--;
            size_t at = used - 1 - txn.n - 4; /* the terminator, the record, its length */
            uint8_t *copy = x_malloc(file.n + 3000);
            memset(copy, 0, file.n + 3000);
            memcpy(copy, file.p, file.n);
            copy[at + 3 - (size_t)bit / 8] ^= (uint8_t)(1u << bit % 8);
            faultfs_put(fs, "/data/version-2/log.1", copy, file.n + 3000);
            assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), RC_CORRUPT);
            assert_non_null(strstr(err.text, "log.1: damaged"));
            free(copy);
            wr_free(&txn);
            faultfs_free(fs);
        }
}

static void test_separate_dirs(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    cfg.log_dir = "/log";
    write_snapshot(&cfg, 10);
    write_log(&cfg, 1, 30);
    struct storage_recovered r;
    struct storage_error err;
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    check_equals_model(r.tree, 30);
    tree_free(r.tree);
    faultfs_put(fs, "/log/version-2/snapshot.5", "x", 1);
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), RC_INVAL);
    faultfs_delete(fs, "/log/version-2/snapshot.5");
    faultfs_put(fs, "/data/version-2/log.5", "x", 1);
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), RC_INVAL);
    faultfs_free(fs);
}

/* Ephemerals whose session is gone are removed, durably: a later node of the same name must not lose to them in a replay. */
static void test_orphans(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct tree *t = model(1);
    struct wr txn = txn_create(2, 0x9999, "/ghost", "boo", 3, true, 1);
    apply_txn(t, &txn);
    wr_free(&txn);
    struct storage_error err;
    int64_t zxid, bytes;
    assert_int_equal(snapshot_write(&cfg, t, NULL, &zxid, &bytes, &err), 0);
    tree_free(t);
    struct storage_recovered r;
    cfg.keep_orphans = true; /* as one of an ensemble: the leader closes the session by a transaction */
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    assert_non_null(tree_find(r.tree, jstr_of("/ghost")));
    tree_free(r.tree);
    cfg.keep_orphans = false;
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    assert_null(tree_find(r.tree, jstr_of("/ghost")));
    tree_free(r.tree);
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    txn = txn_create(3, 0x1000, "/ghost", "real", 4, false, 2);
    assert_int_equal(txnlog_append(l, 3, buf_of(txn.p, txn.n), &err), 0);
    wr_free(&txn);
    txnlog_close(l);
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    const struct znode *n = tree_find(r.tree, jstr_of("/ghost"));
    assert_non_null(n);
    assert_int_equal(znode_data(n).n, 4);
    tree_free(r.tree);
    faultfs_free(fs);
}

static void test_dir_size(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    cfg.log_dir = "/log";
    faultfs_put(fs, DIR "snapshot.1", "12345", 5);
    faultfs_put(fs, DIR "acceptedEpoch", "1", 1);
    faultfs_put(fs, "/log/version-2/log.1", "123", 3);
    assert_int_equal(storage_dir_size(&cfg, false), 6);
    assert_int_equal(storage_dir_size(&cfg, true), 3);
    faultfs_free(fs);
}

/* ---- retention ---- */

static void test_purge(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    for (int64_t z = 10; z <= 60; z += 10) {
        write_snapshot(&cfg, z);
        write_log(&cfg, z - 6, z + 3); /* every log straddles a snapshot */
    }
    assert_int_equal(storage_purge(&cfg, 7, &err), 0); /* fewer than that: all stay */
    cut(fs, DIR "snapshot.32", 3); /* 50 does not count (ZOOKEEPER-3231) */
    /* Kept: 60, 40, 30 and the damaged 50; logs from the one that holds 31. */
    assert_int_equal(storage_purge(&cfg, 3, &err), 4);
    static const struct {
        const char *path;
        bool kept;
    } files[] = {
        { DIR "snapshot.a", false }, { DIR "snapshot.14", false }, { DIR "snapshot.1e", true }, { DIR "snapshot.28", true },
        { DIR "snapshot.32", true }, { DIR "snapshot.3c", true },  { DIR "log.4", false },      { DIR "log.e", false },
        { DIR "log.18", true },      { DIR "log.22", true },       { DIR "log.36", true },
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        print_message("%s\n", files[i].path);
        assert_int_equal(faultfs_get(fs, files[i].path).p != NULL, files[i].kept);
    }
    assert_int_equal(storage_purge(&cfg, 3, &err), 0);
    faultfs_free(fs);
}

/* ---- crashes ---- */

/* A server's life: recovers, then writes batches with a snapshot, a roll and a purge now and then. The tree is ahead of the log
 * by nothing: transactions are applied after their sync. Returns the last zxid known to be synced; -1 in *ret_rc: refused. */
struct life {
    int recover_rc;
    int64_t recovered, acked, appended;
    struct storage_error err;
};

static bool life_batch(const struct storage_config *cfg, struct txnlog *l, struct tree *t, struct life *life, int n)
{
    int64_t first = life->acked + 1;
    for (int64_t z = first; z < first + n; z++) {
        struct wr txn = history_txn(z);
        int rc = txnlog_append(l, z, buf_of(txn.p, txn.n), &life->err);
        wr_free(&txn);
        if (rc < 0)
            return false;
        life->appended = z;
    }
    if (txnlog_sync(l, &life->err) < 0)
        return false;
    life->acked = life->appended;
    for (int64_t z = first; z <= life->acked; z++) {
        struct wr txn = history_txn(z);
        apply_txn(t, &txn);
        wr_free(&txn);
    }
    return true;
}

static struct life live(const struct storage_config *cfg, int batches)
{
    struct life life = { 0 };
    struct storage_recovered r;
    life.recover_rc = storage_recover(cfg, NULL, NULL, &r, &life.err);
    if (life.recover_rc < 0)
        return life;
    life.recovered = life.acked = life.appended = r.last_zxid;
    struct txnlog *l;
    if (txnlog_open(cfg, &l, &life.err) == 0) {
        for (int i = 1; i <= batches; i++) {
            int64_t zxid, bytes;
            if (!life_batch(cfg, l, r.tree, &life, 1 + i % 5))
                break;
            if (i % 4 == 0 && (txnlog_roll(l, &life.err) < 0 ||
                               snapshot_write(cfg, r.tree, NULL, &zxid, &bytes, &life.err) < 0 ||
                               storage_purge(cfg, 3, &life.err) < 0))
                break;
        }
        txnlog_close(l);
    }
    tree_free(r.tree);
    return life;
}

static void check_survived(struct faultfs *fs, const struct storage_config *cfg, int64_t acked, int64_t appended,
                           const char *what)
{
    struct storage_recovered r;
    struct storage_error err = { 0 };
    if (storage_recover(cfg, NULL, NULL, &r, &err) < 0)
        fail_msg("%s: refused after a mere crash: %s", what, err.text);
    if (r.last_zxid < acked || r.last_zxid > appended)
        fail_msg("%s: acknowledged %lld, written %lld, recovered %lld", what, (long long)acked, (long long)appended,
                 (long long)r.last_zxid);
    check_equals_model(r.tree, r.last_zxid);
    tree_free(r.tree);
}

static void test_crash_everywhere(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    live(&cfg, 18);
    int64_t ops = faultfs_ops(fs);
    faultfs_free(fs);
    for (int mode = 0; mode < FAULTFS_MODES; mode++) {
        for (int64_t op = 0; op <= ops; op++) {
            char what[64];
            snprintf(what, sizeof(what), "mode %d, operation %lld", mode, (long long)op);
            fs = faultfs_new((uint64_t)op * 4 + (uint64_t)mode);
            cfg = config(fs);
            faultfs_crash_at(fs, op);
            struct life life = live(&cfg, 18);
            faultfs_restart(fs, (enum faultfs_crash_mode)mode);
            check_survived(fs, &cfg, life.acked, life.appended + 1, what); /* + 1: the append that failed may have been written */
            faultfs_free(fs);
        }
    }
}

/* Many lives on one disk, each ended at a random point in a random way, recovery itself included. */
static void test_many_lives(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t rng = seed;
        struct faultfs *fs = faultfs_new(seed);
        struct storage_config cfg = config(fs);
        int64_t acked = 0, appended = 0;
        for (int n = 0; n < 25; n++) {
            char what[64];
            snprintf(what, sizeof(what), "seed %llu, life %d", (unsigned long long)seed, n);
            faultfs_crash_at(fs, (int64_t)(faultfs_random(&rng) % 60));
            struct life life = live(&cfg, 8);
            if (life.recover_rc < 0 && !faultfs_crashed(fs))
                fail_msg("%s: refused after a mere crash: %s", what, life.err.text);
            if (life.recover_rc >= 0) {
                if (life.recovered < acked || life.recovered > appended + 1)
                    fail_msg("%s: acknowledged %lld, recovered %lld", what, (long long)acked, (long long)life.recovered);
                acked = life.acked;
                appended = life.appended;
            }
            faultfs_restart(fs, (enum faultfs_crash_mode)(faultfs_random(&rng) % FAULTFS_MODES));
        }
        check_survived(fs, &cfg, acked, appended + 1, "the end");
        faultfs_free(fs);
    }
}

/* The k-th write finds the disk full, or the k-th sync fails: the server stops, and comes up again with all it acknowledged. */
static void test_failures_everywhere(void **state)
{
    for (int kind = 0; kind < 2; kind++) {
        for (int64_t k = 0; k < 60; k++) {
            char what[64];
            snprintf(what, sizeof(what), "%s %lld", kind ? "sync" : "write", (long long)k);
            struct faultfs *fs = faultfs_new((uint64_t)k);
            struct storage_config cfg = config(fs);
            if (kind)
                faultfs_sync_error_at(fs, k);
            else
                faultfs_no_space_at(fs, k);
            struct life life = live(&cfg, 18);
            faultfs_restart(fs, (enum faultfs_crash_mode)(k % FAULTFS_MODES));
            check_survived(fs, &cfg, life.acked, life.appended + 1, what);
            faultfs_free(fs);
        }
    }
}

/* The same check on a disk that lies about syncing: it must fail, or it proves nothing. */
static void test_lost_sync_is_seen(void **state)
{
    struct faultfs *fs = faultfs_new(3);
    struct storage_config cfg = config(fs);
    struct life first = live(&cfg, 3);
    faultfs_lie(fs, true);
    struct life life = live(&cfg, 3);
    assert_true(life.acked > first.acked);
    faultfs_restart(fs, FAULTFS_LOSE_UNSYNCED);
    struct storage_recovered r;
    struct storage_error err;
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &r, &err), 0);
    assert_true(r.last_zxid < life.acked);
    tree_free(r.tree);
    faultfs_free(fs);
}

static void count_line(void *data, enum log_level level, const char *component, const char *text)
{
    int *n = data;
    (void)component;
    n[level == LOG_WARN && strstr(text, "39 transactions stand behind later ones") ? 0 : 1]++;
}

/* A follower of Apache's may have logged the same transactions twice: a line for the file, not for each. */
static void test_logged_twice(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct storage_recovered once, twice;
    int lines[2] = { 0 };
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &once, &err), 0);
    write_log(&cfg, once.last_zxid + 1, once.last_zxid + 40);
    char path[64];
    snprintf(path, sizeof(path), DIR "log.%llx", (unsigned long long)once.last_zxid + 1);
    struct buf f = faultfs_get(fs, path);
    struct wr w = wr_init(0);
    wr_bytes(&w, f.p, f.n);
    wr_bytes(&w, f.p + 16, f.n - 16);
    faultfs_put(fs, path, w.p, w.n);
    log_set_level(LOG_WARN);
    log_set_sink(count_line, lines);
    assert_int_equal(storage_recover(&cfg, NULL, NULL, &twice, &err), 0);
    log_set_sink(NULL, NULL);
    log_set_level(LOG_ERROR);
    assert_int_equal(lines[0], 1);
    assert_int_equal(lines[1], 0);
    assert_int_equal(twice.last_zxid, once.last_zxid + 40);
    tree_free(once.tree);
    tree_free(twice.tree);
    wr_free(&w);
    faultfs_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_is_durable),
        cmocka_unit_test(test_snapshot_of_a_leader_damaged),
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_formats_round_trip),
        cmocka_unit_test(test_damaged_snapshots),
        cmocka_unit_test(test_fuzzy),
        cmocka_unit_test(test_failed_snapshot),
        cmocka_unit_test(test_write_back),
        cmocka_unit_test(test_traps),
        cmocka_unit_test(test_damaged_length_of_the_last),
        cmocka_unit_test(test_logged_twice),
        cmocka_unit_test(test_separate_dirs),
        cmocka_unit_test(test_orphans),
        cmocka_unit_test(test_dir_size),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_many_lives),
        cmocka_unit_test(test_failures_everywhere),
        cmocka_unit_test(test_lost_sync_is_seen),
    };
    log_set_level(LOG_ERROR); /* the warnings of a thousand crashes */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
