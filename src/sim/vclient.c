/* vclient.c - the virtual client's connection, session and wire. */
#include "vclient_internal.h"

enum { MAX_REPLY = 8 << 20, RECONNECT_MAX_US = 1000000 };

uint64_t vclient_random(struct vclient *v, uint64_t below)
{
    uint64_t z = v->rng += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return below ? (z ^ z >> 31) % below : 0;
}

static void mark(struct vclient *v, struct hist_mark m, int64_t now_us)
{
    m.client = v->cfg.id;
    m.conn = v->conn;
    m.server = v->server;
    m.session_id = v->session;
    m.at_us = now_us;
    history_mark(v->h, &m);
}

/* ---- life ---- */

struct vclient *vclient_new(const struct vclient_config *cfg, struct history *history, const struct vclient_io *io, int64_t now_us)
{
    struct vclient *v = x_calloc(1, sizeof(*v));

    ASSERT(cfg->server_count > 0 && cfg->timeout_ms > 0 && cfg->think_ms > 0 && cfg->pipeline > 0);
    v->cfg = *cfg;
    if (v->cfg.registers == 0 || v->cfg.registers > REGISTERS_MAX)
        v->cfg.registers = 6;
    v->h = history;
    v->io = *io;
    v->rng = cfg->seed;
    v->gives_up = vclient_random(v, 2) == 0;
    v->focused = vclient_random(v, 4) == 0 || cfg->habit != VCLIENT_ANY;
    v->reader = v->focused && vclient_random(v, 2) == 0;
    if (cfg->habit != VCLIENT_ANY)
        v->reader = cfg->habit == VCLIENT_READER;
    if (cfg->changes_members) {
        v->focused = true; /* what ACLs forbid is not forbidden to it, and so not to be judged */
        v->reader = false;
    } else if (v->focused) /* some have to be there in the moment when an old leader does not know yet that it is deposed */
        v->cfg.think_ms = MAX(v->cfg.think_ms / 5, 1);
    v->dial_at_us = now_us + (int64_t)vclient_random(v, RECONNECT_MAX_US / 4);
    v->server = (uint32_t)vclient_random(v, cfg->server_count);
    v->next_load_us = now_us;
    v->next_xid = 1;
    v->timeout_ms = cfg->timeout_ms;
    return v;
}

void vclient_free(struct vclient *v)
{
    if (!v)
        return;
    VEC_FREE(&v->pending);
    VEC_FREE(&v->pings);
    VEC_FREE(&v->watches);
    VEC_FREE(&v->own);
    quorum_config_unref(v->members);
    wr_free(&v->in);
    wr_free(&v->out);
    arena_free(&v->arena);
    free(v);
}

int64_t vclient_session(const struct vclient *v)
{
    return v->session;
}

bool vclient_is_up(const struct vclient *v)
{
    return v->phase == V_UP;
}

bool vclient_idle(const struct vclient *v)
{
    return v->idle;
}

void vclient_settle_members(struct vclient *v)
{
    v->settled = true;
}

bool vclient_members_settled(const struct vclient *v)
{
    return v->changing == 0;
}

void vclient_stop(struct vclient *v, int64_t now_us)
{
    v->stopping = true;
}

/* ---- the end of a connection ---- */

/* A server other than the last one, if there is one. */
static void choose_server(struct vclient *v)
{
    if (v->cfg.server_count > 1)
        v->server = (v->server + 1 + (uint32_t)vclient_random(v, v->cfg.server_count - 1)) % v->cfg.server_count;
}

static void session_gone(struct vclient *v)
{
    v->session = 0;
    v->last_zxid = 0; /* of this handle: the next session is another's */
    v->watches.len = 0;
    v->own.len = 0;
    v->lasting[0] = v->lasting[1] = false;
}

