/* test_hist.c - the histogram beside sorting. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "bench/hist.h"

static void test_empty(void **state)
{
    struct hist h = { 0 };
    (void)state;
    assert_int_equal(hist_percentile(&h, 0.5), 0);
    assert_true(hist_mean(&h) == 0);
}

static void test_exact_when_small(void **state)
{
    struct hist h = { 0 };
    (void)state;
    for (uint64_t v = 1; v <= 100; v++)
        hist_add(&h, v);
    assert_int_equal(hist_percentile(&h, 0), 1);
    assert_int_equal(hist_percentile(&h, 0.5), 50);
    assert_int_equal(hist_percentile(&h, 0.99), 99);
    assert_int_equal(hist_percentile(&h, 0.9999), 100);
    assert_int_equal(hist_percentile(&h, 1), 100);
    assert_true(hist_mean(&h) == 50.5);
}

/* A value alone in a histogram is every percentile of it, whatever its size. */
static void test_one_value(void **state)
{
    (void)state;
    for (uint64_t v = 0; v < UINT64_MAX / 3; v = v * 3 / 2 + 1) {
        struct hist h = { 0 };
        hist_add(&h, v);
        assert_int_equal(hist_percentile(&h, 0.001), v);
        assert_int_equal(hist_percentile(&h, 0.9999), v);
        assert_int_equal(h.max, v);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Never below the true percentile, and at most 1.6 % above it. */
static void test_beside_sorting(void **state)
{
    enum { N = 20000 };
    static uint64_t v[N];
    struct hist h = { 0 };
    uint64_t x = 1;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        v[i] = (x >> 33) >> (x >> 60); /* spread over sixteen powers of two */
        hist_add(&h, v[i]);
    }
    qsort(v, N, sizeof(*v), compare);
    static const double ps[] = { 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999 };
    for (size_t i = 0; i < ARRAY_LEN(ps); i++) {
        size_t rank = (size_t)((double)N * ps[i] + 0.999999);
        uint64_t want = v[rank - 1], got = hist_percentile(&h, ps[i]);
        assert_true(got >= want);
        assert_true((double)got <= (double)want * 1.016 + 1);
    }
}

static void test_merge(void **state)
{
    struct hist a = { 0 }, b = { 0 }, both = { 0 };
    (void)state;
    for (uint64_t v = 0; v < 5000; v += 7) {
        hist_add(v % 2 ? &a : &b, v * v);
        hist_add(&both, v * v);
    }
    hist_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty), cmocka_unit_test(test_exact_when_small), cmocka_unit_test(test_one_value),
        cmocka_unit_test(test_beside_sorting), cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
