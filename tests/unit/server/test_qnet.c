/* The quorum sockets of several servers in one process, over loopback, on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "qnet_internal.h"

#define SERVERS_MAX 4
#define DEADLINE_MS 20000

struct server {
    struct world *w;
    int64_t sid;
    struct qnet *q;
    /* heard */
    int64_t last_zxid[16]; /* by sender's sid; -1: nothing */
    unsigned notifications, election_failures;
    /* leader */
    bool listening;
    unsigned lead_failures;
    uint64_t conns[8];
    size_t conns_len;
    int64_t packets, last_packet; /* number, and zxid of the last one */
    unsigned closed;
    char why[256];
    /* learner */
    bool open;
    int64_t lpackets, llast;
    unsigned lclosed;
    bool pause_on_packet;
    uint64_t raw_bytes, raw_want, raw_wrong; /* raw_want: a QP_SNAP announces so many bytes */
    /* stream */
    uint64_t made, to_make;
    unsigned done;
    int done_rc;
    bool stall;
};

struct world {
    struct server s[SERVERS_MAX + 1]; /* by sid */
    struct quorum_config *config;
    char host[32];
    uint16_t quorum_port[SERVERS_MAX + 1], election_port[SERVERS_MAX + 1];
    struct qnet_options opt;
};

/* A loopback address that no other test process uses, so that a port that was free stays free. */
static void own_host(char *out, size_t size)
{
    unsigned pid = (unsigned)getpid();

    (void)snprintf(out, size, "127.%u.%u.%u", 64 + (pid >> 16 & 63), pid >> 8 & 255, 1 + pid % 254);
}

static int bound_socket(const char *host, uint16_t *port)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(*port) };
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    assert_int_equal(inet_pton(AF_INET, host, &sa.sin_addr), 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *port = ntohs(sa.sin_port);
    return fd;
}

/* ---- callbacks ---- */

static void on_notification(void *data, int64_t sid, const struct notification *n)
{
    struct server *s = data;

    s->notifications++;
    if (sid >= 0 && sid < 16)
        s->last_zxid[sid] = n->zxid;
}
static void on_election_failed(void *data, const char *text)
{
    ((struct server *)data)->election_failures++;
}
static void on_listening(void *data)
{
    ((struct server *)data)->listening = true;
}
static void on_lead_failed(void *data, const char *text)
{
    ((struct server *)data)->lead_failures++;
}
static void on_peer_open(void *data, uint64_t conn, const struct sockaddr *from)
{
    struct server *s = data;

    assert_int_equal(from->sa_family, AF_INET);
    assert_true(s->conns_len < ARRAY_LEN(s->conns));
    s->conns[s->conns_len++] = conn;
}
static void on_peer_packet(void *data, uint64_t conn, const struct qpacket *p)
{
    struct server *s = data;

    s->packets++;
    s->last_packet = p->zxid;
}
static void on_peer_closed(void *data, uint64_t conn, const char *why)
{
    struct server *s = data;

    s->closed++;
    (void)snprintf(s->why, sizeof(s->why), "%s", why);
}
static void on_leader_open(void *data)
{
    ((struct server *)data)->open = true;
}
static uint8_t stream_byte(uint64_t at)
{
    return (uint8_t)(at * 2654435761u >> 13);
}
static int64_t take_raw(void *data, const uint8_t *p, size_t n, bool *ret_end)
{
    struct server *s = data;
    size_t use = MIN(n, s->raw_want - s->raw_bytes);

    if (use > 1000 && use % 3 == 0)
        use -= 7; /* leaves some for the next time */
    for (size_t i = 0; i < use; i++)
        s->raw_wrong += p[i] != stream_byte(s->raw_bytes + i);
    s->raw_bytes += use;
    *ret_end = s->raw_bytes == s->raw_want;
    return (int64_t)use;
}
static void on_leader_packet(void *data, const struct qpacket *p)
{
    struct server *s = data;

    s->lpackets++;
    s->llast = p->zxid;
    if (p->type == QP_SNAP) {
        s->raw_want = (uint64_t)p->zxid;
        qnet_leader_raw(s->q, take_raw, s);
    }
    if (s->pause_on_packet)
        qnet_leader_pause(s->q, true);
}
static void on_leader_closed(void *data, const char *why)
{
    struct server *s = data;

    s->open = false;
    s->lclosed++;
    (void)snprintf(s->why, sizeof(s->why), "%s", why);
}
static int64_t produce(void *data, uint8_t *p, size_t cap, bool *ret_end)
{
    struct server *s = data;
    size_t n = MIN(cap, s->to_make - s->made);

    assert_true(cap >= 65536);
    if (s->stall)
        return 0;
    for (size_t i = 0; i < n; i++)
        p[i] = stream_byte(s->made + i);
    s->made += n;
    *ret_end = s->made == s->to_make;
    return (int64_t)n;
}
static void on_done(void *data, uint64_t conn, int rc)
{
    struct server *s = data;

    s->done++;
    s->done_rc = rc;
}

