/* test_posix.c - the real disk: the vfs's calls, the lock, and a process that dies without syncing over the volatile disk. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "store_util.h"
#include "volatile_vfs.h"

static int make_dir(void **state)
{
    char *dir = x_strdup("/tmp/quoll-test-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int remove_dir(void **state)
{
    char *command = x_asprintf("rm -rf '%s'", (char *)*state);
    int rc = system(command);
    free(command);
    free(*state);
    return rc;
}

static void count_name(void *data, const char *name)
{
    (*(int *)data)++;
}

/* The same script over both: they must not differ to one who does not crash. */
static void check_vfs(const struct vfs *v, const char *top)
{
    char *dir = x_asprintf("%s/a/b", top), *one = x_asprintf("%s/one", dir), *two = x_asprintf("%s/two", dir);
    struct vfs_file *f;
    uint8_t p[8];
    int n = 0;
    assert_int_equal(v->list(v->ctx, dir, count_name, &n), RC_NOTFOUND);
    assert_int_equal(v->mkdir(v->ctx, dir), 0);
    assert_int_equal(v->mkdir(v->ctx, dir), 0);
    assert_int_equal(v->open(v->ctx, one, VFS_READ, &f), RC_NOTFOUND);
    assert_int_equal(v->open(v->ctx, one, VFS_WRITE | VFS_CREATE, &f), 0);
    assert_int_equal(v->write_at(f, "hello", 5, 3), 0);
    assert_int_equal(v->size(f), 8);
    assert_int_equal(v->read_at(f, p, 8, 0), 8);
    assert_memory_equal(p, "\0\0\0hello", 8);
    assert_int_equal(v->read_at(f, p, 8, 6), 2);
    assert_int_equal(v->read_at(f, p, 8, 100), 0);
    assert_int_equal(v->allocate(f, 70000), 0);
    assert_int_equal(v->size(f), 70000);
    assert_int_equal(v->allocate(f, 10), 0); /* never shorter */
    assert_int_equal(v->size(f), 70000);
    assert_int_equal(v->read_at(f, p, 8, 69996), 4);
    assert_memory_equal(p, "\0\0\0\0", 4);
    assert_int_equal(v->truncate(f, 5), 0);
    assert_int_equal(v->write_at(f, "x", 1, 6), 0);
    assert_int_equal(v->read_at(f, p, 8, 0), 7);
    assert_memory_equal(p, "\0\0\0he\0x", 7);
    assert_int_equal(v->sync(f), 0);
    v->close(f);
    assert_int_equal(v->rename(v->ctx, one, two), 0);
    assert_int_equal(v->rename(v->ctx, one, two), RC_NOTFOUND);
    assert_int_equal(v->sync_dir(v->ctx, dir), 0);
    assert_int_equal(v->open(v->ctx, two, VFS_READ, &f), 0);
    assert_int_equal(v->read_at(f, p, 8, 0), 7);
    v->close(f);
    assert_int_equal(v->list(v->ctx, dir, count_name, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(v->open(v->ctx, two, VFS_WRITE | VFS_CREATE | VFS_TRUNCATE, &f), 0);
    assert_int_equal(v->size(f), 0);
    v->close(f);
    assert_int_equal(v->remove(v->ctx, two), 0);
    assert_int_equal(v->remove(v->ctx, two), RC_NOTFOUND);
    n = 0;
    assert_int_equal(v->list(v->ctx, dir, count_name, &n), 0);
    assert_int_equal(n, 0);
    assert_true(v->open(v->ctx, top, VFS_READ, &f) < 0); /* a directory is no file */
    free(dir);
    free(one);
    free(two);
}

static void test_calls(void **state)
{
    check_vfs(vfs_posix(), *state);
}

static void test_calls_volatile(void **state)
{
    const struct vfs *v = volatile_vfs_new(vfs_posix(), false);
    check_vfs(v, *state);
    volatile_vfs_free(v);
}

static void test_lock(void **state)
{
    struct storage_config cfg = { .vfs = vfs_posix(), .data_dir = *state };
    struct storage_error err;
    int ready[2], done[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        char c = storage_lock(&cfg, &err) == 0 ? 'y' : 'n';
        if (write(ready[1], &c, 1) == 1 && read(done[0], &c, 1) == 1)
            _exit(0);
        _exit(1);
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(storage_lock(&cfg, &err), RC_BUSY);
    assert_non_null(strstr(err.text, "quoll.lock"));
    assert_int_equal(write(done[1], "x", 1), 1);
    waitpid(child, NULL, 0);
    assert_int_equal(storage_lock(&cfg, &err), 0); /* however the other ended */
}

/* A process that recovers, writes ten synced batches and one unsynced, a snapshot in the middle, and dies. */
static void child_life(const char *dir, bool lie)
{
    struct storage_config cfg = { .vfs = volatile_vfs_new(vfs_posix(), lie), .data_dir = dir };
    struct storage_recovered r;
    struct storage_error err;
    struct txnlog *l;
    if (storage_recover(&cfg, NULL, NULL, &r, &err) < 0 || txnlog_open(&cfg, &l, &err) < 0)
        _exit(1);
    for (int64_t z = 1; z <= 110; z++) {
        struct wr txn = history_txn(z);
        int64_t zxid, bytes;
        apply_txn(r.tree, &txn);
        if (txnlog_append(l, z, buf_of(txn.p, txn.n), &err) < 0 || (z % 10 == 0 && z < 110 && txnlog_sync(l, &err) < 0))
            _exit(2);
        if (z == 50 && (txnlog_roll(l, &err) < 0 || snapshot_write(&cfg, r.tree, NULL, &zxid, &bytes, &err) < 0))
            _exit(3);
    }
    _exit(0);
}

static int64_t recovered_after(const char *dir, bool lie)
{
    pid_t child = fork();
    if (child == 0)
        child_life(dir, lie);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct storage_config cfg = { .vfs = vfs_posix(), .data_dir = dir };
    struct storage_recovered r;
    struct storage_error err;
    if (storage_recover(&cfg, NULL, NULL, &r, &err) < 0)
        fail_msg("%s", err.text);
    int64_t zxid = r.last_zxid;
    tree_free(r.tree);
    return zxid;
}

static void test_dies_unsynced(void **state)
{
    assert_int_equal(recovered_after(*state, false), 100);
}

static void test_dies_after_lies(void **state)
{
    assert_int_equal(recovered_after(*state, true), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_calls_volatile, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_lock, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_dies_unsynced, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_dies_after_lies, make_dir, remove_dir),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
