/* zk.c - one-shot use of a ZooKeeper ensemble. */
#include "zk.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "jute/proto.h"

#define VALUE_MAX (64u << 20)

struct strs zk_servers_flag;
int64_t zk_timeout_ms = 10000;
static struct strs auth_flag;

const struct flag wait_flags[] = {
    { "timeout", 0, FLAG_INT, "MS", "give up after this many milliseconds (default: 10000)", &zk_timeout_ms, 1, 3600000 },
    { 0 },
};

const struct flag zk_flags[] = {
    { "zk", 0, FLAG_LIST, "CONNECT_STRING",
      "ZooKeeper servers: host:port[,host:port...][/chroot], Quoll or Apache (default: 127.0.0.1:2181)", &zk_servers_flag, 0, 0 },
    { "auth", 0, FLAG_LIST, "SCHEME:CREDENTIALS",
      "add an identity, e.g. digest:user:password; rather through QUOLL_AUTH, which others cannot see", &auth_flag, 0, 0 },
    { 0 },
};

const char *zk_connect_string(void)
{
    static struct wr text;
    wr_reset(&text);
    for (size_t i = 0; i < zk_servers_flag.len; i++)
        wr_printf(&text, "%s%s", i ? "," : "", zk_servers_flag.items[i]);
    if (zk_servers_flag.len == 0)
        wr_text(&text, "127.0.0.1:2181");
    return wr_cstr(&text);
}

void answer_free(struct answer *a)
{
    free(a->path);
    free(a->data);
    for (size_t i = 0; i < a->children.len; i++)
        free(a->children.items[i]);
    VEC_FREE(&a->children);
    *a = (struct answer){ 0 };
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void zk_answer(quoll_client *c, const struct quoll_result *res, void *data)
{
    (void)c;
    struct answer *a = data;
    a->done = true;
    a->err = res->err;
    a->path = x_strdup(res->path);
    if (res->data) {
        a->has_data = true;
        a->data = x_memdup(res->data, res->data_len);
        a->data_len = res->data_len;
    }
    if (res->stat) {
        a->has_stat = true;
        a->stat = *res->stat;
    }
    for (size_t i = 0; i < res->child_count; i++)
        strs_add(&a->children, res->children[i]);
    if (a->children.len)
        qsort(a->children.items, a->children.len, sizeof(char *), compare_text);
}

static void on_deadline(uv_timer_t *t)
{
    ((struct zk *)t->data)->expired = true;
}

static void on_trouble(quoll_client *c, const char *text, void *data)
{
    (void)c;
    struct zk *z = data;
    snprintf(z->last_problem, sizeof(z->last_problem), "%s", text);
    log_debug("client", "%s", text);
}

int zk_add_auth(quoll_client *client, struct zk *z)
{
    for (size_t i = 0; i < auth_flag.len; i++) {
        const char *text = auth_flag.items[i], *colon = strchr(text, ':');
        if (!colon)
            return complain(EXIT_USAGE, "--auth: SCHEME:CREDENTIALS is expected, e.g. digest:user:password");
        char *scheme = x_strndup(text, (size_t)(colon - text));
        struct answer a = { 0 };
        int rc = quoll_add_auth(client, scheme, colon + 1, strlen(colon + 1), z ? zk_answer : NULL, z ? &a : NULL);
        free(scheme);
        if (z)
            rc = zk_wait(z, rc, &a);
        answer_free(&a);
        if (rc != 0)
            return complain(EXIT_FAILED, "--auth: %s", quoll_strerror(rc));
    }
    return EXIT_OK;
}

int zk_open(struct zk *z)
{
    *z = (struct zk){ 0 };
    uv_loop_init(&z->loop);
    uv_timer_init(&z->loop, &z->deadline);
    z->deadline.data = z;
    uv_timer_start(&z->deadline, on_deadline, (uint64_t)zk_timeout_ms, 0);
    struct quoll_options opt = { .servers = zk_connect_string(), .loop = &z->loop, .on_log = on_trouble, .data = z };
    char *error = NULL;
    int rc = quoll_open(&opt, &z->client, &error);
    if (rc != 0) {
        complain(0, "--zk: %s", error ? error : quoll_strerror(rc));
        free(error);
        zk_close(z);
        return EXIT_USAGE;
    }
    enum quoll_state s;
    while ((s = quoll_client_state(z->client)) == QUOLL_STATE_CONNECTING && !z->expired)
        uv_run(&z->loop, UV_RUN_ONCE);
    int code = EXIT_OK;
    if (s != QUOLL_STATE_CONNECTED && s != QUOLL_STATE_READ_ONLY)
        code = complain(EXIT_UNREACHABLE, "no ZooKeeper server answered at %s within %.1f s%s%s; is it running? --zk names another",
                        opt.servers, (double)zk_timeout_ms / 1000, *z->last_problem ? ": " : "", z->last_problem);
    else
        code = zk_add_auth(z->client, z);
    if (code != EXIT_OK)
        zk_close(z);
    return code;
}

static void on_closed(void *data)
{
    ((struct zk *)data)->closed = true;
}

void zk_close(struct zk *z)
{
    if (z->client) {
        quoll_close(z->client, on_closed, z);
        while (!z->closed)
            uv_run(&z->loop, UV_RUN_ONCE);
        z->client = NULL;
    }
    uv_close((uv_handle_t *)&z->deadline, NULL);
    uv_run(&z->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&z->loop); /* the process ends next */
}

int zk_wait(struct zk *z, int rc, struct answer *a)
{
    if (rc != 0)
        return rc;
    while (!a->done && !z->expired)
        uv_run(&z->loop, UV_RUN_ONCE);
    if (a->done)
        return a->err;
    /* The answer may still come: drain the client so that nothing points at *a any more. */
    quoll_close(z->client, on_closed, z);
    while (!z->closed)
        uv_run(&z->loop, UV_RUN_ONCE);
    z->client = NULL;
    return QUOLL_OPERATION_TIMEOUT;
}

int zk_complain(const struct zk *z, int err, const char *path)
{
    switch (err) {
    case QUOLL_OK:
        return EXIT_OK;
    case QUOLL_NO_NODE:
        return complain(EXIT_NOT_FOUND, "%s: no such znode", path);
    case QUOLL_NODE_EXISTS:
        return complain(EXIT_FAILED, "%s: exists already; 'quoll set' changes it", path);
    case QUOLL_NOT_EMPTY:
        return complain(EXIT_FAILED, "%s: has children; --recursive removes them too", path);
    case QUOLL_BAD_VERSION:
        return complain(EXIT_FAILED, "%s: has another version by now; 'quoll stat' shows it", path);
    case QUOLL_NO_AUTH:
        return complain(EXIT_FAILED, "%s: its ACL does not allow this; --auth adds an identity", path);
    case QUOLL_OPERATION_TIMEOUT:
    case QUOLL_CONNECTION_LOSS:
        return complain(EXIT_UNREACHABLE, "%s: %s%s%s", path, quoll_strerror(err), *z->last_problem ? ": " : "",
                        z->last_problem);
    default:
        return complain(EXIT_FAILED, "%s: %s", path, quoll_strerror(err));
    }
}

int zk_check_path(const char *path)
{
    const char *problem = zk_path_problem(path, (int32_t)strnlen(path, 1u << 20));
    return problem ? complain(EXIT_USAGE, "%s: %s", path, problem) : EXIT_OK;
}

static json_t *hex_json(int64_t v)
{
    return json_sprintf("0x%llx", (unsigned long long)v);
}

json_t *zk_stat_json(const struct quoll_stat *s)
{
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:i, s:i, s:i, s:o, s:i, s:i}", "czxid", hex_json(s->czxid), "mzxid",
                     hex_json(s->mzxid), "pzxid", hex_json(s->pzxid), "ctime", (json_int_t)s->ctime, "mtime",
                     (json_int_t)s->mtime, "version", s->version, "cversion", s->cversion, "aversion", s->aversion,
                     "ephemeralOwner", hex_json(s->ephemeral_owner), "dataLength", s->data_length, "numChildren",
                     s->num_children);
}

