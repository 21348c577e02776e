/* run.c - one run: the ensemble that the seed describes, faults, then peace, in which everything must recover, and the verdict. */
#include "cluster.h"

#include <stdio.h>

#include "base/log.h"
#include "base/map.h"
#include "check.h"
#include "reconf.h"

static const struct {
    const char *name, *text;
} faults[] = {
#define X(id, name, text) { name, text },
    SIM_FAULTS(X)
#undef X
};

const char *sim_fault_name(enum sim_fault f)
{
    return faults[f].name;
}

const char *sim_fault_text(enum sim_fault f)
{
    return faults[f].text;
}

void sim_options_init(struct sim_options *o)
{
    *o = (struct sim_options){ .observers = -1, .groups = true, .faults = SIM_FAULTS_ALL };
}

/* ---- the ensemble ---- */

static struct quorum_config *make_config(struct cluster *cl, struct sim_rng *r)
{
    struct quorum_options opt = { .standalone_enabled = true };
    struct quorum_builder *b = quorum_builder_new(&opt);
    struct quorum_config *c = NULL;
    struct quorum_error err;
    char key[32], value[96];

    for (uint32_t i = 1; i <= cl->members; i++) {
        snprintf(key, sizeof(key), "server.%u", i);
        snprintf(value, sizeof(value), "10.0.0.%u:2888:3888:%s;0.0.0.0:2181", i, i <= cl->voters ? "participant" : "observer");
        ASSERT(quorum_builder_set(b, key, value, &err) == 0);
    }
    if (cl->opt->groups && cl->voters >= 5 && rng_chance(r, 60)) {
        ASSERT(quorum_builder_set(b, "group.1", "1:2:3", &err) == 0);
        snprintf(value, sizeof(value), "4");
        for (uint32_t i = 5; i <= cl->voters; i++)
            snprintf(value + strlen(value), sizeof(value) - strlen(value), ":%u", i);
        ASSERT(quorum_builder_set(b, "group.2", value, &err) == 0);
        ASSERT(quorum_builder_set(b, "weight.1", "3", &err) == 0);
    }
    ASSERT(quorum_builder_build(b, &c, &err) == 0);
    quorum_builder_free(b);
    return c;
}

static void cluster_begin(struct cluster *cl, struct world *w, const struct sim_options *o)
{
    static const int32_t ticks[] = { 200, 400, 1000, 2000 };
    struct sim_rng r = rng_split(o->seed, RNG_SHAPE, 0);
    uint32_t voters = rng_chance(&r, 300) ? 3 : 5;
    int32_t observers = rng_chance(&r, 250) ? (int32_t)rng_range(&r, 1, 2) : 0;
    uint32_t clients = (uint32_t)rng_range(&r, 2, 6);

    *cl = (struct cluster){ .w = w, .opt = o };
    cl->voters = o->servers ? o->servers : voters;
    cl->observers = (uint32_t)(o->observers >= 0 ? o->observers : observers);
    cl->members = cl->voters + cl->observers;
    cl->count = cl->members + (o->reconfig ? 1 + (uint32_t)(o->seed % 2) : 0); /* who may join */
    cl->clients = o->clients ? o->clients : clients;
    ASSERT(cl->count <= NODES_MAX);
    ASSERT(cl->clients <= CLIENTS_MAX);
    cl->tick_ms = ticks[rng_u64(&r) % ARRAY_LEN(ticks)];
    cl->snap_count = (uint32_t)rng_range(&r, 10, 400);
    cl->commit_log_count = rng_chance(&r, 500) ? (int32_t)rng_range(&r, 5, 100) : 500;
    cl->config = make_config(cl, &r);
    reconf_begin(cl);
    cl->net = vnet_new(w, cl->count + cl->clients);
    for (uint32_t i = 0; i < cl->count; i++)
        node_init(&cl->nodes[i], cl, i, i >= cl->voters);
    nemesis_plan(cl);
    for (uint32_t i = 0; i < cl->count; i++)
        node_boot(&cl->nodes[i]);
    load_begin(cl);
}

