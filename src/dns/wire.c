/* wire.c - queries in, replies out: header, question, EDNS, name compression. */
#include "wire.h"

/* Skips or notes one record behind the question; only OPT matters in a query. */
static int query_parse_record(const uint8_t *p, size_t n, size_t *pos, bool additional, struct dns_query *q)
{
    struct dname owner;
    int rc = name_read(p, n, pos, &owner);

    if (rc < 0)
        return RC_MALFORMED;
    struct rd r = rd_init(p + *pos, n - *pos);
    uint16_t type = rd_u16(&r), class = rd_u16(&r);
    uint32_t ttl = rd_u32(&r);
    uint16_t rdlen = rd_u16(&r);

    rd_take(&r, rdlen);
    if (r.rc != 0)
        return RC_MALFORMED;
    *pos = n - rd_left(&r);
    if (type != DNS_T_OPT)
        return 0;
    if (!additional || q->edns || owner.labels != 0) /* RFC 6891 6.1.1: one, at the root, in the additional section */
        return RC_MALFORMED;
    q->edns = true;
    q->edns_size = class;
    q->edns_version = (uint8_t)(ttl >> 16);
    q->dnssec_ok = ttl & 0x8000;
    return 0;
}

int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *ret)
{
    struct rd r = rd_init(p, n);
    uint16_t count[4];

    ret->id = rd_u16(&r);
    ret->flags = rd_u16(&r);
    for (int i = 0; i < 4; i++)
        count[i] = rd_u16(&r);
    ret->has_question = ret->edns = ret->dnssec_ok = false;
    ret->edns_version = 0;
    ret->edns_size = 0;
    if (r.rc != 0 || (ret->flags & DNS_F_QR))
        return RC_SHORT;
    if (ret->flags & DNS_F_OPCODE)
        return RC_UNSUPPORTED;
    if (count[0] != 1)
        return RC_MALFORMED;
    size_t pos = DNS_HEADER_LEN;

    if (name_read(p, n, &pos, &ret->q.name) < 0 || n - pos < 4)
        return RC_MALFORMED;
    ret->q.type = (uint16_t)(p[pos] << 8 | p[pos + 1]);
    ret->q.class = (uint16_t)(p[pos + 2] << 8 | p[pos + 3]);
    ret->has_question = true;
    pos += 4;
    /* Each record takes at least 11 bytes, so the message's length bounds this, whatever the counts say. */
    for (uint32_t i = 0, all = (uint32_t)count[1] + count[2] + count[3]; i < all; i++) {
        int rc = query_parse_record(p, n, &pos, i >= (uint32_t)count[1] + count[2], ret);

        if (rc < 0)
            return rc;
    }
    return pos == n ? 0 : RC_MALFORMED;
}

size_t dns_query_write(uint16_t id, const struct dname *name, uint16_t type, bool dnssec_ok, bool cd,
                       uint8_t out[DNS_QUERY_LEN_MAX])
{
    uint16_t flags = (uint16_t)(DNS_F_RD | (cd ? DNS_F_CD : 0));
    const uint8_t head[DNS_HEADER_LEN] = { (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(flags >> 8), (uint8_t)flags, 0, 1,
                                           0, 0, 0, 0, 0, 1 };
    const uint8_t tail[4 + DNS_OPT_LEN] = { (uint8_t)(type >> 8), (uint8_t)type, 0, DNS_CLASS_IN, 0, 0, DNS_T_OPT,
                                            DNS_UDP_MAX >> 8, DNS_UDP_MAX & 0xff, 0, 0, dnssec_ok ? 0x80 : 0, 0, 0, 0 };

    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), name->wire, name->len);
    memcpy(out + sizeof(head) + name->len, tail, sizeof(tail));
    return sizeof(head) + name->len + sizeof(tail);
}

/* ---- writing ---- */

void dw_start(struct dns_writer *w, uint8_t *p, size_t max)
{
    ASSERT(max >= DNS_HEADER_LEN);
    w->p = p;
    w->n = DNS_HEADER_LEN;
    w->max = max;
    w->overflow = false;
    w->used = 0;
    if (++w->generation == 0) { /* after 2^32 messages old slots would look new */
        memset(w->slots, 0, sizeof(w->slots));
        w->generation = 1;
    }
    memset(p, 0, DNS_HEADER_LEN);
}

uint8_t *dw_room(struct dns_writer *w, size_t n)
{
    if (w->overflow || w->max - w->n < n) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *p = w->p + w->n;

    w->n += n;
    return p;
}

void dw_u16(struct dns_writer *w, uint16_t v)
{
    uint8_t *p = dw_room(w, 2);

    if (p)
        p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v;
}