static void connection_gone(struct vclient *v, int64_t now_us)
{
    bool was_up = v->phase == V_UP;

    v->phase = V_WAITING;
    wr_reset(&v->in);
    for (size_t i = v->pending_head; i < v->pending.len; i++)
        history_complete(v->h, v->pending.items[i], HIST_UNKNOWN, now_us);
    v->pending.len = v->pending_head = 0;
    v->changing = 0;
    v->pings.len = v->pings_head = 0;
    if (was_up)
        mark(v, (struct hist_mark){ .type = HIST_DISCONNECTED }, now_us);
    v->final_sent = false;
    v->dial_at_us = now_us + (int64_t)vclient_random(v, was_up ? RECONNECT_MAX_US : RECONNECT_MAX_US / 2);
    choose_server(v);
    if (v->closing) { /* whether it was closed is not known: it may expire */
        v->closing = false;
        mark(v, (struct hist_mark){ .type = HIST_ABANDONED }, now_us);
        session_gone(v);
    }
}

void vclient_hang_up(struct vclient *v, int64_t now_us)
{
    v->io.hangup(v->io.data, v->cfg.id);
    connection_gone(v, now_us);
}

void vclient_abandon(struct vclient *v, int64_t now_us)
{
    mark(v, (struct hist_mark){ .type = HIST_ABANDONED }, now_us);
    vclient_hang_up(v, now_us);
    session_gone(v);
}

static void broken(struct vclient *v, const char *text, int64_t now_us)
{
    mark(v, (struct hist_mark){ .type = HIST_PROTOCOL, .text = text }, now_us);
    vclient_hang_up(v, now_us);
}

void vclient_closed(struct vclient *v, int64_t now_us)
{
    if (v->phase != V_WAITING)
        connection_gone(v, now_us);
}

/* ---- sending ---- */

static void flush(struct vclient *v, int64_t now_us)
{
    v->io.send(v->io.data, v->cfg.id, v->out.p, v->out.n);
    wr_reset(&v->out);
    v->last_send_us = now_us;
}

void vclient_opened(struct vclient *v, int64_t now_us)
{
    static const uint8_t none[ZK_PASSWORD_LEN];

    if (v->phase != V_DIALING)
        return;
    v->phase = V_HANDSHAKE;
    v->conn = v->h->conns++;
    size_t frame = jute_frame_begin(&v->out);
    connect_request_write(&v->out, &(struct connect_request){ 0, v->last_zxid, v->cfg.timeout_ms, v->session,
                                                              { v->session ? v->passwd : none, ZK_PASSWORD_LEN } });
    wr_u8(&v->out, 0);
    jute_frame_end(&v->out, frame);
    flush(v, now_us);
}

static void write_step(struct wr *w, const struct hist_step *s)
{
    switch (s->op) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
        create_request_write(w, &(struct create_request){ s->path, s->data, s->acl, s->flags });
        break;
    case ZK_OP_CREATE_TTL:
        create_ttl_request_write(w, &(struct create_ttl_request){ s->path, s->data, s->acl, s->flags, s->ttl_ms });
        break;
    case ZK_OP_DELETE:
    case ZK_OP_CHECK:
        path_version_write(w, &(struct path_version){ s->path, s->version });
        break;
    case ZK_OP_SET_DATA:
        set_data_request_write(w, &(struct set_data_request){ s->path, s->data, s->version });
        break;
    case ZK_OP_SET_ACL:
        set_acl_request_write(w, &(struct set_acl_request){ s->path, s->acl, s->version });
        break;
    case ZK_OP_SYNC:
    case ZK_OP_GET_ACL:
        path_only_write(w, &(struct path_only){ s->path });
        break;
    case ZK_OP_ADD_WATCH:
        path_type_write(w, &(struct path_type){ s->path, s->flags });
        break;
    }
}

