/* aclcache.c - lists of ACLs interned by content, under the ids 1, 2, 3... that snapshots carry.
 * Source: ReferenceCountedACLCache (3.9). A list's order counts; an id that nobody uses is forgotten and never reused. */
#include "internal.h"

static struct jacl open_acl[] = { { ZK_PERM_ALL, { "world", 5 }, { "anyone", 6 } } };
/* Lets nobody but super in: for ids that no map explains. */
static struct jacl closed_acl[] = { { 0, { "world", 5 }, { "anyone", 6 } } };

void acl_cache_init(struct acl_cache *c)
{
    *c = (struct acl_cache){ 0 };
    VEC_PUSH(&c->slots, ((struct acl_entry){ .id = -1, .acl = { open_acl, 1 }, .used = true }));
}

static void entry_free(struct acl_entry *e)
{
    free(e->bytes);
    if (e->bytes)
        free(e->acl.v);
    *e = (struct acl_entry){ 0 };
}

void acl_cache_free(struct acl_cache *c)
{
    for (size_t i = 0; i < c->slots.len; i++)
        entry_free(&c->slots.items[i]);
    VEC_FREE(&c->slots);
    VEC_FREE(&c->unused);
    strmap_free(&c->by_list, NULL);
    u64map_free(&c->by_id, NULL);
    wr_free(&c->scratch);
}

static uint32_t slot_take(struct acl_cache *c, int64_t id)
{
    uint32_t slot;
    if (c->unused.len > 0) {
        slot = c->unused.items[--c->unused.len];
    } else {
        slot = (uint32_t)c->slots.len;
        VEC_PUSH(&c->slots, (struct acl_entry){ 0 });
    }
    c->slots.items[slot] = (struct acl_entry){ .id = id, .used = true };
    u64map_set(&c->by_id, (uint64_t)id, (void *)(uintptr_t)(slot + 1));
    c->last_id = MAX(c->last_id, id);
    return slot;
}

/* One above the highest seen. Only a forged snapshot gets near the end of the range; ids are then taken where they are free. */
static int64_t next_id(const struct acl_cache *c)
{
    uint64_t id = (uint64_t)c->last_id + 1;
    while (id == UINT64_MAX || u64map_get(&c->by_id, id))
        id++;
    return (int64_t)id;
}

/* Gives the entry its own copy of the list that stands in the scratch buffer. */
static void entry_fill(struct acl_cache *c, struct acl_entry *e)
{
    struct arena a = arena_init();
    e->len = c->scratch.n;
    e->bytes = x_memdup(c->scratch.p, e->len);
    struct rd r = rd_init(e->bytes, e->len);
    e->acl = jute_read_acls(&r, &a);
    ASSERT(r.rc == 0);
    if (e->acl.n > 0)
        e->acl.v = x_memdup(e->acl.v, (size_t)e->acl.n * sizeof(*e->acl.v));
    arena_free(&a);
}

static struct buf scratch_list(struct acl_cache *c, struct jacls acl)
{
    wr_reset(&c->scratch);
    jute_write_acls(&c->scratch, acl);
    return buf_of(c->scratch.p, c->scratch.n);
}

uint32_t acl_cache_intern(struct acl_cache *c, struct jacls acl)
{
    if (acl.n < 0) {
        c->slots.items[ACL_OPEN].refs++;
        return ACL_OPEN;
    }
    struct buf key = scratch_list(c, acl);
    uint32_t slot = (uint32_t)(uintptr_t)strmap_get(&c->by_list, key);
    if (slot == 0) {
        slot = slot_take(c, next_id(c));
        entry_fill(c, &c->slots.items[slot]);
        strmap_set(&c->by_list, key, (void *)(uintptr_t)(slot + 1));
    } else {
        slot--;
    }
    c->slots.items[slot].refs++;
    return slot;
}

uint32_t acl_cache_by_id(struct acl_cache *c, int64_t id)
{
    uint32_t slot = ACL_OPEN;
    if (id != -1) {
        slot = (uint32_t)(uintptr_t)u64map_get(&c->by_id, (uint64_t)id);
        if (slot == 0) {
            slot = slot_take(c, id);
            c->slots.items[slot].unknown = true;
            c->slots.items[slot].acl.n = -1;
        } else {
            slot--;
        }
    }
    c->slots.items[slot].refs++;
    return slot;
}

static void entry_drop(struct acl_cache *c, uint32_t slot)
{
    struct acl_entry *e = &c->slots.items[slot];
    if (e->bytes && (uintptr_t)strmap_get(&c->by_list, buf_of(e->bytes, e->len)) == slot + 1)
        strmap_del(&c->by_list, buf_of(e->bytes, e->len));
    u64map_del(&c->by_id, (uint64_t)e->id);
    entry_free(e);
    VEC_PUSH(&c->unused, slot);
}

void acl_cache_unref(struct acl_cache *c, uint32_t slot, bool keep_unused)
{
    struct acl_entry *e = &c->slots.items[slot];
    ASSERT(e->used);
    ASSERT(e->refs > 0);
    if (--e->refs == 0 && slot != ACL_OPEN && !keep_unused)
        entry_drop(c, slot);
}

void acl_cache_load(struct acl_cache *c, int64_t id, struct jacls acl)
{
    if (id == -1 || acl.n < 0)
        return; /* built in; and a null list explains nothing */
    uint32_t slot = (uint32_t)(uintptr_t)u64map_get(&c->by_id, (uint64_t)id);
    if (slot != 0 && !c->slots.items[slot - 1].unknown)
        return; /* named twice: the first stands */
    slot = slot ? slot - 1 : slot_take(c, id);
    struct acl_entry *e = &c->slots.items[slot];
    struct buf key = scratch_list(c, acl);
    e->unknown = false;
    entry_fill(c, e);
    if (!strmap_get(&c->by_list, key))
        strmap_set(&c->by_list, key, (void *)(uintptr_t)(slot + 1));
}

void acl_cache_settle(struct acl_cache *c)
{
    for (uint32_t i = 1; i < c->slots.len; i++) {
        struct acl_entry *e = &c->slots.items[i];
        if (e->used && e->refs == 0)
            entry_drop(c, i);
        else if (e->used && e->unknown)
            e->acl = (struct jacls){ closed_acl, 1 }; /* still "unknown": no snapshot lists it */
    }
}
