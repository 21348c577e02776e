/* fake.h - a client without sockets, and the server that the test plays, as bytes.
 *
 * Requests are taken out of the session's output one frame at a time; replies and events are put in. Time is a number. */
#ifndef TESTS_CLIENT_FAKE_H
#define TESTS_CLIENT_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "client.h"

struct fake {
    quoll_client *c;
    struct session *s;
    int64_t now;
    struct wr told;   /* what callbacks reported, as text */
    struct arena arena;
    uint8_t *frames;  /* client -> server, not yet looked at */
    size_t frames_len;
    struct request_header h; /* of the last request taken */
    struct rd body;
    uint8_t *current;
    int64_t zxid;
};

static struct fake F;

__attribute__((unused)) static void tell(const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    wr_printf(&F.told, "%s ", text);
}

/* What was told since the last call. */
static const char *told(void)
{
    static char text[65536];
    snprintf(text, sizeof(text), "%s", wr_cstr(&F.told));
    wr_reset(&F.told);
    return text;
}

static void fake_state(quoll_client *c, enum quoll_state state, void *data)
{
    static const char *const names[] = { "connecting", "connected", "read-only", "expired", "auth-failed", "closed" };
    tell("%s", names[state]);
}

__attribute__((unused)) static void fake_done(quoll_client *c, const struct quoll_result *res, void *data)
{
    tell("%s=%d", (const char *)data, res->err);
}

__attribute__((unused)) static void fake_watch(quoll_client *c, const struct quoll_event *ev, void *data)
{
    if (ev->type == QUOLL_EVENT_SESSION)
        tell("%s:session%d", (const char *)data, (int)ev->state);
    else
        tell("%s:%d%s", (const char *)data, (int)ev->type, ev->path);
}

static void fake_open(struct quoll_options opt)
{
    F = (struct fake){ .now = 1000, .zxid = 100 };
    opt.on_state = fake_state;
    opt.no_shuffle = true;
    if (!opt.session_timeout_ms)
        opt.session_timeout_ms = 9000;
    assert_int_equal(client_new(&opt, 42, F.now, &F.c, NULL), 0);
    F.s = &F.c->session;
}

static void take_output(void)
{
    F.frames = x_realloc(F.frames, F.frames_len + F.s->out.n);
    memcpy(F.frames + F.frames_len, F.s->out.p, F.s->out.n);
    F.frames_len += F.s->out.n;
    wr_reset(&F.s->out);
}

static void tick(void)
{
    session_tick(F.s, F.now);
}

/* Lets time pass as the shell's timer would: every due moment is one tick. */
__attribute__((unused)) static void pass(int64_t ms)
{
    int64_t until = F.now + ms;
    for (int64_t at; (at = session_wake_ms(F.s)) <= until; tick()) {
        F.now = MAX(F.now, at);
        if (F.s->finished)
            break;
    }
    F.now = until;
    tick();
}

/* The next thing that the session asks its shell for. */
static enum session_io ask_io(size_t *server)
{
    tick();
    return session_poll(F.s, server);
}

static void expect_dial(size_t want)
{
    size_t server = 99;
    enum session_io io;
    for (int i = 0; (io = ask_io(&server)) != SESSION_DIAL; i++) {
        assert_true(i < 20);
        if (io == SESSION_HANG_UP)
            F.frames_len = 0;
        else
            F.now = MAX(F.now, session_wake_ms(F.s));
    }
    assert_int_equal(server, want);
}

static bool next_frame(void)
{
    take_output();
    if (F.frames_len < 4)
        return false;
    uint32_t n = load_u32(F.frames);
    assert_true(F.frames_len - 4 >= n); /* the client writes whole frames */
    free(F.current);
    F.current = x_memdup(F.frames + 4, n);
    F.frames_len -= n + 4;
    memmove(F.frames, F.frames + n + 4, F.frames_len);
    F.body = rd_init(F.current, n);
    return true;
}

/* The next request must have this opcode; F.h and F.body hold it. */
static void expect_op(int32_t op)
{
    assert_true(next_frame());
    request_header_read(&F.body, &F.arena, &F.h);
    assert_string_equal(zk_op_name(F.h.type), zk_op_name(op));
}

