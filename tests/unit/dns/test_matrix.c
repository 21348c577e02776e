/* test_matrix.c - the cases of matrix.txt on the answering core, as over UDP and as over TCP. */
#include "decode.h"

#include <stdio.h>
#include <strings.h>

#include "base/str.h"

struct setup {
    char *name;
    const char *namespaces[4];
    struct dns_config cfg;
    bool unsynced;
    struct svc_table *table;
    struct dns_core *core;
};

struct test_case {
    const char *id, *name, *options, *rcode, *answer, *additional;
    uint16_t type;
    bool cut; /* /TC */
    char absolute[DNS_TEXT_MAX];
};

static const char *const zones[] = { "cluster.local", "10.in-addr.arpa", "ip6.arpa" };
static const char *const upstream_stub[] = { "127.0.0.1" };
static int failures, cases;

static void complain(const struct setup *s, const struct test_case *c, bool tcp, const char *what, const char *detail)
{
    print_error("%s, case %s (%s %s) over %s: %s%s\n", s->name, c->id, c->name, c->options, tcp ? "TCP" : "UDP", what, detail);
    failures++;
}

/* ---- setups ---- */

static void setup_end(struct setup *s)
{
    dns_core_free(s->core);
    table_free(s->table);
    free(s->name);
    memset(s, 0, sizeof(*s));
}

static enum dns_pods pods_mode(const char *name)
{
    for (int i = 0; dns_pods_names[i]; i++)
        if (strcmp(name, dns_pods_names[i]) == 0)
            return (enum dns_pods)i;
    fail_msg("mode %s", name);
    return DNS_PODS_DISABLED;
}

static void setup_start(struct setup *s, char *line)
{
    char *save, *name = strtok_r(line, " ", &save), *flag, *error = NULL;

    setup_end(s);
    s->name = x_strdup(name);
    s->cfg = (struct dns_config){ .zones = zones, .zone_count = ARRAY_LEN(zones), .ttl_s = 5, .namespaces = s->namespaces };
    while ((flag = strtok_r(NULL, " ", &save))) {
        if (strcmp(flag, "--ignore-empty") == 0)
            s->cfg.ignore_empty = true;
        else if (strcmp(flag, "--pods") == 0)
            s->cfg.pods = pods_mode(strtok_r(NULL, " ", &save));
        else if (strcmp(flag, "--unsynced") == 0)
            s->unsynced = true;
        else if (strcmp(flag, "--namespace") == 0)
            s->namespaces[s->cfg.namespace_count++] = "shop", strtok_r(NULL, " ", &save);
        else if (strcmp(flag, "--forward") == 0)
            s->cfg.forward = upstream_stub, s->cfg.forward_count = 1, strtok_r(NULL, " ", &save);
        else
            fail_msg("flag %s", flag);
    }
    s->table = fixture_table();
    if (!s->unsynced)
        table_set_synced(s->table);
    assert_int_equal(dns_core_new(&s->cfg, s->table, 42, &s->core, &error), 0);
    struct ip self;

    assert_int_equal(ip_parse("127.0.0.1", &self), 0);
    dns_core_add_self(s->core, &self);
}

static void edit(struct setup *s, char *line)
{
    char *save, *verb = strtok_r(line, " ", &save), *path = strtok_r(NULL, " ", &save);

    if (strcmp(verb, "put") == 0)
        table_put(s->table, path, save, strlen(save), 1700000001000);
    else
        table_remove(s->table, path, 1700000001000);
    assert_int_equal(table_bad_nodes(s->table), 0);
}

/* ---- the upstream ---- */

/* What the stub says: a message made here by hand, as a server would send it. */
static struct dns_msg *upstream_answer(const struct dns_ask *ask)
{
    uint8_t out[512] = { 0x43, 0x21, 0x81, 0x80, 0, 1 };
    char name[DNS_TEXT_MAX];
    struct dns_msg *m = NULL;
    size_t n = 12;

    name_format(&ask->name, name);
    memcpy(out + n, ask->name.wire, ask->name.len);
    n += ask->name.len;
    out[n + 1] = (uint8_t)ask->type, out[n + 3] = 1;
    n += 4;
    static const uint8_t a[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 80 };
    static const uint8_t aaaa[] = { 0xc0, 12, 0, 28, 0, 1, 0, 0, 1, 44, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                    0x80 };
    /* owner: example.net, behind the first label of nothing.example.net */
    static const uint8_t soa[] = { 0xc0, 20, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xc0, 20, 0xc0, 20, 0, 0, 0, 1, 0, 0, 0, 2,
                                   0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 30 };

