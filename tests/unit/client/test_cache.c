/* The tree cache against a scripted server: the fallback for servers without addWatch, races of events and reads, and that
 * unchanged data are not read again. What real servers show is in tests/integration/test_client.py. */
#include "fake.h"

static quoll_cache *cache;

static void on_change(quoll_cache *k, enum quoll_cache_change change, const struct quoll_cache_node *n, void *data)
{
    tell("%c%s:%.*s", "+*-"[change], n->path, (int)MIN(n->data_len, (size_t)8), (const char *)n->data);
}

static void on_synced(quoll_cache *k, void *data)
{
    tell("synced");
}

static void on_stale(quoll_cache *k, void *data)
{
    tell("stale");
}

static const struct quoll_cache_handler HANDLER = { .on_change = on_change, .on_synced = on_synced, .on_stale = on_stale };

static struct zk_stat stat_of(int64_t mzxid, int64_t pzxid, int32_t children)
{
    return (struct zk_stat){ .mzxid = mzxid, .pzxid = pzxid, .num_children = children };
}

static void give_data(const char *path, const char *data, struct zk_stat st)
{
    expect_path(ZK_OP_GET_DATA, path);
    answer_data(data, &st);
}

static void give_children(const char *path, const char *names, struct zk_stat st)
{
    expect_path(ZK_OP_GET_CHILDREN2, path);
    answer_children(names, &st);
}

static void open_synced(void)
{
    fake_open((struct quoll_options){ .servers = "a" });
    assert_int_equal(quoll_cache_open(F.c, "/t", &HANDLER, &cache), 0);
    assert_int_equal(quoll_cache_stale_ms(cache), -1);
    fake_up();
    expect_path(ZK_OP_ADD_WATCH, "/t");
    answer(0);
    give_data("/t", "r", stat_of(1, 3, 2));
    give_children("/t", "a b", stat_of(1, 3, 2));
    give_data("/t/a", "1", stat_of(2, 2, 0));
    assert_false(quoll_cache_synced(cache));
    give_data("/t/b", "2", stat_of(3, 3, 0));
    assert_string_equal(told(), "+/t:r +/t/a:1 +/t/b:2 synced ");
    assert_int_equal(quoll_cache_stale_ms(cache), 0);
    assert_int_equal(quoll_cache_children(cache, "/t", NULL, NULL), 2);
    assert_int_equal(quoll_cache_get(cache, "/t/a")->stat.mzxid, 2);
    expect_silence();
}

static void done(void)
{
    quoll_cache_close(cache);
    fake_close();
}

static void test_events_become_one_read(void **state)
{
    open_synced();
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a");
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a"); /* while the read is in flight: one more */
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a");
    give_data("/t/a", "x", stat_of(4, 2, 0));
    give_data("/t/a", "y", stat_of(6, 2, 0));
    expect_silence();
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a");
    give_data("/t/a", "y", stat_of(6, 2, 0)); /* nothing new */
    event(QUOLL_EVENT_CREATED, "/other"); /* not ours */
    event(QUOLL_EVENT_CREATED, "/tother");
    expect_silence();
    assert_string_equal(told(), "*/t/a:x */t/a:y ");
    done();
}

static void test_deleted_while_being_read(void **state)
{
    open_synced();
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a");
    event(QUOLL_EVENT_DELETED, "/t/a");
    give_data("/t/a", "ghost", stat_of(4, 2, 0)); /* may be from before: asked again */
    expect_path(ZK_OP_GET_DATA, "/t/a");
    answer(QUOLL_NO_NODE);
    assert_string_equal(told(), "-/t/a:1 ");
    assert_null(quoll_cache_get(cache, "/t/a"));
    assert_int_equal(cache ? quoll_cache_children(cache, "/t", NULL, NULL) : 0, 1);
    done();
}

static void test_new_subtree(void **state)
{
    open_synced();
    event(QUOLL_EVENT_CREATED, "/t/n");
    event(QUOLL_EVENT_CREATED, "/t/n/c"); /* its parent is not here yet: the list brings it */
    give_data("/t/n", "n", stat_of(7, 8, 1));
    give_children("/t/n", "c", stat_of(7, 8, 1));
    give_data("/t/n/c", "c", stat_of(8, 8, 0));
    event(QUOLL_EVENT_DELETED, "/t/n"); /* the child's own event was lost: children go first all the same */
    assert_string_equal(told(), "+/t/n:n +/t/n/c:c -/t/n/c:c -/t/n:n ");
    done();
}

