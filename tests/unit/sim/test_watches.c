/* Watches: what must come, when, and what must not. */
#include "story.h"

static struct story s;

static int setup(void **state)
{
    story_begin(&s);
    return 0;
}

static int teardown(void **state)
{
    story_end(&s);
    return 0;
}

static void verdict_here(const char *name)
{
    verdict_of(&s, check_watches, name);
}

static void watches(int client, int32_t op, const char *path, int64_t zxid)
{
    struct hist_op *o = sends(&s, client, op, path, NULL, -1);

    o->watch = true;
    answered(&s, o, zxid);
}

static void lasting(int client, int32_t mode, const char *path, int64_t zxid)
{
    struct hist_op *o = sends(&s, client, ZK_OP_ADD_WATCH, path, NULL, -1);

    o->watch = true;
    o->arg.flags = mode;
    answered(&s, o, zxid);
}

/* Somebody (client 3) changes things; the log only. */
static int64_t set(const char *path, int32_t version)
{
    return commits(&s, sends(&s, 3, ZK_OP_SET_DATA, path, "x", -1), version);
}

static int64_t create(const char *path, int32_t parent_cversion)
{
    return commits(&s, sends(&s, 3, ZK_OP_CREATE, path, "x", -1), parent_cversion);
}

static int64_t delete(const char *path)
{
    return commits(&s, sends(&s, 3, ZK_OP_DELETE, path, NULL, -1), 0);
}

static void test_event_before_reply(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    set("/r", 1);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6));
    pong(&s, 0, Z(6));
    verdict_here(NULL);
}

static void test_event_after_reply(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    set("/r", 1);
    pong(&s, 0, Z(6)); /* shows the change */
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6));
    verdict_here("history.watches");
}

static void test_missed(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    set("/r", 1);
    set("/r", 2);
    pong(&s, 0, Z(7));
    verdict_here("history.watches");
}

static void test_missed_at_the_end_of_a_connection_is_legal(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    set("/r", 1);
    verdict_here(NULL);
}

static void test_one_shot(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    set("/r", 1);
    set("/r", 2);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6));
    pong(&s, 0, Z(7));
    verdict_here(NULL);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(7));
    verdict_here("history.watches");
}

static void test_twice(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    set("/r", 1);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6));
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6));
    verdict_here("history.watches");
}

static void test_not_watched(void **state)
{
    set("/r", 1);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6));
    verdict_here("history.watches");
}

static void test_early(void **state)
{
    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(6)); /* nothing was ever committed there */
    verdict_here("history.watches");
}

static void test_set_between_read_and_event(void **state)
{
    set("/r", 1);
    watches(0, ZK_OP_GET_DATA, "/r", Z(6)); /* the watch begins after this state */
    pong(&s, 0, Z(6));
    verdict_here(NULL);
}

static void test_exists_on_absent(void **state)
{
    struct hist_op *o = sends(&s, 0, ZK_OP_EXISTS, "/r/x", NULL, -1);

    o->watch = true;
    refused(&s, o, ZK_NONODE, Z(5));
    create("/r/x", 1);
    event(&s, 0, ZK_EVENT_CREATED, "/r/x", Z(6));
    pong(&s, 0, Z(6));
    verdict_here(NULL);
}

static void test_failed_get_leaves_no_watch(void **state)
{
    struct hist_op *o = sends(&s, 0, ZK_OP_GET_DATA, "/r/x", NULL, -1);

    o->watch = true;
    refused(&s, o, ZK_NONODE, Z(5));
    create("/r/x", 1);
    event(&s, 0, ZK_EVENT_CREATED, "/r/x", Z(6));
    verdict_here("history.watches");
}

static void test_children(void **state)
{
    watches(0, ZK_OP_GET_CHILDREN, "/r", Z(5));
    create("/r/x", 1);
    event(&s, 0, ZK_EVENT_CHILDREN_CHANGED, "/r", Z(6));
    set("/r", 1); /* is not theirs */
    pong(&s, 0, Z(7));
    verdict_here(NULL);
}

static void test_delete_is_told_once(void **state)
{
    create("/r/x", 1);
    watches(0, ZK_OP_GET_DATA, "/r/x", Z(6));
    watches(0, ZK_OP_GET_CHILDREN, "/r/x", Z(6));
    delete("/r/x");
    event(&s, 0, ZK_EVENT_DELETED, "/r/x", Z(7));
    pong(&s, 0, Z(7));
    verdict_here(NULL);
}

