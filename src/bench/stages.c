/* stages.c - what surrounds the measurement: making the znodes, removing them, and going from one to the next. */
#include <stdio.h>

#include "base/clock.h"
#include "load.h"

enum { DRAIN_MS = 10000, CLOSE_MS = 2000, SECOND_US = 1000000 };

void load_fail(struct load *l, int rc, char *text)
{
    if (l->error_rc == 0) {
        l->error_rc = rc;
        l->error = text;
    } else {
        free(text);
    }
}

/* ---- the directories ---- */

static void parent_add(struct load *l, const char *path, size_t len)
{
    VEC_PUSH(&l->parents, x_strndup(path, len));
    VEC_PUSH(&l->parents_ours, false);
}

static void parents_plan(struct load *l)
{
    const struct bench_options *opt = l->opt;

    for (const char *slash = strchr(l->root + (*l->root != '\0'), '/'); slash; slash = strchr(slash + 1, '/'))
        parent_add(l, l->root, (size_t)(slash - l->root));
    if (*l->root)
        parent_add(l, l->root, strlen(l->root));
    parent_add(l, l->keys, strlen(l->keys));
    if (opt->prepare_only)
        return;
    if (opt->weights[BENCH_CHILDREN]) {
        parent_add(l, l->dir, strlen(l->dir));
        for (int i = 0; i < LOAD_DIR_CHILDREN; i++) {
            char *path = x_asprintf("%s/child-%d", l->dir, i);
            parent_add(l, path, strlen(path));
            free(path);
        }
    }
    if (opt->weights[BENCH_CREATE] || opt->weights[BENCH_DELETE] || opt->weights[BENCH_EPHEMERAL])
        parent_add(l, l->made, strlen(l->made));
}

static bool made_exists(const struct load *l)
{
    size_t n = l->parents.len;

    return n > 0 && strcmp(l->parents.items[n - 1], l->made) == 0;
}

static bool keys_ours(const struct load *l)
{
    for (size_t i = 0; i < l->parents.len; i++)
        if (strcmp(l->parents.items[i], l->keys) == 0)
            return l->parents_ours.items[i];
    return false;
}

/* ---- stages ---- */

static bool is_solo(enum stage s)
{
    return s == STAGE_PARENTS || s == STAGE_LIST || s == STAGE_CLEAN_PARENTS;
}

static uint64_t steps_of(struct load *l, enum stage s)
{
    switch (s) {
    case STAGE_PARENTS:
        parents_plan(l);
        return l->parents.len;
    case STAGE_KEYS:
        return l->opt->keys;
    case STAGE_SYNC:
        return l->ready;
    case STAGE_LIST:
        return made_exists(l);
    case STAGE_CLEAN:
        return l->garbage.len + (keys_ours(l) ? l->opt->keys : 0);
    case STAGE_CLEAN_PARENTS:
        return l->parents.len;
    default:
        return 0;
    }
}

static void run_begin(struct load *l)
{
    const struct bench_options *opt = l->opt;

    l->begin_us = l->now_us;
    l->start_us = l->begin_us + opt->warm_up_ms * 1000;
    l->end_us = opt->duration_ms ? l->start_us + opt->duration_ms * 1000 : INT64_MAX;
    /* Seconds are cut from the start of the measured part, so that all of them are whole. */
    l->second_end_us = l->start_us - (l->start_us - l->begin_us) / SECOND_US * SECOND_US;
    if (l->second_end_us <= l->now_us)
        l->second_end_us += SECOND_US;
    l->last_answer_us = l->start_us;
    for (int i = 0; i < BENCH_GAPS; i++)
        l->last_ok_us[i] = l->start_us;
}

static void run_end(struct load *l)
{
    struct bench_result *res = l->res;
    bool open = l->opt->rate || l->opt->ops;
    int64_t end = open ? MAX(l->last_answer_us, l->opt->duration_ms && !res->interrupted ? l->end_us : 0) : MIN(l->end_us, l->now_us);

    res->elapsed_us = MAX(end - l->start_us, 0);
    for (int i = 0; i < BENCH_GAPS; i++) {
        /* A gap that the end cut short; reads and writes only if there are any. */
        int64_t gap = end - l->last_ok_us[i];
        bool any = i == BENCH_GAP_ALL;
        for (int op = 0; op < BENCH_OPS; op++)
            any |= l->opt->weights[op] != 0 && bench_op_writes((enum bench_op)op) == (i == BENCH_GAP_WRITES);
        if (any && gap > res->gaps[i].us)
            res->gaps[i] = (struct bench_gap){ gap, l->last_ok_us[i] - l->start_us };
    }
    for (uint32_t i = 0; i < l->opt->connections; i++)
        if (l->conns[i].state == CONN_READY)
            res->servers[l->conns[i].server].connections++;
}

