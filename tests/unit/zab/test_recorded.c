/* Our leader and our learner against the recorded traffic of Apache's 3.8.0 servers: fed with the bytes of one side, they must say what
 * the other side said. Left out are pings and what clients caused (requests, syncs, sessions); and a learner of 3.8.0 acknowledges
 * the proposals of a DIFF one by one, ours only by its acknowledgement of NEWLEADER. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "wire_util.h"
#include "zab/zab.h"

struct said { /* one packet, with its bytes */
    struct qpacket q;
    struct buf bytes;
};
struct talk {
    struct VEC(struct said) said;
    struct arena arena;
};

static bool by_clients(int32_t type)
{
    return type == QP_PING || type == QP_REQUEST || type == QP_SYNC || type == QP_REVALIDATE;
}

/* The end of a snapshot stream: behind its signature. */
static size_t skip_snapshot(struct buf b, size_t at)
{
    static const char mark[] = "BenWasHere";

    for (; at + sizeof(mark) - 1 <= b.n; at++)
        if (memcmp(b.p + at, mark, sizeof(mark) - 1) == 0)
            return at + sizeof(mark) - 1;
    return b.n;
}

static void talk_read(struct talk *t, struct buf b)
{
    size_t used;

    for (size_t at = 0; at < b.n; at += used) {
        struct said s;
        if (qpacket_decode(b.p + at, b.n - at, QP_MAX_BUFFER_DEFAULT, &t->arena, &s.q, &used) != 0)
            break; /* the recording ends within a packet */
        s.bytes = buf_of(b.p + at, used);
        if (!by_clients(s.q.type))
            VEC_PUSH(&t->said, s);
        if (s.q.type == QP_SNAP)
            used = skip_snapshot(b, at) - at;
    }
}
static void talk_free(struct talk *t)
{
    VEC_FREE(&t->said);
    arena_free(&t->arena);
}

/* A recorded conversation. Its history on the leader's side: transactions 1..prior of the epoch before, then `first` of this one. */
static const struct scene {
    const char *file;
    int stream;
    uint32_t prior, first;
    bool late; /* the leader serves already */
    int32_t op;
} scenes[] = {
    { "1-election-and-write.jsonl", 9, 0, 0, false, QP_DIFF },
    { "1-election-and-write.jsonl", 12, 0, 0, false, QP_DIFF },
    { "2-follower-behind-diff.jsonl", 6, 0, 0xb, true, QP_DIFF },
    { "3-empty-follower-snap.jsonl", 6, 0, 0xd, true, QP_SNAP },
    { "4-old-leader-snap-across-epochs.jsonl", 4, 0xe, 3, true, QP_SNAP },
    { "5-leader-killed.jsonl", 8, 5, 0, false, QP_DIFF },
    { "6-old-leader-trunc-same-epoch.jsonl", 4, 4, 0, true, QP_TRUNC },
};

struct stage {
    const struct scene *scene;
    struct wire_streams streams;
    struct talk leader, learner; /* as recorded */
    int64_t leader_sid, learner_sid, other_sid, epoch;
    struct quorum_config *config;
    struct zab_window *window;
};

static struct buf stream_bytes(const struct stage *s, bool to_server, int *ret_port)
{
    for (size_t i = 0; i < s->streams.len; i++) {
        const struct wire_stream *w = &s->streams.items[i];
        const char *name = strrchr(w->file, '/');
        if (strcmp(name ? name + 1 : w->file, s->scene->file) == 0 && w->stream == s->scene->stream && w->to_server == to_server) {
            *ret_port = w->server_port;
            return buf_of(w->bytes.p, w->bytes.n);
        }
    }
    fail_msg("no such stream");
    return (struct buf){ 0 };
}

static const struct said *find(const struct talk *t, int32_t type, int64_t zxid)
{
    for (size_t i = 0; i < t->said.len; i++)
        if (t->said.items[i].q.type == type && (zxid < 0 || t->said.items[i].q.zxid == zxid))
            return &t->said.items[i];
    return NULL;
}

