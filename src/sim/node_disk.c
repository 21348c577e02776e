/* node_disk.c - a server's log thread and snapshot thread.
 *
 * The log thread    takes all that waits, appends it and syncs once, as logthread.c; that is over when the disk says so, and only then the core
 *                   thread hears of it.
 * The snapshot thread runs the shipped snapshot_write on a stack of its own: whenever it gives the tree's lock back it is set aside, and goes on
 *                   some time later, after the tree has changed. */
#include "cluster.h"

#include <ucontext.h>

enum { STACK_SIZE = 256 << 10, PAUSE_FROM_US = 50, PAUSE_TO_US = 20000 };

/* ---- log thread ---- */

static void batch_clear(struct log_batch *b)
{
    b->entries.len = 0;
    wr_reset(&b->bytes);
}

static void log_schedule(struct node *n, int64_t at_us)
{
    if (n->log_busy || n->log_scheduled || n->pending.entries.len == 0)
        return;
    n->log_scheduled = true;
    world_at(n->w, at_us + rng_range(&n->rng, 3, 50), TAG_LOG, on_log, n, n->life);
}

static void log_add(struct node *n, int64_t zxid, struct buf txn)
{
    struct log_entry e = { zxid, n->pending.bytes.n, txn.n };

    wr_bytes(&n->pending.bytes, txn.p, txn.n);
    VEC_PUSH(&n->pending.entries, e);
}

void log_push(struct node *n, struct log_batch *b)
{
    for (size_t i = 0; i < b->entries.len; i++) {
        const struct log_entry *e = &b->entries.items[i];
        struct buf txn = buf_of(b->bytes.p + e->off, e->len);

        log_add(n, e->zxid, txn);
        if (!n->dying)
            inv_appended(n, e->zxid, txn);
    }
    batch_clear(b);
    log_schedule(n, node_time(n));
}

void log_roll(struct node *n)
{
    log_add(n, 0, buf_of(NULL, 0));
    log_schedule(n, node_time(n));
}

/* Appends and syncs what waits, from the disk's time on. False: the disk failed. */
static bool log_write(struct node *n)
{
    struct log_batch t = n->current;
    struct storage_error err = { "" };
    int rc = 0;

    n->current = n->pending;
    n->pending = t;
    n->log_last = 0;
    for (size_t i = 0; i < n->current.entries.len && rc >= 0; i++) {
        const struct log_entry *e = &n->current.entries.items[i];

        rc = e->zxid == 0 ? txnlog_roll(n->log, &err) : txnlog_append(n->log, e->zxid, buf_of(n->current.bytes.p + e->off, e->len), &err);
        n->log_last = MAX(n->log_last, e->zxid);
    }
    if (rc >= 0)
        rc = txnlog_sync(n->log, &err);
    batch_clear(&n->current);
    n->log_done_us = vdisk_time(n->disk);
    if (rc < 0)
        node_die_at(n, n->log_done_us, false, err.text);
    else if (n->log_last > 0 && !n->dying)
        inv_durable(n, n->log_last, n->log_done_us);
    return rc >= 0;
}

static void log_finished(struct node *n)
{
    n->log_busy = false;
    if (n->log_last > 0)
        n->persisted = n->log_last;
}

/* Begins, or is done: whichever is due. */
void on_log(void *data, uint64_t life)
{
    struct node *n = data;

    if (!node_alive(n, life, TAG_LOG))
        return;
    if (n->log_busy && n->w->now_us >= n->log_done_us) {
        log_finished(n);
        node_wake(n, n->w->now_us + rng_range(&n->rng, 3, 30));
    }
    n->log_scheduled = false;
    if (n->log_busy || n->pending.entries.len == 0)
        return;
    vdisk_at(n->disk, n->w->now_us);
    if (!log_write(n))
        return;
    n->log_busy = true;
    world_at(n->w, n->log_done_us, TAG_LOG, on_log, n, n->life);
}

/* The core thread waits for the log thread. */
void log_drain(struct node *n)
{
    int64_t t = node_time(n);

    if (n->dying)
        return;
    if (n->log_busy) {
        t = MAX(t, n->log_done_us);
        log_finished(n);
    }
    while (n->pending.entries.len > 0 && !n->dying) {
        vdisk_at(n->disk, t);
        if (log_write(n))
            log_finished(n);
        t = MAX(t, vdisk_time(n->disk));
    }
    vdisk_at(n->disk, t);
}

