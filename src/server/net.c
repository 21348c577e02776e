/* net.c - the net threads: one epoll loop each; thread 0 also accepts.
 *
 * A turn     1. read the sockets that are ready, one chunk each, without any lock;
 *            2. take the read slot once: swap the outbox out and deliver it, then parse and execute what was read;
 *            3. push the turn's writes to the core thread as one batch;
 *            4. send what connections have to say, one system call each; free what was closed.
 *            The batch goes out after the reads were executed, so that a read never sees a later write of its own connection.
 * Events     Edge-triggered and registered once: back-pressure is just not reading, without a system call. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server_internal.h"

#define TAG_WAKER UINT64_MAX
#define TAG_MOVE (UINT64_MAX - 1)     /* the place that clients move to has an address */
#define TAG_LISTENER (UINT64_MAX - 2) /* and below: listener index */
enum { EPOLL_EVENTS = 256, ACCEPT_BATCH = 64, SWEEP_MS = 500, ACCEPT_PAUSE_MS = 100 };

/* ---- lists ---- */

void net_want_flush(struct net *n, struct conn *c)
{
    if (c->in_flush || c->state == CONN_DEAD)
        return;
    c->in_flush = true;
    VEC_PUSH(&n->flush, c);
}

void net_want_ready(struct net *n, struct conn *c)
{
    if (c->in_ready || c->state == CONN_DEAD)
        return;
    c->in_ready = true;
    VEC_PUSH(&n->ready, c);
}

struct conn *net_find(struct net *n, uint64_t id)
{
    uint32_t slot = conn_id_slot(id);
    struct conn *c = slot < n->slots.len ? n->slots.items[slot] : NULL;

    return c && c->id == id ? c : NULL;
}

struct core_msg *net_message(struct net *n, enum core_msg_type type, const struct conn *c)
{
    struct core_msg m = { .type = type, .conn = c->id };

    if (!n->batch)
        n->batch = inbox_spare(&n->s->inbox);
    VEC_PUSH(&n->batch->msgs, m);
    return &n->batch->msgs.items[n->batch->msgs.len - 1];
}

static void net_push_batch(struct net *n)
{
    if (!n->batch || n->batch->msgs.len == 0)
        return;
    inbox_push(&n->s->inbox, n->batch);
    n->batch = NULL;
    waker_wake(&n->s->core_waker);
}

void net_wake(struct net *n)
{
    atomic_store(&n->mail, true);
    waker_wake(&n->waker);
}

/* ---- connections come ---- */

static uint32_t ip_count(struct server *s, const char *ip, int change)
{
    pthread_mutex_lock(&s->ip_mutex);
    uintptr_t count = (uintptr_t)strmap_get_s(&s->ip_counts, ip);
    count = (uintptr_t)((intptr_t)count + change);
    if (change != 0 && count > 0)
        strmap_set_s(&s->ip_counts, ip, (void *)count);
    else if (change != 0)
        strmap_del_s(&s->ip_counts, ip);
    pthread_mutex_unlock(&s->ip_mutex);
    return (uint32_t)count;
}

/* Counts the connection in, or says why not. */
static const char *admit(struct server *s, const struct accepted *a)
{
    char ip[ADDR_TEXT_MAX];

    if (s->cfg->max_cnxns > 0 && atomic_load(&s->connections) >= s->cfg->max_cnxns)
        return "too many connections (maxCnxns)";
    addr_format_ip((const struct sockaddr *)&a->addr, ip);
    if (ip_count(s, ip, 1) > (uint32_t)s->cfg->max_client_cnxns && s->cfg->max_client_cnxns > 0) {
        (void)ip_count(s, ip, -1);
        return "too many connections from this address (maxClientCnxns)";
    }
    atomic_fetch_add(&s->connections, 1);
    return NULL;
}

static void hand_over(struct server *s, const struct accepted *a)
{
    struct net *to = &s->nets[s->next_net++ % s->net_count];

    pthread_mutex_lock(&to->fd_mutex);
    VEC_PUSH(&to->fds, *a);
    pthread_mutex_unlock(&to->fd_mutex);
    net_wake(to);
}

