/* vfs.h - all that storage asks of a disk. The one way to it: the real one in the server, a faulty one in tests and in
 * the simulator.
 *
 * Errors     0 or a count, or RC_IO, RC_NOTFOUND, RC_NOSPACE (disk full), RC_DENIED, RC_EXISTS; errno is left set where the system gave one.
 * Threading  Calls on different files may run at once. */
#ifndef STORAGE_VFS_H
#define STORAGE_VFS_H

#include "base/bytes.h"

struct vfs_file; /* the implementation's */

struct vfs {
    void *ctx;
    /* flags: VFS_* */
    int (*open)(void *ctx, const char *path, int flags, struct vfs_file **ret);
    int64_t (*read_at)(struct vfs_file *f, void *p, size_t n, int64_t at);  /* short only at the end of the file */
    int (*write_at)(struct vfs_file *f, const void *p, size_t n, int64_t at); /* all or an error */
    int (*sync)(struct vfs_file *f);                                          /* fdatasync */
    /* Writes that part of the file out and waits until the disk has taken it; proves nothing (sync does), only spreads the work
     * of the sync to come. NULL: cannot. */
    int (*write_back)(struct vfs_file *f, int64_t at, int64_t n);
    int (*truncate)(struct vfs_file *f, int64_t size);
    /* Extends the file to `size` with zeros, allocated where the file system can. */
    int (*allocate)(struct vfs_file *f, int64_t size);
    int64_t (*size)(struct vfs_file *f);
    void (*close)(struct vfs_file *f);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*remove)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path); /* parents too; existing is fine */
    int (*sync_dir)(void *ctx, const char *path);
    /* Calls fn for every entry but . and .. */
    int (*list)(void *ctx, const char *path, void (*fn)(void *data, const char *name), void *data);
    /* Where there are owners and working directories; NULL elsewhere. take_owner gives path the owner and mode of `like`, as far as we may: where the owner
     * cannot be given, nobody gains. absolute: independent of the working directory; returns owned. */
    void (*take_owner)(void *ctx, const char *path, const char *like);
    char *(*absolute)(void *ctx, const char *path);
};
enum {
    VFS_READ = 1, VFS_WRITE = 2, VFS_CREATE = 4, VFS_TRUNCATE = 8,
    VFS_PRIVATE = 16, /* created for its owner alone; others than the real disk have no owners */
};

const struct vfs *vfs_posix(void);

#endif
