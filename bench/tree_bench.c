/* tree_bench.c - how large a node is and how long the tree takes: bytes per node, ns per creation, lookup, setData, snapshot
 * step, load. Figures for people, one thread, nothing else in the process; not a test. Usage: tree_bench [nodes]. */
#include "tree/tree.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 1000 /* of each parent */

/* Of this thread: the machine may be shared. A call costs about as much as an operation, hence the batches. */
static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static long resident(void)
{
    long pages = 0, total;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%ld %ld", &total, &pages) != 2)
            pages = 0;
        fclose(f);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

static uint64_t rng = 88172645463325252u;
static uint64_t rnd(void)
{
    rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
    return rng;
}

static void path_of(char *path, size_t size, uint64_t i)
{
    snprintf(path, size, "/bench/d%06llu/n%09llu", (unsigned long long)(i / CHILDREN), (unsigned long long)i);
}

static struct jacl open_entry = { ZK_PERM_ALL, { "world", 5 }, { "anyone", 6 } };

/* A batch of transactions, encoded before the clock starts. */
struct batch {
    struct wr w;
    struct VEC(size_t) ends;
    int32_t type;
    int64_t zxid;
};

static void batch_add(struct batch *b, const char *path, struct jbuf data)
{
    jute_write_str(&b->w, jstr_of(path));
    jute_write_buf(&b->w, data);
    if (b->type == ZK_OP_CREATE) {
        jute_write_acls(&b->w, (struct jacls){ &open_entry, 1 });
        wr_u8(&b->w, 0);
    }
    wr_i32(&b->w, b->type == ZK_OP_CREATE ? -1 : 1);
    VEC_PUSH(&b->ends, b->w.n);
}

static double batch_run(struct batch *b, struct tree *t, struct arena *a)
{
    size_t at = 0;
    double start = now_ns();
    for (size_t i = 0; i < b->ends.len; at = b->ends.items[i++]) {
        struct txn_header h = { .client_id = 1, .zxid = ++b->zxid, .time_ms = 1700000000000 + b->zxid, .type = b->type };
        struct tree_result r;
        ASSERT(tree_apply(t, &h, buf_of(b->w.p + at, b->ends.items[i] - at), a, &r) == 0);
        ASSERT(r.err == ZK_OK);
        arena_reset(a);
    }
    double ns = now_ns() - start;
    wr_reset(&b->w);
    b->ends.len = 0;
    return ns;
}

static void nothing(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    (void)data, (void)w, (void)type, (void)path, (void)zxid;
}

static void line(const char *what, double v)
{
    printf("%-40s %8.1f\n", what, v);
}

static void bench_create(struct tree *t, struct batch *b, struct arena *a, uint64_t nodes, struct jbuf data)
{
    char path[64];
    double ns = 0, worst = 0;
    long before = resident();
    b->type = ZK_OP_CREATE;
    batch_add(b, "/bench", data);
    for (uint64_t i = 0; i < nodes;) {
        snprintf(path, sizeof(path), "/bench/d%06llu", (unsigned long long)(i / CHILDREN));
        batch_add(b, path, data);
        for (uint64_t stop = MIN(nodes, i + CHILDREN); i < stop; i++) {
            path_of(path, sizeof(path), i);
            batch_add(b, path, data);
        }
        double took = batch_run(b, t, a);
        worst = MAX(worst, took);
        ns += took;
    }
    line("bytes of memory per node", (double)(resident() - before) / (double)nodes);
    line("create, ns", ns / (double)nodes);
    line("create, slowest thousand, us", worst / 1000);
}

#define PICKED 65536
static void bench_access(struct tree *t, struct batch *b, struct arena *a, uint64_t nodes, uint8_t *bytes)
{
    enum { LOOKUPS = 2000000 };
    char (*paths)[64] = x_calloc(PICKED, sizeof(*paths));
    uint64_t sum = 0;
    for (uint64_t i = 0; i < PICKED; i++)
        path_of(paths[i], sizeof(paths[i]), rnd() % nodes);
    struct jstr *picked = x_calloc(PICKED, sizeof(*picked));
    for (uint64_t i = 0; i < PICKED; i++)
        picked[i] = jstr_of(paths[i]);
    for (uint64_t span = 256; span <= PICKED; span *= 256) {
        double start = now_ns();
        for (uint64_t i = 0; i < LOOKUPS; i++) {
            struct jbuf d;
            struct zk_stat s;
            sum += (uint64_t)tree_get_data(t, picked[i & (span - 1)], NULL, false, &d, &s) + d.p[0];
        }
        line(span == 256 ? "getData of 256 random nodes, ns" : "getData of 65536 random nodes, ns", (now_ns() - start) / LOOKUPS);
    }
    ASSERT(sum == 2 * LOOKUPS);
    b->type = ZK_OP_SET_DATA;
    for (int32_t len = 100; len <= 140; len += 40) {
        for (uint64_t i = 0; i < PICKED; i++)
            batch_add(b, paths[i], (struct jbuf){ bytes, len });
        line(len == 100 ? "setData of the same size, ns" : "setData of another size, ns", batch_run(b, t, a) / PICKED);
    }
    free(picked);
    free(paths);
}

static void bench_snapshot(struct tree *t, uint64_t nodes)
{
    struct tree *copy = tree_load_begin(NULL);
    struct tree_walk_node n;
    double start = now_ns();
    struct tree_walk *walk = tree_walk_begin(t);
    while (tree_walk_next(walk, &n))
        ;
    tree_walk_end(walk);
    double walked = now_ns() - start;
    walk = tree_walk_begin(t);
    start = now_ns();
    while (tree_walk_next(walk, &n))
        ASSERT(tree_load_node(copy, n.path, n.data, n.acl_id, &n.stat) == 0);
    line("snapshot walk, ns per node", walked / (double)nodes);
    line("load, ns per node", (now_ns() - start - walked) / (double)nodes);
    tree_walk_end(walk);
    ASSERT(tree_digest(copy) == tree_digest(t));
    tree_free(copy);
}

int main(int argc, char **argv)
{
    uint64_t nodes = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    struct tree *t = tree_new(NULL);
    struct arena a = arena_init();
    struct batch b = { 0 };
    struct watch_table *wt = watch_table_new(nothing, NULL);
    struct watcher watcher = { 0 };
    uint8_t bytes[256] = { 1 };
    tree_attach_watches(t, wt);
    watch_add(wt, &watcher, jstr_of("/elsewhere"), WATCH_DATA, WATCH_STANDARD); /* so that triggers have to look */
    bench_create(t, &b, &a, nodes, (struct jbuf){ bytes, 100 });
    bench_access(t, &b, &a, nodes, bytes);
    bench_snapshot(t, nodes);
    watch_remove_all(wt, &watcher);
    watch_table_free(wt);
    tree_free(t);
    arena_free(&a);
    wr_free(&b.w);
    VEC_FREE(&b.ends);
    return 0;
}
