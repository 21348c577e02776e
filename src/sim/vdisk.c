/* vdisk.c - see vdisk.h. */
#include "vdisk.h"

#include <errno.h>

enum { SECTOR = 512, WRITE_US_MAX = 40 };

/* Something that is not durable yet. */
struct change {
    bool resize;        /* to `at`; else a write of n bytes at `at` */
    int64_t at;
    uint8_t *p;
    size_t n;
    int64_t issued_us, durable_us;
};
struct bytes {
    uint8_t *p;
    size_t n, cap;
};
struct inode {
    struct bytes live, durable;
    struct VEC(struct change) pending; /* in order; what is durable goes away when somebody looks */
    uint32_t handles;
    bool marked;
};
struct vfs_file {
    struct vdisk *d;
    struct inode *inode; /* NULL: dead */
};
struct entry {
    char *path;
    struct inode *inode;
};
struct entries VEC(struct entry);
struct name_change {
    char *from, *to; /* to NULL: removed; from NULL: made */
    struct inode *inode;
    int64_t issued_us, durable_us;
};

struct rotten {
    char *path;
    size_t at;
    uint8_t mask;
};

struct vdisk {
    struct vfs vfs;
    struct world *w;
    struct sim_rng rng, crash_rng;
    int64_t now_us;
    int64_t sync_from_us, sync_to_us, stalled_until_us;
    bool full, dead;
    int32_t fail_write, fail_sync, trap;
    void (*trapped)(void *data, int64_t at_us);
    void *trapped_data;
    void (*renamed)(void *data, const char *path, struct buf content, int64_t at_us);
    void *renamed_data;
    uint64_t ops;
    struct VEC(struct rotten) rotten; /* what rotted last */
    struct VEC(struct inode *) inodes;
    struct entries live, durable;
    struct VEC(struct name_change) names;
    struct VEC(struct vfs_file *) handles;
};

/* ---- bytes ---- */

static void bytes_resize(struct bytes *b, size_t n)
{
    if (n > b->cap) {
        b->cap = MAX(n, b->cap * 2);
        b->p = x_realloc(b->p, b->cap);
    }
    if (n > b->n)
        memset(b->p + b->n, 0, n - b->n);
    b->n = n;
}

static void bytes_write(struct bytes *b, const uint8_t *p, size_t n, int64_t at)
{
    if ((size_t)at + n > b->n)
        bytes_resize(b, (size_t)at + n);
    if (n > 0)
        memcpy(b->p + at, p, n);
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
    to->n = 0;
    bytes_resize(to, from->n);
    if (from->n > 0)
        memcpy(to->p, from->p, from->n);
}

static void apply(struct bytes *b, const struct change *c)
{
    if (c->resize)
        bytes_resize(b, (size_t)c->at);
    else
        bytes_write(b, c->p, c->n, c->at);
}

/* ---- names ---- */

static struct entry *find(const struct entries *e, const char *path)
{
    for (size_t i = 0; i < e->len; i++)
        if (strcmp(e->items[i].path, path) == 0)
            return &e->items[i];
    return NULL;
}

static void entry_set(struct entries *e, const char *path, struct inode *inode)
{
    struct entry *old = find(e, path);

    if (old)
        old->inode = inode;
    else
        VEC_PUSH(e, ((struct entry){ x_strdup(path), inode }));
}

static void entry_remove(struct entries *e, const char *path)
{
    struct entry *old = find(e, path);

    if (!old)
        return;
    free(old->path);
    *old = e->items[--e->len];
}

static void entries_free(struct entries *e)
{
    for (size_t i = 0; i < e->len; i++)
        free(e->items[i].path);
    VEC_FREE(e);
}

static void entries_copy(struct entries *to, const struct entries *from)
{
    for (size_t i = 0; i < to->len; i++)
        free(to->items[i].path);
    to->len = 0;
    for (size_t i = 0; i < from->len; i++)
        VEC_PUSH(to, ((struct entry){ x_strdup(from->items[i].path), from->items[i].inode }));
}

