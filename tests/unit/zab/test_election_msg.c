/* The election port: initial messages, frames, notifications, and which connection of a pair lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "wire_util.h"
#include "zab/connrule.h"
#include "zab/packet.h"

#define V1 "FFFFFFFFFFFF0000"
#define V2 "FFFFFFFFFFFF0001"
#define SID3 "0000000000000003"

static void hello_print(const struct hello *h, struct wr *w)
{
    wr_reset(w);
    for (size_t i = 0; i < h->addrs_len; i++) {
        wr_text(w, i ? " " : "");
        wr_bytes(w, h->addrs[i].host.p, h->addrs[i].host.n);
        wr_printf(w, "/%u", h->addrs[i].port);
    }
}

static void test_hello(void **state)
{
    static const struct {
        const char *name, *hex;
        int rc;
        int64_t version;
        const char *addrs;
    } cases[] = {
        { "one address", V1 SID3 "0000000D '10.0.0.3:3888'", 0, HELLO_V1, "10.0.0.3/3888" },
        { "two", V2 SID3 "00000007 'a:1|b:2'", 0, HELLO_V2, "a/1 b/2" },
        { "two in version 1", V1 SID3 "00000007 'a:1|b:2'", 0, HELLO_V1, "a/1 b/2" },
        { "IPv6", V1 SID3 "0000000A '[::1]:3888'", 0, HELLO_V1, "::1/3888" },
        { "wildcards are left out", V2 SID3 "00000014 '0.0.0.0:1|[::]:2|b:3'", 0, HELLO_V2, "b/3" },
        { "nothing is left", V1 SID3 "0000000C '0.0.0.0:3888'", 0, HELLO_V1, "" },
        { "older than 3.5", SID3, 0, HELLO_LEGACY, "" },
        { "an unknown version", "FFFFFFFFFFFF0002" SID3, RC_UNSUPPORTED, 0, NULL },
        { "no length", V1 SID3 "00000000", RC_MALFORMED, 0, NULL },
        { "negative length", V1 SID3 "FFFFFFFF", RC_MALFORMED, 0, NULL },
        { "too long", V1 SID3 "00000801", RC_TOOBIG, 0, NULL },
        { "longest, to come", V1 SID3 "00000800", RC_SHORT, 0, NULL },
        { "negative sid", V1 "FFFFFFFFFFFFFFFF 00000003 'a:1'", RC_MALFORMED, 0, NULL },
        { "no port", V1 SID3 "00000001 'a'", RC_MALFORMED, 0, NULL },
        { "port is no number", V1 SID3 "00000003 'a:x'", RC_MALFORMED, 0, NULL },
        { "two ports", V1 SID3 "00000005 'a:1:2'", RC_MALFORMED, 0, NULL },
        { "empty entry", V2 SID3 "00000004 'a:1|'", RC_MALFORMED, 0, NULL },
        { "no host", V1 SID3 "00000002 ':1'", RC_MALFORMED, 0, NULL },
    };
    struct wr w = wr_init(0), text = wr_init(0);
    struct hello h;
    size_t used;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        wr_reset(&w);
        wire_hex(&w, cases[i].hex);
        assert_int_equal(hello_decode(w.p, w.n, &h, &used), cases[i].rc);
        if (cases[i].rc != 0)
            continue;
        assert_int_equal(used, w.n);
        assert_int_equal(h.version, cases[i].version);
        assert_int_equal(h.sid, 3);
        hello_print(&h, &text);
        assert_string_equal(wr_cstr(&text), cases[i].addrs);
        for (size_t k = 0; k < w.n; k++) {
            assert_int_equal(hello_decode(w.p, k, &h, &used), RC_SHORT);
            assert_true(used > k);
            assert_true(used <= w.n);
        }
    }
    wr_reset(&w);
    wire_hex(&w, V2 SID3 "0000010B");
    for (int i = 0; i <= HELLO_ADDRS_MAX; i++)
        wr_printf(&w, "%sa:%d", i ? "|" : "", i % 9 + 1);
    store_u32(w.p + 16, (uint32_t)w.n - 20);
    assert_int_equal(hello_decode(w.p, w.n, &h, &used), RC_TOOBIG);
    wr_free(&w);
    wr_free(&text);
}

static void test_hello_encode(void **state)
{
    static const struct {
        int64_t version;
        struct hello_addr addrs[2];
        size_t n;
        const char *hex;
    } cases[] = {
        { HELLO_V1, { { { (const uint8_t *)"10.0.0.3", 8 }, 3888 } }, 1, V1 SID3 "0000000D '10.0.0.3:3888'" },
        { HELLO_V1, { { { (const uint8_t *)"::1", 3 }, 5 }, { { (const uint8_t *)"b", 1 }, 6 } }, 2, V1 SID3 "00000007 '[::1]:5'" },
        { HELLO_V2, { { { (const uint8_t *)"::1", 3 }, 5 }, { { (const uint8_t *)"b", 1 }, 6 } }, 2, V2 SID3 "0000000B '[::1]:5|b:6'" },
        { HELLO_LEGACY, { { { NULL, 0 }, 0 } }, 0, SID3 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr want = wr_init(0), got = wr_init(0);
        struct hello h = { .version = cases[i].version, .sid = 3, .addrs_len = cases[i].n };

        memcpy(h.addrs, cases[i].addrs, sizeof(cases[i].addrs));
        wire_hex(&want, cases[i].hex);
        hello_encode(&got, &h);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.p, want.p, want.n);
        wr_free(&want);
        wr_free(&got);
    }
    char *long_name = x_malloc(HELLO_ADDR_LEN_MAX);
    struct hello h = { .version = HELLO_V1, .sid = 3, .addrs_len = 1 };
    struct wr w = wr_init(0);
    memset(long_name, 'a', HELLO_ADDR_LEN_MAX);
    h.addrs[0] = (struct hello_addr){ buf_of(long_name, HELLO_ADDR_LEN_MAX), 1 };
    hello_encode(&w, &h);
    assert_int_equal(w.rc, RC_TOOBIG);
    wr_free(&w);
    free(long_name);
}

static void test_frame(void **state)
{
    static const struct {
        const char *hex;
        int rc;
        size_t used;
    } cases[] = {
        { "00000001 AA", 0, 5 },     { "00000002 AA BB CC", 0, 6 },         { "00000002 AA", RC_SHORT, 6 },
        { "000000", RC_SHORT, 4 },   { "00000000 AA", RC_MALFORMED, 0 },    { "FFFFFFFF AA", RC_MALFORMED, 0 },
        { "00080001", RC_TOOBIG, 0 }, { "00080000", RC_SHORT, 4 + 524288 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr w = wr_init(0);
        struct buf payload;
        size_t used = 0;

        wire_hex(&w, cases[i].hex);
        assert_int_equal(election_frame_decode(w.p, w.n, &payload, &used), cases[i].rc);
        if (cases[i].rc == 0 || cases[i].rc == RC_SHORT)
            assert_int_equal(used, cases[i].used);
        if (cases[i].rc == 0)
            assert_int_equal(payload.n, used - 4);
        wr_free(&w);
    }
}

#define VOTE "0000000000000003 0000000100000007 0000000000000009" /* leader, zxid, round */
#define EPOCH "0000000000000005"

