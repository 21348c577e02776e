/* yaml_doc.c - see yaml_doc.h. libyaml's events are turned into jansson values as they come. */
#include "yaml_doc.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <yaml.h>

#include "base/map.h"
#include "base/str.h"

struct anchor {
    json_t *json;
    size_t nodes, bytes;
    uint32_t depth; /* of nesting below it */
};

struct builder {
    yaml_parser_t parser;
    uint32_t first_line; /* line of the text's first byte */
    struct strmap anchors;
    size_t nodes, bytes;
    char *error;
    uint32_t error_line;
};

static uint32_t line_of(const struct builder *b, yaml_mark_t mark)
{
    return b->first_line + (uint32_t)mark.line;
}

static json_t *fail(struct builder *b, yaml_mark_t mark, char *owned_text)
{
    if (b->error) {
        free(owned_text);
        return NULL;
    }
    b->error = owned_text;
    b->error_line = line_of(b, mark);
    return NULL;
}

static bool next_event(struct builder *b, yaml_event_t *ev)
{
    if (yaml_parser_parse(&b->parser, ev))
        return true;
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem ? p->problem : "not readable as YAML";
    if (p->error == YAML_READER_ERROR)
        fail(b, p->mark, x_asprintf("%s", problem));
    else if (p->context)
        fail(b, p->problem_mark, x_asprintf("%s %s", problem, p->context));
    else
        fail(b, p->problem_mark, x_asprintf("%s", problem));
    memset(ev, 0, sizeof *ev);
    return false;
}

/* ---- scalars ---- */

static bool one_of(const char *s, size_t n, const char *const words[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i]) == n && memcmp(words[i], s, n) == 0)
            return true;
    return false;
}

static size_t span_digits(const char *s)
{
    size_t n = 0;
    while (s[n] >= '0' && s[n] <= '9')
        n++;
    return n;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool looks_like_number(const char *s, bool *is_int)
{
    s += *s == '-' || *s == '+';
    size_t whole = span_digits(s), part = 0;
    s += whole;
    *is_int = *s == '\0' && whole > 0;
    if (*s == '.') {
        part = span_digits(s + 1);
        s += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        size_t exponent = span_digits(s);
        if (exponent == 0)
            return false;
        s += exponent;
    }
    return *s == '\0';
}

static json_t *number(const char *s)
{
    bool is_int = false;
    char *end = NULL;

    if (s[0] == '0' && (s[1] == 'o' || s[1] == 'x') && s[2] != '\0' && s[2] != '-' && s[2] != '+') {
        errno = 0;
        long long v = strtoll(s + 2, &end, s[1] == 'x' ? 16 : 8);
        return *end == '\0' && errno == 0 ? json_integer(v) : NULL;
    }
    if (!looks_like_number(s, &is_int))
        return NULL;
    if (is_int) {
        errno = 0;
        long long v = strtoll(s, NULL, 10);
        if (errno == 0)
            return json_integer(v);
    }
    double d = strtod(s, NULL); /* the locale is "C": nothing here calls setlocale */
    return isfinite(d) ? json_real(d) : NULL;
}

/* A plain scalar by the core schema's table. What JSON cannot say (.inf, .nan) stays text. */
static json_t *plain_scalar(const char *s, size_t n)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    static const char *const trues[] = { "true", "True", "TRUE" };
    static const char *const falses[] = { "false", "False", "FALSE" };
    json_t *num;

    if (one_of(s, n, nulls, ARRAY_LEN(nulls)))
        return json_null();
    if (one_of(s, n, trues, ARRAY_LEN(trues)))
        return json_true();
    if (one_of(s, n, falses, ARRAY_LEN(falses)))
        return json_false();
    if (strlen(s) == n && (num = number(s)) != NULL)
        return num;
    return json_stringn(s, n);
}

static bool tag_is_string(const yaml_event_t *ev)
{
    const char *tag = (const char *)ev->data.scalar.tag;
    return tag && (strcmp(tag, "!") == 0 || strcmp(tag, YAML_STR_TAG) == 0);
}

