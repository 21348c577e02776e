/* server.c - the DNS server's shell: listeners, questions on their way to an upstream, starting and stopping. */
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/random.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"

#define IDLE_CHECK_MS 1000

/* ---- answering ---- */

static void server_count(struct dns_server *s, const struct dns_request *req, const struct dns_reply *reply)
{
    struct dns_stats *st = &s->stats;

    if (req->tcp)
        st->queries_tcp++;
    else
        st->queries_udp++;
    st->malformed += reply->malformed;
    if (reply->n == 0)
        return;
    st->truncated += reply->truncated;
    st->replies[MIN(reply->rcode, (uint16_t)15)]++; /* BADVERS counts with 15: no rcode of ours is */
}

bool server_answer(struct dns_server *s, const struct dns_request *req, struct dns_reply *reply)
{
    struct dns_request r = *req;
    struct dns_upstream cached;

    for (int i = 0; i < ASKS_MAX; i++) {
        enum dns_verdict v = dns_answer(s->core, &r, reply);

        if (v == DNS_DROP || v == DNS_REPLY) {
            server_count(s, &r, reply);
            return true;
        }
        if (!forward_cached(s->forward, &reply->ask, &cached))
            return false;
        r.upstream = &cached;
    }
    return false;
}

void server_fail(struct dns_server *s, const struct dns_request *req, struct dns_reply *reply)
{
    struct dns_upstream failed = { .name = reply->ask.name, .type = reply->ask.type };
    struct dns_request r = *req;

    r.upstream = &failed;
    if (dns_answer(s->core, &r, reply) != DNS_REPLY)
        reply->n = 0; /* cannot be: the same question led to the same ask */
    server_count(s, &r, reply);
}

static void job_answered(struct forward_waiter *w, const struct dns_upstream *u)
{
    struct job *j = CONTAINER_OF(w, struct job, waiter);
    struct dns_server *s = j->s;
    struct dns_request req = { .p = j->query, .n = j->query_len, .tcp = j->tcp, .local = j->local, .upstream = u };
    struct dns_reply reply = { .p = s->scratch, .cap = DNS_MSG_MAX };

    if (!server_answer(s, &req, &reply)) { /* the service changed meanwhile: another question */
        if (j->asks++ < ASKS_MAX && forward_ask(s->forward, &reply.ask, &j->waiter) == 0)
            return;
        server_fail(s, &req, &reply);
    }
    j->done(j, reply.p, reply.n);
}

int job_start(struct dns_server *s, struct job *j, const struct dns_request *req, const struct dns_ask *ask)
{
    list_init(&j->waiter.link);
    j->waiter.fn = job_answered;
    if (forward_ask(s->forward, ask, &j->waiter) < 0)
        return RC_BUSY;
    j->s = s;
    list_push_back(&s->jobs, &j->link);
    j->query = x_memdup(req->p, req->n);
    j->query_len = req->n;
    j->tcp = req->tcp;
    j->local = req->local;
    j->asks = 1;
    return 0;
}

void job_drop(struct job *j)
{
    forward_cancel(j->s->forward, &j->waiter);
    list_remove(&j->link);
    free(j->query);
    j->query = NULL;
}

/* ---- addresses ---- */

struct ip ip_of_sockaddr(const struct sockaddr *sa)
{
    struct ip ip = { 0 };

    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;

        if (v4->sin_addr.s_addr != htonl(INADDR_ANY)) {
            ip.family = 4;
            memcpy(ip.b, &v4->sin_addr, 4);
        }
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;

        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            ip.family = 4;
            memcpy(ip.b, v6->sin6_addr.s6_addr + 12, 4);
        } else if (!IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
            ip.family = 6;
            memcpy(ip.b, &v6->sin6_addr, 16);
        }
    }
    return ip;
}

int rc_of_errno(int err)
{
    switch (err) {
    case EADDRINUSE:
        return RC_INUSE;
    case EACCES:
    case EPERM:
        return RC_DENIED;
    default:
        return RC_IO;
    }
}

