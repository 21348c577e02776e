/* config.c - zoo.cfg: Java-properties syntax, one table of keys.
 *
 * Source: java.util.Properties.load, QuorumPeerConfig.parseProperties (3.9). Every key is known by its name in the file and by its -D
 * spelling ("zookeeper.snapCount"); keys that the reference only takes as -D are taken from the file as well.
 * docs/configuration.md describes the table for people. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "properties.h"
#include "server_internal.h"
#include "zab/quorum.h"

/* ---- the table ---- */

enum kind {
    K_STR,
    K_I32,       /* decimal; anything else is an error */
    K_I64,
    K_U32,
    K_FLAG,      /* "true" is true, all else is false: so Apache's server reads what it takes as -D */
    K_BOOL,      /* "true" or "false"; anything else is an error: there too, or because a typo must not be less security */
    K_YES,       /* "yes" is true, all else is false */
    K_NOT_NO,    /* "no" is false, all else is true */
    K_NOT_FALSE, /* sets a flag that switches something off: "false" sets it */
    K_IGNORED,   /* known, without effect here */
    K_REFUSED,   /* would change what the server promises, and is not supported: never silently */
    K_REFUSED_TRUE,  /* refused when "true" */
    K_REFUSED_FALSE, /* refused when "false" */
    K_MEMBER,    /* server.N, group.N, weight.N */
};

struct key {
    const char *name; /* a trailing '*' matches any rest */
    enum kind kind;
    size_t offset;
    int64_t min, max; /* of numbers */
};

