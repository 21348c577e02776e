/* listing.c - results and services as text: tables, JSON, plain lines, environment variables. */
#include <jansson.h>
#include <stdio.h>

#include "base/str.h"
#include "discovery/resolve.h"
#include "textgrid.h"

int list_format_parse(const char *text, enum list_format *ret)
{
    static const char *const names[] = {"table", "json", "plain", "env"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(text, names[i])) {
            *ret = (enum list_format)i;
            return 0;
        }
    }
    return RC_INVAL;
}

static void json_write(json_t *o, struct wr *out)
{
    char *text = json_dumps(o, JSON_INDENT(2));
    ASSERT(text != NULL);
    wr_text(out, text);
    wr_text(out, "\n");
    free(text);
    json_decref(o);
}

/* ---- environment variables ---- */

/* "my-service" to "MY_SERVICE", as the kubelet does. */
static void env_name(const char *s, char out[64])
{
    size_t n = 0;
    for (; n < 63 && s[n]; n++)
        out[n] = s[n] == '-' ? '_' : s[n] >= 'a' && s[n] <= 'z' ? (char)(s[n] - 'a' + 'A') : s[n];
    out[n] = '\0';
}

struct env_port {
    const char *name;
    enum svc_proto proto;
    uint16_t port;
};

static void env_write(const char *service, const struct ip *ip, const struct env_port *ports, size_t count,
                      struct wr *out)
{
    char svc[64], name[64], host[IP_TEXT_MAX];
    const char *open = ip->family == 6 ? "[" : "", *close = ip->family == 6 ? "]" : "";

    env_name(service, svc);
    ip_format(ip, host);
    wr_printf(out, "%s_SERVICE_HOST=%s\n", svc, host);
    if (count > 0)
        wr_printf(out, "%s_SERVICE_PORT=%d\n", svc, ports[0].port);
    for (size_t i = 0; i < count; i++) {
        if (!ports[i].name[0])
            continue;
        env_name(ports[i].name, name);
        wr_printf(out, "%s_SERVICE_PORT_%s=%d\n", svc, name, ports[i].port);
    }
    for (size_t i = 0; i < count; i++) {
        const char *proto = svc_proto_label(ports[i].proto), *upper = svc_proto_name(ports[i].proto);
        int port = ports[i].port;
        if (i == 0)
            wr_printf(out, "%s_PORT=%s://%s%s%s:%d\n", svc, proto, open, host, close, port);
        wr_printf(out, "%s_PORT_%d_%s=%s://%s%s%s:%d\n", svc, port, upper, proto, open, host, close, port);
        wr_printf(out, "%s_PORT_%d_%s_PROTO=%s\n", svc, port, upper, proto);
        wr_printf(out, "%s_PORT_%d_%s_PORT=%d\n", svc, port, upper, port);
        wr_printf(out, "%s_PORT_%d_%s_ADDR=%s\n", svc, port, upper, host);
    }
}

static void env_of_service(const struct svc *s, struct wr *out)
{
    if (s->cluster_ip_count == 0)
        return;
    struct env_port *ports = x_calloc(s->port_count + 1, sizeof(*ports));
    for (size_t i = 0; i < s->port_count; i++)
        ports[i] = (struct env_port){s->ports[i].name, s->ports[i].proto, s->ports[i].port};
    env_write(s->name, &s->cluster_ips[0], ports, s->port_count, out);
    free(ports);
}

/* The items of the first endpoint: all that share its address. */
static void env_of_endpoint(const struct resolve_result *res, struct wr *out)
{
    size_t n = 0;
    if (res->count == 0)
        return;
    struct env_port *ports = x_calloc(res->count, sizeof(*ports));
    for (; n < res->count && res->items[n].port && ip_eq(&res->items[n].ip, &res->items[0].ip); n++)
        ports[n] = (struct env_port){res->items[n].port_name, res->items[n].proto, res->items[n].port};
    env_write(res->entry->svc->name, &res->items[0].ip, ports, n, out);
    free(ports);
}

/* ---- one result ---- */

