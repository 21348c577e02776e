/* recover.c - from the files of a data directory to the tree they stand for.
 *
 *   1. the newest snapshot that loads (up to 100 that look valid are tried);
 *   2. the log behind it, from the last file whose name is not behind the snapshot;
 *   3. what a crash left half-written at the end of the log is cut off, anything else that is wrong is refused;
 *   4. quotas and ACLs are settled; ephemerals without a session are removed, unless the server is one of an ensemble: its leader does that.
 *
 * What a crash can leave: files are extended with zeros and written front to back, one batch at a time, each synced before the
 * next. So an unfinished batch is missing bytes: the file ends, or zeros stand there. Bytes that are there and wrong are
 * damage. Zeros with complete records behind them are damage as well, except where all of it fits into one unsynced batch and
 * whole sectors are zero: disks write the sectors of a batch in any order.
 *
 * Between files no transaction may be missing either: a torn file that is not the last was left by a crash, and the next file
 * must go on exactly behind its last complete record (or behind the snapshot). */
#include "storage_internal.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/relapse.h"

#define CANDIDATES_MAX 100
#define PROGRESS_MS 1000

struct tear {
    char *path;
    int64_t pos;
    int64_t used;      /* where the last byte that is not zero ends */
    bool no_records;
};

/* A snapshot newer than the one that was loaded. */
struct passed {
    const char *path; /* of the list's */
    int64_t zxid;
    bool damaged;     /* else it looks as a crash may leave it */
    bool covered;     /* its last transaction was found in the log */
};

struct recovery {
    const struct storage_config *cfg;
    const struct vfs *vfs;
    char *snap_dir, *log_dir;
    struct zxid_files snaps, logs;
    struct tree *tree;
    int64_t stop;          /* nothing behind this zxid counts; INT64_MAX: all does */
    int64_t snapshot_zxid;
    struct snap_info info;
    int64_t last_zxid;     /* of the last record read, or the snapshot */
    bool from_empty;       /* no snapshot was there */
    bool new_file;         /* no record of the current file has been looked at yet */
    uint64_t behind;       /* records of the current file whose zxid is below one that came before */
    struct VEC(struct tear) tears; /* torn ends with no record behind them so far */
    struct VEC(struct passed) passed;
    bool compare_digests;
    uint64_t digest_mismatches;
    uint64_t txns;
    int64_t log_bytes;
    struct arena arena;
    struct storage_progress progress;
    struct storage_error *err;
};

bool storage_progress_due(struct storage_progress *p)
{
    if (!p || !p->fn)
        return false;
    int64_t now = clock_mono_ms();
    if (now < p->due_ms)
        return false;
    p->due_ms = now + PROGRESS_MS;
    return true;
}

static void tell_progress(struct recovery *r)
{
    if (r->txns % 1024 != 0 || !storage_progress_due(&r->progress))
        return;
    char text[128];
    snprintf(text, sizeof(text), "replayed %llu transactions, up to zxid 0x%llx", (unsigned long long)r->txns,
             (unsigned long long)r->last_zxid);
    r->progress.fn(r->progress.data, text);
}

/* ---- the directory ---- */

static int refuse_misplaced(struct recovery *r)
{
    if (!storage_dirs_differ(r->cfg))
        return 0;
    struct zxid_files l;
    int rc = storage_list(r->vfs, r->snap_dir, true, &l, r->err);
    if (rc == 0 && l.len > 0)
        rc = storage_fail(r->err, RC_INVAL, "%s: a transaction log in the snapshot directory; dataLogDir says %s",
                          l.items[0].path, r->cfg->log_dir);
    if (rc == 0) {
        zxid_files_free(&l);
        rc = storage_list(r->vfs, r->log_dir, false, &l, r->err);
        if (rc == 0 && l.len > 0)
            rc = storage_fail(r->err, RC_INVAL, "%s: a snapshot in the transaction log directory; dataDir says %s",
                              l.items[0].path, r->cfg->data_dir);
    }
    zxid_files_free(&l);
    return rc;
}

