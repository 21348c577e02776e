/* test_desired.c - bookkeeping of what is wanted: which paths a change touches, and that nothing is left behind. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "desired.h"

static int str_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The dirty paths, sorted, with "+" when wanted, "?" when held, "-" otherwise; settles all of them. */
static const char *take(struct desired *d)
{
    static char out[1024];
    char *paths[32];
    size_t n = 0;
    out[0] = '\0';
    LIST_EACH(it, &d->dirty)
    {
        assert_true(n < ARRAY_LEN(paths));
        paths[n++] = x_strdup(CONTAINER_OF(it, struct path_state, dirty)->path);
    }
    qsort(paths, n, sizeof(*paths), str_cmp);
    for (size_t i = 0; i < n; i++) {
        struct plan_want w = desired_want(d, paths[i]);
        strcat(strcat(strcat(out, w.wanted ? "+" : w.hold ? "?" : "-"), paths[i]), " ");
    }
    for (size_t i = 0; i < n; i++) {
        struct path_state *st = desired_get(d, paths[i]);
        if (st)
            desired_settle(d, st);
        free(paths[i]);
    }
    return out;
}

static void test_life(void **state)
{
    struct desired d;
    desired_init(&d);
    assert_true(desired_slice(&d, "a", "e", "s", x_strdup("1"), 1));
    assert_string_equal(take(&d), "-a/s/e "); /* its Service is not there */
    assert_true(desired_service(&d, "a", "s", x_strdup("S"), 1));
    assert_string_equal(take(&d), "+a +a/s +a/s/e ");
    assert_false(desired_service(&d, "a", "s", x_strdup("S"), 1)); /* the same again */
    assert_string_equal(take(&d), "");
    assert_true(desired_service(&d, "a", "s", x_strdup("T"), 1));
    assert_string_equal(take(&d), "+a/s ");
    assert_int_equal(d.services, 1);
    assert_int_equal(d.slices, 1);
    assert_int_equal(d.namespaces, 0);
    assert_true(desired_namespace(&d, "a", true, 1));
    assert_string_equal(take(&d), "+a ");
    assert_true(desired_service(&d, "a", "s", NULL, 1));
    assert_string_equal(take(&d), "+a -a/s -a/s/e ");
    assert_true(desired_slice(&d, "a", "e", NULL, NULL, 1));
    assert_string_equal(take(&d), "-a/s/e ");
    assert_true(desired_namespace(&d, "a", false, 1));
    assert_string_equal(take(&d), "-a ");
    assert_int_equal(d.states.len, 0); /* nothing is remembered of what is gone */
    assert_int_equal(d.slice_homes.len, 0);
    assert_int_equal(d.services + d.slices + d.namespaces, 0);
    desired_done(&d);
}

static void test_unknown_deletions(void **state)
{
    struct desired d;
    desired_init(&d);
    assert_false(desired_service(&d, "a", "s", NULL, 1));
    assert_false(desired_slice(&d, "a", "e", NULL, NULL, 1));
    assert_false(desired_namespace(&d, "a", false, 1));
    assert_int_equal(d.states.len, 0);
    desired_done(&d);
}

static void test_slice_moves(void **state)
{
    struct desired d;
    desired_init(&d);
    (void)desired_service(&d, "a", "s", x_strdup("S"), 1);
    (void)desired_service(&d, "a", "t", x_strdup("T"), 1);
    (void)desired_slice(&d, "a", "e", "s", x_strdup("1"), 1);
    (void)take(&d);
    assert_true(desired_slice(&d, "a", "e", "t", x_strdup("1"), 1));
    assert_string_equal(take(&d), "-a/s/e +a/t/e ");
    assert_int_equal(d.slices, 1);
    assert_true(desired_slice(&d, "a", "e", NULL, NULL, 1));
    assert_string_equal(take(&d), "-a/t/e ");
    assert_int_equal(d.slices, 0);
    desired_done(&d);
}

