/* prep_multi.c - a multi: all of its steps in one transaction, or none.
 *
 * The steps are validated in order, each against what the steps before it leave behind. When one fails, what its forerunners recorded is taken back,
 * and the transaction that is logged says for each step how it fared: 0 before the failing one, its error, -2 after it.
 * Source: MultiOperationRecord, PrepRequestProcessor case multi (3.9). */
#include "core_internal.h"

/* Steps are kept as the reference's decoder rewrites them: by flags rather than by the opcode that was sent. */
static bool step_rewrite(struct op *op)
{
    switch (op->type) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
        if (op->flags < ZK_PERSISTENT || op->flags > ZK_CONTAINER)
            return false;
        if (op->flags == ZK_CONTAINER)
            op->type = ZK_OP_CREATE_CONTAINER;
        return true;
    case ZK_OP_CREATE_TTL:
        if (op->flags == ZK_CONTAINER)
            op->type = ZK_OP_CREATE_CONTAINER;
        else if (op->flags >= ZK_PERSISTENT && op->flags < ZK_CONTAINER)
            op->type = ZK_OP_CREATE;
        return true; /* flags out of range are that step's own failure */
    case ZK_OP_DELETE:
    case ZK_OP_SET_DATA:
    case ZK_OP_CHECK:
        return true;
    }
    return false;
}

bool multi_decode(struct core *c, struct rd *r, struct arena *a)
{
    c->steps.len = 0;
    for (;;) {
        struct multi_header mh;
        multi_header_read(r, a, &mh);
        if (r->rc != 0)
            return false;
        if (mh.done)
            return true;
        struct op op;
        if (!op_decode(r, a, mh.type, &op) || r->rc != 0 || !op.path.p || !step_rewrite(&op))
            return false;
        VEC_PUSH(&c->steps, op);
    }
}

static void mark_step(struct core *c, struct step_marks *m, size_t i)
{
    if (!m->p) {
        m->p = x_calloc(c->steps.len, 1);
        m->len = c->steps.len;
    }
    m->p[i] = 1;
}

/* The leader may log them as creates, as we do. */
struct step_marks multi_create2(struct core *c, struct buf body)
{
    struct rd r = rd_init(body.p ? body.p : (const uint8_t *)"", body.n);
    struct step_marks marks = { NULL, 0 };
    arena_reset(&c->prep_arena);
    if (!multi_decode(c, &r, &c->prep_arena))
        return marks;
    for (size_t i = 0; i < c->steps.len; i++)
        if (c->steps.items[i].type == ZK_OP_CREATE2)
            mark_step(c, &marks, i);
    return marks;
}

/* A step's type in the log. create2 is logged as create, which has the same body: 3.8.0 and 3.8.1 do not know create2 inside of a multi and
 * skip the whole transaction, on disk and as a follower, without a word (ZooKeeper's DataTree.processTxn). The reply is to tell
 * them apart. */
static int32_t step_logged_type(struct prep *pr, size_t i)
{
    int32_t type = pr->c->steps.items[i].type;
    if (type != ZK_OP_CREATE2)
        return type;
    mark_step(pr->c, &pr->p->create2, i);
    return ZK_OP_CREATE;
}

static void step_write_error(struct wr *w, int32_t err)
{
    wr_i32(w, ZK_OP_ERROR);
    wr_i32(w, 4);
    wr_i32(w, err);
}

/* Step `failed` began at offset `at` of the txn: it and what follows become errors. */
static int32_t multi_fail(struct prep *pr, size_t at, size_t failed, int32_t err)
{
    struct wr *w = &pr->p->txn;
    overlay_rollback(pr->c);
    w->n = at;
    step_write_error(w, err);
    for (size_t i = failed + 1; i < pr->c->steps.len; i++)
        step_write_error(w, ZK_RUNTIMEINCONSISTENCY);
    size_t max = pr->c->cfg.max_txn;
    return max != 0 && w->n + TXN_DIGEST_LEN > max ? ZK_MARSHALLINGERROR : ZK_OK;
}

int32_t prep_multi(struct prep *pr, struct rd *r)
{
    struct wr *w = &pr->p->txn;
    if (!multi_decode(pr->c, r, pr->a))
        return ZK_MARSHALLINGERROR;
    wr_i32(w, (int32_t)pr->c->steps.len);
    for (size_t i = 0; i < pr->c->steps.len; i++) {
        const struct op *op = &pr->c->steps.items[i];
        size_t at = w->n;
        wr_i32(w, step_logged_type(pr, i));
        wr_i32(w, 0);
        int32_t err = prep_op(pr, op);
        if (err == ZK_MARSHALLINGERROR)
            return err;
        if (err)
            return multi_fail(pr, at, i, err);
        wr_patch_u32(w, at + 4, (uint32_t)(w->n - at - 8));
    }
    return ZK_OK;
}
