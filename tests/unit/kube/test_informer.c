/* The list+watch state machine, played as scripts: an answer goes in, what it does comes out as a line of text. */
#include "cmocka_all.h"

#include <stdio.h>

#include "base/str.h"
#include "informer.h"

enum op {
    LIST,   /* a whole answer 200 with this body */
    REFUSE, /* a whole answer with the status `n`; retry after `n2` ms */
    STREAM, /* bytes of a watch */
    CUT,    /* the answer ends with an error; *text names it */
    END,    /* the answer ends well */
    PASS,   /* n ms go by */
    DUE,    /* time goes to the next wake-up */
};

struct step {
    enum op op;
    const char *text;
    int n, n2;
    const char *expect; /* the trace of this step */
};

struct world {
    struct informer *inf;
    int64_t now_ms;
    bool headers; /* of the running answer were given */
    char trace[4096];
};

static void trace(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void trace(struct world *w, const char *fmt, ...)
{
    size_t used = strlen(w->trace);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->trace + used, sizeof w->trace - used, fmt, ap);
    va_end(ap);
}

static void on_upsert(void *data, const struct kube_object *o)
{
    trace(data, "+%s%s%s ", o->ns, *o->ns ? "/" : "", o->name);
}

static void on_remove(void *data, enum kube_kind kind, const char *ns, const char *name)
{
    trace(data, "-%s%s%s ", ns, *ns ? "/" : "", name);
}

static void on_synced(void *data, enum kube_kind kind)
{
    trace(data, "synced ");
}

static void on_problem(void *data, const char *text)
{
    const char *retry = strstr(text, ", retrying in");
    trace(data, "!%.*s ", (int)(retry ? (size_t)(retry - text) : strlen(text)), text);
}

/* Carries out what the informer wants, as the shell does. The random time-out is checked and cut off. */
static void drain(struct world *w)
{
    struct informer_action a;
    while (informer_take(w->inf, &a)) {
        if (a.cancel)
            trace(w, "cancel ");
        if (!a.target)
            continue;
        const char *timeout = strstr(a.target, "&timeoutSeconds=");
        if (timeout)
            assert_in_range(atoi(timeout + 16), 300, 600);
        assert_int_equal(a.watch, timeout != NULL);
        trace(w, "%s%sget %.*s ", a.renew ? "renew " : "", a.fresh ? "fresh " : "",
              (int)(timeout ? (size_t)(timeout - a.target) : strlen(a.target)), a.target);
        w->headers = false;
        informer_on_sent(w->inf, w->now_ms);
    }
}

static void headers(struct world *w, int status, int retry_ms)
{
    if (!w->headers)
        informer_on_headers(w->inf, w->now_ms, status, retry_ms);
    w->headers = true;
}

static void body(struct world *w, const char *text)
{
    char *copy = x_strdup(text); /* bytes, so that a read past their end is seen */
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    uint8_t *bytes = x_memdup(copy, strlen(copy));
    informer_on_body(w->inf, w->now_ms, bytes, strlen(copy));
    free(bytes);
    free(copy);
}

static void play_step(struct world *w, const struct step *s)
{
    switch (s->op) {
    case LIST:
        headers(w, 200, 0);
        body(w, s->text);
        informer_on_end(w->inf, w->now_ms, NULL);
        break;
    case REFUSE:
        headers(w, s->n, s->n2);
        if (s->text)
            body(w, s->text);
        informer_on_end(w->inf, w->now_ms, NULL);
        break;
    case STREAM:
        headers(w, 200, 0);
        body(w, s->text);
        break;
    case CUT:
        informer_on_end(w->inf, w->now_ms, s->text);
        break;
    case END:
        headers(w, 200, 0);
        informer_on_end(w->inf, w->now_ms, NULL);
        break;
    case PASS:
        w->now_ms += s->n;
        informer_on_tick(w->inf, w->now_ms);
        break;
    case DUE: {
        int64_t wake_ms = informer_wake_ms(w->inf);
        assert_in_range(wake_ms - w->now_ms, s->n, s->n2);
        informer_on_tick(w->inf, wake_ms - 1);
        assert_string_equal(w->trace, ""); /* not before its time */
        w->now_ms = wake_ms;
        informer_on_tick(w->inf, w->now_ms);
        break;
    }
    }
    drain(w);
}

