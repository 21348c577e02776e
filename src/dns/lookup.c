/* lookup.c - what there is at a name: the decision order of the Kubernetes DNS specification and of CoreDNS.
 *
 * Names are read from the right: zone, "svc" or "pod", namespace, service, then an endpoint's label or a port and its
 * protocol. Every level that has something below it exists (RFC 8020): _tcp.web.shop.svc is NODATA while _http._tcp is there. */
#include "core.h"

bool namespace_visible(const struct dns_core *c, struct buf ns)
{
    if (c->allowed.len > 0 && !strmap_get(&c->allowed, ns))
        return false;
    return table_namespace_exists(c->table, ns);
}

static struct buf strip_underscore(struct buf label)
{
    return label.n > 0 && label.p[0] == '_' ? buf_of(label.p + 1, label.n - 1) : label;
}

/* Is there a named port of that protocol, so that something lies below _tcp.<service>? */
static bool has_named_port(const struct svc_entry *e, bool headless, struct buf proto)
{
    if (!headless) {
        for (size_t i = 0; i < e->svc->port_count; i++)
            if (e->svc->ports[i].name[0] && buf_is(proto, svc_proto_label(e->svc->ports[i].proto)))
                return true;
        return false;
    }
    for (size_t i = 0; i < e->endpoint_count; i++) {
        const struct svc_endpoint *ep = &e->endpoints[i];

        for (size_t k = 0; k < ep->port_count && ep->ready; k++)
            if (ep->ports[k].name[0] && buf_is(proto, svc_proto_label(ep->ports[k].proto)))
                return true;
    }
    return false;
}

static enum look lookup_external(struct answer *a, const struct svc *svc)
{
    struct ip literal;

    if (!svc->external_name[0] || ip_parse(svc->external_name, &literal) == 0)
        return LOOK_NXDOMAIN;
    switch (a->q.q.type) {
    case DNS_T_A:
    case DNS_T_AAAA:
    case DNS_T_CNAME:
    case DNS_T_ANY:
        return put_cname(a, svc->external_name);
    default:
        return LOOK_NODATA;
    }
}

/* label.<service>: an endpoint, or the node above the ports of a protocol. */
static enum look lookup_endpoint(struct answer *a, const struct svc_entry *e, bool headless)
{
    struct buf label = name_label(&a->lower, 0);
    struct selection s = { .entry = e };

    s.eps = table_endpoints_by_label(a->c->table, e, label, &s.ep_count);
    if (s.eps && selection_exists(&s))
        return put_selection(a, &s);
    return has_named_port(e, headless, strip_underscore(label)) ? LOOK_NODATA : LOOK_NXDOMAIN;
}

/* `left`: how many labels stand before the service's. */
static enum look lookup_service(struct answer *a, const struct svc_entry *e, size_t left)
{
    const struct svc *svc = e->svc;
    bool headless = svc->headless || svc->cluster_ip_count == 0;

    if (svc->type == SVC_EXTERNAL_NAME)
        return left == 0 ? lookup_external(a, svc) : LOOK_NXDOMAIN;
    if (e->ready_count == 0 && (headless || a->c->ignore_empty))
        return LOOK_NXDOMAIN;
    if (left == 1)
        return lookup_endpoint(a, e, headless);
    struct selection s = { .entry = e };

    if (headless)
        s.eps = e->endpoints, s.ep_count = e->endpoint_count;
    if (left == 0)
        return put_selection(a, &s);
    if (left != 2)
        return LOOK_NXDOMAIN;
    s.port = strip_underscore(name_label(&a->lower, 0));
    s.proto = strip_underscore(name_label(&a->lower, 1));
    return selection_exists(&s) ? put_selection(a, &s) : LOOK_NXDOMAIN;
}

/* `n`: labels before the zone's, the last of them "svc". */
static enum look lookup_svc(struct answer *a, size_t n)
{
    if (n == 1)
        return LOOK_NODATA;
    struct buf ns = name_label(&a->lower, n - 2);

    if (!namespace_visible(a->c, ns))
        return LOOK_NXDOMAIN;
    if (n == 2)
        return LOOK_NODATA;
    const struct svc_entry *e = table_service(a->c->table, ns, name_label(&a->lower, n - 3));

    return e ? lookup_service(a, e, n - 3) : LOOK_NXDOMAIN;
}

/* a-b-c-d or an IPv6 address with dashes for colons. Three dashes and no pair of them mean IPv4. */
static bool pod_address(struct buf label, struct ip *ret)
{
    char text[DNS_LABEL_MAX + 1];
    size_t dashes = 0;
    bool pair = false;

    for (size_t i = 0; i < label.n; i++) {
        dashes += label.p[i] == '-';
        pair |= i > 0 && label.p[i] == '-' && label.p[i - 1] == '-';
    }
    for (size_t i = 0; i < label.n; i++) {
        if (label.p[i] == '\0' || label.p[i] == '.' || label.p[i] == ':')
            return false;
        text[i] = label.p[i] != '-' ? (char)label.p[i] : dashes == 3 && !pair ? '.' : ':';
    }
    text[label.n] = '\0';
    return ip_parse(text, ret) == 0;
}

const char *const dns_pods_names[] = { "disabled", "insecure", "verified", NULL };

