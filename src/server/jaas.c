/* jaas.c - the syntax of JAAS login configurations. */
#include "jaas.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/str.h"

#define FILE_MAX ((size_t)1 << 20)

enum token { T_END, T_WORD, T_STRING, T_SIGN, T_BAD };

struct reader {
    const char *path, *p, *end;
    int line;
    enum token token;
    char sign;
    int token_line;
    struct wr text; /* of a word or string */
    const char *bad;
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("_$.-*:/\\@+%", c)) || (unsigned char)c >= 0x80;
}

/* Blanks and comments. False: a comment does not end. */
static bool skip(struct reader *r)
{
    while (r->p < r->end) {
        size_t left = (size_t)(r->end - r->p);

        if (left >= 2 && memcmp(r->p, "//", 2) == 0) {
            while (r->p < r->end && *r->p != '\n')
                r->p++;
        } else if (left >= 2 && memcmp(r->p, "/*", 2) == 0) {
            for (r->p += 2; r->end - r->p >= 2 && memcmp(r->p, "*/", 2) != 0; r->p++)
                r->line += *r->p == '\n';
            if (r->end - r->p < 2)
                return false;
            r->p += 2;
        } else if (isspace((unsigned char)*r->p)) {
            r->line += *r->p++ == '\n';
        } else {
            break;
        }
    }
    return true;
}

static enum token bad(struct reader *r, const char *why)
{
    r->bad = why;
    return T_BAD;
}

