/* dns_fixture_server.c - the DNS server alone, over a table filled from a file, for tests.
 *
 *   dns_fixture_server REGISTRY.json [--listen ADDR:PORT] [--zone Z]... [--ttl N] [--namespace NS]...
 *                      [--pods disabled|insecure|verified] [--ignore-empty] [--forward IP:PORT]... [--unsynced]
 *
 * REGISTRY.json is one object: path below the cluster's root -> node data. Prints "listening PORT". Then reads
 * "put PATH JSON", "del PATH", "sync" and "stats" lines on standard input and answers each with a line; ends at its end. */
#include <jansson.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/str.h"
#include "dns/dns.h"

#define LIST_MAX 8

struct options {
    const char *registry, *listen;
    const char *zones[LIST_MAX], *namespaces[LIST_MAX], *forward[LIST_MAX];
    bool unsynced;
    struct dns_config cfg;
};

struct input {
    uv_pipe_t pipe;
    struct svc_table *table;
    struct dns_server *server;
    struct wr line;
    char chunk[65536];
};

_Noreturn static void die(const char *what, const char *detail)
{
    fprintf(stderr, "dns_fixture_server: %s: %s\n", what, detail);
    exit(2);
}

static void list_add(const char **list, size_t *count, const char *value)
{
    if (*count == LIST_MAX)
        die("too many of a flag", value);
    list[(*count)++] = value;
}

static enum dns_pods pods_mode(const char *name)
{
    for (int i = 0; dns_pods_names[i]; i++)
        if (strcmp(name, dns_pods_names[i]) == 0)
            return (enum dns_pods)i;
    die("bad mode of Pods", name);
}

static void options_parse(struct options *o, int argc, char **argv)
{
    int64_t n;

    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(a, "--ignore-empty") == 0)
            o->cfg.ignore_empty = true;
        else if (strcmp(a, "--unsynced") == 0)
            o->unsynced = true;
        else if (a[0] != '-')
            o->registry = a;
        else if (i++, strcmp(a, "--listen") == 0)
            o->listen = value;
        else if (strcmp(a, "--pods") == 0)
            o->cfg.pods = pods_mode(value);
        else if (strcmp(a, "--zone") == 0)
            list_add(o->zones, &o->cfg.zone_count, value);
        else if (strcmp(a, "--namespace") == 0)
            list_add(o->namespaces, &o->cfg.namespace_count, value);
        else if (strcmp(a, "--forward") == 0)
            list_add(o->forward, &o->cfg.forward_count, value);
        else if (strcmp(a, "--ttl") == 0 && str_to_i64(value, 0, 3600, &n) == 0)
            o->cfg.ttl_s = (uint32_t)n;
        else
            die("bad flag", a);
    }
    o->cfg.zones = o->zones;
    o->cfg.namespaces = o->namespaces;
    o->cfg.forward = o->forward;
}

static void registry_load(struct svc_table *t, const char *path)
{
    json_error_t err;
    json_t *all = json_load_file(path, 0, &err), *node;
    const char *key;

    if (!json_is_object(all))
        die(path, err.text);
    json_object_foreach (all, key, node) {
        char *data = json_dumps(node, JSON_COMPACT);

        table_put(t, key, data, strlen(data), clock_wall_ms());
        free(data);
    }
    json_decref(all);
    if (table_bad_nodes(t))
        die(path, "holds a node that cannot be decoded");
}

static void stats_print(const struct dns_server *server)
{
    struct dns_stats s;

    dns_server_stats(server, &s);
    printf("udp=%llu tcp=%llu truncated=%llu malformed=%llu forwarded=%llu forward_failed=%llu hits=%llu misses=%llu\n",
           (unsigned long long)s.queries_udp, (unsigned long long)s.queries_tcp, (unsigned long long)s.truncated,
           (unsigned long long)s.malformed, (unsigned long long)s.forwarded, (unsigned long long)s.forward_failed,
           (unsigned long long)s.cache_hits, (unsigned long long)s.cache_misses);
}

static void command(struct input *in, char *line)
{
    char *save, *verb = strtok_r(line, " ", &save), *path = strtok_r(NULL, " ", &save), *data = save;

    if (verb && strcmp(verb, "stats") == 0) {
        stats_print(in->server);
        return;
    }
    if (verb && path && strcmp(verb, "put") == 0)
        table_put(in->table, path, data, strlen(data), clock_wall_ms());
    else if (verb && path && strcmp(verb, "del") == 0)
        table_remove(in->table, path, clock_wall_ms());
    else if (verb && strcmp(verb, "sync") == 0)
        table_set_synced(in->table);
    else
        die("bad command", verb ? verb : "");
    printf("ok\n");
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct input *in = h->data;

    *buf = uv_buf_init(in->chunk, sizeof(in->chunk));
}

static void on_input(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct input *in = h->data;

    if (n < 0) {
        uv_close((uv_handle_t *)h, NULL);
        dns_server_close(in->server, NULL, NULL);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (buf->base[i] != '\n') {
            wr_u8(&in->line, (uint8_t)buf->base[i]);
            continue;
        }
        wr_u8(&in->line, 0);
        command(in, (char *)in->line.p);
        wr_reset(&in->line);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct options o = { .listen = "127.0.0.1:0", .cfg = { .ttl_s = 5 } };
    struct sockaddr_storage addr;
    socklen_t len;
    char *error = NULL;
    static struct input in;
    uv_loop_t loop;
    int port;

    options_parse(&o, argc, argv);
    if (!o.registry || addr_parse(o.listen, &addr, &len) < 0)
        die("usage", "dns_fixture_server REGISTRY.json [flags]");
    uv_loop_init(&loop);
    in.table = table_new();
    registry_load(in.table, o.registry);
    if (!o.unsynced)
        table_set_synced(in.table);
    if (dns_server_new(&loop, &o.cfg, in.table, &in.server, &error) < 0)
        die("configuration", error);
    int rc = dns_server_listen(in.server, (struct sockaddr *)&addr, &port);

    if (rc < 0)
        die(o.listen, rc_str(rc));
    printf("listening %d\n", port);
    fflush(stdout);
    uv_pipe_init(&loop, &in.pipe, 0);
    in.pipe.data = &in;
    if (uv_pipe_open(&in.pipe, 0) < 0)
        die("standard input", "must be a pipe");
    uv_read_start((uv_stream_t *)&in.pipe, on_alloc, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    wr_free(&in.line);
    table_free(in.table);
    return uv_loop_close(&loop) == 0 ? 0 : 3; /* 3: a handle was left open */
}
