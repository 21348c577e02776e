/* prep.c - validates a write against the state that it will meet, and writes the transaction that carries it out.
 *
 * The order of the checks is part of the protocol: it decides which error wins. Everything is checked before anything changes.
 * Source: PrepRequestProcessor.pRequest2Txn (3.9). */
#include "core_internal.h"

#include <stdio.h>

bool op_decode(struct rd *r, struct arena *a, int32_t type, struct op *op)
{
    *op = (struct op){ .type = type, .ttl = -1 };
    switch (type) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER: {
        struct create_request q;
        create_request_read(r, a, &q);
        op->path = q.path, op->data = q.data, op->acl = q.acl, op->flags = q.flags;
        return true;
    }
    case ZK_OP_CREATE_TTL: {
        struct create_ttl_request q;
        create_ttl_request_read(r, a, &q);
        op->path = q.path, op->data = q.data, op->acl = q.acl, op->flags = q.flags, op->ttl = q.ttl;
        return true;
    }
    case ZK_OP_DELETE:
    case ZK_OP_CHECK: {
        struct path_version q;
        path_version_read(r, a, &q);
        op->path = q.path, op->version = q.version;
        return true;
    }
    case ZK_OP_SET_DATA: {
        struct set_data_request q;
        set_data_request_read(r, a, &q);
        op->path = q.path, op->data = q.data, op->version = q.version;
        return true;
    }
    case ZK_OP_SET_ACL: {
        struct set_acl_request q;
        set_acl_request_read(r, a, &q);
        op->path = q.path, op->acl = q.acl, op->version = q.version;
        return true;
    }
    }
    return false;
}

/* ---- the checks ---- */

/* A learner's local session, for all that is known here: whatever is not ours to know. */
static bool may_be_local(const struct prep *pr)
{
    return pr->c->cfg.local_sessions && !pr->session && pr->peer != PEER_OWN && !session_is_of(pr->c, pr->p->session_id) &&
           !session_ended(pr->c, pr->p->session_id);
}

static int32_t check_session(const struct prep *pr)
{
    struct session *s = pr->session;
    if (may_be_local(pr))
        return ZK_OK;
    if (!s || s->closing)
        return ZK_SESSIONEXPIRED;
    if (s->peer == PEER_UNKNOWN)
        s->peer = pr->peer;
    return s->peer == pr->peer ? ZK_OK : ZK_SESSIONMOVED;
}

/* What is to own an ephemeral must be known to all. */
static int32_t check_creator(const struct prep *pr, const struct op *op)
{
    bool plain = op->type == ZK_OP_CREATE || op->type == ZK_OP_CREATE2;
    if (!plain || !zk_flag_is_ephemeral(op->flags))
        return check_session(pr);
    if (pr->no_ephemerals)
        return pr->no_ephemerals;
    return pr->session && !pr->session->local ? check_session(pr) : ZK_SESSIONEXPIRED;
}

static int32_t check_acl(const struct prep *pr, const struct view *v, int32_t perm)
{
    if (pr->c->cfg.skip_acl)
        return ZK_OK;
    return acl_allows(view_acl(pr->c, v, pr->a), pr->ids, perm) ? ZK_OK : ZK_NOAUTH;
}

static int32_t check_version(int32_t expected, int32_t actual)
{
    return expected == -1 || expected == actual ? ZK_OK : ZK_BADVERSION;
}

/* What create and delete look at first; create checks the whole name later, once it is final. */
static int32_t check_path_roughly(struct jstr path)
{
    if (!path.p)
        return ZK_MARSHALLINGERROR;
    if (!memchr(path.p, '/', (size_t)path.n) || memchr(path.p, 0, (size_t)path.n))
        return ZK_BADARGUMENTS;
    return ZK_OK;
}

static int32_t check_path_fully(struct jstr path)
{
    return zk_path_problem(path.p, path.n) ? ZK_BADARGUMENTS : ZK_OK;
}