    if (strcmp(name, "www.example.net.") == 0 && ask->type == DNS_T_A) {
        memcpy(out + n, a, sizeof(a));
        n += sizeof(a);
        out[7] = 1;
    } else if (strcmp(name, "www.example.net.") == 0) {
        memcpy(out + n, aaaa, sizeof(aaaa));
        n += sizeof(aaaa);
        out[7] = 1;
    } else if (strcmp(name, "cut.example.net.") == 0) {
        out[2] |= 2;
    } else {
        assert_string_equal(name, "nothing.example.net.");
        memcpy(out + n, soa, sizeof(soa));
        n += sizeof(soa);
        out[3] |= 3;
        out[9] = 1;
    }
    assert_int_equal(dns_msg_parse(out, n, 0x4321, &ask->name, ask->type, &m), 0);
    return m;
}

/* ---- one case ---- */

/* "[TTL] [owner.] TYPE rdata" -> "owner TTL TYPE rdata" */
static char *expected_record(const struct test_case *c, char *text)
{
    unsigned ttl = 5;
    char *owner = NULL, *save, *word = strtok_r(text, " ", &save);

    if (word[strspn(word, "0123456789")] == '\0')
        ttl = (unsigned)atoi(word), word = strtok_r(NULL, " ", &save);
    if (word[strlen(word) - 1] == '.')
        owner = word, word = strtok_r(NULL, " ", &save);
    return x_asprintf("%s %u %s %s", owner ? owner : c->absolute, ttl, word, save);
}

static bool record_matches(const char *got, const char *want)
{
    size_t n = strlen(want);

    return want[n - 1] == '*' ? strncmp(got, want, n - 1) == 0 : strcmp(got, want) == 0;
}

/* Compares one section with a list; "soa" items are for the caller: returns the zone, or NULL. */
static const char *section_check(const struct setup *s, const struct test_case *c, bool tcp, const struct decoded *d, int section,
                                 const char *list)
{
    static char soa_zone[64];
    bool soa = false;
    size_t want = 0;
    char **items = str_split(list, ",", NULL);

    for (char **it = items; *it; it++) {
        if (strncmp(*it, "soa", 3) == 0) {
            soa = true;
            snprintf(soa_zone, sizeof(soa_zone), "%s", (*it)[3] ? *it + 4 : "cluster.local.");
            continue;
        }
        if (strcmp(*it, "-") == 0)
            continue;
        char *record = expected_record(c, *it);
        bool found = false;
        bool cname = strstr(record, " CNAME ");

        for (size_t i = 0; i < decoded_count(d, section); i++)
            if (record_matches(decoded_text(d, section, i), record) && (!cname || i == want))
                found = true;
        if (!found)
            complain(s, c, tcp, "missing: ", record);
        free(record);
        want++;
    }
    str_split_free(items);
    if (decoded_count(d, section) != want)
        complain(s, c, tcp, "wrong number of records, e.g. ", decoded_count(d, section) ? decoded_text(d, section, 0) : "none");
    return soa ? soa_zone : NULL;
}

static void soa_check(const struct setup *s, const struct test_case *c, bool tcp, const struct decoded *d, const char *zone)
{
    if (decoded_count(d, 2) != (zone ? 1 : 0)) {
        complain(s, c, tcp, "authority section: ", zone ? "no SOA" : "not empty");
        return;
    }
    if (!zone)
        return;
    char text[DNS_TEXT_MAX];

    snprintf(text, sizeof(text), "%s ", zone);
    /* The zone's name may carry the case of the question. */
    if (strncasecmp(decoded_text(d, 2, 0), text, strlen(text)) != 0 || !strstr(decoded_text(d, 2, 0), " SOA "))
        complain(s, c, tcp, "authority: ", decoded_text(d, 2, 0));
}

static void many_check(const struct setup *s, const struct test_case *c, bool tcp, size_t n, const struct decoded *d)
{
    size_t got = decoded_count(d, 1), want = (size_t)atoi(c->answer + 1);

    if (tcp && (got != want || (d->flags & DNS_F_TC)))
        complain(s, c, tcp, "not whole", "");
    if (!tcp && (got >= want || got < 20 || !(d->flags & DNS_F_TC) || n > (d->edns ? DNS_UDP_MAX : DNS_UDP_MIN)))
        complain(s, c, tcp, "not cut, or too much", "");
}

