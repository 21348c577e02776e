/* answer.c - one query to one reply: what may be asked, which zone it is in, following CNAMEs, negative answers. */
#include "core.h"

/* ---- configuration ---- */

static const char *const default_zones[] = { "cluster.local", "in-addr.arpa", "ip6.arpa" };

static uint8_t zone_reverse_family(const struct dname *n, bool *ret_whole)
{
    static const char *const tops[] = { "in-addr.arpa", "ip6.arpa" };
    struct dname top;

    for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
        (void)name_parse(tops[i], &top);
        *ret_whole = name_eq(n, &top);
        if (name_in_zone(n, &top))
            return i == 0 ? 4 : 6;
    }
    return 0;
}

static int core_add_zone(struct dns_core *c, const char *text, char **ret_error)
{
    struct zone *z = &c->zones[c->zone_count];
    struct dname n;

    /* Names of services need room in front of it: [endpoint.]service.namespace.svc.<zone> */
    if (name_parse(text, &n) < 0 || n.len > 120) {
        *ret_error = x_asprintf("zone '%s' is not a domain name", text);
        return RC_INVAL;
    }
    name_lower(&n, &z->name);
    for (size_t i = 0; i < c->zone_count; i++) {
        if (name_eq(&c->zones[i].name, &z->name)) {
            *ret_error = x_asprintf("zone '%s' is named twice", text);
            return RC_INVAL;
        }
    }
    z->reverse = zone_reverse_family(&z->name, &z->whole_tree);
    c->zone_count++;
    return 0;
}

static int zone_by_labels_desc(const void *a, const void *b)
{
    return (int)((const struct zone *)b)->name.labels - (int)((const struct zone *)a)->name.labels;
}

static int core_zones(struct dns_core *c, const struct dns_config *cfg, char **ret_error)
{
    const char *const *names = cfg->zone_count ? cfg->zones : default_zones;
    size_t n = cfg->zone_count ? cfg->zone_count : ARRAY_LEN(default_zones);
    const struct zone *first = NULL;
    struct dname primary;

    c->zones = x_calloc(n, sizeof(*c->zones));
    for (size_t i = 0; i < n; i++) {
        int rc = core_add_zone(c, names[i], ret_error);

        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < n && !first; i++)
        if (!c->zones[i].reverse)
            first = &c->zones[i];
    if (!first) {
        *ret_error = x_strdup("no zone for names of services: all zones are reverse ones");
        return RC_INVAL;
    }
    primary = first->name;
    qsort(c->zones, n, sizeof(*c->zones), zone_by_labels_desc);
    for (size_t i = 0; i < n; i++)
        if (name_eq(&c->zones[i].name, &primary))
            c->primary = &c->zones[i];
    return 0;
}

int dns_core_new(const struct dns_config *cfg, const struct svc_table *table, uint64_t seed, struct dns_core **ret,
                 char **ret_error)
{
    struct dns_core *c = x_calloc(1, sizeof(*c));
    int rc = core_zones(c, cfg, ret_error);

    if (rc == 0 && cfg->ttl_s > 3600) {
        *ret_error = x_asprintf("TTL %u is not in 0..3600", cfg->ttl_s);
        rc = RC_INVAL;
    }
    if (rc < 0) {
        dns_core_free(c);
        return rc;
    }
    for (size_t i = 0; i < cfg->namespace_count; i++)
        strmap_set_s(&c->allowed, cfg->namespaces[i], c);
    c->table = table;
    c->ttl_s = cfg->ttl_s;
    c->pods = cfg->pods;
    c->ignore_empty = cfg->ignore_empty;
    c->forwarding = cfg->forward_count > 0;
    c->rng = seed ? seed : 1; /* xorshift stands still at 0 */
    *ret = c;
    return 0;
}

void dns_core_free(struct dns_core *c)
{
    if (!c)
        return;
    strmap_free(&c->allowed, NULL);
    free(c->zones);
    free(c->seen.slots);
    VEC_FREE(&c->self);
    VEC_FREE(&c->addrs);
    free(c);
}

void dns_core_add_self(struct dns_core *c, const struct ip *ip)
{
    for (size_t i = 0; i < c->self.len; i++)
        if (ip_eq(&c->self.items[i], ip))
            return;
    VEC_PUSH(&c->self, *ip);
}

/* ---- the reply around the records ---- */