static void apply_name(struct entries *e, const struct name_change *c)
{
    if (c->from)
        entry_remove(e, c->from);
    if (c->to)
        entry_set(e, c->to, c->inode);
}

static void name_change_free(struct name_change *c)
{
    free(c->from);
    free(c->to);
}

static void changes_free(struct inode *f, size_t from)
{
    for (size_t i = from; i < f->pending.len; i++)
        free(f->pending.items[i].p);
    f->pending.len = from;
}

static void inode_free(struct inode *f)
{
    changes_free(f, 0);
    VEC_FREE(&f->pending);
    free(f->live.p);
    free(f->durable.p);
    free(f);
}

static void mark(const struct entries *e)
{
    for (size_t i = 0; i < e->len; i++)
        e->items[i].inode->marked = true;
}

/* Frees what no name, no change and no handle leads to. */
static void sweep(struct vdisk *d)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->inodes.len; i++)
        d->inodes.items[i]->marked = d->inodes.items[i]->handles > 0;
    mark(&d->live);
    mark(&d->durable);
    for (size_t i = 0; i < d->names.len; i++)
        d->names.items[i].inode->marked = true;
    for (size_t i = 0; i < d->inodes.len; i++) {
        if (d->inodes.items[i]->marked)
            d->inodes.items[kept++] = d->inodes.items[i];
        else
            inode_free(d->inodes.items[i]);
    }
    d->inodes.len = kept;
}

/* ---- what became durable by a time ---- */

static void settle(struct inode *f, int64_t now_us)
{
    size_t n = 0;

    while (n < f->pending.len && f->pending.items[n].durable_us <= now_us) {
        apply(&f->durable, &f->pending.items[n]);
        free(f->pending.items[n++].p);
    }
    f->pending.len -= n;
    if (n > 0)
        memmove(f->pending.items, f->pending.items + n, f->pending.len * sizeof(*f->pending.items));
}

static void settle_names(struct vdisk *d, int64_t now_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->names.len; i++) {
        struct name_change *c = &d->names.items[i];
        if (c->durable_us > now_us) {
            d->names.items[kept++] = *c;
            continue;
        }
        apply_name(&d->durable, c);
        name_change_free(c);
    }
    d->names.len = kept;
}

/* ---- operations ---- */

static void took(struct vdisk *d, int64_t us)
{
    d->now_us += us;
}

/* Every change of the disk begins here. RC_IO: the disk is no more. */
static int begin(struct vdisk *d)
{
    errno = EIO;
    if (d->dead)
        return RC_IO;
    if (d->trap >= 0 && d->trap-- == 0) {
        d->dead = true;
        d->trapped(d->trapped_data, d->now_us);
        return RC_IO;
    }
    d->ops++;
    took(d, rng_range(&d->rng, 1, WRITE_US_MAX));
    return 0;
}

/* grows: takes room that the file does not have yet. */
static int write_fault(struct vdisk *d, bool grows)
{
    if (d->full && grows) {
        errno = ENOSPC;
        return RC_NOSPACE;
    }
    if (d->fail_write >= 0 && d->fail_write-- == 0) {
        errno = EIO;
        return RC_IO;
    }
    return 0;
}

static void name_changed(struct vdisk *d, const char *from, const char *to, struct inode *inode)
{
    struct name_change c = { x_strdup(from), x_strdup(to), inode, d->now_us, SIM_NEVER };

    apply_name(&d->live, &c);
    VEC_PUSH(&d->names, c);
}

static void changed(struct inode *f, struct change c, int64_t now_us)
{
    c.issued_us = now_us;
    c.durable_us = SIM_NEVER;
    apply(&f->live, &c);
    VEC_PUSH(&f->pending, c);
}

