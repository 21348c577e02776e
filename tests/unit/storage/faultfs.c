/* faultfs.c - see faultfs.h. */
#include "faultfs.h"

#include <errno.h>
#include <stdio.h>

#define SECTOR 512

struct bytes VEC(uint8_t);

struct change { /* one unsynced change of a file */
    enum { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_EXTEND } kind;
    size_t at; /* offset, or the new size */
    struct bytes data;
};

struct inode {
    struct bytes seen, durable;
    struct VEC(struct change) pending;
    struct inode *next;
};

struct name {
    char *path;
    struct inode *inode;
};
struct names VEC(struct name);

struct dir_change { /* one change of a name that is not durable yet: path now means inode, or nothing (NULL) */
    char *path;
    struct inode *inode;
};

struct vfs_file {
    struct faultfs *fs;
    struct inode *inode;
    uint64_t life; /* of the machine when it was opened */
};

struct faultfs {
    struct vfs vfs;
    struct inode *inodes;
    struct names seen, durable;
    struct VEC(struct dir_change) dir_pending;
    uint64_t rng, life;
    int64_t ops, crash_at, no_space_at, sync_error_at;
    bool crashed, lie;
};

uint64_t faultfs_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- bytes and names ---- */

static void bytes_resize(struct bytes *b, size_t n)
{
    if (n > b->len) {
        VEC_RESERVE(b, n);
        memset(b->items + b->len, 0, n - b->len);
    }
    b->len = n;
}

static void bytes_write(struct bytes *b, size_t at, const uint8_t *p, size_t n)
{
    if (n == 0)
        return;
    if (at + n > b->len)
        bytes_resize(b, at + n);
    memcpy(b->items + at, p, n);
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
    to->len = 0;
    bytes_write(to, 0, from->items, from->len);
}

static struct name *names_find(struct names *l, const char *path)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].path, path) == 0)
            return &l->items[i];
    return NULL;
}

static void names_set(struct names *l, const char *path, struct inode *inode)
{
    struct name *n = names_find(l, path);
    if (n && inode) {
        n->inode = inode;
    } else if (n) {
        free(n->path);
        *n = l->items[--l->len];
    } else if (inode) {
        struct name new = { x_strdup(path), inode };
        VEC_PUSH(l, new);
    }
}

static void pending_clear(struct inode *i)
{
    for (size_t k = 0; k < i->pending.len; k++)
        VEC_FREE(&i->pending.items[k].data);
    i->pending.len = 0;
}

static struct inode *inode_new(struct faultfs *fs)
{
    struct inode *i = x_calloc(1, sizeof(*i));
    i->next = fs->inodes; /* freed with the disk: tests are small */
    fs->inodes = i;
    return i;
}

static void change_apply(struct bytes *b, const struct change *c, size_t len)
{
    if (c->kind == CHANGE_WRITE)
        bytes_write(b, c->at, c->data.items, MIN(len, c->data.len));
    else if (c->kind == CHANGE_TRUNCATE || c->at > b->len)
        bytes_resize(b, c->at);
}

static void change_add(struct inode *i, int kind, size_t at, const void *p, size_t n)
{
    struct change c = { .kind = kind, .at = at };
    bytes_write(&c.data, 0, p, n);
    change_apply(&i->seen, &c, n);
    VEC_PUSH(&i->pending, c);
}

/* Counts an operation. False: the power is gone. */
static bool alive(struct faultfs *fs)
{
    if (!fs->crashed && fs->crash_at >= 0 && fs->ops >= fs->crash_at)
        fs->crashed = true;
    fs->ops++;
    errno = EIO; /* for those who report it */
    return !fs->crashed;
}

static bool usable(const struct vfs_file *f)
{
    errno = EIO;
    return !f->fs->crashed && f->life == f->fs->life;
}

static bool fault_due(int64_t *k)
{
    if (*k < 0)
        return false;
    return (*k)-- == 0;
}

static void name_change(struct faultfs *fs, const char *path, struct inode *inode)
{
    names_set(&fs->seen, path, inode);
    struct dir_change c = { x_strdup(path), inode };
    VEC_PUSH(&fs->dir_pending, c);
}

