/* qnet_internal.h - how the parts of qnet hang together.
 *
 * qnet.c           life, the turn of the loop, timers, log
 * qnet_conn.c      one connection: bytes in and out, streams, closing
 * qnet_dial.c      one attempt to connect: resolve, try address after address
 * qnet_port.c      a listening port: bind, retry, accept
 * qnet_election.c  who is connected with whom for elections, initial messages, notifications
 * qnet_auth.c      SASL, before a connection counts
 * qnet_leader.c    learners of ours;  qnet_learner.c  our connection to a leader
 *
 * Lifetime   Whatever is in the epoll set begins with struct qsource. It is never freed while a turn runs: it is marked dead and goes to q->graves, so that
 *            events that were fetched with its end and callers up the stack stay harmless.
 * Callbacks  Functions of the public header never call back (but for a stream's end); what they find out waits in q->ready, or for a timer. */
#ifndef SERVER_QNET_INTERNAL_H
#define SERVER_QNET_INTERNAL_H

#include <sys/epoll.h>

#include "server/qauth.h"
#include "server/qnet.h"
#include "server/tls.h"
#include "resolver.h"

#include "zab/connrule.h"

#include "base/addr.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"

enum qsource_kind { QSOURCE_RESOLVER, QSOURCE_WAKER, QSOURCE_LISTENER, QSOURCE_DIAL, QSOURCE_CONN };
#define QNET_EVENTS 64
struct qsource {
    enum qsource_kind kind;
    bool dead;
    struct list grave;
};

#define QNET_WHY_MAX 192

/* ---- bytes to be sent ---- */

struct qchunk;
struct qout {
    struct list chunks;
    size_t bytes;
};

/* ---- connections ---- */

struct qdial;

enum qconn_role {
    QCONN_HELLO,    /* accepted on the election port, has not said who it is */
    QCONN_ELECTION, /* with another server, for notifications both ways */
    QCONN_PEER,     /* a learner of ours */
    QCONN_LEADER,   /* our leader */
    QCONN_GREETING, /* dialed: we have said who we are to an election port, and authenticate */
    QCONN_NEWCOMER, /* accepted on the quorum port, has not authenticated */
    QCONN_LOGIN,    /* our leader to be: we authenticate */
    QCONN_LINGER,   /* sends what is queued, then waits for the other end to close */
};

struct qconn {
    struct qsource source;
    struct list link;  /* q->conns */
    struct list dirty; /* q->dirty: something to write */
    struct list ready; /* q->ready: buffered input or a broken connection to look at */
    struct qnet *q;
    enum qconn_role role;
    int fd;
    struct tls *tls;   /* NULL: plain */
    bool detect;       /* accepted, and its first byte will tell whether it speaks TLS */
    bool shaking;      /* deadline_ms is the handshake's */
    uint32_t interest; /* in the epoll set */
    char from[ADDR_TEXT_MAX];

    uint8_t *in; /* in_off..in_len is not consumed yet */
    size_t in_off, in_len, in_cap;
    size_t in_want; /* decoding is worth a try with so many bytes */
    size_t in_max;  /* never more of them */
    bool paused, eof;

    struct qout out, behind; /* behind: sent after the stream */
    struct qnet_stream stream;
    bool streaming, stream_ended, stream_idle;
    bool shut; /* linger: our half is closed */
    const char *broken; /* found in a place that may not call back; handled in the turn */

    int64_t deadline_ms;
    struct qauth *auth;    /* not NULL: what comes is authentication */
    struct wr hello;       /* HELLO: what it said before that */
    uint64_t number; /* PEER */
    int64_t sid;     /* ELECTION, GREETING */
    qnet_take_fn take; /* LEADER: raw bytes, NULL: packets */
    void *take_data;
    uint64_t sent, received;
};