void log_thread_end(struct node *n)
{
    batch_clear(&n->pending);
    batch_clear(&n->current);
    if (n->log)
        txnlog_close(n->log);
    n->log = NULL;
}

/* ---- a stack of its own ---- */

struct coroutine {
    ucontext_t self, caller;
    struct node *n;
    bool done;
    int rc;
    char *stack;
};

/* makecontext passes ints only. */
static struct coroutine *starting;

static void snap_lock(void *data)
{
    (void)data; /* only one of us runs */
}

static void snap_unlock(void *data)
{
    struct coroutine *c = data;

    (void)swapcontext(&c->self, &c->caller); /* cannot fail with these arguments */
}

static bool snap_cancelled(void *data)
{
    struct coroutine *c = data;

    return c->n->snap_held;
}

static void snap_main(void)
{
    struct coroutine *c = starting;
    struct snapshot_locks locks = { .lock = snap_lock, .unlock = snap_unlock, .data = c, .cancelled = snap_cancelled, .step_nodes = 3 };
    struct storage_error err = { "" };
    int64_t zxid, bytes;

    c->rc = snapshot_write(&c->n->storage, c->n->tree, &locks, &zxid, &bytes, &err);
    c->done = true;
    (void)swapcontext(&c->self, &c->caller);
}

static struct coroutine *coroutine_new(struct node *n)
{
    struct coroutine *c = x_calloc(1, sizeof(*c));

    c->n = n;
    c->stack = x_malloc(STACK_SIZE);
    (void)getcontext(&c->self);
    c->self.uc_stack.ss_sp = c->stack;
    c->self.uc_stack.ss_size = STACK_SIZE;
    c->self.uc_link = &c->caller;
    makecontext(&c->self, snap_main, 0);
    return c;
}

/* Until it gives the lock back, or is done. */
static void coroutine_run(struct coroutine *c)
{
    starting = c;
    (void)swapcontext(&c->caller, &c->self);
}

static void coroutine_free(struct coroutine *c)
{
    free(c->stack);
    free(c);
}

/* ---- snapshot thread ---- */

static void snap_schedule(struct node *n, int64_t at_us)
{
    if (n->snap_scheduled)
        return;
    n->snap_scheduled = true;
    world_at(n->w, at_us + rng_range(&n->rng, PAUSE_FROM_US, PAUSE_TO_US), TAG_SNAP, on_snap, n, n->life);
}

void snap_request(struct node *n)
{
    n->snap_wanted = true;
    if (!n->snap_held && !n->snap)
        snap_schedule(n, node_time(n));
}

/* One step; at its end the next is due. */
static void snap_step(struct node *n)
{
    struct storage_error err = { "" };

    coroutine_run(n->snap);
    if (!n->snap->done)
        return;
    n->snap_finished = n->snap->rc < 0 ? 2 : 1;
    coroutine_free(n->snap);
    n->snap = NULL;
    if (rng_chance(&n->rng, 400) && !n->dying)
        (void)storage_purge(&n->storage, n->cfg.snap_retain_count, &err); /* a failure costs room only */
}

void on_snap(void *data, uint64_t life)
{
    struct node *n = data;

    if (!node_alive(n, life, TAG_SNAP))
        return;
    n->snap_scheduled = false;
    if (!n->snap) {
        if (!n->snap_wanted || n->snap_held)
            return;
        n->snap_wanted = false;
        n->snap = coroutine_new(n);
        world_line(n->w, SIM_LINE_DISK, n->sid, 0, "begins a snapshot at 0x%llx", (unsigned long long)tree_last_zxid(n->tree));
    }
    vdisk_at(n->disk, n->w->now_us);
    snap_step(n);
    if (n->snap || n->snap_wanted)
        snap_schedule(n, vdisk_time(n->disk));
    else
        node_wake(n, vdisk_time(n->disk));
}

void snap_hold(struct node *n)
{
    if (n->snap_wanted)
        n->snap_finished = 2;
    n->snap_wanted = false;
    n->snap_held = true;
}

/* The core thread waits for the snapshot thread. */
void snap_wait(struct node *n)
{
    vdisk_at(n->disk, node_time(n));
    while (n->snap)
        snap_step(n);
}

void snap_release(struct node *n)
{
    n->snap_held = false;
    if (n->snap_wanted)
        snap_schedule(n, node_time(n));
}

void snap_thread_end(struct node *n)
{
    while (n->snap)
        snap_step(n); /* every operation fails now: it soon gives up */
}