static void cluster_done(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        node_done(&cl->nodes[i]);
    load_done(cl);
    nemesis_done(cl);
    inv_done(cl);
    vnet_free(cl->net);
    reconf_done(cl);
    quorum_config_unref(cl->config);
}

/* ---- peace ---- */

/* In one epoch: a leader that was stopped serves for a while longer, before it notices that it was deposed. */
static bool all_serve(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->nodes[i].state != NODE_RUNNING || !cl->nodes[i].serving || cl->nodes[i].epoch != cl->nodes[0].epoch)
            return false;
    return reconf_quiet(cl);
}

static bool all_idle(const struct cluster *cl)
{
    return load_idle(cl);
}

static bool all_equal(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->nodes[i].state != NODE_RUNNING || !cl->nodes[i].serving ||
            cl->nodes[i].delivered < inv_last_committed(cl))
            return false;
    return true;
}

/* False: not within the time. */
static bool run_until(struct cluster *cl, bool (*fn)(const struct cluster *cl), int64_t for_us)
{
    int64_t until = cl->w->now_us + for_us;

    while (!fn(cl)) {
        if (!world_step(cl->w, until))
            return fn(cl);
    }
    return true;
}

static char *states(const struct cluster *cl)
{
    struct wr w = wr_init(0);

    for (uint32_t i = 0; i < cl->count; i++) {
        const struct node *n = &cl->nodes[i];
        struct peer_info info = { .peer_state = n->state == NODE_BROKEN ? n->broken_why : "off" };

        if (n->state == NODE_RUNNING)
            peer_info(n->peer, &info);
        wr_printf(&w, "%sserver %lld: %s, 0x%llx", i > 0 ? "; " : "", (long long)n->sid, info.peer_state,
                  n->tree ? (unsigned long long)tree_last_zxid(n->tree) : 0);
    }
    char *text = x_strdup(wr_cstr(&w));
    wr_free(&w);
    return text;
}

static void require(struct cluster *cl, bool (*fn)(const struct cluster *cl), int64_t for_us, const char *name, const char *what)
{
    if (cl->w->stopped || run_until(cl, fn, for_us) || cl->w->stopped)
        return;
    char *text = states(cl);
    world_finding(cl->w, name, 0, "%s within %lld s after the last fault: %s", what, (long long)(for_us / SEC_US), text);
    free(text);
}

static void make_peace(struct cluster *cl)
{
    int64_t bound = 30 * SEC_US + 40 * (int64_t)cl->tick_ms * MS_US;

    nemesis_stop(cl);
    load_settle_config(cl);
    require(cl, all_serve, bound, "liveness.serving", "not all servers serve");
    cl->calm_from_us = cl->w->now_us;
    /* Clients go on for a while: long enough for a session to expire that should not. */
    while (!cl->w->stopped && world_step(cl->w, cl->calm_from_us + MIN(15 * (int64_t)cl->tick_ms * MS_US, 10 * SEC_US)))
        ;
    load_stop(cl);
    require(cl, all_idle, bound, "liveness.answers", "not all clients are answered");
    if (!cl->w->stopped)
        (void)run_until(cl, all_equal, bound);
    require(cl, all_equal, bound, "liveness.converged", "not all servers have the same history");
}

/* ---- the verdict ---- */

