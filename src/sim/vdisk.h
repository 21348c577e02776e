/* vdisk.h - the disk of one server, in memory: what was written, what is durable, and what a crash makes of the difference.
 *
 * Time       Calls of the vfs are made by an actor (a thread of the server) at the actor's own time, which vdisk_at sets and which a sync moves on: a
 *            server's turn is computed at once although it takes time. Every change remembers when it was issued and when it became
 *            durable, so that a crash in between knows what there is.
 * Crash      A killed process loses nothing that it had done. A power cut keeps what was synced; of the rest any part: nothing, all, any sectors, a
 *            torn prefix; names likewise until their directory is synced.
 * Faults     Slow, hanging, full, failing; dead from a certain operation on (a crash between any two writes); bytes that change at rest. */
#ifndef SIM_VDISK_H
#define SIM_VDISK_H

#include "storage/vfs.h"
#include "world.h"

struct vdisk;
struct vdisk *vdisk_new(struct world *w, uint64_t which);
void vdisk_free(struct vdisk *d);
const struct vfs *vdisk_vfs(struct vdisk *d);

/* The calls that follow are an actor's whose time is at_us. */
void vdisk_at(struct vdisk *d, int64_t at_us);
/* When the last call ended. */
int64_t vdisk_time(const struct vdisk *d);

/* How long a sync takes. */
void vdisk_set_speed(struct vdisk *d, int64_t from_us, int64_t to_us);
/* Syncs that begin before until_us end after it. */
void vdisk_stall(struct vdisk *d, int64_t until_us);
void vdisk_set_full(struct vdisk *d, bool full);
/* The k-th write (0: the next; a truncation, renaming or removal counts as one), or the k-th sync from now, answers RC_IO; what the sync was to make durable never will be. -1: none. */
void vdisk_fail_write(struct vdisk *d, int32_t k);
void vdisk_fail_sync(struct vdisk *d, int32_t k);
/* After k more changes nothing reaches the disk any more: fn is called, at the time of that operation; the caller then crashes. */
void vdisk_trap(struct vdisk *d, int32_t k, void (*fn)(void *data, int64_t at_us), void *data);
/* From now on nothing changes, until the crash: its process is gone. */
void vdisk_die(struct vdisk *d);

enum vdisk_crash { VDISK_KILL, VDISK_POWER };
/* The process ended at at_us, in the past of whatever it did ahead of time. Its handles are dead, which it still has to close. Clears a trap. */
void vdisk_crash(struct vdisk *d, enum vdisk_crash how, int64_t at_us);

/* Changes one byte at rest of some file of the log or snapshots, or one in each file whose name contains `of` (not NULL: "snapshot."). False:
 * there is none. ret_what: one line, owned. */
bool vdisk_rot(struct vdisk *d, struct sim_rng *r, const char *of, char **ret_what);
/* What rotted last is as it was. */
void vdisk_mend(struct vdisk *d);
/* A file that somebody else puts there, durable at once, whatever the faults. */
void vdisk_put(struct vdisk *d, const char *path, struct buf content);
/* A new, empty disk. */
void vdisk_wipe(struct vdisk *d);
/* A copy on which a power cut has just happened at at_us: for asking what would be left. */
struct vdisk *vdisk_clone_crashed(struct vdisk *d, int64_t at_us, uint64_t which);

/* Called for every file whose name ends so and that is renamed into place, with its content, when that is issued and when it will be durable. */
void vdisk_on_renamed(struct vdisk *d, void (*fn)(void *data, const char *path, struct buf content, int64_t at_us), void *data);
uint64_t vdisk_ops(const struct vdisk *d);
/* What the process sees; p NULL: no such file. Borrowed. For tests. */
struct buf vdisk_get(struct vdisk *d, const char *path);

#endif
