/* credentials.c - see credentials.h. */
#include "credentials.h"

#include <signal.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/str.h"

extern char **environ;

#define TOKEN_FILE_MS (60 * 1000)
#define TOKEN_FILE_MAX (1u << 20)
#define EXEC_TIMEOUT_MS (60 * 1000)
#define EXEC_OUTPUT_MAX ((size_t)1 << 20)
#define EXPIRY_LEEWAY_MS (10 * 1000)

struct kube_cred {
    uv_loop_t *loop;
    struct kube_config *config;
    uint64_t generation;
    char *token; /* from the file or the plugin */
    int64_t token_read_ms; /* monotonic; 0: never */
    struct kube_pem cert, key; /* from the plugin */
    int64_t expiry_ms; /* wall clock */
    bool have_exec, stale;
    struct list waiters;
    /* The running plugin. */
    uv_process_t process;
    uv_pipe_t out;
    uv_timer_t timer;
    uv_timer_t anchor; /* never runs; its closing is what ends a kube_cred from the loop */
    struct wr output;
    bool running, exited, timed_out, closing;
    int64_t exit_status;
    int term_signal;
    size_t open_handles; /* of the run */
    char *last_error;
    void (*closed)(void *data);
    void *closed_data;
};

struct kube_cred *kube_cred_new(uv_loop_t *loop, struct kube_config *config)
{
    struct kube_cred *c = x_calloc(1, sizeof *c);
    c->loop = loop;
    c->config = config;
    c->generation = 1;
    c->output = wr_init(EXEC_OUTPUT_MAX);
    list_init(&c->waiters);
    uv_timer_init(loop, &c->anchor);
    c->anchor.data = c;
    return c;
}

uint64_t kube_cred_generation(const struct kube_cred *c)
{
    return c->generation;
}

/* ---- files ---- */

static bool token_usable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 127)
            return false;
    return true;
}

/* The last good token stands when the file cannot be read for the moment. */
static void read_token_file(struct kube_cred *c)
{
    uint8_t *p;
    size_t n;

    c->token_read_ms = 0; /* a failure is tried again with the next request */
    if (file_read(c->config->token_file, TOKEN_FILE_MAX, &p, &n))
        return;
    while (n > 0 && strchr(" \t\r\n", p[n - 1]))
        p[--n] = '\0';
    bool usable = n > 0 && strlen((char *)p) == n && token_usable((char *)p);
    if (usable)
        c->token_read_ms = clock_mono_ms();
    if (!usable || (c->token && strcmp(c->token, (char *)p) == 0)) {
        kube_wipe((char *)p);
        return;
    }
    kube_wipe(c->token);
    c->token = (char *)p;
    c->generation++;
}

/* Certificates are files that something may rotate; the CA too. */
static void reload_files(struct kube_cred *c)
{
    (void)kube_pem_reload(&c->config->ca); /* on failure what was read before stands */
    (void)kube_pem_reload(&c->config->cert);
    (void)kube_pem_reload(&c->config->key);
    c->token_read_ms = 0;
}

/* ---- the plugin ---- */

static void wake_waiters(struct kube_cred *c, const char *error)
{
    struct list ready;

    list_init(&ready);
    while (!list_empty(&c->waiters)) { /* a waiter that comes back at once must not be served twice */
        struct list *it = c->waiters.next;
        list_remove(it);
        list_push_back(&ready, it);
    }
    while (!list_empty(&ready)) {
        struct kube_cred_waiter *w = CONTAINER_OF(ready.next, struct kube_cred_waiter, link);
        list_remove(&w->link);
        w->ready(w->data, error);
    }
}

static void take_output(struct kube_cred *c, struct exec_credential *x)
{
    kube_wipe(c->token);
    c->token = x->token;
    kube_wipe((char *)c->cert.p);
    kube_wipe((char *)c->key.p);
    c->cert = (struct kube_pem){ .p = (uint8_t *)x->cert, .n = x->cert ? strlen(x->cert) : 0 };
    c->key = (struct kube_pem){ .p = (uint8_t *)x->key, .n = x->key ? strlen(x->key) : 0 };
    c->expiry_ms = x->expiry_ms;
    c->have_exec = true;
    c->stale = false;
    c->generation++;
}

