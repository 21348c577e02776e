/* corethread.c - the core thread: feeds the core with what comes in and carries out its effects.
 *
 * A round    take the inbox; tick; hand every message to the core; carry out the effects (appends to the log thread, answers to the
 *            net threads' outboxes); tell the core what became durable; apply it in batches under the write lock, filling outboxes in the
 *            same critical section, so that a net thread never executes a read of the new state before it has the events. */
#include "base/clock.h"
#include "base/log.h"
#include "server_internal.h"

struct round {
    struct server *s;
    uint64_t dirty; /* bit per net thread: its outbox was filled */
    int64_t persisted;
    int lone;        /* writes in a row that were alone, up to LONE_ENOUGH */
    int64_t stop_ms; /* when an orderly stop began; 0: not yet */
};

/* ---- effects ---- */

/* A write that nobody else's is near to: for the fourth of them in a row it pays to sync on this thread, which saves waking the log thread and
 * being woken by it, a quarter of what such a client waits. Anything under way beside it, or arriving now, is better served by a
 * core thread that goes on while the disk works. In an ensemble this thread has others to answer: never there. */
static bool is_lone(struct round *r, const struct core_effect *e)
{
    struct server *s = r->s;
    bool lone = !s->peer && e->type == CORE_APPEND && core_outstanding(s->core) == 1 && inbox_empty(&s->inbox);

    r->lone = lone ? MIN(r->lone + 1, LONE_ENOUGH) : 0;
    return r->lone == LONE_ENOUGH;
}

static void log_push(struct round *r, const struct core_effect *fx, size_t count)
{
    struct server *s = r->s;
    struct logger *l = &s->logger;
    size_t entries = 0, last = 0;

    for (size_t i = 0; i < count; i++)
        if (fx[i].type == CORE_APPEND || fx[i].type == CORE_ROLL_LOG) {
            entries++;
            last = i;
        }
    if (entries == 0)
        return;
    if (entries > 1)
        r->lone = 0;
    else if (is_lone(r, &fx[last]) && logger_sync_here(s, fx[last].zxid, fx[last].bytes)) {
        stats_add(&s->core_stats, CTR_PROPOSALS, 1);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    if (l->pending.entries.len == 0)
        l->pending.oldest_us = clock_mono_us();
    for (size_t i = 0; i < count; i++) {
        struct log_entry e = { fx[i].type == CORE_APPEND ? fx[i].zxid : 0, l->pending.bytes.n, fx[i].bytes.n };

        if (fx[i].type != CORE_APPEND && fx[i].type != CORE_ROLL_LOG)
            continue;
        if (fx[i].type == CORE_APPEND) {
            wr_bytes(&l->pending.bytes, fx[i].bytes.p, fx[i].bytes.n);
            stats_add(&s->core_stats, CTR_PROPOSALS, 1);
        }
        VEC_PUSH(&l->pending.entries, e);
    }
    logger_unlock(l);
}

static bool is_for_net(const struct core_effect *e)
{
    return e->type == CORE_REPLY || e->type == CORE_SESSION_READY || e->type == CORE_CLOSE_CONN;
}

/* Under the write lock. */
static void route_to_nets(struct round *r, const struct core_effect *fx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct core_effect *e = &fx[i];
        uint32_t net = conn_id_net(e->conn);

        if (!is_for_net(e) || e->conn == 0)
            continue;
        ASSERT(net < r->s->net_count);
        struct outbox *o = &r->s->nets[net].outbox;
        if (e->type == CORE_REPLY)
            outbox_put(o, OUT_REPLY, e->conn, e->bytes, e->zxid, e->op);
        else if (e->type == CORE_SESSION_READY)
            outbox_put(o, e->read_only ? OUT_SESSION_READ_ONLY : OUT_SESSION, e->conn, buf_of(e->passwd, ZK_PASSWORD_LEN), e->session_id, e->timeout_ms);
        else
            outbox_put(o, OUT_CLOSE, e->conn, buf_of(NULL, 0), 0, 0);
        r->dirty |= UINT64_C(1) << net;
    }
}

static void wake_nets(struct round *r)
{
    for (uint32_t i = 0; i < r->s->net_count; i++)
        if (r->dirty >> i & 1)
            net_wake(&r->s->nets[i]);
    r->dirty = 0;
}

