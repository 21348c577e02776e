/* names.h - domain names in wire form with their labels at hand.
 *
 * A dname is always uncompressed and at most 255 bytes with its root label. Comparison ignores ASCII case only
 * (RFC 4343); lower-casing whole wire bytes is safe because a length byte (0..63) is never an upper-case letter. */
#ifndef DNS_NAMES_H
#define DNS_NAMES_H

#include "base/bytes.h"

#define DNS_NAME_MAX   255
#define DNS_LABEL_MAX  63
#define DNS_LABELS_MAX 127
#define DNS_TEXT_MAX   1024 /* of name_format: every byte as \ddd, and the NUL */

struct dname {
    uint8_t len;    /* bytes of wire in use, with the root label */
    uint8_t labels; /* without the root */
    uint8_t off[DNS_LABELS_MAX + 1]; /* where each label starts in wire; off[labels] is the root */
    uint8_t wire[DNS_NAME_MAX + 1];
};

/* Reads the name at msg[*pos], following compression pointers, which must point strictly backwards behind the
 * header (so a name is read in bounded time). *pos moves past it. RC_SHORT, RC_MALFORMED; *ret is undefined then. */
int name_read(const uint8_t *msg, size_t len, size_t *pos, struct dname *ret);
/* From text: dots between labels, one at the end allowed, "" or "." the root; no escapes. RC_MALFORMED. */
int name_parse(const char *text, struct dname *ret);
/* As text with a final dot; unusual bytes as \ddd. */
void name_format(const struct dname *n, char out[DNS_TEXT_MAX]);

void name_lower(const struct dname *n, struct dname *ret);
/* Both in lower case. */
bool name_eq(const struct dname *a, const struct dname *b);
/* Is n the zone's apex or below it? Both in lower case. */
bool name_in_zone(const struct dname *n, const struct dname *zone);
/* Label i, counted from the left. */
static inline struct buf name_label(const struct dname *n, size_t i)
{
    return buf_of(n->wire + n->off[i] + 1, n->wire[n->off[i]]);
}
/* The part of n's wire form that is a name of `labels` labels: its last ones. Returns its length. */
static inline size_t name_suffix(const struct dname *n, size_t labels, const uint8_t **ret)
{
    size_t at = n->off[n->labels - labels];

    *ret = n->wire + at;
    return n->len - at;
}

/* Building from the left: start, push labels, end with a suffix (wire bytes with the root label). False, and the name is
 * of no use any more, when the result would be too long or a label is empty or over 63 bytes. */
void name_start(struct dname *n);
bool name_push(struct dname *n, struct buf label);
bool name_end(struct dname *n, const uint8_t *suffix, size_t suffix_len);

static inline uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

#endif
