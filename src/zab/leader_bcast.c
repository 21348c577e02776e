/* leader_bcast.c - proposals, acknowledgements, commits, syncs and the hand-over by reconfiguration. */
#include "leader.h"

#include "base/relapse.h"

/* ---- proposals ---- */

int64_t zab_leader_next_zxid(const struct zab_leader *l)
{
    if (l->phase != ZAB_LEADER_SERVING || l->handed_over || zxid_counter(l->last_proposed) >= l->opt.counter_max)
        return 0;
    return l->last_proposed + 1;
}

static void see_reconfig(struct zab_leader *l, struct zab_txn *t)
{
    struct quorum_config *c, *v;
    struct quorum_error err;

    ASSERT(!l->seen); /* the core allows one at a time */
    int rc = quorum_config_parse(zab_txn_config(t), &l->opt.start.quorum, &c, &err);
    ASSERT(rc == 0); /* made by our own core from a checked configuration */
    v = c->version == t->zxid ? quorum_config_ref(c) : quorum_config_with_version(c, t->zxid);
    quorum_config_unref(c);
    leader_set_seen(l, v);
}

static void send_proposal(struct zab_leader *l, struct peer *p, struct zab_txn *t)
{
    effects_send(&l->fx, p->conn, zab_txn_packet(t));
    p->sent = p->live_sent = t->zxid;
    if (p->state >= PEER_ACKED && p->unacked_since_ms == NEVER_MS)
        p->unacked_since_ms = l->now_ms;
}

void zab_leader_propose(struct zab_leader *l, int64_t zxid, struct buf txn)
{
    ASSERT(zxid != 0 && zxid == zab_leader_next_zxid(l));
    ASSERT(l->current_epoch == l->epoch && l->appended < zxid);
    struct zab_txn *t = zab_txn_new(zxid, txn);

    /* Followers first: their disks work while ours does. */
    for (size_t i = 0; i < l->peers.len; i++) {
        struct peer *p = l->peers.items[i];
        if (peer_is_live(p) && !p->observer)
            send_proposal(l, p, t);
    }
    effects_txn(&l->fx, ZAB_APPEND, t);
    l->last_proposed = l->appended = zxid;
    if (zab_txn_type(t) == ZK_OP_RECONFIG)
        see_reconfig(l, t);
    txn_fifo_push(&l->outstanding, t);
}

/* ---- acknowledgements ---- */

static void remember_ack(struct zab_leader *l, int64_t sid, int64_t zxid)
{
    for (size_t i = 0; i < l->acks.len; i++) {
        if (l->acks.items[i].sid == sid) {
            l->acks.items[i].zxid = MAX(l->acks.items[i].zxid, zxid);
            return;
        }
    }
    VEC_PUSH(&l->acks, ((struct sid_zxid){ sid, zxid }));
}

/* An acknowledgement says that everything before is durable too: logs are written in order. */
void bcast_ack(struct zab_leader *l, struct peer *p, int64_t zxid)
{
    if (zxid_counter(zxid) == 0 || zxid <= p->acked)
        return;
    if (zxid > p->sent) {
        leader_drop(l, p, "acknowledges what it was never sent");
        return;
    }
    p->acked = zxid;
    if (p->state >= PEER_ACKED)
        p->unacked_since_ms = p->live_sent > zxid ? l->now_ms : NEVER_MS;
    remember_ack(l, p->sid, zxid);
    bcast_try_commit(l);
}

void zab_leader_persisted(struct zab_leader *l, int64_t zxid)
{
    ASSERT(zxid <= l->appended);
    l->persisted = MAX(l->persisted, zxid);
    if (l->phase == ZAB_LEADER_SERVING)
        bcast_try_commit(l);
}

void zab_leader_applied(struct zab_leader *l, int64_t zxid)
{
    ASSERT(zxid <= l->last_committed || l->phase == ZAB_LEADER_STOPPED);
    if (l->phase == ZAB_LEADER_STOPPED || zxid <= l->applied)
        return;
    l->applied = zxid;
    zab_window_keep(l->window, zxid);
}

/* ---- commits ---- */

/* From a reconfiguration on, proposals need quorums of both configurations; those before it only of the old one. */
static bool has_quorum(struct zab_leader *l, int64_t zxid)
{
    struct quorum_view v = leader_view(l);

    if (v.last_seen && zxid < v.last_seen->version)
        v.last_seen = NULL;
    sid_set_clear(&l->scratch);
    if (l->persisted >= zxid)
        sid_set_add(&l->scratch, l->opt.start.my_sid);
    for (size_t i = 0; i < l->acks.len; i++)
        if (l->acks.items[i].zxid >= zxid)
            sid_set_add(&l->scratch, l->acks.items[i].sid);
    return quorum_view_has_quorum(v, &l->scratch);
}

