/* table.c - the in-memory service table: nodes as the registry holds them, and the indexes that answers are
 * read from.
 *
 * Three levels of nodes mirror the registry: namespace, service, slice. A change of a slice merges that
 * slice's sorted run into its service's sorted `raw` list at once (linear), and marks the service dirty. The
 * visible endpoint list (duplicates resolved) and the service's part of the reverse index are rebuilt when
 * somebody next looks: a burst of a hundred slices of one service costs one rebuild, and a change of one
 * service touches no other. */
#include "table_internal.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "pods.h"
#include "revindex.h"

struct slice_node {
    char *name;
    struct slice *slice; /* NULL: nothing decodable has been seen yet */
    uint64_t data_hash;
    uint64_t port_hash; /* of the port set, whatever its order */
    char **labels;      /* one per endpoint; its hostname's text or owned */
};

/* One endpoint of one slice, duplicates and all. */
struct raw {
    const char *label;
    const struct slice_endpoint *ep;
    const struct slice_node *from;
};
struct raw_vec VEC(struct raw);

struct rev_ref {
    struct ip ip;
    uint32_t endpoint; /* index into the visible list; REV_CLUSTER_IP: the service's own */
};
#define REV_CLUSTER_IP UINT32_MAX
struct rev_vec VEC(struct rev_ref);

struct svc_node {
    char *ns, *name;
    struct svc *svc; /* NULL: only slices have been seen, or the node is a mere parent */
    uint64_t data_hash;
    struct strmap slices;
    struct raw_vec raw;     /* sorted by raw_cmp */
    struct rev_vec rev;     /* sorted by address: exactly what the reverse index holds for us */
    struct svc_entry entry; /* good while not dirty */
    struct svc_endpoint *endpoints;
    struct list dirty; /* in svc_table.dirty, or alone */
};

struct ns_node {
    char *name;
    bool present; /* its own node has been seen, not only children */
    struct strmap services;
};

struct svc_table {
    struct strmap namespaces;
    struct revindex rev;
    struct pod_set pods;
    struct list dirty;
    size_t service_count;
    uint64_t generation, bad_nodes;
    int64_t changed_wall_ms, stale_since_ms;
    bool synced;
    struct table_listener *listeners;
    bool notifying;
    struct table_listener *notify_next; /* so that a listener may remove itself or the next */
    void (*schedule)(void *data);
    void *schedule_data;
    struct table_feed *feed;
};

/* ---- nodes ---- */

static int svc_node_cmp(const void *a, const void *b)
{
    const struct svc_node *x = a, *y = b;
    int c = strcmp(x->ns, y->ns);
    return c ? c : strcmp(x->name, y->name);
}

static void slice_node_clear(struct slice_node *sn)
{
    for (size_t i = 0; sn->slice && i < sn->slice->endpoint_count; i++) {
        if (sn->labels[i] != sn->slice->endpoints[i].hostname)
            free(sn->labels[i]);
    }
    free(sn->labels);
    sn->labels = NULL;
    slice_free(sn->slice);
    sn->slice = NULL;
}

static void slice_node_free(void *p)
{
    struct slice_node *sn = p;
    slice_node_clear(sn);
    free(sn->name);
    free(sn);
}

static void svc_node_rev_clear(struct svc_table *t, struct svc_node *n)
{
    for (size_t i = 0; i < n->rev.len; i++)
        revindex_del(&t->rev, &n->rev.items[i].ip, n);
    n->rev.len = 0;
}

static void svc_node_free(struct svc_table *t, struct svc_node *n)
{
    svc_node_rev_clear(t, n);
    list_remove(&n->dirty);
    strmap_free(&n->slices, slice_node_free);
    svc_free(n->svc);
    VEC_FREE(&n->raw);
    VEC_FREE(&n->rev);
    free(n->endpoints);
    free(n->ns);
    free(n->name);
    free(n);
}

static struct ns_node *ns_node_get(struct svc_table *t, struct buf ns)
{
    struct ns_node *n = strmap_get(&t->namespaces, ns);
    if (!n) {
        n = x_calloc(1, sizeof(*n));
        n->name = buf_dup(ns);
        strmap_set(&t->namespaces, ns, n);
    }
    return n;
}

