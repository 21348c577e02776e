/* forward.h - questions to upstream servers: a cache, then UDP, then the next server, TCP when the answer is cut.
 *
 * Spoofing   Each UDP question has its own connected socket (so a random port, and the kernel drops what comes from another
 *            address) and a random id; a reply to another question is ignored.
 * Bounds     FORWARD_INFLIGHT_MAX questions under way, equal ones asked once; FORWARD_WAITERS_MAX waiting for them; at most
 *            FORWARD_DEADLINE_MS for each.
 * Threading  The loop's. */
#ifndef DNS_FORWARD_H
#define DNS_FORWARD_H

#include "answer.h"
#include "base/list.h"

#define FORWARD_INFLIGHT_MAX 512
#define FORWARD_WAITERS_MAX  4096
#define FORWARD_UDP_MS       1200
#define FORWARD_TCP_MS       2500
#define FORWARD_DEADLINE_MS  6000

/* Counts libuv handles that are open, to know when all is closed. */
struct handles {
    size_t open;
    void (*none)(struct handles *h); /* called at 0 */
};
void handles_opened(struct handles *h);
void handles_closed(struct handles *h);

struct forward;

struct forward_waiter {
    struct list link;
    struct forward_query *query;
    void (*fn)(struct forward_waiter *w, const struct dns_upstream *u); /* u is borrowed for the call */
};

/* servers: "ip[:port]". RC_INVAL and an owned line in *ret_error. */
int forward_new(uv_loop_t *loop, const struct dns_config *cfg, struct handles *handles, struct dns_stats *stats,
                struct forward **ret, char **ret_error);
/* Closes its handles (handles tells when) and forgets the waiters; f is freed with forward_free after that. */
void forward_stop(struct forward *f);
void forward_free(struct forward *f);
/* Looks into the cache; false when the answer is not there. u->msg is borrowed until the loop goes on. */
bool forward_cached(struct forward *f, const struct dns_ask *ask, struct dns_upstream *ret);
/* Asks; w->fn will be called once, later. RC_BUSY: too many under way. */
int forward_ask(struct forward *f, const struct dns_ask *ask, struct forward_waiter *w);
void forward_cancel(struct forward *f, struct forward_waiter *w);

#endif
