/* tcp.c - TCP listeners and connections (RFC 7766): queries are pipelined, replies go out as they get ready, in any order.
 *
 * Bounds     TCP_CONNS_MAX connections, the longest silent one makes room; a connection that is silent, or sends parts of a
 *            message only, for TCP_IDLE_MS is closed; one that has TCP_INFLIGHT_MAX questions waiting for an upstream or
 *            TCP_QUEUED_MAX bytes of replies not taken is not read from until that is less. */
#include "server.h"

#include "base/clock.h"
#include "base/log.h"

#define FLUSH_BYTES (64 * 1024) /* replies gathered for one write */
#define INPUT_KEPT  4096        /* bytes of input buffer that a waiting connection may hold */
#define BACKLOG     511

struct tcp_listener {
    struct list link;
    struct dns_server *s;
    uv_tcp_t h;
};

struct tcp_conn {
    struct list link;
    struct dns_server *s;
    uv_tcp_t h;
    struct ip local;
    struct list jobs;
    size_t in_flight, queued;
    struct wr in; /* a message that is not whole yet, or whole ones that have to wait */
    int64_t active_ms;
    bool reading, eof, closing;
};

struct tcp_job {
    struct job job;
    struct list link; /* of the connection */
    struct tcp_conn *conn;
};

struct tcp_write {
    uv_write_t req;
    struct tcp_conn *conn;
    size_t n;
    uint8_t data[];
};

static void conn_process(struct tcp_conn *c);

/* ---- closing ---- */

static void on_conn_closed(uv_handle_t *h)
{
    struct tcp_conn *c = h->data;
    struct handles *handles = &c->s->handles;

    wr_free(&c->in);
    free(c);
    handles_closed(handles);
}

static void tcp_job_free(struct tcp_job *t)
{
    list_remove(&t->link);
    t->conn->in_flight--;
    job_drop(&t->job);
    free(t);
}

static void conn_close(struct tcp_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    list_remove(&c->link);
    c->s->conn_count--;
    while (!list_empty(&c->jobs))
        tcp_job_free(CONTAINER_OF(c->jobs.next, struct tcp_job, link));
    uv_close((uv_handle_t *)&c->h, on_conn_closed);
}

static void conn_active(struct tcp_conn *c)
{
    c->active_ms = clock_mono_ms();
    list_remove(&c->link);
    list_push_back(&c->s->conns, &c->link);
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    struct tcp_write *w = CONTAINER_OF(req, struct tcp_write, req);
    struct tcp_conn *c = w->conn;

    c->queued -= w->n;
    free(w);
    if (c->closing)
        return;
    if (status < 0) {
        conn_close(c);
        return;
    }
    conn_active(c);
    conn_process(c);
}

/* Writes what tcp_out holds: at once as far as the socket takes it, the rest in the background. */
static void conn_flush(struct tcp_conn *c)
{
    struct wr *out = &c->s->tcp_out;
    uv_buf_t buf = uv_buf_init((char *)out->p, (unsigned)out->n);

    if (out->n == 0)
        return;
    int n = uv_try_write((uv_stream_t *)&c->h, &buf, 1); /* UV_EAGAIN behind earlier writes: order is kept */

    if (n < 0 && n != UV_EAGAIN) {
        wr_reset(out);
        conn_close(c);
        return;
    }
    size_t done = n > 0 ? (size_t)n : 0, rest = out->n - done;

    if (rest > 0) {
        struct tcp_write *w = x_malloc(sizeof(*w) + rest);

        memcpy(w->data, out->p + done, rest);
        w->conn = c;
        w->n = rest;
        buf = uv_buf_init((char *)w->data, (unsigned)rest);
        if (uv_write(&w->req, (uv_stream_t *)&c->h, &buf, 1, on_written) < 0) {
            free(w);
            conn_close(c);
        } else {
            c->queued += rest;
        }
    }
    wr_reset(out);
}

static void conn_put(struct tcp_conn *c, const uint8_t *reply, size_t n)
{
    wr_u16(&c->s->tcp_out, (uint16_t)n);
    wr_bytes(&c->s->tcp_out, reply, n);
    if (c->s->tcp_out.n >= FLUSH_BYTES)
        conn_flush(c);
}

/* ---- queries ---- */

static void tcp_job_done(struct job *j, const uint8_t *reply, size_t n)
{
    struct tcp_job *t = CONTAINER_OF(j, struct tcp_job, job);
    struct tcp_conn *c = t->conn;

    if (n > 0) {
        ASSERT(c->s->tcp_out.n == 0);
        conn_put(c, reply, n);
        tcp_job_free(t);
        conn_flush(c);
    } else {
        tcp_job_free(t);
    }
    if (!c->closing && !c->s->closing)
        conn_process(c);
}

/* False: too many questions under way. */
static bool conn_wait(struct tcp_conn *c, const struct dns_request *req, const struct dns_ask *ask)
{
    struct tcp_job *t = x_calloc(1, sizeof(*t));

    t->conn = c;
    t->job.done = tcp_job_done;
    if (job_start(c->s, &t->job, req, ask) < 0) {
        free(t);
        return false;
    }
    list_push_back(&c->jobs, &t->link);
    c->in_flight++;
    return true;
}

static void conn_query(struct tcp_conn *c, const uint8_t *p, size_t n)
{
    struct dns_request req = { .p = p, .n = n, .tcp = true, .local = c->local };
    struct dns_reply reply = { .p = c->s->scratch, .cap = DNS_MSG_MAX };

    if (!server_answer(c->s, &req, &reply)) {
        if (conn_wait(c, &req, &reply.ask))
            return;
        server_fail(c->s, &req, &reply);
    }
    if (reply.n > 0)
        conn_put(c, reply.p, reply.n);
    else
        conn_close(c); /* not a query: whoever it is speaks something else */
}

