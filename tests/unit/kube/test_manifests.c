/* Files of manifests on a real directory and a real loop. Every wait has a deadline and ends as soon as it can. */
#include "cmocka_all.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "kube/kube.h"

#define DEADLINE_MS 10000

struct world {
    uv_loop_t loop;
    char dir[64];
    struct kube_source *source;
    json_t *objects; /* "Kind ns/name" -> object */
    char problems[8192];
    int upserts, deletes, synced, closed;
    uv_timer_t timer;
    bool expired;
};

static char *key(enum kube_kind kind, const char *ns, const char *name)
{
    return x_asprintf("%s %s/%s", kube_kind_name(kind), ns, name);
}

static void on_upsert(void *data, const struct kube_object *o)
{
    struct world *w = data;
    char *k = key(o->kind, o->ns, o->name);
    json_object_set(w->objects, k, o->json);
    w->upserts++;
    uv_stop(&w->loop);
    free(k);
}

static void on_delete(void *data, enum kube_kind kind, const char *ns, const char *name)
{
    struct world *w = data;
    char *k = key(kind, ns, name);
    assert_int_equal(json_object_del(w->objects, k), 0);
    w->deletes++;
    uv_stop(&w->loop);
    free(k);
}

static void on_synced(void *data, enum kube_kind kind)
{
    struct world *w = data;
    w->synced++;
    uv_stop(&w->loop); /* or the loop would sleep until its next timer before UNTIL looks again */
}

static void on_problem(void *data, const char *text)
{
    struct world *w = data;
    size_t used = strlen(w->problems);
    print_message("  problem: %s\n", text);
    uv_stop(&w->loop);
    snprintf(w->problems + used, sizeof w->problems - used, "%s\n", text);
}

static void on_expired(uv_timer_t *timer)
{
    ((struct world *)timer->data)->expired = true;
}

