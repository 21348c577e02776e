/* test_table.c - the service table fed by hand: merging, labels, reverse look-ups, listeners, staleness. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/clock.h"
#include "discovery/table.h"

static void put(struct svc_table *t, const char *path, const char *json)
{
    table_put(t, path, json, strlen(json), 1000);
}

#define EP(addr, rest) "{\"address\":\"" addr "\"" rest "}"
#define HOST(h) ",\"hostname\":\"" h "\""
#define NOT_READY ",\"ready\":false,\"serving\":false"
#define SLICE(family, ports, endpoints)                                                                      \
    "{\"schema\":1,\"addressType\":\"" family "\",\"ports\":[" ports "],\"endpoints\":[" endpoints "]}"
#define SLICE_AT(ms, ports, endpoints)                                                                       \
    "{\"schema\":1,\"addressType\":\"IPv4\",\"lastChangeTriggerTimeMs\":" ms ",\"ports\":[" ports            \
    "],\"endpoints\":[" endpoints "]}"
#define HTTP "{\"name\":\"http\",\"port\":8080}"
#define PG "{\"name\":\"pg\",\"port\":5432}"
#define HEADLESS "{\"schema\":1,\"ports\":[{\"name\":\"pg\",\"port\":5432}]}"
#define CLUSTER(ip) "{\"schema\":1,\"clusterIPs\":[\"" ip "\"],\"ports\":[{\"name\":\"http\",\"port\":80}]}"

static const struct svc_entry *get(struct svc_table *t, const char *ns, const char *name)
{
    return table_service(t, buf_str(ns), buf_str(name));
}

static bool has_pod(struct svc_table *t, const char *ns, const char *ip_text)
{
    struct ip ip;
    assert_int_equal(ip_parse(ip_text, &ip), 0);
    return table_pod_exists(t, buf_str(ns), &ip);
}

/* The endpoints as "label@address" with "!" behind those not ready, and "/port" of their first port, one blank between. */
static const char *show(const struct svc_entry *e)
{
    static char out[4096];
    size_t n = 0;
    out[0] = '\0';
    assert_non_null(e);
    for (size_t i = 0; i < e->endpoint_count; i++) {
        char ip[IP_TEXT_MAX];
        ip_format(&e->endpoints[i].addr, ip);
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s@%s/%d%s", i ? " " : "", e->endpoints[i].label, ip,
                              e->endpoints[i].port_count ? e->endpoints[i].ports[0].port : -1,
                              e->endpoints[i].ready ? "" : "!");
        assert_true(n < sizeof(out));
    }
    return out;
}

/* The owners of an address as "ns/name" or "label.ns/name". */
static const char *reverse(struct svc_table *t, const char *ip_text)
{
    static char out[1024];
    struct table_owner owners[8];
    struct ip ip;
    size_t n = 0;
    out[0] = '\0';
    assert_int_equal(ip_parse(ip_text, &ip), 0);
    size_t count = table_reverse(t, &ip, owners, ARRAY_LEN(owners));
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s%s%s/%s", i ? " " : "",
                              owners[i].endpoint ? owners[i].endpoint->label : "", owners[i].endpoint ? "." : "",
                              owners[i].entry->svc->ns, owners[i].entry->svc->name);
    return out;
}

static void test_levels(void **state)
{
    struct svc_table *t = table_new();
    assert_false(table_namespace_exists(t, buf_str("shop")));
    put(t, "shop", "{\"schema\":1}");
    assert_true(table_namespace_exists(t, buf_str("shop")));
    assert_null(get(t, "shop", "web"));
    put(t, "shop/web", CLUSTER("10.96.1.10"));
    assert_string_equal(show(get(t, "shop", "web")), "");
    put(t, "shop/web/web-1", SLICE("IPv4", HTTP, EP("10.244.1.5", "")));
    assert_string_equal(show(get(t, "shop", "web")), "10-244-1-5@10.244.1.5/8080");
    assert_int_equal(table_service_count(t), 1);
    /* A slice whose service is not there yet does not make one; it is found once the service comes. */
    put(t, "shop/late/late-1", SLICE("IPv4", HTTP, EP("10.244.1.6", "")));
    assert_null(get(t, "shop", "late"));
    put(t, "shop/late", HEADLESS);
    assert_string_equal(show(get(t, "shop", "late")), "10-244-1-6@10.244.1.6/8080");
    table_remove(t, "shop/late/late-1", 1);
    table_remove(t, "shop/late", 1);
    assert_null(get(t, "shop", "late"));
    /* Emptied data is a mere parent. */
    table_put(t, "shop/web", NULL, 0, 1);
    assert_null(get(t, "shop", "web"));
    assert_string_equal(reverse(t, "10.96.1.10"), "");
    table_remove(t, "shop", 1);
    assert_false(table_namespace_exists(t, buf_str("shop")));
    assert_int_equal(table_service_count(t), 0);
    table_free(t);
}

