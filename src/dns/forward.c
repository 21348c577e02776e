/* forward.c - the client of upstream DNS servers. */
#include "forward.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "cache.h"

#define CACHE_ENTRIES_DEFAULT 10000
#define UDP_RECEIVE_MAX       4096

struct upstream_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

struct forward {
    uv_loop_t *loop;
    struct handles *handles;
    struct dns_stats *stats;
    struct dns_cache *cache;
    struct upstream_addr *servers;
    size_t server_count, preferred; /* preferred: answered last */
    struct strmap queries;          /* by ask_key */
    size_t waiters;
    uint16_t ids[64]; /* random, used from the end */
    size_t id_count;
};

/* One way of asking: a UDP socket or a TCP connection. Outlives its query until libuv has let go of it. */
struct attempt {
    struct forward_query *q; /* NULL: given up */
    struct forward *f;
    bool tcp;
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_tcp_t stream;
    };
    int fd; /* UDP */
    uv_connect_t connect;
    uv_write_t write;
    uint8_t out[2 + DNS_QUERY_LEN_MAX];
    size_t out_len;
    uint16_t id;
    uint8_t *in; /* TCP: length and message */
    size_t in_len;
};

struct forward_query {
    struct forward *f;
    struct dns_ask ask;
    struct list waiters;
    uv_timer_t timer;
    struct attempt *attempt;
    struct dns_msg *best; /* a bad or cut answer, in case that none better comes */
    size_t server, tries;
    int64_t deadline_ms;
};

void handles_opened(struct handles *h)
{
    h->open++;
}

void handles_closed(struct handles *h)
{
    ASSERT(h->open > 0);
    if (--h->open == 0 && h->none)
        h->none(h);
}

static void query_try(struct forward_query *q, bool tcp);

/* ---- configuration ---- */

static int forward_add_server(struct forward *f, const char *text, char **ret_error)
{
    struct upstream_addr *u = &f->servers[f->server_count];
    struct ip bare;
    char with_port[ADDR_TEXT_MAX];

    if (ip_parse(text, &bare) == 0) {
        (void)snprintf(with_port, sizeof(with_port), bare.family == 4 ? "%s:53" : "[%s]:53", text); /* an address fits */
        text = with_port;
    }
    if (text[0] == ':' || addr_parse(text, &u->sa, &u->len) < 0 || addr_port((struct sockaddr *)&u->sa) == 0) {
        *ret_error = x_asprintf("forward server '%s' is not ip[:port]", text);
        return RC_INVAL;
    }
    f->server_count++;
    return 0;
}

int forward_new(uv_loop_t *loop, const struct dns_config *cfg, struct handles *handles, struct dns_stats *stats,
                struct forward **ret, char **ret_error)
{
    struct forward *f = x_calloc(1, sizeof(*f));

    f->loop = loop;
    f->handles = handles;
    f->stats = stats;
    f->servers = x_calloc(MAX(cfg->forward_count, (size_t)1), sizeof(*f->servers));
    f->cache = cache_new(cfg->cache_entries ? cfg->cache_entries : CACHE_ENTRIES_DEFAULT);
    for (size_t i = 0; i < cfg->forward_count; i++) {
        int rc = forward_add_server(f, cfg->forward[i], ret_error);

        if (rc < 0) {
            forward_free(f);
            return rc;
        }
    }
    *ret = f;
    return 0;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    ASSERT(f->queries.len == 0);
    strmap_free(&f->queries, NULL);
    cache_free(f->cache);
    free(f->servers);
    free(f);
}

static uint16_t random_id(struct forward *f)
{
    if (f->id_count == 0) {
        ssize_t n = getrandom(f->ids, sizeof(f->ids), 0);

        ASSERT(n == (ssize_t)sizeof(f->ids)); /* at most 256 bytes are never cut short */
        f->id_count = ARRAY_LEN(f->ids);
    }
    return f->ids[--f->id_count];
}

/* ---- the end of a query ---- */

static void attempt_closed(uv_handle_t *h)
{
    struct attempt *at = h->data;
    struct handles *handles = at->f->handles;

    free(at->in);
    free(at);
    handles_closed(handles);
}

static void query_drop_attempt(struct forward_query *q)
{
    struct attempt *at = q->attempt;

    if (!at)
        return;
    q->attempt = NULL;
    at->q = NULL;
    uv_close(&at->handle, attempt_closed);
    if (!at->tcp)
        (void)close(at->fd); /* uv_close has taken it out of the poll set */
}

static void query_timer_closed(uv_handle_t *h)
{
    struct forward_query *q = h->data;
    struct handles *handles = q->f->handles;

    free(q->best);
    free(q);
    handles_closed(handles);
}