static void test_hold(void **state)
{
    struct desired d;
    desired_init(&d);
    (void)desired_slice(&d, "a", "e", "s", x_strdup("1"), 1);
    desired_hold(&d, "a", "s", NULL); /* a Service that cannot be read: it and its slices stand as they are */
    assert_string_equal(take(&d), "+a ?a/s/e ");
    assert_true(desired_service(&d, "a", "s", x_strdup("S"), 1));
    assert_string_equal(take(&d), "+a +a/s +a/s/e ");
    desired_hold(&d, "a", "s", NULL); /* a good one that turns bad stays wanted as it was */
    assert_true(desired_want(&d, "a/s").wanted);
    desired_hold(&d, "a", "f", "s");
    assert_true(desired_want(&d, "a/s/f").hold);
    desired_hold(&d, "a", "e", "other"); /* bad, and moved: the good one stands where it was */
    assert_true(desired_want(&d, "a/s/e").wanted);
    (void)take(&d);
    assert_true(desired_slice(&d, "a", "f", NULL, NULL, 1));
    assert_string_equal(take(&d), "-a/s/f ");
    assert_true(desired_service(&d, "a", "s", NULL, 1));
    assert_true(desired_slice(&d, "a", "e", NULL, NULL, 1));
    (void)take(&d);
    assert_int_equal(d.states.len, 0);
    desired_done(&d);
}

static void test_left_out_after_lost_connections(void **state)
{
    struct desired d;
    desired_init(&d);
    (void)desired_service(&d, "a", "s", x_strdup("S"), 1);
    desired_get(&d, "a/s")->lost = DESIRED_LOST_MAX;
    assert_true(desired_want(&d, "a/s").hold && !desired_want(&d, "a/s").wanted);
    (void)desired_service(&d, "a", "s", x_strdup("smaller"), 1);
    assert_true(desired_want(&d, "a/s").wanted);
    desired_done(&d);
}

static void test_pods(void **state)
{
    struct desired d;
    desired_init(&d);
    assert_false(desired_want(&d, ".pods").wanted);
    desired_pods_begin(&d, 1);
    assert_string_equal(take(&d), "+.pods "); /* even without a Pod: it says that they are looked after */
    assert_false(desired_pod(&d, "a", "p", NULL, 1));
    assert_true(desired_pod(&d, "a", "p", x_strdup("1"), 1));
    assert_string_equal(take(&d), "+.pods/a +.pods/a/p ");
    assert_true(desired_pod(&d, "a", "q", x_strdup("1"), 1));
    assert_string_equal(take(&d), "+.pods/a/q ");
    assert_false(desired_pod(&d, "a", "q", x_strdup("1"), 1)); /* the same again */
    assert_true(desired_pod(&d, "a", "q", x_strdup("2"), 1));
    assert_string_equal(take(&d), "+.pods/a/q ");
    assert_int_equal(d.pods, 2);
    assert_int_equal(d.namespaces + d.services + d.slices, 0);
    assert_false(desired_want(&d, "a").wanted); /* a Pod makes no namespace */
    desired_hold_pod(&d, "a", "q"); /* a good one that turns bad stays as it was */
    assert_true(desired_want(&d, ".pods/a/q").wanted);
    desired_hold_pod(&d, "b", "bad");
    assert_string_equal(take(&d), "+.pods/b ");
    assert_true(desired_want(&d, ".pods/b/bad").hold && !desired_want(&d, ".pods/b/bad").wanted);
    assert_true(desired_pod(&d, "b", "bad", NULL, 1));
    assert_string_equal(take(&d), "-.pods/b -.pods/b/bad ");
    assert_true(desired_pod(&d, "a", "p", NULL, 1));
    assert_string_equal(take(&d), "-.pods/a/p ");
    assert_true(desired_pod(&d, "a", "q", NULL, 1));
    assert_string_equal(take(&d), "-.pods/a -.pods/a/q ");
    assert_int_equal(d.states.len, 1); /* .pods itself is wanted for good */
    assert_int_equal(d.pods, 0);
    desired_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life), cmocka_unit_test(test_unknown_deletions),
        cmocka_unit_test(test_slice_moves), cmocka_unit_test(test_hold),
        cmocka_unit_test(test_left_out_after_lost_connections), cmocka_unit_test(test_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
