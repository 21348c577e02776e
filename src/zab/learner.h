/* learner.h - the learner's state, shared by the files that make it up. Private to zab.
 *
 * learner.c        life, timers, handshake, what the shell asks for
 * learner_sync.c   from DIFF, TRUNC or SNAP to UPTODATE
 * learner_bcast.c  proposals, commits and answers while serving */
#ifndef ZAB_LEARNER_H
#define ZAB_LEARNER_H

#include "base/map.h"
#include "effects.h"

enum learner_state {
    LEARNER_CONNECTING,
    LEARNER_WAIT_LEADERINFO,
    LEARNER_PERSIST_ACCEPTED, /* hold */
    LEARNER_WAIT_OP,
    LEARNER_TRUNCATING,       /* hold */
    LEARNER_LOADING,          /* hold: the snapshot streams */
    LEARNER_SYNCING,          /* before NEWLEADER */
    LEARNER_STORING,          /* hold: the snapshot is written */
    LEARNER_LOGGING,          /* hold: what NEWLEADER covers is being synced */
    LEARNER_PERSIST_CURRENT,  /* hold */
    LEARNER_WAIT_UPTODATE,
    LEARNER_SERVING,
    LEARNER_STOPPED,
};

struct zab_learner {
    struct zab_learner_options opt;
    struct effects fx;
    enum learner_state state;
    struct zab_window *window;
    struct quorum_config *committed, *seen; /* seen may be NULL */
    struct quorum_config *from_newleader;   /* activated by UPTODATE; may be NULL */

    int64_t epoch;                         /* the leader's; 0 while unknown */
    int64_t accepted_epoch, current_epoch; /* durable */
    int64_t queued;    /* last proposal seen; before the first: where the history it must follow ends */
    bool any_queued;   /* false: the first proposal behind a snapshot may be an older one */
    int64_t snap_zxid; /* image in memory is at least at this; transactions up to it are applied again; -1: no snapshot came */
    int64_t applied, logged, persisted;
    bool to_log;       /* false: memory is the snapshot's, the disk is not yet */
    bool disk_unlike_memory; /* between the operation and its being durable */
    int64_t ack_next;  /* first zxid not yet acknowledged, while serving */

    /* Proposals in order: the first `agreed` are committed and wait for NEWLEADER or UPTODATE. While serving: logged, not committed. */
    struct txn_fifo pending;
    size_t agreed;

    struct VEC(uint64_t) syncs; /* tags, in order */
    size_t syncs_head;
    uint32_t revalidations;
    struct VEC(struct ping_session) touched;
    struct u64map touched_at; /* session -> index + 1 in touched */

    int64_t now_ms, deadline_ms;
};

static inline bool learner_holds(enum learner_state s)
{
    return s == LEARNER_PERSIST_ACCEPTED || s == LEARNER_TRUNCATING || s == LEARNER_LOADING || s == LEARNER_STORING ||
           s == LEARNER_LOGGING || s == LEARNER_PERSIST_CURRENT || s == LEARNER_CONNECTING || s == LEARNER_STOPPED;
}

/* learner.c */
void learner_end(struct zab_learner *l, enum zab_stop how, int exit_code, const char *why);
static inline void learner_lost(struct zab_learner *l, const char *why)
{
    learner_end(l, ZAB_STOP_LOST, 0, why);
}
void learner_deadline(struct zab_learner *l); /* moves the deadline for the next packet */
int learner_see_config(struct zab_learner *l, struct buf text, int64_t version); /* version -1: as in the text. RC_* */
/* The leader of this epoch knows nothing newer than this version: what was proposed beyond it was withdrawn. */
void learner_withdraw_config(struct zab_learner *l, int64_t version);
bool learner_activate(struct zab_learner *l, struct quorum_config *c, int64_t designated); /* true: role or leader changed */
void learner_apply(struct zab_learner *l, enum zab_effect_type how, struct zab_txn *t);
void learner_append(struct zab_learner *l, struct zab_txn *t);
struct zab_txn *learner_txn(struct zab_learner *l, int64_t zxid, struct jbuf data); /* NULL: stopped */

/* learner_sync.c */
void learner_sync_packet(struct zab_learner *l, const struct qpacket *p);
void learner_sync_logged(struct zab_learner *l);
void learner_sync_epoch(struct zab_learner *l); /* currentEpoch is the leader's */

/* learner_bcast.c */
void learner_bcast_packet(struct zab_learner *l, const struct qpacket *p);
void learner_bcast_begin(struct zab_learner *l);
void learner_bcast_persisted(struct zab_learner *l);

#endif
