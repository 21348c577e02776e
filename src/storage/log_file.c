/* log_file.c - one transaction log file, read forward, and what its end means.
 *
 * The reference reader takes any short or zero record for the end of the file, and dies of any other damage. We tell apart
 * what a crash can leave (bytes missing: the file ends, or zeros stand where something was to be written, since files start
 * empty and are extended with zeros) from what it cannot (other bytes than those written). */
#include "storage_internal.h"

#include <errno.h>
#include "adler.h"

#define WINDOW (1u << 20)
#define SECTOR 512

/* Returns n bytes of the file at `at`, borrowed until the next peek; NULL when the file is shorter or on a read error (io_rc). */
static const uint8_t *peek(struct log_file *l, int64_t at, size_t n)
{
    if (at >= l->win_at && (uint64_t)(at - l->win_at) + n <= l->win_len)
        return l->win + (at - l->win_at);
    if (l->io_rc < 0 || at > l->size || (uint64_t)(l->size - at) < n)
        return NULL;
    size_t want = MAX(n, (size_t)MIN(l->size - at, (int64_t)WINDOW));
    if (want > l->win_cap) {
        free(l->win);
        l->win = x_malloc(want);
        l->win_cap = want;
    }
    l->win_len = 0;
    int64_t got = l->vfs->read_at(l->f, l->win, want, at);
    if (got < 0) {
        l->io_rc = (int)got;
        return NULL;
    }
    l->win_at = at;
    l->win_len = (size_t)got;
    return (size_t)got >= n ? l->win : NULL;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

int log_file_open(const struct storage_config *cfg, const char *path, struct log_file *ret, struct storage_error *err)
{
    struct log_file l = { .vfs = cfg->vfs, .max_record = storage_max_record(cfg) };
    int rc = cfg->vfs->open(cfg->vfs->ctx, path, VFS_READ, &l.f);
    if (rc < 0)
        return storage_fail_io(err, rc, "open", path);
    l.size = cfg->vfs->size(l.f);
    if (l.size < 0) {
        cfg->vfs->close(l.f);
        return storage_fail_io(err, (int)l.size, "size", path);
    }
    l.path = x_strdup(path);
    *ret = l;
    return 0;
}

void log_file_close(struct log_file *l)
{
    if (l->f)
        l->vfs->close(l->f);
    free(l->path);
    free(l->win);
    *l = (struct log_file){ 0 };
}

int64_t log_file_used(struct log_file *l)
{
    int64_t end = l->size;
    while (end > l->pos) {
        int64_t from = MAX(l->pos, end - (int64_t)WINDOW);
        const uint8_t *p = peek(l, from, (size_t)(end - from));
        if (!p)
            return l->size;
        if (!all_zero(p, (size_t)(end - from))) {
            while (p[end - from - 1] == 0)
                end--;
            return end;
        }
        end = from;
    }
    return end;
}

/* Was some sector of [from, to) never written? Then it is zero from end to end; the sector in which the range begins may hold
 * older records, and is zero from there on. (A record's first four bytes are zero anyway: they say nothing.) */
static bool has_hole(struct log_file *l, int64_t from, int64_t to)
{
    for (int64_t s = from / SECTOR * SECTOR; s < MIN(to, l->size); s += SECTOR) {
        int64_t at = MAX(s, from), end = MIN(s + SECTOR, l->size);
        const uint8_t *p = peek(l, at, (size_t)(end - at));
        if (p && end - at > 4 && all_zero(p, (size_t)(end - at)))
            return true;
    }
    return false;
}

static int ended(struct log_file *l, enum log_end end, const char *why)
{
    l->end = end;
    l->why = why;
    return 0;
}

/* Does a whole record stand at pos, which ends where the file's content ends? Then it was written to its end, and a length that says otherwise is damaged:
 * no crash takes back what may have been acknowledged. */
static bool whole_but_for_its_length(struct log_file *l, uint64_t sum)
{
    int64_t len = log_file_used(l) - 1 - (l->pos + 12);
    if (len < TXN_HEADER_LEN || len > l->max_record)
        return false;
    const uint8_t *p = peek(l, l->pos + 12, (size_t)len + 1);
    return p && p[len] == TXN_TERMINATOR && adler32_fast(1, p, (size_t)len) == sum;
}

static int read_header(struct log_file *l)
{
    static const uint8_t magic[4] = { 'Z', 'K', 'L', 'G' };
    const uint8_t *p = peek(l, 0, FILE_HEADER_LEN);
    if (!p)
        return ended(l, LOG_END_TORN, l->size == 0 ? "the file is empty" : "the file header is incomplete");
    if (memcmp(p, magic, 4) == 0) { /* the reference checks no more of it */
        l->pos = FILE_HEADER_LEN;
        return 1;
    }
    if (!all_zero(p, FILE_HEADER_LEN))
        return ended(l, LOG_END_CORRUPT, "this is no transaction log (bad magic)");
    l->hole = has_hole(l, 0, 1);
    return ended(l, LOG_END_TORN, "the file header is missing");
}

/* Decides about 12 bytes of checksum and length at pos. Returns 1 with the length, or 0 and the end. */
static int read_prefix(struct log_file *l, uint64_t *ret_sum, uint32_t *ret_len)
{
    if (l->pos == l->size)
        return ended(l, LOG_END_CLEAN, NULL);
    const uint8_t *p = peek(l, l->pos, 12);
    if (!p) {
        p = peek(l, l->pos, (size_t)(l->size - l->pos));
        return p && all_zero(p, (size_t)(l->size - l->pos)) ? ended(l, LOG_END_CLEAN, NULL)
                                                           : ended(l, LOG_END_TORN, "the record is cut off");
    }
    *ret_sum = load_u64(p);
    *ret_len = load_u32(p + 8);
    if (*ret_len == 0) {
        if (log_file_used(l) == l->pos)
            return ended(l, LOG_END_CLEAN, NULL);
        if (whole_but_for_its_length(l, *ret_sum))
            return ended(l, LOG_END_CORRUPT, "the record's length is wrong");
        l->hole = has_hole(l, l->pos, l->pos + 12);
        return ended(l, LOG_END_TORN, "zeros stand where a record was to be");
    }
    if (*ret_len < TXN_HEADER_LEN || *ret_len > l->max_record)
        return ended(l, LOG_END_CORRUPT, "impossible record length");
    return 1;
}

int log_file_next(struct log_file *l, struct txn_header *ret_header, struct buf *ret_txn, struct storage_error *err)
{
    uint64_t sum = 0;
    uint32_t len = 0;
    int rc = l->pos == 0 ? read_header(l) : 1;
    if (rc > 0)
        rc = read_prefix(l, &sum, &len);
    if (l->io_rc < 0)
        return storage_fail_io(err, l->io_rc, "read", l->path);
    if (rc == 0)
        return 0;

    const uint8_t *p = peek(l, l->pos + 12, (size_t)len + 1);
    if (l->io_rc < 0)
        return storage_fail_io(err, l->io_rc, "read", l->path);
    if (!p && whole_but_for_its_length(l, sum))
        return ended(l, LOG_END_CORRUPT, "the record's length is wrong");
    if (!p)
        return ended(l, LOG_END_TORN, "the record is cut off");
    uint8_t terminator = p[len];
    if (terminator == TXN_TERMINATOR && adler32_fast(1, p, len) == sum) {
        *ret_txn = buf_of(p, len);
        struct rd r = rd_buf(*ret_txn);
        txn_header_read(&r, NULL, ret_header);
        l->pos += (int64_t)len + RECORD_OVERHEAD;
        l->records++;
        l->last_zxid = ret_header->zxid;
        return 1;
    }
    if (whole_but_for_its_length(l, sum))
        return ended(l, LOG_END_CORRUPT, "the record's length is wrong");
    l->hole = has_hole(l, l->pos, l->pos + (int64_t)len + RECORD_OVERHEAD);
    if (terminator == 0 || l->hole)
        return ended(l, LOG_END_TORN, "the record is incomplete");
    return ended(l, LOG_END_CORRUPT,
                 terminator == TXN_TERMINATOR ? "the checksum does not fit" : "the record's end mark is wrong");
}

static bool valid_at(struct log_file *l, int64_t at)
{
    const uint8_t *p = peek(l, at, 12);
    if (!p || load_u32(p) != 0)
        return false;
    uint64_t sum = load_u64(p);
    uint32_t len = load_u32(p + 8);
    if (len < TXN_HEADER_LEN || len > l->max_record)
        return false;
    p = peek(l, at, (size_t)len + RECORD_OVERHEAD); /* from the same start, so that the window stays where the scan is */
    if (!p || p[12 + len] != TXN_TERMINATOR)
        return false;
    /* Data may contain what looks like a record; one that is behind us in order is none of this log. */
    if (l->records > 0 && (int64_t)load_u64(p + 12 + 12) <= l->last_zxid)
        return false;
    return adler32_fast(1, p + 12, len) == sum;
}

bool log_file_valid_follows(struct log_file *l)
{
    int64_t used = log_file_used(l);
    for (int64_t at = l->pos + 1; at + RECORD_OVERHEAD + TXN_HEADER_LEN <= used; at++)
        if (valid_at(l, at))
            return true;
    return false;
}
