/* conn.c - one client connection: framing, handshake, requests in order, output.
 *
 * Order      A connection's replies leave in the order of its requests. A write goes to the core thread at once, as long as everything before it
 *            is a write or was executed; a read behind an unfinished write of the same connection blocks the connection: its bytes stay
 *            where they are until the replies are in. So a read never sees an own later write, and nothing is queued twice.
 * Memory     An idle connection holds no buffers (the net thread's sweep takes its output buffer). What arrives is executed in the net thread's read buffer; only an incomplete frame or a
 *            blocked rest is copied.
 * Limits     jute.maxbuffer before anything is allocated; writes under way per connection by number and bytes and over all by
 *            globalOutstandingLimit; unsent output (a client that does not read is not served; one that gets too many events is closed).
 * Source     NIOServerCnxn, ZooKeeperServer.processConnectRequest, processPacket (3.9). */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server_internal.h"

uint64_t conn_id(uint32_t net, uint32_t generation, uint32_t slot)
{
    return (uint64_t)net << 56 | (uint64_t)generation << 24 | slot;
}

static void stat_add(_Atomic uint64_t *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, RELAXED) + n, RELAXED);
}

/* ---- life ---- */

struct conn *conn_new(struct net *n, const struct accepted *a)
{
    struct conn *c = x_calloc(1, sizeof(*c));

    c->fd = a->fd;
    c->state = CONN_NEW;
    c->state_ms = clock_mono_ms();
    c->established_wall_ms = clock_wall_ms();
    c->in = c->out = wr_init(0);
    addr_format((const struct sockaddr *)&a->addr, c->peer);
    addr_format_ip((const struct sockaddr *)&a->addr, c->peer_ip);
    c->watcher.ids = auth_ids_new(c->peer_ip);
    atomic_init(&c->stats.last_xid, -1);
    atomic_init(&c->stats.last_active_ms, c->state_ms);
    return c;
}

void conn_free(struct net *n, struct conn *c)
{
    if (c->close_reason)
        log_info("server", "%s: closed: %s", c->peer, c->close_reason);
    close(c->fd);
    auth_ids_unref(c->watcher.ids);
    VEC_FREE(&c->sent);
    wr_free(&c->in);
    wr_free(&c->out);
    free(c);
}

void conn_close(struct net *n, struct conn *c, const char *reason)
{
    if (c->state == CONN_DEAD)
        return;
    net_tell_touch(n, c); /* the session counts from the last request, whatever became of the connection */
    if (c->state == CONN_CONNECT || c->session_id != 0)
        net_message(n, MSG_DISCONNECT, c)->session_id = c->session_id;
    if (reason)
        stats_add(&n->stats, CTR_CONNECTIONS_DROPPED, 1);
    atomic_fetch_sub(&n->s->outstanding, (int64_t)c->outstanding);
    c->outstanding = 0;
    c->close_reason = reason;
    c->state = CONN_DEAD;
    VEC_PUSH(&n->dying, c);
}

