/* cmd_sim.c - quoll sim: searches simulated ensembles for faults of the shipped code, and shows what it finds. */
#include <inttypes.h>
#include <langinfo.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/relapse.h"
#include "base/str.h"
#include "sim_shrink.h"
#include "sim_swarm.h"
#include "sim_timeline.h"
#include "zk.h"

enum {
    DURATION_DEFAULT_MS = 60000,
    SHOWN = 3,         /* findings shown in full */
    SHRINK_MS = 60000, /* real time for making one smaller */
    ASIDE_MS = 10000,  /* between two lines of progress where there is no terminal */
};

static int64_t seed = 1, servers, observers = -1, clients, jobs, shown_lines = 40;
static char *seeds, *duration, *timeline, *output;
static struct strs faults, bugs, skips;
static bool with_groups = true, all_faults, reconfig, twice, stop_at_first, minimize, messages;

static const struct flag flags[] = {
    { "seed", 0, FLAG_INT, "N", "the seed, or the first of --seeds (default: 1)", &seed, 0, INT64_MAX },
    { "seeds", 0, FLAG_TEXT, "N|A-B", "how many seeds, or from which to which (default: one)", &seeds, 0, 0 },
    { "servers", 0, FLAG_INT, "N", "voting servers (default: 3 or 5, as the seed says)", &servers, 1, 9 },
    { "observers", 0, FLAG_INT, "N", "observers (default: 0 to 2, as the seed says)", &observers, 0, 5 },
    { "clients", 0, FLAG_INT, "N", "virtual clients (default: as the seed says)", &clients, 1, 64 },
    { "groups", 0, FLAG_BOOL, NULL, "weights and groups now and then, as the seed says (default: true)", &with_groups, 0, 0 },
    { "duration", 0, FLAG_TEXT, "TIME", "virtual time with faults, as 90s, 5m or 500ms (default: 60s); a quiet phase follows", &duration, 0, 0 },
    { "faults", 0, FLAG_LIST, "NAME[,NAME]", "only these of the faults above; none: no faults (default: each seed takes some)", &faults, 0, 0 },
    { "all-faults", 0, FLAG_BOOL, NULL, "every allowed fault in every seed", &all_faults, 0, 0 },
    { "reconfig", 0, FLAG_BOOL, NULL, "clients change the ensemble's members; one or two servers are there to join (with --all-faults, unless --faults chooses: always)", &reconfig, 0, 0 },
    { "reintroduce", 0, FLAG_LIST, "BUG", "switch a historical bug on, as ZOOKEEPER-3911", &bugs, 0, 0 },
    { "skip", 0, FLAG_LIST, "N[,N]", "leave these faults of the schedule out", &skips, 0, 0 },
    { "jobs", 'j', FLAG_INT, "N", "processes at a time (default: one per core)", &jobs, 1, 1024 },
    { "twice", 0, FLAG_BOOL, NULL, "run each seed in two processes and compare the traces", &twice, 0, 0 },
    { "stop-at-first", 0, FLAG_BOOL, NULL, "end with the lowest seed that has a finding", &stop_at_first, 0, 0 },
    { "minimize", 0, FLAG_BOOL, NULL, "leave out faults while the finding stays", &minimize, 0, 0 },
    { "timeline", 0, FLAG_TEXT, "FILE", "write the first finding's timeline (of a single seed: always); a picture if FILE ends in .svg, else text", &timeline, 0, 0 },
    { "lines", 0, FLAG_INT, "N", "lines of the timeline shown with a finding (default: 40)", &shown_lines, 0, 100000 },
    { "messages", 0, FLAG_BOOL, NULL, "show messages between servers too", &messages, 0, 0 },
    { "output", 'o', FLAG_TEXT, "FORMAT", "text or json (default: text)", &output, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, log_flags, NULL };

/* ---- flags ---- */

/* "90s", "5m", "500ms", "90": seconds. */
static int parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct { const char *suffix; int64_t ms; } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "", 1000 } };

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!str_has_suffix(text, units[i].suffix))
            continue;
        char *number = x_strndup(text, strlen(text) - strlen(units[i].suffix));
        int rc = str_to_i64(number, 1, INT64_C(86400000) / units[i].ms, ret_ms);
        free(number);
        *ret_ms *= rc == 0 ? units[i].ms : 1;
        return rc;
    }
    return RC_INVAL;
}

