/* A property over random histories of an ensemble: clients pipeline writes and syncs at all members, messages are delivered one at a time in any order
 * that keeps each queue's, and leaders change in the middle. Every session's answers come in its order, every attached digest is the tree's on
 * every member, all trees are equal in the end, and what was answered is not lost. */
#include "ensemble.h"

#include <stdio.h>

#define CLIENTS 5

struct client {
    int who;
    uint64_t conn; /* 0: not connected */
    int64_t session;
    int32_t xid, answered; /* of this connection */
    size_t seen;           /* effects of the member that were looked at */
};

static uint64_t rng;
static struct client clients[CLIENTS];
static uint64_t last_conn;

static uint32_t below(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 16) % n;
}

static void random_request(char *out, size_t n)
{
    static const char *const paths[] = { "/a", "/b", "/a/x", "/a/y", "/b/x", "/c" };
    const char *p = paths[below(ARRAY_LEN(paths))], *q = paths[below(ARRAY_LEN(paths))];
    switch (below(10)) {
    case 0:
    case 1:
    case 2:
        snprintf(out, n, "create %s d%u %u", p, below(100), below(4));
        break;
    case 3:
        snprintf(out, n, "create2 %s ~ %u", p, below(4));
        break;
    case 4:
        snprintf(out, n, "delete %s -1", p);
        break;
    case 5:
    case 6:
        snprintf(out, n, "set %s v%u %d", p, below(100), (int)below(3) - 1);
        break;
    case 7:
        snprintf(out, n, "multi create %s ~ %u ; set %s x -1 ; check %s -1", p, below(2), q, p);
        break;
    case 8:
        snprintf(out, n, "container %s ~ 4", p);
        break;
    default:
        snprintf(out, n, "sync %s", p);
    }
}

/* Looks through what came for the client: in order, and for nobody else. */
static void client_read(struct ensemble *e, struct client *cl)
{
    const struct member *m = &e->m[cl->who];
    for (; cl->seen < m->got.len; cl->seen++) {
        const struct got *g = &m->got.items[cl->seen];
        if (g->conn != cl->conn || cl->conn == 0)
            continue;
        if (g->type == CORE_SESSION_READY) {
            cl->session = g->session_id;
            if (cl->session == 0)
                cl->conn = 0;
        } else if (g->type == CORE_CLOSE_CONN) {
            cl->conn = 0;
        } else {
            assert_int_equal(g->type, CORE_REPLY);
            assert_int_equal(g->session_id, cl->session);
            assert_int_equal(g->xid, ++cl->answered);
            /* Answered means: a quorum has it, and the leader's log says the same. */
            assert_true(g->zxid <= e->committed || g->zxid >> 32 < e->epoch);
        }
    }
}

static void client_turn(struct ensemble *e, struct client *cl)
{
    char text[200];
    client_read(e, cl);
    if (cl->conn == 0) {
        cl->who = (int)below(MEMBERS);
        cl->seen = e->m[cl->who].got.len;
        cl->conn = ++last_conn;
        cl->xid = cl->answered = 0;
        if (cl->session != 0) {
            ensemble_attach(e, cl->who, cl->conn, cl->session, 6000);
            cl->session = 0; /* until the server says so */
        } else {
            core_connect(e->m[cl->who].core, cl->conn, 0, buf_of("", 0), 6000);
            ensemble_pump(e, cl->who);
        }
        return;
    }
    if (cl->session == 0)
        return;
    uint32_t what = below(60);
    if (what == 0) {
        ensemble_submit(e, cl->who, cl->conn, cl->session, ++cl->xid, "close");
    } else if (what == 1) { /* the connection breaks; the session goes on elsewhere, with requests under way */
        core_disconnected(e->m[cl->who].core, cl->conn, cl->session);
        cl->conn = 0;
    } else {
        random_request(text, sizeof(text));
        ensemble_submit(e, cl->who, cl->conn, cl->session, ++cl->xid, text);
    }
}

