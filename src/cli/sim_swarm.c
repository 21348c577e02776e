/* sim_swarm.c - hands seeds to processes, one run each, as many at a time as there are cores. */
#include "sim_swarm.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"

enum { PROGRESS_MS = 200 };

struct swarm {
    const struct swarm_options *o;
    struct swarm_stats stats;
    struct apart *workers;
    uint64_t next;    /* run: two per seed with `twice` */
    uint64_t runs;
    uint64_t *hashes; /* twice: of the run of the seed that ended first; 0: none yet */
    bool stop;        /* asked to */
    struct apart *first; /* stop_at_first: the one that ran the lowest seed with a finding; it runs nothing after that */
    sigset_t old_mask;
};

static uint64_t runs_per_seed(const struct swarm *s)
{
    return s->o->twice ? 2 : 1;
}

static int start_next(struct swarm *s, struct apart *a)
{
    struct apart_options run = s->o->run;

    run.sim.seed = s->o->first + s->next / runs_per_seed(s);
    s->next++;
    return apart_start(a, &run);
}

/* The trace of the second run has to be the first's. True: this was the second. */
static bool compare_runs(struct swarm *s, struct apart_result *r)
{
    uint64_t *h = &s->hashes[r->seed - s->o->first], mine = r->finished && r->trace_hash != 0 ? r->trace_hash : 1;

    if (*h == 0) {
        *h = mine;
        return false;
    }
    if (*h != mine && r->findings_len < APART_FINDINGS) {
        struct apart_finding *f = &r->findings[r->findings_len++];
        *f = (struct apart_finding){ .name = "sim.determinism" };
        (void)snprintf(f->text, sizeof(f->text), "two runs of this seed have different traces: %016" PRIx64 " and %016" PRIx64, *h, mine);
    }
    return true;
}

static void run_done(struct swarm *s, struct apart *a)
{
    struct swarm_stats *t = &s->stats;
    struct apart_result *r = a->result;

    if (s->first && r->seed > s->first->result->seed)
        return; /* what ended while the lower ones were waited for */
    t->runs++;
    t->events += r->events;
    t->virtual_ms += r->virtual_ms;
    if (s->o->twice && !compare_runs(s, r))
        return;
    t->seeds++;
    t->trace_hash ^= r->trace_hash * (2 * r->seed + 1);
    t->elections += r->elections;
    t->crashes += r->crashes;
    t->commits += r->commits;
    t->config_changes += r->config_changes;
    t->operations += r->operations;
    t->unknown_operations += r->unknown_operations;
    t->undecided += r->undecided;
    if (s->o->stop_at_first && r->findings_len > 0) {
        s->first = a;
        t->broken = 1;
        return;
    }
    t->broken += r->findings_len > 0;
    s->o->done(s->o->data, r);
}

static struct apart *worker_of(struct swarm *s, pid_t pid)
{
    for (int i = 0; i < s->o->jobs; i++)
        if (s->workers[i].pid == pid)
            return &s->workers[i];
    return NULL;
}

/* Does anything run that matters? Behind a seed with a finding only the lower ones do. */
static bool any_runs(const struct swarm *s)
{
    for (int i = 0; i < s->o->jobs; i++)
        if (s->workers[i].pid > 0 && (!s->first || s->workers[i].result->seed < s->first->result->seed))
            return true;
    return false;
}

static bool more_to_start(const struct swarm *s)
{
    return s->next < s->runs && !s->stop && !s->first;
}

static void reap(struct swarm *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct apart *a = worker_of(s, pid);
        if (!a)
            continue;
        apart_reap(a, status);
        run_done(s, a);
    }
}

static int fill(struct swarm *s)
{
    int rc = 0;

    for (int i = 0; i < s->o->jobs && more_to_start(s) && rc == 0; i++)
        if (s->workers[i].pid == 0)
            rc = start_next(s, &s->workers[i]);
    return rc;
}

/* Sleeps until a child ends or it is time to tell how far things are. */
static void wait_some(struct swarm *s, const sigset_t *set)
{
    struct timespec t = { 0, PROGRESS_MS * 1000000L };
    int sig = sigtimedwait(set, NULL, &t);

    if (sig == SIGINT || sig == SIGTERM)
        s->stop = true;
}

static int64_t children_cpu_ms(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_CHILDREN, &u) < 0)
        return 0;
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static int work(struct swarm *s, const sigset_t *set)
{
    int64_t started = clock_mono_ms(), cpu = children_cpu_ms(), told = started;
    int rc = 0;

    while (rc == 0 && !s->stop && (any_runs(s) || more_to_start(s))) {
        rc = fill(s);
        if (rc == 0 && any_runs(s))
            wait_some(s, set);
        reap(s);
        int64_t now = clock_mono_ms();
        s->stats.elapsed_ms = now - started;
        if (now - told >= PROGRESS_MS) {
            told = now;
            s->o->progress(s->o->data, &s->stats);
        }
    }
    if (s->first)
        s->o->done(s->o->data, s->first->result);
    s->stats.elapsed_ms = clock_mono_ms() - started;
    s->stats.cpu_ms = children_cpu_ms() - cpu;
    return rc;
}

int swarm_run(const struct swarm_options *o, struct swarm_stats *ret)
{
    struct swarm s = { .o = o, .runs = o->count * (o->twice ? 2 : 1) };
    sigset_t set;
    int rc = 0;

    ASSERT(o->jobs > 0);
    s.workers = x_calloc((size_t)o->jobs, sizeof(*s.workers));
    s.hashes = o->twice ? x_calloc(o->count, sizeof(*s.hashes)) : NULL;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &s.old_mask);
    for (int i = 0; i < o->jobs && rc == 0; i++)
        rc = apart_init(&s.workers[i]);
    if (rc == 0)
        rc = work(&s, &set);
    for (int i = 0; i < o->jobs; i++)
        if (s.workers[i].result)
            apart_done(&s.workers[i]);
    sigprocmask(SIG_SETMASK, &s.old_mask, NULL);
    free(s.workers);
    free(s.hashes);
    *ret = s.stats;
    return rc;
}