struct stale {
    struct VEC(char *) names;
};

static void find_stale(void *data, const char *name)
{
    struct stale *s = data;
    size_t n = strlen(name);
    if (strncmp(name, ".snapshot.", 10) == 0 && n > 4 && strcmp(name + n - 4, ".tmp") == 0)
        VEC_PUSH(&s->names, x_strdup(name));
}

/* Snapshots that a crash interrupted. Failing to remove one hurts nobody. */
static void remove_stale(struct recovery *r)
{
    struct stale s = { 0 };
    (void)r->vfs->list(r->vfs->ctx, r->snap_dir, find_stale, &s);
    for (size_t i = 0; i < s.names.len; i++) {
        char *path = x_asprintf("%s/%s", r->snap_dir, s.names.items[i]);
        (void)r->vfs->remove(r->vfs->ctx, path);
        free(path);
        free(s.names.items[i]);
    }
    VEC_FREE(&s.names);
}

static int prepare(struct recovery *r)
{
    int rc = r->vfs->mkdir(r->vfs->ctx, r->snap_dir);
    if (rc < 0)
        return storage_fail_io(r->err, rc, "make", r->snap_dir);
    rc = r->vfs->mkdir(r->vfs->ctx, r->log_dir);
    if (rc < 0)
        return storage_fail_io(r->err, rc, "make", r->log_dir);
    rc = refuse_misplaced(r);
    if (rc < 0)
        return rc;
    remove_stale(r);
    rc = storage_list(r->vfs, r->snap_dir, false, &r->snaps, r->err);
    return rc < 0 ? rc : storage_list(r->vfs, r->log_dir, true, &r->logs, r->err);
}

/* ---- the snapshot ---- */

/* 1: loaded; 0: there is none that looks valid. */
static int load_newest(struct recovery *r)
{
    int tried = 0;
    struct storage_error first = { 0 };
    r->passed.len = 0;
    for (size_t i = r->snaps.len; i-- > 0 && tried < CANDIDATES_MAX;) {
        const struct zxid_file *f = &r->snaps.items[i];
        if (f->zxid > r->stop)
            continue;
        if (!snap_looks_valid(r->vfs, f)) {
            log_warn("storage", "%s is incomplete: passed over", f->path);
            VEC_PUSH(&r->passed, ((struct passed){ .path = f->path, .zxid = f->zxid }));
            continue;
        }
        tried++;
        struct storage_error why;
        int rc = snap_load(r->cfg, f->path, f->format, f->zxid, &r->progress, &r->tree, &r->info, &why);
        if (rc == 0 && MAX(r->info.last_zxid, r->info.digest_zxid) > r->stop) {
            tree_free(r->tree); /* begun in time, but it may hold what came later (ZOOKEEPER-1549) */
            r->tree = NULL;
            tried--;
            continue;
        }
        if (rc == 0) {
            r->snapshot_zxid = f->zxid;
            return 1;
        }
        if (rc != RC_CORRUPT) {
            if (r->err)
                *r->err = why;
            return rc;
        }
        log_warn("storage", "%s", why.text);
        VEC_PUSH(&r->passed, ((struct passed){ .path = f->path, .zxid = f->zxid, .damaged = true }));
        if (tried == 1)
            first = why;
    }
    if (tried > 0 && !relapse(2325))
        return storage_fail(r->err, RC_CORRUPT, "none of the %d snapshots in %s can be loaded; the newest: %s", tried,
                            r->snap_dir, first.text);
    return 0;
}

/* No snapshot at all. An empty directory is a new server; anything else has lost something (ZOOKEEPER-2325). A snapshot.0 alone,
 * incomplete, holds nothing to lose: the reference writes it unsynced. */
