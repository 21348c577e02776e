/* Whole elections of 3, 5 and 7 servers over a network that delays, loses and partitions, while servers crash and come back. One seed, one
 * run; a failing seed is printed. Connections are modelled as the real ones behave: messages of one direction stay in order, what is lost
 * breaks the connection, and a new connection repeats the last message. Of the phases behind the election there is just enough to judge a
 * decision: a leader without a quorum of followers gives up, a follower without its leader too, an established leader makes an epoch. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "zab/election.h"

#define SERVERS_MAX 8
#define CHECK_MS 100       /* how often leaders and followers look around */
#define LEADER_LIMIT 2000  /* initLimit: without a quorum by then a leader gives up */
#define FOLLOWER_LIMIT 700 /* five attempts to connect */

struct server {
    struct election *e;
    bool up, established; /* established: leads a quorum, or follows such a leader */
    int64_t zxid, epoch;  /* on disk: what a crash leaves */
    int64_t decided_ms;
    int side; /* of the partition */
};
enum event_type { EV_MESSAGE, EV_RELINK };
struct event {
    int64_t at;
    enum event_type type;
    int from, to;
    struct notification msg;
};
struct world {
    uint64_t seed, rng;
    int n; /* servers; ids are 1..n */
    int64_t now, next_check;
    unsigned loss; /* percent */
    int64_t delay_ms;
    struct quorum_config *config;
    struct server s[SERVERS_MAX + 1];
    bool sent[SERVERS_MAX + 1][SERVERS_MAX + 1];
    struct notification last[SERVERS_MAX + 1][SERVERS_MAX + 1]; /* what a new connection repeats */
    int64_t line[SERVERS_MAX + 1][SERVERS_MAX + 1];             /* when the last message of this direction arrives */
    struct VEC(struct event) events;
    int decisions, establishments;
};

static uint64_t rnd(struct world *w, uint64_t below)
{
    uint64_t z = w->rng += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

static bool linked(const struct world *w, int a, int b)
{
    return w->s[a].up && w->s[b].up && w->s[a].side == w->s[b].side;
}

/* ---- network ---- */

static void post(struct world *w, int from, int to, const struct notification *msg)
{
    w->last[from][to] = *msg;
    w->sent[from][to] = true;
    if (!linked(w, from, to))
        return; /* heard when there is a connection again */
    if (rnd(w, 100) < w->loss) {
        VEC_PUSH(&w->events, ((struct event){ w->now + 50 + (int64_t)rnd(w, 150), EV_RELINK, from, to, { 0 } }));
        return;
    }
    int64_t at = MAX(w->line[from][to], w->now + 1 + (int64_t)rnd(w, (uint64_t)w->delay_ms));
    w->line[from][to] = at;
    VEC_PUSH(&w->events, ((struct event){ at, EV_MESSAGE, from, to, *msg }));
}

static void relink_all(struct world *w)
{
    for (int a = 1; a <= w->n; a++)
        for (int b = 1; b <= w->n; b++)
            if (a != b && linked(w, a, b))
                VEC_PUSH(&w->events, ((struct event){ w->now + 1 + (int64_t)rnd(w, 100), EV_RELINK, a, b, { 0 } }));
}

/* Earliest first, in the order of posting among equals. */
static bool next_event(struct world *w, int64_t until, struct event *ret)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < w->events.len; i++)
        if (w->events.items[i].at <= until && (best == SIZE_MAX || w->events.items[i].at < w->events.items[best].at))
            best = i;
    if (best == SIZE_MAX)
        return false;
    *ret = w->events.items[best];
    memmove(w->events.items + best, w->events.items + best + 1, (w->events.len - best - 1) * sizeof(*ret));
    w->events.len--;
    return true;
}

/* ---- servers ---- */

