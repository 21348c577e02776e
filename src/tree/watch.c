/* watch.c - the watch table of one net thread: path -> entries, and (path, watcher) -> entry.
 *
 * An entry holds the modes of one watcher on one path for both kinds. It hangs in two lists: the path's, in the order of
 * registration, which is the order of firing; and the watcher's, so that a closing connection takes out just its own. */
#include "internal.h"

struct watch_path {
    uint32_t hash, len;
    uint32_t data_count; /* entries with a data watch */
    struct list entries; /* struct watch_entry.in_path */
    char path[];
};

struct watch_entry {
    uint32_t hash; /* of the pair */
    uint8_t modes[2]; /* by enum watch_kind */
    struct watch_path *path;
    struct watcher *watcher;
    struct list in_path;
    struct watch_entry *next, *prev; /* of the same watcher */
};

/* Pointers to structs that begin with their hash. Open addressing, backward shift deletion. */
struct hset {
    void **slots;
    size_t cap, len;
};

struct watch_table {
    watch_fire_fn fire;
    void *data;
    struct hset paths, entries;
    uint64_t recursive; /* entries with a recursive watch */
    uint64_t trigger;   /* number of the current one */
    uint64_t data_watches, child_watches, data_paths, data_watchers;
};

static uint32_t hash_at(const void *p)
{
    return *(const uint32_t *)p;
}

static void hset_put(struct hset *s, void *p)
{
    size_t i = hash_at(p) & (s->cap - 1);
    while (s->slots[i])
        i = (i + 1) & (s->cap - 1);
    s->slots[i] = p;
    s->len++;
}

static void hset_resize(struct hset *s, size_t cap)
{
    struct hset old = *s;
    *s = (struct hset){ x_calloc(cap, sizeof(*s->slots)), cap, 0 };
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i])
            hset_put(s, old.slots[i]);
    free(old.slots);
}

static void hset_add(struct hset *s, void *p)
{
    if ((s->len + 1) * 4 > s->cap * 3)
        hset_resize(s, s->cap ? s->cap * 2 : 16);
    hset_put(s, p);
}

static void hset_del(struct hset *s, const void *p)
{
    size_t mask = s->cap - 1, i = hash_at(p) & mask;
    while (s->slots[i] != p) {
        ASSERT(s->slots[i] != NULL);
        i = (i + 1) & mask;
    }
    for (size_t j = (i + 1) & mask; s->slots[j]; j = (j + 1) & mask) {
        size_t home = hash_at(s->slots[j]) & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            s->slots[i] = s->slots[j];
            i = j;
        }
    }
    s->slots[i] = NULL;
    s->len--;
    if (s->len == 0 && s->cap > 4096)
        hset_resize(s, 16); /* a wave of watches has gone */
}

struct watch_table *watch_table_new(watch_fire_fn fire, void *data)
{
    struct watch_table *t = x_calloc(1, sizeof(*t));
    t->fire = fire;
    t->data = data;
    return t;
}

void watch_table_free(struct watch_table *t)
{
    if (!t)
        return;
    ASSERT(t->entries.len == 0); /* every watcher left before */
    free(t->paths.slots);
    free(t->entries.slots);
    free(t);
}

bool watch_table_idle(const struct watch_table *t)
{
    return t->paths.len == 0;
}

/* ---- finding ---- */
static struct watch_path *path_find(const struct watch_table *t, struct jstr path, uint32_t hash)
{
    if (t->paths.len == 0)
        return NULL;
    for (size_t i = hash & (t->paths.cap - 1); t->paths.slots[i]; i = (i + 1) & (t->paths.cap - 1)) {
        struct watch_path *p = t->paths.slots[i];
        if (p->hash == hash && p->len == (uint32_t)path.n && (path.n == 0 || memcmp(p->path, path.p, p->len) == 0))
            return p;
    }
    return NULL;
}

static uint32_t pair_hash(const struct watch_path *p, const struct watcher *w)
{
    return (uint32_t)hash_u64((uintptr_t)p * 31 + (uintptr_t)w);
}

static struct watch_entry *entry_find(const struct watch_table *t, const struct watch_path *p, const struct watcher *w)
{
    if (!p || t->entries.len == 0)
        return NULL;
    uint32_t hash = pair_hash(p, w);
    for (size_t i = hash & (t->entries.cap - 1); t->entries.slots[i]; i = (i + 1) & (t->entries.cap - 1)) {
        struct watch_entry *e = t->entries.slots[i];
        if (e->path == p && e->watcher == w)
            return e;
    }
    return NULL;
}

