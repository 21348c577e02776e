/* pods.c - see pods.h. */
#include "pods.h"

struct pod_ns {
    char *name;
    struct strmap pods; /* name -> struct pod_record */
};

struct pod_record {
    const struct pod_ns *ns;
    size_t ip_count;
    struct ip ips[]; /* sorted, each once */
};

/* Any order will do for the owners of one address, as long as it is one. */
static int record_cmp(const void *a, const void *b)
{
    return (a > b) - (a < b);
}

static int ip_order(const void *a, const void *b)
{
    return ip_cmp(a, b);
}

static struct pod_record *record_new(const struct pod_ns *ns, const struct pod *p)
{
    struct pod_record *rec = x_calloc(1, sizeof(*rec) + p->ip_count * sizeof(rec->ips[0]));

    rec->ns = ns;
    if (p->ip_count > 0)
        qsort(p->ips, p->ip_count, sizeof(p->ips[0]), ip_order);
    for (size_t i = 0; i < p->ip_count; i++) {
        if (i == 0 || !ip_eq(&p->ips[i], &p->ips[i - 1]))
            rec->ips[rec->ip_count++] = p->ips[i];
    }
    return rec;
}

static bool record_same(const struct pod_record *a, const struct pod_record *b)
{
    if (a->ip_count != b->ip_count)
        return false;
    for (size_t i = 0; i < a->ip_count; i++) {
        if (!ip_eq(&a->ips[i], &b->ips[i]))
            return false;
    }
    return true;
}

static void record_drop(struct pod_set *s, struct pod_record *rec)
{
    for (size_t i = 0; i < rec->ip_count; i++)
        revindex_del(&s->by_ip, &rec->ips[i], rec);
    s->count--;
    free(rec);
}

void pod_set_init(struct pod_set *s)
{
    *s = (struct pod_set){0};
    revindex_init(&s->by_ip, record_cmp);
}

void pod_set_done(struct pod_set *s)
{
    (void)pod_set_remove(s, (struct buf){0}, (struct buf){0});
    revindex_done(&s->by_ip);
}

static struct pod_ns *ns_need(struct pod_set *s, struct buf name)
{
    struct pod_ns *ns = strmap_get(&s->namespaces, name);
    if (!ns) {
        ns = x_calloc(1, sizeof(*ns));
        ns->name = buf_dup(name);
        strmap_set(&s->namespaces, name, ns);
    }
    return ns;
}

static void ns_drop(struct pod_set *s, struct pod_ns *ns)
{
    STRMAP_EACH(slot, &ns->pods)
    {
        record_drop(s, slot->value);
    }
    strmap_free(&ns->pods, NULL);
    free(ns->name);
    free(ns);
}

int pod_set_put(struct pod_set *s, struct buf ns_name, struct buf name, const void *data, size_t len)
{
    struct pod *p;
    int rc = pod_decode(data, len, &p, NULL);

    if (rc < 0)
        return rc;
    struct pod_ns *ns = ns_need(s, ns_name);
    struct pod_record *old = strmap_get(&ns->pods, name), *rec = record_new(ns, p);
    pod_free(p);
    if (old && record_same(old, rec)) {
        free(rec);
        return 0;
    }
    strmap_set(&ns->pods, name, rec);
    s->count++;
    for (size_t i = 0; i < rec->ip_count; i++)
        revindex_add(&s->by_ip, &rec->ips[i], rec);
    if (old)
        record_drop(s, old);
    return 1;
}

static bool remove_all(struct pod_set *s)
{
    bool any = s->count > 0;

    STRMAP_EACH(slot, &s->namespaces)
    {
        ns_drop(s, slot->value);
    }
    strmap_free(&s->namespaces, NULL);
    s->namespaces = (struct strmap){0};
    return any;
}

bool pod_set_remove(struct pod_set *s, struct buf ns_name, struct buf name)
{
    if (!ns_name.p)
        return remove_all(s);
    struct pod_ns *ns = strmap_get(&s->namespaces, ns_name);
    if (!ns)
        return false;
    bool any = !name.p;
    if (name.p) {
        struct pod_record *rec = strmap_del(&ns->pods, name);
        any = rec != NULL;
        if (rec)
            record_drop(s, rec);
    }
    if (!name.p || ns->pods.len == 0) {
        (void)strmap_del(&s->namespaces, ns_name);
        ns_drop(s, ns);
    }
    return any;
}

bool pod_set_has(const struct pod_set *s, struct buf ns_name, const struct ip *ip)
{
    const struct pod_ns *ns = strmap_get(&s->namespaces, ns_name);
    struct rev_owners owners = ns ? revindex_get(&s->by_ip, ip) : (struct rev_owners){0};

    for (size_t i = 0; i < owners.count; i++) {
        if (((const struct pod_record *)owners.items[i])->ns == ns)
            return true;
    }
    return false;
}
