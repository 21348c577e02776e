/* test_answer.c - what the matrix does not say: messages that are not questions, sizes, order, upstream failures, configuration. */
#include "decode.h"

static const char *const zones[] = { "cluster.local", "10.in-addr.arpa", "ip6.arpa" };
static const char *const upstream[] = { "127.0.0.1" };

struct fixture {
    struct svc_table *table;
    struct dns_core *core;
    uint8_t out[DNS_MSG_MAX];
};

static struct fixture *fixture_new(struct dns_config cfg)
{
    struct fixture *f = x_calloc(1, sizeof(*f));
    char *error = NULL;

    if (!cfg.zone_count)
        cfg.zones = zones, cfg.zone_count = ARRAY_LEN(zones);
    f->table = fixture_table();
    table_set_synced(f->table);
    assert_int_equal(dns_core_new(&cfg, f->table, 42, &f->core, &error), 0);
    return f;
}

static void fixture_free(struct fixture *f)
{
    dns_core_free(f->core);
    table_free(f->table);
    free(f);
}

static enum dns_verdict ask(struct fixture *f, const uint8_t *q, size_t n, bool tcp, const struct dns_upstream *u,
                            struct dns_reply *reply)
{
    struct dns_request req = { .p = q, .n = n, .tcp = tcp, .upstream = u };

    *reply = (struct dns_reply){ .p = f->out, .cap = sizeof(f->out) };
    return dns_answer(f->core, &req, reply);
}

static void test_not_questions(void **state)
{
    static const struct {
        const char *what;
        uint8_t in[40];
        size_t len;
        enum dns_verdict verdict;
        uint16_t rcode;
    } cases[] = {
        { "nothing", { 0 }, 0, DNS_DROP, 0 },
        { "half a header", { 1, 2, 1, 0, 0, 1 }, 6, DNS_DROP, 0 },
        { "a reply", { 1, 2, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1 }, 17, DNS_DROP, 0 },
        { "no question", { 1, 2, 1, 0 }, 12, DNS_REPLY, DNS_FORMERR },
        { "cut question", { 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'a' }, 14, DNS_REPLY, DNS_FORMERR },
        { "STATUS", { 1, 2, 0x10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1 }, 17, DNS_REPLY, DNS_NOTIMP },
        { "UPDATE", { 1, 2, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1 }, 17, DNS_REPLY, DNS_NOTIMP },
        { "type OPT", { 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 41, 0, 1 }, 17, DNS_REPLY, DNS_FORMERR },
        { "class ANY", { 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 255 }, 17, DNS_REPLY, DNS_REFUSED },
        { "the root", { 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1 }, 17, DNS_REPLY, DNS_REFUSED },
    };
    struct fixture *f = fixture_new((struct dns_config){ .ttl_s = 5 });

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_reply r;
        struct decoded d;

        print_message("case: %s\n", cases[i].what);
        assert_int_equal(ask(f, cases[i].in, cases[i].len, false, NULL, &r), cases[i].verdict);
        if (cases[i].verdict == DNS_DROP) {
            assert_int_equal(r.n, 0);
            assert_true(r.malformed);
            continue;
        }
        decode(r.p, r.n, &d);
        assert_int_equal(d.rcode, cases[i].rcode);
        assert_int_equal(d.id, 0x0102);
        assert_int_equal(d.flags & DNS_F_OPCODE, cases[i].in[2] << 8 & DNS_F_OPCODE);
        assert_int_equal(d.records.len, 0);
        assert_int_equal(r.malformed, cases[i].rcode == DNS_FORMERR && cases[i].len != 17);
        decoded_free(&d);
    }
    fixture_free(f);
}

static void test_sizes(void **state)
{
    static const struct {
        bool tcp, edns;
        uint16_t size, limit;
    } cases[] = {
        { false, false, 0, 512 }, { false, true, 100, 512 }, { false, true, 700, 700 }, { false, true, 65535, 1232 },
        { true, false, 0, 65535 }, { true, true, 512, 65535 },
    };
    struct fixture *f = fixture_new((struct dns_config){ .ttl_s = 5 });
    uint8_t q[512];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ask_options o = { .edns = cases[i].edns, .size = cases[i].size, .dnssec_ok = true };
        struct dns_reply r;
        struct decoded d;

        print_message("case: %s, size %u\n", cases[i].tcp ? "TCP" : "UDP", cases[i].size);
        assert_int_equal(ask(f, q, query(q, "many.shop.svc.cluster.local", 1, &o), cases[i].tcp, NULL, &r), DNS_REPLY);
        decode(r.p, r.n, &d);
        assert_true(r.n <= cases[i].limit);
        assert_int_equal(r.truncated, !cases[i].tcp);
        assert_int_equal(!!(d.flags & DNS_F_TC), !cases[i].tcp);
        if (!cases[i].tcp) /* 16 bytes an address: filled to the brim */
            assert_true(r.n + 16 > cases[i].limit);
        assert_int_equal(d.edns, cases[i].edns);
        assert_int_equal(d.dnssec_ok, cases[i].edns);
        decoded_free(&d);
    }
    fixture_free(f);
}

