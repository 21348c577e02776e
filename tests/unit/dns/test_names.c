#include "decode.h"

static void test_read(void **state)
{
    /* offsets count from the message's start: 12 bytes of header come first */
    static const struct {
        const char *what;
        uint8_t in[24];
        size_t len;
        size_t at; /* behind the header */
        int rc;
        const char *text;
        size_t end;
    } cases[] = {
        { "root", { 0 }, 1, 0, 0, ".", 1 },
        { "two labels", { 1, 'a', 2, 'b', 'c', 0 }, 6, 0, 0, "a.bc.", 6 },
        { "case kept, odd bytes escaped", { 3, 'A', '.', 7, 0 }, 5, 0, 0, "A\\046\\007.", 5 },
        { "pointer", { 1, 'a', 0, 1, 'b', 0xc0, 12 }, 7, 3, 0, "b.a.", 7 },
        { "pointer to pointer", { 1, 'a', 0, 0xc0, 12, 1, 'b', 0xc0, 15 }, 9, 5, 0, "b.a.", 9 },
        { "pointer to itself", { 0xc0, 12 }, 2, 0, RC_MALFORMED, NULL, 0 },
        { "pointer forward", { 0xc0, 14, 1, 'a', 0 }, 5, 0, RC_MALFORMED, NULL, 0 },
        { "pointer into its own name", { 1, 'a', 0xc0, 12 }, 4, 0, RC_MALFORMED, NULL, 0 },
        { "pointer into the header", { 1, 'a', 0xc0, 2 }, 4, 0, RC_MALFORMED, NULL, 0 },
        { "half a pointer", { 0xc0 }, 1, 0, RC_SHORT, NULL, 0 },
        { "no end", { 1, 'a' }, 2, 0, RC_SHORT, NULL, 0 },
        { "label past the end", { 5, 'a' }, 2, 0, RC_SHORT, NULL, 0 },
        { "nothing", { 0 }, 0, 0, RC_SHORT, NULL, 0 },
        { "label type 0x40", { 0x41, 0 }, 2, 0, RC_MALFORMED, NULL, 0 },
        { "label type 0x80", { 0x81, 0 }, 2, 0, RC_MALFORMED, NULL, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t msg[36] = { 0 };
        size_t pos = 12 + cases[i].at;
        struct dname n;
        char text[DNS_TEXT_MAX];

        print_message("case: %s\n", cases[i].what);
        memcpy(msg + 12, cases[i].in, cases[i].len);
        assert_int_equal(name_read(msg, 12 + cases[i].len, &pos, &n), cases[i].rc);
        if (cases[i].rc < 0)
            continue;
        name_format(&n, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(pos, 12 + cases[i].end);
        for (size_t len = 12 + cases[i].at; len < 12 + cases[i].end; len++) {
            pos = 12 + cases[i].at;
            assert_int_equal(name_read(msg, len, &pos, &n), RC_SHORT);
        }
    }
}

static void test_longest(void **state)
{
    uint8_t msg[12 + 300] = { 0 };
    struct dname n;
    char text[DNS_TEXT_MAX];
    size_t pos = 12;

    for (int i = 0; i < 127; i++) /* 127 labels of one byte and the root: 255 bytes */
        msg[12 + 2 * i] = 1, msg[13 + 2 * i] = 0xff;
    assert_int_equal(name_read(msg, sizeof(msg), &pos, &n), 0);
    assert_int_equal(n.len, 255);
    assert_int_equal(n.labels, 127);
    name_format(&n, text);
    assert_int_equal(strlen(text), 127 * 5);
    msg[12 + 254] = 1; /* one more */
    pos = 12;
    assert_int_equal(name_read(msg, sizeof(msg), &pos, &n), RC_MALFORMED);
}

static void test_parse(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "a.b", "a.b." }, { "a.b.", "a.b." }, { "", "." }, { ".", "." }, { "_x._tcp.A", "_x._tcp.A." },
        { "a..b", NULL },  { ".a", NULL },     { "..", NULL },
        { "0123456789012345678901234567890123456789012345678901234567890123", NULL }, /* 64 */
    };
    struct dname n;
    char text[DNS_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: '%s'\n", cases[i].in);
        assert_int_equal(name_parse(cases[i].in, &n), cases[i].out ? 0 : RC_MALFORMED);
        if (!cases[i].out)
            continue;
        name_format(&n, text);
        assert_string_equal(text, cases[i].out);
    }
}

static void test_zone(void **state)
{
    static const struct {
        const char *name, *zone;
        bool in;
    } cases[] = {
        { "cluster.local", "cluster.local", true },    { "a.b.Cluster.LOCAL", "cluster.local", true },
        { "local", "cluster.local", false },           { "xcluster.local", "cluster.local", false },
        { "a.cluster.locals", "cluster.local", false }, { "a", "", true },
        { "", "", true },                              { "", "a", false },
        { "a\tcluster.local", "cluster.local", false },
    };
    struct dname n, lower, zone;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s in %s\n", cases[i].name, cases[i].zone);
        assert_int_equal(name_parse(cases[i].name, &n), 0);
        assert_int_equal(name_parse(cases[i].zone, &zone), 0);
        name_lower(&n, &lower);
        assert_int_equal(name_in_zone(&lower, &zone), cases[i].in);
    }
}

static void test_build(void **state)
{
    struct dname n, zone;
    char text[DNS_TEXT_MAX], label[64];

    assert_int_equal(name_parse("cluster.local", &zone), 0);
    name_start(&n);
    assert_true(name_push(&n, buf_str("web")));
    assert_true(name_end(&n, zone.wire, zone.len));
    name_format(&n, text);
    assert_string_equal(text, "web.cluster.local.");
    assert_true(buf_is(name_label(&n, 1), "cluster"));

    name_start(&n);
    assert_false(name_push(&n, buf_str("")));
    memset(label, 'a', sizeof(label));
    assert_false(name_push(&n, buf_of(label, 64)));
    for (int i = 0; i < 3; i++)
        assert_true(name_push(&n, buf_of(label, 63)));
    assert_true(name_push(&n, buf_of(label, 48))); /* 241 */
    assert_false(name_end(&n, zone.wire, zone.len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read), cmocka_unit_test(test_longest), cmocka_unit_test(test_parse),
        cmocka_unit_test(test_zone), cmocka_unit_test(test_build),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
