/* quoll.h - ZooKeeper client: asynchronous, on your libuv loop or on a thread of its own.
 *
 * Works with Quoll and Apache ZooKeeper 3.5 and later (3.4 without the newer operations).
 *
 * Threading  With options.loop set, everything (calls and callbacks) happens on that loop's thread. Without, the
 *            client runs a thread of its own: calls may come from any thread, callbacks come from the client's
 *            thread, and the *_sync calls may be used (never from a callback).
 * Ordering   Requests are sent, and their results delivered, in the order of the calls. A watch event is delivered
 *            before any result that shows the changed data.
 * Ownership  Arguments are copied before a call returns. What a callback is handed is borrowed for the call.
 * Errors     A call returns 0, or a negative ZooKeeper code at once (QUOLL_BAD_ARGUMENTS, QUOLL_CLOSING, ...) and then its callback is
 *            not called. Otherwise the callback is called exactly once, whatever happens.
 *            QUOLL_CONNECTION_LOSS on a write means: the outcome is unknown.
 * Session    Reconnects by itself (shuffled server list, back-off), re-attaches the session, replays auth and
 *            re-registers watches. An expired session is reported once; then, unless options.no_new_session is
 *            set, a new session is made and the client goes on: ephemerals and pending operations of the old one
 *            are gone, one-shot watches have been told (event QUOLL_EVENT_SESSION), persistent ones are set again. */
#ifndef QUOLL_QUOLL_H
#define QUOLL_QUOLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUOLL_API __attribute__((visibility("default")))

struct uv_loop_s; /* uv_loop_t of <uv.h> */
typedef struct quoll_client quoll_client;

/* Result codes: ZooKeeper's KeeperException codes. 0 is success. */
enum quoll_err {
    QUOLL_OK = 0,
    QUOLL_SYSTEM_ERROR = -1,
    QUOLL_CONNECTION_LOSS = -4,
    QUOLL_MARSHALLING_ERROR = -5,
    QUOLL_UNIMPLEMENTED = -6,
    QUOLL_OPERATION_TIMEOUT = -7,
    QUOLL_BAD_ARGUMENTS = -8,
    QUOLL_NEW_CONFIG_NO_QUORUM = -13,
    QUOLL_RECONFIG_IN_PROGRESS = -14,
    QUOLL_NO_NODE = -101,
    QUOLL_NO_AUTH = -102,
    QUOLL_BAD_VERSION = -103,
    QUOLL_NO_CHILDREN_FOR_EPHEMERALS = -108,
    QUOLL_NODE_EXISTS = -110,
    QUOLL_NOT_EMPTY = -111,
    QUOLL_SESSION_EXPIRED = -112,
    QUOLL_INVALID_ACL = -114,
    QUOLL_AUTH_FAILED = -115,
    QUOLL_CLOSING = -116,
    QUOLL_SESSION_MOVED = -118,
    QUOLL_NOT_READ_ONLY = -119,
    QUOLL_NO_WATCHER = -121,
    QUOLL_RECONFIG_DISABLED = -123,
    QUOLL_QUOTA_EXCEEDED = -125,
    QUOLL_THROTTLED = -127, /* not executed: too much is pending, here or on the server */
};
/* "no node"; never NULL. */
QUOLL_API const char *quoll_strerror(int err);

enum quoll_state {
    QUOLL_STATE_CONNECTING,
    QUOLL_STATE_CONNECTED,
    QUOLL_STATE_READ_ONLY,
    QUOLL_STATE_EXPIRED,     /* told once; CONNECTING follows unless no_new_session */
    QUOLL_STATE_AUTH_FAILED, /* final */
    QUOLL_STATE_CLOSED,      /* final */
};

struct quoll_stat {
    int64_t czxid, mzxid, ctime, mtime; /* times: ms since the epoch */
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner; /* session id; 0: not an ephemeral */
    int32_t data_length, num_children;
    int64_t pzxid;
};

struct quoll_acl {
    int32_t perms; /* QUOLL_PERM_* or-ed */
    const char *scheme, *id;
};
enum { QUOLL_PERM_READ = 1, QUOLL_PERM_WRITE = 2, QUOLL_PERM_CREATE = 4, QUOLL_PERM_DELETE = 8, QUOLL_PERM_ADMIN = 16,
       QUOLL_PERM_ALL = 31 };

