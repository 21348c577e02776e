/* learner_sync.c - makes the server's history the leader's: from DIFF, TRUNC or SNAP up to UPTODATE.
 *
 * The order is the point (ZOOKEEPER-3911, 4643, 4646, 4685, 3023): what the leader had committed is appended, applied and
 * synced; then currentEpoch is written; then NEWLEADER is acknowledged, before anything else is said. Proposals
 * without a commit wait in the queue until UPTODATE (ZOOKEEPER-4394), and are acknowledged after it.
 * Where the reference takes a snapshot after TRUNC, we log what follows as after DIFF: the log is whole either way. */
#include "learner.h"

#include "base/relapse.h"

/* ---- the operation ---- */

static void begin_sync(struct zab_learner *l, int64_t history_end)
{
    l->queued = history_end;
    l->any_queued = false;
    l->state = LEARNER_SYNCING;
}

static void on_trunc(struct zab_learner *l, int64_t zxid)
{
    if (zxid < 0 || zxid > l->logged) {
        learner_lost(l, "the leader truncates to what we do not have");
        return;
    }
    l->state = LEARNER_TRUNCATING;
    l->disk_unlike_memory = true;
    effects_add(&l->fx, ZAB_TRUNCATE_LOG)->zxid = zxid;
    l->queued = zxid;
}

static void on_snap(struct zab_learner *l, int64_t zxid)
{
    if (zxid < 0 || zxid_epoch(zxid) > l->epoch) {
        learner_lost(l, "the leader's snapshot is of a later epoch than its own");
        return;
    }
    l->state = LEARNER_LOADING;
    l->disk_unlike_memory = true;
    l->to_log = false;
    l->snap_zxid = zxid;
    effects_add(&l->fx, ZAB_LOAD_SNAPSHOT)->zxid = zxid;
}

static void note_op(struct zab_learner *l, const struct qpacket *p)
{
    effects_add(&l->fx, ZAB_NOTE)->text =
        arena_printf(&l->fx.arena, "synchronising with the leader by %s at zxid 0x%llx: we have 0x%llx", qp_type_str(p->type),
                     (unsigned long long)p->zxid, (unsigned long long)l->logged);
}

static void on_op(struct zab_learner *l, const struct qpacket *p)
{
    if (l->opt.resync && p->type != QP_SNAP) {
        learner_lost(l, "the leader does not send the snapshot that was asked for");
        return;
    }
    switch (p->type) {
    case QP_DIFF:
        note_op(l, p);
        begin_sync(l, l->logged);
        return;
    case QP_TRUNC:
        note_op(l, p);
        on_trunc(l, p->zxid);
        return;
    case QP_SNAP:
        note_op(l, p);
        on_snap(l, p->zxid);
        return;
    default:
        learner_lost(l, "the leader does not synchronise us");
    }
}

void zab_learner_truncated(struct zab_learner *l, int rc)
{
    if (l->state == LEARNER_STOPPED)
        return;
    ASSERT(l->state == LEARNER_TRUNCATING);
    if (rc == RC_NOTFOUND) {
        learner_end(l, ZAB_STOP_RESYNC, 0, "the log has nothing to truncate to");
        return;
    }
    if (rc != 0) { /* going on with the longer log would split the history (ZOOKEEPER-3701) */
        learner_end(l, ZAB_STOP_FATAL, ZAB_EXIT_TRUNCATE, "the log could not be truncated");
        return;
    }
    l->disk_unlike_memory = false;
    l->applied = l->logged = l->persisted = l->queued;
    zab_window_truncate(l->window, l->queued);
    if (zab_window_len(l->window) == 0)
        zab_window_reset(l->window, l->queued);
    begin_sync(l, l->queued);
    learner_deadline(l);
}

void zab_learner_snapshot_loaded(struct zab_learner *l, int rc)
{
    if (l->state == LEARNER_STOPPED)
        return;
    ASSERT(l->state == LEARNER_LOADING);
    if (rc != 0) {
        learner_lost(l, "the snapshot is not whole"); /* a part of a tree is none (ZOOKEEPER-3642): reload says so */
        return;
    }
    l->applied = l->snap_zxid;
    zab_window_reset(l->window, l->snap_zxid);
    begin_sync(l, l->snap_zxid);
    learner_deadline(l);
}

