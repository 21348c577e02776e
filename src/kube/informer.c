/* informer.c - see informer.h.
 *
 *      start -> LIST -> (pages) -> WATCH -> clean end -> WATCH at the last resourceVersion
 *                ^                   |
 *                +------ 410 --------+      any failure -> WAIT -> the same again, or LIST
 *
 * Two rules keep the registry whole: nothing is removed before a list is complete, and a failure removes nothing. */
#include "informer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/map.h"
#include "normalize.h"
#include "stream.h"

#define PAGE_BYTES_MAX ((size_t)128 << 20)   /* one page of a list */
#define EVENT_BYTES_MAX ((size_t)32 << 20)   /* one watch event; etcd's own limit is 1.5 MiB an object */
#define STATUS_BYTES_MAX ((size_t)64 << 10)  /* the answer of a refused request */
#define RETRY_AFTER_MAX_MS (5 * 60 * 1000)
#define FORBIDDEN_NS_RETRY_MS (5 * 60 * 1000)
#define EMPTY_WATCH_MS 1000                  /* a watch that ends sooner without an event is no watch */
#define HEALTHY_WATCH_MS 10000               /* one that lived so long ends a row of failures */
#define WATCH_FAILURES_MAX 3                 /* in a row, before the resourceVersion is given up */

enum informer_state { INF_IDLE, INF_WAIT, INF_LIST, INF_WATCH };

struct known { /* an object that the consumer has */
    uint64_t round; /* the list that saw it last */
    char *uid, *rv;
};

struct informer {
    struct informer_options opt;
    uint64_t rng;
    enum informer_state state;
    int64_t wake_ms;         /* INF_WAIT: when to go on */
    int64_t started_ms, deadline_ms;
    struct strmap known;     /* "namespace/name" -> struct known */
    uint64_t round;
    uint32_t page_limit;
    char *rv;                /* where the next watch starts; NULL: list first */
    char *cont;              /* the next page's token */
    bool beta;               /* discovery.k8s.io/v1 is not there */
    /* The running answer. */
    int status;
    int64_t retry_after_ms;
    struct wr body;
    struct json_split split;
    bool progress;           /* this watch brought something new */
    bool stop;               /* the stream was given up while its bytes were read */
    int64_t now_ms;          /* of the running call */
    /* What went wrong lately. */
    uint32_t failures, watch_failures;
    bool renewed;            /* credentials were renewed because of the last 401 */
    bool gone;               /* a relist because of 410 brought us here, and the watch has not proved itself */
    /* What the shell shall do. */
    struct informer_action out;
    bool pending;
    char *target;
    struct kube_stats stats;
};

/* ---- small things ---- */