static void write_body(struct wr *w, const struct hist_op *op)
{
    switch (op->arg.op) {
    case ZK_OP_GET_DATA:
    case ZK_OP_EXISTS:
    case ZK_OP_GET_CHILDREN:
    case ZK_OP_GET_CHILDREN2:
        path_watch_write(w, &(struct path_watch){ op->arg.path, op->watch });
        break;
    case ZK_OP_MULTI:
        for (uint32_t i = 0; i < op->step_count; i++) {
            multi_header_write(w, &(struct multi_header){ op->steps[i].op, false, -1 });
            write_step(w, &op->steps[i]);
        }
        jute_write_multi_end(w);
        break;
    case ZK_OP_RECONFIG:
        reconfig_request_write(w, op->change);
        break;
    case ZK_OP_SET_WATCHES2:
        set_watches2_write(w, &(struct set_watches2){ op->relative_zxid, op->lists[0], op->lists[1], op->lists[2], op->lists[3],
                                                      op->lists[4] });
        break;
    default:
        write_step(w, &op->arg);
    }
}

struct hist_op *vclient_request(struct vclient *v, const struct hist_op *op, int64_t now_us)
{
    struct hist_op q = *op;

    q.client = v->cfg.id;
    q.conn = v->conn;
    q.server = v->server;
    q.session_id = v->session;
    q.xid = v->next_xid++;
    struct hist_op *o = history_invoke(v->h, &q, now_us);
    VEC_PUSH(&v->pending, o);
    size_t frame = jute_frame_begin(&v->out);
    request_header_write(&v->out, &(struct request_header){ o->xid, o->arg.op });
    write_body(&v->out, o);
    jute_frame_end(&v->out, frame);
    flush(v, now_us);
    return o;
}

static void ping(struct vclient *v, int64_t now_us)
{
    size_t frame = jute_frame_begin(&v->out);

    request_header_write(&v->out, &(struct request_header){ ZK_XID_PING, ZK_OP_PING });
    jute_frame_end(&v->out, frame);
    VEC_PUSH(&v->pings, now_us);
    flush(v, now_us);
}

/* ---- watches ---- */

static void watch_note(struct vclient *v, enum watch_list list, struct jstr path)
{
    for (size_t i = 0; i < v->watches.len; i++)
        if (v->watches.items[i].list == list && jstr_eq(v->watches.items[i].path, path))
            return;
    struct own_watch w = { list, history_str(v->h, path) };
    VEC_PUSH(&v->watches, w);
}

static void watch_drop(struct vclient *v, unsigned lists, struct jstr path)
{
    size_t kept = 0;

    for (size_t i = 0; i < v->watches.len; i++)
        if (!(lists >> v->watches.items[i].list & 1) || !jstr_eq(v->watches.items[i].path, path))
            v->watches.items[kept++] = v->watches.items[i];
    v->watches.len = kept;
}

static void got_event(struct vclient *v, int64_t zxid, struct rd *r, int64_t now_us)
{
    struct watcher_event e;
    unsigned lists = 1 << LIST_DATA | 1 << LIST_EXIST;

    watcher_event_read(r, &v->arena, &e);
    if (r->rc != 0 || e.type < ZK_EVENT_CREATED || e.type > ZK_EVENT_CHILDREN_CHANGED || e.state != ZK_STATE_CONNECTED) {
        broken(v, "malformed watch event", now_us);
        return;
    }
    mark(v, (struct hist_mark){ .type = HIST_EVENT, .zxid = zxid, .event = e.type, .path = history_str(v->h, e.path) }, now_us);
    if (e.type == ZK_EVENT_CHILDREN_CHANGED)
        lists = 1 << LIST_CHILD;
    else if (e.type == ZK_EVENT_DELETED)
        lists |= 1 << LIST_CHILD;
    watch_drop(v, lists, e.path);
}

/* After a reconnection: what we watch, as Java's client sends it. */
static void send_watches(struct vclient *v, int64_t now_us)
{
    struct hist_op op = { .arg = { .op = ZK_OP_SET_WATCHES2 }, .relative_zxid = v->last_zxid };

    if (v->watches.len == 0)
        return;
    for (int list = 0; list < LIST_COUNT; list++) {
        op.lists[list].v = arena_calloc(&v->h->arena, v->watches.len, sizeof(struct jstr));
        for (size_t i = 0; i < v->watches.len; i++)
            if ((int)v->watches.items[i].list == list)
                op.lists[list].v[op.lists[list].n++] = v->watches.items[i].path;
    }
    /* The catch-up events drop what they use up. */
    (void)vclient_request(v, &op, now_us);
}