static void test_ignored(void **state)
{
    static const char *const paths[] = { ".leader", ".leader/lock-1", "shop/.hidden", "shop/web/.x", "shop/web/a/b",
                                         "Shop", "shop/We_b", "", "/shop", "shop/", "shop//a", "shop/a.b" };
    struct svc_table *t = table_new();
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        print_message("case: %s\n", paths[i]);
        put(t, paths[i], HEADLESS);
        table_remove(t, paths[i], 1);
        assert_int_equal(table_generation(t), 0);
        assert_false(table_namespace_exists(t, buf_str("shop")));
    }
    assert_int_equal(table_bad_nodes(t), 0);
    table_free(t);
}

static void test_bad_data_keeps_last_good(void **state)
{
    struct svc_table *t = table_new();
    put(t, "shop/web", CLUSTER("10.96.1.10"));
    put(t, "shop/web/web-1", SLICE("IPv4", HTTP, EP("10.244.1.5", "")));
    uint64_t generation = table_generation(t);
    put(t, "shop/web", "garbage");
    put(t, "shop/web/web-1", "{\"schema\":1}");
    put(t, "shop/new", "127.0.0.1");
    put(t, "shop/web/new", "{\"schema\":9}");
    assert_int_equal(table_bad_nodes(t), 4);
    assert_int_equal(table_generation(t), generation);
    assert_string_equal(show(get(t, "shop", "web")), "10-244-1-5@10.244.1.5/8080");
    assert_int_equal(get(t, "shop", "web")->svc->cluster_ip_count, 1);
    assert_null(get(t, "shop", "new"));
    table_free(t);
}

