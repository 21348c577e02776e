/* When a leader goes on gathering proposals. */
#include "unit.h"

#include "base/core.h"
#include "gather.h"

static void test_decision(void **state)
{
    static const struct {
        const char *name;
        struct gathered g;
        int64_t more_us;
    } cases[] = {
        { "nothing to send", { 0, 0, 20, 20, 0, 300 }, 0 },
        { "a client alone", { 1, 100, 0, 0, 0, 300 }, 0 },
        { "a few clients", { 1, 100, 3, 3, 0, 300 }, 0 },
        { "many, the disks at work", { 1, 100, 4, 4, 0, 300 }, 600 },
        { "part of the time is over", { 9, 900, 20, 20, 100, 300 }, 500 },
        { "the time is over", { 9, 900, 20, 20, 600, 300 }, 0 },
        { "long over", { 9, 900, 20, 20, 3000, 300 }, 0 },
        { "the last group was committed", { 20, 2000, 0, 20, 100, 300 }, 0 },
        { "a part of it was", { 20, 2000, 10, 20, 100, 300 }, 0 },
        { "more was sent meanwhile", { 1, 100, 30, 20, 0, 300 }, 600 },
        { "enough", { 128, 9000, 20, 20, 0, 300 }, 0 },
        { "just not enough", { 127, 9000, 20, 20, 0, 300 }, 600 },
        { "enough bytes", { 2, 64 << 10, 20, 20, 0, 300 }, 0 },
        { "a slow disk", { 1, 100, 20, 20, 0, 20000 }, 2000 },
        { "a disk not known yet", { 1, 100, 20, 20, 0, 0 }, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        assert_int_equal(gather_more_us(&cases[i].g), cases[i].more_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_decision) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
