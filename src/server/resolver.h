/* resolver.h - host names to addresses, without the asking thread ever waiting.
 *
 * Purpose    getaddrinfo blocks for seconds when a name server is gone, so it runs on threads made when needed, at most RESOLVER_THREADS. Nothing is
 *            cached: a Pod that moved is found at the next attempt.
 * Threading  All functions from one thread, the owner's. resolver_fd becomes readable when an answer waits.
 * Ownership  Names are copied; an answer's addresses belong to who took it.
 * End        resolver_free does not wait for resolutions under way: their threads end by themselves and free what they share. */
#ifndef SERVER_RESOLVER_H
#define SERVER_RESOLVER_H

#include "server/qnet.h"

#define RESOLVER_THREADS 8
#define RESOLVER_ADDRS_MAX 64 /* in one answer */

/* A place to connect to or to listen at. */
struct net_name {
    char *host; /* a name, or a literal without brackets */
    uint16_t port;
};
void net_names_free(struct net_name *names, size_t n);
bool net_names_equal(const struct net_name *a, size_t na, const struct net_name *b, size_t nb);

struct resolver_answer {
    uint64_t job;
    struct sockaddr_storage *addrs; /* with ports, in the order of the names, without duplicates */
    size_t n;                       /* 0: none of the names has an address */
};

struct resolver;
struct resolver *resolver_new(qnet_resolve_fn resolve, void *data); /* NULL: no eventfd to be had; resolve NULL: getaddrinfo */
void resolver_free(struct resolver *r);
int resolver_fd(const struct resolver *r);
/* Returns the job's number, never 0. */
uint64_t resolver_ask(struct resolver *r, const struct net_name *names, size_t n);
/* Nobody waits for this answer any more. An answer may come still. */
void resolver_forget(struct resolver *r, uint64_t job);
bool resolver_next(struct resolver *r, struct resolver_answer *ret); /* false: no more for now */

/* When all names are literals: fills *ret as an answer (job 0) and returns true, at once. */
bool resolve_literals(const struct net_name *names, size_t n, struct resolver_answer *ret);
socklen_t net_addr_len(const struct sockaddr_storage *sa);

#endif
