/* leader.h - which of several writers writes: a lock under <base>/.leader, and a fence that deposed writers
 * run into.
 *
 * Protocol   Every candidate has an ephemeral sequential child of .leader. The first sets
 *            .leader's data to the next epoch, on condition of the version that it read; from then on every
 * multi of its begins with a check of the version that this gave. Whoever takes over sets the data again, so
 * a writer that was paused or cut off meanwhile fails its check, whatever it believes. Watches    None of its
 * own: the owner has a cache of <base>, whose recursive watch covers .leader, and says when to look.
 * Threading  The client's loop. */
#ifndef SYNC_LEADER_H
#define SYNC_LEADER_H

#include <uv.h>

#include "base/core.h"
#include "quoll/quoll.h"

struct leader;

struct leader_handler {
    void *data;
    void (*on_change)(void *data, bool leading);
    void (*on_problem)(void *data, const char *text);
};

/* base: "/quoll/registry/default"; it and its parents are created when missing. Starts at once. */
struct leader *leader_open(uv_loop_t *loop, quoll_client *client, const char *base,
                           const struct leader_handler *h);
bool leader_leading(const struct leader *l);
bool leader_standing_by(const struct leader *l); /* another one leads, and we are enrolled */
uint64_t leader_epoch(const struct leader *l); /* of the last leadership; 0: never led */
/* The first step of every multi while leading. Borrows from l. */
struct quoll_op leader_fence(const struct leader *l);
/* The fence has failed: somebody else writes. Stands for election again. */
void leader_deposed(struct leader *l);
/* Something below .leader has changed, or the connection is back: looks at the candidates again. Also looks
 * by itself, seldom. */
void leader_look(struct leader *l);
/* Gives the lock back; no callback after the return. `closed` when the loop has let go of it. */
void leader_close(struct leader *l, void (*closed)(void *data), void *data);

#endif
