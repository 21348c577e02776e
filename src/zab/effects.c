/* effects.c - the queue of effects, and what both machines share. */
#include "effects.h"

void effects_clear(struct effects *e)
{
    for (size_t i = 0; i < e->txns.len; i++)
        zab_txn_unref(e->txns.items[i]);
    for (size_t i = 0; i < e->configs.len; i++)
        quorum_config_unref(e->configs.items[i]);
    e->queue.len = e->txns.len = e->configs.len = 0;
    arena_reset(&e->arena);
}

void effects_free(struct effects *e)
{
    effects_clear(e);
    VEC_FREE(&e->queue);
    VEC_FREE(&e->txns);
    VEC_FREE(&e->configs);
    arena_free(&e->arena);
    wr_free(&e->scratch);
}

struct zab_effect *effects_add(struct effects *e, enum zab_effect_type type)
{
    VEC_PUSH(&e->queue, ((struct zab_effect){ .type = type, .designated = -1 }));
    return &e->queue.items[e->queue.len - 1];
}

void effects_hold(struct effects *e, struct zab_txn *t)
{
    VEC_PUSH(&e->txns, zab_txn_ref(t));
}

void effects_txn(struct effects *e, enum zab_effect_type type, struct zab_txn *t)
{
    struct zab_effect *f = effects_add(e, type);

    f->zxid = t->zxid;
    f->bytes = zab_txn_bytes(t);
    effects_hold(e, t);
}

void effects_send(struct effects *e, uint64_t conn, struct buf packet)
{
    struct zab_effect *f = effects_add(e, ZAB_SEND);

    f->conn = conn;
    f->bytes = packet;
}

struct wr *effects_packet(struct effects *e)
{
    wr_reset(&e->scratch);
    return &e->scratch;
}

struct buf effects_keep_scratch(struct effects *e)
{
    ASSERT(e->scratch.rc == 0); /* no limit was set */
    return buf_of(arena_memdup(&e->arena, e->scratch.p, e->scratch.n), e->scratch.n);
}

void effects_send_scratch(struct effects *e, uint64_t conn)
{
    effects_send(e, conn, effects_keep_scratch(e));
}

void effects_send_bare(struct effects *e, uint64_t conn, int32_t type, int64_t zxid)
{
    qpacket_encode_bare(effects_packet(e), type, zxid);
    effects_send_scratch(e, conn);
}

struct zab_effect *effects_config(struct effects *e, enum zab_effect_type type, struct quorum_config *c)
{
    struct zab_effect *f = effects_add(e, type);

    f->config = c;
    f->zxid = c->version;
    VEC_PUSH(&e->configs, quorum_config_ref(c));
    return f;
}

void txn_fifo_push(struct txn_fifo *f, struct zab_txn *t)
{
    if (f->head + f->len == f->cap && f->head > f->len) {
        memmove(f->items, f->items + f->head, f->len * sizeof(*f->items));
        f->head = 0;
    }
    if (f->head + f->len == f->cap)
        vec_grow((void **)&f->items, &f->cap, f->head + f->len + 1, sizeof(*f->items));
    f->items[f->head + f->len++] = t;
}

struct zab_txn *txn_fifo_pop(struct txn_fifo *f)
{
    ASSERT(f->len > 0);
    f->len--;
    return f->items[f->head++];
}

void txn_fifo_free(struct txn_fifo *f)
{
    while (f->len > 0)
        zab_txn_unref(txn_fifo_pop(f));
    free(f->items);
    *f = (struct txn_fifo){ 0 };
}

const char *zab_effect_str(enum zab_effect_type t)
{
    static const char *const names[] = {
        [ZAB_SEND] = "send", [ZAB_CLOSE] = "close", [ZAB_SEND_SNAPSHOT] = "send snapshot", [ZAB_READ_LOG] = "read log",
        [ZAB_PERSIST_ACCEPTED_EPOCH] = "persist acceptedEpoch", [ZAB_PERSIST_CURRENT_EPOCH] = "persist currentEpoch",
        [ZAB_APPEND] = "append", [ZAB_TRUNCATE_LOG] = "truncate log", [ZAB_LOAD_SNAPSHOT] = "load snapshot",
        [ZAB_STORE_SNAPSHOT] = "store snapshot", [ZAB_COMMIT] = "commit", [ZAB_REPLAY] = "replay", [ZAB_SERVE] = "serve",
        [ZAB_STOP] = "stop", [ZAB_CONFIG_SEEN] = "config seen", [ZAB_CONFIG_ACTIVATE] = "config activate",
        [ZAB_REQUEST] = "request", [ZAB_REVALIDATE] = "revalidate", [ZAB_TOUCH] = "touch", [ZAB_REVALIDATED] = "revalidated",
        [ZAB_NOTE] = "note", [ZAB_SYNCED] = "synced",
    };
    return (size_t)t < ARRAY_LEN(names) ? names[t] : "?";
}

const char *zab_stop_str(enum zab_stop s)
{
    static const char *const names[] = {
        [ZAB_STOP_ASKED] = "asked to", [ZAB_STOP_LEADERSHIP] = "no quorum follows", [ZAB_STOP_COUNTER] = "the epoch's zxids are used up",
        [ZAB_STOP_LOST] = "the leader is lost", [ZAB_STOP_RECONFIG] = "reconfigured", [ZAB_STOP_RESYNC] = "a snapshot is needed",
        [ZAB_STOP_FATAL] = "fatal",
    };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "?";
}
