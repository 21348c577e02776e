/* defaults.h - from a configuration to what core and storage are told. server_config_init, of server.h, is defined beside these.
 *
 * Threading  None: plain functions.
 * Ownership  What is returned borrows the configuration's strings. */
#ifndef SERVER_DEFAULTS_H
#define SERVER_DEFAULTS_H

#include "server/core.h"
#include "server/server.h"
#include "storage/storage.h"

/* Gives the limits that follow from others their values, where none are set. */
void server_config_settle(struct server_config *cfg);
/* Of a settled configuration; its vfs may be NULL. */
struct storage_config server_storage_config(const struct server_config *cfg);
/* Of a settled configuration; without an id, a seed and what it takes to reconfigure, which are the caller's. */
struct core_config server_core_config(const struct server_config *cfg);

#endif
