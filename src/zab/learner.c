/* learner.c - the learner's life: handshake, timers, configurations, and what its own clients want from the leader. */
#include "learner.h"

#include "base/relapse.h"

static const struct zab_start *start_of(const struct zab_learner *l)
{
    return &l->opt.start;
}

struct zab_learner *zab_learner_new(const struct zab_learner_options *opt)
{
    const struct zab_start *s = &opt->start;
    struct zab_learner *l = x_calloc(1, sizeof(*l));

    ASSERT(s->tick_ms > 0 && s->init_limit > 0 && s->sync_limit > 0);
    ASSERT(s->accepted_epoch >= s->current_epoch);
    ASSERT(s->last_zxid == -1 || s->current_epoch >= zxid_epoch(s->last_zxid) || relapse(3642));
    l->opt = *opt;
    l->window = s->window;
    if (zab_window_len(l->window) == 0)
        zab_window_reset(l->window, MAX(s->last_zxid, 0));
    l->committed = quorum_config_ref(s->committed);
    if (s->last_seen && s->last_seen->version > s->committed->version)
        l->seen = quorum_config_ref(s->last_seen);
    l->accepted_epoch = s->accepted_epoch;
    l->current_epoch = s->current_epoch;
    l->queued = l->applied = l->logged = l->persisted = MAX(s->last_zxid, 0);
    l->snap_zxid = -1;
    l->to_log = true;
    l->now_ms = s->now_ms;
    learner_deadline(l);
    return l;
}

void zab_learner_free(struct zab_learner *l)
{
    if (!l)
        return;
    txn_fifo_free(&l->pending);
    VEC_FREE(&l->syncs);
    VEC_FREE(&l->touched);
    u64map_free(&l->touched_at, NULL);
    quorum_config_unref(l->committed);
    quorum_config_unref(l->seen);
    quorum_config_unref(l->from_newleader);
    effects_free(&l->fx);
    free(l);
}

/* ---- the end ---- */

void learner_end(struct zab_learner *l, enum zab_stop how, int exit_code, const char *why)
{
    bool tail = l->state == LEARNER_SERVING && !relapse(2845), in_memory = l->state == LEARNER_SYNCING && relapse(3642);

    if (l->state == LEARNER_STOPPED)
        return;
    l->state = LEARNER_STOPPED;
    /* Before the next vote memory has to be what the log is: the logged tail counts, committed or not (ZOOKEEPER-2845). What was
     * queued and not logged is forgotten. */
    while (tail && how != ZAB_STOP_FATAL && l->pending.len > 0) {
        struct zab_txn *t = txn_fifo_pop(&l->pending);
        learner_apply(l, ZAB_REPLAY, t);
        zab_txn_unref(t);
    }
    struct zab_effect *f = effects_add(&l->fx, ZAB_STOP);
    f->stop = how;
    f->exit_code = exit_code;
    f->text = why;
    f->zxid = l->logged;
    f->reload = l->disk_unlike_memory && !in_memory;
}

void zab_learner_stop(struct zab_learner *l)
{
    learner_end(l, ZAB_STOP_ASKED, 0, "asked to");
}

void zab_learner_closed(struct zab_learner *l)
{
    learner_lost(l, "the connection to the leader is gone");
}

/* ---- time ---- */

/* Until UPTODATE the leader may have to wait for others, for as long as initLimit. */
void learner_deadline(struct zab_learner *l)
{
    const struct zab_start *s = start_of(l);
    int64_t init = (int64_t)s->tick_ms * s->init_limit, sync = (int64_t)s->tick_ms * s->sync_limit;

    l->deadline_ms = l->now_ms + (l->state == LEARNER_SERVING ? sync : MAX(init, sync));
}

/* While we work ourselves, the leader's silence is no sign. */
static bool is_timed(const struct zab_learner *l)
{
    return l->state == LEARNER_CONNECTING || l->state == LEARNER_LOADING || !learner_holds(l->state);
}

void zab_learner_heard(struct zab_learner *l)
{
    learner_deadline(l);
}

void zab_learner_tick(struct zab_learner *l, int64_t now_ms)
{
    ASSERT(now_ms >= l->now_ms);
    int64_t late = now_ms - l->now_ms - start_of(l)->tick_ms;
    l->now_ms = now_ms;
    if (late > start_of(l)->tick_ms) /* it was us who stood still: what the leader said meanwhile has not been read yet */
        l->deadline_ms += late;
    if (is_timed(l) && now_ms >= l->deadline_ms)
        learner_lost(l, l->state == LEARNER_CONNECTING ? "no connection to the leader in time" : "the leader is silent");
}

