/* Learner packets: golden bytes, every prefix, limits, and every packet that Apache's servers were recorded sending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "wire_util.h"
#include "zab/packet.h"

#define MAXB QP_MAX_BUFFER_DEFAULT
#define BARE "FFFFFFFF FFFFFFFF"

/* ---- golden bytes, both ways ---- */

static const struct jid one_id = { { "ip", 2 }, { "10.0.0.9", 8 } };
static const struct jids one_ids = { (struct jid *)&one_id, 1 };

static void w_follower_info(struct wr *w)
{
    learner_info_packet(w, false, 1, &(struct learner_info){ .sid = 1, .protocol_version = QP_PROTOCOL_VERSION });
}
static void w_observer_info(struct wr *w)
{
    learner_info_packet(w, true, 0xffffffff, &(struct learner_info){ .sid = 9, .protocol_version = 0x10000, .config_version = 0x100000000 });
}
static void w_leader_info(struct wr *w)
{
    qp_i32_packet(w, QP_LEADERINFO, 0x200000000, QP_PROTOCOL_VERSION);
}
static void w_ack_epoch(struct wr *w)
{
    qp_i32_packet(w, QP_ACKEPOCH, 0x100000005, 1);
}
static void w_diff(struct wr *w)
{
    qpacket_encode_bare(w, QP_DIFF, 0x100000007);
}
static void w_uptodate(struct wr *w)
{
    qpacket_encode_bare(w, QP_UPTODATE, -1);
}
static void w_request(struct wr *w)
{
    struct wr body = wr_init(0);

    wire_hex(&body, "00000002 2F61 00000001 78 00000001 0000001F 00000005 776F726C64 00000006 616E796F6E65 00000000");
    struct forwarded_request r = { 0x0100000A1B2C0000, 5, 1, { body.p, body.n } };
    forwarded_request_packet(w, &r, &one_ids);
    wr_free(&body);
}
static void w_ping(struct wr *w)
{
    ping_reply_packet(w, 0x200000003, &(struct ping_session){ 0x0100000A1B2C0000, 30000 }, 1);
}
static void w_ping_empty(struct wr *w)
{
    ping_reply_packet(w, 0x200000003, NULL, 0);
}
static void w_revalidate(struct wr *w)
{
    revalidate_request_packet(w, 0x0100000A1B2C0000, 30000);
}
static void w_revalidated(struct wr *w)
{
    revalidate_reply_packet(w, 0x0100000A1B2C0000, true);
}
static void w_commit_activate(struct wr *w)
{
    commit_and_activate_packet(w, 0x200000009, 3);
}
static void w_inform_activate(struct wr *w)
{
    inform_and_activate_packet(w, 0x200000009, 3, (struct jbuf){ (const uint8_t *)"xy", 2 });
}

static const struct {
    const char *name;
    void (*write)(struct wr *w);
    const char *hex;
    int32_t type, data_len; /* data_len -1: null */
} golden[] = {
    { "FOLLOWERINFO", w_follower_info, "0000000B 0000000100000000 00000014 [0000000000000001 00010000 0000000000000000] FFFFFFFF", 11, 20 },
    { "OBSERVERINFO", w_observer_info, "00000010 FFFFFFFF00000000 00000014 [0000000000000009 00010000 0000000100000000] FFFFFFFF", 16, 20 },
    { "LEADERINFO", w_leader_info, "00000011 0000000200000000 00000004 [00010000] FFFFFFFF", 17, 4 },
    { "ACKEPOCH", w_ack_epoch, "00000012 0000000100000005 00000004 [00000001] FFFFFFFF", 18, 4 },
    { "DIFF", w_diff, "0000000D 0000000100000007 " BARE, 13, -1 },
    { "UPTODATE", w_uptodate, "0000000C FFFFFFFFFFFFFFFF " BARE, 12, -1 },
    { "REQUEST", w_request,
      "00000001 FFFFFFFFFFFFFFFF 0000003A [0100000A1B2C0000 00000005 00000001"
      " 00000002 2F61 00000001 78 00000001 0000001F 00000005 776F726C64 00000006 616E796F6E65 00000000]"
      " 00000001 00000002 6970 00000008 31302E302E302E39", 1, 58 },
    { "PING", w_ping, "00000005 0000000200000003 0000000C [0100000A1B2C0000 00007530] FFFFFFFF", 5, 12 },
    { "PING without sessions", w_ping_empty, "00000005 0000000200000003 00000000 FFFFFFFF", 5, 0 },
    { "REVALIDATE", w_revalidate, "00000006 FFFFFFFFFFFFFFFF 0000000C [0100000A1B2C0000 00007530] FFFFFFFF", 6, 12 },
    { "REVALIDATE reply", w_revalidated, "00000006 FFFFFFFFFFFFFFFF 00000009 [0100000A1B2C0000 01] FFFFFFFF", 6, 9 },
    { "COMMITANDACTIVATE", w_commit_activate, "00000009 0000000200000009 00000008 [0000000000000003] FFFFFFFF", 9, 8 },
    { "INFORMANDACTIVATE", w_inform_activate, "00000013 0000000200000009 0000000A [0000000000000003 'xy'] FFFFFFFF", 19, 10 },
};

