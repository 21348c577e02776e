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

struct kv {
    char *key, *value;
};
struct kvs {
    struct kv *v; /* sorted by key */
    size_t n;
};

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
};

struct svc *svc_new(const char *ns, const char *name);
void svc_free(struct svc *s);
struct slice *slice_new(const char *name);
void slice_free(struct slice *s);

/* Canonical JSON, owned text. */
char *svc_encode(const struct svc *s);
char *slice_encode(const struct slice *s);
/* RC_MALFORMED, RC_UNSUPPORTED (schema newer than ours), and *ret_problem (may be NULL) an owned text naming the field. */
int svc_decode(const char *ns, const char *name, const void *json, size_t len, struct svc **ret, char **ret_problem);
int slice_decode(const char *name, const void *json, size_t len, struct slice **ret, char **ret_problem);

#endif
