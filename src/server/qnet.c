/* qnet.c - life of the quorum sockets and the turn of their loop. */
#include "qnet_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define GRIPE_WINDOW_MS 10000
#define GRIPES 5

int qnet_watch(struct qnet *q, int fd, uint32_t events, struct qsource *s)
{
    struct epoll_event ev = { .events = events, .data.ptr = s };

    return epoll_ctl(q->epoll, EPOLL_CTL_ADD, fd, &ev);
}

void qnet_bury(struct qnet *q, struct qsource *s)
{
    s->dead = true;
    list_push_back(&q->graves, &s->grave);
}

static void empty_graves(struct qnet *q)
{
    LIST_EACH_SAFE(it, &q->graves) {
        struct qsource *s = CONTAINER_OF(it, struct qsource, grave);
        if (s->kind == QSOURCE_CONN)
            qconn_free(CONTAINER_OF(s, struct qconn, source));
        else if (s->kind == QSOURCE_DIAL)
            qdial_free(CONTAINER_OF(s, struct qdial, source));
        else
            free(CONTAINER_OF(s, struct qlistener, source));
    }
    list_init(&q->graves);
}

void qnet_socket_options(const struct qnet *q, int fd)
{
    int one = 1;

    /* Only latency is at stake when these fail. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (q->opt.tcp_keepalive)
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

/* Data and its identities: the latter are short names, whatever a single one may be. */
size_t qnet_max_packet(const struct qnet *q)
{
    return (size_t)q->opt.max_buffer * 2 + 65536;
}

void qnet_gripe(struct qnet *q, const char *fmt, ...)
{
    char text[512];
    int64_t now = qnet_now(q);
    va_list ap;

    if (now - q->gripe_since_ms >= GRIPE_WINDOW_MS) {
        if (q->gripes_kept > 0)
            log_warn("quorum", "%u more lines like these were left out", q->gripes_kept);
        q->gripe_since_ms = now;
        q->gripes = q->gripes_kept = 0;
    }
    if (q->gripes >= GRIPES) {
        q->gripes_kept++;
        return;
    }
    q->gripes++;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* a longer line is cut */
    va_end(ap);
    log_warn("quorum", "%s", text);
}

int qnet_new(const struct qnet_options *opt, const struct qnet_events *ev, struct qnet **ret)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0)
        return RC_IO;
    struct qnet *q = x_calloc(1, sizeof(*q));
    q->opt = *opt;
    q->ev = *ev;
    q->epoll = fd;
    q->opt.cnx_timeout_ms = opt->cnx_timeout_ms > 0 ? opt->cnx_timeout_ms : 5000;
    q->opt.hello_timeout_ms = opt->hello_timeout_ms > 0 ? opt->hello_timeout_ms : 5000;
    q->opt.follow_delay_ms = opt->follow_delay_ms > 0 ? opt->follow_delay_ms : 100;
    q->opt.max_buffer = opt->max_buffer > 0 ? opt->max_buffer : QP_MAX_BUFFER_DEFAULT;
    q->opt.max_queue = opt->max_queue > 0 ? opt->max_queue : QNET_MAX_QUEUE_DEFAULT;
    list_init(&q->conns);
    list_init(&q->dials);
    list_init(&q->dirty);
    list_init(&q->ready);
    list_init(&q->graves);
    q->arena = arena_init();
    q->election_port = (struct qport){ .q = q, .election = true };
    q->quorum_port = (struct qport){ .q = q };
    q->follow.retry_ms = QNET_NEVER;
    q->gripe_since_ms = -GRIPE_WINDOW_MS;
    election_init(q);
    q->resolver = resolver_new(opt->resolve, opt->resolve_data);
    q->resolver_source.kind = QSOURCE_RESOLVER;
    q->waker_source.kind = QSOURCE_WAKER;
    q->found_count = -1;
    if (!q->resolver || qnet_watch(q, resolver_fd(q->resolver), EPOLLIN, &q->resolver_source) != 0) {
        qnet_free(q);
        return RC_IO;
    }
    *ret = q;
    return 0;
}

void qnet_free(struct qnet *q)
{
    if (!q)
        return;
    ASSERT(!q->running);
    qport_close(&q->election_port);
    qport_close(&q->quorum_port);
    follow_end(q);
    leader_close_all(q, false);
    election_done(q);
    LIST_EACH_SAFE(it, &q->conns)
        qconn_close(CONTAINER_OF(it, struct qconn, link), RC_CANCELLED);
    LIST_EACH_SAFE(it, &q->dials)
        qdial_cancel(CONTAINER_OF(it, struct qdial, link));
    empty_graves(q);
    u64map_free(&q->peers, NULL);
    quorum_config_unref(q->committed);
    quorum_config_unref(q->last_seen);
    quorum_config_unref(q->self_config);
    arena_free(&q->arena);
    resolver_free(q->resolver);
    close(q->epoll);
    free(q);
}

int qnet_fd(const struct qnet *q)
{
    return q->epoll;
}

int qnet_wake_by(struct qnet *q, int fd)
{
    return qnet_watch(q, fd, EPOLLIN | EPOLLET, &q->waker_source) == 0 ? 0 : RC_IO;
}

/* What is found stays valid until the turn: what is closed between is only freed at the end of one. */
void qnet_wait(struct qnet *q, int wait_ms)
{
    ASSERT(!q->running);
    q->found_count = MAX(0, epoll_wait(q->epoll, q->found, QNET_EVENTS, wait_ms)); /* interrupted: as if nothing came */
}