static enum look lookup_pod(struct answer *a, size_t n)
{
    struct buf ns = n >= 2 ? name_label(&a->lower, n - 2) : (struct buf){ 0 };
    struct ip ip;

    if (n == 1)
        return LOOK_NODATA;
    if (a->c->pods == DNS_PODS_DISABLED || !namespace_visible(a->c, ns))
        return LOOK_NXDOMAIN;
    if (n == 2)
        return LOOK_NODATA;
    if (n != 3 || !pod_address(name_label(&a->lower, 0), &ip))
        return LOOK_NXDOMAIN;
    if (a->c->pods == DNS_PODS_VERIFIED && !table_pod_exists(a->c->table, ns, &ip))
        return LOOK_NXDOMAIN;
    return put_addr(a, &ip);
}

/* ns.dns.<zone>, and dns.<zone> above it. */
static enum look lookup_self(struct answer *a, size_t n)
{
    if (n == 1)
        return LOOK_NODATA;
    return n == 2 && buf_is(name_label(&a->lower, 0), "ns") ? put_self(a) : LOOK_NXDOMAIN;
}

static enum look lookup_apex(struct answer *a)
{
    switch (a->q.q.type) {
    case DNS_T_SOA:
        put_soa(a, SECTION_ANSWER);
        return LOOK_DATA;
    case DNS_T_NS:
        return put_ns(a);
    case DNS_T_ANY:
        return put_any(a);
    default:
        return LOOK_NODATA;
    }
}

/* ---- the reverse tree ---- */

/* One label of in-addr.arpa: 0..255 without leading zeros. */
static bool reverse_octet(struct buf label, uint8_t *ret)
{
    unsigned v = 0;

    if (label.n == 0 || label.n > 3 || (label.n > 1 && label.p[0] == '0'))
        return false;
    for (size_t i = 0; i < label.n; i++) {
        if (label.p[i] < '0' || label.p[i] > '9')
            return false;
        v = v * 10 + (unsigned)(label.p[i] - '0');
    }
    *ret = (uint8_t)v;
    return v <= 255;
}

static bool reverse_nibble(struct buf label, uint8_t *ret)
{
    if (label.n != 1)
        return false;
    uint8_t c = label.p[0];

    if (c >= '0' && c <= '9')
        *ret = (uint8_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *ret = (uint8_t)(c - 'a' + 10);
    else
        return false;
    return true;
}

/* Reads the labels before in-addr.arpa / ip6.arpa into address bits. False: no address has such a name. */
static bool reverse_prefix(const struct dname *lower, uint8_t family, struct ip *ret, size_t *ret_bits)
{
    size_t n = lower->labels >= 2 ? lower->labels - 2u : 0, max = family == 4 ? 4 : 32;

    memset(ret, 0, sizeof(*ret));
    ret->family = family;
    if (n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct buf label = name_label(lower, n - 1 - i);
        uint8_t v;

        if (family == 4 ? !reverse_octet(label, &v) : !reverse_nibble(label, &v))
            return false;
        if (family == 4)
            ret->b[i] = v;
        else
            ret->b[i / 2] |= (uint8_t)(i % 2 ? v : v << 4);
    }
    *ret_bits = n * (family == 4 ? 8 : 4);
    return true;
}

/* The services that have this address: the cluster IP's alone if there is one, else one name for each headless service. */
static enum look lookup_address(struct answer *a, const struct ip *ip)
{
    struct table_owner owners[64];
    size_t n = table_reverse(a->c->table, ip, owners, ARRAY_LEN(owners));
    enum look look = LOOK_NXDOMAIN;
    bool cluster_ip = false;

    for (size_t i = 0; i < n; i++) {
        if (!namespace_visible(a->c, buf_str(owners[i].entry->svc->ns)) || (cluster_ip && owners[i].endpoint))
            continue;
        if (a->q.q.type == DNS_T_ANY)
            return put_any(a);
        look = a->q.q.type == DNS_T_PTR ? put_ptr(a, &owners[i]) : LOOK_NODATA;
        cluster_ip |= owners[i].endpoint == NULL;
    }
    return look;
}

static enum look lookup_reverse(struct answer *a)
{
    struct ip ip;
    size_t bits;

    if (!reverse_prefix(&a->lower, a->zone->reverse, &ip, &bits))
        return LOOK_NXDOMAIN;
    if (bits == (a->zone->reverse == 4 ? 32 : 128))
        return lookup_address(a, &ip);
    return table_reverse_prefix(a->c->table, ip.family, ip.b, bits) ? LOOK_NODATA : LOOK_NXDOMAIN;
}

enum look lookup(struct answer *a)
{
    size_t n = (size_t)a->lower.labels - a->zone->name.labels;

    if (n == 0)
        return lookup_apex(a);
    if (a->zone->reverse)
        return lookup_reverse(a);
    struct buf top = name_label(&a->lower, n - 1);

    if (buf_is(top, "svc"))
        return lookup_svc(a, n);
    if (buf_is(top, "pod"))
        return lookup_pod(a, n);
    if (buf_is(top, "dns"))
        return lookup_self(a, n);
    if (buf_is(top, "dns-version"))
        return n == 1 ? put_version(a) : LOOK_NXDOMAIN;
    return LOOK_NXDOMAIN;
}
