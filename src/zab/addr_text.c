/* addr_text.c - "host:port:port" as server lines and the initial message write it. */
#include "addr_text.h"

int addr_text_split(struct buf text, struct buf *parts, int max)
{
    const uint8_t *p = text.p, *end = text.p + text.n;
    int n = 0;

    if (text.n > 0 && *p == '[') {
        const uint8_t *close = memchr(p, ']', text.n);

        if (!close || close == p + 1 || (close + 1 < end && close[1] != ':'))
            return -1;
        if (n < max)
            parts[n] = buf_of(p + 1, (size_t)(close - p - 1));
        n++;
        if (close + 1 == end)
            return n;
        p = close + 2;
    }
    for (;;) {
        const uint8_t *colon = memchr(p, ':', (size_t)(end - p));

        if (n < max)
            parts[n] = buf_of(p, (size_t)((colon ? colon : end) - p));
        n++;
        if (!colon)
            return n;
        p = colon + 1;
    }
}

bool addr_text_port(struct buf text, uint16_t *ret)
{
    uint32_t v = 0;

    if (text.n == 0 || text.n > 5)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(text.p[i] - '0');
    }
    if (v == 0 || v > 65535)
        return false;
    *ret = (uint16_t)v;
    return true;
}
