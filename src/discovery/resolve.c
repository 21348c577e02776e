/* resolve.c - names to addresses and ports over the service table. */
#include "discovery/resolve.h"

#include <stdio.h>

#include "base/str.h"

#define LABELS_MAX 32

struct parsed {
    char *text;               /* lower case, cut at the dots: what the labels point into */
    const char *port, *proto; /* without the underscore; NULL: not asked for */
    const char *labels[LABELS_MAX];
    size_t count;
    bool has_svc; /* ".svc" was there: the last label is the namespace for sure */
};

static bool zone_known(const struct resolve_query *q, const char *zone)
{
    if (q->zone_count == 0)
        return strcmp(zone, "cluster.local") == 0;
    for (size_t i = 0; i < q->zone_count; i++) {
        size_t n = strlen(q->zones[i]);
        if (n > 0 && q->zones[i][n - 1] == '.')
            n--;
        if (strlen(zone) == n && strncasecmp(zone, q->zones[i], n) == 0)
            return true;
    }
    return false;
}

/* Cuts ".svc" and a known zone off the end; false when something else stands behind ".svc.". */
static bool parse_cut_zone(struct parsed *p, const struct resolve_query *q)
{
    size_t n = strlen(p->text);
    if (n > 4 && strcmp(p->text + n - 4, ".svc") == 0) {
        p->text[n - 4] = '\0';
        p->has_svc = true;
        return true;
    }
    char *at = strstr(p->text, ".svc.");
    if (!at)
        return true;
    /* A service may itself be called svc: the last ".svc." with a zone behind it is the one. */
    for (; at; at = strstr(at + 1, ".svc.")) {
        if (zone_known(q, at + 5)) {
            *at = '\0';
            p->has_svc = true;
            return true;
        }
    }
    return false;
}

static bool parse(struct parsed *p, const struct resolve_query *q)
{
    size_t n = strlen(q->name);

    if (n > 0 && q->name[n - 1] == '.')
        n--;
    if (!name_is_dns(q->name, n))
        return false;
    p->text = x_strndup(q->name, n);
    for (size_t i = 0; i < n; i++) {
        if (p->text[i] >= 'A' && p->text[i] <= 'Z')
            p->text[i] = (char)(p->text[i] - 'A' + 'a');
    }
    if (!parse_cut_zone(p, q))
        return false;
    for (char *s = p->text, *dot; s; s = dot ? dot + 1 : NULL) {
        dot = strchr(s, '.');
        if (dot)
            *dot = '\0';
        if (p->count == LABELS_MAX)
            return false;
        p->labels[p->count++] = s;
    }
    if (p->labels[0][0] == '_') {
        if (p->count < 3 || p->labels[1][0] != '_')
            return false;
        p->port = p->labels[0] + 1;
        p->proto = p->labels[1] + 1;
        p->count -= 2;
        memmove(p->labels, p->labels + 2, p->count * sizeof(p->labels[0]));
    }
    if (p->has_svc && p->count == 1) /* "web.svc": a namespace may be called svc */
        p->labels[p->count++] = "svc";
    return p->count <= 3;
}

static bool port_wanted(const struct parsed *p, const char *name, enum svc_proto proto)
{
    return !p->port ||
           (name[0] && strcmp(p->port, name) == 0 && strcmp(p->proto, svc_proto_label(proto)) == 0);
}

static void add_item(struct resolve_result *res, const struct resolve_item *item)
{
    for (size_t i = res->count;
         i-- > 0;) { /* repeats are neighbours: endpoints are sorted by label and address */
        const struct resolve_item *have = &res->items[i];
        if (!ip_eq(&have->ip, &item->ip))
            break;
        if (have->port == item->port && have->proto == item->proto &&
            strcmp(have->port_name, item->port_name) == 0)
            return;
    }
    if ((res->count & (res->count - 1)) == 0) /* grows at powers of two */
        res->items = x_reallocarray(res->items, res->count ? res->count * 2 : 1, sizeof(*res->items));
    res->items[res->count++] = *item;
}

/* Returns whether the port that was asked for exists. */
static bool add_cluster_ips(const struct parsed *p, const struct svc *s, struct resolve_result *res)
{
    bool port_found = !p->port;

    for (size_t i = 0; i < s->cluster_ip_count; i++) {
        struct resolve_item item = {
            .ip = s->cluster_ips[i], .port_name = "", .hostname = "", .node = "", .zone = "", .ready = true};
        if (s->port_count == 0 && !p->port)
            add_item(res, &item);
        for (size_t k = 0; k < s->port_count; k++) {
            if (!port_wanted(p, s->ports[k].name, s->ports[k].proto))
                continue;
            port_found = true;
            item.port = s->ports[k].port;
            item.port_name = s->ports[k].name;
            item.proto = s->ports[k].proto;
            add_item(res, &item);
        }
    }
    return port_found;
}

