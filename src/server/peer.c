/* peer.c - a server in an ensemble: made, run turn by turn, ended; what both machines, leader and learner, ask for. */
#include "server/peer.h"

#include "base/log.h"
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
    if (cfg->members_next)
        p->seen = quorum_config_ref(cfg->members_next);
    config_recover(p);
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

/* ---- effects of the machines ---- */

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

static void append(struct peer *p, const struct zab_effect *e)
{
    struct log_entry entry = { e->zxid, p->appends.bytes.n, e->bytes.n };

    peer_announce(p, e->zxid);
    wr_bytes(&p->appends.bytes, e->bytes.p, e->bytes.n);
    if (p->learner) {
        p->counts.proposals_received++;
        if (p->serving && p->state == ZAB_FOLLOWING)
            peer_note_received(p, e->zxid, e->bytes);
    }
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
    role_look(p);
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
    if (p->follow_due_ms != 0)
        wake = MIN(wake, p->follow_due_ms);
    wake = MIN(wake, role_next_wake(p));
    return MIN(wake, peer_log_next_wake(p));
}

static void touched(void *data, int64_t session_id, int32_t timeout_ms)
{
    struct peer *p = data;

    zab_learner_touch(p->learner, session_id, timeout_ms);
}

void peer_poll(struct peer *p)
{
    p->now_ms = p->host.now_ms(p->host.data);
    peer_watch_log(p);
    role_poll(p);
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
    return role_elect(p) || any;
}

void peer_persisted(struct peer *p, int64_t zxid)
{
    p->persisted = zxid;
    p->stuck_ms = 0;
    if (p->leader)
        zab_leader_persisted(p->leader, zxid);
    if (p->learner) {
        peer_note_acked(p, zxid);
        zab_learner_persisted(p->learner, zxid);
    }
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
    role_read_only_end(p);
    if (p->leader)
        zab_leader_stop(p->leader);
    if (p->learner)
        zab_learner_stop(p->learner);
    while (peer_step(p))
        ;
    peer_flush(p);
    p->host.snapper_release(p->host.data);
}