/* splitmix64, by Sebastiano Vigna (public domain). */
static uint64_t random_u64(struct informer *inf)
{
    uint64_t z = (inf->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void set_text(char **p, const char *s)
{
    char *copy = x_strdup(s);
    free(*p);
    *p = copy;
}

static void known_free(void *p)
{
    struct known *k = p;
    free(k->uid);
    free(k->rv);
    free(k);
}

/* Full jitter over a range that doubles, never below the minimum: with 0.8 s and 30 s the first wait is in
 * 0.8..1.6 s, the second in 0.8..3.2 s, from the sixth on 0.8..30 s. */
static int64_t backoff_ms(struct informer *inf)
{
    uint64_t top = (uint64_t)inf->opt.backoff_min_ms << MIN(inf->failures + 1, 20u);
    inf->failures++;
    top = MIN(top, (uint64_t)inf->opt.backoff_max_ms);
    uint64_t span = top > inf->opt.backoff_min_ms ? top - inf->opt.backoff_min_ms : 0;
    return (int64_t)(inf->opt.backoff_min_ms + random_u64(inf) % (span + 1));
}

static const char *what(const struct informer *inf)
{
    static const char *const names[][2] = {
        [KUBE_NAMESPACE] = { "list namespaces", "watch namespaces" },
        [KUBE_SERVICE] = { "list services", "watch services" },
        [KUBE_ENDPOINT_SLICE] = { "list endpointslices", "watch endpointslices" },
        [KUBE_POD] = { "list pods", "watch pods" },
    };
    return names[inf->opt.kind][inf->state == INF_WATCH];
}

/* ---- requests ---- */

static void url_escape(struct wr *w, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~", c);
        if (plain)
            wr_u8(w, c);
        else
            wr_printf(w, "%%%02X", c);
    }
}

static void put_path(const struct informer *inf, struct wr *w)
{
    static const char *const roots[KUBE_KIND_COUNT] = {
        [KUBE_NAMESPACE] = "/api/v1",
        [KUBE_SERVICE] = "/api/v1",
        [KUBE_ENDPOINT_SLICE] = "/apis/discovery.k8s.io/v1",
        [KUBE_POD] = "/api/v1",
    };
    static const char *const resources[KUBE_KIND_COUNT] = {
        [KUBE_NAMESPACE] = "/namespaces",
        [KUBE_SERVICE] = "/services",
        [KUBE_ENDPOINT_SLICE] = "/endpointslices",
        [KUBE_POD] = "/pods",
    };
    wr_text(w, roots[inf->opt.kind]);
    if (inf->beta)
        wr_text(w, "beta1");
    if (inf->opt.ns && inf->opt.kind != KUBE_NAMESPACE) {
        wr_text(w, "/namespaces/");
        url_escape(w, inf->opt.ns);
    }
    wr_text(w, resources[inf->opt.kind]);
    wr_text(w, "?");
    if (inf->opt.kind == KUBE_POD) /* finished Jobs stay for days; a Pod that ends leaves the selection as if deleted */
        wr_text(w, "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&");
    if (inf->opt.ns && inf->opt.kind == KUBE_NAMESPACE) {
        wr_text(w, "fieldSelector=metadata.name%3D");
        url_escape(w, inf->opt.ns);
        wr_text(w, "&");
    }
}

/* Asks the shell to send the next request. Lists name no resourceVersion: that is the one form which never goes back
 * in time, whichever API server answers, and which keeps to `limit`. */
static void request(struct informer *inf, bool watch)
{
    struct wr w = wr_init(0);

    put_path(inf, &w);
    if (watch) {
        uint32_t timeout_s =
            inf->opt.watch_timeout_min_s + (uint32_t)(random_u64(inf) % (inf->opt.watch_timeout_min_s + 1));
        wr_text(&w, "watch=1&resourceVersion=");
        url_escape(&w, inf->rv);
        wr_printf(&w, "&allowWatchBookmarks=true&timeoutSeconds=%u", timeout_s);
        inf->deadline_ms = (int64_t)timeout_s * 1000 + inf->opt.watch_grace_ms; /* relative until sent */
    } else {
        wr_printf(&w, "limit=%u", inf->page_limit);
        if (inf->cont) {
            wr_text(&w, "&continue=");
            url_escape(&w, inf->cont);
        }
        inf->deadline_ms = inf->opt.watch_grace_ms;
    }
    free(inf->target);
    inf->target = x_strdup(wr_cstr(&w));
    wr_free(&w);
    inf->state = watch ? INF_WATCH : INF_LIST;
    inf->wake_ms = INT64_MAX; /* the deadline counts from informer_on_sent */
    inf->status = 0;
    inf->retry_after_ms = 0;
    inf->progress = false;
    wr_reset(&inf->body);
    json_split_reset(&inf->split);
    inf->out.target = inf->target;
    inf->out.watch = watch;
    inf->pending = true;
}

static void begin_list(struct informer *inf)
{
    free(inf->rv);
    free(inf->cont);
    inf->rv = inf->cont = NULL;
    inf->beta = false; /* an upgrade may have brought v1 */
    inf->round++;
    request(inf, false);
}

static void begin(struct informer *inf)
{
    if (inf->rv)
        request(inf, true);
    else if (inf->cont)
        request(inf, false);
    else
        begin_list(inf);
}

static void wait_ms(struct informer *inf, int64_t ms)
{
    inf->state = INF_WAIT;
    inf->wake_ms = inf->now_ms + ms;
}

static void cancel(struct informer *inf)
{
    inf->out.cancel = true;
    inf->pending = true;
    inf->stop = true;
}

/* ---- failures ---- */

static void problem(struct informer *inf, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(struct informer *inf, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap); /* a line for people may be cut */
    va_end(ap);
    for (char *p = line; *p; p++) /* a server's words must not draw on a terminal */
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    inf->opt.sink.problem(inf->opt.sink.data, line);
}

/* Reports and waits; then the same request again, or a list when rv was dropped. min_ms: what the server asked for. */
static void back_off(struct informer *inf, const char *text, int64_t min_ms)
{
    int64_t ms = backoff_ms(inf);
    const char *did = what(inf);

    ms = MAX(ms, min_ms);
    inf->stats.errors++;
    wait_ms(inf, ms);
    problem(inf, "%s: %s, retrying in %lld.%lld s", did, text, (long long)(ms / 1000), (long long)(ms % 1000 / 100));
}

/* A watch that an API server answered and that still brought nothing. */
static void watch_failed(struct informer *inf, const char *text, int64_t min_ms)
{
    if (++inf->watch_failures >= WATCH_FAILURES_MAX) {
        inf->watch_failures = 0;
        free(inf->rv);
        inf->rv = NULL;
    }
    back_off(inf, text, min_ms);
}

static void relist_gone(struct informer *inf, const char *text)
{
    inf->stats.relists_gone++;
    free(inf->rv);
    free(inf->cont);
    inf->rv = inf->cont = NULL;
    if (inf->gone) { /* the relist before did not help: no storm */
        back_off(inf, text, 0);
        return;
    }
    inf->gone = true;
    begin_list(inf);
}

static void unauthorized(struct informer *inf, const char *text)
{
    inf->stats.unauthorized++;
    inf->out.renew = true;
    if (inf->renewed) {
        back_off(inf, text, inf->retry_after_ms);
        return;
    }
    inf->renewed = true;
    begin(inf);
}

static bool upsert(struct informer *inf, json_t *obj);

static void emit(struct informer *inf, const char *ns, const char *name, const char *uid, const char *rv, json_t *json)
{
    struct kube_object obj = { inf->opt.kind, ns, name, uid, rv, json };
    inf->opt.sink.upsert(inf->opt.sink.data, &obj);
}

static void synced(struct informer *inf)
{
    inf->stats.synced[inf->opt.kind] = true;
    inf->opt.sink.synced(inf->opt.sink.data, inf->opt.kind);
}

/* A Role in one namespace cannot read Namespaces. The one that was named exists, or nothing would work in it. */
static void assume_namespace(struct informer *inf)
{
    if (!inf->stats.synced[KUBE_NAMESPACE]) {
        json_t *json = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Namespace", "metadata", "name",
                                 inf->opt.ns);
        (void)upsert(inf, json); /* it has a name, so it is taken */
        json_decref(json);
        synced(inf);
    }
    free(inf->rv);
    free(inf->cont);
    inf->rv = inf->cont = NULL;
    wait_ms(inf, FORBIDDEN_NS_RETRY_MS);
}

