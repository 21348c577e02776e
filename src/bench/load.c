/* load.c - the run: the loop, sending operations, counting what came of them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "load.h"

enum { EVENTS = 256, SECOND_US = 1000000 };

/* ---- counting ---- */

/* With a rate or a number of operations, what was due in the measured part counts; else what is answered in it. */
bool load_measures(const struct load *l, int64_t at_us)
{
    if (l->stage != STAGE_RUN && l->stage != STAGE_DRAIN)
        return false;
    if (l->opt->rate || l->opt->ops)
        return at_us >= l->start_us;
    return l->stage == STAGE_RUN && l->now_us >= l->start_us && l->now_us < l->end_us;
}

void load_error_code(struct load *l, int32_t code)
{
    struct bench_result *res = l->res;

    for (size_t i = 0; i < res->errors.len; i++)
        if (res->errors.items[i].code == code) {
            res->errors.items[i].count++;
            return;
        }
    VEC_PUSH(&res->errors, ((struct bench_error){ code, 1 }));
}

static void note_gap(struct load *l, int which)
{
    int64_t gap = l->now_us - l->last_ok_us[which];
    struct bench_gap *g = &l->res->gaps[which];

    if (gap > g->us)
        *g = (struct bench_gap){ gap, l->last_ok_us[which] - l->start_us };
    l->last_ok_us[which] = l->now_us;
}

void load_answered(struct load *l, struct bconn *c, const struct pending *p)
{
    enum bench_op op = (enum bench_op)p->what;
    struct bench_op_result *o = &l->res->ops[op];

    if (op == BENCH_CREATE && !p->failed && l->mix[BENCH_DELETE] > (BENCH_DELETE ? l->mix[BENCH_DELETE - 1] : 0))
        VEC_PUSH(&c->made, p->arg);
    if (!load_measures(l, p->at_us))
        return;
    l->last_answer_us = l->now_us;
    if (p->failed) {
        o->errors++;
        l->second.errors++;
        return;
    }
    uint64_t took = (uint64_t)MAX(l->now_us - p->at_us, 0);
    struct bench_server_result *s = &l->res->servers[c->server];
    o->ok++;
    hist_add(&o->times, took);
    s->ok++;
    hist_add(&s->times, took);
    l->second.ok++;
    hist_add(&l->second_times, took);
    note_gap(l, BENCH_GAP_ALL);
    note_gap(l, bench_op_writes(op) ? BENCH_GAP_WRITES : BENCH_GAP_READS);
}

void load_gone(struct load *l, const struct pending *p)
{
    struct bench_op_result *o = &l->res->ops[p->what];

    if (!load_measures(l, p->at_us))
        return;
    if (bench_op_writes((enum bench_op)p->what))
        o->unknown++;
    else
        o->lost++;
    l->second.lost++;
}

static void second_close(struct load *l, bool measured)
{
    struct hist *h = &l->second_times;

    l->second.p50_us = hist_percentile(h, 0.5);
    l->second.p99_us = hist_percentile(h, 0.99);
    l->second.max_us = h->max;
    if (measured)
        VEC_PUSH(&l->res->seconds, l->second);
    if (l->opt->progress)
        l->opt->progress(l->opt->data, (l->second_end_us - l->start_us) / SECOND_US, &l->second, l->ready, 0, 0);
    l->second = (struct bench_second){ 0 };
    *h = (struct hist){ 0 };
}

static void per_second(struct load *l)
{
    bool running = l->stage == STAGE_RUN || l->stage == STAGE_DRAIN;

    if (!running) {
        if (l->opt->progress && l->now_us >= l->report_us && l->steps > 0) {
            l->opt->progress(l->opt->data, 0, NULL, l->ready, l->steps_done, l->steps);
            l->report_us = l->now_us + SECOND_US;
        }
        return;
    }
    while (l->now_us >= l->second_end_us) {
        second_close(l, l->second_end_us > l->start_us && (l->stage == STAGE_RUN || l->opt->rate || l->opt->ops));
        l->second_end_us += SECOND_US;
    }
}

