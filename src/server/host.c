/* host.c - the process that a quorum peer lives in: threads, locks, sockets and clock for peer_host.h. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "server_internal.h"
#include "zab/quorum.h"

static bool is_any(const char *host)
{
    return !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* "ADDR:PORT"; ":PORT" for every address. */
static char *client_address(const char *host, int port)
{
    host = host && !is_any(host) ? host : "";
    return x_asprintf(strchr(host, ':') && host[0] != '[' ? "[%s]:%d" : "%s:%d", host, port);
}

/* As in the reference: a clientPort without an address may be narrowed by the server line, not contradicted. */
static bool same_clients(const struct server_config *cfg, const struct quorum_member *me)
{
    const char *host = cfg->client_addr ? cfg->client_addr : "";

    return cfg->client_port == me->client_port && (is_any(host) || str_ieq(host, me->client_host));
}

static void settle_listen(struct server *s, const struct quorum_member *me)
{
    struct server_config *cfg = &s->own_cfg;

    if (me->client_port != 0)
        s->client_address = client_address(me->client_host, me->client_port);
    else if (cfg->client_port >= 0)
        s->client_address = client_address(cfg->client_addr, cfg->client_port);
    else
        s->client_address = x_strdup(cfg->listen_count > 0 ? cfg->listen[0] : "");
    if (me->client_port == 0 || (cfg->listen_count > 0 && cfg->client_port < 0))
        return; /* flags win */
    if (cfg->listen_count == 0)
        cfg->listen = x_reallocarray(cfg->listen, 1, sizeof(*cfg->listen));
    else
        free(cfg->listen[0]);
    cfg->listen[0] = x_strdup(s->client_address);
    cfg->listen_count = 1;
}

/* Before the first dynamic file takes the server lines' place. */
static void backup(struct server *s)
{
    const struct server_config *cfg = s->cfg;
    struct storage_error err = { "" };

    if (!cfg->reconfig_enabled || cfg->dynamic_file || !cfg->path || !cfg->config_text)
        return;
    if (dynconf_backup(s->storage.vfs, cfg->path, cfg->config_text, &err) < 0)
        log_warn("config", "no copy of the configuration file: %s", err.text);
}

int host_settle_config(struct server *s, struct storage_error *err)
{
    struct server_config *cfg = &s->own_cfg;
    int rc = storage_myid(&s->storage, &s->my_sid, err);

    if (rc < 0)
        return rc;
    const struct quorum_member *me = quorum_config_member(cfg->members, s->my_sid);
    if (!me && cfg->members_next)
        me = quorum_config_member(cfg->members_next, s->my_sid);
    if (!me) {
        snprintf(err->text, sizeof(err->text), "myid says %lld, which is not in the list of servers", (long long)s->my_sid);
        return RC_INVAL;
    }
    if (cfg->peer_type && str_ieq(cfg->peer_type, "observer") != (me->role == MEMBER_OBSERVER))
        log_warn("config", "peerType: %s, but the list of servers says otherwise, and wins", cfg->peer_type);
    if (cfg->client_port >= 0 && me->client_port != 0 && !same_clients(cfg, me)) {
        snprintf(err->text, sizeof(err->text), "clientPort: %d, but the list of servers says that clients of server %lld connect to %s:%d",
                 cfg->client_port, (long long)s->my_sid, me->client_host, me->client_port);
        return RC_INVAL;
    }
    settle_listen(s, me);
    backup(s);
    return 0;
}

/* ---- what the peer calls ---- */

static int64_t host_now_ms(void *data)
{
    (void)data;
    return clock_mono_ms();
}

static void host_fatal(void *data, int exit_code, const char *text)
{
    struct server *s = data;

    if (exit_code == 0 || s->fatal) {
        server_fatal(s, text);
        return;
    }
    log_error("quorum", "cannot go on: %s", text);
    _exit(exit_code); /* the reference's code, which supervisors know */
}

static void host_log_push(void *data, struct log_batch *b)
{
    struct server *s = data;

    if (b->entries.len > 0)
        stats_add(&s->core_stats, CTR_PROPOSALS, b->entries.len);
    logger_push(s, b);
}

static void host_log_drain(void *data)
{
    logger_drain(data);
}

static void host_log_close(void *data)
{
    struct server *s = data;
    struct storage_error err = { "" };
    char text[sizeof(err.text) + 64];

    logger_drain(s);
    snapper_wait(s); /* it purges logs, too */
    if (txnlog_roll(s->logger.log, &err) == 0)
        return;
    snprintf(text, sizeof(text), "transaction log: %s", err.text);
    server_fatal(s, text);
}

static void host_log_moved(void *data, int64_t zxid)
{
    struct server *s = data;

    atomic_store(&s->logger.persisted, zxid);
}

static void host_snapper_hold(void *data)
{
    snapper_hold(data);
}

static void host_snapper_release(void *data)
{
    snapper_release(data);
}

static void host_tree_lock(void *data)
{
    struct server *s = data;

    treelock_write_lock(s->lock);
}

static void host_tree_unlock(void *data)
{
    struct server *s = data;

    treelock_write_unlock(s->lock);
}

static void host_set_tree(void *data, struct tree *t)
{
    struct server *s = data;

    snapper_wait(s); /* it walks the old one */
    server_set_tree(s, t);
}

static void host_applied(void *data, int64_t zxid)
{
    struct server *s = data;

    atomic_store(&s->applied_zxid, zxid);
}

