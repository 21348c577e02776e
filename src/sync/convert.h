/* convert.h - Kubernetes objects (v1 Service, discovery.k8s.io/v1 EndpointSlice, v1 Pod, as JSON) to the registry's
 * node data. Pure. What comes out has been read back by the registry's own decoder: a writer never stores
 * what readers refuse. */
#ifndef SYNC_CONVERT_H
#define SYNC_CONVERT_H

#include <jansson.h>

#include "base/core.h"

#define SYNC_MANAGED_BY "quoll-sync"

/* Keys to keep, by prefix. NULL with count 0 keeps none; {"" } keeps all. */
struct convert_options {
    const char *const *label_prefixes;
    size_t label_prefix_count;
    const char *const *annotation_prefixes;
    size_t annotation_prefix_count;
};

/* Owned canonical JSON in *ret. RC_MALFORMED with an owned text naming the field in *ret_problem. */
int convert_service(const json_t *obj, const char *ns, const char *name, const struct convert_options *opt,
                    char **ret, char **ret_problem);
/* As above; *ret_service is the owned name of the Service that the slice belongs to, set with RC_MALFORMED
 * too. RC_UNSUPPORTED (no problem text): a slice that is not stored, being of type FQDN or of no Service. */
int convert_slice(const json_t *obj, const char *name, char **ret, char **ret_service, char **ret_problem);
/* As convert_service. RC_UNSUPPORTED (no problem text): a Pod that has no address (yet), or has ended. */
int convert_pod(const json_t *obj, const char *name, char **ret, char **ret_problem);
/* "2026-01-01T00:00:00.5+01:00" to ms since 1970; 0 when it is none. */
int64_t convert_time(const char *text);

#endif
