/* ops.h - bodies of requests and replies: from the arguments of the public calls to bytes, and from bytes to results.
 *
 * Pure functions. Paths given to a writer are the caller's, without the chroot, which is put in front here and taken off
 * again in what replies show. */
#ifndef CLIENT_OPS_H
#define CLIENT_OPS_H

#include "base/arena.h"
#include "jute/records.h"
#include "quoll/quoll.h"

/* Writes chroot + path as a ustring ("/" under a chroot is the chroot itself). */
void ops_write_path(struct wr *w, const char *chroot, const char *path);
/* The same as an owned text. */
char *ops_server_path(const char *chroot, const char *path);
/* The caller's view of a server path, a pointer into it or "/". Paths outside the chroot (as of /zookeeper/config) are
 * shown whole. */
const char *ops_client_path(const char *chroot, const char *path);

/* acls NULL: world:anyone with all permissions. */
void ops_write_acls(struct wr *w, const struct quoll_acl *acls, size_t count);

/* What makes a path unusable in a request, or NULL. A sequential name is checked with a digit appended, so that "/a/"
 * is good. */
const char *ops_path_problem(const char *path, bool sequential);
/* The opcode that creates a node of this mode. */
int32_t ops_create_opcode(enum quoll_create_mode mode);
/* Body of create, create2, createContainer, createTTL. */
void ops_write_create(struct wr *w, const char *chroot, const char *path, const void *value, size_t len,
                      const struct quoll_acl *acls, size_t acl_count, enum quoll_create_mode mode, int64_t ttl_ms);
/* Checks one step of a multi (reads: of a multiRead). 0 or QUOLL_BAD_ARGUMENTS. */
int ops_check_step(const struct quoll_op *op, bool reads);
/* Body of a multi or multiRead whose steps were checked. */
void ops_write_multi(struct wr *w, const char *chroot, const struct quoll_op *ops, size_t count);

/* Decodes the body of the reply to a request of this opcode; header errors other than 0 have no body and do not come
 * here. Fills *ret from borrowed bytes and the arena (texts are NUL-terminated copies); ret->err and ret->zxid are left
 * alone, except that a multi's err is its first failing step's. Returns 0, RC_SHORT or RC_MALFORMED. */
int ops_read_reply(int32_t opcode, struct rd *r, struct arena *a, const char *chroot, struct quoll_result *ret);

#endif
