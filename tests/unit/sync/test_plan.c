/* test_plan.c - wanted against actual: which operations, in which order, in which batches. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "plan.h"

#define OURS "{\"managedBy\":\"quoll-sync\",\"schema\":1}"
#define OURS2 "{\"labels\":{\"a\":\"b\"},\"managedBy\":\"quoll-sync\",\"schema\":1}"
#define OURS_X "{\"managedBy\":\"quoll-sync\",\"schema\":1,\"x\":1}"
#define THEIRS "{\"managedBy\":\"acme\",\"schema\":1}"
#define HAND "{\"schema\":1}"

struct entry {
    const char *path, *data;
};
struct world {
    struct entry want[8], actual[8];
    const char *hold;
    char conflicts[256];
};

static struct plan_want want(void *data, const char *path)
{
    struct world *w = data;
    for (size_t i = 0; i < 8 && w->want[i].path; i++) {
        if (strcmp(w->want[i].path, path) == 0)
            return (struct plan_want){ .wanted = true, .data = w->want[i].data };
    }
    return (struct plan_want){ .hold = w->hold && strcmp(w->hold, path) == 0 };
}

static bool actual(void *data, const char *path, struct plan_actual *ret)
{
    struct world *w = data;
    for (size_t i = 0; i < 8 && w->actual[i].path; i++) {
        if (strcmp(w->actual[i].path, path) == 0) {
            *ret = (struct plan_actual){ w->actual[i].data, strlen(w->actual[i].data), (int32_t)i + 10 };
            return true;
        }
    }
    return false;
}

static void children(void *data, const char *path, void (*fn)(void *arg, const char *name), void *arg)
{
    struct world *w = data;
    size_t n = strlen(path);
    for (size_t i = 0; i < 8 && w->actual[i].path; i++) {
        const char *p = w->actual[i].path;
        if (strncmp(p, path, n) == 0 && p[n] == '/' && !strchr(p + n + 1, '/'))
            fn(arg, p + n + 1);
    }
}

static void on_conflict(void *data, const char *path, const char *manager)
{
    struct world *w = data;
    strcat(strcat(strcat(strcat(w->conflicts, path), ":"), manager), " ");
}

/* "+path" create, "~path@version" set ("~path@version!" to empty), "-path@version" remove; "|" between batches. */
static const char *show(const struct plan *p)
{
    static char out[8192];
    size_t n = 0, batch = 0;
    out[0] = '\0';
    for (size_t i = 0; i < p->ops.len; i++) {
        const struct plan_op *op = &p->ops.items[i];
        if (batch < p->batch_ends.len && p->batch_ends.items[batch] == i) {
            n += (size_t)snprintf(out + n, sizeof(out) - n, "| ");
            batch++;
        }
        if (op->type == PLAN_CREATE)
            n += (size_t)snprintf(out + n, sizeof(out) - n, "+%s ", op->path);
        else
            n += (size_t)snprintf(out + n, sizeof(out) - n, "%c%s@%d%s ", op->type == PLAN_SET ? '~' : '-', op->path, op->version,
                                  op->data && !op->data[0] ? "!" : "");
        assert_true(n < sizeof(out));
    }
    if (p->ops.len > 0)
        assert_int_equal(p->batch_ends.items[p->batch_ends.len - 1], p->ops.len);
    return out;
}

