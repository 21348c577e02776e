/* cluster.h - an ensemble in the world: servers, what is known about them from outside, and who does what to them.
 *
 * node.c        one server: process, threads, disk, clock          nemesis.c     the schedule of faults
 * node_disk.c   its log thread and snapshot thread                 invariants.c  what must always hold
 * reconf.c      the ensemble's configurations (reconf.h)
 * node_front.c  its clients' connections                           load.c        the virtual clients
 * run.c         one run from start to verdict
 *
 * Turns      A server's core thread works in turns, as the real one (corethread.c): one turn is computed at one moment of the world and may take
 *            time (syncs); what it sends departs and what it writes is issued at the server's own, later time. The next turn begins when it is over.
 *            Log thread, snapshot thread and client connections are actors of their own. */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "front.h"
#include "history.h"
#include "server/dynconf.h"
#include "server/peer_host.h"
#include "server/peer.h"
#include "zab/window.h"
#include "vclient.h"
#include "vdisk.h"
#include "vnet.h"
#include "vquorum.h"

enum {
    NODES_MAX = 16,
    CLIENTS_MAX = 64,
};
enum world_tag { TAG_TURN = 16, TAG_LOG, TAG_SNAP, TAG_FRONT, TAG_DIE, TAG_BOOT, TAG_FAULT, TAG_CLIENT, TAG_CHECK };

struct cluster;

/* ---- what is known of a server's history from outside: what it was told to log, and when that was durable ---- */
struct shadow_entry {
    int64_t zxid;
    uint64_t hash;      /* of the transaction's bytes */
    int64_t durable_us; /* SIM_NEVER: not yet */
};
struct shadow {
    int64_t base_zxid;  /* everything up to here came by a snapshot, durable at base_us */
    int64_t base_us;
    struct VEC(struct shadow_entry) log;
};

enum node_state { NODE_OFF, NODE_RUNNING, NODE_BROKEN /* its disk keeps it from starting */ };

struct client_conn {
    uint64_t id;
    struct vsock *s;
    struct wr out;
    size_t out_off;
    bool closing, told; /* told: the front knows that it is gone */
};

struct coroutine;
struct reconf;

struct node {
    struct cluster *cl;
    struct world *w;
    uint32_t index;
    int64_t sid;
    bool observer; /* by the configuration that it holds */
    struct sim_rng rng;
    struct vdisk *disk;
    struct server_config cfg;
    struct storage_config storage;
    char *dir;

    enum node_state state;
    bool paused;
    uint64_t life;          /* counts processes */
    uint64_t conns;         /* of clients, over all lives */
    int64_t off_since_us;
    char *broken_why;
    int64_t hold_until_us;  /* a fault keeps it off */
    bool damaged;           /* why it does not start */
    bool rotten;            /* bytes of its disk have changed */

    /* configurations of the ensemble: reconf.c */
    struct dynconf_keeper keeper;
    struct quorum_config *held;        /* committed, as of its last turn in this life or an earlier one; a reference; NULL: none yet */
    int64_t kept_version, kept_before; /* that its files name, and named before kept_at_us */
    int64_t kept_at_us;
    bool rewritten;                    /* its files are the operator's, since it started last */

    /* the clock: local time runs from base_local_us on at a rate of its own */
    int64_t base_us, base_local_us, wall_offset_ms;
    int32_t rate_ppm;

    /* the process */
    struct tree *tree;
    struct core *core;
    struct peer *peer;
    struct qnet *net;
    struct front *front;
    bool in_turn, dying, serving;
    enum core_role role;
    int64_t epoch;
    int64_t busy_until_us, turn_at_us;
    struct VEC(uint64_t) deferred; /* tags of events that came while it was paused */
    /* log thread */
    struct txnlog *log;
    struct log_batch pending, current;
    bool log_busy, log_scheduled;
    int64_t log_done_us, log_last, persisted, persisted_told;
    uint64_t log_run;
    /* snapshot thread */
    struct coroutine *snap;
    bool snap_wanted, snap_held, snap_scheduled;
    int snap_finished;
    uint64_t snap_run;
    /* clients */
    struct VEC(struct client_conn *) clients;
    int64_t front_at_us;

    /* from outside */
    struct shadow shadow, old; /* old: before the peer changed the history on disk, which was done at moved_us */
    int64_t moved_us;
    bool moved;             /* ... and what it left on disk was not looked at since */
    bool moving;            /* it is changing its history on disk: a crash leaves something in between */
    int64_t delivered;      /* the last transaction that it applied as committed */
    int64_t acked_epoch, acked_us; /* NEWLEADER */
    int64_t accepted_epoch, current_epoch, announced_epoch; /* files, as issued */
    int64_t recovered_zxid;
    int64_t shadow_peak;    /* the last zxid that was ever logged here, or came by a snapshot */
    int64_t led_epoch;      /* the last one that it led, in this life */
    int64_t shown;          /* the last transaction that clients may have seen, while it serves */
};

/* ---- what has been committed, by whoever said so first ---- */
struct commit {
    int64_t zxid;
    uint64_t hash;
    uint64_t digest;    /* of the tree behind it */
    bool has_digest;
    int64_t at_us;
    uint8_t *txn;
    size_t txn_len;
};
struct proposal {
    int64_t zxid;
    uint64_t hash;
    uint8_t *txn;
    size_t txn_len;
    int64_t at_us;
};

