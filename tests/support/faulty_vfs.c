/* faulty_vfs.c - see faulty_vfs.h. */
#include "faulty_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

struct disk {
    struct vfs vfs;
    char *control;
};

/* vfs_file is opaque to everybody but who made it: a handle of ours around one below. */
struct vfs_file {
    struct disk *disk;
    struct vfs_file *below;
};

enum state { DISK_OK, DISK_FAILS, DISK_FULL, DISK_STALLS };

static enum state look(const struct disk *d)
{
    char text[16] = "";
    int fd = open(d->control, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    static const char *const words[] = { "ok", "fail", "full", "stall" };
    for (int i = 0; i < 4; i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0)
            return (enum state)i;
    return DISK_OK;
}

/* What a change meets. room: it needs some. */
static int meet(const struct disk *d, bool room)
{
    enum state s;

    while ((s = look(d)) == DISK_STALLS)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL); /* the disk's slowness, not a test's waiting */
    if (s == DISK_FAILS)
        errno = EIO;
    if (s == DISK_FULL)
        errno = ENOSPC;
    return s == DISK_FAILS ? RC_IO : s == DISK_FULL && room ? RC_NOSPACE : 0;
}

static const struct vfs *below(void)
{
    return vfs_posix();
}

static int f_open(void *ctx, const char *path, int flags, struct vfs_file **ret)
{
    struct disk *d = ctx;
    struct vfs_file *f;
    int rc = flags & VFS_CREATE ? meet(d, true) : 0;

    if (rc == 0)
        rc = below()->open(below()->ctx, path, flags, &f);
    if (rc < 0)
        return rc;
    *ret = x_calloc(1, sizeof(**ret));
    **ret = (struct vfs_file){ d, f };
    return rc;
}

static int64_t f_read_at(struct vfs_file *f, void *p, size_t n, int64_t at)
{
    return below()->read_at(f->below, p, n, at);
}

static int f_write_at(struct vfs_file *f, const void *p, size_t n, int64_t at)
{
    int rc = meet(f->disk, true);

    return rc < 0 ? rc : below()->write_at(f->below, p, n, at);
}

static int f_sync(struct vfs_file *f)
{
    int rc = meet(f->disk, false);

    return rc < 0 ? rc : below()->sync(f->below);
}

static int f_write_back(struct vfs_file *f, int64_t at, int64_t n)
{
    int rc = meet(f->disk, false);

    return rc < 0 ? rc : below()->write_back(f->below, at, n);
}

static int f_truncate(struct vfs_file *f, int64_t size)
{
    int rc = meet(f->disk, false);

    return rc < 0 ? rc : below()->truncate(f->below, size);
}

static int f_allocate(struct vfs_file *f, int64_t size)
{
    int rc = meet(f->disk, true);

    return rc < 0 ? rc : below()->allocate(f->below, size);
}

static int64_t f_size(struct vfs_file *f)
{
    return below()->size(f->below);
}

static void f_close(struct vfs_file *f)
{
    below()->close(f->below);
    free(f);
}

static int f_rename(void *ctx, const char *from, const char *to)
{
    int rc = meet(ctx, false);

    return rc < 0 ? rc : below()->rename(below()->ctx, from, to);
}

static int f_remove(void *ctx, const char *path)
{
    int rc = meet(ctx, false);

    return rc < 0 ? rc : below()->remove(below()->ctx, path);
}

static int f_mkdir(void *ctx, const char *path)
{
    (void)ctx;
    return below()->mkdir(below()->ctx, path);
}

static int f_sync_dir(void *ctx, const char *path)
{
    int rc = meet(ctx, false);

    return rc < 0 ? rc : below()->sync_dir(below()->ctx, path);
}

static int f_list(void *ctx, const char *path, void (*fn)(void *data, const char *name), void *data)
{
    (void)ctx;
    return below()->list(below()->ctx, path, fn, data);
}

const struct vfs *faulty_vfs_new(const char *control)
{
    struct disk *d = x_calloc(1, sizeof(*d));

    d->control = x_strdup(control);
    d->vfs = (struct vfs){
        .ctx = d,
        .open = f_open,
        .read_at = f_read_at,
        .write_at = f_write_at,
        .sync = f_sync,
        .write_back = f_write_back,
        .truncate = f_truncate,
        .allocate = f_allocate,
        .size = f_size,
        .close = f_close,
        .rename = f_rename,
        .remove = f_remove,
        .mkdir = f_mkdir,
        .sync_dir = f_sync_dir,
        .list = f_list,
    };
    return &d->vfs;
}