void zk_stat_print(const struct quoll_stat *s)
{
    char ctime[21], mtime[21];
    clock_rfc3339(s->ctime, ctime);
    clock_rfc3339(s->mtime, mtime);
    printf("cZxid = 0x%llx\nctime = %s\nmZxid = 0x%llx\nmtime = %s\npZxid = 0x%llx\ncversion = %d\ndataVersion = %d\n"
           "aclVersion = %d\nephemeralOwner = 0x%llx\ndataLength = %d\nnumChildren = %d\n",
           (unsigned long long)s->czxid, ctime, (unsigned long long)s->mzxid, mtime, (unsigned long long)s->pzxid, s->cversion,
           s->version, s->aversion, (unsigned long long)s->ephemeral_owner, s->data_length, s->num_children);
}

json_t *zk_data_json(const struct answer *a)
{
    if (!a->has_data)
        return json_null();
    json_t *text = json_stringn((const char *)a->data, a->data_len); /* NULL unless UTF-8 */
    if (text && memchr(a->data, 0, a->data_len) == NULL)
        return text;
    json_decref(text);
    char *b64 = base64_encode(a->data, a->data_len);
    json_t *j = json_pack("{s:s}", "base64", b64);
    free(b64);
    return j;
}

int zk_value(const char *arg, uint8_t **ret, size_t *ret_len)
{
    const char *path = strcmp(arg, "-") == 0 ? "/dev/stdin" : arg[0] == '@' ? arg + 1 : NULL;
    if (!path) {
        *ret = x_memdup(arg, strlen(arg));
        *ret_len = strlen(arg);
        return EXIT_OK;
    }
    int rc = file_read(path, VALUE_MAX, ret, ret_len);
    if (rc < 0)
        return complain(EXIT_ACCESS, "%s: %s", path, rc == RC_TOOBIG ? rc_str(rc) : strerror(errno));
    return EXIT_OK;
}

void print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(j);
}
