/* client_driver.c - libquoll for the integration tests: commands on standard input, one JSON object per line of output.
 *
 * A command is a line of fields separated by tabs: ID OP ARGS... . Data are written as they are ("-" is null), results show
 * data as hex. The end of the input closes the client. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "quoll/quoll.h"

#define FIELDS_MAX 64

static uv_loop_t *loop;
static uv_pipe_t input;
static quoll_client *client;
static quoll_cache *cache;

static void put_string(const char *key, const char *s)
{
    printf(",\"%s\":", key);
    if (!s) {
        printf("null");
        return;
    }
    putchar('"');
    for (; *s; s++)
        if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
            printf("\\u%04x", (unsigned)(unsigned char)*s);
        else
            putchar(*s);
    putchar('"');
}

static void put_hex(const char *key, const void *p, size_t n)
{
    printf(",\"%s\":", key);
    if (!p) {
        printf("null");
        return;
    }
    putchar('"');
    for (size_t i = 0; i < n; i++)
        printf("%02x", ((const unsigned char *)p)[i]);
    putchar('"');
}

static void put_stat(const struct quoll_stat *s)
{
    printf(",\"stat\":{\"czxid\":%" PRId64 ",\"mzxid\":%" PRId64 ",\"pzxid\":%" PRId64 ",\"ctime\":%" PRId64
           ",\"mtime\":%" PRId64 ",\"version\":%d,\"cversion\":%d,\"aversion\":%d,\"owner\":%" PRId64
           ",\"data_length\":%d,\"num_children\":%d}",
           s->czxid, s->mzxid, s->pzxid, s->ctime, s->mtime, s->version, s->cversion, s->aversion, s->ephemeral_owner,
           s->data_length, s->num_children);
}

static void put_result(const struct quoll_result *res)
{
    printf("\"err\":%d,\"zxid\":%" PRId64 ",\"count\":%d", res->err, res->zxid, res->count);
    if (res->path)
        put_string("path", res->path);
    put_hex("data", res->data, res->data_len);
    if (res->stat)
        put_stat(res->stat);
    if (res->children || res->child_count == 0) {
        printf(",\"children\":[\"\"");
        for (size_t i = 0; i < res->child_count; i++)
            printf(",\"%s\"", res->children[i]);
        printf("]");
    }
    if (res->acls) {
        printf(",\"acls\":[");
        for (size_t i = 0; i < res->acl_count; i++)
            printf("%s[%d,\"%s\",\"%s\"]", i ? "," : "", res->acls[i].perms, res->acls[i].scheme, res->acls[i].id);
        printf("]");
    }
    if (res->results) {
        printf(",\"results\":[");
        for (size_t i = 0; i < res->result_count; i++) {
            printf("%s{", i ? "," : "");
            put_result(&res->results[i]);
            printf("}");
        }
        printf("]");
    }
}

static void end_line(void)
{
    printf("}\n");
    fflush(stdout);
}

static void on_done(quoll_client *c, const struct quoll_result *res, void *data)
{
    printf("{\"kind\":\"result\",\"id\":\"%s\",", (const char *)data);
    put_result(res);
    end_line();
    free(data);
}

static void on_watch(quoll_client *c, const struct quoll_event *ev, void *data)
{
    printf("{\"kind\":\"event\",\"watch\":\"%s\",\"type\":%d,\"state\":%d,\"zxid\":%" PRId64, (const char *)data,
           (int)ev->type, (int)ev->state, ev->zxid);
    put_string("path", ev->path);
    end_line();
}

static void on_state(quoll_client *c, enum quoll_state state, void *data)
{
    printf("{\"kind\":\"state\",\"state\":%d,\"session\":\"%" PRIx64 "\",\"timeout\":%d", (int)state, quoll_session_id(c),
           quoll_session_timeout_ms(c));
    put_string("server", quoll_server(c));
    end_line();
}

static void on_log(quoll_client *c, const char *text, void *data)
{
    printf("{\"kind\":\"log\"");
    put_string("text", text);
    end_line();
}

static void on_change(quoll_cache *k, enum quoll_cache_change change, const struct quoll_cache_node *n, void *data)
{
    static const char *const names[] = { "added", "changed", "removed" };
    printf("{\"kind\":\"cache\",\"change\":\"%s\"", names[change]);
    put_string("path", n->path);
    put_hex("data", n->data, n->data_len);
    put_stat(&n->stat);
    end_line();
}

static void on_synced(quoll_cache *k, void *data)
{
    printf("{\"kind\":\"cache\",\"change\":\"synced\",\"stale_ms\":%" PRId64, quoll_cache_stale_ms(k));
    end_line();
}

static void on_stale(quoll_cache *k, void *data)
{
    printf("{\"kind\":\"cache\",\"change\":\"stale\"");
    end_line();
}

static void on_closed(void *data)
{
    printf("{\"kind\":\"closed\"");
    end_line();
}

static void finish(bool detach)
{
    quoll_cache_close(cache);
    cache = NULL;
    if (client)
        (detach ? quoll_detach : quoll_close)(client, on_closed, NULL);
    client = NULL;
    if (!uv_is_closing((uv_handle_t *)&input))
        uv_close((uv_handle_t *)&input, NULL);
}

/* Names of watches: they live as long as the watches may, which is to say the process. */
static char *keep(const char *name)
{
    static char *kept[4096];
    static size_t count;
    if (count == sizeof(kept) / sizeof(kept[0]))
        abort();
    return kept[count++] = strdup(name);
}

