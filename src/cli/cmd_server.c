/* cmd_server.c - quoll server: the coordination server. */
#include "daemon.h"

static const struct flag *const groups[] = { server_flags, http_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    daemon_options.zoo_cfg = argc ? argv[0] : NULL;
    return daemon_run(PART_SERVER);
}

const struct command cmd_server = {
    .name = "server",
    .args = "[ZOO.CFG]",
    .summary = "the coordination server: ZooKeeper's protocol, Apache's files on disk",
    .text = "Runs a ZooKeeper server. With ZOO.CFG, Apache's configuration file is honoured (docs/configuration.md says which keys);\n"
            "flags win over it. Without, --data and --client-listen are enough.\n\n"
            "  quoll server /etc/zookeeper/conf/zoo.cfg\n"
            "  quoll server --data /var/lib/quoll --client-listen 0.0.0.0:2181 --set snapCount=50000",
    .groups = groups,
    .max_args = 1,
    .run = run,
};
