/* reaper.c - deletes containers that have emptied and TTL nodes that have run out.
 *
 * Every check interval the tree names what is due; the deletions then go out at a bounded rate, each as a deleteContainer
 * transaction. Between naming and deleting, a node may have been used again: it is looked at once more, and only then costs a zxid.
 * Source: ContainerManager (3.9). */
#include "core_internal.h"

static int64_t reaper_spacing_ms(const struct core *c)
{
    return c->cfg.container_max_per_minute > 0 ? 60000 / c->cfg.container_max_per_minute : 0;
}

void reaper_init(struct core *c)
{
    c->reaper.next_check_ms = c->cfg.container_check_ms > 0 ? c->now_ms + c->cfg.container_check_ms : INT64_MAX;
}

void reaper_done(struct core *c)
{
    for (size_t i = 0; i < c->reaper.queue.len; i++)
        free(c->reaper.queue.items[i]);
    VEC_FREE(&c->reaper.queue);
}

void reaper_restart(struct core *c)
{
    reaper_done(c);
    c->reaper = (struct reaper){ 0 };
    reaper_init(c);
}

static void reaper_collect(void *data, const struct znode *n)
{
    struct core *c = data;
    struct jstr path = znode_path(n, &c->prep_arena);
    VEC_PUSH(&c->reaper.queue, x_strndup(path.p, (size_t)path.n));
}

/* As tree_each_reapable, over what is under way. */
static bool still_due(const struct core *c, const struct view *v)
{
    int64_t ttl_ms = 0, age_ms = c->wall_ms - v->stat.mtime;
    if (v->child_count > 0)
        return false;
    switch (tree_owner_kind(c->tree, v->stat.ephemeral_owner, &ttl_ms)) {
    case ZNODE_CONTAINER:
        if (v->stat.cversion > 0)
            return true;
        return c->cfg.container_max_never_used_ms > 0 && age_ms > c->cfg.container_max_never_used_ms;
    case ZNODE_TTL:
        return age_ms > ttl_ms;
    default:
        return false;
    }
}

static void reap(struct core *c, struct jstr path)
{
    struct view v;
    if (pipeline_full(c) || !view_find(c, path, &v) || !still_due(c, &v))
        return;
    struct pending *p = pipeline_begin(c, 0, 0, ZK_OP_DELETE_CONTAINER, 0, 4 + (size_t)path.n);
    struct prep pr = { .c = c, .p = p, .a = &c->prep_arena };
    arena_reset(&c->prep_arena);
    prep_delete_container(&pr, path);
    pipeline_append(c, p);
}

void reaper_tick(struct core *c)
{
    struct reaper *r = &c->reaper;
    if (r->queue.len == 0 && r->next_check_ms <= c->now_ms) {
        r->next_check_ms = c->now_ms + c->cfg.container_check_ms;
        r->next_delete_ms = c->now_ms;
        arena_reset(&c->prep_arena);
        tree_each_reapable(c->tree, c->wall_ms, c->cfg.container_max_never_used_ms, reaper_collect, c);
    }
    while (r->queue.len > 0 && r->next_delete_ms <= c->now_ms) {
        char *path = r->queue.items[--r->queue.len];
        reap(c, jstr_of(path));
        free(path);
        r->next_delete_ms += reaper_spacing_ms(c);
    }
}

int64_t reaper_next_wake(const struct core *c)
{
    return c->reaper.queue.len > 0 ? c->reaper.next_delete_ms : c->reaper.next_check_ms;
}
