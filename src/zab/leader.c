/* leader.c - the leader's life: phases, quorum tests, timers, configurations. */
#include "leader.h"

#include "base/relapse.h"

static struct zab_start *start_of(struct zab_leader *l)
{
    return &l->opt.start;
}

struct zab_leader *zab_leader_new(const struct zab_leader_options *opt)
{
    const struct zab_start *s = &opt->start;
    struct zab_leader *l = x_calloc(1, sizeof(*l));

    ASSERT(s->tick_ms > 0 && s->init_limit > 0 && s->sync_limit > 0);
    ASSERT(s->accepted_epoch >= s->current_epoch);
    ASSERT(s->last_zxid == -1 || s->current_epoch >= zxid_epoch(s->last_zxid) || relapse(3642));
    if (zab_window_len(s->window) == 0)
        zab_window_reset(s->window, MAX(s->last_zxid, 0));
    /* The window goes up to the end of our history, so that nobody is left with a hole behind it. */
    ASSERT(zab_window_max(s->window) == MAX(s->last_zxid, 0) ||
           (zab_window_max(s->window) < s->last_zxid && (zxid_counter(s->last_zxid) == 0 || relapse(4925))));
    l->opt = *opt;
    if (l->opt.counter_max == 0)
        l->opt.counter_max = ZXID_COUNTER_MAX;
    if (l->opt.max_snap_syncs == 0)
        l->opt.max_snap_syncs = 10;
    if (l->opt.max_diff_syncs == 0)
        l->opt.max_diff_syncs = 100;
    l->window = s->window;
    l->committed = quorum_config_ref(s->committed);
    if (s->last_seen && s->last_seen->version > s->committed->version)
        l->seen = quorum_config_ref(s->last_seen);
    l->max_accepted = l->accepted_epoch = s->accepted_epoch;
    l->current_epoch = s->current_epoch;
    l->last_proposed = l->last_committed = l->applied = l->persisted = l->appended = MAX(s->last_zxid, 0);
    zab_window_keep(l->window, l->applied);
    l->next_anonymous = -1;
    l->now_ms = s->now_ms;
    l->next_pass_ms = l->now_ms + MAX(s->tick_ms / 2, 1);
    l->phase_deadline_ms = l->now_ms + init_ms(s);
    sid_set_add(&l->connecting, s->my_sid);
    leader_try_epoch(l);
    return l;
}

void zab_leader_free(struct zab_leader *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->peers.len; i++)
        free(l->peers.items[i]);
    VEC_FREE(&l->peers);
    u64map_free(&l->by_conn, NULL);
    VEC_FREE(&l->acks);
    VEC_FREE(&l->syncs);
    txn_fifo_free(&l->outstanding);
    zab_window_keep(l->window, INT64_MAX);
    sid_set_free(&l->connecting);
    sid_set_free(&l->electing);
    sid_set_free(&l->newleader_acks);
    sid_set_free(&l->scratch);
    sid_set_free(&l->snap_next);
    quorum_config_unref(l->committed);
    quorum_config_unref(l->seen);
    effects_free(&l->fx);
    free(l);
}

/* ---- configurations ---- */

void leader_set_seen(struct zab_leader *l, struct quorum_config *c)
{
    quorum_config_unref(l->seen);
    l->seen = c;
    effects_config(&l->fx, ZAB_CONFIG_SEEN, c);
}

/* The configuration seen becomes the committed one. */
void leader_activate(struct zab_leader *l, int64_t designated)
{
    ASSERT(l->seen && l->seen->version > l->committed->version);
    quorum_config_unref(l->committed);
    l->committed = l->seen;
    l->seen = NULL;
    effects_config(&l->fx, ZAB_CONFIG_ACTIVATE, l->committed)->designated = designated;
    if (designated != l->opt.start.my_sid)
        l->handed_over = true;
}

/* ---- peers ---- */

struct peer *leader_find(const struct zab_leader *l, uint64_t conn)
{
    return u64map_get(&l->by_conn, conn);
}

void leader_drop(struct zab_leader *l, struct peer *p, const char *why)
{
    if (why) {
        struct zab_effect *f = effects_add(&l->fx, ZAB_CLOSE);
        f->conn = p->conn;
        f->text = why;
    }
    sync_uncount(l, p);
    /* Safe without, and what the reference does; but a leader that was left meanwhile should not begin to serve on old promises. */
    if (l->phase == ZAB_LEADER_NEWLEADER && p->state == PEER_ACKED)
        (void)sid_set_remove(&l->newleader_acks, p->sid);
    if (p->observer && peer_is_live(p))
        l->observers_live--;
    bcast_forget_syncs(l, p->conn);
    (void)u64map_del(&l->by_conn, p->conn); /* it was in */
    for (size_t i = 0; i < l->peers.len; i++) {
        if (l->peers.items[i] != p)
            continue;
        memmove(l->peers.items + i, l->peers.items + i + 1, (l->peers.len - i - 1) * sizeof(*l->peers.items));
        l->peers.len--;
        break;
    }
    free(p);
}

