/* Ensemble configurations: server lines, texts byte for byte, quorums of both kinds, what a reconfig makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "zab/quorum.h"

static const struct quorum_options plain = { .multi_address = false, .standalone_enabled = true };
static const struct quorum_options multi = { .multi_address = true, .standalone_enabled = false };

static struct quorum_config *parse(const char *text, const struct quorum_options *opt)
{
    struct quorum_config *c = NULL;
    struct quorum_error err = { "" };

    if (quorum_config_parse(buf_str(text), opt, &c, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return c;
}

static struct sid_set set_of(const char *sids)
{
    struct sid_set s = { 0 };

    for (const char *p = sids; *p; p++)
        if (*p != ' ')
            (void)sid_set_add(&s, *p - '0');
    return s;
}

static void test_sets(void **state)
{
    struct sid_set s = { 0 };

    assert_true(sid_set_add(&s, 5));
    assert_true(sid_set_add(&s, -1));
    assert_true(sid_set_add(&s, 3));
    assert_false(sid_set_add(&s, 3));
    assert_int_equal(s.len, 3);
    assert_int_equal(s.items[0], -1);
    assert_int_equal(s.items[2], 5);
    assert_true(sid_set_has(&s, 3));
    assert_false(sid_set_has(&s, 4));
    assert_true(sid_set_remove(&s, 3));
    assert_false(sid_set_remove(&s, 3));
    assert_false(sid_set_has(&s, 3));
    assert_int_equal(s.len, 2);
    sid_set_free(&s);
}

/* A line alone (with a second server beside it), and how it is printed; NULL: refused. */
static void test_server_lines(void **state)
{
    static const struct {
        const char *line, *printed;
        const struct quorum_options *opt;
    } cases[] = {
        { "h:2888:3888", "h:2888:3888:participant", &plain },
        { "h:2888:3888:observer", "h:2888:3888:observer", &plain },
        { "h:2888:3888:PARTICIPANT", "h:2888:3888:participant", &plain },
        { "h:2888:3888;2181", "h:2888:3888:participant;0.0.0.0:2181", &plain },
        { "h:2888:3888:observer;10.0.0.1:2181", "h:2888:3888:observer;10.0.0.1:2181", &plain },
        { "h:2888:3888;", "h:2888:3888:participant", &plain },
        { "  h:2888:3888 \t", "h:2888:3888:participant", &plain },
        { "[::1]:2888:3888;[fe80::2]:2181", "[::1]:2888:3888:participant;[fe80::2]:2181", &plain },
        { "b:1:2|a:3:4", "a:3:4|b:1:2:participant", &multi },
        { "b:1:2:observer|a:3:4:observer;5", "a:3:4|b:1:2:observer;0.0.0.0:5", &multi },
        { "b:1:2|a:3:4:observer", "a:3:4|b:1:2:observer", &multi },
        { "a:1:2|a:1:2", "a:1:2:participant", &multi },
        { "b:1:2|a:3:4", NULL, &plain },
        { "b:1:2:observer|a:3:4:participant", NULL, &multi },
        { "b:1:2|", NULL, &multi },
        { "", NULL, &plain },
        { "h", NULL, &plain },
        { "h:2888", NULL, &plain },
        { ":2888:3888", NULL, &plain },
        { "h:2888:2888", NULL, &plain },
        { "h:0:3888", NULL, &plain },
        { "h:2888:65536", NULL, &plain },
        { "h:2888:x", NULL, &plain },
        { "h:2888:3888:leader", NULL, &plain },
        { "h:2888:3888:observer:x", NULL, &plain },
        { "h:2888:3888;x", NULL, &plain },
        { "h:2888:3888;0", NULL, &plain },
        { "h:2888:3888;a:b:1", NULL, &plain },
        { "h:2888:3888;1;2", NULL, &plain },
        { "a b:2888:3888", NULL, &plain },
        { "::1:2888:3888", NULL, &plain },
        { "[::1:2888:3888", NULL, &plain },
        { "[]:2888:3888", NULL, &plain },
        { "[::1]x:2888:3888", NULL, &plain },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quorum_builder *b = quorum_builder_new(cases[i].opt);
        struct quorum_config *c = NULL;
        struct quorum_error err = { "" };
        char want[200];

        print_message("case: %s\n", cases[i].line);
        assert_int_equal(quorum_builder_set(b, "server.2", "x:1:2", &err), 0);
        assert_int_equal(quorum_builder_set(b, "server.3", "y:1:2", &err), 0);
        int rc = quorum_builder_set(b, "server.1", cases[i].line, &err);
        assert_int_equal(rc, cases[i].printed ? 0 : RC_INVAL);
        assert_int_equal(err.text[0] != '\0', rc != 0);
        if (rc == 0) {
            assert_int_equal(quorum_builder_build(b, &c, &err), 0);
            (void)snprintf(want, sizeof(want), "server.1=%s\nserver.2=x:1:2:participant\nserver.3=y:1:2:participant\nversion=0",
                           cases[i].printed);
            assert_string_equal((const char *)c->text.p, want);
            quorum_config_unref(c);
        }
        quorum_builder_free(b);
    }
}

