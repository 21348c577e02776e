/* shell.c - the session on libuv: sockets, name look-up, the timer. No decision about the protocol is made here.
 *
 * A conn is one attempt at one server. It is detached from the client when the session hangs up (c->conn = NULL) and frees
 * itself when libuv has let go of all its parts. */
#include "client.h"

#include <netdb.h>

#include "base/addr.h"
#include "base/clock.h"

#define READ_CHUNK 65536

struct conn {
    quoll_client *c; /* NULL once detached */
    quoll_client *counted; /* whose c->handles counts us */
    bool probe;
    const struct server_addr *server;
    uv_getaddrinfo_t lookup;
    struct addrinfo *found, *next; /* next: the address to try after the current one fails */
    uv_tcp_t tcp;
    bool tcp_open, up;
    uv_connect_t connecting;
    uv_write_t writing;
    struct wr out; /* being written */
    bool write_busy;
    unsigned busy; /* libuv callbacks outstanding: lookup, connect, close of tcp */
    int last_error;
    char probe_answer[8];
    size_t probe_len;
    char *buffer;
};

static void shell_run(quoll_client *c);
static void conn_next_address(struct conn *k);

static void handle_gone(quoll_client *c)
{
    ASSERT(c->handles > 0);
    if (--c->handles > 0 || !c->tearing_down)
        return;
    void (*closed)(void *) = c->closed;
    void *data = c->closed_data;
    if (c->own)
        return; /* thread.c frees the client once the loop has ended */
    client_free(c);
    if (closed)
        closed(data);
}

static void conn_release(struct conn *k)
{
    if (k->busy > 0 || k->c || k->tcp_open)
        return;
    quoll_client *c = k->counted;
    if (k->found)
        uv_freeaddrinfo(k->found);
    wr_free(&k->out);
    free(k->buffer);
    free(k);
    handle_gone(c);
}

static void on_tcp_closed(uv_handle_t *h)
{
    struct conn *k = h->data;
    k->busy--;
    k->tcp_open = false;
    if (k->c)
        conn_next_address(k); /* the failed attempt is out of the way */
    else
        conn_release(k);
}

static void conn_close_tcp(struct conn *k)
{
    if (!k->tcp_open || uv_is_closing((uv_handle_t *)&k->tcp))
        return;
    k->busy++;
    uv_close((uv_handle_t *)&k->tcp, on_tcp_closed);
}

/* Lets go of the attempt; it frees itself. */
static void conn_detach(struct conn *k)
{
    if (!k)
        return;
    if (k->c && k->c->conn == k)
        k->c->conn = NULL;
    if (k->c && k->c->probe == k)
        k->c->probe = NULL;
    k->c = NULL;
    if (k->busy)
        (void)uv_cancel((uv_req_t *)&k->lookup); /* fails when it is not waiting; its callback comes either way */
    conn_close_tcp(k);
    conn_release(k);
}

