/* window.c - the committed-log window and the choice between DIFF, TRUNC and SNAP. */
#include "zab/window.h"

#include "base/relapse.h"
#include "zab/packet.h"

#define PACKET_HEAD 16 /* type, zxid, length of data */
#define PACKET_TAIL 4  /* null identities */
#define TXN_TYPE_AT 28 /* in TxnHeader: behind client id, cxid, zxid, time */

bool zxid_follows(int64_t prev, int64_t next)
{
    if (zxid_epoch(prev) == zxid_epoch(next))
        return zxid_counter(prev) < ZXID_COUNTER_MAX && next == prev + 1;
    return zxid_epoch(next) > zxid_epoch(prev) && zxid_counter(next) == 1;
}

/* ---- transactions ---- */

struct zab_txn *zab_txn_new(int64_t zxid, struct buf bytes)
{
    ASSERT(bytes.n <= INT32_MAX - PACKET_HEAD - PACKET_TAIL);
    size_t len = PACKET_HEAD + bytes.n + PACKET_TAIL;
    struct zab_txn *t = x_malloc(sizeof(*t) + len);

    t->refs = 1;
    t->zxid = zxid;
    t->packet_len = (uint32_t)len;
    store_u32(t->packet, QP_PROPOSAL);
    store_u64(t->packet + 4, (uint64_t)zxid);
    store_u32(t->packet + 12, (uint32_t)bytes.n);
    if (bytes.n > 0)
        memcpy(t->packet + PACKET_HEAD, bytes.p, bytes.n);
    store_u32(t->packet + PACKET_HEAD + bytes.n, UINT32_MAX);
    return t;
}

struct zab_txn *zab_txn_ref(struct zab_txn *t)
{
    ASSERT(t->refs > 0 && t->refs < UINT32_MAX);
    t->refs++;
    return t;
}

void zab_txn_unref(struct zab_txn *t)
{
    if (!t)
        return;
    ASSERT(t->refs > 0);
    if (--t->refs == 0)
        free(t);
}

struct buf zab_txn_bytes(const struct zab_txn *t)
{
    return buf_of(t->packet + PACKET_HEAD, t->packet_len - PACKET_HEAD - PACKET_TAIL);
}

struct buf zab_txn_packet(const struct zab_txn *t)
{
    return buf_of(t->packet, t->packet_len);
}

int32_t zab_txn_type(const struct zab_txn *t)
{
    struct buf b = zab_txn_bytes(t);
    return b.n < TXN_TYPE_AT + 4 ? 0 : (int32_t)load_u32(b.p + TXN_TYPE_AT);
}

struct buf zab_txn_config(const struct zab_txn *t)
{
    if (zab_txn_type(t) != ZK_OP_RECONFIG)
        return (struct buf){ 0 };
    struct buf b = zab_txn_bytes(t);
    struct rd r = rd_init(b.p + TXN_TYPE_AT + 4, b.n - TXN_TYPE_AT - 4);
    uint32_t n = rd_u32(&r); /* SetDataTxn: path, data, version */
    (void)rd_take(&r, n);
    n = rd_u32(&r);
    const uint8_t *p = rd_take(&r, n);
    return p ? buf_of(p, n) : (struct buf){ 0 };
}

/* ---- the window ---- */

/* items[head .. head + len) in order; the room before head is reclaimed when it outweighs the rest. */
struct zab_window {
    struct zab_txn **items;
    size_t head, len, cap;
    int64_t base; /* zxid before items[head] */
    int64_t keep;
    size_t count_max;
    uint64_t bytes, bytes_max;
};

struct zab_window *zab_window_new(size_t count, uint64_t max_bytes)
{
    struct zab_window *w = x_calloc(1, sizeof(*w));

    w->count_max = count > 0 ? count : ZAB_WINDOW_COUNT;
    w->bytes_max = max_bytes ? max_bytes : ZAB_WINDOW_BYTES;
    w->keep = INT64_MAX;
    return w;
}

void zab_window_free(struct zab_window *w)
{
    if (!w)
        return;
    zab_window_reset(w, 0);
    free(w->items);
    free(w);
}

static void drop_first(struct zab_window *w)
{
    struct zab_txn *t = w->items[w->head++];

    w->len--;
    w->bytes -= t->packet_len;
    w->base = t->zxid;
    zab_txn_unref(t);
}

static void evict(struct zab_window *w)
{
    while (w->len > 0 && (w->len > w->count_max || w->bytes > w->bytes_max) && w->items[w->head]->zxid <= w->keep)
        drop_first(w);
}

void zab_window_reset(struct zab_window *w, int64_t zxid)
{
    while (w->len > 0)
        drop_first(w);
    w->head = 0;
    w->base = zxid;
}

int zab_window_push(struct zab_window *w, struct zab_txn *t)
{
    if (!zxid_follows(zab_window_max(w), t->zxid) && !(t->zxid > zab_window_max(w) && relapse(4925)))
        return RC_INVAL;
    if (w->head + w->len == w->cap && w->head > w->len) {
        memmove(w->items, w->items + w->head, w->len * sizeof(*w->items));
        w->head = 0;
    }
    if (w->head + w->len == w->cap)
        vec_grow((void **)&w->items, &w->cap, w->head + w->len + 1, sizeof(*w->items));
    w->items[w->head + w->len++] = zab_txn_ref(t);
    w->bytes += t->packet_len;
    evict(w);
    return 0;
}

