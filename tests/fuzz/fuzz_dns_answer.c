/* Any bytes as a query over a filled table, under several configurations; every reply must be a message that parses. */
#include "../../src/dns/answer.h"

static struct svc_table *table_fill(void)
{
    static const char *const nodes[][2] = {
        { "shop", "{\"schema\":1}" },
        { "kube-system", "{\"schema\":1}" },
        { "kube-system/kube-dns", "{\"schema\":1,\"clusterIPs\":[\"10.96.0.10\"],\"ports\":[{\"name\":\"dns\",\"port\":53}]}" },
        { "shop/web", "{\"schema\":1,\"clusterIPs\":[\"10.96.1.10\"],\"ports\":[{\"name\":\"http\",\"port\":80}]}" },
        { "shop/dual", "{\"schema\":1,\"clusterIPs\":[\"10.96.1.11\",\"fd00:96::11\"],\"ports\":[{\"name\":\"http\",\"port\":80},"
                       "{\"port\":81,\"protocol\":\"UDP\"}]}" },
        { "shop/db", "{\"schema\":1,\"ports\":[{\"name\":\"pg\",\"port\":5432}]}" },
        { "shop/db/4", "{\"schema\":1,\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"10.244.1.20\",\"hostname\":\"db-0\"},"
                       "{\"address\":\"10.244.2.21\"}],\"ports\":[{\"name\":\"pg\",\"port\":5432}]}" },
        { "shop/db/6", "{\"schema\":1,\"addressType\":\"IPv6\",\"endpoints\":[{\"address\":\"fd00:244::20\",\"hostname\":\"db-0\"}],"
                       "\"ports\":[{\"name\":\"pg\",\"port\":5432}]}" },
        { "shop/ext", "{\"schema\":1,\"type\":\"ExternalName\",\"externalName\":\"www.example.net\"}" },
        { "shop/alias", "{\"schema\":1,\"type\":\"ExternalName\",\"externalName\":\"web.shop.svc.cluster.local\"}" },
        { "shop/loop", "{\"schema\":1,\"type\":\"ExternalName\",\"externalName\":\"loop.shop.svc.cluster.local\"}" },
        { ".pods/shop/web-1", "{\"schema\":1,\"ips\":[\"10.244.1.5\"]}" },
        { "shop/many", "{\"schema\":1,\"ports\":[{\"name\":\"http\",\"port\":80}]}" },
    };
    struct svc_table *t = table_new();
    struct wr w = wr_init(0);

    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        table_put(t, nodes[i][0], nodes[i][1], strlen(nodes[i][1]), 1);
    wr_printf(&w, "{\"schema\":1,\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":80}],\"endpoints\":[");
    for (int i = 0; i < 100; i++)
        wr_printf(&w, "%s{\"address\":\"10.250.0.%d\"}", i ? "," : "", i + 1);
    wr_printf(&w, "]}");
    table_put(t, "shop/many/1", w.p, w.n, 1);
    wr_free(&w);
    ASSERT(table_bad_nodes(t) == 0);
    return t;
}

static struct dns_core *core_make(const struct svc_table *t, int variant)
{
    static const char *const root[] = { "", "in-addr.arpa" }, *const forward[] = { "127.0.0.1" }, *const shop[] = { "shop" };
    struct dns_config cfg = { .ttl_s = 5, .pods = variant & 1 ? DNS_PODS_INSECURE : DNS_PODS_VERIFIED, .forward = forward,
                              .forward_count = variant >> 1 & 1 };
    struct dns_core *c;
    char *error;

    if (variant == 3)
        cfg.zones = root, cfg.zone_count = 2, cfg.namespaces = shop, cfg.namespace_count = 1;
    ASSERT(dns_core_new(&cfg, t, 1, &c, &error) == 0);
    return c;
}

static void check(const struct dns_reply *r, size_t limit)
{
    struct dns_query q;
    struct dns_msg *m;
    struct dname lower;
    uint8_t copy[DNS_MSG_MAX];

    ASSERT(r->n >= DNS_HEADER_LEN && r->n <= limit);
    memcpy(copy, r->p, r->n);
    if (!copy[5]) /* no question: a bare rcode */
        return;
    copy[2] &= 0x7f; /* as a query, its question can be read */
    (void)dns_query_parse(copy, r->n, &q);
    ASSERT(q.has_question);
    name_lower(&q.q.name, &lower);
    int rc = dns_msg_parse(r->p, r->n, q.id, &lower, q.q.type, &m);

    ASSERT(rc == 0 || q.q.class != DNS_CLASS_IN);
    if (rc == 0)
        free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct svc_table *t;
    static struct dns_core *cores[4];
    static uint8_t out[DNS_MSG_MAX];

    if (!t) {
        t = table_fill();
        for (int i = 0; i < 4; i++)
            cores[i] = core_make(t, i);
        table_set_synced(t);
    }
    if (size < 1 || size > 4097)
        return 0;
    uint8_t *query = x_memdup(data + 1, size - 1); /* exactly as long, for the sanitizer to watch its end */
    struct dns_request req = { .p = query, .n = size - 1, .tcp = data[0] & 4 };
    struct dns_reply reply = { .p = out, .cap = sizeof(out) };
    struct dns_core *c = cores[data[0] & 3];
    enum dns_verdict v = dns_answer(c, &req, &reply);

    if (v == DNS_FORWARD || v == DNS_CHAIN) {
        struct dns_upstream u = { .name = reply.ask.name, .type = reply.ask.type };

        req.upstream = &u;
        v = dns_answer(c, &req, &reply);
        ASSERT(v == DNS_REPLY);
    }
    if (v == DNS_REPLY)
        check(&reply, req.tcp ? DNS_MSG_MAX : DNS_UDP_MAX);
    free(query);
    return 0;
}