/* Everything but what goes to the net threads. No lock held. */
static void carry_out(struct round *r, const struct core_effect *fx, size_t count)
{
    log_push(r, fx, count);
    for (size_t i = 0; i < count; i++)
        if (fx[i].type == CORE_SNAPSHOT)
            snapper_request(r->s);
    if (r->s->peer)
        peer_core_effects(r->s->peer, fx, count);
    core_effects_clear(r->s->core);
}

/* Effects that come from something else than applying. */
static void settle(struct round *r)
{
    const struct core_effect *fx;
    size_t count = core_effects(r->s->core, &fx);
    bool any = false;

    if (count == 0)
        return;
    for (size_t i = 0; i < count && !any; i++)
        any = is_for_net(&fx[i]);
    if (any) {
        treelock_write_lock(r->s->lock);
        route_to_nets(r, fx, count);
        treelock_write_unlock(r->s->lock);
    }
    carry_out(r, fx, count);
    wake_nets(r);
}

static void apply_some(struct round *r)
{
    struct server *s = r->s;
    const struct core_effect *fx = NULL;
    uint64_t applied = 0;

    treelock_write_lock(s->lock);
    int64_t start = clock_mono_us();
    size_t count = 0;
    /* One by one: a transaction's events are in the outboxes already, and the replies to earlier ones go before them. */
    for (uint32_t n = 0; n < APPLY_BATCH && core_has_committed(s->core); n++) {
        size_t routed = count;
        core_apply(s->core, 1);
        count = core_effects(s->core, &fx);
        route_to_nets(r, fx + routed, count - routed);
        applied++;
    }
    int64_t after = tree_last_zxid(s->tree);
    for (uint32_t i = 0; i < s->net_count; i++) /* events went there directly */
        if (s->nets[i].outbox.items.len > 0)
            r->dirty |= UINT64_C(1) << i;
    treelock_write_unlock(s->lock);
    stats_record(&s->core_stats, SUM_APPLY_TIME, (uint64_t)(clock_mono_us() - start));
    stats_add(&s->core_stats, CTR_COMMITS, applied);
    atomic_store(&s->applied_zxid, after);
    carry_out(r, fx, count);
    wake_nets(r);
}

void round_drain(struct round *r)
{
    settle(r);
    while (core_has_committed(r->s->core))
        apply_some(r);
}

void round_become(struct round *r, enum core_role role, int64_t epoch)
{
    struct server *s = r->s;
    const struct core_effect *fx;

    treelock_write_lock(s->lock);
    core_become(s->core, role, epoch, clock_mono_ms());
    size_t count = core_effects(s->core, &fx);
    route_to_nets(r, fx, count);
    treelock_write_unlock(s->lock);
    atomic_store(&s->role, (int)role);
    atomic_store(&s->applied_zxid, tree_last_zxid(s->tree));
    carry_out(r, fx, count);
    wake_nets(r);
}

void core_fire(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    struct net *n = data;

    outbox_put_event(&n->outbox, CONTAINER_OF(w, struct conn, watcher)->id, type, path, zxid);
}

/* ---- messages ---- */

static void answer_four_letter(struct round *r, const struct core_msg *m)
{
    struct wr w = wr_init(0);
    uint32_t net = conn_id_net(m->conn);

    four_letter_answer(r->s, m->word, &w);
    treelock_write_lock(r->s->lock);
    outbox_put(&r->s->nets[net].outbox, OUT_TEXT, m->conn, buf_of(w.p, w.n), 0, 0);
    treelock_write_unlock(r->s->lock);
    r->dirty |= UINT64_C(1) << net;
    wr_free(&w);
}

static void handle(struct round *r, const struct core_msg *m, const uint8_t *bytes)
{
    struct core *c = r->s->core;
    struct buf payload = { bytes ? bytes + m->off : NULL, m->len };

    switch (m->type) {
    case MSG_CONNECT:
        (m->read_only ? core_connect_read_only : core_connect)(c, m->conn, m->session_id, payload, m->timeout_ms);
        break;
    case MSG_DISCONNECT:
        core_disconnected(c, m->conn, m->session_id);
        break;
    case MSG_TOUCH:
        core_touch(c, m->session_id);
        break;
    case MSG_REQUEST:
        core_submit(c, &(struct core_request){ m->conn, m->session_id, m->xid, m->op, payload, m->ids });
        auth_ids_unref(m->ids);
        break;
    case MSG_FOUR_LETTER:
        answer_four_letter(r, m);
        break;
    }
}

