/* packet.h - what servers of an ensemble say to each other, byte by byte: learner packets and election messages.
 *
 * Decoders   borrow from the input (vectors from the arena), check every length before they allocate for it, and never look past the
 *            input. RC_SHORT says that the message goes on behind the input: *ret_used is then the least total length that
 *            is worth trying again (so that a large message that arrives in pieces is not scanned again for each). Any other error
 *            is final for the connection, unless a function says that it is for the message alone.
 * Encoders   append to a wr; its sticky error says when a limit was hit.
 * Source     QuorumPacket in zookeeper.jute, LearnerHandler, Learner, QuorumCnxManager, FastLeaderElection (3.9.5). */
#ifndef ZAB_PACKET_H
#define ZAB_PACKET_H

#include "jute/records.h"

/* ---- learner packets (quorum port): a stream without length prefixes ---- */

#define QP_TYPES(X)                                                                                          \
    X(REQUEST, 1)                                                                                            \
    X(PROPOSAL, 2)                                                                                           \
    X(ACK, 3)                                                                                                \
    X(COMMIT, 4)                                                                                             \
    X(PING, 5)                                                                                               \
    X(REVALIDATE, 6)                                                                                         \
    X(SYNC, 7)                                                                                               \
    X(INFORM, 8)                                                                                             \
    X(COMMITANDACTIVATE, 9)                                                                                  \
    X(NEWLEADER, 10)                                                                                         \
    X(FOLLOWERINFO, 11)                                                                                      \
    X(UPTODATE, 12)                                                                                          \
    X(DIFF, 13)                                                                                              \
    X(TRUNC, 14)                                                                                             \
    X(SNAP, 15)                                                                                              \
    X(OBSERVERINFO, 16)                                                                                      \
    X(LEADERINFO, 17)                                                                                        \
    X(ACKEPOCH, 18)                                                                                          \
    X(INFORMANDACTIVATE, 19)
enum qp_type {
#define X(name, value) QP_##name = value,
    QP_TYPES(X)
#undef X
};
const char *qp_type_str(int32_t type); /* "PROPOSAL"; "?" when unknown; never NULL */

#define QP_PROTOCOL_VERSION 0x10000
/* jute.maxbuffer + jute.maxbuffer.extrasize by default: the largest buffer or string in a packet. */
#define QP_MAX_BUFFER_DEFAULT 2097150u
#define QP_MAX_AUTH_IDS 4096 /* identities of one client */

struct qpacket {
    int32_t type; /* any value: the receiver decides what an unknown one means */
    int64_t zxid;
    struct jbuf data; /* p == NULL: null, which is not the same as empty */
    struct jids auth; /* n == -1: null */
};

/* Reads the packet at the start of the input. 0: *ret_used bytes were it (behind a QP_SNAP comes the raw snapshot). RC_SHORT as above;
 * RC_TOOBIG: a length over max_buffer (or over QP_MAX_AUTH_IDS); RC_MALFORMED: a length below -1. ret->auth.v comes from the arena. */
int qpacket_decode(const uint8_t *in, size_t len, uint32_t max_buffer, struct arena *a, struct qpacket *ret, size_t *ret_used);
void qpacket_encode(struct wr *w, const struct qpacket *p);
/* A packet without data and identities: ACK, COMMIT, UPTODATE, DIFF, TRUNC, SNAP, SYNC, PING of the leader. */
void qpacket_encode_bare(struct wr *w, int32_t type, int64_t zxid);
/* A packet whose data the caller writes between these two; end writes null identities when auth is NULL. */
size_t qpacket_begin(struct wr *w, int32_t type, int64_t zxid);
void qpacket_end(struct wr *w, size_t at, const struct jids *auth);

/* What the data holds. Readers: RC_MALFORMED when it is too short or null where that is not legal; longer data is accepted. */

/* A cursor over data; null reads as empty. */
static inline struct rd qp_data_rd(struct jbuf data)
{
    return rd_init(data.p ? data.p : (const uint8_t *)"", (size_t)data.n);
}

/* FOLLOWERINFO, OBSERVERINFO. Read by length: 8 bytes give the sid, 12 the protocol version, 20 the version of the learner's configuration;
 * what is missing is 0 (protocol version: 1). Null data: an anonymous learner. */
struct learner_info {
    bool anonymous; /* no sid: the leader assigns -1, -2, ... */
    int64_t sid;
    int32_t protocol_version;
    int64_t config_version;
};
int learner_info_read(struct jbuf data, struct learner_info *ret);
void learner_info_packet(struct wr *w, bool observer, uint32_t accepted_epoch, const struct learner_info *info);

