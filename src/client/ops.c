/* ops.c - bodies of requests and replies. */
#include "ops.h"

void ops_write_path(struct wr *w, const char *chroot, const char *path)
{
    size_t root = strlen(chroot), n = strlen(path);
    if (root && n == 1)
        n = 0;
    wr_u32(w, (uint32_t)(root + n));
    wr_bytes(w, chroot, root);
    wr_bytes(w, path, n);
}

char *ops_server_path(const char *chroot, const char *path)
{
    return x_asprintf("%s%s", chroot, *chroot && strcmp(path, "/") == 0 ? "" : path);
}

const char *ops_client_path(const char *chroot, const char *path)
{
    size_t n = strlen(chroot);
    if (n == 0 || strncmp(path, chroot, n) != 0 || (path[n] != '/' && path[n] != 0))
        return path;
    return path[n] ? path + n : "/";
}

void ops_write_acls(struct wr *w, const struct quoll_acl *acls, size_t count)
{
    static const struct quoll_acl open_acl = { QUOLL_PERM_ALL, "world", "anyone" };
    if (!acls)
        acls = &open_acl, count = 1;
    wr_u32(w, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        wr_i32(w, acls[i].perms);
        jute_write_str(w, jstr_of(acls[i].scheme));
        jute_write_str(w, jstr_of(acls[i].id));
    }
}

const char *ops_path_problem(const char *path, bool sequential)
{
    size_t n = path ? strlen(path) : 0;
    if (n >= INT32_MAX)
        return "path is too long";
    if (!sequential || !path)
        return zk_path_problem(path, (int32_t)n);
    char *with_digit = x_asprintf("%s1", path);
    const char *problem = zk_path_problem(with_digit, (int32_t)n + 1);
    free(with_digit);
    return problem;
}

int32_t ops_create_opcode(enum quoll_create_mode mode)
{
    if (mode == QUOLL_CONTAINER)
        return ZK_OP_CREATE_CONTAINER;
    return zk_flag_is_ttl((int32_t)mode) ? ZK_OP_CREATE_TTL : ZK_OP_CREATE2;
}

static void write_data(struct wr *w, const void *value, size_t len)
{
    wr_i32(w, value ? (int32_t)len : -1);
    if (value)
        wr_bytes(w, value, len);
}

void ops_write_create(struct wr *w, const char *chroot, const char *path, const void *value, size_t len,
                      const struct quoll_acl *acls, size_t acl_count, enum quoll_create_mode mode, int64_t ttl_ms)
{
    ops_write_path(w, chroot, path);
    write_data(w, value, len);
    ops_write_acls(w, acls, acl_count);
    wr_i32(w, (int32_t)mode);
    if (zk_flag_is_ttl((int32_t)mode))
        wr_i64(w, ttl_ms);
}

int ops_check_step(const struct quoll_op *op, bool reads)
{
    bool create = op->type == QUOLL_OP_CREATE;
    if ((unsigned)op->type > QUOLL_OP_GET_CHILDREN || (unsigned)op->mode > QUOLL_PERSISTENT_SEQUENTIAL_TTL)
        return QUOLL_BAD_ARGUMENTS;
    if ((op->type == QUOLL_OP_GET || op->type == QUOLL_OP_GET_CHILDREN) != reads)
        return QUOLL_BAD_ARGUMENTS;
    if (ops_path_problem(op->path, create && zk_flag_is_sequential((int32_t)op->mode)))
        return QUOLL_BAD_ARGUMENTS;
    if ((!op->value && op->len) || op->len > INT32_MAX || (!op->acls && op->acl_count))
        return QUOLL_BAD_ARGUMENTS;
    return 0;
}