/* Removes q from the table and gives it back once libuv lets go; its waiters must be gone by then. */
static void query_close(struct forward_query *q)
{
    uint8_t key[ASK_KEY_MAX];

    query_drop_attempt(q);
    strmap_del(&q->f->queries, ask_key(&q->ask, key));
    uv_close((uv_handle_t *)&q->timer, query_timer_closed);
}

/* Tells every waiter; takes msg (NULL: nobody answered). */
static void query_finish(struct forward_query *q, struct dns_msg *msg)
{
    struct forward *f = q->f;
    struct dns_upstream u = { .name = q->ask.name, .type = q->ask.type, .msg = msg };
    struct list waiters;

    if (!msg)
        f->stats->forward_failed++;
    list_init(&waiters);
    LIST_EACH_SAFE (it, &q->waiters) { /* onto a list of our own: a waiter may ask again at once */
        list_remove(it);
        list_push_back(&waiters, it);
    }
    query_close(q);
    while (!list_empty(&waiters)) {
        struct forward_waiter *w = CONTAINER_OF(waiters.next, struct forward_waiter, link);

        list_remove(&w->link);
        w->query = NULL;
        f->waiters--;
        w->fn(w, &u);
    }
    if (msg && msg->ttl_s > 0)
        cache_put(f->cache, &q->ask, msg, clock_mono_ms()); /* q lives until its timer's close callback */
    else
        free(msg);
}

/* This attempt gave nothing: the next server, or the end. */
static void query_next(struct forward_query *q)
{
    struct forward *f = q->f;
    size_t tries_max = MIN(MAX(f->server_count * 2, (size_t)3), (size_t)6);

    query_drop_attempt(q);
    if (f->preferred == q->server)
        f->preferred = (q->server + 1) % f->server_count;
    q->server = (q->server + 1) % f->server_count;
    if (++q->tries < tries_max && clock_mono_ms() < q->deadline_ms) {
        query_try(q, false);
        return;
    }
    struct dns_msg *best = q->best;

    q->best = NULL;
    query_finish(q, best);
}

/* An answer to our question; takes msg. */
static void query_answered(struct forward_query *q, struct dns_msg *msg, bool tcp)
{
    bool refused = msg->rcode != DNS_NOERROR && msg->rcode != DNS_NXDOMAIN;

    if (!refused && !(msg->flags & DNS_F_TC)) {
        q->f->preferred = q->server;
        query_finish(q, msg);
        return;
    }
    free(q->best);
    q->best = msg;
    query_drop_attempt(q);
    if (refused || tcp)
        query_next(q);
    else
        query_try(q, true);
}

static void on_timeout(uv_timer_t *t)
{
    struct forward_query *q = t->data;

    query_next(q);
}

/* ---- UDP ---- */

static void on_udp(uv_poll_t *h, int status, int events)
{
    struct attempt *at = h->data;
    struct forward_query *q = at->q;
    uint8_t in[UDP_RECEIVE_MAX];
    struct dns_msg *msg;

    if (!q)
        return;
    if (status < 0) {
        query_next(q);
        return;
    }
    for (int i = 0; i < 16; i++) { /* junk must not keep us here */
        ssize_t n = recv(at->fd, in, sizeof(in), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) { /* ECONNREFUSED: nobody listens there */
            query_next(q);
            return;
        }
        int rc = dns_msg_parse(in, (size_t)n, at->id, &q->ask.name, q->ask.type, &msg);

        if (rc == 0) {
            query_answered(q, msg, false);
            return;
        }
    }
}

static int attempt_udp(struct attempt *at, const struct upstream_addr *u)
{
    at->fd = socket(u->sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (at->fd < 0)
        return RC_IO;
    if (connect(at->fd, (const struct sockaddr *)&u->sa, u->len) < 0 ||
        send(at->fd, at->out + 2, at->out_len - 2, MSG_NOSIGNAL) < 0 || uv_poll_init(at->f->loop, &at->poll, at->fd) < 0) {
        (void)close(at->fd);
        return RC_IO;
    }
    at->poll.data = at;
    handles_opened(at->f->handles);
    (void)uv_poll_start(&at->poll, UV_READABLE, on_udp); /* fails for bad events only */
    return 0;
}

/* ---- TCP ---- */

static void on_tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct attempt *at = h->data;

    *buf = uv_buf_init((char *)at->in + at->in_len, (unsigned)(2 + DNS_MSG_MAX - at->in_len));
}

static void on_tcp_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct attempt *at = h->data;
    struct forward_query *q = at->q;
    struct dns_msg *msg;

    if (!q || n == 0)
        return;
    if (n < 0) {
        query_next(q);
        return;
    }
    at->in_len += (size_t)n;
    size_t len = at->in_len >= 2 ? (size_t)at->in[0] << 8 | at->in[1] : SIZE_MAX;

    if (at->in_len < 2 || at->in_len - 2 < len)
        return;
    if (dns_msg_parse(at->in + 2, len, at->id, &q->ask.name, q->ask.type, &msg) == 0)
        query_answered(q, msg, true);
    else
        query_next(q);
}

