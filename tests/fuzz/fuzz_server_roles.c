/* What other servers say to the core. [event: u8] [length: u8] [bytes], over a leader and a learner that hear each other late:
 *   0-15   a request of a learner's client for the leader: session (1 byte: which), opcode (1 byte), cxid (1 byte), body
 *   16-31  a transaction for a lone learner, its header and body as they come
 *   32-47  a request of the learner's own client: opcode (1 byte), body
 *   48     the learner hears what the leader proposed; 49: and that it is committed; 50: both apply; 51: time moves
 *   52     both roles end and begin anew
 * Whatever comes: the leader's digests are its tree's, and the learner that follows it has the same tree. */
#include "jute/records.h"
#include "server/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LEADER, FOLLOWER, LONER, CORES };

struct txn {
    int64_t zxid;
    uint8_t *p;
    size_t n;
};

struct target {
    struct tree *tree[CORES];
    struct core *core[CORES];
    struct VEC(struct txn) txns; /* proposed; [heard, ..) not yet at the follower */
    size_t heard;
    struct auth_ids *ids;
    int64_t session, now, epoch;
    int32_t xid;
};

static void forwarded(struct target *t, const struct core_effect *e)
{
    core_submit_remote(t->core[LEADER], &(struct core_remote_request){ 2, e->session_id, e->xid, e->op, e->bytes, e->auth });
}

static void carry_out(struct target *t, int who, const struct core_effect *e)
{
    switch (e->type) {
    case CORE_PROPOSE:
        VEC_PUSH(&t->txns, ((struct txn){ e->zxid, x_memdup(e->bytes.p, e->bytes.n), e->bytes.n }));
        break;
    case CORE_FORWARD:
        if (who == FOLLOWER)
            forwarded(t, e);
        break;
    case CORE_SYNC:
        core_synced(t->core[who], e->tag);
        break;
    case CORE_SESSION_READY:
        if (who == FOLLOWER)
            t->session = e->session_id;
        break;
    default:
        break;
    }
}

/* Carrying out adds effects to the cores, its own too: they are taken over first. */
static void pump_one(struct target *t, int who)
{
    const struct core_effect *e;
    size_t n = core_effects(t->core[who], &e);
    struct VEC(struct core_effect) copy = { 0 };
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(&copy, e[i]);
    for (size_t i = 0; i < copy.len; i++)
        carry_out(t, who, &copy.items[i]);
    VEC_FREE(&copy);
    core_effects_clear(t->core[who]);
}

static void pump(struct target *t)
{
    pump_one(t, FOLLOWER);
    pump_one(t, LEADER);
    pump_one(t, LONER);
}

static void hear(struct target *t)
{
    for (; t->heard < t->txns.len; t->heard++) {
        struct txn *x = &t->txns.items[t->heard];
        ASSERT(core_learner_txn(t->core[FOLLOWER], x->zxid, buf_of(x->p, x->n)) == 0);
    }
}

static void commit(struct target *t)
{
    hear(t);
    for (int i = 0; i < CORES; i++)
        core_committed(t->core[i], core_last_proposed(t->core[i]));
}

static void apply(struct target *t)
{
    for (int i = 0; i < CORES; i++)
        core_apply(t->core[i], 0);
    pump(t);
}

static void settle(struct target *t)
{
    for (int round = 0; round < 3; round++) {
        pump(t);
        commit(t);
        apply(t);
    }
}

static void begin(struct target *t)
{
    int64_t start = MAX(tree_last_zxid(t->tree[LONER]), tree_last_zxid(t->tree[LEADER])) >> 32;
    t->epoch = MAX(t->epoch, start) + 1;
    if (t->epoch > INT32_MAX / 2)
        t->epoch = 1; /* a loner's transactions may have any zxid: its role does not change then */
    if (tree_last_zxid(t->tree[LEADER]) <= t->epoch << 32)
        core_become(t->core[LEADER], CORE_LEADER, t->epoch, t->now);
    core_become(t->core[FOLLOWER], CORE_LEARNER, 0, t->now);
    core_become(t->core[LONER], CORE_LEARNER, 0, t->now);
    t->session = 0;
    core_connect(t->core[FOLLOWER], 1, 0, buf_of("", 0), 4000);
    settle(t);
}

