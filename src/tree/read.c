/* read.c - what clients read. Nothing here changes the tree, so any number of readers run at once.
 * Source: FinalRequestProcessor (3.9). */
#include "internal.h"

static bool allowed(const struct tree *t, const struct znode *n, const struct auth_ids *ids, bool skip_acl, int32_t perm)
{
    return skip_acl || acl_allows(tree_acl(t, n), ids, perm);
}

/* Finds the node and checks READ. */
static int32_t readable(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, int32_t perm,
                        const struct znode **ret)
{
    const struct znode *n = tree_find(t, path);
    if (!n)
        return ZK_NONODE;
    if (!allowed(t, n, ids, skip_acl, perm))
        return ZK_NOAUTH;
    *ret = n;
    return ZK_OK;
}

int32_t tree_get_data(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct jbuf *data,
                      struct zk_stat *stat)
{
    const struct znode *n;
    int32_t err = readable(t, path, ids, skip_acl, ZK_PERM_READ, &n);
    if (err == ZK_OK) {
        *data = znode_data(n);
        znode_stat(t, n, stat);
    }
    return err;
}

int32_t tree_exists(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct zk_stat *stat)
{
    const struct znode *n;
    int32_t err = readable(t, path, ids, skip_acl, ZK_PERM_READ, &n);
    if (err == ZK_OK)
        znode_stat(t, n, stat);
    return err;
}

int32_t tree_get_children(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct wr *w,
                          struct zk_stat *stat)
{
    const struct znode *n;
    int32_t err = readable(t, path, ids, skip_acl, ZK_PERM_READ, &n);
    if (err != ZK_OK)
        return err;
    znode_stat(t, n, stat);
    wr_i32(w, znode_child_count(n));
    for (const struct znode *c = znode_first_child(n); c; c = c->next)
        jute_write_str(w, znode_name_of(c));
    return ZK_OK;
}

/* Without ADMIN a digest's hash is kept back: everything from the first colon on becomes ":x". */
static void write_masked(struct wr *w, struct jacls acl)
{
    wr_i32(w, acl.n);
    for (int32_t i = 0; i < acl.n; i++) {
        struct jstr id = acl.v[i].id;
        const char *colon = jstr_is(acl.v[i].scheme, "digest") && id.p ? memchr(id.p, ':', (size_t)id.n) : NULL;
        wr_i32(w, acl.v[i].perms);
        jute_write_str(w, acl.v[i].scheme);
        if (!colon) {
            jute_write_str(w, id);
            continue;
        }
        wr_i32(w, (int32_t)(colon - id.p) + 2);
        wr_bytes(w, id.p, (size_t)(colon - id.p));
        wr_text(w, ":x");
    }
}

int32_t tree_get_acl(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct wr *w,
                     struct zk_stat *stat)
{
    const struct znode *n;
    int32_t err = readable(t, path, ids, skip_acl, ZK_PERM_READ | ZK_PERM_ADMIN, &n);
    if (err != ZK_OK)
        return err;
    znode_stat(t, n, stat);
    if (allowed(t, n, ids, skip_acl, ZK_PERM_ADMIN))
        jute_write_acls(w, tree_acl(t, n));
    else
        write_masked(w, tree_acl(t, n));
    return ZK_OK;
}

int32_t tree_count_descendants(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl,
                               int32_t *ret)
{
    const struct znode *top;
    int32_t err = readable(t, path, ids, skip_acl, ZK_PERM_READ, &top);
    if (err != ZK_OK)
        return err;
    uint32_t count = 0;
    if (top == t->root)
        count = (uint32_t)t->index.count;
    else
        for (const struct znode *n = top; (n = node_next(top, n)) != NULL;)
            count++;
    *ret = (int32_t)count;
    return ZK_OK;
}

void tree_get_ephemerals(const struct tree *t, int64_t session, struct jstr prefix, struct wr *w)
{
    const struct session *s = session_get(t, session);
    bool blank = true; /* null, empty, blanks only */
    for (int32_t i = 0; i < prefix.n; i++)
        blank &= prefix.p[i] >= 0 && prefix.p[i] <= ' ';
    size_t at = w->n;
    uint32_t count = 0;
    wr_u32(w, 0);
    if (s)
        LIST_EACH(it, &s->ephemerals)
        {
            const struct znode *n = CONTAINER_OF(it, struct znode_ext, owned)->node;
            size_t len = node_path_len(n), start = w->n;
            wr_i32(w, (int32_t)len);
            char *p = (char *)wr_room(w, len);
            if (!p)
                return;
            node_path_write(n, p + len);
            if (blank || (len >= (size_t)prefix.n && memcmp(p, prefix.p, (size_t)prefix.n) == 0))
                count++;
            else
                w->n = start;
        }
    wr_patch_u32(w, at, count);
}

/* What one path of setWatches leads to: an event for what was missed, or ZK_EVENT_NONE: register (spec 4.6). */
enum rewatch { REWATCH_DATA, REWATCH_EXIST, REWATCH_CHILD };

static enum zk_event_type missed(const struct znode *n, enum rewatch what, int64_t since)
{
    if (what == REWATCH_EXIST)
        return n ? ZK_EVENT_CREATED : ZK_EVENT_NONE;
    if (!n)
        return ZK_EVENT_DELETED;
    if (what == REWATCH_DATA)
        return n->mzxid > since ? ZK_EVENT_DATA_CHANGED : ZK_EVENT_NONE;
    return node_pzxid(n) > since ? ZK_EVENT_CHILDREN_CHANGED : ZK_EVENT_NONE;
}

void tree_set_watches(const struct tree *t, struct watch_table *wt, struct watcher *w, const struct set_watches2 *req,
                      void (*emit)(void *data, enum zk_event_type type, struct jstr path), void *data)
{
    const struct jstrs *lists[] = { [REWATCH_DATA] = &req->data, [REWATCH_EXIST] = &req->exist,
                                    [REWATCH_CHILD] = &req->child };
    for (enum rewatch what = REWATCH_DATA; what <= REWATCH_CHILD; what++) {
        for (int32_t i = 0; i < lists[what]->n; i++) {
            struct jstr path = lists[what]->v[i];
            if (!path.p)
                continue; /* names nothing that could be watched */
            enum zk_event_type type = missed(tree_find(t, path), what, req->relative_zxid);
            if (type != ZK_EVENT_NONE)
                emit(data, type, path);
            else
                watch_add(wt, w, path, what == REWATCH_CHILD ? WATCH_CHILD : WATCH_DATA, WATCH_STANDARD);
        }
    }
    for (int32_t i = 0; i < req->persistent.n; i++)
        if (req->persistent.v[i].p)
            watch_add_persistent(wt, w, req->persistent.v[i], ZK_WATCH_PERSISTENT);
    for (int32_t i = 0; i < req->recursive.n; i++)
        if (req->recursive.v[i].p)
            watch_add_persistent(wt, w, req->recursive.v[i], ZK_WATCH_PERSISTENT_RECURSIVE);
}
