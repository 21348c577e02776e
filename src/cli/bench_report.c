/* bench_report.c - the results of `quoll bench` for people and for programs. */
#include "bench_report.h"

#include <stdio.h>

#include "base/bytes.h"
#include "jute/proto.h"
#include "zk.h"

static const struct {
    const char *name;
    double p;
} percentiles[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "p99.99", 0.9999 } };

static bool progress_shown;

/* "850 us", "12.3 ms", "1.43 s". */
static const char *time_text(uint64_t us, char out[24])
{
    if (us < 1000)
        snprintf(out, 24, "%llu us", (unsigned long long)us);
    else if (us < 100000)
        snprintf(out, 24, "%.2f ms", (double)us / 1e3);
    else if (us < 1000000)
        snprintf(out, 24, "%.0f ms", (double)us / 1e3);
    else
        snprintf(out, 24, "%.2f s", (double)us / 1e6);
    return out;
}

static double rate(uint64_t n, const struct bench_result *r)
{
    return r->elapsed_us > 0 ? (double)n * 1e6 / (double)r->elapsed_us : 0;
}

static void add(struct bench_op_result *sum, const struct bench_op_result *o)
{
    sum->ok += o->ok;
    sum->errors += o->errors;
    sum->lost += o->lost;
    sum->unknown += o->unknown;
    hist_merge(&sum->times, &o->times);
}

static struct bench_op_result total(const struct bench_result *r)
{
    struct bench_op_result sum = { 0 };

    for (int i = 0; i < BENCH_OPS; i++)
        add(&sum, &r->ops[i]);
    return sum;
}

static bool any(const struct bench_op_result *o)
{
    return o->ok || o->errors || o->lost || o->unknown;
}

/* The second with the fewest successes, and the one with the highest p99. SIZE_MAX: there is no whole second. */
static void worst(const struct bench_result *r, size_t *ret_rate, size_t *ret_p99)
{
    *ret_rate = *ret_p99 = SIZE_MAX;
    for (size_t i = 0; i < r->seconds.len; i++) {
        const struct bench_second *s = r->seconds.items;
        if (*ret_rate == SIZE_MAX || s[i].ok < s[*ret_rate].ok)
            *ret_rate = i;
        if (*ret_p99 == SIZE_MAX || s[i].p99_us > s[*ret_p99].p99_us)
            *ret_p99 = i;
    }
}

/* ---- text ---- */

static void print_op(const char *name, const struct bench_op_result *o, const struct bench_result *r)
{
    char t[24];

    printf("%-10s %11.0f %11llu %7llu %7llu %7llu", name, rate(o->ok, r), (unsigned long long)o->ok, (unsigned long long)o->errors,
           (unsigned long long)o->lost, (unsigned long long)o->unknown);
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++)
        printf(" %9s", time_text(hist_percentile(&o->times, percentiles[i].p), t));
    printf(" %9s\n", time_text(o->times.max, t));
}

static void print_ops(const struct bench_result *r)
{
    struct bench_op_result sum = total(r);
    int kinds = 0;

    printf("%-10s %11s %11s %7s %7s %7s", "operation", "per second", "ok", "errors", "lost", "unknown");
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++)
        printf(" %9s", percentiles[i].name);
    printf(" %9s\n", "max");
    for (int i = 0; i < BENCH_OPS; i++)
        if (any(&r->ops[i])) {
            print_op(bench_op_name((enum bench_op)i), &r->ops[i], r);
            kinds++;
        }
    if (kinds != 1)
        print_op("all", &sum, r);
}

static void print_servers(const struct bench_result *r)
{
    char a[24], b[24];

    printf("\n%-28s %11s %11s %9s %9s\n", "server", "connections", "per second", "p50", "p99");
    for (size_t i = 0; i < r->server_count; i++) {
        const struct bench_server_result *s = &r->servers[i];
        printf("%-28s %11u %11.0f %9s %9s\n", s->text, s->connections, rate(s->ok, r), time_text(hist_percentile(&s->times, 0.5), a),
               time_text(hist_percentile(&s->times, 0.99), b));
    }
}

