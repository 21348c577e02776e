/* overlay.c - the tree as it will be when everything under way is applied.
 *
 * A write is validated long before the writes ahead of it are applied. Validating against the tree alone would accept two
 * creates of one path, so each accepted write leaves a record per path it changes, and lookups prefer the newest. A record
 * goes when its transaction is applied. Since zxids only grow, the records in order of making are a queue; a record
 * replaced by a newer one leaves at once.
 *
 * A multi that fails in the middle must leave no trace: what a transaction shadows is kept until it is known to stand.
 * Source: PrepRequestProcessor.outstandingChanges, getPendingChanges, rollbackPendingChanges (3.9). */
#include "core_internal.h"

#define BUCKETS_MIN 64

void overlay_init(struct core *c)
{
    struct overlay *o = &c->overlay;
    list_init(&o->fifo);
    o->cap = BUCKETS_MIN;
    o->buckets = x_calloc(o->cap, sizeof(struct change *));
    o->digest = c->cfg.no_digest ? 0 : tree_digest(c->tree);
}

static void src_set(struct pending **slot, struct pending *src)
{
    struct pending *old = *slot;
    if (src)
        src->refs++;
    *slot = src;
    if (old)
        pending_unref(old);
}

static void change_free(struct change *ch)
{
    list_remove(&ch->fifo);
    list_remove(&ch->owned);
    src_set(&ch->data_src, NULL);
    src_set(&ch->acl_src, NULL);
    free(ch);
}

void overlay_done(struct core *c)
{
    struct overlay *o = &c->overlay;
    LIST_EACH_SAFE(it, &o->fifo)
        change_free(CONTAINER_OF(it, struct change, fifo));
    VEC_FREE(&o->journal);
    free(o->buckets);
}

void overlay_restart(struct core *c)
{
    struct overlay *o = &c->overlay;
    ASSERT(o->journal.len == 0);
    overlay_done(c);
    *o = (struct overlay){ 0 };
    overlay_init(c);
}

/* The link that points to the change of this path, or to the NULL at the chain's end. */
static struct change **overlay_slot(const struct overlay *o, struct jstr path, uint64_t hash)
{
    struct change **at = &o->buckets[hash & (o->cap - 1)];
    while (*at && ((*at)->hash != hash || (*at)->path_len != path.n ||
                   memcmp((*at)->path, path.p, (size_t)path.n) != 0))
        at = &(*at)->chain;
    return at;
}

static struct change **overlay_slot_of(const struct overlay *o, const struct change *ch)
{
    return overlay_slot(o, jstr_n(ch->path, (size_t)ch->path_len), ch->hash);
}

static void overlay_grow(struct overlay *o)
{
    size_t cap = o->cap * 2;
    struct change **buckets = x_calloc(cap, sizeof(struct change *));
    for (size_t i = 0; i < o->cap; i++)
        for (struct change *ch = o->buckets[i], *next; ch; ch = next) {
            next = ch->chain;
            ch->chain = buckets[ch->hash & (cap - 1)];
            buckets[ch->hash & (cap - 1)] = ch;
        }
    free(o->buckets);
    o->buckets = buckets;
    o->cap = cap;
}

bool view_find(const struct core *c, struct jstr path, struct view *v)
{
    *v = (struct view){ .path = path };
    v->hash = hash_bytes(path.p, (size_t)path.n);
    v->change = *overlay_slot(&c->overlay, path, v->hash);
    if (v->change) {
        v->stat = v->change->stat;
        v->child_count = v->change->child_count;
        return !v->change->deleted;
    }
    v->node = tree_find(c->tree, path);
    if (!v->node)
        return false;
    znode_stat_persisted(v->node, &v->stat);
    v->child_count = znode_child_count(v->node);
    return true;
}

/* A change without bytes of its own speaks of a node whose bytes nothing under way touches: the tree has them. */
static const struct znode *view_node(const struct core *c, const struct view *v)
{
    const struct znode *n = v->node ? v->node : tree_find(c->tree, v->path);
    ASSERT(n != NULL);
    return n;
}

static struct jbuf bytes_of(const struct pending *src, size_t off, int32_t len)
{
    return (struct jbuf){ len < 0 ? NULL : src->txn.p + off, MAX(len, 0) };
}

struct jbuf view_data(const struct core *c, const struct view *v)
{
    const struct change *ch = v->change;
    return ch && ch->data_src ? bytes_of(ch->data_src, ch->data_off, ch->data_len)
                              : znode_data(view_node(c, v));
}

struct jacls view_acl(const struct core *c, const struct view *v, struct arena *a)
{
    const struct change *ch = v->change;
    if (!ch || !ch->acl_src)
        return tree_acl(c->tree, view_node(c, v));
    struct rd r = rd_init(ch->acl_src->txn.p + ch->acl_off, ch->acl_len);
    struct jacls acl = jute_read_acls(&r, a);
    ASSERT(r.rc == 0); /* we wrote it */
    return acl;
}

