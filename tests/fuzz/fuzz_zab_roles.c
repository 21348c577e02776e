/* Leader and learner against peers that say anything in any order. The input is a script: bytes choose who speaks, which packet,
 * which zxid; the machine's own disk answers at once or when the script says so. The machines' invariants are checked after each step. */
#include "zab/zab.h"

#define CONFIG                                                                                               \
    "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\nserver.3=c:2888:3888:observer\nversion=0"

/* What a leader may say that the members are: as they were, others, moved, in other roles, without us. */
static const char *const configs[] = {
    CONFIG,
    "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\nserver.4=d:2888:3888:participant\nversion=300000000",
    "server.1=a:2888:3888:observer\nserver.2=x:2888:3888:participant\nversion=300000001",
    "server.2=b:2888:3888:participant\nserver.3=c:2888:3888:participant\nversion=100000001",
};

static struct rd in;
static int64_t appended; /* not yet synced */
static bool stopped;

/* Near what matters: few epochs, few counters. Sometimes anything. */
static int64_t some_zxid(void)
{
    uint8_t b = rd_u8(&in);
    return b == 255 ? rd_i64(&in) : zxid_of(b >> 4 & 7, b & 15);
}

/* A transaction that changes the members, behind the id of the next leader where the packet has one. */
static struct jbuf some_reconfig(bool designates, int64_t zxid, const char *config)
{
    static struct wr w;

    wr_reset(&w);
    if (designates)
        wr_u64(&w, 2);
    wr_u64(&w, 7), wr_u32(&w, 1), wr_u64(&w, (uint64_t)zxid), wr_u64(&w, 0), wr_u32(&w, ZK_OP_RECONFIG);
    wr_u32(&w, 17), wr_text(&w, "/zookeeper/config");
    wr_u32(&w, (uint32_t)strlen(config)), wr_text(&w, config);
    wr_u32(&w, UINT32_MAX);
    return (struct jbuf){ w.p, (int32_t)w.n };
}

static struct qpacket some_packet(uint8_t *data, size_t cap)
{
    struct qpacket q = { .type = rd_u8(&in) % 21, .auth = { .n = -1 } };
    size_t n = rd_u8(&in);

    q.zxid = some_zxid();
    const char *config = configs[n / 2 % ARRAY_LEN(configs)];
    if (q.type == QP_NEWLEADER && n % 2) {
        q.data = (struct jbuf){ (const uint8_t *)config, (int32_t)strlen(config) };
    } else if ((q.type == QP_PROPOSAL || q.type == QP_INFORMANDACTIVATE) && n >= 240) {
        q.data = some_reconfig(q.type == QP_INFORMANDACTIVATE, q.zxid, config);
    } else if (n < cap) {
        n = MIN(n, rd_left(&in));
        const uint8_t *p = rd_take(&in, n);
        if (p)
            memcpy(data, p, n);
        q.data = (struct jbuf){ data, (int32_t)n };
    }
    return q;
}

static void leader_effects(struct zab_leader *l, bool disk)
{
    const struct zab_effect *f;

    for (size_t i = 0; i < zab_leader_effects(l, &f); i++) {
        struct zab_effect e = f[i];
        if (e.type == ZAB_PERSIST_ACCEPTED_EPOCH)
            zab_leader_epoch_persisted(l, ZAB_ACCEPTED_EPOCH);
        else if (e.type == ZAB_PERSIST_CURRENT_EPOCH)
            zab_leader_epoch_persisted(l, ZAB_CURRENT_EPOCH);
        else if (e.type == ZAB_APPEND)
            appended = e.zxid;
        else if (e.type == ZAB_COMMIT)
            zab_leader_applied(l, e.zxid);
        else if (e.type == ZAB_SEND_SNAPSHOT && disk)
            zab_leader_snapshot_done(l, e.conn, 0);
        else if (e.type == ZAB_READ_LOG && disk)
            zab_leader_log_end(l, e.conn, RC_UNAVAIL);
        else if (e.type == ZAB_REVALIDATE)
            zab_leader_revalidated(l, e.conn, e.session_id, true);
        else if (e.type == ZAB_REQUEST && e.request.op == ZK_OP_SYNC)
            zab_leader_learner_sync(l, e.conn);
        else if (e.type == ZAB_STOP)
            stopped = true;
    }
    zab_leader_check(l);
    zab_leader_effects_clear(l);
}

