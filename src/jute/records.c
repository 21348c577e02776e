/* records.c - the codec, generated from the table in records.h. */
#include "jute/records.h"

static int32_t read_len(struct rd *r)
{
    int32_t n = rd_i32(r);
    if (r->rc == 0 && n < -1)
        rd_fail(r, RC_MALFORMED);
    return n;
}

/* Reads a vector's count; each element takes at least min_size bytes, which bounds what we allocate. */
static int32_t read_count(struct rd *r, size_t min_size)
{
    int32_t n = read_len(r);
    if (r->rc == 0 && n > 0 && (size_t)n > rd_left(r) / min_size)
        rd_fail(r, RC_SHORT);
    return r->rc == 0 ? n : -1;
}

struct jstr jute_read_str(struct rd *r)
{
    int32_t n = read_len(r);
    if (r->rc != 0 || n < 0)
        return (struct jstr){ NULL, 0 };
    const uint8_t *p = rd_take(r, (size_t)n);
    return (struct jstr){ (const char *)p, p ? n : 0 };
}

struct jbuf jute_read_buf(struct rd *r)
{
    struct jstr s = jute_read_str(r);
    return (struct jbuf){ (const uint8_t *)s.p, s.n };
}

struct jacls jute_read_acls(struct rd *r, struct arena *a)
{
    struct jacls l = { NULL, read_count(r, 12) };
    if (l.n > 0)
        l.v = arena_alloc(a, (size_t)l.n * sizeof(*l.v));
    for (int32_t i = 0; i < l.n; i++) {
        l.v[i].perms = rd_i32(r);
        l.v[i].scheme = jute_read_str(r);
        l.v[i].id = jute_read_str(r);
    }
    return l;
}

struct jstrs jute_read_strs(struct rd *r, struct arena *a)
{
    struct jstrs l = { NULL, read_count(r, 4) };
    if (l.n > 0)
        l.v = arena_alloc(a, (size_t)l.n * sizeof(*l.v));
    for (int32_t i = 0; i < l.n; i++)
        l.v[i] = jute_read_str(r);
    return l;
}

static struct jids jute_read_ids(struct rd *r, struct arena *a)
{
    struct jids l = { NULL, read_count(r, 8) };
    if (l.n > 0)
        l.v = arena_alloc(a, (size_t)l.n * sizeof(*l.v));
    for (int32_t i = 0; i < l.n; i++) {
        l.v[i].scheme = jute_read_str(r);
        l.v[i].id = jute_read_str(r);
    }
    return l;
}

static struct jtxns jute_read_txns(struct rd *r, struct arena *a)
{
    struct jtxns l = { NULL, read_count(r, 8) };
    if (l.n > 0)
        l.v = arena_alloc(a, (size_t)l.n * sizeof(*l.v));
    for (int32_t i = 0; i < l.n; i++) {
        l.v[i].type = rd_i32(r);
        l.v[i].data = jute_read_buf(r);
    }
    return l;
}

void zk_stat_read(struct rd *r, struct zk_stat *s)
{
    s->czxid = rd_i64(r);
    s->mzxid = rd_i64(r);
    s->ctime = rd_i64(r);
    s->mtime = rd_i64(r);
    s->version = rd_i32(r);
    s->cversion = rd_i32(r);
    s->aversion = rd_i32(r);
    s->ephemeral_owner = rd_i64(r);
    s->data_length = rd_i32(r);
    s->num_children = rd_i32(r);
    s->pzxid = rd_i64(r);
}

void zk_stat_write(struct wr *w, const struct zk_stat *s)
{
    uint8_t *p = wr_room(w, ZK_STAT_LEN);
    if (!p)
        return;
    store_u64(p, (uint64_t)s->czxid);
    store_u64(p + 8, (uint64_t)s->mzxid);
    store_u64(p + 16, (uint64_t)s->ctime);
    store_u64(p + 24, (uint64_t)s->mtime);
    store_u32(p + 32, (uint32_t)s->version);
    store_u32(p + 36, (uint32_t)s->cversion);
    store_u32(p + 40, (uint32_t)s->aversion);
    store_u64(p + 44, (uint64_t)s->ephemeral_owner);
    store_u32(p + 52, (uint32_t)s->data_length);
    store_u32(p + 56, (uint32_t)s->num_children);
    store_u64(p + 60, (uint64_t)s->pzxid);
}