enum quoll_create_mode {
    QUOLL_PERSISTENT,
    QUOLL_EPHEMERAL,
    QUOLL_PERSISTENT_SEQUENTIAL,
    QUOLL_EPHEMERAL_SEQUENTIAL,
    QUOLL_CONTAINER,
    QUOLL_PERSISTENT_TTL,
    QUOLL_PERSISTENT_SEQUENTIAL_TTL,
};

enum quoll_event_type {
    QUOLL_EVENT_SESSION = -1, /* the connection's state changed; path is "" */
    QUOLL_EVENT_CREATED = 1,
    QUOLL_EVENT_DELETED = 2,
    QUOLL_EVENT_DATA_CHANGED = 3,
    QUOLL_EVENT_CHILDREN_CHANGED = 4,
    QUOLL_EVENT_WATCH_REMOVED = 5, /* by quoll_remove_watches: this watcher's last call */
};

struct quoll_event {
    enum quoll_event_type type;
    enum quoll_state state;
    const char *path; /* without the chroot */
    int64_t zxid;     /* of the change, from servers that tell (3.9); -1 otherwise */
};
/* A watcher is the pair (fn, data). One-shot watchers get one event about their path; all get SESSION events. */
typedef void (*quoll_watch_fn)(quoll_client *c, const struct quoll_event *ev, void *data);

/* What one operation gave. Which fields are set depends on the operation. */
struct quoll_result {
    int err;
    int64_t zxid;
    const char *path;              /* create: the final name; sync */
    const void *data;              /* get */
    size_t data_len;               /*   NULL and 0: the node's data is null */
    const struct quoll_stat *stat; /* create (when the server tells), get, set, exists, get_acl, children, set_acl */
    const char *const *children;   /* get_children, get_ephemerals: names / paths, unsorted */
    size_t child_count;
    const struct quoll_acl *acls;  /* get_acl; who_am_i: scheme and id of each identity, perms 0 */
    size_t acl_count;
    int32_t count;                 /* get_all_children_number */
    const struct quoll_result *results; /* multi, multi_read: one per operation; err of the whole is the first that failed */
    size_t result_count;
};
typedef void (*quoll_done_fn)(quoll_client *c, const struct quoll_result *res, void *data);

struct quoll_options {
    /* "host:port,host2,[::1]:2181/chroot"; the port defaults to 2181. Host names are resolved again at every attempt. */
    const char *servers;
    int32_t session_timeout_ms;  /* asked for; 0: 10000. The server may grant another */
    int32_t operation_timeout_ms; /* default deadline of an operation, from the call; 0: none. Result QUOLL_OPERATION_TIMEOUT */
    struct uv_loop_s *loop;      /* NULL: own thread */
    bool read_only;              /* accept a read-only server */
    bool no_new_session;         /* stop at expiry */
    bool no_shuffle;             /* keep the order of `servers` */
    uint32_t max_buffer;         /* largest reply in bytes; 0: 4 MiB. A larger one gives QUOLL_MARSHALLING_ERROR */
    uint32_t max_request;        /* largest request in bytes, refused with QUOLL_BAD_ARGUMENTS; 0: 1048575, the servers' default */
    /* Session events: connected, connecting, expired... May be NULL. */
    void (*on_state)(quoll_client *c, enum quoll_state state, void *data);
    /* One line for people about connection trouble ("127.0.0.1:2181: connection refused"); may be NULL. No secrets. */
    void (*on_log)(quoll_client *c, const char *text, void *data);
    void *data;
};

/* Checks the options and begins to connect. QUOLL_BAD_ARGUMENTS: bad connection string; *ret_error (may be NULL) is then
 * an owned line for people, to be freed. */
QUOLL_API int quoll_open(const struct quoll_options *opt, quoll_client **ret, char **ret_error);
/* Closes the session (bounded wait), fails what is pending with QUOLL_CLOSING, frees the client. Own thread: blocks until done.
 * Caller's loop: returns at once, `closed` (may be NULL) is called from the loop when all is freed. */
QUOLL_API void quoll_close(quoll_client *c, void (*closed)(void *data), void *data);
/* Drops the connection and keeps the session alive on the server until its timeout: for hand-over. Else as quoll_close. */
QUOLL_API void quoll_detach(quoll_client *c, void (*closed)(void *data), void *data);

