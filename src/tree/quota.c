/* quota.c - quotas: /zookeeper/quota<P>/zookeeper_limits says what P may hold, zookeeper_stats beside it what it holds.
 *
 * The stats node's data is rewritten in memory as part of each change below P: no transaction, no version, no watch, and
 * outside of the digest; every replica does it alike.
 * Source: StatsTrack, Quotas, DataTree.updateQuotaStat, ZooKeeperServer.checkQuota (3.9). */
#include "internal.h"

#include <errno.h>
#include <stdio.h>

#define QUOTA_ROOT "/zookeeper/quota"
#define QUOTA_ROOT_LEN ((int32_t)sizeof(QUOTA_ROOT) - 1)
#define LIMITS_NAME "zookeeper_limits"
#define LIMITS "/" LIMITS_NAME
#define STATS "/zookeeper_stats"

/* ---- the text "count=5,bytes=-1=;byteHardLimit=1000;countHardLimit=7" ---- */
enum track_key { TRACK_COUNT, TRACK_BYTES, TRACK_BYTE_HARD, TRACK_COUNT_HARD, TRACK_KEYS };
static const char *const track_names[TRACK_KEYS] = { "count", "bytes", "byteHardLimit", "countHardLimit" };

struct track_extra { /* a key that we do not know; kept */
    struct jstr key;
    int64_t value;
};
struct track {
    int64_t v[TRACK_KEYS]; /* -1: not set */
    struct VEC(struct track_extra) extra;
    bool has[TRACK_KEYS];
};

static int64_t number(const char *p, size_t n)
{
    char text[24];
    if (n == 0 || n >= sizeof(text))
        return -1;
    memcpy(text, p, n);
    text[n] = 0;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return errno == 0 && *end == 0 ? v : -1;
}

static void track_put(struct track *k, struct jstr key, int64_t value)
{
    for (int i = 0; i < TRACK_KEYS; i++)
        if (jstr_is(key, track_names[i])) {
            k->v[i] = value;
            k->has[i] = true;
            return;
        }
    VEC_PUSH(&k->extra, ((struct track_extra){ key, value }));
}

/* Borrows from text. */
static struct track track_parse(struct jbuf text)
{
    struct track k = { .v = { -1, -1, -1, -1 } };
    if (!text.p)
        return k;
    const char *p = (const char *)text.p, *end = p + text.n;
    while (p < end) {
        const char *stop = p;
        while (stop < end && *stop != ',' && *stop != ';')
            stop++;
        const char *eq = memchr(p, '=', (size_t)(stop - p));
        if (eq) {
            const char *from = eq + 1, *to = from;
            while (to < stop && *to != '=')
                to++;
            track_put(&k, jstr_n(p, (size_t)(eq - p)), number(from, (size_t)(to - from)));
        } else if (stop > p) {
            track_put(&k, jstr_n(p, (size_t)(stop - p)), -1);
        }
        p = stop + 1;
    }
    return k;
}

