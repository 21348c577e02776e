/* Single rules of the leader and of the learner, one small script each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "zab/zab.h"

static struct quorum_config *config_of(const char *text)
{
    struct quorum_config *c;
    struct quorum_error err;

    assert_int_equal(quorum_config_parse(buf_str(text), &(struct quorum_options){ .standalone_enabled = true }, &c, &err), 0);
    return c;
}
#define THREE                                                                                                \
    "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\nserver.3=c:2888:3888:participant\nversion=0"
#define ONE_TWO_FOUR                                                                                         \
    "server.2=b:2888:3888:participant\nserver.3=c:2888:3888:participant\nserver.4=d:2888:3888:participant\nversion=100000001"

static struct zab_start start_with(struct quorum_config *c, struct zab_window *w, int64_t sid)
{
    return (struct zab_start){ .my_sid = sid, .tick_ms = 100, .init_limit = 10, .sync_limit = 5, .committed = c, .window = w,
        .quorum = { .standalone_enabled = true } };
}

/* ---- the leader ---- */

struct stage {
    struct quorum_config *config;
    struct zab_window *window;
    struct zab_leader *l;
    char log[2048]; /* effects as words: "1:PROPOSAL append commit" */
    const char *stop;
    enum zab_stop stop_how;
    int64_t designated;
    bool hold_disk; /* appends are not synced by themselves */
};

static void note(struct stage *s, const char *fmt, uint64_t conn, const char *what)
{
    size_t n = strlen(s->log);

    (void)snprintf(s->log + n, sizeof(s->log) - n, fmt, n > 0 ? " " : "", (int)conn, what);
}

static void shell(struct stage *s)
{
    const struct zab_effect *f;

    for (size_t i = 0; i < zab_leader_effects(s->l, &f); i++) {
        struct zab_effect e = f[i];
        if (e.type == ZAB_SEND)
            note(s, "%s%d:%s", e.conn, qp_type_str((int32_t)load_u32(e.bytes.p)));
        else if (e.type == ZAB_CLOSE)
            note(s, "%s%d:%s", e.conn, "close");
        else if (e.type == ZAB_COMMIT)
            note(s, "%s%.0d%s", 0, "commit"), zab_leader_applied(s->l, e.zxid);
        else if (e.type == ZAB_SYNCED)
            note(s, "%s%.0d%s", 0, "synced");
        else if (e.type == ZAB_REQUEST)
            note(s, "%s%.0d%s", 0, "request");
        else if (e.type == ZAB_REPLAY)
            note(s, "%s%.0d%s", 0, "replay");
        else if (e.type == ZAB_PERSIST_ACCEPTED_EPOCH)
            zab_leader_epoch_persisted(s->l, ZAB_ACCEPTED_EPOCH);
        else if (e.type == ZAB_PERSIST_CURRENT_EPOCH)
            zab_leader_epoch_persisted(s->l, ZAB_CURRENT_EPOCH);
        else if (e.type == ZAB_APPEND && !s->hold_disk)
            zab_leader_persisted(s->l, e.zxid);
        else if (e.type == ZAB_SEND_SNAPSHOT)
            zab_leader_snapshot_done(s->l, e.conn, 0);
        else if (e.type == ZAB_CONFIG_ACTIVATE)
            s->designated = e.designated;
        else if (e.type == ZAB_STOP)
            s->stop = e.text, s->stop_how = e.stop;
    }
    zab_leader_check(s->l);
    zab_leader_effects_clear(s->l);
}

static void hear(struct stage *s, uint64_t conn, struct wr *w)
{
    struct arena a = arena_init();
    struct qpacket q;
    size_t used;

    assert_int_equal(qpacket_decode(w->p, w->n, QP_MAX_BUFFER_DEFAULT, &a, &q, &used), 0);
    zab_leader_peer_packet(s->l, conn, &q);
    shell(s);
    arena_free(&a);
    wr_free(w);
}
static void hear_bare(struct stage *s, uint64_t conn, int32_t type, int64_t zxid)
{
    struct wr w = wr_init(0);

    qpacket_encode_bare(&w, type, zxid);
    hear(s, conn, &w);
}
static void hear_pong(struct stage *s, uint64_t conn)
{
    struct wr w = wr_init(0);

    ping_reply_packet(&w, 0, NULL, 0);
    hear(s, conn, &w);
}
/* A learner, empty and of the epoch before, up to NEWLEADER. */
static void join(struct stage *s, uint64_t conn, int64_t sid, bool observer, uint32_t accepted)
{
    struct wr w = wr_init(0);

    zab_leader_peer_open(s->l, conn);
    learner_info_packet(&w, observer, accepted, &(struct learner_info){ .sid = sid, .protocol_version = QP_PROTOCOL_VERSION });
    hear(s, conn, &w);
    w = wr_init(0);
    if (strstr(s->log, "LEADERINFO")) {
        qp_i32_packet(&w, QP_ACKEPOCH, 0, 0);
        hear(s, conn, &w);
    }
}
#define E1 0x100000000

