/* model.c - life of the model's objects, names of its enums, and the rules for names. */
#include "discovery/model.h"

static const char *const type_names[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
static const char *const proto_names[] = {"TCP", "UDP", "SCTP"};
static const char *const proto_labels[] = {"tcp", "udp", "sctp"};

const char *svc_type_name(enum svc_type t)
{
    ASSERT((size_t)t < ARRAY_LEN(type_names));
    return type_names[t];
}

const char *svc_proto_name(enum svc_proto p)
{
    ASSERT((size_t)p < ARRAY_LEN(proto_names));
    return proto_names[p];
}

const char *svc_proto_label(enum svc_proto p)
{
    ASSERT((size_t)p < ARRAY_LEN(proto_labels));
    return proto_labels[p];
}

int svc_type_parse(const char *text, enum svc_type *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
        if (strcmp(text, type_names[i]) == 0) {
            *ret = (enum svc_type)i;
            return 0;
        }
    }
    return RC_MALFORMED;
}

int svc_proto_parse(const char *text, enum svc_proto *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(proto_names); i++) {
        if (strcmp(text, proto_names[i]) == 0) {
            *ret = (enum svc_proto)i;
            return 0;
        }
    }
    return RC_MALFORMED;
}

bool name_is_label(const char *s, size_t n)
{
    if (n == 0 || n > 63 || s[0] == '-' || s[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

bool name_is_dns(const char *s, size_t n)
{
    size_t label = 0;

    if (n == 0 || n > 253)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        /* Underscores are not host names, but names that CNAMEs lead to have them. */
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_'))
            return false;
        if (++label > 63)
            return false;
    }
    return label > 0;
}

struct svc *svc_new(const char *ns, const char *name)
{
    struct svc *s = x_calloc(1, sizeof(*s));
    s->ns = x_strdup(ns);
    s->name = x_strdup(name);
    s->external_name = x_strdup("");
    s->managed_by = x_strdup("");
    s->affinity_timeout_s = SVC_AFFINITY_TIMEOUT_DEFAULT_S;
    return s;
}

static void strings_free(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(v[i]);
    free(v);
}

static void kvs_free(struct kvs *k)
{
    for (size_t i = 0; i < k->n; i++) {
        free(k->v[i].key);
        free(k->v[i].value);
    }
    free(k->v);
}

void svc_free(struct svc *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->port_count; i++) {
        free(s->ports[i].name);
        free(s->ports[i].target_port);
        free(s->ports[i].app_protocol);
    }
    free(s->ports);
    free(s->cluster_ips);
    strings_free(s->external_ips, s->external_ip_count);
    strings_free(s->ingress, s->ingress_count);
    kvs_free(&s->labels);
    kvs_free(&s->annotations);
    free(s->external_name);
    free(s->managed_by);
    free(s->ns);
    free(s->name);
    free(s);
}

struct slice *slice_new(const char *name)
{
    struct slice *s = x_calloc(1, sizeof(*s));
    s->name = x_strdup(name);
    s->managed_by = x_strdup("");
    s->family = 4;
    return s;
}

void slice_free(struct slice *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->port_count; i++) {
        free(s->ports[i].name);
        free(s->ports[i].app_protocol);
    }
    for (size_t i = 0; i < s->endpoint_count; i++) {
        free(s->endpoints[i].hostname);
        free(s->endpoints[i].node);
        free(s->endpoints[i].zone);
        free(s->endpoints[i].pod);
    }
    free(s->ports);
    free(s->endpoints);
    free(s->managed_by);
    free(s->name);
    free(s);
}

struct pod *pod_new(void)
{
    struct pod *p = x_calloc(1, sizeof(*p));
    p->managed_by = x_strdup("");
    return p;
}

void pod_free(struct pod *p)
{
    if (!p)
        return;
    free(p->ips);
    free(p->managed_by);
    free(p);
}

static int kv_cmp(const void *a, const void *b)
{
    return strcmp(((const struct kv *)a)->key, ((const struct kv *)b)->key);
}

void kvs_add(struct kvs *k, const char *key, const char *value)
{
    k->v = x_reallocarray(k->v, k->n + 1, sizeof(*k->v));
    k->v[k->n++] = (struct kv){x_strdup(key), x_strdup(value)};
    if (k->n > 1 && kv_cmp(&k->v[k->n - 2], &k->v[k->n - 1]) > 0)
        qsort(k->v, k->n, sizeof(*k->v), kv_cmp);
}
