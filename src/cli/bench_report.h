/* bench_report.h - what `quoll bench` prints. */
#ifndef CLI_BENCH_REPORT_H
#define CLI_BENCH_REPORT_H

#include "bench/bench.h"

void bench_print_text(const struct bench_options *opt, const struct bench_result *r);
void bench_print_json(const struct bench_options *opt, const struct bench_result *r);
/* One line on stderr that replaces itself; a bench_options.progress. */
void bench_print_progress(void *unused, int64_t elapsed_s, const struct bench_second *s, uint32_t connected, uint64_t done,
                          uint64_t total);
/* Whether the progress line stands there and must be ended first. */
void bench_end_progress(void);

#endif