int64_t zab_learner_next_wake(const struct zab_learner *l)
{
    return is_timed(l) ? MIN(l->deadline_ms, l->now_ms + start_of(l)->tick_ms) : INT64_MAX; /* every tick, to know if we stood still */
}

bool zab_learner_ready(const struct zab_learner *l)
{
    return !learner_holds(l->state);
}

/* ---- configurations ---- */

int learner_see_config(struct zab_learner *l, struct buf text, int64_t version)
{
    struct quorum_config *c;
    struct quorum_error err;
    int rc = quorum_config_parse(text, &start_of(l)->quorum, &c, &err);

    if (rc < 0)
        return rc;
    if (!start_of(l)->reconfig_enabled) { /* so the reference: what the file says stays */
        quorum_config_unref(c);
        return 0;
    }
    if (version >= 0 && c->version != version) {
        struct quorum_config *v = quorum_config_with_version(c, version);
        quorum_config_unref(c);
        c = v;
    }
    if (c->version > newest_config(l->committed, l->seen)->version) {
        quorum_config_unref(l->seen);
        l->seen = quorum_config_ref(c);
        effects_config(&l->fx, ZAB_CONFIG_SEEN, c);
    }
    quorum_config_unref(c);
    return 0;
}

void learner_withdraw_config(struct zab_learner *l, int64_t version)
{
    if (!l->seen || version >= l->seen->version)
        return;
    quorum_config_unref(l->seen);
    l->seen = NULL;
    effects_config(&l->fx, ZAB_CONFIG_SEEN, l->committed);
}

/* Nobody said who leads from now on. The leader does, if it has a vote in both and stays where it is. */
static bool leader_stays(const struct zab_learner *l, const struct quorum_config *next)
{
    const struct quorum_member *was = quorum_config_member(l->committed, l->opt.leader_sid);
    const struct quorum_member *is = quorum_config_member(next, l->opt.leader_sid);

    return was && is && was->role == MEMBER_PARTICIPANT && is->role == MEMBER_PARTICIPANT && quorum_member_same_addr(was, is);
}

bool learner_activate(struct zab_learner *l, struct quorum_config *c, int64_t designated)
{
    const struct quorum_member *me = quorum_config_member(c, start_of(l)->my_sid);
    /* Who is no member any more goes on as a follower without a vote. */
    bool observer = me && me->role == MEMBER_OBSERVER, changed;

    if (c->version <= l->committed->version || !start_of(l)->reconfig_enabled)
        return false;
    if (quorum_config_same_members(c, l->committed))
        changed = false;
    else
        changed = observer != l->opt.observer || (designated >= 0 ? designated != l->opt.leader_sid : !leader_stays(l, c));
    quorum_config_ref(c);
    quorum_config_unref(l->committed);
    l->committed = c;
    effects_config(&l->fx, ZAB_CONFIG_ACTIVATE, c)->designated = designated;
    if (l->seen && l->seen->version <= c->version) {
        quorum_config_unref(l->seen);
        l->seen = NULL;
    }
    return changed;
}

/* ---- the log and the tree ---- */

/* Gives a transaction to the tree. All that is applied goes into the window too (ZOOKEEPER-4925), but what a snapshot had already. */
void learner_apply(struct zab_learner *l, enum zab_effect_type how, struct zab_txn *t)
{
    effects_txn(&l->fx, how, t);
    if (t->zxid <= l->applied) {
        ASSERT(l->snap_zxid >= 0 && t->zxid <= l->snap_zxid);
        return;
    }
    l->applied = t->zxid;
    if (how == ZAB_REPLAY && relapse(4925))
        return;
    int rc = zab_window_push(l->window, t);
    ASSERT(rc == 0);
}

void learner_append(struct zab_learner *l, struct zab_txn *t)
{
    ASSERT(l->to_log && (zxid_follows(l->logged, t->zxid) || relapse(4925)));
    ASSERT(l->accepted_epoch >= zxid_epoch(t->zxid));
    l->logged = t->zxid;
    if (l->opt.observer && l->opt.no_observer_log)
        l->persisted = t->zxid; /* nothing to wait for */
    else
        effects_txn(&l->fx, ZAB_APPEND, t);
}

