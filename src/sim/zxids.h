/* zxids.h - looking things up that are kept by zxid: in arrays, ascending, of items that begin with it. */
#ifndef SIM_ZXIDS_H
#define SIM_ZXIDS_H

#include <stddef.h>
#include <stdint.h>

/* How many of the items, of `size` bytes each, are not above zxid. */
static inline size_t zxid_upto(const void *items, size_t len, size_t size, int64_t zxid)
{
    size_t lo = 0, hi = len;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (*(const int64_t *)(const void *)((const char *)items + mid * size) <= zxid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}
/* The one of that zxid in a VEC of such items; NULL: none. */
#define ZXID_FIND(vec, z) zxid_find((vec)->items, (vec)->len, sizeof(*(vec)->items), z)
static inline void *zxid_find(const void *items, size_t len, size_t size, int64_t zxid)
{
    size_t i = zxid_upto(items, len, size, zxid);
    char *at = (char *)(uintptr_t)items + (i > 0 ? i - 1 : 0) * size;

    return i > 0 && *(const int64_t *)(const void *)at == zxid ? at : NULL;
}

#endif
