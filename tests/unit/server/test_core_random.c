/* A property over random histories: whatever is pipelined, and however late the log is, the tree is what the log says, and every
 * digest written into the log is the tree's after it. */
#include "harness.h"

#include <stdio.h>

static uint64_t rng;

/* The last seed that is printed is the failing one, whatever way it fails. */
static void note_seed(uint64_t seed)
{
    printf("seed %llu\r", (unsigned long long)seed);
    fflush(stdout);
}

static uint32_t below(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 16) % n;
}

/* Few names, so that requests meet. */
static const char *any_path(void)
{
    static const char *const paths[] = { "/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/1", "/a/x/2", "/c", "/c/x",
                                         "/zookeeper/q", "/", "/zookeeper", "/a/s", "/c/s", "bad", "/a//b" };
    return paths[below(ARRAY_LEN(paths))];
}

static int version(void)
{
    return below(3) == 0 ? (int)below(3) : -1;
}

static const char *acl(void)
{
    static const char *const acls[] = { "open", "open", "open", "open", "world:anyone:1", "world:anyone:27", "none",
                                        "world:~:1" };
    return acls[below(ARRAY_LEN(acls))];
}

static void one_request(char *out, size_t n, bool in_multi)
{
    static const char *const data[] = { "~", "''", "x", "some-data", "0123456789012345678901234567890123456789" };
    const char *d = data[below(ARRAY_LEN(data))];
    switch (below(in_multi ? 11 : 12)) {
    case 0:
    case 1:
    case 2:
        snprintf(out, n, "create %s %s %d %s", any_path(), d, (int)below(4), acl());
        break;
    case 3:
        snprintf(out, n, "create2 %s %s %d %s", any_path(), d, (int)below(4), acl());
        break;
    case 4:
        snprintf(out, n, "container %s %s %d", any_path(), d, below(2) ? 4 : 2);
        break;
    case 5:
        snprintf(out, n, "ttl %s %s %d %d", any_path(), d, 5 + (int)below(2), 1000 * (int)below(4));
        break;
    case 6:
    case 7:
        snprintf(out, n, "delete %s %d", any_path(), version());
        break;
    case 8:
    case 9:
        snprintf(out, n, "set %s %s %d", any_path(), d, version());
        break;
    case 10:
        if (in_multi)
            snprintf(out, n, "check %s %d", any_path(), version());
        else
            snprintf(out, n, "setacl %s %s %d", any_path(), acl(), version());
        break;
    default:
        snprintf(out, n, "reconfig");
    }
}

static void random_request(char *out, size_t n)
{
    if (below(4) != 0) {
        one_request(out, n, false);
        return;
    }
    size_t at = (size_t)snprintf(out, n, "multi");
    for (uint32_t i = below(5); i > 0; i--) {
        char step[200];
        one_request(step, sizeof(step), true);
        at += (size_t)snprintf(out + at, n - at, " %s%s", step, i > 1 ? " ;" : "");
    }
}


enum mode { PIPELINED, ONE_BY_ONE };

/* Durability and applying, somewhere behind; both modes draw the same numbers. */
static void lag(struct world *w, enum mode mode, int64_t *persisted)
{
    uint32_t persist = below(4), apply = below(3), how_far = below(1000), how_many = below(4);
    world_pump(w);
    if (mode == ONE_BY_ONE) {
        world_flush(w);
        return;
    }
    if (persist == 0) {
        *persisted += how_far % (w->appended - *persisted + 1);
        core_persisted(w->core, *persisted);
    }
    if (apply == 0)
        core_apply(w->core, how_many);
    world_pump(w);
}

/* A session ends and another takes its place, which is not there before its transaction is applied. */
static int64_t replace_session(struct world *w, uint64_t *conn, int64_t session)
{
    submit_on(w, *conn, session, "close");
    core_connect(w->core, ++*conn, 0, buf_of("", 0), 6000);
    world_flush(w);
    for (size_t k = w->got.len; k-- > 0;)
        if (w->got.items[k].type == CORE_SESSION_READY && w->got.items[k].conn == *conn)
            return w->got.items[k].session_id;
    fail();
    return 0;
}

static void history(struct world *w, uint64_t seed, enum mode mode, int64_t container_check_ms)
{
    int64_t sessions[4];
    uint64_t conn = 100;
    rng = (seed * 0x9e3779b97f4a7c15) | 1;
    world_init(w);
    w->cfg.extended_types = true;
    w->cfg.container_check_ms = container_check_ms;
    w->cfg.max_txn = 1000;
    world_start(w);
    for (size_t i = 0; i < 4; i++)
        sessions[i] = world_connect(w, ++conn, 4000 + (int32_t)below(4) * 2000);
    int64_t persisted = w->appended;
    for (int i = 0; i < 600; i++) {
        size_t s = below(4);
        char text[1200];
        switch (below(30)) {
        case 0:
            world_tick(w, below(8) ? below(2500) : 7000); /* now and then sessions expire */
            world_flush(w); /* a session that is closing answers -112, one that is gone nothing: let it go */
            persisted = w->appended;
            break;
        case 1:
            sessions[s] = replace_session(w, &conn, sessions[s]);
            persisted = w->appended;
            break;
        default:
            random_request(text, sizeof(text));
            submit_on(w, conn, sessions[s], text);
        }
        lag(w, mode, &persisted);
    }
    world_flush(w);
    assert_int_equal(core_outstanding(w->core), 0);
}

static void check_history(struct world *w)
{
    int64_t last = 0;
    for (size_t i = 0; i < w->got.len; i++)
        if (w->got.items[i].type == CORE_REPLY) {
            assert_true(w->got.items[i].zxid > last);
            last = w->got.items[i].zxid;
        }
    struct tree *t = replay(w);
    assert_same_tree(w->tree, t);
    tree_free(t);
}

static void test_log_is_the_truth(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world w;
        note_seed(seed);
        history(&w, seed, PIPELINED, 3000);
        check_history(&w);
        world_done(&w);
    }
}

/* Order within a closeSession's list is free; everything else is the same to the byte. */
static void assert_same_txn(struct buf a, struct buf b)
{
    struct txn_header h;
    struct rd r = rd_buf(a);
    txn_header_read(&r, NULL, &h);
    assert_int_equal(a.n, b.n);
    if (h.type != ZK_OP_CLOSE_SESSION) {
        assert_memory_equal(a.p, b.p, a.n);
        return;
    }
    assert_memory_equal(a.p, b.p, 36);
    assert_memory_equal(a.p + a.n - 12, b.p + b.n - 12, 12);
}

/* What is accepted while others are under way is what would have been accepted had each been waited for. */
static void test_pipelining_changes_nothing(void **state)
{
    for (uint64_t seed = 1000; seed <= 1200; seed++) {
        struct world a, b;
        note_seed(seed);
        /* Without the reaper, which looks at what is applied. */
        history(&a, seed, PIPELINED, 0);
        history(&b, seed, ONE_BY_ONE, 0);
        for (size_t i = 0; i < MIN(a.log.len, b.log.len); i++)
            assert_same_txn(a.log.items[i], b.log.items[i]);
        assert_int_equal(a.log.len, b.log.len);
        world_done(&a);
        world_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_is_the_truth),
        cmocka_unit_test(test_pipelining_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