/* An HTTP status or the code of an ERROR event; both mean the same. */
static void refused(struct informer *inf, int code, const char *text)
{
    bool watch = inf->state == INF_WATCH;

    if (code == 401) {
        unauthorized(inf, text);
    } else if (code == 410) {
        relist_gone(inf, text);
    } else if (code == 404 && inf->opt.kind == KUBE_ENDPOINT_SLICE && !watch && !inf->beta) {
        inf->beta = true;
        request(inf, false);
    } else if (code == 403 && inf->opt.kind == KUBE_NAMESPACE && inf->opt.ns) {
        assume_namespace(inf);
    } else if (code == 429) {
        back_off(inf, text, inf->retry_after_ms);
    } else if (watch && code >= 500) {
        watch_failed(inf, text, inf->retry_after_ms);
    } else {
        if (code < 500) { /* our request is wrong: begin anew */
            free(inf->rv);
            free(inf->cont);
            inf->rv = inf->cont = NULL;
        }
        back_off(inf, text, inf->retry_after_ms);
    }
}

static const char *status_text(int code)
{
    static const struct {
        int code;
        const char *text;
    } names[] = {
        { 400, "Bad Request" },         { 401, "Unauthorized" },        { 403, "Forbidden" },
        { 404, "Not Found" },           { 409, "Conflict" },            { 410, "Gone" },
        { 422, "Unprocessable" },       { 429, "Too Many Requests" },   { 500, "Internal Server Error" },
        { 502, "Bad Gateway" },         { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].code == code)
            return names[i].text;
    return "unexpected answer";
}

/* A Status object: "401 Unauthorized: <message>". `status` may be NULL when there was none to parse. */
static void refused_with(struct informer *inf, int code, const json_t *status)
{
    const char *message = json_string_value(json_object_get(status, "message"));
    const json_t *retry = json_object_get(json_object_get(status, "details"), "retryAfterSeconds");
    char text[320];

    if (json_is_integer(retry) && json_integer_value(retry) > 0 && inf->retry_after_ms == 0)
        inf->retry_after_ms = MIN(json_integer_value(retry), RETRY_AFTER_MAX_MS / 1000) * 1000;
    const char *name = status_text(code);
    if (message && strcmp(message, name) != 0)
        (void)snprintf(text, sizeof text, "%d %s: %.240s", code, name, message);
    else
        (void)snprintf(text, sizeof text, "%d %s", code, name);
    refused(inf, code, text);
}

