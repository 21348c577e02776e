/* leader.h - the leader's state, shared by the files that make it up. Private to zab.
 *
 * leader.c        life, phases, timers, the quorum tests of each phase
 * leader_peer.c   one learner: handshake, what it says
 * leader_sync.c   one learner's history brought in line: DIFF, TRUNC, SNAP, the log on disk
 * leader_bcast.c  proposals, acknowledgements, commits, syncs, reconfiguration */
#ifndef ZAB_LEADER_H
#define ZAB_LEADER_H

#include "base/map.h"
#include "effects.h"

enum peer_state {
    PEER_NEW,          /* connected; FOLLOWERINFO or OBSERVERINFO comes next */
    PEER_WAIT_EPOCH,   /* told us its epoch; a quorum has to before ours is known */
    PEER_WAIT_ACKEPOCH, /* LEADERINFO sent */
    PEER_WAIT_QUORUM,  /* ACKEPOCH came; a quorum of those is missing */
    PEER_LOG,          /* the log on disk is being read for it */
    PEER_SNAP,         /* a snapshot is being sent */
    PEER_SYNCED,       /* NEWLEADER queued; live traffic goes to it */
    PEER_ACKED,        /* acknowledged NEWLEADER; we do not serve yet */
    PEER_LIVE,         /* UPTODATE sent */
};

#define NEVER_MS INT64_MAX

struct peer {
    uint64_t conn;
    int64_t sid; /* negative: anonymous */
    enum peer_state state;
    bool observer;
    int64_t last_zxid;  /* as it said in ACKEPOCH */
    /* synchronisation */
    bool op_sent;       /* DIFF, TRUNC or SNAP has gone */
    bool diff_counted, snap_counted; /* for the throttle */
    int64_t sync_at;    /* everything committed up to here has been queued (or is in the snapshot) */
    int64_t log_prev;   /* walk over the log: the record before; -1 none */
    int64_t log_to;
    int log_passes;
    /* broadcast */
    int64_t sent;       /* last proposal queued for it, committed ones of its synchronisation included */
    int64_t live_sent;  /* last proposal queued that it has to acknowledge */
    int64_t acked;
    int64_t unacked_since_ms; /* when it last moved while proposals wait for it; NEVER_MS: none waits */
    uint64_t pings_sent, pings_heard, confirm_at; /* since UPTODATE; see leader_bcast.c */
    /* time */
    int64_t last_heard_ms, read_deadline_ms, deadline_tick;
};

struct sid_zxid {
    int64_t sid, zxid;
};

struct pending_sync {
    uint64_t conn; /* 0: our own client, by tag */
    uint64_t tag;
    int64_t zxid;   /* released once this is committed */
    uint64_t round; /* and a quorum has confirmed this round */
};

struct zab_leader {
    struct zab_leader_options opt;
    struct effects fx;
    enum zab_leader_phase phase;
    struct zab_window *window;
    struct quorum_config *committed, *seen; /* seen may be NULL */
    bool handed_over; /* a reconfiguration made another server leader: nothing more is committed */

    int64_t epoch, max_accepted;
    int64_t accepted_epoch, current_epoch; /* durable */
    bool waiting_accepted, waiting_current;
    struct sid_set connecting, electing, newleader_acks; /* by phase; who has taken part, connected or not */
    struct sid_set scratch;
    struct sid_set snap_next; /* learners whose log walk failed halfway: they get a snapshot next time */
    int64_t next_anonymous;

    struct VEC(struct peer *) peers; /* in order of arrival */
    struct u64map by_conn;
    uint32_t snap_syncs, diff_syncs;
    uint64_t diff_count;
    uint32_t observers_live; /* observers to whom INFORM goes */

    struct txn_fifo outstanding;
    int64_t last_proposed, last_committed, applied, persisted, appended;
    struct VEC(struct sid_zxid) acks; /* per server: durable up to; outlives connections, since what is durable stays so */

    struct VEC(struct pending_sync) syncs;
    size_t syncs_head;
    uint64_t round_started, round_confirmed;

    int64_t now_ms, next_pass_ms, phase_deadline_ms, tick;
    bool odd_pass;
};

static inline int64_t init_ms(const struct zab_start *s)
{
    return (int64_t)s->tick_ms * s->init_limit;
}
static inline int64_t sync_ms(const struct zab_start *s)
{
    return (int64_t)s->tick_ms * s->sync_limit;
}
static inline int64_t newleader_zxid(const struct zab_leader *l)
{
    return zxid_of(l->epoch, 0);
}
static inline struct quorum_view leader_view(const struct zab_leader *l)
{
    return (struct quorum_view){ l->committed, l->seen };
}
/* Does live traffic go to this learner? */
static inline bool peer_is_live(const struct peer *p)
{
    return p->state >= PEER_SYNCED;
}

/* leader.c */
struct peer *leader_find(const struct zab_leader *l, uint64_t conn); /* NULL: gone */
void leader_drop(struct zab_leader *l, struct peer *p, const char *why); /* frees p; why: NULL when the connection is gone already */
void leader_end(struct zab_leader *l, enum zab_stop how, const char *why);
void leader_try_epoch(struct zab_leader *l);
void leader_try_epoch_ack(struct zab_leader *l);
void leader_try_serve(struct zab_leader *l);
void leader_set_seen(struct zab_leader *l, struct quorum_config *c); /* takes */
void leader_activate(struct zab_leader *l, int64_t designated);

/* leader_peer.c */
void peer_send_leaderinfo(struct zab_leader *l, struct peer *p);
void peer_send_uptodate(struct zab_leader *l, struct peer *p);
bool peer_in_step(const struct zab_leader *l, const struct peer *p);

/* leader_sync.c: may drop the peer */
void sync_start(struct zab_leader *l, struct peer *p);
void sync_uncount(struct zab_leader *l, struct peer *p);

/* leader_bcast.c */
void bcast_ack(struct zab_leader *l, struct peer *p, int64_t zxid);
void bcast_try_commit(struct zab_leader *l);
void bcast_ping(struct zab_leader *l, struct peer *p);
void bcast_pong(struct zab_leader *l, struct peer *p);
void bcast_forget_syncs(struct zab_leader *l, uint64_t conn);
int64_t bcast_designate(const struct zab_leader *l, const struct quorum_config *next, int64_t zxid);

#endif
