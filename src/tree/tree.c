/* tree.c - the tree as a whole: its life, lookups, stats, sessions, figures, invariants. */
#include "internal.h"

static struct tree *tree_alloc(const struct tree_options *opt)
{
    struct tree *t = x_calloc(1, sizeof(*t));
    if (opt)
        t->opt = *opt;
    index_init(&t->index);
    acl_cache_init(&t->acls);
    list_init(&t->containers);
    list_init(&t->ttls);
    struct zk_stat_persisted zero = { 0 };
    t->root = node_add(t, NULL, jstr_of(""), 0, (struct jbuf){ (const uint8_t *)"", 0 },
                       acl_cache_by_id(&t->acls, -1), &zero);
    /* The reference keeps the root under two names and counts it twice. */
    t->stats.nodes++;
    t->stats.data_bytes++;
    return t;
}

struct tree *tree_new(const struct tree_options *opt)
{
    struct tree *t = tree_alloc(opt);
    t->root_loaded = true;
    tree_add_reserved(t);
    return t;
}

struct tree *tree_load_begin(const struct tree_options *opt)
{
    struct tree *t = tree_alloc(opt);
    t->loading = true;
    return t;
}

static void free_node_only(void *data, struct znode *n)
{
    (void)data;
    if (n->flags & NODE_DATA_OUT)
        free((void *)(uintptr_t)znode_data(n).p);
    free(n->ext);
    free(n);
}

void tree_free(struct tree *t)
{
    if (!t)
        return;
    ASSERT(t->walks == NULL);
    index_each(&t->index, free_node_only, NULL);
    index_free(&t->index);
    free_node_only(NULL, t->root);
    acl_cache_free(&t->acls);
    u64map_free(&t->sessions, free);
    strmap_free(&t->quotas, NULL);
    VEC_FREE(&t->watches);
    free(t);
}

/* ---- looking up ---- */
const struct znode *tree_find(const struct tree *t, struct jstr path)
{
    return path.p ? node_find(t, path, path_hash(path)) : NULL;
}

const struct znode *znode_parent(const struct znode *n)
{
    return n->parent;
}

void znode_stat_persisted(const struct znode *n, struct zk_stat_persisted *s)
{
    const struct znode_ext *e = n->ext;
    *s = (struct zk_stat_persisted){ .czxid = n->czxid, .mzxid = n->mzxid, .ctime = n->ctime, .mtime = n->mtime,
                                     .version = n->version, .cversion = e ? e->cversion : 0,
                                     .aversion = e ? e->aversion : 0, .ephemeral_owner = e ? e->owner : 0,
                                     .pzxid = node_pzxid(n) };
}

void znode_stat(const struct tree *t, const struct znode *n, struct zk_stat *s)
{
    (void)t;
    const struct znode_ext *e = n->ext;
    int32_t children = e ? e->child_count : 0;
    /* Clients count creations and deletions; the tree counts creations (spec: raw cversion). */
    uint32_t cversion = 2 * (uint32_t)node_cversion(n) - (uint32_t)children;
    *s = (struct zk_stat){ .czxid = n->czxid, .mzxid = n->mzxid, .ctime = n->ctime, .mtime = n->mtime,
                           .version = n->version, .cversion = (int32_t)cversion, .aversion = e ? e->aversion : 0,
                           .ephemeral_owner = e && e->kind == ZNODE_EPHEMERAL ? e->owner : 0,
                           .data_length = MAX(n->data_len, 0), .num_children = children, .pzxid = node_pzxid(n) };
}

int32_t znode_child_count(const struct znode *n)
{
    return n->ext ? n->ext->child_count : 0;
}

int64_t tree_acl_id(const struct tree *t, const struct znode *n)
{
    return t->acls.slots.items[n->acl].id;
}

struct jacls tree_acl(const struct tree *t, const struct znode *n)
{
    return t->acls.slots.items[n->acl].acl;
}

struct jstr znode_path(const struct znode *n, struct arena *a)
{
    if (!n->parent)
        return jstr_of("/");
    size_t len = node_path_len(n);
    char *p = arena_alloc(a, len);
    node_path_write(n, p + len);
    return jstr_n(p, len);
}

const struct znode *znode_first_child(const struct znode *n)
{
    return n->ext ? n->ext->first_child : NULL;
}

const struct znode *znode_next_sibling(const struct znode *n)
{
    return n->next;
}

struct jstr znode_name(const struct znode *n)
{
    return znode_name_of(n);
}

enum znode_kind tree_owner_kind(const struct tree *t, int64_t owner, int64_t *ret_ttl_ms)
{
    const uint64_t o = (uint64_t)owner, ttl_mask = (UINT64_C(1) << 40) - 1;
    if (t->opt.extended_types && o >> 56 == 0xff && (o >> 40 & 0xffff) == 0) {
        if (ret_ttl_ms)
            *ret_ttl_ms = (int64_t)(o & ttl_mask);
        return ZNODE_TTL;
    }
    if (owner == ZK_OWNER_CONTAINER)
        return ZNODE_CONTAINER;
    return owner == 0 ? ZNODE_PERSISTENT : ZNODE_EPHEMERAL;
}

int64_t tree_last_zxid(const struct tree *t)
{
    return t->last_zxid;
}

void tree_set_last_zxid(struct tree *t, int64_t zxid)
{
    t->last_zxid = zxid;
}

uint64_t tree_digest(const struct tree *t)
{
    return t->digest;
}

void tree_stats(const struct tree *t, struct tree_stats *ret)
{
    *ret = t->stats;
    ret->acls = tree_acl_count(t);
}

