/* watches.c - the watch table. One entry per path, five lists of watchers in it. */
#include "watches.h"

#include "jute/records.h"

struct watcher_list VEC(struct watcher);
struct watch_path {
    struct watcher_list lists[WATCH_KINDS];
};
/* A snapshot of who is to be called. It lives on the stack of the dispatching function and is chained, so that
 * watches_forget can strike a watcher out of it. */
struct watch_dispatch {
    struct watcher_list todo;
    struct watch_dispatch *outer;
};

static void path_free(void *p)
{
    struct watch_path *wp = p;
    for (int k = 0; k < WATCH_KINDS; k++)
        VEC_FREE(&wp->lists[k]);
    free(wp);
}

void watches_free(struct watches *t)
{
    ASSERT(t->dispatching == NULL);
    strmap_free(&t->paths, path_free);
    *t = (struct watches){ 0 };
}

static size_t list_find(const struct watcher_list *l, struct watcher w)
{
    size_t i = 0;
    while (i < l->len && (l->items[i].fn != w.fn || l->items[i].data != w.data))
        i++;
    return i;
}

static bool path_empty(const struct watch_path *wp)
{
    for (int k = 0; k < WATCH_KINDS; k++)
        if (wp->lists[k].len)
            return false;
    return true;
}

static void path_drop_if_empty(struct watches *t, struct buf path)
{
    struct watch_path *wp = strmap_get(&t->paths, path);
    if (wp && path_empty(wp)) {
        strmap_del(&t->paths, path);
        path_free(wp);
    }
}

void watches_add(struct watches *t, const char *path, enum watch_kind kind, struct watcher w)
{
    struct watch_path *wp = strmap_get_s(&t->paths, path);
    if (!wp) {
        wp = x_calloc(1, sizeof(*wp));
        strmap_set_s(&t->paths, path, wp);
    }
    if (list_find(&wp->lists[kind], w) < wp->lists[kind].len)
        return;
    VEC_PUSH(&wp->lists[kind], w);
    t->counts[kind]++;
}

unsigned watches_kinds(const struct watches *t, const char *path, const struct watcher *w)
{
    const struct watch_path *wp = strmap_get_s(&t->paths, path);
    unsigned kinds = 0;
    for (int k = 0; wp && k < WATCH_KINDS; k++)
        if (w ? list_find(&wp->lists[k], *w) < wp->lists[k].len : wp->lists[k].len > 0)
            kinds |= WATCH_BIT(k);
    return kinds;
}

size_t watches_count(const struct watches *t, const char *path, unsigned kinds)
{
    const struct watch_path *wp = strmap_get_s(&t->paths, path);
    size_t n = 0;
    for (int k = 0; wp && k < WATCH_KINDS; k++)
        if (kinds & WATCH_BIT(k))
            n += wp->lists[k].len;
    return n;
}

static void todo_add(struct watch_dispatch *d, const struct watcher_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        if (list_find(&d->todo, l->items[i]) == d->todo.len)
            VEC_PUSH(&d->todo, l->items[i]);
}

/* Moves a list into the dispatch: what a one-shot watcher is. */
static void todo_take(struct watches *t, struct watch_dispatch *d, struct watch_path *wp, enum watch_kind kind)
{
    struct watcher_list *l = &wp->lists[kind];
    todo_add(d, l);
    t->counts[kind] -= l->len;
    VEC_FREE(l);
}

static void dispatch(struct watches *t, struct watch_dispatch *d, quoll_client *c, const struct quoll_event *ev)
{
    d->outer = t->dispatching;
    t->dispatching = d;
    for (size_t i = 0; i < d->todo.len; i++)
        if (d->todo.items[i].fn)
            d->todo.items[i].fn(c, ev, d->todo.items[i].data);
    t->dispatching = d->outer;
    VEC_FREE(&d->todo);
}

static unsigned kinds_of_event(enum quoll_event_type type)
{
    switch (type) {
    case QUOLL_EVENT_CREATED:
    case QUOLL_EVENT_DATA_CHANGED:
        return WATCH_BIT(WATCH_DATA) | WATCH_BIT(WATCH_EXIST) | WATCH_LASTING;
    case QUOLL_EVENT_CHILDREN_CHANGED:
        /* Not the recursive ones: they never asked for it. A server sends it because of another watch here. */
        return WATCH_BIT(WATCH_CHILD) | WATCH_BIT(WATCH_PERSISTENT);
    case QUOLL_EVENT_DELETED:
        return WATCH_ALL;
    default:
        return 0;
    }
}

