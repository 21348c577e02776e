/* vquorum.h - the quorum connections of a simulated server: what qnet.h promises, over virtual connections.
 *
 * The rules are those of src/server/qnet*.c: who keeps which election connection (zab/connrule.h), one message waiting per server, the last one again on
 * every new connection, tries and delays towards a leader, closing behind what is queued, streams, pause. What travels is bytes, made and read by the
 * shipped encoders and decoders. Only epoll and the resolver are missing. */
#ifndef SIM_VQUORUM_H
#define SIM_VQUORUM_H

#include "server/peer_host.h"
#include "vnet.h"

struct vquorum_options {
    struct world *w;
    struct vnet *net;
    uint32_t host;
    int64_t my_sid;
    int64_t cnx_timeout_ms, hello_timeout_ms, follow_delay_ms;
    uint32_t max_buffer;
    uint64_t which; /* of the randomness */
    int64_t (*now_ms)(void *data);
    /* Before packets leave for the leader (to_leader), or for a learner. For those who check. */
    void (*sending)(void *data, bool to_leader, struct buf packets);
    void (*leading)(void *data); /* it was elected, and begins to wait for learners; may be NULL */
    void *data;
    struct qnet_events events;
};
struct qnet *vquorum_new(const struct vquorum_options *opt);
/* The process is over: tells nobody but streams. Before the host is down or after. */
void vquorum_free(struct qnet *q);
extern const struct peer_net vquorum_net;

void vquorum_accepted(struct qnet *q, enum vnet_port port, struct vsock *s);
/* The configurations that the server goes by. Borrowed. */
struct quorum_view vquorum_view(const struct qnet *q);
uint32_t vquorum_host(int64_t sid); /* of a server */

#endif
