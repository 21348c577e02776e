/* qnet_conn.c - one connection between servers: bytes in and out, streams, closing. */
#include "qnet_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK_SIZE ((size_t)16 << 10)
#define STREAM_CHUNK_SIZE ((size_t)128 << 10)
#define STREAM_LOW ((size_t)256 << 10) /* a stream is asked for more below this */
#define READ_SHARE ((size_t)256 << 10) /* of one connection in one turn */
#define WRITE_SHARE ((size_t)1 << 20)
#define IN_FIRST ((size_t)4 << 10)
#define IN_KEPT ((size_t)256 << 10) /* a larger buffer is given back when it is empty */
#define IOVS 32
#define LINGER_SHUT_MS 1000

/* ---- bytes to be sent ---- */

struct qchunk {
    struct list link;
    size_t off, len, cap;
    uint8_t data[];
};

static struct qchunk *chunk_new(size_t cap)
{
    struct qchunk *k = x_malloc(sizeof(*k) + cap);

    *k = (struct qchunk){ .cap = cap };
    list_init(&k->link);
    return k;
}

static void out_init(struct qout *o)
{
    list_init(&o->chunks);
    o->bytes = 0;
}

static void out_put(struct qout *o, const uint8_t *p, size_t n)
{
    o->bytes += n;
    if (!list_empty(&o->chunks)) {
        struct qchunk *k = CONTAINER_OF(o->chunks.prev, struct qchunk, link);
        size_t fits = MIN(n, k->cap - k->len);
        if (fits > 0)
            memcpy(k->data + k->len, p, fits);
        k->len += fits, p += fits, n -= fits;
    }
    if (n == 0)
        return;
    struct qchunk *k = chunk_new(MAX(n, CHUNK_SIZE));
    memcpy(k->data, p, n);
    k->len = n;
    list_push_back(&o->chunks, &k->link);
}

static void out_sent(struct qout *o, size_t n)
{
    ASSERT(n <= o->bytes);
    o->bytes -= n;
    while (n > 0) {
        struct qchunk *k = CONTAINER_OF(o->chunks.next, struct qchunk, link);
        size_t part = MIN(n, k->len - k->off);
        k->off += part, n -= part;
        if (k->off < k->len)
            break;
        list_remove(&k->link);
        free(k);
    }
}

static void out_move(struct qout *from, struct qout *to)
{
    LIST_EACH_SAFE(it, &from->chunks) {
        list_remove(it);
        list_push_back(&to->chunks, it);
    }
    to->bytes += from->bytes;
    from->bytes = 0;
}

static void out_free(struct qout *o)
{
    LIST_EACH_SAFE(it, &o->chunks)
        free(CONTAINER_OF(it, struct qchunk, link));
    out_init(o);
}

/* ---- the socket ---- */

static ssize_t socket_recv(const struct qconn *c, uint8_t *p, size_t n, int flags)
{
    for (;;) {
        ssize_t got = recv(c->fd, p, n, flags);
        if (got >= 0)
            return got;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return RC_BUSY;
        if (errno != EINTR)
            return RC_IO;
    }
}

static void address_of(const struct qconn *c, char text[ADDR_TEXT_MAX])
{
    struct sockaddr_storage from = { 0 };
    socklen_t len = sizeof(from);

    text[0] = '\0';
    if (getpeername(c->fd, (struct sockaddr *)&from, &len) == 0)
        addr_format_ip((struct sockaddr *)&from, text);
}

static void accept_tls(struct qconn *c)
{
    char address[ADDR_TEXT_MAX];

    address_of(c, address);
    c->tls = tls_accept(c->q->opt.tls, c->fd, address);
}

/* Bytes, 0 at the end of the stream, RC_BUSY when there is nothing now, RC_IO. */
static ssize_t qconn_recv(struct qconn *c, uint8_t *p, size_t n)
{
    if (c->detect) {
        uint8_t first;
        ssize_t got = socket_recv(c, &first, 1, MSG_PEEK);

        if (got <= 0)
            return got;
        c->detect = false;
        if (tls_begins(first))
            accept_tls(c);
    }
    return c->tls ? tls_recv(c->tls, p, n) : socket_recv(c, p, n, 0);
}

