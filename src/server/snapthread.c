/* snapthread.c - the snapshot thread: fuzzy snapshots while everybody goes on, and purging of old files.
 *
 * A snapshot that fails costs nothing but a longer replay: it is logged and counted, and the next one is tried in its turn. */
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "server_internal.h"

static void snapper_lock(void *arg)
{
    struct server *s = arg;

    treelock_read_lock(s->lock, reader_snapshot(s));
}

static void snapper_unlock(void *arg)
{
    struct server *s = arg;

    treelock_read_unlock(s->lock, reader_snapshot(s));
}

/* The role ends: what comes into the tree now is not committed, and the others shall not have to wait for a snapshot before they can elect. */
static bool snapper_cancelled(void *arg)
{
    struct server *s = arg;

    return atomic_load(&s->snapper.held);
}

static void snapper_write(struct server *s)
{
    struct snapshot_locks locks = { snapper_lock, snapper_unlock, s, snapper_cancelled };
    struct storage_error err = { "" };
    int64_t zxid = 0, bytes = 0, start = clock_mono_us();
    int rc = snapshot_write(&s->storage, s->tree, &locks, &zxid, &bytes, &err);
    int64_t took = clock_mono_us() - start;

    stats_catch_up(&s->snapper.stats, atomic_load_explicit(&s->generation, RELAXED));
    if (rc == RC_CANCELLED) {
        log_info("server", "snapshot given up after %lld ms: the server's role has ended", (long long)(took / 1000));
    } else if (rc < 0) {
        stats_add(&s->snapper.stats, CTR_SNAPSHOT_ERRORS, 1);
        log_error("server", "snapshot failed, the log is kept instead: %s", err.text);
    } else {
        stats_add(&s->snapper.stats, CTR_SNAPSHOTS, 1);
        stats_record(&s->snapper.stats, SUM_SNAPSHOT_TIME, (uint64_t)took);
        log_info("server", "snapshot at zxid 0x%llx: %lld bytes in %lld ms", (unsigned long long)zxid, (long long)bytes,
                 (long long)(took / 1000));
    }
    atomic_store(&s->snapper.finished, rc < 0 ? 2 : 1);
    waker_wake(&s->core_waker);
}

static void snapper_purge(struct server *s)
{
    struct storage_error err = { "" };
    int removed = storage_purge(&s->storage, MAX(3, s->cfg->snap_retain_count), &err);

    if (removed < 0)
        log_warn("server", "purging old snapshots and logs: %s", err.text);
    else if (removed > 0)
        log_info("server", "purged %d old snapshot and log files", removed);
}

/* Waits for work until the next purge is due (monotonic ms; 0: never). Returns with the mutex held. */
static void wait_for_work(struct snapper *sn, int64_t purge_ms)
{
    pthread_mutex_lock(&sn->mutex);
    sn->busy = false;
    pthread_cond_broadcast(&sn->idle);
    while ((!sn->wanted || sn->held) && !sn->stop) {
        struct timespec until = { purge_ms / 1000, purge_ms % 1000 * 1000000 };

        if (purge_ms == 0 || sn->held)
            pthread_cond_wait(&sn->cond, &sn->mutex);
        else if (pthread_cond_timedwait(&sn->cond, &sn->mutex, &until) == ETIMEDOUT && !sn->held)
            break;
    }
    sn->busy = true;
}

static void *snapper_main(void *arg)
{
    struct server *s = arg;
    struct snapper *sn = &s->snapper;
    int64_t interval = (int64_t)s->cfg->purge_interval_hours * 3600 * 1000;
    int64_t purge_ms = interval > 0 ? clock_mono_ms() : 0; /* the first one at start */

    for (;;) {
        wait_for_work(sn, purge_ms);
        bool wanted = sn->wanted, stop = sn->stop;
        sn->wanted = false;
        pthread_mutex_unlock(&sn->mutex);
        if (stop)
            return NULL;
        if (wanted)
            snapper_write(s);
        if (purge_ms > 0 && clock_mono_ms() >= purge_ms) {
            snapper_purge(s);
            purge_ms = clock_mono_ms() + interval;
        }
    }
}

void snapper_start(struct server *s)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&s->snapper.mutex, NULL);
    pthread_cond_init(&s->snapper.idle, NULL);
    s->snapper.busy = true; /* until it waits for the first time */
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->snapper.cond, &attr);
    pthread_condattr_destroy(&attr);
    ASSERT(pthread_create(&s->snapper.thread, NULL, snapper_main, s) == 0);
}

void snapper_request(struct server *s)
{
    pthread_mutex_lock(&s->snapper.mutex);
    s->snapper.wanted = true;
    pthread_cond_signal(&s->snapper.cond);
    pthread_mutex_unlock(&s->snapper.mutex);
}

void snapper_hold(struct server *s)
{
    struct snapper *sn = &s->snapper;

    pthread_mutex_lock(&sn->mutex);
    if (sn->wanted)
        atomic_store(&sn->finished, 2);
    sn->wanted = false;
    atomic_store(&sn->held, true);
    pthread_mutex_unlock(&sn->mutex);
}

void snapper_wait(struct server *s)
{
    struct snapper *sn = &s->snapper;

    pthread_mutex_lock(&sn->mutex);
    while (sn->busy)
        pthread_cond_wait(&sn->idle, &sn->mutex);
    pthread_mutex_unlock(&sn->mutex);
}

void snapper_release(struct server *s)
{
    pthread_mutex_lock(&s->snapper.mutex);
    atomic_store(&s->snapper.held, false);
    pthread_cond_signal(&s->snapper.cond);
    pthread_mutex_unlock(&s->snapper.mutex);
}

void snapper_stop(struct server *s)
{
    pthread_mutex_lock(&s->snapper.mutex);
    s->snapper.stop = true;
    pthread_cond_signal(&s->snapper.cond);
    pthread_mutex_unlock(&s->snapper.mutex);
    pthread_join(s->snapper.thread, NULL);
    pthread_mutex_destroy(&s->snapper.mutex);
    pthread_cond_destroy(&s->snapper.cond);
    pthread_cond_destroy(&s->snapper.idle);
}
