/* jute: golden frames, every prefix refused, hostile lengths, paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "jute/records.h"

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (uint8_t)v;
        hex++;
    }
    return n;
}

static struct jacl open_acl = { ZK_PERM_ALL, { "world", 5 }, { "anyone", 6 } };

static void encode_create(struct wr *w)
{
    request_header_write(w, &(struct request_header){ 1, ZK_OP_CREATE });
    create_request_write(w, &(struct create_request){ jstr_of("/a"), { (const uint8_t *)"hi", 2 }, { &open_acl, 1 }, 0 });
}
static void encode_reply(struct wr *w)
{
    reply_header_write(w, &(struct reply_header){ 1, 2, 0 });
    path_only_write(w, &(struct path_only){ jstr_of("/a") });
}
static void encode_exists(struct wr *w)
{
    reply_header_write(w, &(struct reply_header){ 1, 3, ZK_NODEEXISTS });
}
static void encode_multi(struct wr *w)
{
    request_header_write(w, &(struct request_header){ 3, ZK_OP_MULTI });
    multi_header_write(w, &(struct multi_header){ ZK_OP_CHECK, false, -1 });
    path_version_write(w, &(struct path_version){ jstr_of("/a"), 0 });
    multi_header_write(w, &(struct multi_header){ ZK_OP_DELETE, false, -1 });
    path_version_write(w, &(struct path_version){ jstr_of("/b"), -1 });
    jute_write_multi_end(w);
}
static void encode_event(struct wr *w)
{
    reply_header_write(w, &(struct reply_header){ ZK_XID_EVENT, 5, 0 });
    watcher_event_write(w, &(struct watcher_event){ ZK_EVENT_DELETED, ZK_STATE_CONNECTED, jstr_of("/a") });
}
static void encode_auth(struct wr *w)
{
    request_header_write(w, &(struct request_header){ ZK_XID_AUTH, ZK_OP_AUTH });
    auth_packet_write(w, &(struct auth_packet){ 0, jstr_of("digest"), { (const uint8_t *)"bob:secret", 10 } });
}
static void encode_txn(struct wr *w)
{
    txn_header_write(w, &(struct txn_header){ 0x0100000000000001, 0, 1, 1700000000000, ZK_OP_CREATE_SESSION });
    create_session_txn_write(w, &(struct create_session_txn){ 30000 });
    txn_digest_write(w, &(struct txn_digest){ 2, 0x51c6d660 });
}

/* As a real client and server put them on the wire. */
static void test_golden(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*encode)(struct wr *);
        const char *hex;
        bool framed;
    } cases[] = {
        { "create", encode_create,
          "00000033 00000001 00000001 00000002 2f61 00000002 6869 00000001 0000001f 00000005 776f726c64 00000006 "
          "616e796f6e65 00000000",
          true },
        { "create reply", encode_reply, "00000016 00000001 0000000000000002 00000000 00000002 2f61", true },
        { "node exists", encode_exists, "00000010 00000001 0000000000000003 ffffff92", true },
        { "multi", encode_multi,
          "00000037 00000003 0000000e 0000000d 00 ffffffff 00000002 2f61 00000000 00000002 00 ffffffff 00000002 2f62 "
          "ffffffff ffffffff 01 ffffffff",
          true },
        { "event", encode_event, "0000001e ffffffff 0000000000000005 00000000 00000002 00000003 00000002 2f61", true },
        { "auth", encode_auth,
          "00000024 fffffffc 00000064 00000000 00000006 646967657374 0000000a 626f623a736563726574", true },
        { "first transaction", encode_txn,
          "0100000000000001 00000000 0000000000000001 0000018bcfe56800 fffffff6 00007530 00000002 0000000051c6d660", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t want[256];
        size_t n = unhex(cases[i].hex, want);
        struct wr w = wr_init(0);
        size_t at = cases[i].framed ? jute_frame_begin(&w) : 0;
        cases[i].encode(&w);
        if (cases[i].framed)
            jute_frame_end(&w, at);
        print_message("case: %s\n", cases[i].name);
        assert_int_equal(w.n, n);
        assert_memory_equal(w.p, want, n);
        wr_free(&w);
    }
}

/* Every record of the table: what was written is read back the same, and no proper prefix is accepted. */
static struct jstr some_strs[] = { { "/x", 2 }, { NULL, 0 }, { "", 0 } };
static struct jid some_ids[] = { { { "ip", 2 }, { "127.0.0.1", 9 } } };
static struct jtxn some_txns[] = { { 5, { (const uint8_t *)"abc", 3 } }, { -1, { (const uint8_t *)"", 0 } } };

#define FILL_i32(f) v.f = -7;
#define FILL_i64(f) v.f = INT64_MIN + 3;
#define FILL_bool(f) v.f = true;
#define FILL_str(f) v.f = jstr_of("/path/\xc3\xa9");
#define FILL_buf(f) v.f = (struct jbuf){ (const uint8_t *)"\0\1\2", 3 };
#define FILL_acls(f) v.f = (struct jacls){ &open_acl, 1 };
#define FILL_strs(f) v.f = (struct jstrs){ some_strs, 3 };
#define FILL_ids(f) v.f = (struct jids){ some_ids, 1 };
#define FILL_txns(f) v.f = (struct jtxns){ some_txns, 2 };
#define FILL_stat(f) v.f = (struct zk_stat){ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
#define FILL(kind, name) FILL_##kind(name)

