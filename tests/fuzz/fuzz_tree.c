/* fuzz_tree.c - transactions with any header and any body, one after another on one tree. The input: records of
 * type (1 byte, signed), session (1 byte), length (2 bytes), body; the last may be short. */
#include "tree/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void nothing(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    (void)w, (void)zxid, (void)type;
    *(size_t *)data += (size_t)path.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_init(data, size);
    struct arena a = arena_init();
    size_t fired = 0;
    struct tree *t = tree_new(&(struct tree_options){ .extended_types = true });
    struct watch_table *wt = watch_table_new(nothing, &fired);
    struct watcher w = { 0 };
    struct tree_walk *walk = NULL, *other = tree_walk_begin(t);
    struct tree_walk_node n;
    tree_attach_watches(t, wt);
    watch_add_persistent(wt, &w, jstr_of("/"), ZK_WATCH_PERSISTENT_RECURSIVE);
    watch_add(wt, &w, jstr_of("/a"), WATCH_DATA, WATCH_STANDARD);
    for (int64_t zxid = 1; rd_left(&r) > 0; zxid++) {
        struct txn_header h = { .zxid = zxid, .time_ms = zxid };
        h.type = (int8_t)rd_u8(&r);
        h.client_id = (int8_t)rd_u8(&r);
        size_t len = rd_u16(&r);
        len = MIN(len, rd_left(&r));
        struct buf body = buf_of(rd_take(&r, len), len);
        struct tree_result res;
        size_t used;
        int rc = tree_apply(t, &h, body, &a, &res);
        ASSERT((rc == 0) == (tree_txn_body_len(&h, body, &a, &used) == 0));
        ASSERT(rc != 0 || used <= len);
        if (zxid % 4 == 2 && !walk)
            walk = tree_walk_begin(t);
        else if (walk)
            (void)tree_walk_next(walk, &n);
        if (zxid % 3 == 0)
            (void)tree_walk_next(other, &n);
    }
    tree_check(t);
    tree_walk_end(walk);
    tree_walk_end(other);
    watch_remove_all(wt, &w);
    watch_table_free(wt);
    tree_free(t);
    arena_free(&a);
    return 0;
}