static void set_up(struct stage *s, const struct zab_leader_options *more)
{
    struct zab_leader_options o = more ? *more : (struct zab_leader_options){ 0 };

    *s = (struct stage){ .config = config_of(THREE), .window = zab_window_new(0, 0) };
    o.start = start_with(s->config, s->window, 1);
    s->l = zab_leader_new(&o);
    shell(s);
    join(s, 12, 2, false, 0);
    hear_bare(s, 12, QP_ACK, E1);
    assert_string_equal(s->log, "12:LEADERINFO 12:DIFF 12:NEWLEADER 12:UPTODATE");
    hear_bare(s, 12, QP_ACK, E1);
    s->log[0] = 0;
}
static void tear_down(struct stage *s)
{
    zab_leader_free(s->l);
    zab_window_free(s->window);
    quorum_config_unref(s->config);
}
static void write_one(struct stage *s)
{
    zab_leader_propose(s->l, zab_leader_next_zxid(s->l), buf_str("transaction"));
    shell(s);
}
static void time_goes(struct stage *s, int64_t from, int64_t to)
{
    for (int64_t t = from; t <= to && !s->stop; t += 50) {
        zab_leader_tick(s->l, t);
        shell(s);
    }
}
#define EXPECT(s, text) (assert_string_equal((s)->log, text), (void)((s)->log[0] = 0))

static void test_write(void **state)
{
    struct stage s;

    set_up(&s, NULL);
    s.hold_disk = true;
    write_one(&s);
    EXPECT(&s, "12:PROPOSAL"); /* before our own disk has it */
    hear_bare(&s, 12, QP_ACK, E1 + 1);
    EXPECT(&s, ""); /* one of three */
    zab_leader_persisted(s.l, E1 + 1);
    shell(&s);
    EXPECT(&s, "12:COMMIT commit");
    hear_bare(&s, 12, QP_ACK, E1 + 9);
    EXPECT(&s, "12:close"); /* never sent */
    tear_down(&s);
}

static void test_late_learners(void **state)
{
    struct stage s;

    set_up(&s, NULL);
    write_one(&s);
    hear_bare(&s, 12, QP_ACK, E1 + 1);
    s.hold_disk = true;
    write_one(&s);
    s.log[0] = 0;
    join(&s, 13, 3, false, 0); /* a follower gets what is outstanding, behind NEWLEADER (ZOOKEEPER-4394) */
    EXPECT(&s, "13:LEADERINFO 13:SNAP 13:NEWLEADER 13:PROPOSAL");
    join(&s, 19, 9, true, 0); /* an observer does not */
    EXPECT(&s, "19:LEADERINFO 19:SNAP 19:NEWLEADER");
    /* One that acknowledges the proposal first, as 3.8.0 may: it counts, and NEWLEADER still does. */
    hear_bare(&s, 13, QP_ACK, E1 + 2);
    EXPECT(&s, "");
    zab_leader_persisted(s.l, E1 + 2);
    shell(&s);
    EXPECT(&s, "12:COMMIT 13:COMMIT 19:INFORM commit");
    hear_bare(&s, 13, QP_ACK, E1);
    EXPECT(&s, "13:UPTODATE");
    hear_bare(&s, 13, QP_ACK, E1);
    EXPECT(&s, "");
    tear_down(&s);
}

static void test_sync_asks_the_quorum(void **state)
{
    struct stage s;

    set_up(&s, NULL);
    zab_leader_sync(s.l, 1);
    shell(&s);
    EXPECT(&s, "12:PING");
    zab_leader_sync(s.l, 2); /* came behind that round: it needs one of its own */
    shell(&s);
    EXPECT(&s, "");
    hear_pong(&s, 12);
    EXPECT(&s, "synced 12:PING");
    hear_pong(&s, 12);
    EXPECT(&s, "synced");
    hear_pong(&s, 12); /* one too many proves nothing */
    zab_leader_sync(s.l, 3);
    shell(&s);
    EXPECT(&s, "12:PING");
    write_one(&s); /* behind the sync */
    s.log[0] = 0;
    hear_pong(&s, 12);
    EXPECT(&s, "synced");
    zab_leader_sync(s.l, 4); /* waits for the proposal in front of it, too */
    shell(&s);
    hear_pong(&s, 12);
    EXPECT(&s, "12:PING");
    hear_bare(&s, 12, QP_ACK, E1 + 1);
    EXPECT(&s, "12:COMMIT commit synced");
    tear_down(&s);

    set_up(&s, &(struct zab_leader_options){ .no_confirm_sync = true });
    zab_leader_sync(s.l, 1);
    shell(&s);
    EXPECT(&s, "synced");
    tear_down(&s);
}

