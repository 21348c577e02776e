/* qauth.c - DIGEST-MD5 between servers by libsasl2, and the packets around it. */
#include "server/qauth.h"

#include <ctype.h>
#include <sasl/prop.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/str.h"
#include "jaas.h"

#define MAGIC UINT64_C(0x5F2435013501EDCC)
#define SERVICE "zookeeper-quorum"
#define SERVER_NAME "zk-quorum-sasl-md5"
#define MECHANISM "DIGEST-MD5"
#define ROUNDS_MAX 5
#define DIRECTIVES_MAX 32
#define CB_ACCOUNTS 0x8F01ul /* of ours: how a look-up finds the accounts of its connection */

enum status { IN_PROGRESS = 0, SUCCESS = 1, ERROR = -1 };

struct qsasl {
    struct jaas_section server, learner;
    sasl_secret_t *secret;
    sasl_callback_t client_callbacks[4], server_callbacks[2];
};

struct qauth {
    sasl_conn_t *conn;
    bool server, required;
    bool begun;    /* server: the mechanism has had its first token */
    bool proven;   /* client: the server has shown that it knows the password */
    int rounds;
    char why[128];
};

/* ---- the library ---- */

#define CALLBACK(fn) ((int (*)(void))(void (*)(void))(fn))

static int get_option(void *data, const char *plugin, const char *option, const char **ret, unsigned *ret_len)
{
    (void)data, (void)plugin;
    if (strcmp(option, "auxprop_plugin") == 0)
        *ret = "quoll";
    else if (strcmp(option, "mech_list") == 0)
        *ret = MECHANISM;
    else
        return SASL_FAIL;
    if (ret_len)
        *ret_len = (unsigned)strlen(*ret);
    return SASL_OK;
}

/* What goes wrong is told by result codes; the library's own lines carry the other end's text. */
static int ignore_log(void *data, int level, const char *text)
{
    (void)data, (void)level, (void)text;
    return SASL_OK;
}

static int no_function(void)
{
    return SASL_OK;
}

static const char *password_of(const struct jaas_section *accounts, const char *user, size_t n)
{
    static const char realm[] = "@" SERVER_NAME;
    size_t tail = sizeof(realm) - 1;

    for (int whole = 1; whole >= 0; whole--) {
        for (size_t i = 0; i < accounts->options.len; i++) {
            const struct jaas_option *o = &accounts->options.items[i];
            if (str_has_prefix(o->name, "user_") && buf_is(buf_of(user, n), o->name + 5))
                return o->value;
        }
        if (n <= tail || memcmp(user + n - tail, realm, tail) != 0)
            break;
        n -= tail; /* as the mechanism names a user of a realm */
    }
    return NULL;
}

static int look_up(void *plugin_data, sasl_server_params_t *params, unsigned flags, const char *user, unsigned n)
{
    sasl_callback_ft fn = NULL;
    void *accounts = NULL;

    (void)plugin_data, (void)flags;
    if (params->utils->getcallback(params->utils->conn, CB_ACCOUNTS, &fn, &accounts) != SASL_OK || !accounts)
        return SASL_FAIL;
    const char *password = password_of(accounts, user, n);
    const struct propval *v = params->utils->prop_get(params->propctx);
    for (; password && v && v->name; v++)
        if (strcmp(v->name, "*" SASL_AUX_PASSWORD_PROP) == 0 || strcmp(v->name, SASL_AUX_PASSWORD_PROP) == 0)
            (void)params->utils->prop_set(params->propctx, v->name, password, -1); /* without it: a wrong password */
    return password ? SASL_OK : SASL_NOUSER;
}

static int auxprop_init(const sasl_utils_t *utils, int max_version, int *ret_version, sasl_auxprop_plug_t **ret, const char *name)
{
    static char plug_name[] = "quoll";
    static sasl_auxprop_plug_t plug = { .auxprop_lookup = look_up, .name = plug_name };

    (void)utils, (void)name;
    if (max_version < SASL_AUXPROP_PLUG_VERSION)
        return SASL_BADVERS;
    *ret_version = SASL_AUXPROP_PLUG_VERSION;
    *ret = &plug;
    return SASL_OK;
}

/* The library's state is the process's: begun once, by the first who needs it. */
static int library_init(void)
{
    static const sasl_callback_t callbacks[] = { { SASL_CB_GETOPT, CALLBACK(get_option), NULL },
                                                 { SASL_CB_LOG, CALLBACK(ignore_log), NULL },
                                                 { SASL_CB_LIST_END, NULL, NULL } };
    static bool done;
    int rc = SASL_OK;

    if (done)
        return rc;
    rc = sasl_client_init(callbacks);
    if (rc == SASL_OK)
        rc = sasl_auxprop_add_plugin("quoll", auxprop_init);
    if (rc == SASL_OK)
        rc = sasl_server_init(callbacks, "quoll");
    done = rc == SASL_OK;
    return rc;
}

