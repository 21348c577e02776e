/* cache.h - upstream answers, kept while their TTL lasts; denials by RFC 2308.
 *
 * Bounded by entries and by bytes; the least recently used goes first. Time comes from the caller. */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "answer.h"

struct dns_cache;

#define CACHE_BYTES_MAX (64u << 20)

struct dns_cache *cache_new(size_t max_entries);
void cache_free(struct dns_cache *c);
/* The answer and its age in seconds; NULL when absent or too old. Borrowed until the next put. */
const struct dns_msg *cache_get(struct dns_cache *c, const struct dns_ask *ask, int64_t now_ms, uint32_t *ret_age_s);
/* Takes msg, whose ttl_s must not be 0. */
void cache_put(struct dns_cache *c, const struct dns_ask *ask, struct dns_msg *msg, int64_t now_ms);
size_t cache_len(const struct dns_cache *c);

/* A question as bytes: what makes two of them the same. */
#define ASK_KEY_MAX (DNS_NAME_MAX + 3)
struct buf ask_key(const struct dns_ask *ask, uint8_t out[ASK_KEY_MAX]);

#endif