/* Owns fd, which is connected and non-blocking. */
struct qconn *qconn_new(struct qnet *q, enum qconn_role role, int fd);
/* TLS by the rules of the options. Before anything is sent or received. */
void qconn_accepted(struct qconn *c);
void qconn_dialed(struct qconn *c, const struct qdial *d);
void qconn_send_bytes(struct qconn *c, const uint8_t *p, size_t n); /* queues; over the limit: broken */
void qconn_pause(struct qconn *c, bool paused);
void qconn_set_role(struct qconn *c, enum qconn_role role);
size_t qconn_queued(const struct qconn *c);
/* Closes the socket now, tells nobody but a stream (with rc). */
void qconn_close(struct qconn *c, int stream_rc);
void qconn_linger(struct qconn *c, int64_t for_ms); /* no more callbacks; sends what is queued, then closes */
void qconn_fail(struct qconn *c, const char *why);  /* closes and tells the owner; in the turn only */
void qconn_broken(struct qconn *c, const char *why); /* the same, from anywhere: it happens in the next turn */
void qconn_event(struct qconn *c, uint32_t events);
void qconn_ready(struct qconn *c);                  /* q->ready got to it */
void qconn_mark_dirty(struct qconn *c);
void qconn_mark_ready(struct qconn *c);
/* Writes what the socket takes, up to a share. in_turn: streams may be asked, failures be told. */
void qconn_flush(struct qconn *c, bool in_turn);
void qconn_free(struct qconn *c);

/* Authentication, until election_authenticated, leader_authenticated or follow_authenticated; else c is closed, with a log line. */
void auth_begin(struct qconn *c, bool server);
void auth_input(struct qconn *c);
bool auth_skip(struct qconn *c); /* it is silent: whether that is as good as not authenticating. Then it goes on */
void auth_abort(struct qconn *c, const char *why); /* why it ended, for the log */

/* ---- attempts to connect ---- */

struct qdial {
    struct qsource source;
    struct list link; /* q->dials */
    struct qnet *q;
    bool to_leader; /* else: election connection with sid */
    int64_t sid;
    struct net_name *names;
    size_t names_len;
    uint64_t job; /* at the resolver */
    struct resolver_answer addrs;
    size_t next;
    int fd;
    int64_t deadline_ms; /* of the present step; 0: not begun */
    int64_t end_ms;      /* of the whole attempt, or QNET_NEVER; each address has cnx_timeout besides */
    bool silent;         /* the last address tried did not even refuse */
    char why[QNET_WHY_MAX];
};
/* Takes over the names. Begins in the next turn. Ends in election_dialed / follow_dialed with a connected socket, or fd -1 and why. */
struct qdial *qdial_new(struct qnet *q, bool to_leader, int64_t sid, struct net_name *names, size_t n, int64_t end_ms);
void qdial_cancel(struct qdial *d); /* NULL is fine */
void qdial_event(struct qdial *d, uint32_t events);
void qdial_timer(struct qdial *d);
void qdial_resolved(struct qdial *d, struct resolver_answer *a); /* takes the addresses */
void qdial_free(struct qdial *d);

/* ---- listening ports ---- */

struct qport;
struct qlistener {
    struct qsource source;
    struct qport *port;
    int fd;
    int64_t muted_until_ms; /* no descriptors left; 0: it listens */
};
struct qport {
    struct qnet *q;
    bool election; /* else: quorum */
    bool wanted, open;
    struct net_name *names;
    size_t names_len;
    uint64_t job;
    int tries, tries_max; /* 0: for ever */
    int64_t retry_ms;
    struct VEC(struct qlistener *) listeners;
};
/* Takes over the names. */
void qport_open(struct qport *p, struct net_name *names, size_t n, int tries_max);
void qport_close(struct qport *p);
void qport_timer(struct qport *p);
void qport_resolved(struct qport *p, const struct resolver_answer *a);
int64_t qport_next_wake(const struct qport *p);
void qlistener_event(struct qlistener *l);

/* ---- the whole ---- */

