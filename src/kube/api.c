/* api.c - the source over an API server: an informer for each kind, their requests, their timers. No decisions are made here. */
#include <sys/random.h>

#include "base/clock.h"
#include "credentials.h"
#include "http.h"
#include "informer.h"
#include "source.h"

struct api;

struct api_informer {
    struct api *api;
    struct informer *informer; /* NULL: this kind is not asked for, and nothing below is used */
    uv_timer_t timer;
    struct http_request *request;   /* running */
    struct informer_action waiting; /* to be sent when there are credentials */
    struct kube_cred_waiter waiter;
    uint64_t generation;            /* of the credentials of the last request */
};

struct api {
    struct kube_source source; /* first */
    struct kube_config config;
    struct kube_cred *cred;
    struct http *http;
    struct api_informer informers[KUBE_KIND_COUNT];
    size_t open_parts;
};

static void pump(struct api_informer *ai);

/* ---- requests ---- */

static void on_headers(void *data, int status, int64_t retry_after_ms)
{
    struct api_informer *ai = data;
    informer_on_headers(ai->informer, clock_mono_ms(), status, retry_after_ms);
    pump(ai);
}

static void on_body(void *data, const uint8_t *p, size_t n)
{
    struct api_informer *ai = data;
    informer_on_body(ai->informer, clock_mono_ms(), p, n);
    pump(ai);
}

static void on_end(void *data, const char *error, bool tls)
{
    struct api_informer *ai = data;
    ai->request = NULL;
    if (tls) /* certificates may have been rotated under us */
        kube_cred_refused(ai->api->cred, ai->generation);
    informer_on_end(ai->informer, clock_mono_ms(), error);
    pump(ai);
}

static void send_request(struct api_informer *ai)
{
    struct api *a = ai->api;
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    const struct http_handler handler = { ai, on_headers, on_body, on_end };

    headers = curl_slist_append(headers, "User-Agent: quoll/" QUOLL_VERSION);
    ai->generation = kube_cred_generation(a->cred);
    const struct http_options opt = {
        .config = &a->config,
        .cert = kube_cred_cert(a->cred),
        .key = kube_cred_key(a->cred),
        .target = ai->waiting.target,
        .headers = kube_cred_headers(a->cred, headers),
        .stream = ai->waiting.watch,
        .fresh = ai->waiting.fresh,
    };
    ai->request = http_start(a->http, &opt, &handler);
    informer_on_sent(ai->informer, clock_mono_ms());
}

static void on_credentials(void *data, const char *error)
{
    struct api_informer *ai = data;
    if (ai->api->source.closing)
        return;
    if (error)
        informer_on_end(ai->informer, clock_mono_ms(), error);
    else
        send_request(ai);
    pump(ai);
}

static void carry_out(struct api_informer *ai, const struct informer_action *act)
{
    if (act->cancel) {
        http_cancel(ai->request);
        ai->request = NULL;
        list_remove(&ai->waiter.link);
    }
    if (!act->target)
        return;
    if (act->renew)
        kube_cred_refused(ai->api->cred, ai->generation);
    ai->waiting = *act;
    if (kube_cred_prepare(ai->api->cred, &ai->waiter))
        send_request(ai);
}

static void on_timer(uv_timer_t *timer)
{
    struct api_informer *ai = timer->data;
    informer_on_tick(ai->informer, clock_mono_ms());
    pump(ai);
}

/* Does what the informer wants now, and sets the timer for what it wants later. */
static void pump(struct api_informer *ai)
{
    struct informer_action act;

    while (!ai->api->source.closing && informer_take(ai->informer, &act))
        carry_out(ai, &act);
    if (ai->api->source.closing)
        return;
    int64_t wake_ms = informer_wake_ms(ai->informer), now_ms = clock_mono_ms();
    uv_update_time(ai->timer.loop);
    if (wake_ms == INT64_MAX)
        uv_timer_stop(&ai->timer);
    else
        uv_timer_start(&ai->timer, on_timer, wake_ms > now_ms ? (uint64_t)(wake_ms - now_ms) : 0, 0);
}

/* ---- the informers' sink: to the user, unless the source was closed from a callback ---- */

static void sink_upsert(void *data, const struct kube_object *obj)
{
    struct kube_source *s = data;
    if (!s->closing && s->handler.on_upsert)
        s->handler.on_upsert(s->handler.data, obj);
}

