/* storage.h - transaction log, snapshots, recovery, retention; in Apache's formats, byte for byte.
 *
 * Threading  txnlog: its owner thread (the log thread). snapshot_write: the snapshot thread. storage_recover: before any.
 * Errors     A failed write or sync means that the process must stop: the caller does that (RC_IO, RC_NOSPACE). Every error comes
 *            with one line for people, naming file and offset, in struct storage_error.
 * Source     FileTxnLog, FilePadding, FileSnap, SnapStream, FileTxnSnapLog, PurgeTxnLog (3.9). */
#ifndef STORAGE_STORAGE_H
#define STORAGE_STORAGE_H

#include "storage/vfs.h"
#include "tree/tree.h"

struct storage_error {
    char text[512];
};

struct storage_config {
    const struct vfs *vfs;
    const char *data_dir; /* dataDir, without version-2 */
    const char *log_dir;  /* dataLogDir; NULL: data_dir */
    int64_t prealloc_bytes; /* preAllocSize; 0: 64 MiB */
    bool no_force_sync;   /* forceSync=no */
    bool trust_empty;     /* snapshot.trust.empty */
    const char *compression; /* "", "gz", "snappy" */
    bool no_last_zxid_section; /* serializeLastProcessedZxid.enabled=false */
    uint32_t max_record;  /* largest txn accepted when reading: jute.maxbuffer plus extra; 0: 64 MiB */
    struct tree_options tree;
};

/* ---- recovery ---- */
struct storage_recovered {
    struct tree *tree;     /* owned by the caller */
    int64_t last_zxid;
    int64_t snapshot_zxid;
    uint64_t txns_replayed;
    int64_t log_bytes;     /* since the snapshot */
    bool created;          /* the directory was empty: snapshot.0 was written */
};
/* Reads the newest good snapshot, replays the log behind it; cuts a torn tail only where nothing valid follows.
 * progress (may be NULL) is called about once a second of work. RC_CORRUPT: refuses, and says which file and offset.
 * A checksum that does not fit in the middle of a log is fatal, never skipped. */
int storage_recover(const struct storage_config *cfg, void (*progress)(void *data, const char *text), void *data,
                    struct storage_recovered *ret, struct storage_error *err);

/* ---- transaction log ---- */
struct txnlog;
int txnlog_open(const struct storage_config *cfg, struct txnlog **ret, struct storage_error *err);
/* Appends one record: txn = header, body, optional digest. The file log.<zxid> is made at the first append after open or roll. */
int txnlog_append(struct txnlog *l, int64_t zxid, struct buf txn, struct storage_error *err);
/* Everything appended is on disk after this: one write per file, one fdatasync (also the directory entry of a new file). */
int txnlog_sync(struct txnlog *l, struct storage_error *err);
/* The next append begins a new file. */
int txnlog_roll(struct txnlog *l, struct storage_error *err);
int64_t txnlog_bytes(const struct txnlog *l); /* appended since the last roll */
void txnlog_close(struct txnlog *l);          /* syncs what is appended */

/* Iterates records with zxid >= from over all files, for tools, DIFF and tests. */
struct txnlog_reader;
int txnlog_reader_open(const struct storage_config *cfg, int64_t from_zxid, struct txnlog_reader **ret,
                       struct storage_error *err);
/* 1: a record (borrowed until the next call); 0: end; RC_CORRUPT. */
int txnlog_reader_next(struct txnlog_reader *r, struct txn_header *ret_header, struct buf *ret_txn, struct storage_error *err);
void txnlog_reader_close(struct txnlog_reader *r);

/* ---- snapshots ---- */
/* lock/unlock: the tree's read lock, held at most `batch` nodes at a time (about a millisecond). Written to a .tmp name, synced,
 * renamed, directory synced. RC_BUSY: one is under way. */
struct snapshot_locks {
    void (*lock)(void *data);
    void (*unlock)(void *data);
    void *data;
};
int snapshot_write(const struct storage_config *cfg, struct tree *t, const struct snapshot_locks *locks, int64_t *ret_zxid,
                   int64_t *ret_bytes, struct storage_error *err);
/* Reads one snapshot file (any compression, by its name). */
int snapshot_read(const struct storage_config *cfg, const char *path, int64_t zxid, struct tree **ret,
                  struct storage_error *err);

/* Keeps the `retain` newest *valid* snapshots and every log that may hold txns behind the oldest of them. Returns files removed. */
int storage_purge(const struct storage_config *cfg, int retain, struct storage_error *err);
/* Sizes of version-2 directories, for dirs/conf. */
int64_t storage_dir_size(const struct storage_config *cfg, bool log_dir);

/* Takes the directory's lock file so that two servers never share one; held until the process ends. RC_BUSY. */
int storage_lock(const struct storage_config *cfg, struct storage_error *err);

#endif