static json_t *scalar(struct builder *b, const yaml_event_t *ev)
{
    const char *s = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;

    b->bytes += n;
    if (memchr(s, '\0', n))
        return fail(b, ev->start_mark, x_asprintf("a NUL character in a string"));
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !tag_is_string(ev);
    json_t *v = plain ? plain_scalar(s, n) : json_stringn(s, n);
    return v ? v : fail(b, ev->start_mark, x_asprintf("not valid UTF-8"));
}

/* ---- collections, anchors ---- */

static json_t *value(struct builder *b, yaml_event_t *ev, uint32_t depth, uint32_t *ret_depth);

static void anchor_free(void *p)
{
    struct anchor *a = p;
    json_decref(a->json);
    free(a);
}

static void remember(struct builder *b, const char *name, json_t *v, size_t nodes, size_t bytes, uint32_t depth)
{
    struct anchor *a = x_malloc(sizeof *a);
    *a = (struct anchor){ json_incref(v), nodes, bytes, depth };
    struct anchor *old = strmap_set_s(&b->anchors, name, a); /* a later anchor of the same name wins */
    if (old)
        anchor_free(old);
}

/* Copies are deep, because objects are normalised in place later; hence what they cost is counted before. */
static json_t *alias(struct builder *b, const yaml_event_t *ev, uint32_t depth, uint32_t *ret_depth)
{
    const char *name = (const char *)ev->data.alias.anchor;
    const struct anchor *a = strmap_get_s(&b->anchors, name);

    if (!a)
        return fail(b, ev->start_mark, x_asprintf("unknown or recursive alias *%.40s", name));
    b->nodes += a->nodes;
    b->bytes += a->bytes;
    if (b->nodes > YAML_NODES_MAX || b->bytes > YAML_BYTES_MAX || depth + a->depth > YAML_DEPTH_MAX)
        return fail(b, ev->start_mark, x_asprintf("aliases expand to too much"));
    *ret_depth = a->depth;
    return json_deep_copy(a->json);
}

static bool merge_into(struct builder *b, json_t *map, const json_t *from, yaml_mark_t mark)
{
    size_t i;
    json_t *item;

    if (json_is_object(from))
        return json_object_update_missing(map, (json_t *)from) == 0;
    if (!json_is_array(from)) {
        fail(b, mark, x_asprintf("<<: must be a mapping or a list of mappings"));
        return false;
    }
    json_array_foreach(from, i, item)
    {
        if (!json_is_object(item)) {
            fail(b, mark, x_asprintf("<<: must be a mapping or a list of mappings"));
            return false;
        }
        json_object_update_missing(map, item);
    }
    return true;
}

/* Reads a key. The result is owned by the caller. */
static char *mapping_key(struct builder *b, const yaml_event_t *ev)
{
    if (ev->type != YAML_SCALAR_EVENT) {
        fail(b, ev->start_mark, x_asprintf("a mapping key must be a plain value"));
        return NULL;
    }
    const char *s = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;
    b->bytes += n;
    json_t *check = memchr(s, '\0', n) ? NULL : json_stringn(s, n);
    if (!check) {
        fail(b, ev->start_mark, x_asprintf("a mapping key is not valid text"));
        return NULL;
    }
    json_decref(check);
    return x_strndup(s, n);
}

static bool mapping_entry(struct builder *b, json_t *map, json_t **merge, const yaml_event_t *key_ev, uint32_t depth,
                          uint32_t *below)
{
    yaml_event_t ev;
    uint32_t d = 0;
    bool ok = false;
    char *key = mapping_key(b, key_ev);

    if (!key || !next_event(b, &ev)) {
        free(key);
        return false;
    }
    json_t *v = value(b, &ev, depth + 1, &d);
    *below = MAX(*below, d + 1);
    if (!v)
        goto out;
    if (strcmp(key, "<<") == 0 && key_ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !*merge) {
        *merge = json_incref(v); /* applied last: the mapping's own keys win */
        ok = true;
    } else if (json_object_get(map, key)) {
        fail(b, key_ev->start_mark, x_asprintf("key \"%.80s\" appears twice", key));
    } else {
        ok = json_object_set(map, key, v) == 0;
    }
out:
    json_decref(v);
    free(key);
    yaml_event_delete(&ev);
    return ok;
}

