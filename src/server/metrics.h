/* metrics.h - figures: counters and summaries per thread, summed when somebody looks.
 *
 * Threading  Every struct thread_stats has one owner thread, which alone writes it (plain relaxed stores: no locked instruction on
 *            the hot path). Any thread may read; sums are as exact as a moment between two increments allows.
 * Reset      srst moves the server's generation on; an owner clears its own figures when it notices (stats_catch_up), and a reader takes
 *            figures of an older generation for zero. So a reset never races with an increment.
 * Names      those of the reference (its dashboards work), without prefix in Prometheus text, with zk_ in mntr. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "server/summary.h"

/* X(ID, name, help): only ever grow, but for a reset. */
#define COUNTERS(X)                                                                                          \
    X(PACKETS_RECEIVED, "packets_received", "Packets received from clients")                                 \
    X(PACKETS_SENT, "packets_sent", "Packets sent to clients: replies and watch events")                     \
    X(BYTES_RECEIVED, "bytes_received_count", "Bytes received from clients")                                 \
    X(RESPONSE_BYTES, "response_bytes", "Bytes sent to clients in replies")                                  \
    X(WATCH_BYTES, "watch_bytes", "Bytes sent to clients in watch events")                                   \
    X(CONNECTION_REQUESTS, "connection_request_count", "Connect requests: new sessions and returning ones")  \
    X(REVALIDATIONS, "connection_revalidate_count", "Connect requests that name a session")                  \
    X(CONNECTIONS_REJECTED, "connection_rejected", "Connections refused by maxClientCnxns or maxCnxns")      \
    X(CONNECTIONS_DROPPED, "connection_drop_count", "Connections closed for a malformed or refused packet")  \
    X(SESSIONLESS_EXPIRED, "sessionless_connections_expired", "Connections closed for lack of a session")    \
    X(STALE_SESSIONS, "stale_sessions_expired", "Connections closed because their session ended")            \
    X(SLOW_CLIENTS, "slow_clients_closed", "Connections closed because they do not read their events")       \
    X(LARGE_REQUESTS, "large_requests_rejected", "Packets longer than jute.maxbuffer or negative")           \
    X(AUTH_FAILED, "auth_failed_count", "Auth packets refused")                                              \
    X(NODE_CREATED_WATCHES, "node_created_watch_count", "NodeCreated events sent")                           \
    X(NODE_DELETED_WATCHES, "node_deleted_watch_count", "NodeDeleted events sent")                           \
    X(NODE_CHANGED_WATCHES, "node_changed_watch_count", "NodeDataChanged events sent")                       \
    X(NODE_CHILDREN_WATCHES, "node_children_watch_count", "NodeChildrenChanged events sent")                 \
    X(PROPOSALS, "proposal_count", "Transactions proposed")                                                  \
    X(COMMITS, "commit_count", "Transactions committed")                                                     \
    X(SNAPSHOTS, "snap_written_count", "Snapshots written")                                                  \
    X(SNAPSHOT_ERRORS, "snapshot_error_count", "Snapshots that failed")                                      \
    X(LOG_QUEUED, "sync_processor_request_queued", "Transactions given to the log")                          \
    X(FSYNC_SLOW, "fsync_threshold_exceed_count", "Log syncs slower than fsync.warningthresholdms")

enum counter {
#define X(id, name, help) CTR_##id,
    COUNTERS(X)
#undef X
        CTR_COUNT
};

/* X(ID, name, unit, detailed, help). unit: US is recorded in microseconds and shown in milliseconds; N is a plain number.
 * detailed: quantiles too. */