static void carry_out(struct world *w, int me)
{
    const struct election_effect *f;
    size_t n = election_effects(w->s[me].e, &f);

    for (size_t i = 0; i < n; i++) {
        if (f[i].type == ELECTION_SEND)
            post(w, me, (int)f[i].sid, &f[i].msg);
        if (f[i].type == ELECTION_DECIDED) {
            w->decisions++;
            w->s[me].decided_ms = w->now;
            w->s[me].established = false;
            assert_int_equal(f[i].msg.leader == me, f[i].msg.state == ZAB_LEADING);
            assert_true(quorum_config_is_voter(w->config, f[i].msg.leader));
        }
    }
    election_effects_clear(w->s[me].e);
}

static void look(struct world *w, int me)
{
    w->s[me].established = false;
    election_start(w->s[me].e, w->s[me].zxid, w->s[me].epoch, w->now);
    carry_out(w, me);
}

static void boot(struct world *w, int me)
{
    struct election_options opt = { .my_sid = me };

    ASSERT(!w->s[me].up);
    w->s[me].up = true;
    w->s[me].e = election_new(&opt, w->config, NULL);
    look(w, me);
    for (int other = 1; other <= w->n; other++) /* it connects: the others repeat what they said last */
        if (other != me && linked(w, other, me))
            VEC_PUSH(&w->events, ((struct event){ w->now + 1 + (int64_t)rnd(w, 20), EV_RELINK, other, me, { 0 } }));
}

static void crash(struct world *w, int me)
{
    size_t n = 0;

    election_free(w->s[me].e);
    w->s[me].e = NULL;
    w->s[me].up = w->s[me].established = false;
    for (int other = 1; other <= w->n; other++)
        w->sent[me][other] = false;
    for (size_t i = 0; i < w->events.len; i++)
        if (w->events.items[i].from != me && w->events.items[i].to != me)
            w->events.items[n++] = w->events.items[i];
    w->events.len = n;
}

/* (epoch, zxid) on disk. */
static bool newer(const struct server *a, const struct server *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->zxid > b->zxid;
}

static bool follows(const struct world *w, int f, int leader)
{
    enum zab_state st = w->s[f].up ? election_state(w->s[f].e) : ZAB_LOOKING;

    return f != leader && linked(w, f, leader) && (st == ZAB_FOLLOWING || st == ZAB_OBSERVING) &&
           election_vote(w->s[f].e).leader == leader;
}

static void attach(struct world *w, int f, int leader)
{
    w->s[f].epoch = w->s[leader].epoch;
    w->s[f].zxid = w->s[leader].zxid;
    w->s[f].established = true;
    election_set_peer_epoch(w->s[f].e, w->s[f].epoch);
}

/* A leader counts the followers that are not more recent than itself, as it does by their ACKEPOCH. */
static void check_leader(struct world *w, int me)
{
    struct server *s = &w->s[me];
    struct sid_set with = { 0 };
    int64_t epoch = s->epoch;

    (void)sid_set_add(&with, me);
    for (int f = 1; f <= w->n; f++) {
        if (!follows(w, f, me) || (!s->established && newer(&w->s[f], s)))
            continue;
        (void)sid_set_add(&with, f);
        epoch = MAX(epoch, w->s[f].epoch);
    }
    bool quorum = quorum_config_has_quorum(w->config, &with);
    if (quorum && !s->established) {
        s->epoch = epoch + 1;
        s->zxid = s->epoch << 32;
        s->established = true;
        election_set_peer_epoch(s->e, s->epoch);
        w->establishments++;
    }
    if (quorum) {
        s->zxid += (int64_t)rnd(w, 3); /* writes; the slow ones among the followers may lack them */
        for (size_t i = 0; i < with.len; i++)
            if (with.items[i] != me && (!w->s[with.items[i]].established || rnd(w, 4) > 0))
                attach(w, (int)with.items[i], me);
    } else if (s->established || w->now - s->decided_ms > LEADER_LIMIT) {
        look(w, me);
    }
    sid_set_free(&with);
}

static void check_follower(struct world *w, int me)
{
    int leader = (int)election_vote(w->s[me].e).leader;
    bool alive = linked(w, me, leader) && election_state(w->s[leader].e) == ZAB_LEADING;

    if (!alive && (w->s[me].established || w->now - w->s[me].decided_ms > FOLLOWER_LIMIT))
        look(w, me);
}

