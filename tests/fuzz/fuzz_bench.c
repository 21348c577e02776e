/* fuzz_bench.c - what a server may send to the load generator: the handshake's answer, replies to operations and to steps, events.
 *
 * The first byte says at which stage of a run; the rest is the server's stream, fed in two parts. */
#include "load.h"

static void feed(struct bconn *c, const uint8_t *p, size_t n)
{
    if (c->state == CONN_DOWN)
        return;
    c->in = x_realloc(c->in, c->in_n + n + 1);
    if (n)
        memcpy(c->in + c->in_n, p, n);
    c->in_n += n;
    if (bconn_take(c))
        load_feed(c->l, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const enum stage stages[] = { STAGE_RUN, STAGE_LIST, STAGE_KEYS, STAGE_CONNECT };
    struct connstr servers = { .chroot = (char *)(uintptr_t)"" };
    struct bench_options opt = { .servers = &servers, .root = "/b", .connections = 1, .in_flight = 64, .keys = 100, .multi_size = 2, .reconnect_ms = 1 };
    struct bench_server_result server = { 0 };
    struct bench_result res = { .servers = &server, .server_count = 1 };
    struct load_server address = { 0 };
    struct load l = { .opt = &opt, .res = &res, .ep = -1, .servers = &address, .server_count = 1, .now_us = 1, .end_us = INT64_MAX, .random = 1 };
    struct bconn c;

    if (n < 1)
        return 0;
    for (uint32_t i = 0; i < BENCH_OPS; i++)
        opt.weights[i] = 1, l.mix[i] = ++l.mix_sum;
    load_names_init(&l);
    bconn_init(&c, &l, 0);
    l.stage = stages[p[0] & 3];
    l.steps = 100;
    c.state = p[0] & 4 ? CONN_HELLO : CONN_READY;
    l.ready = c.state == CONN_READY;
    load_feed(&l, &c);
    p++, n--;
    feed(&c, p, n / 2);
    feed(&c, p + n / 2, n - n / 2);
    bconn_free(&c);
    for (size_t i = 0; i < l.garbage.len; i++)
        free(l.garbage.items[i]);
    VEC_FREE(&l.garbage);
    VEC_FREE(&l.redo);
    VEC_FREE(&res.errors);
    free(l.error);
    load_names_free(&l);
    return 0;
}
