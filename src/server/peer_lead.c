/* peer_lead.c - carries out a leader's effects. Learners are served without ever waiting for one: a snapshot is made as its socket
 * takes it, the log is read in slices while little waits for the learner. */
#include "base/addr.h"
#include "base/log.h"
#include "base/relapse.h"
#include "peer_internal.h"

void lead_begin(struct peer *p)
{
    const struct server_config *cfg = p->host.cfg;
    struct zab_leader_options opt = {
        .start = peer_start(p),
        .force_snapshot = cfg->force_snapshot_sync,
        .no_confirm_sync = cfg->no_confirm_sync,
        .max_snap_syncs = (uint32_t)cfg->max_snap_syncs,
        .max_diff_syncs = (uint32_t)cfg->max_diff_syncs,
    };

    if (relapse(1549)) /* as the reference does, with the uncommitted tail in it */
        peer_snapshot(p);
    p->applied_told = tree_last_zxid(p->tree);
    p->leader = zab_leader_new(&opt);
    if (p->host.net->lead_start(p->net) < 0)
        lead_failed(p, "the configuration does not name this server");
}

static void log_job_end(struct peer *p, size_t i)
{
    if (p->logs.items[i].reader)
        txnlog_reader_close(p->logs.items[i].reader);
    p->logs.len--;
    memmove(p->logs.items + i, p->logs.items + i + 1, (p->logs.len - i) * sizeof(*p->logs.items));
}

void lead_end(struct peer *p)
{
    struct zab_leader_stats st;

    zab_leader_stats(p->leader, &st);
    p->counts.diff_count += st.diff_count;
    p->proposed.len = p->proposed_head = 0;
    p->host.net->lead_stop(p->net); /* ends the streams, which walk the tree */
    while (p->logs.len > 0)
        log_job_end(p, 0);
    zab_leader_free(p->leader);
    p->leader = NULL;
}

/* ---- from the sockets ---- */

void lead_failed(void *data, const char *text)
{
    struct peer *p = data;

    log_error("quorum", "cannot lead: %s", text);
    if (p->leader)
        zab_leader_stop(p->leader);
}

void lead_peer_open(void *data, uint64_t conn, const struct sockaddr *from)
{
    struct peer *p = data;
    char text[ADDR_TEXT_MAX];

    addr_format(from, text);
    log_debug("quorum", "learner connected from %s", text);
    if (p->leader)
        zab_leader_peer_open(p->leader, conn);
}

void lead_peer_packet(void *data, uint64_t conn, const struct qpacket *q)
{
    struct peer *p = data;

    if (p->leader)
        zab_leader_peer_packet(p->leader, conn, q);
}

void lead_peer_closed(void *data, uint64_t conn, const char *why)
{
    struct peer *p = data;

    log_info("quorum", "lost a learner: %s", why);
    if (p->leader)
        zab_leader_peer_closed(p->leader, conn);
}

/* ---- snapshots ---- */

struct stream {
    struct peer *p;
    struct snap_encoder *encoder;
};

/* The core thread is the tree's only writer: it reads without a lock. */
static void no_lock(void *data)
{
    (void)data;
}

static int64_t stream_produce(void *data, uint8_t *at, size_t cap, bool *ret_end)
{
    struct stream *st = data;
    size_t n = snap_encoder_read(st->encoder, at, cap);

    *ret_end = n == 0;
    return (int64_t)n;
}

static void stream_free(struct stream *st)
{
    snap_encoder_free(st->encoder);
    free(st);
}

static void stream_done(void *data, uint64_t conn, int rc)
{
    struct stream *st = data;
    struct peer *p = st->p;

    stream_free(st);
    if (p->leader)
        zab_leader_snapshot_done(p->leader, conn, rc);
}

static void send_snapshot(struct peer *p, const struct zab_effect *e)
{
    struct stream *st = x_calloc(1, sizeof(*st));

    ASSERT(tree_last_zxid(p->tree) >= e->zxid);
    st->p = p;
    st->encoder = snap_encoder_new(p->tree, &(struct snapshot_locks){ .lock = no_lock, .unlock = no_lock, .step_nodes = p->host.snapshot_step_nodes });
    p->counts.snap_count++;
    if (p->host.net->peer_stream(p->net, e->conn, &(struct qnet_stream){ st, stream_produce, stream_done }) < 0)
        stream_free(st); /* it is gone: the machine hears of that by peer_closed */
}

/* ---- the log, for learners that the window does not reach: a slice per turn, since the log may be long and everybody else waits ---- */

static void read_log(struct peer *p, const struct zab_effect *e)
{
    struct log_job job = { .conn = e->conn, .from = e->zxid, .to = e->to_zxid, .looking = !e->required };

    if (!e->required && !peer_log_affordable(p, e->zxid)) {
        peer_done(p, (struct done){ .what = DONE_LOG_END, .conn = e->conn, .rc = RC_UNAVAIL });
        return;
    }
    VEC_PUSH(&p->logs, job);
}

static int log_job_open(struct peer *p, struct log_job *job)
{
    struct storage_error err = { "" };
    int rc = txnlog_reader_open(p->host.storage, job->from, &job->reader, &err);

    if (rc < 0)
        log_warn("quorum", "reading the log for a learner: %s", err.text);
    return rc;
}

