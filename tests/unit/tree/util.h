/* util.h - makes transactions and applies them. */
#ifndef TEST_TREE_UTIL_H
#define TEST_TREE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tree/tree.h"

#define NO_CVERSION INT32_MIN

static struct jacl util_open_entry = { ZK_PERM_ALL, { "world", 5 }, { "anyone", 6 } };
static const struct jacls util_open = { &util_open_entry, 1 };

/* One transaction under construction. */
struct txn {
    struct txn_header h;
    struct wr body;
};

static inline struct jbuf util_data(const char *text)
{
    return (struct jbuf){ (const uint8_t *)text, text ? (int32_t)strlen(text) : 0 };
}

static inline void util_write_create(struct wr *w, int32_t type, struct jstr path, struct jbuf data, struct jacls acl,
                                     bool ephemeral, int32_t cversion, int64_t ttl)
{
    jute_write_str(w, path);
    jute_write_buf(w, data);
    jute_write_acls(w, acl);
    if (type == ZK_OP_CREATE || type == ZK_OP_CREATE2)
        wr_u8(w, ephemeral);
    if (cversion != NO_CVERSION)
        wr_i32(w, cversion);
    if (type == ZK_OP_CREATE_TTL)
        wr_i64(w, ttl);
}

static inline int32_t util_apply(struct tree *t, struct txn *x, struct arena *a, struct tree_result *ret)
{
    assert_int_equal(x->body.rc, 0);
    assert_int_equal(tree_apply(t, &x->h, buf_of(x->body.p, x->body.n), a, ret), 0);
    return ret->err;
}

/* Applies and forgets the rest of the result. */
static inline int32_t util_run(struct tree *t, struct txn *x)
{
    struct arena a = arena_init();
    struct tree_result r;
    int32_t err = util_apply(t, x, &a, &r);
    arena_free(&a);
    wr_free(&x->body);
    return err;
}

static inline struct txn_header util_header(int64_t zxid, int32_t type, int64_t session)
{
    return (struct txn_header){ .client_id = session, .cxid = 1, .zxid = zxid, .time_ms = 1700000000000 + zxid, .type = type };
}

static inline int32_t util_create(struct tree *t, int64_t zxid, const char *path, const char *data, int64_t session)
{
    struct txn x = { .h = util_header(zxid, ZK_OP_CREATE, session) };
    util_write_create(&x.body, ZK_OP_CREATE, jstr_of(path), util_data(data), util_open, session != 0, -1, 0);
    return util_run(t, &x);
}

static inline int32_t util_create_as(struct tree *t, int64_t zxid, int32_t type, const char *path, const char *data, struct jacls acl,
                                     int64_t session, int32_t cversion, int64_t ttl)
{
    struct txn x = { .h = util_header(zxid, type, session) };
    util_write_create(&x.body, type, jstr_of(path), util_data(data), acl, session != 0, cversion, ttl);
    return util_run(t, &x);
}

static inline int32_t util_delete(struct tree *t, int64_t zxid, const char *path)
{
    struct txn x = { .h = util_header(zxid, ZK_OP_DELETE, 0) };
    jute_write_str(&x.body, jstr_of(path));
    return util_run(t, &x);
}

static inline int32_t util_set(struct tree *t, int64_t zxid, const char *path, const char *data, int32_t version)
{
    struct txn x = { .h = util_header(zxid, ZK_OP_SET_DATA, 0) };
    jute_write_str(&x.body, jstr_of(path));
    jute_write_buf(&x.body, util_data(data));
    wr_i32(&x.body, version);
    return util_run(t, &x);
}

static inline int32_t util_set_acl(struct tree *t, int64_t zxid, const char *path, struct jacls acl, int32_t version)
{
    struct txn x = { .h = util_header(zxid, ZK_OP_SET_ACL, 0) };
    jute_write_str(&x.body, jstr_of(path));
    jute_write_acls(&x.body, acl);
    wr_i32(&x.body, version);
    return util_run(t, &x);
}

static inline int32_t util_session(struct tree *t, int64_t zxid, int64_t id, int32_t timeout_ms)
{
    struct txn x = { .h = util_header(zxid, ZK_OP_CREATE_SESSION, id) };
    wr_i32(&x.body, timeout_ms);
    return util_run(t, &x);
}

static inline struct zk_stat util_stat(const struct tree *t, const char *path)
{
    const struct znode *n = tree_find(t, jstr_of(path));
    struct zk_stat s;
    assert_non_null(n);
    znode_stat(t, n, &s);
    return s;
}

/* Copies a tree the way a snapshot does: walk out, load in. */
static inline void util_load_acl(void *data, int64_t id, struct jacls acl)
{
    tree_load_acl(data, id, acl);
}
static inline void util_load_session(void *data, int64_t id, int32_t timeout_ms)
{
    tree_load_session(data, id, timeout_ms);
}

#endif
