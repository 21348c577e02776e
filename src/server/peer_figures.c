/* peer_figures.c - figures of an ensemble as text, for the four-letter word mntr and for Prometheus. Names are the reference's; what it does not have:
 * proposals_outstanding, last_election_time, and how far each learner is behind. */
#include <inttypes.h>

#include "server_internal.h"

#define LEARNERS_SHOWN ((size_t)256)

struct gauge {
    const char *name;
    int64_t value;
    bool shown;
};

static void put_gauge(const struct gauge *g, struct wr *w, bool prometheus)
{
    if (prometheus)
        wr_printf(w, "# TYPE %s gauge\n%s %" PRId64 "\n", g->name, g->name, g->value);
    else
        wr_printf(w, "zk_%s\t%" PRId64 "\n", g->name, g->value);
}

static void put_figures(const struct peer_info *info, struct wr *w, bool prometheus)
{
    const struct peer_counts *c = &info->counts;
    const struct gauge gauges[] = {
        { "quorum_size", info->quorum_size, true },
        { "learners", info->learners, info->leading },
        { "synced_followers", info->synced_followers, info->leading },
        { "synced_non_voting_followers", info->synced_non_voting, info->leading },
        { "synced_observers", info->synced_observers, info->leading },
        { "pending_syncs", (int64_t)info->pending_syncs, info->leading },
        { "proposals_outstanding", (int64_t)info->outstanding, info->leading },
        { "leader_uptime", info->leader_uptime_ms, info->leading },
        { "last_proposal_size", c->last_proposal_size, info->leading },
        { "min_proposal_size", c->min_proposal_size, info->leading },
        { "max_proposal_size", c->max_proposal_size, info->leading },
        { "last_election_time", info->election_time_ms, info->election_time_ms >= 0 },
        { "looking_count", (int64_t)c->looks, true },
        { "snap_count", (int64_t)c->snap_count, true },
        { "diff_count", (int64_t)info->diff_count, true },
        { "quit_leading_due_to_disloyal_voter", (int64_t)c->disloyal, true },
        { "revalidate_count", (int64_t)c->revalidations, true },
        { "learner_proposal_received_count", (int64_t)c->proposals_received, true },
        { "learner_commit_received_count", (int64_t)c->commits_received, true },
    };

    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        if (gauges[i].shown)
            put_gauge(&gauges[i], w, prometheus);
}

struct named_span {
    const char *name;
    const struct peer_span *span;
};
#define SPANS 7

static void spans_of(const struct peer_info *info, struct named_span out[SPANS])
{
    static const struct peer_span none;
    const struct peer_counts *c = &info->counts;

    out[0] = (struct named_span){ "election_time", &c->election };
    out[1] = (struct named_span){ "follower_sync_time", info->observer ? &none : &c->sync };
    out[2] = (struct named_span){ "observer_sync_time", info->observer ? &c->sync : &none };
    out[3] = (struct named_span){ "unavailable_time", &c->unavailable };
    out[4] = (struct named_span){ "leader_unavailable_time", &c->leader_unavailable };
    out[5] = (struct named_span){ "quorum_ack_latency", &c->quorum_ack };
    out[6] = (struct named_span){ "propagation_latency", &c->propagation };
}

void peer_mntr(const struct peer *p, const struct peer_info *info, struct wr *w)
{
    struct named_span spans[SPANS];
    struct peer_learner learners[LEARNERS_SHOWN];
    size_t n = MIN(peer_learners(p, learners, LEARNERS_SHOWN), LEARNERS_SHOWN);

    put_figures(info, w, false);
    spans_of(info, spans);
    for (size_t i = 0; i < SPANS; i++) {
        const struct peer_span *s = spans[i].span;
        const char *name = spans[i].name;

        wr_printf(w, "zk_avg_%s\t", name);
        wr_decimal(w, s->count ? (double)s->sum / (double)s->count : 0.0);
        wr_printf(w, "\nzk_min_%s\t%" PRId64 "\nzk_max_%s\t%" PRId64 "\nzk_cnt_%s\t%" PRIu64 "\nzk_sum_%s\t%" PRId64 "\n", name, s->min,
                  name, s->max, name, s->count, name, s->sum);
    }
    for (size_t i = 0; i < n; i++) {
        const struct peer_learner *l = &learners[i];

        wr_printf(w, "zk_learner_%" PRId64 "_synced\t%d\nzk_learner_%" PRId64 "_silent_ms\t%" PRId64 "\n", l->sid, l->synced, l->sid,
                  l->silent_ms);
        if (l->lag >= 0)
            wr_printf(w, "zk_learner_%" PRId64 "_lag\t%" PRId64 "\n", l->sid, l->lag);
    }
}

static void put_learners(const struct peer *p, struct wr *w)
{
    struct peer_learner l[LEARNERS_SHOWN];
    size_t n = MIN(peer_learners(p, l, LEARNERS_SHOWN), LEARNERS_SHOWN);

    if (n == 0)
        return;
    wr_text(w, "# HELP learner_lag Proposals that a learner has not acknowledged\n# TYPE learner_lag gauge\n");
    for (size_t i = 0; i < n; i++)
        if (l[i].lag >= 0)
            wr_printf(w, "learner_lag{sid=\"%" PRId64 "\"} %" PRId64 "\n", l[i].sid, l[i].lag);
    wr_text(w, "# HELP learner_silent_ms Time since a learner was heard from\n# TYPE learner_silent_ms gauge\n");
    for (size_t i = 0; i < n; i++)
        wr_printf(w, "learner_silent_ms{sid=\"%" PRId64 "\"} %" PRId64 "\n", l[i].sid, l[i].silent_ms);
    wr_text(w, "# HELP learner_synced Whether a learner follows\n# TYPE learner_synced gauge\n");
    for (size_t i = 0; i < n; i++)
        wr_printf(w, "learner_synced{sid=\"%" PRId64 "\"} %d\n", l[i].sid, l[i].synced);
}

void peer_prometheus(const struct server *s, struct wr *w)
{
    struct named_span spans[SPANS];
    struct peer_info info;

    if (!s->peer)
        return;
    peer_info(s->peer, &info);
    put_figures(&info, w, true);
    spans_of(&info, spans);
    for (size_t i = 0; i < SPANS; i++)
        wr_printf(w, "# TYPE %s summary\n%s_count %" PRIu64 "\n%s_sum %" PRId64 "\n", spans[i].name, spans[i].name, spans[i].span->count,
                  spans[i].name, spans[i].span->sum);
    put_learners(s->peer, w);
}
