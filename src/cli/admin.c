/* admin.c - /healthz, /readyz and /metrics over whatever parts this process runs. */
#include "admin.h"

#include <stdio.h>

#include "base/clock.h"
#include "discovery/table.h"
#include "dns/dns.h"
#include "kube/kube.h"
#include "server/server.h"
#include "sync/sync.h"

/* The process answers, so it lives: whether it is of use is /readyz's matter. */
static void page_healthz(void *data, const struct http_request *req, struct http_response *res)
{
    (void)data, (void)req;
    wr_text(&res->body, "ok\n");
}

static void say(struct http_response *res, const char *part, bool ready, const char *text)
{
    wr_printf(&res->body, "%-8s %s%s%s\n", part, ready ? "ready" : "not ready", *text ? ": " : "", text);
    if (!ready)
        res->status = 503;
}

static void page_readyz(void *data, const struct http_request *req, struct http_response *res)
{
    (void)req;
    const struct parts *p = data;
    if (p->server)
        say(res, "server", server_serving(p->server), "");
    if (p->sync) {
        struct sync_stats st;
        sync_stats(p->sync, &st);
        /* A standby is of use as soon as it knows what it would write. */
        bool ready = st.kinds_synced && (st.in_step || st.standing_by) && p->zk_connected;
        say(res, "sync", ready,
            !st.kinds_synced  ? "waiting for the first complete list of objects"
            : !p->zk_connected ? "ZooKeeper is away"
            : st.standing_by   ? "standing by"
            : !st.leading      ? "electing a writer"
            : st.in_step       ? "writing"
                               : "behind");
    }
    if (p->dns) {
        int64_t stale = table_stale_ms(p->table);
        char text[96] = "";
        if (stale < 0)
            (void)snprintf(text, sizeof(text), "waiting for the registry");
        else if (stale > 0)
            (void)snprintf(text, sizeof(text), "answering from memory, ZooKeeper away for %lld s", (long long)(stale / 1000));
        say(res, "dns", stale >= 0, text);
    }
}

struct metric {
    const char *name, *type, *help;
    double value;
};

static void emit(struct wr *w, const struct metric *m, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wr_printf(w, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", m[i].name, m[i].help, m[i].name, m[i].type, m[i].name,
                  m[i].value);
}

static void metrics_sync(const struct parts *p, struct wr *w)
{
    struct sync_stats s;
    struct kube_stats k = { 0 };
    sync_stats(p->sync, &s);
    if (p->source)
        kube_source_stats(p->source, &k);
    const struct metric m[] = {
        { "quoll_sync_leading", "gauge", "1 while this process is the elected writer.", s.leading },
        { "quoll_sync_epoch", "gauge", "Epoch of the writer; 0 if it never led.", (double)s.epoch },
        { "quoll_sync_in_step", "gauge", "1 when everything wanted is written.", s.in_step },
        { "quoll_sync_services", "gauge", "Services wanted in the registry.", (double)s.wanted_services },
        { "quoll_sync_endpointslices", "gauge", "EndpointSlices wanted in the registry.", (double)s.wanted_slices },
        { "quoll_sync_namespaces", "gauge", "Namespaces wanted in the registry.", (double)s.wanted_namespaces },
        { "quoll_sync_pods", "gauge", "Pods wanted in the registry.", (double)s.wanted_pods },
        { "quoll_sync_writes_total", "counter", "Znodes written or removed.", (double)s.writes },
        { "quoll_sync_batches_total", "counter", "Multi requests sent.", (double)s.batches },
        { "quoll_sync_write_errors_total", "counter", "Multi requests that failed.", (double)s.write_errors },
        { "quoll_sync_skipped_objects", "gauge", "Objects left out because they are malformed or too large.",
          (double)s.skipped_objects },
        { "quoll_sync_last_lag_seconds", "gauge", "From the last change's arrival to its commit.",
          (double)s.last_lag_ms / 1000 },
        { "quoll_sync_max_lag_seconds", "gauge", "The longest of these.", (double)s.max_lag_ms / 1000 },
        { "quoll_kube_lists_total", "counter", "List requests to the API server.", (double)k.lists },
        { "quoll_kube_watches_total", "counter", "Watch requests to the API server.", (double)k.watches },
        { "quoll_kube_events_total", "counter", "Objects and events received.", (double)k.events },
        { "quoll_kube_errors_total", "counter", "Failed requests and malformed objects.", (double)k.errors },
        { "quoll_kube_relists_gone_total", "counter", "Lists made again after 410 Gone.", (double)k.relists_gone },
        { "quoll_kube_unauthorized_total", "counter", "Answers 401.", (double)k.unauthorized },
        { "quoll_kube_seconds_since_contact", "gauge", "Since the last good list, event or bookmark; -1 if never.",
          k.last_contact_ms ? (double)(clock_mono_ms() - k.last_contact_ms) / 1000 : -1 },
    };
    emit(w, m, ARRAY_LEN(m));
}

