/* client.c - the client object and the public calls: arguments are checked and encoded here, on the caller's thread. */
#include "client.h"

#include "base/clock.h"
#include "ops.h"

#define TIMEOUT_DEFAULT_MS 10000
#define REPLY_MAX_DEFAULT  (4u << 20)

const char *quoll_strerror(int err)
{
    if (err == QUOLL_CLOSING)
        return "client is closing";
    return zk_error_text(err);
}

/* ---- the object ---- */

static void on_state(void *ctx, enum quoll_state state)
{
    quoll_client *c = ctx;
    atomic_store(&c->id, c->session.id);
    atomic_store(&c->timeout_ms, c->session.timeout_ms);
    atomic_store(&c->state, state);
    if (c->own)
        thread_state_changed(c);
    LIST_EACH_SAFE(it, &c->listeners)
    {
        struct state_listener *l = CONTAINER_OF(it, struct state_listener, link);
        l->fn(l, state);
    }
    if (c->opt.on_state)
        c->opt.on_state(c, state, c->opt.data);
}

static void on_log(void *ctx, const char *text)
{
    quoll_client *c = ctx;
    if (c->opt.on_log)
        c->opt.on_log(c, text, c->opt.data);
}

static int64_t session_clock(const quoll_client *c)
{
    return c->session.now_ms;
}

int client_new(const struct quoll_options *opt, uint64_t seed, int64_t now_ms, quoll_client **ret, char **ret_error)
{
    char *problem = NULL;
    struct connstr servers = { 0 };
    if (opt->session_timeout_ms < 0 || opt->operation_timeout_ms < 0)
        problem = x_strdup("a timeout is negative");
    else if (opt->max_buffer > INT32_MAX || opt->max_request > INT32_MAX)
        problem = x_strdup("a buffer limit is larger than 2 GiB");
    else
        (void)connstr_parse(opt->servers, &servers, &problem);
    if (problem) {
        if (ret_error)
            *ret_error = problem;
        else
            free(problem);
        return QUOLL_BAD_ARGUMENTS;
    }
    quoll_client *c = x_calloc(1, sizeof(*c));
    c->servers = servers;
    c->opt = *opt;
    c->opt.servers = NULL;
    c->max_request = opt->max_request ? opt->max_request : ZK_MAX_BUFFER_DEFAULT;
    c->clock = session_clock;
    list_init(&c->listeners);
    pthread_mutex_init(&c->deadlines_lock, NULL);
    atomic_init(&c->server, "");
    atomic_init(&c->state, QUOLL_STATE_CONNECTING);
    struct session_config cfg = {
        .client = c,
        .hooks = { on_state, on_log, c },
        .chroot = c->servers.chroot,
        .servers = c->servers.servers.items,
        .server_count = c->servers.servers.len,
        .timeout_ms = opt->session_timeout_ms ? opt->session_timeout_ms : TIMEOUT_DEFAULT_MS,
        .max_buffer = opt->max_buffer ? opt->max_buffer : REPLY_MAX_DEFAULT,
        .read_only = opt->read_only,
        .no_new_session = opt->no_new_session,
        .no_shuffle = opt->no_shuffle,
        .seed = seed,
    };
    session_init(&c->session, &cfg, now_ms);
    *ret = c;
    return 0;
}

void client_free(quoll_client *c)
{
    LIST_EACH_SAFE(it, &c->listeners)
    {
        struct state_listener *l = CONTAINER_OF(it, struct state_listener, link);
        list_remove(&l->link);
        l->gone(l);
    }
    session_done(&c->session);
    strmap_free(&c->server_texts, free);
    pthread_mutex_destroy(&c->deadlines_lock);
    VEC_FREE(&c->deadlines);
    connstr_free(&c->servers);
    free(c);
}

