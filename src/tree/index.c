/* index.c - the hash index over whole paths. See internal.h. */
#include "internal.h"

static uint64_t slot_of(const struct znode *n)
{
    ASSERT((uintptr_t)n >> 48 == 0);
    return (uint64_t)(n->hash & 0xffff) << 48 | (uintptr_t)n;
}

static uint32_t slot_home(uint64_t slot)
{
    return (uint32_t)(slot >> 48) & (SEG_SLOTS - 1);
}

static void seg_put(struct index_seg *s, uint64_t slot)
{
    uint32_t i = slot_home(slot);
    while (s->slots[i])
        i = (i + 1) & (SEG_SLOTS - 1);
    s->slots[i] = slot;
    s->used++;
}

void index_init(struct index *x)
{
    x->depth = 0;
    x->count = 0;
    x->dir = x_malloc(sizeof(*x->dir));
    x->dir[0] = x_calloc(1, sizeof(struct index_seg));
}

/* A segment of depth d stands in 1 << (depth - d) consecutive directory entries; the first is enough. */
static size_t dir_span(const struct index *x, const struct index_seg *s)
{
    return (size_t)1 << (x->depth - s->depth);
}

void index_free(struct index *x)
{
    for (size_t i = 0, span; x->dir && i < (size_t)1 << x->depth; i += span) {
        span = dir_span(x, x->dir[i]);
        free(x->dir[i]);
    }
    free(x->dir);
    x->dir = NULL;
}

static void dir_double(struct index *x)
{
    ASSERT(x->depth < 32 - SEG_BITS + 4); /* billions of nodes */
    size_t n = (size_t)1 << x->depth;
    x->dir = x_reallocarray(x->dir, n * 2, sizeof(*x->dir));
    for (size_t i = n; i-- > 0;)
        x->dir[2 * i] = x->dir[2 * i + 1] = x->dir[i];
    x->depth++;
}

static void seg_split(struct index *x, uint32_t hash)
{
    struct index_seg *old = x->dir[(uint64_t)hash >> (32 - x->depth)];
    if (old->depth == x->depth)
        dir_double(x);
    size_t span = dir_span(x, old);
    size_t first = ((uint64_t)hash >> (32 - x->depth)) & ~(span - 1);
    struct index_seg *lo = x_calloc(1, sizeof(*lo)), *hi = x_calloc(1, sizeof(*hi));
    lo->depth = hi->depth = old->depth + 1;
    for (uint32_t i = 0; i < SEG_SLOTS; i++) {
        uint64_t slot = old->slots[i];
        if (slot)
            seg_put(index_slot_node(slot)->hash >> (32 - lo->depth) & 1 ? hi : lo, slot);
    }
    for (size_t i = 0; i < span; i++)
        x->dir[first + i] = i < span / 2 ? lo : hi;
    free(old);
}

void index_insert(struct index *x, struct znode *n)
{
    struct index_seg *s;
    while (index_first_slot(x, n->hash, &s), s->used >= SEG_MAX)
        seg_split(x, n->hash);
    seg_put(s, slot_of(n));
    x->count++;
}

static uint32_t seg_position(const struct index_seg *s, const struct znode *n)
{
    uint64_t want = slot_of(n);
    uint32_t i = slot_home(want);
    while (s->slots[i] != want) {
        ASSERT(s->slots[i] != 0);
        i = (i + 1) & (SEG_SLOTS - 1);
    }
    return i;
}

void index_remove(struct index *x, const struct znode *n)
{
    struct index_seg *s;
    index_first_slot(x, n->hash, &s);
    uint32_t i = seg_position(s, n);
    /* Backward shift: pull later members of the probe run into the hole. */
    for (uint32_t j = (i + 1) & (SEG_SLOTS - 1); s->slots[j]; j = (j + 1) & (SEG_SLOTS - 1)) {
        uint32_t home = slot_home(s->slots[j]);
        if (((j - home) & (SEG_SLOTS - 1)) >= ((j - i) & (SEG_SLOTS - 1))) {
            s->slots[i] = s->slots[j];
            i = j;
        }
    }
    s->slots[i] = 0;
    s->used--;
    x->count--;
}

void index_replace(struct index *x, const struct znode *old, struct znode *n)
{
    struct index_seg *s;
    index_first_slot(x, old->hash, &s);
    s->slots[seg_position(s, old)] = slot_of(n);
}

void index_each(const struct index *x, void (*fn)(void *data, struct znode *n), void *data)
{
    for (size_t i = 0, span; i < (size_t)1 << x->depth; i += span) {
        const struct index_seg *s = x->dir[i];
        span = dir_span(x, s);
        for (uint32_t j = 0; j < SEG_SLOTS; j++)
            if (s->slots[j])
                fn(data, index_slot_node(s->slots[j]));
    }
}
