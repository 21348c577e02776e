/* validate.c - see validate.h. */
#include "validate.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"

struct check {
    const struct validate_sink *sink;
    size_t issues;
};

#define PATH_MAX_LEN 192

static void issue(struct check *c, const char *what, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void issue(struct check *c, const char *what, const char *fmt, ...)
{
    char path[PATH_MAX_LEN];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(path, sizeof path, fmt, ap); /* a path for people may be cut */
    va_end(ap);
    c->issues++;
    c->sink->issue(c->sink->data, path, what);
}

/* ---- names and addresses ---- */

static bool alnum(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
}

static bool is_label_n(const char *s, size_t n)
{
    if (n == 0 || n > 63 || !alnum(s[0]) || !alnum(s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!alnum(s[i]) && s[i] != '-')
            return false;
    return true;
}

static bool is_label(const char *s)
{
    return is_label_n(s, strlen(s));
}

/* RFC 1035: begins with a letter. */
static bool is_service_name(const char *s)
{
    return is_label(s) && !(s[0] >= '0' && s[0] <= '9');
}

static bool is_subdomain(const char *s)
{
    if (strlen(s) > 253)
        return false;
    for (;;) {
        size_t n = strcspn(s, ".");
        if (!is_label_n(s, n))
            return false;
        if (s[n] == '\0')
            return true;
        s += n + 1;
    }
}

/* An external name may end in the root's dot. */
static bool is_external_name(const char *s)
{
    size_t n = strlen(s);
    char copy[256];
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, s, n + 1);
    if (copy[n - 1] == '.')
        copy[n - 1] = '\0';
    return is_subdomain(copy);
}

static bool is_ip4(const char *s)
{
    struct in_addr a;
    return inet_pton(AF_INET, s, &a) == 1;
}

static bool is_ip6(const char *s)
{
    struct in6_addr a;
    return inet_pton(AF_INET6, s, &a) == 1;
}

static bool is_ip(const char *s)
{
    return is_ip4(s) || is_ip6(s);
}

static bool is_ip_or_none(const char *s)
{
    return *s == '\0' || strcmp(s, "None") == 0 || is_ip(s);
}

static bool is_ip_or_empty(const char *s)
{
    return *s == '\0' || is_ip(s);
}

static bool is_any(const char *s)
{
    return true;
}

/* ---- fields by table ---- */

enum field_type { F_STRING, F_BOOL, F_INT, F_MAP, F_LIST };

struct field {
    const char *name;
    enum field_type type;
    bool required;
    bool (*ok)(const char *s);  /* F_STRING */
    int min, max;               /* F_INT */
    const char *const *one_of;  /* F_STRING: NULL-terminated */
    const char *what;           /* said when ok(), the range or one_of refuse */
};

static const char *const type_names[] = { "must be a string", "must be true or false", "must be a whole number",
                                          "must be a mapping", "must be a list" };

static bool has_type(const json_t *v, enum field_type type)
{
    switch (type) {
    case F_STRING:
        return json_is_string(v);
    case F_BOOL:
        return json_is_boolean(v);
    case F_INT:
        return json_is_integer(v);
    case F_MAP:
        return json_is_object(v);
    case F_LIST:
        return json_is_array(v);
    }
    return false;
}

static bool listed(const char *s, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(s, *list) == 0)
            return true;
    return false;
}

static void check_field(struct check *c, const json_t *obj, const char *prefix, const struct field *f)
{
    const json_t *v = json_object_get(obj, f->name);

    if (!v || json_is_null(v)) {
        if (f->required)
            issue(c, "missing", "%s%s", prefix, f->name);
        return;
    }
    if (!has_type(v, f->type)) {
        issue(c, type_names[f->type], "%s%s", prefix, f->name);
        return;
    }
    bool bad = false;
    if (f->type == F_STRING)
        bad = (f->ok && !f->ok(json_string_value(v))) || (f->one_of && !listed(json_string_value(v), f->one_of));
    else if (f->type == F_INT)
        bad = json_integer_value(v) < f->min || json_integer_value(v) > f->max;
    if (bad)
        issue(c, f->what, "%s%s", prefix, f->name);
}

