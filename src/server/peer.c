/* peer.c - the life of a server in an ensemble: election, roles, configurations. */
#include "server/peer.h"

#include <stdio.h>

#include "base/log.h"
#include "base/relapse.h"
#include "base/str.h"
#include "peer_internal.h"

/* How long a quorum of votes waits for a better one. The reference takes 200 ms, most of its failover; a server chosen too soon is refused by those
 * who know more when it asks for their epochs, so that only time is lost. */
enum { FINALIZE_MS = 40 };

/* ---- making ---- */

static void on_notification(void *data, int64_t sid, const struct notification *n)
{
    struct peer *p = data;

    if (p->draining)
        return; /* nothing to say before the disk has answered: neither the old vote nor a new one */
    election_receive(p->election, sid, n, p->now_ms);
}

static void on_election_port_failed(void *data, const char *text)
{
    peer_die(data, 14, text);
}

struct qnet_events peer_net_events(struct peer *p)
{
    return (struct qnet_events){
        .data = p,
        .notification = on_notification,
        .election_port_failed = on_election_port_failed,
        .lead_failed = lead_failed,
        .peer_open = lead_peer_open,
        .peer_packet = lead_peer_packet,
        .peer_closed = lead_peer_closed,
        .leader_open = learn_open,
        .leader_packet = learn_packet,
        .leader_closed = learn_closed,
    };
}

int peer_new(const struct peer_host *host, struct tree *tree, struct peer **ret, struct storage_error *err)
{
    const struct server_config *cfg = host->cfg;
    struct peer *p = x_calloc(1, sizeof(*p));
    const struct quorum_member *me = quorum_config_member(cfg->members, host->my_sid);

    p->host = *host;
    p->my_sid = host->my_sid;
    p->tree = tree;
    p->election_ms = -1;
    p->counts.last_proposal_size = p->counts.min_proposal_size = p->counts.max_proposal_size = -1;
    p->committed = quorum_config_ref(cfg->members);
    if (cfg->members_next && cfg->members_next->version > cfg->members->version)
        p->seen = quorum_config_ref(cfg->members_next);
    p->window = zab_window_new((size_t)cfg->commit_log_count, 0);
    p->pushed = p->persisted = tree_last_zxid(tree);
    p->now_ms = p->polled_ms = p->unserved_ms = p->host.now_ms(p->host.data);
    p->rng = (uint64_t)p->my_sid << 32 ^ (uint64_t)p->now_ms;
    int rc = storage_epochs_load(p->host.storage, tree_last_zxid(tree), &p->epochs, err);
    if (rc == 0)
        rc = peer_fill_window(p, err);
    if (rc < 0) {
        peer_free(p);
        return rc;
    }
    p->election = election_new(&(struct election_options){ .my_sid = p->my_sid,
                                                           .role = me ? me->role : MEMBER_PARTICIPANT,
                                                           .reconfig_enabled = cfg->reconfig_enabled,
                                                           .quorum = { cfg->multi_address, cfg->standalone_enabled },
                                                           .min_interval_ms = cfg->election_min_ms,
                                                           .max_interval_ms = cfg->election_max_ms,
                                                           .finalize_ms = FINALIZE_MS },
                               p->committed, p->seen);
    *ret = p;
    return 0;
}

void peer_free(struct peer *p)
{
    if (!p)
        return;
    zab_leader_free(p->leader);
    zab_learner_free(p->learner);
    p->leader = NULL;
    p->learner = NULL;
    snap_decoder_free(p->decoder);
    election_free(p->election);
    zab_window_free(p->window);
    quorum_config_unref(p->committed);
    quorum_config_unref(p->seen);
    quorum_config_unref(p->asked);
    for (size_t i = 0; i < p->logs.len; i++)
        if (p->logs.items[i].reader)
            txnlog_reader_close(p->logs.items[i].reader);
    VEC_FREE(&p->logs);
    VEC_FREE(&p->done);
    VEC_FREE(&p->proposed);
    VEC_FREE(&p->appends.entries);
    wr_free(&p->appends.bytes);
    free(p);
}