static void metrics_discovery(const struct parts *p, struct wr *w)
{
    struct dns_stats d;
    dns_server_stats(p->dns, &d);
    int64_t stale = table_stale_ms(p->table);
    const struct metric m[] = {
        { "quoll_table_services", "gauge", "Services in the in-memory table.", (double)table_service_count(p->table) },
        { "quoll_table_pods", "gauge", "Pods in the in-memory table.", (double)table_pod_count(p->table) },
        { "quoll_table_synced", "gauge", "1 once the table has been complete.", table_synced(p->table) },
        { "quoll_table_stale_seconds", "gauge", "How long the table may have been behind; -1 if never complete.",
          stale < 0 ? -1 : (double)stale / 1000 },
        { "quoll_table_bad_nodes_total", "counter", "Registry znodes that could not be decoded.",
          (double)table_bad_nodes(p->table) },
        { "quoll_table_generation", "counter", "Changes of the table.", (double)table_generation(p->table) },
        { "quoll_dns_truncated_total", "counter", "Replies with the TC bit.", (double)d.truncated },
        { "quoll_dns_malformed_total", "counter", "Queries that were no queries.", (double)d.malformed },
        { "quoll_dns_forwarded_total", "counter", "Questions sent upstream.", (double)d.forwarded },
        { "quoll_dns_forward_failed_total", "counter", "Questions no upstream answered.", (double)d.forward_failed },
        { "quoll_dns_cache_hits_total", "counter", "Forwarded names answered from the cache.", (double)d.cache_hits },
        { "quoll_dns_cache_misses_total", "counter", "Forwarded names not in the cache.", (double)d.cache_misses },
    };
    emit(w, m, ARRAY_LEN(m));
    wr_printf(w,
              "# HELP quoll_dns_queries_total Queries received.\n# TYPE quoll_dns_queries_total counter\n"
              "quoll_dns_queries_total{proto=\"udp\"} %llu\nquoll_dns_queries_total{proto=\"tcp\"} %llu\n",
              (unsigned long long)d.queries_udp, (unsigned long long)d.queries_tcp);
    static const char *const rcodes[16] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };
    wr_text(w, "# HELP quoll_dns_replies_total Replies sent, by rcode.\n# TYPE quoll_dns_replies_total counter\n");
    for (size_t i = 0; i < ARRAY_LEN(rcodes); i++)
        if (rcodes[i] || d.replies[i])
            wr_printf(w, "quoll_dns_replies_total{rcode=\"%s\"} %llu\n", rcodes[i] ? rcodes[i] : "OTHER",
                      (unsigned long long)d.replies[i]);
}

static void page_metrics(void *data, const struct http_request *req, struct http_response *res)
{
    (void)req;
    const struct parts *p = data;
    res->content_type = "text/plain; version=0.0.4; charset=utf-8";
    wr_printf(&res->body,
              "# HELP quoll_info Version of the program.\n# TYPE quoll_info gauge\nquoll_info{version=\"%s\"} 1\n"
              "# HELP quoll_uptime_seconds Since the start.\n# TYPE quoll_uptime_seconds gauge\nquoll_uptime_seconds %.3f\n",
              QUOLL_VERSION, (double)(clock_mono_ms() - p->started_ms) / 1000);
    if (p->client)
        wr_printf(&res->body,
                  "# HELP quoll_zookeeper_connected 1 while connected.\n# TYPE quoll_zookeeper_connected gauge\n"
                  "quoll_zookeeper_connected %d\n",
                  p->zk_connected);
    if (p->server)
        server_metrics_prometheus(p->server, &res->body);
    if (p->sync)
        metrics_sync(p, &res->body);
    if (p->dns)
        metrics_discovery(p, &res->body);
}

struct http_route *admin_routes(struct parts *p)
{
    const struct http_route routes[] = {
        { "/healthz", page_healthz, p }, { "/readyz", page_readyz, p }, { "/metrics", page_metrics, p }, { 0 }
    };
    return x_memdup(routes, sizeof(routes));
}
