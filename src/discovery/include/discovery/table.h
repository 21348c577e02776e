/* table.h - the in-memory service table: what every answer (DNS, HTTP, resolver, proxy) is read from.
 *
 * Purpose    Holds the Services and endpoints of one cluster's registry, indexed for look-ups by name, endpoint label and
 *            address. Fed by changes below <root>/<cluster> (one persistent recursive watch). Never emptied by a loss of
 *            the session: it grows stale, and says so.
 * Threading  Lives on one loop; no locks. Pointers handed out stay valid until the next change (the loop's next event).
 * Names      Look-ups take lower-case names. */
#ifndef DISCOVERY_TABLE_H
#define DISCOVERY_TABLE_H

#include "discovery/model.h"

struct svc_table;
struct quoll_client;

/* One endpoint of a service: the union over its slices, by (address, port set); an address that is in two slices appears once,
 * the newer slice and serving over not serving wins. */
struct svc_endpoint {
    struct ip addr;
    const char *label;    /* its DNS label: hostname, else the address with . or : turned into - ("::" at the end gets a 0) */
    bool has_hostname;
    const char *node, *zone, *pod;
    bool ready, serving, terminating;
    const struct slice_port *ports; /* of its slice */
    size_t port_count;
};

struct svc_entry {
    const struct svc *svc;
    const struct svc_endpoint *endpoints; /* sorted by label, then address */
    size_t endpoint_count, ready_count;
};

/* ---- reading ---- */
bool table_namespace_exists(const struct svc_table *t, struct buf ns);
const struct svc_entry *table_service(const struct svc_table *t, struct buf ns, struct buf name);
/* All endpoints of e with that label: returns the first and their count, or NULL. */
const struct svc_endpoint *table_endpoints_by_label(const struct svc_table *t, const struct svc_entry *e, struct buf label,
                                                    size_t *ret_count);
/* Who has this address: cluster IPs first (endpoint NULL), then ready endpoints of headless services, each service once. */
struct table_owner {
    const struct svc_entry *entry;
    const struct svc_endpoint *endpoint;
};
size_t table_reverse(const struct svc_table *t, const struct ip *addr, struct table_owner *ret, size_t max);
/* Does any address that table_reverse would find lie below this prefix of `nibbles` 4-bit digits (IPv6) or octets (IPv4)?
 * For NODATA at interior nodes of the reverse tree. */
bool table_reverse_prefix(const struct svc_table *t, uint8_t family, const uint8_t *prefix, size_t prefix_len_bits);
/* Iterates namespaces, and services of one namespace (ns.p NULL: of all), sorted by name. */
void table_each_namespace(const struct svc_table *t, void (*fn)(const char *ns, void *data), void *data);
void table_each_service(const struct svc_table *t, struct buf ns, void (*fn)(const struct svc_entry *e, void *data),
                        void *data);
size_t table_service_count(const struct svc_table *t);
/* Is there a Pod with this address in that namespace? Pods are in the registry only when a writer was asked for them; they
 * make no namespace exist. */
bool table_pod_exists(const struct svc_table *t, struct buf ns, const struct ip *addr);
size_t table_pod_count(const struct svc_table *t);

bool table_synced(const struct svc_table *t);       /* complete at least once */
int64_t table_stale_ms(const struct svc_table *t);  /* 0: fresh; -1: never synced */
uint64_t table_generation(const struct svc_table *t); /* changes with every change that a reader could see */
int64_t table_changed_wall_ms(const struct svc_table *t); /* when that was */

/* Calls fn after changes of the table (coalesced; for sync state changes too) until removed. */
struct table_listener {
    void (*fn)(struct svc_table *t, void *data);
    void *data;
    struct table_listener *next; /* the table's */
};
void table_listen(struct svc_table *t, struct table_listener *l);
void table_unlisten(struct svc_table *t, struct table_listener *l);

/* ---- feeding, by hand (tests) or from ZooKeeper ---- */
struct svc_table *table_new(void);
void table_free(struct svc_table *t);
/* `path` relative to <root>/<cluster>: "ns", "ns/svc", "ns/svc/slice", ".pods/ns/pod". Nodes that are none of ours (other names
 * starting with '.', undecodable data, deeper paths) are ignored; undecodable data of a known node keeps its last good state and is counted. */
void table_put(struct svc_table *t, const char *path, const void *data, size_t len, int64_t now_wall_ms);
void table_remove(struct svc_table *t, const char *path, int64_t now_wall_ms);
void table_set_synced(struct svc_table *t);
/* since_mono_ms: when the connection was lost; 0: fresh again. */
void table_set_stale(struct svc_table *t, int64_t since_mono_ms);
uint64_t table_bad_nodes(const struct svc_table *t);

/* Feeds t from <root>/<cluster> through a client on the same loop, until table_detach. root: "/quoll/registry". */
int table_attach(struct svc_table *t, struct quoll_client *client, const char *root, const char *cluster);
void table_detach(struct svc_table *t);

#define REGISTRY_ROOT_DEFAULT "/quoll/registry"
#define REGISTRY_CLUSTER_DEFAULT "default"

#endif