static bool path_is_special(struct jstr path)
{
    static const char *const special[] = { "/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota" };
    for (size_t i = 0; i < ARRAY_LEN(special); i++)
        if (jstr_is(path, special[i]))
            return true;
    return false;
}

static int32_t check_quota(const struct prep *pr, struct jstr path, int64_t count, int64_t bytes)
{
    return pr->c->cfg.enforce_quota ? tree_quota_check(pr->c->tree, path, count, bytes) : ZK_OK;
}

/* Flags and TTL. Two requests that the reference lets through and then regrets are refused: a plain create with the container
 * flag (which upsets its digest) and a TTL create without a TTL (which stops it at apply, and again at each restart). */
static int32_t check_create_mode(const struct prep *pr, const struct op *op)
{
    bool ttl_flag = zk_flag_is_ttl(op->flags);
    if (op->flags < ZK_PERSISTENT || op->flags > ZK_PERSISTENT_SEQUENTIAL_TTL)
        return ZK_BADARGUMENTS;
    switch (op->type) {
    case ZK_OP_CREATE_TTL:
        if (!ttl_flag)
            return ZK_BADARGUMENTS;
        if (!pr->c->cfg.extended_types)
            return ZK_UNIMPLEMENTED;
        return op->ttl >= 1 && op->ttl <= ZK_TTL_MAX ? ZK_OK : ZK_BADARGUMENTS;
    case ZK_OP_CREATE_CONTAINER:
        return ttl_flag ? ZK_BADARGUMENTS : ZK_OK;
    default:
        if (ttl_flag)
            return pr->c->cfg.extended_types ? ZK_BADARGUMENTS : ZK_UNIMPLEMENTED;
        return op->flags == ZK_CONTAINER ? ZK_BADARGUMENTS : ZK_OK;
    }
}

/* Is the txn still one that the log's reader will take? Asked before anything is recorded. */
static int32_t check_size(const struct prep *pr)
{
    const struct wr *w = &pr->p->txn;
    size_t max = pr->c->cfg.max_txn;
    return w->rc != 0 || (max != 0 && w->n + TXN_DIGEST_LEN > max) ? ZK_MARSHALLINGERROR : ZK_OK;
}

/* ---- what a change does to the parent ---- */

static void parent_gains_child(struct prep *pr, const struct view *parent)
{
    struct change *ch = change_edit(pr->c, pr->p->zxid, parent);
    ch->child_count++;
    /* Applying raises the counter only if it grows: at its end (2^31 - 1) it stays, and pzxid with it. */
    if (ch->stat.cversion != INT32_MAX) {
        ch->stat.cversion++;
        ch->stat.pzxid = pr->p->zxid;
    }
    change_seal(pr->c, ch);
}

static void parent_loses_child(struct prep *pr, const struct view *parent)
{
    struct change *ch = change_edit(pr->c, pr->p->zxid, parent);
    ch->child_count--;
    ch->stat.pzxid = pr->p->zxid;
    change_seal(pr->c, ch);
}

static void node_goes(struct prep *pr, const struct view *v)
{
    struct change *ch = change_edit(pr->c, pr->p->zxid, v);
    ch->deleted = true;
    change_set_data(ch, NULL, 0, 0);
    change_set_acl(ch, NULL, 0, 0);
    change_seal(pr->c, ch);
}

/* ---- create ---- */

static struct jstr final_name(const struct prep *pr, const struct op *op, int32_t parent_cversion)
{
    if (!zk_flag_is_sequential(op->flags))
        return op->path;
    char suffix[16];
    int n = snprintf(suffix, sizeof(suffix), "%010d", parent_cversion);
    char *p = arena_alloc(pr->a, (size_t)op->path.n + (size_t)n);
    memcpy(p, op->path.p, (size_t)op->path.n);
    memcpy(p + op->path.n, suffix, (size_t)n);
    return jstr_n(p, (size_t)op->path.n + (size_t)n);
}

