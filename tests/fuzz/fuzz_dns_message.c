/* Any bytes as an upstream's answer to the question that they hold; what is taken must survive being written and read again,
 * and fits when it is cut (first byte: to how much). */
#include "../../src/dns/wire.h"

static size_t write_again(const struct dns_msg *m, const struct dns_query *q, uint8_t *out, size_t max, uint16_t counts[4])
{
    static struct dns_writer w;

    dw_start(&w, out, max);
    dw_bytes(&w, q->q.name.wire, q->q.name.len);
    dw_u16(&w, q->q.type);
    dw_u16(&w, q->q.class);
    ASSERT(!w.overflow);
    dw_know(&w, DNS_HEADER_LEN);
    counts[0] = 1;
    for (int s = 0; s < 3; s++)
        counts[s + 1] = dns_msg_write(m, s, 1, &w);
    ASSERT(w.n <= max && !w.overflow);
    dw_header(&w, q->id, (uint16_t)((m->flags & ~0xf) | (m->rcode & 0xf)), counts);
    return w.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[DNS_MSG_MAX];
    struct dns_query q = { .has_question = false };
    struct dname lower;
    struct dns_msg *m, *again;
    uint16_t counts[4];

    if (size < 1 + DNS_HEADER_LEN || size > 1 + DNS_MSG_MAX)
        return 0;
    uint8_t *msg = x_memdup(data + 1, size - 1);

    msg[2] &= 0x7f;
    (void)dns_query_parse(msg, size - 1, &q);
    msg[2] = data[3];
    if (q.has_question) {
        name_lower(&q.q.name, &lower);
        if (dns_msg_parse(msg, size - 1, q.id, &lower, q.q.type, &m) == 0) {
            size_t n = write_again(m, &q, out, 512 + 254u * data[0], counts);

            ASSERT(dns_msg_parse(out, n, q.id, &lower, q.q.type, &again) == 0);
            for (int s = 0; s < 3; s++)
                ASSERT(again->counts[s] == counts[s + 1] && again->counts[s] <= m->counts[s]);
            free(again);
            free(m);
        }
    }
    free(msg);
    return 0;
}
