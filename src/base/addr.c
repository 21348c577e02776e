/* addr.c - socket addresses as text. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/str.h"

int addr_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (!colon || str_to_i64(colon + 1, 0, 65535, &port) < 0)
        return RC_INVAL;
    char host[ADDR_TEXT_MAX];
    size_t n = (size_t)(colon - text);
    if (n >= sizeof(host))
        return RC_INVAL;
    memcpy(host, text, n);
    host[n] = 0;

    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    const void *sa = &v4;
    socklen_t len = sizeof(v4);
    if (n == 0 || strcmp(host, "*") == 0) {
        v6.sin6_addr = in6addr_any;
        sa = &v6, len = sizeof(v6);
    } else if (strcmp(host, "localhost") == 0) {
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        if (inet_pton(AF_INET6, host + 1, &v6.sin6_addr) != 1)
            return RC_INVAL;
        sa = &v6, len = sizeof(v6);
    } else if (inet_pton(AF_INET, host, &v4.sin_addr) != 1) {
        return RC_INVAL;
    }
    memset(ret, 0, sizeof(*ret));
    memcpy(ret, sa, len);
    *ret_len = len;
    return 0;
}

void addr_format_ip(const struct sockaddr *sa, char out[ADDR_TEXT_MAX])
{
    const void *p = NULL;
    int family = sa->sa_family;
    if (family == AF_INET) {
        p = &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    } else if (family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
        p = a;
        if (IN6_IS_ADDR_V4MAPPED(a)) {
            family = AF_INET;
            p = &a->s6_addr[12];
        }
    }
    if (!p || !inet_ntop(family, p, out, ADDR_TEXT_MAX))
        snprintf(out, ADDR_TEXT_MAX, "?");
}

int addr_port(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
    if (sa->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
    return 0;
}

void addr_format(const struct sockaddr *sa, char out[ADDR_TEXT_MAX])
{
    char ip[ADDR_TEXT_MAX];
    addr_format_ip(sa, ip);
    int n = snprintf(out, ADDR_TEXT_MAX, strchr(ip, ':') ? "[%.46s]:%d" : "%.46s:%d", ip, addr_port(sa));
    ASSERT(n > 0 && n < ADDR_TEXT_MAX);
}
