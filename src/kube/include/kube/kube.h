/* kube.h - where Kubernetes objects come from: an API server, or files of manifests.
 *
 * Purpose    Both sources deliver the same thing: the wanted set of Services, EndpointSlices, Namespaces and (when
 *            asked for) Pods, as it is now and as it changes. Consumers see one shape, whatever the API server's age:
 *            v1 Service, discovery.k8s.io/v1 EndpointSlice, v1 Namespace. (discovery.k8s.io/v1beta1 slices and,
 *            in manifests, v1 Endpoints are converted; metadata.managedFields is dropped.) Of a Pod only name,
 *            namespace, uid, resourceVersion, phase and addresses are left.
 * Threading  Everything runs on the loop that the source was given; callbacks come from that loop.
 * Ownership  Options are copied. A kube_object and its json are borrowed for the call.
 * Errors     A source never ends by itself: it reports trouble through on_problem and goes on with back-off. The last
 *            good state stands until something better is known; nothing is ever deleted because of an error. */
#ifndef KUBE_KUBE_H
#define KUBE_KUBE_H

#include <jansson.h>
#include <uv.h>

#include "base/core.h"

enum kube_kind { KUBE_NAMESPACE, KUBE_SERVICE, KUBE_ENDPOINT_SLICE, KUBE_POD, KUBE_KIND_COUNT };
const char *kube_kind_name(enum kube_kind kind); /* "Namespace", "Service", "EndpointSlice", "Pod" */

struct kube_object {
    enum kube_kind kind;
    const char *ns;               /* "" for a Namespace */
    const char *name;
    const char *uid;              /* "" when the source has none */
    const char *resource_version; /* "" for manifests */
    json_t *json;                 /* the whole object, normalised as said above */
};

struct kube_handler {
    void *data;
    /* Added or changed; may repeat with identical content. */
    void (*on_upsert)(void *data, const struct kube_object *obj);
    void (*on_delete)(void *data, enum kube_kind kind, const char *ns, const char *name);
    /* Every object of `kind` that exists has been delivered through on_upsert, and what had vanished through
     * on_delete. Called after every complete (re)list; the first call means "this kind is known". */
    void (*on_synced)(void *data, enum kube_kind kind);
    /* One line for people, e.g. "shop.yaml:12: spec.ports[0].port: must be 1..65535" or
     * "https://10.0.0.1:6443: 401 Unauthorized, retrying in 4 s". `fatal` is false: the source goes on. */
    void (*on_problem)(void *data, const char *text);
};

struct kube_stats { /* for metrics and readiness */
    uint64_t lists, watches, events, errors, relists_gone, unauthorized;
    int64_t last_contact_ms; /* monotonic time of the last good list, event or bookmark; 0: never */
    bool synced[KUBE_KIND_COUNT];
};

struct kube_source; /* one of the two below */

struct kube_api_options {
    const char *kubeconfig; /* NULL: $KUBECONFIG, then in-cluster, then ~/.kube/config */
    const char *context;    /* NULL: current-context */
    const char *ns;         /* NULL: all namespaces */
    bool pods;              /* list and watch Pods too, but for those that have ended: a large cluster has many */
    uint32_t page_limit;    /* objects a page of a list; 0: 500 */
    /* Timing, 0 = the default in brackets; tests shrink them. */
    uint32_t backoff_min_ms /* [800] */, backoff_max_ms /* [30000] */;
    uint32_t watch_timeout_min_s /* [300], at most twice that */, watch_grace_ms /* [30000] */;
    uint64_t seed; /* of the jitter; 0: a random one */
    /* In-cluster: where token, ca.crt and namespace are; NULL: $QUOLL_SERVICEACCOUNT_DIR, then
     * /var/run/secrets/kubernetes.io/serviceaccount. */
    const char *serviceaccount_dir;
};

/* Opens an API source and starts it. Configuration trouble (no file, bad YAML, unknown context) is returned at once:
 * RC_NOTFOUND, RC_MALFORMED, RC_INVAL, and *ret_error is then one owned line naming file and field.
 * An API server that does not answer is not an error. */
int kube_api_open(uv_loop_t *loop, const struct kube_api_options *opt, const struct kube_handler *h,
                  struct kube_source **ret, char **ret_error);

/* Opens a source over manifests: `path` is a file, or a directory whose *.yaml, *.yml and *.json files (not
 * recursive; dot files are left out) hold any number of documents or Lists. Watched with inotify; a change is
 * delivered well within a second. Objects of other kinds are ignored silently. A malformed document is reported with
 * file and line and left out, the rest goes on; while a file that was good is malformed, the last good version of
 * *that document* (same kind, namespace, name, if it can be told) or else of that file stands.
 *   - metadata.namespace defaults to "default"; Namespaces that objects name exist (are delivered as such).
 *   - a Service of type ClusterIP/NodePort/LoadBalancer without spec.clusterIP(s) gets none: it is delivered with
 *     clusterIP "None", that is, as a headless one.
 *   - v1 Endpoints become EndpointSlices named "<name>-<family>" unless a slice for that service exists in the files.
 *   - an EndpointSlice's service is its label kubernetes.io/service-name.
 *   - Pods are always delivered, as they are written: nothing runs here that would give them a status.
 * RC_NOTFOUND/RC_DENIED/RC_IO with *ret_error when the path cannot be read at all. */
int kube_manifests_open(uv_loop_t *loop, const char *path, const struct kube_handler *h, struct kube_source **ret,
                        char **ret_error);

void kube_source_stats(const struct kube_source *s, struct kube_stats *ret);
/* One line saying where objects come from: "https://10.0.0.1:6443 (context lab)" or "manifests in examples/shop". */
const char *kube_source_text(const struct kube_source *s);
/* Stops at once: no callback after the return. The handles close while the loop runs on; `closed` (may be NULL)
 * is called when all is freed. */
void kube_source_close(struct kube_source *s, void (*closed)(void *data), void *data);

#endif
