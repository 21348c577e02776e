/* desired.c - bookkeeping of what shall be in the registry. */
#include "desired.h"

#include "convert.h"
#include "discovery/model.h"

static const char namespace_data[] = "{\"managedBy\":\"" SYNC_MANAGED_BY "\",\"schema\":1}";

void desired_init(struct desired *d)
{
    *d = (struct desired){0};
    list_init(&d->dirty);
    list_init(&d->sent);
}

static void state_free(void *p)
{
    struct path_state *st = p;
    list_remove(&st->dirty);
    list_remove(&st->sent);
    list_remove(&st->sibling);
    free(st->path);
    free(st->data);
    free(st);
}

void desired_done(struct desired *d)
{
    STRMAP_EACH(slot, &d->states)
    {
        struct path_state *st = slot->value; /* unlink from both ends before any of them goes */
        list_init(&st->slices);
        list_init(&st->sibling);
    }
    strmap_free(&d->states, state_free);
    strmap_free(&d->slice_homes, NULL);
}

struct path_state *desired_get(struct desired *d, const char *path)
{
    return strmap_get_s(&d->states, path);
}

static bool is_service(const struct path_state *st)
{
    return st->parent && !st->parent->parent;
}

struct path_state *desired_need(struct desired *d, const char *path)
{
    struct path_state *st = strmap_get_s(&d->states, path);
    const char *slash = strrchr(path, '/');

    if (st)
        return st;
    st = x_calloc(1, sizeof(*st));
    st->path = x_strdup(path);
    list_init(&st->slices);
    list_init(&st->sibling);
    list_init(&st->dirty);
    list_init(&st->sent);
    strmap_set_s(&d->states, path, st);
    if (slash) {
        char *parent = x_strndup(path, (size_t)(slash - path));
        st->parent = desired_need(d, parent);
        free(parent);
        st->parent->users++; /* keeps it from being forgotten */
        if (st->parent->parent)
            list_push_back(&st->parent->slices, &st->sibling);
    }
    return st;
}

/* Forgets st, and then its parents, when nothing is known of them. */
static void forget(struct desired *d, struct path_state *st)
{
    while (st && !st->data && !st->hold && st->users == 0 && list_empty(&st->dirty) &&
           list_empty(&st->sent)) {
        struct path_state *parent = st->parent;
        strmap_del_s(&d->states, st->path);
        state_free(st);
        if (parent)
            parent->users--;
        st = parent;
    }
}

void desired_mark(struct desired *d, struct path_state *st)
{
    if (list_empty(&st->dirty))
        list_push_back(&d->dirty, &st->dirty);
}

void desired_mark_all(struct desired *d)
{
    STRMAP_EACH(slot, &d->states)
    {
        desired_mark(d, slot->value);
    }
}

void desired_settle(struct desired *d, struct path_state *st)
{
    list_remove(&st->dirty);
    st->since_ms = 0;
    forget(d, st);
}

static bool set_data(struct desired *d, struct path_state *st, char *data, int64_t now_ms)
{
    st->hold = false;
    if (data && st->data && strcmp(data, st->data) == 0) {
        free(data);
        return false;
    }
    free(st->data);
    st->data = data;
    if (st->since_ms == 0)
        st->since_ms = now_ms;
    st->lost = 0;
    desired_mark(d, st);
    return true;
}

bool desired_namespace(struct desired *d, const char *ns, bool exists, int64_t now_ms)
{
    struct path_state *st = exists ? desired_need(d, ns) : desired_get(d, ns);
    if (!st || (!exists && !st->data))
        return false;
    d->namespaces += (size_t)exists - (st->data != NULL);
    return set_data(d, st, exists ? x_strdup(namespace_data) : NULL, now_ms);
}

/* After a change of a service's data or hold: its namespace is needed, or no more; its slices are let go, or
 * kept back. */
static void service_turned(struct desired *d, struct path_state *st, bool was_live)
{
    bool live = st->data || st->hold;

    st->parent->live += (size_t)live - (size_t)was_live;
    desired_mark(d, st->parent);
    LIST_EACH(it, &st->slices)
    desired_mark(d, CONTAINER_OF(it, struct path_state, sibling));
}

bool desired_service(struct desired *d, const char *ns, const char *name, char *data, int64_t now_ms)
{
    char *path = x_asprintf("%s/%s", ns, name);
    struct path_state *st = data ? desired_need(d, path) : desired_get(d, path);

    free(path);
    if (!st || (!data && !st->data && !st->hold))
        return false;
    bool was = st->data != NULL, is = data != NULL, was_live = was || st->hold;
    d->services += (size_t)is - (size_t)was;
    bool changed = set_data(d, st, data, now_ms);
    if (was != is || was_live != is)
        service_turned(d, st, was_live);
    return changed;
}

