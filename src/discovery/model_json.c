/* model_json.c - the model's JSON: canonical encoding, checked decoding. The schema is told in
 * docs/registry.md.
 *
 * Both directions go field by field in the same order, so that what is missing in one shows beside the other.
 */
#include "discovery/model.h"

#include <stdio.h>

#include "discovery/jread.h"

#define SCHEMA_VERSION 1
#define DUMP_FLAGS     (JSON_COMPACT | JSON_SORT_KEYS)
#define TEXT_MAX       253 /* of a node's, zone's or pod's name: Kubernetes' own limit of names */

/* What this schema knows at the top level, per kind: everything else belongs to others and is kept. */
static const char *const known_namespace[] = {"schema", "managedBy", NULL};
static const char *const known_service[] = {"schema",
                                            "managedBy",
                                            "type",
                                            "clusterIPs",
                                            "ports",
                                            "externalName",
                                            "externalIPs",
                                            "ingress",
                                            "sessionAffinity",
                                            "sessionAffinityTimeoutSeconds",
                                            "publishNotReadyAddresses",
                                            "labels",
                                            "annotations",
                                            NULL};
static const char *const known_slice[] = {
    "schema", "managedBy", "addressType", "ports", "endpoints", "lastChangeTriggerTimeMs", NULL};
static const char *const known_pod[] = {"schema", "managedBy", "ips", NULL};

/* ---- encoding ---- */

static void put_text(json_t *o, const char *key, const char *value)
{
    if (value[0])
        json_object_set_new(o, key, json_string(value));
}

static void put_true(json_t *o, const char *key, bool value)
{
    if (value)
        json_object_set_new(o, key, json_true());
}

/* A list goes in only when it has something. */
static void put_list(json_t *o, const char *key, json_t *list)
{
    if (json_array_size(list) > 0)
        json_object_set_new(o, key, list);
    else
        json_decref(list);
}

static void put_strings(json_t *o, const char *key, char *const *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(v[i]));
    put_list(o, key, list);
}

static void put_kvs(json_t *o, const char *key, const struct kvs *k)
{
    json_t *map = json_object();
    for (size_t i = 0; i < k->n; i++)
        json_object_set_new(map, k->v[i].key, json_string(k->v[i].value));
    if (k->n > 0)
        json_object_set_new(o, key, map);
    else
        json_decref(map);
}

static void put_proto(json_t *o, enum svc_proto p)
{
    if (p != PROTO_TCP)
        json_object_set_new(o, "protocol", json_string(svc_proto_name(p)));
}

static json_t *node_object(const char *managed_by)
{
    json_t *o = json_object();
    json_object_set_new(o, "schema", json_integer(SCHEMA_VERSION));
    put_text(o, "managedBy", managed_by);
    return o;
}

static char *dump(json_t *o)
{
    char *text = json_dumps(o, DUMP_FLAGS);
    ASSERT(text != NULL); /* what we built has valid UTF-8 only: it came through a JSON decoder or a check */
    json_decref(o);
    return text;
}

/* A port given as a number is an integer in JSON, as in the API's int-or-string. */
static json_t *target_port_json(const char *text)
{
    size_t n = strlen(text);
    if (n >= 1 && n <= 5 && strspn(text, "0123456789") == n && text[0] != '0')
        return json_integer(strtol(text, NULL, 10));
    return json_string(text);
}

static json_t *svc_port_json(const struct svc_port *p)
{
    json_t *o = json_object();
    put_text(o, "name", p->name);
    put_proto(o, p->proto);
    json_object_set_new(o, "port", json_integer(p->port));
    if (p->node_port)
        json_object_set_new(o, "nodePort", json_integer(p->node_port));
    if (p->target_port[0])
        json_object_set_new(o, "targetPort", target_port_json(p->target_port));
    put_text(o, "appProtocol", p->app_protocol);
    return o;
}