QUOLL_API enum quoll_state quoll_client_state(const quoll_client *c);
QUOLL_API int64_t quoll_session_id(const quoll_client *c);
QUOLL_API int32_t quoll_session_timeout_ms(const quoll_client *c); /* granted */
QUOLL_API const char *quoll_server(const quoll_client *c);         /* "127.0.0.1:2181" it is or was last connected to; "" */
QUOLL_API void *quoll_client_data(const quoll_client *c);          /* options.data */
QUOLL_API struct uv_loop_s *quoll_client_loop(const quoll_client *c); /* options.loop; NULL: it has a thread of its own */

/* Adds credentials ("digest", "user:password"); remembered and replayed after every reconnect. */
QUOLL_API int quoll_add_auth(quoll_client *c, const char *scheme, const void *cert, size_t cert_len,
                             quoll_done_fn done, void *data);

/* acls NULL: world:anyone, all permissions. value NULL with len 0 stores null. ttl_ms is for the TTL modes. */
QUOLL_API int quoll_create(quoll_client *c, const char *path, const void *value, size_t len,
                           const struct quoll_acl *acls, size_t acl_count, enum quoll_create_mode mode, int64_t ttl_ms,
                           quoll_done_fn done, void *data);
QUOLL_API int quoll_delete(quoll_client *c, const char *path, int32_t version, quoll_done_fn done, void *data);
/* watch may be NULL; else (watch, watch_data) is set as a one-shot watch when the read succeeds (exists: or finds no node). */
QUOLL_API int quoll_exists(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done,
                           void *data);
QUOLL_API int quoll_get(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data, quoll_done_fn done,
                        void *data);
QUOLL_API int quoll_set(quoll_client *c, const char *path, const void *value, size_t len, int32_t version,
                        quoll_done_fn done, void *data);
QUOLL_API int quoll_get_children(quoll_client *c, const char *path, quoll_watch_fn watch, void *watch_data,
                                 quoll_done_fn done, void *data);
QUOLL_API int quoll_get_acl(quoll_client *c, const char *path, quoll_done_fn done, void *data);
QUOLL_API int quoll_set_acl(quoll_client *c, const char *path, const struct quoll_acl *acls, size_t acl_count,
                            int32_t version, quoll_done_fn done, void *data);
QUOLL_API int quoll_sync(quoll_client *c, const char *path, quoll_done_fn done, void *data);
QUOLL_API int quoll_get_ephemerals(quoll_client *c, const char *prefix, quoll_done_fn done, void *data);
QUOLL_API int quoll_get_all_children_number(quoll_client *c, const char *path, quoll_done_fn done, void *data);
/* The members of the ensemble, as the result's value: lines "server.N=...", then "version=HEX" (also in its mzxid). Whatever the chroot. The watch as in quoll_get. */
QUOLL_API int quoll_get_config(quoll_client *c, quoll_watch_fn watch, void *watch_data, quoll_done_fn done, void *data);
/* Changes the members. Either new_members ("server.N=host:port:port[:role];[host:]port" lines, apart by commas or newlines) replaces all, or leaving (ids) go and
 * joining (such lines) come or are replaced; NULL: nothing of that kind. from_version: only if this is the version, -1: any. The result's value is the new
 * configuration. Answers, beside the usual: QUOLL_RECONFIG_DISABLED, _RECONFIG_IN_PROGRESS, _NEW_CONFIG_NO_QUORUM, _NO_AUTH (superusers may). */
QUOLL_API int quoll_reconfig(quoll_client *c, const char *joining, const char *leaving, const char *new_members, int64_t from_version,
                             quoll_done_fn done, void *data);
QUOLL_API int quoll_who_am_i(quoll_client *c, quoll_done_fn done, void *data);

/* Persistent watches (server 3.6+; QUOLL_UNIMPLEMENTED from older ones, without losing the session). */
QUOLL_API int quoll_add_watch(quoll_client *c, const char *path, bool recursive, quoll_watch_fn watch, void *watch_data,
                              quoll_done_fn done, void *data);
enum quoll_watcher_kind { QUOLL_WATCHER_CHILDREN = 1, QUOLL_WATCHER_DATA = 2, QUOLL_WATCHER_ANY = 3,
                          QUOLL_WATCHER_PERSISTENT = 4, QUOLL_WATCHER_RECURSIVE = 5 };
/* watch NULL: all of the client's watchers of that kind on path. */
QUOLL_API int quoll_remove_watches(quoll_client *c, const char *path, enum quoll_watcher_kind kind, quoll_watch_fn watch,
                                   void *watch_data, quoll_done_fn done, void *data);
