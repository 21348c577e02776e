/* sim_shrink.h - makes a finding smaller: as few faults of its schedule as still show it. */
#ifndef CLI_SIM_SHRINK_H
#define CLI_SIM_SHRINK_H

#include "sim_apart.h"

struct shrunk {
    struct VEC(uint32_t) skip; /* faults to leave out, ascending */
    size_t faults, left;       /* of the schedule before, after */
    uint64_t runs;
};

/* Repeats the run of `o`, which ended with a finding of this name, with ever fewer faults, until none can be left out alone or
 * budget_ms of real time is used up. a is reused; its result is that of the last run. RC_IO: no process. */
int sim_shrink(struct apart *a, const struct apart_options *o, const char *name, int64_t budget_ms, struct shrunk *ret);

#endif