static int32_t step_opcode(const struct quoll_op *op)
{
    switch (op->type) {
    case QUOLL_OP_CREATE:
        return ops_create_opcode(op->mode);
    case QUOLL_OP_DELETE:
        return ZK_OP_DELETE;
    case QUOLL_OP_SET:
        return ZK_OP_SET_DATA;
    case QUOLL_OP_CHECK:
        return ZK_OP_CHECK;
    case QUOLL_OP_GET:
        return ZK_OP_GET_DATA;
    case QUOLL_OP_GET_CHILDREN:
        return ZK_OP_GET_CHILDREN;
    }
    return ZK_OP_ERROR;
}

void ops_write_multi(struct wr *w, const char *chroot, const struct quoll_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct quoll_op *op = &ops[i];
        struct multi_header h = { .type = step_opcode(op), .done = false, .err = -1 };
        multi_header_write(w, &h);
        if (op->type == QUOLL_OP_CREATE) {
            ops_write_create(w, chroot, op->path, op->value, op->len, op->acls, op->acl_count, op->mode, op->ttl_ms);
            continue;
        }
        ops_write_path(w, chroot, op->path);
        if (op->type == QUOLL_OP_SET)
            write_data(w, op->value, op->len);
        if (op->type == QUOLL_OP_GET || op->type == QUOLL_OP_GET_CHILDREN)
            wr_u8(w, 0); /* the watch flag, which servers ignore here */
        else
            wr_i32(w, op->version);
    }
    jute_write_multi_end(w);
}

/* ---- replies ---- */

static const char *text_of(struct arena *a, struct jstr s)
{
    return s.p ? arena_strdup(a, buf_of(s.p, (size_t)s.n)) : NULL;
}

static const char *path_of(struct arena *a, const char *chroot, struct jstr s)
{
    const char *text = text_of(a, s);
    return text ? ops_client_path(chroot, text) : NULL;
}

static struct quoll_stat *read_stat(struct rd *r, struct arena *a)
{
    struct zk_stat z;
    struct quoll_stat *s = arena_alloc(a, sizeof(*s));
    zk_stat_read(r, &z);
    *s = (struct quoll_stat){ .czxid = z.czxid, .mzxid = z.mzxid, .ctime = z.ctime, .mtime = z.mtime,
                              .version = z.version, .cversion = z.cversion, .aversion = z.aversion,
                              .ephemeral_owner = z.ephemeral_owner, .data_length = z.data_length,
                              .num_children = z.num_children, .pzxid = z.pzxid };
    return s;
}

static void read_texts(struct rd *r, struct arena *a, const char *chroot, struct quoll_result *ret)
{
    struct jstrs l = jute_read_strs(r, a);
    if (r->rc != 0 || l.n <= 0)
        return;
    const char **texts = arena_alloc(a, (size_t)l.n * sizeof(*texts));
    for (int32_t i = 0; i < l.n; i++) {
        if (!l.v[i].p) {
            rd_fail(r, RC_MALFORMED);
            return;
        }
        texts[i] = path_of(a, chroot, l.v[i]);
    }
    ret->children = texts;
    ret->child_count = (size_t)l.n;
}

static void read_data(struct rd *r, struct quoll_result *ret)
{
    struct jbuf b = jute_read_buf(r);
    ret->data = b.p;
    ret->data_len = (size_t)b.n;
}

static void read_acls(struct rd *r, struct arena *a, struct quoll_result *ret)
{
    struct jacls l = jute_read_acls(r, a);
    if (r->rc != 0 || l.n <= 0)
        return;
    struct quoll_acl *acls = arena_calloc(a, (size_t)l.n, sizeof(*acls));
    for (int32_t i = 0; i < l.n; i++) {
        acls[i].perms = l.v[i].perms;
        acls[i].scheme = l.v[i].scheme.p ? text_of(a, l.v[i].scheme) : "";
        acls[i].id = l.v[i].id.p ? text_of(a, l.v[i].id) : "";
    }
    ret->acls = acls;
    ret->acl_count = (size_t)l.n;
}

