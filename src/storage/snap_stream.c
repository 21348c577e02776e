/* snap_stream.c - the byte stream of a snapshot file: plain, gzip, or snappy in the framing of snappy-java (8-byte magic, two
 * versions, then blocks: big-endian compressed length, raw snappy block). */
#include "storage_internal.h"

#include <snappy-c.h>
#include <zlib.h>

#define CHUNK (1u << 20)
#define WRITE_BACK_STEP (1 << 20)     /* written out at a time while a snapshot grows */
#define SNAPPY_BLOCK (32u << 10)      /* as the reference writes */
#define SNAPPY_BLOCK_MAX (64u << 20)  /* accepted when reading */
static const uint8_t snappy_header[16] = { 0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1 };

/* ---- reading ---- */

struct snap_source {
    const struct vfs *vfs;
    struct vfs_file *f;
    enum snap_format format;
    int64_t at;          /* next file offset */
    uint8_t *in;         /* compressed bytes; gz */
    z_stream z;
    bool z_ready, z_done;
    uint8_t *block;      /* snappy: the current block, decompressed */
    size_t block_len, block_pos, block_cap;
    uint8_t *packed;
    size_t packed_cap;
};

int snap_source_open(const struct vfs *vfs, const char *path, enum snap_format format, struct snap_source **ret)
{
    struct vfs_file *f;
    int rc = vfs->open(vfs->ctx, path, VFS_READ, &f);
    if (rc < 0)
        return rc;
    struct snap_source *s = x_calloc(1, sizeof(*s));
    s->vfs = vfs;
    s->f = f;
    s->format = format;
    if (format == SNAP_GZ) {
        s->in = x_malloc(CHUNK);
        ASSERT(inflateInit2(&s->z, 15 + 16) == Z_OK);
        s->z_ready = true;
    }
    *ret = s;
    return 0;
}

void snap_source_close(struct snap_source *s)
{
    if (!s)
        return;
    if (s->z_ready)
        inflateEnd(&s->z);
    s->vfs->close(s->f);
    free(s->in);
    free(s->block);
    free(s->packed);
    free(s);
}

static int64_t read_gz(struct snap_source *s, uint8_t *p, size_t n)
{
    s->z.next_out = p;
    s->z.avail_out = (uInt)MIN(n, (size_t)1 << 30);
    size_t want = s->z.avail_out;
    while (s->z.avail_out > 0 && !s->z_done) {
        if (s->z.avail_in == 0) {
            int64_t got = s->vfs->read_at(s->f, s->in, CHUNK, s->at);
            if (got < 0)
                return got;
            if (got == 0)
                return RC_CORRUPT; /* cut off before the end of the gzip stream */
            s->at += got;
            s->z.next_in = s->in;
            s->z.avail_in = (uInt)got;
        }
        int z = inflate(&s->z, Z_NO_FLUSH);
        if (z == Z_STREAM_END)
            s->z_done = true;
        else if (z != Z_OK)
            return RC_CORRUPT;
    }
    return (int64_t)(want - s->z.avail_out);
}

/* Loads the next block. 1: there is one; 0: the end. */
static int next_block(struct snap_source *s)
{
    uint8_t head[16];
    int64_t got;
    if (s->at == 0) {
        got = s->vfs->read_at(s->f, head, sizeof(head), 0);
        if (got < 0)
            return (int)got;
        if (got < (int64_t)sizeof(head) || memcmp(head, snappy_header, 8) != 0)
            return RC_CORRUPT;
        s->at = sizeof(head);
    }
    got = s->vfs->read_at(s->f, head, 4, s->at);
    if (got <= 0)
        return (int)got;
    uint32_t len = load_u32(head);
    if (got < 4 || len == 0 || len > SNAPPY_BLOCK_MAX)
        return RC_CORRUPT;
    int64_t size = s->vfs->size(s->f);
    if (size < 0)
        return (int)size;
    if (size - s->at - 4 < (int64_t)len)
        return RC_CORRUPT;
    if (len > s->packed_cap) {
        free(s->packed);
        s->packed = x_malloc(len);
        s->packed_cap = len;
    }
    got = s->vfs->read_at(s->f, s->packed, len, s->at + 4);
    if (got < 0)
        return (int)got;
    size_t plain;
    if (got < (int64_t)len || snappy_uncompressed_length((const char *)s->packed, len, &plain) != SNAPPY_OK ||
        plain > SNAPPY_BLOCK_MAX)
        return RC_CORRUPT;
    if (plain > s->block_cap) {
        free(s->block);
        s->block = x_malloc(plain);
        s->block_cap = plain;
    }
    s->block_len = plain;
    s->block_pos = 0;
    /* A block without content has no buffer yet, perhaps; there is nothing to unpack. */
    if (plain > 0 && snappy_uncompress((const char *)s->packed, len, (char *)s->block, &s->block_len) != SNAPPY_OK)
        return RC_CORRUPT;
    s->at += 4 + (int64_t)len;
    return 1;
}