static void test_notification(void **state)
{
    static const struct {
        const char *name, *hex;
        int rc;
        int64_t peer_epoch;
        int32_t version;
        const char *config; /* NULL: none */
    } cases[] = {
        { "ours", "00000000" VOTE EPOCH "00000002 00000002 'ab'", 0, 5, 2, "ab" },
        { "empty configuration", "00000001" VOTE EPOCH "00000002 00000000", 0, 5, 2, "" },
        { "bytes behind it", "00000001" VOTE EPOCH "00000002 00000001 'ab'", 0, 5, 2, "a" },
        { "28 bytes: the zxid's epoch", "00000002" VOTE, 0, 1, 0, NULL },
        { "40 bytes: the last word is no version", "00000002" VOTE EPOCH "00000002", 0, 5, 0, NULL },
        { "version 1", "00000002" VOTE EPOCH "00000001 00000002", 0, 5, 1, NULL },
        { "27 bytes", "00000002 0000000000000003 0000000100000007 00000000000000", RC_MALFORMED, 0, 0, NULL },
        { "29 bytes", "00000002" VOTE "00", RC_MALFORMED, 0, 0, NULL },
        { "39 bytes", "00000002" VOTE EPOCH "000000", RC_MALFORMED, 0, 0, NULL },
        { "41 bytes, version 2", "00000002" VOTE EPOCH "00000002 00", RC_MALFORMED, 0, 0, NULL },
        { "negative length", "00000002" VOTE EPOCH "00000002 FFFFFFFF", RC_MALFORMED, 0, 0, NULL },
        { "configuration cut", "00000002" VOTE EPOCH "00000002 00000003 'ab'", RC_MALFORMED, 0, 0, NULL },
        { "unknown state", "00000004" VOTE EPOCH "00000002 00000000", RC_UNSUPPORTED, 0, 0, NULL },
        { "negative state", "FFFFFFFF" VOTE EPOCH "00000002 00000000", RC_UNSUPPORTED, 0, 0, NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr w = wr_init(0), out = wr_init(0);
        struct notification n;

        print_message("case: %s\n", cases[i].name);
        wire_hex(&w, cases[i].hex);
        assert_int_equal(notification_decode(buf_of(w.p, w.n), &n), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(n.leader, 3);
            assert_int_equal(n.zxid, 0x100000007);
            assert_int_equal(n.round, 9);
            assert_int_equal(n.peer_epoch, cases[i].peer_epoch);
            assert_int_equal(n.version, cases[i].version);
            assert_int_equal(n.config.p != NULL, cases[i].config != NULL);
            assert_true(!cases[i].config || buf_is(n.config, cases[i].config));
        }
        wr_free(&w);
        wr_free(&out);
    }
}

/* Section 7.1 of the protocol: the first notification of server 3. */
static void test_notification_golden(void **state)
{
    struct wr config = wr_init(0), want = wr_init(0), got = wr_init(0);

    for (int i = 1; i <= 3; i++)
        wr_printf(&config, "server.%d=10.0.0.%d:2888:3888:participant;0.0.0.0:2181\n", i, i);
    wr_text(&config, "version=0");
    assert_int_equal(config.n, 168);
    wire_hex(&want, "000000D4 00000000 0000000000000003 0000000100000007 0000000000000001 0000000000000001 00000002 000000A8");
    wr_bytes(&want, config.p, config.n);
    struct notification n = { ZAB_LOOKING, 3, 0x100000007, 1, 1, 2, buf_of(config.p, config.n) };
    notification_frame(&got, &n);
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.p, want.p, want.n);

    uint8_t *big = x_calloc(1, ELECTION_FRAME_MAX);
    n.config = buf_of(big, ELECTION_FRAME_MAX - 43);
    notification_frame(&got, &n);
    assert_int_equal(got.rc, RC_TOOBIG);
    free(big);
    wr_free(&config);
    wr_free(&want);
    wr_free(&got);
}

