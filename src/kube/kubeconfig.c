/* kubeconfig.c - see kubeconfig.h. The files are merged into one JSON object first, then one context is read out. */
#include "kubeconfig.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/str.h"
#include "yaml_doc.h"

#define FILE_MAX (4u << 20)
#define EXEC_EXTENSION "client.authentication.k8s.io/exec"

/* One reading: where errors go, and which file each merged entry came from. */
struct reading {
    char **error;
    bool open_files; /* false in the fuzzer */
};

static int refuse(struct reading *r, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(struct reading *r, int rc, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap); /* a line for people may be cut */
    va_end(ap);
    if (*r->error == NULL)
        *r->error = x_strdup(line);
    return rc;
}

void kube_wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static void pem_free(struct kube_pem *pem)
{
    if (pem->p)
        explicit_bzero(pem->p, pem->n);
    free(pem->p);
    free(pem->path);
}

static void strings_free(char **list)
{
    for (char **p = list; p && *p; p++)
        kube_wipe(*p);
    free(list);
}

void kube_config_free(struct kube_config *c)
{
    free(c->server);
    free(c->origin);
    free(c->text);
    pem_free(&c->ca);
    pem_free(&c->cert);
    pem_free(&c->key);
    free(c->tls_server_name);
    kube_wipe(c->proxy_url); /* may hold a password */
    kube_wipe(c->token);
    free(c->token_file);
    free(c->username);
    kube_wipe(c->password);
    strings_free(c->headers);
    free(c->exec.command);
    strings_free(c->exec.args);
    strings_free(c->exec.env);
    free(c->exec.api_version);
    free(c->exec.install_hint);
    json_decref(c->exec.cluster_info);
    free(c->ns);
    *c = (struct kube_config){ 0 };
}

int kube_pem_reload(struct kube_pem *pem)
{
    uint8_t *p;
    size_t n;

    if (!pem->path)
        return 0;
    int rc = file_read(pem->path, FILE_MAX, &p, &n);
    if (rc)
        return rc;
    free(pem->p);
    pem->p = p;
    pem->n = n;
    return 0;
}

/* ---- merging files ---- */

/* Lists of {name, <field>}: the first file that has a name wins, whole (client-go: maps are not field-merged). */
static const struct section {
    const char *list, *field;
} sections[] = { { "clusters", "cluster" }, { "users", "user" }, { "contexts", "context" } };

static int merge_section(struct reading *r, json_t *all, const json_t *file, const char *path,
                         const struct section *s)
{
    json_t *list = json_object_get(file, s->list), *into = json_object_get(all, s->list), *item;
    size_t i;

    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return refuse(r, RC_MALFORMED, "%s: %s: must be a list", path, s->list);
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        json_t *body = json_object_get(item, s->field);
        if (!name)
            return refuse(r, RC_MALFORMED, "%s: %s[%zu].name: must be a string", path, s->list, i);
        if (body && !json_is_object(body) && !json_is_null(body))
            return refuse(r, RC_MALFORMED, "%s: %s[%zu].%s: must be a mapping", path, s->list, i, s->field);
        if (json_object_get(into, name))
            continue;
        body = json_is_object(body) ? json_incref(body) : json_object();
        json_object_set_new(into, name, json_pack("{s:s, s:o}", "file", path, "body", body));
    }
    return 0;
}

static int merge_text(struct reading *r, json_t *all, const char *text, size_t n, const char *path)
{
    struct yaml_docs docs;
    int rc = 0;

    yaml_load(text, n, false, &docs);
    for (size_t i = 0; i < docs.len && rc == 0; i++) {
        const struct yaml_doc *d = &docs.items[i];
        if (d->error)
            rc = refuse(r, RC_MALFORMED, "%s:%u: %s", path, d->line, d->error);
        else if (!json_is_object(d->json))
            rc = refuse(r, RC_MALFORMED, "%s:%u: not a kubeconfig", path, d->line);
        for (size_t k = 0; k < ARRAY_LEN(sections) && rc == 0; k++)
            rc = merge_section(r, all, d->json, path, &sections[k]);
        const char *current = rc ? NULL : json_string_value(json_object_get(d->json, "current-context"));
        if (current && *current && !json_object_get(all, "current-context"))
            json_object_set_new(all, "current-context", json_string(current));
    }
    yaml_docs_free(&docs);
    return rc;
}

