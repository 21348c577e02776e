/* snap_net.c - the snapshot as a leader sends it to a learner: sessions, ACLs, nodes, end mark, signature; no
 * header, no checksum.
 *
 * Both ends work in steps of the caller's choosing: the encoder holds the tree's lock for a millisecond at a
 * time and fills whatever buffer it is given, the decoder takes bytes as they arrive. */
#include "storage_internal.h"

#define SIGNATURE  "BenWasHere"
#define WINDOW_MIN (64u << 10)

/* ---- leader ---- */

struct snap_encoder {
    struct tree *tree;
    struct snapshot_locks locks;
    struct tree_walk *walk; /* NULL once all nodes are encoded */
    int64_t zxid;
    struct wr buf; /* encoded, not handed out yet */
    size_t pos;    /* of buf, handed out */
};

static void end_walk(struct snap_encoder *e)
{
    if (!e->walk)
        return;
    e->locks.lock(e->locks.data);
    tree_walk_end(e->walk);
    e->locks.unlock(e->locks.data);
    e->walk = NULL;
}

struct snap_encoder *snap_encoder_new(struct tree *t, const struct snapshot_locks *locks)
{
    struct snap_encoder *e = x_calloc(1, sizeof(*e));
    e->tree = t;
    e->locks = locks ? *locks : snap_no_locks;
    e->buf = wr_init(0);
    e->locks.lock(e->locks.data);
    e->walk = tree_walk_begin(t);
    e->zxid = tree_walk_zxid(e->walk);
    snap_put_tables(&e->buf, t);
    e->locks.unlock(e->locks.data);
    return e;
}

int64_t snap_encoder_zxid(const struct snap_encoder *e)
{
    return e->zxid;
}

static void encode_more(struct snap_encoder *e)
{
    wr_reset(&e->buf);
    e->pos = 0;
    e->locks.lock(e->locks.data);
    bool more = snap_put_nodes(&e->buf, e->walk, e->locks.step_nodes);
    e->locks.unlock(e->locks.data);
    if (more)
        return;
    end_walk(e);
    jute_write_str(&e->buf, jstr_of("/"));
    jute_write_str(&e->buf, jstr_of(SIGNATURE));
}

size_t snap_encoder_read(struct snap_encoder *e, void *p, size_t n)
{
    if (e->pos == e->buf.n && e->walk)
        encode_more(e);
    size_t part = MIN(n, e->buf.n - e->pos);
    if (part > 0)
        memcpy(p, e->buf.p + e->pos, part);
    e->pos += part;
    return part;
}

void snap_encoder_free(struct snap_encoder *e)
{
    if (!e)
        return;
    end_walk(e);
    wr_free(&e->buf);
    free(e);
}

/* ---- learner ---- */

enum stage {
    STAGE_SESSION_COUNT,
    STAGE_SESSIONS,
    STAGE_ACL_COUNT,
    STAGE_ACLS,
    STAGE_NODES,
    STAGE_SIGNATURE,
    STAGE_DONE
};
static const char *const stage_names[] = {"sessions", "sessions",  "ACLs", "ACLs",
                                          "nodes",    "signature", "end"};

struct snap_decoder {
    struct tree *tree;
    enum stage stage;
    uint32_t count; /* records left of sessions or ACLs */
    struct arena arena;
    uint8_t *rest; /* the beginning of a record whose end has not come yet */
    size_t rest_len, rest_cap;
    size_t max;    /* largest record */
    int64_t total; /* bytes taken as whole records */
    int failed;    /* sticky */
};

struct snap_decoder *snap_decoder_new(const struct storage_config *cfg)
{
    struct snap_decoder *d = x_calloc(1, sizeof(*d));
    d->tree = tree_load_begin(&cfg->tree);
    d->arena = arena_init();
    d->max =
        (size_t)storage_max_record(cfg) + 4096; /* data of the largest record, and what stands around it */
    return d;
}

void snap_decoder_free(struct snap_decoder *d)
{
    if (!d)
        return;
    tree_free(d->tree);
    arena_free(&d->arena);
    free(d->rest);
    free(d);
}

static int get_count(struct rd *r, uint32_t *ret)
{
    uint32_t n = rd_u32(r);
    if (r->rc == 0 && n > INT32_MAX)
        return RC_CORRUPT;
    *ret = n;
    return r->rc;
}

