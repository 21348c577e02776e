/* summary.c - see summary.h. */
#include "server/summary.h"

#include "base/core.h"

unsigned summary_bucket(uint64_t v)
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

void summary_record(struct figure_summary *s, uint64_t v)
{
    s->min = s->count == 0 ? v : MIN(s->min, v);
    s->max = MAX(s->max, v);
    s->sum += v;
    s->count++;
    s->bucket[summary_bucket(v)]++;
}

uint64_t summary_quantile(const struct figure_summary *s, double q)
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
