/* election.h - leader election among servers (FastLeaderElection) as one pure state machine.
 *
 * Purpose    Decides what to tell whom and when this server leads, follows or observes; answers other servers' questions while it is not looking.
 *            It opens no socket, reads no clock and no random source. Delivery is best effort: the machine repeats itself.
 * Use        election_new; election_start whenever the server must look for a leader; then feed notifications and ticks, and after
 *            every call carry out the effects in order. After ELECTION_DECIDED the machine stays in that state, answering, until
 *            the next election_start (or election_assume, when a reconfig hands leadership over).
 * Ownership  Configurations are shared (references are taken). Notifications are borrowed for the call. Effects are valid until election_effects_clear.
 * Threading  One caller at a time: the core thread.
 * Units      *_ms is milliseconds on one monotonic clock. zxid is epoch << 32 | counter. A round is FastLeaderElection's logical clock.
 * Memory     Before every election the shell must have made memory equal to disk: last_zxid counts uncommitted transactions in the log too,
 *            or committed ones are lost.
 * Errors     None: what peers say wrongly is ignored.
 * Source     FastLeaderElection, Vote, QuorumPeer.processReconfig (3.9.5). */
#ifndef ZAB_ELECTION_H
#define ZAB_ELECTION_H

#include "zab/packet.h"
#include "zab/quorum.h"

struct election;

#define ELECTION_NO_ZXID (-1) /* last_zxid of a server that must not take part: its database is missing and may not be created */
#define ELECTION_NEVER INT64_MAX

struct election_options {
    int64_t my_sid;
    enum member_role role;   /* what to be while a configuration of version 0 does not name us (peerType); a later one makes us follow */
    bool reconfig_enabled;   /* adopt newer configurations from notifications */
    struct quorum_options quorum; /* for parsing those */
    int64_t min_interval_ms; /* fastleader.minNotificationInterval; 0: 200 */
    int64_t max_interval_ms; /* fastleader.maxNotificationInterval; 0: 60000 */
    int64_t finalize_ms;     /* how long a quorum waits for a better vote; 0: 200, the reference's. Skipped when every voter agrees */
};

struct vote {
    int64_t leader, zxid, round, peer_epoch;
};

enum election_effect_type {
    ELECTION_SEND,          /* queue msg for sid, replacing what is queued for it; connect if there is no connection */
    ELECTION_CONNECT_ALL,   /* nothing could be delivered: try again to connect to every voter of both configurations */
    ELECTION_DECIDED,       /* this server's state is now msg.state; the vote is in msg. Start that role */
    ELECTION_ADOPTED,       /* a peer has a newer committed configuration: it is ours now; write it down */
    ELECTION_RESTART,       /* its members differ: drop all election connections and queues; the sends that follow are of the new round */
    ELECTION_VOTER_LOOKING, /* sid, a voter, looks for a leader while we lead (leader.maxTimeToWaitForEpoch) */
    ELECTION_DESERTED,      /* of those who made us leader so many look again that the rest is no quorum: who has not come yet will not */
    ELECTION_LEADER_LOOKING, /* sid, which we follow, looks for a leader itself, in another round or for another one: it will not lead us */
};
struct election_effect {
    enum election_effect_type type;
    int64_t sid;                  /* SEND, VOTER_LOOKING, DESERTED, LEADER_LOOKING */
    struct notification msg;      /* SEND, DECIDED */
    struct quorum_config *config; /* ADOPTED; borrowed until the effects are cleared */
};

/* last_seen may be NULL or the same. The state is LOOKING, with nothing under way, until election_start. */
struct election *election_new(const struct election_options *opt, struct quorum_config *committed, struct quorum_config *last_seen);
void election_free(struct election *e);

/* Begins an election in a new round: state LOOKING, own vote proposed to every voter.
 * last_zxid: the last logged one; current_epoch: from the file currentEpoch. */
void election_start(struct election *e, int64_t last_zxid, int64_t current_epoch, int64_t now_ms);
/* A notification came from sid over its connection. Never from ourselves: the machine hears itself. */
void election_receive(struct election *e, int64_t sid, const struct notification *n, int64_t now_ms);
/* Time moved on; call at least at election_next_wake. queue_empty: is the send queue of some peer empty (has anything been delivered)?
 * Then votes are repeated, else connections are. */
void election_tick(struct election *e, int64_t now_ms, bool queue_empty);
int64_t election_next_wake(const struct election *e); /* ELECTION_NEVER while not looking */

/* Configurations changed (a reconfig was proposed or activated, or an older proposal withdrawn). Counts from the next event on. When the set of
 * members changed and we look, start again by election_restart. */
void election_set_configs(struct election *e, struct quorum_config *committed, struct quorum_config *last_seen);
/* The subsystem begins anew: round 0. While looking, also proposes anew; the shell has dropped its connections. */
void election_restart(struct election *e, int64_t now_ms);

/* The epoch was established: a follower after UPTODATE, a leader when it starts to serve. The votes of all members must name the
 * same epoch, or late joiners never find a quorum. */
void election_set_peer_epoch(struct election *e, int64_t epoch);
/* Activation of a reconfig designates a leader: the vote becomes (leader, zxid, round -1, epoch -1) unless it names that leader already.
 * Returns true when it changed. */
bool election_designate(struct election *e, int64_t leader, int64_t zxid);
/* Goes to a state without an election (hand-over by reconfig). Not LOOKING: that is election_start. */
void election_assume(struct election *e, enum zab_state state);

enum zab_state election_state(const struct election *e);
/* The vote of our state; the proposal while looking. */
struct vote election_vote(const struct election *e);
int64_t election_round(const struct election *e);
/* What the committed configuration says we are; when it does not name us: see election_options.role. */
enum member_role election_role(const struct election *e);
struct quorum_view election_view(const struct election *e);

size_t election_effects(struct election *e, const struct election_effect **ret);
void election_effects_clear(struct election *e);

/* ---- rules, for tests and tools ---- */

/* Does vote a beat vote b? Weight 0 never does. Signed comparisons; the round is no part of it. */
bool vote_beats(struct vote a, int64_t weight_a, struct vote b);

#endif
