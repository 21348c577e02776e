/* The election's rules one by one: one machine, notifications written by hand, its decisions told as text. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "zab/election.h"

#define THREE "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n"
#define FIVE THREE "server.4=d:1:2\nserver.5=e:1:2\n"
#define OBSERVED THREE "server.9=o:1:2:observer\n"

static const struct quorum_options any = { .multi_address = true, .standalone_enabled = false };

static struct quorum_config *config(const char *text)
{
    struct quorum_config *c = NULL;

    assert_int_equal(quorum_config_parse(buf_str(text), &any, &c, NULL), 0);
    return c;
}

struct fix {
    struct election *e;
    struct wr log; /* what the last events made it do */
    int64_t now;
};

static struct fix fix_new(int64_t me, const char *committed, const char *last_seen)
{
    struct election_options opt = { .my_sid = me, .quorum = any, .reconfig_enabled = true };
    struct quorum_config *c = config(committed), *l = last_seen ? config(last_seen) : NULL;
    struct fix f = { .e = election_new(&opt, c, l), .log = wr_init(0), .now = 1000 };

    quorum_config_unref(c);
    quorum_config_unref(l);
    return f;
}

static void fix_free(struct fix *f)
{
    election_free(f->e);
    wr_free(&f->log);
}

static void tell_msg(struct wr *w, const struct notification *n)
{
    wr_printf(w, "%s %" PRId64 " zxid %" PRId64 " round %" PRId64 " epoch %" PRId64, zab_state_str(n->state), n->leader, n->zxid, n->round,
              n->peer_epoch);
}

/* One effect a line; the same notification to several servers on one: "2,3 < looking 1 zxid 5 round 1 epoch 1". */
static const char *told(struct fix *f)
{
    const struct election_effect *v;
    size_t n = election_effects(f->e, &v);

    wr_reset(&f->log);
    for (size_t i = 0; i < n; i++) {
        if (v[i].type == ELECTION_SEND) {
            bool more = i + 1 < n && v[i + 1].type == ELECTION_SEND && memcmp(&v[i].msg, &v[i + 1].msg, sizeof(v[i].msg)) == 0;

            wr_printf(&f->log, "%" PRId64 "%s", v[i].sid, more ? "," : " < ");
            if (more)
                continue;
            tell_msg(&f->log, &v[i].msg);
        } else if (v[i].type == ELECTION_DECIDED) {
            wr_text(&f->log, "decided ");
            tell_msg(&f->log, &v[i].msg);
        } else if (v[i].type == ELECTION_ADOPTED) {
            wr_printf(&f->log, "adopted %" PRIx64, (uint64_t)v[i].config->version);
        } else if (v[i].type == ELECTION_VOTER_LOOKING) {
            wr_printf(&f->log, "voter %" PRId64 " is looking", v[i].sid);
        } else if (v[i].type == ELECTION_DESERTED) {
            wr_printf(&f->log, "deserted by %" PRId64, v[i].sid);
        } else if (v[i].type == ELECTION_LEADER_LOOKING) {
            wr_printf(&f->log, "leader %" PRId64 " is looking", v[i].sid);
        } else {
            wr_text(&f->log, v[i].type == ELECTION_RESTART ? "restart" : "connect all");
        }
        wr_text(&f->log, "\n");
    }
    election_effects_clear(f->e);
    return wr_cstr(&f->log);
}

/* The state's letter: l(ooking), f(ollowing), L(eading), o(bserving). */
static const char *recv(struct fix *f, int64_t from, char state, int64_t leader, int64_t zxid, int64_t round, int64_t epoch)
{
    static const char letters[] = "lfLo";
    struct notification n = { (enum zab_state)(strchr(letters, state) - letters), leader, zxid, round, epoch, 2, { NULL, 0 } };

    election_receive(f->e, from, &n, f->now);
    return told(f);
}

static const char *start(struct fix *f, int64_t zxid, int64_t epoch)
{
    election_start(f->e, zxid, epoch, f->now);
    return told(f);
}

static const char *pass(struct fix *f, int64_t ms, bool queue_empty)
{
    f->now += ms;
    election_tick(f->e, f->now, queue_empty);
    return told(f);
}