/* ---- the interface ---- */

static int ffs_open(void *ctx, const char *path, int flags, struct vfs_file **ret)
{
    struct faultfs *fs = ctx;
    if (fs->crashed)
        return RC_IO;
    struct name *n = names_find(&fs->seen, path);
    struct inode *i = n ? n->inode : NULL;
    if (!i && !(flags & VFS_CREATE))
        return RC_NOTFOUND;
    if (!i) {
        if (!alive(fs))
            return RC_IO;
        i = inode_new(fs);
        name_change(fs, path, i);
    } else if ((flags & VFS_TRUNCATE) && i->seen.len > 0) {
        if (!alive(fs))
            return RC_IO;
        change_add(i, CHANGE_TRUNCATE, 0, NULL, 0);
    }
    struct vfs_file *f = x_calloc(1, sizeof(*f));
    *f = (struct vfs_file){ fs, i, fs->life };
    *ret = f;
    return 0;
}

static int64_t ffs_read_at(struct vfs_file *f, void *p, size_t n, int64_t at)
{
    if (!usable(f))
        return RC_IO;
    const struct bytes *b = &f->inode->seen;
    if ((uint64_t)at >= b->len)
        return 0;
    n = MIN(n, b->len - (size_t)at);
    if (n > 0)
        memcpy(p, b->items + at, n);
    return (int64_t)n;
}

static int ffs_write_at(struct vfs_file *f, const void *p, size_t n, int64_t at)
{
    if (!usable(f))
        return RC_IO;
    if (!alive(f->fs)) { /* the power goes in the middle of this write: it is one of the unsynced ones */
        change_add(f->inode, CHANGE_WRITE, (size_t)at, p, n);
        return RC_IO;
    }
    bool full = fault_due(&f->fs->no_space_at);
    change_add(f->inode, CHANGE_WRITE, (size_t)at, p, full ? n / 2 : n);
    return full ? RC_NOSPACE : 0;
}

static int ffs_allocate(struct vfs_file *f, int64_t size)
{
    if (!usable(f) || !alive(f->fs))
        return RC_IO;
    if (fault_due(&f->fs->no_space_at))
        return RC_NOSPACE;
    if ((size_t)size > f->inode->seen.len)
        change_add(f->inode, CHANGE_EXTEND, (size_t)size, NULL, 0);
    return 0;
}

static int ffs_truncate(struct vfs_file *f, int64_t size)
{
    if (!usable(f) || !alive(f->fs))
        return RC_IO;
    change_add(f->inode, CHANGE_TRUNCATE, (size_t)size, NULL, 0);
    return 0;
}

static int ffs_sync(struct vfs_file *f)
{
    if (!usable(f) || !alive(f->fs))
        return RC_IO;
    if (f->fs->lie)
        return 0;
    if (fault_due(&f->fs->sync_error_at)) {
        pending_clear(f->inode); /* the pages count as clean now; the platter never gets them */
        return RC_IO;
    }
    bytes_copy(&f->inode->durable, &f->inode->seen);
    pending_clear(f->inode);
    return 0;
}

static int64_t ffs_size(struct vfs_file *f)
{
    return usable(f) ? (int64_t)f->inode->seen.len : RC_IO;
}

static void ffs_close(struct vfs_file *f)
{
    free(f);
}

static int ffs_rename(void *ctx, const char *from, const char *to)
{
    struct faultfs *fs = ctx;
    if (!alive(fs))
        return RC_IO;
    struct name *n = names_find(&fs->seen, from);
    if (!n)
        return RC_NOTFOUND;
    struct inode *i = n->inode;
    name_change(fs, to, i);
    name_change(fs, from, NULL);
    return 0;
}

static int ffs_remove(void *ctx, const char *path)
{
    struct faultfs *fs = ctx;
    if (fs->crashed)
        return RC_IO;
    if (!names_find(&fs->seen, path))
        return RC_NOTFOUND;
    if (!alive(fs))
        return RC_IO;
    name_change(fs, path, NULL);
    return 0;
}