/* NULL: refused; "": comes out as it went in. */
static void test_texts(void **state)
{
    static const struct {
        const char *in, *out;
        const struct quorum_options *opt;
    } cases[] = {
        { "server.1=10.0.0.1:2888:3888:participant;0.0.0.0:2181\nserver.2=10.0.0.2:2888:3888:participant;0.0.0.0:2181\n"
          "server.3=10.0.0.3:2888:3888:participant;0.0.0.0:2181\nversion=0", "", &plain },
        { "server.1=a:1:2:participant\nserver.2=b:1:2:observer\nserver.3=c:1:2:participant\nversion=7fffffffffffffff", "", &plain },
        { "version=1F\nserver.10=a:1:2\nserver.9=b:1:2", "server.9=b:1:2:participant\nserver.10=a:1:2:participant\nversion=1f", &plain },
        { "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant\nserver.4=d:1:2:participant\n"
          "group.1=1:2\ngroup.2=3:4\nweight.1=1\nweight.2=0\nweight.3=1\nweight.4=5\nversion=100000002", "", &plain },
        { "server.1=a:1:2\nserver.2=b:1:2\ngroup.5=2:1\nweight.2=3",
          "server.1=a:1:2:participant\nserver.2=b:1:2:participant\ngroup.5=1:2\nweight.1=1\nweight.2=3\nversion=0", &plain },
        /* Java properties */
        { "# comment\r\n ! other\r\n\r\n  server.1 : a:1:2\r\nserver.2\tb:1:2\r\nserver.\\\n   3=c:\\u0031:\\2\n",
          "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant\nversion=0", &plain },
        { "server.1=a:1:2\nserver.1=b:1:2\nserver.2=c:1:2", "server.1=b:1:2:participant\nserver.2=c:1:2:participant\nversion=0", &plain },
        { "server.1=a:1:2", "server.1=a:1:2:participant\nversion=0", &plain },
        { "server.1=a:1:2\nserver.2=b:1:2:observer", "server.1=a:1:2:participant\nserver.2=b:1:2:observer\nversion=0", &multi },
        { "", NULL, &plain },
        { "version=5", NULL, &plain },
        { "server.1=a:1:2:observer", NULL, &multi },
        { "server.1=a:1:2\nserver.2=b:1:2:observer", NULL, &plain },
        { "server.1=a:1:2\nclientPort=2181", NULL, &plain },
        { "server.x=a:1:2", NULL, &plain },
        { "server.-1=a:1:2", NULL, &plain },
        { "server.1=a:1:2\nversion=0x1", NULL, &plain },
        { "server.1=a:1:2\nversion=8000000000000000", NULL, &plain },
        { "server.1=a:1:2\nversion=", NULL, &plain },
        { "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", NULL, &plain },          /* 2 is in no group */
        { "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\ngroup.2=2", NULL, &plain }, /* 2 is in both */
        { "server.1=a:1:2\ngroup.1=1:9", NULL, &plain },                        /* 9 is nobody */
        { "server.1=a:1:2\ngroup.1=", NULL, &plain },
        { "server.1=a:1:2\nweight.1=1", NULL, &plain },
        { "server.1=a:1:2\ngroup.1=1\nweight.1=-1", NULL, &plain },
        { "server.1=a:1:2\ngroupie=1", NULL, &plain },
        { "server.1=\\u0000:1:2", NULL, &plain },
        { "server.1=\\ud800:1:2", NULL, &plain },
        { "server.1=\\u00", NULL, &plain },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quorum_config *c = NULL;
        struct quorum_error err = { "" };

        print_message("case %zu\n", i);
        int rc = quorum_config_parse(buf_str(cases[i].in), cases[i].opt, &c, &err);
        assert_int_equal(rc, cases[i].out ? 0 : RC_INVAL);
        if (!cases[i].out) {
            assert_true(err.text[0] != '\0');
            continue;
        }
        assert_string_equal((const char *)c->text.p, cases[i].out[0] ? cases[i].out : cases[i].in);
        assert_int_equal(c->text.n, strlen((const char *)c->text.p));
        struct quorum_config *next = quorum_config_with_version(c, 0xabcdef);
        assert_int_equal(next->version, 0xabcdef);
        assert_true(quorum_config_same_members(c, next));
        assert_int_equal(c->hierarchical, next->hierarchical);
        assert_non_null(strstr((const char *)next->text.p, "\nversion=abcdef"));
        quorum_config_unref(next);
        quorum_config_unref(c);
    }
    struct quorum_config *c = NULL;
    assert_int_equal(quorum_config_parse(buf_of("server.1=a:1:2\n\0", 16), &plain, &c, NULL), RC_INVAL);
}

