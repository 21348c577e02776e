/* peer_info.c - the figures of a quorum peer: who leads, how far the others are behind, how long things took. */
#include "peer_internal.h"

void peer_note_proposal(struct peer *p, int64_t zxid, size_t bytes)
{
    struct peer_counts *c = &p->counts;
    int64_t n = (int64_t)bytes;

    c->min_proposal_size = c->last_proposal_size < 0 ? n : MIN(c->min_proposal_size, n);
    c->max_proposal_size = MAX(c->max_proposal_size, n);
    c->last_proposal_size = n;
    VEC_PUSH(&p->proposed, ((struct proposed){ zxid, p->now_ms }));
}

/* The oldest that waits, if it is not above zxid. */
static bool proposed_next(struct peer *p, int64_t zxid, int64_t *ret_at_ms)
{
    if (p->proposed_head < p->proposed.len && p->proposed.items[p->proposed_head].zxid <= zxid) {
        *ret_at_ms = p->proposed.items[p->proposed_head++].at_ms;
        return true;
    }
    if (p->proposed_head == p->proposed.len) {
        p->proposed.len = p->proposed_head = 0;
    } else if (p->proposed_head >= 1024 && p->proposed_head * 2 >= p->proposed.len) {
        p->proposed.len -= p->proposed_head;
        memmove(p->proposed.items, p->proposed.items + p->proposed_head, p->proposed.len * sizeof(*p->proposed.items));
        p->proposed_head = 0;
    }
    return false;
}

void peer_note_quorum(struct peer *p, int64_t zxid)
{
    int64_t at_ms;

    while (proposed_next(p, zxid, &at_ms)) {
        summary_record(&p->counts.quorum_ack, (uint64_t)(p->now_ms - at_ms));
        summary_record(&p->counts.propagation, (uint64_t)(p->now_ms - at_ms)); /* the leader applies at once */
    }
}

/* Since the leader made it; its clock may be ahead of ours. */
static uint64_t age_ms(int64_t wall_ms, int64_t made_ms)
{
    return (uint64_t)MAX(0, wall_ms - made_ms);
}

static bool made_at(struct buf txn, int64_t *ret_ms)
{
    struct rd r = rd_buf(txn);
    struct txn_header h;

    txn_header_read(&r, NULL, &h);
    *ret_ms = h.time_ms;
    return r.rc == 0;
}

void peer_note_received(struct peer *p, int64_t zxid, struct buf txn)
{
    int64_t at_ms;

    if (!made_at(txn, &at_ms))
        return;
    summary_record(&p->counts.proposal, age_ms(p->host.wall_ms(p->host.data), at_ms));
    VEC_PUSH(&p->proposed, ((struct proposed){ zxid, at_ms }));
}

void peer_note_acked(struct peer *p, int64_t zxid)
{
    int64_t at_ms, wall_ms = p->host.wall_ms(p->host.data);

    while (proposed_next(p, zxid, &at_ms))
        summary_record(&p->counts.ack, age_ms(wall_ms, at_ms));
}

void peer_note_commit(struct peer *p, struct buf txn)
{
    int64_t at_ms;

    p->counts.commits_received++;
    if (!made_at(txn, &at_ms))
        return;
    uint64_t age = age_ms(p->host.wall_ms(p->host.data), at_ms);
    summary_record(&p->counts.propagation, age); /* applied at once */
    if (p->state == ZAB_FOLLOWING)
        summary_record(&p->counts.commit, age);
}