static void test_order(void **state)
{
    static const struct {
        struct vote a;
        int64_t weight;
        struct vote b;
        bool want;
    } cases[] = {
        { { 1, 5, 1, 2 }, 1, { 3, 9, 9, 1 }, true },   /* epoch first */
        { { 1, 5, 1, 2 }, 1, { 3, 4, 9, 2 }, true },   /* then zxid */
        { { 3, 5, 1, 2 }, 1, { 2, 5, 9, 2 }, true },   /* then id */
        { { 3, 5, 9, 2 }, 1, { 3, 5, 1, 2 }, false },  /* the round is no part of it */
        { { 3, 5, 1, 2 }, 0, { 2, 1, 1, 1 }, false },  /* weight 0 never leads */
        { { 1, -2, 1, 1 }, 1, { 1, -3, 1, 1 }, true }, /* signed */
        { { 1, 0, 1, 0 }, 1, { INT64_MIN, INT64_MIN, 1, INT64_MIN }, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(vote_beats(cases[i].a, cases[i].weight, cases[i].b), cases[i].want);
}

/* Section 7.1 of the protocol, as server 1 lives through it; the last vote of all makes the wait needless. */
static void test_three_servers(void **state)
{
    struct fix f = fix_new(1, THREE, NULL);

    assert_int_equal(election_next_wake(f.e), ELECTION_NEVER);
    assert_string_equal(start(&f, 5, 1), "2,3 < looking 1 zxid 5 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 2, 'l', 2, 7, 1, 1), "2,3 < looking 2 zxid 7 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 3, 'l', 3, 7, 1, 1), "2,3 < looking 3 zxid 7 round 1 epoch 1\n");
    assert_int_equal(election_next_wake(f.e), f.now + 200); /* 1 and 3 agree: a quorum waits for better */
    assert_string_equal(recv(&f, 2, 'l', 3, 7, 1, 1), "decided following 3 zxid 7 round 1 epoch 1\n");
    assert_int_equal(election_state(f.e), ZAB_FOLLOWING);
    assert_int_equal(election_next_wake(f.e), ELECTION_NEVER);
    fix_free(&f);
}

static void test_finalize_wait(void **state)
{
    struct fix f = fix_new(2, FIVE, NULL);

    (void)start(&f, 5, 1);
    assert_string_equal(recv(&f, 1, 'l', 2, 5, 1, 1), "");
    assert_string_equal(recv(&f, 3, 'l', 2, 5, 1, 1), "");
    assert_string_equal(pass(&f, 199, true), "");
    assert_string_equal(recv(&f, 3, 'l', 2, 5, 1, 1), ""); /* a repeat, nothing better: the wait begins again */
    assert_string_equal(pass(&f, 199, true), "");
    assert_string_equal(recv(&f, 4, 'l', 4, 5, 1, 1), "1,3,4,5 < looking 4 zxid 5 round 1 epoch 1\n"); /* better: all open again */
    assert_string_equal(pass(&f, 199, true), "");
    assert_string_equal(recv(&f, 1, 'l', 4, 5, 1, 1), "");
    assert_string_equal(pass(&f, 200, true), "decided following 4 zxid 5 round 1 epoch 1\n");
    fix_free(&f);

    f = fix_new(2, FIVE, NULL);
    (void)start(&f, 5, 1);
    (void)recv(&f, 1, 'l', 2, 5, 1, 1);
    (void)recv(&f, 3, 'l', 2, 5, 1, 1);
    assert_string_equal(pass(&f, 200, true), "decided leading 2 zxid 5 round 1 epoch 1\n");
    fix_free(&f);
}

static void test_backoff(void **state)
{
    struct fix f = fix_new(1, THREE, NULL);
    int64_t total = 0;

    (void)start(&f, 5, 1);
    for (int64_t interval = 200; interval <= 51200; interval *= 2) {
        assert_string_equal(pass(&f, interval - 1, true), "");
        assert_string_equal(pass(&f, 1, interval % 400 == 0), interval % 400 == 0 ? "2,3 < looking 1 zxid 5 round 1 epoch 1\n" : "connect all\n");
        total += interval;
    }
    for (int i = 0; i < 3; i++) {
        assert_string_equal(pass(&f, 59999, true), "");
        assert_string_equal(pass(&f, 1, false), "connect all\n"); /* 60 s is the end of it */
    }
    assert_true(total > 100000);
    fix_free(&f);
}

static void test_rounds(void **state)
{
    struct fix f = fix_new(2, THREE, NULL);

    (void)start(&f, 5, 1);
    /* A later round: ours is joined to it with the better of the two votes. */
    assert_string_equal(recv(&f, 1, 'l', 1, 4, 7, 1), "1,3 < looking 2 zxid 5 round 7 epoch 1\n");
    assert_int_equal(election_round(f.e), 7);
    assert_string_equal(recv(&f, 3, 'l', 3, 9, 8, 1), "1,3 < looking 3 zxid 9 round 8 epoch 1\n");
    /* An earlier one: told, and not counted. */
    assert_string_equal(recv(&f, 1, 'l', 3, 9, 7, 1), "1 < looking 3 zxid 9 round 8 epoch 1\n");
    assert_string_equal(pass(&f, 200, true), "decided following 3 zxid 9 round 8 epoch 1\n"); /* 3 and we */
    fix_free(&f);

    /* A later round takes what was voted for in this one with it: back to our own vote. */
    f = fix_new(1, FIVE, NULL);
    (void)start(&f, 5, 1);
    (void)recv(&f, 3, 'l', 3, 9, 1, 1);
    assert_string_equal(recv(&f, 2, 'l', 2, 4, 2, 1), "2,3,4,5 < looking 1 zxid 5 round 2 epoch 1\n");
    fix_free(&f);

    /* What was said in the round before counts no more, not even where the leader alone is compared. */
    f = fix_new(1, FIVE, NULL);
    (void)start(&f, 5, 1);
    (void)recv(&f, 2, 'f', 3, 9, 1, 1);
    (void)recv(&f, 3, 'L', 3, 9, 1, 1);
    assert_string_equal(recv(&f, 4, 'l', 4, 4, 2, 1), "2,3,4,5 < looking 1 zxid 5 round 2 epoch 1\n");
    assert_string_equal(recv(&f, 5, 'f', 3, 9, 2, 2), "");
    fix_free(&f);

    /* While a quorum waits for a better vote, a worse one of a later round changes nothing: its sender will repeat itself. */
    f = fix_new(1, THREE, NULL);
    (void)start(&f, 5, 1);
    (void)recv(&f, 3, 'l', 3, 9, 1, 1);
    assert_string_equal(recv(&f, 2, 'l', 2, 4, 2, 1), "");
    assert_string_equal(pass(&f, 200, true), "decided following 3 zxid 9 round 1 epoch 1\n");
    fix_free(&f);
}

/* What is neither voter nor about one is not counted; servers whose database is missing are not either. */
static void test_ignored(void **state)
{
    struct fix f = fix_new(1, OBSERVED, NULL);

    (void)start(&f, 5, 1);
    assert_string_equal(recv(&f, 2, 'l', 9, 99, 1, 9), "");  /* an observer cannot lead */
    assert_string_equal(recv(&f, 2, 'l', 77, 99, 1, 9), ""); /* nor who is nobody */
    assert_string_equal(recv(&f, 2, 'l', 2, -1, 1, 9), "");  /* nor who has no database */
    assert_string_equal(recv(&f, 2, 'o', 2, 9, 1, 9), "");
    /* Not a voter: it hears our vote and does not count. */
    assert_string_equal(recv(&f, 9, 'l', INT64_MIN, INT64_MIN, 3, INT64_MIN), "9 < looking 1 zxid 5 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 42, 'l', 3, 99, 3, 9), "42 < looking 1 zxid 5 round 1 epoch 1\n");
    assert_int_equal(election_round(f.e), 1);
    fix_free(&f);

    f = fix_new(1, THREE, NULL);
    (void)start(&f, ELECTION_NO_ZXID, 1);
    assert_string_equal(recv(&f, 2, 'l', 2, 9, 1, 1), "");
    /* ...but it may join those that have settled. */
    (void)recv(&f, 2, 'L', 2, 9, 4, 1);
    assert_string_equal(recv(&f, 3, 'f', 2, 9, 4, 1), "decided following 2 zxid 9 round 4 epoch 1\n");
    fix_free(&f);
}

/* A leader hears when those who elected it are no quorum any more. */
static void test_deserted(void **state)
{
    struct fix f = fix_new(3, FIVE, NULL);

    (void)start(&f, 9, 1);
    (void)recv(&f, 1, 'l', 3, 9, 1, 1);
    (void)recv(&f, 2, 'l', 3, 9, 1, 1);
    assert_non_null(strstr(pass(&f, 200, true), "decided leading 3"));
    /* One more agrees, late: one may leave. Who was never with us may do as it likes. */
    assert_string_equal(recv(&f, 4, 'l', 3, 9, 1, 1), "voter 4 is looking\n4 < leading 3 zxid 9 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 1, 'l', 1, 5, 2, 1), "voter 1 is looking\n1 < leading 3 zxid 9 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 5, 'l', 5, 5, 2, 1), "voter 5 is looking\n5 < leading 3 zxid 9 round 1 epoch 1\n");
    /* It died, and begins anew. */
    assert_string_equal(recv(&f, 2, 'l', 2, 5, 1, 1), "voter 2 is looking\ndeserted by 2\n2 < leading 3 zxid 9 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 2, 'l', 2, 5, 1, 1), "voter 2 is looking\n2 < leading 3 zxid 9 round 1 epoch 1\n");
    fix_free(&f);
}

/* Who follows hears when its leader looks for one itself. */
static void test_leader_looks_again(void **state)
{
    struct fix f = fix_new(1, FIVE, NULL);

    (void)start(&f, 5, 1);
    (void)recv(&f, 3, 'l', 3, 9, 1, 1);
    (void)recv(&f, 2, 'l', 3, 9, 1, 1);
    assert_non_null(strstr(pass(&f, 200, true), "decided following 3"));
    assert_string_equal(recv(&f, 3, 'l', 3, 9, 1, 1), "3 < following 3 zxid 9 round 1 epoch 1\n"); /* it does not know yet */
    assert_string_equal(recv(&f, 4, 'l', 4, 9, 2, 1), "4 < following 3 zxid 9 round 1 epoch 1\n"); /* not our leader */
    assert_string_equal(recv(&f, 3, 'l', 3, 9, 2, 1), "leader 3 is looking\n3 < following 3 zxid 9 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 3, 'l', 4, 9, 1, 1), "leader 3 is looking\n3 < following 3 zxid 9 round 1 epoch 1\n");
    fix_free(&f);
}

static void test_answers_when_settled(void **state)
{
    struct fix f = fix_new(3, OBSERVED, NULL);

    (void)start(&f, 9, 1);
    (void)recv(&f, 1, 'l', 3, 9, 1, 1);
    (void)recv(&f, 2, 'l', 3, 9, 1, 1);
    assert_int_equal(election_state(f.e), ZAB_LEADING);
    assert_string_equal(recv(&f, 1, 'l', 1, 5, 4, 1), "voter 1 is looking\n1 < leading 3 zxid 9 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 1, 'f', 3, 9, 1, 1), "");
    election_set_peer_epoch(f.e, 2);
    assert_string_equal(recv(&f, 1, 'l', 1, 5, 4, 1), "voter 1 is looking\n1 < leading 3 zxid 9 round 1 epoch 2\n");
    assert_string_equal(recv(&f, 9, 'l', INT64_MIN, INT64_MIN, 4, INT64_MIN), "9 < leading 3 zxid 9 round 1 epoch 2\n");
    /* Handed over: voters hear the vote's round, others ours. */
    assert_false(election_designate(f.e, 3, 20));
    assert_true(election_designate(f.e, 2, 20));
    election_assume(f.e, ZAB_FOLLOWING);
    assert_string_equal(recv(&f, 1, 'l', 1, 5, 4, 1), "1 < following 2 zxid 20 round -1 epoch -1\n");
    assert_string_equal(recv(&f, 9, 'l', INT64_MIN, INT64_MIN, 4, INT64_MIN), "9 < following 2 zxid 20 round 1 epoch -1\n");
    election_set_peer_epoch(f.e, 3);
    assert_string_equal(recv(&f, 1, 'l', 1, 5, 4, 1), "1 < following 2 zxid 20 round -1 epoch 3\n");
    /* The next election is a new round. */
    assert_string_equal(start(&f, 20, 3), "1,2 < looking 3 zxid 20 round 2 epoch 3\n");
    fix_free(&f);
}

static void test_joining(void **state)
{
    static const struct {
        const char *name;
        struct {
            int64_t from;
            char state;
            int64_t leader, zxid, round, epoch;
        } in[4];
        const char *last; /* what the last one makes us do */
        int64_t round;
    } cases[] = {
        { "quorum and leader", { { 2, 'f', 3, 9, 8, 1 }, { 3, 'L', 3, 9, 8, 1 } }, "decided following 3 zxid 9 round 8 epoch 1\n", 8 },
        { "zxid and round may differ", { { 2, 'f', 3, 7, 6, 1 }, { 3, 'L', 3, 9, 8, 1 } }, "decided following 3 zxid 9 round 8 epoch 1\n", 8 },
        { "epochs may not", { { 2, 'f', 3, 9, 8, 1 }, { 3, 'L', 3, 9, 8, 2 } }, "", 1 },
        { "no word from the leader", { { 2, 'f', 3, 9, 8, 1 }, { 4, 'f', 3, 9, 8, 1 }, { 5, 'f', 3, 9, 8, 1 } }, "", 1 },
        { "the leader looks itself", { { 2, 'f', 3, 9, 8, 1 }, { 3, 'l', 3, 9, 1, 1 }, { 4, 'f', 3, 9, 8, 1 } }, "", 1 },
        { "the leader alone", { { 3, 'L', 3, 9, 8, 1 } }, "", 1 },
        { "same round, old epoch of votes", { { 2, 'f', 3, 9, 1, 1 }, { 3, 'L', 3, 9, 1, 2 } }, "decided following 3 zxid 9 round 1 epoch 2\n", 1 },
        { "they follow us in our round", { { 2, 'f', 1, 5, 1, 1 } }, "decided leading 1 zxid 5 round 1 epoch 1\n", 1 },
        { "they follow who we were", { { 2, 'f', 1, 5, 7, 1 }, { 3, 'f', 1, 5, 7, 1 } }, "", 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fix f = fix_new(1, i == 3 || i == 4 ? FIVE : THREE, NULL);
        const char *last = NULL;

        print_message("case: %s\n", cases[i].name);
        (void)start(&f, 5, 1);
        for (size_t k = 0; k < 4 && cases[i].in[k].from; k++)
            last = recv(&f, cases[i].in[k].from, cases[i].in[k].state, cases[i].in[k].leader, cases[i].in[k].zxid, cases[i].in[k].round,
                        cases[i].in[k].epoch);
        assert_string_equal(last, cases[i].last);
        assert_int_equal(election_round(f.e), cases[i].round);
        fix_free(&f);
    }
}

/* Among servers that are settled, one that is too old to send a version agrees by the leader alone. */
static void test_old_versions(void **state)
{
    struct fix f = fix_new(1, THREE, NULL);
    struct notification n = { ZAB_FOLLOWING, 3, 9, 8, 7, 0, { NULL, 0 } };

    (void)start(&f, 5, 1);
    election_receive(f.e, 2, &n, f.now);
    assert_string_equal(recv(&f, 3, 'L', 3, 9, 8, 1), "decided following 3 zxid 9 round 8 epoch 1\n");
    fix_free(&f);
}

static void test_observer(void **state)
{
    struct fix f = fix_new(9, OBSERVED, NULL);

    assert_int_equal(election_role(f.e), MEMBER_OBSERVER);
    assert_string_equal(start(&f, 5, 1), "1,2,3 < looking -9223372036854775808 zxid -9223372036854775808 round 1 epoch -9223372036854775808\n");
    (void)recv(&f, 1, 'f', 3, 9, 8, 1);
    assert_string_equal(recv(&f, 3, 'L', 3, 9, 8, 1), "decided observing 3 zxid 9 round 8 epoch 1\n");
    fix_free(&f);

    f = fix_new(9, OBSERVED, NULL); /* from votes under way */
    (void)start(&f, 5, 1);
    assert_string_equal(recv(&f, 1, 'l', 3, 9, 1, 1), "1,2,3 < looking 3 zxid 9 round 1 epoch 1\n");
    (void)recv(&f, 2, 'l', 3, 9, 1, 1);
    assert_string_equal(pass(&f, 200, true), "decided observing 3 zxid 9 round 1 epoch 1\n");
    fix_free(&f);

    f = fix_new(7, THREE, NULL); /* removed from the configuration: still a participant, never to be elected */
    assert_string_equal(start(&f, 5, 1), "1,2,3 < looking -9223372036854775808 zxid -9223372036854775808 round 1 epoch -9223372036854775808\n");
    (void)recv(&f, 2, 'f', 3, 9, 8, 1);
    assert_string_equal(recv(&f, 3, 'L', 3, 9, 8, 1), "decided following 3 zxid 9 round 8 epoch 1\n");
    fix_free(&f);
}

/* Weight 0: it votes, and its votes count, but nobody elects it. */
static void test_weightless(void **state)
{
    struct fix f = fix_new(1, THREE "group.1=1:2:3\nweight.3=0", NULL);

    (void)start(&f, 5, 1);
    assert_string_equal(recv(&f, 3, 'l', 3, 99, 1, 1), "");
    assert_string_equal(recv(&f, 2, 'l', 2, 6, 1, 1), "2,3 < looking 2 zxid 6 round 1 epoch 1\n");
    assert_string_equal(recv(&f, 3, 'l', 2, 6, 1, 1), "decided following 2 zxid 6 round 1 epoch 1\n");
    fix_free(&f);
}

/* A proposed configuration: both need their quorum, and both hear us. */
static void test_joint(void **state)
{
    struct fix f = fix_new(3, THREE "version=1", "server.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\nversion=2");

    assert_string_equal(start(&f, 5, 1), "1,2,4,5 < looking 3 zxid 5 round 1 epoch 1\n");
    (void)recv(&f, 1, 'l', 3, 5, 1, 1);
    assert_string_equal(pass(&f, 200, true), "1,2,4,5 < looking 3 zxid 5 round 1 epoch 1\n"); /* two of three here, one of three there */
    (void)recv(&f, 4, 'l', 3, 5, 1, 1);
    assert_string_equal(pass(&f, 200, true), "decided leading 3 zxid 5 round 1 epoch 1\n");
    fix_free(&f);
}

static const char *recv_config(struct fix *f, int64_t from, const char *text)
{
    struct notification n = { ZAB_LOOKING, 2, 4, 1, 1, 2, buf_str(text) };

    election_receive(f->e, from, &n, f->now);
    return told(f);
}

static void test_adopted_config(void **state)
{
    struct fix f = fix_new(1, THREE "version=5", FIVE "version=7");

    (void)start(&f, 5, 1);
    (void)recv(&f, 2, 'l', 1, 5, 6, 1);
    assert_int_equal(election_round(f.e), 6);
    assert_string_equal(recv_config(&f, 2, FIVE "version=4"), "2 < looking 1 zxid 5 round 6 epoch 1\n"); /* older: of no interest */
    assert_string_equal(recv_config(&f, 2, "server.1=broken"), "2 < looking 1 zxid 5 round 6 epoch 1\n");
    /* The same members: no more than a version. */
    assert_string_equal(recv_config(&f, 2, THREE "version=6"), "adopted 6\n2 < looking 1 zxid 5 round 6 epoch 1\n");
    assert_int_equal(election_view(f.e).last_seen->version, 7);
    /* Others: everything begins anew. */
    assert_string_equal(recv_config(&f, 2, FIVE "version=8"), "adopted 8\nrestart\n2,3,4,5 < looking 1 zxid 5 round 1 epoch 1\n");
    assert_null(election_view(f.e).last_seen);
    assert_int_equal(election_round(f.e), 1);
    /* One that makes us an observer. */
    assert_string_equal(recv_config(&f, 2, "server.1=a:1:2:observer\nserver.2=b:1:2\nversion=9"),
                        "adopted 9\nrestart\n2 < looking -9223372036854775808 zxid -9223372036854775808 round 1 epoch -9223372036854775808\n");
    assert_int_equal(election_role(f.e), MEMBER_OBSERVER);
    fix_free(&f);

    f = fix_new(3, THREE, NULL); /* settled: the leader will tell */
    (void)start(&f, 5, 1);
    (void)recv(&f, 1, 'l', 3, 5, 1, 1);
    (void)recv(&f, 2, 'l', 3, 5, 1, 1);
    assert_string_equal(recv_config(&f, 2, FIVE "version=8"), "voter 2 is looking\n2 < leading 3 zxid 5 round 1 epoch 1\n");
    fix_free(&f);
}

static void test_changed_configs(void **state)
{
    struct fix f = fix_new(1, THREE "version=5", NULL);
    struct quorum_config *five = config(FIVE "version=8");

    (void)start(&f, 5, 1);
    (void)recv(&f, 2, 'l', 1, 5, 1, 1);
    election_set_configs(f.e, five, five);
    election_restart(f.e, f.now);
    assert_string_equal(told(&f), "2,3,4,5 < looking 1 zxid 5 round 1 epoch 1\n");
    (void)recv(&f, 2, 'l', 1, 5, 1, 1); /* what was counted before counts no more */
    assert_string_equal(pass(&f, 200, false), "connect all\n");
    (void)recv(&f, 3, 'l', 1, 5, 1, 1);
    assert_string_equal(pass(&f, 200, true), "decided leading 1 zxid 5 round 1 epoch 1\n");
    quorum_config_unref(five);
    fix_free(&f);
}

/* A proposal that only we had was withdrawn: the two others, of whom it leaves one out, are no quorum of it. Their leader is joined all the same. */
static void test_withdrawn_proposal(void **state)
{
    struct fix f = fix_new(3, THREE "version=5", "server.1=a:1:2\nserver.3=c:1:2\nversion=9");

    (void)start(&f, 9, 1);
    assert_string_equal(recv(&f, 1, 'f', 2, 5, 4, 2), "");
    assert_string_equal(recv(&f, 2, 'L', 2, 5, 4, 2), "decided following 2 zxid 5 round 4 epoch 2\n");
    fix_free(&f);

    f = fix_new(3, THREE "version=5", "server.1=a:1:2\nserver.3=c:1:2\nversion=9"); /* an election needs both, as ever */
    (void)start(&f, 9, 1);
    (void)recv(&f, 2, 'l', 3, 9, 1, 1);
    assert_string_equal(pass(&f, 200, false), "connect all\n");
    (void)recv(&f, 1, 'l', 3, 9, 1, 1);
    assert_string_equal(told(&f), "");
    assert_int_equal(election_state(f.e), ZAB_LEADING);
    fix_free(&f);
}

/* Whom a change leaves out follows without a vote, an observer too. */
static void test_left_out(void **state)
{
    struct fix f = fix_new(9, OBSERVED "version=5", NULL);
    struct quorum_config *three = config(THREE "version=8");

    assert_int_equal(election_role(f.e), MEMBER_OBSERVER);
    election_set_configs(f.e, three, NULL);
    assert_int_equal(election_role(f.e), MEMBER_PARTICIPANT);
    (void)start(&f, 5, 1);
    (void)recv(&f, 1, 'f', 3, 5, 4, 2);
    assert_string_equal(recv(&f, 3, 'L', 3, 5, 4, 2), "decided following 3 zxid 5 round 4 epoch 2\n");
    quorum_config_unref(three);
    fix_free(&f);
}

/* Messages before the first start wait for it. */
static void test_early_messages(void **state)
{
    struct fix f = fix_new(1, THREE, NULL);

    for (int i = 0; i < 1000; i++) /* a bounded number of them */
        assert_string_equal(recv(&f, 2, 'l', 2, 7, 1, 1), "");
    assert_string_equal(start(&f, 5, 1), "2,3 < looking 1 zxid 5 round 1 epoch 1\n2,3 < looking 2 zxid 7 round 1 epoch 1\n");
    assert_string_equal(pass(&f, 200, true), "decided following 2 zxid 7 round 1 epoch 1\n");
    fix_free(&f);
}

static void test_alone(void **state)
{
    struct fix f = fix_new(1, "server.1=a:1:2", NULL);

    assert_string_equal(start(&f, 5, 1), "decided leading 1 zxid 5 round 1 epoch 1\n");
    fix_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_three_servers),
        cmocka_unit_test(test_finalize_wait),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_ignored),
        cmocka_unit_test(test_deserted),
        cmocka_unit_test(test_leader_looks_again),
        cmocka_unit_test(test_answers_when_settled),
        cmocka_unit_test(test_joining),
        cmocka_unit_test(test_old_versions),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_weightless),
        cmocka_unit_test(test_joint),
        cmocka_unit_test(test_adopted_config),
        cmocka_unit_test(test_changed_configs), cmocka_unit_test(test_withdrawn_proposal), cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_early_messages),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
