/* zab.h - discovery, synchronisation and broadcast: the leader and the learner of atomic broadcast as pure state machines.
 *
 * Purpose    struct zab_leader and struct zab_learner decide what to say to whom, what to write to disk and what to apply. They open no
 *            socket, touch no file, read no clock and start no thread. An election has taken place before: see election.h.
 * Use        Make one for the role, feed it events, and after every event or batch of events carry out the effects *in order*. An effect
 *            that takes time is answered by an event when it is done: until then nothing is assumed. After ZAB_STOP the machine
 *            ignores everything; free it and look for a leader.
 * Time       zab_*_tick first in every turn of the loop, and at least at zab_*_next_wake: it sets the time at which the events behind it happen.
 * Ownership  Bytes of an event are borrowed for the call. Effects and their bytes are valid until zab_*_effects_clear. Configurations
 *            are shared (references are taken). The window is the server's: it is borrowed, and outlives the machine.
 * Threading  One caller at a time: the core thread.
 * Units      *_ms is milliseconds of one monotonic clock. zxid is epoch << 32 | counter. Connections are numbers that the shell chose,
 *            unique for the machine's life, never 0.
 * Errors     What a peer does wrong closes that peer's connection (leader) or ends the role (learner). A call the machine's state
 *            does not allow is a bug of ours: ASSERT.
 * Disk       The shell has to stop the process on any failed write or sync; a log that lost a record must not go on (ZOOKEEPER-4882).
 *            At the start of a role the log is durable up to last_zxid and memory equals disk (uncommitted tail included).
 *            Recovery may find epoch(last zxid) > currentEpoch with acceptedEpoch >= epoch(last zxid): it crashed between the log
 *            and the epoch file of a synchronisation. What it holds is a whole prefix of that epoch, so currentEpoch := epoch(last zxid).
 * Source     Leader, LearnerHandler, Learner, Follower, Observer (3.9.5); Junqueira, Reed, Serafini: Zab, DSN 2011. */
#ifndef ZAB_ZAB_H
#define ZAB_ZAB_H

#include "zab/packet.h"
#include "zab/quorum.h"
#include "zab/window.h"

/* ---- effects, of both machines ---- */

enum zab_effect_type {
    /* network */
    ZAB_SEND,          /* queue bytes (whole packets) for conn, in order. A learner has one connection: conn is 0 */
    ZAB_CLOSE,         /* send what is queued for conn, then close it; why is in text. No peer_closed is expected, none hurts */
    ZAB_SEND_SNAPSHOT, /* leader: the tree as a stream to conn, through its queue, then zab_leader_snapshot_done. Applied at least up to zxid.
                          When the connection takes nothing for syncLimit, the shell gives up: RC_TIMEOUT */
    ZAB_READ_LOG,      /* leader: records in order from the log: the last one at or below zxid if there is one, then those up to
                          and including to_zxid (never beyond). Answer by zab_leader_log_record and _log_end. Unless `required`, the shell
                          may refuse (snapshotSizeFactor): log_end(RC_UNAVAIL). Slow connections slow down the reading. */
    /* disk; each answered by an event once durable */
    ZAB_PERSIST_ACCEPTED_EPOCH, /* file acceptedEpoch := epoch */
    ZAB_PERSIST_CURRENT_EPOCH,  /* file currentEpoch := epoch */
    ZAB_APPEND,         /* bytes to the log; synced together with others, then zab_*_persisted(zxid) */
    ZAB_TRUNCATE_LOG,   /* learner: keep records <= zxid only, drop snapshots above, rebuild the tree from disk; then zab_learner_truncated */
    ZAB_LOAD_SNAPSHOT,  /* learner: clear the tree; read the snapshot stream that follows on the connection; once its signature was right,
                           the tree is at zxid; then zab_learner_snapshot_loaded. What arrives meanwhile is told by zab_learner_heard: a leader's
                           machine that is gone closes nothing */
    ZAB_STORE_SNAPSHOT, /* learner: write the tree (at zxid) as a snapshot. It replaces the history on disk: log records above zxid go *before* it is
                           written, log files from before never serve a ZAB_READ_LOG any more (they may hold transactions that were
                           withdrawn); then zab_learner_snapshot_stored */
    /* the tree */
    ZAB_COMMIT, /* apply bytes (transaction zxid) and answer its client, if it is ours. Leader: zab_leader_applied when done */
    ZAB_REPLAY, /* apply bytes as recovery does: over a fuzzy image, idempotent, no client to answer */
    /* role */
    ZAB_SERVE,           /* epoch is established: serve clients; zab election: votes name this epoch. Tree's last zxid at least epoch << 32 (leader) */
    ZAB_STOP,            /* the role is over: see struct zab_effect */
    ZAB_CONFIG_SEEN,     /* config is proposed: write the .next file, connect to new members, election_set_configs.
                             The committed one itself: what was proposed beyond it has been withdrawn */
    ZAB_CONFIG_ACTIVATE, /* config is committed; designated: the leader from now on (-1: not said) */
    /* sessions and requests */
    ZAB_REQUEST,         /* leader: a learner's client asks: conn, request, auth. A sync too: zab_leader_learner_sync in its turn */
    ZAB_REVALIDATE,      /* leader: does this session live? touch it, move it to conn; answer by zab_leader_revalidated */
    ZAB_TOUCH,           /* leader: the session was heard from on conn */
    ZAB_REVALIDATED,     /* learner: the answer for a session: valid */
    ZAB_NOTE,            /* nothing to do: text is worth a line in the log */
    ZAB_SYNCED,          /* the sync with this tag: everything committed before it was asked for has been given out as ZAB_COMMIT */
};
const char *zab_effect_str(enum zab_effect_type t);

