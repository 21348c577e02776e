/* Whole clusters of leaders and learners over virtual connections and virtual disks, from one seed each.
 *
 * Connections are FIFOs that break at any moment. Disks lose what was not synced; what was under way when a machine crashes
 * has happened, or not, or by half. Whoever leads is chosen by the test, mostly the most up-to-date server of a quorum, sometimes
 * just anyone: safety must not hang on the election. The tree is the list of transactions applied, so every loss, gap and
 * disorder shows. Checked after every event:
 *   - what a server tells its clients is committed never changes or vanishes, and everybody commits the same in the same order;
 *   - a server that begins to serve holds everything committed (leader) and nothing else before it;
 *   - ACK(z) is sent only when z is durable, ACK(NEWLEADER) only when the history and currentEpoch are;
 *   - memory and disk are the same when a role ends;
 *   - a sync sees everything that was committed anywhere before it was asked for;
 * and in the end, once nothing fails any more, all converge.
 *
 * What all this is worth is tested too: each historical bug that is a matter of these machines is switched on and has to be found. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/relapse.h"
#include "zab/zab.h"

#define MACHINES_MAX 7
#define TICK_MS 100
#define INIT_LIMIT 10
#define SYNC_LIMIT 5

struct rec {
    int64_t zxid, value;
};
struct history {
    struct rec *items;
    size_t len, cap;
};

enum role { DOWN, IDLE, LEADER, LEARNER };
enum op_type { OP_ACCEPTED, OP_CURRENT, OP_TRUNCATE, OP_STORE };
struct disk_op {
    enum op_type type;
    int64_t arg;
    struct history image; /* STORE */
};

struct machine {
    int64_t sid;
    bool observer;
    enum role role;
    struct zab_leader *leader;
    struct zab_learner *learner;
    bool serving, resync;
    int link; /* learner: its connection; -1 */
    /* disk */
    int64_t accepted, current, snap_zxid;
    struct history snap, log;
    size_t durable; /* records of the log that a crash leaves */
    struct VEC(struct disk_op) ops;
    /* memory */
    struct history tree; /* given to the tree; the first `applied` are applied */
    size_t applied;
    int64_t last; /* last zxid, of tree or snapshot */
    struct zab_window *window;
    struct VEC(struct rec) syncs; /* zxid: what it has to see; value: tag */
};

struct item { /* one SEND, or a snapshot stream */
    bool is_snapshot;
    struct wr bytes;
    struct history image;
    int64_t snap_zxid;
};
struct pipe {
    struct VEC(struct item) items;
    size_t head, at; /* at: bytes of the first item that have been read */
};
struct link {
    int learner, leader; /* machines */
    struct zab_leader *leader_was; /* the role the connection belongs to */
    bool learner_up, leader_up, opened;
    struct pipe up, down; /* to the leader, to the learner */
    bool streaming;
    int64_t stream_zxid;
    bool reading;
    bool read_required;
    int64_t read_from, read_to;
    size_t read_pos;
};

struct world {
    uint64_t seed, rng;
    int n;
    int64_t now, next_value;
    bool faults;
    struct quorum_config *config;
    struct machine m[MACHINES_MAX];
    struct VEC(struct link *) links;
    struct history committed; /* told to any client */
    int64_t epoch;            /* the latest that a leader has served */
    uint64_t diffs, truncs, snaps, log_reads, commits, serves, syncs, stops;
};

