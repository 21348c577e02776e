/* desired.h - what the registry shall hold, as the source of objects has told it, and which paths have to be
 * looked at.
 *
 * One state for each path of interest: its wanted data, whether it may differ from the registry (dirty), and
 * whether a write of it is on its way. Pure: no client; time is handed in. */
#ifndef SYNC_DESIRED_H
#define SYNC_DESIRED_H

#include "base/list.h"
#include "base/map.h"
#include "plan.h"

/* So many connections lost over one large node, and it is left out until it changes. */
#define DESIRED_LOST_MAX 3

struct path_state {
    char *path;                /* relative to <root>/<cluster> */
    char *data;                /* wanted; NULL: not */
    bool hold;                 /* its object cannot be read: what the registry has stands */
    struct path_state *parent; /* of a service its namespace, of a slice its service */
    size_t users;              /* states that have this one as their parent */
    size_t live;               /* of a namespace: services, or Pods, in it that are wanted or held */
    struct list slices;        /* of a service: its slices; of a namespace of Pods: these */
    struct list sibling;       /* of a slice: in its service's list; of a Pod */
    struct list dirty;         /* in desired.dirty, or alone */
    struct list sent;          /* in desired.sent, or alone: written, and not yet seen in the cache */
    bool sent_present;
    uint64_t sent_hash; /* of the data written */
    int64_t sent_ms;
    int64_t since_ms; /* when the oldest change arrived that is not in the registry; 0: none */
    int lost;         /* how often the connection broke over this path alone */
};

struct desired {
    struct strmap states;      /* path -> struct path_state */
    struct strmap slice_homes; /* "ns/slice" -> struct path_state: its present path */
    struct list dirty, sent;
    size_t services, slices, namespaces, pods; /* wanted */
};

void desired_init(struct desired *d);
void desired_done(struct desired *d);
struct path_state *desired_get(struct desired *d, const char *path); /* NULL when nothing is known */
/* Finds or makes; to be followed by desired_mark, or it may be forgotten. */
struct path_state *desired_need(struct desired *d, const char *path);

/* From the source. Data is taken (owned). Return true when something has to be looked at. */
bool desired_namespace(struct desired *d, const char *ns, bool exists, int64_t now_ms);
bool desired_service(struct desired *d, const char *ns, const char *name, char *data, int64_t now_ms);
/* service NULL: the slice belongs nowhere, or is gone. */
bool desired_slice(struct desired *d, const char *ns, const char *name, const char *service, char *data,
                   int64_t now_ms);
/* From here on Pods are wanted as well: the node that they are below exists, even without any. */
void desired_pods_begin(struct desired *d, int64_t now_ms);
bool desired_pod(struct desired *d, const char *ns, const char *name, char *data, int64_t now_ms);
void desired_hold_pod(struct desired *d, const char *ns, const char *name);
/* The object could not be read: what is wanted, or stored, stands. service: of a slice, or NULL for a
 * Service. */
void desired_hold(struct desired *d, const char *ns, const char *name, const char *service);

void desired_mark(struct desired *d, struct path_state *st);
void desired_mark_all(struct desired *d);
/* Not dirty any more, and in the registry. Forgets states of which nothing is known; st may be gone
 * afterwards. */
void desired_settle(struct desired *d, struct path_state *st);
struct plan_want desired_want(const struct desired *d, const char *path);

#endif
