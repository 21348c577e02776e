/* A client with its own thread: calls from several threads, callbacks from its own, closing from either side. The server is
 * a thread that answers every request with "no node". Meant for ThreadSanitizer as well. */
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/core.h"
#include "jute/records.h"
#include "quoll/quoll.h"

#define THREADS  4
#define REQUESTS 500

struct server {
    pthread_t thread;
    int listener;
    char address[32];
};

static bool read_all(int fd, void *p, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = read(fd, (char *)p + got, n - got);
        if (r <= 0)
            return false;
        got += (size_t)r;
    }
    return true;
}

static bool read_frame(int fd, uint8_t *buf, size_t cap, uint32_t *n)
{
    uint8_t len[4];
    if (!read_all(fd, len, 4))
        return false;
    *n = load_u32(len);
    return *n <= cap && read_all(fd, buf, *n);
}

static bool write_frame(int fd, struct wr *w)
{
    jute_frame_end(w, 0);
    bool ok = write(fd, w->p, w->n) == (ssize_t)w->n;
    wr_free(w);
    return ok;
}

static void serve(int fd)
{
    static uint8_t buf[4096];
    static const uint8_t passwd[16];
    uint32_t n;
    if (!read_frame(fd, buf, sizeof(buf), &n))
        return;
    struct wr w = wr_init(0);
    jute_frame_begin(&w);
    connect_response_write(&w, &(struct connect_response){ 0, 10000, 77, { passwd, 16 } });
    wr_u8(&w, 0);
    bool ok = write_frame(fd, &w);
    while (ok && read_frame(fd, buf, sizeof(buf), &n)) {
        int32_t xid = (int32_t)load_u32(buf), type = (int32_t)load_u32(buf + 4);
        w = wr_init(0);
        jute_frame_begin(&w);
        bool plain = type == ZK_OP_CLOSE_SESSION || type == ZK_OP_PING;
        reply_header_write(&w, &(struct reply_header){ xid, 1, plain ? 0 : ZK_NONODE });
        ok = write_frame(fd, &w) && type != ZK_OP_CLOSE_SESSION;
    }
}

static void *server_main(void *arg)
{
    struct server *s = arg;
    for (int fd; (fd = accept(s->listener, NULL, NULL)) >= 0; close(fd))
        serve(fd);
    return NULL;
}

static void server_start(struct server *s)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sa);
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&sa, &len), 0);
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%d", ntohs(sa.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

struct caller {
    quoll_client *c;
    sem_t done;
    int good, next; /* results, and the order they came in: written by the client's thread */
};
struct call {
    struct caller *caller;
    int number;
};

static void on_done(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct call *call = data;
    call->caller->good += res->err == QUOLL_NO_NODE && call->number == call->caller->next;
    call->caller->next++;
    sem_post(&call->caller->done);
    free(call);
}

static void *caller_main(void *arg)
{
    struct caller *me = arg;
    for (int i = 0; i < REQUESTS; i++) {
        struct call *call = x_malloc(sizeof(*call));
        *call = (struct call){ me, i };
        if (i == REQUESTS / 2)
            quoll_set_deadline(me->c, 60000);
        if (quoll_get(me->c, "/x", NULL, NULL, on_done, call) != 0)
            abort();
        (void)quoll_server(me->c);
        (void)quoll_client_state(me->c);
    }
    quoll_set_deadline(me->c, 0);
    for (int i = 0; i < REQUESTS; i++)
        while (sem_wait(&me->done) != 0)
            ;
    return NULL;
}

static void test_many_threads(void **state)
{
    struct server s;
    quoll_client *c;
    struct caller callers[THREADS] = { 0 };
    pthread_t threads[THREADS];
    server_start(&s);
    assert_int_equal(quoll_open(&(struct quoll_options){ .servers = s.address }, &c, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        callers[i].c = c;
        sem_init(&callers[i].done, 0, 0);
        pthread_create(&threads[i], NULL, caller_main, &callers[i]);
    }
    assert_int_equal(quoll_wait_connected(c, 10000), 0);
    assert_int_equal(quoll_session_id(c), 77);
    assert_string_equal(quoll_server(c), s.address);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].good, REQUESTS); /* each thread's in the order of its calls */
        sem_destroy(&callers[i].done);
    }
    quoll_close(c, NULL, NULL);
    server_stop(&s);
}

static void count_closing(quoll_client *c, const struct quoll_result *res, void *data)
{
    *(int *)data += res->err == QUOLL_CLOSING;
}

/* Nobody listens: what waits is failed by the close, which blocks until then. */
static void test_close_without_server(void **state)
{
    struct server s;
    quoll_client *c;
    int closing = 0;
    server_start(&s);
    server_stop(&s);
    assert_int_equal(quoll_open(&(struct quoll_options){ .servers = s.address }, &c, NULL), 0);
    assert_int_equal(quoll_wait_connected(c, 50), QUOLL_OPERATION_TIMEOUT);
    for (int i = 0; i < 10; i++)
        assert_int_equal(quoll_delete(c, "/x", -1, count_closing, &closing), 0);
    quoll_close(c, NULL, NULL);
    assert_int_equal(closing, 10);
}

static sem_t closed;

static void on_closed(void *data)
{
    sem_post(&closed);
}

static void close_it(quoll_client *c, const struct quoll_result *res, void *data)
{
    quoll_close(c, on_closed, NULL);
}

static void test_close_from_a_callback(void **state)
{
    struct server s;
    quoll_client *c;
    sem_init(&closed, 0, 0);
    server_start(&s);
    assert_int_equal(quoll_open(&(struct quoll_options){ .servers = s.address }, &c, NULL), 0);
    assert_int_equal(quoll_get(c, "/x", NULL, NULL, close_it, NULL), 0);
    while (sem_wait(&closed) != 0)
        ;
    server_stop(&s);
    sem_destroy(&closed);
}

static void test_bad_options(void **state)
{
    quoll_client *c;
    char *error = NULL;
    assert_int_equal(quoll_open(&(struct quoll_options){ .servers = "a:x" }, &c, &error), QUOLL_BAD_ARGUMENTS);
    assert_non_null(error);
    free(error);
    assert_int_equal(quoll_open(&(struct quoll_options){ .servers = "a", .session_timeout_ms = -1 }, &c, NULL),
                     QUOLL_BAD_ARGUMENTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_threads), cmocka_unit_test(test_close_without_server),
        cmocka_unit_test(test_close_from_a_callback), cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