static void hear_request(struct stage *s, uint64_t conn, int32_t op)
{
    struct wr w = wr_init(0);

    forwarded_request_packet(&w, &(struct forwarded_request){ .session_id = 5, .cxid = 1, .op = op, .body = buf_str("/") }, NULL);
    hear(s, conn, &w);
}

/* A follower of 3.8 or 3.9 takes the first of its own writes and syncs to be the next that comes back, and blocks for good behind one that was
 * overtaken. So a sync is counted from its place among the requests, and answered before anything that was proposed behind it is
 * committed: that commit proves what the round of pings was to prove. */
static void test_sync_keeps_its_place(void **state)
{
    struct stage s;

    set_up(&s, NULL);
    hear_request(&s, 12, ZK_OP_CREATE);
    hear_request(&s, 12, ZK_OP_SYNC);
    EXPECT(&s, "request request"); /* the core decides when its turn is */
    write_one(&s);
    zab_leader_learner_sync(s.l, 12);
    shell(&s);
    EXPECT(&s, "12:PROPOSAL 12:PING");
    write_one(&s);
    hear_pong(&s, 12);
    EXPECT(&s, "12:PROPOSAL"); /* the write ahead of it is not committed */
    hear_bare(&s, 12, QP_ACK, E1 + 1);
    EXPECT(&s, "12:COMMIT commit 12:SYNC");
    hear_bare(&s, 12, QP_ACK, E1 + 2);
    EXPECT(&s, "12:COMMIT commit");

    zab_leader_learner_sync(s.l, 12);
    zab_leader_sync(s.l, 1);
    write_one(&s);
    EXPECT(&s, "12:PING 12:PROPOSAL");
    hear_bare(&s, 12, QP_ACK, E1 + 3);
    EXPECT(&s, "12:SYNC synced 12:COMMIT commit");
    hear_pong(&s, 12);
    EXPECT(&s, ""); /* the second asked for a round of its own, which nobody waits for any more */
    zab_leader_learner_sync(s.l, 99); /* gone meanwhile */
    shell(&s);
    EXPECT(&s, "");
    tear_down(&s);
}

static void test_silence(void **state)
{
    struct stage s;

    set_up(&s, NULL);
    time_goes(&s, 0, 450);
    assert_null(s.stop);
    assert_non_null(strstr(s.log, "12:PING"));
    time_goes(&s, 500, 3000); /* syncLimit without a packet: the connection, then the quorum */
    assert_non_null(strstr(s.log, "12:close"));
    assert_int_equal(s.stop_how, ZAB_STOP_LEADERSHIP);
    tear_down(&s);

    set_up(&s, NULL);
    s.hold_disk = true;
    write_one(&s);
    for (int64_t t = 0; t < 700; t += 50) { /* answers pings, acknowledges nothing */
        zab_leader_tick(s.l, t);
        shell(&s);
        if (!strstr(s.log, "close"))
            hear_pong(&s, 12);
    }
    assert_non_null(strstr(s.log, "12:close"));
    zab_leader_stop(s.l);
    shell(&s);
    assert_non_null(s.stop);
    assert_non_null(strstr(s.log, "replay")); /* what is in the log is in memory before the next vote */
    tear_down(&s);

    /* A stall of our own is not held against the learners. */
    set_up(&s, NULL);
    zab_leader_tick(s.l, 49);
    hear_pong(&s, 12);
    zab_leader_tick(s.l, 500);
    shell(&s);
    assert_null(s.stop);
    s.log[0] = 0;
    zab_leader_tick(s.l, 9000); /* longer than syncLimit: what they said meanwhile has not been read */
    shell(&s);
    assert_null(strstr(s.log, "close"));
    hear_pong(&s, 12);
    time_goes(&s, 9050, 9400);
    assert_null(s.stop);
    time_goes(&s, 9450, 12000);
    assert_int_equal(s.stop_how, ZAB_STOP_LEADERSHIP);
    tear_down(&s);
}

static void test_no_quorum_comes(void **state)
{
    struct stage s = { .config = config_of(THREE), .window = zab_window_new(0, 0) };

    s.l = zab_leader_new(&(struct zab_leader_options){ .start = start_with(s.config, s.window, 1) });
    time_goes(&s, 0, 950);
    assert_null(s.stop);
    time_goes(&s, 1000, 1100);
    assert_int_equal(s.stop_how, ZAB_STOP_LEADERSHIP);
    tear_down(&s);
}