/* Another server, for elections. Members of a configuration are kept; others while there is a connection or an attempt. */
struct qserver {
    int64_t sid;
    struct qconn *conn;
    struct qdial *dial;
    struct qconn *greeting; /* after the dial: authenticating */
    struct wr last;    /* the last message for it, framed */
    bool queued;       /* which waits to be sent */
    int64_t called_ms; /* when we asked it to call us back */
};

struct qfollow {
    bool active;
    struct net_name *names;
    size_t names_len;
    int64_t sid;
    bool lives; /* its election connection has stood ever since: who refuses is there, and may only be slow to listen */
    struct qdial *dial;
    struct qconn *conn;
    int64_t begun_ms, limit_ms; /* absolute */
    int64_t retry_ms;           /* QNET_NEVER: not waiting */
    int tries;
    char why[QNET_WHY_MAX];
};

struct qnet {
    struct qnet_options opt;
    struct qnet_events ev;
    int epoll;
    bool running;
    int64_t now_ms; /* of the present turn */
    struct resolver *resolver;
    struct qsource resolver_source, waker_source;
    struct epoll_event found[QNET_EVENTS]; /* by qnet_wait, for the next turn */
    int found_count;                       /* -1: nobody has looked since the last turn */
    struct quorum_config *committed, *last_seen;
    struct quorum_config *self_config; /* the last one that named us */
    const struct quorum_member *self;  /* in it */
    struct qport election_port, quorum_port;
    struct list conns, dials, dirty, ready, graves;
    struct arena arena; /* of the packet being given */

    struct u64map servers; /* sid -> struct qserver */
    int64_t anonymous;     /* conn_local_sid */
    size_t hellos; /* HELLO and NEWCOMER */

    struct u64map peers; /* number -> struct qconn */
    uint64_t last_number;

    struct qfollow follow;

    int64_t gripe_since_ms;
    unsigned gripes, gripes_kept;
};

/* Now, for deadlines: functions of the public header are called between turns too. */
static inline int64_t qnet_now(const struct qnet *q)
{
    return q->running ? q->now_ms : clock_mono_ms();
}
int qnet_watch(struct qnet *q, int fd, uint32_t events, struct qsource *s); /* adds fd to the epoll set; 0 or -1 */
void qnet_bury(struct qnet *q, struct qsource *s);
void qnet_socket_options(const struct qnet *q, int fd);
size_t qnet_max_packet(const struct qnet *q);
/* One line about a peer that misbehaves: a few in ten seconds, then their number. */
void qnet_gripe(struct qnet *q, const char *fmt, ...) PRINTF_LIKE(2, 3);

void election_init(struct qnet *q);
void election_done(struct qnet *q);
void election_configs_changed(struct qnet *q);
void election_accepted(struct qnet *q, int fd, const struct sockaddr_storage *from);
void election_dialed(struct qdial *d, int fd);
void election_input(struct qconn *c); /* QCONN_HELLO, QCONN_ELECTION */
void election_writable(struct qconn *c);
void election_closed(struct qconn *c); /* detaches it */
void election_authenticated(struct qconn *c); /* QCONN_HELLO, QCONN_GREETING */

void follow_lost(struct qnet *q, int64_t sid); /* the election connection with it is gone or another one now */

void leader_accepted(struct qnet *q, int fd, const struct sockaddr_storage *from);
void leader_input(struct qconn *c);
void leader_authenticated(struct qconn *c);
void leader_close_all(struct qnet *q, bool linger);

void follow_dialed(struct qdial *d, int fd);
void follow_timer(struct qnet *q);
void follow_input(struct qconn *c);
void follow_authenticated(struct qconn *c);
void follow_end(struct qnet *q); /* forgets the connection, tells nobody */

/* Moves past n bytes. */
void qconn_consumed(struct qconn *c, size_t n);
/* Gives whole packets to fn until there is none, or c is paused, dead or has changed (raw). Fails the connection on a malformed one. */
void qconn_packets(struct qconn *c, void (*fn)(struct qconn *c, const struct qpacket *p));

#endif
