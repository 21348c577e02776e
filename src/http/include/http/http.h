/* http.h - the admin HTTP endpoint: small read-only pages (/healthz, /readyz, /metrics, ...).
 *
 * libmicrohttpd parses; its descriptors are driven by the caller's uv loop, so handlers run on that loop's thread and may read
 * what lives there.
 * Ownership  Routes and their strings are borrowed for the server's life. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <sys/socket.h>
#include <uv.h>

#include "base/bytes.h"

struct http_server;

struct http_request {
    const char *path;
    const char *(*query)(const struct http_request *req, const char *key); /* NULL when absent */
    void *impl;
};
struct http_response {
    int status;               /* preset to 200 */
    const char *content_type; /* preset to text/plain; charset=utf-8 */
    struct wr body;
};
struct http_route {
    const char *path; /* exact match */
    void (*handle)(void *data, const struct http_request *req, struct http_response *res);
    void *data;
};

/* Binds and serves GET and HEAD on the routes (an array ended by a NULL path). RC_INUSE, RC_DENIED, RC_IO. Port 0
 * picks one; *ret_port says which. */
int http_server_new(uv_loop_t *loop, const struct sockaddr *addr, socklen_t addr_len, const struct http_route *routes,
                    struct http_server **ret, int *ret_port);
void http_server_close(struct http_server *s, void (*closed)(void *data), void *data);

#endif
