/* convert.c - Kubernetes objects to registry data. */
#include "convert.h"

#include <stdio.h>
#include <time.h>

#include "base/str.h"
#include "discovery/jread.h"
#include "discovery/model.h"

#define SERVICE_NAME_LABEL      "kubernetes.io/service-name"
#define TRIGGER_TIME_ANNOTATION "endpoints.kubernetes.io/last-change-trigger-time"

int64_t convert_time(const char *text)
{
    int year, month, day, hour, minute, second, used = 0;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &used) != 6 ||
        used != 19)
        return 0;
    const char *s = text + used;
    int64_t ms = 0, scale = 100;
    if (*s == '.') {
        for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10)
            ms += scale * (*s - '0');
    }
    int64_t offset_s = 0;
    if (*s == '+' || *s == '-') {
        int h, m, n = 0;
        if (sscanf(s + 1, "%2d:%2d%n", &h, &m, &n) != 2 || n != 5 || s[6] != '\0')
            return 0;
        offset_s = (h * 60 + m) * (*s == '-' ? -60 : 60);
    } else if (strcmp(s, "Z") != 0) {
        return 0;
    }
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    int64_t at_s = (int64_t)timegm(&tm) - offset_s;
    return at_s > 0 ? at_s * 1000 + ms : 0;
}

static char *dup_str(struct jread *r, const json_t *o, const char *at, const char *key)
{
    return x_strdup(jread_str(r, o, at, key, ""));
}

static bool key_selected(const char *key, const char *const *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_has_prefix(key, prefixes[i]))
            return true;
    }
    return false;
}

static void select_kvs(struct jread *r, const json_t *meta, const char *key, const char *const *prefixes,
                       size_t count, struct kvs *ret)
{
    json_t *map = jread_object(r, meta, "metadata.", key), *v;
    const char *k;
    json_object_foreach(map, k, v)
    {
        if (key_selected(k, prefixes, count) && json_is_string(v))
            kvs_add(ret, k, json_string_value(v));
    }
}

static enum svc_proto get_proto(struct jread *r, const json_t *o, const char *at)
{
    enum svc_proto p = PROTO_TCP;
    if (svc_proto_parse(jread_str(r, o, at, "protocol", "TCP"), &p) < 0)
        jread_fail(r, "%sprotocol: must be TCP, UDP or SCTP", at);
    return p;
}

/* ---- Service ---- */

static void add_cluster_ip(struct jread *r, struct svc *s, const char *text, const char *field)
{
    struct ip ip;

    if (!text || !text[0] || strcmp(text, "None") == 0)
        return;
    if (ip_parse(text, &ip) < 0) {
        jread_fail(r, "spec.%s: not an IP address", field);
        return;
    }
    s->cluster_ips = x_reallocarray(s->cluster_ips, s->cluster_ip_count + 1, sizeof(*s->cluster_ips));
    s->cluster_ips[s->cluster_ip_count++] = ip;
}

static void service_cluster_ips(struct jread *r, const json_t *spec, struct svc *s)
{
    json_t *list = jread_array(r, spec, "spec.", "clusterIPs");
    if (s->type == SVC_EXTERNAL_NAME)
        return;
    for (size_t i = 0; i < json_array_size(list); i++)
        add_cluster_ip(r, s, jread_str_at(r, list, i, "spec.", "clusterIPs"), "clusterIPs");
    if (json_array_size(list) == 0)
        add_cluster_ip(r, s, jread_str(r, spec, "spec.", "clusterIP", ""), "clusterIP");
}

static char *target_port(struct jread *r, const json_t *o, const char *at, int port)
{
    json_t *v = json_object_get(o, "targetPort");
    if (!json_is_integer(v))
        return dup_str(r, o, at, "targetPort");
    int64_t n = jread_int(r, o, at, "targetPort", 0, 65535, 0);
    return n == 0 || n == port ? x_strdup("")
                               : x_asprintf("%d", (int)n); /* the API server writes the default out */
}

