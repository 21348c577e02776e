/* node.c - one server: what server.c, corethread.c and host.c are to the real one. */
#include "cluster.h"

#include <stdio.h>

#include "base/log.h"
#include "reconf.h"
#include "server/defaults.h"
#include "zab/zab.h"

enum { APPLY_BATCH = 256, TURN_FROM_US = 3, TURN_TO_US = 60 };

/* ---- time ---- */

int64_t node_local_us(const struct node *n, int64_t at_us)
{
    return n->base_local_us + (at_us - n->base_us) + (at_us - n->base_us) * n->rate_ppm / 1000000;
}

/* The first moment at which the local clock shows local_us. */
static int64_t node_world_us(const struct node *n, int64_t local_us)
{
    int64_t at = n->base_us + (local_us - n->base_local_us) * 1000000 / (1000000 + n->rate_ppm);

    while (node_local_us(n, at) < local_us)
        at++;
    return at;
}

int64_t node_time(const struct node *n)
{
    return n->in_turn ? MAX(n->w->now_us, vdisk_time(n->disk)) : n->w->now_us;
}

static int64_t mono_ms(const struct node *n)
{
    return node_local_us(n, node_time(n)) / 1000;
}

static int64_t wall_ms(const struct node *n)
{
    return mono_ms(n) + n->wall_offset_ms;
}

void node_set_rate(struct node *n, int32_t ppm)
{
    n->base_local_us = node_local_us(n, n->w->now_us);
    n->base_us = n->w->now_us;
    n->rate_ppm = ppm;
}

/* ---- dying ---- */

static void on_die(void *data, uint64_t arg)
{
    struct node *n = data;

    if (n->state != NODE_RUNNING || n->life != arg >> 1)
        return;
    node_crash(n, arg & 1, n->w->now_us);
    nemesis_process_ended(n);
}

void node_die_at(struct node *n, int64_t at_us, bool power, const char *why)
{
    if (n->dying)
        return;
    n->dying = true;
    vdisk_die(n->disk);
    world_line(n->w, SIM_LINE_LIFE, n->sid, 0, "%s: %s", power ? "loses power" : "ends", why);
    world_at(n->w, at_us, TAG_DIE, on_die, n, n->life << 1 | power);
}

bool node_alive(struct node *n, uint64_t life, enum world_tag tag)
{
    if (n->state != NODE_RUNNING || n->life != life || n->dying)
        return false;
    n->w->actor = n->sid;
    if (!n->paused)
        return true;
    VEC_PUSH(&n->deferred, tag);
    return false;
}

void node_pause(struct node *n, bool paused)
{
    n->paused = paused;
    if (paused)
        return;
    for (size_t i = 0; i < n->deferred.len; i++) {
        uint64_t tag = n->deferred.items[i];
        if (tag == TAG_FRONT)
            front_wake(n, n->w->now_us);
        else
            world_at(n->w, n->w->now_us, (uint32_t)tag, tag == TAG_LOG ? on_log : on_snap, n, n->life);
    }
    n->deferred.len = 0;
    if (n->state == NODE_RUNNING)
        node_wake(n, n->w->now_us);
}

/* ---- effects of the core: as corethread.c ---- */

static void carry_out(struct node *n, const struct core_effect *fx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fx[i].type == CORE_ROLL_LOG)
            log_roll(n);
        else if (fx[i].type == CORE_SNAPSHOT)
            snap_request(n);
    }
    peer_core_effects(n->peer, fx, count);
    core_effects_clear(n->core);
}

void node_settle(struct node *n)
{
    const struct core_effect *fx;
    size_t count = core_effects(n->core, &fx);

    if (count == 0)
        return;
    front_effects(n->front, fx, count);
    carry_out(n, fx, count);
}

static void apply_some(struct node *n)
{
    const struct core_effect *fx = NULL;
    size_t count = 0;

    for (uint32_t i = 0; i < APPLY_BATCH && core_has_committed(n->core); i++) {
        size_t routed = count;

        core_apply(n->core, 1);
        count = core_effects(n->core, &fx);
        front_effects(n->front, fx + routed, count - routed);
        inv_applied(n);
    }
    carry_out(n, fx, count);
}

/* ---- what the peer asks of its process ---- */

static int64_t host_now_ms(void *data)
{
    return mono_ms(data);
}

static int64_t host_wall_ms(void *data)
{
    return wall_ms(data);
}

static void host_fatal(void *data, int exit_code, const char *text)
{
    struct node *n = data;

    /* A history that contradicts the leader's, or a transaction that cannot be applied, is nothing that a fault may lead to. */
    bool failing = exit_code == ZAB_EXIT_TRUNCATE && nemesis_disk_fails(n); /* as it should */
    if (exit_code != 0 && !failing && !n->dying)
        world_finding(n->w, "server.fatal", n->sid, "the server ended with exit code %d: %s", exit_code, text);
    node_die_at(n, node_time(n), false, text);
}

