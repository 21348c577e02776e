/* map.c - the two hash maps. Load factor at most 3/4. */
#include "base/map.h"

#include <pthread.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_init(void)
{
    if (seed != 0)
        return; /* hash_fix_seed */
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = (uint64_t)(uintptr_t)&seed; /* address randomisation is what is left */
}

void hash_fix_seed(uint64_t fixed)
{
    seed = fixed | 1;
    pthread_once(&seed_once, seed_init);
}

uint64_t hash_bytes(const void *p, size_t n)
{
    pthread_once(&seed_once, seed_init);
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t hash_u64(uint64_t v)
{
    v ^= v >> 33;
    v *= UINT64_C(0xff51afd7ed558ccd);
    v ^= v >> 33;
    v *= UINT64_C(0xc4ceb9fe1a85ec53);
    return v ^ v >> 33;
}

static size_t strmap_find(const struct strmap *m, struct buf key, uint64_t h)
{
    size_t i = h & (m->cap - 1);
    for (;; i = (i + 1) & (m->cap - 1)) {
        const struct strmap_slot *s = &m->slots[i];
        if (!s->key ||
            (s->hash == h && s->key_len == key.n && (key.n == 0 || memcmp(s->key, key.p, key.n) == 0)))
            return i;
    }
}

void *strmap_get(const struct strmap *m, struct buf key)
{
    if (m->len == 0)
        return NULL;
    const struct strmap_slot *s = &m->slots[strmap_find(m, key, hash_bytes(key.p, key.n))];
    return s->key ? s->value : NULL;
}

void *strmap_get_s(const struct strmap *m, const char *key)
{
    return strmap_get(m, buf_str(key));
}

static void strmap_grow(struct strmap *m)
{
    struct strmap old = *m;
    m->cap = old.cap ? old.cap * 2 : 16;
    m->slots = x_calloc(m->cap, sizeof(*m->slots));
    STRMAP_EACH(s, &old)
    {
        size_t i = s->hash & (m->cap - 1);
        while (m->slots[i].key)
            i = (i + 1) & (m->cap - 1);
        m->slots[i] = *s;
    }
    free(old.slots);
}

void *strmap_set(struct strmap *m, struct buf key, void *value)
{
    ASSERT(value != NULL);
    if ((m->len + 1) * 4 > m->cap * 3)
        strmap_grow(m);
    uint64_t h = hash_bytes(key.p, key.n);
    struct strmap_slot *s = &m->slots[strmap_find(m, key, h)];
    if (s->key) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    *s = (struct strmap_slot){ h, x_strndup((const char *)key.p, key.n), key.n, value };
    m->len++;
    return NULL;
}

void *strmap_set_s(struct strmap *m, const char *key, void *value)
{
    return strmap_set(m, buf_str(key), value);
}

void *strmap_del(struct strmap *m, struct buf key)
{
    if (m->len == 0)
        return NULL;
    size_t i = strmap_find(m, key, hash_bytes(key.p, key.n));
    if (!m->slots[i].key)
        return NULL;
    void *value = m->slots[i].value;
    free(m->slots[i].key);
    /* Backward shift: pull later members of the probe run into the hole. */
    for (size_t j = (i + 1) & (m->cap - 1); m->slots[j].key; j = (j + 1) & (m->cap - 1)) {
        size_t home = m->slots[j].hash & (m->cap - 1);
        if (((j - home) & (m->cap - 1)) >= ((j - i) & (m->cap - 1))) {
            m->slots[i] = m->slots[j];
            i = j;
        }
    }
    m->slots[i] = (struct strmap_slot){ 0 };
    m->len--;
    return value;
}

void *strmap_del_s(struct strmap *m, const char *key)
{
    return strmap_del(m, buf_str(key));
}

void strmap_free(struct strmap *m, void (*free_value)(void *))
{
    STRMAP_EACH(s, m)
    {
        free(s->key);
        if (free_value)
            free_value(s->value);
    }
    free(m->slots);
    *m = (struct strmap){ 0 };
}

static size_t u64map_find(const struct u64map *m, uint64_t key)
{
    size_t i = hash_u64(key) & (m->cap - 1);
    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

void *u64map_get(const struct u64map *m, uint64_t key)
{
    return m->len ? m->slots[u64map_find(m, key)].value : NULL;
}

void *u64map_set(struct u64map *m, uint64_t key, void *value)
{
    ASSERT(value != NULL);
    if ((m->len + 1) * 4 > m->cap * 3) {
        struct u64map old = *m;
        m->cap = old.cap ? old.cap * 2 : 16;
        m->slots = x_calloc(m->cap, sizeof(*m->slots));
        U64MAP_EACH(s, &old) m->slots[u64map_find(m, s->key)] = *s;
        free(old.slots);
    }
    struct u64map_slot *s = &m->slots[u64map_find(m, key)];
    void *old = s->value;
    s->key = key;
    s->value = value;
    m->len += old == NULL;
    return old;
}

void *u64map_del(struct u64map *m, uint64_t key)
{
    if (m->len == 0)
        return NULL;
    size_t i = u64map_find(m, key);
    void *value = m->slots[i].value;
    if (!value)
        return NULL;
    for (size_t j = (i + 1) & (m->cap - 1); m->slots[j].value; j = (j + 1) & (m->cap - 1)) {
        size_t home = hash_u64(m->slots[j].key) & (m->cap - 1);
        if (((j - home) & (m->cap - 1)) >= ((j - i) & (m->cap - 1))) {
            m->slots[i] = m->slots[j];
            i = j;
        }
    }
    m->slots[i] = (struct u64map_slot){ 0 };
    m->len--;
    return value;
}

void u64map_free(struct u64map *m, void (*free_value)(void *))
{
    if (free_value)
        U64MAP_EACH(s, m) free_value(s->value);
    free(m->slots);
    *m = (struct u64map){ 0 };
}