/* ---- receiving ---- */

static void read_children(struct vclient *v, struct hist_step *s, struct rd *r)
{
    struct jstrs l = jute_read_strs(r, &v->arena);

    s->children = (struct jstrs){ arena_calloc(&v->h->arena, (size_t)MAX(l.n, 1), sizeof(struct jstr)), MAX(l.n, 0) };
    for (int32_t i = 0; i < l.n; i++)
        s->children.v[i] = history_str(v->h, l.v[i]);
}

static void read_stat(struct hist_step *s, struct rd *r)
{
    zk_stat_read(r, &s->stat);
    s->has_stat = true;
}

static void read_acl(struct vclient *v, struct hist_step *s, struct rd *r)
{
    struct jacls l = jute_read_acls(r, &v->arena);

    s->got_acl = (struct jacls){ arena_calloc(&v->h->arena, (size_t)MAX(l.n, 1), sizeof(struct jacl)), MAX(l.n, 0) };
    for (int32_t i = 0; i < l.n; i++)
        s->got_acl.v[i] = (struct jacl){ l.v[i].perms, history_str(v->h, l.v[i].scheme), history_str(v->h, l.v[i].id) };
}

static void read_result(struct vclient *v, struct hist_step *s, struct rd *r)
{
    switch (s->op) {
    case ZK_OP_CREATE:
        s->made = history_str(v->h, jute_read_str(r));
        break;
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
        s->made = history_str(v->h, jute_read_str(r));
        read_stat(s, r);
        break;
    case ZK_OP_SET_DATA:
    case ZK_OP_SET_ACL:
    case ZK_OP_EXISTS:
        read_stat(s, r);
        break;
    case ZK_OP_GET_DATA:
    case ZK_OP_RECONFIG:
        s->got = history_buf(v->h, jute_read_buf(r));
        read_stat(s, r);
        break;
    case ZK_OP_GET_CHILDREN:
        read_children(v, s, r);
        break;
    case ZK_OP_GET_CHILDREN2:
        read_children(v, s, r);
        read_stat(s, r);
        break;
    case ZK_OP_GET_ACL:
        read_acl(v, s, r);
        read_stat(s, r);
        break;
    }
}

/* The reply of a multi: every step's own result, or every step's error. */
static void read_multi(struct vclient *v, struct hist_op *op, struct rd *r)
{
    for (uint32_t i = 0; r->rc == 0; i++) {
        struct multi_header h;

        multi_header_read(r, &v->arena, &h);
        if (h.done || i == op->step_count)
            break;
        struct hist_step *s = &op->steps[i];
        int32_t expect = s->op == ZK_OP_CREATE_CONTAINER || s->op == ZK_OP_CREATE_TTL ? ZK_OP_CREATE2 : s->op;
        if (h.type == -1) {
            s->err = rd_i32(r);
            if (op->err == ZK_OK)
                op->err = s->err;
        } else if (h.type != expect) {
            rd_fail(r, RC_MALFORMED);
        } else {
            read_result(v, s, r);
        }
    }
}

static void note_watch(struct vclient *v, const struct hist_op *op)
{
    struct jstr path = op->arg.path;

    if (op->arg.op == ZK_OP_ADD_WATCH && op->err == ZK_OK)
        watch_note(v, op->arg.flags == ZK_WATCH_PERSISTENT ? LIST_PERSISTENT : LIST_RECURSIVE, path);
    if (!op->watch || op->arg.op == ZK_OP_ADD_WATCH)
        return;
    if (op->arg.op == ZK_OP_EXISTS && op->err == ZK_NONODE)
        watch_note(v, LIST_EXIST, path);
    else if (op->err == ZK_OK)
        watch_note(v, op->arg.op == ZK_OP_GET_DATA || op->arg.op == ZK_OP_EXISTS ? LIST_DATA : LIST_CHILD, path);
}

