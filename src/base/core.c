/* core.c - allocation that never returns NULL, assertions, result texts. */
#include "base/core.h"

#include <stdarg.h>
#include <stdio.h>

const char *rc_str(int rc)
{
    switch (rc) {
#define X(name, value, text)                                                                                 \
    case value:                                                                                              \
        return text;
        RC_TABLE(X)
#undef X
    }
    return "unknown error";
}

void base_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "quoll: assertion failed: %s (%s:%d); this is a bug\n", expr, file, line);
    abort();
}

static void *check(void *p, size_t size)
{
    if (UNLIKELY(p == NULL)) {
        fprintf(stderr, "quoll: out of memory allocating %zu bytes\n", size);
        abort();
    }
    return p;
}

void *x_malloc(size_t size)
{
    return check(malloc(size ? size : 1), size);
}

void *x_calloc(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size ? size : 1), size);
}

void *x_realloc(void *old, size_t size)
{
    return check(realloc(old, size ? size : 1), size);
}

void *x_reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        check(NULL, SIZE_MAX);
    return x_realloc(old, bytes);
}

char *x_strdup(const char *s)
{
    return s ? x_strndup(s, strlen(s)) : NULL;
}

char *x_strndup(const char *s, size_t n)
{
    char *p = x_malloc(n + 1);
    if (n)
        memcpy(p, s, n);
    p[n] = 0;
    return p;
}

void *x_memdup(const void *src, size_t n)
{
    void *p = x_malloc(n);
    if (n)
        memcpy(p, src, n);
    return p;
}

char *x_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *p = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    return check(n < 0 ? NULL : p, 0);
}

void vec_grow(void **items, size_t *cap, size_t need, size_t elem_size)
{
    size_t n = *cap ? *cap : 8;
    while (n < need)
        n *= 2;
    *items = x_reallocarray(*items, n, elem_size);
    *cap = n;
}
