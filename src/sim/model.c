/* model.c - see model.h. */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>

#include "zxids.h"

/* ---- looking ---- */

static struct buf key_of(struct jstr path)
{
    return buf_of(path.p, (size_t)path.n);
}

const struct model_path *model_path(const struct model *m, struct jstr path)
{
    return path.p ? strmap_get(&m->by_path, key_of(path)) : NULL;
}

const struct model_node *model_at(const struct model *m, struct jstr path, int64_t zxid)
{
    const struct model_path *p = model_path(m, path);
    size_t i = p ? zxid_upto(p->versions.items, p->versions.len, sizeof(*p->versions.items), zxid) : 0;

    return i > 0 && p->versions.items[i - 1].exists ? &p->versions.items[i - 1] : NULL;
}

const struct model_txn *model_txn(const struct model *m, int64_t zxid)
{
    return ZXID_FIND(&m->txns, zxid);
}

const struct model_session *model_session(const struct model *m, int64_t id)
{
    uintptr_t at = (uintptr_t)u64map_get(&m->session_at, (uint64_t)id);

    return at ? &m->sessions.items[at - 1] : NULL;
}

bool model_knows(const struct model *m, int64_t zxid)
{
    return (zxid & 0xffffffff) == 0 || model_txn(m, zxid);
}

int64_t model_last_zxid(const struct model *m)
{
    return m->txns.len > 0 ? m->txns.items[m->txns.len - 1].zxid : 0;
}

bool model_is_ephemeral(const struct model *m, int64_t owner)
{
    if (owner == 0 || owner == ZK_OWNER_CONTAINER)
        return false;
    return !m->extended_types || (uint64_t)owner >> 56 != 0xff;
}

void model_stat(const struct model *m, const struct model_node *n, struct zk_stat *ret)
{
    const struct zk_stat_persisted *s = &n->stat;

    *ret = (struct zk_stat){ .czxid = s->czxid, .mzxid = s->mzxid, .pzxid = s->pzxid, .ctime = s->ctime, .mtime = s->mtime,
                             .version = s->version, .aversion = s->aversion, .cversion = 2 * s->cversion - n->children,
                             .ephemeral_owner = model_is_ephemeral(m, s->ephemeral_owner) ? s->ephemeral_owner : 0,
                             .data_length = MAX(n->data.n, 0), .num_children = n->children };
}

bool model_allows(struct jacls acl, int32_t perm)
{
    if (acl.n <= 0)
        return true;
    for (int32_t i = 0; i < acl.n; i++)
        if (acl.v[i].perms & perm && jstr_is(acl.v[i].scheme, "world") && jstr_is(acl.v[i].id, "anyone"))
            return true;
    return false;
}

struct jstr model_parent(struct jstr path)
{
    int32_t n = path.n;

    while (n > 0 && path.p[n - 1] != '/')
        n--;
    return n <= 1 ? jstr_of("/") : jstr_n(path.p, (size_t)n - 1);
}

static struct jstr name_of(struct jstr path)
{
    int32_t n = path.n;

    while (n > 0 && path.p[n - 1] != '/')
        n--;
    return jstr_n(path.p + n, (size_t)(path.n - n));
}

/* ---- what a write must be answered with ---- */

static int32_t verdict_create(const struct model *m, const struct hist_step *s, int64_t zxid)
{
    const struct model_node *parent = model_at(m, model_parent(s->path), zxid);

    if (zk_flag_is_ttl(s->flags) && !m->extended_types)
        return ZK_UNIMPLEMENTED;
    if (!parent)
        return ZK_NONODE;
    if (!model_allows(parent->acl, ZK_PERM_CREATE))
        return ZK_NOAUTH;
    if (!zk_flag_is_sequential(s->flags) && model_at(m, s->path, zxid))
        return ZK_NODEEXISTS;
    return model_is_ephemeral(m, parent->stat.ephemeral_owner) ? ZK_NOCHILDRENFOREPHEMERALS : ZK_OK;
}

static int32_t verdict_delete(const struct model *m, const struct hist_step *s, int64_t zxid)
{
    const struct model_node *parent = model_at(m, model_parent(s->path), zxid), *n = model_at(m, s->path, zxid);

    if (!parent)
        return ZK_NONODE;
    if (!model_allows(parent->acl, ZK_PERM_DELETE))
        return ZK_NOAUTH;
    if (!n)
        return ZK_NONODE;
    if (s->version != -1 && s->version != n->stat.version)
        return ZK_BADVERSION;
    return n->children > 0 ? ZK_NOTEMPTY : ZK_OK;
}

