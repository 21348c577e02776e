/* metrics.c - recording, summing and printing of figures; see metrics.h. */
#include "metrics.h"

#include <stdio.h>

enum unit { US, N };
static const struct {
    const char *name, *help;
} counter_info[CTR_COUNT] = {
#define X(id, name, help) [CTR_##id] = { name, help },
    COUNTERS(X)
#undef X
};
static const struct {
    const char *name, *help;
    enum unit unit;
    bool detailed;
} summary_info[SUM_COUNT] = {
#define X(id, name, unit, detailed, help) [SUM_##id] = { name, help, unit, detailed },
    SUMMARIES(X)
#undef X
};

/* ---- recording ---- */

static unsigned bucket_of(uint64_t v)
{
    if (v < 4)
        return (unsigned)v;
    unsigned top = 63u - (unsigned)__builtin_clzll(v);

    return MIN(top * 4 - 4 + (unsigned)(v >> (top - 2) & 3), SUMMARY_BUCKETS - 1u);
}

/* The largest value of a bucket. */
static uint64_t bucket_limit(unsigned b)
{
    if (b < 4)
        return b;
    unsigned top = (b + 4) / 4, quarter = (b + 4) % 4;

    return (UINT64_C(1) << top) + ((uint64_t)(quarter + 1) << (top - 2)) - 1;
}

void stats_record_n(struct thread_stats *st, enum summary_id id, uint64_t value, uint64_t n)
{
    struct summary *s = &st->summary[id];
    uint64_t count = atomic_load_explicit(&s->count, RELAXED);
    _Atomic uint32_t *b = &s->bucket[bucket_of(value)];

    if (n == 0)
        return;
    if (count == 0 || value < atomic_load_explicit(&s->min, RELAXED))
        atomic_store_explicit(&s->min, value, RELAXED);
    if (value > atomic_load_explicit(&s->max, RELAXED))
        atomic_store_explicit(&s->max, value, RELAXED);
    atomic_store_explicit(&s->sum, atomic_load_explicit(&s->sum, RELAXED) + value * n, RELAXED);
    atomic_store_explicit(b, atomic_load_explicit(b, RELAXED) + (uint32_t)n, RELAXED);
    atomic_store_explicit(&s->count, count + n, RELAXED);
}

void stats_record(struct thread_stats *st, enum summary_id id, uint64_t value)
{
    stats_record_n(st, id, value, 1);
}

static void summary_clear(struct summary *s)
{
    atomic_store_explicit(&s->count, 0, RELAXED);
    atomic_store_explicit(&s->sum, 0, RELAXED);
    atomic_store_explicit(&s->min, 0, RELAXED);
    atomic_store_explicit(&s->max, 0, RELAXED);
    for (unsigned i = 0; i < SUMMARY_BUCKETS; i++)
        atomic_store_explicit(&s->bucket[i], 0, RELAXED);
}

void stats_catch_up(struct thread_stats *st, uint32_t generation)
{
    if (LIKELY(atomic_load_explicit(&st->generation, RELAXED) == generation))
        return;
    for (unsigned i = 0; i < CTR_COUNT; i++)
        atomic_store_explicit(&st->counter[i], 0, RELAXED);
    for (unsigned i = 0; i < SUM_COUNT; i++)
        summary_clear(&st->summary[i]);
    atomic_store_explicit(&st->generation, generation, memory_order_release);
}

/* ---- summing ---- */

static void summary_sum(struct figure_summary *f, const struct summary *s)
{
    uint64_t count = atomic_load_explicit(&s->count, RELAXED);
    uint64_t min = atomic_load_explicit(&s->min, RELAXED);

    if (count == 0)
        return;
    if (f->count == 0 || min < f->min)
        f->min = min;
    f->max = MAX(f->max, atomic_load_explicit(&s->max, RELAXED));
    f->sum += atomic_load_explicit(&s->sum, RELAXED);
    f->count += count;
    for (unsigned i = 0; i < SUMMARY_BUCKETS; i++)
        f->bucket[i] += atomic_load_explicit(&s->bucket[i], RELAXED);
}

void figures_add(struct figures *f, const struct thread_stats *st, uint32_t generation)
{
    if (atomic_load_explicit(&st->generation, memory_order_acquire) != generation)
        return;
    for (unsigned i = 0; i < CTR_COUNT; i++)
        f->counter[i] += atomic_load_explicit(&st->counter[i], RELAXED);
    for (unsigned i = 0; i < SUM_COUNT; i++)
        summary_sum(&f->summary[i], &st->summary[i]);
}

struct latency figures_latency(const struct figures *f)
{
    const struct figure_summary *r = &f->summary[SUM_READ_LATENCY], *u = &f->summary[SUM_UPDATE_LATENCY];
    uint64_t count = r->count + u->count;
    uint64_t min = r->count == 0 ? u->min : u->count == 0 ? r->min : MIN(r->min, u->min);

    return (struct latency){ min / 1000, MAX(r->max, u->max) / 1000,
                             count ? (double)(r->sum + u->sum) / (double)count / 1000.0 : 0.0 };
}

