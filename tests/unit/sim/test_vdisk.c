/* test_vdisk.c - the virtual disk: what a kill keeps, what a power cut may take and what it must not, operations ahead of time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vdisk.h"

struct stage {
    struct sim_options opt;
    struct sim_result result;
    struct world w;
    struct vdisk *d;
    const struct vfs *vfs;
};

static void begin(struct stage *s, uint64_t seed)
{
    *s = (struct stage){ 0 };
    world_init(&s->w, seed, &s->opt, &s->result);
    s->d = vdisk_new(&s->w, 1);
    s->vfs = vdisk_vfs(s->d);
    vdisk_at(s->d, 0);
}

static void end(struct stage *s)
{
    vdisk_free(s->d);
    world_done(&s->w);
}

static struct vfs_file *open_file(struct stage *s, const char *path)
{
    struct vfs_file *f;

    assert_int_equal(s->vfs->open(s->vfs->ctx, path, VFS_READ | VFS_WRITE | VFS_CREATE, &f), 0);
    return f;
}

static void put(struct stage *s, struct vfs_file *f, const char *text, int64_t at)
{
    assert_int_equal(s->vfs->write_at(f, text, strlen(text), at), 0);
}

static bool holds(struct stage *s, const char *path, const char *text)
{
    struct buf b = vdisk_get(s->d, path);

    return b.n == strlen(text) && memcmp(b.p, text, b.n) == 0;
}

static void test_kill_keeps_all(void **state)
{
    struct stage s;

    begin(&s, 1);
    struct vfs_file *f = open_file(&s, "/a/x");
    put(&s, f, "hello", 0);
    s.vfs->close(f);
    vdisk_crash(s.d, VDISK_KILL, vdisk_time(s.d));
    assert_true(holds(&s, "/a/x", "hello"));
    /* ... but what was not synced is not on the platter yet. */
    struct vdisk *c = vdisk_clone_crashed(s.d, vdisk_time(s.d), 9);
    vdisk_free(c);
    end(&s);
}

/* Synced content under a synced name stays, whatever else happens; without either it is in danger. */
static void test_power(void **state)
{
    unsigned lost = 0, kept = 0, torn = 0, nameless = 0;

    for (uint64_t seed = 0; seed < 300; seed++) {
        struct stage s;

        begin(&s, seed);
        struct vfs_file *f = open_file(&s, "/a/x");
        put(&s, f, "durable.", 0);
        assert_int_equal(s.vfs->sync(f), 0);
        assert_int_equal(s.vfs->sync_dir(s.vfs->ctx, "/a"), 0);
        put(&s, f, "perhaps", 8);
        s.vfs->close(f);
        f = open_file(&s, "/a/y");
        put(&s, f, "y", 0);
        assert_int_equal(s.vfs->sync(f), 0);
        s.vfs->close(f);
        vdisk_crash(s.d, VDISK_POWER, vdisk_time(s.d));
        struct buf b = vdisk_get(s.d, "/a/x");
        assert_true(b.n >= 8);
        assert_memory_equal(b.p, "durable.", 8);
        lost += b.n == 8;
        kept += holds(&s, "/a/x", "durable.perhaps");
        torn += b.n > 8 && b.n < 15;
        nameless += !vdisk_get(s.d, "/a/y").p;
        end(&s);
    }
    assert_true(lost > 20);
    assert_true(kept > 20);
    assert_true(torn > 20);
    assert_in_range(nameless, 20, 280);
}

/* A turn is computed ahead: what was issued after the end of its process never happened, what was being synced may be lost. */
static void test_ahead_of_time(void **state)
{
    unsigned lost = 0;

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct stage s;

        begin(&s, seed);
        struct vfs_file *f = open_file(&s, "/a/x");
        put(&s, f, "first", 0);
        int64_t before_sync = vdisk_time(s.d);
        assert_int_equal(s.vfs->sync(f), 0);
        assert_int_equal(s.vfs->sync_dir(s.vfs->ctx, "/a"), 0);
        int64_t after_sync = vdisk_time(s.d);
        assert_true(after_sync > before_sync);
        put(&s, f, "second", 5);
        assert_int_equal(s.vfs->rename(s.vfs->ctx, "/a/x", "/a/z"), 0);
        s.vfs->close(f);
        if (seed % 2 == 0) {
            vdisk_crash(s.d, VDISK_KILL, after_sync);
            assert_true(holds(&s, "/a/x", "first"));
            assert_null(vdisk_get(s.d, "/a/z").p);
        } else {
            vdisk_crash(s.d, VDISK_POWER, before_sync);
            lost += !holds(&s, "/a/x", "first");
            assert_null(vdisk_get(s.d, "/a/z").p);
        }
        end(&s);
    }
    assert_true(lost > 5);
}

