/* leader_sync.c - brings one learner's history in line with the leader's: DIFF, TRUNC, SNAP, or a walk over the log on disk.
 *
 * A learner is given its position, every outstanding proposal and its place in the broadcast in one step (position), so
 * that nothing proposed or committed meanwhile is left out or sent twice.
 * Unlike the reference, nothing is queued for a learner while a snapshot streams or the log is read: what was committed
 * meanwhile is sent afterwards from the window, or from the log on disk when that took long. So a slow learner costs
 * the leader no memory. NEWLEADER comes behind all that is committed (ZOOKEEPER-3104), ahead of all that is not. */
#include "leader.h"

#include "base/relapse.h"

#define LOG_PASSES_MAX 16 /* readings of the log one after another, each for what was committed during the one before */

void sync_uncount(struct zab_leader *l, struct peer *p)
{
    if (p->snap_counted)
        l->snap_syncs--;
    if (p->diff_counted)
        l->diff_syncs--;
    p->snap_counted = p->diff_counted = false;
}

/* Voters are exempt: the ensemble needs them. */
static bool throttled(struct zab_leader *l, struct peer *p, bool snap)
{
    if (quorum_view_is_voter(leader_view(l), p->sid) && !p->observer)
        return false;
    sync_uncount(l, p);
    if (snap ? l->snap_syncs >= l->opt.max_snap_syncs : l->diff_syncs >= l->opt.max_diff_syncs) {
        leader_drop(l, p, "too many learners synchronise");
        return true;
    }
    if (snap)
        l->snap_syncs++, p->snap_counted = true;
    else
        l->diff_syncs++, p->diff_counted = true;
    return false;
}

static void send_committed(struct zab_leader *l, struct peer *p, struct zab_txn *t)
{
    effects_send(&l->fx, p->conn, zab_txn_packet(t));
    effects_hold(&l->fx, t);
    effects_send_bare(&l->fx, p->conn, QP_COMMIT, t->zxid);
    p->sync_at = p->sent = t->zxid;
}

static void send_newleader(struct zab_leader *l, struct peer *p)
{
    struct quorum_config *c = newest_config(l->committed, l->seen);
    struct wr *w = effects_packet(&l->fx);
    size_t at = qpacket_begin(w, QP_NEWLEADER, newleader_zxid(l));

    wr_bytes(w, c->text.p, c->text.n);
    qpacket_end(w, at, NULL);
    effects_send_scratch(&l->fx, p->conn);
}

static void send_outstanding(struct zab_leader *l, struct peer *p)
{
    for (size_t i = 0; i < l->outstanding.len; i++) {
        struct zab_txn *t = txn_fifo_at(&l->outstanding, i);
        effects_send(&l->fx, p->conn, zab_txn_packet(t));
        effects_hold(&l->fx, t);
        p->sent = p->live_sent = t->zxid;
    }
}

/* The rest of the window from `first`, NEWLEADER, what is outstanding, and from here on everything.
 * The reference puts what is outstanding in front of NEWLEADER. A follower of 3.8 hands that to its log and forgets it, and stumbles
 * over the commit when that comes before UPTODATE (ZOOKEEPER-4394): under load it had to come twice, and had logged all of it
 * twice. Behind NEWLEADER every learner takes it for the live traffic that it is. */
static void position(struct zab_leader *l, struct peer *p, size_t first)
{
    bool early = p->state == PEER_SNAP && relapse(3104), late = relapse(4394) && !early;

    if (early)
        send_newleader(l, p);
    for (size_t i = first; i < zab_window_len(l->window); i++)
        send_committed(l, p, zab_window_at(l->window, i));
    if (!early && !late)
        send_newleader(l, p);
    if (p->observer)
        l->observers_live++;
    else
        send_outstanding(l, p);
    p->state = PEER_SYNCED;
    p->read_deadline_ms = l->now_ms + init_ms(&l->opt.start);
    if (late)
        send_newleader(l, p);
}

static void send_op(struct zab_leader *l, struct peer *p, int32_t type, int64_t zxid)
{
    ASSERT(!p->op_sent);
    p->op_sent = true;
    l->diff_count += type == QP_DIFF;
    effects_add(&l->fx, ZAB_NOTE)->text =
        arena_printf(&l->fx.arena, "synchronising server %lld by %s%s at zxid 0x%llx: it has 0x%llx", (long long)p->sid,
                     qp_type_str(type), p->state == PEER_LOG ? " from the log" : "", (unsigned long long)zxid,
                     (unsigned long long)p->last_zxid);
    effects_send_bare(&l->fx, p->conn, type, zxid);
}

static void start_snapshot(struct zab_leader *l, struct peer *p)
{
    if (throttled(l, p, true))
        return;
    (void)sid_set_remove(&l->snap_next, p->sid); /* need not be in */
    p->state = PEER_SNAP;
    p->sync_at = p->sent = l->applied;
    send_op(l, p, QP_SNAP, l->applied);
    struct zab_effect *f = effects_add(&l->fx, ZAB_SEND_SNAPSHOT);
    f->conn = p->conn;
    f->zxid = l->applied;
}

