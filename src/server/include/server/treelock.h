/* treelock.h - the one lock of the server: many reading net threads, one writing core thread.
 *
 * A "big reader" lock: every reader has a cache line of its own, so readers never write to a shared line and scale with
 * threads; the writer visits all lines. Readers take it once per batch of requests, the writer once per batch of committed
 * transactions. A writer that waits keeps new readers out, so that it is never starved.
 *
 * The rule   Whoever reads the tree, registers a watch, or replaces a watcher's identities holds a read slot. Whoever applies a transaction holds
 *            the write side; it alone fires watches and fills the net threads' outboxes. A net thread drains its outbox *after* it took
 *            its slot and before it executes reads: so an event always precedes any reply that shows the changed data.
 * Traps      Never block on I/O or another lock while holding either side. A reader must not take its slot twice. The snapshot thread
 *            is a reader like any other and holds its slot for at most about a millisecond. */
#ifndef SERVER_TREELOCK_H
#define SERVER_TREELOCK_H

#include "base/core.h"

struct treelock;
struct treelock *treelock_new(uint32_t readers);
void treelock_free(struct treelock *l);
void treelock_read_lock(struct treelock *l, uint32_t reader);
void treelock_read_unlock(struct treelock *l, uint32_t reader);
/* Does the writer wait (or hold)? A reader with a long batch asks this between requests and gives way. Any thread; a hint. */
bool treelock_contended(const struct treelock *l);
/* One writer only: the core thread. */
void treelock_write_lock(struct treelock *l);
void treelock_write_unlock(struct treelock *l);

#endif
