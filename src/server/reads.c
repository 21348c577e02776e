/* reads.c - everything that a net thread answers by itself, under the tree's read lock.
 *
 * One handler per opcode; each appends its reply's body and returns the error, and the frame around it is made once.
 * A handler that fails may leave bytes behind: they are cut.
 * Source: FinalRequestProcessor (3.9). */
#include "core_internal.h"

#include <limits.h>

enum { MULTI_READ_MAX = 32 << 20 }; /* bytes of the reply to a multiRead; one step may go beyond */

struct read_request {
    const struct read_context *ctx;
    struct rd *r;
    struct arena *a;
    struct wr *w;      /* the reply's body goes here */
    struct wr *events; /* catch-up events of setWatches go before the reply */
    struct jstr path;
    bool watch;
};

/* Decodes (path, watch); a null path, which the reference follows into an exception, is refused. */
static int32_t take_path_watch(struct read_request *q)
{
    struct path_watch v;
    path_watch_read(q->r, q->a, &v);
    q->path = v.path;
    q->watch = v.watch;
    return q->r->rc != 0 || !v.path.p ? ZK_MARSHALLINGERROR : ZK_OK;
}

static int32_t take_path(struct read_request *q)
{
    struct path_only v;
    path_only_read(q->r, q->a, &v);
    q->path = v.path;
    return q->r->rc != 0 || !v.path.p ? ZK_MARSHALLINGERROR : ZK_OK;
}

static void watch_if_asked(const struct read_request *q, enum watch_kind kind)
{
    if (q->watch)
        watch_add(q->ctx->watches, q->ctx->watcher, q->path, kind, WATCH_STANDARD);
}

static int32_t read_exists(struct read_request *q)
{
    struct zk_stat stat;
    int32_t err = take_path_watch(q);
    if (err)
        return err;
    if (memchr(q->path.p, 0, (size_t)q->path.n))
        return ZK_BADARGUMENTS;
    err = tree_exists(q->ctx->tree, q->path, q->ctx->ids, q->ctx->skip_acl, &stat);
    if (err == ZK_OK || err == ZK_NONODE)
        watch_if_asked(q, WATCH_DATA);
    if (err == ZK_OK)
        zk_stat_write(q->w, &stat);
    return err;
}

static int32_t get_data(struct read_request *q)
{
    struct zk_stat stat;
    struct jbuf data;
    int32_t err = tree_get_data(q->ctx->tree, q->path, q->ctx->ids, q->ctx->skip_acl, &data, &stat);
    if (err)
        return err;
    jute_write_buf(q->w, data);
    zk_stat_write(q->w, &stat);
    return ZK_OK;
}

static int32_t read_get_data(struct read_request *q)
{
    int32_t err = take_path_watch(q);
    if (!err && !(err = get_data(q)))
        watch_if_asked(q, WATCH_DATA);
    return err;
}

static int32_t read_get_acl(struct read_request *q)
{
    struct zk_stat stat;
    int32_t err = take_path(q);
    if (!err && !(err = tree_get_acl(q->ctx->tree, q->path, q->ctx->ids, q->ctx->skip_acl, q->w, &stat)))
        zk_stat_write(q->w, &stat);
    return err;
}

static int32_t get_children(struct read_request *q, struct zk_stat *stat)
{
    return tree_get_children(q->ctx->tree, q->path, q->ctx->ids, q->ctx->skip_acl, q->w, stat);
}

static int32_t read_get_children(struct read_request *q)
{
    struct zk_stat stat;
    int32_t err = take_path_watch(q);
    if (!err && !(err = get_children(q, &stat)))
        watch_if_asked(q, WATCH_CHILD);
    return err;
}

static int32_t read_get_children2(struct read_request *q)
{
    struct zk_stat stat;
    int32_t err = take_path_watch(q);
    if (!err && !(err = get_children(q, &stat))) {
        watch_if_asked(q, WATCH_CHILD);
        zk_stat_write(q->w, &stat);
    }
    return err;
}

/* Nothing to wait for: the caller runs it behind the session's own writes, and one server is always up to date. */
static int32_t read_sync(struct read_request *q)
{
    int32_t err = take_path(q);
    if (!err)
        jute_write_str(q->w, q->path);
    return err;
}

