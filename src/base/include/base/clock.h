/* clock.h - the clocks. Only shells read them; cores are handed the time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void); /* milliseconds since 1970-01-01 UTC */
/* RFC 3339 in UTC with seconds, "2026-01-02T03:04:05Z", into out[21]. */
void clock_rfc3339(int64_t wall_ms, char out[21]);

#endif