static const char *state_text(const struct peer *p)
{
    if (p->leader) {
        static const char *const texts[] = {
            [ZAB_LEADER_DISCOVERY] = "leading - discovery",
            [ZAB_LEADER_EPOCH_ACK] = "leading - discovery",
            [ZAB_LEADER_NEWLEADER] = "leading - synchronization",
            [ZAB_LEADER_SERVING] = "leading - broadcast",
            [ZAB_LEADER_STOPPED] = "leading",
        };
        struct zab_leader_stats st;

        zab_leader_stats(p->leader, &st);
        return texts[st.phase];
    }
    if (p->learner) {
        static const char *const texts[][2] = {
            [ZAB_LEARNER_CONNECTING] = { "following - discovery", "observing - discovery" },
            [ZAB_LEARNER_DISCOVERY] = { "following - discovery", "observing - discovery" },
            [ZAB_LEARNER_SYNC] = { "following - synchronization", "observing - synchronization" },
            [ZAB_LEARNER_SERVING] = { "following - broadcast", "observing - broadcast" },
            [ZAB_LEARNER_STOPPED] = { "following", "observing" },
        };
        struct zab_learner_stats st;

        zab_learner_stats(p->learner, &st);
        return texts[st.phase][p->state == ZAB_OBSERVING];
    }
    return "looking - election";
}

size_t peer_learners(const struct peer *p, struct peer_learner *ret, size_t cap)
{
    struct zab_leader_stats st;

    if (!p->leader || !p->serving)
        return 0;
    zab_leader_stats(p->leader, &st);
    size_t n = zab_leader_peers(p->leader, NULL, 0);
    struct zab_peer_stats *all = x_calloc(n + 1, sizeof(*all));
    n = zab_leader_peers(p->leader, all, n);
    for (size_t i = 0; i < MIN(n, cap); i++) {
        /* Who acknowledged nothing in this epoch lacks no more than the epoch's proposals: it was synchronised to its start. */
        int64_t acked = MAX(all[i].acked_zxid, st.epoch << 32);

        ret[i] = (struct peer_learner){ .sid = all[i].sid,
                                        .observer = all[i].observer,
                                        .synced = all[i].synced,
                                        .lag = all[i].synced ? MAX(0, st.last_proposed - acked) : -1,
                                        .silent_ms = MAX(0, p->now_ms - all[i].last_heard_ms) };
        if (all[i].synced && all[i].observer) /* proposals that are not committed are not for it */
            ret[i].lag = MAX(0, st.last_committed - acked);
    }
    free(all);
    return n;
}

static uint32_t synced_non_voting(const struct peer *p)
{
    struct zab_peer_stats all[64];
    size_t n = MIN(zab_leader_peers(p->leader, all, ARRAY_LEN(all)), ARRAY_LEN(all));
    uint32_t count = 0;

    for (size_t i = 0; i < n; i++) {
        const struct quorum_member *m = quorum_config_member(p->committed, all[i].sid);

        count += all[i].synced && !all[i].observer && (!m || m->role == MEMBER_OBSERVER);
    }
    return count;
}

static void leader_info(const struct peer *p, struct peer_info *ret)
{
    struct zab_leader_stats st;

    zab_leader_stats(p->leader, &st);
    ret->learners = st.learners;
    ret->synced_followers = st.synced_followers;
    ret->synced_observers = st.synced_observers;
    ret->synced_non_voting = synced_non_voting(p);
    ret->outstanding = st.outstanding;
    ret->pending_syncs = st.pending_syncs;
    ret->diff_count += st.diff_count;
    ret->leader_uptime_ms = p->now_ms - p->role_ms;
}

void peer_info(const struct peer *p, struct peer_info *ret)
{
    const struct quorum_member *me = quorum_config_member(p->committed, p->my_sid);

    *ret = (struct peer_info){
        .peer_state = state_text(p),
        .my_sid = p->my_sid,
        .election_port = me ? me->addrs[0].election_port : -1,
        .quorum_port = me ? me->addrs[0].quorum_port : -1,
        .observer = me && me->role == MEMBER_OBSERVER,
        .quorum_size = (uint32_t)p->committed->voters.len,
        .config_text = (const char *)p->committed->text.p,
        .leading = p->leader && p->serving,
        .election_time_ms = p->election_ms,
        .diff_count = p->counts.diff_count,
        .counts = p->counts,
    };
    if (p->serving)
        ret->mode = p->leader ? "leader" : p->state == ZAB_OBSERVING ? "observer" : "follower";
    if (p->read_only)
        ret->mode = "read-only";
    if (ret->leading)
        leader_info(p, ret);
}
