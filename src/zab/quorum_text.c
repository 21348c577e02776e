/* quorum_text.c - configurations from keys and texts, and back into text. */
#include "quorum_internal.h"

#include <inttypes.h>

#include "base/str.h"

#define TEXT_ENTRIES_MAX QUORUM_MEMBERS_MAX /* group and weight entries each */

struct group_entry {
    int64_t sid, group;
};
struct weight_entry {
    int64_t sid, weight;
};
struct quorum_builder {
    struct quorum_options opt;
    struct VEC(struct quorum_member) members; /* ascending by sid */
    struct VEC(struct group_entry) in_group;
    struct VEC(struct weight_entry) weights;
    int64_t version;
};

struct quorum_builder *quorum_builder_new(const struct quorum_options *opt)
{
    struct quorum_builder *b = x_calloc(1, sizeof(*b));

    b->opt = *opt;
    return b;
}

void quorum_builder_free(struct quorum_builder *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->members.len; i++)
        quorum_member_done(&b->members.items[i]);
    VEC_FREE(&b->members);
    VEC_FREE(&b->in_group);
    VEC_FREE(&b->weights);
    free(b);
}

/* ---- keys ---- */

static size_t builder_find(const struct quorum_builder *b, int64_t sid)
{
    size_t i = 0;

    while (i < b->members.len && b->members.items[i].sid < sid)
        i++;
    return i;
}

int quorum_builder_put(struct quorum_builder *b, struct quorum_member *m, struct quorum_error *err)
{
    size_t i = builder_find(b, m->sid);

    if (i < b->members.len && b->members.items[i].sid == m->sid) {
        quorum_member_done(&b->members.items[i]);
    } else {
        if (b->members.len == QUORUM_MEMBERS_MAX) {
            quorum_member_done(m);
            return quorum_fail(err, RC_TOOBIG, "more than %d servers", QUORUM_MEMBERS_MAX);
        }
        VEC_RESERVE(&b->members, b->members.len + 1);
        memmove(b->members.items + i + 1, b->members.items + i, (b->members.len - i) * sizeof(*m));
        b->members.len++;
    }
    b->members.items[i] = *m;
    *m = (struct quorum_member){ 0 };
    return 0;
}

void quorum_builder_drop(struct quorum_builder *b, int64_t sid)
{
    size_t i = builder_find(b, sid);

    if (i == b->members.len || b->members.items[i].sid != sid)
        return;
    quorum_member_done(&b->members.items[i]);
    memmove(b->members.items + i, b->members.items + i + 1, (b->members.len - i - 1) * sizeof(*b->members.items));
    b->members.len--;
}

const struct quorum_member *quorum_builder_find_clash(const struct quorum_builder *b, const struct quorum_member *m,
                                                      bool (*clash)(const struct quorum_member *a, const struct quorum_member *b))
{
    for (size_t i = 0; i < b->members.len; i++)
        if (b->members.items[i].sid != m->sid && clash(m, &b->members.items[i]))
            return &b->members.items[i];
    return NULL;
}

void quorum_builder_version(struct quorum_builder *b, int64_t version)
{
    b->version = version;
}

static int set_server(struct quorum_builder *b, const char *arg, const char *value, struct quorum_error *err)
{
    struct quorum_member m;
    int64_t sid;
    int rc = quorum_sid_parse(arg, &sid, err);

    if (rc == 0)
        rc = quorum_member_parse(sid, value, b->opt.multi_address, &m, err);
    return rc == 0 ? quorum_builder_put(b, &m, err) : rc;
}

static void group_forget(struct quorum_builder *b, int64_t group)
{
    size_t n = 0;

    for (size_t i = 0; i < b->in_group.len; i++)
        if (b->in_group.items[i].group != group)
            b->in_group.items[n++] = b->in_group.items[i];
    b->in_group.len = n;
}

static int group_add(struct quorum_builder *b, int64_t group, const char *sid_text, struct quorum_error *err)
{
    struct group_entry e = { .group = group };
    int rc = quorum_sid_parse(sid_text, &e.sid, err);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < b->in_group.len; i++)
        if (b->in_group.items[i].sid == e.sid)
            return quorum_fail(err, RC_INVAL, "server %" PRId64 " is in more than one group", e.sid);
    if (b->in_group.len == TEXT_ENTRIES_MAX)
        return quorum_fail(err, RC_TOOBIG, "more than %d servers in groups", TEXT_ENTRIES_MAX);
    VEC_PUSH(&b->in_group, e);
    return 0;
}