static void sink_remove(void *data, enum kube_kind kind, const char *ns, const char *name)
{
    struct kube_source *s = data;
    if (!s->closing && s->handler.on_delete)
        s->handler.on_delete(s->handler.data, kind, ns, name);
}

static void sink_synced(void *data, enum kube_kind kind)
{
    struct kube_source *s = data;
    if (!s->closing && s->handler.on_synced)
        s->handler.on_synced(s->handler.data, kind);
}

static void sink_problem(void *data, const char *text)
{
    struct api *a = data;
    kube_source_problem(&a->source, "%s: %s", a->config.origin, text);
}

/* ---- life ---- */

static void api_stats(const struct kube_source *s, struct kube_stats *ret)
{
    const struct api *a = (const struct api *)s;
    for (int k = 0; k < KUBE_KIND_COUNT; k++)
        if (a->informers[k].informer)
            informer_stats(a->informers[k].informer, ret);
}

static void part_closed(void *data)
{
    struct api *a = data;
    if (--a->open_parts > 0)
        return;
    for (int k = 0; k < KUBE_KIND_COUNT; k++)
        informer_free(a->informers[k].informer);
    kube_config_free(&a->config);
    kube_source_closed(&a->source);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct api_informer *ai = handle->data;
    part_closed(ai->api);
}

static void api_close(struct kube_source *s)
{
    struct api *a = (struct api *)s;

    a->open_parts = 2;
    for (int k = 0; k < KUBE_KIND_COUNT; k++) {
        if (!a->informers[k].informer)
            continue;
        a->open_parts++;
        uv_close((uv_handle_t *)&a->informers[k].timer, on_timer_closed);
    }
    kube_cred_close(a->cred, part_closed, a);
    http_close(a->http, part_closed, a);
}

static const struct kube_source_ops api_ops = { api_stats, api_close };

static uint64_t seed_of(const struct kube_api_options *opt)
{
    uint64_t seed = opt->seed;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)clock_mono_us(); /* jitter needs no secrecy */
    return seed;
}

static uint32_t or_default(uint32_t v, uint32_t standard)
{
    return v ? v : standard;
}

static void start_informer(struct api *a, uv_loop_t *loop, enum kube_kind kind, const struct kube_api_options *opt,
                           uint64_t seed)
{
    struct api_informer *ai = &a->informers[kind];
    const struct informer_options o = {
        .kind = kind,
        .ns = opt->ns,
        .seed = seed + (uint64_t)kind * 0x9e3779b97f4a7c15u,
        .page_limit = or_default(opt->page_limit, 500),
        .backoff_min_ms = or_default(opt->backoff_min_ms, 800),
        .backoff_max_ms = or_default(opt->backoff_max_ms, 30000),
        .watch_timeout_min_s = or_default(opt->watch_timeout_min_s, 300),
        .watch_grace_ms = or_default(opt->watch_grace_ms, 30000),
        .sink = { a, sink_upsert, sink_remove, sink_synced, sink_problem },
    };

    ai->api = a;
    ai->informer = informer_new(&o);
    list_init(&ai->waiter.link);
    ai->waiter.data = ai;
    ai->waiter.ready = on_credentials;
    uv_timer_init(loop, &ai->timer);
    ai->timer.data = ai;
    /* The first request comes from the loop, as every callback does. */
    informer_start(ai->informer, clock_mono_ms());
    uv_timer_start(&ai->timer, on_timer, 0, 0);
}

int kube_api_open(uv_loop_t *loop, const struct kube_api_options *opt, const struct kube_handler *h,
                  struct kube_source **ret, char **ret_error)
{
    const struct kube_config_options where = { opt->kubeconfig, opt->context, opt->serviceaccount_dir };
    struct kube_config config;
    char *error = NULL;

    int rc = kube_config_load(&where, &config, &error);
    if (rc) {
        *ret_error = error;
        return rc;
    }
    struct api *a = x_calloc(1, sizeof *a);
    a->source.ops = &api_ops;
    a->source.handler = *h;
    a->source.text = x_strdup(config.text);
    a->config = config;
    a->cred = kube_cred_new(loop, &a->config);
    a->http = http_new(loop);
    uint64_t seed = seed_of(opt);
    for (int k = 0; k < KUBE_KIND_COUNT; k++)
        if (k != KUBE_POD || opt->pods)
            start_informer(a, loop, (enum kube_kind)k, opt, seed);
    *ret = &a->source;
    return 0;
}
