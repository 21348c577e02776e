/* qnet_dial.c - one attempt to connect to a server: resolve its names, then try address after address. */
#include "qnet_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NOT_LAST_MS 1000 /* an address that does not answer gives way to the next */

struct qdial *qdial_new(struct qnet *q, bool to_leader, int64_t sid, struct net_name *names, size_t n, int64_t end_ms)
{
    struct qdial *d = x_calloc(1, sizeof(*d));

    d->source.kind = QSOURCE_DIAL;
    d->q = q;
    d->to_leader = to_leader;
    d->sid = sid;
    d->names = names;
    d->names_len = n;
    d->end_ms = end_ms;
    d->fd = -1;
    (void)snprintf(d->why, sizeof(d->why), "no address"); /* fits */
    list_push_back(&q->dials, &d->link);
    return d;
}

void qdial_free(struct qdial *d)
{
    net_names_free(d->names, d->names_len);
    free(d->addrs.addrs);
    free(d);
}

void qdial_cancel(struct qdial *d)
{
    if (!d || d->source.dead)
        return;
    d->source.dead = true;
    list_remove(&d->link);
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    if (d->job)
        resolver_forget(d->q->resolver, d->job);
    qnet_bury(d->q, &d->source);
}

/* Hands the socket, or -1, to who asked for it. */
static void finish(struct qdial *d, int fd)
{
    d->fd = -1;
    if (fd >= 0)
        (void)epoll_ctl(d->q->epoll, EPOLL_CTL_DEL, fd, NULL); /* it is in there; its new owner adds it anew */
    qdial_cancel(d);
    if (d->to_leader)
        follow_dialed(d, fd);
    else
        election_dialed(d, fd);
}

static void address_failed(struct qdial *d, const struct sockaddr_storage *sa, int error)
{
    char text[ADDR_TEXT_MAX];

    addr_format((const struct sockaddr *)sa, text);
    (void)snprintf(d->why, sizeof(d->why), "%s: %s", text, strerror(error)); /* cut, if ever, at the end of a log line */
    d->silent = error == ETIMEDOUT;
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

/* Begins with the next address that lets us, or gives up. */
static void try_next(struct qdial *d)
{
    struct qnet *q = d->q;

    while (d->next < d->addrs.n) {
        const struct sockaddr_storage *sa = &d->addrs.addrs[d->next++];
        bool last = d->next == d->addrs.n;
        int64_t limit = d->end_ms == QNET_NEVER ? q->opt.cnx_timeout_ms
                                                : MIN(MAX(d->end_ms - q->now_ms, 1), MIN(q->opt.cnx_timeout_ms, q->opt.hello_timeout_ms));

        d->fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (d->fd < 0) {
            address_failed(d, sa, errno);
            continue;
        }
        qnet_socket_options(q, d->fd);
        if (connect(d->fd, (const struct sockaddr *)sa, net_addr_len(sa)) != 0 && errno != EINPROGRESS) {
            address_failed(d, sa, errno);
            continue;
        }
        /* One that is connected already is writable at once. */
        if (qnet_watch(q, d->fd, EPOLLOUT, &d->source) != 0) {
            address_failed(d, sa, errno);
            continue;
        }
        d->deadline_ms = q->now_ms + (last ? limit : MIN(limit, NOT_LAST_MS));
        return;
    }
    finish(d, -1);
}

void qdial_resolved(struct qdial *d, struct resolver_answer *a)
{
    d->job = 0;
    d->addrs = *a;
    *a = (struct resolver_answer){ 0 };
    if (d->addrs.n == 0)
        (void)snprintf(d->why, sizeof(d->why), "no address for %.100s", d->names[0].host); /* fits */
    try_next(d);
}

static void begin(struct qdial *d)
{
    struct qnet *q = d->q;
    struct resolver_answer a;

    if (resolve_literals(d->names, d->names_len, &a)) {
        qdial_resolved(d, &a);
        return;
    }
    d->job = resolver_ask(q->resolver, d->names, d->names_len);
    d->deadline_ms = d->end_ms == QNET_NEVER ? q->now_ms + q->opt.cnx_timeout_ms : MAX(d->end_ms, q->now_ms + 1);
}

void qdial_timer(struct qdial *d)
{
    if (d->deadline_ms > d->q->now_ms)
        return;
    if (d->deadline_ms == 0) {
        begin(d);
    } else if (d->job) {
        (void)snprintf(d->why, sizeof(d->why), "no answer for the name %.100s", d->names[0].host); /* fits */
        finish(d, -1);
    } else {
        address_failed(d, &d->addrs.addrs[d->next - 1], ETIMEDOUT);
        try_next(d);
    }
}

void qdial_event(struct qdial *d, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);

    (void)events; /* whatever it is: connected or failed */
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0) {
        finish(d, d->fd);
        return;
    }
    address_failed(d, &d->addrs.addrs[d->next - 1], error);
    try_next(d);
}