static void check_fields(struct check *c, const json_t *obj, const char *prefix, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_field(c, obj, prefix, &fields[i]);
}

/* A mapping whose values are all strings. */
static void check_string_map(struct check *c, const json_t *obj, const char *prefix, const char *name)
{
    json_t *map = json_object_get(obj, name), *v;
    const char *key;

    if (map && !json_is_object(map) && !json_is_null(map))
        issue(c, "must be a mapping", "%s%s", prefix, name);
    json_object_foreach(map, key, v)
    {
        if (!json_is_string(v))
            issue(c, "must be a string (quote it)", "%s%s[%s]", prefix, name, key);
    }
}

/* A list whose elements are strings that ok() takes. */
static void check_string_list(struct check *c, const json_t *obj, const char *prefix, const char *name,
                              bool (*ok)(const char *s), const char *what)
{
    json_t *list = json_object_get(obj, name), *v;
    size_t i;

    if (list && !json_is_array(list) && !json_is_null(list))
        issue(c, "must be a list", "%s%s", prefix, name);
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || !ok(json_string_value(v)))
            issue(c, what, "%s%s[%zu]", prefix, name, i);
    }
}

/* ---- Service ---- */

static const char *const protocols[] = { "TCP", "UDP", "SCTP", NULL };
#define PROTOCOL_WHAT "must be TCP, UDP or SCTP"
#define LABEL_WHAT "must be a DNS label: lower case letters, digits and '-', at most 63"

static void check_target_port(struct check *c, const json_t *port, const char *prefix)
{
    const json_t *v = json_object_get(port, "targetPort");
    bool ok = !v || json_is_null(v);

    if (json_is_integer(v))
        ok = json_integer_value(v) >= 1 && json_integer_value(v) <= 65535;
    else if (json_is_string(v))
        ok = is_label(json_string_value(v)) && json_string_length(v) <= 15;
    if (!ok)
        issue(c, "must be 1..65535 or a port name", "%stargetPort", prefix);
}

static bool same_text(const json_t *a, const json_t *b, const char *field, const char *standard)
{
    const char *x = json_string_value(json_object_get(a, field)), *y = json_string_value(json_object_get(b, field));
    return strcmp(x ? x : standard, y ? y : standard) == 0;
}

/* Each port must differ from those before it, by name and by number with protocol. `numbers`: both, else names only. */
static void check_port_duplicates(struct check *c, const json_t *list, size_t i, bool numbers, const char *prefix)
{
    const json_t *port = json_array_get(list, i);

    if (i > 200) /* keeps the comparison of all pairs small; the API server's limit for slices is 100 */
        return;
    for (size_t k = 0; k < i; k++) {
        const json_t *other = json_array_get(list, k);
        if (same_text(port, other, "name", "")) {
            issue(c, "appears twice", "%sname", prefix);
            return;
        }
        if (numbers && json_integer_value(json_object_get(port, "port")) ==
                           json_integer_value(json_object_get(other, "port")) &&
            same_text(port, other, "protocol", "TCP")) {
            issue(c, "the same port and protocol appear twice", "%sport", prefix);
            return;
        }
    }
}

static void check_service_ports(struct check *c, const json_t *spec)
{
    static const struct field fields[] = {
        { "name", F_STRING, .ok = is_label, .what = LABEL_WHAT },
        { "protocol", F_STRING, .one_of = protocols, .what = PROTOCOL_WHAT },
        { "port", F_INT, .required = true, .min = 1, .max = 65535, .what = "must be 1..65535" },
        { "nodePort", F_INT, .min = 0, .max = 65535, .what = "must be 0..65535" },
        { "appProtocol", F_STRING },
    };
    json_t *list = json_object_get(spec, "ports"), *port;
    char prefix[PATH_MAX_LEN];
    size_t i;

    json_array_foreach(list, i, port)
    {
        snprintf(prefix, sizeof prefix, "spec.ports[%zu].", i);
        if (!json_is_object(port)) {
            issue(c, "must be a mapping", "spec.ports[%zu]", i);
            continue;
        }
        size_t before = c->issues;
        check_fields(c, port, prefix, fields, ARRAY_LEN(fields));
        check_target_port(c, port, prefix);
        if (json_array_size(list) > 1 && !json_object_get(port, "name"))
            issue(c, "missing, and needed with more than one port", "%sname", prefix);
        if (c->issues == before)
            check_port_duplicates(c, list, i, true, prefix);
    }
}

