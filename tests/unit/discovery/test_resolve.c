/* test_resolve.c - the resolver: how names are read, what they find, and the exact text of every listing. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "discovery/resolve.h"

static const char *const nodes[][2] = {
    { "default", "{\"schema\":1}" },
    { "shop", "{\"schema\":1}" },
    { "svc", "{\"schema\":1}" },
    { "default/my-service",
      "{\"schema\":1,\"clusterIPs\":[\"10.96.0.10\",\"fd00:96::10\"],\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080},"
      "{\"name\":\"dns-udp\",\"port\":53,\"protocol\":\"UDP\"}],\"type\":\"NodePort\",\"labels\":{\"team\":\"core\"}}" },
    { "default/my-service/s4",
      "{\"schema\":1,\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":8080},{\"name\":\"dns-udp\",\"port\":5353,"
      "\"protocol\":\"UDP\"}],\"endpoints\":[{\"address\":\"10.1.0.10\",\"node\":\"n1\",\"zone\":\"z1\"},"
      "{\"address\":\"10.1.0.11\",\"ready\":false}]}" },
    { "shop/db", "{\"schema\":1,\"ports\":[{\"name\":\"pg\",\"port\":5432}]}" },
    { "shop/db/a",
      "{\"schema\":1,\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"pg\",\"port\":5432}],\"endpoints\":["
      "{\"address\":\"10.1.0.20\",\"hostname\":\"db-0\"},{\"address\":\"10.1.0.21\",\"hostname\":\"db-1\",\"ready\":false}]}" },
    { "shop/db/b",
      "{\"schema\":1,\"addressType\":\"IPv6\",\"ports\":[{\"name\":\"pg\",\"port\":5432}],\"endpoints\":["
      "{\"address\":\"fd00::20\",\"hostname\":\"db-0\"}]}" },
    { "shop/pay", "{\"schema\":1,\"type\":\"ExternalName\",\"externalName\":\"pay.example.net\"}" },
    { "shop/cold", "{\"schema\":1,\"ports\":[{\"name\":\"pg\",\"port\":5432}]}" },
    { "shop/raw", "{\"schema\":1}" },
    { "shop/raw/r", "{\"schema\":1,\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"10.1.0.30\"}]}" },
    { "svc/svc", "{\"schema\":1,\"clusterIPs\":[\"10.96.0.99\"],\"ports\":[{\"port\":9000}],\"externalIPs\":[\"192.0.2.1\"]}" },
};

static struct svc_table *make_table(bool synced)
{
    struct svc_table *t = table_new();
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        table_put(t, nodes[i][0], nodes[i][1], strlen(nodes[i][1]), 1);
    assert_int_equal(table_bad_nodes(t), 0);
    if (synced)
        table_set_synced(t);
    return t;
}

/* Plain text of what a query finds, lines joined by blanks; or "rc: error". */
static const char *ask(const struct svc_table *t, const struct resolve_query *q, enum list_format format)
{
    static char out[8192];
    struct resolve_result res;
    char *error = NULL;
    int rc = resolve(t, q, &res, &error);
    if (rc < 0) {
        (void)snprintf(out, sizeof(out), "%d: %s", rc, error);
        free(error);
        return out;
    }
    assert_null(error);
    struct wr w = wr_init(0);
    resolve_format(&res, format, &w);
    resolve_done(&res);
    (void)snprintf(out, sizeof(out), "%s", wr_cstr(&w));
    wr_free(&w);
    return out;
}