static void test_counter_ends(void **state)
{
    struct stage s;

    set_up(&s, &(struct zab_leader_options){ .counter_max = 2 });
    write_one(&s);
    write_one(&s);
    assert_int_equal(zab_leader_next_zxid(s.l), 0);
    assert_null(s.stop); /* nothing that was accepted is given up */
    hear_bare(&s, 12, QP_ACK, E1 + 2);
    EXPECT(&s, "12:PROPOSAL 12:PROPOSAL 12:COMMIT commit 12:COMMIT commit");
    assert_int_equal(s.stop_how, ZAB_STOP_COUNTER);
    tear_down(&s);
}

static void test_later_promise(void **state)
{
    struct stage s;

    set_up(&s, NULL);
    join(&s, 19, 9, true, 7); /* an observer's promise changes nothing */
    assert_null(s.stop);
    join(&s, 13, 3, false, 7);
    assert_int_equal(s.stop_how, ZAB_STOP_LEADERSHIP);
    tear_down(&s);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name;
        int32_t type;
        struct learner_info info;
        bool null_data;
    } cases[] = {
        { "not an introduction", QP_ACK, { 0 }, true },
        { "our own id", QP_FOLLOWERINFO, { .sid = 1, .protocol_version = QP_PROTOCOL_VERSION }, false },
        { "newer configuration", QP_FOLLOWERINFO, { .sid = 3, .protocol_version = QP_PROTOCOL_VERSION, .config_version = 5 }, false },
        { "old protocol", QP_FOLLOWERINFO, { .sid = 3, .protocol_version = 1 }, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stage s;
        struct wr w = wr_init(0);
        print_message("case: %s\n", cases[i].name);
        set_up(&s, NULL);
        zab_leader_peer_open(s.l, 13);
        if (cases[i].null_data)
            qpacket_encode_bare(&w, cases[i].type, 0);
        else
            learner_info_packet(&w, false, 0, &cases[i].info);
        hear(&s, 13, &w);
        EXPECT(&s, "13:close");
        tear_down(&s);
    }
}

static void reconfig_txn(struct wr *w, int64_t zxid, const char *text)
{
    wr_u64(w, 7), wr_u32(w, 1), wr_u64(w, (uint64_t)zxid), wr_u64(w, 0), wr_u32(w, ZK_OP_RECONFIG);
    wr_u32(w, 17), wr_text(w, "/zookeeper/config");
    wr_u32(w, (uint32_t)strlen(text)), wr_text(w, text);
    wr_u32(w, UINT32_MAX);
}

/* We leave the ensemble: the reconfiguration needs both quorums, and leadership goes to who has most. */
static void test_reconfig_hands_over(void **state)
{
    struct stage s;
    struct wr w = wr_init(0);

    set_up(&s, NULL);
    join(&s, 13, 3, false, 0);
    hear_bare(&s, 13, QP_ACK, E1);
    join(&s, 14, 4, false, 0);
    hear_bare(&s, 14, QP_ACK, E1);
    s.log[0] = 0;
    reconfig_txn(&w, E1 + 1, ONE_TWO_FOUR);
    zab_leader_propose(s.l, E1 + 1, buf_of(w.p, w.n));
    shell(&s);
    write_one(&s);
    s.log[0] = 0;
    hear_bare(&s, 14, QP_ACK, E1 + 1); /* 1 and 4: a quorum of neither */
    EXPECT(&s, "");
    hear_bare(&s, 13, QP_ACK, E1 + 2);
    assert_int_equal(s.designated, 3); /* 3 has the proposal behind it as well */
    assert_int_equal(s.stop_how, ZAB_STOP_RECONFIG);
    EXPECT(&s, "12:COMMITANDACTIVATE 13:COMMITANDACTIVATE 14:COMMITANDACTIVATE commit replay");
    wr_free(&w);
    tear_down(&s);
}

/* What an observer has, it never acknowledges: it cannot make a quorum of a configuration in which it would vote. */
static void test_observers_are_not_in_step(void **state)
{
    struct stage s;
    struct quorum_config *next = config_of(ONE_TWO_FOUR);

    set_up(&s, NULL);
    join(&s, 14, 4, true, 0);
    hear_bare(&s, 14, QP_ACK, E1);
    assert_false(zab_leader_has_synced_quorum(s.l, next));
    join(&s, 13, 3, false, 0);
    hear_bare(&s, 13, QP_ACK, E1);
    assert_true(zab_leader_has_synced_quorum(s.l, next));
    quorum_config_unref(next);
    tear_down(&s);
}

