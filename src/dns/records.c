/* records.c - resource records into the reply.
 *
 * A record that does not fit is taken back whole and TC is set; additional records are left out in silence (RFC 2181
 * section 9). Names inside our zones take the zone part of the question, so its case comes back. */
#include "core.h"

#define VERSION_TTL     28800 /* schema version never changes while we run */
#define SOA_TTL_MAX     300

static void owner_question(struct answer *a)
{
    static const uint8_t pointer[2] = { 0xc0, DNS_HEADER_LEN };

    dw_bytes(&a->c->w, pointer, sizeof(pointer));
}

/* Starts a record; returns where its length goes. NULL owner: the name that is being looked up. */
static size_t rr_start(struct answer *a, const struct dname *owner, uint16_t type, uint32_t ttl)
{
    struct dns_writer *w = &a->c->w;

    if (owner)
        dw_name(w, owner->wire, true);
    else if (a->chained)
        dw_name(w, a->name.wire, true);
    else
        owner_question(a);
    dw_u16(w, type);
    dw_u16(w, DNS_CLASS_IN);
    dw_u32(w, ttl);
    dw_u16(w, 0);
    return w->n - 2;
}

/* Ends the record that began at `mark`. False: it did not fit and is gone. */
static bool rr_end(struct answer *a, size_t mark, size_t len_at, int section)
{
    struct dns_writer *w = &a->c->w;

    if (w->overflow || a->counts[section] == UINT16_MAX) {
        w->overflow = false;
        w->n = mark;
        if (section != SECTION_ADDITIONAL)
            a->flags |= DNS_F_TC;
        return false;
    }
    size_t len = w->n - len_at - 2;

    w->p[len_at] = (uint8_t)(len >> 8), w->p[len_at + 1] = (uint8_t)len;
    a->counts[section]++;
    return true;
}

/* ---- what was seen ---- */

static void seen_start(struct seen *s, size_t expect)
{
    size_t cap = 64;

    while (cap < expect * 2)
        cap *= 2;
    if (cap > s->cap) {
        free(s->slots);
        s->slots = x_calloc(cap, sizeof(*s->slots));
        s->cap = cap;
        s->generation = 0;
    }
    if (++s->generation == 0) {
        memset(s->slots, 0, s->cap * sizeof(*s->slots));
        s->generation = 1;
    }
    s->len = 0;
}

/* False when the hash was there already. 64 seeded bits: two different things do not meet. */
static bool seen_add(struct seen *s, uint64_t hash)
{
    if (s->len * 4 >= s->cap * 3) /* more than expected; the answer is over its limit long before */
        return false;
    for (size_t i = hash & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
        struct seen_slot *slot = &s->slots[i];

        if (slot->generation != s->generation) {
            *slot = (struct seen_slot){ hash, s->generation };
            s->len++;
            return true;
        }
        if (slot->hash == hash)
            return false;
    }
}

static bool seen_add_addr(struct seen *s, const struct ip *ip, const char *label)
{
    uint64_t h = hash_bytes(ip, sizeof(*ip));

    return seen_add(s, label ? hash_u64(h) ^ hash_bytes(label, strlen(label)) : h);
}

/* ---- selections ---- */

bool selection_port_matches(const struct selection *s, const char *name, enum svc_proto proto)
{
    return !s->port.p || (s->port.n > 0 && buf_is(s->port, name) && buf_is(s->proto, svc_proto_label(proto)));
}

static bool endpoint_matches(const struct selection *s, const struct svc_endpoint *ep)
{
    if (!ep->ready)
        return false;
    if (!s->port.p)
        return true;
    for (size_t i = 0; i < ep->port_count; i++)
        if (selection_port_matches(s, ep->ports[i].name, ep->ports[i].proto))
            return true;
    return false;
}

bool selection_exists(const struct selection *s)
{
    if (s->eps) {
        for (size_t i = 0; i < s->ep_count; i++)
            if (endpoint_matches(s, &s->eps[i]))
                return true;
        return false;
    }
    const struct svc *svc = s->entry->svc;

    for (size_t i = 0; i < svc->port_count; i++)
        if (selection_port_matches(s, svc->ports[i].name, svc->ports[i].proto))
            return true;
    return !s->port.p;
}

