/* stream.c - see stream.h. */
#include "stream.h"

void json_split_init(struct json_split *s, size_t max)
{
    *s = (struct json_split){ .part = wr_init(max) };
}

void json_split_free(struct json_split *s)
{
    wr_free(&s->part);
}

void json_split_reset(struct json_split *s)
{
    wr_reset(&s->part);
    s->depth = 0;
    s->in_string = s->escaped = false;
    s->rc = 0;
}

bool json_split_idle(const struct json_split *s)
{
    return s->depth == 0 && s->rc == 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* One byte inside an object. True when it ends the object. Whether brackets pair up is the JSON parser's matter. */
static bool step(struct json_split *s, uint8_t c)
{
    if (s->in_string) {
        if (s->escaped)
            s->escaped = false;
        else if (c == '\\')
            s->escaped = true;
        else if (c == '"')
            s->in_string = false;
        return false;
    }
    switch (c) {
    case '"':
        s->in_string = true;
        return false;
    case '{':
    case '[':
        if (++s->depth > JSON_SPLIT_DEPTH_MAX)
            s->rc = RC_MALFORMED;
        return false;
    case '}':
    case ']':
        return --s->depth == 0;
    default:
        return false;
    }
}

static int deliver(struct json_split *s, const uint8_t *p, size_t n,
                   int (*on_object)(void *data, const char *text, size_t len), void *data)
{
    if (s->part.max && n > s->part.max)
        return s->rc = RC_TOOBIG;
    if (s->part.n == 0) /* the usual case: no copy */
        return on_object(data, (const char *)p, n);
    wr_bytes(&s->part, p, n);
    if (s->part.rc)
        return s->rc = s->part.rc;
    /* The callback may reset the splitter; it must not see a length that is about to vanish. */
    int rc = on_object(data, (const char *)s->part.p, s->part.n);
    wr_reset(&s->part);
    return rc;
}

int json_split_feed(struct json_split *s, const uint8_t *p, size_t n,
                    int (*on_object)(void *data, const char *text, size_t len), void *data)
{
    size_t start = 0; /* of the object in this chunk */

    for (size_t i = 0; i < n && s->rc == 0; i++) {
        if (s->depth == 0) {
            start = i;
            if (is_blank(p[i]))
                continue;
            if (p[i] != '{')
                return s->rc = RC_MALFORMED;
        }
        if (!step(s, p[i]))
            continue;
        int rc = deliver(s, p + start, i + 1 - start, on_object, data);
        if (rc)
            return rc;
    }
    if (s->rc == 0 && s->depth > 0) {
        wr_bytes(&s->part, p + start, n - start);
        s->rc = s->part.rc;
    }
    return s->rc;
}
