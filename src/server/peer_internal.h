/* peer_internal.h - what the files of the quorum peer share. See peer.h.
 *
 * peer.c        made, run turn by turn, ended; effects of both machines
 * peer_role.c   elections, the beginning and the end of roles
 * peer_lead.c   a leader's effects: snapshots and logs for learners     peer_learn.c  a learner's: synchronisation, transactions
 * peer_config.c configurations: requests, activation
 * peer_disk.c   epochs, log, window, recovery                           peer_info.c   figures */
#ifndef SERVER_PEER_INTERNAL_H
#define SERVER_PEER_INTERNAL_H

#include "server/peer.h"
#include "zab/election.h"
#include "zab/zab.h"

enum {
    LOG_SLICE = 256,               /* records read for a learner per turn */
    LOG_SLICE_BYTES = 1 << 20,     /* or so many bytes of them */
    LOG_QUEUE_MAX = 4 << 20,       /* with more waiting for its socket, no more is read */
};

/* What was done, to be told to the machine once its effects are carried out. */
enum done_what { DONE_ACCEPTED, DONE_CURRENT, DONE_TRUNCATED, DONE_LOADED, DONE_STORED, DONE_REVALIDATED, DONE_LOG_END };
struct done {
    enum done_what what;
    uint64_t conn;
    int64_t session_id;
    int rc;
    bool valid;
};

struct proposed {
    int64_t zxid, at_ms;
};

/* The log being read for a learner. What it is told first cannot be taken back, so a first pass only finds out whether the log leads it all the way. */
struct log_job {
    uint64_t conn;
    int64_t from, to;
    bool looking; /* the first pass */
    struct txnlog_reader *reader;
};

struct peer {
    struct peer_host host;
    struct tree *tree;
    struct core *core; /* from peer_begin on, as the network */
    struct qnet *net;
    struct election *election;
    struct zab_window *window;
    struct quorum_config *committed, *seen; /* references; seen: NULL when nothing is proposed */
    struct quorum_config *asked;            /* a reference: what the last reconfig request made */
    bool reassigned;                        /* a configuration named the leader, and it or our role is another one: no election */
    struct storage_epochs epochs;           /* as on disk */
    int64_t announced;                      /* epoch that currentEpoch.tmp names */
    int64_t my_sid;
    int64_t now_ms;

    enum zab_state state;                   /* LOOKING: neither machine */
    struct zab_leader *leader;
    struct zab_learner *learner;
    bool serving;                           /* the core has the role */
    bool deaf;                              /* the role ends: the core is not listened to */
    bool resync;                            /* follow with the wish for a snapshot */
    bool unlogged;                          /* an observer's tree, which is ahead of its disk (syncEnabled=false) */
    bool stopped;                           /* the machine stopped: `stop` says how */
    bool paused;                            /* the leader's packets */
    bool ending;                            /* the server stops */
    bool read_only;                         /* LOOKING, and the core is READONLY */
    struct zab_effect stop;
    int64_t applied_told;                   /* to the leader's machine */
    enum zab_state decided;                 /* by an election, to be entered; LOOKING: nothing */
    struct log_batch appends;
    int64_t pushed, persisted;              /* zxids: the last given to the log, the last known durable */
    int64_t stuck_ms;                       /* for how long the log has made no progress, as far as this thread was awake to see it */
    int64_t polled_ms;
    bool draining;                          /* the role has ended; the log is waited for before the server votes */
    struct VEC(struct done) done;
    struct VEC(struct log_job) logs;

    struct snap_decoder *decoder;           /* learner: the snapshot being received */
    int64_t snap_zxid;
    bool receiving;

    int64_t looking_ms;                     /* when this election began; 0: none */
    int64_t look_due_ms;                    /* an observer waits before it looks; 0: it does not */
    int64_t follow_due_ms;                  /* an observer waits before it connects; 0: it does not */
    int64_t follow_sid;
    uint64_t rng;                           /* of such delays */
    int64_t election_ms;                    /* how long the last one took; -1: none yet */
    int64_t role_ms;                        /* when the role began to serve */
    int64_t begun_ms;                       /* when it was chosen */
    int64_t unserved_ms;                    /* when service was lost; 0: it is there */
    struct peer_counts counts;
    struct VEC(struct proposed) proposed; /* from proposed_head on; leader: not committed yet; follower: not logged yet */
    size_t proposed_head;
};

static inline void peer_done(struct peer *p, struct done d)
{
    VEC_PUSH(&p->done, d);
}
static inline struct quorum_view peer_view(const struct peer *p)
{
    return (struct quorum_view){ p->committed, p->seen };
}