/* Asks the server whether it holds a watch of that kind for this connection: QUOLL_OK or QUOLL_NO_WATCHER. */
QUOLL_API int quoll_check_watches(quoll_client *c, const char *path, enum quoll_watcher_kind kind, quoll_done_fn done,
                                  void *data);

/* One step of a multi. */
enum quoll_op_type { QUOLL_OP_CREATE, QUOLL_OP_DELETE, QUOLL_OP_SET, QUOLL_OP_CHECK, QUOLL_OP_GET, QUOLL_OP_GET_CHILDREN };
struct quoll_op {
    enum quoll_op_type type;
    const char *path;
    const void *value;             /* create, set */
    size_t len;
    int32_t version;               /* delete, set, check; -1: any */
    enum quoll_create_mode mode;   /* create */
    int64_t ttl_ms;
    const struct quoll_acl *acls;
    size_t acl_count;
};
/* All or nothing: CREATE, DELETE, SET, CHECK. */
QUOLL_API int quoll_multi(quoll_client *c, const struct quoll_op *ops, size_t count, quoll_done_fn done, void *data);
/* Independent reads in one request (server 3.6+): GET, GET_CHILDREN. */
QUOLL_API int quoll_multi_read(quoll_client *c, const struct quoll_op *ops, size_t count, quoll_done_fn done, void *data);

/* Deadline of the operations that this thread starts next on c, in ms from each call; 0: options.operation_timeout_ms. */
QUOLL_API void quoll_set_deadline(quoll_client *c, int32_t timeout_ms);

/* Clients with their own thread only: waits until connected. QUOLL_OPERATION_TIMEOUT after timeout_ms. */
QUOLL_API int quoll_wait_connected(quoll_client *c, int32_t timeout_ms);

/* ---- tree cache ----------------------------------------------------------------------------------------------
 * A copy of the subtree at `root`, kept fresh by one persistent recursive watch (falls back to per-node watches on
 * servers before 3.6) and reported as differences. After a loss of the session, or a disconnect, the tree is read again
 * and compared: it is never reported empty because of the loss. A root that does not exist is an empty tree, and is waited for.
 * All calls and callbacks on the client's loop thread (of a client with its own thread: from its callbacks). A node that
 * the server does not let us read is not in the copy. Close a cache before its client, or at any time after. */
typedef struct quoll_cache quoll_cache;

enum quoll_cache_change { QUOLL_CACHE_ADDED, QUOLL_CACHE_CHANGED, QUOLL_CACHE_REMOVED };

struct quoll_cache_node {
    const char *path; /* whole path, without the chroot */
    const void *data; /* REMOVED: the last known data */
    size_t data_len;
    struct quoll_stat stat;
};

struct quoll_cache_handler {
    void *data;
    /* A parent is ADDED before its children and REMOVED after them. CHANGED: data or version differ. */
    void (*on_change)(quoll_cache *cache, enum quoll_cache_change change, const struct quoll_cache_node *node, void *data);
    /* The copy equals what the server showed after the (re)connection. Called after the first complete read, and
     * each time the copy has caught up again after a disconnect. */
    void (*on_synced)(quoll_cache *cache, void *data);
    /* The connection is lost: the copy stands and may be behind. May be NULL. */
    void (*on_stale)(quoll_cache *cache, void *data);
};

QUOLL_API int quoll_cache_open(quoll_client *c, const char *root, const struct quoll_cache_handler *h, quoll_cache **ret);
/* No callback after the return. */
QUOLL_API void quoll_cache_close(quoll_cache *cache);
QUOLL_API bool quoll_cache_synced(const quoll_cache *cache); /* has been complete at least once */
/* How long the copy may have been behind, in ms: 0 while connected and caught up; -1 never complete. */
QUOLL_API int64_t quoll_cache_stale_ms(const quoll_cache *cache);
/* NULL when absent; borrowed until the next event of the loop. */
QUOLL_API const struct quoll_cache_node *quoll_cache_get(const quoll_cache *cache, const char *path);
/* Calls fn for each child of path (order unspecified); returns their number. fn may be NULL. */
QUOLL_API size_t quoll_cache_children(const quoll_cache *cache, const char *path,
                                      void (*fn)(const struct quoll_cache_node *child, void *data), void *data);

#ifdef __cplusplus
}
#endif

#endif