static struct svc_node *svc_node_get(struct svc_table *t, struct buf ns, struct buf name)
{
    struct ns_node *parent = ns_node_get(t, ns);
    struct svc_node *n = strmap_get(&parent->services, name);
    if (!n) {
        n = x_calloc(1, sizeof(*n));
        n->ns = buf_dup(ns);
        n->name = buf_dup(name);
        list_init(&n->dirty);
        strmap_set(&parent->services, name, n);
    }
    return n;
}

static struct svc_node *svc_node_find(const struct svc_table *t, struct buf ns, struct buf name)
{
    struct ns_node *parent = strmap_get(&t->namespaces, ns);
    return parent ? strmap_get(&parent->services, name) : NULL;
}

/* Forgets nodes that nothing is known of. */
static void prune(struct svc_table *t, struct buf ns, struct svc_node *n)
{
    struct ns_node *parent = strmap_get(&t->namespaces, ns);
    if (n && !n->svc && n->slices.len == 0) {
        strmap_del(&parent->services, buf_str(n->name));
        svc_node_free(t, n);
    }
    if (parent && !parent->present && parent->services.len == 0) {
        strmap_del(&t->namespaces, ns);
        strmap_free(&parent->services, NULL);
        free(parent->name);
        free(parent);
    }
}

/* ---- merging endpoints ---- */

static int raw_cmp(const void *a, const void *b)
{
    const struct raw *x = a, *y = b;
    int c = strcmp(x->label, y->label);
    if (c == 0)
        c = ip_cmp(&x->ep->addr, &y->ep->addr);
    if (c == 0)
        c = strcmp(x->from->name, y->from->name);
    return c ? c : (x->ep > y->ep) - (x->ep < y->ep);
}

static uint64_t port_set_hash(const struct slice *s)
{
    uint64_t sum = s->port_count;
    for (size_t i = 0; i < s->port_count; i++) {
        const struct slice_port *p = &s->ports[i];
        sum += hash_u64(hash_bytes(p->name, strlen(p->name)) + ((uint64_t)p->port << 8 | (uint64_t)p->proto));
    }
    return sum;
}

/* Takes the old run of sn out of n->raw and merges the new one in. The old slice must still be there to be
 * compared by. */
static void raw_replace(struct svc_node *n, struct slice_node *sn, struct raw *run, size_t count)
{
    struct raw_vec out = {0};
    size_t j = 0;

    VEC_RESERVE(&out, n->raw.len + count);
    for (size_t i = 0; i < n->raw.len; i++) {
        if (n->raw.items[i].from == sn)
            continue;
        while (j < count && raw_cmp(&run[j], &n->raw.items[i]) < 0)
            out.items[out.len++] = run[j++];
        out.items[out.len++] = n->raw.items[i];
    }
    while (j < count)
        out.items[out.len++] = run[j++];
    VEC_FREE(&n->raw);
    n->raw = out;
}

static void slice_node_set(struct svc_node *n, struct slice_node *sn, struct slice *s)
{
    raw_replace(n, sn, NULL, 0);
    slice_node_clear(sn);
    sn->slice = s;
    sn->port_hash = port_set_hash(s);
    sn->labels = x_calloc(s->endpoint_count + 1, sizeof(*sn->labels));
    struct raw *run = x_calloc(s->endpoint_count + 1, sizeof(*run));
    for (size_t i = 0; i < s->endpoint_count; i++) {
        struct slice_endpoint *ep = &s->endpoints[i];
        if (ep->hostname[0]) {
            sn->labels[i] = ep->hostname;
        } else {
            char text[IP_TEXT_MAX];
            ip_label(&ep->addr, text);
            sn->labels[i] = x_strdup(text);
        }
        run[i] = (struct raw){sn->labels[i], ep, sn};
    }
    qsort(run, s->endpoint_count, sizeof(*run), raw_cmp);
    raw_replace(n, sn, run, s->endpoint_count);
    free(run);
}

/* Of two records of one endpoint: the one of the slice that changed last, then what serves, then what is
 * ready. */