int32_t model_verdict(const struct model *m, const struct hist_step *s, int64_t zxid)
{
    const struct model_node *n = model_at(m, s->path, zxid);
    int32_t perm = s->op == ZK_OP_SET_DATA ? ZK_PERM_WRITE : s->op == ZK_OP_SET_ACL ? ZK_PERM_ADMIN : ZK_PERM_READ;

    switch (s->op) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
        return verdict_create(m, s, zxid);
    case ZK_OP_DELETE:
        return verdict_delete(m, s, zxid);
    case ZK_OP_SET_DATA:
    case ZK_OP_SET_ACL:
    case ZK_OP_CHECK:
        if (!n)
            return ZK_NONODE;
        if (!model_allows(n->acl, perm))
            return ZK_NOAUTH;
        if (s->version != -1 && s->version != (s->op == ZK_OP_SET_ACL ? n->stat.aversion : n->stat.version))
            return ZK_BADVERSION;
        return ZK_OK;
    }
    return ZK_OK;
}

/* ---- replaying ---- */

struct replay {
    struct model *m;
    struct txn_header h;
    int64_t at_us;
};

static void problem(struct replay *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(struct replay *r, const char *fmt, ...)
{
    va_list ap;
    char text[512];

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* a long one is cut: it is for people */
    va_end(ap);
    struct model_problem p = { r->h.zxid, r->at_us,
                               arena_printf(&r->m->arena, "transaction 0x%llx (%s, session 0x%llx, cxid %d): %s",
                                            (unsigned long long)r->h.zxid, zk_op_name(r->h.type),
                                            (unsigned long long)r->h.client_id, r->h.cxid, text) };
    VEC_PUSH(&r->m->problems, p);
}

static struct model_path *path_of(struct model *m, struct jstr path)
{
    struct model_path *p = strmap_get(&m->by_path, key_of(path));

    if (!p) {
        p = arena_calloc(&m->arena, 1, sizeof(*p));
        p->path = jstr_n(arena_memdup(&m->arena, path.p, (size_t)path.n), (size_t)path.n);
        (void)strmap_set(&m->by_path, key_of(p->path), p);
        VEC_PUSH(&m->paths, p);
    }
    return p;
}

/* The version of this transaction, a copy of the one before unless there is one already. Valid until the path's next. */
static struct model_node *touch(struct replay *r, struct model_path *p)
{
    struct model_node n = p->versions.len > 0 ? p->versions.items[p->versions.len - 1] : (struct model_node){ 0 };

    if (p->versions.len > 0 && n.zxid == r->h.zxid && r->h.zxid != 0)
        return &p->versions.items[p->versions.len - 1];
    n.zxid = r->h.zxid;
    VEC_PUSH(&p->versions, n);
    return &p->versions.items[p->versions.len - 1];
}

static const struct model_node *now(const struct replay *r, struct jstr path)
{
    return model_at(r->m, path, r->h.zxid);
}

static void trigger(struct replay *r, enum zk_event_type type, bool child, struct jstr path, struct jacls acl)
{
    struct model_trigger t = { r->h.zxid, type, child, path, acl };

    VEC_PUSH(&r->m->triggers, t);
}

/* An own copy: what a transaction brings may lie in memory that is reused. */
static struct jacls acl_copy(struct model *m, struct jacls l)
{
    struct jacls c = { arena_calloc(&m->arena, (size_t)MAX(l.n, 1), sizeof(struct jacl)), l.n };

    for (int32_t i = 0; i < l.n; i++)
        c.v[i] = l.v[i];
    return c;
}

struct creation {
    struct jstr path;
    struct jbuf data;
    struct jacls acl;
    int64_t owner;
    int32_t parent_cversion;
};

static void add_child(struct model_path *parent, struct model_path *p, int64_t zxid)
{
    struct model_child c = { name_of(p->path), zxid, INT64_MAX };

    p->in_parent = parent->children.len;
    VEC_PUSH(&parent->children, c);
}

static void apply_create(struct replay *r, const struct creation *c)
{
    struct jstr up = model_parent(c->path);
    const struct model_node *parent = now(r, up);

    if (now(r, c->path)) {
        problem(r, "creates %.*s, which is there", c->path.n, c->path.p);
        return;
    }
    if (!parent) {
        problem(r, "creates %.*s, whose parent is not there", c->path.n, c->path.p);
        return;
    }
    if (model_is_ephemeral(r->m, parent->stat.ephemeral_owner))
        problem(r, "creates %.*s under an ephemeral", c->path.n, c->path.p);
    if (c->parent_cversion != parent->stat.cversion + 1)
        problem(r, "creates %.*s with the parent's cversion %d, which was %d", c->path.n, c->path.p, c->parent_cversion,
                parent->stat.cversion);
    const struct model_session *s = model_session(r->m, c->owner);
    if (model_is_ephemeral(r->m, c->owner) && (!s || s->closed != INT64_MAX))
        problem(r, "creates the ephemeral %.*s of a session that is not open", c->path.n, c->path.p);
    struct model_path *p = path_of(r->m, c->path), *q = path_of(r->m, up);
    struct model_node *n = touch(r, p);
    n->exists = true;
    n->data = c->data;
    n->acl = acl_copy(r->m, c->acl);
    n->children = 0;
    n->stat = (struct zk_stat_persisted){ .czxid = r->h.zxid, .mzxid = r->h.zxid, .pzxid = r->h.zxid, .ctime = r->h.time_ms,
                                          .mtime = r->h.time_ms, .ephemeral_owner = c->owner };
    trigger(r, ZK_EVENT_CREATED, false, p->path, n->acl);
    n = touch(r, q);
    n->children++;
    n->stat.cversion++;
    n->stat.pzxid = r->h.zxid;
    add_child(q, p, r->h.zxid);
    trigger(r, ZK_EVENT_CHILDREN_CHANGED, true, q->path, n->acl);
}

static void apply_delete(struct replay *r, struct jstr path)
{
    const struct model_node *there = now(r, path);
    struct model_path *p = path_of(r->m, path), *q = path_of(r->m, model_parent(path));

    if (!there) {
        problem(r, "deletes %.*s, which is not there", path.n, path.p);
        return;
    }
    if (there->children > 0)
        problem(r, "deletes %.*s, which has %d children", path.n, path.p, there->children);
    struct model_node *n = touch(r, p);
    n->exists = false;
    trigger(r, ZK_EVENT_DELETED, false, p->path, n->acl);
    n = touch(r, q);
    n->children--;
    n->stat.pzxid = r->h.zxid;
    q->children.items[p->in_parent].until = r->h.zxid;
    trigger(r, ZK_EVENT_CHILDREN_CHANGED, true, q->path, n->acl);
}

static void apply_delete_container(struct replay *r, struct jstr path)
{
    const struct model_node *n = now(r, path);

    if (n && (n->stat.ephemeral_owner == 0 || model_is_ephemeral(r->m, n->stat.ephemeral_owner)))
        problem(r, "reaps %.*s, which is no container and has no TTL", path.n, path.p);
    apply_delete(r, path);
}

static void put_data(struct replay *r, const struct set_data_request *q)
{
    struct model_path *p = path_of(r->m, q->path);
    struct model_node *n = touch(r, p);

    n->data = q->data;
    n->stat.version = q->version;
    n->stat.mzxid = r->h.zxid;
    n->stat.mtime = r->h.time_ms;
    trigger(r, ZK_EVENT_DATA_CHANGED, false, p->path, n->acl);
}

static void apply_set_data(struct replay *r, const struct set_data_request *q)
{
    const struct model_node *there = now(r, q->path);

    if (!there) {
        problem(r, "writes %.*s, which is not there", q->path.n, q->path.p);
        return;
    }
    if (q->version != there->stat.version + 1)
        problem(r, "gives %.*s version %d after %d", q->path.n, q->path.p, q->version, there->stat.version);
    put_data(r, q);
}

static void apply_set_acl(struct replay *r, const struct set_acl_request *q)
{
    const struct model_node *there = now(r, q->path);

    if (!there) {
        problem(r, "sets the ACL of %.*s, which is not there", q->path.n, q->path.p);
        return;
    }
    if (q->version != there->stat.aversion + 1)
        problem(r, "gives the ACL of %.*s version %d after %d", q->path.n, q->path.p, q->version, there->stat.aversion);
    struct model_node *n = touch(r, path_of(r->m, q->path));
    n->acl = acl_copy(r->m, q->acl);
    n->stat.aversion = q->version;
}

static void apply_create_session(struct replay *r, int32_t timeout_ms)
{
    struct model_session s = { .id = r->h.client_id, .timeout_ms = timeout_ms, .opened = r->h.zxid, .closed = INT64_MAX,
                               .opened_us = r->at_us };

    if (model_session(r->m, s.id)) {
        problem(r, "opens a session that was opened before");
        return;
    }
    VEC_PUSH(&r->m->sessions, s);
    (void)u64map_set(&r->m->session_at, (uint64_t)s.id, (void *)(uintptr_t)r->m->sessions.len);
}

static void apply_close_session(struct replay *r, struct jstrs paths)
{
    uintptr_t at = (uintptr_t)u64map_get(&r->m->session_at, (uint64_t)r->h.client_id);
    size_t owned = 0;

    for (size_t i = 0; i < r->m->paths.len; i++) {
        const struct model_path *p = r->m->paths.items[i];
        const struct model_node *n = &p->versions.items[p->versions.len - 1];

        owned += n->exists && n->stat.ephemeral_owner == r->h.client_id;
    }
    for (int32_t i = 0; i < paths.n; i++) {
        const struct model_node *n = now(r, paths.v[i]);

        if (!n || n->stat.ephemeral_owner != r->h.client_id)
            problem(r, "closing the session deletes %.*s, which is not its", paths.v[i].n, paths.v[i].p);
        if (n)
            apply_delete(r, paths.v[i]);
    }
    if ((size_t)MAX(paths.n, 0) != owned)
        problem(r, "closing the session deletes %d nodes, but it owned %zu", paths.n, owned);
    if (!at)
        return; /* closing an unknown session is no error */
    struct model_session *s = &r->m->sessions.items[at - 1];
    if (s->closed != INT64_MAX)
        return;
    s->closed = r->h.zxid;
    s->closed_us = r->at_us;
    s->by_client = r->h.cxid != 0;
}

static void note_stat(struct replay *r, struct model_effect *e)
{
    const struct model_node *n = e->path.p ? now(r, e->path) : NULL;

    if (n)
        model_stat(r->m, n, &e->stat);
}

/* Undecodable ones are problems. */
static void apply_one(struct replay *r, int32_t type, struct rd *in, struct model_effect *e)
{
    struct arena *a = &r->m->arena;
    struct create_txn c;
    struct create_ttl_txn ttl;
    struct create_container_txn box;
    struct path_only path;
    struct set_data_request set;
    struct set_acl_request acl;
    struct path_version check;
    struct close_session_txn close;
    const struct model_node *n;

    e->type = type;
    switch (type) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
        create_txn_read(in, a, &c);
        e->path = c.path;
        e->data = c.data;
        if (in->rc == 0)
            apply_create(r, &(struct creation){ c.path, c.data, c.acl, c.ephemeral ? r->h.client_id : 0, c.parent_cversion });
        break;
    case ZK_OP_CREATE_TTL:
        create_ttl_txn_read(in, a, &ttl);
        e->path = ttl.path;
        e->data = ttl.data;
        if (in->rc == 0)
            apply_create(r, &(struct creation){ ttl.path, ttl.data, ttl.acl, ZK_OWNER_TTL_PREFIX | ttl.ttl, ttl.parent_cversion });
        break;
    case ZK_OP_CREATE_CONTAINER:
        create_container_txn_read(in, a, &box);
        e->path = box.path;
        e->data = box.data;
        if (in->rc == 0)
            apply_create(r, &(struct creation){ box.path, box.data, box.acl, ZK_OWNER_CONTAINER, box.parent_cversion });
        break;
    case ZK_OP_DELETE:
    case ZK_OP_DELETE_CONTAINER:
        path_only_read(in, a, &path);
        e->path = path.path;
        if (in->rc == 0 && type == ZK_OP_DELETE)
            apply_delete(r, path.path);
        else if (in->rc == 0)
            apply_delete_container(r, path.path);
        break;
    case ZK_OP_SET_DATA:
    case ZK_OP_RECONFIG:
        set_data_request_read(in, a, &set);
        e->path = set.path;
        e->data = set.data;
        e->version = set.version;
        if (in->rc == 0 && type == ZK_OP_SET_DATA)
            apply_set_data(r, &set);
        else if (in->rc == 0)
            put_data(r, &set); /* /zookeeper/config, whose version stays -1 */
        break;
    case ZK_OP_SET_ACL:
        set_acl_request_read(in, a, &acl);
        e->path = acl.path;
        e->version = acl.version;
        if (in->rc == 0)
            apply_set_acl(r, &acl);
        break;
    case ZK_OP_CHECK:
        path_version_read(in, a, &check);
        e->path = check.path;
        e->version = check.version;
        n = in->rc == 0 ? now(r, check.path) : NULL;
        if (!n || check.version != n->stat.version + 1)
            problem(r, "checks %.*s for what it is not", e->path.n, e->path.p);
        break;
    case ZK_OP_CREATE_SESSION:
        apply_create_session(r, rd_i32(in));
        break;
    case ZK_OP_CLOSE_SESSION:
        close_session_txn_read(in, a, &close);
        apply_close_session(r, close.paths);
        break;
    case ZK_OP_ERROR:
        e->err = rd_i32(in);
        break;
    default:
        problem(r, "of unknown type %d", type);
    }
    if (in->rc != 0)
        problem(r, "cannot be decoded");
    note_stat(r, e);
}

