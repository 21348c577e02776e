/* hist.c - log-linear histogram. */
#include "bench/hist.h"

#include <math.h>

static size_t bucket_of(uint64_t us)
{
    if (us < HIST_EXACT)
        return us;
    int shift = 63 - __builtin_clzll(us) - 6; /* us >> shift is in 64..127 */
    size_t b = HIST_EXACT + (size_t)(shift - 1) * 64 + (us >> shift) - 64;
    return MIN(b, (size_t)HIST_BUCKETS - 1);
}

/* The largest time of a bucket. */
static uint64_t bucket_end(size_t b)
{
    if (b < HIST_EXACT)
        return b;
    size_t shift = (b - HIST_EXACT) / 64 + 1;
    return (((b - HIST_EXACT) % 64 + 65) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t us)
{
    h->count++;
    h->sum += us;
    h->max = MAX(h->max, us);
    h->buckets[bucket_of(us)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->max = MAX(into->max, from->max);
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t hist_percentile(const struct hist *h, double p)
{
    uint64_t want = (uint64_t)ceil((double)h->count * p), seen = 0;

    if (h->count == 0)
        return 0;
    want = MAX(want, 1u);
    for (size_t i = 0; i < HIST_BUCKETS - 1; i++) {
        seen += h->buckets[i];
        if (seen >= want)
            return MIN(bucket_end(i), h->max);
    }
    return h->max;
}
