/* qnet_learner.c - our connection to a leader: attempts, packets, the raw stream of a snapshot. */
#include "qnet_internal.h"

#include <stdio.h>
#include <unistd.h>

#define TRIES 5 /* of the reference, one delay apart */
#define LINGER_MS 1000

void follow_end(struct qnet *q)
{
    struct qfollow *f = &q->follow;

    qdial_cancel(f->dial);
    net_names_free(f->names, f->names_len);
    *f = (struct qfollow){ .retry_ms = QNET_NEVER };
}

void qnet_unfollow(struct qnet *q)
{
    struct qconn *c = q->follow.conn;

    follow_end(q);
    if (c && (c->broken || c->auth))
        qconn_close(c, 0);
    else if (c)
        qconn_linger(c, LINGER_MS);
}

void qnet_follow(struct qnet *q, const struct quorum_member *leader, int64_t limit_ms, int64_t now_ms)
{
    struct qfollow *f = &q->follow;

    qnet_unfollow(q);
    *f = (struct qfollow){ .active = true, .sid = leader->sid, .lives = qnet_election_connected(q, leader->sid), .begun_ms = now_ms, .limit_ms = now_ms + limit_ms, .retry_ms = now_ms };
    f->names_len = leader->addrs_len;
    f->names = x_calloc(f->names_len, sizeof(*f->names));
    for (size_t i = 0; i < f->names_len; i++)
        f->names[i] = (struct net_name){ x_strdup(leader->addrs[i].host), leader->addrs[i].quorum_port };
    (void)snprintf(f->why, sizeof(f->why), "no time to connect"); /* fits */
}

void follow_lost(struct qnet *q, int64_t sid)
{
    if (q->follow.sid == sid)
        q->follow.lives = false;
}

/* From one that does not answer at all nothing is to be expected: it may be heard and not hear, and would be elected again and again (the reference
 * spends initLimit on each time). One that refuses will listen, if it lives: a server of Apache's waits 200 ms longer than we do before it knows that it
 * leads, and may be stopped or starved meanwhile. Who leaves too soon has another round then and is of no use to it, and both wait until its
 * initLimit is over. */
static bool is_hopeless(const struct qnet *q, const struct qdial *d, int64_t retry_ms)
{
    const struct qfollow *f = &q->follow;
    int64_t patience = (int64_t)q->opt.follow_delay_ms * TRIES;

    if (f->lives)
        patience = MAX(patience, q->opt.hello_timeout_ms);
    return d->silent || (f->tries >= TRIES && retry_ms - f->begun_ms > patience);
}

static void give_up(struct qnet *q)
{
    char why[QNET_WHY_MAX];

    memcpy(why, q->follow.why, sizeof(why));
    follow_end(q);
    if (q->ev.leader_closed)
        q->ev.leader_closed(q->ev.data, why);
}

void follow_timer(struct qnet *q)
{
    struct qfollow *f = &q->follow;

    if (!f->active || f->retry_ms > q->now_ms)
        return;
    if (q->now_ms >= f->limit_ms) {
        give_up(q);
        return;
    }
    struct net_name *names = x_calloc(f->names_len, sizeof(*names));
    for (size_t i = 0; i < f->names_len; i++)
        names[i] = (struct net_name){ x_strdup(f->names[i].host), f->names[i].port };
    f->retry_ms = QNET_NEVER;
    f->tries++;
    f->dial = qdial_new(q, true, 0, names, f->names_len, f->limit_ms);
}

void follow_dialed(struct qdial *d, int fd)
{
    struct qnet *q = d->q;
    struct qfollow *f = &q->follow;
    int64_t delay = q->opt.follow_delay_ms;

    ASSERT(f->dial == d);
    f->dial = NULL;
    if (fd >= 0) {
        bool authenticate = q->opt.sasl && q->opt.sasl_learner;

        f->conn = qconn_new(q, authenticate ? QCONN_LOGIN : QCONN_LEADER, fd);
        qconn_dialed(f->conn, d);
        if (authenticate) {
            f->conn->deadline_ms = q->now_ms + q->opt.hello_timeout_ms;
            auth_begin(f->conn, false);
        } else if (q->ev.leader_open)
            q->ev.leader_open(q->ev.data);
        return;
    }
    memcpy(f->why, d->why, sizeof(f->why));
    /* A tenth, a fifth ... of the delay at first: the election told the leader when it told us, and it is about to listen. */
    if (f->tries < 4)
        delay = MAX(delay * (1 << (f->tries - 1)) / 10, 1);
    if (is_hopeless(q, d, q->now_ms + delay))
        give_up(q);
    else
        f->retry_ms = MIN(q->now_ms + delay, f->limit_ms);
}

void follow_authenticated(struct qconn *c)
{
    struct qnet *q = c->q;

    c->deadline_ms = QNET_NEVER;
    qconn_set_role(c, QCONN_LEADER);
    if (q->ev.leader_open)
        q->ev.leader_open(q->ev.data);
}

void qnet_leader_send(struct qnet *q, struct buf bytes)
{
    if (q->follow.conn)
        qconn_send_bytes(q->follow.conn, bytes.p, bytes.n);
}

size_t qnet_leader_queued(const struct qnet *q)
{
    return q->follow.conn ? qconn_queued(q->follow.conn) : 0;
}

void qnet_leader_pause(struct qnet *q, bool paused)
{
    if (q->follow.conn)
        qconn_pause(q->follow.conn, paused);
}

void qnet_leader_raw(struct qnet *q, qnet_take_fn take, void *data)
{
    struct qconn *c = q->follow.conn;

    if (!c)
        return;
    c->take = take;
    c->take_data = data;
    c->in_want = 0;
    if (c->in_len > c->in_off)
        qconn_mark_ready(c);
}

static void give_packet(struct qconn *c, const struct qpacket *p)
{
    if (c->q->ev.leader_packet)
        c->q->ev.leader_packet(c->q->ev.data, p);
}

/* False: nothing more can be done with what is there. */
static bool give_raw(struct qconn *c)
{
    size_t n = c->in_len - c->in_off;
    bool end = false;

    if (n == 0)
        return false;
    int64_t used = c->take(c->take_data, c->in + c->in_off, n, &end);
    if (c->source.dead || c->role != QCONN_LEADER)
        return false;
    ASSERT(used <= (int64_t)n);
    if (used < 0) {
        qconn_fail(c, "the snapshot stream is not right");
        return false;
    }
    if (used == 0 && !end && n >= c->in_max) {
        qconn_fail(c, "the snapshot stream has too large a piece");
        return false;
    }
    qconn_consumed(c, (size_t)used);
    if (end)
        c->take = NULL;
    return end || used > 0;
}

void follow_input(struct qconn *c)
{
    while (!c->source.dead && !c->paused && c->role == QCONN_LEADER) {
        if (!c->take)
            qconn_packets(c, give_packet);
        if (c->source.dead || c->paused || !c->take || !give_raw(c))
            return;
    }
}
