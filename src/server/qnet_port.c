/* qnet_port.c - a listening port of a server among servers: bind, try again, accept. */
#include "qnet_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RETRY_MS 1000
#define MUTE_MS 1000
#define BACKLOG 128
#define ACCEPT_SHARE 16

static const char *port_name(const struct qport *p)
{
    return p->election ? "election" : "quorum";
}

static void close_listeners(struct qport *p)
{
    for (size_t i = 0; i < p->listeners.len; i++) {
        struct qlistener *l = p->listeners.items[i];
        close(l->fd);
        l->source.dead = true;
        qnet_bury(p->q, &l->source);
    }
    VEC_FREE(&p->listeners);
    p->open = false;
}

void qport_close(struct qport *p)
{
    close_listeners(p);
    if (p->job)
        resolver_forget(p->q->resolver, p->job);
    net_names_free(p->names, p->names_len);
    p->names = NULL;
    p->names_len = 0;
    p->job = 0;
    p->wanted = false;
}

void qport_open(struct qport *p, struct net_name *names, size_t n, int tries_max)
{
    qport_close(p);
    p->names = names;
    p->names_len = n;
    p->tries = 0;
    p->tries_max = tries_max;
    p->retry_ms = 0;
    p->wanted = true;
}

static bool any_address(const struct sockaddr_storage *sa)
{
    return sa->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

/* Returns 0 or an errno. */
static int listen_at(struct qport *p, const struct sockaddr_storage *sa)
{
    int one = 1, v6only = !any_address(sa), error;
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    struct qlistener *l = x_calloc(1, sizeof(*l));
    *l = (struct qlistener){ .source.kind = QSOURCE_LISTENER, .port = p, .fd = fd };
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        (sa->ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) == 0) &&
        bind(fd, (const struct sockaddr *)sa, net_addr_len(sa)) == 0 && listen(fd, BACKLOG) == 0 &&
        qnet_watch(p->q, fd, EPOLLIN, &l->source) == 0) {
        VEC_PUSH(&p->listeners, l);
        return 0;
    }
    error = errno;
    close(fd);
    free(l);
    return error;
}

/* Of a name's addresses some may be another machine's view of us: one that can be bound is enough. An address in use is a failure. */
static int bind_all(struct qport *p, const struct resolver_answer *a, char *why, size_t why_size)
{
    (void)snprintf(why, why_size, "no address for %.100s", p->names[0].host); /* fits */
    for (size_t i = 0; i < a->n; i++) {
        char text[ADDR_TEXT_MAX];
        int error = listen_at(p, &a->addrs[i]);

        addr_format((const struct sockaddr *)&a->addrs[i], text);
        if (error == 0)
            log_info("quorum", "%s port: listening on %s", port_name(p), text);
        else
            (void)snprintf(why, why_size, "%s: %s", text, strerror(error)); /* fits */
        if (error != 0 && error != EADDRNOTAVAIL && error != EAFNOSUPPORT)
            return RC_INUSE;
    }
    return p->listeners.len > 0 ? 0 : RC_UNAVAIL;
}

static void failed(struct qport *p, const char *why)
{
    struct qnet *q = p->q;
    char text[QNET_WHY_MAX + 64];

    close_listeners(p);
    p->tries++;
    (void)snprintf(text, sizeof(text), "cannot listen on the %s port: %s", port_name(p), why); /* fits */
    if (p->tries_max == 0 || p->tries < p->tries_max) {
        log_warn("quorum", "%s; trying again", text);
        p->retry_ms = q->now_ms + RETRY_MS;
        return;
    }
    qport_close(p);
    log_error("quorum", "%s", text);
    if (p->election && q->ev.election_port_failed)
        q->ev.election_port_failed(q->ev.data, text);
    if (!p->election && q->ev.lead_failed)
        q->ev.lead_failed(q->ev.data, text);
}

void qport_resolved(struct qport *p, const struct resolver_answer *a)
{
    struct qnet *q = p->q;
    char why[QNET_WHY_MAX];

    p->job = 0;
    if (bind_all(p, a, why, sizeof(why)) != 0) {
        failed(p, why);
        return;
    }
    p->open = true;
    if (!p->election && q->ev.lead_listening)
        q->ev.lead_listening(q->ev.data);
}

/* The ports on every address: IPv6 with IPv4 in it, or IPv4 where there is no IPv6. */
static void bind_wildcard(struct qport *p)
{
    struct net_name *names = x_calloc(p->names_len, sizeof(*names));
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *any = probe >= 0 ? "::" : "0.0.0.0";
    struct resolver_answer a;

    if (probe >= 0)
        close(probe);
    for (size_t i = 0; i < p->names_len; i++)
        names[i] = (struct net_name){ x_strdup(any), p->names[i].port };
    ASSERT(resolve_literals(names, p->names_len, &a));
    net_names_free(names, p->names_len);
    qport_resolved(p, &a);
    free(a.addrs);
}

void qport_timer(struct qport *p)
{
    struct qnet *q = p->q;
    struct resolver_answer a;

    for (size_t i = 0; i < p->listeners.len; i++) {
        struct qlistener *l = p->listeners.items[i];
        if (l->muted_until_ms && l->muted_until_ms <= q->now_ms && qnet_watch(q, l->fd, EPOLLIN, &l->source) == 0)
            l->muted_until_ms = 0;
    }
    if (!p->wanted || p->open || p->job || p->retry_ms > q->now_ms)
        return;
    if (q->opt.listen_on_all_ips) {
        bind_wildcard(p);
    } else if (resolve_literals(p->names, p->names_len, &a)) {
        qport_resolved(p, &a);
        free(a.addrs);
    } else {
        p->job = resolver_ask(q->resolver, p->names, p->names_len);
    }
}

int64_t qport_next_wake(const struct qport *p)
{
    int64_t wake = p->wanted && !p->open && !p->job ? p->retry_ms : QNET_NEVER;

    for (size_t i = 0; i < p->listeners.len; i++)
        if (p->listeners.items[i]->muted_until_ms)
            wake = MIN(wake, p->listeners.items[i]->muted_until_ms);
    return wake;
}

/* No descriptors or memory: the waiting connection would wake us without end. */
static void mute(struct qlistener *l, int error)
{
    struct qnet *q = l->port->q;

    qnet_gripe(q, "cannot accept on the %s port: %s", port_name(l->port), strerror(error));
    if (epoll_ctl(q->epoll, EPOLL_CTL_DEL, l->fd, NULL) == 0)
        l->muted_until_ms = q->now_ms + MUTE_MS;
}

void qlistener_event(struct qlistener *l)
{
    struct qnet *q = l->port->q;

    for (int i = 0; i < ACCEPT_SHARE && !l->source.dead; i++) {
        struct sockaddr_storage from = { 0 };
        socklen_t len = sizeof(from);
        int fd = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                mute(l, errno);
            return; /* nobody waits, or who did is gone */
        }
        qnet_socket_options(q, fd);
        if (l->port->election)
            election_accepted(q, fd, &from);
        else
            leader_accepted(q, fd, &from);
    }
}
