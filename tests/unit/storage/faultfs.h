/* faultfs.h - a disk in memory that can be crashed.
 *
 * Every file has two contents: what the process sees, and what the platter holds. A sync moves the one to the other. The same
 * for names: a created, renamed or removed name is durable once its directory was synced. A crash forgets, in the way that
 * the mode says, what was not synced.
 *
 * Operations that change something (create, write, allocate, truncate, sync, rename, remove, sync_dir) are counted from 0, so that a test
 * can run its workload once, ask how many there were, and crash or fail it at each of them.
 *
 * Threading  none: one user at a time. */
#ifndef TESTS_FAULTFS_H
#define TESTS_FAULTFS_H

#include "storage/vfs.h"

enum faultfs_crash_mode {
    FAULTFS_LOSE_UNSYNCED, /* nothing that was not synced survives */
    FAULTFS_KEEP_ALL,      /* everything does */
    FAULTFS_TORN,          /* of every file a prefix of its unsynced changes, cut at any byte; names likewise, in order */
    FAULTFS_SECTORS,       /* each 512-byte sector of an unsynced write by chance; names likewise */
};
#define FAULTFS_MODES 4

struct faultfs;
struct faultfs *faultfs_new(uint64_t seed);
void faultfs_free(struct faultfs *fs);
const struct vfs *faultfs_vfs(struct faultfs *fs);

/* At the operation `op` the power goes: it and every later one does nothing and answers RC_IO. -1: never. */
void faultfs_crash_at(struct faultfs *fs, int64_t op);
/* The k-th write or allocation from now (0: the next) writes a part and answers RC_NOSPACE. -1: never. */
void faultfs_no_space_at(struct faultfs *fs, int64_t k);
/* The k-th file sync from now answers RC_IO; what it was to make durable is never going to be. -1: never. */
void faultfs_sync_error_at(struct faultfs *fs, int64_t k);
/* Makes sync and sync_dir do nothing but answer 0. */
void faultfs_lie(struct faultfs *fs, bool lie);

int64_t faultfs_ops(const struct faultfs *fs); /* counted so far */
bool faultfs_crashed(const struct faultfs *fs);
/* The machine comes up again: decides what survived, clears every plan and the count. Files open before are dead; close them first. */
void faultfs_restart(struct faultfs *fs, enum faultfs_crash_mode mode);

/* Puts a file there, durable, or changes one byte of it (xor). */
void faultfs_put(struct faultfs *fs, const char *path, const void *p, size_t n);
void faultfs_flip(struct faultfs *fs, const char *path, size_t at, uint8_t mask);
/* Borrowed content as the process sees it; p NULL when there is none. */
struct buf faultfs_get(struct faultfs *fs, const char *path);
void faultfs_delete(struct faultfs *fs, const char *path);
/* Calls fn for every path, sorted. */
void faultfs_each(struct faultfs *fs, void (*fn)(void *data, const char *path, struct buf content), void *data);

/* A small deterministic generator, for tests: splitmix64. */
uint64_t faultfs_random(uint64_t *state);

#endif
