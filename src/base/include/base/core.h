/* core.h - the few macros and the allocator that every module uses.
 *
 * Allocation    x_* never return NULL: when memory runs out the process stops with one line on stderr and
 *               abort(). Callers check a length against its limit *before* they allocate for it, so what
 *               stops us is exhaustion, never a number in a packet. A stopped server is covered by its quorum
 *               and recovers from its log.
 * Assertions    ASSERT stays on in release builds; it states what only our own bug can break. */
#ifndef BASE_CORE_H
#define BASE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h> /* its MIN and MAX, which other headers bring in too, evaluate an argument twice: replaced below */

#include "base/rc.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#undef MIN
#undef MAX
/* A number of its own in each use, so that one may stand inside another. */
#define BASE_PASTE_(a, b) a##b
#define BASE_PASTE(a, b) BASE_PASTE_(a, b)
#define BASE_PICK(op, a, b, n)                                                                               \
    ({                                                                                                       \
        __typeof__(a) BASE_PASTE(pick_a_, n) = (a);                                                          \
        __typeof__(b) BASE_PASTE(pick_b_, n) = (b);                                                          \
        BASE_PASTE(pick_a_, n) op BASE_PASTE(pick_b_, n) ? BASE_PASTE(pick_a_, n) : BASE_PASTE(pick_b_, n);  \
    })
#ifndef __cppcheck__ /* which does not read statement expressions */
#define MIN(a, b) BASE_PICK(<, a, b, __COUNTER__)
#define MAX(a, b) BASE_PICK(>, a, b, __COUNTER__)
#else
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

_Noreturn void base_assert_failed(const char *expr, const char *file, int line);
#define ASSERT(expr) (LIKELY(expr) ? (void)0 : base_assert_failed(#expr, __FILE__, __LINE__))

void *x_malloc(size_t size);
void *x_calloc(size_t count, size_t size);         /* checked multiply */
void *x_realloc(void *old, size_t size);
void *x_reallocarray(void *old, size_t count, size_t size);
char *x_strdup(const char *s);                     /* NULL in, NULL out */
char *x_strndup(const char *s, size_t n);          /* copies exactly n bytes and adds a NUL */
void *x_memdup(const void *p, size_t n);           /* n == 0 gives a valid pointer to free */
char *x_asprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Grows *items so that one more element fits; doubles. Use through VEC_PUSH. */
void vec_grow(void **items, size_t *cap, size_t need, size_t elem_size);

/* A typed growing array: struct VEC(int) v = {0}; VEC_PUSH(&v, 3); VEC_FREE(&v). */
#define VEC(type)                                                                                            \
    {                                                                                                        \
        type *items;                                                                                         \
        size_t len, cap;                                                                                     \
    }
#define VEC_RESERVE(v, n)                                                                                    \
    do {                                                                                                     \
        if ((n) > (v)->cap)                                                                                  \
            vec_grow((void **)&(v)->items, &(v)->cap, (n), sizeof(*(v)->items));                             \
    } while (0)
#define VEC_PUSH(v, x)                                                                                       \
    do {                                                                                                     \
        VEC_RESERVE((v), (v)->len + 1);                                                                      \
        (v)->items[(v)->len++] = (x);                                                                        \
    } while (0)
#define VEC_FREE(v)                                                                                          \
    do {                                                                                                     \
        free((v)->items);                                                                                    \
        (v)->items = NULL;                                                                                   \
        (v)->len = (v)->cap = 0;                                                                             \
    } while (0)

#endif