static void fuzz_leader(struct zab_start *s)
{
    struct zab_leader *l = zab_leader_new(&(struct zab_leader_options){ .start = *s, .counter_max = 12 });
    bool open[4] = { false };
    uint8_t data[64];

    leader_effects(l, true);
    while (rd_left(&in) > 0 && !stopped) {
        uint8_t b = rd_u8(&in);
        uint64_t conn = (b >> 4 & 3) + 1;
        if (!open[conn - 1])
            zab_leader_peer_open(l, conn), open[conn - 1] = true;
        switch (b & 15) {
        case 0:
            zab_leader_peer_closed(l, conn);
            open[conn - 1] = false;
            break;
        case 1:
            s->now_ms += rd_u8(&in);
            zab_leader_tick(l, s->now_ms);
            break;
        case 2:
            if (zab_leader_next_zxid(l) != 0)
                zab_leader_propose(l, zab_leader_next_zxid(l), buf_str("some transaction of thirty-two.."));
            break;
        case 3:
            if (appended != 0)
                zab_leader_persisted(l, appended);
            break;
        case 4: { /* a whole introduction */
            struct wr w = wr_init(0);
            struct arena a = arena_init();
            struct qpacket q;
            size_t used;
            learner_info_packet(&w, b & 128, rd_u8(&in) % 4, &(struct learner_info){ .sid = 2, .protocol_version = QP_PROTOCOL_VERSION });
            ASSERT(qpacket_decode(w.p, w.n, 4096, &a, &q, &used) == 0);
            zab_leader_peer_packet(l, conn, &q);
            leader_effects(l, true);
            wr_reset(&w);
            qp_i32_packet(&w, QP_ACKEPOCH, some_zxid(), rd_u8(&in) % 4 - 1);
            ASSERT(qpacket_decode(w.p, w.n, 4096, &a, &q, &used) == 0);
            zab_leader_peer_packet(l, conn, &q);
            arena_free(&a);
            wr_free(&w);
            break;
        }
        case 5: {
            struct zab_leader_stats st;
            zab_leader_stats(l, &st);
            if (st.phase == ZAB_LEADER_SERVING)
                zab_leader_sync(l, b);
            break;
        }
        case 6:
            zab_leader_snapshot_done(l, conn, b & 128 ? RC_IO : 0);
            break;
        default: {
            struct qpacket q = some_packet(data, sizeof(data));
            zab_leader_peer_packet(l, conn, &q);
        }
        }
        leader_effects(l, b & 64);
        /* What was closed by the machine is closed. */
        for (uint64_t c = 1; c <= 4; c++) {
            struct zab_peer_stats peers[8];
            size_t n = MIN(zab_leader_peers(l, peers, 8), (size_t)8), i = 0;
            while (i < n && peers[i].conn != c)
                i++;
            open[c - 1] = i < n;
        }
    }
    zab_leader_stop(l);
    leader_effects(l, false);
    zab_leader_free(l);
}

static void learner_disk(struct zab_learner *l, enum zab_effect_type what, int rc)
{
    switch (what) {
    case ZAB_PERSIST_ACCEPTED_EPOCH:
        zab_learner_epoch_persisted(l, ZAB_ACCEPTED_EPOCH);
        break;
    case ZAB_PERSIST_CURRENT_EPOCH:
        zab_learner_epoch_persisted(l, ZAB_CURRENT_EPOCH);
        break;
    case ZAB_TRUNCATE_LOG:
        zab_learner_truncated(l, rc);
        break;
    case ZAB_LOAD_SNAPSHOT:
        zab_learner_snapshot_loaded(l, rc);
        break;
    case ZAB_STORE_SNAPSHOT:
        zab_learner_snapshot_stored(l);
        break;
    default:
        break;
    }
}

static void learner_effects(struct zab_learner *l, int rc)
{
    const struct zab_effect *f;

    for (size_t i = 0; i < zab_learner_effects(l, &f); i++) {
        struct zab_effect e = f[i];
        if (e.type == ZAB_APPEND)
            appended = e.zxid;
        else if (e.type == ZAB_STOP)
            stopped = true;
        else
            learner_disk(l, e.type, rc);
    }
    zab_learner_check(l);
    zab_learner_effects_clear(l);
}

static void fuzz_learner(struct zab_start *s, bool observer)
{
    struct zab_learner *l = zab_learner_new(&(struct zab_learner_options){ .start = *s, .leader_sid = 2, .observer = observer });
    uint8_t data[64];

    zab_learner_opened(l);
    learner_effects(l, 0);
    struct qpacket hello = { .type = QP_LEADERINFO, .zxid = zxid_of(3, 0), .data = { (const uint8_t *)"\0\1\0\0", 4 }, .auth = { .n = -1 } };
    zab_learner_packet(l, &hello);
    learner_effects(l, 0);
    while (rd_left(&in) > 0 && !stopped) {
        uint8_t b = rd_u8(&in);
        struct zab_learner_stats st;
        zab_learner_stats(l, &st);
        if ((b & 7) == 0 && appended != 0 && appended <= st.last_logged) {
            zab_learner_persisted(l, appended);
        } else if ((b & 7) == 1) {
            s->now_ms += rd_u8(&in);
            zab_learner_tick(l, s->now_ms);
        } else if ((b & 7) == 2 && st.phase == ZAB_LEARNER_SERVING) {
            struct forwarded_request req = { .op = ZK_OP_SYNC };
            zab_learner_sync(l, &req, NULL, b);
            zab_learner_touch(l, b, 1);
            zab_learner_revalidate(l, b, 1);
        } else if (zab_learner_ready(l)) {
            struct qpacket q = some_packet(data, sizeof(data));
            zab_learner_packet(l, &q);
        }
        learner_effects(l, b == 0xff ? RC_SHORT : 0);
    }
    zab_learner_closed(l);
    learner_effects(l, 0);
    zab_learner_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct quorum_config *config;
    struct quorum_error err;

    in = rd_init(bytes, n);
    appended = 0;
    stopped = false;
    if (!config)
        ASSERT(quorum_config_parse(buf_str(CONFIG), &(struct quorum_options){ .standalone_enabled = true }, &config, &err) == 0);
    uint8_t how = rd_u8(&in);
    struct zab_start s = { .my_sid = 1, .tick_ms = 100, .init_limit = 10, .sync_limit = 5, .last_zxid = zxid_of(how & 3 ? 2 : 0, how & 3),
        .accepted_epoch = 2, .current_epoch = 2, .committed = config, .reconfig_enabled = how & 16, .window = zab_window_new(0, 200) };
    for (uint32_t c = 1; c <= (how & 3U); c++)
        ASSERT(zab_window_push_bytes(s.window, zxid_of(2, c), buf_str("some transaction of thirty-two..")) == 0);
    if (how & 4)
        fuzz_leader(&s);
    else
        fuzz_learner(&s, how & 8);
    zab_window_free(s.window);
    return 0;
}