static void check_all(struct world *w)
{
    for (int i = 1; i <= w->n; i++)
        if (w->s[i].up && election_state(w->s[i].e) == ZAB_LEADING)
            check_leader(w, i);
    for (int i = 1; i <= w->n; i++) {
        enum zab_state st = w->s[i].up ? election_state(w->s[i].e) : ZAB_LOOKING;

        if (st == ZAB_FOLLOWING || st == ZAB_OBSERVING)
            check_follower(w, i);
    }
}

/* ---- the world ---- */

static int64_t next_time(const struct world *w)
{
    int64_t at = w->next_check;

    for (size_t i = 0; i < w->events.len; i++)
        at = MIN(at, w->events.items[i].at);
    for (int i = 1; i <= w->n; i++)
        if (w->s[i].up)
            at = MIN(at, election_next_wake(w->s[i].e));
    return MAX(at, w->now);
}

static void deliver(struct world *w, const struct event *ev)
{
    if (!linked(w, ev->from, ev->to))
        return;
    if (ev->type == EV_RELINK) {
        if (w->sent[ev->from][ev->to])
            post(w, ev->from, ev->to, &w->last[ev->from][ev->to]);
        return;
    }
    election_receive(w->s[ev->to].e, ev->from, &ev->msg, w->now);
    carry_out(w, ev->to);
}

static void run(struct world *w, int64_t ms)
{
    int64_t end = w->now + ms;
    struct event ev;

    for (int64_t at = next_time(w); at <= end; at = next_time(w)) {
        w->now = at;
        while (next_event(w, at, &ev))
            deliver(w, &ev);
        for (int i = 1; i <= w->n; i++) {
            bool any = false;

            if (!w->s[i].up || election_next_wake(w->s[i].e) > at)
                continue;
            for (int k = 1; k <= w->n; k++)
                any = any || (k != i && linked(w, i, k));
            election_tick(w->s[i].e, at, any);
            carry_out(w, i);
        }
        if (w->next_check <= at) {
            w->next_check = at + CHECK_MS;
            check_all(w);
        }
    }
    w->now = end;
}

static struct world *world_new(uint64_t seed, int n, int voters)
{
    struct world *w = x_calloc(1, sizeof(*w));
    const struct quorum_options opt = { .standalone_enabled = true };
    struct wr text = wr_init(0);

    w->seed = w->rng = seed;
    w->n = n;
    w->delay_ms = 20;
    for (int i = 1; i <= n; i++)
        wr_printf(&text, "server.%d=h%d:1:2:%s\n", i, i, i <= voters ? "participant" : "observer");
    assert_int_equal(quorum_config_parse(buf_of(text.p, text.n), &opt, &w->config, NULL), 0);
    wr_free(&text);
    for (int i = 1; i <= n; i++) {
        w->s[i].epoch = 1 + (int64_t)rnd(w, 2);
        w->s[i].zxid = (w->s[i].epoch << 32) + (int64_t)rnd(w, 3);
    }
    return w;
}

static void world_free(struct world *w)
{
    for (int i = 1; i <= w->n; i++)
        election_free(w->s[i].e);
    quorum_config_unref(w->config);
    VEC_FREE(&w->events);
    free(w);
}

/* The one established leader that every server that is up follows; fails the test when there is none. */
static int the_leader(const struct world *w)
{
    int leader = 0;

    for (int i = 1; i <= w->n; i++) {
        if (!w->s[i].up || election_state(w->s[i].e) != ZAB_LEADING)
            continue;
        if (leader)
            fail_msg("seed %" PRIu64 ": %d and %d lead", w->seed, leader, i);
        leader = i;
    }
    if (!leader || !w->s[leader].established)
        fail_msg("seed %" PRIu64 ": nobody leads", w->seed);
    for (int i = 1; i <= w->n; i++)
        if (w->s[i].up && i != leader && (!follows(w, i, leader) || !w->s[i].established))
            fail_msg("seed %" PRIu64 ": %d does not follow %d", w->seed, i, leader);
    return leader;
}

static const int sizes[] = { 3, 5, 7 };

