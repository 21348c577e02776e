/* check_acknowledged.c - history.acknowledged: replies and the committed log tell the same story.
 *
 * - What was answered is in the log at the zxid of its answer, for the same session and request, with the same outcome and result.
 * - What was answered with an error did nothing. The error (or its absence) is what the state before calls for.
 * - What is in the log was asked for, once, by somebody.
 * - A write that was answered before another was sent has the lower zxid. */
#include "check_internal.h"

#define NAME "history.acknowledged"

struct context {
    const struct check_input *in;
    const struct model *m;
    struct check_report *ret;
    struct u64map by_key; /* session and xid -> struct hist_op */
};

/* Session ids differ in their middle bits; a request's number is small. A collision would show as a mismatch below, never hide one. */
static uint64_t key_of(int64_t session_id, int32_t xid)
{
    return (uint64_t)session_id * UINT64_C(0x9e3779b97f4a7c15) ^ (uint32_t)xid;
}

static void complain(struct context *c, const struct hist_op *op, const char *what)
{
    check_involve(check_add(c->ret, NAME, op->done_us == INT64_MAX ? op->invoke_us : op->done_us, "%s", what), op);
}

/* Is this what the step asked for? Inside a multi create and create2 are one transaction type. */
static bool same_step(const struct hist_step *s, const struct model_effect *e)
{
    if (s->op != e->type && !(s->op == ZK_OP_CREATE2 && e->type == ZK_OP_CREATE))
        return false;
    if (s->op == ZK_OP_CLOSE_SESSION)
        return true;
    if (zk_flag_is_sequential(s->flags) ? e->path.n <= s->path.n || memcmp(e->path.p, s->path.p, (size_t)s->path.n) != 0
                                        : !jstr_eq(s->path, e->path))
        return false;
    return s->op == ZK_OP_RECONFIG || s->op == ZK_OP_DELETE || s->op == ZK_OP_CHECK || s->op == ZK_OP_SET_ACL ||
           buf_eq(buf_of(s->data.p, (size_t)MAX(s->data.n, 0)), buf_of(e->data.p, (size_t)MAX(e->data.n, 0)));
}

static bool same_stat(const struct zk_stat *a, const struct zk_stat *b)
{
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->pzxid == b->pzxid && a->ctime == b->ctime && a->mtime == b->mtime &&
           a->version == b->version && a->cversion == b->cversion && a->aversion == b->aversion &&
           a->ephemeral_owner == b->ephemeral_owner && a->data_length == b->data_length && a->num_children == b->num_children;
}

static bool same_request(const struct hist_op *op, const struct model_txn *t)
{
    if (t->failed && t->type == ZK_OP_ERROR)
        return true;
    if (op->arg.op != t->type)
        return false;
    if (op->arg.op != ZK_OP_MULTI)
        return same_step(&op->arg, &t->steps[0]);
    if (op->step_count != t->step_count)
        return false;
    for (uint32_t i = 0; i < op->step_count && !t->failed; i++)
        if (!same_step(&op->steps[i], &t->steps[i]))
            return false;
    return true;
}

/* The other times of /zookeeper/config are each server's own. */
static bool same_config_stat(const struct zk_stat *a, const struct zk_stat *b)
{
    return a->mzxid == b->mzxid && a->mtime == b->mtime && a->version == b->version && a->data_length == b->data_length;
}

static const char *wrong_result(const struct hist_step *s, const struct model_effect *e)
{
    if (s->made.p && !jstr_eq(s->made, e->path))
        return "the answer names another znode than was made";
    if (s->has_stat && !(s->op == ZK_OP_RECONFIG ? same_config_stat : same_stat)(&s->stat, &e->stat))
        return "the answer's stat is not the znode's";
    return NULL;
}

static int32_t error_of(const struct model_txn *t)
{
    for (uint32_t i = 0; i < t->step_count; i++)
        if (t->steps[i].type == ZK_OP_ERROR && t->steps[i].err != ZK_OK)
            return t->steps[i].err;
    return ZK_OK;
}