static void play(enum kube_kind kind, const char *ns, const struct step *steps, size_t n)
{
    struct world w = { .now_ms = 1000 };
    const struct informer_options o = {
        .kind = kind, .ns = ns, .seed = 7, .page_limit = 500, .backoff_min_ms = 800, .backoff_max_ms = 30000,
        .watch_timeout_min_s = 300, .watch_grace_ms = 30000,
        .sink = { &w, on_upsert, on_remove, on_synced, on_problem },
    };
    w.inf = informer_new(&o);
    informer_start(w.inf, w.now_ms);
    drain(&w);
    for (size_t i = 0; i < n; i++) {
        w.trace[0] = '\0';
        play_step(&w, &steps[i]);
        print_message("step %zu: %s\n", i, w.trace);
        assert_string_equal(w.trace, steps[i].expect);
    }
    informer_free(w.inf);
}

#define OBJ(name, rv) "{'metadata':{'namespace':'d','name':'" name "','uid':'u-" name "','resourceVersion':'" rv "'}}"
#define LISTED(rv, items) "{'metadata':{'resourceVersion':'" rv "'},'items':[" items "]}"
#define EVENT(type, obj) "{'type':'" type "','object':" obj "}\n"
#define BOOKMARK(rv) EVENT("BOOKMARK", "{'metadata':{'resourceVersion':'" rv "'}}")
#define GONE EVENT("ERROR", "{'kind':'Status','code':410,'message':'too old'}")
#define GET "get /api/v1/services?limit=500 "
#define WATCH(rv) "get /api/v1/services?watch=1&resourceVersion=" rv "&allowWatchBookmarks=true "
#define PLAY(kind, ns, ...)                                                                                  \
    do {                                                                                                     \
        static const struct step steps[] = { __VA_ARGS__ };                                                  \
        play(kind, ns, steps, ARRAY_LEN(steps));                                                             \
    } while (0)
#define FIRST 800, 1600  /* the range of the first wait */
#define SECOND 800, 3200

static void test_the_usual_life(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, LISTED("10", OBJ("a", "1") "," OBJ("b", "2")), .expect = "+d/a +d/b synced " WATCH("10") },
         { STREAM, EVENT("ADDED", OBJ("c", "11")) EVENT("MODIFIED", OBJ("a", "12")), .expect = "+d/c +d/a " },
         { STREAM, EVENT("MODIFIED", OBJ("a", "12")), .expect = "" }, /* a repetition is not handed on */
         { STREAM, EVENT("DELETED", OBJ("b", "13")), .expect = "-d/b " },
         { STREAM, EVENT("DELETED", OBJ("b", "13")), .expect = "" },
         { STREAM, BOOKMARK("20"), .expect = "" },
         { PASS, .n = 299000, .expect = "" },
         { END, .expect = WATCH("20") });
}

static void test_pages(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, "{'metadata':{'resourceVersion':'10','continue':'a+b='},'items':[" OBJ("a", "1") "]}",
           .expect = "+d/a get /api/v1/services?limit=500&continue=a%2Bb%3D " },
         { REFUSE, "{}", 500, .expect = "!list services: 500 Internal Server Error " },
         { DUE, NULL, FIRST, "get /api/v1/services?limit=500&continue=a%2Bb%3D " }, /* the token is still good */
         { LIST, LISTED("10", OBJ("b", "1")), .expect = "+d/b synced " WATCH("10") });
    PLAY(KUBE_SERVICE, NULL,
         { LIST, "{'metadata':{'resourceVersion':'10','continue':'t'},'items':null}",
           .expect = "get /api/v1/services?limit=500&continue=t " },
         { REFUSE, "{'message':'expired'}", 410, .expect = GET });
}

