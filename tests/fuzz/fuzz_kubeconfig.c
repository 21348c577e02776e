/* fuzz_kubeconfig - kubeconfig text, and the output of a credential plugin (when the first byte is 'x'). */
#include <stdint.h>

#include "credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kube_config config;
    struct exec_credential credential;
    char *error = NULL;
    int rc;

    if (n > 0 && p[0] == 'x') {
        rc = exec_credential_parse((const char *)p + 1, n - 1, "client.authentication.k8s.io/v1", &credential, &error);
        if (rc == 0)
            exec_credential_free(&credential);
    } else {
        rc = kube_config_parse((const char *)p, n, NULL, &config, &error);
        if (rc == 0)
            kube_config_free(&config);
    }
    ASSERT((rc == 0) == (error == NULL));
    free(error);
    return 0;
}