enum zab_stop {
    ZAB_STOP_ASKED,      /* zab_*_stop was called */
    ZAB_STOP_LEADERSHIP, /* leader: no quorum follows, or none came in time */
    ZAB_STOP_COUNTER,    /* leader: the epoch's zxids are used up and everything is committed: elect a new epoch */
    ZAB_STOP_LOST,       /* learner: the connection is gone, silent, or its peer broke the protocol */
    ZAB_STOP_RECONFIG,   /* role or leader changed by reconfiguration: go to the new role without an election */
    ZAB_STOP_RESYNC,     /* learner: the log cannot be truncated as asked: come back with .resync */
    ZAB_STOP_FATAL,      /* the process must end with exit_code */
};
const char *zab_stop_str(enum zab_stop s);

/* Exit codes of the reference that our machines can ask for. */
enum { ZAB_EXIT_COMMIT_MISMATCH = 12, ZAB_EXIT_TRUNCATE = 13 };

struct zab_effect {
    enum zab_effect_type type;
    uint64_t conn;
    int64_t zxid;     /* STOP: the last zxid appended: do not vote before the log is durable up to it */
    int64_t to_zxid;  /* READ_LOG */
    int64_t epoch;
    struct buf bytes; /* SEND, APPEND, COMMIT, REPLAY */
    struct forwarded_request request; /* REQUEST */
    struct jids auth; /* REQUEST */
    int64_t session_id; /* REVALIDATE, TOUCH, REVALIDATED */
    int32_t timeout_ms;
    bool valid;       /* REVALIDATED */
    bool required;    /* READ_LOG */
    bool reload;      /* STOP: memory is not what is on disk: drop the tree and recover (and refill the window) */
    uint64_t tag;     /* SYNCED */
    struct quorum_config *config; /* CONFIG_*; borrowed */
    int64_t designated;
    enum zab_stop stop;
    int exit_code;
    const char *text; /* CLOSE, STOP, NOTE: one line for the log; else NULL */
};

/* What both roles start from. */
struct zab_start {
    int64_t my_sid;
    int32_t tick_ms, init_limit, sync_limit; /* tickTime, initLimit, syncLimit: the latter two in ticks */
    int64_t last_zxid;      /* last logged (and applied) */
    int64_t accepted_epoch, current_epoch; /* as on disk */
    struct quorum_config *committed, *last_seen; /* last_seen: NULL or the same when nothing is proposed */
    struct quorum_options quorum; /* for parsing configurations */
    bool reconfig_enabled;
    struct zab_window *window; /* ends at or before last_zxid */
    int64_t now_ms;
};

