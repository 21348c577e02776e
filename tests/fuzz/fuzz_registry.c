/* fuzz_registry.c - data of registry nodes: what decodes must encode canonically, and the table must take anything.
 * The first byte chooses: 's' a service, 'p' a Pod, anything else a slice. */
#include "base/core.h"
#include "discovery/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_service(const uint8_t *data, size_t size)
{
    struct svc *s, *again;
    char *problem = NULL;

    if (svc_decode("shop", "web", data, size, &s, &problem) < 0) {
        ASSERT(problem != NULL);
        free(problem);
        return;
    }
    char *text = svc_encode(s);
    ASSERT(svc_decode("shop", "web", text, strlen(text), &again, NULL) == 0);
    char *text2 = svc_encode(again);
    ASSERT(strcmp(text, text2) == 0);
    char *kept = node_keep_unknown(NODE_SERVICE, text, data, size);
    free(kept);
    free(text);
    free(text2);
    svc_free(s);
    svc_free(again);
}

static void check_slice(const uint8_t *data, size_t size)
{
    struct slice *s, *again;
    char *problem = NULL;

    if (slice_decode("web-1", data, size, &s, &problem) < 0) {
        ASSERT(problem != NULL);
        free(problem);
        return;
    }
    char *text = slice_encode(s);
    ASSERT(slice_decode("web-1", text, strlen(text), &again, NULL) == 0);
    char *text2 = slice_encode(again);
    ASSERT(strcmp(text, text2) == 0);
    free(text);
    free(text2);
    slice_free(s);
    slice_free(again);
}

static void check_pod(const uint8_t *data, size_t size)
{
    struct pod *p, *again;
    char *problem = NULL;

    if (pod_decode(data, size, &p, &problem) < 0) {
        ASSERT(problem != NULL);
        free(problem);
        return;
    }
    char *text = pod_encode(p);
    ASSERT(pod_decode(text, strlen(text), &again, NULL) == 0);
    char *text2 = pod_encode(again);
    ASSERT(strcmp(text, text2) == 0);
    free(text);
    free(text2);
    struct svc_table *t = table_new();
    table_put(t, ".pods/shop/web-1", data, size, 1);
    for (size_t i = 0; i < p->ip_count; i++)
        ASSERT(table_pod_exists(t, buf_str("shop"), &p->ips[i]));
    table_remove(t, ".pods/shop", 1);
    for (size_t i = 0; i < p->ip_count; i++)
        ASSERT(!table_pod_exists(t, buf_str("shop"), &p->ips[i]));
    table_free(t);
    pod_free(p);
    pod_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char service[] = "{\"schema\":1}";
    bool is_service = size > 0 && data[0] == 's', is_pod = size > 0 && data[0] == 'p';
    struct ip ip = { .family = 4, .b = { 10, 0, 0, 1 } };
    struct table_owner owner;

    if (size > 0)
        data++, size--;
    if (is_pod)
        check_pod(data, size);
    else if (is_service)
        check_service(data, size);
    else
        check_slice(data, size);
    struct svc_table *t = table_new();
    table_put(t, "shop/web", service, sizeof(service) - 1, 1);
    table_put(t, is_service ? "shop/web" : "shop/web/web-1", data, size, 1);
    (void)table_service(t, buf_str("shop"), buf_str("web"));
    (void)table_reverse(t, &ip, &owner, 1);
    table_remove(t, "shop/web", 1);
    ASSERT(!table_reverse_prefix(t, 4, ip.b, 0));
    table_free(t);
    return 0;
}