static int ffs_mkdir(void *ctx, const char *path)
{
    return ((struct faultfs *)ctx)->crashed ? RC_IO : 0;
}

static const char *in_dir(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/') ? path + n + 1 : NULL;
}

static int ffs_sync_dir(void *ctx, const char *path)
{
    struct faultfs *fs = ctx;
    if (!alive(fs))
        return RC_IO;
    if (fs->lie)
        return 0;
    size_t kept = 0;
    for (size_t i = 0; i < fs->dir_pending.len; i++) {
        struct dir_change *c = &fs->dir_pending.items[i];
        if (!in_dir(c->path, path)) {
            fs->dir_pending.items[kept++] = *c;
            continue;
        }
        names_set(&fs->durable, c->path, c->inode);
        free(c->path);
    }
    fs->dir_pending.len = kept;
    return 0;
}

static int ffs_list(void *ctx, const char *path, void (*fn)(void *data, const char *name), void *data)
{
    struct faultfs *fs = ctx;
    if (fs->crashed)
        return RC_IO;
    for (size_t i = 0; i < fs->seen.len; i++) {
        const char *name = in_dir(fs->seen.items[i].path, path);
        if (name)
            fn(data, name);
    }
    return 0;
}

/* ---- the machine ---- */

struct faultfs *faultfs_new(uint64_t seed)
{
    struct faultfs *fs = x_calloc(1, sizeof(*fs));
    fs->vfs = (struct vfs){
        .ctx = fs, .open = ffs_open, .read_at = ffs_read_at, .write_at = ffs_write_at, .sync = ffs_sync,
        .truncate = ffs_truncate, .allocate = ffs_allocate, .size = ffs_size, .close = ffs_close, .rename = ffs_rename,
        .remove = ffs_remove, .mkdir = ffs_mkdir, .sync_dir = ffs_sync_dir, .list = ffs_list,
    };
    fs->rng = seed;
    fs->crash_at = fs->no_space_at = fs->sync_error_at = -1;
    return fs;
}

static void names_free(struct names *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i].path);
    VEC_FREE(l);
}

static void dir_pending_clear(struct faultfs *fs)
{
    for (size_t i = 0; i < fs->dir_pending.len; i++)
        free(fs->dir_pending.items[i].path);
    fs->dir_pending.len = 0;
}

void faultfs_free(struct faultfs *fs)
{
    for (struct inode *i = fs->inodes, *next; i; i = next) {
        next = i->next;
        pending_clear(i);
        VEC_FREE(&i->pending);
        VEC_FREE(&i->seen);
        VEC_FREE(&i->durable);
        free(i);
    }
    names_free(&fs->seen);
    names_free(&fs->durable);
    dir_pending_clear(fs);
    VEC_FREE(&fs->dir_pending);
    free(fs);
}

const struct vfs *faultfs_vfs(struct faultfs *fs)
{
    return &fs->vfs;
}
void faultfs_crash_at(struct faultfs *fs, int64_t op)
{
    fs->crash_at = op;
}
void faultfs_no_space_at(struct faultfs *fs, int64_t k)
{
    fs->no_space_at = k;
}
void faultfs_sync_error_at(struct faultfs *fs, int64_t k)
{
    fs->sync_error_at = k;
}
void faultfs_lie(struct faultfs *fs, bool lie)
{
    fs->lie = lie;
}
int64_t faultfs_ops(const struct faultfs *fs)
{
    return fs->ops;
}
bool faultfs_crashed(const struct faultfs *fs)
{
    return fs->crashed;
}

static void survive_prefix(struct faultfs *fs, struct inode *i)
{
    size_t total = 0;
    for (size_t k = 0; k < i->pending.len; k++)
        total += i->pending.items[k].data.len + 1;
    size_t budget = faultfs_random(&fs->rng) % (total + 1);
    for (size_t k = 0; k < i->pending.len && budget > 0; k++) {
        const struct change *c = &i->pending.items[k];
        change_apply(&i->durable, c, budget - 1);
        budget -= MIN(budget, c->data.len + 1);
    }
}