static int parse_seeds(uint64_t *ret_first, uint64_t *ret_count)
{
    int64_t a, b;

    *ret_first = (uint64_t)seed;
    *ret_count = 1;
    if (!seeds)
        return 0;
    char *text = x_strdup(seeds), *dash = strchr(text, '-');
    if (dash)
        *dash = 0;
    int rc = str_to_i64(text, dash ? 0 : 1, INT64_MAX / 4, &a);
    if (rc == 0 && dash)
        rc = str_to_i64(dash + 1, a, INT64_MAX / 4, &b);
    free(text);
    if (rc < 0)
        return complain(-EXIT_USAGE, "--seeds: %s is neither a number nor a range such as 1-1000", seeds);
    if (dash)
        *ret_first = (uint64_t)a;
    *ret_count = dash ? (uint64_t)(b - a) + 1 : (uint64_t)a;
    return 0;
}

static int fault_by_name(const char *name)
{
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        if (strcmp(sim_fault_name((enum sim_fault)i), name) == 0)
            return i;
    return -1;
}

/* Calls back for every part between commas of every use of the flag. */
static int each_part(const struct strs *l, int (*fn)(const char *part, void *data), void *data)
{
    int rc = 0;

    for (size_t i = 0; i < l->len && rc == 0; i++) {
        char **parts = str_split(l->items[i], ",", NULL);
        for (size_t k = 0; parts[k] && rc == 0; k++)
            rc = fn(parts[k], data);
        str_split_free(parts);
    }
    return rc;
}

static int add_fault(const char *name, void *data)
{
    uint32_t *bits = data;
    int f = fault_by_name(name);

    if (strcmp(name, "none") == 0)
        return 0;
    if (strcmp(name, "all") == 0) {
        *bits = SIM_FAULTS_ALL;
        return 0;
    }
    if (f < 0)
        return complain(-EXIT_USAGE, "--faults: there is no fault %s; 'quoll sim --help' lists them", name);
    *bits |= 1u << f;
    return 0;
}

static int add_bug(const char *name, void *data)
{
    uint64_t *bits = data;
    enum relapse r = relapse_find(name);

    if (r == RELAPSE_COUNT)
        return complain(-EXIT_USAGE, "--reintroduce: %s is not in the list; 'quoll sim --help' shows it", name);
    *bits |= UINT64_C(1) << r;
    return 0;
}

struct skip_list {
    uint32_t *items;
    size_t len, cap;
};

static int add_skip(const char *text, void *data)
{
    struct skip_list *l = data;
    int64_t n;

    if (str_to_i64(text, 0, UINT32_MAX, &n) < 0)
        return complain(-EXIT_USAGE, "--skip: %s is not the number of a fault", text);
    VEC_PUSH(l, (uint32_t)n);
    return 0;
}

static int run_options(struct apart_options *ret, struct skip_list *skip)
{
    struct apart_options o = { 0 };

    sim_options_init(&o.sim);
    o.sim.duration_ms = DURATION_DEFAULT_MS;
    if (duration && parse_duration(duration, &o.sim.duration_ms) < 0)
        return complain(-EXIT_USAGE, "--duration: %s is not a time such as 90s, 5m or 500ms", duration);
    o.sim.servers = (uint32_t)servers;
    o.sim.observers = (int32_t)observers;
    o.sim.clients = (uint32_t)clients;
    o.sim.groups = with_groups;
    o.sim.all_faults = all_faults;
    o.sim.reconfig = reconfig || (all_faults && faults.len == 0);
    o.sim.stop_at_finding = true;
    if (faults.len > 0)
        o.sim.faults = 0;
    int rc = each_part(&faults, add_fault, &o.sim.faults);
    if (rc == 0)
        rc = each_part(&bugs, add_bug, &o.relapses);
    if (rc == 0)
        rc = each_part(&skips, add_skip, skip);
    o.sim.skip = skip->items;
    o.sim.skip_count = skip->len;
    *ret = o;
    return rc;
}

/* ---- what was found ---- */

struct found {
    uint64_t seed;
    struct apart_finding finding; /* the first of the seed */
    size_t more;
};
struct kind {
    char name[sizeof((struct apart_finding){ 0 }.name)];
    uint64_t seeds, first;
};
struct search {
    struct apart_options run;
    uint64_t first, count;
    int jobs;
    bool json, terminal;
    int64_t told_ms; /* progress */
    struct VEC(struct found *) found; /* the first few, by seed */
    struct VEC(struct kind) kinds;
    struct VEC(uint64_t) broken; /* every seed with a finding, in the order in which they ended */

};