static int get_name(void *data, int id, const char **ret, unsigned *ret_len)
{
    (void)id;
    *ret = data;
    if (ret_len)
        *ret_len = (unsigned)strlen(*ret);
    return SASL_OK;
}

static int get_secret(sasl_conn_t *conn, void *data, int id, sasl_secret_t **ret)
{
    (void)conn, (void)id;
    *ret = data;
    return SASL_OK;
}

/* ---- who ---- */

static int read_section(const char *path, const char *name, struct jaas_section *ret, struct storage_error *err)
{
    int rc = jaas_read(path, name, ret, err);

    if (rc < 0 || str_has_suffix(ret->module, "DigestLoginModule"))
        return rc;
    (void)snprintf(err->text, sizeof(err->text), "%s:%d: %s: only DIGEST-MD5 is supported, by DigestLoginModule%s", path, ret->line, name,
                   str_has_suffix(ret->module, "Krb5LoginModule") ? ", not Kerberos (GSSAPI)" : ""); /* cut, if ever, at its end */
    return RC_UNSUPPORTED;
}

static int lacks(const char *path, const struct jaas_section *s, const char *name, const char *what, struct storage_error *err)
{
    (void)snprintf(err->text, sizeof(err->text), "%s:%d: %s has no %s", path, s->line, name, what); /* cut, if ever, at its end */
    return RC_INVAL;
}

static int read_accounts(struct qsasl *s, const struct qsasl_options *opt, struct storage_error *err)
{
    const char *server = opt->server_section ? opt->server_section : "QuorumServer";
    const char *learner = opt->learner_section ? opt->learner_section : "QuorumLearner";
    int rc = read_section(opt->jaas_file, server, &s->server, err);
    size_t users = 0;

    if (rc == 0)
        rc = read_section(opt->jaas_file, learner, &s->learner, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < s->server.options.len; i++)
        users += str_has_prefix(s->server.options.items[i].name, "user_");
    if (users == 0)
        return lacks(opt->jaas_file, &s->server, server, "user_NAME=\"password\"", err);
    if (!jaas_option(&s->learner, "username"))
        return lacks(opt->jaas_file, &s->learner, learner, "username", err);
    return jaas_option(&s->learner, "password") ? 0 : lacks(opt->jaas_file, &s->learner, learner, "password", err);
}

static void fill_callbacks(struct qsasl *s)
{
    void *user = (void *)(uintptr_t)jaas_option(&s->learner, "username");
    const char *password = jaas_option(&s->learner, "password");
    size_t n = strlen(password);

    s->secret = x_calloc(1, sizeof(*s->secret) + n + 1);
    s->secret->len = n;
    memcpy(s->secret->data, password, n);
    s->client_callbacks[0] = (sasl_callback_t){ SASL_CB_USER, CALLBACK(get_name), user };
    s->client_callbacks[1] = (sasl_callback_t){ SASL_CB_AUTHNAME, CALLBACK(get_name), user };
    s->client_callbacks[2] = (sasl_callback_t){ SASL_CB_PASS, CALLBACK(get_secret), s->secret };
    s->client_callbacks[3] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
    s->server_callbacks[0] = (sasl_callback_t){ CB_ACCOUNTS, no_function, &s->server };
    s->server_callbacks[1] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
}

static int conn_new(struct qsasl *s, bool server, sasl_conn_t **ret)
{
    sasl_security_properties_t plain = { 0 }; /* no layer of its own: TLS is for that */
    int rc = server ? sasl_server_new(SERVICE, SERVER_NAME, NULL, NULL, NULL, s->server_callbacks, SASL_SUCCESS_DATA, ret)
                    : sasl_client_new(SERVICE, SERVER_NAME, NULL, NULL, s->client_callbacks, 0, ret);

    if (rc == SASL_OK)
        rc = sasl_setprop(*ret, SASL_SEC_PROPS, &plain);
    return rc;
}

/* The plug-in is a file that may be missing. */
static int probe(struct qsasl *s, struct storage_error *err)
{
    const char *mech = NULL;
    sasl_conn_t *conn = NULL;
    int rc = conn_new(s, false, &conn);

    if (rc == SASL_OK)
        rc = sasl_client_start(conn, MECHANISM, NULL, NULL, NULL, &mech);
    sasl_dispose(&conn);
    if (rc == SASL_OK || rc == SASL_CONTINUE)
        return 0;
    (void)snprintf(err->text, sizeof(err->text), "quorum.auth.enableSasl: libsasl2 has no " MECHANISM " (%s): its modules are a package of their own, libsasl2-modules",
                   sasl_errstring(rc, NULL, NULL)); /* fits */
    return RC_UNSUPPORTED;
}

