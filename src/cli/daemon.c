/* daemon.c - assembles the long-running subcommands from their components, on one uv loop.
 *
 * The coordination server brings its own threads; everything else (ZooKeeper clients, Kubernetes source, sync, service table,
 * DNS, admin HTTP) lives on the loop of the main thread, so that nothing of it needs a lock. */
#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "admin.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/str.h"
#include "discovery/table.h"
#include "dns/dns.h"
#include "kube/kube.h"
#include "parts.h"
#include "server/server.h"
#include "sync/sync.h"
#include "zk.h"

#define CLIENT_LISTEN_DEFAULT "127.0.0.1:2181"
#define DNS_LISTEN_DEFAULT "127.0.0.1:1053"
#define HTTP_LISTEN_DEFAULT "127.0.0.1:8080"
#define FOUR_LETTER_DEFAULT "ruok,srvr,stat,mntr,conf,cons,isro,envi,wchs,dump"

struct daemon_options daemon_options = { .ttl_s = 5 };
#define O daemon_options

const struct flag server_flags[] = {
    { "data", 'd', FLAG_TEXT, "DIR", "where the server keeps its log and snapshots (default: ./quoll-data)", &O.data, 0, 0 },
    { "client-listen", 0, FLAG_LIST, "ADDR:PORT", "where ZooKeeper clients connect; repeats (default: " CLIENT_LISTEN_DEFAULT ")",
      &O.client_listen, 0, 0 },
    { "set", 0, FLAG_LIST, "KEY=VALUE", "one key of zoo.cfg, e.g. snapCount=50000; repeats", &O.set, 0, 0 },
    { 0 },
};
const struct flag sync_flags[] = {
    { "manifests", 0, FLAG_TEXT, "PATH", "take objects from a file or directory of YAML or JSON manifests, watched for changes",
      &O.manifests, 0, 0 },
    { "kubeconfig", 0, FLAG_TEXT, "FILE", "take objects from the cluster that FILE describes", &O.kubeconfig, 0, 0 },
    { "context", 0, FLAG_TEXT, "NAME", "context of the kubeconfig (default: its current-context)", &O.context, 0, 0 },
    { 0 },
};
const struct flag registry_flags[] = {
    { "cluster", 0, FLAG_TEXT, "NAME", "name of the Kubernetes cluster in the registry (default: " REGISTRY_CLUSTER_DEFAULT ")",
      &O.cluster, 0, 0 },
    { "registry-root", 0, FLAG_TEXT, "PATH", "znode of the registry (default: " REGISTRY_ROOT_DEFAULT ")", &O.root, 0, 0 },
    { 0 },
};
const struct flag dns_flags[] = {
    { "dns-listen", 0, FLAG_LIST, "ADDR:PORT", "where DNS is answered, UDP and TCP; repeats (default: " DNS_LISTEN_DEFAULT ")",
      &O.dns_listen, 0, 0 },
    { "zone", 0, FLAG_LIST, "NAME", "a zone to answer for; repeats (default: cluster.local, in-addr.arpa, ip6.arpa)", &O.zones, 0,
      0 },
    { "ttl", 0, FLAG_INT, "SECONDS", "TTL of answers, 0 to 3600 (default: 5)", &O.ttl_s, 0, 3600 },
    { "namespace", 0, FLAG_LIST, "NAME", "answer for this namespace only; repeats (default: all)", &O.namespaces, 0, 0 },
    { "forward", 0, FLAG_LIST, "ADDR[:PORT]", "send other names to this DNS server; repeats (default: other names are refused)",
      &O.forward, 0, 0 },
    { "ignore-empty", 0, FLAG_BOOL, NULL, "a service without a ready endpoint does not exist, even if it has a cluster IP",
      &O.ignore_empty, 0, 0 },
    { 0 },
};
/* One meaning for the writer and the reader of the registry, so that a shared configuration fits both. */
const struct flag pods_flags[] = {
    { "pods", 0, FLAG_TEXT, "MODE",
      "10-0-0-1.NAMESPACE.pod names: \"disabled\" (default), \"insecure\": answered with the address in the name, \"verified\": if "
      "a Pod there has it, for which sync stores Pods in the registry; --pods alone is verified",
      &O.pods, 0, 0, "verified" },
    { 0 },
};
const struct flag http_flags[] = {
    { "http-listen", 0, FLAG_TEXT, "ADDR:PORT",
      "where /healthz, /readyz and /metrics are served; \"off\" for nowhere (default: " HTTP_LISTEN_DEFAULT ")", &O.http_listen, 0, 0 },
    { 0 },
};