static void reply_check(const struct setup *s, const struct test_case *c, bool tcp, const uint8_t *p, size_t n)
{
    struct decoded d;

    decode(p, n, &d);
    if (strcmp(rcode_name(d.rcode), c->rcode) != 0)
        complain(s, c, tcp, "rcode ", rcode_name(d.rcode));
    if (d.id != 0x1234 || !(d.flags & DNS_F_QR) || strcmp(d.question, c->absolute) != 0)
        complain(s, c, tcp, "header or question", "");
    bool ours = strcmp(c->answer, "-") != 0 && !strstr(c->absolute, "example.net");

    if (!!(d.flags & DNS_F_AA) != ours)
        complain(s, c, tcp, "AA is wrong", "");
    if (c->answer[0] == '#') {
        many_check(s, c, tcp, n, &d);
    } else {
        if (!!(d.flags & DNS_F_TC) != c->cut)
            complain(s, c, tcp, "TC is wrong", "");
        soa_check(s, c, tcp, &d, section_check(s, c, tcp, &d, 1, c->answer));
        section_check(s, c, tcp, &d, 3, c->additional);
    }
    decoded_free(&d);
}

static void case_run(struct setup *s, const struct test_case *c, bool tcp)
{
    static uint8_t out[DNS_MSG_MAX];
    uint8_t q[512];
    struct ask_options o = { .edns = !strstr(c->options, "noedns"), .norec = strstr(c->options, "norec"),
                             .class = strstr(c->options, "class=CH") ? 3 : 0, .version = strstr(c->options, "edns=1") ? 1 : 0 };
    struct dns_request req = { .p = q, .tcp = tcp };
    struct dns_reply reply = { .p = out, .cap = sizeof(out) };
    struct dns_upstream u = { .age_s = 0 };

    assert_int_equal(ip_parse("127.0.0.1", &req.local), 0);
    req.n = query(q, c->absolute, c->type, &o);
    enum dns_verdict v = dns_answer(s->core, &req, &reply);

    if (v == DNS_CHAIN || v == DNS_FORWARD) {
        u.name = reply.ask.name;
        u.type = reply.ask.type;
        u.msg = upstream_answer(&reply.ask);
        req.upstream = &u;
        v = dns_answer(s->core, &req, &reply);
    }
    if (v == DNS_REPLY)
        reply_check(s, c, tcp, reply.p, reply.n);
    else
        complain(s, c, tcp, "no reply", "");
    free((void *)u.msg);
    cases++;
}

static char *trim(char *s)
{
    s += strspn(s, " ");
    for (size_t n = strlen(s); n > 0 && s[n - 1] == ' '; n--)
        s[n - 1] = '\0';
    return s;
}

static void case_parse(char *line, struct test_case *c)
{
    char *field[6];

    for (int i = 0; i < 6; i++)
        field[i] = trim(i < 5 || line ? strsep(&line, "|") : (char *)"");
    memset(c, 0, sizeof(*c));
    c->id = field[0], c->name = field[1], c->rcode = field[3], c->answer = field[4], c->additional = field[5];
    char *slash = strstr(field[3], "/TC");

    if (slash)
        *slash = '\0', c->cut = true;
    char *type = field[2], *end = type + strcspn(type, " =");

    c->options = type[strcspn(type, " ")] ? type + strcspn(type, " ") + 1 : "";
    *end = '\0';
    c->type = type_of(type);
    bool absolute = c->name[strlen(c->name) - 1] == '.';

    snprintf(c->absolute, sizeof(c->absolute), "%s%s", strcmp(c->name, "@") == 0 ? "" : c->name,
             absolute ? "" : strcmp(c->name, "@") == 0 ? "cluster.local." : ".cluster.local.");
}

static void test_matrix(void **state)
{
    FILE *f = fopen(FIXTURES "/matrix.txt", "r");
    char line[4096];
    struct setup s = { 0 };
    struct test_case c;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        if (strncmp(line, "setup ", 6) == 0) {
            setup_start(&s, line + 6);
        } else if (strncmp(line, "put ", 4) == 0 || strncmp(line, "del ", 4) == 0) {
            edit(&s, line);
        } else {
            case_parse(line, &c);
            case_run(&s, &c, false);
            case_run(&s, &c, true);
        }
    }
    setup_end(&s);
    fclose(f);
    assert_true(cases > 300);
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_matrix) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
