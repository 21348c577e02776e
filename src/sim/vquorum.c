/* vquorum.c - see vquorum.h. */
#include "vquorum.h"

#include "base/arena.h"
#include "base/log.h"
#include "zab/connrule.h"

enum {
    CALL_BACK_MS = 100, /* as in qnet_election.c */
    TRIES = 5,
    LINGER_MS = 1000,
    CLOSE_MS = 5000,
    STREAM_LOW = 8 << 10,
    READ_PIECE = 16 << 10,
    READ_SHARE = 64 << 10,
};

enum vq_role { VQ_HELLO, VQ_ELECTION, VQ_PEER, VQ_LEADER, VQ_LINGER };

struct vqueue {
    struct wr w;
    size_t off;
};
struct vqconn {
    struct vsock *s;
    enum vq_role role;
    bool dead, paused, eof, shut;
    bool again; /* there may be more to read than the last turn took */
    const char *broken;
    struct vqueue in, out, behind;
    struct qnet_stream stream;
    bool streaming, stream_ended, stream_idle;
    int64_t deadline_ms;
    uint64_t number;
    int64_t sid;
    qnet_take_fn take;
    void *take_data;
    uint64_t sent, received;
};
struct vserver {
    int64_t sid;
    struct vqconn *conn;
    struct vsock *dial;
    int64_t dial_until_ms;
    struct wr last;
    bool queued;
    int64_t called_ms;
};
struct vfollow {
    bool active;
    struct vsock *dial;
    struct vqconn *conn;
    int64_t sid;
    bool lives; /* qnet_learner.c */
    uint32_t host;
    int64_t begun_ms, limit_ms, retry_ms;
    int tries;
};
struct accepted {
    enum vnet_port port;
    struct vsock *s;
};

struct qnet {
    struct vquorum_options opt;
    struct sim_rng rng;
    bool running;
    int64_t now_ms;
    struct quorum_config *committed, *last_seen;
    struct quorum_config *self; /* the last one that had us in it: our addresses */
    struct VEC(struct vserver *) servers;
    struct VEC(struct vqconn *) conns;
    struct VEC(struct accepted) accepted;
    struct vfollow follow;
    bool leading;
    uint64_t last_number;
    int64_t anonymous;
    struct arena arena;
};

uint32_t vquorum_host(int64_t sid)
{
    return (uint32_t)(sid - 1);
}

static int64_t now_of(const struct qnet *q)
{
    return q->running ? q->now_ms : q->opt.now_ms(q->opt.data);
}

/* ---- queues of bytes ---- */

static void queue_put(struct vqueue *b, const void *p, size_t n)
{
    if (b->off == b->w.n) {
        wr_reset(&b->w);
        b->off = 0;
    }
    wr_bytes(&b->w, p, n);
}

static size_t queue_len(const struct vqueue *b)
{
    return b->w.n - b->off;
}

static const uint8_t *queue_at(const struct vqueue *b)
{
    return b->w.p + b->off;
}

/* ---- connections ---- */

static struct vqconn *conn_new(struct qnet *q, enum vq_role role, struct vsock *s)
{
    struct vqconn *c = x_calloc(1, sizeof(*c));

    c->s = s;
    c->role = role;
    c->deadline_ms = SIM_NEVER;
    vsock_set_user(s, c);
    VEC_PUSH(&q->conns, c);
    return c;
}

static void follow_lost(struct qnet *q, int64_t sid)
{
    if (q->follow.sid == sid)
        q->follow.lives = false;
}

static void server_detach(struct qnet *q, struct vqconn *c)
{
    for (size_t i = 0; i < q->servers.len; i++)
        if (q->servers.items[i]->conn == c) {
            q->servers.items[i]->conn = NULL;
            follow_lost(q, q->servers.items[i]->sid);
        }
}

static void stream_done(struct vqconn *c, int rc)
{
    struct qnet_stream s = c->stream;

    c->streaming = c->stream_ended = c->stream_idle = false;
    queue_put(&c->out, queue_at(&c->behind), queue_len(&c->behind));
    c->behind.off = c->behind.w.n;
    s.done(s.data, c->number, rc);
}