static void stage_open(struct stage *s, const struct scene *scene)
{
    struct learner_info info;
    struct quorum_error err;
    int port = 0;

    *s = (struct stage){ .scene = scene };
    print_message("%s stream %d\n", scene->file, scene->stream);
    s->streams = wire_load(TEST_FIXTURES);
    talk_read(&s->leader, stream_bytes(s, false, &port));
    talk_read(&s->learner, stream_bytes(s, true, &port));
    s->leader_sid = port - 2950;
    assert_int_equal(learner_info_read(s->learner.said.items[0].q.data, &info), 0);
    s->learner_sid = info.sid;
    s->other_sid = 6 - s->leader_sid - s->learner_sid;
    s->epoch = zxid_epoch(s->leader.said.items[0].q.zxid);
    struct jbuf text = find(&s->leader, QP_NEWLEADER, -1)->q.data;
    assert_int_equal(quorum_config_parse(buf_of(text.p, (size_t)text.n), &(struct quorum_options){ 0 }, &s->config, &err), 0);
    s->window = zab_window_new(0, 0);
}
static void stage_close(struct stage *s)
{
    talk_free(&s->leader);
    talk_free(&s->learner);
    quorum_config_unref(s->config);
    zab_window_free(s->window);
    wire_free(&s->streams);
}

/* ---- our learner ---- */

/* Plays a shell whose disk is done at once. */
static void learner_shell(struct zab_learner *l, struct wr *out)
{
    const struct zab_effect *f;

    for (size_t i = 0; i < zab_learner_effects(l, &f); i++) {
        struct zab_effect e = f[i];
        switch (e.type) {
        case ZAB_SEND:
            wr_bytes(out, e.bytes.p, e.bytes.n);
            break;
        case ZAB_PERSIST_ACCEPTED_EPOCH:
            zab_learner_epoch_persisted(l, ZAB_ACCEPTED_EPOCH);
            break;
        case ZAB_PERSIST_CURRENT_EPOCH:
            zab_learner_epoch_persisted(l, ZAB_CURRENT_EPOCH);
            break;
        case ZAB_APPEND:
            zab_learner_persisted(l, e.zxid);
            break;
        case ZAB_TRUNCATE_LOG:
            zab_learner_truncated(l, 0);
            break;
        case ZAB_LOAD_SNAPSHOT:
            zab_learner_snapshot_loaded(l, 0);
            break;
        case ZAB_STORE_SNAPSHOT:
            zab_learner_snapshot_stored(l);
            break;
        case ZAB_STOP:
            fail_msg("%s", e.text);
            break;
        default:
            break;
        }
    }
    zab_learner_check(l);
    zab_learner_effects_clear(l);
}

/* Is this one of the acknowledgements of a DIFF that only 3.8.0 sends? */
static bool acked_one_by_one(const struct stage *s, const struct said *p)
{
    for (size_t i = 0; p->q.type == QP_ACK && i < s->leader.said.len && s->leader.said.items[i].q.type != QP_NEWLEADER; i++)
        if (s->leader.said.items[i].q.type == QP_COMMIT && s->leader.said.items[i].q.zxid == p->q.zxid)
            return true;
    return false;
}

