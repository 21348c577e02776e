/* clientwire.c - see clientwire.h. */
#include "server/clientwire.h"

int64_t frame_next(const uint8_t *p, size_t n, uint32_t max, struct buf *ret)
{
    if (n < 4)
        return 0;
    uint32_t len = load_u32(p);

    if (len > max) /* negative ones included */
        return RC_TOOBIG;
    if (n - 4 < len)
        return 0;
    *ret = (struct buf){ p + 4, len };
    return (int64_t)len + 4;
}

int client_connect_read(struct buf frame, struct arena *a, struct connect_request *ret, bool *ret_old_client)
{
    struct rd r = rd_buf(frame);

    connect_request_read(&r, a, ret);
    *ret_old_client = rd_left(&r) == 0;
    return r.rc;
}

bool client_connect_takes_read_only(struct buf frame, struct arena *a)
{
    struct connect_request req;
    struct rd r = rd_buf(frame);

    connect_request_read(&r, a, &req);
    return r.rc == 0 && rd_left(&r) > 0 && rd_u8(&r) != 0; /* the readOnly byte came with 3.4 */
}

static void connect_answer(struct wr *w, int32_t timeout_ms, int64_t session_id, const uint8_t *passwd, bool with_byte, bool read_only)
{
    size_t frame = jute_frame_begin(w);

    connect_response_write(w, &(struct connect_response){ 0, timeout_ms, session_id, { passwd, ZK_PASSWORD_LEN } });
    if (with_byte)
        wr_u8(w, read_only);
    jute_frame_end(w, frame);
}

void client_connect_answer(struct wr *w, int32_t timeout_ms, int64_t session_id, const uint8_t *passwd, bool old_client)
{
    connect_answer(w, timeout_ms, session_id, passwd, !old_client, false);
}

void client_connect_answer_read_only(struct wr *w, int32_t timeout_ms, int64_t session_id, const uint8_t *passwd)
{
    connect_answer(w, timeout_ms, session_id, passwd, true, true);
}

int client_request_read(struct buf frame, enum core_role role, struct client_request *ret)
{
    struct rd r = rd_buf(frame);

    ret->xid = rd_i32(&r);
    ret->op = rd_i32(&r);
    ret->body = (struct buf){ r.p, rd_left(&r) };
    if (core_op_is_submitted(role, ret->op))
        ret->class = CLIENT_SUBMITTED;
    else
        ret->class = ret->op == ZK_OP_AUTH || ret->op == ZK_OP_SASL ? CLIENT_AUTH : CLIENT_READ;
    return r.rc;
}

bool client_may_go_on(const struct client_request *q, const struct client_load *load)
{
    if (load->unsent > CLIENT_OUT_SOFT)
        return false;
    if (load->outstanding == 0 || q->class == CLIENT_AUTH)
        return true;
    return q->class == CLIENT_SUBMITTED && load->outstanding < CLIENT_OUTSTANDING_MAX &&
           load->outstanding_bytes + q->body.n <= CLIENT_OUTSTANDING_BYTES && load->all_outstanding <= load->all_limit;
}

int32_t client_auth_answer(struct wr *w, const struct client_request *q, struct arena *a, struct auth_ids **ids,
                           const char *super_digest)
{
    struct rd r = rd_buf(q->body);
    struct auth_packet packet;

    if (q->op == ZK_OP_SASL) {
        /* No SASL is configured: the reference then accepts any token, answers with none, and adds no identity. */
        size_t frame = jute_frame_begin(w);

        reply_header_write(w, &(struct reply_header){ q->xid, 0, ZK_OK });
        jute_write_buf(w, (struct jbuf){ NULL, -1 });
        jute_frame_end(w, frame);
        return ZK_OK;
    }
    auth_packet_read(&r, a, &packet);
    int32_t err = r.rc < 0 ? ZK_AUTHFAILED : auth_packet_apply(ids, packet.scheme, packet.auth, super_digest);
    reply_header_encode(w, q->xid, 0, err);
    return err;
}

int32_t client_read_answer(struct wr *w, const struct client_request *q, const struct read_context *ctx, struct arena *a)
{
    if (q->op != ZK_OP_PING)
        return read_execute(ctx, q->xid, q->op, q->body, a, w);
    reply_header_encode(w, ZK_XID_PING, tree_last_zxid(ctx->tree), ZK_OK);
    return ZK_OK;
}
