/* The fast CRC is zlib's, for every length, alignment and way to cut. */
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

#include "crc.h"

static void test_as_zlib(void **state)
{
    static uint8_t bytes[4200];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    for (size_t n = 0; n <= 600; n++) {
        uint8_t *exact = malloc(n + 1); /* so that a read past the end is seen */
        memcpy(exact + 1, bytes, n);
        assert_int_equal(tree_crc32(0, exact + 1, n), crc32(0, bytes, (uInt)n));
        assert_int_equal(tree_crc32(0xdeadbeef, exact + 1, n), crc32(0xdeadbeef, bytes, (uInt)n));
        free(exact);
    }
    for (size_t cut = 0; cut <= 4096; cut += 37)
        assert_int_equal(tree_crc32(tree_crc32(0, bytes, cut), bytes + cut, 4096 - cut), crc32(0, bytes, 4096));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_as_zlib) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
