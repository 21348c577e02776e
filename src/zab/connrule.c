/* connrule.c - which election connection of a pair lives. */
#include "zab/connrule.h"

const char *conn_action_str(enum conn_action a)
{
    static const char *const names[] = { "keep", "hello and close", "call back", "refuse" };

    return (unsigned)a < ARRAY_LEN(names) ? names[a] : "?";
}

enum conn_action conn_decide(bool initiated, int64_t my_sid, int64_t peer_sid)
{
    /* [who opened it][how the peer's sid compares with ours: lower, same, higher] */
    static const enum conn_action table[2][3] = {
        { CONN_CALL_BACK, CONN_REFUSE, CONN_KEEP },       /* the peer */
        { CONN_KEEP, CONN_REFUSE, CONN_HELLO_AND_CLOSE }, /* we */
    };

    return table[initiated][peer_sid < my_sid ? 0 : peer_sid == my_sid ? 1 : 2];
}

int64_t conn_local_sid(int64_t sent_sid, int64_t *counter)
{
    return sent_sid == CONN_SID_ANONYMOUS ? (*counter)-- : sent_sid;
}

static bool same_election_addrs(const struct quorum_member *a, const struct quorum_member *b)
{
    if (a->addrs_len != b->addrs_len)
        return false;
    for (size_t i = 0; i < a->addrs_len; i++)
        if (a->addrs[i].election_port != b->addrs[i].election_port || strcmp(a->addrs[i].host, b->addrs[i].host) != 0)
            return false;
    return true;
}

size_t conn_targets(struct quorum_view view, int64_t sid, const struct quorum_member *ret[2])
{
    const struct quorum_member *seen = view.last_seen ? quorum_config_member(view.last_seen, sid) : NULL;
    const struct quorum_member *now = quorum_config_member(view.committed, sid);
    size_t n = 0;

    if (now)
        ret[n++] = now;
    if (seen && (!now || !same_election_addrs(now, seen)))
        ret[n++] = seen;
    return n;
}