static int64_t create_owner(const struct prep *pr, const struct op *op)
{
    switch (op->type) {
    case ZK_OP_CREATE_CONTAINER:
        return ZK_OWNER_CONTAINER;
    case ZK_OP_CREATE_TTL:
        return ZK_OWNER_TTL_PREFIX | op->ttl;
    default:
        return zk_flag_is_ephemeral(op->flags) ? pr->session->id : 0;
    }
}

static void create_record(struct prep *pr, const struct op *op, const struct view *node, size_t data_off, size_t acl_off,
                          size_t acl_len)
{
    struct pending *p = pr->p;
    struct change *ch = change_edit(pr->c, p->zxid, node);
    ch->deleted = false;
    ch->child_count = 0;
    ch->stat = (struct zk_stat_persisted){ .czxid = p->zxid,
                                           .mzxid = p->zxid,
                                           .pzxid = p->zxid,
                                           .ctime = p->time_ms,
                                           .mtime = p->time_ms,
                                           .ephemeral_owner = create_owner(pr, op) };
    change_set_data(ch, p, data_off, op->data.p ? op->data.n : -1);
    change_set_acl(ch, p, acl_off, acl_len);
    change_seal(pr->c, ch);
}

/* Writes the txn's body and records what it does. */
static int32_t create_write(struct prep *pr, const struct op *op, struct jacls acl, const struct view *parent,
                            const struct view *node)
{
    struct wr *w = &pr->p->txn;
    int32_t parent_cversion = (int32_t)((uint32_t)parent->stat.cversion + 1);
    jute_write_str(w, node->path);
    size_t data_off = w->n + 4;
    jute_write_buf(w, op->data);
    size_t acl_off = w->n;
    jute_write_acls(w, acl);
    size_t acl_len = w->n - acl_off;
    if (op->type == ZK_OP_CREATE || op->type == ZK_OP_CREATE2)
        wr_u8(w, zk_flag_is_ephemeral(op->flags));
    wr_i32(w, parent_cversion);
    if (op->type == ZK_OP_CREATE_TTL)
        wr_i64(w, op->ttl);
    int32_t err = check_size(pr);
    if (err)
        return err;
    parent_gains_child(pr, parent);
    create_record(pr, op, node, data_off, acl_off, acl_len);
    return ZK_OK;
}

static int32_t prep_create(struct prep *pr, const struct op *op)
{
    int32_t err;
    struct jacls acl;
    struct view parent, node;
    if ((err = check_create_mode(pr, op)) || (err = check_creator(pr, op)) || (err = check_path_roughly(op->path)) ||
        (err = acl_fixup(op->acl, pr->ids, pr->a, &acl)))
        return err;
    if (!view_find(pr->c, path_parent(op->path), &parent))
        return ZK_NONODE;
    if ((err = check_acl(pr, &parent, ZK_PERM_CREATE)))
        return err;
    struct jstr path = final_name(pr, op, parent.stat.cversion);
    if ((err = check_path_fully(path)))
        return err;
    if (view_find(pr->c, path, &node))
        return ZK_NODEEXISTS;
    if (tree_owner_kind(pr->c->tree, parent.stat.ephemeral_owner, NULL) == ZNODE_EPHEMERAL)
        return ZK_NOCHILDRENFOREPHEMERALS;
    if ((err = check_quota(pr, path, 1, op->data.p ? op->data.n : 0)))
        return err;
    return create_write(pr, op, acl, &parent, &node);
}

/* ---- the others ---- */

static int32_t prep_delete(struct prep *pr, const struct op *op)
{
    int32_t err;
    struct view parent, node;
    if ((err = check_session(pr)) || (err = check_path_roughly(op->path)))
        return err;
    if (path_is_special(op->path))
        return ZK_BADARGUMENTS;
    if (!view_find(pr->c, path_parent(op->path), &parent))
        return ZK_NONODE;
    if ((err = check_acl(pr, &parent, ZK_PERM_DELETE)))
        return err;
    if (!view_find(pr->c, op->path, &node))
        return ZK_NONODE;
    if ((err = check_version(op->version, node.stat.version)))
        return err;
    if (node.child_count > 0)
        return ZK_NOTEMPTY;
    jute_write_str(&pr->p->txn, op->path);
    if ((err = check_size(pr)))
        return err;
    parent_loses_child(pr, &parent);
    node_goes(pr, &node);
    return ZK_OK;
}

