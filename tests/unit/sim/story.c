/* story.c - see story.h. */
#include "story.h"

#include <stdio.h>

static int64_t next_us(struct story *s)
{
    return s->now_us += 1000;
}

void story_begin(struct story *s)
{
    *s = (struct story){ .h = history_new() };
    for (int i = 0; i < CLIENTS; i++) {
        struct wr w = wr_init(0);

        wr_i32(&w, 10000);
        commits_txn(s, session_of(i), 0, ZK_OP_CREATE_SESSION, buf_of(w.p, w.n));
        wr_free(&w);
        s->h->conns++;
        mark(s, i, HIST_CONNECTED);
    }
    struct hist_op *op = sends(s, 0, ZK_OP_CREATE, "/r", "", -1);
    commits(s, op, 1);
    op->arg.made = op->arg.path;
    answered(s, op, Z(5));
}

void story_end(struct story *s)
{
    for (size_t i = 0; i < s->log.len; i++)
        free((void *)(uintptr_t)s->log.items[i].txn.p);
    VEC_FREE(&s->log);
    check_report_free(&s->report);
    history_free(s->h);
}

/* ---- the history ---- */

static struct jbuf data_of(struct story *s, const char *data)
{
    return history_buf(s->h, (struct jbuf){ (const uint8_t *)data, data ? (int32_t)strlen(data) : -1 });
}

static struct hist_op *invoke(struct story *s, int client, struct hist_op op)
{
    op.client = op.conn = (uint32_t)client;
    op.session_id = session_of(client);
    op.xid = ++s->xid[client];
    return history_invoke(s->h, &op, next_us(s));
}

struct hist_op *sends(struct story *s, int client, int32_t op, const char *path, const char *data, int32_t version)
{
    return invoke(s, client, (struct hist_op){ .arg = { .op = op, .path = jstr_of(path), .data = data_of(s, data), .version = version,
                                                        .acl = { .n = -1 } } });
}

struct hist_op *sends_multi(struct story *s, int client, const struct hist_step *steps, uint32_t count)
{
    return invoke(s, client, (struct hist_op){ .arg = { .op = ZK_OP_MULTI }, .step_count = count,
                                               .steps = arena_memdup(&s->h->arena, steps, count * sizeof(*steps)) });
}

struct hist_op *sends_synced(struct story *s, int client, const char *path)
{
    struct hist_op *sync = sends(s, client, ZK_OP_SYNC, path, NULL, -1);
    struct hist_op op = { .arg = { .op = ZK_OP_GET_DATA, .path = jstr_of(path), .version = -1 }, .sync = sync->id + 1 };

    return invoke(s, client, op);
}

static void finish_sync(struct story *s, const struct hist_op *op, int64_t zxid)
{
    struct hist_op *sync = op->sync > 0 ? s->h->ops.items[op->sync - 1] : NULL;

    if (!sync || sync->outcome != HIST_PENDING)
        return;
    sync->zxid = zxid;
    history_complete(s->h, sync, HIST_OK, s->now_us);
}

void answered(struct story *s, struct hist_op *op, int64_t zxid)
{
    next_us(s);
    finish_sync(s, op, zxid);
    op->zxid = zxid;
    history_complete(s->h, op, HIST_OK, s->now_us);
}

void refused(struct story *s, struct hist_op *op, int32_t err, int64_t zxid)
{
    next_us(s);
    finish_sync(s, op, zxid);
    op->zxid = zxid;
    op->err = err;
    history_complete(s->h, op, HIST_ERROR, s->now_us);
}

void lost(struct story *s, struct hist_op *op)
{
    history_complete(s->h, op, HIST_UNKNOWN, next_us(s));
}

void shows_stat(struct story *s, struct hist_op *op, int64_t zxid, const char *data, const struct zk_stat *stat)
{
    if (data)
        op->arg.got = data_of(s, data);
    if (stat) {
        op->arg.stat = *stat;
        op->arg.has_stat = true;
    }
    answered(s, op, zxid);
}

void shows(struct story *s, struct hist_op *op, int64_t zxid, const char *data, int32_t version)
{
    struct zk_stat stat = { .version = version };

    shows_stat(s, op, zxid, data, version >= 0 ? &stat : NULL);
}

static struct hist_mark mark_of(struct story *s, int client, enum hist_mark_type type)
{
    return (struct hist_mark){ .type = type, .client = (uint32_t)client, .conn = (uint32_t)client, .session_id = session_of(client),
                               .at_us = next_us(s) };
}

void mark(struct story *s, int client, enum hist_mark_type type)
{
    struct hist_mark m = mark_of(s, client, type);

    m.text = type == HIST_PROTOCOL ? "as the story wants it" : NULL;
    history_mark(s->h, &m);
}

void pong(struct story *s, int client, int64_t zxid)
{
    struct hist_mark m = mark_of(s, client, HIST_PONG);

    m.zxid = zxid;
    m.since_us = s->now_us;
    history_mark(s->h, &m);
}