static bool raw_better(const struct raw *a, const struct raw *b)
{
    int64_t ta = a->from->slice->trigger_time_ms, tb = b->from->slice->trigger_time_ms;
    if (ta != tb && ta && tb)
        return ta > tb;
    if (a->ep->serving != b->ep->serving)
        return a->ep->serving;
    return a->ep->ready && !b->ep->ready;
}

static bool raw_same(const struct raw *a, const struct raw *b)
{
    return ip_eq(&a->ep->addr, &b->ep->addr) && a->from->port_hash == b->from->port_hash;
}

/* Marks those of raw that another record of the same endpoint beats. Owned array. */
static bool *raw_losers(const struct raw_vec *raw)
{
    bool *lost = x_calloc(raw->len + 1, sizeof(*lost));
    size_t cap = 16;
    while (cap < raw->len * 2)
        cap *= 2;
    uint32_t *slots = x_calloc(cap, sizeof(*slots)); /* index + 1 */

    for (size_t i = 0; i < raw->len; i++) {
        const struct raw *r = &raw->items[i];
        size_t h = (hash_bytes(r->ep->addr.b, sizeof(r->ep->addr.b)) ^ r->from->port_hash) & (cap - 1);
        while (slots[h] && !raw_same(&raw->items[slots[h] - 1], r))
            h = (h + 1) & (cap - 1);
        if (slots[h] && !raw_better(r, &raw->items[slots[h] - 1])) {
            lost[i] = true;
            continue;
        }
        if (slots[h])
            lost[slots[h] - 1] = true;
        slots[h] = (uint32_t)i + 1;
    }
    free(slots);
    return lost;
}

static void rebuild_endpoints(struct svc_node *n)
{
    bool *lost = raw_losers(&n->raw);
    size_t count = 0, ready = 0;

    free(n->endpoints);
    n->endpoints = x_calloc(n->raw.len + 1, sizeof(*n->endpoints));
    for (size_t i = 0; i < n->raw.len; i++) {
        const struct raw *r = &n->raw.items[i];
        if (lost[i])
            continue;
        n->endpoints[count++] = (struct svc_endpoint){
            .addr = r->ep->addr,
            .label = r->label,
            .has_hostname = r->ep->hostname[0] != '\0',
            .node = r->ep->node,
            .zone = r->ep->zone,
            .pod = r->ep->pod,
            .ready = r->ep->ready,
            .serving = r->ep->serving,
            .terminating = r->ep->terminating,
            .ports = r->from->slice->ports,
            .port_count = r->from->slice->port_count,
        };
        ready += r->ep->ready;
    }
    free(lost);
    n->entry = (struct svc_entry){n->svc, n->endpoints, count, ready};
}

/* ---- the reverse index ---- */

static int rev_ref_cmp(const void *a, const void *b)
{
    const struct rev_ref *x = a, *y = b;
    int c = ip_cmp(&x->ip, &y->ip);
    return c ? c : (x->endpoint > y->endpoint) - (x->endpoint < y->endpoint);
}

/* What the service's part of the index has to be: sorted, each address once (the first endpoint by label). */
static struct rev_vec rev_wanted(const struct svc_node *n)
{
    struct rev_vec v = {0};
    size_t out = 0;

    if (!n->svc)
        return v;
    for (size_t i = 0; i < n->svc->cluster_ip_count; i++)
        VEC_PUSH(&v, ((struct rev_ref){n->svc->cluster_ips[i], REV_CLUSTER_IP}));
    for (size_t i = 0; n->svc->headless && i < n->entry.endpoint_count; i++) {
        if (n->endpoints[i].ready)
            VEC_PUSH(&v, ((struct rev_ref){n->endpoints[i].addr, (uint32_t)i}));
    }
    if (v.len == 0)
        return v;
    qsort(v.items, v.len, sizeof(*v.items), rev_ref_cmp);
    for (size_t i = 1; i < v.len; i++) {
        if (!ip_eq(&v.items[i].ip, &v.items[out].ip))
            v.items[++out] = v.items[i];
    }
    v.len = out + 1;
    return v;
}

