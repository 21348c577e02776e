/* packet.c - learner packets: the stream's framing and what the data of each type holds. */
#include "zab/packet.h"

const char *qp_type_str(int32_t type)
{
    switch (type) {
#define X(name, value)                                                                                       \
    case value:                                                                                              \
        return #name;
        QP_TYPES(X)
#undef X
    default:
        return "?";
    }
}

/* ---- framing ---- */

/* Walks over a packet without keeping anything, so that nothing is allocated before its last byte is there. */
struct scan {
    const uint8_t *in;
    size_t len, at;
    size_t need; /* RC_SHORT: total bytes that the next step would take */
    int rc;
};

static const uint8_t *scan_take(struct scan *s, size_t n)
{
    if (s->rc != 0)
        return NULL;
    if (s->len - s->at < n) {
        s->rc = RC_SHORT;
        s->need = s->at + n;
        return NULL;
    }
    s->at += n;
    return s->in + s->at - n;
}

static int32_t scan_count(struct scan *s, uint32_t max)
{
    const uint8_t *p = scan_take(s, 4);
    int32_t n = p ? (int32_t)load_u32(p) : 0;

    if (n < -1)
        s->rc = RC_MALFORMED;
    else if (n > 0 && (uint32_t)n > max)
        s->rc = RC_TOOBIG;
    return s->rc == 0 ? n : 0;
}

static void scan_bytes(struct scan *s, uint32_t max)
{
    int32_t n = scan_count(s, max);

    if (n > 0)
        (void)scan_take(s, (size_t)n); /* what matters is where we are then */
}

int qpacket_decode(const uint8_t *in, size_t len, uint32_t max_buffer, struct arena *a, struct qpacket *ret, size_t *ret_used)
{
    struct scan s = { in, len, 0, 0, 0 };

    (void)scan_take(&s, 12); /* type and zxid: read below */
    scan_bytes(&s, max_buffer);
    int32_t ids = scan_count(&s, QP_MAX_AUTH_IDS);
    for (int32_t i = 0; i < 2 * ids && s.rc == 0; i++)
        scan_bytes(&s, max_buffer);
    if (s.rc == RC_SHORT)
        *ret_used = s.need;
    if (s.rc != 0)
        return s.rc;

    struct rd r = rd_init(in, s.at);
    struct who_am_i_response auth;
    ret->type = rd_i32(&r);
    ret->zxid = rd_i64(&r);
    ret->data = jute_read_buf(&r);
    who_am_i_response_read(&r, a, &auth); /* the same vector<Id> */
    ASSERT(r.rc == 0);
    ASSERT(r.p == r.end);
    ret->auth = auth.ids;
    *ret_used = s.at;
    return 0;
}

static void write_auth(struct wr *w, const struct jids *auth)
{
    if (auth)
        who_am_i_response_write(w, &(struct who_am_i_response){ .ids = *auth });
    else
        wr_i32(w, -1);
}

void qpacket_encode(struct wr *w, const struct qpacket *p)
{
    wr_i32(w, p->type);
    wr_i64(w, p->zxid);
    jute_write_buf(w, p->data);
    write_auth(w, &p->auth);
}

void qpacket_encode_bare(struct wr *w, int32_t type, int64_t zxid)
{
    wr_i32(w, type);
    wr_i64(w, zxid);
    wr_i32(w, -1);
    wr_i32(w, -1);
}

size_t qpacket_begin(struct wr *w, int32_t type, int64_t zxid)
{
    wr_i32(w, type);
    wr_i64(w, zxid);
    return jute_frame_begin(w);
}

void qpacket_end(struct wr *w, size_t at, const struct jids *auth)
{
    jute_frame_end(w, at);
    write_auth(w, auth);
}

/* ---- data of each type ---- */

static struct rd data_rd(struct jbuf data)
{
    struct rd r = qp_data_rd(data);

    if (!data.p)
        rd_fail(&r, RC_MALFORMED);
    return r;
}

/* Too short is as final as any other mistake here: the packet is whole. */
static int data_rc(const struct rd *r)
{
    return r->rc == 0 ? 0 : RC_MALFORMED;
}

int learner_info_read(struct jbuf data, struct learner_info *ret)
{
    struct learner_info info = { .anonymous = !data.p, .protocol_version = 1 };

    if (data.p && data.n < 8)
        return RC_MALFORMED;
    struct rd r = qp_data_rd(data);
    if (data.n >= 8)
        info.sid = rd_i64(&r);
    if (data.n >= 12)
        info.protocol_version = rd_i32(&r);
    if (data.n >= 20)
        info.config_version = rd_i64(&r);
    *ret = info;
    return 0;
}

