/* leader.c - election of the writer. One step is under way at a time; whatever fails starts again from the
 * top, after a while.
 *
 *   parents -> candidates -> (none of them ours: enrol -> candidates)
 *                         -> (ours is first: read the epoch -> claim it: leading)
 *                         -> (another is before ours: wait to be told to look again)
 */
#include "leader.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/str.h"

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 3000
#define LOOK_MS                                                                                              \
    10000 /* in case a change was never told of: a candidate that came and went between two reads of the     \
             cache */

struct leader {
    uv_loop_t *loop;
    quoll_client *client;
    struct leader_handler h;
    char *lock;  /* <base>/.leader */
    char id[17]; /* prefix of our nodes: finds a create whose answer was lost */
    char *own;   /* our node's whole path; NULL: not known */
    uv_timer_t timer;
    uint32_t retry_ms;
    int32_t version; /* of .leader since our claim */
    uint64_t epoch, claimed_epoch;
    bool leading, closing;
    bool standing_by; /* another candidate is before us, as far as we know */
    bool busy;        /* a step is under way, or waits for the timer after a failure */
    bool look_again;  /* told to look while busy */
    unsigned pending; /* callbacks that the client still owes us */
    bool timer_closed;
    void (*closed)(void *data);
    void *closed_data;
};

static void step_parents(struct leader *l);
static void step_candidates(struct leader *l);

static void maybe_free(struct leader *l)
{
    if (!l->closing || !l->timer_closed || l->pending > 0)
        return;
    free(l->lock);
    free(l->own);
    free(l);
}

static void set_leading(struct leader *l, bool leading)
{
    l->standing_by = false; /* whoever knows better says so afterwards */
    if (l->leading == leading)
        return;
    l->leading = leading;
    l->h.on_change(l->h.data, leading);
}

static void begin(struct leader *l)
{
    l->busy = true;
    l->look_again = false;
    uv_timer_stop(&l->timer);
    step_parents(l);
}

static void on_timer(uv_timer_t *timer)
{
    begin(timer->data);
}

/* Nothing to do until somebody tells. */
static void settled(struct leader *l)
{
    l->busy = false;
    l->retry_ms = RETRY_MIN_MS;
    uv_timer_start(&l->timer, on_timer, l->look_again ? 0 : LOOK_MS, 0);
}

static void again_later(struct leader *l)
{
    set_leading(l, false);
    if (l->closing)
        return;
    l->busy = true;
    uv_timer_start(&l->timer, on_timer, l->retry_ms, 0);
    l->retry_ms = MIN(l->retry_ms * 2, (uint32_t)RETRY_MAX_MS);
}

static void failed(struct leader *l, const char *what, int err)
{
    /* A connection that is gone is told of by the client; what the server refuses is ours to tell. */
    if (err != QUOLL_CONNECTION_LOSS && err != QUOLL_SESSION_EXPIRED && err != QUOLL_OPERATION_TIMEOUT &&
        err != QUOLL_CLOSING) {
        char text[256];
        (void)snprintf(text, sizeof(text), "%s %s: %s", what, l->lock,
                       quoll_strerror(err)); /* for people: may be cut */
        l->h.on_problem(l->h.data, text);
    }
    again_later(l);
}

/* The beginning of every callback: false when there is nobody left to care. */
static bool called_back(struct leader *l)
{
    bool closing = l->closing;

    l->pending--;
    maybe_free(l);
    return !closing;
}

/* A call that was refused at once has no callback. */
static void started(struct leader *l, int rc, const char *what)
{
    if (rc == 0)
        l->pending++;
    else
        failed(l, what, rc);
}

/* ---- parents ---- */

static void on_parent(quoll_client *c, const struct quoll_result *res, void *data)
{
    (void)called_back(data); /* the last one's result tells about all */
}

static void on_parents(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct leader *l = data;
    if (!called_back(l))
        return;
    if (res->err == 0 || res->err == QUOLL_NODE_EXISTS)
        step_candidates(l);
    else
        failed(l, "creating", res->err);
}

static void step_parents(struct leader *l)
{
    char *path = x_strdup(l->lock);

    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (quoll_create(l->client, path, NULL, 0, NULL, 0, QUOLL_PERSISTENT, 0, on_parent, l) == 0)
            l->pending++;
        *slash = '/';
    }
    free(path);
    started(l, quoll_create(l->client, l->lock, NULL, 0, NULL, 0, QUOLL_PERSISTENT, 0, on_parents, l),
            "creating");
}

/* ---- claiming ---- */

static void on_claimed(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct leader *l = data;
    if (!called_back(l))
        return;
    if (res->err == QUOLL_BAD_VERSION) {
        step_candidates(l);
        return;
    }
    if (res->err != 0) {
        failed(l, "claiming", res->err);
        return;
    }
    l->version = res->stat->version;
    l->epoch = l->claimed_epoch;
    settled(l);
    set_leading(l, true);
}

static uint64_t epoch_of(const void *data, size_t len)
{
    json_t *o = json_loadb(data ? data : "", len, 0, NULL);
    json_int_t epoch = json_integer_value(json_object_get(o, "epoch"));
    json_decref(o);
    return epoch > 0 ? (uint64_t)epoch : 0;
}