static void put(struct world *w, const char *name, const char *text)
{
    char *path = x_asprintf("%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void in_dir(struct world *w, const char *format)
{
    char *command = x_asprintf("cd %s && { %s; }", w->dir, format);
    assert_int_equal(system(command), 0);
    free(command);
}

static void world_open(struct world *w)
{
    *w = (struct world){ .objects = json_object() };
    uv_loop_init(&w->loop);
    strcpy(w->dir, "/tmp/quoll-manifests-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    uv_timer_init(&w->loop, &w->timer);
    w->timer.data = w;
}

static void source_open(struct world *w, const char *path)
{
    const struct kube_handler h = { w, on_upsert, on_delete, on_synced, on_problem };
    char *error = NULL;
    assert_int_equal(kube_manifests_open(&w->loop, path, &h, &w->source, &error), 0);
    assert_int_equal(w->upserts, 0); /* callbacks come from the loop alone */
}

static void on_closed(void *data)
{
    ((struct world *)data)->closed++;
}

static void world_close(struct world *w)
{
    kube_source_close(w->source, on_closed, w);
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(w->closed, 1);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    json_decref(w->objects);
    char *command = x_asprintf("rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(command);
}

#define UNTIL(w, condition)                                                                                  \
    do {                                                                                                     \
        (w)->expired = false;                                                                                \
        uv_timer_start(&(w)->timer, on_expired, DEADLINE_MS, 0);                                             \
        while (!(condition) && !(w)->expired)                                                                \
            uv_run(&(w)->loop, UV_RUN_ONCE);                                                                 \
        uv_timer_stop(&(w)->timer);                                                                          \
        if (!(condition))                                                                                    \
            fail_msg("waited in vain for " #condition);                                                      \
    } while (0)

static const json_t *get(const struct world *w, const char *k)
{
    return json_object_get(w->objects, k);
}

static const char *ip(const struct world *w, const char *k)
{
    const char *s = json_string_value(json_object_get(json_object_get(get(w, k), "spec"), "clusterIP"));
    return s ? s : "";
}

#define SERVICE(name, ip)                                                                                    \
    "apiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: n}\nspec:\n  clusterIP: " ip       \
    "\n  ports: [{port: 80}]\n"

static void test_first_delivery(void **state)
{
    struct world w;
    world_open(&w);
    put(&w, "a.yaml", "# c\n" SERVICE("a", "10.0.0.1") "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
                      "---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\n");
    put(&w, "b.yml", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {}}\n"
                     "- {apiVersion: v1, kind: Namespace, metadata: {name: empty}}\n");
    put(&w, "c.json", "{\"apiVersion\":\"v1\",\"kind\":\"ServiceList\",\"items\":[{\"metadata\":{\"name\":\"c\"},"
                      "\"spec\":{\"clusterIPs\":[\"10.0.0.3\"]}}]}");
    put(&w, "d.yaml", "apiVersion: v1\nkind: Endpoints\nmetadata: {name: b}\nsubsets:\n- addresses: [{ip: 10.1.0.1}, {ip: '::1'}]\n"
                      "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: c}\nsubsets: [{addresses: [{ip: 10.1.0.2}]}]\n"
                      "---\napiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata:\n  name: c-x\n"
                      "  labels: {kubernetes.io/service-name: c}\naddressType: IPv4\n");
    put(&w, "e.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: pods}\nspec: {containers: []}\n"
                      "status: {phase: Running, podIP: 10.1.0.9}\n---\napiVersion: v1\nkind: PodList\nitems:\n"
                      "- metadata: {name: q}\n- metadata: {name: r, namespace: pods}\n  status: {phase: Failed, podIP: 10.1.0.8}\n");
    put(&w, ".hidden.yaml", SERVICE("hidden", "10.0.0.9"));
    put(&w, "notes.txt", "not: [yaml");
    source_open(&w, w.dir);
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);
    static const char *const want[] = {
        "Namespace /n", "Namespace /empty", "Namespace /default", "Service n/a", "Service default/b",
        "Service default/c", "EndpointSlice default/b-ipv4", "EndpointSlice default/b-ipv6",
        "EndpointSlice default/c-x", "Pod pods/p", "Pod default/q", "Pod pods/r", "Namespace /pods",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        print_message("case: %s\n", want[i]);
        assert_non_null(get(&w, want[i]));
    }
    assert_int_equal(json_object_size(w.objects), ARRAY_LEN(want));
    assert_string_equal(ip(&w, "Service n/a"), "10.0.0.1");
    assert_string_equal(ip(&w, "Service default/b"), "None");
    assert_string_equal(ip(&w, "Service default/c"), "10.0.0.3");
    assert_string_equal(w.problems, "");
    assert_null(json_object_get(get(&w, "Pod pods/p"), "spec")); /* not kept in memory */
    assert_string_equal(json_string_value(json_object_get(json_object_get(get(&w, "Pod pods/p"), "status"), "podIP")), "10.1.0.9");
    struct kube_stats stats;
    kube_source_stats(w.source, &stats);
    assert_true(stats.synced[KUBE_SERVICE] && stats.last_contact_ms > 0);
    assert_true(str_has_prefix(kube_source_text(w.source), "manifests in /tmp/"));
    world_close(&w);
}

/* Each way in which people and programs change files. */
static void test_changes(void **state)
{
    struct world w;
    world_open(&w);
    put(&w, "a.yaml", SERVICE("a", "10.0.0.1"));
    source_open(&w, w.dir);
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);

    print_message("written in place\n");
    put(&w, "a.yaml", SERVICE("a", "10.0.0.2"));
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.2") == 0);

    print_message("renamed over, as editors do\n");
    put(&w, ".tmp", SERVICE("a", "10.0.0.3"));
    in_dir(&w, "mv .tmp a.yaml");
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.3") == 0);

    print_message("moved away and written anew, as other editors do\n");
    in_dir(&w, "mv a.yaml a.yaml~");
    uv_run(&w.loop, UV_RUN_NOWAIT);
    put(&w, "a.yaml", SERVICE("a", "10.0.0.4"));
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.4") == 0);
    assert_int_equal(w.deletes, 0);

    print_message("emptied and filled\n");
    in_dir(&w, ": >a.yaml");
    uv_run(&w.loop, UV_RUN_NOWAIT);
    put(&w, "a.yaml", SERVICE("a", "10.0.0.5"));
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.5") == 0);
    assert_int_equal(w.deletes, 0);

    print_message("a new file, and the object moves into it\n");
    put(&w, "b.yaml", SERVICE("b", "10.0.1.1") "---\n" SERVICE("a", "10.0.0.6"));
    in_dir(&w, "rm a.yaml");
    UNTIL(&w, get(&w, "Service n/b") && strcmp(ip(&w, "Service n/a"), "10.0.0.6") == 0);
    assert_int_equal(w.deletes, 0);

    print_message("same content: nothing to tell\n");
    int upserts = w.upserts;
    put(&w, "b.yaml", SERVICE("b", "10.0.1.1") "---\n\n" SERVICE("a", "10.0.0.6"));
    put(&w, "c.yaml", SERVICE("c", "10.0.2.1"));
    UNTIL(&w, get(&w, "Service n/c"));
    assert_int_equal(w.upserts, upserts + 1);

    print_message("removed\n");
    in_dir(&w, "rm b.yaml c.yaml");
    UNTIL(&w, json_object_size(w.objects) == 0); /* the namespace too: nobody names it any more */
    assert_string_equal(w.problems, "");
    world_close(&w);
}

static void test_config_map_volume(void **state)
{
    struct world w;
    world_open(&w);
    in_dir(&w, "mkdir ..v1 ..v2 && ln -s ..v1 ..data && ln -s ..data/a.yaml a.yaml");
    put(&w, "..v1/a.yaml", SERVICE("a", "10.0.0.1"));
    put(&w, "..v2/a.yaml", SERVICE("a", "10.0.0.2"));
    source_open(&w, w.dir);
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.1") == 0);
    in_dir(&w, "ln -s ..v2 ..data_tmp && mv -T ..data_tmp ..data && rm -r ..v1");
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.2") == 0);
    assert_int_equal(w.deletes, 0);
    world_close(&w);
}

static void test_directory_is_replaced(void **state)
{
    struct world w;
    world_open(&w);
    in_dir(&w, "mkdir d");
    put(&w, "d/a.yaml", SERVICE("a", "10.0.0.1"));
    char *path = x_asprintf("%s/d", w.dir);
    source_open(&w, path);
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.1") == 0);
    in_dir(&w, "rm -r d");
    UNTIL(&w, strstr(w.problems, "what it held stands"));
    assert_int_equal(w.deletes, 0);
    in_dir(&w, "mkdir d");
    put(&w, "d/a.yaml", SERVICE("a", "10.0.0.2"));
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.2") == 0);
    put(&w, "d/a.yaml", SERVICE("a", "10.0.0.3")); /* and it is watched again */
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.3") == 0);
    assert_int_equal(w.deletes, 0);
    free(path);
    world_close(&w);
}

static void test_single_file(void **state)
{
    struct world w;
    world_open(&w);
    put(&w, "one.conf", SERVICE("a", "10.0.0.1"));
    put(&w, "two.yaml", SERVICE("b", "10.0.0.1"));
    char *path = x_asprintf("%s/one.conf", w.dir);
    source_open(&w, path);
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);
    assert_null(get(&w, "Service n/b"));
    put(&w, ".new", SERVICE("a", "10.0.0.2"));
    in_dir(&w, "mv .new one.conf");
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.2") == 0);
    in_dir(&w, "rm one.conf");
    UNTIL(&w, strstr(w.problems, "what it held stands"));
    put(&w, "one.conf", SERVICE("a", "10.0.0.3"));
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.3") == 0);
    assert_int_equal(w.deletes, 0);
    free(path);
    world_close(&w);
}

static void test_malformed_documents(void **state)
{
    struct world w;
    world_open(&w);
    put(&w, "a.yaml", SERVICE("a", "10.0.0.1") "---\n" SERVICE("b", "10.0.0.1") "---\n" SERVICE("c", "10.0.0.1"));
    source_open(&w, w.dir);
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);

    print_message("one is told from its name: the last good version of it stands, the others change\n");
    put(&w, "a.yaml", SERVICE("a", "10.0.0.2") "---\n" SERVICE("b", "10.0.0.999") "---\nkind: [\n");
    UNTIL(&w, strcmp(ip(&w, "Service n/a"), "10.0.0.2") == 0);
    assert_string_equal(ip(&w, "Service n/b"), "10.0.0.1");
    assert_string_equal(ip(&w, "Service n/c"), "10.0.0.1"); /* the broken one may be c */
    assert_non_null(strstr(w.problems, "/a.yaml:12: spec.clusterIP: must be an IP address or None\n"));
    assert_non_null(strstr(w.problems, "/a.yaml:1"));
    assert_int_equal(w.deletes, 0);

    print_message("all broken documents have names: what is not there any more goes\n");
    put(&w, "a.yaml", SERVICE("a", "10.0.0.3") "---\n" SERVICE("b", "10.0.0.999"));
    UNTIL(&w, w.deletes == 1);
    assert_null(get(&w, "Service n/c"));
    assert_string_equal(ip(&w, "Service n/b"), "10.0.0.1");

    print_message("mended\n");
    put(&w, "a.yaml", SERVICE("a", "10.0.0.3") "---\n" SERVICE("b", "10.0.0.4"));
    UNTIL(&w, strcmp(ip(&w, "Service n/b"), "10.0.0.4") == 0);
    world_close(&w);
}