/* ---- changing ---- */
/* All counters follow from this one place. An entry left without modes goes. */
static void entry_set(struct watch_table *t, struct watch_entry *e, enum watch_kind kind, uint8_t modes)
{
    uint8_t old = e->modes[kind];
    int was = old != 0, is = modes != 0;
    if (kind == WATCH_DATA) {
        t->recursive += (uint64_t)((modes & WATCH_RECURSIVE) != 0) - (uint64_t)((old & WATCH_RECURSIVE) != 0);
        t->data_watches += (uint64_t)(is - was);
        t->data_paths -= e->path->data_count > 0;
        e->path->data_count += (uint32_t)(is - was);
        t->data_paths += e->path->data_count > 0;
        t->data_watchers -= e->watcher->data_count > 0;
        e->watcher->data_count += (uint32_t)(is - was);
        t->data_watchers += e->watcher->data_count > 0;
    } else {
        t->child_watches += (uint64_t)(is - was);
    }
    e->modes[kind] = modes;
}

static void entry_free(struct watch_table *t, struct watch_entry *e)
{
    struct watch_path *p = e->path;
    entry_set(t, e, WATCH_DATA, 0);
    entry_set(t, e, WATCH_CHILD, 0);
    hset_del(&t->entries, e);
    list_remove(&e->in_path);
    if (e->prev)
        e->prev->next = e->next;
    else
        e->watcher->entries = e->next;
    if (e->next)
        e->next->prev = e->prev;
    e->watcher->entry_count--;
    free(e);
    if (list_empty(&p->entries)) {
        hset_del(&t->paths, p);
        free(p);
    }
}

static struct watch_entry *entry_make(struct watch_table *t, struct watcher *w, struct jstr path)
{
    uint32_t hash = path_hash(path);
    struct watch_path *p = path_find(t, path, hash);
    struct watch_entry *e = entry_find(t, p, w);
    if (e)
        return e;
    if (!p) {
        p = x_malloc(sizeof(*p) + (size_t)path.n);
        *p = (struct watch_path){ .hash = hash, .len = (uint32_t)path.n };
        list_init(&p->entries);
        if (path.n > 0)
            memcpy(p->path, path.p, (size_t)path.n);
        hset_add(&t->paths, p);
    }
    e = x_calloc(1, sizeof(*e));
    e->hash = pair_hash(p, w);
    e->path = p;
    e->watcher = w;
    list_push_back(&p->entries, &e->in_path);
    e->next = w->entries;
    if (e->next)
        e->next->prev = e;
    w->entries = e;
    w->entry_count++;
    hset_add(&t->entries, e);
    return e;
}

void watch_add(struct watch_table *t, struct watcher *w, struct jstr path, enum watch_kind kind, enum watch_mode mode)
{
    struct watch_entry *e = entry_make(t, w, path);
    entry_set(t, e, kind, (uint8_t)(e->modes[kind] | mode));
}

void watch_add_persistent(struct watch_table *t, struct watcher *w, struct jstr path, enum zk_add_watch_mode mode)
{
    if (mode == ZK_WATCH_PERSISTENT_RECURSIVE) {
        watch_add(t, w, path, WATCH_DATA, WATCH_RECURSIVE);
        return;
    }
    watch_add(t, w, path, WATCH_DATA, WATCH_PERSISTENT);
    watch_add(t, w, path, WATCH_CHILD, WATCH_PERSISTENT);
}

/* Which modes a watcher type means, by kind; `has` looks at fewer than `remove` for PERSISTENT (spec 4.7). */
static void type_modes(enum zk_watcher_type type, bool remove, uint8_t ret[2])
{
    const uint8_t any = WATCH_STANDARD | WATCH_PERSISTENT | WATCH_RECURSIVE;
    ret[WATCH_DATA] = ret[WATCH_CHILD] = 0;
    switch (type) {
    case ZK_WATCHER_CHILDREN:
        ret[WATCH_CHILD] = WATCH_STANDARD;
        break;
    case ZK_WATCHER_DATA:
        ret[WATCH_DATA] = WATCH_STANDARD;
        break;
    case ZK_WATCHER_PERSISTENT:
        ret[WATCH_DATA] = WATCH_PERSISTENT;
        ret[WATCH_CHILD] = remove ? WATCH_PERSISTENT : 0;
        break;
    case ZK_WATCHER_PERSISTENT_RECURSIVE:
        ret[WATCH_DATA] = WATCH_RECURSIVE;
        break;
    case ZK_WATCHER_ANY:
        ret[WATCH_DATA] = ret[WATCH_CHILD] = any;
        break;
    }
}

bool watch_has(const struct watch_table *t, const struct watcher *w, struct jstr path, enum zk_watcher_type type)
{
    uint8_t want[2];
    type_modes(type, false, want);
    const struct watch_entry *e = entry_find(t, path_find(t, path, path_hash(path)), w);
    return e && ((e->modes[WATCH_DATA] & want[WATCH_DATA]) || (e->modes[WATCH_CHILD] & want[WATCH_CHILD]));
}