static void tick_all(struct ensemble *e)
{
    e->now += below(3000);
    for (int i = 0; i < MEMBERS; i++) {
        core_tick(e->m[i].core, e->now, WALL0 + e->now);
        ensemble_pump(e, i);
    }
}

/* The highest zxid that a client has been answered with. */
static int64_t highest_answer(const struct ensemble *e)
{
    int64_t z = 0;
    for (int i = 0; i < MEMBERS; i++)
        for (size_t k = 0; k < e->m[i].got.len; k++)
            if (e->m[i].got.items[k].type == CORE_REPLY)
                z = MAX(z, e->m[i].got.items[k].zxid);
    return z;
}

/* As an election does: of any two members (a quorum), the one with the longer history. */
static void change_leader(struct ensemble *e)
{
    int64_t length[MEMBERS], answered = highest_answer(e);
    for (int i = 0; i < MEMBERS; i++)
        length[i] = i == e->leader ? e->acked[i] : MAX(e->m[i].received, e->epoch << 32);
    int missing = (int)below(MEMBERS), next = -1;
    for (int i = 0; i < MEMBERS; i++)
        if (i != missing && (next < 0 || length[i] > length[next]))
            next = i;
    ensemble_elect(e, next);
    assert_true(tree_last_zxid(e->m[next].tree) >= answered);
    bool found = (answered & 0xffffffff) == 0;
    for (size_t i = 0; i < e->log.len && !found; i++)
        found = e->log_zxids.items[i] == answered;
    assert_true(found);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_read(e, &clients[i]);
        assert_true(clients[i].conn == 0);
    }
}

static void session_in(void *data, int64_t session, size_t count)
{
    (void)count;
    assert_true(tree_session_known(data, session));
}

static void check_end(struct ensemble *e)
{
    ensemble_settle(e);
    ensemble_same(e);
    for (size_t i = 0; i < CLIENTS; i++)
        client_read(e, &clients[i]);
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].conn != 0 && clients[i].session != 0)
            assert_int_equal(clients[i].answered, clients[i].xid);
    for (int i = 0; i < MEMBERS; i++)
        tree_each_ephemeral_owner(e->m[i].tree, session_in, e->m[i].tree);
}

static size_t history(uint64_t seed)
{
    struct ensemble e;
    rng = (seed * 0x9e3779b97f4a7c15) | 1;
    memset(clients, 0, sizeof(clients));
    last_conn = 0;
    ensemble_init(&e);
    e.cfg.no_digest = e.opt.no_digest = seed % 16 == 0;
    e.cfg.local_sessions = seed % 3 > 0;
    e.cfg.local_upgrade = seed % 3 == 1;
    ensemble_start(&e);
    for (int step = 0; step < 2500; step++) {
        uint32_t what = below(1000);
        int who = (int)below(MEMBERS);
        if (what < 250)
            client_turn(&e, &clients[below(CLIENTS)]);
        else if (what < 850)
            (void)ensemble_deliver(&e, who, below(2));
        else if (what < 990)
            ensemble_apply(&e, who, below(4));
        else if (what < 995)
            tick_all(&e);
        else if (what < 997)
            change_leader(&e);
        else if (what < 998)
            check_end(&e);
    }
    check_end(&e);
    size_t replies = 0;
    for (int i = 0; i < MEMBERS; i++)
        for (size_t k = 0; k < e.m[i].got.len; k++)
            replies += e.m[i].got.items[k].type == CORE_REPLY;
    ensemble_done(&e);
    return replies;
}

static void test_random_histories(void **state)
{
    size_t replies = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        printf("seed %llu\r", (unsigned long long)seed);
        fflush(stdout);
        replies += history(seed);
    }
    print_message("%zu answers\n", replies);
    assert_true(replies > 150 * 50); /* the histories are about something */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_histories) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