static void reconnect(void)
{
    cut();
    assert_string_equal(told(), "stale connecting ");
    F.now += 5;
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    (void)told();
    expect_op(ZK_OP_SET_WATCHES2);
    answer(0);
    expect_op(ZK_OP_ADD_WATCH);
    answer(0);
}

static void test_reconnection_compares(void **state)
{
    open_synced();
    reconnect();
    assert_true(quoll_cache_stale_ms(cache) > 0);
    give_data("/t", "r", stat_of(1, 9, 2)); /* pzxid moved: listed again */
    give_children("/t", "b c", stat_of(1, 9, 2));
    assert_string_equal(told(), "-/t/a:1 ");
    give_data("/t/b", "2", stat_of(3, 3, 0));
    give_data("/t/c", "3", stat_of(9, 9, 0));
    assert_string_equal(told(), "+/t/c:3 synced ");
    reconnect();
    give_data("/t", "r", stat_of(1, 9, 2)); /* pzxid stands: no list */
    for (int i = 0; i < 2; i++) {
        expect_op(ZK_OP_GET_DATA);
        bool b = jstr_is(jute_read_str(&F.body), "/t/b");
        struct zk_stat st = b ? stat_of(3, 3, 0) : stat_of(9, 9, 0);
        answer_data(b ? "2" : "3", &st);
    }
    assert_string_equal(told(), "synced ");
    assert_int_equal(quoll_cache_stale_ms(cache), 0);
    done();
}

static void test_large_data_are_asked_about_first(void **state)
{
    char big[2000];
    memset(big, 'z', sizeof(big));
    big[sizeof(big) - 1] = 0;
    open_synced();
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a");
    give_data("/t/a", big, stat_of(4, 2, 0));
    for (int64_t mzxid = 4; mzxid <= 5; mzxid++) { /* first unchanged, then changed */
        (void)told();
        reconnect();
        give_data("/t", "r", stat_of(1, 3, 2));
        for (int i = 0; i < 2; i++) {
            assert_true(next_frame());
            request_header_read(&F.body, &F.arena, &F.h);
            struct zk_stat st = F.h.type == ZK_OP_EXISTS ? stat_of(mzxid, 2, 0) : stat_of(3, 3, 0);
            F.h.type == ZK_OP_EXISTS ? answer_stat(&st) : answer_data("2", &st);
        }
        if (mzxid == 5)
            give_data("/t/a", "small", stat_of(5, 2, 0));
        assert_string_equal(told(), mzxid == 4 ? "synced " : "*/t/a:small synced ");
    }
    done();
}

static void test_loss_in_the_middle_of_a_walk(void **state)
{
    open_synced();
    reconnect();
    give_data("/t", "r", stat_of(1, 9, 1));
    expect_path(ZK_OP_GET_CHILDREN2, "/t");
    cut(); /* unanswered: nothing may be concluded from it */
    assert_string_equal(told(), "stale connecting ");
    expect_dial(0);
    answer_connect(7, 0, 0, false); /* and the session is gone too */
    expect_dial(0);
    answer_connect(0, 8, 9000, false);
    expect_op(ZK_OP_SET_WATCHES2);
    answer(0);
    expect_op(ZK_OP_ADD_WATCH);
    answer(0);
    give_data("/t", "r", stat_of(1, 9, 1));
    give_children("/t", "a", stat_of(1, 9, 1));
    give_data("/t/a", "1", stat_of(2, 2, 0));
    assert_string_equal(told(), "expired connecting connected -/t/b:2 synced ");
    done();
}

static void test_absent_root(void **state)
{
    open_synced();
    event(QUOLL_EVENT_DELETED, "/t/a");
    event(QUOLL_EVENT_DELETED, "/t/b");
    event(QUOLL_EVENT_DELETED, "/t");
    assert_string_equal(told(), "-/t/a:1 -/t/b:2 -/t:r ");
    expect_silence();
    event(QUOLL_EVENT_CREATED, "/t");
    give_data("/t", "new", stat_of(20, 20, 0));
    assert_string_equal(told(), "+/t:new ");
    done();
}

