/* map.h - hash maps: byte-string keys and 64-bit keys to pointers. Open addressing, linear probing, backward
 * shift deletion. Keys of strmap are copied. Iteration order is unspecified; do not modify while iterating,
 * except through the iterator's own remove. Hashing is seeded per process against chosen keys. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/bytes.h"

uint64_t hash_bytes(const void *p, size_t n);      /* seeded xxh3; stable within the process only */
uint64_t hash_u64(uint64_t v);
/* Makes hash_bytes, and with it the order in which maps are walked, the same in every process: for what has to be repeatable. While no map
 * has a key yet and no other thread runs. A server that anybody can talk to must not call it. */
void hash_fix_seed(uint64_t fixed);

struct strmap_slot {
    uint64_t hash;
    char *key; /* NUL-terminated copy; NULL: empty slot */
    size_t key_len;
    void *value;
};
struct strmap {
    struct strmap_slot *slots;
    size_t cap, len;
};

void *strmap_get(const struct strmap *m, struct buf key);      /* NULL when absent */
void *strmap_get_s(const struct strmap *m, const char *key);
/* Sets key to value (not NULL); returns the value it had, or NULL. */
void *strmap_set(struct strmap *m, struct buf key, void *value);
void *strmap_set_s(struct strmap *m, const char *key, void *value);
/* Removes key; returns its value, or NULL when it was absent. */
void *strmap_del(struct strmap *m, struct buf key);
void *strmap_del_s(struct strmap *m, const char *key);
/* Frees the table and its keys; `free_value` may be NULL. */
void strmap_free(struct strmap *m, void (*free_value)(void *));
#define STRMAP_EACH(slot, m)                                                                                 \
    for (struct strmap_slot *slot = (m)->slots; slot && slot < (m)->slots + (m)->cap; slot++)                \
        if (slot->key)

struct u64map_slot {
    uint64_t key;
    void *value; /* NULL: empty slot */
};
struct u64map {
    struct u64map_slot *slots;
    size_t cap, len;
};
void *u64map_get(const struct u64map *m, uint64_t key);
void *u64map_set(struct u64map *m, uint64_t key, void *value);
void *u64map_del(struct u64map *m, uint64_t key);
void u64map_free(struct u64map *m, void (*free_value)(void *));
#define U64MAP_EACH(slot, m)                                                                                 \
    for (struct u64map_slot *slot = (m)->slots; slot && slot < (m)->slots + (m)->cap; slot++)                \
        if (slot->value)

#endif
