/* front.h - a server's end of its clients' connections: bytes in, bytes out, no sockets.
 *
 * Purpose    What the server's net threads do (conn.c, net.c), for connections that are numbers. The rules are the shipped ones
 *            (server/clientwire.h, read_execute, the core); only the sockets and threads are missing.
 * Use        The world reports what happened to connections (front_opened, front_bytes, front_closed) and then lets the two threads
 *            that a real server has take their turns, at once or later as it likes:
 *              front_turn    a net thread's turn: executes reads in place, gathers writes for the core;
 *              front_submit  the core thread takes what was gathered. Carry out the core's effects afterwards.
 *            After core_apply of one transaction hand its effects to front_effects, before the next is applied: a
 *            transaction's events reach io.send while it is applied, its reply must follow before the next one's events.
 * Ownership  Borrows the core and the tree. Nothing is called from inside a callback but the world's own code: io.send and io.close must
 *            not call back into the front.
 * Threading  one.
 * Units      *_us is virtual microseconds. conn: a number of the world's choice, unique for the life of the front, never 0. */
#ifndef SIM_FRONT_H
#define SIM_FRONT_H

#include "server/core.h"

struct front_io {
    void (*send)(void *data, uint64_t conn, const void *p, size_t n); /* in order per connection */
    void (*close)(void *data, uint64_t conn);                         /* in order behind what was sent; the front has forgotten it */
    void *data;
};
struct front_config {
    enum core_role role;            /* how requests are routed: CORE_STANDALONE, or CORE_LEARNER for every role of an ensemble */
    uint32_t max_buffer;            /* jute.maxbuffer; 0: the default */
    int32_t tick_ms;                /* tickTime: touches are batched for a tenth of it */
    int32_t sessionless_timeout_ms; /* 0: 10000 */
    int64_t outstanding_limit;      /* globalOutstandingLimit; 0: 1000 */
    bool skip_acl;
    const char *super_digest;       /* borrowed; may be NULL */
};

struct front;
struct front *front_new(struct core *core, struct tree *tree, const struct front_config *cfg, const struct front_io *io);
/* Tells nobody: as a process that dies. Before the tree and the core are freed. NULL is fine. */
void front_free(struct front *f);

/* ip_text: the client's address, its first identity. */
void front_opened(struct front *f, uint64_t conn, const char *ip_text, int64_t now_us);
/* Unknown connections are ignored in both. */
void front_bytes(struct front *f, uint64_t conn, const void *p, size_t n, int64_t now_us);
void front_closed(struct front *f, uint64_t conn);

/* Executes what has come in, as far as the order of replies allows. Under no tree change. */
void front_turn(struct front *f, int64_t now_us);
bool front_has_turn(const struct front *f);         /* is there something to execute? */
int64_t front_next_wake_us(const struct front *f);  /* when front_turn is due without input; INT64_MAX: never */
/* Hands the core what was gathered: connects, disconnects, touches, writes. */
void front_submit(struct front *f);
bool front_has_mail(const struct front *f);

/* The core's effects for clients; others are ignored. */
void front_effects(struct front *f, const struct core_effect *fx, size_t count);

/* The tree is replaced (a snapshot came, the log was truncated). Before the old one is freed. No read is executed between. */
void front_set_tree(struct front *f, struct tree *tree);

size_t front_connections(const struct front *f);

#endif