char *svc_encode(const struct svc *s)
{
    json_t *o = node_object(s->managed_by);
    json_t *list;

    if (s->type != SVC_CLUSTER_IP)
        json_object_set_new(o, "type", json_string(svc_type_name(s->type)));
    list = json_array();
    for (size_t i = 0; i < s->cluster_ip_count; i++) {
        char text[IP_TEXT_MAX];
        ip_format(&s->cluster_ips[i], text);
        json_array_append_new(list, json_string(text));
    }
    put_list(o, "clusterIPs", list);
    list = json_array();
    for (size_t i = 0; i < s->port_count; i++)
        json_array_append_new(list, svc_port_json(&s->ports[i]));
    put_list(o, "ports", list);
    put_text(o, "externalName", s->external_name);
    put_strings(o, "externalIPs", s->external_ips, s->external_ip_count);
    put_strings(o, "ingress", s->ingress, s->ingress_count);
    if (s->affinity_client_ip) {
        json_object_set_new(o, "sessionAffinity", json_string("ClientIP"));
        if (s->affinity_timeout_s != SVC_AFFINITY_TIMEOUT_DEFAULT_S)
            json_object_set_new(o, "sessionAffinityTimeoutSeconds", json_integer(s->affinity_timeout_s));
    }
    put_true(o, "publishNotReadyAddresses", s->publish_not_ready);
    put_kvs(o, "labels", &s->labels);
    put_kvs(o, "annotations", &s->annotations);
    return dump(o);
}

static json_t *endpoint_json(const struct slice_endpoint *e)
{
    char text[IP_TEXT_MAX];
    json_t *o = json_object();

    ip_format(&e->addr, text);
    json_object_set_new(o, "address", json_string(text));
    put_text(o, "hostname", e->hostname);
    put_text(o, "node", e->node);
    put_text(o, "zone", e->zone);
    put_text(o, "pod", e->pod);
    if (!e->ready)
        json_object_set_new(o, "ready", json_false());
    if (!e->serving)
        json_object_set_new(o, "serving", json_false());
    put_true(o, "terminating", e->terminating);
    return o;
}

char *slice_encode(const struct slice *s)
{
    json_t *o = node_object(s->managed_by);
    json_t *list = json_array();

    json_object_set_new(o, "addressType", json_string(s->family == 6 ? "IPv6" : "IPv4"));
    for (size_t i = 0; i < s->port_count; i++) {
        json_t *p = json_object();
        put_text(p, "name", s->ports[i].name);
        put_proto(p, s->ports[i].proto);
        if (s->ports[i].port)
            json_object_set_new(p, "port", json_integer(s->ports[i].port));
        put_text(p, "appProtocol", s->ports[i].app_protocol);
        json_array_append_new(list, p);
    }
    put_list(o, "ports", list);
    list = json_array();
    for (size_t i = 0; i < s->endpoint_count; i++)
        json_array_append_new(list, endpoint_json(&s->endpoints[i]));
    put_list(o, "endpoints", list);
    if (s->trigger_time_ms > 0)
        json_object_set_new(o, "lastChangeTriggerTimeMs", json_integer(s->trigger_time_ms));
    return dump(o);
}

char *pod_encode(const struct pod *p)
{
    json_t *o = node_object(p->managed_by), *list = json_array();

    for (size_t i = 0; i < p->ip_count; i++) {
        char text[IP_TEXT_MAX];
        ip_format(&p->ips[i], text);
        json_array_append_new(list, json_string(text));
    }
    put_list(o, "ips", list);
    return dump(o);
}

char *namespace_encode(const char *managed_by)
{
    return dump(node_object(managed_by));
}

/* ---- decoding ---- */

static char *get_text(struct jread *r, const json_t *o, const char *at, const char *key, size_t max)
{
    const char *s = jread_str(r, o, at, key, "");
    if (strlen(s) > max)
        jread_fail(r, "%s%s: longer than %zu bytes", at, key, max);
    return x_strdup(s);
}

static char *get_label(struct jread *r, const json_t *o, const char *at, const char *key)
{
    const char *s = jread_str(r, o, at, key, "");
    if (s[0] && !name_is_label(s, strlen(s)))
        jread_fail(r, "%s%s: must be a DNS label in lower case", at, key);
    return x_strdup(s);
}

static enum svc_proto get_proto(struct jread *r, const json_t *o, const char *at)
{
    enum svc_proto p = PROTO_TCP;
    if (svc_proto_parse(jread_str(r, o, at, "protocol", "TCP"), &p) < 0)
        jread_fail(r, "%sprotocol: must be TCP, UDP or SCTP", at);
    return p;
}

