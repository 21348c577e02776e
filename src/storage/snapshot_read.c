/* snapshot_read.c - loading a snapshot into a tree.
 *
 * The stream goes through one window; a record that ends behind the window is read again after the window has moved, so that
 * parsing itself copies nothing and allocates nothing. Seals are Adler-32 over everything before them, uncompressed. */
#include "storage_internal.h"

#include <stdio.h>
#include "adler.h"

#define WINDOW (1u << 20)

struct snap_reader {
    struct snap_source *src;
    uint8_t *win;
    size_t len, cap;      /* bytes in the window, its size */
    size_t pos;           /* parsed so far */
    size_t summed;        /* of pos, how much is in the checksum */
    size_t max;           /* largest window: bounds a record */
    uint32_t adler;
    int64_t passed;       /* stream bytes before the window */
    bool eof;
    struct tree *tree;
    struct arena arena;
    struct storage_progress *progress;
};

static int64_t offset(const struct snap_reader *s)
{
    return s->passed + (int64_t)s->pos;
}

static void sum_parsed(struct snap_reader *s)
{
    s->adler = adler32_fast(s->adler, s->win + s->summed, s->pos - s->summed);
    s->summed = s->pos;
}

/* Gets more bytes behind those at pos: moves the rest to the front, or grows when a record fills the whole window. */
static int refill(struct snap_reader *s)
{
    if (s->eof)
        return RC_SHORT;
    if (storage_progress_due(s->progress)) {
        char text[64];
        snprintf(text, sizeof(text), "read %lld MiB of the snapshot", (long long)(offset(s) >> 20));
        s->progress->fn(s->progress->data, text);
    }
    if (s->pos > 0) {
        sum_parsed(s);
        memmove(s->win, s->win + s->pos, s->len - s->pos);
        s->passed += (int64_t)s->pos;
        s->len -= s->pos;
        s->pos = s->summed = 0;
    }
    if (s->len == s->cap) {
        if (s->cap >= s->max)
            return RC_TOOBIG;
        s->cap = MIN(s->cap * 2, s->max);
        s->win = x_realloc(s->win, s->cap);
    }
    int64_t got = snap_source_read(s->src, s->win + s->len, s->cap - s->len);
    if (got < 0)
        return (int)got;
    if ((size_t)got < s->cap - s->len)
        s->eof = true;
    s->len += (size_t)got;
    return 0;
}

/* Runs `one` on a cursor at pos until it does not end short for want of bytes; then moves on. */
static int parse(struct snap_reader *s, int (*one)(struct snap_reader *s, struct rd *r, void *out), void *out)
{
    for (;;) {
        struct rd r = rd_init(s->win + s->pos, s->len - s->pos);
        int rc = one(s, &r, out);
        if (rc == 0) {
            s->pos = (size_t)(r.p - s->win);
            return 0;
        }
        if (rc != RC_SHORT)
            return rc;
        rc = refill(s);
        if (rc < 0)
            return rc;
    }
}

static int one_u32(struct snap_reader *s, struct rd *r, void *out)
{
    *(uint32_t *)out = rd_u32(r);
    return r->rc;
}

static int one_header(struct snap_reader *s, struct rd *r, void *out)
{
    uint32_t magic = rd_u32(r), version = rd_u32(r);
    (void)rd_u64(r); /* dbid: -1, checked by nobody */
    if (r->rc == 0 && (magic != SNAP_MAGIC || version != FILE_VERSION))
        return RC_CORRUPT;
    return r->rc;
}

static int one_session(struct snap_reader *s, struct rd *r, void *out)
{
    return snap_get_session(r, s->tree);
}

static int one_acl(struct snap_reader *s, struct rd *r, void *out)
{
    return snap_get_acl(r, s->tree, &s->arena);
}

/* *out (bool): set when it was the end mark. */
static int one_node(struct snap_reader *s, struct rd *r, void *out)
{
    return snap_get_node(r, s->tree, out);
}

static int one_seal(struct snap_reader *s, struct rd *r, void *out)
{
    uint64_t sum = rd_u64(r);
    struct jstr end = jute_read_str(r);
    if (r->rc != 0)
        return r->rc;
    sum_parsed(s); /* everything before the seal; the seal itself counts for the next one */
    return sum == s->adler && jstr_is(end, "/") ? 0 : RC_CORRUPT;
}

static int one_i64(struct snap_reader *s, struct rd *r, void *out)
{
    *(int64_t *)out = rd_i64(r);
    return r->rc;
}

/* Before version 2 the digest was text: hexadecimal. Those were of another algorithm, and are skipped. */
static int one_digest(struct snap_reader *s, struct rd *r, void *out)
{
    struct snap_info *info = out;
    info->digest_zxid = rd_i64(r);
    info->digest_version = rd_i32(r);
    if (info->digest_version < 2)
        (void)jute_read_str(r);
    else
        info->digest = rd_u64(r);
    info->has_digest = r->rc == 0 && info->digest_version == DIGEST_VERSION;
    return r->rc;
}

/* ---- the sections ---- */

static int load_counted(struct snap_reader *s, int (*one)(struct snap_reader *, struct rd *, void *))
{
    uint32_t count = 0;
    int rc = parse(s, one_u32, &count);
    if (rc == 0 && count > INT32_MAX)
        rc = RC_CORRUPT;
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = parse(s, one, NULL);
    return rc;
}

static int load_nodes(struct snap_reader *s, struct snap_info *info)
{
    bool end = false;
    int rc = 0;
    while (rc == 0 && !end)
        rc = parse(s, one_node, &end);
    return rc;
}

