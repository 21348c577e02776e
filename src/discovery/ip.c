/* ip.c - addresses of the model: text, order, and the DNS label made from one. */
#include "discovery/model.h"

#include <arpa/inet.h>

int ip_parse(const char *text, struct ip *ret)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct ip ip = {0};

    /* inet_pton is strict: four decimal parts without leading zeros, no zone, no prefix length. */
    if (inet_pton(AF_INET, text, ip.b) == 1) {
        ip.family = 4;
    } else if (inet_pton(AF_INET6, text, ip.b) == 1) {
        ip.family = 6;
        if (memcmp(ip.b, mapped, sizeof(mapped)) == 0) {
            ip.family = 4;
            memmove(ip.b, ip.b + 12, 4);
            memset(ip.b + 4, 0, 12);
        }
    } else {
        return RC_MALFORMED;
    }
    *ret = ip;
    return 0;
}

void ip_format(const struct ip *ip, char out[IP_TEXT_MAX])
{
    out[0] = '\0';
    if (ip->family == 4)
        (void)inet_ntop(AF_INET, ip->b, out, IP_TEXT_MAX); /* fits: IP_TEXT_MAX is INET6_ADDRSTRLEN */
    else if (ip->family == 6)
        (void)inet_ntop(AF_INET6, ip->b, out, IP_TEXT_MAX);
}

int ip_cmp(const struct ip *a, const struct ip *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->b, b->b, sizeof(a->b));
}

void ip_label(const struct ip *ip, char out[IP_TEXT_MAX])
{
    ip_format(ip, out);
    size_t n = strlen(out);
    for (size_t i = 0; i < n; i++) {
        if (out[i] == '.' || out[i] == ':')
            out[i] = '-';
    }
    /* A label must not begin or end with a dash: "fd00:1::" is fd00-1--0, "::1" is 0--1. */
    if (n > 0 && out[n - 1] == '-' && n + 1 < IP_TEXT_MAX)
        out[n++] = '0', out[n] = '\0';
    if (out[0] == '-' && n + 1 < IP_TEXT_MAX)
        memmove(out + 1, out, n + 1), out[0] = '0';
}
