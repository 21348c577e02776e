/* node.c - znodes: allocation, links, data, digest. Everything that keeps the index, the lists and the figures in step with
 * the nodes stands here, so that applying and loading cannot forget one. */
#include "crc.h"
#include "internal.h"

#define NODE_HEAD offsetof(struct znode, tail)

/* ---- paths ---- */
bool path_split(struct jstr path, struct jstr *parent, struct jstr *name)
{
    if (!path.p || path.n < 2 || path.p[0] != '/')
        return false;
    const char *slash = memrchr(path.p, '/', (size_t)path.n);
    *parent = (struct jstr){ path.p, (int32_t)(slash - path.p) };
    *name = (struct jstr){ slash + 1, path.n - parent->n - 1 };
    /* "//x": its parent would be "/", by which the root is found, and the node would go by two names. */
    return parent->n != 1 && name->n > 0 && name->n <= NODE_NAME_MAX;
}

size_t node_path_len(const struct znode *n)
{
    size_t len = 0;
    for (; n->parent; n = n->parent)
        len += 1 + n->name_len;
    return len;
}

void node_path_write(const struct znode *n, char *end)
{
    for (; n->parent; n = n->parent) {
        end -= n->name_len;
        memcpy(end, n->tail, n->name_len);
        *--end = '/';
    }
}

/* Is `path` the path of n? Compared from its end, component by component. */
static bool node_has_path(const struct znode *n, const char *p, size_t len)
{
    for (; n->parent; n = n->parent) {
        size_t name = n->name_len;
        if (len < name + 1)
            return false;
        len -= name;
        if (memcmp(p + len, n->tail, name) != 0 || p[--len] != '/')
            return false;
    }
    return len == 0;
}

struct znode *node_find(const struct tree *t, struct jstr path, uint32_t hash)
{
    if (path.n == 0 || (path.n == 1 && path.p[0] == '/'))
        return t->root;
    const struct index_seg *s = index_segment(&t->index, hash);
    uint64_t tag = hash & 0xffff, slot;
    for (uint32_t i = index_home(s, hash); (slot = s->slots[i]) != 0; i = i + 1 < s->size ? i + 1 : 0) {
        if (slot >> 48 != tag)
            continue;
        struct znode *n = index_slot_node(slot);
        if (n->hash == hash && node_has_path(n, path.p, (size_t)path.n))
            return n;
    }
    return NULL;
}

const struct znode *node_next(const struct znode *top, const struct znode *n)
{
    if (n->ext && n->ext->first_child)
        return n->ext->first_child;
    while (n != top && !n->next)
        n = n->parent;
    return n == top ? NULL : n->next;
}

/* ---- digest (version 2): CRC-32 of path, data and stat ---- */
bool tree_digest_covers(struct jstr path)
{
    static const char below[] = "/zookeeper/";
    return path.n < (int32_t)sizeof(below) - 1 || memcmp(path.p, below, sizeof(below) - 1) != 0;
}

static uint32_t body_crc(struct jstr path, struct jbuf data)
{
    uint32_t crc = tree_crc32(0, path.p, path.n == 1 ? 0 : (size_t)path.n); /* the root counts as "" */
    return data.p ? tree_crc32(crc, data.p, (size_t)data.n) : crc;
}

static uint32_t digest_of(uint32_t body, const struct zk_stat_persisted *s)
{
    uint8_t b[60];
    store_u64(b, (uint64_t)s->czxid);
    store_u64(b + 8, (uint64_t)s->mzxid);
    store_u64(b + 16, (uint64_t)s->pzxid);
    store_u64(b + 24, (uint64_t)s->ctime);
    store_u64(b + 32, (uint64_t)s->mtime);
    store_u32(b + 40, (uint32_t)s->version);
    store_u32(b + 44, (uint32_t)s->cversion);
    store_u32(b + 48, (uint32_t)s->aversion);
    store_u64(b + 52, (uint64_t)s->ephemeral_owner);
    return tree_crc32(body, b, sizeof(b));
}

uint64_t tree_node_digest(struct jstr path, struct jbuf data, const struct zk_stat_persisted *stat)
{
    return digest_of(body_crc(path, data), stat);
}

void node_digest_out(struct tree *t, struct znode *n, struct jstr path)
{
    if (t->opt.no_digest || !tree_digest_covers(path))
        return;
    if (n->ext) {
        t->digest -= n->ext->digest;
        return;
    }
    struct zk_stat_persisted s;
    znode_stat_persisted(n, &s);
    t->digest -= tree_node_digest(path, znode_data(n), &s);
}

