/* cmd_sync.c - quoll sync: Kubernetes into the registry. */
#include "daemon.h"
#include "zk.h"

static const struct flag *const groups[] = { sync_flags, pods_flags, registry_flags, zk_flags, http_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    return daemon_run(PART_SYNC);
}

const struct command cmd_sync = {
    .name = "sync",
    .args = "",
    .summary = "keep the registry in ZooKeeper in step with Kubernetes",
    .text = "Watches Services, EndpointSlices and Namespaces, and Pods with --pods, and stores them in ZooKeeper. Several may run:\n"
            "one is elected to write, the others stand by. What is stored stays when sync or the API server goes away.\n"
            "Objects come from --manifests, else from the cluster of --kubeconfig (default: $KUBECONFIG, the cluster that this\n"
            "runs in, ~/.kube/config).\n\n"
            "  quoll sync --zk zk1:2181,zk2:2181\n"
            "  quoll sync --manifests examples/shop",
    .groups = groups,
    .run = run,
};