/* The recursive watchers of path's proper ancestors, up to "/". */
static void todo_add_ancestors(const struct watches *t, struct watch_dispatch *d, const char *path)
{
    size_t n = strlen(path);
    while (n > 1) {
        while (n > 0 && path[n - 1] != '/')
            n--;
        if (n == 0)
            return; /* not an absolute path */
        n = n > 1 ? n - 1 : 1;
        const struct watch_path *wp = strmap_get(&t->paths, buf_of(path, n));
        if (wp)
            todo_add(d, &wp->lists[WATCH_RECURSIVE]);
    }
}

void watches_fire(struct watches *t, quoll_client *c, const char *path, const struct quoll_event *ev)
{
    struct watch_dispatch d = { 0 };
    unsigned kinds = kinds_of_event(ev->type);
    struct watch_path *wp = strmap_get_s(&t->paths, path);
    for (int k = 0; wp && k < WATCH_KINDS; k++) {
        if (kinds & WATCH_BIT(k) & WATCH_ONE_SHOT)
            todo_take(t, &d, wp, (enum watch_kind)k);
        else if (kinds & WATCH_BIT(k))
            todo_add(&d, &wp->lists[k]);
    }
    if (wp)
        path_drop_if_empty(t, buf_str(path));
    if ((kinds & WATCH_BIT(WATCH_RECURSIVE)) && t->counts[WATCH_RECURSIVE])
        todo_add_ancestors(t, &d, path);
    dispatch(t, &d, c, ev);
}

static int watcher_cmp(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct watcher));
}

/* Removes every list of these kinds, and the paths that are left with none. */
static void drop_kinds(struct watches *t, unsigned kinds)
{
    struct VEC(char *) empty = { 0 };
    STRMAP_EACH(slot, &t->paths)
    {
        struct watch_path *wp = slot->value;
        for (int k = 0; k < WATCH_KINDS; k++)
            if (kinds & WATCH_BIT(k)) {
                t->counts[k] -= wp->lists[k].len;
                VEC_FREE(&wp->lists[k]);
            }
        if (path_empty(wp))
            VEC_PUSH(&empty, x_strndup(slot->key, slot->key_len));
    }
    for (size_t i = 0; i < empty.len; i++) {
        path_drop_if_empty(t, buf_str(empty.items[i]));
        free(empty.items[i]);
    }
    VEC_FREE(&empty);
}

void watches_session(struct watches *t, quoll_client *c, const struct quoll_event *ev, unsigned drop)
{
    struct watch_dispatch d = { 0 };
    STRMAP_EACH(slot, &t->paths)
    {
        const struct watch_path *wp = slot->value;
        for (int k = 0; k < WATCH_KINDS; k++)
            for (size_t i = 0; i < wp->lists[k].len; i++)
                VEC_PUSH(&d.todo, wp->lists[k].items[i]);
    }
    if (d.todo.len > 1)
        qsort(d.todo.items, d.todo.len, sizeof(d.todo.items[0]), watcher_cmp);
    for (size_t i = 1; i < d.todo.len; i++) /* equal neighbours: one call for each pair */
        if (watcher_cmp(&d.todo.items[i - 1], &d.todo.items[i]) == 0)
            d.todo.items[i - 1].fn = NULL;
    if (drop)
        drop_kinds(t, drop);
    dispatch(t, &d, c, ev);
}

size_t watches_remove(struct watches *t, quoll_client *c, const char *path, unsigned kinds, const struct watcher *w,
                      const struct quoll_event *ev)
{
    struct watch_dispatch d = { 0 };
    struct watch_path *wp = strmap_get_s(&t->paths, path);
    for (int k = 0; wp && k < WATCH_KINDS; k++) {
        struct watcher_list *l = &wp->lists[k];
        if (!(kinds & WATCH_BIT(k)))
            continue;
        if (!w) {
            todo_take(t, &d, wp, (enum watch_kind)k);
            continue;
        }
        size_t i = list_find(l, *w);
        if (i == l->len)
            continue;
        if (list_find(&d.todo, *w) == d.todo.len)
            VEC_PUSH(&d.todo, *w);
        l->items[i] = l->items[--l->len];
        t->counts[k]--;
    }
    if (wp)
        path_drop_if_empty(t, buf_str(path));
    size_t n = d.todo.len;
    dispatch(t, &d, c, ev);
    return n;
}

