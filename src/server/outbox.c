/* outbox.c - hand-over between threads: net -> core (inbox of batches), core -> net (outbox), and waking. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server_internal.h"

/* ---- waking ---- */

int waker_init(struct waker *w)
{
    atomic_init(&w->sleeping, false);
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->fd < 0 ? RC_IO : 0;
}

void waker_done(struct waker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

void waker_wake(struct waker *w)
{
    uint64_t one = 1;

    if (!atomic_load(&w->sleeping) || !atomic_exchange(&w->sleeping, false))
        return;
    while (write(w->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void waker_wait(struct waker *w, int wait_ms)
{
    struct pollfd fd = { w->fd, POLLIN, 0 };
    uint64_t count;

    if (poll(&fd, 1, wait_ms) <= 0) /* EINTR: as if the time had passed */
        return;
    while (read(w->fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

/* ---- net -> core ---- */

enum { SPARE_MAX = 64, SPARE_BYTES_MAX = 1 << 20 };

void inbox_init(struct inbox *in)
{
    *in = (struct inbox){ .tail = NULL };
    in->tail = &in->head;
    pthread_mutex_init(&in->mutex, NULL);
    pthread_cond_init(&in->call_done, NULL);
}

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->msgs.len; i++)
        auth_ids_unref(b->msgs.items[i].ids);
    VEC_FREE(&b->msgs);
    wr_free(&b->bytes);
    free(b);
}

static void batch_free_list(struct batch *b)
{
    while (b) {
        struct batch *next = b->next;

        batch_free(b);
        b = next;
    }
}

void inbox_done(struct inbox *in)
{
    batch_free_list(in->head);
    batch_free_list(in->spare);
    pthread_mutex_destroy(&in->mutex);
    pthread_cond_destroy(&in->call_done);
}

struct batch *inbox_spare(struct inbox *in)
{
    pthread_mutex_lock(&in->mutex);
    struct batch *b = in->spare;
    if (b) {
        in->spare = b->next;
        in->spare_count--;
    }
    pthread_mutex_unlock(&in->mutex);
    if (!b)
        b = x_calloc(1, sizeof(*b));
    b->next = NULL;
    return b;
}

void inbox_push(struct inbox *in, struct batch *b)
{
    b->next = NULL;
    pthread_mutex_lock(&in->mutex);
    *in->tail = b;
    in->tail = &b->next;
    pthread_mutex_unlock(&in->mutex);
}

struct batch *inbox_take(struct inbox *in, struct core_call **ret_calls)
{
    pthread_mutex_lock(&in->mutex);
    struct batch *b = in->head;
    in->head = NULL;
    in->tail = &in->head;
    *ret_calls = in->calls;
    in->calls = NULL;
    pthread_mutex_unlock(&in->mutex);
    return b;
}

void inbox_recycle(struct inbox *in, struct batch *list)
{
    while (list) {
        struct batch *b = list;

        list = b->next;
        if (b->bytes.cap > SPARE_BYTES_MAX) {
            batch_free(b);
            continue;
        }
        b->msgs.len = 0;
        wr_reset(&b->bytes);
        pthread_mutex_lock(&in->mutex);
        bool keep = in->spare_count < SPARE_MAX;
        if (keep) {
            b->next = in->spare;
            in->spare = b;
            in->spare_count++;
        }
        pthread_mutex_unlock(&in->mutex);
        if (!keep)
            batch_free(b);
    }
}

bool inbox_empty(struct inbox *in)
{
    pthread_mutex_lock(&in->mutex);
    bool empty = !in->head && !in->calls;
    pthread_mutex_unlock(&in->mutex);
    return empty;
}

bool inbox_call(struct server *s, void (*fn)(struct server *s, void *data), void *data)
{
    struct inbox *in = &s->inbox;
    struct core_call call = { .fn = fn, .data = data };

    pthread_mutex_lock(&in->mutex);
    if (in->closed) {
        pthread_mutex_unlock(&in->mutex);
        return false;
    }
    call.next = in->calls;
    in->calls = &call;
    pthread_mutex_unlock(&in->mutex);
    waker_wake(&s->core_waker);
    pthread_mutex_lock(&in->mutex);
    while (!call.done)
        pthread_cond_wait(&in->call_done, &in->mutex);
    pthread_mutex_unlock(&in->mutex);
    return !call.refused;
}

void inbox_finish_calls(struct inbox *in, struct core_call *calls, bool refused)
{
    if (!calls)
        return;
    pthread_mutex_lock(&in->mutex);
    while (calls) {
        struct core_call *next = calls->next; /* the caller's stack: gone once it sees done */

        calls->refused = refused;
        calls->done = true;
        calls = next;
    }
    pthread_cond_broadcast(&in->call_done);
    pthread_mutex_unlock(&in->mutex);
}

void inbox_close(struct inbox *in)
{
    pthread_mutex_lock(&in->mutex);
    in->closed = true;
    struct core_call *calls = in->calls;
    in->calls = NULL;
    pthread_mutex_unlock(&in->mutex);
    inbox_finish_calls(in, calls, true);
}

/* ---- core -> net ---- */

void outbox_put(struct outbox *o, enum outbox_kind kind, uint64_t conn, struct buf bytes, int64_t zxid, int32_t op)
{
    struct outbox_item it = { conn, o->bytes.n, bytes.n, zxid, op, kind };

    wr_bytes(&o->bytes, bytes.p, bytes.n);
    VEC_PUSH(&o->items, it);
}

/* The path sits behind frame length, reply header, type, state and its own length. */
enum { EVENT_PATH_AT = 4 + 16 + 4 + 4 + 4 };

static bool outbox_same_event(const struct outbox *o, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    return o->event_len == EVENT_PATH_AT + (size_t)path.n && o->event_zxid == zxid && o->event_type == (int32_t)type &&
           memcmp(o->bytes.p + o->event_off + EVENT_PATH_AT, path.p, (size_t)path.n) == 0;
}

void outbox_put_event(struct outbox *o, uint64_t conn, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    if (!outbox_same_event(o, type, path, zxid)) {
        o->event_off = o->bytes.n;
        event_encode(&o->bytes, type, path, zxid);
        o->event_len = o->bytes.n - o->event_off;
        o->event_zxid = zxid;
        o->event_type = (int32_t)type;
    }
    struct outbox_item it = { conn, o->event_off, o->event_len, zxid, (int32_t)type, OUT_EVENT };
    VEC_PUSH(&o->items, it);
}

void outbox_clear(struct outbox *o)
{
    if (o->bytes.cap > SPARE_BYTES_MAX)
        wr_free(&o->bytes);
    wr_reset(&o->bytes);
    o->items.len = 0;
    o->event_len = 0;
}

void outbox_free(struct outbox *o)
{
    VEC_FREE(&o->items);
    wr_free(&o->bytes);
}