static void hex_of(struct wr *w, const char *hex)
{
    char *clean = x_strdup(hex);

    for (char *p = clean; *p; p++)
        if (*p == '[' || *p == ']')
            *p = ' ';
    wire_hex(w, clean);
    free(clean);
}

/* Every proper prefix asks for more, never for less than it has or more than the whole; every growth by what was asked gets there. */
static void check_prefixes(const uint8_t *p, size_t n)
{
    struct arena a = arena_init();
    struct qpacket q;
    size_t used, steps = 0;

    for (size_t k = 0; k < n; k++) {
        uint8_t *copy = x_memdup(p, k); /* its own memory: a read too far is seen */

        assert_int_equal(qpacket_decode(copy, k, MAXB, &a, &q, &used), RC_SHORT);
        assert_true(used > k);
        assert_true(used <= n);
        free(copy);
    }
    for (size_t k = 0; k < n; k = used, steps++)
        if (qpacket_decode(p, k, MAXB, &a, &q, &used) == 0)
            break;
    assert_true(steps < 16);
    arena_free(&a);
}

static void test_golden(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(golden); i++) {
        struct wr want = wr_init(0), got = wr_init(0), again = wr_init(0);
        struct arena a = arena_init();
        struct qpacket q;
        size_t used;

        print_message("case: %s\n", golden[i].name);
        hex_of(&want, golden[i].hex);
        golden[i].write(&got);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.p, want.p, want.n);
        assert_int_equal(qpacket_decode(got.p, got.n, MAXB, &a, &q, &used), 0);
        assert_int_equal(used, got.n);
        assert_int_equal(q.type, golden[i].type);
        assert_int_equal(q.data.p ? q.data.n : -1, golden[i].data_len);
        qpacket_encode(&again, &q);
        assert_int_equal(again.n, want.n);
        assert_memory_equal(again.p, want.p, want.n);
        check_prefixes(want.p, want.n);
        arena_free(&a);
        wr_free(&want);
        wr_free(&got);
        wr_free(&again);
    }
}

static void test_limits(void **state)
{
    static const struct {
        const char *name, *hex;
        int rc;
    } cases[] = {
        { "data at the limit, not there yet", "00000002 0000000000000001 00000064", RC_SHORT },
        { "data over the limit", "00000002 0000000000000001 00000065", RC_TOOBIG },
        { "data length -2", "00000002 0000000000000001 FFFFFFFE", RC_MALFORMED },
        { "ids -2", "00000002 0000000000000001 FFFFFFFF FFFFFFFE", RC_MALFORMED },
        { "too many ids", "00000002 0000000000000001 FFFFFFFF 00001001", RC_TOOBIG },
        { "ids to come", "00000002 0000000000000001 FFFFFFFF 00000060", RC_SHORT },
        { "id too long", "00000002 0000000000000001 FFFFFFFF 00000001 00000065", RC_TOOBIG },
        { "id length -2", "00000002 0000000000000001 FFFFFFFF 00000001 FFFFFFFF FFFFFFFE", RC_MALFORMED },
        { "null ids are read", "00000002 0000000000000001 FFFFFFFF 00000001 FFFFFFFF FFFFFFFF", 0 },
        { "an HTTP request", "'GET / HTTP/1.1 and on'", RC_TOOBIG },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr w = wr_init(0);
        struct arena a = arena_init();
        struct qpacket q;
        size_t used;

        print_message("case: %s\n", cases[i].name);
        wire_hex(&w, cases[i].hex);
        assert_int_equal(qpacket_decode(w.p, w.n, 100, &a, &q, &used), cases[i].rc);
        arena_free(&a);
        wr_free(&w);
    }
}

