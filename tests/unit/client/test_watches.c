/* The watch table: who hears what (ZKWatchManager's rules), once, and what stays registered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "watches.h"
#include "jute/records.h"

static struct wr heard;
static struct watches *table;

static void on_event(quoll_client *c, const struct quoll_event *ev, void *data)
{
    wr_printf(&heard, "%s ", (const char *)data);
}

static struct watcher named(const char *name)
{
    return (struct watcher){ on_event, (void *)(uintptr_t)name };
}

static const char *fire(struct watches *t, enum quoll_event_type type, const char *path)
{
    struct quoll_event ev = { .type = type, .path = path };
    wr_reset(&heard);
    watches_fire(t, NULL, path, &ev);
    return wr_cstr(&heard);
}

/* Every kind of watcher on /a/b, recursive ones above it, and who hears an event on /a/b the first and the second time. */
static void test_dispatch(void **state)
{
    static const struct {
        enum quoll_event_type type;
        const char *path, *first, *second;
    } cases[] = {
        { QUOLL_EVENT_CREATED, "/a/b", "data exist pers rec recA recRoot ", "pers rec recA recRoot " },
        { QUOLL_EVENT_DATA_CHANGED, "/a/b", "data exist pers rec recA recRoot ", "pers rec recA recRoot " },
        { QUOLL_EVENT_DELETED, "/a/b", "data exist child pers rec recA recRoot ", "pers rec recA recRoot " },
        { QUOLL_EVENT_CHILDREN_CHANGED, "/a/b", "child pers ", "pers " },
        { QUOLL_EVENT_CREATED, "/a/b/c/d", "rec recA recRoot ", "rec recA recRoot " },
        { QUOLL_EVENT_DELETED, "/a/b/c", "rec recA recRoot ", "rec recA recRoot " },
        { QUOLL_EVENT_CHILDREN_CHANGED, "/a/b/c", "", "" },
        { QUOLL_EVENT_CREATED, "/a/bc", "recA recRoot ", "recA recRoot " },
        { QUOLL_EVENT_DATA_CHANGED, "/ab", "recRoot ", "recRoot " },
        { QUOLL_EVENT_DATA_CHANGED, "/", "recRoot ", "recRoot " },
        { QUOLL_EVENT_DELETED, "/a", "recA recRoot ", "recA recRoot " },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct watches t = { 0 };
        print_message("case %zu: type %d on %s\n", i, cases[i].type, cases[i].path);
        watches_add(&t, "/a/b", WATCH_DATA, named("data"));
        watches_add(&t, "/a/b", WATCH_DATA, named("data"));
        watches_add(&t, "/a/b", WATCH_EXIST, named("exist"));
        watches_add(&t, "/a/b", WATCH_CHILD, named("child"));
        watches_add(&t, "/a/b", WATCH_PERSISTENT, named("pers"));
        watches_add(&t, "/a/b", WATCH_RECURSIVE, named("rec"));
        watches_add(&t, "/a", WATCH_RECURSIVE, named("recA"));
        watches_add(&t, "/", WATCH_RECURSIVE, named("recRoot"));
        assert_string_equal(fire(&t, cases[i].type, cases[i].path), cases[i].first);
        assert_string_equal(fire(&t, cases[i].type, cases[i].path), cases[i].second);
        watches_free(&t);
    }
}

static void test_one_pair_hears_an_event_once(void **state)
{
    struct watches t = { 0 };
    const char *w = "w";
    watches_add(&t, "/a", WATCH_DATA, named(w));
    watches_add(&t, "/a", WATCH_CHILD, named(w));
    watches_add(&t, "/", WATCH_RECURSIVE, named(w));
    assert_string_equal(fire(&t, QUOLL_EVENT_DELETED, "/a"), "w ");
    struct quoll_event ev = { .type = QUOLL_EVENT_SESSION, .path = "" };
    watches_add(&t, "/b", WATCH_CHILD, named(w));
    wr_reset(&heard);
    watches_session(&t, NULL, &ev, WATCH_ONE_SHOT);
    assert_string_equal(wr_cstr(&heard), "w ");
    assert_int_equal(watches_kinds(&t, "/b", NULL), 0);
    assert_int_equal(watches_kinds(&t, "/", NULL), WATCH_BIT(WATCH_RECURSIVE));
    watches_free(&t);
}