/* ---- the world ---- */

static void start(struct world *w, int sid)
{
    struct server *s = &w->s[sid];
    struct qnet_options opt = w->opt;
    struct qnet_events ev = {
        s, on_notification, on_election_failed, on_listening, on_lead_failed, on_peer_open, on_peer_packet, on_peer_closed,
        on_leader_open, on_leader_packet, on_leader_closed,
    };

    *s = (struct server){ .w = w, .sid = sid };
    for (size_t i = 0; i < ARRAY_LEN(s->last_zxid); i++)
        s->last_zxid[i] = -1;
    opt.my_sid = sid;
    assert_int_equal(qnet_new(&opt, &ev, &s->q), 0);
    qnet_set_configs(s->q, w->config, NULL);
}

static void stop(struct world *w, int sid)
{
    qnet_free(w->s[sid].q);
    w->s[sid].q = NULL;
}

static struct quorum_config *make_config(struct world *w, int servers, const char *host2)
{
    struct wr text = wr_init(0);
    struct quorum_config *c = NULL;
    struct quorum_error err;

    for (int i = 1; i <= servers; i++)
        wr_printf(&text, "server.%d=%s:%u:%u:participant\n", i, i == 2 && host2 ? host2 : w->host, w->quorum_port[i], w->election_port[i]);
    wr_text(&text, "version=0");
    assert_int_equal(quorum_config_parse(buf_of(text.p, text.n), &(struct quorum_options){ .standalone_enabled = true }, &c, &err), 0);
    wr_free(&text);
    return c;
}

static void world_init(struct world *w, int servers, const char *host2)
{
    int fds[2 * SERVERS_MAX];

    memset(w, 0, sizeof(*w));
    own_host(w->host, sizeof(w->host));
    for (int i = 0; i < SERVERS_MAX; i++) {
        fds[2 * i] = bound_socket(w->host, &w->quorum_port[i + 1]);
        fds[2 * i + 1] = bound_socket(w->host, &w->election_port[i + 1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    w->opt = (struct qnet_options){ .bind_tries = 3, .hello_timeout_ms = 5000 };
    w->config = make_config(w, servers, host2);
}

static void world_done(struct world *w)
{
    for (int i = 1; i <= SERVERS_MAX; i++)
        stop(w, i);
    quorum_config_unref(w->config);
}

/* One turn of everybody. */
static void turn(struct world *w, int wait_ms)
{
    struct pollfd p[SERVERS_MAX];
    nfds_t n = 0;
    int64_t now = clock_mono_ms(), wake = now + wait_ms;

    for (int i = 1; i <= SERVERS_MAX; i++)
        if (w->s[i].q) {
            p[n++] = (struct pollfd){ .fd = qnet_fd(w->s[i].q), .events = POLLIN };
            wake = MIN(wake, qnet_next_wake(w->s[i].q));
        }
    assert_true(poll(p, n, (int)MAX(wake - now, 0)) >= 0);
    for (int i = 1; i <= SERVERS_MAX; i++)
        if (w->s[i].q) {
            if (i & 1) /* the others' qnet_run looks itself */
                qnet_wait(w->s[i].q, 0);
            qnet_run(w->s[i].q, clock_mono_ms());
        }
}

#define UNTIL(w, cond)                                                                                       \
    for (int64_t until_ = clock_mono_ms() + DEADLINE_MS; !(cond);) {                                         \
        if (clock_mono_ms() > until_)                                                                        \
            fail_msg("never came: %s", #cond);                                                               \
        turn((w), 20);                                                                                       \
    }

/* Until nobody has anything to do any more. */
static void settle(struct world *w)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        struct pollfd p[SERVERS_MAX];
        nfds_t n = 0;
        for (int i = 1; i <= SERVERS_MAX; i++)
            if (w->s[i].q)
                p[n++] = (struct pollfd){ .fd = qnet_fd(w->s[i].q), .events = POLLIN };
        if (poll(p, n, 5) > 0)
            quiet = -1;
        turn(w, 0);
    }
}

static void say(struct server *from, int to, int64_t zxid)
{
    struct notification n = { .state = ZAB_LOOKING, .leader = from->sid, .zxid = zxid, .round = 1, .version = 2, .config = from->w->config->text };

    qnet_election_send(from->q, to, &n);
}

static struct qconn *conn_with(struct server *s, int64_t sid)
{
    struct qserver *o = u64map_get(&s->q->servers, (uint64_t)sid);

    return o ? o->conn : NULL;
}

static int port_of(int fd, bool remote)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);
    int rc = remote ? getpeername(fd, (struct sockaddr *)&sa, &len) : getsockname(fd, (struct sockaddr *)&sa, &len);

    return rc == 0 ? ntohs(sa.sin_port) : -1;
}

