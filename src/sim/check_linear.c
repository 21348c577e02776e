/* check_linear.c - history.linearizable: for each key, is there one order of all writes and synced reads that respects real time
 * and explains every answer?
 *
 * Scope      Keys that some client read right behind a sync on the same connection. Sync and read count as one operation from the sync's
 *            request to the read's answer. A multi counts as a write of each key it names.
 * Unknown    A write whose answer never came may have happened at any time after it was sent, or not at all.
 * Method     First orders that have the writes as the log has them: what else there is can be placed between them without a search, earliest place
 *            first. If that works it is a proof, whatever suggested it. Otherwise all orders are searched (Wing & Gong 1993, with Lowe's
 *            memory of configurations), up to a limit; a search that ends without an order is a proof of the opposite. Of one that was given
 *            up remains that the log's own order contradicts the answers. Where no log is known that was a guess, and nothing is decided. */
#include "check_internal.h"

#define NAME "history.linearizable"
enum { SEARCH_STEPS = 200000 };

/* What happens to one key in one operation. */
struct event {
    const struct hist_op *op;
    uint64_t invoke, done; /* order; done: UINT64_MAX: optional */
    int64_t hint;          /* the zxid: where the log has it; INT64_MAX: nowhere */
    bool optional;
    size_t place;          /* how many changes are done before it (a change: with it) */
};
struct state {
    bool exists;
    int32_t version;
    struct jbuf data;
};
struct key {
    struct jstr path;
    bool fleeting; /* some create makes it so that it vanishes by itself: not judged here */
    struct VEC(struct event) events;
};
struct context {
    const struct check_input *in;
    const struct model *m;
    struct check_report *ret;
    struct strmap by_path;
    struct VEC(struct key *) keys;
    struct arena arena;
};

/* ---- what an operation does to a key ---- */

static bool same_data(struct jbuf a, struct jbuf b)
{
    return buf_eq(buf_of(a.p, (size_t)MAX(a.n, 0)), buf_of(b.p, (size_t)MAX(b.n, 0)));
}

static bool version_fits(int32_t expected, const struct state *s)
{
    return expected == -1 || expected == s->version;
}

/* A successful step. False: it could not have succeeded here. */
static bool step_applies(const struct hist_step *q, struct state *s)
{
    switch (q->op) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
        if (s->exists)
            return false;
        *s = (struct state){ true, 0, q->data };
        return true;
    case ZK_OP_DELETE:
        if (!s->exists || !version_fits(q->version, s))
            return false;
        *s = (struct state){ 0 };
        return true;
    case ZK_OP_SET_DATA:
        if (!s->exists || !version_fits(q->version, s) || (q->has_stat && q->stat.version != s->version + 1))
            return false;
        s->version++;
        s->data = q->data;
        return true;
    case ZK_OP_CHECK:
        return s->exists && version_fits(q->version, s);
    }
    return true;
}

static bool failure_fits(const struct hist_op *op, const struct state *s)
{
    switch (op->err) {
    case ZK_NODEEXISTS:
        return s->exists;
    case ZK_NONODE:
        return !s->exists;
    default: /* BADVERSION: others were not taken in */
        return s->exists && !version_fits(op->arg.version, s);
    }
}

static bool read_fits(const struct hist_op *op, const struct state *s)
{
    if (op->err != ZK_OK)
        return !s->exists;
    return s->exists && op->arg.stat.version == s->version && (op->arg.op != ZK_OP_GET_DATA || same_data(op->arg.got, s->data));
}

static bool event_applies(const struct event *e, struct jstr path, struct state *s)
{
    const struct hist_op *op = e->op;

    if (hist_op_is_read(op))
        return read_fits(op, s);
    if (op->outcome == HIST_ERROR)
        return failure_fits(op, s);
    if (op->arg.op != ZK_OP_MULTI)
        return step_applies(&op->arg, s);
    for (uint32_t i = 0; i < op->step_count; i++)
        if (jstr_eq(op->steps[i].path, path) && !step_applies(&op->steps[i], s))
            return false;
    return true;
}

static bool step_writes(const struct hist_step *q, struct jstr path, struct jbuf data)
{
    return q->op != ZK_OP_DELETE && q->op != ZK_OP_CHECK && jstr_eq(q->path, path) && same_data(q->data, data);
}

