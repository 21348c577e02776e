/* Old shapes in, one shape out. */
#include "cmocka_all.h"

#include "base/str.h"
#include "normalize.h"

static json_t *parse(const char *text)
{
    json_error_t e;
    json_t *v = json_loads(text, 0, &e);
    if (!v)
        fail_msg("%s in %s", e.text, text);
    return v;
}

static void test_normalize(void **state)
{
    static const struct {
        const char *name, *in, *out; /* out NULL: refused */
        enum kube_kind kind;
    } cases[] = {
        { "a list item gets its kind, managedFields go",
          "{'metadata':{'name':'a','managedFields':[{'x':1}]},'spec':{'x':1}}",
          "{'metadata':{'name':'a'},'spec':{'x':1},'kind':'Service','apiVersion':'v1'}", KUBE_SERVICE },
        { "v1beta1 slice",
          "{'apiVersion':'discovery.k8s.io/v1beta1','kind':'EndpointSlice','metadata':{'name':'s'},'endpoints':["
          "{'addresses':['1.1.1.1'],'topology':{'topology.kubernetes.io/zone':'z','kubernetes.io/hostname':'n'}},"
          "{'nodeName':'m','topology':{'kubernetes.io/hostname':'n','rack':'r'}},{'topology':null},5]}",
          "{'apiVersion':'discovery.k8s.io/v1','kind':'EndpointSlice','metadata':{'name':'s'},'endpoints':["
          "{'addresses':['1.1.1.1'],'zone':'z','nodeName':'n'},{'nodeName':'m','deprecatedTopology':{'rack':'r'}},{},5]}",
          KUBE_ENDPOINT_SLICE },
        { "of a Pod little is left",
          "{'metadata':{'name':'p','namespace':'n','uid':'u','resourceVersion':'7','labels':{'a':'b'},'managedFields':[1]},"
          "'spec':{'containers':[{'name':'c'}]},'status':{'phase':'Running','podIP':'1.1.1.1','podIPs':[{'ip':'1.1.1.1'}],"
          "'conditions':[{'type':'Ready'}]}}",
          "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'n','uid':'u','resourceVersion':'7'},"
          "'status':{'phase':'Running','podIP':'1.1.1.1','podIPs':[{'ip':'1.1.1.1'}]}}",
          KUBE_POD },
        { "a Pod's status of the wrong type", "{'metadata':{'name':'p'},'status':5}",
          "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p'},'status':5}", KUBE_POD },
        { "no name", "{'metadata':{}}", NULL, KUBE_SERVICE },
        { "name of the wrong type", "{'metadata':{'name':5}}", NULL, KUBE_SERVICE },
        { "no metadata", "{}", NULL, KUBE_NAMESPACE },
        { "metadata of the wrong type", "{'metadata':[]}", NULL, KUBE_NAMESPACE },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *in = x_strdup(cases[i].in), *out = x_strdup(cases[i].out ? cases[i].out : "{}");
        for (char *p = in; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        for (char *p = out; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        print_message("case: %s\n", cases[i].name);
        json_t *got = parse(in), *want = parse(out);
        assert_int_equal(kube_normalize(got, cases[i].kind), cases[i].out ? 0 : RC_MALFORMED);
        assert_true(!cases[i].out || json_equal(got, want));
        json_decref(got);
        json_decref(want);
        free(in);
        free(out);
    }
    json_t *text = json_string("x");
    assert_int_equal(kube_normalize(text, KUBE_SERVICE), RC_MALFORMED);
    json_decref(text);
}

static void test_endpoints(void **state)
{
    json_t *in = parse(
        "{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"legacy\",\"namespace\":\"shop\",\"labels\":{\"a\":\"b\"}},"
        "\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\",\"hostname\":\"h\",\"nodeName\":\"n\"},{\"ip\":\"fd00::1\"}],"
        "\"notReadyAddresses\":[{\"ip\":\"10.0.0.2\"}],\"ports\":[{\"port\":80},{\"name\":\"u\",\"port\":53,"
        "\"protocol\":\"UDP\"}]},{\"addresses\":[{\"ip\":\"10.0.0.3\"},{\"ip\":7},null]},{},5]}");
    json_t *slices = kube_endpoints_to_slices(in);
    assert_int_equal(json_array_size(slices), 3);
    static const char *const names[] = { "legacy-ipv4", "legacy-ipv6", "legacy-ipv4-2" };
    static const size_t counts[] = { 2, 1, 1 };
    for (size_t i = 0; i < 3; i++) {
        json_t *s = json_array_get(slices, i);
        assert_string_equal(kube_meta(s, "name"), names[i]);
        assert_string_equal(kube_meta(s, "namespace"), "shop");
        assert_string_equal(kube_slice_service(s), "legacy");
        assert_int_equal(json_array_size(json_object_get(s, "endpoints")), counts[i]);
    }
    json_t *want = parse(
        "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"addressType\":\"IPv4\",\"metadata\":"
        "{\"name\":\"legacy-ipv4\",\"namespace\":\"shop\",\"labels\":{\"a\":\"b\",\"kubernetes.io/service-name\":"
        "\"legacy\"}},\"ports\":[{\"name\":\"\",\"port\":80,\"protocol\":\"TCP\"},{\"name\":\"u\",\"port\":53,"
        "\"protocol\":\"UDP\"}],\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"hostname\":\"h\",\"nodeName\":\"n\","
        "\"conditions\":{\"ready\":true,\"serving\":true,\"terminating\":false}},{\"addresses\":[\"10.0.0.2\"],"
        "\"conditions\":{\"ready\":false,\"serving\":false,\"terminating\":false}}]}");
    assert_true(json_equal(json_array_get(slices, 0), want));
    json_decref(want);
    json_decref(slices);
    json_decref(in);
}

/* The recorded Endpoints of a real server turn into slices that hold the same addresses as its own slices do. */
static void test_recorded_endpoints(void **state)
{
    char *path = x_asprintf("%s/endpoints.list.json", getenv("KUBE_FIXTURES"));
    json_t *list = json_load_file(path, 0, NULL), *item;
    size_t i, addresses = 0, found = 0;
    free(path);
    assert_non_null(list);
    json_array_foreach(json_object_get(list, "items"), i, item)
    {
        json_t *subset, *slice, *slices = kube_endpoints_to_slices(item);
        size_t k;
        json_array_foreach(json_object_get(item, "subsets"), k, subset)
        {
            addresses += json_array_size(json_object_get(subset, "addresses"));
            addresses += json_array_size(json_object_get(subset, "notReadyAddresses"));
        }
        json_array_foreach(slices, k, slice)
        {
            found += json_array_size(json_object_get(slice, "endpoints"));
        }
        json_decref(slices);
    }
    assert_true(addresses > 5);
    assert_int_equal(found, addresses);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_recorded_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
