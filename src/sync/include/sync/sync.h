/* sync.h - Kubernetes objects into the registry: one elected writer, differences only.
 *
 * Threading  Everything on the loop of the client.
 * Rules      Nothing is withdrawn because the writer, the API server or the session went away; no deletion of a kind before
 *            that kind is fully known; adds before removes; zero writes when nothing changed. */
#ifndef SYNC_SYNC_H
#define SYNC_SYNC_H

#include <uv.h>

#include "kube/kube.h"
#include "quoll/quoll.h"

struct sync;

struct sync_options {
    const char *root;    /* NULL: /quoll/registry */
    const char *cluster; /* NULL: default */
    const char *const *label_prefixes; /* labels to store; count 0: all */
    size_t label_prefix_count;
    const char *const *annotation_prefixes; /* annotations to store; count 0: none */
    size_t annotation_prefix_count;
    /* Store Pods too (REGISTRY_PODS), from a source that delivers them. Without it what is stored of Pods is left alone. */
    bool pods;
    /* One line for people about something that was skipped or went wrong; may be NULL (then it is logged). */
    void (*on_problem)(void *data, const char *text);
    void *data;
};

struct sync_stats {
    bool leading;        /* this is the writer */
    bool standing_by;    /* another one is, and this would follow it. Neither: the election is under way */
    bool kinds_synced;   /* the source has delivered every kind that is stored */
    bool in_step;        /* leading, everything wanted is written and nothing waits */
    uint64_t epoch;      /* of the writer, fences deposed ones; 0: never led */
    uint64_t wanted_services, wanted_slices, wanted_namespaces, wanted_pods;
    uint64_t writes, batches, write_errors, skipped_objects;
    int64_t last_lag_ms, max_lag_ms; /* from a change's arrival to its commit */
};

/* Starts. The client is borrowed (same loop) and must outlive the sync. */
int sync_open(uv_loop_t *loop, quoll_client *client, const struct sync_options *opt, struct sync **ret);
/* What to hand to kube_api_open / kube_manifests_open: valid from sync_open to sync_close. */
const struct kube_handler *sync_handler(struct sync *s);
void sync_stats(const struct sync *s, struct sync_stats *ret);
/* Gives up leadership and stops: no callback after the return; `closed` (may be NULL) when all is freed. */
void sync_close(struct sync *s, void (*closed)(void *data), void *data);

#endif
