/* apply.c - transactions. A body is decoded whole before anything is changed; applying then cannot fail half-way.
 * Source: DataTree.processTxn, createNode, deleteNode, setData, setACL, killSession (3.9.5). */
#include "base/relapse.h"
#include "internal.h"

struct op {
    int32_t type;
    struct jstr path;
    struct jbuf data;
    struct jacls acl;
    int64_t owner;   /* create */
    int32_t number;  /* parent's cversion, version, error, timeout */
    bool bad;        /* decodes, but no server can have meant it: fails without an effect */
    bool has_paths;  /* closeSession with its list */
    struct jstrs paths;
    struct op *sub;
    int32_t sub_count;
};

/* ---- decoding ---- */
static void decode_create(struct rd *r, struct arena *a, int64_t session, struct op *op)
{
    op->path = jute_read_str(r);
    op->data = jute_read_buf(r);
    op->acl = jute_read_acls(r, a);
    switch (op->type) {
    case ZK_OP_CREATE_CONTAINER:
        op->number = rd_i32(r);
        op->owner = ZK_OWNER_CONTAINER;
        break;
    case ZK_OP_CREATE_TTL: {
        op->number = rd_i32(r);
        int64_t ttl = rd_i64(r);
        op->bad = ttl <= 0 || ttl > ZK_TTL_MAX;
        op->owner = (int64_t)((uint64_t)ZK_OWNER_TTL_PREFIX | (uint64_t)(ttl & ZK_TTL_MAX));
        break;
    }
    default:
        op->owner = rd_u8(r) != 0 ? session : 0;
        /* Servers before 3.4 wrote no parentCVersion: one more than the parent has at that moment. */
        op->number = r->rc == 0 && rd_left(r) == 0 ? -1 : rd_i32(r);
    }
}

/* Apache with closeSessionTxn.enabled=false writes no list, so that what is left may be the digest alone: i32 version 2 and
 * eight bytes. Read as a list that would be two empty paths, which nobody writes. */
static bool close_session_has_list(const struct rd *r)
{
    return rd_left(r) > 0 && !(rd_left(r) == 12 && load_u32(r->p) == 2);
}

static void decode_multi(struct rd *r, struct arena *a, int64_t session, struct op *op);

static void decode(struct rd *r, struct arena *a, int64_t session, bool in_multi, struct op *op)
{
    bool has_path = true;
    switch (op->type) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_TTL:
    case ZK_OP_CREATE_CONTAINER:
        decode_create(r, a, session, op);
        break;
    case ZK_OP_DELETE:
    case ZK_OP_DELETE_CONTAINER:
        op->path = jute_read_str(r);
        break;
    case ZK_OP_SET_DATA:
    case ZK_OP_RECONFIG:
        op->path = jute_read_str(r);
        op->data = jute_read_buf(r);
        op->number = rd_i32(r);
        break;
    case ZK_OP_SET_ACL:
        op->path = jute_read_str(r);
        op->acl = jute_read_acls(r, a);
        op->number = rd_i32(r);
        break;
    case ZK_OP_CHECK:
        op->path = jute_read_str(r);
        op->number = rd_i32(r);
        break;
    default:
        has_path = false;
        if (op->type == ZK_OP_ERROR || (op->type == ZK_OP_CREATE_SESSION && !in_multi)) {
            op->number = rd_i32(r);
        } else if (op->type == ZK_OP_CLOSE_SESSION && !in_multi) {
            op->has_paths = close_session_has_list(r);
            if (op->has_paths)
                op->paths = jute_read_strs(r, a);
            op->has_paths &= op->paths.n >= 0;
        } else if (op->type == ZK_OP_MULTI && !in_multi) {
            decode_multi(r, a, session, op);
        } else {
            rd_fail(r, RC_MALFORMED);
        }
    }
    if (has_path && !op->path.p)
        rd_fail(r, RC_MALFORMED);
}

