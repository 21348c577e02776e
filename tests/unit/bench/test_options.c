/* test_options.c - what people may write for --mix and --value-size. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "bench/bench.h"

static void test_mix(void **state)
{
    uint32_t w[BENCH_OPS] = { 0 };
    char *error = NULL;
    (void)state;
    assert_int_equal(bench_mix_parse("get=90,set=10", w, &error), 0);
    assert_int_equal(w[BENCH_GET], 90);
    assert_int_equal(w[BENCH_SET], 10);
    assert_int_equal(w[BENCH_CREATE], 0);
    assert_int_equal(bench_mix_parse("set", w, &error), 0); /* replaces all */
    assert_int_equal(w[BENCH_GET], 0);
    assert_int_equal(w[BENCH_SET], 1);
    assert_int_equal(bench_mix_parse(" create=2 , delete=0, multi=1000000", w, &error), 0);
    assert_int_equal(w[BENCH_CREATE], 2);
    assert_int_equal(w[BENCH_DELETE], 0);
    assert_int_equal(w[BENCH_MULTI], 1000000);
}

static void test_mix_refused(void **state)
{
    static const char *const bad[] = { "", ",", "fetch", "get=", "get=-1", "get=1000001", "get=x", "get=0", "get,get", "get=1,get=2", "get =1x",
                                       "=3", "get=0,set=0" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint32_t w[BENCH_OPS] = { [BENCH_SYNC] = 42 };
        char *error = NULL;
        print_message("case: \"%s\"\n", bad[i]);
        assert_int_equal(bench_mix_parse(bad[i], w, &error), RC_INVAL);
        assert_non_null(error);
        assert_int_equal(w[BENCH_SYNC], 42);
        free(error);
    }
}

static void test_every_operation_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < BENCH_OPS; i++) {
        uint32_t w[BENCH_OPS];
        char *error = NULL;
        assert_int_equal(bench_mix_parse(bench_op_name((enum bench_op)i), w, &error), 0);
        for (int k = 0; k < BENCH_OPS; k++)
            assert_int_equal(w[k], k == i);
        assert_true(strlen(bench_op_help((enum bench_op)i)) > 0);
    }
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        int rc;
        uint32_t min, max;
    } cases[] = {
        { "0", 0, 0, 0 },      { "100", 0, 100, 100 },  { "10-20", 0, 10, 20 },    { "7-7", 0, 7, 7 },        { "1000", 0, 1000, 1000 },
        { "1001", RC_INVAL },  { "20-10", RC_INVAL },   { "-5", RC_INVAL },        { "5-", RC_INVAL },        { "", RC_INVAL },
        { "x", RC_INVAL },     { "1-2-3", RC_INVAL },   { "10-1001", RC_INVAL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t min = 42, max = 43;
        print_message("case: \"%s\"\n", cases[i].text);
        assert_int_equal(bench_size_parse(cases[i].text, 1000, &min, &max), cases[i].rc);
        assert_int_equal(min, cases[i].rc ? 42 : cases[i].min);
        assert_int_equal(max, cases[i].rc ? 43 : cases[i].max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix), cmocka_unit_test(test_mix_refused), cmocka_unit_test(test_every_operation_has_a_name),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
