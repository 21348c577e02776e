/* message.c - answers of upstream servers, taken apart into records and put into other messages. */
#include "wire.h"

#define TTL_CACHE_MAX     3600
#define NEGATIVE_TTL_MAX  1800

/* Where rdata holds names that a sender may have compressed (RFC 3597 section 4): N name (that we may compress too: RFC 1035
 * types), n name, 1/2/4 that many bytes, s character string, * the rest. Other types are opaque. */
static const char *rdata_layout(uint16_t type)
{
    switch (type) {
    case DNS_T_NS:
    case DNS_T_CNAME:
    case DNS_T_PTR:
        return "N";
    case DNS_T_SOA:
        return "NN*";
    case DNS_T_MX:
        return "2N";
    case 17: /* RP */
        return "nn";
    case 18: /* AFSDB */
    case 21: /* RT */
    case 36: /* KX */
        return "2n";
    case 26: /* PX */
        return "2nn";
    case DNS_T_SRV:
        return "222n";
    case 35: /* NAPTR */
        return "22sssn";
    case 39: /* DNAME */
        return "n";
    default:
        return "*";
    }
}

/* Copies rdata of `type` from p[pos, end) to w with its names uncompressed. */
static int rdata_unpack(const uint8_t *p, size_t pos, size_t end, uint16_t type, struct wr *w)
{
    for (const char *f = rdata_layout(type); *f; f++) {
        struct dname name;
        size_t n = 0;

        switch (*f) {
        case 'N':
        case 'n':
            if (name_read(p, end, &pos, &name) < 0)
                return RC_MALFORMED;
            wr_bytes(w, name.wire, name.len);
            continue;
        case 's':
            n = pos < end ? p[pos] + 1u : 1;
            break;
        case '*':
            n = end - pos;
            break;
        default:
            n = (size_t)(*f - '0');
            break;
        }
        if (end - pos < n)
            return RC_MALFORMED;
        wr_bytes(w, p + pos, n);
        pos += n;
    }
    return pos == end ? 0 : RC_MALFORMED;
}

struct unpack {
    struct wr w;
    uint32_t ttl_min;
    bool has_soa;
    uint32_t negative_ttl;
    struct dns_msg head; /* without records */
};

/* Unpacks one record at p[*pos] into u; OPT only gives its rcode bits. */
static int unpack_record(const uint8_t *p, size_t n, size_t *pos, int section, struct unpack *u)
{
    struct dname owner;

    if (name_read(p, n, pos, &owner) < 0)
        return RC_MALFORMED;
    struct rd r = rd_init(p + *pos, n - *pos);
    uint16_t type = rd_u16(&r), class = rd_u16(&r);
    uint32_t ttl = rd_u32(&r);
    uint16_t rdlen = rd_u16(&r);
    size_t start = n - rd_left(&r);

    rd_take(&r, rdlen);
    if (r.rc != 0)
        return RC_MALFORMED;
    *pos = start + rdlen;
    if (type == DNS_T_OPT) {
        u->head.rcode = (uint16_t)(u->head.rcode | (ttl >> 24) << 4);
        return 0;
    }
    if (type == DNS_T_TSIG)
        return 0;
    if (ttl & 0x80000000) /* RFC 2181 section 8 */
        ttl = 0;
    wr_bytes(&u->w, owner.wire, owner.len);
    wr_u16(&u->w, type);
    wr_u16(&u->w, class);
    wr_u32(&u->w, ttl);
    size_t len_at = u->w.n;

    wr_u16(&u->w, 0);
    int rc = rdata_unpack(p, start, start + rdlen, type, &u->w);

    if (rc < 0)
        return rc;
    if (u->w.rc != 0)
        return RC_MALFORMED; /* grown past all reason */
    size_t len = u->w.n - len_at - 2;

    if (len > UINT16_MAX)
        return RC_MALFORMED;
    u->w.p[len_at] = (uint8_t)(len >> 8), u->w.p[len_at + 1] = (uint8_t)len;
    u->head.counts[section]++;
    u->ttl_min = MIN(u->ttl_min, ttl);
    if (section == 1 && type == DNS_T_SOA && len >= 4) { /* RFC 2308 section 5: the lesser of TTL and MINIMUM */
        u->has_soa = true;
        u->negative_ttl = MIN(ttl, load_u32(u->w.p + u->w.n - 4));
    }
    return 0;
}

static int unpack_question(const uint8_t *p, size_t n, size_t *pos, const struct dname *lower_name, uint16_t type)
{
    struct dname asked, lower;

    if (name_read(p, n, pos, &asked) < 0 || n - *pos < 4)
        return RC_MALFORMED;
    struct rd r = rd_init(p + *pos, 4);
    uint16_t t = rd_u16(&r), c = rd_u16(&r);

    *pos += 4;
    name_lower(&asked, &lower);
    return t == type && c == DNS_CLASS_IN && name_eq(&lower, lower_name) ? 0 : RC_INVAL;
}

