/* daemon.h - the long-running subcommands: which components run, on one loop, until a signal. */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include "cli.h"

/* Which components a subcommand has. */
enum daemon_part { PART_SERVER = 1, PART_SYNC = 2, PART_DISCOVERY = 4 /* table and DNS */ };

/* Everything the flags below set. */
struct daemon_options {
    /* server */
    char *data;
    struct strs client_listen;
    struct strs set; /* key=value of zoo.cfg */
    const char *zoo_cfg; /* positional of quoll server; NULL: flags only */
    /* sync */
    char *manifests, *kubeconfig, *context;
    /* registry */
    char *root, *cluster;
    /* dns */
    struct strs dns_listen, zones, namespaces, forward;
    int64_t ttl_s;
    bool ignore_empty;
    /* sync and dns */
    char *pods; /* a name of enum dns_pods; NULL: disabled */
    /* admin */
    char *http_listen;
    bool http_required; /* a port already taken is an error even when --http-listen was not given */
};
extern struct daemon_options daemon_options;

extern const struct flag server_flags[], sync_flags[], registry_flags[], pods_flags[], dns_flags[], http_flags[];

/* Starts the parts, prints what is listening, runs until SIGINT or SIGTERM, stops in order. An exit code. */
int daemon_run(unsigned parts);

#endif