static int32_t prep_set_data(struct prep *pr, const struct op *op)
{
    int32_t err;
    struct view node;
    if ((err = check_session(pr)) || (err = check_path_fully(op->path)))
        return err;
    if (!view_find(pr->c, op->path, &node))
        return ZK_NONODE;
    if ((err = check_acl(pr, &node, ZK_PERM_WRITE)))
        return err;
    if (pr->c->cfg.enforce_quota) {
        struct jbuf old = view_data(pr->c, &node);
        err = check_quota(pr, op->path, 0, (int64_t)(op->data.p ? op->data.n : 0) - (old.p ? old.n : 0));
        if (err)
            return err;
    }
    if ((err = check_version(op->version, node.stat.version)))
        return err;
    struct wr *w = &pr->p->txn;
    jute_write_str(w, op->path);
    size_t data_off = w->n + 4;
    jute_write_buf(w, op->data);
    int32_t version = (int32_t)((uint32_t)node.stat.version + 1);
    wr_i32(w, version);
    if ((err = check_size(pr)))
        return err;
    struct change *ch = change_edit(pr->c, pr->p->zxid, &node);
    ch->stat.version = version;
    ch->stat.mzxid = pr->p->zxid;
    ch->stat.mtime = pr->p->time_ms;
    change_set_data(ch, pr->p, data_off, op->data.p ? op->data.n : -1);
    change_seal(pr->c, ch);
    return ZK_OK;
}

static int32_t prep_set_acl(struct prep *pr, const struct op *op)
{
    int32_t err;
    struct view node;
    struct jacls acl;
    if ((err = check_session(pr)) || (err = check_path_fully(op->path)) ||
        (err = acl_fixup(op->acl, pr->ids, pr->a, &acl)))
        return err;
    if (!view_find(pr->c, op->path, &node))
        return ZK_NONODE;
    if ((err = check_acl(pr, &node, ZK_PERM_ADMIN)) || (err = check_version(op->version, node.stat.aversion)))
        return err;
    struct wr *w = &pr->p->txn;
    jute_write_str(w, op->path);
    size_t acl_off = w->n;
    jute_write_acls(w, acl);
    size_t acl_len = w->n - acl_off;
    int32_t version = (int32_t)((uint32_t)node.stat.aversion + 1);
    wr_i32(w, version);
    if ((err = check_size(pr)))
        return err;
    struct change *ch = change_edit(pr->c, pr->p->zxid, &node);
    ch->stat.aversion = version;
    change_set_acl(ch, pr->p, acl_off, acl_len);
    change_seal(pr->c, ch);
    return ZK_OK;
}

static int32_t prep_check(struct prep *pr, const struct op *op)
{
    int32_t err;
    struct view node;
    if ((err = check_session(pr)) || (err = check_path_fully(op->path)))
        return err;
    if (!view_find(pr->c, op->path, &node))
        return ZK_NONODE;
    if ((err = check_acl(pr, &node, ZK_PERM_READ)) || (err = check_version(op->version, node.stat.version)))
        return err;
    jute_write_str(&pr->p->txn, op->path);
    wr_i32(&pr->p->txn, (int32_t)((uint32_t)node.stat.version + 1));
    return check_size(pr);
}

int32_t prep_op(struct prep *pr, const struct op *op)
{
    switch (op->type) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
        return prep_create(pr, op);
    case ZK_OP_DELETE:
        return prep_delete(pr, op);
    case ZK_OP_SET_DATA:
        return prep_set_data(pr, op);
    case ZK_OP_SET_ACL:
        return prep_set_acl(pr, op);
    case ZK_OP_CHECK:
        return prep_check(pr, op);
    }
    return ZK_UNIMPLEMENTED;
}

/* ---- sessions ---- */

struct close_walk {
    struct prep *pr;
    struct VEC(struct jstr) paths;
};

