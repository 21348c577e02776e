/* ensemble.h - cores in roles, joined by queues instead of a network: what the shells and the broadcast protocol do for them, without failures.
 *
 * The first of up to three members leads. Proposals, commits, forwarded requests, syncs, revalidations and touches travel in order between
 * the leader and each learner, and are delivered one at a time, when the test says so. */
#ifndef ENSEMBLE_H
#define ENSEMBLE_H

#include "harness.h"

#define MEMBERS 3

enum note_type { NOTE_TXN, NOTE_COMMIT, NOTE_SYNCED, NOTE_REVALIDATED, /* from the leader */
                 NOTE_REQUEST, NOTE_SYNC, NOTE_REVALIDATE, NOTE_TOUCH, NOTE_ACK /* to it */ };
struct note {
    enum note_type type;
    int64_t zxid, session_id;
    int32_t xid, op, timeout_ms;
    bool valid;
    uint64_t tag;
    struct buf bytes; /* in the ensemble's arena */
    struct jids auth;
};
struct queue {
    struct VEC(struct note) notes;
    size_t head;
};

struct member {
    struct tree *tree;
    struct core *core;
    struct queue in, out; /* learner: from and to the leader */
    int64_t received;     /* learner: last transaction */
    struct VEC(struct got) got;
};

struct ensemble {
    struct core_config cfg;
    struct tree_options opt;
    struct arena arena;
    struct auth_ids *ids;
    struct member m[MEMBERS];
    int leader;
    int64_t epoch, now, committed;
    int64_t acked[MEMBERS];
    struct VEC(struct buf) log; /* of the leader, in this epoch and before: txns by zxid */
    struct VEC(int64_t) log_zxids;
};

void ensemble_start(struct ensemble *e); /* e->cfg may be changed between init and start */
void ensemble_init(struct ensemble *e);
void ensemble_done(struct ensemble *e);
/* Time goes on as a server's loop sees it, a second at a time; who: one member, or -1 for all. */
void ensemble_pass(struct ensemble *e, int who, int64_t ms);
void ensemble_pump(struct ensemble *e, int who);        /* carries out the effects of one member */
bool ensemble_deliver(struct ensemble *e, int learner, bool to_leader); /* one note; false: none */
void ensemble_quorum(struct ensemble *e, int64_t zxid); /* the leader commits up to zxid */
void ensemble_apply(struct ensemble *e, int who, uint32_t max);
void ensemble_settle(struct ensemble *e);               /* until nothing moves */
/* The leader goes; `next` leads a new epoch with the log up to what it has received; what others have beyond is withdrawn. */
void ensemble_elect(struct ensemble *e, int next);
void ensemble_same(struct ensemble *e);                 /* all trees are equal, no digest ever differed */

void ensemble_submit(struct ensemble *e, int who, uint64_t conn, int64_t session, int32_t xid, const char *text);
int64_t ensemble_connect(struct ensemble *e, int who, uint64_t conn, int32_t timeout_ms); /* and settles */
void ensemble_attach(struct ensemble *e, int who, uint64_t conn, int64_t session, int32_t timeout_ms);
const struct got *ensemble_reply(const struct ensemble *e, int who, uint64_t conn, int32_t xid); /* NULL: none */
size_t ensemble_count(const struct ensemble *e, int who, enum core_effect_type type, uint64_t conn);

#endif
