/* hist.h - histogram of times: how often an operation took how long.
 *
 * Units      microseconds, 0 to about 12 days; more counts as the last bucket.
 * Precision  exact below 128 us, then 64 buckets per power of two: a value is known to 1.6 %.
 * Threading  none; one owner at a time. */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include "base/core.h"

enum { HIST_EXACT = 128, HIST_BUCKETS = HIST_EXACT + 33 * 64 };

struct hist {
    uint64_t count, sum, max;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t us);
void hist_merge(struct hist *into, const struct hist *from);
/* The smallest time that at least the part p (0 to 1) of all did not exceed, rounded up to the end of its bucket and never more than the
 * largest seen; 0 when there is none. */
uint64_t hist_percentile(const struct hist *h, double p);
static inline double hist_mean(const struct hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}

#endif