static bool may_write(const struct event *e, struct jstr path, struct jbuf data)
{
    const struct hist_op *op = e->op;

    if (hist_op_is_read(op) || op->outcome == HIST_ERROR)
        return false;
    for (uint32_t i = 0; i < op->step_count; i++)
        if (step_writes(&op->steps[i], path, data))
            return true;
    return op->arg.op != ZK_OP_MULTI && step_writes(&op->arg, path, data);
}

/* ---- gathering ---- */

static struct key *key_find(struct context *c, struct jstr path)
{
    return path.p ? strmap_get(&c->by_path, buf_of(path.p, (size_t)path.n)) : NULL;
}

static bool is_synced_read(const struct context *c, const struct hist_op *op)
{
    if (op->sync == 0 || (op->arg.op != ZK_OP_GET_DATA && op->arg.op != ZK_OP_EXISTS))
        return false;
    return (op->outcome == HIST_OK || (op->outcome == HIST_ERROR && op->err == ZK_NONODE)) &&
           c->in->h->ops.items[op->sync - 1]->outcome == HIST_OK;
}

static void find_keys(struct context *c)
{
    for (size_t i = 0; i < c->in->h->ops.len; i++) {
        const struct hist_op *op = c->in->h->ops.items[i];

        if (!is_synced_read(c, op) || op->arg.path.n <= 1 || key_find(c, op->arg.path))
            continue; /* the root is there from the beginning */
        struct key *k = arena_calloc(&c->arena, 1, sizeof(*k));
        k->path = op->arg.path;
        (void)strmap_set(&c->by_path, buf_of(k->path.p, (size_t)k->path.n), k);
        VEC_PUSH(&c->keys, k);
    }
}

/* Does its outcome say anything about the znode it names? */
static bool tells(const struct hist_op *op)
{
    int32_t o = op->arg.op;

    if (op->outcome == HIST_OK || op->outcome == HIST_UNKNOWN || op->outcome == HIST_PENDING)
        return true;
    if (o == ZK_OP_MULTI)
        return false;
    if (op->err == ZK_NODEEXISTS)
        return o != ZK_OP_SET_DATA && o != ZK_OP_DELETE;
    return (op->err == ZK_NONODE || op->err == ZK_BADVERSION) && (o == ZK_OP_SET_DATA || o == ZK_OP_DELETE);
}

static void add_event(struct context *c, const struct hist_step *step, const struct hist_op *op, int64_t hint, uint64_t invoke)
{
    struct key *k = key_find(c, step->path);
    bool optional = op->outcome == HIST_UNKNOWN || op->outcome == HIST_PENDING;
    struct event e = { op, invoke, op->done, hint, optional };

    if (!k)
        return;
    k->fleeting |= zk_flag_is_ephemeral(step->flags) || zk_flag_is_ttl(step->flags) || step->flags == ZK_CONTAINER;
    if (k->events.len > 0 && k->events.items[k->events.len - 1].op == op)
        return; /* named twice in a multi */
    VEC_PUSH(&k->events, e);
}

/* Where an unanswered write stands in the log, if it does. */
static void place_unknown(struct context *c, struct u64map *zxids)
{
    for (size_t i = 0; c->m && i < c->m->txns.len; i++) {
        const struct model_txn *t = &c->m->txns.items[i];

        if (t->cxid != 0 && !t->failed)
            (void)u64map_set(zxids, (uint64_t)t->session_id * UINT64_C(0x9e3779b97f4a7c15) ^ (uint32_t)t->cxid, (void *)(uintptr_t)t->zxid);
    }
}

static void gather(struct context *c)
{
    struct u64map zxids = { 0 };

    place_unknown(c, &zxids);
    for (size_t i = 0; i < c->in->h->ops.len; i++) {
        const struct hist_op *op = c->in->h->ops.items[i];
        int64_t zxid = op->zxid;

        if (is_synced_read(c, op)) {
            add_event(c, &op->arg, op, 2 * zxid + 1, c->in->h->ops.items[op->sync - 1]->invoke);
            continue;
        }
        if (!hist_op_is_write(op) || !tells(op) || zk_flag_is_sequential(op->arg.flags))
            continue;
        if (op->outcome == HIST_UNKNOWN || op->outcome == HIST_PENDING)
            zxid = (int64_t)(uintptr_t)u64map_get(&zxids, (uint64_t)op->session_id * UINT64_C(0x9e3779b97f4a7c15) ^ (uint32_t)op->xid);
        int64_t hint = zxid > 0 ? 2 * zxid : INT64_MAX;
        if (op->arg.op != ZK_OP_MULTI)
            add_event(c, &op->arg, op, hint, op->invoke);
        for (uint32_t k = 0; k < op->step_count; k++)
            add_event(c, &op->steps[k], op, hint, op->invoke);
    }
    u64map_free(&zxids, NULL);
}

