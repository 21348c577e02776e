/* storage_tool.c - the storage module on the command line, for tests against Apache's server.
 *
 *   storage_tool dump DIR              recovers DIR (dataDir) and prints sessions and tree as JSON
 *   storage_tool write DIR [METHOD]    makes DIR: snapshots (METHOD: gz, snappy), logs, one of every kind of transaction
 *   storage_tool fill DIR COUNT        makes a snapshot of COUNT nodes of 100 bytes
 *   storage_tool load DIR              recovers DIR and prints how long it took */
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "storage/storage.h"

static struct storage_config config(const char *dir)
{
    return (struct storage_config){ .vfs = vfs_posix(), .data_dir = dir, .tree.extended_types = true };
}

static void die(const char *text)
{
    fprintf(stderr, "storage_tool: %s\n", text);
    exit(1);
}

static struct storage_recovered recover(const struct storage_config *cfg)
{
    struct storage_recovered r;
    struct storage_error err;
    if (storage_recover(cfg, NULL, NULL, &r, &err) < 0)
        die(err.text);
    return r;
}

/* ---- dump ---- */

static json_t *node_json(const struct tree *t, const struct znode *n)
{
    struct zk_stat s;
    struct jbuf data = znode_data(n);
    struct jacls acl = tree_acl(t, n);
    char *text = base64_encode(data.p, (size_t)data.n);
    json_t *acls = json_array();
    znode_stat(t, n, &s);
    for (int32_t i = 0; i < acl.n; i++)
        json_array_append_new(acls, json_pack("[i,s#,s#]", acl.v[i].perms, acl.v[i].scheme.p, acl.v[i].scheme.n, acl.v[i].id.p,
                                              acl.v[i].id.n));
    json_t *j = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:i, s:i}", "data", text, "acl", acls, "czxid",
                          (json_int_t)s.czxid, "mzxid", (json_int_t)s.mzxid, "pzxid", (json_int_t)s.pzxid, "ctime",
                          (json_int_t)s.ctime, "mtime", (json_int_t)s.mtime, "version", s.version, "cversion", s.cversion,
                          "aversion", s.aversion, "ephemeralOwner", (json_int_t)s.ephemeral_owner, "dataLength", s.data_length,
                          "numChildren", s.num_children);
    free(text);
    return j;
}

static void dump_node(const struct tree *t, const struct znode *n, json_t *out)
{
    struct arena a = arena_init();
    struct jstr path = znode_path(n, &a);
    char *key = path.n ? x_strndup(path.p, (size_t)path.n) : x_strdup("/");
    json_object_set_new(out, key, node_json(t, n));
    free(key);
    arena_free(&a);
    for (const struct znode *c = znode_first_child(n); c; c = znode_next_sibling(c))
        dump_node(t, c, out);
}

static void dump_session(void *data, int64_t id, int32_t timeout_ms)
{
    char key[24];
    snprintf(key, sizeof(key), "%llx", (unsigned long long)id);
    json_object_set_new(data, key, json_integer(timeout_ms));
}

