/* arena.c - bump allocation in chunks. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#define CHUNK_MIN 4096

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    _Alignas(16) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (UNLIKELY((size_t)(a->end - a->p) < n || a->p == NULL)) {
        size_t size = a->head ? a->head->size * 2 : CHUNK_MIN;
        if (size > (1u << 20))
            size = 1u << 20;
        if (size < n)
            size = n;
        struct arena_chunk *c = x_malloc(sizeof(*c) + size);
        c->size = size;
        c->next = a->head;
        a->head = c;
        a->p = c->data;
        a->end = c->data + size;
    }
    void *p = a->p;
    a->p += n;
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t bytes;
    ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    return memset(arena_alloc(a, bytes), 0, bytes);
}

void *arena_memdup(struct arena *a, const void *src, size_t n)
{
    void *p = arena_alloc(a, n ? n : 1);
    if (n)
        memcpy(p, src, n);
    return p;
}

char *arena_strdup(struct arena *a, struct buf b)
{
    char *p = arena_alloc(a, b.n + 1);
    if (b.n)
        memcpy(p, b.p, b.n);
    p[b.n] = 0;
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    ASSERT(fmt != NULL); /* gcc asks for it when sanitizers are on */
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    ASSERT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->head;
    if (!keep)
        return;
    for (struct arena_chunk *c = keep->next, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    keep->next = NULL;
    a->p = keep->data;
    a->end = keep->data + keep->size;
}

void arena_free(struct arena *a)
{
    for (struct arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = arena_init();
}
