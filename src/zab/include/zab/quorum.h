/* quorum.h - the ensemble's configuration: who the members are and which sets of them are a quorum.
 *
 * Purpose    Server lines, groups, weights and version in; the exact text of /zookeeper/config out; majority and hierarchical
 *            quorum tests; the changes that a reconfig asks for. Host names are text here: nothing is resolved.
 * Ownership  A struct quorum_config never changes once built and is shared by reference counts (any thread). Its members, addresses
 *            and text live as long as a reference does. Everything else has one owner.
 * Limits     QUORUM_MEMBERS_MAX members, QUORUM_ADDRS_MAX addresses each, QUORUM_TEXT_MAX bytes of text.
 * Errors     RC_INVAL for what people or peers wrote wrongly, RC_TOOBIG past a limit; the reason as text in struct quorum_error.
 * Source     QuorumPeerConfig.parseDynamicConfig, QuorumMaj, QuorumHierarchical, PrepRequestProcessor (3.9.5). */
#ifndef ZAB_QUORUM_H
#define ZAB_QUORUM_H

#include "base/bytes.h"

#define QUORUM_MEMBERS_MAX 1024
#define QUORUM_ADDRS_MAX 32
#define QUORUM_TEXT_MAX (512 * 1024) /* a configuration must fit one notification */

struct quorum_error {
    char text[256]; /* one line, no newline; empty when there was no error */
};

/* ---- sets of server ids ---- */

/* Sorted, without duplicates. {0} is the empty set. */
struct sid_set {
    int64_t *items;
    size_t len, cap;
};
bool sid_set_add(struct sid_set *s, int64_t sid);    /* false: it was in already */
bool sid_set_remove(struct sid_set *s, int64_t sid); /* false: it was not in */
bool sid_set_has(const struct sid_set *s, int64_t sid);
static inline void sid_set_clear(struct sid_set *s)
{
    s->len = 0;
}
void sid_set_free(struct sid_set *s);

/* ---- configuration ---- */

enum member_role { MEMBER_PARTICIPANT, MEMBER_OBSERVER };

/* One of a member's addresses. host: a name or a literal without brackets. */
struct quorum_addr {
    char *host;
    uint16_t quorum_port, election_port; /* 1..65535, never equal */
};

struct quorum_member {
    int64_t sid; /* >= 0 */
    enum member_role role;
    struct quorum_addr *addrs; /* at least one; by host, as they are printed */
    size_t addrs_len;
    char *client_host;    /* NULL: the line named no client port */
    uint16_t client_port; /* 0: the line named no client port */
};

/* Read it, never write it. */
struct quorum_config {
    uint32_t refs;   /* atomic; through quorum_config_ref and _unref only */
    int64_t version; /* zxid of the reconfig that made it; 0 from a static file */
    struct quorum_member *members; /* ascending by sid */
    size_t members_len;
    struct sid_set voters, observers;
    bool hierarchical;
    struct quorum_weight *weights; /* hierarchical: voters and whoever a group or weight line names, ascending by sid */
    size_t weights_len;
    int64_t *groups;        /* ascending; hierarchical only */
    int64_t *group_weights; /* beside groups: sum over its servers */
    size_t groups_len;
    struct buf text;        /* the config text, QUORUM-exact: ends in "version=<hex>" without a newline; NUL behind it */
};
struct quorum_weight {
    int64_t sid, weight; /* weight >= 0, 1 unless given */
    int64_t group;       /* QUORUM_NO_GROUP: only a weight line names it */
};
#define QUORUM_NO_GROUP INT64_MIN

/* Is it where it was, for the quorum port? NULL: no. */
bool quorum_member_same_addr(const struct quorum_member *a, const struct quorum_member *b);