/* A pass has come to its end. 1: there is another. */
static int log_job_passed(struct log_job *job, bool whole)
{
    if (!job->looking)
        return 0;
    whole = whole && txnlog_reader_joined(job->reader);
    txnlog_reader_close(job->reader);
    job->reader = NULL;
    job->looking = false;
    return whole ? 1 : RC_UNAVAIL;
}

/* 1: there is more to read, when the learner has room for it. */
static int log_job_slice(struct peer *p, struct log_job *job)
{
    struct storage_error err = { "" };
    struct qnet_peer_figures f;
    struct txn_header h;
    struct buf txn;
    size_t bytes = 0;
    int rc = job->reader ? 0 : log_job_open(p, job);

    for (int i = 0; rc == 0 && i < LOG_SLICE && bytes < LOG_SLICE_BYTES; i++) {
        rc = txnlog_reader_next(job->reader, &h, &txn, &err);
        if (rc < 0) {
            log_warn("quorum", "reading the log for a learner: %s", err.text);
            return rc;
        }
        if (rc == 0 || h.zxid > job->to)
            return log_job_passed(job, false);
        bytes += txn.n;
        if (!job->looking)
            zab_leader_log_record(p->leader, job->conn, h.zxid, txn);
        if (h.zxid == job->to)
            return log_job_passed(job, true);
        rc = p->host.net->peer_figures(p->net, job->conn, &f) ? 0 : RC_CLOSED;
    }
    return rc < 0 ? rc : 1;
}

static bool log_job_ready(const struct peer *p, const struct log_job *job)
{
    struct qnet_peer_figures f;

    return !p->host.net->peer_figures(p->net, job->conn, &f) || f.queued < LOG_QUEUE_MAX;
}

bool lead_has_work(const struct peer *p)
{
    for (size_t i = 0; i < p->logs.len; i++)
        if (log_job_ready(p, &p->logs.items[i]))
            return true;
    return false;
}

void lead_read_logs(struct peer *p)
{
    for (size_t i = p->logs.len; i-- > 0;) {
        uint64_t conn = p->logs.items[i].conn;
        if (!log_job_ready(p, &p->logs.items[i]))
            continue;
        int rc = log_job_slice(p, &p->logs.items[i]);
        if (rc == 1)
            continue;
        log_job_end(p, i);
        zab_leader_log_end(p->leader, conn, rc);
    }
}

/* ---- effects ---- */

void lead_done(struct peer *p, const struct done *d)
{
    switch (d->what) {
    case DONE_ACCEPTED:
        zab_leader_epoch_persisted(p->leader, ZAB_ACCEPTED_EPOCH);
        return;
    case DONE_CURRENT:
        zab_leader_epoch_persisted(p->leader, ZAB_CURRENT_EPOCH);
        return;
    case DONE_REVALIDATED:
        zab_leader_revalidated(p->leader, d->conn, d->session_id, d->valid);
        return;
    case DONE_LOG_END:
        zab_leader_log_end(p->leader, d->conn, d->rc);
        return;
    case DONE_TRUNCATED:
    case DONE_LOADED:
    case DONE_STORED:
        ASSERT(!"a learner's");
    }
}

static void forwarded(struct peer *p, const struct zab_effect *e)
{
    core_submit_remote(p->core, &(struct core_remote_request){ e->conn, e->request.session_id, e->request.cxid, e->request.op,
                                                                  e->request.body, e->auth });
}

void lead_effect(struct peer *p, const struct zab_effect *e)
{
    if (peer_common_effect(p, e))
        return;
    switch (e->type) {
    case ZAB_SEND:
        p->host.net->peer_send(p->net, e->conn, e->bytes);
        return;
    case ZAB_CLOSE:
        log_info("quorum", "closing a learner's connection: %s", e->text ? e->text : "");
        p->host.net->peer_close_after_flush(p->net, e->conn);
        return;
    case ZAB_SEND_SNAPSHOT:
        send_snapshot(p, e);
        return;
    case ZAB_READ_LOG:
        read_log(p, e);
        return;
    case ZAB_COMMIT:
        peer_note_quorum(p, e->zxid);
        if (p->serving)
            core_committed(p->core, e->zxid);
        return;
    case ZAB_SERVE:
        peer_serve(p, CORE_LEADER, e->epoch);
        return;
    case ZAB_REQUEST:
        if (p->serving)
            forwarded(p, e);
        return;
    case ZAB_REVALIDATE: {
        enum core_revalidation now = p->serving ? core_revalidate(p->core, e->conn, e->session_id, e->timeout_ms) : CORE_SESSION_ENDING;

        p->counts.revalidations++;
        if (now != CORE_SESSION_ENDING)
            peer_done(p, (struct done){ .what = DONE_REVALIDATED, .conn = e->conn, .session_id = e->session_id,
                                        .valid = now == CORE_SESSION_LIVES });
        return;
    }
    case ZAB_TOUCH:
        if (p->serving)
            core_touch_remote(p->core, e->session_id, e->timeout_ms);
        return;
    default:
        ASSERT(!"not a leader's effect");
    }
}
