/* conn.c - one connection of the load generator: connecting, the session, requests under way, replies in order. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "load.h"

enum { READ_ROOM = 64 << 10, HELLO_TIMEOUT_US = 2000000, LOOK_US = 500000 };

static void wake_at(struct bconn *c, int64_t at_us)
{
    c->wake_us = at_us;
    c->l->next_wake_us = MIN(c->l->next_wake_us, at_us);
}

void bconn_init(struct bconn *c, struct load *l, uint32_t index)
{
    uint32_t cap = 1, want = MAX(l->opt->in_flight, (uint32_t)LOAD_STEP_WINDOW) + 1; /* and the session's end */

    while (cap < want)
        cap *= 2;
    *c = (struct bconn){ .l = l, .index = index, .fd = -1, .ring_mask = cap - 1 };
    c->ring = x_calloc(cap, sizeof(*c->ring));
    switch (l->opt->spread) {
    case BENCH_EVEN:
        c->server = index % l->server_count;
        break;
    case BENCH_RANDOM:
        c->server = (uint32_t)load_below(l, l->server_count);
        break;
    case BENCH_FIRST:
        break;
    }
    c->address = l->servers[c->server].list;
}

void bconn_free(struct bconn *c)
{
    bconn_end(c);
    wr_free(&c->out);
    free(c->in);
    free(c->ring);
    VEC_FREE(&c->made);
}

struct pending *bconn_pending(struct bconn *c, uint8_t what, int64_t at_us, uint64_t arg, uint8_t replies)
{
    struct pending *p = &c->ring[c->tail++ & c->ring_mask];

    ASSERT(bconn_under_way(c) <= c->ring_mask + 1);
    *p = (struct pending){ at_us, arg, what, replies, false };
    return p;
}

/* ---- the end of a connection ---- */

void bconn_end(struct bconn *c)
{
    if (c->state == CONN_READY)
        c->l->ready--;
    if (c->fd >= 0)
        close(c->fd); /* leaves the epoll set with it */
    c->fd = -1;
    c->state = CONN_DOWN;
    c->pollout = false;
    c->in_n = c->out_done = 0;
    wr_reset(&c->out);
}

void bconn_lost(struct bconn *c, const char *why)
{
    struct load *l = c->l;
    enum conn_state was = c->state;

    bconn_end(c);
    c->trouble = why;
    while (c->head != c->tail) {
        struct pending p = c->ring[c->head++ & c->ring_mask];
        if (p.what == WHAT_STEP)
            stage_gone(l, c, &p);
        else
            load_gone(l, &p);
    }
    c->xid_heard = c->xid_sent;
    /* The next address of the server if it has several, then the next server. */
    if (was == CONN_CONNECTING && c->address->ai_next) {
        c->address = c->address->ai_next;
    } else {
        if (!l->opt->stay)
            c->server = (c->server + 1) % l->server_count;
        c->address = l->servers[c->server].list;
    }
    wake_at(c, was == CONN_READY ? l->now_us : l->now_us + l->opt->reconnect_ms * 1000);
}

/* ---- sending ---- */

static void want(struct bconn *c, bool writing)
{
    struct epoll_event ev = { .events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0u), .data.ptr = c };

    if (writing == c->pollout)
        return;
    c->pollout = writing;
    ASSERT(epoll_ctl(c->l->ep, EPOLL_CTL_MOD, c->fd, &ev) == 0);
}

void bconn_flush(struct bconn *c)
{
    if (c->fd < 0 || c->state == CONN_CONNECTING)
        return;
    while (c->out_done < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->out_done, c->out.n - c->out_done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            bconn_lost(c, "connection reset");
            return;
        }
        c->out_done += (size_t)n;
        c->said_us = c->l->now_us;
    }
    bool more = c->out_done < c->out.n;
    if (!more) {
        wr_reset(&c->out);
        c->out_done = 0;
    }
    want(c, more);
}

/* ---- receiving ---- */

static void on_hello(struct bconn *c, struct rd *r)
{
    struct load *l = c->l;
    struct connect_response resp;

    connect_response_read(r, NULL, &resp);
    if (r->rc != 0 || (resp.session_id != 0 && resp.passwd.n != ZK_PASSWORD_LEN)) {
        bconn_lost(c, "its answer is not ZooKeeper's");
        return;
    }
    if (resp.session_id == 0) { /* the session is gone: the next attempt asks for a new one */
        l->res->sessions_expired++;
        c->session_id = 0;
        memset(c->passwd, 0, sizeof(c->passwd));
        bconn_lost(c, "session expired");
        return;
    }
    c->session_id = resp.session_id;
    memcpy(c->passwd, resp.passwd.p, ZK_PASSWORD_LEN);
    c->session_timeout_ms = resp.timeout_ms;
    c->state = CONN_READY;
    l->ready++;
    l->progress_us = l->now_us;
    l->res->servers[c->server].connects++;
    if (c->was_ready)
        l->res->reconnects++;
    c->was_ready = true;
    wake_at(c, l->now_us + LOOK_US);
}