struct quorum_config *quorum_config_ref(struct quorum_config *c);
void quorum_config_unref(struct quorum_config *c); /* NULL is fine */
const struct quorum_member *quorum_config_member(const struct quorum_config *c, int64_t sid); /* NULL: not a member */
bool quorum_config_is_voter(const struct quorum_config *c, int64_t sid);
/* The weight that decides whether a server may lead: 1 in majority systems, 0 for who is unknown to a hierarchical one. */
int64_t quorum_config_weight(const struct quorum_config *c, int64_t sid);
/* Same version, or same members (ids, roles, all addresses, client addresses). Groups and weights are not looked at: so the reference. */
bool quorum_config_equal(const struct quorum_config *a, const struct quorum_config *b);
/* The same members, whatever the versions. */
bool quorum_config_same_members(const struct quorum_config *a, const struct quorum_config *b);
/* The same with another version; returns owned. */
struct quorum_config *quorum_config_with_version(const struct quorum_config *c, int64_t version);

struct quorum_options {
    bool multi_address;      /* multiAddress.enabled: `|` between addresses */
    bool standalone_enabled; /* standaloneEnabled, true by default: at least two voters (reconfig), observers need a quorum */
};

/* Collects keys server.N, group.N, weight.N, version one by one, as a static or dynamic configuration file gives them. */
struct quorum_builder;
struct quorum_builder *quorum_builder_new(const struct quorum_options *opt);
void quorum_builder_free(struct quorum_builder *b);
bool quorum_key_known(const char *key); /* is this a key for quorum_builder_set? */
/* A key given again replaces what it said before. RC_INVAL, RC_TOOBIG; RC_NOTFOUND: not a key of a configuration. */
int quorum_builder_set(struct quorum_builder *b, const char *key, const char *value, struct quorum_error *err);
/* Returns owned through *ret; the builder stays as it was. RC_INVAL: what it holds is not an ensemble (no voter, a voter in no group...). */
int quorum_builder_build(const struct quorum_builder *b, struct quorum_config **ret, struct quorum_error *err);

/* Parses a whole text: /zookeeper/config, NEWLEADER, notifications, a dynamic file. Java properties: `#` and `!` comments, key and value apart
 * by `=`, `:` or blanks, backslash escapes and continued lines. Returns owned. */
int quorum_config_parse(struct buf text, const struct quorum_options *opt, struct quorum_config **ret, struct quorum_error *err);

/* A reconfig request against the newest known configuration; version: the zxid of its transaction. Either new_members (comma
 * or newline separated lines, NULL when absent) replaces everything, or leaving (comma separated sids) and joining (comma separated server lines, each with a
 * client port) change it; leaving goes first, who is not a member leaves silently, who is a member and joins is replaced.
 * Every RC_INVAL and RC_TOOBIG is a BadArguments to the client, RC_MALFORMED (an id that is no number) a MarshallingError. Who has enough voters is checked: at least 2, or 1 without standalone_enabled. */
struct quorum_change {
    const char *joining, *leaving, *new_members;
};
int quorum_config_change(const struct quorum_config *c, const struct quorum_change *change, const struct quorum_options *opt, int64_t version,
                         struct quorum_config **ret, struct quorum_error *err);

/* ---- quorum tests ---- */

/* Is the set a quorum of this configuration? Only voters count. The empty set never is. */
bool quorum_config_has_quorum(const struct quorum_config *c, const struct sid_set *set);

/* The committed configuration, and the last one seen: a newer one that a reconfig has proposed (the same one or NULL when there is none). Borrowed. */
struct quorum_view {
    const struct quorum_config *committed, *last_seen;
};
/* Is last_seen newer, so that decisions need both? */
bool quorum_view_is_joint(struct quorum_view v);
/* A quorum of the committed configuration and, when it is newer, of the last seen one too. */
bool quorum_view_has_quorum(struct quorum_view v, const struct sid_set *set);
/* Voter in either of them. */
bool quorum_view_is_voter(struct quorum_view v, int64_t sid);
/* Adds the voters of both to *ret. */
void quorum_view_voters(struct quorum_view v, struct sid_set *ret);
/* As quorum_config_weight in the committed configuration; in the last seen one for who is only there. */
int64_t quorum_view_weight(struct quorum_view v, int64_t sid);

#endif
