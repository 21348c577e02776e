/* volatile_vfs.c - see volatile_vfs.h. */
#include "volatile_vfs.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define HIDDEN ".volatile."

struct change {
    enum { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_EXTEND } kind;
    int64_t at; /* offset, or the new size */
    uint8_t *p;
    size_t n;
};

struct inode {
    char *below; /* its name in the file system below */
    struct vfs_file *f; /* open while somebody needs it */
    bool writable;
    int handles;
    struct VEC(struct change) pending;
    struct inode *next; /* of all */
};

struct entry { /* what a path means here, where that differs from below; inode NULL: nothing */
    char *path;
    struct inode *inode;
};

struct name_change {
    char *path;
    struct inode *inode;
};

struct vfs_file {
    struct disk *disk;
    struct inode *inode;
};

struct disk {
    struct vfs vfs;
    const struct vfs *below;
    bool lie;
    pthread_mutex_t lock;
    struct VEC(struct entry) entries;
    struct VEC(struct name_change) names; /* not durable yet */
    struct inode *inodes;
    unsigned hidden;
};

static struct entry *find(struct disk *d, const char *path)
{
    for (size_t i = 0; i < d->entries.len; i++)
        if (strcmp(d->entries.items[i].path, path) == 0)
            return &d->entries.items[i];
    return NULL;
}

static void set_entry(struct disk *d, const char *path, struct inode *inode)
{
    struct entry *e = find(d, path);
    if (e) {
        e->inode = inode;
        return;
    }
    struct entry new = { x_strdup(path), inode };
    VEC_PUSH(&d->entries, new);
}

static void change_name(struct disk *d, const char *path, struct inode *inode)
{
    set_entry(d, path, inode);
    struct name_change c = { x_strdup(path), inode };
    VEC_PUSH(&d->names, c);
}

static int open_below(struct disk *d, struct inode *i, int flags)
{
    if (i->f)
        return 0;
    int rc = d->below->open(d->below->ctx, i->below, VFS_WRITE | flags, &i->f);
    i->writable = rc == 0;
    if (rc == RC_DENIED)
        rc = d->below->open(d->below->ctx, i->below, VFS_READ, &i->f);
    return rc;
}

static void release(struct disk *d, struct inode *i)
{
    if (i->f && i->handles == 0 && i->pending.len == 0) {
        d->below->close(i->f);
        i->f = NULL;
    }
}

static void keep(struct disk *d, struct inode *i)
{
    i->next = d->inodes;
    d->inodes = i;
}

/* The inode of a path; *ret NULL when there is no such file. */
static int lookup(struct disk *d, const char *path, struct inode **ret)
{
    struct entry *e = find(d, path);
    if (e) {
        *ret = e->inode;
        return e->inode ? open_below(d, e->inode, 0) : 0;
    }
    struct inode *i = x_calloc(1, sizeof(*i));
    i->below = x_strdup(path);
    int rc = open_below(d, i, 0);
    if (rc < 0) {
        free(i->below);
        free(i);
        *ret = NULL;
        return rc == RC_NOTFOUND ? 0 : rc;
    }
    keep(d, i);
    set_entry(d, path, i);
    *ret = i;
    return 0;
}

static char *hidden_name(struct disk *d, const char *path)
{
    const char *slash = strrchr(path, '/');
    int dir = slash ? (int)(slash - path) + 1 : 0;
    return x_asprintf("%.*s" HIDDEN "%d.%u", dir, path, (int)getpid(), d->hidden++);
}

static int create(struct disk *d, const char *path, struct inode **ret)
{
    struct inode *i = x_calloc(1, sizeof(*i));
    i->below = hidden_name(d, path);
    int rc = open_below(d, i, VFS_CREATE | VFS_TRUNCATE);
    if (rc < 0) {
        free(i->below);
        free(i);
        return rc;
    }
    keep(d, i);
    change_name(d, path, i);
    *ret = i;
    return 0;
}

static void add_change(struct inode *i, int kind, int64_t at, const void *p, size_t n)
{
    struct change c = { .kind = kind, .at = at, .p = n ? x_memdup(p, n) : NULL, .n = n };
    VEC_PUSH(&i->pending, c);
}

static int64_t size_of(struct disk *d, struct inode *i)
{
    int64_t size = d->below->size(i->f);
    for (size_t k = 0; k < i->pending.len && size >= 0; k++) {
        const struct change *c = &i->pending.items[k];
        if (c->kind == CHANGE_TRUNCATE)
            size = c->at;
        else
            size = MAX(size, c->at + (int64_t)c->n);
    }
    return size;
}

