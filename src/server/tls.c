/* tls.c - see tls.h. */
#include "server/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"

enum { WHY_MAX = 192, PASSWORD_MAX = 1024, HOSTS_MAX = 8 };

struct tls_context {
    const struct tls_options *opt;
    SSL_CTX *ssl;
    BIO_METHOD *socket;
    struct timespec key_time, trust_time; /* of the files, when they were read */
};

struct tls {
    struct tls_context *ctx;
    SSL *ssl;
    char *hosts[HOSTS_MAX]; /* what the certificate may name; none: anything */
    size_t hosts_len;
    char *address;
    bool check, checked, wants_read, failed;
    char why[WHY_MAX];
};

/* ---- the socket: as OpenSSL's own, but a closed one raises no signal ---- */

static int bio_result(BIO *b, ssize_t n)
{
    BIO_clear_retry_flags(b);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_flags(b, BIO_FLAGS_SHOULD_RETRY);
    return (int)n;
}

static int fd_of(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}

static int bio_write(BIO *b, const char *p, int n)
{
    ssize_t put = send(fd_of(b), p, (size_t)n, MSG_NOSIGNAL);

    put = bio_result(b, put);
    if (put < 0 && BIO_should_retry(b))
        BIO_set_retry_write(b);
    return (int)put;
}

static int bio_read(BIO *b, char *p, int n)
{
    ssize_t got = recv(fd_of(b), p, (size_t)n, 0);

    got = bio_result(b, got);
    if (got < 0 && BIO_should_retry(b))
        BIO_set_retry_read(b);
    return (int)got;
}

static long bio_ctrl(BIO *b, int what, long n, void *p)
{
    (void)b, (void)n, (void)p;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");

    ASSERT(m);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

/* ---- stores ---- */

static const char *openssl_error(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;

    ERR_clear_error();
    return text ? text : "unknown reason";
}

static int fail(struct storage_error *err, int rc, const char *key, const char *path, const char *why)
{
    snprintf(err->text, sizeof(err->text), "ssl.quorum.%s%s%s: %s", key, path ? ": " : "", path ? path : "", why);
    return rc;
}

/* Into text, which the caller wipes. */
static int password_of(const struct tls_store *s, const char *key, char text[static PASSWORD_MAX], struct storage_error *err)
{
    text[0] = '\0';
    if (!s->password_file) {
        if (s->password)
            snprintf(text, PASSWORD_MAX, "%s", s->password);
        return 0;
    }
    FILE *f = fopen(s->password_file, "re");
    if (!f)
        return fail(err, RC_NOTFOUND, key, s->password_file, strerror(errno));
    if (!fgets(text, PASSWORD_MAX, f))
        text[0] = '\0';
    fclose(f);
    text[strcspn(text, "\r\n")] = '\0';
    return 0;
}

enum store_type { STORE_PEM, STORE_PKCS12, STORE_OTHER };

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && str_ieq(s + n - m, suffix);
}

static enum store_type type_of(const struct tls_store *s)
{
    if (s->type)
        return str_ieq(s->type, "PEM") ? STORE_PEM : str_ieq(s->type, "PKCS12") ? STORE_PKCS12 : STORE_OTHER;
    return has_suffix(s->path, ".pem")                                     ? STORE_PEM
           : has_suffix(s->path, ".p12") || has_suffix(s->path, ".pfx") ? STORE_PKCS12
                                                                        : STORE_OTHER;
}

static int not_readable_here(const char *key, const char *path, struct storage_error *err)
{
    return fail(err, RC_UNSUPPORTED, key, path,
                "neither PEM nor PKCS12; convert it: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12");
}

static int read_p12(const struct tls_store *s, const char *key, PKCS12 **ret, struct storage_error *err)
{
    FILE *f = fopen(s->path, "re");

    if (!f)
        return fail(err, RC_NOTFOUND, key, s->path, strerror(errno));
    *ret = d2i_PKCS12_fp(f, NULL);
    fclose(f);
    return *ret ? 0 : fail(err, RC_INVAL, key, s->path, openssl_error());
}

