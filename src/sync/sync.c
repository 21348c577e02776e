/* sync.c - the shell of the writer: the source's callbacks in, multis out, a cache of the registry in
 * between.
 *
 *   source -> desired (dirty paths) --20..100 ms--> plan (pure) -> batches, one multi at a time -> sent,
 * until the cache shows them cache  -> what others changed under our feet marks paths dirty; after every
 * (re)connection everything is compared leader -> only the elected writer plans; every multi begins with its
 * fence */
#include "sync/sync.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "convert.h"
#include "desired.h"
#include "discovery/model.h"
#include "discovery/table.h"
#include "leader.h"
#include "plan.h"

#define QUIET_MS       20  /* changes are collected until nothing came for this long, */
#define COLLECT_MAX_MS 100 /* but no longer than this */
/* A write that the cache has not shown this long after its last news is looked at again; a busy cache, which
 * shows others first, gets the longer time. */
#define CONFIRM_MS      1000
#define CONFIRM_MAX_MS  10000
#define RETRY_MIN_MS    50
#define RETRY_MAX_MS    5000
#define BATCH_OPS_MAX   128
#define BATCH_BYTES_MAX (512 * 1024)
#define BATCH_BYTES_MIN (16 * 1024)
/* ZooKeeper's default jute.maxbuffer is 1 MiB - 1, for the whole request. */
#define NODE_BYTES_MAX (0xfffff - 4096)

struct sync {
    uv_loop_t *loop;
    quoll_client *client;
    quoll_cache *cache;
    struct leader *leader;
    struct kube_handler handler;
    char *base; /* <root>/<cluster> */
    size_t base_len;
    char **label_prefixes, **annotation_prefixes;
    struct convert_options convert;
    void (*on_problem)(void *data, const char *text);
    void *data;
    bool pods; /* are stored */

    struct desired desired;
    bool kind_synced[KUBE_KIND_COUNT];
    bool fresh;            /* the cache is complete and the connection is there */
    int64_t cache_news_ms; /* when the cache last told of a change */

    uv_timer_t timer;
    int64_t collect_since_ms; /* 0: nothing is being collected */
    int64_t not_before_ms;    /* back-off after a failure */
    uint32_t retry_ms;

    struct plan plan;       /* being carried out */
    size_t batch, first_op; /* its next batch, and that one's first op */
    bool in_flight;
    struct in_flight *in_flight_ref;
    struct plan_limits limits;

    struct sync_stats stats;
    bool closing;
    unsigned handles_open;
    void (*closed)(void *data);
    void *closed_data;
};

/* What a multi's answer needs when it may come after sync_close: not the sync itself. */
struct in_flight {
    struct sync *s; /* NULL: closed meanwhile */
};

static void run(struct sync *s);

