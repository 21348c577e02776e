/* snap_records.c - the records of a snapshot, as they stand in files and in the stream from leader to
 * learner. */
#include "storage_internal.h"

#include "base/clock.h"

#define STEP_NODES 2000
#define STEP_BYTES (256u << 10)
#define STEP_US    1000

static void no_lock(void *data)
{
}

const struct snapshot_locks snap_no_locks = { .lock = no_lock, .unlock = no_lock, .step_nodes = STEP_NODES };

/* ---- writing ---- */

static void put_session(void *data, int64_t id, int32_t timeout_ms)
{
    struct wr *w = data;
    wr_i64(w, id);
    wr_i32(w, timeout_ms);
}

static void put_acl(void *data, int64_t id, struct jacls acl)
{
    struct wr *w = data;
    wr_i64(w, id);
    jute_write_acls(w, acl);
}

void snap_put_tables(struct wr *w, struct tree *t)
{
    wr_u32(w, (uint32_t)tree_session_count(t));
    tree_each_session(t, put_session, w);
    wr_u32(w, (uint32_t)tree_acl_count(t));
    tree_each_acl(t, put_acl, w);
}

bool snap_put_nodes(struct wr *w, struct tree_walk *walk, int step_nodes)
{
    struct tree_walk_node n;
    int64_t until = step_nodes > 0 ? 0 : clock_mono_us() + STEP_US;
    for (int i = 0; i < (step_nodes > 0 ? step_nodes : STEP_NODES) && w->n < STEP_BYTES; i++) {
        if (step_nodes <= 0 && i % 64 == 63 && clock_mono_us() >= until)
            break;
        if (!tree_walk_next(walk, &n))
            return false;
        jute_write_str(w, n.path.p ? n.path : jstr_of(""));
        jute_write_buf(w, n.data);
        wr_i64(w, n.acl_id);
        zk_stat_persisted_write(w, &n.stat);
    }
    return true;
}

/* ---- reading ---- */

int snap_get_session(struct rd *r, struct tree *t)
{
    int64_t id = rd_i64(r);
    int32_t timeout_ms = rd_i32(r);
    if (r->rc == 0)
        tree_load_session(t, id, timeout_ms);
    return r->rc;
}

int snap_get_acl(struct rd *r, struct tree *t, struct arena *a)
{
    arena_reset(a);
    int64_t id = rd_i64(r);
    struct jacls acl = jute_read_acls(r, a);
    if (r->rc == 0)
        tree_load_acl(t, id, acl);
    return r->rc;
}

int snap_get_node(struct rd *r, struct tree *t, bool *ret_end)
{
    struct jstr path = jute_read_str(r);
    if (r->rc == 0 && path.n == 1 && path.p[0] == '/') {
        *ret_end = true;
        return 0;
    }
    struct jbuf data = jute_read_buf(r);
    int64_t acl_id = rd_i64(r);
    struct zk_stat_persisted stat;
    zk_stat_persisted_read(r, &stat);
    if (r->rc != 0)
        return r->rc;
    /* No more than the tree relies on: whatever the reference once took for a path must load. */
    if (!path.p || (path.n > 0 && (path.p[0] != '/' || path.p[path.n - 1] == '/')))
        return RC_CORRUPT;
    return tree_load_node(t, path, data, acl_id, &stat);
}
