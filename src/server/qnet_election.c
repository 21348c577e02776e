/* qnet_election.c - who is connected with whom for elections: initial messages, one connection per pair, the last message for each. */
#include "qnet_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Having asked a server to call back, we give it so long before we ask again: asking twice would make it drop its first call. */
#define CALL_BACK_MS 100

static struct quorum_view view_of(const struct qnet *q)
{
    return (struct quorum_view){ q->committed, q->last_seen };
}

static bool is_member(const struct qnet *q, int64_t sid)
{
    const struct quorum_member *m[2];

    return q->committed && conn_targets(view_of(q), sid, m) > 0;
}

static struct qserver *find(const struct qnet *q, int64_t sid)
{
    return u64map_get(&q->servers, (uint64_t)sid);
}

static struct qserver *get(struct qnet *q, int64_t sid)
{
    struct qserver *s = find(q, sid);

    if (!s) {
        s = x_calloc(1, sizeof(*s));
        s->sid = sid;
        s->last = wr_init(4 + ELECTION_FRAME_MAX);
        s->called_ms = -CALL_BACK_MS;
        (void)u64map_set(&q->servers, (uint64_t)sid, s);
    }
    return s;
}

static void server_free(void *server)
{
    struct qserver *s = server;

    wr_free(&s->last);
    free(s);
}

/* Forgets a server that no configuration knows and nothing connects us with. */
static void drop_if_unused(struct qnet *q, struct qserver *s)
{
    if (s->conn || s->dial || s->greeting || is_member(q, s->sid))
        return;
    (void)u64map_del(&q->servers, (uint64_t)s->sid);
    server_free(s);
}

void election_init(struct qnet *q)
{
    q->anonymous = -1;
}

void election_done(struct qnet *q)
{
    qnet_election_restart(q);
    u64map_free(&q->servers, server_free);
}

/* ---- sending ---- */

/* The message leaves the queue when everything before it is written: until then a newer one may replace it. */
static void send_queued(struct qserver *s)
{
    if (!s->queued || !s->conn || s->conn->out.bytes > 0)
        return;
    s->queued = false;
    qconn_send_bytes(s->conn, s->last.p, s->last.n);
}

void election_writable(struct qconn *c)
{
    struct qserver *s = find(c->q, c->sid);

    if (s && s->conn == c)
        send_queued(s);
}

void election_closed(struct qconn *c)
{
    struct qserver *s = find(c->q, c->sid);

    if (!s || (s->conn != c && s->greeting != c))
        return;
    if (s->conn == c) {
        s->conn = NULL;
        follow_lost(c->q, s->sid);
    } else {
        s->greeting = NULL;
        s->called_ms = qnet_now(c->q); /* before we try again */
    }
    drop_if_unused(c->q, s);
}

/* Its connection from now on; an older one goes. */
static void adopt(struct qnet *q, struct qserver *s, struct qconn *c)
{
    struct qconn *old = s->conn, *greeting = s->greeting;
    unsigned silent_ms = (unsigned)MAX(q->opt.cnx_timeout_ms, q->opt.hello_timeout_ms);

    s->conn = c;
    c->sid = s->sid;
    c->deadline_ms = QNET_NEVER;
    qconn_set_role(c, QCONN_ELECTION);
    follow_lost(q, s->sid);
    if (old)
        qconn_close(old, 0);
    s->greeting = NULL;
    if (greeting && greeting != c)
        qconn_close(greeting, 0);
    qdial_cancel(s->dial);
    s->dial = NULL;
    /* There is no keep-alive on these connections: what is sent must be taken within this time, or the host is gone. Best effort. */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof(silent_ms));
    /* The last message may have been lost with the last connection. */
    s->queued = s->last.n > 0;
    send_queued(s);
    log_debug("quorum", "election connection with server %lld: %s", (long long)s->sid, c->from);
}

/* ---- connecting ---- */

struct name_list VEC(struct net_name);

static void add_name(struct name_list *l, struct buf host, uint16_t port)
{
    for (size_t i = 0; i < l->len; i++)
        if (buf_is(host, l->items[i].host) && l->items[i].port == port)
            return;
    VEC_PUSH(l, ((struct net_name){ buf_dup(host), port }));
}