static void host_log_push(void *data, struct log_batch *b)
{
    log_push(data, b);
}

static void host_log_drain(void *data)
{
    log_drain(data);
}

static void host_log_close(void *data)
{
    struct node *n = data;
    struct storage_error err = { "" };

    log_drain(n);
    n->moving = n->moving || !n->dying;
    snap_wait(n); /* it purges logs, too */
    if (!n->dying)
        nemesis_lurks(n, AMBUSH_MOVE);
    if (n->dying || txnlog_roll(n->log, &err) == 0)
        return;
    node_die_at(n, node_time(n), false, err.text);
}

static void host_log_moved(void *data, int64_t zxid)
{
    struct node *n = data;

    if (n->dying)
        return;
    n->moving = false;
    n->persisted = zxid;
    inv_log_moved(n, zxid, node_time(n));
}

static void host_snapper_hold(void *data)
{
    snap_hold(data);
}

static void host_snapper_release(void *data)
{
    snap_release(data);
}

static void host_no_lock(void *data)
{
    (void)data; /* turns do not overlap */
}

static void host_set_tree(void *data, struct tree *t)
{
    struct node *n = data;
    struct tree *old = n->tree;

    snap_wait(n); /* it walks the old one */
    n->tree = t;
    front_set_tree(n->front, t);
    core_set_tree(n->core, t);
    tree_free(old);
}

static void host_applied(void *data, int64_t zxid)
{
    (void)data;
    (void)zxid;
}

static void host_drain(void *data)
{
    struct node *n = data;

    node_settle(n);
    while (core_has_committed(n->core))
        apply_some(n);
}

static void host_become(void *data, enum core_role role, int64_t epoch)
{
    struct node *n = data;
    const struct core_effect *fx;

    core_become(n->core, role, epoch, mono_ms(n));
    n->role = role;
    n->epoch = epoch;
    size_t count = core_effects(n->core, &fx);
    front_effects(n->front, fx, count);
    carry_out(n, fx, count);
    if (!n->dying)
        inv_become(n, role, epoch);
}

static void host_serving(void *data, bool serving)
{
    struct node *n = data;

    if (serving && !n->serving)
        world_line(n->w, SIM_LINE_ROLE, n->sid, 0, "serves as %s of epoch %lld", n->role == CORE_LEADER ? "leader" : "learner",
                   (long long)n->epoch);
    n->serving = serving;
}

static struct peer_host peer_host_of(struct node *n)
{
    struct peer_host host = {
        .data = n,
        .cfg = &n->cfg,
        .storage = &n->storage,
        .net = &vquorum_net,
        .my_sid = n->sid,
        .snapshot_step_nodes = 4,
        .now_ms = host_now_ms,
        .wall_ms = host_wall_ms,
        .fatal = host_fatal,
        .log_push = host_log_push,
        .log_drain = host_log_drain,
        .log_close = host_log_close,
        .log_moved = host_log_moved,
        .snapper_hold = host_snapper_hold,
        .snapper_release = host_snapper_release,
        .tree_lock = host_no_lock,
        .tree_unlock = host_no_lock,
        .set_tree = host_set_tree,
        .applied = host_applied,
        .drain = host_drain,
        .become = host_become,
        .serving = host_serving,
    };

    reconf_host(n, &host);
    return host;
}

/* ---- turns of the core thread ---- */

static void note_progress(struct node *n)
{
    if (n->snap_finished != 0) {
        core_snapshot_done(n->core, n->snap_finished == 1);
        n->snap_finished = 0;
    }
    if (n->persisted != n->persisted_told) {
        n->persisted_told = n->persisted;
        peer_persisted(n->peer, n->persisted);
    }
    do
        host_drain(n);
    while (peer_step(n->peer) && !n->dying);
}

static void on_turn(void *data, uint64_t arg);

void node_wake(struct node *n, int64_t at_us)
{
    at_us = MAX(at_us, MAX(n->w->now_us, n->busy_until_us));
    if (n->state != NODE_RUNNING || at_us >= n->turn_at_us)
        return;
    n->turn_at_us = at_us;
    world_at(n->w, at_us, TAG_TURN, on_turn, n, n->life);
}

static void turn_end(struct node *n)
{
    n->busy_until_us = node_time(n);
    n->in_turn = false;
    front_flush_all(n);
    if (n->dying)
        return;
    inv_turn(n);
    int64_t wake_ms = MIN(core_next_wake(n->core), peer_next_wake(n->peer));
    if (n->persisted != n->persisted_told || n->snap_finished != 0 || wake_ms <= mono_ms(n))
        node_wake(n, n->busy_until_us + rng_range(&n->rng, TURN_FROM_US, TURN_TO_US));
    else if (wake_ms < INT64_MAX / 2000)
        node_wake(n, node_world_us(n, wake_ms * 1000));
}