static void test_relist_is_a_difference(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, LISTED("10", OBJ("a", "1") "," OBJ("b", "2") "," OBJ("c", "3")),
           .expect = "+d/a +d/b +d/c synced " WATCH("10") },
         { STREAM, GONE, .expect = "cancel " GET },
         /* half a list removes nothing */
         { LIST, "{'metadata':{'resourceVersion':'20','continue':'t'},'items':[" OBJ("b", "2") "]}",
           .expect = "get /api/v1/services?limit=500&continue=t " },
         { CUT, "reset", .expect = "!list services: reset " },
         { DUE, NULL, FIRST, "get /api/v1/services?limit=500&continue=t " },
         { LIST, LISTED("20", OBJ("c", "9")), .expect = "+d/c -d/a synced " WATCH("20") },
         /* gone once more before the watch brought anything: not at once */
         { REFUSE, NULL, 410, .expect = "!watch services: 410 Gone " },
         { DUE, NULL, SECOND, GET });
}

static void test_cut_stream(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, LISTED("10", ""), .expect = "synced " WATCH("10") },
         { STREAM, "{'type':'ADDED','obj", .expect = "" },
         { CUT, "reset by peer", .expect = "!watch services: reset by peer " },
         { DUE, NULL, FIRST, WATCH("10") },
         { STREAM, "{'type'", .expect = "" },
         { END, .expect = "!watch services: the stream ended in the middle of an event " },
         { DUE, NULL, SECOND, WATCH("10") },
         { STREAM, EVENT("ADDED", OBJ("a", "11")), .expect = "+d/a " },
         { CUT, "reset", .expect = "!watch services: reset " },
         { DUE, NULL, FIRST, WATCH("11") }); /* what worked resets the back-off */
}

static void test_empty_watches(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, LISTED("10", ""), .expect = "synced " WATCH("10") },
         { END, .expect = "!watch services: the stream ended at once " },
         { DUE, NULL, FIRST, WATCH("10") },
         { END, .expect = "!watch services: the stream ended at once " },
         { DUE, NULL, SECOND, WATCH("10") },
         { END, .expect = "!watch services: the stream ended at once " },
         { DUE, NULL, 800, 6400, GET },
         { LIST, LISTED("11", ""), .expect = "synced " WATCH("11") },
         { PASS, .n = 1000, .expect = "" },
         { END, .expect = WATCH("11") });
}

static void test_deadlines(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { DUE, NULL, 30000, 30000,
           "!list services: nothing heard for 30 s, taking the connection for dead cancel " },
         { DUE, NULL, FIRST, "fresh " GET },
         { LIST, LISTED("10", ""), .expect = "synced " WATCH("10") },
         { STREAM, BOOKMARK("12"), .expect = "" },
         { PASS, .n = 329000, .expect = "" },
         { PASS, .n = 302000,
           .expect = "!watch services: the stream has outlived its time-out, taking the connection for dead cancel " },
         { DUE, NULL, FIRST, "fresh " WATCH("12") });
}

static void test_unauthorized(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { REFUSE, "{'message':'Unauthorized'}", 401, .expect = "renew " GET },
         { REFUSE, "{'message':'Unauthorized'}", 401, .expect = "!list services: 401 Unauthorized " },
         { DUE, NULL, FIRST, "renew " GET },
         { REFUSE, NULL, 401, .expect = "!list services: 401 Unauthorized " },
         { DUE, NULL, SECOND, "renew " GET },
         { LIST, LISTED("10", ""), .expect = "synced " WATCH("10") },
         { REFUSE, NULL, 401, .expect = "renew " WATCH("10") }, /* a new one: at once again */
         { STREAM, BOOKMARK("12"), .expect = "" },
         { STREAM, EVENT("ERROR", "{'code':401}"), .expect = "cancel renew " WATCH("12") });
}