static void test_names(void **state)
{
    static const char *const zones[] = { "cluster.local", "lab.example." };
    static const struct {
        const char *name, *ns;
        bool endpoints, all;
        const char *plain;
    } cases[] = {
        { "my-service.default", NULL, false, false, "10.96.0.10:80\n10.96.0.10:53\n[fd00:96::10]:80\n[fd00:96::10]:53\n" },
        { "my-service", NULL, false, false, "10.96.0.10:80\n10.96.0.10:53\n[fd00:96::10]:80\n[fd00:96::10]:53\n" },
        { "_http._tcp.my-service.default", NULL, false, false, "10.96.0.10:80\n[fd00:96::10]:80\n" },
        { "_dns-udp._udp.my-service", NULL, false, false, "10.96.0.10:53\n[fd00:96::10]:53\n" },
        { "_HTTP._Tcp.My-Service.Default.SVC.Cluster.Local.", NULL, false, false, "10.96.0.10:80\n[fd00:96::10]:80\n" },
        { "_http._tcp.my-service.default.svc.lab.example", NULL, false, false, "10.96.0.10:80\n[fd00:96::10]:80\n" },
        { "_http._tcp.my-service", NULL, true, false, "10.1.0.10:8080\n" },
        { "_http._tcp.my-service", NULL, true, true, "10.1.0.10:8080\n10.1.0.11:8080\n" },
        { "10-1-0-10.my-service.default", NULL, false, false, "10.1.0.10:8080\n10.1.0.10:5353\n" },
        { "db.shop", NULL, false, false, "10.1.0.20:5432\n[fd00::20]:5432\n" },
        { "db", "shop", false, false, "10.1.0.20:5432\n[fd00::20]:5432\n" },
        { "db-0.db.shop", NULL, false, false, "10.1.0.20:5432\n[fd00::20]:5432\n" },
        { "db-0.db", "shop", false, false, "10.1.0.20:5432\n[fd00::20]:5432\n" },
        { "_pg._tcp.db-0.db.shop.svc", NULL, false, false, "10.1.0.20:5432\n[fd00::20]:5432\n" },
        { "db-1.db.shop", NULL, false, false, "" },
        { "db-1.db.shop", NULL, false, true, "10.1.0.21:5432\n" },
        { "_pg._tcp.cold.shop", NULL, false, false, "" },
        { "raw.shop", NULL, false, false, "10.1.0.30\n" },
        { "pay.shop", NULL, false, false, "pay.example.net\n" },
        { "svc.svc", NULL, false, false, "10.96.0.99:9000\n" },
        { "svc.svc.svc", NULL, false, false, "10.96.0.99:9000\n" },
        { "svc.svc.svc.cluster.local", NULL, false, false, "10.96.0.99:9000\n" },
        { "nope.default", NULL, false, false, "-8: nope.default: no service nope in namespace default" },
        { "my-service.nope", NULL, false, false, "-8: my-service.nope: no such namespace: nope" },
        { "db-9.db.shop", NULL, false, false, "-8: db-9.db.shop: no endpoint db-9 of db.shop" },
        { "x.pay.shop", NULL, false, false, "-8: x.pay.shop: no endpoint x of pay.shop" },
        { "_http._udp.my-service", NULL, false, false, "-8: _http._udp.my-service: my-service.default has no port http/udp" },
        { "_a._tcp.pay.shop", NULL, false, false, "-8: _a._tcp.pay.shop: pay.shop has no port a/tcp" },
        { "_pg._tcp.raw.shop", NULL, false, false, "-8: _pg._tcp.raw.shop: raw.shop has no port pg/tcp" },
    };
    static const char *const malformed[] = { "", ".", "a..b", "_http.my-service", "_http._tcp", "a.b.c.d", "my-service.default.svc.other.zone",
                                             "a b", "_a._b._c._d.e.f.g", "x/y" };
    struct svc_table *t = make_table(true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resolve_query q = { cases[i].name, cases[i].ns, zones, 2, cases[i].endpoints, cases[i].all };
        print_message("case: %s\n", cases[i].name);
        assert_string_equal(ask(t, &q, LIST_PLAIN), cases[i].plain);
    }
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        struct resolve_query q = { .name = malformed[i] };
        print_message("case: '%s'\n", malformed[i]);
        assert_int_equal(strncmp(ask(t, &q, LIST_PLAIN), "-3: ", 4), 0);
    }
    table_free(t);
}

static void test_unsynced(void **state)
{
    struct svc_table *t = make_table(false);
    assert_int_equal(strncmp(ask(t, &(struct resolve_query){ .name = "nope.shop" }, LIST_PLAIN), "-16: ", 5), 0);
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "pay.shop" }, LIST_PLAIN), "pay.example.net\n");
    table_free(t);
}

