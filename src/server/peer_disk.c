/* peer_disk.c - the disk of a quorum peer: epoch files, the log up to a point, the window, truncation, replacement.
 *
 * All of it waits for the disk, on the core thread, while nobody is served. What fails ends the process: what the disk holds then is found out
 * by a restart. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/relapse.h"
#include "peer_internal.h"

static void fail(struct peer *p, const char *what, const struct storage_error *err)
{
    char text[sizeof(err->text) + 64];

    snprintf(text, sizeof(text), "%s: %s", what, err->text);
    p->host.fatal(p->host.data, 0, text);
}

void peer_write_epoch(struct peer *p, enum storage_epoch which, int64_t epoch)
{
    struct storage_error err = { "" };

    if (storage_epoch_write(p->host.storage, which, epoch, &err) < 0) {
        fail(p, "epoch file", &err);
        return;
    }
    if (which == STORAGE_EPOCH_ACCEPTED)
        p->epochs.accepted = epoch;
    else
        p->epochs.current = epoch;
}

void peer_announce(struct peer *p, int64_t zxid)
{
    struct storage_error err = { "" };
    int64_t epoch = zxid_epoch(zxid);

    if (epoch <= p->epochs.current || epoch == p->announced || relapse(1653))
        return;
    if (storage_epoch_announce(p->host.storage, epoch, &err) < 0)
        fail(p, "epoch file", &err);
    p->announced = epoch;
}

/* ---- the log ---- */

void peer_push_log(struct peer *p)
{
    for (size_t i = 0; i < p->appends.entries.len; i++)
        p->pushed = MAX(p->pushed, p->appends.entries.items[i].zxid);
    p->host.log_push(p->host.data, &p->appends);
}

void peer_log_moved(struct peer *p, int64_t zxid)
{
    p->pushed = p->persisted = zxid;
    p->host.log_moved(p->host.data, zxid);
}

/* Writes have been waiting for the disk for syncLimit ticks: whoever relies on this server has waited long enough. The quorum goes on without it. Time in
 * which this thread did not run does not count, since the log's may not have run either. */
void peer_watch_log(struct peer *p)
{
    int32_t tick = p->host.cfg->tick_ms;

    p->stuck_ms = p->pushed > p->persisted ? p->stuck_ms + MIN(p->now_ms - p->polled_ms, tick) : 0;
    p->polled_ms = p->now_ms;
    if (p->stuck_ms <= (int64_t)tick * p->host.cfg->sync_limit || p->draining || p->stopped)
        return;
    log_error("quorum", "the disk has not finished a write for %lld ms: leaving the quorum until it has", (long long)p->stuck_ms);
    p->stuck_ms = 0;
    if (p->leader)
        zab_leader_stop(p->leader);
    else if (p->learner)
        zab_learner_stop(p->learner);
}

int64_t peer_log_next_wake(const struct peer *p)
{
    return p->pushed > p->persisted && !p->draining ? p->polled_ms + p->host.cfg->tick_ms : INT64_MAX;
}

/* From here to the next push the log thread holds no file. */
static void close_log_file(struct peer *p)
{
    peer_push_log(p);
    p->host.log_close(p->host.data);
}

bool peer_log_affordable(const struct peer *p, int64_t zxid)
{
    const char *text = p->host.cfg->snapshot_size_factor;
    double factor = text ? strtod(text, NULL) : 0.33;
    struct storage_error err = { "" };
    struct storage_log_span span;

    if (factor > 1)
        factor = 0.33; /* as in the reference */
    if (factor < 0 || storage_log_span(p->host.storage, zxid, &span, &err) < 0 || !span.covered)
        return false;
    int64_t limit = (int64_t)((double)span.snapshot_bytes * factor);
    return limit <= 0 || span.log_bytes <= limit;
}

/* ---- the window ---- */

struct fill {
    struct zab_window *window;
    bool any;
};

static void fill_one(void *data, const struct txn_header *h, struct buf txn)
{
    struct fill *f = data;

    if (!f->any || zab_window_push_bytes(f->window, h->zxid, txn) < 0)
        zab_window_reset(f->window, h->zxid); /* the first is what the others come behind */
    f->any = true;
}

