/* test_txnlog.c - the log's bytes, its padding, what its ends mean, and that what was synced survives every crash. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "faultfs.h"
#include "storage/storage.h"

#define DIR "/data"
#define LOG(hex) DIR "/version-2/log." hex

static struct storage_config config(struct faultfs *fs)
{
    return (struct storage_config){ .vfs = faultfs_vfs(fs), .data_dir = DIR, .prealloc_bytes = 16 << 10 };
}

/* A setData transaction with `n` bytes of a pattern that depends on the zxid. */
static struct wr make_txn(int64_t zxid, size_t n)
{
    struct wr w = wr_init(0);
    txn_header_write(&w, &(struct txn_header){ .client_id = 7, .cxid = (int32_t)zxid, .zxid = zxid, .time_ms = 1700000000000,
                                               .type = ZK_OP_SET_DATA });
    uint8_t *data = x_malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)(1 + (i + (size_t)zxid) % 255); /* never zero: a lost sector is seen as one */
    struct set_data_request t = { .path = jstr_of("/a"), .data = { data, (int32_t)n }, .version = 1 };
    set_data_request_write(&w, &t);
    free(data);
    return w;
}

static int append(struct txnlog *l, int64_t zxid, size_t n)
{
    struct wr w = make_txn(zxid, n);
    struct storage_error err;
    int rc = txnlog_append(l, zxid, buf_of(w.p, w.n), &err);
    wr_free(&w);
    return rc;
}

