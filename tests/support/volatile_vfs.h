/* volatile_vfs.h - a disk for a real server process on which kill -9 is a power cut.
 *
 * Killing a process loses nothing that it has written: the kernel has it. Over this vfs it does: changes stay in the process's
 * memory until a sync pushes them to the file below, names until their directory is synced. So a test that kills the server
 * with -9 sees what a power cut would leave, and a missing sync shows. A file that has no durable name yet lives below under a
 * name that begins with ".volatile.", which nothing recovers.
 *
 * Threading  as struct vfs asks; one lock inside.
 * Limits     unsynced data is kept in memory; directories are made at once. */
#ifndef TESTS_VOLATILE_VFS_H
#define TESTS_VOLATILE_VFS_H

#include "storage/vfs.h"

/* Wraps `below` (usually vfs_posix()). lie: sync and sync_dir do nothing and say that they did, so that a test can prove that it
 * would see a missing sync. */
const struct vfs *volatile_vfs_new(const struct vfs *below, bool lie);
/* Forgets what was not synced, as a kill does. No file may be open. */
void volatile_vfs_free(const struct vfs *vfs);

#endif
