/* front.c - see front.h. */
#include "front.h"

#include "base/map.h"
#include "server/clientwire.h"

enum conn_state {
    CONN_NEW,     /* a ConnectRequest comes */
    CONN_CONNECT, /* the core makes or looks up the session */
    CONN_OPEN,
    CONN_ENDING,  /* closeSession is under way: nothing more is read */
};
struct conn {
    struct watcher watcher;
    uint64_t id;
    int64_t session_id;
    enum conn_state state;
    bool old_client, in_ready, in_touched;
    int64_t opened_us;
    struct wr in;
    size_t in_off;
    uint32_t outstanding;
    struct VEC(uint32_t) sent; /* body sizes of the writes under way, from sent_head on */
    size_t sent_head, outstanding_bytes;
};

enum message_type { MESSAGE_CONNECT, MESSAGE_DISCONNECT, MESSAGE_TOUCH, MESSAGE_REQUEST };
struct message {
    enum message_type type;
    uint64_t conn;
    int64_t session_id;
    int32_t xid, op, timeout_ms;
    bool read_only;       /* CONNECT: takes a read-only server */
    struct auth_ids *ids; /* a reference, or NULL */
    size_t off, len;      /* in the front's mail_bytes */
};

struct front {
    struct core *core;
    struct tree *tree;
    struct front_config cfg;
    struct front_io io;
    struct watch_table *watches;
    struct u64map by_id;
    struct VEC(struct conn *) conns; /* in the order they came: what is iterated */
    struct VEC(uint64_t) ready, touched;
    struct VEC(struct message) mail;
    struct wr mail_bytes, out;
    struct arena arena;
    int64_t outstanding, next_touch_us, next_sweep_us;
};

enum { SWEEP_US = 500000 };

/* ---- life ---- */

static void fire(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    struct front *f = data;
    struct conn *c = CONTAINER_OF(w, struct conn, watcher);

    if (c->state != CONN_OPEN && c->state != CONN_ENDING)
        return;
    wr_reset(&f->out);
    event_encode(&f->out, type, path, zxid);
    f->io.send(f->io.data, c->id, f->out.p, f->out.n);
}

struct front *front_new(struct core *core, struct tree *tree, const struct front_config *cfg, const struct front_io *io)
{
    struct front *f = x_calloc(1, sizeof(*f));

    ASSERT(cfg->role == CORE_STANDALONE || cfg->role == CORE_LEARNER);
    f->core = core;
    f->tree = tree;
    f->cfg = *cfg;
    if (f->cfg.max_buffer == 0)
        f->cfg.max_buffer = ZK_MAX_BUFFER_DEFAULT;
    if (f->cfg.sessionless_timeout_ms == 0)
        f->cfg.sessionless_timeout_ms = 10000;
    if (f->cfg.outstanding_limit == 0)
        f->cfg.outstanding_limit = 1000;
    f->io = *io;
    f->watches = watch_table_new(fire, f);
    tree_attach_watches(tree, f->watches);
    return f;
}

static void conn_free(struct front *f, struct conn *c)
{
    watch_remove_all(f->watches, &c->watcher);
    auth_ids_unref(c->watcher.ids);
    VEC_FREE(&c->sent);
    wr_free(&c->in);
    free(c);
}

void front_free(struct front *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->conns.len; i++)
        conn_free(f, f->conns.items[i]);
    tree_detach_watches(f->tree, f->watches);
    watch_table_free(f->watches);
    for (size_t i = 0; i < f->mail.len; i++)
        auth_ids_unref(f->mail.items[i].ids);
    u64map_free(&f->by_id, NULL);
    VEC_FREE(&f->conns);
    VEC_FREE(&f->ready);
    VEC_FREE(&f->touched);
    VEC_FREE(&f->mail);
    wr_free(&f->mail_bytes);
    wr_free(&f->out);
    arena_free(&f->arena);
    free(f);
}

void front_set_tree(struct front *f, struct tree *tree)
{
    tree_detach_watches(f->tree, f->watches);
    tree_attach_watches(tree, f->watches);
    f->tree = tree;
}

size_t front_connections(const struct front *f)
{
    return f->conns.len;
}

/* ---- to the core ---- */

static struct message *mail_add(struct front *f, enum message_type type, const struct conn *c)
{
    struct message m = { .type = type, .conn = c->id, .session_id = c->session_id, .off = f->mail_bytes.n };

    VEC_PUSH(&f->mail, m);
    return &f->mail.items[f->mail.len - 1];
}

static void mail_payload(struct front *f, struct message *m, const void *p, size_t n)
{
    m->len = n;
    wr_bytes(&f->mail_bytes, p, n);
}

bool front_has_mail(const struct front *f)
{
    return f->mail.len > 0;
}

