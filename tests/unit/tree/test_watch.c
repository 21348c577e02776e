/* test_watch.c - who is told what, in which order, and what is left registered afterwards (spec 4.2 to 4.7). Events are
 * written down as text: "<watcher>:<type><path>", types C created, D deleted, W written, K children. */
#include "util.h"

#include <stdio.h>

#define MAX_WATCHERS 4
static char seen[1024];
static struct watcher watchers[MAX_WATCHERS];
static int64_t seen_zxid;

static void note(const char *who, enum zk_event_type type, struct jstr path)
{
    static const char letters[] = "?CDWK";
    size_t n = strlen(seen);
    snprintf(seen + n, sizeof(seen) - n, "%s%s%c%.*s", n ? " " : "", who, letters[type], (int)path.n, path.p);
}

static void on_fire(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    (void)data;
    char who[8];
    snprintf(who, sizeof(who), "%d:", (int)(w - watchers));
    seen_zxid = zxid;
    note(who, type, path);
}

static void on_missed(void *data, enum zk_event_type type, struct jstr path)
{
    (void)data;
    note("", type, path);
}

/* The registrations, in short: d/c STANDARD data/child, p PERSISTENT, r RECURSIVE; "0d/a 1r/". */
static void register_all(struct watch_table *wt, const char *text)
{
    char copy[256];
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *save, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        struct watcher *w = &watchers[word[0] - '0'];
        struct jstr path = jstr_of(word + 2);
        switch (word[1]) {
        case 'd':
            watch_add(wt, w, path, WATCH_DATA, WATCH_STANDARD);
            break;
        case 'c':
            watch_add(wt, w, path, WATCH_CHILD, WATCH_STANDARD);
            break;
        default:
            watch_add_persistent(wt, w, path, word[1] == 'p' ? ZK_WATCH_PERSISTENT : ZK_WATCH_PERSISTENT_RECURSIVE);
        }
    }
}

static void leave_all(struct watch_table *wt)
{
    for (int i = 0; i < MAX_WATCHERS; i++) {
        watch_remove_all(wt, &watchers[i]);
        assert_null(watchers[i].entries);
    }
    struct watch_summary s = { 0 };
    watch_summary_add(wt, &s);
    assert_int_equal(s.all + s.paths + s.connections + s.total, 0);
}

static const char *events(void)
{
    static char last[sizeof(seen)];
    memcpy(last, seen, sizeof(last));
    seen[0] = 0;
    return last;
}