int zab_window_push_bytes(struct zab_window *w, int64_t zxid, struct buf bytes)
{
    struct zab_txn *t = zab_txn_new(zxid, bytes);
    int rc = zab_window_push(w, t);

    zab_txn_unref(t);
    return rc;
}

void zab_window_keep(struct zab_window *w, int64_t zxid)
{
    w->keep = zxid;
    evict(w);
}

void zab_window_truncate(struct zab_window *w, int64_t zxid)
{
    while (w->len > 0 && w->items[w->head + w->len - 1]->zxid > zxid) {
        struct zab_txn *t = w->items[w->head + --w->len];
        w->bytes -= t->packet_len;
        zab_txn_unref(t);
    }
    if (w->len == 0)
        w->base = MIN(w->base, zxid);
}

size_t zab_window_len(const struct zab_window *w)
{
    return w->len;
}

struct zab_txn *zab_window_at(const struct zab_window *w, size_t i)
{
    ASSERT(i < w->len);
    return w->items[w->head + i];
}

int64_t zab_window_min(const struct zab_window *w)
{
    return w->len > 0 ? w->items[w->head]->zxid : w->base;
}

int64_t zab_window_max(const struct zab_window *w)
{
    return w->len > 0 ? w->items[w->head + w->len - 1]->zxid : w->base;
}

int64_t zab_window_base(const struct zab_window *w)
{
    return w->base;
}

size_t zab_window_after(const struct zab_window *w, int64_t zxid)
{
    size_t lo = 0, hi = w->len;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->items[w->head + mid]->zxid <= zxid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void zab_window_check(const struct zab_window *w)
{
    int64_t prev = w->base;
    uint64_t bytes = 0;

    ASSERT(w->head + w->len <= w->cap);
    for (size_t i = 0; i < w->len; i++) {
        const struct zab_txn *t = w->items[w->head + i];
        ASSERT(t->refs > 0);
        ASSERT(zxid_follows(prev, t->zxid) || relapse(4925));
        prev = t->zxid;
        bytes += t->packet_len;
    }
    ASSERT(bytes == w->bytes);
}

/* ---- the decision ---- */

/* The zxid of an epoch itself: a server synchronised by a snapshot, or a leader before its first proposal. No transaction has it,
 * so it is in no log and can never be truncated to or from. */
static bool is_epoch_zxid(int64_t zxid)
{
    return zxid_counter(zxid) == 0;
}

enum zab_walk zab_walk_step(int64_t peer, int64_t prev, int64_t zxid)
{
    if (zxid < peer)
        return ZAB_WALK_SKIP;
    if (zxid == peer)
        return ZAB_WALK_DIFF;
    if (is_epoch_zxid(peer)) {
        /* Without a transaction from before the learner's epoch in sight, something between may be missing. */
        if (!zxid_follows(peer, zxid) || (prev < 0 && zxid_epoch(peer) != zxid_epoch(zxid)))
            return ZAB_WALK_SNAP;
        return ZAB_WALK_DIFF_SEND;
    }
    /* The learner has what we never had. Transactions of one epoch can be cut; across epochs the reference does not. */
    return zxid_epoch(zxid) == zxid_epoch(peer) && prev >= 0 ? ZAB_WALK_TRUNC : ZAB_WALK_SNAP;
}

static struct zab_sync_plan walk_window(const struct zab_window *w, int64_t peer)
{
    size_t i = zab_window_after(w, peer - 1);
    int64_t prev = i > 0 ? zab_window_at(w, i - 1)->zxid : -1;
    int64_t max = zab_window_max(w);

    ASSERT(i < zab_window_len(w)); /* peer <= max */
    switch (zab_walk_step(peer, prev, zab_window_at(w, i)->zxid)) {
    case ZAB_WALK_DIFF:
        return (struct zab_sync_plan){ ZAB_SYNC_DIFF, max, i + 1 };
    case ZAB_WALK_DIFF_SEND:
        return (struct zab_sync_plan){ ZAB_SYNC_DIFF, max, i };
    case ZAB_WALK_TRUNC:
        return (struct zab_sync_plan){ ZAB_SYNC_TRUNC, prev, i };
    case ZAB_WALK_SKIP:
    case ZAB_WALK_SNAP:
        break;
    }
    return (struct zab_sync_plan){ .how = ZAB_SYNC_SNAP };
}

struct zab_sync_plan zab_sync_decide(const struct zab_window *w, int64_t peer, int64_t last, bool force_snapshot)
{
    size_t len = zab_window_len(w);
    int64_t min = len > 0 ? zab_window_min(w) : last, max = len > 0 ? zab_window_max(w) : last;

    if (force_snapshot || peer < 0)
        return (struct zab_sync_plan){ .how = ZAB_SYNC_SNAP };
    if (peer == last)
        return (struct zab_sync_plan){ ZAB_SYNC_DIFF, peer, len };
    /* An epoch's own zxid is in no log: a server of 3.8 that is told to cut there keeps the record behind it. Rather a snapshot. */
    if (peer > max && !is_epoch_zxid(peer) && !is_epoch_zxid(max))
        return (struct zab_sync_plan){ ZAB_SYNC_TRUNC, max, len };
    if (len > 0 && min <= peer && peer <= max)
        return walk_window(w, peer);
    /* An empty server is never helped by a log: what came before the log's first transaction is not in it. */
    if (peer < min && peer != 0)
        return (struct zab_sync_plan){ ZAB_SYNC_LOG, min, 0 };
    return (struct zab_sync_plan){ .how = ZAB_SYNC_SNAP };
}
