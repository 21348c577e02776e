/* thread.c - a client that runs a thread of its own: a loop, and an inbox through which other threads hand in requests. */
#include "client.h"

#include "base/clock.h"

struct inbox_item {
    struct request *request; /* or */
    struct auth *auth;
};

struct own_thread {
    quoll_client *c;
    uv_loop_t loop;
    uv_async_t wake;
    uv_thread_t thread;
    pthread_mutex_t lock; /* the fields below */
    pthread_cond_t state_changed;
    struct VEC(struct inbox_item) inbox;
    size_t inbox_bytes;
    bool close, detach, closed;
    /* Set before the close is posted. */
    bool self_close; /* closed from a callback: nobody joins */
    void (*closed_fn)(void *data);
    void *closed_data;
};

bool thread_is_foreign(const quoll_client *c)
{
    uv_thread_t self = uv_thread_self();
    return !uv_thread_equal(&self, &c->own->thread);
}

static void deny(quoll_client *c, struct inbox_item *it, int err)
{
    struct quoll_result res = { .err = err, .zxid = -1 };
    quoll_done_fn done = it->request ? it->request->done : it->auth->done;
    void *data = it->request ? it->request->data : it->auth->data;
    if (done)
        done(c, &res, data);
}

static void take_one(quoll_client *c, struct inbox_item *it)
{
    /* A refusal now comes too late for the call's return value: the callback hears of it. */
    struct request copy = { 0 };
    struct auth auth_copy = { 0 };
    struct inbox_item denied = { it->request ? &copy : NULL, it->auth ? &auth_copy : NULL };
    int err;
    if (it->request) {
        copy.done = it->request->done;
        copy.data = it->request->data;
        err = session_submit(&c->session, it->request, clock_mono_ms());
    } else {
        auth_copy.done = it->auth->done;
        auth_copy.data = it->auth->data;
        err = session_add_auth(&c->session, it->auth, clock_mono_ms());
    }
    if (err)
        deny(c, &denied, err);
}

static void on_wake(uv_async_t *h)
{
    struct own_thread *t = h->data;
    pthread_mutex_lock(&t->lock);
    struct inbox_item *items = t->inbox.items;
    size_t n = t->inbox.len;
    t->inbox.items = NULL;
    t->inbox.len = t->inbox.cap = 0;
    t->inbox_bytes = 0;
    bool closing = t->close, detach = t->detach;
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 0; i < n; i++)
        take_one(t->c, &items[i]);
    free(items);
    if (closing)
        shell_close(t->c, detach, NULL, NULL);
    shell_kick(t->c);
}

int thread_post(quoll_client *c, struct request *r, struct auth *a)
{
    struct own_thread *t = c->own;
    size_t bytes = r ? r->frame.n : a->cert_len;
    pthread_mutex_lock(&t->lock);
    int err = t->close                                                                                    ? QUOLL_CLOSING
              : t->inbox_bytes + bytes > SESSION_UNSENT_MAX || t->inbox.len >= SESSION_REQUESTS_MAX ? QUOLL_THROTTLED
                                                                                                          : 0;
    bool first = t->inbox.len == 0;
    if (!err) {
        VEC_PUSH(&t->inbox, ((struct inbox_item){ r, a }));
        t->inbox_bytes += bytes;
    }
    pthread_mutex_unlock(&t->lock);
    if (err) {
        request_free(r);
        if (a) {
            free(a->scheme);
            free(a->cert);
            free(a);
        }
        return err;
    }
    if (first)
        uv_async_send(&t->wake);
    return 0;
}

void thread_state_changed(quoll_client *c)
{
    pthread_mutex_lock(&c->own->lock);
    pthread_cond_broadcast(&c->own->state_changed);
    pthread_mutex_unlock(&c->own->lock);
}

static void thread_free(struct own_thread *t)
{
    int rc = uv_loop_close(&t->loop);
    ASSERT(rc == 0);
    client_free(t->c);
    pthread_cond_destroy(&t->state_changed);
    pthread_mutex_destroy(&t->lock);
    VEC_FREE(&t->inbox);
    free(t);
}

static void thread_main(void *arg)
{
    struct own_thread *t = arg;
    uv_run(&t->loop, UV_RUN_DEFAULT); /* until the shell has closed its handles: the async one is unreferenced */
    uv_close((uv_handle_t *)&t->wake, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    if (!t->self_close)
        return;
    void (*fn)(void *) = t->closed_fn;
    void *data = t->closed_data;
    thread_free(t);
    if (fn)
        fn(data);
}

int thread_start(quoll_client *c)
{
    struct own_thread *t = x_calloc(1, sizeof(*t));
    t->c = c;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->state_changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&t->lock, NULL);
    if (uv_loop_init(&t->loop) < 0)
        goto no_loop;
    if (uv_async_init(&t->loop, &t->wake, on_wake) < 0)
        goto no_thread;
    t->wake.data = t;
    uv_unref((uv_handle_t *)&t->wake);
    c->own = t;
    shell_start(c, &t->loop);
    if (uv_thread_create(&t->thread, thread_main, t) == 0)
        return 0;
    uv_close((uv_handle_t *)&c->timer, NULL);
    uv_close((uv_handle_t *)&c->flush, NULL);
    uv_close((uv_handle_t *)&t->wake, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    c->own = NULL;
no_thread:
    uv_loop_close(&t->loop);
no_loop:
    pthread_cond_destroy(&t->state_changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
    return QUOLL_SYSTEM_ERROR;
}

void thread_close(quoll_client *c, bool detach, void (*closed)(void *data), void *data)
{
    struct own_thread *t = c->own;
    bool foreign = thread_is_foreign(c);
    pthread_mutex_lock(&t->lock);
    t->close = true;
    t->detach = detach;
    t->self_close = !foreign;
    t->closed_fn = closed;
    t->closed_data = data;
    uv_thread_t thread = t->thread;
    pthread_mutex_unlock(&t->lock);
    if (!foreign) {
        pthread_detach(thread);
        shell_close(c, detach, NULL, NULL);
        return;
    }
    uv_async_send(&t->wake);
    uv_thread_join(&thread);
    thread_free(t);
    if (closed)
        closed(data);
}

int quoll_wait_connected(quoll_client *c, int32_t timeout_ms)
{
    if (!c->own || !thread_is_foreign(c))
        return QUOLL_BAD_ARGUMENTS;
    struct own_thread *t = c->own;
    int64_t until = clock_mono_ms() + timeout_ms;
    struct timespec ts = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };
    int err = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        enum quoll_state st = quoll_client_state(c);
        if (st == QUOLL_STATE_CONNECTED || st == QUOLL_STATE_READ_ONLY)
            break;
        if (st == QUOLL_STATE_AUTH_FAILED)
            err = QUOLL_AUTH_FAILED;
        else if (st == QUOLL_STATE_CLOSED)
            err = QUOLL_CLOSING;
        else if (st == QUOLL_STATE_EXPIRED && c->opt.no_new_session)
            err = QUOLL_SESSION_EXPIRED;
        else if (pthread_cond_timedwait(&t->state_changed, &t->lock, &ts) != 0)
            err = QUOLL_OPERATION_TIMEOUT;
        if (err)
            break;
    }
    pthread_mutex_unlock(&t->lock);
    return err;
}