static int start_empty(struct recovery *r, struct storage_recovered *ret)
{
    bool lost = r->snaps.len > 0 && r->snaps.items[r->snaps.len - 1].zxid != 0;
    if (relapse(2325))
        lost = false;
    if (r->logs.len > 0 && !r->cfg->trust_empty && !relapse(2325))
        return storage_fail(r->err, RC_CORRUPT,
                            "no usable snapshot in %s, but transaction logs in %s: something was lost; "
                            "snapshot.trust.empty=true replays the logs from an empty tree",
                            r->snap_dir, r->log_dir);
    if (lost && !r->cfg->trust_empty)
        return storage_fail(r->err, RC_CORRUPT, "%s: the only snapshots are incomplete, and there are no transaction logs",
                            r->snaps.items[r->snaps.len - 1].path);
    r->tree = tree_new(&r->cfg->tree);
    r->snapshot_zxid = 0;
    r->from_empty = true;
    if (r->logs.len > 0)
        return 0;
    int64_t zxid, bytes;
    int rc = snapshot_write(r->cfg, r->tree, NULL, &zxid, &bytes, r->err);
    ret->created = rc == 0;
    return rc;
}

/* ---- the log ---- */

/* Called with the first record behind the snapshot of every file. */
static int check_joint(struct recovery *r, const struct log_file *l, int64_t zxid)
{
    int64_t prev = MAX(r->last_zxid, r->snapshot_zxid);
    if (log_follows(NULL, prev, zxid) || zxid <= prev)
        return 0;
    if (r->from_empty && r->txns == 0) /* trust_empty: whatever there is, is all */
        return 0;
    if (r->tears.len > 0) {
        const struct tear *t = &r->tears.items[r->tears.len - 1];
        return storage_fail(r->err, RC_CORRUPT,
                            "%s is torn at offset %lld behind zxid 0x%llx, and %s begins with 0x%llx: "
                            "transactions are missing",
                            t->path, (long long)t->pos, (unsigned long long)prev, l->path, (unsigned long long)zxid);
    }
    /* The reference skips one zxid for a multi with a null path; that one may fall between two files. */
    if (zxid == prev + 2) {
        log_warn("storage", "%s begins with zxid 0x%llx: 0x%llx is in no log", l->path, (unsigned long long)zxid,
                 (unsigned long long)prev + 1);
        return 0;
    }
    return storage_fail(r->err, RC_CORRUPT, "%s begins with zxid 0x%llx, but 0x%llx was the last before it: a log file is missing",
                        l->path, (unsigned long long)zxid, (unsigned long long)prev);
}

static void clear_tears(struct recovery *r)
{
    for (size_t i = 0; i < r->tears.len; i++) {
        log_warn("storage", "%s ends torn at offset %lld; the next file goes on behind it", r->tears.items[i].path,
                 (long long)r->tears.items[i].pos);
        free(r->tears.items[i].path);
    }
    r->tears.len = 0;
}

/* Compares the tree's digest with the one that was logged, once the snapshot is no longer fuzzy. A difference is told, never
 * fatal: as in the reference. */
static void check_digest(struct recovery *r, const struct txn_header *h, struct buf body)
{
    if (r->cfg->tree.no_digest)
        return;
    if (!r->compare_digests) {
        if (!r->info.has_digest || h->zxid != r->info.digest_zxid)
            return;
        r->compare_digests = true;
        if (r->info.digest != tree_digest(r->tree))
            r->digest_mismatches++;
    }
    size_t len;
    if (body.n < TXN_DIGEST_LEN || tree_txn_body_len(h, body, &r->arena, &len) < 0 || body.n - len < TXN_DIGEST_LEN)
        return;
    if (load_u32(body.p + len) == DIGEST_VERSION && load_u64(body.p + len + 4) != tree_digest(r->tree)) {
        if (r->digest_mismatches++ == 0)
            log_warn("storage", "the tree differs from the digest logged with zxid 0x%llx", (unsigned long long)h->zxid);
    }
}

