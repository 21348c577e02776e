/* story.h - histories and logs written by hand: a line of text for each thing that happened.
 *
 * Clients    are numbers, as is session 100 + client; all connect to server 0 on a connection with the client's number.
 * Time       a step of the story is a millisecond.
 * Log        story_commit appends transactions of epoch 1 with the next zxid: 1 << 32 | 1, 2, 3 ... Z(n) is the nth.
 *            The state begins with nothing but the reserved nodes; story_begin opens the sessions of clients 0 .. 3 with Z(1) .. Z(4)
 *            and creates /r with Z(5). */
#ifndef STORY_H
#define STORY_H

/* clang-format off: cmocka wants these first */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "check_internal.h"

#define Z(n) (INT64_C(1) << 32 | (n))
enum { CLIENTS = 4, FIRST = 6 /* the next zxid after story_begin */ };

struct story {
    struct history *h;
    struct VEC(struct check_commit) log;
    int64_t now_us;
    int64_t counter;
    int32_t xid[CLIENTS];
    struct check_report report;
};
void story_begin(struct story *s);
void story_end(struct story *s);
static inline int64_t session_of(int client)
{
    return 100 + client;
}

/* ---- the history ---- */
struct hist_op *sends(struct story *s, int client, int32_t op, const char *path, const char *data, int32_t version);
struct hist_op *sends_multi(struct story *s, int client, const struct hist_step *steps, uint32_t count);
void answered(struct story *s, struct hist_op *op, int64_t zxid);                 /* OK */
void refused(struct story *s, struct hist_op *op, int32_t err, int64_t zxid);
void lost(struct story *s, struct hist_op *op);
/* A read's answer: data NULL: only the stat. version -1: without a stat. */
void shows(struct story *s, struct hist_op *op, int64_t zxid, const char *data, int32_t version);
void shows_stat(struct story *s, struct hist_op *op, int64_t zxid, const char *data, const struct zk_stat *stat);
/* A sync and a read behind it; both sent now. */
struct hist_op *sends_synced(struct story *s, int client, const char *path);
void event(struct story *s, int client, int32_t type, const char *path, int64_t zxid);
void mark(struct story *s, int client, enum hist_mark_type type);
void pong(struct story *s, int client, int64_t zxid);

/* ---- the log ---- */
/* Of the request: committed as what it asks for. Returns its zxid. version: of the node afterwards. */
int64_t commits(struct story *s, const struct hist_op *op, int32_t parent_cversion_or_version);
int64_t commits_error(struct story *s, const struct hist_op *op, int32_t err);
int64_t commits_txn(struct story *s, int64_t session, int32_t cxid, int32_t type, struct buf body);
int64_t commits_create(struct story *s, int64_t session, int32_t cxid, const char *path, const char *data, bool ephemeral, int32_t parent_cversion);
int64_t commits_close(struct story *s, int64_t session, int32_t cxid, const char *path); /* path NULL: nothing deleted */

/* ---- the verdict ---- */
struct check_input story_input(struct story *s);
/* Runs all checks: the first finding has this name, or there is none (NULL). Forgets the findings. */
void verdict(struct story *s, const char *name);
/* Runs one. */
typedef void (*check_fn)(const struct check_input *in, const struct model *m, struct check_report *ret);
void verdict_of(struct story *s, check_fn fn, const char *name);

#endif
