/* answer.h - the sans-I/O core of the DNS server: a query and the service table in, a reply out.
 *
 * Purpose    Decides every answer: zones, names, existence, records, truncation. No sockets, no clock; randomness from a seed.
 * Upstream   What the table cannot answer comes back as DNS_FORWARD or DNS_CHAIN with a question for an upstream server. The
 *            shell asks it and calls dns_answer again with the same query and the result: no state is kept in between.
 * Ownership  A core borrows its table. Reply bytes are the caller's.
 * Threading  One caller at a time: that of the table.
 * Memory     Nothing is allocated per query once the scratch space has grown to the largest service.
 * Source     Kubernetes DNS-Based Service Discovery 1.1.0; the decision order of CoreDNS, whose clients depend on it, with
 *            empty non-terminals as RFC 8020 wants them. */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include "dns/dns.h"
#include "wire.h"

struct dns_core;

/* Checks cfg's zones, TTL and namespaces: RC_INVAL and an owned line in *ret_error. */
int dns_core_new(const struct dns_config *cfg, const struct svc_table *table, uint64_t seed, struct dns_core **ret,
                 char **ret_error);
void dns_core_free(struct dns_core *c);
/* An address that the server answers on, told in ns.dns.<zone>. */
void dns_core_add_self(struct dns_core *c, const struct ip *ip);

enum dns_verdict {
    DNS_DROP,    /* not a query: no reply */
    DNS_REPLY,   /* reply->n bytes are ready */
    DNS_FORWARD, /* reply->ask is for an upstream server: the whole answer is its */
    DNS_CHAIN,   /* the same, for the target of a CNAME of ours */
};

/* What an upstream server said to a question, for the second call. */
struct dns_upstream {
    struct dname name; /* the question, lower case */
    uint16_t type;
    const struct dns_msg *msg; /* NULL: nobody answered */
    uint32_t age_s;            /* seconds that it stood in the cache */
};

struct dns_request {
    const uint8_t *p; /* the query */
    size_t n;
    bool tcp;
    struct ip local;  /* the address that was asked; family 0: unknown */
    const struct dns_upstream *upstream; /* NULL on the first call */
};

/* A question for an upstream server. */
struct dns_ask {
    struct dname name; /* lower case */
    uint16_t type;
    bool dnssec_ok, cd;
};

struct dns_reply {
    uint8_t *p; /* the caller's bytes */
    size_t cap; /* at least DNS_UDP_MAX, over TCP DNS_MSG_MAX */
    size_t n;
    uint16_t rcode;
    bool truncated;
    bool malformed; /* dropped, or answered FORMERR */
    struct dns_ask ask; /* DNS_FORWARD, DNS_CHAIN */
};

enum dns_verdict dns_answer(struct dns_core *c, const struct dns_request *req, struct dns_reply *reply);

#endif