static void conn_close(struct qnet *q, struct vqconn *c, int stream_rc)
{
    if (c->dead)
        return;
    c->dead = true;
    vsock_close(c->s, false);
    c->s = NULL;
    server_detach(q, c);
    if (q->follow.conn == c)
        q->follow.conn = NULL;
    if (c->streaming)
        stream_done(c, stream_rc);
}

static void conn_free(struct vqconn *c)
{
    wr_free(&c->in.w);
    wr_free(&c->out.w);
    wr_free(&c->behind.w);
    free(c);
}

static void sweep(struct qnet *q)
{
    size_t kept = 0;

    for (size_t i = 0; i < q->conns.len; i++) {
        if (q->conns.items[i]->dead)
            conn_free(q->conns.items[i]);
        else
            q->conns.items[kept++] = q->conns.items[i];
    }
    q->conns.len = kept;
}

static void follow_end(struct qnet *q)
{
    if (q->follow.dial)
        vsock_close(q->follow.dial, true);
    q->follow = (struct vfollow){ .retry_ms = SIM_NEVER };
}

static void conn_fail(struct qnet *q, struct vqconn *c, const char *why)
{
    enum vq_role role = c->role;

    if (c->dead)
        return;
    conn_close(q, c, RC_CLOSED);
    if (role == VQ_PEER) {
        q->opt.events.peer_closed(q->opt.events.data, c->number, why);
    } else if (role == VQ_LEADER) {
        follow_end(q);
        q->opt.events.leader_closed(q->opt.events.data, why);
    }
}

static void conn_linger(struct qnet *q, struct vqconn *c, int64_t for_ms)
{
    if (c->dead)
        return;
    if (q->follow.conn == c)
        q->follow.conn = NULL;
    c->role = VQ_LINGER;
    c->take = NULL;
    c->paused = false;
    c->deadline_ms = now_of(q) + for_ms;
}

static void conn_send(struct vqconn *c, const void *p, size_t n)
{
    if (c->dead || c->broken || n == 0)
        return;
    if (queue_len(&c->out) + queue_len(&c->behind) + n > QNET_MAX_QUEUE_DEFAULT)
        c->broken = "it does not take what is sent to it: too much is waiting";
    else
        queue_put(c->streaming ? &c->behind : &c->out, p, n);
}

/* ---- election connections ---- */

static struct vserver *server_of(struct qnet *q, int64_t sid)
{
    for (size_t i = 0; i < q->servers.len; i++)
        if (q->servers.items[i]->sid == sid)
            return q->servers.items[i];
    struct vserver *s = x_calloc(1, sizeof(*s));
    s->sid = sid;
    s->last = wr_init(4 + ELECTION_FRAME_MAX);
    s->called_ms = -CALL_BACK_MS;
    VEC_PUSH(&q->servers, s);
    return s;
}

static struct quorum_view view_of(const struct qnet *q)
{
    return (struct quorum_view){ q->committed, q->last_seen };
}

struct quorum_view vquorum_view(const struct qnet *q)
{
    return view_of(q);
}

static bool is_member(const struct qnet *q, int64_t sid)
{
    const struct quorum_member *m[2];

    return q->committed && conn_targets(view_of(q), sid, m) > 0;
}

static void dial_end(struct vserver *s)
{
    if (s->dial)
        vsock_close(s->dial, true);
    s->dial = NULL;
}

static void send_queued(struct vserver *s)
{
    if (!s->queued || !s->conn || queue_len(&s->conn->out) > 0)
        return;
    s->queued = false;
    conn_send(s->conn, s->last.p, s->last.n);
}

static void adopt(struct qnet *q, struct vserver *s, struct vqconn *c)
{
    struct vqconn *old = s->conn;

    follow_lost(q, s->sid);
    s->conn = c;
    c->sid = s->sid;
    c->role = VQ_ELECTION;
    c->deadline_ms = SIM_NEVER;
    if (old)
        conn_close(q, old, 0);
    s->conn = c;
    dial_end(s);
    s->queued = s->last.n > 0;
    send_queued(s);
}

/* named: it said itself where it is. */
static void connect_to(struct qnet *q, struct vserver *s, bool named)
{
    if (s->dial || (!named && !is_member(q, s->sid)))
        return;
    s->dial = vnet_connect(q->opt.net, q->opt.host, vquorum_host(s->sid), VPORT_ELECTION);
    s->dial_until_ms = now_of(q) + q->opt.cnx_timeout_ms;
}

