/* JAAS files: sections, options, comments, quotes; errors that name file and line. And DIGEST-MD5 exchanges between both ends of ours. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "jaas.h"
#include "server/qauth.h"

static int parse(const char *text, const char *section, struct jaas_section *ret, struct storage_error *err)
{
    err->text[0] = '\0';
    return jaas_parse("f", text, strlen(text), section, ret, err);
}

static void test_values(void **state)
{
    static const struct {
        const char *name, *text, *value;
    } cases[] = {
        { "plain", "S { a.B required x=\"v\"; };", "v" },
        { "a word", "S{a.B required x=v;};", "v" },
        { "empty", "S { a.B required x=\"\"; };", "" },
        { "escapes", "S { a.B required x=\"a\\\"b\\\\c\\td\"; };", "a\"b\\c\td" },
        { "signs in quotes", "S { a.B required x=\"};={//\"; };", "};={//" },
        { "comments", "// a {\n/* b\n{ */ S { a.B /* c */ required x // d\n=\"v\"; };", "v" },
        { "the flag in capitals", "S { a.B REQUIRED x=\"v\"; };", "v" },
        { "other options", "S { a.B sufficient w=\"1\"\n x=\"v\" y=true; };", "v" },
        { "the right section", "T { a.B required x=\"t\"; }; S { a.B required x=\"v\"; }; U { a.B required x=\"u\"; };", "v" },
        { "the first of a name", "S { a.B required x=\"v\"; }; S { a.B required x=\"w\"; };", "v" },
        { "a quoted name", "\"S\" { a.B required x=\"v\"; };", "v" },
        { "crlf", "S {\r\n a.B required\r\n x=\"v\";\r\n};\r\n", "v" },
        { "several modules elsewhere", "T { a.B required; a.C optional; }; S { a.B required x=\"v\"; };", "v" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jaas_section s;
        struct storage_error err;

        print_message("case: %s\n", cases[i].name);
        assert_int_equal(parse(cases[i].text, "S", &s, &err), 0);
        assert_string_equal(s.module, "a.B");
        assert_string_equal(jaas_option(&s, "x"), cases[i].value);
        assert_null(jaas_option(&s, "z"));
        jaas_done(&s);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *told;
    } cases[] = {
        { "", RC_NOTFOUND, "f:1: there is no section S" },
        { "T { a.B required; };\n", RC_NOTFOUND, "f:2: there is no section S" },
        { "S {\n a.B required\n x=\"secret;\n};", RC_MALFORMED, "f:3: a quote" },
        { "S {\n a.B required\n x \"secret\";\n};", RC_MALFORMED, "f:3: expected =" },
        { "S {\n a.B required\n x=;\n};", RC_MALFORMED, "f:3: expected an option's value" },
        { "S {\n a.B required\n x=\"secret\"\n};", RC_MALFORMED, "f:4: expected an option, or ;" },
        { "S {\n a.B x=\"secret\";\n};", RC_MALFORMED, "f:2: expected required" },
        { "S {\n};", RC_MALFORMED, "f:2: expected a login module" },
        { "S {\n a.B required;\n}\n\nT", RC_MALFORMED, "f:5: expected ; after }" },
        { "S\na.B", RC_MALFORMED, "f:2: expected {" },
        { "\n= S", RC_MALFORMED, "f:2: expected a section's name" },
        { "S { a.B required;\n/* secret", RC_MALFORMED, "f:2: a comment" },
        { "S {\n a.B required x=\"${secret}\";\n};", RC_MALFORMED, "f:2: ${...}" },
        { "S {\n a.B required x=#secret;\n};", RC_MALFORMED, "f:2: a character" },
        { "S { a.B required; a.C required; };", RC_UNSUPPORTED, "f:1: section S has several" },
        { "S { a.B required; }; T {", RC_MALFORMED, "f:1: expected a login module" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jaas_section s;
        struct storage_error err;

        print_message("case: %s\n", cases[i].told);
        assert_int_equal(parse(cases[i].text, "S", &s, &err), cases[i].rc);
        assert_ptr_equal(strstr(err.text, cases[i].told), err.text);
        assert_null(strstr(err.text, "secret"));
    }
}

/* ---- exchanges ---- */

static struct qsasl *sasl(const char *user, const char *password)
{
    char path[] = "/tmp/quoll-jaas-XXXXXX";
    struct qsasl_options opt = { .enabled = true, .jaas_file = path };
    struct storage_error err = { "" };
    struct qsasl *ret = NULL;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_true(dprintf(fd, "QuorumServer { a.DigestLoginModule required user_a=\"pa\" user_b=\"pb\"; };\n"
                            "QuorumLearner { a.DigestLoginModule required username=\"%s\" password=\"%s\"; };\n", user, password) > 0);
    close(fd);
    int rc = qsasl_new(&opt, &ret, &err);
    (void)unlink(path);
    print_message("%s\n", err.text);
    assert_int_equal(rc, 0);
    return ret;
}

/* Gives what is in `in` to one end, first `piece` bytes, then ever more, until it takes some. */
static enum qauth_result deliver(struct qauth *a, struct wr *in, size_t piece, struct wr *out)
{
    enum qauth_result result = QAUTH_MORE;
    size_t used = 0;

    for (size_t n = MIN(piece, in->n); used == 0 && result == QAUTH_MORE; n = MIN(n + piece, in->n)) {
        result = qauth_take(a, in->p, n, &used, out);
        if (n == in->n)
            break;
    }
    assert_int_equal(used, in->n); /* one packet at a time is under way */
    wr_reset(in);
    return result;
}

/* True: both ends say DONE. */
static bool exchange(struct qsasl *s, size_t piece, char *ret_user, size_t user_size)
{
    struct wr up = wr_init(0), down = wr_init(0);
    struct qauth *server = qauth_new(s, true, true, &down), *client = qauth_new(s, false, false, &up);
    enum qauth_result at_server = QAUTH_MORE, at_client = QAUTH_MORE;

    assert_int_equal(down.n, 0);
    while (at_client == QAUTH_MORE) {
        assert_int_equal(at_server, QAUTH_MORE);
        at_server = deliver(server, &up, piece, &down);
        at_client = deliver(client, &down, piece, &up);
    }
    assert_int_equal(at_server, at_client);
    assert_int_equal(up.n, 0);
    (void)snprintf(ret_user, user_size, "%s", qauth_user(server)); /* fits */
    qauth_free(server);
    qauth_free(client);
    wr_free(&up);
    wr_free(&down);
    return at_client == QAUTH_DONE;
}

static void test_exchange(void **state)
{
    static const struct {
        const char *user, *password;
        bool good;
    } cases[] = { { "a", "pa", true }, { "b", "pb", true }, { "a", "pb", false }, { "c", "pa", false }, { "a", "", false }, { "a", "pa ", false } };
    static const size_t pieces[] = { 1, 7, 100000 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct qsasl *s = sasl(cases[i].user, cases[i].password);
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
            char user[64];
            assert_int_equal(exchange(s, pieces[k], user, sizeof(user)), cases[i].good);
            if (cases[i].good)
                assert_string_equal(user, cases[i].user);
        }
        qsasl_free(s);
    }
}