void learner_info_packet(struct wr *w, bool observer, uint32_t accepted_epoch, const struct learner_info *info)
{
    size_t at = qpacket_begin(w, observer ? QP_OBSERVERINFO : QP_FOLLOWERINFO, (int64_t)((uint64_t)accepted_epoch << 32));

    wr_i64(w, info->sid);
    wr_i32(w, info->protocol_version);
    wr_i64(w, info->config_version);
    qpacket_end(w, at, NULL);
}

int qp_i32_read(struct jbuf data, int32_t *ret)
{
    struct rd r = data_rd(data);
    int32_t v = rd_i32(&r);

    if (r.rc == 0)
        *ret = v;
    return data_rc(&r);
}

void qp_i32_packet(struct wr *w, int32_t type, int64_t zxid, int32_t value)
{
    size_t at = qpacket_begin(w, type, zxid);

    wr_i32(w, value);
    qpacket_end(w, at, NULL);
}

int forwarded_request_read(struct jbuf data, struct forwarded_request *ret)
{
    struct rd r = data_rd(data);
    struct forwarded_request req;

    req.session_id = rd_i64(&r);
    req.cxid = rd_i32(&r);
    req.op = rd_i32(&r);
    req.body = buf_of(r.p, rd_left(&r));
    if (r.rc == 0)
        *ret = req;
    return data_rc(&r);
}

void forwarded_request_packet(struct wr *w, const struct forwarded_request *req, const struct jids *auth)
{
    size_t at = qpacket_begin(w, QP_REQUEST, -1);

    wr_i64(w, req->session_id);
    wr_i32(w, req->cxid);
    wr_i32(w, req->op);
    wr_bytes(w, req->body.p, req->body.n);
    qpacket_end(w, at, auth);
}

int revalidate_request_read(struct jbuf data, struct revalidate *ret)
{
    struct rd r = data_rd(data);
    struct revalidate v = { 0 };

    v.session_id = rd_i64(&r);
    v.timeout_ms = rd_i32(&r);
    if (r.rc == 0)
        *ret = v;
    return data_rc(&r);
}

int revalidate_reply_read(struct jbuf data, struct revalidate *ret)
{
    struct rd r = data_rd(data);
    struct revalidate v = { 0 };

    v.session_id = rd_i64(&r);
    v.valid = rd_u8(&r) != 0;
    if (r.rc == 0)
        *ret = v;
    return data_rc(&r);
}

void revalidate_request_packet(struct wr *w, int64_t session_id, int32_t timeout_ms)
{
    size_t at = qpacket_begin(w, QP_REVALIDATE, -1);

    wr_i64(w, session_id);
    wr_i32(w, timeout_ms);
    qpacket_end(w, at, NULL);
}

void revalidate_reply_packet(struct wr *w, int64_t session_id, bool valid)
{
    size_t at = qpacket_begin(w, QP_REVALIDATE, -1);

    wr_i64(w, session_id);
    wr_u8(w, valid);
    qpacket_end(w, at, NULL);
}

bool ping_sessions_next(struct rd *r, struct ping_session *ret)
{
    if (r->rc != 0 || rd_left(r) == 0)
        return false;
    if (rd_left(r) < 12) {
        rd_fail(r, RC_MALFORMED);
        return false;
    }
    ret->session_id = rd_i64(r);
    ret->timeout_ms = rd_i32(r);
    return true;
}

void ping_reply_packet(struct wr *w, int64_t zxid, const struct ping_session *sessions, size_t count)
{
    size_t at = qpacket_begin(w, QP_PING, zxid);

    for (size_t i = 0; i < count; i++) {
        wr_i64(w, sessions[i].session_id);
        wr_i32(w, sessions[i].timeout_ms);
    }
    qpacket_end(w, at, NULL);
}

int activate_read(struct jbuf data, int64_t *ret_leader, struct jbuf *ret_proposal)
{
    struct rd r = data_rd(data);
    int64_t leader = rd_i64(&r);

    if (r.rc == 0) {
        *ret_leader = leader;
        *ret_proposal = (struct jbuf){ r.p, (int32_t)rd_left(&r) };
    }
    return data_rc(&r);
}

void commit_and_activate_packet(struct wr *w, int64_t zxid, int64_t leader)
{
    size_t at = qpacket_begin(w, QP_COMMITANDACTIVATE, zxid);

    wr_i64(w, leader);
    qpacket_end(w, at, NULL);
}

void inform_and_activate_packet(struct wr *w, int64_t zxid, int64_t leader, struct jbuf proposal)
{
    size_t at = qpacket_begin(w, QP_INFORMANDACTIVATE, zxid);

    wr_i64(w, leader);
    wr_bytes(w, proposal.p, (size_t)proposal.n);
    qpacket_end(w, at, NULL);
}
