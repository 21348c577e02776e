/* session.h - the client's connection and session as one state machine without sockets, clock or randomness.
 *
 * The shell    tells it what happened (connected, bytes, disconnected, time) and then does what session_poll and
 *              s->out ask for: dial a server, hang up, write bytes, wake it at session_wake_ms.
 * Callbacks    (results, watchers, hooks) run inside the calls that bring news: session_input, session_disconnected,
 *              session_tick. They may call session_submit and session_close; nothing is freed under them.
 * Threading    one thread.
 * Units        ms on one monotonic clock that the shell chooses; now_ms must not go back.
 * Source       ZooKeeper Programmer's Guide, "ZooKeeper Sessions"; ClientCnxn (3.9) for the timing rules. */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include "base/arena.h"
#include "base/list.h"
#include "jute/records.h"
#include "quoll/quoll.h"
#include "watches.h"

#define SESSION_REQUESTS_MAX 262144            /* unfinished requests of one client */
#define SESSION_UNSENT_MAX   (64u << 20)       /* bytes of requests that wait for a connection, or for the socket */
#define SESSION_WATCH_BATCH  (128u << 10)      /* path bytes in one setWatches */
#define SESSION_CLOSE_MS     2000              /* how long closing waits for the server */

/* One operation from its call to its result. Owned by the session once submitted. */
struct request {
    struct list link;
    int32_t type;        /* opcode */
    int32_t xid;         /* once sent */
    int64_t deadline_ms; /* 0: none; relative to the submission until then */
    size_t heap_at;      /* place in the deadline heap + 1; 0: not in it */
    struct wr frame;     /* whole frame; the xid is filled in when it is sent */
    quoll_done_fn done;  /* NULL: nobody waits */
    void *data;
    /* The watch that a successful reply registers, or that a REMOVE_WATCHES removes. */
    char *path; /* server path; NULL: none */
    struct watcher watcher;
    enum watch_kind reg;
    unsigned remove_kinds;
    bool any_watcher; /* remove: every pair */
    int err;          /* result of a request that is answered without the server */
    bool cache;       /* of a tree cache: does not count against the limits */
};
/* Begins a request; the frame's header is written, the body is the caller's to append. */
struct request *request_new(int32_t type, quoll_done_fn done, void *data);
void request_free(struct request *r);

struct session_hooks {
    void (*state)(void *ctx, enum quoll_state state); /* after the watchers were told; EXPIRED included */
    void (*log)(void *ctx, const char *text);
    void *ctx;
};

struct server_addr;
struct session_config {
    quoll_client *client; /* handed to callbacks, never looked into */
    struct session_hooks hooks;
    const char *chroot;               /* borrowed for the session's life */
    const struct server_addr *servers; /* the same */
    size_t server_count;
    int32_t timeout_ms;
    uint32_t max_buffer;
    bool read_only, no_new_session, no_shuffle;
    uint64_t seed;
};

enum session_phase {
    PHASE_WAITING,   /* for dial_at_ms */
    PHASE_DIALING,   /* the shell connects */
    PHASE_HANDSHAKE, /* ConnectRequest sent */
    PHASE_UP,
    PHASE_DEAD, /* final */
};

struct auth {
    char *scheme;
    void *cert;
    size_t cert_len;
    quoll_done_fn done; /* cleared when called */
    void *data;
};

struct session {
    struct session_config cfg;
    enum session_phase phase;
    enum quoll_state state; /* as shown to the user */
    int64_t now_ms;
    uint64_t rng;

    size_t *order; /* the shuffled list: indexes into cfg.servers */
    size_t pos;    /* in order: the server of the current or next attempt */
    size_t failed_in_row;
    bool ever_dialed;
    bool io_dial, io_hang_up; /* what session_poll reports */
    int64_t dial_at_ms, connect_deadline_ms;

    int64_t id;
    uint8_t passwd[64];
    size_t passwd_len;
    int32_t timeout_ms; /* negotiated; 0 before the first connection */
    int64_t last_zxid;
    int64_t zxid_reset_ms;  /* 0, or when a last_zxid of an expired session is given up */
    bool seen_read_write;
    int64_t last_recv_ms, last_send_ms;
    int32_t next_xid;

    struct wr in;      /* bytes of an incomplete frame */
    struct wr out;     /* for the shell to take */
    uint64_t skip;     /* bytes of an oversized reply still to pass over */
    struct list queue; /* not sent */
    struct list sent;  /* in order of xid */
    struct list local; /* answered without the server at the next tick */
    size_t request_count, unsent_bytes;
    size_t add_watches_sent; /* addWatch requests in .sent */
    struct VEC(struct request *) heap; /* by deadline */
    struct watches watches;
    struct VEC(struct auth *) auths;
    struct VEC(struct auth *) auths_sent; /* replies outstanding, oldest first */
    size_t set_watches_sent;
    bool no_add_watch; /* the server said that it does not know addWatch */
    bool lasting_sent;  /* ... in the last setWatches: a -6 answers that */
    bool no_create2, create2_known; /* servers before 3.5 have only create */

    bool closing, finished;
    int64_t close_deadline_ms;

    /* read-only: looking for a server that writes */
    size_t probe_pos;
    int64_t probe_at_ms;
    int32_t probe_delay_ms;
    bool probing, io_probe;

    struct arena arena; /* of the reply being delivered */
    char *last_log;
    int64_t last_log_ms;
};

void session_init(struct session *s, const struct session_config *cfg, int64_t now_ms);
/* Only when finished, or never started. */
void session_done(struct session *s);

/* Takes r. Returns 0, or a negative ZooKeeper code; r is freed then and its callback not called. */
int session_submit(struct session *s, struct request *r, int64_t now_ms);
/* Takes a. Remembers the credentials and sends them; a->done is called when the server has answered. */
int session_add_auth(struct session *s, struct auth *a, int64_t now_ms);
/* Removes a watcher everywhere without telling it, also from requests whose reply would register it. When nobody else here
 * watches path, the server is told. */
void session_forget(struct session *s, const char *path, struct watcher w, int64_t now_ms);
/* Begins the end. detach: leaves the session on the server. Idempotent. */
void session_close(struct session *s, bool detach, int64_t now_ms);
/* True when nothing more will happen: every callback has been called. */
static inline bool session_finished(const struct session *s)
{
    return s->finished;
}

/* The shell has connected to the server that SESSION_DIAL named. */
void session_connected(struct session *s, int64_t now_ms);
void session_input(struct session *s, const void *p, size_t n, int64_t now_ms);
/* The attempt failed or the connection ended; why is for people. */
void session_disconnected(struct session *s, const char *why, int64_t now_ms);
/* Answer to SESSION_PROBE. */
void session_probed(struct session *s, bool writes, int64_t now_ms);
void session_tick(struct session *s, int64_t now_ms);
/* When session_tick is due; INT64_MAX: never. */
int64_t session_wake_ms(const struct session *s);

enum session_io {
    SESSION_NOTHING,
    SESSION_HANG_UP, /* drop the connection or the attempt; forget its bytes */
    SESSION_DIAL,    /* connect to server *ret_server */
    SESSION_PROBE,   /* ask server *ret_server "isro" on a connection of its own */
};
/* The next thing to do; call until SESSION_NOTHING. */
enum session_io session_poll(struct session *s, size_t *ret_server);

/* The server of the current or last attempt. */
static inline size_t session_server(const struct session *s)
{
    return s->order[s->pos];
}
uint64_t session_random(struct session *s);

#endif
