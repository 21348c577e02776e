/* properties.c - the syntax of Java properties. Source: java.util.Properties.load. */
#include "properties.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static void skip_newline(struct properties *r)
{
    if (r->p < r->end && *r->p == '\r')
        r->p++;
    if (r->p < r->end && *r->p == '\n')
        r->p++;
    r->line++;
}

/* Reads one logical line: comments and blank lines skipped, continuations joined (their leading blanks dropped). Escapes are left in.
 * False at the end. */
static bool logical_line(struct properties *r)
{
    struct wr *out = &r->logical;

    wr_reset(out);
    r->raw = r->p;
    while (r->p < r->end) {
        while (r->p < r->end && is_blank(*r->p))
            r->p++;
        if (r->p < r->end && (*r->p == '#' || *r->p == '!'))
            while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
                r->p++;
        if (r->p < r->end && (*r->p == '\n' || *r->p == '\r')) {
            skip_newline(r);
            r->raw = r->p;
            continue;
        }
        break;
    }
    if (r->p >= r->end)
        return false;
    r->key_line = r->line;
    while (r->p < r->end && *r->p != '\n' && *r->p != '\r') {
        if (*r->p != '\\') {
            wr_u8(out, (uint8_t)*r->p++);
            continue;
        }
        r->p++;
        if (r->p < r->end && (*r->p == '\n' || *r->p == '\r')) { /* goes on in the next line */
            skip_newline(r);
            while (r->p < r->end && is_blank(*r->p))
                r->p++;
        } else if (r->p < r->end) {
            wr_u8(out, '\\');
            wr_u8(out, (uint8_t)*r->p++);
        }
    }
    skip_newline(r);
    return true;
}

static void put_utf8(struct wr *w, uint32_t c)
{
    if (c < 0x80) {
        wr_u8(w, (uint8_t)c);
    } else if (c < 0x800) {
        wr_u8(w, (uint8_t)(0xC0 | c >> 6));
        wr_u8(w, (uint8_t)(0x80 | (c & 0x3F)));
    } else {
        wr_u8(w, (uint8_t)(0xE0 | c >> 12));
        wr_u8(w, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
        wr_u8(w, (uint8_t)(0x80 | (c & 0x3F)));
    }
}

/* Resolves one escape at s[*i] (behind the backslash). RC_MALFORMED: a \u without four hexadecimal digits. */
static int unescape(const char *s, size_t n, size_t *i, struct wr *out)
{
    char c = s[(*i)++];
    uint32_t code = 0;

    switch (c) {
    case 't':
        wr_u8(out, '\t');
        return 0;
    case 'n':
        wr_u8(out, '\n');
        return 0;
    case 'r':
        wr_u8(out, '\r');
        return 0;
    case 'f':
        wr_u8(out, '\f');
        return 0;
    case 'u':
        for (int k = 0; k < 4; k++, (*i)++) {
            const char *digits = "0123456789abcdef";
            const char *d = *i < n && s[*i] ? strchr(digits, s[*i] | 0x20) : NULL;

            if (!d)
                return RC_MALFORMED;
            code = code << 4 | (uint32_t)(d - digits);
        }
        put_utf8(out, code);
        return 0;
    default:
        wr_u8(out, (uint8_t)c);
        return 0;
    }
}

/* Splits a logical line into key and value. The key ends at the first unescaped '=', ':' or blank. */
static int split_line(const char *s, size_t n, struct wr *key, struct wr *value)
{
    size_t i = 0;

    wr_reset(key);
    wr_reset(value);
    while (i < n && !is_blank(s[i]) && s[i] != '=' && s[i] != ':') {
        if (s[i] != '\\')
            wr_u8(key, (uint8_t)s[i++]);
        else if (++i < n && unescape(s, n, &i, key) < 0)
            return RC_MALFORMED;
    }
    while (i < n && is_blank(s[i]))
        i++;
    if (i < n && (s[i] == '=' || s[i] == ':'))
        i++;
    while (i < n && is_blank(s[i]))
        i++;
    while (i < n) {
        if (s[i] != '\\')
            wr_u8(value, (uint8_t)s[i++]);
        else if (++i < n && unescape(s, n, &i, value) < 0)
            return RC_MALFORMED;
    }
    while (value->n > 0 && (is_blank((char)value->p[value->n - 1]))) /* the reference trims values */
        value->n--;
    return 0;
}

struct properties properties_init(const char *text, size_t n)
{
    return (struct properties){ .p = text, .end = text + n, .line = 1, .raw = text,
                                .logical = wr_init(0), .key = wr_init(0), .value = wr_init(0) };
}

void properties_done(struct properties *r)
{
    wr_free(&r->logical);
    wr_free(&r->key);
    wr_free(&r->value);
}

int properties_next(struct properties *r)
{
    if (!logical_line(r))
        return 0;
    int rc = split_line((const char *)r->logical.p, r->logical.n, &r->key, &r->value);
    return rc < 0 ? rc : 1;
}