/* ---- objects ---- */

static char *key_of(const char *ns, const char *name)
{
    return x_asprintf("%s/%s", ns, name);
}

/* Takes one object into the known set and hands it on, unless the consumer has exactly this version.
 * False: it is not an object. */
static bool upsert(struct informer *inf, json_t *obj)
{
    if (kube_normalize(obj, inf->opt.kind))
        return false;
    const char *ns = inf->opt.kind == KUBE_NAMESPACE ? "" : kube_meta(obj, "namespace");
    const char *name = kube_meta(obj, "name"), *uid = kube_meta(obj, "uid");
    const char *rv = kube_meta(obj, "resourceVersion");
    char *key = key_of(ns, name);
    struct known *k = strmap_get_s(&inf->known, key);
    bool same = k && *rv && strcmp(k->rv, rv) == 0 && strcmp(k->uid, uid) == 0;

    if (!k) {
        k = x_calloc(1, sizeof *k);
        strmap_set_s(&inf->known, key, k);
    }
    free(key);
    k->round = inf->round;
    if (same)
        return true;
    set_text(&k->uid, uid);
    set_text(&k->rv, rv);
    emit(inf, ns, name, uid, rv, obj);
    return true;
}

static void remove_key(struct informer *inf, const char *key)
{
    const char *slash = strchr(key, '/');
    char *ns = x_strndup(key, (size_t)(slash - key));
    char *name = x_strdup(slash + 1);

    known_free(strmap_del_s(&inf->known, key));
    inf->opt.sink.remove(inf->opt.sink.data, inf->opt.kind, ns, name);
    free(ns);
    free(name);
}

/* A DELETED event carries the last state. One that names another uid is about a predecessor of what we hold. */
static void deleted(struct informer *inf, const json_t *obj)
{
    const char *ns = inf->opt.kind == KUBE_NAMESPACE ? "" : kube_meta(obj, "namespace");
    const char *uid = kube_meta(obj, "uid");
    char *key = key_of(ns, kube_meta(obj, "name"));
    const struct known *k = strmap_get_s(&inf->known, key);

    if (k && (!*uid || !*k->uid || strcmp(k->uid, uid) == 0))
        remove_key(inf, key);
    free(key);
}

/* What the list that just ended did not hold is gone. */
static void remove_vanished(struct informer *inf)
{
    struct VEC(char *) gone = { 0 };

    STRMAP_EACH(slot, &inf->known)
    {
        if (((struct known *)slot->value)->round != inf->round)
            VEC_PUSH(&gone, x_strdup(slot->key));
    }
    for (size_t i = 0; i < gone.len; i++) {
        remove_key(inf, gone.items[i]);
        free(gone.items[i]);
    }
    VEC_FREE(&gone);
}

/* ---- lists ---- */

static void list_page(struct informer *inf, json_t *page)
{
    json_t *meta = json_object_get(page, "metadata"), *items = json_object_get(page, "items"), *item;
    const char *rv = json_string_value(json_object_get(meta, "resourceVersion"));
    const char *cont = json_string_value(json_object_get(meta, "continue"));
    size_t i;

    if (!rv || !*rv || (!json_is_array(items) && !json_is_null(items)) || !items) {
        back_off(inf, "the answer is not a list", 0);
        return;
    }
    json_array_foreach(items, i, item)
    {
        if (!upsert(inf, item))
            problem(inf, "%s: item %zu has no metadata.name, left out", what(inf), i);
    }
    inf->stats.last_contact_ms = inf->now_ms;
    if (cont && *cont) {
        set_text(&inf->cont, cont);
        request(inf, false);
        return;
    }
    free(inf->cont);
    inf->cont = NULL;
    set_text(&inf->rv, rv);
    remove_vanished(inf);
    inf->stats.lists++;
    synced(inf);
    request(inf, true);
}