static int set_group(struct quorum_builder *b, const char *arg, const char *value, struct quorum_error *err)
{
    int64_t group;
    size_t count;

    if (str_to_i64(arg, 0, INT64_MAX, &group) != 0)
        return quorum_fail(err, RC_INVAL, "group.%.40s: not a group number", arg);
    char **sids = str_split(value, ":", &count);
    int rc = count > 0 ? 0 : quorum_fail(err, RC_INVAL, "group.%.40s: no servers", arg);
    if (rc == 0)
        group_forget(b, group);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = group_add(b, group, sids[i], err);
    str_split_free(sids);
    return rc;
}

static int set_weight(struct quorum_builder *b, const char *arg, const char *value, struct quorum_error *err)
{
    struct weight_entry e;
    int rc = quorum_sid_parse(arg, &e.sid, err);

    if (rc != 0)
        return rc;
    if (str_to_i64(value, 0, INT32_MAX, &e.weight) != 0)
        return quorum_fail(err, RC_INVAL, "weight.%.40s: '%.40s' is not a number from 0 to %d", arg, value, INT32_MAX);
    for (size_t i = 0; i < b->weights.len; i++) {
        if (b->weights.items[i].sid == e.sid) {
            b->weights.items[i] = e;
            return 0;
        }
    }
    if (b->weights.len == TEXT_ENTRIES_MAX)
        return quorum_fail(err, RC_TOOBIG, "more than %d weights", TEXT_ENTRIES_MAX);
    VEC_PUSH(&b->weights, e);
    return 0;
}

static int set_version(struct quorum_builder *b, const char *value, struct quorum_error *err)
{
    size_t n = strlen(value);

    if (n == 0 || n > 16 || strspn(value, "0123456789abcdefABCDEF") != n || (n == 16 && value[0] > '7'))
        return quorum_fail(err, RC_INVAL, "version '%.40s' is not a zxid in hexadecimal digits", value);
    b->version = (int64_t)strtoull(value, NULL, 16);
    return 0;
}

bool quorum_key_known(const char *key)
{
    return str_has_prefix(key, "server.") || str_has_prefix(key, "group") || str_has_prefix(key, "weight") || strcmp(key, "version") == 0;
}

static int set_trimmed(struct quorum_builder *b, const char *key, const char *value, struct quorum_error *err)
{
    static const struct {
        const char *prefix;
        int (*set)(struct quorum_builder *b, const char *arg, const char *value, struct quorum_error *err);
    } keys[] = { { "server.", set_server }, { "group.", set_group }, { "weight.", set_weight } };

    if (strcmp(key, "version") == 0)
        return set_version(b, value, err);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_has_prefix(key, keys[i].prefix))
            return keys[i].set(b, key + strlen(keys[i].prefix), value, err);
    return quorum_fail(err, quorum_key_known(key) ? RC_INVAL : RC_NOTFOUND, "unrecognised parameter '%.80s'", key);
}

int quorum_builder_set(struct quorum_builder *b, const char *key, const char *value, struct quorum_error *err)
{
    size_t n = strlen(value);

    while (n > 0 && strchr(" \t\r\n\f", value[n - 1]))
        n--;
    size_t from = MIN(strspn(value, " \t\r\n\f"), n);
    char *trimmed = x_strndup(value + from, n - from);
    int rc = set_trimmed(b, key, trimmed, err);
    free(trimmed);
    return rc;
}

/* ---- properties ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_eol(uint8_t c)
{
    return c == '\n' || c == '\r';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \uXXXX: one UTF-16 unit. Surrogates, and the NUL, have no place in host names. */
