/* sim_swarm.h - many seeds, on all cores: a process per run. */
#ifndef CLI_SIM_SWARM_H
#define CLI_SIM_SWARM_H

#include "sim_apart.h"

struct swarm_stats {
    uint64_t seeds, runs;      /* done; runs: twice the seeds with `twice` */
    uint64_t broken;           /* seeds with a finding */
    uint64_t events, elections, crashes, commits, config_changes, operations, unknown_operations, undecided;
    uint64_t trace_hash;       /* of all seeds' traces, in any order */
    int64_t virtual_ms, elapsed_ms, cpu_ms;
};

struct swarm_options {
    struct apart_options run;  /* the seed is set for each */
    uint64_t first, count;
    int jobs;
    bool twice;                /* each seed in two processes, whose traces must be the same */
    bool stop_at_first;        /* with the lowest seed that has a finding, however many run at a time */
    void *data;
    /* A seed is done. Its result is borrowed for the call. */
    void (*done)(void *data, const struct apart_result *r);
    /* Some time has passed; several times a second. */
    void (*progress)(void *data, const struct swarm_stats *s);
};

/* Until all is done, or SIGINT or SIGTERM, after which what is known is still worth a report. RC_IO when no process can be made. */
int swarm_run(const struct swarm_options *o, struct swarm_stats *ret);

#endif