/* A server before 3.6: -6, then it hangs up. The session goes on with a watch on every node. */
static void test_per_node_watches(void **state)
{
    fake_open((struct quoll_options){ .servers = "a" });
    quoll_cache_open(F.c, "/t", &HANDLER, &cache);
    fake_up();
    expect_op(ZK_OP_ADD_WATCH);
    answer(QUOLL_UNIMPLEMENTED);
    cut();
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    (void)told();
    give_data("/t", "r", stat_of(1, 2, 1));
    give_children("/t", "a", stat_of(1, 2, 1));
    give_data("/t/a", "1", stat_of(2, 2, 0));
    give_children("/t/a", "", stat_of(2, 2, 0)); /* leaves need their child watch too */
    assert_string_equal(told(), "+/t:r +/t/a:1 synced ");
    event(QUOLL_EVENT_CHILDREN_CHANGED, "/t/a");
    give_children("/t/a", "x", stat_of(2, 3, 1));
    give_data("/t/a/x", "2", stat_of(3, 3, 0));
    give_children("/t/a/x", "", stat_of(3, 3, 0));
    event(QUOLL_EVENT_DATA_CHANGED, "/t/a/x");
    give_data("/t/a/x", "3", stat_of(4, 3, 0));
    expect_silence(); /* the child watch stands */
    assert_string_equal(told(), "+/t/a/x:2 */t/a/x:3 ");
    event(QUOLL_EVENT_DELETED, "/t/a/x");
    event(QUOLL_EVENT_CHILDREN_CHANGED, "/t/a");
    give_children("/t/a", "", stat_of(2, 5, 0));
    event(QUOLL_EVENT_DELETED, "/t/a");
    event(QUOLL_EVENT_DELETED, "/t");
    expect_path(ZK_OP_GET_DATA, "/t");
    answer(QUOLL_NO_NODE);
    expect_path(ZK_OP_EXISTS, "/t"); /* leaves a watch on what is not there */
    answer(QUOLL_NO_NODE);
    event(QUOLL_EVENT_CREATED, "/t");
    give_data("/t", "back", stat_of(9, 9, 0));
    give_children("/t", "", stat_of(9, 9, 0));
    assert_string_equal(told(), "-/t/a/x:3 -/t/a:1 -/t:r +/t:back ");
    done();
}

static void test_moving_to_an_old_server(void **state)
{
    open_synced();
    cut();
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    (void)told();
    expect_op(ZK_OP_SET_WATCHES2);
    answer(QUOLL_UNIMPLEMENTED);
    cut();
    expect_dial(0);
    answer_connect(7, 7, 9000, false);
    (void)told();
    give_data("/t", "r", stat_of(1, 3, 2));
    give_children("/t", "a b", stat_of(1, 3, 2));
    for (int i = 0; i < 2; i++)
        give_data(i ? "/t/b" : "/t/a", i ? "2" : "1", stat_of(2 + i, 2 + i, 0));
    for (int i = 0; i < 2; i++)
        give_children(i ? "/t/b" : "/t/a", "", stat_of(2 + i, 2 + i, 0));
    assert_string_equal(told(), "synced ");
    done();
}

static void close_in_callback(quoll_cache *k, enum quoll_cache_change change, const struct quoll_cache_node *n, void *data)
{
    tell("+%s", n->path);
    quoll_cache_close(k);
}

static void test_close_from_a_callback(void **state)
{
    static const struct quoll_cache_handler h = { .on_change = close_in_callback, .on_synced = on_synced };
    fake_open((struct quoll_options){ .servers = "a" });
    quoll_cache_open(F.c, "/t", &h, &cache);
    fake_up();
    expect_op(ZK_OP_ADD_WATCH);
    answer(0);
    give_data("/t", "r", stat_of(1, 3, 2));
    assert_string_equal(told(), "+/t ");
    expect_path(ZK_OP_REMOVE_WATCHES, "/t");
    answer(0);
    event(QUOLL_EVENT_CREATED, "/t/a");
    expect_silence();
    fake_close();
}

/* With everything in flight, in either order of the two closes. */
static void test_close_orders(void **state)
{
    for (int client_first = 0; client_first < 2; client_first++) {
        fake_open((struct quoll_options){ .servers = "a" });
        quoll_cache_open(F.c, "/t", &HANDLER, &cache);
        fake_up();
        expect_op(ZK_OP_ADD_WATCH);
        expect_op(ZK_OP_GET_DATA);
        if (!client_first)
            quoll_cache_close(cache);
        fake_close();
        if (client_first) {
            assert_false(quoll_cache_synced(cache));
            assert_null(quoll_cache_get(cache, "/t"));
            quoll_cache_close(cache);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_become_one_read),
        cmocka_unit_test(test_deleted_while_being_read),
        cmocka_unit_test(test_new_subtree),
        cmocka_unit_test(test_reconnection_compares),
        cmocka_unit_test(test_large_data_are_asked_about_first),
        cmocka_unit_test(test_loss_in_the_middle_of_a_walk),
        cmocka_unit_test(test_absent_root),
        cmocka_unit_test(test_per_node_watches),
        cmocka_unit_test(test_moving_to_an_old_server),
        cmocka_unit_test(test_close_from_a_callback),
        cmocka_unit_test(test_close_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
