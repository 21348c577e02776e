/* election.c - FastLeaderElection, step by step.
 *
 * The reference runs two threads: one answers messages by rules that hold in every state, the other loops over a queue while it looks for a
 * leader. Here election_receive is the first, and loop() the second: it takes messages from the inbox until that is empty, and what
 * the reference's blocking waits do is a phase and a time to wake. */
#include "zab/election.h"

#define INBOX_MAX 128 /* the oldest goes first; peers repeat themselves */

enum phase {
    PHASE_IDLE,       /* not looking, or not started */
    PHASE_WAITING,    /* for notifications; at wake_ms the votes are repeated */
    PHASE_FINALIZING, /* a quorum agrees; until wake_ms a better vote may come */
};

/* A vote as it was received: who sent it in which state. */
struct ballot {
    int64_t sid;
    struct vote vote;
    enum zab_state state;
    int32_t version;
};
struct ballots {
    struct ballot *items;
    size_t len, cap;
};

struct election {
    struct election_options opt;
    struct quorum_config *committed, *last_seen; /* last_seen: NULL when there is none */
    struct sid_set voters;                       /* of both */
    enum member_role role;
    enum zab_state state;
    struct vote vote; /* of our state; the proposal while looking (its round is `round`) */
    int64_t round;    /* logical clock */
    enum phase phase;
    int64_t last_zxid, current_epoch; /* as of election_start */
    int64_t interval_ms, wake_ms;
    struct ballots received;   /* of this round */
    struct ballots settled;    /* of servers that are not looking */
    struct ballots inbox;      /* in order of arrival */
    struct sid_set agreeing;   /* scratch of has_quorum; once it is decided, those who agreed and have not changed their minds. Empty: not elected */
    struct VEC(struct election_effect) effects;
    struct VEC(struct quorum_config *) retired; /* effects borrow from them */
};

/* ---- ballots ---- */

static void ballots_put(struct ballots *b, struct ballot ballot)
{
    for (size_t i = 0; i < b->len; i++) {
        if (b->items[i].sid == ballot.sid) {
            b->items[i] = ballot;
            return;
        }
    }
    VEC_PUSH(b, ballot);
}

static const struct ballot *ballots_get(const struct ballots *b, int64_t sid)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->items[i].sid == sid)
            return &b->items[i];
    return NULL;
}

static void inbox_push(struct election *e, struct ballot ballot)
{
    if (e->inbox.len == INBOX_MAX) {
        memmove(e->inbox.items, e->inbox.items + 1, (INBOX_MAX - 1) * sizeof(*e->inbox.items));
        e->inbox.len--;
    }
    VEC_PUSH(&e->inbox, ballot);
}

static bool inbox_pop(struct election *e, struct ballot *ret)
{
    if (e->inbox.len == 0)
        return false;
    *ret = e->inbox.items[0];
    e->inbox.len--;
    memmove(e->inbox.items, e->inbox.items + 1, e->inbox.len * sizeof(*e->inbox.items));
    return true;
}

/* Vote.equals. Votes of servers that have settled name the same leader though zxid and round differ: each remembers the ones of the
 * election that it took part in. Servers too old to send a version do not know the epoch either. */
static bool ballot_agrees(const struct ballot *a, const struct ballot *b)
{
    if (a->vote.leader != b->vote.leader)
        return false;
    if (a->state == ZAB_LOOKING || b->state == ZAB_LOOKING)
        return a->vote.zxid == b->vote.zxid && a->vote.round == b->vote.round && a->vote.peer_epoch == b->vote.peer_epoch;
    return (a->version > 0) != (b->version > 0) || a->vote.peer_epoch == b->vote.peer_epoch;
}

/* Fills e->agreeing with the senders in `set` that agree with the candidate. */
static bool has_quorum(struct election *e, const struct ballots *set, const struct ballot *candidate)
{
    sid_set_clear(&e->agreeing);
    for (size_t i = 0; i < set->len; i++)
        if (ballot_agrees(&set->items[i], candidate))
            (void)sid_set_add(&e->agreeing, set->items[i].sid); /* one ballot per sender */
    return quorum_view_has_quorum(election_view(e), &e->agreeing);
}

