/* sim_shrink.c - delta debugging over the schedule of faults: halves first, then quarters, at last one by one. */
#include "sim_shrink.h"

#include "base/clock.h"

struct numbers {
    uint32_t *items;
    size_t len, cap;
};

struct shrink {
    struct apart *a;
    struct apart_options o;
    const char *name;
    int64_t deadline_ms;
    struct numbers kept;
    struct shrunk *out;
    int rc;
};

static int ascending(const void *x, const void *y)
{
    const uint32_t *a = x, *b = y;

    return *a < *b ? -1 : *a > *b;
}

/* Is the finding still there without kept[from .. to) and all that was left out before? */
static bool still_fails(struct shrink *s, size_t from, size_t to)
{
    struct numbers skip = { 0 };

    for (size_t i = 0; i < s->out->skip.len; i++)
        VEC_PUSH(&skip, s->out->skip.items[i]);
    for (size_t i = from; i < to; i++)
        VEC_PUSH(&skip, s->kept.items[i]);
    s->o.sim.skip = skip.items;
    s->o.sim.skip_count = skip.len;
    s->rc = apart_run(s->a, &s->o);
    s->out->runs++;
    VEC_FREE(&skip);
    return s->rc == 0 && s->a->result->findings_len > 0 && strcmp(s->a->result->findings[0].name, s->name) == 0;
}

static void leave_out(struct shrink *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        VEC_PUSH(&s->out->skip, s->kept.items[i]);
    memmove(s->kept.items + from, s->kept.items + to, (s->kept.len - to) * sizeof(*s->kept.items));
    s->kept.len -= to - from;
}

static bool may_go_on(const struct shrink *s)
{
    return s->rc == 0 && clock_mono_ms() < s->deadline_ms;
}

/* One pass with pieces of this size. True: something could be left out. */
static bool pass(struct shrink *s, size_t size)
{
    bool any = false;

    for (size_t at = 0; at < s->kept.len && may_go_on(s);) {
        size_t to = MIN(at + size, s->kept.len);
        if (still_fails(s, at, to)) {
            leave_out(s, at, to);
            any = true;
        } else {
            at = to;
        }
    }
    return any;
}

/* The schedule's numbers. A run that crashed could not tell; the seed has the same schedule with no bug switched on. */
static int plan(struct shrink *s)
{
    struct apart_options o = s->o;

    o.relapses = 0;
    int rc = apart_run(s->a, &o);
    for (size_t i = 0; rc == 0 && i < s->a->result->plan_len; i++)
        if (!s->a->result->plan[i].skipped)
            VEC_PUSH(&s->kept, s->a->result->plan[i].number);
    return rc;
}

int sim_shrink(struct apart *a, const struct apart_options *o, const char *name, int64_t budget_ms, struct shrunk *ret)
{
    struct shrink s = { .a = a, .o = *o, .name = name, .out = ret, .deadline_ms = clock_mono_ms() + budget_ms };

    *ret = (struct shrunk){ 0 };
    s.o.lines = false;
    s.o.sim.stop_at_finding = true;
    for (size_t i = 0; i < o->sim.skip_count; i++)
        VEC_PUSH(&ret->skip, o->sim.skip[i]);
    s.rc = plan(&s);
    ret->faults = s.kept.len;
    for (size_t size = MAX(s.kept.len / 2, (size_t)1); s.kept.len > 0 && may_go_on(&s);) {
        bool any = pass(&s, size);
        if (size == 1 && !any)
            break;
        size = MAX(size / 2, (size_t)1);
    }
    ret->left = s.kept.len;
    if (ret->skip.len > 0)
        qsort(ret->skip.items, ret->skip.len, sizeof(*ret->skip.items), ascending);
    VEC_FREE(&s.kept);
    return s.rc;
}