/* missing_ok: an entry of a list may be absent. */
static int merge_file(struct reading *r, json_t *all, const char *path, bool missing_ok, size_t *found)
{
    uint8_t *text;
    size_t n;
    int rc = file_read(path, FILE_MAX, &text, &n);

    if (rc == RC_NOTFOUND && missing_ok)
        return 0;
    if (rc)
        return refuse(r, rc, "%s: %s", path, rc_str(rc));
    rc = merge_text(r, all, (const char *)text, n, path);
    explicit_bzero(text, n);
    free(text);
    ++*found;
    return rc;
}

/* ---- reading out one context ---- */

/* The entry that is being read: for messages and for relative paths. */
struct entry {
    struct reading *r;
    const char *file, *section, *name;
    const json_t *body;
};

static int entry_refuse(const struct entry *e, const char *field, const char *what)
{
    return refuse(e->r, RC_INVAL, "%s: %s \"%s\": %s: %s", e->file, e->section, e->name, field, what);
}

static int entry_find(struct reading *r, const json_t *all, const char *list, const char *kind, const char *name,
                      struct entry *ret)
{
    const json_t *found = json_object_get(json_object_get(all, list), name);
    if (!found)
        return refuse(r, RC_INVAL, "kubeconfig: %s \"%s\" is not defined", kind, name);
    *ret = (struct entry){ r, json_string_value(json_object_get(found, "file")), kind, name,
                           json_object_get(found, "body") };
    return 0;
}

/* An optional string; "" and null mean that it is absent. */
static int take_string(const struct entry *e, const char *field, char **ret)
{
    const json_t *v = json_object_get(e->body, field);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return entry_refuse(e, field, "must be a string");
    if (json_string_length(v) > 0)
        *ret = x_strdup(json_string_value(v));
    return 0;
}

static int take_bool(const struct entry *e, const char *field, bool *ret)
{
    const json_t *v = json_object_get(e->body, field);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_boolean(v))
        return entry_refuse(e, field, "must be true or false");
    *ret = json_is_true(v);
    return 0;
}

/* A path relative to the file that names it. */
static char *beside(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    if (path[0] == '/' || !slash)
        return x_strdup(path);
    return x_asprintf("%.*s/%s", (int)(slash - file), file, path);
}

static int take_path(const struct entry *e, const char *field, char **ret)
{
    char *path = NULL;
    int rc = take_string(e, field, &path);
    if (path)
        *ret = beside(e->file, path);
    free(path);
    return rc;
}

/* "<field>-data" (base64 of PEM) wins over the file `field`. */
static int take_pem(const struct entry *e, const char *field, struct kube_pem *ret)
{
    char data_field[64], *text = NULL;
    snprintf(data_field, sizeof data_field, "%s-data", field);
    int rc = take_string(e, data_field, &text);
    if (rc)
        return rc;
    if (text) {
        int64_t n = base64_decode(text, strlen(text), &ret->p);
        kube_wipe(text);
        if (n <= 0)
            return entry_refuse(e, data_field, "not valid base64");
        ret->n = (size_t)n;
        return 0;
    }
    rc = take_path(e, field, &ret->path);
    if (rc || !ret->path || !e->r->open_files)
        return rc;
    rc = kube_pem_reload(ret);
    if (rc)
        refuse(e->r, rc, "%s: %s \"%s\": %s: %s: %s", e->file, e->section, e->name, field, ret->path, rc_str(rc));
    return rc;
}

/* The server without "user:password@". */
static char *strip_userinfo(const char *server)
{
    const char *host = strstr(server, "://");
    host = host ? host + 3 : server;
    size_t n = strcspn(host, "/");
    const char *at = memrchr(host, '@', n);
    return x_asprintf("%.*s%s", (int)(host - server), server, at ? at + 1 : host);
}