static void net_accept(struct net *n, struct listener *l)
{
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct accepted a = { 0 };
        socklen_t len = sizeof(a.addr);

        a.fd = accept4(l->fd, (struct sockaddr *)&a.addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (a.fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (a.fd < 0) {
            if (errno != EAGAIN) { /* out of descriptors: pause, or the level-triggered listener would spin */
                log_warn("server", "accept on %s: %s", l->text, strerror(errno));
                n->accept_again_ms = n->now_us / 1000 + ACCEPT_PAUSE_MS;
                (void)epoll_ctl(n->epfd, EPOLL_CTL_DEL, l->fd, NULL); /* it is registered: cannot fail */
            }
            return;
        }
        const char *refused = admit(n->s, &a);
        if (refused) {
            char peer[ADDR_TEXT_MAX];

            addr_format((const struct sockaddr *)&a.addr, peer);
            log_warn("server", "%s: refused: %s", peer, refused);
            stats_add(&n->stats, CTR_CONNECTIONS_REJECTED, 1);
            close(a.fd);
            continue;
        }
        hand_over(n->s, &a);
    }
}

void net_listen(struct net *n)
{
    for (size_t i = 0; i < n->s->listeners.len; i++) {
        struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TAG_LISTENER - i };

        if (n->s->listeners.items[i].fd >= 0 && epoll_ctl(n->epfd, EPOLL_CTL_ADD, n->s->listeners.items[i].fd, &ev) < 0 && errno != EEXIST)
            log_error("server", "epoll: listener: %s", strerror(errno));
    }
    n->accept_again_ms = 0;
}

