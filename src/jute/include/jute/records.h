/* records.h - every record of the client protocol and of the files on disk, from one table.
 *
 * Each RECORD gives a struct, X_read and X_write. Source: zookeeper.jute (3.9).
 * Reading    borrows strings and buffers from the input and takes vectors from the arena. Errors stick in rd.rc.
 *            Trailing bytes are left for the caller: Jute receivers ignore them.
 * Writing    appends to wr.
 * Bounds     a string or buffer length is compared with what is left before anything is allocated; a vector's count
 *            with the bytes that its smallest elements would need. */
#ifndef JUTE_RECORDS_H
#define JUTE_RECORDS_H

#include "base/arena.h"
#include "base/bytes.h"
#include "jute/proto.h"

/* ustring and buffer: p == NULL is Jute's null (length -1). */
struct jstr {
    const char *p;
    int32_t n;
};
static inline struct jstr jstr_of(const char *s)
{
    return (struct jstr){ s, s ? (int32_t)strlen(s) : 0 };
}
static inline struct jstr jstr_n(const char *p, size_t n)
{
    return (struct jstr){ p, (int32_t)n };
}
static inline bool jstr_eq(struct jstr a, struct jstr b)
{
    return (a.p == NULL) == (b.p == NULL) && a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, (size_t)a.n) == 0);
}
static inline bool jstr_is(struct jstr a, const char *s)
{
    return jstr_eq(a, jstr_of(s));
}
struct jbuf {
    const uint8_t *p;
    int32_t n;
};
struct jacl {
    int32_t perms;
    struct jstr scheme, id;
};
/* Vectors: n == -1 is null. */
struct jacls {
    struct jacl *v;
    int32_t n;
};
struct jstrs {
    struct jstr *v;
    int32_t n;
};
struct jid { /* ClientInfo: authScheme, user */
    struct jstr scheme, id;
};
struct jids {
    struct jid *v;
    int32_t n;
};
struct jtxn { /* Txn: one sub-transaction of a multi */
    int32_t type;
    struct jbuf data;
};
struct jtxns {
    struct jtxn *v;
    int32_t n;
};
struct zk_stat { /* Stat, 68 bytes: what clients see */
    int64_t czxid, mzxid, ctime, mtime;
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner;
    int32_t data_length, num_children;
    int64_t pzxid;
};
struct zk_stat_persisted { /* StatPersisted, 60 bytes: raw cversion, stored ephemeralOwner */
    int64_t czxid, mzxid, ctime, mtime;
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner;
    int64_t pzxid;
};
#define ZK_STAT_LEN 68
#define ZK_STAT_PERSISTED_LEN 60

/* Field kinds: i32 i64 bool str buf acls strs ids txns stat */
#define F_CONNECT_REQUEST(F)                                                                                 \
    F(i32, protocol_version) F(i64, last_zxid_seen) F(i32, timeout_ms) F(i64, session_id) F(buf, passwd)
#define F_CONNECT_RESPONSE(F) F(i32, protocol_version) F(i32, timeout_ms) F(i64, session_id) F(buf, passwd)
#define F_REQUEST_HEADER(F) F(i32, xid) F(i32, type)
#define F_REPLY_HEADER(F) F(i32, xid) F(i64, zxid) F(i32, err)
#define F_CREATE_REQUEST(F) F(str, path) F(buf, data) F(acls, acl) F(i32, flags)
#define F_CREATE_TTL_REQUEST(F) F(str, path) F(buf, data) F(acls, acl) F(i32, flags) F(i64, ttl)
#define F_PATH_VERSION(F) F(str, path) F(i32, version)
#define F_PATH_WATCH(F) F(str, path) F(bool, watch)
#define F_PATH_ONLY(F) F(str, path)
#define F_SET_DATA_REQUEST(F) F(str, path) F(buf, data) F(i32, version)
#define F_SET_ACL_REQUEST(F) F(str, path) F(acls, acl) F(i32, version)
#define F_RECONFIG_REQUEST(F) F(str, joining) F(str, leaving) F(str, new_members) F(i64, cur_config_id)
#define F_PATH_TYPE(F) F(str, path) F(i32, type)
#define F_AUTH_PACKET(F) F(i32, type) F(str, scheme) F(buf, auth)
#define F_SET_WATCHES(F) F(i64, relative_zxid) F(strs, data) F(strs, exist) F(strs, child)
#define F_SET_WATCHES2(F)                                                                                    \
    F(i64, relative_zxid) F(strs, data) F(strs, exist) F(strs, child) F(strs, persistent) F(strs, recursive)
