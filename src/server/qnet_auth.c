/* qnet_auth.c - SASL on connections between servers, before anything else is believed or said on them. */
#include "qnet_internal.h"

#include <stdio.h>

#define CLOSE_MS 1000 /* for telling it that it was refused */

static bool is_server(const struct qconn *c)
{
    return c->role == QCONN_HELLO || c->role == QCONN_NEWCOMER;
}

static const char *port_of(const struct qconn *c)
{
    return c->role == QCONN_HELLO || c->role == QCONN_GREETING ? "election" : "quorum";
}

void auth_begin(struct qconn *c, bool server)
{
    struct wr out = wr_init(0);

    ASSERT(!c->auth);
    c->auth = qauth_new(c->q->opt.sasl, server, c->q->opt.sasl_required, &out);
    qconn_send_bytes(c, out.p, out.n);
    wr_free(&out);
}

static void go_on(struct qconn *c)
{
    qauth_free(c->auth);
    c->auth = NULL;
    if (c->role == QCONN_NEWCOMER)
        leader_authenticated(c);
    else if (c->role == QCONN_LOGIN)
        follow_authenticated(c);
    else
        election_authenticated(c);
}

static void refused(struct qconn *c)
{
    struct qnet *q = c->q;
    char why[QNET_WHY_MAX];

    (void)snprintf(why, sizeof(why), "SASL: %s", qauth_why(c->auth)); /* fits */
    qnet_gripe(q, "%s, %s port: %s: connection closed", c->from, port_of(c), why);
    qauth_free(c->auth);
    c->auth = NULL;
    if (is_server(c)) {
        q->hellos--;
        qconn_linger(c, CLOSE_MS); /* it is told */
    } else {
        qconn_fail(c, why);
    }
}

void auth_input(struct qconn *c)
{
    struct wr out = wr_init(0);
    size_t used = 0;
    enum qauth_result result = c->in ? qauth_take(c->auth, c->in + c->in_off, c->in_len - c->in_off, &used, &out) : QAUTH_MORE;

    if (out.n > 0)
        qconn_send_bytes(c, out.p, out.n);
    wr_free(&out);
    qconn_consumed(c, used);
    switch (result) {
    case QAUTH_MORE:
        if (c->eof)
            (void)auth_skip(c);
        break;
    case QAUTH_DONE:
        if (is_server(c))
            log_info("quorum", "%s, %s port: authenticated as %s", c->from, port_of(c), qauth_user(c->auth));
        go_on(c);
        break;
    case QAUTH_NONE:
        log_debug("quorum", "%s, %s port: does not authenticate", c->from, port_of(c));
        go_on(c);
        break;
    case QAUTH_FAILED:
        refused(c);
        break;
    }
}

bool auth_skip(struct qconn *c)
{
    if (!qauth_may_skip(c->auth))
        return false;
    c->deadline_ms = QNET_NEVER;
    go_on(c);
    return true;
}

void auth_abort(struct qconn *c, const char *why)
{
    if (!is_server(c) || c->q->opt.sasl_required)
        qnet_gripe(c->q, "%s, %s port: SASL did not come to an end: %s", c->from, port_of(c), why);
}