#define F(field) offsetof(struct server_config, field)
static const struct key keys[] = {
    { "dataDir", K_STR, F(data_dir) },
    { "dataLogDir", K_STR, F(log_dir) },
    { "tickTime", K_I32, F(tick_ms), 1, INT32_MAX / 20 },
    { "clientPort", K_I32, F(client_port), 0, 65535 },
    { "clientPortAddress", K_STR, F(client_addr) },
    { "clientPortListenBacklog", K_I32, F(backlog), -1, 65535 },
    { "maxClientCnxns", K_I32, F(max_client_cnxns), 0, INT32_MAX },
    { "maxCnxns", K_I32, F(max_cnxns), 0, INT32_MAX },
    { "minSessionTimeout", K_I32, F(min_session_ms), -1, INT32_MAX },
    { "maxSessionTimeout", K_I32, F(max_session_ms), -1, INT32_MAX },
    { "clientTcpKeepAlive", K_FLAG, F(tcp_keepalive) },
    { "nio.sessionlessCnxnTimeout", K_I32, F(sessionless_timeout_ms), 1, INT32_MAX },
    { "globalOutstandingLimit", K_I32, F(global_outstanding_limit), 1, INT32_MAX },
    { "jute.maxbuffer", K_U32, F(max_buffer), 1024, 1 << 30 },
    { "jute.maxbuffer.extrasize", K_I64, F(extra_size), 1024, 1 << 30 },
    { "preAllocSize", K_I64, F(prealloc_kb), 1, 1 << 24 },
    { "snapCount", K_U32, F(snap_count), 2, INT32_MAX },
    { "snapSizeLimitInKb", K_I64, F(snap_size_limit_kb), INT64_MIN, INT64_MAX / 1024 },
    { "forceSync", K_NOT_NO, F(force_sync) },
    { "fsync.warningthresholdms", K_I64, F(fsync_warn_ms), 0, INT64_MAX },
    { "snapshot.compression.method", K_STR, F(snapshot_compression) },
    { "snapshot.trust.empty", K_FLAG, F(trust_empty) },
    { "serializeLastProcessedZxid.enabled", K_FLAG, F(last_zxid_section) },
    { "digest.enabled", K_FLAG, F(digest_enabled) },
    { "datadir.autocreate", K_FLAG, F(dir_autocreate) },
    { "autopurge.snapRetainCount", K_I32, F(snap_retain_count), 0, INT32_MAX },
    { "autopurge.purgeInterval", K_I32, F(purge_interval_hours), 0, 1 << 20 },
    { "skipACL", K_YES, F(skip_acl) },
    { "enforceQuota", K_FLAG, F(enforce_quota) },
    { "extendedTypesEnabled", K_FLAG, F(extended_types) },
    { "znode.container.checkIntervalMs", K_I64, F(container_check_ms), 1, INT64_MAX },
    { "znode.container.maxPerMinute", K_I32, F(container_max_per_minute), 1, INT32_MAX },
    { "znode.container.maxNeverUsedIntervalMs", K_I64, F(container_max_never_used_ms), 0, INT64_MAX },
    { "4lw.commands.whitelist", K_STR, F(four_letter_whitelist) },
    { "DigestAuthenticationProvider.superDigest", K_STR, F(super_digest) },
    { "quoll.netThreads", K_I32, F(net_threads), 0, 64 },

    { "server.*", K_MEMBER },
    { "group*", K_MEMBER },
    { "weight*", K_MEMBER },
    { "initLimit", K_I32, F(init_limit), 1, INT32_MAX / 20 },
    { "syncLimit", K_I32, F(sync_limit), 1, INT32_MAX / 20 },
    { "connectToLearnerMasterLimit", K_I32, F(connect_limit), 0, INT32_MAX / 20 },
    { "electionAlg", K_I32, F(election_alg), 0, 3 },
    { "peerType", K_STR, F(peer_type) },
    { "quorumListenOnAllIPs", K_BOOL, F(listen_on_all_ips) },
    { "standaloneEnabled", K_BOOL, F(standalone_enabled) },
    { "reconfigEnabled", K_BOOL, F(reconfig_enabled) },
    { "dynamicConfigFile", K_STR, F(dynamic_file) },
    { "syncEnabled", K_BOOL, F(observer_log) },
    { "observer.syncEnabled", K_FLAG, F(observer_log) },
    { "leaderServes", K_NOT_NO, F(leader_serves) },
    { "tcpKeepAlive", K_FLAG, F(quorum_keepalive) },
    { "quorumCnxnTimeoutMs", K_I32, F(quorum_cnxn_timeout_ms), -1, INT32_MAX },
    { "electionPortBindRetry", K_I32, F(election_bind_tries), 0, INT32_MAX },
    { "observer.reconnectDelayMs", K_I32, F(observer_reconnect_delay_ms), 0, INT32_MAX },
    { "observer.election.DelayMs", K_I32, F(observer_election_delay_ms), 0, INT32_MAX },
    { "leader.maxTimeToWaitForEpoch", K_I64, F(epoch_wait_ms), -1, INT64_MAX },
    { "readonlymode.enabled", K_FLAG, F(read_only_mode) },
    { "localSessionsEnabled", K_BOOL, F(local_sessions) },
    { "localSessionsUpgradingEnabled", K_BOOL, F(local_upgrade) },
    { "multiAddress.enabled", K_FLAG, F(multi_address) },
    { "cnxTimeout", K_I64, F(cnx_timeout_ms), 1, INT32_MAX },
    { "fastleader.minNotificationInterval", K_I64, F(election_min_ms), 1, INT32_MAX },
    { "fastleader.maxNotificationInterval", K_I64, F(election_max_ms), 1, INT32_MAX },
    { "leaderConnectDelayDuringRetryMs", K_I64, F(leader_connect_delay_ms), 0, INT32_MAX },
    { "leader.maxConcurrentSnapSyncs", K_I32, F(max_snap_syncs), 0, INT32_MAX },
    { "leader.maxConcurrentDiffSyncs", K_I32, F(max_diff_syncs), 0, INT32_MAX },
    { "commitLogCount", K_I32, F(commit_log_count), 0, INT32_MAX },
    { "snapshotSizeFactor", K_STR, F(snapshot_size_factor) },
    { "forceSnapshotSync", K_FLAG, F(force_snapshot_sync) },
    { "quoll.confirmSync", K_NOT_FALSE, F(no_confirm_sync) },

    { "sslQuorum", K_BOOL, F(ssl_quorum) },
    { "portUnification", K_BOOL, F(port_unification) },
    { "sslQuorumReloadCertFiles", K_FLAG, F(quorum_tls.reload) },
    { "ssl.quorum.keyStore.location", K_STR, F(quorum_tls.key.path) },
    { "ssl.quorum.keyStore.password", K_STR, F(quorum_tls.key.password) },
    { "ssl.quorum.keyStore.passwordPath", K_STR, F(quorum_tls.key.password_file) },
    { "ssl.quorum.keyStore.type", K_STR, F(quorum_tls.key.type) },
    { "ssl.quorum.trustStore.location", K_STR, F(quorum_tls.trust.path) },
    { "ssl.quorum.trustStore.password", K_STR, F(quorum_tls.trust.password) },
    { "ssl.quorum.trustStore.passwordPath", K_STR, F(quorum_tls.trust.password_file) },
    { "ssl.quorum.trustStore.type", K_STR, F(quorum_tls.trust.type) },
    { "ssl.quorum.clientAuth", K_STR, F(quorum_tls.client_auth) },
    { "ssl.quorum.protocol", K_STR, F(quorum_tls.protocol) },
    { "ssl.quorum.enabledProtocols", K_STR, F(quorum_tls.protocols) },
    { "ssl.quorum.ciphersuites", K_STR, F(quorum_tls.ciphers) },
    { "ssl.quorum.hostnameVerification", K_NOT_FALSE, F(quorum_tls.any_host) },
    { "ssl.quorum.clientHostnameVerification", K_BOOL, F(quorum_tls.verify_client_host) },
    { "ssl.quorum.crl", K_REFUSED_TRUE },
    { "ssl.quorum.ocsp", K_REFUSED_TRUE },
    { "ssl.quorum.context.supplier.class", K_REFUSED },
    { "quorum.auth.enableSasl", K_BOOL, F(quorum_sasl.enabled) },
    { "quorum.auth.learnerRequireSasl", K_BOOL, F(quorum_sasl.learner_require) },
    { "quorum.auth.serverRequireSasl", K_BOOL, F(quorum_sasl.server_require) },
    { "quorum.auth.learner.saslLoginContext", K_STR, F(quorum_sasl.learner_section) },
    { "quorum.auth.server.saslLoginContext", K_STR, F(quorum_sasl.server_section) },
    { "java.security.auth.login.config", K_STR, F(quorum_sasl.jaas_file) },
    { "observerMasterPort", K_REFUSED },
    { "oraclePath", K_REFUSED },
    { "secureClientPort", K_REFUSED },
    { "secureClientPortAddress", K_REFUSED },
    { "client.portUnification", K_REFUSED_TRUE },
    { "authProvider.*", K_REFUSED },
    { "enforce.auth.enabled", K_REFUSED_TRUE },
    { "sessionRequireClientSASLAuth", K_REFUSED_TRUE },
    { "DigestAuthenticationProvider.enabled", K_REFUSED_FALSE },
    { "DigestAuthenticationProvider.digestAlg", K_REFUSED },
    { "emulate353TTLNodes", K_REFUSED_TRUE },

    { "serverCnxnFactory", K_IGNORED },
    { "nio.*", K_IGNORED },
    { "netty.*", K_IGNORED },
    { "admin.*", K_IGNORED },
    { "metricsProvider.*", K_IGNORED },
    { "audit.*", K_IGNORED },
    { "jvm.pause.monitor*", K_IGNORED },
    { "commitProcessor.*", K_IGNORED },
    { "db.autocreate", K_REFUSED_FALSE },
    { "multiAddress.*", K_IGNORED },
    { "quorum.cnxn.threads.size", K_IGNORED },
    { "learner.*", K_IGNORED },
    { "leader.*", K_IGNORED },
    { "observer.*", K_IGNORED },
    { "quorum.auth.*", K_IGNORED },
    { "closeSessionTxn.enabled", K_IGNORED },
    { "txnLogSizeLimitInKb", K_IGNORED },
    { "flushDelay", K_IGNORED },
    { "maxWriteQueuePollTime", K_IGNORED },
    { "maxBatchSize", K_IGNORED },
    { "maxResponseCacheSize", K_IGNORED },
    { "maxGetChildrenResponseCacheSize", K_IGNORED },
    { "request_throttle*", K_IGNORED },
    { "throttled_op_wait_time", K_IGNORED },
    { "connection_throttle*", K_IGNORED },
    { "largeRequest*", K_IGNORED },
    { "watchManagerName", K_IGNORED },
    { "watcherClean*", K_IGNORED },
    { "pathStats.*", K_IGNORED },
    { "ssl.*", K_IGNORED },
};
#undef F