static void read_identities(struct rd *r, struct arena *a, struct quoll_result *ret)
{
    struct who_am_i_response res;
    who_am_i_response_read(r, a, &res);
    if (r->rc != 0 || res.ids.n <= 0)
        return;
    struct quoll_acl *ids = arena_calloc(a, (size_t)res.ids.n, sizeof(*ids));
    for (int32_t i = 0; i < res.ids.n; i++) {
        ids[i].scheme = res.ids.v[i].scheme.p ? text_of(a, res.ids.v[i].scheme) : "";
        ids[i].id = res.ids.v[i].id.p ? text_of(a, res.ids.v[i].id) : "";
    }
    ret->acls = ids;
    ret->acl_count = (size_t)res.ids.n;
}

static void read_step(int32_t type, struct rd *r, struct arena *a, const char *chroot, struct quoll_result *ret)
{
    switch (type) {
    case ZK_OP_ERROR:
        ret->err = rd_i32(r);
        break;
    case ZK_OP_CREATE:
        ret->path = path_of(a, chroot, jute_read_str(r));
        break;
    case ZK_OP_CREATE2: /* also of containers and TTL nodes */
    case ZK_OP_CREATE_TTL:
    case ZK_OP_CREATE_CONTAINER:
        ret->path = path_of(a, chroot, jute_read_str(r));
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_SET_DATA:
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_DELETE:
    case ZK_OP_CHECK:
        break;
    case ZK_OP_GET_DATA:
        read_data(r, ret);
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_GET_CHILDREN:
        read_texts(r, a, "", ret);
        break;
    default:
        rd_fail(r, RC_MALFORMED);
    }
}

static void read_multi(struct rd *r, struct arena *a, const char *chroot, struct quoll_result *ret)
{
    struct VEC(struct quoll_result) steps = { 0 };
    for (;;) {
        struct multi_header h;
        multi_header_read(r, a, &h);
        if (r->rc != 0 || h.done)
            break;
        struct quoll_result step = { 0 };
        read_step(h.type, r, a, chroot, &step);
        if (r->rc != 0)
            break;
        if (ret->err == 0)
            ret->err = step.err;
        VEC_PUSH(&steps, step);
    }
    if (r->rc == 0) {
        ret->results = arena_memdup(a, steps.items, steps.len * sizeof(*steps.items));
        ret->result_count = steps.len;
    }
    VEC_FREE(&steps);
}

int ops_read_reply(int32_t opcode, struct rd *r, struct arena *a, const char *chroot, struct quoll_result *ret)
{
    switch (opcode) {
    case ZK_OP_CREATE:
    case ZK_OP_CREATE2:
    case ZK_OP_CREATE_CONTAINER:
    case ZK_OP_CREATE_TTL:
        ret->path = path_of(a, chroot, jute_read_str(r));
        if (opcode != ZK_OP_CREATE && rd_left(r) > 0)
            ret->stat = read_stat(r, a);
        break;
    case ZK_OP_EXISTS:
    case ZK_OP_SET_DATA:
    case ZK_OP_SET_ACL:
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_GET_DATA:
    case ZK_OP_RECONFIG:
        read_data(r, ret);
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_GET_ACL:
        read_acls(r, a, ret);
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_GET_CHILDREN2:
        read_texts(r, a, "", ret);
        ret->stat = read_stat(r, a);
        break;
    case ZK_OP_GET_EPHEMERALS:
        read_texts(r, a, chroot, ret);
        break;
    case ZK_OP_SYNC:
        ret->path = path_of(a, chroot, jute_read_str(r));
        break;
    case ZK_OP_GET_ALL_CHILDREN_NUMBER:
        ret->count = rd_i32(r);
        break;
    case ZK_OP_WHO_AM_I:
        read_identities(r, a, ret);
        break;
    case ZK_OP_MULTI:
    case ZK_OP_MULTI_READ:
        read_multi(r, a, chroot, ret);
        break;
    default: /* delete, addWatch, removeWatches, checkWatches, closeSession: nothing that we need */
        break;
    }
    return r->rc;
}
