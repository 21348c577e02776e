/* fuzz_kube_manifests - manifest text: YAML and JSON, validation, conversion, and the lines of problems. */
#include <stdint.h>

#include "manifest_file.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void problem(void *data, const char *file, uint32_t line, const char *text)
{
    ASSERT(line >= 1 && text[0] != '\0');
}

/* The first byte cuts the rest into two states of one file, so that what is kept from the former state is looked at too. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const struct manifest_sink sink = { NULL, problem };
    struct manifest_objects objects = { 0 };
    struct manifest_set set = { 0 };

    if (n < 1)
        return 0;
    const char *name = p[0] & 1 ? "f.json" : "f.yaml";
    size_t cut = (size_t)p[0] * (n - 1) / 255;
    manifest_file_update(name, (const char *)p + 1, cut, &objects, &sink);
    manifest_file_update(name, (const char *)p + 1, n - 1, &objects, &sink);
    manifest_set_add(&set, name, &objects, &sink);
    manifest_set_finish(&set);
    STRMAP_EACH(slot, &set.objects)
    {
        ASSERT(json_is_object((json_t *)slot->value));
    }
    manifest_set_free(&set);
    manifest_objects_free(&objects);
    return 0;
}