static void check_cluster_ips(struct check *c, const json_t *spec)
{
    const json_t *one = json_object_get(spec, "clusterIP"), *list = json_object_get(spec, "clusterIPs");
    const json_t *first = json_array_get(list, 0);

    check_string_list(c, spec, "spec.", "clusterIPs", is_ip_or_none, "must be an IP address or None");
    if (json_array_size(list) > 2)
        issue(c, "must have at most two addresses, one a family", "spec.clusterIPs");
    if (json_is_string(one) && json_string_length(one) && json_is_string(first) &&
        strcmp(json_string_value(one), json_string_value(first)) != 0)
        issue(c, "must be the same as spec.clusterIP", "spec.clusterIPs[0]");
}

static bool is_family(const char *s)
{
    return strcmp(s, "IPv4") == 0 || strcmp(s, "IPv6") == 0;
}

static void check_service(struct check *c, const json_t *obj)
{
    static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", NULL };
    static const char *const affinities[] = { "None", "ClientIP", NULL };
    static const struct field fields[] = {
        { "type", F_STRING, .one_of = types, .what = "must be ClusterIP, NodePort, LoadBalancer or ExternalName" },
        { "clusterIP", F_STRING, .ok = is_ip_or_none, .what = "must be an IP address or None" },
        { "clusterIPs", F_LIST },
        { "ports", F_LIST },
        { "externalName", F_STRING, .ok = is_external_name, .what = "must be a DNS name in lower case" },
        { "sessionAffinity", F_STRING, .one_of = affinities, .what = "must be None or ClientIP" },
        { "publishNotReadyAddresses", F_BOOL },
    };
    const json_t *spec = json_object_get(obj, "spec");

    if (!json_is_object(spec)) {
        issue(c, spec ? "must be a mapping" : "missing", "spec");
        return;
    }
    check_fields(c, spec, "spec.", fields, ARRAY_LEN(fields));
    check_cluster_ips(c, spec);
    check_service_ports(c, spec);
    check_string_list(c, spec, "spec.", "ipFamilies", is_family, "must be IPv4 or IPv6");
    check_string_list(c, spec, "spec.", "externalIPs", is_ip, "must be an IP address");
    check_string_map(c, spec, "spec.", "selector");
    const char *type = json_string_value(json_object_get(spec, "type"));
    if (type && strcmp(type, "ExternalName") == 0 && !json_object_get(spec, "externalName"))
        issue(c, "missing, and needed with type ExternalName", "spec.externalName");
}

/* ---- EndpointSlice and Endpoints ---- */

static void check_endpoint_ports(struct check *c, const json_t *list, const char *where)
{
    static const struct field fields[] = {
        { "name", F_STRING, .ok = is_any },
        { "protocol", F_STRING, .one_of = protocols, .what = PROTOCOL_WHAT },
        { "port", F_INT, .min = 1, .max = 65535, .what = "must be 1..65535" },
        { "appProtocol", F_STRING },
    };
    char prefix[PATH_MAX_LEN];
    json_t *port;
    size_t i;

    json_array_foreach(list, i, port)
    {
        snprintf(prefix, sizeof prefix, "%sports[%zu].", where, i);
        if (!json_is_object(port)) {
            issue(c, "must be a mapping", "%sports[%zu]", where, i);
            continue;
        }
        size_t before = c->issues;
        check_fields(c, port, prefix, fields, ARRAY_LEN(fields));
        const char *name = json_string_value(json_object_get(port, "name"));
        if (name && *name && !is_label(name))
            issue(c, LABEL_WHAT, "%sname", prefix);
        if (c->issues == before)
            check_port_duplicates(c, list, i, false, prefix);
    }
}

