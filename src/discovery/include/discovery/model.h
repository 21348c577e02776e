/* model.h - a Service and its EndpointSlices as the registry stores them, and their JSON.
 *
 * Names      Kubernetes' own (Service v1, discovery.k8s.io/v1). All names are lower case as Kubernetes demands.
 * Ownership  svc_* objects own everything in them; free with svc_free / slice_free. They are plain values: fill and read freely.
 * Threading  None; one owner at a time.
 * JSON       The native layout, schema version 1; see docs/registry.md. Encoding is canonical (sorted keys, compact,
 *            no field with its default), so equal objects have equal bytes and a writer can compare bytes.
 *            Decoding checks every field, ignores unknown ones, and says what is wrong with which field. */
#ifndef DISCOVERY_MODEL_H
#define DISCOVERY_MODEL_H

#include "base/bytes.h"

struct ip {
    uint8_t family; /* 4 or 6; 0: none */
    uint8_t b[16];  /* network order; the first 4 for family 4, the rest zero */
};
/* Text to address; RC_MALFORMED. IPv4-mapped IPv6 becomes IPv4. */
int ip_parse(const char *text, struct ip *ret);
#define IP_TEXT_MAX 46
void ip_format(const struct ip *ip, char out[IP_TEXT_MAX]); /* RFC 5952 */
/* The DNS label made from an address: . and : turned into -, and a 0 where the label would begin or end with a dash. */
void ip_label(const struct ip *ip, char out[IP_TEXT_MAX]);
static inline bool ip_eq(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
int ip_cmp(const struct ip *a, const struct ip *b);

enum svc_type { SVC_CLUSTER_IP, SVC_NODE_PORT, SVC_LOAD_BALANCER, SVC_EXTERNAL_NAME };
const char *svc_type_name(enum svc_type t); /* "ClusterIP" */
enum svc_proto { PROTO_TCP, PROTO_UDP, PROTO_SCTP };
const char *svc_proto_name(enum svc_proto p);  /* "TCP" */
const char *svc_proto_label(enum svc_proto p); /* "tcp", as in _tcp */
int svc_type_parse(const char *text, enum svc_type *ret);   /* RC_MALFORMED */
int svc_proto_parse(const char *text, enum svc_proto *ret); /* RC_MALFORMED */

/* A lower-case RFC 1123 label of at most 63 bytes; a DNS name of such labels (any case, underscores allowed), at most
 * 253 bytes, without a trailing dot. */
bool name_is_label(const char *s, size_t n);
bool name_is_dns(const char *s, size_t n);

struct kv {
    char *key, *value;
};
struct kvs {
    struct kv *v; /* sorted by key */
    size_t n;
};
void kvs_add(struct kvs *k, const char *key, const char *value); /* copies; keeps the order */

#define SVC_AFFINITY_TIMEOUT_DEFAULT_S 10800

struct svc_port {
    char *name; /* "" when unnamed */
    enum svc_proto proto;
    uint16_t port;
    uint16_t node_port;  /* 0: none */
    char *target_port;   /* number or name as text; "" : same as port */
    char *app_protocol;  /* "" : none */
};

struct svc {
    char *ns, *name; /* from the path, not stored in the JSON */
    enum svc_type type;
    bool headless; /* clusterIP None; a Service without any cluster IP that is not ExternalName */
    struct ip *cluster_ips;
    size_t cluster_ip_count;
    struct svc_port *ports;
    size_t port_count;
    char *external_name; /* "" : none; without a trailing dot */
    char **external_ips; /* text */
    size_t external_ip_count;
    char **ingress; /* status.loadBalancer.ingress: addresses or host names */
    size_t ingress_count;
    bool affinity_client_ip;
    int32_t affinity_timeout_s; /* 10800 by default */
    bool publish_not_ready;
    struct kvs labels, annotations; /* those that the user selected */
    char *managed_by;               /* who writes and removes this node, "quoll-sync"; "" : a person or another program */
};

struct slice_port {
    char *name;
    enum svc_proto proto;
    uint16_t port; /* 0: all ports (null in the API) */
    char *app_protocol;
};
struct slice_endpoint {
    struct ip addr; /* the first address: the only one that has a meaning */
    char *hostname, *node, *zone; /* "" : none */
    char *pod;                    /* targetRef of kind Pod: its name; "" : none */
    bool ready, serving, terminating;
};
struct slice {
    char *name;
    uint8_t family; /* addressType: 4 or 6. FQDN slices are not stored */
    struct slice_port *ports;
    size_t port_count;
    struct slice_endpoint *endpoints;
    size_t endpoint_count;
    int64_t trigger_time_ms; /* endpoints.kubernetes.io/last-change-trigger-time; 0: unknown. Prefer the newer of two */
    char *managed_by;        /* as in struct svc */
};

/* A Pod, of which only its addresses are kept: enough to tell whether a namespace has a Pod with an address. */
struct pod {
    struct ip *ips;
    size_t ip_count;
    char *managed_by; /* as in struct svc */
};

struct svc *svc_new(const char *ns, const char *name);
void svc_free(struct svc *s);
struct slice *slice_new(const char *name);
void slice_free(struct slice *s);
struct pod *pod_new(void);
void pod_free(struct pod *p);

/* Canonical JSON, owned text. */
char *svc_encode(const struct svc *s);
char *slice_encode(const struct slice *s);
char *pod_encode(const struct pod *p);
/* RC_MALFORMED, RC_UNSUPPORTED (schema newer than ours), and *ret_problem (may be NULL) an owned text naming the field. */
int svc_decode(const char *ns, const char *name, const void *json, size_t len, struct svc **ret, char **ret_problem);
int slice_decode(const char *name, const void *json, size_t len, struct slice **ret, char **ret_problem);
int pod_decode(const void *json, size_t len, struct pod **ret, char **ret_problem);

/* Pods are below this node of the cluster: ".pods/<namespace>/<pod>". It and its namespaces hold what namespaces hold. */
#define REGISTRY_PODS ".pods"
static inline bool registry_in_pods(const char *path) /* relative to <root>/<cluster> */
{
    size_t n = sizeof(REGISTRY_PODS) - 1;
    return strncmp(path, REGISTRY_PODS, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* A namespace's node says only who manages it. Owned text. */
char *namespace_encode(const char *managed_by);

/* What a writer needs to know of any node without knowing its kind.
 * The node's "managedBy", owned; NULL when the data is not a JSON object of our schema, or nobody claims it. */
char *node_managed_by(const void *json, size_t len);
enum node_kind { NODE_NAMESPACE, NODE_SERVICE, NODE_SLICE, NODE_POD };
/* `wanted` (canonical, of that kind) with the fields of `actual` that this schema does not know added to it: what to write
 * over `actual` so that other programs' fields survive. Owned text; a copy of `wanted` when there is nothing to keep. */
char *node_keep_unknown(enum node_kind kind, const char *wanted, const void *actual, size_t len);

#endif