/* ---- what the data holds ---- */

static struct jbuf data_of(struct wr *w, const char *hex)
{
    wr_reset(w);
    wire_hex(w, hex);
    return hex[0] == '-' ? (struct jbuf){ NULL, 0 } : (struct jbuf){ w->p ? w->p : (const uint8_t *)"", (int32_t)w->n };
}

static void test_learner_info(void **state)
{
    static const struct {
        const char *hex;
        int rc;
        struct learner_info want;
    } cases[] = {
        { "0000000000000007 00010000 0000000100000002", 0, { false, 7, 0x10000, 0x100000002 } },
        { "0000000000000007 00010000 0000000100000002 00", 0, { false, 7, 0x10000, 0x100000002 } },
        { "0000000000000007 00010000 00000001", 0, { false, 7, 0x10000, 0 } },
        { "0000000000000007 00010000", 0, { false, 7, 0x10000, 0 } },
        { "0000000000000007 000100", 0, { false, 7, 1, 0 } },
        { "0000000000000007", 0, { false, 7, 1, 0 } },
        { "00000000000007", RC_MALFORMED, { 0 } },
        { "", RC_MALFORMED, { 0 } },
    };
    struct wr w = wr_init(0);
    struct learner_info got;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].hex);
        assert_int_equal(learner_info_read(data_of(&w, cases[i].hex), &got), cases[i].rc);
        if (cases[i].rc != 0)
            continue;
        assert_int_equal(got.anonymous, cases[i].want.anonymous);
        assert_int_equal(got.sid, cases[i].want.sid);
        assert_int_equal(got.protocol_version, cases[i].want.protocol_version);
        assert_int_equal(got.config_version, cases[i].want.config_version);
    }
    assert_int_equal(learner_info_read((struct jbuf){ NULL, 0 }, &got), 0);
    assert_true(got.anonymous);
    wr_free(&w);
}

/* Every reader: its fields, and a byte less or no data at all refused. */
static void test_payloads(void **state)
{
    struct wr w = wr_init(0);
    struct forwarded_request req;
    struct revalidate rv;
    struct jbuf null = { NULL, 0 }, d, rest;
    int64_t leader;
    int32_t v;

    d = data_of(&w, "FFFFFFFF");
    assert_int_equal(qp_i32_read(d, &v), 0);
    assert_int_equal(v, -1);
    d.n--;
    assert_int_equal(qp_i32_read(d, &v), RC_MALFORMED);
    assert_int_equal(qp_i32_read(null, &v), RC_MALFORMED);

    d = data_of(&w, "0100000000000002 00000003 FFFFFFF5"); /* closeSession has no body */
    assert_int_equal(forwarded_request_read(d, &req), 0);
    assert_int_equal(req.session_id, 0x0100000000000002);
    assert_int_equal(req.cxid, 3);
    assert_int_equal(req.op, -11);
    assert_int_equal(req.body.n, 0);
    d.n--;
    assert_int_equal(forwarded_request_read(d, &req), RC_MALFORMED);
    assert_int_equal(forwarded_request_read(null, &req), RC_MALFORMED);

    d = data_of(&w, "0100000000000002 00007530");
    assert_int_equal(revalidate_request_read(d, &rv), 0);
    assert_int_equal(rv.timeout_ms, 30000);
    d.n--;
    assert_int_equal(revalidate_request_read(d, &rv), RC_MALFORMED);
    assert_int_equal(revalidate_request_read(null, &rv), RC_MALFORMED);
    d = data_of(&w, "0100000000000002 01");
    assert_int_equal(revalidate_reply_read(d, &rv), 0);
    assert_true(rv.valid);
    d.n--;
    assert_int_equal(revalidate_reply_read(d, &rv), RC_MALFORMED);

    d = data_of(&w, "0000000000000003");
    assert_int_equal(activate_read(d, &leader, &rest), 0);
    assert_int_equal(leader, 3);
    assert_int_equal(rest.n, 0);
    d.n--;
    assert_int_equal(activate_read(d, &leader, &rest), RC_MALFORMED);
    assert_int_equal(activate_read(null, &leader, &rest), RC_MALFORMED);
    wr_free(&w);
}