static void decode_multi(struct rd *r, struct arena *a, int64_t session, struct op *op)
{
    struct multi_txn m;
    multi_txn_read(r, a, &m);
    if (r->rc != 0)
        return;
    op->sub_count = MAX(m.txns.n, 0);
    op->sub = arena_calloc(a, (size_t)op->sub_count, sizeof(*op->sub));
    for (int32_t i = 0; i < op->sub_count; i++) {
        struct rd sub = rd_init(m.txns.v[i].data.p, (size_t)m.txns.v[i].data.n);
        op->sub[i].type = m.txns.v[i].type;
        decode(&sub, a, session, true, &op->sub[i]);
        if (sub.rc != 0)
            rd_fail(r, sub.rc);
    }
}

int tree_txn_body_len(const struct txn_header *h, struct buf body, struct arena *a, size_t *ret_len)
{
    struct rd r = rd_buf(body);
    struct op op = { .type = h->type };
    decode(&r, a, h->client_id, false, &op);
    if (r.rc != 0)
        return RC_MALFORMED;
    *ret_len = (size_t)(r.p - body.p);
    return 0;
}

/* ---- watches ---- */
static void fire(struct tree *t, enum watch_kind kind, enum zk_event_type type, struct jstr path, uint32_t hash, uint32_t acl,
                 int64_t zxid)
{
    struct jacls acls = { NULL, -1 };
    if (!t->opt.skip_acl)
        acls = t->acls.slots.items[acl].acl;
    for (size_t i = 0; i < t->watches.len; i++)
        if (!watch_table_idle(t->watches.items[i]))
            watch_trigger_hashed(t->watches.items[i], kind, type, path, hash, acls, zxid);
}

static void fire_children_changed(struct tree *t, uint32_t acl, struct jstr path, uint32_t hash, int64_t zxid)
{
    if (path.n == 0) {
        path = jstr_of("/"); /* the name under which clients watch the root */
        hash = path_hash(path);
    }
    fire(t, WATCH_CHILD, ZK_EVENT_CHILDREN_CHANGED, path, hash, acl, zxid);
}

static bool anybody_watches(const struct tree *t)
{
    for (size_t i = 0; i < t->watches.len; i++)
        if (!watch_table_idle(t->watches.items[i]))
            return true;
    return false;
}

/* ---- the operations ---- */
/* A replayed creation must not take the parent's counters back: the snapshot may know later ones. */
static void parent_created(struct tree *t, struct znode *parent, struct jstr path, int32_t cversion, int64_t zxid)
{
    struct znode_ext *e = node_ext(t, parent, path);
    if (cversion == -1)
        cversion = (int32_t)((uint32_t)e->cversion + 1);
    if (cversion <= e->cversion)
        return;
    node_digest_out(t, parent, path);
    e->cversion = cversion;
    e->pzxid = zxid;
    node_digest_in(t, parent, path, false);
}

/* The node is there already: only replay does this. The creation's ACL is the older truth, and the reference restores it
 * (3.9.5) so that an id which the snapshot's map lacks gets its meaning back. */
static int32_t create_existing(struct tree *t, const struct op *op, struct znode *n, struct znode *parent, struct jstr parent_path,
                               int64_t zxid)
{
    uint32_t acl = acl_cache_intern(&t->acls, op->acl);
    acl_cache_unref(&t->acls, n->acl, t->loading);
    n->acl = acl;
    if (op->type == ZK_OP_CREATE)
        parent_created(t, parent, parent_path, op->number, zxid);
    return ZK_NODEEXISTS;
}

static int32_t apply_create(struct tree *t, const struct txn_header *h, const struct op *op, struct tree_result *ret)
{
    struct jstr parent_path, name;
    if (op->bad || !path_split(op->path, &parent_path, &name))
        return ZK_BADARGUMENTS;
    uint32_t parent_hash = path_hash(parent_path), hash = path_hash(op->path);
    struct znode *parent = node_find(t, parent_path, parent_hash);
    if (!parent)
        return ZK_NONODE;
    struct znode *n = node_find(t, op->path, hash);
    if (n)
        return create_existing(t, op, n, parent, parent_path, h->zxid);

    uint32_t acl = acl_cache_intern(&t->acls, op->acl);
    parent_created(t, parent, parent_path, op->number, h->zxid);
    struct zk_stat_persisted s = { .czxid = h->zxid, .mzxid = h->zxid, .pzxid = h->zxid, .ctime = h->time_ms,
                                   .mtime = h->time_ms, .ephemeral_owner = op->owner };
    n = node_add(t, parent, op->path, hash, op->data, acl, &s);
    znode_stat(t, n, &ret->stat);
    ret->has_stat = true;
    uint32_t parent_acl = parent->acl; /* accounting may move nodes */
    quota_node_created(t, op->path);
    quota_account(t, op->path, op->data.n, 1);
    if (anybody_watches(t)) {
        fire(t, WATCH_DATA, ZK_EVENT_CREATED, op->path, hash, acl, h->zxid);
        fire_children_changed(t, parent_acl, parent_path, parent_hash, h->zxid);
    }
    return ZK_OK;
}