/* The value below which `q` of the records lie. */
static uint64_t summary_quantile(const struct figure_summary *s, double q)
{
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < SUMMARY_BUCKETS; i++)
        total += s->bucket[i];
    for (unsigned i = 0; i < SUMMARY_BUCKETS; i++) {
        seen += s->bucket[i];
        if (s->bucket[i] && (double)seen >= q * (double)total)
            return MIN(bucket_limit(i), s->max);
    }
    return 0;
}

/* ---- printing ---- */

void wr_decimal(struct wr *w, double v)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%.4f", v);

    while (n > 2 && text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    wr_bytes(w, text, (size_t)n);
}

static double in_unit(unsigned id, double v)
{
    return summary_info[id].unit == US ? v / 1000.0 : v;
}

/* Minimum, maximum, sum and quantiles: whole milliseconds in mntr, as its readers expect integers there. */
static uint64_t in_unit_whole(unsigned id, uint64_t v)
{
    return summary_info[id].unit == US ? v / 1000 : v;
}

static void mntr_summary(const struct figure_summary *s, unsigned id, struct wr *w)
{
    static const struct {
        const char *prefix;
        double q;
    } quantiles[] = { { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 }, { "p999", 0.999 } };
    const char *name = summary_info[id].name;

    wr_printf(w, "zk_avg_%s\t", name);
    wr_decimal(w, in_unit(id, s->count ? (double)s->sum / (double)s->count : 0.0));
    wr_printf(w, "\nzk_min_%s\t%llu\nzk_max_%s\t%llu\nzk_cnt_%s\t%llu\nzk_sum_%s\t%llu\n", name,
              (unsigned long long)in_unit_whole(id, s->min), name, (unsigned long long)in_unit_whole(id, s->max),
              name, (unsigned long long)s->count, name, (unsigned long long)in_unit_whole(id, s->sum));
    for (size_t i = 0; i < ARRAY_LEN(quantiles) && summary_info[id].detailed; i++)
        wr_printf(w, "zk_%s_%s\t%llu\n", quantiles[i].prefix, name,
                  (unsigned long long)in_unit_whole(id, summary_quantile(s, quantiles[i].q)));
}

void figures_mntr(const struct figures *f, struct wr *w)
{
    struct latency l = figures_latency(f);

    wr_text(w, "zk_avg_latency\t");
    wr_decimal(w, l.avg_ms);
    wr_printf(w, "\nzk_max_latency\t%llu\nzk_min_latency\t%llu\n", (unsigned long long)l.max_ms,
              (unsigned long long)l.min_ms);
#define X(name, help) wr_printf(w, "zk_" #name "\t%lld\n", (long long)f->name);
    GAUGES(X)
#undef X
    for (unsigned i = 0; i < CTR_COUNT; i++)
        wr_printf(w, "zk_%s\t%llu\n", counter_info[i].name, (unsigned long long)f->counter[i]);
    for (unsigned i = 0; i < SUM_COUNT; i++)
        mntr_summary(&f->summary[i], i, w);
}

static void prometheus_head(struct wr *w, const char *name, const char *help, const char *type)
{
    wr_printf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void prometheus_summary(const struct figure_summary *s, unsigned id, struct wr *w)
{
    static const char *const quantiles[] = { "0.5", "0.9", "0.99", "0.999" };
    const char *name = summary_info[id].name;

    prometheus_head(w, name, summary_info[id].help, "summary");
    for (size_t i = 0; i < ARRAY_LEN(quantiles) && (summary_info[id].detailed || i == 0); i++) {
        wr_printf(w, "%s{quantile=\"%s\"} ", name, quantiles[i]);
        wr_decimal(w, in_unit(id, (double)summary_quantile(s, strtod(quantiles[i], NULL))));
        wr_u8(w, '\n');
    }
    wr_printf(w, "%s_count %llu\n%s_sum ", name, (unsigned long long)s->count, name);
    wr_decimal(w, in_unit(id, (double)s->sum));
    wr_u8(w, '\n');
}

void figures_prometheus(const struct figures *f, struct wr *w)
{
    struct latency l = figures_latency(f);

    prometheus_head(w, "avg_latency", "Average latency of requests in ms", "gauge");
    wr_text(w, "avg_latency ");
    wr_decimal(w, l.avg_ms);
    wr_u8(w, '\n');
    prometheus_head(w, "max_latency", "Largest latency of a request in ms", "gauge");
    wr_printf(w, "max_latency %llu\n", (unsigned long long)l.max_ms);
    prometheus_head(w, "min_latency", "Smallest latency of a request in ms", "gauge");
    wr_printf(w, "min_latency %llu\n", (unsigned long long)l.min_ms);
#define X(name, help)                                                                                        \
    prometheus_head(w, #name, help, "gauge");                                                                \
    wr_printf(w, #name " %lld\n", (long long)f->name);
    GAUGES(X)
#undef X
    for (unsigned i = 0; i < CTR_COUNT; i++) {
        prometheus_head(w, counter_info[i].name, counter_info[i].help, "counter");
        wr_printf(w, "%s %llu\n", counter_info[i].name, (unsigned long long)f->counter[i]);
    }
    for (unsigned i = 0; i < SUM_COUNT; i++)
        prometheus_summary(&f->summary[i], i, w);
}
