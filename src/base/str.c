/* str.c - parsing of text that came from people, and small files. */
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
    if (!s || !((*s >= '0' && *s <= '9') || *s == '-'))
        return RC_MALFORMED;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (*end || end == s)
        return RC_MALFORMED;
    if (errno == ERANGE || v < min || v > max)
        return RC_INVAL;
    *ret = v;
    return 0;
}

bool str_ieq(const char *a, const char *b)
{
    return a && b ? strcasecmp(a, b) == 0 : a == b;
}

bool str_has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

char **str_split(const char *s, const char *seps, size_t *ret_count)
{
    struct VEC(char *) parts = { 0 };
    for (;;) {
        size_t n = strcspn(s, seps);
        const char *a = s, *b = s + n;
        while (a < b && (*a == ' ' || *a == '\t'))
            a++;
        while (b > a && (b[-1] == ' ' || b[-1] == '\t'))
            b--;
        if (b > a)
            VEC_PUSH(&parts, x_strndup(a, (size_t)(b - a)));
        if (s[n] == 0)
            break;
        s += n + 1;
    }
    if (ret_count)
        *ret_count = parts.len;
    VEC_PUSH(&parts, NULL);
    return parts.items;
}

void str_split_free(char **parts)
{
    for (char **p = parts; p && *p; p++)
        free(*p);
    free(parts);
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *src, size_t n)
{
    const uint8_t *p = src;
    char *out = x_malloc((n + 2) / 3 * 4 + 1), *o = out;
    for (; n >= 3; n -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *o++ = base64_alphabet[v >> 18], *o++ = base64_alphabet[v >> 12 & 63];
        *o++ = base64_alphabet[v >> 6 & 63], *o++ = base64_alphabet[v & 63];
    }
    if (n) {
        uint32_t v = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
        *o++ = base64_alphabet[v >> 18], *o++ = base64_alphabet[v >> 12 & 63];
        *o++ = n == 2 ? base64_alphabet[v >> 6 & 63] : '=';
        *o++ = '=';
    }
    *o = 0;
    return out;
}

static int base64_value(char c)
{
    const char *at = c ? strchr(base64_alphabet, c) : NULL;
    return at ? (int)(at - base64_alphabet) : -1;
}

int64_t base64_decode(const char *text, size_t n, uint8_t **ret)
{
    uint8_t *out = x_malloc(n / 4 * 3 + 3);
    size_t len = 0, digits = 0, pads = 0;
    uint32_t acc = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
            continue;
        if (c == '=') {
            pads++;
            continue;
        }
        int v = base64_value(c);
        if (v < 0 || pads)
            goto bad;
        acc = acc << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            out[len++] = (uint8_t)(acc >> 16), out[len++] = (uint8_t)(acc >> 8), out[len++] = (uint8_t)acc;
        }
    }
    if (digits % 4 == 1 || pads != (4 - digits % 4) % 4)
        goto bad;
    if (digits % 4 >= 2) {
        acc <<= 6 * (4 - digits % 4);
        out[len++] = (uint8_t)(acc >> 16);
        if (digits % 4 == 3)
            out[len++] = (uint8_t)(acc >> 8);
    }
    *ret = out;
    return (int64_t)len;
bad:
    free(out);
    return RC_MALFORMED;
}

int file_read(const char *path, size_t max, uint8_t **ret, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? RC_NOTFOUND : errno == EACCES ? RC_DENIED : RC_IO;
    int rc = 0;
    size_t n = 0, cap = 4096;
    uint8_t *p = x_malloc(cap + 1);
    for (;;) {
        ssize_t got = read(fd, p + n, cap - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = RC_IO;
            break;
        }
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > max) {
            rc = RC_TOOBIG;
            break;
        }
        if (n == cap) {
            cap *= 2;
            p = x_realloc(p, cap + 1);
        }
    }
    int saved = errno;
    close(fd);
    errno = saved;
    if (rc < 0) {
        free(p);
        return rc;
    }
    p[n] = 0;
    *ret = p;
    *ret_len = n;
    return 0;
}