static bool add_endpoint(const struct parsed *p, const struct svc_endpoint *ep, struct resolve_result *res)
{
    struct resolve_item item = {.ip = ep->addr,
                                .port_name = "",
                                .node = ep->node,
                                .zone = ep->zone,
                                .ready = ep->ready,
                                .hostname = ep->has_hostname ? ep->label : ""};
    bool port_found = !p->port;

    if (ep->port_count == 0 && !p->port)
        add_item(res, &item);
    for (size_t i = 0; i < ep->port_count; i++) {
        if (!port_wanted(p, ep->ports[i].name, ep->ports[i].proto))
            continue;
        port_found = true;
        item.port = ep->ports[i].port;
        item.port_name = ep->ports[i].name;
        item.proto = ep->ports[i].proto;
        add_item(res, &item);
    }
    return port_found;
}

static bool add_endpoints(const struct parsed *p, const struct resolve_query *q,
                          const struct svc_endpoint *eps, size_t count, const struct svc *s,
                          struct resolve_result *res)
{
    bool port_found = !p->port;

    for (size_t i = 0; i < count; i++) {
        if (eps[i].ready || q->all)
            port_found |= add_endpoint(p, &eps[i], res);
    }
    /* With nothing ready the Service itself says which ports there would be. */
    for (size_t i = 0; i < s->port_count; i++)
        port_found |= port_wanted(p, s->ports[i].name, s->ports[i].proto);
    return port_found;
}

static int not_found(const struct svc_table *t, char **ret_error, char *text)
{
    bool synced = table_synced(t);
    if (ret_error)
        *ret_error =
            synced ? x_strdup(text) : x_asprintf("%s (the registry has not been read completely yet)", text);
    free(text);
    return synced ? RC_NOTFOUND : RC_UNAVAIL;
}

static int resolve_in(const struct svc_table *t, const struct resolve_query *q, const struct parsed *p,
                      const char *endpoint, const char *name, const char *ns, struct resolve_result *ret,
                      char **ret_error)
{
    struct resolve_result res = {0};
    bool port_found;

    if (!table_namespace_exists(t, buf_str(ns)))
        return not_found(t, ret_error, x_asprintf("%s: no such namespace: %s", q->name, ns));
    res.entry = table_service(t, buf_str(ns), buf_str(name));
    if (!res.entry)
        return not_found(t, ret_error, x_asprintf("%s: no service %s in namespace %s", q->name, name, ns));
    const struct svc *s = res.entry->svc;
    res.asked_endpoints = (endpoint || q->endpoints) && s->type != SVC_EXTERNAL_NAME;
    if (endpoint) {
        size_t n;
        const struct svc_endpoint *eps = table_endpoints_by_label(t, res.entry, buf_str(endpoint), &n);
        if (!eps || s->type == SVC_EXTERNAL_NAME)
            return not_found(t, ret_error,
                             x_asprintf("%s: no endpoint %s of %s.%s", q->name, endpoint, name, ns));
        res.from_endpoints = true;
        port_found = add_endpoints(p, q, eps, n, s, &res);
    } else if (s->type == SVC_EXTERNAL_NAME) {
        port_found = !p->port;
    } else if (s->headless || q->endpoints) {
        res.from_endpoints = true;
        port_found = add_endpoints(p, q, res.entry->endpoints, res.entry->endpoint_count, s, &res);
    } else {
        port_found = add_cluster_ips(p, s, &res);
    }
    if (!port_found) {
        resolve_done(&res);
        return not_found(t, ret_error,
                         x_asprintf("%s: %s.%s has no port %s/%s", q->name, name, ns, p->port, p->proto));
    }
    *ret = res;
    return 0;
}

int resolve(const struct svc_table *t, const struct resolve_query *q, struct resolve_result *ret,
            char **ret_error)
{
    struct parsed p = {0};
    const char *ns = q->ns ? q->ns : "default";
    int rc;

    if (!parse(&p, q)) {
        if (ret_error)
            *ret_error = x_asprintf(
                "%s: not the name of a service (service.namespace, _port._proto.service.namespace, "
                "endpoint.service.namespace, with .svc or .svc.<zone> behind it)",
                q->name);
        free(p.text);
        return RC_MALFORMED;
    }
    if (p.count == 1)
        rc = resolve_in(t, q, &p, NULL, p.labels[0], ns, ret, ret_error);
    else if (p.count == 3)
        rc = resolve_in(t, q, &p, p.labels[0], p.labels[1], p.labels[2], ret, ret_error);
    else
        rc = resolve_in(t, q, &p, NULL, p.labels[0], p.labels[1], ret, ret_error);
    if (rc < 0 && p.count == 2 && !p.has_svc &&
        resolve_in(t, q, &p, p.labels[0], p.labels[1], ns, ret, NULL) == 0) {
        if (ret_error) {
            free(*ret_error);
            *ret_error = NULL;
        }
        rc = 0;
    }
    free(p.text);
    return rc;
}

void resolve_done(struct resolve_result *res)
{
    free(res->items);
    *res = (struct resolve_result){0};
}