/* Did a multi fail? Its header says ok then, and each of its results is an error: 0 for those before the one that failed, -2 for those behind. */
static int32_t multi_error(struct rd *r)
{
    struct multi_header h;

    for (;;) {
        multi_header_read(r, NULL, &h);
        if (r->rc != 0)
            return ZK_MARSHALLINGERROR;
        if (h.done)
            return ZK_RUNTIMEINCONSISTENCY;
        if (h.type != ZK_OP_ERROR)
            return 0;
        int32_t err = rd_i32(r);
        if (err != 0)
            return err;
    }
}

static void on_reply(struct bconn *c, struct rd *r)
{
    struct load *l = c->l;
    struct reply_header h;

    reply_header_read(r, NULL, &h);
    if (h.xid == ZK_XID_PING || h.xid == ZK_XID_EVENT)
        return;
    if (r->rc != 0 || c->head == c->tail || h.xid != c->xid_heard + 1) {
        bconn_lost(c, "its answers are not in order");
        return;
    }
    c->xid_heard = h.xid;
    c->last_zxid = MAX(c->last_zxid, h.zxid);
    l->progress_us = l->now_us;
    struct pending *p = &c->ring[c->head & c->ring_mask];
    if (p->what == WHAT_STEP) {
        struct pending done = *p;
        c->head++;
        stage_answered(l, &done, h.err, r);
        return;
    }
    if (h.err == 0 && p->what == BENCH_MULTI)
        h.err = multi_error(r);
    if (h.err != 0) {
        if (!p->failed && load_measures(l, p->at_us))
            load_error_code(l, h.err);
        p->failed = true;
    }
    if (--p->replies > 0)
        return;
    c->head++;
    load_answered(l, c, p);
}

bool bconn_take(struct bconn *c)
{
    int fd = c->fd;
    size_t at = 0;

    while (c->in_n - at >= 4) {
        uint32_t len = load_u32(c->in + at);
        if (len > LOAD_FRAME_MAX) {
            bconn_lost(c, "it sent what is no answer");
            return false;
        }
        if (c->in_n - at - 4 < len)
            break;
        struct rd r = rd_init(c->in + at + 4, len);
        if (c->state == CONN_HELLO)
            on_hello(c, &r);
        else
            on_reply(c, &r);
        if (c->fd != fd || c->state == CONN_DOWN)
            return false;
        at += 4 + (size_t)len;
    }
    memmove(c->in, c->in + at, c->in_n - at);
    c->in_n -= at;
    return true;
}

static void on_readable(struct bconn *c)
{
    if (c->in_cap - c->in_n < READ_ROOM) {
        c->in_cap = MAX(c->in_cap * 2, c->in_n + 2 * (size_t)READ_ROOM);
        c->in = x_realloc(c->in, c->in_cap);
    }
    ssize_t got = recv(c->fd, c->in + c->in_n, c->in_cap - c->in_n, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        bconn_lost(c, got < 0 ? "connection reset" : "the server closed the connection (maxClientCnxns?)");
        return;
    }
    c->l->now_us = c->heard_us = clock_mono_us();
    c->in_n += (size_t)got;
    if (bconn_take(c))
        load_feed(c->l, c);
}

/* ---- connecting ---- */

static void hello(struct bconn *c)
{
    c->state = CONN_HELLO;
    put_connect(c);
    want(c, false);
    bconn_flush(c);
}

static void attempt(struct bconn *c)
{
    struct load *l = c->l;
    const struct addrinfo *a = c->address;
    int one = 1;

    c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        bconn_lost(c, "no descriptor for a socket (ulimit -n)");
        return;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* slower without, not wrong */
    c->state = CONN_CONNECTING;
    if (connect(c->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS) {
        bconn_lost(c, "connection refused");
        return;
    }
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
    ASSERT(epoll_ctl(l->ep, EPOLL_CTL_ADD, c->fd, &ev) == 0);
    c->pollout = true;
    wake_at(c, l->now_us + HELLO_TIMEOUT_US);
}

void bconn_look_after(struct bconn *c)
{
    struct load *l = c->l;

    switch (c->state) {
    case CONN_DOWN:
        if (l->stage < STAGE_CLOSE)
            attempt(c);
        else
            c->wake_us = INT64_MAX;
        return;
    case CONN_CONNECTING:
    case CONN_HELLO:
        bconn_lost(c, "no answer");
        return;
    case CONN_READY:
        break;
    }
    int64_t timeout_us = (int64_t)c->session_timeout_ms * 1000;
    if (l->now_us - c->heard_us > timeout_us * 2 / 3) {
        bconn_lost(c, "the server is silent");
        return;
    }
    /* When nothing was heard for a while the ping is what a busy server must answer, too. */
    if (l->now_us - MIN(c->said_us, c->heard_us) > timeout_us / 3) {
        put_ping(c);
        bconn_flush(c);
    }
    if (c->state == CONN_READY)
        wake_at(c, l->now_us + LOOK_US);
}

void bconn_event(struct bconn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->state == CONN_CONNECTING) {
        int err = 0;
        socklen_t len = sizeof(err);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err != 0)
            bconn_lost(c, "connection refused");
        else
            hello(c);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(c);
    if (c->fd >= 0 && c->out.n > 0)
        bconn_flush(c);
}