static int disk_open(void *ctx, const char *path, int flags, struct vfs_file **ret)
{
    struct vdisk *d = ctx;
    struct entry *e = find(&d->live, path);
    int rc = 0;

    if (!e && !(flags & VFS_CREATE)) {
        errno = ENOENT;
        return d->dead ? RC_IO : RC_NOTFOUND;
    }
    if (!e || flags & VFS_TRUNCATE)
        rc = begin(d);
    if (rc == 0 && !e)
        rc = write_fault(d, true);
    if (rc < 0)
        return rc;
    if (!e) {
        struct inode *f = x_calloc(1, sizeof(*f));

        VEC_PUSH(&d->inodes, f);
        name_changed(d, NULL, path, f);
        e = find(&d->live, path);
    } else if (flags & VFS_TRUNCATE) {
        changed(e->inode, (struct change){ .resize = true }, d->now_us);
    }
    struct vfs_file *h = x_calloc(1, sizeof(*h));
    h->d = d;
    h->inode = e->inode;
    h->inode->handles++;
    VEC_PUSH(&d->handles, h);
    *ret = h;
    return 0;
}

static int64_t disk_read_at(struct vfs_file *h, void *p, size_t n, int64_t at)
{
    if (!h->inode) {
        errno = EIO;
        return RC_IO;
    }
    const struct bytes *b = &h->inode->live;
    if (at >= (int64_t)b->n)
        return 0;
    n = MIN(n, b->n - (size_t)at);
    memcpy(p, b->p + at, n);
    return (int64_t)n;
}

static int disk_write_at(struct vfs_file *h, const void *p, size_t n, int64_t at)
{
    int rc = begin(h->d);

    if (rc < 0 || !h->inode)
        return RC_IO;
    rc = write_fault(h->d, at + (int64_t)n > (int64_t)h->inode->live.n);
    if (rc < 0)
        n = n / 2; /* a part gets there */
    if (n > 0)
        changed(h->inode, (struct change){ .at = at, .p = x_memdup(p, n), .n = n }, h->d->now_us);
    return rc;
}

/* When a sync that begins now is done. */
static int64_t sync_end(struct vdisk *d)
{
    return MAX(d->now_us, d->stalled_until_us) + rng_skewed(&d->rng, d->sync_from_us, d->sync_to_us);
}

/* The pages are clean for the kernel, and were never written; whether they still show it (`seen`) is luck. A length is the file system's own: it stays
 * in its journal, and is made durable later or not at all with everything else. */
static void lose_writes(struct inode *f, bool seen)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->pending.len; i++) {
        if (f->pending.items[i].resize)
            f->pending.items[kept++] = f->pending.items[i];
        else
            free(f->pending.items[i].p);
    }
    f->pending.len = kept;
    if (seen)
        return;
    bytes_copy(&f->live, &f->durable);
    for (size_t i = 0; i < kept; i++)
        apply(&f->live, &f->pending.items[i]);
}

static int disk_sync(struct vfs_file *h)
{
    struct vdisk *d = h->d;
    struct inode *f = h->inode;
    int rc = begin(d);

    if (rc < 0 || !f)
        return RC_IO;
    settle(f, d->now_us);
    int64_t end = sync_end(d);
    if (d->fail_sync >= 0 && d->fail_sync-- == 0) {
        took(d, end - d->now_us);
        lose_writes(f, rng_chance(&d->rng, 500));
        errno = EIO;
        return RC_IO;
    }
    for (size_t i = 0; i < f->pending.len; i++)
        f->pending.items[i].durable_us = MIN(f->pending.items[i].durable_us, end);
    d->now_us = end;
    return 0;
}

static int disk_truncate(struct vfs_file *h, int64_t size)
{
    int rc = begin(h->d);

    if (rc < 0 || !h->inode)
        return RC_IO;
    rc = write_fault(h->d, size > (int64_t)h->inode->live.n);
    if (rc < 0)
        return rc;
    changed(h->inode, (struct change){ .resize = true, .at = size }, h->d->now_us);
    return 0;
}

static int disk_allocate(struct vfs_file *h, int64_t size)
{
    int rc = begin(h->d);

    if (rc < 0 || !h->inode)
        return RC_IO;
    rc = write_fault(h->d, size > (int64_t)h->inode->live.n);
    if (rc == 0 && size > (int64_t)h->inode->live.n)
        changed(h->inode, (struct change){ .resize = true, .at = size }, h->d->now_us);
    return rc;
}