static void test_problems_name_file_and_line(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } cases[] = {
        { "a.yaml", "# x\n\nkind: Service\n", "/a.yaml:3: apiVersion: missing\n" },
        { "b.yaml", "a: 1\n---\n- 1\n", "/b.yaml:1: kind: missing\n" },
        { "c.json", "{\n\"a\":\n}", "/c.json:3: " },
        { "d.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n"
                    "  spec:\n    ports:\n    - port: 99999\n", "/d.yaml:9: items[0].spec.ports[0].port: must be 1..65535\n" },
        { "e.yaml", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: e\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n"
                    "  name: e\n", "/e.yaml:9: metadata.name: the object appears twice" },
        { "b.yaml", "", "/b.yaml:3: not a Kubernetes object\n" }, /* of the text above */
        { "f.yaml", "apiVersion: v1\nkind: List\nitems: 5\n", "/f.yaml:3: items: must be a list\n" },
    };
    struct world w;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (*cases[i].text)
            put(&w, cases[i].name, cases[i].text);
    put(&w, "x.yaml", SERVICE("x", "10.0.0.1"));
    put(&w, "y.yaml", SERVICE("x", "10.0.0.2"));
    source_open(&w, w.dir);
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        assert_non_null(strstr(w.problems, cases[i].says));
    }
    assert_non_null(strstr(w.problems, "/y.yaml:1: metadata.name: x exists in another file"));
    assert_string_equal(ip(&w, "Service n/x"), "10.0.0.1");
    world_close(&w);
}