static void get_strings(struct jread *r, const json_t *o, const char *key, char ***ret, size_t *ret_count)
{
    json_t *list = jread_array(r, o, "", key);
    size_t n = json_array_size(list);

    *ret = n ? x_calloc(n, sizeof(**ret)) : NULL;
    *ret_count = n;
    for (size_t i = 0; i < n; i++) {
        const char *s = jread_str_at(r, list, i, "", key);
        if (s && (!s[0] || strlen(s) > TEXT_MAX))
            jread_fail(r, "%s[%zu]: must have 1..%d bytes", key, i, TEXT_MAX);
        (*ret)[i] = x_strdup(s ? s : "");
    }
}

static void get_kvs(struct jread *r, json_t *o, const char *key, struct kvs *ret)
{
    json_t *map = jread_object(r, o, "", key), *v;
    const char *k;

    if (!map)
        return;
    ret->v = x_calloc(json_object_size(map) + 1, sizeof(*ret->v));
    json_object_foreach(map, k, v)
    {
        if (!json_is_string(v))
            jread_fail(r, "%s.%s: must be a string", key, k);
        kvs_add(ret, k, json_is_string(v) ? json_string_value(v) : "");
    }
}

/* Parses the text and checks what every node has: an object, of a schema that we read. */
static int node_load(const void *json, size_t len, json_t **ret, char **ret_problem)
{
    struct jread r = {0};
    json_error_t err;
    json_t *o = json_loadb(json ? json : "", len, JSON_REJECT_DUPLICATES, &err);
    int rc = 0;

    if (!o)
        jread_fail(&r, "not JSON: %s (at byte %d)", err.text, err.position);
    else if (!json_is_object(o))
        jread_fail(&r, "not a JSON object");
    else if (!json_object_get(o, "schema"))
        jread_fail(&r, "schema: missing");
    int64_t schema = o ? jread_int(&r, o, "", "schema", 1, INT32_MAX, 1) : 1;
    rc = r.problem ? RC_MALFORMED : schema > SCHEMA_VERSION ? RC_UNSUPPORTED : 0;
    if (rc == RC_UNSUPPORTED)
        jread_fail(&r, "schema: version %lld is newer than %d", (long long)schema, SCHEMA_VERSION);
    (void)jread_done(&r, ret_problem); /* rc says it already, and more precisely */
    if (rc < 0)
        json_decref(o);
    else
        *ret = o;
    return rc;
}

static char *get_target_port(struct jread *r, const json_t *o, const char *at)
{
    json_t *v = json_object_get(o, "targetPort");
    if (json_is_integer(v))
        return x_asprintf("%lld", (long long)jread_int(r, o, at, "targetPort", 1, 65535, 0));
    return get_label(r, o, at, "targetPort");
}

static void svc_port_decode(struct jread *r, const json_t *list, size_t i, struct svc_port *ret)
{
    char at[32];
    json_t *o = jread_object_at(r, list, i, "", "ports");

    (void)snprintf(at, sizeof(at), "ports[%zu].", i); /* fits: a size_t has at most 20 digits */
    ret->name = get_label(r, o, at, "name");
    ret->proto = get_proto(r, o, at);
    ret->port = (uint16_t)jread_int(r, o, at, "port", 1, 65535, 0);
    if (ret->port == 0)
        jread_fail(r, "%sport: missing", at);
    ret->node_port = (uint16_t)jread_int(r, o, at, "nodePort", 1, 65535, 0);
    ret->target_port = get_target_port(r, o, at);
    ret->app_protocol = get_text(r, o, at, "appProtocol", TEXT_MAX);
}

static void svc_cluster_ips_decode(struct jread *r, const json_t *o, struct svc *s)
{
    json_t *list = jread_array(r, o, "", "clusterIPs");
    size_t n = json_array_size(list);

    s->cluster_ips = n ? x_calloc(n, sizeof(*s->cluster_ips)) : NULL;
    s->cluster_ip_count = n;
    for (size_t i = 0; i < n; i++) {
        const char *text = jread_str_at(r, list, i, "", "clusterIPs");
        if (text && ip_parse(text, &s->cluster_ips[i]) < 0)
            jread_fail(r, "clusterIPs[%zu]: not an IP address", i);
    }
}