static int64_t disk_size(struct vfs_file *h)
{
    return h->inode ? (int64_t)h->inode->live.n : RC_IO;
}

static void disk_close(struct vfs_file *h)
{
    struct vdisk *d;

    if (!h)
        return;
    d = h->d;
    if (h->inode)
        h->inode->handles--;
    for (size_t i = 0; i < d->handles.len; i++) {
        if (d->handles.items[i] == h) {
            d->handles.items[i] = d->handles.items[--d->handles.len];
            break;
        }
    }
    free(h);
}

static int disk_rename(void *ctx, const char *from, const char *to)
{
    struct vdisk *d = ctx;
    struct entry *e = find(&d->live, from);
    int rc = begin(d);

    if (rc < 0)
        return rc;
    if (!e) {
        errno = ENOENT;
        return RC_NOTFOUND;
    }
    rc = write_fault(d, false);
    if (rc < 0)
        return rc;
    struct inode *f = e->inode;
    name_changed(d, from, to, f);
    if (d->renamed)
        d->renamed(d->renamed_data, to, buf_of(f->live.p, f->live.n), d->now_us);
    return 0;
}

static int disk_remove(void *ctx, const char *path)
{
    struct vdisk *d = ctx;
    struct entry *e = find(&d->live, path);
    int rc = begin(d);

    if (rc < 0)
        return rc;
    if (!e) {
        errno = ENOENT;
        return RC_NOTFOUND;
    }
    rc = write_fault(d, false);
    if (rc < 0)
        return rc;
    name_changed(d, path, NULL, e->inode);
    settle_names(d, d->w->now_us);
    sweep(d);
    return 0;
}

static int disk_mkdir(void *ctx, const char *path)
{
    struct vdisk *d = ctx;

    (void)path; /* directories are there, and durable */
    return d->dead ? RC_IO : 0;
}

static bool is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return path && strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

static int disk_sync_dir(void *ctx, const char *path)
{
    struct vdisk *d = ctx;
    int rc = begin(d);

    if (rc < 0)
        return rc;
    int64_t end = sync_end(d);
    if (d->fail_sync >= 0 && d->fail_sync-- == 0) {
        d->now_us = end;
        errno = EIO;
        return RC_IO;
    }
    for (size_t i = 0; i < d->names.len; i++)
        if (is_in(d->names.items[i].from, path) || is_in(d->names.items[i].to, path))
            d->names.items[i].durable_us = MIN(d->names.items[i].durable_us, end);
    d->now_us = end;
    return 0;
}

static int disk_list(void *ctx, const char *path, void (*fn)(void *data, const char *name), void *data)
{
    struct vdisk *d = ctx;
    struct VEC(char *) found = { 0 };

    if (d->dead)
        return RC_IO;
    for (size_t i = 0; i < d->live.len; i++)
        if (is_in(d->live.items[i].path, path))
            VEC_PUSH(&found, x_strdup(strrchr(d->live.items[i].path, '/') + 1)); /* fn may change the directory */
    for (size_t i = 0; i < found.len; i++) {
        fn(data, found.items[i]);
        free(found.items[i]);
    }
    VEC_FREE(&found);
    return 0;
}

/* ---- life ---- */

static void reset_faults(struct vdisk *d)
{
    d->fail_write = d->fail_sync = d->trap = -1;
    d->dead = false;
}

struct vdisk *vdisk_new(struct world *w, uint64_t which)
{
    struct vdisk *d = x_calloc(1, sizeof(*d));

    d->w = w;
    d->rng = rng_split(w->seed, RNG_DISK, which);
    d->crash_rng = rng_split(w->seed, RNG_CRASH, which);
    d->vfs = (struct vfs){ .ctx = d, .open = disk_open, .read_at = disk_read_at, .write_at = disk_write_at, .sync = disk_sync,
                           .truncate = disk_truncate, .allocate = disk_allocate, .size = disk_size, .close = disk_close,
                           .rename = disk_rename, .remove = disk_remove, .mkdir = disk_mkdir, .sync_dir = disk_sync_dir,
                           .list = disk_list };
    vdisk_set_speed(d, 150, 4000);
    reset_faults(d);
    return d;
}

