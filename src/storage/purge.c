/* purge.c - retention. */
#include "storage_internal.h"

/* The zxid of the oldest snapshot to keep: the `retain` newest that look valid count, damaged ones do not. -1: keep
 * everything. */
static int64_t oldest_kept(const struct vfs *vfs, const struct zxid_files *snaps, int retain)
{
    int64_t zxid = -1;
    int found = 0;
    for (size_t i = snaps->len; i-- > 0 && found < retain;) {
        if (!snap_looks_valid(vfs, &snaps->items[i]))
            continue;
        zxid = snaps->items[i].zxid;
        found++;
    }
    return found == retain ? zxid : -1;
}

static int remove_files(const struct vfs *vfs, const struct zxid_files *l, size_t count, const char *dir,
                        struct storage_error *err)
{
    int removed = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = vfs->remove(vfs->ctx, l->items[i].path);
        if (rc < 0 && rc != RC_NOTFOUND)
            return storage_fail_io(err, rc, "remove", l->items[i].path);
        removed += rc == 0;
    }
    int rc = removed > 0 ? vfs->sync_dir(vfs->ctx, dir) : 0;
    return rc < 0 ? storage_fail_io(err, rc, "sync", dir) : removed;
}

int storage_purge(const struct storage_config *cfg, int retain, struct storage_error *err)
{
    ASSERT(retain >= 1);
    char *snap_dir = storage_dir(cfg, false), *log_dir = storage_dir(cfg, true);
    struct zxid_files snaps = { 0 }, logs = { 0 };
    int removed = 0;
    int rc = storage_list(cfg->vfs, snap_dir, false, &snaps, err);
    if (rc == 0)
        rc = storage_list(cfg->vfs, log_dir, true, &logs, err);
    int64_t keep = rc == 0 ? oldest_kept(cfg->vfs, &snaps, retain) : -1;
    if (keep >= 0) {
        size_t old = 0;
        while (old < snaps.len && snaps.items[old].zxid < keep)
            old++;
        /* Snapshots go first, durably: one must never be left without the log behind it. */
        rc = remove_files(cfg->vfs, &snaps, old, snap_dir, err);
        if (rc >= 0) {
            removed = rc;
            rc = remove_files(cfg->vfs, &logs, storage_first_log(&logs, keep), log_dir, err);
        }
        if (rc >= 0)
            removed += rc;
    }
    zxid_files_free(&snaps);
    zxid_files_free(&logs);
    free(snap_dir);
    free(log_dir);
    return rc < 0 ? rc : removed;
}
