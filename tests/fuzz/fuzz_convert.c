/* fuzz_convert.c - objects of the Kubernetes API to registry data: whatever JSON comes, what is stored can be read back.
 * The first byte chooses: 's' a Service, 'p' a Pod, anything else an EndpointSlice. */
#include "convert.h"
#include "discovery/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const everything[] = { "" };
    const struct convert_options opt = { everything, 1, everything, 1 };
    char *json = NULL, *service = NULL, *problem = NULL;

    if (size == 0)
        return 0;
    json_t *obj = json_loadb((const char *)data + 1, size - 1, JSON_DECODE_ANY, NULL);
    if (!obj)
        return 0;
    int rc = data[0] == 's'   ? convert_service(obj, "shop", "web", &opt, &json, &problem)
             : data[0] == 'p' ? convert_pod(obj, "web-1", &json, &problem)
                              : convert_slice(obj, "web-1", &json, &service, &problem);
    ASSERT((rc == 0) == (json != NULL));
    ASSERT((rc == RC_MALFORMED) == (problem != NULL));
    if (json) {
        char *by = node_managed_by(json, strlen(json));
        ASSERT(by != NULL);
        ASSERT(strcmp(by, SYNC_MANAGED_BY) == 0);
        free(by);
    }
    free(json);
    free(service);
    free(problem);
    json_decref(obj);
    return 0;
}
