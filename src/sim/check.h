/* check.h - judges a run by its history, its committed log and the trees it ended with.
 *
 * Use        Fill in a check_input, call check_all (or one check). What is left out is not checked: no log, no replicas, no calm.
 * Names      Each check has a name, X(function, name, what it demands); sim_finding.name is one of them.
 * Ownership  Everything of the input is borrowed. Texts of findings belong to the report.
 * Threading  one.
 * Units      *_us is virtual microseconds of the world's own clock. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "history.h"
#include "tree/tree.h"

/* In the order of the causes: when a check finds something, those behind it often find its consequences. */
#define SIM_CHECKS(X)                                                                                                   \
    X(protocol, "history.protocol", "replies come in order and are well-formed")                                        \
    X(log, "log.valid", "zxids rise without gaps; each transaction follows from the state before it")                   \
    X(replicas, "final.replicas", "all servers end with the same tree, and it is what the log says")                    \
    X(session_order, "history.session-order", "what a session sees never goes back, on whatever server")                \
    X(acknowledged, "history.acknowledged", "no acknowledged write is lost, none invented, none done twice")            \
    X(reconfig, "history.reconfig", "a change of the members is the one that was asked for")                            \
    X(reads, "history.reads", "a read shows the state at the zxid of its reply")                                        \
    X(linear, "history.linearizable", "writes and reads behind a sync are linearizable for each key")                   \
    X(sequential, "history.sequential", "sequential names are unique and rise")                                         \
    X(ephemerals, "history.ephemerals", "ephemerals neither outlive their session nor vanish while it lives")           \
    X(watches, "history.watches", "no watch event is missed, early, late, or for what was not watched")                 \
    X(sessions, "history.sessions", "no session expires that was heard from in time")

struct check_replica {
    uint32_t server;
    const struct tree *tree;
};
struct check_commit {
    int64_t zxid;
    struct buf txn;     /* header, body, digest: as in the log */
    int64_t at_us;      /* when its leader made it; 0: not known */
};
struct check_calm { /* nothing was broken from .. until: connections, processes, clocks, disks; every server had joined */
    int64_t from_us, until_us;
};
struct check_input {
    const struct history *h;
    const struct check_commit *log; /* everything that was committed, in the order of zxids, from the first */
    size_t log_len;
    bool log_known;
    const struct check_replica *replicas; /* once all was quiet */
    size_t replica_count;
    const struct check_calm *calm; /* ascending, apart */
    size_t calm_count;
    int32_t tick_ms;        /* tickTime */
    int32_t drift_ppm;      /* how much faster than the world's a server's clock may run */
    bool extended_types;    /* TTL nodes */
};

struct check_finding {
    const char *name;
    char *text;             /* one line or several */
    int64_t at_us;
    uint32_t server;        /* index as in the input; UINT32_MAX: none */
    struct VEC(uint32_t) ops; /* of the history, most telling first */
};
struct check_report {
    struct VEC(struct check_finding) findings;
    size_t undecided; /* keys of which the check of linearizability could not say: no finding, but no proof either */
    size_t per_check; /* no more findings than that of each check; 0: 5 */
};
void check_all(const struct check_input *in, struct check_report *ret);
void check_report_free(struct check_report *r);

/* The single checks. */
struct model;
#define X(fn, name, text) void check_##fn(const struct check_input *in, const struct model *m, struct check_report *ret);
SIM_CHECKS(X)
#undef X

#endif