struct daemon {
    uv_loop_t loop;
    uv_signal_t sigint, sigterm;
    bool stopping;
    struct parts parts;
    struct http_server *http;
    struct http_route *routes;
    int http_port;
    struct VEC(char *) listening; /* lines of the banner */
    int closing;                  /* components whose close is under way */
};

/* ---- the server ---- */

static int server_configure(struct server_config *cfg)
{
    struct storage_error err = { "" };
    server_config_init(cfg);
    int rc = 0;
    if (O.zoo_cfg) {
        rc = server_config_read(cfg, O.zoo_cfg, &err);
        if (rc < 0)
            return complain(exit_code_of(rc), "%s", err.text);
    } else {
        cfg->data_dir = x_strdup(O.data ? O.data : "quoll-data");
        rc = server_config_set(cfg, "4lw.commands.whitelist", FOUR_LETTER_DEFAULT, &err);
        ASSERT(rc == 0);
    }
    if (O.zoo_cfg && O.data) {
        free(cfg->data_dir);
        cfg->data_dir = x_strdup(O.data);
    }
    for (size_t i = 0; i < O.set.len; i++) {
        char *key = x_strdup(O.set.items[i]), *eq = strchr(key, '=');
        if (!eq) {
            free(key);
            return complain(EXIT_USAGE, "--set %s: KEY=VALUE is expected", O.set.items[i]);
        }
        *eq = 0;
        rc = server_config_set(cfg, key, eq + 1, &err);
        free(key);
        if (rc < 0)
            return complain(EXIT_USAGE, "--set %s: %s", O.set.items[i], err.text);
    }
    /* The list of servers may say where clients connect. */
    if (O.client_listen.len == 0 && cfg->listen_count == 0 && cfg->member_line_count == 0 && !cfg->dynamic_file)
        strs_add(&O.client_listen, CLIENT_LISTEN_DEFAULT);
    if (O.client_listen.len) {
        for (size_t i = 0; i < cfg->listen_count; i++)
            free(cfg->listen[i]);
        cfg->listen = x_reallocarray(cfg->listen, O.client_listen.len, sizeof(char *));
        cfg->listen_count = O.client_listen.len;
        cfg->client_port = -1; /* the flag wins */
        for (size_t i = 0; i < O.client_listen.len; i++)
            cfg->listen[i] = x_strdup(O.client_listen.items[i]);
    }
    return EXIT_OK;
}

/* "127.0.0.1:0" with the port that was bound. */
static char *bound_address(const char *listen, int port)
{
    const char *colon = strrchr(listen, ':');
    return x_asprintf("%.*s:%d", (int)(colon ? colon - listen : (ptrdiff_t)strlen(listen)), listen, port);
}

static int start_server(struct daemon *d)
{
    struct server_config cfg;
    struct storage_error err = { "" };
    int code = server_configure(&cfg);
    if (code == EXIT_OK) {
        int rc = server_start(&cfg, &d->parts.server, &err);
        if (rc < 0)
            code = complain(exit_code_of(rc), "%s", err.text);
        if (rc == 0 && cfg.listen_count == 0)
            VEC_PUSH(&d->listening, x_asprintf("ZooKeeper clients   port %d", server_port(d->parts.server, 0)));
        for (size_t i = 0; rc == 0 && i < cfg.listen_count; i++) {
            char *at = bound_address(cfg.listen[i], server_port(d->parts.server, i));
            VEC_PUSH(&d->listening, x_asprintf("ZooKeeper clients   %s", at));
            free(at);
        }
    }
    server_config_free(&cfg);
    return code;
}