static int64_t read_snappy(struct snap_source *s, uint8_t *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        if (s->block_pos == s->block_len) {
            int rc = next_block(s);
            if (rc < 0)
                return rc;
            if (rc == 0)
                break;
            continue;
        }
        size_t part = MIN(n - done, s->block_len - s->block_pos);
        memcpy(p + done, s->block + s->block_pos, part);
        s->block_pos += part;
        done += part;
    }
    return (int64_t)done;
}

int64_t snap_source_read(struct snap_source *s, uint8_t *p, size_t n)
{
    switch (s->format) {
    case SNAP_GZ:
        return read_gz(s, p, n);
    case SNAP_SNAPPY:
        return read_snappy(s, p, n);
    case SNAP_PLAIN:
        break;
    }
    int64_t got = s->vfs->read_at(s->f, p, n, s->at);
    if (got > 0)
        s->at += got;
    return got;
}

/* ---- writing ---- */

struct snap_sink {
    const struct vfs *vfs;
    struct vfs_file *f;
    enum snap_format format;
    int64_t at;
    int64_t out_to;  /* the file is written out up to here */
    z_stream z;
    uint8_t *out;
    struct wr block; /* snappy: gathers a block */
};

struct snap_sink *snap_sink_new(const struct vfs *vfs, struct vfs_file *f, enum snap_format format)
{
    struct snap_sink *s = x_calloc(1, sizeof(*s));
    s->vfs = vfs;
    s->f = f;
    s->format = format;
    s->block = wr_init(0);
    if (format == SNAP_GZ) {
        s->out = x_malloc(CHUNK);
        /* The fastest level: the disk gains little from more, and the processors are the clients'. */
        ASSERT(deflateInit2(&s->z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    } else if (format == SNAP_SNAPPY) {
        s->out = x_malloc(4 + snappy_max_compressed_length(SNAPPY_BLOCK));
    }
    return s;
}

static int put(struct snap_sink *s, const uint8_t *p, size_t n)
{
    int rc = n > 0 ? s->vfs->write_at(s->f, p, n, s->at) : 0;
    if (rc < 0)
        return rc;
    s->at += (int64_t)n;
    /* A whole snapshot handed to the disk at once makes the log's syncs wait behind it: it goes out in small pieces. */
    if (s->vfs->write_back && s->at - s->out_to >= WRITE_BACK_STEP) {
        rc = s->vfs->write_back(s->f, s->out_to, s->at - s->out_to);
        s->out_to = s->at;
    }
    return rc;
}

static int write_gz(struct snap_sink *s, const uint8_t *p, size_t n, int flush)
{
    s->z.next_in = (Bytef *)(uintptr_t)p;
    s->z.avail_in = (uInt)n;
    for (;;) {
        s->z.next_out = s->out;
        s->z.avail_out = CHUNK;
        int z = deflate(&s->z, flush);
        int rc = put(s, s->out, CHUNK - s->z.avail_out);
        if (rc < 0)
            return rc;
        if (z == Z_STREAM_END || (s->z.avail_out > 0 && s->z.avail_in == 0 && flush == Z_NO_FLUSH))
            return 0;
        ASSERT(z == Z_OK || z == Z_BUF_ERROR);
    }
}

static int write_block(struct snap_sink *s, const uint8_t *p, size_t n)
{
    if (s->at == 0) {
        int rc = put(s, snappy_header, sizeof(snappy_header));
        if (rc < 0)
            return rc;
    }
    size_t len = snappy_max_compressed_length(SNAPPY_BLOCK);
    ASSERT(snappy_compress((const char *)p, n, (char *)s->out + 4, &len) == SNAPPY_OK);
    store_u32(s->out, (uint32_t)len);
    return put(s, s->out, 4 + len);
}

static int write_snappy(struct snap_sink *s, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, SNAPPY_BLOCK - s->block.n);
        wr_bytes(&s->block, p, part);
        p += part;
        n -= part;
        if (s->block.n == SNAPPY_BLOCK) {
            int rc = write_block(s, s->block.p, s->block.n);
            wr_reset(&s->block);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int snap_sink_write(struct snap_sink *s, const uint8_t *p, size_t n)
{
    switch (s->format) {
    case SNAP_GZ:
        return n > 0 ? write_gz(s, p, n, Z_NO_FLUSH) : 0;
    case SNAP_SNAPPY:
        return write_snappy(s, p, n);
    case SNAP_PLAIN:
        break;
    }
    return put(s, p, n);
}

int snap_sink_finish(struct snap_sink *s)
{
    if (s->format == SNAP_GZ)
        return write_gz(s, NULL, 0, Z_FINISH);
    if (s->format == SNAP_SNAPPY && s->block.n > 0) {
        int rc = write_block(s, s->block.p, s->block.n);
        wr_reset(&s->block);
        return rc;
    }
    return 0;
}

int64_t snap_sink_bytes(const struct snap_sink *s)
{
    return s->at;
}

void snap_sink_free(struct snap_sink *s)
{
    if (!s)
        return;
    if (s->format == SNAP_GZ)
        deflateEnd(&s->z);
    wr_free(&s->block);
    free(s->out);
    free(s);
}
