/* test_vnet.c - the virtual network: bytes in order and whole per connection, links that carry nothing, ends that go with and without a word. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vnet.h"

enum { A, B, HOSTS };

struct stage {
    struct sim_options opt;
    struct sim_result result;
    struct world w;
    struct vnet *n;
    struct vsock *accepted; /* at B, the last one */
    unsigned looks[HOSTS];
};
struct host {
    struct stage *s;
    int which;
};

static void on_accepted(void *data, enum vnet_port port, struct vsock *s)
{
    struct host *h = data;

    h->s->accepted = s;
}

static void on_look(void *data, struct vsock *s)
{
    struct host *h = data;

    h->s->looks[h->which]++;
}

static const struct vnet_ops ops = { on_accepted, on_look, NULL };
static struct host hosts[HOSTS];

static void begin(struct stage *s, uint64_t seed)
{
    *s = (struct stage){ 0 };
    world_init(&s->w, seed, &s->opt, &s->result);
    s->n = vnet_new(&s->w, HOSTS);
    for (int i = 0; i < HOSTS; i++) {
        hosts[i] = (struct host){ s, i };
        vnet_host_up(s->n, (uint32_t)i, &ops, &hosts[i]);
    }
    vnet_listen(s->n, B, VPORT_QUORUM, true);
}

static void end(struct stage *s)
{
    vnet_free(s->n);
    world_done(&s->w);
}

static void run_ms(struct stage *s, int64_t ms)
{
    int64_t until = s->w.now_us + ms * MS_US;

    while (world_step(&s->w, until))
        ;
    s->w.now_us = until;
}

static struct vsock *connect_ab(struct stage *s)
{
    struct vsock *a = vnet_connect(s->n, A, B, VPORT_QUORUM);

    run_ms(s, 50);
    assert_int_equal(vsock_state(a), VSOCK_OPEN);
    assert_non_null(s->accepted);
    return a;
}

static void test_bytes(void **state)
{
    struct stage s;
    static uint8_t out[300000], in[300000];
    size_t sent = 0, got = 0;

    begin(&s, 1);
    struct vsock *a = connect_ab(&s);
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 31 >> 3);
    for (int turn = 0; got < sizeof(in); turn++) {
        assert_true(turn < 10000);
        size_t more = MIN(sizeof(out) - sent, (size_t)(turn % 977 * 13 + 1));
        size_t took = more > 0 ? vsock_send(a, out + sent, more) : 0;
        sent += took;
        if (turn % 3 == 0)
            run_ms(&s, turn % 5);
        int64_t n = vsock_recv(s.accepted, in + got, MIN(sizeof(in) - got, (size_t)(turn % 501 * 7 + 1)));
        assert_true(n > 0 || n == RC_BUSY);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(in, out, sizeof(in));
    vsock_close(a, false);
    run_ms(&s, 50);
    assert_int_equal(vsock_recv(s.accepted, in, 1), 0);
    vsock_close(s.accepted, false);
    run_ms(&s, 50);
    end(&s);
}

/* A sender does not run ahead of a receiver that does not take. */
static void test_window(void **state)
{
    struct stage s;
    static uint8_t bytes[1 << 20], in[1 << 20];

    begin(&s, 2);
    struct vsock *a = connect_ab(&s);
    size_t took = vsock_send(a, bytes, sizeof(bytes));
    assert_in_range(took, 1, sizeof(bytes) / 2);
    run_ms(&s, 100);
    assert_int_equal(vsock_send(a, bytes, 1), 0);
    unsigned looks = s.looks[A];
    while (vsock_recv(s.accepted, in, sizeof(in)) > 0)
        ;
    assert_true(s.looks[A] > looks); /* told that there is room */
    assert_int_equal(vsock_send(a, bytes, 1), 1);
    end(&s);
}

