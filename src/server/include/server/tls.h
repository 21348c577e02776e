/* tls.h - TLS on a non-blocking socket: OpenSSL behind four functions.
 *
 * Purpose    Keys, trust and rules as `ssl.quorum.*` of the reference describes them; the handshake happens inside the first calls of tls_recv and tls_send.
 * Stores     PEM (private key and certificate chain in one file; trusted certificates) and PKCS12. JKS is Java's own: keytool converts it.
 * Checks     The certificate of who is called has to name the host that was called (a DNS name or an IP address of it) unless switched off; that of a caller its
 *            address if switched on. Not before that is sure is a byte handed out or sent.
 * Threading  One thread per context and its connections.
 * Errors     RC_BUSY: nothing for now; RC_IO: the connection is unusable, tls_why says why; at making, storage_error names key and file.
 * Source     X509Util, ZKTrustManager, SSLContextAndOptions (3.8). */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include "base/bytes.h"
#include "storage/storage.h"

enum tls_client_auth { TLS_CLIENT_NEED, TLS_CLIENT_WANT, TLS_CLIENT_NONE };

struct tls_store {
    char *path;
    char *password;      /* NULL: none */
    char *password_file; /* its first line is the password; wins */
    char *type;          /* "PEM", "PKCS12"; NULL: from the file's suffix */
};
struct tls_options {
    struct tls_store key, trust; /* trust.path NULL: the system's certificates */
    char *client_auth;           /* "need", "want", "none"; NULL: need */
    char *protocol;              /* the highest: "TLSv1.2" or "TLSv1.3"; NULL: the latter */
    char *protocols;             /* "TLSv1.2,TLSv1.3"; NULL: both, as far as protocol allows */
    char *ciphers;               /* comma list of IANA's names (as Java's); NULL: OpenSSL's choice */
    bool any_host;               /* hostnameVerification=false */
    bool verify_client_host;     /* clientHostnameVerification=true */
    bool reload;                 /* sslQuorumReloadCertFiles: look at the files' times before every connection */
};

struct tls_context;
struct tls;

/* opt is borrowed and must outlive the context. RC_NOTFOUND, RC_INVAL, RC_UNSUPPORTED. */
int tls_context_new(const struct tls_options *opt, struct tls_context **ret, struct storage_error *err);
void tls_context_free(struct tls_context *ctx); /* NULL is fine */

/* fd stays the caller's. host: what was called, copied; address: the other end's, without a port; for the checks above. */
struct tls *tls_connect(struct tls_context *ctx, int fd, const char *const *hosts, size_t count, const char *address);
struct tls *tls_accept(struct tls_context *ctx, int fd, const char *address);
void tls_free(struct tls *t); /* NULL is fine */

ssize_t tls_recv(struct tls *t, uint8_t *p, size_t n);       /* bytes, 0 at the end, RC_BUSY, RC_IO */
ssize_t tls_send(struct tls *t, const uint8_t *p, size_t n); /* bytes, RC_BUSY, RC_IO. Whoever repeats it sends the same bytes first */
/* The last tls_send stopped because something has to be received first: wait for that, not for room. */
bool tls_send_waits_for_input(const struct tls *t);
bool tls_is_ready(const struct tls *t);  /* the handshake is over and all checks have passed */
bool tls_has_shaken_hands(const struct tls *t); /* also of a connection that failed later */
bool tls_has_input(const struct tls *t); /* decrypted bytes wait that poll knows nothing of */
void tls_say_goodbye(struct tls *t);     /* close_notify, as far as the socket takes it */
const char *tls_why(const struct tls *t);

/* Could these first bytes of a connection be TLS's? No packet of the quorum's protocols begins so. */
static inline bool tls_begins(uint8_t first)
{
    return first == 0x16; /* a record of type handshake (RFC 8446, 5.1) */
}

#endif
