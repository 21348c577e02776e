/* quoll sim around the simulator: processes, swarm, minimiser, timelines. The simulator itself is a fake: what it does stands in its
 * seed. Seeds that end in 3 have a finding as long as the faults 3 and 7 are in the schedule; in 7, an assertion fails; in 9, the trace
 * differs from process to process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/relapse.h"
#include "sim_shrink.h"
#include "sim_swarm.h"
#include "sim_timeline.h"

/* ---- the fake ---- */

const char *sim_fault_name(enum sim_fault f)
{
    return f == SIM_FAULT_KILL ? "kill" : "other";
}

const char *sim_fault_text(enum sim_fault f)
{
    return sim_fault_name(f);
}

void sim_options_init(struct sim_options *o)
{
    *o = (struct sim_options){ .observers = -1, .faults = SIM_FAULTS_ALL };
}

static void say(const struct sim_options *o, int64_t at_us, enum sim_line_kind kind, int64_t server, int64_t to, const char *text)
{
    if (o->line)
        o->line(o->line_data, &(struct sim_line){ at_us, kind, server, to, text });
}

static bool skipped(const struct sim_options *o, uint32_t number)
{
    for (size_t i = 0; i < o->skip_count; i++)
        if (o->skip[i] == number)
            return true;
    return false;
}

void sim_run(const struct sim_options *o, struct sim_result *r)
{
    *r = (struct sim_result){ .seed = o->seed, .trace_hash = o->seed * 1000003, .events = 10, .virtual_ms = 2000, .servers = 3, .commits = 5 };
    for (uint32_t i = 0; i < 20; i++)
        VEC_PUSH(&r->schedule, ((struct sim_planned_fault){ .number = i, .fault = SIM_FAULT_KILL, .from_us = i, .until_us = i,
                                                           .text = x_strdup("kill"), .skipped = skipped(o, i) }));
    for (int64_t s = 1; s <= 3; s++)
        say(o, s, SIM_LINE_ROLE, s, 0, s == 2 ? "leading" : "following");
    say(o, 10, SIM_LINE_FAULT, 0, 0, "<partition> & \"more\"");
    say(o, 12, SIM_LINE_LIFE, 1, 0, "is dead");
    for (int i = 0; i < 2 * APART_LINES; i++)
        say(o, 100 + i, SIM_LINE_DISK, 3, 0, "synced");
    say(o, 99000, SIM_LINE_MESSAGE, 2, 3, "PROPOSAL");
    if (o->seed % 10 == 7 || relapse(3911)) {
        say(o, 99999, SIM_LINE_LOG, 2, 0, "last words");
        ASSERT(o->seed == 0);
    }
    if (o->seed % 10 == 9)
        r->trace_hash += (uint64_t)getpid();
    if (o->seed % 10 == 3 && !skipped(o, 3) && !skipped(o, 7)) {
        VEC_PUSH(&r->findings, ((struct sim_finding){ .name = "zab.agreement", .text = x_strdup("A\nB"), .at_us = 5, .server = 2 }));
        say(o, 100000, SIM_LINE_FINDING, 2, 0, "zab.agreement");
    }
}

void sim_result_free(struct sim_result *r)
{
    (void)r;
}

/* ---- one run ---- */

static struct apart_options options(uint64_t seed)
{
    struct apart_options o = { 0 };

    sim_options_init(&o.sim);
    o.sim.seed = seed;
    return o;
}

static void test_outcomes(void **state)
{
    struct apart a;
    struct apart_options o = options(1);

    assert_int_equal(apart_init(&a), 0);
    assert_int_equal(apart_run(&a, &o), 0);
    assert_true(a.result->finished);
    assert_int_equal(a.result->findings_len, 0);
    assert_int_equal(a.result->trace_hash, 1000003);
    assert_int_equal(a.result->plan_len, 20);

    o.sim.seed = 3;
    assert_int_equal(apart_run(&a, &o), 0);
    assert_int_equal(a.result->findings_len, 1);
    assert_string_equal(a.result->findings[0].name, "zab.agreement");
    assert_string_equal(a.result->findings[0].text, "A\nB");
    assert_int_equal(a.result->findings[0].server, 2);

    o.sim.seed = 7;
    o.lines = true;
    assert_int_equal(apart_run(&a, &o), 0);
    assert_false(a.result->finished);
    assert_int_equal(a.result->findings_len, 1);
    assert_string_equal(a.result->findings[0].name, "process.assertion");
    assert_non_null(strstr(a.result->findings[0].text, "o->seed == 0"));
    const struct apart_line **lines;
    size_t n = apart_lines(a.result, &lines);
    assert_string_equal(lines[n - 1]->text, "last words"); /* survives the process */
    free(lines);

    o = options(1); /* a crash leaves nothing behind for the next run */
    assert_int_equal(apart_run(&a, &o), 0);
    assert_int_equal(a.result->findings_len, 0);
    assert_int_equal(a.result->story.count, 0);
    o.relapses = UINT64_C(1) << RELAPSE_3911;
    assert_int_equal(apart_run(&a, &o), 0);
    assert_int_equal(a.result->findings_len, 1);
    assert_false(relapse(3911)); /* here */
    apart_done(&a);
}

