/* server.h - the coordination server as a whole: configuration, threads, sockets, disk.
 *
 * Threads    net threads (client connections, reads), core thread (orders and applies writes), log thread (group commit),
 *            snapshot thread. See ARCHITECTURE.md.
 * Use        One server per process and data directory. server_start returns once it serves (or failed); the calling thread keeps
 *            its life. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/core.h"
#include "server/qauth.h"
#include "server/tls.h"
#include "storage/storage.h"

struct server;
struct quorum_config; /* zab/quorum.h */

/* A line server.N, group.N or weight.N as it was read. */
struct server_member_line {
    char *key, *value;
};

/* Every key of zoo.cfg that we act on, defaulted as the reference does. Strings are owned. */
struct server_config {
    char *data_dir, *log_dir;   /* log_dir NULL: data_dir */
    char **listen;              /* "ADDR:PORT"; from clientPort/clientPortAddress or flags */
    size_t listen_count;
    char *client_addr;          /* clientPortAddress; NULL: any. Setting it or client_port replaces `listen` */
    int32_t client_port;        /* clientPort; -1: none */
    int32_t tick_ms;
    int32_t min_session_ms, max_session_ms; /* -1: 2 and 20 ticks */
    int32_t max_client_cnxns;   /* per address; 0: off */
    int32_t max_cnxns;          /* total; 0: off */
    int32_t backlog;
    uint32_t max_buffer;        /* jute.maxbuffer */
    int64_t extra_size;         /* jute.maxbuffer.extrasize; -1: as max_buffer. What the log may need beyond it */
    uint32_t snap_count;
    int64_t snap_size_limit_kb, prealloc_kb;
    int32_t snap_retain_count;
    int32_t purge_interval_hours;
    char *snapshot_compression;
    char *four_letter_whitelist; /* "srvr" */
    char *super_digest;
    bool force_sync, skip_acl, enforce_quota, extended_types, digest_enabled, trust_empty,
        tcp_keepalive, dir_autocreate, last_zxid_section;
    int64_t container_check_ms, container_max_never_used_ms;
    int32_t container_max_per_minute;
    int32_t sessionless_timeout_ms;
    int32_t global_outstanding_limit;
    int32_t net_threads;        /* 0: cores - 1, at least 1 */
    int64_t fsync_warn_ms;
    /* The ensemble. Several voters, or standaloneEnabled=false, make one; a single server line is standalone still. */
    struct server_member_line *member_lines;
    size_t member_line_count;
    char *dynamic_file;         /* dynamicConfigFile: the lines are there instead */
    char *peer_type;            /* "participant", "observer"; the list of servers wins over it */
    bool standalone_enabled, reconfig_enabled, listen_on_all_ips, multi_address, observer_log, force_snapshot_sync;
    bool read_only_mode;        /* readonlymode.enabled: without a quorum, serve those who take a read-only server */
    bool local_sessions, local_upgrade; /* localSessionsEnabled, localSessionsUpgradingEnabled */
    bool leader_serves;
    bool quorum_keepalive;      /* tcpKeepAlive: between servers */
    int32_t quorum_cnxn_timeout_ms; /* quorumCnxnTimeoutMs; 0 or less: sync_limit */
    int32_t election_bind_tries; /* electionPortBindRetry; 0: for ever */
    int32_t observer_reconnect_delay_ms, observer_election_delay_ms; /* upper bounds of random delays */
    int64_t epoch_wait_ms;      /* leader.maxTimeToWaitForEpoch; negative: off */
    bool no_confirm_sync;       /* quoll.confirmSync=false: answer syncs as the reference does, without asking a quorum */
    bool ssl_quorum, port_unification; /* between servers: TLS outgoing and accepted; TLS and plain accepted */
    struct tls_options quorum_tls;
    struct qsasl_options quorum_sasl; /* between servers */
    int32_t init_limit, sync_limit; /* ticks; 0: not set */
    int32_t connect_limit;      /* connectToLearnerMasterLimit, ticks; 0: init_limit */
    int32_t election_alg;
    int64_t cnx_timeout_ms;     /* election connections */
    int64_t election_min_ms, election_max_ms; /* fastleader.*NotificationInterval */
    int64_t leader_connect_delay_ms;
    int32_t max_snap_syncs, max_diff_syncs;
    int32_t commit_log_count;
    char *snapshot_size_factor; /* a decimal fraction; NULL: 0.33 */
    struct quorum_config *members;      /* made from the lines by server_config_members; NULL: standalone. A reference */
    struct quorum_config *members_next; /* proposed when the server stopped (".dynamic.next"), or NULL. A reference */
    char *path;                 /* of the file; NULL without one */
    char *config_text;          /* the file as read; NULL without one */
    const struct vfs *vfs;      /* NULL: the real disk. Not from a file: tests put a faulty one here */
};

void server_config_init(struct server_config *cfg); /* defaults */
void server_config_copy(struct server_config *to, const struct server_config *from); /* to is overwritten, and owns what it holds */
void server_config_free(struct server_config *cfg); /* wipes it: there are passwords */
/* Reads a zoo.cfg. RC_NOTFOUND, RC_MALFORMED, RC_INVAL, RC_UNSUPPORTED with "file:line: key: what is wrong" in err.
 * Unknown keys are logged and kept. Keys are accepted as in the file and as their documented -D spelling ("zookeeper.snapCount"). */
int server_config_read(struct server_config *cfg, const char *path, struct storage_error *err);
/* One key, as if from a file; for flags `--set key=value`. */
int server_config_set(struct server_config *cfg, const char *key, const char *value, struct storage_error *err);

/* Makes the ensemble of what was set: reads the dynamic file. Once, after all keys; server_start does it. RC_INVAL, RC_NOTFOUND... */
int server_config_members(struct server_config *cfg, struct storage_error *err);

/* What no single key can tell (dataDir set, minimum below maximum...); server_config_read and server_start do it themselves. RC_INVAL. */
int server_config_check(const struct server_config *cfg, struct storage_error *err);

/* Opens the directory, recovers, binds, starts the threads. RC_INUSE (port), RC_BUSY (data directory locked), RC_CORRUPT,
 * RC_IO, RC_DENIED, with one line in err. */
int server_start(const struct server_config *cfg, struct server **ret, struct storage_error *err);
/* Orderly: stops accepting, finishes what is proposed, syncs, closes. Frees the server. */
void server_stop(struct server *s);
int server_port(const struct server *s, size_t listen_index); /* the bound one, for port 0 */
/* Called from a server thread when the server cannot go on (failed fsync, full disk, ...): the default logs and _exit(3)s. */
void server_on_fatal(struct server *s, void (*fn)(void *data, const char *text), void *data);

/* Figures for mntr, srvr and /metrics: one table. Appends to w. Any thread. */
void server_metrics_prometheus(struct server *s, struct wr *w);
/* The answer of a four-letter word as the wire would carry it, whitelist ignored: for admin HTTP. RC_NOTFOUND. */
int server_four_letter(struct server *s, const char *word, struct wr *w);
bool server_serving(const struct server *s);

#endif
