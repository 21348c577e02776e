/* load.h - the inside of the load generator. One thread, no locks.
 *
 * A run goes through stages: connect, make the znodes, measure, wait for what is under way, remove the znodes, end the sessions. Outside of the
 * measurement a stage is a list of numbered steps that the connections share; what a lost connection had not finished is done again. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netdb.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "bench/bench.h"
#include "jute/records.h"

enum {
    LOAD_STEP_WINDOW = 64,    /* steps under way per connection */
    LOAD_DIR_CHILDREN = 10,   /* what "children" lists */
    LOAD_FRAME_MAX = 256 << 20,
    LOAD_MADE_DIGITS = 8,
};

enum stage {
    STAGE_CONNECT,
    STAGE_PARENTS,  /* one connection: the directories */
    STAGE_KEYS,
    STAGE_SYNC,     /* every connection: its server has all that was made */
    STAGE_RUN,
    STAGE_DRAIN,    /* nothing new; wait for what is under way */
    STAGE_LIST,     /* what create made and nobody deleted */
    STAGE_CLEAN,
    STAGE_CLEAN_PARENTS,
    STAGE_CLOSE,
    STAGE_END,
};

/* What a request is for: an operation of the measurement, or a step. */
enum { WHAT_STEP = BENCH_OPS };
struct pending {
    int64_t at_us; /* when it was sent or due */
    uint64_t arg;  /* step: its number; create: the number of the znode */
    uint8_t what;
    uint8_t replies; /* still to come */
    bool failed;     /* one of them was an error */
};

struct load_server {
    const struct server_addr *addr;
    struct addrinfo *list; /* owned */
};

enum conn_state { CONN_DOWN, CONN_CONNECTING, CONN_HELLO, CONN_READY };
struct bconn {
    struct load *l;
    uint32_t index, server;
    const struct addrinfo *address; /* the one to try next */
    enum conn_state state;
    int fd;
    bool pollout, dirty, was_ready, synced;
    int64_t wake_us; /* DOWN: next attempt; else: when to look after it */
    int64_t heard_us, said_us;
    int64_t session_id, last_zxid;
    uint8_t passwd[ZK_PASSWORD_LEN];
    int32_t session_timeout_ms;
    struct wr out;
    size_t out_done;
    uint8_t *in;
    size_t in_n, in_cap;
    int32_t xid_sent, xid_heard;
    struct pending *ring; /* under way, in order */
    uint32_t head, tail, ring_mask;
    struct VEC(uint64_t) made; /* numbers of znodes that create made, from made_head on */
    size_t made_head;
    const char *trouble; /* static: why the last attempt failed */
};

struct load {
    const struct bench_options *opt;
    struct bench_result *res;
    int ep;
    struct bconn *conns;
    struct load_server *servers;
    uint32_t server_count, ready;
    uint64_t random;
    int64_t now_us, next_wake_us;

    /* names */
    char *root;        /* with the chroot */
    char *keys, *dir, *made; /* directories below it */
    char *key_path;    /* keys/k and eight digits, rewritten for each use */
    size_t key_prefix;
    char *made_path;   /* made/n and digits */
    size_t made_prefix;
    uint8_t *value;    /* random bytes */
    size_t value_len;
    uint64_t made_next;

    /* the operation mix: weights summed up */
    uint32_t mix[BENCH_OPS], mix_sum;

    /* stages */
    enum stage stage;
    uint64_t steps, steps_sent, steps_done;
    struct VEC(uint64_t) redo;
    size_t redo_at;
    struct bconn *solo;
    struct VEC(char *) parents;  /* owned paths, parents first */
    struct VEC(bool) parents_ours; /* made by this run */
    struct VEC(char *) garbage;  /* owned names below `made` */
    int64_t progress_us;         /* the last answer */
    int64_t stage_us;            /* when the stage began */
    char *error;                 /* owned: why the run cannot go on */
    int error_rc;

    /* measurement */
    int64_t begin_us, start_us, end_us; /* of the run, of its measured part */
    uint64_t issued, issued_measured;
    struct VEC(struct bconn *) dirty; /* with a rate: have something to send */
    uint32_t rr; /* connection that is to send next, with a rate */
    struct bench_second second;
    struct hist second_times;
    int64_t second_end_us, report_us;
    int64_t last_ok_us[BENCH_GAPS];
    int64_t last_answer_us;
};

/* requests.c: what is sent. */
uint64_t load_random(struct load *l);
uint64_t load_below(struct load *l, uint64_t n);
void load_names_init(struct load *l);
void load_names_free(struct load *l);
void put_connect(struct bconn *c);
void put_ping(struct bconn *c);
void put_close_session(struct bconn *c);
void put_create(struct bconn *c, const char *path, size_t len, bool ephemeral);
void put_delete(struct bconn *c, const char *path, size_t len);
void put_children(struct bconn *c, const char *path);
void put_sync(struct bconn *c, const char *path);
const char *load_key_path(struct load *l, uint64_t key, size_t *ret_len);
const char *load_made_path(struct load *l, char kind, uint64_t number, size_t *ret_len);
/* Sends one operation; at_us is when it was due. */
void put_op(struct bconn *c, enum bench_op op, int64_t at_us);
enum bench_op load_pick(struct load *l);

/* conn.c: one connection. */
void bconn_init(struct bconn *c, struct load *l, uint32_t index);
void bconn_free(struct bconn *c);
void bconn_look_after(struct bconn *c);           /* its wake_us has come */
void bconn_event(struct bconn *c, uint32_t events);
bool bconn_take(struct bconn *c);                  /* whole frames of what came; false: the connection is gone */
void bconn_flush(struct bconn *c);
void bconn_lost(struct bconn *c, const char *why); /* why: static */
void bconn_end(struct bconn *c);                   /* closes the socket, counts nothing */
struct pending *bconn_pending(struct bconn *c, uint8_t what, int64_t at_us, uint64_t arg, uint8_t replies);
static inline uint32_t bconn_under_way(const struct bconn *c)
{
    return c->tail - c->head;
}

/* load.c: counting, and sending operations. */
void load_answered(struct load *l, struct bconn *c, const struct pending *p);
void load_gone(struct load *l, const struct pending *p); /* its connection went away */
void load_error_code(struct load *l, int32_t code);
void load_feed(struct load *l, struct bconn *c); /* sends what the connection may send now */
bool load_measures(const struct load *l, int64_t at_us);

/* stages.c */
void stage_enter(struct load *l, enum stage s);
void stage_turn(struct load *l); /* goes on to the next stage when this one is done */
bool stage_feed(struct load *l, struct bconn *c); /* sends steps */
/* A step's answer; r is behind the header. */
void stage_answered(struct load *l, const struct pending *p, int32_t err, struct rd *r);
void stage_gone(struct load *l, struct bconn *c, const struct pending *p);
/* Ends the run; takes text. */
void load_fail(struct load *l, int rc, char *text);

#endif