/* The attempt or connection is over. */
static void conn_failed(struct conn *k, const char *why)
{
    quoll_client *c = k->c;
    bool probe = k->probe;
    conn_detach(k);
    if (probe)
        session_probed(&c->session, false, clock_mono_ms());
    else
        session_disconnected(&c->session, why, clock_mono_ms());
    shell_run(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct conn *k = h->data;
    if (!k->buffer)
        k->buffer = x_malloc(READ_CHUNK);
    *ret = uv_buf_init(k->buffer, READ_CHUNK);
}

static void probe_input(struct conn *k, const char *p, size_t n)
{
    for (size_t i = 0; i < n && k->probe_len < sizeof(k->probe_answer) - 1; i++)
        k->probe_answer[k->probe_len++] = p[i];
    if (k->probe_len < 2)
        return;
    quoll_client *c = k->c;
    bool writes = memcmp(k->probe_answer, "rw", 2) == 0;
    conn_detach(k);
    session_probed(&c->session, writes, clock_mono_ms());
    shell_run(c);
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct conn *k = st->data;
    quoll_client *c = k->c;
    if (!c || n == 0)
        return;
    if (n < 0) {
        conn_failed(k, n == UV_EOF ? "connection closed by the server" : uv_strerror((int)n));
        return;
    }
    if (k->probe) {
        probe_input(k, buf->base, (size_t)n);
        return;
    }
    c->in_core = true;
    session_input(&c->session, buf->base, (size_t)n, clock_mono_ms());
    c->in_core = false;
    shell_run(c);
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *k = req->data;
    k->write_busy = false;
    k->busy--;
    if (!k->c)
        conn_release(k);
    else if (status < 0)
        conn_failed(k, uv_strerror(status));
    else if (!k->probe)
        shell_run(k->c);
}

static void conn_write(struct conn *k, struct wr *out)
{
    /* One write at a time: what comes meanwhile gathers in the session, whose limit then counts it. */
    if (k->write_busy || out->n == 0)
        return;
    size_t done = 0;
    uv_buf_t b = uv_buf_init((char *)out->p, (unsigned)out->n);
    int n = uv_try_write((uv_stream_t *)&k->tcp, &b, 1);
    if (n > 0)
        done = (size_t)n;
    if (done == out->n) {
        wr_reset(out);
        return;
    }
    wr_free(&k->out);
    k->out = *out;
    *out = wr_init(0);
    b = uv_buf_init((char *)k->out.p + done, (unsigned)(k->out.n - done));
    k->writing.data = k;
    k->write_busy = true;
    k->busy++;
    if (uv_write(&k->writing, (uv_stream_t *)&k->tcp, &b, 1, on_written) < 0) {
        k->write_busy = false; /* the read side reports the reason */
        k->busy--;
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    struct conn *k = req->data;
    k->busy--;
    quoll_client *c = k->c;
    if (!c) {
        conn_release(k);
        return;
    }
    if (status < 0) {
        k->last_error = status;
        conn_close_tcp(k); /* on_tcp_closed goes on with the next address */
        return;
    }
    k->up = true;
    (void)uv_tcp_nodelay(&k->tcp, 1); /* slower without, not wrong */
    status = uv_read_start((uv_stream_t *)&k->tcp, on_alloc, on_read);
    if (status < 0) {
        conn_failed(k, uv_strerror(status));
        return;
    }
    if (k->probe) {
        struct wr w = wr_init(0);
        wr_text(&w, "isro");
        conn_write(k, &w);
        wr_free(&w);
        return;
    }
    struct sockaddr_storage sa;
    int len = sizeof(sa);
    char text[ADDR_TEXT_MAX];
    if (uv_tcp_getpeername(&k->tcp, (struct sockaddr *)&sa, &len) == 0) {
        addr_format((struct sockaddr *)&sa, text);
        client_publish_server(c, text);
    }
    session_connected(&c->session, clock_mono_ms());
    shell_run(c);
}

static void conn_dial(struct conn *k, const struct sockaddr *sa)
{
    int rc = uv_tcp_init(k->counted->loop, &k->tcp);
    ASSERT(rc == 0); /* no socket is made yet */
    k->tcp.data = k;
    k->tcp_open = true;
    k->connecting.data = k;
    rc = uv_tcp_connect(&k->connecting, &k->tcp, sa, on_connected);
    if (rc < 0) {
        k->last_error = rc;
        conn_close_tcp(k);
        return;
    }
    k->busy++;
}

static void conn_next_address(struct conn *k)
{
    if (!k->next) {
        conn_failed(k, k->last_error ? uv_strerror(k->last_error) : "name has no address");
        return;
    }
    struct addrinfo *ai = k->next;
    k->next = ai->ai_next;
    conn_dial(k, ai->ai_addr);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct conn *k = req->data;
    k->busy--;
    k->found = found;
    if (!k->c) {
        conn_release(k);
        return;
    }
    if (status < 0) {
        conn_failed(k, uv_strerror(status));
        return;
    }
    k->next = found;
    conn_next_address(k);
}

static struct conn *conn_new(quoll_client *c, const struct server_addr *server, bool probe)
{
    struct conn *k = x_calloc(1, sizeof(*k));
    k->c = k->counted = c;
    k->server = server;
    k->probe = probe;
    c->handles++;
    return k;
}

/* Names are resolved again at every attempt: addresses of servers change under a name. */
static void conn_start(struct conn *k)
{
    char port[8];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    snprintf(port, sizeof(port), "%d", k->server->port);
    k->lookup.data = k;
    k->busy++;
    int rc = uv_getaddrinfo(k->counted->loop, &k->lookup, on_lookup, k->server->host, port, &hints);
    if (rc < 0) {
        k->busy--;
        conn_failed(k, uv_strerror(rc));
    }
}

static void on_handle_closed(uv_handle_t *h)
{
    handle_gone(h->data);
}

static void tear_down(quoll_client *c)
{
    if (c->tearing_down)
        return;
    c->tearing_down = true;
    conn_detach(c->conn);
    conn_detach(c->probe);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->flush, on_handle_closed);
}

static void on_timer(uv_timer_t *t)
{
    quoll_client *c = t->data;
    c->in_core = true;
    session_tick(&c->session, clock_mono_ms());
    c->in_core = false;
    shell_run(c);
}

static void arm(quoll_client *c)
{
    int64_t at = session_wake_ms(&c->session);
    if (at == INT64_MAX) {
        uv_timer_stop(&c->timer);
        return;
    }
    /* libuv counts from the start of the loop's turn, which may be long ago. */
    uv_update_time(c->loop);
    uv_timer_start(&c->timer, on_timer, (uint64_t)MAX(at - clock_mono_ms(), 0), 0);
}

/* Carries out what the session wants. Every entry into the core ends here. */
static void shell_run(quoll_client *c)
{
    if (c->tearing_down || c->in_core)
        return;
    size_t server;
    for (enum session_io io; (io = session_poll(&c->session, &server)) != SESSION_NOTHING;) {
        if (io == SESSION_HANG_UP) {
            conn_detach(c->conn);
            conn_detach(c->probe);
        } else {
            struct conn *k = conn_new(c, &c->servers.servers.items[server], io == SESSION_PROBE);
            *(io == SESSION_PROBE ? &c->probe : &c->conn) = k;
            conn_start(k);
        }
    }
    if (session_finished(&c->session)) {
        tear_down(c);
        return;
    }
    if (c->conn && c->conn->up)
        conn_write(c->conn, &c->session.out);
    uv_idle_stop(&c->flush);
    arm(c);
}

static void on_flush(uv_idle_t *h)
{
    shell_run(h->data);
}

void shell_kick(quoll_client *c)
{
    /* Calls gather until the loop's next turn, and leave in one write. An active idle handle keeps the loop from
     * blocking before that. */
    if (c->loop && !c->in_core && !c->tearing_down)
        uv_idle_start(&c->flush, on_flush);
}

static int64_t mono_clock(const quoll_client *c)
{
    (void)c;
    return clock_mono_ms();
}

void shell_start(quoll_client *c, uv_loop_t *loop)
{
    c->loop = loop;
    c->clock = mono_clock;
    c->handles = 2;
    uv_timer_init(loop, &c->timer);
    uv_idle_init(loop, &c->flush);
    c->timer.data = c->flush.data = c;
    uv_timer_start(&c->timer, on_timer, 0, 0); /* the first callback comes after quoll_open has returned */
}

void shell_close(quoll_client *c, bool detach, void (*closed)(void *data), void *data)
{
    c->closed = closed;
    c->closed_data = data;
    session_close(&c->session, detach, clock_mono_ms());
    shell_kick(c);
}
