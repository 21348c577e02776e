/* sim_apart.h - runs of the simulator in processes of their own, so that one that crashes is a finding and not the end.
 *
 * A run's outcome comes back through memory that parent and child share; lines of the timeline go into rings there, so that they
 * survive the crash that they explain. */
#ifndef CLI_SIM_APART_H
#define CLI_SIM_APART_H

#include <sys/types.h>

#include "sim/sim.h"

enum {
    APART_FINDINGS = 8,
    APART_PLAN = 512,
    APART_LINES = 1 << 13, /* of each ring */
    APART_TEXT = 8192,
};

struct apart_line {
    int64_t at_us, server, to;
    uint64_t number; /* order */
    enum sim_line_kind kind;
    char text[132];
};
struct apart_ring {
    uint64_t count; /* ever; the last APART_LINES are there */
    struct apart_line items[APART_LINES];
};
struct apart_finding {
    char name[64], text[APART_TEXT];
    int64_t at_us, server;
};
struct apart_plan {
    uint32_t number;
    enum sim_fault fault;
    bool skipped;
    int64_t from_us, until_us;
    char text[120];
};

struct apart_result {
    bool finished; /* sim_run came back */
    uint64_t seed, trace_hash, events;
    int64_t virtual_ms;
    uint32_t servers, observers, clients;
    uint64_t elections, crashes, commits, config_changes, operations, unknown_operations, undecided;
    size_t findings_len; /* found; the first APART_FINDINGS are there */
    struct apart_finding findings[APART_FINDINGS];
    size_t plan_len;
    struct apart_plan plan[APART_PLAN];
    /* With lines asked for. `story` is what happened to servers and by the schedule: rarer, so that it goes back further. */
    struct apart_ring story, chatter;
};

struct apart_options {
    struct sim_options sim;
    uint64_t relapses; /* bits of enum relapse, switched on in the child */
    bool lines;
};

/* A child and what it leaves behind. Reused for run after run. */
struct apart {
    struct apart_result *result; /* valid from apart_reap to the next apart_start */
    pid_t pid;                   /* 0: none runs */
    int err_fd;                  /* the child's standard error */
};

int apart_init(struct apart *a); /* RC_IO: no memory or descriptors to be had; errno says more */
void apart_done(struct apart *a); /* kills what runs */
int apart_start(struct apart *a, const struct apart_options *o); /* RC_IO */
/* Takes over how the child ended: a crash or a hang becomes a finding. `status` as from waitpid. */
void apart_reap(struct apart *a, int status);
/* Start and wait. RC_IO when no process can be made. */
int apart_run(struct apart *a, const struct apart_options *o);

/* Both rings' lines in order; the caller frees. Borrowed from the rings. */
size_t apart_lines(const struct apart_result *r, const struct apart_line ***ret);

#endif