static void check_slice_endpoint(struct check *c, const json_t *endpoint, size_t i, bool (*address_ok)(const char *s),
                                 const char *address_what)
{
    static const struct field fields[] = {
        { "addresses", F_LIST, .required = true },
        { "conditions", F_MAP },
        { "hostname", F_STRING, .ok = is_label, .what = LABEL_WHAT },
        { "nodeName", F_STRING },
        { "zone", F_STRING },
        { "targetRef", F_MAP },
    };
    static const struct field conditions[] = {
        { "ready", F_BOOL },
        { "serving", F_BOOL },
        { "terminating", F_BOOL },
    };
    char prefix[PATH_MAX_LEN];

    snprintf(prefix, sizeof prefix, "endpoints[%zu].", i);
    check_fields(c, endpoint, prefix, fields, ARRAY_LEN(fields));
    check_string_list(c, endpoint, prefix, "addresses", address_ok, address_what);
    const json_t *addresses = json_object_get(endpoint, "addresses");
    if (json_is_array(addresses) && (json_array_size(addresses) == 0 || json_array_size(addresses) > 100))
        issue(c, "must have 1..100 addresses", "%saddresses", prefix);
    snprintf(prefix, sizeof prefix, "endpoints[%zu].conditions.", i);
    check_fields(c, json_object_get(endpoint, "conditions"), prefix, conditions, ARRAY_LEN(conditions));
}

static void check_slice(struct check *c, const json_t *obj)
{
    static const struct {
        const char *type, *what;
        bool (*ok)(const char *s);
    } types[] = {
        { "IPv4", "must be an IPv4 address", is_ip4 },
        { "IPv6", "must be an IPv6 address", is_ip6 },
        { "FQDN", "must be a DNS name", is_external_name },
    };
    static const struct field fields[] = { { "addressType", F_STRING, .required = true },
                                           { "endpoints", F_LIST },
                                           { "ports", F_LIST } };
    const char *type = json_string_value(json_object_get(obj, "addressType"));
    json_t *endpoint;
    size_t i, t = 0;

    check_fields(c, obj, "", fields, ARRAY_LEN(fields));
    while (type && t < ARRAY_LEN(types) && strcmp(type, types[t].type) != 0)
        t++;
    if (!type || t == ARRAY_LEN(types)) {
        if (type)
            issue(c, "must be IPv4, IPv6 or FQDN", "addressType");
        return;
    }
    json_array_foreach(json_object_get(obj, "endpoints"), i, endpoint)
    {
        if (json_is_object(endpoint))
            check_slice_endpoint(c, endpoint, i, types[t].ok, types[t].what);
        else
            issue(c, "must be a mapping", "endpoints[%zu]", i);
    }
    check_endpoint_ports(c, json_object_get(obj, "ports"), "");
}

static void check_addresses(struct check *c, const json_t *subset, size_t s, const char *name)
{
    static const struct field fields[] = {
        { "ip", F_STRING, .required = true, .ok = is_ip, .what = "must be an IP address" },
        { "hostname", F_STRING, .ok = is_label, .what = LABEL_WHAT },
        { "nodeName", F_STRING },
    };
    json_t *list = json_object_get(subset, name), *address;
    char prefix[PATH_MAX_LEN];
    size_t i;

    if (list && !json_is_array(list) && !json_is_null(list))
        issue(c, "must be a list", "subsets[%zu].%s", s, name);
    json_array_foreach(list, i, address)
    {
        snprintf(prefix, sizeof prefix, "subsets[%zu].%s[%zu].", s, name, i);
        check_fields(c, address, prefix, fields, ARRAY_LEN(fields));
    }
}

