/* single.c - see single.h. */
#include "single.h"

static uint64_t rnd(struct single *w, uint64_t below)
{
    uint64_t z = w->rng += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static void post(struct single *w, struct single_event e)
{
    e.seq = w->next_seq++;
    VEC_PUSH(&w->queue, e);
}

/* ---- clients' side ---- */

static void client_dial(void *data, uint32_t client, uint32_t server)
{
    struct single *w = data;

    w->conn[client] = (struct single_conn){ .id = ++w->next_conn };
    post(w, (struct single_event){ .at_us = w->now_us + 100 + (int64_t)rnd(w, 500), .type = OPENED, .client = client, .conn = w->next_conn });
}

static int64_t later(struct single *w, int64_t *last_us)
{
    *last_us = MAX(*last_us, w->now_us + 50 + (int64_t)rnd(w, 1000));
    return *last_us;
}

static void client_send(void *data, uint32_t client, const void *p, size_t n)
{
    struct single *w = data;
    struct single_conn *c = &w->conn[client];

    post(w, (struct single_event){ .at_us = later(w, &c->up_us), .type = TO_SERVER, .client = client, .conn = c->id,
                                   .bytes = { x_memdup(p, n), n } });
}

static void client_hangup(void *data, uint32_t client)
{
    struct single *w = data;
    struct single_conn *c = &w->conn[client];

    post(w, (struct single_event){ .at_us = later(w, &c->up_us), .type = CLIENT_CLOSED, .client = client, .conn = c->id });
    c->id = 0;
}

/* ---- the server's side ---- */

static uint32_t client_of(const struct single *w, uint64_t conn)
{
    for (uint32_t i = 0; i < w->clients; i++)
        if (w->conn[i].id == conn)
            return i;
    return UINT32_MAX;
}

static void send_now(struct single *w, uint64_t conn, const void *p, size_t n)
{
    uint32_t i = client_of(w, conn);

    if (i != UINT32_MAX)
        post(w, (struct single_event){ .at_us = later(w, &w->conn[i].down_us), .type = TO_CLIENT, .client = i, .conn = conn,
                                       .bytes = { x_memdup(p, n), n } });
}

/* With late_events one event at a time is kept until something else was sent on its connection. */
static void server_send(void *data, uint64_t conn, const void *p, size_t n)
{
    struct single *w = data;
    struct buf held = w->held;

    if (w->late_events && !held.p && n > 8 && (int32_t)load_u32((const uint8_t *)p + 4) == ZK_XID_EVENT) {
        w->held = buf_of(x_memdup(p, n), n);
        w->held_conn = conn;
        return;
    }
    send_now(w, conn, p, n);
    if (!held.p || w->held_conn != conn)
        return;
    w->held = buf_of(NULL, 0);
    send_now(w, conn, held.p, held.n);
    free((void *)(uintptr_t)held.p);
}

static void server_close(void *data, uint64_t conn)
{
    struct single *w = data;
    uint32_t i = client_of(w, conn);

    if (i != UINT32_MAX)
        post(w, (struct single_event){ .at_us = later(w, &w->conn[i].down_us), .type = SERVER_CLOSED, .client = i, .conn = conn });
}

static void take_effects(struct single *w)
{
    const struct core_effect *fx;
    size_t count = core_effects(w->core, &fx);
    int64_t last = 0;

    front_effects(w->front, fx, count);
    for (size_t i = 0; i < count; i++) {
        if (fx[i].type != CORE_APPEND)
            continue;
        struct check_commit c = { fx[i].zxid, buf_of(x_memdup(fx[i].bytes.p, fx[i].bytes.n), fx[i].bytes.n), w->now_us };
        VEC_PUSH(&w->log, c);
        last = fx[i].zxid;
    }
    core_effects_clear(w->core);
    if (last > 0)
        post(w, (struct single_event){ .at_us = w->now_us + 100 + (int64_t)rnd(w, 3000), .type = PERSISTED, .zxid = last });
}

static void server_turn(struct single *w)
{
    do {
        front_turn(w->front, w->now_us);
        front_submit(w->front);
        take_effects(w);
    } while (front_has_turn(w->front) || front_has_mail(w->front));
}

static void persisted(struct single *w, int64_t zxid)
{
    core_persisted(w->core, zxid);
    while (w->durable < w->log.len && w->log.items[w->durable].zxid <= zxid)
        w->durable++;
    while (core_has_committed(w->core)) {
        core_apply(w->core, 1);
        take_effects(w);
    }
}

static void server_start(struct single *w)
{
    struct core_config cfg = { .server_id = 1, .tick_ms = 500, .min_session_ms = 1000, .max_session_ms = 10000, .snap_count = 100000,
                               .container_check_ms = 1000, .container_max_per_minute = 10000, .max_txn = 1 << 20, .seed = 7,
                               .extended_types = true };

    w->core = core_new(&cfg, w->tree, w->now_us / 1000, 1700000000000 + w->now_us / 1000);
    w->front = front_new(w->core, w->tree, &(struct front_config){ .role = CORE_STANDALONE, .tick_ms = cfg.tick_ms },
                         &(struct front_io){ server_send, server_close, w });
}

void single_restart(struct single *w)
{
    struct arena a = arena_init();
    size_t kept = 0;

    w->durable -= MIN(w->forgets, w->durable);
    front_free(w->front);
    core_free(w->core);
    tree_free(w->tree);
    w->tree = tree_new(&(struct tree_options){ .extended_types = true });
    for (size_t i = w->durable; i < w->log.len; i++)
        free((void *)(uintptr_t)w->log.items[i].txn.p);
    w->log.len = w->durable;
    for (size_t i = 0; i < w->log.len; i++) {
        struct rd r = rd_buf(w->log.items[i].txn);
        struct txn_header h;
        struct tree_result res;

        txn_header_read(&r, &a, &h);
        assert_int_equal(tree_apply(w->tree, &h, buf_of(r.p, rd_left(&r)), &a, &res), 0);
    }
    arena_free(&a);
    for (size_t i = 0; i < w->queue.len; i++) {
        if (w->queue.items[i].type == PERSISTED)
            continue;
        w->queue.items[kept++] = w->queue.items[i];
    }
    w->queue.len = kept;
    server_start(w);
    for (uint32_t i = 0; i < w->clients; i++)
        if (w->conn[i].id != 0)
            post(w, (struct single_event){ .at_us = later(w, &w->conn[i].down_us), .type = SERVER_CLOSED, .client = i, .conn = w->conn[i].id });
}

/* ---- the loop ---- */

static void carry_out(struct single *w, const struct single_event *e)
{
    bool current = w->conn[e->client].id == e->conn;

    switch (e->type) {
    case OPENED:
        if (!current)
            break;
        front_opened(w->front, e->conn, "10.0.0.1", w->now_us);
        vclient_opened(w->client[e->client], w->now_us);
        break;
    case TO_SERVER:
        front_bytes(w->front, e->conn, e->bytes.p, e->bytes.n, w->now_us);
        break;
    case TO_CLIENT:
        if (current)
            vclient_bytes(w->client[e->client], e->bytes.p, e->bytes.n, w->now_us);
        break;
    case SERVER_CLOSED:
        if (current) {
            w->conn[e->client].id = 0;
            vclient_closed(w->client[e->client], w->now_us);
        }
        break;
    case CLIENT_CLOSED:
        front_closed(w->front, e->conn);
        break;
    case PERSISTED:
        persisted(w, e->zxid);
        break;
    }
    free((void *)(uintptr_t)e->bytes.p);
}

static size_t earliest(const struct single *w)
{
    size_t best = 0;

    for (size_t i = 1; i < w->queue.len; i++) {
        const struct single_event *a = &w->queue.items[i], *b = &w->queue.items[best];

        if (a->at_us < b->at_us || (a->at_us == b->at_us && a->seq < b->seq))
            best = i;
    }
    return best;
}

static int64_t next_wake(const struct single *w)
{
    int64_t wake = MIN(core_next_wake(w->core) * 1000, front_next_wake_us(w->front));

    for (uint32_t i = 0; i < w->clients; i++)
        wake = MIN(wake, vclient_wake_us(w->client[i]));
    return MAX(wake, w->now_us + 1);
}

static void maybe_reset(struct single *w)
{
    uint32_t i;

    if (w->resets == 0 || ++w->events % (uint64_t)w->resets != 0)
        return;
    i = (uint32_t)rnd(w, w->clients);
    if (w->conn[i].id == 0)
        return;
    front_closed(w->front, w->conn[i].id);
    w->conn[i].id = 0;
    vclient_closed(w->client[i], w->now_us);
}

static void step(struct single *w)
{
    size_t i = earliest(w);
    int64_t wake = next_wake(w);

    if (w->queue.len > 0 && w->queue.items[i].at_us <= wake) {
        struct single_event e = w->queue.items[i];

        w->queue.items[i] = w->queue.items[--w->queue.len];
        w->now_us = MAX(w->now_us, e.at_us);
        carry_out(w, &e);
    } else {
        w->now_us = wake;
    }
    for (uint32_t k = 0; k < w->clients; k++)
        if (vclient_wake_us(w->client[k]) <= w->now_us)
            vclient_tick(w->client[k], w->now_us);
    core_tick(w->core, w->now_us / 1000, 1700000000000 + w->now_us / 1000);
    server_turn(w);
    maybe_reset(w);
}

void single_run(struct single *w, int64_t until_us)
{
    while (w->now_us < until_us)
        step(w);
}

void single_settle(struct single *w)
{
    int64_t limit = w->now_us + 60 * INT64_C(1000000);
    bool idle = false;

    for (uint32_t i = 0; i < w->clients; i++)
        vclient_stop(w->client[i], w->now_us);
    while (!idle) {
        assert_true(w->now_us < limit);
        step(w);
        idle = true;
        for (uint32_t i = 0; i < w->clients; i++)
            idle &= vclient_idle(w->client[i]);
    }
    single_run(w, w->now_us + 5000000); /* what is under way: expiries, reaping */
    while (w->durable < w->log.len)
        step(w);
}

void single_init(struct single *w, uint64_t seed, uint32_t clients)
{
    *w = (struct single){ .rng = seed, .now_us = 1000000, .clients = clients };
    w->h = history_new();
    w->tree = tree_new(&(struct tree_options){ .extended_types = true });
    server_start(w);
    for (uint32_t i = 0; i < clients; i++)
        w->client[i] = vclient_new(&(struct vclient_config){ .id = i, .server_count = 1, .seed = seed * 100 + i, .timeout_ms = 2000,
                                                             .think_ms = 20, .pipeline = 8 },
                                   w->h, &(struct vclient_io){ client_dial, client_send, client_hangup, w }, w->now_us);
}

void single_done(struct single *w)
{
    for (uint32_t i = 0; i < w->clients; i++)
        vclient_free(w->client[i]);
    front_free(w->front);
    core_free(w->core);
    tree_free(w->tree);
    for (size_t i = 0; i < w->log.len; i++)
        free((void *)(uintptr_t)w->log.items[i].txn.p);
    for (size_t i = 0; i < w->queue.len; i++)
        free((void *)(uintptr_t)w->queue.items[i].bytes.p);
    free((void *)(uintptr_t)w->held.p);
    VEC_FREE(&w->log);
    VEC_FREE(&w->queue);
    history_free(w->h);
}

void single_input(struct single *w, struct check_input *ret, struct check_replica *replica)
{
    *replica = (struct check_replica){ 1, w->tree };
    *ret = (struct check_input){ .h = w->h, .log = w->log.items, .log_len = w->durable, .log_known = true, .replicas = replica,
                                 .replica_count = 1, .tick_ms = 500, .extended_types = true };
}
