/* exec_credential.c - what a credential plugin prints: an ExecCredential object. */
#include <stdio.h>
#include <time.h>

#include "credentials.h"

void exec_credential_free(struct exec_credential *x)
{
    kube_wipe(x->token);
    kube_wipe(x->cert);
    kube_wipe(x->key);
    *x = (struct exec_credential){ 0 };
}

/* RFC 3339, "2026-01-01T00:00:00Z" with an optional fraction and offset. */
static bool parse_time(const char *s, int64_t *ret_ms)
{
    struct tm tm = { 0 };
    int used = 0, hours = 0, minutes = 0;
    char sign = 0;

    if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &used) != 6)
        return false;
    s += used;
    if (*s == '.')
        s += 1 + strspn(s + 1, "0123456789");
    if (strcmp(s, "Z") != 0 && strcmp(s, "z") != 0) {
        if (sscanf(s, "%c%2d:%2d", &sign, &hours, &minutes) != 3 || (sign != '+' && sign != '-'))
            return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t offset_s = (int64_t)(hours * 60 + minutes) * 60;
    *ret_ms = ((int64_t)timegm(&tm) - (sign == '-' ? -offset_s : offset_s)) * 1000;
    return true;
}

static char *take(const json_t *status, const char *field)
{
    const char *s = json_string_value(json_object_get(status, field));
    return s && *s ? x_strdup(s) : NULL;
}

static bool printable(const char *s)
{
    for (; s && *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 127)
            return false;
    return true;
}

static const char *check(const json_t *root, const char *api_version, const struct exec_credential *x)
{
    const char *version = json_string_value(json_object_get(root, "apiVersion"));
    const char *kind = json_string_value(json_object_get(root, "kind"));

    if (!kind || strcmp(kind, "ExecCredential") != 0)
        return "its output is not an ExecCredential";
    if (!version || strcmp(version, api_version) != 0)
        return "its output has another apiVersion than the kubeconfig";
    if (!x->token && !x->cert)
        return "its output has neither a token nor a certificate";
    if (!x->cert != !x->key)
        return "its output must have both clientCertificateData and clientKeyData";
    if (!printable(x->token))
        return "its token holds blanks or control characters";
    return NULL;
}

int exec_credential_parse(const char *text, size_t n, const char *api_version, struct exec_credential *ret,
                          char **ret_error)
{
    json_t *root = json_loadb(text, n, 0, NULL), *status = json_object_get(root, "status");
    struct exec_credential x = { take(status, "token"), take(status, "clientCertificateData"),
                                 take(status, "clientKeyData"), INT64_MAX };
    const char *expiry = json_string_value(json_object_get(status, "expirationTimestamp"));
    const char *wrong = root ? check(root, api_version, &x) : "its output is not JSON";

    if (!wrong && expiry && !parse_time(expiry, &x.expiry_ms))
        wrong = "its expirationTimestamp is not a time";
    json_decref(root);
    if (wrong) {
        exec_credential_free(&x);
        *ret_error = x_strdup(wrong);
        return RC_MALFORMED;
    }
    *ret = x;
    return 0;
}