/* Both ends see one and the same connection, opened by the higher sid. */
static bool paired(struct world *w, int low, int high)
{
    struct qconn *a = conn_with(&w->s[low], high), *b = conn_with(&w->s[high], low);

    return a && b && port_of(a->fd, false) == w->election_port[low] && port_of(b->fd, true) == w->election_port[low] &&
           port_of(a->fd, true) == port_of(b->fd, false);
}

/* ---- a bare socket, as a stranger ---- */

static int raw_connect(const struct world *w, uint16_t port)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, w->host, &sa.sin_addr), 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static bool raw_closed(int fd)
{
    uint8_t b[4096];
    ssize_t n = recv(fd, b, sizeof(b), MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void put_hello(struct wr *w, int64_t sid)
{
    struct hello h = { .version = HELLO_V1, .sid = sid, .addrs = { { buf_str("127.0.0.1"), 1 } }, .addrs_len = 1 };

    hello_encode(w, &h);
}

/* ---- election ---- */

static void test_pairs_converge(void **state)
{
    for (int round = 0; round < 12; round++) {
        struct world w;
        world_init(&w, 3, NULL);
        for (int i = 1; i <= 3; i++)
            start(&w, i);
        UNTIL(&w, qnet_election_listening(w.s[1].q) && qnet_election_listening(w.s[2].q) && qnet_election_listening(w.s[3].q));
        for (int k = 0; k < 9; k++) { /* everybody to everybody, in another order each round */
            int from = (k + round) % 3 + 1, to = (k / 3 + round) % 3 + 1;
            if (from != to)
                say(&w.s[from], to, 100 * from + to);
            for (int t = 0; t < (round >> 1) % 4; t++)
                turn(&w, 0);
        }
        UNTIL(&w, w.s[1].last_zxid[2] == 201 && w.s[1].last_zxid[3] == 301 && w.s[2].last_zxid[1] == 102 && w.s[2].last_zxid[3] == 302 &&
                      w.s[3].last_zxid[1] == 103 && w.s[3].last_zxid[2] == 203);
        UNTIL(&w, paired(&w, 1, 2) && paired(&w, 1, 3) && paired(&w, 2, 3));
        settle(&w);
        assert_true(paired(&w, 1, 2) && paired(&w, 1, 3) && paired(&w, 2, 3));
        for (int i = 1; i <= 3; i++)
            assert_true(qnet_election_queue_empty(w.s[i].q));
        world_done(&w);
    }
}

/* A server that comes back is told the last message again, whichever end has to connect. */
static void test_restarts(void **state)
{
    struct world w;

    world_init(&w, 2, NULL);
    start(&w, 1);
    start(&w, 2);
    UNTIL(&w, qnet_election_listening(w.s[1].q) && qnet_election_listening(w.s[2].q));
    say(&w.s[1], 2, 12);
    say(&w.s[2], 1, 21);
    UNTIL(&w, w.s[1].last_zxid[2] == 21 && w.s[2].last_zxid[1] == 12 && paired(&w, 1, 2));
    for (int again = 1; again <= 2; again++) {
        int other = 3 - again;
        stop(&w, again);
        UNTIL(&w, !qnet_election_connected(w.s[other].q, again));
        start(&w, again);
        UNTIL(&w, qnet_election_listening(w.s[again].q));
        say(&w.s[again], other, 1000 + again);
        UNTIL(&w, w.s[other].last_zxid[again] == 1000 + again && w.s[again].last_zxid[other] > 0 && paired(&w, 1, 2));
    }
    /* The election subsystem anew: connections, messages gone; the port stays. */
    qnet_election_restart(w.s[2].q);
    assert_false(qnet_election_connected(w.s[2].q, 1));
    assert_false(qnet_election_queue_empty(w.s[2].q));
    assert_true(qnet_election_listening(w.s[2].q));
    say(&w.s[2], 1, 7);
    UNTIL(&w, w.s[1].last_zxid[2] == 7 && paired(&w, 1, 2));
    world_done(&w);
}

static void test_latest_message_waits(void **state)
{
    struct world w;

    world_init(&w, 2, NULL);
    start(&w, 2);
    UNTIL(&w, qnet_election_listening(w.s[2].q));
    for (int i = 1; i <= 5; i++) { /* nobody listens at server 1 */
        say(&w.s[2], 1, i);
        turn(&w, 0);
    }
    assert_false(qnet_election_queue_empty(w.s[2].q));
    UNTIL(&w, list_empty(&w.s[2].q->dials));
    start(&w, 1);
    UNTIL(&w, qnet_election_listening(w.s[1].q));
    qnet_election_connect_all(w.s[2].q);
    qnet_election_connect_all(w.s[2].q); /* one attempt at a time */
    assert_true(w.s[2].q->dials.next == w.s[2].q->dials.prev);
    UNTIL(&w, w.s[1].last_zxid[2] == 5);
    settle(&w);
    assert_int_equal(w.s[1].notifications, 1);
    assert_true(qnet_election_queue_empty(w.s[2].q));
    world_done(&w);
}

static void test_pieces(void **state)
{
    struct world w;
    struct wr b = wr_init(0);

    world_init(&w, 2, NULL);
    start(&w, 1);
    UNTIL(&w, qnet_election_listening(w.s[1].q));
    put_hello(&b, 9);
    struct notification n = { .state = ZAB_LOOKING, .leader = 9, .zxid = 77, .version = 2, .config = buf_str("version=0") };
    notification_frame(&b, &n);
    n.zxid = 78;
    notification_frame(&b, &n);
    int fd = raw_connect(&w, w.election_port[1]);
    for (size_t i = 0; i < b.n; i++) {
        assert_int_equal(send(fd, b.p + i, 1, MSG_NOSIGNAL), 1);
        turn(&w, 1);
    }
    UNTIL(&w, w.s[1].last_zxid[9] == 78 && w.s[1].notifications == 2);
    int all = raw_connect(&w, w.election_port[1]); /* the same in one piece; it takes the place of the other */
    assert_int_equal(send(all, b.p, b.n, MSG_NOSIGNAL), b.n);
    UNTIL(&w, w.s[1].notifications == 4);
    UNTIL(&w, raw_closed(fd));
    assert_false(raw_closed(all));
    say(&w.s[1], 9, 5); /* a stranger that is connected can be answered */
    UNTIL(&w, recv(all, b.p, 4, MSG_DONTWAIT) == 4);
    close(fd);
    close(all);
    UNTIL(&w, w.s[1].q->servers.len == 0); /* and is forgotten when it leaves */
    wr_free(&b);
    world_done(&w);
}

static void test_garbage(void **state)
{
    struct world w;
    struct wr own = wr_init(0), huge = wr_init(0), zero = wr_init(0);

    put_hello(&own, 1);
    put_hello(&huge, 8);
    wr_u32(&huge, ELECTION_FRAME_MAX + 1);
    put_hello(&zero, 8);
    wr_u32(&zero, 0);
    const struct buf bad[] = {
        buf_str("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        buf_of("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xff\xff\xff\xff", 16),
        buf_of("\xff\xff\xff\xff\xff\xff\x00\x00\0\0\0\0\0\0\0\x05\x7f\xff\xff\xff", 20),
        buf_of("\xff\xff\xff\xff\xff\xff\x00\x00\0\0\0\0\0\0\0\x05\0\0\0\x03\x61\x62\x63", 23),
        buf_of(own.p, own.n), buf_of(huge.p, huge.n), buf_of(zero.p, zero.n),
    };
    world_init(&w, 2, NULL);
    w.opt.hello_timeout_ms = 60;
    start(&w, 1);
    start(&w, 2);
    UNTIL(&w, qnet_election_listening(w.s[1].q) && qnet_election_listening(w.s[2].q));
    say(&w.s[2], 1, 21);
    UNTIL(&w, w.s[1].last_zxid[2] == 21 && paired(&w, 1, 2));
    struct qconn *before = conn_with(&w.s[1], 2);
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        print_message("case %zu\n", i);
        int fd = raw_connect(&w, w.election_port[1]);
        assert_int_equal(send(fd, bad[i].p, bad[i].n, MSG_NOSIGNAL), bad[i].n);
        UNTIL(&w, raw_closed(fd));
        close(fd);
    }
    int silent = raw_connect(&w, w.election_port[1]), scan = raw_connect(&w, w.election_port[1]);
    close(scan);
    UNTIL(&w, raw_closed(silent));
    close(silent);
    UNTIL(&w, w.s[1].q->hellos == 0);
    log_set_level(LOG_INFO);
    assert_ptr_equal(conn_with(&w.s[1], 2), before);
    assert_int_equal(w.s[1].q->servers.len, 1);
    assert_true(paired(&w, 1, 2));
    wr_free(&own), wr_free(&huge), wr_free(&zero);
    world_done(&w);
}

/* Nothing outlives its limit: connections without a name, servers that nobody configured. */
static void test_bounds(void **state)
{
    struct world w;
    int fds[QNET_HELLOS_MAX + 8];

    world_init(&w, 2, NULL);
    start(&w, 1);
    UNTIL(&w, qnet_election_listening(w.s[1].q));
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = raw_connect(&w, w.election_port[1]);
        turn(&w, 0);
    }
    UNTIL(&w, w.s[1].q->hellos == QNET_HELLOS_MAX && raw_closed(fds[ARRAY_LEN(fds) - 1]));
    for (int i = 0; i < QNET_STRANGERS_MAX + 8; i++) {
        struct wr b = wr_init(0);
        put_hello(&b, 100 + i);
        assert_int_equal(send(fds[i], b.p, b.n, MSG_NOSIGNAL), b.n);
        wr_free(&b);
    }
    UNTIL(&w, w.s[1].q->hellos == QNET_HELLOS_MAX - QNET_STRANGERS_MAX - 8);
    assert_int_equal(w.s[1].q->servers.len, QNET_STRANGERS_MAX);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    UNTIL(&w, w.s[1].q->servers.len == 0 && w.s[1].q->hellos == 0);
    log_set_level(LOG_INFO);
    world_done(&w);
}

static _Atomic unsigned resolutions;
static char resolve_host[32];

/* A name whose first answers are nothing, then where nobody listens, then right. */
static size_t moving_name(void *data, const char *host, struct sockaddr_storage *ret, size_t cap)
{
    unsigned n = resolutions++;
    struct sockaddr_in *sa = (struct sockaddr_in *)(void *)ret;

    assert_string_equal(host, "pod-2.example");
    if (n == 0 || cap == 0)
        return 0;
    *sa = (struct sockaddr_in){ .sin_family = AF_INET };
    assert_int_equal(inet_pton(AF_INET, n == 1 ? "127.0.0.1" : resolve_host, &sa->sin_addr), 1);
    return 1;
}

static void test_names_resolved_again(void **state)
{
    struct world w;
    uint16_t port = 0;

    world_init(&w, 2, "pod-2.example");
    w.opt.resolve = moving_name;
    resolutions = 0;
    memcpy(resolve_host, w.host, sizeof(w.host));
    start(&w, 1);
    UNTIL(&w, qnet_election_listening(w.s[1].q));
    /* A socket that is not listening holds the port at the wrong address, so that nobody answers there. */
    port = w.election_port[2];
    int wrong = bound_socket("127.0.0.1", &port), right = bound_socket(w.host, &port);
    assert_int_equal(listen(right, 5), 0);
    for (unsigned i = 1; i <= 3; i++) {
        say(&w.s[1], 2, 1);
        UNTIL(&w, resolutions == i && list_empty(&w.s[1].q->dials));
    }
    uint8_t hello[256];
    int fd = accept(right, NULL, NULL);
    assert_true(recv(fd, hello, sizeof(hello), 0) > 20); /* the whole message in the first read */
    close(fd), close(wrong), close(right);
    world_done(&w);
}

static void test_port_in_use(void **state)
{
    struct world w;

    world_init(&w, 2, NULL);
    w.opt.bind_tries = 1;
    int e = bound_socket(w.host, &w.election_port[1]), q = bound_socket(w.host, &w.quorum_port[1]);
    assert_int_equal(listen(e, 1), 0);
    assert_int_equal(listen(q, 1), 0);
    start(&w, 1);
    UNTIL(&w, w.s[1].election_failures == 1);
    assert_int_equal(qnet_lead_start(w.s[1].q), 0);
    UNTIL(&w, w.s[1].lead_failures == 1);
    assert_false(w.s[1].listening);
    close(e), close(q);
    assert_int_equal(qnet_lead_start(w.s[1].q), 0);
    UNTIL(&w, w.s[1].listening);
    world_done(&w);
}

/* ---- leader and learner ---- */

static void send_bare(struct wr *b, int32_t type, int64_t zxid)
{
    wr_reset(b);
    qpacket_encode_bare(b, type, zxid);
}

static void to_peer(struct server *s, uint64_t conn, int32_t type, int64_t zxid)
{
    struct wr b = wr_init(0);

    send_bare(&b, type, zxid);
    qnet_peer_send(s->q, conn, buf_of(b.p, b.n));
    wr_free(&b);
}

static void to_leader(struct server *s, int32_t type, int64_t zxid)
{
    struct wr b = wr_init(0);

    send_bare(&b, type, zxid);
    qnet_leader_send(s->q, buf_of(b.p, b.n));
    wr_free(&b);
}

/* Server 1 leads, the others up to `servers` follow, in order of their sids. */
static void lead_world(struct world *w, int servers)
{
    world_init(w, servers, NULL);
    for (int i = 1; i <= servers; i++)
        start(w, i);
    assert_int_equal(qnet_lead_start(w->s[1].q), 0);
    UNTIL(w, w->s[1].listening);
    for (int i = 2; i <= servers; i++) {
        qnet_follow(w->s[i].q, quorum_config_member(w->config, 1), 5000, clock_mono_ms());
        UNTIL(w, w->s[i].open && w->s[1].conns_len == (size_t)i - 1);
    }
}

static void test_packets(void **state)
{
    struct world w;

    lead_world(&w, 2);
    struct server *l = &w.s[1], *f = &w.s[2];
    for (int i = 1; i <= 20000; i++) {
        to_peer(l, l->conns[0], QP_COMMIT, i);
        to_leader(f, QP_ACK, i);
    }
    UNTIL(&w, l->packets == 20000 && f->lpackets == 20000);
    assert_int_equal(l->last_packet, 20000);
    assert_int_equal(f->llast, 20000);

    f->pause_on_packet = true; /* one packet at a time */
    for (int i = 1; i <= 3; i++)
        to_peer(l, l->conns[0], QP_COMMIT, i);
    for (int i = 1; i <= 3; i++) {
        UNTIL(&w, f->llast == i);
        settle(&w);
        assert_int_equal(f->lpackets, 20000 + i);
        qnet_leader_pause(f->q, false);
    }
    f->pause_on_packet = false;
    /* What was sent before the close arrives, though the other end keeps talking. */
    for (int i = 1; i <= 20000; i++) {
        to_peer(l, l->conns[0], QP_COMMIT, 50000 + i);
        to_leader(f, QP_ACK, i);
    }
    qnet_peer_close_after_flush(l->q, l->conns[0]);
    UNTIL(&w, f->lclosed == 1);
    assert_int_equal(f->llast, 70000);
    assert_int_equal(l->closed, 0);
    struct qnet_peer_figures fig;
    assert_false(qnet_peer_figures(l->q, l->conns[0], &fig));
    world_done(&w);
}

/* Each write to the eventfd ends one wait, though nobody reads it; and what a wait saw of the sockets is carried out by the run behind it. */
static void test_wait(void **state)
{
    struct world w;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t one = 1;

    (void)state;
    world_init(&w, 2, NULL);
    start(&w, 1);
    start(&w, 2);
    assert_int_equal(qnet_wake_by(w.s[1].q, fd), 0);
    say(&w.s[2], 1, 7);
    UNTIL(&w, w.s[1].last_zxid[2] == 7);
    settle(&w);
    for (int i = 0; i < 2; i++) {
        int64_t begin = clock_mono_ms();
        assert_int_equal(write(fd, &one, sizeof(one)), (ssize_t)sizeof(one));
        qnet_wait(w.s[1].q, DEADLINE_MS);
        assert_true(clock_mono_ms() - begin < DEADLINE_MS);
        qnet_run(w.s[1].q, clock_mono_ms());
    }
    say(&w.s[2], 1, 8);
    qnet_flush(w.s[2].q);
    qnet_wait(w.s[1].q, DEADLINE_MS);
    assert_int_equal(w.s[1].last_zxid[2], 7);
    qnet_run(w.s[1].q, clock_mono_ms());
    assert_int_equal(w.s[1].last_zxid[2], 8);
    close(fd);
    world_done(&w);
}

static void test_close_is_noticed(void **state)
{
    struct world w;

    lead_world(&w, 3);
    int64_t begun = clock_mono_ms();
    stop(&w, 2);
    UNTIL(&w, w.s[1].closed == 1);
    qnet_leader_pause(w.s[3].q, true);
    to_peer(&w.s[1], w.s[1].conns[1], QP_PING, 9);
    to_leader(&w.s[3], QP_ACK, 1);
    qnet_flush(w.s[3].q);
    /* A process that dies with unread bytes resets the connection: seen even while nothing is read. */
    stop(&w, 1);
    UNTIL(&w, w.s[3].lclosed == 1);
    assert_true(clock_mono_ms() - begun < 5000);
    assert_int_equal(w.s[3].lpackets, 0);
    world_done(&w);
}

static void test_follow_waits_for_the_leader(void **state)
{
    struct world w;

    world_init(&w, 2, NULL);
    start(&w, 1);
    start(&w, 2);
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 5000, clock_mono_ms());
    UNTIL(&w, w.s[2].q->follow.tries == 3); /* refused twice */
    assert_int_equal(qnet_lead_start(w.s[1].q), 0);
    UNTIL(&w, w.s[2].open);
    qnet_unfollow(w.s[2].q);
    UNTIL(&w, w.s[1].closed == 1);
    assert_int_equal(w.s[2].lclosed, 0);
    qnet_lead_stop(w.s[1].q);
    int64_t begun = clock_mono_ms();
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 60000, begun);
    UNTIL(&w, w.s[2].lclosed == 1); /* after its tries */
    assert_true(clock_mono_ms() - begun >= 400);
    assert_non_null(strstr(w.s[2].why, "refused"));
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 50, clock_mono_ms());
    UNTIL(&w, w.s[2].lclosed == 2); /* after its time */
    world_done(&w);
}

