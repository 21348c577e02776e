/* dns.h - the DNS server: questions about services answered from the service table.
 *
 * dns_answer   The sans-I/O core: one query in, one reply out.
 * dns_server   The shell: UDP and TCP listeners, forwarding, on one uv loop (that of the table).
 * Source       Kubernetes DNS-Based Service Discovery 1.1.0; RFC 1034, 1035, 2308, 2782, 3596, 6891, 7766, 8020. */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include <sys/socket.h>
#include <uv.h>

#include "base/bytes.h"
#include "discovery/table.h"

/* What a-b-c-d.<namespace>.pod.<zone> answers, where the namespace exists. */
enum dns_pods {
    DNS_PODS_DISABLED, /* nothing: there are no such names */
    DNS_PODS_INSECURE, /* the address in the name, whoever has it */
    DNS_PODS_VERIFIED, /* the same, if a Pod of that namespace has it (table_pod_exists) */
};
extern const char *const dns_pods_names[]; /* "disabled", "insecure", "verified", NULL: by the enum's values */

struct dns_config {
    const char *const *zones; /* absolute, with or without trailing dot; the first that is not a reverse zone is primary */
    size_t zone_count;        /* 0: cluster.local, in-addr.arpa, ip6.arpa */
    uint32_t ttl_s;           /* 0..3600 */
    const char *const *namespaces; /* allow list; count 0: all */
    size_t namespace_count;
    enum dns_pods pods;
    bool ignore_empty;        /* a ClusterIP service without a ready endpoint is NXDOMAIN too */
    const char *const *forward; /* upstream "ip[:port]" addresses for other names; count 0: REFUSED */
    size_t forward_count;
    size_t cache_entries;     /* of forwarded answers; 0: 10000 */
};

struct dns_server;

struct dns_stats { /* for metrics */
    uint64_t queries_udp, queries_tcp, replies[16] /* by rcode */, truncated, malformed, forwarded, forward_failed,
        cache_hits, cache_misses;
};

/* Checks the configuration: RC_INVAL and an owned line in *ret_error. The table is borrowed for the server's life. */
int dns_server_new(uv_loop_t *loop, const struct dns_config *cfg, const struct svc_table *table, struct dns_server **ret,
                   char **ret_error);
/* Binds UDP and TCP on one address; may be called several times. RC_INUSE, RC_DENIED, RC_IO. Port 0: picks one (the same
 * for both); *ret_port says which. */
int dns_server_listen(struct dns_server *s, const struct sockaddr *addr, int *ret_port);
void dns_server_stats(const struct dns_server *s, struct dns_stats *ret);
/* Stops at once; `closed` (may be NULL) when the loop has freed all. */
void dns_server_close(struct dns_server *s, void (*closed)(void *data), void *data);

#endif
