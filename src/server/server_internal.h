/* server_internal.h - what the threads of the server share; private to src/server.
 *
 * Threads and what they own
 *   net thread      struct net and its connections. Changes its slots, watch table and the watchers of its connections only under its read
 *                   slot of the tree lock, so that the core thread may look at them under the write lock.
 *   core thread     struct core, the tree, the outboxes' filling side (under the write lock).
 *   log thread      the transaction log.
 *   snapshot thread snapshots and purging.
 * Hand-over
 *   net -> core     a batch of messages per turn of the net loop: pushed under inbox.mutex.
 *   core -> net     the net thread's outbox: filled under the write lock, swapped out under the read slot. No other lock.
 *   core -> log     batches of appends under logger.mutex; log -> core: an atomic zxid.
 * Waking            A thread about to sleep says so (waker.sleeping) and then looks once more for work; who brings work looks at the
 *                   flag afterwards. Both sequentially consistent, so one of the two sees the other.
 * Locks             No thread takes a mutex while it holds either side of the tree lock, nor two mutexes at once. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "metrics.h"
#include "server/clientwire.h"
#include "server/dynconf.h"
#include "server/peer.h"
#include "server/server.h"
#include "server/treelock.h"

enum {
    NET_CHUNK = 64 << 10,           /* read from a socket at once */
    NET_RBUF = 1 << 20,             /* read from all sockets in one turn */
    CONN_OUT_HARD = 32 << 20,       /* with more unsent, a client that still gets events is closed */
    CONN_OUT_KEPT = 256 << 10,      /* a larger output buffer is freed once it is sent; a smaller one when the connection is idle */
    LINGER_MS = 1000,               /* how long a closed connection's peer has to close its side */
    LONE_ENOUGH = 4,                /* that many single writes in a row are a load of single writes */
    APPLY_BATCH = 256,              /* transactions applied per write lock */
    PEER_STOP_MS = 500,             /* the same in an ensemble, where the others go on */
    STOP_TIMEOUT_MS = 10000,        /* an orderly stop waits this long for what is under way */
};

/* ---- waking a sleeping thread ---- */
struct waker {
    int fd; /* eventfd */
    _Atomic bool sleeping;
};
int waker_init(struct waker *w);
void waker_done(struct waker *w);
void waker_wake(struct waker *w); /* a system call only if the thread sleeps */
void waker_wait(struct waker *w, int wait_ms); /* for a thread that waits for nothing else */

/* ---- net -> core ---- */
enum core_msg_type { MSG_CONNECT, MSG_DISCONNECT, MSG_TOUCH, MSG_REQUEST, MSG_FOUR_LETTER };
struct core_msg {
    enum core_msg_type type;
    uint64_t conn;
    int64_t session_id;
    int32_t xid, op;       /* REQUEST */
    int32_t timeout_ms;    /* CONNECT */
    bool read_only;        /* CONNECT: takes a read-only server too */
    int32_t word;          /* FOUR_LETTER: enum four_letter */
    struct auth_ids *ids;  /* REQUEST: a reference */
    size_t off, len;       /* REQUEST body, CONNECT password: in the batch's bytes */
};
struct batch {
    struct VEC(struct core_msg) msgs;
    struct wr bytes;
    struct batch *next;
};
/* A function run on the core thread for another thread that waits for it. */
struct core_call {
    void (*fn)(struct server *s, void *data);
    void *data;
    bool done, refused;
    struct core_call *next;
};
struct inbox {
    pthread_mutex_t mutex;
    pthread_cond_t call_done;
    struct batch *head, **tail, *spare;
    uint32_t spare_count;
    struct core_call *calls;
    bool closed; /* no more calls */
};
void inbox_init(struct inbox *in);
void inbox_done(struct inbox *in);
struct batch *inbox_spare(struct inbox *in);              /* an empty batch */
void inbox_push(struct inbox *in, struct batch *b);       /* takes b */
struct batch *inbox_take(struct inbox *in, struct core_call **ret_calls);
void inbox_recycle(struct inbox *in, struct batch *list);
bool inbox_empty(struct inbox *in);
/* Runs fn on the core thread and waits. False: the core thread is gone. Not from a thread of the server. */
bool inbox_call(struct server *s, void (*fn)(struct server *s, void *data), void *data);
void inbox_finish_calls(struct inbox *in, struct core_call *calls, bool refused);
void inbox_close(struct inbox *in);