void dw_u32(struct dns_writer *w, uint32_t v)
{
    uint8_t *p = dw_room(w, 4);

    if (p)
        store_u32(p, v);
}

void dw_bytes(struct dns_writer *w, const void *src, size_t n)
{
    uint8_t *p = dw_room(w, n);

    if (p && n)
        memcpy(p, src, n);
}

/* The labels of an uncompressed name with a hash of the suffix that starts at each, made from the right. */
struct suffixes {
    size_t n;
    uint8_t off[DNS_LABELS_MAX];
    uint32_t hash[DNS_LABELS_MAX];
};

static void suffixes_of(const uint8_t *wire, struct suffixes *s)
{
    size_t at = 0;

    for (s->n = 0; wire[at]; at += 1u + wire[at])
        s->off[s->n++] = (uint8_t)at;
    uint32_t h = 0x811c9dc5;

    for (size_t i = s->n; i-- > 0;) {
        const uint8_t *l = wire + s->off[i];

        for (size_t k = 0; k <= l[0]; k++)
            h = (h ^ l[k]) * 0x01000193;
        s->hash[i] = h;
    }
}

/* Does the name at msg[at] (perhaps compressed) equal the uncompressed `wire`, case and all? Whatever stands at `at`, even
 * the rest of a record taken back, this reads inside the message only and ends: pointers must sink. */
static bool name_stands_at(const struct dns_writer *w, size_t at, const uint8_t *wire)
{
    size_t limit = at;

    for (;;) {
        if (at >= w->n)
            return false;
        uint8_t c = w->p[at];

        if (c >= 0xc0) {
            if (at + 2 > w->n)
                return false;
            at = (size_t)(c & 0x3f) << 8 | w->p[at + 1];
            if (at >= limit || at < DNS_HEADER_LEN)
                return false;
            limit = at;
            continue;
        }
        if (c != wire[0] || at + 1 + c > w->n || memcmp(w->p + at + 1, wire + 1, c) != 0)
            return false;
        if (c == 0)
            return true;
        at += 1u + c;
        wire += 1u + c;
    }
}

static bool dw_find(const struct dns_writer *w, uint32_t hash, const uint8_t *wire, uint16_t *ret)
{
    for (uint32_t i = hash % DW_SLOTS; w->slots[i].generation == w->generation; i = (i + 1) % DW_SLOTS) {
        if (w->slots[i].hash == hash && name_stands_at(w, w->slots[i].at, wire)) {
            *ret = w->slots[i].at;
            return true;
        }
    }
    return false;
}

static void dw_remember(struct dns_writer *w, uint32_t hash, size_t at)
{
    if (at >= 0x4000 || w->used >= DW_SLOTS * 3 / 4) /* a pointer has 14 bits */
        return;
    uint32_t i = hash % DW_SLOTS;

    while (w->slots[i].generation == w->generation)
        i = (i + 1) % DW_SLOTS;
    w->slots[i].generation = w->generation;
    w->slots[i].hash = hash;
    w->slots[i].at = (uint16_t)at;
    w->used++;
}

void dw_know(struct dns_writer *w, size_t at)
{
    struct suffixes s;

    suffixes_of(w->p + at, &s);
    for (size_t i = 0; i < s.n; i++)
        dw_remember(w, s.hash[i], at + s.off[i]);
}

void dw_name(struct dns_writer *w, const uint8_t *wire, bool compress)
{
    struct suffixes s;
    size_t known, start = w->n;
    uint16_t target = 0;

    suffixes_of(wire, &s);
    for (known = 0; known < s.n; known++)
        if (dw_find(w, s.hash[known], wire + s.off[known], &target))
            break;
    size_t written = compress ? known : s.n;

    if (written < s.n) {
        dw_bytes(w, wire, s.off[written]);
        dw_u16(w, (uint16_t)(0xc000 | target));
    } else {
        dw_bytes(w, wire, s.n ? s.off[s.n - 1] + 1u + wire[s.off[s.n - 1]] : 0);
        dw_bytes(w, "", 1);
    }
    for (size_t i = 0; i < known && !w->overflow; i++)
        dw_remember(w, s.hash[i], start + s.off[i]);
}

void dw_header(struct dns_writer *w, uint16_t id, uint16_t flags, const uint16_t counts[4])
{
    uint8_t *p = w->p;

    p[0] = (uint8_t)(id >> 8), p[1] = (uint8_t)id;
    p[2] = (uint8_t)(flags >> 8), p[3] = (uint8_t)flags;
    for (int i = 0; i < 4; i++)
        p[4 + 2 * i] = (uint8_t)(counts[i] >> 8), p[5 + 2 * i] = (uint8_t)counts[i];
}