static int64_t acked_by(const struct zab_leader *l, int64_t sid)
{
    for (size_t i = 0; i < l->acks.len; i++)
        if (l->acks.items[i].sid == sid)
            return l->acks.items[i].zxid;
    return -1;
}

/* Who leads once `next` is active: we, if we stay a voter at the same address; else, of the voters that have everything up to
 * zxid, the one that has most of what follows, so that least is lost. */
int64_t bcast_designate(const struct zab_leader *l, const struct quorum_config *next, int64_t zxid)
{
    int64_t me = l->opt.start.my_sid, best = -1, best_zxid = -1;

    if (quorum_config_is_voter(next, me) &&
        quorum_member_same_addr(quorum_config_member(next, me), quorum_config_member(l->committed, me)))
        return me;
    for (size_t i = 0; i < next->voters.len; i++) {
        int64_t sid = next->voters.items[i], acked = acked_by(l, sid);
        if (sid == me || quorum_config_weight(next, sid) == 0)
            continue;
        if (zxid_counter(zxid) == 0) /* at the start: whoever acknowledged NEWLEADER */
            acked = sid_set_has(&l->newleader_acks, sid) ? zxid : -1;
        if (acked >= zxid && acked > best_zxid)
            best = sid, best_zxid = acked;
    }
    return best >= 0 ? best : me;
}

static struct buf inform_packet(struct zab_leader *l, const struct zab_txn *t)
{
    struct buf p = zab_txn_packet(t);
    uint8_t *copy = arena_memdup(&l->fx.arena, p.p, p.n);

    store_u32(copy, QP_INFORM);
    return buf_of(copy, p.n);
}

static void tell_commit(struct zab_leader *l, const struct zab_txn *t, bool activate, int64_t designated)
{
    struct buf bytes = zab_txn_bytes(t), commit, inform = { 0 };

    if (activate)
        commit_and_activate_packet(effects_packet(&l->fx), t->zxid, designated);
    else
        qpacket_encode_bare(effects_packet(&l->fx), QP_COMMIT, t->zxid);
    commit = effects_keep_scratch(&l->fx);
    if (l->observers_live > 0 && activate) {
        inform_and_activate_packet(effects_packet(&l->fx), t->zxid, designated, (struct jbuf){ bytes.p, (int32_t)bytes.n });
        inform = effects_keep_scratch(&l->fx);
    } else if (l->observers_live > 0) {
        inform = inform_packet(l, t);
    }
    for (size_t i = 0; i < l->peers.len; i++) {
        struct peer *p = l->peers.items[i];
        if (!peer_is_live(p))
            continue;
        effects_send(&l->fx, p->conn, p->observer ? inform : commit);
        if (p->observer)
            p->sent = t->zxid;
    }
}

static void answer_first_sync(struct zab_leader *l)
{
    struct pending_sync s = l->syncs.items[l->syncs_head++];

    if (s.conn != 0)
        effects_send_bare(&l->fx, s.conn, QP_SYNC, 0);
    else
        effects_add(&l->fx, ZAB_SYNCED)->tag = s.tag;
}

/* A quorum has acknowledged what was proposed after these syncs came, so it followed us then: nothing else is left to confirm. They have
 * to be answered before that commit is told: Apache's learners (CommitProcessor) take the oldest of their clients' writes and syncs to be
 * the next that comes back, and never go on behind one that was overtaken. */
static void answer_proven_syncs(struct zab_leader *l, int64_t zxid)
{
    while (l->syncs_head < l->syncs.len && l->syncs.items[l->syncs_head].zxid < zxid)
        answer_first_sync(l);
}

static void commit_first(struct zab_leader *l)
{
    struct zab_txn *t = txn_fifo_pop(&l->outstanding);
    bool activate = l->seen && l->seen->version == t->zxid;
    int64_t designated = activate ? bcast_designate(l, l->seen, t->zxid) : -1;

    ASSERT(t->zxid == l->last_committed + 1);
    l->last_committed = t->zxid;
    int rc = zab_window_push(l->window, t);
    ASSERT(rc == 0);
    answer_proven_syncs(l, t->zxid);
    tell_commit(l, t, activate, designated);
    effects_txn(&l->fx, ZAB_COMMIT, t);
    zab_txn_unref(t);
    if (activate)
        leader_activate(l, designated);
}

/* ---- syncs ---- */

/* A sync waits for what was proposed when it came. And, since a leader that was cut off may not know it yet, for a quorum to say that
 * it follows us still (ZOOKEEPER-2136: the reference does not ask): a round of pings that begins after the sync came. Whoever answers
 * such a ping had not left us, so no other leader can have been established before the sync came. A commit of something proposed after
 * it proves the same (answer_proven_syncs). Every implementation answers
 * pings one for one and in order from UPTODATE on, so counting tells which answer belongs to the round. */

