/* test_model.c - addresses, names, and the JSON of services and slices: round trips, canonical bytes, what is refused. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "discovery/model.h"

static void test_ip(void **state)
{
    static const struct {
        const char *in;
        int rc;
        uint8_t family;
        const char *out, *label;
    } cases[] = {
        { "10.244.1.5", 0, 4, "10.244.1.5", "10-244-1-5" },
        { "0.0.0.0", 0, 4, "0.0.0.0", "0-0-0-0" },
        { "fd00:1::", 0, 6, "fd00:1::", "fd00-1--0" },
        { "FD00:0:0:0::60", 0, 6, "fd00::60", "fd00--60" },
        { "::ffff:1.2.3.4", 0, 4, "1.2.3.4", "1-2-3-4" },
        { "::1", 0, 6, "::1", "0--1" },
        { "::", 0, 6, "::", "0--0" },
        { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0, 6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
          "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff" },
        { "1.2.3", RC_MALFORMED },
        { "1.2.3.04", RC_MALFORMED },
        { "1.2.3.256", RC_MALFORMED },
        { "fe80::1%eth0", RC_MALFORMED },
        { "10.0.0.0/8", RC_MALFORMED },
        { "", RC_MALFORMED },
        { "www.example.net", RC_MALFORMED },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ip ip = { 0 };
        char text[IP_TEXT_MAX];
        print_message("case: %s\n", cases[i].in);
        assert_int_equal(ip_parse(cases[i].in, &ip), cases[i].rc);
        if (cases[i].rc < 0)
            continue;
        assert_int_equal(ip.family, cases[i].family);
        ip_format(&ip, text);
        assert_string_equal(text, cases[i].out);
        ip_label(&ip, text);
        assert_string_equal(text, cases[i].label);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *s;
        bool label, dns;
    } cases[] = {
        { "web", true, true },       { "a", true, true },           { "", false, false },
        { "-a", false, true },       { "a-", false, true },         { "a.b", false, true },
        { "A", false, true },        { "a_b", false, true },        { "a..b", false, false },
        { "a.", false, false },      { ".a", false, false },        { "a b", false, false },
        { "012345678901234567890123456789012345678901234567890123456789012", true, true },
        { "0123456789012345678901234567890123456789012345678901234567890123", false, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: '%s'\n", cases[i].s);
        assert_int_equal(name_is_label(cases[i].s, strlen(cases[i].s)), cases[i].label);
        assert_int_equal(name_is_dns(cases[i].s, strlen(cases[i].s)), cases[i].dns);
    }
}

/* Decoding gives what encoding wrote, byte for byte: these texts are canonical. */
static const char *const canonical_services[] = {
    "{\"schema\":1}",
    "{\"clusterIPs\":[\"10.96.1.10\",\"fd00:96::10\"],\"managedBy\":\"quoll-sync\",\"ports\":[{\"name\":\"http\",\"port\":80,"
    "\"targetPort\":8080},{\"appProtocol\":\"kubernetes.io/h2c\",\"name\":\"grpc\",\"nodePort\":30080,\"port\":9000,"
    "\"protocol\":\"UDP\",\"targetPort\":\"grpc\"}],\"schema\":1,\"type\":\"NodePort\"}",
    "{\"externalName\":\"www.example.net\",\"schema\":1,\"type\":\"ExternalName\"}",
    "{\"annotations\":{\"a/b\":\"x\"},\"clusterIPs\":[\"10.96.1.11\"],\"externalIPs\":[\"192.0.2.1\"],\"ingress\":"
    "[\"lb.example.net\",\"192.0.2.2\"],\"labels\":{\"app\":\"web\",\"team\":\"é\"},\"publishNotReadyAddresses\":true,"
    "\"schema\":1,\"sessionAffinity\":\"ClientIP\",\"sessionAffinityTimeoutSeconds\":60,\"type\":\"LoadBalancer\"}",
};

