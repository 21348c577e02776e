/* proto.c - names of codes, and path validation. */
#include "jute/proto.h"

#include <stddef.h>

const char *zk_op_name(int32_t op)
{
    switch (op) {
#define X(name, code, shortname)                                                                             \
    case code:                                                                                               \
        return #name;
        ZK_OPS(X)
#undef X
    }
    return "?";
}

const char *zk_op_short_name(int32_t op)
{
    switch (op) {
#define X(name, code, shortname)                                                                             \
    case code:                                                                                               \
        return shortname;
        ZK_OPS(X)
#undef X
    }
    return "NA";
}

const char *zk_error_name(int32_t err)
{
    switch (err) {
#define X(name, code, text)                                                                                  \
    case code:                                                                                               \
        return #name;
        ZK_ERRORS(X)
#undef X
    }
    return "UNKNOWN";
}

const char *zk_error_text(int32_t err)
{
    switch (err) {
#define X(name, code, text)                                                                                  \
    case code:                                                                                               \
        return text;
        ZK_ERRORS(X)
#undef X
    }
    return "unknown error";
}

/* Decodes one UTF-8 sequence at p (n bytes left, n > 0). Returns its length, or 0 when it is ill-formed: Java turns
 * that into U+FFFD, which paths forbid, so the caller needs no more detail. */
static int utf8_next(const unsigned char *p, int32_t n, uint32_t *ret)
{
    if (p[0] < 0x80) {
        *ret = p[0];
        return 1;
    }
    int len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (len == 0 || p[0] > 0xf4 || n < len)
        return 0;
    uint32_t c = p[0] & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)))
        return 0;
    *ret = c;
    return len;
}

const char *zk_path_problem(const char *path, int32_t len)
{
    if (!path)
        return "path is null";
    if (len <= 0)
        return "path is empty";
    if (path[0] != '/')
        return "path must start with /";
    if (len == 1)
        return NULL;
    if (path[len - 1] == '/')
        return "path must not end with /";
    const unsigned char *p = (const unsigned char *)path;
    int32_t start = 1; /* of the current component */
    for (int32_t i = 1; i < len;) {
        uint32_t c;
        int n = utf8_next(p + i, len - i, &c);
        if (n == 0)
            return "path is not valid UTF-8";
        if (c == 0)
            return "path contains a null character";
        if (c <= 0x1f || (c >= 0x7f && c <= 0x9f) || (c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0)
            return "path contains a character that is not allowed";
        if (c == '/') {
            if (i == start)
                return "path has an empty component";
            start = i + 1;
        }
        i += n;
        if (i == len || p[i] == '/') {
            int32_t w = i - start;
            if ((w == 1 && p[start] == '.') || (w == 2 && p[start] == '.' && p[start + 1] == '.'))
                return "path has a relative component";
        }
    }
    return NULL;
}
