/* reconfig.c - the next configuration that a reconfig request asks for. */
#include "quorum_internal.h"

#include <inttypes.h>

#include "base/str.h"

static struct quorum_builder *builder_of(const struct quorum_config *c, const struct quorum_options *opt)
{
    struct quorum_builder *b = quorum_builder_new(opt);

    for (size_t i = 0; i < c->members_len; i++) {
        struct quorum_member m = quorum_member_copy(&c->members[i]);

        ASSERT(quorum_builder_put(b, &m, NULL) == 0); /* it fitted one configuration already */
    }
    quorum_builder_version(b, c->version);
    return b;
}

struct quorum_config *quorum_config_with_version(const struct quorum_config *c, int64_t version)
{
    /* Through the text: it names all there is, groups and weights too. */
    struct quorum_options opt = { .multi_address = true, .standalone_enabled = false };
    struct quorum_builder *b = quorum_builder_new(&opt);
    struct quorum_config *ret = NULL;

    ASSERT(quorum_builder_text(b, c->text, NULL) == 0);
    quorum_builder_version(b, version);
    ASSERT(quorum_builder_build(b, &ret, NULL) == 0);
    quorum_builder_free(b);
    return ret;
}

/* ---- clashing addresses ---- */

/* Addresses that mean another host on each server. Names are not resolved here: two names of one host pass. */
static bool is_local(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "::1") == 0 || str_has_prefix(host, "127.") ||
           str_ieq(host, "localhost");
}

static bool member_has_port(const struct quorum_member *m, const char *host, uint16_t port)
{
    if (m->client_port == port && str_ieq(m->client_host, host))
        return true;
    for (size_t i = 0; i < m->addrs_len; i++)
        if ((m->addrs[i].quorum_port == port || m->addrs[i].election_port == port) && str_ieq(m->addrs[i].host, host))
            return true;
    return false;
}

static bool members_clash(const struct quorum_member *a, const struct quorum_member *b)
{
    for (size_t i = 0; i < a->addrs_len; i++) {
        const struct quorum_addr *x = &a->addrs[i];

        if (!is_local(x->host) && (member_has_port(b, x->host, x->quorum_port) || member_has_port(b, x->host, x->election_port)))
            return true;
    }
    return !is_local(a->client_host) && member_has_port(b, a->client_host, a->client_port);
}

/* ---- incremental ---- */

/* The reference trips over such a number where it does not expect to, which its clients see as another error: RC_MALFORMED. */
static int parse_sid(const char *text, int64_t *ret, struct quorum_error *err)
{
    return quorum_sid_parse(text, ret, err) < 0 ? RC_MALFORMED : 0;
}

static int change_leave(struct quorum_builder *b, const char *leaving, struct quorum_error *err)
{
    char **sids = str_split(leaving, ",", NULL);
    int rc = 0;

    for (char **s = sids; *s && rc == 0; s++) {
        int64_t sid;

        rc = parse_sid(*s, &sid, err);
        if (rc == 0)
            quorum_builder_drop(b, sid);
    }
    str_split_free(sids);
    return rc;
}

/* server.N=address, or N=address: the reference looks at what is behind the last dot. */
static int parse_joiner(const char *line, bool multi_address, struct quorum_member *ret, struct quorum_error *err)
{
    const char *eq = strchr(line, '=');
    int64_t sid;

    if (!eq || eq == line || !eq[1] || strchr(eq + 1, '='))
        return quorum_fail(err, RC_INVAL, "'%.80s' is not server.N=address", line);
    char *key = x_strndup(line, (size_t)(eq - line)), *dot = strrchr(key, '.');
    int rc = parse_sid(dot ? dot + 1 : key, &sid, err);
    free(key);
    if (rc == 0)
        rc = quorum_member_parse(sid, eq + 1, multi_address, ret, err);
    if (rc == 0 && ret->client_port == 0) {
        quorum_member_done(ret);
        rc = quorum_fail(err, RC_INVAL, "server.%" PRId64 ": a joining server needs a client port", sid);
    }
    return rc;
}

static int change_join(struct quorum_builder *b, const char *joining, bool multi_address, struct quorum_error *err)
{
    char **lines = str_split(joining, ",", NULL);
    int rc = 0;

    for (char **line = lines; *line && rc == 0; line++) {
        struct quorum_member m;

        rc = parse_joiner(*line, multi_address, &m, err);
        if (rc != 0)
            break;
        const struct quorum_member *clash = quorum_builder_find_clash(b, &m, members_clash);
        if (clash) {
            rc = quorum_fail(err, RC_INVAL, "server.%" PRId64 " has an address of server.%" PRId64, m.sid, clash->sid);
            quorum_member_done(&m);
            break;
        }
        rc = quorum_builder_put(b, &m, err);
    }
    str_split_free(lines);
    return rc;
}

/* ---- replacement ---- */

static int change_replace(struct quorum_builder *b, const char *new_members, struct quorum_error *err)
{
    char *text = x_strdup(new_members);

    for (char *p = text; *p; p++)
        if (*p == ',')
            *p = '\n';
    int rc = quorum_builder_text(b, buf_str(text), err);
    free(text);
    return rc;
}

int quorum_config_change(const struct quorum_config *c, const struct quorum_change *change, const struct quorum_options *opt, int64_t version,
                         struct quorum_config **ret, struct quorum_error *err)
{
    struct quorum_builder *b = change->new_members ? quorum_builder_new(opt) : builder_of(c, opt);
    struct quorum_config *next = NULL;
    int rc = 0;

    if (change->new_members)
        rc = change_replace(b, change->new_members, err);
    else if (c->hierarchical)
        rc = quorum_fail(err, RC_INVAL, "incremental changes need a majority quorum system: give all new members");
    if (rc == 0 && !change->new_members && change->leaving)
        rc = change_leave(b, change->leaving, err);
    if (rc == 0 && !change->new_members && change->joining)
        rc = change_join(b, change->joining, opt->multi_address, err);
    quorum_builder_version(b, version);
    if (rc == 0)
        rc = quorum_builder_build(b, &next, err);
    if (rc == 0 && next->voters.len < 2 && opt->standalone_enabled) {
        quorum_config_unref(next);
        rc = quorum_fail(err, RC_INVAL, "the new configuration must have at least two participants");
    }
    quorum_builder_free(b);
    if (rc == 0)
        *ret = next;
    return rc;
}