static int get_signature(struct rd *r)
{
    struct jstr s = jute_read_str(r);
    return r->rc != 0 ? r->rc : jstr_is(s, SIGNATURE) ? 0 : RC_CORRUPT;
}

/* Reads one record and moves to the stage that follows it. */
static int decode_one(struct snap_decoder *d, struct rd *r)
{
    bool end = false;
    int rc;
    switch (d->stage) {
    case STAGE_SESSION_COUNT:
    case STAGE_ACL_COUNT:
        rc = get_count(r, &d->count);
        break;
    case STAGE_SESSIONS:
        rc = snap_get_session(r, d->tree);
        break;
    case STAGE_ACLS:
        rc = snap_get_acl(r, d->tree, &d->arena);
        break;
    case STAGE_NODES:
        rc = snap_get_node(r, d->tree, &end);
        break;
    case STAGE_SIGNATURE:
        rc = get_signature(r);
        break;
    default:
        return RC_INVAL;
    }
    if (rc != 0)
        return rc;
    switch (d->stage) {
    case STAGE_SESSION_COUNT:
    case STAGE_ACL_COUNT:
        d->stage = d->count > 0 ? d->stage + 1 : d->stage + 2;
        break;
    case STAGE_SESSIONS:
    case STAGE_ACLS:
        if (--d->count == 0)
            d->stage++;
        break;
    case STAGE_NODES:
        if (end)
            d->stage++;
        break;
    default:
        d->stage++;
    }
    return 0;
}

/* Decodes whole records; *ret_used: their bytes. 0: all of the stream was there; RC_SHORT. */
static int decode(struct snap_decoder *d, const uint8_t *p, size_t n, size_t *ret_used)
{
    size_t used = 0;
    int rc = 0;
    while (rc == 0 && d->stage != STAGE_DONE) {
        struct rd r = rd_init(p + used, n - used);
        rc = decode_one(d, &r);
        if (rc == 0)
            used = (size_t)(r.p - p);
    }
    d->total += (int64_t)used;
    *ret_used = used;
    return rc;
}

/* Puts bytes behind the unfinished record. */
static void keep(struct snap_decoder *d, const uint8_t *p, size_t n)
{
    if (n == 0)
        return;
    if (d->rest_cap - d->rest_len < n) {
        d->rest_cap = MAX(MAX(d->rest_cap * 2, d->rest_len + n), WINDOW_MIN);
        d->rest = x_realloc(d->rest, d->rest_cap);
    }
    memcpy(d->rest + d->rest_len, p, n);
    d->rest_len += n;
}

int snap_decoder_feed(struct snap_decoder *d, const void *data, size_t n, size_t *ret_used,
                      struct storage_error *err)
{
    ASSERT(d->stage != STAGE_DONE);
    if (d->failed < 0)
        return storage_fail(err, d->failed, "the snapshot stream failed before");
    const uint8_t *p = data;
    size_t used = 0, before = d->rest_len;
    int rc;
    if (before == 0) { /* nothing is waiting: straight from the caller's bytes */
        rc = decode(d, p, n, &used);
        if (rc == RC_SHORT)
            keep(d, p + used, n - used);
    } else {
        keep(d, p, n);
        rc = decode(d, d->rest, d->rest_len, &used);
        if (used > 0) {
            memmove(d->rest, d->rest + used, d->rest_len - used);
            d->rest_len -= used;
        }
    }
    if (rc == RC_SHORT && d->rest_len <= d->max) {
        *ret_used = n;
        return RC_SHORT;
    }
    if (rc < 0) {
        d->failed = rc == RC_SHORT ? RC_TOOBIG : RC_CORRUPT;
        return storage_fail(err, d->failed, "the snapshot stream is damaged at offset %lld (%s): %s",
                            (long long)d->total, stage_names[d->stage],
                            rc_str(rc == RC_SHORT ? RC_TOOBIG : rc));
    }
    *ret_used = used - before; /* the waiting bytes were no whole record: the end lies in this chunk */
    return 0;
}

int snap_decoder_take(struct snap_decoder *d, int64_t zxid, struct tree **ret, struct storage_error *err)
{
    ASSERT(d->stage == STAGE_DONE);
    int rc = tree_load_end(d->tree, zxid);
    if (rc < 0)
        return storage_fail(err, rc, "the snapshot stream has no root node");
    *ret = d->tree;
    d->tree = NULL;
    return 0;
}