struct cluster {
    struct world *w;
    struct vnet *net;
    const struct sim_options *opt;
    uint32_t voters, observers; /* at the beginning */
    uint32_t members, count; /* of these, and of all servers */
    uint32_t clients;
    struct quorum_config *config; /* that all begins with */
    struct node nodes[NODES_MAX];
    int32_t tick_ms;
    int64_t calm_from_us;   /* from here on nothing is broken and all serve */
    uint32_t snap_count;
    int32_t commit_log_count;
    bool calm;              /* no more faults */

    /* invariants.c */
    struct VEC(struct commit) commits;
    struct VEC(struct proposal) proposals; /* ascending by zxid */
    struct VEC(int64_t) leaders;       /* by epoch: sid */
    struct VEC(struct sid_set) ackers; /* by epoch: who ever acknowledged its NEWLEADER */
    uint64_t elections, crashes, result_commits;

    /* reconf.c */
    struct reconf *reconf;
    uint64_t config_changes;

    /* load.c */
    struct history *history;
    struct load *load;
    /* nemesis.c */
    struct nemesis *nemesis;
};

/* ---- node.c ---- */
void node_init(struct node *n, struct cluster *cl, uint32_t index, bool observer);
void node_done(struct node *n);
void node_boot(struct node *n);
/* The process ends at at_us; power: with the machine. */
void node_crash(struct node *n, bool power, int64_t at_us);
void node_pause(struct node *n, bool paused);
void node_set_rate(struct node *n, int32_t ppm);
/* The trap of the disk: dies at exactly that time. */
void node_die_at(struct node *n, int64_t at_us, bool power, const char *why);
/* A turn is due at at_us, or as soon as it can be. */
void node_wake(struct node *n, int64_t at_us);
int64_t node_local_us(const struct node *n, int64_t at_us);
int64_t node_time(const struct node *n); /* its own: ahead of the world's within a turn */
void node_settle(struct node *n);        /* carries out what the core wants */
/* False: the event came for an earlier life, or while paused (then it comes again). */
bool node_alive(struct node *n, uint64_t life, enum world_tag tag);

/* ---- node_disk.c ---- */
void log_push(struct node *n, struct log_batch *b);
void log_roll(struct node *n);
void log_drain(struct node *n);
void log_thread_end(struct node *n);
void on_log(void *data, uint64_t arg);
void snap_request(struct node *n);
void snap_hold(struct node *n);
void snap_release(struct node *n);
void snap_wait(struct node *n);       /* until none is under way */
void snap_thread_end(struct node *n); /* the disk is dead */
void on_snap(void *data, uint64_t arg);

/* ---- node_front.c ---- */
void front_begin(struct node *n);
void front_end(struct node *n);
void front_accepted(struct node *n, struct vsock *s);
void front_wake(struct node *n, int64_t at_us);
void front_flush_all(struct node *n);
void on_front(void *data, uint64_t arg);

/* ---- invariants.c ---- */
void inv_appended(struct node *n, int64_t zxid, struct buf txn);
void inv_durable(struct node *n, int64_t zxid, int64_t at_us);
void inv_log_moved(struct node *n, int64_t zxid, int64_t at_us);
void inv_applied(struct node *n);                      /* one transaction, by core_apply */
void inv_become(struct node *n, enum core_role role, int64_t epoch);
void inv_sending(struct node *n, bool to_leader, struct buf packets);
void inv_epoch_file(struct node *n, const char *path, struct buf content);
void inv_crashed(struct node *n, bool power, int64_t at_us);
void inv_boots(struct node *n);
void inv_recovered(struct node *n);
void inv_wiped(struct node *n);
void inv_turn(struct node *n);
void inv_final(struct cluster *cl);
int64_t inv_last_committed(const struct cluster *cl);
bool inv_on_quorums(struct node *n, int64_t zxid); /* proposed, and on the disks of the quorums that it needs, at this moment of the node's time */
/* Would the others still have all that was committed, on a quorum? */
bool inv_may_lose(const struct cluster *cl, const struct node *n);
void inv_done(struct cluster *cl);

/* ---- nemesis.c ---- */
void nemesis_plan(struct cluster *cl);
void nemesis_stop(struct cluster *cl); /* heals everything, starts everybody */
void nemesis_done(struct cluster *cl);
/* A process ended by itself, or could not start. */
void nemesis_process_ended(struct node *n);
bool nemesis_disk_fails(const struct node *n); /* by the schedule, now */
/* Where most of what once lost data lies: a moment that a fault at any time of a minute seldom hits. */
enum ambush {
    AMBUSH_NONE,
    AMBUSH_SYNC, /* a learner has told the leader what it has: its history is brought in line next */
    AMBUSH_LEAD, /* a server was elected, and waits for learners */
    AMBUSH_MOVE, /* a server is about to change its history on disk: a truncation, a snapshot in its place */
};
/* The server is there; a fault may have waited for it. */
void nemesis_lurks(struct node *n, enum ambush where);

/* ---- load.c ---- */
void load_begin(struct cluster *cl);
void load_stop(struct cluster *cl);
/* No client asks for another configuration any more. */
void load_settle_config(struct cluster *cl);
bool load_config_settled(const struct cluster *cl);
bool load_idle(const struct cluster *cl);
void load_done(struct cluster *cl);
void load_figures(const struct cluster *cl, struct sim_result *ret);

#endif