/* Ten thousand objects in one file, each of them wrong, then each of them right. */
static void test_large_file(void **state)
{
    struct world w;
    world_open(&w);
    source_open(&w, w.dir);
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);
    for (int good = 0; good <= 1; good++) {
        char *path = x_asprintf("%s/%s", w.dir, ".big");
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs("apiVersion: v1\nkind: List\nitems:\n", f);
        for (int i = 0; i < 10000; i++)
            fprintf(f, "- {apiVersion: v1, kind: Service, metadata: {name: s%d}, spec: {ports: [{port: %d}]}}\n", i, good);
        fclose(f);
        free(path);
        in_dir(&w, "mv .big big.yaml");
        if (!good)
            UNTIL(&w, strstr(w.problems, "9980 more problems in this file"));
    }
    UNTIL(&w, w.upserts == 10001 && w.synced == 3 * KUBE_KIND_COUNT);
    world_close(&w);
}

static void test_open_errors(void **state)
{
    const struct kube_handler h = { 0 };
    struct kube_source *source;
    char *error = NULL;
    assert_int_equal(kube_manifests_open(uv_default_loop(), "/nonexistent/x", &h, &source, &error), RC_NOTFOUND);
    assert_string_equal(error, "/nonexistent/x: No such file or directory");
    free(error);
    assert_int_equal(kube_manifests_open(uv_default_loop(), "/dev/null", &h, &source, &error), RC_IO);
    free(error);
}

static void close_on_upsert(void *data, const struct kube_object *o)
{
    struct world *w = data;
    w->upserts++;
    kube_source_close(w->source, on_closed, w);
}

static void test_closing_from_a_callback(void **state)
{
    struct world w;
    const struct kube_handler h = { &w, close_on_upsert, on_delete, on_synced, on_problem };
    char *error = NULL;
    world_open(&w);
    put(&w, "a.yaml", SERVICE("a", "10.0.0.1") "---\n" SERVICE("b", "10.0.0.1"));
    assert_int_equal(kube_manifests_open(&w.loop, w.dir, &h, &w.source, &error), 0);
    UNTIL(&w, w.closed == 1);
    assert_int_equal(w.upserts, 1);
    assert_int_equal(w.synced, 0);
    w.closed = 0;
    assert_int_equal(kube_manifests_open(&w.loop, w.dir, &h, &w.source, &error), 0);
    world_close(&w);
}

static void test_example(void **state)
{
    struct world w;
    world_open(&w);
    source_open(&w, getenv("SHOP"));
    UNTIL(&w, w.synced == KUBE_KIND_COUNT);
    static const char *const want[] = { "Service default/my-service", "Service shop/db", "Service shop/cart",
                                        "Service shop/pay", "Service shop/dual", "Service kube-system/kube-dns",
                                        "Namespace /default", "Namespace /shop", "Namespace /kube-system",
                                        "EndpointSlice shop/dual-ipv6" };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_non_null(get(&w, want[i]));
    assert_string_equal(ip(&w, "Service kube-system/kube-dns"), "10.96.0.10");
    assert_string_equal(w.problems, "");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_delivery),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_config_map_volume),
        cmocka_unit_test(test_directory_is_replaced),
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_malformed_documents),
        cmocka_unit_test(test_problems_name_file_and_line),
        cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_closing_from_a_callback),
        cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
