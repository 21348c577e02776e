/* fuzz_kube_watch - what an API server answers: lists, watch streams, refusals. The input is a script for one informer:
 * a byte says what comes, the bytes behind it are its content. */
#include <stdint.h>

#include "informer.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void on_upsert(void *data, const struct kube_object *obj)
{
    ASSERT(obj->name[0] != '\0' && json_is_object(obj->json));
    ++*(int64_t *)data;
}

static void on_remove(void *data, enum kube_kind kind, const char *ns, const char *name)
{
    ASSERT(--*(int64_t *)data >= 0); /* never more is taken back than was given */
}

static void on_synced(void *data, enum kube_kind kind)
{
}

static void on_problem(void *data, const char *text)
{
    ASSERT(text[0] != '\0');
}

enum took { NOTHING, CANCELLED, SENT };

static enum took take(struct informer *inf, int64_t now_ms)
{
    struct informer_action a;
    enum took took = NOTHING;
    while (informer_take(inf, &a)) {
        took = a.target ? SENT : a.cancel ? CANCELLED : took;
        if (a.target)
            informer_on_sent(inf, now_ms);
    }
    return took;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const int statuses[] = { 200, 200, 200, 401, 403, 404, 410, 429, 500, 302 };
    int64_t now_ms = 1, count = 0;
    bool headers = false;
    const struct informer_options o = {
        .kind = n > 0 ? (enum kube_kind)(p[0] % KUBE_KIND_COUNT) : KUBE_SERVICE, .ns = n > 1 && p[1] & 1 ? "n" : NULL,
        .seed = 1, .page_limit = 5, .backoff_min_ms = 10, .backoff_max_ms = 100, .watch_timeout_min_s = 1,
        .watch_grace_ms = 100, .sink = { &count, on_upsert, on_remove, on_synced, on_problem },
    };
    struct informer *inf = informer_new(&o);
    informer_start(inf, now_ms);
    take(inf, now_ms);
    const uint8_t *end = p + n;
    p += n < 2 ? n : 2;
    while (p < end) {
        uint8_t op = *p++;
        size_t len = 0;
        if (!headers) {
            informer_on_headers(inf, now_ms, statuses[op % 10], op);
            headers = true;
        }
        while (p + len < end && p[len] != 0)
            len++;
        informer_on_body(inf, now_ms, p, len);
        p += len + (p + len < end);
        enum took took = take(inf, now_ms);
        if (took == NOTHING && op & 0x10 && informer_wake_ms(inf) != INT64_MAX) {
            now_ms = informer_wake_ms(inf); /* the deadline passes */
            informer_on_tick(inf, now_ms);
            took = take(inf, now_ms);
        } else if (took == NOTHING && op & 0x20) {
            informer_on_end(inf, now_ms, op & 0x40 ? "cut" : NULL);
            took = take(inf, now_ms) == SENT ? SENT : CANCELLED;
        }
        while (took == CANCELLED) { /* time passes until a request runs again */
            now_ms = informer_wake_ms(inf);
            informer_on_tick(inf, now_ms);
            took = take(inf, now_ms) == SENT ? SENT : CANCELLED;
        }
        headers = headers && took != SENT;
    }
    informer_free(inf);
    return 0;
}