static bool round_under_way(const struct zab_leader *l)
{
    return l->round_started > l->round_confirmed;
}

void bcast_ping(struct zab_leader *l, struct peer *p)
{
    ASSERT(p->state == PEER_LIVE);
    effects_send_bare(&l->fx, p->conn, QP_PING, l->last_proposed);
    p->pings_sent++;
    if (round_under_way(l) && p->confirm_at == UINT64_MAX)
        p->confirm_at = p->pings_sent;
}

static void start_round(struct zab_leader *l)
{
    l->round_started++;
    for (size_t i = 0; i < l->peers.len; i++) {
        struct peer *p = l->peers.items[i];
        p->confirm_at = UINT64_MAX;
        if (p->state == PEER_LIVE && !p->observer)
            bcast_ping(l, p);
    }
}

/* Do we and the followers that have answered in this round make a quorum? Alone when no round was asked for. */
static bool confirmed(struct zab_leader *l)
{
    sid_set_clear(&l->scratch);
    sid_set_add(&l->scratch, l->opt.start.my_sid);
    for (size_t i = 0; i < l->peers.len && round_under_way(l); i++) {
        const struct peer *p = l->peers.items[i];
        if (!p->observer && p->state == PEER_LIVE && p->pings_heard >= p->confirm_at)
            sid_set_add(&l->scratch, p->sid);
    }
    return quorum_view_has_quorum(leader_view(l), &l->scratch);
}

static void release_syncs(struct zab_leader *l)
{
    while (l->syncs_head < l->syncs.len) {
        const struct pending_sync *s = &l->syncs.items[l->syncs_head];
        if (s->round > l->round_confirmed || s->zxid > l->last_committed)
            break;
        answer_first_sync(l);
    }
    if (l->syncs_head == l->syncs.len)
        l->syncs_head = l->syncs.len = 0;
}

static void sync_request(struct zab_leader *l, uint64_t conn, uint64_t tag)
{
    struct pending_sync s = { .conn = conn, .tag = tag, .zxid = l->last_proposed };

    if (l->opt.no_confirm_sync || relapse(2136)) {
        s.round = 0;
    } else if (round_under_way(l)) {
        s.round = l->round_started + 1; /* the one under way began too early */
    } else if (confirmed(l)) {
        s.round = 0; /* we are a quorum by ourselves */
    } else {
        start_round(l);
        s.round = l->round_started;
    }
    VEC_PUSH(&l->syncs, s);
    release_syncs(l);
}

void zab_leader_sync(struct zab_leader *l, uint64_t tag)
{
    if (l->phase == ZAB_LEADER_STOPPED)
        return;
    ASSERT(l->phase == ZAB_LEADER_SERVING);
    sync_request(l, 0, tag);
}

void zab_leader_learner_sync(struct zab_leader *l, uint64_t conn)
{
    if (l->phase == ZAB_LEADER_STOPPED || !leader_find(l, conn))
        return;
    ASSERT(l->phase == ZAB_LEADER_SERVING);
    sync_request(l, conn, 0);
}

void bcast_pong(struct zab_leader *l, struct peer *p)
{
    if (p->pings_heard == p->pings_sent)
        return; /* to a ping that we never sent */
    p->pings_heard++;
    if (!round_under_way(l) || p->pings_heard < p->confirm_at || !confirmed(l))
        return;
    l->round_confirmed = l->round_started;
    bool more = l->syncs_head < l->syncs.len && l->syncs.items[l->syncs.len - 1].round > l->round_confirmed;
    release_syncs(l);
    if (more)
        start_round(l);
}

void bcast_forget_syncs(struct zab_leader *l, uint64_t conn)
{
    size_t n = l->syncs_head;

    for (size_t i = l->syncs_head; i < l->syncs.len; i++)
        if (l->syncs.items[i].conn != conn)
            l->syncs.items[n++] = l->syncs.items[i];
    l->syncs.len = n;
}

void bcast_try_commit(struct zab_leader *l)
{
    while (l->outstanding.len > 0 && !l->handed_over && has_quorum(l, txn_fifo_at(&l->outstanding, 0)->zxid))
        commit_first(l);
    release_syncs(l);
    if (l->phase != ZAB_LEADER_SERVING)
        return;
    if (l->handed_over)
        leader_end(l, ZAB_STOP_RECONFIG, "a reconfiguration names another leader");
    else if (l->outstanding.len == 0 && zxid_counter(l->last_proposed) >= l->opt.counter_max)
        leader_end(l, ZAB_STOP_COUNTER, "the epoch's zxids are used up");
}
