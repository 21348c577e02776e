/* peer_learn.c - carries out a learner's effects: makes this server's history the leader's, then follows it. */
#include "base/log.h"
#include "peer_internal.h"

void learn_begin(struct peer *p, bool observer, int64_t leader_sid)
{
    const struct server_config *cfg = p->host.cfg;
    struct zab_learner_options opt = {
        .start = peer_start(p),
        .leader_sid = leader_sid,
        .observer = observer,
        .no_observer_log = observer && !cfg->observer_log && !peer_votes_in_proposed(p),
        .resync = p->resync,
    };
    int64_t delay = observer ? peer_random_delay(p, cfg->observer_reconnect_delay_ms) : 0;

    p->resync = false;
    p->unlogged |= opt.no_observer_log;
    p->paused = p->receiving = false;
    p->learner = zab_learner_new(&opt);
    p->follow_sid = leader_sid;
    if (delay > 0)
        p->follow_due_ms = p->now_ms + delay;
    else
        learn_connect(p);
}

void learn_connect(struct peer *p)
{
    const struct server_config *cfg = p->host.cfg;
    const struct quorum_member *m = quorum_config_member(p->committed, p->follow_sid);
    int32_t ticks = cfg->connect_limit > 0 ? cfg->connect_limit : cfg->init_limit;

    p->follow_due_ms = 0;
    if (!m && p->seen)
        m = quorum_config_member(p->seen, p->follow_sid);
    if (m)
        p->host.net->follow(p->net, m, (int64_t)ticks * cfg->tick_ms, p->now_ms);
    else
        learn_closed(p, "no configuration names it");
}

void learn_end(struct peer *p)
{
    p->follow_due_ms = 0;
    p->proposed.len = p->proposed_head = 0;
    p->host.net->unfollow(p->net);
    snap_decoder_free(p->decoder);
    p->decoder = NULL;
    p->receiving = false;
    zab_learner_free(p->learner);
    p->learner = NULL;
}

/* ---- from the socket ---- */

/* Packets wait while the machine waits for its disk; the bytes of a snapshot do not. */
void learn_settle_pause(struct peer *p)
{
    bool paused = p->learner && !p->receiving && !zab_learner_ready(p->learner);

    if (paused == p->paused)
        return;
    p->paused = paused;
    p->host.net->leader_pause(p->net, paused);
}

void learn_open(void *data)
{
    struct peer *p = data;

    if (p->learner)
        zab_learner_opened(p->learner);
}

void learn_packet(void *data, const struct qpacket *q)
{
    struct peer *p = data;

    if (!p->learner)
        return;
    zab_learner_packet(p->learner, q);
    learn_settle_pause(p);
}

void learn_closed(void *data, const char *why)
{
    struct peer *p = data;

    log_info("quorum", "the connection to the leader is closed: %s", why);
    if (p->learner)
        zab_learner_closed(p->learner);
}

/* ---- synchronisation ---- */

static void loaded(struct peer *p, int rc)
{
    struct storage_error err = { "" };
    struct tree *t = NULL;

    if (rc == 0)
        rc = snap_decoder_take(p->decoder, p->snap_zxid, &t, &err);
    if (rc < 0)
        log_warn("quorum", "the leader's snapshot: %s", err.text);
    else
        peer_set_tree(p, t);
    snap_decoder_free(p->decoder);
    p->decoder = NULL;
    p->receiving = false;
    peer_done(p, (struct done){ .what = DONE_LOADED, .rc = rc });
}

static int64_t take_snapshot(void *data, const uint8_t *bytes, size_t n, bool *ret_end)
{
    struct peer *p = data;
    struct storage_error err = { "" };
    size_t used = 0;

    zab_learner_heard(p->learner);
    int rc = snap_decoder_feed(p->decoder, bytes, n, &used, &err);

    if (rc == RC_SHORT)
        return (int64_t)n;
    if (rc < 0) {
        log_warn("quorum", "the leader's snapshot: %s", err.text);
        return rc; /* the connection is closed, and the machine hears of that */
    }
    *ret_end = true;
    loaded(p, 0);
    learn_settle_pause(p);
    return (int64_t)used;
}

static void load_snapshot(struct peer *p, int64_t zxid)
{
    p->counts.snap_count++;
    p->snap_zxid = zxid;
    p->decoder = snap_decoder_new(p->host.storage);
    p->receiving = true;
    p->host.net->leader_raw(p->net, take_snapshot, p);
    learn_settle_pause(p);
}

/* ---- transactions ---- */

static void commit(struct peer *p, const struct zab_effect *e)
{
    if (!p->serving)
        return;
    peer_note_commit(p, e->bytes);
    int rc = core_learner_txn(p->core, e->zxid, e->bytes);
    if (rc < 0) {
        log_error("quorum", "the leader's transaction 0x%llx is malformed", (unsigned long long)e->zxid);
        peer_die(p, ZAB_EXIT_COMMIT_MISMATCH, "a committed transaction cannot be applied");
        return;
    }
    core_committed(p->core, e->zxid);
}

void learn_done(struct peer *p, const struct done *d)
{
    switch (d->what) {
    case DONE_ACCEPTED:
        zab_learner_epoch_persisted(p->learner, ZAB_ACCEPTED_EPOCH);
        return;
    case DONE_CURRENT:
        zab_learner_epoch_persisted(p->learner, ZAB_CURRENT_EPOCH);
        return;
    case DONE_TRUNCATED:
        zab_learner_truncated(p->learner, d->rc);
        return;
    case DONE_LOADED:
        zab_learner_snapshot_loaded(p->learner, d->rc);
        return;
    case DONE_STORED:
        zab_learner_snapshot_stored(p->learner);
        return;
    case DONE_REVALIDATED:
    case DONE_LOG_END:
        ASSERT(!"a leader's");
    }
}

void learn_effect(struct peer *p, const struct zab_effect *e)
{
    if (peer_common_effect(p, e))
        return;
    switch (e->type) {
    case ZAB_SEND:
        p->host.net->leader_send(p->net, e->bytes);
        return;
    case ZAB_CLOSE:
        return; /* the role ends with it: learn_end */
    case ZAB_TRUNCATE_LOG:
        peer_done(p, (struct done){ .what = DONE_TRUNCATED, .rc = peer_truncate(p, e->zxid) });
        return;
    case ZAB_LOAD_SNAPSHOT:
        load_snapshot(p, e->zxid);
        return;
    case ZAB_STORE_SNAPSHOT:
        peer_store_snapshot(p, e->zxid);
        peer_done(p, (struct done){ .what = DONE_STORED });
        return;
    case ZAB_COMMIT:
        commit(p, e);
        return;
    case ZAB_SERVE:
        peer_serve(p, CORE_LEARNER, e->epoch);
        return;
    case ZAB_REVALIDATED:
        if (p->serving)
            core_revalidated(p->core, e->session_id, e->valid);
        return;
    default:
        ASSERT(!"not a learner's effect");
    }
}
