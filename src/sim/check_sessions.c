/* check_sessions.c - history.sessions: a session does not expire while its client is heard.
 *
 * The leader's clock decides, and what it hears of a follower's clients comes with the follower's pings. So an expiry is wrong if, some time
 * before it, the client sent something that was then answered, all was calm from then on, the news had had time to reach the leader, and the
 * session's timeout had not run out since, by the fastest clock that a server may have. */
#include "check_internal.h"

#define NAME "history.sessions"

struct heard { /* the client sent something at sent_us that was answered */
    int64_t session_id, sent_us;
};
struct context {
    const struct check_input *in;
    struct VEC(struct heard) heard; /* in the order of answers */
};

static bool calm_between(const struct check_input *in, int64_t from_us, int64_t until_us)
{
    for (size_t i = 0; i < in->calm_count; i++)
        if (in->calm[i].from_us <= from_us && until_us <= in->calm[i].until_us)
            return true;
    return false;
}

static void gather(struct context *c)
{
    for (size_t i = 0; i < c->in->h->marks.len; i++) {
        const struct hist_mark *k = &c->in->h->marks.items[i];
        const struct hist_op *op = k->type == HIST_COMPLETED ? c->in->h->ops.items[k->op] : NULL;
        struct heard x = { k->session_id, k->since_us };

        if (op && op->outcome != HIST_UNKNOWN)
            x.sent_us = op->invoke_us;
        else if (k->type != HIST_PONG)
            continue;
        VEC_PUSH(&c->heard, x);
    }
}

static void check_session(struct context *c, const struct model_session *s, struct check_report *ret)
{
    int64_t timeout_us = (int64_t)s->timeout_ms * 1000;
    int64_t lag_us = 2000 * (int64_t)c->in->tick_ms; /* a follower tells at least twice a tick */

    timeout_us -= timeout_us / 1000000 * c->in->drift_ppm;
    if (s->closed == INT64_MAX || s->by_client || s->closed_us == 0)
        return;
    for (size_t i = 0; i < c->heard.len; i++) {
        const struct heard *x = &c->heard.items[i];

        if (x->session_id != s->id || x->sent_us + lag_us > s->closed_us || s->closed_us >= x->sent_us + timeout_us ||
            !calm_between(c->in, x->sent_us, s->closed_us))
            continue;
        (void)check_add(ret, NAME, s->closed_us, "session 0x%llx (timeout %d ms) expired at %.6f, although its client was heard at %.6f",
                        (unsigned long long)s->id, s->timeout_ms, (double)s->closed_us / 1e6, (double)x->sent_us / 1e6);
        return;
    }
}

void check_sessions(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in };

    if (!m || in->calm_count == 0)
        return;
    gather(&c);
    for (size_t i = 0; i < m->sessions.len; i++)
        check_session(&c, &m->sessions.items[i], ret);
    VEC_FREE(&c.heard);
}
