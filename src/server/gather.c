/* gather.c - the decision of gather.h. */
#include "gather.h"

#include "base/core.h"

enum {
    UNDER_WAY_MIN = 4,       /* with fewer it is the latency that counts */
    HELD_MAX = 128,          /* enough for one packet, one sync */
    HELD_BYTES_MAX = 64 << 10,
    HELD_SYNCS = 2,          /* a commit takes a sync, the way there and back, and its turn at disks that are shared */
    HELD_US_MAX = 2000,      /* on a slow disk: what waits there is a group anyway */
};

int64_t gather_more_us(const struct gathered *g)
{
    if (g->held == 0 || g->held >= HELD_MAX || g->held_bytes >= HELD_BYTES_MAX)
        return 0;
    if (g->under_way < UNDER_WAY_MIN || g->under_way < g->under_way_before)
        return 0;
    return MAX(0, MIN(g->sync_us * HELD_SYNCS, HELD_US_MAX) - g->held_us);
}