/* A proposed configuration that a new leader finds makes another server leader: NEWLEADER cannot say so, so all look for it. */
static void test_pending_names_another(void **state)
{
    struct stage s = { .config = config_of(THREE), .window = zab_window_new(0, 0) };
    struct zab_leader_options o = { 0 };
    struct quorum_config *next = config_of(ONE_TWO_FOUR);

    o.start = start_with(s.config, s.window, 1);
    o.start.last_seen = next;
    o.start.reconfig_enabled = true;
    s.l = zab_leader_new(&o);
    shell(&s);
    join(&s, 12, 2, false, 0);
    hear_bare(&s, 12, QP_ACK, E1);
    assert_null(s.stop); /* the new members' quorum is missing */
    join(&s, 14, 4, false, 0);
    hear_bare(&s, 14, QP_ACK, E1);
    assert_true(s.designated == 2 || s.designated == 4);
    assert_int_equal(s.stop_how, ZAB_STOP_LEADERSHIP);
    quorum_config_unref(next);
    tear_down(&s);
}

/* Who observes, and votes in what is proposed, is needed for the start of the epoch: all may have restarted while it was proposed. */
static void test_pending_needs_an_observer(void **state)
{
    struct stage s = { .config = config_of(THREE), .window = zab_window_new(0, 0) };
    struct zab_leader_options o = { 0 };
    struct quorum_config *next = config_of("server.1=a:2888:3888:participant\nserver.4=d:2888:3888:participant\nversion=100000001");

    o.start = start_with(s.config, s.window, 1);
    o.start.last_seen = next;
    o.start.reconfig_enabled = true;
    s.l = zab_leader_new(&o);
    shell(&s);
    join(&s, 12, 2, false, 0);
    hear_bare(&s, 12, QP_ACK, E1);
    assert_null(strstr(s.log, "UPTODATE")); /* a quorum of the one, not of the other */
    join(&s, 14, 4, true, 0);
    hear_bare(&s, 14, QP_ACK, E1);
    assert_non_null(strstr(s.log, "12:UPTODATE 14:UPTODATE"));
    quorum_config_unref(next);
    tear_down(&s);
}

/* ---- the learner ---- */

struct pupil {
    struct quorum_config *config, *seen; /* seen: proposed, may be NULL */
    bool reconfig;
    bool observer; /* without a log */
    struct zab_window *window;
    struct zab_learner *l;
    struct zab_effect stop;
    char log[2048];
};

static void pupil_shell(struct pupil *p)
{
    const struct zab_effect *f;
    size_t n = zab_learner_effects(p->l, &f);

    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(p->log);
        (void)snprintf(p->log + at, sizeof(p->log) - at, "%s%s", at > 0 ? " " : "",
                       f[i].type == ZAB_SEND ? qp_type_str((int32_t)load_u32(f[i].bytes.p)) : zab_effect_str(f[i].type));
        if (f[i].type == ZAB_STOP)
            p->stop = f[i];
    }
    zab_learner_check(p->l);
    zab_learner_effects_clear(p->l);
}
static void pupil_hear(struct pupil *p, int32_t type, int64_t zxid, const char *data)
{
    struct qpacket q = { .type = type, .zxid = zxid, .auth = { .n = -1 } };

    if (data)
        q.data = (struct jbuf){ (const uint8_t *)data, (int32_t)strlen(data) };
    zab_learner_packet(p->l, &q);
    pupil_shell(p);
}
static void pupil_of(struct pupil *p, int64_t last, int32_t op, int64_t op_zxid)
{
    struct zab_learner_options o = { .leader_sid = 1, .observer = p->observer, .no_observer_log = p->observer };

    p->window = zab_window_new(0, 0);
    o.start = start_with(p->config, p->window, 2);
    o.start.last_seen = p->seen;
    o.start.reconfig_enabled = p->reconfig;
    o.start.last_zxid = last;
    o.start.accepted_epoch = o.start.current_epoch = 1;
    p->l = zab_learner_new(&o);
    zab_learner_opened(p->l);
    pupil_shell(p);
    struct qpacket q = { .type = QP_LEADERINFO, .zxid = 0x200000000, .data = { (const uint8_t *)"\0\1\0\0", 4 } };
    zab_learner_packet(p->l, &q);
    pupil_shell(p);
    assert_false(zab_learner_ready(p->l)); /* nothing is said before the promise is durable */
    EXPECT(p, p->observer ? "OBSERVERINFO persist acceptedEpoch" : "FOLLOWERINFO persist acceptedEpoch");
    zab_learner_epoch_persisted(p->l, ZAB_ACCEPTED_EPOCH);
    pupil_shell(p);
    EXPECT(p, "ACKEPOCH");
    pupil_hear(p, op, op_zxid, NULL);
}
static void pupil_up_to(struct pupil *p, int64_t last, int32_t op, int64_t op_zxid)
{
    *p = (struct pupil){ .config = config_of(THREE) };
    pupil_of(p, last, op, op_zxid);
}
static void pupil_done(struct pupil *p)
{
    quorum_config_unref(p->seen);
    zab_learner_free(p->l);
    zab_window_free(p->window);
    quorum_config_unref(p->config);
}

