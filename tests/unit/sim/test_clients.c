/* Virtual clients against one standalone core: what they see is right by every check, with resets and restarts too. */
#include "single.h"

static void run(uint64_t seed, int64_t resets, int restarts)
{
    struct single w;
    struct check_input in;
    struct check_replica replica;
    struct check_report r = { 0 };
    size_t ok = 0;

    single_init(&w, seed, 6);
    w.resets = resets; /* of connections: how often */
    for (int i = 0; i <= restarts; i++) {
        single_run(&w, w.now_us + 4000000);
        if (i < restarts)
            single_restart(&w);
    }
    w.resets = 0;
    single_settle(&w);
    single_input(&w, &in, &replica);
    check_all(&in, &r);
    for (size_t i = 0; i < r.findings.len; i++)
        print_message("seed %llu: %s: %s\n", (unsigned long long)seed, r.findings.items[i].name, r.findings.items[i].text);
    for (size_t i = 0; i < w.h->ops.len; i++)
        ok += w.h->ops.items[i]->outcome == HIST_OK;
    assert_int_equal(r.findings.len, 0);
    assert_true(ok > 500);
    check_report_free(&r);
    single_done(&w);
}

static void test_calm(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        run(seed, 0, 0);
}

static void test_resets(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        run(seed, 397, 1);
}

static void test_restarts(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        run(seed, 311, 4);
}

static bool found(const struct check_report *r, const char *name)
{
    for (size_t i = 0; i < r->findings.len; i++)
        if (strcmp(r->findings.items[i].name, name) == 0)
            return true;
    return false;
}

/* A server that forgets two durable transactions when it is killed. */
static void test_forgetful_server(void **state)
{
    struct single w;
    struct check_input in;
    struct check_replica replica;
    struct check_report r = { 0 };

    single_init(&w, 3, 6);
    w.forgets = 2;
    single_run(&w, w.now_us + 4000000);
    single_restart(&w);
    single_settle(&w);
    single_input(&w, &in, &replica);
    check_all(&in, &r);
    assert_true(found(&r, "history.acknowledged"));
    check_report_free(&r);
    single_done(&w);
}

/* A server that sends events behind the replies that show their cause. */
static void test_late_events(void **state)
{
    struct single w;
    struct check_input in;
    struct check_replica replica;
    struct check_report r = { 0 };

    single_init(&w, 4, 6);
    w.late_events = true;
    single_run(&w, w.now_us + 2000000);
    single_settle(&w);
    single_input(&w, &in, &replica);
    check_all(&in, &r);
    assert_true(found(&r, "history.watches"));
    check_report_free(&r);
    single_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calm),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_forgetful_server),
        cmocka_unit_test(test_late_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