static void check_recorded_hello(const struct wire_stream *s, size_t *at)
{
    struct wr out = wr_init(0);
    struct hello h;
    size_t used;

    assert_int_equal(hello_decode(s->bytes.p, s->bytes.n, &h, &used), 0);
    assert_int_equal(h.version, HELLO_V1);
    assert_in_range(h.sid, 1, 3);
    assert_int_equal(h.addrs_len, 1);
    assert_int_equal(h.addrs[0].port, 3950 + h.sid);
    for (size_t k = 0; k < used; k++) {
        size_t need;
        struct hello part;

        assert_int_equal(hello_decode(s->bytes.p, k, &part, &need), RC_SHORT);
    }
    hello_encode(&out, &h);
    assert_int_equal(out.n, used);
    assert_memory_equal(out.p, s->bytes.p, used);
    wr_free(&out);
    *at = used;
}

static void check_recorded_frame(const struct wire_stream *s, size_t *at)
{
    const struct quorum_options opt = { .standalone_enabled = true };
    const uint8_t *p = s->bytes.p + *at;
    struct wr out = wr_init(0);
    struct quorum_config *c;
    struct notification n;
    struct buf payload;
    size_t used, need;

    assert_int_equal(election_frame_decode(p, s->bytes.n - *at, &payload, &used), 0);
    for (size_t k = 0; k < used; k++)
        assert_int_equal(election_frame_decode(p, k, &payload, &need), RC_SHORT);
    assert_int_equal(election_frame_decode(p, used, &payload, &need), 0);
    assert_int_equal(notification_decode(payload, &n), 0);
    assert_int_equal(n.version, 2);
    assert_in_range(n.leader, 1, 3);
    assert_int_equal(quorum_config_parse(n.config, &opt, &c, NULL), 0);
    assert_true(buf_eq(c->text, n.config)); /* printed as Apache's servers print it */
    quorum_config_unref(c);
    notification_frame(&out, &n);
    assert_int_equal(out.n, used);
    assert_memory_equal(out.p, p, used);
    wr_free(&out);
    *at += used;
}