static void test_merge(void **state)
{
    static const struct {
        const char *name, *slices[3], *shown;
        size_t ready;
    } cases[] = {
        { "two slices in one order, by label",
          { SLICE("IPv4", PG, EP("10.0.0.2", HOST("db-1")) "," EP("10.0.0.3", "")), SLICE("IPv4", PG, EP("10.0.0.1", HOST("db-0"))) },
          "10-0-0-3@10.0.0.3/5432 db-0@10.0.0.1/5432 db-1@10.0.0.2/5432", 3 },
        { "an address in two slices appears once", { SLICE("IPv4", PG, EP("10.0.0.1", "")), SLICE("IPv4", PG, EP("10.0.0.1", "")) },
          "10-0-0-1@10.0.0.1/5432", 1 },
        { "serving wins", { SLICE("IPv4", PG, EP("10.0.0.1", NOT_READY)), SLICE("IPv4", PG, EP("10.0.0.1", "")) },
          "10-0-0-1@10.0.0.1/5432", 1 },
        { "serving wins, the other way round", { SLICE("IPv4", PG, EP("10.0.0.1", "")), SLICE("IPv4", PG, EP("10.0.0.1", NOT_READY)) },
          "10-0-0-1@10.0.0.1/5432", 1 },
        { "the newer slice wins", { SLICE_AT("2000", PG, EP("10.0.0.1", NOT_READY)), SLICE_AT("1000", PG, EP("10.0.0.1", "")) },
          "10-0-0-1@10.0.0.1/5432!", 0 },
        { "an unknown time is not older", { SLICE_AT("2000", PG, EP("10.0.0.1", NOT_READY)), SLICE("IPv4", PG, EP("10.0.0.1", "")) },
          "10-0-0-1@10.0.0.1/5432", 1 },
        { "the winner's label counts", { SLICE_AT("1000", PG, EP("10.0.0.1", HOST("a"))), SLICE_AT("2000", PG, EP("10.0.0.1", HOST("b"))) },
          "b@10.0.0.1/5432", 1 },
        { "other ports are another endpoint", { SLICE("IPv4", PG, EP("10.0.0.1", "")), SLICE("IPv4", HTTP, EP("10.0.0.1", "")) },
          "10-0-0-1@10.0.0.1/5432 10-0-0-1@10.0.0.1/8080", 2 },
        { "the order of ports does not matter", { SLICE("IPv4", PG "," HTTP, EP("10.0.0.1", "")), SLICE("IPv4", HTTP "," PG, EP("10.0.0.1", "")) },
          "10-0-0-1@10.0.0.1/5432", 1 },
        { "both families under one label", { SLICE("IPv4", PG, EP("10.0.0.1", HOST("db-0"))), SLICE("IPv6", PG, EP("fd00::20", HOST("db-0"))) },
          "db-0@10.0.0.1/5432 db-0@fd00::20/5432", 2 },
        { "no ports at all", { SLICE("IPv4", "", EP("10.0.0.1", "")) }, "10-0-0-1@10.0.0.1/-1", 1 },
        { "an empty slice", { SLICE("IPv4", PG, "") }, "", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct svc_table *t = table_new();
        print_message("case: %s\n", cases[i].name);
        put(t, "shop/db", HEADLESS);
        for (size_t k = 0; k < 3 && cases[i].slices[k]; k++) {
            char path[32];
            (void)snprintf(path, sizeof(path), "shop/db/s%zu", k);
            put(t, path, cases[i].slices[k]);
            (void)get(t, "shop", "db"); /* also when it is rebuilt in between */
        }
        assert_string_equal(show(get(t, "shop", "db")), cases[i].shown);
        assert_int_equal(get(t, "shop", "db")->ready_count, cases[i].ready);
        table_free(t);
    }
}

static void test_slice_changes(void **state)
{
    struct svc_table *t = table_new();
    put(t, "shop/db", HEADLESS);
    put(t, "shop/db/a", SLICE("IPv4", PG, EP("10.0.0.1", HOST("db-0")) "," EP("10.0.0.2", HOST("db-1"))));
    put(t, "shop/db/b", SLICE("IPv4", PG, EP("10.0.0.3", HOST("db-2"))));
    assert_string_equal(show(get(t, "shop", "db")), "db-0@10.0.0.1/5432 db-1@10.0.0.2/5432 db-2@10.0.0.3/5432");
    put(t, "shop/db/a", SLICE("IPv4", PG, EP("10.0.0.9", HOST("db-9")) "," EP("10.0.0.2", HOST("db-1") NOT_READY)));
    assert_string_equal(show(get(t, "shop", "db")), "db-1@10.0.0.2/5432! db-2@10.0.0.3/5432 db-9@10.0.0.9/5432");
    assert_string_equal(reverse(t, "10.0.0.1"), "");
    assert_string_equal(reverse(t, "10.0.0.2"), ""); /* not ready */
    assert_string_equal(reverse(t, "10.0.0.9"), "db-9.shop/db");
    table_remove(t, "shop/db/a", 1);
    assert_string_equal(show(get(t, "shop", "db")), "db-2@10.0.0.3/5432");
    assert_string_equal(reverse(t, "10.0.0.9"), "");
    table_remove(t, "shop/db", 1); /* by hand, with its slice still there */
    assert_null(get(t, "shop", "db"));
    assert_string_equal(reverse(t, "10.0.0.3"), "");
    table_free(t);
}

static void test_labels(void **state)
{
    static const struct {
        const char *label;
        size_t count;
    } cases[] = { { "node", 2 },   { "db-0", 1 },  { "nod", 0 },         { "node-1", 1 }, { "nodes", 0 },
                  { "db", 0 },     { "", 0 },      { "10-0-0-3", 1 },    { "10-0-0-1", 0 }, { "zzz", 0 },
                  { "0", 0 } };
    struct svc_table *t = table_new();
    size_t n;
    put(t, "shop/db", HEADLESS);
    put(t, "shop/db/a", SLICE("IPv4", PG, EP("10.0.0.1", HOST("node")) "," EP("10.0.0.2", HOST("node")) ","
                              EP("10.0.0.3", "") "," EP("10.0.0.4", HOST("node-1")) "," EP("10.0.0.5", HOST("db-0"))));
    const struct svc_entry *e = get(t, "shop", "db");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].label);
        const struct svc_endpoint *ep = table_endpoints_by_label(t, e, buf_str(cases[i].label), &n);
        assert_int_equal(n, cases[i].count);
        assert_int_equal(ep != NULL, n > 0);
        for (size_t k = 0; k < n; k++)
            assert_string_equal(ep[k].label, cases[i].label);
    }
    assert_null(table_endpoints_by_label(t, e, buf_of("db-0\0x", 6), &n));
    table_free(t);
}