static uint64_t rng_next(uint64_t *state)
{
    *state ^= *state << 13; /* xorshift64: order, not secrecy, hangs on it */
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Clients take the first address: every reply has another order. */
static void shuffle(struct dns_core *c)
{
    for (size_t i = c->addrs.len; i > 1; i--) {
        size_t k = (size_t)((rng_next(&c->rng) >> 32) * i >> 32);
        const struct ip *t = c->addrs.items[i - 1];

        c->addrs.items[i - 1] = c->addrs.items[k];
        c->addrs.items[k] = t;
    }
}

/* The distinct addresses of one family into c->addrs. */
static void collect(struct dns_core *c, const struct selection *s, uint8_t family)
{
    size_t n = s->eps ? s->ep_count : s->entry->svc->cluster_ip_count;

    c->addrs.len = 0;
    if (n > 1)
        seen_start(&c->seen, n);
    for (size_t i = 0; i < n; i++) {
        const struct ip *ip = s->eps ? &s->eps[i].addr : &s->entry->svc->cluster_ips[i];

        if (ip->family != family || (s->eps && !endpoint_matches(s, &s->eps[i])))
            continue;
        if (n == 1 || seen_add_addr(&c->seen, ip, NULL))
            VEC_PUSH(&c->addrs, ip);
    }
}

static bool put_address(struct answer *a, const struct dname *owner, const struct ip *ip, int section)
{
    size_t mark = a->c->w.n;
    size_t at = rr_start(a, owner, ip->family == 4 ? DNS_T_A : DNS_T_AAAA, a->c->ttl_s);

    dw_bytes(&a->c->w, ip->b, ip->family == 4 ? 4 : 16);
    return rr_end(a, mark, at, section);
}

static enum look put_addresses(struct answer *a, const struct selection *s)
{
    struct dns_core *c = a->c;

    collect(c, s, a->q.q.type == DNS_T_A ? 4 : 6);
    shuffle(c);
    for (size_t i = 0; i < c->addrs.len; i++)
        if (!put_address(a, NULL, c->addrs.items[i], SECTION_ANSWER))
            break;
    return c->addrs.len ? LOOK_DATA : LOOK_NODATA;
}

enum look put_addr(struct answer *a, const struct ip *ip)
{
    if (a->q.q.type == DNS_T_ANY)
        return put_any(a);
    if (a->q.q.type != (ip->family == 4 ? DNS_T_A : DNS_T_AAAA))
        return LOOK_NODATA;
    put_address(a, NULL, ip, SECTION_ANSWER);
    return LOOK_DATA;
}

/* ---- names of services ---- */

/* [label.]name.ns.svc.<suffix> */
static bool name_of(struct dname *n, const struct svc *svc, const char *label, const uint8_t *suffix, size_t suffix_len)
{
    name_start(n);
    return (!label || name_push(n, buf_str(label))) && name_push(n, buf_str(svc->name)) && name_push(n, buf_str(svc->ns)) &&
           name_push(n, buf_str("svc")) && name_end(n, suffix, suffix_len);
}

/* In the zone of the question, in the question's case. */
static bool name_here(const struct answer *a, struct dname *n, const struct svc *svc, const char *label)
{
    const uint8_t *suffix;
    size_t len = name_suffix(&a->name, a->zone->name.labels, &suffix);

    return name_of(n, svc, label, suffix, len);
}

static bool name_in_primary(const struct dns_core *c, struct dname *n, const struct svc *svc, const char *label)
{
    return name_of(n, svc, label, c->primary->name.wire, c->primary->name.len);
}

/* ---- SRV ---- */

static bool put_srv_one(struct answer *a, const struct dname *target, uint16_t weight, uint16_t port)
{
    struct dns_writer *w = &a->c->w;
    size_t mark = w->n;
    size_t at = rr_start(a, NULL, DNS_T_SRV, a->c->ttl_s);

    dw_u16(w, 0);
    dw_u16(w, weight);
    dw_u16(w, port);
    dw_name(w, target->wire, false); /* RFC 2782: no compression of the target */
    return rr_end(a, mark, at, SECTION_ANSWER);
}

static enum look put_srv_cluster(struct answer *a, const struct selection *s)
{
    const struct svc *svc = s->entry->svc;
    struct dname target;
    size_t matching = 0;

    if (!name_here(a, &target, svc, NULL))
        return LOOK_NODATA;
    for (size_t i = 0; i < svc->port_count; i++)
        matching += selection_port_matches(s, svc->ports[i].name, svc->ports[i].proto);
    size_t share = matching * svc->cluster_ip_count;

    if (share == 0)
        return LOOK_NODATA;
    for (size_t i = 0; i < svc->port_count; i++)
        if (selection_port_matches(s, svc->ports[i].name, svc->ports[i].proto) &&
            !put_srv_one(a, &target, (uint16_t)MAX(100 / share, (size_t)1), svc->ports[i].port))
            return LOOK_DATA;
    for (size_t i = 0; i < svc->cluster_ip_count; i++)
        if (!put_address(a, &target, &svc->cluster_ips[i], SECTION_ADDITIONAL))
            break;
    return LOOK_DATA;
}

/* How many (address, port) pairs an endpoint has for s. A null port means "every port" and names none. */
static size_t endpoint_ports(const struct selection *s, const struct svc_endpoint *ep)
{
    size_t n = 0;

    for (size_t i = 0; i < ep->port_count && ep->ready; i++)
        n += ep->ports[i].port != 0 && selection_port_matches(s, ep->ports[i].name, ep->ports[i].proto);
    return n;
}

/* One SRV for each (label, port), whatever the number of addresses behind the label. False: the reply is full. */
static bool put_srv_endpoint(struct answer *a, const struct selection *s, const struct svc_endpoint *ep, uint16_t weight)
{
    struct dname target;
    uint64_t label = hash_bytes(ep->label, strlen(ep->label));

    if (endpoint_ports(s, ep) == 0 || !name_here(a, &target, s->entry->svc, ep->label))
        return true;
    for (size_t i = 0; i < ep->port_count; i++) {
        const struct slice_port *p = &ep->ports[i];

        if (p->port == 0 || !selection_port_matches(s, p->name, p->proto) || !seen_add(&a->c->seen, label ^ hash_u64(p->port)))
            continue;
        if (!put_srv_one(a, &target, weight, p->port))
            return false;
    }
    return true;
}

static void put_srv_additional(struct answer *a, const struct selection *s)
{
    struct dname target;

    seen_start(&a->c->seen, s->ep_count);
    for (size_t i = 0; i < s->ep_count; i++) {
        const struct svc_endpoint *ep = &s->eps[i];

        if (endpoint_ports(s, ep) == 0 || !seen_add_addr(&a->c->seen, &ep->addr, ep->label))
            continue;
        if (!name_here(a, &target, s->entry->svc, ep->label))
            continue;
        if (!put_address(a, &target, &ep->addr, SECTION_ADDITIONAL))
            break;
    }
}

static enum look put_srv_endpoints(struct answer *a, const struct selection *s)
{
    size_t share = 0;

    for (size_t i = 0; i < s->ep_count; i++)
        share += endpoint_ports(s, &s->eps[i]);
    if (share == 0)
        return LOOK_NODATA;
    seen_start(&a->c->seen, share);
    for (size_t i = 0; i < s->ep_count; i++)
        if (!put_srv_endpoint(a, s, &s->eps[i], (uint16_t)MAX(100 / share, (size_t)1)))
            return LOOK_DATA;
    put_srv_additional(a, s);
    return LOOK_DATA;
}

enum look put_selection(struct answer *a, const struct selection *s)
{
    switch (a->q.q.type) {
    case DNS_T_A:
    case DNS_T_AAAA:
        return put_addresses(a, s);
    case DNS_T_SRV:
        return s->eps ? put_srv_endpoints(a, s) : put_srv_cluster(a, s);
    case DNS_T_ANY:
        return put_any(a);
    default:
        return LOOK_NODATA;
    }
}

/* ---- the rest ---- */

enum look put_cname(struct answer *a, const char *external_name)
{
    struct dns_writer *w = &a->c->w;
    size_t mark = w->n;

    if (name_parse(external_name, &a->target) < 0 || a->target.labels == 0)
        return LOOK_NXDOMAIN;
    size_t at = rr_start(a, NULL, DNS_T_CNAME, a->c->ttl_s);

    dw_name(w, a->target.wire, true);
    rr_end(a, mark, at, SECTION_ANSWER);
    return a->q.q.type == DNS_T_A || a->q.q.type == DNS_T_AAAA ? LOOK_CNAME : LOOK_DATA;
}

enum look put_ptr(struct answer *a, const struct table_owner *o)
{
    struct dns_writer *w = &a->c->w;
    struct dname target;
    size_t mark = w->n;

    if (!name_in_primary(a->c, &target, o->entry->svc, o->endpoint ? o->endpoint->label : NULL))
        return LOOK_NODATA;
    size_t at = rr_start(a, NULL, DNS_T_PTR, a->c->ttl_s);

    dw_name(w, target.wire, true);
    rr_end(a, mark, at, SECTION_ANSWER);
    return LOOK_DATA;
}

enum look put_version(struct answer *a)
{
    static const char text[] = "\0051.1.0";
    struct dns_writer *w = &a->c->w;
    size_t mark = w->n;

    if (a->q.q.type == DNS_T_ANY)
        return put_any(a);
    if (a->q.q.type != DNS_T_TXT)
        return LOOK_NODATA;
    size_t at = rr_start(a, NULL, DNS_T_TXT, VERSION_TTL);

    dw_bytes(w, text, sizeof(text) - 1);
    rr_end(a, mark, at, SECTION_ANSWER);
    return LOOK_DATA;
}

enum look put_any(struct answer *a)
{
    static const char rdata[] = "\007RFC8482"; /* and an empty OS string: the literal's own NUL */
    struct dns_writer *w = &a->c->w;
    size_t mark = w->n;
    size_t at = rr_start(a, NULL, DNS_T_HINFO, a->c->ttl_s);

    dw_bytes(w, rdata, sizeof(rdata));
    rr_end(a, mark, at, SECTION_ANSWER);
    return LOOK_DATA;
}

/* Writes our own addresses of one family under `owner`; on wildcard sockets the one that was asked. */
static size_t put_self_family(struct answer *a, const struct dname *owner, uint8_t family, int section)
{
    const struct dns_core *c = a->c;
    size_t found = 0;

    for (size_t i = 0; i < c->self.len; i++) {
        if (c->self.items[i].family != family)
            continue;
        put_address(a, owner, &c->self.items[i], section);
        found++;
    }
    if (found == 0 && a->req->local.family == family) {
        put_address(a, owner, &a->req->local, section);
        found++;
    }
    return found;
}

enum look put_self(struct answer *a)
{
    if (a->q.q.type == DNS_T_ANY)
        return put_any(a);
    if (a->q.q.type != DNS_T_A && a->q.q.type != DNS_T_AAAA)
        return LOOK_NODATA;
    return put_self_family(a, NULL, a->q.q.type == DNS_T_A ? 4 : 6, SECTION_ANSWER) ? LOOK_DATA : LOOK_NODATA;
}

/* The name of the DNS server: its Service if the cluster has it where everyone puts it, else ns.dns.<zone>. The zone part
 * is the question's when it was in a zone of services. */
static const struct svc *server_name(struct answer *a, struct dname *ret)
{
    const struct dns_core *c = a->c;
    const struct svc_entry *e = NULL;
    const uint8_t *suffix = c->primary->name.wire;
    size_t len = c->primary->name.len;

    if (a->zone && !a->zone->reverse)
        len = name_suffix(&a->name, a->zone->name.labels, &suffix);
    if (namespace_visible(c, buf_str("kube-system")))
        e = table_service(c->table, buf_str("kube-system"), buf_str("kube-dns"));
    if (e && e->svc->cluster_ip_count > 0 && name_of(ret, e->svc, NULL, suffix, len))
        return e->svc;
    name_start(ret);
    (void)(name_push(ret, buf_str("ns")) && name_push(ret, buf_str("dns")) && name_end(ret, suffix, len)); /* zones are checked for it */
    return NULL;
}

enum look put_ns(struct answer *a)
{
    struct dns_writer *w = &a->c->w;
    struct dname target;
    const struct svc *svc = server_name(a, &target);
    size_t mark = w->n;
    size_t at = rr_start(a, NULL, DNS_T_NS, a->c->ttl_s);

    dw_name(w, target.wire, true);
    rr_end(a, mark, at, SECTION_ANSWER);
    for (size_t i = 0; svc && i < svc->cluster_ip_count; i++)
        put_address(a, &target, &svc->cluster_ips[i], SECTION_ADDITIONAL);
    if (!svc) {
        put_self_family(a, &target, 4, SECTION_ADDITIONAL);
        put_self_family(a, &target, 6, SECTION_ADDITIONAL);
    }
    return LOOK_DATA;
}

void put_soa(struct answer *a, int section)
{
    struct dns_core *c = a->c;
    struct dns_writer *w = &c->w;
    struct dname owner, mname, rname;
    const uint8_t *suffix;
    size_t len = name_suffix(&a->name, a->zone->name.labels, &suffix);

    name_start(&owner);
    (void)name_end(&owner, suffix, len);
    if (a->zone->reverse)
        suffix = c->primary->name.wire, len = c->primary->name.len;
    name_start(&mname);
    (void)(name_push(&mname, buf_str("ns")) && name_push(&mname, buf_str("dns")) && name_end(&mname, suffix, len));
    name_start(&rname);
    (void)(name_push(&rname, buf_str("hostmaster")) && name_end(&rname, suffix, len));

    size_t mark = w->n;
    size_t at = rr_start(a, &owner, DNS_T_SOA, MIN(c->ttl_s, (uint32_t)SOA_TTL_MAX));

    dw_name(w, mname.wire, true);
    dw_name(w, rname.wire, true);
    dw_u32(w, (uint32_t)(table_changed_wall_ms(c->table) / 1000));
    dw_u32(w, 7200);
    dw_u32(w, 1800);
    dw_u32(w, 86400);
    dw_u32(w, c->ttl_s); /* negative answers are kept this long */
    rr_end(a, mark, at, section);
}
