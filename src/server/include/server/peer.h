/* peer.h - the quorum peer: this server's life in an ensemble, on the core thread.
 *
 * Purpose    Looks for a leader, leads, follows or observes, and looks again: carries out what the pure machines of zab decide, with the quorum connections
 *            (qnet.h), the disk, the tree and the core. Decides nothing about the protocol itself. All that it needs of the process is in peer_host.h.
 * Life       LOOKING -> LEADING, FOLLOWING or OBSERVING -> LOOKING. With readonlymode.enabled a server that has been LOOKING for some time serves clients
 * that take a read-only server, until an election is decided. A role ends in this order: what is committed is applied and answered; clients
 *            lose their connections; the log is flushed; the logged tail is applied, so that memory is what the disk is; only then the server votes.
 * Blocking   Epoch files, truncation, the snapshot of a learner at NEWLEADER and the reload after a broken synchronisation are done
 *            on the core thread: nobody is served then. A leader never waits for a learner: snapshots are produced as the socket takes
 *            them, the log is read in slices.
 * Threading  The core thread, but for peer_new (before the threads), peer_free (after them) and what says otherwise. */
#ifndef SERVER_PEER_H
#define SERVER_PEER_H

#include "server/summary.h"
#include "server/peer_host.h"

struct peer;

/* After the recovery, which gave the tree (borrowed; replaced by peer_host.set_tree). Reads the epoch files and the end of the log. host is copied.
 * RC_CORRUPT (epoch files), RC_INVAL (we are not in the list), RC_IO. */
int peer_new(const struct peer_host *host, struct tree *tree, struct peer **ret, struct storage_error *err);
void peer_free(struct peer *p); /* NULL is fine. After the network */
void peer_core_config(struct peer *p, struct core_config *cfg);
/* What the network is to call. */
struct qnet_events peer_net_events(struct peer *p);

/* The core thread begins: looks for a leader. */
void peer_begin(struct peer *p, struct core *core, struct qnet *net);
int64_t peer_next_wake(const struct peer *p);
/* Time and the sockets. */
void peer_poll(struct peer *p);
/* What the core wants: proposals, requests, syncs, revalidations. Borrowed. */
void peer_core_effects(struct peer *p, const struct core_effect *fx, size_t count);
void peer_persisted(struct peer *p, int64_t zxid);
/* Carries out what is to be done. True: something was, so that the core has to be looked at again. */
bool peer_step(struct peer *p);
/* At the end of a turn: sends what was gathered. */
void peer_flush(struct peer *p);
/* An orderly end: leaves the role, says goodbye. */
void peer_end(struct peer *p);

/* ---- looking in ---- */
/* Since the process began, but for the sizes. */
struct peer_counts {
    uint64_t looks;       /* elections entered */
    uint64_t snap_count;  /* snapshots sent or received */
    uint64_t diff_count;  /* learners sent transactions instead; in epochs that we led before */
    uint64_t proposals_received, commits_received; /* as a learner */
    int64_t last_proposal_size, min_proposal_size, max_proposal_size; /* as a leader, of this epoch; -1: none */
    uint64_t disloyal;    /* leads given up because a voter looked again: leader.maxTimeToWaitForEpoch */
    uint64_t revalidations; /* learners' clients that went on with their sessions, as a leader */
    /* How long things took, in ms. */
    struct figure_summary election, sync /* of a learner, from its choice to its service */, unavailable, leader_unavailable;
    struct figure_summary quorum_ack; /* leader: from the proposal to a quorum's acknowledgement */
    /* From the leader's making of a transaction, by both wall clocks: to its proposal, acknowledgement and commit at a follower; to its being applied on any
     * server. */
    struct figure_summary proposal, ack, commit, propagation;
};
struct peer_learner {     /* as a leader */
    int64_t sid;
    bool observer, synced;
    int64_t lag;          /* proposals that it has not acknowledged (observer: not been sent); -1: not synced */
    int64_t silent_ms;
};
struct peer_info {
    const char *mode;       /* "leader", "follower", "observer", "read-only"; NULL: not serving */
    const char *peer_state; /* as mntr shows it: "following - broadcast" */
    int64_t my_sid;
    int32_t election_port, quorum_port;
    bool observer;
    uint32_t quorum_size;   /* voters */
    const char *config_text;
    /* leader */
    bool leading;
    uint32_t learners, synced_followers, synced_observers, synced_non_voting;
    size_t outstanding, pending_syncs;
    uint64_t diff_count;  /* all of them */
    int64_t leader_uptime_ms;
    int64_t election_time_ms; /* of the last election; -1: none yet */
    struct peer_counts counts;
};
void peer_info(const struct peer *p, struct peer_info *ret);
/* A leader's learners; returns how many there are. */
size_t peer_learners(const struct peer *p, struct peer_learner *ret, size_t cap);

#endif