struct zab_txn *learner_txn(struct zab_learner *l, int64_t zxid, struct jbuf data)
{
    /* Behind a snapshot the leader may begin with transactions that are in it; then, and always else, without a gap. */
    bool fits = zxid_follows(l->queued, zxid) ||
                (!l->any_queued && !l->to_log && zxid > 0 && zxid_counter(zxid) != 0 && zxid <= l->snap_zxid);

    fits |= zxid > l->queued && relapse(4925);
    if (!data.p || !fits || zxid_epoch(zxid) > l->epoch) {
        learner_lost(l, "the leader's proposals have a gap");
        return NULL;
    }
    struct zab_txn *t = zab_txn_new(zxid, buf_of(data.p, (size_t)data.n));
    if (zab_txn_type(t) == ZK_OP_RECONFIG && learner_see_config(l, zab_txn_config(t), zxid) < 0) {
        zab_txn_unref(t);
        learner_lost(l, "malformed configuration");
        return NULL;
    }
    l->queued = zxid;
    l->any_queued = true;
    return t;
}

/* ---- handshake ---- */

void zab_learner_opened(struct zab_learner *l)
{
    if (l->state == LEARNER_STOPPED)
        return;
    ASSERT(l->state == LEARNER_CONNECTING);
    struct learner_info info = { .sid = start_of(l)->my_sid, .protocol_version = QP_PROTOCOL_VERSION,
        .config_version = l->committed->version };

    learner_info_packet(effects_packet(&l->fx), l->opt.observer, (uint32_t)l->accepted_epoch, &info);
    effects_send_scratch(&l->fx, 0);
    l->state = LEARNER_WAIT_LEADERINFO;
    learner_deadline(l);
}

/* epoch: what we say our currentEpoch was; -1 when it must be neither compared nor counted. */
static void send_ackepoch(struct zab_learner *l, int32_t epoch)
{
    int64_t last = start_of(l)->last_zxid;

    if (l->opt.resync) /* as a server without a database: 0 would get a DIFF from a leader that has nothing either */
        last = epoch = -1;
    qp_i32_packet(effects_packet(&l->fx), QP_ACKEPOCH, last, epoch);
    effects_send_scratch(&l->fx, 0);
    l->state = LEARNER_WAIT_OP;
    learner_deadline(l);
}

static void on_leaderinfo(struct zab_learner *l, const struct qpacket *p)
{
    int32_t version;

    if (p->type != QP_LEADERINFO || qp_i32_read(p->data, &version) != 0 || version < QP_PROTOCOL_VERSION || p->zxid < 0) {
        learner_lost(l, "the leader does not answer as one");
        return;
    }
    l->epoch = zxid_epoch(p->zxid);
    if (l->opt.observer && l->epoch < l->accepted_epoch && l->epoch >= l->current_epoch) {
        send_ackepoch(l, -1); /* nobody counted an observer's promise: it need not stay out until a later epoch */
    } else if (l->epoch < l->accepted_epoch) {
        learner_lost(l, "the leader's epoch is older than what we accepted");
    } else if (l->epoch == l->accepted_epoch) {
        send_ackepoch(l, -1);
    } else {
        l->state = LEARNER_PERSIST_ACCEPTED;
        effects_add(&l->fx, ZAB_PERSIST_ACCEPTED_EPOCH)->epoch = l->epoch;
    }
}

void zab_learner_packet(struct zab_learner *l, const struct qpacket *p)
{
    if (l->state == LEARNER_STOPPED)
        return;
    ASSERT(zab_learner_ready(l));
    switch (l->state) {
    case LEARNER_WAIT_LEADERINFO:
        on_leaderinfo(l, p);
        break;
    case LEARNER_SERVING:
        learner_bcast_packet(l, p);
        break;
    default:
        learner_sync_packet(l, p);
        break;
    }
    learner_deadline(l);
}

/* ---- completions ---- */

void zab_learner_epoch_persisted(struct zab_learner *l, enum zab_epoch_file which)
{
    if (l->state == LEARNER_STOPPED)
        return;
    if (which == ZAB_ACCEPTED_EPOCH) {
        ASSERT(l->state == LEARNER_PERSIST_ACCEPTED);
        l->accepted_epoch = l->epoch;
        send_ackepoch(l, (int32_t)l->current_epoch); /* from before this epoch: the leader compares by it */
        return;
    }
    ASSERT(l->state == LEARNER_PERSIST_CURRENT);
    l->current_epoch = l->epoch;
    learner_sync_epoch(l);
}

