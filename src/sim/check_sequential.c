/* check_sequential.c - history.sequential: names of sequential nodes, by the answers alone.
 *
 * Under one parent that nobody ever deletes no two answers name the same node, and who asks after another was answered gets a
 * higher number. */
#include "check_internal.h"

#define NAME "history.sequential"

struct parent {
    bool deleted; /* somebody tried: its numbers may begin again */
    const struct hist_op *highest;
    int64_t number;
    struct strmap names;
};
struct context {
    struct check_report *ret;
    struct strmap parents;
    struct arena arena;
};

static struct parent *parent_of(struct context *c, struct jstr path)
{
    struct buf key = buf_of(path.p, (size_t)path.n);
    struct parent *p = strmap_get(&c->parents, key);

    if (!p) {
        p = arena_calloc(&c->arena, 1, sizeof(*p));
        p->number = -1;
        (void)strmap_set(&c->parents, key, p);
    }
    return p;
}

static void note_delete(struct context *c, const struct hist_step *s)
{
    if (s->op == ZK_OP_DELETE && s->path.p)
        parent_of(c, s->path)->deleted = true;
    /* Containers and TTL nodes go by themselves. */
    if (s->path.p && (s->flags == ZK_CONTAINER || zk_flag_is_ttl(s->flags)))
        parent_of(c, s->path)->deleted = true;
}

/* The ten digits at the end. */
static int64_t number_of(struct jstr name)
{
    int64_t n = 0;

    for (int32_t i = MAX(name.n - 10, 0); i < name.n; i++)
        n = n * 10 + (name.p[i] - '0');
    return n;
}

static void see(struct context *c, const struct hist_op *op, const struct hist_step *s, int64_t floor, const struct hist_op *below)
{
    struct parent *p = parent_of(c, model_parent(s->made));
    int64_t n = number_of(s->made);

    if (p->deleted)
        return;
    const struct hist_op *other = strmap_set(&p->names, buf_of(s->made.p, (size_t)s->made.n), (void *)(uintptr_t)op);
    if (other) {
        struct check_finding *f = check_add(c->ret, NAME, op->done_us, "%.*s was made twice", s->made.n, s->made.p);
        check_involve(f, other);
        check_involve(f, op);
    }
    if (n <= floor) {
        struct check_finding *f = check_add(c->ret, NAME, op->done_us, "%.*s was asked for after a higher number was given out",
                                            s->made.n, s->made.p);
        check_involve(f, below);
        check_involve(f, op);
    }
    if (n > p->number) {
        p->number = n;
        p->highest = op;
    }
}

static bool is_made(const struct hist_step *s)
{
    return zk_flag_is_sequential(s->flags) && s->made.p && s->made.n >= 10 && s->path.p[0] == '/';
}

/* What was the highest number under the step's parent when it was sent? Kept per operation, for the parent of its first sequential step. */
struct floor {
    int64_t number;
    const struct hist_op *op;
};

static const struct hist_step *first_made(const struct hist_op *op)
{
    if (is_made(&op->arg))
        return &op->arg;
    for (uint32_t i = 0; i < op->step_count; i++)
        if (is_made(&op->steps[i]))
            return &op->steps[i];
    return NULL;
}

static void completed(struct context *c, const struct hist_op *op, const struct floor *floor)
{
    const struct hist_step *first = first_made(op);

    if (first == &op->arg)
        see(c, op, first, floor->number, floor->op);
    for (uint32_t i = 0; i < op->step_count; i++) {
        const struct hist_step *s = &op->steps[i];
        bool same = first && s->made.p && jstr_eq(model_parent(s->made), model_parent(first->made));

        if (is_made(s))
            see(c, op, s, same ? floor->number : -1, floor->op);
    }
}

void check_sequential(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .ret = ret };
    struct floor *floors = x_calloc(in->h->ops.len + 1, sizeof(*floors));

    for (size_t i = 0; i < in->h->ops.len; i++) {
        const struct hist_op *op = in->h->ops.items[i];

        note_delete(&c, &op->arg);
        for (uint32_t k = 0; k < op->step_count; k++)
            note_delete(&c, &op->steps[k]);
    }
    for (size_t i = 0; i < in->h->marks.len; i++) {
        const struct hist_mark *k = &in->h->marks.items[i];
        const struct hist_op *op = k->type == HIST_INVOKED || k->type == HIST_COMPLETED ? in->h->ops.items[k->op] : NULL;
        const struct hist_step *s = op && op->outcome == HIST_OK ? first_made(op) : NULL;

        if (!s)
            continue;
        if (k->type == HIST_INVOKED) {
            struct parent *p = parent_of(&c, model_parent(s->made));

            floors[op->id] = (struct floor){ p->number, p->highest };
        } else {
            completed(&c, op, &floors[op->id]);
        }
    }
    STRMAP_EACH(slot, &c.parents)
        strmap_free(&((struct parent *)slot->value)->names, NULL);
    strmap_free(&c.parents, NULL);
    arena_free(&c.arena);
    free(floors);
}
