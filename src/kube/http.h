/* http.h - HTTP requests to one API server, on a libuv loop: libcurl's multi interface, HTTP/2 where offered.
 *
 * Ownership  A request owns what it was started with. Body bytes are borrowed for the callback.
 * Threading  The loop's thread. No callback comes from inside http_start or http_cancel, or after http_cancel.
 * Errors     on_end gets NULL for a whole answer, or one line saying what broke. */
#ifndef KUBE_HTTP_H
#define KUBE_HTTP_H

#include <curl/curl.h>
#include <uv.h>

#include "kubeconfig.h"

struct http;
struct http_request;

struct http_handler {
    void *data;
    void (*on_headers)(void *data, int status, int64_t retry_after_ms); /* 0: none named */
    void (*on_body)(void *data, const uint8_t *p, size_t n);
    /* tls: the server's certificate or our own was refused. The request is gone after this call. */
    void (*on_end)(void *data, const char *error, bool tls);
};

struct http_options {
    const struct kube_config *config;  /* borrowed for the call */
    const struct kube_pem *cert, *key; /* borrowed for the call; p == NULL: none */
    const char *target;                /* path and query */
    struct curl_slist *headers;        /* taken */
    bool stream;                       /* no compression: it would hold events back */
    bool fresh;                        /* on a new connection */
};

struct http *http_new(uv_loop_t *loop);
/* Cancels everything. closed(data) is called from the loop when the handles are gone and *h is freed. */
void http_close(struct http *h, void (*closed)(void *data), void *data);
struct http_request *http_start(struct http *h, const struct http_options *opt, const struct http_handler *handler);
void http_cancel(struct http_request *req);

#endif