/* Is this leader established? The committed configuration's word is enough to join it, and what keeps the histories apart is the handshake: a server
 * with a proposed configuration that was withdrawn finds no quorum of it, and would never learn of the withdrawal (the reference waits for ever). If
 * the proposed one is in force instead, who follows there says so in its notifications, and we adopt it. */
static bool is_established(struct election *e, const struct ballots *set, const struct ballot *candidate)
{
    return has_quorum(e, set, candidate) || quorum_config_has_quorum(e->committed, &e->agreeing);
}

bool vote_beats(struct vote a, int64_t weight_a, struct vote b)
{
    if (weight_a == 0)
        return false;
    if (a.peer_epoch != b.peer_epoch)
        return a.peer_epoch > b.peer_epoch;
    if (a.zxid != b.zxid)
        return a.zxid > b.zxid;
    return a.leader > b.leader;
}

static bool beats(const struct election *e, struct vote a, struct vote b)
{
    return vote_beats(a, quorum_view_weight(election_view(e), a.leader), b);
}

/* ---- effects ---- */

static struct election_effect *effect_push(struct election *e, enum election_effect_type type)
{
    VEC_PUSH(&e->effects, ((struct election_effect){ .type = type }));
    return &e->effects.items[e->effects.len - 1];
}

static struct notification notification_of(const struct election *e, struct vote vote)
{
    return (struct notification){ .state = e->state,
                                  .leader = vote.leader,
                                  .zxid = vote.zxid,
                                  .round = vote.round,
                                  .peer_epoch = vote.peer_epoch,
                                  .version = 2,
                                  .config = e->committed->text };
}

static void send_vote(struct election *e, int64_t sid, struct vote vote)
{
    struct election_effect *f = effect_push(e, ELECTION_SEND);

    f->sid = sid;
    f->msg = notification_of(e, vote);
}

/* To every voter, ourselves included if we are one: our own vote counts when it comes out of the inbox. */
static void send_all(struct election *e)
{
    for (size_t i = 0; i < e->voters.len; i++) {
        int64_t sid = e->voters.items[i];

        if (sid == e->opt.my_sid)
            inbox_push(e, (struct ballot){ .sid = sid, .vote = e->vote, .state = ZAB_LOOKING, .version = 2 });
        else
            send_vote(e, sid, e->vote);
    }
}

/* ---- proposals and decisions ---- */

/* What we propose before we have heard anybody. Who cannot be elected proposes less than anybody can. */
static struct vote own_vote(const struct election *e)
{
    if (e->role == MEMBER_OBSERVER || !quorum_config_is_voter(e->committed, e->opt.my_sid))
        return (struct vote){ INT64_MIN, INT64_MIN, e->round, INT64_MIN };
    return (struct vote){ e->opt.my_sid, e->last_zxid, e->round, e->current_epoch };
}

static void propose(struct election *e, struct vote v)
{
    e->vote = v;
    e->vote.round = e->round;
    send_all(e);
}

static void wait_for_more(struct election *e, int64_t now_ms)
{
    e->phase = PHASE_WAITING;
    e->wake_ms = now_ms + e->interval_ms;
}

static void forget_ballots(struct election *e)
{
    e->received.len = e->settled.len = e->inbox.len = 0;
}

static void decide(struct election *e, struct vote v)
{
    e->vote = v;
    e->state = v.leader == e->opt.my_sid ? ZAB_LEADING : e->role == MEMBER_OBSERVER ? ZAB_OBSERVING : ZAB_FOLLOWING;
    e->phase = PHASE_IDLE;
    e->wake_ms = ELECTION_NEVER;
    forget_ballots(e);
    effect_push(e, ELECTION_DECIDED)->msg = notification_of(e, v);
}

/* The ballots in e->agreeing are a quorum. Nobody is left who could bring a better vote of this round when every voter is among them;
 * else wait for it. */
static void finalize(struct election *e, int64_t now_ms)
{
    if (e->agreeing.len == e->voters.len) {
        decide(e, e->vote);
        return;
    }
    e->phase = PHASE_FINALIZING;
    e->wake_ms = now_ms + e->opt.finalize_ms;
}