static int cmd_dump(const char *dir)
{
    struct storage_config cfg = config(dir);
    struct storage_recovered r = recover(&cfg);
    json_t *nodes = json_object(), *sessions = json_object();
    dump_node(r.tree, tree_find(r.tree, jstr_of("/")), nodes);
    tree_each_session(r.tree, dump_session, sessions);
    json_t *doc = json_pack("{s:I, s:I, s:o, s:o}", "zxid", (json_int_t)r.last_zxid, "replayed", (json_int_t)r.txns_replayed,
                            "sessions", sessions, "nodes", nodes);
    json_dumpf(doc, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(doc);
    tree_free(r.tree);
    return 0;
}

/* ---- write ---- */

struct writer {
    const struct storage_config *cfg;
    struct tree *t;
    struct txnlog *l;
    int64_t zxid, session;
    struct wr w;
};

static void begin(struct writer *w, int32_t type)
{
    wr_reset(&w->w);
    w->zxid++;
    struct txn_header h = { .client_id = w->session, .cxid = (int32_t)w->zxid, .zxid = w->zxid, .time_ms = clock_wall_ms(),
                            .type = type };
    txn_header_write(&w->w, &h);
}

/* Applies what was written since begin, and logs it with the digest of the tree after it, as the reference does. */
static void commit(struct writer *w)
{
    struct rd r = rd_init(w->w.p, w->w.n);
    struct txn_header h;
    struct arena a = arena_init();
    struct tree_result result = { 0 };
    txn_header_read(&r, &a, &h);
    if (tree_apply(w->t, &h, buf_of(r.p, rd_left(&r)), &a, &result) < 0)
        die("a transaction cannot be applied");
    tree_set_last_zxid(w->t, h.zxid);
    if (h.type != ZK_OP_ERROR)
        txn_digest_write(&w->w, &(struct txn_digest){ .version = 2, .tree_digest = (int64_t)tree_digest(w->t) });
    struct storage_error err;
    if (txnlog_append(w->l, h.zxid, buf_of(w->w.p, w->w.n), &err) < 0)
        die(err.text);
    arena_free(&a);
}

static struct jacl acl_of(int32_t perms, const char *scheme, const char *id)
{
    return (struct jacl){ perms, jstr_of(scheme), jstr_of(id) };
}

static int32_t next_cversion(struct writer *w, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct jstr parent = slash == path ? jstr_of("/") : jstr_n(path, (size_t)(slash - path));
    struct zk_stat_persisted s;
    const struct znode *n = tree_find(w->t, parent);
    if (!n)
        die("no parent");
    znode_stat_persisted(n, &s);
    return s.cversion + 1;
}

static void create(struct writer *w, int32_t type, const char *path, struct jbuf data, struct jacl acl, bool ephemeral)
{
    struct create_txn t = { jstr_of(path), data, { &acl, 1 }, ephemeral, next_cversion(w, path) };
    begin(w, type);
    create_txn_write(&w->w, &t);
    commit(w);
}

static struct jbuf text(const char *s)
{
    return (struct jbuf){ (const uint8_t *)s, s ? (int32_t)strlen(s) : 0 };
}

static void open_session(struct writer *w, int64_t id, int32_t timeout_ms)
{
    w->session = id;
    begin(w, ZK_OP_CREATE_SESSION);
    create_session_txn_write(&w->w, &(struct create_session_txn){ timeout_ms });
    commit(w);
}

static void set_data(struct writer *w, const char *path, const char *value, int32_t version)
{
    begin(w, ZK_OP_SET_DATA);
    set_data_request_write(&w->w, &(struct set_data_request){ jstr_of(path), text(value), version });
    commit(w);
}

static void set_acl(struct writer *w, const char *path, struct jacl acl, int32_t version)
{
    begin(w, ZK_OP_SET_ACL);
    set_acl_request_write(&w->w, &(struct set_acl_request){ jstr_of(path), { &acl, 1 }, version });
    commit(w);
}

static void delete(struct writer *w, const char *path)
{
    begin(w, ZK_OP_DELETE);
    path_only_write(&w->w, &(struct path_only){ jstr_of(path) });
    commit(w);
}

static void error(struct writer *w, int32_t err)
{
    begin(w, ZK_OP_ERROR);
    error_txn_write(&w->w, &(struct error_txn){ err });
    commit(w);
}

/* A multi of a create and a setData; or, when it fails, what the reference logs of one. */
static void multi(struct writer *w, bool fails)
{
    struct jacl open = acl_of(ZK_PERM_ALL, "world", "anyone");
    struct wr one = wr_init(0), two = wr_init(0);
    if (fails) {
        error_txn_write(&one, &(struct error_txn){ ZK_NODEEXISTS });
        error_txn_write(&two, &(struct error_txn){ ZK_RUNTIMEINCONSISTENCY });
    } else {
        create_txn_write(&one, &(struct create_txn){ jstr_of("/app/multi"), text("m"), { &open, 1 }, false,
                                                     next_cversion(w, "/app/multi") });
        set_data_request_write(&two, &(struct set_data_request){ jstr_of("/app/multi"), text("changed"), 1 });
    }
    struct jtxn v[] = { { fails ? ZK_OP_ERROR : ZK_OP_CREATE, { one.p, (int32_t)one.n } },
                        { fails ? ZK_OP_ERROR : ZK_OP_SET_DATA, { two.p, (int32_t)two.n } } };
    begin(w, ZK_OP_MULTI);
    multi_txn_write(&w->w, &(struct multi_txn){ { v, 2 } });
    commit(w);
    wr_free(&one);
    wr_free(&two);
}

static void specials(struct writer *w)
{
    struct jacl open = acl_of(ZK_PERM_ALL, "world", "anyone");
    struct create_container_txn c = { jstr_of("/container"), text("c"), { &open, 1 }, next_cversion(w, "/container") };
    begin(w, ZK_OP_CREATE_CONTAINER);
    create_container_txn_write(&w->w, &c);
    commit(w);
    create(w, ZK_OP_CREATE2, "/container/kid", text("k"), open, false);
    struct create_ttl_txn t = { jstr_of("/ttl"), text("t"), { &open, 1 }, next_cversion(w, "/ttl"), 3600000 };
    begin(w, ZK_OP_CREATE_TTL);
    create_ttl_txn_write(&w->w, &t);
    commit(w);
}

static void close_session(struct writer *w, const char *ephemeral)
{
    struct jstr path = jstr_of(ephemeral);
    begin(w, ZK_OP_CLOSE_SESSION);
    close_session_txn_write(&w->w, &(struct close_session_txn){ { &path, 1 } });
    commit(w);
}

static void roll(struct writer *w, bool snapshot)
{
    struct storage_error err;
    int64_t zxid, bytes;
    if (txnlog_roll(w->l, &err) < 0 || (snapshot && snapshot_write(w->cfg, w->t, NULL, &zxid, &bytes, &err) < 0))
        die(err.text);
}

static void write_all(struct writer *w)
{
    static const char binary[] = { 0, 1, 2, (char)0xff, (char)0x80, '\n' };
    struct jacl open = acl_of(ZK_PERM_ALL, "world", "anyone");
    open_session(w, 0x1234567, 40000);
    create(w, ZK_OP_CREATE, "/app", (struct jbuf){ NULL, 0 }, open, false);
    create(w, ZK_OP_CREATE, "/app/empty", text(""), open, false);
    create(w, ZK_OP_CREATE2, "/app/\xc3\xbcml\xc3\xa4ut", text("utf-8"), open, false);
    create(w, ZK_OP_CREATE, "/app/binary", (struct jbuf){ (const uint8_t *)binary, sizeof(binary) }, open, false);
    create(w, ZK_OP_CREATE, "/secret", text("s"), acl_of(ZK_PERM_ALL, "digest", "joe:4yLTiRn9uvELsjEcYrMwI6Xmkpo="), false);
    roll(w, true);
    specials(w);
    multi(w, false);
    multi(w, true);
    error(w, ZK_NONODE);
    char path[64];
    for (int i = 0; i < 500; i++) {
        snprintf(path, sizeof(path), "/app/item-%010d", i);
        create(w, ZK_OP_CREATE, path, text(path), open, i % 100 == 0);
    }
    for (int i = 0; i < 500; i += 3) {
        snprintf(path, sizeof(path), "/app/item-%010d", i);
        if (i % 100 != 0)
            delete(w, path);
    }
    roll(w, true);
    set_data(w, "/app/empty", "no longer", 1);
    set_data(w, "/app/empty", "twice", 2);
    set_acl(w, "/app/binary", acl_of(ZK_PERM_READ | ZK_PERM_ADMIN, "ip", "127.0.0.1"), 1);
    open_session(w, 0x7654321, 5000);
    create(w, ZK_OP_CREATE, "/app/gone", text("e"), open, true);
    close_session(w, "/app/gone");
    roll(w, false);
    set_data(w, "/app/multi", "last", 2);
}

static int cmd_write(const char *dir, const char *method)
{
    struct storage_config cfg = config(dir);
    cfg.compression = method;
    struct storage_error err;
    struct writer w = { .cfg = &cfg, .w = wr_init(0) };
    w.t = recover(&cfg).tree;
    if (txnlog_open(&cfg, &w.l, &err) < 0)
        die(err.text);
    write_all(&w);
    if (txnlog_sync(w.l, &err) < 0)
        die(err.text);
    txnlog_close(w.l);
    tree_free(w.t);
    wr_free(&w.w);
    return 0;
}

/* ---- size ---- */

static int cmd_fill(const char *dir, const char *count)
{
    int64_t n;
    if (str_to_i64(count, 1, 100000000, &n) < 0)
        die("bad count");
    struct storage_config cfg = config(dir);
    struct tree *t = tree_new(&cfg.tree);
    struct arena a = arena_init();
    uint8_t data[100];
    memset(data, 'x', sizeof(data));
    for (int64_t i = 0; i < n; i++) { /* a directory for every thousand */
        char path[64];
        snprintf(path, sizeof(path), i % 1000 ? "/d%lld/node-%06lld" : "/d%lld", (long long)i / 1000, (long long)i % 1000);
        struct jacl open = acl_of(ZK_PERM_ALL, "world", "anyone");
        struct txn_header h = { .zxid = i + 1, .time_ms = 1700000000000 + i, .type = ZK_OP_CREATE };
        struct wr w = wr_init(0);
        create_txn_write(&w, &(struct create_txn){ jstr_of(path), { data, sizeof(data) }, { &open, 1 }, false, -1 });
        struct tree_result result;
        arena_reset(&a);
        if (tree_apply(t, &h, buf_of(w.p, w.n), &a, &result) < 0)
            die("cannot apply");
        wr_free(&w);
    }
    struct storage_error err;
    int64_t zxid, bytes, start = clock_mono_us();
    if (snapshot_write(&cfg, t, NULL, &zxid, &bytes, &err) < 0)
        die(err.text);
    printf("wrote %lld bytes in %lld ms\n", (long long)bytes, (long long)(clock_mono_us() - start) / 1000);
    arena_free(&a);
    tree_free(t);
    return 0;
}

static int cmd_load(const char *dir)
{
    struct storage_config cfg = config(dir);
    int64_t start = clock_mono_us();
    struct storage_recovered r = recover(&cfg);
    int64_t ms = (clock_mono_us() - start) / 1000;
    struct timespec cpu; /* of the whole process so far; says more than the other on a busy machine */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    struct tree_stats stats;
    tree_stats(r.tree, &stats);
    printf("%llu nodes, %llu transactions replayed, %lld ms (%lld ms of processor)\n", (unsigned long long)stats.nodes,
           (unsigned long long)r.txns_replayed, (long long)ms, (long long)(cpu.tv_sec * 1000 + cpu.tv_nsec / 1000000));
    tree_free(r.tree);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "dump") == 0)
        return cmd_dump(argv[2]);
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "write") == 0)
        return cmd_write(argv[2], argc == 4 ? argv[3] : "");
    if (argc == 4 && strcmp(argv[1], "fill") == 0)
        return cmd_fill(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "load") == 0)
        return cmd_load(argv[2]);
    fprintf(stderr, "usage: storage_tool dump DIR | write DIR [gz|snappy] | fill DIR COUNT | load DIR\n");
    return 2;
}
