/* kubeconfig files: merging, contexts, paths, credentials, and what is refused. Plugin output too. */
#include "cmocka_all.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "credentials.h"
#include "kubeconfig.h"

static char dir[] = "/tmp/quoll-kubeconfig-XXXXXX";

static char *put(const char *name, const char *text)
{
    char *path = x_asprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static int set_up(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    char *sub = x_asprintf("%s/sub", dir);
    mkdir(sub, 0700);
    free(sub);
    free(put("sub/ca.pem", "CA FILE"));
    free(put("sub/cert.pem", "CERT"));
    free(put("sub/key.pem", "KEY"));
    free(put("token", "t\n"));
    return 0;
}

static int tear_down(void **state)
{
    char *command = x_asprintf("rm -r %s", dir);
    int rc = system(command);
    free(command);
    return rc;
}

#define CLUSTER "clusters: [{name: c, cluster: {server: \"https://h:6443/\"}}]\n"
#define CONTEXT "contexts: [{name: x, context: {cluster: c, user: u, namespace: shop}}]\ncurrent-context: x\n"

static void test_files_and_paths(void **state)
{
    char *path = put("sub/config",
                     "clusters:\n- name: c\n  cluster: {server: 'https://u:pw@h:6443/', certificate-authority: ca.pem,\n"
                     "    tls-server-name: api, proxy-url: 'socks5://p:1', disable-compression: true}\n" CONTEXT
                     "users:\n- name: u\n  user: {client-certificate: cert.pem, client-key: key.pem, tokenFile: ../token}\n");
    struct kube_config c;
    char *error = NULL;
    assert_int_equal(kube_config_load_files(path, NULL, &c, &error), 0);
    assert_null(error);
    assert_string_equal(c.server, "https://u:pw@h:6443");
    assert_string_equal(c.origin, "https://h:6443");
    assert_string_equal(c.text, "https://h:6443 (context x)");
    assert_memory_equal(c.ca.p, "CA FILE", 7);
    assert_memory_equal(c.cert.p, "CERT", 4);
    assert_memory_equal(c.key.p, "KEY", 3);
    assert_string_equal(c.tls_server_name, "api");
    assert_string_equal(c.proxy_url, "socks5://p:1");
    assert_true(c.no_compression);
    assert_true(str_has_suffix(c.token_file, "/sub/../token"));
    assert_string_equal(c.ns, "shop");
    /* A rotated file is seen, a vanished one leaves what was there. */
    free(put("sub/ca.pem", "NEW"));
    assert_int_equal(kube_pem_reload(&c.ca), 0);
    assert_int_equal(c.ca.n, 3);
    unlink(c.ca.path);
    assert_int_equal(kube_pem_reload(&c.ca), RC_NOTFOUND);
    assert_int_equal(c.ca.n, 3);
    kube_config_free(&c);
    free(path);
}

static void test_merging(void **state)
{
    char *one = put("one", "clusters: [{name: c, cluster: {server: 'https://one'}}]\ncurrent-context: x\n"
                           "contexts: [{name: x, context: {cluster: c, user: u}}]\n");
    char *two = put("two", "clusters: [{name: c, cluster: {server: 'https://two', tls-server-name: n}},\n"
                           "  {name: d, cluster: {server: 'https://d'}}]\ncurrent-context: y\n"
                           "contexts: [{name: y, context: {cluster: d}}]\nusers: [{name: u, user: {token: t}}]\n");
    char *list = x_asprintf("%s:%s/missing:%s", one, dir, two), *error = NULL;
    struct kube_config c;

    assert_int_equal(kube_config_load_files(list, NULL, &c, &error), 0);
    assert_string_equal(c.server, "https://one"); /* the first file wins, whole: no tls-server-name from the second */
    assert_null(c.tls_server_name);
    assert_string_equal(c.token, "t");
    kube_config_free(&c);
    assert_int_equal(kube_config_load_files(list, "y", &c, &error), 0);
    assert_string_equal(c.server, "https://d");
    kube_config_free(&c);

    char *none = x_asprintf("%s/nope:%s/nope2", dir, dir);
    assert_int_equal(kube_config_load_files(none, NULL, &c, &error), RC_NOTFOUND);
    assert_non_null(strstr(error, "nope"));
    free(error);
    char *single = x_asprintf("%s/nope", dir);
    error = NULL;
    assert_int_equal(kube_config_load_files(single, NULL, &c, &error), RC_NOTFOUND);
    assert_non_null(strstr(error, "nope"));
    free(error);
    free(single);
    free(none);
    free(list);
    free(one);
    free(two);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *text, *says;
        int rc;
    } cases[] = {
        { "not YAML", "a: [", "kubeconfig:", RC_MALFORMED },
        { "not a mapping", "- a\n", "not a kubeconfig", RC_MALFORMED },
        { "clusters no list", "clusters: 5\n", "clusters: must be a list", RC_MALFORMED },
        { "no name", "clusters: [{cluster: {}}]\n", "clusters[0].name", RC_MALFORMED },
        { "no context", CLUSTER, "current-context", RC_INVAL },
        { "unknown context", CLUSTER "current-context: z\n", "context \"z\" is not defined", RC_INVAL },
        { "unknown cluster", CONTEXT, "cluster \"c\" is not defined", RC_INVAL },
        { "unknown user", CLUSTER CONTEXT, "user \"u\" is not defined", RC_INVAL },
        { "no server", "clusters: [{name: c, cluster: {}}]\n" CONTEXT, "server: missing", RC_INVAL },
        { "odd server", "clusters: [{name: c, cluster: {server: 'ftp://x'}}]\n" CONTEXT, "server: must begin", RC_INVAL },
        { "server with a line break", "clusters: [{name: c, cluster: {server: \"https://x\\r\\nA: b\"}}]\n" CONTEXT,
          "is not a URL", RC_INVAL },
        { "insecure with CA",
          "clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: true, "
          "certificate-authority-data: QUJD}}]\n" CONTEXT, "cannot be combined", RC_INVAL },
        { "bad base64", "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: '!!'}}]\n" CONTEXT,
          "not valid base64", RC_INVAL },
        { "cert without key", CLUSTER CONTEXT "users: [{name: u, user: {client-certificate-data: QUJD}}]\n", "together",
          RC_INVAL },
        { "token with a line break", CLUSTER CONTEXT "users: [{name: u, user: {token: \"hush\\nX: y\"}}]\n",
          "token: holds control characters", RC_INVAL },
        { "token no string", CLUSTER CONTEXT "users: [{name: u, user: {token: 5}}]\n", "token: must be a string", RC_INVAL },
        { "group with a line break", CLUSTER CONTEXT "users: [{name: u, user: {as: a, as-groups: [\"x\\ny\"]}}]\n",
          "as-groups", RC_INVAL },
        { "groups alone", CLUSTER CONTEXT "users: [{name: u, user: {as-groups: [x]}}]\n", "as: must be set", RC_INVAL },
        { "auth-provider", CLUSTER CONTEXT "users: [{name: u, user: {auth-provider: {name: gcp}}}]\n", "auth-provider",
          RC_UNSUPPORTED },
        { "exec without command",
          CLUSTER CONTEXT "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1}}}]\n",
          "exec.command", RC_INVAL },
        { "exec of an old version",
          CLUSTER CONTEXT "users: [{name: u, user: {exec: {command: p, apiVersion: client.authentication.k8s.io/v1alpha1}}}]\n",
          "exec.apiVersion", RC_INVAL },
        { "exec v1 without mode",
          CLUSTER CONTEXT "users: [{name: u, user: {exec: {command: p, apiVersion: client.authentication.k8s.io/v1}}}]\n",
          "exec.interactiveMode: must be set", RC_INVAL },
        { "exec that needs a terminal",
          CLUSTER CONTEXT "users: [{name: u, user: {exec: {command: p, apiVersion: client.authentication.k8s.io/v1, "
          "interactiveMode: Always}}}]\n", "terminal", RC_INVAL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kube_config c;
        char *error = NULL;
        print_message("case: %s\n", cases[i].name);
        assert_int_equal(kube_config_parse(cases[i].text, strlen(cases[i].text), NULL, &c, &error), cases[i].rc);
        assert_non_null(error);
        print_message("  %s\n", error);
        assert_non_null(strstr(error, cases[i].says));
        assert_null(strstr(error, "hush"));
        free(error);
    }
}

static void test_inline_data_and_exec(void **state)
{
    static const char text[] =
        "{\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://h\",\"certificate-authority-data\":\"QUJD\","
        "\"extensions\":[{\"name\":\"client.authentication.k8s.io/exec\",\"extension\":{\"k\":1}}]}}],"
        "\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\",\"user\":\"u\"}}],\"current-context\":\"x\","
        "\"users\":[{\"name\":\"u\",\"user\":{\"client-certificate-data\":\"WFla\",\"client-key-data\":\"WFla\","
        "\"exec\":{\"command\":\"bin/p\",\"args\":[\"a\"],\"env\":[{\"name\":\"N\",\"value\":\"v\"}],"
        "\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"provideClusterInfo\":true}}}]}";
    struct kube_config c;
    char *error = NULL;
    assert_int_equal(kube_config_parse(text, strlen(text), NULL, &c, &error), 0);
    assert_int_equal(c.ca.n, 3);
    assert_memory_equal(c.cert.p, "XYZ", 3);
    assert_string_equal(c.exec.command, "bin/p");
    assert_string_equal(c.exec.args[0], "a");
    assert_string_equal(c.exec.env[0], "N=v");
    char *info = json_dumps(c.exec.cluster_info, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(info, "{\"certificate-authority-data\":\"QUJD\",\"config\":{\"k\":1},\"server\":\"https://h\"}");
    free(info);
    kube_config_free(&c);
}

static void test_plugin_output(void **state)
{
#define HEAD "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":"
    static const struct {
        const char *text, *says; /* NULL: good */
        int64_t expiry_ms;
    } cases[] = {
        { HEAD "{\"token\":\"t\"}}", NULL, INT64_MAX },
        { HEAD "{\"token\":\"t\",\"expirationTimestamp\":\"1970-01-01T00:01:00Z\"}}", NULL, 60000 },
        { HEAD "{\"token\":\"t\",\"expirationTimestamp\":\"1970-01-01T01:01:00.5+01:00\"}}", NULL, 60000 },
        { HEAD "{\"token\":\"t\",\"expirationTimestamp\":\"1969-12-31T23:01:00-01:00\"}}", NULL, 60000 },
        { HEAD "{\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\"}}", NULL, INT64_MAX },
        { HEAD "{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}}", "not a time", 0 },
        { HEAD "{\"clientCertificateData\":\"c\"}}", "both", 0 },
        { HEAD "{\"token\":\"a\\nb\"}}", "control characters", 0 },
        { HEAD "{}}", "neither", 0 },
        { HEAD "5}", "neither", 0 },
        { "{\"kind\":\"ExecCredential\"}", "apiVersion", 0 },
        { "{}", "not an ExecCredential", 0 },
        { "", "not JSON", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct exec_credential x;
        char *error = NULL;
        print_message("case: %s\n", cases[i].text);
        int rc = exec_credential_parse(cases[i].text, strlen(cases[i].text), "client.authentication.k8s.io/v1", &x, &error);
        assert_int_equal(rc, cases[i].says ? RC_MALFORMED : 0);
        if (cases[i].says) {
            assert_non_null(strstr(error, cases[i].says));
            free(error);
        } else {
            assert_int_equal(x.expiry_ms, cases[i].expiry_ms);
            exec_credential_free(&x);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_and_paths),      cmocka_unit_test(test_merging),
        cmocka_unit_test(test_refusals),             cmocka_unit_test(test_inline_data_and_exec),
        cmocka_unit_test(test_plugin_output),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