void event(struct story *s, int client, int32_t type, const char *path, int64_t zxid)
{
    struct hist_mark m = mark_of(s, client, HIST_EVENT);

    m.event = type;
    m.path = jstr_of(path);
    m.zxid = zxid;
    history_mark(s->h, &m);
}

/* ---- the log ---- */

int64_t commits_txn(struct story *s, int64_t session, int32_t cxid, int32_t type, struct buf body)
{
    struct wr w = wr_init(0);
    int64_t zxid = Z(++s->counter);

    next_us(s);
    txn_header_write(&w, &(struct txn_header){ session, cxid, zxid, s->now_us / 1000, type });
    wr_bytes(&w, body.p, body.n);
    struct check_commit c = { zxid, buf_of(w.p, w.n), s->now_us };
    VEC_PUSH(&s->log, c);
    return zxid;
}

int64_t commits_create(struct story *s, int64_t session, int32_t cxid, const char *path, const char *data, bool ephemeral,
                       int32_t parent_cversion)
{
    struct wr w = wr_init(0);

    create_txn_write(&w, &(struct create_txn){ jstr_of(path), { (const uint8_t *)data, (int32_t)strlen(data) }, { NULL, -1 }, ephemeral,
                                               parent_cversion });
    int64_t zxid = commits_txn(s, session, cxid, ZK_OP_CREATE, buf_of(w.p, w.n));
    wr_free(&w);
    return zxid;
}

int64_t commits_close(struct story *s, int64_t session, int32_t cxid, const char *path)
{
    struct jstr one = jstr_of(path);
    struct wr w = wr_init(0);

    close_session_txn_write(&w, &(struct close_session_txn){ { &one, path ? 1 : 0 } });
    int64_t zxid = commits_txn(s, session, cxid, ZK_OP_CLOSE_SESSION, buf_of(w.p, w.n));
    wr_free(&w);
    return zxid;
}

static void write_txn(struct wr *w, const struct hist_step *q, int32_t number)
{
    switch (q->op) {
    case ZK_OP_CREATE:
        create_txn_write(w, &(struct create_txn){ q->made.p ? q->made : q->path, q->data, q->acl, zk_flag_is_ephemeral(q->flags), number });
        break;
    case ZK_OP_SET_DATA:
        set_data_request_write(w, &(struct set_data_request){ q->path, q->data, number });
        break;
    case ZK_OP_DELETE:
        path_only_write(w, &(struct path_only){ q->path });
        break;
    case ZK_OP_SET_ACL:
        set_acl_request_write(w, &(struct set_acl_request){ q->path, q->acl, number });
        break;
    case ZK_OP_CHECK:
        path_version_write(w, &(struct path_version){ q->path, number });
        break;
    default:
        fail_msg("the story cannot commit this");
    }
}

int64_t commits(struct story *s, const struct hist_op *op, int32_t number)
{
    struct wr w = wr_init(0);

    if (op->arg.op == ZK_OP_MULTI) {
        wr_i32(&w, (int32_t)op->step_count);
        for (uint32_t i = 0; i < op->step_count; i++) {
            struct wr step = wr_init(0);

            write_txn(&step, &op->steps[i], number);
            wr_i32(&w, op->steps[i].op);
            jute_write_buf(&w, (struct jbuf){ step.p, (int32_t)step.n });
            wr_free(&step);
        }
    } else {
        write_txn(&w, &op->arg, number);
    }
    int64_t zxid = commits_txn(s, op->session_id, op->xid, op->arg.op, buf_of(w.p, w.n));
    wr_free(&w);
    return zxid;
}

int64_t commits_error(struct story *s, const struct hist_op *op, int32_t err)
{
    struct wr w = wr_init(0);

    wr_i32(&w, err);
    int64_t zxid = commits_txn(s, op->session_id, op->xid, ZK_OP_ERROR, buf_of(w.p, w.n));
    wr_free(&w);
    return zxid;
}

/* ---- the verdict ---- */

struct check_input story_input(struct story *s)
{
    return (struct check_input){ .h = s->h, .log = s->log.items, .log_len = s->log.len, .log_known = true, .tick_ms = 100 };
}

static void compare(struct story *s, const char *name)
{
    for (size_t i = 0; i < s->report.findings.len; i++)
        print_message("%s: %s\n", s->report.findings.items[i].name, s->report.findings.items[i].text);
    assert_int_equal(s->report.findings.len > 0, name != NULL);
    if (name)
        assert_string_equal(s->report.findings.items[0].name, name);
    check_report_free(&s->report);
}

void verdict(struct story *s, const char *name)
{
    struct check_input in = story_input(s);

    check_all(&in, &s->report);
    compare(s, name);
}

void verdict_of(struct story *s, check_fn fn, const char *name)
{
    struct check_input in = story_input(s);
    struct model *m = model_new(in.log, in.log_len, false);

    fn(&in, m, &s->report);
    model_free(m);
    compare(s, name);
}
