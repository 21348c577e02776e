/* check_replicas.c - final.replicas: all servers end with the same state, and it is what the committed log makes of an empty tree.
 *
 * Compared: every znode, its data, ACL and whole stat, its children, the sessions, the digest, the last zxid. Left out: /zookeeper/config,
 * whose times each server sets for itself when it starts. */
#include <stdio.h>

#include "check_internal.h"

#define NAME "final.replicas"

struct context {
    const struct check_input *in;
    const struct model *m;
    struct check_report *ret;
    const struct check_replica *a, *b;
    struct arena arena;
    size_t nodes; /* seen */
    int64_t at_us;
};

static struct check_finding *differ(struct context *c, const char *what, struct jstr path)
{
    struct check_finding *f = c->b ? check_add(c->ret, NAME, c->at_us, "servers %u and %u: %s%s%.*s", c->a->server, c->b->server, what,
                                               path.n > 0 ? " of " : "", path.n, path.p ? path.p : "")
                                   : check_add(c->ret, NAME, c->at_us, "server %u and the log: %s%s%.*s", c->a->server, what,
                                               path.n > 0 ? " of " : "", path.n, path.p ? path.p : "");
    if (f)
        f->server = c->b ? c->b->server : c->a->server;
    return f;
}

static bool same_bytes(struct jbuf a, struct jbuf b)
{
    return buf_eq(buf_of(a.p, (size_t)MAX(a.n, 0)), buf_of(b.p, (size_t)MAX(b.n, 0)));
}

static bool same_persisted(const struct zk_stat_persisted *a, const struct zk_stat_persisted *b)
{
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->pzxid == b->pzxid && a->ctime == b->ctime && a->mtime == b->mtime &&
           a->version == b->version && a->cversion == b->cversion && a->aversion == b->aversion && a->ephemeral_owner == b->ephemeral_owner;
}

static bool same_acl(struct jacls a, struct jacls b)
{
    if (a.n != b.n)
        return false;
    for (int32_t i = 0; i < a.n; i++)
        if (a.v[i].perms != b.v[i].perms || !jstr_eq(a.v[i].scheme, b.v[i].scheme) || !jstr_eq(a.v[i].id, b.v[i].id))
            return false;
    return true;
}

static bool own_business(struct jstr path)
{
    return jstr_is(path, "/zookeeper/config");
}

/* ---- two trees ---- */

static void compare_node(struct context *c, const struct znode *x)
{
    struct jstr path = znode_path(x, &c->arena);
    const struct znode *y = tree_find(c->b->tree, path);
    struct zk_stat_persisted p, q;

    if (!y) {
        differ(c, "only the first has a znode", path);
        return;
    }
    znode_stat_persisted(x, &p);
    znode_stat_persisted(y, &q);
    if (!same_bytes(znode_data(x), znode_data(y)))
        differ(c, "data", path);
    if (!same_persisted(&p, &q) && !own_business(path))
        differ(c, "stat", path);
    if (!same_acl(tree_acl(c->a->tree, x), tree_acl(c->b->tree, y)))
        differ(c, "ACL", path);
    if (znode_child_count(x) != znode_child_count(y))
        differ(c, "number of children", path);
}

/* ---- a tree and the model ---- */

static void compare_with_model(struct context *c, const struct znode *x)
{
    struct jstr path = znode_path(x, &c->arena);
    const struct model_node *n = model_at(c->m, path, INT64_MAX);
    struct zk_stat_persisted p;

    if (own_business(path))
        return;
    if (!n) {
        differ(c, "a znode that the log did not make:", path);
        return;
    }
    znode_stat_persisted(x, &p);
    if (!same_bytes(znode_data(x), n->data))
        differ(c, "data", path);
    if (!same_persisted(&p, &n->stat))
        differ(c, "stat", path);
    if (n->acl.n >= 0 && !same_acl(tree_acl(c->a->tree, x), n->acl))
        differ(c, "ACL", path);
    if (znode_child_count(x) != n->children)
        differ(c, "number of children", path);
}

static void walk(struct context *c, const struct znode *x, void (*fn)(struct context *c, const struct znode *x))
{
    c->nodes++;
    fn(c, x);
    for (const struct znode *k = znode_first_child(x); k; k = znode_next_sibling(k))
        walk(c, k, fn);
}

static void compare_session(void *data, int64_t id, int32_t timeout_ms)
{
    struct context *c = data;
    const struct model_session *s = c->m ? model_session(c->m, id) : NULL;
    char what[64];

    if (c->b ? tree_session_known(c->b->tree, id) : s && s->closed == INT64_MAX)
        return;
    (void)snprintf(what, sizeof(what), "only the first knows session 0x%llx", (unsigned long long)id);
    differ(c, what, jstr_of(""));
}

static size_t model_node_count(const struct model *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->paths.len; i++) {
        const struct model_path *p = m->paths.items[i];
        n += p->versions.items[p->versions.len - 1].exists;
    }
    return n;
}

static size_t model_session_count(const struct model *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->sessions.len; i++)
        n += m->sessions.items[i].closed == INT64_MAX;
    return n;
}

/* A leader's last zxid is its epoch's beginning until its first transaction; a follower's is the last transaction. */
static bool same_place(int64_t x, int64_t y)
{
    return x == y || (MAX(x, y) & 0xffffffff) == 0;
}

static void compare_trees(struct context *c)
{
    struct tree_stats x, y;

    tree_stats(c->a->tree, &x);
    tree_stats(c->b->tree, &y);
    walk(c, tree_find(c->a->tree, jstr_of("/")), compare_node);
    tree_each_session(c->a->tree, compare_session, c);
    if (x.nodes != y.nodes)
        differ(c, "number of znodes", jstr_of(""));
    if (tree_session_count(c->a->tree) != tree_session_count(c->b->tree))
        differ(c, "number of sessions", jstr_of(""));
    if (tree_digest(c->a->tree) != tree_digest(c->b->tree))
        differ(c, "digest", jstr_of(""));
    if (!same_place(tree_last_zxid(c->a->tree), tree_last_zxid(c->b->tree)))
        differ(c, "last zxid", jstr_of(""));
}

static void compare_model(struct context *c)
{
    c->nodes = 0;
    walk(c, tree_find(c->a->tree, jstr_of("/")), compare_with_model);
    tree_each_session(c->a->tree, compare_session, c);
    if (c->nodes != model_node_count(c->m))
        differ(c, "number of znodes", jstr_of(""));
    if (tree_session_count(c->a->tree) != model_session_count(c->m))
        differ(c, "number of sessions", jstr_of(""));
}

void check_replicas(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in, .m = m, .ret = ret };

    c.at_us = in->h->marks.len > 0 ? in->h->marks.items[in->h->marks.len - 1].at_us : 0;
    for (size_t i = 0; i < in->replica_count; i++) {
        tree_check(in->replicas[i].tree);
        c.a = &in->replicas[0];
        c.b = &in->replicas[i];
        if (i > 0)
            compare_trees(&c);
        arena_reset(&c.arena);
    }
    c.b = NULL;
    if (m && in->replica_count > 0)
        compare_model(&c);
    arena_free(&c.arena);
}