static void check_learner(const struct scene *scene)
{
    struct stage s;
    struct talk ours = { 0 };
    struct wr out = wr_init(0);
    size_t j = 0;
    int32_t current;

    stage_open(&s, scene);
    assert_int_equal(qp_i32_read(s.learner.said.items[1].q.data, &current), 0);
    int64_t accepted = zxid_epoch(s.learner.said.items[0].q.zxid);
    struct zab_learner *l = zab_learner_new(&(struct zab_learner_options){ .leader_sid = s.leader_sid, .start = {
        .my_sid = s.learner_sid, .tick_ms = 200, .init_limit = 10, .sync_limit = 5, .last_zxid = s.learner.said.items[1].q.zxid,
        .accepted_epoch = accepted, .current_epoch = current == -1 ? accepted : current, .committed = s.config, .window = s.window } });
    zab_learner_opened(l);
    for (size_t i = 0; i < s.leader.said.len; i++) {
        learner_shell(l, &out);
        assert_true(zab_learner_ready(l));
        zab_learner_packet(l, &s.leader.said.items[i].q);
    }
    learner_shell(l, &out);
    talk_read(&ours, buf_of(out.p, out.n));
    for (size_t i = 0; i < s.learner.said.len; i++) {
        const struct said *p = &s.learner.said.items[i];
        if (acked_one_by_one(&s, p))
            continue;
        assert_true(j < ours.said.len);
        assert_int_equal(ours.said.items[j].bytes.n, p->bytes.n);
        assert_memory_equal(ours.said.items[j].bytes.p, p->bytes.p, p->bytes.n);
        j++;
    }
    /* The recording may end between a proposal and its acknowledgement. */
    for (; j < ours.said.len; j++)
        assert_int_equal(ours.said.items[j].q.type, QP_ACK);
    talk_free(&ours);
    wr_free(&out);
    zab_learner_free(l);
    stage_close(&s);
}

static void test_learner(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
        check_learner(&scenes[i]);
}

/* ---- our leader ---- */

enum { CONN_RECORDED = 1, CONN_OTHER = 2 };

struct theatre {
    struct zab_leader *l;
    struct wr out; /* what the recorded learner would have got */
    bool snapshot; /* a stream is wanted */
};

static void leader_shell(struct theatre *t)
{
    const struct zab_effect *f;

    for (size_t i = 0; i < zab_leader_effects(t->l, &f); i++) {
        struct zab_effect e = f[i];
        if (e.type == ZAB_SEND && e.conn == CONN_RECORDED)
            wr_bytes(&t->out, e.bytes.p, e.bytes.n);
        else if (e.type == ZAB_PERSIST_ACCEPTED_EPOCH)
            zab_leader_epoch_persisted(t->l, ZAB_ACCEPTED_EPOCH);
        else if (e.type == ZAB_PERSIST_CURRENT_EPOCH)
            zab_leader_epoch_persisted(t->l, ZAB_CURRENT_EPOCH);
        else if (e.type == ZAB_APPEND)
            zab_leader_persisted(t->l, e.zxid);
        else if (e.type == ZAB_COMMIT)
            zab_leader_applied(t->l, e.zxid);
        else if (e.type == ZAB_SEND_SNAPSHOT)
            zab_leader_snapshot_done(t->l, e.conn, 0);
        else if (e.type == ZAB_STOP || e.type == ZAB_CLOSE)
            fail_msg("%s", e.text);
    }
    zab_leader_check(t->l);
    zab_leader_effects_clear(t->l);
}

/* Another follower, in step with the leader, so that it can serve before the recorded one comes. */
static void other_says(struct theatre *t, int32_t type, int64_t zxid, int32_t epoch, int64_t sid)
{
    struct wr w = wr_init(0);
    struct arena a = arena_init();
    struct qpacket q;
    size_t used;

    if (type == QP_FOLLOWERINFO)
        learner_info_packet(&w, false, (uint32_t)epoch, &(struct learner_info){ .sid = sid, .protocol_version = QP_PROTOCOL_VERSION });
    else if (type == QP_ACKEPOCH)
        qp_i32_packet(&w, type, zxid, epoch);
    else
        qpacket_encode_bare(&w, type, zxid);
    assert_int_equal(qpacket_decode(w.p, w.n, QP_MAX_BUFFER_DEFAULT, &a, &q, &used), 0);
    zab_leader_peer_packet(t->l, CONN_OTHER, &q);
    leader_shell(t);
    arena_free(&a);
    wr_free(&w);
}

/* The bytes of a transaction: recorded ones where the recording has them. */
static struct buf history_txn(const struct stage *s, int64_t zxid)
{
    const struct said *p = find(&s->leader, QP_PROPOSAL, zxid);
    return p ? buf_of(p->q.data.p, (size_t)p->q.data.n) : buf_str("some transaction of thirty-two..");
}