static struct ballot proposal_ballot(const struct election *e)
{
    return (struct ballot){ .sid = e->opt.my_sid, .vote = e->vote, .state = ZAB_LOOKING, .version = 0 };
}

/* ---- the loop: one message ---- */

/* Voters of either configuration, voting for one of them. */
static bool is_valid(const struct election *e, struct ballot b)
{
    return sid_set_has(&e->voters, b.sid) && sid_set_has(&e->voters, b.vote.leader);
}

/* A ballot of a server that looks for a leader as we do. */
static void on_looking(struct election *e, struct ballot b, int64_t now_ms)
{
    struct ballot proposal;

    if (own_vote(e).zxid == ELECTION_NO_ZXID || b.vote.zxid == ELECTION_NO_ZXID)
        return;
    if (b.vote.round < e->round)
        return; /* election_receive has told it */
    if (b.vote.round > e->round) {
        e->round = b.vote.round;
        e->received.len = 0;
        propose(e, beats(e, b.vote, own_vote(e)) ? b.vote : own_vote(e));
    } else if (beats(e, b.vote, e->vote)) {
        propose(e, b.vote);
    }
    b.version = 0; /* of no interest among those that look */
    ballots_put(&e->received, b);
    proposal = proposal_ballot(e);
    if (has_quorum(e, &e->received, &proposal))
        finalize(e, now_ms);
}

/* A quorum of followers is not enough: without word from the leader itself we would chase one that is dead. */
static bool leader_confirms(const struct election *e, const struct ballots *set, struct vote v)
{
    if (v.leader == e->opt.my_sid)
        return e->round == v.round;
    const struct ballot *b = ballots_get(set, v.leader);
    return b && b->state == ZAB_LEADING;
}

/* A ballot of a server that follows or leads: join, when a quorum and its leader say the same. */
static void on_settled(struct election *e, struct ballot b)
{
    if (b.vote.round == e->round) {
        struct ballot stored = b;

        stored.version = 0; /* so the reference keeps it: among these the leader alone is compared */
        ballots_put(&e->received, stored);
        if (is_established(e, &e->received, &b) && leader_confirms(e, &e->received, b.vote)) {
            decide(e, b.vote);
            return;
        }
    }
    ballots_put(&e->settled, b);
    if (is_established(e, &e->settled, &b) && leader_confirms(e, &e->settled, b.vote)) {
        e->round = b.vote.round;
        decide(e, b.vote);
    }
}

/* While a quorum waits for a better vote, everything else is dropped (peers repeat themselves), except that agreement is counted on. */
static void on_finalizing(struct election *e, struct ballot b, int64_t now_ms)
{
    struct ballot proposal = proposal_ballot(e);

    if (!is_valid(e, b))
        return;
    if (beats(e, b.vote, e->vote)) {
        wait_for_more(e, now_ms);
        inbox_push(e, b);
        return;
    }
    e->wake_ms = now_ms + e->opt.finalize_ms;
    if (b.state != ZAB_LOOKING || !ballot_agrees(&b, &proposal))
        return;
    ballots_put(&e->received, b);
    if (has_quorum(e, &e->received, &proposal))
        finalize(e, now_ms);
}

static void loop(struct election *e, int64_t now_ms)
{
    struct ballot b;

    while (e->phase != PHASE_IDLE && inbox_pop(e, &b)) {
        if (e->phase == PHASE_FINALIZING) {
            on_finalizing(e, b, now_ms);
            continue;
        }
        e->wake_ms = now_ms + e->interval_ms;
        if (!is_valid(e, b))
            continue;
        if (b.state == ZAB_LOOKING)
            on_looking(e, b, now_ms);
        else if (b.state != ZAB_OBSERVING)
            on_settled(e, b);
    }
}

/* ---- configurations ---- */