/* Both lists are sorted: one walk finds what to add and what to take out. */
static void rebuild_rev(struct svc_table *t, struct svc_node *n)
{
    struct rev_vec want = rev_wanted(n);
    size_t i = 0, j = 0;

    while (i < n->rev.len || j < want.len) {
        int c = i == n->rev.len ? 1 : j == want.len ? -1 : ip_cmp(&n->rev.items[i].ip, &want.items[j].ip);
        if (c < 0)
            revindex_del(&t->rev, &n->rev.items[i++].ip, n);
        else if (c > 0)
            revindex_add(&t->rev, &want.items[j++].ip, n);
        else
            i++, j++;
    }
    VEC_FREE(&n->rev);
    n->rev = want;
}

static void mark_dirty(struct svc_table *t, struct svc_node *n)
{
    if (list_empty(&n->dirty))
        list_push_back(&t->dirty, &n->dirty);
}

/* Reading rebuilds what is due: a cache filling itself behind a const interface. */
static void flush_service(const struct svc_table *ct, struct svc_node *n)
{
    struct svc_table *t = (struct svc_table *)ct;
    if (list_empty(&n->dirty))
        return;
    list_remove(&n->dirty);
    rebuild_endpoints(n);
    rebuild_rev(t, n);
}

static void flush_all(const struct svc_table *ct)
{
    struct svc_table *t = (struct svc_table *)ct;
    while (!list_empty(&t->dirty))
        flush_service(t, CONTAINER_OF(t->dirty.next, struct svc_node, dirty));
}

/* ---- reading ---- */

bool table_namespace_exists(const struct svc_table *t, struct buf ns)
{
    return strmap_get(&t->namespaces, ns) != NULL;
}

const struct svc_entry *table_service(const struct svc_table *t, struct buf ns, struct buf name)
{
    struct svc_node *n = svc_node_find(t, ns, name);
    if (!n || !n->svc)
        return NULL;
    flush_service(t, n);
    return &n->entry;
}

static int label_cmp(const char *a, struct buf b)
{
    int c = strncmp(a, (const char *)b.p, b.n);
    return c ? c : a[b.n] != '\0';
}

const struct svc_endpoint *table_endpoints_by_label(const struct svc_table *t, const struct svc_entry *e,
                                                    struct buf label, size_t *ret_count)
{
    size_t lo = 0, hi = e->endpoint_count;

