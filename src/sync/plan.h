/* plan.h - what to write: wanted against actual, as an ordered list of batches. Pure: no client, no clock.
 *
 * Paths are relative to <root>/<cluster>: "ns", "ns/service", "ns/service/slice"; ".pods", ".pods/ns",
 * ".pods/ns/pod".
 * Rules      Creates and changes come first, parents before children; removals last, children before parents.
 *            Only differences. Only nodes that say managedBy quoll-sync are removed, and none while
 * may_remove (of Pods: may_remove_pods) is false. A wanted node that another manager claims is left alone (and what is below it), and
 * reported. A service that is gone, and below which others have nodes, is emptied instead of removed. */
#ifndef SYNC_PLAN_H
#define SYNC_PLAN_H

#include "base/bytes.h"

struct plan_want {
    bool wanted;      /* it shall exist with this data */
    bool hold;        /* not wanted, but not to be touched either: its object could not be read */
    const char *data; /* canonical JSON, NUL-terminated */
};
struct plan_actual {
    const void *data;
    size_t len;
    int32_t version;
};

struct plan_world {
    void *data;
    struct plan_want (*want)(void *data, const char *path);
    bool (*actual)(void *data, const char *path, struct plan_actual *ret); /* false: does not exist */
    /* Calls fn with the name of each actual child. */
    void (*children)(void *data, const char *path, void (*fn)(void *arg, const char *name), void *arg);
    void (*on_conflict)(void *data, const char *path, const char *manager);
    bool may_remove, may_remove_pods; /* all that could be wanted of them is known */
};

enum plan_op_type { PLAN_CREATE, PLAN_SET, PLAN_REMOVE };
struct plan_op {
    enum plan_op_type type;
    char *path;
    char *data; /* NULL for PLAN_REMOVE */
    size_t len;
    int32_t version; /* SET, REMOVE: of what was compared */
};

struct plan {
    struct VEC(struct plan_op) ops;
    struct VEC(size_t) batch_ends; /* index behind the last op of each batch */
};

struct plan_limits {
    size_t ops, bytes; /* of one batch; an op larger than bytes gets a batch of its own */
};

/* Looks at these paths (in any order, repeats allowed) and, for removals, at what is below them. */
void plan_make(const struct plan_world *w, const char *const *paths, size_t count,
               const struct plan_limits *limits, struct plan *ret);
void plan_done(struct plan *p);

#endif