static void update_members(struct election *e)
{
    const struct quorum_member *me = quorum_config_member(e->committed, e->opt.my_sid);

    sid_set_clear(&e->voters);
    quorum_view_voters(election_view(e), &e->voters);
    if (me)
        e->role = me->role;
    else if (e->committed->version > 0)
        e->role = MEMBER_PARTICIPANT; /* whom a change left out follows, without a vote; only so a later one can take it in again */
}

void election_set_configs(struct election *e, struct quorum_config *committed, struct quorum_config *last_seen)
{
    VEC_PUSH(&e->retired, e->committed);
    VEC_PUSH(&e->retired, e->last_seen);
    e->committed = quorum_config_ref(committed);
    e->last_seen = last_seen && last_seen != committed ? quorum_config_ref(last_seen) : NULL;
    update_members(e);
}

/* A peer's committed configuration is newer than ours. It was committed, so it is the truth, even if we have not heard of the transaction.
 * Returns true when the election began anew. */
static bool adopt_config(struct election *e, const struct notification *n, int64_t now_ms)
{
    struct quorum_config *theirs = NULL;
    bool restart = false;

    if (!n->config.p || e->state != ZAB_LOOKING || !e->opt.reconfig_enabled || buf_eq(n->config, e->committed->text))
        return false;
    if (quorum_config_parse(n->config, &e->opt.quorum, &theirs, NULL) != 0)
        return false; /* the message may still be of use */
    if (theirs->version > e->committed->version) {
        restart = !quorum_config_same_members(theirs, e->committed);
        election_set_configs(e, theirs, e->last_seen && e->last_seen->version > theirs->version ? e->last_seen : NULL);
        effect_push(e, ELECTION_ADOPTED)->config = e->committed;
    }
    quorum_config_unref(theirs);
    if (restart) {
        effect_push(e, ELECTION_RESTART);
        election_restart(e, now_ms);
    }
    return restart;
}

/* ---- events ---- */

void election_start(struct election *e, int64_t last_zxid, int64_t current_epoch, int64_t now_ms)
{
    if (e->phase != PHASE_IDLE || e->state != ZAB_LOOKING)
        forget_ballots(e); /* but what came before the first start is welcome */
    e->state = ZAB_LOOKING;
    e->last_zxid = last_zxid;
    e->current_epoch = current_epoch;
    e->round++;
    e->interval_ms = e->opt.min_interval_ms;
    wait_for_more(e, now_ms);
    propose(e, own_vote(e));
    loop(e, now_ms);
}

void election_restart(struct election *e, int64_t now_ms)
{
    e->round = 0;
    forget_ballots(e);
    if (e->phase != PHASE_IDLE)
        election_start(e, e->last_zxid, e->current_epoch, now_ms);
}

/* While we lead. Who votes for us in our round has only been slower. Any other vote after that is of one that left, or died and began anew: it comes back
 * to a quorum only. */
static void on_voter_looking(struct election *e, int64_t sid, struct vote v)
{
    effect_push(e, ELECTION_VOTER_LOOKING)->sid = sid;
    if (e->agreeing.len == 0)
        return;
    if (v.round == e->vote.round && v.leader == e->opt.my_sid)
        (void)sid_set_add(&e->agreeing, sid);
    else if (sid_set_remove(&e->agreeing, sid) && !quorum_view_has_quorum(election_view(e), &e->agreeing))
        effect_push(e, ELECTION_DESERTED)->sid = sid;
}

void election_receive(struct election *e, int64_t sid, const struct notification *n, int64_t now_ms)
{
    struct vote v = { n->leader, n->zxid, n->round, n->peer_epoch };

    ASSERT(sid != e->opt.my_sid);
    if (adopt_config(e, n, now_ms))
        return;
    if (!sid_set_has(&e->voters, sid)) {
        /* An observer, or a server that has yet to join: told where we are, with our round, and otherwise of no concern. */
        struct vote mine = e->vote;

        mine.round = e->round;
        send_vote(e, sid, mine);
        return;
    }
    if (e->state == ZAB_LOOKING) {
        inbox_push(e, (struct ballot){ .sid = sid, .vote = v, .state = n->state, .version = n->version });
        if (n->state == ZAB_LOOKING && n->round < e->round && e->phase != PHASE_IDLE)
            send_vote(e, sid, e->vote);
        loop(e, now_ms);
        return;
    }
    if (n->state != ZAB_LOOKING)
        return;
    if (e->state == ZAB_LEADING)
        on_voter_looking(e, sid, v);
    else if (sid == e->vote.leader && (v.leader != sid || v.round != e->vote.round))
        effect_push(e, ELECTION_LEADER_LOOKING)->sid = sid;
    send_vote(e, sid, e->vote);
}

