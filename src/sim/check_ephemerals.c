/* check_ephemerals.c - history.ephemerals: an ephemeral lives as long as its session, no longer and no shorter.
 *
 * By the answers alone: nothing of a session is seen by who asks (behind a sync) after its closeSession was answered; and what a
 * session made is there as long as the session lives and nobody tried to delete it. At the end: no server
 * has an ephemeral without its session. */
#include "check_internal.h"

#define NAME "history.ephemerals"

struct life { /* of a session, as its client knows it */
    uint64_t closed;     /* order; UINT64_MAX: not known to be closed */
    uint64_t last_alive; /* order of sending the last request that was then answered, closeSession not counted */
};
struct tenure { /* who was told that it holds the znode, if nobody tried to delete it since */
    const struct hist_op *made;
    uint64_t touched; /* order of the last attempt to delete it; UINT64_MAX: one is under way */
};
struct context {
    const struct check_input *in;
    struct check_report *ret;
    struct u64map lives;
    struct strmap tenures;
    struct arena arena;
};

static struct life *life_of(struct context *c, int64_t session_id)
{
    struct life *l = u64map_get(&c->lives, (uint64_t)session_id);

    if (!l) {
        l = arena_calloc(&c->arena, 1, sizeof(*l));
        l->closed = UINT64_MAX;
        (void)u64map_set(&c->lives, (uint64_t)session_id, l);
    }
    return l;
}

static void learn_lives(struct context *c)
{
    for (size_t i = 0; i < c->in->h->marks.len; i++) {
        const struct hist_mark *k = &c->in->h->marks.items[i];
        const struct hist_op *op = k->type == HIST_COMPLETED ? c->in->h->ops.items[k->op] : NULL;

        if (k->type == HIST_CLOSED)
            life_of(c, k->session_id)->closed = i;
        else if (op && (op->outcome == HIST_OK) && hist_op_is_write(op) && op->arg.op != ZK_OP_CLOSE_SESSION) {
            struct life *l = life_of(c, op->session_id);

            l->last_alive = MAX(l->last_alive, op->invoke);
        }
    }
}

/* ---- outliving ---- */

static uint64_t asked(const struct context *c, const struct hist_op *op)
{
    const struct hist_op *sync = op->sync > 0 ? c->in->h->ops.items[op->sync - 1] : NULL;

    return sync && sync->outcome == HIST_OK ? sync->invoke : 0; /* an unsynced read may be of any time */
}

static void check_outlived(struct context *c, const struct hist_op *op)
{
    int64_t owner = op->arg.stat.ephemeral_owner;

    if (op->outcome != HIST_OK || !op->arg.has_stat || owner == 0 || !hist_op_is_read(op))
        return;
    if (life_of(c, owner)->closed < asked(c, op))
        check_involve(check_add(c->ret, NAME, op->done_us, "%.*s is there, although the session 0x%llx that it belongs to was closed before",
                                op->arg.path.n, op->arg.path.p, (unsigned long long)owner), op);
}

/* ---- vanishing ---- */

static struct tenure *tenure_of(struct context *c, struct jstr path)
{
    struct buf key = buf_of(path.p, (size_t)path.n);
    struct tenure *t = strmap_get(&c->tenures, key);

    if (!t) {
        t = arena_calloc(&c->arena, 1, sizeof(*t));
        (void)strmap_set(&c->tenures, key, t);
    }
    return t;
}

/* Any attempt to delete the znode ends the claim, whatever came of it. Attempts whose end is not known go on for ever. */
static void note_deletes(struct context *c, const struct hist_op *op)
{
    bool open = op->outcome == HIST_UNKNOWN || op->outcome == HIST_PENDING;

    for (uint32_t i = 0; i < MAX(op->step_count, 1u); i++) {
        const struct hist_step *s = op->step_count > 0 ? &op->steps[i] : &op->arg;
        if (s->op != ZK_OP_DELETE)
            continue;
        struct tenure *t = tenure_of(c, s->path);
        t->touched = MAX(t->touched, open ? UINT64_MAX : op->done);
    }
}

static void check_vanished(struct context *c, const struct hist_op *op)
{
    struct tenure *t = tenure_of(c, op->arg.path);
    const struct hist_op *made = t->made;

    /* There when asked for: made before, not touched since, and its session lived on afterwards. */
    if (!made || op->err != ZK_NONODE || asked(c, op) <= made->done || t->touched >= made->invoke ||
        life_of(c, made->session_id)->last_alive <= op->done)
        return;
    struct check_finding *f = check_add(c->ret, NAME, op->done_us, "%.*s is not there, although its session lives on and nobody deleted it",
                                        op->arg.path.n, op->arg.path.p);
    check_involve(f, made);
    check_involve(f, op);
}

static void walk(struct context *c)
{
    const struct history *h = c->in->h;

    for (size_t i = 0; i < h->marks.len; i++) {
        const struct hist_mark *k = &h->marks.items[i];
        const struct hist_op *op = k->type == HIST_INVOKED || k->type == HIST_COMPLETED ? h->ops.items[k->op] : NULL;

        if (op && k->type == HIST_INVOKED)
            note_deletes(c, op);
        if (!op || k->type == HIST_INVOKED || (op->outcome != HIST_OK && op->outcome != HIST_ERROR))
            continue;
        check_outlived(c, op);
        if (hist_op_is_read(op) && op->arg.op != ZK_OP_GET_ACL)
            check_vanished(c, op);
        if (op->outcome == HIST_OK && (op->arg.op == ZK_OP_CREATE || op->arg.op == ZK_OP_CREATE2) && zk_flag_is_ephemeral(op->arg.flags))
            tenure_of(c, op->arg.made)->made = op;
    }
}

/* ---- the end ---- */

struct owners {
    struct context *c;
    const struct check_replica *r;
};

static void check_owner(void *data, int64_t session, size_t count)
{
    struct owners *o = data;

    if (tree_session_known(o->r->tree, session))
        return;
    struct check_finding *f = check_add(o->c->ret, NAME, 0, "server %u ends with %zu ephemerals of session 0x%llx, which it does not know",
                                        o->r->server, count, (unsigned long long)session);
    if (f)
        f->server = o->r->server;
}

void check_ephemerals(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in, .ret = ret };

    learn_lives(&c);
    walk(&c);
    for (size_t i = 0; i < in->replica_count; i++)
        tree_each_ephemeral_owner(in->replicas[i].tree, check_owner, &(struct owners){ &c, &in->replicas[i] });
    u64map_free(&c.lives, NULL);
    strmap_free(&c.tenures, NULL);
    arena_free(&c.arena);
}