#define F_MULTI_HEADER(F) F(i32, type) F(bool, done) F(i32, err)
#define F_ERROR_RESPONSE(F) F(i32, err)
#define F_PATH_STAT(F) F(str, path) F(stat, stat)
#define F_STAT_ONLY(F) F(stat, stat)
#define F_DATA_STAT(F) F(buf, data) F(stat, stat)
#define F_ACL_STAT(F) F(acls, acl) F(stat, stat)
#define F_CHILDREN_ONLY(F) F(strs, children)
#define F_CHILDREN_STAT(F) F(strs, children) F(stat, stat)
#define F_COUNT_RESPONSE(F) F(i32, count)
#define F_WHO_AM_I_RESPONSE(F) F(ids, ids)
#define F_WATCHER_EVENT(F) F(i32, type) F(i32, state) F(str, path)
/* disk */
#define F_FILE_HEADER(F) F(i32, magic) F(i32, version) F(i64, dbid)
#define F_TXN_HEADER(F) F(i64, client_id) F(i32, cxid) F(i64, zxid) F(i64, time_ms) F(i32, type)
#define F_TXN_DIGEST(F) F(i32, version) F(i64, tree_digest)
#define F_CREATE_TXN(F) F(str, path) F(buf, data) F(acls, acl) F(bool, ephemeral) F(i32, parent_cversion)
#define F_CREATE_TTL_TXN(F) F(str, path) F(buf, data) F(acls, acl) F(i32, parent_cversion) F(i64, ttl)
#define F_CREATE_CONTAINER_TXN(F) F(str, path) F(buf, data) F(acls, acl) F(i32, parent_cversion)
#define F_CREATE_SESSION_TXN(F) F(i32, timeout_ms)
#define F_CLOSE_SESSION_TXN(F) F(strs, paths)
#define F_ERROR_TXN(F) F(i32, err)
#define F_MULTI_TXN(F) F(txns, txns)

/* X(struct name, field list). Records with the same fields share one entry:
 *   path_version  DeleteRequest, CheckVersionRequest, CheckVersionTxn     path_only  GetACL, Sync, DeleteTxn, ...
 *   set_data_request  also SetDataTxn     set_acl_request  also SetACLTxn    path_type  CheckWatches, RemoveWatches, AddWatch */
