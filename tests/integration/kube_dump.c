/* kube_dump - opens a source of Kubernetes objects and prints every callback as one JSON line on stdout.
 *
 * Usage: kube_dump manifests PATH
 *        kube_dump api [KEY=VALUE]...   keys: kubeconfig context ns page_limit backoff_min_ms backoff_max_ms
 *                                       watch_timeout_min_s watch_grace_ms seed serviceaccount_dir pods (0, 1)
 * A line on stdin: "stats" prints the figures, "quit" (or the end of input) closes the source and ends. */
#include <stdio.h>

#include "base/str.h"
#include "kube/kube.h"

static struct kube_source *source;
static uv_pipe_t input;
static char command[64];
static size_t command_len;

static void print(json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_SORT_KEYS);
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(line);
}

static void on_upsert(void *data, const struct kube_object *o)
{
    print(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "call", "upsert", "kind", kube_kind_name(o->kind), "ns",
                    o->ns, "name", o->name, "uid", o->uid, "rv", o->resource_version, "object", o->json));
}

static void on_delete(void *data, enum kube_kind kind, const char *ns, const char *name)
{
    print(json_pack("{s:s, s:s, s:s, s:s}", "call", "delete", "kind", kube_kind_name(kind), "ns", ns, "name", name));
}

static void on_synced(void *data, enum kube_kind kind)
{
    print(json_pack("{s:s, s:s}", "call", "synced", "kind", kube_kind_name(kind)));
}

static void on_problem(void *data, const char *text)
{
    print(json_pack("{s:s, s:s}", "call", "problem", "text", text));
}

static void print_stats(void)
{
    struct kube_stats s;
    kube_source_stats(source, &s);
    print(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[b, b, b, b]}", "call", "stats", "lists",
                    (json_int_t)s.lists, "watches", (json_int_t)s.watches, "events", (json_int_t)s.events, "errors",
                    (json_int_t)s.errors, "relists_gone", (json_int_t)s.relists_gone, "unauthorized",
                    (json_int_t)s.unauthorized, "last_contact_ms", (json_int_t)s.last_contact_ms, "synced",
                    s.synced[0], s.synced[1], s.synced[2], s.synced[3]));
}

static void on_closed(void *data)
{
    print(json_pack("{s:s}", "call", "closed"));
}

static void quit(void)
{
    if (uv_is_closing((uv_handle_t *)&input))
        return;
    uv_close((uv_handle_t *)&input, NULL);
    kube_source_close(source, on_closed, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    *buf = uv_buf_init(command + command_len, (unsigned)(sizeof command - 1 - command_len));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    char *end;

    command_len += n > 0 ? (size_t)n : 0;
    command[command_len] = '\0';
    while ((end = strchr(command, '\n')) != NULL) {
        *end = '\0';
        bool stats = strcmp(command, "stats") == 0, stop = strcmp(command, "quit") == 0;
        command_len -= (size_t)(end + 1 - command);
        memmove(command, end + 1, command_len + 1);
        if (stats)
            print_stats();
        if (stop)
            quit();
    }
    if (n < 0)
        quit();
}

static bool set_option(struct kube_api_options *o, const char *arg)
{
    const struct {
        const char *key;
        const char **text;
        uint32_t *number;
    } keys[] = {
        { "kubeconfig", &o->kubeconfig, NULL },
        { "context", &o->context, NULL },
        { "ns", &o->ns, NULL },
        { "serviceaccount_dir", &o->serviceaccount_dir, NULL },
        { "page_limit", NULL, &o->page_limit },
        { "backoff_min_ms", NULL, &o->backoff_min_ms },
        { "backoff_max_ms", NULL, &o->backoff_max_ms },
        { "watch_timeout_min_s", NULL, &o->watch_timeout_min_s },
        { "watch_grace_ms", NULL, &o->watch_grace_ms },
    };
    const char *value = strchr(arg, '=');
    int64_t number = 0;

    if (strcmp(arg, "pods=1") == 0 || strcmp(arg, "pods=0") == 0) {
        o->pods = value[1] == '1';
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys) && value; i++) {
        if (strlen(keys[i].key) != (size_t)(value - arg) || strncmp(keys[i].key, arg, (size_t)(value - arg)) != 0)
            continue;
        if (keys[i].text)
            *keys[i].text = value + 1;
        else if (str_to_i64(value + 1, 0, UINT32_MAX, &number) == 0)
            *keys[i].number = (uint32_t)number;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    const struct kube_handler h = { NULL, on_upsert, on_delete, on_synced, on_problem };
    struct kube_api_options o = { .seed = 1 };
    uv_loop_t *loop = uv_default_loop();
    char *error = NULL;
    int rc = RC_INVAL;

    for (int i = 2; i < argc && strcmp(argv[1], "api") == 0; i++) {
        if (!set_option(&o, argv[i])) {
            fprintf(stderr, "kube_dump: %s: unknown option\n", argv[i]);
            return 2;
        }
    }
    if (argc == 3 && strcmp(argv[1], "manifests") == 0)
        rc = kube_manifests_open(loop, argv[2], &h, &source, &error);
    else if (argc >= 2 && strcmp(argv[1], "api") == 0)
        rc = kube_api_open(loop, &o, &h, &source, &error);
    if (rc) {
        fprintf(stderr, "kube_dump: %s\n", error ? error : "usage: kube_dump manifests PATH | api [KEY=VALUE]...");
        free(error);
        return 1;
    }
    print(json_pack("{s:s, s:s}", "call", "open", "text", kube_source_text(source)));
    uv_pipe_init(loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return 0;
}