static void slice_leave(struct desired *d, struct path_state *st, int64_t now_ms)
{
    d->slices -= st->data != NULL;
    (void)set_data(d, st, NULL, now_ms);
}

bool desired_slice(struct desired *d, const char *ns, const char *name, const char *service, char *data,
                   int64_t now_ms)
{
    char *key = x_asprintf("%s/%s", ns, name),
         *path = service ? x_asprintf("%s/%s/%s", ns, service, name) : NULL;
    struct path_state *home = strmap_get_s(&d->slice_homes, key);
    bool changed = false;

    if (home && (!path || strcmp(home->path, path) != 0)) {
        strmap_del_s(&d->slice_homes, key);
        slice_leave(d, home, now_ms);
        changed = true;
    }
    if (path) {
        struct path_state *st = desired_need(d, path);
        strmap_set_s(&d->slice_homes, key, st);
        d->slices += st->data == NULL;
        changed |= set_data(d, st, data, now_ms);
    }
    free(key);
    free(path);
    return changed;
}

void desired_hold(struct desired *d, const char *ns, const char *name, const char *service)
{
    char *path = service ? x_asprintf("%s/%s/%s", ns, service, name) : x_asprintf("%s/%s", ns, name);
    char *key = x_asprintf("%s/%s", ns, name);

    /* A slice that was good before, even if under another service, stands as it was. */
    if (!service || !strmap_get_s(&d->slice_homes, key)) {
        struct path_state *st = desired_need(d, path);
        bool was_live = st->data || st->hold;
        if (service)
            strmap_set_s(&d->slice_homes, key, st); /* its deletion has to find it */
        st->hold = st->data == NULL;
        if (!service && !was_live)
            service_turned(d, st, false);
    }
    free(key);
    free(path);
}

/* ---- Pods: ".pods/<namespace>/<pod>" ---- */

static char *pod_path(const char *ns, const char *name)
{
    return x_asprintf(REGISTRY_PODS "/%s/%s", ns, name);
}

void desired_pods_begin(struct desired *d, int64_t now_ms)
{
    (void)set_data(d, desired_need(d, REGISTRY_PODS), x_strdup(namespace_data), now_ms);
}

/* The node of the Pods' namespace comes with the first of them, and goes with the last. */
static void pod_turned(struct desired *d, struct path_state *st, bool was_live)
{
    bool live = st->data || st->hold, was_needed = st->parent->live > 0;

    st->parent->live += (size_t)live - (size_t)was_live;
    if (was_needed != (st->parent->live > 0))
        desired_mark(d, st->parent);
}

bool desired_pod(struct desired *d, const char *ns, const char *name, char *data, int64_t now_ms)
{
    char *path = pod_path(ns, name);
    struct path_state *st = data ? desired_need(d, path) : desired_get(d, path);

    free(path);
    if (!st || (!data && !st->data && !st->hold))
        return false;
    bool was_live = st->data || st->hold;
    d->pods += (size_t)(data != NULL) - (size_t)(st->data != NULL);
    bool changed = set_data(d, st, data, now_ms);
    pod_turned(d, st, was_live);
    return changed;
}

void desired_hold_pod(struct desired *d, const char *ns, const char *name)
{
    char *path = pod_path(ns, name);
    struct path_state *st = desired_need(d, path);
    bool was_live = st->data || st->hold;

    free(path);
    st->hold = st->data == NULL;
    pod_turned(d, st, was_live);
}

static struct plan_want want_pods(const struct path_state *st)
{
    if (!st->parent)
        return (struct plan_want){st->data != NULL, false, st->data};
    if (st->parent->parent)
        return (struct plan_want){st->data != NULL, st->hold, st->data};
    return (struct plan_want){.wanted = st->live > 0, .data = namespace_data};
}

struct plan_want desired_want(const struct desired *d, const char *path)
{
    const struct path_state *st = strmap_get_s(&d->states, path);

    if (!st)
        return (struct plan_want){0};
    if (registry_in_pods(path))
        return st->lost < DESIRED_LOST_MAX ? want_pods(st) : (struct plan_want){.hold = true};
    if (!st->parent) /* a namespace that is only named by objects in it exists as well */
        return (struct plan_want){.wanted = st->data || st->live > 0, .data = namespace_data};
    if (st->lost >= DESIRED_LOST_MAX)
        return (struct plan_want){.hold = true};
    if (is_service(st))
        return (struct plan_want){st->data != NULL, st->hold, st->data};
    return (struct plan_want){st->data && st->parent->data, st->hold || st->parent->hold, st->data};
}