static void test_rules(void **state)
{
    static const struct {
        const char *name;
        struct world w;
        enum { ALL, NONE, PODS_ONLY, NOT_PODS } keep; /* NONE...: which removals are allowed */
        const char *paths[8];
        const char *plan, *conflicts;
    } cases[] = {
        { "nothing to do", { { { "a", OURS }, { "a/s", OURS } }, { { "a", OURS }, { "a/s", OURS } } }, ALL, { "a", "a/s" }, "", "" },
        { "parents first, whatever the order asked",
          { { { "a", OURS }, { "a/s", OURS }, { "a/s/e", OURS } } }, ALL, { "a/s/e", "a/s", "a", "a/s" }, "+a +a/s +a/s/e ", "" },
        { "a change carries the version compared", { { { "a/s", OURS2 } }, { { "a", OURS }, { "a/s", OURS } } }, ALL, { "a/s" }, "~a/s@11 ", "" },
        { "fields of others are no difference", { { { "a/s", OURS } }, { { "a/s", OURS_X } } }, ALL, { "a/s" }, "", "" },
        { "what cannot be read is written over", { { { "a/s", OURS } }, { { "a/s", "10.0.0.1" } } }, ALL, { "a/s" }, "~a/s@10 ", "" },
        { "what nobody claims is written over", { { { "a/s", OURS } }, { { "a/s", HAND } } }, ALL, { "a/s" }, "~a/s@10 ", "" },
        { "what another manages is not", { { { "a/s", OURS } }, { { "a/s", THEIRS } } }, ALL, { "a/s" }, "", "a/s:acme " },
        { "nor what is below it", { { { "a/s", OURS }, { "a/s/e", OURS } }, { { "a/s", THEIRS } } }, ALL, { "a/s/e" }, "", "a/s:acme " },
        { "removals last, children first",
          { { { "b", OURS } }, { { "a", OURS }, { "a/s", OURS }, { "a/s/e", OURS } } }, ALL, { "a", "a/s", "a/s/e", "b" },
          "+b -a/s/e@12 -a/s@11 -a@10 ", "" },
        { "a parent takes its children along", { { { 0 } }, { { "a", OURS }, { "a/s", OURS }, { "a/s/e", OURS } } }, ALL, { "a" },
          "-a/s/e@12 -a/s@11 -a@10 ", "" },
        { "none while not everything is known", { { { "b", OURS } }, { { "a", OURS } } }, NONE, { "a", "b" }, "+b ", "" },
        { "not what others made", { { { 0 } }, { { "a", HAND }, { "b", THEIRS }, { "c", "" } } }, ALL, { "a", "b", "c" }, "", "" },
        { "not what is held", { { { 0 } , }, { { "a", OURS } }, "a" }, ALL, { "a" }, "", "" },
        { "not hidden nodes, nor deeper ones",
          { { { 0 } }, { { ".leader", OURS }, { "a/.x", OURS }, { "a/s/e/deep", OURS } } }, ALL, { ".leader", "a/.x", "a/s/e/deep" }, "", "" },
        { "a service over foreign nodes is emptied",
          { { { "a", OURS } }, { { "a", OURS }, { "a/s", OURS }, { "a/s/e", OURS }, { "a/s/x", HAND } } }, ALL, { "a/s" },
          "~a/s@11! -a/s/e@12 ", "" },
        { "once only", { { { "a", OURS } }, { { "a", OURS }, { "a/s", "" }, { "a/s/x", HAND } } }, ALL, { "a/s" }, "", "" },
        { "and goes when they are gone", { { { "a", OURS } }, { { "a", OURS }, { "a/s", "" } } }, ALL, { "a/s" }, "-a/s@11 ", "" },
        { "a namespace over foreign nodes stays", { { { 0 } }, { { "a", OURS }, { "a/h", HAND } } }, ALL, { "a" }, "", "" },
        { "a removal that is not asked for by itself still sees what is wanted below",
          { { { "a/s", OURS } }, { { "a", OURS }, { "a/s", OURS } } }, ALL, { "a" }, "", "" },
        { "Pods, parents first", { { { ".pods", OURS }, { ".pods/a", OURS }, { ".pods/a/p.0", OURS } } }, ALL,
          { ".pods/a/p.0", ".pods/a", ".pods" }, "+.pods +.pods/a +.pods/a/p.0 ", "" },
        { "the Pods' node stays, what is below it goes",
          { { { 0 } }, { { ".pods", OURS }, { ".pods/a", OURS }, { ".pods/a/p", OURS } } }, PODS_ONLY, { ".pods", ".pods/a" },
          "-.pods/a/p@12 -.pods/a@11 ", "" },
        { "nothing of Pods while they are not known", { { { 0 } }, { { ".pods/a", OURS }, { ".pods/a/p", OURS }, { "b", OURS } } },
          NOT_PODS, { ".pods/a", ".pods/a/p", "b" }, "-b@12 ", "" },
        { "and Pods alone while nothing else is", { { { 0 } }, { { ".pods/a/p", OURS }, { "b", OURS } } }, PODS_ONLY,
          { ".pods/a/p", "b" }, "-.pods/a/p@10 ", "" },
        { "nor others' Pods, hidden or deeper ones",
          { { { 0 } }, { { ".pods/a/p", HAND }, { ".pods/a/.x", OURS }, { ".pods/a/p/deep", OURS }, { ".podsx/a", OURS } } }, ALL,
          { ".pods/a/p", ".pods/a/.x", ".pods/a/p/deep", ".podsx/a" }, "", "" },
        { "a Pod below what another manages", { { { ".pods/a/p", OURS } }, { { ".pods/a", THEIRS } } }, ALL, { ".pods/a/p" }, "",
          ".pods/a:acme " },
        { "a namespace of Pods over foreign nodes stays as it is", { { { 0 } }, { { ".pods/a", OURS }, { ".pods/a/h", HAND } } }, ALL,
          { ".pods/a" }, "", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w = cases[i].w;
        struct plan_world pw = { &w, want, actual, children, on_conflict,
                                 .may_remove = cases[i].keep == ALL || cases[i].keep == NOT_PODS,
                                 .may_remove_pods = cases[i].keep == ALL || cases[i].keep == PODS_ONLY };
        struct plan_limits limits = { 128, 1 << 20 };
        struct plan p;
        size_t n = 0;
        print_message("case: %s\n", cases[i].name);
        while (n < 8 && cases[i].paths[n])
            n++;
        plan_make(&pw, cases[i].paths, n, &limits, &p);
        assert_string_equal(show(&p), cases[i].plan);
        assert_string_equal(w.conflicts, cases[i].conflicts);
        plan_done(&p);
    }
}

static void test_kept_fields_are_written(void **state)
{
    struct world w = { { { "a/s", OURS2 } }, { { "a/s", OURS_X } } };
    struct plan_world pw = { &w, want, actual, children, on_conflict, true };
    struct plan p;
    plan_make(&pw, (const char *const[]){ "a/s" }, 1, &(struct plan_limits){ 128, 1 << 20 }, &p);
    assert_int_equal(p.ops.len, 1);
    assert_string_equal(p.ops.items[0].data, "{\"labels\":{\"a\":\"b\"},\"managedBy\":\"quoll-sync\",\"schema\":1,\"x\":1}");
    plan_done(&p);
}

static void test_batches(void **state)
{
    static const struct {
        struct plan_limits limits;
        const char *plan;
    } cases[] = {
        { { 128, 1 << 20 }, "+a +a/s +a/s/e +b " },
        { { 2, 1 << 20 }, "+a +a/s | +a/s/e +b " },
        { { 3, 1 << 20 }, "+a +a/s +a/s/e | +b " },
        { { 128, 220 }, "+a +a/s | +a/s/e +b " },
        { { 128, 1 }, "+a | +a/s | +a/s/e | +b " }, /* each larger than a batch: alone */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w = { { { "a", OURS }, { "a/s", OURS }, { "a/s/e", OURS }, { "b", OURS } }, { { 0 } } };
        struct plan_world pw = { &w, want, actual, children, on_conflict, true };
        struct plan p;
        plan_make(&pw, (const char *const[]){ "b", "a/s/e", "a/s", "a" }, 4, &cases[i].limits, &p);
        print_message("case: %zu ops, %zu bytes\n", cases[i].limits.ops, cases[i].limits.bytes);
        assert_string_equal(show(&p), cases[i].plan);
        plan_done(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_kept_fields_are_written),
        cmocka_unit_test(test_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