/* Each change is made twice where that shows what a first firing used up. */
static void test_triggers(void **state)
{
    (void)state;
    static const struct {
        const char *name, *watches, *change, *path, *first, *second;
    } cases[] = {
        /* The tree has /a, /a/b. "+" create, "-" delete, "=" setData, "@" setACL. */
        { "create fires data of the node, then child of the parent", "0c/a 0d/a/n", "+", "/a/n", "0:C/a/n 0:K/a", "" },
        { "create under the root", "0c/ 1d/n", "+", "/n", "1:C/n 0:K/", "" },
        { "a child watch on the node itself hears nothing of its creation", "0c/a/n", "+", "/a/n", "", "" },
        { "a data watch on the parent hears nothing", "0d/a", "+", "/a/n", "", "" },
        { "delete tells a watcher of data and child once", "0d/a/b 0c/a/b 0c/a", "-", "/a/b", "0:D/a/b 0:K/a", "" },
        { "delete tells those who watch children only", "0d/a/b 1c/a/b", "-", "/a/b", "0:D/a/b 1:D/a/b", "" },
        { "setData", "0d/a/b 0c/a/b 0c/a", "=", "/a/b", "0:W/a/b", "" },
        { "order of registration", "2d/a/b 0d/a/b 1d/a/b", "=", "/a/b", "2:W/a/b 0:W/a/b 1:W/a/b", "" },
        { "setACL fires nothing", "0d/a 0c/a 0r/ 0p/a", "@", "/a", "", "" },
        { "persistent stays", "0p/a/b", "=", "/a/b", "0:W/a/b", "0:W/a/b" },
        { "persistent hears of children", "0p/a", "+", "/a/n", "0:K/a", "" },
        { "persistent and standard: one event, the persistent stays", "0p/a/b 0d/a/b", "=", "/a/b", "0:W/a/b", "0:W/a/b" },
        { "recursive on the node", "0r/a/b", "=", "/a/b", "0:W/a/b", "0:W/a/b" },
        { "recursive on an ancestor", "0r/a", "=", "/a/b", "0:W/a/b", "0:W/a/b" },
        { "recursive on the root sees all", "0r/", "+", "/zookeeper/n", "0:C/zookeeper/n", "" },
        { "recursive never hears of children", "0r/a", "+", "/a/n", "0:C/a/n", "" },
        { "recursive and child watch: both have their event", "0r/a 0c/a", "+", "/a/n", "0:C/a/n 0:K/a", "" },
        { "recursive at two ancestors and a data watch: one event", "0r/ 0r/a 0d/a/b", "=", "/a/b", "0:W/a/b", "0:W/a/b" },
        { "recursive matches whole components", "0r/a", "+", "/ab", "", "" },
        { "delete: recursive and child watch of one watcher", "0r/a 0c/a/b", "-", "/a/b", "0:D/a/b", "" },
        { "nearest ancestor first, after the exact ones", "0r/ 1r/a 2d/a/b 3r/a/b", "=", "/a/b",
          "2:W/a/b 3:W/a/b 1:W/a/b 0:W/a/b", "3:W/a/b 1:W/a/b 0:W/a/b" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        struct tree *t = tree_new(NULL);
        struct watch_table *wt = watch_table_new(on_fire, NULL);
        tree_attach_watches(t, wt);
        util_create(t, 1, "/a", "x", 0);
        util_create(t, 2, "/a/b", "x", 0);
        register_all(wt, cases[i].watches);
        for (int round = 0; round < 2; round++) {
            seen_zxid = 10 + round;
            switch (cases[i].change[0]) {
            case '+':
                util_create(t, 10 + round, cases[i].path, "x", 0);
                break;
            case '-':
                util_delete(t, 10 + round, cases[i].path);
                break;
            case '=':
                util_set(t, 10 + round, cases[i].path, "y", 1);
                break;
            default:
                util_set_acl(t, 10 + round, cases[i].path, util_open, 1);
            }
            assert_string_equal(events(), round ? cases[i].second : cases[i].first);
            assert_int_equal(seen_zxid, 10 + round);
        }
        leave_all(wt);
        tree_detach_watches(t, wt);
        util_set(t, 20, "/a", "y", 2);
        assert_string_equal(events(), "");
        watch_table_free(wt);
        tree_free(t);
    }
}

/* A multi fires its steps in order; a closing session its deletions, listed ones first. Failed ones fire nothing. */
static void test_compound(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    struct watch_table *wt = watch_table_new(on_fire, NULL);
    tree_attach_watches(t, wt);
    util_session(t, 1, 7, 1000);
    util_create(t, 2, "/e1", "", 7);
    util_create(t, 3, "/e2", "", 7);
    util_create(t, 4, "/e3", "", 7);
    register_all(wt, "0r/");
    for (int failed = 1; failed >= 0; failed--) {
        struct txn x = { .h = util_header(5, ZK_OP_MULTI, 1) };
        struct wr sub = wr_init(0);
        wr_i32(&x.body, 2 + failed);
        for (int i = 0; i < 2; i++) {
            wr_reset(&sub);
            util_write_create(&sub, ZK_OP_CREATE, jstr_of(i ? "/m/k" : "/m"), util_data("x"), util_open, false, 1, 0);
            wr_i32(&x.body, ZK_OP_CREATE);
            jute_write_buf(&x.body, (struct jbuf){ sub.p, (int32_t)sub.n });
        }
        if (failed) {
            wr_reset(&sub);
            wr_i32(&sub, ZK_BADVERSION);
            wr_i32(&x.body, ZK_OP_ERROR);
            jute_write_buf(&x.body, (struct jbuf){ sub.p, (int32_t)sub.n });
        }
        util_run(t, &x);
        wr_free(&sub);
        assert_string_equal(events(), failed ? "" : "0:C/m 0:C/m/k");
    }
    struct txn x = { .h = util_header(6, ZK_OP_CLOSE_SESSION, 7) };
    wr_i32(&x.body, 2);
    jute_write_str(&x.body, jstr_of("/e3"));
    jute_write_str(&x.body, jstr_of("/gone"));
    util_run(t, &x);
    assert_string_equal(events(), "0:D/e3 0:D/e1 0:D/e2");
    leave_all(wt);
    watch_table_free(wt);
    tree_free(t);
}

/* What a watcher may not read, it does not hear of; its one-shot watch is used up all the same (spec 4.5). */
static void test_acl_filter(void **state)
{
    (void)state;
    static struct jacl secret_entry = { ZK_PERM_ALL, { "digest", 6 }, { "u:h", 3 } };
    static const struct jacls secret = { &secret_entry, 1 };
    for (int skip = 0; skip < 2; skip++) {
        struct tree *t = tree_new(&(struct tree_options){ .skip_acl = skip });
        struct watch_table *wt = watch_table_new(on_fire, NULL);
        tree_attach_watches(t, wt);
        watchers[0].ids = auth_ids_new("127.0.0.1");
        watchers[1].ids = auth_ids_add(auth_ids_new("127.0.0.1"), "digest", "u:h");
        watchers[2].ids = auth_ids_add(auth_ids_new("127.0.0.1"), "super", "");
        register_all(wt, "0d/s 1d/s 2d/s");
        util_create_as(t, 1, ZK_OP_CREATE, "/s", "x", secret, 0, 1, 0);
        assert_string_equal(events(), skip ? "0:C/s 1:C/s 2:C/s" : "1:C/s 2:C/s");
        util_set(t, 2, "/s", "y", 1);
        assert_string_equal(events(), "");
        register_all(wt, "0d/s 1d/s 0c/s 1c/s 0p/s");
        util_create(t, 3, "/s/k", "open", 0); /* the parent's ACL decides over the children's event */
        assert_string_equal(events(), skip ? "0:K/s 1:K/s" : "1:K/s");
        util_delete(t, 4, "/s/k");
        assert_string_equal(events(), skip ? "0:K/s" : "");
        util_delete(t, 5, "/s"); /* the ACL that it had */
        assert_string_equal(events(), skip ? "0:D/s 1:D/s" : "1:D/s");
        leave_all(wt);
        for (int i = 0; i < 3; i++) {
            auth_ids_unref(watchers[i].ids);
            watchers[i].ids = NULL;
        }
        watch_table_free(wt);
        tree_free(t);
    }
}

/* Spec 4.6, each cell. The node /a: mzxid 5, pzxid 6. */
static void test_set_watches(void **state)
{
    (void)state;
    static const struct {
        const char *list, *path;
        int64_t since;
        const char *missed, *left; /* left: the event of a setData/create afterwards, showing that it was registered */
    } cases[] = {
        { "data", "/none", 9, "D/none", "" },
        { "data", "/a", 4, "W/a", "" },
        { "data", "/a", 5, "", "0:W/a" },
        { "exist", "/none", 0, "", "0:C/none" },
        { "exist", "/a", 9, "C/a", "" },
        { "child", "/none", 9, "D/none", "" },
        { "child", "/a", 5, "K/a", "" },
        { "child", "/a", 6, "", "0:K/a" },
        { "persistent", "/none", 0, "", "0:C/none" },
        { "persistent", "/a", 0, "", "0:W/a 0:K/a" },
        { "recursive", "/none", 0, "", "0:C/none" },
        { "recursive", "/a", 0, "", "0:W/a 0:C/a/new" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s %s %lld\n", cases[i].list, cases[i].path, (long long)cases[i].since);
        struct tree *t = tree_new(NULL);
        struct watch_table *wt = watch_table_new(on_fire, NULL);
        util_create(t, 4, "/a", "x", 0);
        util_set(t, 5, "/a", "y", 1);
        util_create(t, 6, "/a/k", "x", 0);
        struct jstr path = jstr_of(cases[i].path);
        struct jstrs one = { &path, 1 }, none = { NULL, 0 };
        struct set_watches2 req = { cases[i].since, none, none, none, none, none };
        struct jstrs *lists[] = { &req.data, &req.exist, &req.child, &req.persistent, &req.recursive };
        static const char *const names[] = { "data", "exist", "child", "persistent", "recursive" };
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            if (strcmp(cases[i].list, names[k]) == 0)
                *lists[k] = one;
        tree_set_watches(t, wt, &watchers[0], &req, on_missed, NULL);
        assert_string_equal(events(), cases[i].missed);
        tree_attach_watches(t, wt);
        util_set(t, 10, "/a", "z", 2);
        util_create(t, 11, "/none", "x", 0);
        util_create(t, 12, "/a/new", "x", 0);
        assert_string_equal(events(), cases[i].left);
        leave_all(wt);
        watch_table_free(wt);
        tree_free(t);
    }
}

/* Spec 4.7: what each type finds, and what is left when it was removed. */
static void test_check_and_remove(void **state)
{
    (void)state;
    static const enum zk_watcher_type types[] = { ZK_WATCHER_CHILDREN, ZK_WATCHER_DATA, ZK_WATCHER_ANY, ZK_WATCHER_PERSISTENT,
                                                  ZK_WATCHER_PERSISTENT_RECURSIVE };
    enum { CHILD, DATA, ANY, PERS, REC };
    static const struct {
        const char *watches;
        int type; /* index into types[] */
        bool found;
        uint64_t left;
    } cases[] = {
        { "0d/a", DATA, true, 0 },       { "0d/a", CHILD, false, 1 },     { "0c/a", CHILD, true, 0 },
        { "0c/a", DATA, false, 1 },      { "0d/a 0c/a", DATA, true, 1 },  { "0d/a 0c/a", ANY, true, 0 },
        { "0p/a", PERS, true, 0 },       { "0p/a", DATA, false, 2 },      { "0p/a", REC, false, 2 },
        { "0r/a", REC, true, 0 },        { "0r/a", PERS, false, 1 },      { "0r/a", ANY, true, 0 },
        { "0r/a 0p/a", REC, true, 2 },   { "0r/a 0p/a", PERS, true, 1 },  { "0d/a 0p/a 0r/a 0c/a", ANY, true, 0 },
        { "0d/a 0p/a", DATA, true, 2 },  { "0d/ab 1d/a", ANY, false, 2 }, { "", ANY, false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: '%s' type %d\n", cases[i].watches, cases[i].type);
        enum zk_watcher_type type = types[cases[i].type];
        struct watch_table *wt = watch_table_new(on_fire, NULL);
        register_all(wt, cases[i].watches);
        register_all(wt, cases[i].watches); /* twice is once */
        assert_int_equal(watch_has(wt, &watchers[0], jstr_of("/a"), type), cases[i].found);
        assert_int_equal(watch_remove(wt, &watchers[0], jstr_of("/a"), type), cases[i].found);
        assert_false(watch_remove(wt, &watchers[0], jstr_of("/a"), type));
        struct watch_summary s = { 0 };
        watch_summary_add(wt, &s);
        assert_int_equal(s.all, cases[i].left);
        leave_all(wt);
        watch_table_free(wt);
    }
}

static void count_pair(void *data, const struct watcher *w, struct jstr path)
{
    (void)w;
    assert_true(path.n > 0);
    ++*(size_t *)data;
}

/* Many watchers on many paths come and go; the figures stay right. */
static void test_many(void **state)
{
    (void)state;
    enum { WATCHERS = 300, PATHS = 200 };
    struct watch_table *wt = watch_table_new(on_fire, NULL);
    struct watcher *many = x_calloc(WATCHERS, sizeof(*many));
    char path[32];
    for (int i = 0; i < WATCHERS; i++)
        for (int k = 0; k < PATHS; k++) {
            snprintf(path, sizeof(path), "/n%d", k);
            watch_add(wt, &many[i], jstr_of(path), k % 2 ? WATCH_DATA : WATCH_CHILD, WATCH_STANDARD);
        }
    struct watch_summary s = { 0 };
    watch_summary_add(wt, &s);
    assert_int_equal(s.connections, WATCHERS);
    assert_int_equal(s.paths, PATHS / 2);
    assert_int_equal(s.total, WATCHERS * PATHS / 2);
    assert_int_equal(s.all, WATCHERS * PATHS);
    size_t pairs = 0;
    watch_each(wt, count_pair, &pairs);
    assert_int_equal(pairs, WATCHERS * PATHS / 2);
    for (int i = 0; i < WATCHERS; i += 2)
        watch_remove_all(wt, &many[i]);
    assert_true(watch_has(wt, &many[1], jstr_of("/n1"), ZK_WATCHER_DATA));
    assert_false(watch_has(wt, &many[0], jstr_of("/n1"), ZK_WATCHER_DATA));
    for (int i = 1; i < WATCHERS; i += 2)
        watch_remove_all(wt, &many[i]);
    free(many);
    leave_all(wt);
    watch_table_free(wt);
}

/* The ensemble's configuration comes without a transaction: watchers hear of it, the digest does not. */
static void test_config(void **state)
{
    (void)state;
    struct tree *t = tree_new(NULL);
    struct watch_table *wt = watch_table_new(on_fire, NULL);
    struct zk_stat stat;
    struct jbuf data;

    tree_attach_watches(t, wt);
    util_create(t, 1, "/a", "x", 0);
    uint64_t digest = tree_digest(t);
    register_all(wt, "0d/zookeeper/config");
    tree_set_config(t, (struct jbuf){ (const uint8_t *)"text", 4 }, 0x500000000, 77);
    assert_string_equal(events(), "0:W/zookeeper/config");
    assert_int_equal(tree_get_data(t, jstr_of("/zookeeper/config"), NULL, true, &data, &stat), ZK_OK);
    assert_int_equal(data.n, 4);
    assert_int_equal(stat.version, -1);
    assert_int_equal(stat.mzxid, 0x500000000);
    assert_int_equal(stat.mtime, 77);
    assert_int_equal(stat.czxid, 0);
    assert_int_equal(stat.aversion, -1);
    assert_int_equal(tree_last_zxid(t), 1);
    assert_true(tree_digest(t) == digest);
    tree_check(t);
    leave_all(wt);
    tree_detach_watches(t, wt);
    watch_table_free(wt);
    tree_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_triggers),     cmocka_unit_test(test_compound),         cmocka_unit_test(test_acl_filter),
        cmocka_unit_test(test_set_watches),  cmocka_unit_test(test_check_and_remove), cmocka_unit_test(test_many),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
