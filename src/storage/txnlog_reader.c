/* txnlog_reader.c - all records from a zxid on, over all files of the log directory. */
#include "storage_internal.h"

struct txnlog_reader {
    const struct storage_config *cfg; /* its strings are the caller's; copied by value below */
    struct storage_config copy;
    struct zxid_files files, snaps;
    size_t next;          /* index of the next file to open */
    bool open;
    struct log_file file;
    int64_t from;
    int64_t last;         /* given; -1: none yet */
    bool joined;
};

/* Within an epoch the counter tells. A new epoch begins at counter 1, behind any transaction of an older one, and here a snapshot may tell: one that came from a leader,
 * in place of transactions that this server never logged, stands between them. Apache's servers keep the log from before such a snapshot, and so does a
 * crash between storing the snapshot and removing that log. (A snapshot of our own can stand there too, made before an epoch's first transaction;
 * taking it for a gap costs a little history.) */
bool log_follows(const struct zxid_files *snaps, int64_t prev, int64_t next)
{
    if (next == prev + 1)
        return true;
    if (next >> 32 <= prev >> 32 || (uint32_t)next != 1)
        return false;
    for (size_t i = 0; snaps && i < snaps->len; i++)
        if (snaps->items[i].zxid > prev && snaps->items[i].zxid < next)
            return false;
    return true;
}

int txnlog_reader_open(const struct storage_config *cfg, int64_t from_zxid, struct txnlog_reader **ret,
                       struct storage_error *err)
{
    char *log_dir = storage_dir(cfg, true), *snap_dir = storage_dir(cfg, false);
    struct zxid_files files = { 0 }, snaps = { 0 };
    int rc = storage_list(cfg->vfs, log_dir, true, &files, err);
    if (rc == 0)
        rc = storage_list(cfg->vfs, snap_dir, false, &snaps, err);
    free(log_dir);
    free(snap_dir);
    if (rc < 0) {
        zxid_files_free(&files);
        zxid_files_free(&snaps);
        return rc;
    }
    struct txnlog_reader *r = x_calloc(1, sizeof(*r));
    r->copy = *cfg;
    r->cfg = &r->copy;
    r->files = files;
    r->snaps = snaps;
    r->last = -1;
    r->from = from_zxid;
    r->next = storage_first_log(&files, from_zxid);
    *ret = r;
    return 0;
}

/* 1: a file is open; 0: there is none left. */
static int open_next(struct txnlog_reader *r, struct storage_error *err)
{
    while (!r->open && r->next < r->files.len) {
        int rc = log_file_open(r->cfg, r->files.items[r->next++].path, &r->file, err);
        if (rc == RC_NOTFOUND) /* purged since it was listed */
            continue;
        if (rc < 0)
            return rc;
        r->open = true;
    }
    return r->open;
}

int txnlog_reader_next(struct txnlog_reader *r, struct txn_header *ret_header, struct buf *ret_txn, struct storage_error *err)
{
    for (;;) {
        int rc = open_next(r, err);
        if (rc <= 0)
            return rc;
        rc = log_file_next(&r->file, ret_header, ret_txn, err);
        if (rc < 0)
            return rc;
        if (rc > 0) {
            if (ret_header->zxid < r->from)
                continue;
            r->joined = r->last < 0 ? ret_header->zxid == r->from : r->joined && log_follows(&r->snaps, r->last, ret_header->zxid);
            r->last = ret_header->zxid;
            return 1;
        }
        /* A torn end is an end, as for the reference: the server may be writing this very record. */
        if (r->file.end == LOG_END_CORRUPT)
            return storage_fail(err, RC_CORRUPT, "%s: damaged at offset %lld: %s", r->file.path, (long long)r->file.pos,
                                r->file.why);
        log_file_close(&r->file);
        r->open = false;
    }
}

bool txnlog_reader_joined(const struct txnlog_reader *r)
{
    return r->joined;
}

void txnlog_reader_close(struct txnlog_reader *r)
{
    if (!r)
        return;
    if (r->open)
        log_file_close(&r->file);
    zxid_files_free(&r->files);
    zxid_files_free(&r->snaps);
    free(r);
}