/* peer.c */
void peer_replay(struct peer *p, struct buf txn);
/* Effects that both machines have. False: not one of them. */
bool peer_common_effect(struct peer *p, const struct zab_effect *e);
void peer_die(struct peer *p, int exit_code, const char *text);
void peer_set_tree(struct peer *p, struct tree *t); /* takes it */

/* peer_role.c */
struct zab_start peer_start(struct peer *p);
int64_t peer_random_delay(struct peer *p, int32_t max_ms); /* below max_ms; 0 when that is */
/* The core has no role any more: committed transactions are applied and answered, clients gone, no snapshot is being written. */
void peer_leave_core(struct peer *p);
void peer_serve(struct peer *p, enum core_role role, int64_t epoch);
void role_look(struct peer *p);
bool role_elect(struct peer *p); /* the election's effects; a role begins when it is decided. True: there were some */
void role_end(struct peer *p);   /* the machine stopped */
void role_over(struct peer *p);  /* and the log is durable to its end */
void role_read_only_end(struct peer *p);
int64_t role_next_wake(const struct peer *p);
void role_poll(struct peer *p);

/* peer_config.c */
int32_t config_request(void *peer, const struct reconfig_request *q, int64_t zxid, struct buf *ret_text); /* core_config.reconfig */
/* Before a vote: what is proposed has to be in the history that the vote names; at a start it may be there alone. */
void config_recover(struct peer *p);
void config_match_history(struct peer *p);
void config_seen(struct peer *p, struct quorum_config *c);
void config_activate(struct peer *p, struct quorum_config *c, int64_t designated);
void config_adopt(struct peer *p, struct quorum_config *c); /* a peer said that it is committed, while we look for a leader */
void config_show(struct peer *p); /* /zookeeper/config := the committed one, unless it is that */

/* peer_info.c */
void peer_note_proposal(struct peer *p, int64_t zxid, size_t bytes);
void peer_note_quorum(struct peer *p, int64_t zxid); /* a quorum has everything up to it */
void peer_note_commit(struct peer *p, struct buf txn); /* learner */
void peer_note_received(struct peer *p, int64_t zxid, struct buf txn); /* follower: a proposal, which will be logged */
void peer_note_acked(struct peer *p, int64_t zxid); /* follower: everything up to it is in the log */

/* peer_disk.c. Failures do not come back: a server that cannot write its disk stops. */
void peer_write_epoch(struct peer *p, enum storage_epoch which, int64_t epoch);
/* Before anything of this epoch goes to the disk. */
void peer_announce(struct peer *p, int64_t zxid);
void peer_push_log(struct peer *p);
void peer_watch_log(struct peer *p); /* once a turn: a disk that hangs ends the role */
int64_t peer_log_next_wake(const struct peer *p);
/* The peer has changed the history on disk by itself: it ends at zxid. */
void peer_log_moved(struct peer *p, int64_t zxid);
int peer_fill_window(struct peer *p, struct storage_error *err);
void peer_reload(struct peer *p);
int peer_truncate(struct peer *p, int64_t zxid);
void peer_snapshot(struct peer *p); /* of the tree as it is */
void peer_store_snapshot(struct peer *p, int64_t zxid);
bool peer_votes_in_proposed(const struct peer *p);
/* Before a server votes, or what it acknowledges counts, that was an observer without a log: what it says it has must be on its disk, and its log goes on from there. */
void peer_keep_unlogged(struct peer *p);
/* Is reading the log from zxid on cheaper than a snapshot (snapshotSizeFactor)? */
bool peer_log_affordable(const struct peer *p, int64_t zxid);

/* peer_lead.c */
void lead_begin(struct peer *p);
void lead_end(struct peer *p);
void lead_effect(struct peer *p, const struct zab_effect *e);
void lead_done(struct peer *p, const struct done *d);
void lead_read_logs(struct peer *p); /* one slice each */
bool lead_has_work(const struct peer *p);
void lead_peer_open(void *data, uint64_t conn, const struct sockaddr *from);
void lead_peer_packet(void *data, uint64_t conn, const struct qpacket *q);
void lead_peer_closed(void *data, uint64_t conn, const char *why);
void lead_failed(void *data, const char *text);

/* peer_learn.c */
void learn_begin(struct peer *p, bool observer, int64_t leader_sid);
void learn_connect(struct peer *p); /* follow_due_ms has come */
void learn_end(struct peer *p);
void learn_effect(struct peer *p, const struct zab_effect *e);
void learn_done(struct peer *p, const struct done *d);
void learn_settle_pause(struct peer *p);
void learn_open(void *data);
void learn_packet(void *data, const struct qpacket *q);
void learn_closed(void *data, const char *why);

#endif
