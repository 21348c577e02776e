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
    const char *name, *help;
    const struct figure_summary *span;
    bool detailed;
};
#define SPANS 10

static void spans_of(const struct peer_info *info, struct named_span out[SPANS])
{
    static const struct figure_summary none;
    const struct peer_counts *c = &info->counts;
    const struct named_span all[SPANS] = {
        { "election_time", "From looking for a leader to its election", &c->election, false },
        { "follower_sync_time", "From the choice of a leader to serving as its follower", info->observer ? &none : &c->sync, false },
        { "observer_sync_time", "From the choice of a leader to serving as its observer", info->observer ? &c->sync : &none, false },
        { "unavailable_time", "Without service, until it followed again", &c->unavailable, false },
        { "leader_unavailable_time", "Without service, until it led again", &c->leader_unavailable, false },
        { "quorum_ack_latency", "At the leader, from a proposal to the acknowledgement of a quorum", &c->quorum_ack, true },
        { "propagation_latency", "From a transaction's making by the leader to its being applied here", &c->propagation, true },
        { "proposal_latency", "From a transaction's making by the leader to its proposal's arrival at this follower", &c->proposal, true },
        { "proposal_ack_creation_latency", "From a transaction's making by the leader to its being in this follower's log", &c->ack, true },
        { "commit_propagation_latency", "From a transaction's making by the leader to its commit's arrival at this follower", &c->commit, true },
    };

    memcpy(out, all, sizeof(all));
}

void peer_mntr(const struct peer *p, const struct peer_info *info, struct wr *w)
{
    struct named_span spans[SPANS];
    struct peer_learner learners[LEARNERS_SHOWN];
    size_t n = MIN(peer_learners(p, learners, LEARNERS_SHOWN), LEARNERS_SHOWN);

    put_figures(info, w, false);
    spans_of(info, spans);
    for (size_t i = 0; i < SPANS; i++)
        figure_mntr(spans[i].span, spans[i].name, 1, spans[i].detailed, w);
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
        figure_prometheus(spans[i].span, spans[i].name, spans[i].help, 1, spans[i].detailed, w);
    put_learners(s->peer, w);
}
