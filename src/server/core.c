/* core.c - making and freeing the core, its time, its effects. */
#include "core_internal.h"

struct core *core_new(const struct core_config *cfg, struct tree *tree, int64_t now_ms, int64_t wall_ms)
{
    struct core *c = x_calloc(1, sizeof(*c));
    c->cfg = *cfg;
    c->tree = tree;
    c->now_ms = now_ms;
    c->wall_ms = wall_ms;
    c->rng = cfg->seed;
    c->last_proposed = c->committed = tree_last_zxid(tree);
    c->tail = &c->head;
    c->role = CORE_STANDALONE;
    list_init(&c->syncs);
    list_init(&c->locals);
    list_init(&c->revalidations);
    overlay_init(c);
    sessions_init(c, wall_ms);
    reaper_init(c);
    return c;
}

void core_free(struct core *c)
{
    if (!c)
        return;
    overlay_done(c);
    pipeline_forget(c);
    reaper_done(c);
    learner_forget(c);
    sessions_done(c);
    u64map_free(&c->syncs_by_tag, NULL);
    core_effects_clear(c);
    VEC_FREE(&c->effects);
    VEC_FREE(&c->asked);
    VEC_FREE(&c->appended);
    VEC_FREE(&c->lent);
    VEC_FREE(&c->steps);
    wr_free(&c->frame);
    arena_free(&c->prep_arena);
    arena_free(&c->apply_arena);
    arena_free(&c->out_arena);
    free(c);
}

void core_tick(struct core *c, int64_t now_ms, int64_t wall_ms)
{
    c->now_ms = MAX(c->now_ms, now_ms);
    c->wall_ms = wall_ms;
    if (c->role != CORE_NONE)
        sessions_tick(c);
    if (!core_orders(c))
        return;
    if (c->orphans_due)
        submit_orphans(c);
    reaper_tick(c);
}

int64_t core_next_wake(const struct core *c)
{
    if (core_orders(c))
        return c->orphans_due ? c->now_ms : MIN(sessions_next_wake(c), reaper_next_wake(c));
    return c->role != CORE_NONE && c->sessions.local > 0 ? sessions_next_wake(c) : INT64_MAX;
}

/* ---- effects ---- */

/* The result is valid until the next effect is added. */
struct core_effect *effect_add(struct core *c, enum core_effect_type type, uint64_t conn)
{
    VEC_PUSH(&c->effects, ((struct core_effect){ .type = type, .conn = conn }));
    return &c->effects.items[c->effects.len - 1];
}

void session_ready(struct core *c, uint64_t conn, const struct session *s)
{
    struct core_effect *e = effect_add(c, CORE_SESSION_READY, conn);
    e->read_only = c->role == CORE_READONLY;
    if (!s)
        return;
    e->session_id = s->id;
    e->timeout_ms = s->timeout_ms;
    session_passwd(s->id, e->passwd);
}

size_t core_effects(struct core *c, const struct core_effect **ret)
{
    *ret = c->effects.items;
    return c->effects.len;
}

void core_effects_clear(struct core *c)
{
    for (size_t i = 0; i < c->appended.len; i++)
        pending_unref(c->appended.items[i]);
    c->appended.len = 0;
    for (size_t i = 0; i < c->lent.len; i++)
        auth_ids_unref(c->lent.items[i]);
    c->lent.len = 0;
    c->effects.len = 0;
    arena_reset(&c->out_arena);
}

/* ---- figures ---- */

int64_t core_last_proposed(const struct core *c)
{
    return c->last_proposed;
}

uint64_t core_outstanding(const struct core *c)
{
    return c->outstanding + c->requests;
}

uint64_t core_digest_mismatches(const struct core *c)
{
    return c->digest_mismatches;
}