static void remote_request(struct target *t, struct buf b)
{
    if (b.n < 3)
        return;
    int64_t sessions[] = { t->session, 0, INT64_MIN, -1, 77, INT64_C(0x0200000000000009) };
    core_submit_remote(t->core[LEADER],
                       &(struct core_remote_request){ 2 + b.p[0] % 2, sessions[b.p[0] % ARRAY_LEN(sessions)], b.p[2], (int8_t)b.p[1],
                                                      buf_of(b.p + 3, b.n - 3), { NULL, -1 } });
    pump(t);
}

static void loner_txn(struct target *t, struct buf b)
{
    struct rd r = rd_buf(b);
    struct txn_header h;
    txn_header_read(&r, NULL, &h);
    (void)core_learner_txn(t->core[LONER], h.zxid, b);
}

static void own_request(struct target *t, struct buf b)
{
    if (b.n < 1 || !core_op_is_submitted(CORE_LEARNER, (int8_t)b.p[0]))
        return;
    core_submit(t->core[FOLLOWER], &(struct core_request){ 1, t->session, ++t->xid, (int8_t)b.p[0], buf_of(b.p + 1, b.n - 1),
                                                           t->ids });
    pump(t);
}

static void event(struct target *t, uint8_t what, struct buf b)
{
    if (what < 16)
        remote_request(t, b);
    else if (what < 32)
        loner_txn(t, b);
    else if (what < 48)
        own_request(t, b);
    else if (what == 48)
        hear(t);
    else if (what == 49)
        commit(t);
    else if (what == 50)
        apply(t);
    else if (what == 51) {
        t->now += (int64_t)b.n * 100;
        for (int i = 0; i < CORES; i++)
            core_tick(t->core[i], t->now, 1700000000000 + t->now);
        pump(t);
    } else if (what == 52) {
        settle(t);
        begin(t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core_config cfg = { .tick_ms = 2000, .min_session_ms = 4000, .max_session_ms = 40000, .extended_types = true,
                               .snap_count = 50, .container_check_ms = 1000, .container_max_per_minute = 10000, .max_txn = 4096,
                               .counter_max = 1000, .local_sessions = size % 2 == 1, .local_upgrade = size % 4 == 1 };
    struct target t = { .now = 1000, .ids = auth_ids_new("127.0.0.1") };
    for (int i = 0; i < CORES; i++) {
        cfg.server_id = i + 1;
        t.tree[i] = tree_new(&(struct tree_options){ .extended_types = true });
        t.core[i] = core_new(&cfg, t.tree[i], t.now, 1700000000000);
    }
    begin(&t);
    while (size >= 2) {
        size_t n = MIN((size_t)data[1], size - 2);
        uint8_t *body = x_memdup(data + 2, n); /* exactly sized */
        event(&t, data[0], buf_of(body, n));
        free(body);
        data += 2 + n;
        size -= 2 + n;
    }
    settle(&t);
    ASSERT(core_digest_mismatches(t.core[LEADER]) == 0);
    ASSERT(core_digest_mismatches(t.core[FOLLOWER]) == 0);
    ASSERT(tree_digest(t.tree[LEADER]) == tree_digest(t.tree[FOLLOWER]));
    for (int i = 0; i < CORES; i++) {
        tree_check(t.tree[i]);
        core_free(t.core[i]);
        tree_free(t.tree[i]);
    }
    for (size_t i = 0; i < t.txns.len; i++)
        free(t.txns.items[i].p);
    VEC_FREE(&t.txns);
    auth_ids_unref(t.ids);
    return 0;
}