static void count_kind(struct search *s, const char *name, uint64_t in)
{
    for (size_t i = 0; i < s->kinds.len; i++) {
        if (strcmp(s->kinds.items[i].name, name) != 0)
            continue;
        s->kinds.items[i].seeds++;
        s->kinds.items[i].first = MIN(s->kinds.items[i].first, in);
        return;
    }
    struct kind k = { .seeds = 1, .first = in };
    memcpy(k.name, name, sizeof(k.name));
    VEC_PUSH(&s->kinds, k);
}

static void seed_done(void *data, const struct apart_result *r)
{
    struct search *s = data;

    if (r->findings_len == 0)
        return;
    count_kind(s, r->findings[0].name, r->seed);
    VEC_PUSH(&s->broken, r->seed);
    struct found *f = x_malloc(sizeof(*f));
    *f = (struct found){ .seed = r->seed, .finding = r->findings[0], .more = r->findings_len - 1 };
    size_t at = s->found.len;
    VEC_PUSH(&s->found, f);
    for (; at > 0 && s->found.items[at - 1]->seed > f->seed; at--)
        s->found.items[at] = s->found.items[at - 1];
    s->found.items[at] = f;
    if (s->found.len > SHOWN)
        free(s->found.items[--s->found.len]);
}

/* ---- progress ---- */

static void say_large(char out[32], uint64_t n)
{
    if (n >= 10000000)
        (void)snprintf(out, 32, "%.1f M", (double)n / 1e6);
    else if (n >= 10000)
        (void)snprintf(out, 32, "%.1f k", (double)n / 1e3);
    else
        (void)snprintf(out, 32, "%" PRIu64, n);
}

static void show_progress(void *data, const struct swarm_stats *t)
{
    struct search *s = data;
    double sec = (double)MAX(t->elapsed_ms, (int64_t)1) / 1000;
    char per_s[32], left[48] = "";

    if (s->count == 1 || (!s->terminal && t->elapsed_ms - s->told_ms < ASIDE_MS))
        return;
    s->told_ms = t->elapsed_ms;
    say_large(per_s, (uint64_t)((double)t->events / sec));
    if (t->seeds > 0) {
        int64_t rest = (int64_t)((double)(s->count - t->seeds) / ((double)t->seeds / sec));
        (void)snprintf(left, sizeof(left), ", %lld:%02lld to go", (long long)(rest / 60), (long long)(rest % 60));
    }
    (void)fprintf(stderr, "%s%" PRIu64 " of %" PRIu64 " seeds, %.1f per second, %.2f virtual hours, %s events per second, %" PRIu64 " with findings%s%s",
                  s->terminal ? "\r" : "", t->seeds, s->count, (double)t->seeds / sec, (double)t->virtual_ms / 3.6e6, per_s, t->broken, left,
                  s->terminal ? "\033[K" : "\n");
    (void)fflush(stderr);
}

static void clear_progress(const struct search *s)
{
    if (s->terminal && s->count > 1)
        (void)fputs("\r\033[K", stderr);
}

/* ---- telling ---- */

/* What shows this run again. */
static char *replay_command(const struct search *s, const struct apart_options *o)
{
    struct wr w = wr_init(0);

    wr_printf(&w, "%s sim --seed %" PRIu64, program_path, o->sim.seed);
    if (servers)
        wr_printf(&w, " --servers %lld", (long long)servers);
    if (observers >= 0)
        wr_printf(&w, " --observers %lld", (long long)observers);
    if (clients)
        wr_printf(&w, " --clients %lld", (long long)clients);
    if (!with_groups)
        wr_text(&w, " --groups=false");
    if (o->sim.duration_ms != DURATION_DEFAULT_MS)
        wr_printf(&w, " --duration %lldms", (long long)o->sim.duration_ms);
    for (size_t i = 0; i < faults.len; i++)
        wr_printf(&w, " --faults %s", faults.items[i]);
    if (all_faults)
        wr_text(&w, " --all-faults");
    if (reconfig)
        wr_text(&w, " --reconfig");
    for (int i = 0; i < RELAPSE_COUNT; i++)
        if (s->run.relapses >> i & 1)
            wr_printf(&w, " --reintroduce ZOOKEEPER-%d", relapse_table[i].number);
    for (size_t i = 0; i < o->sim.skip_count; i++)
        wr_printf(&w, "%s%u", i == 0 ? " --skip " : ",", o->sim.skip[i]);
    wr_u8(&w, 0);
    char *text = x_strdup((const char *)w.p);
    wr_free(&w);
    return text;
}