/* ---- leader ---- */

struct zab_leader_options {
    struct zab_start start;
    bool force_snapshot;      /* zookeeper.forceSnapshotSync */
    bool no_confirm_sync;     /* answer syncs without asking a quorum whether we still lead, as the reference does (ZOOKEEPER-2136) */
    uint32_t max_snap_syncs, max_diff_syncs; /* concurrent ones, voters exempt; 0: 10 and 100 */
    uint32_t counter_max;     /* 0: ZXID_COUNTER_MAX; for tests */
};

struct zab_leader *zab_leader_new(const struct zab_leader_options *opt);
void zab_leader_free(struct zab_leader *l);
/* To be called by next_wake. When it comes late by more than a tick, this server stood still, and nobody's time limit runs meanwhile; the
 * learner's likewise. */
void zab_leader_tick(struct zab_leader *l, int64_t now_ms);
int64_t zab_leader_next_wake(const struct zab_leader *l);
/* Gives up: effects end in ZAB_STOP, before it ZAB_REPLAY for what was appended and not committed. */
void zab_leader_stop(struct zab_leader *l);

/* A learner connected to the quorum port. */
void zab_leader_peer_open(struct zab_leader *l, uint64_t conn);
void zab_leader_peer_packet(struct zab_leader *l, uint64_t conn, const struct qpacket *p);
void zab_leader_peer_closed(struct zab_leader *l, uint64_t conn);

/* The zxid that the next proposal must have; 0: none may be made now (not serving, handing over, counter used up). */
int64_t zab_leader_next_zxid(const struct zab_leader *l);
/* Proposes a transaction made for zxid == zab_leader_next_zxid(). Goes to followers before our own log has it on disk. */
void zab_leader_propose(struct zab_leader *l, int64_t zxid, struct buf txn);
/* A sync of one of our own clients: answered by ZAB_SYNCED(tag). */
void zab_leader_sync(struct zab_leader *l, uint64_t tag);
/* A sync of a learner's client (ZAB_REQUEST with op SYNC): to be called in its place, behind the proposals of the requests that came ahead
 * of it. A connection that is gone is ignored. */
void zab_leader_learner_sync(struct zab_leader *l, uint64_t conn);

void zab_leader_persisted(struct zab_leader *l, int64_t zxid); /* our log is durable up to it */
enum zab_epoch_file { ZAB_ACCEPTED_EPOCH, ZAB_CURRENT_EPOCH };
void zab_leader_epoch_persisted(struct zab_leader *l, enum zab_epoch_file which);
void zab_leader_applied(struct zab_leader *l, int64_t zxid); /* our tree has everything up to it */
/* ZAB_REVALIDATE answered: an answer for a connection that is gone is ignored. */
void zab_leader_revalidated(struct zab_leader *l, uint64_t conn, int64_t session_id, bool valid);
void zab_leader_log_record(struct zab_leader *l, uint64_t conn, int64_t zxid, struct buf txn);
void zab_leader_log_end(struct zab_leader *l, uint64_t conn, int rc); /* 0, RC_UNAVAIL, RC_CORRUPT, ... */
/* The stream has been written to the connection, to its end (rc 0). */
void zab_leader_snapshot_done(struct zab_leader *l, uint64_t conn, int rc);
/* Is a quorum of this configuration connected and in step? For reconfig requests (error -13). */
bool zab_leader_has_synced_quorum(const struct zab_leader *l, const struct quorum_config *config);

size_t zab_leader_effects(struct zab_leader *l, const struct zab_effect **ret);
void zab_leader_effects_clear(struct zab_leader *l);

