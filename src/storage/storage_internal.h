/* storage_internal.h - what the files of this module share: names and paths, error texts, reading a log file record by
 * record, loading a snapshot. */
#ifndef STORAGE_INTERNAL_H
#define STORAGE_INTERNAL_H

#include "storage/storage.h"

#define LOG_MAGIC 0x5A4B4C47u  /* "ZKLG" */
#define SNAP_MAGIC 0x5A4B534Eu /* "ZKSN" */
#define FILE_VERSION 2
#define FILE_HEADER_LEN 16
#define TXN_HEADER_LEN 32
#define TXN_DIGEST_LEN 12
#define TXN_TERMINATOR 0x42   /* 'B' */
#define RECORD_OVERHEAD 13    /* checksum, length, terminator */
#define DIGEST_VERSION 2

/* The log holds no more than this unsynced, and the record that went past it: then an append syncs by itself. It bounds memory,
 * and the region in which a power cut may have lost some sectors and kept others (recover.c, tear_is_crash). */
#define LOG_UNSYNCED_MAX (2 << 20)

#define MAX_RECORD_DEFAULT (64u << 20)
static inline uint32_t storage_max_record(const struct storage_config *cfg)
{
    return cfg->max_record ? cfg->max_record : MAX_RECORD_DEFAULT;
}

