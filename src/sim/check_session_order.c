/* check_session_order.c - history.session-order: a session's view never goes back, over all its connections and servers.
 *
 * Once by the zxids that replies carry, and once without them, by what is shown of each znode: its czxid, and for one and the same znode
 * its mzxid, pzxid and versions, only rise. */
#include "check_internal.h"

#define NAME "history.session-order"

struct seen {
    const struct hist_op *op;
    struct zk_stat stat;
};
struct session_view {
    int64_t zxid;
    const struct hist_op *op;  /* that showed it; NULL: a ping */
    struct strmap nodes;       /* path -> struct seen */
};
struct context {
    const struct check_input *in;
    struct check_report *ret;
    struct u64map sessions;
    struct arena arena;
};

static struct session_view *view_of(struct context *c, int64_t session_id)
{
    struct session_view *v = u64map_get(&c->sessions, (uint64_t)session_id);

    if (!v) {
        v = arena_calloc(&c->arena, 1, sizeof(*v));
        (void)u64map_set(&c->sessions, (uint64_t)session_id, v);
    }
    return v;
}

static void see_zxid(struct context *c, const struct hist_mark *k, int64_t zxid, const struct hist_op *op)
{
    struct session_view *v = view_of(c, k->session_id);

    if (zxid <= 0) /* auth, unknown opcodes, catch-up events */
        return;
    if (zxid < v->zxid) {
        struct check_finding *f = check_add(c->ret, NAME, k->at_us, "session 0x%llx sees zxid 0x%llx after 0x%llx",
                                            (unsigned long long)k->session_id, (unsigned long long)zxid,
                                            (unsigned long long)v->zxid);
        check_involve(f, v->op);
        check_involve(f, op);
        return;
    }
    v->zxid = zxid;
    v->op = op;
}

static bool stat_goes_back(const struct zk_stat *was, const struct zk_stat *is)
{
    if (was->czxid != is->czxid)
        return is->czxid < was->czxid;
    return is->mzxid < was->mzxid || is->pzxid < was->pzxid || is->version < was->version || is->aversion < was->aversion;
}

static void see_stat(struct context *c, const struct hist_mark *k, const struct hist_op *op)
{
    struct jstr path = op->arg.made.p ? op->arg.made : op->arg.path;
    struct strmap *nodes = &view_of(c, op->session_id)->nodes;
    struct seen *s = strmap_get(nodes, buf_of(path.p, (size_t)path.n));

    if (!s) {
        s = arena_calloc(&c->arena, 1, sizeof(*s));
        (void)strmap_set(nodes, buf_of(path.p, (size_t)path.n), s);
    } else if (stat_goes_back(&s->stat, &op->arg.stat)) {
        struct check_finding *f = check_add(c->ret, NAME, k->at_us, "session 0x%llx sees an older state of %.*s than before",
                                            (unsigned long long)op->session_id, path.n, path.p);
        check_involve(f, s->op);
        check_involve(f, op);
        return;
    }
    *s = (struct seen){ op, op->arg.stat };
}

void check_session_order(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in, .ret = ret };

    for (size_t i = 0; i < in->h->marks.len; i++) {
        const struct hist_mark *k = &in->h->marks.items[i];
        const struct hist_op *op = k->type == HIST_COMPLETED ? in->h->ops.items[k->op] : NULL;

        if (k->type == HIST_PONG)
            see_zxid(&c, k, k->zxid, NULL);
        if (!op || op->outcome == HIST_UNKNOWN)
            continue;
        see_zxid(&c, k, op->zxid, op);
        if (op->outcome == HIST_OK && op->arg.has_stat)
            see_stat(&c, k, op);
    }
    U64MAP_EACH(slot, &c.sessions)
        strmap_free(&((struct session_view *)slot->value)->nodes, NULL);
    u64map_free(&c.sessions, NULL);
    arena_free(&c.arena);
}
