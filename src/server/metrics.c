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

void stats_record_n(struct thread_stats *st, enum summary_id id, uint64_t value, uint64_t n)
{
    struct summary *s = &st->summary[id];
    uint64_t count = atomic_load_explicit(&s->count, RELAXED);
    _Atomic uint32_t *b = &s->bucket[summary_bucket(value)];

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

/* ---- printing ---- */

void wr_decimal(struct wr *w, double v)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%.4f", v);

    while (n > 2 && text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    wr_bytes(w, text, (size_t)n);
}

void figure_mntr(const struct figure_summary *s, const char *name, double unit, bool detailed, struct wr *w)
{
    static const struct {
        const char *prefix;
        double q;
    } quantiles[] = { { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 }, { "p999", 0.999 } };
    uint64_t whole = (uint64_t)unit; /* readers of these expect integers */

    wr_printf(w, "zk_avg_%s\t", name);
    wr_decimal(w, s->count ? (double)s->sum / (double)s->count / unit : 0.0);
    wr_printf(w, "\nzk_min_%s\t%llu\nzk_max_%s\t%llu\nzk_cnt_%s\t%llu\nzk_sum_%s\t%llu\n", name, (unsigned long long)(s->min / whole),
              name, (unsigned long long)(s->max / whole), name, (unsigned long long)s->count, name,
              (unsigned long long)(s->sum / whole));
    for (size_t i = 0; i < ARRAY_LEN(quantiles) && detailed; i++)
        wr_printf(w, "zk_%s_%s\t%llu\n", quantiles[i].prefix, name, (unsigned long long)(summary_quantile(s, quantiles[i].q) / whole));
}

static double unit_of(unsigned id)
{
    return summary_info[id].unit == US ? 1000.0 : 1.0;
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
        figure_mntr(&f->summary[i], summary_info[i].name, unit_of(i), summary_info[i].detailed, w);
}

static void prometheus_head(struct wr *w, const char *name, const char *help, const char *type)
{
    wr_printf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void figure_prometheus(const struct figure_summary *s, const char *name, const char *help, double unit, bool detailed, struct wr *w)
{
    static const char *const quantiles[] = { "0.5", "0.9", "0.99", "0.999" };

    prometheus_head(w, name, help, "summary");
    for (size_t i = 0; i < ARRAY_LEN(quantiles) && (detailed || i == 0); i++) {
        wr_printf(w, "%s{quantile=\"%s\"} ", name, quantiles[i]);
        wr_decimal(w, (double)summary_quantile(s, strtod(quantiles[i], NULL)) / unit);
        wr_u8(w, '\n');
    }
    wr_printf(w, "%s_count %llu\n%s_sum ", name, (unsigned long long)s->count, name);
    wr_decimal(w, (double)s->sum / unit);
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
        figure_prometheus(&f->summary[i], summary_info[i].name, summary_info[i].help, unit_of(i), summary_info[i].detailed, w);
}