/* For mntr, metrics, tests. */
enum zab_leader_phase { ZAB_LEADER_DISCOVERY, ZAB_LEADER_EPOCH_ACK, ZAB_LEADER_NEWLEADER, ZAB_LEADER_SERVING, ZAB_LEADER_STOPPED };
struct zab_leader_stats {
    enum zab_leader_phase phase;
    int64_t epoch;          /* 0 while unknown */
    int64_t last_proposed, last_committed;
    size_t outstanding;     /* proposals without a quorum yet */
    uint32_t learners, synced_followers, synced_observers;
    size_t pending_syncs;   /* not answered yet */
    uint64_t diff_count;    /* learners that were sent transactions instead of a snapshot */
};
void zab_leader_stats(const struct zab_leader *l, struct zab_leader_stats *ret);
struct zab_peer_stats {
    uint64_t conn;
    int64_t sid;
    bool observer, synced;
    int64_t acked_zxid;  /* followers: durable there; observers: sent */
    int64_t last_heard_ms;
};
size_t zab_leader_peers(const struct zab_leader *l, struct zab_peer_stats *ret, size_t cap); /* returns how many there are */
void zab_leader_check(const struct zab_leader *l); /* asserts the whole invariant */

/* ---- learner: follower and observer ---- */

struct zab_learner_options {
    struct zab_start start;
    int64_t leader_sid;      /* who the election chose */
    bool observer;
    bool no_observer_log;    /* syncEnabled=false: an observer keeps no log. Not for a voter of `last_seen`: what it acknowledges by NEWLEADER counts */
    bool resync;             /* ask for a snapshot, whatever is on disk (after ZAB_STOP_RESYNC) */
};

/* The connection to the leader is being made: zab_learner_opened, or zab_learner_closed when it cannot be. */
struct zab_learner *zab_learner_new(const struct zab_learner_options *opt);
void zab_learner_free(struct zab_learner *l);
void zab_learner_tick(struct zab_learner *l, int64_t now_ms);
int64_t zab_learner_next_wake(const struct zab_learner *l);
void zab_learner_stop(struct zab_learner *l);

void zab_learner_opened(struct zab_learner *l);
/* May the next packet be given? False while the machine waits for its disk: leave the bytes in the socket. */
bool zab_learner_ready(const struct zab_learner *l);
void zab_learner_packet(struct zab_learner *l, const struct qpacket *p); /* only when ready */
void zab_learner_closed(struct zab_learner *l);

void zab_learner_persisted(struct zab_learner *l, int64_t zxid);
void zab_learner_epoch_persisted(struct zab_learner *l, enum zab_epoch_file which);
/* rc 0; RC_NOTFOUND: no record and no snapshot to truncate to; other errors are fatal (a server that could not truncate must not go on). */
void zab_learner_truncated(struct zab_learner *l, int rc);
void zab_learner_heard(struct zab_learner *l); /* bytes of the snapshot came */
void zab_learner_snapshot_loaded(struct zab_learner *l, int rc);
void zab_learner_snapshot_stored(struct zab_learner *l);

/* While serving only. */
void zab_learner_request(struct zab_learner *l, const struct forwarded_request *req, const struct jids *auth);
/* path: of the client's sync; answered by ZAB_SYNCED(tag), in the order asked. */
void zab_learner_sync(struct zab_learner *l, const struct forwarded_request *req, const struct jids *auth, uint64_t tag);
void zab_learner_revalidate(struct zab_learner *l, int64_t session_id, int32_t timeout_ms);
/* A client of ours was heard from: told to the leader with the next ping. */
void zab_learner_touch(struct zab_learner *l, int64_t session_id, int32_t timeout_ms);

size_t zab_learner_effects(struct zab_learner *l, const struct zab_effect **ret);
void zab_learner_effects_clear(struct zab_learner *l);

enum zab_learner_phase {
    ZAB_LEARNER_CONNECTING, ZAB_LEARNER_DISCOVERY, /* until the leader's epoch is accepted */
    ZAB_LEARNER_SYNC,       /* until UPTODATE */
    ZAB_LEARNER_SERVING, ZAB_LEARNER_STOPPED,
};
struct zab_learner_stats {
    enum zab_learner_phase phase;
    int64_t epoch;       /* the leader's; 0 while unknown */
    int64_t last_logged, last_committed;
    size_t pending;      /* proposals logged and not committed */
    size_t pending_syncs, pending_revalidations;
};
void zab_learner_stats(const struct zab_learner *l, struct zab_learner_stats *ret);
void zab_learner_check(const struct zab_learner *l);

#endif