static int read_cluster(const struct entry *e, struct kube_config *c)
{
    int rc;
    if ((rc = take_string(e, "server", &c->server)) || (rc = take_pem(e, "certificate-authority", &c->ca)) ||
        (rc = take_bool(e, "insecure-skip-tls-verify", &c->insecure)) ||
        (rc = take_bool(e, "disable-compression", &c->no_compression)) ||
        (rc = take_string(e, "tls-server-name", &c->tls_server_name)) ||
        (rc = take_string(e, "proxy-url", &c->proxy_url)))
        return rc;
    if (!c->server)
        return entry_refuse(e, "server", "missing");
    if (!strstr(c->server, "://")) { /* kubectl takes a bare host as http */
        char *with = x_asprintf("http://%s", c->server);
        free(c->server);
        c->server = with;
    }
    if (!str_has_prefix(c->server, "https://") && !str_has_prefix(c->server, "http://"))
        return entry_refuse(e, "server", "must begin with https:// or http://");
    for (const char *p = c->server; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 127)
            return entry_refuse(e, "server", "is not a URL");
    for (size_t n = strlen(c->server); n > 0 && c->server[n - 1] == '/'; n--)
        c->server[n - 1] = '\0';
    if (c->insecure && (c->ca.p || c->ca.path))
        return entry_refuse(e, "insecure-skip-tls-verify", "cannot be combined with a certificate authority");
    c->origin = strip_userinfo(c->server);
    return 0;
}

/* ---- users ---- */

struct VEC_strings VEC(char *);

static char **strings_done(struct VEC_strings *v)
{
    VEC_PUSH(v, NULL);
    return v->items;
}

/* A header's value must not end the header. */
static bool header_safe(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 127)
            return false;
    return true;
}

static int add_header(const struct entry *e, struct VEC_strings *v, const char *field, const char *name,
                      const json_t *text)
{
    const char *s = json_string_value(text);
    if (!s || !header_safe(s))
        return entry_refuse(e, field, "must be a string of printable characters");
    VEC_PUSH(v, x_asprintf("%s: %s", name, s));
    return 0;
}

/* The keys of as-user-extra are percent-encoded where a header name cannot hold them (user impersonation docs). */
static char *extra_name(const char *key)
{
    struct wr w = wr_init(0);
    wr_text(&w, "Impersonate-Extra-");
    for (const char *p = key; *p; p++) {
        unsigned char ch = (unsigned char)*p;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                     strchr("!#$&'*+-.^_`|~", ch);
        if (plain)
            wr_u8(&w, ch);
        else
            wr_printf(&w, "%%%02X", ch);
    }
    char *name = x_strdup(wr_cstr(&w));
    wr_free(&w);
    return name;
}

static int impersonate_extra(const struct entry *e, struct VEC_strings *v)
{
    json_t *extra = json_object_get(e->body, "as-user-extra"), *values, *item;
    const char *key;
    size_t i;
    int rc = 0;

    json_object_foreach(extra, key, values)
    {
        if (!json_is_array(values))
            return entry_refuse(e, "as-user-extra", "must hold lists of strings");
        char *name = extra_name(key);
        json_array_foreach(values, i, item)
        {
            if (rc == 0)
                rc = add_header(e, v, "as-user-extra", name, item);
        }
        free(name);
    }
    return rc;
}

static int read_impersonation(const struct entry *e, struct kube_config *c)
{
    struct VEC_strings v = { 0 };
    const json_t *as = json_object_get(e->body, "as"), *uid = json_object_get(e->body, "as-uid");
    json_t *groups = json_object_get(e->body, "as-groups"), *item;
    size_t i;
    int rc = 0;

    if (json_is_string(as) && json_string_length(as) > 0)
        rc = add_header(e, &v, "as", "Impersonate-User", as);
    if (rc == 0 && json_is_string(uid) && json_string_length(uid) > 0)
        rc = add_header(e, &v, "as-uid", "Impersonate-Uid", uid);
    json_array_foreach(groups, i, item)
    {
        if (rc == 0)
            rc = add_header(e, &v, "as-groups", "Impersonate-Group", item);
    }
    if (rc == 0)
        rc = impersonate_extra(e, &v);
    if (rc == 0 && v.len > 0 && !str_has_prefix(v.items[0], "Impersonate-User"))
        rc = entry_refuse(e, "as", "must be set when as-uid, as-groups or as-user-extra are");
    c->headers = strings_done(&v);
    return rc;
}

