/* session.c - which sessions live, and until when.
 *
 * Expiry is by buckets of one tick: a session lies in the bucket that ends after now + timeout, and when a bucket's end has
 * come, all in it expire. So touching is cheap (mostly nothing changes) and a session expires between its timeout and one tick later.
 * The clock of all that stands while the server does (SIGSTOP, a machine that is starved or suspended): what clients said meanwhile is
 * still in the sockets, the touches of learners' clients too, and whoever was alive must not be found dead on waking up.
 * Source: SessionTrackerImpl, ExpiryQueue, ZooKeeperServer.reopenSession (3.9). */
#include "core_internal.h"

int32_t session_timeout_clamp(int32_t requested_ms, int32_t min_ms, int32_t max_ms)
{
    return MIN(MAX(requested_ms, min_ms), max_ms);
}

/* java.util.Random, seeded with the id and nextBytes(16): any server of an ensemble can check what another gave out. */
void session_passwd(int64_t session_id, uint8_t out[ZK_PASSWORD_LEN])
{
    const uint64_t mult = UINT64_C(0x5DEECE66D), mask = (UINT64_C(1) << 48) - 1;
    uint64_t s = ((uint64_t)session_id ^ UINT64_C(0xB3415C00) ^ mult) & mask;
    for (int i = 0; i < ZK_PASSWORD_LEN; i += 4) {
        s = (s * mult + 0xB) & mask;
        uint32_t v = (uint32_t)(s >> 16);
        for (int k = 0; k < 4; k++)
            out[i + k] = (uint8_t)(v >> (8 * k));
    }
}

int64_t session_first_id(int64_t server_id, int64_t wall_ms)
{
    uint64_t id = (uint64_t)server_id << 56 | ((uint64_t)wall_ms << 24) >> 8;
    if ((int64_t)id == ZK_OWNER_CONTAINER)
        id++; /* an ephemeral of this session would look like a container */
    return (int64_t)id;
}

static int64_t bucket_end(const struct sessions *ss, int64_t t)
{
    return (t / ss->interval_ms + 1) * ss->interval_ms;
}

static int64_t sessions_now(const struct core *c)
{
    return c->now_ms - c->sessions.lag_ms;
}

int64_t sessions_next_wake(const struct core *c)
{
    return c->sessions.next_expiry_ms + c->sessions.lag_ms;
}

static struct list *bucket_at(struct sessions *ss, int64_t end)
{
    return &ss->ring[(uint64_t)(end / ss->interval_ms) % SESSION_RING];
}

struct session *core_session_add(struct core *c, int64_t id, int32_t timeout_ms)
{
    struct session *s = x_calloc(1, sizeof(*s));
    s->id = id;
    s->timeout_ms = timeout_ms;
    list_init(&s->bucket);
    list_init(&s->owned);
    list_init(&s->requests);
    u64map_set(&c->sessions.by_id, (uint64_t)id, s);
    c->sessions.live++;
    return s;
}

/* ---- sessions that ended ---- */

struct ended {
    struct ended *next;
    int64_t id, until_ms;
};

static void ended_forget(struct sessions *ss, int64_t until_ms)
{
    while (ss->ended && ss->ended->until_ms <= until_ms) {
        struct ended *e = ss->ended;
        ss->ended = e->next;
        if (u64map_get(&ss->ended_ids, (uint64_t)e->id) == e)
            u64map_del(&ss->ended_ids, (uint64_t)e->id);
        free(e);
    }
    if (!ss->ended)
        ss->ended_tail = &ss->ended;
}

/* Longer than a learner may be silent and still be connected: what it sends behind that was sent by one that knows. */
static void ended_remember(struct core *c, int64_t id)
{
    struct sessions *ss = &c->sessions;
    struct ended *e = x_calloc(1, sizeof(*e));
    e->id = id;
    e->until_ms = c->now_ms + MAX(c->cfg.max_session_ms, 60000);
    *ss->ended_tail = e;
    ss->ended_tail = &e->next;
    u64map_set(&ss->ended_ids, (uint64_t)id, e);
}

bool session_ended(const struct core *c, int64_t session_id)
{
    return u64map_get(&c->sessions.ended_ids, (uint64_t)session_id) != NULL;
}

/* ---- the table ---- */

/* Nobody knows yet where its client will come, so on a leader whoever comes first is its owner. */
static void session_restore(void *data, int64_t id, int32_t timeout_ms)
{
    struct core *c = data;
    struct session *s = core_session_add(c, id, timeout_ms);
    if (c->role == CORE_LEADER)
        s->peer = PEER_UNKNOWN;
    if (core_orders(c))
        core_session_touch(c, s);
}