void front_submit(struct front *f)
{
    for (size_t i = 0; i < f->mail.len; i++) {
        const struct message *m = &f->mail.items[i];
        struct buf payload = buf_of(f->mail_bytes.p ? f->mail_bytes.p + m->off : NULL, m->len);

        switch (m->type) {
        case MESSAGE_CONNECT:
            (m->read_only ? core_connect_read_only : core_connect)(f->core, m->conn, m->session_id, payload, m->timeout_ms);
            break;
        case MESSAGE_DISCONNECT:
            core_disconnected(f->core, m->conn, m->session_id);
            break;
        case MESSAGE_TOUCH:
            core_touch(f->core, m->session_id);
            break;
        case MESSAGE_REQUEST:
            core_submit(f->core, &(struct core_request){ m->conn, m->session_id, m->xid, m->op, payload, m->ids });
            break;
        }
        auth_ids_unref(m->ids);
    }
    f->mail.len = 0;
    wr_reset(&f->mail_bytes);
}

/* ---- connections come and go ---- */

static struct conn *conn_find(const struct front *f, uint64_t id)
{
    return u64map_get(&f->by_id, id);
}

static void want_turn(struct front *f, struct conn *c)
{
    if (c->in_ready)
        return;
    c->in_ready = true;
    VEC_PUSH(&f->ready, c->id);
}

void front_opened(struct front *f, uint64_t id, const char *ip_text, int64_t now_us)
{
    struct conn *c = x_calloc(1, sizeof(*c));

    ASSERT(id != 0);
    ASSERT(!conn_find(f, id));
    c->id = id;
    c->opened_us = now_us;
    c->in = wr_init(0);
    c->watcher.ids = auth_ids_new(ip_text);
    u64map_set(&f->by_id, id, c);
    VEC_PUSH(&f->conns, c);
    f->next_sweep_us = MAX(f->next_sweep_us, now_us + SWEEP_US);
}

void front_bytes(struct front *f, uint64_t id, const void *p, size_t n, int64_t now_us)
{
    struct conn *c = conn_find(f, id);

    if (!c || c->state == CONN_ENDING)
        return;
    if (c->in_off == c->in.n) {
        wr_reset(&c->in);
        c->in_off = 0;
    }
    wr_bytes(&c->in, p, n);
    want_turn(f, c);
}

static void tell_touch(struct front *f, struct conn *c)
{
    if (c->in_touched && c->session_id != 0)
        (void)mail_add(f, MESSAGE_TOUCH, c);
    c->in_touched = false;
}

static void conn_forget(struct front *f, struct conn *c)
{
    tell_touch(f, c);
    if (c->state != CONN_NEW)
        (void)mail_add(f, MESSAGE_DISCONNECT, c);
    f->outstanding -= c->outstanding;
    (void)u64map_del(&f->by_id, c->id);
    for (size_t i = 0; i < f->conns.len; i++)
        if (f->conns.items[i] == c) {
            memmove(&f->conns.items[i], &f->conns.items[i + 1], (f->conns.len - i - 1) * sizeof(struct conn *));
            f->conns.len--;
            break;
        }
    conn_free(f, c);
}

void front_closed(struct front *f, uint64_t id)
{
    struct conn *c = conn_find(f, id);

    if (c)
        conn_forget(f, c);
}

/* The server's own decision. */
static void conn_close(struct front *f, struct conn *c)
{
    uint64_t id = c->id;

    conn_forget(f, c);
    f->io.close(f->io.data, id);
}

/* ---- a net thread's turn ---- */

/* False: the connection is gone. */
static bool conn_connect(struct front *f, struct conn *c, struct buf frame)
{
    struct connect_request req;

    if (client_connect_read(frame, &f->arena, &req, &c->old_client) < 0 || req.last_zxid_seen > tree_last_zxid(f->tree)) {
        conn_close(f, c);
        return false;
    }
    struct message *m = mail_add(f, MESSAGE_CONNECT, c);
    m->session_id = req.session_id;
    m->timeout_ms = req.timeout_ms;
    m->read_only = client_connect_takes_read_only(frame, &f->arena);
    mail_payload(f, m, req.passwd.p, req.passwd.n > 0 ? (size_t)req.passwd.n : 0);
    c->state = CONN_CONNECT;
    return true;
}

static void conn_write(struct front *f, struct conn *c, const struct client_request *q)
{
    struct message *m = mail_add(f, MESSAGE_REQUEST, c);

    m->xid = q->xid;
    m->op = q->op;
    m->ids = auth_ids_ref(c->watcher.ids);
    mail_payload(f, m, q->body.p, q->body.n);
    VEC_PUSH(&c->sent, (uint32_t)q->body.n);
    c->outstanding++;
    c->outstanding_bytes += q->body.n;
    f->outstanding++;
    if (q->op == ZK_OP_CLOSE_SESSION)
        c->state = CONN_ENDING;
}

/* Executes one request. *ret_end: close once the output is sent. False: it has to wait. */
static bool conn_request(struct front *f, struct conn *c, struct buf frame, bool *ret_end)
{
    struct client_request q;
    struct client_load load = { c->outstanding, c->outstanding_bytes, 0, f->outstanding, f->cfg.outstanding_limit };

    if (client_request_read(frame, f->cfg.role, &q) < 0) {
        *ret_end = true;
        return true;
    }
    if (!client_may_go_on(&q, &load))
        return false;
    if (!c->in_touched) {
        c->in_touched = true;
        VEC_PUSH(&f->touched, c->id);
    }
    if (q.class == CLIENT_SUBMITTED) {
        conn_write(f, c, &q);
    } else if (q.class == CLIENT_AUTH) {
        *ret_end = client_auth_answer(&f->out, &q, &f->arena, &c->watcher.ids, f->cfg.super_digest) != ZK_OK;
    } else {
        struct read_context ctx = { f->tree, f->watches, &c->watcher, c->session_id, c->watcher.ids, f->cfg.skip_acl };

        *ret_end = client_read_answer(&f->out, &q, &ctx, &f->arena) > 0;
    }
    return true;
}