static int read_exec_env(const struct entry *e, const json_t *list, struct kube_exec *x)
{
    struct VEC_strings v = { 0 };
    json_t *item;
    size_t i;
    int rc = 0;

    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *text = json_string_value(json_object_get(item, "value"));
        if (name && *name && !strchr(name, '=') && text)
            VEC_PUSH(&v, x_asprintf("%s=%s", name, text));
        else
            rc = entry_refuse(e, "exec.env", "must hold {name, value} pairs of strings");
    }
    x->env = strings_done(&v);
    return rc;
}

static int read_exec_args(const struct entry *e, const json_t *list, struct kube_exec *x)
{
    struct VEC_strings v = { 0 };
    json_t *item;
    size_t i;
    int rc = 0;

    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            VEC_PUSH(&v, x_strdup(json_string_value(item)));
        else
            rc = entry_refuse(e, "exec.args", "must be strings");
    }
    x->args = strings_done(&v);
    return rc;
}

/* Nobody sits at our terminal, so a plugin that insists on one is refused here and not after a time-out. */
static int check_exec(const struct entry *e, const struct entry *x, const struct kube_exec *exec)
{
    char *mode = NULL;
    int rc = take_string(x, "interactiveMode", &mode);

    if (rc == 0 && !exec->command)
        rc = entry_refuse(e, "exec.command", "missing");
    else if (rc == 0 && (!exec->api_version || (strcmp(exec->api_version, "client.authentication.k8s.io/v1") &&
                                                strcmp(exec->api_version, "client.authentication.k8s.io/v1beta1"))))
        rc = entry_refuse(e, "exec.apiVersion", "must be client.authentication.k8s.io/v1 or /v1beta1");
    else if (rc == 0 && !mode && str_has_suffix(exec->api_version, "/v1"))
        rc = entry_refuse(e, "exec.interactiveMode", "must be set (Never or IfAvailable)");
    else if (rc == 0 && mode && strcmp(mode, "Always") == 0)
        rc = entry_refuse(e, "exec.interactiveMode", "Always needs a terminal, which a service has not");
    else if (rc == 0 && mode && strcmp(mode, "Never") && strcmp(mode, "IfAvailable"))
        rc = entry_refuse(e, "exec.interactiveMode", "must be Never, IfAvailable or Always");
    free(mode);
    return rc;
}

static int read_exec(const struct entry *e, bool *wants_cluster, struct kube_config *c)
{
    const json_t *body = json_object_get(e->body, "exec");
    struct kube_exec *x = &c->exec;
    struct entry xe = *e;
    int rc;

    if (!body || json_is_null(body))
        return 0;
    if (!json_is_object(body))
        return entry_refuse(e, "exec", "must be a mapping");
    xe.body = body;
    if ((rc = take_string(&xe, "command", &x->command)) || (rc = take_string(&xe, "apiVersion", &x->api_version)) ||
        (rc = take_string(&xe, "installHint", &x->install_hint)) ||
        (rc = take_bool(&xe, "provideClusterInfo", wants_cluster)) ||
        (rc = read_exec_args(e, json_object_get(body, "args"), x)) ||
        (rc = read_exec_env(e, json_object_get(body, "env"), x)) || (rc = check_exec(e, &xe, x)))
        return rc;
    if (strchr(x->command, '/')) { /* relative to the kubeconfig; a bare name is looked up in PATH */
        char *path = beside(e->file, x->command);
        free(x->command);
        x->command = path;
    }
    return 0;
}

static int read_user(const struct entry *e, bool *wants_cluster, struct kube_config *c)
{
    int rc;
    if ((rc = take_pem(e, "client-certificate", &c->cert)) || (rc = take_pem(e, "client-key", &c->key)) ||
        (rc = take_string(e, "token", &c->token)) || (rc = take_path(e, "tokenFile", &c->token_file)) ||
        (rc = take_string(e, "username", &c->username)) || (rc = take_string(e, "password", &c->password)) ||
        (rc = read_impersonation(e, c)) || (rc = read_exec(e, wants_cluster, c)))
        return rc;
    if ((c->cert.p || c->cert.path) != (c->key.p || c->key.path))
        return entry_refuse(e, "client-certificate", "certificate and key must be given together");
    if (c->token && !header_safe(c->token))
        return entry_refuse(e, "token", "holds control characters");
    const json_t *provider = json_object_get(e->body, "auth-provider");
    if (json_is_object(provider) && !c->exec.command)
        return refuse(e->r, RC_UNSUPPORTED,
                      "%s: user \"%s\": auth-provider: removed from Kubernetes in 1.26; use an exec plugin", e->file,
                      e->name);
    return 0;
}