/* Bytes of the first pieces, as many as go; RC_BUSY, RC_IO. */
static ssize_t send_tls(struct qconn *c, const struct iovec *iov, size_t n)
{
    ssize_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        size_t off = 0;
        while (off < iov[i].iov_len) {
            ssize_t put = tls_send(c->tls, (const uint8_t *)iov[i].iov_base + off, iov[i].iov_len - off);
            if (put < 0)
                return sum > 0 ? sum : put;
            off += (size_t)put;
            sum += put;
        }
    }
    return sum;
}

/* Bytes, RC_BUSY, RC_IO. */
static ssize_t qconn_send(struct qconn *c, struct iovec *iov, size_t n)
{
    if (c->tls)
        return send_tls(c, iov, n);
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };

    for (;;) {
        ssize_t put = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (put >= 0)
            return put;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return RC_BUSY;
        if (errno != EINTR)
            return RC_IO;
    }
}

/* ---- life ---- */

static size_t in_max(const struct qnet *q, enum qconn_role role)
{
    switch (role) {
    case QCONN_HELLO:
    case QCONN_GREETING:
    case QCONN_NEWCOMER:
    case QCONN_LOGIN:
        return 2 * IN_FIRST; /* of initial messages and tokens */
    case QCONN_ELECTION:
        return 4 + ELECTION_FRAME_MAX;
    default:
        return qnet_max_packet(q);
    }
}

static void set_interest(struct qconn *c, uint32_t interest)
{
    struct epoll_event ev = { .events = interest, .data.ptr = &c->source };

    if (c->interest == interest || c->source.dead)
        return;
    c->interest = interest;
    ASSERT(epoll_ctl(c->q->epoll, EPOLL_CTL_MOD, c->fd, &ev) == 0);
}

/* Paused: neither data nor their end, which comes behind them; a reset comes in any case. */
static void update_interest(struct qconn *c, bool writing)
{
    set_interest(c, (c->paused ? 0u : (uint32_t)(EPOLLIN | EPOLLRDHUP)) | (writing ? (uint32_t)EPOLLOUT : 0u));
}

struct qconn *qconn_new(struct qnet *q, enum qconn_role role, int fd)
{
    struct qconn *c = x_calloc(1, sizeof(*c));
    struct sockaddr_storage from = { 0 };
    socklen_t len = sizeof(from);

    c->source.kind = QSOURCE_CONN;
    c->q = q;
    c->fd = fd;
    c->deadline_ms = QNET_NEVER;
    list_init(&c->link);
    list_init(&c->dirty);
    list_init(&c->ready);
    out_init(&c->out);
    out_init(&c->behind);
    qconn_set_role(c, role);
    if (getpeername(fd, (struct sockaddr *)&from, &len) == 0)
        addr_format((struct sockaddr *)&from, c->from);
    else
        (void)strcpy(c->from, "a closed connection"); /* shorter than the array */
    c->interest = EPOLLIN | EPOLLRDHUP;
    list_push_back(&q->conns, &c->link);
    if (qnet_watch(q, fd, c->interest, &c->source) != 0)
        qconn_broken(c, "no room in the epoll set");
    return c;
}

void qconn_accepted(struct qconn *c)
{
    const struct qnet_options *opt = &c->q->opt;

    if (!opt->tls || c->source.dead)
        return;
    c->detect = opt->tls_unification;
    if (opt->tls_outgoing && !opt->tls_unification)
        accept_tls(c);
}

void qconn_dialed(struct qconn *c, const struct qdial *d)
{
    const char *hosts[8];
    char address[ADDR_TEXT_MAX];
    size_t n = MIN(d->names_len, ARRAY_LEN(hosts));

    if (!c->q->opt.tls || !c->q->opt.tls_outgoing || c->source.dead)
        return;
    for (size_t i = 0; i < n; i++)
        hosts[i] = d->names[i].host;
    address_of(c, address);
    c->tls = tls_connect(c->q->opt.tls, c->fd, hosts, n, address);
}

void qconn_set_role(struct qconn *c, enum qconn_role role)
{
    c->role = role;
    c->in_max = in_max(c->q, role);
}

void qconn_free(struct qconn *c)
{
    out_free(&c->out);
    out_free(&c->behind);
    tls_free(c->tls);
    qauth_free(c->auth);
    wr_free(&c->hello);
    free(c->in);
    free(c);
}

static void stream_done(struct qconn *c, int rc)
{
    struct qnet_stream s = c->stream;

    c->streaming = c->stream_ended = c->stream_idle = false;
    c->stream = (struct qnet_stream){ 0 };
    out_move(&c->behind, &c->out);
    s.done(s.data, c->number, rc);
}