int qsasl_new(const struct qsasl_options *opt, struct qsasl **ret, struct storage_error *err)
{
    struct qsasl *s = x_calloc(1, sizeof(*s));
    int rc = RC_INVAL;

    if (!opt->jaas_file)
        (void)snprintf(err->text, sizeof(err->text), "quorum.auth.enableSasl: java.security.auth.login.config is not set"); /* fits */
    else
        rc = read_accounts(s, opt, err);
    if (rc == 0 && library_init() != SASL_OK) {
        (void)snprintf(err->text, sizeof(err->text), "quorum.auth.enableSasl: libsasl2 does not start"); /* fits */
        rc = RC_UNSUPPORTED;
    }
    if (rc == 0) {
        fill_callbacks(s);
        rc = probe(s, err);
    }
    if (rc == 0)
        *ret = s;
    else
        qsasl_free(s);
    return rc;
}

void qsasl_free(struct qsasl *s)
{
    if (!s)
        return;
    if (s->secret)
        explicit_bzero(s->secret->data, s->secret->len);
    free(s->secret);
    jaas_done(&s->server);
    jaas_done(&s->learner);
    free(s);
}

/* ---- one exchange ---- */

static void put_packet(struct wr *w, enum status status, const char *token, size_t n)
{
    wr_u64(w, MAGIC);
    wr_i32(w, status);
    wr_i32(w, (int32_t)n);
    wr_bytes(w, token, n);
}

static enum qauth_result failed(struct qauth *a, const char *why)
{
    (void)snprintf(a->why, sizeof(a->why), "%s", why); /* cut, if ever, at the end of a log line */
    return QAUTH_FAILED;
}

static enum qauth_result refuse(struct qauth *a, const char *why, struct wr *out)
{
    put_packet(out, ERROR, "", 0);
    return failed(a, why);
}

/* name=value or name="value", between commas. Each may be there once, but for the realms that a server offers (RFC 2831, 2.1); the library forgets to free the
 * first of two, which anybody could send us. Malformed tokens count as well: the library need not see them. */
static bool has_repeats(bool server, const char *token, size_t n)
{
    struct buf names[DIRECTIVES_MAX];
    size_t count = 0;
    const char *p = token, *end = token + n;

    for (;;) {
        while (p < end && strchr(" \t\r\n,", *p)) /* and NUL */
            p++;
        const char *name = p;
        while (p < end && isalpha((unsigned char)(*p == '-' ? 'a' : *p)))
            p++;
        struct buf b = buf_of(name, (size_t)(p - name));
        if (p == end && b.n == 0)
            return false;
        while (p < end && strchr(" \t\r\n", *p))
            p++;
        if (b.n == 0 || p == end || *p++ != '=' || count == DIRECTIVES_MAX)
            return true;
        bool offer = !server && b.n == 5 && strncasecmp(name, "realm", 5) == 0;
        for (size_t i = 0; i < count && !offer; i++)
            if (names[i].n == b.n && strncasecmp((const char *)names[i].p, name, b.n) == 0)
                return true;
        names[count++] = b;
        while (p < end && strchr(" \t\r\n", *p))
            p++;
        if (p < end && *p == '"') {
            for (p++; p < end && *p != '"'; p++)
                p += *p == '\\' && p + 1 < end;
            if (p == end)
                return true;
            p++;
        }
        while (p < end && *p != ',')
            if (*p++ == '"') /* it and we might see different directives */
                return true;
    }
}

/* What a server proves at the end, "rspauth=...", at the beginning: the library takes it for an answer to what this exchange never sent, and compares it with nothing. */
static bool is_early_proof(const struct qauth *a, const char *token, size_t n)
{
    return a->rounds == 1 && n >= 7 && strncasecmp(token, "rspauth", 7) == 0;
}

static const char *why_of(int rc)
{
    return rc == SASL_BADAUTH || rc == SASL_NOUSER ? "wrong name or password" : sasl_errstring(rc, NULL, NULL);
}

struct qauth *qauth_new(struct qsasl *s, bool server, bool required, struct wr *out)
{
    struct qauth *a = x_calloc(1, sizeof(*a));
    const char *mech = NULL;