void election_tick(struct election *e, int64_t now_ms, bool queue_empty)
{
    if (e->phase == PHASE_IDLE || now_ms < e->wake_ms)
        return;
    if (e->phase == PHASE_FINALIZING) {
        decide(e, e->vote);
        return;
    }
    if (queue_empty)
        send_all(e);
    else
        effect_push(e, ELECTION_CONNECT_ALL);
    e->interval_ms = MIN(e->interval_ms * 2, e->opt.max_interval_ms);
    e->wake_ms = now_ms + e->interval_ms;
    loop(e, now_ms);
}

int64_t election_next_wake(const struct election *e)
{
    return e->wake_ms;
}

void election_set_peer_epoch(struct election *e, int64_t epoch)
{
    if (e->state != ZAB_LOOKING)
        e->vote.peer_epoch = epoch;
}

bool election_designate(struct election *e, int64_t leader, int64_t zxid)
{
    if (e->state == ZAB_LOOKING || e->vote.leader == leader)
        return false;
    e->vote = (struct vote){ leader, zxid, -1, -1 };
    sid_set_clear(&e->agreeing); /* named, not elected */
    return true;
}

void election_assume(struct election *e, enum zab_state state)
{
    ASSERT(state != ZAB_LOOKING);
    ASSERT(e->state != ZAB_LOOKING);
    e->state = state;
}

/* ---- life and looks ---- */

struct election *election_new(const struct election_options *opt, struct quorum_config *committed, struct quorum_config *last_seen)
{
    struct election *e = x_calloc(1, sizeof(*e));

    e->opt = *opt;
    e->opt.min_interval_ms = opt->min_interval_ms > 0 ? opt->min_interval_ms : 200;
    e->opt.max_interval_ms = MAX(opt->max_interval_ms > 0 ? opt->max_interval_ms : 60000, e->opt.min_interval_ms);
    e->opt.finalize_ms = opt->finalize_ms > 0 ? opt->finalize_ms : 200;
    e->role = opt->role;
    e->state = ZAB_LOOKING;
    e->wake_ms = ELECTION_NEVER;
    e->committed = quorum_config_ref(committed);
    e->last_seen = last_seen && last_seen != committed ? quorum_config_ref(last_seen) : NULL;
    update_members(e);
    e->vote = (struct vote){ INT64_MIN, INT64_MIN, 0, INT64_MIN };
    return e;
}

void election_free(struct election *e)
{
    if (!e)
        return;
    election_effects_clear(e);
    quorum_config_unref(e->committed);
    quorum_config_unref(e->last_seen);
    sid_set_free(&e->voters);
    sid_set_free(&e->agreeing);
    VEC_FREE(&e->received);
    VEC_FREE(&e->settled);
    VEC_FREE(&e->inbox);
    VEC_FREE(&e->effects);
    VEC_FREE(&e->retired);
    free(e);
}

enum zab_state election_state(const struct election *e)
{
    return e->state;
}

struct vote election_vote(const struct election *e)
{
    return e->vote;
}

int64_t election_round(const struct election *e)
{
    return e->round;
}

enum member_role election_role(const struct election *e)
{
    return e->role;
}

struct quorum_view election_view(const struct election *e)
{
    return (struct quorum_view){ e->committed, e->last_seen };
}

size_t election_effects(struct election *e, const struct election_effect **ret)
{
    *ret = e->effects.items;
    return e->effects.len;
}

void election_effects_clear(struct election *e)
{
    e->effects.len = 0;
    for (size_t i = 0; i < e->retired.len; i++)
        quorum_config_unref(e->retired.items[i]);
    e->retired.len = 0;
}