static void turn_begin(struct node *n)
{
    n->in_turn = true;
    n->w->actor = n->sid;
    n->turn_at_us = SIM_NEVER;
    vdisk_at(n->disk, n->w->now_us);
}

static void on_turn(void *data, uint64_t life)
{
    struct node *n = data;

    if (n->life != life || n->turn_at_us != n->w->now_us || n->state != NODE_RUNNING || n->dying)
        return;
    if (n->paused) {
        n->turn_at_us = SIM_NEVER; /* node_pause wakes it */
        return;
    }
    turn_begin(n);
    core_tick(n->core, mono_ms(n), wall_ms(n));
    node_settle(n);
    peer_poll(n->peer);
    front_submit(n->front);
    node_settle(n);
    note_progress(n);
    if (!n->dying)
        peer_flush(n->peer);
    turn_end(n);
}

/* ---- sockets ---- */

static void on_accepted(void *data, enum vnet_port port, struct vsock *s)
{
    struct node *n = data;

    if (port == VPORT_CLIENT) {
        front_accepted(n, s);
        return;
    }
    vquorum_accepted(n->net, port, s);
    node_wake(n, n->w->now_us + rng_range(&n->rng, TURN_FROM_US, TURN_TO_US));
}

static bool is_client(const struct node *n, const struct vsock *s)
{
    return vsock_peer(s) >= n->cl->count;
}

static void on_look(void *data, struct vsock *s)
{
    struct node *n = data;
    int64_t at = n->w->now_us + rng_range(&n->rng, TURN_FROM_US, TURN_TO_US);

    if (is_client(n, s))
        front_wake(n, at);
    else
        node_wake(n, at);
}

static int64_t on_lag(void *data)
{
    const struct node *n = data;

    return node_time(n) - n->w->now_us;
}

static void on_sending(void *data, bool to_leader, struct buf packets)
{
    struct node *n = data;

    if (!n->dying)
        inv_sending(n, to_leader, packets);
}

static void on_leading(void *data)
{
    nemesis_lurks(data, AMBUSH_LEAD);
}

static const struct vnet_ops node_ops = { on_accepted, on_look, on_lag };

/* ---- life ---- */

static void broken(struct node *n, int rc, const char *text)
{
    n->state = NODE_BROKEN;
    n->damaged = rc == RC_CORRUPT;
    n->off_since_us = n->w->now_us;
    free(n->broken_why);
    n->broken_why = x_strdup(text);
    world_line(n->w, SIM_LINE_LIFE, n->sid, 0, "does not start: %s", text);
    vdisk_crash(n->disk, VDISK_KILL, vdisk_time(n->disk));
    n->in_turn = false;
    nemesis_process_ended(n);
}

static void start_process(struct node *n, struct tree *tree)
{
    struct core_config core = server_core_config(&n->cfg);
    struct vquorum_options opt = {
        .w = n->w,
        .net = n->cl->net,
        .host = n->index,
        .my_sid = n->sid,
        .cnx_timeout_ms = n->cfg.cnx_timeout_ms,
        .hello_timeout_ms = (int64_t)n->cfg.tick_ms * n->cfg.sync_limit,
        .follow_delay_ms = n->cfg.leader_connect_delay_ms,
        .max_buffer = QP_MAX_BUFFER_DEFAULT,
        .which = (uint64_t)n->sid << 32 | n->life,
        .now_ms = host_now_ms,
        .sending = on_sending,
        .leading = on_leading,
        .data = n,
        .events = peer_net_events(n->peer),
    };

    core.server_id = n->sid;
    core.seed = rng_u64(&n->rng);
    n->tree = tree;
    peer_core_config(n->peer, &core);
    n->core = core_new(&core, tree, mono_ms(n), wall_ms(n));
    n->net = vquorum_new(&opt);
    front_begin(n);
    vnet_host_up(n->cl->net, n->index, &node_ops, n);
    vnet_listen(n->cl->net, n->index, VPORT_CLIENT, true);
    peer_begin(n->peer, n->core, n->net);
}

static void reset_process(struct node *n)
{
    n->dying = n->serving = false;
    n->log_busy = n->log_scheduled = n->snap_wanted = n->snap_held = n->snap_scheduled = false;
    n->snap_finished = 0;
    n->role = CORE_STANDALONE;
    n->turn_at_us = n->front_at_us = SIM_NEVER;
    n->busy_until_us = 0;
    n->deferred.len = 0;
    n->paused = false;
}

