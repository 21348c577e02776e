/* learner_bcast.c - the learner while it serves: proposals, commits, answers, pings. */
#include "learner.h"

#include "base/relapse.h"

static void commit_first(struct zab_learner *l)
{
    struct zab_txn *t = txn_fifo_pop(&l->pending);

    learner_apply(l, ZAB_COMMIT, t);
    zab_txn_unref(t);
}

/* UPTODATE came: what was proposed meanwhile goes to the log, what was committed of it to the tree. */
void learner_bcast_begin(struct zab_learner *l)
{
    bool late = relapse(3911) || relapse(3023), logged = relapse(4394) || relapse(3023);

    for (size_t i = late ? l->agreed : 0; i < l->pending.len; i++) {
        if (zxid_epoch(txn_fifo_at(&l->pending, i)->zxid) != l->epoch) {
            learner_lost(l, "a proposal of another epoch is outstanding");
            return;
        }
    }
    l->state = LEARNER_SERVING;
    struct zab_effect *f = effects_add(&l->fx, ZAB_SERVE);
    f->epoch = l->epoch;
    f->zxid = l->applied;
    l->ack_next = 0;
    for (size_t i = 0; i < l->pending.len; i++) {
        struct zab_txn *t = txn_fifo_at(&l->pending, i);
        if (l->ack_next == 0 && zxid_epoch(t->zxid) == l->epoch)
            l->ack_next = t->zxid;
        if (!logged || t->zxid > l->logged)
            learner_append(l, t);
    }
    for (; l->agreed > 0; l->agreed--)
        commit_first(l);
    if (logged)
        learner_bcast_persisted(l);
}

/* One ACK each, in the order of the log, in one write: the reference counts them one by one. */
void learner_bcast_persisted(struct zab_learner *l)
{
    if (l->opt.observer || l->ack_next == 0 || l->ack_next > l->persisted)
        return;
    ASSERT(zxid_epoch(l->ack_next) == zxid_epoch(l->persisted)); /* all of this epoch, without a gap */
    struct wr *w = effects_packet(&l->fx);
    for (; l->ack_next <= l->persisted; l->ack_next++)
        qpacket_encode_bare(w, QP_ACK, l->ack_next);
    effects_send_scratch(&l->fx, 0);
}

static void on_proposal(struct zab_learner *l, int64_t zxid, struct jbuf data)
{
    if (zxid_counter(zxid) == 0)
        return; /* an epoch is no transaction */
    if (zxid_epoch(zxid) != l->epoch) {
        learner_lost(l, "a proposal of another epoch");
        return;
    }
    struct zab_txn *t = learner_txn(l, zxid, data);
    if (!t)
        return;
    learner_append(l, t);
    if (l->ack_next == 0)
        l->ack_next = zxid;
    txn_fifo_push(&l->pending, t);
}

static void activate(struct zab_learner *l, int64_t zxid, int64_t designated)
{
    if (!l->seen || l->seen->version != zxid)
        return; /* an older one than what we have, by way of NEWLEADER */
    struct quorum_config *c = quorum_config_ref(l->seen);
    if (learner_activate(l, c, designated))
        learner_end(l, ZAB_STOP_RECONFIG, 0, "role or leader changed by reconfiguration");
    quorum_config_unref(c);
}

static void on_commit(struct zab_learner *l, int64_t zxid, bool is_activation, int64_t designated)
{
    if (l->pending.len == 0)
        return;
    if (txn_fifo_at(&l->pending, 0)->zxid != zxid) {
        learner_end(l, ZAB_STOP_FATAL, ZAB_EXIT_COMMIT_MISMATCH, "the leader commits something else than was proposed");
        return;
    }
    commit_first(l);
    if (is_activation)
        activate(l, zxid, designated);
}

static void on_activate(struct zab_learner *l, const struct qpacket *p)
{
    int64_t designated;
    struct jbuf data;

    if (activate_read(p->data, &designated, &data) != 0) {
        learner_lost(l, "malformed activation");
        return;
    }
    if (p->type == QP_INFORMANDACTIVATE)
        on_proposal(l, p->zxid, data);
    if (l->state == LEARNER_SERVING)
        on_commit(l, p->zxid, true, designated);
}

static void on_ping(struct zab_learner *l, int64_t zxid)
{
    ping_reply_packet(effects_packet(&l->fx), zxid, l->touched.items, l->touched.len);
    effects_send_scratch(&l->fx, 0);
    l->touched.len = 0;
    u64map_free(&l->touched_at, NULL);
    l->touched_at = (struct u64map){ 0 };
}

static void on_sync(struct zab_learner *l)
{
    if (l->syncs_head == l->syncs.len)
        return; /* nobody asked */
    effects_add(&l->fx, ZAB_SYNCED)->tag = l->syncs.items[l->syncs_head++];
    if (l->syncs_head == l->syncs.len)
        l->syncs_head = l->syncs.len = 0;
}

static void on_revalidate(struct zab_learner *l, const struct qpacket *p)
{
    struct revalidate rv;

    if (revalidate_reply_read(p->data, &rv) != 0) {
        learner_lost(l, "malformed answer about a session");
        return;
    }
    if (l->revalidations == 0)
        return;
    l->revalidations--;
    struct zab_effect *f = effects_add(&l->fx, ZAB_REVALIDATED);
    f->session_id = rv.session_id;
    f->valid = rv.valid;
}

void learner_bcast_packet(struct zab_learner *l, const struct qpacket *p)
{
    bool observer = l->opt.observer;

    switch (p->type) {
    case QP_PING:
        on_ping(l, p->zxid);
        return;
    case QP_PROPOSAL:
        if (!observer)
            on_proposal(l, p->zxid, p->data);
        return;
    case QP_COMMIT:
        if (!observer)
            on_commit(l, p->zxid, false, -1);
        return;
    case QP_COMMITANDACTIVATE:
        if (!observer)
            on_activate(l, p);
        return;
    case QP_INFORM:
        if (!observer)
            return;
        on_proposal(l, p->zxid, p->data);
        if (l->state == LEARNER_SERVING)
            on_commit(l, p->zxid, false, -1);
        return;
    case QP_INFORMANDACTIVATE:
        if (observer)
            on_activate(l, p);
        return;
    case QP_REVALIDATE:
        on_revalidate(l, p);
        return;
    case QP_SYNC:
        on_sync(l);
        return;
    default:
        return; /* the reference logs and goes on */
    }
}
