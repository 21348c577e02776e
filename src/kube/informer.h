/* informer.h - list, then watch, of one kind of object, as a pure state machine.
 *
 * Purpose    Decides which request comes next, when, and what its answer means. Does no I/O and reads no clock; the
 *            jitter comes from the seed alone. The shell (api.c) sends the requests and hands in what comes back.
 * Ownership  Owns the set of objects that were delivered (namespace/name -> uid and resourceVersion), not their content.
 *            Bytes handed in are borrowed for the call.
 * Threading  One caller at a time. The sink is called from inside informer_* calls and must not call back into them.
 * Units      *_ms is milliseconds on one monotonic clock of the caller's.
 * Source     Kubernetes API concepts (list, watch, bookmarks, 410 Gone); client-go's Reflector for the back-off.
 *
 * After every call the shell asks informer_take() until it returns false, and then sets a timer to informer_wake_ms(). */
#ifndef KUBE_INFORMER_H
#define KUBE_INFORMER_H

#include "kube/kube.h"

struct informer_sink {
    void *data;
    void (*upsert)(void *data, const struct kube_object *obj);
    void (*remove)(void *data, enum kube_kind kind, const char *ns, const char *name);
    void (*synced)(void *data, enum kube_kind kind);
    void (*problem)(void *data, const char *text); /* without the server's address */
};

struct informer_options {
    enum kube_kind kind;
    const char *ns; /* NULL: all; copied */
    uint64_t seed;
    /* As in struct kube_api_options, here all set. */
    uint32_t page_limit, backoff_min_ms, backoff_max_ms, watch_timeout_min_s, watch_grace_ms;
    struct informer_sink sink;
};

struct informer_action {
    bool cancel;        /* abort the running request, without telling the informer of its end */
    const char *target; /* send this request: path and query; NULL: none. Borrowed until the next informer_* call */
    bool watch;         /* it is a stream: no compression */
    bool fresh;         /* not over a connection of before */
    bool renew;         /* get new credentials first */
};

struct informer;

struct informer *informer_new(const struct informer_options *opt);
void informer_free(struct informer *inf);
void informer_start(struct informer *inf, int64_t now_ms);
bool informer_take(struct informer *inf, struct informer_action *ret);
int64_t informer_wake_ms(const struct informer *inf); /* INT64_MAX: nothing is due */

/* The request that was taken is on its way: its deadline counts from here. */
void informer_on_sent(struct informer *inf, int64_t now_ms);
/* The answer's headers. retry_after_ms: 0 when the server named none. */
void informer_on_headers(struct informer *inf, int64_t now_ms, int status, int64_t retry_after_ms);
void informer_on_body(struct informer *inf, int64_t now_ms, const uint8_t *p, size_t n);
/* The answer ended. error: NULL for a complete answer, else what broke, for people. */
void informer_on_end(struct informer *inf, int64_t now_ms, const char *error);
void informer_on_tick(struct informer *inf, int64_t now_ms);

/* Adds this informer's figures to *ret. */
void informer_stats(const struct informer *inf, struct kube_stats *ret);

#endif
