/* proto.h - the constants of ZooKeeper's client protocol: opcodes, error codes, flags, event types.
 * Source: org.apache.zookeeper.ZooDefs, KeeperException.Code, Watcher.Event, CreateMode (3.9). */
#ifndef JUTE_PROTO_H
#define JUTE_PROTO_H

#include <stdbool.h>
#include <stdint.h>

/* X(NAME, code, short name as in the four-letter word `cons`) */
#define ZK_OPS(X)                                                                                            \
    X(NOTIFICATION, 0, "NOTI")                                                                               \
    X(CREATE, 1, "CREA")                                                                                     \
    X(DELETE, 2, "DELE")                                                                                     \
    X(EXISTS, 3, "EXIS")                                                                                     \
    X(GET_DATA, 4, "GETD")                                                                                   \
    X(SET_DATA, 5, "SETD")                                                                                   \
    X(GET_ACL, 6, "GETA")                                                                                    \
    X(SET_ACL, 7, "SETA")                                                                                    \
    X(GET_CHILDREN, 8, "GETC")                                                                               \
    X(SYNC, 9, "SYNC")                                                                                       \
    X(PING, 11, "PING")                                                                                      \
    X(GET_CHILDREN2, 12, "GETC")                                                                             \
    X(CHECK, 13, "CHEC")                                                                                     \
    X(MULTI, 14, "MULT")                                                                                     \
    X(CREATE2, 15, "CRE2")                                                                                   \
    X(RECONFIG, 16, "RECO")                                                                                  \
    X(CHECK_WATCHES, 17, "CHKW")                                                                             \
    X(REMOVE_WATCHES, 18, "REMW")                                                                            \
    X(CREATE_CONTAINER, 19, "CREC")                                                                          \
    X(DELETE_CONTAINER, 20, "DELC")                                                                          \
    X(CREATE_TTL, 21, "CRET")                                                                                \
    X(MULTI_READ, 22, "MULR")                                                                                \
    X(AUTH, 100, "AUTH")                                                                                     \
    X(SET_WATCHES, 101, "SETW")                                                                              \
    X(SASL, 102, "SASL")                                                                                     \
    X(GET_EPHEMERALS, 103, "GETE")                                                                           \
    X(GET_ALL_CHILDREN_NUMBER, 104, "GACN")                                                                  \
    X(SET_WATCHES2, 105, "SETW")                                                                             \
    X(ADD_WATCH, 106, "ADDW")                                                                                \
    X(WHO_AM_I, 107, "WHOA")                                                                                 \
    X(CREATE_SESSION, -10, "SESS")                                                                           \
    X(CLOSE_SESSION, -11, "CLOS")                                                                            \
    X(ERROR, -1, "ERRO")

enum zk_op {
#define X(name, code, shortname) ZK_OP_##name = code,
    ZK_OPS(X)
#undef X
};
const char *zk_op_name(int32_t op);       /* "CREATE", or "?" */
const char *zk_op_short_name(int32_t op); /* "CREA", or "NA" */

/* X(NAME, code, text) */
#define ZK_ERRORS(X)                                                                                         \
    X(OK, 0, "ok")                                                                                           \
    X(SYSTEMERROR, -1, "system error")                                                                       \
    X(RUNTIMEINCONSISTENCY, -2, "run time inconsistency")                                                    \
    X(DATAINCONSISTENCY, -3, "data inconsistency")                                                           \
    X(CONNECTIONLOSS, -4, "connection loss")                                                                 \
    X(MARSHALLINGERROR, -5, "marshalling error")                                                             \
    X(UNIMPLEMENTED, -6, "unimplemented")                                                                    \
    X(OPERATIONTIMEOUT, -7, "operation timeout")                                                             \
    X(BADARGUMENTS, -8, "bad arguments")                                                                     \
    X(UNKNOWNSESSION, -12, "unknown session")                                                                \
    X(NEWCONFIGNOQUORUM, -13, "no quorum of new config is connected")                                        \
    X(RECONFIGINPROGRESS, -14, "another reconfig is in progress")                                            \
    X(NONODE, -101, "no node")                                                                               \
    X(NOAUTH, -102, "not authenticated")                                                                     \
    X(BADVERSION, -103, "bad version")                                                                       \
    X(NOCHILDRENFOREPHEMERALS, -108, "ephemerals cannot have children")                                      \
    X(NODEEXISTS, -110, "node exists")                                                                       \
    X(NOTEMPTY, -111, "node has children")                                                                   \
    X(SESSIONEXPIRED, -112, "session expired")                                                               \
    X(INVALIDCALLBACK, -113, "invalid callback")                                                             \
    X(INVALIDACL, -114, "invalid acl")                                                                       \
    X(AUTHFAILED, -115, "authentication failed")                                                             \
    X(SESSIONMOVED, -118, "session moved to another server")                                                 \
    X(NOTREADONLY, -119, "not a read-only call")                                                             \
    X(EPHEMERALONLOCALSESSION, -120, "ephemeral node on local session")                                      \
    X(NOWATCHER, -121, "no such watcher")                                                                    \
    X(REQUESTTIMEOUT, -122, "request timeout")                                                               \
    X(RECONFIGDISABLED, -123, "reconfig is disabled")                                                        \
    X(SESSIONCLOSEDREQUIRESASLAUTH, -124, "session closed because client failed to authenticate")            \
    X(QUOTAEXCEEDED, -125, "quota exceeded")                                                                 \
    X(THROTTLEDOP, -127, "operation throttled")