static void problem(struct sync *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(struct sync *s, const char *fmt, ...)
{
    char text[768];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* a message for people may be cut */
    va_end(ap);
    if (s->on_problem)
        s->on_problem(s->data, text);
    else
        log_warn("sync", "%s", text);
}

/* ---- when to run ---- */

static void on_timer(uv_timer_t *timer)
{
    struct sync *s = timer->data;
    s->collect_since_ms = 0;
    run(s);
}

static void wake_in(struct sync *s, int64_t ms)
{
    uv_update_time(s->loop); /* a long callback must not make the wait shorter */
    uv_timer_start(&s->timer, on_timer, (uint64_t)MAX(ms, 0), 0);
}

/* Something changed: soon, but not for every change alone. */
static void touch(struct sync *s)
{
    int64_t now = clock_mono_ms();
    if (s->collect_since_ms == 0)
        s->collect_since_ms = now;
    int64_t due = MIN(now + QUIET_MS, s->collect_since_ms + COLLECT_MAX_MS);
    wake_in(s, MAX(due, s->not_before_ms) - now);
}

static void back_off(struct sync *s)
{
    s->not_before_ms = clock_mono_ms() + s->retry_ms;
    s->retry_ms = MIN(s->retry_ms * 2, (uint32_t)RETRY_MAX_MS);
    touch(s);
}

/* ---- the source ---- */

static void on_upsert_service(struct sync *s, const struct kube_object *obj)
{
    char *json = NULL, *why = NULL;
    int rc = convert_service(obj->json, obj->ns, obj->name, &s->convert, &json, &why);

    if (rc == 0 && strlen(json) > NODE_BYTES_MAX) {
        why = x_asprintf("%zu bytes are more than a node can hold", strlen(json));
        free(json);
        rc = RC_TOOBIG;
    }
    if (rc == 0) {
        if (desired_service(&s->desired, obj->ns, obj->name, json, clock_mono_ms()))
            touch(s);
        return;
    }
    s->stats.skipped_objects++;
    problem(s, "Service %s/%s is skipped: %s", obj->ns, obj->name, why);
    free(why);
    if (name_is_label(obj->ns, strlen(obj->ns)) && name_is_label(obj->name, strlen(obj->name)))
        desired_hold(&s->desired, obj->ns, obj->name, NULL);
}

static void on_upsert_slice(struct sync *s, const struct kube_object *obj)
{
    char *json = NULL, *service = NULL, *why = NULL;
    int rc = convert_slice(obj->json, obj->name, &json, &service, &why);

    if (rc == 0 && strlen(json) > NODE_BYTES_MAX) {
        why = x_asprintf("%zu bytes are more than a node can hold", strlen(json));
        free(json);
        rc = RC_TOOBIG;
    }
    if (rc == 0) {
        if (desired_slice(&s->desired, obj->ns, obj->name, service, json, clock_mono_ms()))
            touch(s);
    } else if (rc == RC_UNSUPPORTED) { /* FQDN, or of no Service any more */
        s->stats.skipped_objects++;
        if (desired_slice(&s->desired, obj->ns, obj->name, NULL, NULL, clock_mono_ms()))
            touch(s);
    } else {
        s->stats.skipped_objects++;
        problem(s, "EndpointSlice %s/%s is skipped: %s", obj->ns, obj->name, why);
        free(why);
        if (service && name_is_label(service, strlen(service)) && name_is_dns(obj->name, strlen(obj->name)))
            desired_hold(&s->desired, obj->ns, obj->name, service);
    }
    free(service);
}

static void on_upsert_pod(struct sync *s, const struct kube_object *obj)
{
    char *json = NULL, *why = NULL;
    int rc = convert_pod(obj->json, obj->name, &json, &why);

    if (rc == 0 || rc == RC_UNSUPPORTED) { /* without an address it is as if it were not there */
        if (desired_pod(&s->desired, obj->ns, obj->name, json, clock_mono_ms()))
            touch(s);
        return;
    }
    s->stats.skipped_objects++;
    problem(s, "Pod %s/%s is skipped: %s", obj->ns, obj->name, why);
    free(why);
    if (name_is_dns(obj->name, strlen(obj->name)))
        desired_hold_pod(&s->desired, obj->ns, obj->name);
}

static void on_upsert(void *data, const struct kube_object *obj)
{
    struct sync *s = data;
    const char *ns = obj->kind == KUBE_NAMESPACE ? obj->name : obj->ns;

    if (obj->kind == KUBE_POD && !s->pods)
        return;
    if (!name_is_label(ns, strlen(ns))) {
        s->stats.skipped_objects++;
        problem(s, "%s %s/%s is skipped: its namespace is not a DNS label", kube_kind_name(obj->kind),
                obj->ns, obj->name);
        return;
    }
    if (obj->kind == KUBE_SERVICE)
        on_upsert_service(s, obj);
    else if (obj->kind == KUBE_ENDPOINT_SLICE)
        on_upsert_slice(s, obj);
    else if (obj->kind == KUBE_POD)
        on_upsert_pod(s, obj);
    else if (desired_namespace(&s->desired, obj->name, true, clock_mono_ms()))
        touch(s);
}

static void on_delete(void *data, enum kube_kind kind, const char *ns, const char *name)
{
    struct sync *s = data;
    int64_t now = clock_mono_ms();
    bool changed = kind == KUBE_NAMESPACE ? desired_namespace(&s->desired, name, false, now)
                   : kind == KUBE_SERVICE ? desired_service(&s->desired, ns, name, NULL, now)
                   : kind == KUBE_POD     ? desired_pod(&s->desired, ns, name, NULL, now)
                                          : desired_slice(&s->desired, ns, name, NULL, NULL, now);
    if (changed)
        touch(s);
}

/* Services, slices and namespaces depend on each other; Pods stand alone: a role that may not list them keeps nothing
 * else from being tidied up. */
static bool services_synced(const struct sync *s)
{
    return s->kind_synced[KUBE_NAMESPACE] && s->kind_synced[KUBE_SERVICE] && s->kind_synced[KUBE_ENDPOINT_SLICE];
}

static bool pods_synced(const struct sync *s)
{
    return s->pods && s->kind_synced[KUBE_POD];
}

/* A namespace, a service or a slice, or of the Pods' part: nothing else hidden, nothing deeper. */
static bool is_registry_path(const struct sync *s, const char *rel)
{
    const char *shown = s->pods && registry_in_pods(rel) ? rel + strlen(REGISTRY_PODS) : rel;
    size_t depth = 1;

    for (const char *p = rel; *p; p++)
        depth += *p == '/';
    return depth <= 3 && shown[0] != '.' && !strstr(shown, "/.");
}

/* Everything is compared: what the registry has, and what is wanted. */
static void mark_below(struct sync *s, const char *path);

static void mark_node(const struct quoll_cache_node *node, void *data)
{
    struct sync *s = data;
    const char *rel = node->path + s->base_len + 1;

    if (!is_registry_path(s, rel))
        return;
    desired_mark(&s->desired, desired_need(&s->desired, rel));
    mark_below(s, node->path);
}

static void mark_below(struct sync *s, const char *path)
{
    quoll_cache_children(s->cache, path, mark_node, s);
}

static void compare_all(struct sync *s)
{
    desired_mark_all(&s->desired);
    mark_below(s, s->base);
    touch(s);
}

static void on_kind_synced(void *data, enum kube_kind kind)
{
    struct sync *s = data;
    bool services = services_synced(s), pods = pods_synced(s);

    s->kind_synced[kind] = true;
    s->stats.kinds_synced = services_synced(s) && (!s->pods || pods_synced(s));
    if (services == services_synced(s) && pods == pods_synced(s))
        return;
    if (s->fresh)
        compare_all(s); /* from now on what is not wanted may go */
}

static void on_source_problem(void *data, const char *text)
{
    problem(data, "%s", text);
}

/* ---- the registry as it is ---- */

static char *absolute(const struct sync *s, const char *path)
{
    return x_asprintf("%s/%s", s->base, path);
}

static struct plan_want world_want(void *data, const char *path)
{
    const struct sync *s = data;
    return desired_want(&s->desired, path);
}

static bool world_actual(void *data, const char *path, struct plan_actual *ret)
{
    const struct sync *s = data;
    char *abs = absolute(s, path);
    const struct quoll_cache_node *node = quoll_cache_get(s->cache, abs);

    free(abs);
    if (node)
        *ret = (struct plan_actual){node->data ? node->data : "", node->data_len, node->stat.version};
    return node != NULL;
}

struct world_children_arg {
    void (*fn)(void *arg, const char *name);
    void *arg;
};

static void world_child(const struct quoll_cache_node *node, void *data)
{
    struct world_children_arg *a = data;
    a->fn(a->arg, strrchr(node->path, '/') + 1);
}

static void world_children(void *data, const char *path, void (*fn)(void *arg, const char *name), void *arg)
{
    const struct sync *s = data;
    char *abs = absolute(s, path);
    struct world_children_arg a = {fn, arg};
    quoll_cache_children(s->cache, abs, world_child, &a);
    free(abs);
}

static void world_conflict(void *data, const char *path, const char *manager)
{
    problem(data, "%s is left alone: it is managed by %s", path, manager);
}

/* Is this node what we wrote? */
static bool shows_sent(const struct path_state *st, enum quoll_cache_change change,
                       const struct quoll_cache_node *node)
{
    if (!st->sent_present || change == QUOLL_CACHE_REMOVED)
        return !st->sent_present && change == QUOLL_CACHE_REMOVED;
    return st->sent_hash == hash_bytes(node->data, node->data_len);
}

static void on_cache_change(quoll_cache *cache, enum quoll_cache_change change,
                            const struct quoll_cache_node *node, void *data)
{
    struct sync *s = data;

    s->cache_news_ms = clock_mono_ms();
    if (strlen(node->path) <= s->base_len)
        return;
    const char *rel = node->path + s->base_len + 1;
    if (str_has_prefix(rel, ".leader"))
        leader_look(s->leader);
    if (!is_registry_path(s, rel) || !s->fresh || !leader_leading(s->leader))
        return; /* whoever leads next compares everything */
    struct path_state *st = desired_get(&s->desired, rel);
    if (st && !list_empty(&st->sent) && shows_sent(st, change, node)) {
        list_remove(&st->sent);
        if (list_empty(&st->dirty))
            desired_settle(&s->desired, st);
        else
            touch(s);
        return;
    }
    /* Somebody else's hand. The parent may have waited for its last child to go. */
    st = desired_need(&s->desired, rel);
    desired_mark(&s->desired, st);
    if (st->parent)
        desired_mark(&s->desired, st->parent);
    touch(s);
}

static void on_cache_synced(quoll_cache *cache, void *data)
{
    struct sync *s = data;

    s->fresh = true;
    while (!list_empty(&s->desired.sent)) /* what we wrote before, the cache has seen by now */
        list_remove(s->desired.sent.next);
    leader_look(s->leader);
    compare_all(s);
}

static void on_cache_stale(quoll_cache *cache, void *data)
{
    struct sync *s = data;
    s->fresh = false;
}

/* ---- writing ---- */

static void plan_drop(struct sync *s)
{
    for (size_t i = s->first_op; i < s->plan.ops.len; i++)
        desired_mark(&s->desired, desired_need(&s->desired, s->plan.ops.items[i].path));
    plan_done(&s->plan);
    s->plan = (struct plan){0};
    s->batch = s->first_op = 0;
}

/* Takes what is dirty, and not on its way, into a new plan; what needs no write is settled. */
static void plan_next(struct sync *s)
{
    struct plan_world w = {s,
                           world_want,
                           world_actual,
                           world_children,
                           world_conflict,
                           .may_remove = services_synced(s),
                           .may_remove_pods = pods_synced(s)};
    struct VEC(char *) paths = {0};

    LIST_EACH_SAFE(it, &s->desired.dirty)
    {
        struct path_state *st = CONTAINER_OF(it, struct path_state, dirty);
        if (list_empty(&st->sent))
            VEC_PUSH(&paths, x_strdup(st->path));
    }
    plan_make(&w, (const char *const *)paths.items, paths.len, &s->limits, &s->plan);
    for (size_t i = 0; i < s->plan.ops.len; i++) {
        struct path_state *st = desired_need(&s->desired, s->plan.ops.items[i].path);
        list_remove(&st->dirty);
        list_push_back(&s->desired.sent, &st->sent); /* also keeps it from being settled below */
        st->sent_ms = INT64_MAX;                     /* not before it has really been sent */
    }
    for (size_t i = 0; i < paths.len; i++) {
        struct path_state *st = desired_get(&s->desired, paths.items[i]);
        if (st && list_empty(&st->sent))
            desired_settle(&s->desired, st);
        free(paths.items[i]);
    }
    VEC_FREE(&paths);
    for (size_t i = 0; i < s->plan.ops.len; i++)
        list_remove(&desired_get(&s->desired, s->plan.ops.items[i].path)->sent);
    s->batch = s->first_op = 0;
}

static void note_lag(struct sync *s, const struct path_state *st, int64_t now)
{
    if (st->since_ms == 0)
        return;
    s->stats.last_lag_ms = now - st->since_ms;
    s->stats.max_lag_ms = MAX(s->stats.max_lag_ms, s->stats.last_lag_ms);
}

static void batch_written(struct sync *s, size_t end)
{
    int64_t now = clock_mono_ms();

    for (size_t i = s->first_op; i < end; i++) {
        struct path_state *st = desired_need(&s->desired, s->plan.ops.items[i].path);
        note_lag(s, st, now);
        st->lost = 0;
        /* A change that came while this write was on its way has its own start: the touch that it made. */
        st->since_ms = list_empty(&st->dirty) ? 0 : now;
        if (list_empty(&st->sent) && list_empty(&st->dirty))
            desired_settle(&s->desired, st); /* the cache was faster than the answer */
    }
    s->stats.writes += end - s->first_op;
    s->stats.batches++;
    s->retry_ms = RETRY_MIN_MS;
    s->limits.bytes = MIN(s->limits.bytes * 2, (size_t)BATCH_BYTES_MAX);
    s->first_op = end;
    s->batch++;
}

/* A server with a smaller jute.maxbuffer drops the connection over a request that is too large for it: send
 * less at a time, and give up on a node that is too large alone. */
static void connection_lost(struct sync *s, size_t end)
{
    s->limits.bytes = MAX(s->limits.bytes / 2, (size_t)BATCH_BYTES_MIN);
    if (end - s->first_op != 1 || s->plan.ops.items[s->first_op].len < BATCH_BYTES_MIN)
        return;
    struct path_state *st = desired_get(&s->desired, s->plan.ops.items[s->first_op].path);
    if (!st || !st->data || ++st->lost < DESIRED_LOST_MAX)
        return;
    problem(s,
            "%s is left out: the connection broke %d times over its %zu bytes (the server's jute.maxbuffer?)",
            st->path, DESIRED_LOST_MAX, s->plan.ops.items[s->first_op].len);
    s->stats.skipped_objects++;
}

static void batch_failed(struct sync *s, const struct quoll_result *res, size_t end)
{
    bool fence = res->result_count > 0 &&
                 (res->results[0].err == QUOLL_BAD_VERSION || res->results[0].err == QUOLL_NO_NODE);

    s->stats.write_errors++;
    for (size_t i = s->first_op; i < end; i++)
        list_remove(&desired_need(&s->desired, s->plan.ops.items[i].path)->sent);
    if (res->err == QUOLL_CONNECTION_LOSS)
        connection_lost(s, end);
    switch (res->err) {
    case QUOLL_CONNECTION_LOSS: /* the outcome is unknown: the cache shows it after the reconnection */
    case QUOLL_SESSION_EXPIRED:
    case QUOLL_OPERATION_TIMEOUT:
    case QUOLL_CLOSING:
    case QUOLL_NO_NODE: /* the registry has changed under the plan: compare again */
    case QUOLL_NODE_EXISTS:
    case QUOLL_BAD_VERSION:
    case QUOLL_NOT_EMPTY:
        break;
    default:
        problem(s, "writing below %s: %s", s->base, quoll_strerror(res->err));
    }
    plan_drop(s);
    if (fence)
        leader_deposed(s->leader);
    back_off(s);
}

static void on_batch(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct in_flight *f = data;
    struct sync *s = f->s;

    free(f);
    if (!s)
        return;
    s->in_flight_ref = NULL;
    s->in_flight = false;
    size_t end = s->plan.batch_ends.items[s->batch];
    if (res->err == 0)
        batch_written(s, end);
    else
        batch_failed(s, res, end);
    run(s);
}

static struct quoll_op client_op(const struct sync *s, const struct plan_op *op)
{
    static const enum quoll_op_type types[] = {QUOLL_OP_CREATE, QUOLL_OP_SET, QUOLL_OP_DELETE};
    return (struct quoll_op){.type = types[op->type],
                             .path = absolute(s, op->path),
                             .value = op->data,
                             .len = op->len,
                             .version = op->version,
                             .mode = QUOLL_PERSISTENT};
}

static void send_batch(struct sync *s)
{
    size_t end = s->plan.batch_ends.items[s->batch], count = end - s->first_op + 1;
    struct quoll_op *ops = x_calloc(count, sizeof(*ops));
    int64_t now = clock_mono_ms();

    ops[0] = leader_fence(s->leader);
    for (size_t i = s->first_op; i < end; i++) {
        const struct plan_op *op = &s->plan.ops.items[i];
        struct path_state *st = desired_need(&s->desired, op->path);
        ops[i - s->first_op + 1] = client_op(s, op);
        st->sent_present = op->type != PLAN_REMOVE;
        st->sent_hash = hash_bytes(op->data, op->len);
        st->sent_ms = now;
        list_remove(&st->sent);
        list_push_back(&s->desired.sent, &st->sent);
    }
    struct in_flight *f = x_malloc(sizeof(*f));
    f->s = s;
    int rc = quoll_multi(s->client, ops, count, on_batch, f);
    for (size_t i = 1; i < count; i++)
        free((char *)ops[i].path);
    free(ops);
    if (rc == 0) {
        s->in_flight = true;
        s->in_flight_ref = f;
    } else {
        free(f);
        batch_failed(s, &(struct quoll_result){.err = rc}, end);
    }
}

/* Writes that the cache has not shown in time: somebody changed them at once, or it missed them. Look again.
 */
static void recheck_sent(struct sync *s, int64_t now)
{
    LIST_EACH_SAFE(it, &s->desired.sent)
    {
        struct path_state *st = CONTAINER_OF(it, struct path_state, sent);
        if (now - MAX(st->sent_ms, s->cache_news_ms) < CONFIRM_MS && now - st->sent_ms < CONFIRM_MAX_MS)
            continue;
        list_remove(&st->sent);
        desired_mark(&s->desired, st);
    }
}

static void run(struct sync *s)
{
    int64_t now = clock_mono_ms();

    if (s->closing || s->in_flight || !s->fresh || !leader_leading(s->leader))
        return;
    if (now < s->not_before_ms) {
        wake_in(s, s->not_before_ms - now);
        return;
    }
    /* What changed while a plan is carried out may contradict what is left of it: plan again. While changes
     * are still being collected the plan goes on. */
    if (s->plan.ops.len > 0 &&
        (s->batch == s->plan.batch_ends.len || (!list_empty(&s->desired.dirty) && s->collect_since_ms == 0)))
        plan_drop(s);
    if (s->plan.ops.len == 0 && s->collect_since_ms == 0) {
        recheck_sent(s, now);
        plan_next(s);
        if (s->plan.ops.len == 0)
            plan_drop(s);
    }
    if (s->plan.ops.len > 0)
        send_batch(s);
    else if (!list_empty(&s->desired.sent) && s->collect_since_ms == 0)
        wake_in(s, CONFIRM_MS);
}

static void on_leader(void *data, bool leading)
{
    struct sync *s = data;

    if (leading) {
        log_info("sync", "writing %s, epoch %llu", s->base, (unsigned long long)leader_epoch(s->leader));
        if (s->fresh)
            compare_all(s);
        return;
    }
    log_info("sync", "no longer writing %s", s->base);
    while (!list_empty(&s->desired.sent))
        list_remove(s->desired.sent.next);
    if (!s->in_flight)
        plan_drop(s);
}

/* ---- interface ---- */

static char **dup_strings(const char *const *v, size_t n)
{
    char **out = x_calloc(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = x_strdup(v[i]);
    return out;
}

static void init_prefixes(struct sync *s, const struct sync_options *opt)
{
    static const char *const everything[] = {""};
    bool all = opt->label_prefix_count == 0;

    s->convert.label_prefix_count = all ? 1 : opt->label_prefix_count;
    s->label_prefixes = dup_strings(all ? everything : opt->label_prefixes, s->convert.label_prefix_count);
    s->convert.label_prefixes = (const char *const *)s->label_prefixes;
    s->convert.annotation_prefix_count = opt->annotation_prefix_count;
    s->annotation_prefixes = dup_strings(opt->annotation_prefixes, opt->annotation_prefix_count);
    s->convert.annotation_prefixes = (const char *const *)s->annotation_prefixes;
}

static void sync_free(struct sync *s)
{
    desired_done(&s->desired);
    plan_done(&s->plan);
    for (size_t i = 0; s->label_prefixes[i]; i++)
        free(s->label_prefixes[i]);
    for (size_t i = 0; s->annotation_prefixes[i]; i++)
        free(s->annotation_prefixes[i]);
    free(s->label_prefixes);
    free(s->annotation_prefixes);
    free(s->base);
    free(s);
}

int sync_open(uv_loop_t *loop, quoll_client *client, const struct sync_options *opt, struct sync **ret)
{
    const char *root = opt->root ? opt->root : REGISTRY_ROOT_DEFAULT;
    const char *cluster = opt->cluster ? opt->cluster : REGISTRY_CLUSTER_DEFAULT;
    size_t n = strlen(root);

    while (n > 0 && root[n - 1] == '/')
        n--;
    if (root[0] != '/' || !cluster[0] || strchr(cluster, '/') || cluster[0] == '.')
        return RC_INVAL;
    struct sync *s = x_calloc(1, sizeof(*s));
    s->loop = loop;
    s->client = client;
    s->base = x_asprintf("%.*s/%s", (int)n, root, cluster);
    s->base_len = strlen(s->base);
    s->on_problem = opt->on_problem;
    s->data = opt->data;
    s->handler = (struct kube_handler){s, on_upsert, on_delete, on_kind_synced, on_source_problem};
    s->retry_ms = RETRY_MIN_MS;
    s->limits = (struct plan_limits){BATCH_OPS_MAX, BATCH_BYTES_MAX};
    init_prefixes(s, opt);
    desired_init(&s->desired);
    s->pods = opt->pods;
    if (s->pods)
        desired_pods_begin(&s->desired, clock_mono_ms());

    struct quoll_cache_handler h = {s, on_cache_change, on_cache_synced, on_cache_stale};
    if (quoll_cache_open(client, s->base, &h, &s->cache) != 0) {
        sync_free(s);
        return RC_INVAL;
    }
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    s->leader = leader_open(loop, client, s->base, &(struct leader_handler){s, on_leader, on_source_problem});
    s->handles_open = 2;
    *ret = s;
    return 0;
}

const struct kube_handler *sync_handler(struct sync *s)
{
    return &s->handler;
}

void sync_stats(const struct sync *s, struct sync_stats *ret)
{
    *ret = s->stats;
    ret->leading = leader_leading(s->leader);
    ret->standing_by = leader_standing_by(s->leader);
    ret->epoch = leader_epoch(s->leader);
    ret->wanted_services = s->desired.services;
    ret->wanted_slices = s->desired.slices;
    ret->wanted_namespaces = s->desired.namespaces;
    ret->wanted_pods = s->desired.pods;
    ret->in_step = ret->leading && ret->kinds_synced && s->fresh && !s->in_flight && s->plan.ops.len == 0 &&
                   list_empty(&s->desired.dirty) && list_empty(&s->desired.sent);
}

static void one_closed(struct sync *s)
{
    if (--s->handles_open > 0)
        return;
    void (*closed)(void *) = s->closed;
    void *closed_data = s->closed_data;
    sync_free(s);
    if (closed)
        closed(closed_data);
}

static void on_leader_closed(void *data)
{
    one_closed(data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

void sync_close(struct sync *s, void (*closed)(void *data), void *data)
{
    if (!s)
        return;
    s->closing = true;
    s->closed = closed;
    s->closed_data = data;
    if (s->in_flight_ref)
        s->in_flight_ref->s = NULL;
    quoll_cache_close(s->cache);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    leader_close(s->leader, on_leader_closed, s);
}
