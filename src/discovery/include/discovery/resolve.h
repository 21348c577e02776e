/* resolve.h - a name a person types to addresses and ports, and the listings of `quoll resolve` and `quoll
 * services`.
 *
 * Purpose    One look-up over the service table, and its result as text: a table for people, JSON, plain
 * lines, or the environment variables that a kubelet would set. The caller prints the bytes. Threading  The
 * table's loop. A result borrows from the table: use it before the next event of the loop. Names
 * "my-service.default", "my-service" (in query.ns), "db-0.db.shop" (one endpoint), each with
 *            "_port._proto." in front, and each with ".svc" or ".svc.<zone>" behind ns. Any case; a trailing
 * dot is allowed. Two labels are service.namespace; when no such service is there, endpoint.service in
 * query.ns. */
#ifndef DISCOVERY_RESOLVE_H
#define DISCOVERY_RESOLVE_H

#include "discovery/table.h"

struct resolve_query {
    const char *name;
    const char *ns;           /* for names without one; NULL: "default" */
    const char *const *zones; /* what may stand behind ".svc."; count 0: "cluster.local" */
    size_t zone_count;
    bool endpoints; /* the endpoints and their ports also of a service that has a cluster IP */
    bool all;       /* endpoints that are not ready too */
};

struct resolve_item {
    struct ip ip;
    uint16_t port;         /* 0: the service names none, or all of them */
    const char *port_name; /* "" : unnamed */
    enum svc_proto proto;
    const char *hostname, *node, *zone; /* "" : none, or a cluster IP */
    bool ready;
};

struct resolve_result {
    const struct svc_entry *entry;
    bool from_endpoints;        /* items are endpoints, not cluster IPs */
    bool asked_endpoints;       /* because the query said so, by query.endpoints or an endpoint's name */
    struct resolve_item *items; /* in the order of the table; each (ip, port, protocol, name) once */
    size_t count;               /* 0 for ExternalName, and when nothing is ready */
};

/* RC_MALFORMED: not a name of a service. RC_NOTFOUND: no such namespace, service, endpoint or port.
 * RC_UNAVAIL: not found, and the table has never been complete, so that nobody knows. *ret_error (may be
 * NULL) is then an owned line for people. */
int resolve(const struct svc_table *t, const struct resolve_query *q, struct resolve_result *ret,
            char **ret_error);
void resolve_done(struct resolve_result *res);

enum list_format { LIST_TABLE, LIST_JSON, LIST_PLAIN, LIST_ENV };
/* "table", "json", "plain", "env"; RC_INVAL. */
int list_format_parse(const char *text, enum list_format *ret);

/* LIST_PLAIN    "10.0.0.1:80" and "[fd00::1]:80" lines; without a port only the address; an ExternalName is
 * its name. LIST_ENV      MY_SERVICE_SERVICE_HOST and its kin, one NAME=value a line: of the first cluster IP
 * and all ports, as the kubelet does. A kubelet sets none for headless and ExternalName services; with
 * query.endpoints the first endpoint stands in. Every line ends with a newline. */
void resolve_format(const struct resolve_result *res, enum list_format format, struct wr *out);

/* All services, or those of ns (NULL: all). LIST_TABLE, LIST_JSON; LIST_PLAIN gives "service.namespace"
 * lines. LIST_ENV: the variables of each service, as a pod of that namespace would get them. */
void services_format(const struct svc_table *t, const char *ns, enum list_format format, struct wr *out);

#endif
