/* snapshot_write.c - a fuzzy snapshot: the tree is walked in small steps under the read lock, between which it changes.
 *
 * Each step encodes into memory; compressing and writing happen with the lock released. The file's name is the last zxid when
 * the walk began; replaying the log from there over the fuzzy content gives the exact tree (spec: apply rules). Sessions and
 * ACLs are taken in the same lock hold as that zxid. The file appears under its name only when it is complete and synced. */
#include "storage_internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include "adler.h"

#include "base/relapse.h"

struct snap_writer {
    struct snap_sink *sink;
    struct wr buf;
    uint32_t adler;
};

/* Hands what is encoded to the sink. */
static int flush(struct snap_writer *w)
{
    w->adler = adler32_fast(w->adler, w->buf.p, w->buf.n);
    int rc = snap_sink_write(w->sink, w->buf.p, w->buf.n);
    wr_reset(&w->buf);
    return rc;
}

static int seal(struct snap_writer *w)
{
    int rc = flush(w);
    wr_u64(&w->buf, w->adler);
    jute_write_str(&w->buf, jstr_of("/"));
    return rc;
}

static void put_head(struct wr *w, struct tree *t)
{
    wr_u32(w, SNAP_MAGIC);
    wr_u32(w, FILE_VERSION);
    wr_i64(w, -1);
    snap_put_tables(w, t);
}

/* What goes behind the nodes is of the moment when the walk ended. */
struct tail {
    int64_t zxid;
    uint64_t digest;
};

static int write_tail(const struct storage_config *cfg, struct snap_writer *w, const struct tail *t)
{
    jute_write_str(&w->buf, jstr_of("/"));
    int rc = seal(w);
    if (rc == 0 && !cfg->tree.no_digest) {
        wr_i64(&w->buf, t->zxid);
        wr_i32(&w->buf, DIGEST_VERSION);
        wr_u64(&w->buf, t->zxid == 0 ? 0 : t->digest); /* nothing applied yet: the reference writes zeros */
        rc = seal(w);
    }
    if (rc == 0 && !cfg->no_last_zxid_section) {
        wr_i64(&w->buf, t->zxid);
        rc = seal(w);
    }
    return rc == 0 ? flush(w) : rc;
}

static int write_content(const struct storage_config *cfg, struct tree *t, struct tree_walk *walk,
                         const struct snapshot_locks *locks, struct snap_writer *w)
{
    struct tail tail = { 0 };
    int rc = 0;
    for (bool more = true; more && rc == 0;) {
        locks->lock(locks->data);
        bool cancelled = locks->cancelled && locks->cancelled(locks->data);
        more = !cancelled && snap_put_nodes(&w->buf, walk, locks->step_nodes);
        if (!more)
            tail = (struct tail){ tree_last_zxid(t), tree_digest(t) };
        locks->unlock(locks->data);
        rc = cancelled ? RC_CANCELLED : flush(w);
    }
    if (rc == 0)
        rc = write_tail(cfg, w, &tail);
    return rc == 0 ? snap_sink_finish(w->sink) : rc;
}

struct names {
    char *dir, *tmp, *final;
};

/* The temporary name begins with a dot because the reference takes snapshot.<hex>.<anything> for a snapshot. It carries a number,
 * since two threads may write a snapshot of the same zxid. */
static struct names make_names(const struct storage_config *cfg, enum snap_format format, int64_t zxid)
{
    static atomic_uint next;
    static const char *const suffix[] = { [SNAP_PLAIN] = "", [SNAP_GZ] = ".gz", [SNAP_SNAPPY] = ".snappy" };
    struct names n = { .dir = storage_dir(cfg, false) };
    n.final = x_asprintf("%s/snapshot.%llx%s", n.dir, (unsigned long long)zxid, suffix[format]);
    n.tmp = x_asprintf("%s/.snapshot.%llx%s.%u.tmp", n.dir, (unsigned long long)zxid, suffix[format], atomic_fetch_add(&next, 1));
    return n;
}

static void free_names(struct names *n)
{
    free(n->dir);
    free(n->tmp);
    free(n->final);
}

static int format_of(const struct storage_config *cfg, enum snap_format *ret, struct storage_error *err)
{
    const char *c = cfg->compression ? cfg->compression : "";
    if (strcmp(c, "") == 0)
        *ret = SNAP_PLAIN;
    else if (strcmp(c, "gz") == 0)
        *ret = SNAP_GZ;
    else if (strcmp(c, "snappy") == 0)
        *ret = SNAP_SNAPPY;
    else
        return storage_fail(err, RC_INVAL, "unknown snapshot compression: %s", c);
    return 0;
}

static int publish(const struct vfs *vfs, struct vfs_file *f, const struct names *n, struct storage_error *err)
{
    int rc = relapse(2872) ? 0 : vfs->sync(f);
    if (rc < 0)
        return storage_fail_io(err, rc, "sync", n->tmp);
    rc = vfs->rename(vfs->ctx, n->tmp, n->final);
    if (rc < 0)
        return storage_fail_io(err, rc, "rename to", n->final);
    rc = vfs->sync_dir(vfs->ctx, n->dir);
    if (rc < 0)
        return storage_fail_io(err, rc, "sync", n->dir);
    return 0;
}

int snapshot_write(const struct storage_config *cfg, struct tree *t, const struct snapshot_locks *locks, int64_t *ret_zxid,
                   int64_t *ret_bytes, struct storage_error *err)
{
    const struct vfs *vfs = cfg->vfs;
    enum snap_format format = SNAP_PLAIN;
    int rc = format_of(cfg, &format, err);
    if (rc < 0)
        return rc;
    if (!locks)
        locks = &snap_no_locks;

    struct snap_writer w = { .buf = wr_init(0), .adler = 1 };
    locks->lock(locks->data);
    struct tree_walk *walk = tree_walk_begin(t);
    int64_t zxid = tree_walk_zxid(walk), bytes = 0;
    put_head(&w.buf, t);
    locks->unlock(locks->data);

    struct names names = make_names(cfg, format, zxid);
    struct vfs_file *f = NULL;
    rc = vfs->mkdir(vfs->ctx, names.dir);
    if (rc == 0)
        rc = vfs->open(vfs->ctx, names.tmp, VFS_WRITE | VFS_CREATE | VFS_TRUNCATE, &f);
    if (rc == 0) {
        w.sink = snap_sink_new(vfs, f, format);
        rc = write_content(cfg, t, walk, locks, &w);
        bytes = snap_sink_bytes(w.sink);
    }
    locks->lock(locks->data);
    if (relapse(3127))
        zxid = tree_last_zxid(t);
    tree_walk_end(walk);
    locks->unlock(locks->data);
    if (relapse(3127)) {
        struct names late = make_names(cfg, format, zxid);
        char *final = names.final;
        names.final = late.final;
        late.final = final;
        free_names(&late);
    }
    if (rc < 0)
        storage_fail_io(err, rc, "write", names.tmp);
    else
        rc = publish(vfs, f, &names, err);
    if (f)
        vfs->close(f);
    if (rc < 0) /* half a snapshot is worth nothing, and on a full disk its room is */
        (void)vfs->remove(vfs->ctx, names.tmp);
    if (rc == 0) {
        *ret_zxid = zxid;
        *ret_bytes = bytes;
    }
    snap_sink_free(w.sink);
    wr_free(&w.buf);
    free_names(&names);
    return rc;
}
