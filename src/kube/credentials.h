/* credentials.h - the headers and certificates that requests carry, kept fresh.
 *
 * Purpose    Token files are read again every minute, credential plugins run when theirs has expired, and both at once
 *            when the API server says 401.
 * Ownership  Borrows the kube_config, which must outlive it.
 * Threading  The loop's thread. A waiter's callback never comes from inside kube_cred_prepare.
 * Source     client-go transport/token_source.go, plugin/pkg/client/auth/exec; client.authentication.k8s.io/v1. */
#ifndef KUBE_CREDENTIALS_H
#define KUBE_CREDENTIALS_H

#include <curl/curl.h>
#include <uv.h>

#include "base/list.h"
#include "kubeconfig.h"

struct kube_cred;

struct kube_cred_waiter {
    struct list link; /* list_init before the first use */
    void *data;
    void (*ready)(void *data, const char *error); /* error: NULL, or one line; borrowed */
};

struct kube_cred *kube_cred_new(uv_loop_t *loop, struct kube_config *config);
/* True: usable now. False: a plugin runs, and w->ready is called when it ends. Taking the waiter off its list
 * (list_remove) cancels that. */
bool kube_cred_prepare(struct kube_cred *c, struct kube_cred_waiter *w);
/* The server refused what kube_cred_generation() named: get something newer before the next request. */
void kube_cred_refused(struct kube_cred *c, uint64_t generation);
uint64_t kube_cred_generation(const struct kube_cred *c); /* changes whenever the credentials do */
/* Appends Authorization and impersonation headers. */
struct curl_slist *kube_cred_headers(const struct kube_cred *c, struct curl_slist *list);
const struct kube_pem *kube_cred_cert(const struct kube_cred *c);
const struct kube_pem *kube_cred_key(const struct kube_cred *c);
void kube_cred_close(struct kube_cred *c, void (*closed)(void *data), void *data);

/* A plugin's output. Pure; for the tests and the fuzzer. *ret_expiry_ms: wall clock, INT64_MAX when it names none.
 * Returns 0 and owned texts (NULL where absent), or RC_MALFORMED and one owned line without secrets. */
struct exec_credential {
    char *token, *cert, *key;
    int64_t expiry_ms;
};
int exec_credential_parse(const char *text, size_t n, const char *api_version, struct exec_credential *ret,
                          char **ret_error);
void exec_credential_free(struct exec_credential *x);

#endif
