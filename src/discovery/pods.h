/* pods.h - which namespace has a Pod with which address: the part of the table that answers names of Pods.
 *
 * Purpose    One small record a Pod (its addresses, nothing else), indexed by address. Several Pods may have one address:
 *            those on their node's network do.
 * Ownership  Owns everything in it. Names are borrowed for the call.
 * Threading  That of the table. */
#ifndef DISCOVERY_PODS_H
#define DISCOVERY_PODS_H

#include "base/map.h"
#include "revindex.h"

struct pod_set {
    struct strmap namespaces; /* name -> pods of that namespace */
    struct revindex by_ip;
    size_t count;
};

void pod_set_init(struct pod_set *s);
void pod_set_done(struct pod_set *s);
/* 1: something that a reader can see has changed; 0: nothing; RC_MALFORMED, RC_UNSUPPORTED: the data cannot be read, and
 * what was known of that Pod stands. */
int pod_set_put(struct pod_set *s, struct buf ns, struct buf name, const void *data, size_t len);
/* Removes a Pod, or with name.p NULL all of a namespace, or with ns.p NULL all. True when there was something. */
bool pod_set_remove(struct pod_set *s, struct buf ns, struct buf name);
bool pod_set_has(const struct pod_set *s, struct buf ns, const struct ip *ip);

#endif