/* Append, apply, sync, currentEpoch, ACK: in this order (ZOOKEEPER-4643, 4646, 3911); what is not committed waits (4394, 4685). */
static void test_diff_order(void **state)
{
    struct pupil p;

    pupil_up_to(&p, 0x100000005, QP_DIFF, 0x100000007);
    pupil_hear(&p, QP_PROPOSAL, 0x100000006, "six");
    pupil_hear(&p, QP_COMMIT, 0x100000006, NULL);
    pupil_hear(&p, QP_PROPOSAL, 0x200000001, "one");
    EXPECT(&p, "note");
    pupil_hear(&p, QP_NEWLEADER, 0x200000000, NULL);
    EXPECT(&p, "append replay");
    assert_false(zab_learner_ready(p.l));
    zab_learner_persisted(p.l, 0x100000006);
    pupil_shell(&p);
    EXPECT(&p, "persist currentEpoch");
    zab_learner_epoch_persisted(p.l, ZAB_CURRENT_EPOCH);
    pupil_shell(&p);
    EXPECT(&p, "ACK");
    pupil_hear(&p, QP_PING, 0, NULL); /* the reference's leader would take an answer for the ACK */
    pupil_hear(&p, QP_COMMIT, 0x200000001, NULL); /* between NEWLEADER and UPTODATE */
    EXPECT(&p, "");
    pupil_hear(&p, QP_UPTODATE, -1, NULL);
    EXPECT(&p, "ACK serve append commit");
    zab_learner_persisted(p.l, 0x200000001);
    pupil_shell(&p);
    EXPECT(&p, "ACK");
    assert_int_equal(zab_window_max(p.window), 0x200000001); /* ZOOKEEPER-4925 */
    assert_int_equal(zab_window_len(p.window), 2);
    pupil_hear(&p, QP_PROPOSAL, 0x200000002, "two");
    pupil_hear(&p, QP_PROPOSAL, 0x200000003, "three");
    EXPECT(&p, "append append");
    pupil_hear(&p, QP_COMMIT, 0x200000003, NULL);
    assert_int_equal(p.stop.stop, ZAB_STOP_FATAL);
    assert_int_equal(p.stop.exit_code, 12);
    pupil_done(&p);
}

/* Up to UPTODATE with a configuration in NEWLEADER. */
static void pupil_newleader(struct pupil *p, const char *config)
{
    pupil_of(p, 0x100000005, QP_DIFF, 0x100000005);
    p->log[0] = 0;
    pupil_hear(p, QP_NEWLEADER, 0x200000000, config);
    zab_learner_epoch_persisted(p->l, ZAB_CURRENT_EPOCH);
    pupil_shell(p);
    pupil_hear(p, QP_UPTODATE, -1, NULL);
}