/* Operations that were due and that no connection could send. */
static uint64_t unsent(const struct load *l)
{
    const struct bench_options *opt = l->opt;

    if (!opt->rate || l->res->interrupted)
        return 0;
    uint64_t all = opt->ops;
    if (opt->duration_ms) /* due before the end, without those of the warm-up */
        all = (uint64_t)((unsigned __int128)(uint64_t)(l->end_us - l->begin_us) * opt->rate / SECOND_US);
    uint64_t sent = opt->ops ? l->issued_measured : l->issued;
    return all > sent ? all - sent : 0;
}

static void close_begin(struct load *l)
{
    for (uint32_t i = 0; i < l->opt->connections; i++) {
        struct bconn *c = &l->conns[i];

        if (c->state == CONN_READY) {
            put_close_session(c);
            bconn_pending(c, WHAT_STEP, l->now_us, 0, 1);
            bconn_flush(c);
        } else {
            bconn_end(c);
        }
    }
}

void stage_enter(struct load *l, enum stage s)
{
    l->stage = s;
    l->stage_us = l->progress_us = l->now_us;
    l->steps_sent = l->steps_done = 0;
    l->redo.len = l->redo_at = 0;
    l->solo = NULL;
    if (s == STAGE_CONNECT)
        l->begin_us = l->now_us;
    l->steps = steps_of(l, s);
    if (s == STAGE_SYNC || (s == STAGE_CLOSE && l->opt->prepare_only))
        l->res->prepare_us = l->now_us - l->begin_us;
    if (s == STAGE_RUN)
        run_begin(l);
    if (s == STAGE_LIST)
        run_end(l);
    if (s == STAGE_CLOSE)
        close_begin(l);
    for (uint32_t i = 0; i < l->opt->connections; i++) {
        struct bconn *c = &l->conns[i];

        load_feed(l, c);
        bconn_flush(c);
    }
}

static bool under_way(const struct load *l)
{
    for (uint32_t i = 0; i < l->opt->connections; i++)
        if (bconn_under_way(&l->conns[i]) > 0)
            return true;
    return false;
}

static bool run_over(const struct load *l)
{
    const struct bench_options *opt = l->opt;

    if (l->res->interrupted || (opt->duration_ms && l->now_us >= l->end_us))
        return true;
    if (opt->ops && l->issued_measured >= opt->ops)
        return true;
    /* A number of operations has no end of its own when nobody answers. */
    return opt->ops && l->now_us - l->progress_us > opt->timeout_ms * 1000;
}

static bool drained(const struct load *l)
{
    if (l->now_us - l->stage_us > DRAIN_MS * INT64_C(1000))
        return true;
    return !under_way(l) && (l->res->interrupted || unsent(l) == 0);
}

static char *who_failed(const struct load *l)
{
    for (uint32_t i = 0; i < l->opt->connections; i++) {
        const struct bconn *c = &l->conns[i];
        if (c->state != CONN_READY)
            return x_asprintf("%u of %u connections were made within %lld ms; the others: %s: %s", l->ready, l->opt->connections,
                              (long long)l->opt->timeout_ms, l->servers[c->server].addr->text, c->trouble ? c->trouble : "no answer");
    }
    return x_strdup("the servers do not answer");
}

static enum stage next_stage(const struct load *l)
{
    const struct bench_options *opt = l->opt;

    switch (l->stage) {
    case STAGE_KEYS:
        return opt->prepare_only ? STAGE_CLOSE : STAGE_SYNC;
    case STAGE_LIST:
    case STAGE_DRAIN:
        return l->stage == STAGE_DRAIN ? STAGE_LIST : opt->keep ? STAGE_CLOSE : STAGE_CLEAN;
    default:
        return (enum stage)(l->stage + 1);
    }
}

static bool stage_done(struct load *l)
{
    switch (l->stage) {
    case STAGE_CONNECT:
        return l->ready == l->opt->connections;
    case STAGE_RUN:
        return run_over(l);
    case STAGE_DRAIN:
        if (!drained(l))
            return false;
        l->res->unsent = unsent(l);
        return true;
    case STAGE_CLOSE:
        return !under_way(l) || l->now_us - l->stage_us > CLOSE_MS * INT64_C(1000);
    default:
        return l->steps_done >= l->steps;
    }
}

static bool is_timed(enum stage s)
{
    return s != STAGE_RUN && s != STAGE_DRAIN && s != STAGE_CLOSE;
}

static void interrupted(struct load *l)
{
    int how = l->opt->interrupted ? *l->opt->interrupted : 0;

    if (how == 2)
        l->stage = STAGE_END;
    if (how == 0 || l->res->interrupted)
        return;
    l->res->interrupted = true;
    if (l->stage < STAGE_RUN) { /* what was made so far stays: it can be used by the next run */
        l->res->left = l->stage > STAGE_PARENTS;
        stage_enter(l, STAGE_CLOSE);
    }
}