/* Fills err (may be NULL) and returns rc. */
int storage_fail(struct storage_error *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same for a failed disk call: "cannot <what> <path>: <errno or rc>". */
int storage_fail_io(struct storage_error *err, int rc, const char *what, const char *path);

/* <dir>/version-2 of the snapshots or of the logs. Owned by the caller. */
char *storage_dir(const struct storage_config *cfg, bool log_dir);
bool storage_dirs_differ(const struct storage_config *cfg);

/* ---- names ---- */
enum snap_format { SNAP_PLAIN, SNAP_GZ, SNAP_SNAPPY };
struct zxid_file {
    int64_t zxid;
    enum snap_format format; /* snapshots only */
    char *path;
};
struct zxid_files VEC(struct zxid_file);
/* Parses "log.<hex>" / "snapshot.<hex>[.gz|.snappy]". False for every other name. */
bool log_name_parse(const char *name, int64_t *ret_zxid);
bool snap_name_parse(const char *name, int64_t *ret_zxid, enum snap_format *ret_format);
/* Lists the logs, or the snapshots, of a version-2 directory by ascending zxid. A missing directory is an empty one. */
int storage_list(const struct vfs *vfs, const char *dir, bool logs, struct zxid_files *ret, struct storage_error *err);
void zxid_files_free(struct zxid_files *l);
/* Index of the first log that may hold a txn behind `zxid`: the last whose name is <= zxid, else the first that there is. */
size_t storage_first_log(const struct zxid_files *logs, int64_t zxid);
/* Are two neighbours in the log neighbours in the history, as far as zxids and the snapshots tell (NULL: not looked at)? */
bool log_follows(const struct zxid_files *snaps, int64_t prev, int64_t next);

/* ---- recovery ---- */
/* The tree as it was at zxid, from what is on disk; changes nothing there. The tree still has to be settled. *ret created: no snapshot
 * was needed (zxid 0). RC_NOTFOUND: that transaction is not there, or not to be reached without a gap or damage. */
int storage_recover_at(const struct storage_config *cfg, int64_t zxid, struct storage_recovered *ret, struct storage_error *err);
/* Removes ephemerals without a session, durably. */
int storage_settle_orphans(const struct storage_config *cfg, struct tree *t, struct storage_error *err);

/* ---- one log file, read forward ---- */
enum log_end {
    LOG_END_CLEAN,   /* the end of the file, or nothing but padding behind the last record */
    LOG_END_TORN,    /* bytes are missing, as a crash leaves them: cut off, or zeros where something was to be */
    LOG_END_CORRUPT, /* bytes are there and wrong: no crash explains it */
};
struct log_file {
    const struct vfs *vfs;
    struct vfs_file *f;
    char *path;
    uint32_t max_record;
    int64_t size;
    int64_t pos;          /* of the next record; after the end, where the good part ends */
    uint64_t records;     /* read so far */
    int64_t last_zxid;    /* of the last record read */
    enum log_end end;     /* after log_file_next returned 0 */
    const char *why;      /* static text: what is wrong at pos, for TORN and CORRUPT */
    bool hole;            /* TORN: a whole sector of zeros in the damaged record */
    uint8_t *win;         /* a window of the file */
    size_t win_len, win_cap;
    int64_t win_at;
    int io_rc;            /* sticky read error */
};
/* Opens only; a damaged header shows at the first log_file_next. */
int log_file_open(const struct storage_config *cfg, const char *path, struct log_file *ret, struct storage_error *err);
/* 1: a record, its txn bytes borrowed until the next call; 0: see end, why and pos; RC_IO. */
int log_file_next(struct log_file *l, struct txn_header *ret_header, struct buf *ret_txn, struct storage_error *err);
/* After a torn end: is there a complete record anywhere behind pos? */
bool log_file_valid_follows(struct log_file *l);
/* Length of the file without trailing zeros, not below pos. */
int64_t log_file_used(struct log_file *l);
void log_file_close(struct log_file *l);

/* ---- what files and network streams of snapshots have in common: sessions, ACLs, nodes, end mark ---- */
extern const struct snapshot_locks snap_no_locks;
void snap_put_tables(struct wr *w, struct tree *t); /* sessions and ACLs; under the lock */
/* Encodes nodes for at most a millisecond, 2000 nodes or 256 KiB; under the lock. False when the walk is done; the end mark is the
 * caller's. */
bool snap_put_nodes(struct wr *w, struct tree_walk *walk, int step_nodes); /* as in struct snapshot_locks */
/* Each reads one record into the tree. RC_SHORT: it is not whole yet, nothing was taken. RC_MALFORMED, RC_CORRUPT. */
int snap_get_session(struct rd *r, struct tree *t);
int snap_get_acl(struct rd *r, struct tree *t, struct arena *a);
int snap_get_node(struct rd *r, struct tree *t, bool *ret_end); /* *ret_end: true after the end mark, else untouched */

/* ---- snapshot files ---- */
struct snap_info {
    bool has_digest;
    int64_t digest_zxid;
    int32_t digest_version;
    uint64_t digest;
    bool has_last_zxid;
    int64_t last_zxid;
};
/* Tells somebody about once a second that work goes on. */
struct storage_progress {
    void (*fn)(void *data, const char *text); /* NULL: nobody */
    void *data;
    int64_t due_ms; /* monotonic */
};
bool storage_progress_due(struct storage_progress *p);
/* progress may be NULL. */
int snap_load(const struct storage_config *cfg, const char *path, enum snap_format format, int64_t zxid,
              struct storage_progress *progress, struct tree **ret, struct snap_info *ret_info, struct storage_error *err);
/* The cheap look at both ends of the file that decides which snapshots count at all. */
bool snap_looks_valid(const struct vfs *vfs, const struct zxid_file *f);

/* A stream of decompressed bytes. read: short only at the end; RC_IO, RC_CORRUPT. */
struct snap_source;
int snap_source_open(const struct vfs *vfs, const char *path, enum snap_format format, struct snap_source **ret);
int64_t snap_source_read(struct snap_source *s, uint8_t *p, size_t n);
void snap_source_close(struct snap_source *s);

/* The other way: bytes in, compressed bytes into the file. */
struct snap_sink;
struct snap_sink *snap_sink_new(const struct vfs *vfs, struct vfs_file *f, enum snap_format format);
int snap_sink_write(struct snap_sink *s, const uint8_t *p, size_t n);
int snap_sink_finish(struct snap_sink *s);     /* what is buffered goes out; no sync */
int64_t snap_sink_bytes(const struct snap_sink *s); /* file length so far */
void snap_sink_free(struct snap_sink *s);

#endif