static void test_limits(void **state)
{
    struct quorum_builder *b = quorum_builder_new(&plain);
    struct quorum_error err;
    char key[32];
    int rc = 0, i;

    for (i = 0; i <= QUORUM_MEMBERS_MAX && rc == 0; i++) {
        (void)snprintf(key, sizeof(key), "server.%d", i);
        rc = quorum_builder_set(b, key, "h:1:2", &err);
    }
    assert_int_equal(rc, RC_TOOBIG);
    assert_int_equal(i, QUORUM_MEMBERS_MAX + 1);
    assert_int_equal(quorum_builder_set(b, "server.0", "h:3:4", &err), 0); /* replacing takes no room */
    assert_int_equal(quorum_builder_set(b, "tickTime", "1", &err), RC_NOTFOUND);
    quorum_builder_free(b);

    struct wr w = wr_init(0);
    for (i = 0; i <= QUORUM_ADDRS_MAX; i++)
        wr_printf(&w, "%sh%d:1:2", i ? "|" : "", i);
    b = quorum_builder_new(&multi);
    assert_int_equal(quorum_builder_set(b, "server.1", wr_cstr(&w), &err), RC_TOOBIG);
    quorum_builder_free(b);
    wr_free(&w);

    uint8_t *big = x_malloc(QUORUM_TEXT_MAX + 1);
    struct quorum_config *c = NULL;
    memset(big, '#', QUORUM_TEXT_MAX + 1);
    assert_int_equal(quorum_config_parse(buf_of(big, QUORUM_TEXT_MAX + 1), &plain, &c, NULL), RC_TOOBIG);
    free(big);
}

/* A text so long that only a short version goes behind it, as a file or a leader may give one, would be a configuration that no reconfiguration, and
 * no new epoch, can give its version. */