static void connect_if_needed(struct qnet *q, struct vserver *s)
{
    if (!s->conn && !s->dial && now_of(q) - s->called_ms >= CALL_BACK_MS)
        connect_to(q, s, false);
}

static void put_hello(const struct qnet *q, struct wr *w)
{
    const struct quorum_member *me = q->self ? quorum_config_member(q->self, q->opt.my_sid) : NULL;
    struct hello h = { .version = HELLO_V1, .sid = q->opt.my_sid };

    if (!me)
        return;
    h.addrs[h.addrs_len++] = (struct hello_addr){ buf_str(me->addrs[0].host), me->addrs[0].election_port };
    hello_encode(w, &h);
}

static void dialed(struct qnet *q, struct vserver *s)
{
    struct vsock *sock = s->dial;
    struct wr w = wr_init(0);

    s->dial = NULL;
    put_hello(q, &w);
    if (w.n > 0 && vsock_send(sock, w.p, w.n) == w.n && conn_decide(true, q->opt.my_sid, s->sid) == CONN_KEEP) {
        adopt(q, s, conn_new(q, VQ_ELECTION, sock));
    } else {
        vsock_close(sock, false);
        s->called_ms = now_of(q);
    }
    wr_free(&w);
}

static void run_dials(struct qnet *q)
{
    for (size_t i = 0; i < q->servers.len; i++) {
        struct vserver *s = q->servers.items[i];
        if (!s->dial)
            continue;
        if (vsock_state(s->dial) == VSOCK_OPEN)
            dialed(q, s);
        else if (vsock_state(s->dial) == VSOCK_BROKEN || q->now_ms >= s->dial_until_ms)
            dial_end(s);
    }
}

static void greeted(struct qnet *q, struct vqconn *c, const struct hello *h)
{
    int64_t sid = conn_local_sid(h->sid, &q->anonymous);
    enum conn_action action = conn_decide(false, q->opt.my_sid, sid);
    struct vserver *s;

    if (action == CONN_REFUSE) {
        conn_close(q, c, 0);
        return;
    }
    s = server_of(q, sid);
    if (action == CONN_KEEP) {
        adopt(q, s, c);
        return;
    }
    connect_to(q, s, h->addrs_len > 0);
    conn_close(q, c, 0);
    if (s->dial && s->conn)
        conn_close(q, s->conn, 0);
}

/* False: nothing was consumed. */
static bool read_election(struct qnet *q, struct vqconn *c)
{
    struct buf payload;
    struct notification n;
    struct hello h;
    size_t used = 0;
    int rc;

    if (c->role == VQ_HELLO) {
        rc = hello_decode(queue_at(&c->in), queue_len(&c->in), &h, &used);
        if (rc == RC_SHORT)
            return false;
        c->in.off += rc == 0 ? used : 0;
        if (rc == 0)
            greeted(q, c, &h);
        else
            conn_close(q, c, 0);
        return true;
    }
    rc = election_frame_decode(queue_at(&c->in), queue_len(&c->in), &payload, &used);
    if (rc == RC_SHORT)
        return false;
    if (rc != 0) {
        conn_fail(q, c, "wrong length of a message");
        return true;
    }
    c->in.off += used;
    rc = notification_decode(payload, &n);
    if (rc == 0)
        world_line(q->opt.w, SIM_LINE_MESSAGE, c->sid, q->opt.my_sid, "%s, for server %lld at 0x%llx, round %lld", zab_state_str(n.state),
                   (long long)n.leader, (unsigned long long)n.zxid, (long long)n.round);
    if (rc == 0)
        q->opt.events.notification(q->opt.events.data, c->sid, &n);
    return true;
}

static void q_election_send(struct qnet *q, int64_t sid, const struct notification *n)
{
    struct vserver *s = server_of(q, sid);

    wr_reset(&s->last);
    notification_frame(&s->last, n);
    s->queued = s->last.rc == 0;
    send_queued(s);
    connect_if_needed(q, s);
}

static void q_election_connect_all(struct qnet *q)
{
    struct sid_set voters = { 0 };

    quorum_view_voters(view_of(q), &voters);
    for (size_t i = 0; i < voters.len; i++)
        if (voters.items[i] != q->opt.my_sid)
            connect_if_needed(q, server_of(q, voters.items[i]));
    sid_set_free(&voters);
}