static const struct key *key_find(const char *name)
{
    if (str_has_prefix(name, "zookeeper."))
        name += strlen("zookeeper.");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        size_t n = strlen(keys[i].name);
        bool wild = keys[i].name[n - 1] == '*';

        if (wild ? strncmp(name, keys[i].name, n - 1) == 0 : strcmp(name, keys[i].name) == 0)
            return &keys[i];
    }
    return NULL;
}

/* ---- one key ---- */

static int fail(struct storage_error *err, int rc, const char *key, const char *why, const char *value)
{
    snprintf(err->text, sizeof(err->text), "%s: %s%s%s", key, why, value ? ": " : "", value ? value : "");
    return rc;
}

static void set_str(char **field, const char *value)
{
    free(*field);
    *field = *value ? x_strdup(value) : NULL;
}

static int set_number(const struct key *k, void *field, const char *key, const char *value, struct storage_error *err)
{
    int64_t v;

    if (str_to_i64(value, k->min, k->max, &v) < 0) {
        char why[96];

        if (k->max == INT64_MAX || k->min == INT64_MIN)
            snprintf(why, sizeof(why), "not a whole number of at least %lld", (long long)k->min);
        else
            snprintf(why, sizeof(why), "not a whole number from %lld to %lld", (long long)k->min, (long long)k->max);
        return fail(err, RC_INVAL, key, why, value);
    }
    if (k->kind == K_I64)
        *(int64_t *)field = v;
    else if (k->kind == K_U32)
        *(uint32_t *)field = (uint32_t)v;
    else
        *(int32_t *)field = (int32_t)v;
    return 0;
}

