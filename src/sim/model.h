/* model.h - what ZooKeeper's data is, said a second time: plain, slow, and apart from src/tree.
 *
 * Purpose    Replays the committed log and remembers every state that ever was, so that a checker can ask what a znode looked like
 *            at any zxid. Nothing is shared with the shipped tree but the record codec: the two must agree by themselves.
 * Contents   For each path its versions, for each parent the times of its children, for each transaction what it did and which
 *            watches it should fire, for each session its life.
 * Ownership  A model owns all that it hands out. The log's bytes are borrowed for its life.
 * Source     ZooKeeper Programmer's Guide; DataTree.processTxn (3.9). */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "base/map.h"
#include "check.h"

/* A znode from a zxid on. */
struct model_node {
    int64_t zxid;
    bool exists;
    struct jbuf data;
    struct jacls acl;
    struct zk_stat_persisted stat; /* raw cversion, stored owner */
    int32_t children;
};
struct model_child {
    struct jstr name;
    int64_t from, until; /* there at zxid: from <= zxid < until */
};
struct model_path {
    struct jstr path;
    struct VEC(struct model_node) versions;
    struct VEC(struct model_child) children;
    size_t in_parent; /* its last entry among its parent's children */
};
/* A change that watches hear of. */
struct model_trigger {
    int64_t zxid;
    enum zk_event_type type;
    bool child; /* watches on children of path; DELETED: data first, then children */
    struct jstr path;
    struct jacls acl; /* of the node whose READ decides who hears of it */
};
/* What one step did. */
struct model_effect {
    int32_t type; /* of the transaction; -1: an error */
    int32_t err;
    struct jstr path;
    struct zk_stat stat; /* afterwards, as clients see it; not of a delete */
    int32_t version;     /* as the transaction names it */
    struct jbuf data;
};
struct model_txn {
    int64_t zxid, session_id, time_ms, at_us;
    int32_t cxid, type;
    struct model_effect *steps; /* one, or those of a multi */
    uint32_t step_count;
    bool failed; /* an error, or a multi with one */
};
struct model_session {
    int64_t id;
    int32_t timeout_ms;
    int64_t opened, closed;       /* zxids; closed: INT64_MAX while it lives */
    int64_t opened_us, closed_us; /* check_commit.at_us */
    bool by_client;               /* closed by its client, not expired */
};
struct model_problem {
    int64_t zxid, at_us;
    char *text;
};
struct model {
    struct strmap by_path;                  /* struct model_path */
    struct VEC(struct model_path *) paths;
    struct VEC(struct model_txn) txns;      /* in the order of the log */
    struct VEC(struct model_trigger) triggers;
    struct VEC(struct model_session) sessions;
    struct u64map session_at;               /* id -> index + 1 */
    struct VEC(struct model_problem) problems;
    bool extended_types;
    struct arena arena;
};

struct model *model_new(const struct check_commit *log, size_t len, bool extended_types);
void model_free(struct model *m);

/* The znode as it was after the transaction zxid; NULL: not there. */
const struct model_node *model_at(const struct model *m, struct jstr path, int64_t zxid);
const struct model_path *model_path(const struct model *m, struct jstr path);
const struct model_txn *model_txn(const struct model *m, int64_t zxid); /* NULL: none */
const struct model_session *model_session(const struct model *m, int64_t id);
/* Does the zxid name a committed state? A new leader's first zxid, counter 0, does. */
bool model_knows(const struct model *m, int64_t zxid);
void model_stat(const struct model *m, const struct model_node *n, struct zk_stat *ret);
/* May anybody do this? Only world:anyone is known here. */
bool model_allows(struct jacls acl, int32_t perm);
/* What a single write that is made on the state of zxid must be answered with; the session lives and has not moved. */
int32_t model_verdict(const struct model *m, const struct hist_step *s, int64_t zxid);
bool model_is_ephemeral(const struct model *m, int64_t stored_owner);
int64_t model_last_zxid(const struct model *m);
/* The parent of a path that begins with '/'. */
struct jstr model_parent(struct jstr path);

#endif
