/* bytes.c - the growing writer. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

char *buf_dup(struct buf b)
{
    return b.p ? x_strndup((const char *)b.p, b.n) : NULL;
}

void wr_free(struct wr *w)
{
    free(w->p);
    *w = wr_init(w->max);
}

void wr_reset(struct wr *w)
{
    w->n = 0;
    w->rc = 0;
}

void wr_grow(struct wr *w, size_t more)
{
    if (w->rc != 0)
        return;
    if (w->max && (w->n > w->max || w->max - w->n < more)) {
        w->rc = RC_TOOBIG;
        return;
    }
    if (w->cap - w->n >= more)
        return;
    size_t cap = w->cap ? w->cap : 64;
    while (cap - w->n < more)
        cap *= 2;
    w->p = x_realloc(w->p, cap);
    w->cap = cap;
}

void wr_printf(struct wr *w, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    ASSERT(n >= 0);
    wr_grow(w, (size_t)n + 1);
    if (w->rc == 0) {
        vsnprintf((char *)w->p + w->n, (size_t)n + 1, fmt, again);
        w->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

const char *wr_cstr(struct wr *w)
{
    ASSERT(w->rc == 0);
    size_t max = w->max;
    w->max = 0; /* the NUL is ours, not the caller's data */
    wr_grow(w, 1);
    w->max = max;
    w->p[w->n] = 0;
    return (const char *)w->p;
}