static enum token read_string(struct reader *r)
{
    for (r->p++; r->p < r->end && *r->p != '"'; r->p++) {
        char c = *r->p;

        if (c == '\n' || c == '\0')
            break;
        if (c == '$' && r->end - r->p >= 2 && r->p[1] == '{')
            return bad(r, "${...} is not supported");
        if (c == '\\' && r->end - r->p >= 2) {
            c = *++r->p;
            if (isdigit((unsigned char)c))
                return bad(r, "\\ and a digit is not supported");
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        wr_u8(&r->text, (uint8_t)c);
    }
    if (r->p == r->end || *r->p != '"')
        return bad(r, "a quote is not closed on its line");
    r->p++;
    return T_STRING;
}

static void next(struct reader *r)
{
    wr_reset(&r->text);
    r->token = T_BAD;
    if (!skip(r)) {
        r->token_line = r->line;
        (void)bad(r, "a comment does not end");
        return;
    }
    r->token_line = r->line;
    if (r->p == r->end) {
        r->token = T_END;
    } else if (*r->p == '"') {
        r->token = read_string(r);
    } else if (is_word(*r->p)) {
        while (r->p < r->end && is_word(*r->p) && !(r->end - r->p >= 2 && (memcmp(r->p, "//", 2) == 0 || memcmp(r->p, "/*", 2) == 0)))
            wr_u8(&r->text, (uint8_t)*r->p++);
        r->token = T_WORD;
    } else {
        r->sign = *r->p++;
        r->token = strchr("{};=", r->sign) && r->sign ? T_SIGN : bad(r, "a character that belongs into quotes");
    }
}

static bool at_sign(const struct reader *r, char c)
{
    return r->token == T_SIGN && r->sign == c;
}

static int fail(const struct reader *r, const char *wanted, struct storage_error *err)
{
    (void)snprintf(err->text, sizeof(err->text), "%s:%d: %s%s", r->path, r->token_line, r->token == T_BAD ? "" : "expected ",
                   r->token == T_BAD ? r->bad : wanted); /* cut, if ever, at the end of a log line */
    return RC_MALFORMED;
}

static char *take(struct reader *r)
{
    char *s = buf_dup(buf_of(r->text.n ? r->text.p : (const uint8_t *)"", r->text.n));

    if (r->text.n > 0)
        explicit_bzero(r->text.p, r->text.n);
    next(r);
    return s;
}

/* name=value ... up to the semicolon. */
static int read_options(struct reader *r, struct jaas_section *s, struct storage_error *err)
{
    while (r->token == T_WORD) {
        struct jaas_option o = { .name = take(r) };

        VEC_PUSH(&s->options, o);
        if (!at_sign(r, '='))
            return fail(r, "= after an option's name", err);
        next(r);
        if (r->token != T_WORD && r->token != T_STRING)
            return fail(r, "an option's value", err);
        s->options.items[s->options.len - 1].value = take(r);
    }
    if (!at_sign(r, ';'))
        return fail(r, "an option, or ; at the end of a login module", err);
    next(r);
    return 0;
}

static int read_module(struct reader *r, struct jaas_section *s, struct storage_error *err)
{
    static const char *const flags[] = { "required", "requisite", "sufficient", "optional" };
    bool known = false;

    if (r->token != T_WORD)
        return fail(r, "a login module or }", err);
    s->module = take(r);
    for (size_t i = 0; i < ARRAY_LEN(flags) && r->token == T_WORD; i++)
        known = known || str_ieq(wr_cstr(&r->text), flags[i]);
    if (!known)
        return fail(r, "required, requisite, sufficient or optional", err);
    next(r);
    return read_options(r, s, err);
}

/* The modules of one section. Of several, the last stays, and *modules tells. */
static int read_section(struct reader *r, struct jaas_section *s, size_t *modules, struct storage_error *err)
{
    int rc = 0, line = s->line;

    if (!at_sign(r, '{'))
        return fail(r, "{ after a section's name", err);
    next(r);
    for (*modules = 0; rc == 0 && !at_sign(r, '}'); ++*modules) {
        jaas_done(s);
        s->line = line;
        rc = read_module(r, s, err);
    }
    if (rc != 0)
        return rc;
    if (*modules == 0)
        return fail(r, "a login module", err);
    next(r);
    if (!at_sign(r, ';'))
        return fail(r, "; after }", err);
    next(r);
    return 0;
}

static int parse(struct reader *r, const char *section, struct jaas_section *ret, struct storage_error *err)
{
    next(r);
    while (r->token != T_END) {
        struct jaas_section s = { .line = r->token_line };
        size_t modules = 0;
        int rc;

        if (r->token != T_WORD && r->token != T_STRING)
            return fail(r, "a section's name", err);
        char *name = take(r);
        bool wanted = strcmp(name, section) == 0 && ret->line == 0;
        free(name);
        rc = read_section(r, &s, &modules, err);
        if (rc == 0 && wanted && modules > 1) {
            (void)snprintf(err->text, sizeof(err->text), "%s:%d: section %s has several login modules: not supported", r->path, s.line, section);
            rc = RC_UNSUPPORTED;
        }
        if (rc == 0 && wanted)
            *ret = s;
        else
            jaas_done(&s);
        if (rc != 0)
            return rc;
    }
    if (ret->line > 0)
        return 0;
    (void)snprintf(err->text, sizeof(err->text), "%s:%d: there is no section %s", r->path, r->line, section); /* cut, if ever, at its end */
    return RC_NOTFOUND;
}

int jaas_parse(const char *path, const char *text, size_t n, const char *section, struct jaas_section *ret, struct storage_error *err)
{
    struct reader r = { .path = path, .p = text, .end = text + n, .line = 1, .text = wr_init(0) };
    struct jaas_section s = { 0 };
    int rc = parse(&r, section, &s, err);

    wr_free(&r.text);
    if (rc == 0)
        *ret = s;
    else
        jaas_done(&s);
    return rc;
}

int jaas_read(const char *path, const char *section, struct jaas_section *ret, struct storage_error *err)
{
    uint8_t *text = NULL;
    size_t n = 0;
    int rc = file_read(path, FILE_MAX, &text, &n);

    if (rc < 0) {
        (void)snprintf(err->text, sizeof(err->text), "%s: %s", path, errno ? strerror(errno) : rc_str(rc)); /* cut, if ever, at its end */
        return rc;
    }
    rc = jaas_parse(path, (const char *)text, n, section, ret, err);
    explicit_bzero(text, n);
    free(text);
    return rc;
}

const char *jaas_option(const struct jaas_section *s, const char *name)
{
    for (size_t i = 0; i < s->options.len; i++)
        if (strcmp(s->options.items[i].name, name) == 0)
            return s->options.items[i].value;
    return NULL;
}

void jaas_done(struct jaas_section *s)
{
    for (size_t i = 0; i < s->options.len; i++) {
        struct jaas_option *o = &s->options.items[i];

        if (o->value)
            explicit_bzero(o->value, strlen(o->value));
        free(o->value);
        free(o->name);
    }
    VEC_FREE(&s->options);
    free(s->module);
    *s = (struct jaas_section){ 0 };
}