void zk_stat_persisted_read(struct rd *r, struct zk_stat_persisted *s)
{
    s->czxid = rd_i64(r);
    s->mzxid = rd_i64(r);
    s->ctime = rd_i64(r);
    s->mtime = rd_i64(r);
    s->version = rd_i32(r);
    s->cversion = rd_i32(r);
    s->aversion = rd_i32(r);
    s->ephemeral_owner = rd_i64(r);
    s->pzxid = rd_i64(r);
}

void zk_stat_persisted_write(struct wr *w, const struct zk_stat_persisted *s)
{
    wr_i64(w, s->czxid);
    wr_i64(w, s->mzxid);
    wr_i64(w, s->ctime);
    wr_i64(w, s->mtime);
    wr_i32(w, s->version);
    wr_i32(w, s->cversion);
    wr_i32(w, s->aversion);
    wr_i64(w, s->ephemeral_owner);
    wr_i64(w, s->pzxid);
}

void jute_write_str(struct wr *w, struct jstr s)
{
    wr_i32(w, s.p ? s.n : -1);
    if (s.p)
        wr_bytes(w, s.p, (size_t)s.n);
}

void jute_write_buf(struct wr *w, struct jbuf b)
{
    jute_write_str(w, (struct jstr){ (const char *)b.p, b.n });
}

void jute_write_acls(struct wr *w, struct jacls l)
{
    wr_i32(w, l.n);
    for (int32_t i = 0; i < l.n; i++) {
        wr_i32(w, l.v[i].perms);
        jute_write_str(w, l.v[i].scheme);
        jute_write_str(w, l.v[i].id);
    }
}

void jute_write_strs(struct wr *w, struct jstrs l)
{
    wr_i32(w, l.n);
    for (int32_t i = 0; i < l.n; i++)
        jute_write_str(w, l.v[i]);
}

static void jute_write_ids(struct wr *w, struct jids l)
{
    wr_i32(w, l.n);
    for (int32_t i = 0; i < l.n; i++) {
        jute_write_str(w, l.v[i].scheme);
        jute_write_str(w, l.v[i].id);
    }
}

static void jute_write_txns(struct wr *w, struct jtxns l)
{
    wr_i32(w, l.n);
    for (int32_t i = 0; i < l.n; i++) {
        wr_i32(w, l.v[i].type);
        jute_write_buf(w, l.v[i].data);
    }
}

void jute_write_multi_end(struct wr *w)
{
    multi_header_write(w, &(struct multi_header){ .type = -1, .done = true, .err = -1 });
}

#define READ_i32(f) v->f = rd_i32(r);
#define READ_i64(f) v->f = rd_i64(r);
#define READ_bool(f) v->f = rd_u8(r) != 0;
#define READ_str(f) v->f = jute_read_str(r);
#define READ_buf(f) v->f = jute_read_buf(r);
#define READ_acls(f) v->f = jute_read_acls(r, a);
#define READ_strs(f) v->f = jute_read_strs(r, a);
#define READ_ids(f) v->f = jute_read_ids(r, a);
#define READ_txns(f) v->f = jute_read_txns(r, a);
#define READ_stat(f) zk_stat_read(r, &v->f);
#define WRITE_i32(f) wr_i32(w, v->f);
#define WRITE_i64(f) wr_i64(w, v->f);
#define WRITE_bool(f) wr_u8(w, v->f);
#define WRITE_str(f) jute_write_str(w, v->f);
#define WRITE_buf(f) jute_write_buf(w, v->f);
#define WRITE_acls(f) jute_write_acls(w, v->f);
#define WRITE_strs(f) jute_write_strs(w, v->f);
#define WRITE_ids(f) jute_write_ids(w, v->f);
#define WRITE_txns(f) jute_write_txns(w, v->f);
#define WRITE_stat(f) zk_stat_write(w, &v->f);
#define READ_FIELD(kind, name) READ_##kind(name)
#define WRITE_FIELD(kind, name) WRITE_##kind(name)

#define X(name, fields)                                                                                      \
    void name##_read(struct rd *r, struct arena *a, struct name *v)                                          \
    {                                                                                                        \
        (void)a;                                                                                             \
        fields(READ_FIELD)                                                                                   \
    }                                                                                                        \
    void name##_write(struct wr *w, const struct name *v)                                                    \
    {                                                                                                        \
        fields(WRITE_FIELD)                                                                                  \
    }
ZK_RECORDS(X)
#undef X