static void test_reverse(void **state)
{
    struct svc_table *t = table_new();
    put(t, "shop/web", CLUSTER("10.96.1.10"));
    put(t, "shop/web/w", SLICE("IPv4", HTTP, EP("10.244.1.5", "")));
    put(t, "shop/db", HEADLESS);
    put(t, "shop/db/a", SLICE("IPv4", PG, EP("10.244.1.20", HOST("db-0")) "," EP("10.96.1.10", "")));
    put(t, "shop/db/b", SLICE("IPv4", HTTP, EP("10.244.1.20", HOST("db-0"))));
    put(t, "shop/db/c", SLICE("IPv6", PG, EP("fd00:244::20", HOST("db-0"))));
    put(t, "ops/twin", HEADLESS);
    put(t, "ops/twin/a", SLICE("IPv4", PG, EP("10.244.1.20", "")));
    assert_string_equal(reverse(t, "10.96.1.10"), "shop/web 10-96-1-10.shop/db"); /* the cluster IP first */
    assert_string_equal(reverse(t, "10.244.1.5"), "");                             /* not headless */
    assert_string_equal(reverse(t, "10.244.1.20"), "10-244-1-20.ops/twin db-0.shop/db");
    assert_string_equal(reverse(t, "fd00:244::20"), "db-0.shop/db");
    /* A service that changes its kind takes its entries along. */
    put(t, "shop/db", CLUSTER("10.96.1.11"));
    assert_string_equal(reverse(t, "10.244.1.20"), "10-244-1-20.ops/twin");
    assert_string_equal(reverse(t, "10.96.1.11"), "shop/db");
    put(t, "shop/db", "{\"schema\":1,\"type\":\"ExternalName\",\"externalName\":\"a.example\"}");
    assert_string_equal(reverse(t, "10.96.1.11"), "");
    table_free(t);
}

static void test_reverse_prefix(void **state)
{
    static const struct {
        uint8_t family;
        const char *prefix;
        size_t bits;
        bool found;
    } cases[] = {
        { 4, "0.0.0.0", 0, true },     { 4, "10.0.0.0", 8, true },     { 4, "10.96.0.0", 16, true },
        { 4, "10.97.0.0", 16, false }, { 4, "10.96.1.10", 32, true },  { 4, "10.96.1.11", 32, false },
        { 4, "11.0.0.0", 8, false },   { 6, "fd00:244::", 32, true },  { 6, "f000::", 4, true },
        { 6, "fe00::", 8, false },     { 6, "::", 0, true },           { 6, "fd00:244::20", 128, true },
    };
    struct svc_table *t = table_new();
    put(t, "shop/web", CLUSTER("10.96.1.10"));
    put(t, "shop/db", HEADLESS);
    put(t, "shop/db/c", SLICE("IPv6", PG, EP("fd00:244::20", "")));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ip ip;
        print_message("case: %s/%zu\n", cases[i].prefix, cases[i].bits);
        assert_int_equal(ip_parse(cases[i].prefix, &ip), 0);
        assert_int_equal(table_reverse_prefix(t, cases[i].family, ip.b, cases[i].bits), cases[i].found);
    }
    table_free(t);
}

static void collect_ns(const char *ns, void *data)
{
    strcat(strcat(data, ns), " ");
}

static void collect_svc(const struct svc_entry *e, void *data)
{
    strcat(strcat(strcat(strcat(data, e->svc->ns), "/"), e->svc->name), " ");
}

static void test_each(void **state)
{
    struct svc_table *t = table_new();
    char out[256] = "";
    put(t, "b", "{\"schema\":1}");
    put(t, "c", "{\"schema\":1}");
    put(t, "a", "{\"schema\":1}");
    put(t, "b/two", HEADLESS);
    put(t, "a/z", HEADLESS);
    put(t, "b/one", HEADLESS);
    put(t, "b/ghost/s", SLICE("IPv4", PG, ""));
    table_each_namespace(t, collect_ns, out);
    assert_string_equal(out, "a b c ");
    out[0] = '\0';
    table_each_service(t, (struct buf){ 0 }, collect_svc, out);
    assert_string_equal(out, "a/z b/one b/two ");
    out[0] = '\0';
    table_each_service(t, buf_str("b"), collect_svc, out);
    assert_string_equal(out, "b/one b/two ");
    out[0] = '\0';
    table_each_service(t, buf_str("nope"), collect_svc, out);
    assert_string_equal(out, "");
    table_free(t);
}

