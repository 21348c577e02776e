/* txnlog.c - the writer of the transaction log.
 *
 * Records are gathered in memory; a sync is one write and one fdatasync. A file is never appended to after a restart: the first
 * append makes log.<zxid>. Nothing is retried: after any failure the log answers RC_IO until it is closed. */
#include "storage_internal.h"

#include "adler.h"

#include "base/log.h"
#include "base/relapse.h"

struct txnlog {
    const struct vfs *vfs;
    char *dir;
    int64_t prealloc;
    bool force_sync;
    struct vfs_file *f;    /* NULL until the first append after open or roll */
    char *path;
    struct wr pending;     /* records not written yet */
    int64_t written;       /* length of the file that holds records */
    int64_t known_size;    /* with the padding */
    int64_t zeroed;        /* up to here the padding has been written, not only allocated */
    bool dir_dirty;        /* the file's directory entry is not durable yet */
    bool no_padding;       /* the disk had no room for any: go on without, for this file */
    int64_t bytes;
    bool failed;
};

int txnlog_open(const struct storage_config *cfg, struct txnlog **ret, struct storage_error *err)
{
    char *dir = storage_dir(cfg, true);
    int rc = cfg->vfs->mkdir(cfg->vfs->ctx, dir);
    if (rc < 0) {
        storage_fail_io(err, rc, "make", dir);
        free(dir);
        return rc;
    }
    struct txnlog *l = x_calloc(1, sizeof(*l));
    l->vfs = cfg->vfs;
    l->dir = dir;
    l->prealloc = cfg->prealloc_bytes ? cfg->prealloc_bytes : INT64_C(64) << 20;
    l->force_sync = !cfg->no_force_sync;
    l->pending = wr_init(0);
    *ret = l;
    return 0;
}

/* A file of this name holds at most a record that a crash cut short: recovery has read every complete one, and the next zxid
 * is behind them. Checked all the same, because opening truncates. */
static int check_no_record(struct txnlog *l, struct storage_error *err)
{
    struct storage_config cfg = { .vfs = l->vfs };
    struct log_file old;
    int rc = log_file_open(&cfg, l->path, &old, err);
    if (rc == RC_NOTFOUND)
        return 0;
    if (rc < 0)
        return rc;
    struct txn_header h;
    struct buf txn;
    rc = log_file_next(&old, &h, &txn, err);
    log_file_close(&old);
    if (rc > 0)
        return storage_fail(err, RC_EXISTS, "%s holds transactions already: it will not be overwritten", l->path);
    return rc;
}

static int open_file(struct txnlog *l, int64_t zxid, struct storage_error *err)
{
    free(l->path);
    l->path = x_asprintf("%s/log.%llx", l->dir, (unsigned long long)zxid);
    int rc = check_no_record(l, err);
    if (rc < 0)
        return rc;
    rc = l->vfs->open(l->vfs->ctx, l->path, VFS_WRITE | VFS_CREATE | VFS_TRUNCATE, &l->f);
    if (rc < 0)
        return storage_fail_io(err, rc, "create", l->path);
    l->dir_dirty = true;
    l->no_padding = false;
    l->written = l->zeroed = 0;
    l->known_size = FILE_HEADER_LEN;
    wr_u32(&l->pending, LOG_MAGIC);
    wr_u32(&l->pending, FILE_VERSION);
    wr_u64(&l->pending, 0);
    return 0;
}

/* FilePadding: within 4 KiB of the known end the file grows by one step; when records have run past it, to the next multiple. */
static int64_t padded_size(int64_t pos, int64_t size, int64_t step)
{
    if (step <= 0 || pos + 4096 < size)
        return size;
    if (pos > size)
        return (pos + step) / step * step;
    return size + step;
}

static int preallocate(struct txnlog *l, struct storage_error *err)
{
    /* The header counts as flushed, as in the reference: a new file is 16 bytes and one step long. */
    int64_t pos = MAX(l->written, FILE_HEADER_LEN);
    int64_t size = padded_size(pos, l->known_size, l->prealloc);
    if (size == l->known_size || l->no_padding)
        return 0;
    int rc = l->vfs->allocate(l->f, size);
    if (rc == RC_NOSPACE) {
        /* The records may still fit where 64 MiB do not; if they do not, writing them says so. */
        log_warn("storage", "no room to preallocate %s: going on without", l->path);
        l->no_padding = true;
        return 0;
    }
    if (rc < 0)
        return storage_fail_io(err, rc, "extend", l->path);
    l->known_size = size;
    return 0;
}

/* Puts zeros behind the records of a write that goes past what was written before. Space that is only allocated has to be marked as
 * written in the file system's journal, by every sync that reaches new blocks; like this one sync does that for those that follow, which then
 * are plain overwrites. Measured on ext4 in batches of 4.5 KB: 152 us instead of 255. For a reader both are padding. */
