/* summary.h - how often something was measured, its sum, extremes and quantiles.
 *
 * Ownership  Plain memory of the caller's, all zero at first.
 * Threading  None: one thread at a time. What several threads record is kept in metrics.h and summed into one of these. */
#ifndef SERVER_SUMMARY_H
#define SERVER_SUMMARY_H

#include <stdint.h>

enum { SUMMARY_BUCKETS = 160 }; /* four per power of two: a quantile is right to 12 % */

struct figure_summary {
    uint64_t count, sum, min, max;
    uint64_t bucket[SUMMARY_BUCKETS];
};

unsigned summary_bucket(uint64_t value);
void summary_record(struct figure_summary *s, uint64_t value);
/* The value below which the share q (0..1) of the records lies; 0 without any. */
uint64_t summary_quantile(const struct figure_summary *s, double q);

#endif