/* ---- core -> net ---- */
enum outbox_kind { OUT_REPLY, OUT_EVENT, OUT_SESSION, OUT_SESSION_READ_ONLY, OUT_TEXT, OUT_CLOSE };
struct outbox_item {
    uint64_t conn;
    size_t off, len; /* of its bytes. Several events may share theirs */
    int64_t zxid;    /* REPLY; SESSION: the session's id */
    int32_t op;      /* REPLY; SESSION: timeout_ms; EVENT: type */
    uint32_t kind;
};
struct outbox {
    struct VEC(struct outbox_item) items;
    struct wr bytes;
    /* The event encoded last, so that one change watched by many is encoded once. */
    size_t event_off, event_len;
    int64_t event_zxid;
    int32_t event_type;
};
void outbox_put(struct outbox *o, enum outbox_kind kind, uint64_t conn, struct buf bytes, int64_t zxid, int32_t op);
void outbox_put_event(struct outbox *o, uint64_t conn, enum zk_event_type type, struct jstr path, int64_t zxid);
void outbox_clear(struct outbox *o);
void outbox_free(struct outbox *o);

/* ---- connections ---- */
enum conn_state {
    CONN_NEW,     /* nothing decided: a four-letter word or a ConnectRequest comes */
    CONN_CONNECT, /* the core makes or looks up the session */
    CONN_OPEN,
    CONN_ENDING,  /* closeSession is under way: nothing more is read */
    CONN_FOUR,    /* a four-letter word waits for its text */
    CONN_CLOSING, /* to be closed once its output is sent */
    CONN_LINGER,  /* output sent, write side shut: waiting for the peer's end */
    CONN_DEAD,    /* to be freed at the end of the turn */
};
/* Written by the net thread, read by the core thread under the write lock while the owner may run: hence atomics. */
struct conn_stats {
    _Atomic uint64_t received, sent, latency_sum_ms, latency_count;
    _Atomic int64_t last_zxid, last_response_ms, last_active_ms;
    _Atomic int32_t last_op, last_xid;
    _Atomic uint32_t last_latency_ms, min_latency_ms, max_latency_ms, outstanding;
    _Atomic bool paused;
};
struct sent_write {
    int64_t since_us;
    uint32_t len;
};
struct conn {
    struct watcher watcher; /* first things first: what a fired watch touches */
    uint64_t id;
    _Atomic int64_t session_id; /* these two are shown by the core thread */
    _Atomic int32_t timeout_ms;
    int fd;
    enum conn_state state;
    bool readable;          /* the socket may hold more (edge-triggered) */
    bool hung_up;           /* the peer's end was announced: read on until it comes */
    bool eof;
    bool blocked;           /* what was read waits: behind an own write, for the session, for room in the output */
    bool old_client;        /* its ConnectRequest had no readOnly byte, so the answer has none */
    bool in_ready, in_flush, touched;
    int64_t state_ms;       /* monotonic: when this state began */
    int64_t established_wall_ms;
    const char *close_reason; /* static; logged when the connection is freed */
    struct wr in;           /* bytes not yet executed, from in_off on */
    size_t in_off;
    const uint8_t *view;    /* this turn's bytes: in `in`, or in the net thread's read buffer */
    size_t view_len;
    bool view_borrowed;     /* they are in the read buffer */
    int64_t in_since_us;    /* when the oldest of them came */
    struct wr out;
    size_t out_sent;
    uint32_t outstanding;   /* writes under way */
    size_t outstanding_bytes;
    struct VEC(struct sent_write) sent; /* the writes under way, from sent_head on */
    size_t sent_head;
    struct conn_stats stats;
    char peer[ADDR_TEXT_MAX];
    char peer_ip[ADDR_TEXT_MAX];
};
uint64_t conn_id(uint32_t net, uint32_t generation, uint32_t slot);
static inline uint32_t conn_id_net(uint64_t id)
{
    return (uint32_t)(id >> 56);
}
static inline uint32_t conn_id_slot(uint64_t id)
{
    return (uint32_t)id & 0xffffff;
}

/* ---- net threads ---- */
struct conns VEC(struct conn *);
struct accepted {
    int fd;
    struct sockaddr_storage addr;
};
struct four_request {
    struct conn *c;
    int word;
};
struct net {
    struct server *s;
    uint32_t index; /* also its reader slot */
    pthread_t thread;
    int epfd;
    struct waker waker;
    _Atomic bool mail;    /* the outbox holds something, or fds wait */
    struct conns slots;   /* by slot; NULL: free */
    struct VEC(uint32_t) free_slots;
    uint32_t generation;
    struct watch_table *watches;
    struct outbox outbox; /* filled by the core thread under the write lock */
    struct outbox front;  /* swapped out, ours */
    pthread_mutex_t fd_mutex;
    struct VEC(struct accepted) fds; /* accepted for us, under fd_mutex */
    struct conns ready, turn, flush, dying, touched;
    struct VEC(struct four_request) four;
    struct batch *batch;
    uint8_t *rbuf;
    size_t rbuf_used;
    struct arena arena;
    int64_t now_us, next_touch_ms, next_sweep_ms, accept_again_ms;
    uint64_t turn_requests, turn_reads;
    struct thread_stats stats;
    _Atomic int64_t last_response_us, last_response_size, min_response_size, max_response_size; /* 0: none yet */
    bool quiescent;
};