static void got_reply(struct vclient *v, const struct reply_header *h, struct rd *r, int64_t now_us)
{
    if (vclient_pending(v) == 0 || v->pending.items[v->pending_head]->xid != h->xid) {
        broken(v, "a reply that is not the next one", now_us);
        return;
    }
    struct hist_op *op = v->pending.items[v->pending_head++];
    if (v->pending_head == v->pending.len)
        v->pending_head = v->pending.len = 0;
    op->err = h->err;
    op->zxid = h->zxid;
    if (h->err == ZK_OK && op->arg.op == ZK_OP_MULTI)
        read_multi(v, op, r);
    else if (h->err == ZK_OK)
        read_result(v, &op->arg, r);
    history_complete(v->h, op, op->err == ZK_OK ? HIST_OK : HIST_ERROR, now_us);
    if (h->zxid > 0)
        v->last_zxid = h->zxid;
    if (r->rc != 0) {
        broken(v, "malformed reply", now_us);
        return;
    }
    note_watch(v, op);
    load_note_answer(v, op);
    if (op->arg.op == ZK_OP_CLOSE_SESSION && op->err == ZK_OK) {
        mark(v, (struct hist_mark){ .type = HIST_CLOSED }, now_us);
        v->closing = false;
        session_gone(v);
        vclient_hang_up(v, now_us);
    }
}

static void got_pong(struct vclient *v, const struct reply_header *h, int64_t now_us)
{
    if (v->pings_head == v->pings.len) {
        broken(v, "an answer to a ping that was not sent", now_us);
        return;
    }
    mark(v, (struct hist_mark){ .type = HIST_PONG, .zxid = h->zxid, .since_us = v->pings.items[v->pings_head++] }, now_us);
    if (v->pings_head == v->pings.len)
        v->pings_head = v->pings.len = 0;
}

static void got_session(struct vclient *v, struct rd *r, int64_t now_us)
{
    struct connect_response a;

    connect_response_read(r, &v->arena, &a);
    if (r->rc != 0) {
        broken(v, "malformed connect response", now_us);
        return;
    }
    if (a.timeout_ms <= 0) {
        mark(v, (struct hist_mark){ .type = HIST_EXPIRED }, now_us);
        session_gone(v);
        vclient_hang_up(v, now_us);
        return;
    }
    if ((v->session != 0 && a.session_id != v->session) || a.session_id == 0 || a.passwd.n != ZK_PASSWORD_LEN) {
        broken(v, "another session than was asked for", now_us);
        return;
    }
    bool fresh = v->session == 0;
    v->session = a.session_id;
    v->timeout_ms = a.timeout_ms;
    memcpy(v->passwd, a.passwd.p, ZK_PASSWORD_LEN);
    v->phase = V_UP;
    v->alive_us = now_us;
    mark(v, (struct hist_mark){ .type = HIST_CONNECTED, .timeout_ms = a.timeout_ms, .fresh = fresh }, now_us);
    if (fresh)
        load_session_begun(v);
    reconf_introduce(v, &v->out);
    send_watches(v, now_us);
    v->next_load_us = now_us;
}

static void got_frame(struct vclient *v, const uint8_t *p, size_t n, int64_t now_us)
{
    struct rd r = rd_init(p, n);
    struct reply_header h;

    arena_reset(&v->arena);
    if (v->phase == V_HANDSHAKE) {
        got_session(v, &r, now_us);
        return;
    }
    reply_header_read(&r, &v->arena, &h);
    if (r.rc != 0)
        broken(v, "a packet too short for a reply header", now_us);
    else if (h.xid == ZK_XID_EVENT)
        got_event(v, h.zxid, &r, now_us);
    else if (h.xid == ZK_XID_AUTH && h.err == ZK_OK)
        return;
    else if (h.xid == ZK_XID_PING)
        got_pong(v, &h, now_us);
    else
        got_reply(v, &h, &r, now_us);
}