static const char *const canonical_slices[] = {
    "{\"addressType\":\"IPv4\",\"schema\":1}",
    "{\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"10.244.1.5\",\"hostname\":\"web-0\",\"node\":\"n1\",\"pod\":"
    "\"web-0\",\"zone\":\"eu-1a\"},{\"address\":\"10.244.1.6\",\"ready\":false,\"serving\":false,\"terminating\":true}],"
    "\"lastChangeTriggerTimeMs\":1767225600000,\"managedBy\":\"quoll-sync\",\"ports\":[{\"appProtocol\":\"http\",\"name\":"
    "\"http\",\"port\":8080},{},{\"port\":53,\"protocol\":\"SCTP\"}],\"schema\":1}",
    "{\"addressType\":\"IPv6\",\"endpoints\":[{\"address\":\"fd00::1\"}],\"schema\":1}",
};

static void test_canonical(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(canonical_services); i++) {
        const char *in = canonical_services[i];
        struct svc *s = NULL;
        char *problem = NULL;
        print_message("case: %s\n", in);
        int rc = svc_decode("shop", "web", in, strlen(in), &s, &problem);
        if (problem)
            print_message("%s\n", problem);
        assert_int_equal(rc, 0);
        assert_string_equal(s->ns, "shop");
        assert_string_equal(s->name, "web");
        char *out = svc_encode(s);
        assert_string_equal(out, in);
        free(out);
        svc_free(s);
        for (size_t n = 0; n < strlen(in); n++)
            assert_int_equal(svc_decode("shop", "web", in, n, &s, NULL), RC_MALFORMED);
    }
    for (size_t i = 0; i < ARRAY_LEN(canonical_slices); i++) {
        const char *in = canonical_slices[i];
        struct slice *s = NULL;
        print_message("case: %s\n", in);
        assert_int_equal(slice_decode("web-1", in, strlen(in), &s, NULL), 0);
        char *out = slice_encode(s);
        assert_string_equal(out, in);
        free(out);
        slice_free(s);
        for (size_t n = 0; n < strlen(in); n++)
            assert_int_equal(slice_decode("web-1", in, n, &s, NULL), RC_MALFORMED);
    }
}

static void test_fields(void **state)
{
    struct svc *s;
    struct slice *e;
    assert_int_equal(svc_decode("shop", "web", canonical_services[1], strlen(canonical_services[1]), &s, NULL), 0);
    assert_int_equal(s->type, SVC_NODE_PORT);
    assert_false(s->headless);
    assert_int_equal(s->cluster_ip_count, 2);
    assert_int_equal(s->port_count, 2);
    assert_string_equal(s->ports[0].target_port, "8080");
    assert_int_equal(s->ports[1].proto, PROTO_UDP);
    assert_int_equal(s->ports[1].node_port, 30080);
    assert_int_equal(s->affinity_timeout_s, 10800);
    assert_string_equal(s->managed_by, "quoll-sync");
    svc_free(s);
    assert_int_equal(svc_decode("shop", "web", canonical_services[0], strlen(canonical_services[0]), &s, NULL), 0);
    assert_true(s->headless);
    svc_free(s);
    assert_int_equal(svc_decode("shop", "web", canonical_services[2], strlen(canonical_services[2]), &s, NULL), 0);
    assert_false(s->headless);
    assert_string_equal(s->external_name, "www.example.net");
    svc_free(s);
    assert_int_equal(slice_decode("x", canonical_slices[1], strlen(canonical_slices[1]), &e, NULL), 0);
    assert_true(e->endpoints[0].ready && e->endpoints[0].serving && !e->endpoints[0].terminating);
    assert_true(!e->endpoints[1].ready && !e->endpoints[1].serving && e->endpoints[1].terminating);
    assert_int_equal(e->ports[1].port, 0);
    slice_free(e);
}