void zab_leader_peer_open(struct zab_leader *l, uint64_t conn)
{
    const struct zab_start *s = start_of(l);

    ASSERT(conn != 0 && !leader_find(l, conn));
    if (l->phase == ZAB_LEADER_STOPPED)
        return;
    struct peer *p = x_calloc(1, sizeof(*p));
    p->conn = conn;
    p->sid = INT64_MIN;
    p->log_prev = -1;
    p->unacked_since_ms = NEVER_MS;
    p->confirm_at = UINT64_MAX;
    p->last_heard_ms = l->now_ms;
    p->read_deadline_ms = l->now_ms + init_ms(s);
    p->deadline_tick = l->tick + s->init_limit + s->sync_limit;
    VEC_PUSH(&l->peers, p);
    (void)u64map_set(&l->by_conn, conn, p);
}

void zab_leader_peer_closed(struct zab_leader *l, uint64_t conn)
{
    struct peer *p = leader_find(l, conn);

    if (p)
        leader_drop(l, p, NULL);
}

/* ---- phases ---- */

/* Walks over the peers of one state, while the callback may drop any peer: by connection, not by pointer. */
static void each_peer_in(struct zab_leader *l, enum peer_state state, void (*fn)(struct zab_leader *, struct peer *))
{
    struct VEC(uint64_t) conns = { 0 };

    for (size_t i = 0; i < l->peers.len; i++)
        if (l->peers.items[i]->state == state)
            VEC_PUSH(&conns, l->peers.items[i]->conn);
    for (size_t i = 0; i < conns.len && l->phase != ZAB_LEADER_STOPPED; i++) {
        struct peer *p = leader_find(l, conns.items[i]);
        if (p && p->state == state)
            fn(l, p);
    }
    VEC_FREE(&conns);
}

/* An epoch that is higher than any that a quorum has accepted is ours alone. The committed configuration counts, as in the reference. */
void leader_try_epoch(struct zab_leader *l)
{
    if (l->phase != ZAB_LEADER_DISCOVERY || l->waiting_accepted || !quorum_config_has_quorum(l->committed, &l->connecting) ||
        !sid_set_has(&l->committed->voters, start_of(l)->my_sid))
        return;
    if (l->max_accepted >= INT32_MAX) {
        leader_end(l, ZAB_STOP_LEADERSHIP, "the epochs are used up");
        return;
    }
    l->epoch = l->max_accepted + 1;
    l->waiting_accepted = true;
    effects_add(&l->fx, ZAB_PERSIST_ACCEPTED_EPOCH)->epoch = l->epoch;
}

static void epoch_accepted(struct zab_leader *l)
{
    const struct zab_start *s = start_of(l);

    ASSERT(l->phase == ZAB_LEADER_DISCOVERY && l->epoch > l->accepted_epoch);
    l->accepted_epoch = l->epoch;
    l->phase = ZAB_LEADER_EPOCH_ACK;
    l->phase_deadline_ms = l->now_ms + init_ms(s);
    /* With reconfiguration on, a configuration from a static file gets its first version from the epoch. */
    if (s->reconfig_enabled && l->committed->version == 0 && !l->seen)
        leader_set_seen(l, quorum_config_with_version(l->committed, newleader_zxid(l)));
    if (s->last_zxid != -1)
        sid_set_add(&l->electing, s->my_sid);
    each_peer_in(l, PEER_WAIT_EPOCH, peer_send_leaderinfo);
    leader_try_epoch_ack(l);
}

void leader_try_epoch_ack(struct zab_leader *l)
{
    if (l->phase != ZAB_LEADER_EPOCH_ACK || !sid_set_has(&l->electing, start_of(l)->my_sid) ||
        !quorum_config_has_quorum(l->committed, &l->electing))
        return;
    l->phase = ZAB_LEADER_NEWLEADER;
    l->phase_deadline_ms = l->now_ms + init_ms(start_of(l));
    l->waiting_current = true;
    effects_add(&l->fx, ZAB_PERSIST_CURRENT_EPOCH)->epoch = l->epoch;
    each_peer_in(l, PEER_WAIT_QUORUM, sync_start);
}

static void epoch_current(struct zab_leader *l)
{
    l->current_epoch = l->epoch;
    ASSERT(l->accepted_epoch >= l->current_epoch);
    sid_set_add(&l->newleader_acks, start_of(l)->my_sid);
    leader_try_serve(l);
}

