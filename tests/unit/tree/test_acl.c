/* test_acl.c - identities, matching, and what create and setACL accept. */
#include "util.h"

static struct jacl entry(int32_t perms, const char *scheme, const char *id)
{
    return (struct jacl){ perms, jstr_of(scheme), jstr_of(id) };
}

static void test_digest(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "super:admin", "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=" },
        { "bob:secret", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=" },
        { "nocolon", "nocolon:" },
        { "a:b:c", "a:" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *id = digest_identity(cases[i].in, strlen(cases[i].in));
        assert_memory_equal(id, cases[i].out, strlen(cases[i].out));
        assert_int_equal(strlen(id) - (size_t)(strchr(id, ':') - id), 29);
        free(id);
    }
}

static struct jbuf bytes(const char *s)
{
    return (struct jbuf){ (const uint8_t *)s, s ? (int32_t)strlen(s) : 0 };
}

static void test_auth_packets(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *data, *super_digest;
        int32_t err, n;
        bool super;
    } cases[] = {
        { "digest", "bob:secret", NULL, ZK_OK, 2, false },
        { "digest", "super:admin", "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=", ZK_OK, 3, true },
        { "digest", "super:wrong", "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=", ZK_OK, 2, false },
        { "digest", NULL, NULL, ZK_AUTHFAILED, 1, false },
        { "ip", "1.2.3.4", NULL, ZK_OK, 1, false }, /* nobody names himself another address */
        { "world", "anyone", NULL, ZK_AUTHFAILED, 1, false },
        { "super", "", NULL, ZK_AUTHFAILED, 1, false },
        { "", "", NULL, ZK_AUTHFAILED, 1, false },
        { NULL, "", NULL, ZK_AUTHFAILED, 1, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct auth_ids *ids = auth_ids_new("10.0.0.1"), *before = auth_ids_ref(ids);
        print_message("case: %s %s\n", cases[i].scheme ? cases[i].scheme : "null", cases[i].data ? cases[i].data : "null");
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(auth_packet_apply(&ids, jstr_of(cases[i].scheme), bytes(cases[i].data), cases[i].super_digest),
                             cases[i].err);
            assert_int_equal(ids->n, cases[i].n);
            assert_int_equal(ids->super, cases[i].super);
        }
        assert_int_equal(before->n, 1); /* what a request carries does not change under it */
        auth_ids_unref(before);
        auth_ids_unref(ids);
    }
    auth_ids_unref(NULL);
}

static void test_allows(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *id;
        int32_t perms, want;
        const char *who_scheme, *who; /* besides ip 10.1.2.3 */
        bool allowed;
    } cases[] = {
        { "world", "anyone", 31, 1, NULL, NULL, true },
        { "world", "anyone", 1, 2, NULL, NULL, false },
        { "world", "anyone", 16, 17, NULL, NULL, true }, /* any bit suffices */
        { "world", "someone", 31, 1, NULL, NULL, false },
        { "digest", "u:h", 31, 1, NULL, NULL, false },
        { "digest", "u:h", 31, 1, "digest", "u:h", true },
        { "digest", "u:h", 31, 1, "digest", "u:i", false },
        { "digest", "u:h", 31, 1, "sasl", "u:h", false },
        { "digest", "u:h", 0, 1, "super", "", true },
        { "sasl", "joe", 31, 1, "sasl", "joe", true },
        { "ip", "10.1.2.3", 31, 1, NULL, NULL, true },
        { "ip", "10.1.2.4", 31, 1, NULL, NULL, false },
        { "ip", "10.1.2.0/24", 31, 1, NULL, NULL, true },
        { "ip", "10.1.2.128/25", 31, 1, NULL, NULL, false },
        { "ip", "10.1.2.2/31", 31, 1, NULL, NULL, true },
        { "ip", "0.0.0.0/0", 31, 1, NULL, NULL, true },
        { "ip", "::/0", 31, 1, NULL, NULL, false }, /* another family */
        { "ip", "fe80::/10", 31, 1, "ip", "fe80::1%eth0", true },
        { "ip", "2001:db8::/33", 31, 1, "ip", "2001:db8:7fff::1", true },
        { "ip", "2001:db8::/33", 31, 1, "ip", "2001:db8:8000::1", false },
        { "ip", "192.168.0.0/16", 31, 1, "ip", "::ffff:192.168.7.7", true },
        { "ip", "10.1.2.3/33", 31, 1, NULL, NULL, false },
        { "ip", "nonsense", 31, 1, NULL, NULL, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct auth_ids *ids = auth_ids_new("10.1.2.3");
        struct jacl e = entry(cases[i].perms, cases[i].scheme, cases[i].id);
        print_message("case: %s %s\n", cases[i].scheme, cases[i].id);
        if (cases[i].who_scheme)
            ids = auth_ids_add(ids, cases[i].who_scheme, cases[i].who);
        assert_int_equal(acl_allows((struct jacls){ &e, 1 }, ids, cases[i].want), cases[i].allowed);
        auth_ids_unref(ids);
    }
    assert_true(acl_allows((struct jacls){ NULL, 0 }, NULL, 31));
    assert_true(acl_allows((struct jacls){ NULL, -1 }, NULL, 31));
}