/* What clients of the embedded server connect to. */
static void use_own_server(struct daemon *d)
{
    int port = server_port(d->parts.server, 0);
    bool any = O.client_listen.len == 0 || O.client_listen.items[0][0] == ':' || O.client_listen.items[0][0] == '*' ||
               str_has_prefix(O.client_listen.items[0], "0.0.0.0:") || str_has_prefix(O.client_listen.items[0], "[::]:");
    char *at = any ? x_asprintf("127.0.0.1:%d", port) : bound_address(O.client_listen.items[0], port);
    strs_add(&zk_servers_flag, at);
    free(at);
}

/* ---- clients ---- */

static void on_client_state(quoll_client *c, enum quoll_state state, void *data)
{
    struct parts *p = data;
    if (state == QUOLL_STATE_CONNECTED || state == QUOLL_STATE_READ_ONLY)
        log_info("client", "connected to ZooKeeper at %s, session 0x%llx", quoll_server(c),
                 (unsigned long long)quoll_session_id(c));
    else if (state == QUOLL_STATE_CONNECTING)
        log_warn("client", "ZooKeeper is away; trying %s", zk_connect_string());
    else if (state == QUOLL_STATE_EXPIRED)
        log_warn("client", "the session expired; a new one follows");
    p->zk_connected = state == QUOLL_STATE_CONNECTED || state == QUOLL_STATE_READ_ONLY;
}

static void on_client_log(quoll_client *c, const char *text, void *data)
{
    (void)c, (void)data;
    log_debug("client", "%s", text);
}

static int start_client(struct daemon *d)
{
    struct quoll_options opt = { .servers = zk_connect_string(), .loop = &d->loop, .on_state = on_client_state,
                                 .on_log = on_client_log, .data = &d->parts };
    char *error = NULL;
    int rc = quoll_open(&opt, &d->parts.client, &error);
    if (rc != 0) {
        complain(0, "--zk: %s", error ? error : quoll_strerror(rc));
        free(error);
        return EXIT_USAGE;
    }
    return zk_add_auth(d->parts.client, NULL);
}

/* ---- sync ---- */

static enum dns_pods pods_mode(void)
{
    enum dns_pods mode = DNS_PODS_DISABLED;
    for (int i = 0; O.pods && dns_pods_names[i]; i++)
        if (strcmp(O.pods, dns_pods_names[i]) == 0)
            mode = (enum dns_pods)i;
    return mode;
}

/* Before anything is started: a wrong word must not leave a half-made data directory behind. */
static int check_pods(void)
{
    if (!O.pods || strcmp(O.pods, dns_pods_names[pods_mode()]) == 0)
        return EXIT_OK;
    return complain(EXIT_USAGE, "--pods: %s is not one of disabled, insecure, verified", O.pods);
}

static bool have_api(void)
{
    return O.kubeconfig || getenv("KUBECONFIG") || getenv("KUBERNETES_SERVICE_HOST");
}

static int start_sync(struct daemon *d, bool required)
{
    if (!required && !O.manifests && !have_api()) {
        log_warn("sync", "nothing to publish: neither --manifests nor --kubeconfig is given");
        return EXIT_OK;
    }
    if (O.manifests && O.kubeconfig)
        return complain(EXIT_USAGE, "--manifests and --kubeconfig: one source at a time");
    bool pods = pods_mode() == DNS_PODS_VERIFIED;
    struct sync_options opt = { .root = O.root, .cluster = O.cluster, .pods = pods };
    int rc = sync_open(&d->loop, d->parts.client, &opt, &d->parts.sync);
    if (rc < 0)
        return complain(EXIT_FAILED, "sync: %s", rc_str(rc));
    char *error = NULL;
    if (O.manifests) {
        rc = kube_manifests_open(&d->loop, O.manifests, sync_handler(d->parts.sync), &d->parts.source, &error);
    } else {
        struct kube_api_options api = { .kubeconfig = O.kubeconfig, .context = O.context, .pods = pods };
        rc = kube_api_open(&d->loop, &api, sync_handler(d->parts.sync), &d->parts.source, &error);
    }
    if (rc < 0) {
        complain(0, "%s", error ? error : rc_str(rc));
        free(error);
        return exit_code_of(rc);
    }
    VEC_PUSH(&d->listening, x_asprintf("Services from       %s", kube_source_text(d->parts.source)));
    return EXIT_OK;
}