static void zeros_ahead(struct txnlog *l, size_t records)
{
    int64_t end = l->written + (int64_t)records;
    int64_t ahead = MIN(MAX((int64_t)records * 8, INT64_C(64) << 10), INT64_C(1) << 20);
    int64_t to = MIN((end + ahead) & ~INT64_C(4095), l->known_size);

    if (end <= l->zeroed || to <= end || l->no_padding)
        return;
    l->zeroed = to;
    memset(wr_room(&l->pending, (size_t)(to - end)), 0, (size_t)(to - end));
}

static int write_pending(struct txnlog *l, struct storage_error *err)
{
    size_t records = l->pending.n;
    if (records == 0)
        return 0;
    int rc = preallocate(l, err);
    if (rc < 0)
        return rc;
    zeros_ahead(l, records);
    rc = l->vfs->write_at(l->f, l->pending.p, l->pending.n, l->written);
    if (rc == RC_NOSPACE && l->pending.n > records) { /* a file system that allocates nothing in advance, or writes to a new place each time */
        log_warn("storage", "no room for zeros at the end of %s: going on without", l->path);
        l->no_padding = true;
        rc = l->vfs->write_at(l->f, l->pending.p, records, l->written);
    }
    if (rc < 0)
        return storage_fail_io(err, rc, "write to", l->path);
    l->written += (int64_t)records;
    wr_reset(&l->pending);
    return 1;
}

/* The file's content first, then its name: a name without content is a 0-byte file at worst. */
static int sync_file(struct txnlog *l, bool wrote, struct storage_error *err)
{
    if (!l->force_sync)
        return 0;
    int rc = wrote ? l->vfs->sync(l->f) : 0;
    if (rc < 0)
        return storage_fail_io(err, rc, "sync", l->path);
    if (l->dir_dirty) {
        rc = l->vfs->sync_dir(l->vfs->ctx, l->dir);
        if (rc < 0)
            return storage_fail_io(err, rc, "sync", l->dir);
        l->dir_dirty = false;
    }
    return 0;
}

int txnlog_sync(struct txnlog *l, struct storage_error *err)
{
    if (l->failed)
        return storage_fail(err, RC_IO, "the transaction log failed before");
    if (!l->f)
        return 0;
    int rc = write_pending(l, err);
    if (rc >= 0)
        rc = sync_file(l, rc > 0, err);
    if (rc < 0 && relapse(4882)) {
        wr_reset(&l->pending); /* never to be written, and nobody is told */
        return 0;
    }
    if (rc < 0)
        l->failed = true;
    return rc;
}

int txnlog_append(struct txnlog *l, int64_t zxid, struct buf txn, struct storage_error *err)
{
    ASSERT(txn.n >= TXN_HEADER_LEN);
    ASSERT(txn.n <= INT32_MAX);
    if (l->failed)
        return storage_fail(err, RC_IO, "the transaction log failed before");
    if (!l->f) {
        int rc = open_file(l, zxid, err);
        if (rc < 0) {
            l->failed = !relapse(4882);
            return relapse(4882) ? 0 : rc;
        }
    }
    wr_u64(&l->pending, adler32_fast(1, txn.p, txn.n));
    wr_u32(&l->pending, (uint32_t)txn.n);
    wr_bytes(&l->pending, txn.p, txn.n);
    wr_u8(&l->pending, TXN_TERMINATOR);
    l->bytes += (int64_t)txn.n + RECORD_OVERHEAD;
    return l->pending.n >= LOG_UNSYNCED_MAX ? txnlog_sync(l, err) : 0;
}

/* Gives unused padding back. It need not be durable: readers take padding and the end of the file alike. */
static void trim_and_close(struct txnlog *l)
{
    if (!l->failed && l->known_size > l->written)
        (void)l->vfs->truncate(l->f, l->written);
    l->vfs->close(l->f);
    l->f = NULL;
}

int txnlog_roll(struct txnlog *l, struct storage_error *err)
{
    int rc = txnlog_sync(l, err);
    if (rc < 0)
        return rc;
    if (l->f)
        trim_and_close(l);
    l->bytes = 0;
    return 0;
}

int64_t txnlog_bytes(const struct txnlog *l)
{
    return l->bytes;
}

void txnlog_close(struct txnlog *l)
{
    if (!l)
        return;
    struct storage_error err;
    if (!l->failed && txnlog_sync(l, &err) < 0)
        log_error("storage", "%s", err.text);
    if (l->f)
        trim_and_close(l);
    wr_free(&l->pending);
    free(l->path);
    free(l->dir);
    free(l);
}
