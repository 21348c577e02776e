/* single.h - virtual clients and one standalone core between them, joined by queues with delays: enough to try clients, front and checkers on
 * each other without an ensemble. */
#ifndef SINGLE_H
#define SINGLE_H

/* clang-format off: cmocka wants these first */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "check.h"
#include "front.h"
#include "vclient.h"

enum { SINGLE_CLIENTS_MAX = 16 };
enum single_event_type { TO_SERVER, TO_CLIENT, OPENED, SERVER_CLOSED, CLIENT_CLOSED, PERSISTED };
struct single_event {
    int64_t at_us;
    uint64_t seq;
    enum single_event_type type;
    uint32_t client;
    uint64_t conn;
    int64_t zxid;
    struct buf bytes; /* owned */
};
struct single_conn {
    uint64_t id;       /* 0: none */
    int64_t up_us, down_us; /* the last delivery each way: connections keep their order */
};
struct single {
    uint64_t rng;
    int64_t now_us;
    struct tree *tree;
    struct core *core;
    struct front *front;
    struct history *h;
    uint32_t clients;
    struct vclient *client[SINGLE_CLIENTS_MAX];
    struct single_conn conn[SINGLE_CLIENTS_MAX];
    uint64_t next_conn, next_seq;
    struct VEC(struct single_event) queue;
    struct VEC(struct check_commit) log; /* appended */
    size_t durable;                      /* of them */
    /* faults of the server's own, for which checks must be found */
    size_t forgets;                      /* durable transactions lost at a restart */
    bool late_events;                    /* an event comes behind the reply that shows it */
    uint64_t held_conn;
    struct buf held;                     /* owned */
    int64_t resets;                      /* one connection reset per so many events; 0: none */
    uint64_t events;
};

void single_init(struct single *w, uint64_t seed, uint32_t clients);
void single_done(struct single *w);
void single_run(struct single *w, int64_t until_us);
/* Stops the clients and runs until all are idle. */
void single_settle(struct single *w);
/* kill -9 and a new start: what was not durable is gone, the rest is replayed. */
void single_restart(struct single *w);
void single_input(struct single *w, struct check_input *ret, struct check_replica *replica);

#endif