static void apply_multi(struct replay *r, struct rd *in, struct model_txn *t)
{
    struct multi_txn q;
    bool failed = false;

    multi_txn_read(in, &r->m->arena, &q);
    if (in->rc != 0) {
        problem(r, "cannot be decoded");
        return;
    }
    t->step_count = (uint32_t)MAX(q.txns.n, 0);
    t->steps = arena_calloc(&r->m->arena, t->step_count, sizeof(*t->steps));
    for (int32_t i = 0; i < q.txns.n; i++)
        failed |= q.txns.v[i].type == ZK_OP_ERROR;
    t->failed = failed;
    for (int32_t i = 0; i < q.txns.n; i++) {
        struct rd step = rd_init(q.txns.v[i].data.p, (size_t)MAX(q.txns.v[i].data.n, 0));

        if (!failed || q.txns.v[i].type == ZK_OP_ERROR)
            apply_one(r, q.txns.v[i].type, &step, &t->steps[i]);
    }
}

static void check_zxid(struct replay *r)
{
    int64_t last = model_last_zxid(r->m), z = r->h.zxid;

    if (r->m->txns.len == 0 || z >> 32 != last >> 32) {
        if (z <= last || (z & 0xffffffff) != 1)
            problem(r, "follows 0x%llx", (unsigned long long)last);
    } else if (z != last + 1) {
        problem(r, "follows 0x%llx", (unsigned long long)last);
    }
}