/* ---- DNS ---- */

static int start_dns(struct daemon *d)
{
    d->parts.table = table_new();
    int rc = table_attach(d->parts.table, d->parts.client, O.root ? O.root : REGISTRY_ROOT_DEFAULT,
                          O.cluster ? O.cluster : REGISTRY_CLUSTER_DEFAULT);
    if (rc < 0)
        return complain(EXIT_USAGE, "--registry-root, --cluster: %s", rc_str(rc));
    struct dns_config cfg = {
        .zones = (const char *const *)O.zones.items,
        .zone_count = O.zones.len,
        .ttl_s = (uint32_t)O.ttl_s,
        .namespaces = (const char *const *)O.namespaces.items,
        .namespace_count = O.namespaces.len,
        .pods = pods_mode(),
        .ignore_empty = O.ignore_empty,
        .forward = (const char *const *)O.forward.items,
        .forward_count = O.forward.len,
    };
    char *error = NULL;
    rc = dns_server_new(&d->loop, &cfg, d->parts.table, &d->parts.dns, &error);
    if (rc < 0) {
        complain(0, "%s", error ? error : rc_str(rc));
        free(error);
        return exit_code_of(rc);
    }
    if (O.dns_listen.len == 0)
        strs_add(&O.dns_listen, DNS_LISTEN_DEFAULT);
    for (size_t i = 0; i < O.dns_listen.len; i++) {
        const char *text = O.dns_listen.items[i];
        struct sockaddr_storage sa;
        socklen_t len;
        int port = 0;
        if (addr_parse(text, &sa, &len) < 0)
            return complain(EXIT_USAGE, "--dns-listen: %s is not ADDR:PORT", text);
        rc = dns_server_listen(d->parts.dns, (struct sockaddr *)&sa, &port);
        if (rc < 0)
            return complain(exit_code_of(rc), "--dns-listen %s: %s", text, rc_str(rc));
        d->parts.dns_port = port;
        char *at = bound_address(text, port);
        VEC_PUSH(&d->listening, x_asprintf("DNS (UDP, TCP)      %s", at));
        free(at);
    }
    return EXIT_OK;
}

/* ---- admin HTTP ---- */

static int start_http(struct daemon *d)
{
    const char *text = O.http_listen ? O.http_listen : HTTP_LISTEN_DEFAULT;
    if (strcmp(text, "off") == 0)
        return EXIT_OK;
    struct sockaddr_storage sa;
    socklen_t len;
    if (addr_parse(text, &sa, &len) < 0)
        return complain(EXIT_USAGE, "--http-listen: %s is not ADDR:PORT", text);
    d->routes = admin_routes(&d->parts);
    int rc = http_server_new(&d->loop, (struct sockaddr *)&sa, len, d->routes, &d->http, &d->http_port);
    if (rc < 0 && !O.http_listen && !O.http_required) {
        /* Several parts on one machine are common, and nobody asked for this port. */
        log_warn("http", "%s: %s; no admin HTTP here, --http-listen names another port", text, rc_str(rc));
        return EXIT_OK;
    }
    if (rc < 0)
        return complain(exit_code_of(rc), "--http-listen %s: %s", text, rc_str(rc));
    char *at = bound_address(text, d->http_port);
    VEC_PUSH(&d->listening, x_asprintf("Admin HTTP          http://%s  (/healthz /readyz /metrics)", at));
    free(at);
    return EXIT_OK;
}

/* ---- life ---- */