static int64_t host_wall_ms(void *data)
{
    (void)data;
    return clock_wall_ms();
}

static void host_config_seen(void *data, struct quorum_config *c)
{
    struct server *s = data;

    dynconf_seen(&s->keeper, c);
}

/* Only when our line in the list of servers says where, and says it anew. */
static void move_clients(struct server *s, const struct quorum_config *c)
{
    const struct quorum_member *me = quorum_config_member(c, s->my_sid);

    if (!me || me->client_port == 0)
        return;
    char *address = client_address(me->client_host, me->client_port);
    if (strcmp(address, s->client_address) != 0) {
        free(s->client_address);
        s->client_address = x_strdup(address);
        listen_move(s, address);
    }
    free(address);
}

static void host_config_active(void *data, struct quorum_config *c)
{
    struct server *s = data;

    dynconf_active(&s->keeper, c);
    move_clients(s, c);
}

static void host_drain(void *data)
{
    struct server *s = data;

    round_drain(s->round);
}

static void host_become(void *data, enum core_role role, int64_t epoch)
{
    struct server *s = data;

    round_become(s->round, role, epoch);
}

static void host_serving(void *data, bool serving)
{
    struct server *s = data;

    atomic_store(&s->serving, serving);
}

static const struct peer_net host_net = {
    .run = qnet_run,
    .flush = qnet_flush,
    .next_wake = qnet_next_wake,
    .set_configs = qnet_set_configs,
    .election_send = qnet_election_send,
    .election_connect_all = qnet_election_connect_all,
    .election_queue_empty = qnet_election_queue_empty,
    .election_restart = qnet_election_restart,
    .lead_start = qnet_lead_start,
    .lead_stop = qnet_lead_stop,
    .peer_send = qnet_peer_send,
    .peer_close_after_flush = qnet_peer_close_after_flush,
    .peer_figures = qnet_peer_figures,
    .peer_stream = qnet_peer_stream,
    .follow = qnet_follow,
    .unfollow = qnet_unfollow,
    .leader_send = qnet_leader_send,
    .leader_pause = qnet_leader_pause,
    .leader_raw = qnet_leader_raw,
};

/* ---- making ---- */

static struct qnet_options net_options(const struct server *s)
{
    const struct server_config *cfg = s->cfg;

    return (struct qnet_options){
        .my_sid = s->my_sid,
        .multi_address = cfg->multi_address,
        .listen_on_all_ips = cfg->listen_on_all_ips,
        .tcp_keepalive = cfg->quorum_keepalive,
        .bind_tries = cfg->election_bind_tries,
        .cnx_timeout_ms = (int32_t)cfg->cnx_timeout_ms,
        .hello_timeout_ms = cfg->quorum_cnxn_timeout_ms > 0 ? cfg->quorum_cnxn_timeout_ms : cfg->tick_ms * cfg->sync_limit,
        .follow_delay_ms = (int32_t)cfg->leader_connect_delay_ms,
        .sasl = s->quorum_sasl,
        .sasl_learner = cfg->quorum_sasl.learner_require,
        .sasl_required = cfg->quorum_sasl.server_require,
        .tls = s->quorum_tls,
        .tls_outgoing = cfg->ssl_quorum,
        .tls_unification = cfg->port_unification,
        .max_buffer = (uint32_t)MIN((int64_t)cfg->max_buffer + cfg->extra_size, INT32_MAX),
    };
}

int host_peer_new(struct server *s, struct storage_error *err)
{
    struct peer_host host = {
        .data = s,
        .cfg = s->cfg,
        .storage = &s->storage,
        .net = &host_net,
        .my_sid = s->my_sid,
        .now_ms = host_now_ms,
        .fatal = host_fatal,
        .log_push = host_log_push,
        .log_drain = host_log_drain,
        .log_close = host_log_close,
        .log_moved = host_log_moved,
        .snapper_hold = host_snapper_hold,
        .snapper_release = host_snapper_release,
        .tree_lock = host_tree_lock,
        .tree_unlock = host_tree_unlock,
        .set_tree = host_set_tree,
        .applied = host_applied,
        .config_seen = host_config_seen,
        .config_active = host_config_active,
        .wall_ms = host_wall_ms,
        .drain = host_drain,
        .become = host_become,
        .serving = host_serving,
    };
    int rc = 0;

    s->keeper = (struct dynconf_keeper){ .vfs = s->storage.vfs, .cfg_path = s->cfg->path, .my_sid = s->my_sid };
    if (s->cfg->ssl_quorum || s->cfg->port_unification)
        rc = tls_context_new(&s->cfg->quorum_tls, &s->quorum_tls, err);
    if (rc == 0 && s->cfg->quorum_sasl.enabled)
        rc = qsasl_new(&s->cfg->quorum_sasl, &s->quorum_sasl, err);
    if (rc == 0)
        rc = peer_new(&host, s->tree, &s->peer, err);

    if (rc < 0)
        return rc;
    struct qnet_events events = peer_net_events(s->peer);
    struct qnet_options opt = net_options(s);
    if (qnet_new(&opt, &events, &s->qnet) == 0 && qnet_wake_by(s->qnet, s->core_waker.fd) == 0)
        return 0;
    snprintf(err->text, sizeof(err->text), "no descriptors for the quorum's sockets");
    return RC_IO;
}

void host_peer_free(struct server *s)
{
    qnet_free(s->qnet);
    peer_free(s->peer);
    tls_context_free(s->quorum_tls);
    qsasl_free(s->quorum_sasl);
}