static void test_ping_sessions(void **state)
{
    static const struct {
        const char *hex;
        int count, rc;
    } cases[] = {
        { "", 0, 0 },
        { "-", 0, 0 },
        { "0000000000000001 00000002", 1, 0 },
        { "0000000000000001 00000002 0000000000000003 00000004", 2, 0 },
        { "0000000000000001 00000002 00", 1, RC_MALFORMED },
        { "0000000000000001 000002", 0, RC_MALFORMED },
    };
    struct wr w = wr_init(0);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rd r = qp_data_rd(cases[i].hex[0] == '-' ? (struct jbuf){ NULL, 0 } : data_of(&w, cases[i].hex));
        struct ping_session s;
        int count = 0;

        while (ping_sessions_next(&r, &s)) {
            count++;
            assert_int_equal(s.session_id, 2 * count - 1);
            assert_int_equal(s.timeout_ms, 2 * count);
        }
        assert_int_equal(count, cases[i].count);
        assert_int_equal(r.rc, cases[i].rc);
    }
    wr_free(&w);
}

/* ---- recorded traffic ---- */

static size_t snapshot_end(const uint8_t *p, size_t n)
{
    static const char signature[] = "\0\0\0\1/\0\0\0\nBenWasHere";
    const uint8_t *at = memmem(p, n, signature, sizeof(signature) - 1);

    assert_non_null(at);
    return (size_t)(at - p) + sizeof(signature) - 1;
}

static void check_payload(const struct qpacket *q, bool to_leader)
{
    struct learner_info info;
    struct forwarded_request req;
    struct ping_session s;
    int32_t v;

    if (q->type == QP_FOLLOWERINFO) {
        assert_int_equal(learner_info_read(q->data, &info), 0);
        assert_in_range(info.sid, 1, 3);
        assert_int_equal(info.protocol_version, QP_PROTOCOL_VERSION);
    } else if (q->type == QP_LEADERINFO || q->type == QP_ACKEPOCH) {
        assert_int_equal(qp_i32_read(q->data, &v), 0);
    } else if (q->type == QP_REQUEST) {
        assert_int_equal(forwarded_request_read(q->data, &req), 0);
    } else if (q->type == QP_PING && to_leader) {
        struct rd r = qp_data_rd(q->data);

        assert_non_null(q->data.p);
        while (ping_sessions_next(&r, &s))
            assert_true(s.timeout_ms > 0);
        assert_int_equal(r.rc, 0);
    }
}

static void test_recorded(void **state)
{
    struct wire_streams all = wire_load(TEST_FIXTURES);
    size_t types[20] = { 0 }, streams = 0;

    for (size_t i = 0; i < all.len; i++) {
        struct wire_stream *s = &all.items[i];
        struct arena a = arena_init();

        if (s->server_port < 2951 || s->server_port > 2953)
            continue;
        streams++;
        for (size_t at = 0; at < s->bytes.n;) {
            struct wr out = wr_init(0);
            struct qpacket q;
            size_t used;

            assert_int_equal(qpacket_decode(s->bytes.p + at, s->bytes.n - at, MAXB, &a, &q, &used), 0);
            qpacket_encode(&out, &q);
            assert_int_equal(out.n, used);
            assert_memory_equal(out.p, s->bytes.p + at, used);
            check_prefixes(s->bytes.p + at, used);
            assert_in_range(q.type, 1, 19);
            assert_string_not_equal(qp_type_str(q.type), "?");
            check_payload(&q, s->to_server);
            types[q.type]++;
            at += used;
            if (q.type == QP_SNAP)
                at += snapshot_end(s->bytes.p + at, s->bytes.n - at);
            wr_free(&out);
            arena_reset(&a);
        }
        arena_free(&a);
    }
    static const int seen[] = { QP_REQUEST, QP_PROPOSAL, QP_ACK, QP_COMMIT, QP_PING, QP_SYNC, QP_NEWLEADER, QP_FOLLOWERINFO,
                                QP_UPTODATE, QP_DIFF, QP_TRUNC, QP_SNAP, QP_LEADERINFO, QP_ACKEPOCH };
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        if (types[seen[i]] == 0)
            fail_msg("no %s among the recordings", qp_type_str(seen[i]));
    assert_true(streams > 20);
    wire_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),       cmocka_unit_test(test_limits),        cmocka_unit_test(test_learner_info),
        cmocka_unit_test(test_payloads),     cmocka_unit_test(test_ping_sessions), cmocka_unit_test(test_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
