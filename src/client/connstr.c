/* connstr.c - parsing of the connection string. */
#include "client/connstr.h"

#include <arpa/inet.h>

#include "base/bytes.h"
#include "base/str.h"
#include "jute/proto.h"

static int fail(char **ret_error, char *text)
{
    *ret_error = text;
    return RC_INVAL;
}

static struct buf trim(struct buf b)
{
    while (b.n && (b.p[0] == ' ' || b.p[0] == '\t'))
        b.p++, b.n--;
    while (b.n && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t'))
        b.n--;
    return b;
}

/* Splits "host:port", "[v6]:port" or a bare IPv6 address (two colons or more) into host and port text. */
static int split_port(struct buf part, struct buf *host, struct buf *port)
{
    *port = (struct buf){ NULL, 0 };
    if (part.p[0] == '[') {
        const uint8_t *end = memchr(part.p, ']', part.n);
        if (!end)
            return RC_INVAL;
        *host = buf_of(part.p + 1, (size_t)(end - part.p) - 1);
        size_t used = (size_t)(end - part.p) + 1;
        if (used == part.n)
            return 0;
        if (part.p[used] != ':')
            return RC_INVAL;
        *port = buf_of(part.p + used + 1, part.n - used - 1);
        return 0;
    }
    const uint8_t *colon = memchr(part.p, ':', part.n);
    *host = part;
    if (!colon)
        return 0;
    size_t before = (size_t)(colon - part.p);
    if (memchr(colon + 1, ':', part.n - before - 1))
        return 0; /* an IPv6 address without brackets, hence without a port */
    *host = buf_of(part.p, before);
    *port = buf_of(colon + 1, part.n - before - 1);
    return 0;
}

/* An IPv6 address, with a scope or without. */
static bool is_ipv6(struct buf host)
{
    struct in6_addr unused;
    const uint8_t *scope = memchr(host.p, '%', host.n);
    char *text = buf_dup(buf_of(host.p, scope ? (size_t)(scope - host.p) : host.n));
    bool good = inet_pton(AF_INET6, text, &unused) == 1;
    free(text);
    return good;
}

static int parse_server(struct buf part, struct connstr *cs, char **ret_error)
{
    struct buf host, port_text;
    int64_t port = CONNSTR_PORT_DEFAULT;
    char *shown = buf_dup(part);
    int rc = split_port(part, &host, &port_text);
    if (rc == 0 && (host.n == 0 || host.n > 253))
        rc = RC_INVAL;
    if (rc == 0 && memchr(host.p, ':', host.n) && !is_ipv6(host))
        rc = RC_INVAL;
    for (size_t i = 0; rc == 0 && i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] == 0x7f || strchr("[]@,", host.p[i]))
            rc = RC_INVAL;
    if (rc == 0 && port_text.p) {
        char *text = buf_dup(port_text);
        rc = str_to_i64(text, 1, 65535, &port) < 0 ? RC_INVAL : 0;
        free(text);
    }
    if (rc == 0 && cs->servers.len >= CONNSTR_SERVERS_MAX) {
        free(shown);
        return fail(ret_error, x_asprintf("more than %d servers in the connection string", CONNSTR_SERVERS_MAX));
    }
    if (rc < 0) {
        char *text = x_asprintf("\"%s\" is not a server: expected HOST, HOST:PORT or [IPV6]:PORT", shown);
        free(shown);
        return fail(ret_error, text);
    }
    free(shown);
    struct server_addr a = { .host = buf_dup(host), .port = (int)port };
    a.text = x_asprintf(strchr(a.host, ':') ? "[%s]:%d" : "%s:%d", a.host, a.port);
    VEC_PUSH(&cs->servers, a);
    return 0;
}

static int parse_chroot(const char *text, struct connstr *cs, char **ret_error)
{
    size_t n = strlen(text);
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    if (n <= 1) { /* absent, or "/" which is the same */
        cs->chroot = x_strdup("");
        return 0;
    }
    const char *problem = n > INT32_MAX ? "path is too long" : zk_path_problem(text, (int32_t)n);
    if (problem)
        return fail(ret_error, x_asprintf("chroot \"%s\": %s", text, problem));
    cs->chroot = x_strndup(text, n);
    return 0;
}

int connstr_parse(const char *text, struct connstr *ret, char **ret_error)
{
    struct connstr cs = { 0 };
    *ret_error = NULL;
    if (!text)
        return fail(ret_error, x_strdup("no connection string"));
    size_t hosts = strcspn(text, "/");
    int rc = parse_chroot(text + hosts, &cs, ret_error);
    for (size_t i = 0; rc == 0 && i <= hosts;) {
        size_t n = 0;
        while (i + n < hosts && text[i + n] != ',')
            n++;
        struct buf part = trim(buf_of(text + i, n));
        if (part.n) /* "a,,b" and a trailing comma are forgiven, as the reference client does */
            rc = parse_server(part, &cs, ret_error);
        i += n + 1;
    }
    if (rc == 0 && cs.servers.len == 0)
        rc = fail(ret_error, x_asprintf("connection string \"%s\" names no server", text));
    if (rc < 0) {
        connstr_free(&cs);
        return rc;
    }
    *ret = cs;
    return 0;
}

void connstr_free(struct connstr *cs)
{
    for (size_t i = 0; i < cs->servers.len; i++) {
        free(cs->servers.items[i].host);
        free(cs->servers.items[i].text);
    }
    VEC_FREE(&cs->servers);
    free(cs->chroot);
    cs->chroot = NULL;
}