/* ---- proposals and commits on the way ---- */

static void apply_first(struct zab_learner *l)
{
    struct zab_txn *t = txn_fifo_pop(&l->pending);

    learner_apply(l, ZAB_REPLAY, t);
    zab_txn_unref(t);
}

static void on_proposal(struct zab_learner *l, int64_t zxid, struct jbuf data)
{
    struct zab_txn *t = learner_txn(l, zxid, data);

    if (t)
        txn_fifo_push(&l->pending, t);
}

static void activate_txn(struct zab_learner *l, const struct zab_txn *t, int64_t designated)
{
    struct quorum_config *c;
    struct quorum_error err;

    if (zab_txn_type(t) != ZK_OP_RECONFIG || quorum_config_parse(zab_txn_config(t), &l->opt.start.quorum, &c, &err) < 0) {
        learner_lost(l, "the leader activates what is no configuration");
        return;
    }
    struct quorum_config *v = quorum_config_with_version(c, t->zxid);
    if (learner_activate(l, v, designated))
        learner_end(l, ZAB_STOP_RECONFIG, 0, "role or leader changed by reconfiguration");
    quorum_config_unref(v);
    quorum_config_unref(c);
}

/* designated: -1 for a plain commit. */
static void on_commit(struct zab_learner *l, int64_t zxid, bool activate, int64_t designated)
{
    if (l->agreed == l->pending.len)
        return; /* of something that was never proposed here: we have it already */
    struct zab_txn *t = txn_fifo_at(&l->pending, l->agreed);
    ASSERT(!relapse(4394) || l->state != LEARNER_WAIT_UPTODATE || t->zxid > l->logged); /* where the reference met a null */
    if (t->zxid != zxid) {
        if (zxid > t->zxid)
            learner_lost(l, "the leader commits out of order");
        return;
    }
    if (activate) {
        activate_txn(l, t, designated);
        if (l->state == LEARNER_STOPPED)
            return;
    }
    if (l->to_log)
        l->agreed++;
    else
        apply_first(l);
}

static void on_inform(struct zab_learner *l, int64_t zxid, bool activate, int64_t designated, struct jbuf data)
{
    on_proposal(l, zxid, data);
    if (l->state != LEARNER_STOPPED)
        on_commit(l, zxid, activate, designated);
}

/* ---- NEWLEADER ---- */

/* Appends and applies what is committed, then waits for the disk. */
static void log_agreed(struct zab_learner *l)
{
    l->to_log = true;
    if (relapse(3023)) { /* memory follows with UPTODATE */
        for (size_t i = 0; i < l->agreed; i++)
            learner_append(l, txn_fifo_at(&l->pending, i));
    }
    while (l->agreed > 0 && !relapse(3911) && !relapse(3023)) {
        learner_append(l, txn_fifo_at(&l->pending, 0));
        apply_first(l);
        l->agreed--;
    }
    for (size_t i = 0; i < l->pending.len && relapse(4394); i++)
        learner_append(l, txn_fifo_at(&l->pending, i));
    l->state = LEARNER_LOGGING;
    learner_sync_logged(l);
}

static void on_newleader(struct zab_learner *l, const struct qpacket *p)
{
    if (p->zxid != zxid_of(l->epoch, 0)) {
        learner_lost(l, "the leader changes its epoch");
        return;
    }
    if (p->data.p && p->data.n > 1) {
        struct quorum_error err;
        if (quorum_config_parse(buf_of(p->data.p, (size_t)p->data.n), &l->opt.start.quorum, &l->from_newleader, &err) < 0) {
            learner_lost(l, "malformed configuration");
            return;
        }
        int rc = learner_see_config(l, buf_of(p->data.p, (size_t)p->data.n), -1);
        ASSERT(rc == 0); /* parsed just now */
        /* Had it been committed, a quorum would have it, and so would whom that quorum elected. */
        learner_withdraw_config(l, l->from_newleader->version);
    }
    if (l->opt.no_observer_log && l->seen && quorum_config_is_voter(l->seen, l->opt.start.my_sid)) {
        learner_lost(l, "a proposed configuration makes a voter of this observer: it keeps a log from now on");
    } else if (!l->to_log && l->pending.len > 0 && txn_fifo_at(&l->pending, 0)->zxid <= l->applied) {
        learner_lost(l, "the leader's snapshot holds what it has not committed");
    } else if (!l->to_log) {
        l->state = LEARNER_STORING;
        effects_add(&l->fx, ZAB_STORE_SNAPSHOT)->zxid = l->applied;
    } else if (relapse(4643) && l->current_epoch != l->epoch) {
        l->state = LEARNER_PERSIST_CURRENT;
        effects_add(&l->fx, ZAB_PERSIST_CURRENT_EPOCH)->epoch = l->epoch;
    } else {
        log_agreed(l);
    }
}