void watches_remove_kinds(struct watches *t, quoll_client *c, unsigned kinds, struct quoll_event ev, size_t skip)
{
    struct VEC(char *) paths = { 0 };
    STRMAP_EACH(slot, &t->paths) VEC_PUSH(&paths, x_strndup(slot->key, slot->key_len));
    for (size_t i = 0; i < paths.len; i++) {
        ev.path = strlen(paths.items[i]) > skip ? paths.items[i] + skip : "/";
        if (watches_count(t, paths.items[i], kinds))
            watches_remove(t, c, paths.items[i], kinds, NULL, &ev);
        free(paths.items[i]);
    }
    VEC_FREE(&paths);
}

void watches_forget(struct watches *t, struct watcher w)
{
    struct VEC(char *) empty = { 0 };
    for (struct watch_dispatch *d = t->dispatching; d; d = d->outer)
        for (size_t i = 0; i < d->todo.len; i++)
            if (d->todo.items[i].fn == w.fn && d->todo.items[i].data == w.data)
                d->todo.items[i].fn = NULL;
    STRMAP_EACH(slot, &t->paths)
    {
        struct watch_path *wp = slot->value;
        for (int k = 0; k < WATCH_KINDS; k++) {
            struct watcher_list *l = &wp->lists[k];
            size_t i = list_find(l, w);
            if (i < l->len) {
                l->items[i] = l->items[--l->len];
                t->counts[k]--;
            }
        }
        if (path_empty(wp))
            VEC_PUSH(&empty, x_strndup(slot->key, slot->key_len));
    }
    for (size_t i = 0; i < empty.len; i++) {
        path_drop_if_empty(t, buf_str(empty.items[i]));
        free(empty.items[i]);
    }
    VEC_FREE(&empty);
}

struct batch {
    struct jstr_list VEC(struct jstr) lists[WATCH_KINDS];
    size_t bytes;
};

static struct jstrs batch_list(const struct batch *b, enum watch_kind k)
{
    return (struct jstrs){ b->lists[k].items, (int32_t)b->lists[k].len };
}

static void batch_write(struct batch *b, struct wr *out, int64_t relative_zxid, bool *ret_lasting)
{
    /* Servers before 3.6 know only setWatches: use it whenever it says all. */
    bool lasting = b->lists[WATCH_PERSISTENT].len || b->lists[WATCH_RECURSIVE].len;
    size_t at = jute_frame_begin(out);
    struct request_header h = { ZK_XID_SET_WATCHES, lasting ? ZK_OP_SET_WATCHES2 : ZK_OP_SET_WATCHES };
    request_header_write(out, &h);
    wr_i64(out, relative_zxid);
    for (int k = WATCH_DATA; k <= (lasting ? WATCH_RECURSIVE : WATCH_CHILD); k++)
        jute_write_strs(out, batch_list(b, (enum watch_kind)k));
    jute_frame_end(out, at);
    if (lasting)
        *ret_lasting = true;
    for (int k = 0; k < WATCH_KINDS; k++)
        b->lists[k].len = 0;
    b->bytes = 0;
}

size_t watches_write_set(const struct watches *t, struct wr *out, int64_t relative_zxid, size_t batch_bytes,
                         bool *ret_lasting)
{
    struct batch b = { 0 };
    size_t frames = 0;
    *ret_lasting = false;
    STRMAP_EACH(slot, &t->paths)
    {
        const struct watch_path *wp = slot->value;
        for (int k = 0; k < WATCH_KINDS; k++) {
            if (wp->lists[k].len == 0)
                continue;
            VEC_PUSH(&b.lists[k], jstr_n(slot->key, slot->key_len));
            b.bytes += slot->key_len;
            if (b.bytes >= batch_bytes) {
                batch_write(&b, out, relative_zxid, ret_lasting);
                frames++;
            }
        }
    }
    if (b.bytes) {
        batch_write(&b, out, relative_zxid, ret_lasting);
        frames++;
    }
    for (int k = 0; k < WATCH_KINDS; k++)
        VEC_FREE(&b.lists[k]);
    return frames;
}
