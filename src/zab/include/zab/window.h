/* window.h - the committed-log window: the last committed transactions, kept for servers that come back a little late,
 * and the rules by which a leader brings a learner's history in line with its own.
 *
 * Purpose    A contiguous run of transactions in memory, each kept as the PROPOSAL packet that carries it, and the decision
 *            DIFF, TRUNC or SNAP as a pure function.
 * Life       One window per server, across roles: a learner fills it while it follows, so that it can lead with it. Every
 *            transaction applied goes in, or the next leader would send histories with holes (ZOOKEEPER-4925).
 * Ownership  The window holds references to its transactions. Their counts are not atomic.
 * Threading  One caller at a time: the core thread.
 * Source     ZKDatabase.addCommittedProposal, LearnerHandler.syncFollower, queueCommittedProposals (3.9.5). */
#ifndef ZAB_WINDOW_H
#define ZAB_WINDOW_H

#include "base/bytes.h"

/* ---- zxids ---- */

#define ZXID_COUNTER_MAX UINT32_C(0xFFFFFFFE) /* the last counter ever proposed */

static inline int64_t zxid_epoch(int64_t zxid)
{
    return (int64_t)((uint64_t)zxid >> 32);
}
static inline uint32_t zxid_counter(int64_t zxid)
{
    return (uint32_t)zxid;
}
static inline int64_t zxid_of(int64_t epoch, uint32_t counter)
{
    return (int64_t)((uint64_t)epoch << 32 | counter);
}
/* May next come right behind prev in a history? The next counter of the same epoch, or the first of a later epoch: leaders count from 1. */
bool zxid_follows(int64_t prev, int64_t next);

/* ---- a transaction in flight ---- */

/* One transaction, kept as the packet PROPOSAL: type, zxid, data, null identities. Immutable, reference counted (not atomic). */
struct zab_txn {
    uint32_t refs;
    int64_t zxid;
    uint32_t packet_len;
    uint8_t packet[];
};
struct zab_txn *zab_txn_new(int64_t zxid, struct buf bytes); /* copies; bytes: header, body, optional digest */
struct zab_txn *zab_txn_ref(struct zab_txn *t);
void zab_txn_unref(struct zab_txn *t); /* NULL is fine */
struct buf zab_txn_bytes(const struct zab_txn *t);
struct buf zab_txn_packet(const struct zab_txn *t);
/* The type in its header (ZK_OP_*); 0 when it is too short to have one. */
int32_t zab_txn_type(const struct zab_txn *t);
/* The configuration text of a reconfig transaction; p == NULL when this is none, or a malformed one. */
struct buf zab_txn_config(const struct zab_txn *t);

/* ---- the window ---- */

#define ZAB_WINDOW_COUNT 500                       /* commitLogCount; the reference allows no less */
#define ZAB_WINDOW_BYTES (UINT64_C(256) << 20)     /* and no more than this in memory */

struct zab_window;

/* count, max_bytes: 0 for the default. */
struct zab_window *zab_window_new(size_t count, uint64_t max_bytes);
void zab_window_free(struct zab_window *w);
/* Empties it: the history goes on behind zxid (a snapshot's). A new window is reset to 0. */
void zab_window_reset(struct zab_window *w, int64_t zxid);
/* Adds a reference. RC_INVAL when t does not follow what is in it. Evicts the oldest, but none above zab_window_keep's zxid. */
int zab_window_push(struct zab_window *w, struct zab_txn *t);
/* Copies bytes; for filling the window from the log at start. */
int zab_window_push_bytes(struct zab_window *w, int64_t zxid, struct buf bytes);
/* From now on only transactions up to this one may be evicted (INT64_MAX, the default: all). */
void zab_window_keep(struct zab_window *w, int64_t zxid);
/* Removes what is above zxid: these transactions were withdrawn. */
void zab_window_truncate(struct zab_window *w, int64_t zxid);

size_t zab_window_len(const struct zab_window *w);
struct zab_txn *zab_window_at(const struct zab_window *w, size_t i); /* borrowed */
/* The lowest and highest zxid; of an empty window both are what it was reset to. */
int64_t zab_window_min(const struct zab_window *w);
int64_t zab_window_max(const struct zab_window *w);
/* What came right before the first transaction in it. */
int64_t zab_window_base(const struct zab_window *w);
/* Index of the first transaction with a zxid above this one; the length when there is none. */
size_t zab_window_after(const struct zab_window *w, int64_t zxid);
void zab_window_check(const struct zab_window *w); /* asserts the whole invariant */

/* ---- the decision ---- */

enum zab_sync_how {
    ZAB_SYNC_DIFF,  /* op DIFF(zxid), then the window from `first` */
    ZAB_SYNC_TRUNC, /* op TRUNC(zxid), then the window from `first` */
    ZAB_SYNC_SNAP,  /* a snapshot */
    ZAB_SYNC_LOG,   /* the window starts too late: walk the log on disk from the learner's zxid up to below the window */
};
struct zab_sync_plan {
    enum zab_sync_how how;
    int64_t zxid; /* of the op packet; LOG: where the window starts */
    size_t first;
};
/* peer: the learner's last logged zxid. last: the leader's last committed one (epoch << 32 when it began to serve and nothing came yet).
 * force_snapshot: zookeeper.forceSnapshotSync. Total: every input has an answer, and SNAP is always a right one. */
struct zab_sync_plan zab_sync_decide(const struct zab_window *w, int64_t peer, int64_t last, bool force_snapshot);

/* The walk, one transaction at a time, as it is done over the log on disk. prev: the transaction before (-1: none seen). */
enum zab_walk { ZAB_WALK_SKIP, ZAB_WALK_DIFF, ZAB_WALK_DIFF_SEND, ZAB_WALK_TRUNC, ZAB_WALK_SNAP };
/* What the transaction means for a learner at `peer` that has been sent nothing yet: SKIP it (too old); DIFF and go on behind it; DIFF and
 * send it too; TRUNC(prev) and send it; or only a SNAP helps. */
enum zab_walk zab_walk_step(int64_t peer, int64_t prev, int64_t zxid);

#endif