/* A leader that refuses and whose election connection stands is alive: it will listen. Once that connection breaks it is as with any other. */
static void test_follow_is_patient_with_the_living(void **state)
{
    struct world w;

    world_init(&w, 2, NULL);
    w.opt.follow_delay_ms = 20; /* patience without it: 100 ms */
    start(&w, 1);
    start(&w, 2);
    UNTIL(&w, qnet_election_listening(w.s[1].q) && qnet_election_listening(w.s[2].q));
    say(&w.s[1], 2, 12);
    say(&w.s[2], 1, 21);
    UNTIL(&w, w.s[1].last_zxid[2] == 21 && w.s[2].last_zxid[1] == 12 && paired(&w, 1, 2));
    int64_t begun = clock_mono_ms();
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 60000, begun);
    UNTIL(&w, w.s[2].lclosed > 0 || clock_mono_ms() - begun > 400);
    assert_int_equal(w.s[2].lclosed, 0);
    assert_int_equal(qnet_lead_start(w.s[1].q), 0);
    UNTIL(&w, w.s[2].open);
    qnet_unfollow(w.s[2].q);
    UNTIL(&w, w.s[1].closed == 1);
    qnet_lead_stop(w.s[1].q);
    begun = clock_mono_ms();
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 60000, begun);
    stop(&w, 1);
    UNTIL(&w, w.s[2].lclosed == 1);
    assert_true(clock_mono_ms() - begun < w.opt.hello_timeout_ms);
    world_done(&w);
}

