/* core.h - what the files of the answering core share. */
#ifndef DNS_CORE_H
#define DNS_CORE_H

#include "answer.h"
#include "base/map.h"

enum { CHAIN_MAX = 10 }; /* CNAME links followed inside our own zones */

struct zone {
    struct dname name; /* lower case */
    uint8_t reverse;   /* 4: in or above in-addr.arpa, 6: ip6.arpa, 0: names of services */
    bool whole_tree;   /* exactly in-addr.arpa or ip6.arpa: most of it is other people's */
};

/* Hashes of what was seen during one answer; cleared by a new generation. */
struct seen {
    struct seen_slot {
        uint64_t hash;
        uint32_t generation;
    } *slots;
    size_t cap; /* a power of two */
    size_t len;
    uint32_t generation;
};

struct dns_core {
    const struct svc_table *table;
    struct zone *zones; /* the longest names first */
    size_t zone_count;
    const struct zone *primary; /* the zone that PTR and NS targets are in */
    uint32_t ttl_s;
    struct strmap allowed; /* namespaces; empty: all */
    enum dns_pods pods;
    bool ignore_empty, forwarding;
    struct VEC(struct ip) self;
    uint64_t rng;
    struct dns_writer w;
    struct seen seen;
    struct VEC(const struct ip *) addrs; /* scratch */
};

/* What there is at a name. */
enum look {
    LOOK_NXDOMAIN,
    LOOK_NODATA,
    LOOK_DATA,
    LOOK_CNAME, /* written; a->target is where it goes on */
};

/* One query on its way. */
struct answer {
    struct dns_core *c;
    const struct dns_request *req;
    struct dns_query q;
    uint16_t counts[4]; /* records of each section */
    uint16_t flags, rcode;

    /* The name being looked up: the question, then each CNAME target. */
    struct dname name;  /* with its case */
    struct dname lower;
    bool chained;       /* name is a CNAME's target, not the question */
    const struct zone *zone;
    struct dname target;
    uint64_t visited[CHAIN_MAX + 1];
    size_t visited_count;
};

/* ---- records.c: writing records into the reply ---- */

enum { SECTION_ANSWER = 1, SECTION_AUTHORITY, SECTION_ADDITIONAL }; /* indices of counts */

/* The endpoints or cluster IPs that an answer is made of. */
struct selection {
    const struct svc_entry *entry;
    const struct svc_endpoint *eps; /* NULL: the service's cluster IPs */
    size_t ep_count;
    struct buf port;  /* p NULL: any port */
    struct buf proto; /* lower case: "tcp" */
};

bool selection_port_matches(const struct selection *s, const char *name, enum svc_proto proto);
/* Does anything that is ready (or a cluster IP) match? */
bool selection_exists(const struct selection *s);
enum look put_selection(struct answer *a, const struct selection *s);
enum look put_addr(struct answer *a, const struct ip *ip); /* one A or AAAA, if the question wants that type */
enum look put_cname(struct answer *a, const char *external_name);
enum look put_ptr(struct answer *a, const struct table_owner *o);
enum look put_version(struct answer *a);
enum look put_self(struct answer *a);
enum look put_ns(struct answer *a);
enum look put_any(struct answer *a); /* RFC 8482 */
void put_soa(struct answer *a, int section);

/* ---- lookup.c: what is at a name ---- */
enum look lookup(struct answer *a);
bool namespace_visible(const struct dns_core *c, struct buf ns);

#endif
