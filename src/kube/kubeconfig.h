/* kubeconfig.h - which API server to talk to, and as whom.
 *
 * Purpose    Reads kubeconfig files, or what a pod finds in its service account directory, into one flat struct.
 * Ownership  A kube_config owns everything in it; kube_config_free releases it and wipes the secrets.
 * Errors     RC_NOTFOUND, RC_DENIED, RC_MALFORMED, RC_INVAL, RC_UNSUPPORTED with one owned line naming file and field.
 *            Error lines never hold a secret.
 * Source     kubernetes/client-go tools/clientcmd; "Organizing Cluster Access Using kubeconfig Files". */
#ifndef KUBE_KUBECONFIG_H
#define KUBE_KUBECONFIG_H

#include <jansson.h>

#include "base/core.h"

/* PEM bytes given inline, or a file that may be rotated and is read again by kube_pem_reload. */
struct kube_pem {
    char *path; /* NULL: inline */
    uint8_t *p; /* NULL: not given */
    size_t n;
};

struct kube_exec { /* a credential plugin; command == NULL: none */
    char *command;
    char **args; /* NULL-terminated, without the command */
    char **env;  /* NULL-terminated "NAME=value" */
    char *api_version, *install_hint;
    json_t *cluster_info; /* spec.cluster, when the plugin asked for it */
};

struct kube_config {
    char *server; /* "https://host:port/prefix", no slash at the end */
    char *origin; /* for people: the server without user information, plus " (context x)" in .text */
    char *text;
    struct kube_pem ca, cert, key;
    bool insecure, no_compression, in_cluster;
    char *tls_server_name, *proxy_url;
    char *token, *token_file, *username, *password;
    char **headers; /* NULL-terminated impersonation headers, ready to send */
    struct kube_exec exec;
    char *ns; /* the context's namespace; may be NULL */
};

struct kube_config_options {
    const char *kubeconfig, *context, *serviceaccount_dir; /* as in struct kube_api_options */
};

/* Looks where kube_api_options says and reads what it finds. */
int kube_config_load(const struct kube_config_options *opt, struct kube_config *ret, char **ret_error);
/* The parts of it: `paths` is one file or a list as in $KUBECONFIG. */
int kube_config_load_files(const char *paths, const char *context, struct kube_config *ret, char **ret_error);
int kube_config_load_in_cluster(const char *dir, struct kube_config *ret, char **ret_error);
/* For the fuzzer: the same from bytes; files that it names are not opened. */
int kube_config_parse(const char *text, size_t n, const char *context, struct kube_config *ret, char **ret_error);
void kube_config_free(struct kube_config *c);
/* Reads the file again. On failure the old bytes stay, and the result is negative. */
int kube_pem_reload(struct kube_pem *pem);
void kube_wipe(char *secret); /* overwrites and frees; NULL is fine */

#endif
