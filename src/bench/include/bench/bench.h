/* bench.h - load for any ZooKeeper: what to do, and what came of it.
 *
 * Threading  bench_run takes the calling thread until the run is over. It sits on epoll and raw requests, far below the client library, so that
 *            the generator is not what is measured.
 * Units      _us microseconds, _ms milliseconds, rates per second.
 * Counting   an operation ends as ok, error (the server answered with an error), lost (a read whose connection went away) or unknown (a write
 *            whose connection went away: it may or may not have happened). With a rate, operations are timed from when they were
 *            due, not from when they could be sent: a server that stalls is charged for all that it kept waiting. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "bench/hist.h"
#include "client/connstr.h"

/* X(NAME, name, writes, what it does) */
#define BENCH_OP_TABLE(X)                                                                                    \
    X(GET, "get", false, "read a znode")                                                                     \
    X(EXISTS, "exists", false, "read the stat of a znode")                                                   \
    X(CHILDREN, "children", false, "list ten children")                                                      \
    X(SYNC, "sync", false, "sync")                                                                           \
    X(SET, "set", true, "write a znode")                                                                     \
    X(CREATE, "create", true, "make a znode")                                                                \
    X(DELETE, "delete", true, "delete one that create made (makes one when there is none)")                  \
    X(EPHEMERAL, "ephemeral", true, "make an ephemeral znode and delete it, as one operation")               \
    X(MULTI, "multi", true, "set several znodes at once")

enum bench_op {
#define X(name, text, writes, help) BENCH_##name,
    BENCH_OP_TABLE(X)
#undef X
    BENCH_OPS
};
const char *bench_op_name(enum bench_op op);
const char *bench_op_help(enum bench_op op);
bool bench_op_writes(enum bench_op op);

/* "get=90,set=10", or one name alone. RC_INVAL with an owned line for people in *ret_error; weights is untouched then. */
int bench_mix_parse(const char *text, uint32_t weights[BENCH_OPS], char **ret_error);
/* "100" or "100-4000". RC_INVAL likewise. */
int bench_size_parse(const char *text, uint32_t max, uint32_t *ret_min, uint32_t *ret_max);

enum bench_spread {
    BENCH_EVEN,   /* connection i to server i mod n */
    BENCH_RANDOM, /* as clients do */
    BENCH_FIRST,  /* all to the first */
};

struct bench_second {
    uint64_t ok, errors, lost; /* lost: with unknown */
    uint64_t p50_us, p99_us, max_us;
};

struct bench_options {
    const struct connstr *servers; /* borrowed */
    const char *root;              /* a valid path below the chroot; what the run makes lies below it */
    uint32_t weights[BENCH_OPS];
    uint32_t connections, in_flight; /* at least 1 */
    uint32_t value_min, value_max;
    uint32_t keys;       /* znodes to work on, 1 to 100 million */
    uint32_t multi_size; /* sets in a multi */
    int64_t warm_up_ms;
    int64_t duration_ms; /* 0: by ops */
    uint64_t ops;
    uint64_t rate; /* 0: each connection sends as soon as it has an answer */
    enum bench_spread spread;
    bool stay;         /* a lost connection goes back to its server instead of the next */
    bool prepare_only; /* make the znodes, measure nothing */
    bool keep;         /* leave them */
    uint64_t seed;
    int32_t session_timeout_ms;
    int64_t timeout_ms;   /* without any answer, outside of the measurement */
    int64_t reconnect_ms; /* between attempts of one connection */
    /* Once a second; measuring: false before the measurement, s is NULL then and done of total says how far preparation is. */
    void (*progress)(void *data, int64_t elapsed_s, const struct bench_second *s, uint32_t connected, uint64_t done, uint64_t total);
    void *data;
    const volatile int *interrupted; /* 1: end early and in order; 2: at once. May be NULL */
};

struct bench_op_result {
    uint64_t ok, errors, lost, unknown;
    struct hist times; /* of those that ended ok */
};
struct bench_server_result {
    char *text;           /* owned */
    uint32_t connections; /* at the end */
    uint64_t ok, connects;
    struct hist times;
};
struct bench_gap {
    int64_t us; /* the longest time without a success */
    int64_t at_us; /* when it began, since the start of the measurement */
};
enum { BENCH_GAP_ALL, BENCH_GAP_READS, BENCH_GAP_WRITES, BENCH_GAPS };

struct bench_error {
    int32_t code;
    uint64_t count;
};

struct bench_result {
    int64_t elapsed_us; /* of the measurement */
    struct bench_op_result ops[BENCH_OPS];
    struct VEC(struct bench_second) seconds; /* whole ones */
    struct bench_server_result *servers;
    size_t server_count;
    struct bench_gap gaps[BENCH_GAPS];
    struct VEC(struct bench_error) errors; /* answers, by code */
    uint64_t unsent; /* due by the rate, and never sent */
    uint64_t reconnects, sessions_expired;
    uint64_t prepared; /* znodes made beforehand */
    int64_t prepare_us;
    bool interrupted, left; /* left: not everything that the run made could be removed */
};

/* 0; RC_TIMEOUT or RC_UNAVAIL (no server, not all connections), RC_MALFORMED (no ZooKeeper), RC_DENIED, RC_INVAL (preparation was refused), RC_CANCELLED,
 * with an owned line in *ret_error. Free the result in any case. */
int bench_run(const struct bench_options *opt, struct bench_result *ret, char **ret_error);
void bench_result_free(struct bench_result *r);

#endif