static void judge(struct cluster *cl, struct sim_result *ret)
{
    struct check_commit *log = x_calloc(cl->commits.len + 1, sizeof(*log));
    struct check_replica replicas[NODES_MAX];
    struct check_report report = { .per_check = 3 };
    struct check_calm calm = { cl->calm_from_us, cl->w->now_us };
    struct check_input in = { .h = cl->history, .log = log, .log_len = cl->commits.len, .log_known = true, .replicas = replicas,
                              .calm = &calm, .calm_count = 1, .tick_ms = cl->tick_ms, .drift_ppm = 50000, .extended_types = true };

    for (size_t i = 0; i < cl->commits.len; i++)
        log[i] = (struct check_commit){ cl->commits.items[i].zxid, buf_of(cl->commits.items[i].txn, cl->commits.items[i].txn_len),
                                        cl->commits.items[i].at_us };
    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->nodes[i].state == NODE_RUNNING && cl->nodes[i].serving)
            replicas[in.replica_count++] = (struct check_replica){ i, cl->nodes[i].tree };
    check_all(&in, &report);
    ret->undecided = report.undecided;
    for (size_t i = 0; i < report.findings.len; i++) {
        const struct check_finding *f = &report.findings.items[i];
        world_finding(cl->w, f->name, f->server == UINT32_MAX ? 0 : (int64_t)f->server + 1, "%s", f->text);
    }
    check_report_free(&report);
    free(log);
}

/* ---- the run ---- */

static void on_log_line(void *data, enum log_level level, const char *component, const char *text)
{
    struct world *w = data;

    (void)level, (void)component;
    world_line(w, SIM_LINE_LOG, w->actor, 0, "%s", text);
}

static void on_no_log_line(void *data, enum log_level level, const char *component, const char *text)
{
    (void)data, (void)level, (void)component, (void)text;
}

static void keep_last_lines(struct sim_result *r, size_t keep)
{
    size_t seen[NODES_MAX + 1] = { 0 }, kept = r->lines.len;

    for (size_t i = r->lines.len; i-- > 0;) {
        struct sim_line l = r->lines.items[i];
        if (l.kind != SIM_LINE_FINDING && l.kind != SIM_LINE_FAULT && seen[l.server]++ >= keep)
            free((char *)(uintptr_t)l.text);
        else
            r->lines.items[--kept] = l;
    }
    if (kept > 0)
        memmove(r->lines.items, r->lines.items + kept, (r->lines.len - kept) * sizeof(*r->lines.items));
    r->lines.len -= kept;
}

void sim_run(const struct sim_options *o, struct sim_result *ret)
{
    struct world w;
    struct cluster *cl = x_calloc(1, sizeof(*cl));

    hash_fix_seed(UINT64_C(0x51AB));
    *ret = (struct sim_result){ .seed = o->seed };
    world_init(&w, o->seed, o, ret);
    log_set_level(w.wants_lines ? LOG_INFO : LOG_ERROR);
    log_set_sink(w.wants_lines ? on_log_line : on_no_log_line, &w);
    cluster_begin(cl, &w, o);
    while (world_step(&w, (o->duration_ms > 0 ? o->duration_ms : 60000) * MS_US))
        ;
    if (!w.stopped)
        make_peace(cl);
    if (!w.stopped) {
        inv_final(cl);
        judge(cl, ret);
    }
    ret->trace_hash = w.trace;
    ret->events = w.events;
    ret->virtual_ms = w.now_us / MS_US;
    ret->servers = cl->voters;
    ret->observers = cl->observers;
    ret->clients = cl->clients;
    ret->elections = cl->elections;
    ret->crashes = cl->crashes;
    ret->commits = cl->commits.len;
    ret->config_changes = cl->config_changes;
    load_figures(cl, ret);
    cluster_done(cl);
    free(cl);
    world_done(&w);
    keep_last_lines(ret, o->keep_lines);
    log_set_sink(NULL, NULL);
    log_set_level(LOG_INFO);
}

void sim_result_free(struct sim_result *r)
{
    for (size_t i = 0; i < r->findings.len; i++)
        free(r->findings.items[i].text);
    for (size_t i = 0; i < r->schedule.len; i++)
        free(r->schedule.items[i].text);
    for (size_t i = 0; i < r->lines.len; i++)
        free((char *)(uintptr_t)r->lines.items[i].text);
    VEC_FREE(&r->findings);
    VEC_FREE(&r->schedule);
    VEC_FREE(&r->lines);
}
