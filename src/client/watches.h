/* watches.h - the client's own watch table: which watcher hears which event.
 *
 * Source     Programmer's Guide, "ZooKeeper Watches"; ZKWatchManager (3.9).
 * Paths      are server paths (with the chroot): the table does not know about chroots.
 * Callbacks  may change the table while it dispatches; a watcher that is forgotten meanwhile is not called any more.
 * Threading  the client's loop thread alone. */
#ifndef CLIENT_WATCHES_H
#define CLIENT_WATCHES_H

#include "base/bytes.h"
#include "base/map.h"
#include "quoll/quoll.h"

enum watch_kind {
    WATCH_DATA,       /* one-shot: getData, or exists on a node that is there */
    WATCH_EXIST,      /* one-shot: exists on a node that is not there */
    WATCH_CHILD,      /* one-shot: getChildren */
    WATCH_PERSISTENT, /* addWatch mode 0 */
    WATCH_RECURSIVE,  /* addWatch mode 1 */
    WATCH_KINDS
};
#define WATCH_BIT(kind) (1u << (kind))
#define WATCH_ONE_SHOT (WATCH_BIT(WATCH_DATA) | WATCH_BIT(WATCH_EXIST) | WATCH_BIT(WATCH_CHILD))
#define WATCH_LASTING (WATCH_BIT(WATCH_PERSISTENT) | WATCH_BIT(WATCH_RECURSIVE))
#define WATCH_ALL (WATCH_ONE_SHOT | WATCH_LASTING)

struct watcher {
    quoll_watch_fn fn;
    void *data;
};
struct watch_dispatch;
struct watches {
    struct strmap paths; /* path -> struct watch_path */
    size_t counts[WATCH_KINDS];
    struct watch_dispatch *dispatching; /* innermost dispatch in progress */
};

void watches_free(struct watches *t);
/* Adds a watcher; the same pair, path and kind twice is one entry. */
void watches_add(struct watches *t, const char *path, enum watch_kind kind, struct watcher w);
/* Kinds (bits) that have a watcher at exactly path; with w, only those that hold this pair. */
unsigned watches_kinds(const struct watches *t, const char *path, const struct watcher *w);
/* Number of watchers of these kinds at exactly path. */
size_t watches_count(const struct watches *t, const char *path, unsigned kinds);
/* Delivers a change of a node. ev->path is what the watchers are shown. One-shot watchers that it concerns are removed
 * before the first call. */
void watches_fire(struct watches *t, quoll_client *c, const char *path, const struct quoll_event *ev);
/* Tells every watcher (each pair once) of a change of the session; drop: kinds (bits) removed before the calls. */
void watches_session(struct watches *t, quoll_client *c, const struct quoll_event *ev, unsigned drop);
/* Removes watchers of these kinds at path (w NULL: all of them) and tells each with ev. Returns how many. */
size_t watches_remove(struct watches *t, quoll_client *c, const char *path, unsigned kinds, const struct watcher *w,
                      const struct quoll_event *ev);
/* Removes all watchers of these kinds everywhere and tells each with ev, whose path is filled in: the path without its
 * first skip bytes when it has more than that. */
void watches_remove_kinds(struct watches *t, quoll_client *c, unsigned kinds, struct quoll_event ev, size_t skip);
/* Removes a pair everywhere without telling it; it is not called any more, not even by a dispatch in progress. */
void watches_forget(struct watches *t, struct watcher w);
/* Appends the setWatches / setWatches2 frames that register everything again, each cut after about batch_bytes of path
 * text. Sets *ret_lasting when one of them is a setWatches2. Returns the number of frames. */
size_t watches_write_set(const struct watches *t, struct wr *out, int64_t relative_zxid, size_t batch_bytes,
                         bool *ret_lasting);

#endif