static int32_t take_watcher_type(struct read_request *q, enum zk_watcher_type *type)
{
    struct path_type v;
    path_type_read(q->r, q->a, &v);
    q->path = v.path;
    if (q->r->rc != 0 || !v.path.p || v.type < ZK_WATCHER_CHILDREN || v.type > ZK_WATCHER_PERSISTENT_RECURSIVE)
        return ZK_MARSHALLINGERROR;
    *type = (enum zk_watcher_type)v.type;
    return ZK_OK;
}

static int32_t read_check_watches(struct read_request *q)
{
    enum zk_watcher_type type;
    int32_t err = take_watcher_type(q, &type);
    if (err)
        return err;
    return watch_has(q->ctx->watches, q->ctx->watcher, q->path, type) ? ZK_OK : ZK_NOWATCHER;
}

static int32_t read_remove_watches(struct read_request *q)
{
    enum zk_watcher_type type;
    int32_t err = take_watcher_type(q, &type);
    if (err)
        return err;
    return watch_remove(q->ctx->watches, q->ctx->watcher, q->path, type) ? ZK_OK : ZK_NOWATCHER;
}

static int32_t read_add_watch(struct read_request *q)
{
    struct path_type v;
    path_type_read(q->r, q->a, &v);
    if (q->r->rc != 0 || !v.path.p ||
        (v.type != ZK_WATCH_PERSISTENT && v.type != ZK_WATCH_PERSISTENT_RECURSIVE))
        return ZK_MARSHALLINGERROR;
    watch_add_persistent(q->ctx->watches, q->ctx->watcher, v.path, (enum zk_add_watch_mode)v.type);
    wr_i32(q->w, ZK_OK); /* an ErrorResponse, of all things */
    return ZK_OK;
}

static void catch_up(void *data, enum zk_event_type type, struct jstr path)
{
    event_encode(data, type, path, -1);
}

static bool has_null(struct jstrs l)
{
    for (int32_t i = 0; i < l.n; i++)
        if (!l.v[i].p)
            return true;
    return false;
}

static int32_t set_watches(struct read_request *q, const struct set_watches2 *v)
{
    if (q->r->rc != 0 || has_null(v->data) || has_null(v->exist) || has_null(v->child) ||
        has_null(v->persistent) || has_null(v->recursive))
        return ZK_MARSHALLINGERROR;
    tree_set_watches(q->ctx->tree, q->ctx->watches, q->ctx->watcher, v, catch_up, q->events);
    return ZK_OK;
}

static int32_t read_set_watches(struct read_request *q)
{
    struct set_watches v;
    set_watches_read(q->r, q->a, &v);
    return set_watches(q, &(struct set_watches2){ .relative_zxid = v.relative_zxid,
                                                  .data = v.data,
                                                  .exist = v.exist,
                                                  .child = v.child });
}

static int32_t read_set_watches2(struct read_request *q)
{
    struct set_watches2 v;
    set_watches2_read(q->r, q->a, &v);
    return set_watches(q, &v);
}

static int32_t read_get_ephemerals(struct read_request *q)
{
    struct path_only v;
    path_only_read(q->r, q->a, &v);
    if (q->r->rc != 0)
        return ZK_MARSHALLINGERROR;
    tree_get_ephemerals(q->ctx->tree, q->ctx->session_id, v.path, q->w); /* a null prefix means all */
    return ZK_OK;
}

static int32_t read_count_descendants(struct read_request *q)
{
    int32_t count, err = take_path(q);
    if (!err && !(err = tree_count_descendants(q->ctx->tree, q->path, q->ctx->ids, q->ctx->skip_acl, &count)))
        wr_i32(q->w, count);
    return err;
}

void who_am_i_encode(struct wr *w, const struct auth_ids *ids)
{
    wr_i32(w, ids ? ids->n : 0);
    for (int32_t i = 0; ids && i < ids->n; i++) {
        const char *scheme = ids->v[i].scheme, *id = ids->v[i].id;
        size_t n = strlen(id);
        if (strcmp(scheme, "digest") == 0)
            n = strcspn(id, ":"); /* the user, not the password's hash */
        else if (strcmp(scheme, "super") == 0)
            n = 0;
        jute_write_str(w, jstr_of(scheme));
        jute_write_str(w, jstr_n(id, n));
    }
}

static int32_t read_who_am_i(struct read_request *q)
{
    who_am_i_encode(q->w, q->ctx->ids);
    return ZK_OK;
}