/* ---- the order of the log ---- */

static bool changes(const struct event *e)
{
    return !hist_op_is_read(e->op) && e->op->outcome != HIST_ERROR && e->hint != INT64_MAX;
}

/* A write that may or may not have happened, and that the log does not have. */
static bool is_absent(const struct event *e)
{
    return e->optional && e->hint == INT64_MAX;
}

static int by_hint(const void *a, const void *b)
{
    const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;

    return x->hint < y->hint ? -1 : x->hint > y->hint;
}

static int by_invoke(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    return x->invoke < y->invoke ? -1 : x->invoke > y->invoke;
}

static int by_done(const void *a, const void *b)
{
    const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;

    return x->done < y->done ? -1 : x->done > y->done;
}

/* With the changes in one order, all that is open is between which of them the other operations stand. */
struct fit {
    struct VEC(struct event *) chain; /* the changes */
    struct VEC(struct state) states;  /* states[i]: with i of them done */
    struct VEC(struct event *) ended; /* everything, by the end */
    size_t next_ended;
    size_t least; /* changes that precede what is being placed: those that ended before it began, and those behind which other such stand */
};

/* False: *ret_breaks cannot stand where the log has it. */
static bool fit_chain(struct fit *f, struct key *k, const struct event **ret_breaks)
{
    struct state s = { 0 };
    uint64_t least_done = UINT64_MAX;

    for (size_t i = 0; i < k->events.len; i++)
        if (changes(&k->events.items[i]))
            VEC_PUSH(&f->chain, &k->events.items[i]);
    if (f->chain.len > 0)
        qsort(f->chain.items, f->chain.len, sizeof(*f->chain.items), by_hint);
    VEC_PUSH(&f->states, s);
    for (size_t i = 0; i < f->chain.len; i++) {
        *ret_breaks = f->chain.items[i];
        if (!event_applies(f->chain.items[i], k->path, &s))
            return false;
        VEC_PUSH(&f->states, s);
    }
    for (size_t i = f->chain.len; i-- > 0;) { /* nothing later was over before this began */
        *ret_breaks = f->chain.items[i];
        if (least_done < f->chain.items[i]->invoke)
            return false;
        least_done = MIN(least_done, f->chain.items[i]->done);
    }
    return true;
}

/* The first place that the answer allows. Taking it leaves the most room to what comes later, so if that fails, everything does. */
static bool fit_place(const struct fit *f, const struct key *k, struct event *e)
{
    size_t last = 0;

    if (!hist_op_is_read(e->op) && e->op->outcome != HIST_ERROR)
        return false; /* it happened, and nobody knows when */
    while (last < f->chain.len && f->chain.items[last]->invoke <= e->done)
        last++;
    for (size_t at = f->least; at <= last; at++) {
        struct state s = f->states.items[at];

        if (!event_applies(e, k->path, &s))
            continue;
        e->place = at;
        return true;
    }
    return false;
}

/* Does some order that has the changes as the log has them explain every answer? Exact: no search. k->events: by invoke. */
static bool fits_log(struct key *k, const struct event **ret_breaks)
{
    struct fit f = { 0 };
    bool fits = fit_chain(&f, k, ret_breaks);

    for (size_t i = 0; i < f.chain.len; i++)
        f.chain.items[i]->place = i + 1;
    for (size_t i = 0; fits && i < k->events.len; i++)
        if (!is_absent(&k->events.items[i]))
            VEC_PUSH(&f.ended, &k->events.items[i]);
    if (f.ended.len > 0)
        qsort(f.ended.items, f.ended.len, sizeof(*f.ended.items), by_done);
    for (size_t i = 0; fits && i < k->events.len; i++) {
        struct event *e = &k->events.items[i];

        if (changes(e) || is_absent(e))
            continue;
        while (f.next_ended < f.ended.len && f.ended.items[f.next_ended]->done < e->invoke)
            f.least = MAX(f.least, f.ended.items[f.next_ended++]->place);
        *ret_breaks = e;
        fits = fit_place(&f, k, e);
    }
    VEC_FREE(&f.chain);
    VEC_FREE(&f.states);
    VEC_FREE(&f.ended);
    return fits;
}