static int replay_record(struct recovery *r, struct log_file *l, const struct txn_header *h, struct buf txn, int64_t at)
{
    if (h->zxid <= r->snapshot_zxid) {
        r->last_zxid = h->zxid;
        return 0;
    }
    if (r->new_file) {
        int rc = check_joint(r, l, h->zxid);
        if (rc < 0)
            return rc;
        clear_tears(r);
        r->new_file = false;
    }
    r->behind += h->zxid < r->last_zxid;
    struct buf body = buf_of(txn.p + TXN_HEADER_LEN, txn.n - TXN_HEADER_LEN);
    struct tree_result result = { 0 };
    arena_reset(&r->arena);
    for (size_t i = 0; i < r->passed.len; i++)
        r->passed.items[i].covered |= r->passed.items[i].zxid == h->zxid;
    if (tree_apply(r->tree, h, body, &r->arena, &result) < 0)
        return storage_fail(r->err, RC_CORRUPT, "%s: transaction 0x%llx at offset %lld cannot be decoded (type %d)", l->path,
                            (unsigned long long)h->zxid, (long long)at, h->type);
    r->last_zxid = MAX(h->zxid, r->last_zxid);
    if (tree_last_zxid(r->tree) < r->last_zxid)
        tree_set_last_zxid(r->tree, r->last_zxid);
    r->txns++;
    r->log_bytes += (int64_t)txn.n + RECORD_OVERHEAD;
    check_digest(r, h, body);
    tell_progress(r);
    return 0;
}

/* A hole with records behind it, all within what one unsynced batch can be, at the very end of the log. The batch's last record
 * is allowed as much as the rest of it; where jute.maxbuffer is set larger than that, such a hole is refused. */
static bool tear_is_crash(struct log_file *l, bool last_file)
{
    return last_file && l->hole && log_file_used(l) - l->pos <= 2 * LOG_UNSYNCED_MAX;
}

/* A server that was killed leaves its padding, which is real disk space. Nothing depends on its going. */
static void trim_padding(struct log_file *l)
{
    struct vfs_file *f;
    if (l->size == l->pos || l->vfs->open(l->vfs->ctx, l->path, VFS_WRITE, &f) < 0)
        return;
    (void)l->vfs->truncate(f, l->pos);
    l->vfs->close(f);
}

static int judge_end(struct recovery *r, struct log_file *l, bool last_file)
{
    if (l->end == LOG_END_CORRUPT)
        return storage_fail(r->err, RC_CORRUPT, "%s: damaged at offset %lld: %s", l->path, (long long)l->pos, l->why);
    if (l->end == LOG_END_CLEAN) {
        if (last_file)
            trim_padding(l);
        return 0;
    }
    if (log_file_valid_follows(l) && !tear_is_crash(l, last_file)) {
        if (l->io_rc < 0)
            return storage_fail_io(r->err, l->io_rc, "read", l->path);
        return storage_fail(r->err, RC_CORRUPT, "%s: damaged at offset %lld: %s, and complete transactions follow", l->path,
                            (long long)l->pos, l->why);
    }
    struct tear t = { .path = x_strdup(l->path), .pos = l->pos, .used = log_file_used(l), .no_records = l->records == 0 };
    VEC_PUSH(&r->tears, t);
    return 0;
}

static int replay_file(struct recovery *r, const char *path, bool last_file)
{
    struct log_file l;
    int rc = log_file_open(r->cfg, path, &l, r->err);
    if (rc < 0)
        return rc;
    struct txn_header h;
    struct buf txn;
    r->new_file = true;
    r->behind = 0;
    for (;;) {
        int64_t at = MAX(l.pos, FILE_HEADER_LEN);
        rc = log_file_next(&l, &h, &txn, r->err);
        if (rc <= 0 || h.zxid > r->stop)
            break;
        rc = replay_record(r, &l, &h, txn, at);
        if (rc < 0)
            break;
    }
    if (r->behind > 0) /* Apache's followers log under load what they were sent twice */
        log_warn("storage", "%s: %llu transactions stand behind later ones: applied again", path, (unsigned long long)r->behind);
    if (rc == 0)
        rc = judge_end(r, &l, last_file);
    log_file_close(&l);
    return MIN(rc, 0);
}

