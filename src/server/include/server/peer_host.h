/* peer_host.h - what the quorum peer (peer.h) asks of the process that it lives in.
 *
 * Purpose    The peer reads no clock and knows no thread and no socket: everything of that kind is a function here. The server gives it its own
 *            (host.c), a simulator others; the peer is the same object code in both.
 * Calls      On the peer's thread, from within the peer's functions. None may call back into the peer but through what peer_net_events gave to the
 *            network, and that only from its run.
 * Blocking   log_drain, log_close and snapper_hold wait. They are called when nobody is served.
 * Threading  The core thread. */
#ifndef SERVER_PEER_HOST_H
#define SERVER_PEER_HOST_H

#include "server/core.h"
#include "server/qnet.h"
#include "server/server.h"

/* What goes to the log in one piece. */
struct log_entry {
    int64_t zxid; /* 0: roll */
    size_t off, len;
};
struct log_batch {
    struct VEC(struct log_entry) entries;
    struct wr bytes;
    int64_t oldest_us; /* when its first entry came */
};

/* As in qnet.h, whose functions fit. `struct qnet` is the implementation's. */
struct peer_net {
    void (*run)(struct qnet *q, int64_t now_ms);
    void (*flush)(struct qnet *q);
    int64_t (*next_wake)(const struct qnet *q);
    void (*set_configs)(struct qnet *q, struct quorum_config *committed, struct quorum_config *last_seen);

    void (*election_send)(struct qnet *q, int64_t sid, const struct notification *n);
    void (*election_connect_all)(struct qnet *q);
    bool (*election_queue_empty)(const struct qnet *q);
    void (*election_restart)(struct qnet *q);

    int (*lead_start)(struct qnet *q);
    void (*lead_stop)(struct qnet *q);
    void (*peer_send)(struct qnet *q, uint64_t conn, struct buf bytes);
    void (*peer_close_after_flush)(struct qnet *q, uint64_t conn);
    bool (*peer_figures)(const struct qnet *q, uint64_t conn, struct qnet_peer_figures *ret);
    int (*peer_stream)(struct qnet *q, uint64_t conn, const struct qnet_stream *s);

    void (*follow)(struct qnet *q, const struct quorum_member *leader, int64_t limit_ms, int64_t now_ms);
    void (*unfollow)(struct qnet *q);
    void (*leader_send)(struct qnet *q, struct buf bytes);
    void (*leader_pause)(struct qnet *q, bool paused);
    void (*leader_raw)(struct qnet *q, qnet_take_fn take, void *data);
};

struct peer_host {
    void *data; /* first argument of every function below */
    const struct server_config *cfg;      /* must outlive the peer, as the two below */
    const struct storage_config *storage;
    const struct peer_net *net;
    int64_t my_sid;
    int snapshot_step_nodes; /* of snapshots for learners, as in struct snapshot_locks */

    int64_t (*now_ms)(void *data); /* monotonic */
    /* The server cannot go on: a disk that failed (exit_code 0: the server's usual one), or what the reference ends with exit_code for. May return;
     * then nothing that the peer does afterwards may be seen by anybody or reach the disk. */
    void (*fatal)(void *data, int exit_code, const char *text);

    /* Appends a batch behind what waits, for the log's own thread; b is empty afterwards. What it made durable comes back by peer_persisted. */
    void (*log_push)(void *data, struct log_batch *b);
    void (*log_drain)(void *data); /* waits until everything pushed is durable; only when the server ends */
    void (*log_close)(void *data); /* log_drain; until the next push nobody but the caller has a file of the log */
    /* The history on disk was changed by the peer itself: it ends, durable, at zxid. */
    void (*log_moved)(void *data, int64_t zxid);

    /* Lets no snapshot begin until released, forgets one that was only asked for, gives up one under way: from here on none sees the tree that has not seen all
     * of it yet. Does not wait; log_close and set_tree do, until nothing is under way. */
    void (*snapper_hold)(void *data);
    void (*snapper_release)(void *data);

    /* Around changes of the tree, so that nobody reads meanwhile. */
    void (*tree_lock)(void *data);
    void (*tree_unlock)(void *data);
    /* Replaces the tree; takes it. The core is NONE, the snapshot thread held. The host gives it to the core (core_set_tree), too. */
    void (*set_tree)(void *data, struct tree *t);
    /* The tree's last zxid changed otherwise than by drain or become. */
    void (*applied)(void *data, int64_t zxid);

    /* Configurations of the ensemble. What the next start is to find, durable on return; a host may keep nothing (NULL). config_seen: this one is proposed
     * (NULL: none is any more). config_active: this one is committed, and clients are to come to the address that it gives this server. */
    void (*config_seen)(void *data, struct quorum_config *c);
    void (*config_active)(void *data, struct quorum_config *c);
    int64_t (*wall_ms)(void *data); /* since the epoch, for the mtime of /zookeeper/config; NULL: 0 */

    /* Applies all that is committed and carries out every effect of the core. */
    void (*drain)(void *data);
    /* Changes the core's role and lets no read be executed in between by a connection that the change closes. */
    void (*become)(void *data, enum core_role role, int64_t epoch);
    /* May clients come in? */
    void (*serving)(void *data, bool serving);
};

#endif