static size_t reply_limit(const struct dns_request *req, const struct dns_query *q, size_t cap)
{
    if (req->tcp)
        return MIN(cap, (size_t)DNS_MSG_MAX);
    size_t client = MIN(MAX((size_t)q->edns_size, (size_t)DNS_UDP_MIN), (size_t)DNS_UDP_MAX);

    return MIN(cap, client);
}

/* Header room, question; keeps back what the OPT record will need. */
static void reply_start(struct answer *a, struct dns_reply *reply)
{
    struct dns_writer *w = &a->c->w;
    size_t limit = reply_limit(a->req, &a->q, reply->cap);

    dw_start(w, reply->p, limit - (a->q.edns ? DNS_OPT_LEN : 0));
    memset(a->counts, 0, sizeof(a->counts));
    a->flags = (uint16_t)(DNS_F_QR | (a->q.flags & (DNS_F_OPCODE | DNS_F_RD | DNS_F_CD)) | (a->c->forwarding ? DNS_F_RA : 0));
    a->rcode = DNS_NOERROR;
    if (!a->q.has_question)
        return;
    dw_bytes(w, a->q.q.name.wire, a->q.q.name.len);
    dw_u16(w, a->q.q.type);
    dw_u16(w, a->q.q.class);
    dw_know(w, DNS_HEADER_LEN);
    a->counts[0] = 1;
}

static enum dns_verdict reply_end(struct answer *a, struct dns_reply *reply)
{
    struct dns_writer *w = &a->c->w;

    if (a->q.edns) {
        w->max += DNS_OPT_LEN;
        dw_bytes(w, "", 1);
        dw_u16(w, DNS_T_OPT);
        dw_u16(w, DNS_UDP_MAX);
        dw_u32(w, (uint32_t)(a->rcode >> 4) << 24 | (a->q.dnssec_ok ? 0x8000 : 0));
        dw_u16(w, 0); /* no options: a cookie that is not understood is left out (RFC 7873 section 5.2) */
        a->counts[3]++;
    }
    ASSERT(!w->overflow);
    dw_header(w, a->q.id, (uint16_t)(a->flags | (a->rcode & 0xf)), a->counts);
    reply->n = w->n;
    reply->rcode = a->rcode;
    reply->truncated = a->flags & DNS_F_TC;
    return DNS_REPLY;
}

static enum dns_verdict reply_rcode(struct answer *a, struct dns_reply *reply, uint16_t rcode)
{
    reply_start(a, reply);
    a->rcode = rcode;
    return reply_end(a, reply);
}

/* ---- our zones ---- */

static const struct zone *zone_find(const struct dns_core *c, const struct dname *lower)
{
    for (size_t i = 0; i < c->zone_count; i++)
        if (name_in_zone(lower, &c->zones[i].name))
            return &c->zones[i];
    return NULL;
}

static enum dns_verdict ask(struct answer *a, struct dns_reply *reply, enum dns_verdict verdict)
{
    reply->ask.name = a->lower;
    reply->ask.type = a->q.q.type;
    reply->ask.dnssec_ok = a->q.dnssec_ok;
    reply->ask.cd = a->q.flags & DNS_F_CD;
    return verdict;
}

/* Is req->upstream what a->lower needs? */
static bool upstream_fits(const struct answer *a)
{
    const struct dns_upstream *u = a->req->upstream;

    return u && u->type == a->q.q.type && name_eq(&u->name, &a->lower);
}

static void upstream_section(struct answer *a, int section)
{
    const struct dns_upstream *u = a->req->upstream;
    uint16_t n = dns_msg_write(u->msg, section, u->age_s, &a->c->w);

    a->counts[section + 1] = (uint16_t)(a->counts[section + 1] + n);
    if (section < 2 && n < u->msg->counts[section])
        a->flags |= DNS_F_TC;
}

/* The upstream's records behind what we have written; its rcode and TC become ours (a truncated chain must say so). */
static enum dns_verdict upstream_merge(struct answer *a, struct dns_reply *reply)
{
    const struct dns_msg *m = a->req->upstream->msg;

    if (!m)
        return reply_rcode(a, reply, DNS_SERVFAIL);
    a->rcode = m->rcode;
    if (a->rcode > 0xf && !a->q.edns)
        a->rcode = DNS_SERVFAIL; /* no place for the upper bits */
    a->flags |= m->flags & (DNS_F_TC | (a->chained ? 0 : DNS_F_AD));
    for (int section = 0; section < 3; section++)
        upstream_section(a, section);
    return reply_end(a, reply);
}