/* A read whose data nobody wrote, or only wrote later, or NULL: no order explains that, and a search would be long in finding out. */
static const struct event *unwritten(const struct key *k)
{
    for (size_t i = 0; i < k->events.len; i++) {
        const struct event *e = &k->events.items[i];
        bool found = e->op->arg.op != ZK_OP_GET_DATA || e->op->outcome != HIST_OK;

        for (size_t w = 0; !found && w < k->events.len; w++)
            found = k->events.items[w].invoke <= e->done && may_write(&k->events.items[w], k->path, e->op->arg.got);
        if (!found)
            return e;
    }
    return NULL;
}

/* ---- the search ---- */

struct entry { /* a call or a return, in order of time */
    struct entry *next, *prev, *match; /* match: of a call, its return; NULL: optional */
    uint32_t event;
    bool is_call;
    uint64_t order;
};
struct frame {
    struct entry *call;
    struct state before;
};
struct configuration { /* which operations are done, and what came of it */
    struct configuration *next;
    struct state s;
    uint64_t done[];
};
struct search {
    const struct key *k;
    size_t words;
    struct entry head;
    struct VEC(struct frame) stack;
    struct configuration **table;
    uint64_t *done;
    struct arena arena;
    struct state s;
    size_t required, best;
    uint32_t stuck; /* the operation that could not be placed when the search was deepest */
};
enum { TABLE_SIZE = 1 << 16 };

static void entry_lift(struct entry *e)
{
    e->prev->next = e->next;
    if (e->next)
        e->next->prev = e->prev;
}

static void entry_unlift(struct entry *e)
{
    e->prev->next = e;
    if (e->next)
        e->next->prev = e;
}

static int by_order(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

    return x->order < y->order ? -1 : x->order > y->order;
}

static void search_begin(struct search *x, const struct key *k)
{
    struct VEC(struct entry *) all = { 0 };

    *x = (struct search){ .k = k, .words = (k->events.len + 63) / 64 };
    x->table = x_calloc(TABLE_SIZE, sizeof(struct configuration *));
    x->done = x_calloc(x->words + 1, sizeof(uint64_t));
    for (size_t i = 0; i < k->events.len; i++) {
        const struct event *e = &k->events.items[i];
        struct entry *call = arena_calloc(&x->arena, 2, sizeof(*call));

        call[0] = (struct entry){ .event = (uint32_t)i, .is_call = true, .order = e->invoke };
        VEC_PUSH(&all, call);
        if (e->optional)
            continue;
        call[1] = (struct entry){ .event = (uint32_t)i, .order = e->done };
        call[0].match = &call[1];
        VEC_PUSH(&all, &call[1]);
        x->required++;
    }
    if (all.len > 0)
        qsort(all.items, all.len, sizeof(struct entry *), by_order);
    struct entry *last = &x->head;
    for (size_t i = 0; i < all.len; i++) {
        last->next = all.items[i];
        all.items[i]->prev = last;
        last = all.items[i];
    }
    VEC_FREE(&all);
}

static void search_end(struct search *x)
{
    VEC_FREE(&x->stack);
    free(x->table);
    free(x->done);
    arena_free(&x->arena);
}

/* Remembers the configuration. False: it has been here before. */
static bool search_note(struct search *x, const struct state *s)
{
    uint64_t h = hash_bytes(x->done, x->words * sizeof(uint64_t)) ^ hash_u64((uint64_t)(uint32_t)s->version << 1 | s->exists);
    struct configuration **at = &x->table[(h ^ hash_u64((uint64_t)(uintptr_t)s->data.p)) % TABLE_SIZE];

    for (struct configuration *c = *at; c; c = c->next)
        if (c->s.exists == s->exists && c->s.version == s->version && c->s.data.p == s->data.p &&
            memcmp(c->done, x->done, x->words * sizeof(uint64_t)) == 0)
            return false;
    struct configuration *c = arena_alloc(&x->arena, sizeof(*c) + x->words * sizeof(uint64_t));
    c->next = *at;
    c->s = *s;
    memcpy(c->done, x->done, x->words * sizeof(uint64_t));
    *at = c;
    return true;
}

