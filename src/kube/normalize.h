/* normalize.h - every API version in, one shape out: v1 Service, v1 Namespace, v1 Pod (stripped), discovery.k8s.io/v1
 * EndpointSlice.
 * Works in place on jansson values; never trusts a type. Threading: none. */
#ifndef KUBE_NORMALIZE_H
#define KUBE_NORMALIZE_H

#include "kube/kube.h"

#define KUBE_SERVICE_NAME_LABEL "kubernetes.io/service-name"

/* Sets apiVersion and kind (list items have none), drops metadata.managedFields, turns a v1beta1 slice into a v1 one,
 * and takes from a Pod all that struct kube_handler's users do not read (see kube.h). RC_MALFORMED when it has no metadata.name. */
int kube_normalize(json_t *obj, enum kube_kind kind);
/* A v1 Endpoints object as slices: a new array, one slice a subset and address family, named "<name>-ipv4" and
 * "<name>-ipv6", further subsets with "-2", "-3"... behind it. */
json_t *kube_endpoints_to_slices(const json_t *endpoints);
/* Borrowed text of obj.metadata.<field>, "" when absent. */
const char *kube_meta(const json_t *obj, const char *field);
/* Borrowed: the service that a slice belongs to, NULL when it belongs to none. */
const char *kube_slice_service(const json_t *slice);

#endif
