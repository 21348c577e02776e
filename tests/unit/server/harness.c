/* harness.c - see harness.h. */
#include "harness.h"

#include <ctype.h>
#include <stdio.h>

void world_init(struct world *w)
{
    *w = (struct world){ .now = 1000, .wall = WALL0 };
    w->cfg = (struct core_config){ .server_id = 1,
                                   .tick_ms = 2000,
                                   .min_session_ms = 4000,
                                   .max_session_ms = 40000,
                                   .snap_count = 100000,
                                   .container_check_ms = 60000,
                                   .container_max_per_minute = 10000,
                                   .max_txn = 1 << 20,
                                   .seed = 7 };
    w->ids = auth_ids_new("127.0.0.1");
}

void world_start(struct world *w)
{
    w->opt = (struct tree_options){ .extended_types = w->cfg.extended_types, .no_digest = w->cfg.no_digest,
                                      .skip_acl = w->cfg.skip_acl };
    w->tree = tree_new(&w->opt);
    w->core = core_new(&w->cfg, w->tree, w->now, w->wall);
    w->session = world_connect(w, 1, 30000);
}

void world_done(struct world *w)
{
    assert_int_equal(core_digest_mismatches(w->core), 0);
    tree_check(w->tree);
    core_free(w->core);
    tree_free(w->tree);
    auth_ids_unref(w->ids);
    for (size_t i = 0; i < w->log.len; i++)
        free((void *)(uintptr_t)w->log.items[i].p);
    VEC_FREE(&w->log);
    VEC_FREE(&w->got);
    arena_free(&w->arena);
}

static void keep_reply(struct world *w, struct got *g, const struct core_effect *e)
{
    struct reply_header h;
    g->bytes = buf_of(arena_memdup(&w->arena, e->bytes.p, e->bytes.n), e->bytes.n);
    g->body = rd_buf(g->bytes);
    assert_int_equal(rd_u32(&g->body), e->bytes.n - 4);
    reply_header_read(&g->body, NULL, &h);
    assert_int_equal(g->body.rc, 0);
    assert_int_equal(h.zxid, e->zxid);
    assert_int_equal(h.err, e->err);
    g->xid = h.xid;
}

void world_pump(struct world *w)
{
    const struct core_effect *e;
    size_t n = core_effects(w->core, &e);
    for (size_t i = 0; i < n; i++, e++) {
        struct got g = { .type = e->type, .conn = e->conn, .zxid = e->zxid, .session_id = e->session_id,
                         .err = e->err, .op = e->op, .timeout_ms = e->timeout_ms };
        memcpy(g.passwd, e->passwd, sizeof(g.passwd));
        if (e->type == CORE_APPEND) {
            assert_int_equal(e->zxid, w->appended + 1); /* no gap, no repetition */
            w->appended = e->zxid;
            VEC_PUSH(&w->log, buf_of(x_memdup(e->bytes.p, e->bytes.n), e->bytes.n));
        }
        if (e->type == CORE_REPLY)
            keep_reply(w, &g, e);
        VEC_PUSH(&w->got, g);
    }
    core_effects_clear(w->core);
}

void world_flush(struct world *w)
{
    world_pump(w);
    core_persisted(w->core, w->appended);
    core_apply(w->core, 0);
    world_pump(w);
}

void world_tick(struct world *w, int64_t ms)
{
    while (ms > 1000) { /* at least every core_next_wake; what is late for that is world_stall */
        world_stall(w, 1000);
        ms -= 1000;
    }
    world_stall(w, ms);
}

void world_stall(struct world *w, int64_t ms)
{
    w->now += ms;
    w->wall += ms;
    core_tick(w->core, w->now, w->wall);
}

int64_t world_connect(struct world *w, uint64_t conn, int32_t timeout_ms)
{
    core_connect(w->core, conn, 0, buf_of("", 0), timeout_ms);
    world_flush(w);
    const struct got *g = &w->got.items[w->got.len - 1];
    assert_int_equal(g->type, CORE_SESSION_READY);
    assert_int_equal(g->conn, conn);
    assert_int_not_equal(g->session_id, 0);
    return g->session_id;
}

/* ---- text to requests ---- */

struct words {
    struct world *w;
    const char *p;
};

static bool word_peek_end(struct words *ws)
{
    while (*ws->p == ' ')
        ws->p++;
    return *ws->p == 0 || *ws->p == ';';
}

static struct jstr word(struct words *ws)
{
    assert_false(word_peek_end(ws));
    const char *start = ws->p;
    while (*ws->p && *ws->p != ' ')
        ws->p++;
    size_t n = (size_t)(ws->p - start), out = 0;
    if (n == 1 && *start == '~')
        return (struct jstr){ NULL, 0 };
    if (n == 2 && memcmp(start, "''", 2) == 0)
        n = 0;
    char *copy = arena_alloc(&ws->w->arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (start[i] == '%' && sscanf(start + i + 1, "%2x", &byte) == 1) {
            copy[out++] = (char)byte;
            i += 2;
        } else {
            copy[out++] = start[i];
        }
    }
    copy[out] = 0;
    return jstr_n(copy, out);
}

