/* acl.c - identities and the decision who may do what. */
#include "tree/acl.h"

#include <arpa/inet.h>
#include <openssl/evp.h>

#include "base/map.h"
#include "base/str.h"

/* Both far above any use, against one connection that makes work for the core thread out of small packets. */
#define AUTH_IDS_MAX 256
#define ACL_EXPANDED_MAX 200000

/* ---- sets of identities ---- */
static struct auth_ids *ids_alloc(int32_t n)
{
    struct auth_ids *ids = x_calloc(1, sizeof(*ids) + (size_t)n * sizeof(ids->v[0]));
    ids->refs = 1;
    ids->n = n;
    return ids;
}

struct auth_ids *auth_ids_new(const char *ip_text)
{
    struct auth_ids *ids = ids_alloc(1);
    ids->v[0] = (struct auth_id){ x_strdup("ip"), x_strdup(ip_text) };
    return ids;
}

struct auth_ids *auth_ids_add(struct auth_ids *old, const char *scheme, const char *id)
{
    int32_t n = old ? old->n : 0;
    for (int32_t i = 0; i < n; i++)
        if (strcmp(old->v[i].scheme, scheme) == 0 && strcmp(old->v[i].id, id) == 0)
            return old;
    struct auth_ids *ids = ids_alloc(n + 1);
    for (int32_t i = 0; i < n; i++)
        ids->v[i] = (struct auth_id){ x_strdup(old->v[i].scheme), x_strdup(old->v[i].id) };
    ids->v[n] = (struct auth_id){ x_strdup(scheme), x_strdup(id) };
    ids->super = (old && old->super) || strcmp(scheme, "super") == 0;
    auth_ids_unref(old);
    return ids;
}

static bool is_c_text(struct jstr s)
{
    return s.p && !memchr(s.p, 0, (size_t)s.n);
}

struct auth_ids *auth_ids_from(struct jids l)
{
    struct auth_ids *ids = ids_alloc(MAX(l.n, 0));
    ids->n = 0;
    for (int32_t i = 0; i < l.n; i++) {
        const struct jid *e = &l.v[i];
        if (!is_c_text(e->scheme) || !is_c_text(e->id))
            continue;
        ids->super |= jstr_is(e->scheme, "super");
        ids->v[ids->n++] = (struct auth_id){ x_strndup(e->scheme.p, (size_t)e->scheme.n), x_strndup(e->id.p, (size_t)e->id.n) };
    }
    return ids;
}

struct auth_ids *auth_ids_ref(struct auth_ids *ids)
{
    if (ids)
        __atomic_fetch_add(&ids->refs, 1, __ATOMIC_RELAXED);
    return ids;
}

