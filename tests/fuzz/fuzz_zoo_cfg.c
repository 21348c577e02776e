/* zoo.cfg: any text is read or refused with a line that names the place. */
#include <stdio.h>

#include "base/log.h"
#include "server_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct server_config cfg;
    struct storage_error err = { "" };

    log_set_level(LOG_ERROR);
    server_config_init(&cfg);
    if (server_config_parse(&cfg, "zoo.cfg", (const char *)data, size, &err) < 0)
        ASSERT(strncmp(err.text, "zoo.cfg:", 8) == 0);
    else
        (void)server_config_check(&cfg, &err); /* either answer is fine; it must only not crash */
    server_config_free(&cfg);
    return 0;
}