static bool q_election_queue_empty(const struct qnet *q)
{
    for (size_t i = 0; i < q->servers.len; i++)
        if (q->servers.items[i]->last.n > 0 && !q->servers.items[i]->queued)
            return true;
    return false;
}

static void q_election_restart(struct qnet *q)
{
    for (size_t i = 0; i < q->servers.len; i++) {
        struct vserver *s = q->servers.items[i];

        wr_reset(&s->last);
        s->queued = false;
        s->called_ms = -CALL_BACK_MS;
        dial_end(s);
        if (s->conn)
            conn_close(q, s->conn, 0);
    }
    for (size_t i = 0; i < q->conns.len; i++)
        if (q->conns.items[i]->role == VQ_HELLO)
            conn_close(q, q->conns.items[i], 0);
}

/* ---- leader ---- */

static struct vqconn *peer_of(const struct qnet *q, uint64_t conn)
{
    for (size_t i = 0; i < q->conns.len; i++)
        if (q->conns.items[i]->number == conn && q->conns.items[i]->role == VQ_PEER && !q->conns.items[i]->dead)
            return q->conns.items[i];
    return NULL;
}

static int q_lead_start(struct qnet *q)
{
    q->leading = true;
    if (q->opt.leading)
        q->opt.leading(q->opt.data);
    vnet_listen(q->opt.net, q->opt.host, VPORT_QUORUM, true);
    return 0;
}

static void q_lead_stop(struct qnet *q)
{
    q->leading = false;
    vnet_listen(q->opt.net, q->opt.host, VPORT_QUORUM, false);
    for (size_t i = 0; i < q->conns.len; i++) {
        struct vqconn *c = q->conns.items[i];
        if (c->dead || (c->role != VQ_PEER && !(c->role == VQ_LINGER && c->streaming)))
            continue;
        if (c->streaming || c->broken)
            conn_close(q, c, RC_CANCELLED);
        else
            conn_linger(q, c, LINGER_MS);
    }
}

static void q_peer_send(struct qnet *q, uint64_t conn, struct buf bytes)
{
    struct vqconn *c = peer_of(q, conn);

    if (!c)
        return;
    q->opt.sending(q->opt.data, false, bytes);
    conn_send(c, bytes.p, bytes.n);
}

static void q_peer_close_after_flush(struct qnet *q, uint64_t conn)
{
    struct vqconn *c = peer_of(q, conn);

    if (c)
        conn_linger(q, c, CLOSE_MS);
}

static bool q_peer_figures(const struct qnet *q, uint64_t conn, struct qnet_peer_figures *ret)
{
    const struct vqconn *c = peer_of(q, conn);

    if (c)
        *ret = (struct qnet_peer_figures){ queue_len(&c->out) + queue_len(&c->behind), c->sent, c->received, c->streaming };
    return c;
}

static int q_peer_stream(struct qnet *q, uint64_t conn, const struct qnet_stream *s)
{
    struct vqconn *c = peer_of(q, conn);

    if (!c || c->broken)
        return RC_NOTFOUND;
    if (c->streaming)
        return RC_BUSY;
    c->stream = *s;
    c->streaming = true;
    c->stream_ended = c->stream_idle = false;
    return 0;
}

/* ---- learner ---- */

static void q_unfollow(struct qnet *q)
{
    struct vqconn *c = q->follow.conn;

    follow_end(q);
    if (c && c->broken)
        conn_close(q, c, 0);
    else if (c)
        conn_linger(q, c, LINGER_MS);
}

static void q_follow(struct qnet *q, const struct quorum_member *leader, int64_t limit_ms, int64_t now_ms)
{
    q_unfollow(q);
    q->follow = (struct vfollow){ .active = true, .sid = leader->sid, .lives = server_of(q, leader->sid)->conn != NULL,
                                  .host = vquorum_host(leader->sid), .begun_ms = now_ms, .limit_ms = now_ms + limit_ms, .retry_ms = now_ms };
}

