/* load.c - filling a tree from a snapshot, and walking it to write one. */
#include "internal.h"

/* ---- the reserved tree ---- */
static void add_reserved(struct tree *t, const char *text, struct jacls acl, int32_t aversion)
{
    struct jstr path = jstr_of(text), parent_path, name;
    uint32_t hash = path_hash(path);
    if (node_find(t, path, hash))
        return;
    ASSERT(path_split(path, &parent_path, &name));
    struct znode *parent = node_find(t, parent_path, path_hash(parent_path));
    struct zk_stat_persisted stat = { .aversion = aversion };
    /* The parent's stat stays as it is: no transaction made these. */
    node_add(t, parent, path, hash, (struct jbuf){ (const uint8_t *)"", 0 }, acl_cache_intern(&t->acls, acl), &stat);
}

void tree_add_reserved(struct tree *t)
{
    struct jacl read_only = { ZK_PERM_READ, jstr_of("world"), jstr_of("anyone") };
    add_reserved(t, "/zookeeper", (struct jacls){ NULL, -1 }, 0);
    add_reserved(t, "/zookeeper/quota", (struct jacls){ NULL, -1 }, 0);
    add_reserved(t, "/zookeeper/config", (struct jacls){ &read_only, 1 }, -1);
}

/* ---- loading ---- */
void tree_load_session(struct tree *t, int64_t id, int32_t timeout_ms)
{
    session_add(t, id, timeout_ms);
}

void tree_load_acl(struct tree *t, int64_t id, struct jacls acl)
{
    acl_cache_load(&t->acls, id, acl);
}

static int load_root(struct tree *t, struct jbuf data, int64_t acl_id, const struct zk_stat_persisted *s)
{
    if (t->root_loaded)
        return RC_CORRUPT;
    struct znode *n = t->root;
    t->root_loaded = true;
    node_digest_out(t, n, jstr_of(""));
    n = node_set_data(t, n, data);
    n->czxid = s->czxid, n->mzxid = s->mzxid, n->ctime = s->ctime, n->mtime = s->mtime, n->version = s->version;
    struct znode_ext *e = node_ext(t, n, jstr_of(""));
    e->cversion = s->cversion, e->aversion = s->aversion, e->pzxid = s->pzxid, e->owner = s->ephemeral_owner;
    node_digest_in(t, n, jstr_of(""), true);
    acl_cache_unref(&t->acls, n->acl, true);
    n->acl = acl_cache_by_id(&t->acls, acl_id);
    return 0;
}

int tree_load_node(struct tree *t, struct jstr path, struct jbuf data, int64_t acl_id, const struct zk_stat_persisted *stat)
{
    struct jstr parent_path, name;
    if (path.p && path.n == 0)
        return load_root(t, data, acl_id, stat);
    if (!t->root_loaded || !path_split(path, &parent_path, &name))
        return RC_CORRUPT;
    struct znode *parent = node_find(t, parent_path, path_hash(parent_path));
    uint32_t hash = path_hash(path);
    if (!parent || node_find(t, path, hash))
        return RC_CORRUPT;
    node_add(t, parent, path, hash, data, acl_cache_by_id(&t->acls, acl_id), stat);
    return 0;
}

int tree_load_end(struct tree *t, int64_t last_zxid)
{
    if (!t->root_loaded)
        return RC_CORRUPT;
    tree_add_reserved(t);
    t->last_zxid = last_zxid;
    return 0;
}

void tree_load_settle(struct tree *t)
{
    t->loading = false;
    acl_cache_settle(&t->acls);
    quota_rebuild(t);
}

/* ---- walking ----
 * Readers begin and end walks, the writer looks through the list: those two exclude each other by the tree's lock, readers among
 * themselves by this flag, for the few instructions that a list takes. */
static void walks_lock(struct tree *t)
{
    while (atomic_flag_test_and_set_explicit(&t->walks_busy, memory_order_acquire))
        ;
}

static void walks_unlock(struct tree *t)
{
    atomic_flag_clear_explicit(&t->walks_busy, memory_order_release);
}

struct tree_walk *tree_walk_begin(struct tree *t)
{
    struct tree_walk *w = x_calloc(1, sizeof(*w));
    w->tree = t;
    w->zxid = t->last_zxid;
    walks_lock(t);
    w->next = t->walks;
    t->walks = w;
    walks_unlock(t);
    return w;
}

int64_t tree_walk_zxid(const struct tree_walk *w)
{
    return w->zxid;
}

void tree_walk_end(struct tree_walk *w)
{
    if (!w)
        return;
    walks_lock(w->tree);
    struct tree_walk **at = &w->tree->walks;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    walks_unlock(w->tree);
    VEC_FREE(&w->path);
    free(w);
}

/* New siblings come in at the front, so what the walk has yet to see of them is always behind the cursor's `next`. When the
 * node under the cursor goes, the cursor steps back: behind the sibling before it, or to the parent's first child, which then
 * is the sibling behind it. Nothing is seen twice, nothing that stays is missed. */
void walks_node_gone(struct tree *t, const struct znode *n)
{
    for (struct tree_walk *w = t->walks; w; w = w->next) {
        if (w->at != n)
            continue;
        w->at = n->prev ? n->prev : n->parent;
        w->phase = n->prev ? WALK_LEAVE : WALK_ENTER;
    }
}

void walks_node_moved(struct tree *t, const struct znode *old, struct znode *n)
{
    for (struct tree_walk *w = t->walks; w; w = w->next)
        if (w->at == old)
            w->at = n;
}

static bool walk_takes(const struct tree_walk *w, const struct znode *n)
{
    return n->czxid <= w->zxid;
}

/* Moves to the next node that belongs to the snapshot. A node that does not is passed over with all below it, which is
 * younger still. */
static bool walk_step(struct tree_walk *w)
{
    struct znode *n = NULL;
    if (w->phase == WALK_DONE)
        return false;
    if (w->phase == WALK_START) {
        w->at = w->tree->root;
        w->phase = WALK_ENTER;
        return true;
    }
    for (;;) {
        if (w->phase == WALK_ENTER)
            n = w->at->ext ? w->at->ext->first_child : NULL;
        else
            n = w->at->next;
        while (n && !walk_takes(w, n))
            n = n->next;
        if (n) {
            w->at = n;
            w->phase = WALK_ENTER;
            return true;
        }
        if (w->phase == WALK_ENTER) {
            w->phase = WALK_LEAVE; /* no children: behind this node */
            if (w->at->parent)
                continue;
        } else if (w->at->parent->parent) {
            w->at = w->at->parent;
            continue;
        }
        w->at = NULL;
        w->phase = WALK_DONE;
        return false;
    }
}

bool tree_walk_next(struct tree_walk *w, struct tree_walk_node *ret)
{
    if (!walk_step(w))
        return false;
    const struct znode *n = w->at;
    size_t len = node_path_len(n);
    VEC_RESERVE(&w->path, len + 1);
    node_path_write(n, w->path.items + len);
    *ret = (struct tree_walk_node){ .path = jstr_n(w->path.items, len), .data = znode_data(n),
                                    .acl_id = tree_acl_id(w->tree, n) };
    znode_stat_persisted(n, &ret->stat);
    return true;
}
