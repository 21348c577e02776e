/* jaas.h - reads one section of a JAAS login configuration file: a login module and its options. Private to server.
 *
 *     QuorumServer {
 *         org.apache.zookeeper.server.auth.DigestLoginModule required
 *         user_NAME="password";
 *     };
 *
 * Source     javax.security.auth.login.Configuration and the reading of it by sun.security.provider.ConfigFile. Expansion of ${...} is refused.
 * Errors     name file and line, never a value. */
#ifndef SERVER_JAAS_H
#define SERVER_JAAS_H

#include "base/core.h"
#include "storage/storage.h"

struct jaas_option {
    char *name, *value;
};
struct jaas_section {
    int line; /* where it begins; 0: not found */
    char *module;
    struct VEC(struct jaas_option) options;
};

/* The whole text is checked. RC_MALFORMED; RC_NOTFOUND: no such section; RC_UNSUPPORTED: several modules in it. *ret is to be freed after success only. */
int jaas_parse(const char *path, const char *text, size_t n, const char *section, struct jaas_section *ret, struct storage_error *err);
int jaas_read(const char *path, const char *section, struct jaas_section *ret, struct storage_error *err); /* and what file_read returns */
const char *jaas_option(const struct jaas_section *s, const char *name); /* NULL: not there */
void jaas_done(struct jaas_section *s); /* wipes the values */

#endif
