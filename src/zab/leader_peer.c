/* leader_peer.c - the leader's talk with one learner: handshake, acknowledgements, requests, pings. */
#include "leader.h"

bool peer_in_step(const struct zab_leader *l, const struct peer *p)
{
    return l->tick <= p->deadline_tick;
}

/* ---- handshake ---- */

void peer_send_leaderinfo(struct zab_leader *l, struct peer *p)
{
    ASSERT(l->accepted_epoch == l->epoch);
    p->state = PEER_WAIT_ACKEPOCH;
    p->read_deadline_ms = l->now_ms + init_ms(&l->opt.start);
    qp_i32_packet(effects_packet(&l->fx), QP_LEADERINFO, newleader_zxid(l), QP_PROTOCOL_VERSION);
    effects_send_scratch(&l->fx, p->conn);
}

/* A server that connects again has given up its older connection, whether we noticed or not. */
static void replace_older(struct zab_leader *l, const struct peer *p)
{
    for (size_t i = 0; i < l->peers.len; i++) {
        struct peer *old = l->peers.items[i];
        if (old != p && old->state != PEER_NEW && old->sid == p->sid) {
            leader_drop(l, old, "the server has connected again");
            return;
        }
    }
}

static const char *info_problem(const struct zab_leader *l, const struct qpacket *q, struct learner_info *ret)
{
    if (q->type != QP_FOLLOWERINFO && q->type != QP_OBSERVERINFO)
        return "does not begin as a learner";
    if (learner_info_read(q->data, ret) != 0)
        return "malformed learner information";
    if (ret->protocol_version < QP_PROTOCOL_VERSION)
        return "its protocol is from before 3.4";
    if (!ret->anonymous && ret->sid == l->opt.start.my_sid)
        return "has our own id";
    if (ret->config_version > l->committed->version)
        return "has a newer configuration";
    if (q->zxid < 0)
        return "has a malformed epoch";
    return NULL;
}

/* The epoch stands already. A voter that promised a later one to somebody who then failed can never follow us: with the reference it stays
 * out for as long as this leader lives, and the ensemble runs one failure closer to its end. A new epoch, at once, takes it in. (An
 * observer's promise is never counted, so ours do not insist on it.) */
static void late_info(struct zab_leader *l, struct peer *p, int64_t accepted)
{
    if (!p->observer && quorum_config_is_voter(l->committed, p->sid) && accepted > l->epoch)
        leader_end(l, ZAB_STOP_LEADERSHIP, "a voter has accepted a later epoch than ours");
    else
        peer_send_leaderinfo(l, p);
}

static void on_info(struct zab_leader *l, struct peer *p, const struct qpacket *q)
{
    struct learner_info info;
    const char *problem = info_problem(l, q, &info);

    if (problem) {
        leader_drop(l, p, problem);
        return;
    }
    p->sid = info.anonymous ? l->next_anonymous-- : info.sid;
    p->observer = q->type == QP_OBSERVERINFO;
    p->state = PEER_WAIT_EPOCH;
    p->read_deadline_ms = NEVER_MS; /* it is our turn */
    replace_older(l, p);
    if (l->phase == ZAB_LEADER_DISCOVERY && !l->waiting_accepted) {
        l->max_accepted = MAX(l->max_accepted, zxid_epoch(q->zxid));
        if (!p->observer && quorum_config_is_voter(l->committed, p->sid))
            sid_set_add(&l->connecting, p->sid);
        leader_try_epoch(l);
    } else if (l->phase > ZAB_LEADER_DISCOVERY) {
        late_info(l, p, zxid_epoch(q->zxid));
    }
}

/* Is (epoch, zxid) ahead of what we had when we were elected? Then we must not lead it. */
static bool more_recent(const struct zab_leader *l, int64_t epoch, int64_t zxid)
{
    const struct zab_start *s = &l->opt.start;
    return epoch > s->current_epoch || (epoch == s->current_epoch && zxid > s->last_zxid);
}

static void on_ackepoch(struct zab_leader *l, struct peer *p, const struct qpacket *q)
{
    int32_t epoch;

    if (q->type != QP_ACKEPOCH || qp_i32_read(q->data, &epoch) != 0) {
        leader_drop(l, p, "does not acknowledge the epoch");
        return;
    }
    p->last_zxid = q->zxid;
    p->state = PEER_WAIT_QUORUM;
    p->read_deadline_ms = NEVER_MS;
    if (l->phase != ZAB_LEADER_EPOCH_ACK) { /* a quorum stands already: no comparison any more */
        sync_start(l, p);
        return;
    }
    /* -1: it had accepted this epoch before, so what it says is not of before this epoch. Neither compared nor counted. */
    if (epoch != -1 && more_recent(l, epoch, q->zxid)) {
        leader_drop(l, p, "its history is ahead of ours");
        return;
    }
    if (epoch != -1 && q->zxid != -1 && !p->observer && quorum_config_is_voter(l->committed, p->sid))
        sid_set_add(&l->electing, p->sid);
    leader_try_epoch_ack(l);
}

void peer_send_uptodate(struct zab_leader *l, struct peer *p)
{
    ASSERT(l->phase == ZAB_LEADER_SERVING && p->state == PEER_ACKED);
    p->state = PEER_LIVE;
    p->read_deadline_ms = l->now_ms + sync_ms(&l->opt.start);
    effects_send_bare(&l->fx, p->conn, QP_UPTODATE, -1);
}