/* LEADERINFO: the leader's protocol version. ACKEPOCH: the learner's currentEpoch, or -1 when it had accepted this epoch before. */
int qp_i32_read(struct jbuf data, int32_t *ret);
void qp_i32_packet(struct wr *w, int32_t type, int64_t zxid, int32_t value);

/* REQUEST: a client's write, forwarded. body borrows from data. */
struct forwarded_request {
    int64_t session_id;
    int32_t cxid, op;
    struct buf body; /* the request without its header */
};
int forwarded_request_read(struct jbuf data, struct forwarded_request *ret);
void forwarded_request_packet(struct wr *w, const struct forwarded_request *req, const struct jids *auth);

/* REVALIDATE. */
struct revalidate {
    int64_t session_id;
    int32_t timeout_ms; /* to the leader */
    bool valid;         /* from the leader */
};
int revalidate_request_read(struct jbuf data, struct revalidate *ret);
int revalidate_reply_read(struct jbuf data, struct revalidate *ret);
void revalidate_request_packet(struct wr *w, int64_t session_id, int32_t timeout_ms);
void revalidate_reply_packet(struct wr *w, int64_t session_id, bool valid);

/* PING to the leader: sessions heard from since the last one. Never null, since the reference's leader would fall over it. Read with
 * qp_data_rd and ping_sessions_next until that returns false; a torn last entry is RC_MALFORMED in r.rc. */
struct ping_session {
    int64_t session_id;
    int32_t timeout_ms;
};
bool ping_sessions_next(struct rd *r, struct ping_session *ret);
void ping_reply_packet(struct wr *w, int64_t zxid, const struct ping_session *sessions, size_t count);

/* COMMITANDACTIVATE: the designated leader; INFORMANDACTIVATE: the same and the proposal's bytes. */
int activate_read(struct jbuf data, int64_t *ret_leader, struct jbuf *ret_proposal);
void commit_and_activate_packet(struct wr *w, int64_t zxid, int64_t leader);
void inform_and_activate_packet(struct wr *w, int64_t zxid, int64_t leader, struct jbuf proposal);

/* ---- election port: the initial message, once, from who connected ---- */

#define HELLO_ADDR_LEN_MAX 2048
#define HELLO_ADDRS_MAX 64
#define HELLO_V1 (-65536)
#define HELLO_V2 (-65535)
#define HELLO_LEGACY 0 /* older than 3.5: its sid and nothing more */

struct hello_addr {
    struct buf host; /* borrowed; without brackets */
    uint16_t port;
};
struct hello {
    int64_t version; /* HELLO_V1, HELLO_V2, HELLO_LEGACY */
    int64_t sid;
    struct hello_addr addrs[HELLO_ADDRS_MAX]; /* wildcard addresses are left out: none means "use the configured one" */
    size_t addrs_len;
};
/* RC_SHORT as above; RC_UNSUPPORTED: another version; RC_TOOBIG, RC_MALFORMED: bad length, bad address, more than HELLO_ADDRS_MAX, a
 * negative sid. */
int hello_decode(const uint8_t *in, size_t len, struct hello *ret, size_t *ret_used);
/* To be sent in one write: the reference reads the address with one call and takes what it got for all. V1 writes the first address only. */
void hello_encode(struct wr *w, const struct hello *h);

/* ---- election port: frames with notifications, both ways ---- */

#define ELECTION_FRAME_MAX 524288

enum zab_state { ZAB_LOOKING = 0, ZAB_FOLLOWING = 1, ZAB_LEADING = 2, ZAB_OBSERVING = 3 };
const char *zab_state_str(enum zab_state s); /* "looking" ... */

struct notification {
    enum zab_state state; /* the sender's */
    int64_t leader, zxid; /* of the vote */
    int64_t round;        /* electionEpoch: logical clock of the vote */
    int64_t peer_epoch;   /* currentEpoch of the proposed leader */
    int32_t version;      /* of the format: 2 is ours, 1 and 0 come from before 3.5 */
    struct buf config;    /* text of the sender's committed configuration; p == NULL when it sent none */
};
/* The frame at the start of the input: RC_SHORT as above; RC_MALFORMED: length <= 0; RC_TOOBIG: over ELECTION_FRAME_MAX: drop the connection. */
int election_frame_decode(const uint8_t *in, size_t len, struct buf *ret_payload, size_t *ret_used);
/* Its payload. RC_MALFORMED, RC_UNSUPPORTED (unknown state): skip this message and keep the connection. */
int notification_decode(struct buf payload, struct notification *ret);
/* The whole frame, as a version 2 notification. RC_TOOBIG sticks in w when the configuration is too long. */
void notification_frame(struct wr *w, const struct notification *n);

#endif