/* An ephemeral of the tree: still the session's once what is under way is applied? */
static void close_committed(void *data, const struct znode *n)
{
    struct close_walk *cw = data;
    struct view v;
    struct jstr path = znode_path(n, cw->pr->a);
    if (view_find(cw->pr->c, path, &v) && v.stat.ephemeral_owner == cw->pr->p->session_id)
        VEC_PUSH(&cw->paths, path);
}

/* Ephemerals that only what is under way creates. */
static void close_pending(struct close_walk *cw, const struct session *s)
{
    LIST_EACH(it, &s->owned)
    {
        const struct change *ch = CONTAINER_OF(it, struct change, owned);
        const struct znode *n = tree_find(cw->pr->c->tree, jstr_n(ch->path, (size_t)ch->path_len));
        struct zk_stat_persisted st = { 0 };
        if (n)
            znode_stat_persisted(n, &st);
        if (st.ephemeral_owner == s->id)
            continue; /* close_committed has it */
        char *copy = arena_memdup(cw->pr->a, ch->path, (size_t)ch->path_len);
        VEC_PUSH(&cw->paths, jstr_n(copy, (size_t)ch->path_len));
    }
}

/* Lists the session's ephemerals in the txn. Applying deletes what the session still owns, listed or not, so a list
 * that would make the txn too large for the log's reader is simply cut. */
static int32_t prep_close_session(struct prep *pr)
{
    struct close_walk cw = { .pr = pr };
    tree_each_ephemeral(pr->c->tree, pr->p->session_id, close_committed, &cw);
    if (pr->session)
        close_pending(&cw, pr->session);

    struct wr *w = &pr->p->txn;
    size_t count_at = w->n, max = pr->c->cfg.max_txn;
    int32_t listed = 0;
    wr_i32(w, 0);
    for (size_t i = 0; i < cw.paths.len; i++) {
        struct jstr path = cw.paths.items[i];
        if (max == 0 || w->n + 4 + (size_t)path.n + TXN_DIGEST_LEN <= max) {
            jute_write_str(w, path);
            listed++;
        }
        struct view parent, node;
        if (view_find(pr->c, path_parent(path), &parent))
            parent_loses_child(pr, &parent);
        (void)view_find(pr->c, path, &node);
        node_goes(pr, &node);
    }
    wr_patch_u32(w, count_at, (uint32_t)listed);
    VEC_FREE(&cw.paths);
    if (pr->session)
        core_session_set_closing(pr->c, pr->session);
    return ZK_OK;
}

static int32_t prep_create_session(struct prep *pr)
{
    int32_t err = check_session(pr);
    if (!err)
        wr_i32(&pr->p->txn, pr->session->timeout_ms);
    return err;
}

#define CONFIG_PATH "/zookeeper/config"

/* What the new configuration is, the ensemble's shell says; the order of the checks is the reference's, with the ACL last. */
static int32_t prep_reconfig(struct prep *pr, struct rd *r)
{
    struct core *c = pr->c;
    struct reconfig_request q;
    struct buf text = { NULL, 0 };
    struct view node;
    int32_t err;
    reconfig_request_read(r, pr->a, &q);
    if (r->rc != 0)
        return ZK_MARSHALLINGERROR;
    if (!c->cfg.reconfig)
        return ZK_RECONFIGDISABLED;
    if ((err = check_session(pr)))
        return err;
    if (c->reconfig_zxid > tree_last_zxid(c->tree))
        return ZK_RECONFIGINPROGRESS; /* ours, which the shell may not have seen yet */
    if ((err = c->cfg.reconfig(c->cfg.reconfig_data, &q, pr->p->zxid, &text)))
        return err;
    if (!view_find(c, jstr_of(CONFIG_PATH), &node))
        return ZK_NONODE;
    if ((err = check_acl(pr, &node, ZK_PERM_WRITE)))
        return err;
    struct wr *w = &pr->p->txn;
    jute_write_str(w, node.path);
    size_t data_off = w->n + 4;
    jute_write_buf(w, (struct jbuf){ text.p, (int32_t)text.n });
    wr_i32(w, -1);
    if ((err = check_size(pr)))
        return err;
    struct change *ch = change_edit(c, pr->p->zxid, &node);
    ch->stat.version = -1;
    ch->stat.mzxid = pr->p->zxid;
    ch->stat.mtime = pr->p->time_ms;
    change_set_data(ch, pr->p, data_off, (int32_t)text.n);
    change_seal(c, ch);
    c->reconfig_zxid = pr->p->zxid;
    return ZK_OK;
}