/* first: addresses that it named itself, or NULL. */
static void connect_to(struct qnet *q, struct qserver *s, const struct hello *first)
{
    const struct quorum_member *m[2];
    struct name_list names = { 0 };
    size_t n = q->committed ? conn_targets(view_of(q), s->sid, m) : 0;

    if (s->dial || s->greeting)
        return;
    for (size_t i = 0; first && i < first->addrs_len; i++)
        add_name(&names, first->addrs[i].host, first->addrs[i].port);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m[i]->addrs_len; k++)
            add_name(&names, buf_str(m[i]->addrs[k].host), m[i]->addrs[k].election_port);
    if (names.len == 0)
        qnet_gripe(q, "server %lld has no known election address: not connecting to it", (long long)s->sid);
    else
        s->dial = qdial_new(q, false, s->sid, names.items, names.len, QNET_NEVER); /* takes the names */
}

static void connect_if_needed(struct qnet *q, struct qserver *s)
{
    if (!s->conn && !s->dial && !s->greeting && qnet_now(q) - s->called_ms >= CALL_BACK_MS)
        connect_to(q, s, NULL);
}

static void encode_hello(const struct qnet *q, struct wr *w)
{
    struct hello h = { .version = q->opt.multi_address ? HELLO_V2 : HELLO_V1, .sid = q->opt.my_sid };

    for (size_t i = 0; i < q->self->addrs_len && i < HELLO_ADDRS_MAX; i++)
        h.addrs[h.addrs_len++] = (struct hello_addr){ buf_str(q->self->addrs[i].host), q->self->addrs[i].election_port };
    hello_encode(w, &h);
}

/* Sends the hello and keeps the connection, or waits until it has arrived, which by TLS takes some turns. False: neither was possible. */
static bool greet_by_tls(struct qnet *q, struct qserver *s, const struct qdial *d, int fd, const struct wr *hello, bool keep)
{
    struct qconn *c = qconn_new(q, keep ? QCONN_ELECTION : QCONN_LINGER, fd);

    c->sid = s->sid;
    qconn_dialed(c, d);
    qconn_send_bytes(c, hello->p, hello->n);
    if (keep) {
        adopt(q, s, c);
        c->shaking = true;
        c->deadline_ms = qnet_now(q) + q->opt.cnx_timeout_ms;
    } else {
        qconn_linger(c, q->opt.cnx_timeout_ms);
    }
    return !c->broken;
}

/* Sends the hello and authenticates, in both cases: who is only asked to call back wants to know who asks. */
static void greet_and_authenticate(struct qnet *q, struct qserver *s, const struct qdial *d, int fd, const struct wr *hello)
{
    struct qconn *c = qconn_new(q, QCONN_GREETING, fd);

    c->sid = s->sid;
    c->deadline_ms = qnet_now(q) + q->opt.hello_timeout_ms;
    s->greeting = c;
    qconn_dialed(c, d);
    qconn_send_bytes(c, hello->p, hello->n);
    auth_begin(c, false);
}

void election_dialed(struct qdial *d, int fd)
{
    struct qnet *q = d->q;
    struct qserver *s = find(q, d->sid);
    struct wr w = wr_init(0);
    ssize_t sent = -1;
    bool keep = conn_decide(true, q->opt.my_sid, d->sid) == CONN_KEEP;

    ASSERT(s && s->dial == d);
    s->dial = NULL;
    if (fd < 0) {
        log_debug("quorum", "no election connection to server %lld: %s", (long long)d->sid, d->why);
        drop_if_unused(q, s);
        return;
    }
    if (q->self)
        encode_hello(q, &w);
    if (q->opt.sasl && q->opt.sasl_learner && w.n > 0) {
        greet_and_authenticate(q, s, d, fd, &w);
        wr_free(&w);
        return;
    }
    if (q->opt.tls && q->opt.tls_outgoing && w.n > 0) {
        bool greeted_it = greet_by_tls(q, s, d, fd, &w, keep);

        wr_free(&w);
        if (!keep && greeted_it)
            s->called_ms = qnet_now(q);
        drop_if_unused(q, s);
        return;
    }
    /* In one piece, before anything else: the reference takes what its first read gives for the whole message. */
    if (w.rc == 0 && w.n > 0)
        sent = send(fd, w.p, w.n, MSG_NOSIGNAL);
    bool whole = sent >= 0 && (size_t)sent == w.n;
    wr_free(&w);
    if (whole && keep) {
        adopt(q, s, qconn_new(q, QCONN_ELECTION, fd));
        return;
    }
    close(fd); /* what was sent still arrives: it calls us back */
    if (whole)
        s->called_ms = qnet_now(q);
    drop_if_unused(q, s);
}

