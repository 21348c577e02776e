/* arena.h - memory that is freed all at once: one per request or batch.
 * Pointers stay valid until arena_reset/arena_free. Aligned to 16 bytes. Never fails (see core.h). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena {
    struct arena_chunk *head;
    uint8_t *p, *end;
};

static inline struct arena arena_init(void)
{
    return (struct arena){ 0 };
}
void *arena_alloc(struct arena *a, size_t n);      /* uninitialised */
void *arena_calloc(struct arena *a, size_t count, size_t size);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_strdup(struct arena *a, struct buf b); /* NUL-terminated */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_reset(struct arena *a);                 /* keeps one chunk for reuse */
void arena_free(struct arena *a);

#endif
