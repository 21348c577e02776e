/* normalize.c - see normalize.h. */
#include "normalize.h"

#include <stdio.h>

static const struct {
    const char *name, *api_version;
} kinds[KUBE_KIND_COUNT] = {
    [KUBE_NAMESPACE] = { "Namespace", "v1" },
    [KUBE_SERVICE] = { "Service", "v1" },
    [KUBE_ENDPOINT_SLICE] = { "EndpointSlice", "discovery.k8s.io/v1" },
    [KUBE_POD] = { "Pod", "v1" },
};

const char *kube_kind_name(enum kube_kind kind)
{
    ASSERT(kind >= 0 && kind < KUBE_KIND_COUNT);
    return kinds[kind].name;
}

const char *kube_meta(const json_t *obj, const char *field)
{
    const char *s = json_string_value(json_object_get(json_object_get(obj, "metadata"), field));
    return s ? s : "";
}

const char *kube_slice_service(const json_t *slice)
{
    const json_t *labels = json_object_get(json_object_get(slice, "metadata"), "labels");
    const char *s = json_string_value(json_object_get(labels, KUBE_SERVICE_NAME_LABEL));
    return s && *s ? s : NULL;
}

/* v1beta1 kept zone and node name in a map `topology`; v1 has fields for both and keeps the rest in
 * deprecatedTopology. Source: kubernetes pkg/apis/discovery/v1beta1/conversion.go. */
static void endpoint_from_v1beta1(json_t *endpoint)
{
    static const struct {
        const char *label, *field;
    } moved[] = { { "topology.kubernetes.io/zone", "zone" }, { "kubernetes.io/hostname", "nodeName" } };
    json_t *topology = json_object_get(endpoint, "topology");

    if (!json_is_object(topology)) {
        json_object_del(endpoint, "topology");
        return;
    }
    json_incref(topology);
    json_object_del(endpoint, "topology");
    for (size_t i = 0; i < ARRAY_LEN(moved); i++) {
        json_t *v = json_object_get(topology, moved[i].label);
        if (json_is_string(v) && !json_object_get(endpoint, moved[i].field))
            json_object_set(endpoint, moved[i].field, v);
        json_object_del(topology, moved[i].label);
    }
    if (json_object_size(topology) > 0)
        json_object_set(endpoint, "deprecatedTopology", topology);
    json_decref(topology);
}

/* Takes out of an object what is not listed. */
static void keep_only(json_t *obj, const char *const *fields)
{
    const char *key;
    json_t *v;
    void *next;

    json_object_foreach_safe(obj, next, key, v)
    {
        const char *const *f = fields;
        while (*f && strcmp(*f, key) != 0)
            f++;
        if (!*f)
            json_object_del(obj, key);
    }
}

/* Pods are many and large, and only where they are matters here. */
static void strip_pod(json_t *pod)
{
    static const char *const top[] = { "apiVersion", "kind", "metadata", "status", NULL };
    static const char *const meta[] = { "name", "namespace", "uid", "resourceVersion", NULL };
    static const char *const status[] = { "phase", "podIP", "podIPs", NULL };

    keep_only(pod, top);
    keep_only(json_object_get(pod, "metadata"), meta);
    keep_only(json_object_get(pod, "status"), status);
}

int kube_normalize(json_t *obj, enum kube_kind kind)
{
    json_t *meta = json_object_get(obj, "metadata"), *endpoint;
    size_t i;

    if (!json_is_object(meta) || !*kube_meta(obj, "name"))
        return RC_MALFORMED;
    json_object_del(meta, "managedFields");
    json_object_set_new(obj, "kind", json_string(kinds[kind].name));
    json_object_set_new(obj, "apiVersion", json_string(kinds[kind].api_version));
    if (kind == KUBE_POD)
        strip_pod(obj);
    if (kind == KUBE_ENDPOINT_SLICE) {
        json_array_foreach(json_object_get(obj, "endpoints"), i, endpoint)
        {
            if (json_object_get(endpoint, "topology"))
                endpoint_from_v1beta1(endpoint);
        }
    }
    return 0;
}

/* ---- Endpoints ---- */

static json_t *slice_endpoint(const json_t *address, bool ready)
{
    static const char *const copied[] = { "hostname", "nodeName", "targetRef" };
    json_t *e = json_object(), *list = json_array();

    json_array_append(list, json_object_get(address, "ip"));
    json_object_set_new(e, "addresses", list);
    json_object_set_new(e, "conditions", json_pack("{s:b, s:b, s:b}", "ready", ready, "serving", ready,
                                                   "terminating", 0));
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        if (json_object_get(address, copied[i]))
            json_object_set(e, copied[i], json_object_get(address, copied[i]));
    return e;
}

static void collect(json_t *into, const json_t *addresses, bool ipv6, bool ready)
{
    json_t *address;
    size_t i;

    json_array_foreach(addresses, i, address)
    {
        const char *ip = json_string_value(json_object_get(address, "ip"));
        if (ip && (strchr(ip, ':') != NULL) == ipv6)
            json_array_append_new(into, slice_endpoint(address, ready));
    }
}

static json_t *slice_ports(const json_t *ports)
{
    json_t *list = json_array(), *port;
    size_t i;

    json_array_foreach(ports, i, port)
    {
        json_t *copy = json_deep_copy(port);
        if (!json_is_object(copy)) {
            json_decref(copy);
            continue;
        }
        if (!json_object_get(copy, "protocol"))
            json_object_set_new(copy, "protocol", json_string("TCP"));
        if (!json_object_get(copy, "name"))
            json_object_set_new(copy, "name", json_string(""));
        json_array_append_new(list, copy);
    }
    return list;
}

static json_t *slice_metadata(const json_t *endpoints, const char *family, size_t number)
{
    const json_t *from = json_object_get(endpoints, "metadata");
    json_t *labels = json_deep_copy(json_object_get(from, "labels"));
    const char *name = kube_meta(endpoints, "name");
    char suffix[32] = "";

    if (!json_is_object(labels)) {
        json_decref(labels);
        labels = json_object();
    }
    json_object_set_new(labels, KUBE_SERVICE_NAME_LABEL, json_string(name));
    if (number > 1)
        snprintf(suffix, sizeof suffix, "-%zu", number);
    return json_pack("{s:s+++, s:s, s:o}", "name", name, "-", family, suffix, "namespace",
                     kube_meta(endpoints, "namespace"), "labels", labels);
}

json_t *kube_endpoints_to_slices(const json_t *endpoints)
{
    json_t *slices = json_array(), *subset;
    size_t i, count[2] = { 0 };

    json_array_foreach(json_object_get(endpoints, "subsets"), i, subset)
    {
        for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
            json_t *list = json_array();
            collect(list, json_object_get(subset, "addresses"), ipv6, true);
            collect(list, json_object_get(subset, "notReadyAddresses"), ipv6, false);
            if (json_array_size(list) == 0) {
                json_decref(list);
                continue;
            }
            json_array_append_new(
                slices, json_pack("{s:s, s:s, s:o, s:s, s:o, s:o}", "apiVersion", "discovery.k8s.io/v1", "kind",
                                  "EndpointSlice", "metadata",
                                  slice_metadata(endpoints, ipv6 ? "ipv6" : "ipv4", ++count[ipv6]), "addressType",
                                  ipv6 ? "IPv6" : "IPv4", "ports",
                                  slice_ports(json_object_get(subset, "ports")), "endpoints", list));
        }
    }
    return slices;
}