static uint64_t rnd(struct world *w, uint64_t below)
{
    uint64_t z = w->rng += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

static bool hunted; /* in a process of its own that is to fail */

#define CHECK(w, cond)                                                                                       \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            if (hunted)                                                                                      \
                _exit(1);                                                                                    \
            print_error("seed %" PRIu64 ": %s\n", (w)->seed, #cond);                                         \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

/* ---- histories ---- */

static void history_copy(struct history *to, const struct history *from, size_t n)
{
    to->len = 0;
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(to, from->items[i]);
}
static int64_t history_last(const struct history *h)
{
    return h->len > 0 ? h->items[h->len - 1].zxid : 0;
}
static const struct rec *history_find(const struct history *h, int64_t zxid)
{
    for (size_t i = h->len; i-- > 0 && h->items[i].zxid >= zxid;)
        if (h->items[i].zxid == zxid)
            return &h->items[i];
    return NULL;
}
static void txn_write(struct wr *w, struct rec r)
{
    wr_u64(w, (uint64_t)r.value);
    wr_u32(w, 0);
    wr_u64(w, (uint64_t)r.zxid);
    wr_u64(w, 0);
    wr_u32(w, ZK_OP_SET_DATA);
}
static struct rec txn_read(struct world *w, int64_t zxid, struct buf b)
{
    CHECK(w, b.n == 32 && (int64_t)load_u64(b.p + 12) == zxid);
    return (struct rec){ zxid, (int64_t)load_u64(b.p) };
}

/* ---- disk and memory ---- */

static void recovered_history(const struct machine *m, struct history *ret)
{
    history_copy(ret, &m->snap, m->snap.len);
    for (size_t i = 0; i < m->log.len; i++)
        if (m->log.items[i].zxid > m->snap_zxid)
            VEC_PUSH(ret, m->log.items[i]);
}

static void recover(struct world *w, struct machine *m)
{
    int64_t prev = m->snap_zxid;

    recovered_history(m, &m->tree);
    m->applied = m->tree.len;
    zab_window_reset(m->window, m->snap_zxid);
    for (size_t i = 0; i < m->log.len; i++) {
        struct wr b = wr_init(0);
        if (m->log.items[i].zxid <= m->snap_zxid)
            continue;
        CHECK(w, zxid_follows(prev, m->log.items[i].zxid)); /* contiguous log */
        prev = m->log.items[i].zxid;
        txn_write(&b, m->log.items[i]);
        CHECK(w, zab_window_push_bytes(m->window, prev, buf_of(b.p, b.n)) == 0);
        wr_free(&b);
    }
    m->last = prev;
    CHECK(w, m->accepted >= m->current);
    if (zxid_epoch(m->last) > m->current) {
        CHECK(w, m->accepted >= zxid_epoch(m->last));
        m->current = zxid_epoch(m->last);
    }
    m->role = IDLE;
}

static void op_done_on_disk(struct machine *m, const struct disk_op *op, bool half)
{
    switch (op->type) {
    case OP_ACCEPTED:
        m->accepted = op->arg;
        break;
    case OP_CURRENT:
        m->current = op->arg;
        break;
    case OP_TRUNCATE:
    case OP_STORE:
        while (m->log.len > 0 && history_last(&m->log) > op->arg)
            m->log.len--;
        m->durable = MIN(m->durable, m->log.len);
        if (op->type == OP_TRUNCATE || half)
            break;
        history_copy(&m->snap, &op->image, op->image.len);
        m->snap_zxid = op->arg;
        m->log.len = m->durable = 0;
        break;
    }
}
static bool can_truncate(const struct machine *m, int64_t zxid)
{
    return m->snap_zxid <= zxid && (m->snap_zxid == zxid || history_find(&m->log, zxid));
}
static void drop_ops(struct machine *m)
{
    for (size_t i = 0; i < m->ops.len; i++)
        free(m->ops.items[i].image.items);
    m->ops.len = 0;
}

/* ---- checks ---- */

static void check_committed(struct world *w, const struct machine *m, struct rec r, size_t at)
{
    w->commits++;
    if (r.zxid <= history_last(&w->committed)) {
        const struct rec *g = history_find(&w->committed, r.zxid);
        CHECK(w, g && g->value == r.value);
        return;
    }
    CHECK(w, at == w->committed.len); /* everything committed before is in front of it */
    CHECK(w, at == 0 || m->tree.items[at - 1].zxid == history_last(&w->committed));
    VEC_PUSH(&w->committed, r);
}

static void check_serving(struct world *w, const struct machine *m, bool leader)
{
    size_t n = MIN(m->tree.len, w->committed.len);

    for (size_t i = 0; i < n; i++)
        CHECK(w, m->tree.items[i].zxid == w->committed.items[i].zxid && m->tree.items[i].value == w->committed.items[i].value);
    /* A leader that was left behind may still get its quorum of old acknowledgements together. It commits nothing and is no more than stale. */
    if (leader && m->current > w->epoch) {
        w->epoch = m->current;
        CHECK(w, m->tree.len >= w->committed.len);
        w->serves++;
        /* The initial history of an epoch is committed with the epoch. */
        for (size_t i = w->committed.len; i < m->tree.len; i++)
            VEC_PUSH(&w->committed, m->tree.items[i]);
    }
}

/* ---- the tree ---- */

static void apply(struct world *w, struct machine *m, int64_t zxid, struct buf bytes, bool commit)
{
    struct rec r = txn_read(w, zxid, bytes);
    const struct rec *have = history_find(&m->tree, zxid);

    if (have) { /* a fuzzy image had it */
        CHECK(w, !commit && have->value == r.value);
    } else {
        CHECK(w, history_last(&m->tree) < zxid);
        VEC_PUSH(&m->tree, r);
    }
    m->last = MAX(m->last, zxid);
    if (commit)
        check_committed(w, m, r, m->tree.len - 1);
    if (m->role != LEADER)
        m->applied = m->tree.len;
}

/* ---- connections ---- */

static void pipe_clear(struct pipe *p)
{
    for (size_t i = p->head; i < p->items.len; i++) {
        wr_free(&p->items.items[i].bytes);
        free(p->items.items[i].image.items);
    }
    VEC_FREE(&p->items);
    p->head = p->at = 0;
}
static struct item *pipe_push(struct pipe *p)
{
    VEC_PUSH(&p->items, ((struct item){ 0 }));
    return &p->items.items[p->items.len - 1];
}
static void pipe_pop(struct pipe *p)
{
    struct item *i = &p->items.items[p->head++];

    wr_free(&i->bytes);
    free(i->image.items);
    p->at = 0;
}
static bool pipe_empty(const struct pipe *p)
{
    return p->head == p->items.len;
}

static void drain(struct world *w, int who);

static void link_break_learner(struct world *w, struct link *k)
{
    struct machine *m = &w->m[k->learner];

    if (!k->learner_up)
        return;
    k->learner_up = false;
    pipe_clear(&k->down);
    k->streaming = k->reading = false;
    if (m->role == LEARNER && m->link >= 0 && w->links.items[m->link] == k) {
        m->link = -1;
        zab_learner_closed(m->learner);
        drain(w, k->learner);
    }
}
static void link_break_leader(struct world *w, struct link *k)
{
    struct machine *m = &w->m[k->leader];

    if (!k->leader_up)
        return;
    k->leader_up = false;
    k->streaming = k->reading = false;
    pipe_clear(&k->up);
    if (m->role == LEADER && m->leader == k->leader_was) {
        for (size_t i = 0; i < w->links.len; i++)
            if (w->links.items[i] == k)
                zab_leader_peer_closed(m->leader, i + 1);
        drain(w, k->leader);
    }
}

/* ---- effects ---- */

/* What a learner says has to be true of its disk. */
static void check_said(struct world *w, const struct machine *m, struct buf b)
{
    struct arena a = arena_init();
    struct qpacket p;
    size_t used;

    for (size_t at = 0; at < b.n; at += used) {
        CHECK(w, qpacket_decode(b.p + at, b.n - at, QP_MAX_BUFFER_DEFAULT, &a, &p, &used) == 0);
        if (p.type == QP_ACK && zxid_counter(p.zxid) != 0) {
            CHECK(w, m->durable > 0 && m->log.items[m->durable - 1].zxid >= p.zxid);
        } else if (p.type == QP_ACK) {
            CHECK(w, m->durable == m->log.len || m->serving);
            CHECK(w, m->current == zxid_epoch(p.zxid) && (m->observer || m->accepted == m->current));
        } else if (p.type == QP_ACKEPOCH) {
            CHECK(w, m->durable == m->log.len && m->ops.len == 0);
        }
    }
    arena_free(&a);
}

static void end_role(struct world *w, struct machine *m, const struct zab_effect *stop)
{
    struct history disk = { 0 };
    bool reload = stop->reload;

    w->stops++;
    CHECK(w, stop->stop != ZAB_STOP_FATAL);
    for (size_t i = 0; i < m->ops.len; i++) /* operations under way end first */
        if (m->ops.items[i].type != OP_TRUNCATE || can_truncate(m, m->ops.items[i].arg))
            op_done_on_disk(m, &m->ops.items[i], false);
    drop_ops(m);
    m->durable = m->log.len; /* the log is flushed before the next vote */
    CHECK(w, m->log.len == 0 || reload || history_last(&m->log) == stop->zxid);
    m->resync = stop->stop == ZAB_STOP_RESYNC;
    m->applied = m->tree.len;
    recovered_history(m, &disk);
    if (!reload) {
        CHECK(w, disk.len == m->tree.len);
        CHECK(w, disk.len == 0 || memcmp(disk.items, m->tree.items, disk.len * sizeof(struct rec)) == 0);
    }
    free(disk.items);
    m->serving = false;
    m->syncs.len = 0;
    m->role = IDLE;
    if (reload)
        recover(w, m);
    if (zxid_epoch(m->last) > m->current) /* as recovery does */
        m->current = zxid_epoch(m->last);
}

static void free_roles(struct machine *m)
{
    zab_leader_free(m->leader);
    zab_learner_free(m->learner);
    m->leader = NULL;
    m->learner = NULL;
}

static void propose(struct world *w, struct machine *m)
{
    int64_t zxid = zab_leader_next_zxid(m->leader);
    struct wr b = wr_init(0);

    if (zxid == 0)
        return;
    txn_write(&b, (struct rec){ zxid, w->next_value++ });
    zab_leader_propose(m->leader, zxid, buf_of(b.p, b.n));
    wr_free(&b);
}

static void net_effect(struct world *w, struct machine *m, const struct zab_effect *f)
{
    struct link *k = NULL;

    if (m->role == LEADER)
        k = w->links.items[f->conn - 1];
    else if (m->link >= 0)
        k = w->links.items[m->link];
    if (f->type == ZAB_SEND && m->role == LEARNER)
        check_said(w, m, f->bytes);
    if (!k)
        return;
    if (f->type == ZAB_CLOSE) {
        k->leader_up = k->streaming = k->reading = false;
        pipe_clear(&k->up);
        return; /* the learner sees it once it has read what was sent */
    }
    if (f->type == ZAB_SEND_SNAPSHOT) {
        w->snaps++;
        k->streaming = true;
        k->stream_zxid = f->zxid;
    } else if (f->type == ZAB_READ_LOG) {
        w->log_reads++;
        k->reading = true;
        k->read_required = f->required;
        k->read_from = f->zxid;
        k->read_to = f->to_zxid;
        k->read_pos = 0;
    } else if (m->role == LEADER ? k->learner_up : k->leader_up) {
        if (m->role == LEADER && load_u32(f->bytes.p) == QP_DIFF)
            w->diffs++;
        if (m->role == LEADER && load_u32(f->bytes.p) == QP_TRUNC)
            w->truncs++;
        CHECK(w, m->role != LEADER || !k->streaming);
        wr_bytes(&pipe_push(m->role == LEADER ? &k->down : &k->up)->bytes, f->bytes.p, f->bytes.n);
    }
}

static void disk_effect(struct machine *m, enum op_type type, int64_t arg)
{
    struct disk_op op = { .type = type, .arg = arg };

    if (type == OP_STORE)
        history_copy(&op.image, &m->tree, m->tree.len);
    VEC_PUSH(&m->ops, op);
}

static void on_synced(struct world *w, struct machine *m, uint64_t tag)
{
    CHECK(w, m->syncs.len > 0 && (uint64_t)m->syncs.items[0].value == tag); /* in the order asked */
    CHECK(w, history_last(&m->tree) >= m->syncs.items[0].zxid);
    memmove(m->syncs.items, m->syncs.items + 1, (m->syncs.len - 1) * sizeof(*m->syncs.items));
    m->syncs.len--;
    w->syncs++;
}

static void carry_out(struct world *w, struct machine *m, const struct zab_effect *f)
{
    switch (f->type) {
    case ZAB_SEND:
    case ZAB_CLOSE:
    case ZAB_SEND_SNAPSHOT:
    case ZAB_READ_LOG:
        net_effect(w, m, f);
        break;
    case ZAB_PERSIST_ACCEPTED_EPOCH:
        disk_effect(m, OP_ACCEPTED, f->epoch);
        break;
    case ZAB_PERSIST_CURRENT_EPOCH:
        CHECK(w, m->durable == m->log.len); /* the history first, then the epoch */
        disk_effect(m, OP_CURRENT, f->epoch);
        break;
    case ZAB_TRUNCATE_LOG:
        disk_effect(m, OP_TRUNCATE, f->zxid);
        break;
    case ZAB_STORE_SNAPSHOT:
        CHECK(w, m->tree.len == 0 || history_last(&m->tree) <= f->zxid); /* nothing of the image is missing from its zxid */
        disk_effect(m, OP_STORE, f->zxid);
        break;
    case ZAB_APPEND:
        CHECK(w, m->log.len == 0 || zxid_follows(history_last(&m->log), f->zxid));
        VEC_PUSH(&m->log, txn_read(w, f->zxid, f->bytes));
        break;
    case ZAB_COMMIT:
        CHECK(w, m->serving);
        apply(w, m, f->zxid, f->bytes, true);
        break;
    case ZAB_REPLAY:
        apply(w, m, f->zxid, f->bytes, false);
        break;
    case ZAB_SERVE:
        m->serving = true;
        CHECK(w, m->current == f->epoch);
        check_serving(w, m, m->role == LEADER);
        break;
    case ZAB_STOP:
        end_role(w, m, f);
        break;
    case ZAB_REQUEST:
        if (f->request.op == ZK_OP_CREATE)
            propose(w, m);
        else if (f->request.op == ZK_OP_SYNC)
            zab_leader_learner_sync(m->leader, f->conn);
        break;
    case ZAB_SYNCED:
        on_synced(w, m, f->tag);
        break;
    case ZAB_LOAD_SNAPSHOT:
    case ZAB_CONFIG_SEEN:
    case ZAB_CONFIG_ACTIVATE:
    case ZAB_REVALIDATE:
    case ZAB_TOUCH:
    case ZAB_REVALIDATED:
    case ZAB_NOTE:
        break;
    }
}

static bool can_stay(const struct machine *m)
{
    return m->role == LEADER || m->role == LEARNER;
}

/* Carries out effects; those that carrying out brings up, too. */
static void drain(struct world *w, int who)
{
    struct machine *m = &w->m[who];
    size_t done = 0;

    while (can_stay(m)) {
        const struct zab_effect *f;
        size_t n = m->role == LEADER ? zab_leader_effects(m->leader, &f) : zab_learner_effects(m->learner, &f);
        if (done == n)
            break;
        struct zab_effect one = f[done++];
        carry_out(w, m, &one);
    }
    if (m->leader) {
        zab_leader_check(m->leader);
        zab_leader_effects_clear(m->leader);
    }
    if (m->learner) {
        zab_learner_check(m->learner);
        zab_learner_effects_clear(m->learner);
    }
    if (!can_stay(m) && (m->leader || m->learner)) {
        struct zab_leader *was = m->leader;
        free_roles(m);
        for (size_t i = 0; i < w->links.len; i++) {
            struct link *k = w->links.items[i];
            if (was && k->leader == who && k->leader_was == was)
                k->leader_up = k->streaming = k->reading = false, pipe_clear(&k->up);
            if (k->learner == who && m->link == (int)i)
                k->learner_up = false, pipe_clear(&k->down);
        }
        m->link = -1;
    }
}

/* ---- roles ---- */

static struct zab_start start_of(struct world *w, struct machine *m)
{
    return (struct zab_start){ .my_sid = m->sid, .tick_ms = TICK_MS, .init_limit = INIT_LIMIT, .sync_limit = SYNC_LIMIT,
        .last_zxid = m->last, .accepted_epoch = m->accepted, .current_epoch = m->current, .committed = w->config,
        .window = m->window, .now_ms = w->now };
}

static void lead(struct world *w, int who)
{
    struct machine *m = &w->m[who];
    struct zab_leader_options o = { .start = start_of(w, m), .counter_max = w->seed % 5 == 0 ? 7 : 0,
        .force_snapshot = w->seed % 11 == 0 };

    m->role = LEADER;
    m->leader = zab_leader_new(&o);
    m->resync = false;
    drain(w, who);
}

static void follow(struct world *w, int who, int leader)
{
    struct machine *m = &w->m[who];
    struct zab_learner_options o = { .start = start_of(w, m), .leader_sid = w->m[leader].sid, .observer = m->observer,
        .resync = m->resync };
    struct link *k = x_calloc(1, sizeof(*k));

    *k = (struct link){ .learner = who, .leader = leader, .leader_was = w->m[leader].leader, .learner_up = true, .leader_up = true };
    VEC_PUSH(&w->links, k);
    m->link = (int)w->links.len - 1;
    m->role = LEARNER;
    m->learner = zab_learner_new(&o);
    zab_leader_peer_open(w->m[leader].leader, w->links.len);
    zab_learner_opened(m->learner);
    drain(w, who);
    drain(w, leader);
}

static bool better(const struct machine *a, const struct machine *b)
{
    if (a->current != b->current)
        return a->current > b->current;
    return a->last != b->last ? a->last > b->last : a->sid > b->sid;
}

/* Whoever is idle joins a leader; without one, a quorum of idle servers makes one. */
static void assemble(struct world *w)
{
    int leader = -1, best = -1, idle = 0, voters = 0;

    for (int i = 0; i < w->n; i++) {
        struct machine *m = &w->m[i];
        voters += !m->observer;
        if (m->role == LEADER && (leader < 0 || rnd(w, 2) == 0))
            leader = i; /* of several leaders anyone: the stale one too */
        if (m->role == IDLE && !m->observer) {
            idle++;
            if (best < 0 || (w->faults && rnd(w, 8) == 0) || better(m, &w->m[best]))
                best = i;
        }
    }
    if (2 * idle > voters && best >= 0 && (leader < 0 || rnd(w, 4) == 0)) {
        lead(w, best);
        leader = w->m[best].role == LEADER ? best : -1;
    }
    for (int i = 0; leader >= 0 && i < w->n; i++)
        if (w->m[i].role == IDLE && rnd(w, 3) != 0 && w->m[leader].role == LEADER)
            follow(w, i, leader);
}

static void crash(struct world *w, int who)
{
    struct machine *m = &w->m[who];

    free_roles(m);
    m->role = DOWN;
    m->serving = false;
    m->link = -1;
    m->syncs.len = 0;
    m->resync = false;
    /* What was not synced: some beginning of it may be there. */
    m->log.len = m->durable + (m->log.len > m->durable ? rnd(w, m->log.len - m->durable + 1) : 0);
    m->durable = m->log.len;
    for (size_t i = 0; i < m->ops.len && rnd(w, 2) == 0; i++)
        if (m->ops.items[i].type != OP_TRUNCATE || can_truncate(m, m->ops.items[i].arg))
            op_done_on_disk(m, &m->ops.items[i], rnd(w, 2) == 0);
    drop_ops(m);
    for (size_t i = 0; i < w->links.len; i++) {
        struct link *k = w->links.items[i];
        if (k->learner == who && k->learner_up)
            k->learner_up = false, pipe_clear(&k->down);
        if (k->leader == who && k->leader_up)
            k->leader_up = k->streaming = k->reading = false, pipe_clear(&k->up);
    }
}

/* ---- events ---- */

static void disk_progress(struct world *w, int who)
{
    struct machine *m = &w->m[who];

    if (!can_stay(m))
        return;
    if (m->ops.len > 0 && rnd(w, 3) != 0) {
        struct disk_op op = m->ops.items[0];
        int rc = op.type == OP_TRUNCATE && !can_truncate(m, op.arg) ? RC_NOTFOUND : 0;
        memmove(m->ops.items, m->ops.items + 1, (m->ops.len - 1) * sizeof(op));
        m->ops.len--;
        if (rc == 0)
            op_done_on_disk(m, &op, false);
        free(op.image.items);
        if (op.type == OP_TRUNCATE && rc == 0) {
            recovered_history(m, &m->tree);
            m->applied = m->tree.len;
            m->last = op.arg;
        }
        if (op.type == OP_TRUNCATE)
            zab_learner_truncated(m->learner, rc);
        else if (op.type == OP_STORE)
            zab_learner_snapshot_stored(m->learner);
        else if (m->role == LEADER)
            zab_leader_epoch_persisted(m->leader, op.type == OP_ACCEPTED ? ZAB_ACCEPTED_EPOCH : ZAB_CURRENT_EPOCH);
        else
            zab_learner_epoch_persisted(m->learner, op.type == OP_ACCEPTED ? ZAB_ACCEPTED_EPOCH : ZAB_CURRENT_EPOCH);
    } else if (m->durable < m->log.len) {
        m->durable += 1 + rnd(w, m->log.len - m->durable);
        if (m->role == LEADER)
            zab_leader_persisted(m->leader, m->log.items[m->durable - 1].zxid);
        else
            zab_learner_persisted(m->learner, m->log.items[m->durable - 1].zxid);
    }
    if (m->role == LEADER && m->applied < m->tree.len && rnd(w, 2) == 0) {
        m->applied += 1 + rnd(w, m->tree.len - m->applied);
        if (m->serving)
            zab_leader_applied(m->leader, m->tree.items[m->applied - 1].zxid);
    }
    drain(w, who);
}

static void load_snapshot(struct world *w, struct link *k)
{
    struct machine *m = &w->m[k->learner];
    struct item *it = &k->down.items.items[k->down.head];
    bool torn = w->faults && rnd(w, 10) == 0;

    CHECK(w, it->is_snapshot);
    history_copy(&m->tree, &it->image, torn ? it->image.len / 2 : it->image.len);
    m->applied = m->tree.len;
    m->last = it->snap_zxid;
    pipe_pop(&k->down);
    zab_learner_snapshot_loaded(m->learner, torn ? RC_SHORT : 0);
    drain(w, k->learner);
}

static void read_one(struct world *w, struct link *k, size_t index, bool to_leader)
{
    struct pipe *p = to_leader ? &k->up : &k->down;
    int who = to_leader ? k->leader : k->learner;
    struct machine *m = &w->m[who];
    struct item *it = &p->items.items[p->head];
    struct arena a = arena_init();
    struct qpacket q;
    size_t used;

    CHECK(w, !it->is_snapshot);
    CHECK(w, qpacket_decode(it->bytes.p + p->at, it->bytes.n - p->at, QP_MAX_BUFFER_DEFAULT, &a, &q, &used) == 0);
    if (to_leader)
        zab_leader_peer_packet(m->leader, index + 1, &q);
    else
        zab_learner_packet(m->learner, &q);
    p->at += used;
    if (p->at == it->bytes.n)
        pipe_pop(p);
    drain(w, who);
    arena_free(&a);
}

static void link_progress(struct world *w, size_t index)
{
    struct link *k = w->links.items[index];
    struct machine *leader = &w->m[k->leader], *learner = &w->m[k->learner];
    bool learner_here = k->learner_up && learner->role == LEARNER && learner->link == (int)index;
    bool leader_here = k->leader_up && leader->role == LEADER && leader->leader == k->leader_was;

    if (rnd(w, 2) == 0) {
        if (leader_here && !pipe_empty(&k->up))
            read_one(w, k, index, true);
        else if (leader_here && !k->learner_up)
            link_break_leader(w, k);
    } else if (learner_here) {
        if (!pipe_empty(&k->down) && k->down.items.items[k->down.head].is_snapshot)
            load_snapshot(w, k);
        else if (!pipe_empty(&k->down) && zab_learner_ready(learner->learner))
            read_one(w, k, index, false);
        else if (pipe_empty(&k->down) && !k->leader_up)
            link_break_learner(w, k);
    }
}

static void stream_progress(struct world *w, size_t index)
{
    struct link *k = w->links.items[index];
    struct machine *m = &w->m[k->leader];

    if (m->role != LEADER || m->leader != k->leader_was || !k->leader_up)
        return;
    if (k->streaming) { /* the image is taken late: it holds more than its zxid says */
        k->streaming = false;
        if (k->learner_up) {
            struct item *it = pipe_push(&k->down);
            it->is_snapshot = true;
            it->snap_zxid = k->stream_zxid;
            history_copy(&it->image, &m->tree, m->applied);
        }
        zab_leader_snapshot_done(m->leader, index + 1, 0);
    } else if (k->reading) {
        size_t left = 1 + rnd(w, 5);
        bool refuse = !k->read_required && k->read_pos == 0 && rnd(w, 6) == 0;
        for (; !refuse && left > 0 && k->read_pos < m->log.len; k->read_pos++) {
            struct rec r = m->log.items[k->read_pos];
            bool next_too = k->read_pos + 1 < m->log.len && m->log.items[k->read_pos + 1].zxid <= k->read_from;
            if (r.zxid > k->read_to)
                break;
            if (next_too)
                continue;
            struct wr b = wr_init(0);
            txn_write(&b, r);
            zab_leader_log_record(m->leader, index + 1, r.zxid, buf_of(b.p, b.n));
            wr_free(&b);
            left--;
        }
        if (refuse || k->read_pos == m->log.len || m->log.items[k->read_pos].zxid > k->read_to) {
            k->reading = false;
            zab_leader_log_end(m->leader, index + 1, refuse ? RC_UNAVAIL : 0);
        }
    }
    drain(w, k->leader);
}

static void client(struct world *w, int who)
{
    struct machine *m = &w->m[who];
    uint64_t what = w->seed % 7 == 0 && rnd(w, 12) != 0 ? 0 : rnd(w, 4); /* in quiet ensembles nothing but the quorum holds a sync back */

    if (!m->serving || !can_stay(m))
        return;
    if (what == 0) {
        int64_t tag = w->next_value++;
        VEC_PUSH(&m->syncs, ((struct rec){ history_last(&w->committed), tag }));
        struct forwarded_request req = { .op = ZK_OP_SYNC, .body = buf_str("/") };
        if (m->role == LEADER)
            zab_leader_sync(m->leader, (uint64_t)tag);
        else
            zab_learner_sync(m->learner, &req, NULL, (uint64_t)tag);
    } else if (m->role == LEADER) {
        for (uint64_t i = rnd(w, 4) + 1; i > 0; i--)
            propose(w, m);
    } else {
        struct forwarded_request req = { .op = ZK_OP_CREATE, .body = buf_str("x") };
        zab_learner_request(m->learner, &req, NULL);
        zab_learner_touch(m->learner, (int64_t)rnd(w, 3), 1000);
    }
    drain(w, who);
}

static void tick_all(struct world *w)
{
    w->now += (int64_t)rnd(w, 8);
    for (int i = 0; i < w->n; i++) {
        struct machine *m = &w->m[i];
        if (m->role == LEADER)
            zab_leader_tick(m->leader, w->now);
        else if (m->role == LEARNER)
            zab_learner_tick(m->learner, w->now);
        drain(w, i);
    }
}

static void fault(struct world *w, size_t link)
{
    int who = (int)rnd(w, (uint64_t)w->n);
    struct machine *m = &w->m[who];

    switch (rnd(w, 5)) {
    case 0:
        if (m->role != DOWN)
            crash(w, who);
        break;
    case 1:
    case 2:
        if (link < w->links.len) {
            struct link *k = w->links.items[link];
            if (rnd(w, 2) == 0)
                link_break_leader(w, k);
            if (rnd(w, 3) != 0)
                link_break_learner(w, k);
        }
        break;
    case 3:
        if (rnd(w, 4) == 0 && m->role == LEADER)
            zab_leader_stop(m->leader);
        else if (rnd(w, 4) == 0 && m->role == LEARNER)
            zab_learner_stop(m->learner);
        drain(w, who);
        break;
    case 4:
        w->now += rnd(w, 10) == 0 ? 700 : 0; /* everybody stands still */
        break;
    }
}

/* A connection on which something can happen still; the number of connections when there is none. */
static size_t pick_link(struct world *w)
{
    size_t alive[64], n = 0;

    for (size_t i = w->links.len; i-- > 0 && n < ARRAY_LEN(alive);)
        if (w->links.items[i]->learner_up || w->links.items[i]->leader_up)
            alive[n++] = i;
    return n > 0 ? alive[rnd(w, n)] : w->links.len;
}

static void step(struct world *w)
{
    size_t link = pick_link(w);
    uint64_t what = rnd(w, 1000);
    int who = (int)rnd(w, (uint64_t)w->n);

    if (what < 600 && link < w->links.len)
        link_progress(w, link);
    else if (what < 800)
        disk_progress(w, who);
    else if (what < 850 && link < w->links.len)
        stream_progress(w, link);
    else if (what < 900 && w->faults)
        client(w, who);
    else if (what < 960)
        tick_all(w);
    else if (what < 985)
        assemble(w);
    else if (what < 992 && w->m[who].role == DOWN)
        recover(w, &w->m[who]);
    else if (what >= 992 && w->faults)
        fault(w, link);
}

static bool converged(const struct world *w)
{
    for (int i = 0; i < w->n; i++) {
        const struct machine *m = &w->m[i];
        if (!can_stay(m) || !m->serving || m->tree.len != w->committed.len || m->durable != m->log.len)
            return false;
    }
    return true;
}

static void print_world(const struct world *w)
{
    static const char *const roles[] = { "down", "idle", "leader", "learner" };

    print_error("committed %zu, up to %" PRIx64 "\n", w->committed.len, history_last(&w->committed));
    for (int i = 0; i < w->n; i++) {
        const struct machine *m = &w->m[i];
        print_error("%" PRId64 " %s%s: accepted %" PRId64 ", current %" PRId64 ", tree %zu to %" PRIx64 ", snapshot %" PRIx64
                    ", log %zu, durable %zu, operations %zu\n", m->sid, roles[m->role], m->serving ? " serving" : "", m->accepted,
                    m->current, m->tree.len, m->last, m->snap_zxid, m->log.len, m->durable, m->ops.len);
    }
}

static void world_free(struct world *w)
{
    for (int i = 0; i < w->n; i++) {
        struct machine *m = &w->m[i];
        free_roles(m);
        drop_ops(m);
        zab_window_free(m->window);
        free(m->snap.items);
        free(m->log.items);
        free(m->tree.items);
        VEC_FREE(&m->ops);
        VEC_FREE(&m->syncs);
    }
    for (size_t i = 0; i < w->links.len; i++) {
        pipe_clear(&w->links.items[i]->up);
        pipe_clear(&w->links.items[i]->down);
        free(w->links.items[i]);
    }
    VEC_FREE(&w->links);
    free(w->committed.items);
    quorum_config_unref(w->config);
}

static struct quorum_config *make_config(int voters)
{
    struct wr t = wr_init(0);
    struct quorum_config *c;
    struct quorum_error err;

    for (int i = 1; i <= voters; i++)
        wr_printf(&t, "server.%d=h%d:2888:3888:participant\n", i, i);
    wr_text(&t, "version=0");
    assert_int_equal(quorum_config_parse(buf_of(t.p, t.n), &(struct quorum_options){ .standalone_enabled = true }, &c, &err), 0);
    wr_free(&t);
    return c;
}

static void run(uint64_t seed, int steps, struct world *sum)
{
    struct world w = { .seed = seed, .rng = seed * 7919, .faults = true };
    int voters = seed % 2 ? 3 : 5;

    w.n = voters + (seed % 3 == 0);
    w.config = make_config(voters);
    for (int i = 0; i < w.n; i++) {
        w.m[i].sid = i + 1;
        w.m[i].observer = i >= voters;
        w.m[i].link = -1;
        w.m[i].window = zab_window_new(0, seed % 4 ? 400 : 0); /* a handful of transactions: the log on disk has to help */
        recover(&w, &w.m[i]);
    }
    for (int i = 0; i < steps; i++)
        step(&w);
    w.faults = false;
    int left = 200000;
    while (!converged(&w) && left-- > 0)
        step(&w);
    if (!converged(&w))
        print_world(&w);
    CHECK(&w, converged(&w));
    for (int i = 0; i < w.n; i++)
        for (size_t j = 0; j < w.committed.len; j++)
            CHECK(&w, w.m[i].tree.items[j].zxid == w.committed.items[j].zxid &&
                      w.m[i].tree.items[j].value == w.committed.items[j].value);
    sum->diffs += w.diffs, sum->truncs += w.truncs, sum->snaps += w.snaps, sum->log_reads += w.log_reads;
    sum->commits += w.commits, sum->serves += w.serves, sum->syncs += w.syncs, sum->stops += w.stops;
    world_free(&w);
}

static void test_seeds(void **state)
{
    const char *one = getenv("ZAB_SEED"), *count = getenv("ZAB_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, n = one ? 1 : count ? strtoull(count, NULL, 10) : 300;
    struct world sum = { 0 };

    for (uint64_t seed = first; seed < first + n; seed++)
        run(seed, 5000, &sum);
    print_message("%" PRIu64 " seeds: commits %" PRIu64 ", leaders served %" PRIu64 ", roles ended %" PRIu64 ", syncs %" PRIu64
                  ", DIFF %" PRIu64 ", TRUNC %" PRIu64 ", SNAP %" PRIu64 ", log walks %" PRIu64 "\n",
                  n, sum.commits, sum.serves, sum.stops, sum.syncs, sum.diffs, sum.truncs, sum.snaps, sum.log_reads);
    if (one)
        return;
    assert_true(sum.commits > 0 && sum.serves > n && sum.syncs > 0);
    assert_true(sum.diffs > 0 && sum.truncs > 0 && sum.snaps > 0 && sum.log_reads > 0);
}

/* Runs seeds with the bug until something breaks; the number of seeds that took, 0 when none did. */
static uint64_t hunt(enum relapse bug, uint64_t first, uint64_t seeds)
{
    uint64_t *seed = mmap(NULL, sizeof(*seed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;

    assert_ptr_not_equal(seed, MAP_FAILED);
    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct world sum = { 0 };
        hunted = true;
        assert_ptr_not_equal(freopen("/dev/null", "w", stderr), NULL);
        relapse_set(bug, true);
        for (*seed = 0; *seed < seeds; ++*seed)
            run(first + *seed, 5000, &sum);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    uint64_t took = status == 0 ? 0 : *seed + 1;
    assert_int_equal(munmap(seed, sizeof(*seed)), 0);
    return took;
}

static void test_relapses(void **state)
{
    static const struct { enum relapse bug; uint64_t seeds, first; } cases[] = {
        { RELAPSE_2136, 300, 2150 /* it takes more than 2000 */ }, { RELAPSE_2845, 300 }, { RELAPSE_3023, 300 }, { RELAPSE_3104, 300 }, { RELAPSE_3642, 300 },
        { RELAPSE_3911, 300 }, { RELAPSE_4394, 300 }, { RELAPSE_4643, 300 }, { RELAPSE_4646, 300 }, { RELAPSE_4925, 300 },
    };
    int missed = 0;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t took = hunt(cases[i].bug, MAX(cases[i].first, UINT64_C(1)), cases[i].seeds);
        print_message("ZOOKEEPER-%d: %" PRIu64 " seeds\n", relapse_table[cases[i].bug].number, took);
        missed += took == 0;
    }
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_seeds), cmocka_unit_test(test_relapses) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
