/* test_convert.c - Kubernetes objects to registry data: what a real API server sent, rules one by one, what is refused. */
#include "base/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "convert.h"
#include "discovery/model.h"

static const char *const everything[] = { "" };
static const struct convert_options keep_labels = { .label_prefixes = everything, .label_prefix_count = 1 };

static json_t *load_items(const char *file)
{
    char path[512];
    json_error_t err;
    (void)snprintf(path, sizeof(path), "%s/%s", FIXTURES, file);
    json_t *list = json_load_file(path, 0, &err);
    assert_non_null(list);
    json_t *items = json_incref(json_object_get(list, "items"));
    json_decref(list);
    return items;
}

static const char *meta(json_t *obj, const char *key)
{
    return json_string_value(json_object_get(json_object_get(obj, "metadata"), key));
}

static const struct {
    const char *name, *json;
} recorded_services[] = {
    { "kubernetes", "{\"clusterIPs\":[\"10.96.0.1\"],\"labels\":{\"component\":\"apiserver\",\"provider\":\"kubernetes\"},"
                    "\"managedBy\":\"quoll-sync\",\"ports\":[{\"name\":\"https\",\"port\":443,\"targetPort\":16443}],\"schema\":1}" },
    { "pay", "{\"externalName\":\"payments.example.com\",\"managedBy\":\"quoll-sync\",\"schema\":1,\"type\":\"ExternalName\"}" },
};

static void test_recorded_services(void **state)
{
    json_t *items = load_items("services.list.json"), *obj;
    size_t i, found = 0;
    json_array_foreach(items, i, obj)
    {
        char *json = NULL, *problem = NULL;
        struct svc *s;
        print_message("case: %s\n", meta(obj, "name"));
        assert_int_equal(convert_service(obj, meta(obj, "namespace"), meta(obj, "name"), &keep_labels, &json, &problem), 0);
        assert_null(problem);
        for (size_t k = 0; k < ARRAY_LEN(recorded_services); k++) {
            if (strcmp(meta(obj, "name"), recorded_services[k].name) == 0) {
                assert_string_equal(json, recorded_services[k].json);
                found++;
            }
        }
        assert_int_equal(svc_decode("a", "b", json, strlen(json), &s, NULL), 0);
        if (strcmp(meta(obj, "name"), "cart") == 0) {
            assert_int_equal(s->type, SVC_NODE_PORT);
            assert_true(s->affinity_client_ip);
            assert_true(s->ports[0].node_port > 0);
            found++;
        }
        if (strcmp(meta(obj, "name"), "db") == 0) {
            assert_true(s->headless);
            assert_true(s->publish_not_ready);
            found++;
        }
        if (strcmp(meta(obj, "name"), "edge") == 0) {
            assert_int_equal(s->type, SVC_LOAD_BALANCER);
            assert_true(s->external_ip_count > 0);
            found++;
        }
        svc_free(s);
        free(json);
    }
    assert_int_equal(found, ARRAY_LEN(recorded_services) + 3);
    json_decref(items);
}

static void test_recorded_slices(void **state)
{
    json_t *items = load_items("endpointslices.list.json"), *obj;
    size_t i, found = 0;
    json_array_foreach(items, i, obj)
    {
        char *json = NULL, *service = NULL, *problem = NULL;
        struct slice *s;
        print_message("case: %s\n", meta(obj, "name"));
        assert_int_equal(convert_slice(obj, meta(obj, "name"), &json, &service, &problem), 0);
        assert_int_equal(slice_decode("a", json, strlen(json), &s, NULL), 0);
        if (strcmp(service, "my-service") == 0) {
            assert_int_equal(s->endpoint_count, 3);
            assert_string_equal(s->endpoints[0].hostname, "my-service-0");
            assert_string_equal(s->endpoints[0].node, "node-0");
            assert_string_equal(s->endpoints[0].zone, "zone-0");
            assert_string_equal(s->endpoints[0].pod, "my-service-0");
            assert_int_equal(s->ports[0].port, 8080);
            found++;
        }
        slice_free(s);
        free(json);
        free(service);
    }
    assert_int_equal(found, 1);
    json_decref(items);
}