static void test_config_of_newleader(void **state)
{
#define TWO(text) "server.1=" text "\nserver.2=b:2888:3888:participant\n"
    static const struct {
        const char *name, *config, *seen;
        bool enabled;
        const char *effects;
        int stop; /* enum zab_stop; -1: none */
    } cases[] = {
        { "taken over", THREE "00", NULL, true, "persist currentEpoch ACK ACK serve", -1 }, /* version=000: nothing new */
        { "newer", TWO("a:2888:3888:participant") "version=200000000", NULL, true,
          "config seen persist currentEpoch ACK config activate ACK serve", -1 },
        { "newer, and disabled here", TWO("a:2888:3888:participant") "version=200000000", NULL, false, "persist currentEpoch ACK ACK serve", -1 },
        { "the leader moves", TWO("x:2888:3888:participant") "version=200000000", NULL, true,
          "config seen persist currentEpoch ACK config activate stop", ZAB_STOP_RECONFIG },
        { "the leader's election port moves", TWO("a:2888:3999:participant") "version=200000000", NULL, true,
          "config seen persist currentEpoch ACK config activate ACK serve", -1 },
        { "the leader loses its vote", TWO("a:2888:3888:observer") "server.3=c:2888:3888:participant\nversion=200000000", NULL, true,
          "config seen persist currentEpoch ACK config activate stop", ZAB_STOP_RECONFIG },
        { "we observe", "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:observer\nserver.3=c:2888:3888\nversion=200000000", NULL, true,
          "config seen persist currentEpoch ACK config activate stop", ZAB_STOP_RECONFIG },
        { "we are left out", "server.1=a:2888:3888:participant\nserver.3=c:2888:3888:participant\nversion=200000000", NULL, true,
          "config seen persist currentEpoch ACK config activate ACK serve", -1 },
        { "a proposal was withdrawn", THREE, ONE_TWO_FOUR, true, "config seen persist currentEpoch ACK ACK serve", -1 },
        { "one that a leader has proposed, not committed, when we come", TWO("x:2888:3888:participant") "version=200000007", NULL, true,
          "config seen persist currentEpoch ACK ACK serve", -1 },
        { "a proposal is finished", ONE_TWO_FOUR, ONE_TWO_FOUR, true, "persist currentEpoch ACK config activate stop", ZAB_STOP_RECONFIG },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pupil p = { .config = config_of(THREE), .reconfig = cases[i].enabled };

        print_message("case: %s\n", cases[i].name);
        p.seen = cases[i].seen ? config_of(cases[i].seen) : NULL;
        p.stop.stop = (enum zab_stop)-1;
        pupil_newleader(&p, cases[i].config);
        EXPECT(&p, cases[i].effects);
        assert_int_equal((int)p.stop.stop, cases[i].stop);
        pupil_done(&p);
    }
}

/* An observer without a log acknowledges NEWLEADER with what is in its memory alone. That must not count for a configuration in which it votes. */
static void test_proposed_voter_without_log(void **state)
{
#define WITH_US(role) "server.1=a:2888:3888:participant\nserver.3=c:2888:3888:participant\nserver.2=b:2888:3888:" role "\nversion=100000001"
    for (int from_disk = 0; from_disk < 2; from_disk++) {
        struct pupil p = { .config = config_of(THREE), .reconfig = true, .observer = true };
        p.seen = from_disk ? config_of(WITH_US("participant")) : NULL;
        p.stop.stop = (enum zab_stop)-1;
        pupil_newleader(&p, WITH_US("participant"));
        assert_null(strstr(p.log, "ACK"));
        assert_int_equal((int)p.stop.stop, ZAB_STOP_LOST);
        assert_non_null(strstr(p.stop.text, "keeps a log"));
        pupil_done(&p);
    }
    struct pupil p = { .config = config_of(THREE), .reconfig = true, .observer = true };
    pupil_newleader(&p, WITH_US("observer"));
    assert_non_null(strstr(p.log, "ACK"));
    pupil_done(&p);
}

static void test_gap(void **state)
{
    struct pupil p;

    pupil_up_to(&p, 0x100000005, QP_DIFF, 0x100000007);
    pupil_hear(&p, QP_PROPOSAL, 0x100000007, "seven");
    assert_int_equal(p.stop.stop, ZAB_STOP_LOST);
    assert_false(p.stop.reload);
    pupil_done(&p);
}

static void test_snap(void **state)
{
    struct pupil p;

    pupil_up_to(&p, 0x100000005, QP_SNAP, 0x200000003);
    EXPECT(&p, "note load snapshot");
    zab_learner_snapshot_loaded(p.l, 0);
    pupil_hear(&p, QP_PROPOSAL, 0x200000003, "three"); /* in the image already */
    pupil_hear(&p, QP_COMMIT, 0x200000003, NULL);
    pupil_hear(&p, QP_PROPOSAL, 0x200000004, "four");
    pupil_hear(&p, QP_COMMIT, 0x200000004, NULL);
    EXPECT(&p, "replay replay");
    pupil_hear(&p, QP_NEWLEADER, 0x200000000, NULL);
    EXPECT(&p, "store snapshot");
    zab_learner_closed(p.l); /* the disk does not have it yet */
    pupil_shell(&p);
    assert_true(p.stop.reload);
    pupil_done(&p);

    pupil_up_to(&p, 0x100000005, QP_SNAP, 0x200000003);
    zab_learner_snapshot_loaded(p.l, RC_SHORT); /* a part of a tree is none (ZOOKEEPER-3642) */
    pupil_shell(&p);
    assert_int_equal(p.stop.stop, ZAB_STOP_LOST);
    assert_true(p.stop.reload);
    pupil_done(&p);
}