void auth_ids_unref(struct auth_ids *ids)
{
    /* Release pairs with the acquire of whoever frees: all uses come before. */
    if (!ids || __atomic_sub_fetch(&ids->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (int32_t i = 0; i < ids->n; i++) {
        free(ids->v[i].scheme);
        free(ids->v[i].id);
    }
    free(ids);
}

/* ---- digest ---- */
char *digest_identity(const void *user_password, size_t len)
{
    uint8_t sha[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    ASSERT(EVP_Digest(user_password, len, sha, &n, EVP_sha1(), NULL) == 1);
    const char *colon = memchr(user_password, ':', len);
    char *hash = base64_encode(sha, n);
    char *id = x_asprintf("%.*s:%s", (int)(colon ? (size_t)(colon - (const char *)user_password) : len),
                          (const char *)user_password, hash);
    free(hash);
    return id;
}

int32_t auth_packet_apply(struct auth_ids **ids, struct jstr scheme, struct jbuf auth, const char *super_digest)
{
    if (jstr_is(scheme, "ip"))
        return ZK_OK; /* the address has been there since the connection was accepted */
    if (!jstr_is(scheme, "digest") || !auth.p)
        return ZK_AUTHFAILED;
    if (*ids && (*ids)->n >= AUTH_IDS_MAX)
        return ZK_AUTHFAILED;
    char *id = digest_identity(auth.p, (size_t)auth.n);
    if (super_digest && strcmp(id, super_digest) == 0)
        *ids = auth_ids_add(*ids, "super", "");
    *ids = auth_ids_add(*ids, "digest", id);
    free(id);
    return ZK_OK;
}

/* ---- ip: address or address/bits ---- */
struct ip_range {
    uint8_t addr[16];
    int len; /* 4 or 16 bytes */
    int bits;
};

/* Java's parseInt over the whole text; -1 when it is none or out of [0, max]. */
static int small_number(const char *p, size_t n, int max)
{
    if (n > 0 && *p == '+')
        p++, n--;
    if (n == 0 || n > 9)
        return -1;
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v <= max ? v : -1;
}

static bool parse_v4(const char *p, size_t n, uint8_t addr[4])
{
    for (int i = 0; i < 4; i++) {
        const char *dot = memchr(p, '.', n);
        size_t part = i == 3 ? n : dot ? (size_t)(dot - p) : 0;
        int v = small_number(p, part, 255);
        if (v < 0 || (i == 3 && dot))
            return false;
        addr[i] = (uint8_t)v;
        p += part + (i < 3);
        n -= part + (i < 3);
    }
    return true;
}

static bool parse_v6(const char *p, size_t n, uint8_t addr[16])
{
    char text[INET6_ADDRSTRLEN];
    const char *scope = memchr(p, '%', n);
    if (scope)
        n = (size_t)(scope - p);
    if (n >= sizeof(text))
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    return strlen(text) == n && inet_pton(AF_INET6, text, addr) == 1;
}

static bool parse_range(const char *p, size_t n, struct ip_range *ret)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    const char *slash = memchr(p, '/', n);
    size_t len = slash ? (size_t)(slash - p) : n;
    if (parse_v4(p, len, ret->addr))
        ret->len = 4;
    else if (parse_v6(p, len, ret->addr))
        ret->len = 16;
    else
        return false;
    ret->bits = ret->len * 8;
    if (slash)
        ret->bits = small_number(slash + 1, n - len - 1, ret->bits);
    /* An IPv4 address in IPv6 clothes, as a socket that listens on both reports it, is that IPv4 address. */
    if (ret->len == 16 && memcmp(ret->addr, mapped, 12) == 0 && ret->bits >= 96) {
        memmove(ret->addr, ret->addr + 12, 4);
        ret->len = 4;
        ret->bits -= 96;
    }
    return ret->bits >= 0;
}

static bool ip_matches(struct jstr acl_id, const char *remote)
{
    struct ip_range want, have;
    if (!acl_id.p || !parse_range(acl_id.p, (size_t)acl_id.n, &want) || strchr(remote, '/') ||
        !parse_range(remote, strlen(remote), &have) || want.len != have.len)
        return false;
    int whole = want.bits / 8, rest = want.bits % 8;
    if (memcmp(want.addr, have.addr, (size_t)whole) != 0)
        return false;
    return rest == 0 || (want.addr[whole] ^ have.addr[whole]) >> (8 - rest) == 0;
}

/* ---- decisions ---- */
static bool id_matches(const struct jacl *e, const struct auth_id *id)
{
    if (!jstr_is(e->scheme, id->scheme))
        return false;
    return strcmp(id->scheme, "ip") == 0 ? ip_matches(e->id, id->id) : jstr_is(e->id, id->id);
}

bool acl_allows(struct jacls acl, const struct auth_ids *ids, int32_t perm)
{
    if (acl.n <= 0 || (ids && ids->super))
        return true;
    for (int32_t i = 0; i < acl.n; i++) {
        const struct jacl *e = &acl.v[i];
        if ((e->perms & perm) == 0)
            continue;
        if (jstr_is(e->scheme, "world") && jstr_is(e->id, "anyone"))
            return true;
        for (int32_t k = 0; ids && k < ids->n; k++)
            if (id_matches(e, &ids->v[k]))
                return true;
    }
    return false;
}

/* ---- what create and setACL accept ---- */
/* Java's split(":") drops empty parts at the end: two parts must be left. */
static bool digest_id_valid(struct jstr id)
{
    int32_t n = id.n, colons = 0;
    while (n > 0 && id.p[n - 1] == ':')
        n--;
    for (int32_t i = 0; i < n; i++)
        colons += id.p[i] == ':';
    return n > 0 && colons == 1;
}

static bool acl_eq(const struct jacl *a, const struct jacl *b)
{
    return a->perms == b->perms && jstr_eq(a->scheme, b->scheme) && jstr_eq(a->id, b->id);
}

/* The distinct entries in their order. Hashed: a packet has room for a list so long that comparing all pairs would take
 * the core thread minutes. */
static struct jacls distinct(struct jacls acl, struct arena *a)
{
    struct jacls once = { arena_alloc(a, (size_t)acl.n * sizeof(*once.v)), 0 };
    size_t cap = 16;
    while (cap < 2 * (size_t)acl.n)
        cap *= 2;
    int32_t *slots = arena_calloc(a, cap, sizeof(*slots)); /* index + 1 into once */
    for (int32_t i = 0; i < acl.n; i++) {
        const struct jacl *e = &acl.v[i];
        uint64_t h = hash_u64(hash_bytes(e->id.p, (size_t)e->id.n) + (uint32_t)e->perms);
        size_t k = h & (cap - 1);
        while (slots[k] && !acl_eq(&once.v[slots[k] - 1], e))
            k = (k + 1) & (cap - 1);
        if (slots[k])
            continue;
        once.v[once.n++] = *e;
        slots[k] = once.n;
    }
    return once;
}

/* "auth" stands for those identities of the caller that prove who it is; an address does not. */
static bool proves(const struct auth_id *id)
{
    return strcmp(id->scheme, "digest") == 0;
}

static int32_t fixup_entry(const struct jacl *e, const struct auth_ids *ids, struct jacls *ret)
{
    if (!e->scheme.p)
        return ZK_INVALIDACL;
    if (jstr_is(e->scheme, "auth")) {
        int32_t before = ret->n;
        for (int32_t k = 0; ids && k < ids->n; k++)
            if (proves(&ids->v[k]))
                ret->v[ret->n++] = (struct jacl){ e->perms, jstr_of(ids->v[k].scheme), jstr_of(ids->v[k].id) };
        return ret->n > before ? ZK_OK : ZK_INVALIDACL;
    }
    bool world = jstr_is(e->scheme, "world"), ip = jstr_is(e->scheme, "ip"), digest = jstr_is(e->scheme, "digest");
    if (!e->id.p && (world || ip || digest))
        return ZK_MARSHALLINGERROR;
    struct ip_range range;
    bool valid = world    ? jstr_is(e->id, "anyone")
                 : ip     ? parse_range(e->id.p, (size_t)e->id.n, &range)
                 : digest ? digest_id_valid(e->id)
                          : false; /* no such scheme here */
    if (valid)
        ret->v[ret->n++] = *e;
    return valid ? ZK_OK : ZK_INVALIDACL;
}

int32_t acl_fixup(struct jacls acl, const struct auth_ids *ids, struct arena *a, struct jacls *ret)
{
    if (acl.n <= 0)
        return ZK_INVALIDACL;
    struct jacls once = distinct(acl, a), out = { NULL, 0 };
    size_t auths = 0;
    for (int32_t i = 0; i < once.n; i++)
        auths += jstr_is(once.v[i].scheme, "auth");
    size_t most = (size_t)once.n + auths * (size_t)(ids ? ids->n : 0);
    if (most > ACL_EXPANDED_MAX)
        return ZK_INVALIDACL;
    out.v = arena_alloc(a, most * sizeof(*out.v));
    for (int32_t i = 0; i < once.n; i++) {
        int32_t err = fixup_entry(&once.v[i], ids, &out);
        if (err != ZK_OK)
            return err;
    }
    *ret = out;
    return ZK_OK;
}