    (void)t;
    *ret_count = 0;
    if (label.n == 0 || memchr(label.p, '\0', label.n))
        return NULL;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (label_cmp(e->endpoints[mid].label, label) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (hi = lo; hi < e->endpoint_count && label_cmp(e->endpoints[hi].label, label) == 0;)
        hi++;
    *ret_count = hi - lo;
    return hi > lo ? &e->endpoints[lo] : NULL;
}

static const struct rev_ref *rev_find(const struct svc_node *n, const struct ip *ip)
{
    size_t lo = 0, hi = n->rev.len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ip_cmp(&n->rev.items[mid].ip, ip) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    ASSERT(lo < n->rev.len && ip_eq(&n->rev.items[lo].ip, ip));
    return &n->rev.items[lo];
}

size_t table_reverse(const struct svc_table *t, const struct ip *addr, struct table_owner *ret, size_t max)
{
    size_t count = 0;

    flush_all(t);
    struct rev_owners owners = revindex_get(&t->rev, addr);
    for (int want_endpoint = 0; want_endpoint < 2; want_endpoint++) {
        for (size_t i = 0; i < owners.count && count < max; i++) {
            const struct svc_node *n = owners.items[i];
            const struct rev_ref *ref = rev_find(n, addr);
            if ((ref->endpoint != REV_CLUSTER_IP) != want_endpoint)
                continue;
            ret[count++] =
                (struct table_owner){&n->entry, want_endpoint ? &n->endpoints[ref->endpoint] : NULL};
        }
    }
    return count;
}

bool table_reverse_prefix(const struct svc_table *t, uint8_t family, const uint8_t *prefix,
                          size_t prefix_len_bits)
{
    flush_all(t);
    return revindex_below(&t->rev, family, prefix, prefix_len_bits);
}

static int str_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of a map, sorted; borrowed texts in an owned array. */
static const char **sorted_keys(const struct strmap *m)
{
    const char **keys = x_calloc(m->len + 1, sizeof(*keys));
    size_t n = 0;
    STRMAP_EACH(slot, m)
    {
        keys[n++] = slot->key;
    }
    qsort(keys, n, sizeof(*keys), str_cmp);
    return keys;
}

void table_each_namespace(const struct svc_table *t, void (*fn)(const char *ns, void *data), void *data)
{
    const char **keys = sorted_keys(&t->namespaces);
    for (size_t i = 0; i < t->namespaces.len; i++)
        fn(keys[i], data);
    free(keys);
}

static void each_service_of(const struct svc_table *t, const struct ns_node *ns,
                            void (*fn)(const struct svc_entry *e, void *data), void *data)
{
    const char **keys = sorted_keys(&ns->services);
    for (size_t i = 0; i < ns->services.len; i++) {
        struct svc_node *n = strmap_get_s(&ns->services, keys[i]);
        if (!n->svc)
            continue;
        flush_service(t, n);
        fn(&n->entry, data);
    }
    free(keys);
}

void table_each_service(const struct svc_table *t, struct buf ns,
                        void (*fn)(const struct svc_entry *e, void *data), void *data)
{
    if (ns.p) {
        const struct ns_node *n = strmap_get(&t->namespaces, ns);
        if (n)
            each_service_of(t, n, fn, data);
        return;
    }
    const char **keys = sorted_keys(&t->namespaces);
    for (size_t i = 0; i < t->namespaces.len; i++)
        each_service_of(t, strmap_get_s(&t->namespaces, keys[i]), fn, data);
    free(keys);
}

size_t table_service_count(const struct svc_table *t)
{
    return t->service_count;
}

bool table_pod_exists(const struct svc_table *t, struct buf ns, const struct ip *addr)
{
    return pod_set_has(&t->pods, ns, addr);
}

size_t table_pod_count(const struct svc_table *t)
{
    return t->pods.count;
}

bool table_synced(const struct svc_table *t)
{
    return t->synced;
}

int64_t table_stale_ms(const struct svc_table *t)
{
    if (!t->synced)
        return -1;
    return t->stale_since_ms ? MAX(clock_mono_ms() - t->stale_since_ms, 1) : 0;
}

uint64_t table_generation(const struct svc_table *t)
{
    return t->generation;
}

int64_t table_changed_wall_ms(const struct svc_table *t)
{
    return t->changed_wall_ms;
}

uint64_t table_bad_nodes(const struct svc_table *t)
{
    return t->bad_nodes;
}

/* ---- listeners ---- */

void table_listen(struct svc_table *t, struct table_listener *l)
{
    l->next = t->listeners;
    t->listeners = l;
}

void table_unlisten(struct svc_table *t, struct table_listener *l)
{
    if (t->notify_next == l)
        t->notify_next = l->next;
    for (struct table_listener **at = &t->listeners; *at; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            l->next = NULL;
            return;
        }
    }
}

void table_set_scheduler(struct svc_table *t, void (*schedule)(void *data), void *data)
{
    t->schedule = schedule;
    t->schedule_data = data;
}

struct table_feed **table_feed_slot(struct svc_table *t)
{
    return &t->feed;
}

void table_notify(struct svc_table *t)
{
    ASSERT(!t->notifying); /* listeners read; they do not feed */
    t->notifying = true;
    for (struct table_listener *l = t->listeners; l; l = t->notify_next) {
        t->notify_next = l->next;
        l->fn(t, l->data);
    }
    t->notify_next = NULL;
    t->notifying = false;
}

static void changed_state(struct svc_table *t)
{
    if (t->schedule)
        t->schedule(t->schedule_data);
    else
        table_notify(t);
}

static void changed(struct svc_table *t, int64_t now_wall_ms)
{
    t->generation++;
    /* The SOA serial comes from this: it must not go back when the wall clock does. */
    t->changed_wall_ms = MAX(t->changed_wall_ms, now_wall_ms);
    changed_state(t);
}

/* ---- feeding ---- */

struct svc_table *table_new(void)
{
    struct svc_table *t = x_calloc(1, sizeof(*t));
    list_init(&t->dirty);
    revindex_init(&t->rev, svc_node_cmp);
    pod_set_init(&t->pods);
    return t;
}

