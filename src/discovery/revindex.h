/* revindex.h - addresses to those who have them, with a prefix test: a crit-bit tree per family.
 *
 * A tree rather than a hash, because NODATA at interior names of in-addr.arpa and ip6.arpa asks whether
 * anything lies below a prefix. Costs one leaf and one branch per distinct address; every operation is
 * O(bits) whatever the size. Owners are opaque pointers, kept in the order of `cmp`. */
#ifndef DISCOVERY_REVINDEX_H
#define DISCOVERY_REVINDEX_H

#include "discovery/model.h"

struct revindex {
    void *root[2];                            /* family 4, 6; tagged: bit 0 set is a branch */
    int (*cmp)(const void *a, const void *b); /* of owners; 0 only for the same owner */
    size_t count;                             /* distinct addresses */
};

struct rev_owners {
    void *const *items;
    size_t count;
};

void revindex_init(struct revindex *x, int (*cmp)(const void *a, const void *b));
void revindex_done(struct revindex *x);
/* An owner has an address once: adding a pair twice, or removing one that is not there, is a bug of the
 * caller. */
void revindex_add(struct revindex *x, const struct ip *ip, void *owner);
void revindex_del(struct revindex *x, const struct ip *ip, void *owner);
struct rev_owners revindex_get(const struct revindex *x,
                               const struct ip *ip); /* valid until the next change */
bool revindex_below(const struct revindex *x, uint8_t family, const uint8_t *prefix, size_t bits);

#endif