static void test_not_authenticating(void **state)
{
    static const uint8_t other[] = { 0, 0, 0, 11, 0, 0, 0, 0, 0, 0 };
    struct qsasl *s = sasl("a", "pa");
    struct wr out = wr_init(0);
    size_t used = 0;

    for (int required = 0; required < 2; required++) {
        struct qauth *a = qauth_new(s, true, required, &out);
        assert_int_equal(qauth_may_skip(a), !required);
        assert_int_equal(qauth_take(a, other, 7, &used, &out), QAUTH_MORE);
        assert_int_equal(qauth_take(a, other, 8, &used, &out), required ? QAUTH_FAILED : QAUTH_NONE);
        assert_int_equal(used, 0);
        qauth_free(a);
    }
    assert_int_equal(out.n, 0);
    wr_free(&out);
    qsasl_free(s);
}

/* libsasl2 would forget the first of them, and a stranger can send it. */
static void test_repeated_directive(void **state)
{
    static const char token[] = "username=\"a\",cnonce=\"first\",cnonce=\"second\"";
    struct qsasl *s = sasl("a", "pa");
    struct wr out = wr_init(0), in = wr_init(0);
    size_t used = 0;
    struct qauth *a = qauth_new(s, true, true, &out);

    for (int i = 0; i < 2; i++) {
        wr_u64(&in, UINT64_C(0x5F2435013501EDCC));
        wr_i32(&in, 0);
        wr_i32(&in, i ? (int32_t)strlen(token) : 0);
        wr_text(&in, i ? token : "");
    }
    assert_int_equal(qauth_take(a, in.p, in.n, &used, &out), QAUTH_FAILED);
    qauth_free(a); /* a sanitizer sees what is left */
    wr_free(&out);
    wr_free(&in);
    qsasl_free(s);
}

/* libsasl2 would compare it with what it has not made yet, whatever has sent it. */
static void test_answer_before_the_challenge(void **state)
{
    static const char *const tokens[] = { "rspauth=no", "rspauth=", "rspauth" };
    struct qsasl *s = sasl("a", "pa");

    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct wr out = wr_init(0), in = wr_init(0);
        size_t used = 0;
        struct qauth *a = qauth_new(s, false, true, &out);

        wr_u64(&in, UINT64_C(0x5F2435013501EDCC));
        wr_i32(&in, 0);
        wr_i32(&in, (int32_t)strlen(tokens[i]));
        wr_text(&in, tokens[i]);
        assert_int_equal(qauth_take(a, in.p, in.n, &used, &out), QAUTH_FAILED);
        qauth_free(a);
        wr_free(&out);
        wr_free(&in);
    }
    qsasl_free(s);
}

/* A server that says "success" at once, without having shown that it knows the password; lengths out of range. */
static void test_false_server(void **state)
{
    static const uint8_t success[] = { 0x5f, 0x24, 0x35, 0x01, 0x35, 0x01, 0xed, 0xcc, 0, 0, 0, 1, 0, 0, 0, 0 };
    static const uint8_t too_long[] = { 0x5f, 0x24, 0x35, 0x01, 0x35, 0x01, 0xed, 0xcc, 0, 0, 0, 0, 0, 0, 0x10, 0x01 };
    static const uint8_t negative[] = { 0x5f, 0x24, 0x35, 0x01, 0x35, 0x01, 0xed, 0xcc, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe };
    static const uint8_t *const all[] = { success, too_long, negative };
    struct qsasl *s = sasl("a", "pa");

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct wr out = wr_init(0);
        size_t used = 0;
        struct qauth *a = qauth_new(s, false, false, &out);
        assert_int_equal(qauth_take(a, all[i], sizeof(success), &used, &out), QAUTH_FAILED);
        assert_true(strlen(qauth_why(a)) > 0);
        qauth_free(a);
        wr_free(&out);
    }
    qsasl_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_errors),       cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_not_authenticating), cmocka_unit_test(test_false_server),
        cmocka_unit_test(test_repeated_directive), cmocka_unit_test(test_answer_before_the_challenge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
