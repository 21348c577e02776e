/* harness.h - a server core with its tree, a log that is a list, and requests written as text.
 *
 * Requests   create PATH DATA FLAGS [ACL] | create2 ... | container ... | ttl PATH DATA FLAGS TTL | delete PATH VERSION
 *            set PATH DATA VERSION | setacl PATH ACL VERSION | check PATH VERSION | close | reconfig
 *            multi REQUEST ; REQUEST ; ...
 * Words      ~ is null, '' is empty, %41 is a byte. ACL: open | null | none | SCHEME:ID:PERMS[,...] (default open; ID may hold ':') */
#ifndef HARNESS_H
#define HARNESS_H

/* clang-format off: cmocka wants these first */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "server/core.h"

struct got { /* an effect, kept */
    enum core_effect_type type;
    uint64_t conn;
    int64_t zxid, session_id;
    int32_t err, op, xid, timeout_ms;
    bool read_only;   /* SESSION_READY */
    struct buf bytes; /* REPLY: frame */
    struct rd body;   /* REPLY: behind the header */
    uint8_t passwd[ZK_PASSWORD_LEN];
};

struct world {
    struct core_config cfg;
    struct tree_options opt;
    struct tree *tree;
    struct core *core;
    struct arena arena; /* everything that lives as long as the world */
    struct auth_ids *ids;
    int64_t now, wall;
    int64_t appended;
    int64_t session; /* of conn 1 */
    int32_t xid;
    struct VEC(struct buf) log;
    struct VEC(struct got) got;
};

#define WALL0 INT64_C(1700000000000)

void world_init(struct world *w); /* defaults in w->cfg; change them, then world_start */
void world_start(struct world *w); /* with a session on connection 1 */
void world_done(struct world *w);
void world_pump(struct world *w);  /* takes the effects over */
void world_flush(struct world *w); /* all durable, all applied */
void world_tick(struct world *w, int64_t ms);
void world_stall(struct world *w, int64_t ms); /* the same in one step: the server stood still so long */
int64_t world_connect(struct world *w, uint64_t conn, int32_t timeout_ms); /* a new session, established */

/* Text to a request's body; *op gets the opcode. */
struct buf request_body(struct world *w, const char *text, int32_t *op);
/* Submits on conn 1's session; returns the xid. */
int32_t submit(struct world *w, const char *text);
int32_t submit_on(struct world *w, uint64_t conn, int64_t session, const char *text);
int32_t submit_raw(struct world *w, int32_t op, struct buf body);
const struct got *reply_of(const struct world *w, int32_t xid); /* NULL: none yet */
/* Submits and flushes; the reply must have come. */
const struct got *call(struct world *w, const char *text);
int32_t call_err(struct world *w, const char *text);
size_t count_got(const struct world *w, enum core_effect_type type, uint64_t conn);

bool exists(const struct world *w, const char *path);
/* A tree that applied nothing but the log. Caller frees. Asserts every attached digest on the way. */
struct tree *replay(const struct world *w);
/* Same digest, same session table, same ephemerals, and the invariants hold. */
void assert_same_tree(const struct tree *a, const struct tree *b);
struct buf hex(struct world *w, const char *text); /* spaces are ignored */
void assert_hex(struct world *w, struct buf got, const char *expected);

#endif