static void forget_second(quoll_client *c, const struct quoll_event *ev, void *data)
{
    wr_text(&heard, "first ");
    watches_forget(table, named("second"));
    watches_add(table, "/a", WATCH_DATA, named("third"));
}

static void test_changes_while_dispatching(void **state)
{
    struct watches t = { 0 };
    table = &t;
    watches_add(&t, "/a", WATCH_DATA, (struct watcher){ forget_second, NULL });
    watches_add(&t, "/a", WATCH_DATA, named("second"));
    assert_string_equal(fire(&t, QUOLL_EVENT_DATA_CHANGED, "/a"), "first ");
    assert_string_equal(fire(&t, QUOLL_EVENT_DATA_CHANGED, "/a"), "third ");
    watches_free(&t);
}

static void test_remove(void **state)
{
    struct watches t = { 0 };
    struct quoll_event ev = { .type = QUOLL_EVENT_WATCH_REMOVED, .path = "/a" };
    struct watcher one = named("one");
    watches_add(&t, "/a", WATCH_DATA, one);
    watches_add(&t, "/a", WATCH_DATA, named("two"));
    watches_add(&t, "/a", WATCH_CHILD, named("two"));
    wr_reset(&heard);
    assert_int_equal(watches_remove(&t, NULL, "/a", WATCH_BIT(WATCH_DATA), &one, &ev), 1);
    assert_int_equal(watches_remove(&t, NULL, "/a", WATCH_BIT(WATCH_DATA), &one, &ev), 0);
    assert_int_equal(watches_count(&t, "/a", WATCH_ALL), 2);
    assert_int_equal(watches_remove(&t, NULL, "/a", WATCH_ALL, NULL, &ev), 1);
    assert_string_equal(wr_cstr(&heard), "one two ");
    assert_int_equal(t.paths.len, 0);
    watches_free(&t);
}

/* Every path appears once in its list, frames are cut, and setWatches is used where no lasting watch needs more. */
static void test_set_frames(void **state)
{
    struct watches t = { 0 };
    struct wr out = wr_init(0);
    bool lasting;
    char path[32];
    assert_int_equal(watches_write_set(&t, &out, 7, 100, &lasting), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "/path/%03d", i);
        watches_add(&t, path, (enum watch_kind)(i % 3), named("w"));
    }
    size_t frames = watches_write_set(&t, &out, 7, 100, &lasting);
    assert_in_range(frames, 9, 10); /* 900 bytes, cut once 100 are reached */
    assert_false(lasting);
    size_t paths = 0;
    struct rd r = rd_init(out.p, out.n);
    struct arena a = arena_init();
    for (size_t i = 0; i < frames; i++) {
        uint32_t len = rd_u32(&r);
        struct rd body = rd_init(rd_take(&r, len), len);
        struct request_header h;
        struct set_watches sw;
        request_header_read(&body, &a, &h);
        set_watches_read(&body, &a, &sw);
        assert_int_equal(body.rc, 0);
        assert_int_equal(rd_left(&body), 0);
        assert_int_equal(h.xid, ZK_XID_SET_WATCHES);
        assert_int_equal(h.type, ZK_OP_SET_WATCHES);
        assert_int_equal(sw.relative_zxid, 7);
        paths += (size_t)(sw.data.n + sw.exist.n + sw.child.n);
    }
    assert_int_equal(paths, 100);
    assert_int_equal(rd_left(&r), 0);
    wr_reset(&out);
    watches_add(&t, "/p", WATCH_RECURSIVE, named("w"));
    assert_int_equal(watches_write_set(&t, &out, 7, 1 << 20, &lasting), 1);
    assert_true(lasting);
    assert_int_equal(load_u32(out.p + 8), ZK_OP_SET_WATCHES2);
    arena_free(&a);
    wr_free(&out);
    watches_free(&t);
}

static int done(void **state)
{
    wr_free(&heard);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispatch), cmocka_unit_test(test_one_pair_hears_an_event_once),
        cmocka_unit_test(test_changes_while_dispatching), cmocka_unit_test(test_remove),
        cmocka_unit_test(test_set_frames),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
