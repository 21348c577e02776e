/* manifest_set.c - the objects of many files as the set that a source delivers. */
#include "manifest_file.h"
#include "normalize.h"

char *manifest_key(enum kube_kind kind, const char *ns, const char *name)
{
    return x_asprintf("%d/%s/%s", (int)kind, ns, name);
}

static void put(struct strmap *map, const char *key, json_t *json)
{
    json_t *old = strmap_set_s(map, key, json_incref(json));
    json_decref(old);
}

/* The slices that exist for a service keep its Endpoints out: they say the same, and more. */
static void note_service(struct manifest_set *set, json_t *slice)
{
    const char *service = kube_slice_service(slice);
    if (!service)
        return;
    char *name = x_asprintf("%s/%s", kube_meta(slice, "namespace"), service);
    put(&set->sliced, name, slice);
    free(name);
}

static void add_object(struct manifest_set *set, const char *file, const struct manifest_object *o,
                       const struct manifest_sink *sink)
{
    static const enum kube_kind kinds[] = {
        [MANIFEST_NAMESPACE] = KUBE_NAMESPACE,
        [MANIFEST_SERVICE] = KUBE_SERVICE,
        [MANIFEST_SLICE] = KUBE_ENDPOINT_SLICE,
        [MANIFEST_POD] = KUBE_POD,
    };
    const char *ns = kube_meta(o->json, "namespace"), *name = kube_meta(o->json, "name");
    bool is_endpoints = o->kind == MANIFEST_ENDPOINTS;
    struct strmap *map = is_endpoints ? &set->endpoints : &set->objects;
    char *key = is_endpoints ? x_asprintf("%s/%s", ns, name) : manifest_key(kinds[o->kind], ns, name);

    if (strmap_get_s(map, key)) {
        char *text = x_asprintf("metadata.name: %s exists in another file, which counts", name);
        if (sink && o->kind != MANIFEST_NAMESPACE) /* many files may well declare the same namespace */
            sink->problem(sink->data, file, o->line, text);
        free(text);
    } else {
        put(map, key, o->json);
        if (o->kind == MANIFEST_SLICE)
            note_service(set, o->json);
    }
    free(key);
}

void manifest_set_add(struct manifest_set *set, const char *file, const struct manifest_objects *objects,
                      const struct manifest_sink *sink)
{
    for (size_t i = 0; i < objects->len; i++)
        add_object(set, file, &objects->items[i], sink);
}

static void convert_endpoints(struct manifest_set *set)
{
    STRMAP_EACH(slot, &set->endpoints)
    {
        if (strmap_get_s(&set->sliced, slot->key))
            continue;
        json_t *slices = kube_endpoints_to_slices(slot->value), *slice;
        size_t i;
        json_array_foreach(slices, i, slice)
        {
            char *key = manifest_key(KUBE_ENDPOINT_SLICE, kube_meta(slice, "namespace"), kube_meta(slice, "name"));
            if (!strmap_get_s(&set->objects, key))
                put(&set->objects, key, slice);
            free(key);
        }
        json_decref(slices);
    }
}

/* A namespace that any object names exists. */
static void add_namespaces(struct manifest_set *set)
{
    struct strmap wanted = { 0 };

    STRMAP_EACH(slot, &set->objects)
    {
        const char *ns = kube_meta(slot->value, "namespace");
        if (*ns)
            (void)strmap_set_s(&wanted, ns, slot->value); /* any value: only the keys matter */
    }
    STRMAP_EACH(slot, &wanted)
    {
        char *key = manifest_key(KUBE_NAMESPACE, "", slot->key);
        if (!strmap_get_s(&set->objects, key)) {
            json_t *json = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Namespace", "metadata",
                                     "name", slot->key);
            put(&set->objects, key, json);
            json_decref(json);
        }
        free(key);
    }
    strmap_free(&wanted, NULL);
}

static void json_free(void *p)
{
    json_decref(p);
}

void manifest_set_finish(struct manifest_set *set)
{
    convert_endpoints(set);
    add_namespaces(set);
}

void manifest_set_free(struct manifest_set *set)
{
    strmap_free(&set->objects, json_free);
    strmap_free(&set->endpoints, json_free);
    strmap_free(&set->sliced, json_free);
    *set = (struct manifest_set){ 0 };
}