/* Cuts torn ends that no record follows. A file that holds nothing is removed. */
static int cut_tears(struct recovery *r)
{
    int rc = 0;
    for (size_t i = 0; i < r->tears.len && rc == 0; i++) {
        const struct tear *t = &r->tears.items[i];
        if (t->no_records) {
            log_warn("storage", "%s holds no transaction: removed", t->path);
            rc = r->vfs->remove(r->vfs->ctx, t->path);
            if (rc < 0)
                return storage_fail_io(r->err, rc, "remove", t->path);
            continue;
        }
        log_warn("storage", "%s: an unfinished write at offset %lld, %lld bytes, is cut off", t->path, (long long)t->pos,
                 (long long)(t->used - t->pos));
        struct vfs_file *f;
        rc = r->vfs->open(r->vfs->ctx, t->path, VFS_WRITE, &f);
        if (rc < 0)
            return storage_fail_io(r->err, rc, "open", t->path);
        rc = r->vfs->truncate(f, t->pos);
        if (rc == 0)
            rc = r->vfs->sync(f);
        r->vfs->close(f);
        if (rc < 0)
            return storage_fail_io(r->err, rc, "cut", t->path);
    }
    if (rc == 0 && r->tears.len > 0) {
        rc = r->vfs->sync_dir(r->vfs->ctx, r->log_dir);
        if (rc < 0)
            return storage_fail_io(r->err, rc, "sync", r->log_dir);
    }
    return rc;
}

/* An older snapshot and the log give what a lost one held only if they reach it. They do not where it came from a leader: what is before it was never in
 * this log, and may be another history. Zxids do not tell, since a new epoch may follow on any transaction. */
static int check_passed(struct recovery *r)
{
    for (size_t i = 0; i < r->passed.len; i++) {
        const struct passed *p = &r->passed.items[i];
        if (p->covered || p->zxid <= r->snapshot_zxid || (!p->damaged && p->zxid >= r->last_zxid))
            continue;
        return storage_fail(r->err, RC_CORRUPT, "%s is %s, and the log does not hold what it held: 0x%llx is not in it", p->path,
                            p->damaged ? "damaged" : "incomplete", (unsigned long long)p->zxid);
    }
    return 0;
}

/* Writes the end of a file over itself: as much as can have been unsynced. */
static int rewrite_end(struct recovery *r, struct vfs_file *f)
{
    int64_t size = r->vfs->size(f), from = MAX(0, size - 2 * (int64_t)LOG_UNSYNCED_MAX);
    uint8_t *p = x_malloc((size_t)MAX(1, size - from));
    int64_t n = size < 0 ? size : r->vfs->read_at(f, p, (size_t)(size - from), from);
    int rc = n > 0 ? r->vfs->write_at(f, p, (size_t)n, from) : (int)n;
    free(p);
    return rc;
}

/* What was read may be in the page cache alone: the process before was killed before it could sync it, or its sync failed, after which the kernel takes
 * pages for clean that never got to the disk. From here on the server answers for all of it (its vote, its word to a leader, reads), and
 * writes a new file behind it: a power cut must not take it back. */