int32_t apply_delete(struct tree *t, struct jstr path, int64_t zxid)
{
    struct jstr parent_path, name;
    if (!path_split(path, &parent_path, &name))
        return ZK_BADARGUMENTS;
    uint32_t parent_hash = path_hash(parent_path), hash = path_hash(path);
    struct znode *parent = node_find(t, parent_path, parent_hash);
    if (!parent)
        return ZK_NONODE;
    /* Also when the child is gone already: the snapshot that lacks it may have been taken of the parent before. */
    if (relapse(3145) && !node_find(t, path, hash))
        return ZK_NONODE;
    if (zxid > node_pzxid(parent)) {
        struct znode_ext *e = node_ext(t, parent, parent_path);
        node_digest_out(t, parent, parent_path);
        e->pzxid = zxid;
        node_digest_in(t, parent, parent_path, false);
    }
    struct znode *n = node_find(t, path, hash);
    if (!n)
        return ZK_NONODE;
    node_unlink(t, n, path);
    uint32_t parent_acl = parent->acl; /* accounting may move the parent, which may be a leaf now */
    quota_node_deleted(t, path);
    quota_account(t, path, -(int64_t)MAX(n->data_len, 0), -1);
    if (anybody_watches(t)) {
        struct jacls acl = { NULL, -1 };
        if (!t->opt.skip_acl)
            acl = tree_acl(t, n);
        for (size_t i = 0; i < t->watches.len; i++)
            watch_trigger_delete_hashed(t->watches.items[i], path, hash, acl, zxid);
        fire_children_changed(t, parent_acl, parent_path, parent_hash, zxid);
    }
    node_free(t, n);
    return ZK_OK;
}

static int32_t apply_set_data(struct tree *t, const struct txn_header *h, const struct op *op, struct tree_result *ret)
{
    uint32_t hash = path_hash(op->path);
    struct znode *n = node_find(t, op->path, hash);
    if (!n)
        return ZK_NONODE;
    int64_t before = MAX(n->data_len, 0);
    node_digest_out(t, n, op->path);
    n = node_set_data(t, n, op->data);
    n->version = op->number;
    n->mzxid = h->zxid;
    n->mtime = h->time_ms;
    node_digest_in(t, n, op->path, true);
    znode_stat(t, n, &ret->stat);
    ret->has_stat = true;
    uint32_t acl = n->acl; /* accounting may move n */
    quota_account(t, op->path, op->data.n - before, 0);
    if (anybody_watches(t))
        fire(t, WATCH_DATA, ZK_EVENT_DATA_CHANGED, op->path, hash, acl, h->zxid);
    return ZK_OK;
}

void tree_set_config(struct tree *t, struct jbuf text, int64_t config_version, int64_t wall_ms)
{
    struct txn_header h = { .zxid = config_version, .time_ms = wall_ms };
    struct op op = { .path = jstr_of("/zookeeper/config"), .data = text, .number = -1 };
    struct tree_result res = { 0 };
    int32_t err = apply_set_data(t, &h, &op, &res);

    ASSERT(err == ZK_OK); /* a tree has the node always, and nobody can delete it */
}