static void test_every_version_fits(void **state)
{
    struct wr w = wr_init(0);
    size_t taken = 0, refused = 0;

    for (int i = 1; w.n < QUORUM_TEXT_MAX - 9000; i++) {
        wr_printf(&w, "server.%d=", i);
        for (int k = 0; k < 30; k++)
            wr_printf(&w, "%s%02d%0250d:1:2", k ? "|" : "", k, 0);
        wr_text(&w, ":participant\n");
    }
    size_t before = w.n;
    for (size_t len = QUORUM_TEXT_MAX - 40; len <= QUORUM_TEXT_MAX + 1; len++) {
        struct quorum_config *c = NULL;

        w.n = before;
        wr_text(&w, "server.5000=");
        size_t left = len - w.n - strlen(":participant\nversion=1");
        for (int k = 0; left > 0; k++) {
            size_t part = MIN(left, 250u); /* a host of at least one byte, and its ports */
            if (left > 250 && left - 250 < 10)
                part = 240;
            wr_printf(&w, "%s%02d%0*d:1:2", k ? "|" : "", k, (int)(part - (k ? 7 : 6)), 0);
            left -= part;
        }
        wr_text(&w, ":participant\nversion=1");
        assert_int_equal(w.n, len);
        int rc = quorum_config_parse(buf_of(w.p, w.n), &multi, &c, NULL);
        if (rc < 0) {
            assert_int_equal(rc, RC_TOOBIG);
            refused++;
            continue;
        }
        assert_int_equal(c->text.n, len);
        struct quorum_config *next = quorum_config_with_version(c, INT64_MAX);
        assert_int_equal(next->version, INT64_MAX);
        quorum_config_unref(next);
        quorum_config_unref(c);
        taken++;
    }
    assert_true(taken > 0);
    assert_true(refused > 0);
    wr_free(&w);
}

static void test_equality(void **state)
{
    static const char base[] = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2;5\n";
    static const struct {
        const char *other;
        bool equal, same;
    } cases[] = {
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2;5", true, true },
        { "version=0\nserver.1=a:1:2\nserver.2=b:1:2", true, false }, /* the version decides */
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:2", false, false },
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2", false, false },
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2;6", false, false },
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:2:observer\nserver.3=c:1:2;5", false, false },
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:9\nserver.3=c:1:2;5", false, false },
        { "version=1\nserver.1=a:1:2|z:1:2\nserver.2=b:1:2\nserver.3=c:1:2;5", false, false },
        { "version=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.4=c:1:2;5", false, false },
    };
    struct quorum_config *a = parse(base, &multi);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quorum_config *b = parse(cases[i].other, &multi);

        print_message("case %zu\n", i);
        assert_int_equal(quorum_config_equal(a, b), cases[i].equal);
        assert_int_equal(quorum_config_equal(b, a), cases[i].equal);
        assert_int_equal(quorum_config_same_members(a, b), cases[i].same);
        quorum_config_unref(b);
    }
    assert_null(quorum_config_member(a, 9));
    assert_string_equal(quorum_config_member(a, 2)->addrs[0].host, "b");
    struct quorum_config *again = quorum_config_ref(a);
    quorum_config_unref(a);
    assert_int_equal(again->members_len, 3);
    quorum_config_unref(again);
}

#define FIVE "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\n"
#define NINE FIVE "server.6=f:1:2\nserver.7=g:1:2\nserver.8=h:1:2\nserver.9=i:1:2\n"