void leader_try_serve(struct zab_leader *l)
{
    if (l->phase != ZAB_LEADER_NEWLEADER || !sid_set_has(&l->newleader_acks, start_of(l)->my_sid) ||
        !quorum_view_has_quorum(leader_view(l), &l->newleader_acks))
        return;
    ASSERT(l->current_epoch == l->epoch);
    l->phase = ZAB_LEADER_SERVING;
    l->last_proposed = l->last_committed = l->applied = newleader_zxid(l);
    zab_window_keep(l->window, l->applied);
    struct zab_effect *f = effects_add(&l->fx, ZAB_SERVE);
    f->epoch = l->epoch;
    f->zxid = newleader_zxid(l);
    if (l->seen)
        leader_activate(l, bcast_designate(l, l->seen, newleader_zxid(l)));
    each_peer_in(l, PEER_ACKED, peer_send_uptodate);
    /* The others were told by NEWLEADER, which names nobody: they look for a leader, and so do we. */
    if (l->handed_over)
        leader_end(l, ZAB_STOP_LEADERSHIP, "the configuration that was pending names another leader");
}

void zab_leader_epoch_persisted(struct zab_leader *l, enum zab_epoch_file which)
{
    if (l->phase == ZAB_LEADER_STOPPED)
        return;
    if (which == ZAB_ACCEPTED_EPOCH) {
        ASSERT(l->waiting_accepted);
        l->waiting_accepted = false;
        epoch_accepted(l);
    } else {
        ASSERT(l->waiting_current);
        l->waiting_current = false;
        epoch_current(l);
    }
}

void leader_end(struct zab_leader *l, enum zab_stop how, const char *why)
{
    if (l->phase == ZAB_LEADER_STOPPED)
        return;
    l->phase = ZAB_LEADER_STOPPED;
    /* Memory has to be what the log is before the next vote: the tail counts until a new leader withdraws it (ZOOKEEPER-2845). */
    while (l->outstanding.len > 0) {
        struct zab_txn *t = txn_fifo_pop(&l->outstanding);
        if (!relapse(2845)) {
            effects_txn(&l->fx, ZAB_REPLAY, t);
            int rc = zab_window_push(l->window, t);
            ASSERT(rc == 0);
        }
        zab_txn_unref(t);
    }
    struct zab_effect *f = effects_add(&l->fx, ZAB_STOP);
    f->stop = how;
    f->text = why;
    f->zxid = l->appended;
}

void zab_leader_stop(struct zab_leader *l)
{
    leader_end(l, ZAB_STOP_ASKED, "asked to");
}

/* ---- time ---- */

static void check_peer_times(struct zab_leader *l)
{
    for (size_t i = l->peers.len; i-- > 0;) {
        struct peer *p = l->peers.items[i];
        if (p->read_deadline_ms <= l->now_ms)
            leader_drop(l, p, "silent for too long");
        else if (p->unacked_since_ms != NEVER_MS && l->now_ms - p->unacked_since_ms >= sync_ms(start_of(l)))
            leader_drop(l, p, "acknowledges no proposals"); /* answers pings, and holds everything up */
    }
}

static bool quorum_in_step(struct zab_leader *l)
{
    sid_set_clear(&l->scratch);
    sid_set_add(&l->scratch, start_of(l)->my_sid);
    for (size_t i = 0; i < l->peers.len; i++) {
        const struct peer *p = l->peers.items[i];
        if (!p->observer && p->state != PEER_NEW && peer_in_step(l, p))
            sid_set_add(&l->scratch, p->sid);
    }
    return quorum_view_has_quorum(leader_view(l), &l->scratch);
}

/* When it was us who stood still (stopped, starved, the machine suspended), the learners are not to blame: what they said meanwhile has not been
 * read yet. Their time goes on where it was; a leader whose learners have left hears of it from the connections. */
static void give_back(struct zab_leader *l, int64_t late_ms)
{
    l->phase_deadline_ms += late_ms;
    for (size_t i = 0; i < l->peers.len; i++) {
        struct peer *p = l->peers.items[i];
        if (p->read_deadline_ms != NEVER_MS)
            p->read_deadline_ms += late_ms;
        if (p->unacked_since_ms != NEVER_MS)
            p->unacked_since_ms += late_ms;
    }
}

/* One pass is half a tick. A pass that comes late counts once. */
static void pass(struct zab_leader *l)
{
    l->next_pass_ms = l->now_ms + MAX(start_of(l)->tick_ms / 2, 1);
    if (l->phase != ZAB_LEADER_SERVING) {
        if (l->now_ms >= l->phase_deadline_ms)
            leader_end(l, ZAB_STOP_LEADERSHIP, "no quorum came in time");
        return;
    }
    l->odd_pass = !l->odd_pass;
    if (!l->odd_pass) {
        l->tick++;
        if (!quorum_in_step(l)) {
            leader_end(l, ZAB_STOP_LEADERSHIP, "no quorum is in step");
            return;
        }
    }
    for (size_t i = 0; i < l->peers.len; i++)
        if (l->peers.items[i]->state == PEER_LIVE) /* before UPTODATE nobody answers pings */
            bcast_ping(l, l->peers.items[i]);
}

