/* defaults.c - what a server does that its configuration says nothing about, and what a configuration asks of core and storage. Without the shell, since the
 * simulator has to run what ships: a default of its own once made it find what no server does. */
#include "server/defaults.h"

void server_config_init(struct server_config *cfg)
{
    *cfg = (struct server_config){
        .client_port = -1,
        .tick_ms = 3000,
        .min_session_ms = -1,
        .max_session_ms = -1,
        .max_client_cnxns = 60,
        .backlog = -1,
        .max_buffer = ZK_MAX_BUFFER_DEFAULT,
        .extra_size = -1,
        .snap_count = 100000,
        .snap_size_limit_kb = 4194304,
        .prealloc_kb = 65536,
        .snap_retain_count = 3,
        .four_letter_whitelist = x_strdup("srvr"),
        .force_sync = true,
        .digest_enabled = true,
        .dir_autocreate = true,
        .last_zxid_section = true,
        .container_check_ms = 60000,
        .container_max_per_minute = 10000,
        .sessionless_timeout_ms = 10000,
        .global_outstanding_limit = 1000,
        .fsync_warn_ms = 1000,
        .standalone_enabled = true,
        .observer_log = true,
        .leader_serves = true,
        .quorum_cnxn_timeout_ms = -1,
        .election_bind_tries = 3,
        .epoch_wait_ms = -1,
        .election_alg = 3,
        .cnx_timeout_ms = 5000,
        .election_min_ms = 25, /* a vote that crosses with a server's loss of its leader is not answered: only repetition tells it */
        .election_max_ms = 2000,
        .leader_connect_delay_ms = 100,
    };
}

void server_config_settle(struct server_config *cfg)
{
    if (cfg->min_session_ms < 0)
        cfg->min_session_ms = 2 * cfg->tick_ms;
    if (cfg->max_session_ms < 0)
        cfg->max_session_ms = 20 * cfg->tick_ms;
    if (cfg->extra_size < 0)
        cfg->extra_size = MAX((int64_t)cfg->max_buffer, 1024);
}

struct storage_config server_storage_config(const struct server_config *cfg)
{
    return (struct storage_config){
        .vfs = cfg->vfs,
        .data_dir = cfg->data_dir,
        .log_dir = cfg->log_dir,
        .prealloc_bytes = cfg->prealloc_kb * 1024,
        .no_force_sync = !cfg->force_sync,
        .trust_empty = cfg->trust_empty,
        .compression = cfg->snapshot_compression ? cfg->snapshot_compression : "",
        .no_last_zxid_section = !cfg->last_zxid_section,
        .max_record = (uint32_t)MAX(INT64_C(64) << 20, (int64_t)cfg->max_buffer + cfg->extra_size + 4096), /* all that the core lets pass */
        .tree = { .extended_types = cfg->extended_types, .no_digest = !cfg->digest_enabled, .skip_acl = cfg->skip_acl },
    };
}

struct core_config server_core_config(const struct server_config *cfg)
{
    return (struct core_config){
        .tick_ms = cfg->tick_ms,
        .min_session_ms = cfg->min_session_ms,
        .max_session_ms = cfg->max_session_ms,
        .skip_acl = cfg->skip_acl,
        .enforce_quota = cfg->enforce_quota,
        .extended_types = cfg->extended_types,
        .no_digest = !cfg->digest_enabled,
        .local_sessions = cfg->local_sessions,
        .local_upgrade = cfg->local_upgrade,
        .refuse_leading = !cfg->leader_serves,
        .snap_count = cfg->snap_count,
        .snap_size_bytes = cfg->snap_size_limit_kb > 0 ? cfg->snap_size_limit_kb * 1024 : -1,
        .container_check_ms = cfg->container_check_ms,
        .container_max_per_minute = cfg->container_max_per_minute,
        .container_max_never_used_ms = cfg->container_max_never_used_ms,
        .max_txn = (uint32_t)MIN((int64_t)cfg->max_buffer + cfg->extra_size, INT32_MAX),
    };
}