/* Kept as text until all is read: what a line means depends on other keys. What is wrong with it in any case is said now. */
static int set_member(struct server_config *cfg, const char *key, const char *value, struct storage_error *err)
{
    struct quorum_builder *b = quorum_builder_new(&(struct quorum_options){ .multi_address = true });
    struct quorum_error why = { "" };
    int rc = quorum_builder_set(b, key, value, &why);

    quorum_builder_free(b);
    if (rc < 0)
        return fail(err, RC_INVAL, key, *why.text ? why.text : "not a line of an ensemble", NULL);
    cfg->member_lines = x_reallocarray(cfg->member_lines, cfg->member_line_count + 1, sizeof(*cfg->member_lines));
    cfg->member_lines[cfg->member_line_count++] = (struct server_member_line){ x_strdup(key), x_strdup(value) };
    return 0;
}

static int set_bool(bool *field, const char *key, const char *value, struct storage_error *err)
{
    if (!str_ieq(value, "true") && !str_ieq(value, "false"))
        return fail(err, RC_INVAL, key, "neither true nor false", value);
    *field = str_ieq(value, "true");
    return 0;
}

/* clientPort and clientPortAddress make one address to listen on, in place of those before. */
static void set_listen(struct server_config *cfg)
{
    const char *addr = cfg->client_addr ? cfg->client_addr : "";
    bool bare6 = strchr(addr, ':') && addr[0] != '[';

    for (size_t i = 0; i < cfg->listen_count; i++)
        free(cfg->listen[i]);
    cfg->listen = x_reallocarray(cfg->listen, 1, sizeof(*cfg->listen));
    cfg->listen[0] = x_asprintf(bare6 ? "[%s]:%d" : "%s:%d", addr, cfg->client_port);
    cfg->listen_count = 1;
}

static int set_key(struct server_config *cfg, const struct key *k, const char *key, const char *value,
                   struct storage_error *err)
{
    void *field = (char *)cfg + k->offset;

    switch (k->kind) {
    case K_STR:
        set_str(field, value);
        return 0;
    case K_I32:
    case K_I64:
    case K_U32:
        return set_number(k, field, key, value, err);
    case K_FLAG:
        *(bool *)field = str_ieq(value, "true");
        return 0;
    case K_BOOL:
        return set_bool(field, key, value, err);
    case K_NOT_FALSE:
        *(bool *)field = str_ieq(value, "false");
        return 0;
    case K_YES:
        *(bool *)field = str_ieq(value, "yes");
        return 0;
    case K_NOT_NO:
        *(bool *)field = !str_ieq(value, "no");
        return 0;
    case K_IGNORED:
        log_info("config", "%s: has no effect on this server", key);
        return 0;
    case K_REFUSED:
        return fail(err, RC_UNSUPPORTED, key, "not supported", NULL);
    case K_REFUSED_TRUE:
        return str_ieq(value, "true") ? fail(err, RC_UNSUPPORTED, key, "not supported", value) : 0;
    case K_REFUSED_FALSE:
        return str_ieq(value, "false") ? fail(err, RC_UNSUPPORTED, key, "not supported", value) : 0;
    case K_MEMBER:
        return set_member(cfg, key, value, err);
    }
    return 0;
}

