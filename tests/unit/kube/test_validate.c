/* What is refused in a manifest, and where it says that it is. */
#include "cmocka_all.h"

#include <stdio.h>

#include "base/str.h"
#include "validate.h"
#include "yaml_doc.h"

static void collect(void *data, const char *path, const char *what)
{
    char *text = data;
    size_t used = strlen(text);
    snprintf(text + used, 2048 - used, "%s: %s|", path, what);
}

#define SVC "metadata: {name: a}\nspec:\n  "
#define SLICE "metadata: {name: a}\naddressType: IPv4\n"
#define LABEL "must be a DNS label: lower case letters, digits and '-', at most 63|"

static void test_issues(void **state)
{
    static const struct {
        enum manifest_kind kind;
        const char *yaml, *issues;
    } cases[] = {
        { MANIFEST_NAMESPACE, "metadata: {name: shop}", "" },
        { MANIFEST_NAMESPACE, "metadata: {name: Shop}", "metadata.name: " LABEL },
        { MANIFEST_NAMESPACE, "metadata: {}", "metadata.name: missing|" },
        { MANIFEST_NAMESPACE, "a: 1", "metadata: missing|" },
        { MANIFEST_NAMESPACE, "metadata: {name: a, labels: {x: 5}}", "metadata.labels[x]: must be a string (quote it)|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80}]", "" },
        { MANIFEST_SERVICE, SVC "clusterIP: None", "" },
        { MANIFEST_SERVICE, "metadata: {name: 1a}\nspec: {}",
          "metadata.name: must be a DNS label that begins with a letter: lower case letters, digits and '-', at most 63|" },
        { MANIFEST_SERVICE, "metadata: {name: a, namespace: X_y}\nspec: {}", "metadata.namespace: " LABEL },
        { MANIFEST_SERVICE, "metadata: {name: a}", "spec: missing|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 0}]", "spec.ports[0].port: must be 1..65535|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 65536}]", "spec.ports[0].port: must be 1..65535|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: '80'}]", "spec.ports[0].port: must be a whole number|" },
        { MANIFEST_SERVICE, SVC "ports: [{}]", "spec.ports[0].port: missing|" },
        { MANIFEST_SERVICE, SVC "ports: [5]", "spec.ports[0]: must be a mapping|" },
        { MANIFEST_SERVICE, SVC "ports: {}", "spec.ports: must be a list|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, protocol: tcp}]",
          "spec.ports[0].protocol: must be TCP, UDP or SCTP|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, name: a}, {port: 81}]",
          "spec.ports[1].name: missing, and needed with more than one port|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, name: a}, {port: 81, name: a}]", "spec.ports[1].name: appears twice|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, name: a}, {port: 80, name: b}]",
          "spec.ports[1].port: the same port and protocol appear twice|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, name: a}, {port: 80, name: b, protocol: UDP}]", "" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, targetPort: http}]", "" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, targetPort: 0}]",
          "spec.ports[0].targetPort: must be 1..65535 or a port name|" },
        { MANIFEST_SERVICE, SVC "ports: [{port: 80, name: Http}]", "spec.ports[0].name: " LABEL },
        { MANIFEST_SERVICE, SVC "type: Cluster", "spec.type: must be ClusterIP, NodePort, LoadBalancer or ExternalName|" },
        { MANIFEST_SERVICE, SVC "type: ExternalName", "spec.externalName: missing, and needed with type ExternalName|" },
        { MANIFEST_SERVICE, SVC "externalName: a_b.com", "spec.externalName: must be a DNS name in lower case|" },
        { MANIFEST_SERVICE, SVC "externalName: pay.example.com.", "" },
        { MANIFEST_SERVICE, SVC "clusterIP: 10.0.0.300", "spec.clusterIP: must be an IP address or None|" },
        { MANIFEST_SERVICE, SVC "clusterIPs: [10.0.0.1, x]", "spec.clusterIPs[1]: must be an IP address or None|" },
        { MANIFEST_SERVICE, SVC "{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]}",
          "spec.clusterIPs[0]: must be the same as spec.clusterIP|" },
        { MANIFEST_SERVICE, SVC "publishNotReadyAddresses: yes",
          "spec.publishNotReadyAddresses: must be true or false|" },
        { MANIFEST_SERVICE, SVC "sessionAffinity: Cookie", "spec.sessionAffinity: must be None or ClientIP|" },
        { MANIFEST_SLICE, SLICE "endpoints: [{addresses: [10.0.0.1], conditions: {ready: null}}]", "" },
        { MANIFEST_SLICE, "metadata: {name: a}", "addressType: missing|" },
        { MANIFEST_SLICE, "metadata: {name: a}\naddressType: IPv5", "addressType: must be IPv4, IPv6 or FQDN|" },
        { MANIFEST_SLICE, SLICE "endpoints: [{addresses: ['::1']}]",
          "endpoints[0].addresses[0]: must be an IPv4 address|" },
        { MANIFEST_SLICE, SLICE "endpoints: [{}]", "endpoints[0].addresses: missing|" },
        { MANIFEST_SLICE, SLICE "endpoints: [{addresses: []}]", "endpoints[0].addresses: must have 1..100 addresses|" },
        { MANIFEST_SLICE, SLICE "endpoints: [x]", "endpoints[0]: must be a mapping|" },
        { MANIFEST_SLICE, SLICE "endpoints: [{addresses: [10.0.0.1], conditions: {ready: 'true'}}]",
          "endpoints[0].conditions.ready: must be true or false|" },
        { MANIFEST_SLICE, SLICE "endpoints: [{addresses: [10.0.0.1], hostname: a.b}]", "endpoints[0].hostname: " LABEL },
        { MANIFEST_SLICE, SLICE "ports: [{name: http, port: 80}, {name: http, port: 81}]", "ports[1].name: appears twice|" },
        { MANIFEST_SLICE, SLICE "ports: [{name: '', port: null}]", "" },
        { MANIFEST_SLICE, SLICE "ports: [{port: 70000}]", "ports[0].port: must be 1..65535|" },
        { MANIFEST_ENDPOINTS, "metadata: {name: a}\nsubsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 1}]}]", "" },
        { MANIFEST_ENDPOINTS, "metadata: {name: a}\nsubsets: [{addresses: [{ip: x}, {}]}]",
          "subsets[0].addresses[0].ip: must be an IP address|subsets[0].addresses[1].ip: missing|" },
        { MANIFEST_ENDPOINTS, "metadata: {name: a}\nsubsets: [{notReadyAddresses: 5}, 6]",
          "subsets[0].notReadyAddresses: must be a list|subsets[1]: must be a mapping|" },
        { MANIFEST_ENDPOINTS, "metadata: {name: a}\nsubsets: [{ports: [{port: 0}]}]",
          "subsets[0].ports[0].port: must be 1..65535|" },
        { MANIFEST_POD, "metadata: {name: a.0}\nspec: {containers: []}", "" },
        { MANIFEST_POD, "metadata: {name: a}\nstatus: {phase: Running, podIP: '', podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}", "" },
        { MANIFEST_POD, "metadata: {name: A_b}\nstatus: 5", "metadata.name: must be a DNS name|status: must be a mapping|" },
        { MANIFEST_POD, "metadata: {name: a}\nstatus: {phase: 1, podIP: x, podIPs: [10.0.0.1, {ip: 10.0.0}, {}]}",
          "status.phase: must be a string|status.podIP: must be an IP address|status.podIPs[0]: must be a mapping|"
          "status.podIPs[1].ip: must be an IP address|status.podIPs[2].ip: missing|" },
        { MANIFEST_POD, "metadata: {name: a}\nstatus: {podIPs: {}}", "status.podIPs: must be a list|" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct yaml_docs docs;
        char got[2048] = "";
        const struct validate_sink sink = { got, collect };
        print_message("case: %s\n", cases[i].yaml);
        yaml_load(cases[i].yaml, strlen(cases[i].yaml), false, &docs);
        assert_int_equal(docs.len, 1);
        assert_non_null(docs.items[0].json);
        size_t n = kube_validate(docs.items[0].json, cases[i].kind, &sink);
        assert_string_equal(got, cases[i].issues);
        assert_int_equal(n == 0, *cases[i].issues == '\0');
        yaml_docs_free(&docs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_issues) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
