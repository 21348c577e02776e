/* world.c - the event queue, randomness, the trace. */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FINDINGS_MAX = 20 };

/* ---- randomness ---- */

static uint64_t splitmix(uint64_t *s)
{
    uint64_t z = *s += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

struct sim_rng rng_split(uint64_t seed, uint64_t purpose, uint64_t which)
{
    struct sim_rng r;
    uint64_t s = seed;

    s = splitmix(&s) ^ purpose << 32 ^ which * UINT64_C(0xD1342543DE82EF95);
    for (size_t i = 0; i < ARRAY_LEN(r.s); i++)
        r.s[i] = splitmix(&s);
    return r;
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t rng_u64(struct sim_rng *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

int64_t rng_range(struct sim_rng *r, int64_t from, int64_t to)
{
    ASSERT(from <= to);
    uint64_t span = (uint64_t)to - (uint64_t)from + 1;

    return span == 0 ? (int64_t)rng_u64(r) : (int64_t)((uint64_t)from + rng_u64(r) % span); /* the bias is of no interest here */
}

bool rng_chance(struct sim_rng *r, uint32_t per_mille)
{
    return rng_u64(r) % 1000 < per_mille;
}

int64_t rng_skewed(struct sim_rng *r, int64_t from, int64_t to)
{
    uint64_t kind = rng_u64(r) % 64;
    int64_t span = to - from;

    if (kind == 0)
        return rng_range(r, from, to);
    return rng_range(r, from, from + (kind < 6 ? span / 8 : span / 64));
}

/* ---- events ---- */

void world_init(struct world *w, uint64_t seed, const struct sim_options *opt, struct sim_result *result)
{
    *w = (struct world){ .seed = seed, .opt = opt, .result = result, .trace = seed };
    w->wants_lines = opt->line || opt->keep_lines > 0;
}

void world_done(struct world *w)
{
    VEC_FREE(&w->heap);
}

static bool before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void world_at(struct world *w, int64_t at_us, uint32_t tag, world_fn fn, void *data, uint64_t arg)
{
    struct world_event e = { MAX(at_us, w->now_us), w->next_seq++, fn, data, arg, tag };

    VEC_PUSH(&w->heap, e);
    size_t i = w->heap.len - 1;
    while (i > 0 && before(&e, &w->heap.items[(i - 1) / 2])) {
        w->heap.items[i] = w->heap.items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap.items[i] = e;
}

static struct world_event pop(struct world *w)
{
    struct world_event *h = w->heap.items, top = h[0], last = h[--w->heap.len];
    size_t n = w->heap.len, i = 0;

    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= n)
            break;
        if (c + 1 < n && before(&h[c + 1], &h[c]))
            c++;
        if (!before(&h[c], &last))
            break;
        h[i] = h[c];
        i = c;
    }
    if (n > 0)
        h[i] = last;
    return top;
}

bool world_step(struct world *w, int64_t until_us)
{
    if (w->heap.len == 0 || w->heap.items[0].at_us > until_us || w->stopped)
        return false;
    struct world_event e = pop(w);

    ASSERT(e.at_us >= w->now_us);
    w->now_us = e.at_us;
    w->events++;
    w->actor = 0;
    world_mix(w, (uint64_t)e.at_us << 8 ^ e.tag);
    e.fn(e.data, e.arg);
    return true;
}

/* ---- the trace ---- */

void world_mix(struct world *w, uint64_t v)
{
    w->trace = (rotl(w->trace, 23) ^ v) * UINT64_C(0x9FB21C651E98DF25);
    w->trace ^= w->trace >> 35;
}

void world_mix_bytes(struct world *w, const void *p, size_t n)
{
    world_mix(w, XXH3_64bits(p, n));
}

/* ---- what people see ---- */

static char *format(const char *fmt, va_list ap)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, ap) < 0)
        ASSERT(!"out of memory");
    return text;
}

static void add_line(struct world *w, struct sim_line line, char *text)
{
    line.text = text;
    if (w->opt->line)
        w->opt->line(w->opt->line_data, &line);
    if (w->opt->keep_lines == 0)
        free(text);
    else
        VEC_PUSH(&w->result->lines, line);
}

void world_line(struct world *w, enum sim_line_kind kind, int64_t server, int64_t to, const char *fmt, ...)
{
    va_list ap;

    if (!w->wants_lines)
        return;
    va_start(ap, fmt);
    add_line(w, (struct sim_line){ w->now_us, kind, server, to, NULL }, format(fmt, ap));
    va_end(ap);
}

void world_finding(struct world *w, const char *name, int64_t server, const char *fmt, ...)
{
    va_list ap;

    if (w->opt->stop_at_finding)
        w->stopped = true;
    if (w->result->findings.len >= FINDINGS_MAX)
        return;
    va_start(ap, fmt);
    struct sim_finding f = { name, format(fmt, ap), w->now_us, server };
    va_end(ap);
    VEC_PUSH(&w->result->findings, f);
    world_line(w, SIM_LINE_FINDING, server, 0, "%s: %s", name, f.text);
}
