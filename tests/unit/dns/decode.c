#include "decode.h"

#include <jansson.h>
#include <stdio.h>

static const struct {
    uint16_t type;
    const char *name;
} types[] = {
    { 1, "A" },      { 2, "NS" },    { 5, "CNAME" }, { 6, "SOA" },   { 12, "PTR" },   { 13, "HINFO" }, { 15, "MX" },
    { 16, "TXT" },   { 28, "AAAA" }, { 33, "SRV" },  { 65, "HTTPS" }, { 251, "IXFR" }, { 252, "AXFR" }, { 255, "ANY" },
};

uint16_t type_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    fail_msg("type %s", name);
    return 0;
}

static const char *type_name(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].type == type)
            return types[i].name;
    fail_msg("type %u", type);
    return "";
}

const char *rcode_name(uint16_t rcode)
{
    static const char *const names[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };

    return rcode < ARRAY_LEN(names) ? names[rcode] : rcode == 16 ? "BADVERS" : "other";
}

static uint16_t u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_name(struct wr *w, const uint8_t *p, size_t n, size_t *pos)
{
    struct dname name;
    char text[DNS_TEXT_MAX];

    assert_int_equal(name_read(p, n, pos, &name), 0);
    name_format(&name, text);
    wr_text(w, text);
}

static void put_strings(struct wr *w, const uint8_t *p, size_t pos, size_t end)
{
    for (bool first = true; pos < end; pos += 1u + p[pos], first = false) {
        assert_true(pos + 1 + p[pos] <= end);
        wr_printf(w, "%s\"%.*s\"", first ? "" : " ", (int)p[pos], (const char *)p + pos + 1);
    }
}

static void put_rdata(struct wr *w, uint16_t type, const uint8_t *p, size_t n, size_t pos, size_t len)
{
    size_t end = pos + len;
    struct ip ip = { 0 };
    char text[IP_TEXT_MAX];

    switch (type) {
    case DNS_T_A:
    case DNS_T_AAAA:
        assert_int_equal(len, type == DNS_T_A ? 4 : 16);
        ip.family = type == DNS_T_A ? 4 : 6;
        memcpy(ip.b, p + pos, len);
        ip_format(&ip, text);
        wr_text(w, text);
        return;
    case DNS_T_SRV:
        wr_printf(w, "%u %u %u ", u16(p + pos), u16(p + pos + 2), u16(p + pos + 4));
        pos += 6;
        for (size_t at = pos; at < end; at += 1u + p[at]) /* RFC 2782: not compressed */
            assert_true(p[at] < 0xc0);
        break;
    case DNS_T_SOA:
        put_name(w, p, n, &pos);
        wr_text(w, " ");
        put_name(w, p, n, &pos);
        for (; pos < end; pos += 4)
            wr_printf(w, " %u", load_u32(p + pos));
        assert_int_equal(pos, end);
        return;
    case DNS_T_TXT:
    case DNS_T_HINFO:
        put_strings(w, p, pos, end);
        return;
    case DNS_T_MX:
        wr_printf(w, "%u ", u16(p + pos));
        pos += 2;
        break;
    case DNS_T_NS:
    case DNS_T_CNAME:
    case DNS_T_PTR:
        break;
    default:
        fail_msg("rdata of type %u", type);
    }
    put_name(w, p, n, &pos);
    assert_int_equal(pos, end);
}

static void decode_record(const uint8_t *p, size_t n, size_t *pos, int section, struct decoded *d)
{
    struct wr w = wr_init(0);

    put_name(&w, p, n, pos);
    assert_true(n - *pos >= 10);
    uint16_t type = u16(p + *pos), class = u16(p + *pos + 2), len = u16(p + *pos + 8);
    uint32_t ttl = load_u32(p + *pos + 4);

    *pos += 10;
    assert_true(n - *pos >= len);
    if (type == DNS_T_OPT) {
        assert_false(d->edns);
        assert_int_equal(section, 3);
        assert_int_equal(w.n, 1);
        d->edns = true;
        d->edns_size = class;
        d->dnssec_ok = ttl & 0x8000;
        d->rcode = (uint16_t)(d->rcode | ttl >> 24 << 4);
        assert_int_equal(ttl >> 16 & 0xff, 0);
        assert_int_equal(len, 0);
    } else {
        assert_int_equal(class, 1);
        wr_printf(&w, " %u %s ", ttl, type_name(type));
        put_rdata(&w, type, p, n, *pos, len);
        struct record r = { section, x_strdup(wr_cstr(&w)) };

        VEC_PUSH(&d->records, r);
    }
    *pos += len;
    wr_free(&w);
}

void decode(const uint8_t *p, size_t n, struct decoded *d)
{
    size_t pos = 12;
    struct dname name;

    memset(d, 0, sizeof(*d));
    assert_true(n >= 12);
    d->id = u16(p);
    d->flags = u16(p + 2);
    d->rcode = d->flags & 0xf;
    d->qdcount = u16(p + 4);
    if (d->qdcount) {
        assert_int_equal(name_read(p, n, &pos, &name), 0);
        name_format(&name, d->question);
        pos += 4;
    }
    for (int section = 1; section <= 3; section++)
        for (int i = 0; i < u16(p + 4 + 2 * section); i++)
            decode_record(p, n, &pos, section, d);
    assert_int_equal(pos, n);
}

void decoded_free(struct decoded *d)
{
    for (size_t i = 0; i < d->records.len; i++)
        free(d->records.items[i].text);
    VEC_FREE(&d->records);
}

size_t decoded_count(const struct decoded *d, int section)
{
    size_t n = 0;

    for (size_t i = 0; i < d->records.len; i++)
        n += d->records.items[i].section == section;
    return n;
}

const char *decoded_text(const struct decoded *d, int section, size_t i)
{
    for (size_t k = 0; k < d->records.len; k++)
        if (d->records.items[k].section == section && i-- == 0)
            return d->records.items[k].text;
    fail_msg("section %d is shorter", section);
    return "";
}

size_t query(uint8_t out[512], const char *text, uint16_t type, const struct ask_options *o)
{
    static const struct ask_options none;
    struct dname name;
    size_t n = 12;

    o = o ? o : &none;
    assert_int_equal(name_parse(text, &name), 0);
    memset(out, 0, 12);
    out[0] = 0x12, out[1] = 0x34;
    out[2] = o->norec ? 0 : 1;
    out[3] = o->cd ? 0x10 : 0;
    out[5] = 1;
    memcpy(out + n, name.wire, name.len);
    n += name.len;
    out[n++] = (uint8_t)(type >> 8), out[n++] = (uint8_t)type;
    out[n++] = 0, out[n++] = (uint8_t)(o->class ? o->class : 1);
    if (o->edns) {
        uint16_t size = o->size ? o->size : 1232;
        const uint8_t opt[11] = { 0, 0, 41, (uint8_t)(size >> 8), (uint8_t)size, 0, o->version, o->dnssec_ok ? 0x80 : 0 };

        memcpy(out + n, opt, sizeof(opt));
        n += sizeof(opt);
        out[11] = 1;
    }
    return n;
}

struct svc_table *fixture_table(void)
{
    struct svc_table *t = table_new();
    json_t *all = json_load_file(FIXTURES "/registry.json", 0, NULL), *node;
    const char *path;

    assert_true(json_is_object(all));
    json_object_foreach (all, path, node) {
        char *data = json_dumps(node, JSON_COMPACT);

        table_put(t, path, data, strlen(data), 1700000000000);
        free(data);
    }
    json_decref(all);
    assert_int_equal(table_bad_nodes(t), 0);
    return t;
}