static int use_p12_key(SSL_CTX *ssl, const struct tls_store *s, const char *password, struct storage_error *err)
{
    PKCS12 *p12 = NULL;
    EVP_PKEY *pkey = NULL;
    X509 *cert = NULL;
    STACK_OF(X509) *chain = NULL;
    int rc = read_p12(s, "keyStore.location", &p12, err);

    if (rc < 0)
        return rc;
    if (!PKCS12_parse(p12, password, &pkey, &cert, &chain) || !pkey || !cert)
        rc = fail(err, RC_INVAL, "keyStore.location", s->path, openssl_error());
    else if (SSL_CTX_use_cert_and_key(ssl, cert, pkey, chain, 1) != 1)
        rc = fail(err, RC_INVAL, "keyStore.location", s->path, openssl_error());
    PKCS12_free(p12);
    EVP_PKEY_free(pkey);
    X509_free(cert);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

static int give_password(char *p, int n, int writing, void *data)
{
    (void)writing;
    int len = snprintf(p, (size_t)n, "%s", (const char *)data);

    return len < n ? len : -1;
}

static int use_key(SSL_CTX *ssl, const struct tls_store *s, struct storage_error *err)
{
    static const char *const key = "keyStore.location";
    char password[PASSWORD_MAX];
    enum store_type type = s->path ? type_of(s) : STORE_OTHER;
    int rc = password_of(s, "keyStore.passwordPath", password, err);

    if (rc == 0 && !s->path)
        rc = fail(err, RC_INVAL, key, NULL, "not set, and TLS between servers needs a key");
    else if (rc == 0 && type == STORE_OTHER)
        rc = not_readable_here(key, s->path, err);
    else if (rc == 0 && type == STORE_PKCS12)
        rc = use_p12_key(ssl, s, password, err);
    else if (rc == 0) {
        SSL_CTX_set_default_passwd_cb(ssl, give_password);
        SSL_CTX_set_default_passwd_cb_userdata(ssl, password);
        if (SSL_CTX_use_certificate_chain_file(ssl, s->path) != 1 || SSL_CTX_use_PrivateKey_file(ssl, s->path, SSL_FILETYPE_PEM) != 1)
            rc = fail(err, RC_INVAL, key, s->path, openssl_error());
        SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    }
    explicit_bzero(password, sizeof(password));
    if (rc == 0 && SSL_CTX_check_private_key(ssl) != 1)
        rc = fail(err, RC_INVAL, key, s->path, openssl_error());
    return rc;
}

/* Java marks trusted certificates in a way that OpenSSL gives as the rest of the chain. */
static int use_p12_trust(SSL_CTX *ssl, const struct tls_store *s, const char *password, struct storage_error *err)
{
    PKCS12 *p12 = NULL;
    EVP_PKEY *pkey = NULL;
    X509 *cert = NULL;
    STACK_OF(X509) *chain = NULL;
    int rc = read_p12(s, "trustStore.location", &p12, err);

    if (rc < 0)
        return rc;
    if (!PKCS12_parse(p12, password, &pkey, &cert, &chain))
        rc = fail(err, RC_INVAL, "trustStore.location", s->path, openssl_error());
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    if (cert)
        (void)X509_STORE_add_cert(store, cert);
    for (int i = 0; i < sk_X509_num(chain); i++)
        (void)X509_STORE_add_cert(store, sk_X509_value(chain, i));
    PKCS12_free(p12);
    EVP_PKEY_free(pkey);
    X509_free(cert);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

static int use_trust(SSL_CTX *ssl, const struct tls_store *s, struct storage_error *err)
{
    static const char *const key = "trustStore.location";
    char password[PASSWORD_MAX];

    if (!s->path)
        return SSL_CTX_set_default_verify_paths(ssl) == 1 ? 0 : fail(err, RC_INVAL, key, NULL, openssl_error());
    int rc = password_of(s, "trustStore.passwordPath", password, err);
    enum store_type type = type_of(s);
    if (rc == 0 && type == STORE_OTHER)
        rc = not_readable_here(key, s->path, err);
    else if (rc == 0 && type == STORE_PKCS12)
        rc = use_p12_trust(ssl, s, password, err);
    else if (rc == 0 && SSL_CTX_load_verify_file(ssl, s->path) != 1)
        rc = fail(err, RC_INVAL, key, s->path, openssl_error());
    explicit_bzero(password, sizeof(password));
    return rc;
}

/* ---- rules ---- */

static int use_protocols(SSL_CTX *ssl, const struct tls_options *opt, struct storage_error *err)
{
    const char *list = opt->protocols ? opt->protocols : opt->protocol && !str_ieq(opt->protocol, "TLSv1.3") ? opt->protocol : NULL;
    bool v12 = !list || strstr(list, "TLSv1.2"), v13 = !list || strstr(list, "TLSv1.3");

    if (!v12 && !v13)
        return fail(err, RC_INVAL, "enabledProtocols", NULL, "neither TLSv1.2 nor TLSv1.3");
    SSL_CTX_set_min_proto_version(ssl, v12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ssl, v13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    return 0;
}

/* IANA's names are Java's; those of TLS 1.3 are OpenSSL's too, and go into a list of their own. */
static int use_ciphers(SSL_CTX *ssl, const char *list, struct storage_error *err)
{
    struct wr old = wr_init(256), new = wr_init(256);
    int rc = 0;

    for (const char *p = list; p && *p && rc == 0;) {
        size_t n = strcspn(p, ", ");
        char name[128];

        snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name) - 1), p);
        p += n + strspn(p + n, ", ");
        bool v13 = str_has_prefix(name, "TLS_AES_") || str_has_prefix(name, "TLS_CHACHA20_");
        const char *known = v13 ? name : OPENSSL_cipher_name(name);
        if (!known || strcmp(known, "(NONE)") == 0)
            rc = fail(err, RC_INVAL, "ciphersuites", name, "unknown to OpenSSL");
        struct wr *w = v13 ? &new : &old;
        if (w->n > 0)
            wr_bytes(w, ":", 1);
        if (rc == 0)
            wr_bytes(w, known, strlen(known));
    }
    if (rc == 0 && old.n > 0 && SSL_CTX_set_cipher_list(ssl, wr_cstr(&old)) != 1)
        rc = fail(err, RC_INVAL, "ciphersuites", list, openssl_error());
    if (rc == 0 && new.n > 0 && SSL_CTX_set_ciphersuites(ssl, wr_cstr(&new)) != 1)
        rc = fail(err, RC_INVAL, "ciphersuites", list, openssl_error());
    wr_free(&old);
    wr_free(&new);
    return rc;
}