void stage_turn(struct load *l)
{
    interrupted(l);
    while (l->stage != STAGE_END && stage_done(l)) {
        enum stage next = next_stage(l);
        if (next == STAGE_END) {
            l->stage = next;
            return;
        }
        stage_enter(l, next);
    }
    /* Progress also means a connection that was made, so that many of them may take longer. */
    if (l->error_rc == 0 && is_timed(l->stage) && l->stage != STAGE_END && l->now_us - l->progress_us > l->opt->timeout_ms * 1000) {
        if (l->stage > STAGE_RUN) {
            l->res->left = true;
            stage_enter(l, STAGE_CLOSE);
        } else {
            load_fail(l, RC_TIMEOUT, who_failed(l));
        }
    }
    if (l->error_rc != 0 && l->stage < STAGE_CLOSE)
        stage_enter(l, STAGE_CLOSE);
}

/* ---- steps ---- */

static void step_put(struct load *l, struct bconn *c, uint64_t i)
{
    size_t len, garbage = l->garbage.len;
    const char *path;

    switch (l->stage) {
    case STAGE_PARENTS:
        put_create(c, l->parents.items[i], strlen(l->parents.items[i]), false);
        break;
    case STAGE_KEYS:
        path = load_key_path(l, i, &len);
        put_create(c, path, len, false);
        break;
    case STAGE_SYNC:
        put_sync(c, l->keys);
        break;
    case STAGE_LIST:
        put_children(c, l->made);
        break;
    case STAGE_CLEAN:
        if (i < garbage) {
            char *full = x_asprintf("%s/%s", l->made, l->garbage.items[i]);
            put_delete(c, full, strlen(full));
            free(full);
        } else {
            path = load_key_path(l, i - garbage, &len);
            put_delete(c, path, len);
        }
        break;
    case STAGE_CLEAN_PARENTS:
        i = l->parents.len - 1 - i;
        if (l->parents_ours.items[i])
            put_delete(c, l->parents.items[i], strlen(l->parents.items[i]));
        else
            put_sync(c, l->parents.items[i]); /* was there before: a step that does nothing */
        break;
    default:
        ASSERT(false);
    }
}

static bool step_next(struct load *l, uint64_t *ret)
{
    if (l->redo_at < l->redo.len) {
        *ret = l->redo.items[l->redo_at++];
        return true;
    }
    if (l->steps_sent >= l->steps)
        return false;
    *ret = l->steps_sent++;
    return true;
}

bool stage_feed(struct load *l, struct bconn *c)
{
    bool any = false;
    uint64_t i;

    if (c->state != CONN_READY || l->stage == STAGE_CONNECT || l->stage >= STAGE_CLOSE)
        return false;
    if (l->stage == STAGE_SYNC) { /* one each */
        if (l->steps_sent >= l->steps || bconn_under_way(c) > 0 || c->synced)
            return false;
        c->synced = true;
    } else if (is_solo(l->stage)) {
        if (!l->solo || l->solo->state != CONN_READY)
            l->solo = c;
        if (l->solo != c)
            return false;
    }
    uint32_t window = l->stage == STAGE_SYNC ? 1 : LOAD_STEP_WINDOW;
    while (bconn_under_way(c) < window && step_next(l, &i)) {
        step_put(l, c, i);
        bconn_pending(c, WHAT_STEP, l->now_us, i, 1);
        any = true;
    }
    return any;
}

static void take_names(struct load *l, struct rd *r)
{
    int32_t n = rd_i32(r);

    for (int32_t i = 0; i < n && r->rc == 0; i++) {
        struct jstr name = jute_read_str(r);
        if (r->rc == 0)
            VEC_PUSH(&l->garbage, x_strndup(name.p ? name.p : "", (size_t)name.n));
    }
}

static void refuse(struct load *l, const char *what, const char *path, int32_t err)
{
    load_fail(l, err == ZK_NOAUTH ? RC_DENIED : RC_INVAL, x_asprintf("%s %s: %s", what, path, zk_error_text(err)));
}

void stage_answered(struct load *l, const struct pending *p, int32_t err, struct rd *r)
{
    l->steps_done++;
    switch (l->stage) {
    case STAGE_PARENTS:
        /* That name is this run's even if the answer got lost and the second attempt found the znode. */
        l->parents_ours.items[p->arg] |= err == 0 || strcmp(l->parents.items[p->arg], l->made) == 0;
        if (err != 0 && err != ZK_NODEEXISTS)
            refuse(l, "cannot make", l->parents.items[p->arg], err);
        break;
    case STAGE_KEYS:
        l->res->prepared += err == 0;
        if (err != 0 && err != ZK_NODEEXISTS)
            refuse(l, "cannot make a znode below", l->keys, err);
        break;
    case STAGE_LIST:
        if (err == 0)
            take_names(l, r);
        break;
    case STAGE_CLEAN:
    case STAGE_CLEAN_PARENTS:
        if (err != 0 && err != ZK_NONODE)
            l->res->left = true;
        break;
    default:
        break;
    }
}

void stage_gone(struct load *l, struct bconn *c, const struct pending *p)
{
    if (l->stage == STAGE_SYNC)
        l->steps_done++; /* a new connection sees what its session has seen */
    else if (l->stage < STAGE_CLOSE)
        VEC_PUSH(&l->redo, p->arg);
    if (l->solo == c)
        l->solo = NULL;
}