/* ---- many ---- */

struct tally {
    uint64_t seeds, broken, sum;
    char names[16][64];
    size_t names_len;
};

static void count(void *data, const struct apart_result *r)
{
    struct tally *t = data;

    t->seeds++;
    t->sum += r->seed;
    if (r->findings_len > 0 && t->names_len < ARRAY_LEN(t->names))
        memcpy(t->names[t->names_len++], r->findings[0].name, 64);
}

static void ignore(void *data, const struct swarm_stats *s)
{
    (void)data;
    (void)s;
}

static struct swarm_stats swarm(uint64_t first, uint64_t n, int jobs, bool twice, bool stop, struct tally *t)
{
    struct swarm_stats st;
    struct swarm_options o = { .run = options(0), .first = first, .count = n, .jobs = jobs, .twice = twice, .stop_at_first = stop, .data = t,
        .done = count, .progress = ignore };

    *t = (struct tally){ 0 };
    assert_int_equal(swarm_run(&o, &st), 0);
    return st;
}

static void test_swarm(void **state)
{
    struct tally t;
    struct swarm_stats one = swarm(1, 30, 1, false, false, &t);

    assert_int_equal(t.seeds, 30);
    assert_int_equal(t.sum, 30 * 31 / 2);
    assert_int_equal(one.broken, 6); /* three findings, three assertions */
    assert_int_equal(one.events, 270); /* what crashed said nothing */
    struct swarm_stats three = swarm(1, 8, 3, false, false, &t), again = swarm(1, 8, 1, false, false, &t);
    assert_int_equal(three.trace_hash, again.trace_hash); /* whatever the order in which they end */

    struct swarm_stats stopped = swarm(1, 100000, 2, false, true, &t);
    assert_true(stopped.seeds < 20 && stopped.broken >= 1);
}

static void test_twice(void **state)
{
    struct tally t;
    struct swarm_stats st = swarm(10, 3, 2, true, false, &t);

    assert_int_equal(st.seeds, 3);
    assert_int_equal(st.runs, 6);
    assert_int_equal(st.broken, 0);
    st = swarm(18, 2, 2, true, false, &t);
    assert_int_equal(st.broken, 1);
    assert_string_equal(t.names[0], "sim.determinism");
}

/* ---- smaller ---- */

static void test_shrink(void **state)
{
    struct apart a;
    struct apart_options o = options(13);
    struct shrunk s;

    assert_int_equal(apart_init(&a), 0);
    assert_int_equal(sim_shrink(&a, &o, "zab.agreement", 60000, &s), 0);
    assert_int_equal(s.faults, 20);
    assert_int_equal(s.left, 2);
    assert_int_equal(s.skip.len, 18);
    for (size_t i = 0; i < s.skip.len; i++) {
        assert_true(s.skip.items[i] != 3 && s.skip.items[i] != 7);
        assert_true(i == 0 || s.skip.items[i - 1] < s.skip.items[i]);
    }
    VEC_FREE(&s.skip);
    o.relapses = UINT64_C(1) << RELAPSE_3911; /* a crash needs no fault at all */
    assert_int_equal(sim_shrink(&a, &o, "process.assertion", 60000, &s), 0);
    assert_int_equal(s.left, 0);
    VEC_FREE(&s.skip);
    apart_done(&a);
}

/* ---- pictures ---- */

static char *drawn(const struct apart_result *r, bool svg, size_t total, bool messages)
{
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    if (svg)
        timeline_svg(out, r, "a <title>");
    else
        timeline_text(out, r, total, messages, (struct timeline_style){ .unicode = false });
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_timeline(void **state)
{
    struct apart a;
    struct apart_options o = options(3);

    o.lines = true;
    assert_int_equal(apart_init(&a), 0);
    assert_int_equal(apart_run(&a, &o), 0);
    char *all = drawn(a.result, false, 0, true);
    assert_non_null(strstr(all, "    seconds  1 2 3 \n"));
    assert_non_null(strstr(all, "   0.000003  | # o 3 following\n")); /* lanes show what each server is */
    assert_non_null(strstr(all, "   0.099000    o-> 2 to 3 PROPOSAL\n"));
    assert_non_null(strstr(all, "   0.000012  + # | 1 is dead\n"));
    assert_non_null(strstr(all, "   0.100000    X | 2 zab.agreement\n")); /* 1 is down */
    free(all);
    char *end = drawn(a.result, false, 5, false);
    assert_non_null(strstr(end, "1 is dead")); /* beyond the last five lines, which are all of server 3 */
    assert_non_null(strstr(end, "zab.agreement"));
    assert_null(strstr(end, "PROPOSAL"));
    free(end);
    char *svg = drawn(a.result, true, 0, true);
    assert_non_null(strstr(svg, "a &lt;title&gt;"));
    assert_non_null(strstr(svg, "zab.agreement"));
    assert_null(strstr(svg, "<partition>"));
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    free(svg);
    apart_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes), cmocka_unit_test(test_swarm), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_shrink), cmocka_unit_test(test_timeline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