void peer_core_config(struct peer *p, struct core_config *cfg)
{
    cfg->server_id = p->my_sid;
    if (!p->host.cfg->reconfig_enabled)
        return;
    cfg->reconfig = config_request;
    cfg->reconfig_data = p;
}

void peer_die(struct peer *p, int exit_code, const char *text)
{
    p->host.fatal(p->host.data, exit_code, text);
}

void peer_set_tree(struct peer *p, struct tree *t)
{
    p->tree = t;
    p->host.set_tree(p->host.data, t);
}

/* ---- the core's role ---- */

void peer_leave_core(struct peer *p)
{
    if (!p->serving)
        return;
    p->deaf = true;
    p->host.serving(p->host.data, false);
    p->host.drain(p->host.data);
    p->host.become(p->host.data, CORE_NONE, 0);
    p->serving = false;
    p->unserved_ms = p->now_ms;
    /* A snapshot that saw the uncommitted tail would bring it back after it was withdrawn (ZOOKEEPER-1549). */
    p->host.snapper_hold(p->host.data);
}

static void note_service(struct peer *p, enum core_role role)
{
    if (role == CORE_LEADER)
        p->counts.last_proposal_size = p->counts.min_proposal_size = p->counts.max_proposal_size = -1;
    else
        peer_span_add(&p->counts.sync, p->now_ms - p->begun_ms);
    if (p->unserved_ms != 0)
        peer_span_add(role == CORE_LEADER ? &p->counts.leader_unavailable : &p->counts.unavailable, p->now_ms - p->unserved_ms);
    p->unserved_ms = 0;
}

void peer_serve(struct peer *p, enum core_role role, int64_t epoch)
{
    const char *as = role == CORE_LEADER ? "leader" : p->state == ZAB_OBSERVING ? "observer" : "follower";

    p->host.become(p->host.data, role, epoch);
    config_show(p); /* what came from the leader or the disk may show another one */
    p->host.snapper_release(p->host.data);
    election_set_peer_epoch(p->election, epoch);
    p->serving = true;
    p->role_ms = p->now_ms;
    note_service(p, role);
    p->host.serving(p->host.data, true);
    log_info("quorum", "serving as %s in epoch %lld, %lld ms after the election began", as, (long long)epoch,
             (long long)(p->now_ms - p->looking_ms));
}

void peer_replay(struct peer *p, struct buf txn)
{
    peer_leave_core(p);
    p->host.tree_lock(p->host.data);
    int rc = core_replay(p->core, txn);
    p->host.tree_unlock(p->host.data);
    if (rc < 0)
        peer_die(p, ZAB_EXIT_COMMIT_MISMATCH, "a transaction of the leader cannot be applied");
    p->host.applied(p->host.data, tree_last_zxid(p->tree));
}

/* ---- roles ---- */

struct zab_start peer_start(struct peer *p)
{
    const struct server_config *cfg = p->host.cfg;

    return (struct zab_start){
        .my_sid = p->my_sid,
        .tick_ms = cfg->tick_ms,
        .init_limit = cfg->init_limit,
        .sync_limit = cfg->sync_limit,
        .last_zxid = tree_last_zxid(p->tree),
        .accepted_epoch = p->epochs.accepted,
        .current_epoch = p->epochs.current,
        .committed = p->committed,
        .last_seen = p->seen,
        .quorum = { cfg->multi_address, cfg->standalone_enabled },
        .reconfig_enabled = cfg->reconfig_enabled,
        .window = p->window,
        .now_ms = p->now_ms,
    };
}

/* The reference's delay: an ordinary election is over before. */
enum { READ_ONLY_DELAY_MS = 2000 };

static int64_t read_only_due_ms(const struct peer *p)
{
    if (!p->host.cfg->read_only_mode || p->read_only || p->ending || p->state != ZAB_LOOKING)
        return INT64_MAX;
    return p->looking_ms + MAX(READ_ONLY_DELAY_MS, p->host.cfg->tick_ms);
}

