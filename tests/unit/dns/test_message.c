#include "decode.h"

static struct dname asked;

/* A response to (id 7, "a.example", type): header flags, counts, then `body` behind the question. */
static size_t response(uint8_t *out, uint16_t flags, const uint8_t counts[3], uint16_t type, const uint8_t *body, size_t len)
{
    uint8_t head[12] = { 0, 7, (uint8_t)(flags >> 8), (uint8_t)flags, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2] };
    size_t n = 12;

    assert_int_equal(name_parse("a.example", &asked), 0);
    memcpy(out, head, 12);
    memcpy(out + n, asked.wire, asked.len);
    n += asked.len;
    out[n++] = (uint8_t)(type >> 8), out[n++] = (uint8_t)type, out[n++] = 0, out[n++] = 1;
    memcpy(out + n, body, len);
    return n + len;
}

#define OWNER 0xc0, 12
#define TTL(s) 0, 0, (s) >> 8, (s) & 0xff
#define ZONE  0xc0, 14 /* example */

static const struct {
    const char *what;
    uint16_t flags, type;
    uint8_t counts[3];
    uint8_t body[80];
    size_t len;
    int rc;
    uint32_t ttl_s;
} cases[] = {
    { "A", 0x8180, 1, { 1 }, { OWNER, 0, 1, 0, 1, TTL(300), 0, 4, 1, 2, 3, 4 }, 16, 0, 300 },
    { "TTL is the least, at most an hour", 0x8180, 1, { 1 }, { OWNER, 0, 1, 0, 1, TTL(40000), 0, 4, 1, 2, 3, 4 }, 16, 0, 3600 },
    { "TTL with the top bit is 0", 0x8180, 1, { 1 }, { OWNER, 0, 1, 0, 1, 0x80, 0, 0, 9, 0, 4, 1, 2, 3, 4 }, 16, 0, 0 },
    { "MX with a compressed name", 0x8180, 15, { 1 }, { OWNER, 0, 15, 0, 1, TTL(60), 0, 6, 0, 5, 1, 'm', ZONE }, 18, 0, 60 },
    { "SRV with a compressed name", 0x8180, 33, { 1 }, { OWNER, 0, 33, 0, 1, TTL(60), 0, 8, 0, 1, 0, 2, 0, 3, ZONE }, 20, 0, 60 },
    { "NXDOMAIN: the lesser of SOA's TTL and MINIMUM", 0x8183, 1, { 0, 1 },
      { ZONE, 0, 6, 0, 1, TTL(60), 0, 24, ZONE, ZONE, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 30 }, 36, 0, 30 },
    { "NODATA without SOA is not kept", 0x8180, 1, { 0 }, { 0 }, 0, 0, 0 },
    { "SERVFAIL is not kept", 0x8182, 1, { 0 }, { 0 }, 0, 0, 0 },
    { "cut is not kept", 0x8380, 1, { 1 }, { OWNER, 0, 1, 0, 1, TTL(300), 0, 4, 1, 2, 3, 4 }, 16, 0, 0 },
    { "OPT and TSIG are dropped", 0x8180, 1, { 1, 0, 1 },
      { OWNER, 0, 1, 0, 1, TTL(300), 0, 4, 1, 2, 3, 4, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0 }, 27, 0, 300 },
    { "an unknown type is bytes", 0x8180, 65, { 1 }, { OWNER, 0, 65, 0, 1, TTL(5), 0, 3, 0xc0, 0xff, 1 }, 15, 0, 5 },
    { "a query", 0x0100, 1, { 0 }, { 0 }, 0, RC_MALFORMED, 0 },
    { "other question", 0x8180, 2, { 0 }, { 0 }, 0, RC_INVAL, 0 },
    { "name longer than its rdata", 0x8180, 5, { 1 }, { OWNER, 0, 5, 0, 1, TTL(5), 0, 1, 1, 'x', 0 }, 15, RC_MALFORMED, 0 },
    { "rdata longer than its name", 0x8180, 5, { 1 }, { OWNER, 0, 5, 0, 1, TTL(5), 0, 4, 1, 'x', 0, 0 }, 16, RC_MALFORMED, 0 },
    { "rdata past the end", 0x8180, 1, { 1 }, { OWNER, 0, 1, 0, 1, TTL(5), 0, 9, 1 }, 13, RC_MALFORMED, 0 },
    { "MX cut short", 0x8180, 15, { 1 }, { OWNER, 0, 15, 0, 1, TTL(5), 0, 1, 0 }, 13, RC_MALFORMED, 0 },
    { "NAPTR string past the end", 0x8180, 35, { 1 }, { OWNER, 0, 35, 0, 1, TTL(5), 0, 5, 0, 1, 0, 1, 200 }, 17, RC_MALFORMED, 0 },
};