static void forget_rot(struct vdisk *d)
{
    for (size_t i = 0; i < d->rotten.len; i++)
        free(d->rotten.items[i].path);
    d->rotten.len = 0;
}

static void forget_all(struct vdisk *d)
{
    for (size_t i = 0; i < d->names.len; i++)
        name_change_free(&d->names.items[i]);
    d->names.len = 0;
    for (size_t i = 0; i < d->handles.len; i++)
        d->handles.items[i]->inode = NULL;
    for (size_t i = 0; i < d->inodes.len; i++)
        inode_free(d->inodes.items[i]);
    d->inodes.len = 0;
    entries_free(&d->live);
    entries_free(&d->durable);
    forget_rot(d);
}

void vdisk_free(struct vdisk *d)
{
    if (!d)
        return;
    forget_all(d);
    VEC_FREE(&d->rotten);
    VEC_FREE(&d->names);
    VEC_FREE(&d->inodes);
    VEC_FREE(&d->handles);
    free(d);
}

void vdisk_wipe(struct vdisk *d)
{
    forget_all(d);
    reset_faults(d);
}

const struct vfs *vdisk_vfs(struct vdisk *d)
{
    return &d->vfs;
}

void vdisk_at(struct vdisk *d, int64_t at_us)
{
    d->now_us = at_us;
}

int64_t vdisk_time(const struct vdisk *d)
{
    return d->now_us;
}

uint64_t vdisk_ops(const struct vdisk *d)
{
    return d->ops;
}

struct buf vdisk_get(struct vdisk *d, const char *path)
{
    struct entry *e = find(&d->live, path);

    return e ? buf_of(e->inode->live.p ? e->inode->live.p : (const uint8_t *)"", e->inode->live.n) : (struct buf){ 0 };
}

void vdisk_put(struct vdisk *d, const char *path, struct buf content)
{
    struct inode *f = x_calloc(1, sizeof(*f));

    bytes_write(&f->live, content.p, content.n, 0);
    bytes_copy(&f->durable, &f->live);
    VEC_PUSH(&d->inodes, f);
    settle_names(d, d->w->now_us);
    entry_set(&d->live, path, f);
    entry_set(&d->durable, path, f);
}

void vdisk_on_renamed(struct vdisk *d, void (*fn)(void *data, const char *path, struct buf content, int64_t at_us), void *data)
{
    d->renamed = fn;
    d->renamed_data = data;
}

/* ---- faults ---- */

void vdisk_set_speed(struct vdisk *d, int64_t from_us, int64_t to_us)
{
    d->sync_from_us = from_us;
    d->sync_to_us = to_us;
}

void vdisk_stall(struct vdisk *d, int64_t until_us)
{
    d->stalled_until_us = until_us;
}

void vdisk_set_full(struct vdisk *d, bool full)
{
    d->full = full;
}

void vdisk_fail_write(struct vdisk *d, int32_t k)
{
    d->fail_write = k;
}

void vdisk_fail_sync(struct vdisk *d, int32_t k)
{
    d->fail_sync = k;
}

void vdisk_trap(struct vdisk *d, int32_t k, void (*fn)(void *data, int64_t at_us), void *data)
{
    d->trap = k;
    d->trapped = fn;
    d->trapped_data = data;
}

void vdisk_die(struct vdisk *d)
{
    d->dead = true;
}

/* ---- crashes ---- */

enum fate { FATE_LOST, FATE_KEPT, FATE_SECTORS, FATE_TORN, FATES };

/* The part of a write that got to the platter. */
static void survive(struct vdisk *d, struct bytes *b, const struct change *c, enum fate fate)
{
    if (fate == FATE_KEPT || (c->resize && rng_chance(&d->crash_rng, 500))) {
        apply(b, c);
        return;
    }
    if (c->resize || fate == FATE_LOST)
        return;
    if (fate == FATE_TORN) {
        bytes_write(b, c->p, (size_t)rng_range(&d->crash_rng, 0, (int64_t)c->n), c->at);
        return;
    }
    for (int64_t s = c->at / SECTOR * SECTOR; s < c->at + (int64_t)c->n; s += SECTOR) {
        int64_t from = MAX(s, c->at), to = MIN(s + SECTOR, c->at + (int64_t)c->n);
        if (rng_chance(&d->crash_rng, 500))
            bytes_write(b, c->p + (from - c->at), (size_t)(to - from), from);
    }
}