static void on_trap(void *data, int64_t at_us)
{
    *(int64_t *)data = at_us;
}

static void test_faults(void **state)
{
    struct stage s;
    int64_t trapped = -1;

    begin(&s, 3);
    struct vfs_file *f = open_file(&s, "/a/x");
    vdisk_set_full(s.d, true);
    assert_int_equal(s.vfs->write_at(f, "abcd", 4, 0), RC_NOSPACE);
    vdisk_set_full(s.d, false);
    vdisk_fail_write(s.d, 1);
    put(&s, f, "one", 0);
    assert_int_equal(s.vfs->write_at(f, "two", 3, 3), RC_IO);
    put(&s, f, "two", 3);
    vdisk_fail_sync(s.d, 0);
    assert_int_equal(s.vfs->sync(f), RC_IO);
    assert_int_equal(s.vfs->sync(f), 0); /* proves nothing */
    vdisk_stall(s.d, 5 * SEC_US);
    put(&s, f, "x", 0);
    assert_int_equal(s.vfs->sync(f), 0);
    assert_true(vdisk_time(s.d) >= 5 * SEC_US);
    vdisk_trap(s.d, 1, on_trap, &trapped);
    put(&s, f, "y", 0);
    assert_int_equal(trapped, -1);
    assert_int_equal(s.vfs->write_at(f, "z", 1, 1), RC_IO);
    assert_true(trapped >= 5 * SEC_US);
    assert_int_equal(s.vfs->rename(s.vfs->ctx, "/a/x", "/a/y"), RC_IO);
    s.vfs->close(f);
    vdisk_crash(s.d, VDISK_KILL, trapped);
    assert_int_equal(vdisk_get(s.d, "/a/x").p[0], 'y');
    assert_int_not_equal(vdisk_get(s.d, "/a/x").p[1], 'z');
    end(&s);
}

/* A sync that failed takes pages for clean: a later one that works has not written them. */
static void test_failed_sync_loses(void **state)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct stage s;

        begin(&s, seed);
        struct vfs_file *f = open_file(&s, "/a/x");
        assert_int_equal(s.vfs->sync_dir(s.vfs->ctx, "/a"), 0);
        put(&s, f, "gone", 0);
        vdisk_fail_sync(s.d, 0);
        assert_int_equal(s.vfs->sync(f), RC_IO);
        assert_int_equal(s.vfs->sync(f), 0);
        s.vfs->close(f);
        vdisk_crash(s.d, VDISK_POWER, vdisk_time(s.d));
        assert_int_equal(vdisk_get(s.d, "/a/x").n, 0);
        end(&s);
    }
}

/* What changes no bytes is written, too: lengths and names. */
static void test_failed_metadata(void **state)
{
    struct stage s;

    begin(&s, 1);
    struct vfs_file *f = open_file(&s, "/a/x");
    put(&s, f, "hello", 0);
    vdisk_fail_write(s.d, 0);
    assert_int_equal(s.vfs->truncate(f, 2), RC_IO);
    vdisk_fail_write(s.d, 0);
    assert_int_equal(s.vfs->rename(s.vfs->ctx, "/a/x", "/a/y"), RC_IO);
    vdisk_fail_write(s.d, 0);
    assert_int_equal(s.vfs->remove(s.vfs->ctx, "/a/x"), RC_IO);
    assert_true(holds(&s, "/a/x", "hello"));
    assert_int_equal(s.vfs->truncate(f, 2), 0);
    s.vfs->close(f);
    assert_true(holds(&s, "/a/x", "he"));
    end(&s);
}

/* One file at random, or all of a kind. */
static void test_rot(void **state)
{
    static const char *const paths[] = { "/a/snapshot.1", "/a/snapshot.2", "/a/log.1" };
    struct sim_rng r = rng_split(1, RNG_FAULTS, 1);
    struct stage s;
    char *what;

    begin(&s, 1);
    assert_false(vdisk_rot(s.d, &r, NULL, &what));
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct vfs_file *f = open_file(&s, paths[i]);
        put(&s, f, "hello", 0);
        assert_int_equal(s.vfs->sync(f), 0);
        s.vfs->close(f);
    }
    s.w.now_us = vdisk_time(s.d);
    assert_true(vdisk_rot(s.d, &r, "snapshot.", &what));
    free(what);
    assert_false(holds(&s, paths[0], "hello") || holds(&s, paths[1], "hello"));
    assert_true(holds(&s, paths[2], "hello"));
    assert_false(vdisk_rot(s.d, &r, "nothing.", &what));
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_keeps_all), cmocka_unit_test(test_power),  cmocka_unit_test(test_ahead_of_time),
        cmocka_unit_test(test_faults),         cmocka_unit_test(test_failed_sync_loses),
        cmocka_unit_test(test_failed_metadata), cmocka_unit_test(test_rot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