static void print_worst(const struct bench_result *r)
{
    size_t slow, late;
    char t[24];
    const struct bench_gap *g = &r->gaps[BENCH_GAP_ALL];

    worst(r, &slow, &late);
    if (slow != SIZE_MAX)
        printf("worst second: %llu operations (second %zu); highest p99 of a second: %s (second %zu)\n",
               (unsigned long long)r->seconds.items[slow].ok, slow + 1, time_text(r->seconds.items[late].p99_us, t), late + 1);
    printf("longest time without a success: %s, %.2f s after the start", time_text((uint64_t)g->us, t), (double)g->at_us / 1e6);
    g = &r->gaps[BENCH_GAP_WRITES];
    if (g->us > 0 && g->us != r->gaps[BENCH_GAP_ALL].us)
        printf("; without a write: %s", time_text((uint64_t)g->us, t));
    putchar('\n');
}

void bench_print_text(const struct bench_options *opt, const struct bench_result *r)
{
    if (r->prepared)
        printf("made %llu znodes in %.1f s\n", (unsigned long long)r->prepared, (double)r->prepare_us / 1e6);
    if (opt->prepare_only)
        return;
    printf("%u connections, %u in flight each, %u znodes, %.2f s measured after %.2f s of warm-up", opt->connections, opt->in_flight,
           opt->keys, (double)r->elapsed_us / 1e6, (double)opt->warm_up_ms / 1e3);
    if (opt->rate)
        printf(", %llu operations due per second", (unsigned long long)opt->rate);
    printf("\n\n");
    print_ops(r);
    if (r->server_count > 1)
        print_servers(r);
    putchar('\n');
    print_worst(r);
    for (size_t i = 0; i < r->errors.len; i++)
        printf("%llu operations: %s\n", (unsigned long long)r->errors.items[i].count, zk_error_text(r->errors.items[i].code));
    if (r->unsent)
        printf("%llu operations were due and could not be sent\n", (unsigned long long)r->unsent);
    if (r->reconnects || r->sessions_expired)
        printf("connections made again: %llu; sessions expired: %llu\n", (unsigned long long)r->reconnects,
               (unsigned long long)r->sessions_expired);
}

/* ---- JSON ---- */

static json_t *count_json(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *times_json(const struct hist *h)
{
    json_t *j = json_object();

    json_object_set_new(j, "mean", json_real(hist_mean(h)));
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++)
        json_object_set_new(j, percentiles[i].name, count_json(hist_percentile(h, percentiles[i].p)));
    json_object_set_new(j, "max", count_json(h->max));
    return j;
}

static json_t *op_json(const struct bench_op_result *o, const struct bench_result *r)
{
    return json_pack("{s:f, s:o, s:o, s:o, s:o, s:o}", "ops_per_s", rate(o->ok, r), "ok", count_json(o->ok), "errors",
                     count_json(o->errors), "lost", count_json(o->lost), "unknown", count_json(o->unknown), "latency_us",
                     times_json(&o->times));
}

static json_t *options_json(const struct bench_options *opt)
{
    json_t *mix = json_object();

    for (int i = 0; i < BENCH_OPS; i++)
        if (opt->weights[i])
            json_object_set_new(mix, bench_op_name((enum bench_op)i), count_json(opt->weights[i]));
    return json_pack("{s:o, s:i, s:i, s:[i,i], s:i, s:o, s:o, s:o}", "mix", mix, "connections", (int)opt->connections, "in_flight",
                     (int)opt->in_flight, "value_size", (int)opt->value_min, (int)opt->value_max, "keys", (int)opt->keys, "rate",
                     count_json(opt->rate), "warm_up_ms", count_json((uint64_t)opt->warm_up_ms), "seed", count_json(opt->seed));
}

static json_t *gap_json(const struct bench_gap *g)
{
    return g->us ? json_pack("{s:f, s:f}", "ms", (double)g->us / 1e3, "at_s", (double)g->at_us / 1e6) : json_null();
}