void qconn_close(struct qconn *c, int stream_rc)
{
    struct qnet *q = c->q;

    if (c->source.dead)
        return;
    c->source.dead = true;
    list_remove(&c->link);
    list_remove(&c->dirty);
    list_remove(&c->ready);
    if (c->tls)
        tls_say_goodbye(c->tls);
    close(c->fd);
    if (c->role == QCONN_HELLO || c->role == QCONN_NEWCOMER)
        q->hellos--;
    else if (c->role == QCONN_PEER)
        (void)u64map_del(&q->peers, c->number);
    else if (c->role == QCONN_ELECTION || c->role == QCONN_GREETING)
        election_closed(c);
    if (q->follow.conn == c)
        q->follow.conn = NULL;
    qnet_bury(q, &c->source);
    if (c->streaming)
        stream_done(c, stream_rc);
}

void qconn_linger(struct qconn *c, int64_t for_ms)
{
    if (c->source.dead)
        return;
    if (c->role == QCONN_PEER)
        (void)u64map_del(&c->q->peers, c->number);
    if (c->q->follow.conn == c)
        c->q->follow.conn = NULL;
    qconn_set_role(c, QCONN_LINGER);
    c->take = NULL;
    c->deadline_ms = qnet_now(c->q) + for_ms;
    qconn_pause(c, false);
    qconn_mark_dirty(c);
}

void qconn_fail(struct qconn *c, const char *why)
{
    struct qnet *q = c->q;
    enum qconn_role role = c->role;

    if (c->source.dead)
        return;
    ASSERT(q->running);
    if (c->auth)
        auth_abort(c, why);
    qconn_close(c, RC_CLOSED);
    if (role == QCONN_ELECTION)
        log_debug("quorum", "election connection with server %lld ended: %s", (long long)c->sid, why);
    else if (role == QCONN_PEER && q->ev.peer_closed)
        q->ev.peer_closed(q->ev.data, c->number, why);
    else if (role == QCONN_LEADER || role == QCONN_LOGIN) {
        follow_end(q);
        if (q->ev.leader_closed)
            q->ev.leader_closed(q->ev.data, why);
    }
}

void qconn_broken(struct qconn *c, const char *why)
{
    if (c->source.dead || c->broken)
        return;
    c->broken = why;
    qconn_mark_ready(c);
}

void qconn_mark_dirty(struct qconn *c)
{
    if (!c->source.dead && list_empty(&c->dirty) && !(c->interest & EPOLLOUT))
        list_push_back(&c->q->dirty, &c->dirty);
}

void qconn_mark_ready(struct qconn *c)
{
    if (!c->source.dead && list_empty(&c->ready))
        list_push_back(&c->q->ready, &c->ready);
}

/* ---- out ---- */

size_t qconn_queued(const struct qconn *c)
{
    return c->out.bytes + c->behind.bytes;
}

void qconn_send_bytes(struct qconn *c, const uint8_t *p, size_t n)
{
    if (c->source.dead || c->broken || n == 0)
        return;
    if (n > c->q->opt.max_queue - MIN(c->q->opt.max_queue, qconn_queued(c))) {
        qconn_broken(c, "it does not take what is sent to it: too much is waiting");
        return;
    }
    out_put(c->streaming ? &c->behind : &c->out, p, n);
    qconn_mark_dirty(c);
}

/* Lets the stream fill the queue up to its low mark. False: the connection is gone. */
static bool stream_pump(struct qconn *c)
{
    while (c->streaming && !c->stream_ended && !c->stream_idle && c->out.bytes < STREAM_LOW) {
        struct qchunk *k = chunk_new(STREAM_CHUNK_SIZE);
        bool end = false;
        int64_t n = c->stream.produce(c->stream.data, k->data, k->cap, &end);

        ASSERT(n <= (int64_t)k->cap);
        if (c->source.dead || n <= 0) {
            free(k);
        } else {
            k->len = (size_t)n;
            c->out.bytes += k->len;
            list_push_back(&c->out.chunks, &k->link);
        }
        if (c->source.dead)
            return false;
        if (n < 0) {
            stream_done(c, (int)n);
            qconn_fail(c, "the stream to it failed");
            return false;
        }
        c->stream_ended = end;
        c->stream_idle = n == 0 && !end;
    }
    if (c->streaming && c->stream_ended && c->out.bytes == 0)
        stream_done(c, 0);
    return !c->source.dead;
}