static void on_epoch(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct leader *l = data;
    char host[65] = "", text[160];

    if (!called_back(l))
        return;
    if (res->err != 0) {
        failed(l, "reading", res->err);
        return;
    }
    l->claimed_epoch = epoch_of(res->data, res->data_len) + 1;
    (void)gethostname(host, sizeof(host) - 1); /* only for people who look */
    int n = snprintf(text, sizeof(text), "{\"epoch\":%llu,\"writer\":\"%s/%ld\"}",
                     (unsigned long long)l->claimed_epoch, host, (long)getpid());
    ASSERT(n > 0 && (size_t)n < sizeof(text));
    started(l, quoll_set(l->client, l->lock, text, (size_t)n, res->stat->version, on_claimed, l), "claiming");
}

/* ---- candidates ---- */

static void on_enrolled(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct leader *l = data;
    if (!called_back(l))
        return;
    if (res->err == 0)
        step_candidates(l);
    else
        failed(l, "enrolling at", res->err);
}

/* The last ten bytes of a sequential node's name. */
static const char *sequence_of(const char *name)
{
    size_t n = strlen(name);
    return n >= 10 ? name + n - 10 : name;
}

static void on_candidates(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct leader *l = data;
    const char *own = NULL, *before = NULL;

    if (!called_back(l))
        return;
    if (l->look_again) { /* what we were told of may have come after this answer */
        l->look_again = false;
        step_candidates(l);
        return;
    }
    if (res->err != 0) {
        failed(l, "listing", res->err);
        return;
    }
    for (size_t i = 0; i < res->child_count; i++) {
        if (str_has_prefix(res->children[i], l->id) &&
            (!own || strcmp(sequence_of(res->children[i]), sequence_of(own)) < 0))
            own = res->children[i];
    }
    if (!own) {
        set_leading(l, false);
        char *path = x_asprintf("%s/%s-", l->lock, l->id);
        started(
            l, quoll_create(l->client, path, NULL, 0, NULL, 0, QUOLL_EPHEMERAL_SEQUENTIAL, 0, on_enrolled, l),
            "enrolling at");
        free(path);
        return;
    }
    for (size_t i = 0; i < res->child_count; i++) {
        const char *seq = sequence_of(res->children[i]);
        if (strcmp(seq, sequence_of(own)) < 0 && (!before || strcmp(seq, sequence_of(before)) > 0))
            before = res->children[i];
    }
    free(l->own);
    l->own = x_asprintf("%s/%s", l->lock, own);
    if (before) {
        set_leading(l, false);
        l->standing_by = true;
        settled(l);
    } else if (l->leading) {
        settled(l); /* still */
    } else {
        started(l, quoll_get(l->client, l->lock, NULL, NULL, on_epoch, l), "reading");
    }
}

static void step_candidates(struct leader *l)
{
    started(l, quoll_get_children(l->client, l->lock, NULL, NULL, on_candidates, l), "listing");
}

/* ---- interface ---- */

struct leader *leader_open(uv_loop_t *loop, quoll_client *client, const char *base,
                           const struct leader_handler *h)
{
    struct leader *l = x_calloc(1, sizeof(*l));
    uint64_t random;

    l->loop = loop;
    l->client = client;
    l->h = *h;
    l->lock = x_asprintf("%s/.leader", base);
    l->retry_ms = RETRY_MIN_MS;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = (uint64_t)clock_mono_us() * (uint64_t)getpid();
    (void)snprintf(l->id, sizeof(l->id), "%016llx", (unsigned long long)random); /* fits: 16 digits */
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    begin(l);
    return l;
}

bool leader_leading(const struct leader *l)
{
    return l->leading;
}

bool leader_standing_by(const struct leader *l)
{
    return l->standing_by;
}

uint64_t leader_epoch(const struct leader *l)
{
    return l->epoch;
}

struct quoll_op leader_fence(const struct leader *l)
{
    ASSERT(l->leading);
    return (struct quoll_op){.type = QUOLL_OP_CHECK, .path = l->lock, .version = l->version};
}

void leader_deposed(struct leader *l)
{
    /* Our node may still be the first one (somebody wrote .leader by hand): then we claim the next epoch. */
    if (l->leading)
        again_later(l);
}

void leader_look(struct leader *l)
{
    if (l->busy)
        l->look_again = true;
    else
        begin(l);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct leader *l = handle->data;
    void (*closed)(void *) = l->closed;
    void *closed_data = l->closed_data;

    l->timer_closed = true;
    maybe_free(l);
    if (closed)
        closed(closed_data);
}

static void on_released(quoll_client *c, const struct quoll_result *res, void *data)
{
    (void)called_back(data);
}

void leader_close(struct leader *l, void (*closed)(void *data), void *data)
{
    l->closing = true;
    l->closed = closed;
    l->closed_data = data;
    if (l->own && quoll_delete(l->client, l->own, -1, on_released, l) == 0)
        l->pending++;
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}