static void test_parse(void **state)
{
    uint8_t in[160];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_msg *m = NULL;
        size_t n = response(in, cases[i].flags, cases[i].counts, cases[i].type, cases[i].body, cases[i].len);
        uint16_t want = cases[i].rc == RC_INVAL ? 1 : cases[i].type;

        print_message("case: %s\n", cases[i].what);
        assert_int_equal(dns_msg_parse(in, n, 7, &asked, want, &m), cases[i].rc);
        if (cases[i].rc < 0)
            continue;
        assert_int_equal(m->ttl_s, cases[i].ttl_s);
        free(m);
        assert_int_equal(dns_msg_parse(in, n, 8, &asked, want, &m), RC_INVAL);
        for (size_t len = 0; len < n; len++)
            assert_int_equal(dns_msg_parse(in, len, 7, &asked, want, &m), RC_MALFORMED);
    }
}

/* Written into another message, a record says the same. */
static void test_write(void **state)
{
    static struct dns_writer w;
    uint8_t in[160], out[512];
    uint16_t counts[4] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_msg *m;
        struct decoded a, b;
        size_t n = response(in, cases[i].flags, cases[i].counts, cases[i].type, cases[i].body, cases[i].len);

        if (cases[i].rc < 0 || cases[i].type == 65 || strstr(cases[i].what, "top bit"))
            continue;
        print_message("case: %s\n", cases[i].what);
        assert_int_equal(dns_msg_parse(in, n, 7, &asked, cases[i].type, &m), 0);
        dw_start(&w, out, sizeof(out));
        for (int s = 0; s < 3; s++)
            counts[s + 1] = dns_msg_write(m, s, 0, &w);
        dw_header(&w, 7, m->flags, counts);
        if (cases[i].type != DNS_T_SRV)
            decode(in, n, &a);
        else
            memset(&a, 0, sizeof(a)); /* its target came compressed, which decode refuses from us */
        decode(out, w.n, &b);
        for (size_t k = 0; k < a.records.len; k++)
            assert_string_equal(a.records.items[k].text, b.records.items[k].text);
        if (cases[i].type == DNS_T_SRV)
            assert_string_equal(decoded_text(&b, 1, 0), "a.example. 60 SRV 1 2 3 example.");
        else
            assert_int_equal(a.records.len, b.records.len);
        decoded_free(&a);
        decoded_free(&b);
        free(m);
    }
}

static void test_write_age_and_room(void **state)
{
    static const uint8_t body[] = { OWNER, 0, 1, 0, 1, TTL(300), 0, 4, 1, 2, 3, 4, OWNER, 0, 1, 0, 1, TTL(10), 0, 4, 1, 2, 3, 5 };
    static const uint8_t counts[3] = { 2 };
    static struct dns_writer w;
    uint8_t in[160], out[64];
    struct dns_msg *m;
    struct decoded d;
    uint16_t written[4] = { 0 };
    size_t n = response(in, 0x8180, counts, 1, body, sizeof(body));

    assert_int_equal(dns_msg_parse(in, n, 7, &asked, 1, &m), 0);
    dw_start(&w, out, sizeof(out));
    written[1] = dns_msg_write(m, 0, 20, &w);
    assert_int_equal(written[1], 2);
    dw_header(&w, 7, 0x8180, written);
    decode(out, w.n, &d);
    assert_string_equal(decoded_text(&d, 1, 0), "a.example. 280 A 1.2.3.4");
    assert_string_equal(decoded_text(&d, 1, 1), "a.example. 0 A 1.2.3.5");
    decoded_free(&d);
    size_t whole = w.n;

    dw_start(&w, out, whole - 1);
    assert_int_equal(dns_msg_write(m, 0, 0, &w), 1);
    assert_int_equal(w.n, whole - 16);
    assert_false(w.overflow);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_age_and_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
