/* sim.h - runs a whole ensemble of the shipped code in a deterministic world, from one number.
 *
 * Purpose    Servers (storage, peer, core: the object files that ship), virtual clients, network, disks and clocks, and a schedule of faults, all decided by
 *            the seed. After every event the invariants are checked, at the end the history and the trees; see docs/simulator.md.
 * Promise    The same options give the same run, bit for bit: sim_result.trace_hash says so. On any machine, in any process, with any log level.
 * Threading  One run at a time per process (the code under test has per-process switches); runs may follow each other.
 * Crashes    A failed ASSERT of the shipped code aborts the process: that is a finding too. Whoever runs many seeds does so in processes of their own.
 * Ownership  Options are borrowed for the call. A result owns what it points at, until sim_result_free.
 * Units      *_us and *_ms are virtual time since the world began. Servers are numbered by their sid, from 1. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/core.h"

/* X(ID, name, what it is) */
#define SIM_FAULTS(X)                                                                                        \
    X(PARTITION, "partition", "servers divided into groups that cannot reach each other, of any shape")      \
    X(ONE_WAY, "one-way", "some directions between servers carry nothing")                                   \
    X(SILENCE, "silence", "connections that stay open and carry nothing")                                    \
    X(RESET, "reset", "connections reset")                                                                   \
    X(DELAY, "delay", "slow links")                                                                          \
    X(KILL, "kill", "processes killed and started again")                                                    \
    X(POWER, "power", "power cuts: what was not synced is lost, in parts, torn")                             \
    X(PAUSE, "pause", "processes stopped for a while (SIGSTOP)")                                             \
    X(SLOW_DISK, "slow-disk", "syncs that take long, or hang for seconds")                                   \
    X(FULL_DISK, "full-disk", "disks that run full")                                                         \
    X(DISK_ERROR, "disk-error", "writes and syncs that fail")                                                \
    X(BIT_ROT, "bit-rot", "bytes of files at rest that change, on one server at a time")                     \
    X(CLOCK, "clock", "clocks that run fast or slow; wall clocks that jump")                                 \
    X(CLIENTS, "clients", "clients cut off from servers, connections of clients reset")
enum sim_fault {
#define X(id, name, text) SIM_FAULT_##id,
    SIM_FAULTS(X)
#undef X
        SIM_FAULT_COUNT
};
#define SIM_FAULTS_ALL ((1u << SIM_FAULT_COUNT) - 1)
const char *sim_fault_name(enum sim_fault f);
const char *sim_fault_text(enum sim_fault f);

/* What a line of the timeline is about. */
enum sim_line_kind {
    SIM_LINE_FAULT,   /* the schedule did something (server 0: to the network or to several) */
    SIM_LINE_LIFE,    /* a server started, stopped, died */
    SIM_LINE_ROLE,    /* looking, leading, following, serving */
    SIM_LINE_LOG,     /* what the server itself logged */
    SIM_LINE_DISK,    /* synced up to, snapshot, epoch files */
    SIM_LINE_MESSAGE, /* sent to `to` */
    SIM_LINE_CLIENT,  /* seen by clients */
    SIM_LINE_FINDING,
};
struct sim_line {
    int64_t at_us;
    enum sim_line_kind kind;
    int64_t server; /* sid; 0: none */
    int64_t to;     /* MESSAGE: sid of the receiver; 0 otherwise */
    const char *text;
};

struct sim_options {
    uint64_t seed;
    uint32_t servers;       /* voters, 1 to 9; 0: 3 or 5 as the seed says */
    int32_t observers;      /* -1: 0 to 2 as the seed says */
    bool groups;            /* weights and groups now and then, as the seed says */
    uint32_t clients;       /* 0: as the seed says */
    int64_t duration_ms;    /* of the phase with faults; 0: 60000. A phase without follows, in which all must recover */
    uint32_t faults;        /* bit per enum sim_fault; a run takes some of them */
    bool all_faults;        /* ... or all of them */
    bool reconfig;          /* clients change the members, of which there are one or two more servers to take */
    /* Faults of the schedule to leave out, by number (sim_planned_fault.number): for making a finding smaller. */
    const uint32_t *skip;
    size_t skip_count;
    bool stop_at_finding;   /* do not go on to the end */
    /* Called for every line as it happens; NULL: not. Lines are made (which costs time) only for this and for `keep_lines`. */
    void (*line)(void *data, const struct sim_line *line);
    void *line_data;
    size_t keep_lines;      /* of the last lines of each server, in the result; 0: none. */
};
void sim_options_init(struct sim_options *o); /* seed 0, the shape as the seed says, all faults allowed */

struct sim_finding {
    const char *name;    /* of the invariant or check: "zab.agreement", "disk.ack-durable", "history.linearizable", "liveness.serving" ... */
    char *text;          /* what contradicts what; several lines */
    int64_t at_us;
    int64_t server;      /* sid; 0: not one server's */
};
struct sim_planned_fault {
    uint32_t number;
    enum sim_fault fault;
    int64_t from_us, until_us; /* equal: a moment */
    char *text;          /* "power cut of server 3, back after 812 ms" */
    bool skipped;
};
struct sim_result {
    uint64_t seed, trace_hash;
    uint64_t events;           /* that the world carried out */
    int64_t virtual_ms;
    uint32_t servers, observers, clients;
    uint64_t elections, crashes, commits, config_changes, operations, unknown_operations;
    uint64_t undecided;        /* znodes of which a check could not say whether all is well with them: no finding, but no proof either */
    struct VEC(struct sim_finding) findings; /* empty: all is well */
    struct VEC(struct sim_planned_fault) schedule;
    struct VEC(struct sim_line) lines;       /* in the order of time; texts owned */
};
/* Runs to the end, or to the first finding. Takes a tenth of a second or so. */
void sim_run(const struct sim_options *o, struct sim_result *ret);
void sim_result_free(struct sim_result *r);

#endif
