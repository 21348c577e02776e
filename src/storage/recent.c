/* recent.c - the end of the log, for the leader's window of committed transactions, and what lies behind a
 * zxid. */
#include "storage_internal.h"

/* Where a record stands. */
struct place {
    size_t file;
    int64_t at, zxid;
};
struct places VEC(struct place);

/* The last `count` records up to last_zxid of one file, in order. */
static int scan(const struct storage_config *cfg, const char *path, size_t file, int64_t last_zxid,
                size_t count, struct places *ret, struct storage_error *err)
{
    struct log_file l;
    int rc = log_file_open(cfg, path, &l, err);
    if (rc < 0)
        return rc;
    struct places ring = {0};
    size_t n = 0;
    struct txn_header h;
    struct buf txn;
    for (;;) {
        int64_t at = MAX(l.pos, FILE_HEADER_LEN);
        rc = log_file_next(&l, &h, &txn, err);
        if (rc <= 0 || h.zxid > last_zxid)
            break;
        struct place p = {file, at, h.zxid};
        if (n < count)
            VEC_PUSH(&ring, p);
        else
            ring.items[n % count] = p;
        n++;
    }
    if (rc == 0 && l.end == LOG_END_CORRUPT)
        rc = storage_fail(err, RC_CORRUPT, "%s: damaged at offset %lld: %s", path, (long long)l.pos, l.why);
    for (size_t i = n > count ? n - count : 0; i < n; i++)
        VEC_PUSH(ret, ring.items[i % count]);
    VEC_FREE(&ring);
    log_file_close(&l);
    return MIN(rc, 0);
}

/* Drops what stands before the last gap. */
static void keep_joined(const struct zxid_files *snaps, struct places *l)
{
    size_t from = l->len;
    while (from > 1 && log_follows(snaps, l->items[from - 2].zxid, l->items[from - 1].zxid))
        from--;
    if (from > 1) {
        memmove(l->items, l->items + from - 1, (l->len - from + 1) * sizeof(*l->items));
        l->len -= from - 1;
    }
}

/* Puts `more`, of an earlier file, before what was found. */
static void prepend(struct places *l, struct places *more, size_t count)
{
    size_t n = MIN(more->len, count - l->len), skip = more->len - n;
    struct places joined = {0};
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(&joined, more->items[skip + i]);
    for (size_t i = 0; i < l->len; i++)
        VEC_PUSH(&joined, l->items[i]);
    VEC_FREE(l);
    *l = joined;
}

static int find_places(const struct storage_config *cfg, const struct zxid_files *files,
                       const struct zxid_files *snaps, int64_t last_zxid, size_t count, struct places *ret, struct storage_error *err)
{
    int rc = 0;
    for (size_t i = files->len; i-- > 0 && ret->len < count && rc == 0;) {
        if (files->items[i].zxid > last_zxid)
            continue;
        struct places of_file = {0};
        rc = scan(cfg, files->items[i].path, i, last_zxid, count, &of_file, err);
        if (rc == 0) {
            size_t before = ret->len;
            prepend(ret, &of_file, count);
            size_t all = ret->len;
            keep_joined(snaps, ret);
            if (before == 0 && all > 0 && ret->items[ret->len - 1].zxid != last_zxid)
                ret->len = 0;
            if (ret->len < all) /* a gap: older ones are of no use */
                i = 0;
        }
        VEC_FREE(&of_file);
    }
    return rc;
}

static int call_each(const struct storage_config *cfg, const struct zxid_files *files,
                     const struct places *places,
                     void (*fn)(void *data, const struct txn_header *h, struct buf txn), void *data,
                     struct storage_error *err)
{
    struct log_file l = {0};
    int rc = 0;
    for (size_t i = 0; i < places->len; i++) {
        const struct place *p = &places->items[i];
        if (i == 0 || p->file != places->items[i - 1].file) {
            log_file_close(&l);
            rc = log_file_open(cfg, files->items[p->file].path, &l, err);
            if (rc < 0)
                break;
        }
        struct txn_header h;
        struct buf txn;
        l.pos = p->at;
        rc = log_file_next(&l, &h, &txn, err);
        if (rc == 0 || (rc > 0 && h.zxid != p->zxid))
            rc = storage_fail(err, RC_IO, "%s changed while it was read", l.path);
        if (rc < 0)
            break;
        fn(data, &h, txn);
    }
    if (l.f)
        log_file_close(&l);
    return rc < 0 ? rc : (int)places->len;
}

int storage_each_recent(const struct storage_config *cfg, int64_t last_zxid, int count,
                        void (*fn)(void *data, const struct txn_header *h, struct buf txn), void *data,
                        struct storage_error *err)
{
    ASSERT(count > 0);
    char *dir = storage_dir(cfg, true), *snap_dir = storage_dir(cfg, false);
    struct zxid_files files = {0}, snaps = {0};
    struct places places = {0};
    int rc = storage_list(cfg->vfs, dir, true, &files, err);
    if (rc == 0)
        rc = storage_list(cfg->vfs, snap_dir, false, &snaps, err);
    if (rc == 0)
        rc = find_places(cfg, &files, &snaps, last_zxid, (size_t)count, &places, err);
    if (rc == 0)
        rc = call_each(cfg, &files, &places, fn, data, err);
    VEC_FREE(&places);
    zxid_files_free(&files);
    zxid_files_free(&snaps);
    free(dir);
    free(snap_dir);
    return rc;
}

/* Length of a log without the zeros at its end; a file that vanished (purged) counts as nothing. */
static int used_bytes(const struct storage_config *cfg, const char *path, bool padded, int64_t *total,
                      struct storage_error *err)
{
    struct log_file l;
    int rc = log_file_open(cfg, path, &l, err);
    if (rc == RC_NOTFOUND)
        return 0;
    if (rc < 0)
        return rc;
    *total += padded ? log_file_used(&l) : l.size;
    log_file_close(&l);
    return 0;
}

int storage_log_span(const struct storage_config *cfg, int64_t zxid, struct storage_log_span *ret,
                     struct storage_error *err)
{
    char *snap_dir = storage_dir(cfg, false), *log_dir = storage_dir(cfg, true);
    struct zxid_files snaps = {0}, logs = {0};
    struct storage_log_span s = {0};
    int rc = storage_list(cfg->vfs, snap_dir, false, &snaps, err);
    if (rc == 0)
        rc = storage_list(cfg->vfs, log_dir, true, &logs, err);
    if (rc == 0 && snaps.len > 0)
        rc = used_bytes(cfg, snaps.items[snaps.len - 1].path, false, &s.snapshot_bytes, err);
    size_t first = storage_first_log(&logs, zxid);
    s.covered = rc == 0 && logs.len > 0 && logs.items[first].zxid <= zxid;
    for (size_t i = first; rc == 0 && i < logs.len; i++)
        rc = used_bytes(cfg, logs.items[i].path, true, &s.log_bytes, err);
    zxid_files_free(&snaps);
    zxid_files_free(&logs);
    free(snap_dir);
    free(log_dir);
    if (rc == 0)
        *ret = s;
    return rc;
}