static bool is_hopeless(const struct qnet *q, int64_t retry_ms)
{
    const struct vfollow *f = &q->follow;
    int64_t patience = q->opt.follow_delay_ms * TRIES;

    if (f->lives)
        patience = MAX(patience, q->opt.hello_timeout_ms);
    return f->tries >= TRIES && retry_ms - f->begun_ms > patience;
}

static void give_up(struct qnet *q)
{
    follow_end(q);
    q->opt.events.leader_closed(q->opt.events.data, "cannot connect");
}

static void follow_failed(struct qnet *q)
{
    struct vfollow *f = &q->follow;
    int64_t delay = q->opt.follow_delay_ms;

    vsock_close(f->dial, true);
    f->dial = NULL;
    if (f->tries < 4)
        delay = MAX(delay * (1 << (f->tries - 1)) / 10, 1);
    if (is_hopeless(q, q->now_ms + delay))
        give_up(q);
    else
        f->retry_ms = MIN(q->now_ms + delay, f->limit_ms);
}

static void run_follow(struct qnet *q)
{
    struct vfollow *f = &q->follow;

    if (!f->active || f->conn)
        return;
    if (f->dial && vsock_state(f->dial) == VSOCK_OPEN) {
        f->conn = conn_new(q, VQ_LEADER, f->dial);
        f->dial = NULL;
        q->opt.events.leader_open(q->opt.events.data);
    } else if (f->dial && (vsock_state(f->dial) == VSOCK_BROKEN || q->now_ms >= f->limit_ms)) {
        follow_failed(q);
    } else if (!f->dial && q->now_ms >= f->limit_ms) {
        give_up(q);
    } else if (!f->dial && f->retry_ms <= q->now_ms) {
        f->retry_ms = SIM_NEVER;
        f->tries++;
        f->dial = vnet_connect(q->opt.net, q->opt.host, f->host, VPORT_QUORUM);
    }
}

static void q_leader_send(struct qnet *q, struct buf bytes)
{
    if (!q->follow.conn)
        return;
    q->opt.sending(q->opt.data, true, bytes);
    conn_send(q->follow.conn, bytes.p, bytes.n);
}

static void q_leader_pause(struct qnet *q, bool paused)
{
    if (!q->follow.conn)
        return;
    q->follow.conn->paused = paused;
    q->follow.conn->again = !paused;
}

static void q_leader_raw(struct qnet *q, qnet_take_fn take, void *data)
{
    if (!q->follow.conn)
        return;
    q->follow.conn->take = take;
    q->follow.conn->take_data = data;
    q->follow.conn->again = true;
}

/* ---- in ---- */

/* False: nothing was consumed. */
static bool read_raw(struct qnet *q, struct vqconn *c)
{
    size_t n = queue_len(&c->in);
    bool end = false;

    if (n == 0)
        return false;
    int64_t used = c->take(c->take_data, queue_at(&c->in), n, &end);
    if (c->dead || c->role != VQ_LEADER)
        return false;
    if (used < 0) {
        conn_fail(q, c, "the snapshot stream is not right");
        return false;
    }
    c->in.off += (size_t)used;
    if (end)
        c->take = NULL;
    return end || used > 0;
}

static bool read_packet(struct qnet *q, struct vqconn *c)
{
    struct qpacket p;
    size_t used = 0;

    arena_reset(&q->arena);
    int rc = qpacket_decode(queue_at(&c->in), queue_len(&c->in), q->opt.max_buffer, &q->arena, &p, &used);
    if (rc == RC_SHORT)
        return false;
    if (rc != 0) {
        conn_fail(q, c, "it sent what is no packet");
        return false;
    }
    c->in.off += used;
    if (c->role == VQ_PEER)
        q->opt.events.peer_packet(q->opt.events.data, c->number, &p);
    else
        q->opt.events.leader_packet(q->opt.events.data, &p);
    return true;
}

static bool read_one(struct qnet *q, struct vqconn *c)
{
    switch (c->role) {
    case VQ_HELLO:
    case VQ_ELECTION:
        return read_election(q, c);
    case VQ_PEER:
    case VQ_LEADER:
        return c->take ? read_raw(q, c) : read_packet(q, c);
    case VQ_LINGER:
        c->in.off = c->in.w.n;
        return false;
    }
    return false;
}