static void test_fixup_entries(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *id;
        int32_t err;
    } cases[] = {
        { "world", "anyone", ZK_OK },        { "world", "x", ZK_INVALIDACL },      { "world", NULL, ZK_MARSHALLINGERROR },
        { NULL, "x", ZK_INVALIDACL },        { "super", "", ZK_INVALIDACL },       { "sasl", "joe", ZK_INVALIDACL },
        { "nope", NULL, ZK_INVALIDACL },     { "digest", NULL, ZK_MARSHALLINGERROR }, { "ip", NULL, ZK_MARSHALLINGERROR },
        { "digest", "u:h", ZK_OK },          { "digest", "user:", ZK_INVALIDACL }, { "digest", ":x", ZK_OK },
        { "digest", "a:b:", ZK_OK },         { "digest", "a:b:c", ZK_INVALIDACL }, { "digest", "u", ZK_INVALIDACL },
        { "digest", "", ZK_INVALIDACL },     { "digest", ":", ZK_INVALIDACL },     { "ip", "1.2.3.4", ZK_OK },
        { "ip", "1.2.3.4/0", ZK_OK },        { "ip", "1.2.3.4/32", ZK_OK },        { "ip", "1.2.3.4/33", ZK_INVALIDACL },
        { "ip", "1.2.3.4/-1", ZK_INVALIDACL }, { "ip", "1.2.3.4/", ZK_INVALIDACL }, { "ip", "1.2.3", ZK_INVALIDACL },
        { "ip", "1.2.3.256", ZK_INVALIDACL }, { "ip", "1.2.3.4.5", ZK_INVALIDACL }, { "ip", "", ZK_INVALIDACL },
        { "ip", "::1", ZK_OK },              { "ip", "::1/128", ZK_OK },           { "ip", "::1/129", ZK_INVALIDACL },
        { "ip", "host", ZK_INVALIDACL },
        { "auth", "", ZK_INVALIDACL }, /* an address proves nothing */
    };
    struct auth_ids *ids = auth_ids_new("10.1.2.3");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a = arena_init();
        struct jacl e = entry(31, cases[i].scheme, cases[i].id);
        struct jacls out;
        print_message("case: %s %s\n", cases[i].scheme ? cases[i].scheme : "null", cases[i].id ? cases[i].id : "null");
        assert_int_equal(acl_fixup((struct jacls){ &e, 1 }, ids, &a, &out), cases[i].err);
        arena_free(&a);
    }
    auth_ids_unref(ids);
}

static void test_fixup_lists(void **state)
{
    (void)state;
    struct arena a = arena_init();
    struct jacls out;
    struct auth_ids *ids = auth_ids_add(auth_ids_add(auth_ids_new("10.1.2.3"), "digest", "u:h"), "digest", "v:h");
    assert_int_equal(acl_fixup((struct jacls){ NULL, -1 }, ids, &a, &out), ZK_INVALIDACL);
    assert_int_equal(acl_fixup((struct jacls){ NULL, 0 }, ids, &a, &out), ZK_INVALIDACL);

    /* Duplicates go, the first stays; other perms are another entry; "auth" becomes both digests, which may repeat one. */
    struct jacl v[] = { entry(1, "world", "anyone"), entry(31, "digest", "u:h"), entry(1, "world", "anyone"),
                        entry(2, "world", "anyone"), entry(31, "auth", "ignored"), entry(31, "digest", "u:h") };
    static const struct {
        int32_t perms;
        const char *id;
    } want[] = { { 1, "anyone" }, { 31, "u:h" }, { 2, "anyone" }, { 31, "u:h" }, { 31, "v:h" } };
    assert_int_equal(acl_fixup((struct jacls){ v, ARRAY_LEN(v) }, ids, &a, &out), ZK_OK);
    assert_int_equal(out.n, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(out.v[i].perms, want[i].perms);
        assert_true(jstr_is(out.v[i].id, want[i].id));
    }
    assert_int_equal(acl_fixup((struct jacls){ v, ARRAY_LEN(v) }, NULL, &a, &out), ZK_INVALIDACL);

    /* As many as a packet can hold. */
    enum { MANY = 90000 };
    struct jacl *many = x_calloc(MANY, sizeof(*many));
    for (int i = 0; i < MANY; i++)
        many[i] = entry(i / 2, "world", "anyone");
    assert_int_equal(acl_fixup((struct jacls){ many, MANY }, ids, &a, &out), ZK_OK);
    assert_int_equal(out.n, MANY / 2);
    free(many);
    auth_ids_unref(ids);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest),        cmocka_unit_test(test_auth_packets), cmocka_unit_test(test_allows),
        cmocka_unit_test(test_fixup_entries), cmocka_unit_test(test_fixup_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
