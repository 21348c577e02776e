/* gather.h - how long a leader gathers proposals before it sends them: group commit for the whole ensemble.
 *
 * While proposals are under way, a few more that came behind them gain little by being sent at once: every disk is at work for the former. Sent together with what
 * comes until those are committed, they cost every server one packet, one sync and one round of wake-ups instead of several. As Nagle's algorithm
 * does, the answer to the last group sends the next, so a client alone never waits; and nobody waits for longer than two syncs take. */
#ifndef SERVER_GATHER_H
#define SERVER_GATHER_H

#include <stddef.h>
#include <stdint.h>

struct gathered {
    size_t held, held_bytes;     /* proposals not sent yet, of all clients */
    uint64_t under_way;          /* sent, not committed */
    uint64_t under_way_before;   /* the same a turn ago: more than now when something was committed, which is to be told at once */
    int64_t held_us;             /* how long the oldest of the held has waited */
    int64_t sync_us;             /* what this server's disk took for the last sync; 0: not known */
};

/* How many microseconds more to gather unless something happens; 0: send. */
int64_t gather_more_us(const struct gathered *g);

#endif
