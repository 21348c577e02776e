/* store_util.c - see store_util.h. */
#include "store_util.h"

#include <dirent.h>
#include <stdio.h>

#include "base/str.h"

static struct wr begin(int64_t zxid, int64_t session, int32_t type)
{
    struct wr w = wr_init(0);
    struct txn_header h = { .client_id = session, .cxid = (int32_t)zxid, .zxid = zxid, .time_ms = 1700000000000 + zxid * 7,
                            .type = type };
    txn_header_write(&w, &h);
    return w;
}

struct wr txn_session(int64_t zxid, int64_t session, int32_t timeout_ms)
{
    struct wr w = begin(zxid, session, ZK_OP_CREATE_SESSION);
    create_session_txn_write(&w, &(struct create_session_txn){ timeout_ms });
    return w;
}

struct wr txn_close(int64_t zxid, int64_t session, const char *ephemeral)
{
    struct wr w = begin(zxid, session, ZK_OP_CLOSE_SESSION);
    struct jstr path = jstr_of(ephemeral);
    close_session_txn_write(&w, &(struct close_session_txn){ { &path, ephemeral ? 1 : 0 } });
    return w;
}

struct wr txn_create(int64_t zxid, int64_t session, const char *path, const void *data, size_t n, bool ephemeral,
                     int32_t parent_cversion)
{
    static char world[] = "world", anyone[] = "anyone";
    struct jacl open = { ZK_PERM_ALL, { world, 5 }, { anyone, 6 } };
    struct wr w = begin(zxid, session, ZK_OP_CREATE);
    struct create_txn t = { .path = jstr_of(path), .data = { data, (int32_t)n }, .acl = { &open, 1 }, .ephemeral = ephemeral,
                            .parent_cversion = parent_cversion };
    create_txn_write(&w, &t);
    return w;
}

struct wr txn_set(int64_t zxid, const char *path, const void *data, size_t n, int32_t version)
{
    struct wr w = begin(zxid, 1, ZK_OP_SET_DATA);
    struct set_data_request t = { .path = jstr_of(path), .data = { data, (int32_t)n }, .version = version };
    set_data_request_write(&w, &t);
    return w;
}

struct wr txn_delete(int64_t zxid, const char *path)
{
    struct wr w = begin(zxid, 1, ZK_OP_DELETE);
    path_only_write(&w, &(struct path_only){ jstr_of(path) });
    return w;
}

struct wr txn_error(int64_t zxid, int32_t err)
{
    struct wr w = begin(zxid, 1, ZK_OP_ERROR);
    error_txn_write(&w, &(struct error_txn){ err });
    return w;
}

void apply_txn(struct tree *t, const struct wr *txn)
{
    struct rd r = rd_init(txn->p, txn->n);
    struct txn_header h;
    struct arena a = arena_init();
    struct tree_result result = { 0 };
    txn_header_read(&r, &a, &h);
    ASSERT(tree_apply(t, &h, buf_of(r.p, rd_left(&r)), &a, &result) == 0);
    if (tree_last_zxid(t) < h.zxid)
        tree_set_last_zxid(t, h.zxid);
    arena_free(&a);
}

struct lines VEC(char *);

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void describe_node(const struct tree *t, const struct znode *n, struct lines *out)
{
    struct arena a = arena_init();
    struct wr w = wr_init(0);
    struct zk_stat_persisted s;
    struct jbuf data = znode_data(n);
    struct jstr path = znode_path(n, &a);
    znode_stat_persisted(n, &s);
    wr_printf(&w, "%.*s c%llx m%llx p%llx ct%lld mt%lld v%d cv%d av%d o%llx ch%d ", path.n, path.n ? path.p : "",
              (unsigned long long)s.czxid, (unsigned long long)s.mzxid, (unsigned long long)s.pzxid, (long long)s.ctime,
              (long long)s.mtime, s.version, s.cversion, s.aversion, (unsigned long long)s.ephemeral_owner, znode_child_count(n));
    struct jacls acl = tree_acl(t, n);
    for (int32_t i = 0; i < acl.n; i++)
        wr_printf(&w, "%d:%.*s:%.*s ", acl.v[i].perms, acl.v[i].scheme.n, acl.v[i].scheme.p, acl.v[i].id.n, acl.v[i].id.p);
    char *text = data.p ? base64_encode(data.p, (size_t)data.n) : x_strdup("null");
    wr_printf(&w, "acl%d %s", acl.n, text);
    free(text);
    VEC_PUSH(out, x_strdup(wr_cstr(&w)));
    wr_free(&w);
    arena_free(&a);
    for (const struct znode *c = znode_first_child(n); c; c = znode_next_sibling(c))
        describe_node(t, c, out);
}

