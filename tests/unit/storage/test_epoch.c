/* test_epoch.c - epoch files and myid: what a start makes of every combination, crashes while they are
 * written. */
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
    return (struct storage_config){.vfs = faultfs_vfs(fs), .data_dir = "/data"};
}

static void put(struct faultfs *fs, const char *path, const char *text)
{
    if (text)
        faultfs_put(fs, path, text, strlen(text));
}

static void test_load(void **state)
{
    static const struct {
        const char *accepted, *current, *tmp; /* NULL: no file */
        int64_t last_zxid;
        int64_t want_accepted, want_current; /* -1: refused */
        const char *text;
    } cases[] = {
        {NULL, NULL, NULL, 0, 0, 0, NULL},
        {NULL, NULL, NULL, 0x500000003, 5, 5, NULL},
        {"7", "5", NULL, 0x500000003, 7, 5, NULL},
        {"7\n", "5\n", NULL, 0x500000003, 7, 5, NULL},
        {"7", "6", NULL, 0x500000003, 7, 6, NULL},
        {"7", NULL, NULL, 0x500000003, 7, 5, NULL},
        {NULL, "5", NULL, 0x500000003, 5, 5, NULL},
        {NULL, "6", NULL, 0x500000003, -1, -1, "acceptedEpoch is 5, less than currentEpoch, 6"},
        {"4", "5", NULL, 0x500000003, -1, -1, "acceptedEpoch is 4, less than currentEpoch, 5"},
        {"7", "4", NULL, 0x500000003, -1, -1,
         "currentEpoch says 4, but the last zxid is 0x500000003, of epoch 5"},
        {"7", "4", "5", 0x500000003, 7, 5, NULL},
        {"7", "4", "7", 0x500000003, 7, 5, NULL}, /* on the way to 7; what is here is history of 5 */
        {"7", "3", "4", 0x500000003, -1, -1, "currentEpoch says 3 and"},
        {"7", "5", "6", 0x500000003, 7, 5, NULL}, /* nothing of 6 became durable */
        {"7", "5", "", 0x500000003, 7, 5, NULL},
        {"7", "", NULL, 0x500000003, -1, -1, "currentEpoch: '' is not a number"},
        {"7", "five", NULL, 0x500000003, -1, -1, "currentEpoch: 'five' is not a number"},
        {"7", "5 6", NULL, 0x500000003, -1, -1, "is not a number"},
        {"-1", "5", NULL, 0x500000003, -1, -1, "acceptedEpoch: '-1' is not a number"},
        {"2147483648", "5", NULL, 0x500000003, -1, -1, "is not a number from 0 to 2147483647"},
        {"2147483647", "2147483647", NULL, 0x7fffffff00000001, 2147483647, 2147483647, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct faultfs *fs = faultfs_new(1);
        struct storage_config cfg = config(fs);
        put(fs, DIR "acceptedEpoch", cases[i].accepted);
        put(fs, DIR "currentEpoch", cases[i].current);
        put(fs, DIR "currentEpoch.tmp", cases[i].tmp);
        for (int round = 0; round < 2; round++) {
            struct storage_epochs e = {-1, -1};
            struct storage_error err = {""};
            int rc = storage_epochs_load(&cfg, cases[i].last_zxid, &e, &err);
            if (cases[i].text && (rc != RC_CORRUPT || !strstr(err.text, cases[i].text)))
                fail_msg("case %zu: %d %s", i, rc, err.text);
            if (!cases[i].text && rc != 0)
                fail_msg("case %zu: %s", i, err.text);
            assert_int_equal(e.accepted, cases[i].want_accepted);
            assert_int_equal(e.current, cases[i].want_current);
        }
        if (!cases[i].text) {
            assert_null(faultfs_get(fs, DIR "currentEpoch.tmp").p);
            assert_non_null(faultfs_get(fs, DIR "acceptedEpoch").p);
            assert_non_null(faultfs_get(fs, DIR "currentEpoch").p);
        }
        faultfs_free(fs);
    }
}

static void test_text(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    struct storage_error err;
    assert_int_equal(storage_epoch_write(&cfg, STORAGE_EPOCH_ACCEPTED, 12, &err), 0);
    assert_true(buf_is(faultfs_get(fs, DIR "acceptedEpoch"), "12")); /* no newline, as the reference */
    assert_int_equal(storage_epoch_announce(&cfg, 12, &err), 0);
    assert_true(buf_is(faultfs_get(fs, DIR "currentEpoch.tmp"), "12"));
    assert_int_equal(storage_epoch_write(&cfg, STORAGE_EPOCH_CURRENT, 12, &err), 0);
    assert_true(buf_is(faultfs_get(fs, DIR "currentEpoch"), "12"));
    assert_null(faultfs_get(fs, DIR "currentEpoch.tmp").p);
    faultfs_no_space_at(fs, 0);
    assert_int_equal(storage_epoch_write(&cfg, STORAGE_EPOCH_CURRENT, 13, &err), RC_NOSPACE);
    faultfs_sync_error_at(fs, 0);
    assert_int_equal(storage_epoch_write(&cfg, STORAGE_EPOCH_CURRENT, 13, &err), RC_IO);
    assert_true(buf_is(faultfs_get(fs, DIR "currentEpoch"), "12"));
    faultfs_free(fs);
}

/* A follower's rounds: accepts an epoch, announces it, gets a snapshot of it, enters it. Returns how far it
 * got. */
struct progress {
    int64_t accepted, announced, snapshot, current; /* epochs of completed steps */
    int64_t trying;
};

static struct progress rounds(const struct storage_config *cfg, int64_t n)
{
    struct progress p = {0};
    struct storage_error err;
    for (int64_t epoch = 1; epoch <= n; epoch++) {
        p.trying = epoch;
        if (storage_epoch_write(cfg, STORAGE_EPOCH_ACCEPTED, epoch, &err) < 0)
            break;
        p.accepted = epoch;
        if (storage_epoch_announce(cfg, epoch, &err) < 0)
            break;
        p.announced = epoch;
        struct tree *t = tree_new(&cfg->tree);
        tree_set_last_zxid(t, epoch << 32 | 5);
        int64_t zxid, bytes;
        int rc = snapshot_write(cfg, t, NULL, &zxid, &bytes, &err);
        tree_free(t);
        if (rc < 0)
            break;
        p.snapshot = epoch;
        if (storage_epoch_write(cfg, STORAGE_EPOCH_CURRENT, epoch, &err) < 0)
            break;
        p.current = epoch;
    }
    return p;
}

static void test_crash_everywhere(void **state)
{
    struct faultfs *fs = faultfs_new(1);
    struct storage_config cfg = config(fs);
    rounds(&cfg, 4);
    int64_t ops = faultfs_ops(fs);
    faultfs_free(fs);
    for (int mode = 0; mode < FAULTFS_MODES; mode++) {
        for (int64_t op = 0; op < ops; op++) {
            fs = faultfs_new((uint64_t)op * 4 + (uint64_t)mode);
            cfg = config(fs);
            faultfs_crash_at(fs, op);
            struct progress p = rounds(&cfg, 4);
            faultfs_restart(fs, (enum faultfs_crash_mode)mode);
            for (int64_t again = 0; again < 2;
                 again++) { /* and once more during what the start itself writes */
                struct storage_recovered r;
                struct storage_epochs e = {0};
                struct storage_error err;
                if (storage_recover(&cfg, NULL, NULL, &r, &err) < 0)
                    fail_msg("mode %d operation %lld: %s", mode, (long long)op, err.text);
                tree_free(r.tree);
                if (again == 0)
                    faultfs_crash_at(fs, faultfs_ops(fs) + op % 7);
                int rc = storage_epochs_load(&cfg, r.last_zxid, &e, &err);
                if (rc < 0 && !faultfs_crashed(fs))
                    fail_msg("mode %d operation %lld: %s", mode, (long long)op, err.text);
                if (again == 0)
                    faultfs_restart(fs, (enum faultfs_crash_mode)mode);
                if (rc < 0)
                    continue;
                assert_in_range(e.accepted, p.accepted, p.trying);
                assert_in_range(e.current, p.current, p.trying);
                assert_in_range(r.last_zxid >> 32, p.snapshot, p.trying);
                assert_true(e.accepted >= e.current && e.current >= r.last_zxid >> 32);
                /* Never in an epoch whose history is not there. */
                assert_int_equal(e.current, r.last_zxid >> 32);
            }
            faultfs_free(fs);
        }
    }
}

static void test_myid(void **state)
{
    static const struct {
        const char *text;
        int rc;
        int64_t want;
    } cases[] = {
        {NULL, RC_NOTFOUND, 0},
        {"1", 0, 1},
        {"255\n", 0, 255},
        {" 3 \r\nmore\n", 0, 3},
        {"0", 0, 0},
        {"256", RC_CORRUPT, 0},
        {"-1", RC_CORRUPT, 0},
        {"", RC_CORRUPT, 0},
        {"\n1", RC_CORRUPT, 0},
        {"one", RC_CORRUPT, 0},
        {"1x\n", RC_CORRUPT, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct faultfs *fs = faultfs_new(1);
        struct storage_config cfg = config(fs);
        put(fs, "/data/myid", cases[i].text);
        int64_t id = -1;
        struct storage_error err = {""};
        assert_int_equal(storage_myid(&cfg, &id, &err), cases[i].rc);
        if (cases[i].rc == 0)
            assert_int_equal(id, cases[i].want);
        else
            assert_non_null(strstr(err.text, "/data/myid"));
        faultfs_free(fs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_myid),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
