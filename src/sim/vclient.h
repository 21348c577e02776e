/* vclient.h - a virtual client: a ZooKeeper client without sockets or clock that does from a seed what real ones do.
 *
 * Purpose    Load, and witnesses: everything it asks and hears goes into the history, as the bytes said it. It is written apart from the
 *            shipped client on purpose: what judges a server must not share its misunderstandings, and sees what that one hides (zxids of
 *            replies, their order among events, which connection brought them).
 * Behaviour  Connects to some server, re-attaches its session elsewhere when the connection ends, pings, pipelines; registers that all
 *            clients write, sequential and ephemeral nodes, trees, multis, ACLs, watches of every kind, setWatches after a reconnection, sync followed by a
 *            read; closes its session, walks away from it, moves to another server without need, gives up after a while (a client
 *            from 3.9.3 on) or asks until a server says that the session expired.
 * Use        Call what happened; the callbacks say what to do. After every call ask vclient_wake_us.
 * Threading  one. Callbacks must not call back into the client.
 * Source     ZooKeeper Programmer's Guide; ClientCnxn (3.9) for timing. */
#ifndef SIM_VCLIENT_H
#define SIM_VCLIENT_H

#include "history.h"

/* Who may change the members, and the digest by which servers know it. */
#define SIM_SUPER "super:admin"
#define SIM_SUPER_DIGEST "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="

struct vclient_io {
    /* Connect to a server: vclient_opened or vclient_closed answers. */
    void (*dial)(void *data, uint32_t client, uint32_t server);
    void (*send)(void *data, uint32_t client, const void *p, size_t n);
    /* Drop the connection or the attempt. Nothing of it is reported any more. */
    void (*hangup)(void *data, uint32_t client);
    void *data;
};
enum vclient_habit {
    VCLIENT_ANY,     /* as its seed says */
    VCLIENT_READER,  /* reads registers behind a sync and never writes: a write that nobody answers would hold back what follows */
    VCLIENT_WRITER,  /* writes and reads registers, nearly nothing else */
};
struct vclient_config {
    uint32_t id;
    uint32_t server_count; /* servers are 0 .. server_count - 1 */
    uint64_t seed;
    int32_t timeout_ms;    /* requested */
    int32_t think_ms;      /* mean pause between bursts of requests; at least 1 */
    uint32_t pipeline;     /* most requests in flight; at least 1 */
    uint32_t registers;    /* number of hot keys; 0: 6 */
    bool changes_members;  /* asks for reconfigurations, as the superuser; else reads and writes registers only */
    bool groups;           /* ... with weights now and then */
    bool calm;             /* never closes, abandons or moves its session of its own will */
    enum vclient_habit habit;
};

struct vclient;
/* Dials nobody yet: at its first tick. history is borrowed. */
struct vclient *vclient_new(const struct vclient_config *cfg, struct history *history, const struct vclient_io *io, int64_t now_us);
void vclient_free(struct vclient *v);

void vclient_opened(struct vclient *v, int64_t now_us);
void vclient_bytes(struct vclient *v, const void *p, size_t n, int64_t now_us);
/* The attempt failed, or the connection ended. */
void vclient_closed(struct vclient *v, int64_t now_us);
void vclient_tick(struct vclient *v, int64_t now_us);
int64_t vclient_wake_us(const struct vclient *v);

/* Nothing new any more: what is under way is finished, then one sync and a read, which let the checkers see that no event was
 * missed. The client stays connected and goes on pinging. */
void vclient_stop(struct vclient *v, int64_t now_us);
bool vclient_idle(const struct vclient *v); /* after vclient_stop: all that is done */

/* Asks for no other members any more. */
void vclient_settle_members(struct vclient *v);
bool vclient_members_settled(const struct vclient *v); /* all that it asked for is answered or lost */

int64_t vclient_session(const struct vclient *v); /* 0: none */
bool vclient_is_up(const struct vclient *v);

#endif