bool net_watch_move(struct net *n, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TAG_MOVE };

    return epoll_ctl(n->epfd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void net_add(struct net *n, const struct accepted *a)
{
    int on = 1;
    struct conn *c = conn_new(n, a);
    uint32_t slot;

    /* Neither option matters for correctness: failures are ignored. */
    (void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (n->s->cfg->tcp_keepalive)
        (void)setsockopt(a->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (n->free_slots.len > 0) {
        slot = n->free_slots.items[--n->free_slots.len];
    } else {
        slot = (uint32_t)n->slots.len;
        VEC_PUSH(&n->slots, NULL);
    }
    n->generation = n->generation + 1 ? n->generation + 1 : 1;
    c->id = conn_id(n->index, n->generation, slot);
    n->slots.items[slot] = c;
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = c->id };
    if (epoll_ctl(n->epfd, EPOLL_CTL_ADD, a->fd, &ev) < 0)
        conn_close(n, c, "epoll refuses it");
}

static void net_take_fds(struct net *n)
{
    struct accepted *items;
    size_t count;

    pthread_mutex_lock(&n->fd_mutex);
    items = n->fds.items;
    count = n->fds.len;
    n->fds.items = NULL;
    n->fds.len = n->fds.cap = 0;
    pthread_mutex_unlock(&n->fd_mutex);
    if (count > 0) {
        treelock_read_lock(n->s->lock, n->index); /* the core thread may walk our slots */
        for (size_t i = 0; i < count; i++)
            net_add(n, &items[i]);
        treelock_read_unlock(n->s->lock, n->index);
    }
    free(items);
}

/* ---- connections go ---- */

static void conns_drop_dead(struct conns *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->len; i++)
        if (l->items[i]->state != CONN_DEAD)
            l->items[kept++] = l->items[i];
    l->len = kept;
}

static void net_reap(struct net *n)
{
    if (n->dying.len == 0)
        return;
    conns_drop_dead(&n->ready);
    conns_drop_dead(&n->touched);
    treelock_read_lock(n->s->lock, n->index);
    for (size_t i = 0; i < n->dying.len; i++) {
        struct conn *c = n->dying.items[i];

        watch_remove_all(n->watches, &c->watcher);
        n->slots.items[conn_id_slot(c->id)] = NULL;
        VEC_PUSH(&n->free_slots, conn_id_slot(c->id));
    }
    treelock_read_unlock(n->s->lock, n->index);
    for (size_t i = 0; i < n->dying.len; i++) {
        (void)ip_count(n->s, n->dying.items[i]->peer_ip, -1);
        atomic_fetch_sub(&n->s->connections, 1);
        conn_free(n, n->dying.items[i]);
    }
    n->dying.len = 0;
}

/* Closes what has waited too long: for a session, for the peer to read the last reply, or for its end. Frees the buffers of the idle. */
static void net_sweep(struct net *n)
{
    int64_t now = n->now_us / 1000;

    n->next_sweep_ms = now + SWEEP_MS;
    for (size_t i = 0; i < n->slots.len; i++) {
        struct conn *c = n->slots.items[i];
        int64_t age = c ? now - c->state_ms : 0;

        if (!c)
            continue;
        if (c->out.n == 0 && c->out.cap > 0 && now - atomic_load_explicit(&c->stats.last_response_ms, RELAXED) > SWEEP_MS)
            wr_free(&c->out);
        if (c->state == CONN_LINGER && age >= LINGER_MS) {
            conn_close(n, c, NULL);
        } else if (c->state == CONN_CLOSING && age >= n->s->cfg->sessionless_timeout_ms) {
            conn_close(n, c, NULL);
        } else if (c->state == CONN_NEW && age >= n->s->cfg->sessionless_timeout_ms) {
            stats_add(&n->stats, CTR_SESSIONLESS_EXPIRED, 1);
            conn_close(n, c, NULL);
        }
    }
}

/* ---- a turn ---- */

static void net_swap_outbox(struct net *n)
{
    struct outbox t = n->front;

    n->front = n->outbox;
    n->outbox = t;
}

static void net_deliver(struct net *n)
{
    for (size_t i = 0; i < n->front.items.len; i++)
        conn_deliver(n, &n->front.items.items[i], n->front.bytes.p + n->front.items.items[i].off);
    outbox_clear(&n->front);
}

void net_give_way(struct net *n)
{
    if (LIKELY(!treelock_contended(n->s->lock)))
        return;
    treelock_read_unlock(n->s->lock, n->index);
    treelock_read_lock(n->s->lock, n->index);
    net_swap_outbox(n);
    net_deliver(n);
}

/* Moves the ready connections to this turn and reads their sockets, as far as the read buffer goes. */
static void net_receive(struct net *n)
{
    struct conns t = n->turn;

    n->turn = n->ready;
    n->ready = t;
    n->ready.len = 0;
    n->rbuf_used = 0;
    for (size_t i = 0; i < n->turn.len; i++)
        n->turn.items[i]->in_ready = false;
    for (size_t i = 0; i < n->turn.len; i++) {
        if (n->rbuf_used + NET_CHUNK > NET_RBUF) {
            for (size_t k = i; k < n->turn.len; k++)
                net_want_ready(n, n->turn.items[k]);
            n->turn.len = i;
            break;
        }
        conn_receive(n, n->turn.items[i]);
    }
}

/* Under the read slot: first what the core thread has for us, then the requests. The order is the point: an event precedes every reply
 * that shows the changed data. */
static void net_execute(struct net *n, bool mail)
{
    if (n->turn.len == 0 && !mail)
        return;
    treelock_read_lock(n->s->lock, n->index);
    net_swap_outbox(n);
    if (n->turn.len > 0) {
        net_deliver(n);
        for (size_t i = 0; i < n->turn.len; i++)
            conn_execute(n, n->turn.items[i]);
    }
    treelock_read_unlock(n->s->lock, n->index);
    net_deliver(n); /* nothing, or all there is: no read follows, so it need not hold up the writer */
}

static void net_four_letters(struct net *n)
{
    struct wr w = wr_init(0);

    for (size_t i = 0; i < n->four.len; i++) {
        struct conn *c = n->four.items[i].c;
        int word = n->four.items[i].word;

        if (c->state != CONN_FOUR)
            continue;
        wr_reset(&w);
        bool asked_for = word == FOUR_isro && n->s->cfg->read_only_mode; /* its clients poll for a way out */
        if (!asked_for && !four_letter_allowed(n->s->cfg->four_letter_whitelist, word))
            wr_printf(&w, "%s is not executed because it is not in the whitelist.\n", four_letter_name(word));
        else if (four_letter_local(word))
            four_letter_answer(n->s, word, &w);
        else {
            net_message(n, MSG_FOUR_LETTER, c)->word = word;
            continue;
        }
        conn_append_text(n, c, buf_of(w.p, w.n));
    }
    n->four.len = 0;
    wr_free(&w);
}

static void net_after_turn(struct net *n)
{
    for (size_t i = 0; i < n->turn.len; i++) {
        struct conn *c = n->turn.items[i];

        conn_keep_rest(n, c);
        if (c->eof && !c->blocked && c->state != CONN_FOUR && c->state != CONN_CLOSING && c->state != CONN_ENDING)
            conn_close(n, c, NULL);
        else if (c->readable && !c->blocked)
            net_want_ready(n, c);
    }
    n->turn.len = 0;
    if (n->turn_reads > 0)
        stats_record_n(&n->stats, SUM_READ_LATENCY, (uint64_t)(clock_mono_us() - n->now_us), n->turn_reads);
    n->turn_reads = 0;
}

void net_tell_touch(struct net *n, struct conn *c)
{
    if (c->touched && c->session_id != 0 && c->state != CONN_DEAD)
        net_message(n, MSG_TOUCH, c)->session_id = c->session_id;
    c->touched = false;
}

/* Tells the core thread which sessions were heard of. Late by a little, never early: a session's clock starts when this arrives. Batched, since
 * otherwise every read would wake the core thread. */
static void net_touch(struct net *n)
{
    int64_t now = n->now_us / 1000;

    if (n->touched.len == 0 || now < n->next_touch_ms)
        return;
    n->next_touch_ms = now + MAX(1, MIN(100, n->s->cfg->tick_ms / 10));
    for (size_t i = 0; i < n->touched.len; i++) {
        struct conn *c = n->touched.items[i];

        atomic_store_explicit(&c->stats.last_active_ms, now, RELAXED);
        net_tell_touch(n, c);
    }
    n->touched.len = 0;
}

static void net_flush(struct net *n)
{
    for (size_t i = 0; i < n->flush.len; i++) { /* may not grow: nothing here appends output */
        n->flush.items[i]->in_flush = false;
        conn_flush(n, n->flush.items[i]);
    }
    n->flush.len = 0;
}

static void net_turn(struct net *n)
{
    /* Cleared before looking: whoever adds afterwards sets it again. */
    bool mail = atomic_exchange(&n->mail, false);

    stats_catch_up(&n->stats, atomic_load_explicit(&n->s->generation, RELAXED));
    if (mail)
        net_take_fds(n);
    if (mail && n->index == 0)
        listen_take_move(n);
    if (!n->quiescent)
        net_receive(n);
    net_execute(n, mail);
    net_four_letters(n);
    net_after_turn(n);
    net_touch(n);
    net_push_batch(n);
    net_flush(n);
    if (n->now_us / 1000 >= n->next_sweep_ms)
        net_sweep(n);
    net_reap(n);
    net_push_batch(n); /* disconnects */
}

/* ---- the loop ---- */

static void net_conn_event(struct net *n, struct conn *c, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->hung_up = true;
    if ((events & EPOLLERR) || (events & EPOLLHUP && c->blocked)) {
        conn_close(n, c, NULL); /* nobody is there to read a reply */
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) {
        c->readable = true;
        if (!c->blocked)
            net_want_ready(n, c);
    }
    if (events & EPOLLOUT && c->out.n > c->out_sent)
        net_want_flush(n, c);
}

static int net_timeout(struct net *n)
{
    int64_t now = clock_mono_us() / 1000, due = n->next_sweep_ms;

    if (n->ready.len > 0 && !n->quiescent)
        return 0;
    if (n->slots.len == n->free_slots.len)
        due = INT64_MAX;
    if (n->touched.len > 0)
        due = MIN(due, n->next_touch_ms);
    if (n->accept_again_ms > 0)
        due = MIN(due, n->accept_again_ms);
    return due == INT64_MAX ? -1 : (int)MAX(due - now, 0);
}

static void net_wait(struct net *n)
{
    struct epoll_event events[EPOLL_EVENTS];
    int timeout = net_timeout(n);

    atomic_store(&n->waker.sleeping, timeout != 0);
    if (timeout != 0 && atomic_load(&n->mail))
        timeout = 0;
    int count = epoll_wait(n->epfd, events, EPOLL_EVENTS, timeout);
    atomic_store(&n->waker.sleeping, false);
    n->now_us = clock_mono_us();
    for (int i = 0; i < count; i++) {
        uint64_t tag = events[i].data.u64;

        if (tag == TAG_WAKER) /* edge-triggered: need not be read */
            continue;
        if (tag == TAG_MOVE) {
            listen_move_resolved(n);
            continue;
        }
        if (tag > TAG_LISTENER - n->s->listeners.len) {
            if (!n->quiescent)
                net_accept(n, &n->s->listeners.items[TAG_LISTENER - tag]);
            continue;
        }
        struct conn *c = net_find(n, tag);
        if (c && c->state != CONN_DEAD)
            net_conn_event(n, c, events[i].events);
    }
    if (n->accept_again_ms > 0 && n->now_us / 1000 >= n->accept_again_ms && !n->quiescent)
        net_listen(n);
}

/* Stops reading; what is under way is finished by the others. */
static void net_quiesce(struct net *n)
{
    if (n->index == 0)
        for (size_t i = 0; i < n->s->listeners.len; i++)
            (void)epoll_ctl(n->epfd, EPOLL_CTL_DEL, n->s->listeners.items[i].fd, NULL); /* may be paused */
    n->quiescent = true;
    net_push_batch(n);
    atomic_fetch_add(&n->s->quiet_nets, 1);
    waker_wake(&n->s->core_waker);
}

static void *net_main(void *arg)
{
    struct net *n = arg;

    if (n->index == 0)
        net_listen(n);
    for (;;) {
        int stop = atomic_load(&n->s->stop);

        if (stop != RUNNING && !n->quiescent)
            net_quiesce(n);
        if (stop != DRAINED)
            net_wait(n);
        net_turn(n);
        if (stop == DRAINED)
            break;
    }
    for (size_t i = 0; i < n->slots.len; i++)
        if (n->slots.items[i])
            conn_close(n, n->slots.items[i], NULL);
    net_reap(n);
    return NULL;
}

int net_init(struct net *n, struct server *s, uint32_t index)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = TAG_WAKER };

    n->s = s;
    n->index = index;
    n->rbuf = x_malloc(NET_RBUF);
    n->watches = watch_table_new(core_fire, n);
    n->epfd = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&n->fd_mutex, NULL);
    if (waker_init(&n->waker) < 0 || n->epfd < 0 || epoll_ctl(n->epfd, EPOLL_CTL_ADD, n->waker.fd, &ev) < 0)
        return RC_IO;
    return 0;
}

void net_start(struct net *n)
{
    n->now_us = clock_mono_us();
    ASSERT(pthread_create(&n->thread, NULL, net_main, n) == 0);
}

void net_done(struct net *n)
{
    for (size_t i = 0; i < n->fds.len; i++)
        close(n->fds.items[i].fd);
    VEC_FREE(&n->fds);
    VEC_FREE(&n->slots);
    VEC_FREE(&n->free_slots);
    VEC_FREE(&n->ready);
    VEC_FREE(&n->turn);
    VEC_FREE(&n->flush);
    VEC_FREE(&n->dying);
    VEC_FREE(&n->touched);
    VEC_FREE(&n->four);
    outbox_free(&n->outbox);
    outbox_free(&n->front);
    arena_free(&n->arena);
    if (n->batch) {
        inbox_recycle(&n->s->inbox, n->batch);
        n->batch = NULL;
    }
    free(n->rbuf);
    pthread_mutex_destroy(&n->fd_mutex);
    waker_done(&n->waker);
    if (n->epfd >= 0)
        close(n->epfd);
}
