/* sync_driver.c - the writer and the service table under the command of a test: JSON lines in, JSON lines out.
 *
 *   sync_driver CONNECT_STRING CLUSTER [pods]
 *
 *   {"do": "upsert", "kind": "Service", "object": {...}}      {"do": "delete", "kind": ..., "ns": ..., "name": ...}
 *   {"do": "synced", "kind": ...}                              no answer
 *   {"do": "stats"}     answers with the writer's figures
 *   {"do": "services"}  answers with what a reader on the same connection sees, its state, and how often it was told of changes
 *   the end of the input closes everything */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "discovery/resolve.h"
#include "sync/sync.h"

static uv_loop_t loop;
static uv_pipe_t input;
static quoll_client *client;
static struct sync *writer;
static struct svc_table *table;
static struct table_listener listener;
static struct wr line;
static json_int_t notified;
static json_t *problems;

static void answer(json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(o);
}

static enum kube_kind kind_of(json_t *cmd)
{
    const char *name = json_string_value(json_object_get(cmd, "kind"));
    for (int k = 0; k < KUBE_KIND_COUNT; k++) {
        if (name && strcmp(name, kube_kind_name(k)) == 0)
            return k;
    }
    log_error("driver", "which kind?");
    exit(2);
}

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void upsert(json_t *cmd)
{
    const struct kube_handler *h = sync_handler(writer);
    json_t *obj = json_object_get(cmd, "object"), *meta = json_object_get(obj, "metadata");
    struct kube_object o = { .kind = kind_of(cmd), .ns = text_of(meta, "namespace"), .name = text_of(meta, "name"), .uid = "",
                             .resource_version = "", .json = obj };
    h->on_upsert(h->data, &o);
}

static void stats(void)
{
    struct sync_stats s;
    sync_stats(writer, &s);
    answer(json_pack("{s:b s:b s:b s:I s:I s:I s:I s:I s:I s:I s:I s:I s:I s:O}", "leading", s.leading, "kinds_synced", s.kinds_synced,
                     "in_step", s.in_step, "epoch", (json_int_t)s.epoch, "services", (json_int_t)s.wanted_services, "slices",
                     (json_int_t)s.wanted_slices, "namespaces", (json_int_t)s.wanted_namespaces, "pods", (json_int_t)s.wanted_pods, "writes",
                     (json_int_t)s.writes, "errors", (json_int_t)s.write_errors, "skipped", (json_int_t)s.skipped_objects,
                     "batches", (json_int_t)s.batches, "max_lag_ms", (json_int_t)s.max_lag_ms, "problems", problems));
}

static void services(void)
{
    struct wr out = wr_init(0);
    services_format(table, NULL, LIST_JSON, &out);
    json_t *list = json_loadb((const char *)out.p, out.n, 0, NULL);
    wr_free(&out);
    answer(json_pack("{s:o s:b s:b s:I s:I}", "services", list, "synced", table_synced(table), "stale", table_stale_ms(table) != 0,
                     "notified", notified, "generation", (json_int_t)table_generation(table)));
}

static void run_line(const char *text, size_t len)
{
    const struct kube_handler *h = sync_handler(writer);
    json_error_t err;
    json_t *cmd = json_loadb(text, len, 0, &err);
    const char *verb = text_of(cmd, "do");

    if (strcmp(verb, "upsert") == 0)
        upsert(cmd);
    else if (strcmp(verb, "delete") == 0)
        h->on_delete(h->data, kind_of(cmd), text_of(cmd, "ns"), text_of(cmd, "name"));
    else if (strcmp(verb, "synced") == 0)
        h->on_synced(h->data, kind_of(cmd));
    else if (strcmp(verb, "stats") == 0)
        stats();
    else if (strcmp(verb, "services") == 0)
        services();
    else
        log_error("driver", "what? %.*s", (int)MIN(len, (size_t)200), text);
    json_decref(cmd);
}

static void on_writer_closed(void *data)
{
    table_detach(table);
    table_unlisten(table, &listener);
    table_free(table);
    quoll_close(client, NULL, NULL);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    static char space[65536];
    *buf = uv_buf_init(space, sizeof(space));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    if (n < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        sync_close(writer, on_writer_closed, NULL);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (buf->base[i] != '\n') {
            wr_u8(&line, (uint8_t)buf->base[i]);
            continue;
        }
        run_line((const char *)line.p, line.n);
        wr_reset(&line);
    }
}

static void on_problem(void *data, const char *text)
{
    json_array_append_new(problems, json_string(text));
    log_warn("driver", "%s", text);
}

static void on_change(struct svc_table *t, void *data)
{
    notified++;
}

int main(int argc, char **argv)
{
    char *error = NULL;

    if (argc != 3 && (argc != 4 || strcmp(argv[3], "pods") != 0)) {
        fprintf(stderr, "usage: sync_driver CONNECT_STRING CLUSTER [pods]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    problems = json_array();
    struct quoll_options opt = { .servers = argv[1], .loop = &loop, .session_timeout_ms = 4000 };
    if (quoll_open(&opt, &client, &error) != 0) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    struct sync_options so = { .cluster = argv[2], .on_problem = on_problem, .pods = argc == 4 };
    if (sync_open(&loop, client, &so, &writer) != 0)
        return 2;
    table = table_new();
    listener = (struct table_listener){ on_change, NULL, NULL };
    table_listen(table, &listener);
    if (table_attach(table, client, REGISTRY_ROOT_DEFAULT, argv[2]) != 0)
        return 2;
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop);
    wr_free(&line);
    json_decref(problems);
    return rc == 0 ? 0 : 3;
}