static void test_overload(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { REFUSE, NULL, 429, 7000, "!list services: 429 Too Many Requests " },
         { DUE, NULL, 7000, 7000, GET },
         { REFUSE, "{'details':{'retryAfterSeconds':9}}", 503, .expect = "!list services: 503 Service Unavailable " },
         { DUE, NULL, 9000, 9000, GET },
         { REFUSE, NULL, 429, 100000000, "!list services: 429 Too Many Requests " },
         { DUE, NULL, 300000, 300000, GET }, /* five minutes at most */
         { LIST, LISTED("10", ""), .expect = "synced " WATCH("10") },
         { REFUSE, NULL, 429, 40000, "!watch services: 429 Too Many Requests " },
         { DUE, NULL, 40000, 40000, WATCH("10") });
}

static void test_watch_refused(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, LISTED("10", ""), .expect = "synced " WATCH("10") },
         { REFUSE, "<html>", 502, .expect = "!watch services: 502 Bad Gateway " },
         { DUE, NULL, FIRST, WATCH("10") },
         { REFUSE, NULL, 500, .expect = "!watch services: 500 Internal Server Error " },
         { DUE, NULL, SECOND, WATCH("10") },
         { STREAM, EVENT("ERROR", "{'code':504,'message':'Too large resource version'}"),
           .expect = "!watch services: 504 Gateway Timeout: Too large resource version cancel " },
         { DUE, NULL, 800, 6400, GET }, /* three in a row: the resourceVersion itself may be at fault */
         { LIST, LISTED("5", ""), .expect = "synced " WATCH("5") },
         { REFUSE, NULL, 403, .expect = "!watch services: 403 Forbidden " },
         { DUE, NULL, 800, 12800, GET });
}

static void test_malformed(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, "[]", .expect = "!list services: the answer is not a list " },
         { DUE, NULL, FIRST, GET },
         { LIST, "{'metadata':{'resourceVersion':'1'}}", .expect = "!list services: the answer is not a list " },
         { DUE, NULL, SECOND, GET },
         { LIST, "{'metadata':{'resourceVersion':'1'},'items':[{},5," OBJ("a", "1") "]}",
           .expect = "!list services: item 0 has no metadata.name, left out "
                     "!list services: item 1 has no metadata.name, left out +d/a synced " WATCH("1") },
         { STREAM, "{'type':5}", .expect = "!watch services: an event is not readable cancel " },
         { DUE, NULL, 800, 6400, WATCH("1") },
         { STREAM, EVENT("ADDED", "{'metadata':{'name':''}}"),
           .expect = "!watch services: an event is not readable cancel " },
         { DUE, NULL, 800, 12800, WATCH("1") },
         { STREAM, EVENT("NEWFANGLED", "{'metadata':{'resourceVersion':'3'}}"), .expect = "" },
         { PASS, .n = 2000, .expect = "" },
         { END, .expect = WATCH("3") });
}

static void test_uids(void **state)
{
    PLAY(KUBE_SERVICE, NULL,
         { LIST, LISTED("10", OBJ("a", "1")), .expect = "+d/a synced " WATCH("10") },
         { STREAM, EVENT("ADDED", "{'metadata':{'namespace':'d','name':'a','uid':'new','resourceVersion':'11'}}"),
           .expect = "+d/a " },
         { STREAM, EVENT("DELETED", OBJ("a", "12")), .expect = "" },
         { STREAM, EVENT("DELETED", "{'metadata':{'namespace':'d','name':'a','uid':'new','resourceVersion':'13'}}"),
           .expect = "-d/a " });
}

#define SLICES(v, rest) "get /apis/discovery.k8s.io/" v "/endpointslices?" rest " "
static void test_beta(void **state)
{
    PLAY(KUBE_ENDPOINT_SLICE, NULL,
         { REFUSE, "404 page not found", 404, .expect = SLICES("v1beta1", "limit=500") },
         { LIST, LISTED("10", OBJ("s", "1")), .expect = "+d/s synced " SLICES("v1beta1", "watch=1&resourceVersion=10&allowWatchBookmarks=true") },
         { PASS, .n = 5000, .expect = "" },
         { END, .expect = SLICES("v1beta1", "watch=1&resourceVersion=10&allowWatchBookmarks=true") },
         /* upgraded: v1beta1 has gone */
         { REFUSE, NULL, 404, .expect = "!watch endpointslices: 404 Not Found " },
         { DUE, NULL, FIRST, SLICES("v1", "limit=500") },
         { LIST, LISTED("20", OBJ("s", "1")), .expect = "synced " SLICES("v1", "watch=1&resourceVersion=20&allowWatchBookmarks=true") });
    PLAY(KUBE_ENDPOINT_SLICE, "a b",
         { REFUSE, NULL, 404, .expect = "get /apis/discovery.k8s.io/v1beta1/namespaces/a%20b/endpointslices?limit=500 " },
         { REFUSE, NULL, 404, .expect = "!list endpointslices: 404 Not Found " });
}