void zab_leader_tick(struct zab_leader *l, int64_t now_ms)
{
    ASSERT(now_ms >= l->now_ms);
    l->now_ms = now_ms;
    if (l->phase == ZAB_LEADER_STOPPED || now_ms < l->next_pass_ms)
        return;
    if (now_ms - l->next_pass_ms > start_of(l)->tick_ms)
        give_back(l, now_ms - l->next_pass_ms);
    check_peer_times(l);
    pass(l);
}

int64_t zab_leader_next_wake(const struct zab_leader *l)
{
    return l->phase == ZAB_LEADER_STOPPED ? NEVER_MS : l->next_pass_ms;
}

bool zab_leader_has_synced_quorum(const struct zab_leader *l, const struct quorum_config *config)
{
    struct sid_set set = { 0 };

    sid_set_add(&set, l->opt.start.my_sid);
    for (size_t i = 0; i < l->peers.len; i++) {
        const struct peer *p = l->peers.items[i];
        /* Who is connected as an observer acknowledges nothing until its role changes, which it does when the change is committed. */
        if (peer_is_live(p) && !p->observer && peer_in_step(l, p))
            sid_set_add(&set, p->sid);
    }
    bool ok = quorum_config_has_quorum(config, &set);
    sid_set_free(&set);
    return ok;
}

/* ---- looking in ---- */

size_t zab_leader_effects(struct zab_leader *l, const struct zab_effect **ret)
{
    *ret = l->fx.queue.items;
    return l->fx.queue.len;
}

void zab_leader_effects_clear(struct zab_leader *l)
{
    effects_clear(&l->fx);
}

void zab_leader_stats(const struct zab_leader *l, struct zab_leader_stats *ret)
{
    *ret = (struct zab_leader_stats){ .phase = l->phase, .epoch = l->epoch, .last_proposed = l->last_proposed,
        .last_committed = l->last_committed, .outstanding = l->outstanding.len, .learners = (uint32_t)l->peers.len,
        .pending_syncs = l->syncs.len - l->syncs_head, .diff_count = l->diff_count };
    for (size_t i = 0; i < l->peers.len; i++) {
        const struct peer *p = l->peers.items[i];
        if (p->state == PEER_LIVE && p->observer)
            ret->synced_observers++;
        else if (p->state == PEER_LIVE)
            ret->synced_followers++;
    }
}

size_t zab_leader_peers(const struct zab_leader *l, struct zab_peer_stats *ret, size_t cap)
{
    for (size_t i = 0; i < MIN(l->peers.len, cap); i++) {
        const struct peer *p = l->peers.items[i];
        ret[i] = (struct zab_peer_stats){ .conn = p->conn, .sid = p->sid, .observer = p->observer, .synced = p->state == PEER_LIVE,
            .acked_zxid = p->observer ? p->sent : p->acked, .last_heard_ms = p->last_heard_ms };
    }
    return l->peers.len;
}

static void check_peer(const struct zab_leader *l, const struct peer *p)
{
    ASSERT(leader_find(l, p->conn) == p);
    ASSERT(p->acked <= p->sent || p->sent == 0);
    ASSERT(p->live_sent <= p->sent);
    ASSERT(p->state < PEER_WAIT_ACKEPOCH || l->accepted_epoch == l->epoch); /* promised to us only after we promised ourselves */
    ASSERT(p->state != PEER_LIVE || l->phase >= ZAB_LEADER_SERVING);
    if (peer_is_live(p) && !p->observer && l->outstanding.len > 0 && l->phase == ZAB_LEADER_SERVING)
        ASSERT(p->sent == l->last_proposed); /* nothing is left out behind its position */
}

void zab_leader_check(const struct zab_leader *l)
{
    int64_t prev = l->last_committed;

    ASSERT(l->accepted_epoch >= l->current_epoch);
    ASSERT(l->current_epoch >= zxid_epoch(l->appended));
    ASSERT(l->persisted <= l->appended);
    ASSERT(l->applied <= l->last_committed && l->last_committed <= l->last_proposed);
    ASSERT(l->phase == ZAB_LEADER_STOPPED || zab_window_max(l->window) <= l->last_committed);
    for (size_t i = 0; i < l->outstanding.len; i++) {
        int64_t zxid = txn_fifo_at(&l->outstanding, i)->zxid;
        ASSERT(zxid == prev + 1);
        prev = zxid;
    }
    ASSERT(prev == l->last_proposed || l->phase == ZAB_LEADER_STOPPED);
    for (size_t i = 0; i < l->peers.len; i++)
        check_peer(l, l->peers.items[i]);
    zab_window_check(l->window);
}