struct counter {
    struct table_listener l;
    int calls;
    struct counter *removes; /* unlistened from inside the call */
};

static void count_call(struct svc_table *t, void *data)
{
    struct counter *c = data;
    c->calls++;
    if (c->removes)
        table_unlisten(t, &c->removes->l);
}

static void test_listeners(void **state)
{
    struct svc_table *t = table_new();
    struct counter a = { .l = { count_call, &a, NULL } }, b = { .l = { count_call, &b, NULL } };
    table_listen(t, &a.l);
    table_listen(t, &b.l);
    put(t, "shop/web", HEADLESS);
    put(t, "shop/web", HEADLESS); /* the same again is no change */
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    table_set_synced(t);
    table_set_stale(t, clock_mono_ms());
    assert_int_equal(a.calls, 3);
    b.removes = &a; /* b is called first, being the last that came: it removes the next one */
    table_set_stale(t, 0);
    assert_int_equal(a.calls, 3);
    assert_int_equal(b.calls, 4);
    b.removes = &b;
    table_set_stale(t, 0);
    table_set_stale(t, 0);
    assert_int_equal(b.calls, 5);
    table_free(t);
}

static void test_states(void **state)
{
    struct svc_table *t = table_new();
    assert_false(table_synced(t));
    assert_int_equal(table_stale_ms(t), -1);
    put(t, "shop/web", CLUSTER("10.96.1.10"));
    assert_int_equal(table_generation(t), 1);
    assert_int_equal(table_changed_wall_ms(t), 1000);
    table_set_synced(t);
    assert_int_equal(table_generation(t), 2);
    assert_int_equal(table_stale_ms(t), 0);
    table_set_stale(t, clock_mono_ms() - 5000);
    assert_in_range(table_stale_ms(t), 5000, 60000);
    assert_true(table_synced(t));
    assert_non_null(get(t, "shop", "web")); /* stale, and still there */
    table_set_stale(t, 0);
    assert_int_equal(table_stale_ms(t), 0);
    assert_int_equal(table_generation(t), 2);
    table_remove(t, "shop/web", 500); /* the wall clock went back; the serial does not */
    assert_int_equal(table_changed_wall_ms(t), 1000);
    table_remove(t, "shop/web", 2000);
    assert_int_equal(table_generation(t), 3);
    table_free(t);
}