static void run_input(struct qnet *q, struct vqconn *c)
{
    uint8_t piece[READ_PIECE];
    size_t share = READ_SHARE;
    int64_t n = RC_BUSY;

    c->again = false;
    while (!c->paused && share > 0 && (n = vsock_recv(c->s, piece, MIN(share, sizeof(piece)))) > 0) {
        queue_put(&c->in, piece, (size_t)n);
        c->received += (uint64_t)n;
        share -= (size_t)n;
    }
    if (!c->paused && n == 0)
        c->eof = true;
    c->again = !c->paused && n > 0;
    while (!c->dead && !c->paused && queue_len(&c->in) > 0 && read_one(q, c))
        ;
    if (c->dead)
        return;
    if (vsock_state(c->s) == VSOCK_BROKEN && (c->paused || n == RC_CLOSED))
        conn_fail(q, c, "connection reset");
    else if (c->eof && !c->paused)
        conn_fail(q, c, "closed by the other end");
}

/* ---- out ---- */

static void pump(struct qnet *q, struct vqconn *c)
{
    uint8_t piece[STREAM_LOW];
    bool end = false;

    if (!c->stream_ended && !c->stream_idle && queue_len(&c->out) < STREAM_LOW) {
        size_t cap = (size_t)rng_range(&q->rng, 64, (int64_t)sizeof(piece));
        int64_t n = c->stream.produce(c->stream.data, piece, cap, &end);

        if (c->dead)
            return;
        if (n > 0)
            queue_put(&c->out, piece, (size_t)n);
        if (n < 0) {
            stream_done(c, (int)n);
            conn_fail(q, c, "the stream to it failed");
            return;
        }
        c->stream_ended = end;
        c->stream_idle = n == 0 && !end;
    }
    if (c->stream_ended && queue_len(&c->out) == 0)
        stream_done(c, 0);
}

static void flush_conn(struct qnet *q, struct vqconn *c)
{
    if (c->dead || c->broken)
        return;
    for (;;) {
        size_t n = queue_len(&c->out);
        size_t sent = n > 0 ? vsock_send(c->s, queue_at(&c->out), n) : 0;
        c->out.off += sent;
        c->sent += sent;
        if (queue_len(&c->out) > 0)
            return;
        size_t before = queue_len(&c->out);
        if (c->role == VQ_ELECTION)
            for (size_t i = 0; i < q->servers.len; i++)
                if (q->servers.items[i]->conn == c)
                    send_queued(q->servers.items[i]);
        if (queue_len(&c->out) == before)
            break;
    }
    if (c->role == VQ_LINGER && !c->shut && !c->streaming) {
        c->shut = true;
        vsock_shut(c->s);
    }
}

static void q_flush(struct qnet *q)
{
    for (size_t i = 0; i < q->conns.len; i++)
        flush_conn(q, q->conns.items[i]);
}

/* ---- the turn ---- */

static void take_accepted(struct qnet *q)
{
    for (size_t i = 0; i < q->accepted.len; i++) {
        struct accepted a = q->accepted.items[i];
        struct vqconn *c;

        if (a.port == VPORT_QUORUM && !q->leading) {
            vsock_close(a.s, true);
            continue;
        }
        c = conn_new(q, a.port == VPORT_QUORUM ? VQ_PEER : VQ_HELLO, a.s);
        if (a.port == VPORT_QUORUM) {
            struct sockaddr from = { .sa_family = AF_UNSPEC };

            c->number = ++q->last_number;
            q->opt.events.peer_open(q->opt.events.data, c->number, &from);
        } else {
            c->deadline_ms = q->now_ms + q->opt.hello_timeout_ms;
        }
    }
    q->accepted.len = 0;
}

static void q_run(struct qnet *q, int64_t now_ms)
{
    q->running = true;
    q->now_ms = now_ms;
    run_dials(q);
    run_follow(q);
    take_accepted(q);
    for (size_t i = 0; i < q->conns.len; i++) {
        struct vqconn *c = q->conns.items[i];

        if (!c->dead && c->broken)
            conn_fail(q, c, c->broken);
        if (!c->dead && c->streaming)
            pump(q, c);
        if (!c->dead)
            run_input(q, c);
        if (!c->dead && c->deadline_ms <= now_ms)
            conn_fail(q, c, "timed out");
        if (!c->dead && c->role == VQ_ELECTION && vsock_stuck_us(c->s) > 0 &&
            q->opt.w->now_us - vsock_stuck_us(c->s) > MAX(q->opt.cnx_timeout_ms, q->opt.hello_timeout_ms) * MS_US)
            conn_fail(q, c, "what was sent is not taken");
    }
    for (size_t i = 0; i < q->conns.len; i++)
        flush_conn(q, q->conns.items[i]);
    q->running = false;
    sweep(q);
}

