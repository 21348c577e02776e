/* manifest_file.c - see manifest_file.h: from text to objects. */
#include "manifest_file.h"

#include <stdio.h>

#include "base/str.h"
#include "normalize.h"
#include "yaml_doc.h"

#define REPORTS_MAX 20 /* of one reading of one file */

static const struct known_kind {
    const char *kind, *list;
    const char *api[3];
    enum manifest_kind as;
} known_kinds[] = {
    { "Namespace", "NamespaceList", { "v1" }, MANIFEST_NAMESPACE },
    { "Service", "ServiceList", { "v1" }, MANIFEST_SERVICE },
    { "EndpointSlice", "EndpointSliceList", { "discovery.k8s.io/v1", "discovery.k8s.io/v1beta1" }, MANIFEST_SLICE },
    { "Endpoints", "EndpointsList", { "v1" }, MANIFEST_ENDPOINTS },
    { "Pod", "PodList", { "v1" }, MANIFEST_POD },
};

/* One reading of a file. */
struct reading {
    const char *file;
    const struct manifest_sink *sink;
    const struct yaml_doc *doc;
    const char *prefix;          /* of paths: "" or "items[3]." */
    struct manifest_objects *old, now;
    struct strmap old_keys, now_keys; /* key -> any value */
    size_t reports;
    bool unknown_broken;         /* something malformed could not be named */
};

static void object_free(struct manifest_object *o)
{
    free(o->key);
    json_decref(o->json);
}

void manifest_objects_free(struct manifest_objects *objects)
{
    for (size_t i = 0; i < objects->len; i++)
        object_free(&objects->items[i]);
    VEC_FREE(objects);
}

static void report(struct reading *r, uint32_t line, const char *text)
{
    if (++r->reports <= REPORTS_MAX)
        r->sink->problem(r->sink->data, r->file, line, text);
}

static void report_path(void *data, const char *path, const char *what)
{
    struct reading *r = data;
    if (r->reports >= REPORTS_MAX) { /* finding a line means reading the document again */
        r->reports++;
        return;
    }
    char *full = x_asprintf("%s%s", r->prefix, path);
    char *text = x_asprintf("%s%s%s", full, *full ? ": " : "", what);
    report(r, yaml_locate(r->doc, full), text);
    free(text);
    free(full);
}

static char *object_key(enum manifest_kind kind, const json_t *json)
{
    const char *ns = kind == MANIFEST_NAMESPACE ? "" : kube_meta(json, "namespace");
    if (kind != MANIFEST_NAMESPACE && !*ns)
        ns = "default";
    return x_asprintf("%d/%s/%s", (int)kind, ns, kube_meta(json, "name"));
}

/* ---- from what people write to what an API server would answer ---- */

static bool blank(const json_t *v)
{
    return !json_is_string(v) || json_string_length(v) == 0;
}

/* Nobody allocates addresses here, so a Service without one is headless. clusterIP and clusterIPs[0] are always alike. */
static void complete_service(json_t *json)
{
    json_t *spec = json_object_get(json, "spec"), *list = json_object_get(spec, "clusterIPs");
    const char *type = json_string_value(json_object_get(spec, "type"));

    if (!type) {
        type = "ClusterIP";
        json_object_set_new(spec, "type", json_string(type));
    }
    if (strcmp(type, "ExternalName") == 0)
        return;
    if (blank(json_object_get(spec, "clusterIP"))) {
        const json_t *first = json_array_get(list, 0);
        json_object_set_new(spec, "clusterIP", json_string(blank(first) ? "None" : json_string_value(first)));
    }
    if (json_array_size(list) == 0 || blank(json_array_get(list, 0)))
        json_object_set_new(spec, "clusterIPs", json_pack("[O]", json_object_get(spec, "clusterIP")));
}

static void complete_protocols(json_t *ports)
{
    json_t *port;
    size_t i;
    json_array_foreach(ports, i, port)
    {
        const json_t *protocol = json_object_get(port, "protocol");
        if (!protocol || json_is_null(protocol))
            json_object_set_new(port, "protocol", json_string("TCP"));
    }
}

static void complete(json_t *json, enum manifest_kind kind)
{
    static const enum kube_kind delivered[] = {
        [MANIFEST_NAMESPACE] = KUBE_NAMESPACE,
        [MANIFEST_SERVICE] = KUBE_SERVICE,
        [MANIFEST_SLICE] = KUBE_ENDPOINT_SLICE,
        [MANIFEST_POD] = KUBE_POD,
    };
    json_t *meta = json_object_get(json, "metadata");

    if (kind == MANIFEST_NAMESPACE)
        json_object_del(meta, "namespace");
    else if (!*kube_meta(json, "namespace"))
        json_object_set_new(meta, "namespace", json_string("default"));
    if (kind == MANIFEST_SERVICE) {
        complete_service(json);
        complete_protocols(json_object_get(json_object_get(json, "spec"), "ports"));
    } else if (kind == MANIFEST_SLICE) {
        complete_protocols(json_object_get(json, "ports"));
    }
    if (kind != MANIFEST_ENDPOINTS)
        (void)kube_normalize(json, delivered[kind]); /* it has a name: it was validated */
}