static void test_formats(void **state)
{
    struct svc_table *t = make_table(true);
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "my-service", .endpoints = true, .all = true }, LIST_TABLE),
                        "ADDRESS    PORT  NAME     PROTOCOL  HOSTNAME  NODE  ZONE  READY\n"
                        "10.1.0.10  8080  http     TCP       -         n1    z1    yes\n"
                        "10.1.0.10  5353  dns-udp  UDP       -         n1    z1    yes\n"
                        "10.1.0.11  8080  http     TCP       -         -     -     no\n"
                        "10.1.0.11  5353  dns-udp  UDP       -         -     -     no\n");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "pay.shop" }, LIST_TABLE),
                        "ADDRESS          PORT  NAME  PROTOCOL  HOSTNAME  NODE  ZONE  READY\n"
                        "pay.example.net  -     -     -         -         -     -     -\n");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "_pg._tcp.db-0.db.shop" }, LIST_JSON),
                        "{\n  \"namespace\": \"shop\",\n  \"name\": \"db\",\n  \"type\": \"ClusterIP\",\n  \"headless\": true,\n"
                        "  \"endpoints\": [\n    {\n      \"ip\": \"10.1.0.20\",\n      \"port\": 5432,\n      \"portName\": \"pg\",\n"
                        "      \"protocol\": \"TCP\",\n      \"hostname\": \"db-0\",\n      \"ready\": true\n    },\n    {\n"
                        "      \"ip\": \"fd00::20\",\n      \"port\": 5432,\n      \"portName\": \"pg\",\n      \"protocol\": \"TCP\",\n"
                        "      \"hostname\": \"db-0\",\n      \"ready\": true\n    }\n  ]\n}\n");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "pay.shop" }, LIST_JSON),
                        "{\n  \"namespace\": \"shop\",\n  \"name\": \"pay\",\n  \"type\": \"ExternalName\",\n"
                        "  \"externalName\": \"pay.example.net\",\n  \"addresses\": []\n}\n");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "my-service" }, LIST_ENV),
                        "MY_SERVICE_SERVICE_HOST=10.96.0.10\n"
                        "MY_SERVICE_SERVICE_PORT=80\n"
                        "MY_SERVICE_SERVICE_PORT_HTTP=80\n"
                        "MY_SERVICE_SERVICE_PORT_DNS_UDP=53\n"
                        "MY_SERVICE_PORT=tcp://10.96.0.10:80\n"
                        "MY_SERVICE_PORT_80_TCP=tcp://10.96.0.10:80\n"
                        "MY_SERVICE_PORT_80_TCP_PROTO=tcp\n"
                        "MY_SERVICE_PORT_80_TCP_PORT=80\n"
                        "MY_SERVICE_PORT_80_TCP_ADDR=10.96.0.10\n"
                        "MY_SERVICE_PORT_53_UDP=udp://10.96.0.10:53\n"
                        "MY_SERVICE_PORT_53_UDP_PROTO=udp\n"
                        "MY_SERVICE_PORT_53_UDP_PORT=53\n"
                        "MY_SERVICE_PORT_53_UDP_ADDR=10.96.0.10\n");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "db.shop" }, LIST_ENV), "");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "pay.shop", .endpoints = true }, LIST_ENV), "");
    assert_string_equal(ask(t, &(struct resolve_query){ .name = "db.shop", .endpoints = true }, LIST_ENV),
                        "DB_SERVICE_HOST=10.1.0.20\n"
                        "DB_SERVICE_PORT=5432\n"
                        "DB_SERVICE_PORT_PG=5432\n"
                        "DB_PORT=tcp://10.1.0.20:5432\n"
                        "DB_PORT_5432_TCP=tcp://10.1.0.20:5432\n"
                        "DB_PORT_5432_TCP_PROTO=tcp\n"
                        "DB_PORT_5432_TCP_PORT=5432\n"
                        "DB_PORT_5432_TCP_ADDR=10.1.0.20\n");
    table_free(t);
}

static const char *list(const struct svc_table *t, const char *ns, enum list_format format)
{
    static char out[8192];
    struct wr w = wr_init(0);
    services_format(t, ns, format, &w);
    (void)snprintf(out, sizeof(out), "%s", wr_cstr(&w));
    wr_free(&w);
    return out;
}

static void test_services(void **state)
{
    struct svc_table *t = make_table(true);
    assert_string_equal(list(t, NULL, LIST_TABLE),
                        "NAMESPACE  NAME        TYPE          CLUSTER-IP              EXTERNAL         PORTS          READY\n"
                        "default    my-service  NodePort      10.96.0.10,fd00:96::10  -                80/TCP,53/UDP  1/2\n"
                        "shop       cold        ClusterIP     None                    -                5432/TCP       0/0\n"
                        "shop       db          ClusterIP     None                    -                5432/TCP       2/3\n"
                        "shop       pay         ExternalName  -                       pay.example.net  -              -\n"
                        "shop       raw         ClusterIP     None                    -                -              1/1\n"
                        "svc        svc         ClusterIP     10.96.0.99              192.0.2.1        9000/TCP       0/0\n");
    assert_string_equal(list(t, "svc", LIST_JSON),
                        "[\n  {\n    \"namespace\": \"svc\",\n    \"name\": \"svc\",\n    \"type\": \"ClusterIP\",\n"
                        "    \"clusterIPs\": [\n      \"10.96.0.99\"\n    ],\n    \"externalIPs\": [\n      \"192.0.2.1\"\n    ],\n"
                        "    \"ports\": [\n      {\n        \"port\": 9000\n      }\n    ],\n"
                        "    \"readyEndpoints\": 0,\n    \"endpoints\": 0\n  }\n]\n");
    assert_string_equal(list(t, "shop", LIST_PLAIN), "cold.shop\ndb.shop\npay.shop\nraw.shop\n");
    assert_string_equal(list(t, "none", LIST_JSON), "[]\n");
    assert_int_equal(strncmp(list(t, "svc", LIST_ENV), "SVC_SERVICE_HOST=10.96.0.99\nSVC_SERVICE_PORT=9000\nSVC_PORT=tcp", 62), 0);
    table_free(t);
}

static void test_format_names(void **state)
{
    enum list_format f;
    assert_int_equal(list_format_parse("JSON", &f), 0);
    assert_int_equal(f, LIST_JSON);
    assert_int_equal(list_format_parse("env", &f), 0);
    assert_int_equal(f, LIST_ENV);
    assert_int_equal(list_format_parse("yaml", &f), RC_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_unsynced),     cmocka_unit_test(test_formats),
        cmocka_unit_test(test_services), cmocka_unit_test(test_format_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