static void check_endpoints(struct check *c, const json_t *obj)
{
    static const struct field fields[] = { { "subsets", F_LIST } };
    json_t *subset;
    size_t i;

    check_fields(c, obj, "", fields, ARRAY_LEN(fields));
    json_array_foreach(json_object_get(obj, "subsets"), i, subset)
    {
        char prefix[PATH_MAX_LEN];
        if (!json_is_object(subset)) {
            issue(c, "must be a mapping", "subsets[%zu]", i);
            continue;
        }
        check_addresses(c, subset, i, "addresses");
        check_addresses(c, subset, i, "notReadyAddresses");
        snprintf(prefix, sizeof prefix, "subsets[%zu].", i);
        const json_t *ports = json_object_get(subset, "ports");
        if (ports && !json_is_array(ports) && !json_is_null(ports))
            issue(c, "must be a list", "%sports", prefix);
        check_endpoint_ports(c, ports, prefix);
    }
}

/* ---- Pod ---- */

/* People write Pods without a status; an API server's answer has one. */
static void check_pod(struct check *c, const json_t *obj)
{
    static const struct field top = { "status", F_MAP };
    static const struct field fields[] = {
        { "phase", F_STRING },
        { "podIP", F_STRING, .ok = is_ip_or_empty, .what = "must be an IP address" },
        { "podIPs", F_LIST },
    };
    static const struct field address = { "ip", F_STRING, .required = true, .ok = is_ip, .what = "must be an IP address" };
    const json_t *status = json_object_get(obj, "status");
    char prefix[PATH_MAX_LEN];
    json_t *ip;
    size_t i;

    check_field(c, obj, "", &top);
    if (!json_is_object(status))
        return;
    check_fields(c, status, "status.", fields, ARRAY_LEN(fields));
    json_array_foreach(json_object_get(status, "podIPs"), i, ip)
    {
        (void)snprintf(prefix, sizeof prefix, "status.podIPs[%zu].", i); /* fits */
        if (json_is_object(ip))
            check_field(c, ip, prefix, &address);
        else
            issue(c, "must be a mapping", "status.podIPs[%zu]", i);
    }
}

/* ---- all kinds ---- */

size_t kube_validate(const json_t *obj, enum manifest_kind kind, const struct validate_sink *sink)
{
    static const struct field names[] = {
        [MANIFEST_NAMESPACE] = { "name", F_STRING, .required = true, .ok = is_label, .what = LABEL_WHAT },
        [MANIFEST_SERVICE] = { "name", F_STRING, .required = true, .ok = is_service_name,
                               .what = "must be a DNS label that begins with a letter: lower case letters, digits and "
                                       "'-', at most 63" },
        [MANIFEST_SLICE] = { "name", F_STRING, .required = true, .ok = is_subdomain, .what = "must be a DNS name" },
        [MANIFEST_ENDPOINTS] = { "name", F_STRING, .required = true, .ok = is_subdomain, .what = "must be a DNS name" },
        [MANIFEST_POD] = { "name", F_STRING, .required = true, .ok = is_subdomain, .what = "must be a DNS name" },
    };
    static const struct field ns = { "namespace", F_STRING, .ok = is_label, .what = LABEL_WHAT };
    static void (*const rest[])(struct check *, const json_t *) = {
        [MANIFEST_SERVICE] = check_service,
        [MANIFEST_SLICE] = check_slice,
        [MANIFEST_ENDPOINTS] = check_endpoints,
        [MANIFEST_POD] = check_pod,
    };
    struct check c = { sink, 0 };
    const json_t *meta = json_object_get(obj, "metadata");

    if (!json_is_object(meta)) {
        issue(&c, meta ? "must be a mapping" : "missing", "metadata");
        return c.issues;
    }
    check_field(&c, meta, "metadata.", &names[kind]);
    if (kind != MANIFEST_NAMESPACE)
        check_field(&c, meta, "metadata.", &ns);
    check_string_map(&c, meta, "metadata.", "labels");
    check_string_map(&c, meta, "metadata.", "annotations");
    if (kind != MANIFEST_NAMESPACE)
        rest[kind](&c, obj);
    return c.issues;
}