/* A name that is not in our zones, asked for directly or as the target of an ExternalName service. */
static enum dns_verdict answer_foreign(struct answer *a, struct dns_reply *reply)
{
    if (a->c->forwarding && (a->q.flags & DNS_F_RD)) {
        if (upstream_fits(a)) {
            if (!a->chained)
                reply_start(a, reply);
            return upstream_merge(a, reply);
        }
        return ask(a, reply, a->chained ? DNS_CHAIN : DNS_FORWARD);
    }
    if (a->chained)
        return reply_end(a, reply); /* the CNAME alone: the asker goes on by itself */
    return reply_rcode(a, reply, DNS_REFUSED);
}

static enum dns_verdict answer_negative(struct answer *a, struct dns_reply *reply, enum look look)
{
    /* Before the first sync nobody knows what does not exist; a resolver would keep an NXDOMAIN for the whole TTL. */
    if (look == LOOK_NXDOMAIN)
        a->rcode = table_synced(a->c->table) ? DNS_NXDOMAIN : DNS_SERVFAIL;
    put_soa(a, SECTION_AUTHORITY);
    return reply_end(a, reply);
}

/* A chain that bites its tail or is too long: as if the name had no address. */
static enum dns_verdict answer_loop(struct answer *a, struct dns_reply *reply)
{
    a->name = a->q.q.name;
    name_lower(&a->name, &a->lower);
    a->zone = zone_find(a->c, &a->lower);
    a->chained = false;
    reply_start(a, reply);
    a->flags |= DNS_F_AA;
    return answer_negative(a, reply, LOOK_NODATA);
}

/* Steps to the CNAME's target. False: it was visited already, or there were too many. */
static bool answer_follow(struct answer *a)
{
    a->name = a->target;
    name_lower(&a->name, &a->lower);
    a->chained = true;
    uint64_t h = hash_bytes(a->lower.wire, a->lower.len);

    for (size_t i = 0; i < a->visited_count; i++)
        if (a->visited[i] == h)
            return false;
    if (a->visited_count == ARRAY_LEN(a->visited))
        return false;
    a->visited[a->visited_count++] = h;
    return true;
}

static enum dns_verdict answer_zone(struct answer *a, struct dns_reply *reply)
{
    reply_start(a, reply);
    a->flags |= DNS_F_AA;
    for (;;) {
        enum look look = lookup(a);

        if (look == LOOK_DATA)
            return reply_end(a, reply);
        if (look == LOOK_NXDOMAIN && a->zone->whole_tree && !a->chained && a->c->forwarding)
            return answer_foreign(a, reply); /* addresses of the rest of the world */
        if (look != LOOK_CNAME)
            return answer_negative(a, reply, look);
        if (a->visited_count == 0)
            a->visited[a->visited_count++] = hash_bytes(a->lower.wire, a->lower.len);
        if (!answer_follow(a))
            return answer_loop(a, reply);
        a->zone = zone_find(a->c, &a->lower);
        if (!a->zone)
            return answer_foreign(a, reply);
    }
}

enum dns_verdict dns_answer(struct dns_core *c, const struct dns_request *req, struct dns_reply *reply)
{
    struct answer a;

    a.c = c;
    a.req = req;
    a.chained = false;
    a.visited_count = 0;
    reply->n = 0;
    reply->truncated = false;
    int rc = dns_query_parse(req->p, req->n, &a.q);

    reply->malformed = rc < 0 && rc != RC_UNSUPPORTED;
    if (rc == RC_SHORT)
        return DNS_DROP;
    if (rc < 0) {
        a.q.has_question = a.q.edns = false; /* what was read of them cannot be trusted */
        a.q.edns_size = 0;
        return reply_rcode(&a, reply, rc == RC_UNSUPPORTED ? DNS_NOTIMP : DNS_FORMERR);
    }
    if (a.q.edns && a.q.edns_version != 0)
        return reply_rcode(&a, reply, DNS_BADVERS);
    if (a.q.q.class != DNS_CLASS_IN || a.q.q.type == DNS_T_AXFR || a.q.q.type == DNS_T_IXFR)
        return reply_rcode(&a, reply, DNS_REFUSED);
    if (a.q.q.type == 0 || a.q.q.type == DNS_T_OPT || a.q.q.type == DNS_T_TSIG)
        return reply_rcode(&a, reply, DNS_FORMERR);
    a.name = a.q.q.name;
    name_lower(&a.name, &a.lower);
    a.zone = zone_find(c, &a.lower);
    return a.zone ? answer_zone(&a, reply) : answer_foreign(&a, reply);
}
