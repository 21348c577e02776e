/* quorum_member.c - one server line: parsing and printing. */
#include "quorum_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "addr_text.h"
#include "base/str.h"

#define HOST_LEN_MAX 255

int quorum_fail(struct quorum_error *err, int rc, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, ap); /* a reason may be cut */
        va_end(ap);
        for (char *p = err->text; *p; p++) /* it quotes peers, and goes into logs */
            if ((unsigned char)*p < ' ')
                *p = '?';
    }
    return rc;
}

int quorum_sid_parse(const char *text, int64_t *ret, struct quorum_error *err)
{
    if (str_to_i64(text, 0, INT64_MAX - 1, ret) != 0)
        return quorum_fail(err, RC_INVAL, "'%.40s' is not a server id", text);
    return 0;
}

/* What could not be printed and read again is no host name. */
static bool host_ok(struct buf host)
{
    if (host.n == 0 || host.n > HOST_LEN_MAX)
        return false;
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] == 0x7f || strchr(";|,=[]\\#!", host.p[i]))
            return false;
    return true;
}

static int parse_role(int64_t sid, struct buf text, enum member_role *ret, struct quorum_error *err)
{
    char word[16] = "";

    if (text.n < sizeof(word))
        memcpy(word, text.p, text.n);
    if (str_ieq(word, "participant"))
        *ret = MEMBER_PARTICIPANT;
    else if (str_ieq(word, "observer"))
        *ret = MEMBER_OBSERVER;
    else
        return quorum_fail(err, RC_INVAL, "server.%lld: role '%.*s' is neither participant nor observer", (long long)sid,
                           (int)MIN(text.n, 40u), (const char *)text.p);
    return 0;
}

/* host:quorumPort:electionPort[:role]; *role is set when the text names one, to what an earlier address named at most. */
static int parse_addr(struct quorum_member *m, struct buf text, bool *has_role, struct quorum_error *err)
{
    long long sid = m->sid;
    struct buf parts[4];
    int n = addr_text_split(text, parts, 4);
    struct quorum_addr a;
    enum member_role role = m->role;

    if (n < 3 || n > 4 || !host_ok(parts[0]))
        return quorum_fail(err, RC_INVAL, "server.%lld: '%.*s' is not host:quorumPort:electionPort[:role]", sid, (int)MIN(text.n, 80u),
                           (const char *)text.p);
    if (!addr_text_port(parts[1], &a.quorum_port) || !addr_text_port(parts[2], &a.election_port))
        return quorum_fail(err, RC_INVAL, "server.%lld: '%.*s': ports are numbers from 1 to 65535", sid, (int)MIN(text.n, 80u),
                           (const char *)text.p);
    if (a.quorum_port == a.election_port)
        return quorum_fail(err, RC_INVAL, "server.%lld: quorum and election port must differ", sid);
    if (n == 4) {
        int rc = parse_role(m->sid, parts[3], &role, err);

        if (rc != 0)
            return rc;
        if (*has_role && role != m->role)
            return quorum_fail(err, RC_INVAL, "server.%lld: its addresses name different roles", sid);
        m->role = role;
        *has_role = true;
    }
    if (m->addrs_len == QUORUM_ADDRS_MAX)
        return quorum_fail(err, RC_TOOBIG, "server.%lld: more than %d addresses", sid, QUORUM_ADDRS_MAX);
    a.host = buf_dup(parts[0]);
    m->addrs = x_reallocarray(m->addrs, m->addrs_len + 1, sizeof(*m->addrs));
    m->addrs[m->addrs_len++] = a;
    return 0;
}

/* [host:]port */
static int parse_client(struct quorum_member *m, struct buf text, struct quorum_error *err)
{
    struct buf parts[2];
    int n = addr_text_split(text, parts, 2);

    if (n < 1 || n > 2 || (n == 2 && !host_ok(parts[0])) || !addr_text_port(parts[n - 1], &m->client_port))
        return quorum_fail(err, RC_INVAL, "server.%lld: client address '%.*s' is not [host:]port", (long long)m->sid,
                           (int)MIN(text.n, 80u), (const char *)text.p);
    m->client_host = n == 2 ? buf_dup(parts[0]) : x_strdup("0.0.0.0");
    return 0;
}

static int compare_addr(const void *pa, const void *pb)
{
    const struct quorum_addr *a = pa, *b = pb;
    int by_host = strcmp(a->host, b->host);

    if (by_host != 0)
        return by_host;
    if (a->quorum_port != b->quorum_port)
        return a->quorum_port < b->quorum_port ? -1 : 1;
    return (a->election_port > b->election_port) - (a->election_port < b->election_port);
}

/* In the order of printing; an address given twice is one. */
static void sort_addrs(struct quorum_member *m)
{
    size_t n = 1;

    qsort(m->addrs, m->addrs_len, sizeof(*m->addrs), compare_addr);
    for (size_t i = 1; i < m->addrs_len; i++) {
        if (compare_addr(&m->addrs[i], &m->addrs[n - 1]) == 0)
            free(m->addrs[i].host);
        else
            m->addrs[n++] = m->addrs[i];
    }
    m->addrs_len = n;
}

int quorum_member_parse(int64_t sid, const char *value, bool multi_address, struct quorum_member *ret, struct quorum_error *err)
{
    struct quorum_member m = { .sid = sid, .role = MEMBER_PARTICIPANT };
    const char *semi = strchr(value, ';');
    const char *p = value, *end = semi ? semi : value + strlen(value);
    bool has_role = false;
    int rc = 0;

    if (!multi_address && memchr(p, '|', (size_t)(end - p)))
        return quorum_fail(err, RC_INVAL, "server.%lld: several addresses need multiAddress.enabled=true", (long long)sid);
    while (rc == 0) {
        const char *bar = memchr(p, '|', (size_t)(end - p));

        rc = parse_addr(&m, buf_of(p, (size_t)((bar ? bar : end) - p)), &has_role, err);
        if (!bar)
            break;
        p = bar + 1;
    }
    if (rc == 0 && semi && semi[1] != '\0')
        rc = parse_client(&m, buf_str(semi + 1), err);
    if (rc != 0) {
        quorum_member_done(&m);
        return rc;
    }
    sort_addrs(&m);
    *ret = m;
    return 0;
}

static void print_host(const char *host, struct wr *w)
{
    wr_printf(w, strchr(host, ':') ? "[%s]" : "%s", host);
}

void quorum_member_print(const struct quorum_member *m, struct wr *w)
{
    for (size_t i = 0; i < m->addrs_len; i++) {
        wr_text(w, i ? "|" : "");
        print_host(m->addrs[i].host, w);
        wr_printf(w, ":%u:%u", m->addrs[i].quorum_port, m->addrs[i].election_port);
    }
    wr_text(w, m->role == MEMBER_OBSERVER ? ":observer" : ":participant");
    if (m->client_port != 0) {
        wr_text(w, ";");
        print_host(m->client_host, w);
        wr_printf(w, ":%u", m->client_port);
    }
}