static void service_ports(struct jread *r, const json_t *spec, struct svc *s)
{
    json_t *list = jread_array(r, spec, "spec.", "ports");
    size_t n = json_array_size(list);

    s->ports = x_calloc(n + 1, sizeof(*s->ports));
    s->port_count = n;
    for (size_t i = 0; i < n; i++) {
        char at[40];
        json_t *o = jread_object_at(r, list, i, "spec.", "ports");
        struct svc_port *p = &s->ports[i];
        (void)snprintf(at, sizeof(at), "spec.ports[%zu].", i); /* fits: a size_t has at most 20 digits */
        p->name = dup_str(r, o, at, "name");
        p->proto = get_proto(r, o, at);
        p->port = (uint16_t)jread_int(r, o, at, "port", 1, 65535, 0);
        p->node_port = (uint16_t)jread_int(r, o, at, "nodePort", 0, 65535, 0);
        p->target_port = target_port(r, o, at, p->port);
        p->app_protocol = dup_str(r, o, at, "appProtocol");
    }
}

static void service_external(struct jread *r, const json_t *obj, const json_t *spec, struct svc *s)
{
    const char *name = jread_str(r, spec, "spec.", "externalName", "");
    size_t n = strlen(name);
    json_t *list = jread_array(r, spec, "spec.", "externalIPs");

    if (s->type == SVC_EXTERNAL_NAME) {
        free(s->external_name);
        s->external_name = x_strndup(name, n > 0 && name[n - 1] == '.' ? n - 1 : n);
    }
    s->external_ips = x_calloc(json_array_size(list) + 1, sizeof(*s->external_ips));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = jread_str_at(r, list, i, "spec.", "externalIPs");
        s->external_ips[s->external_ip_count++] = x_strdup(text ? text : "");
    }
    json_t *status = jread_object(r, obj, "", "status");
    json_t *lb = jread_object(r, status, "status.", "loadBalancer");
    list = jread_array(r, lb, "status.loadBalancer.", "ingress");
    s->ingress = x_calloc(json_array_size(list) * 2 + 1, sizeof(*s->ingress));
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *o = jread_object_at(r, list, i, "status.loadBalancer.", "ingress");
        const char *ip = jread_str(r, o, "status.loadBalancer.ingress.", "ip", "");
        const char *host = jread_str(r, o, "status.loadBalancer.ingress.", "hostname", "");
        if (ip[0])
            s->ingress[s->ingress_count++] = x_strdup(ip);
        if (host[0])
            s->ingress[s->ingress_count++] = x_strdup(host);
    }
}

static void service_affinity(struct jread *r, const json_t *spec, struct svc *s)
{
    s->affinity_client_ip = strcmp(jread_str(r, spec, "spec.", "sessionAffinity", "None"), "ClientIP") == 0;
    json_t *config = jread_object(r, spec, "spec.", "sessionAffinityConfig");
    json_t *client_ip = jread_object(r, config, "spec.sessionAffinityConfig.", "clientIP");
    s->affinity_timeout_s = (int32_t)jread_int(r, client_ip, "spec.sessionAffinityConfig.clientIP.",
                                               "timeoutSeconds", 1, 86400, SVC_AFFINITY_TIMEOUT_DEFAULT_S);
}