/* The spec's example: the first transaction of a fresh store, 48 bytes, and its checksum. */
static void test_golden_bytes(void **state)
{
    static const char head[] = "5a4b4c47000000020000000000000000" /* header */
                               "0000000096e50993"                 /* checksum */
                               "00000030"
                               "0100000000000001000000000000000000000001"
                               "0000018bcfe56800fffffff6000075300000000200000000"
                               "51c6d660"
                               "42";
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    cfg.prealloc_bytes = 0; /* the default */
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    struct wr w = wr_init(0);
    txn_header_write(&w, &(struct txn_header){ .client_id = 0x0100000000000001, .cxid = 0, .zxid = 1,
                                               .time_ms = 1700000000000, .type = ZK_OP_CREATE_SESSION });
    create_session_txn_write(&w, &(struct create_session_txn){ .timeout_ms = 30000 });
    txn_digest_write(&w, &(struct txn_digest){ .version = 2, .tree_digest = 0x51c6d660 });
    assert_int_equal(w.n, 48);
    assert_int_equal(txnlog_append(l, 1, buf_of(w.p, w.n), &err), 0);
    assert_int_equal(faultfs_get(fs, LOG("1")).n, 0); /* nothing before the sync */
    assert_int_equal(txnlog_sync(l, &err), 0);
    struct buf file = faultfs_get(fs, LOG("1"));
    assert_int_equal(file.n, 67108880);
    char hex[sizeof(head)];
    for (size_t i = 0; i < sizeof(head) / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", file.p[i]);
    assert_string_equal(hex, head);
    assert_int_equal(txnlog_bytes(l), 61);
    txnlog_close(l);
    assert_int_equal(faultfs_get(fs, LOG("1")).n, 16 + 61); /* the padding goes when the file is done */
    wr_free(&w);
    faultfs_free(fs);
}

/* FilePadding.calculateFileSizeWithPadding, at its borders. Step 16 KiB. */
static void test_padding(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    static const struct {
        size_t data;  /* 59 bytes stand around it */
        size_t size;  /* of the file after the sync */
    } steps[] = {
        { 1000, 16 + 16384 },          /* a new file */
        { 11158, 16 + 16384 },         /* from 1075: ends at 12292 */
        { 0, 16 + 16384 },             /* from 12292: 12292 + 4096 < 16400 */
        { 100, 16 + 2 * 16384 },       /* from 12351: within 4 KiB of the end */
        { 40000, 52569 },              /* from 12510: past the end; the write makes the file longer */
        { 0, 65536 },                  /* from 52569 > 32784: (52569 + 16384) rounded down */
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        assert_int_equal(append(l, (int64_t)i + 1, steps[i].data), 0);
        assert_int_equal(txnlog_sync(l, &err), 0);
        print_message("step %zu\n", i);
        assert_int_equal(faultfs_get(fs, LOG("1")).n, steps[i].size);
    }
    txnlog_close(l);
    faultfs_free(fs);
}

static int count_from(const struct storage_config *cfg, int64_t from, int64_t *ret_last);

/* A disk too full for padding still takes records; one too full for records stops the log, for good. */
static void test_no_space(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    assert_int_equal(append(l, 1, 10), 0);
    faultfs_no_space_at(fs, 0); /* the allocation */
    assert_int_equal(txnlog_sync(l, &err), 0);
    assert_int_equal(append(l, 2, 10), 0);
    faultfs_no_space_at(fs, 0); /* the write */
    assert_int_equal(txnlog_sync(l, &err), RC_NOSPACE);
    assert_non_null(strstr(err.text, LOG("1")));
    assert_int_equal(append(l, 3, 10), RC_IO);
    assert_int_equal(txnlog_sync(l, &err), RC_IO);
    txnlog_close(l);
    faultfs_free(fs);
}

/* The zeros behind the records are no reason to stop, where only these do not fit. */
static void test_no_space_for_zeros(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    int64_t last = 0;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    assert_int_equal(append(l, 1, 10), 0);
    faultfs_no_space_at(fs, 1); /* the write behind the allocation */
    assert_int_equal(txnlog_sync(l, &err), 0);
    assert_int_equal(append(l, 2, 10), 0);
    assert_int_equal(txnlog_sync(l, &err), 0);
    assert_int_equal(append(l, 3, 10), 0);
    faultfs_no_space_at(fs, 0); /* now the records alone */
    assert_int_equal(txnlog_sync(l, &err), RC_NOSPACE);
    txnlog_close(l);
    assert_int_equal(count_from(&cfg, 1, &last), 2);
    assert_int_equal(last, 2);
    faultfs_free(fs);
}

static void test_sync_error_is_final(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    assert_int_equal(append(l, 1, 10), 0);
    faultfs_sync_error_at(fs, 0);
    assert_int_equal(txnlog_sync(l, &err), RC_IO);
    assert_int_equal(txnlog_sync(l, &err), RC_IO); /* never retried into a success */
    txnlog_close(l);
    faultfs_free(fs);
}

static void test_never_overwrites(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    for (int i = 0; i < 2; i++) {
        struct txnlog *l;
        assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
        assert_int_equal(append(l, 5, 10), i == 0 ? 0 : RC_EXISTS);
        txnlog_close(l);
    }
    /* A file in which nothing is complete may be replaced. */
    struct buf f = faultfs_get(fs, LOG("5"));
    faultfs_put(fs, LOG("5"), f.p, 40);
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    assert_int_equal(append(l, 5, 10), 0);
    txnlog_close(l);
    faultfs_free(fs);
}

/* Reads everything from `from` on; returns how many and checks the content. */
static int count_from(const struct storage_config *cfg, int64_t from, int64_t *ret_last)
{
    struct storage_error err;
    struct txnlog_reader *r;
    assert_int_equal(txnlog_reader_open(cfg, from, &r, &err), 0);
    struct txn_header h;
    struct buf txn;
    int n = 0, rc;
    int64_t want = from;
    while ((rc = txnlog_reader_next(r, &h, &txn, &err)) > 0) {
        assert_int_equal(h.zxid, want++);
        struct rd rd = rd_buf(txn);
        struct txn_header skip;
        struct arena a = arena_init();
        txn_header_read(&rd, &a, &skip);
        struct set_data_request t;
        set_data_request_read(&rd, &a, &t);
        assert_int_equal(rd.rc, 0);
        assert_int_equal(rd_left(&rd), 0);
        struct wr same = make_txn(h.zxid, (size_t)t.data.n);
        assert_true(buf_eq(buf_of(same.p, same.n), txn));
        wr_free(&same);
        arena_free(&a);
        n++;
    }
    txnlog_reader_close(r);
    *ret_last = want - 1;
    return rc < 0 ? rc : n;
}

/* However much is appended, no more than two MiB wait unsynced. */
static void test_bounded_batch(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    int64_t last;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    for (int64_t z = 1; z <= 7; z++)
        assert_int_equal(append(l, z, 700 << 10), 0);
    faultfs_restart(fs, FAULTFS_LOSE_UNSYNCED);
    assert_int_equal(count_from(&cfg, 1, &last), 6);
    txnlog_close(l); /* of a dead machine: harmless */
    faultfs_free(fs);
}

static void test_reader_over_files(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    for (int64_t z = 1; z <= 40; z++) {
        assert_int_equal(append(l, z, (size_t)z * 400), 0);
        if (z % 10 == 0)
            assert_int_equal(txnlog_roll(l, &err), 0);
    }
    assert_int_equal(txnlog_bytes(l), 0);
    txnlog_close(l);
    for (int64_t from = 1; from <= 41; from++) {
        int64_t last;
        assert_int_equal(count_from(&cfg, from, &last), 41 - from);
    }
    faultfs_free(fs);
}

/* One flipped bit anywhere in a record is found: CORRUPT, or (in the parts that decide where the record ends) an early end. */
static void test_flips(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    struct txnlog *l;
    assert_int_equal(txnlog_open(&cfg, &l, &err), 0);
    for (int64_t z = 1; z <= 3; z++)
        assert_int_equal(append(l, z, 20), 0);
    txnlog_close(l);
    size_t size = faultfs_get(fs, LOG("1")).n;
    size_t second = 16 + (size - 16) / 3;
    for (size_t at = 16; at < size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            faultfs_flip(fs, LOG("1"), at, (uint8_t)(1 << bit));
            int64_t last;
            int n = count_from(&cfg, 1, &last);
            assert_true(n == RC_CORRUPT || (n >= 0 && n < 3));
            assert_true(last <= (at < second ? 0 : 2));
            faultfs_flip(fs, LOG("1"), at, (uint8_t)(1 << bit));
        }
    }
    faultfs_free(fs);
}