void client_publish_server(quoll_client *c, const char *text)
{
    char *kept = strmap_get_s(&c->server_texts, text);
    if (!kept) {
        kept = x_strdup(text);
        strmap_set_s(&c->server_texts, text, kept);
    }
    atomic_store(&c->server, kept);
}

void client_listen(quoll_client *c, struct state_listener *l)
{
    list_push_back(&c->listeners, &l->link);
}

int quoll_open(const struct quoll_options *opt, quoll_client **ret, char **ret_error)
{
    quoll_client *c;
    uint64_t seed = (uint64_t)clock_mono_us() ^ hash_u64((uint64_t)(uintptr_t)&seed) ^ hash_bytes("client", 6);
    if (ret_error)
        *ret_error = NULL;
    int err = client_new(opt, seed, clock_mono_ms(), &c, ret_error);
    if (err)
        return err;
    if (opt->loop) {
        shell_start(c, opt->loop);
    } else if ((err = thread_start(c)) != 0) {
        client_free(c);
        if (ret_error)
            *ret_error = x_strdup("cannot start a thread");
        return err;
    }
    *ret = c;
    return 0;
}

static void close_client(quoll_client *c, bool detach, void (*closed)(void *data), void *data)
{
    if (c->own)
        thread_close(c, detach, closed, data);
    else
        shell_close(c, detach, closed, data);
}

void quoll_close(quoll_client *c, void (*closed)(void *data), void *data)
{
    close_client(c, false, closed, data);
}

void quoll_detach(quoll_client *c, void (*closed)(void *data), void *data)
{
    close_client(c, true, closed, data);
}

enum quoll_state quoll_client_state(const quoll_client *c)
{
    return (enum quoll_state)atomic_load(&c->state);
}

int64_t quoll_session_id(const quoll_client *c)
{
    return atomic_load(&c->id);
}

int32_t quoll_session_timeout_ms(const quoll_client *c)
{
    return atomic_load(&c->timeout_ms);
}

const char *quoll_server(const quoll_client *c)
{
    return atomic_load(&c->server);
}

void *quoll_client_data(const quoll_client *c)
{
    return c->opt.data;
}

struct uv_loop_s *quoll_client_loop(const quoll_client *c)
{
    return c->opt.loop;
}

/* ---- deadlines ---- */

void quoll_set_deadline(quoll_client *c, int32_t timeout_ms)
{
    struct deadline d = { pthread_self(), MAX(timeout_ms, 0) };
    pthread_mutex_lock(&c->deadlines_lock);
    size_t i = 0;
    while (i < c->deadlines.len && !pthread_equal(c->deadlines.items[i].thread, d.thread))
        i++;
    if (d.timeout_ms == 0) { /* back to the default: forget the thread, which may end */
        if (i < c->deadlines.len)
            c->deadlines.items[i] = c->deadlines.items[--c->deadlines.len];
    } else if (i < c->deadlines.len) {
        c->deadlines.items[i] = d;
    } else {
        VEC_PUSH(&c->deadlines, d);
    }
    pthread_mutex_unlock(&c->deadlines_lock);
}

static int32_t current_deadline(quoll_client *c)
{
    int32_t ms = c->opt.operation_timeout_ms;
    pthread_mutex_lock(&c->deadlines_lock);
    for (size_t i = 0; i < c->deadlines.len; i++)
        if (pthread_equal(c->deadlines.items[i].thread, pthread_self()))
            ms = c->deadlines.items[i].timeout_ms;
    pthread_mutex_unlock(&c->deadlines_lock);
    return ms;
}

/* ---- submitting ---- */

int client_submit(quoll_client *c, struct request *r)
{
    /* A server closes the connection of a larger request without a word, and all that was in flight with it. */
    if (r->frame.n - 4 > c->max_request) {
        request_free(r);
        return QUOLL_BAD_ARGUMENTS;
    }
    if (c->own && thread_is_foreign(c))
        return thread_post(c, r, NULL);
    int err = session_submit(&c->session, r, client_now(c));
    shell_kick(c);
    return err;
}