#define ZK_RECORDS(X)                                                                                        \
    X(connect_request, F_CONNECT_REQUEST)                                                                    \
    X(connect_response, F_CONNECT_RESPONSE)                                                                  \
    X(request_header, F_REQUEST_HEADER)                                                                      \
    X(reply_header, F_REPLY_HEADER)                                                                          \
    X(create_request, F_CREATE_REQUEST)                                                                      \
    X(create_ttl_request, F_CREATE_TTL_REQUEST)                                                              \
    X(path_version, F_PATH_VERSION)                                                                          \
    X(path_watch, F_PATH_WATCH)                                                                              \
    X(path_only, F_PATH_ONLY)                                                                                \
    X(set_data_request, F_SET_DATA_REQUEST)                                                                  \
    X(set_acl_request, F_SET_ACL_REQUEST)                                                                    \
    X(reconfig_request, F_RECONFIG_REQUEST)                                                                  \
    X(path_type, F_PATH_TYPE)                                                                                \
    X(auth_packet, F_AUTH_PACKET)                                                                            \
    X(set_watches, F_SET_WATCHES)                                                                            \
    X(set_watches2, F_SET_WATCHES2)                                                                          \
    X(multi_header, F_MULTI_HEADER)                                                                          \
    X(error_response, F_ERROR_RESPONSE)                                                                      \
    X(path_stat, F_PATH_STAT)                                                                                \
    X(stat_only, F_STAT_ONLY)                                                                                \
    X(data_stat, F_DATA_STAT)                                                                                \
    X(acl_stat, F_ACL_STAT)                                                                                  \
    X(children_only, F_CHILDREN_ONLY)                                                                        \
    X(children_stat, F_CHILDREN_STAT)                                                                        \
    X(count_response, F_COUNT_RESPONSE)                                                                      \
    X(who_am_i_response, F_WHO_AM_I_RESPONSE)                                                                \
    X(watcher_event, F_WATCHER_EVENT)                                                                        \
    X(file_header, F_FILE_HEADER)                                                                            \
    X(txn_header, F_TXN_HEADER)                                                                              \
    X(txn_digest, F_TXN_DIGEST)                                                                              \
    X(create_txn, F_CREATE_TXN)                                                                              \
    X(create_ttl_txn, F_CREATE_TTL_TXN)                                                                      \
    X(create_container_txn, F_CREATE_CONTAINER_TXN)                                                          \
    X(create_session_txn, F_CREATE_SESSION_TXN)                                                              \
    X(close_session_txn, F_CLOSE_SESSION_TXN)                                                                \
    X(error_txn, F_ERROR_TXN)                                                                                \
    X(multi_txn, F_MULTI_TXN)

#define JT_i32 int32_t
#define JT_i64 int64_t
#define JT_bool bool
#define JT_str struct jstr
#define JT_buf struct jbuf
#define JT_acls struct jacls
#define JT_strs struct jstrs
#define JT_ids struct jids
#define JT_txns struct jtxns
#define JT_stat struct zk_stat
#define JUTE_FIELD(kind, name) JT_##kind name;
#define X(name, fields)                                                                                      \
    struct name {                                                                                            \
        fields(JUTE_FIELD)                                                                                   \
    };                                                                                                       \
    void name##_read(struct rd *r, struct arena *a, struct name *ret);                                       \
    void name##_write(struct wr *w, const struct name *v);
ZK_RECORDS(X)
#undef X
#undef JUTE_FIELD

/* Primitives, for what the table cannot say. */
struct jstr jute_read_str(struct rd *r);
struct jbuf jute_read_buf(struct rd *r);
struct jacls jute_read_acls(struct rd *r, struct arena *a);
struct jstrs jute_read_strs(struct rd *r, struct arena *a);
void jute_write_str(struct wr *w, struct jstr s);
void jute_write_buf(struct wr *w, struct jbuf b);
void jute_write_acls(struct wr *w, struct jacls l);
void jute_write_strs(struct wr *w, struct jstrs l);
void zk_stat_read(struct rd *r, struct zk_stat *ret);
void zk_stat_write(struct wr *w, const struct zk_stat *s);
void zk_stat_persisted_read(struct rd *r, struct zk_stat_persisted *ret);
void zk_stat_persisted_write(struct wr *w, const struct zk_stat_persisted *s);

/* Frames: i32 length, then the payload. Begin returns the offset to hand to end. */
static inline size_t jute_frame_begin(struct wr *w)
{
    size_t at = w->n;
    wr_u32(w, 0);
    return at;
}
static inline void jute_frame_end(struct wr *w, size_t at)
{
    wr_patch_u32(w, at, (uint32_t)(w->n - at - 4));
}

/* The end of a multi's list: MultiHeader{-1, true, -1}. */
void jute_write_multi_end(struct wr *w);

#endif