static bool conn_full(const struct tcp_conn *c)
{
    return c->in_flight >= TCP_INFLIGHT_MAX || c->queued >= TCP_QUEUED_MAX;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct tcp_conn *c = h->data;

    *buf = uv_buf_init((char *)c->s->tcp_in, 2 + DNS_MSG_MAX);
}

/* Answers the whole messages at p; returns how many bytes they took. */
static size_t conn_messages(struct tcp_conn *c, const uint8_t *p, size_t n)
{
    size_t at = 0;

    while (!c->closing && !conn_full(c) && n - at >= 2) {
        size_t len = (size_t)p[at] << 8 | p[at + 1];

        if (n - at - 2 < len)
            break;
        conn_query(c, p + at + 2, len);
        at += 2 + len;
    }
    if (at > 0 && !c->closing)
        conn_active(c);
    return at;
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct tcp_conn *c = h->data;

    if (n > 0) {
        wr_bytes(&c->in, buf->base, (size_t)n);
        conn_process(c);
    } else if (n == UV_EOF) { /* it may still want what it asked for */
        c->eof = true;
        conn_process(c);
    } else if (n < 0) {
        conn_close(c);
    }
}

/* Goes as far as input and bounds allow, then says whether to read more. */
static void conn_process(struct tcp_conn *c)
{
    struct wr *in = &c->in;
    size_t used = conn_messages(c, in->p, in->n);

    if (c->closing) {
        wr_reset(&c->s->tcp_out);
        return;
    }
    if (in->n > used)
        memmove(in->p, in->p + used, in->n - used);
    in->n -= used;
    if (in->n == 0 && in->cap > INPUT_KEPT)
        wr_free(in);
    conn_flush(c);
    if (c->closing)
        return;
    if (c->eof) {
        (void)uv_read_stop((uv_stream_t *)&c->h);
        if (c->in_flight == 0 && c->queued == 0)
            conn_close(c);
        return;
    }
    bool want = !conn_full(c);

    if (want != c->reading) {
        c->reading = want;
        if (want)
            (void)uv_read_start((uv_stream_t *)&c->h, on_alloc, on_read); /* fails on a closing handle only */
        else
            (void)uv_read_stop((uv_stream_t *)&c->h);
    }
}

/* ---- listeners ---- */

static void on_connection(uv_stream_t *h, int status)
{
    struct tcp_listener *l = h->data;
    struct dns_server *s = l->s;
    struct sockaddr_storage sa;
    int len = sizeof(sa);

    if (status < 0) {
        log_warn("dns", "accepting a connection: %s", uv_strerror(status));
        return;
    }
    struct tcp_conn *c = x_calloc(1, sizeof(*c));

    c->s = s;
    list_init(&c->jobs);
    list_init(&c->link);
    (void)uv_tcp_init(s->loop, &c->h); /* makes no socket yet: cannot fail */
    c->h.data = c;
    handles_opened(&s->handles);
    s->conn_count++;
    conn_active(c);
    if (uv_accept(h, (uv_stream_t *)&c->h) < 0 || uv_tcp_getsockname(&c->h, (struct sockaddr *)&sa, &len) < 0) {
        conn_close(c);
        return;
    }
    if (s->conn_count > TCP_CONNS_MAX)
        conn_close(CONTAINER_OF(s->conns.next, struct tcp_conn, link));
    c->local = ip_of_sockaddr((struct sockaddr *)&sa);
    (void)uv_tcp_nodelay(&c->h, 1); /* best effort */
    c->reading = true;
    (void)uv_read_start((uv_stream_t *)&c->h, on_alloc, on_read); /* fails on a closing handle only */
}

static void on_listener_closed(uv_handle_t *h)
{
    struct tcp_listener *l = h->data;
    struct handles *handles = &l->s->handles;

    free(l);
    handles_closed(handles);
}

static void listener_close(struct tcp_listener *l)
{
    list_remove(&l->link);
    uv_close((uv_handle_t *)&l->h, on_listener_closed);
}

static int rc_of_uv(int err)
{
    return err == UV_EADDRINUSE ? RC_INUSE : err == UV_EACCES || err == UV_EPERM ? RC_DENIED : RC_IO;
}

int tcp_listen(struct dns_server *s, const struct sockaddr *addr)
{
    struct tcp_listener *l = x_calloc(1, sizeof(*l));
    bool one_v6 = addr->sa_family == AF_INET6 && ip_of_sockaddr(addr).family != 0;

    l->s = s;
    (void)uv_tcp_init(s->loop, &l->h); /* makes no socket yet: cannot fail */
    l->h.data = l;
    handles_opened(&s->handles);
    list_push_back(&s->tcp, &l->link);
    int err = uv_tcp_bind(&l->h, addr, one_v6 ? UV_TCP_IPV6ONLY : 0);

    if (err == 0)
        err = uv_listen((uv_stream_t *)&l->h, BACKLOG, on_connection);
    if (err == 0)
        return 0;
    listener_close(l);
    return rc_of_uv(err);
}

void tcp_check_idle(struct dns_server *s, int64_t now_ms)
{
    while (!list_empty(&s->conns)) {
        struct tcp_conn *c = CONTAINER_OF(s->conns.next, struct tcp_conn, link);

        if (now_ms - c->active_ms < TCP_IDLE_MS)
            break;
        conn_close(c);
    }
}

void tcp_close_all(struct dns_server *s)
{
    while (!list_empty(&s->tcp))
        listener_close(CONTAINER_OF(s->tcp.next, struct tcp_listener, link));
    while (!list_empty(&s->conns))
        conn_close(CONTAINER_OF(s->conns.next, struct tcp_conn, link));
}