static struct timeline_style terminal_style(void)
{
    struct timeline_style st = { .unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 };
    struct winsize w;

    if (isatty(STDOUT_FILENO)) {
        st.colour = getenv("NO_COLOR") == NULL;
        st.width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 60 ? w.ws_col : 100;
    }
    return st;
}

static void print_indented(const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        printf("    %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void print_plan(const struct apart_result *r)
{
    size_t carried_out = 0;

    for (size_t i = 0; i < r->plan_len; i++)
        carried_out += !r->plan[i].skipped;
    printf("  Schedule of faults (%zu):\n", carried_out);
    for (size_t i = 0; i < r->plan_len; i++) {
        const struct apart_plan *p = &r->plan[i];
        if (p->skipped)
            continue;
        printf("    %3u  %10.3f s ", p->number, (double)p->from_us / 1e6);
        if (p->until_us > p->from_us)
            printf("to %10.3f s", (double)p->until_us / 1e6);
        else
            printf("%15s", "");
        printf("  %s\n", p->text);
    }
}

static json_t *plan_json(const struct apart_result *r)
{
    json_t *a = json_array();

    for (size_t i = 0; i < r->plan_len; i++) {
        const struct apart_plan *p = &r->plan[i];
        if (!p->skipped)
            json_array_append_new(a, json_pack("{s:I, s:s, s:f, s:f, s:s}", "number", (json_int_t)p->number, "fault",
                                               sim_fault_name(p->fault), "from_s", (double)p->from_us / 1e6, "until_s",
                                               (double)p->until_us / 1e6, "text", p->text));
    }
    return a;
}

/* Runs one seed again with its timeline; made smaller before if that was asked for. */
struct replay {
    struct apart_options o;
    struct shrunk shrunk;
    char *command, *title;
};

static int replay(const struct search *s, struct apart *a, const struct found *f, struct replay *ret)
{
    int rc = 0;

    *ret = (struct replay){ .o = s->run };
    ret->o.sim.seed = f->seed;
    if (minimize) {
        if (s->terminal)
            (void)fprintf(stderr, "making seed %" PRIu64 " smaller...", f->seed);
        rc = sim_shrink(a, &ret->o, f->finding.name, SHRINK_MS, &ret->shrunk);
        ret->o.sim.skip = ret->shrunk.skip.items;
        ret->o.sim.skip_count = ret->shrunk.skip.len;
        if (s->terminal)
            (void)fputs("\r\033[K", stderr);
    }
    ret->o.lines = true;
    if (rc == 0)
        rc = apart_run(a, &ret->o);
    ret->command = replay_command(s, &ret->o);
    ret->title = x_asprintf("seed %" PRIu64 ": %s", f->seed, f->finding.name);
    return rc;
}

static void replay_free(struct replay *r)
{
    VEC_FREE(&r->shrunk.skip);
    free(r->command);
    free(r->title);
}

static void print_found(const struct found *f, const struct replay *rp, const struct apart_result *r)
{
    /* What determinism broke need not show again. */
    const struct apart_finding *x = r->findings_len > 0 && r->finished ? &r->findings[0] : &f->finding;

    printf("Seed %" PRIu64 ": %s", f->seed, x->name);
    if (x->at_us > 0)
        printf(", at %.6f s", (double)x->at_us / 1e6);
    if (x->server > 0)
        printf(", server %lld", (long long)x->server);
    printf("\n");
    print_indented(x->text);
    if (f->more > 0)
        printf("    and %zu more in this run\n", f->more);
    printf("  Again:  %s\n", rp->command);
    if (rp->shrunk.runs > 0)
        printf("  Made smaller: %zu of %zu faults are enough (%" PRIu64 " runs)\n", rp->shrunk.left, rp->shrunk.faults, rp->shrunk.runs);
    if (r->plan_len > 0)
        print_plan(r);
    if (shown_lines > 0 && r->story.count + r->chatter.count > 0) {
        printf("  Timeline (the end; all of it: --timeline FILE):\n");
        timeline_text(stdout, r, (size_t)shown_lines, messages, terminal_style());
    }
    printf("\n");
}

static json_t *found_json(const struct found *f, const struct replay *rp, const struct apart_result *r)
{
    json_t *j = json_pack("{s:I, s:s, s:s, s:f, s:I, s:s, s:o}", "seed", (json_int_t)f->seed, "name", f->finding.name, "text",
                          f->finding.text, "at_s", (double)f->finding.at_us / 1e6, "server", (json_int_t)f->finding.server, "command",
                          rp->command, "schedule", plan_json(r));
    if (rp->shrunk.runs > 0)
        json_object_set_new(j, "minimized", json_pack("{s:I, s:I, s:I}", "faults", (json_int_t)rp->shrunk.faults, "left",
                                                      (json_int_t)rp->shrunk.left, "runs", (json_int_t)rp->shrunk.runs));
    return j;
}

static void print_summary(const struct search *s, const struct swarm_stats *t)
{
    double sec = (double)MAX(t->elapsed_ms, (int64_t)1) / 1000;
    char per_s[32], events[32];

    say_large(per_s, (uint64_t)((double)t->events / sec));
    say_large(events, t->events);
    printf("%" PRIu64 " seed%s%s in %.1f s: %.1f per second, %.2f virtual hours, %s events, %s per second\n", t->seeds, t->seeds == 1 ? "" : "s",
           twice ? ", each twice," : "", sec, (double)t->seeds / sec, (double)t->virtual_ms / 3.6e6, events, per_s);
    printf("%" PRIu64 " elections, %" PRIu64 " crashes, %" PRIu64 " transactions committed, %" PRIu64 " requests of clients, of which %" PRIu64
           " without an answer\n", t->elections, t->crashes, t->commits, t->operations, t->unknown_operations);
    if (t->config_changes > 0)
        printf("%" PRIu64 " changes of the members committed\n", t->config_changes);
    printf("trace %016" PRIx64 "\n", t->trace_hash);
    if (t->undecided > 0)
        printf("%" PRIu64 " znode%s of which it could not be decided whether its history is linearizable\n", t->undecided,
               t->undecided == 1 ? "" : "s");
    if (t->broken == 0) {
        printf("nothing found\n");
        return;
    }
    printf("%" PRIu64 " seed%s with findings:\n", t->broken, t->broken == 1 ? "" : "s");
    for (size_t i = 0; i < s->kinds.len; i++)
        printf("  %-28s %6" PRIu64 " seed%s, first %" PRIu64 "\n", s->kinds.items[i].name, s->kinds.items[i].seeds,
               s->kinds.items[i].seeds == 1 ? "" : "s", s->kinds.items[i].first);
}

static json_t *summary_json(const struct search *s, const struct swarm_stats *t)
{
    double sec = (double)MAX(t->elapsed_ms, (int64_t)1) / 1000;
    char hash[20];
    json_t *kinds = json_object(), *broken = json_array();

    for (size_t i = 0; i < s->kinds.len; i++)
        json_object_set_new(kinds, s->kinds.items[i].name, json_integer((json_int_t)s->kinds.items[i].seeds));
    for (size_t i = 0; i < s->broken.len; i++)
        json_array_append_new(broken, json_integer((json_int_t)s->broken.items[i]));
    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, t->trace_hash);
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o}", "first_seed", (json_int_t)s->first,
                     "seeds", (json_int_t)t->seeds, "seeds_with_findings", (json_int_t)t->broken, "seconds", sec, "cpu_seconds",
                     (double)t->cpu_ms / 1000, "seeds_per_second", (double)t->seeds / sec, "virtual_hours", (double)t->virtual_ms / 3.6e6,
                     "events", (json_int_t)t->events, "events_per_second", (double)t->events / sec, "elections", (json_int_t)t->elections,
                     "crashes", (json_int_t)t->crashes, "commits", (json_int_t)t->commits, "reconfigurations", (json_int_t)t->config_changes, "requests", (json_int_t)t->operations,
                     "requests_without_answer", (json_int_t)t->unknown_operations, "undecided", (json_int_t)t->undecided, "trace_hash",
                     hash, "findings_by_name", kinds, "broken_seeds", broken);
}