/* SRV over 512 bytes: whole records only; without room the additional section goes first, in silence. */
static void test_srv_additional_is_dropped_first(void **state)
{
    struct fixture *f = fixture_new((struct dns_config){ .ttl_s = 5 });
    struct ask_options o = { .edns = true, .size = 512 };
    struct dns_reply r;
    struct decoded d;
    uint8_t q[512];

    assert_int_equal(ask(f, q, query(q, "_pg._tcp.db.shop.svc.cluster.local", 33, &o), false, NULL, &r), DNS_REPLY);
    decode(r.p, r.n, &d);
    assert_int_equal(decoded_count(&d, 1), 3);
    assert_int_equal(decoded_count(&d, 3), 4);
    decoded_free(&d);

    char json[4096] = "{\"schema\":1,\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"pg\",\"port\":5432}],\"endpoints\":[";

    for (int i = 0; i < 8; i++)
        sprintf(json + strlen(json), "%s{\"address\":\"10.1.1.%d\",\"hostname\":\"a-rather-long-host-name-%d\"}", i ? "," : "", i + 1, i);
    strcat(json, "]}");
    table_put(f->table, "shop/long", "{\"schema\":1}", 12, 1);
    table_put(f->table, "shop/long/s", json, strlen(json), 1);
    assert_int_equal(table_bad_nodes(f->table), 0);
    assert_int_equal(ask(f, q, query(q, "_pg._tcp.long.shop.svc.cluster.local", 33, &o), false, NULL, &r), DNS_REPLY);
    decode(r.p, r.n, &d);
    assert_true(r.n <= 512);
    assert_int_equal(decoded_count(&d, 1), 6);
    assert_true(d.flags & DNS_F_TC);
    assert_int_equal(decoded_count(&d, 3), 0);
    decoded_free(&d);

    o.size = 700;
    assert_int_equal(ask(f, q, query(q, "_pg._tcp.long.shop.svc.cluster.local", 33, &o), false, NULL, &r), DNS_REPLY);
    decode(r.p, r.n, &d);
    assert_int_equal(decoded_count(&d, 1), 8);
    assert_in_range(decoded_count(&d, 3), 1, 7);
    assert_false(d.flags & DNS_F_TC);
    decoded_free(&d);
    fixture_free(f);
}

