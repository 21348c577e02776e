/* faulty_vfs.h - a disk for a real server process that a test can make fail while the server runs.
 *
 * A control file says how the disk is; it is looked at before every change and every sync:
 *   ok      as the disk below
 *   fail    every write and every sync fails (RC_IO)
 *   full    every write that needs room fails (RC_NOSPACE); what is there can be synced, truncated and removed
 *   stall   writes and syncs do not come back until it says something else
 *
 * Threading  as struct vfs asks. Reads always work. */
#ifndef TESTS_FAULTY_VFS_H
#define TESTS_FAULTY_VFS_H

#include "storage/vfs.h"

/* Over vfs_posix(). control: a path, copied; no such file: ok. Lives as long as the process. */
const struct vfs *faulty_vfs_new(const char *control);

#endif
