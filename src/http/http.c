/* http.c - libmicrohttpd on a uv loop: its epoll descriptor is polled, its timeout is a timer. */
#include "http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <unistd.h>

#include "base/log.h"

#define CONNECTION_LIMIT 256
#define IDLE_TIMEOUT_S 30

struct http_server {
    struct MHD_Daemon *mhd;
    const struct http_route *routes;
    uv_poll_t poll;
    uv_timer_t timer;
    int open_handles;
    void (*closed)(void *data);
    void *closed_data;
};

static const char *query_value(const struct http_request *req, const char *key)
{
    return MHD_lookup_connection_value(req->impl, MHD_GET_ARGUMENT_KIND, key);
}

static enum MHD_Result respond(struct MHD_Connection *conn, int status, const char *type, struct wr *body)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result rc = MHD_queue_response(conn, (unsigned)status, r);
    MHD_destroy_response(r);
    return rc;
}

static void answer(struct http_server *s, struct MHD_Connection *conn, const char *path, const char *method,
                   struct http_response *res)
{
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        res->status = MHD_HTTP_METHOD_NOT_ALLOWED;
        wr_text(&res->body, "only GET and HEAD are answered here\n");
        return;
    }
    for (const struct http_route *r = s->routes; r->path; r++)
        if (strcmp(r->path, path) == 0) {
            struct http_request req = { .path = path, .query = query_value, .impl = conn };
            r->handle(r->data, &req, res);
            return;
        }
    res->status = strcmp(path, "/") == 0 ? 200 : MHD_HTTP_NOT_FOUND;
    wr_text(&res->body, res->status == 200 ? "quoll " QUOLL_VERSION "\n" : "no such page; there is\n");
    for (const struct http_route *r = s->routes; r->path; r++)
        wr_printf(&res->body, "  %s\n", r->path);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version, (void)upload;
    static int seen;
    if (!*state) { /* first call: headers only */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size) { /* a body nobody asked for is read and dropped */
        *upload_size = 0;
        return MHD_YES;
    }
    struct http_response res = { .status = 200, .content_type = "text/plain; charset=utf-8", .body = wr_init(0) };
    answer(cls, conn, url, method, &res);
    enum MHD_Result rc = respond(conn, res.status, res.content_type, &res.body);
    wr_free(&res.body);
    return rc;
}

static void run(struct http_server *s)
{
    MHD_run(s->mhd);
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (MHD_get_timeout(s->mhd, &wait_ms) == MHD_YES)
        uv_timer_start(&s->timer, s->timer.timer_cb, wait_ms, 0);
    else
        uv_timer_stop(&s->timer);
}

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static void on_readable(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    run(p->data);
}

/* Makes the listening socket ourselves: libmicrohttpd does not tell why a bind failed. */
static int listen_on(const struct sockaddr *addr, socklen_t len, int *ret_port)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return RC_IO;
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* a refused option only delays a restart */
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof(bound);
    if (bind(fd, addr, len) < 0 || listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *)&bound, &bound_len) < 0) {
        int rc = errno == EADDRINUSE ? RC_INUSE : errno == EACCES ? RC_DENIED : RC_IO;
        int saved = errno;
        close(fd);
        errno = saved;
        return rc;
    }
    const uint8_t *port = (const uint8_t *)&bound + 2; /* the same place in sockaddr_in and sockaddr_in6 */
    *ret_port = port[0] << 8 | port[1];
    return fd;
}

int http_server_new(uv_loop_t *loop, const struct sockaddr *addr, socklen_t addr_len, const struct http_route *routes,
                    struct http_server **ret, int *ret_port)
{
    int port;
    int fd = listen_on(addr, addr_len, &port);
    if (fd < 0)
        return fd;
    struct http_server *s = x_calloc(1, sizeof(*s));
    s->routes = routes;
    s->mhd = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, s,
                              MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT,
                              MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_END);
    if (!s->mhd) {
        close(fd);
        free(s);
        return RC_IO;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    ASSERT(info != NULL);
    uv_poll_init(loop, &s->poll, info->epoll_fd);
    uv_timer_init(loop, &s->timer);
    s->open_handles = 2;
    s->poll.data = s->timer.data = s;
    s->timer.timer_cb = on_timer;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    *ret = s;
    *ret_port = port;
    return 0;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct http_server *s = h->data;
    if (--s->open_handles > 0)
        return;
    if (s->closed)
        s->closed(s->closed_data);
    free(s);
}

void http_server_close(struct http_server *s, void (*closed)(void *data), void *data)
{
    s->closed = closed;
    s->closed_data = data;
    uv_poll_stop(&s->poll);
    MHD_stop_daemon(s->mhd);
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}
