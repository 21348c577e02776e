/* acl.h - identities, access control lists and the decision whether one lets the other in.
 *
 * Source: PrepRequestProcessor.fixupACL, ZooKeeperServer.checkACL, the authentication providers (3.9).
 * Threading: identity sets are immutable once made and reference counted (atomic), so that a request or a watcher can
 * carry the set that its connection had when it came in. */
#ifndef TREE_ACL_H
#define TREE_ACL_H

#include "jute/records.h"

struct auth_id {
    char *scheme, *id;
};
struct auth_ids {
    int refs; /* atomic */
    int32_t n;
    bool super; /* one of them has scheme "super" */
    struct auth_id v[];
};
/* A set with the connection's address: ("ip", text). */
struct auth_ids *auth_ids_new(const char *ip_text);
/* A new set: old plus one (no duplicates); takes over the caller's reference to old. */
struct auth_ids *auth_ids_add(struct auth_ids *old, const char *scheme, const char *id);
/* A set as another server sent it; entries that are null or hold a NUL are left out. */
struct auth_ids *auth_ids_from(struct jids l);
struct auth_ids *auth_ids_ref(struct auth_ids *ids);
void auth_ids_unref(struct auth_ids *ids); /* NULL is fine */

/* The digest identity of "user:password": "user:base64(SHA1(user:password))", owned. */
char *digest_identity(const void *user_password, size_t len);

/* Handles an auth packet's (scheme, data) for a connection with *ids: ZK_OK and the grown set, or ZK_AUTHFAILED (unknown scheme; more
 * than 256 identities).
 * super_digest: "super:hash" or NULL. */
int32_t auth_packet_apply(struct auth_ids **ids, struct jstr scheme, struct jbuf auth, const char *super_digest);

/* Any bit of `perm` suffices. acl.n <= 0 lets everybody in. */
bool acl_allows(struct jacls acl, const struct auth_ids *ids, int32_t perm);

/* What create and setACL do to the list they are given: duplicates dropped, "auth" expanded, ids checked.
 * ZK_OK, ZK_INVALIDACL or ZK_MARSHALLINGERROR. *ret borrows from acl, ids and the arena. */
int32_t acl_fixup(struct jacls acl, const struct auth_ids *ids, struct arena *a, struct jacls *ret);

#endif