int server_config_set(struct server_config *cfg, const char *key, const char *value, struct storage_error *err)
{
    const struct key *k = key_find(key);
    int rc;

    if (!k) {
        log_warn("config", "%s: unknown key, without effect", key);
        return 0;
    }
    rc = set_key(cfg, k, key, value, err);
    if (rc == 0 && cfg->client_port >= 0 && str_has_prefix(k->name, "clientPort"))
        set_listen(cfg);
    return rc;
}

/* ---- the file ---- */

int server_config_parse(struct server_config *cfg, const char *path, const char *text, size_t n, struct storage_error *err)
{
    struct properties in = properties_init(text, n);
    struct storage_error why = { "" };
    int rc = 0, more;

    while (rc == 0 && (more = properties_next(&in)) != 0) {
        rc = more < 0 ? more : server_config_set(cfg, wr_cstr(&in.key), wr_cstr(&in.value), &why);
        if (more < 0)
            snprintf(why.text, sizeof(why.text), "%.*s: malformed \\u escape", (int)in.key.n, in.key.n ? (const char *)in.key.p : "");
    }
    if (rc < 0 && snprintf(err->text, sizeof(err->text), "%s:%d: %s", path, in.key_line, why.text) < 0)
        err->text[0] = '\0';
    properties_done(&in);
    return rc;
}

/* What no single key can tell. */
static int config_check(const struct server_config *cfg, const char *path, struct storage_error *err)
{
    const char *why = NULL;
    int32_t min = cfg->min_session_ms < 0 ? 2 * cfg->tick_ms : cfg->min_session_ms;
    int32_t max = cfg->max_session_ms < 0 ? 20 * cfg->tick_ms : cfg->max_session_ms;

    if (!cfg->data_dir)
        why = "dataDir: not set";
    else if (cfg->client_addr && cfg->client_port < 0)
        why = "clientPortAddress: set without clientPort";
    else if (cfg->election_alg != 3)
        why = "electionAlg: only 3 exists";
    else if (cfg->dynamic_file && cfg->member_line_count > 0)
        why = "dynamicConfigFile: server, group and weight lines belong into that file, all of them";
    else if (cfg->peer_type && !str_ieq(cfg->peer_type, "participant") && !str_ieq(cfg->peer_type, "observer"))
        why = "peerType: neither participant nor observer";
    else if (cfg->quorum_sasl.learner_require && !cfg->quorum_sasl.enabled)
        why = "quorum.auth.learnerRequireSasl: needs quorum.auth.enableSasl";
    else if (cfg->quorum_sasl.server_require && !cfg->quorum_sasl.learner_require)
        why = "quorum.auth.serverRequireSasl: needs quorum.auth.learnerRequireSasl"; /* else the members would refuse each other */
    else if (min > max)
        why = "minSessionTimeout: larger than maxSessionTimeout";
    else if (cfg->snapshot_compression && *cfg->snapshot_compression && strcmp(cfg->snapshot_compression, "gz") != 0 &&
             strcmp(cfg->snapshot_compression, "snappy") != 0)
        why = "snapshot.compression.method: neither empty, gz nor snappy";
    if (!why)
        return 0;
    snprintf(err->text, sizeof(err->text), "%s%s%s", path ? path : "", path ? ": " : "", why);
    return RC_INVAL;
}

int server_config_read(struct server_config *cfg, const char *path, struct storage_error *err)
{
    uint8_t *text = NULL;
    size_t n = 0;
    int rc = file_read(path, 1 << 20, &text, &n);

    if (rc < 0) {
        snprintf(err->text, sizeof(err->text), "%s: %s", path, errno ? strerror(errno) : rc_str(rc));
        return rc;
    }
    rc = server_config_parse(cfg, path, (const char *)text, n, err);
    if (rc == 0)
        rc = config_check(cfg, path, err);
    free(cfg->config_text);
    cfg->config_text = (char *)text;
    set_str(&cfg->path, path);
    return rc;
}

int server_config_check(const struct server_config *cfg, struct storage_error *err)
{
    return config_check(cfg, NULL, err);
}

/* ---- the ensemble ---- */

static int members_fail(struct storage_error *err, int rc, const char *where, const char *why)
{
    snprintf(err->text, sizeof(err->text), "%s%s%s", where ? where : "", where ? ": " : "", why);
    return rc;
}