void node_digest_in(struct tree *t, struct znode *n, struct jstr path, bool body_changed)
{
    if (t->opt.no_digest || !tree_digest_covers(path))
        return;
    struct zk_stat_persisted s;
    znode_stat_persisted(n, &s);
    uint32_t body = n->ext && !body_changed ? n->ext->body_crc : body_crc(path, znode_data(n));
    uint32_t digest = digest_of(body, &s);
    if (n->ext) {
        n->ext->body_crc = body;
        n->ext->digest = digest;
    }
    t->digest += digest;
}

struct znode_ext *node_ext(struct tree *t, struct znode *n, struct jstr path)
{
    if (n->ext)
        return n->ext;
    struct znode_ext *e = x_calloc(1, sizeof(*e));
    e->node = n;
    e->pzxid = n->czxid;
    list_init(&e->owned);
    if (!t->opt.no_digest && tree_digest_covers(path)) {
        struct zk_stat_persisted s;
        znode_stat_persisted(n, &s);
        e->body_crc = body_crc(path, znode_data(n));
        e->digest = digest_of(e->body_crc, &s);
    }
    n->ext = e;
    return e;
}

/* ---- data ---- */
struct jbuf znode_data(const struct znode *n)
{
    if (n->data_len < 0)
        return (struct jbuf){ NULL, 0 };
    const char *p = n->tail + n->name_len;
    if (n->flags & NODE_DATA_OUT)
        memcpy(&p, n->tail + n->name_len, sizeof(p)); /* the data is elsewhere; its address stands here */
    return (struct jbuf){ (const uint8_t *)p, n->data_len };
}

/* What malloc would hand out for it anyway: with the eight bytes of its header a multiple of sixteen. There is always room
 * for the pointer of NODE_DATA_OUT. */
static size_t node_size(size_t name_len, int32_t data_len)
{
    size_t n = NODE_HEAD + name_len + (size_t)MAX(data_len, (int32_t)sizeof(void *));
    return ((n + 8 + 15) & ~(size_t)15) - 8;
}

static void data_out_free(struct znode *n)
{
    if (n->flags & NODE_DATA_OUT)
        free((void *)(uintptr_t)znode_data(n).p);
    n->flags &= (uint8_t)~NODE_DATA_OUT;
}

/* Moves a leaf into an allocation of another size; the data is not copied. */
static struct znode *node_move(struct tree *t, struct znode *old, size_t size)
{
    struct znode *n = x_malloc(size);
    memcpy(n, old, NODE_HEAD + old->name_len);
    if (n->prev)
        n->prev->next = n;
    else if (n->parent)
        n->parent->ext->first_child = n;
    if (n->next)
        n->next->prev = n;
    if (n->ext)
        n->ext->node = n;
    if (n->parent)
        index_replace(&t->index, old, n);
    else
        t->root = n;
    walks_node_moved(t, old, n);
    free(old);
    return n;
}

struct znode *node_set_data(struct tree *t, struct znode *n, struct jbuf data)
{
    int32_t len = data.p ? data.n : -1;
    t->stats.data_bytes += (uint64_t)MAX(len, 0) - (uint64_t)MAX(n->data_len, 0);
    size_t now = node_size(n->name_len, n->flags & NODE_DATA_OUT ? 0 : n->data_len), want = node_size(n->name_len, len);
    bool pinned = n->ext && n->ext->child_count > 0, fits = now == want || (pinned && want < now);
    if (!fits && pinned) {
        uint8_t *copy = x_memdup(data.p, (size_t)MAX(len, 0));
        data_out_free(n);
        memcpy(n->tail + n->name_len, &copy, sizeof(copy));
        n->flags |= NODE_DATA_OUT;
    } else {
        data_out_free(n);
        if (!fits)
            n = node_move(t, n, want);
        if (len > 0)
            memcpy(n->tail + n->name_len, data.p, (size_t)len);
    }
    n->data_len = len;
    return n;
}

/* ---- owners ---- */
static void owner_link(struct tree *t, struct znode *n)
{
    struct znode_ext *e = n->ext;
    e->kind = tree_owner_kind(t, e->owner, NULL);
    switch (e->kind) {
    case ZNODE_EPHEMERAL: {
        struct session *s = session_of(t, e->owner);
        list_push_back(&s->ephemerals, &e->owned);
        s->count++;
        t->stats.ephemerals++;
        break;
    }
    case ZNODE_CONTAINER:
        list_push_back(&t->containers, &e->owned);
        t->stats.containers++;
        break;
    case ZNODE_TTL:
        list_push_back(&t->ttls, &e->owned);
        t->stats.ttls++;
        break;
    }
}

