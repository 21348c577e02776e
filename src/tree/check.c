/* check.c - the tree's whole invariant, for tests and the simulator. */
#include "internal.h"

struct tally {
    size_t nodes, owned[4];
    uint64_t digest, data_bytes;
    uint64_t *acl_refs;
};

static void check_node(const struct tree *t, const struct znode *n, struct jstr path, struct tally *sum)
{
    const struct znode_ext *e = n->ext;
    int32_t children = 0;
    ASSERT(node_find(t, path, path_hash(path)) == n);
    ASSERT(n == t->root || n->hash == path_hash(path));
    ASSERT(!n->prev || n->prev->next == n);
    ASSERT(!n->next || n->next->prev == n);
    ASSERT(n->parent || n == t->root);
    ASSERT(!n->parent || n->prev || n->parent->ext->first_child == n);
    for (const struct znode *c = znode_first_child(n); c; c = c->next, children++)
        ASSERT(c->parent == n);
    ASSERT(children == znode_child_count(n));
    struct zk_stat_persisted s;
    znode_stat_persisted(n, &s);
    uint64_t digest = tree_node_digest(path, znode_data(n), &s);
    if (e) {
        ASSERT(e->node == n);
        ASSERT(n == t->root || e->kind == (uint32_t)tree_owner_kind(t, e->owner, NULL));
        ASSERT((e->kind != ZNODE_PERSISTENT) == !list_empty(&e->owned));
        sum->owned[e->kind]++;
    }
    if (!t->opt.no_digest && tree_digest_covers(path)) {
        sum->digest += digest;
        ASSERT(!e || e->digest == digest);
    }
    sum->nodes++;
    sum->data_bytes += (uint64_t)path.n + (uint64_t)MAX(n->data_len, 0);
    ASSERT(n->acl < t->acls.slots.len);
    sum->acl_refs[n->acl]++;
}

static void check_sessions(const struct tree *t, const struct tally *sum)
{
    size_t ephemerals = 0, known = 0;
    U64MAP_EACH(slot, &t->sessions)
    {
        const struct session *s = slot->value;
        size_t count = 0;
        LIST_EACH(it, &s->ephemerals)
        {
            const struct znode_ext *e = CONTAINER_OF(it, struct znode_ext, owned);
            ASSERT(e->owner == s->id);
            ASSERT(e->kind == ZNODE_EPHEMERAL);
            count++;
        }
        ASSERT(count == s->count);
        ASSERT(s->known || count > 0);
        ephemerals += count;
        known += s->known;
    }
    ASSERT(ephemerals == sum->owned[ZNODE_EPHEMERAL]);
    ASSERT(known == t->session_count);
}

static void check_acls(const struct tree *t, const struct tally *sum)
{
    size_t used = 0;
    for (size_t i = 0; i < t->acls.slots.len; i++) {
        const struct acl_entry *e = &t->acls.slots.items[i];
        ASSERT(e->used || e->refs == 0);
        ASSERT(e->refs == sum->acl_refs[i]);
        ASSERT(!e->used || i == ACL_OPEN || t->loading || e->refs > 0);
        ASSERT(!e->used || i == ACL_OPEN || u64map_get(&t->acls.by_id, (uint64_t)e->id) == (void *)(uintptr_t)(i + 1));
        used += e->used;
    }
    ASSERT(used == t->acls.by_id.len + 1);
}

void tree_check(const struct tree *t)
{
    struct tally sum = { .acl_refs = x_calloc(t->acls.slots.len, sizeof(*sum.acl_refs)) };
    struct VEC(char) buf = { 0 };
    for (const struct znode *n = t->root; n; n = node_next(t->root, n)) {
        size_t len = node_path_len(n);
        VEC_RESERVE(&buf, len + 1);
        node_path_write(n, buf.items + len);
        check_node(t, n, jstr_n(buf.items, len), &sum);
    }
    ASSERT(sum.nodes == t->index.count + 1);
    ASSERT(sum.nodes + 1 == t->stats.nodes);
    ASSERT(t->digest == sum.digest);
    ASSERT(sum.owned[ZNODE_EPHEMERAL] == t->stats.ephemerals);
    ASSERT(sum.owned[ZNODE_CONTAINER] == t->stats.containers);
    ASSERT(sum.owned[ZNODE_TTL] == t->stats.ttls);
    check_sessions(t, &sum);
    check_acls(t, &sum);
    free(sum.acl_refs);
    VEC_FREE(&buf);
}
