/* store_util.h - what the tests of recovery share: making transactions, describing a tree as text. */
#ifndef TESTS_STORE_UTIL_H
#define TESTS_STORE_UTIL_H

#include "faultfs.h"
#include "storage/storage.h"

/* Transactions as they stand in the log: header and body, without digest. The caller frees. Time is a function of the zxid. */
struct wr txn_session(int64_t zxid, int64_t session, int32_t timeout_ms);
struct wr txn_close(int64_t zxid, int64_t session, const char *ephemeral); /* NULL: none */
struct wr txn_create(int64_t zxid, int64_t session, const char *path, const void *data, size_t n, bool ephemeral,
                     int32_t parent_cversion);
struct wr txn_set(int64_t zxid, const char *path, const void *data, size_t n, int32_t version);
struct wr txn_delete(int64_t zxid, const char *path);
struct wr txn_error(int64_t zxid, int32_t err);

/* Applies a transaction as made above; its failure is the tree's matter. RC_MALFORMED is a failed test. */
void apply_txn(struct tree *t, const struct wr *txn);

/* Everything that clients and snapshots see of a tree, sorted, one line a node and a session. The caller frees. */
char *describe_tree(const struct tree *t);

/* The i-th step of an endless deterministic history (zxid = i): sessions, nodes with ephemerals, changes, deletions, errors. */
struct wr history_txn(int64_t zxid);

/* Copies every file of a real directory into `dir` of the disk. */
void faultfs_import(struct faultfs *fs, const char *real_dir, const char *dir);

#endif