static void test_refused(void **state)
{
    static const struct {
        bool slice;
        const char *in;
        int rc;
        const char *problem; /* its beginning */
    } cases[] = {
        { false, "", RC_MALFORMED, "not JSON" },
        { false, "10.1.2.3", RC_MALFORMED, "not JSON" },
        { false, "[]", RC_MALFORMED, "not a JSON object" },
        { false, "{}", RC_MALFORMED, "schema: missing" },
        { false, "{\"schema\":\"1\"}", RC_MALFORMED, "schema: must be" },
        { false, "{\"schema\":2,\"type\":7}", RC_UNSUPPORTED, "schema: version 2 is newer" },
        { false, "{\"schema\":1,\"schema\":1}", RC_MALFORMED, "not JSON: duplicate" },
        { false, "{\"schema\":1,\"type\":\"Magic\"}", RC_MALFORMED, "type: " },
        { false, "{\"schema\":1,\"type\":\"ExternalName\"}", RC_MALFORMED, "externalName: missing" },
        { false, "{\"schema\":1,\"externalName\":\"a..b\"}", RC_MALFORMED, "externalName: not a DNS name" },
        { false, "{\"schema\":1,\"clusterIPs\":\"10.0.0.1\"}", RC_MALFORMED, "clusterIPs: must be a list" },
        { false, "{\"schema\":1,\"clusterIPs\":[\"10.0.0.1\",\"None\"]}", RC_MALFORMED, "clusterIPs[1]: not an IP" },
        { false, "{\"schema\":1,\"ports\":[{\"port\":80},{\"port\":0}]}", RC_MALFORMED, "ports[1].port: must be 1..65535" },
        { false, "{\"schema\":1,\"ports\":[{\"port\":65536}]}", RC_MALFORMED, "ports[0].port: must be 1..65535" },
        { false, "{\"schema\":1,\"ports\":[{}]}", RC_MALFORMED, "ports[0].port: missing" },
        { false, "{\"schema\":1,\"ports\":[7]}", RC_MALFORMED, "ports[0]: must be an object" },
        { false, "{\"schema\":1,\"ports\":[{\"port\":1,\"name\":\"A\"}]}", RC_MALFORMED, "ports[0].name: " },
        { false, "{\"schema\":1,\"ports\":[{\"port\":1,\"protocol\":\"ICMP\"}]}", RC_MALFORMED, "ports[0].protocol: " },
        { false, "{\"schema\":1,\"ports\":[{\"port\":1,\"targetPort\":0}]}", RC_MALFORMED, "ports[0].targetPort: " },
        { false, "{\"schema\":1,\"labels\":{\"a\":1}}", RC_MALFORMED, "labels.a: must be a string" },
        { false, "{\"schema\":1,\"ingress\":[\"\"]}", RC_MALFORMED, "ingress[0]: " },
        { false, "{\"schema\":1,\"sessionAffinity\":\"Cookie\"}", RC_MALFORMED, "sessionAffinity: " },
        { false, "{\"schema\":1,\"publishNotReadyAddresses\":1}", RC_MALFORMED, "publishNotReadyAddresses: " },
        { true, "{\"schema\":1}", RC_MALFORMED, "addressType: " },
        { true, "{\"schema\":1,\"addressType\":\"FQDN\"}", RC_MALFORMED, "addressType: " },
        { true, "{\"schema\":1,\"addressType\":\"IPv4\",\"endpoints\":[{}]}", RC_MALFORMED, "endpoints[0].address: not an" },
        { true, "{\"schema\":1,\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"::1\"}]}", RC_MALFORMED,
          "endpoints[0].address: not of the slice's" },
        { true, "{\"schema\":1,\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"1.2.3.4\",\"hostname\":\"a.b\"}]}",
          RC_MALFORMED, "endpoints[0].hostname: " },
        { true, "{\"schema\":1,\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"1.2.3.4\",\"ready\":\"yes\"}]}",
          RC_MALFORMED, "endpoints[0].ready: must be true or false" },
        { true, "{\"schema\":1,\"addressType\":\"IPv4\",\"ports\":[{\"port\":-1}]}", RC_MALFORMED, "ports[0].port: " },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct svc *s = NULL;
        struct slice *e = NULL;
        char *problem = NULL;
        print_message("case: %s\n", cases[i].in);
        int rc = cases[i].slice ? slice_decode("x", cases[i].in, strlen(cases[i].in), &e, &problem)
                                : svc_decode("a", "b", cases[i].in, strlen(cases[i].in), &s, &problem);
        assert_int_equal(rc, cases[i].rc);
        assert_null(s);
        assert_null(e);
        assert_non_null(problem);
        print_message("      %s\n", problem);
        assert_int_equal(strncmp(problem, cases[i].problem, strlen(cases[i].problem)), 0);
        free(problem);
    }
}