/* Ten thousand endpoints in a hundred slices: every one is found by label and by address, also after one slice changes. */
static void test_pods(void **state)
{
    struct svc_table *t = table_new();
    struct table_owner owner;
    struct ip ip = { .family = 4, .b = { 10, 0, 0, 1 } };

    put(t, ".pods", "{\"schema\":1}");
    put(t, ".pods/shop", "{\"schema\":1}");
    assert_int_equal(table_generation(t), 0); /* these two say nothing */
    put(t, ".pods/shop/a", "{\"schema\":1,\"ips\":[\"10.0.0.1\",\"fd00::1\",\"10.0.0.1\"]}");
    assert_true(has_pod(t, "shop", "10.0.0.1") && has_pod(t, "shop", "fd00::1"));
    assert_false(has_pod(t, "ops", "10.0.0.1") || has_pod(t, "shop", "10.0.0.2"));
    assert_int_equal(table_generation(t), 1);
    put(t, ".pods/shop/a", "{\"ips\":[\"fd00::1\",\"10.0.0.1\"],\"x\":1,\"schema\":1}");
    assert_int_equal(table_generation(t), 1); /* the same to a reader */

    /* No service, no namespace, no name in the reverse tree comes of them. */
    assert_false(table_namespace_exists(t, buf_str("shop")));
    assert_int_equal(table_service_count(t), 0);
    assert_int_equal(table_reverse(t, &ip, &owner, 1), 0);

    /* Pods on their node's network share its address. */
    put(t, ".pods/shop/b.0", "{\"schema\":1,\"ips\":[\"10.0.0.1\"]}");
    put(t, ".pods/ops/a", "{\"schema\":1,\"ips\":[\"10.0.0.1\"]}");
    assert_int_equal(table_pod_count(t), 3);
    put(t, ".pods/shop/a", "{\"schema\":1,\"ips\":[\"10.0.0.9\"]}");
    assert_true(has_pod(t, "shop", "10.0.0.1") && has_pod(t, "shop", "10.0.0.9"));
    assert_false(has_pod(t, "shop", "fd00::1"));
    table_remove(t, ".pods/shop/b.0", 1);
    assert_false(has_pod(t, "shop", "10.0.0.1"));
    assert_true(has_pod(t, "ops", "10.0.0.1"));

    /* What cannot be read changes nothing; what is none of ours is not looked at. */
    uint64_t generation = table_generation(t);
    put(t, ".pods/shop/a", "{\"schema\":1,\"ips\":[\"x\"]}");
    put(t, ".pods/shop/a", "{\"schema\":2}");
    assert_int_equal(table_bad_nodes(t), 2);
    static const char *const strange[] = { ".pods/shop/.hidden", ".pods/Shop/a", ".pods//a", ".pods/shop/a/deep", ".podsx/shop/a",
                                           ".pods/shop/" };
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        put(t, strange[i], "{\"schema\":1,\"ips\":[\"10.0.0.7\"]}");
        table_remove(t, strange[i], 1);
    }
    table_remove(t, ".pods/shop/nobody", 1);
    table_remove(t, ".pods/nowhere", 1);
    assert_int_equal(table_generation(t), generation);
    assert_int_equal(table_bad_nodes(t), 2);
    assert_true(has_pod(t, "shop", "10.0.0.9"));
    assert_false(has_pod(t, "shop", "10.0.0.7"));

    /* A removal takes along what is below it. */
    put(t, ".pods/shop/c", "{\"schema\":1,\"ips\":[\"10.0.0.10\"]}");
    table_remove(t, ".pods/shop", 1);
    assert_false(has_pod(t, "shop", "10.0.0.9") || has_pod(t, "shop", "10.0.0.10"));
    assert_int_equal(table_pod_count(t), 1);
    table_remove(t, ".pods", 1);
    assert_int_equal(table_pod_count(t), 0);
    assert_int_equal(table_generation(t), generation + 3);
    put(t, ".pods/shop/c", "{\"schema\":1}"); /* without an address */
    assert_int_equal(table_pod_count(t), 1);
    table_free(t);
}

static void test_large_service(void **state)
{
    struct svc_table *t = table_new();
    size_t n;
    put(t, "shop/db", HEADLESS);
    for (int s = 0; s < 100; s++) {
        struct wr w = wr_init(0);
        char path[32];
        wr_printf(&w, "{\"schema\":1,\"addressType\":\"IPv4\",\"ports\":[" PG "],\"endpoints\":[");
        for (int i = 0; i < 100; i++)
            wr_printf(&w, "%s{\"address\":\"10.1.%d.%d\",\"hostname\":\"db-%d\"}", i ? "," : "", s, i, s * 100 + i);
        wr_text(&w, "]}");
        (void)snprintf(path, sizeof(path), "shop/db/s%d", s);
        table_put(t, path, w.p, w.n, 1);
        wr_free(&w);
    }
    for (int round = 0; round < 2; round++) {
        const struct svc_entry *e = get(t, "shop", "db");
        assert_int_equal(e->endpoint_count, round ? 9901 : 10000);
        for (int i = 0; i < 10000; i++) {
            char label[16], ip[32], owner[32];
            bool gone = round && i / 100 == 7 && i != 700;
            (void)snprintf(label, sizeof(label), "db-%d", i);
            (void)snprintf(ip, sizeof(ip), "10.1.%d.%d", i / 100, i % 100);
            (void)snprintf(owner, sizeof(owner), "%s%s", gone ? "" : label, gone ? "" : ".shop/db");
            assert_int_equal(table_endpoints_by_label(t, e, buf_str(label), &n) != NULL, !gone);
            assert_string_equal(reverse(t, ip), owner);
        }
        put(t, "shop/db/s7", SLICE("IPv4", PG, EP("10.1.7.0", HOST("db-700"))));
    }
    table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),  cmocka_unit_test(test_ignored),
        cmocka_unit_test(test_merge),   cmocka_unit_test(test_bad_data_keeps_last_good),
        cmocka_unit_test(test_labels),  cmocka_unit_test(test_slice_changes),
        cmocka_unit_test(test_reverse), cmocka_unit_test(test_reverse_prefix),
        cmocka_unit_test(test_each),    cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_states),  cmocka_unit_test(test_large_service),
        cmocka_unit_test(test_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
