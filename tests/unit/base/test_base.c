/* base: cursors, writers, maps, arenas, text and addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/relapse.h"
#include "base/str.h"

static void test_cursor(void **state)
{
    (void)state;
    static const uint8_t in[] = { 1, 0, 2, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe };
    for (size_t n = 0; n <= sizeof(in); n++) {
        uint8_t *copy = x_memdup(in, n); /* exact size: an overread is an ASan finding */
        struct rd r = rd_init(copy, n);
        uint8_t a = rd_u8(&r);
        uint16_t b = rd_u16(&r);
        uint32_t c = rd_u32(&r);
        int64_t d = rd_i64(&r);
        assert_int_equal(r.rc, n == sizeof(in) ? 0 : RC_SHORT);
        assert_int_equal(d, n == sizeof(in) ? -2 : 0);
        if (n >= 7) {
            assert_int_equal(a, 1);
            assert_int_equal(b, 2);
            assert_int_equal(c, 3);
        }
        assert_int_equal(rd_left(&r), 0);
        free(copy);
    }
    struct rd r = rd_init(in, sizeof(in));
    rd_fail(&r, RC_MALFORMED);
    rd_fail(&r, RC_SHORT); /* the first one sticks */
    assert_int_equal(rd_u64(&r), 0);
    assert_int_equal(r.rc, RC_MALFORMED);
}

static void test_writer(void **state)
{
    (void)state;
    struct wr w = wr_init(0);
    for (uint32_t i = 0; i < 1000; i++)
        wr_u32(&w, i);
    wr_patch_u32(&w, 8, 77);
    wr_printf(&w, "%s-%d", "x", 5);
    assert_int_equal(w.n, 4003);
    assert_int_equal(load_u32(w.p + 8), 77);
    assert_int_equal(load_u32(w.p + 3996), 999);
    assert_string_equal(wr_cstr(&w) + 4000, "x-5");
    wr_free(&w);

    w = wr_init(10);
    wr_u64(&w, 1);
    wr_u16(&w, 2);
    assert_int_equal(w.rc, 0);
    wr_u8(&w, 3);
    assert_int_equal(w.rc, RC_TOOBIG);
    wr_u8(&w, 3);
    assert_int_equal(w.n, 10);
    wr_reset(&w);
    wr_u8(&w, 9);
    assert_int_equal(w.rc, 0);
    wr_free(&w);
}

/* Both maps against an array of what they should hold, through growth and deletion runs. */
static void test_maps_property(void **state)
{
    (void)state;
    enum { KEYS = 500, STEPS = 40000 };
    static char values[KEYS];
    bool in_s[KEYS] = { 0 }, in_u[KEYS] = { 0 };
    struct strmap s = { 0 };
    struct u64map u = { 0 };
    uint64_t x = 88172645463325252u;
    for (int step = 0; step < STEPS; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t k = x % KEYS;
        char key[16];
        snprintf(key, sizeof(key), "key-%zu", k);
        if (x >> 32 & 1) {
            assert_ptr_equal(strmap_set_s(&s, key, &values[k]), in_s[k] ? &values[k] : NULL);
            assert_ptr_equal(u64map_set(&u, k * 64, &values[k]), in_u[k] ? &values[k] : NULL);
            in_s[k] = in_u[k] = true;
        } else {
            assert_ptr_equal(strmap_del_s(&s, key), in_s[k] ? &values[k] : NULL);
            assert_ptr_equal(u64map_del(&u, k * 64), in_u[k] ? &values[k] : NULL);
            in_s[k] = in_u[k] = false;
        }
    }
    size_t want = 0, seen = 0;
    for (size_t k = 0; k < KEYS; k++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%zu", k);
        want += in_s[k];
        assert_ptr_equal(strmap_get_s(&s, key), in_s[k] ? &values[k] : NULL);
        assert_ptr_equal(u64map_get(&u, k * 64), in_u[k] ? &values[k] : NULL);
    }
    assert_int_equal(s.len, want);
    assert_int_equal(u.len, want);
    STRMAP_EACH(slot, &s) seen += slot->value != NULL;
    U64MAP_EACH(slot, &u) seen += slot->value != NULL;
    assert_int_equal(seen, 2 * want);
    strmap_free(&s, NULL);
    u64map_free(&u, NULL);
    assert_null(strmap_get_s(&s, "key-1"));
    assert_null(strmap_del_s(&s, "key-1"));
}

static void test_arena(void **state)
{
    (void)state;
    struct arena a = arena_init();
    for (int round = 0; round < 3; round++) {
        char *last = NULL;
        for (size_t n = 0; n < 3000; n += 7) {
            char *p = arena_alloc(&a, n);
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, 0x5a, n);
            last = p;
        }
        assert_non_null(last);
        assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
        assert_string_equal(arena_strdup(&a, buf_of("abcd", 2)), "ab");
        void *big = arena_calloc(&a, 3, 1 << 20);
        assert_int_equal(((char *)big)[(3 << 20) - 1], 0);
        arena_reset(&a);
    }
    arena_free(&a);
}