static void read_unicode(struct rd *r, struct wr *w)
{
    const uint8_t *p = rd_take(r, 4);
    uint32_t c = 0;

    for (int i = 0; p && i < 4; i++) {
        int v = hex_value(p[i]);

        if (v < 0)
            rd_fail(r, RC_MALFORMED);
        c = c << 4 | (uint32_t)MAX(v, 0);
    }
    if (r->rc != 0 || c == 0 || (c >= 0xd800 && c < 0xe000)) {
        rd_fail(r, RC_MALFORMED);
        return;
    }
    if (c < 0x80) {
        wr_u8(w, (uint8_t)c);
    } else if (c < 0x800) {
        wr_u8(w, (uint8_t)(0xc0 | c >> 6));
        wr_u8(w, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        wr_u8(w, (uint8_t)(0xe0 | c >> 12));
        wr_u8(w, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        wr_u8(w, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

static void skip_blanks(struct rd *r)
{
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
}

/* Behind a backslash. The end of a line: the next one goes on, without its indentation. */
static void read_escape(struct rd *r, struct wr *w)
{
    uint8_t c = rd_u8(r);

    if (is_eol(c)) {
        if (c == '\r' && r->p < r->end && *r->p == '\n')
            r->p++;
        skip_blanks(r);
    } else if (c == 'u') {
        read_unicode(r, w);
    } else if (r->rc == 0) {
        wr_u8(w, c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c);
    }
}

/* Reads up to a byte of `stop` (or the end of the line) that no backslash hides. */
static void read_word(struct rd *r, struct wr *w, const char *stop)
{
    wr_reset(w);
    while (r->p < r->end && !is_eol(*r->p) && !strchr(stop, *r->p)) {
        uint8_t c = *r->p++;

        if (c == '\\' && r->p < r->end)
            read_escape(r, w);
        else if (c != '\\')
            wr_u8(w, c);
    }
}

int quorum_builder_text(struct quorum_builder *b, struct buf text, struct quorum_error *err)
{
    struct wr key = wr_init(0), value = wr_init(0);
    struct rd r = rd_buf(text);
    int rc = 0;

    if (text.n > QUORUM_TEXT_MAX)
        return quorum_fail(err, RC_TOOBIG, "longer than %d bytes", QUORUM_TEXT_MAX);
    if (text.n > 0 && memchr(text.p, 0, text.n))
        return quorum_fail(err, RC_INVAL, "holds a NUL byte");
    while (rc == 0 && rd_left(&r) > 0) {
        skip_blanks(&r);
        if (rd_left(&r) == 0 || is_eol(*r.p)) {
            (void)rd_u8(&r); /* an empty line */
            continue;
        }
        if (*r.p == '#' || *r.p == '!') {
            while (rd_left(&r) > 0 && !is_eol(*r.p))
                r.p++;
            continue;
        }
        read_word(&r, &key, "=: \t\f");
        skip_blanks(&r);
        if (rd_left(&r) > 0 && (*r.p == '=' || *r.p == ':'))
            r.p++;
        skip_blanks(&r);
        read_word(&r, &value, "");
        rc = r.rc != 0 ? quorum_fail(err, RC_INVAL, "malformed escape") : quorum_builder_set(b, wr_cstr(&key), wr_cstr(&value), err);
    }
    wr_free(&key);
    wr_free(&value);
    return rc == RC_NOTFOUND ? RC_INVAL : rc;
}

/* ---- building ---- */

static int compare_weight(const void *a, const void *b)
{
    const struct quorum_weight *x = a, *y = b;

    return (x->sid > y->sid) - (x->sid < y->sid);
}

static struct quorum_weight *weight_entry(struct quorum_config *c, int64_t sid)
{
    for (size_t i = 0; i < c->weights_len; i++)
        if (c->weights[i].sid == sid)
            return &c->weights[i];
    c->weights[c->weights_len] = (struct quorum_weight){ .sid = sid, .weight = -1, .group = QUORUM_NO_GROUP };
    return &c->weights[c->weights_len++];
}

/* Groups and weights, as the reference reads them: a voter must be in a group and weighs 1 unless told otherwise; whoever else stands
 * in a group must be given a weight, and counts in the group's total without ever voting. */
static int build_weights(const struct quorum_builder *b, struct quorum_config *c, struct quorum_error *err)
{
    c->weights = x_calloc(b->in_group.len + b->weights.len + c->voters.len, sizeof(*c->weights));
    c->groups = x_calloc(b->in_group.len, sizeof(*c->groups));
    c->group_weights = x_calloc(b->in_group.len, sizeof(*c->group_weights));
    for (size_t i = 0; i < b->in_group.len; i++)
        weight_entry(c, b->in_group.items[i].sid)->group = b->in_group.items[i].group;
    for (size_t i = 0; i < b->weights.len; i++)
        weight_entry(c, b->weights.items[i].sid)->weight = b->weights.items[i].weight;
    for (size_t i = 0; i < c->voters.len; i++) {
        struct quorum_weight *w = weight_entry(c, c->voters.items[i]);

        if (w->group == QUORUM_NO_GROUP)
            return quorum_fail(err, RC_INVAL, "server %" PRId64 " is in no group", w->sid);
        if (w->weight < 0)
            w->weight = 1;
    }
    qsort(c->weights, c->weights_len, sizeof(*c->weights), compare_weight);
    struct sid_set groups = { 0 };
    for (size_t i = 0; i < b->in_group.len; i++)
        (void)sid_set_add(&groups, b->in_group.items[i].group); /* again: the same group */
    c->groups_len = groups.len;
    if (groups.len > 0)
        memcpy(c->groups, groups.items, groups.len * sizeof(*groups.items));
    sid_set_free(&groups);
    for (size_t i = 0; i < c->weights_len; i++) {
        const struct quorum_weight *w = &c->weights[i];

        if (w->weight < 0)
            return quorum_fail(err, RC_INVAL, "server %" PRId64 " of group %" PRId64 " is no voter and has no weight", w->sid, w->group);
        for (size_t g = 0; g < c->groups_len; g++)
            if (c->groups[g] == w->group)
                c->group_weights[g] += w->weight;
    }
    return 0;
}

static void print_groups(const struct quorum_config *c, struct wr *w)
{
    for (size_t g = 0; g < c->groups_len; g++) {
        char sep = '=';

        wr_printf(w, "group.%" PRId64, c->groups[g]);
        for (size_t i = 0; i < c->weights_len; i++) {
            if (c->weights[i].group != c->groups[g])
                continue;
            wr_printf(w, "%c%" PRId64, sep, c->weights[i].sid);
            sep = ':';
        }
        wr_text(w, "\n");
    }
    for (size_t i = 0; i < c->weights_len; i++)
        wr_printf(w, "weight.%" PRId64 "=%" PRId64 "\n", c->weights[i].sid, c->weights[i].weight);
}

/* Only what fits with any version is a configuration: each epoch and each reconfiguration may give it another one (quorum_config_with_version). */
static int print_config(struct quorum_config *c, struct quorum_error *err)
{
    struct wr w = wr_init(QUORUM_TEXT_MAX);
    static const char longest[] = "version=7fffffffffffffff";

    for (size_t i = 0; i < c->members_len; i++) {
        wr_printf(&w, "server.%" PRId64 "=", c->members[i].sid);
        quorum_member_print(&c->members[i], &w);
        wr_text(&w, "\n");
    }
    if (c->hierarchical)
        print_groups(c, &w);
    bool fits = w.rc == 0 && w.n + sizeof(longest) <= QUORUM_TEXT_MAX;
    wr_printf(&w, "version=%" PRIx64, (uint64_t)c->version);
    if (fits) {
        const char *text = wr_cstr(&w);

        c->text = (struct buf){ x_memdup(text, w.n + 1), w.n };
    }
    wr_free(&w);
    return c->text.p ? 0 : quorum_fail(err, RC_TOOBIG, "the configuration is longer than %d bytes", QUORUM_TEXT_MAX);
}

static int check_voters(const struct quorum_config *c, const struct quorum_options *opt, struct quorum_error *err)
{
    if (c->members_len == 0)
        return quorum_fail(err, RC_INVAL, "no servers");
    if (c->voters.len == 0)
        return quorum_fail(err, RC_INVAL, "no participants");
    if (c->voters.len == 1 && c->observers.len > 0 && opt->standalone_enabled)
        return quorum_fail(err, RC_INVAL, "observers beside a single participant need standaloneEnabled=false");
    return 0;
}

int quorum_builder_build(const struct quorum_builder *b, struct quorum_config **ret, struct quorum_error *err)
{
    struct quorum_config *c = x_calloc(1, sizeof(*c));

    c->refs = 1;
    c->version = b->version;
    c->members_len = b->members.len;
    c->members = x_calloc(b->members.len, sizeof(*c->members));
    for (size_t i = 0; i < b->members.len; i++) {
        const struct quorum_member *m = &b->members.items[i];

        c->members[i] = quorum_member_copy(m);
        (void)sid_set_add(m->role == MEMBER_OBSERVER ? &c->observers : &c->voters, m->sid); /* ids are distinct */
    }
    c->hierarchical = b->in_group.len > 0 || b->weights.len > 0;
    int rc = check_voters(c, &b->opt, err);
    if (rc == 0 && c->hierarchical)
        rc = build_weights(b, c, err);
    if (rc == 0)
        rc = print_config(c, err);
    if (rc == 0)
        *ret = c;
    else
        quorum_config_unref(c);
    return rc;
}

int quorum_config_parse(struct buf text, const struct quorum_options *opt, struct quorum_config **ret, struct quorum_error *err)
{
    struct quorum_builder *b = quorum_builder_new(opt);
    int rc = quorum_builder_text(b, text, err);

    if (rc == 0)
        rc = quorum_builder_build(b, ret, err);
    quorum_builder_free(b);
    return rc;
}