static int32_t multi_read_step(struct read_request *q, int32_t type)
{
    struct zk_stat stat;
    size_t at = q->w->n;
    multi_header_write(q->w, &(struct multi_header){ .type = type });
    int32_t err = type == ZK_OP_GET_DATA ? get_data(q) : get_children(q, &stat);
    if (err) {
        q->w->n = at;
        multi_header_write(q->w, &(struct multi_header){ .type = ZK_OP_ERROR, .err = err });
        wr_i32(q->w, err);
    }
    return err;
}

/* Each step stands for itself; none leaves a watch, whatever it asks for. One request could ask for tens of gigabytes (the reference runs
 * out of memory): beyond a bound it is refused. */
static int32_t read_multi(struct read_request *q)
{
    size_t start = q->w->n;
    for (;;) {
        struct multi_header mh;
        multi_header_read(q->r, q->a, &mh);
        if (q->r->rc != 0)
            return ZK_MARSHALLINGERROR;
        if (mh.done)
            break;
        if ((mh.type != ZK_OP_GET_DATA && mh.type != ZK_OP_GET_CHILDREN) || take_path_watch(q))
            return ZK_MARSHALLINGERROR;
        (void)multi_read_step(q, mh.type); /* its error is in its result */
        if (q->w->n - start > MULTI_READ_MAX)
            return ZK_MARSHALLINGERROR;
    }
    jute_write_multi_end(q->w);
    return ZK_OK;
}

typedef int32_t (*read_fn)(struct read_request *q);

static read_fn read_handler(int32_t op)
{
    static const read_fn low[] = {
        [ZK_OP_EXISTS] = read_exists,
        [ZK_OP_GET_DATA] = read_get_data,
        [ZK_OP_GET_ACL] = read_get_acl,
        [ZK_OP_GET_CHILDREN] = read_get_children,
        [ZK_OP_SYNC] = read_sync,
        [ZK_OP_GET_CHILDREN2] = read_get_children2,
        [ZK_OP_CHECK_WATCHES] = read_check_watches,
        [ZK_OP_REMOVE_WATCHES] = read_remove_watches,
        [ZK_OP_MULTI_READ] = read_multi,
    };
    static const read_fn high[] = { /* from 100 on */
        [ZK_OP_SET_WATCHES - 100] = read_set_watches,
        [ZK_OP_GET_EPHEMERALS - 100] = read_get_ephemerals,
        [ZK_OP_GET_ALL_CHILDREN_NUMBER - 100] = read_count_descendants,
        [ZK_OP_SET_WATCHES2 - 100] = read_set_watches2,
        [ZK_OP_ADD_WATCH - 100] = read_add_watch,
        [ZK_OP_WHO_AM_I - 100] = read_who_am_i,
    };
    if (op >= 0 && (size_t)op < ARRAY_LEN(low))
        return low[op];
    return op >= 100 && (size_t)op - 100 < ARRAY_LEN(high) ? high[op - 100] : NULL;
}

static bool is_set_watches(int32_t op)
{
    return op == ZK_OP_SET_WATCHES || op == ZK_OP_SET_WATCHES2;
}

int32_t read_execute(const struct read_context *ctx, int32_t xid, int32_t op, struct buf body, struct arena *a,
                     struct wr *w)
{
    read_fn handler = read_handler(op);
    if (!handler) {
        reply_header_encode(w, xid, -1, ZK_UNIMPLEMENTED);
        return 1;
    }
    struct rd r = rd_init(body.p ? body.p : (const uint8_t *)"", body.n);
    struct read_request q = { .ctx = ctx, .r = &r, .a = a, .w = w, .events = w };
    int64_t zxid = tree_last_zxid(ctx->tree);
    if (is_set_watches(op)) { /* events come first, and the reply has no body */
        int32_t err = handler(&q);
        reply_header_encode(w, xid, zxid, err);
        return err;
    }
    size_t at = jute_frame_begin(w), header_at = w->n;
    reply_header_write(w, &(struct reply_header){ .xid = xid, .zxid = zxid });
    size_t body_at = w->n;
    int32_t err = handler(&q);
    if (err && w->rc == 0) {
        w->n = body_at;
        wr_patch_u32(w, header_at + 12, (uint32_t)err);
    }
    if (w->rc == 0)
        jute_frame_end(w, at);
    return err;
}
