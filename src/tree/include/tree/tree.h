/* tree.h - the replicated state: znodes, ACLs, quotas, ephemerals, containers, TTLs, sessions; as a deterministic state
 * machine. Applies transactions in zxid order; answers reads.
 *
 * Purpose    No clock, no I/O, no randomness: two trees that applied the same transactions are equal (and have equal digests).
 *            Applying is tolerant of replays over a fuzzy snapshot (spec: create of an existing node, delete of a missing one).
 * Ownership  The tree owns its nodes. Pointers handed out are borrowed until the next apply.
 * Threading  One writer (the core thread) under the write lock; any number of readers under the read lock. The writer may
 *            read without a lock.
 * Memory     Compact nodes: parent pointer and last path component, intrusive siblings, interned ACLs. Goal: one million nodes
 *            of 100 bytes in 240 MB resident.
 * Source     DataTree, DataNode, ReferenceCountedACLCache, EphemeralType, DigestCalculator, ZKDatabase (3.9). */
#ifndef TREE_TREE_H
#define TREE_TREE_H

#include "tree/acl.h"
#include "tree/watch.h"

struct tree;
struct znode;

struct tree_options {
    bool extended_types; /* zookeeper.extendedTypesEnabled: TTL nodes */
    bool no_digest;      /* zookeeper.digest.enabled=false */
    bool skip_acl;       /* zookeeper.skipACL=yes: events are not filtered by READ */
};

/* A fresh tree: /, /zookeeper, /zookeeper/config, /zookeeper/quota; last zxid 0. */
struct tree *tree_new(const struct tree_options *opt);
void tree_free(struct tree *t);

/* ---- looking up ---- */
const struct znode *tree_find(const struct tree *t, struct jstr path);
const struct znode *znode_parent(const struct znode *n); /* NULL for the root */
struct jbuf znode_data(const struct znode *n);
void znode_stat_persisted(const struct znode *n, struct zk_stat_persisted *ret); /* raw cversion, stored owner */
void znode_stat(const struct tree *t, const struct znode *n, struct zk_stat *ret); /* as clients see it (spec 3.3) */
int32_t znode_child_count(const struct znode *n);
int64_t tree_acl_id(const struct tree *t, const struct znode *n); /* as in snapshots; -1: world:anyone ALL, built in */
/* n -1: the id that a fuzzy snapshot gave has no list yet; after tree_load_settle such a list lets nobody in. */
struct jacls tree_acl(const struct tree *t, const struct znode *n);
/* Writes the path into the arena. */
struct jstr znode_path(const struct znode *n, struct arena *a);
/* Iterates children; order unspecified. NULL ends. */
const struct znode *znode_first_child(const struct znode *n);
const struct znode *znode_next_sibling(const struct znode *n);
struct jstr znode_name(const struct znode *n); /* last component */

enum znode_kind { ZNODE_PERSISTENT, ZNODE_EPHEMERAL, ZNODE_CONTAINER, ZNODE_TTL };
/* What a stored ephemeralOwner means; *ret_ttl_ms (may be NULL) for ZNODE_TTL. */
enum znode_kind tree_owner_kind(const struct tree *t, int64_t stored_owner, int64_t *ret_ttl_ms);

/* ---- reads: ZK_OK or an error; nothing is registered here, the caller adds the watch (same lock) ---- */
int32_t tree_get_data(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct jbuf *data,
                      struct zk_stat *stat);
int32_t tree_exists(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct zk_stat *stat);
/* Appends vector<ustring> to w. */
int32_t tree_get_children(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct wr *w,
                          struct zk_stat *stat);
/* Appends vector<ACL>, digests masked without ADMIN. */
int32_t tree_get_acl(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl, struct wr *w,
                     struct zk_stat *stat);
int32_t tree_count_descendants(const struct tree *t, struct jstr path, const struct auth_ids *ids, bool skip_acl,
                               int32_t *ret);
/* Appends vector<ustring>. */
void tree_get_ephemerals(const struct tree *t, int64_t session, struct jstr prefix, struct wr *w);
/* setWatches/setWatches2: registers or calls `emit` for what was missed, in the order of the lists (spec 4.6). */
void tree_set_watches(const struct tree *t, struct watch_table *wt, struct watcher *w, const struct set_watches2 *req,
                      void (*emit)(void *data, enum zk_event_type type, struct jstr path), void *data);

/* ---- applying ---- */
struct tree_result {
    int32_t err;  /* what the client is told; a failed multi: of its first failing step */
    int32_t type; /* of the txn: shapes the reply */
    struct jstr path;
    struct zk_stat stat;
    bool has_stat;
    struct tree_result *sub; /* multi: one per step */
    int32_t sub_count;
};
/* Applies one transaction: header, then `body` (txn bytes behind the header; an attached digest may follow and is left to the
 * caller). Fires watches on every attached table, in the reference's order. The result borrows from body and arena.
 * RC_MALFORMED: undecodable, nothing was applied. A failed operation during replay is not an error. */