static void result_table(const struct resolve_result *res, struct wr *out)
{
    static const char *const head[] = {"ADDRESS", "PORT", "NAME",  "PROTOCOL", "HOSTNAME",
                                       "NODE",    "ZONE", "READY", NULL};
    struct textgrid g = {0};

    textgrid_row(&g, head);
    if (res->entry->svc->type == SVC_EXTERNAL_NAME)
        textgrid_row(&g,
                     (const char *const[]){res->entry->svc->external_name, "", "", "", "", "", "", "", NULL});
    for (size_t i = 0; i < res->count; i++) {
        const struct resolve_item *it = &res->items[i];
        char ip[IP_TEXT_MAX], port[8] = "";
        ip_format(&it->ip, ip);
        if (it->port)
            (void)snprintf(port, sizeof(port), "%d", it->port); /* fits: 16 bits */
        textgrid_row(&g,
                     (const char *const[]){ip, port, it->port_name, it->port ? svc_proto_name(it->proto) : "",
                                           it->hostname, it->node, it->zone, it->ready ? "yes" : "no", NULL});
    }
    textgrid_write(&g, out);
}

static void set_text(json_t *o, const char *key, const char *value)
{
    if (value[0])
        json_object_set_new(o, key, json_string(value));
}

static void result_json(const struct resolve_result *res, struct wr *out)
{
    const struct svc *s = res->entry->svc;
    json_t *o = json_object(), *list = json_array();

    json_object_set_new(o, "namespace", json_string(s->ns));
    json_object_set_new(o, "name", json_string(s->name));
    json_object_set_new(o, "type", json_string(svc_type_name(s->type)));
    if (s->headless)
        json_object_set_new(o, "headless", json_true());
    set_text(o, "externalName", s->external_name);
    for (size_t i = 0; i < res->count; i++) {
        const struct resolve_item *it = &res->items[i];
        char ip[IP_TEXT_MAX];
        json_t *e = json_object();
        ip_format(&it->ip, ip);
        json_object_set_new(e, "ip", json_string(ip));
        if (it->port) {
            json_object_set_new(e, "port", json_integer(it->port));
            set_text(e, "portName", it->port_name);
            json_object_set_new(e, "protocol", json_string(svc_proto_name(it->proto)));
        }
        set_text(e, "hostname", it->hostname);
        set_text(e, "node", it->node);
        set_text(e, "zone", it->zone);
        if (res->from_endpoints)
            json_object_set_new(e, "ready", json_boolean(it->ready));
        json_array_append_new(list, e);
    }
    json_object_set_new(o, res->from_endpoints ? "endpoints" : "addresses", list);
    json_write(o, out);
}

static void result_plain(const struct resolve_result *res, struct wr *out)
{
    if (res->entry->svc->type == SVC_EXTERNAL_NAME)
        wr_printf(out, "%s\n", res->entry->svc->external_name);
    for (size_t i = 0; i < res->count; i++) {
        const struct resolve_item *it = &res->items[i];
        char ip[IP_TEXT_MAX];
        ip_format(&it->ip, ip);
        if (it->port == 0)
            wr_printf(out, "%s\n", ip);
        else
            wr_printf(out, it->ip.family == 6 ? "[%s]:%d\n" : "%s:%d\n", ip, it->port);
    }
}

void resolve_format(const struct resolve_result *res, enum list_format format, struct wr *out)
{
    switch (format) {
    case LIST_TABLE:
        result_table(res, out);
        break;
    case LIST_JSON:
        result_json(res, out);
        break;
    case LIST_PLAIN:
        result_plain(res, out);
        break;
    case LIST_ENV:
        if (res->asked_endpoints)
            env_of_endpoint(res, out);
        else
            env_of_service(res->entry->svc, out);
        break;
    }
}

/* ---- all services ---- */

/* "80/TCP,443:30443/TCP": as kubectl shows them. Owned. */
static char *ports_text(const struct svc *s)
{
    struct wr w = wr_init(0);
    for (size_t i = 0; i < s->port_count; i++) {
        wr_printf(&w, "%s%d", i ? "," : "", s->ports[i].port);
        if (s->ports[i].node_port)
            wr_printf(&w, ":%d", s->ports[i].node_port);
        wr_printf(&w, "/%s", svc_proto_name(s->ports[i].proto));
    }
    char *text = x_strdup(wr_cstr(&w));
    wr_free(&w);
    return text;
}