/* ---- the server ---- */
struct listener {
    int fd;
    _Atomic int port; /* shown by other threads */
    char text[ADDR_TEXT_MAX];
};
struct logger {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_cond_t idle;
    struct log_batch pending, current;
    bool stop, busy, asleep;
    struct txnlog *log;
    _Atomic int64_t persisted;
    struct thread_stats stats;
};
struct snapper {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_cond_t idle;
    bool wanted, stop, busy;
    _Atomic bool held;    /* begins nothing new, gives up a snapshot under way; set under the mutex */
    _Atomic int finished; /* 0 no news, 1 written, 2 failed */
    struct thread_stats stats;
};
enum stop_phase { RUNNING, QUIESCING /* nets read no more */, DRAINED /* the core is done: nets flush and end */ };

struct round;

struct server {
    const struct server_config *cfg;
    struct server_config own_cfg;
    int64_t my_sid;                /* of an ensemble */
    struct storage_config storage;
    struct tree *tree;
    struct core *core;
    struct peer *peer;             /* of an ensemble; NULL: standalone */
    struct qnet *qnet;             /* its sockets */
    struct qsasl *quorum_sasl;      /* NULL: off */
    struct tls_context *quorum_tls; /* theirs; NULL: plain */
    struct round *round;           /* the core thread's */
    enum core_role net_role;       /* what net threads route requests by: STANDALONE, or LEARNER for all of an ensemble's roles */
    struct treelock *lock;
    uint32_t net_count;
    struct net *nets;
    struct VEC(struct listener) listeners;
    struct inbox inbox;
    struct waker core_waker;
    pthread_t core_thread;
    struct logger logger;
    struct snapper snapper;
    struct thread_stats core_stats;
    _Atomic int stop;              /* enum stop_phase */
    _Atomic uint32_t quiet_nets;
    _Atomic bool serving;
    _Atomic int role;              /* enum core_role, as of the last change */
    _Atomic bool dead;             /* server_fatal was called: nothing is committed any more */
    _Atomic int64_t applied_zxid;  /* after the last core_apply: what ConnectRequests are compared with */
    _Atomic int64_t outstanding;   /* writes under way, all connections */
    _Atomic int64_t connections;
    _Atomic uint32_t generation;   /* of the figures */
    int64_t started_ms;
    pthread_mutex_t ip_mutex;
    struct strmap ip_counts;       /* address -> count, as a pointer-sized number */
    void (*fatal)(void *data, const char *text);
    void *fatal_data;
    char *client_address;          /* of an ensemble: where our line in the list, or the file, says that clients connect. Core thread */
    struct dynconf_keeper keeper;  /* of an ensemble: what the next start is to find. Core thread */
    char *move_to;                 /* where clients connect from now on ("ADDR:PORT"), for net thread 0 to carry out; under its fd_mutex */
    char *moving_to;               /* the last of these; net thread 0, as what follows */
    struct resolver *move_names;   /* NULL: no name was met yet */
    uint64_t move_job;             /* of its; 0: nothing is being resolved */
    uint32_t next_net;             /* round robin of accepted connections; net thread 0 */
    char build[64];
};

/* Reader slots beside the net threads'. */
static inline uint32_t reader_snapshot(const struct server *s)
{
    return s->net_count;
}

/* The server cannot go on. Does not return unless the handler of server_on_fatal does; then nothing is committed or answered any more. Any
 * thread. */
void server_fatal(struct server *s, const char *text);

