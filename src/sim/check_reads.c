/* check_reads.c - history.reads: a reply shows exactly the state that its zxid names.
 *
 * A server applies the committed log and nothing else, so its state at a zxid is everybody's; a read is answered with the server's last
 * zxid. This finds servers that showed what was not committed, or lost something for a while, even if nothing is left of it at the end. */
#include "check_internal.h"

#define NAME "history.reads"

struct context {
    const struct model *m;
    struct check_report *ret;
};

static void complain(struct context *c, const struct hist_op *op, const char *what)
{
    struct check_finding *f = check_add(c->ret, NAME, op->done_us, "%s", what);

    if (f)
        f->server = op->server;
    check_involve(f, op);
}

static bool same_stat(const struct zk_stat *a, const struct zk_stat *b)
{
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->pzxid == b->pzxid && a->ctime == b->ctime && a->mtime == b->mtime &&
           a->version == b->version && a->cversion == b->cversion && a->aversion == b->aversion &&
           a->ephemeral_owner == b->ephemeral_owner && a->data_length == b->data_length && a->num_children == b->num_children;
}

static int by_name(const void *a, const void *b)
{
    const struct jstr *x = a, *y = b;
    int d = memcmp(x->p, y->p, (size_t)MIN(x->n, y->n));

    return d ? d : (x->n > y->n) - (x->n < y->n);
}

static bool same_children(const struct model_path *p, int64_t zxid, struct jstrs got)
{
    struct VEC(struct jstr) want = { 0 };
    bool same;

    for (size_t i = 0; i < p->children.len; i++)
        if (p->children.items[i].from <= zxid && zxid < p->children.items[i].until)
            VEC_PUSH(&want, p->children.items[i].name);
    same = want.len == (size_t)got.n;
    if (same && want.len > 0) {
        struct jstr *have = x_memdup(got.v, (size_t)got.n * sizeof(*got.v));

        qsort(want.items, want.len, sizeof(struct jstr), by_name);
        qsort(have, want.len, sizeof(struct jstr), by_name);
        for (size_t i = 0; i < want.len && same; i++)
            same = jstr_eq(want.items[i], have[i]);
        free(have);
    }
    VEC_FREE(&want);
    return same;
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

/* What the read should have been answered with. */
static int32_t verdict(const struct hist_op *op, const struct model_node *n)
{
    int32_t perm = op->arg.op == ZK_OP_GET_ACL ? ZK_PERM_READ | ZK_PERM_ADMIN : ZK_PERM_READ;

    if (!n)
        return ZK_NONODE;
    return model_allows(n->acl, perm) ? ZK_OK : ZK_NOAUTH;
}

static void check_read(struct context *c, const struct hist_op *op)
{
    const struct hist_step *s = &op->arg;
    const struct model_node *n = model_at(c->m, s->path, op->zxid);
    struct zk_stat stat;

    if (!model_knows(c->m, op->zxid)) {
        complain(c, op, "a read was answered with a zxid that was never committed");
        return;
    }
    if (verdict(op, n) != op->err) {
        complain(c, op, n ? "the znode was there at the zxid of the reply" : "the znode was not there at the zxid of the reply");
        return;
    }
    if (op->err != ZK_OK)
        return;
    model_stat(c->m, n, &stat);
    if (jstr_is(s->path, "/zookeeper/config")) { /* each server sets its times when it starts, and its first version */
        if (n->zxid != 0 && (!buf_eq(buf_of(s->got.p, (size_t)MAX(s->got.n, 0)), buf_of(n->data.p, (size_t)MAX(n->data.n, 0))) ||
                             s->stat.mzxid != stat.mzxid || s->stat.version != stat.version))
            complain(c, op, "the configuration is not the last one committed at the zxid of the reply");
        return;
    }
    if (s->has_stat && !same_stat(&stat, &s->stat))
        complain(c, op, "the stat is not the znode's at the zxid of the reply");
    else if (s->op == ZK_OP_GET_DATA && !buf_eq(buf_of(s->got.p, (size_t)MAX(s->got.n, 0)), buf_of(n->data.p, (size_t)MAX(n->data.n, 0))))
        complain(c, op, "the data is not the znode's at the zxid of the reply");
    else if ((s->op == ZK_OP_GET_CHILDREN || s->op == ZK_OP_GET_CHILDREN2) &&
             !same_children(model_path(c->m, s->path), op->zxid, s->children))
        complain(c, op, "the children are not the znode's at the zxid of the reply");
    else if (s->op == ZK_OP_GET_ACL && n->acl.n >= 0 && !same_acl(s->got_acl, n->acl))
        complain(c, op, "the ACL is not the znode's at the zxid of the reply");
}

void check_reads(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { m, ret };

    for (size_t i = 0; m && i < in->h->ops.len; i++) {
        const struct hist_op *op = in->h->ops.items[i];

        if (hist_op_is_read(op) && (op->outcome == HIST_OK || op->outcome == HIST_ERROR))
            check_read(&c, op);
    }
}