static void describe_session(void *data, int64_t id, int32_t timeout_ms)
{
    struct lines *out = data;
    VEC_PUSH(out, x_asprintf("session %llx %d", (unsigned long long)id, timeout_ms));
}

char *describe_tree(const struct tree *t)
{
    struct lines l = { 0 };
    describe_node(t, tree_find(t, jstr_of("/")), &l);
    tree_each_session(t, describe_session, &l);
    qsort(l.items, l.len, sizeof(*l.items), by_text);
    struct wr w = wr_init(0);
    wr_printf(&w, "zxid %llx digest %llx\n", (unsigned long long)tree_last_zxid(t), (unsigned long long)tree_digest(t));
    for (size_t i = 0; i < l.len; i++) {
        wr_printf(&w, "%s\n", l.items[i]);
        free(l.items[i]);
    }
    VEC_FREE(&l);
    char *text = x_strdup(wr_cstr(&w));
    wr_free(&w);
    return text;
}

/* Creations below the root up to zxid z. */
static int32_t root_cversion(int64_t z)
{
    static const int8_t in_round[10] = { 0, 1, 2, 3, 3, 4, 4, 4, 4, 4 };
    return (int32_t)(z / 10 * 4 + in_round[z % 10] - 1); /* zxid 1 is a session */
}

/* Node k of the history comes, changes and goes with the zxids that are near it: a function of the zxid alone, so that a
 * history can go on after any crash. */
struct wr history_txn(int64_t z)
{
    char path[64], data[512];
    memset(data, 'a' + (int)(z % 26), sizeof(data));
    size_t n = (size_t)(z * 37 % (int64_t)sizeof(data));
    if (z == 1)
        return txn_session(z, 0x1000, 30000);
    switch (z % 10) {
    case 0:
        return txn_session(z, 0x1000 + z, 10000 + (int32_t)z);
    case 1:
    case 2:
    case 3:
        snprintf(path, sizeof(path), "/n%lld", (long long)z);
        return txn_create(z, 0x1000, path, data, n, false, root_cversion(z));
    case 4: /* a child of the node made just before */
        snprintf(path, sizeof(path), "/n%lld/kid", (long long)z - 1);
        return txn_create(z, 0x1000, path, n % 3 ? data : NULL, n % 3 ? n : 0, false, 1);
    case 5: /* an ephemeral of the session opened a little before */
        snprintf(path, sizeof(path), "/e%lld", (long long)z);
        return txn_create(z, z > 10 ? 0x1000 + z - 5 : 0x1000, path, data, n, true, root_cversion(z));
    case 6:
        snprintf(path, sizeof(path), "/n%lld", (long long)z - 4);
        return txn_set(z, path, data, n, 1);
    case 7: /* fails where there was no such node */
        snprintf(path, sizeof(path), "/n%lld", (long long)z - 26);
        return txn_delete(z, path);
    case 8:
        return txn_error(z, ZK_NONODE);
    default: /* closes the session of two rounds ago; its ephemeral goes with it */
        snprintf(path, sizeof(path), "/e%lld", (long long)z - 24);
        return z > 30 ? txn_close(z, 0x1000 + z - 29, path) : txn_error(z, ZK_BADVERSION);
    }
}

void faultfs_import(struct faultfs *fs, const char *real_dir, const char *dir)
{
    DIR *d = opendir(real_dir);
    ASSERT(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char *from = x_asprintf("%s/%s", real_dir, e->d_name), *to = x_asprintf("%s/%s", dir, e->d_name);
        uint8_t *p;
        size_t n;
        if (e->d_name[0] != '.' && e->d_type != DT_DIR) {
            ASSERT(file_read(from, 1u << 30, &p, &n) == 0);
            faultfs_put(fs, to, p, n);
            free(p);
        }
        free(from);
        free(to);
    }
    closedir(d);
}