/* Every address is first about equally often. */
static void test_order(void **state)
{
    struct fixture *f = fixture_new((struct dns_config){ .ttl_s = 5 });
    int first[3] = { 0 };
    uint8_t q[512];
    size_t n = query(q, "db.shop.svc.cluster.local", 1, NULL);

    for (int i = 0; i < 3000; i++) {
        struct dns_reply r;

        assert_int_equal(ask(f, q, n, false, NULL, &r), DNS_REPLY);
        first[r.p[r.n - 3 * 16 + 15] - 20]++; /* 10.244.x.20, .21, .22; 16 bytes a record */
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(first[i], 850, 1150);
    fixture_free(f);
}

static void test_flags(void **state)
{
    struct fixture *f = fixture_new((struct dns_config){ .ttl_s = 5 });
    struct ask_options o = { .norec = true, .cd = true };
    struct dns_reply r;
    struct decoded d;
    uint8_t q[512];

    assert_int_equal(ask(f, q, query(q, "web.shop.svc.cluster.local", 1, &o), false, NULL, &r), DNS_REPLY);
    decode(r.p, r.n, &d);
    assert_int_equal(d.flags, DNS_F_QR | DNS_F_AA | DNS_F_CD);
    decoded_free(&d);
    fixture_free(f);
    f = fixture_new((struct dns_config){ .ttl_s = 0, .forward = upstream, .forward_count = 1 });
    assert_int_equal(ask(f, q, query(q, "web.shop.svc.cluster.local", 1, NULL), false, NULL, &r), DNS_REPLY);
    decode(r.p, r.n, &d);
    assert_int_equal(d.flags, DNS_F_QR | DNS_F_AA | DNS_F_RD | DNS_F_RA);
    assert_string_equal(decoded_text(&d, 1, 0), "web.shop.svc.cluster.local. 0 A 10.96.1.10");
    decoded_free(&d);
    fixture_free(f);
}

static void test_upstream(void **state)
{
    struct fixture *f = fixture_new((struct dns_config){ .ttl_s = 5, .forward = upstream, .forward_count = 1 });
    struct dns_reply r;
    struct decoded d;
    uint8_t q[512];
    char name[DNS_TEXT_MAX];
    struct ask_options o = { .edns = true, .dnssec_ok = true, .cd = true };
    size_t n = query(q, "WWW.Example.net", 28, &o);

    assert_int_equal(ask(f, q, n, false, NULL, &r), DNS_FORWARD);
    name_format(&r.ask.name, name);
    assert_string_equal(name, "www.example.net.");
    assert_int_equal(r.ask.type, 28);
    assert_true(r.ask.dnssec_ok);
    assert_true(r.ask.cd);
    struct dns_upstream u = { .name = r.ask.name, .type = 28 };

    assert_int_equal(ask(f, q, n, false, &u, &r), DNS_REPLY); /* nobody answered */
    decode(r.p, r.n, &d);
    assert_int_equal(d.rcode, DNS_SERVFAIL);
    assert_string_equal(d.question, "WWW.Example.net.");
    decoded_free(&d);
    /* The answer to another question is not taken. */
    assert_int_equal(ask(f, q, query(q, "other.example.net", 28, &o), false, &u, &r), DNS_FORWARD);
    /* A chain whose upstream is dead. */
    n = query(q, "ext.shop.svc.cluster.local", 28, NULL);
    assert_int_equal(ask(f, q, n, false, NULL, &r), DNS_CHAIN);
    assert_int_equal(ask(f, q, n, false, &u, &r), DNS_REPLY);
    decode(r.p, r.n, &d);
    assert_int_equal(d.rcode, DNS_SERVFAIL);
    assert_int_equal(d.records.len, 0);
    decoded_free(&d);
    fixture_free(f);
}

/* The whole reverse trees are ours by default, but with an upstream the rest of the world's addresses are its. */
static void test_reverse_falls_through(void **state)
{
    static const char *const whole[] = { "cluster.local", "in-addr.arpa" };
    struct dns_config cfg = { .zones = whole, .zone_count = 2, .ttl_s = 5, .forward = upstream, .forward_count = 1 };
    struct fixture *f = fixture_new(cfg);
    struct dns_reply r;
    uint8_t q[512];

    assert_int_equal(ask(f, q, query(q, "9.9.9.9.in-addr.arpa", 12, NULL), false, NULL, &r), DNS_FORWARD);
    assert_int_equal(ask(f, q, query(q, "10.1.96.10.in-addr.arpa", 12, NULL), false, NULL, &r), DNS_REPLY);
    assert_int_equal(r.rcode, DNS_NOERROR);
    fixture_free(f);
    cfg.forward_count = 0;
    f = fixture_new(cfg);
    assert_int_equal(ask(f, q, query(q, "9.9.9.9.in-addr.arpa", 12, NULL), false, NULL, &r), DNS_REPLY);
    assert_int_equal(r.rcode, DNS_NXDOMAIN);
    fixture_free(f);
}

static void test_config(void **state)
{
    static const char *const bad[] = { "a..b" }, *const twice[] = { "a.b", "A.B." }, *const reverse[] = { "10.in-addr.arpa" };
    static const struct {
        const char *const *zones;
        size_t n;
        uint32_t ttl_s;
        const char *error;
    } cases[] = {
        { bad, 1, 5, "zone 'a..b' is not a domain name" },
        { twice, 2, 5, "zone 'A.B.' is named twice" },
        { reverse, 1, 5, "no zone for names of services: all zones are reverse ones" },
        { zones, 3, 3601, "TTL 3601 is not in 0..3600" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_config cfg = { .zones = cases[i].zones, .zone_count = cases[i].n, .ttl_s = cases[i].ttl_s };
        struct dns_core *c;
        char *error = NULL;

        assert_int_equal(dns_core_new(&cfg, NULL, 1, &c, &error), RC_INVAL);
        assert_string_equal(error, cases[i].error);
        free(error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_questions),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_srv_additional_is_dropped_first),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_upstream),
        cmocka_unit_test(test_reverse_falls_through),
        cmocka_unit_test(test_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