static int64_t number(struct words *ws)
{
    return strtoll(word(ws).p, NULL, 10);
}

static struct jbuf data_word(struct words *ws)
{
    struct jstr s = word(ws);
    return (struct jbuf){ (const uint8_t *)s.p, s.n };
}

/* One "scheme:id:perms", "~" for a null scheme or id. */
static struct jacl acl_entry(struct world *w, char *text)
{
    char *last = strrchr(text, ':'), *first = strchr(text, ':');
    assert_true(first && last != first);
    struct jacl e = { .perms = atoi(last + 1) };
    *first = *last = 0;
    e.scheme = strcmp(text, "~") == 0 ? (struct jstr){ NULL, 0 } : jstr_of(text);
    e.id = strcmp(first + 1, "~") == 0 ? (struct jstr){ NULL, 0 } : jstr_of(first + 1);
    (void)w;
    return e;
}

static struct jacls acl_word(struct words *ws)
{
    struct jacls l = { NULL, 0 };
    const char *text = word_peek_end(ws) ? "open" : word(ws).p;
    if (!text || strcmp(text, "null") == 0)
        return (struct jacls){ NULL, -1 };
    if (strcmp(text, "none") == 0)
        return l;
    if (strcmp(text, "open") == 0)
        text = "world:anyone:31";
    l.v = arena_calloc(&ws->w->arena, strlen(text), sizeof(*l.v));
    char *copy = arena_strdup(&ws->w->arena, buf_str(text)), *save;
    for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save))
        l.v[l.n++] = acl_entry(ws->w, t);
    return l;
}

static int32_t encode_multi(struct words *ws, struct wr *out);

static int32_t encode_create(struct words *ws, struct wr *out, int32_t op)
{
    struct create_ttl_request q = { 0 };
    q.path = word(ws);
    q.data = data_word(ws);
    q.flags = (int32_t)number(ws);
    if (op == ZK_OP_CREATE_TTL)
        q.ttl = number(ws);
    q.acl = acl_word(ws);
    jute_write_str(out, q.path);
    jute_write_buf(out, q.data);
    jute_write_acls(out, q.acl);
    wr_i32(out, q.flags);
    if (op == ZK_OP_CREATE_TTL)
        wr_i64(out, q.ttl);
    return op;
}

static int32_t encode(struct words *ws, struct wr *out)
{
    static const struct {
        const char *name;
        int32_t op;
    } verbs[] = { { "create", ZK_OP_CREATE },       { "create2", ZK_OP_CREATE2 },
                  { "ttl", ZK_OP_CREATE_TTL },      { "container", ZK_OP_CREATE_CONTAINER },
                  { "delete", ZK_OP_DELETE },       { "set", ZK_OP_SET_DATA },
                  { "setacl", ZK_OP_SET_ACL },      { "check", ZK_OP_CHECK },
                  { "multi", ZK_OP_MULTI },         { "close", ZK_OP_CLOSE_SESSION },
                  { "reconfig", ZK_OP_RECONFIG },   { "getdata", ZK_OP_GET_DATA },
                  { "children", ZK_OP_GET_CHILDREN } };
    struct jstr verb = word(ws);
    int32_t op = 0;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (jstr_is(verb, verbs[i].name))
            op = verbs[i].op;
    switch (op) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_TTL:
    case ZK_OP_CREATE_CONTAINER:
        return encode_create(ws, out, op);
    case ZK_OP_DELETE:
    case ZK_OP_CHECK:
        jute_write_str(out, word(ws));
        wr_i32(out, (int32_t)number(ws));
        return op;
    case ZK_OP_SET_DATA:
        jute_write_str(out, word(ws));
        jute_write_buf(out, data_word(ws));
        wr_i32(out, (int32_t)number(ws));
        return op;
    case ZK_OP_SET_ACL:
        jute_write_str(out, word(ws));
        jute_write_acls(out, acl_word(ws));
        wr_i32(out, (int32_t)number(ws));
        return op;
    case ZK_OP_GET_DATA:
    case ZK_OP_GET_CHILDREN:
        jute_write_str(out, word(ws));
        wr_u8(out, 1);
        return op;
    case ZK_OP_MULTI:
        return encode_multi(ws, out);
    case ZK_OP_RECONFIG:
        reconfig_request_write(out, &(struct reconfig_request){ .cur_config_id = -1 });
        return op;
    case ZK_OP_CLOSE_SESSION:
        return op;
    }
    fail_msg("unknown verb %.*s", verb.n, verb.p);
    return 0;
}

static int32_t encode_multi(struct words *ws, struct wr *out)
{
    while (!word_peek_end(ws)) {
        size_t at = out->n;
        multi_header_write(out, &(struct multi_header){ .err = -1 });
        wr_patch_u32(out, at, (uint32_t)encode(ws, out));
        if (word_peek_end(ws) && *ws->p == ';')
            ws->p++;
    }
    jute_write_multi_end(out);
    return ZK_OP_MULTI;
}