static json_t *mapping(struct builder *b, uint32_t depth, uint32_t *ret_depth)
{
    json_t *map = json_object(), *merge = NULL;
    yaml_event_t ev;
    uint32_t below = 0;

    while (next_event(b, &ev)) {
        bool end = ev.type == YAML_MAPPING_END_EVENT;
        yaml_mark_t mark = ev.start_mark;
        bool ok = end || mapping_entry(b, map, &merge, &ev, depth, &below);
        yaml_event_delete(&ev);
        if (end && merge)
            ok = merge_into(b, map, merge, mark);
        if (end && ok) {
            json_decref(merge);
            *ret_depth = below;
            return map;
        }
        if (!ok)
            break;
    }
    json_decref(merge);
    json_decref(map);
    return NULL;
}

static json_t *sequence(struct builder *b, uint32_t depth, uint32_t *ret_depth)
{
    json_t *list = json_array();
    yaml_event_t ev;
    uint32_t below = 0, d = 0;

    while (next_event(b, &ev)) {
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            *ret_depth = below;
            return list;
        }
        json_t *v = value(b, &ev, depth + 1, &d);
        yaml_event_delete(&ev);
        if (!v)
            break;
        json_array_append_new(list, v);
        below = MAX(below, d + 1);
    }
    json_decref(list);
    return NULL;
}

/* The value that starts with ev, which stays the caller's to delete. */
static json_t *value(struct builder *b, yaml_event_t *ev, uint32_t depth, uint32_t *ret_depth)
{
    size_t nodes = b->nodes, bytes = b->bytes;
    const char *anchor = NULL;
    json_t *v = NULL;

    *ret_depth = 0;
    if (++b->nodes > YAML_NODES_MAX || b->bytes > YAML_BYTES_MAX)
        return fail(b, ev->start_mark, x_asprintf("the document is too large"));
    if (depth > YAML_DEPTH_MAX)
        return fail(b, ev->start_mark, x_asprintf("nested deeper than %d", YAML_DEPTH_MAX));
    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return alias(b, ev, depth, ret_depth);
    case YAML_SCALAR_EVENT:
        anchor = (const char *)ev->data.scalar.anchor;
        v = scalar(b, ev);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = (const char *)ev->data.sequence_start.anchor;
        v = sequence(b, depth, ret_depth);
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = (const char *)ev->data.mapping_start.anchor;
        v = mapping(b, depth, ret_depth);
        break;
    default:
        return fail(b, ev->start_mark, x_asprintf("not a document"));
    }
    if (v && anchor)
        remember(b, anchor, v, b->nodes - nodes, b->bytes - bytes, *ret_depth);
    return v;
}

/* ---- documents ---- */

static void builder_open(struct builder *b, const char *text, size_t n, uint32_t first_line)
{
    *b = (struct builder){ .first_line = first_line };
    ASSERT(yaml_parser_initialize(&b->parser));
    yaml_parser_set_input_string(&b->parser, (const unsigned char *)text, n);
    yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
}

static void builder_close(struct builder *b)
{
    yaml_parser_delete(&b->parser);
    strmap_free(&b->anchors, anchor_free);
    free(b->error);
}