static int client_auth_of(const char *text, enum tls_client_auth *ret, struct storage_error *err)
{
    static const char *const words[] = { [TLS_CLIENT_NEED] = "need", [TLS_CLIENT_WANT] = "want", [TLS_CLIENT_NONE] = "none" };

    *ret = TLS_CLIENT_NEED;
    for (size_t i = 0; text && i < ARRAY_LEN(words); i++)
        if (str_ieq(text, words[i])) {
            *ret = (enum tls_client_auth)i;
            return 0;
        }
    return text ? fail(err, RC_INVAL, "clientAuth", text, "neither need, want nor none") : 0;
}

static int new_ssl(const struct tls_options *opt, SSL_CTX **ret, struct storage_error *err)
{
    enum tls_client_auth auth = TLS_CLIENT_NEED;
    int rc = client_auth_of(opt->client_auth, &auth, err);
    SSL_CTX *ssl = SSL_CTX_new(TLS_method());

    ASSERT(ssl);
    if (rc == 0)
        rc = use_protocols(ssl, opt, err);
    if (rc == 0)
        rc = use_ciphers(ssl, opt->ciphers, err);
    if (rc == 0)
        rc = use_key(ssl, &opt->key, err);
    if (rc == 0)
        rc = use_trust(ssl, &opt->trust, err);
    if (rc < 0) {
        SSL_CTX_free(ssl);
        return rc;
    }
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Nothing is resumed: OpenSSL refuses a ticket of its own where client certificates are asked for and no session context is set, and a resumed
     * session would outlive the certificate that it was made with. The number of tickets is TLS 1.3's, the option that of 1.2, which Java resumes by. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl, 0);
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    /* For the side that accepts; the one that connects always looks at the certificate. */
    SSL_CTX_set_verify(ssl, auth == TLS_CLIENT_NONE   ? SSL_VERIFY_NONE
                            : auth == TLS_CLIENT_WANT ? SSL_VERIFY_PEER
                                                      : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    *ret = ssl;
    return 0;
}

static struct timespec time_of(const char *path)
{
    struct stat st = { 0 };

    if (path && stat(path, &st) != 0)
        st = (struct stat){ 0 };
    return st.st_mtim;
}

int tls_context_new(const struct tls_options *opt, struct tls_context **ret, struct storage_error *err)
{
    struct tls_context *ctx = x_calloc(1, sizeof(*ctx));

    *ctx = (struct tls_context){ .opt = opt, .key_time = time_of(opt->key.path), .trust_time = time_of(opt->trust.path) };
    int rc = new_ssl(opt, &ctx->ssl, err);
    if (rc < 0) {
        free(ctx);
        return rc;
    }
    ctx->socket = socket_method();
    *ret = ctx;
    return 0;
}

void tls_context_free(struct tls_context *ctx)
{
    if (!ctx)
        return;
    SSL_CTX_free(ctx->ssl);
    BIO_meth_free(ctx->socket);
    free(ctx);
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* New files are taken when they are whole and fit; until then the old ones go on. */
static void look_for_new_files(struct tls_context *ctx)
{
    struct storage_error err = { "" };
    SSL_CTX *ssl;

    if (!ctx->opt->reload)
        return;
    struct timespec key = time_of(ctx->opt->key.path), trust = time_of(ctx->opt->trust.path);
    if (same_time(key, ctx->key_time) && same_time(trust, ctx->trust_time))
        return;
    ctx->key_time = key;
    ctx->trust_time = trust;
    if (new_ssl(ctx->opt, &ssl, &err) < 0) {
        log_warn("quorum", "new key or certificates are not usable, the old ones stay: %s", err.text);
        return;
    }
    SSL_CTX_free(ctx->ssl); /* connections have references of their own */
    ctx->ssl = ssl;
    log_info("quorum", "key and certificates read again");
}

/* ---- connections ---- */

static struct tls *tls_new(struct tls_context *ctx, int fd, const char *address)
{
    struct tls *t = x_calloc(1, sizeof(*t));

    look_for_new_files(ctx);
    BIO *bio = BIO_new(ctx->socket);
    t->ctx = ctx;
    t->ssl = SSL_new(ctx->ssl);
    ASSERT(t->ssl && bio);
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    t->address = x_strdup(address);
    return t;
}

struct tls *tls_connect(struct tls_context *ctx, int fd, const char *const *hosts, size_t count, const char *address)
{
    struct tls *t = tls_new(ctx, fd, address);

    t->check = !ctx->opt->any_host;
    for (size_t i = 0; i < count && i < HOSTS_MAX; i++)
        t->hosts[t->hosts_len++] = x_strdup(hosts[i]);
    if (count > 0 && !strchr(hosts[0], ':') && strspn(hosts[0], "0123456789.") != strlen(hosts[0]))
        (void)SSL_set_tlsext_host_name(t->ssl, hosts[0]);
    SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
    SSL_set_connect_state(t->ssl);
    return t;
}

struct tls *tls_accept(struct tls_context *ctx, int fd, const char *address)
{
    struct tls *t = tls_new(ctx, fd, address);

    t->check = ctx->opt->verify_client_host;
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    for (size_t i = 0; i < t->hosts_len; i++)
        free(t->hosts[i]);
    free(t->address);
    free(t);
}

static int broken(struct tls *t, const char *why)
{
    if (!t->failed)
        snprintf(t->why, sizeof(t->why), "TLS: %s", why);
    t->failed = true;
    return RC_IO;
}

/* What OpenSSL made of a call. */
static int result(struct tls *t, int n)
{
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        t->wants_read = true;
        return RC_BUSY;
    case SSL_ERROR_WANT_WRITE:
        t->wants_read = false;
        return RC_BUSY;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return broken(t, "connection reset");
    default: {
        long verdict = SSL_get_verify_result(t->ssl);

        if (verdict == X509_V_OK)
            return broken(t, openssl_error());
        ERR_clear_error();
        return broken(t, X509_verify_cert_error_string(verdict));
    }
    }
}

static bool names(X509 *cert, const char *host)
{
    return X509_check_ip_asc(cert, host, 0) == 1 || X509_check_host(cert, host, 0, 0, NULL) == 1;
}

static int check_names(struct tls *t)
{
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    char why[WHY_MAX - 8];
    bool ok = !t->check || !cert || names(cert, t->address); /* no certificate: the rules of clientAuth have allowed that */

    for (size_t i = 0; i < t->hosts_len && !ok; i++)
        ok = names(cert, t->hosts[i]);
    t->checked = ok;
    if (ok)
        return 0;
    snprintf(why, sizeof(why), "its certificate does not name %s", t->hosts_len ? t->hosts[0] : t->address);
    return broken(t, why);
}

/* 0 when the connection may be used. */
static int shake_hands(struct tls *t)
{
    if (t->checked || t->failed)
        return t->failed ? RC_IO : 0;
    ERR_clear_error();
    int n = SSL_do_handshake(t->ssl);
    if (n == 1)
        return check_names(t);
    int rc = result(t, n);
    return rc == 0 ? broken(t, "closed by the other end during the handshake") : rc;
}

ssize_t tls_recv(struct tls *t, uint8_t *p, size_t n)
{
    int rc = shake_hands(t);

    if (rc < 0)
        return rc;
    ERR_clear_error();
    int got = SSL_read(t->ssl, p, (int)MIN(n, (size_t)INT32_MAX));
    return got > 0 ? got : result(t, got);
}

ssize_t tls_send(struct tls *t, const uint8_t *p, size_t n)
{
    int rc = shake_hands(t);

    if (rc < 0)
        return rc;
    ERR_clear_error();
    t->wants_read = false;
    int put = SSL_write(t->ssl, p, (int)MIN(n, (size_t)INT32_MAX));
    if (put > 0)
        return put;
    rc = result(t, put);
    return rc == 0 ? broken(t, "closed by the other end") : rc;
}

bool tls_send_waits_for_input(const struct tls *t)
{
    return t->wants_read;
}

bool tls_has_input(const struct tls *t)
{
    return !t->failed && SSL_pending(t->ssl) > 0;
}

bool tls_has_shaken_hands(const struct tls *t)
{
    return t->checked;
}

bool tls_is_ready(const struct tls *t)
{
    return t->checked && !t->failed;
}

void tls_say_goodbye(struct tls *t)
{
    if (t->checked && !t->failed)
        (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
}

const char *tls_why(const struct tls *t)
{
    return t->failed ? t->why : "connection reset";
}
