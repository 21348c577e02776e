/* names.c - domain names: reading, comparing, building. */
#include "names.h"

#include <stdio.h>

#define HEADER_LEN 12

/* Adds one label to n; the root (empty) label ends it. */
static int name_add(struct dname *n, const uint8_t *label, size_t len)
{
    if (n->len + len + 2 > DNS_NAME_MAX) /* its length byte and the root that must still follow */
        return RC_MALFORMED;
    n->off[n->labels++] = n->len;
    n->wire[n->len] = (uint8_t)len;
    memcpy(n->wire + n->len + 1, label, len);
    n->len = (uint8_t)(n->len + len + 1);
    return 0;
}

static void name_add_root(struct dname *n)
{
    n->off[n->labels] = n->len;
    n->wire[n->len++] = 0;
}

int name_read(const uint8_t *msg, size_t len, size_t *pos, struct dname *ret)
{
    size_t at = *pos, limit = *pos; /* pointers go below `limit`, which sinks: no loops */
    bool jumped = false;

    name_start(ret);
    for (;;) {
        if (at >= len)
            return RC_SHORT;
        uint8_t c = msg[at];

        if (c == 0)
            break;
        if (c >= 0xc0) {
            if (len - at < 2)
                return RC_SHORT;
            size_t target = (size_t)(c & 0x3f) << 8 | msg[at + 1];

            if (target >= limit || target < HEADER_LEN)
                return RC_MALFORMED;
            if (!jumped)
                *pos = at + 2;
            jumped = true;
            at = limit = target;
            continue;
        }
        if (c > DNS_LABEL_MAX) /* 0x40, 0x80: never assigned for good */
            return RC_MALFORMED;
        if (len - at - 1 < c)
            return RC_SHORT;
        int rc = name_add(ret, msg + at + 1, c);

        if (rc < 0)
            return rc;
        at += 1u + c;
    }
    name_add_root(ret);
    if (!jumped)
        *pos = at + 1;
    return 0;
}

int name_parse(const char *text, struct dname *ret)
{
    name_start(ret);
    if (strcmp(text, ".") == 0)
        text = "";
    while (*text) {
        size_t n = strcspn(text, ".");

        if (n == 0 || n > DNS_LABEL_MAX || name_add(ret, (const uint8_t *)text, n) < 0)
            return RC_MALFORMED;
        text += n;
        if (*text == '.')
            text++;
    }
    name_add_root(ret);
    return 0;
}

void name_format(const struct dname *n, char out[DNS_TEXT_MAX])
{
    char *o = out;

    for (size_t i = 0; i < n->labels; i++) {
        struct buf l = name_label(n, i);

        for (size_t k = 0; k < l.n; k++) {
            uint8_t c = l.p[k];

            if (c > ' ' && c < 127 && c != '.' && c != '\\' && c != '"')
                *o++ = (char)c;
            else
                o += sprintf(o, "\\%03u", c);
        }
        *o++ = '.';
    }
    if (n->labels == 0)
        *o++ = '.';
    *o = '\0';
}

void name_lower(const struct dname *n, struct dname *ret)
{
    ret->len = n->len;
    ret->labels = n->labels;
    memcpy(ret->off, n->off, n->labels + 1u);
    for (size_t i = 0; i < n->len; i++)
        ret->wire[i] = ascii_lower(n->wire[i]);
}

bool name_eq(const struct dname *a, const struct dname *b)
{
    return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool name_in_zone(const struct dname *n, const struct dname *zone)
{
    if (n->labels < zone->labels)
        return false;
    const uint8_t *tail;

    return name_suffix(n, zone->labels, &tail) == zone->len && memcmp(tail, zone->wire, zone->len) == 0;
}

void name_start(struct dname *n)
{
    n->len = 0;
    n->labels = 0;
}

bool name_push(struct dname *n, struct buf label)
{
    return label.n > 0 && label.n <= DNS_LABEL_MAX && name_add(n, label.p, label.n) == 0;
}

bool name_end(struct dname *n, const uint8_t *suffix, size_t suffix_len)
{
    while (suffix_len > 1) {
        size_t l = suffix[0];

        if (name_add(n, suffix + 1, l) < 0)
            return false;
        suffix += 1 + l;
        suffix_len -= 1 + l;
    }
    name_add_root(n);
    return true;
}