static json_t *worst_json(const struct bench_result *r)
{
    size_t slow, late;

    worst(r, &slow, &late);
    if (slow == SIZE_MAX)
        return json_null();
    return json_pack("{s:o, s:I, s:o, s:I}", "ok", count_json(r->seconds.items[slow].ok), "ok_at_s", (json_int_t)slow, "p99_us",
                     count_json(r->seconds.items[late].p99_us), "p99_at_s", (json_int_t)late);
}

static json_t *seconds_json(const struct bench_result *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->seconds.len; i++) {
        const struct bench_second *s = &r->seconds.items[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "ok", count_json(s->ok), "errors",
                                              count_json(s->errors), "lost", count_json(s->lost), "p50_us", count_json(s->p50_us),
                                              "p99_us", count_json(s->p99_us), "max_us", count_json(s->max_us)));
    }
    return list;
}

static json_t *servers_json(const struct bench_result *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->server_count; i++) {
        const struct bench_server_result *s = &r->servers[i];
        json_array_append_new(list, json_pack("{s:s, s:i, s:o, s:o, s:f, s:o}", "server", s->text, "connections", (int)s->connections,
                                              "connects", count_json(s->connects), "ok", count_json(s->ok), "ops_per_s",
                                              rate(s->ok, r), "latency_us", times_json(&s->times)));
    }
    return list;
}

void bench_print_json(const struct bench_options *opt, const struct bench_result *r)
{
    struct bench_op_result sum = total(r);
    json_t *j = json_pack("{s:o, s:o, s:f}", "options", options_json(opt), "prepared", count_json(r->prepared), "prepare_s",
                          (double)r->prepare_us / 1e6);

    if (!opt->prepare_only) {
        json_t *ops = json_object(), *errors = json_object();

        for (int i = 0; i < BENCH_OPS; i++)
            if (any(&r->ops[i]))
                json_object_set_new(ops, bench_op_name((enum bench_op)i), op_json(&r->ops[i], r));
        for (size_t i = 0; i < r->errors.len; i++)
            json_object_set_new(errors, zk_error_name(r->errors.items[i].code), count_json(r->errors.items[i].count));
        json_object_set_new(j, "elapsed_s", json_real((double)r->elapsed_us / 1e6));
        json_t *all = op_json(&sum, r);
        json_object_update(j, all);
        json_decref(all);
        json_object_set_new(j, "unsent", count_json(r->unsent));
        json_object_set_new(j, "operations", ops);
        json_object_set_new(j, "error_codes", errors);
        json_object_set_new(j, "longest_gap", gap_json(&r->gaps[BENCH_GAP_ALL]));
        json_object_set_new(j, "longest_gap_reads", gap_json(&r->gaps[BENCH_GAP_READS]));
        json_object_set_new(j, "longest_gap_writes", gap_json(&r->gaps[BENCH_GAP_WRITES]));
        json_object_set_new(j, "worst_second", worst_json(r));
        json_object_set_new(j, "reconnects", count_json(r->reconnects));
        json_object_set_new(j, "sessions_expired", count_json(r->sessions_expired));
        json_object_set_new(j, "interrupted", json_boolean(r->interrupted));
        json_object_set_new(j, "servers", servers_json(r));
        json_object_set_new(j, "seconds", seconds_json(r));
    }
    print_json(j);
}

/* ---- progress ---- */

void bench_print_progress(void *unused, int64_t elapsed_s, const struct bench_second *s, uint32_t connected, uint64_t done, uint64_t total_steps)
{
    char a[24], b[24];

    (void)unused;
    progress_shown = true;
    if (!s)
        fprintf(stderr, "\r\033[K%llu of %llu znodes", (unsigned long long)done, (unsigned long long)total_steps);
    else
        fprintf(stderr, "\r\033[K%s%lld s  %llu/s  p50 %s  p99 %s  errors %llu  lost %llu  connections %u", elapsed_s <= 0 ? "warm-up " : "",
                (long long)elapsed_s, (unsigned long long)s->ok, time_text(s->p50_us, a), time_text(s->p99_us, b),
                (unsigned long long)s->errors, (unsigned long long)s->lost, connected);
    fflush(stderr);
}

void bench_end_progress(void)
{
    if (progress_shown)
        fprintf(stderr, "\r\033[K");
}