static int write_timeline(const struct replay *rp, const struct apart_result *r)
{
    if (timeline_write(timeline, r, rp->title) < 0)
        return complain(EXIT_ACCESS, "%s: %m", timeline);
    return EXIT_OK;
}

/* Shows the findings kept. A single seed without one still has a timeline to write. */
static int tell(struct search *s, const struct swarm_stats *t)
{
    struct found clean = { .seed = s->first, .finding = { .name = "nothing found" } };
    json_t *list = s->json ? json_array() : NULL;
    struct apart a;
    int code = EXIT_OK;

    if (apart_init(&a) < 0)
        return complain(EXIT_FAILED, "no memory for a process: %m");
    size_t n = s->found.len == 0 && timeline && s->count == 1 ? 1 : s->found.len;
    for (size_t i = 0; i < n; i++) {
        const struct found *f = s->found.len > 0 ? s->found.items[i] : &clean;
        struct replay rp;
        if (replay(s, &a, f, &rp) < 0)
            code = complain(EXIT_FAILED, "cannot start a process: %m");
        else if (i == 0 && timeline)
            code = write_timeline(&rp, a.result);
        if (s->found.len > 0 && s->json)
            json_array_append_new(list, found_json(f, &rp, a.result));
        else if (s->found.len > 0)
            print_found(f, &rp, a.result);
        replay_free(&rp);
    }
    apart_done(&a);
    if (s->json) {
        json_t *j = summary_json(s, t);
        json_object_set_new(j, "findings", list);
        print_json(j);
    } else {
        print_summary(s, t);
    }
    return code;
}