static void test_blocked(void **state)
{
    struct stage s;
    char in[16];

    begin(&s, 3);
    struct vsock *a = connect_ab(&s);
    vnet_block(s.n, A, B, true);
    vnet_block(s.n, A, B, true);
    assert_int_equal(vsock_send(a, "held", 4), 4);
    assert_int_equal(vsock_send(s.accepted, "back", 4), 4);
    run_ms(&s, 2000);
    assert_int_equal(vsock_recv(s.accepted, in, sizeof(in)), RC_BUSY);
    assert_int_equal(vsock_recv(a, in, sizeof(in)), 4); /* one way only */
    assert_true(vsock_stuck_us(a) > 0);
    vnet_block(s.n, A, B, false);
    run_ms(&s, 500);
    assert_int_equal(vsock_recv(s.accepted, in, sizeof(in)), RC_BUSY); /* the other fault is still there */
    vnet_block(s.n, A, B, false);
    run_ms(&s, 500);
    assert_int_equal(vsock_recv(s.accepted, in, sizeof(in)), 4);
    assert_memory_equal(in, "held", 4);
    /* Connecting takes until the link is back. */
    vnet_block(s.n, B, A, true);
    struct vsock *late = vnet_connect(s.n, A, B, VPORT_QUORUM);
    run_ms(&s, 3000);
    assert_int_equal(vsock_state(late), VSOCK_CONNECTING);
    vnet_block(s.n, B, A, false);
    run_ms(&s, 3000);
    assert_int_equal(vsock_state(late), VSOCK_OPEN);
    end(&s);
}

static void test_ends(void **state)
{
    for (int power = 0; power < 2; power++) {
        struct stage s;
        char in[16];

        begin(&s, 4);
        struct vsock *a = connect_ab(&s);
        vnet_host_down(s.n, B, power, s.w.now_us);
        run_ms(&s, 3000);
        int64_t rc = vsock_recv(a, in, sizeof(in));
        if (power)
            assert_int_equal(rc, RC_BUSY); /* nobody said a word */
        else
            assert_true(rc == 0 || rc == RC_CLOSED);
        assert_int_equal(vsock_send(a, "x", 1), 1);
        run_ms(&s, 3000);
        vnet_host_up(s.n, B, &ops, &hosts[B]);
        run_ms(&s, 3000);
        assert_int_equal(vsock_recv(a, in, sizeof(in)), power ? RC_CLOSED : rc); /* what it sends again meets a stranger */
        struct vsock *refused = vnet_connect(s.n, A, B, VPORT_QUORUM);
        run_ms(&s, 3000);
        assert_int_equal(vsock_state(refused), VSOCK_BROKEN); /* nobody listens any more */
        end(&s);
    }
}

static void test_reset_and_silence(void **state)
{
    struct stage s;
    struct sim_rng r = rng_split(1, RNG_FAULTS, 1);
    char in[16];

    begin(&s, 5);
    struct vsock *a = connect_ab(&s);
    assert_true(vnet_silence_some(s.n, &r, HOSTS));
    assert_int_equal(vsock_send(a, "x", 1), 1);
    run_ms(&s, 5000);
    assert_int_equal(vsock_recv(s.accepted, in, 1), RC_BUSY);
    vnet_loud(s.n);
    run_ms(&s, 1000);
    assert_int_equal(vsock_recv(s.accepted, in, 1), 1);
    assert_true(vnet_reset_some(s.n, &r, HOSTS));
    run_ms(&s, 1000);
    assert_int_equal(vsock_recv(a, in, 1), RC_CLOSED);
    assert_int_equal(vsock_recv(s.accepted, in, 1), RC_CLOSED);
    vsock_close(a, false);
    vsock_close(s.accepted, false);
    run_ms(&s, 100);
    assert_false(vnet_reset_some(s.n, &r, HOSTS));
    end(&s);
}

/* One side is told, the other finds out when the link is back. */
static void test_broken_at_the_far_end(void **state)
{
    struct stage s;
    uint8_t in[1];

    begin(&s, 5);
    struct vsock *a = connect_ab(&s);
    vnet_block(s.n, A, B, true);
    vnet_block(s.n, B, A, true);
    vnet_break_others(s.n, A, HOSTS);
    assert_int_equal(vsock_state(s.accepted), VSOCK_BROKEN);
    assert_int_equal(vsock_recv(s.accepted, in, 1), RC_CLOSED);
    vsock_close(s.accepted, false);
    assert_int_equal(vsock_send(a, "x", 1), 1);
    run_ms(&s, 1000);
    assert_int_equal(vsock_state(a), VSOCK_OPEN);
    vnet_block(s.n, A, B, false);
    vnet_block(s.n, B, A, false);
    run_ms(&s, 1000);
    assert_int_equal(vsock_state(a), VSOCK_BROKEN);
    vsock_close(a, false);
    run_ms(&s, 100);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_window),           cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_ends),  cmocka_unit_test(test_reset_and_silence),
        cmocka_unit_test(test_broken_at_the_far_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