static void test_pods(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
        int rc;
    } cases[] = {
        { "{\"schema\":1}", "{\"schema\":1}" },
        { "{\"x\":1,\"ips\":[\"10.0.0.1\",\"FD00::1\"],\"managedBy\":\"me\",\"schema\":1}",
          "{\"ips\":[\"10.0.0.1\",\"fd00::1\"],\"managedBy\":\"me\",\"schema\":1}" },
        { "{\"ips\":[],\"schema\":1}", "{\"schema\":1}" },
        { "{\"ips\":[\"10.0.0\"],\"schema\":1}", NULL, RC_MALFORMED },
        { "{\"ips\":[5],\"schema\":1}", NULL, RC_MALFORMED },
        { "{\"ips\":\"10.0.0.1\",\"schema\":1}", NULL, RC_MALFORMED },
        { "{\"ips\":[\"10.0.0.1\"]}", NULL, RC_MALFORMED },
        { "{\"schema\":2}", NULL, RC_UNSUPPORTED },
        { "", NULL, RC_MALFORMED },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pod *p;
        char *problem = NULL;
        print_message("case: %s\n", cases[i].in);
        assert_int_equal(pod_decode(cases[i].in, strlen(cases[i].in), &p, &problem), cases[i].rc);
        assert_int_equal(problem != NULL, cases[i].rc != 0);
        free(problem);
        if (cases[i].rc)
            continue;
        char *out = pod_encode(p);
        assert_string_equal(out, cases[i].out);
        free(out);
        pod_free(p);
    }
}

static void test_pods_path(void **state)
{
    assert_true(registry_in_pods(".pods") && registry_in_pods(".pods/a/b"));
    assert_false(registry_in_pods(".podsx") || registry_in_pods("pods/a") || registry_in_pods(".pod"));
}

static void test_marks(void **state)
{
    static const struct {
        const char *in, *by;
    } cases[] = {
        { "{\"managedBy\":\"quoll-sync\",\"schema\":1}", "quoll-sync" },
        { "{\"managedBy\":\"quoll-sync\"}", NULL },
        { "{\"managedBy\":\"\",\"schema\":1}", NULL },
        { "{\"managedBy\":7,\"schema\":1}", NULL },
        { "{\"schema\":1}", NULL },
        { "127.0.0.1", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *by = node_managed_by(cases[i].in, strlen(cases[i].in));
        print_message("case: %s\n", cases[i].in);
        if (cases[i].by)
            assert_string_equal(by, cases[i].by);
        else
            assert_null(by);
        free(by);
    }
    char *ns = namespace_encode("quoll-sync");
    assert_string_equal(ns, cases[0].in);
    free(ns);
}

static void test_keep_unknown(void **state)
{
    static const struct {
        enum node_kind kind;
        const char *wanted, *actual, *out;
    } cases[] = {
        { NODE_SERVICE, "{\"schema\":1}", "{\"schema\":1,\"type\":\"NodePort\",\"x-owner\":{\"b\":1,\"a\":2}}",
          "{\"schema\":1,\"x-owner\":{\"a\":2,\"b\":1}}" },
        { NODE_SERVICE, "{\"schema\":1}", "not json", "{\"schema\":1}" },
        { NODE_SERVICE, "{\"schema\":1}", "{\"endpoints\":[],\"schema\":1}", "{\"endpoints\":[],\"schema\":1}" },
        { NODE_SLICE, "{\"addressType\":\"IPv4\",\"schema\":1}", "{\"addressType\":\"IPv4\",\"endpoints\":[],\"schema\":1}",
          "{\"addressType\":\"IPv4\",\"schema\":1}" },
        { NODE_POD, "{\"ips\":[\"10.0.0.1\"],\"schema\":1}", "{\"ips\":[],\"note\":\"n\",\"schema\":1}",
          "{\"ips\":[\"10.0.0.1\"],\"note\":\"n\",\"schema\":1}" },
        { NODE_NAMESPACE, "{\"schema\":1}", "{\"managedBy\":\"me\",\"note\":\"n\",\"schema\":1}",
          "{\"note\":\"n\",\"schema\":1}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *out = node_keep_unknown(cases[i].kind, cases[i].wanted, cases[i].actual, strlen(cases[i].actual));
        assert_string_equal(out, cases[i].out);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ip),      cmocka_unit_test(test_names),   cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_fields),  cmocka_unit_test(test_refused), cmocka_unit_test(test_marks),
        cmocka_unit_test(test_keep_unknown), cmocka_unit_test(test_pods), cmocka_unit_test(test_pods_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