static const char *reset_text(const struct qconn *c)
{
    return c->tls ? tls_why(c->tls) : "connection reset";
}

/* A handshake that fails is for somebody to mend; a connection that ends later is not. */
static void broke_in_turn(struct qconn *c)
{
    char why[QNET_WHY_MAX];

    (void)snprintf(why, sizeof(why), "%s", reset_text(c)); /* cut, if ever, at the end of a log line */
    if (c->tls && !tls_has_shaken_hands(c->tls))
        qnet_gripe(c->q, "%s: %s: connection closed", c->from, why);
    qconn_fail(c, why);
}

/* RC_BUSY: the socket is full. */
static int write_some(struct qconn *c, size_t *share)
{
    struct iovec iov[IOVS];
    size_t n = 0, bytes = 0;

    LIST_EACH(it, &c->out.chunks) {
        struct qchunk *k = CONTAINER_OF(it, struct qchunk, link);
        if (n == IOVS || bytes >= *share)
            break;
        iov[n++] = (struct iovec){ k->data + k->off, k->len - k->off };
        bytes += k->len - k->off;
    }
    ssize_t put = qconn_send(c, iov, n);
    if (put < 0)
        return (int)put;
    out_sent(&c->out, (size_t)put);
    c->sent += (uint64_t)put;
    *share -= MIN(*share, (size_t)put);
    return (size_t)put < bytes ? RC_BUSY : 0;
}

static void all_written(struct qconn *c)
{
    update_interest(c, false);
    if (c->role == QCONN_ELECTION)
        election_writable(c);
    if (c->role != QCONN_LINGER || c->shut || c->streaming)
        return;
    if (c->tls)
        tls_say_goodbye(c->tls);
    /* Half a close: a whole one would answer bytes under way to us by a reset, which can overtake what we sent. */
    c->shut = true;
    if (shutdown(c->fd, SHUT_WR) != 0)
        qconn_broken(c, "closed");
    c->deadline_ms = MIN(c->deadline_ms, qnet_now(c->q) + LINGER_SHUT_MS);
}

void qconn_flush(struct qconn *c, bool in_turn)
{
    size_t share = WRITE_SHARE;

    if (c->source.dead || c->broken || (c->streaming && !in_turn))
        return; /* a stream stays in q->dirty until the turn */
    list_remove(&c->dirty);
    for (;;) {
        if (c->streaming && !stream_pump(c))
            return;
        if (c->out.bytes == 0) {
            all_written(c);
            if (c->source.dead || c->out.bytes == 0)
                return;
            list_remove(&c->dirty); /* the message that waited for this: we are at it */
        }
        int rc = share > 0 ? write_some(c, &share) : RC_BUSY;
        if (rc == RC_BUSY) {
            update_interest(c, !c->tls || !tls_send_waits_for_input(c->tls)); /* which makes qconn_event come back here */
            return;
        }
        if (rc < 0) {
            if (in_turn)
                broke_in_turn(c);
            else
                qconn_broken(c, "connection reset");
            return;
        }
    }
}

/* ---- in ---- */

void qconn_consumed(struct qconn *c, size_t n)
{
    ASSERT(n <= c->in_len - c->in_off);
    c->in_off += n;
    c->in_want = 0;
    if (c->in_off == c->in_len)
        c->in_off = c->in_len = 0;
}

/* Makes room behind in_len; false: the buffer holds all that it may. */
static bool in_room(struct qconn *c)
{
    if (c->in_len == 0 && c->in_cap > IN_KEPT) {
        free(c->in);
        c->in = NULL;
        c->in_cap = 0;
    }
    if (c->in_off > 0 && (c->in_len == c->in_cap || c->in_off >= c->in_cap / 2)) {
        memmove(c->in, c->in + c->in_off, c->in_len - c->in_off);
        c->in_len -= c->in_off;
        c->in_off = 0;
    }
    /* Grows by what came, never by what a length promises. */
    if (c->in_len == c->in_cap && c->in_cap < c->in_max) {
        c->in_cap = MIN(c->in_max, MAX(IN_FIRST, c->in_cap * 2));
        c->in = x_realloc(c->in, c->in_cap);
    }
    return c->in_len < c->in_cap;
}