void node_boot(struct node *n)
{
    struct storage_recovered r = { 0 };
    struct storage_error err = { "" };
    struct peer_host host;

    ASSERT(n->state != NODE_RUNNING);
    n->life++;
    reset_process(n);
    turn_begin(n);
    n->base_us = n->w->now_us;
    n->base_local_us = rng_range(&n->rng, 1, 1000000) * 1000; /* since its own boot */
    world_line(n->w, SIM_LINE_LIFE, n->sid, 0, "starts");
    inv_boots(n);
    int rc = reconf_load(n, &err);
    if (rc < 0) {
        broken(n, rc, err.text);
        return;
    }
    host = peer_host_of(n);
    rc = storage_recover(&n->storage, NULL, NULL, &r, &err);
    if (rc < 0) {
        broken(n, rc, err.text);
        return;
    }
    n->recovered_zxid = n->persisted = n->persisted_told = r.last_zxid;
    rc = txnlog_open(&n->storage, &n->log, &err);
    if (rc == 0)
        rc = peer_new(&host, r.tree, &n->peer, &err);
    if (rc < 0) {
        txnlog_close(n->log);
        n->log = NULL;
        tree_free(r.tree);
        broken(n, rc, err.text);
        return;
    }
    n->state = NODE_RUNNING;
    n->tree = r.tree;
    inv_recovered(n);
    start_process(n, r.tree);
    reconf_booted(n);
    turn_end(n);
}

void node_crash(struct node *n, bool power, int64_t at_us)
{
    ASSERT(n->state == NODE_RUNNING);
    n->cl->crashes++;
    n->dying = true;
    n->off_since_us = n->w->now_us;
    inv_crashed(n, power, at_us);
    vdisk_die(n->disk);
    snap_thread_end(n);
    vquorum_free(n->net);
    peer_free(n->peer);
    front_end(n);
    core_free(n->core);
    log_thread_end(n);
    tree_free(n->tree);
    n->net = NULL;
    n->peer = NULL;
    n->core = NULL;
    n->tree = NULL;
    n->state = NODE_OFF;
    n->paused = n->serving = n->in_turn = false;
    vnet_host_down(n->cl->net, n->index, power, at_us);
    vdisk_crash(n->disk, power ? VDISK_POWER : VDISK_KILL, at_us);
    world_line(n->w, SIM_LINE_LIFE, n->sid, 0, power ? "without power" : "is dead");
}

static void on_renamed(void *data, const char *path, struct buf content, int64_t at_us)
{
    (void)at_us;
    inv_epoch_file(data, path, content);
}

/* As shipped, but for what a seed varies, what zoo.cfg has to say in an ensemble, and what would be too large or too rare for a minute. */
static void configure(struct node *n)
{
    struct server_config *cfg = &n->cfg;

    server_config_init(cfg);
    free(cfg->four_letter_whitelist); /* all else here is borrowed */
    cfg->four_letter_whitelist = NULL;
    cfg->data_dir = n->dir;
    cfg->vfs = vdisk_vfs(n->disk);
    cfg->tick_ms = n->cl->tick_ms;
    cfg->init_limit = 10;
    cfg->sync_limit = 5;
    cfg->snap_count = n->cl->snap_count;
    cfg->commit_log_count = n->cl->commit_log_count;
    cfg->snapshot_size_factor = rng_chance(&n->rng, 500) ? (char *)"1" : NULL;
    cfg->extended_types = true;
    cfg->prealloc_kb = 32;
    cfg->snap_size_limit_kb = -1; /* no log gets there */
    cfg->container_check_ms = 10000;
    server_config_settle(cfg);
    n->storage = server_storage_config(cfg);
}

void node_init(struct node *n, struct cluster *cl, uint32_t index, bool observer)
{
    *n = (struct node){ .cl = cl, .w = cl->w, .index = index, .sid = index + 1, .observer = observer };
    n->rng = rng_split(cl->w->seed, RNG_NODE, index);
    n->disk = vdisk_new(cl->w, index);
    vdisk_on_renamed(n->disk, on_renamed, n);
    n->dir = x_asprintf("/s%u", index + 1);
    n->wall_offset_ms = INT64_C(1700000000000) + rng_range(&n->rng, -5000, 5000);
    n->turn_at_us = n->front_at_us = SIM_NEVER;
    configure(n);
    reconf_node_begin(n);
}

void node_done(struct node *n)
{
    if (n->state == NODE_RUNNING)
        node_crash(n, false, n->w->now_us);
    vdisk_free(n->disk);
    VEC_FREE(&n->deferred);
    VEC_FREE(&n->clients);
    VEC_FREE(&n->shadow.log);
    VEC_FREE(&n->old.log);
    VEC_FREE(&n->pending.entries);
    VEC_FREE(&n->current.entries);
    wr_free(&n->pending.bytes);
    wr_free(&n->current.bytes);
    reconf_node_done(n);
    free(n->dir);
    free(n->broken_why);
}