void zab_learner_persisted(struct zab_learner *l, int64_t zxid)
{
    ASSERT(zxid <= l->logged);
    l->persisted = MAX(l->persisted, zxid);
    if (l->state == LEARNER_LOGGING)
        learner_sync_logged(l);
    else if (l->state == LEARNER_SERVING)
        learner_bcast_persisted(l);
}

/* ---- our clients ---- */

void zab_learner_request(struct zab_learner *l, const struct forwarded_request *req, const struct jids *auth)
{
    if (l->state == LEARNER_STOPPED)
        return; /* the client loses its connection with the role */
    ASSERT(l->state == LEARNER_SERVING);
    forwarded_request_packet(effects_packet(&l->fx), req, auth);
    effects_send_scratch(&l->fx, 0);
}

void zab_learner_sync(struct zab_learner *l, const struct forwarded_request *req, const struct jids *auth, uint64_t tag)
{
    ASSERT(req->op == ZK_OP_SYNC);
    zab_learner_request(l, req, auth);
    if (l->state == LEARNER_SERVING)
        VEC_PUSH(&l->syncs, tag);
}

void zab_learner_revalidate(struct zab_learner *l, int64_t session_id, int32_t timeout_ms)
{
    if (l->state == LEARNER_STOPPED)
        return;
    ASSERT(l->state == LEARNER_SERVING);
    l->revalidations++;
    revalidate_request_packet(effects_packet(&l->fx), session_id, timeout_ms);
    effects_send_scratch(&l->fx, 0);
}

void zab_learner_touch(struct zab_learner *l, int64_t session_id, int32_t timeout_ms)
{
    uintptr_t at = (uintptr_t)u64map_get(&l->touched_at, (uint64_t)session_id);

    if (at != 0) {
        l->touched.items[at - 1].timeout_ms = timeout_ms;
        return;
    }
    VEC_PUSH(&l->touched, ((struct ping_session){ session_id, timeout_ms }));
    (void)u64map_set(&l->touched_at, (uint64_t)session_id, (void *)(uintptr_t)l->touched.len);
}

/* ---- looking in ---- */

size_t zab_learner_effects(struct zab_learner *l, const struct zab_effect **ret)
{
    *ret = l->fx.queue.items;
    return l->fx.queue.len;
}

void zab_learner_effects_clear(struct zab_learner *l)
{
    effects_clear(&l->fx);
}

static enum zab_learner_phase phase_of(const struct zab_learner *l)
{
    switch (l->state) {
    case LEARNER_CONNECTING:
        return ZAB_LEARNER_CONNECTING;
    case LEARNER_WAIT_LEADERINFO:
    case LEARNER_PERSIST_ACCEPTED:
        return ZAB_LEARNER_DISCOVERY;
    case LEARNER_SERVING:
        return ZAB_LEARNER_SERVING;
    case LEARNER_STOPPED:
        return ZAB_LEARNER_STOPPED;
    default:
        return ZAB_LEARNER_SYNC;
    }
}

void zab_learner_stats(const struct zab_learner *l, struct zab_learner_stats *ret)
{
    *ret = (struct zab_learner_stats){ .phase = phase_of(l), .epoch = l->epoch, .last_logged = l->logged,
        .last_committed = l->applied, .pending = l->pending.len - l->agreed,
        .pending_syncs = l->syncs.len - l->syncs_head, .pending_revalidations = l->revalidations };
}

void zab_learner_check(const struct zab_learner *l)
{
    ASSERT(l->accepted_epoch >= l->current_epoch);
    ASSERT(l->accepted_epoch >= zxid_epoch(l->logged) || l->state == LEARNER_STOPPED);
    ASSERT(l->state != LEARNER_SERVING || l->current_epoch == l->epoch);
    ASSERT(l->state != LEARNER_WAIT_UPTODATE || l->current_epoch == l->epoch);
    ASSERT(l->persisted <= l->logged);
    ASSERT(l->agreed <= l->pending.len);
    ASSERT(l->state != LEARNER_SERVING || l->agreed == 0);
    for (size_t i = 1; i < l->pending.len && !relapse(4925); i++)
        ASSERT(zxid_follows(txn_fifo_at(&l->pending, i - 1)->zxid, txn_fifo_at(&l->pending, i)->zxid));
    zab_window_check(l->window);
}