static void lose_power(struct vdisk *d, struct inode *f, int64_t at_us)
{
    enum fate fate = (enum fate)rng_range(&d->crash_rng, 0, FATES - 1);

    settle(f, at_us);
    size_t torn = fate == FATE_TORN && f->pending.len > 0 ? (size_t)rng_range(&d->crash_rng, 0, (int64_t)f->pending.len - 1) : SIZE_MAX;
    for (size_t i = 0; i < f->pending.len && f->pending.items[i].issued_us <= at_us && i <= torn; i++)
        survive(d, &f->durable, &f->pending.items[i], fate == FATE_TORN && i < torn ? FATE_KEPT : fate);
    changes_free(f, 0);
    bytes_copy(&f->live, &f->durable);
}

/* What was issued after the end never happened; what was, is in the kernel's hands. */
static void undo_future(struct inode *f, int64_t at_us)
{
    size_t n = 0;

    settle(f, at_us);
    while (n < f->pending.len && f->pending.items[n].issued_us <= at_us)
        f->pending.items[n++].durable_us = SIM_NEVER;
    if (n == f->pending.len)
        return;
    changes_free(f, n);
    bytes_copy(&f->live, &f->durable);
    for (size_t i = 0; i < n; i++)
        apply(&f->live, &f->pending.items[i]);
}

static void crash_names(struct vdisk *d, enum vdisk_crash how, int64_t at_us)
{
    enum fate fate = (enum fate)rng_range(&d->crash_rng, 0, FATES - 1);
    size_t kept = 0, until = (size_t)rng_range(&d->crash_rng, 0, (int64_t)d->names.len);

    settle_names(d, at_us);
    entries_copy(&d->live, &d->durable);
    for (size_t i = 0; i < d->names.len; i++) {
        struct name_change *c = &d->names.items[i];
        bool stays = c->issued_us <= at_us;

        if (stays && how == VDISK_POWER)
            stays = fate == FATE_KEPT || (fate == FATE_TORN && i < until) || (fate == FATE_SECTORS && rng_chance(&d->crash_rng, 500));
        if (stays && c->from && !find(&d->live, c->from))
            stays = false; /* its name was never there */
        if (!stays) {
            name_change_free(c);
            continue;
        }
        apply_name(&d->live, c);
        c->durable_us = SIM_NEVER;
        d->names.items[kept++] = *c;
    }
    d->names.len = kept;
    if (how == VDISK_KILL)
        return;
    for (size_t i = 0; i < d->names.len; i++)
        name_change_free(&d->names.items[i]);
    d->names.len = 0;
    entries_copy(&d->durable, &d->live);
}

void vdisk_crash(struct vdisk *d, enum vdisk_crash how, int64_t at_us)
{
    for (size_t i = 0; i < d->inodes.len; i++) {
        if (how == VDISK_POWER)
            lose_power(d, d->inodes.items[i], at_us);
        else
            undo_future(d->inodes.items[i], at_us);
    }
    crash_names(d, how, at_us);
    for (size_t i = 0; i < d->handles.len; i++) {
        struct vfs_file *h = d->handles.items[i];
        if (h->inode)
            h->inode->handles--;
        h->inode = NULL;
    }
    sweep(d);
    reset_faults(d);
}

struct vdisk *vdisk_clone_crashed(struct vdisk *d, int64_t at_us, uint64_t which)
{
    struct vdisk *c = vdisk_new(d->w, which);