static int32_t apply_set_acl(struct tree *t, const struct op *op, struct tree_result *ret)
{
    struct znode *n = node_find(t, op->path, path_hash(op->path));
    if (!n)
        return ZK_NONODE;
    /* Released first, as the reference does it: a sole user that sets the same list again gets a new id. */
    acl_cache_unref(&t->acls, n->acl, t->loading);
    n->acl = acl_cache_intern(&t->acls, op->acl);
    node_digest_out(t, n, op->path);
    node_ext(t, n, op->path)->aversion = op->number;
    node_digest_in(t, n, op->path, false);
    znode_stat(t, n, &ret->stat);
    ret->has_stat = true;
    return ZK_OK;
}

static void apply_close_session(struct tree *t, const struct txn_header *h, const struct op *op, struct arena *a)
{
    for (int32_t i = 0; op->has_paths && i < op->paths.n; i++)
        (void)apply_delete(t, op->paths.v[i], h->zxid); /* replay: may be gone already */
    const struct session *s;
    while ((s = session_get(t, h->client_id)) != NULL && s->count > 0) {
        struct jstr path = znode_path(CONTAINER_OF(s->ephemerals.next, struct znode_ext, owned)->node, a);
        ASSERT(apply_delete(t, path, h->zxid) == ZK_OK);
    }
    session_remove(t, h->client_id);
}

static void apply_op(struct tree *t, const struct txn_header *h, const struct op *op, struct arena *a, struct tree_result *ret);

/* One failed step undoes all: the steps before it are reported as good, those behind it as not tried. */
static void apply_multi(struct tree *t, const struct txn_header *h, const struct op *op, struct arena *a, struct tree_result *ret)
{
    bool failed = false;
    for (int32_t i = 0; i < op->sub_count; i++)
        failed |= op->sub[i].type == ZK_OP_ERROR;
    ret->sub = arena_calloc(a, (size_t)op->sub_count, sizeof(*ret->sub));
    ret->sub_count = op->sub_count;
    bool past = false;
    for (int32_t i = 0; i < op->sub_count; i++) {
        struct op error = { .type = ZK_OP_ERROR, .number = past ? ZK_RUNTIMEINCONSISTENCY : ZK_OK };
        bool is_error = op->sub[i].type == ZK_OP_ERROR;
        past |= is_error;
        apply_op(t, h, failed && !is_error ? &error : &op->sub[i], a, &ret->sub[i]);
        if (ret->err == ZK_OK)
            ret->err = ret->sub[i].err;
    }
}

static void apply_op(struct tree *t, const struct txn_header *h, const struct op *op, struct arena *a, struct tree_result *ret)
{
    *ret = (struct tree_result){ .type = op->type, .path = op->path };
    switch (op->type) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_TTL:
    case ZK_OP_CREATE_CONTAINER:
        ret->err = apply_create(t, h, op, ret);
        break;
    case ZK_OP_DELETE:
    case ZK_OP_DELETE_CONTAINER:
        ret->err = apply_delete(t, op->path, h->zxid);
        break;
    case ZK_OP_SET_DATA:
    case ZK_OP_RECONFIG:
        ret->err = apply_set_data(t, h, op, ret);
        break;
    case ZK_OP_SET_ACL:
        ret->err = apply_set_acl(t, op, ret);
        break;
    case ZK_OP_CREATE_SESSION:
        session_add(t, h->client_id, op->number);
        break;
    case ZK_OP_CLOSE_SESSION:
        apply_close_session(t, h, op, a);
        break;
    case ZK_OP_MULTI:
        apply_multi(t, h, op, a, ret);
        break;
    case ZK_OP_ERROR:
        ret->err = op->number;
        break;
    case ZK_OP_CHECK: /* was checked when the transaction was made */
        break;
    default:
        ASSERT(!"decode lets no other type through");
    }
}

int tree_apply(struct tree *t, const struct txn_header *h, struct buf body, struct arena *a, struct tree_result *ret)
{
    struct rd r = rd_buf(body);
    struct op op = { .type = h->type };
    decode(&r, a, h->client_id, false, &op);
    if (r.rc != 0)
        return RC_MALFORMED;
    apply_op(t, h, &op, a, ret);
    /* Only when the whole is done: a snapshot that begins is named after this (ZOOKEEPER-3127). */
    t->last_zxid = MAX(t->last_zxid, h->zxid);
    return 0;
}
