/* zoo.cfg: any text is read or refused with a line that names the place. When it is edited because the members changed, its last word is the dynamic
 * file, and none of the old members is left. */
#include <stdio.h>

#include "base/log.h"
#include "base/str.h"
#include "server/dynconf.h"
#include "properties.h"
#include "server_internal.h"

static void check_edit(const uint8_t *data, size_t size)
{
    struct wr w = wr_init(0);
    char *file = NULL;

    if (dynconf_edit(&w, buf_of(data, size), true, "/d\\f") == 0) {
        struct properties in = properties_init((const char *)w.p, w.n);
        while (properties_next(&in) > 0) {
            const char *key = wr_cstr(&in.key);
            ASSERT(!str_has_prefix(key, "server.") && strcmp(key, "clientPort") != 0);
            free(file);
            file = strcmp(key, "dynamicConfigFile") == 0 ? x_strdup(wr_cstr(&in.value)) : NULL;
        }
        ASSERT(file && strcmp(file, "/d\\f") == 0);
        properties_done(&in);
    }
    free(file);
    wr_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct server_config cfg;
    struct storage_error err = { "" };

    log_set_level(LOG_ERROR);
    check_edit(data, size);
    server_config_init(&cfg);
    if (server_config_parse(&cfg, "zoo.cfg", (const char *)data, size, &err) < 0)
        ASSERT(strncmp(err.text, "zoo.cfg:", 8) == 0);
    else
        (void)server_config_check(&cfg, &err); /* either answer is fine; it must only not crash */
    server_config_free(&cfg);
    return 0;
}