/* ---- objects of one document ---- */

static void add(struct reading *r, struct manifest_object o)
{
    (void)strmap_set_s(&r->now_keys, o.key, o.json); /* was not there */
    VEC_PUSH(&r->now, o);
}

static void keep_old(struct reading *r, const char *key)
{
    const size_t *at = strmap_get_s(&r->old_keys, key);
    if (!at || strmap_get_s(&r->now_keys, key))
        return;
    const struct manifest_object *o = &r->old->items[*at];
    add(r, (struct manifest_object){ o->kind, x_strdup(o->key), json_incref(o->json), o->line });
}

static void take_known(struct reading *r, json_t *json, enum manifest_kind kind)
{
    const struct validate_sink sink = { r, report_path };
    size_t issues = kube_validate(json, kind, &sink);
    char *key = object_key(kind, json);

    if (issues > 0) {
        if (*kube_meta(json, "name"))
            keep_old(r, key);
        else
            r->unknown_broken = true;
    } else if (strmap_get_s(&r->now_keys, key)) {
        report_path(r, "metadata.name", "the object appears twice in this file, the first one counts");
    } else {
        complete(json, kind);
        add(r, (struct manifest_object){ kind, key, json_incref(json), r->doc->line });
        key = NULL;
    }
    free(key);
}

static bool takes_api(const struct known_kind *k, const char *api)
{
    for (size_t i = 0; i < ARRAY_LEN(k->api) && k->api[i]; i++)
        if (strcmp(k->api[i], api) == 0)
            return true;
    return false;
}

static void take_object(struct reading *r, json_t *json);

static void take_list(struct reading *r, json_t *json, const struct known_kind *of)
{
    json_t *items = json_object_get(json, "items"), *item;
    char prefix[40];
    size_t i;

    if (items && !json_is_array(items) && !json_is_null(items)) {
        report_path(r, "items", "must be a list");
        r->unknown_broken = true;
    }
    json_array_foreach(items, i, item)
    {
        snprintf(prefix, sizeof prefix, "items[%zu].", i);
        r->prefix = prefix;
        if (of && json_is_object(item)) /* a ServiceList's items name no kind of their own */
            take_known(r, item, of->as);
        else
            take_object(r, item);
        r->prefix = "";
    }
}

static void take_object(struct reading *r, json_t *json)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    const char *api = json_string_value(json_object_get(json, "apiVersion"));
    bool nested = *r->prefix != '\0';

    if (!json_is_object(json) || !kind || !api) {
        const char *missing = !json_is_object(json) ? "" : kind ? "apiVersion" : "kind";
        report_path(r, missing, *missing ? "missing" : "not a Kubernetes object");
        r->unknown_broken = true;
        return;
    }
    if (!nested && strcmp(kind, "List") == 0 && strcmp(api, "v1") == 0) {
        take_list(r, json, NULL);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(known_kinds); i++) {
        const struct known_kind *k = &known_kinds[i];
        if (!takes_api(k, api))
            continue; /* a Service of serving.knative.dev is something else */
        if (strcmp(k->kind, kind) == 0) {
            take_known(r, json, k->as); /* changes the object: kind and api are no more */
            return;
        }
        if (!nested && strcmp(k->list, kind) == 0) {
            take_list(r, json, k);
            return;
        }
    }
}

void manifest_file_update(const char *file, const char *text, size_t n, struct manifest_objects *objects,
                          const struct manifest_sink *sink)
{
    struct reading r = { .file = file, .sink = sink, .prefix = "", .old = objects };
    struct yaml_docs docs;
    size_t *places = x_calloc(objects->len, sizeof *places);

    for (size_t i = 0; i < objects->len; i++) {
        places[i] = i;
        (void)strmap_set_s(&r.old_keys, objects->items[i].key, &places[i]); /* keys are unique */
    }
    yaml_load(text, n, str_has_suffix(file, ".json"), &docs);
    for (size_t i = 0; i < docs.len; i++) {
        r.doc = &docs.items[i];
        if (r.doc->error) {
            report(&r, r.doc->line, r.doc->error);
            r.unknown_broken = true;
        } else {
            take_object(&r, r.doc->json);
        }
    }
    for (size_t i = 0; i < objects->len && r.unknown_broken; i++)
        keep_old(&r, objects->items[i].key);
    if (r.reports > REPORTS_MAX) {
        char *more = x_asprintf("%zu more problems in this file", r.reports - REPORTS_MAX);
        sink->problem(sink->data, file, 1, more);
        free(more);
    }
    yaml_docs_free(&docs);
    strmap_free(&r.old_keys, NULL);
    strmap_free(&r.now_keys, NULL);
    free(places);
    manifest_objects_free(objects);
    *objects = r.now;
}