static void test_persistent_recursive(void **state)
{
    lasting(0, ZK_WATCH_PERSISTENT_RECURSIVE, "/r", Z(5));
    create("/r/x", 1);
    event(&s, 0, ZK_EVENT_CREATED, "/r/x", Z(6));
    set("/r/x", 1);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r/x", Z(7));
    set("/r/x", 2);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r/x", Z(8));
    delete("/r/x");
    event(&s, 0, ZK_EVENT_DELETED, "/r/x", Z(9));
    pong(&s, 0, Z(9));
    verdict_here(NULL);
    set("/r", 1);
    pong(&s, 0, Z(10));
    verdict_here("history.watches");
}

static void test_persistent(void **state)
{
    lasting(0, ZK_WATCH_PERSISTENT, "/r", Z(5));
    create("/r/x", 1);
    event(&s, 0, ZK_EVENT_CHILDREN_CHANGED, "/r", Z(6));
    set("/r/x", 1); /* not below */
    set("/r", 1);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(8));
    pong(&s, 0, Z(8));
    verdict_here(NULL);
}

/* READ on the node decides who hears; the watch is used up all the same. */
static void test_acl_keeps_back(void **state)
{
    struct hist_op *o = sends(&s, 3, ZK_OP_SET_ACL, "/r", NULL, -1);
    struct jacl a = { ZK_PERM_WRITE, jstr_of("world"), jstr_of("anyone") };

    watches(0, ZK_OP_GET_DATA, "/r", Z(5));
    o->arg.acl = (struct jacls){ &a, 1 };
    commits(&s, o, 1);
    set("/r", 1);
    pong(&s, 0, Z(7));
    verdict_here(NULL);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", Z(7));
    verdict_here("history.watches");
}

static struct hist_op *set_watches(int client, int64_t relative, int list, const char *path)
{
    struct hist_op *o = sends(&s, client, ZK_OP_SET_WATCHES2, NULL, NULL, -1);

    o->relative_zxid = relative;
    o->lists[list].v = arena_calloc(&s.h->arena, 1, sizeof(struct jstr));
    o->lists[list].v[0] = jstr_of(path);
    o->lists[list].n = 1;
    return o;
}

static void test_catch_up(void **state)
{
    struct hist_op *o = set_watches(0, Z(5), 0, "/r");

    set("/r", 1);
    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", -1);
    answered(&s, o, Z(6));
    set("/r", 2);
    pong(&s, 0, Z(7)); /* the watch was used up */
    verdict_here(NULL);
}

static void test_catch_up_missed(void **state)
{
    struct hist_op *o = set_watches(0, Z(5), 0, "/r");

    set("/r", 1);
    answered(&s, o, Z(6));
    verdict_here("history.watches");
}

static void test_catch_up_for_nothing(void **state)
{
    struct hist_op *o = set_watches(0, Z(5), 0, "/r");

    event(&s, 0, ZK_EVENT_DATA_CHANGED, "/r", -1);
    answered(&s, o, Z(5));
    verdict_here("history.watches");
}

static void test_set_again(void **state)
{
    answered(&s, set_watches(0, Z(5), 2, "/r"), Z(5));
    create("/r/x", 1);
    event(&s, 0, ZK_EVENT_CHILDREN_CHANGED, "/r", Z(6));
    pong(&s, 0, Z(6));
    verdict_here(NULL);
}

static void test_set_again_then_missed(void **state)
{
    answered(&s, set_watches(0, Z(5), 1, "/r/x"), Z(5));
    create("/r/x", 1);
    pong(&s, 0, Z(6));
    verdict_here("history.watches");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_event_before_reply),
        TEST(test_event_after_reply),
        TEST(test_missed),
        TEST(test_missed_at_the_end_of_a_connection_is_legal),
        TEST(test_one_shot),
        TEST(test_twice),
        TEST(test_not_watched),
        TEST(test_early),
        TEST(test_set_between_read_and_event),
        TEST(test_exists_on_absent),
        TEST(test_failed_get_leaves_no_watch),
        TEST(test_children),
        TEST(test_delete_is_told_once),
        TEST(test_persistent_recursive),
        TEST(test_persistent),
        TEST(test_acl_keeps_back),
        TEST(test_catch_up),
        TEST(test_catch_up_missed),
        TEST(test_catch_up_for_nothing),
        TEST(test_set_again),
        TEST(test_set_again_then_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