/* Where nobody even refuses (a dead machine, a cut that lets the leader speak and not hear), waiting longer changes nothing. */
static void test_follow_gives_up_on_silence(void **state)
{
    struct world w;
    int held[2];

    world_init(&w, 2, NULL);
    w.opt.cnx_timeout_ms = 200;
    int full = bound_socket(w.host, &w.quorum_port[1]);
    assert_int_equal(listen(full, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(held); i++) { /* with its queue full the kernel answers no more SYNs */
        held[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(w.quorum_port[1]) };
        assert_int_equal(inet_pton(AF_INET, w.host, &sa.sin_addr), 1);
        (void)connect(held[i], (struct sockaddr *)&sa, sizeof(sa)); /* in progress, or done */
    }
    start(&w, 2);
    int64_t begun = clock_mono_ms();
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 60000, begun);
    UNTIL(&w, w.s[2].lclosed == 1);
    assert_true(clock_mono_ms() - begun >= 200);
    assert_non_null(strstr(w.s[2].why, "timed out"));
    for (size_t i = 0; i < ARRAY_LEN(held); i++)
        close(held[i]);
    close(full);
    world_done(&w);
}

static void test_quorum_port_garbage(void **state)
{
    static const struct {
        const char *name;
        struct buf bytes;
    } cases[] = {
        { "HTTP", { (const uint8_t *)"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35 } },
        { "data over the limit", { (const uint8_t *)"\0\0\0\x0b\0\0\0\0\0\0\0\0\x7f\xff\xff\xff", 16 } },
        { "length -2", { (const uint8_t *)"\0\0\0\x0b\0\0\0\0\0\0\0\0\xff\xff\xff\xfe", 16 } },
    };
    struct world w;

    lead_world(&w, 2);
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        int fd = raw_connect(&w, w.quorum_port[1]);
        assert_int_equal(send(fd, cases[i].bytes.p, cases[i].bytes.n, MSG_NOSIGNAL), cases[i].bytes.n);
        UNTIL(&w, raw_closed(fd));
        close(fd);
        assert_int_equal(w.s[1].closed, i + 1);
    }
    log_set_level(LOG_INFO);
    /* A length that is promised and does not come costs no memory. */
    int fd = raw_connect(&w, w.quorum_port[1]);
    assert_int_equal(send(fd, "\0\0\0\x0b\0\0\0\0\0\0\0\0\0\x0f\xff\xff", 16, MSG_NOSIGNAL), 16);
    UNTIL(&w, w.s[1].conns_len == 5);
    settle(&w);
    struct qconn *c = u64map_get(&w.s[1].q->peers, w.s[1].conns[4]);
    assert_non_null(c);
    assert_true(c->in_len == 16 && c->in_cap <= 4096);
    close(fd);
    UNTIL(&w, w.s[1].closed == 4);
    assert_true(w.s[2].open);
    assert_int_equal(w.s[1].packets, 0);
    world_done(&w);
}

static void test_slow_peer(void **state)
{
    struct world w;

    world_init(&w, 2, NULL);
    w.opt.max_queue = 2 << 20;
    start(&w, 1);
    start(&w, 2);
    struct server *l = &w.s[1];
    assert_int_equal(qnet_lead_start(l->q), 0);
    UNTIL(&w, l->listening);
    int fd = raw_connect(&w, w.quorum_port[1]); /* never reads */
    UNTIL(&w, l->conns_len == 1);
    qnet_follow(w.s[2].q, quorum_config_member(w.config, 1), 5000, clock_mono_ms());
    UNTIL(&w, l->conns_len == 2);
    uint8_t *block = x_calloc(1, 65536);
    struct wr b = wr_init(0);
    qpacket_encode(&b, &(struct qpacket){ .type = QP_PROPOSAL, .zxid = 1, .data = { block, 65536 }, .auth = { .n = -1 } });
    int sent = 0;
    size_t most = 0;
    while (l->closed == 0 && sent < 1000) {
        struct qnet_peer_figures fig;
        qnet_peer_send(l->q, l->conns[0], buf_of(b.p, b.n));
        qnet_peer_send(l->q, l->conns[1], buf_of(b.p, b.n));
        sent++;
        if (qnet_peer_figures(l->q, l->conns[0], &fig))
            most = MAX(most, fig.queued);
        UNTIL(&w, w.s[2].lpackets == sent);
    }
    assert_int_equal(l->closed, 1);
    assert_true(most > 1 << 20 && most <= 2 << 20);
    assert_non_null(strstr(l->why, "too much"));
    assert_true(w.s[2].open);
    close(fd);
    free(block);
    wr_free(&b);
    world_done(&w);
}

static void begin_stream(struct server *l, uint64_t conn, uint64_t bytes)
{
    l->made = 0;
    l->to_make = bytes;
    l->done = 0;
    to_peer(l, conn, QP_SNAP, (int64_t)bytes);
    assert_int_equal(qnet_peer_stream(l->q, conn, &(struct qnet_stream){ l, produce, on_done }), 0);
    assert_int_equal(qnet_peer_stream(l->q, conn, &(struct qnet_stream){ l, produce, on_done }), RC_BUSY);
}

static void test_stream(void **state)
{
    const uint64_t size = 50u << 20;
    struct world w;
    size_t most = 0;
    unsigned pings = 0, turns = 0;

    lead_world(&w, 3);
    struct server *l = &w.s[1], *f = &w.s[2], *g = &w.s[3];
    to_peer(l, l->conns[0], QP_PROPOSAL, 1);
    begin_stream(l, l->conns[0], size);
    to_peer(l, l->conns[0], QP_NEWLEADER, 77); /* behind the stream */
    while (f->raw_bytes < size) {
        struct qnet_peer_figures fig;
        if (g->lpackets == pings)
            to_peer(l, l->conns[1], QP_PING, ++pings);
        turn(&w, 20);
        turns++;
        if (qnet_peer_figures(l->q, l->conns[0], &fig))
            most = MAX(most, fig.queued);
        assert_true(turns < 100000);
    }
    UNTIL(&w, f->llast == 77 && l->done == 1);
    assert_int_equal(f->lpackets, 3);
    assert_int_equal(l->done_rc, 0);
    assert_int_equal(f->raw_wrong, 0);
    assert_true(most < 1 << 20);
    print_message("%u turns, %u pings to the other learner, at most %zu bytes queued\n", turns, pings, most);
    assert_true(pings > 10 && pings * 8 > turns); /* the other learner had an answer within a few turns */

    /* A stream that has nothing to give for now, and one after the other. */
    l->stall = true;
    f->raw_bytes = 0;
    begin_stream(l, l->conns[0], 200000);
    settle(&w);
    assert_int_equal(f->raw_bytes, 0);
    assert_true(qnet_next_wake(l->q) > clock_mono_ms()); /* nothing spins */
    l->stall = false;
    qnet_peer_stream_more(l->q, l->conns[0]);
    UNTIL(&w, l->done == 1 && f->raw_bytes == 200000);
    assert_int_equal(f->raw_wrong, 0);
    world_done(&w);
}

static void test_stream_cut(void **state)
{
    struct world w;

    lead_world(&w, 4);
    struct server *l = &w.s[1];
    begin_stream(l, l->conns[0], UINT64_C(1) << 40);
    UNTIL(&w, w.s[2].raw_bytes > 100000);
    stop(&w, 2);
    UNTIL(&w, l->closed == 1);
    assert_int_equal(l->done, 1);
    assert_int_equal(l->done_rc, RC_CLOSED);
    begin_stream(l, l->conns[1], UINT64_C(1) << 40);
    UNTIL(&w, w.s[3].raw_bytes > 100000);
    to_peer(l, l->conns[2], QP_PING, 5);
    qnet_lead_stop(l->q);
    assert_int_equal(l->done, 1);
    assert_int_equal(l->done_rc, RC_CANCELLED);
    UNTIL(&w, w.s[3].lclosed == 1 && w.s[4].lclosed == 1);
    assert_int_equal(w.s[4].llast, 5); /* what waited was sent */
    assert_int_equal(l->closed, 1);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_converge),
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_latest_message_waits),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names_resolved_again),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_close_is_noticed),
        cmocka_unit_test(test_follow_waits_for_the_leader),
        cmocka_unit_test(test_follow_is_patient_with_the_living),
        cmocka_unit_test(test_follow_gives_up_on_silence),
        cmocka_unit_test(test_quorum_port_garbage),
        cmocka_unit_test(test_slow_peer),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
