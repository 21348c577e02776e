#include "decode.h"

#define HEAD(flags, qd, an, ns, ar) 0x12, 0x34, (flags) >> 8, (flags) & 0xff, 0, qd, 0, an, 0, ns, 0, ar
#define QUESTION                    1, 'a', 0, 0, 1, 0, 1
#define OPT(version)                0, 0, 41, 0x04, 0xd0, 0, version, 0x80, 0, 0, 0

static void test_query_parse(void **state)
{
    static const struct {
        const char *what;
        uint8_t in[64];
        size_t len;
        int rc;
        bool edns;
    } cases[] = {
        { "plain", { HEAD(0x0100, 1, 0, 0, 0), QUESTION }, 19, 0, false },
        { "edns", { HEAD(0x0100, 1, 0, 0, 1), QUESTION, OPT(0) }, 30, 0, true },
        { "edns version 1", { HEAD(0x0100, 1, 0, 0, 1), QUESTION, OPT(1) }, 30, 0, true },
        { "edns with a cookie", { HEAD(0, 1, 0, 0, 1), QUESTION, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 10, 0, 2, 1, 2 }, 36, 0, true },
        { "ixfr's SOA", { HEAD(0, 1, 0, 1, 0), QUESTION, 0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 2, 9, 9 }, 33, 0, false },
        { "a reply", { HEAD(0x8100, 1, 0, 0, 0), QUESTION }, 19, RC_SHORT, false },
        { "NOTIFY", { HEAD(0x2000, 1, 0, 0, 0), QUESTION }, 19, RC_UNSUPPORTED, false },
        { "UPDATE", { HEAD(0x2800, 1, 0, 0, 0), QUESTION }, 19, RC_UNSUPPORTED, false },
        { "no question", { HEAD(0, 0, 0, 0, 0) }, 12, RC_MALFORMED, false },
        { "two questions", { HEAD(0, 2, 0, 0, 0), QUESTION, QUESTION }, 26, RC_MALFORMED, false },
        { "trailing byte", { HEAD(0, 1, 0, 0, 0), QUESTION, 0 }, 20, RC_MALFORMED, false },
        { "two OPT", { HEAD(0, 1, 0, 0, 2), QUESTION, OPT(0), OPT(0) }, 41, RC_MALFORMED, false },
        { "OPT not at the root", { HEAD(0, 1, 0, 0, 1), QUESTION, 1, 'x', OPT(0) }, 32, RC_MALFORMED, false },
        { "OPT among the answers", { HEAD(0, 1, 1, 0, 0), QUESTION, OPT(0) }, 30, RC_MALFORMED, false },
        { "compressed question", { HEAD(0, 1, 0, 0, 0), 0xc0, 12, 0, 1, 0, 1 }, 18, RC_MALFORMED, false },
        { "rdata past the end", { HEAD(0, 1, 0, 0, 1), QUESTION, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 9, 1 }, 31, RC_MALFORMED, false },
        { "record count lies", { HEAD(0, 1, 255, 255, 255), QUESTION }, 19, RC_MALFORMED, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_query q;

        print_message("case: %s\n", cases[i].what);
        assert_int_equal(dns_query_parse(cases[i].in, cases[i].len, &q), cases[i].rc);
        for (size_t n = 0; n < cases[i].len && cases[i].rc == 0; n++)
            assert_int_equal(dns_query_parse(cases[i].in, n, &q), n < 12 ? RC_SHORT : RC_MALFORMED);
        if (cases[i].rc != 0)
            continue;
        assert_int_equal(dns_query_parse(cases[i].in, cases[i].len, &q), 0);
        assert_int_equal(q.edns, cases[i].edns);
        assert_int_equal(q.edns_size, cases[i].edns ? 1232 : 0);
        assert_int_equal(q.id, 0x1234);
        assert_int_equal(q.q.type, 1);
    }
}

static void test_query_write(void **state)
{
    static const uint8_t golden[] = { 0xab, 0xcd, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'a', 1, 'b', 0, 0, 28, 0, 1,
                                      0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0 };
    uint8_t out[DNS_QUERY_LEN_MAX];
    struct dname n;

    assert_int_equal(name_parse("a.b", &n), 0);
    assert_int_equal(dns_query_write(0xabcd, &n, DNS_T_AAAA, true, true, out), sizeof(golden));
    assert_memory_equal(out, golden, sizeof(golden));
}

static struct dns_writer w; /* too large for some stacks, and zeroed once, as it wants */

static void put(const char *text, bool compress)
{
    struct dname n;

    assert_int_equal(name_parse(text, &n), 0);
    dw_name(&w, n.wire, compress);
}

static void test_compression(void **state)
{
    static const uint8_t golden[] = {
        1, 'a', 2, 'b', 'c', 1, 'd', 0,    /* 12: a.bc.d */
        1, 'x', 0xc0, 14,                  /* 20: x + bc.d */
        0xc0, 12,                          /* 24: a.bc.d */
        0xc0, 20,                          /* 26: x.bc.d */
        2, 'B', 'C', 0xc0, 17,             /* 28: BC + d: case counts */
        1, 'a', 2, 'b', 'c', 1, 'd', 0,    /* 33: not to be compressed */
        1, 'q', 1, 'd', 0,                 /* 41: nor this */
        0xc0, 41,                          /* 46: but they can be pointed at */
        0,                                 /* 48: the root */
    };
    uint8_t out[512];

    for (int round = 0; round < 3; round++) { /* the second message knows nothing of the first */
        dw_start(&w, out, sizeof(out));
        put("a.bc.d", true);
        put("x.bc.d", true);
        put("a.bc.d", true);
        put("x.bc.d", true);
        put("BC.d", true);
        put("a.bc.d", false);
        put("q.d", false);
        put("q.d", true);
        put("", true);
        assert_false(w.overflow);
        assert_int_equal(w.n - 12, sizeof(golden));
        assert_memory_equal(out + 12, golden, sizeof(golden));
    }
}

/* Whatever was taken back is not pointed at, unless the same bytes stand there again. */
static void test_rollback(void **state)
{
    uint8_t out[512];
    struct dname n;
    char text[DNS_TEXT_MAX];
    size_t pos;

    dw_start(&w, out, sizeof(out));
    put("gone.example", true);
    w.n = 12;
    put("another.test", true);
    pos = w.n;
    put("gone.example", true);
    assert_int_equal(name_read(out, w.n, &pos, &n), 0);
    name_format(&n, text);
    assert_string_equal(text, "gone.example.");
}

static void test_overflow(void **state)
{
    uint8_t out[64];

    for (size_t max = 12; max < 40; max++) {
        memset(out, 0xee, sizeof(out));
        dw_start(&w, out, max);
        put("aaaa.bbbb", true);
        dw_u16(&w, 1);
        put("cccc.bbbb", true);
        dw_u32(&w, 2);
        assert_int_equal(w.overflow, max < 12 + 11 + 2 + 7 + 4);
        for (size_t i = max; i < sizeof(out); i++)
            assert_int_equal(out[i], 0xee);
    }
}

/* Many names, past the slots and past the reach of pointers: every one reads back. */
static void test_many_names(void **state)
{
    static uint8_t out[65535];
    char text[64], got[DNS_TEXT_MAX];
    struct dname n;
    size_t pos = 12;

    dw_start(&w, out, sizeof(out));
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "host-%d.part-%d.svc.cluster.local", i, i % 7);
        put(text, true);
    }
    assert_false(w.overflow);
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "host-%d.part-%d.svc.cluster.local.", i, i % 7);
        assert_int_equal(name_read(out, w.n, &pos, &n), 0);
        name_format(&n, got);
        assert_string_equal(got, text);
    }
    assert_int_equal(pos, w.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_parse), cmocka_unit_test(test_query_write), cmocka_unit_test(test_compression),
        cmocka_unit_test(test_rollback),    cmocka_unit_test(test_overflow),    cmocka_unit_test(test_many_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