/* Tries to place the call next. */
static bool search_place(struct search *x, struct entry *call)
{
    struct state s = x->s;
    uint64_t *word = &x->done[call->event / 64], bit = UINT64_C(1) << call->event % 64;

    if (!event_applies(&x->k->events.items[call->event], x->k->path, &s))
        return false;
    *word |= bit;
    if (!search_note(x, &s)) {
        *word &= ~bit;
        return false;
    }
    struct frame f = { call, x->s };
    VEC_PUSH(&x->stack, f);
    x->s = s;
    entry_lift(call);
    if (call->match) {
        entry_lift(call->match);
        x->required--;
    }
    return true;
}

static struct entry *search_back(struct search *x)
{
    struct frame f = x->stack.items[--x->stack.len];

    x->s = f.before;
    x->done[f.call->event / 64] &= ~(UINT64_C(1) << f.call->event % 64);
    if (f.call->match) {
        entry_unlift(f.call->match);
        x->required++;
    }
    entry_unlift(f.call);
    return f.call->next;
}

enum verdict { LINEARIZABLE, IMPOSSIBLE, UNDECIDED };

static enum verdict search_run(struct search *x)
{
    struct entry *e = x->head.next;

    for (size_t steps = 0; x->required > 0; steps++) {
        if (steps == SEARCH_STEPS)
            return UNDECIDED;
        if (e && e->is_call) {
            e = search_place(x, e) ? x->head.next : e->next;
            continue;
        }
        if (e && x->stack.len >= x->best) { /* its time is over and it has no place */
            x->best = x->stack.len;
            x->stuck = e->event;
        }
        if (x->stack.len == 0)
            return IMPOSSIBLE;
        e = search_back(x);
    }
    return LINEARIZABLE;
}

/* ---- the verdict ---- */

/* breaks: what does not fit the log's order; stuck: what the search had no place for. */
static void report(struct context *c, const struct key *k, enum verdict v, const struct event *breaks, const struct event *stuck)
{
    const struct hist_op *at = v == IMPOSSIBLE ? stuck->op : breaks->op;
    struct check_finding *f = check_add(c->ret, NAME, at->done_us == INT64_MAX ? at->invoke_us : at->done_us,
                                        "%.*s: no order of %zu operations %sexplains the answers", k->path.n, k->path.p, k->events.len,
                                        v == UNDECIDED ? "that has the writes as the log has them " : "");
    check_involve(f, at);
    if (v == IMPOSSIBLE && breaks->op != at)
        check_involve(f, breaks->op);
    for (size_t i = 0; i < k->events.len; i++) { /* who wrote what it saw */
        const struct hist_op *op = k->events.items[i].op;

        if (at->arg.got.p && hist_op_is_write(op) && op->arg.data.p && same_data(op->arg.data, at->arg.got))
            check_involve(f, op);
    }
}

static void check_key(struct context *c, struct key *k)
{
    const struct event *breaks;
    struct search x;

    if (k->events.len == 0 || k->fleeting)
        return;
    qsort(k->events.items, k->events.len, sizeof(struct event), by_invoke);
    if (fits_log(k, &breaks))
        return;
    const struct event *stuck = unwritten(k);
    if (stuck) {
        report(c, k, IMPOSSIBLE, breaks, stuck);
        return;
    }
    search_begin(&x, k);
    enum verdict v = search_run(&x);
    if (v == UNDECIDED && !c->m) /* the order tried first was no more than a guess */
        c->ret->undecided++;
    else if (v != LINEARIZABLE)
        report(c, k, v, breaks, &k->events.items[x.stuck]);
    search_end(&x);
}

void check_linear(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in, .m = m, .ret = ret };

    find_keys(&c);
    gather(&c);
    for (size_t i = 0; i < c.keys.len; i++) {
        check_key(&c, c.keys.items[i]);
        VEC_FREE(&c.keys.items[i]->events);
    }
    strmap_free(&c.by_path, NULL);
    VEC_FREE(&c.keys);
    arena_free(&c.arena);
}
