/* world.h - virtual time, the order of events, randomness, the trace: what everything in the simulation stands on.
 *
 * Order      Events are carried out by (time, number): nothing else decides. What runs in an event may make later events, never earlier ones.
 * Randomness One generator per purpose, all split from the seed, so that a draw added in one place moves nothing in another.
 * Trace      A hash over every event and every byte that is sent or decided; equal for equal runs. No pointer, no real time goes into it.
 * Units      *_us is virtual microseconds since the world began. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/bytes.h"
#include "sim/sim.h"

#define SIM_NEVER INT64_MAX
#define MS_US INT64_C(1000)
#define SEC_US INT64_C(1000000)

/* ---- randomness ---- */

struct sim_rng {
    uint64_t s[4]; /* xoshiro256** */
};
/* Purposes: any number; the same seed and purpose give the same sequence. */
struct sim_rng rng_split(uint64_t seed, uint64_t purpose, uint64_t which);
uint64_t rng_u64(struct sim_rng *r);
int64_t rng_range(struct sim_rng *r, int64_t from, int64_t to); /* both included */
bool rng_chance(struct sim_rng *r, uint32_t per_mille);
/* Mostly near `from`, seldom up to `to`: delays. */
int64_t rng_skewed(struct sim_rng *r, int64_t from, int64_t to);

enum rng_purpose { RNG_SHAPE = 1, RNG_NET, RNG_DISK, RNG_NODE, RNG_FAULTS, RNG_CLIENT, RNG_CRASH };

/* ---- the world ---- */

typedef void (*world_fn)(void *data, uint64_t arg);

struct world_event {
    int64_t at_us;
    uint64_t seq;
    world_fn fn;
    void *data;
    uint64_t arg;
    uint32_t tag; /* of the trace */
};

struct world {
    uint64_t seed;
    int64_t now_us;
    uint64_t next_seq, events;
    uint64_t trace;
    struct VEC(struct world_event) heap;
    bool stopped;
    int64_t actor; /* sid of the server whose code runs; 0: nobody's */
    /* What was found. */
    const struct sim_options *opt;
    struct sim_result *result;
    bool wants_lines;
};

void world_init(struct world *w, uint64_t seed, const struct sim_options *opt, struct sim_result *result);
void world_done(struct world *w);
/* fn(data, arg) at at_us, not before now. data must live until then: what may go away first is told by arg. tag: a small number for the trace. */
void world_at(struct world *w, int64_t at_us, uint32_t tag, world_fn fn, void *data, uint64_t arg);
/* Carries out the next event, if it is due before until_us. False: there is none. */
bool world_step(struct world *w, int64_t until_us);

void world_mix(struct world *w, uint64_t v);
void world_mix_bytes(struct world *w, const void *p, size_t n);

/* A contradiction. name: a literal. Only the first few are kept. */
void world_finding(struct world *w, const char *name, int64_t server, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A line of the timeline; costs nothing when nobody wants them. */
void world_line(struct world *w, enum sim_line_kind kind, int64_t server, int64_t to, const char *fmt, ...) PRINTF_LIKE(5, 6);

#endif