void conn_close_after_flush(struct net *n, struct conn *c)
{
    if (c->state == CONN_DEAD || c->state == CONN_LINGER || c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    c->state_ms = n->now_us / 1000;
    net_want_flush(n, c);
}

/* ---- input ---- */

/* Reads what comes after the end of a connection, only to learn that the peer closed too: closing a socket with unread input would
 * reset it and take our last reply with it. */
static void conn_discard(struct net *n, struct conn *c)
{
    ssize_t r = recv(c->fd, n->rbuf + n->rbuf_used, NET_CHUNK, 0);

    if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(n, c, NULL);
    else if (r < 0 && errno == EAGAIN)
        c->readable = false;
}

static void conn_got(struct net *n, struct conn *c, ssize_t r, size_t asked)
{
    if (r > 0) {
        stats_add(&n->stats, CTR_BYTES_RECEIVED, (uint64_t)r);
        if ((size_t)r < asked && !c->hung_up)
            c->readable = false; /* drained: more input gives a new edge */
    } else if (r == 0) {
        c->eof = true;
        c->readable = false;
    } else if (errno == EAGAIN) {
        c->readable = false;
    } else if (errno != EINTR) {
        conn_close(n, c, NULL); /* reset by the peer */
    }
}

/* Does what is kept end in the middle of its first frame? Only then is more input of use. */
static bool conn_needs_more(const struct net *n, const struct conn *c)
{
    struct buf frame;

    return frame_next(c->in.p + c->in_off, c->in.n - c->in_off, n->s->cfg->max_buffer, &frame) == 0;
}

static void conn_receive_more(struct net *n, struct conn *c)
{
    size_t have = c->in.n - c->in_off;

    if (!c->readable || c->blocked || (have >= NET_CHUNK && !conn_needs_more(n, c)))
        return;
    if (c->in_off > 0) {
        memmove(c->in.p, c->in.p + c->in_off, have);
        c->in.n = have;
        c->in_off = 0;
    }
    wr_grow(&c->in, NET_CHUNK);
    ssize_t r = recv(c->fd, c->in.p + have, NET_CHUNK, 0);
    conn_got(n, c, r, NET_CHUNK);
    if (r > 0)
        c->in.n += (size_t)r;
}

void conn_receive(struct net *n, struct conn *c)
{
    c->view = NULL;
    c->view_len = 0;
    if (c->state == CONN_DEAD)
        return;
    if (c->state == CONN_LINGER || c->state == CONN_CLOSING) {
        if (c->readable)
            conn_discard(n, c);
        return;
    }
    if (c->in.n > c->in_off) {
        conn_receive_more(n, c);
        c->view = c->in.p + c->in_off;
        c->view_len = c->in.n - c->in_off;
        c->view_borrowed = false;
    } else if (c->readable && !c->blocked) {
        uint8_t *at = n->rbuf + n->rbuf_used;
        ssize_t r = recv(c->fd, at, NET_CHUNK, 0);

        conn_got(n, c, r, NET_CHUNK);
        c->view = at;
        c->view_len = r > 0 ? (size_t)r : 0;
        c->view_borrowed = true;
        c->in_since_us = n->now_us;
        n->rbuf_used += c->view_len;
    }
}

void conn_keep_rest(struct net *n, struct conn *c)
{
    if (c->view && c->state != CONN_DEAD) {
        if (c->view_borrowed) {
            wr_reset(&c->in);
            c->in_off = 0;
            wr_bytes(&c->in, c->view, c->view_len);
        } else {
            c->in_off = c->in.n - c->view_len;
        }
    }
    if (c->in_off == c->in.n && c->in.cap > 0) {
        wr_free(&c->in);
        c->in_off = 0;
    }
    c->view = NULL;
    c->view_len = 0;
    atomic_store_explicit(&c->stats.paused, c->blocked, RELAXED);
}

/* ---- the first packet ---- */

/* Returns false when the first bytes are no four-letter word. */
static bool conn_four_letter(struct net *n, struct conn *c)
{
    int word = four_letter_find(c->view);

    if (word < 0)
        return false;
    c->view_len = 0; /* whatever follows is not looked at */
    stat_add(&c->stats.received, 1);
    c->state = CONN_FOUR;
    c->state_ms = n->now_us / 1000;
    struct four_request request = { c, word };
    VEC_PUSH(&n->four, request);
    return true;
}

static void conn_connect(struct net *n, struct conn *c, struct buf frame)
{
    struct connect_request req;

    stats_add(&n->stats, CTR_PACKETS_RECEIVED, 1);
    stat_add(&c->stats.received, 1);
    if (client_connect_read(frame, &n->arena, &req, &c->old_client) < 0) {
        conn_close(n, c, "malformed connect request");
        return;
    }
    stats_add(&n->stats, CTR_CONNECTION_REQUESTS, 1);
    if (req.last_zxid_seen > atomic_load(&n->s->applied_zxid)) {
        conn_close(n, c, "the client has seen a later zxid than this server");
        return;
    }
    if (req.session_id != 0)
        stats_add(&n->stats, CTR_REVALIDATIONS, 1);
    struct core_msg *m = net_message(n, MSG_CONNECT, c);
    m->session_id = req.session_id;
    m->timeout_ms = req.timeout_ms;
    m->read_only = client_connect_takes_read_only(frame, &n->arena);
    m->off = n->batch->bytes.n;
    m->len = req.passwd.n > 0 ? (size_t)req.passwd.n : 0;
    wr_bytes(&n->batch->bytes, req.passwd.p, m->len);
    c->state = CONN_CONNECT;
    atomic_store_explicit(&c->stats.last_op, ZK_OP_CREATE_SESSION, RELAXED);
}

/* ---- requests ---- */

static void conn_note_reply(struct net *n, struct conn *c, size_t bytes, int64_t zxid, int64_t latency_us)
{
    struct conn_stats *st = &c->stats;
    uint32_t ms = (uint32_t)MIN(latency_us / 1000, INT32_MAX);
    uint64_t count = atomic_load_explicit(&st->latency_count, RELAXED);
    int64_t size = (int64_t)bytes - 4, least = atomic_load_explicit(&n->min_response_size, RELAXED);

    stats_add(&n->stats, CTR_PACKETS_SENT, 1);
    stats_add(&n->stats, CTR_RESPONSE_BYTES, bytes);
    stat_add(&st->sent, 1);
    atomic_store_explicit(&st->last_zxid, zxid, RELAXED);
    atomic_store_explicit(&st->last_response_ms, n->now_us / 1000, RELAXED);
    atomic_store_explicit(&st->last_latency_ms, ms, RELAXED);
    if (count == 0 || ms < atomic_load_explicit(&st->min_latency_ms, RELAXED))
        atomic_store_explicit(&st->min_latency_ms, ms, RELAXED);
    if (ms > atomic_load_explicit(&st->max_latency_ms, RELAXED))
        atomic_store_explicit(&st->max_latency_ms, ms, RELAXED);
    stat_add(&st->latency_sum_ms, ms);
    atomic_store_explicit(&st->latency_count, count + 1, RELAXED);
    atomic_store_explicit(&n->last_response_us, n->now_us, RELAXED);
    atomic_store_explicit(&n->last_response_size, size, RELAXED);
    if (least == 0 || size < least)
        atomic_store_explicit(&n->min_response_size, size, RELAXED);
    if (size > atomic_load_explicit(&n->max_response_size, RELAXED))
        atomic_store_explicit(&n->max_response_size, size, RELAXED);
}

static void conn_note_request(struct net *n, struct conn *c, int32_t xid, int32_t op)
{
    stats_add(&n->stats, CTR_PACKETS_RECEIVED, 1);
    stat_add(&c->stats.received, 1);
    atomic_store_explicit(&c->stats.last_op, op, RELAXED);
    atomic_store_explicit(&c->stats.last_xid, xid, RELAXED);
    if (!c->touched) {
        c->touched = true;
        VEC_PUSH(&n->touched, c);
    }
}

static size_t conn_unsent(const struct conn *c)
{
    return c->out.n - c->out_sent;
}

static void conn_write(struct net *n, struct conn *c, const struct client_request *q)
{
    struct core_msg *m = net_message(n, MSG_REQUEST, c);
    struct sent_write sent = { c->in_since_us, (uint32_t)q->body.n };

    m->session_id = c->session_id;
    m->xid = q->xid;
    m->op = q->op;
    m->ids = auth_ids_ref(c->watcher.ids);
    m->off = n->batch->bytes.n;
    m->len = q->body.n;
    wr_bytes(&n->batch->bytes, q->body.p, q->body.n);
    VEC_PUSH(&c->sent, sent);
    c->outstanding++;
    c->outstanding_bytes += q->body.n;
    atomic_store_explicit(&c->stats.outstanding, c->outstanding, RELAXED);
    atomic_fetch_add_explicit(&n->s->outstanding, 1, RELAXED);
    if (q->op == ZK_OP_CLOSE_SESSION)
        c->state = CONN_ENDING;
}

static void conn_auth(struct net *n, struct conn *c, const struct client_request *q)
{
    size_t at = c->out.n;
    int32_t err = client_auth_answer(&c->out, q, &n->arena, &c->watcher.ids, n->s->cfg->super_digest);

    conn_note_reply(n, c, c->out.n - at, 0, 0);
    net_want_flush(n, c);
    if (err != ZK_OK) {
        stats_add(&n->stats, CTR_AUTH_FAILED, 1);
        conn_close_after_flush(n, c);
    }
}

static void conn_read(struct net *n, struct conn *c, const struct client_request *q)
{
    struct server *s = n->s;
    size_t at = c->out.n;
    int64_t zxid = tree_last_zxid(s->tree), waited_us = 0;
    struct read_context ctx = { s->tree, n->watches, &c->watcher, c->session_id, c->watcher.ids, s->cfg->skip_acl };
    int32_t err = client_read_answer(&c->out, q, &ctx, &n->arena);

    if (c->in_since_us == n->now_us) {
        n->turn_reads++; /* their latency is the turn's */
    } else {
        waited_us = clock_mono_us() - c->in_since_us;
        stats_record(&n->stats, SUM_READ_LATENCY, (uint64_t)waited_us);
    }
    conn_note_reply(n, c, c->out.n - at, zxid, waited_us);
    net_want_flush(n, c);
    if (err > 0)
        conn_close_after_flush(n, c);
}

/* Returns false when the request has to wait; it is then looked at again later. */
static bool conn_request(struct net *n, struct conn *c, struct buf frame)
{
    struct client_request q;

    if (client_request_read(frame, n->s->net_role, &q) < 0) {
        conn_close(n, c, "a packet too short for a request header");
        return true;
    }
    if (!client_may_go_on(&q, &(struct client_load){ c->outstanding, c->outstanding_bytes, conn_unsent(c),
                                                     atomic_load_explicit(&n->s->outstanding, RELAXED),
                                                     n->s->cfg->global_outstanding_limit }))
        return false;
    conn_note_request(n, c, q.xid, q.op);
    if (q.class == CLIENT_SUBMITTED)
        conn_write(n, c, &q);
    else if (q.class == CLIENT_AUTH)
        conn_auth(n, c, &q);
    else
        conn_read(n, c, &q);
    return true;
}

void conn_execute(struct net *n, struct conn *c)
{
    c->blocked = c->state == CONN_CONNECT;
    while (c->view_len >= 4 && (c->state == CONN_NEW || c->state == CONN_OPEN)) {
        struct buf frame;

        if (c->state == CONN_NEW && conn_four_letter(n, c))
            break;
        int64_t len = frame_next(c->view, c->view_len, n->s->cfg->max_buffer, &frame);
        if (len < 0) {
            stats_add(&n->stats, CTR_LARGE_REQUESTS, 1);
            conn_close(n, c, "a packet longer than jute.maxbuffer, or of negative length");
            break;
        }
        if (len == 0)
            break;
        if (c->state == CONN_NEW) {
            conn_connect(n, c, frame);
            c->blocked = c->state == CONN_CONNECT;
        } else if (!conn_request(n, c, frame)) {
            c->blocked = true;
            break;
        }
        c->view += len;
        c->view_len -= (size_t)len;
        arena_reset(&n->arena);
        if ((++n->turn_requests & 31) == 0)
            net_give_way(n);
    }
}

/* ---- output ---- */

static void conn_session(struct net *n, struct conn *c, const struct outbox_item *it, const uint8_t *passwd)
{
    size_t at = c->out.n;

    if (it->kind == OUT_SESSION_READ_ONLY)
        client_connect_answer_read_only(&c->out, it->op, it->zxid, passwd);
    else
        client_connect_answer(&c->out, it->op, it->zxid, passwd, c->old_client);
    conn_note_reply(n, c, c->out.n - at, 0, 0);
    net_want_flush(n, c);
    if (it->op <= 0 || it->zxid == 0) {
        conn_close_after_flush(n, c);
        return;
    }
    c->session_id = it->zxid;
    c->timeout_ms = it->op;
    c->state = CONN_OPEN;
    c->blocked = false;
    net_want_ready(n, c);
}

static void conn_reply(struct net *n, struct conn *c, const struct outbox_item *it, const uint8_t *bytes)
{
    int64_t latency_us = 0;

    if (c->outstanding > 0) {
        struct sent_write *sent = &c->sent.items[c->sent_head++];

        latency_us = n->now_us - sent->since_us;
        c->outstanding_bytes -= sent->len;
        c->outstanding--;
        atomic_fetch_sub_explicit(&n->s->outstanding, 1, RELAXED);
        atomic_store_explicit(&c->stats.outstanding, c->outstanding, RELAXED);
        if (c->sent_head == c->sent.len)
            c->sent_head = c->sent.len = 0;
        else if (c->sent_head >= 256 && c->sent_head * 2 >= c->sent.len) {
            c->sent.len -= c->sent_head;
            memmove(c->sent.items, c->sent.items + c->sent_head, c->sent.len * sizeof(*c->sent.items));
            c->sent_head = 0;
        }
        stats_record(&n->stats, SUM_UPDATE_LATENCY, (uint64_t)MAX(latency_us, 0));
    }
    if (c->state != CONN_OPEN && c->state != CONN_ENDING)
        return;
    wr_bytes(&c->out, bytes, it->len);
    conn_note_reply(n, c, it->len, it->zxid, MAX(latency_us, 0));
    net_want_flush(n, c);
    if (it->op == ZK_OP_CLOSE_SESSION)
        conn_close_after_flush(n, c);
    else if (c->blocked)
        net_want_ready(n, c);
}

static void conn_event(struct net *n, struct conn *c, const struct outbox_item *it, const uint8_t *bytes)
{
    static const enum counter by_type[] = { [ZK_EVENT_CREATED] = CTR_NODE_CREATED_WATCHES,
                                            [ZK_EVENT_DELETED] = CTR_NODE_DELETED_WATCHES,
                                            [ZK_EVENT_DATA_CHANGED] = CTR_NODE_CHANGED_WATCHES,
                                            [ZK_EVENT_CHILDREN_CHANGED] = CTR_NODE_CHILDREN_WATCHES };

    if (c->state != CONN_OPEN && c->state != CONN_ENDING)
        return;
    if (conn_unsent(c) > CONN_OUT_HARD) {
        stats_add(&n->stats, CTR_SLOW_CLIENTS, 1);
        conn_close(n, c, "it does not read its watch events");
        return;
    }
    wr_bytes(&c->out, bytes, it->len);
    stats_add(&n->stats, CTR_PACKETS_SENT, 1);
    stats_add(&n->stats, CTR_WATCH_BYTES, it->len);
    stat_add(&c->stats.sent, 1);
    if (it->op >= ZK_EVENT_CREATED && it->op <= ZK_EVENT_CHILDREN_CHANGED)
        stats_add(&n->stats, by_type[it->op], 1);
    net_want_flush(n, c);
}

void conn_append_text(struct net *n, struct conn *c, struct buf text)
{
    wr_bytes(&c->out, text.p, text.n);
    conn_close_after_flush(n, c);
}

void conn_deliver(struct net *n, const struct outbox_item *it, const uint8_t *bytes)
{
    struct conn *c = net_find(n, it->conn);

    if (!c || c->state == CONN_DEAD)
        return; /* closed meanwhile: the number tells it from the one that has its slot now */
    switch ((enum outbox_kind)it->kind) {
    case OUT_REPLY:
        conn_reply(n, c, it, bytes);
        break;
    case OUT_EVENT:
        conn_event(n, c, it, bytes);
        break;
    case OUT_SESSION:
    case OUT_SESSION_READ_ONLY:
        if (c->state == CONN_CONNECT)
            conn_session(n, c, it, bytes);
        break;
    case OUT_TEXT:
        conn_append_text(n, c, buf_of(bytes, it->len));
        break;
    case OUT_CLOSE:
        if (c->state == CONN_OPEN)
            stats_add(&n->stats, CTR_STALE_SESSIONS, 1);
        conn_close_after_flush(n, c);
        break;
    }
}

/* All is sent. */
static void conn_flushed(struct net *n, struct conn *c)
{
    if (c->out.cap > CONN_OUT_KEPT)
        wr_free(&c->out);
    wr_reset(&c->out);
    c->out_sent = 0;
    if (c->state != CONN_CLOSING)
        return;
    if (c->eof || shutdown(c->fd, SHUT_WR) < 0) {
        conn_close(n, c, NULL);
        return;
    }
    c->state = CONN_LINGER;
    c->state_ms = n->now_us / 1000;
    c->readable = true;
    net_want_ready(n, c);
}

void conn_flush(struct net *n, struct conn *c)
{
    while (c->state != CONN_DEAD && conn_unsent(c) > 0) {
        ssize_t r = send(c->fd, c->out.p + c->out_sent, conn_unsent(c), MSG_NOSIGNAL);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            break; /* an edge comes when there is room */
        if (r < 0) {
            conn_close(n, c, NULL);
            return;
        }
        c->out_sent += (size_t)r;
    }
    if (c->state == CONN_DEAD)
        return;
    if (conn_unsent(c) == 0) {
        conn_flushed(n, c);
    } else if (c->out_sent > CLIENT_OUT_SOFT) { /* do not carry what is sent already */
        memmove(c->out.p, c->out.p + c->out_sent, conn_unsent(c));
        c->out.n -= c->out_sent;
        c->out_sent = 0;
    }
    if (c->blocked && conn_unsent(c) <= CLIENT_OUT_SOFT && c->state == CONN_OPEN)
        net_want_ready(n, c);
}