static void check_answer(struct context *c, const struct hist_op *op, const struct model_txn *t)
{
    int32_t err = t->failed ? error_of(t) : ZK_OK;

    if (err != op->err)
        complain(c, op, "answered with another outcome than was committed");
    for (uint32_t i = 0; op->outcome == HIST_OK && err == ZK_OK && i < t->step_count; i++) {
        const char *wrong = wrong_result(op->arg.op == ZK_OP_MULTI ? &op->steps[i] : &op->arg, &t->steps[i]);

        if (wrong)
            complain(c, op, wrong);
    }
    if (op->arg.op == ZK_OP_RECONFIG || op->arg.op == ZK_OP_MULTI || op->arg.op == ZK_OP_CLOSE_SESSION || op->err == ZK_SESSIONEXPIRED || op->err == ZK_SESSIONMOVED)
        return;
    int32_t due = model_verdict(c->m, &op->arg, t->zxid - 1);
    if (due != op->err) {
        struct wr w = wr_init(0);

        wr_printf(&w, "the state before calls for %s", zk_error_name(due));
        complain(c, op, wr_cstr(&w));
        wr_free(&w);
    }
}

static void check_op(struct context *c, const struct hist_op *op)
{
    if (op->outcome != HIST_OK && op->outcome != HIST_ERROR)
        return;
    const struct model_txn *t = model_txn(c->m, op->zxid);
    if (!t)
        complain(c, op, op->outcome == HIST_OK ? "acknowledged, but not in the committed log: a lost write"
                                               : "answered with a zxid that was not committed");
    else if (t->session_id != op->session_id || t->cxid != op->xid || !same_request(op, t))
        complain(c, op, "the committed log has another transaction at the zxid of the answer: a lost write");
    else
        check_answer(c, op, t);
}

static bool may_come_from_nobody(const struct model_txn *t)
{
    return t->cxid == 0 && (t->type == ZK_OP_CREATE_SESSION || t->type == ZK_OP_CLOSE_SESSION || t->type == ZK_OP_DELETE_CONTAINER ||
                            t->type == ZK_OP_ERROR);
}

/* Every transaction was asked for. */
static void check_txn(struct context *c, const struct model_txn *t, struct u64map *done)
{
    const struct hist_op *op = u64map_get(&c->by_key, key_of(t->session_id, t->cxid));

    if (may_come_from_nobody(t))
        return;
    if (!op || op->session_id != t->session_id || op->xid != t->cxid || !same_request(op, t)) {
        (void)check_add(c->ret, NAME, t->at_us, "transaction 0x%llx (%s, session 0x%llx, cxid %d) was asked for by nobody",
                        (unsigned long long)t->zxid, zk_op_name(t->type), (unsigned long long)t->session_id, t->cxid);
        return;
    }
    if (u64map_set(done, (uint64_t)op->id + 1, (void *)(uintptr_t)1))
        complain(c, op, "committed twice");
}

/* A write answered before another was sent comes before it. */
static void check_real_time(struct context *c)
{
    const struct history *h = c->in->h;
    int64_t *floor = x_calloc(h->ops.len + 1, sizeof(*floor)), highest = 0;
    const struct hist_op *holder = NULL, **before = x_calloc(h->ops.len + 1, sizeof(*before));

    for (size_t i = 0; i < h->marks.len; i++) {
        const struct hist_mark *k = &h->marks.items[i];
        const struct hist_op *op = k->type == HIST_INVOKED || k->type == HIST_COMPLETED ? h->ops.items[k->op] : NULL;

        if (!op || !hist_op_is_write(op) || op->outcome == HIST_UNKNOWN || op->outcome == HIST_PENDING)
            continue;
        if (k->type == HIST_INVOKED) {
            floor[op->id] = highest;
            before[op->id] = holder;
        } else {
            if (op->zxid <= floor[op->id]) {
                struct check_finding *f = check_add(c->ret, NAME, op->done_us,
                                                    "a write was sent after another was answered, and has no higher zxid");
                check_involve(f, before[op->id]);
                check_involve(f, op);
            }
            if (op->zxid > highest) {
                highest = op->zxid;
                holder = op;
            }
        }
    }
    free(floor);
    free(before);
}

void check_acknowledged(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in, .m = m, .ret = ret };
    struct u64map done = { 0 };

    if (!m)
        return;
    for (size_t i = 0; i < in->h->ops.len; i++)
        if (hist_op_is_write(in->h->ops.items[i]))
            (void)u64map_set(&c.by_key, key_of(in->h->ops.items[i]->session_id, in->h->ops.items[i]->xid), in->h->ops.items[i]);
    for (size_t i = 0; i < in->h->ops.len; i++)
        if (hist_op_is_write(in->h->ops.items[i]))
            check_op(&c, in->h->ops.items[i]);
    for (size_t i = 0; i < m->txns.len; i++)
        check_txn(&c, &m->txns.items[i], &done);
    check_real_time(&c);
    u64map_free(&c.by_key, NULL);
    u64map_free(&done, NULL);
}