static int by_key(const void *a, const void *b)
{
    const struct track_extra *x = a, *y = b;
    int c = memcmp(x->key.p, y->key.p, (size_t)MIN(x->key.n, y->key.n));
    return c ? c : (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

static void track_write(struct track *k, struct wr *w)
{
    for (int i = TRACK_BYTE_HARD; i < TRACK_KEYS; i++)
        if (k->has[i])
            VEC_PUSH(&k->extra, ((struct track_extra){ jstr_of(track_names[i]), k->v[i] }));
    wr_printf(w, "count=%lld,bytes=%lld", (long long)k->v[TRACK_COUNT], (long long)k->v[TRACK_BYTES]);
    if (k->extra.len > 0) {
        qsort(k->extra.items, k->extra.len, sizeof(k->extra.items[0]), by_key);
        wr_text(w, "="); /* stops the parsers of old clients */
    }
    for (size_t i = 0; i < k->extra.len; i++) {
        wr_text(w, ";");
        wr_bytes(w, k->extra.items[i].key.p, (size_t)k->extra.items[i].key.n);
        wr_printf(w, "=%lld", (long long)k->extra.items[i].value);
    }
}

/* ---- paths ---- */
static struct znode *quota_node(const struct tree *t, struct jstr quota, const char *suffix)
{
    struct wr w = wr_init(0);
    wr_text(&w, QUOTA_ROOT);
    wr_bytes(&w, quota.p, (size_t)quota.n);
    wr_text(&w, suffix);
    struct jstr path = jstr_n((const char *)w.p, w.n);
    struct znode *n = node_find(t, path, path_hash(path));
    wr_free(&w);
    return n;
}

/* Is `path` QUOTA_ROOT + P + suffix, with a P that is not empty? There is no quota on "/". */
static bool quota_path(struct jstr path, const char *suffix, struct jstr *ret)
{
    int32_t len = (int32_t)strlen(suffix), rest = path.n - QUOTA_ROOT_LEN - len;
    if (rest < 2 || memcmp(path.p, QUOTA_ROOT "/", (size_t)QUOTA_ROOT_LEN + 1) != 0 ||
        memcmp(path.p + path.n - len, suffix, (size_t)len) != 0)
        return false;
    *ret = (struct jstr){ path.p + QUOTA_ROOT_LEN, rest };
    return true;
}

/* The longest path under a quota that is `path` or an ancestor of it. */
static bool quota_of(const struct tree *t, struct jstr path, struct jstr *ret)
{
    if (t->quotas.len == 0)
        return false;
    struct jstr up = path, name;
    do {
        path = up;
        if (strmap_get(&t->quotas, buf_of(path.p, (size_t)path.n))) {
            *ret = path;
            return true;
        }
    } while (path_split(path, &up, &name));
    return false;
}

/* ---- keeping the stats ---- */
static void stats_store(struct tree *t, struct znode *n, struct track *k)
{
    struct wr w = wr_init(0);
    uint64_t figure = t->stats.data_bytes; /* the reference does not count this */
    track_write(k, &w);
    node_set_data(t, n, (struct jbuf){ w.p, (int32_t)w.n });
    t->stats.data_bytes = figure;
    wr_free(&w);
}

static void recount(struct tree *t, struct jstr quota)
{
    struct znode *stats = quota_node(t, quota, STATS);
    if (!stats)
        return;
    struct track k = { .v = { 0, 0, -1, -1 } };
    const struct znode *top = node_find(t, quota, path_hash(quota));
    for (const struct znode *n = top; n; n = node_next(top, n)) {
        k.v[TRACK_COUNT]++;
        k.v[TRACK_BYTES] += MAX(n->data_len, 0);
    }
    stats_store(t, stats, &k);
}

void quota_node_created(struct tree *t, struct jstr path)
{
    struct jstr quota;
    if (quota_path(path, LIMITS, &quota))
        strmap_set(&t->quotas, buf_of(quota.p, (size_t)quota.n), t);
    else if (quota_path(path, STATS, &quota))
        recount(t, quota);
}

void quota_node_deleted(struct tree *t, struct jstr path)
{
    struct jstr quota;
    if (quota_path(path, LIMITS, &quota))
        strmap_del(&t->quotas, buf_of(quota.p, (size_t)quota.n));
}

void quota_account(struct tree *t, struct jstr path, int64_t bytes, int64_t count)
{
    struct jstr quota;
    if (!quota_of(t, path, &quota))
        return;
    struct znode *stats = quota_node(t, quota, STATS);
    if (!stats)
        return;
    struct track k = track_parse(znode_data(stats));
    k.v[TRACK_COUNT] = (int64_t)((uint64_t)k.v[TRACK_COUNT] + (uint64_t)count);
    k.v[TRACK_BYTES] = (int64_t)((uint64_t)k.v[TRACK_BYTES] + (uint64_t)bytes);
    stats_store(t, stats, &k);
    VEC_FREE(&k.extra);
}

/* After loading: active is every leaf named zookeeper_limits, and all stats are counted anew. */
void quota_rebuild(struct tree *t)
{
    strmap_free(&t->quotas, NULL);
    const struct znode *top = tree_find(t, jstr_of(QUOTA_ROOT));
    struct arena a = arena_init();
    for (const struct znode *n = top; n; n = node_next(top, n)) {
        if (znode_child_count(n) > 0 || !jstr_is(znode_name_of(n), LIMITS_NAME))
            continue;
        struct jstr quota;
        if (quota_path(znode_path(n, &a), LIMITS, &quota))
            strmap_set(&t->quotas, buf_of(quota.p, (size_t)quota.n), t);
        arena_reset(&a);
    }
    arena_free(&a);
    STRMAP_EACH(s, &t->quotas) recount(t, jstr_n(s->key, s->key_len));
}

/* ---- enforcement ---- */
/* A hard limit alone decides where there is one; a soft limit never refuses. */
static bool exceeded(int64_t hard, int64_t now, int64_t more)
{
    return more != 0 && hard > -1 && (int64_t)((uint64_t)now + (uint64_t)more) > hard;
}

int32_t tree_quota_check(const struct tree *t, struct jstr path, int64_t count, int64_t bytes)
{
    struct jstr quota;
    if (!path.p || !quota_of(t, path, &quota))
        return ZK_OK;
    const struct znode *limits = quota_node(t, quota, LIMITS), *stats = quota_node(t, quota, STATS);
    if (!limits || !stats)
        return ZK_OK;
    struct track limit = track_parse(znode_data(limits)), now = track_parse(znode_data(stats));
    bool over = exceeded(limit.v[TRACK_COUNT_HARD], now.v[TRACK_COUNT], count) ||
                exceeded(limit.v[TRACK_BYTE_HARD], now.v[TRACK_BYTES], bytes);
    VEC_FREE(&limit.extra);
    VEC_FREE(&now.extra);
    return over ? ZK_QUOTAEXCEEDED : ZK_OK;
}