static void read_log(struct zab_leader *l, struct peer *p, int64_t from)
{
    p->state = PEER_LOG;
    p->log_prev = -1;
    p->log_to = zab_window_base(l->window);
    p->log_passes++;
    struct zab_effect *f = effects_add(&l->fx, ZAB_READ_LOG);
    f->conn = p->conn;
    f->zxid = from;
    f->to_zxid = p->log_to;
    f->required = p->op_sent; /* there is no way back to another op */
}

/* Everything up to sync_at is there. The window takes over if it begins early enough. */
static void go_on(struct zab_leader *l, struct peer *p)
{
    if (zab_window_base(l->window) <= p->sync_at) {
        position(l, p, zab_window_after(l->window, p->sync_at));
    } else if (p->log_passes < LOG_PASSES_MAX) {
        read_log(l, p, p->sync_at);
    } else {
        sid_set_add(&l->snap_next, p->sid);
        leader_drop(l, p, "falls behind faster than it can be synchronised");
    }
}

/* A server that comes back may be told to truncate proposals that it had acknowledged: until it acknowledges them anew, those
 * acknowledgements no longer say what its disk holds. */
static void forget_acks(struct zab_leader *l, int64_t sid)
{
    for (size_t i = 0; i < l->acks.len; i++)
        if (l->acks.items[i].sid == sid)
            l->acks.items[i].zxid = 0;
}

void sync_start(struct zab_leader *l, struct peer *p)
{
    forget_acks(l, p->sid);
    bool force = l->opt.force_snapshot || sid_set_has(&l->snap_next, p->sid);
    struct zab_sync_plan plan = zab_sync_decide(l->window, p->last_zxid, l->last_committed, force);

    switch (plan.how) {
    case ZAB_SYNC_SNAP:
        start_snapshot(l, p);
        return;
    case ZAB_SYNC_DIFF:
    case ZAB_SYNC_TRUNC:
        if (throttled(l, p, false))
            return;
        p->sync_at = p->sent = plan.how == ZAB_SYNC_TRUNC ? plan.zxid : p->last_zxid;
        send_op(l, p, plan.how == ZAB_SYNC_DIFF ? QP_DIFF : QP_TRUNC, plan.zxid);
        position(l, p, plan.first);
        return;
    case ZAB_SYNC_LOG:
        if (throttled(l, p, false))
            return;
        p->sync_at = p->last_zxid;
        read_log(l, p, p->last_zxid);
        return;
    }
}

/* The log does not lead where it should: with an op sent, the learner has to come again. */
static void log_useless(struct zab_leader *l, struct peer *p)
{
    if (!p->op_sent) {
        start_snapshot(l, p);
        return;
    }
    sid_set_add(&l->snap_next, p->sid);
    leader_drop(l, p, "the log on disk has a gap");
}

static void log_first(struct zab_leader *l, struct peer *p, int64_t zxid, bool *ret_send)
{
    switch (zab_walk_step(p->last_zxid, p->log_prev, zxid)) {
    case ZAB_WALK_SKIP:
        break;
    case ZAB_WALK_DIFF:
        send_op(l, p, QP_DIFF, zab_window_max(l->window));
        p->sync_at = p->sent = zxid;
        break;
    case ZAB_WALK_DIFF_SEND:
        send_op(l, p, QP_DIFF, zab_window_max(l->window));
        *ret_send = true;
        break;
    case ZAB_WALK_TRUNC:
        send_op(l, p, QP_TRUNC, p->log_prev);
        p->sync_at = p->sent = p->log_prev;
        *ret_send = true;
        break;
    case ZAB_WALK_SNAP:
        start_snapshot(l, p);
        break;
    }
}

void zab_leader_log_record(struct zab_leader *l, uint64_t conn, int64_t zxid, struct buf txn)
{
    struct peer *p = leader_find(l, conn);
    bool send = false;

    if (!p || p->state != PEER_LOG || l->phase == ZAB_LEADER_STOPPED)
        return; /* dropped meanwhile, or given up for a snapshot */
    if (p->op_sent)
        send = zxid > p->sync_at;
    else
        log_first(l, p, zxid, &send);
    if (leader_find(l, conn) != p || p->state != PEER_LOG)
        return;
    p->log_prev = zxid;
    if (!send)
        return;
    ASSERT(zxid <= p->log_to); /* the shell must not show what is not committed */
    if (!zxid_follows(p->sync_at, zxid)) {
        log_useless(l, p); /* never send gaps: the learner would log them (ZOOKEEPER-4925) */
        return;
    }
    struct zab_txn *t = zab_txn_new(zxid, txn);
    send_committed(l, p, t);
    zab_txn_unref(t);
}

void zab_leader_log_end(struct zab_leader *l, uint64_t conn, int rc)
{
    struct peer *p = leader_find(l, conn);

    if (!p || p->state != PEER_LOG || l->phase == ZAB_LEADER_STOPPED)
        return;
    if (rc == 0 && p->op_sent && p->sync_at >= p->log_to)
        go_on(l, p);
    else
        log_useless(l, p);
}

void zab_leader_snapshot_done(struct zab_leader *l, uint64_t conn, int rc)
{
    struct peer *p = leader_find(l, conn);

    if (!p || p->state != PEER_SNAP || l->phase == ZAB_LEADER_STOPPED)
        return;
    if (rc != 0)
        leader_drop(l, p, "the snapshot could not be sent");
    else
        go_on(l, p);
}