static char *join_texts(char *const *v, size_t n, const char *more)
{
    struct wr w = wr_init(0);
    for (size_t i = 0; i < n; i++)
        wr_printf(&w, "%s%s", i ? "," : "", v[i]);
    if (more[0])
        wr_printf(&w, "%s%s", n ? "," : "", more);
    char *text = x_strdup(wr_cstr(&w));
    wr_free(&w);
    return text;
}

static char *cluster_ips_text(const struct svc *s)
{
    struct wr w = wr_init(0);
    for (size_t i = 0; i < s->cluster_ip_count; i++) {
        char ip[IP_TEXT_MAX];
        ip_format(&s->cluster_ips[i], ip);
        wr_printf(&w, "%s%s", i ? "," : "", ip);
    }
    char *text = x_strdup(s->headless ? "None" : wr_cstr(&w));
    wr_free(&w);
    return text;
}

static void service_row(const struct svc_entry *e, void *data)
{
    const struct svc *s = e->svc;
    char *ips = cluster_ips_text(s), *ports = ports_text(s);
    char *outside = s->ingress_count ? join_texts(s->ingress, s->ingress_count, s->external_name)
                                     : join_texts(s->external_ips, s->external_ip_count, s->external_name);
    char *ready = s->type == SVC_EXTERNAL_NAME ? x_strdup("")
                                               : x_asprintf("%zu/%zu", e->ready_count, e->endpoint_count);

    textgrid_row(data, (const char *const[]){s->ns, s->name, svc_type_name(s->type), ips, outside, ports,
                                             ready, NULL});
    free(ips);
    free(ports);
    free(outside);
    free(ready);
}

static void service_object(const struct svc_entry *e, void *data)
{
    char *text = svc_encode(e->svc);
    json_t *o = json_object(), *model = json_loads(text, 0, NULL), *v;
    const char *key;

    json_object_set_new(o, "namespace", json_string(e->svc->ns));
    json_object_set_new(o, "name", json_string(e->svc->name));
    json_object_set_new(o, "type", json_string(svc_type_name(e->svc->type)));
    if (e->svc->headless)
        json_object_set_new(o, "headless", json_true());
    json_object_foreach(model, key, v)
    {
        if (strcmp(key, "schema") != 0)
            json_object_set(o, key, v);
    }
    if (e->svc->type != SVC_EXTERNAL_NAME) {
        json_object_set_new(o, "readyEndpoints", json_integer((json_int_t)e->ready_count));
        json_object_set_new(o, "endpoints", json_integer((json_int_t)e->endpoint_count));
    }
    json_decref(model);
    free(text);
    json_array_append_new(data, o);
}

static void service_line(const struct svc_entry *e, void *data)
{
    wr_printf(data, "%s.%s\n", e->svc->name, e->svc->ns);
}

static void service_env(const struct svc_entry *e, void *data)
{
    env_of_service(e->svc, data);
}

void services_format(const struct svc_table *t, const char *ns, enum list_format format, struct wr *out)
{
    static const char *const head[] = {"NAMESPACE", "NAME",  "TYPE",  "CLUSTER-IP",
                                       "EXTERNAL",  "PORTS", "READY", NULL};
    struct textgrid g = {0};
    json_t *list;

    switch (format) {
    case LIST_TABLE:
        textgrid_row(&g, head);
        table_each_service(t, buf_str(ns), service_row, &g);
        textgrid_write(&g, out);
        break;
    case LIST_JSON:
        list = json_array();
        table_each_service(t, buf_str(ns), service_object, list);
        json_write(list, out);
        break;
    case LIST_PLAIN:
        table_each_service(t, buf_str(ns), service_line, out);
        break;
    case LIST_ENV:
        table_each_service(t, buf_str(ns), service_env, out);
        break;
    }
}
