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
    bool keep_orphans;    /* a member of an ensemble: ephemerals without a session stay until a transaction removes them */
    uint32_t max_record;  /* largest txn accepted when reading: jute.maxbuffer plus extra; 0: 64 MiB */
    struct tree_options tree;
};

/* ---- recovery ---- */
struct storage_recovered {
    struct tree *tree;     /* owned by the caller */
    int64_t last_zxid;
    int64_t snapshot_zxid;
    int64_t snapshot_us, replay_us; /* how long loading it took, and the log behind it */
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
/* Does what was read so far begin with the very record `from`, and is it one history without a gap? Where a snapshot that came from a leader stands between two
 * epochs, something is missing. */
bool txnlog_reader_joined(const struct txnlog_reader *r);
void txnlog_reader_close(struct txnlog_reader *r);

/* ---- for a server in an ensemble ----
 * storage_truncate, storage_replace: nobody else uses the directory meanwhile: a txnlog has been rolled (it holds no file then;
 * its next append begins a new one, so that it need not be opened anew), and no snapshot or purge runs. RC_IO, RC_NOSPACE: the
 * process must stop (ZOOKEEPER-3701). */

/* Cuts the history behind zxid, for TRUNC: keeps records up to it and removes those behind, later log files, and every snapshot
 * that may hold a later effect (ZOOKEEPER-1549). *ret is what storage_recover would give afterwards. RC_NOTFOUND: that very
 * transaction is not in the log and no snapshot has its zxid (0 always counts), or what leads to it is damaged: nothing was
 * changed, ask for SNAP. A crash leaves the old history, the new one, or one that ends in between. */
int storage_truncate(const struct storage_config *cfg, int64_t zxid, struct storage_recovered *ret, struct storage_error *err);
/* The tree, which came from a leader by SNAP, and its last zxid are this server's history from now on: writes the snapshot,
 * then removes all behind that zxid, and the whole log, since what it holds before may have been withdrawn. Older snapshots
 * stay, until purged. A crash leaves the old history, one that ends earlier, or the new one. The epoch may have to be announced first. */
int storage_replace(const struct storage_config *cfg, struct tree *t, struct storage_error *err);

/* Calls fn for the last `count` transactions up to last_zxid, oldest first; fewer where a transaction is missing in between
 * (the rest is one history without gap), none where last_zxid itself is not in the log. Reads only the log files that hold
 * them. txn is borrowed for the call: header, body, digest. Returns how many; RC_CORRUPT, RC_IO. */
int storage_each_recent(const struct storage_config *cfg, int64_t last_zxid, int count,
                        void (*fn)(void *data, const struct txn_header *h, struct buf txn), void *data, struct storage_error *err);
/* What synchronising from the log would take (snapshotSizeFactor): bytes of log files from the one that holds zxid on,
 * padding not counted, and of the newest snapshot. covered: the log begins at or before zxid. */
struct storage_log_span {
    bool covered;
    int64_t log_bytes, snapshot_bytes;
};
int storage_log_span(const struct storage_config *cfg, int64_t zxid, struct storage_log_span *ret, struct storage_error *err);

/* ---- snapshots ---- */
/* lock/unlock: the tree's read lock, held at most `batch` nodes at a time (about a millisecond). Written to a .tmp name, synced,
 * renamed, directory synced. NULL: the caller is the tree's only user meanwhile. */
struct snapshot_locks {
    void (*lock)(void *data);
    void (*unlock)(void *data);
    void *data;
    /* Files: asked before every batch, lock held. True: the snapshot ends with RC_CANCELLED and leaves nothing behind. NULL: never. */
    bool (*cancelled)(void *data);
    int step_nodes; /* 0: as many as a millisecond allows; else exactly so many in one hold, whatever the time (the simulator) */
};
/* The name is the tree's last zxid when it began; so with locks NULL this is the exact snapshot of a learner at NEWLEADER,
 * durable on return. */
int snapshot_write(const struct storage_config *cfg, struct tree *t, const struct snapshot_locks *locks, int64_t *ret_zxid,
                   int64_t *ret_bytes, struct storage_error *err);
/* Reads one snapshot file (any compression, by its name). */
int snapshot_read(const struct storage_config *cfg, const char *path, int64_t zxid, struct tree **ret,
                  struct storage_error *err);

/* ---- snapshots from leader to learner (spec zookeeper-quorum 3.6): raw behind the SNAP packet, of any length ----
 * Leader: one encoder per learner, any number at a time, each used by one thread at a time. The image is fuzzy, as in files:
 * everything behind snap_encoder_zxid must be sent as transactions afterwards. */
struct snap_encoder;
/* Takes the lock once, for as long as sessions and ACLs take to encode. locks: as for snapshot_write, copied; its data must
 * outlive the encoder. The tree too. */
struct snap_encoder *snap_encoder_new(struct tree *t, const struct snapshot_locks *locks);
int64_t snap_encoder_zxid(const struct snap_encoder *e); /* for the SNAP packet */
/* Fills p with up to n (> 0) bytes and returns how many; 0: the stream is complete. Holds the lock for about a millisecond, or
 * not at all. Holds up to 256 KiB and one node in memory (at first: sessions and ACLs). */
size_t snap_encoder_read(struct snap_encoder *e, void *p, size_t n);
void snap_encoder_free(struct snap_encoder *e); /* at any time; takes the lock when the stream is not complete */

/* Learner: fed with chunks of any size as they arrive. Reads tree options and max_record of cfg, which is not kept. */
struct snap_decoder;
struct snap_decoder *snap_decoder_new(const struct storage_config *cfg);
/* RC_SHORT: all n bytes were taken, there is more to come. 0: the stream ended, signature and all, behind *ret_used bytes of
 * this chunk; what follows belongs to somebody else, and feed must not be called again. RC_CORRUPT, or RC_TOOBIG for a record
 * beyond max_record: the connection is of no use any more. Errors stay. */
int snap_decoder_feed(struct snap_decoder *d, const void *p, size_t n, size_t *ret_used, struct storage_error *err);
/* After 0: hands the tree out, its last zxid set (of the SNAP packet). As after snap_load of a fuzzy file: apply what the
 * leader sends, then tree_load_settle at NEWLEADER, before which everything that can be in the image has been sent. RC_CORRUPT:
 * no root. */
int snap_decoder_take(struct snap_decoder *d, int64_t zxid, struct tree **ret, struct storage_error *err);
void snap_decoder_free(struct snap_decoder *d); /* with the tree, unless it was taken: a half-received one is never kept */

/* ---- epochs and the server's number ----
 * acceptedEpoch, currentEpoch in dataDir/version-2, myid in dataDir: decimal text. Always: accepted >= current >= epoch of the
 * last zxid on disk. Writing is durable on return (new file, sync, rename, directory sync). */
#define STORAGE_EPOCH_MAX INT32_MAX
enum storage_epoch { STORAGE_EPOCH_ACCEPTED, STORAGE_EPOCH_CURRENT };
struct storage_epochs {
    int64_t accepted, current;
};
/* After storage_recover, with its last zxid. A missing file is made, with the epoch of that zxid. A last zxid of a later epoch
 * than currentEpoch is refused unless currentEpoch.tmp announces it; then the epoch of the zxid becomes the current one (never
 * the announced one if that is higher: the rest of the history it stands for may not have arrived). RC_CORRUPT: says which
 * files contradict each other. */
int storage_epochs_load(const struct storage_config *cfg, int64_t last_zxid, struct storage_epochs *ret, struct storage_error *err);
int storage_epoch_write(const struct storage_config *cfg, enum storage_epoch which, int64_t epoch, struct storage_error *err);
/* A learner is about to make durable transactions or a snapshot of an epoch above currentEpoch, which it may enter only when
 * all of it is on disk. Called first, this lets a crash in between be told from a mixed-up directory (ZOOKEEPER-1653). Ends
 * with storage_epoch_write(CURRENT). */
int storage_epoch_announce(const struct storage_config *cfg, int64_t epoch, struct storage_error *err);
/* First line of dataDir/myid, 0 to 255. RC_NOTFOUND, RC_CORRUPT (no such number). */
int storage_myid(const struct storage_config *cfg, int64_t *ret, struct storage_error *err);

/* Keeps the `retain` newest *valid* snapshots and every log that may hold txns behind the oldest of them. Returns files
 * removed. */
int storage_purge(const struct storage_config *cfg, int retain, struct storage_error *err);
/* Sizes of version-2 directories, for dirs/conf. */
int64_t storage_dir_size(const struct storage_config *cfg, bool log_dir);

/* Takes the directory's lock file so that two servers never share one; held until the process ends. RC_BUSY. */
int storage_lock(const struct storage_config *cfg, struct storage_error *err);

#endif
