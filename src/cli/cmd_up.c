/* cmd_up.c - quoll up: all of it in one process. */
#include "daemon.h"

static const struct flag *const groups[] = { server_flags, sync_flags, dns_flags, pods_flags, registry_flags, http_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    daemon_options.http_required = true;
    return daemon_run(PART_SERVER | PART_SYNC | PART_DISCOVERY);
}

const struct command cmd_up = {
    .name = "up",
    .args = "",
    .summary = "server, sync and DNS in one process",
    .text = "Runs an embedded server, keeps the registry in step with Kubernetes (or with files of manifests) and answers DNS.\n\n"
            "  quoll up --manifests examples/shop\n"
            "  quoll up --kubeconfig ~/.kube/config --data /var/lib/quoll",
    .groups = groups,
    .run = run,
};