/* ---- sending operations ---- */

static bool may_issue(const struct load *l)
{
    const struct bench_options *opt = l->opt;

    if (l->stage != STAGE_RUN)
        return false;
    return opt->ops == 0 || l->issued_measured < opt->ops;
}

static void issue(struct load *l, struct bconn *c, int64_t at_us)
{
    put_op(c, load_pick(l), at_us);
    l->issued++;
    if (at_us >= l->start_us)
        l->issued_measured++;
}

static int64_t due_us(const struct load *l)
{
    return l->begin_us + (int64_t)((unsigned __int128)l->issued * SECOND_US / l->opt->rate);
}

/* Sends what is due on the connections that have room, in turn. Returns when the next is due, or NEVER. */
static int64_t issue_due(struct load *l)
{
    const struct bench_options *opt = l->opt;

    while (l->stage == STAGE_RUN || l->stage == STAGE_DRAIN) {
        int64_t at = due_us(l);
        if ((opt->duration_ms && at >= l->end_us) || (opt->ops && l->issued_measured >= opt->ops))
            break;
        if (at > l->now_us)
            return at;
        struct bconn *c = NULL;
        for (uint32_t tried = 0; tried < opt->connections && !c; tried++) {
            struct bconn *k = &l->conns[l->rr];
            l->rr = (l->rr + 1) % opt->connections;
            if (k->state == CONN_READY && bconn_under_way(k) < opt->in_flight)
                c = k;
        }
        if (!c)
            break; /* an answer makes room */
        issue(l, c, at);
        if (!c->dirty)
            VEC_PUSH(&l->dirty, c);
        c->dirty = true;
    }
    return INT64_MAX;
}

static void flush_dirty(struct load *l)
{
    for (size_t i = 0; i < l->dirty.len; i++) {
        l->dirty.items[i]->dirty = false;
        bconn_flush(l->dirty.items[i]);
    }
    l->dirty.len = 0;
}

void load_feed(struct load *l, struct bconn *c)
{
    if (c->state != CONN_READY)
        return;
    if (l->stage == STAGE_RUN && !l->opt->rate)
        while (bconn_under_way(c) < l->opt->in_flight && may_issue(l))
            issue(l, c, l->now_us);
    else if (l->stage != STAGE_RUN && l->stage != STAGE_DRAIN)
        (void)stage_feed(l, c);
}

/* ---- the loop ---- */

static void look_after(struct load *l)
{
    if (l->now_us < l->next_wake_us)
        return;
    l->next_wake_us = INT64_MAX;
    for (uint32_t i = 0; i < l->opt->connections; i++) {
        struct bconn *c = &l->conns[i];

        if (l->now_us >= c->wake_us)
            bconn_look_after(c);
        l->next_wake_us = MIN(l->next_wake_us, c->wake_us);
    }
}

static int64_t next_time(const struct load *l, int64_t due)
{
    int64_t t = MIN(l->next_wake_us, due);

    if (l->stage == STAGE_RUN || l->stage == STAGE_DRAIN)
        t = MIN(t, l->second_end_us);
    if (l->stage == STAGE_RUN && l->opt->duration_ms)
        t = MIN(t, l->end_us);
    return MIN(t, l->now_us + 100000);
}

/* With a rate the next operation may be due within microseconds, which epoll_wait cannot wait for. */
static int wait_events(struct load *l, struct epoll_event *ev, int64_t due)
{
    int64_t wait = MAX(next_time(l, due) - clock_mono_us(), 0);

    if (due == INT64_MAX || wait == 0)
        return epoll_wait(l->ep, ev, EVENTS, (int)((wait + 999) / 1000));
    struct pollfd fd = { l->ep, POLLIN, 0 };
    struct timespec ts = { wait / SECOND_US, wait % SECOND_US * 1000 };
    return ppoll(&fd, 1, &ts, NULL) > 0 ? epoll_wait(l->ep, ev, EVENTS, 0) : 0;
}