    for (size_t i = 0; i < d->inodes.len; i++) {
        struct inode *from = d->inodes.items[i], *to = x_calloc(1, sizeof(*to));

        bytes_copy(&to->durable, &from->durable);
        bytes_copy(&to->live, &from->live);
        for (size_t k = 0; k < from->pending.len; k++) {
            struct change ch = from->pending.items[k];
            ch.p = ch.p ? x_memdup(ch.p, ch.n) : NULL;
            VEC_PUSH(&to->pending, ch);
        }
        VEC_PUSH(&c->inodes, to);
    }
    for (int live = 0; live < 2; live++) {
        const struct entries *from = live ? &d->live : &d->durable;
        for (size_t i = 0; i < from->len; i++)
            for (size_t k = 0; k < d->inodes.len; k++)
                if (d->inodes.items[k] == from->items[i].inode)
                    entry_set(live ? &c->live : &c->durable, from->items[i].path, c->inodes.items[k]);
    }
    for (size_t i = 0; i < d->names.len; i++) {
        struct name_change ch = d->names.items[i];
        ch.from = x_strdup(ch.from);
        ch.to = x_strdup(ch.to);
        for (size_t k = 0; k < d->inodes.len; k++)
            if (d->inodes.items[k] == d->names.items[i].inode)
                ch.inode = c->inodes.items[k];
        VEC_PUSH(&c->names, ch);
    }
    vdisk_crash(c, VDISK_POWER, at_us);
    return c;
}

/* ---- rot ---- */

static bool may_rot(const struct entry *e)
{
    const char *name = strrchr(e->path, '/') + 1;

    /* Epoch files carry no checksum in this format: nothing could tell. */
    return e->inode->pending.len == 0 && e->inode->handles == 0 && e->inode->live.n > 0 &&
           (strncmp(name, "log.", 4) == 0 || strncmp(name, "snapshot.", 9) == 0);
}

static char *rot_one(struct vdisk *d, struct entry *e, struct sim_rng *r)
{
    size_t used = e->inode->live.n;

    while (used > 1 && e->inode->live.p[used - 1] == 0)
        used--; /* padding says nothing */
    if (used > SECTOR && strstr(e->path, "snapshot."))
        used -= 64; /* a snapshot without its end looks like one that a crash interrupted (in Apache's servers, which do not sync them) */
    size_t at = rng_u64(r) % used;
    uint8_t mask = (uint8_t)(1u << rng_u64(r) % 8);
    e->inode->live.p[at] ^= mask;
    if (at < e->inode->durable.n)
        e->inode->durable.p[at] = e->inode->live.p[at];
    VEC_PUSH(&d->rotten, ((struct rotten){ x_strdup(e->path), at, mask }));
    return x_asprintf("byte %zu of %s", at, e->path);
}

bool vdisk_rot(struct vdisk *d, struct sim_rng *r, const char *of, char **ret_what)
{
    struct VEC(struct entry *) can = { 0 };

    for (size_t i = 0; i < d->inodes.len; i++)
        settle(d->inodes.items[i], d->w->now_us);
    settle_names(d, d->w->now_us);
    forget_rot(d);
    for (size_t i = 0; i < d->live.len; i++)
        if (may_rot(&d->live.items[i]) && (!of || strstr(d->live.items[i].path, of)))
            VEC_PUSH(&can, &d->live.items[i]);
    bool found = can.len > 0;
    if (found && of) {
        for (size_t i = 0; i < can.len; i++)
            free(rot_one(d, can.items[i], r));
        *ret_what = x_asprintf("a byte in each of %zu files %s*", can.len, of);
    } else if (found) {
        *ret_what = rot_one(d, can.items[rng_u64(r) % can.len], r);
    }
    VEC_FREE(&can);
    return found;
}

void vdisk_mend(struct vdisk *d)
{
    for (size_t i = 0; i < d->rotten.len; i++) {
        const struct rotten *r = &d->rotten.items[i];
        struct entry *e = find(&d->live, r->path);

        if (e && r->at < e->inode->live.n)
            e->inode->live.p[r->at] ^= r->mask;
        if (e && r->at < e->inode->durable.n)
            e->inode->durable.p[r->at] ^= r->mask;
    }
    forget_rot(d);
}
