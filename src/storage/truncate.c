/* truncate.c - cutting history off: what a leader orders with TRUNC, and what a snapshot from it replaces.
 *
 * First it is made sure that what stays can be recovered; only then is anything removed, from the end
 * backwards, each step durable before the next: later log files, the rest of the file that holds the last
 * record to stay, later snapshots. So at every moment the directory stands for a beginning of the old
 * history: to the last log, to a snapshot, to the target. Snapshots go last since a log that follows one
 * received from a leader cannot be read without it. */
#include "storage_internal.h"

#include "base/relapse.h"

/* Removes files named behind zxid, the newest first. */
static int remove_behind(const struct vfs *vfs, const char *dir, bool logs, int64_t zxid,
                         struct storage_error *err)
{
    struct zxid_files l;
    int rc = storage_list(vfs, dir, logs, &l, err);
    if (rc < 0)
        return rc;
    for (size_t i = l.len; i-- > 0 && l.items[i].zxid > zxid && rc == 0;) {
        rc = vfs->remove(vfs->ctx, l.items[i].path);
        if (rc < 0) {
            storage_fail_io(err, rc, "remove", l.items[i].path);
            break;
        }
        rc = vfs->sync_dir(vfs->ctx, dir);
        if (rc < 0)
            storage_fail_io(err, rc, "sync", dir);
    }
    zxid_files_free(&l);
    return rc;
}

/* Where the records up to zxid end: at a later one, or where no record can be read any more. */
static int find_cut(const struct storage_config *cfg, const char *path, int64_t zxid, int64_t *ret_pos,
                    int64_t *ret_size, struct storage_error *err)
{
    struct log_file l;
    int rc = log_file_open(cfg, path, &l, err);
    if (rc < 0)
        return rc;
    struct txn_header h;
    struct buf txn;
    int64_t pos = 0;
    while ((rc = log_file_next(&l, &h, &txn, err)) > 0 && h.zxid <= zxid)
        pos = l.pos;
    *ret_pos = pos;
    *ret_size = l.size;
    log_file_close(&l);
    return MIN(rc, 0);
}

/* Cuts the last log; one without a record to stay is removed. */
static int cut_last(const struct storage_config *cfg, const char *dir, int64_t zxid,
                    struct storage_error *err)
{
    const struct vfs *vfs = cfg->vfs;
    struct zxid_files logs;
    int rc = storage_list(vfs, dir, true, &logs, err);
    if (rc < 0)
        return rc;
    int64_t pos = 0, size = 0;
    const char *path = logs.len > 0 ? logs.items[logs.len - 1].path : NULL;
    if (path)
        rc = find_cut(cfg, path, zxid, &pos, &size, err);
    if (path && rc == 0 && pos == 0) {
        rc = remove_behind(vfs, dir, true, logs.items[logs.len - 1].zxid - 1, err);
    } else if (path && rc == 0 && pos < size) {
        struct vfs_file *f;
        rc = vfs->open(vfs->ctx, path, VFS_WRITE, &f);
        if (rc == 0) {
            rc = vfs->truncate(f, pos);
            if (rc == 0)
                rc = vfs->sync(f);
            vfs->close(f);
        }
        if (rc < 0)
            storage_fail_io(err, rc, "cut", path);
    }
    zxid_files_free(&logs);
    return rc;
}

/* Keeps records up to zxid and snapshots up to snapshot_zxid. */
static int cut_history(const struct storage_config *cfg, int64_t zxid, int64_t snapshot_zxid,
                       struct storage_error *err)
{
    char *snap_dir = storage_dir(cfg, false), *log_dir = storage_dir(cfg, true);
    int rc = remove_behind(cfg->vfs, log_dir, true, zxid, err);
    if (rc == 0)
        rc = cut_last(cfg, log_dir, zxid, err);
    if (rc == 0 && !relapse(1549))
        rc = remove_behind(cfg->vfs, snap_dir, false, snapshot_zxid, err);
    free(snap_dir);
    free(log_dir);
    return rc;
}

int storage_truncate(const struct storage_config *cfg, int64_t zxid, struct storage_recovered *ret,
                     struct storage_error *err)
{
    struct storage_recovered out;
    int64_t z, bytes;
    int rc = storage_recover_at(cfg, zxid, &out, err);
    if (rc < 0)
        return rc;
    if (out.created) /* the first snapshot was purged long ago: recovery needs one */
        rc = snapshot_write(cfg, out.tree, NULL, &z, &bytes, err);
    if (rc == 0)
        rc = cut_history(cfg, zxid, out.snapshot_zxid,
                         err); /* snapshots not good enough to begin from go, too */
    if (rc == 0) {
        tree_load_settle(out.tree);
        rc = storage_settle_orphans(cfg, out.tree, err);
    }
    if (rc < 0) {
        tree_free(out.tree);
        return rc == RC_NOTFOUND ? RC_IO
                                 : rc; /* a file that vanished meanwhile: no longer "nothing was changed" */
    }
    *ret = out;
    return 0;
}

int storage_replace(const struct storage_config *cfg, struct tree *t, struct storage_error *err)
{
    int64_t zxid, bytes;
    int rc = snapshot_write(cfg, t, NULL, &zxid, &bytes, err);
    if (rc == 0)
        rc = cut_history(cfg, zxid, zxid, err);
    if (rc == 0) {
        /* What the log holds up to zxid may be another history, of transactions that were withdrawn: a leader must not read it to a learner. */
        char *log_dir = storage_dir(cfg, true);
        rc = remove_behind(cfg->vfs, log_dir, true, -1, err);
        free(log_dir);
    }
    return rc;
}