static int make_durable(struct recovery *r)
{
    int rc = 0;
    for (size_t i = storage_first_log(&r->logs, r->snapshot_zxid); i < r->logs.len && rc >= 0 && !r->cfg->no_force_sync; i++) {
        const char *path = r->logs.items[i].path;
        struct vfs_file *f;
        rc = r->vfs->open(r->vfs->ctx, path, VFS_WRITE, &f);
        if (rc == RC_NOTFOUND) {
            rc = 0; /* it held nothing, and was removed */
            continue;
        }
        if (rc == 0) {
            if (i + 1 == r->logs.len)
                rc = rewrite_end(r, f);
            if (rc >= 0)
                rc = r->vfs->sync(f);
            r->vfs->close(f);
        }
        if (rc < 0)
            return storage_fail_io(r->err, rc, "sync", path);
    }
    const char *dirs[] = { r->log_dir, r->snap_dir }; /* names too: of logs, snapshots, epoch files */
    for (int i = 0; i < (storage_dirs_differ(r->cfg) ? 2 : 1); i++) {
        rc = r->vfs->sync_dir(r->vfs->ctx, dirs[i]);
        if (rc < 0)
            return storage_fail_io(r->err, rc, "sync", dirs[i]);
    }
    return 0;
}

static int replay(struct recovery *r)
{
    r->last_zxid = r->snapshot_zxid;
    /* An empty tree that nothing touched yet is exact; any other snapshot is fuzzy up to its digest's zxid. */
    r->compare_digests = r->snapshot_zxid == 0 && (!r->info.has_digest || r->info.digest_zxid == 0);
    if (r->info.has_digest && r->snapshot_zxid > 0 && r->info.digest_zxid == r->snapshot_zxid && !r->cfg->tree.no_digest) {
        r->compare_digests = true; /* nothing changed during the walk */
        if (r->info.digest != tree_digest(r->tree))
            log_warn("storage", "the tree differs from the digest in its snapshot");
    }
    int rc = 0;
    for (size_t i = storage_first_log(&r->logs, r->snapshot_zxid); i < r->logs.len && rc == 0; i++)
        rc = replay_file(r, r->logs.items[i].path, i + 1 == r->logs.len);
    return rc == 0 ? cut_tears(r) : rc;
}

/* ---- the end ---- */

static int settle(struct recovery *r)
{
    tree_load_settle(r->tree);
    if (r->digest_mismatches > 0)
        log_warn("storage", "%llu logged digests differ from the tree", (unsigned long long)r->digest_mismatches);
    return storage_settle_orphans(r->cfg, r->tree, r->err);
}

int storage_settle_orphans(const struct storage_config *cfg, struct tree *t, struct storage_error *err)
{
    size_t orphans = cfg->keep_orphans ? 0 : tree_kill_orphans(t);
    if (orphans == 0)
        return 0;
    /* They went without a transaction. Unless that is on disk before the next one, a replay would find them again and, where a
     * node of the same name was made since, keep the wrong one. */
    log_warn("storage", "%zu ephemeral nodes of sessions that are gone were removed", orphans);
    int64_t zxid, bytes;
    return snapshot_write(cfg, t, NULL, &zxid, &bytes, err);
}

/* The reference's marker "an empty database is meant" counts once. */
static void consume_marker(const struct storage_config *cfg)
{
    char *path = x_asprintf("%s/initialize", cfg->log_dir ? cfg->log_dir : cfg->data_dir);
    (void)cfg->vfs->remove(cfg->vfs->ctx, path); /* usually there is none */
    free(path);
}

static int run(struct recovery *r, struct storage_recovered *ret)
{
    int rc = prepare(r);
    int64_t start = clock_mono_us();
    if (rc == 0)
        rc = load_newest(r);
    if (rc < 0)
        return rc;
    ret->snapshot_us = clock_mono_us() - start;
    rc = rc == 0 ? start_empty(r, ret) : 0;
    start = clock_mono_us();
    if (rc == 0)
        rc = replay(r);
    ret->replay_us = clock_mono_us() - start;
    if (rc == 0 && !relapse(2325))
        rc = check_passed(r);
    if (rc == 0)
        rc = make_durable(r);
    if (rc == 0)
        rc = settle(r);
    if (rc == 0)
        consume_marker(r->cfg);
    return rc;
}