void overlay_begin(struct core *c)
{
    ASSERT(c->overlay.journal.len == 0);
    c->overlay.digest_saved = c->overlay.digest;
}

void overlay_commit(struct core *c)
{
    struct overlay *o = &c->overlay;
    for (size_t i = 0; i < o->journal.len; i++) {
        struct change *ch = o->journal.items[i];
        if (ch->shadowed)
            change_free(ch->shadowed);
        ch->shadowed = NULL;
    }
    o->journal.len = 0;
}

void overlay_rollback(struct core *c)
{
    struct overlay *o = &c->overlay;
    while (o->journal.len > 0) {
        struct change *ch = o->journal.items[--o->journal.len];
        struct change **at = overlay_slot_of(o, ch);
        ASSERT(*at == ch);
        if (ch->shadowed) {
            ch->shadowed->chain = ch->chain;
            *at = ch->shadowed;
        } else {
            *at = ch->chain;
            o->len--;
        }
        change_free(ch);
    }
    o->digest = o->digest_saved;
}

static uint64_t view_digest(const struct core *c, const struct view *v)
{
    if (v->change)
        return v->change->digest;
    return v->node && tree_digest_covers(v->path) ? tree_node_digest(v->path, view_data(c, v), &v->stat) : 0;
}

static struct change *change_new(struct overlay *o, const struct view *v)
{
    struct change *ch = x_calloc(1, sizeof(*ch) + (size_t)v->path.n);
    list_init(&ch->owned);
    ch->hash = v->hash;
    ch->path_len = v->path.n;
    memcpy(ch->path, v->path.p, (size_t)v->path.n);
    list_push_back(&o->fifo, &ch->fifo);

    struct change **at = overlay_slot(o, v->path, v->hash);
    ch->shadowed = *at;
    ASSERT(ch->shadowed == v->change);
    if (*at) {
        ch->chain = (*at)->chain;
        *at = ch;
    } else {
        *at = ch;
        if (++o->len > o->cap)
            overlay_grow(o);
    }
    VEC_PUSH(&o->journal, ch);
    return ch;
}

struct change *change_edit(struct core *c, int64_t zxid, const struct view *v)
{
    struct overlay *o = &c->overlay;
    if (!c->cfg.no_digest)
        o->digest -= view_digest(c, v);
    struct change *old = v->change;
    if (old && old->zxid == zxid)
        return old; /* an earlier step of the same multi made it */
    struct change *ch = change_new(o, v);
    ch->zxid = zxid;
    ch->stat = v->stat;
    ch->child_count = v->child_count;
    if (old) {
        ch->deleted = old->deleted;
        src_set(&ch->data_src, old->data_src);
        ch->data_off = old->data_off;
        ch->data_len = old->data_len;
        src_set(&ch->acl_src, old->acl_src);
        ch->acl_off = old->acl_off;
        ch->acl_len = old->acl_len;
    }
    return ch;
}

void change_set_data(struct change *ch, struct pending *src, size_t off, int32_t len)
{
    src_set(&ch->data_src, src);
    ch->data_off = off;
    ch->data_len = len;
}

void change_set_acl(struct change *ch, struct pending *src, size_t off, size_t len)
{
    src_set(&ch->acl_src, src);
    ch->acl_off = off;
    ch->acl_len = len;
}

void change_seal(struct core *c, struct change *ch)
{
    struct view v = { .path = jstr_n(ch->path, (size_t)ch->path_len), .hash = ch->hash, .change = ch };
    ch->digest = 0;
    if (!c->cfg.no_digest && !ch->deleted && tree_digest_covers(v.path))
        ch->digest = tree_node_digest(v.path, view_data(c, &v), &ch->stat);
    c->overlay.digest += ch->digest;

    /* closeSession must find the ephemerals that are still under way. */
    list_remove(&ch->owned);
    struct session *s = ch->deleted || ch->stat.ephemeral_owner == 0 ? NULL
                                                                     : core_session_find(c, ch->stat.ephemeral_owner);
    if (s)
        list_push_back(&s->owned, &ch->owned);
}

void overlay_drop(struct core *c, int64_t applied_zxid)
{
    struct overlay *o = &c->overlay;
    while (!list_empty(&o->fifo)) {
        struct change *ch = CONTAINER_OF(o->fifo.next, struct change, fifo);
        if (ch->zxid > applied_zxid)
            return;
        struct change **at = overlay_slot_of(o, ch);
        ASSERT(*at == ch);
        *at = ch->chain;
        o->len--;
        change_free(ch);
    }
}