static int members_from_lines(const struct server_config *cfg, const struct quorum_options *opt, struct quorum_config **ret,
                              struct storage_error *err)
{
    struct quorum_builder *b = quorum_builder_new(opt);
    struct quorum_error why = { "" };
    int rc = 0;

    for (size_t i = 0; i < cfg->member_line_count && rc == 0; i++)
        rc = quorum_builder_set(b, cfg->member_lines[i].key, cfg->member_lines[i].value, &why);
    if (rc == 0)
        rc = quorum_builder_build(b, ret, &why);
    quorum_builder_free(b);
    return rc < 0 ? members_fail(err, RC_INVAL, cfg->path, why.text) : 0;
}

int server_config_members(struct server_config *cfg, struct storage_error *err)
{
    struct quorum_options opt = { .multi_address = cfg->multi_address, .standalone_enabled = cfg->standalone_enabled };
    struct quorum_config *c = NULL;
    int rc = 0;

    if (cfg->members || (!cfg->dynamic_file && cfg->member_line_count == 0))
        return 0;
    if (cfg->dynamic_file)
        rc = dynconf_read(vfs_posix(), cfg->dynamic_file, &opt, &c, err);
    else
        rc = members_from_lines(cfg, &opt, &c, err);
    if (rc < 0)
        return rc;
    if (c->voters.len <= 1 && cfg->standalone_enabled) {
        log_info("config", "one server: standalone");
        if (cfg->listen_count == 0 && c->members[0].client_port != 0) {
            set_str(&cfg->client_addr, c->members[0].client_host);
            cfg->client_port = c->members[0].client_port;
            set_listen(cfg);
        }
        quorum_config_unref(c);
        return 0;
    }
    cfg->members = c;
    if (cfg->init_limit == 0 || cfg->sync_limit == 0)
        return members_fail(err, RC_INVAL, cfg->path, cfg->init_limit == 0 ? "initLimit: not set" : "syncLimit: not set");
    if (!cfg->reconfig_enabled || !cfg->path)
        return 0;
    return dynconf_read_next(vfs_posix(), cfg->path, &opt, cfg->members, &cfg->members_next, err);
}

/* ---- life ---- */

/* Every string that a key sets is found by the table: none can be forgotten when a configuration is copied or freed. Some are passwords. */
static char **string_at(struct server_config *cfg, const struct key *k)
{
    return k->kind == K_STR ? (char **)(void *)((char *)cfg + k->offset) : NULL;
}

static void free_string(char **s)
{
    if (*s)
        explicit_bzero(*s, strlen(*s));
    free(*s);
    *s = NULL;
}

void server_config_copy(struct server_config *to, const struct server_config *from)
{
    *to = *from;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char **s = string_at(to, &keys[i]);
        if (s)
            *s = x_strdup(*s);
    }
    to->config_text = x_strdup(from->config_text);
    to->path = x_strdup(from->path);
    to->members = from->members ? quorum_config_ref(from->members) : NULL;
    to->members_next = from->members_next ? quorum_config_ref(from->members_next) : NULL;
    to->member_lines = x_calloc(from->member_line_count + 1, sizeof(*to->member_lines));
    for (size_t i = 0; i < from->member_line_count; i++)
        to->member_lines[i] = (struct server_member_line){ x_strdup(from->member_lines[i].key), x_strdup(from->member_lines[i].value) };
    to->listen = x_calloc(from->listen_count + 1, sizeof(*to->listen));
    for (size_t i = 0; i < from->listen_count; i++)
        to->listen[i] = x_strdup(from->listen[i]);
}

void server_config_free(struct server_config *cfg)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char **at = string_at(cfg, &keys[i]);
        if (at)
            free_string(at);
    }
    free_string(&cfg->config_text);
    free_string(&cfg->path);
    for (size_t i = 0; i < cfg->listen_count; i++)
        free(cfg->listen[i]);
    free(cfg->listen);
    cfg->listen = NULL;
    cfg->listen_count = 0;
    for (size_t i = 0; i < cfg->member_line_count; i++) {
        free(cfg->member_lines[i].key);
        free(cfg->member_lines[i].value);
    }
    free(cfg->member_lines);
    cfg->member_lines = NULL;
    cfg->member_line_count = 0;
    quorum_config_unref(cfg->members);
    quorum_config_unref(cfg->members_next);
    cfg->members = cfg->members_next = NULL;
}
