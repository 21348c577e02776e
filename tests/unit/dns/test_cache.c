#include "decode.h"

#include "cache.h"

static struct dns_ask ask_of(const char *name, uint16_t type)
{
    struct dns_ask a = { .type = type };

    assert_int_equal(name_parse(name, &a.name), 0);
    return a;
}

static struct dns_msg *msg_of(uint32_t ttl_s, uint16_t mark)
{
    struct dns_msg *m = x_calloc(1, sizeof(*m));

    m->ttl_s = ttl_s;
    m->flags = mark;
    return m;
}

static void test_ages(void **state)
{
    struct dns_cache *c = cache_new(10);
    struct dns_ask a = ask_of("a.example", 1);
    uint32_t age;

    assert_null(cache_get(c, &a, 0, &age));
    cache_put(c, &a, msg_of(10, 1), 1000);
    assert_int_equal(cache_get(c, &a, 1000, &age)->flags, 1);
    assert_int_equal(age, 0);
    assert_non_null(cache_get(c, &a, 10999, &age));
    assert_int_equal(age, 9);
    assert_null(cache_get(c, &a, 11000, &age));
    assert_int_equal(cache_len(c), 0);
    cache_free(c);
}

static void test_keys(void **state)
{
    struct dns_cache *c = cache_new(10);
    struct dns_ask a = ask_of("a.example", 1), b = ask_of("a.example", 28), d = a;
    uint32_t age;

    d.dnssec_ok = true;
    cache_put(c, &a, msg_of(10, 1), 0);
    assert_null(cache_get(c, &b, 0, &age));
    assert_null(cache_get(c, &d, 0, &age));
    cache_put(c, &a, msg_of(10, 2), 5000); /* replaces */
    assert_int_equal(cache_get(c, &a, 5000, &age)->flags, 2);
    assert_int_equal(cache_len(c), 1);
    cache_free(c);
}

static void test_bounds(void **state)
{
    struct dns_cache *c = cache_new(3);
    char name[32];
    uint32_t age;
    struct dns_ask first = ask_of("n0.example", 1), second = ask_of("n1.example", 1);

    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "n%d.example", i);
        struct dns_ask a = ask_of(name, 1);

        cache_put(c, &a, msg_of(10, (uint16_t)i), 0);
    }
    assert_non_null(cache_get(c, &first, 0, &age)); /* used: the second is the next to go */
    struct dns_ask more = ask_of("more.example", 1);

    cache_put(c, &more, msg_of(10, 9), 0);
    assert_int_equal(cache_len(c), 3);
    assert_non_null(cache_get(c, &first, 0, &age));
    assert_null(cache_get(c, &second, 0, &age));
    cache_free(c);
}

static void test_bytes(void **state)
{
    struct dns_cache *c = cache_new(1000000);
    char name[32];

    for (int i = 0; i < 300; i++) { /* 75 MiB of answers */
        struct dns_msg *m = x_calloc(1, sizeof(*m) + DNS_MSG_UNPACKED_MAX);

        m->ttl_s = 10;
        m->len = DNS_MSG_UNPACKED_MAX;
        snprintf(name, sizeof(name), "n%d.example", i);
        struct dns_ask a = ask_of(name, 1);

        cache_put(c, &a, m, 0);
    }
    assert_in_range(cache_len(c), 200, CACHE_BYTES_MAX / DNS_MSG_UNPACKED_MAX);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ages), cmocka_unit_test(test_keys), cmocka_unit_test(test_bounds),
                                        cmocka_unit_test(test_bytes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