static void survive_sectors(struct faultfs *fs, struct inode *i)
{
    for (size_t k = 0; k < i->pending.len; k++) {
        const struct change *c = &i->pending.items[k];
        if (c->kind != CHANGE_WRITE) {
            if (c->kind == CHANGE_EXTEND || faultfs_random(&fs->rng) % 2)
                change_apply(&i->durable, c, 0);
            continue;
        }
        for (size_t at = 0; at < c->data.len;) {
            size_t n = MIN(SECTOR - (c->at + at) % SECTOR, c->data.len - at);
            if (faultfs_random(&fs->rng) % 2)
                bytes_write(&i->durable, c->at + at, c->data.items + at, n);
            at += n;
        }
    }
}

static void survive(struct faultfs *fs, struct inode *i, enum faultfs_crash_mode mode)
{
    if (mode == FAULTFS_KEEP_ALL)
        bytes_copy(&i->durable, &i->seen);
    else if (mode == FAULTFS_TORN)
        survive_prefix(fs, i);
    else if (mode == FAULTFS_SECTORS)
        survive_sectors(fs, i);
    bytes_copy(&i->seen, &i->durable);
    pending_clear(i);
}

/* Names survive as a journal keeps them: in order, up to some point. */
static void survive_names(struct faultfs *fs, enum faultfs_crash_mode mode)
{
    size_t n = fs->dir_pending.len;
    size_t kept = mode == FAULTFS_LOSE_UNSYNCED ? 0 : mode == FAULTFS_KEEP_ALL ? n : faultfs_random(&fs->rng) % (n + 1);
    for (size_t i = 0; i < kept; i++)
        names_set(&fs->durable, fs->dir_pending.items[i].path, fs->dir_pending.items[i].inode);
    dir_pending_clear(fs);
    names_free(&fs->seen);
    for (size_t i = 0; i < fs->durable.len; i++)
        names_set(&fs->seen, fs->durable.items[i].path, fs->durable.items[i].inode);
}

void faultfs_restart(struct faultfs *fs, enum faultfs_crash_mode mode)
{
    for (struct inode *i = fs->inodes; i; i = i->next)
        survive(fs, i, mode);
    survive_names(fs, mode);
    fs->life++;
    fs->ops = 0;
    fs->crash_at = fs->no_space_at = fs->sync_error_at = -1;
    fs->crashed = fs->lie = false;
}

void faultfs_put(struct faultfs *fs, const char *path, const void *p, size_t n)
{
    struct inode *i = inode_new(fs);
    bytes_write(&i->seen, 0, p, n);
    bytes_write(&i->durable, 0, p, n);
    names_set(&fs->seen, path, i);
    names_set(&fs->durable, path, i);
}

void faultfs_flip(struct faultfs *fs, const char *path, size_t at, uint8_t mask)
{
    struct name *n = names_find(&fs->seen, path);
    ASSERT(n && at < n->inode->seen.len);
    n->inode->seen.items[at] ^= mask;
    bytes_copy(&n->inode->durable, &n->inode->seen);
}

struct buf faultfs_get(struct faultfs *fs, const char *path)
{
    struct name *n = names_find(&fs->seen, path);
    if (!n)
        return (struct buf){ NULL, 0 };
    return buf_of(n->inode->seen.items ? n->inode->seen.items : (const uint8_t *)"", n->inode->seen.len);
}

void faultfs_delete(struct faultfs *fs, const char *path)
{
    names_set(&fs->seen, path, NULL);
    names_set(&fs->durable, path, NULL);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

void faultfs_each(struct faultfs *fs, void (*fn)(void *data, const char *path, struct buf content), void *data)
{
    if (fs->seen.len > 1)
        qsort(fs->seen.items, fs->seen.len, sizeof(*fs->seen.items), by_path);
    for (size_t i = 0; i < fs->seen.len; i++)
        fn(data, fs->seen.items[i].path, faultfs_get(fs, fs->seen.items[i].path));
}