static void on_tcp_written(uv_write_t *req, int status)
{
    struct attempt *at = req->data;

    if (status < 0 && at->q)
        query_next(at->q);
}

static void on_tcp_connect(uv_connect_t *req, int status)
{
    struct attempt *at = req->data;
    uv_buf_t out = uv_buf_init((char *)at->out, (unsigned)at->out_len);

    if (!at->q)
        return;
    at->write.data = at;
    if (status < 0 || uv_write(&at->write, (uv_stream_t *)&at->stream, &out, 1, on_tcp_written) < 0 ||
        uv_read_start((uv_stream_t *)&at->stream, on_tcp_alloc, on_tcp_read) < 0)
        query_next(at->q);
}

static int attempt_tcp(struct attempt *at, const struct upstream_addr *u)
{
    int rc = uv_tcp_init(at->f->loop, &at->stream);

    ASSERT(rc == 0); /* it makes no socket yet */
    at->stream.data = at;
    at->in = x_malloc(2 + DNS_MSG_MAX);
    handles_opened(at->f->handles);
    at->connect.data = at;
    return uv_tcp_connect(&at->connect, &at->stream, (const struct sockaddr *)&u->sa, on_tcp_connect) < 0 ? RC_IO : 0;
}

/* ---- asking ---- */

/* A new attempt at q->server. When it cannot even start, the timer takes q on: no recursion through a list of dead servers. */
static void query_try(struct forward_query *q, bool tcp)
{
    struct forward *f = q->f;
    struct attempt *at = x_calloc(1, sizeof(*at));
    uint64_t timeout_ms = tcp ? FORWARD_TCP_MS : FORWARD_UDP_MS;

    at->q = q;
    at->f = f;
    at->tcp = tcp;
    at->id = random_id(f);
    size_t n = dns_query_write(at->id, &q->ask.name, q->ask.type, q->ask.dnssec_ok, q->ask.cd, at->out + 2);

    at->out[0] = (uint8_t)(n >> 8), at->out[1] = (uint8_t)n;
    at->out_len = n + 2;
    f->stats->forwarded++;
    if (!tcp && attempt_udp(at, &f->servers[q->server]) < 0) {
        free(at);
        timeout_ms = 0;
    } else {
        q->attempt = at;
        if (tcp && attempt_tcp(at, &f->servers[q->server]) < 0)
            timeout_ms = 0;
    }
    (void)uv_timer_start(&q->timer, on_timeout, timeout_ms, 0);
}

bool forward_cached(struct forward *f, const struct dns_ask *ask, struct dns_upstream *ret)
{
    ret->msg = cache_get(f->cache, ask, clock_mono_ms(), &ret->age_s);
    if (!ret->msg) {
        f->stats->cache_misses++;
        return false;
    }
    f->stats->cache_hits++;
    ret->name = ask->name;
    ret->type = ask->type;
    return true;
}

int forward_ask(struct forward *f, const struct dns_ask *ask, struct forward_waiter *w)
{
    uint8_t bytes[ASK_KEY_MAX];
    struct buf key = ask_key(ask, bytes);
    struct forward_query *q = strmap_get(&f->queries, key);

    if (f->waiters >= FORWARD_WAITERS_MAX || (!q && f->queries.len >= FORWARD_INFLIGHT_MAX))
        return RC_BUSY;
    f->waiters++;
    if (q) {
        list_push_back(&q->waiters, &w->link);
        w->query = q;
        return 0;
    }
    q = x_calloc(1, sizeof(*q));
    q->f = f;
    q->ask = *ask;
    q->server = f->preferred;
    q->deadline_ms = clock_mono_ms() + FORWARD_DEADLINE_MS - FORWARD_TCP_MS;
    list_init(&q->waiters);
    list_push_back(&q->waiters, &w->link);
    w->query = q;
    strmap_set(&f->queries, key, q);
    (void)uv_timer_init(f->loop, &q->timer); /* cannot fail */
    q->timer.data = q;
    handles_opened(f->handles);
    query_try(q, false);
    return 0;
}

void forward_cancel(struct forward *f, struct forward_waiter *w)
{
    if (!w->query)
        return;
    list_remove(&w->link); /* the query goes on: its answer is for the cache */
    w->query = NULL;
    f->waiters--;
}

void forward_stop(struct forward *f)
{
    if (!f)
        return;
    while (f->queries.len > 0) {
        STRMAP_EACH (slot, &f->queries) {
            query_close(slot->value); /* removes the slot: start over */
            break;
        }
    }
}