static void services_free(struct svc_table *t, struct ns_node *ns)
{
    STRMAP_EACH(slot, &ns->services)
    {
        struct svc_node *n = slot->value;
        t->service_count -= n->svc != NULL;
        svc_node_free(t, n);
    }
    strmap_free(&ns->services, NULL);
    ns->services = (struct strmap){0};
}

void table_free(struct svc_table *t)
{
    if (!t)
        return;
    ASSERT(t->feed == NULL); /* table_detach comes first */
    STRMAP_EACH(slot, &t->namespaces)
    {
        struct ns_node *ns = slot->value;
        services_free(t, ns);
        free(ns->name);
        free(ns);
    }
    strmap_free(&t->namespaces, NULL);
    revindex_done(&t->rev);
    pod_set_done(&t->pods);
    free(t);
}

struct node_path {
    struct buf part[3];
    size_t depth; /* 0: none of ours */
};

static struct node_path path_split(const char *path)
{
    struct node_path p = {0};

    for (const char *s = path;;) {
        size_t n = strcspn(s, "/");
        bool last = s[n] == '\0';
        /* Namespaces and services are DNS labels; a slice may have any name but a hidden one. */
        bool ok = p.depth < 2 ? name_is_label(s, n) : p.depth == 2 && n > 0 && s[0] != '.';
        if (!ok)
            return (struct node_path){0};
        p.part[p.depth++] = buf_of(s, n);
        if (last)
            return p;
        s += n + 1;
    }
}

static void put_namespace(struct svc_table *t, struct buf ns, int64_t now_wall_ms)
{
    struct ns_node *n = ns_node_get(t, ns);
    if (!n->present) {
        n->present = true;
        changed(t, now_wall_ms);
    }
}

static void drop_service(struct svc_table *t, struct svc_node *n)
{
    if (!n->svc)
        return;
    svc_free(n->svc);
    n->svc = NULL;
    n->data_hash = 0;
    t->service_count--;
    mark_dirty(t, n);
}

static void put_service(struct svc_table *t, const struct node_path *p, const void *data, size_t len,
                        int64_t now_wall_ms)
{
    struct svc_node *n = svc_node_find(t, p->part[0], p->part[1]);
    uint64_t hash = hash_bytes(data, len);

    if (len ==
        0) { /* a mere parent: what a writer leaves when foreign nodes are below a service that is gone */
        if (n && n->svc) {
            drop_service(t, n);
            prune(t, p->part[0], n);
            changed(t, now_wall_ms);
        }
        return;
    }
    if (n && n->svc && n->data_hash == hash)
        return;
    char *ns = buf_dup(p->part[0]), *name = buf_dup(p->part[1]);
    struct svc *s;
    if (svc_decode(ns, name, data, len, &s, NULL) < 0) {
        t->bad_nodes++;
    } else {
        n = svc_node_get(t, p->part[0], p->part[1]);
        t->service_count += n->svc == NULL;
        svc_free(n->svc);
        n->svc = s;
        n->data_hash = hash;
        mark_dirty(t, n);
        changed(t, now_wall_ms);
    }
    free(ns);
    free(name);
}

static void put_slice(struct svc_table *t, const struct node_path *p, const void *data, size_t len,
                      int64_t now_wall_ms)
{
    struct svc_node *n = svc_node_find(t, p->part[0], p->part[1]);
    struct slice_node *sn = n ? strmap_get(&n->slices, p->part[2]) : NULL;
    uint64_t hash = hash_bytes(data, len);
    struct slice *s;

    if (sn && sn->data_hash == hash)
        return;
    char *name = buf_dup(p->part[2]);
    if (slice_decode(name, data, len, &s, NULL) < 0) {
        t->bad_nodes++;
        free(name);
        return;
    }
    n = svc_node_get(t, p->part[0], p->part[1]);
    if (!sn) {
        sn = x_calloc(1, sizeof(*sn));
        sn->name = name;
        name = NULL; /* sn owns it now */
        strmap_set(&n->slices, p->part[2], sn);
    }
    free(name);
    slice_node_set(n, sn, s);
    sn->data_hash = hash;
    mark_dirty(t, n);
    changed(t, now_wall_ms);
}