static void sessions_begin(struct core *c)
{
    struct sessions *ss = &c->sessions;
    for (size_t i = 0; i < SESSION_RING; i++)
        list_init(&ss->ring[i]);
    list_init(&ss->touched);
    ended_forget(ss, INT64_MAX);
    ss->live = ss->local = 0;
    ss->ticked_ms = c->now_ms;
    ss->lag_ms = 0;
    ss->next_expiry_ms = bucket_end(ss, c->now_ms);
    tree_each_session(c->tree, session_restore, c);
}

void sessions_init(struct core *c, int64_t wall_ms)
{
    struct sessions *ss = &c->sessions;
    ss->interval_ms = MAX(c->cfg.tick_ms, 1);
    ss->next_id = session_first_id(c->cfg.server_id, wall_ms);
    sessions_begin(c);
}

void sessions_done(struct core *c)
{
    ended_forget(&c->sessions, INT64_MAX);
    u64map_free(&c->sessions.ended_ids, NULL);
    c->sessions.ended_ids = (struct u64map){ 0 };
    U64MAP_EACH(slot, &c->sessions.by_id)
    {
        requests_forget(c, slot->value);
        free(slot->value);
    }
    u64map_free(&c->sessions.by_id, NULL);
}

/* One that the tree knows by now is global. */
static void session_keep(struct core *c, struct session *s)
{
    list_remove(&s->bucket);
    if (core_session_find(c, s->id)) {
        free(s);
        return;
    }
    u64map_set(&c->sessions.by_id, (uint64_t)s->id, s);
    c->sessions.local++;
    core_session_touch(c, s);
}

void sessions_restart(struct core *c)
{
    struct list kept;
    list_init(&kept);
    U64MAP_EACH(slot, &c->sessions.by_id)
    {
        struct session *s = slot->value;
        if (s->conn != 0)
            effect_add(c, CORE_CLOSE_CONN, s->conn);
        s->conn = 0;
        requests_forget(c, s);
        list_remove(&s->bucket);
        if (local_session_survives(s))
            list_push_back(&kept, &s->bucket);
        else
            free(s);
    }
    u64map_free(&c->sessions.by_id, NULL);
    c->sessions.by_id = (struct u64map){ 0 };
    sessions_begin(c);
    LIST_EACH_SAFE(it, &kept)
    session_keep(c, CONTAINER_OF(it, struct session, bucket));
}

struct session *core_session_find(const struct core *c, int64_t id)
{
    return u64map_get(&c->sessions.by_id, (uint64_t)id);
}

void core_session_touch(struct core *c, struct session *s)
{
    if (s->closing)
        return;
    if (!s->local && !core_orders(c)) { /* the leader is told of it */
        if (list_empty(&s->bucket))
            list_push_back(&c->sessions.touched, &s->bucket);
        return;
    }
    int64_t end = bucket_end(&c->sessions, sessions_now(c) + MAX(s->timeout_ms, 0));
    if (end == s->expiry_ms && !list_empty(&s->bucket))
        return;
    list_remove(&s->bucket);
    s->expiry_ms = end;
    list_push_back(bucket_at(&c->sessions, end), &s->bucket);
}

void core_session_set_closing(struct core *c, struct session *s)
{
    if (s->closing)
        return;
    s->closing = true;
    if (s->local)
        c->sessions.local--;
    else
        c->sessions.live--;
    list_remove(&s->bucket);
}

void core_session_remove(struct core *c, struct session *s)
{
    ASSERT(s->closing);
    ASSERT(list_empty(&s->owned)); /* its closeSession deleted them, and nothing of it came in since */
    requests_forget(c, s);
    u64map_del(&c->sessions.by_id, (uint64_t)s->id);
    if (c->role == CORE_LEADER && c->cfg.local_sessions && !s->local)
        ended_remember(c, s->id);
    free(s);
}

/* Closing unlinks from the bucket, and only from there: the walk is safe. */
void sessions_tick(struct core *c)
{
    struct sessions *ss = &c->sessions;
    int64_t late = c->now_ms - ss->ticked_ms - ss->interval_ms; /* for the tick that was due, at the latest */
    ss->ticked_ms = c->now_ms;
    if (late > ss->interval_ms)
        ss->lag_ms += late;
    ended_forget(ss, c->now_ms);
    while (ss->next_expiry_ms <= sessions_now(c)) {
        LIST_EACH_SAFE(it, bucket_at(ss, ss->next_expiry_ms))
        {
            struct session *s = CONTAINER_OF(it, struct session, bucket);
            if (s->expiry_ms > ss->next_expiry_ms)
                continue;
            if (s->local)
                local_session_expire(c, s);
            else
                submit_close_session(c, s);
        }
        ss->next_expiry_ms += ss->interval_ms;
    }
}

void core_touch(struct core *c, int64_t session_id)
{
    struct session *s = core_session_find(c, session_id);
    if (s)
        core_session_touch(c, s);
}