/* Gives the tree away. */
static void hand_out(struct recovery *r, struct storage_recovered *out, struct storage_recovered *ret)
{
    out->tree = r->tree;
    r->tree = NULL;
    out->last_zxid = tree_last_zxid(out->tree);
    out->snapshot_zxid = r->snapshot_zxid;
    out->txns_replayed = r->txns;
    out->log_bytes = r->log_bytes;
    *ret = *out;
}

static void recovery_free(struct recovery *r)
{
    tree_free(r->tree);
    for (size_t i = 0; i < r->tears.len; i++)
        free(r->tears.items[i].path);
    VEC_FREE(&r->tears);
    VEC_FREE(&r->passed);
    zxid_files_free(&r->snaps);
    zxid_files_free(&r->logs);
    arena_free(&r->arena);
    free(r->snap_dir);
    free(r->log_dir);
}

int storage_recover(const struct storage_config *cfg, void (*progress)(void *data, const char *text), void *data,
                    struct storage_recovered *ret, struct storage_error *err)
{
    struct recovery r = {
        .cfg = cfg,
        .vfs = cfg->vfs,
        .snap_dir = storage_dir(cfg, false),
        .log_dir = storage_dir(cfg, true),
        .arena = arena_init(),
        .progress = { progress, data, clock_mono_ms() + PROGRESS_MS },
        .stop = INT64_MAX,
        .err = err,
    };
    struct storage_recovered out = { 0 };
    int rc = run(&r, &out);
    if (rc == 0)
        hand_out(&r, &out, ret);
    recovery_free(&r);
    return rc;
}

/* ---- a state of the past ---- */

static int run_at(struct recovery *r)
{
    int rc = storage_list(r->vfs, r->snap_dir, false, &r->snaps, r->err);
    if (rc == 0)
        rc = storage_list(r->vfs, r->log_dir, true, &r->logs, r->err);
    if (rc == 0)
        rc = load_newest(r);
    if (rc < 0)
        return rc;
    if (rc == 0) { /* before the first transaction everything is empty; otherwise there is nothing to begin from */
        if (r->stop != 0)
            return storage_fail(r->err, RC_NOTFOUND, "%s: no snapshot up to zxid 0x%llx", r->snap_dir,
                                (unsigned long long)r->stop);
        r->tree = tree_new(&r->cfg->tree);
        r->from_empty = true;
    }
    r->last_zxid = r->snapshot_zxid;
    rc = 0;
    for (size_t i = storage_first_log(&r->logs, r->snapshot_zxid); i < r->logs.len && rc == 0; i++)
        if (r->logs.items[i].zxid <= r->stop && r->snapshot_zxid < r->stop)
            rc = replay_file(r, r->logs.items[i].path, false);
    if (rc == 0)
        rc = check_passed(r);
    if (rc == 0 && tree_last_zxid(r->tree) != r->stop)
        rc = storage_fail(r->err, RC_NOTFOUND, "%s: there is no transaction 0x%llx; the last before it is 0x%llx", r->log_dir,
                          (unsigned long long)r->stop, (unsigned long long)tree_last_zxid(r->tree));
    return rc;
}

int storage_recover_at(const struct storage_config *cfg, int64_t zxid, struct storage_recovered *ret, struct storage_error *err)
{
    struct recovery r = {
        .cfg = cfg,
        .vfs = cfg->vfs,
        .snap_dir = storage_dir(cfg, false),
        .log_dir = storage_dir(cfg, true),
        .arena = arena_init(),
        .stop = zxid,
        .err = err,
    };
    struct storage_recovered out = { 0 };
    int rc = run_at(&r);
    if (rc == 0) {
        out.created = r.from_empty;
        hand_out(&r, &out, ret);
    }
    recovery_free(&r);
    return rc == RC_CORRUPT ? RC_NOTFOUND : rc;
}
