/* election_msg.c - the bytes of the election port: the initial message, frames, notifications. */
#include "zab/packet.h"

#include "addr_text.h"

/* ---- initial message ---- */

static bool is_wildcard(struct buf host)
{
    static const char *const names[] = { "0.0.0.0", "::", "0:0:0:0:0:0:0:0" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (buf_is(host, names[i]))
            return true;
    return false;
}

static int hello_addrs_read(struct buf text, struct hello *ret)
{
    const uint8_t *p = text.p, *end = text.p + text.n;

    for (;;) {
        const uint8_t *bar = memchr(p, '|', (size_t)(end - p));
        struct buf entry = buf_of(p, (size_t)((bar ? bar : end) - p));
        struct buf parts[2];
        uint16_t port;

        if (addr_text_split(entry, parts, 2) != 2 || parts[0].n == 0 || !addr_text_port(parts[1], &port))
            return RC_MALFORMED;
        if (!is_wildcard(parts[0])) {
            if (ret->addrs_len == HELLO_ADDRS_MAX)
                return RC_TOOBIG;
            ret->addrs[ret->addrs_len++] = (struct hello_addr){ parts[0], port };
        }
        if (!bar)
            return 0;
        p = bar + 1;
    }
}

int hello_decode(const uint8_t *in, size_t len, struct hello *ret, size_t *ret_used)
{
    struct rd r = rd_init(in, len);

    ret->addrs_len = 0;
    if (len < 8) {
        *ret_used = 8;
        return RC_SHORT;
    }
    ret->version = rd_i64(&r);
    if (ret->version >= 0) {
        ret->sid = ret->version;
        ret->version = HELLO_LEGACY;
        *ret_used = 8;
        return 0;
    }
    if (ret->version != HELLO_V1 && ret->version != HELLO_V2)
        return RC_UNSUPPORTED;
    if (len < 20) {
        *ret_used = 20;
        return RC_SHORT;
    }
    ret->sid = rd_i64(&r);
    int32_t n = rd_i32(&r);
    if (n <= 0 || ret->sid < 0) /* negative ids are ours to give, to anonymous observers */
        return RC_MALFORMED;
    if (n > HELLO_ADDR_LEN_MAX)
        return RC_TOOBIG;
    if (rd_left(&r) < (size_t)n) {
        *ret_used = 20 + (size_t)n;
        return RC_SHORT;
    }
    *ret_used = 20 + (size_t)n;
    return hello_addrs_read(buf_of(r.p, (size_t)n), ret);
}

void hello_encode(struct wr *w, const struct hello *h)
{
    size_t count = h->version == HELLO_V2 ? h->addrs_len : MIN(h->addrs_len, 1u);

    if (h->version == HELLO_LEGACY) {
        wr_i64(w, h->sid);
        return;
    }
    ASSERT(count > 0);
    wr_i64(w, h->version);
    wr_i64(w, h->sid);
    size_t at = jute_frame_begin(w);
    for (size_t i = 0; i < count; i++) {
        struct buf host = h->addrs[i].host;
        bool v6 = memchr(host.p, ':', host.n) != NULL;

        if (i > 0)
            wr_u8(w, '|');
        wr_text(w, v6 ? "[" : "");
        wr_bytes(w, host.p, host.n);
        wr_printf(w, "%s:%u", v6 ? "]" : "", h->addrs[i].port);
    }
    if (w->rc == 0 && w->n - at - 4 > HELLO_ADDR_LEN_MAX)
        w->rc = RC_TOOBIG;
    if (w->rc == 0)
        jute_frame_end(w, at);
}

/* ---- frames and notifications ---- */

const char *zab_state_str(enum zab_state s)
{
    static const char *const names[] = { "looking", "following", "leading", "observing" };

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "?";
}

int election_frame_decode(const uint8_t *in, size_t len, struct buf *ret_payload, size_t *ret_used)
{
    if (len < 4) {
        *ret_used = 4;
        return RC_SHORT;
    }
    int32_t n = (int32_t)load_u32(in);
    if (n <= 0)
        return RC_MALFORMED;
    if (n > ELECTION_FRAME_MAX)
        return RC_TOOBIG;
    *ret_used = 4 + (size_t)n;
    if (len - 4 < (size_t)n)
        return RC_SHORT;
    *ret_payload = buf_of(in + 4, (size_t)n);
    return 0;
}

int notification_decode(struct buf payload, struct notification *ret)
{
    struct rd r = rd_buf(payload);
    struct notification n = { .version = 0 };
    int32_t state = rd_i32(&r);

    n.leader = rd_i64(&r);
    n.zxid = rd_i64(&r);
    n.round = rd_i64(&r);
    /* Length tells the age of the sender: 28 bytes had no epoch, 40 have a last word that is not a version. */
    n.peer_epoch = payload.n == 28 ? (int64_t)((uint64_t)n.zxid >> 32) : rd_i64(&r);
    if (payload.n != 28 && payload.n != 40)
        n.version = rd_i32(&r);
    if (n.version >= 2) {
        int32_t len = rd_i32(&r);

        if (len < 0)
            rd_fail(&r, RC_MALFORMED);
        n.config = buf_of(rd_take(&r, (size_t)MAX(len, 0)), (size_t)MAX(len, 0));
    }
    if (r.rc != 0)
        return RC_MALFORMED;
    if (state < ZAB_LOOKING || state > ZAB_OBSERVING)
        return RC_UNSUPPORTED;
    n.state = (enum zab_state)state;
    *ret = n;
    return 0;
}

void notification_frame(struct wr *w, const struct notification *n)
{
    size_t at = jute_frame_begin(w);

    wr_i32(w, n->state);
    wr_i64(w, n->leader);
    wr_i64(w, n->zxid);
    wr_i64(w, n->round);
    wr_i64(w, n->peer_epoch);
    wr_i32(w, 2);
    wr_i32(w, (int32_t)n->config.n);
    wr_bytes(w, n->config.p, n->config.n);
    if (w->rc == 0 && w->n - at - 4 > ELECTION_FRAME_MAX)
        w->rc = RC_TOOBIG;
    if (w->rc == 0)
        jute_frame_end(w, at);
}