bool session_is_of(const struct core *c, int64_t session_id)
{
    return (uint8_t)((uint64_t)session_id >> 56) == (uint8_t)c->cfg.server_id;
}

/* A fresh id that is neither 0 nor in use: a clock set back must not hand one out twice. */
static int64_t session_next_id(struct core *c)
{
    int64_t id;
    do
        id = c->sessions.next_id++;
    while (id == 0 || core_session_find(c, id));
    return id;
}

void session_attach(struct core *c, uint64_t conn, struct session *s, int32_t timeout_ms)
{
    if (s->conn != 0 && s->conn != conn)
        effect_add(c, CORE_CLOSE_CONN, s->conn);
    s->conn = conn;
    s->peer = PEER_OWN;
    s->timeout_ms = timeout_ms;
    core_session_touch(c, s);
    session_ready(c, conn, s);
}

static void session_create(struct core *c, uint64_t conn, int32_t timeout_ms)
{
    struct session *s = core_session_add(c, session_next_id(c), timeout_ms);
    s->conn = conn;
    if (local_sessions_born(c)) {
        local_session_begin(c, s);
        return;
    }
    core_session_touch(c, s);
    if (c->role == CORE_LEARNER)
        learner_create_session(c, s, conn);
    else
        submit_create_session(c, s, conn);
}

static void connect_client(struct core *c, uint64_t conn, int64_t session_id, struct buf passwd, int32_t timeout_ms, bool read_only)
{
    timeout_ms = session_timeout_clamp(timeout_ms, c->cfg.min_session_ms, c->cfg.max_session_ms);
    if (c->role == CORE_NONE || pipeline_full(c) || (c->role == CORE_READONLY && !read_only) ||
        (c->role == CORE_LEADER && c->cfg.refuse_leading)) {
        effect_add(c, CORE_CLOSE_CONN, conn); /* before any answer: the client tries another server */
        return;
    }
    if (session_id == 0) {
        session_create(c, conn, timeout_ms);
        return;
    }
    uint8_t expect[ZK_PASSWORD_LEN];
    session_passwd(session_id, expect);
    struct session *s = core_session_find(c, session_id);
    bool ours = buf_eq(passwd, buf_of(expect, sizeof(expect)));
    bool local = s && s->local;
    if (ours && !s && c->role == CORE_READONLY && !session_is_of(c, session_id))
        read_only_adopt(c, conn, session_id, timeout_ms);
    else if (ours && !local && c->role == CORE_LEARNER) /* even if it is not known here: we may be behind */
        learner_revalidate(c, conn, session_id, timeout_ms);
    else if (ours && s && !s->closing)
        session_attach(c, conn, s, timeout_ms);
    else if (ours && s && !local && c->role == CORE_LEADER) /* over once that is committed, and perhaps we have lost our quorum */
        effect_add(c, CORE_CLOSE_CONN, conn);
    else
        session_ready(c, conn, NULL);
}

void core_connect(struct core *c, uint64_t conn, int64_t session_id, struct buf passwd, int32_t timeout_ms)
{
    connect_client(c, conn, session_id, passwd, timeout_ms, false);
}

void core_connect_read_only(struct core *c, uint64_t conn, int64_t session_id, struct buf passwd, int32_t timeout_ms)
{
    connect_client(c, conn, session_id, passwd, timeout_ms, true);
}

void core_disconnected(struct core *c, uint64_t conn, int64_t session_id)
{
    struct session *s = core_session_find(c, session_id);
    if (s && s->conn == conn) /* not when a newer connection took the session over */
        s->conn = 0;
    learner_disconnected(c, conn);
}

size_t core_live_sessions(const struct core *c)
{
    return c->sessions.live;
}

size_t core_local_sessions(const struct core *c)
{
    return c->sessions.local;
}

static int by_expiry(const void *a, const void *b)
{
    const struct session *x = *(struct session *const *)a, *y = *(struct session *const *)b;
    if (x->expiry_ms != y->expiry_ms)
        return x->expiry_ms < y->expiry_ms ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

void core_each_expiry(const struct core *c, bool local, void (*fn)(void *data, int64_t expiry_mono_ms, int64_t session_id), void *data)
{
    struct VEC(const struct session *) v = { 0 };
    U64MAP_EACH(slot, &c->sessions.by_id)
    {
        const struct session *s = slot->value;
        if (!s->closing && s->local == local && (local || core_orders(c)))
            VEC_PUSH(&v, s);
    }
    if (v.len > 0)
        qsort(v.items, v.len, sizeof(*v.items), by_expiry);
    for (size_t i = 0; i < v.len; i++)
        fn(data, v.items[i]->expiry_ms + c->sessions.lag_ms, v.items[i]->id);
    VEC_FREE(&v);
}