    a->server = server;
    a->required = required;
    int rc = conn_new(s, server, &a->conn);
    /* A failure comes out at the first token. No output is asked for: the mechanism would begin with a nonce of the server it talked to last. */
    if (rc == SASL_OK && !server)
        (void)sasl_client_start(a->conn, MECHANISM, NULL, NULL, NULL, &mech);
    if (!server)
        put_packet(out, IN_PROGRESS, "", 0);
    return a;
}

void qauth_free(struct qauth *a)
{
    if (!a)
        return;
    sasl_dispose(&a->conn);
    free(a);
}

static enum qauth_result server_token(struct qauth *a, const char *token, unsigned n, struct wr *out)
{
    const char *reply = NULL;
    unsigned reply_n = 0;
    int rc;

    if (++a->rounds > ROUNDS_MAX)
        return refuse(a, "too many rounds", out);
    if (!a->conn)
        rc = SASL_NOMEM;
    else if (has_repeats(true, token, n))
        rc = SASL_BADPROT;
    else if (!a->begun)
        rc = sasl_server_start(a->conn, MECHANISM, n ? token : NULL, n, &reply, &reply_n);
    else
        rc = sasl_server_step(a->conn, token, n, &reply, &reply_n);
    a->begun = true;
    if (rc != SASL_OK && rc != SASL_CONTINUE)
        return refuse(a, why_of(rc), out);
    put_packet(out, rc == SASL_OK ? SUCCESS : IN_PROGRESS, reply ? reply : "", reply ? reply_n : 0);
    return rc == SASL_OK ? QAUTH_DONE : QAUTH_MORE;
}

static enum qauth_result client_token(struct qauth *a, int32_t status, const char *token, unsigned n, struct wr *out)
{
    const char *reply = NULL;
    unsigned reply_n = 0;

    if (status == ERROR)
        return failed(a, "it refuses our name or password");
    if (status != SUCCESS && status != IN_PROGRESS)
        return failed(a, "it answered with an unknown status");
    if (++a->rounds > ROUNDS_MAX)
        return failed(a, "too many rounds");
    if (!a->proven) {
        bool sound = !has_repeats(false, token, n) && !is_early_proof(a, token, n);
        int rc = a->conn && sound ? sasl_client_step(a->conn, token, n, NULL, &reply, &reply_n) : SASL_NOMEM;
        if (rc != SASL_OK && rc != SASL_CONTINUE)
            return failed(a, "it does not prove that it knows our password");
        a->proven = rc == SASL_OK;
    }
    if (status == SUCCESS)
        return a->proven ? QAUTH_DONE : failed(a, "it does not prove that it knows our password");
    put_packet(out, IN_PROGRESS, reply ? reply : "", reply ? reply_n : 0);
    return QAUTH_MORE;
}

enum qauth_result qauth_take(struct qauth *a, const uint8_t *p, size_t n, size_t *ret_used, struct wr *out)
{
    enum qauth_result result = QAUTH_MORE;

    *ret_used = 0;
    while (result == QAUTH_MORE) {
        struct rd r = rd_init(p + *ret_used, n - *ret_used);
        uint64_t magic = rd_u64(&r);

        if (r.rc != 0)
            return QAUTH_MORE;
        if (magic != MAGIC && a->server && !a->begun && !a->required)
            return QAUTH_NONE;
        if (magic != MAGIC)
            return failed(a, a->server && !a->begun ? "it does not authenticate, which is required" : "it sent what is no packet of authentication");
        int32_t status = rd_i32(&r), len = rd_i32(&r);
        if (r.rc == 0 && (len < -1 || len > QAUTH_TOKEN_MAX))
            return a->server ? refuse(a, "its token is too long", out) : failed(a, "its token is too long");
        const uint8_t *bytes = rd_take(&r, len > 0 ? (size_t)len : 0);
        if (r.rc != 0)
            return QAUTH_MORE;
        *ret_used = (size_t)(r.p - p);
        unsigned token_n = len > 0 ? (unsigned)len : 0;
        char token[QAUTH_TOKEN_MAX + 16] = { 0 }; /* zeros behind it: the library compares with "rspauth=" whatever the length */
        memcpy(token, bytes, token_n);
        result = a->server ? server_token(a, token, token_n, out) : client_token(a, status, token, token_n, out);
    }
    return result;
}

bool qauth_may_skip(const struct qauth *a)
{
    return a->server && !a->begun && !a->required;
}

const char *qauth_why(const struct qauth *a)
{
    return a->why;
}

const char *qauth_user(const struct qauth *a)
{
    const void *user = NULL;

    return a->conn && sasl_getprop(a->conn, SASL_USERNAME, &user) == SASL_OK && user ? user : "";
}
