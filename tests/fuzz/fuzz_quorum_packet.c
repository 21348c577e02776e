/* Any bytes as a stream of learner packets: what is read is written again to the same bytes, and a message that is cut asks for
 * bytes that it lacks. */
#include "zab/packet.h"

static void read_payload(const struct qpacket *q)
{
    struct learner_info info;
    struct forwarded_request req;
    struct revalidate rv;
    struct ping_session s;
    struct jbuf rest;
    int64_t leader;
    int32_t v;
    struct rd r = qp_data_rd(q->data);

    while (ping_sessions_next(&r, &s))
        ;
    (void)learner_info_read(q->data, &info); /* what they say does not matter, how far they look does */
    (void)qp_i32_read(q->data, &v);
    (void)revalidate_request_read(q->data, &rv);
    (void)revalidate_reply_read(q->data, &rv);
    if (forwarded_request_read(q->data, &req) == 0)
        ASSERT(req.body.n == (size_t)q->data.n - 16);
    if (activate_read(q->data, &leader, &rest) == 0)
        ASSERT(rest.n == q->data.n - 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = arena_init();
    struct wr w = wr_init(0);
    struct qpacket q;
    size_t used, at = 0;
    int rc;

    while ((rc = qpacket_decode(data + at, size - at, 4096, &a, &q, &used)) == 0) {
        ASSERT(used > 0);
        ASSERT(used <= size - at);
        wr_reset(&w);
        qpacket_encode(&w, &q);
        ASSERT(w.n == used);
        ASSERT(memcmp(w.p, data + at, used) == 0);
        read_payload(&q);
        at += used;
        arena_reset(&a);
    }
    ASSERT(rc == RC_SHORT || rc == RC_TOOBIG || rc == RC_MALFORMED);
    if (rc == RC_SHORT)
        ASSERT(used > size - at);
    wr_free(&w);
    arena_free(&a);
    return 0;
}