/* One slice of a file; usually exactly one document. */
static void load_yaml_slice(const char *text, size_t n, uint32_t line, struct yaml_docs *ret)
{
    struct builder b;
    yaml_event_t ev;
    uint32_t index = 0, depth;
    bool end = false;

    builder_open(&b, text, n, line);
    while (!end && !b.error && next_event(&b, &ev)) {
        end = ev.type == YAML_STREAM_END_EVENT;
        bool node = ev.type == YAML_SCALAR_EVENT || ev.type == YAML_ALIAS_EVENT ||
                    ev.type == YAML_SEQUENCE_START_EVENT || ev.type == YAML_MAPPING_START_EVENT;
        uint32_t at = line_of(&b, ev.start_mark);
        json_t *v = node ? value(&b, &ev, 1, &depth) : NULL;
        yaml_event_delete(&ev);
        if (!node)
            continue;
        if (v && !json_is_null(v)) {
            struct yaml_doc doc = { v, NULL, at, text, n, line, index };
            VEC_PUSH(ret, doc);
        } else {
            json_decref(v);
        }
        index++;
        strmap_free(&b.anchors, anchor_free); /* anchors end with their document */
        b.anchors = (struct strmap){ 0 };
        b.nodes = b.bytes = 0;
    }
    if (b.error) {
        struct yaml_doc doc = { NULL, b.error, b.error_line, text, n, line, index };
        VEC_PUSH(ret, doc);
        b.error = NULL;
    }
    builder_close(&b);
}

static uint32_t count_lines(const char *p, size_t n)
{
    uint32_t lines = 0;
    for (const char *nl; (nl = memchr(p, '\n', n)) != NULL; lines++) {
        n -= (size_t)(nl + 1 - p);
        p = nl + 1;
    }
    return lines;
}

static size_t blanks(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '\n' || p[i] == '\r'))
        i++;
    return i;
}

static void docs_truncate(struct yaml_docs *docs, size_t len)
{
    while (docs->len > len) {
        struct yaml_doc *d = &docs->items[--docs->len];
        json_decref(d->json);
        free(d->error);
    }
}

/* Tries the slice as JSON values one behind the other. On failure nothing is added and *err says why. */
static bool load_json_slice(const char *text, size_t n, uint32_t line, struct yaml_docs *ret, struct yaml_doc *err)
{
    size_t before = ret->len, at = blanks(text, n);

    while (at < n) {
        json_error_t e;
        uint32_t here = line + count_lines(text, at);
        json_t *v = json_loadb(text + at, n - at, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &e);
        if (!v) {
            docs_truncate(ret, before);
            *err = (struct yaml_doc){ .line = here + (uint32_t)MAX(e.line, 1) - 1, .error = x_strdup(e.text) };
            return false;
        }
        size_t used = (size_t)e.position; /* jansson: bytes read, when the EOF check is off */
        struct yaml_doc doc = { v, NULL, here, text + at, used, here, 0 };
        VEC_PUSH(ret, doc);
        at += used;
        at += blanks(text + at, n - at);
    }
    return true;
}

static void load_slice(const char *text, size_t n, uint32_t line, bool json, struct yaml_docs *ret)
{
    struct yaml_doc err = { 0 };
    size_t skip = blanks(text, n);

    if (skip == n)
        return;
    /* JSON is nearly YAML: libyaml refuses surrogate pairs and tabs. So what looks like JSON is tried as such. */
    if (json || text[skip] == '{') {
        if (load_json_slice(text, n, line, ret, &err))
            return;
        if (json) {
            VEC_PUSH(ret, err);
            return;
        }
        free(err.error);
    }
    load_yaml_slice(text, n, line, ret);
}

/* "---" at column 0 ends a document wherever it stands, also inside quotes and block scalars (YAML 1.2.2, 9.1.2:
 * c-forbidden), so cutting there needs no parser. */
static bool is_separator(const char *p, size_t n)
{
    return n >= 3 && memcmp(p, "---", 3) == 0 && (n == 3 || strchr(" \t\r\n", p[3]) != NULL);
}

void yaml_load(const char *text, size_t n, bool json, struct yaml_docs *ret)
{
    size_t start = 0, at = 0;
    uint32_t line = 1, start_line = 1;
    bool only_directives = true; /* a "---" behind directives belongs to them */

    *ret = (struct yaml_docs){ 0 };
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3, n -= 3;
    while (at < n) {
        const char *nl = memchr(text + at, '\n', n - at);
        size_t len = nl ? (size_t)(nl - (text + at)) + 1 : n - at;
        if (!json && is_separator(text + at, n - at) && !only_directives) {
            load_slice(text + start, at - start, start_line, json, ret);
            start = at;
            start_line = line;
        } else if (only_directives) {
            only_directives = text[at] == '%' || text[at] == '#' || blanks(text + at, len) == len;
        }
        at += len;
        line++;
    }
    load_slice(text + start, n - start, start_line, json, ret);
}

