/* The fast Adler-32 is zlib's, for every length, alignment and way to cut, and for the bytes that make its sums largest. */
/* clang-format off: cmocka wants these first */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "adler.h"

enum { MOST = 20000 };

static void compare(const uint8_t *bytes)
{
    static const uint32_t from[] = { 1, 0xfff0fff0, 0xdeadbeef };
    for (size_t n = 0; n <= 600; n++) {
        uint8_t *exact = malloc(n + 1); /* so that a read past the end is seen */
        memcpy(exact + 1, bytes, n);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(adler32_fast(from[i], exact + 1, n), adler32(from[i], bytes, (uInt)n));
        free(exact);
    }
    for (size_t n = 5500; n <= MOST; n += 61)
        assert_int_equal(adler32_fast(0xfff0fff0, bytes, n), adler32(0xfff0fff0, bytes, (uInt)n));
    for (size_t cut = 0; cut <= MOST; cut += 37)
        assert_int_equal(adler32_fast(adler32_fast(1, bytes, cut), bytes + cut, MOST - cut), adler32(1, bytes, MOST));
}

static void test_as_zlib(void **state)
{
    static uint8_t bytes[MOST];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    compare(bytes);
}

static void test_largest(void **state)
{
    static uint8_t bytes[MOST];
    memset(bytes, 0xff, sizeof(bytes));
    compare(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_as_zlib), cmocka_unit_test(test_largest) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