void tree_attach_watches(struct tree *t, struct watch_table *wt)
{
    VEC_PUSH(&t->watches, wt);
}

void tree_detach_watches(struct tree *t, struct watch_table *wt)
{
    for (size_t i = 0; i < t->watches.len; i++) {
        if (t->watches.items[i] == wt) {
            memmove(&t->watches.items[i], &t->watches.items[i + 1],
                    (t->watches.len - i - 1) * sizeof(t->watches.items[0]));
            t->watches.len--;
            return;
        }
    }
}

/* ---- sessions ---- */
struct session *session_of(struct tree *t, int64_t id)
{
    struct session *s = u64map_get(&t->sessions, (uint64_t)id);
    if (s)
        return s;
    s = x_calloc(1, sizeof(*s));
    s->id = id;
    list_init(&s->ephemerals);
    u64map_set(&t->sessions, (uint64_t)id, s);
    return s;
}

const struct session *session_get(const struct tree *t, int64_t id)
{
    return u64map_get(&t->sessions, (uint64_t)id);
}

void session_settle(struct tree *t, struct session *s)
{
    if (s->known || s->count > 0)
        return;
    u64map_del(&t->sessions, (uint64_t)s->id);
    free(s);
}

void session_add(struct tree *t, int64_t id, int32_t timeout_ms)
{
    struct session *s = session_of(t, id);
    t->session_count += !s->known;
    s->known = true;
    s->timeout_ms = timeout_ms;
}

void session_remove(struct tree *t, int64_t id)
{
    struct session *s = u64map_get(&t->sessions, (uint64_t)id);
    if (!s)
        return;
    t->session_count -= s->known;
    s->known = false;
    s->timeout_ms = 0;
    session_settle(t, s);
}

bool tree_session_known(const struct tree *t, int64_t id)
{
    const struct session *s = session_get(t, id);
    return s && s->known;
}

int32_t tree_session_timeout(const struct tree *t, int64_t id)
{
    const struct session *s = session_get(t, id);
    return s ? s->timeout_ms : 0;
}

void tree_each_session(const struct tree *t, void (*fn)(void *data, int64_t id, int32_t timeout_ms), void *data)
{
    U64MAP_EACH(slot, &t->sessions)
    {
        const struct session *s = slot->value;
        if (s->known)
            fn(data, s->id, s->timeout_ms);
    }
}

size_t tree_session_count(const struct tree *t)
{
    return t->session_count;
}

void tree_each_ephemeral(const struct tree *t, int64_t session, void (*fn)(void *data, const struct znode *n), void *data)
{
    const struct session *s = session_get(t, session);
    if (s)
        LIST_EACH(it, &s->ephemerals) fn(data, CONTAINER_OF(it, struct znode_ext, owned)->node);
}

void tree_each_ephemeral_owner(const struct tree *t, void (*fn)(void *data, int64_t session, size_t count), void *data)
{
    U64MAP_EACH(slot, &t->sessions)
    {
        const struct session *s = slot->value;
        if (s->count > 0)
            fn(data, s->id, s->count);
    }
}

size_t tree_kill_orphans(struct tree *t)
{
    struct VEC(int64_t) orphans = { 0 };
    U64MAP_EACH(slot, &t->sessions)
    {
        const struct session *s = slot->value;
        if (!s->known)
            VEC_PUSH(&orphans, s->id);
    }
    size_t count = 0;
    struct arena a = arena_init();
    for (size_t i = 0; i < orphans.len; i++) {
        const struct session *s;
        while ((s = session_get(t, orphans.items[i])) != NULL) {
            ASSERT(!list_empty(&s->ephemerals));
            struct jstr path = znode_path(CONTAINER_OF(s->ephemerals.next, struct znode_ext, owned)->node, &a);
            ASSERT(apply_delete(t, path, t->last_zxid) == ZK_OK);
            arena_reset(&a);
            count++;
        }
    }
    arena_free(&a);
    VEC_FREE(&orphans);
    return count;
}

/* ---- containers and TTL nodes ---- */
void tree_each_reapable(const struct tree *t, int64_t wall_ms, int64_t max_never_used_ms,
                        void (*fn)(void *data, const struct znode *n), void *data)
{
    LIST_EACH(it, &t->containers)
    {
        const struct znode_ext *e = CONTAINER_OF(it, struct znode_ext, owned);
        int64_t age = (int64_t)((uint64_t)wall_ms - (uint64_t)e->node->mtime);
        if (e->child_count == 0 && (e->cversion > 0 || (max_never_used_ms != 0 && age > max_never_used_ms)))
            fn(data, e->node);
    }
    LIST_EACH(it, &t->ttls)
    {
        const struct znode_ext *e = CONTAINER_OF(it, struct znode_ext, owned);
        int64_t age = (int64_t)((uint64_t)wall_ms - (uint64_t)e->node->mtime), ttl = 0;
        tree_owner_kind(t, e->owner, &ttl);
        if (e->child_count == 0 && ttl != 0 && age > ttl)
            fn(data, e->node);
    }
}

/* ---- ACL map ---- */
size_t tree_acl_count(const struct tree *t)
{
    size_t n = 0;
    for (size_t i = 1; i < t->acls.slots.len; i++)
        n += t->acls.slots.items[i].used && !t->acls.slots.items[i].unknown;
    return n;
}

void tree_each_acl(const struct tree *t, void (*fn)(void *data, int64_t id, struct jacls acl), void *data)
{
    for (size_t i = 1; i < t->acls.slots.len; i++) {
        const struct acl_entry *e = &t->acls.slots.items[i];
        if (e->used && !e->unknown)
            fn(data, e->id, e->acl);
    }
}