static void replay_txn(struct model *m, const struct check_commit *c)
{
    struct replay r = { .m = m, .at_us = c->at_us };
    struct rd in = rd_buf(c->txn);

    txn_header_read(&in, &m->arena, &r.h);
    if (in.rc != 0 || r.h.zxid != c->zxid) {
        r.h.zxid = c->zxid;
        problem(&r, "its header is not what it was committed as");
        return;
    }
    check_zxid(&r);
    if (m->txns.len > 0 && r.h.zxid <= model_last_zxid(m))
        return; /* reported; the rest would only confuse */
    struct model_txn t = { .zxid = r.h.zxid, .session_id = r.h.client_id, .time_ms = r.h.time_ms, .at_us = c->at_us,
                           .cxid = r.h.cxid, .type = r.h.type };
    if (t.type == ZK_OP_MULTI) {
        apply_multi(&r, &in, &t);
    } else {
        t.steps = arena_calloc(&m->arena, 1, sizeof(*t.steps));
        t.step_count = 1;
        t.failed = t.type == ZK_OP_ERROR;
        apply_one(&r, t.type, &in, &t.steps[0]);
    }
    VEC_PUSH(&m->txns, t);
}

/* ---- life ---- */

static void reserved(struct model *m, const char *path, int32_t children)
{
    struct model_path *p = path_of(m, jstr_of(path));
    struct model_node n = { .exists = true, .data = { (const uint8_t *)"", 0 }, .acl = { NULL, -1 }, .children = children };

    VEC_PUSH(&p->versions, n);
    if (p->path.n > 1)
        add_child(path_of(m, model_parent(p->path)), p, 0);
}

struct model *model_new(const struct check_commit *log, size_t len, bool extended_types)
{
    struct model *m = x_calloc(1, sizeof(*m));

    m->extended_types = extended_types;
    reserved(m, "/", 1);
    reserved(m, "/zookeeper", 2);
    reserved(m, "/zookeeper/config", 0);
    reserved(m, "/zookeeper/quota", 0);
    for (size_t i = 0; i < len; i++)
        replay_txn(m, &log[i]);
    return m;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->paths.len; i++) {
        VEC_FREE(&m->paths.items[i]->versions);
        VEC_FREE(&m->paths.items[i]->children);
    }
    strmap_free(&m->by_path, NULL);
    u64map_free(&m->session_at, NULL);
    VEC_FREE(&m->paths);
    VEC_FREE(&m->txns);
    VEC_FREE(&m->triggers);
    VEC_FREE(&m->sessions);
    VEC_FREE(&m->problems);
    arena_free(&m->arena);
    free(m);
}
