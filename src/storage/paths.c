/* paths.c - names of files and directories, error texts. */
#include "storage_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int storage_fail(struct storage_error *err, int rc, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        if (n < 0 || (size_t)n >= sizeof(err->text)) /* a very long path: say so rather than cut it unseen */
            memcpy(err->text + sizeof(err->text) - 4, "...", 4);
    }
    return rc;
}

int storage_fail_io(struct storage_error *err, int rc, const char *what, const char *path)
{
    /* The rc says more where a disk other than the real one answered. */
    const char *text = rc == RC_IO && errno != 0 ? strerror(errno) : rc == RC_NOSPACE ? "no space left on the disk" : rc_str(rc);
    return storage_fail(err, rc, "cannot %s %s: %s", what, path, text);
}

static const char *top_dir(const struct storage_config *cfg, bool log_dir)
{
    return log_dir && cfg->log_dir ? cfg->log_dir : cfg->data_dir;
}

char *storage_dir(const struct storage_config *cfg, bool log_dir)
{
    return x_asprintf("%s/version-2", top_dir(cfg, log_dir));
}

bool storage_dirs_differ(const struct storage_config *cfg)
{
    return cfg->log_dir && strcmp(cfg->log_dir, cfg->data_dir) != 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads 1 to 16 hexadecimal digits; returns what follows them, or NULL. */
static const char *parse_hex(const char *s, int64_t *ret)
{
    uint64_t v = 0;
    int n = 0;
    for (;; s++, n++) {
        int d = hex_digit(*s);
        if (d < 0)
            break;
        if (n == 16)
            return NULL;
        v = v << 4 | (unsigned)d;
    }
    if (n == 0 || v > INT64_MAX)
        return NULL;
    *ret = (int64_t)v;
    return s;
}

bool log_name_parse(const char *name, int64_t *ret_zxid)
{
    if (strncmp(name, "log.", 4) != 0)
        return false;
    int64_t zxid;
    const char *rest = parse_hex(name + 4, &zxid);
    if (!rest || *rest != 0)
        return false;
    *ret_zxid = zxid;
    return true;
}

bool snap_name_parse(const char *name, int64_t *ret_zxid, enum snap_format *ret_format)
{
    if (strncmp(name, "snapshot.", 9) != 0)
        return false;
    int64_t zxid;
    const char *rest = parse_hex(name + 9, &zxid);
    if (!rest)
        return false;
    if (*rest == 0)
        *ret_format = SNAP_PLAIN;
    else if (strcmp(rest, ".gz") == 0)
        *ret_format = SNAP_GZ;
    else if (strcmp(rest, ".snappy") == 0)
        *ret_format = SNAP_SNAPPY;
    else
        return false;
    *ret_zxid = zxid;
    return true;
}

struct list_ctx {
    const char *dir;
    bool logs;
    struct zxid_files *out;
};

static void list_entry(void *data, const char *name)
{
    struct list_ctx *c = data;
    struct zxid_file f = { .format = SNAP_PLAIN };
    if (c->logs ? !log_name_parse(name, &f.zxid) : !snap_name_parse(name, &f.zxid, &f.format))
        return;
    f.path = x_asprintf("%s/%s", c->dir, name);
    VEC_PUSH(c->out, f);
}

static int by_zxid(const void *pa, const void *pb)
{
    const struct zxid_file *a = pa, *b = pb;
    if (a->zxid != b->zxid)
        return a->zxid < b->zxid ? -1 : 1;
    return strcmp(a->path, b->path);
}

int storage_list(const struct vfs *vfs, const char *dir, bool logs, struct zxid_files *ret, struct storage_error *err)
{
    struct zxid_files l = { 0 };
    struct list_ctx c = { dir, logs, &l };
    int rc = vfs->list(vfs->ctx, dir, list_entry, &c);
    if (rc < 0 && rc != RC_NOTFOUND) {
        zxid_files_free(&l);
        return storage_fail_io(err, rc, "list", dir);
    }
    if (l.len > 1)
        qsort(l.items, l.len, sizeof(*l.items), by_zxid);
    *ret = l;
    return 0;
}

void zxid_files_free(struct zxid_files *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i].path);
    VEC_FREE(l);
}

size_t storage_first_log(const struct zxid_files *logs, int64_t zxid)
{
    size_t first = 0;
    for (size_t i = 0; i < logs->len && logs->items[i].zxid <= zxid; i++)
        first = i;
    return first;
}

static int64_t file_size(const struct vfs *vfs, const char *path)
{
    struct vfs_file *f;
    if (vfs->open(vfs->ctx, path, VFS_READ, &f) < 0)
        return 0; /* removed since it was listed, or a directory: nothing that we count */
    int64_t n = vfs->size(f);
    vfs->close(f);
    return MAX(n, 0);
}

struct size_ctx {
    const struct vfs *vfs;
    const char *dir;
    int64_t total;
};

static void size_entry(void *data, const char *name)
{
    struct size_ctx *c = data;
    char *path = x_asprintf("%s/%s", c->dir, name);
    c->total += file_size(c->vfs, path);
    free(path);
}

int64_t storage_dir_size(const struct storage_config *cfg, bool log_dir)
{
    char *dir = storage_dir(cfg, log_dir);
    struct size_ctx c = { cfg->vfs, dir, 0 };
    int rc = cfg->vfs->list(cfg->vfs->ctx, dir, size_entry, &c);
    free(dir);
    return rc < 0 ? 0 : c.total;
}
