/* revindex.c - the crit-bit trees of the reverse index. */
#include "revindex.h"

struct leaf {
    struct ip ip;
    struct VEC(void *) owners;
};

/* All leaves below agree on the bits before `bit` and differ there. */
struct branch {
    unsigned bit;
    void *child[2];
};

static bool is_branch(const void *p)
{
    return ((uintptr_t)p & 1) != 0;
}

static struct branch *as_branch(void *p)
{
    ASSERT(is_branch(p));
    return (struct branch *)((uintptr_t)p & ~(uintptr_t)1);
}

static struct leaf *as_leaf(void *p)
{
    ASSERT(!is_branch(p));
    return (struct leaf *)p;
}

static unsigned bit_at(const uint8_t *b, unsigned bit)
{
    return (b[bit / 8] >> (7 - bit % 8)) & 1;
}

static size_t family_index(uint8_t family)
{
    ASSERT(family == 4 || family == 6);
    return family == 6;
}

/* The leaf that ip would be at if it were there; NULL for an empty tree. */
static struct leaf *nearest(void *p, const struct ip *ip)
{
    while (is_branch(p)) {
        struct branch *b = as_branch(p);
        p = b->child[bit_at(ip->b, b->bit)];
    }
    return as_leaf(p);
}

static struct leaf *find(const struct revindex *x, const struct ip *ip)
{
    if (ip->family != 4 && ip->family != 6)
        return NULL;
    struct leaf *l = nearest(x->root[family_index(ip->family)], ip);
    return l && ip_eq(&l->ip, ip) ? l : NULL;
}

static struct leaf *leaf_insert(struct revindex *x, const struct ip *ip)
{
    void **at = &x->root[family_index(ip->family)];
    struct leaf *near = nearest(*at, ip), *l = x_calloc(1, sizeof(*l));
    unsigned bit = 0;

    l->ip = *ip;
    x->count++;
    if (!near) {
        *at = l;
        return l;
    }
    while (bit_at(near->ip.b, bit) == bit_at(ip->b, bit))
        bit++; /* ends: the addresses differ, or find() had found one */
    while (is_branch(*at) && as_branch(*at)->bit < bit)
        at = &as_branch(*at)->child[bit_at(ip->b, as_branch(*at)->bit)];
    struct branch *b = x_malloc(sizeof(*b));
    unsigned side = bit_at(ip->b, bit);
    b->bit = bit;
    b->child[side] = l;
    b->child[!side] = *at;
    *at = (void *)((uintptr_t)b | 1);
    return l;
}

static void leaf_remove(struct revindex *x, struct leaf *l)
{
    void **at = &x->root[family_index(l->ip.family)], **up = NULL;

    while (is_branch(*at)) {
        up = at;
        at = &as_branch(*at)->child[bit_at(l->ip.b, as_branch(*at)->bit)];
    }
    ASSERT(*at == (void *)l);
    if (up) {
        struct branch *b = as_branch(*up);
        *up = b->child[at == &b->child[0]];
        free(b);
    } else {
        *at = NULL;
    }
    VEC_FREE(&l->owners);
    free(l);
    x->count--;
}

/* Where owner is, or would go. */
static size_t owner_slot(const struct revindex *x, const struct leaf *l, const void *owner)
{
    size_t lo = 0, hi = l->owners.len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (x->cmp(l->owners.items[mid], owner) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void revindex_init(struct revindex *x, int (*cmp)(const void *a, const void *b))
{
    *x = (struct revindex){.cmp = cmp};
}

static void free_below(void *p)
{
    if (!p)
        return;
    if (is_branch(p)) {
        struct branch *b = as_branch(p); /* depth is at most 128 */
        free_below(b->child[0]);
        free_below(b->child[1]);
        free(b);
    } else {
        VEC_FREE(&as_leaf(p)->owners);
        free(p);
    }
}

void revindex_done(struct revindex *x)
{
    free_below(x->root[0]);
    free_below(x->root[1]);
    x->root[0] = x->root[1] = NULL;
    x->count = 0;
}

void revindex_add(struct revindex *x, const struct ip *ip, void *owner)
{
    struct leaf *l = find(x, ip);
    if (!l)
        l = leaf_insert(x, ip);
    size_t i = owner_slot(x, l, owner);
    ASSERT(i == l->owners.len || l->owners.items[i] != owner);
    VEC_PUSH(&l->owners, owner);
    memmove(&l->owners.items[i + 1], &l->owners.items[i], (l->owners.len - 1 - i) * sizeof(void *));
    l->owners.items[i] = owner;
}

void revindex_del(struct revindex *x, const struct ip *ip, void *owner)
{
    struct leaf *l = find(x, ip);
    ASSERT(l != NULL);
    size_t i = owner_slot(x, l, owner);
    ASSERT(i < l->owners.len && l->owners.items[i] == owner);
    memmove(&l->owners.items[i], &l->owners.items[i + 1], (l->owners.len - 1 - i) * sizeof(void *));
    if (--l->owners.len == 0)
        leaf_remove(x, l);
}

struct rev_owners revindex_get(const struct revindex *x, const struct ip *ip)
{
    struct leaf *l = find(x, ip);
    return l ? (struct rev_owners){l->owners.items, l->owners.len} : (struct rev_owners){NULL, 0};
}

bool revindex_below(const struct revindex *x, uint8_t family, const uint8_t *prefix, size_t bits)
{
    ASSERT(bits <= (family == 6 ? 128 : 32));
    void *p = x->root[family_index(family)];

    while (is_branch(p) && as_branch(p)->bit < bits)
        p = as_branch(p)->child[bit_at(prefix, as_branch(p)->bit)];
    while (is_branch(p))
        p = as_branch(p)->child[0]; /* all below agree on the prefix: any leaf tells */
    if (!p)
        return false;
    const struct leaf *l = as_leaf(p);
    for (unsigned i = 0; i < bits; i++) {
        if (bit_at(l->ip.b, i) != bit_at(prefix, i))
            return false;
    }
    return true;
}