static void banner(struct daemon *d, unsigned which)
{
    printf("quoll " QUOLL_VERSION " is running:\n");
    for (size_t i = 0; i < d->listening.len; i++)
        printf("  %s\n", d->listening.items[i]);
    if (which & PART_SERVER && which & PART_DISCOVERY) {
        const char *zone = O.zones.len ? O.zones.items[0] : "cluster.local";
        const char *name = O.manifests ? "my-service.default" : "kubernetes.default";
        int zk_port = server_port(d->parts.server, 0);
        printf("Try:\n");
        printf("  dig @127.0.0.1 -p %d %s.svc.%s +short\n", d->parts.dns_port, name, zone);
        if (zk_port == 2181) {
            printf("  %s resolve %s\n  %s services\n", program_path, name, program_path);
        } else {
            printf("  %s resolve %s --zk 127.0.0.1:%d\n", program_path, name, zk_port);
            printf("  %s services --zk 127.0.0.1:%d\n", program_path, zk_port);
        }
    }
    printf("Ctrl-C stops it.\n");
    fflush(stdout);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct daemon *d = s->data;
    log_info("main", "%s: stopping", number == SIGINT ? "interrupted" : "terminated");
    d->stopping = true;
    uv_stop(&d->loop);
}

static void part_closed(void *data)
{
    ((struct daemon *)data)->closing--;
}

static void wait_closed(struct daemon *d)
{
    while (d->closing > 0)
        uv_run(&d->loop, UV_RUN_ONCE);
}

/* Top of the stack first: each part is closed before what it stands on. */
static void stop_all(struct daemon *d)
{
    struct parts *p = &d->parts;
    if (d->http)
        d->closing++, http_server_close(d->http, part_closed, d);
    if (p->dns)
        d->closing++, dns_server_close(p->dns, part_closed, d);
    if (p->source)
        d->closing++, kube_source_close(p->source, part_closed, d);
    wait_closed(d);
    if (p->sync)
        d->closing++, sync_close(p->sync, part_closed, d);
    wait_closed(d);
    if (p->table) {
        table_detach(p->table);
        table_free(p->table);
    }
    if (p->client)
        d->closing++, quoll_close(p->client, part_closed, d);
    wait_closed(d);
    if (p->server)
        server_stop(p->server);
    uv_close((uv_handle_t *)&d->sigint, NULL);
    uv_close((uv_handle_t *)&d->sigterm, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&d->loop); /* a handle left open costs nothing: the process ends */
    free(d->routes);
    for (size_t i = 0; i < d->listening.len; i++)
        free(d->listening.items[i]);
    VEC_FREE(&d->listening);
}

static int start_all(struct daemon *d, unsigned which)
{
    int code = check_pods();
    if (code == EXIT_OK && which & PART_SERVER)
        code = start_server(d);
    if (code == EXIT_OK && which & (PART_SYNC | PART_DISCOVERY)) {
        if (which & PART_SERVER)
            use_own_server(d);
        code = start_client(d);
    }
    if (code == EXIT_OK && which & PART_SYNC)
        code = start_sync(d, !(which & PART_SERVER));
    if (code == EXIT_OK && which & PART_DISCOVERY)
        code = start_dns(d);
    if (code == EXIT_OK)
        code = start_http(d);
    return code;
}

int daemon_run(unsigned which)
{
    static struct daemon d;
    uv_loop_init(&d.loop);
    d.parts.started_ms = clock_mono_ms();
    uv_signal_init(&d.loop, &d.sigint);
    uv_signal_init(&d.loop, &d.sigterm);
    d.sigint.data = d.sigterm.data = &d;
    uv_signal_start(&d.sigint, on_signal, SIGINT);
    uv_signal_start(&d.sigterm, on_signal, SIGTERM);
    int code = start_all(&d, which);
    if (code == EXIT_OK) {
        banner(&d, which);
        while (!d.stopping)
            uv_run(&d.loop, UV_RUN_DEFAULT);
    }
    stop_all(&d);
    return code;
}
