/* logthread.c - the log thread: group commit. Everything that waits when it gets there goes into one sync.
 *
 * A failed write or sync ends the process: the page cache cannot be trusted afterwards, and nothing that was not synced has been
 * answered, so a restart loses nothing that anybody was told of. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "server_internal.h"

static void logger_fail(struct server *s, const struct storage_error *err)
{
    char text[sizeof(err->text) + 64];

    snprintf(text, sizeof(text), "transaction log: %s", err->text);
    server_fatal(s, text);
}

static bool logger_append_all(struct server *s, struct storage_error *err)
{
    struct log_batch *b = &s->logger.current;

    for (size_t i = 0; i < b->entries.len; i++) {
        struct log_entry *e = &b->entries.items[i];
        int rc = e->zxid == 0 ? txnlog_roll(s->logger.log, err)
                              : txnlog_append(s->logger.log, e->zxid, buf_of(b->bytes.p + e->off, e->len), err);

        if (rc < 0)
            return false;
    }
    return true;
}

static void logger_commit(struct server *s)
{
    struct logger *l = &s->logger;
    struct storage_error err = { "" };
    int64_t start = clock_mono_us(), last = 0;

    for (size_t i = 0; i < l->current.entries.len; i++)
        last = MAX(last, l->current.entries.items[i].zxid);
    stats_catch_up(&l->stats, atomic_load_explicit(&s->generation, RELAXED));
    stats_record(&l->stats, SUM_BATCH_SIZE, l->current.entries.len);
    stats_add(&l->stats, CTR_LOG_QUEUED, l->current.entries.len);
    stats_record(&l->stats, SUM_QUEUE_TIME, (uint64_t)MAX(start - l->current.oldest_us, 0));
    if (!logger_append_all(s, &err) || txnlog_sync(l->log, &err) < 0) {
        logger_fail(s, &err);
        return;
    }
    int64_t took = clock_mono_us() - start;
    stats_record(&l->stats, SUM_FSYNC_TIME, (uint64_t)took);
    stats_record(&l->stats, SUM_FLUSH_TIME, (uint64_t)took);
    stats_record(&l->stats, SUM_QUEUE_FLUSH_TIME, (uint64_t)MAX(start + took - l->current.oldest_us, 0));
    if (took / 1000 > s->cfg->fsync_warn_ms) {
        stats_add(&l->stats, CTR_FSYNC_SLOW, 1);
        log_warn("server", "syncing the transaction log took %lld ms, which delays every write", (long long)(took / 1000));
    }
    if (last > 0) {
        atomic_store(&l->persisted, last);
        waker_wake(&s->core_waker);
    }
}

static void *logger_main(void *arg)
{
    struct server *s = arg;
    struct logger *l = &s->logger;

    for (;;) {
        pthread_mutex_lock(&l->mutex);
        l->busy = false;
        if (l->pending.entries.len == 0)
            pthread_cond_broadcast(&l->idle);
        while (l->pending.entries.len == 0 && !l->stop) {
            l->asleep = true;
            pthread_cond_wait(&l->cond, &l->mutex);
        }
        l->asleep = false;
        l->busy = true;
        struct log_batch t = l->current;
        l->current = l->pending;
        l->pending = t;
        pthread_mutex_unlock(&l->mutex);
        if (l->current.entries.len == 0)
            return NULL;
        if (!atomic_load(&s->dead)) /* a later sync that works would prove nothing about what failed before */
            logger_commit(s);
        l->current.entries.len = 0;
        wr_reset(&l->current.bytes);
    }
}

/* Signalled after unlocking, or the woken thread would only run into the mutex. */
void logger_unlock(struct logger *l)
{
    bool wake = l->asleep;

    l->asleep = false;
    pthread_mutex_unlock(&l->mutex);
    if (wake)
        pthread_cond_signal(&l->cond);
}

void logger_push(struct server *s, struct log_batch *b)
{
    struct logger *l = &s->logger;

    if (b->entries.len == 0)
        return;
    pthread_mutex_lock(&l->mutex);
    if (l->pending.entries.len == 0) {
        struct log_batch t = l->pending; /* the usual case moves no bytes */

        l->pending = *b;
        *b = t;
        l->pending.oldest_us = clock_mono_us();
    } else {
        size_t base = l->pending.bytes.n;

        wr_bytes(&l->pending.bytes, b->bytes.p, b->bytes.n);
        for (size_t i = 0; i < b->entries.len; i++) {
            struct log_entry e = b->entries.items[i];

            e.off += base;
            VEC_PUSH(&l->pending.entries, e);
        }
    }
    logger_unlock(l);
    b->entries.len = 0;
    wr_reset(&b->bytes);
}

bool logger_sync_here(struct server *s, int64_t zxid, struct buf txn)
{
    struct logger *l = &s->logger;

    pthread_mutex_lock(&l->mutex);
    bool mine = l->pending.entries.len == 0 && !l->busy && !l->stop;
    if (mine)
        l->busy = true; /* the log, and `current` with it, are this thread's until it is false again */
    pthread_mutex_unlock(&l->mutex);
    if (!mine)
        return false;
    struct log_entry e = { zxid, 0, txn.n };
    wr_bytes(&l->current.bytes, txn.p, txn.n);
    VEC_PUSH(&l->current.entries, e);
    l->current.oldest_us = clock_mono_us();
    if (!atomic_load(&s->dead))
        logger_commit(s);
    l->current.entries.len = 0;
    wr_reset(&l->current.bytes);
    pthread_mutex_lock(&l->mutex);
    l->busy = false;
    pthread_cond_broadcast(&l->idle);
    pthread_mutex_unlock(&l->mutex);
    return true;
}

void logger_drain(struct server *s)
{
    struct logger *l = &s->logger;

    pthread_mutex_lock(&l->mutex);
    while (l->pending.entries.len > 0 || l->busy)
        pthread_cond_wait(&l->idle, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
}

void logger_start(struct server *s)
{
    ASSERT(pthread_create(&s->logger.thread, NULL, logger_main, s) == 0);
}

void logger_stop(struct server *s)
{
    struct logger *l = &s->logger;

    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
    pthread_join(l->thread, NULL);
    VEC_FREE(&l->pending.entries);
    VEC_FREE(&l->current.entries);
    wr_free(&l->pending.bytes);
    wr_free(&l->current.bytes);
}