static const void *value_of(const char *field, size_t *len)
{
    bool null = strcmp(field, "-") == 0;
    *len = null ? 0 : strlen(field);
    return null ? NULL : field;
}

static int do_open(char **f, int n)
{
    struct quoll_options opt = { .servers = f[2], .loop = loop, .on_state = on_state, .on_log = on_log };
    for (int i = 3; i < n; i++) {
        if (strncmp(f[i], "timeout=", 8) == 0)
            opt.session_timeout_ms = atoi(f[i] + 8);
        else if (strncmp(f[i], "deadline=", 9) == 0)
            opt.operation_timeout_ms = atoi(f[i] + 9);
        else if (strncmp(f[i], "max_buffer=", 11) == 0)
            opt.max_buffer = (uint32_t)atoi(f[i] + 11);
        else if (strcmp(f[i], "read_only") == 0)
            opt.read_only = true;
        else if (strcmp(f[i], "no_new_session") == 0)
            opt.no_new_session = true;
        else if (strcmp(f[i], "no_shuffle") == 0)
            opt.no_shuffle = true;
    }
    char *error = NULL;
    int err = quoll_open(&opt, &client, &error);
    free(error);
    return err;
}

/* Steps of a multi: create|PATH|VALUE|MODE, delete|PATH|VERSION, set|PATH|VALUE|VERSION, check|PATH|VERSION, get|PATH,
 * children|PATH. */
static int do_multi(char **f, int n, char *id)
{
    struct quoll_op ops[FIELDS_MAX] = { 0 };
    bool reads = strcmp(f[1], "multi_read") == 0;
    for (int i = 2; i < n; i++) {
        struct quoll_op *op = &ops[i - 2];
        char *save, *kind = strtok_r(f[i], "|", &save);
        op->path = strtok_r(NULL, "|", &save);
        static const char *const kinds[] = { "create", "delete", "set", "check", "get", "children" };
        for (int k = 0; k < 6; k++)
            if (strcmp(kinds[k], kind) == 0)
                op->type = (enum quoll_op_type)k;
        if (op->type == QUOLL_OP_CREATE || op->type == QUOLL_OP_SET)
            op->value = value_of(strtok_r(NULL, "|", &save), &op->len);
        char *number = strtok_r(NULL, "|", &save);
        if (op->type == QUOLL_OP_CREATE)
            op->mode = (enum quoll_create_mode)(number ? atoi(number) : 0);
        else
            op->version = number ? atoi(number) : -1;
    }
    return (reads ? quoll_multi_read : quoll_multi)(client, ops, (size_t)(n - 2), on_done, id);
}

/* "perms,scheme,id" fields from f[at] on. */
static size_t acls_of(char **f, int n, int at, struct quoll_acl *out)
{
    size_t count = 0;
    for (int i = at; i < n; i++, count++) {
        char *save;
        out[count].perms = atoi(strtok_r(f[i], ",", &save));
        out[count].scheme = strtok_r(NULL, ",", &save);
        out[count].id = strtok_r(NULL, "", &save);
        if (!out[count].id)
            out[count].id = "";
    }
    return count;
}

static int open_cache(const char *root)
{
    static const struct quoll_cache_handler h = { .on_change = on_change, .on_synced = on_synced, .on_stale = on_stale };
    return quoll_cache_open(client, root, &h, &cache);
}

