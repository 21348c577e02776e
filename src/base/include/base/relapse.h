/* relapse.h - historical bugs of ZooKeeper that can be switched back on.
 *
 * Purpose    The simulator has to find them again (`quoll sim --reintroduce ZOOKEEPER-nnnn`): a search that does not find what
 *            once lost data proves nothing when it finds nothing. This is the one list of them; the places where they bite ask
 *            relapse(nnnn), so that a search for the number finds all of a bug.
 * Rules      All are off, and only the simulator and tests switch one on: no option of a server, no variable of the environment does. A place
 *            where one bites is one branch on a word that never changes, off the paths that run per request. Assertions that would
 *            stop a server at once where the reference went on are relaxed by the same question, so that the damage is done as it was then.
 * Threading  relapse_set before threads start; relapse from any thread.
 * Source     Apache's issue tracker. */
#ifndef BASE_RELAPSE_H
#define BASE_RELAPSE_H

#include <assert.h>
#include <stdatomic.h>

#include "base/core.h"

/* number, what goes wrong */
#define RELAPSES(X)                                                                                                        \
    X(1549, "a snapshot holds transactions that were never committed, and outlives their truncation")                      \
    X(1653, "the disk enters an epoch before any epoch file says so: after a crash the server refuses to start")           \
    X(2136, "sync is answered without asking a quorum whether the leader still leads")                                     \
    X(2325, "when no snapshot can be loaded, the logs are replayed over an empty tree")                                    \
    X(2845, "memory is kept when a role ends, without what the log holds beyond it")                                       \
    X(2872, "a snapshot from the leader replaces the log before it is durable")                                            \
    X(3023, "NEWLEADER is acknowledged with transactions in the log that memory does not have")                            \
    X(3104, "NEWLEADER is sent ahead of what was committed while the snapshot streamed")                                   \
    X(3127, "a fuzzy snapshot is named after a transaction whose effects it lacks")                                        \
    X(3145, "replay of a deletion whose child a fuzzy snapshot lacks leaves the parent's pzxid as it was")                  \
    X(3642, "a snapshot in memory alone counts as history, and the next synchronisation builds on it")                     \
    X(3701, "the log could not be truncated, and the server goes on")                                                      \
    X(3911, "NEWLEADER is acknowledged while the proposals of a DIFF are in memory alone")                                 \
    X(4394, "a COMMIT between NEWLEADER and UPTODATE meets a proposal that is no longer queued")                           \
    X(4643, "currentEpoch is written before the transactions of the synchronisation are durable")                          \
    X(4646, "NEWLEADER is acknowledged while the sync of the log is still queued")                                         \
    X(4712, "a role ends and the next begins while the log of the old one is still being written")                         \
    X(4882, "a failed write to the log is tolerated, and later transactions are logged behind the hole")                   \
    X(4925, "transactions applied during synchronisation are missing from the committed window")

#define RELAPSE_ENUM_(number, text) RELAPSE_##number,
enum relapse { RELAPSES(RELAPSE_ENUM_) RELAPSE_COUNT };
#undef RELAPSE_ENUM_

struct relapse_info {
    int number; /* as in ZOOKEEPER-number */
    const char *text;
};
extern const struct relapse_info relapse_table[RELAPSE_COUNT];

extern _Atomic uint64_t relapse_bits; /* 0 in every server */
static_assert(RELAPSE_COUNT <= 64, "one bit each");

/* relapse(3911): is ZOOKEEPER-3911 switched on? */
#define relapse(number) relapse_is_on(RELAPSE_##number)
static inline bool relapse_is_on(enum relapse r)
{
    return UNLIKELY(atomic_load_explicit(&relapse_bits, memory_order_relaxed) >> r & 1);
}

void relapse_set(enum relapse r, bool on);
/* "ZOOKEEPER-3911", "zookeeper-3911" or "3911"; RELAPSE_COUNT: none in the list. */
enum relapse relapse_find(const char *text);

#endif