int tree_apply(struct tree *t, const struct txn_header *h, struct buf body, struct arena *a, struct tree_result *ret);
/* Returns the number of body bytes that belong to the txn (the digest, if any, follows). */
int tree_txn_body_len(const struct txn_header *h, struct buf body, struct arena *a, size_t *ret_len);

/* Puts the ensemble's configuration into /zookeeper/config, without a transaction: its first version has none, and a later one may come by a
 * peer's word. As by a reconfig: version -1, mzxid the configuration's version; watches fire. The digest does not cover the node. */
void tree_set_config(struct tree *t, struct jbuf text, int64_t config_version, int64_t wall_ms);

void tree_attach_watches(struct tree *t, struct watch_table *wt);
void tree_detach_watches(struct tree *t, struct watch_table *wt);

int64_t tree_last_zxid(const struct tree *t);
void tree_set_last_zxid(struct tree *t, int64_t zxid); /* recovery and error txns */
uint64_t tree_digest(const struct tree *t);            /* version 2, spec 7.4 */
/* The digest of one node as it would be with this data and stat: for digests of proposals. */
uint64_t tree_node_digest(struct jstr path, struct jbuf data, const struct zk_stat_persisted *stat);
/* Does this path count in the digest? (not below /zookeeper/) */
bool tree_digest_covers(struct jstr path);

/* ---- sessions as the log knows them: id -> timeout ---- */
int32_t tree_session_timeout(const struct tree *t, int64_t id); /* ms; 0: no such session */
bool tree_session_known(const struct tree *t, int64_t id);       /* even with a timeout of 0 */
void tree_each_session(const struct tree *t, void (*fn)(void *data, int64_t id, int32_t timeout_ms), void *data);
size_t tree_session_count(const struct tree *t);
/* Paths of ephemerals of a session. */
void tree_each_ephemeral(const struct tree *t, int64_t session, void (*fn)(void *data, const struct znode *n), void *data);
void tree_each_ephemeral_owner(const struct tree *t, void (*fn)(void *data, int64_t session, size_t count), void *data);
/* Deletes ephemerals whose session is not in the table (start-up, spec 5.6); returns how many. */
size_t tree_kill_orphans(struct tree *t);

/* ---- containers and TTL nodes: calls fn for those that the reaper should delete now (spec 3.5) ---- */
void tree_each_reapable(const struct tree *t, int64_t wall_ms, int64_t max_never_used_ms,
                        void (*fn)(void *data, const struct znode *n), void *data);

/* ---- quotas (spec 3.7) ---- */
/* ZK_OK or ZK_QUOTAEXCEEDED for adding `count` nodes and `bytes` below `path`, by committed stats. */
int32_t tree_quota_check(const struct tree *t, struct jstr path, int64_t count, int64_t bytes);

/* ---- figures ---- */
struct tree_stats {
    uint64_t nodes, ephemerals, data_bytes /* sum of paths and data, as approximate_data_size */, acls, containers, ttls;
};
void tree_stats(const struct tree *t, struct tree_stats *ret);

/* ---- loading from a snapshot: sessions, ACLs, then nodes with parents first, then end ---- */
struct tree *tree_load_begin(const struct tree_options *opt); /* wholly empty */
void tree_load_session(struct tree *t, int64_t id, int32_t timeout_ms);
void tree_load_acl(struct tree *t, int64_t id, struct jacls acl);
/* path "" is the root. RC_CORRUPT: no parent, duplicate. */
int tree_load_node(struct tree *t, struct jstr path, struct jbuf data, int64_t acl_id, const struct zk_stat_persisted *stat);
/* Adds what is missing of the reserved tree; sets the last zxid. Quotas and unused ACLs are settled by tree_load_settle
 * after the replay of the log. */
int tree_load_end(struct tree *t, int64_t last_zxid);
void tree_load_settle(struct tree *t);

/* ---- walking for a snapshot, in steps between which the tree may change ----
 * The walk is a depth-first cursor that the tree knows: deletion of the node under the cursor moves it on. Nodes created after
 * the walk began (czxid > its zxid) are left out: replay creates them. Begin, every step and end need the
 * read lock. Several walks may be under way, each used by one thread at a time. */
struct tree_walk;
struct tree_walk_node {
    struct jstr path; /* valid until the next step */
    struct jbuf data;
    int64_t acl_id;
    struct zk_stat_persisted stat;
};
struct tree_walk *tree_walk_begin(struct tree *t);
int64_t tree_walk_zxid(const struct tree_walk *w); /* last zxid when it began: the snapshot's name */
bool tree_walk_next(struct tree_walk *w, struct tree_walk_node *ret); /* false: done */
void tree_walk_end(struct tree_walk *w);
/* ACL map, for the snapshot's head. */
size_t tree_acl_count(const struct tree *t);
void tree_each_acl(const struct tree *t, void (*fn)(void *data, int64_t id, struct jacls acl), void *data);

/* Asserts the whole invariant (tests, simulator). */
void tree_check(const struct tree *t);

#endif
