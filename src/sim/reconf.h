/* reconf.h - an ensemble whose members change while it runs: which configurations there are, the files that keep them, and what must hold of them.
 *
 * Without sim_options.reconfig there is one configuration for ever, and each function here answers by that.
 *
 *   config.agreement      a server holds only configurations that were committed, and of one version one only
 *   config.monotonic      the committed configuration that a server holds never goes back, whatever ends it: its files keep it
 *   config.joint          a server that starts counts with every configuration of its log, so that a proposed one is not forgotten
 *   config.leader-quorum  a leader begins with acknowledgements from quorums of the configurations that it holds, and of the last committed one
 *   config.shown          /zookeeper/config of a server that serves is the last one committed in its history
 *   config.converged      in the end all servers hold the last one, and none that is only proposed
 *   zab.commit-quorum, zab.durability (invariants.c) ask for the quorums that the configurations of that time call for: who is not in them does not count */
#ifndef SIM_RECONF_H
#define SIM_RECONF_H

#include "cluster.h"

void reconf_begin(struct cluster *cl);
void reconf_done(struct cluster *cl);

/* ---- of one server ---- */
void reconf_node_begin(struct node *n); /* writes its first files */
void reconf_node_done(struct node *n);
/* What its files say goes into n->cfg. Who is not in the list any more is given new files first, as an operator would. RC_*: they are not right. */
int reconf_load(struct node *n, struct storage_error *err);
void reconf_wiped(struct node *n);      /* an empty disk: the operator's files again */
void reconf_host(struct node *n, struct peer_host *host);
bool reconf_is_observer(const struct node *n); /* by the configuration that it holds */

/* ---- what happens ---- */
void reconf_proposed(struct node *n, int64_t zxid, struct buf txn);
void reconf_committed(struct cluster *cl, int64_t zxid);
void reconf_crashed(struct node *n, int64_t at_us);
void reconf_booted(struct node *n);
void reconf_turn(struct node *n);
void reconf_leads(struct node *n, int64_t epoch);
void reconf_final(struct cluster *cl);

/* Is the set a quorum for the transaction zxid (INT64_MAX: for what comes next)? */
bool reconf_has_quorum(const struct cluster *cl, int64_t zxid, const struct sid_set *set);
bool reconf_is_voter(const struct cluster *cl, int64_t sid);
/* No server holds a proposed one, and none is being asked for. */
bool reconf_quiet(const struct cluster *cl);
/* Does the ensemble need this server, since the others are no quorum for what comes next? */
bool reconf_needs(const struct cluster *cl, const struct node *n);
/* May a server lose its memory, as far as configurations are concerned? */
bool reconf_may_lose(const struct cluster *cl);

#endif
