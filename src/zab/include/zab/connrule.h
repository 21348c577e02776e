/* connrule.h - which election connection of a pair of servers lives, and where the other end is to be found.
 *
 * Of two servers the one with the higher sid must have opened the connection that stays; any other rule (age, say) makes the two ends kill each
 * other's sockets when both connect at once. Pure decisions: the shell owns sockets, timers and the names' resolution.
 * Source     QuorumCnxManager.startConnection, handleConnection, connectOne (3.9.5). */
#ifndef ZAB_CONNRULE_H
#define ZAB_CONNRULE_H

#include "zab/quorum.h"

#define CONN_SID_ANONYMOUS INT64_MAX /* what observers without an id sent, long ago */

enum conn_action {
    CONN_KEEP,            /* this connection stays; close an older one with the same peer */
    CONN_HELLO_AND_CLOSE, /* we connected to a higher sid: send the initial message (then SASL if configured) and close: "call me back" */
    CONN_CALL_BACK,       /* close this one and any other with that peer, then connect to the address it named, else to the configured one */
    CONN_REFUSE,          /* close this one, leave others alone: the peer claims our own sid */
};
const char *conn_action_str(enum conn_action a);

/* initiated: we opened the connection; else peer_sid comes from the initial message that we read (after conn_local_sid). */
enum conn_action conn_decide(bool initiated, int64_t my_sid, int64_t peer_sid);
/* Replaces an anonymous observer's sid by a local one: -1, -2, ... *counter starts at -1 and is moved on. Others stay as they are. */
int64_t conn_local_sid(int64_t sent_sid, int64_t *counter);

/* Where to connect to reach sid: the member in the committed configuration, then the one in the last seen configuration when the former is
 * absent or differs in its election addresses. Fills ret[0..1], returns how many: 0: unknown, do not connect. */
size_t conn_targets(struct quorum_view view, int64_t sid, const struct quorum_member *ret[2]);

#endif