/* ---- accepting ---- */

void election_accepted(struct qnet *q, int fd, const struct sockaddr_storage *from)
{
    if (q->hellos >= QNET_HELLOS_MAX) {
        char text[ADDR_TEXT_MAX];

        addr_format((const struct sockaddr *)from, text);
        qnet_gripe(q, "%s: too many connections on the election port that did not say who they are", text);
        close(fd);
        return;
    }
    struct qconn *c = qconn_new(q, QCONN_HELLO, fd);
    qconn_accepted(c);
    q->hellos++;
    c->deadline_ms = q->now_ms + q->opt.hello_timeout_ms;
}

static size_t strangers(const struct qnet *q)
{
    size_t n = 0;

    U64MAP_EACH(slot, &q->servers)
        n += !is_member(q, ((struct qserver *)slot->value)->sid);
    return n;
}

/* It may have to be told yet that it is authenticated. */
static void close_greeted(struct qconn *c)
{
    if (c->out.bytes == 0) {
        qconn_close(c, 0);
        return;
    }
    c->q->hellos--;
    qconn_linger(c, c->q->opt.cnx_timeout_ms);
}

static void greeted(struct qconn *c, const struct hello *h)
{
    struct qnet *q = c->q;
    int64_t sid = conn_local_sid(h->sid, &q->anonymous);
    enum conn_action action = conn_decide(false, q->opt.my_sid, sid);

    if (action == CONN_REFUSE) {
        qnet_gripe(q, "%s says that it is server %lld, which we are: connection closed", c->from, (long long)sid);
        qconn_close(c, 0);
        return;
    }
    /* A server that nobody has configured yet may be about to join. It can ask, and decides nothing. */
    if (!is_member(q, sid) && !find(q, sid) && strangers(q) >= QNET_STRANGERS_MAX) {
        qnet_gripe(q, "%s says that it is server %lld, which is in no configuration: too many of those", c->from, (long long)sid);
        qconn_close(c, 0);
        return;
    }
    struct qserver *s = get(q, sid);
    if (action == CONN_KEEP) {
        q->hellos--;
        adopt(q, s, c);
        return;
    }
    ASSERT(action == CONN_CALL_BACK);
    connect_to(q, s, h); /* first, so that closing does not forget the server */
    close_greeted(c);
    if ((s->dial || s->greeting) && s->conn)
        qconn_close(s->conn, 0);
    else
        drop_if_unused(q, s);
}

/* Told who they are, and authenticated, one of us two. */
void election_authenticated(struct qconn *c)
{
    struct qnet *q = c->q;
    struct hello h;
    size_t used;

    if (c->role == QCONN_HELLO) {
        ASSERT(hello_decode(c->hello.p, c->hello.n, &h, &used) == 0);
        greeted(c, &h);
        return;
    }
    struct qserver *s = find(q, c->sid);
    ASSERT(s && s->greeting == c);
    if (conn_decide(true, q->opt.my_sid, c->sid) == CONN_KEEP) {
        adopt(q, s, c);
        return;
    }
    s->called_ms = qnet_now(q); /* it calls us back */
    qconn_close(c, 0);
}

static void read_hello(struct qconn *c)
{
    struct hello h;
    size_t used = 0;
    int rc = hello_decode(c->in + c->in_off, c->in_len - c->in_off, &h, &used);

    if (rc == RC_SHORT && used <= c->in_max)
        return;
    if (rc != 0) {
        qnet_gripe(c->q, "%s sent no initial message to the election port (%s): connection closed", c->from, rc_str(rc));
        qconn_close(c, 0);
        return;
    }
    if (c->q->opt.sasl) {
        wr_bytes(&c->hello, c->in + c->in_off, used);
        qconn_consumed(c, used);
        auth_begin(c, true);
        return;
    }
    qconn_consumed(c, used); /* h borrows from the buffer, which stays as it is */
    greeted(c, &h);
}

static void read_frame(struct qconn *c)
{
    struct qnet *q = c->q;
    struct buf payload;
    struct notification n;
    size_t used = 0;
    int rc = election_frame_decode(c->in + c->in_off, c->in_len - c->in_off, &payload, &used);

    if (rc == RC_SHORT) {
        c->in_want = used;
        return;
    }
    if (rc != 0) {
        qnet_gripe(q, "%s, server %lld, sent a message with a wrong length (%s): connection closed", c->from, (long long)c->sid, rc_str(rc));
        qconn_fail(c, "wrong length of a message");
        return;
    }
    qconn_consumed(c, used);
    rc = notification_decode(payload, &n);
    if (rc != 0)
        qnet_gripe(q, "%s, server %lld, sent a malformed notification: skipped", c->from, (long long)c->sid);
    else if (q->ev.notification)
        q->ev.notification(q->ev.data, c->sid, &n);
}

