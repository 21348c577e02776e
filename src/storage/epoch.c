/* epoch.c - the two epoch files and myid: small texts, read whole, replaced as a whole.
 *
 * currentEpoch.tmp, which the reference uses while it replaces currentEpoch, has a meaning at start: the
 * epoch that a synchronisation cut short was about to enter. So it is only ever whole: all writing is to a
 * third name. */
#include "storage_internal.h"

#include <errno.h>

#include "base/log.h"
#include "base/str.h"

#define TEXT_MAX 64

static const char *const epoch_names[] = {
    [STORAGE_EPOCH_ACCEPTED] = "acceptedEpoch", [STORAGE_EPOCH_CURRENT] = "currentEpoch"};

/* Reads a small text file; *ret is NUL-terminated. RC_NOTFOUND: there is none (err is filled nevertheless).
 */
static int read_text(const struct vfs *vfs, const char *path, char ret[TEXT_MAX + 1],
                     struct storage_error *err)
{
    struct vfs_file *f;
    int rc = vfs->open(vfs->ctx, path, VFS_READ, &f);
    if (rc < 0)
        return storage_fail_io(err, rc, "open", path);
    int64_t got = vfs->read_at(f, ret, TEXT_MAX, 0);
    vfs->close(f);
    if (got < 0)
        return storage_fail_io(err, (int)got, "read", path);
    ret[got] = 0;
    return 0;
}