int convert_service(const json_t *obj, const char *ns, const char *name, const struct convert_options *opt,
                    char **ret, char **ret_problem)
{
    struct jread r = {0};
    struct svc *s = svc_new(ns, name), *check = NULL;
    json_t *meta = jread_object(&r, obj, "", "metadata"), *spec = jread_object(&r, obj, "", "spec");

    free(s->managed_by);
    s->managed_by = x_strdup(SYNC_MANAGED_BY);
    if (!name_is_label(name, strlen(name)) || !name_is_label(ns, strlen(ns)))
        jread_fail(&r, "metadata.name: must be a DNS label");
    if (svc_type_parse(jread_str(&r, spec, "spec.", "type", "ClusterIP"), &s->type) < 0)
        jread_fail(&r, "spec.type: must be ClusterIP, NodePort, LoadBalancer or ExternalName");
    service_cluster_ips(&r, spec, s);
    service_ports(&r, spec, s);
    service_external(&r, obj, spec, s);
    service_affinity(&r, spec, s);
    s->publish_not_ready = jread_bool(&r, spec, "spec.", "publishNotReadyAddresses", false);
    select_kvs(&r, meta, "labels", opt->label_prefixes, opt->label_prefix_count, &s->labels);
    select_kvs(&r, meta, "annotations", opt->annotation_prefixes, opt->annotation_prefix_count,
               &s->annotations);

    int rc = jread_done(&r, ret_problem);
    char *text = rc == 0 ? svc_encode(s) : NULL;
    if (text && (rc = svc_decode(ns, name, text, strlen(text), &check, ret_problem)) == 0) {
        *ret = text;
        text = NULL; /* the caller owns it now */
    }
    free(text);
    svc_free(check);
    svc_free(s);
    return rc;
}

/* ---- EndpointSlice ---- */

static void slice_ports(struct jread *r, const json_t *obj, struct slice *s)
{
    json_t *list = jread_array(r, obj, "", "ports");
    size_t n = json_array_size(list);

    s->ports = x_calloc(n + 1, sizeof(*s->ports));
    s->port_count = n;
    for (size_t i = 0; i < n; i++) {
        char at[40];
        json_t *o = jread_object_at(r, list, i, "", "ports");
        (void)snprintf(at, sizeof(at), "ports[%zu].", i); /* fits, as above */
        s->ports[i].name = dup_str(r, o, at, "name");
        s->ports[i].proto = get_proto(r, o, at);
        s->ports[i].port = (uint16_t)jread_int(r, o, at, "port", 0, 65535, 0);
        s->ports[i].app_protocol = dup_str(r, o, at, "appProtocol");
    }
}

static void slice_endpoint(struct jread *r, const json_t *list, size_t i, struct slice_endpoint *ret)
{
    char at[48];
    json_t *o = jread_object_at(r, list, i, "", "endpoints");

    (void)snprintf(at, sizeof(at), "endpoints[%zu].", i); /* fits, as above */
    json_t *addresses = jread_array(r, o, at, "addresses"), *target = jread_object(r, o, at, "targetRef");
    json_t *conditions = jread_object(r, o, at, "conditions");
    const char *addr = json_string_value(json_array_get(addresses, 0)); /* only the first has a meaning */
    if (!addr || ip_parse(addr, &ret->addr) < 0)
        jread_fail(r, "%saddresses[0]: not an IP address", at);
    ret->hostname = dup_str(r, o, at, "hostname");
    ret->node = dup_str(r, o, at, "nodeName");
    ret->zone = dup_str(r, o, at, "zone");
    ret->pod = strcmp(jread_str(r, target, at, "kind", ""), "Pod") == 0 ? dup_str(r, target, at, "name")
                                                                        : x_strdup("");
    ret->ready = jread_bool(r, conditions, at, "ready", true);
    ret->serving = jread_bool(r, conditions, at, "serving", true);
    ret->terminating = jread_bool(r, conditions, at, "terminating", false);
}

static void slice_fields(struct jread *r, const json_t *obj, const json_t *meta, struct slice *s)
{
    const char *type = jread_str(r, obj, "", "addressType", "");
    json_t *annotations = jread_object(r, meta, "metadata.", "annotations");

    free(s->managed_by);
    s->managed_by = x_strdup(SYNC_MANAGED_BY);
    if (strcmp(type, "IPv6") == 0)
        s->family = 6;
    else if (strcmp(type, "IPv4") != 0)
        jread_fail(r, "addressType: must be IPv4, IPv6 or FQDN");
    slice_ports(r, obj, s);
    json_t *list = jread_array(r, obj, "", "endpoints");
    s->endpoint_count = json_array_size(list);
    s->endpoints = x_calloc(s->endpoint_count + 1, sizeof(*s->endpoints));
    for (size_t i = 0; i < s->endpoint_count; i++)
        slice_endpoint(r, list, i, &s->endpoints[i]);
    s->trigger_time_ms =
        convert_time(jread_str(r, annotations, "metadata.annotations.", TRIGGER_TIME_ANNOTATION, ""));
}