void vclient_bytes(struct vclient *v, const void *p, size_t n, int64_t now_us)
{
    size_t at = 0;

    if (v->phase != V_HANDSHAKE && v->phase != V_UP)
        return;
    wr_bytes(&v->in, p, n);
    v->last_recv_us = v->alive_us = now_us;
    /* A frame may end the connection, and with it what is left. */
    while (v->phase != V_WAITING && v->in.n - at >= 4) {
        uint32_t len = load_u32(v->in.p + at);

        if (len > MAX_REPLY) {
            broken(v, "a frame of impossible length", now_us);
            return;
        }
        if (v->in.n - at - 4 < len)
            break;
        got_frame(v, v->in.p + at + 4, len, now_us);
        at += 4 + (size_t)len;
    }
    if (v->phase == V_WAITING)
        return;
    memmove(v->in.p, v->in.p + at, v->in.n - at);
    v->in.n -= at;
}

/* ---- time ---- */

static int64_t read_timeout_us(const struct vclient *v)
{
    return (int64_t)v->timeout_ms * 1000 * 2 / 3;
}

static int64_t ping_at_us(const struct vclient *v)
{
    return v->last_send_us + read_timeout_us(v) / 2;
}

static int64_t death_us(const struct vclient *v)
{
    return v->session != 0 && v->gives_up ? v->alive_us + (int64_t)v->timeout_ms * 1000 * 4 / 3 : INT64_MAX;
}

static void dial(struct vclient *v, int64_t now_us)
{
    v->phase = V_DIALING;
    v->deadline_us = now_us + MAX(500000, (int64_t)v->timeout_ms * 1000 / v->cfg.server_count);
    v->last_recv_us = v->last_send_us = now_us;
    v->io.dial(v->io.data, v->cfg.id, v->server);
}

static void tick_down(struct vclient *v, int64_t now_us)
{
    if (now_us >= death_us(v)) {
        mark(v, (struct hist_mark){ .type = HIST_ABANDONED }, now_us);
        session_gone(v);
        if (v->phase != V_WAITING)
            vclient_hang_up(v, now_us);
    }
    if (v->phase == V_WAITING && now_us >= v->dial_at_us)
        dial(v, now_us);
    else if (v->phase != V_WAITING && now_us >= v->deadline_us)
        vclient_hang_up(v, now_us);
}

static bool load_wanted(const struct vclient *v)
{
    if (v->closing || v->idle)
        return false;
    if (v->stopping)
        return !v->final_sent && vclient_pending(v) == 0;
    return vclient_pending(v) < v->cfg.pipeline;
}

void vclient_tick(struct vclient *v, int64_t now_us)
{
    if (v->phase != V_UP) {
        tick_down(v, now_us);
        return;
    }
    if (now_us - v->last_recv_us >= read_timeout_us(v)) {
        vclient_hang_up(v, now_us);
        return;
    }
    if (now_us >= ping_at_us(v))
        ping(v, now_us);
    if (now_us < v->next_load_us)
        return;
    v->next_load_us = now_us + 1 + (int64_t)vclient_random(v, (uint64_t)v->cfg.think_ms * 2000);
    if (load_wanted(v) && v->stopping)
        load_final(v, now_us);
    else if (load_wanted(v))
        load_burst(v, now_us);
}

int64_t vclient_wake_us(const struct vclient *v)
{
    if (v->phase == V_WAITING)
        return MIN(v->dial_at_us, death_us(v));
    if (v->phase != V_UP)
        return MIN(v->deadline_us, death_us(v));
    int64_t wake = MIN(v->last_recv_us + read_timeout_us(v), ping_at_us(v));
    return v->idle || v->closing ? wake : MIN(wake, v->next_load_us);
}