/* ---- life ---- */

static void server_free(struct dns_server *s)
{
    void (*closed)(void *) = s->closed;
    void *data = s->closed_data;

    udp_free(s);
    forward_free(s->forward);
    dns_core_free(s->core);
    wr_free(&s->tcp_out);
    free(s->tcp_in);
    free(s->scratch);
    free(s);
    if (closed)
        closed(data);
}

static void server_no_handles(struct handles *h)
{
    struct dns_server *s = CONTAINER_OF(h, struct dns_server, handles);

    if (s->closing)
        server_free(s);
}

static void on_idle_check(uv_timer_t *t)
{
    tcp_check_idle(t->data, clock_mono_ms());
}

int dns_server_new(uv_loop_t *loop, const struct dns_config *cfg, const struct svc_table *table, struct dns_server **ret,
                   char **ret_error)
{
    struct dns_server *s = x_calloc(1, sizeof(*s));
    uint64_t seed = 0;

    (void)getrandom(&seed, sizeof(seed), 0); /* 8 bytes are never cut short; without them the order is a fixed one */
    s->loop = loop;
    int rc = dns_core_new(cfg, table, seed, &s->core, ret_error);

    if (rc == 0)
        rc = forward_new(loop, cfg, &s->handles, &s->stats, &s->forward, ret_error);
    if (rc < 0) {
        dns_core_free(s->core);
        free(s);
        return rc;
    }
    list_init(&s->udp);
    list_init(&s->tcp);
    list_init(&s->conns);
    list_init(&s->jobs);
    s->scratch = x_malloc(DNS_MSG_MAX);
    s->tcp_in = x_malloc(2 + DNS_MSG_MAX);
    s->handles.none = server_no_handles;
    (void)uv_timer_init(loop, &s->idle); /* neither can fail */
    s->idle.data = s;
    handles_opened(&s->handles);
    (void)uv_timer_start(&s->idle, on_idle_check, IDLE_CHECK_MS, IDLE_CHECK_MS);
    *ret = s;
    return 0;
}

int dns_server_listen(struct dns_server *s, const struct sockaddr *addr, int *ret_port)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t len = addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    bool pick = addr_port(addr) == 0;
    int rc = RC_IO, port = 0;

    if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6)
        return RC_INVAL;
    memcpy(&sa, addr, len);
    /* A port that UDP picked may be taken for TCP: then the next one. */
    for (int i = 0; i < (pick ? 16 : 1); i++) {
        rc = udp_listen(s, addr, len, &port);
        if (rc < 0)
            return rc;
        if (sa.ss_family == AF_INET)
            ((struct sockaddr_in *)&sa)->sin_port = htons((uint16_t)port);
        else
            ((struct sockaddr_in6 *)&sa)->sin6_port = htons((uint16_t)port);
        rc = tcp_listen(s, (struct sockaddr *)&sa);
        if (rc == 0)
            break;
        udp_close_last(s);
        if (rc != RC_INUSE)
            return rc;
    }
    if (rc < 0)
        return rc;
    struct ip ip = ip_of_sockaddr(addr);

    if (ip.family)
        dns_core_add_self(s->core, &ip);
    if (ret_port)
        *ret_port = port;
    return 0;
}

void dns_server_stats(const struct dns_server *s, struct dns_stats *ret)
{
    *ret = s->stats;
}

static void on_idle_closed(uv_handle_t *h)
{
    handles_closed(&((struct dns_server *)h->data)->handles);
}

void dns_server_close(struct dns_server *s, void (*closed)(void *data), void *data)
{
    ASSERT(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_data = data;
    tcp_close_all(s);
    while (!list_empty(&s->jobs)) {
        struct job *j = CONTAINER_OF(s->jobs.next, struct job, link);

        j->done(j, NULL, 0);
    }
    udp_close_all(s);
    forward_stop(s->forward);
    uv_close((uv_handle_t *)&s->idle, on_idle_closed);
}