int convert_slice(const json_t *obj, const char *name, char **ret, char **ret_service, char **ret_problem)
{
    struct jread r = {0};
    json_t *meta = jread_object(&r, obj, "", "metadata"),
           *labels = jread_object(&r, meta, "metadata.", "labels");
    const char *service = jread_str(&r, labels, "metadata.labels.", SERVICE_NAME_LABEL, "");

    if (!r.problem && (!service[0] || strcmp(jread_str(&r, obj, "", "addressType", ""), "FQDN") == 0))
        return RC_UNSUPPORTED;
    if (!name_is_dns(name, strlen(name)))
        jread_fail(&r, "metadata.name: must be a DNS name");
    if (!name_is_label(service, strlen(service)))
        jread_fail(&r, "metadata.labels." SERVICE_NAME_LABEL ": must be the name of a Service");
    struct slice *s = slice_new(name), *check = NULL;
    slice_fields(&r, obj, meta, s);

    int rc = jread_done(&r, ret_problem);
    char *text = rc == 0 ? slice_encode(s) : NULL;
    *ret_service = x_strdup(service);
    if (text && (rc = slice_decode(name, text, strlen(text), &check, ret_problem)) == 0) {
        *ret = text;
        text = NULL; /* the caller owns it now */
    }
    free(text);
    slice_free(check);
    slice_free(s);
    return rc;
}

/* ---- Pod ---- */

static void add_pod_ip(struct jread *r, struct pod *p, const char *text, const char *field)
{
    p->ips = x_reallocarray(p->ips, p->ip_count + 1, sizeof(*p->ips));
    if (ip_parse(text, &p->ips[p->ip_count]) < 0)
        jread_fail(r, "status.%s: not an IP address", field);
    else
        p->ip_count++;
}

/* podIPs holds podIP as its first; API servers before 1.20, and people, write podIP alone. */
static void pod_ips(struct jread *r, const json_t *status, struct pod *p)
{
    json_t *list = jread_array(r, status, "status.", "podIPs");
    const char *one = jread_str(r, status, "status.", "podIP", "");

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *o = jread_object_at(r, list, i, "status.", "podIPs");
        add_pod_ip(r, p, jread_str(r, o, "status.podIPs.", "ip", ""), "podIPs");
    }
    if (json_array_size(list) == 0 && one[0])
        add_pod_ip(r, p, one, "podIP");
}

/* The address of a Pod that has ended may be another's by now. */
static bool pod_ended(struct jread *r, const json_t *status)
{
    const char *phase = jread_str(r, status, "status.", "phase", "");
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

int convert_pod(const json_t *obj, const char *name, char **ret, char **ret_problem)
{
    struct jread r = {0};
    json_t *status = jread_object(&r, obj, "", "status");
    struct pod *p = pod_new(), *check = NULL;

    free(p->managed_by);
    p->managed_by = x_strdup(SYNC_MANAGED_BY);
    if (!name_is_dns(name, strlen(name)))
        jread_fail(&r, "metadata.name: must be a DNS name");
    bool stored = !pod_ended(&r, status);
    if (stored)
        pod_ips(&r, status, p);
    int rc = jread_done(&r, ret_problem);
    if (rc == 0 && (!stored || p->ip_count == 0))
        rc = RC_UNSUPPORTED;
    char *text = rc == 0 ? pod_encode(p) : NULL;
    if (text && (rc = pod_decode(text, strlen(text), &check, ret_problem)) == 0) {
        *ret = text;
        text = NULL; /* the caller owns it now */
    }
    free(text);
    pod_free(check);
    pod_free(p);
    return rc;
}