static void test_lists(void **state)
{
    (void)state;
    struct list head, n[3];
    list_init(&head);
    for (int i = 0; i < 3; i++)
        list_push_back(&head, &n[i]);
    int i = 0;
    LIST_EACH_SAFE(it, &head)
    {
        assert_ptr_equal(it, &n[i]);
        list_remove(it);
        list_remove(it); /* harmless */
        i++;
    }
    assert_int_equal(i, 3);
    assert_true(list_empty(&head));
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        int rc;
        int64_t value;
    } cases[] = {
        { "0", 0, 0 },           { "65535", 0, 65535 },    { "65536", RC_INVAL, 0 },       { "-1", RC_INVAL, 0 },
        { "", RC_MALFORMED, 0 }, { "7x", RC_MALFORMED, 0 }, { " 7", RC_MALFORMED, 0 },      { "0x10", RC_MALFORMED, 0 },
        { "+3", RC_MALFORMED, 0 }, { "-", RC_MALFORMED, 0 }, { "99999999999999999999", RC_INVAL, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = 42;
        print_message("case: \"%s\"\n", cases[i].in);
        assert_int_equal(str_to_i64(cases[i].in, 0, 65535, &got), cases[i].rc);
        assert_int_equal(got, cases[i].rc == 0 ? cases[i].value : 42);
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *coded;
    } pairs[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foobar", "Zm9vYmFy" } }; /* RFC 4648 */
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        char *e = base64_encode(pairs[i].plain, strlen(pairs[i].plain));
        assert_string_equal(e, pairs[i].coded);
        uint8_t *d;
        assert_int_equal(base64_decode(e, strlen(e), &d), (int64_t)strlen(pairs[i].plain));
        assert_memory_equal(d, pairs[i].plain, strlen(pairs[i].plain));
        free(d);
        free(e);
    }
    static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Z=g=", "Zm9v=", "Zm9*", "====" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t *d = NULL;
        print_message("case: %s\n", bad[i]);
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &d), RC_MALFORMED);
    }
    uint8_t *d;
    assert_int_equal(base64_decode("Zm9v\nYmFy\n", 10, &d), 6);
    free(d);
}

static void test_split(void **state)
{
    (void)state;
    size_t n;
    char **p = str_split(" a, b;;c d ,", ",;", &n);
    assert_int_equal(n, 3);
    assert_string_equal(p[0], "a");
    assert_string_equal(p[1], "b");
    assert_string_equal(p[2], "c d");
    assert_null(p[3]);
    str_split_free(p);
    p = str_split("", ",", &n);
    assert_int_equal(n, 0);
    str_split_free(p);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } cases[] = {
        { "127.0.0.1:53", "127.0.0.1:53" }, { "[::1]:2181", "[::1]:2181" },  { "localhost:1", "127.0.0.1:1" },
        { ":53", "[::]:53" },               { "*:53", "[::]:53" },            { "[::ffff:10.0.0.1]:7", "10.0.0.1:7" },
        { "127.0.0.1", NULL },              { "127.0.0.1:", NULL },           { "127.0.0.1:65536", NULL },
        { "::1:53", NULL },                 { "example.org:53", NULL },       { "300.0.0.1:1", NULL },
        { "[::1:53", NULL },                { "", NULL },                     { "127.0.0.1:-1", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sockaddr_storage sa;
        socklen_t len;
        print_message("case: %s\n", cases[i].in);
        int rc = addr_parse(cases[i].in, &sa, &len);
        assert_int_equal(rc, cases[i].out ? 0 : RC_INVAL);
        if (!cases[i].out)
            continue;
        char text[ADDR_TEXT_MAX];
        addr_format((struct sockaddr *)&sa, text);
        assert_string_equal(text, cases[i].out);
    }
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/quoll-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    char block[10000];
    memset(block, 'q', sizeof(block));
    assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    close(fd);
    uint8_t *p;
    size_t n;
    assert_int_equal(file_read(path, 10000, &p, &n), 0);
    assert_int_equal(n, 10000);
    assert_int_equal(p[n], 0);
    free(p);
    assert_int_equal(file_read(path, 9999, &p, &n), RC_TOOBIG);
    unlink(path);
    assert_int_equal(file_read(path, 10, &p, &n), RC_NOTFOUND);
}

static void test_texts(void **state)
{
    (void)state;
    char t[21];
    clock_rfc3339(1767323045000, t);
    assert_string_equal(t, "2026-01-02T03:04:05Z");
    enum log_level level;
    assert_int_equal(log_level_parse("WARN", &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse("loud", &level), RC_INVAL);
    assert_string_equal(rc_str(RC_INUSE), "address already in use");
    assert_string_equal(rc_str(-999), "unknown error");
    assert_true(clock_mono_us() / 1000 <= clock_mono_ms() + 1);
}

/* ---- relapses ---- */

static void test_relapse_list(void **state)
{
    (void)state;
    for (int i = 0; i < RELAPSE_COUNT; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "ZooKeeper-%d", relapse_table[i].number);
        assert_int_equal(relapse_find(text), i);
        assert_int_equal(relapse_find(text + 10), i);
        assert_true(i == 0 || relapse_table[i - 1].number < relapse_table[i].number);
        assert_false(relapse_is_on((enum relapse)i));
    }
    assert_int_equal(relapse_find(""), RELAPSE_COUNT);
    assert_int_equal(relapse_find("ZOOKEEPER-"), RELAPSE_COUNT);
    assert_int_equal(relapse_find("3911x"), RELAPSE_COUNT);
    assert_int_equal(relapse_find("1"), RELAPSE_COUNT);
    relapse_set(RELAPSE_3911, true);
    assert_true(relapse(3911));
    assert_false(relapse(4643));
    relapse_set(RELAPSE_3911, false);
    assert_false(relapse(3911));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor), cmocka_unit_test(test_writer),    cmocka_unit_test(test_maps_property),
        cmocka_unit_test(test_arena),  cmocka_unit_test(test_lists),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_base64), cmocka_unit_test(test_split),     cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_files),  cmocka_unit_test(test_texts), cmocka_unit_test(test_relapse_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