/* Bytes left in the stream, counted up to `limit`. */
static int64_t left(struct snap_reader *s, size_t limit)
{
    while (!s->eof && s->len - s->pos < limit) {
        int rc = refill(s);
        if (rc < 0)
            return rc;
    }
    return (int64_t)(s->len - s->pos);
}

/* What follows the first seal is not tagged: its length tells (SnapStream, ZKDatabase.deserialize). 8 bytes and a seal alone are
 * a last zxid; anything longer begins with the digest. What later versions may put behind the last zxid is left alone. */
enum { SEAL_LEN = 13, ZXID_SECTION_LEN = 8 + SEAL_LEN };

static int load_optional(struct snap_reader *s, struct snap_info *info)
{
    int64_t n = left(s, 64);
    int rc = n < 0 ? (int)n : 0;
    if (rc == 0 && n > ZXID_SECTION_LEN) {
        rc = parse(s, one_digest, info);
        if (rc == 0)
            rc = parse(s, one_seal, NULL);
        if (rc == 0) {
            n = left(s, 64);
            rc = n < 0 ? (int)n : 0;
        }
    }
    if (rc == 0 && n > 0) {
        rc = parse(s, one_i64, &info->last_zxid);
        if (rc == 0)
            rc = parse(s, one_seal, NULL);
        info->has_last_zxid = rc == 0;
    }
    return rc;
}

static int load_header(struct snap_reader *s, struct snap_info *info)
{
    return parse(s, one_header, NULL);
}
static int load_sessions(struct snap_reader *s, struct snap_info *info)
{
    return load_counted(s, one_session);
}
static int load_acls(struct snap_reader *s, struct snap_info *info)
{
    return load_counted(s, one_acl);
}
static int load_seal(struct snap_reader *s, struct snap_info *info)
{
    return parse(s, one_seal, NULL);
}

static const struct {
    const char *what;
    int (*load)(struct snap_reader *s, struct snap_info *info);
} sections[] = {
    { "header", load_header }, { "sessions", load_sessions }, { "ACLs", load_acls },
    { "nodes", load_nodes },   { "checksum", load_seal },     { "digest and last zxid", load_optional },
};

/* Returns NULL, or which section failed. */
static const char *load_stream(struct snap_reader *s, int64_t zxid, struct snap_info *info, int *ret_rc)
{
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        *ret_rc = sections[i].load(s, info);
        if (*ret_rc != 0)
            return sections[i].what;
    }
    *ret_rc = tree_load_end(s->tree, zxid);
    return *ret_rc == 0 ? NULL : "tree";
}

int snap_load(const struct storage_config *cfg, const char *path, enum snap_format format, int64_t zxid,
              struct storage_progress *progress, struct tree **ret, struct snap_info *ret_info, struct storage_error *err)
{
    struct snap_reader s = { .cap = WINDOW, .adler = 1, .arena = arena_init(), .progress = progress };
    int rc = snap_source_open(cfg->vfs, path, format, &s.src);
    if (rc < 0)
        return storage_fail_io(err, rc, "open", path);
    s.max = MAX((size_t)storage_max_record(cfg), WINDOW) + 4096; /* data of the largest record, and what stands around it */
    s.win = x_malloc(s.cap);
    s.tree = tree_load_begin(&cfg->tree);

    struct snap_info info = { 0 };
    const char *failed = load_stream(&s, zxid, &info, &rc);
    if (!failed) {
        *ret = s.tree;
        s.tree = NULL;
        *ret_info = info;
    } else if (rc == RC_IO) {
        storage_fail_io(err, rc, "read", path);
    } else {
        rc = storage_fail(err, RC_CORRUPT, "%s: damaged at offset %lld of its content (%s): %s", path, (long long)offset(&s),
                          failed, rc_str(rc));
    }
    if (s.tree)
        tree_free(s.tree);
    arena_free(&s.arena);
    free(s.win);
    snap_source_close(s.src);
    return rc;
}

int snapshot_read(const struct storage_config *cfg, const char *path, int64_t zxid, struct tree **ret,
                  struct storage_error *err)
{
    /* The reference goes by what stands behind the last dot. */
    const char *dot = strrchr(path, '.');
    enum snap_format format = SNAP_PLAIN;
    if (dot && strcmp(dot, ".gz") == 0)
        format = SNAP_GZ;
    else if (dot && strcmp(dot, ".snappy") == 0)
        format = SNAP_SNAPPY;
    struct snap_info info;
    return snap_load(cfg, path, format, zxid, NULL, ret, &info, err);
}

bool snap_looks_valid(const struct vfs *vfs, const struct zxid_file *file)
{
    static const uint8_t gz[] = { 0x1f, 0x8b }, snappy[] = { 0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0 }, end[] = { 0, 0, 0, 1, '/' };
    struct vfs_file *f;
    if (vfs->open(vfs->ctx, file->path, VFS_READ, &f) < 0)
        return false;
    struct buf want = file->format == SNAP_GZ       ? buf_of(gz, sizeof(gz))
                      : file->format == SNAP_SNAPPY ? buf_of(snappy, sizeof(snappy))
                                                    : buf_of(end, sizeof(end));
    int64_t size = vfs->size(f);
    int64_t at = file->format == SNAP_PLAIN ? size - (int64_t)want.n : 0;
    uint8_t got[8];
    bool ok = size >= 10 && vfs->read_at(f, got, want.n, at) == (int64_t)want.n && buf_eq(want, buf_of(got, want.n));
    vfs->close(f);
    return ok;
}
