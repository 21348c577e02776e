/* session.c - the life of the connection and of the session: dialing, handshake, loss, expiry, timers. */
#include "session_internal.h"

#include "client/connstr.h"

#define ISRO_DELAY_MIN_MS 100
#define ISRO_DELAY_MAX_MS 60000
#define DIAL_DELAY_MAX_MS 1000
#define PING_IDLE_MAX_MS 10000
#define LOG_REPEAT_MS 30000

uint64_t session_random(struct session *s)
{
    uint64_t z = s->rng += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void session_init(struct session *s, const struct session_config *cfg, int64_t now_ms)
{
    ASSERT(cfg->server_count > 0);
    ASSERT(cfg->timeout_ms > 0);
    *s = (struct session){ .cfg = *cfg, .phase = PHASE_WAITING, .state = QUOLL_STATE_CONNECTING, .now_ms = now_ms,
                           .rng = cfg->seed, .dial_at_ms = now_ms, .next_xid = 1, .passwd_len = ZK_PASSWORD_LEN };
    s->order = x_calloc(cfg->server_count, sizeof(*s->order));
    for (size_t i = 0; i < cfg->server_count; i++) {
        size_t j = cfg->no_shuffle ? i : (size_t)(session_random(s) % (i + 1));
        s->order[i] = s->order[j];
        s->order[j] = i;
    }
    list_init(&s->queue);
    list_init(&s->sent);
    list_init(&s->local);
}

void session_done(struct session *s)
{
    ASSERT(list_empty(&s->queue));
    ASSERT(list_empty(&s->sent));
    ASSERT(list_empty(&s->local));
    for (size_t i = 0; i < s->auths.len; i++) {
        free(s->auths.items[i]->scheme);
        free(s->auths.items[i]->cert);
        free(s->auths.items[i]);
    }
    VEC_FREE(&s->auths);
    VEC_FREE(&s->auths_sent);
    VEC_FREE(&s->heap);
    watches_free(&s->watches);
    wr_free(&s->in);
    wr_free(&s->out);
    arena_free(&s->arena);
    free(s->order);
    free(s->last_log);
}

static void set_now(struct session *s, int64_t now_ms)
{
    if (now_ms > s->now_ms)
        s->now_ms = now_ms;
}

/* One line for people; the same line again is held back for a while, since attempts repeat every second. */
static void say(struct session *s, const char *why)
{
    char *text = x_asprintf("%s: %s", s->cfg.servers[session_server(s)].text, why);
    bool repeated = s->last_log && strcmp(s->last_log, text) == 0 && s->now_ms - s->last_log_ms < LOG_REPEAT_MS;
    if (repeated) {
        free(text);
        return;
    }
    free(s->last_log);
    s->last_log = text;
    s->last_log_ms = s->now_ms;
    if (s->cfg.hooks.log)
        s->cfg.hooks.log(s->cfg.hooks.ctx, text);
}

void session_set_state(struct session *s, enum quoll_state state, unsigned drop_watchers)
{
    if (s->state == state)
        return;
    s->state = state;
    if (s->cfg.hooks.state)
        s->cfg.hooks.state(s->cfg.hooks.ctx, state);
    struct quoll_event ev = { .type = QUOLL_EVENT_SESSION, .state = state, .path = "", .zxid = -1 };
    watches_session(&s->watches, s->cfg.client, &ev, drop_watchers);
}

/* The requested timeout before the first connection, then the negotiated one. */
static int64_t known_timeout(const struct session *s)
{
    return s->timeout_ms > 0 ? s->timeout_ms : s->cfg.timeout_ms;
}

static int64_t read_timeout(const struct session *s)
{
    return MAX(known_timeout(s) * 2 / 3, 1);
}

/* When a connection that sends nothing pings: well before the server's read timeout, with up to a second to spare. */
static int64_t ping_after(const struct session *s)
{
    int64_t half = read_timeout(s) / 2;
    return MIN(half > 1000 ? MAX(half - 1000, 1000) : MAX(half, 1), PING_IDLE_MAX_MS);
}

static int64_t expiry_at(const struct session *s)
{
    return s->last_recv_ms + known_timeout(s) * 4 / 3;
}

/* A session that the ensemble knows. One from a read-only server is not: nobody else has heard of it. */
static bool session_real(const struct session *s)
{
    return s->id != 0 && s->seen_read_write;
}

static void next_server(struct session *s)
{
    s->pos = (s->pos + 1) % s->cfg.server_count;
}

static void plan_dial(struct session *s, bool was_up)
{
    /* Each server of the list is tried at once; a delay separates rounds, and follows a loss, so that the clients of a
     * server that died do not all arrive at the next one in the same millisecond. */
    s->failed_in_row = was_up ? 0 : s->failed_in_row + 1;
    bool pause = was_up || s->failed_in_row >= s->cfg.server_count;
    if (pause)
        s->failed_in_row = 0;
    s->dial_at_ms = s->now_ms + (pause ? (int64_t)(session_random(s) % DIAL_DELAY_MAX_MS) : 0);
    next_server(s);
}

/* Forgets the connection without deciding what comes next. */
static void forget_connection(struct session *s)
{
    s->phase = PHASE_WAITING;
    s->io_hang_up = true;
    s->io_dial = s->io_probe = s->probing = false;
    s->skip = 0;
    s->set_watches_sent = 0;
    s->auths_sent.len = 0;
    wr_reset(&s->in);
    wr_reset(&s->out);
}

void session_drop(struct session *s, const char *why)
{
    if (s->phase == PHASE_WAITING || s->phase == PHASE_DEAD)
        return;
    bool was_up = s->phase == PHASE_UP;
    if (!s->closing)
        say(s, why);
    forget_connection(s);
    plan_dial(s, was_up);
    struct list lost;
    list_init(&lost);
    exchange_move(&lost, &s->sent);
    if (was_up)
        session_set_state(s, QUOLL_STATE_CONNECTING, 0);
    exchange_fail(s, &lost, QUOLL_CONNECTION_LOSS);
}

void session_die(struct session *s, enum quoll_state state, int err)
{
    forget_connection(s);
    s->phase = PHASE_DEAD;
    struct list all;
    list_init(&all);
    exchange_move(&all, &s->sent);
    exchange_move(&all, &s->queue);
    s->unsent_bytes = 0;
    session_set_state(s, state, WATCH_ALL);
    exchange_fail(s, &all, err);
    exchange_fail_auths(s, err);
}

void session_finish(struct session *s)
{
    if (s->finished)
        return;
    exchange_answer_local(s);
    session_die(s, QUOLL_STATE_CLOSED, QUOLL_CLOSING);
    s->finished = true;
}

/* The session is gone, by the server's word or by the clock. */
static void expire(struct session *s, const char *why)
{
    say(s, why);
    forget_connection(s);
    s->id = 0;
    memset(s->passwd, 0, sizeof(s->passwd));
    s->passwd_len = ZK_PASSWORD_LEN;
    s->no_add_watch = s->no_create2 = s->create2_known = false;
    /* The zxid is kept, so that the new session does not go back in time; but not for ever: an ensemble whose data was
     * reset refuses every client that has seen more than it has. */
    s->zxid_reset_ms = s->now_ms + known_timeout(s);
    struct list lost;
    list_init(&lost);
    exchange_move(&lost, &s->sent);
    exchange_move(&lost, &s->queue);
    s->unsent_bytes = 0;
    s->dial_at_ms = s->now_ms;
    if (s->cfg.no_new_session)
        s->phase = PHASE_DEAD;
    session_set_state(s, QUOLL_STATE_EXPIRED, s->cfg.no_new_session ? WATCH_ALL : WATCH_ONE_SHOT);
    exchange_fail(s, &lost, QUOLL_SESSION_EXPIRED);
    if (s->cfg.no_new_session)
        exchange_fail_auths(s, QUOLL_SESSION_EXPIRED);
    else
        session_set_state(s, QUOLL_STATE_CONNECTING, 0);
}

static void dial(struct session *s)
{
    if (s->id == 0 && s->zxid_reset_ms && s->now_ms >= s->zxid_reset_ms)
        s->last_zxid = s->zxid_reset_ms = 0;
    s->phase = PHASE_DIALING;
    s->ever_dialed = true;
    s->io_dial = true;
    s->connect_deadline_ms = s->now_ms + MAX(known_timeout(s) / (int64_t)s->cfg.server_count, 1);
}

void session_connected(struct session *s, int64_t now_ms)
{
    set_now(s, now_ms);
    if (s->phase != PHASE_DIALING)
        return;
    s->phase = PHASE_HANDSHAKE;
    /* An id from a read-only server means nothing to others. */
    static const uint8_t no_passwd[ZK_PASSWORD_LEN];
    struct connect_request req = { .last_zxid_seen = s->last_zxid, .timeout_ms = s->cfg.timeout_ms,
                                   .passwd = { no_passwd, ZK_PASSWORD_LEN } };
    if (session_real(s)) {
        req.session_id = s->id;
        req.passwd = (struct jbuf){ s->passwd, (int32_t)s->passwd_len };
    }
    size_t at = jute_frame_begin(&s->out);
    connect_request_write(&s->out, &req);
    wr_u8(&s->out, s->cfg.read_only);
    jute_frame_end(&s->out, at);
    s->last_send_ms = s->now_ms;
}

static void handshake_reply(struct session *s, const uint8_t *p, size_t n)
{
    struct rd r = rd_init(p, n);
    struct connect_response res;
    connect_response_read(&r, &s->arena, &res);
    /* Servers before 3.4 do not send the last byte. */
    bool read_only = rd_left(&r) > 0 && rd_u8(&r) != 0;
    if (r.rc != 0 || res.passwd.n > (int32_t)sizeof(s->passwd)) {
        session_drop(s, "malformed connect response");
        return;
    }
    if (res.timeout_ms <= 0) {
        if (session_real(s))
            expire(s, "session expired");
        else
            session_drop(s, "session refused");
        return;
    }
    if (read_only && !s->cfg.read_only) {
        session_drop(s, "server is read-only");
        return;
    }
    s->id = res.session_id;
    s->timeout_ms = res.timeout_ms;
    s->passwd_len = (size_t)res.passwd.n;
    if (res.passwd.n)
        memcpy(s->passwd, res.passwd.p, s->passwd_len);
    s->seen_read_write |= !read_only;
    s->zxid_reset_ms = 0;
    s->failed_in_row = 0;
    free(s->last_log);
    s->last_log = NULL;
    s->phase = PHASE_UP;
    s->probe_delay_ms = ISRO_DELAY_MIN_MS;
    s->probe_at_ms = s->now_ms + s->probe_delay_ms;
    s->probe_pos = s->pos;
    exchange_resume(s);
    session_set_state(s, read_only ? QUOLL_STATE_READ_ONLY : QUOLL_STATE_CONNECTED, 0);
}

static bool connection_open(const struct session *s)
{
    return s->phase == PHASE_HANDSHAKE || s->phase == PHASE_UP;
}

/* Handles the frame at p, of which avail bytes have arrived. Returns the bytes used, 0 when more are needed. */
static size_t take_frame(struct session *s, const uint8_t *p, size_t avail)
{
    if (avail < 4)
        return 0;
    uint32_t n = load_u32(p);
    if (n > INT32_MAX) {
        session_drop(s, "negative frame length");
        return 0;
    }
    if (n > s->cfg.max_buffer) {
        if (avail < 4 + 16)
            return 0;
        if (s->phase != PHASE_UP || !exchange_oversized(s, p + 4)) {
            session_drop(s, "frame larger than the limit");
            return 0;
        }
        s->skip = n - 16;
        return 4 + 16;
    }
    if (avail - 4 < n)
        return 0;
    if (s->phase == PHASE_HANDSHAKE)
        handshake_reply(s, p + 4, n);
    else
        exchange_frame(s, p + 4, n);
    return 4 + (size_t)n;
}

void session_input(struct session *s, const void *p, size_t n, int64_t now_ms)
{
    set_now(s, now_ms);
    if (!connection_open(s))
        return;
    s->last_recv_ms = s->now_ms;
    wr_bytes(&s->in, p, n);
    size_t used = 0;
    while (connection_open(s) && used < s->in.n) {
        size_t step = (size_t)MIN(s->skip, s->in.n - used);
        if (step)
            s->skip -= step;
        else
            step = take_frame(s, s->in.p + used, s->in.n - used);
        if (step == 0)
            break;
        used += step;
    }
    if (!connection_open(s)) {
        wr_reset(&s->in);
        return;
    }
    s->in.n -= used;
    if (used && s->in.n)
        memmove(s->in.p, s->in.p + used, s->in.n);
}

void session_disconnected(struct session *s, const char *why, int64_t now_ms)
{
    set_now(s, now_ms);
    if (s->closing && s->phase == PHASE_UP)
        session_finish(s); /* the server hangs up after closeSession */
    else
        session_drop(s, why);
    s->io_hang_up = false;
}

void session_close(struct session *s, bool detach, int64_t now_ms)
{
    set_now(s, now_ms);
    if (s->closing)
        return;
    s->closing = true;
    s->close_deadline_ms = s->now_ms;
    if (s->phase == PHASE_UP && !detach) {
        exchange_send_close(s);
        s->close_deadline_ms += SESSION_CLOSE_MS;
    }
}

void session_probed(struct session *s, bool writes, int64_t now_ms)
{
    set_now(s, now_ms);
    if (!s->probing)
        return;
    s->probing = false;
    if (!writes) {
        s->probe_delay_ms = MIN(s->probe_delay_ms * 2, ISRO_DELAY_MAX_MS);
        s->probe_at_ms = s->now_ms + s->probe_delay_ms;
        return;
    }
    size_t target = s->probe_pos;
    session_drop(s, "a server that writes was found");
    s->pos = target;
    s->dial_at_ms = s->now_ms;
}

static void tick_up(struct session *s)
{
    if (s->now_ms - s->last_recv_ms >= read_timeout(s)) {
        session_drop(s, "no answer from the server");
        return;
    }
    if (s->now_ms - s->last_send_ms >= ping_after(s))
        exchange_ping(s);
    if (s->state == QUOLL_STATE_READ_ONLY && !s->probing && s->now_ms >= s->probe_at_ms) {
        s->probe_pos = (s->probe_pos + 1) % s->cfg.server_count;
        s->probing = s->io_probe = true;
    }
}

void session_tick(struct session *s, int64_t now_ms)
{
    set_now(s, now_ms);
    if (s->finished)
        return;
    exchange_answer_local(s);
    exchange_deadlines(s);
    if (s->closing && (s->now_ms >= s->close_deadline_ms || s->phase != PHASE_UP)) {
        session_finish(s);
        return;
    }
    if (s->phase == PHASE_UP)
        tick_up(s);
    else if ((s->phase == PHASE_DIALING || s->phase == PHASE_HANDSHAKE) && s->now_ms >= s->connect_deadline_ms)
        session_drop(s, "connecting timed out");
    /* Only the server can say that a session is over, but after this long without a word it must be, and those who hold
     * something under the session have to know although no server can be reached. */
    if (s->phase != PHASE_UP && s->phase != PHASE_DEAD && session_real(s) && s->now_ms >= expiry_at(s))
        expire(s, "session expired: no server answered in time");
    if (s->phase == PHASE_WAITING && !s->closing && s->now_ms >= s->dial_at_ms)
        dial(s);
}

int64_t session_wake_ms(const struct session *s)
{
    int64_t at = INT64_MAX;
    if (s->finished)
        return at;
    if (!list_empty(&s->local))
        return s->now_ms;
    if (s->heap.len)
        at = s->heap.items[0]->deadline_ms;
    if (s->closing)
        at = MIN(at, s->phase == PHASE_UP ? s->close_deadline_ms : s->now_ms);
    switch (s->phase) {
    case PHASE_WAITING:
        at = MIN(at, s->dial_at_ms);
        break;
    case PHASE_DIALING:
    case PHASE_HANDSHAKE:
        at = MIN(at, s->connect_deadline_ms);
        break;
    case PHASE_UP:
        at = MIN(at, s->last_recv_ms + read_timeout(s));
        at = MIN(at, s->last_send_ms + ping_after(s));
        if (s->state == QUOLL_STATE_READ_ONLY && !s->probing)
            at = MIN(at, s->probe_at_ms);
        break;
    case PHASE_DEAD:
        break;
    }
    if (s->phase != PHASE_UP && s->phase != PHASE_DEAD && session_real(s))
        at = MIN(at, expiry_at(s));
    return at;
}

enum session_io session_poll(struct session *s, size_t *ret_server)
{
    if (s->io_hang_up) {
        s->io_hang_up = false;
        return SESSION_HANG_UP;
    }
    if (s->io_dial) {
        s->io_dial = false;
        *ret_server = session_server(s);
        return SESSION_DIAL;
    }
    if (s->io_probe) {
        s->io_probe = false;
        *ret_server = s->order[s->probe_pos];
        return SESSION_PROBE;
    }
    return SESSION_NOTHING;
}