static int run(int argc, char **argv)
{
    static const char *const formats[] = { "text", "json", NULL };
    struct search s = { .terminal = isatty(STDERR_FILENO) };
    struct skip_list skip = { 0 };
    struct swarm_stats stats;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    (void)argc;
    (void)argv;
    int format = output_format(output ? output : "text", formats);
    if (format < 0)
        return EXIT_USAGE;
    int rc = parse_seeds(&s.first, &s.count);
    if (rc == 0)
        rc = run_options(&s.run, &skip);
    if (rc < 0)
        return -rc;
    s.json = format == 1;
    s.jobs = (int)MIN((uint64_t)(jobs ? jobs : MAX(cores, 1L)), s.count * (twice ? 2 : 1));
    struct swarm_options o = { .run = s.run, .first = s.first, .count = s.count, .jobs = s.jobs, .twice = twice,
        .stop_at_first = stop_at_first, .data = &s, .done = seed_done, .progress = show_progress };
    if (swarm_run(&o, &stats) < 0)
        return complain(EXIT_FAILED, "cannot start processes: %m");
    clear_progress(&s);
    int code = tell(&s, &stats);
    if (code == EXIT_OK && stats.broken > 0)
        code = EXIT_FAILED;
    for (size_t i = 0; i < s.found.len; i++)
        free(s.found.items[i]);
    VEC_FREE(&s.found);
    VEC_FREE(&s.kinds);
    VEC_FREE(&s.broken);
    VEC_FREE(&skip);
    return code;
}

#define FAULT_LINE(id, name, text) "  " name ": " text "\n"
#define BUG_LINE(number, text) "  ZOOKEEPER-" #number ": " text "\n"

const struct command cmd_sim = {
    .name = "sim",
    .args = "",
    .summary = "search simulated ensembles for faults of this very program",
    .text = "Runs whole ensembles of the code that quoll server runs, in one thread, with virtual time, network, disks, clocks and\n"
            "clients. A seed decides everything, so a run can be repeated bit for bit. After every event the invariants of the\n"
            "protocol are checked, at the end what clients saw: writes and sync+reads linearizable, sessions consistent,\n"
            "nothing acknowledged lost, no watch missed or early, all replicas equal, and that all recovers when faults stop.\n\n"
            "  quoll sim --seeds 300 --servers 5              search; exits with 1 when something is found\n"
            "  quoll sim --seed 4711                          one seed; says what it did\n"
            "  quoll sim --seed 4711 --minimize --timeline 4711.svg\n"
            "  quoll sim --seeds 200 --stop-at-first --reintroduce ZOOKEEPER-3911\n"
            "                                                 does the search find what once lost data?\n\n"
            "Faults:\n" SIM_FAULTS(FAULT_LINE) "\n"
            "Historical bugs of ZooKeeper that can be switched back on:\n" RELAPSES(BUG_LINE) "\n"
            "Exit status: 0 nothing found; 1 something was found. docs/simulator.md says more.",
    .groups = groups,
    .max_args = 0,
    .run = run,
};
