/* sim_apart.c - a run in a child process. See sim_apart.h. */
#include "sim_apart.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/relapse.h"

/* Processor time that a run may take. A run needs less than a second; a loop that does not end must not stop a night's search. */
enum { CPU_LIMIT_S = 120 };

int apart_init(struct apart *a)
{
    *a = (struct apart){ .err_fd = -1 };
    a->result = mmap(NULL, sizeof(*a->result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (a->result == MAP_FAILED) {
        a->result = NULL;
        return RC_IO;
    }
    a->err_fd = memfd_create("quoll-sim-stderr", MFD_CLOEXEC);
    if (a->err_fd < 0) {
        apart_done(a);
        return RC_IO;
    }
    return 0;
}

void apart_done(struct apart *a)
{
    if (a->pid > 0) {
        (void)kill(a->pid, SIGKILL); /* gone already is as good */
        (void)waitpid(a->pid, NULL, 0);
        a->pid = 0;
    }
    if (a->result)
        (void)munmap(a->result, sizeof(*a->result));
    a->result = NULL;
    if (a->err_fd >= 0)
        close(a->err_fd);
    a->err_fd = -1;
}

/* ---- in the child ---- */

static void copy_text(char *to, size_t cap, const char *from)
{
    size_t n = MIN(strlen(from), cap - 1);

    memcpy(to, from, n);
    to[n] = 0;
}

static void take_line(void *data, const struct sim_line *line)
{
    struct apart_result *r = data;
    bool story = line->kind == SIM_LINE_FAULT || line->kind == SIM_LINE_LIFE || line->kind == SIM_LINE_ROLE ||
                 line->kind == SIM_LINE_FINDING;
    struct apart_ring *ring = story ? &r->story : &r->chatter;
    struct apart_line *l = &ring->items[ring->count % APART_LINES];

    *l = (struct apart_line){ .at_us = line->at_us, .server = line->server, .to = line->to, .kind = line->kind,
        .number = r->story.count + r->chatter.count };
    copy_text(l->text, sizeof(l->text), line->text);
    ring->count++;
}

static void take_findings(struct apart_result *r, const struct sim_result *s)
{
    r->findings_len = s->findings.len;
    for (size_t i = 0; i < MIN(s->findings.len, (size_t)APART_FINDINGS); i++) {
        const struct sim_finding *f = &s->findings.items[i];
        r->findings[i].at_us = f->at_us;
        r->findings[i].server = f->server;
        copy_text(r->findings[i].name, sizeof(r->findings[i].name), f->name);
        copy_text(r->findings[i].text, sizeof(r->findings[i].text), f->text);
    }
}

static void take_result(struct apart_result *r, const struct sim_result *s)
{
    r->trace_hash = s->trace_hash;
    r->events = s->events;
    r->virtual_ms = s->virtual_ms;
    r->servers = s->servers;
    r->observers = s->observers;
    r->clients = s->clients;
    r->elections = s->elections;
    r->crashes = s->crashes;
    r->commits = s->commits;
    r->config_changes = s->config_changes;
    r->operations = s->operations;
    r->unknown_operations = s->unknown_operations;
    r->undecided = s->undecided;
    take_findings(r, s);
    r->plan_len = MIN(s->schedule.len, (size_t)APART_PLAN);
    for (size_t i = 0; i < r->plan_len; i++) {
        const struct sim_planned_fault *f = &s->schedule.items[i];
        r->plan[i] = (struct apart_plan){ .number = f->number, .fault = f->fault, .skipped = f->skipped, .from_us = f->from_us,
            .until_us = f->until_us };
        copy_text(r->plan[i].text, sizeof(r->plan[i].text), f->text);
    }
    r->finished = true;
}

static _Noreturn void child(struct apart *a, const struct apart_options *o)
{
    struct sim_options so = o->sim;
    struct sim_result s;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)setrlimit(RLIMIT_CPU, &(struct rlimit){ CPU_LIMIT_S, CPU_LIMIT_S + 5 });
    if (dup2(a->err_fd, STDERR_FILENO) < 0)
        _exit(1);
    log_set_level(LOG_ERROR);
    for (int i = 0; i < RELAPSE_COUNT; i++)
        if (o->relapses >> i & 1)
            relapse_set((enum relapse)i, true);
    if (o->lines) {
        so.line = take_line;
        so.line_data = a->result;
    }
    sim_run(&so, &s);
    take_result(a->result, &s);
    _exit(0); /* what the run holds goes with the process */
}

/* ---- in the parent ---- */

int apart_start(struct apart *a, const struct apart_options *o)
{
    struct apart_result *r = a->result;

    ASSERT(a->pid == 0);
    r->finished = false;
    r->seed = o->sim.seed;
    r->trace_hash = r->events = r->elections = r->crashes = r->commits = r->config_changes = r->operations = r->unknown_operations = r->undecided = 0;
    r->virtual_ms = 0;
    r->servers = r->observers = r->clients = 0;
    r->findings_len = r->plan_len = 0;
    r->story.count = r->chatter.count = 0;
    if (ftruncate(a->err_fd, 0) < 0 || lseek(a->err_fd, 0, SEEK_SET) < 0)
        return RC_IO;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return RC_IO;
    if (pid == 0)
        child(a, o);
    a->pid = pid;
    return 0;
}

/* The last of what the child said, from the beginning of a line. */
static void last_words(const struct apart *a, char *ret, size_t cap)
{
    off_t size = lseek(a->err_fd, 0, SEEK_END), from = MAX(size - (off_t)cap + 1, (off_t)0);
    ssize_t n = pread(a->err_fd, ret, cap - 1, from);

    ret[MAX(n, (ssize_t)0)] = 0;
    char *line = from > 0 ? strchr(ret, '\n') : NULL;
    if (line)
        memmove(ret, line + 1, strlen(line + 1) + 1);
    for (size_t len = strlen(ret); len > 0 && ret[len - 1] == '\n'; len--)
        ret[len - 1] = 0;
}

void apart_reap(struct apart *a, int status)
{
    struct apart_result *r = a->result;
    struct apart_finding *f = &r->findings[0];
    char words[APART_TEXT / 2];
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

    a->pid = 0;
    if (r->finished)
        return;
    bool hung = sig == SIGXCPU;
    last_words(a, words, sizeof(words));
    const char *assertion = strstr(words, "assertion failed: ");
    *f = (struct apart_finding){ 0 };
    if (r->story.count + r->chatter.count > 0) {
        const struct apart_ring *ring = r->chatter.count > 0 ? &r->chatter : &r->story;
        f->at_us = ring->items[(ring->count - 1) % APART_LINES].at_us;
    }
    copy_text(f->name, sizeof(f->name), hung ? "process.hang" : assertion ? "process.assertion" : "process.crash");
    if (hung)
        (void)snprintf(f->text, sizeof(f->text), "the run does not end: more than %d s of processor time\n%s", CPU_LIMIT_S, words);
    else if (assertion)
        copy_text(f->text, sizeof(f->text), words);
    else if (sig)
        (void)snprintf(f->text, sizeof(f->text), "the process died of signal %d (%s)\n%s", sig, strsignal(sig), words);
    else
        (void)snprintf(f->text, sizeof(f->text), "the process ended with status %d\n%s", WEXITSTATUS(status), words);
    r->findings_len = 1;
}

int apart_run(struct apart *a, const struct apart_options *o)
{
    int status;
    int rc = apart_start(a, o);

    if (rc < 0)
        return rc;
    while (waitpid(a->pid, &status, 0) < 0)
        if (errno != EINTR)
            return RC_IO;
    apart_reap(a, status);
    return 0;
}

/* ---- lines ---- */

static int by_number(const void *x, const void *y)
{
    const struct apart_line *const *a = x, *const *b = y;

    return (*a)->number < (*b)->number ? -1 : (*a)->number > (*b)->number;
}

size_t apart_lines(const struct apart_result *r, const struct apart_line ***ret)
{
    const struct apart_ring *const rings[] = { &r->story, &r->chatter };
    size_t len = 0;

    *ret = x_calloc(2 * APART_LINES, sizeof(**ret));
    for (size_t k = 0; k < ARRAY_LEN(rings); k++)
        for (uint64_t i = rings[k]->count - MIN(rings[k]->count, (uint64_t)APART_LINES); i < rings[k]->count; i++)
            (*ret)[len++] = &rings[k]->items[i % APART_LINES];
    qsort(*ret, len, sizeof(**ret), by_number);
    return len;
}