enum zk_error {
#define X(name, code, text) ZK_##name = code,
    ZK_ERRORS(X)
#undef X
};
const char *zk_error_name(int32_t err); /* "NONODE"; "UNKNOWN" */
const char *zk_error_text(int32_t err); /* "no node" */

/* Special xids. */
enum { ZK_XID_EVENT = -1, ZK_XID_PING = -2, ZK_XID_AUTH = -4, ZK_XID_SET_WATCHES = -8 };

/* CreateMode: an enumeration, not a bit mask. */
enum zk_create_flag {
    ZK_PERSISTENT = 0,
    ZK_EPHEMERAL = 1,
    ZK_PERSISTENT_SEQUENTIAL = 2,
    ZK_EPHEMERAL_SEQUENTIAL = 3,
    ZK_CONTAINER = 4,
    ZK_PERSISTENT_TTL = 5,
    ZK_PERSISTENT_SEQUENTIAL_TTL = 6,
};
static inline bool zk_flag_is_sequential(int32_t f)
{
    return f == ZK_PERSISTENT_SEQUENTIAL || f == ZK_EPHEMERAL_SEQUENTIAL || f == ZK_PERSISTENT_SEQUENTIAL_TTL;
}
static inline bool zk_flag_is_ephemeral(int32_t f)
{
    return f == ZK_EPHEMERAL || f == ZK_EPHEMERAL_SEQUENTIAL;
}
static inline bool zk_flag_is_ttl(int32_t f)
{
    return f == ZK_PERSISTENT_TTL || f == ZK_PERSISTENT_SEQUENTIAL_TTL;
}

enum zk_perm { ZK_PERM_READ = 1, ZK_PERM_WRITE = 2, ZK_PERM_CREATE = 4, ZK_PERM_DELETE = 8, ZK_PERM_ADMIN = 16,
               ZK_PERM_ALL = 31 };

enum zk_event_type {
    ZK_EVENT_NONE = -1,
    ZK_EVENT_CREATED = 1,
    ZK_EVENT_DELETED = 2,
    ZK_EVENT_DATA_CHANGED = 3,
    ZK_EVENT_CHILDREN_CHANGED = 4,
    ZK_EVENT_DATA_WATCH_REMOVED = 5,
    ZK_EVENT_CHILD_WATCH_REMOVED = 6,
    ZK_EVENT_PERSISTENT_WATCH_REMOVED = 7,
};
enum zk_state {
    ZK_STATE_DISCONNECTED = 0,
    ZK_STATE_CONNECTED = 3,
    ZK_STATE_AUTH_FAILED = 4,
    ZK_STATE_CONNECTED_READ_ONLY = 5,
    ZK_STATE_CLOSED = 7,
    ZK_STATE_EXPIRED = -112,
};
enum zk_add_watch_mode { ZK_WATCH_PERSISTENT = 0, ZK_WATCH_PERSISTENT_RECURSIVE = 1 };
enum zk_watcher_type {
    ZK_WATCHER_CHILDREN = 1,
    ZK_WATCHER_DATA = 2,
    ZK_WATCHER_ANY = 3,
    ZK_WATCHER_PERSISTENT = 4,
    ZK_WATCHER_PERSISTENT_RECURSIVE = 5,
};

/* Stored ephemeralOwner of the node kinds that are not ordinary ephemerals (EphemeralType). */
#define ZK_OWNER_CONTAINER INT64_MIN
#define ZK_OWNER_TTL_PREFIX ((int64_t)(UINT64_C(0xFF) << 56))
#define ZK_TTL_MAX ((INT64_C(1) << 40) - 1)

#define ZK_MAX_BUFFER_DEFAULT 1048575 /* jute.maxbuffer: largest frame */
#define ZK_PASSWORD_LEN 16

/* Checks a path by PathUtils.validatePath. Returns NULL when good, or a static text that says what is wrong with it.
 * `p` need not be NUL-terminated. */
const char *zk_path_problem(const char *p, int32_t len);

#endif