#define SUMMARIES(X)                                                                                         \
    X(READ_LATENCY, "readlatency", US, true, "From a read's arrival to its reply")                           \
    X(UPDATE_LATENCY, "updatelatency", US, true, "From a write's arrival to its reply")                      \
    X(FSYNC_TIME, "fsynctime", US, true, "One sync of the transaction log")                                  \
    X(SNAPSHOT_TIME, "snapshottime", US, false, "Writing one snapshot")                                      \
    X(DB_INIT_TIME, "dbinittime", US, false, "Recovery at start")                                            \
    X(STARTUP_TXNS, "startup_txns_loaded", N, false, "Transactions replayed at start")                       \
    X(BATCH_SIZE, "sync_processor_batch_size", N, false, "Transactions per log sync")                        \
    X(STARTUP_SNAP_TIME, "startup_snap_load_time", US, false, "Loading the snapshot at start")              \
    X(STARTUP_TXNS_TIME, "startup_txns_load_time", US, false, "Replaying the log at start")                 \
    X(QUEUE_TIME, "sync_processor_queue_time_ms", US, true, "From proposal to the start of its sync")        \
    X(FLUSH_TIME, "sync_processor_queue_flush_time_ms", US, true, "Writing and syncing one batch")           \
    X(QUEUE_FLUSH_TIME, "sync_processor_queue_and_flush_time_ms", US, true,                                  \
      "From proposal to the end of its sync, of the oldest in each batch")                                   \
    X(APPLY_TIME, "write_batch_apply_time_ms", US, false, "Tree lock held for one batch of commits")

enum summary_id {
#define X(id, name, unit, detailed, help) SUM_##id,
    SUMMARIES(X)
#undef X
        SUM_COUNT
};

struct summary {
    _Atomic uint64_t count, sum, min, max;
    _Atomic uint32_t bucket[SUMMARY_BUCKETS];
};
struct thread_stats {
    _Atomic uint32_t generation;
    _Atomic uint64_t counter[CTR_COUNT];
    struct summary summary[SUM_COUNT];
};

#define RELAXED memory_order_relaxed
/* Owner thread only. */
static inline void stats_add(struct thread_stats *st, enum counter c, uint64_t n)
{
    atomic_store_explicit(&st->counter[c], atomic_load_explicit(&st->counter[c], RELAXED) + n, RELAXED);
}
void stats_record(struct thread_stats *st, enum summary_id id, uint64_t value);
/* As `n` records of the same value. */
void stats_record_n(struct thread_stats *st, enum summary_id id, uint64_t value, uint64_t n);
void stats_catch_up(struct thread_stats *st, uint32_t generation);

/* What the figures are made from. Gauges are filled by the core thread; the rest is summed. */
#define GAUGES(X)                                                                                            \
    X(num_alive_connections, "Open client connections")                                                      \
    X(outstanding_requests, "Writes under way")                                                              \
    X(znode_count, "Nodes in the tree")                                                                      \
    X(watch_count, "Watches set")                                                                            \
    X(ephemerals_count, "Ephemeral nodes")                                                                   \
    X(container_count, "Container nodes")                                                                    \
    X(ttl_count, "TTL nodes")                                                                                \
    X(approximate_data_size, "Bytes of paths and data in the tree")                                          \
    X(global_sessions, "Live sessions that every server knows")                                              \
    X(local_sessions, "Live local sessions")                                                                 \
    X(open_file_descriptor_count, "Open file descriptors")                                                   \
    X(max_file_descriptor_count, "Limit of open file descriptors")                                           \
    X(uptime, "Milliseconds since the server serves")                                                        \
    X(digest_mismatches_count, "Applied transactions whose digest was not the one written with them: a bug") \
    X(last_client_response_size, "Bytes of the last reply; -1: none yet")                                    \
    X(max_client_response_size, "Bytes of the largest reply; -1: none yet")                                  \
    X(min_client_response_size, "Bytes of the smallest reply; -1: none yet")

struct figures {
#define X(name, help) int64_t name;
    GAUGES(X)
#undef X
    int64_t zxid;
    uint64_t counter[CTR_COUNT];
    struct figure_summary summary[SUM_COUNT];
};

void figures_add(struct figures *f, const struct thread_stats *st, uint32_t generation);
/* Latency of all requests, as srvr and mntr show it: milliseconds. */
struct latency {
    uint64_t min_ms, max_ms;
    double avg_ms;
};
struct latency figures_latency(const struct figures *f);
/* "0.1234": up to four digits, always a fraction. */
void wr_decimal(struct wr *w, double v);
/* One summary in both forms. unit: what is recorded for each 1 that is shown, 1000 for microseconds; detailed: quantiles too. */
void figure_mntr(const struct figure_summary *s, const char *name, double unit, bool detailed, struct wr *w);
void figure_prometheus(const struct figure_summary *s, const char *name, const char *help, double unit, bool detailed, struct wr *w);
/* mntr lines behind version and server_state. */
void figures_mntr(const struct figures *f, struct wr *w);
void figures_prometheus(const struct figures *f, struct wr *w);

#endif