/* ---- whole requests ---- */

static int32_t prep_dispatch(struct prep *pr, struct rd *r)
{
    struct op op;
    switch (pr->p->op) {
    case ZK_OP_MULTI:
        return prep_multi(pr, r);
    case ZK_OP_RECONFIG:
        return prep_reconfig(pr, r);
    case ZK_OP_CLOSE_SESSION:
        return prep_close_session(pr);
    case ZK_OP_CREATE_SESSION:
        return prep_create_session(pr);
    }
    if (pr->p->op == ZK_OP_CHECK || !op_decode(r, pr->a, pr->p->op, &op))
        return ZK_UNIMPLEMENTED;
    return r->rc != 0 ? ZK_MARSHALLINGERROR : prep_op(pr, &op);
}

static void prep_begin(struct prep *pr)
{
    struct pending *p = pr->p;
    overlay_begin(pr->c);
    txn_header_write(&p->txn, &(struct txn_header){ .client_id = p->session_id,
                                                    .cxid = p->xid,
                                                    .zxid = p->zxid,
                                                    .time_ms = p->time_ms,
                                                    .type = p->op });
    p->txn_type = p->op;
}

/* A refused write becomes a transaction that changes nothing: every zxid is in the log. */
static void prep_end(struct prep *pr, int32_t err)
{
    struct pending *p = pr->p;
    if (err) {
        overlay_rollback(pr->c);
        p->txn.n = TXN_HEADER_LEN;
        p->txn.rc = 0;
        p->txn_type = ZK_OP_ERROR;
        p->err = err;
        wr_patch_u32(&p->txn, TXN_TYPE_OFFSET, (uint32_t)ZK_OP_ERROR);
        wr_i32(&p->txn, err);
    } else {
        overlay_commit(pr->c);
    }
    p->body_len = p->txn.n - TXN_HEADER_LEN;
    p->has_digest = !err && !pr->c->cfg.no_digest;
    if (p->has_digest) {
        p->digest = pr->c->overlay.digest;
        txn_digest_write(&p->txn,
                         &(struct txn_digest){ .version = DIGEST_VERSION, .tree_digest = (int64_t)p->digest });
    }
    ASSERT(p->txn.rc == 0);
}

void prep_request(struct prep *pr, struct buf body)
{
    struct rd r = rd_init(body.p ? body.p : (const uint8_t *)"", body.n);
    prep_begin(pr);
    prep_end(pr, prep_dispatch(pr, &r));
}

void prep_refusal(struct prep *pr, int32_t err)
{
    prep_begin(pr);
    prep_end(pr, err);
}

static int32_t prep_delete_container_checked(struct prep *pr, struct jstr path)
{
    struct view node, parent;
    if (check_path_roughly(path) || path_is_special(path))
        return ZK_BADARGUMENTS;
    if (!view_find(pr->c, path, &node))
        return ZK_NONODE;
    if (node.child_count > 0)
        return ZK_NOTEMPTY;
    if (tree_owner_kind(pr->c->tree, node.stat.ephemeral_owner, NULL) == ZNODE_EPHEMERAL)
        return ZK_BADVERSION;
    if (!view_find(pr->c, path_parent(path), &parent))
        return ZK_NONODE;
    jute_write_str(&pr->p->txn, path);
    parent_loses_child(pr, &parent);
    node_goes(pr, &node);
    return ZK_OK;
}

void prep_delete_container(struct prep *pr, struct jstr path)
{
    prep_begin(pr);
    prep_end(pr, prep_delete_container_checked(pr, path));
}