static void handle_batches(struct round *r, struct batch *list)
{
    for (struct batch *b = list; b; b = b->next) {
        for (size_t i = 0; i < b->msgs.len; i++)
            handle(r, &b->msgs.items[i], b->bytes.p);
        b->msgs.len = 0; /* their references are given back */
        settle(r);
    }
    inbox_recycle(&r->s->inbox, list);
}

static void run_calls(struct server *s, struct core_call *calls)
{
    for (struct core_call *k = calls; k; k = k->next)
        k->fn(s, k->data);
    inbox_finish_calls(&s->inbox, calls, false);
}

/* ---- the loop ---- */

static void note_progress(struct round *r)
{
    struct server *s = r->s;
    int finished = atomic_exchange(&s->snapper.finished, 0);
    int64_t persisted = atomic_load(&s->logger.persisted);

    if (finished != 0)
        core_snapshot_done(s->core, finished == 1);
    if (persisted != r->persisted) {
        r->persisted = persisted;
        if (s->peer)
            peer_persisted(s->peer, persisted);
        else
            core_persisted(s->core, persisted);
    }
    do
        round_drain(r);
    while (s->peer && peer_step(s->peer));
}

/* Everything that was accepted is done (or has had its time). */
static bool may_stop(struct round *r)
{
    struct server *s = r->s;
    int64_t now = clock_mono_ms();

    if (atomic_load(&s->stop) == RUNNING || atomic_load(&s->quiet_nets) < s->net_count)
        return false;
    if (r->stop_ms == 0)
        r->stop_ms = now;
    if (!inbox_empty(&s->inbox))
        return false;
    if (s->peer && core_outstanding(s->core) > 0 && now - r->stop_ms >= PEER_STOP_MS)
        return true; /* learners' clients go on asking: what is unanswered, nobody was told of */
    if (core_outstanding(s->core) == 0 || atomic_load(&s->dead))
        return true;
    if (now - r->stop_ms < STOP_TIMEOUT_MS)
        return false;
    log_warn("server", "stopping although %llu writes are under way", (unsigned long long)core_outstanding(s->core));
    return true;
}

static bool has_work(struct round *r)
{
    return !inbox_empty(&r->s->inbox) || atomic_load(&r->s->logger.persisted) != r->persisted ||
           atomic_load(&r->s->snapper.finished) != 0;
}

static void core_wait(struct round *r)
{
    struct server *s = r->s;
    atomic_store(&s->core_waker.sleeping, true);
    if (!has_work(r)) {
        int64_t wake = core_next_wake(s->core);
        int64_t wait = (s->peer ? MIN(wake, peer_next_wake(s->peer)) : wake) - clock_mono_ms();

        if (atomic_load(&s->stop) != RUNNING)
            wait = MIN(wait, 10);
        wait = MAX(0, MIN(wait, 60000));
        if (s->peer)
            qnet_wait(s->qnet, (int)wait);
        else
            waker_wait(&s->core_waker, (int)wait);
    }
    atomic_store(&s->core_waker.sleeping, false);
}

void *core_main(void *arg)
{
    struct server *s = arg;
    struct round r = { .s = s, .persisted = atomic_load(&s->logger.persisted) };

    s->round = &r;
    if (s->peer)
        peer_begin(s->peer, s->core, s->qnet);
    while (!may_stop(&r)) {
        struct core_call *calls;
        struct batch *list = inbox_take(&s->inbox, &calls);

        stats_catch_up(&s->core_stats, atomic_load_explicit(&s->generation, RELAXED));
        core_tick(s->core, clock_mono_ms(), clock_wall_ms());
        settle(&r);
        if (s->peer)
            peer_poll(s->peer);
        handle_batches(&r, list);
        note_progress(&r);
        run_calls(s, calls);
        wake_nets(&r);
        if (s->peer)
            peer_flush(s->peer);
        core_wait(&r);
    }
    if (s->peer)
        peer_end(s->peer);
    atomic_store(&s->stop, DRAINED);
    for (uint32_t i = 0; i < s->net_count; i++)
        net_wake(&s->nets[i]);
    inbox_close(&s->inbox);
    return NULL;
}
