/* test_revindex.c - the reverse index against a plain list, over random addresses that share long prefixes. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "revindex.h"

#define MODEL_MAX 512

struct model {
    struct {
        struct ip ip;
        void *owner;
    } pair[MODEL_MAX];
    size_t n;
};

static int owners[4];

static int owner_cmp(const void *a, const void *b)
{
    return (a > b) - (a < b);
}

/* xorshift: the same numbers on every run. */
static uint32_t next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Few distinct values per byte, so that prefixes collide often and exact repeats happen. */
static struct ip random_ip(uint32_t *seed)
{
    struct ip ip = { .family = next(seed) % 2 ? 4 : 6 };
    for (size_t i = 0; i < (ip.family == 4 ? 4u : 16u); i++)
        ip.b[i] = i == 1 || i == 3 || i == 15 ? (uint8_t)(next(seed) % 8 << (next(seed) % 6)) : 10;
    return ip;
}

static size_t model_find(const struct model *m, const struct ip *ip, const void *owner)
{
    for (size_t i = 0; i < m->n; i++) {
        if (ip_eq(&m->pair[i].ip, ip) && (!owner || m->pair[i].owner == owner))
            return i;
    }
    return m->n;
}

static bool model_below(const struct model *m, uint8_t family, const uint8_t *prefix, size_t bits)
{
    for (size_t i = 0; i < m->n; i++) {
        bool same = m->pair[i].ip.family == family;
        for (size_t b = 0; same && b < bits; b++)
            same = ((m->pair[i].ip.b[b / 8] ^ prefix[b / 8]) >> (7 - b % 8) & 1) == 0;
        if (same)
            return true;
    }
    return false;
}

static void check(const struct revindex *x, const struct model *m, uint32_t *seed)
{
    struct ip probe = random_ip(seed);
    size_t bits = next(seed) % (probe.family == 4 ? 33 : 129), expect = 0;

    assert_int_equal(revindex_below(x, probe.family, probe.b, bits), model_below(m, probe.family, probe.b, bits));
    struct rev_owners got = revindex_get(x, &probe);
    for (size_t i = 0; i < m->n; i++)
        expect += ip_eq(&m->pair[i].ip, &probe);
    assert_int_equal(got.count, expect);
    for (size_t i = 0; i < got.count; i++) {
        assert_true(model_find(m, &probe, got.items[i]) < m->n);
        if (i > 0)
            assert_true(owner_cmp(got.items[i - 1], got.items[i]) < 0);
    }
}

static void test_against_model(void **state)
{
    static struct model m;
    struct revindex x;
    uint32_t seed = 20261122;

    revindex_init(&x, owner_cmp);
    for (int step = 0; step < 20000; step++) {
        struct ip ip = random_ip(&seed);
        void *owner = &owners[next(&seed) % ARRAY_LEN(owners)];
        size_t at = model_find(&m, &ip, owner);
        if (at < m.n) {
            revindex_del(&x, &ip, owner);
            m.pair[at] = m.pair[--m.n];
        } else if (m.n < MODEL_MAX) {
            revindex_add(&x, &ip, owner);
            m.pair[m.n].ip = ip;
            m.pair[m.n++].owner = owner;
        } else {
            while (m.n > 0) { /* full: empty it, down to the last leaf */
                m.n--;
                revindex_del(&x, &m.pair[m.n].ip, m.pair[m.n].owner);
            }
            assert_int_equal(x.count, 0);
        }
        check(&x, &m, &seed);
    }
    revindex_done(&x);
}

static void test_empty(void **state)
{
    struct revindex x;
    const struct ip none = { 0 }, four = { .family = 4 };
    revindex_init(&x, owner_cmp);
    assert_int_equal(revindex_get(&x, &none).count, 0);
    assert_int_equal(revindex_get(&x, &four).count, 0);
    assert_false(revindex_below(&x, 4, four.b, 0));
    revindex_done(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_against_model), cmocka_unit_test(test_empty) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
