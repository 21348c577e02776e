/* The admin endpoint on a real loop and a real socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/addr.h"
#include "http/http.h"

static void page_hello(void *data, const struct http_request *req, struct http_response *res)
{
    const char *who = req->query(req, "who");
    wr_printf(&res->body, "%s %s\n", (const char *)data, who ? who : "nobody");
}

static void page_down(void *data, const struct http_request *req, struct http_response *res)
{
    (void)data, (void)req;
    res->status = 503;
    wr_text(&res->body, "not ready\n");
}

static char greeting[] = "hello";
static const struct http_route routes[] = { { "/hello", page_hello, greeting }, { "/readyz", page_down, NULL }, { 0 } };

struct exchange {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    const char *request;
    char reply[4096];
    size_t n;
    bool done;
};

static void alloc_cb(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    struct exchange *x = h->data;
    (void)hint;
    *buf = uv_buf_init(x->reply + x->n, (unsigned)(sizeof(x->reply) - 1 - x->n));
}

static void read_cb(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct exchange *x = st->data;
    (void)buf;
    if (n > 0) {
        x->n += (size_t)n;
    } else if (n < 0) {
        x->done = true;
        uv_close((uv_handle_t *)st, NULL);
    }
}

static void connect_cb(uv_connect_t *c, int status)
{
    struct exchange *x = c->data;
    assert_int_equal(status, 0);
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)x->request, (unsigned)strlen(x->request));
    uv_write(&x->write, (uv_stream_t *)&x->tcp, &b, 1, NULL);
    uv_read_start((uv_stream_t *)&x->tcp, alloc_cb, read_cb);
}

static void give_up(uv_timer_t *t)
{
    fail_msg("no answer within 10 s");
    (void)t;
}

static void test_pages(void **state)
{
    (void)state;
    static const struct {
        const char *name, *request, *status, *body;
    } cases[] = {
        { "page", "GET /hello HTTP/1.0\r\n\r\n", " 200 ", "hello nobody\n" },
        { "query", "GET /hello?who=zk%20user HTTP/1.0\r\n\r\n", " 200 ", "hello zk user\n" },
        { "status", "GET /readyz HTTP/1.0\r\n\r\n", " 503 ", "not ready\n" },
        { "unknown names the pages", "GET /nope HTTP/1.0\r\n\r\n", " 404 ", "  /hello\n" },
        { "index", "GET / HTTP/1.0\r\n\r\n", " 200 ", "  /readyz\n" },
        { "method", "POST /hello HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", " 405 ", "only GET" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        uv_loop_t loop;
        uv_loop_init(&loop);
        struct sockaddr_storage sa;
        socklen_t len;
        assert_int_equal(addr_parse("127.0.0.1:0", &sa, &len), 0);
        struct http_server *s;
        int port;
        assert_int_equal(http_server_new(&loop, (struct sockaddr *)&sa, len, routes, &s, &port), 0);
        ((struct sockaddr_in *)(void *)&sa)->sin_port = htons((uint16_t)port);

        /* The same port a second time is refused by name. */
        struct http_server *again;
        int port2;
        assert_int_equal(http_server_new(&loop, (struct sockaddr *)&sa, len, routes, &again, &port2), RC_INUSE);

        struct exchange x = { .request = cases[i].request };
        x.tcp.data = x.connect.data = &x;
        uv_tcp_init(&loop, &x.tcp);
        uv_tcp_connect(&x.connect, &x.tcp, (struct sockaddr *)&sa, connect_cb);
        uv_timer_t deadline;
        uv_timer_init(&loop, &deadline);
        uv_timer_start(&deadline, give_up, 10000, 0);
        while (!x.done)
            uv_run(&loop, UV_RUN_ONCE);
        x.reply[x.n] = 0;
        assert_non_null(strstr(x.reply, cases[i].status));
        assert_non_null(strstr(x.reply, cases[i].body));
        uv_close((uv_handle_t *)&deadline, NULL);
        http_server_close(s, NULL, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pages) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