/* Reads this turn's share. A read that leaves room has emptied the socket: what comes later is told anew. So is the end of the stream, but `to_end` looks for it
 * at once. 0, RC_IO. */
static int qconn_fill(struct qconn *c, bool to_end)
{
    for (size_t share = READ_SHARE; share > 0;) {
        if (!in_room(c))
            break;
        size_t room = MIN(share, c->in_cap - c->in_len);
        ssize_t n = qconn_recv(c, c->in + c->in_len, room);
        if (n == RC_BUSY)
            return 0;
        if (n < 0)
            return RC_IO;
        c->eof = n == 0;
        if (n == 0)
            return 0;
        c->in_len += (size_t)n;
        c->received += (uint64_t)n;
        share -= (size_t)n;
        if ((size_t)n < room && !c->tls && !to_end)
            return 0;
    }
    if (c->tls && tls_has_input(c->tls))
        qconn_mark_ready(c);
    return 0;
}

static void input_by_role(struct qconn *c)
{
    switch (c->role) {
    case QCONN_HELLO:
    case QCONN_ELECTION:
        election_input(c);
        break;
    case QCONN_PEER:
        leader_input(c);
        break;
    case QCONN_LEADER:
        follow_input(c);
        break;
    case QCONN_GREETING: /* only while they authenticate */
    case QCONN_NEWCOMER:
    case QCONN_LOGIN:
    case QCONN_LINGER:
        break;
    }
}

static void input(struct qconn *c)
{
    bool authenticating;

    do {
        authenticating = c->auth;
        if (authenticating)
            auth_input(c);
        else
            input_by_role(c);
    } while (!c->source.dead && authenticating != (c->auth != NULL));
    if (c->role == QCONN_LINGER)
        qconn_consumed(c, c->in_len - c->in_off);
    if (c->eof && !c->paused)
        qconn_fail(c, "closed by the other end");
}

void qconn_packets(struct qconn *c, void (*fn)(struct qconn *c, const struct qpacket *p))
{
    struct qnet *q = c->q;
    enum qconn_role role = c->role;

    while (!c->source.dead && !c->paused && !c->take && c->role == role) {
        size_t n = c->in_len - c->in_off, used = 0;
        struct qpacket p;

        if (n == 0 || n < c->in_want)
            return;
        arena_reset(&q->arena);
        int rc = qpacket_decode(c->in + c->in_off, n, q->opt.max_buffer, &q->arena, &p, &used);
        if (rc == RC_SHORT && used <= c->in_max) {
            c->in_want = MAX(used, n + 1);
            if (c->in_want <= c->in_max)
                return;
        }
        if (rc != 0) {
            qnet_gripe(q, "%s sent what is no packet between servers (%s): connection closed", c->from,
                       rc_str(rc == RC_SHORT ? RC_TOOBIG : rc));
            qconn_fail(c, "it sent what is no packet");
            return;
        }
        qconn_consumed(c, used);
        fn(c, &p);
    }
}

void qconn_pause(struct qconn *c, bool paused)
{
    if (c->source.dead || c->paused == paused)
        return;
    c->paused = paused;
    update_interest(c, c->interest & EPOLLOUT);
    if (!paused)
        qconn_mark_ready(c);
}

void qconn_ready(struct qconn *c)
{
    list_remove(&c->ready);
    if (c->broken)
        qconn_fail(c, c->broken);
    else if (c->paused)
        return;
    else if (c->tls && tls_has_input(c->tls) && qconn_fill(c, false) < 0)
        broke_in_turn(c);
    else
        input(c);
}

void qconn_event(struct qconn *c, uint32_t events)
{
    if (c->paused && (events & (EPOLLERR | EPOLLHUP))) {
        qconn_fail(c, "connection reset");
        return;
    }
    if (!c->paused && (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))) {
        int rc = qconn_fill(c, events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP));
        if (c->shaking && tls_is_ready(c->tls)) {
            c->shaking = false;
            c->deadline_ms = QNET_NEVER;
        }
        input(c);
        if (rc < 0 && !c->source.dead)
            broke_in_turn(c);
        else if (c->tls && !c->source.dead && c->out.bytes > 0) /* it may have waited for the handshake */
            qconn_flush(c, true);
    }
    if (!c->source.dead && (events & EPOLLOUT))
        qconn_flush(c, true);
}