/* Cuts at the end of the first line, and blanks around it. */
static char *first_line(char *text)
{
    text[strcspn(text, "\r\n")] = 0;
    while (*text == ' ' || *text == '\t')
        text++;
    for (size_t n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
        text[n - 1] = 0;
    return text;
}

static int read_number(const struct vfs *vfs, const char *path, int64_t max, int64_t *ret,
                       struct storage_error *err)
{
    char text[TEXT_MAX + 1];
    int rc = read_text(vfs, path, text, err);
    if (rc < 0)
        return rc;
    char *line = first_line(text);
    if (str_to_i64(line, 0, max, ret) < 0)
        return storage_fail(err, RC_CORRUPT, "%s: '%s' is not a number from 0 to %lld", path, line,
                            (long long)max);
    return 0;
}

struct epoch_paths {
    char *dir, *file, *tmp, *new;
};

static struct epoch_paths paths_of(const struct storage_config *cfg, enum storage_epoch which)
{
    struct epoch_paths p = {.dir = storage_dir(cfg, false)};
    p.file = x_asprintf("%s/%s", p.dir, epoch_names[which]);
    p.tmp = x_asprintf("%s.tmp", p.file);
    p.new = x_asprintf("%s/.%s.new", p.dir, epoch_names[which]);
    return p;
}

static void paths_free(struct epoch_paths *p)
{
    free(p->dir);
    free(p->file);
    free(p->tmp);
    free(p->new);
}

static int write_new(const struct vfs *vfs, const struct epoch_paths *p, int64_t epoch,
                     struct storage_error *err)
{
    struct vfs_file *f;
    int rc = vfs->mkdir(vfs->ctx, p->dir);
    if (rc < 0)
        return storage_fail_io(err, rc, "make", p->dir);
    rc = vfs->open(vfs->ctx, p->new, VFS_WRITE | VFS_CREATE | VFS_TRUNCATE, &f);
    if (rc < 0)
        return storage_fail_io(err, rc, "create", p->new);
    char *text = x_asprintf("%lld", (long long)epoch);
    rc = vfs->write_at(f, text, strlen(text), 0);
    if (rc == 0)
        rc = vfs->sync(f);
    free(text);
    vfs->close(f);
    return rc < 0 ? storage_fail_io(err, rc, "write", p->new) : 0;
}

/* Durably puts `epoch` where `to` says. */
static int replace(const struct vfs *vfs, const struct epoch_paths *p, const char *to, int64_t epoch,
                   struct storage_error *err)
{
    int rc = write_new(vfs, p, epoch, err);
    if (rc < 0)
        return rc;
    rc = vfs->rename(vfs->ctx, p->new, to);
    if (rc < 0)
        return storage_fail_io(err, rc, "rename to", to);
    rc = vfs->sync_dir(vfs->ctx, p->dir);
    return rc < 0 ? storage_fail_io(err, rc, "sync", p->dir) : 0;
}

int storage_epoch_write(const struct storage_config *cfg, enum storage_epoch which, int64_t epoch,
                        struct storage_error *err)
{
    ASSERT(epoch >= 0 && epoch <= STORAGE_EPOCH_MAX);
    struct epoch_paths p = paths_of(cfg, which);
    int rc = replace(cfg->vfs, &p, p.file, epoch, err);
    if (rc == 0)
        (void)cfg->vfs->remove(cfg->vfs->ctx,
                               p.tmp); /* no announcement is open now; usually there was none */
    paths_free(&p);
    return rc;
}

int storage_epoch_announce(const struct storage_config *cfg, int64_t epoch, struct storage_error *err)
{
    ASSERT(epoch >= 0 && epoch <= STORAGE_EPOCH_MAX);
    struct epoch_paths p = paths_of(cfg, STORAGE_EPOCH_CURRENT);
    int rc = replace(cfg->vfs, &p, p.tmp, epoch, err);
    paths_free(&p);
    return rc;
}

/* Reads one file; a missing one is made, with the epoch of the last zxid. */
static int load_one(const struct storage_config *cfg, enum storage_epoch which, int64_t fallback,
                    int64_t *ret, struct storage_error *err)
{
    struct epoch_paths p = paths_of(cfg, which);
    int rc = read_number(cfg->vfs, p.file, STORAGE_EPOCH_MAX, ret, err);
    paths_free(&p);
    if (rc != RC_NOTFOUND)
        return rc;
    rc = storage_epoch_write(cfg, which, fallback, err);
    if (rc == 0)
        *ret = fallback;
    return rc;
}

/* The log or a snapshot is of a later epoch than currentEpoch says. That is a synchronisation cut short by a
 * crash if it was announced; otherwise somebody has put files together that do not belong together. */
static int adopt_announced(const struct storage_config *cfg, int64_t last_zxid, int64_t *current,
                           struct storage_error *err)
{
    int64_t announced, epoch = last_zxid >> 32;
    struct epoch_paths p = paths_of(cfg, STORAGE_EPOCH_CURRENT);
    int rc = read_number(cfg->vfs, p.tmp, STORAGE_EPOCH_MAX, &announced, err);
    if (rc == RC_NOTFOUND)
        storage_fail(err, RC_CORRUPT, "%s says %lld, but the last zxid is 0x%llx, of epoch %lld", p.file,
                     (long long)*current, (unsigned long long)last_zxid, (long long)epoch);
    else if (rc == 0 && announced < epoch)
        rc = storage_fail(err, RC_CORRUPT,
                          "%s says %lld and %s %lld, but the last zxid is 0x%llx, of epoch %lld", p.file,
                          (long long)*current, p.tmp, (long long)announced, (unsigned long long)last_zxid,
                          (long long)epoch);
    paths_free(&p);
    if (rc < 0)
        return rc == RC_NOTFOUND ? RC_CORRUPT : rc;
    log_warn("storage", "a synchronisation was cut short: currentEpoch becomes %lld, was %lld",
             (long long)epoch, (long long)*current);
    rc = storage_epoch_write(cfg, STORAGE_EPOCH_CURRENT, epoch, err);
    if (rc == 0)
        *current = epoch;
    return rc;
}

static void remove_tmp(const struct storage_config *cfg, enum storage_epoch which)
{
    struct epoch_paths p = paths_of(cfg, which);
    (void)cfg->vfs->remove(cfg->vfs->ctx, p.tmp); /* usually there is none */
    (void)cfg->vfs->remove(cfg->vfs->ctx, p.new);
    paths_free(&p);
}

int storage_epochs_load(const struct storage_config *cfg, int64_t last_zxid, struct storage_epochs *ret,
                        struct storage_error *err)
{
    ASSERT(last_zxid >= 0);
    struct storage_epochs e = {0};
    int rc = load_one(cfg, STORAGE_EPOCH_CURRENT, last_zxid >> 32, &e.current, err);
    if (rc == 0 && last_zxid >> 32 > e.current)
        rc = adopt_announced(cfg, last_zxid, &e.current, err);
    if (rc == 0)
        rc = load_one(cfg, STORAGE_EPOCH_ACCEPTED, last_zxid >> 32, &e.accepted, err);
    if (rc == 0 && e.accepted < e.current)
        rc =
            storage_fail(err, RC_CORRUPT, "%s/version-2: acceptedEpoch is %lld, less than currentEpoch, %lld",
                         cfg->data_dir, (long long)e.accepted, (long long)e.current);
    if (rc < 0)
        return rc;
    remove_tmp(cfg, STORAGE_EPOCH_CURRENT);
    remove_tmp(cfg, STORAGE_EPOCH_ACCEPTED);
    *ret = e;
    return 0;
}

int storage_myid(const struct storage_config *cfg, int64_t *ret, struct storage_error *err)
{
    char *path = x_asprintf("%s/myid", cfg->data_dir);
    int rc = read_number(cfg->vfs, path, 255, ret, err);
    if (rc == RC_NOTFOUND)
        storage_fail(err, rc, "%s is missing: it must hold this server's number, 0 to 255", path);
    free(path);
    return rc;
}