static struct request *begin(quoll_client *c, int32_t opcode, quoll_done_fn done, void *data)
{
    struct request *r = request_new(opcode, done, data);
    r->deadline_ms = current_deadline(c);
    return r;
}

static struct request *begin_path(quoll_client *c, int32_t opcode, const char *path, quoll_done_fn done, void *data)
{
    struct request *r = begin(c, opcode, done, data);
    ops_write_path(&r->frame, c->servers.chroot, path);
    return r;
}

static void will_watch(quoll_client *c, struct request *r, const char *path, enum watch_kind kind, quoll_watch_fn fn,
                       void *data)
{
    if (!fn)
        return;
    r->path = ops_server_path(c->servers.chroot, path);
    r->watcher = (struct watcher){ fn, data };
    r->reg = kind;
}

int quoll_add_auth(quoll_client *c, const char *scheme, const void *cert, size_t cert_len, quoll_done_fn done, void *data)
{
    if (!scheme || (!cert && cert_len) || cert_len > c->max_request)
        return QUOLL_BAD_ARGUMENTS;
    struct auth *a = x_calloc(1, sizeof(*a));
    a->scheme = x_strdup(scheme);
    a->cert = x_memdup(cert, cert_len);
    a->cert_len = cert_len;
    a->done = done;
    a->data = data;
    if (c->own && thread_is_foreign(c))
        return thread_post(c, NULL, a);
    int err = session_add_auth(&c->session, a, client_now(c));
    shell_kick(c);
    return err;
}

int quoll_create(quoll_client *c, const char *path, const void *value, size_t len, const struct quoll_acl *acls,
                 size_t acl_count, enum quoll_create_mode mode, int64_t ttl_ms, quoll_done_fn done, void *data)
{
    struct quoll_op op = { .type = QUOLL_OP_CREATE, .path = path, .value = value, .len = len, .mode = mode,
                           .acls = acls, .acl_count = acl_count };
    int err = ops_check_step(&op, false);
    if (err)
        return err;
    struct request *r = begin(c, ops_create_opcode(mode), done, data);
    ops_write_create(&r->frame, c->servers.chroot, path, value, len, acls, acl_count, mode, ttl_ms);
    return client_submit(c, r);
}

int quoll_delete(quoll_client *c, const char *path, int32_t version, quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false))
        return QUOLL_BAD_ARGUMENTS;
    struct request *r = begin_path(c, ZK_OP_DELETE, path, done, data);
    wr_i32(&r->frame, version);
    return client_submit(c, r);
}

/* exists, getData, getChildren2: a path, a watch flag. */
static struct request *begin_read(quoll_client *c, int32_t opcode, const char *path, quoll_watch_fn watch,
                                  void *watch_data, quoll_done_fn done, void *data)
{
    struct request *r = begin_path(c, opcode, path, done, data);
    wr_u8(&r->frame, watch != NULL);
    will_watch(c, r, path, opcode == ZK_OP_GET_CHILDREN2 ? WATCH_CHILD : WATCH_DATA, watch, watch_data);
    return r;
}

static int read_call(quoll_client *c, int32_t opcode, const char *path, quoll_watch_fn watch, void *watch_data,
                     quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false))
        return QUOLL_BAD_ARGUMENTS;
    return client_submit(c, begin_read(c, opcode, path, watch, watch_data, done, data));
}

int quoll_exists(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done,
                 void *data)
{
    return read_call(c, ZK_OP_EXISTS, path, watch, watch_data, done, data);
}

int quoll_get(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done, void *data)
{
    return read_call(c, ZK_OP_GET_DATA, path, watch, watch_data, done, data);
}

int quoll_get_children(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done,
                       void *data)
{
    return read_call(c, ZK_OP_GET_CHILDREN2, path, watch, watch_data, done, data);
}