static int64_t q_next_wake(const struct qnet *q)
{
    int64_t wake = q->follow.retry_ms;

    if (q->accepted.len > 0)
        return 0;
    if (q->follow.dial)
        wake = MIN(wake, q->follow.limit_ms);
    for (size_t i = 0; i < q->servers.len; i++)
        if (q->servers.items[i]->dial)
            wake = MIN(wake, q->servers.items[i]->dial_until_ms);
    for (size_t i = 0; i < q->conns.len; i++) {
        const struct vqconn *c = q->conns.items[i];
        if (c->dead)
            continue;
        if (c->broken || c->again || (c->streaming && !c->stream_idle && queue_len(&c->out) < STREAM_LOW))
            return 0;
        wake = MIN(wake, c->deadline_ms);
        if (c->role == VQ_ELECTION && vsock_stuck_us(c->s) > 0)
            wake = MIN(wake, now_of(q) + 1000);
    }
    return wake;
}

static void q_set_configs(struct qnet *q, struct quorum_config *committed, struct quorum_config *last_seen)
{
    quorum_config_ref(committed);
    if (last_seen)
        quorum_config_ref(last_seen);
    quorum_config_unref(q->committed);
    quorum_config_unref(q->last_seen);
    q->committed = committed;
    q->last_seen = last_seen;
    struct quorum_config *self = quorum_config_member(committed, q->opt.my_sid)                  ? committed
                                 : last_seen && quorum_config_member(last_seen, q->opt.my_sid) ? last_seen
                                                                                                : NULL;
    if (self) {
        quorum_config_ref(self);
        quorum_config_unref(q->self);
        q->self = self;
    }
    vnet_listen(q->opt.net, q->opt.host, VPORT_ELECTION, true);
}

void vquorum_accepted(struct qnet *q, enum vnet_port port, struct vsock *s)
{
    VEC_PUSH(&q->accepted, ((struct accepted){ port, s }));
}

struct qnet *vquorum_new(const struct vquorum_options *opt)
{
    struct qnet *q = x_calloc(1, sizeof(*q));

    q->opt = *opt;
    q->rng = rng_split(opt->w->seed, RNG_NET, opt->which);
    q->follow.retry_ms = SIM_NEVER;
    q->anonymous = -1;
    q->arena = arena_init();
    return q;
}

/* The sockets go with the host, or have gone: only what is ours is freed. */
void vquorum_free(struct qnet *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->conns.len; i++) {
        struct vqconn *c = q->conns.items[i];
        c->dead = true;
        if (c->streaming)
            stream_done(c, RC_CANCELLED);
    }
    sweep(q);
    for (size_t i = 0; i < q->servers.len; i++) {
        wr_free(&q->servers.items[i]->last);
        free(q->servers.items[i]);
    }
    VEC_FREE(&q->servers);
    VEC_FREE(&q->conns);
    VEC_FREE(&q->accepted);
    quorum_config_unref(q->committed);
    quorum_config_unref(q->last_seen);
    quorum_config_unref(q->self);
    arena_free(&q->arena);
    free(q);
}

const struct peer_net vquorum_net = {
    .run = q_run,
    .flush = q_flush,
    .next_wake = q_next_wake,
    .set_configs = q_set_configs,
    .election_send = q_election_send,
    .election_connect_all = q_election_connect_all,
    .election_queue_empty = q_election_queue_empty,
    .election_restart = q_election_restart,
    .lead_start = q_lead_start,
    .lead_stop = q_lead_stop,
    .peer_send = q_peer_send,
    .peer_close_after_flush = q_peer_close_after_flush,
    .peer_figures = q_peer_figures,
    .peer_stream = q_peer_stream,
    .follow = q_follow,
    .unfollow = q_unfollow,
    .leader_send = q_leader_send,
    .leader_pause = q_leader_pause,
    .leader_raw = q_leader_raw,
};
