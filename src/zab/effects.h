/* effects.h - the queue of effects that both machines fill. Private to zab. */
#ifndef ZAB_EFFECTS_H
#define ZAB_EFFECTS_H

#include "zab/zab.h"

/* Bytes of effects live in the arena, or in transactions and configurations that the queue holds references to. */
struct effects {
    struct VEC(struct zab_effect) queue;
    struct VEC(struct zab_txn *) txns;
    struct VEC(struct quorum_config *) configs;
    struct arena arena;
    struct wr scratch;
};

void effects_free(struct effects *e);
void effects_clear(struct effects *e);
/* Adds an effect; the pointer is valid until the next one. */
struct zab_effect *effects_add(struct effects *e, enum zab_effect_type type);
/* The transaction's bytes (or its packet) as an effect that keeps it alive. */
void effects_txn(struct effects *e, enum zab_effect_type type, struct zab_txn *t);
void effects_send(struct effects *e, uint64_t conn, struct buf packet);  /* borrowed: the caller keeps it alive, by effects_hold or the arena */
void effects_hold(struct effects *e, struct zab_txn *t);
void effects_send_bare(struct effects *e, uint64_t conn, int32_t type, int64_t zxid);
/* Begin with effects_packet, write a packet with the encoders, end with effects_send_scratch. */
struct wr *effects_packet(struct effects *e);
void effects_send_scratch(struct effects *e, uint64_t conn);
/* The packet in the scratch writer, copied to where effects keep it: for sending it to several. */
struct buf effects_keep_scratch(struct effects *e);
struct zab_effect *effects_config(struct effects *e, enum zab_effect_type type, struct quorum_config *c);

/* Fifo of transactions with references. */
struct txn_fifo {
    struct zab_txn **items;
    size_t head, len, cap;
};
void txn_fifo_push(struct txn_fifo *f, struct zab_txn *t); /* takes */
struct zab_txn *txn_fifo_pop(struct txn_fifo *f);          /* returns owned; not when empty */
static inline struct zab_txn *txn_fifo_at(const struct txn_fifo *f, size_t i)
{
    ASSERT(i < f->len);
    return f->items[f->head + i];
}
void txn_fifo_free(struct txn_fifo *f);

/* The newest configuration known: the proposed one, or the committed one. */
static inline struct quorum_config *newest_config(struct quorum_config *committed, struct quorum_config *seen)
{
    return seen && seen->version > committed->version ? seen : committed;
}

#endif