void zab_learner_snapshot_stored(struct zab_learner *l)
{
    if (l->state == LEARNER_STOPPED)
        return;
    ASSERT(l->state == LEARNER_STORING && l->agreed == 0);
    l->disk_unlike_memory = false;
    l->logged = l->persisted = l->applied;
    l->queued = MAX(l->queued, l->applied);
    log_agreed(l);
}

/* Goes from LOGGING to the acknowledgement, as far as the disk has come. */
void learner_sync_logged(struct zab_learner *l)
{
    if (l->state == LEARNER_LOGGING && l->persisted < l->logged && !relapse(4646))
        return;
    if (l->current_epoch != l->epoch) {
        l->state = LEARNER_PERSIST_CURRENT;
        effects_add(&l->fx, ZAB_PERSIST_CURRENT_EPOCH)->epoch = l->epoch;
        return;
    }
    ASSERT((l->persisted == l->logged || relapse(4646)) && l->current_epoch == l->epoch && !l->disk_unlike_memory);
    l->state = LEARNER_WAIT_UPTODATE;
    effects_send_bare(&l->fx, 0, QP_ACK, zxid_of(l->epoch, 0));
    learner_deadline(l);
}

void learner_sync_epoch(struct zab_learner *l)
{
    if (relapse(4643))
        log_agreed(l);
    else
        learner_sync_logged(l);
}

/* A leader that serves already names what it has proposed and not committed, too (and Apache's do): that stays a proposal, until a commit activates it. What
 * bears an earlier epoch it has finished before it said UPTODATE. */
static bool only_proposed(const struct zab_learner *l, int64_t version)
{
    return zxid_epoch(version) == l->epoch && zxid_counter(version) != 0 && version > l->applied;
}

static void on_uptodate(struct zab_learner *l)
{
    if (l->state != LEARNER_WAIT_UPTODATE) {
        learner_lost(l, "UPTODATE without NEWLEADER");
        return;
    }
    if (l->from_newleader && !only_proposed(l, l->from_newleader->version) && learner_activate(l, l->from_newleader, -1)) {
        learner_end(l, ZAB_STOP_RECONFIG, 0, "role or leader changed by reconfiguration");
        return;
    }
    effects_send_bare(&l->fx, 0, QP_ACK, zxid_of(l->epoch, 0));
    learner_bcast_begin(l);
}

static void sync_loop_packet(struct zab_learner *l, const struct qpacket *p)
{
    int64_t designated;
    struct jbuf data;

    switch (p->type) {
    case QP_PROPOSAL:
        on_proposal(l, p->zxid, p->data);
        return;
    case QP_COMMIT:
        on_commit(l, p->zxid, false, -1);
        return;
    case QP_INFORM:
        on_inform(l, p->zxid, false, -1, p->data);
        return;
    case QP_COMMITANDACTIVATE:
    case QP_INFORMANDACTIVATE:
        if (activate_read(p->data, &designated, &data) != 0)
            learner_lost(l, "malformed activation");
        else if (p->type == QP_COMMITANDACTIVATE)
            on_commit(l, p->zxid, true, designated);
        else
            on_inform(l, p->zxid, true, designated, data);
        return;
    case QP_NEWLEADER:
        if (l->state == LEARNER_SYNCING)
            on_newleader(l, p);
        return;
    case QP_UPTODATE:
        on_uptodate(l);
        return;
    default:
        return; /* a PING too: before ACK(NEWLEADER) the reference's leader takes anything else for it */
    }
}

void learner_sync_packet(struct zab_learner *l, const struct qpacket *p)
{
    if (l->state == LEARNER_WAIT_OP)
        on_op(l, p);
    else
        sync_loop_packet(l, p);
}
