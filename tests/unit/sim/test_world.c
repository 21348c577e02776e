/* test_world.c - the ground that a simulation stands on: order of events, randomness, and that the same seed is the same run. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "world.h"

struct seen {
    struct world *w;
    struct VEC(uint64_t) args;
    struct VEC(int64_t) times;
};

static void note(void *data, uint64_t arg)
{
    struct seen *s = data;

    VEC_PUSH(&s->args, arg);
    VEC_PUSH(&s->times, s->w->now_us);
    if (arg == 7)
        world_at(s->w, s->w->now_us - 5, 1, note, s, 8); /* the past is now */
}

static void test_events_in_order(void **state)
{
    static const int64_t at[] = { 50, 10, 10, 30, 0, 10, 90, 30 };
    static const uint64_t order[] = { 4, 1, 2, 5, 3, 7, 8, 0, 6 };
    struct sim_options opt = { 0 };
    struct sim_result result = { 0 };
    struct world w;
    struct seen s = { .w = &w };

    world_init(&w, 1, &opt, &result);
    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        world_at(&w, at[i], 1, note, &s, i);
    while (world_step(&w, 50))
        ;
    assert_int_equal(s.args.len, 8);
    assert_true(world_step(&w, 90));
    assert_false(world_step(&w, 1000));
    for (size_t i = 0; i < s.args.len; i++) {
        assert_int_equal(s.args.items[i], order[i]);
        assert_true(i == 0 || s.times.items[i] >= s.times.items[i - 1]);
    }
    VEC_FREE(&s.args);
    VEC_FREE(&s.times);
    world_done(&w);
}

static void test_randomness(void **state)
{
    struct sim_rng a = rng_split(5, RNG_NET, 1), b = rng_split(5, RNG_NET, 1), c = rng_split(5, RNG_DISK, 1), d = rng_split(5, RNG_NET, 2);
    unsigned same_c = 0, same_d = 0;

    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_u64(&a);
        assert_true(x == rng_u64(&b));
        same_c += x == rng_u64(&c);
        same_d += x == rng_u64(&d);
    }
    assert_int_equal(same_c + same_d, 0);
    for (int i = 0; i < 1000; i++)
        assert_in_range(rng_range(&a, 3, 9), 3, 9);
    assert_int_equal(rng_range(&a, 4, 4), 4);
    (void)rng_range(&a, INT64_MIN, INT64_MAX);
    for (int i = 0; i < 1000; i++)
        assert_in_range(rng_skewed(&a, 100, 9000), 100, 9000);
}

static struct sim_result run(uint64_t seed, uint32_t faults, bool lines)
{
    struct sim_options o;
    struct sim_result r;

    sim_options_init(&o);
    o.seed = seed;
    o.faults = faults;
    o.duration_ms = 8000;
    o.keep_lines = lines ? 20 : 0;
    sim_run(&o, &r);
    return r;
}

static void test_same_seed_same_run(void **state)
{
    uint64_t last = 0;

    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct sim_result a = run(seed, SIM_FAULTS_ALL, false), b = run(seed, SIM_FAULTS_ALL, false), c = run(seed, SIM_FAULTS_ALL, true);

        for (size_t i = 0; i < a.findings.len; i++)
            print_message("seed %llu: %s: %s\n", (unsigned long long)seed, a.findings.items[i].name, a.findings.items[i].text);
        assert_int_equal(a.findings.len, 0);
        assert_true(a.trace_hash == b.trace_hash);
        assert_true(a.trace_hash == c.trace_hash); /* who looks changes nothing */
        assert_int_equal(a.events, b.events);
        assert_true(a.commits > 0);
        assert_true(a.trace_hash != last);
        assert_true(c.lines.len > 0);
        last = a.trace_hash;
        sim_result_free(&a);
        sim_result_free(&b);
        sim_result_free(&c);
    }
}

static void test_without_faults(void **state)
{
    for (uint64_t seed = 100; seed < 104; seed++) {
        struct sim_result r = run(seed, 0, false);

        assert_int_equal(r.findings.len, 0);
        assert_int_equal(r.schedule.len, 0);
        assert_int_equal(r.crashes, 0);
        assert_true(r.elections >= 1);
        assert_true(r.operations > 0);
        sim_result_free(&r);
    }
}

/* Seeds that once found something, with what it was. They stay clean, or the bug is back. */
static void test_seeds_of_the_past(void **state)
{
    static const struct {
        uint64_t seed;
        uint32_t faults;
        const char *what;
    } past[] = {
        { 16, 1u << SIM_FAULT_KILL, "acknowledged what only the page cache of a killed process held" },
        { 24, 1u << SIM_FAULT_DISK_ERROR, "the same after a sync that failed" },
        { 25, 1u << SIM_FAULT_RESET, "a learner lost its leader between its log and currentEpoch, and could not vote" },
        { 7, SIM_FAULTS_ALL, "the same" },
        { 219, SIM_FAULTS_ALL, "an older snapshot in place of a damaged one that a leader had sent" },
        { 1267, SIM_FAULTS_ALL, "peace was thought to begin while a deposed leader, just woken, served its clients" },
        { 26, SIM_FAULTS_ALL, "a session whose connection closed right behind its last ping counted from the ping before" },
    };

    for (size_t i = 0; i < ARRAY_LEN(past); i++) {
        struct sim_options o;
        struct sim_result r;

        print_message("seed %llu: %s\n", (unsigned long long)past[i].seed, past[i].what);
        sim_options_init(&o);
        o.seed = past[i].seed;
        o.faults = past[i].faults;
        sim_run(&o, &r);
        for (size_t k = 0; k < r.findings.len; k++)
            print_message("%s: %s\n", r.findings.items[k].name, r.findings.items[k].text);
        assert_int_equal(r.findings.len, 0);
        sim_result_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_in_order),     cmocka_unit_test(test_randomness),
        cmocka_unit_test(test_same_seed_same_run),  cmocka_unit_test(test_without_faults),
        cmocka_unit_test(test_seeds_of_the_past),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
