/* replies.c - what is sent to clients: reply headers, events, the bodies of writes.
 * A reply with an error has no body, except that of a multi, whose header never shows one.
 * Source: FinalRequestProcessor, MultiResponse (3.9). */
#include "core_internal.h"

void reply_header_encode(struct wr *w, int32_t xid, int64_t zxid, int32_t err)
{
    size_t at = jute_frame_begin(w);
    reply_header_write(w, &(struct reply_header){ .xid = xid, .zxid = zxid, .err = err });
    jute_frame_end(w, at);
}

void event_encode(struct wr *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    size_t at = jute_frame_begin(w);
    reply_header_write(w, &(struct reply_header){ .xid = ZK_XID_EVENT, .zxid = zxid });
    watcher_event_write(w, &(struct watcher_event){ .type = type, .state = ZK_STATE_CONNECTED, .path = path });
    jute_frame_end(w, at);
}

static void step_write_failed(struct wr *w, int32_t err)
{
    multi_header_write(w, &(struct multi_header){ .type = ZK_OP_ERROR, .err = err });
    wr_i32(w, err);
}

static void step_write(struct wr *w, const struct tree_result *res, bool create2)
{
    bool with_stat = create2 || res->type == ZK_OP_CREATE2 || res->type == ZK_OP_CREATE_TTL ||
                     res->type == ZK_OP_CREATE_CONTAINER;
    multi_header_write(w, &(struct multi_header){ .type = with_stat ? (int32_t)ZK_OP_CREATE2 : res->type });
    if (with_stat || res->type == ZK_OP_CREATE)
        jute_write_str(w, res->path);
    if (with_stat || res->type == ZK_OP_SET_DATA)
        zk_stat_write(w, &res->stat);
}

static void multi_write(struct wr *w, const struct pending *p, const struct tree_result *res)
{
    for (int32_t i = 0; i < res->sub_count; i++) { /* the leader's steps: nothing says that they are as many as were asked for */
        if (res->err != 0)
            step_write_failed(w, res->sub[i].err);
        else
            step_write(w, &res->sub[i], (size_t)i < p->create2.len && p->create2.p[i]);
    }
    jute_write_multi_end(w);
}

void reply_write(struct wr *w, const struct pending *p, const struct tree_result *res, struct jbuf data)
{
    size_t at = jute_frame_begin(w);
    reply_header_write(w, &(struct reply_header){ .xid = p->xid, .zxid = p->zxid, .err = p->err });
    switch (p->err != 0 && p->txn_type != ZK_OP_MULTI ? (int32_t)ZK_OP_ERROR : p->txn_type) {
    case ZK_OP_MULTI:
        multi_write(w, p, res);
        break;
    case ZK_OP_CREATE:
        jute_write_str(w, res->path);
        break;
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_TTL:
    case ZK_OP_CREATE_CONTAINER:
        jute_write_str(w, res->path);
        zk_stat_write(w, &res->stat);
        break;
    case ZK_OP_SET_DATA:
    case ZK_OP_SET_ACL:
        zk_stat_write(w, &res->stat);
        break;
    case ZK_OP_RECONFIG:
        jute_write_buf(w, data);
        zk_stat_write(w, &res->stat);
        break;
    default: /* delete, closeSession, errors: the header says it all */
        break;
    }
    jute_frame_end(w, at);
}
