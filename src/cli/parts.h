/* parts.h - the components that this process runs, as the admin pages see them. NULL: not here. */
#ifndef CLI_PARTS_H
#define CLI_PARTS_H

#include <stdbool.h>
#include <stdint.h>

struct parts {
    struct server *server;
    struct quoll_client *client;
    bool zk_connected;
    struct sync *sync;
    struct kube_source *source;
    struct svc_table *table;
    struct dns_server *dns;
    int dns_port;
    int64_t started_ms; /* monotonic */
};

#endif