static void list_ended(struct informer *inf)
{
    json_error_t e;
    char text[256];
    json_t *page = json_loadb((const char *)inf->body.p, inf->body.n, 0, &e);

    if (page) {
        list_page(inf, page);
        json_decref(page);
    } else {
        (void)snprintf(text, sizeof text, "the answer is not JSON: %.160s", e.text);
        back_off(inf, text, 0);
    }
}

/* ---- watches ---- */

static void watch_error_event(struct informer *inf, const json_t *status)
{
    const json_t *code = json_object_get(status, "code");
    int n = json_is_integer(code) && json_integer_value(code) >= 400 && json_integer_value(code) < 600
                ? (int)json_integer_value(code)
                : 500;
    cancel(inf);
    refused_with(inf, n, status);
}

static void watch_progress(struct informer *inf, const char *rv)
{
    inf->stats.last_contact_ms = inf->now_ms;
    if (!*rv || strcmp(rv, inf->rv) == 0)
        return; /* the same once more is no progress */
    set_text(&inf->rv, rv);
    inf->progress = true;
    inf->gone = false;
    inf->failures = inf->watch_failures = 0;
}

static int on_event(void *data, const char *text, size_t len)
{
    struct informer *inf = data;
    json_error_t e;
    json_t *ev = json_loadb(text, len, 0, &e);
    const char *type = json_string_value(json_object_get(ev, "type"));
    json_t *obj = json_object_get(ev, "object");
    int rc = 0;

    if (!type || !json_is_object(obj)) {
        rc = RC_MALFORMED;
        goto out;
    }
    if (strcmp(type, "ERROR") == 0) {
        watch_error_event(inf, obj);
        goto out;
    }
    /* Counted before it is handed on: the object is changed in place below. */
    inf->stats.events++;
    if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
        rc = upsert(inf, obj) ? 0 : RC_MALFORMED;
    else if (strcmp(type, "DELETED") == 0)
        deleted(inf, obj);
    /* BOOKMARK, and types that are not invented yet: only the resourceVersion counts. */
    if (rc == 0)
        watch_progress(inf, kube_meta(obj, "resourceVersion"));
out:
    json_decref(ev);
    return inf->stop ? RC_CANCELLED : rc;
}

static void watch_body(struct informer *inf, const uint8_t *p, size_t n)
{
    inf->stop = false;
    int rc = json_split_feed(&inf->split, p, n, on_event, inf);
    if (rc == 0 || inf->stop)
        return;
    cancel(inf);
    watch_failed(inf, rc == RC_TOOBIG ? "an event is larger than the limit" : "an event is not readable", 0);
}

/* The stream ended, well or cut off. Reconnecting at the last resourceVersion misses nothing. */
static void watch_ended(struct informer *inf, const char *error)
{
    int64_t lived_ms = inf->now_ms - inf->started_ms;
    bool whole = !error && json_split_idle(&inf->split);

    if (lived_ms >= HEALTHY_WATCH_MS) {
        inf->gone = false;
        inf->failures = inf->watch_failures = 0;
    }
    if (whole && (inf->progress || lived_ms >= EMPTY_WATCH_MS))
        request(inf, true); /* the server's time-out: normal */
    else if (whole)
        watch_failed(inf, "the stream ended at once", 0);
    else
        back_off(inf, error ? error : "the stream ended in the middle of an event", 0);
}

/* ---- events from the shell ---- */

struct informer *informer_new(const struct informer_options *opt)
{
    struct informer *inf = x_calloc(1, sizeof *inf);

    ASSERT(opt->page_limit > 0 && opt->backoff_min_ms > 0 && opt->watch_timeout_min_s > 0 && opt->watch_grace_ms > 0);
    inf->opt = *opt;
    inf->opt.ns = x_strdup(opt->ns);
    inf->rng = opt->seed;
    inf->page_limit = opt->page_limit;
    inf->body = wr_init(PAGE_BYTES_MAX);
    inf->wake_ms = INT64_MAX;
    json_split_init(&inf->split, EVENT_BYTES_MAX);
    return inf;
}

void informer_free(struct informer *inf)
{
    if (!inf)
        return;
    strmap_free(&inf->known, known_free);
    json_split_free(&inf->split);
    wr_free(&inf->body);
    free((char *)inf->opt.ns);
    free(inf->rv);
    free(inf->cont);
    free(inf->target);
    free(inf);
}

void informer_start(struct informer *inf, int64_t now_ms)
{
    inf->now_ms = now_ms;
    begin(inf);
}

