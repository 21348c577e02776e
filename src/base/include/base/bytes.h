/* bytes.h - reading and writing big-endian bytes with bounds checked once, at the end.
 *
 * rd   a cursor over borrowed input. The first error sticks in .rc; later reads yield zero, so a decoder is a
 *      straight list of fields with one check at the end.
 * wr   a growing output buffer with an optional limit. The first error sticks (RC_TOOBIG past .max).
 * Threading: none; one owner at a time. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/core.h"

/* Borrowed bytes. p == NULL is "null", which is not the same as empty. */
struct buf {
    const uint8_t *p;
    size_t n;
};

static inline struct buf buf_of(const void *p, size_t n)
{
    return (struct buf){ (const uint8_t *)p, n };
}
static inline struct buf buf_str(const char *s)
{
    return (struct buf){ (const uint8_t *)s, s ? strlen(s) : 0 };
}
static inline bool buf_eq(struct buf a, struct buf b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool buf_is(struct buf a, const char *s)
{
    return a.p && a.n == strlen(s) && memcmp(a.p, s, a.n) == 0;
}
/* An owned NUL-terminated copy; NULL when b.p is NULL. Caller frees. */
char *buf_dup(struct buf b);

struct rd {
    const uint8_t *p, *end;
    int rc; /* 0, or the first error; negative enum rc */
};

static inline struct rd rd_init(const void *p, size_t n)
{
    return (struct rd){ (const uint8_t *)p, (const uint8_t *)p + n, 0 };
}
static inline struct rd rd_buf(struct buf b)
{
    return rd_init(b.p, b.n);
}
static inline size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->p);
}
static inline void rd_fail(struct rd *r, int rc)
{
    if (r->rc == 0)
        r->rc = rc;
    r->p = r->end;
}
/* Returns n bytes and moves past them; NULL and RC_SHORT when fewer are left. */
static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
    if (UNLIKELY(r->rc != 0 || rd_left(r) < n)) {
        rd_fail(r, RC_SHORT);
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}
static inline uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_take(r, 1);
    return p ? p[0] : 0;
}
static inline uint16_t rd_u16(struct rd *r)
{
    const uint8_t *p = rd_take(r, 2);
    return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}
static inline uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t load_u64(const uint8_t *p)
{
    return (uint64_t)load_u32(p) << 32 | load_u32(p + 4);
}
static inline uint32_t rd_u32(struct rd *r)
{
    const uint8_t *p = rd_take(r, 4);
    return p ? load_u32(p) : 0;
}
static inline uint64_t rd_u64(struct rd *r)
{
    const uint8_t *p = rd_take(r, 8);
    return p ? load_u64(p) : 0;
}
static inline int32_t rd_i32(struct rd *r)
{
    return (int32_t)rd_u32(r);
}
static inline int64_t rd_i64(struct rd *r)
{
    return (int64_t)rd_u64(r);
}

struct wr {
    uint8_t *p;
    size_t n, cap;
    size_t max; /* 0: no limit */
    int rc;
};

static inline struct wr wr_init(size_t max)
{
    return (struct wr){ .max = max };
}
void wr_free(struct wr *w);
void wr_reset(struct wr *w);                        /* length and error to zero, memory kept */
void wr_grow(struct wr *w, size_t more);            /* room for `more` bytes, or a sticky RC_TOOBIG */
static inline uint8_t *wr_room(struct wr *w, size_t n)
{
    if (UNLIKELY(w->rc != 0))
        return NULL;
    if (UNLIKELY(w->cap - w->n < n || w->max)) {
        wr_grow(w, n);
        if (w->rc != 0)
            return NULL;
    }
    uint8_t *p = w->p + w->n;
    w->n += n;
    return p;
}
static inline void store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}
static inline void store_u64(uint8_t *p, uint64_t v)
{
    store_u32(p, (uint32_t)(v >> 32));
    store_u32(p + 4, (uint32_t)v);
}
static inline void wr_u8(struct wr *w, uint8_t v)
{
    uint8_t *p = wr_room(w, 1);
    if (p)
        p[0] = v;
}
static inline void wr_u16(struct wr *w, uint16_t v)
{
    uint8_t *p = wr_room(w, 2);
    if (p)
        p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v;
}
static inline void wr_u32(struct wr *w, uint32_t v)
{
    uint8_t *p = wr_room(w, 4);
    if (p)
        store_u32(p, v);
}
static inline void wr_u64(struct wr *w, uint64_t v)
{
    uint8_t *p = wr_room(w, 8);
    if (p)
        store_u64(p, v);
}
static inline void wr_i32(struct wr *w, int32_t v)
{
    wr_u32(w, (uint32_t)v);
}
static inline void wr_i64(struct wr *w, int64_t v)
{
    wr_u64(w, (uint64_t)v);
}
static inline void wr_bytes(struct wr *w, const void *src, size_t n)
{
    if (n == 0)
        return;
    uint8_t *p = wr_room(w, n);
    if (p)
        memcpy(p, src, n);
}
/* Text, without a terminating NUL. */
void wr_printf(struct wr *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void wr_text(struct wr *w, const char *s)
{
    wr_bytes(w, s, strlen(s));
}
/* Overwrites four bytes written before, at offset `at`: for length prefixes. */
static inline void wr_patch_u32(struct wr *w, size_t at, uint32_t v)
{
    if (w->rc == 0) {
        ASSERT(at + 4 <= w->n);
        store_u32(w->p + at, v);
    }
}
/* Adds a NUL that is not counted in w->n and returns the text; w must have no sticky error. */
const char *wr_cstr(struct wr *w);

#endif
