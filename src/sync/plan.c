/* plan.c - the comparison and its order. */
#include "plan.h"

#include "base/map.h"
#include "convert.h"
#include "discovery/model.h"

struct planner {
    const struct plan_world *w;
    struct plan *plan;
    struct strmap seen; /* paths decided: &gone or &stays */
};
static char gone, stays;

static size_t depth_of(const char *path)
{
    size_t n = 1;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static enum node_kind kind_of(const char *path)
{
    size_t depth = depth_of(path);
    if (registry_in_pods(path))
        return depth == 3 ? NODE_POD : NODE_NAMESPACE;
    return depth == 1 ? NODE_NAMESPACE : depth == 2 ? NODE_SERVICE : NODE_SLICE;
}

static void add_op(struct planner *p, enum plan_op_type type, const char *path, char *data, int32_t version)
{
    struct plan_op op = {type, x_strdup(path), data, data ? strlen(data) : 0, version};
    VEC_PUSH(&p->plan->ops, op);
}

/* Does somebody else claim this node? Reports it. */
static bool is_foreign(struct planner *p, const char *path, const struct plan_actual *a)
{
    char *by = node_managed_by(a->data, a->len);
    bool foreign = by && strcmp(by, SYNC_MANAGED_BY) != 0;
    if (foreign)
        p->w->on_conflict(p->w->data, path, by);
    free(by);
    return foreign;
}

/* An emptied service is what we left as a mere parent: it goes when nothing is below it any more. */
static bool is_ours(const struct plan_actual *a, enum node_kind kind)
{
    if (a->len == 0 && kind == NODE_SERVICE)
        return true;
    char *by = node_managed_by(a->data, a->len);
    bool ours = by && strcmp(by, SYNC_MANAGED_BY) == 0;
    free(by);
    return ours;
}

/* A slice belongs to the manager of its service, a Pod to that of the node above it. */
static bool parent_foreign(struct planner *p, const char *path)
{
    struct plan_actual a;
    if (kind_of(path) != NODE_SLICE && kind_of(path) != NODE_POD)
        return false;
    char *parent = x_strndup(path, (size_t)(strrchr(path, '/') - path));
    bool foreign = p->w->actual(p->w->data, parent, &a) && is_foreign(p, parent, &a);
    free(parent);
    return foreign;
}

static void decide_wanted(struct planner *p, const char *path, const char *data)
{
    struct plan_actual a;

    if (!p->w->actual(p->w->data, path, &a)) {
        if (!parent_foreign(p, path))
            add_op(p, PLAN_CREATE, path, x_strdup(data), -1);
        return;
    }
    if (a.len == strlen(data) && memcmp(a.data, data, a.len) == 0)
        return;
    if (is_foreign(p, path, &a) || parent_foreign(p, path))
        return;
    char *merged = node_keep_unknown(kind_of(path), data, a.data, a.len);
    if (a.len == strlen(merged) && memcmp(a.data, merged, a.len) == 0)
        free(merged); /* only fields that others added */
    else
        add_op(p, PLAN_SET, path, merged, a.version);
}

struct children_arg {
    struct planner *p;
    const char *parent;
    bool all_gone;
};

static bool decide_unwanted(struct planner *p, const char *path);
static bool decide(struct planner *p, const char *path);

static void decide_child(void *data, const char *name)
{
    struct children_arg *arg = data;
    char *path = x_asprintf("%s/%s", arg->parent, name);
    arg->all_gone &= decide(arg->p, path);
    free(path);
}

/* Hidden nodes are not ours to remove, nor deeper ones, but for Pods; and the node that all Pods are below stays, for
 * it says that Pods are looked after. */
static bool may_remove(const struct planner *p, const char *path)
{
    bool pods = registry_in_pods(path), allowed = pods ? p->w->may_remove_pods : p->w->may_remove;
    const char *shown = pods ? path + strlen(REGISTRY_PODS) : path;

    return allowed && shown[0] != '\0' && shown[0] != '.' && !strstr(shown, "/.") && depth_of(path) <= 3;
}

/* Returns whether the node will not be there afterwards. */
static bool decide_unwanted(struct planner *p, const char *path)
{
    struct plan_actual a;

    if (!p->w->actual(p->w->data, path, &a))
        return true;
    if (!may_remove(p, path) || !is_ours(&a, kind_of(path)))
        return false;
    struct children_arg arg = {p, path, true};
    p->w->children(p->w->data, path, decide_child, &arg);
    if (arg.all_gone)
        add_op(p, PLAN_REMOVE, path, NULL, a.version);
    else if (kind_of(path) == NODE_SERVICE && a.len > 0)
        add_op(p, PLAN_SET, path, x_strdup(""), a.version); /* a mere parent, no Service any more */
    return arg.all_gone;
}

static bool decide(struct planner *p, const char *path)
{
    const char *known = strmap_get_s(&p->seen, path);
    if (known)
        return known == &gone;
    struct plan_want want = p->w->want(p->w->data, path);
    bool is_gone = false;
    if (want.wanted)
        decide_wanted(p, path, want.data);
    else if (!want.hold)
        is_gone = decide_unwanted(p, path);
    strmap_set_s(&p->seen, path, is_gone ? &gone : &stays);
    return is_gone;
}

/* Removals behind everything else and deepest first: the reverse of the order in which parents come before
 * children. */
static int op_cmp(const void *x, const void *y)
{
    const struct plan_op *a = x, *b = y;
    bool ra = a->type == PLAN_REMOVE, rb = b->type == PLAN_REMOVE;
    if (ra != rb)
        return ra ? 1 : -1;
    int c = strcmp(a->path, b->path); /* a path sorts before what is below it */
    return ra ? -c : c;
}

static void cut_batches(struct plan *plan, const struct plan_limits *limits)
{
    size_t ops = 0, bytes = 0;

    for (size_t i = 0; i < plan->ops.len; i++) {
        const struct plan_op *op = &plan->ops.items[i];
        size_t size = op->len + strlen(op->path) + 64; /* op header, ACL, the root's path */
        if (ops > 0 && (ops == limits->ops || bytes + size > limits->bytes)) {
            VEC_PUSH(&plan->batch_ends, i);
            ops = bytes = 0;
        }
        ops++;
        bytes += size;
    }
    if (ops > 0)
        VEC_PUSH(&plan->batch_ends, plan->ops.len);
}

void plan_make(const struct plan_world *w, const char *const *paths, size_t count,
               const struct plan_limits *limits, struct plan *ret)
{
    struct planner p = {.w = w, .plan = ret};

    *ret = (struct plan){0};
    for (size_t i = 0; i < count; i++)
        (void)decide(&p, paths[i]); /* the answer matters to parents only */
    if (ret->ops.len > 0)
        qsort(ret->ops.items, ret->ops.len, sizeof(*ret->ops.items), op_cmp);
    cut_batches(ret, limits);
    strmap_free(&p.seen, NULL);
}

void plan_done(struct plan *p)
{
    for (size_t i = 0; i < p->ops.len; i++) {
        free(p->ops.items[i].path);
        free(p->ops.items[i].data);
    }
    VEC_FREE(&p->ops);
    VEC_FREE(&p->batch_ends);
}
