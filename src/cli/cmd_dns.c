/* cmd_dns.c - quoll dns: the DNS server. */
#include "daemon.h"
#include "zk.h"

static const struct flag *const groups[] = { dns_flags, pods_flags, registry_flags, zk_flags, http_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    return daemon_run(PART_DISCOVERY);
}

const struct command cmd_dns = {
    .name = "dns",
    .args = "",
    .summary = "answer DNS questions about services from the registry",
    .text = "Serves the Kubernetes DNS specification from the registry in ZooKeeper, over UDP and TCP. Goes on answering\n"
            "from memory while ZooKeeper is away.\n\n"
            "  quoll dns --zk zk1:2181 --dns-listen 0.0.0.0:53 --forward 9.9.9.9\n"
            "  dig @127.0.0.1 -p 1053 my-service.default.svc.cluster.local",
    .groups = groups,
    .run = run,
};
