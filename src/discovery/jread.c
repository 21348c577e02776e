/* jread.c - checked reading of JSON fields. */
#include "discovery/jread.h"

#include <stdarg.h>
#include <stdio.h>

void jread_fail(struct jread *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (r->problem)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* a message for people may be cut */
    va_end(ap);
    r->problem = x_strdup(text);
}

static json_t *jread_get(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

const char *jread_str(struct jread *r, const json_t *obj, const char *at, const char *key, const char *def)
{
    json_t *v = jread_get(obj, key);
    if (!v)
        return def;
    if (!json_is_string(v)) {
        jread_fail(r, "%s%s: must be a string", at, key);
        return def;
    }
    return json_string_value(v);
}

int64_t jread_int(struct jread *r, const json_t *obj, const char *at, const char *key, int64_t min,
                  int64_t max, int64_t def)
{
    json_t *v = jread_get(obj, key);
    if (!v)
        return def;
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max) {
        jread_fail(r, "%s%s: must be %lld..%lld", at, key, (long long)min, (long long)max);
        return def;
    }
    return json_integer_value(v);
}

bool jread_bool(struct jread *r, const json_t *obj, const char *at, const char *key, bool def)
{
    json_t *v = jread_get(obj, key);
    if (!v)
        return def;
    if (!json_is_boolean(v)) {
        jread_fail(r, "%s%s: must be true or false", at, key);
        return def;
    }
    return json_is_true(v);
}

json_t *jread_array(struct jread *r, const json_t *obj, const char *at, const char *key)
{
    json_t *v = jread_get(obj, key);
    if (v && !json_is_array(v)) {
        jread_fail(r, "%s%s: must be a list", at, key);
        return NULL;
    }
    return v;
}

json_t *jread_object(struct jread *r, const json_t *obj, const char *at, const char *key)
{
    json_t *v = jread_get(obj, key);
    if (v && !json_is_object(v)) {
        jread_fail(r, "%s%s: must be an object", at, key);
        return NULL;
    }
    return v;
}

const char *jread_str_at(struct jread *r, const json_t *array, size_t i, const char *at, const char *key)
{
    json_t *v = json_array_get(array, i);
    if (!json_is_string(v)) {
        jread_fail(r, "%s%s[%zu]: must be a string", at, key, i);
        return NULL;
    }
    return json_string_value(v);
}

json_t *jread_object_at(struct jread *r, const json_t *array, size_t i, const char *at, const char *key)
{
    json_t *v = json_array_get(array, i);
    if (!json_is_object(v)) {
        jread_fail(r, "%s%s[%zu]: must be an object", at, key, i);
        return NULL;
    }
    return v;
}

int jread_done(struct jread *r, char **ret)
{
    char *problem = r->problem;
    r->problem = NULL;
    if (!problem)
        return 0;
    if (ret)
        *ret = problem;
    else
        free(problem);
    return RC_MALFORMED;
}