/* A scripted workload: batches of several sizes, rolls. Returns the last zxid that a successful sync covered. */
static int64_t workload(const struct storage_config *cfg, int64_t from, int64_t *ret_appended)
{
    struct storage_error err;
    struct txnlog *l;
    int64_t acked = from - 1, z = from;
    *ret_appended = acked;
    if (txnlog_open(cfg, &l, &err) < 0)
        return acked;
    for (int batch = 0; batch < 12; batch++) {
        for (int i = 0; i <= batch % 4; i++, z++) {
            if (append(l, z, (size_t)(z * 137 % 3000)) < 0)
                goto out;
            *ret_appended = z;
        }
        if (txnlog_sync(l, &err) < 0)
            goto out;
        acked = z - 1;
        if (batch % 5 == 4 && txnlog_roll(l, &err) < 0)
            goto out;
    }
out:
    txnlog_close(l);
    return acked;
}

/* Power lost at every operation, in every way: what was synced is there, and what is there is a prefix. */
static void test_crash_everywhere(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    int64_t appended;
    workload(&cfg, 1, &appended);
    int64_t ops = faultfs_ops(fs);
    faultfs_free(fs);
    assert_true(ops > 25);
    for (int mode = 0; mode < FAULTFS_MODES; mode++) {
        for (int64_t op = 0; op <= ops; op++) {
            fs = faultfs_new((uint64_t)op * 4 + (uint64_t)mode);
            cfg = config(fs);
            faultfs_crash_at(fs, op);
            int64_t acked = workload(&cfg, 1, &appended), last;
            faultfs_restart(fs, (enum faultfs_crash_mode)mode);
            int n = count_from(&cfg, 1, &last);
            if (n < 0 || last < acked || last > appended + 1)
                fail_msg("mode %d, op %lld: acknowledged %lld, appended %lld, read %d up to %lld", mode, (long long)op,
                         (long long)acked, (long long)appended, n, (long long)last);
            faultfs_free(fs);
        }
    }
}

/* The same test sees a disk that lies about syncing, so it would see a missing fdatasync. */
static void test_lost_sync_is_seen(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    int64_t appended, last;
    faultfs_lie(fs, true);
    int64_t acked = workload(&cfg, 1, &appended);
    faultfs_restart(fs, FAULTFS_LOSE_UNSYNCED);
    count_from(&cfg, 1, &last);
    assert_true(acked > 0);
    assert_true(last < acked);
    faultfs_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_bytes),      cmocka_unit_test(test_padding),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_space_for_zeros),          cmocka_unit_test(test_sync_error_is_final),
        cmocka_unit_test(test_never_overwrites),  cmocka_unit_test(test_bounded_batch),
         cmocka_unit_test(test_reader_over_files),
        cmocka_unit_test(test_flips),             cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_lost_sync_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
