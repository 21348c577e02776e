/* cache.c - the cache of upstream answers. */
#include "cache.h"

#include "base/list.h"
#include "base/map.h"

struct entry {
    struct list lru;
    struct dns_msg *msg;
    int64_t since_ms;
    size_t key_len;
    uint8_t key[];
};

struct dns_cache {
    struct strmap map;
    struct list lru; /* the next to go first */
    size_t max_entries, bytes;
};

struct buf ask_key(const struct dns_ask *ask, uint8_t out[ASK_KEY_MAX])
{
    memcpy(out, ask->name.wire, ask->name.len);
    out[ask->name.len] = (uint8_t)(ask->type >> 8);
    out[ask->name.len + 1] = (uint8_t)ask->type;
    out[ask->name.len + 2] = (uint8_t)(ask->dnssec_ok | ask->cd << 1);
    return buf_of(out, ask->name.len + 3u);
}

struct dns_cache *cache_new(size_t max_entries)
{
    struct dns_cache *c = x_calloc(1, sizeof(*c));

    list_init(&c->lru);
    c->max_entries = max_entries;
    return c;
}

static size_t entry_bytes(const struct entry *e)
{
    return sizeof(*e) + e->key_len * 2 + sizeof(*e->msg) + e->msg->len;
}

static void entry_drop(struct dns_cache *c, struct entry *e)
{
    strmap_del(&c->map, buf_of(e->key, e->key_len));
    list_remove(&e->lru);
    c->bytes -= entry_bytes(e);
    free(e->msg);
    free(e);
}

void cache_free(struct dns_cache *c)
{
    if (!c)
        return;
    LIST_EACH_SAFE (it, &c->lru)
        entry_drop(c, CONTAINER_OF(it, struct entry, lru));
    strmap_free(&c->map, NULL);
    free(c);
}

const struct dns_msg *cache_get(struct dns_cache *c, const struct dns_ask *ask, int64_t now_ms, uint32_t *ret_age_s)
{
    uint8_t key[ASK_KEY_MAX];
    struct entry *e = strmap_get(&c->map, ask_key(ask, key));

    if (!e)
        return NULL;
    int64_t age_s = (now_ms - e->since_ms) / 1000;

    if (age_s >= e->msg->ttl_s) {
        entry_drop(c, e);
        return NULL;
    }
    list_remove(&e->lru);
    list_push_back(&c->lru, &e->lru);
    *ret_age_s = (uint32_t)age_s;
    return e->msg;
}

void cache_put(struct dns_cache *c, const struct dns_ask *ask, struct dns_msg *msg, int64_t now_ms)
{
    uint8_t bytes[ASK_KEY_MAX];
    struct buf key = ask_key(ask, bytes);
    struct entry *e = strmap_get(&c->map, key);

    ASSERT(msg->ttl_s > 0);
    if (e)
        entry_drop(c, e);
    e = x_malloc(sizeof(*e) + key.n);
    e->msg = msg;
    e->since_ms = now_ms;
    e->key_len = key.n;
    memcpy(e->key, key.p, key.n);
    strmap_set(&c->map, key, e);
    list_push_back(&c->lru, &e->lru);
    c->bytes += entry_bytes(e);
    while (c->map.len > c->max_entries || c->bytes > CACHE_BYTES_MAX)
        entry_drop(c, CONTAINER_OF(c->lru.next, struct entry, lru));
}

size_t cache_len(const struct dns_cache *c)
{
    return c->map.len;
}
