/* http.c - see http.h.
 *
 * libcurl must not be called from inside its callbacks, and our users like to cancel and start requests from theirs.
 * So libcurl's callbacks only collect bytes; they are handed on after curl_multi_socket_action has returned. */
#include "http.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/list.h"

#define CONNECT_TIMEOUT_MS 15000L
#define KEEPALIVE_IDLE_S 20L
#define KEEPALIVE_INTERVAL_S 10L
#define UNACKED_TIMEOUT_MS 45000u /* TCP_USER_TIMEOUT: sent bytes and probes that nobody acknowledges */
#define UNREAD_BYTES_MAX ((size_t)160 << 20) /* what one round of libcurl may collect for a request */

struct http {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    struct list requests;
    size_t open_handles;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

struct http_socket {
    uv_poll_t poll;
    struct http *http;
    curl_socket_t fd;
};

struct http_request {
    struct list link;
    struct http *http;
    struct http_handler handler;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct wr body; /* arrived, not handed on */
    bool headers_due, done;
    CURLcode result;
    char error[CURL_ERROR_SIZE];
};

static void drain(struct http *h);

/* ---- libcurl's sockets and timer on the loop ---- */

static void handle_closed(struct http *h)
{
    if (--h->open_handles > 0 || !h->closing)
        return;
    void (*closed)(void *) = h->closed;
    void *data = h->closed_data;
    free(h);
    if (closed)
        closed(data);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct http_socket *s = handle->data;
    struct http *h = s->http;
    free(s);
    handle_closed(h);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct http_socket *s = poll->data;
    struct http *h = s->http;
    int mask = 0, running;

    if (status < 0)
        mask = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        mask |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        mask |= CURL_CSELECT_OUT;
    curl_multi_socket_action(h->multi, s->fd, mask, &running);
    drain(h);
}

static void on_timer(uv_timer_t *timer)
{
    struct http *h = timer->data;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    drain(h);
}

static int curl_wants_timer(CURLM *multi, long timeout_ms, void *data)
{
    struct http *h = data;
    if (h->closing)
        return 0;
    if (timeout_ms < 0)
        uv_timer_stop(&h->timer);
    else /* 0 means soon, yet not from inside this call */
        uv_timer_start(&h->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static struct http_socket *socket_open(struct http *h, curl_socket_t fd)
{
    struct http_socket *s = x_calloc(1, sizeof *s);
    s->http = h;
    s->fd = fd;
    if (uv_poll_init_socket(h->loop, &s->poll, fd) != 0) {
        free(s);
        return NULL;
    }
    s->poll.data = s;
    h->open_handles++;
    curl_multi_assign(h->multi, fd, s);
    return s;
}

static int curl_wants_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    struct http *h = data;
    struct http_socket *s = socket_data;

    if (what == CURL_POLL_REMOVE) {
        if (s) {
            uv_poll_stop(&s->poll);
            curl_multi_assign(h->multi, fd, NULL);
            uv_close((uv_handle_t *)&s->poll, on_socket_closed);
        }
        return 0;
    }
    if (!s && !(s = socket_open(h, fd)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&s->poll, events, on_poll) == 0 ? 0 : -1;
}

/* ---- one request ---- */

static size_t on_header_line(char *line, size_t size, size_t count, void *data)
{
    struct http_request *r = data;
    long status = 0;

    if (size * count <= 2) { /* the empty line that ends the headers; 1xx answers have one too */
        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
        r->headers_due = status >= 200;
    }
    return size * count;
}

static size_t on_data(char *p, size_t size, size_t count, void *data)
{
    struct http_request *r = data;
    wr_bytes(&r->body, p, size * count);
    return r->body.rc ? 0 : size * count;
}

/* Keepalive probes alone need minutes to notice a dead peer while our own bytes wait to be acknowledged. */
static int on_new_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
    unsigned ms = UNACKED_TIMEOUT_MS;
    /* Refused on anything but TCP; then only the deadline is left. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return CURL_SOCKOPT_OK;
}

static void set_blob(CURL *easy, CURLoption option, const struct kube_pem *pem)
{
    struct curl_blob blob = { pem->p, pem->n, CURL_BLOB_COPY };
    curl_easy_setopt(easy, option, &blob);
}

/* SNI and the name in the certificate come from the URL's host in libcurl. So a different name becomes the URL's host,
 * the connection goes to the real one, and the Host header still names the real one. */
static char *url_with_server_name(struct http_request *r, const char *server, const char *name, const char *target)
{
    const char *host = strstr(server, "://") + 3;
    size_t authority = strcspn(host, "/");
    const char *at = memrchr(host, '@', authority);
    if (at) {
        authority -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    const char *colon = memrchr(host, ':', authority);
    if (colon && memchr(colon, ']', authority - (size_t)(colon - host)))
        colon = NULL; /* inside an IPv6 address */
    int host_len = (int)(colon ? (size_t)(colon - host) : authority);
    char port[16] = "443";
    if (colon)
        (void)snprintf(port, sizeof port, "%.*s", (int)(authority - (size_t)(colon - host) - 1), colon + 1);
    char *to = x_asprintf("::%.*s:%s", host_len, host, port);
    char *header = x_asprintf("Host: %.*s", (int)authority, host);
    r->connect_to = curl_slist_append(NULL, to);
    r->headers = curl_slist_append(r->headers, header);
    char *url = x_asprintf("https://%s:%s%s%s", name, port, host + authority, target);
    free(to);
    free(header);
    return url;
}

static void set_tls(CURL *easy, const struct http_options *opt)
{
    const struct kube_config *c = opt->config;

    if (c->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (c->ca.p) {
        set_blob(easy, CURLOPT_CAINFO_BLOB, &c->ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* the cluster's authority alone, not the system's too */
    }
    if (opt->cert && opt->cert->p && opt->key && opt->key->p) {
        set_blob(easy, CURLOPT_SSLCERT_BLOB, opt->cert);
        set_blob(easy, CURLOPT_SSLKEY_BLOB, opt->key);
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static void set_options(struct http_request *r, const struct http_options *opt)
{
    const struct kube_config *c = opt->config;
    CURL *easy = r->easy;
    bool rename = c->tls_server_name && strncmp(c->server, "https://", 8) == 0;
    char *url = rename ? url_with_server_name(r, c->server, c->tls_server_name, opt->target)
                       : x_asprintf("%s%s", c->server, opt->target);

    curl_easy_setopt(easy, CURLOPT_URL, url);
    free(url);
    if (r->connect_to)
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, r->connect_to);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    if (!opt->stream && !c->no_compression)
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    if (opt->fresh)
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    if (c->proxy_url)
        curl_easy_setopt(easy, CURLOPT_PROXY, c->proxy_url);
    set_tls(easy, opt);
}

struct http_request *http_start(struct http *h, const struct http_options *opt, const struct http_handler *handler)
{
    struct http_request *r = x_calloc(1, sizeof *r);

    ASSERT(!h->closing);
    r->http = h;
    r->handler = *handler;
    r->headers = opt->headers;
    r->body = wr_init(UNREAD_BYTES_MAX);
    r->easy = curl_easy_init();
    ASSERT(r->easy);
    set_options(r, opt);
    list_push_back(&h->requests, &r->link);
    CURLMcode rc = curl_multi_add_handle(h->multi, r->easy);
    ASSERT(rc == CURLM_OK);
    return r;
}

static void request_free(struct http_request *r)
{
    list_remove(&r->link);
    curl_multi_remove_handle(r->http->multi, r->easy);
    curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->headers); /* holds the token: only curl's allocator may touch it */
    curl_slist_free_all(r->connect_to);
    wr_free(&r->body);
    free(r);
}

void http_cancel(struct http_request *r)
{
    if (r)
        request_free(r);
}

/* ---- handing on what arrived ---- */

static bool tls_refused(CURLcode rc)
{
    return rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_SSL_CONNECT_ERROR || rc == CURLE_SSL_CERTPROBLEM ||
           rc == CURLE_SSL_CACERT_BADFILE;
}

static void finish(struct http_request *r)
{
    struct http_handler handler = r->handler;
    bool failed = r->result != CURLE_OK, tls = tls_refused(r->result);
    char error[CURL_ERROR_SIZE];

    (void)snprintf(error, sizeof error, "%s", r->error[0] ? r->error : curl_easy_strerror(r->result));
    request_free(r);
    handler.on_end(handler.data, failed ? error : NULL, tls);
}

/* Hands on one thing of one request. False: nothing is left. Callbacks may free any request, hence the new look. */
static bool drain_one(struct http *h)
{
    LIST_EACH(it, &h->requests)
    {
        struct http_request *r = CONTAINER_OF(it, struct http_request, link);
        if (r->headers_due) {
            long status = 0;
            curl_off_t retry_s = 0;
            curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
            curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry_s);
            r->headers_due = false;
            r->handler.on_headers(r->handler.data, (int)status, MIN(MAX(retry_s, 0), 86400) * 1000);
            return true;
        }
        if (r->body.n > 0) {
            struct wr body = r->body;
            r->body = wr_init(UNREAD_BYTES_MAX);
            r->handler.on_body(r->handler.data, body.p, body.n);
            wr_free(&body);
            return true;
        }
        if (r->done) {
            finish(r);
            return true;
        }
    }
    return false;
}

static void drain(struct http *h)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct http_request *r = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        r->done = true;
        r->result = msg->data.result;
    }
    while (!h->closing && drain_one(h))
        ;
}

/* ---- life ---- */

struct http *http_new(uv_loop_t *loop)
{
    static bool initialised;
    struct http *h = x_calloc(1, sizeof *h);

    if (!initialised)
        curl_global_init(CURL_GLOBAL_DEFAULT);
    initialised = true;
    h->loop = loop;
    h->multi = curl_multi_init();
    ASSERT(h->multi);
    list_init(&h->requests);
    uv_timer_init(loop, &h->timer);
    h->timer.data = h;
    h->open_handles = 1;
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, curl_wants_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, curl_wants_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct http *h = handle->data;
    curl_multi_cleanup(h->multi); /* here, because http_close may be called from a callback of ours */
    h->multi = NULL;
    handle_closed(h);
}

void http_close(struct http *h, void (*closed)(void *data), void *data)
{
    h->closing = true;
    h->closed = closed;
    h->closed_data = data;
    LIST_EACH_SAFE(it, &h->requests)
    {
        request_free(CONTAINER_OF(it, struct http_request, link));
    }
    uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}