static void set_the_stage(struct stage *s, struct theatre *t)
{
    int64_t last = 0, before = s->epoch - 1;

    for (uint32_t c = 1; c <= s->scene->prior; c++) {
        last = zxid_of(before, c);
        assert_int_equal(zab_window_push_bytes(s->window, last, history_txn(s, last)), 0);
    }
    t->l = zab_leader_new(&(struct zab_leader_options){ .start = { .my_sid = s->leader_sid, .tick_ms = 200, .init_limit = 10,
        .sync_limit = 5, .last_zxid = last, .accepted_epoch = before, .current_epoch = before, .committed = s->config,
        .window = s->window } });
    if (s->scene->late) {
        zab_leader_peer_open(t->l, CONN_OTHER);
        other_says(t, QP_FOLLOWERINFO, 0, (int32_t)before, s->other_sid);
        other_says(t, QP_ACKEPOCH, last, (int32_t)before, 0);
        other_says(t, QP_ACK, zxid_of(s->epoch, 0), 0, 0);
        for (uint32_t c = 1; c <= s->scene->first; c++) {
            int64_t zxid = zxid_of(s->epoch, c);
            assert_int_equal(zab_leader_next_zxid(t->l), zxid);
            zab_leader_propose(t->l, zxid, history_txn(s, zxid));
            leader_shell(t);
            other_says(t, QP_ACK, zxid, 0, 0);
        }
    }
    zab_leader_peer_open(t->l, CONN_RECORDED);
}

/* How many packets the leader has said so far, and the newest one. */
static size_t said_so_far(struct theatre *t, struct talk *ours)
{
    talk_free(ours);
    *ours = (struct talk){ 0 };
    size_t used;
    for (size_t at = 0; at < t->out.n; at += used) {
        struct said s;
        assert_int_equal(qpacket_decode(t->out.p + at, t->out.n - at, QP_MAX_BUFFER_DEFAULT, &ours->arena, &s.q, &used), 0);
        s.bytes = buf_of(t->out.p + at, used);
        VEC_PUSH(&ours->said, s);
    }
    return ours->said.len;
}

/* Lets the recorded learner speak, and our clients write, until the leader has said one packet more. */
static void provoke(struct stage *s, struct theatre *t, const struct said *next, size_t *heard)
{
    if (next->q.type == QP_PROPOSAL && next->q.zxid == zab_leader_next_zxid(t->l)) {
        zab_leader_propose(t->l, next->q.zxid, buf_of(next->q.data.p, (size_t)next->q.data.n));
    } else {
        assert_true(*heard < s->learner.said.len);
        zab_leader_peer_packet(t->l, CONN_RECORDED, &s->learner.said.items[(*heard)++].q);
    }
    leader_shell(t);
}

static void check_leader(const struct scene *scene)
{
    struct stage s;
    struct theatre t = { 0 };
    struct talk ours = { 0 };
    size_t heard = 0, compared = 0;

    stage_open(&s, scene);
    set_the_stage(&s, &t);
    for (size_t i = 0; i < s.leader.said.len; i++) {
        const struct said *p = &s.leader.said.items[i];
        while (said_so_far(&t, &ours) <= i && heard <= s.learner.said.len) {
            if (heard == s.learner.said.len && p->q.type != QP_PROPOSAL)
                break; /* the recording ends before the learner's last acknowledgement */
            provoke(&s, &t, p, &heard);
        }
        if (ours.said.len <= i)
            break;
        assert_int_equal(ours.said.items[i].q.type, p->q.type);
        assert_int_equal(ours.said.items[i].q.zxid, p->q.zxid);
        assert_int_equal(ours.said.items[i].bytes.n, p->bytes.n);
        assert_memory_equal(ours.said.items[i].bytes.p, p->bytes.p, p->bytes.n);
        compared++;
    }
    assert_int_equal(s.leader.said.items[1].q.type, scene->op);
    assert_true(compared + 1 >= s.leader.said.len);
    talk_free(&ours);
    wr_free(&t.out);
    zab_leader_free(t.l);
    stage_close(&s);
}

static void test_leader(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
        check_leader(&scenes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_learner), cmocka_unit_test(test_leader) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
