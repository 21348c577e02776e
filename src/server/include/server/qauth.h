/* qauth.h - authentication between servers: DIGEST-MD5 by libsasl2, in packets as Apache's servers exchange them.
 *
 * Use        One struct qsasl holds who may log in here and as whom we log in elsewhere; one struct qauth is one exchange on one connection.
 * Threading  One thread at a time for all of them. No socket, no waiting: bytes in, bytes out.
 * Secrets    Passwords come from a JAAS file, and are in no error text.
 * Source     SaslQuorumAuthLearner, SaslQuorumAuthServer, QuorumAuthPacket (3.8); RFC 2831, qop auth. */
#ifndef SERVER_QAUTH_H
#define SERVER_QAUTH_H

#include "base/bytes.h"
#include "storage/storage.h"

#define QAUTH_TOKEN_MAX 4096
#define QAUTH_PACKET_MAX (8 + 4 + 4 + QAUTH_TOKEN_MAX)

struct qsasl_options {
    bool enabled;         /* quorum.auth.enableSasl */
    bool learner_require; /* we authenticate where we connect */
    bool server_require;  /* who connects to us must */
    char *jaas_file;      /* java.security.auth.login.config */
    char *server_section, *learner_section; /* NULL: QuorumServer, QuorumLearner */
};

struct qsasl;
/* Reads both sections. Errors of the file, and RC_UNSUPPORTED: another login module, or libsasl2 has no DIGEST-MD5. */
int qsasl_new(const struct qsasl_options *opt, struct qsasl **ret, struct storage_error *err);
void qsasl_free(struct qsasl *s); /* after all exchanges; NULL is fine */

enum qauth_result {
    QAUTH_MORE,   /* wait for more bytes */
    QAUTH_DONE,   /* authenticated */
    QAUTH_NONE,   /* the other end does not authenticate, and need not; nothing was consumed */
    QAUTH_FAILED, /* send what is in out, then close */
};

struct qauth;
/* server: the other end authenticates; required: it must. Else we do, and out gets the first packet. Borrows s. */
struct qauth *qauth_new(struct qsasl *s, bool server, bool required, struct wr *out);
void qauth_free(struct qauth *a); /* NULL is fine */
/* Looks at n bytes that came, and says in *ret_used how many it took (also with QAUTH_MORE); puts packets to send into out. */
enum qauth_result qauth_take(struct qauth *a, const uint8_t *p, size_t n, size_t *ret_used, struct wr *out);
bool qauth_may_skip(const struct qauth *a); /* the other end has not begun, and need not: its silence is as good as QAUTH_NONE */
const char *qauth_why(const struct qauth *a);  /* after QAUTH_FAILED: one line; none of it is the other end's text */
const char *qauth_user(const struct qauth *a); /* of a server, after QAUTH_DONE */

#endif