/* ---- the interface; every function takes the lock ---- */

static int v_open(void *ctx, const char *path, int flags, struct vfs_file **ret)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->lock);
    struct inode *i;
    int rc = lookup(d, path, &i);
    if (rc == 0 && !i)
        rc = flags & VFS_CREATE ? create(d, path, &i) : RC_NOTFOUND;
    if (rc == 0 && (flags & VFS_WRITE) && !i->writable)
        rc = RC_DENIED;
    if (rc == 0) {
        if ((flags & VFS_TRUNCATE) && size_of(d, i) > 0)
            add_change(i, CHANGE_TRUNCATE, 0, NULL, 0);
        i->handles++;
        struct vfs_file *f = x_malloc(sizeof(*f));
        *f = (struct vfs_file){ d, i };
        *ret = f;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static void v_close(struct vfs_file *f)
{
    struct disk *d = f->disk;
    pthread_mutex_lock(&d->lock);
    f->inode->handles--;
    release(d, f->inode);
    pthread_mutex_unlock(&d->lock);
    free(f);
}

static int64_t read_overlaid(struct disk *d, struct inode *i, uint8_t *p, size_t n, int64_t at)
{
    int64_t size = size_of(d, i);
    if (size < 0 || at >= size)
        return MIN(size, 0);
    n = MIN(n, (size_t)(size - at));
    int64_t got = d->below->read_at(i->f, p, n, at);
    if (got < 0)
        return got;
    memset(p + got, 0, n - (size_t)got);
    int64_t end = at + (int64_t)n;
    for (size_t k = 0; k < i->pending.len; k++) {
        const struct change *c = &i->pending.items[k];
        int64_t from = MAX(at, c->at);
        int64_t to = c->kind == CHANGE_WRITE ? MIN(end, c->at + (int64_t)c->n) : end;
        if (c->kind == CHANGE_EXTEND || from >= to)
            continue;
        if (c->kind == CHANGE_WRITE)
            memcpy(p + (from - at), c->p + (from - c->at), (size_t)(to - from));
        else
            memset(p + (from - at), 0, (size_t)(to - from));
    }
    return (int64_t)n;
}

static int64_t v_read_at(struct vfs_file *f, void *p, size_t n, int64_t at)
{
    pthread_mutex_lock(&f->disk->lock);
    int64_t got = read_overlaid(f->disk, f->inode, p, n, at);
    pthread_mutex_unlock(&f->disk->lock);
    return got;
}

static int change_file(struct vfs_file *f, int kind, int64_t at, const void *p, size_t n)
{
    pthread_mutex_lock(&f->disk->lock);
    add_change(f->inode, kind, at, p, n);
    pthread_mutex_unlock(&f->disk->lock);
    return 0;
}

static int v_write_at(struct vfs_file *f, const void *p, size_t n, int64_t at)
{
    return change_file(f, CHANGE_WRITE, at, p, n);
}
static int v_truncate(struct vfs_file *f, int64_t size)
{
    return change_file(f, CHANGE_TRUNCATE, size, NULL, 0);
}
static int v_allocate(struct vfs_file *f, int64_t size)
{
    return change_file(f, CHANGE_EXTEND, size, NULL, 0);
}

static void forget_pending(struct inode *i)
{
    for (size_t k = 0; k < i->pending.len; k++)
        free(i->pending.items[k].p);
    i->pending.len = 0;
}

static int push(struct disk *d, struct inode *i, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_WRITE:
        return d->below->write_at(i->f, c->p, c->n, c->at);
    case CHANGE_TRUNCATE:
        return d->below->truncate(i->f, c->at);
    case CHANGE_EXTEND:
        break;
    }
    return d->below->allocate(i->f, c->at);
}

/* What is pushed survives a kill; the platter below is not asked, since the test does not cut its power. */
static int v_sync(struct vfs_file *f)
{
    struct disk *d = f->disk;
    struct inode *i = f->inode;
    if (d->lie)
        return 0;
    int rc = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t k = 0; k < i->pending.len && rc == 0; k++)
        rc = push(d, i, &i->pending.items[k]);
    forget_pending(i);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int64_t v_size(struct vfs_file *f)
{
    pthread_mutex_lock(&f->disk->lock);
    int64_t n = size_of(f->disk, f->inode);
    pthread_mutex_unlock(&f->disk->lock);
    return n;
}

