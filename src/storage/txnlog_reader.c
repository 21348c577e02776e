/* txnlog_reader.c - all records from a zxid on, over all files of the log directory. */
#include "storage_internal.h"

struct txnlog_reader {
    const struct storage_config *cfg; /* its strings are the caller's; copied by value below */
    struct storage_config copy;
    struct zxid_files files;
    size_t next;          /* index of the next file to open */
    bool open;
    struct log_file file;
    int64_t from;
};

int txnlog_reader_open(const struct storage_config *cfg, int64_t from_zxid, struct txnlog_reader **ret,
                       struct storage_error *err)
{
    char *dir = storage_dir(cfg, true);
    struct zxid_files files;
    int rc = storage_list(cfg->vfs, dir, true, &files, err);
    free(dir);
    if (rc < 0)
        return rc;
    struct txnlog_reader *r = x_calloc(1, sizeof(*r));
    r->copy = *cfg;
    r->cfg = &r->copy;
    r->files = files;
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
            if (ret_header->zxid >= r->from)
                return 1;
            continue;
        }
        /* A torn end is an end, as for the reference: the server may be writing this very record. */
        if (r->file.end == LOG_END_CORRUPT)
            return storage_fail(err, RC_CORRUPT, "%s: damaged at offset %lld: %s", r->file.path, (long long)r->file.pos,
                                r->file.why);
        log_file_close(&r->file);
        r->open = false;
    }
}

void txnlog_reader_close(struct txnlog_reader *r)
{
    if (!r)
        return;
    if (r->open)
        log_file_close(&r->file);
    zxid_files_free(&r->files);
    free(r);
}