static void turn(struct load *l)
{
    struct epoll_event ev[EVENTS];
    int64_t due = l->opt->rate ? issue_due(l) : INT64_MAX;

    flush_dirty(l);
    int n = wait_events(l, ev, due);

    l->now_us = clock_mono_us();
    for (int i = 0; i < n; i++)
        bconn_event(ev[i].data.ptr, ev[i].events);
    look_after(l);
    per_second(l);
    stage_turn(l);
}

/* ---- beginning and end ---- */

static int resolve(struct load *l, char **ret_error)
{
    const struct connstr *cs = l->opt->servers;

    l->server_count = (uint32_t)cs->servers.len;
    l->servers = x_calloc(l->server_count, sizeof(*l->servers));
    l->res->servers = x_calloc(l->server_count, sizeof(*l->res->servers));
    l->res->server_count = l->server_count;
    for (uint32_t i = 0; i < l->server_count; i++) {
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
        char port[8];

        l->servers[i].addr = &cs->servers.items[i];
        l->res->servers[i].text = x_strdup(cs->servers.items[i].text);
        snprintf(port, sizeof(port), "%d", cs->servers.items[i].port);
        int rc = getaddrinfo(cs->servers.items[i].host, port, &hints, &l->servers[i].list);
        if (rc != 0) {
            l->servers[i].list = NULL;
            *ret_error = x_asprintf("%s: %s", cs->servers.items[i].text, gai_strerror(rc));
            return RC_UNAVAIL;
        }
    }
    return 0;
}

static void mix_init(struct load *l)
{
    for (uint32_t i = 0; i < BENCH_OPS; i++) {
        l->mix_sum += l->opt->weights[i];
        l->mix[i] = l->mix_sum;
    }
}

static void load_done(struct load *l)
{
    for (uint32_t i = 0; l->conns && i < l->opt->connections; i++)
        bconn_free(&l->conns[i]);
    free(l->conns);
    for (uint32_t i = 0; i < l->server_count; i++)
        if (l->servers[i].list)
            freeaddrinfo(l->servers[i].list);
    free(l->servers);
    for (size_t i = 0; i < l->parents.len; i++)
        free(l->parents.items[i]);
    for (size_t i = 0; i < l->garbage.len; i++)
        free(l->garbage.items[i]);
    VEC_FREE(&l->parents);
    VEC_FREE(&l->parents_ours);
    VEC_FREE(&l->garbage);
    VEC_FREE(&l->redo);
    VEC_FREE(&l->dirty);
    load_names_free(l);
    if (l->ep >= 0)
        close(l->ep);
}

int bench_run(const struct bench_options *opt, struct bench_result *ret, char **ret_error)
{
    struct load *l = x_calloc(1, sizeof(*l));

    *ret = (struct bench_result){ 0 };
    l->opt = opt;
    l->res = ret;
    l->random = opt->seed;
    l->made_next = (uint64_t)clock_wall_ms() << 20 ^ (uint64_t)getpid();
    mix_init(l);
    l->ep = epoll_create1(EPOLL_CLOEXEC);
    ASSERT(l->ep >= 0);
    load_names_init(l);
    int rc = resolve(l, ret_error);
    if (rc == 0) {
        l->now_us = clock_mono_us();
        l->conns = x_calloc(opt->connections, sizeof(*l->conns));
        for (uint32_t i = 0; i < opt->connections; i++)
            bconn_init(&l->conns[i], l, i);
        stage_enter(l, STAGE_CONNECT);
        while (l->stage != STAGE_END)
            turn(l);
        rc = l->error_rc;
        *ret_error = l->error;
    }
    load_done(l);
    free(l);
    return rc;
}

void bench_result_free(struct bench_result *r)
{
    for (size_t i = 0; i < r->server_count; i++)
        free(r->servers[i].text);
    free(r->servers);
    VEC_FREE(&r->seconds);
    VEC_FREE(&r->errors);
    *r = (struct bench_result){ 0 };
}