/* Everybody is there and connected: the best vote wins, at once and for good. */
static void test_calm(void **state)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        int n = sizes[seed % 3], best = 1;
        struct world *w = world_new(seed, n, n);

        for (int i = 2; i <= n; i++)
            if (!newer(&w->s[best], &w->s[i]))
                best = i;
        for (int i = 1; i <= n; i++) {
            run(w, (int64_t)rnd(w, 10));
            boot(w, i);
        }
        run(w, 1500);
        if (the_leader(w) != best)
            fail_msg("seed %" PRIu64 ": %d leads, %d is the best", seed, the_leader(w), best);
        assert_int_equal(w->decisions, n); /* nobody had to think again */
        assert_int_equal(w->establishments, 1);
        run(w, 5000);
        assert_int_equal(the_leader(w), best);
        assert_int_equal(w->decisions, n);
        world_free(w);
    }
}

/* A voter and an observer come when the others have long settled. */
static void test_late_joiner(void **state)
{
    for (uint64_t seed = 1000; seed < 1100; seed++) {
        int n = sizes[seed % 3];
        struct world *w = world_new(seed, n + 1, n);
        int late = 1 + (int)rnd(w, (uint64_t)n);

        for (int i = 1; i <= n; i++)
            if (i != late)
                boot(w, i);
        run(w, 10000);
        int leader = the_leader(w);
        boot(w, late);
        boot(w, n + 1);
        run(w, 1000);
        assert_int_equal(the_leader(w), leader);
        assert_int_equal(election_state(w->s[late].e), ZAB_FOLLOWING);
        assert_int_equal(election_state(w->s[n + 1].e), ZAB_OBSERVING);
        assert_int_equal(w->establishments, 1);
        world_free(w);
    }
}

static void test_leader_dies(void **state)
{
    for (uint64_t seed = 2000; seed < 2100; seed++) {
        int n = sizes[seed % 3];
        struct world *w = world_new(seed, n, n);

        for (int i = 1; i <= n; i++)
            boot(w, i);
        run(w, 3000);
        int first = the_leader(w);
        crash(w, first);
        run(w, 3000);
        int second = the_leader(w);
        assert_int_not_equal(second, first);
        boot(w, first); /* it comes back to follow */
        run(w, 3000);
        assert_int_equal(the_leader(w), second);
        assert_int_equal(w->establishments, 2);
        world_free(w);
    }
}

static void disturb(struct world *w)
{
    int who = 1 + (int)rnd(w, (uint64_t)w->n);

    switch (rnd(w, 5)) {
    case 0:
    case 1:
        if (w->s[who].up)
            crash(w, who);
        else
            boot(w, who);
        break;
    case 2:
    case 3:
        for (int i = 1; i <= w->n; i++)
            w->s[i].side = (int)rnd(w, 2);
        break;
    default:
        for (int i = 1; i <= w->n; i++)
            w->s[i].side = 0;
    }
    relink_all(w);
}

/* Partitions, crashes, losses for twenty seconds; when they end, one leader for all, who stays. */
static void test_faults(void **state)
{
    for (uint64_t seed = 3000; seed < 3400; seed++) {
        int n = sizes[seed % 3];
        struct world *w = world_new(seed, n + (int)(seed % 2), n);

        w->loss = (unsigned)rnd(w, 30);
        w->delay_ms = 1 + (int64_t)rnd(w, 150);
        for (int i = 1; i <= w->n; i++)
            boot(w, i);
        for (int k = 0; k < 20; k++) {
            run(w, 100 + (int64_t)rnd(w, 2000));
            disturb(w);
        }
        w->loss = 0;
        w->delay_ms = 20;
        for (int i = 1; i <= w->n; i++) {
            w->s[i].side = 0;
            if (!w->s[i].up)
                boot(w, i);
        }
        relink_all(w);
        run(w, 15000);
        int leader = the_leader(w), decisions = w->decisions;
        run(w, 10000);
        assert_int_equal(the_leader(w), leader);
        assert_int_equal(w->decisions, decisions);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calm),
        cmocka_unit_test(test_late_joiner),
        cmocka_unit_test(test_leader_dies),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