static int v_rename(void *ctx, const char *from, const char *to)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->lock);
    struct inode *i;
    int rc = lookup(d, from, &i);
    if (rc == 0 && !i)
        rc = RC_NOTFOUND;
    if (rc == 0) {
        change_name(d, to, i);
        change_name(d, from, NULL);
        release(d, i);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int v_remove(void *ctx, const char *path)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->lock);
    struct inode *i;
    int rc = lookup(d, path, &i);
    if (rc == 0 && !i)
        rc = RC_NOTFOUND;
    if (rc == 0) {
        change_name(d, path, NULL);
        release(d, i);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int v_mkdir(void *ctx, const char *path)
{
    struct disk *d = ctx;
    return d->below->mkdir(d->below->ctx, path);
}

static const char *in_dir(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/') ? path + n + 1 : NULL;
}

static int apply_name(struct disk *d, const struct name_change *c)
{
    if (!c->inode) {
        int rc = d->below->remove(d->below->ctx, c->path);
        return rc == RC_NOTFOUND ? 0 : rc; /* renamed away in the same breath */
    }
    int rc = d->below->rename(d->below->ctx, c->inode->below, c->path);
    if (rc == 0) {
        free(c->inode->below);
        c->inode->below = x_strdup(c->path);
    }
    return rc;
}

static int v_sync_dir(void *ctx, const char *path)
{
    struct disk *d = ctx;
    if (d->lie)
        return 0;
    int rc = 0;
    pthread_mutex_lock(&d->lock);
    size_t kept = 0;
    for (size_t k = 0; k < d->names.len; k++) {
        struct name_change *c = &d->names.items[k];
        if (rc != 0 || !in_dir(c->path, path)) {
            d->names.items[kept++] = *c;
            continue;
        }
        rc = apply_name(d, c);
        free(c->path);
    }
    d->names.len = kept;
    pthread_mutex_unlock(&d->lock);
    return rc;
}

struct listing {
    struct disk *d;
    const char *dir;
    struct VEC(char *) names;
};

static void list_below(void *data, const char *name)
{
    struct listing *l = data;
    char *path = x_asprintf("%s/%s", l->dir, name);
    if (strncmp(name, HIDDEN, strlen(HIDDEN)) != 0 && !find(l->d, path))
        VEC_PUSH(&l->names, x_strdup(name));
    free(path);
}

static int v_list(void *ctx, const char *path, void (*fn)(void *data, const char *name), void *data)
{
    struct disk *d = ctx;
    struct listing l = { .d = d, .dir = path };
    pthread_mutex_lock(&d->lock);
    int rc = d->below->list(d->below->ctx, path, list_below, &l);
    for (size_t i = 0; i < d->entries.len && rc == 0; i++) {
        const char *name = in_dir(d->entries.items[i].path, path);
        if (name && d->entries.items[i].inode)
            VEC_PUSH(&l.names, x_strdup(name));
    }
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < l.names.len; i++) {
        if (rc == 0)
            fn(data, l.names.items[i]);
        free(l.names.items[i]);
    }
    VEC_FREE(&l.names);
    return rc;
}

const struct vfs *volatile_vfs_new(const struct vfs *below, bool lie)
{
    struct disk *d = x_calloc(1, sizeof(*d));
    d->vfs = (struct vfs){
        .ctx = d, .open = v_open, .read_at = v_read_at, .write_at = v_write_at, .sync = v_sync, .truncate = v_truncate,
        .allocate = v_allocate, .size = v_size, .close = v_close, .rename = v_rename, .remove = v_remove, .mkdir = v_mkdir,
        .sync_dir = v_sync_dir, .list = v_list,
    };
    d->below = below;
    d->lie = lie;
    pthread_mutex_init(&d->lock, NULL);
    return &d->vfs;
}

void volatile_vfs_free(const struct vfs *vfs)
{
    struct disk *d = CONTAINER_OF(vfs, struct disk, vfs);
    for (struct inode *i = d->inodes, *next; i; i = next) {
        next = i->next;
        ASSERT(i->handles == 0);
        if (i->f)
            d->below->close(i->f);
        forget_pending(i);
        VEC_FREE(&i->pending);
        free(i->below);
        free(i);
    }
    for (size_t k = 0; k < d->entries.len; k++)
        free(d->entries.items[k].path);
    for (size_t k = 0; k < d->names.len; k++)
        free(d->names.items[k].path);
    VEC_FREE(&d->entries);
    VEC_FREE(&d->names);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
