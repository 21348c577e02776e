/* qnet.h - the quorum sockets of one server: election port, quorum port as a leader, connection to the leader as a learner.
 *
 * Purpose    Makes connections, moves bytes, frames and decodes them. Who keeps which election connection comes from zab/connrule.h, what packets mean
 *            is the owner's. Nothing here waits: sockets are non-blocking, names are resolved on threads of a resolver, again at every attempt.
 * Use        Wait with qnet_wait, or poll qnet_fd for reading, at most until qnet_next_wake, then call qnet_run. Sends are gathered and go out in qnet_run
 *            or qnet_flush: call the latter at the end of a turn in which something was sent outside of qnet_run.
 * Threading  One thread: the core thread.
 * Callbacks  Only from qnet_run, except a stream's `done` (see there). In one, every function may be called but qnet_run and qnet_free. What they are given is
 *            borrowed for the call.
 * Ownership  Configurations are shared (references are taken); members and bytes are copied.
 * Units      *_ms is milliseconds of clock_mono_ms. Connections of learners are numbers, never 0, never used again.
 * Limits     Per election connection: one frame in, one message out. Per learner connection: one packet in, max_queue out. QNET_HELLOS_MAX connections
 *            that have not said who they are, QNET_STRANGERS_MAX servers that no configuration knows (they may be joining), QNET_PEERS_MAX learners.
 * Errors     What a peer does wrong closes its connection, with a log line (rate-limited), and touches nothing else.
 * TLS        qconn_recv and qconn_send in qnet_conn.c are the only functions that touch the bytes of a socket, and know TLS (tls.h).
 * SASL       qnet_auth.c, by qauth.h: after the initial message, or first of all on the quorum port. Nothing is told of a connection before it is through.
 * Source     QuorumCnxManager, Learner.connectToLeader, Leader.LearnerCnxAcceptor (3.9.5). */
#ifndef SERVER_QNET_H
#define SERVER_QNET_H

#include <sys/socket.h>

#include "zab/packet.h"
#include "zab/quorum.h"

#define QNET_HELLOS_MAX 128
#define QNET_STRANGERS_MAX 32
#define QNET_PEERS_MAX 2048
#define QNET_MAX_QUEUE_DEFAULT (256u << 20)
#define QNET_NEVER INT64_MAX

struct qnet;
struct tls_context;
struct qsasl;

/* Resolves one name; called on a resolver thread, several at once. Fills at most cap addresses (ports are set by the caller), returns how many:
 * 0 when there is no such name or no answer. */
typedef size_t (*qnet_resolve_fn)(void *data, const char *host, struct sockaddr_storage *ret, size_t cap);

struct qnet_options {
    int64_t my_sid;
    bool multi_address;         /* multiAddress.enabled: initial messages of version 2 with all addresses */
    bool listen_on_all_ips;     /* quorumListenOnAllIPs */
    bool tcp_keepalive;         /* zookeeper.tcpKeepAlive */
    int32_t bind_tries;         /* zookeeper.electionPortBindRetry: tries, 1 s apart; 0: for ever. The reference's default is 3 */
    int32_t cnx_timeout_ms;     /* zookeeper.cnxTimeout, of one election connection attempt; 0: 5000 */
    int32_t hello_timeout_ms;   /* for the initial message: quorumCnxnTimeoutMs, else tickTime * syncLimit; 0: 5000 */
    int32_t follow_delay_ms;    /* zookeeper.leaderConnectDelayDuringRetryMs; 0: 100 */
    uint32_t max_buffer;        /* of packets, as in qpacket_decode; 0: QP_MAX_BUFFER_DEFAULT */
    size_t max_queue;           /* bytes that may wait for one learner, or the leader, before the connection is closed; 0: QNET_MAX_QUEUE_DEFAULT */
    struct tls_context *tls;    /* NULL: no TLS. Must outlive the qnet */
    bool tls_outgoing;          /* sslQuorum: connect by TLS */
    bool tls_unification;       /* portUnification: accept TLS and plain connections. Neither of the two: tls has no effect */
    struct qsasl *sasl;         /* NULL: no SASL. Must outlive the qnet */
    bool sasl_learner;          /* learnerRequireSasl: authenticate where we connect */
    bool sasl_required;         /* serverRequireSasl: who connects must */
    qnet_resolve_fn resolve;    /* NULL: getaddrinfo */
    void *resolve_data;         /* must outlive the process' last resolution, which qnet_free does not wait for */
};

/* Any may be NULL. `why` and `text`: one line for a log. */
struct qnet_events {
    void *data;

    /* Election: sid said this. Also from servers that are in no configuration; never from ourselves. */
    void (*notification)(void *data, int64_t sid, const struct notification *n);
    /* The election port could not be bound after all tries (the reference ends with exit code 14). Nothing is tried any more. */
    void (*election_port_failed)(void *data, const char *text);

    /* Leader. lead_listening: the port is open (after qnet_lead_start). lead_failed: it could not be opened; as after qnet_lead_stop. */
    void (*lead_listening)(void *data);
    void (*lead_failed)(void *data, const char *text);
    void (*peer_open)(void *data, uint64_t conn, const struct sockaddr *from);
    void (*peer_packet)(void *data, uint64_t conn, const struct qpacket *p);
    /* Once per peer_open, unless we closed it. */
    void (*peer_closed)(void *data, uint64_t conn, const char *why);

    /* Learner. leader_closed: also when no connection came about; once per qnet_follow, unless qnet_unfollow was called. */
    void (*leader_open)(void *data);
    void (*leader_packet)(void *data, const struct qpacket *p);
    void (*leader_closed)(void *data, const char *why);
};