int client_cache_read(quoll_client *c, int32_t opcode, const char *path, quoll_watch_fn watch, void *watch_data,
                      quoll_done_fn done, void *data)
{
    struct request *r = begin_read(c, opcode, path, watch, watch_data, done, data);
    r->deadline_ms = 0;
    r->cache = true;
    return client_submit(c, r);
}

int quoll_set(quoll_client *c, const char *path, const void *value, size_t len, int32_t version, quoll_done_fn done,
              void *data)
{
    if (ops_path_problem(path, false) || (!value && len) || len > INT32_MAX)
        return QUOLL_BAD_ARGUMENTS;
    struct request *r = begin_path(c, ZK_OP_SET_DATA, path, done, data);
    jute_write_buf(&r->frame, (struct jbuf){ value, (int32_t)len });
    wr_i32(&r->frame, version);
    return client_submit(c, r);
}

int quoll_get_acl(quoll_client *c, const char *path, quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false))
        return QUOLL_BAD_ARGUMENTS;
    return client_submit(c, begin_path(c, ZK_OP_GET_ACL, path, done, data));
}

int quoll_set_acl(quoll_client *c, const char *path, const struct quoll_acl *acls, size_t acl_count, int32_t version,
                  quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false) || (!acls && acl_count))
        return QUOLL_BAD_ARGUMENTS;
    struct request *r = begin_path(c, ZK_OP_SET_ACL, path, done, data);
    ops_write_acls(&r->frame, acls, acl_count);
    wr_i32(&r->frame, version);
    return client_submit(c, r);
}

int quoll_sync(quoll_client *c, const char *path, quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false))
        return QUOLL_BAD_ARGUMENTS;
    return client_submit(c, begin_path(c, ZK_OP_SYNC, path, done, data));
}

int quoll_get_ephemerals(quoll_client *c, const char *prefix, quoll_done_fn done, void *data)
{
    if (prefix && prefix[0] != '/')
        return QUOLL_BAD_ARGUMENTS;
    return client_submit(c, begin_path(c, ZK_OP_GET_EPHEMERALS, prefix ? prefix : "/", done, data));
}

int quoll_get_all_children_number(quoll_client *c, const char *path, quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false))
        return QUOLL_BAD_ARGUMENTS;
    return client_submit(c, begin_path(c, ZK_OP_GET_ALL_CHILDREN_NUMBER, path, done, data));
}

#define CONFIG_PATH "/zookeeper/config"

int quoll_get_config(quoll_client *c, quoll_watch_fn watch, void *watch_data, quoll_done_fn done, void *data)
{
    struct request *r = begin(c, ZK_OP_GET_DATA, done, data);

    ops_write_path(&r->frame, "", CONFIG_PATH);
    wr_u8(&r->frame, watch != NULL);
    if (watch) {
        r->path = x_strdup(CONFIG_PATH);
        r->watcher = (struct watcher){ watch, watch_data };
        r->reg = WATCH_DATA;
    }
    return client_submit(c, r);
}

int quoll_reconfig(quoll_client *c, const char *joining, const char *leaving, const char *new_members, int64_t from_version,
                   quoll_done_fn done, void *data)
{
    struct request *r = begin(c, ZK_OP_RECONFIG, done, data);
    const char *texts[] = { joining, leaving, new_members };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        jute_write_str(&r->frame, texts[i] ? jstr_of(texts[i]) : (struct jstr){ NULL, -1 });
    wr_u64(&r->frame, (uint64_t)from_version);
    return client_submit(c, r);
}

int quoll_who_am_i(quoll_client *c, quoll_done_fn done, void *data)
{
    return client_submit(c, begin(c, ZK_OP_WHO_AM_I, done, data));
}