static uint32_t unpack_ttl(const struct unpack *u)
{
    bool ok = u->head.rcode == DNS_NOERROR || u->head.rcode == DNS_NXDOMAIN;

    if (!ok || (u->head.flags & DNS_F_TC))
        return 0;
    if (u->head.counts[0] > 0 && u->head.rcode == DNS_NOERROR && !u->has_soa)
        return MIN(u->ttl_min, (uint32_t)TTL_CACHE_MAX);
    /* Without an SOA a denial says nothing about how long it holds. */
    return u->has_soa ? MIN(MIN(u->negative_ttl, u->ttl_min), (uint32_t)NEGATIVE_TTL_MAX) : 0;
}

int dns_msg_parse(const uint8_t *p, size_t n, uint16_t id, const struct dname *lower_name, uint16_t type,
                  struct dns_msg **ret)
{
    struct rd r = rd_init(p, n);
    struct unpack u = { .w = wr_init(DNS_MSG_UNPACKED_MAX), .ttl_min = UINT32_MAX };
    uint16_t got_id = rd_u16(&r), count[4];
    size_t pos = DNS_HEADER_LEN;

    u.head.flags = rd_u16(&r);
    u.head.rcode = u.head.flags & 0xf;
    for (int i = 0; i < 4; i++)
        count[i] = rd_u16(&r);
    if (r.rc != 0 || !(u.head.flags & DNS_F_QR) || (u.head.flags & DNS_F_OPCODE) || count[0] != 1)
        return RC_MALFORMED;
    if (got_id != id)
        return RC_INVAL;
    int rc = unpack_question(p, n, &pos, lower_name, type);

    for (int section = 0; section < 3 && rc == 0; section++)
        for (uint16_t i = 0; i < count[section + 1] && rc == 0; i++)
            rc = unpack_record(p, n, &pos, section, &u);
    if (rc == 0) {
        struct dns_msg *m = x_malloc(sizeof(*m) + u.w.n);

        *m = u.head;
        m->ttl_s = unpack_ttl(&u);
        m->len = u.w.n;
        if (u.w.n)
            memcpy(m->data, u.w.p, u.w.n);
        *ret = m;
    }
    wr_free(&u.w);
    return rc;
}

static size_t wire_len(const uint8_t *name)
{
    size_t n = 0;

    while (name[n])
        n += 1u + name[n];
    return n + 1;
}

/* The inverse of rdata_unpack; the layout was checked there. */
static void rdata_pack(const uint8_t *p, size_t n, uint16_t type, struct dns_writer *w)
{
    const uint8_t *end = p + n;

    for (const char *f = rdata_layout(type); *f; f++) {
        size_t take = *f == '*' ? (size_t)(end - p) : *f == 's' ? p[0] + 1u : (size_t)(*f - '0');

        if (*f == 'N' || *f == 'n') {
            dw_name(w, p, *f == 'N');
            p += wire_len(p);
            continue;
        }
        dw_bytes(w, p, take);
        p += take;
    }
}

uint16_t dns_msg_write(const struct dns_msg *m, int section, uint32_t age_s, struct dns_writer *w)
{
    struct rd r = rd_init(m->data, m->len);
    uint16_t written = 0, skip = 0;

    for (int i = 0; i < section; i++)
        skip = (uint16_t)(skip + m->counts[i]);
    for (uint32_t i = 0; i < (uint32_t)skip + m->counts[section]; i++) {
        const uint8_t *owner = rd_take(&r, wire_len(r.p));
        uint16_t type = rd_u16(&r), class = rd_u16(&r);
        uint32_t ttl = rd_u32(&r);
        uint16_t rdlen = rd_u16(&r);
        const uint8_t *rdata = rd_take(&r, rdlen);
        size_t mark = w->n;

        ASSERT(r.rc == 0);
        if (i < skip)
            continue;
        dw_name(w, owner, true);
        dw_u16(w, type);
        dw_u16(w, class);
        dw_u32(w, ttl > age_s ? ttl - age_s : 0);
        size_t len_at = w->n;

        dw_u16(w, 0);
        rdata_pack(rdata, rdlen, type, w);
        if (w->overflow) {
            w->overflow = false;
            w->n = mark;
            break;
        }
        size_t len = w->n - len_at - 2;

        w->p[len_at] = (uint8_t)(len >> 8), w->p[len_at + 1] = (uint8_t)len;
        written++;
    }
    return written;
}
