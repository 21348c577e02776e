/* connstr.h - the connection string: "host:port,host2,[::1]:2181/chroot".
 *
 * Source  ZooKeeper Programmer's Guide, "connection string"; ConnectStringParser (3.9).
 * Ownership  struct connstr owns its texts; free with connstr_free. Read-only after connstr_parse, so any thread may. */
#ifndef CLIENT_CONNSTR_H
#define CLIENT_CONNSTR_H

#include "base/core.h"

#define CONNSTR_PORT_DEFAULT 2181
#define CONNSTR_SERVERS_MAX 256

struct server_addr {
    char *host; /* a name or a literal address, without brackets */
    int port;   /* 1..65535 */
    char *text; /* "host:port" or "[v6]:port", for people */
};
struct connstr {
    struct VEC(struct server_addr) servers;
    char *chroot; /* "" or "/a/b": never "/" and never with a trailing slash */
};

/* Parses text. Returns 0, or RC_INVAL with an owned line for people in *ret_error; *ret is untouched then. */
int connstr_parse(const char *text, struct connstr *ret, char **ret_error);
void connstr_free(struct connstr *cs);

#endif
