/* vfs_posix.c - the real disk. */
#include "storage/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct vfs_file {
    int fd;
};

static int rc_of_errno(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return RC_NOTFOUND;
    case ENOSPC:
    case EDQUOT:
        return RC_NOSPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return RC_DENIED;
    case EEXIST:
        return RC_EXISTS;
    }
    return RC_IO;
}

static int posix_open_file(void *ctx, const char *path, int flags, struct vfs_file **ret)
{
    int oflags = O_CLOEXEC | (flags & VFS_WRITE ? O_RDWR : O_RDONLY);
    if (flags & VFS_CREATE)
        oflags |= O_CREAT;
    if (flags & VFS_TRUNCATE)
        oflags |= O_TRUNC;
    int fd;
    do
        fd = open(path, oflags, flags & VFS_PRIVATE ? 0600 : 0644);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return rc_of_errno();
    struct stat st;
    if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
        close(fd);
        errno = EISDIR;
        return RC_IO;
    }
    struct vfs_file *f = x_malloc(sizeof(*f));
    f->fd = fd;
    *ret = f;
    return 0;
}

static int64_t posix_read_at(struct vfs_file *f, void *p, size_t n, int64_t at)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, (char *)p + done, n - done, (off_t)(at + (int64_t)done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rc_of_errno();
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int posix_write_at(struct vfs_file *f, const void *p, size_t n, int64_t at)
{
    size_t done = 0;
    while (done < n) {
        ssize_t put = pwrite(f->fd, (const char *)p + done, n - done, (off_t)(at + (int64_t)done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return rc_of_errno();
        if (put == 0) { /* cannot happen for a regular file; never loop on it */
            errno = EIO;
            return RC_IO;
        }
        done += (size_t)put;
    }
    return 0;
}

/* Not repeated on EINTR or anything else: after a failed sync the kernel may have dropped the pages, a second one that
 * succeeds would prove nothing. */
static int posix_sync(struct vfs_file *f)
{
    return fdatasync(f->fd) < 0 ? rc_of_errno() : 0;
}

/* An error is final here as well: the kernel tells it once, and the sync to come might not hear of it again. */
static int posix_write_back(struct vfs_file *f, int64_t at, int64_t n)
{
    unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(f->fd, (off_t)at, (off_t)n, how) < 0 && errno != ENOSYS && errno != EINVAL)
        return rc_of_errno();
    return 0;
}

static int posix_truncate(struct vfs_file *f, int64_t size)
{
    int r;
    do
        r = ftruncate(f->fd, (off_t)size);
    while (r < 0 && errno == EINTR);
    return r < 0 ? rc_of_errno() : 0;
}

static int64_t posix_size(struct vfs_file *f)
{
    struct stat st;
    return fstat(f->fd, &st) < 0 ? rc_of_errno() : (int64_t)st.st_size;
}

static int posix_allocate(struct vfs_file *f, int64_t size)
{
    int64_t now = posix_size(f);
    if (now < 0)
        return (int)now;
    if (now >= size)
        return 0;
    int r;
    do
        r = fallocate(f->fd, 0, (off_t)now, (off_t)(size - now));
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return rc_of_errno();
    /* A file system without allocation: a sparse tail, as Apache's server makes it. */
    return posix_write_at(f, "", 1, size - 1);
}

static void posix_close(struct vfs_file *f)
{
    if (!f)
        return;
    close(f->fd); /* what had to be durable was synced before, and checked then */
    free(f);
}

static int posix_rename(void *ctx, const char *from, const char *to)
{
    return rename(from, to) < 0 ? rc_of_errno() : 0;
}

static int posix_remove(void *ctx, const char *path)
{
    return unlink(path) < 0 ? rc_of_errno() : 0;
}

static int posix_mkdir(void *ctx, const char *path)
{
    char *copy = x_strdup(path);
    int rc = 0;
    for (char *p = copy + 1; rc == 0 && *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            rc = rc_of_errno();
        *p = '/';
    }
    if (rc == 0 && mkdir(copy, 0755) < 0 && errno != EEXIST)
        rc = rc_of_errno();
    free(copy);
    return rc;
}

static int posix_sync_dir(void *ctx, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rc_of_errno();
    int rc = 0;
    if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: this file system does not sync directories */
        rc = rc_of_errno();
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

static int posix_list(void *ctx, const char *path, void (*fn)(void *data, const char *name), void *data)
{
    DIR *d = opendir(path);
    if (!d)
        return rc_of_errno();
    struct dirent *e;
    while (errno = 0, (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fn(data, e->d_name);
    int rc = errno ? rc_of_errno() : 0;
    closedir(d);
    return rc;
}

static void posix_take_owner(void *ctx, const char *path, const char *like)
{
    struct stat st, own;

    (void)ctx;
    if (stat(like, &st) != 0 || stat(path, &own) != 0)
        return;
    bool same = own.st_uid == st.st_uid && own.st_gid == st.st_gid;
    if (same || chown(path, st.st_uid, st.st_gid) == 0)
        (void)chmod(path, st.st_mode & 0777); /* else it stays private */
}

static char *posix_absolute(void *ctx, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == path ? x_strdup("/") : slash ? x_strndup(path, (size_t)(slash - path)) : x_strdup(".");
    char *real = realpath(dir, NULL);

    (void)ctx;
    char *ret = real ? x_asprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, slash ? slash + 1 : path) : x_strdup(path);
    free(dir);
    free(real);
    return ret;
}

const struct vfs *vfs_posix(void)
{
    static const struct vfs v = {
        .open = posix_open_file,
        .read_at = posix_read_at,
        .write_at = posix_write_at,
        .sync = posix_sync,
        .truncate = posix_truncate,
        .write_back = posix_write_back,
        .allocate = posix_allocate,
        .size = posix_size,
        .close = posix_close,
        .rename = posix_rename,
        .remove = posix_remove,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .take_owner = posix_take_owner,
        .absolute = posix_absolute,
    };
    return &v;
}