static void svc_affinity_decode(struct jread *r, const json_t *o, struct svc *s)
{
    const char *affinity = jread_str(r, o, "", "sessionAffinity", "None");

    if (strcmp(affinity, "ClientIP") == 0)
        s->affinity_client_ip = true;
    else if (strcmp(affinity, "None") != 0)
        jread_fail(r, "sessionAffinity: must be None or ClientIP");
    s->affinity_timeout_s = (int32_t)jread_int(r, o, "", "sessionAffinityTimeoutSeconds", 1, 86400,
                                               SVC_AFFINITY_TIMEOUT_DEFAULT_S);
}

static void svc_fields_decode(struct jread *r, json_t *o, struct svc *s)
{
    free(s->managed_by);
    s->managed_by = get_text(r, o, "", "managedBy", TEXT_MAX);
    if (svc_type_parse(jread_str(r, o, "", "type", "ClusterIP"), &s->type) < 0)
        jread_fail(r, "type: must be ClusterIP, NodePort, LoadBalancer or ExternalName");
    svc_cluster_ips_decode(r, o, s);
    json_t *list = jread_array(r, o, "", "ports");
    s->port_count = json_array_size(list);
    s->ports = s->port_count ? x_calloc(s->port_count, sizeof(*s->ports)) : NULL;
    for (size_t i = 0; i < s->port_count; i++)
        svc_port_decode(r, list, i, &s->ports[i]);
    free(s->external_name);
    s->external_name = get_text(r, o, "", "externalName", TEXT_MAX);
    if (s->external_name[0] && !name_is_dns(s->external_name, strlen(s->external_name)))
        jread_fail(r, "externalName: not a DNS name");
    if (s->type == SVC_EXTERNAL_NAME && !s->external_name[0])
        jread_fail(r, "externalName: missing");
    get_strings(r, o, "externalIPs", &s->external_ips, &s->external_ip_count);
    get_strings(r, o, "ingress", &s->ingress, &s->ingress_count);
    svc_affinity_decode(r, o, s);
    s->publish_not_ready = jread_bool(r, o, "", "publishNotReadyAddresses", false);
    get_kvs(r, o, "labels", &s->labels);
    get_kvs(r, o, "annotations", &s->annotations);
    s->headless = s->type != SVC_EXTERNAL_NAME && s->cluster_ip_count == 0;
}

int svc_decode(const char *ns, const char *name, const void *json, size_t len, struct svc **ret,
               char **ret_problem)
{
    struct jread r = {0};
    json_t *o;
    int rc = node_load(json, len, &o, ret_problem);

    if (rc < 0)
        return rc;
    struct svc *s = svc_new(ns, name);
    svc_fields_decode(&r, o, s);
    json_decref(o);
    rc = jread_done(&r, ret_problem);
    if (rc < 0)
        svc_free(s);
    else
        *ret = s;
    return rc;
}

static void slice_port_decode(struct jread *r, const json_t *list, size_t i, struct slice_port *ret)
{
    char at[32];
    json_t *o = jread_object_at(r, list, i, "", "ports");

    (void)snprintf(at, sizeof(at), "ports[%zu].", i); /* fits, as above */
    ret->name = get_label(r, o, at, "name");
    ret->proto = get_proto(r, o, at);
    ret->port = (uint16_t)jread_int(r, o, at, "port", 1, 65535, 0);
    ret->app_protocol = get_text(r, o, at, "appProtocol", TEXT_MAX);
}

static void endpoint_decode(struct jread *r, const json_t *list, size_t i, uint8_t family,
                            struct slice_endpoint *ret)
{
    char at[40];
    json_t *o = jread_object_at(r, list, i, "", "endpoints");

    (void)snprintf(at, sizeof(at), "endpoints[%zu].", i); /* fits, as above */
    const char *addr = jread_str(r, o, at, "address", "");
    if (ip_parse(addr, &ret->addr) < 0)
        jread_fail(r, "%saddress: not an IP address", at);
    else if (ret->addr.family != family)
        jread_fail(r, "%saddress: not of the slice's addressType", at);
    ret->hostname = get_label(r, o, at, "hostname");
    ret->node = get_text(r, o, at, "node", TEXT_MAX);
    ret->zone = get_text(r, o, at, "zone", TEXT_MAX);
    ret->pod = get_text(r, o, at, "pod", TEXT_MAX);
    ret->ready = jread_bool(r, o, at, "ready", true);
    ret->serving = jread_bool(r, o, at, "serving", true);
    ret->terminating = jread_bool(r, o, at, "terminating", false);
}