/* spec.cluster of the ExecCredential that a plugin is given. */
static json_t *exec_cluster_info(const struct entry *cluster, const struct kube_config *c)
{
    json_t *info = json_object(), *extension, *list = json_object_get(cluster->body, "extensions");
    size_t i;

    json_object_set_new(info, "server", json_string(c->server));
    if (c->tls_server_name)
        json_object_set_new(info, "tls-server-name", json_string(c->tls_server_name));
    if (c->insecure)
        json_object_set_new(info, "insecure-skip-tls-verify", json_true());
    if (c->proxy_url)
        json_object_set_new(info, "proxy-url", json_string(c->proxy_url));
    if (c->ca.p) {
        char *text = base64_encode(c->ca.p, c->ca.n);
        json_object_set_new(info, "certificate-authority-data", json_string(text));
        free(text);
    }
    json_array_foreach(list, i, extension)
    {
        const char *name = json_string_value(json_object_get(extension, "name"));
        if (name && strcmp(name, EXEC_EXTENSION) == 0)
            json_object_set(info, "config", json_object_get(extension, "extension"));
    }
    return info;
}

static int read_context(struct reading *r, const json_t *all, const char *name, struct kube_config *c)
{
    struct entry context, cluster, user;
    char *cluster_name = NULL, *user_name = NULL;
    bool wants_cluster = false;
    int rc;

    if (!name)
        name = json_string_value(json_object_get(all, "current-context"));
    if (!name)
        return refuse(r, RC_INVAL, "kubeconfig: current-context is not set and no context was chosen");
    if ((rc = entry_find(r, all, "contexts", "context", name, &context)))
        return rc;
    if ((rc = take_string(&context, "cluster", &cluster_name)) || (rc = take_string(&context, "user", &user_name)) ||
        (rc = take_string(&context, "namespace", &c->ns)))
        goto out;
    if (!cluster_name) {
        rc = entry_refuse(&context, "cluster", "missing");
        goto out;
    }
    if ((rc = entry_find(r, all, "clusters", "cluster", cluster_name, &cluster)) || (rc = read_cluster(&cluster, c)))
        goto out;
    if (user_name && ((rc = entry_find(r, all, "users", "user", user_name, &user)) ||
                      (rc = read_user(&user, &wants_cluster, c))))
        goto out;
    if (wants_cluster)
        c->exec.cluster_info = exec_cluster_info(&cluster, c);
    c->text = x_asprintf("%s (context %s)", c->origin, name);
out:
    free(cluster_name);
    free(user_name);
    return rc;
}

static json_t *merged_new(void)
{
    return json_pack("{s:{}, s:{}, s:{}}", "clusters", "users", "contexts");
}

static int finish(struct reading *r, int rc, json_t *all, const char *context, struct kube_config *ret)
{
    struct kube_config c = { 0 };

    if (rc == 0)
        rc = read_context(r, all, context, &c);
    json_decref(all);
    if (rc == 0)
        *ret = c;
    else
        kube_config_free(&c);
    return rc;
}

int kube_config_parse(const char *text, size_t n, const char *context, struct kube_config *ret, char **ret_error)
{
    struct reading r = { ret_error, false };
    json_t *all = merged_new();

    *ret_error = NULL;
    int rc = merge_text(&r, all, text, n, "kubeconfig");
    return finish(&r, rc, all, context, ret);
}

int kube_config_load_files(const char *paths, const char *context, struct kube_config *ret, char **ret_error)
{
    struct reading r = { ret_error, true };
    json_t *all = merged_new();
    size_t count = 0, found = 0;
    char **list = str_split(paths, ":", &count);
    int rc = 0;

    *ret_error = NULL;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = merge_file(&r, all, list[i], count > 1, &found);
    if (rc == 0 && found == 0)
        rc = refuse(&r, RC_NOTFOUND, "kubeconfig: none of %s exists", paths);
    str_split_free(list);
    return finish(&r, rc, all, context, ret);
}