static void conn_execute(struct front *f, struct conn *c)
{
    bool end = false;

    wr_reset(&f->out);
    while (!end && (c->state == CONN_NEW || c->state == CONN_OPEN)) {
        struct buf frame;
        int64_t len = frame_next(c->in.p + c->in_off, c->in.n - c->in_off, f->cfg.max_buffer, &frame);

        if (len == 0)
            break;
        arena_reset(&f->arena);
        if (len < 0)
            end = true;
        else if (c->state == CONN_NEW && !conn_connect(f, c, frame))
            return; /* gone */
        else if (c->state == CONN_OPEN && !conn_request(f, c, frame, &end))
            break;
        if (len > 0)
            c->in_off += (size_t)len;
    }
    if (f->out.n > 0)
        f->io.send(f->io.data, c->id, f->out.p, f->out.n);
    if (end)
        conn_close(f, c);
}

/* As the net threads do: late by a little, never early. */
static void touch(struct front *f, int64_t now_us)
{
    if (f->touched.len == 0 || now_us < f->next_touch_us)
        return;
    f->next_touch_us = now_us + 1000 * (int64_t)MAX(1, MIN(100, f->cfg.tick_ms / 10));
    for (size_t i = 0; i < f->touched.len; i++) {
        struct conn *c = conn_find(f, f->touched.items[i]);

        if (c)
            tell_touch(f, c);
    }
    f->touched.len = 0;
}

static void sweep(struct front *f, int64_t now_us)
{
    if (f->conns.len == 0 || now_us < f->next_sweep_us)
        return;
    f->next_sweep_us = now_us + SWEEP_US;
    for (size_t i = 0; i < f->conns.len;) {
        struct conn *c = f->conns.items[i];

        if (c->state == CONN_NEW && now_us - c->opened_us >= 1000 * (int64_t)f->cfg.sessionless_timeout_ms)
            conn_close(f, c);
        else
            i++;
    }
}

void front_turn(struct front *f, int64_t now_us)
{
    for (size_t i = 0; i < f->ready.len; i++) { /* nothing becomes ready here */
        struct conn *c = conn_find(f, f->ready.items[i]);

        if (!c)
            continue;
        c->in_ready = false;
        conn_execute(f, c);
    }
    f->ready.len = 0;
    touch(f, now_us);
    sweep(f, now_us);
}

bool front_has_turn(const struct front *f)
{
    return f->ready.len > 0;
}

int64_t front_next_wake_us(const struct front *f)
{
    int64_t due = f->conns.len > 0 ? f->next_sweep_us : INT64_MAX;

    return f->touched.len > 0 ? MIN(due, f->next_touch_us) : due;
}

/* ---- from the core ---- */

static void conn_session(struct front *f, struct conn *c, const struct core_effect *e)
{
    if (c->state != CONN_CONNECT)
        return;
    wr_reset(&f->out);
    if (e->read_only)
        client_connect_answer_read_only(&f->out, e->timeout_ms, e->session_id, e->passwd);
    else
        client_connect_answer(&f->out, e->timeout_ms, e->session_id, e->passwd, c->old_client);
    f->io.send(f->io.data, c->id, f->out.p, f->out.n);
    if (e->timeout_ms <= 0 || e->session_id == 0) {
        conn_close(f, c);
        return;
    }
    c->session_id = e->session_id;
    c->state = CONN_OPEN;
    want_turn(f, c);
}

static void conn_reply(struct front *f, struct conn *c, const struct core_effect *e)
{
    if (c->outstanding > 0) {
        c->outstanding_bytes -= c->sent.items[c->sent_head++];
        c->outstanding--;
        f->outstanding--;
        if (c->sent_head == c->sent.len)
            c->sent_head = c->sent.len = 0;
    }
    if (c->state != CONN_OPEN && c->state != CONN_ENDING)
        return;
    f->io.send(f->io.data, c->id, e->bytes.p, e->bytes.n);
    if (e->op == ZK_OP_CLOSE_SESSION)
        conn_close(f, c);
    else if (c->in.n > c->in_off)
        want_turn(f, c);
}

void front_effects(struct front *f, const struct core_effect *fx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct conn *c = conn_find(f, fx[i].conn);

        if (!c)
            continue; /* closed meanwhile */
        if (fx[i].type == CORE_REPLY)
            conn_reply(f, c, &fx[i]);
        else if (fx[i].type == CORE_SESSION_READY)
            conn_session(f, c, &fx[i]);
        else if (fx[i].type == CORE_CLOSE_CONN)
            conn_close(f, c);
    }
}