void election_input(struct qconn *c)
{
    while (!c->source.dead && !c->auth && c->in_len > c->in_off && c->in_len - c->in_off >= c->in_want) {
        size_t before = c->in_off + c->in_len; /* changes when anything is consumed */

        if (c->role == QCONN_HELLO)
            read_hello(c);
        else
            read_frame(c);
        if (c->in_off + c->in_len == before)
            return;
    }
}

/* ---- for the owner ---- */

void qnet_election_send(struct qnet *q, int64_t sid, const struct notification *n)
{
    ASSERT(sid != q->opt.my_sid);
    if (!is_member(q, sid) && !find(q, sid)) {
        qnet_gripe(q, "nothing sent to server %lld: it is in no configuration and not connected", (long long)sid);
        return;
    }
    struct qserver *s = get(q, sid);
    wr_reset(&s->last);
    notification_frame(&s->last, n);
    s->queued = s->last.rc == 0;
    if (!s->queued) {
        log_error("quorum", "a notification for server %lld is too long: not sent", (long long)sid);
        wr_reset(&s->last);
        return;
    }
    send_queued(s);
    connect_if_needed(q, s);
}

void qnet_election_connect_all(struct qnet *q)
{
    struct sid_set voters = { 0 };

    if (q->committed)
        quorum_view_voters(view_of(q), &voters);
    for (size_t i = 0; i < voters.len; i++)
        if (voters.items[i] != q->opt.my_sid)
            connect_if_needed(q, get(q, voters.items[i]));
    sid_set_free(&voters);
}

bool qnet_election_queue_empty(const struct qnet *q)
{
    U64MAP_EACH(slot, &q->servers) {
        const struct qserver *s = slot->value;
        if (s->last.n > 0 && !s->queued)
            return true;
    }
    return false;
}

/* Calls fn for each server; fn may forget the one it is given. */
static void each_server(struct qnet *q, void (*fn)(struct qnet *q, struct qserver *s))
{
    struct VEC(struct qserver *) all = { 0 };

    U64MAP_EACH(slot, &q->servers)
        VEC_PUSH(&all, (struct qserver *)slot->value);
    for (size_t i = 0; i < all.len; i++)
        fn(q, all.items[i]);
    VEC_FREE(&all);
}

static void restart_one(struct qnet *q, struct qserver *s)
{
    struct qconn *c = s->conn, *greeting = s->greeting;

    wr_reset(&s->last);
    s->queued = false;
    s->called_ms = -CALL_BACK_MS;
    s->conn = s->greeting = NULL;
    follow_lost(q, s->sid);
    qdial_cancel(s->dial);
    s->dial = NULL;
    if (c)
        qconn_close(c, 0);
    if (greeting)
        qconn_close(greeting, 0);
    drop_if_unused(q, s);
}

void qnet_election_restart(struct qnet *q)
{
    each_server(q, restart_one);
    LIST_EACH_SAFE(it, &q->conns) {
        struct qconn *c = CONTAINER_OF(it, struct qconn, link);
        if (c->role == QCONN_HELLO)
            qconn_close(c, 0);
    }
}

bool qnet_election_listening(const struct qnet *q)
{
    return q->election_port.open;
}

bool qnet_election_connected(const struct qnet *q, int64_t sid)
{
    const struct qserver *s = find(q, sid);

    return s && s->conn;
}

void election_configs_changed(struct qnet *q)
{
    const struct quorum_member *self = q->self;

    each_server(q, drop_if_unused);
    if (!self)
        return;
    struct net_name *names = x_calloc(self->addrs_len, sizeof(*names));
    for (size_t i = 0; i < self->addrs_len; i++)
        names[i] = (struct net_name){ x_strdup(self->addrs[i].host), self->addrs[i].election_port };
    if (net_names_equal(names, self->addrs_len, q->election_port.names, q->election_port.names_len))
        net_names_free(names, self->addrs_len);
    else
        qport_open(&q->election_port, names, self->addrs_len, q->opt.bind_tries);
}
