/* client.h - the client object behind quoll.h: the session core, the libuv shell, the own thread.
 *
 * Threading  everything belongs to the loop's thread, except: the published fields (atomics), the inbox of a client with
 *            its own thread (under its mutex), and what never changes after quoll_open. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <stdatomic.h>
#include <uv.h>

#include "client/connstr.h"
#include "quoll/quoll.h"
#include "session.h"

struct conn;
struct own_thread;

/* Someone in this module who follows the connection's state, as the tree cache does. */
struct state_listener {
    struct list link;
    void (*fn)(struct state_listener *l, enum quoll_state state);
    /* The client is about to be freed; the listener is unlinked already. */
    void (*gone)(struct state_listener *l);
};

struct deadline {
    pthread_t thread;
    int32_t timeout_ms;
};

struct quoll_client {
    struct session session;
    struct connstr servers;
    struct quoll_options opt; /* .servers is not kept */
    uint32_t max_request;
    struct list listeners;
    int64_t (*clock)(const quoll_client *c); /* the shell's, or the test's */

    /* Published for any thread. */
    _Atomic int state;
    _Atomic int64_t id;
    _Atomic int32_t timeout_ms;
    _Atomic(const char *) server;
    struct strmap server_texts; /* every address ever shown, kept so that quoll_server's text stays valid */

    /* Deadlines set by quoll_set_deadline, of each thread that did. */
    pthread_mutex_t deadlines_lock;
    struct VEC(struct deadline) deadlines;

    /* Shell; loop is NULL in tests that drive the core themselves. */
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_idle_t flush;
    struct conn *conn;
    struct conn *probe;
    unsigned handles; /* open libuv handles of this client, conns included */
    bool in_core, tearing_down;
    void (*closed)(void *data);
    void *closed_data;

    struct own_thread *own; /* NULL: the caller's loop */
};

/* Makes a client without shell: its session, ready to be driven. Errors as of quoll_open. */
int client_new(const struct quoll_options *opt, uint64_t seed, int64_t now_ms, quoll_client **ret, char **ret_error);
void client_free(quoll_client *c);
static inline int64_t client_now(const quoll_client *c)
{
    return c->clock(c);
}
void client_publish_server(quoll_client *c, const char *text);
void client_listen(quoll_client *c, struct state_listener *l);

/* Hands r to the session: at once on the loop's thread, else through the inbox. Takes r. */
int client_submit(quoll_client *c, struct request *r);
/* A read of the cache: as the public call, without deadline, exempt from the limits. watch may be NULL. */
int client_cache_read(quoll_client *c, int32_t opcode, const char *path, quoll_watch_fn watch, void *watch_data,
                      quoll_done_fn done, void *data);
int client_cache_watch(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done,
                       void *data);
/* The watcher hears nothing any more, also of requests in flight; the server is asked to forget it where no other watcher
 * of ours depends on its entry. */
void client_cache_forget(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data);

/* shell.c */
void shell_start(quoll_client *c, uv_loop_t *loop);
/* The session has something to do: have it done before the loop blocks. */
void shell_kick(quoll_client *c);
void shell_close(quoll_client *c, bool detach, void (*closed)(void *data), void *data);

/* thread.c */
int thread_start(quoll_client *c);
/* True when this is not the thread that owns c's session. */
bool thread_is_foreign(const quoll_client *c);
/* Takes r or a (one is NULL). */
int thread_post(quoll_client *c, struct request *r, struct auth *a);
void thread_close(quoll_client *c, bool detach, void (*closed)(void *data), void *data);
void thread_state_changed(quoll_client *c);

#endif