/* What is behind ".pods/": a namespace, or a Pod of one. Pods may have dots in their names. */
static struct node_path pod_path_split(const char *path)
{
    struct node_path p = {0};
    size_t n = strcspn(path, "/");

    if (!name_is_label(path, n))
        return p;
    p.part[0] = buf_of(path, n);
    if (path[n] == '\0') {
        p.depth = 1;
        return p;
    }
    const char *name = path + n + 1;
    if (!name_is_dns(name, strlen(name)))
        return p;
    p.part[1] = buf_str(name);
    p.depth = 2;
    return p;
}

static void put_pod(struct svc_table *t, const char *path, const void *data, size_t len, int64_t now_wall_ms)
{
    struct node_path p = path[0] == '/' ? pod_path_split(path + 1) : (struct node_path){0};

    if (p.depth != 2)
        return; /* the nodes above the Pods say nothing */
    int rc = pod_set_put(&t->pods, p.part[0], p.part[1], data, len);
    t->bad_nodes += rc < 0;
    if (rc > 0)
        changed(t, now_wall_ms);
}

void table_put(struct svc_table *t, const char *path, const void *data, size_t len, int64_t now_wall_ms)
{
    struct node_path p = path_split(path);

    if (!data)
        data = "", len = 0;
    if (registry_in_pods(path))
        put_pod(t, path + strlen(REGISTRY_PODS), data, len, now_wall_ms);
    else if (p.depth == 1)
        put_namespace(t, p.part[0], now_wall_ms);
    else if (p.depth == 2)
        put_service(t, &p, data, len, now_wall_ms);
    else if (p.depth == 3)
        put_slice(t, &p, data, len, now_wall_ms);
}

static bool remove_namespace(struct svc_table *t, struct buf ns)
{
    struct ns_node *n = strmap_get(&t->namespaces, ns);
    if (!n)
        return false;
    services_free(t, n);
    n->present = false;
    prune(t, ns, NULL);
    return true;
}

static bool remove_service(struct svc_table *t, const struct node_path *p)
{
    struct svc_node *n = svc_node_find(t, p->part[0], p->part[1]);
    if (!n)
        return false;
    drop_service(t, n);
    n->raw.len = 0;
    strmap_free(&n->slices, slice_node_free);
    n->slices = (struct strmap){0};
    prune(t, p->part[0], n);
    return true;
}

static bool remove_slice(struct svc_table *t, const struct node_path *p)
{
    struct svc_node *n = svc_node_find(t, p->part[0], p->part[1]);
    struct slice_node *sn = n ? strmap_del(&n->slices, p->part[2]) : NULL;
    if (!sn)
        return false;
    raw_replace(n, sn, NULL, 0);
    slice_node_free(sn);
    mark_dirty(t, n);
    prune(t, p->part[0], n);
    return true;
}

static bool remove_pods(struct svc_table *t, const char *path)
{
    if (path[0] == '\0')
        return pod_set_remove(&t->pods, (struct buf){0}, (struct buf){0});
    struct node_path p = pod_path_split(path + 1);
    return p.depth > 0 && pod_set_remove(&t->pods, p.part[0], p.part[1]);
}

void table_remove(struct svc_table *t, const char *path, int64_t now_wall_ms)
{
    struct node_path p = path_split(path);
    bool was = registry_in_pods(path) ? remove_pods(t, path + strlen(REGISTRY_PODS))
               : p.depth == 1 ? remove_namespace(t, p.part[0])
               : p.depth == 2 ? remove_service(t, &p)
               : p.depth == 3 ? remove_slice(t, &p)
                              : false;
    if (was)
        changed(t, now_wall_ms);
}

void table_set_synced(struct svc_table *t)
{
    if (!t->synced)
        t->generation++; /* what was unknown becomes absent */
    t->synced = true;
    t->stale_since_ms = 0;
    changed_state(t);
}

void table_set_stale(struct svc_table *t, int64_t since_mono_ms)
{
    t->stale_since_ms = since_mono_ms;
    changed_state(t);
}