/* A machine that is gone closes no connection: a snapshot that stops coming ends the role. */
static void test_snapshot_that_stops(void **state)
{
    struct pupil p;

    pupil_up_to(&p, 0x100000005, QP_SNAP, 0x200000003);
    p.stop.stop = (enum zab_stop)-1;
    for (int64_t t = 100; t <= 2200; t += 100) {
        zab_learner_tick(p.l, t);
        zab_learner_heard(p.l); /* slowly */
    }
    pupil_shell(&p);
    assert_int_equal((int)p.stop.stop, -1);
    assert_true(zab_learner_next_wake(p.l) <= 2300);
    for (int64_t t = 2300; t <= 3300; t += 100)
        zab_learner_tick(p.l, t);
    pupil_shell(&p);
    assert_int_equal(p.stop.stop, ZAB_STOP_LOST);
    assert_true(p.stop.reload);
    pupil_done(&p);
}

static void test_trunc(void **state)
{
    static const struct {
        int rc;
        enum zab_stop stop;
        int exit_code;
    } cases[] = { { RC_NOTFOUND, ZAB_STOP_RESYNC, 0 }, { RC_NOSPACE, ZAB_STOP_FATAL, 13 }, { RC_IO, ZAB_STOP_FATAL, 13 } };
    struct pupil p;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pupil_up_to(&p, 0x100000005, QP_TRUNC, 0x100000004);
        EXPECT(&p, "note truncate log");
        zab_learner_truncated(p.l, cases[i].rc);
        pupil_shell(&p);
        assert_int_equal(p.stop.stop, cases[i].stop);
        assert_int_equal(p.stop.exit_code, cases[i].exit_code);
        pupil_done(&p);
    }
    pupil_up_to(&p, 0x100000005, QP_TRUNC, 0x100000006);
    assert_int_equal(p.stop.stop, ZAB_STOP_LOST);
    pupil_done(&p);
}

static void test_older_epoch(void **state)
{
    for (int observer = 0; observer < 2; observer++) {
        struct pupil p = { .config = config_of(THREE), .window = zab_window_new(0, 0) };
        struct zab_learner_options o = { .leader_sid = 1, .observer = observer, .start = start_with(p.config, p.window, 2) };
        o.start.accepted_epoch = 5, o.start.current_epoch = 3;
        p.l = zab_learner_new(&o);
        zab_learner_opened(p.l);
        struct qpacket q = { .type = QP_LEADERINFO, .zxid = 0x400000000, .data = { (const uint8_t *)"\0\1\0\0", 4 } };
        zab_learner_packet(p.l, &q);
        pupil_shell(&p);
        EXPECT(&p, observer ? "OBSERVERINFO ACKEPOCH" : "FOLLOWERINFO stop");
        pupil_done(&p);
    }
}

static void test_learner_times(void **state)
{
    struct pupil p;

    pupil_up_to(&p, 0, QP_DIFF, 0);
    for (int64_t t; (t = zab_learner_next_wake(p.l)) < 1000;)
        zab_learner_tick(p.l, t);
    zab_learner_tick(p.l, 999);
    pupil_shell(&p);
    EXPECT(&p, "note");
    zab_learner_tick(p.l, 1000);
    pupil_shell(&p);
    EXPECT(&p, "stop");
    pupil_done(&p);

    /* When it is us who stood still, the leader may have spoken all the time. */
    pupil_up_to(&p, 0, QP_DIFF, 0);
    zab_learner_tick(p.l, 50000);
    pupil_shell(&p);
    EXPECT(&p, "note");
    int64_t now = 50000;
    for (int64_t t; (t = zab_learner_next_wake(p.l)) < INT64_MAX; now = t)
        zab_learner_tick(p.l, t);
    assert_in_range(now, 50500, 51100);
    pupil_shell(&p);
    EXPECT(&p, "stop");
    pupil_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write), cmocka_unit_test(test_late_learners), cmocka_unit_test(test_sync_asks_the_quorum),
        cmocka_unit_test(test_sync_keeps_its_place),
        cmocka_unit_test(test_silence), cmocka_unit_test(test_no_quorum_comes), cmocka_unit_test(test_counter_ends),
        cmocka_unit_test(test_later_promise), cmocka_unit_test(test_refused), cmocka_unit_test(test_reconfig_hands_over),
        cmocka_unit_test(test_observers_are_not_in_step), cmocka_unit_test(test_pending_names_another),
        cmocka_unit_test(test_pending_needs_an_observer), cmocka_unit_test(test_proposed_voter_without_log),
        cmocka_unit_test(test_config_of_newleader),
        cmocka_unit_test(test_diff_order), cmocka_unit_test(test_gap), cmocka_unit_test(test_snap), cmocka_unit_test(test_trunc),
        cmocka_unit_test(test_snapshot_that_stops),
        cmocka_unit_test(test_older_epoch), cmocka_unit_test(test_learner_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