#define NS_GET "get /api/v1/namespaces?fieldSelector=metadata.name%3Dshop&limit=500 "
static void test_namespace_that_cannot_be_read(void **state)
{
    PLAY(KUBE_NAMESPACE, "shop",
         { REFUSE, "{'message':'forbidden'}", 403, .expect = "+shop synced " },
         { DUE, NULL, 300000, 300000, NS_GET },
         { REFUSE, NULL, 403, .expect = "" },
         { DUE, NULL, 300000, 300000, NS_GET },
         { LIST, LISTED("10", ""), .expect = "-shop synced get /api/v1/namespaces?fieldSelector=metadata.name%3Dshop&"
                                             "watch=1&resourceVersion=10&allowWatchBookmarks=true " });
    PLAY(KUBE_NAMESPACE, NULL, { REFUSE, NULL, 403, .expect = "!list namespaces: 403 Forbidden " });
}

#define PODS(rest) "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&" rest " "
static void test_pods(void **state)
{
    PLAY(KUBE_POD, NULL,
         { REFUSE, "{'message':'forbidden'}", 403, .expect = "!list pods: 403 Forbidden: forbidden " },
         { DUE, NULL, FIRST, "get /api/v1/pods?" PODS("limit=500") },
         { LIST, LISTED("10", OBJ("p", "1")),
           .expect = "+d/p synced get /api/v1/pods?" PODS("watch=1&resourceVersion=10&allowWatchBookmarks=true") },
         { STREAM, EVENT("DELETED", OBJ("p", "11")), .expect = "-d/p " }); /* so does the end of its life look */
    PLAY(KUBE_POD, "shop",
         { LIST, LISTED("10", ""),
           .expect = "synced get /api/v1/namespaces/shop/pods?" PODS("watch=1&resourceVersion=10&allowWatchBookmarks=true") });
}

/* The waits of a row of failures stay in their ranges, reach the top, and are not all alike. */
static void test_back_off(void **state)
{
    struct world w = { .now_ms = 1000 };
    const struct informer_options o = {
        .kind = KUBE_SERVICE, .seed = 42, .page_limit = 1, .backoff_min_ms = 800, .backoff_max_ms = 30000,
        .watch_timeout_min_s = 300, .watch_grace_ms = 30000,
        .sink = { &w, on_upsert, on_remove, on_synced, on_problem },
    };
    int64_t total_ms = 0;
    w.inf = informer_new(&o);
    informer_start(w.inf, w.now_ms);
    for (int i = 0; i < 200; i++) {
        drain(&w);
        w.trace[0] = '\0';
        informer_on_end(w.inf, w.now_ms, "refused");
        int64_t wait_ms = informer_wake_ms(w.inf) - w.now_ms;
        assert_in_range(wait_ms, 800, i < 5 ? 800 << (i + 1) : 30000);
        total_ms += wait_ms;
        w.now_ms += wait_ms;
        informer_on_tick(w.inf, w.now_ms);
    }
    assert_in_range(total_ms / 200, 12000, 18000);
    informer_free(w.inf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_usual_life),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_relist_is_a_difference),
        cmocka_unit_test(test_cut_stream),
        cmocka_unit_test(test_empty_watches),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_unauthorized),
        cmocka_unit_test(test_overload),
        cmocka_unit_test(test_watch_refused),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_uids),
        cmocka_unit_test(test_beta),
        cmocka_unit_test(test_namespace_that_cannot_be_read),
        cmocka_unit_test(test_pods),
        cmocka_unit_test(test_back_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
