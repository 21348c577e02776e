/* incluster.c - where the configuration comes from when nobody names a file: $KUBECONFIG, the pod that we run in,
 * or the home directory. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "kubeconfig.h"

#define SERVICEACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

static const char *env_or_null(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static char *first_line(const char *path)
{
    uint8_t *p;
    size_t n;

    if (file_read(path, 4096, &p, &n))
        return NULL;
    p[strcspn((char *)p, "\r\n")] = '\0';
    if (p[0] != '\0')
        return (char *)p;
    free(p);
    return NULL;
}

/* Source: client-go rest.InClusterConfig. A missing CA is not an error there either: the system's roots are used. */
int kube_config_load_in_cluster(const char *dir, struct kube_config *ret, char **ret_error)
{
    const char *host = env_or_null("KUBERNETES_SERVICE_HOST"), *port = env_or_null("KUBERNETES_SERVICE_PORT");
    struct kube_config c = { .in_cluster = true };

    *ret_error = NULL;
    if (!dir)
        dir = env_or_null("QUOLL_SERVICEACCOUNT_DIR");
    if (!dir)
        dir = SERVICEACCOUNT_DIR;
    if (!host || !port) {
        *ret_error = x_strdup("in-cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
        return RC_NOTFOUND;
    }
    c.token_file = x_asprintf("%s/token", dir);
    if (access(c.token_file, R_OK) != 0) {
        *ret_error = x_asprintf("in-cluster: %s: cannot be read", c.token_file);
        kube_config_free(&c);
        return RC_NOTFOUND;
    }
    c.server = x_asprintf(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
    c.origin = x_strdup(c.server);
    c.text = x_asprintf("%s (in cluster)", c.origin);
    c.ca.path = x_asprintf("%s/ca.crt", dir);
    if (kube_pem_reload(&c.ca)) {
        log_warn("kube", "%s cannot be read: trusting the system's certificate authorities", c.ca.path);
        free(c.ca.path);
        c.ca.path = NULL;
    }
    char *ns_path = x_asprintf("%s/namespace", dir);
    c.ns = first_line(ns_path);
    free(ns_path);
    *ret = c;
    return 0;
}

int kube_config_load(const struct kube_config_options *opt, struct kube_config *ret, char **ret_error)
{
    const char *list = env_or_null("KUBECONFIG"), *home = env_or_null("HOME");

    if (opt->kubeconfig)
        return kube_config_load_files(opt->kubeconfig, opt->context, ret, ret_error);
    if (list)
        return kube_config_load_files(list, opt->context, ret, ret_error);
    if (env_or_null("KUBERNETES_SERVICE_HOST") && !opt->context)
        return kube_config_load_in_cluster(opt->serviceaccount_dir, ret, ret_error);
    if (!home) {
        *ret_error = x_strdup("kubeconfig: none given, KUBECONFIG and HOME are not set, and this is not a pod");
        return RC_NOTFOUND;
    }
    char *path = x_asprintf("%s/.kube/config", home);
    int rc = kube_config_load_files(path, opt->context, ret, ret_error);
    free(path);
    return rc;
}