static void swap_config(struct quorum_config **slot, struct quorum_config *c)
{
    struct quorum_config *old = *slot;

    *slot = c ? quorum_config_ref(c) : NULL;
    quorum_config_unref(old);
}

void qnet_set_configs(struct qnet *q, struct quorum_config *committed, struct quorum_config *last_seen)
{
    struct quorum_config *both[] = { committed, last_seen };

    ASSERT(committed);
    swap_config(&q->committed, committed);
    swap_config(&q->last_seen, last_seen);
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        const struct quorum_member *self = both[i] ? quorum_config_member(both[i], q->opt.my_sid) : NULL;
        if (!self)
            continue;
        swap_config(&q->self_config, both[i]);
        q->self = self;
        break;
    }
    election_configs_changed(q);
}

/* ---- the loop ---- */

int64_t qnet_next_wake(const struct qnet *q)
{
    int64_t wake = MIN(qport_next_wake(&q->election_port), qport_next_wake(&q->quorum_port));

    if (!list_empty(&q->dirty) || !list_empty(&q->ready))
        return 0;
    wake = MIN(wake, q->follow.retry_ms);
    LIST_EACH(it, &q->dials)
        wake = MIN(wake, CONTAINER_OF(it, struct qdial, link)->deadline_ms);
    LIST_EACH(it, &q->conns)
        wake = MIN(wake, CONTAINER_OF(it, struct qconn, link)->deadline_ms);
    return wake;
}

static void take_answers(struct qnet *q)
{
    struct resolver_answer a;

    while (resolver_next(q->resolver, &a)) {
        if (a.job == q->election_port.job)
            qport_resolved(&q->election_port, &a);
        else if (a.job == q->quorum_port.job)
            qport_resolved(&q->quorum_port, &a);
        LIST_EACH_SAFE(it, &q->dials) {
            struct qdial *d = CONTAINER_OF(it, struct qdial, link);
            if (d->job == a.job) {
                qdial_resolved(d, &a);
                break;
            }
        }
        free(a.addrs);
    }
}

static void dispatch(struct qnet *q, struct qsource *s, uint32_t events)
{
    if (s->dead)
        return;
    switch (s->kind) {
    case QSOURCE_RESOLVER:
        take_answers(q);
        break;
    case QSOURCE_WAKER:
        break;
    case QSOURCE_LISTENER:
        qlistener_event(CONTAINER_OF(s, struct qlistener, source));
        break;
    case QSOURCE_DIAL:
        qdial_event(CONTAINER_OF(s, struct qdial, source), events);
        break;
    case QSOURCE_CONN:
        qconn_event(CONTAINER_OF(s, struct qconn, source), events);
        break;
    }
}

/* Callbacks may take any connection or attempt out of the lists, so the walk starts again after each that is due. */
static bool one_dial_timer(struct qnet *q)
{
    LIST_EACH(it, &q->dials) {
        struct qdial *d = CONTAINER_OF(it, struct qdial, link);
        if (d->deadline_ms <= q->now_ms) {
            qdial_timer(d);
            return true;
        }
    }
    return false;
}

static bool one_conn_timer(struct qnet *q)
{
    LIST_EACH(it, &q->conns) {
        struct qconn *c = CONTAINER_OF(it, struct qconn, link);
        if (c->deadline_ms > q->now_ms)
            continue;
        if (c->auth && auth_skip(c))
            return true;
        if (c->role == QCONN_HELLO && !c->auth)
            qnet_gripe(q, "%s said nothing on the election port in time: connection closed", c->from);
        c->deadline_ms = QNET_NEVER;
        qconn_fail(c, "timed out");
        return true;
    }
    return false;
}

static void run_timers(struct qnet *q)
{
    qport_timer(&q->election_port);
    qport_timer(&q->quorum_port);
    follow_timer(q);
    while (one_dial_timer(q))
        ;
    while (one_conn_timer(q))
        ;
}

/* Takes what is in the list now; what comes into it meanwhile waits for the next turn. */
static void run_list(struct list *l, size_t offset, void (*fn)(struct qconn *c))
{
    struct list now;

    list_init(&now);
    while (!list_empty(l)) {
        struct list *it = l->next;
        list_remove(it);
        list_push_back(&now, it);
    }
    while (!list_empty(&now)) {
        struct list *it = now.next;
        list_remove(it);
        fn((struct qconn *)(void *)((char *)it - offset));
    }
}

static void flush_in_turn(struct qconn *c)
{
    qconn_flush(c, true);
}

static void flush_between(struct qconn *c)
{
    qconn_flush(c, false);
    if (c->streaming)
        qconn_mark_dirty(c);
}

void qnet_run(struct qnet *q, int64_t now_ms)
{
    if (q->found_count < 0)
        qnet_wait(q, 0);
    q->running = true;
    q->now_ms = now_ms;
    for (int i = 0; i < q->found_count; i++)
        dispatch(q, q->found[i].data.ptr, q->found[i].events);
    q->found_count = -1;
    run_timers(q);
    run_list(&q->ready, offsetof(struct qconn, ready), qconn_ready);
    run_list(&q->dirty, offsetof(struct qconn, dirty), flush_in_turn);
    q->running = false;
    empty_graves(q);
}

void qnet_flush(struct qnet *q)
{
    run_list(&q->dirty, offsetof(struct qconn, dirty), flush_between);
}