/* NULL, or what went wrong: owned. */
static char *exec_result(struct kube_cred *c)
{
    struct exec_credential x;
    char *error = NULL;

    if (c->timed_out)
        return x_asprintf("did not end within %d s", EXEC_TIMEOUT_MS / 1000);
    if (c->term_signal)
        return x_asprintf("killed by signal %d", c->term_signal);
    if (c->exit_status != 0)
        return x_asprintf("exit status %lld", (long long)c->exit_status);
    if (c->output.rc)
        return x_strdup("printed more than 1 MiB");
    if (exec_credential_parse((const char *)c->output.p, c->output.n, c->config->exec.api_version, &x, &error))
        return error;
    take_output(c, &x);
    return NULL;
}

static void fail_exec(struct kube_cred *c, const char *why)
{
    const char *hint = c->config->exec.install_hint;
    free(c->last_error);
    c->last_error = x_asprintf("credential plugin %s: %s%s%s", c->config->exec.command, why, hint ? "; " : "",
                               hint ? hint : "");
}

static void cred_free(struct kube_cred *c)
{
    void (*closed)(void *) = c->closed;
    void *data = c->closed_data;

    kube_wipe(c->token);
    kube_wipe((char *)c->cert.p);
    kube_wipe((char *)c->key.p);
    free(c->last_error);
    free(c);
    if (closed)
        closed(data);
}

static void on_anchor_closed(uv_handle_t *handle)
{
    cred_free(handle->data);
}

/* All handles of a run are closed. */
static void run_ended(struct kube_cred *c)
{
    c->running = false;
    if (c->closing) {
        wr_free(&c->output);
        uv_close((uv_handle_t *)&c->anchor, on_anchor_closed);
        return;
    }
    char *why = exec_result(c);
    if (c->output.p)
        explicit_bzero(c->output.p, c->output.cap);
    wr_reset(&c->output);
    if (why)
        fail_exec(c, why);
    wake_waiters(c, why ? c->last_error : NULL);
    free(why);
}

static void on_run_handle_closed(uv_handle_t *handle)
{
    struct kube_cred *c = handle->data;
    if (--c->open_handles == 0)
        run_ended(c);
}

static void close_once(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_run_handle_closed);
}