struct buf request_body(struct world *w, const char *text, int32_t *op)
{
    struct words ws = { w, text };
    struct wr out = wr_init(0);
    *op = encode(&ws, &out);
    struct buf b = buf_of(arena_memdup(&w->arena, out.p, out.n), out.n);
    wr_free(&out);
    return b;
}

static int32_t submit_bytes(struct world *w, uint64_t conn, int64_t session, int32_t op, struct buf body)
{
    /* Exactly sized, so that a read past the end is seen by the sanitizer. */
    void *copy = x_memdup(body.p, body.n);
    struct core_request q = { .conn = conn, .session_id = session, .xid = ++w->xid, .op = op,
                              .body = buf_of(copy, body.n), .ids = w->ids };
    core_submit(w->core, &q);
    free(copy);
    return w->xid;
}

int32_t submit_on(struct world *w, uint64_t conn, int64_t session, const char *text)
{
    int32_t op;
    struct buf body = request_body(w, text, &op);
    return submit_bytes(w, conn, session, op, body);
}

int32_t submit(struct world *w, const char *text)
{
    return submit_on(w, 1, w->session, text);
}

int32_t submit_raw(struct world *w, int32_t op, struct buf body)
{
    return submit_bytes(w, 1, w->session, op, body);
}

const struct got *reply_of(const struct world *w, int32_t xid)
{
    const struct got *found = NULL;
    for (size_t i = 0; i < w->got.len; i++)
        if (w->got.items[i].type == CORE_REPLY && w->got.items[i].xid == xid) {
            assert_null(found); /* exactly one */
            found = &w->got.items[i];
        }
    return found;
}

const struct got *call(struct world *w, const char *text)
{
    int32_t xid = submit(w, text);
    world_flush(w);
    const struct got *g = reply_of(w, xid);
    assert_non_null(g);
    return g;
}

int32_t call_err(struct world *w, const char *text)
{
    return call(w, text)->err;
}

size_t count_got(const struct world *w, enum core_effect_type type, uint64_t conn)
{
    size_t n = 0;
    for (size_t i = 0; i < w->got.len; i++)
        n += w->got.items[i].type == type && w->got.items[i].conn == conn;
    return n;
}

bool exists(const struct world *w, const char *path)
{
    return tree_find(w->tree, jstr_of(path)) != NULL;
}

/* ---- the log as the truth ---- */

static void replay_one(struct tree *t, struct buf txn, struct arena *a)
{
    struct txn_header h;
    struct tree_result res;
    struct rd r = rd_buf(txn);
    txn_header_read(&r, a, &h);
    struct buf body = buf_of(r.p, rd_left(&r));
    size_t len;
    assert_int_equal(tree_txn_body_len(&h, body, a, &len), 0);
    assert_int_equal(tree_apply(t, &h, buf_of(body.p, len), a, &res), 0);
    assert_int_equal(tree_last_zxid(t), h.zxid);
    if (len == body.n) { /* no digest: an error, unless digests are off */
        return;
    }
    assert_int_equal(body.n - len, 12);
    assert_int_not_equal(h.type, ZK_OP_ERROR);
    struct rd d = rd_init(body.p + len, 12);
    assert_int_equal(rd_i32(&d), 2);
    assert_true(rd_u64(&d) == tree_digest(t));
}

struct tree *replay(const struct world *w)
{
    struct tree *t = tree_new(&w->opt);
    struct arena a = arena_init();
    for (size_t i = 0; i < w->log.len; i++) {
        replay_one(t, w->log.items[i], &a);
        arena_reset(&a);
    }
    arena_free(&a);
    return t;
}

static void session_matches(void *data, int64_t id, int32_t timeout_ms)
{
    assert_int_equal(tree_session_timeout(data, id), timeout_ms);
}

void assert_same_tree(const struct tree *a, const struct tree *b)
{
    struct tree_stats x, y;
    tree_check(a);
    tree_check(b);
    tree_stats(a, &x);
    tree_stats(b, &y);
    assert_memory_equal(&x, &y, sizeof(x));
    assert_true(tree_digest(a) == tree_digest(b));
    assert_int_equal(tree_last_zxid(a), tree_last_zxid(b));
    assert_int_equal(tree_session_count(a), tree_session_count(b));
    tree_each_session(a, session_matches, (void *)(uintptr_t)b);
}

struct buf hex(struct world *w, const char *text)
{
    uint8_t *p = arena_alloc(&w->arena, strlen(text) / 2 + 1);
    size_t digits = 0;
    for (; *text; text++) {
        if (!isxdigit((unsigned char)*text))
            continue;
        int v = isdigit((unsigned char)*text) ? *text - '0' : tolower(*text) - 'a' + 10;
        if (digits % 2 == 0)
            p[digits / 2] = (uint8_t)(v << 4);
        else
            p[digits / 2] |= (uint8_t)v;
        digits++;
    }
    return buf_of(p, digits / 2);
}

void assert_hex(struct world *w, struct buf got, const char *expected)
{
    struct buf e = hex(w, expected);
    assert_int_equal(got.n, e.n);
    assert_memory_equal(got.p, e.p, e.n);
}