bool informer_take(struct informer *inf, struct informer_action *ret)
{
    if (!inf->pending)
        return false;
    *ret = inf->out;
    /* A wish for new credentials is kept until there is a request to use them. */
    bool keep = inf->out.renew && !inf->out.target, keep_fresh = inf->out.fresh && !inf->out.target;
    inf->out = (struct informer_action){ .renew = keep, .fresh = keep_fresh };
    inf->pending = false;
    return true;
}

int64_t informer_wake_ms(const struct informer *inf)
{
    return inf->wake_ms;
}

static bool running(const struct informer *inf)
{
    return inf->state == INF_LIST || inf->state == INF_WATCH;
}

void informer_on_sent(struct informer *inf, int64_t now_ms)
{
    ASSERT(running(inf));
    inf->now_ms = inf->started_ms = now_ms;
    inf->wake_ms = now_ms + inf->deadline_ms;
}

void informer_on_headers(struct informer *inf, int64_t now_ms, int status, int64_t retry_after_ms)
{
    ASSERT(running(inf));
    inf->now_ms = now_ms;
    inf->status = status;
    inf->retry_after_ms = MIN(MAX(retry_after_ms, 0), RETRY_AFTER_MAX_MS);
    if (status == 200) {
        inf->renewed = false;
        inf->stats.watches += inf->state == INF_WATCH;
    }
    if (inf->state == INF_LIST)
        inf->wake_ms = now_ms + inf->deadline_ms;
}

void informer_on_body(struct informer *inf, int64_t now_ms, const uint8_t *p, size_t n)
{
    ASSERT(running(inf));
    inf->now_ms = now_ms;
    if (inf->status == 200 && inf->state == INF_WATCH) {
        watch_body(inf, p, n);
        return;
    }
    if (inf->state == INF_LIST)
        inf->wake_ms = now_ms + inf->deadline_ms; /* a list may be long as long as it moves */
    if (inf->status != 200) {
        wr_bytes(&inf->body, p, MIN(n, STATUS_BYTES_MAX - MIN(inf->body.n, STATUS_BYTES_MAX)));
        return;
    }
    wr_bytes(&inf->body, p, n);
    if (inf->body.rc == 0)
        return;
    inf->page_limit = MAX(inf->page_limit / 4, 1u);
    cancel(inf);
    back_off(inf, "a page of the list is larger than the limit, asking for smaller ones", 0);
}

void informer_on_end(struct informer *inf, int64_t now_ms, const char *error)
{
    ASSERT(running(inf));
    inf->now_ms = now_ms;
    if (inf->status != 0 && inf->status != 200) {
        json_t *status = json_loadb((const char *)inf->body.p, inf->body.n, 0, NULL);
        refused_with(inf, inf->status, status);
        json_decref(status);
    } else if (inf->state == INF_WATCH && inf->status == 200) {
        watch_ended(inf, error);
    } else if (error || inf->status == 0) {
        back_off(inf, error ? error : "no answer", 0);
    } else {
        list_ended(inf);
    }
}

/* The peer is silent for longer than it may be: a half-open connection looks like this. */
static void deadline(struct informer *inf)
{
    char text[128];
    if (inf->state == INF_WATCH)
        (void)snprintf(text, sizeof text, "the stream has outlived its time-out, taking the connection for dead");
    else
        (void)snprintf(text, sizeof text, "nothing heard for %lld s, taking the connection for dead",
                       (long long)(inf->deadline_ms / 1000));
    if (inf->state == INF_WATCH && inf->status == 200)
        inf->failures = inf->watch_failures = 0; /* it did work for its whole life */
    cancel(inf);
    inf->out.fresh = true;
    back_off(inf, text, 0);
}

void informer_on_tick(struct informer *inf, int64_t now_ms)
{
    inf->now_ms = now_ms;
    if (now_ms < inf->wake_ms)
        return;
    if (inf->state == INF_WAIT)
        begin(inf);
    else if (running(inf))
        deadline(inf);
}

void informer_stats(const struct informer *inf, struct kube_stats *ret)
{
    const struct kube_stats *s = &inf->stats;
    ret->lists += s->lists;
    ret->watches += s->watches;
    ret->events += s->events;
    ret->errors += s->errors;
    ret->relists_gone += s->relists_gone;
    ret->unauthorized += s->unauthorized;
    ret->last_contact_ms = MAX(ret->last_contact_ms, s->last_contact_ms);
    ret->synced[inf->opt.kind] = s->synced[inf->opt.kind];
}
