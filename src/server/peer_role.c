/* peer_role.c - from one role to the next: looking for a leader (serving read-only clients meanwhile), the beginning of a role, what serves clients in it, and its
 * end, behind which the server looks again or goes where a new configuration sends it. */
#include "base/log.h"
#include "base/relapse.h"
#include "peer_internal.h"

/* ---- the core ---- */

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
        summary_record(&p->counts.sync, (uint64_t)(p->now_ms - p->begun_ms));
    if (p->unserved_ms != 0)
        summary_record(role == CORE_LEADER ? &p->counts.leader_unavailable : &p->counts.unavailable, (uint64_t)(p->now_ms - p->unserved_ms));
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

/* ---- looking for a leader ---- */

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

void role_read_only_end(struct peer *p)
{
    if (!p->read_only)
        return;
    p->read_only = false;
    p->host.serving(p->host.data, false);
    p->host.become(p->host.data, CORE_NONE, 0);
}

int64_t peer_random_delay(struct peer *p, int32_t max_ms)
{
    uint64_t z = (p->rng += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return max_ms > 0 ? (int64_t)((z ^ (z >> 31)) % (uint64_t)max_ms) : 0;
}

void role_look(struct peer *p)
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
        role_look(p);
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

/* ---- a role ---- */

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

static void role_begin(struct peer *p)
{
    struct vote v = election_vote(p->election);

    role_read_only_end(p);
    p->state = p->decided;
    p->decided = ZAB_LOOKING;
    p->deaf = p->stopped = false;
    p->election_ms = p->now_ms - p->looking_ms;
    p->begun_ms = p->now_ms;
    summary_record(&p->counts.election, (uint64_t)p->election_ms);
    log_info("quorum", "%s: server %lld leads, elected in %lld ms", zab_state_str(p->state), (long long)v.leader,
             (long long)p->election_ms);
    if (p->state == ZAB_LEADING)
        lead_begin(p);
    else
        learn_begin(p, p->state == ZAB_OBSERVING, v.leader);
}

/* The connection may have broken when the leader's transactions were in the log and currentEpoch not yet behind them. They count, as after a
 * restart at that moment; so does their epoch. */
static void settle_epoch(struct peer *p)
{
    int64_t epoch = zxid_epoch(tree_last_zxid(p->tree));

    if (epoch > p->epochs.current)
        peer_write_epoch(p, STORAGE_EPOCH_CURRENT, epoch);
}

/* The role is over and the log durable to its end. */
void role_over(struct peer *p)
{
    p->draining = false;
    p->stuck_ms = 0;
    if (p->stop.reload)
        peer_reload(p);
    peer_keep_unlogged(p);
    config_match_history(p);
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
void role_end(struct peer *p)
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

/* ---- elections ---- */

/* Waiting for initLimit would only keep the service away. True: the lead had not come as far as that phase, and is over. */
static bool leave_before(struct peer *p, enum zab_leader_phase phase)
{
    struct zab_leader_stats st;

    zab_leader_stats(p->leader, &st);
    if (st.phase >= phase)
        return false;
    p->counts.disloyal++;
    zab_leader_stop(p->leader);
    return true;
}

/* A voter looks again: the quorum may not come any more (ZOOKEEPER-3109). */
static void give_up_early(struct peer *p)
{
    int64_t limit = p->host.cfg->epoch_wait_ms;

    if (limit >= 0 && p->leader && p->now_ms - p->begun_ms > limit)
        (void)leave_before(p, ZAB_LEADER_EPOCH_ACK);
}

/* A quorum made us leader, and is none any more before it came. */
static void deserted(struct peer *p, int64_t sid)
{
    if (p->leader && leave_before(p, ZAB_LEADER_SERVING))
        log_info("quorum", "server %lld looks for a leader again: without it no quorum has elected us", (long long)sid);
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

bool role_elect(struct peer *p)
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

/* ---- what is due ---- */

int64_t role_next_wake(const struct peer *p)
{
    int64_t wake = read_only_due_ms(p);

    return p->look_due_ms != 0 && !p->ending ? MIN(wake, p->look_due_ms) : wake;
}

void role_poll(struct peer *p)
{
    if (p->now_ms >= read_only_due_ms(p))
        read_only_begin(p);
    if (p->look_due_ms != 0 && p->now_ms >= p->look_due_ms && !p->ending)
        role_look(p);
}