/* RC_IO: no epoll or eventfd descriptors to be had. Neither configuration: nothing listens before qnet_set_configs. */
int qnet_new(const struct qnet_options *opt, const struct qnet_events *ev, struct qnet **ret);
void qnet_free(struct qnet *q); /* closes everything; NULL is fine */

int qnet_fd(const struct qnet *q);             /* readable when qnet_run has something to do */
/* Waits for the sockets, for an eventfd that was given to qnet_wake_by, or for the time to pass. What it saw is what the next qnet_run goes by: one system
 * call for both. wait_ms: 0: only looks. */
void qnet_wait(struct qnet *q, int wait_ms);
int qnet_wake_by(struct qnet *q, int fd);      /* borrows fd, which is never read: every write to it wakes once. RC_IO; at most one */
int64_t qnet_next_wake(const struct qnet *q);  /* when qnet_run is due at the latest; in the past: now */
void qnet_run(struct qnet *q, int64_t now_ms); /* does what can be done without waiting, a bounded share for each connection */
void qnet_flush(struct qnet *q);               /* writes what was queued since */

/* ---- configuration ---- */

/* last_seen may be NULL or the same. Opens the election port at our address in it, again when that changed. Connections stay. */
void qnet_set_configs(struct qnet *q, struct quorum_config *committed, struct quorum_config *last_seen);

/* ---- election ---- */

/* Makes n the message that waits for sid (it replaces one that was not sent yet); connects when there is no connection. Sent once more on every new
 * connection until another replaces it. Unknown servers without a connection: dropped. */
void qnet_election_send(struct qnet *q, int64_t sid, const struct notification *n);
/* Connects to every voter of both configurations without a connection. At most one attempt per server runs at a time. */
void qnet_election_connect_all(struct qnet *q);
/* Is there a peer for whom no message waits: has anything been delivered? */
bool qnet_election_queue_empty(const struct qnet *q);
/* Drops all election connections, attempts and messages. The port stays open. */
void qnet_election_restart(struct qnet *q);
bool qnet_election_listening(const struct qnet *q);
bool qnet_election_connected(const struct qnet *q, int64_t sid);

/* ---- leader ---- */

/* Opens the quorum port(s) of our member. Answered by lead_listening or lead_failed. RC_NOTFOUND: no configuration names us. */
int qnet_lead_start(struct qnet *q);
void qnet_lead_stop(struct qnet *q); /* closes the port and all learners (what waits for them is still sent, for a moment) */

/* Functions on a connection that is gone do nothing. */
void qnet_peer_send(struct qnet *q, uint64_t conn, struct buf bytes);
/* No more callbacks for conn; sends what waits (a stream to its end), for at most 5 s, then closes. */
void qnet_peer_close_after_flush(struct qnet *q, uint64_t conn);
/* Stops reading from conn and goes on: back-pressure. */
void qnet_peer_pause(struct qnet *q, uint64_t conn, bool paused);

struct qnet_peer_figures {
    size_t queued;      /* bytes that wait for the socket, a stream's not yet produced ones excluded */
    uint64_t sent, received;
    bool streaming;
};
bool qnet_peer_figures(const struct qnet *q, uint64_t conn, struct qnet_peer_figures *ret); /* false: gone */

/* Bytes made while they are sent: a snapshot. All in callbacks on our thread. */
struct qnet_stream {
    void *data;
    /* Asked whenever little is queued. Puts up to cap bytes (64 KiB at least) at p and returns how many; *ret_end when these are the last. 0 without an end: nothing
     * yet, ask again after qnet_peer_stream_more. Negative rc: closes the connection. */
    int64_t (*produce)(void *data, uint8_t *p, size_t cap, bool *ret_end);
    /* Exactly once, the last call for this stream: 0: all is handed to the socket; RC_CLOSED: the connection went away (before peer_closed);
     * RC_CANCELLED: from within qnet_lead_stop or qnet_free; else what produce returned. */
    void (*done)(void *data, uint64_t conn, int rc);
};
/* From here on in conn's queue: the stream, before what is sent later. RC_NOTFOUND: conn is gone; RC_BUSY: it has a stream. `done` is not called then. */
int qnet_peer_stream(struct qnet *q, uint64_t conn, const struct qnet_stream *s);
void qnet_peer_stream_more(struct qnet *q, uint64_t conn);

/* ---- learner ---- */

/* Connects to the leader's quorum addresses: tries as long as the reference's five, follow_delay_ms apart, would take (the first ones closer together, since the
 * leader opens its port about now), or up to hello_timeout_ms while the election connection with it stands; none after limit_ms from now. Then leader_open or leader_closed. Ends a connection there was. */
void qnet_follow(struct qnet *q, const struct quorum_member *leader, int64_t limit_ms, int64_t now_ms);
void qnet_unfollow(struct qnet *q); /* no more callbacks; sends what waits, for a moment */
void qnet_leader_send(struct qnet *q, struct buf bytes); /* does nothing without a connection */
size_t qnet_leader_queued(const struct qnet *q);
/* While paused no packet, no raw bytes and no end of the stream is given; a reset is. May change in every callback. A new connection is not paused. */
void qnet_leader_pause(struct qnet *q, bool paused);
/* From the byte behind the packet that is being given (or was last): raw bytes. take gets what is there, all that it has not consumed yet, and returns how many bytes
 * it consumed; *ret_end: the stream is over, what follows are packets again. Negative rc: closes the connection (leader_closed). It must not want more than
 * max_buffer + 64 KiB at once. Call it in leader_packet of the SNAP, or while paused since. Not called again after the end or when the connection is gone. */
typedef int64_t (*qnet_take_fn)(void *data, const uint8_t *p, size_t n, bool *ret_end);
void qnet_leader_raw(struct qnet *q, qnet_take_fn take, void *data);

#endif
