/* vclient_internal.h - what the halves of the virtual client share: vclient.c is the connection and the protocol, vclient_load.c chooses
 * what to ask. */
#ifndef SIM_VCLIENT_INTERNAL_H
#define SIM_VCLIENT_INTERNAL_H

#include "vclient.h"
#include "zab/quorum.h"

enum vclient_phase { V_WAITING, V_DIALING, V_HANDSHAKE, V_UP };
enum watch_list { LIST_DATA, LIST_EXIST, LIST_CHILD, LIST_PERSISTENT, LIST_RECURSIVE, LIST_COUNT };
enum { REGISTERS_MAX = 16, OWN_MAX = 64 };

struct own_watch {
    enum watch_list list;
    struct jstr path; /* in the history's arena */
};
struct vclient {
    struct vclient_config cfg;
    struct history *h;
    struct vclient_io io;
    uint64_t rng;

    enum vclient_phase phase;
    uint32_t server;
    uint32_t conn;
    int64_t dial_at_us, deadline_us; /* deadline: of an attempt */
    int64_t last_recv_us, last_send_us;
    struct wr in, out;
    struct arena arena;

    int64_t session;
    uint8_t passwd[ZK_PASSWORD_LEN];
    int32_t timeout_ms; /* negotiated */
    int64_t last_zxid;
    bool focused;       /* reads and writes registers only, and much oftener */
    bool reader;        /* ... and never writes */
    bool gives_up;      /* declares its session dead by itself at 4/3 of the timeout */
    int64_t alive_us;   /* when the session was heard of last */

    int32_t next_xid;
    struct VEC(struct hist_op *) pending; /* in order, from pending_head on */
    size_t pending_head;
    struct VEC(int64_t) pings;            /* when sent */
    size_t pings_head;
    struct VEC(struct own_watch) watches;

    /* load */
    int64_t next_load_us;
    uint32_t prologue;        /* how many of the first requests were sent */
    uint64_t values;          /* unique values so far */
    int32_t versions[REGISTERS_MAX]; /* as last seen; -1 unknown */
    struct VEC(struct jstr) own;     /* sequential nodes of ours that may be deleted */
    bool lasting[2];          /* this session has a persistent, recursive watch */
    bool closing;             /* closeSession is under way */
    struct quorum_config *members; /* as last heard of; NULL: never. changes_members */
    int64_t next_change_us;
    bool settled;             /* asks for no changes any more */
    uint32_t changing;        /* reconfigurations under way */
    bool stopping, final_sent, idle;
};

uint64_t vclient_random(struct vclient *v, uint64_t below);
static inline size_t vclient_pending(const struct vclient *v)
{
    return v->pending.len - v->pending_head;
}
/* Sends a request; *op gives what it asks, arg.op the opcode. Returns the record. */
struct hist_op *vclient_request(struct vclient *v, const struct hist_op *op, int64_t now_us);
/* Ends the connection of our own will; the session stays. */
void vclient_hang_up(struct vclient *v, int64_t now_us);
/* Walks away from the session. */
void vclient_abandon(struct vclient *v, int64_t now_us);

/* vclient_load.c */
void load_session_begun(struct vclient *v);   /* a fresh session */
void load_burst(struct vclient *v, int64_t now_us);
void load_final(struct vclient *v, int64_t now_us);
void load_note_answer(struct vclient *v, const struct hist_op *op);

/* vclient_reconf.c */
bool load_change_due(const struct vclient *v, int64_t now_us);
void load_change(struct vclient *v, int64_t now_us);
void reconf_note_answer(struct vclient *v, const struct hist_op *op);
void reconf_introduce(struct vclient *v, struct wr *w); /* on every connection, behind the session */

#endif
