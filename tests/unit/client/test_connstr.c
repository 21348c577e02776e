/* Connection strings: what is accepted, what is refused and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/connstr.h"
#include "base/bytes.h"

static void test_good(void **state)
{
    static const struct {
        const char *text, *servers, *chroot;
    } cases[] = {
        { "h", "h:2181;", "" },
        { "h:1", "h:1;", "" },
        { "a:1,b,c:65535", "a:1;b:2181;c:65535;", "" },
        { " a:1 ,\tb ", "a:1;b:2181;", "" },
        { "a,,b,", "a:2181;b:2181;", "" },
        { "a/", "a:2181;", "" },
        { "a:1,b:2/x/y", "a:1;b:2;", "/x/y" },
        { "[::1]:99/x", "[::1]:99;", "/x" },
        { "[fe80::1%eth0]", "[fe80::1%eth0]:2181;", "" },
        { "::1", "[::1]:2181;", "" },
        { "127.0.0.1:2181,[2001:db8::2]:2182", "127.0.0.1:2181;[2001:db8::2]:2182;", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct connstr cs;
        char *error;
        struct wr w = wr_init(0);
        print_message("case: %s\n", cases[i].text);
        assert_int_equal(connstr_parse(cases[i].text, &cs, &error), 0);
        for (size_t k = 0; k < cs.servers.len; k++)
            wr_printf(&w, "%s;", cs.servers.items[k].text);
        assert_string_equal(wr_cstr(&w), cases[i].servers);
        assert_string_equal(cs.chroot, cases[i].chroot);
        connstr_free(&cs);
        wr_free(&w);
    }
}

static void test_bad(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { NULL, "no connection string" },  { "", "names no server" },         { ",", "names no server" },
        { "/x", "names no server" },       { "h:0", "\"h:0\" is not a" },     { "h:65536", "is not a server" },
        { "h:", "is not a server" },       { ":2181", "is not a server" },    { "h:x", "is not a server" },
        { "[::1", "is not a server" },     { "[::1]2181", "is not a server" }, { "[]:1", "is not a server" },
        { "h:1:2", "is not a server" },    { "[h:1]:2", "is not a server" },  { "1::2::3", "is not a server" },
        { "a b", "is not a server" },      { "h/x/", "must not end with /" }, { "h//x", "empty component" },
        { "h/../x", "relative component" }, { "http://h", "empty component" }, { "a@b", "is not a server" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct connstr cs;
        char *error = NULL;
        print_message("case: %s\n", cases[i].text ? cases[i].text : "NULL");
        assert_int_equal(connstr_parse(cases[i].text, &cs, &error), RC_INVAL);
        assert_non_null(error);
        print_message("  %s\n", error);
        assert_non_null(strstr(error, cases[i].says));
        free(error);
    }
}

static void test_too_many(void **state)
{
    struct wr w = wr_init(0);
    struct connstr cs;
    char *error;
    for (int i = 0; i <= CONNSTR_SERVERS_MAX; i++)
        wr_text(&w, "h,");
    assert_int_equal(connstr_parse(wr_cstr(&w), &cs, &error), RC_INVAL);
    free(error);
    wr_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
                                        cmocka_unit_test(test_too_many) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
