/* index.c - the hash index over whole paths. See internal.h. */
#include "internal.h"

/* The sizes through which a segment grows. The last ones are close together: where most segments stand, memory counts. */
static const uint32_t sizes[] = { 32, 256, 1280, 1664, SEG_SLOTS };
#define SPLIT_SIZE 2 /* index of the size that the halves of a split segment begin with */

/* At most 13/16 full: a probe that finds nothing then looks at about fifteen slots, two cache lines. */
static uint32_t seg_max(uint32_t size)
{
    return size * 13 / 16;
}

static uint64_t slot_of(const struct znode *n)
{
    ASSERT((uintptr_t)n >> 48 == 0);
    return (uint64_t)(n->hash & 0xffff) << 48 | (uintptr_t)n;
}

static uint32_t slot_home(const struct index_seg *s, uint64_t slot)
{
    return index_home(s, (uint32_t)(slot >> 48));
}

static uint32_t after(const struct index_seg *s, uint32_t i)
{
    return i + 1 < s->size ? i + 1 : 0;
}

/* Slots from `from` on to `to`, around the end. */
static uint32_t distance(const struct index_seg *s, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + s->size - from;
}

static struct index_seg *seg_new(uint32_t depth, uint32_t size)
{
    struct index_seg *s = x_calloc(1, sizeof(*s) + size * sizeof(s->slots[0]));
    s->depth = depth;
    s->size = size;
    return s;
}

static void seg_put(struct index_seg *s, uint64_t slot)
{
    uint32_t i = slot_home(s, slot);
    while (s->slots[i])
        i = after(s, i);
    s->slots[i] = slot;
    s->used++;
}

void index_init(struct index *x)
{
    x->depth = 0;
    x->count = 0;
    x->dir = x_malloc(sizeof(struct index_seg *));
    x->dir[0] = seg_new(0, sizes[0]);
}

/* A segment of depth d stands in 1 << (depth - d) consecutive directory entries. */
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
    ASSERT(x->depth < 24); /* ten thousand million nodes */
    size_t n = (size_t)1 << x->depth;
    x->dir = x_reallocarray(x->dir, n * 2, sizeof(x->dir[0]));
    for (size_t i = n; i-- > 0;)
        x->dir[2 * i] = x->dir[2 * i + 1] = x->dir[i];
    x->depth++;
}

/* Puts lo and hi, which may be one, in the place of old. */
static void dir_replace(struct index *x, uint32_t hash, struct index_seg *old, struct index_seg *lo, struct index_seg *hi)
{
    size_t span = dir_span(x, old), first = ((uint64_t)hash >> (32 - x->depth)) & ~(span - 1);
    for (size_t i = 0; i < span; i++)
        x->dir[first + i] = i < span / 2 ? lo : hi;
    free(old);
}

static void seg_grow(struct index *x, uint32_t hash, struct index_seg *old)
{
    size_t step = 0;
    while (sizes[step] <= old->size)
        step++;
    struct index_seg *s = seg_new(old->depth, sizes[step]);
    for (uint32_t i = 0; i < old->size; i++)
        if (old->slots[i])
            seg_put(s, old->slots[i]);
    dir_replace(x, hash, old, s, s);
}

static void seg_split(struct index *x, uint32_t hash, struct index_seg *old)
{
    if (old->depth == x->depth)
        dir_double(x);
    uint32_t bit = 31 - old->depth, high = 0;
    for (uint32_t i = 0; i < old->size; i++)
        high += old->slots[i] && index_slot_node(old->slots[i])->hash >> bit & 1;
    /* The halves are alike unless somebody knows how we hash; then one may need all the room that there was. */
    uint32_t most = MAX(high, old->used - high), size = sizes[SPLIT_SIZE];
    if (most >= seg_max(size))
        size = SEG_SLOTS;
    struct index_seg *lo = seg_new(old->depth + 1, size), *hi = seg_new(old->depth + 1, size);
    for (uint32_t i = 0; i < old->size; i++)
        if (old->slots[i])
            seg_put(index_slot_node(old->slots[i])->hash >> bit & 1 ? hi : lo, old->slots[i]);
    dir_replace(x, hash, old, lo, hi);
}

void index_insert(struct index *x, struct znode *n)
{
    struct index_seg *s;
    while (s = index_segment(x, n->hash), s->used >= seg_max(s->size)) {
        if (s->size < SEG_SLOTS)
            seg_grow(x, n->hash, s);
        else
            seg_split(x, n->hash, s);
    }
    seg_put(s, slot_of(n));
    x->count++;
}

static uint32_t seg_position(const struct index_seg *s, const struct znode *n)
{
    uint64_t want = slot_of(n);
    uint32_t i = slot_home(s, want);
    while (s->slots[i] != want) {
        ASSERT(s->slots[i] != 0);
        i = after(s, i);
    }
    return i;
}

void index_remove(struct index *x, const struct znode *n)
{
    struct index_seg *s = index_segment(x, n->hash);
    uint32_t i = seg_position(s, n);
    /* Backward shift: pull later members of the probe run into the hole. */
    for (uint32_t j = after(s, i); s->slots[j]; j = after(s, j)) {
        if (distance(s, slot_home(s, s->slots[j]), j) >= distance(s, i, j)) {
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
    struct index_seg *s = index_segment(x, old->hash);
    s->slots[seg_position(s, old)] = slot_of(n);
}

void index_each(const struct index *x, void (*fn)(void *data, struct znode *n), void *data)
{
    for (size_t i = 0, span; i < (size_t)1 << x->depth; i += span) {
        const struct index_seg *s = x->dir[i];
        span = dir_span(x, s);
        for (uint32_t j = 0; j < s->size; j++)
            if (s->slots[j])
                fn(data, index_slot_node(s->slots[j]));
    }
}