static void close_run(struct kube_cred *c)
{
    close_once((uv_handle_t *)&c->out);
    close_once((uv_handle_t *)&c->timer);
    if (c->exited)
        close_once((uv_handle_t *)&c->process);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct kube_cred *c = process->data;
    c->exited = true;
    c->exit_status = status;
    c->term_signal = signal;
    /* The pipe ends by itself, unless a grandchild holds it; then the timer ends it. */
    if (uv_is_closing((uv_handle_t *)&c->out))
        close_run(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char chunk[16384]; /* one thread, and used up before the next read */
    *buf = uv_buf_init(chunk, sizeof chunk);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct kube_cred *c = stream->data;
    if (n > 0) {
        wr_bytes(&c->output, buf->base, (size_t)n);
        explicit_bzero(buf->base, (size_t)n);
    }
    if (n < 0) {
        close_once((uv_handle_t *)&c->out);
        if (c->exited)
            close_run(c);
    }
}

static void on_exec_timeout(uv_timer_t *timer)
{
    struct kube_cred *c = timer->data;
    c->timed_out = true;
    if (!c->exited)
        uv_process_kill(&c->process, SIGKILL);
    close_run(c); /* the process handle follows when its exit is seen */
}

static char *exec_info(const struct kube_exec *x)
{
    json_t *spec = json_pack("{s:b}", "interactive", 0);
    if (x->cluster_info)
        json_object_set(spec, "cluster", x->cluster_info);
    json_t *info = json_pack("{s:s, s:s, s:o}", "apiVersion", x->api_version, "kind", "ExecCredential", "spec", spec);
    char *text = json_dumps(info, JSON_COMPACT);
    char *line = x_asprintf("KUBERNETES_EXEC_INFO=%s", text);
    free(text);
    json_decref(info);
    return line;
}

struct VEC_words VEC(char *);

static bool env_is_overridden(const struct kube_exec *x, const char *entry)
{
    size_t name = strcspn(entry, "=") + 1;
    if (strncmp(entry, "KUBERNETES_EXEC_INFO=", name) == 0)
        return true;
    for (char **e = x->env; e && *e; e++)
        if (strncmp(*e, entry, name) == 0)
            return true;
    return false;
}

static int spawn(struct kube_cred *c)
{
    struct kube_exec *x = &c->config->exec;
    struct VEC_words args = { 0 }, env = { 0 };
    char *info = exec_info(x);

    VEC_PUSH(&args, x->command);
    for (char **a = x->args; a && *a; a++)
        VEC_PUSH(&args, *a);
    VEC_PUSH(&args, NULL);
    for (char **e = environ; *e; e++)
        if (!env_is_overridden(x, *e))
            VEC_PUSH(&env, *e);
    for (char **e = x->env; e && *e; e++)
        VEC_PUSH(&env, *e);
    VEC_PUSH(&env, info);
    VEC_PUSH(&env, NULL);
    uv_stdio_container_t stdio[3] = {
        { .flags = UV_IGNORE },
        { .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&c->out },
        { .flags = UV_INHERIT_FD, .data.fd = 2 }, /* what it has to say to people, as kubectl does */
    };
    uv_process_options_t options = { .exit_cb = on_exit_status, .file = x->command, .args = args.items,
                                     .env = env.items, .stdio_count = 3, .stdio = stdio };
    int rc = uv_spawn(c->loop, &c->process, &options);
    free(info);
    VEC_FREE(&args);
    VEC_FREE(&env);
    return rc;
}

static void start_exec(struct kube_cred *c)
{
    c->running = true;
    c->exited = c->timed_out = false;
    c->exit_status = c->term_signal = 0;
    uv_pipe_init(c->loop, &c->out, 0);
    uv_timer_init(c->loop, &c->timer);
    c->process.data = c->out.data = c->timer.data = c;
    c->open_handles = 3;
    int rc = spawn(c);
    if (rc) { /* the process handle is initialised all the same, and must be closed */
        c->exited = true;
        c->exit_status = 127;
        close_run(c);
        return;
    }
    uv_timer_start(&c->timer, on_exec_timeout, EXEC_TIMEOUT_MS, 0);
    uv_read_start((uv_stream_t *)&c->out, on_alloc, on_output);
}

/* ---- for requests ---- */

static bool exec_due(const struct kube_cred *c)
{
    return c->config->exec.command &&
           (!c->have_exec || c->stale || c->expiry_ms - EXPIRY_LEEWAY_MS < clock_wall_ms());
}

bool kube_cred_prepare(struct kube_cred *c, struct kube_cred_waiter *w)
{
    if (c->config->token_file &&
        (c->token_read_ms == 0 || clock_mono_ms() - c->token_read_ms >= TOKEN_FILE_MS))
        read_token_file(c);
    if (!exec_due(c) && !c->running)
        return true;
    list_push_back(&c->waiters, &w->link);
    if (!c->running)
        start_exec(c);
    return false;
}

void kube_cred_refused(struct kube_cred *c, uint64_t generation)
{
    if (generation != c->generation)
        return; /* somebody else has renewed them in the meantime */
    c->stale = true;
    reload_files(c);
}

struct curl_slist *kube_cred_headers(const struct kube_cred *c, struct curl_slist *list)
{
    const struct kube_config *k = c->config;
    const char *token = c->token ? c->token : k->token;

    if (token) {
        char *line = x_asprintf("Authorization: Bearer %s", token);
        list = curl_slist_append(list, line);
        kube_wipe(line);
    } else if (k->username) {
        char *pair = x_asprintf("%s:%s", k->username, k->password ? k->password : "");
        char *text = base64_encode(pair, strlen(pair));
        char *line = x_asprintf("Authorization: Basic %s", text);
        list = curl_slist_append(list, line);
        kube_wipe(pair);
        kube_wipe(text);
        kube_wipe(line);
    }
    for (char **h = k->headers; h && *h; h++)
        list = curl_slist_append(list, *h);
    return list;
}

const struct kube_pem *kube_cred_cert(const struct kube_cred *c)
{
    return c->cert.p ? &c->cert : &c->config->cert;
}

const struct kube_pem *kube_cred_key(const struct kube_cred *c)
{
    return c->key.p ? &c->key : &c->config->key;
}

void kube_cred_close(struct kube_cred *c, void (*closed)(void *data), void *data)
{
    c->closing = true;
    c->closed = closed;
    c->closed_data = data;
    while (!list_empty(&c->waiters))
        list_remove(c->waiters.next);
    if (!c->running) {
        wr_free(&c->output);
        uv_close((uv_handle_t *)&c->anchor, on_anchor_closed);
        return;
    }
    if (!c->exited)
        uv_process_kill(&c->process, SIGKILL);
    close_run(c);
}