#define X(name, fields)                                                                                      \
    static void round_trip_##name(void)                                                                      \
    {                                                                                                        \
        struct name v, back;                                                                                 \
        struct arena a = arena_init();                                                                       \
        struct wr w = wr_init(0), again = wr_init(0);                                                        \
        fields(FILL) name##_write(&w, &v);                                                                   \
        for (size_t n = 0; n <= w.n; n++) {                                                                  \
            uint8_t *copy = x_memdup(w.p, n);                                                                \
            struct rd r = rd_init(copy, n);                                                                  \
            name##_read(&r, &a, &back);                                                                      \
            assert_int_equal(r.rc, n == w.n ? 0 : RC_SHORT);                                                 \
            if (n == w.n)                                                                                    \
                name##_write(&again, &back);                                                                 \
            free(copy);                                                                                      \
        }                                                                                                    \
        assert_int_equal(again.n, w.n);                                                                      \
        assert_memory_equal(again.p, w.p, w.n);                                                              \
        wr_free(&w);                                                                                         \
        wr_free(&again);                                                                                     \
        arena_free(&a);                                                                                      \
    }
ZK_RECORDS(X)
#undef X

static void test_round_trips(void **state)
{
    (void)state;
#define X(name, fields)                                                                                      \
    print_message("record: " #name "\n");                                                                    \
    round_trip_##name();
    ZK_RECORDS(X)
#undef X
}

static void test_hostile_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hex;
        int rc;
    } cases[] = {
        { "string length -2", "fffffffe", RC_MALFORMED },
        { "string longer than the input", "7fffffff 61", RC_SHORT },
        { "string null", "ffffffff", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t in[64];
        struct rd r = rd_init(in, unhex(cases[i].hex, in));
        struct jstr s = jute_read_str(&r);
        print_message("case: %s\n", cases[i].name);
        assert_int_equal(r.rc, cases[i].rc);
        assert_null(s.p);
    }
    /* A count that the rest of the input cannot hold is refused before anything is allocated for it. */
    uint8_t count[8];
    size_t n = unhex("7fffffff 00000000", count);
    struct arena a = arena_init();
    struct rd r = rd_init(count, n);
    assert_int_equal(jute_read_strs(&r, &a).n, -1);
    assert_int_equal(r.rc, RC_SHORT);
    r = rd_init(count, n);
    assert_int_equal(jute_read_acls(&r, &a).n, -1);
    assert_int_equal(r.rc, RC_SHORT);
    assert_null(a.head);
    arena_free(&a);
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int32_t len; /* 0: strlen */
        bool good;
    } cases[] = {
        { "/", 0, true },        { "/a", 0, true },          { "/a/b-c_d.e", 0, true },  { "/...", 0, true },
        { "/a/..b", 0, true },   { "/\xc3\xa9", 0, true },   { "/\xe4\xb8\xad", 0, true }, { "", 0, false },
        { "a", 0, false },       { "/a/", 0, false },        { "//a", 0, false },        { "/a//b", 0, false },
        { "/.", 0, false },      { "/a/./b", 0, false },     { "/a/..", 0, false },      { "/../a", 0, false },
        { "/a\0b", 4, false },   { "/a\x01", 0, false },     { "/\x7f", 0, false },      { "/\xc2\x85", 0, false },
        { "/\xee\x80\x80", 0, false },     /* U+E000 */
        { "/\xef\xbf\xb0", 0, false },     /* U+FFF0 */
        { "/\xef\xbf\xaf", 0, true },      /* U+FFEF */
        { "/\xed\xa0\x80", 0, false },     /* a surrogate */
        { "/\xf0\x9f\x98\x80", 0, false }, /* above U+FFFF */
        { "/\xff", 0, false },   { "/\xc3", 0, false },      { "/\xc0\xaf", 0, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int32_t len = cases[i].len ? cases[i].len : (int32_t)strlen(cases[i].path);
        const char *problem = zk_path_problem(cases[i].path, len);
        print_message("case %zu: %s\n", i, problem ? problem : "good");
        assert_int_equal(problem == NULL, cases[i].good);
    }
    assert_non_null(zk_path_problem(NULL, 0));
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(zk_op_name(ZK_OP_CREATE2), "CREATE2");
    assert_string_equal(zk_op_short_name(ZK_OP_GET_DATA), "GETD");
    assert_string_equal(zk_op_short_name(12345), "NA");
    assert_string_equal(zk_error_name(-101), "NONODE");
    assert_string_equal(zk_error_text(-110), "node exists");
    assert_string_equal(zk_error_name(-999), "UNKNOWN");
    assert_int_equal(ZK_OWNER_TTL_PREFIX, (int64_t)0xff00000000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_round_trips), cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_paths),  cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
