/* qnet_leader.c - the learners of a leader: their connections, packets, and streams to them. */
#include "qnet_internal.h"

#include <sys/socket.h>
#include <unistd.h>

#define CLOSE_MS 5000 /* what waits for a learner that we close must be gone by then */
#define STOP_MS 1000

static void opened(struct qconn *c, const struct sockaddr_storage *from)
{
    struct qnet *q = c->q;

    c->number = ++q->last_number;
    (void)u64map_set(&q->peers, c->number, c);
    if (q->ev.peer_open)
        q->ev.peer_open(q->ev.data, c->number, (const struct sockaddr *)from);
}

void leader_accepted(struct qnet *q, int fd, const struct sockaddr_storage *from)
{
    char text[ADDR_TEXT_MAX];

    if (q->peers.len >= QNET_PEERS_MAX || (q->opt.sasl && q->hellos >= QNET_HELLOS_MAX)) {
        addr_format((const struct sockaddr *)from, text);
        qnet_gripe(q, "%s: too many connections on the quorum port", text);
        close(fd);
        return;
    }
    struct qconn *c = qconn_new(q, q->opt.sasl ? QCONN_NEWCOMER : QCONN_PEER, fd);
    qconn_accepted(c);
    if (!q->opt.sasl) {
        opened(c, from);
        return;
    }
    q->hellos++;
    c->deadline_ms = q->now_ms + q->opt.hello_timeout_ms;
    auth_begin(c, true);
}

void leader_authenticated(struct qconn *c)
{
    struct qnet *q = c->q;
    struct sockaddr_storage from = { 0 };
    socklen_t len = sizeof(from);

    if (getpeername(c->fd, (struct sockaddr *)&from, &len) != 0 || q->peers.len >= QNET_PEERS_MAX) {
        qconn_close(c, 0);
        return;
    }
    q->hellos--;
    c->deadline_ms = QNET_NEVER;
    qconn_set_role(c, QCONN_PEER);
    opened(c, &from);
}

static void give_packet(struct qconn *c, const struct qpacket *p)
{
    if (c->q->ev.peer_packet)
        c->q->ev.peer_packet(c->q->ev.data, c->number, p);
}

void leader_input(struct qconn *c)
{
    qconn_packets(c, give_packet);
}

void leader_close_all(struct qnet *q, bool linger)
{
    struct VEC(struct qconn *) all = { 0 };

    U64MAP_EACH(slot, &q->peers)
        VEC_PUSH(&all, (struct qconn *)slot->value);
    for (size_t i = 0; i < all.len; i++) {
        struct qconn *c = all.items[i];
        /* Half a snapshot is of no use to anyone. */
        if (c->streaming || !linger || c->broken)
            qconn_close(c, RC_CANCELLED);
        else
            qconn_linger(c, STOP_MS);
    }
    VEC_FREE(&all);
    /* Those that were being closed already, or had not authenticated. */
    LIST_EACH_SAFE(it, &q->conns) {
        struct qconn *c = CONTAINER_OF(it, struct qconn, link);
        if (c->role == QCONN_NEWCOMER || (c->role == QCONN_LINGER && c->streaming))
            qconn_close(c, RC_CANCELLED);
    }
}

int qnet_lead_start(struct qnet *q)
{
    const struct quorum_member *self = q->self;

    if (!self)
        return RC_NOTFOUND;
    struct net_name *names = x_calloc(self->addrs_len, sizeof(*names));
    for (size_t i = 0; i < self->addrs_len; i++)
        names[i] = (struct net_name){ x_strdup(self->addrs[i].host), self->addrs[i].quorum_port };
    qport_open(&q->quorum_port, names, self->addrs_len, 1);
    return 0;
}

void qnet_lead_stop(struct qnet *q)
{
    qport_close(&q->quorum_port);
    leader_close_all(q, true);
}

static struct qconn *find(const struct qnet *q, uint64_t conn)
{
    return u64map_get(&q->peers, conn);
}

void qnet_peer_send(struct qnet *q, uint64_t conn, struct buf bytes)
{
    struct qconn *c = find(q, conn);

    if (c)
        qconn_send_bytes(c, bytes.p, bytes.n);
}

void qnet_peer_close_after_flush(struct qnet *q, uint64_t conn)
{
    struct qconn *c = find(q, conn);

    if (c)
        qconn_linger(c, CLOSE_MS);
}

void qnet_peer_pause(struct qnet *q, uint64_t conn, bool paused)
{
    struct qconn *c = find(q, conn);

    if (c)
        qconn_pause(c, paused);
}

bool qnet_peer_figures(const struct qnet *q, uint64_t conn, struct qnet_peer_figures *ret)
{
    const struct qconn *c = find(q, conn);

    if (!c)
        return false;
    *ret = (struct qnet_peer_figures){ qconn_queued(c), c->sent, c->received, c->streaming };
    return true;
}

int qnet_peer_stream(struct qnet *q, uint64_t conn, const struct qnet_stream *s)
{
    struct qconn *c = find(q, conn);

    if (!c || c->broken)
        return RC_NOTFOUND;
    if (c->streaming)
        return RC_BUSY;
    c->stream = *s;
    c->streaming = true;
    c->stream_ended = c->stream_idle = false;
    qconn_mark_dirty(c);
    return 0;
}

void qnet_peer_stream_more(struct qnet *q, uint64_t conn)
{
    struct qconn *c = find(q, conn);

    if (c && c->streaming) {
        c->stream_idle = false;
        qconn_mark_dirty(c);
    }
}