static void on_newleader_ack(struct zab_leader *l, struct peer *p)
{
    if (p->state != PEER_SYNCED)
        return; /* the second one, which answers UPTODATE */
    p->state = PEER_ACKED;
    p->read_deadline_ms = NEVER_MS; /* it waits for UPTODATE, without pings to answer */
    sync_uncount(l, p);
    if (p->live_sent > p->acked)
        p->unacked_since_ms = l->now_ms;
    /* Observers too: a proposed configuration may make voters of them (Leader.waitForNewLeaderAck), and the test looks at each configuration's own. */
    sid_set_add(&l->newleader_acks, p->sid);
    if (l->phase == ZAB_LEADER_SERVING)
        peer_send_uptodate(l, p);
    else
        leader_try_serve(l);
}

/* ---- broadcast ---- */

static void on_ping(struct zab_leader *l, struct peer *p, const struct qpacket *q)
{
    struct rd r = qp_data_rd(q->data);
    struct ping_session s;

    while (ping_sessions_next(&r, &s)) {
        struct zab_effect *f = effects_add(&l->fx, ZAB_TOUCH);
        f->conn = p->conn;
        f->session_id = s.session_id;
        f->timeout_ms = s.timeout_ms;
    }
    if (r.rc != 0)
        leader_drop(l, p, "malformed ping");
    else
        bcast_pong(l, p);
}

static struct jstr keep_str(struct arena *a, struct jstr s)
{
    return s.p ? jstr_n(arena_memdup(a, s.p, (size_t)s.n), (size_t)s.n) : s;
}

static struct jids keep_ids(struct arena *a, const struct jids *ids)
{
    struct jids ret = { .n = ids->n };

    if (ids->n <= 0)
        return ret;
    ret.v = arena_alloc(a, (size_t)ids->n * sizeof(*ret.v));
    for (int32_t i = 0; i < ids->n; i++)
        ret.v[i] = (struct jid){ keep_str(a, ids->v[i].scheme), keep_str(a, ids->v[i].id) };
    return ret;
}

static void on_request(struct zab_leader *l, struct peer *p, const struct qpacket *q)
{
    struct forwarded_request req;

    if (forwarded_request_read(q->data, &req) != 0) {
        leader_drop(l, p, "malformed request");
        return;
    }
    req.body = buf_of(arena_memdup(&l->fx.arena, req.body.p, req.body.n), req.body.n);
    struct jids auth = keep_ids(&l->fx.arena, &q->auth);
    struct zab_effect *f = effects_add(&l->fx, ZAB_REQUEST);
    f->conn = p->conn;
    f->request = req;
    f->auth = auth;
    f->session_id = req.session_id;
}

static void on_revalidate(struct zab_leader *l, struct peer *p, const struct qpacket *q)
{
    struct revalidate rv;

    if (revalidate_request_read(q->data, &rv) != 0) {
        leader_drop(l, p, "malformed revalidation");
        return;
    }
    struct zab_effect *f = effects_add(&l->fx, ZAB_REVALIDATE);
    f->conn = p->conn;
    f->session_id = rv.session_id;
    f->timeout_ms = rv.timeout_ms;
}

void zab_leader_revalidated(struct zab_leader *l, uint64_t conn, int64_t session_id, bool valid)
{
    if (l->phase != ZAB_LEADER_SERVING || !leader_find(l, conn))
        return;
    revalidate_reply_packet(effects_packet(&l->fx), session_id, valid);
    effects_send_scratch(&l->fx, conn);
}

static void on_traffic(struct zab_leader *l, struct peer *p, const struct qpacket *q)
{
    if (p->state == PEER_LIVE)
        p->read_deadline_ms = l->now_ms + sync_ms(&l->opt.start);
    switch (q->type) {
    case QP_ACK:
        /* A follower of 3.8.0 acknowledges proposals before NEWLEADER (ZOOKEEPER-4685): any order is accepted, none is lost. */
        if (q->zxid == newleader_zxid(l))
            on_newleader_ack(l, p);
        else if (!p->observer)
            bcast_ack(l, p, q->zxid);
        return;
    case QP_PING:
        on_ping(l, p, q);
        return;
    case QP_REQUEST:
    case QP_REVALIDATE:
        if (p->state != PEER_LIVE)
            leader_drop(l, p, "asks before it may serve");
        else if (q->type == QP_REQUEST)
            on_request(l, p, q);
        else
            on_revalidate(l, p, q);
        return;
    default:
        return; /* the reference logs and goes on */
    }
}

void zab_leader_peer_packet(struct zab_leader *l, uint64_t conn, const struct qpacket *q)
{
    struct peer *p = leader_find(l, conn);

    if (!p || l->phase == ZAB_LEADER_STOPPED)
        return;
    p->last_heard_ms = l->now_ms;
    if (p->state != PEER_NEW)
        p->deadline_tick = MAX(p->deadline_tick, l->tick + l->opt.start.sync_limit);
    switch (p->state) {
    case PEER_NEW:
        on_info(l, p, q);
        break;
    case PEER_WAIT_ACKEPOCH:
        on_ackepoch(l, p, q);
        break;
    case PEER_WAIT_EPOCH:
    case PEER_WAIT_QUORUM:
    case PEER_LOG:
    case PEER_SNAP:
        leader_drop(l, p, "speaks out of turn");
        break;
    case PEER_SYNCED:
    case PEER_ACKED:
    case PEER_LIVE:
        on_traffic(l, p, q);
        break;
    }
}