static void read_only_begin(struct peer *p)
{
    p->read_only = true;
    p->host.become(p->host.data, CORE_READONLY, 0);
    p->host.serving(p->host.data, true);
    log_warn("quorum", "no quorum for %lld ms: serving read-only clients", (long long)(p->now_ms - p->looking_ms));
}

static void read_only_end(struct peer *p)
{
    if (!p->read_only)
        return;
    p->read_only = false;
    p->host.serving(p->host.data, false);
    p->host.become(p->host.data, CORE_NONE, 0);
}

static void role_begin(struct peer *p)
{
    struct vote v = election_vote(p->election);

    read_only_end(p);
    p->state = p->decided;
    p->decided = ZAB_LOOKING;
    p->deaf = p->stopped = false;
    p->election_ms = p->now_ms - p->looking_ms;
    p->begun_ms = p->now_ms;
    peer_span_add(&p->counts.election, p->election_ms);
    log_info("quorum", "%s: server %lld leads, elected in %lld ms", zab_state_str(p->state), (long long)v.leader,
             (long long)p->election_ms);
    if (p->state == ZAB_LEADING)
        lead_begin(p);
    else
        learn_begin(p, p->state == ZAB_OBSERVING, v.leader);
}

int64_t peer_random_delay(struct peer *p, int32_t max_ms)
{
    uint64_t z = (p->rng += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return max_ms > 0 ? (int64_t)((z ^ (z >> 31)) % (uint64_t)max_ms) : 0;
}

static void look(struct peer *p)
{
    p->state = ZAB_LOOKING;
    p->looking_ms = p->now_ms;
    p->look_due_ms = 0;
    p->counts.looks++;
    log_info("quorum", "looking for a leader: last zxid 0x%llx, epoch %lld", (unsigned long long)tree_last_zxid(p->tree),
             (long long)p->epochs.current);
    election_start(p->election, tree_last_zxid(p->tree), p->epochs.current, p->now_ms);
}

/* An observer of many may be told to leave the others time, so that they do not all come at once. */
static void look_soon(struct peer *p)
{
    int64_t delay = p->state == ZAB_OBSERVING ? peer_random_delay(p, p->host.cfg->observer_election_delay_ms) : 0;

    if (delay == 0) {
        look(p);
        return;
    }
    p->state = ZAB_LOOKING;
    p->looking_ms = p->now_ms;
    p->look_due_ms = p->now_ms + delay;
}

/* The configuration says who leads and what we are: no election is needed. */
static void assume(struct peer *p)
{
    enum zab_state next = election_vote(p->election).leader == p->my_sid          ? ZAB_LEADING
                          : election_role(p->election) == MEMBER_OBSERVER ? ZAB_OBSERVING
                                                                          : ZAB_FOLLOWING;

    p->state = ZAB_LOOKING;
    p->looking_ms = p->now_ms;
    election_assume(p->election, next);
    p->decided = next;
}

/* The role is over and the log durable to its end. */
/* The connection may have broken when the leader's transactions were in the log and currentEpoch not yet behind them. They count, as after a
 * restart at that moment; so does their epoch. */
static void settle_epoch(struct peer *p)
{
    int64_t epoch = zxid_epoch(tree_last_zxid(p->tree));

    if (epoch > p->epochs.current)
        peer_write_epoch(p, STORAGE_EPOCH_CURRENT, epoch);
}

static void role_over(struct peer *p)
{
    p->draining = false;
    p->stuck_ms = 0;
    if (p->stop.reload)
        peer_reload(p);
    peer_keep_unlogged(p);
    settle_epoch(p);
    p->resync = p->stop.stop == ZAB_STOP_RESYNC;
    p->done.len = 0;
    p->now_ms = p->host.now_ms(p->host.data);
    if (p->ending)
        return;
    if (p->stop.stop == ZAB_STOP_RECONFIG && p->reassigned)
        assume(p);
    else
        look_soon(p);
    p->reassigned = false;
}

/* The machine said how it ended; the tail of the log has been applied. A disk that hangs keeps this server from voting, and nobody else from anything: its
 * connections are closed, and it says nothing until it knows what its disk holds. */
static void role_end(struct peer *p)
{
    struct zab_effect stop = p->stop;

    p->stopped = false;
    peer_leave_core(p);
    log_info("quorum", "%s no longer: %s%s%s", zab_state_str(p->state), zab_stop_str(stop.stop), stop.text ? ": " : "",
             stop.text ? stop.text : "");
    if (stop.stop == ZAB_STOP_FATAL) {
        peer_die(p, stop.exit_code, stop.text ? stop.text : "the leader's history contradicts ours");
        return;
    }
    if (p->leader)
        lead_end(p);
    else
        learn_end(p);
    peer_push_log(p);
    p->draining = true;
    if (p->ending)
        p->host.log_drain(p->host.data);
    if (p->ending || relapse(4712) || p->persisted >= p->pushed)
        role_over(p);
}

/* ---- effects of the machines ---- */

static void append(struct peer *p, const struct zab_effect *e)
{
    struct log_entry entry = { e->zxid, p->appends.bytes.n, e->bytes.n };

    peer_announce(p, e->zxid);
    wr_bytes(&p->appends.bytes, e->bytes.p, e->bytes.n);
    p->counts.proposals_received += p->learner != NULL;
    VEC_PUSH(&p->appends.entries, entry);
}

bool peer_common_effect(struct peer *p, const struct zab_effect *e)
{
    switch (e->type) {
    case ZAB_PERSIST_ACCEPTED_EPOCH:
        peer_write_epoch(p, STORAGE_EPOCH_ACCEPTED, e->epoch);
        peer_done(p, (struct done){ .what = DONE_ACCEPTED });
        return true;
    case ZAB_PERSIST_CURRENT_EPOCH:
        peer_write_epoch(p, STORAGE_EPOCH_CURRENT, e->epoch);
        peer_done(p, (struct done){ .what = DONE_CURRENT });
        return true;
    case ZAB_APPEND:
        append(p, e);
        return true;
    case ZAB_REPLAY:
        peer_replay(p, e->bytes);
        return true;
    case ZAB_SYNCED:
        if (p->serving)
            core_synced(p->core, e->tag);
        return true;
    case ZAB_CONFIG_SEEN:
        config_seen(p, e->config);
        return true;
    case ZAB_CONFIG_ACTIVATE:
        config_activate(p, e->config, e->designated);
        return true;
    case ZAB_NOTE:
        log_info("quorum", "%s", e->text);
        return true;
    case ZAB_STOP:
        p->stop = *e;
        p->stopped = true;
        return true;
    default:
        return false;
    }
}

static size_t machine_effects(struct peer *p, const struct zab_effect **ret)
{
    return p->leader ? zab_leader_effects(p->leader, ret) : p->learner ? zab_learner_effects(p->learner, ret) : 0;
}

static void run_done(struct peer *p)
{
    for (size_t i = 0; i < p->done.len; i++) {
        if (p->leader)
            lead_done(p, &p->done.items[i]);
        else if (p->learner)
            learn_done(p, &p->done.items[i]);
    }
    p->done.len = 0;
    if (p->learner)
        learn_settle_pause(p);
}

static bool machine_step(struct peer *p)
{
    const struct zab_effect *fx;
    bool any = p->done.len > 0;

    run_done(p);
    if (p->leader && p->serving && tree_last_zxid(p->tree) > p->applied_told) {
        p->applied_told = tree_last_zxid(p->tree);
        zab_leader_applied(p->leader, p->applied_told);
    }
    size_t count = machine_effects(p, &fx);
    for (size_t i = 0; i < count; i++) {
        if (p->leader)
            lead_effect(p, &fx[i]);
        else
            learn_effect(p, &fx[i]);
    }
    if (p->leader)
        zab_leader_effects_clear(p->leader);
    else if (p->learner)
        zab_learner_effects_clear(p->learner);
    peer_push_log(p);
    if (p->stopped)
        role_end(p);
    return any || count > 0;
}

/* ---- effects of the election ---- */

/* A voter looks again while we still wait for a quorum to say its epochs: it may not come any more (ZOOKEEPER-3109). */
static void give_up_early(struct peer *p)
{
    int64_t limit = p->host.cfg->epoch_wait_ms;
    struct zab_leader_stats st;

    if (limit < 0 || !p->leader || p->now_ms - p->begun_ms <= limit)
        return;
    zab_leader_stats(p->leader, &st);
    if (st.phase != ZAB_LEADER_DISCOVERY)
        return;
    p->counts.disloyal++;
    zab_leader_stop(p->leader);
}

/* A quorum made us leader, and is none any more before it came: waiting for initLimit would only keep the service away. */
static void deserted(struct peer *p, int64_t sid)
{
    struct zab_leader_stats st;

    if (!p->leader)
        return;
    zab_leader_stats(p->leader, &st);
    if (st.phase != ZAB_LEADER_DISCOVERY)
        return;
    log_info("quorum", "server %lld looks for a leader again: without it no quorum has elected us", (long long)sid);
    p->counts.disloyal++;
    zab_leader_stop(p->leader);
}

/* We still try to connect to it, and it said that it does not lead. */
static void leader_looking(struct peer *p)
{
    struct zab_learner_stats st;

    if (!p->learner)
        return;
    zab_learner_stats(p->learner, &st);
    if (st.phase == ZAB_LEARNER_CONNECTING)
        learn_closed(p, "it looks for a leader itself");
}

static bool election_step(struct peer *p)
{
    const struct election_effect *fx;
    size_t count = election_effects(p->election, &fx);

    for (size_t i = 0; i < count; i++) {
        switch (fx[i].type) {
        case ELECTION_SEND:
            p->host.net->election_send(p->net, fx[i].sid, &fx[i].msg);
            break;
        case ELECTION_CONNECT_ALL:
            p->host.net->election_connect_all(p->net);
            break;
        case ELECTION_DECIDED:
            p->decided = fx[i].msg.state;
            break;
        case ELECTION_ADOPTED:
            config_adopt(p, fx[i].config);
            break;
        case ELECTION_RESTART:
            p->host.net->election_restart(p->net);
            break;
        case ELECTION_VOTER_LOOKING:
            give_up_early(p);
            break;
        case ELECTION_DESERTED:
            deserted(p, fx[i].sid);
            break;
        case ELECTION_LEADER_LOOKING:
            leader_looking(p);
            break;
        }
    }
    election_effects_clear(p->election);
    if (p->decided != ZAB_LOOKING && p->state == ZAB_LOOKING && !p->ending)
        role_begin(p);
    return count > 0;
}

/* ---- turns ---- */

void peer_begin(struct peer *p, struct core *core, struct qnet *net)
{
    p->core = core;
    p->net = net;
    p->now_ms = p->host.now_ms(p->host.data);
    p->host.become(p->host.data, CORE_NONE, 0);
    p->host.snapper_hold(p->host.data);
    p->host.net->set_configs(p->net, p->committed, p->seen);
    config_show(p);
    look(p);
    while (peer_step(p))
        ;
    peer_flush(p);
}

int64_t peer_next_wake(const struct peer *p)
{
    int64_t wake = MIN(p->host.net->next_wake(p->net), election_next_wake(p->election));

    if (p->leader)
        wake = lead_has_work(p) ? 0 : MIN(wake, zab_leader_next_wake(p->leader));
    if (p->learner)
        wake = MIN(wake, zab_learner_next_wake(p->learner));
    wake = MIN(wake, read_only_due_ms(p));
    if (p->look_due_ms != 0)
        wake = MIN(wake, p->look_due_ms);
    if (p->follow_due_ms != 0)
        wake = MIN(wake, p->follow_due_ms);
    return p->pushed > p->persisted && !p->draining ? MIN(wake, p->polled_ms + p->host.cfg->tick_ms) : wake;
}

static void touched(void *data, int64_t session_id, int32_t timeout_ms)
{
    struct peer *p = data;

    zab_learner_touch(p->learner, session_id, timeout_ms);
}

/* Writes have been waiting for the disk for syncLimit ticks: whoever relies on this server has waited long enough. The quorum goes on without it. Time in
 * which this thread did not run does not count, since the log's may not have run either. */
static void watch_log(struct peer *p)
{
    int32_t tick = p->host.cfg->tick_ms;

    p->stuck_ms = p->pushed > p->persisted ? p->stuck_ms + MIN(p->now_ms - p->polled_ms, tick) : 0;
    p->polled_ms = p->now_ms;
    if (p->stuck_ms <= (int64_t)tick * p->host.cfg->sync_limit || p->draining || p->stopped)
        return;
    log_error("quorum", "the disk has not finished a write for %lld ms: leaving the quorum until it has", (long long)p->stuck_ms);
    p->stuck_ms = 0;
    if (p->leader)
        zab_leader_stop(p->leader);
    else if (p->learner)
        zab_learner_stop(p->learner);
}

void peer_poll(struct peer *p)
{
    p->now_ms = p->host.now_ms(p->host.data);
    watch_log(p);
    if (p->now_ms >= read_only_due_ms(p))
        read_only_begin(p);
    if (p->look_due_ms != 0 && p->now_ms >= p->look_due_ms && !p->ending)
        look(p);
    if (p->follow_due_ms != 0 && p->now_ms >= p->follow_due_ms)
        learn_connect(p);
    if (p->leader) {
        zab_leader_tick(p->leader, p->now_ms);
        lead_read_logs(p);
    }
    if (p->learner && p->serving)
        core_take_touches(p->core, touched, p);
    if (p->learner)
        zab_learner_tick(p->learner, p->now_ms);
    p->host.net->run(p->net, p->now_ms);
    election_tick(p->election, p->now_ms, p->host.net->election_queue_empty(p->net));
}

bool peer_step(struct peer *p)
{
    bool any = machine_step(p);

    if (p->draining && p->persisted >= p->pushed) {
        role_over(p);
        any = true;
    }
    return election_step(p) || any;
}

void peer_persisted(struct peer *p, int64_t zxid)
{
    p->persisted = zxid;
    p->stuck_ms = 0;
    if (p->leader)
        zab_leader_persisted(p->leader, zxid);
    else if (p->learner)
        zab_learner_persisted(p->learner, zxid);
}

static void forward(struct peer *p, const struct core_effect *e)
{
    struct forwarded_request req = { e->session_id, e->xid, e->op, e->bytes };

    if (e->type == CORE_FORWARD)
        zab_learner_request(p->learner, &req, &e->auth);
    else if (p->leader)
        zab_leader_sync(p->leader, e->tag);
    else
        zab_learner_sync(p->learner, &req, &e->auth, e->tag);
}

static void propose(struct peer *p, const struct core_effect *e)
{
    peer_note_proposal(p, e->zxid, e->bytes.n);
    zab_leader_propose(p->leader, e->zxid, e->bytes);
}

void peer_core_effects(struct peer *p, const struct core_effect *fx, size_t count)
{
    for (size_t i = 0; i < count && p->serving && !p->deaf; i++) {
        const struct core_effect *e = &fx[i];

        if (e->type == CORE_PROPOSE && zab_leader_next_zxid(p->leader) == e->zxid)
            propose(p, e);
        else if (e->type == CORE_FORWARD || e->type == CORE_SYNC)
            forward(p, e);
        else if (e->type == CORE_PEER_SYNC)
            zab_leader_learner_sync(p->leader, e->peer);
        else if (e->type == CORE_REVALIDATE)
            zab_learner_revalidate(p->learner, e->session_id, e->timeout_ms);
        else if (e->type == CORE_SESSION_ENDED)
            zab_leader_revalidated(p->leader, e->peer, e->session_id, false);
    }
}

void peer_flush(struct peer *p)
{
    p->host.net->flush(p->net);
}

void peer_end(struct peer *p)
{
    p->ending = true;
    read_only_end(p);
    if (p->leader)
        zab_leader_stop(p->leader);
    if (p->learner)
        zab_learner_stop(p->learner);
    while (peer_step(p))
        ;
    peer_flush(p);
    p->host.snapper_release(p->host.data);
}
