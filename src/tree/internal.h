/* internal.h - the tree's own structures.
 *
 * A znode is one allocation: a fixed head, the last path component, then the data. What only few nodes have - children, an
 * owner, an ACL that was changed - stands in a second allocation, struct znode_ext, so that a plain leaf carries none of it.
 * A node is found by the hash of its whole path: one probe, then the names are compared upwards along the parents.
 *
 * A leaf may move when its data changes size (the data stands in it); a node with children never moves, because they point
 * to it: its data then goes into an allocation of its own (NODE_DATA_OUT). */
#ifndef TREE_INTERNAL_H
#define TREE_INTERNAL_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "tree/tree.h"

enum {
    NODE_DATA_OUT = 1, /* behind the name stands a pointer to the data */
    NODE_NAME_MAX = (1 << 24) - 1,
};

struct znode {
    struct znode *parent, *next, *prev; /* siblings; newest first; NULL at both ends */
    struct znode_ext *ext;              /* NULL: no child ever, never an ACL change, no owner */
    int64_t czxid, mzxid, ctime, mtime;
    int32_t version;
    int32_t data_len; /* -1: null */
    uint32_t hash;    /* of the whole path */
    uint32_t acl;     /* slot in the ACL table, not the id */
    uint32_t name_len : 24, flags : 8;
    char tail[]; /* name, then data or a pointer to it */
};

struct znode_ext {
    struct znode *node;
    struct znode *first_child;
    int64_t pzxid;
    int64_t owner; /* as stored: session id, container mark or TTL */
    int32_t child_count, cversion, aversion;
    uint32_t kind;     /* enum znode_kind */
    uint32_t body_crc; /* of path and data: the digest without the stat, so that a new child costs 60 bytes of CRC */
    uint32_t digest;   /* as it was last added to the tree's digest */
    struct list owned; /* among the ephemerals of the session, the containers or the TTL nodes */
};

/* ---- index.c: path hash -> node. Extendible hashing: a directory of small open-addressing segments. A segment that is full
 * grows in steps up to SEG_SLOTS and is then split in two, so that the longest pause of an insertion is the rehashing of one
 * segment, and that segments stand between two and four fifths full. ---- */
#define SEG_SLOTS 2048

struct index_seg {
    uint32_t depth; /* hash bits that all its nodes share */
    uint32_t used, size;
    uint64_t slots[]; /* low 16 bits of the hash << 48 | address; 0: empty */
};
struct index {
    struct index_seg **dir;
    uint32_t depth; /* the directory has 1 << depth entries */
    size_t count;
};
void index_init(struct index *x);
void index_free(struct index *x);
void index_insert(struct index *x, struct znode *n);
void index_remove(struct index *x, const struct znode *n);
void index_replace(struct index *x, const struct znode *old, struct znode *n);
/* Calls fn for each node; fn may free it. */
void index_each(const struct index *x, void (*fn)(void *data, struct znode *n), void *data);

static inline struct index_seg *index_segment(const struct index *x, uint32_t hash)
{
    return x->dir[(uint64_t)hash >> (32 - x->depth)];
}
/* Where a probe for this hash begins: the low 16 bits, which the slot keeps, scaled to the segment. */
static inline uint32_t index_home(const struct index_seg *s, uint32_t hash)
{
    return (hash & 0xffff) * s->size >> 16;
}
static inline struct znode *index_slot_node(uint64_t slot)
{
    return (struct znode *)(uintptr_t)(slot & ((UINT64_C(1) << 48) - 1));
}

static inline uint32_t path_hash(struct jstr path)
{
    return (uint32_t)hash_bytes(path.p, (size_t)path.n);
}

/* ---- aclcache.c: lists of ACLs interned under the ids that snapshots know ---- */
#define ACL_OPEN 0u /* the slot of id -1, world:anyone ALL, of nodes made without a transaction */

struct acl_entry {
    int64_t id;
    uint64_t refs; /* nodes */
    struct jacls acl;
    uint8_t *bytes;  /* owned: the list as Jute writes it; acl points into it */
    size_t len;
    bool used;    /* the slot is taken */
    bool unknown; /* a snapshot's node names an id that its ACL map lacks */
};
struct acl_cache {
    struct VEC(struct acl_entry) slots;
    struct VEC(uint32_t) unused;
    struct strmap by_list; /* bytes -> slot + 1 */
    struct u64map by_id;   /* id -> slot + 1 */
    int64_t last_id;
    struct wr scratch;
};
void acl_cache_init(struct acl_cache *c);
void acl_cache_free(struct acl_cache *c);
/* Each returns a slot with one more reference. A null list is ACL_OPEN. */
uint32_t acl_cache_intern(struct acl_cache *c, struct jacls acl);
uint32_t acl_cache_by_id(struct acl_cache *c, int64_t id);
void acl_cache_unref(struct acl_cache *c, uint32_t slot, bool keep_unused);
void acl_cache_load(struct acl_cache *c, int64_t id, struct jacls acl);
void acl_cache_settle(struct acl_cache *c);