static void test_services(void **state)
{
    static const struct {
        const char *spec, *out; /* out NULL: refused */
        const char *problem;
    } cases[] = {
        { "{}", "{\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "{\"clusterIP\":\"None\"}", "{\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "{\"clusterIP\":\"\"}", "{\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "{\"clusterIP\":\"10.0.0.1\"}", "{\"clusterIPs\":[\"10.0.0.1\"],\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "{\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\",\"FD00::1\"]}",
          "{\"clusterIPs\":[\"10.0.0.1\",\"fd00::1\"],\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "{\"ports\":[{\"port\":80,\"targetPort\":80},{\"port\":81,\"targetPort\":\"x\"},{\"port\":82,\"targetPort\":8}],\"clusterIP\":null}",
          "{\"managedBy\":\"quoll-sync\",\"ports\":[{\"port\":80},{\"port\":81,\"targetPort\":\"x\"},{\"port\":82,\"targetPort\":8}],"
          "\"schema\":1}" },
        { "{\"type\":\"ExternalName\",\"externalName\":\"www.example.net.\",\"clusterIP\":\"10.0.0.1\"}",
          "{\"externalName\":\"www.example.net\",\"managedBy\":\"quoll-sync\",\"schema\":1,\"type\":\"ExternalName\"}" },
        { "{\"externalName\":\"left.over\"}", "{\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "{\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":60}}}",
          "{\"managedBy\":\"quoll-sync\",\"schema\":1,\"sessionAffinity\":\"ClientIP\",\"sessionAffinityTimeoutSeconds\":60}" },
        { "{\"type\":\"Magic\"}", NULL, "spec.type: must be" },
        { "{\"clusterIP\":\"10.0.0\"}", NULL, "spec.clusterIP: not an IP address" },
        { "{\"clusterIPs\":[\"10.0.0.1\",7]}", NULL, "spec.clusterIPs[1]: must be a string" },
        { "{\"ports\":{}}", NULL, "spec.ports: must be a list" },
        { "{\"ports\":[{\"port\":80},{\"port\":99999}]}", NULL, "spec.ports[1].port: must be 1..65535" },
        { "{\"ports\":[{\"name\":\"http\"}]}", NULL, "ports[0].port: must be 1..65535" },
        { "{\"ports\":[{\"port\":80,\"protocol\":\"tcp\"}]}", NULL, "spec.ports[0].protocol: must be" },
        { "{\"type\":\"ExternalName\"}", NULL, "externalName: missing" },
        { "{\"type\":\"ExternalName\",\"externalName\":\"a b\"}", NULL, "externalName: not a DNS name" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *json = NULL, *problem = NULL;
        json_t *obj = json_pack("{s:{},s:o}", "metadata", "spec", json_loads(cases[i].spec, 0, NULL));
        print_message("case: %s\n", cases[i].spec);
        int rc = convert_service(obj, "shop", "web", &keep_labels, &json, &problem);
        if (cases[i].out) {
            assert_int_equal(rc, 0);
            assert_string_equal(json, cases[i].out);
        } else {
            assert_int_equal(rc, RC_MALFORMED);
            assert_null(json);
            print_message("      %s\n", problem);
            assert_int_equal(strncmp(problem, cases[i].problem, strlen(cases[i].problem)), 0);
        }
        free(json);
        free(problem);
        json_decref(obj);
    }
}

static void test_selected_metadata(void **state)
{
    static const char *const labels[] = { "app" }, *const annotations[] = { "quoll.io/", "x" };
    const struct convert_options opt = { labels, 1, annotations, 2 };
    char *json = NULL;
    json_t *obj = json_loads("{\"metadata\":{\"labels\":{\"app\":\"a\",\"app.kubernetes.io/name\":\"b\",\"team\":\"c\"},"
                             "\"annotations\":{\"quoll.io/weight\":\"3\",\"kubectl.kubernetes.io/last\":\"{}\"}},\"spec\":{}}",
                             0, NULL);
    assert_int_equal(convert_service(obj, "shop", "web", &opt, &json, NULL), 0);
    assert_string_equal(json, "{\"annotations\":{\"quoll.io/weight\":\"3\"},\"labels\":{\"app\":\"a\",\"app.kubernetes.io/name\":"
                              "\"b\"},\"managedBy\":\"quoll-sync\",\"schema\":1}");
    free(json);
    json_decref(obj);
}

static void test_slices(void **state)
{
    static const struct {
        const char *rest; /* beside the metadata */
        int rc;
        const char *out; /* or the beginning of the problem */
    } cases[] = {
        { "\"addressType\":\"FQDN\",\"endpoints\":[{\"addresses\":[\"a.example\"]}]", RC_UNSUPPORTED, NULL },
        { "\"addressType\":\"IPv4\",\"ports\":null,\"endpoints\":null", 0, "{\"addressType\":\"IPv4\",\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"\",\"port\":null}],\"endpoints\":[{\"addresses\":[\"10.0.0.1\",\"10.0.0.2\"]}]", 0,
          "{\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"10.0.0.1\"}],\"managedBy\":\"quoll-sync\",\"ports\":[{}],\"schema\":1}" },
        { "\"addressType\":\"IPv6\",\"endpoints\":[{\"addresses\":[\"FD00:0::1\"],\"conditions\":{\"ready\":false}}]", 0,
          "{\"addressType\":\"IPv6\",\"endpoints\":[{\"address\":\"fd00::1\",\"ready\":false}],\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"targetRef\":{\"kind\":\"VM\",\"name\":\"v\"}}]", 0,
          "{\"addressType\":\"IPv4\",\"endpoints\":[{\"address\":\"10.0.0.1\"}],\"managedBy\":\"quoll-sync\",\"schema\":1}" },
        { "\"addressType\":\"IPv5\"", RC_MALFORMED, "addressType: must be" },
        { "\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[]}]", RC_MALFORMED, "endpoints[0].addresses[0]: not an IP" },
        { "\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"::1\"]}]", RC_MALFORMED, "endpoints[0].address: not of the slice's" },
        { "\"addressType\":\"IPv4\",\"endpoints\":[7]", RC_MALFORMED, "endpoints[0]: must be an object" },
        { "\"addressType\":\"IPv4\",\"ports\":[{\"port\":70000}]", RC_MALFORMED, "ports[0].port: must be" },
        { "\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"hostname\":\"A.b\"}]", RC_MALFORMED,
          "endpoints[0].hostname: " },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *json = NULL, *service = NULL, *problem = NULL;
        char *text = x_asprintf("{\"metadata\":{\"labels\":{\"kubernetes.io/service-name\":\"web\"}},%s}", cases[i].rest);
        json_t *obj = json_loads(text, 0, NULL);
        print_message("case: %s\n", cases[i].rest);
        assert_non_null(obj);
        assert_int_equal(convert_slice(obj, "web-1", &json, &service, &problem), cases[i].rc);
        if (cases[i].rc == 0)
            assert_string_equal(json, cases[i].out);
        if (cases[i].rc == RC_MALFORMED) {
            assert_int_equal(strncmp(problem, cases[i].out, strlen(cases[i].out)), 0);
            assert_string_equal(service, "web");
        }
        free(json);
        free(service);
        free(problem);
        free(text);
        json_decref(obj);
    }
}

static void test_slice_without_service(void **state)
{
    char *json = NULL, *service = NULL, *problem = NULL;
    json_t *obj = json_loads("{\"metadata\":{},\"addressType\":\"IPv4\"}", 0, NULL);
    assert_int_equal(convert_slice(obj, "web-1", &json, &service, &problem), RC_UNSUPPORTED);
    assert_null(problem);
    json_decref(obj);
}

static void test_recorded_pods(void **state)
{
    json_t *items = load_items("pods.list.json"), *obj;
    size_t i;
    assert_int_equal(json_array_size(items), 10);
    json_array_foreach(items, i, obj)
    {
        char *json = NULL, *problem = NULL, want[128];
        (void)snprintf(want, sizeof(want), "{\"ips\":[\"%s\"],\"managedBy\":\"quoll-sync\",\"schema\":1}",
                       json_string_value(json_object_get(json_object_get(obj, "status"), "podIP")));
        assert_int_equal(convert_pod(obj, meta(obj, "name"), &json, &problem), 0);
        assert_string_equal(json, want);
        free(json);
    }
    json_decref(items);
}

static void test_pods(void **state)
{
    static const struct {
        const char *status, *out, *problem; /* both NULL: not stored */
    } cases[] = {
        { "{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"FD00::1\"}]}",
          "{\"ips\":[\"10.0.0.1\",\"fd00::1\"],\"managedBy\":\"quoll-sync\",\"schema\":1}", NULL },
        { "{\"podIP\":\"10.0.0.1\"}", "{\"ips\":[\"10.0.0.1\"],\"managedBy\":\"quoll-sync\",\"schema\":1}", NULL },
        { "{\"phase\":\"Pending\",\"podIP\":\"10.0.0.1\",\"podIPs\":[]}",
          "{\"ips\":[\"10.0.0.1\"],\"managedBy\":\"quoll-sync\",\"schema\":1}", NULL },
        { "{\"phase\":\"Unknown\",\"podIP\":\"10.0.0.1\"}",
          "{\"ips\":[\"10.0.0.1\"],\"managedBy\":\"quoll-sync\",\"schema\":1}", NULL },
        { "{\"phase\":\"Pending\"}", NULL, NULL },
        { "{\"podIP\":\"\"}", NULL, NULL },
        { "null", NULL, NULL },
        { "{\"phase\":\"Succeeded\",\"podIP\":\"10.0.0.1\"}", NULL, NULL },
        { "{\"phase\":\"Failed\",\"podIP\":\"x\"}", NULL, NULL },
        { "{\"podIP\":\"10.0.0\"}", NULL, "status.podIP: not an IP address" },
        { "{\"podIPs\":[{\"ip\":\"10.0.0.1\"},{}]}", NULL, "status.podIPs: not an IP address" },
        { "{\"podIPs\":[\"10.0.0.1\"]}", NULL, "status.podIPs[0]: must be an object" },
        { "{\"podIPs\":{}}", NULL, "status.podIPs: must be a list" },
        { "{\"phase\":1}", NULL, "status.phase: must be a string" },
        { "[]", NULL, "status: must be an object" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = x_asprintf("{\"metadata\":{\"name\":\"p\"},\"status\":%s}", cases[i].status), *json = NULL, *problem = NULL;
        json_t *obj = json_loads(text, 0, NULL);
        print_message("case: %s\n", cases[i].status);
        assert_non_null(obj);
        int rc = convert_pod(obj, "p", &json, &problem);
        assert_int_equal(rc, cases[i].out ? 0 : cases[i].problem ? RC_MALFORMED : RC_UNSUPPORTED);
        assert_int_equal(json != NULL, rc == 0);
        assert_int_equal(problem != NULL, rc == RC_MALFORMED);
        if (json)
            assert_string_equal(json, cases[i].out);
        if (problem)
            assert_string_equal(problem, cases[i].problem);
        free(json);
        free(problem);
        free(text);
        json_decref(obj);
    }
    char *json = NULL, *problem = NULL;
    json_t *obj = json_loads("{\"status\":{\"podIP\":\"10.0.0.1\"}}", 0, NULL);
    assert_int_equal(convert_pod(obj, "a/b", &json, &problem), RC_MALFORMED);
    free(problem);
    json_decref(obj);
}

static void test_time(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        { "1970-01-01T00:00:01Z", 1000 },           { "2026-01-01T00:00:00Z", 1767225600000 },
        { "2026-01-01T01:00:00+01:00", 1767225600000 }, { "2025-12-31T23:30:00.25-00:30", 1767225600250 },
        { "2026-01-01T00:00:00.123456789Z", 1767225600123 }, { "2026-01-01", 0 }, { "2026-01-01T00:00:00", 0 },
        { "2026-01-01T00:00:00+1", 0 },             { "", 0 },                  { "1969-01-01T00:00:00Z", 0 },
        { "yesterday", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].text);
        assert_int_equal(convert_time(cases[i].text), cases[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_services),   cmocka_unit_test(test_recorded_slices), cmocka_unit_test(test_services),
        cmocka_unit_test(test_selected_metadata),   cmocka_unit_test(test_slices),
        cmocka_unit_test(test_slice_without_service), cmocka_unit_test(test_time), cmocka_unit_test(test_recorded_pods),
        cmocka_unit_test(test_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
