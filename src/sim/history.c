/* history.c - see history.h. */
#include "history.h"

struct history *history_new(void)
{
    return x_calloc(1, sizeof(struct history));
}

void history_free(struct history *h)
{
    if (!h)
        return;
    VEC_FREE(&h->ops);
    VEC_FREE(&h->marks);
    arena_free(&h->arena);
    free(h);
}

struct jstr history_str(struct history *h, struct jstr s)
{
    return s.p ? jstr_n(arena_memdup(&h->arena, s.p, (size_t)s.n), (size_t)s.n) : s;
}

struct jbuf history_buf(struct history *h, struct jbuf b)
{
    return b.p ? (struct jbuf){ arena_memdup(&h->arena, b.p, (size_t)b.n), b.n } : b;
}

void history_mark(struct history *h, const struct hist_mark *m)
{
    VEC_PUSH(&h->marks, *m);
}

static void mark_op(struct history *h, enum hist_mark_type type, const struct hist_op *op, int64_t now_us)
{
    history_mark(h, &(struct hist_mark){ .type = type, .client = op->client, .conn = op->conn, .server = op->server,
                                         .session_id = op->session_id, .at_us = now_us, .op = op->id });
}

struct hist_op *history_invoke(struct history *h, const struct hist_op *op, int64_t now_us)
{
    struct hist_op *o = arena_memdup(&h->arena, op, sizeof(*op));

    o->id = (uint32_t)h->ops.len;
    o->invoke = h->marks.len;
    o->invoke_us = now_us;
    o->done = UINT64_MAX;
    o->done_us = INT64_MAX;
    o->outcome = HIST_PENDING;
    VEC_PUSH(&h->ops, o);
    mark_op(h, HIST_INVOKED, o, now_us);
    return o;
}

void history_complete(struct history *h, struct hist_op *op, enum hist_outcome outcome, int64_t now_us)
{
    ASSERT(op->outcome == HIST_PENDING);
    op->outcome = outcome;
    if (outcome != HIST_UNKNOWN)
        op->done = h->marks.len;
    op->done_us = now_us;
    mark_op(h, HIST_COMPLETED, op, now_us);
}

bool hist_op_is_write(const struct hist_op *op)
{
    switch (op->arg.op) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
    case ZK_OP_DELETE:
    case ZK_OP_SET_DATA:
    case ZK_OP_SET_ACL:
    case ZK_OP_MULTI:
    case ZK_OP_CLOSE_SESSION:
    case ZK_OP_RECONFIG:
        return true;
    }
    return false;
}

bool hist_op_is_read(const struct hist_op *op)
{
    switch (op->arg.op) {
    case ZK_OP_GET_DATA:
    case ZK_OP_EXISTS:
    case ZK_OP_GET_CHILDREN:
    case ZK_OP_GET_CHILDREN2:
    case ZK_OP_GET_ACL:
        return true;
    }
    return false;
}

const char *hist_outcome_name(enum hist_outcome o)
{
    static const char *const names[] = { "pending", "ok", "error", "unknown" };

    return names[o];
}

/* ---- for people ---- */

static void print_step(struct wr *w, const struct hist_step *s)
{
    wr_printf(w, "%s", zk_op_name(s->op));
    if (s->path.p)
        wr_printf(w, " %.*s", s->path.n, s->path.p);
    if (s->data.p)
        wr_printf(w, " \"%.*s\"", MIN(s->data.n, 24), (const char *)s->data.p);
    if ((s->op == ZK_OP_SET_DATA || s->op == ZK_OP_DELETE || s->op == ZK_OP_CHECK || s->op == ZK_OP_SET_ACL) && s->version >= 0)
        wr_printf(w, " v%d", s->version);
    if (s->flags != 0)
        wr_printf(w, " flags %d", s->flags);
}

static void print_result(struct wr *w, const struct hist_step *s)
{
    if (s->made.p && !jstr_eq(s->made, s->path))
        wr_printf(w, " -> %.*s", s->made.n, s->made.p);
    if (s->got.p)
        wr_printf(w, " -> \"%.*s\"", MIN(s->got.n, 24), (const char *)s->got.p);
    if (s->has_stat)
        wr_printf(w, " (version %d, mzxid 0x%llx)", s->stat.version, (unsigned long long)s->stat.mzxid);
    if (s->children.n > 0)
        wr_printf(w, " -> %d children", s->children.n);
}

void hist_op_print(struct wr *w, const struct hist_op *op)
{
    wr_printf(w, "#%u %.6f client %u session 0x%llx server %u: ", op->id, (double)op->invoke_us / 1e6, op->client,
              (unsigned long long)op->session_id, op->server);
    print_step(w, &op->arg);
    for (uint32_t i = 0; i < op->step_count; i++) {
        wr_text(w, i == 0 ? " [" : "; ");
        print_step(w, &op->steps[i]);
        wr_text(w, i + 1 == op->step_count ? "]" : "");
    }
    if (op->change)
        wr_printf(w, " joining %.*s leaving %.*s members %.*s of 0x%llx", MAX(op->change->joining.n, 0), op->change->joining.p,
                  MAX(op->change->leaving.n, 0), op->change->leaving.p, MAX(op->change->new_members.n, 0), op->change->new_members.p,
                  (unsigned long long)op->change->cur_config_id);
    if (op->watch)
        wr_text(w, " watch");
    wr_printf(w, " = %s", hist_outcome_name(op->outcome));
    if (op->outcome == HIST_ERROR)
        wr_printf(w, " %s", zk_error_name(op->err));
    if (op->outcome == HIST_OK)
        print_result(w, &op->arg);
    if (op->outcome == HIST_OK || op->outcome == HIST_ERROR)
        wr_printf(w, " at 0x%llx, %.6f", (unsigned long long)op->zxid, (double)op->done_us / 1e6);
}

static void print_event(struct wr *w, const struct hist_mark *m)
{
    static const char *const names[] = { "?", "CREATED", "DELETED", "DATA_CHANGED", "CHILDREN_CHANGED" };
    const char *name = m->event >= 1 && m->event <= 4 ? names[m->event] : names[0];

    wr_printf(w, "event %s %.*s 0x%llx", name, m->path.n, m->path.p, (unsigned long long)m->zxid);
}

void hist_mark_print(struct wr *w, const struct history *h, uint64_t order)
{
    const struct hist_mark *m = &h->marks.items[order];

    wr_printf(w, "%.6f client %u session 0x%llx server %u: ", (double)m->at_us / 1e6, m->client, (unsigned long long)m->session_id,
              m->server);
    switch (m->type) {
    case HIST_INVOKED:
    case HIST_COMPLETED:
        wr_text(w, m->type == HIST_INVOKED ? "sends " : "done ");
        hist_op_print(w, h->ops.items[m->op]);
        break;
    case HIST_EVENT:
        print_event(w, m);
        break;
    case HIST_CONNECTED:
        wr_printf(w, "%s, %d ms", m->fresh ? "new session" : "session re-attached", m->timeout_ms);
        break;
    case HIST_DISCONNECTED:
        wr_text(w, "disconnected");
        break;
    case HIST_EXPIRED:
        wr_text(w, "session not valid");
        break;
    case HIST_CLOSED:
        wr_text(w, "session closed");
        break;
    case HIST_ABANDONED:
        wr_text(w, "client gone without closing its session");
        break;
    case HIST_PONG:
        wr_printf(w, "pong at 0x%llx", (unsigned long long)m->zxid);
        break;
    case HIST_PROTOCOL:
        wr_printf(w, "protocol broken: %s", m->text);
        break;
    }
}