/* net.c */
int net_init(struct net *n, struct server *s, uint32_t index);
void net_start(struct net *n);
void net_done(struct net *n); /* after its thread ended */
void net_wake(struct net *n);
void net_listen(struct net *n); /* accepts (again) on every listener */
bool net_watch_move(struct net *n, int fd); /* listen_move_resolved when it is readable */
/* listen.c */
int listen_all(struct server *s, struct storage_error *err); /* RC_INUSE, RC_DENIED, RC_IO, RC_INVAL */
/* Any thread. The first client port moves to "ADDR:PORT", or "NAME:PORT" once that is resolved; connections that there are stay. */
void listen_move(struct server *s, const char *address);
void listen_take_move(struct net *n); /* net thread 0: carries it out */
void listen_move_resolved(struct net *n);
/* conn.c: what happens to one connection. All run on its net thread. */
struct conn *conn_new(struct net *n, const struct accepted *a);
void conn_receive(struct net *n, struct conn *c);              /* outside the read slot: one read from the socket */
void conn_execute(struct net *n, struct conn *c);              /* inside: parse and execute what is there */
void conn_keep_rest(struct net *n, struct conn *c);            /* after execution: keep what was not executed */
void conn_deliver(struct net *n, const struct outbox_item *it, const uint8_t *bytes);
void conn_flush(struct net *n, struct conn *c);
void conn_close(struct net *n, struct conn *c, const char *reason); /* now; reason (static) NULL: in good order */
void conn_close_after_flush(struct net *n, struct conn *c);
void conn_append_text(struct net *n, struct conn *c, struct buf text); /* a four-letter word's answer; then close */
struct conn *net_find(struct net *n, uint64_t id);
struct core_msg *net_message(struct net *n, enum core_msg_type type, const struct conn *c); /* in this turn's batch */
void net_tell_touch(struct net *n, struct conn *c); /* what was heard of it since the last time */
void conn_free(struct net *n, struct conn *c);
void net_want_flush(struct net *n, struct conn *c);
void net_want_ready(struct net *n, struct conn *c);
void net_give_way(struct net *n);                              /* between two requests: lets a waiting writer in */

/* logthread.c */
void logger_start(struct server *s);
void logger_stop(struct server *s);
/* Core thread. Appends a batch behind what waits; b is empty afterwards. */
void logger_push(struct server *s, struct log_batch *b);
void logger_unlock(struct logger *l); /* the mutex, after something was put into `pending`: wakes the log thread if it sleeps */
/* Core thread. Appends and syncs one transaction on the calling thread, if the log thread has nothing to do; false: it has. */
bool logger_sync_here(struct server *s, int64_t zxid, struct buf txn);
/* Waits until everything pushed is durable. Until the next push the log is the caller's. */
void logger_drain(struct server *s);
/* snapthread.c */
void snapper_start(struct server *s);
void snapper_request(struct server *s);
void snapper_stop(struct server *s);
/* Core thread. Lets nothing begin until snapper_release, forgets a snapshot that was only asked for and gives up one under way; one whose walk over the
 * tree is over is finished. Does not wait. */
void snapper_hold(struct server *s);
void snapper_wait(struct server *s); /* held: until nothing is under way */
void snapper_release(struct server *s);
/* corethread.c */
void *core_main(void *server);
/* host.c: the peer of this server and its sockets. Settling reads myid and, when no client address was set, takes the one of our server line:
 * before the sockets are opened. */
int host_settle_config(struct server *s, struct storage_error *err);
int host_peer_new(struct server *s, struct storage_error *err);
void host_peer_free(struct server *s);
/* For the quorum peer, core thread only. round_drain applies all that is committed and carries out every effect of the core. round_become
 * changes the core's role and lets no read be executed in between by a connection that the change closes. */
void round_drain(struct round *r);
void round_become(struct round *r, enum core_role role, int64_t epoch);
/* server.c: replaces the tree; takes it. The core is NONE, the snapshot thread held. */
void server_set_tree(struct server *s, struct tree *t);
void core_fire(void *net, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid);

/* config.c: server_config_read without the file. */
int server_config_parse(struct server_config *cfg, const char *path, const char *text, size_t n, struct storage_error *err);

/* fourletter.c. X(word): in the order of the reference's list. */
#define FOUR_LETTER_WORDS(X)                                                                                 \
    X(conf) X(cons) X(crst) X(dirs) X(dump) X(envi) X(isro) X(mntr) X(ruok) X(srst) X(srvr) X(stat) X(wchc)  \
    X(wchp) X(wchs)
enum four_letter {
#define X(word) FOUR_##word,
    FOUR_LETTER_WORDS(X)
#undef X
    FOUR_COUNT
};
int four_letter_find(const uint8_t word[4]);               /* -1: none */
const char *four_letter_name(int word);
bool four_letter_allowed(const char *whitelist, int word);
bool four_letter_local(int word);                          /* answered by any thread, without the core thread */
void four_letter_answer(struct server *s, int word, struct wr *w); /* others: core thread, no lock held */
/* peer_figures.c. Core thread, no lock held. Figures of an ensemble for mntr and for the metrics page; the latter nothing when standalone. */
void peer_mntr(const struct peer *p, const struct peer_info *info, struct wr *w);
void peer_prometheus(const struct server *s, struct wr *w);
/* Core thread, no lock held. */
void figures_collect(struct server *s, struct figures *f);

#endif