bool watch_remove(struct watch_table *t, struct watcher *w, struct jstr path, enum zk_watcher_type type)
{
    uint8_t want[2];
    bool found = false;
    type_modes(type, true, want);
    struct watch_entry *e = entry_find(t, path_find(t, path, path_hash(path)), w);
    if (!e)
        return false;
    for (enum watch_kind kind = WATCH_DATA; kind <= WATCH_CHILD; kind++) {
        found |= (e->modes[kind] & want[kind]) != 0;
        entry_set(t, e, kind, e->modes[kind] & (uint8_t)~want[kind]);
    }
    if (!e->modes[WATCH_DATA] && !e->modes[WATCH_CHILD])
        entry_free(t, e);
    return found;
}

void watch_remove_all(struct watch_table *t, struct watcher *w)
{
    while (w->entries)
        entry_free(t, w->entries);
    ASSERT(w->entry_count == 0);
    w->told = 0; /* it may come back to another table */
}

/* ---- firing ---- */
struct firing {
    struct watch_table *t;
    enum zk_event_type type;
    struct jstr path;
    struct jacls acl;
    int64_t zxid;
};

static void tell(const struct firing *f, struct watcher *w)
{
    if (w->told == f->t->trigger)
        return;
    w->told = f->t->trigger;
    if (f->acl.n < 0 || acl_allows(f->acl, w->ids, ZK_PERM_READ))
        f->t->fire(f->t->data, w, f->type, f->path, f->zxid);
}

static void tell_exact(const struct firing *f, enum watch_kind kind, uint32_t hash)
{
    struct watch_path *p = path_find(f->t, f->path, hash);
    if (!p)
        return;
    bool last = false; /* freeing the last entry frees the path and the list's head with it */
    for (struct list *it = p->entries.next, *next; !last && it != &p->entries; it = next) {
        struct watch_entry *e = CONTAINER_OF(it, struct watch_entry, in_path);
        next = it->next;
        if (!e->modes[kind])
            continue;
        tell(f, e->watcher);
        entry_set(f->t, e, kind, e->modes[kind] & (uint8_t)~WATCH_STANDARD);
        if (!e->modes[WATCH_DATA] && !e->modes[WATCH_CHILD]) {
            last = it->next == it->prev;
            entry_free(f->t, e);
        }
    }
}

/* Recursive watchers of proper ancestors, the nearest first, up to "/". */
static void tell_ancestors(const struct firing *f)
{
    if (f->t->recursive == 0)
        return;
    struct jstr path = f->path;
    while (path.p && path.n > 1) {
        const char *slash = memrchr(path.p, '/', (size_t)path.n);
        if (!slash)
            return;
        path.n = slash == path.p ? 1 : (int32_t)(slash - path.p);
        const struct watch_path *p = path_find(f->t, path, path_hash(path));
        if (!p)
            continue;
        LIST_EACH(it, &p->entries)
        {
            const struct watch_entry *e = CONTAINER_OF(it, struct watch_entry, in_path);
            if (e->modes[WATCH_DATA] & WATCH_RECURSIVE)
                tell(f, e->watcher);
        }
    }
}

void watch_trigger_hashed(struct watch_table *t, enum watch_kind kind, enum zk_event_type type, struct jstr path, uint32_t hash,
                          struct jacls acl, int64_t zxid)
{
    if (t->paths.len == 0)
        return;
    struct firing f = { t, type, path, acl, zxid };
    t->trigger++;
    tell_exact(&f, kind, hash);
    if (kind == WATCH_DATA)
        tell_ancestors(&f);
}

void watch_trigger_delete_hashed(struct watch_table *t, struct jstr path, uint32_t hash, struct jacls acl, int64_t zxid)
{
    if (t->paths.len == 0)
        return;
    struct firing f = { t, ZK_EVENT_DELETED, path, acl, zxid };
    t->trigger++;
    tell_exact(&f, WATCH_DATA, hash);
    tell_ancestors(&f);
    tell_exact(&f, WATCH_CHILD, hash); /* same trigger number: nobody is told twice */
}

void watch_trigger(struct watch_table *t, enum watch_kind kind, enum zk_event_type type, struct jstr path, struct jacls acl,
                   int64_t zxid)
{
    watch_trigger_hashed(t, kind, type, path, path_hash(path), acl, zxid);
}

void watch_trigger_delete(struct watch_table *t, struct jstr path, struct jacls acl, int64_t zxid)
{
    watch_trigger_delete_hashed(t, path, path_hash(path), acl, zxid);
}

/* ---- figures ---- */
void watch_summary_add(const struct watch_table *t, struct watch_summary *sum)
{
    sum->connections += t->data_watchers;
    sum->paths += t->data_paths;
    sum->total += t->data_watches;
    sum->all += t->data_watches + t->child_watches;
}

void watch_each(const struct watch_table *t, void (*fn)(void *data, const struct watcher *w, struct jstr path), void *data)
{
    for (size_t i = 0; i < t->entries.cap; i++) {
        const struct watch_entry *e = t->entries.slots[i];
        if (e && e->modes[WATCH_DATA])
            fn(data, e->watcher, jstr_n(e->path->path, e->path->len));
    }
}