static void test_quorums(void **state)
{
    static const struct {
        const char *config, *yes, *no; /* sets separated by commas */
    } cases[] = {
        { "server.1=a:1:2", "1", ",2" },
        { "server.1=a:1:2\nserver.2=b:1:2", "12", ",1,2" },
        { "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2", "12,23,13,123", ",1,2,3,14" },
        { "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer", "12,123", ",13,23,3" },
        { FIVE, "123,345,12345", ",12,45,1678" },
        { "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2", "123", "12,34" },
        /* three groups of three: two groups with two each */
        { NINE "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9", "1245,4578,124578,123456,123789", ",123,1247,147,124" },
        /* a group without weight counts for nothing */
        { NINE "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.7=0\nweight.8=0\nweight.9=0", "1245", ",12789,123,456789" },
        /* weights within a group: 3+1+1, more than half is 3 */
        { "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2:3\nweight.1=3", "1,12,13", ",2,23" },
        /* an observer's weight counts in the total and never in the sum */
        { "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.1=1:2:3\nweight.3=3", "", ",1,12,123" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quorum_config *c = parse(cases[i].config, &multi);

        print_message("case %zu\n", i);
        for (int expected = 0; expected < 2; expected++) {
            const char *sets = expected ? cases[i].yes : cases[i].no;

            for (const char *p = sets; expected ? *sets != '\0' : true;) {
                char one[32];
                size_t n = strcspn(p, ",");

                (void)snprintf(one, sizeof(one), "%.*s", (int)n, p);
                struct sid_set s = set_of(one);
                if (quorum_config_has_quorum(c, &s) != expected)
                    fail_msg("set {%s}: expected %d", one, expected);
                sid_set_free(&s);
                if (!p[n])
                    break;
                p += n + 1;
            }
        }
        quorum_config_unref(c);
    }
}

static void test_weights(void **state)
{
    struct quorum_config *maj = parse(FIVE, &multi);
    struct quorum_config *hier = parse("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nweight.2=0\nversion=5", &multi);
    struct quorum_view v = { hier, maj };

    assert_int_equal(quorum_config_weight(maj, 3), 1);
    assert_int_equal(quorum_config_weight(maj, 77), 1);
    assert_int_equal(quorum_config_weight(hier, 1), 1);
    assert_int_equal(quorum_config_weight(hier, 2), 0);
    assert_int_equal(quorum_config_weight(hier, 3), 0);
    assert_int_equal(quorum_view_weight(v, 2), 0);
    assert_int_equal(quorum_view_weight(v, 3), 1); /* only in the last seen one */
    quorum_config_unref(maj);
    quorum_config_unref(hier);
}

static void test_joint(void **state)
{
    struct quorum_config *old = parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=5", &plain);
    struct quorum_config *new = parse("server.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\nversion=9", &plain);
    static const struct {
        const char *set;
        bool joint, alone;
    } cases[] = { { "12", false, true }, { "34", false, false }, { "134", true, true }, { "1245", true, true }, { "", false, false } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sid_set s = set_of(cases[i].set);

        assert_int_equal(quorum_view_has_quorum((struct quorum_view){ old, new }, &s), cases[i].joint);
        assert_int_equal(quorum_view_has_quorum((struct quorum_view){ old, NULL }, &s), cases[i].alone);
        assert_int_equal(quorum_view_has_quorum((struct quorum_view){ old, old }, &s), cases[i].alone);
        sid_set_free(&s);
    }
    /* One that is older has no say in quorums, but its voters are still heard. */
    struct quorum_view back = { new, old };
    struct sid_set voters = { 0 };
    assert_false(quorum_view_is_joint(back));
    assert_true(quorum_view_is_voter(back, 1));
    assert_false(quorum_view_is_voter(back, 6));
    quorum_view_voters(back, &voters);
    assert_int_equal(voters.len, 5);
    sid_set_free(&voters);
    quorum_config_unref(old);
    quorum_config_unref(new);
}

static void test_change(void **state)
{
#define LINE(n, host) "server." n "=" host ":1:2:participant;0.0.0.0:3\n"
    static const char base[] = LINE("1", "a") LINE("2", "b") LINE("3", "c") "version=4";
    static const char hier[] = LINE("1", "a") LINE("2", "b") "group.1=1:2\nversion=4";
    static const struct {
        const char *name, *joining, *leaving, *replace, *want; /* want NULL: refused */
        const struct quorum_options *opt;
        const char *from;
        int rc; /* 0: RC_INVAL, if refused */
    } cases[] = {
        { "add", "server.4=d:1:2;3", NULL, NULL, LINE("1", "a") LINE("2", "b") LINE("3", "c") LINE("4", "d") "version=1000", &plain, base, 0 },
        { "remove", NULL, "3", NULL, LINE("1", "a") LINE("2", "b") "version=1000", &plain, base, 0 },
        { "remove nobody", NULL, "9", NULL, LINE("1", "a") LINE("2", "b") LINE("3", "c") "version=1000", &plain, base, 0 },
        { "empty lists", "", "", NULL, LINE("1", "a") LINE("2", "b") LINE("3", "c") "version=1000", &plain, base, 0 },
        { "role", "server.3=c:1:2:observer;3", NULL, NULL,
          LINE("1", "a") LINE("2", "b") "server.3=c:1:2:observer;0.0.0.0:3\nversion=1000", &plain, base, 0 },
        { "both", "server.4=d:1:2;3, server.5=e:1:2;3", "1 , 2", NULL, LINE("3", "c") LINE("4", "d") LINE("5", "e") "version=1000", &plain, base, 0 },
        { "move of an address", "server.4=a:1:2;3", "1", NULL, LINE("2", "b") LINE("3", "c") LINE("4", "a") "version=1000", &plain, base, 0 },
        { "replace", NULL, NULL, "server.7=x:1:2;3,server.8=y:1:2;3", LINE("7", "x") LINE("8", "y") "version=1000", &plain, base, 0 },
        { "replace a hierarchy", NULL, NULL, LINE("7", "x") LINE("8", "y"), LINE("7", "x") LINE("8", "y") "version=1000", &plain, hier, 0 },
        { "one voter is enough without standalone", NULL, "2,3", NULL, LINE("1", "a") "version=1000", &multi, base, 0 },
        { "one voter", NULL, "2,3", NULL, NULL, &plain, base, 0 },
        { "no voter", NULL, "1,2,3", NULL, NULL, &multi, base, 0 },
        { "no client port", "server.4=d:1:2", NULL, NULL, NULL, &plain, base, 0 },
        { "no server line", "d:1:2;3", NULL, NULL, NULL, &plain, base, 0 },
        { "no value", "server.4", NULL, NULL, NULL, &plain, base, 0 },
        { "leaving is no number", NULL, "server.3", NULL, NULL, &plain, base, RC_MALFORMED },
        { "joining is no number", "server.x=d:1:2;3", NULL, NULL, NULL, &plain, base, RC_MALFORMED },
        { "two equals signs", "server.4=d:1:2;3=5", NULL, NULL, NULL, &plain, base, 0 },
        { "only what is behind the last dot counts", "4=d:1:2;3,a.server.5=e:1:2;3", "1,2", NULL,
          LINE("3", "c") LINE("4", "d") LINE("5", "e") "version=1000", &plain, base, 0 },
        { "address in use", "server.4=a:1:5;6", NULL, NULL, NULL, &plain, base, 0 },
        { "election port in use", "server.4=A:2:5;6", NULL, NULL, NULL, &plain, base, 0 },
        { "client port in use", "server.4=x:7:8;a:2", NULL, NULL, NULL, &plain, base, 0 },
        { "incremental hierarchy", "server.4=d:1:2;3", NULL, NULL, NULL, &plain, hier, 0 },
        { "replace by nothing", NULL, NULL, "", NULL, &plain, base, 0 },
        { "replace by junk", NULL, NULL, "tickTime=5", NULL, &plain, base, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quorum_config *c = parse(cases[i].from, &plain), *next = NULL;
        struct quorum_change change = { cases[i].joining, cases[i].leaving, cases[i].replace };
        struct quorum_error err = { "" };

        print_message("case: %s\n", cases[i].name);
        int rc = quorum_config_change(c, &change, cases[i].opt, 0x1000, &next, &err);
        if (cases[i].want) {
            assert_int_equal(rc, 0);
            assert_string_equal((const char *)next->text.p, cases[i].want);
            quorum_config_unref(next);
        } else {
            assert_int_equal(rc, cases[i].rc ? cases[i].rc : RC_INVAL);
            assert_true(err.text[0] != '\0');
            assert_null(next);
        }
        quorum_config_unref(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),     cmocka_unit_test(test_server_lines), cmocka_unit_test(test_texts),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_version_fits),   cmocka_unit_test(test_equality),     cmocka_unit_test(test_quorums),
        cmocka_unit_test(test_weights),  cmocka_unit_test(test_joint),        cmocka_unit_test(test_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