static void slice_fields_decode(struct jread *r, const json_t *o, struct slice *s)
{
    free(s->managed_by);
    s->managed_by = get_text(r, o, "", "managedBy", TEXT_MAX);
    const char *type = jread_str(r, o, "", "addressType", "");
    if (strcmp(type, "IPv6") == 0)
        s->family = 6;
    else if (strcmp(type, "IPv4") != 0)
        jread_fail(r, "addressType: must be IPv4 or IPv6");
    json_t *list = jread_array(r, o, "", "ports");
    s->port_count = json_array_size(list);
    s->ports = s->port_count ? x_calloc(s->port_count, sizeof(*s->ports)) : NULL;
    for (size_t i = 0; i < s->port_count; i++)
        slice_port_decode(r, list, i, &s->ports[i]);
    list = jread_array(r, o, "", "endpoints");
    s->endpoint_count = json_array_size(list);
    s->endpoints = s->endpoint_count ? x_calloc(s->endpoint_count, sizeof(*s->endpoints)) : NULL;
    for (size_t i = 0; i < s->endpoint_count; i++)
        endpoint_decode(r, list, i, s->family, &s->endpoints[i]);
    s->trigger_time_ms = jread_int(r, o, "", "lastChangeTriggerTimeMs", 0, INT64_MAX, 0);
}

int slice_decode(const char *name, const void *json, size_t len, struct slice **ret, char **ret_problem)
{
    struct jread r = {0};
    json_t *o;
    int rc = node_load(json, len, &o, ret_problem);

    if (rc < 0)
        return rc;
    struct slice *s = slice_new(name);
    slice_fields_decode(&r, o, s);
    json_decref(o);
    rc = jread_done(&r, ret_problem);
    if (rc < 0)
        slice_free(s);
    else
        *ret = s;
    return rc;
}

int pod_decode(const void *json, size_t len, struct pod **ret, char **ret_problem)
{
    struct jread r = {0};
    json_t *o;
    int rc = node_load(json, len, &o, ret_problem);

    if (rc < 0)
        return rc;
    struct pod *p = pod_new();
    free(p->managed_by);
    p->managed_by = get_text(&r, o, "", "managedBy", TEXT_MAX);
    json_t *list = jread_array(&r, o, "", "ips");
    p->ip_count = json_array_size(list);
    p->ips = p->ip_count ? x_calloc(p->ip_count, sizeof(*p->ips)) : NULL;
    for (size_t i = 0; i < p->ip_count; i++) {
        const char *text = jread_str_at(&r, list, i, "", "ips");
        if (text && ip_parse(text, &p->ips[i]) < 0)
            jread_fail(&r, "ips[%zu]: not an IP address", i);
    }
    json_decref(o);
    rc = jread_done(&r, ret_problem);
    if (rc < 0)
        pod_free(p);
    else
        *ret = p;
    return rc;
}

/* ---- nodes of any kind ---- */

char *node_managed_by(const void *json, size_t len)
{
    json_t *o;

    if (node_load(json, len, &o, NULL) < 0)
        return NULL;
    const char *by = json_string_value(json_object_get(o, "managedBy"));
    char *ret = by && by[0] ? x_strdup(by) : NULL;
    json_decref(o);
    return ret;
}

static bool is_known(enum node_kind kind, const char *key)
{
    static const char *const *const known[] = {known_namespace, known_service, known_slice, known_pod};
    for (const char *const *k = known[kind]; *k; k++) {
        if (strcmp(*k, key) == 0)
            return true;
    }
    return false;
}

char *node_keep_unknown(enum node_kind kind, const char *wanted, const void *actual, size_t len)
{
    json_t *old, *o, *v;
    const char *key;

    if (node_load(actual, len, &old, NULL) < 0)
        return x_strdup(wanted);
    o = json_loads(wanted, 0, NULL);
    ASSERT(json_is_object(o));
    json_object_foreach(old, key, v)
    {
        if (!is_known(kind, key))
            json_object_set(o, key, v);
    }
    json_decref(old);
    return dump(o);
}