static int run(char **f, int n, char *id)
{
    const char *op = f[1];
    struct quoll_acl acls[FIELDS_MAX];
    size_t len = 0;
    const void *value = n > 3 ? value_of(f[3], &len) : NULL;
    quoll_watch_fn watch = n > 3 && *f[3] ? on_watch : NULL;
    char *tag = watch && (strcmp(op, "get") == 0 || strcmp(op, "exists") == 0 || strcmp(op, "children") == 0)
                    ? keep(f[3])
                    : NULL;
    if (strcmp(op, "create") == 0) {
        size_t count = acls_of(f, n, 6, acls);
        return quoll_create(client, f[2], value, len, count ? acls : NULL, count, (enum quoll_create_mode)atoi(f[4]),
                            atoll(f[5]), on_done, id);
    }
    if (strcmp(op, "delete") == 0)
        return quoll_delete(client, f[2], atoi(f[3]), on_done, id);
    if (strcmp(op, "exists") == 0)
        return quoll_exists(client, f[2], watch, tag, on_done, id);
    if (strcmp(op, "get") == 0)
        return quoll_get(client, f[2], watch, tag, on_done, id);
    if (strcmp(op, "children") == 0)
        return quoll_get_children(client, f[2], watch, tag, on_done, id);
    if (strcmp(op, "set") == 0)
        return quoll_set(client, f[2], value, len, atoi(f[4]), on_done, id);
    if (strcmp(op, "get_acl") == 0)
        return quoll_get_acl(client, f[2], on_done, id);
    if (strcmp(op, "set_acl") == 0) {
        size_t count = acls_of(f, n, 4, acls);
        return quoll_set_acl(client, f[2], acls, count, atoi(f[3]), on_done, id);
    }
    if (strcmp(op, "sync") == 0)
        return quoll_sync(client, f[2], on_done, id);
    if (strcmp(op, "ephemerals") == 0)
        return quoll_get_ephemerals(client, f[2], on_done, id);
    if (strcmp(op, "count") == 0)
        return quoll_get_all_children_number(client, f[2], on_done, id);
    if (strcmp(op, "whoami") == 0)
        return quoll_who_am_i(client, on_done, id);
    if (strcmp(op, "auth") == 0)
        return quoll_add_auth(client, f[2], f[3], strlen(f[3]), on_done, id);
    if (strcmp(op, "add_watch") == 0)
        return quoll_add_watch(client, f[2], strcmp(f[4], "recursive") == 0, on_watch, keep(f[3]), on_done, id);
    if (strcmp(op, "remove_watches") == 0)
        return quoll_remove_watches(client, f[2], (enum quoll_watcher_kind)atoi(f[3]), NULL, NULL, on_done, id);
    if (strcmp(op, "check_watches") == 0)
        return quoll_check_watches(client, f[2], (enum quoll_watcher_kind)atoi(f[3]), on_done, id);
    if (strcmp(op, "multi") == 0 || strcmp(op, "multi_read") == 0)
        return do_multi(f, n, id);
    fprintf(stderr, "client_driver: no operation %s\n", op);
    exit(2);
}

static void command(char *line)
{
    char *f[FIELDS_MAX];
    int n = 0;
    while (n < FIELDS_MAX && (f[n] = strsep(&line, "\t")) != NULL)
        n++;
    int err = 0;
    if (strcmp(f[1], "open") == 0) {
        err = do_open(f, n);
    } else if (strcmp(f[1], "close") == 0 || strcmp(f[1], "detach") == 0) {
        finish(strcmp(f[1], "detach") == 0);
        return;
    } else if (strcmp(f[1], "cache") == 0) {
        err = open_cache(f[2]);
    } else if (strcmp(f[1], "cache_close") == 0) {
        quoll_cache_close(cache);
        cache = NULL;
    } else if (strcmp(f[1], "stale") == 0) {
        printf("{\"kind\":\"called\",\"id\":\"%s\",\"err\":0,\"stale_ms\":%" PRId64, f[0], quoll_cache_stale_ms(cache));
        end_line();
        return;
    } else {
        char *id = strdup(f[0]);
        err = run(f, n, id);
        if (err == 0)
            return;
        free(id);
    }
    printf("{\"kind\":\"called\",\"id\":\"%s\",\"err\":%d", f[0], err);
    end_line();
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *ret)
{
    *ret = uv_buf_init(malloc(n), (unsigned)n);
}

static void on_input(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    static char *text;
    static size_t len;
    if (n > 0) {
        text = realloc(text, len + (size_t)n + 1);
        memcpy(text + len, b->base, (size_t)n);
        len += (size_t)n;
        char *start = text, *end;
        while ((end = memchr(start, '\n', len - (size_t)(start - text))) != NULL) {
            *end = 0;
            command(start);
            start = end + 1;
        }
        len -= (size_t)(start - text);
        memmove(text, start, len);
    }
    free(b->base);
    if (n < 0) {
        free(text);
        text = NULL;
        finish(false);
    }
}

int main(void)
{
    loop = uv_default_loop();
    uv_pipe_init(loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(loop, UV_RUN_DEFAULT);
    return uv_loop_close(loop) == 0 ? 0 : 1;
}
