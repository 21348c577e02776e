/* validate.h - is a manifest what the API server would take?
 *
 * Purpose    Finds mistakes before they become wrong DNS answers: types, ranges, names, addresses. Only what Quoll reads is
 *            looked at; unknown fields pass.
 * Source     kubernetes pkg/apis/core/validation and pkg/apis/discovery/validation; RFC 1035 and RFC 1123 names. */
#ifndef KUBE_VALIDATE_H
#define KUBE_VALIDATE_H

#include <jansson.h>

#include "base/core.h"

enum manifest_kind { MANIFEST_NAMESPACE, MANIFEST_SERVICE, MANIFEST_SLICE, MANIFEST_ENDPOINTS, MANIFEST_POD };

struct validate_sink {
    void *data;
    /* path: "spec.ports[0].port"; what: "must be 1..65535". Both borrowed. */
    void (*issue)(void *data, const char *path, const char *what);
};

/* Returns the number of issues that it reported. */
size_t kube_validate(const json_t *obj, enum manifest_kind kind, const struct validate_sink *sink);

#endif