static void test_recorded(void **state)
{
    struct wire_streams all = wire_load(TEST_FIXTURES);
    size_t hellos = 0, frames = 0;

    for (size_t i = 0; i < all.len; i++) {
        struct wire_stream *s = &all.items[i];
        size_t at = 0;

        if (s->server_port < 3951 || s->server_port > 3953)
            continue;
        if (s->to_server && s->bytes.p[0] == 0xff) { /* else recorded from the middle */
            check_recorded_hello(s, &at);
            hellos++;
        }
        for (; at < s->bytes.n; frames++)
            check_recorded_frame(s, &at);
    }
    assert_true(hellos > 10);
    assert_true(frames > 30);
    wire_free(&all);
}

static void test_connrule(void **state)
{
    static const struct {
        bool initiated;
        int64_t me, peer;
        enum conn_action want;
    } cases[] = {
        { true, 2, 3, CONN_HELLO_AND_CLOSE }, { true, 3, 2, CONN_KEEP },       { true, 2, 2, CONN_REFUSE },
        { false, 2, 3, CONN_KEEP },           { false, 3, 2, CONN_CALL_BACK }, { false, 2, 2, CONN_REFUSE },
        { false, 0, -1, CONN_CALL_BACK }, /* an anonymous observer, after conn_local_sid */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(conn_action_str(conn_decide(cases[i].initiated, cases[i].me, cases[i].peer)),
                            conn_action_str(cases[i].want));
    /* Whoever opens, and even when both do: exactly the connection opened by the higher sid is kept, by both ends. */
    for (int64_t a = 1; a <= 3; a++) {
        for (int64_t b = 1; b <= 3; b++) {
            if (a == b)
                continue;
            bool opener_keeps = conn_decide(true, a, b) == CONN_KEEP, other_keeps = conn_decide(false, b, a) == CONN_KEEP;

            assert_int_equal(opener_keeps, a > b);
            assert_int_equal(opener_keeps, other_keeps);
        }
    }
    int64_t counter = -1;
    assert_int_equal(conn_local_sid(7, &counter), 7);
    assert_int_equal(conn_local_sid(CONN_SID_ANONYMOUS, &counter), -1);
    assert_int_equal(conn_local_sid(CONN_SID_ANONYMOUS, &counter), -2);
}

static void test_targets(void **state)
{
    const struct quorum_options opt = { .multi_address = true };
    struct quorum_config *now = NULL, *next = NULL;
    const struct quorum_member *t[2];
    static const struct {
        int64_t sid;
        size_t n;
        const char *hosts[2];
    } cases[] = { { 1, 1, { "a", NULL } }, { 2, 2, { "b", "B" } }, { 3, 1, { "c", NULL } }, { 4, 1, { "d", NULL } }, { 5, 0, { NULL } } };

    assert_int_equal(quorum_config_parse(buf_str("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2"), &opt, &now, NULL), 0);
    assert_int_equal(quorum_config_parse(buf_str("server.1=a:1:2;7\nserver.2=B:1:2\nserver.4=d:1:2\nversion=1"), &opt, &next, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(conn_targets((struct quorum_view){ now, next }, cases[i].sid, t), cases[i].n);
        for (size_t k = 0; k < cases[i].n; k++)
            assert_string_equal(t[k]->addrs[0].host, cases[i].hosts[k]);
    }
    assert_int_equal(conn_targets((struct quorum_view){ now, NULL }, 4, t), 0);
    quorum_config_unref(now);
    quorum_config_unref(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),        cmocka_unit_test(test_hello_encode),        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_notification), cmocka_unit_test(test_notification_golden), cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_connrule),     cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