void yaml_docs_free(struct yaml_docs *docs)
{
    docs_truncate(docs, 0);
    VEC_FREE(docs);
}

/* ---- finding a line again ---- */

/* Takes the next segment off a path: a name up to '.' or '[', or what stands in brackets. */
static struct buf path_next(const char **path)
{
    const char *p = *path;
    p += *p == '.';
    const char *begin = p;
    if (*p == '[') {
        begin = ++p;
        p += strcspn(p, "]");
        struct buf seg = buf_of(begin, (size_t)(p - begin));
        *path = p + (*p == ']');
        return seg;
    }
    p += strcspn(p, ".[");
    *path = p;
    return buf_of(begin, (size_t)(p - begin));
}

static bool locate_in(struct builder *b, yaml_event_t *ev, const char *path, bool wanted, uint32_t *line,
                      uint32_t depth);

/* The entries of a mapping or a list; only the one that the path names next is looked into. */
static bool locate_children(struct builder *b, bool is_map, const char *path, bool wanted, uint32_t *line,
                            uint32_t depth)
{
    const char *rest = path;
    struct buf seg = wanted ? path_next(&rest) : buf_of("", 0);
    char index[24];
    yaml_event_t ev;

    for (uint32_t i = 0; next_event(b, &ev); i++) {
        bool hit = false;
        if (ev.type == YAML_MAPPING_END_EVENT || ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            return true;
        }
        if (is_map) {
            hit = wanted && ev.type == YAML_SCALAR_EVENT && buf_is(seg, (const char *)ev.data.scalar.value);
            if (hit)
                *line = line_of(b, ev.start_mark);
            bool ok = locate_in(b, &ev, "", false, line, depth + 1); /* a key may be a collection */
            yaml_event_delete(&ev);
            if (!ok || !next_event(b, &ev))
                return false;
        } else {
            snprintf(index, sizeof index, "%u", i);
            hit = wanted && buf_is(seg, index);
            if (hit)
                *line = line_of(b, ev.start_mark);
        }
        bool ok = locate_in(b, &ev, rest, hit, line, depth + 1);
        yaml_event_delete(&ev);
        if (!ok)
            return false;
    }
    return false;
}

/* Passes over the value that starts with ev; where it lies on the path, *line follows it. False: stop. */
static bool locate_in(struct builder *b, yaml_event_t *ev, const char *path, bool wanted, uint32_t *line,
                      uint32_t depth)
{
    if (depth > YAML_DEPTH_MAX)
        return false;
    bool is_map = ev->type == YAML_MAPPING_START_EVENT;
    if (!is_map && ev->type != YAML_SEQUENCE_START_EVENT)
        return true;
    return locate_children(b, is_map, path, wanted && *path, line, depth);
}

uint32_t yaml_locate(const struct yaml_doc *doc, const char *path)
{
    struct builder b;
    yaml_event_t ev;
    uint32_t line = doc->line, index = 0;
    bool more = true;

    if (!doc->text)
        return line;
    builder_open(&b, doc->text, doc->text_len, doc->text_line);
    while (more && next_event(&b, &ev)) {
        bool node = ev.type == YAML_SCALAR_EVENT || ev.type == YAML_ALIAS_EVENT ||
                    ev.type == YAML_SEQUENCE_START_EVENT || ev.type == YAML_MAPPING_START_EVENT;
        more = ev.type != YAML_STREAM_END_EVENT && index <= doc->index;
        if (node && more)
            more = locate_in(&b, &ev, path, index++ == doc->index, &line, 1);
        yaml_event_delete(&ev);
    }
    builder_close(&b);
    return line;
}