/* ... for this path. */
__attribute__((unused)) static void expect_path(int32_t op, const char *path)
{
    expect_op(op);
    struct jstr p = jute_read_str(&F.body);
    assert_true(jstr_is(p, path));
}

__attribute__((unused)) static void expect_silence(void)
{
    assert_false(next_frame());
}

static void put(const struct wr *w)
{
    session_input(F.s, w->p, w->n, F.now);
}

/* Handshake: answers the ConnectRequest, which must name this session. */
static void answer_connect(int64_t want_id, int64_t id, int32_t timeout_ms, bool read_only)
{
    session_connected(F.s, F.now);
    assert_true(next_frame());
    struct connect_request req;
    connect_request_read(&F.body, &F.arena, &req);
    assert_int_equal(F.body.rc, 0);
    assert_int_equal(req.session_id, want_id);
    static const uint8_t passwd[16] = "0123456789abcdef", none[16];
    assert_memory_equal(req.passwd.p, want_id ? passwd : none, 16);
    struct connect_response res = { 0, timeout_ms, id, { id ? passwd : none, 16 } };
    struct wr w = wr_init(0);
    size_t at = jute_frame_begin(&w);
    connect_response_write(&w, &res);
    wr_u8(&w, read_only);
    jute_frame_end(&w, at);
    put(&w);
    wr_free(&w);
}

__attribute__((unused)) static void fake_up(void)
{
    expect_dial(0);
    answer_connect(0, 7, 9000, false);
    assert_string_equal(told(), "connected ");
}

struct reply {
    struct wr w;
    size_t at;
};

static struct reply reply_begin(int32_t xid, int64_t zxid, int32_t err)
{
    struct reply r = { .w = wr_init(0) };
    r.at = jute_frame_begin(&r.w);
    reply_header_write(&r.w, &(struct reply_header){ xid, zxid, err });
    return r;
}

static void reply_end(struct reply *r)
{
    jute_frame_end(&r->w, r->at);
    put(&r->w);
    wr_free(&r->w);
}

/* Answers the request in F.h with a header alone. */
static void answer(int32_t err)
{
    struct reply r = reply_begin(F.h.xid, F.zxid, err);
    reply_end(&r);
}

__attribute__((unused)) static void answer_data(const char *data, const struct zk_stat *st)
{
    struct reply r = reply_begin(F.h.xid, F.zxid, 0);
    data_stat_write(&r.w, &(struct data_stat){ { (const uint8_t *)data, (int32_t)strlen(data) }, *st });
    reply_end(&r);
}

__attribute__((unused)) static void answer_stat(const struct zk_stat *st)
{
    struct reply r = reply_begin(F.h.xid, F.zxid, 0);
    zk_stat_write(&r.w, st);
    reply_end(&r);
}

/* names: separated by blanks. */
__attribute__((unused)) static void answer_children(const char *names, const struct zk_stat *st)
{
    char copy[1024];
    snprintf(copy, sizeof(copy), "%s", names);
    struct jstr v[64];
    struct jstrs l = { v, 0 };
    for (char *save, *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save))
        v[l.n++] = jstr_of(s);
    struct reply r = reply_begin(F.h.xid, F.zxid, 0);
    children_stat_write(&r.w, &(struct children_stat){ l, *st });
    reply_end(&r);
}

__attribute__((unused)) static void event(int32_t type, const char *path)
{
    struct reply r = reply_begin(ZK_XID_EVENT, -1, 0);
    watcher_event_write(&r.w, &(struct watcher_event){ type, ZK_STATE_CONNECTED, jstr_of(path) });
    reply_end(&r);
}

__attribute__((unused)) static void cut(void)
{
    session_disconnected(F.s, "cut", F.now);
    F.frames_len = 0;
    wr_reset(&F.s->out);
}

static void fake_close(void)
{
    session_close(F.s, true, F.now);
    tick();
    assert_true(session_finished(F.s));
    client_free(F.c);
    wr_free(&F.told);
    arena_free(&F.arena);
    free(F.frames);
    free(F.current);
}

#endif
