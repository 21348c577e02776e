/* watch.h - who watches what. One table per net thread, so that net threads register without locks among each other.
 *
 * Threading  A table's own net thread changes it while it holds the tree's read lock; the core thread triggers on all tables
 *            while it holds the write lock. The tree lock is therefore the only lock (see server/treelock.h).
 * Source     WatchManager and PathParentIterator of 3.9: modes are combined per (path, watcher). */
#ifndef TREE_WATCH_H
#define TREE_WATCH_H

#include "tree/acl.h"

struct watch_table;

/* One connection. Embedded in the connection, zeroed but for ids; the table links it to its watches. It belongs to one table
 * and leaves by watch_remove_all before it is freed. */
struct watcher {
    struct auth_ids *ids;        /* for the READ check on events; replaced by the net thread under the read lock */
    struct watch_entry *entries; /* the table's, as are those below */
    uint32_t entry_count;        /* (path, watcher) pairs */
    uint32_t data_count;         /* of them with a data watch */
    uint64_t told;               /* the last trigger that reached it */
};

enum watch_kind { WATCH_DATA, WATCH_CHILD };
enum watch_mode { WATCH_STANDARD = 1, WATCH_PERSISTENT = 2, WATCH_RECURSIVE = 4 }; /* or-ed in an entry */

/* Called for each recipient, at most once per trigger, under the write lock. path is borrowed. Must not change the table:
 * a connection that is to be closed is marked and closed later. Order: those who watch the path itself as they registered,
 * then recursive watchers from the nearest ancestor up. */
typedef void (*watch_fire_fn)(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid);

struct watch_table *watch_table_new(watch_fire_fn fire, void *data);
void watch_table_free(struct watch_table *t);

void watch_add(struct watch_table *t, struct watcher *w, struct jstr path, enum watch_kind kind, enum watch_mode mode);
/* addWatch: mode 0 sets PERSISTENT in both kinds, mode 1 RECURSIVE in data. */
void watch_add_persistent(struct watch_table *t, struct watcher *w, struct jstr path, enum zk_add_watch_mode mode);
/* Exact path, exact modes (spec 4.7). watch_remove returns whether there was one. */
bool watch_has(const struct watch_table *t, const struct watcher *w, struct jstr path, enum zk_watcher_type type);
bool watch_remove(struct watch_table *t, struct watcher *w, struct jstr path, enum zk_watcher_type type);
/* When the connection closes. */
void watch_remove_all(struct watch_table *t, struct watcher *w);

/* Fires `type` on (path, kind). acl: that of the node concerned, for the READ check; n < 0: no check. One-shot watches are
 * used up also where the check keeps the event back. Costs one hash probe when nobody watches the path. */
void watch_trigger(struct watch_table *t, enum watch_kind kind, enum zk_event_type type, struct jstr path, struct jacls acl,
                   int64_t zxid);
/* NodeDeleted on data(path), then on child(path) except to those just told. */
void watch_trigger_delete(struct watch_table *t, struct jstr path, struct jacls acl, int64_t zxid);

struct watch_summary {
    uint64_t connections, paths, total; /* wchs: data watches only, as the reference counts them */
    uint64_t all;                        /* mntr zk_watch_count: both kinds */
};
void watch_summary_add(const struct watch_table *t, struct watch_summary *sum);
/* For wchc/wchp. */
void watch_each(const struct watch_table *t, void (*fn)(void *data, const struct watcher *w, struct jstr path), void *data);

#endif