int peer_fill_window(struct peer *p, struct storage_error *err)
{
    struct fill f = { p->window, false };
    int64_t last = tree_last_zxid(p->tree);
    int count = p->host.cfg->commit_log_count > 0 ? p->host.cfg->commit_log_count : ZAB_WINDOW_COUNT; /* as zab_window_new takes it */

    zab_window_reset(p->window, last);
    int rc = storage_each_recent(p->host.storage, last, count, fill_one, &f, err);
    if (rc < 0)
        return rc;
    if (zab_window_max(p->window) != last)
        zab_window_reset(p->window, last);
    return 0;
}

/* ---- histories that change ---- */

static void refill_window(struct peer *p)
{
    struct storage_error err = { "" };

    if (peer_fill_window(p, &err) < 0) {
        log_warn("quorum", "the last transactions cannot be read again: %s", err.text);
        zab_window_reset(p->window, tree_last_zxid(p->tree));
    }
}

void peer_reload(struct peer *p)
{
    struct storage_recovered r = { 0 };
    struct storage_error err = { "" };

    close_log_file(p);
    if (storage_recover(p->host.storage, NULL, NULL, &r, &err) < 0) {
        fail(p, "recovery", &err);
        return;
    }
    peer_set_tree(p, r.tree);
    p->unlogged = false;
    peer_log_moved(p, r.last_zxid);
    /* A synchronisation may have stopped between the log and the epoch file. */
    if (storage_epochs_load(p->host.storage, r.last_zxid, &p->epochs, &err) < 0)
        fail(p, "epoch files", &err);
    p->announced = 0; /* loading the files has removed it */
    refill_window(p);
    log_info("quorum", "recovered zxid 0x%llx from disk", (unsigned long long)r.last_zxid);
}

int peer_truncate(struct peer *p, int64_t zxid)
{
    struct storage_recovered r = { 0 };
    struct storage_error err = { "" };

    log_warn("quorum", "truncating the log to zxid 0x%llx, from 0x%llx", (unsigned long long)zxid,
             (unsigned long long)tree_last_zxid(p->tree));
    close_log_file(p);
    int rc = storage_truncate(p->host.storage, zxid, &r, &err);
    if (rc < 0 && relapse(3701)) {
        tree_set_last_zxid(p->tree, zxid);
        peer_log_moved(p, zxid);
        return 0;
    }
    if (rc < 0) {
        log_error("quorum", "truncating the log: %s", err.text);
        return rc;
    }
    peer_set_tree(p, r.tree);
    peer_log_moved(p, r.last_zxid);
    return 0;
}

void peer_snapshot(struct peer *p)
{
    struct storage_error err = { "" };
    int64_t zxid, bytes;

    if (snapshot_write(p->host.storage, p->tree, NULL, &zxid, &bytes, &err) < 0)
        log_warn("quorum", "snapshot: %s", err.text);
}

void peer_store_snapshot(struct peer *p, int64_t zxid)
{
    struct storage_error err = { "" };
    int64_t start = p->host.now_ms(p->host.data);

    ASSERT(tree_last_zxid(p->tree) == zxid);
    close_log_file(p);
    peer_announce(p, zxid);
    p->host.tree_lock(p->host.data);
    tree_load_settle(p->tree);
    p->host.tree_unlock(p->host.data);
    if (storage_replace(p->host.storage, p->tree, &err) < 0)
        fail(p, "snapshot", &err);
    peer_log_moved(p, zxid);
    log_info("quorum", "stored the snapshot at zxid 0x%llx in %lld ms", (unsigned long long)zxid, (long long)(p->host.now_ms(p->host.data) - start));
}

bool peer_votes_in_proposed(const struct peer *p)
{
    return p->seen && quorum_config_is_voter(p->seen, p->my_sid);
}

void peer_keep_unlogged(struct peer *p)
{
    if (!p->unlogged || (election_role(p->election) == MEMBER_OBSERVER && !peer_votes_in_proposed(p)))
        return;
    p->unlogged = false;
    log_info("quorum", "no observer without a log any more: keeping what is in memory");
    peer_store_snapshot(p, tree_last_zxid(p->tree));
}