static void owner_unlink(struct tree *t, struct znode *n)
{
    struct znode_ext *e = n->ext;
    list_remove(&e->owned);
    switch (e->kind) {
    case ZNODE_EPHEMERAL: {
        struct session *s = session_of(t, e->owner);
        ASSERT(s->count > 0);
        s->count--;
        t->stats.ephemerals--;
        session_settle(t, s);
        break;
    }
    case ZNODE_CONTAINER:
        t->stats.containers--;
        break;
    case ZNODE_TTL:
        t->stats.ttls--;
        break;
    }
}

/* ---- links ---- */
static void sibling_link(struct tree *t, struct znode *parent, struct jstr path, struct znode *n)
{
    struct jstr parent_path = { path.p, path.n - (int32_t)n->name_len - 1 };
    struct znode_ext *e = node_ext(t, parent, parent_path);
    n->parent = parent;
    n->prev = NULL;
    n->next = e->first_child;
    if (n->next)
        n->next->prev = n;
    e->first_child = n;
    e->child_count++;
    index_insert(&t->index, n);
}

struct znode *node_add(struct tree *t, struct znode *parent, struct jstr path, uint32_t hash, struct jbuf data, uint32_t acl,
                       const struct zk_stat_persisted *stat)
{
    struct jstr name = { NULL, 0 }, up;
    if (parent)
        ASSERT(path_split(path, &up, &name));
    int32_t len = data.p ? data.n : -1;
    struct znode *n = x_malloc(node_size((size_t)name.n, len));
    *n = (struct znode){ .czxid = stat->czxid, .mzxid = stat->mzxid, .ctime = stat->ctime, .mtime = stat->mtime,
                         .version = stat->version, .data_len = len, .hash = hash, .acl = acl,
                         .name_len = (uint32_t)name.n };
    if (name.n > 0)
        memcpy(n->tail, name.p, (size_t)name.n);
    if (len > 0)
        memcpy(n->tail + name.n, data.p, (size_t)len);
    if (parent)
        sibling_link(t, parent, path, n);
    if (stat->ephemeral_owner != 0 || stat->cversion != 0 || stat->aversion != 0 || stat->pzxid != stat->czxid) {
        struct znode_ext *e = node_ext(t, n, path);
        e->owner = stat->ephemeral_owner;
        e->cversion = stat->cversion;
        e->aversion = stat->aversion;
        e->pzxid = stat->pzxid;
        owner_link(t, n);
    }
    t->stats.nodes++;
    t->stats.data_bytes += (uint64_t)path.n + (uint64_t)MAX(len, 0);
    node_digest_in(t, n, path, false);
    return n;
}

static void unlink_one(struct tree *t, struct znode *n, struct jstr path)
{
    ASSERT(n->parent != NULL);
    ASSERT(!n->ext || n->ext->child_count == 0);
    node_digest_out(t, n, path);
    walks_node_gone(t, n);
    if (n->ext)
        owner_unlink(t, n);
    index_remove(&t->index, n);
    struct znode_ext *up = n->parent->ext;
    if (n->prev)
        n->prev->next = n->next;
    else
        up->first_child = n->next;
    if (n->next)
        n->next->prev = n->prev;
    up->child_count--;
    n->next = n->prev = NULL;
    t->stats.nodes--;
    t->stats.data_bytes -= (uint64_t)path.n + (uint64_t)MAX(n->data_len, 0);
}

/* Replay over a fuzzy snapshot deletes nodes whose children were created later than the deletion: they come again. */
static void unlink_descendants(struct tree *t, struct znode *top)
{
    struct znode *n = top;
    for (;;) {
        while (n->ext && n->ext->first_child)
            n = n->ext->first_child;
        if (n == top)
            return;
        struct znode *up = n->parent;
        size_t len = node_path_len(n);
        char *path = x_malloc(len);
        node_path_write(n, path + len);
        unlink_one(t, n, jstr_n(path, len));
        node_free(t, n);
        free(path);
        n = up;
    }
}

void node_unlink(struct tree *t, struct znode *n, struct jstr path)
{
    unlink_descendants(t, n);
    unlink_one(t, n, path);
}

void node_free(struct tree *t, struct znode *n)
{
    acl_cache_unref(&t->acls, n->acl, t->loading);
    data_out_free(n);
    free(n->ext);
    free(n);
}