/* ---- sessions: known to the table, or owners of ephemerals, or both ---- */
struct session {
    int64_t id;
    int32_t timeout_ms; /* 0: not in the table */
    bool known;
    size_t count;
    struct list ephemerals; /* struct znode_ext.owned, oldest first */
};

struct tree {
    struct tree_options opt;
    struct znode *root;
    bool loading;     /* between tree_load_begin and tree_load_settle */
    bool root_loaded;
    struct index index;
    struct acl_cache acls;
    struct u64map sessions; /* struct session */
    size_t session_count;   /* those that are known */
    struct list containers, ttls;
    struct strmap quotas; /* paths under a quota */
    int64_t last_zxid;
    uint64_t digest;
    struct tree_stats stats;
    struct VEC(struct watch_table *) watches;
    struct tree_walk *walks; /* those under way */
    atomic_flag walks_busy;  /* walks begin and end under the read lock, on several threads at once */
};

struct tree_walk {
    struct tree *tree;
    int64_t zxid;
    struct znode *at; /* NULL: before the root, or done */
    enum { WALK_START, WALK_ENTER, WALK_LEAVE, WALK_DONE } phase; /* what comes next: children of `at`, or what is behind it */
    struct VEC(char) path;
    struct tree_walk *next; /* of the same tree */
};
void walks_node_gone(struct tree *t, const struct znode *n); /* before it is unlinked */
void walks_node_moved(struct tree *t, const struct znode *old, struct znode *n); /* it has another address now */

/* ---- node.c: nodes as such; each keeps digest, index, lists and figures right ---- */
static inline struct jstr znode_name_of(const struct znode *n)
{
    return (struct jstr){ n->tail, (int32_t)n->name_len };
}
static inline int64_t node_pzxid(const struct znode *n)
{
    return n->ext ? n->ext->pzxid : n->czxid;
}
static inline int32_t node_cversion(const struct znode *n)
{
    return n->ext ? n->ext->cversion : 0;
}
struct znode *node_find(const struct tree *t, struct jstr path, uint32_t hash);
/* Links a new node under parent (NULL: the root). Takes over one reference to the ACL slot. */
struct znode *node_add(struct tree *t, struct znode *parent, struct jstr path, uint32_t hash, struct jbuf data, uint32_t acl,
                       const struct zk_stat_persisted *stat);
/* Unlinks n; node_free releases it. Its descendants go with it. */
void node_unlink(struct tree *t, struct znode *n, struct jstr path);
void node_free(struct tree *t, struct znode *n);
/* Replaces the data; may move the node: returns where it is now. Leaves digest and stat to the caller. */
struct znode *node_set_data(struct tree *t, struct znode *n, struct jbuf data);
struct znode_ext *node_ext(struct tree *t, struct znode *n, struct jstr path);
/* A change of data or stat stands between these two. */
void node_digest_out(struct tree *t, struct znode *n, struct jstr path);
void node_digest_in(struct tree *t, struct znode *n, struct jstr path, bool body_changed);
/* Appends the path of n; nothing for the root. */
size_t node_path_len(const struct znode *n);
void node_path_write(const struct znode *n, char *end); /* backwards from end */
/* The next node of the subtree under `top` in depth-first order, NULL behind the last. */
const struct znode *node_next(const struct znode *top, const struct znode *n);

/* Splits a path that starts with '/' and has a last component; false otherwise. The parent of "/a" is "". */
bool path_split(struct jstr path, struct jstr *parent, struct jstr *name);

/* ---- session index ---- */
struct session *session_of(struct tree *t, int64_t id); /* makes it */
const struct session *session_get(const struct tree *t, int64_t id);
void session_settle(struct tree *t, struct session *s); /* frees it when neither known nor an owner */
void session_add(struct tree *t, int64_t id, int32_t timeout_ms);
void session_remove(struct tree *t, int64_t id);

/* ---- apply.c ---- */
int32_t apply_delete(struct tree *t, struct jstr path, int64_t zxid);

/* ---- quota.c ---- */
void quota_node_created(struct tree *t, struct jstr path);
void quota_node_deleted(struct tree *t, struct jstr path);
void quota_account(struct tree *t, struct jstr path, int64_t bytes, int64_t count);
void quota_rebuild(struct tree *t);

/* ---- load.c ---- */
void tree_add_reserved(struct tree *t);

/* ---- watch.c, with the path's hash in hand ---- */
void watch_trigger_hashed(struct watch_table *t, enum watch_kind kind, enum zk_event_type type, struct jstr path, uint32_t hash,
                          struct jacls acl, int64_t zxid);
void watch_trigger_delete_hashed(struct watch_table *t, struct jstr path, uint32_t hash, struct jacls acl, int64_t zxid);
bool watch_table_idle(const struct watch_table *t);

#endif