static struct request *begin_watch(quoll_client *c, const char *path, bool recursive, quoll_watch_fn watch,
                                   void *watch_data, quoll_done_fn done, void *data)
{
    struct request *r = begin_path(c, ZK_OP_ADD_WATCH, path, done, data);
    wr_i32(&r->frame, recursive ? ZK_WATCH_PERSISTENT_RECURSIVE : ZK_WATCH_PERSISTENT);
    will_watch(c, r, path, recursive ? WATCH_RECURSIVE : WATCH_PERSISTENT, watch, watch_data);
    return r;
}

int quoll_add_watch(quoll_client *c, const char *path, bool recursive, quoll_watch_fn watch, void *watch_data,
                    quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false) || !watch)
        return QUOLL_BAD_ARGUMENTS;
    return client_submit(c, begin_watch(c, path, recursive, watch, watch_data, done, data));
}

int client_cache_watch(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done,
                       void *data)
{
    struct request *r = begin_watch(c, path, true, watch, watch_data, done, data);
    r->deadline_ms = 0;
    r->cache = true;
    return client_submit(c, r);
}

void client_cache_forget(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data)
{
    char *server_path = ops_server_path(c->servers.chroot, path);
    session_forget(&c->session, server_path, (struct watcher){ watch, watch_data }, client_now(c));
    free(server_path);
    shell_kick(c);
}

static unsigned kinds_of(enum quoll_watcher_kind kind)
{
    switch (kind) {
    case QUOLL_WATCHER_CHILDREN:
        return WATCH_BIT(WATCH_CHILD);
    case QUOLL_WATCHER_DATA:
        return WATCH_BIT(WATCH_DATA) | WATCH_BIT(WATCH_EXIST);
    case QUOLL_WATCHER_ANY:
        return WATCH_ALL;
    case QUOLL_WATCHER_PERSISTENT:
        return WATCH_BIT(WATCH_PERSISTENT);
    case QUOLL_WATCHER_RECURSIVE:
        return WATCH_BIT(WATCH_RECURSIVE);
    }
    return 0;
}

int quoll_remove_watches(quoll_client *c, const char *path, enum quoll_watcher_kind kind, quoll_watch_fn watch,
                         void *watch_data, quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false) || !kinds_of(kind))
        return QUOLL_BAD_ARGUMENTS;
    /* The session appends the type: it depends on what else is watched there. */
    struct request *r = begin_path(c, ZK_OP_REMOVE_WATCHES, path, done, data);
    r->path = ops_server_path(c->servers.chroot, path);
    r->remove_kinds = kinds_of(kind);
    r->any_watcher = watch == NULL;
    r->watcher = (struct watcher){ watch, watch_data };
    return client_submit(c, r);
}

int quoll_check_watches(quoll_client *c, const char *path, enum quoll_watcher_kind kind, quoll_done_fn done, void *data)
{
    if (ops_path_problem(path, false) || !kinds_of(kind))
        return QUOLL_BAD_ARGUMENTS;
    struct request *r = begin_path(c, ZK_OP_CHECK_WATCHES, path, done, data);
    wr_i32(&r->frame, (int32_t)kind);
    return client_submit(c, r);
}

static int multi_call(quoll_client *c, int32_t opcode, const struct quoll_op *ops, size_t count, quoll_done_fn done,
                      void *data)
{
    if (!ops && count)
        return QUOLL_BAD_ARGUMENTS;
    for (size_t i = 0; i < count; i++) {
        int err = ops_check_step(&ops[i], opcode == ZK_OP_MULTI_READ);
        if (err)
            return err;
    }
    struct request *r = begin(c, opcode, done, data);
    ops_write_multi(&r->frame, c->servers.chroot, ops, count);
    return client_submit(c, r);
}

int quoll_multi(quoll_client *c, const struct quoll_op *ops, size_t count, quoll_done_fn done, void *data)
{
    return multi_call(c, ZK_OP_MULTI, ops, count, done, data);
}

int quoll_multi_read(quoll_client *c, const struct quoll_op *ops, size_t count, quoll_done_fn done, void *data)
{
    return multi_call(c, ZK_OP_MULTI_READ, ops, count, done, data);
}
