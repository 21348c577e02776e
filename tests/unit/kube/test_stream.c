/* Objects come out of the stream whole, wherever the chunks are cut. */
#include "cmocka_all.h"

#include <stdio.h>

#include "base/str.h"
#include "stream.h"

struct seen {
    char text[4096];
    int count, fail_at;
};

static int collect(void *data, const char *text, size_t len)
{
    struct seen *s = data;
    size_t used = strlen(s->text);
    snprintf(s->text + used, sizeof s->text - used, "<%.*s>", (int)len, text);
    return ++s->count == s->fail_at ? RC_CANCELLED : 0;
}

static const char events[] = "{\"a\":1}\n  {\"b\":{\"c\":[{},\"}{\\\"\\\\\"]}}\r\n{\"d\":\"\xc3\xa4 [\"}{\"e\":[]}\n";
static const char expected[] =
    "<{\"a\":1}><{\"b\":{\"c\":[{},\"}{\\\"\\\\\"]}}><{\"d\":\"\xc3\xa4 [\"}><{\"e\":[]}>";

static void test_every_cut(void **state)
{
    const size_t n = sizeof events - 1;
    for (size_t i = 0; i <= n; i++) {
        for (size_t k = i; k <= n; k++) {
            struct json_split s;
            struct seen seen = { 0 };
            json_split_init(&s, 64);
            assert_int_equal(json_split_feed(&s, (const uint8_t *)events, i, collect, &seen), 0);
            assert_int_equal(json_split_feed(&s, (const uint8_t *)events + i, k - i, collect, &seen), 0);
            assert_int_equal(json_split_feed(&s, (const uint8_t *)events + k, n - k, collect, &seen), 0);
            assert_string_equal(seen.text, expected);
            assert_true(json_split_idle(&s));
            json_split_free(&s);
        }
    }
}

static void test_idle_only_between_objects(void **state)
{
    struct json_split s;
    struct seen seen = { 0 };
    json_split_init(&s, 64);
    const char *text = "{\"a\":\"}\"}\n";
    for (size_t i = 0; text[i]; i++) {
        assert_int_equal(json_split_feed(&s, (const uint8_t *)text + i, 1, collect, &seen), 0);
        assert_int_equal(json_split_idle(&s), i >= 8);
    }
    json_split_free(&s);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *text;
        int rc;
    } cases[] = {
        { "not an object", "{}x", RC_MALFORMED },
        { "array at the top", "[{}]", RC_MALFORMED },
        { "closing first", "}", RC_MALFORMED },
        { "text", "<html>", RC_MALFORMED },
        { "too long in one piece", "{\"a\":\"0123456789012345678901234567890123456789\"}", RC_TOOBIG },
        { "too long and no end", "{\"a\":\"0123456789012345678901234567890123456789", RC_TOOBIG },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int bytewise = 0; bytewise <= 1; bytewise++) {
            struct json_split s;
            struct seen seen = { 0 };
            size_t n = strlen(cases[i].text), step = bytewise ? 1 : n;
            int rc = 0;
            print_message("case: %s, %zu bytes a time\n", cases[i].name, step);
            json_split_init(&s, 32);
            for (size_t at = 0; at < n && rc == 0; at += step)
                rc = json_split_feed(&s, (const uint8_t *)cases[i].text + at, step, collect, &seen);
            assert_int_equal(rc, cases[i].rc);
            assert_int_equal(json_split_feed(&s, (const uint8_t *)"{}", 2, collect, &seen), cases[i].rc);
            json_split_reset(&s);
            assert_int_equal(json_split_feed(&s, (const uint8_t *)"{}", 2, collect, &seen), 0);
            json_split_free(&s);
        }
    }
}

static void test_depth(void **state)
{
    struct json_split s;
    struct seen seen = { 0 };
    json_split_init(&s, 1 << 20);
    assert_int_equal(json_split_feed(&s, (const uint8_t *)"{", 1, collect, &seen), 0);
    int rc = 0;
    for (int i = 1; i < JSON_SPLIT_DEPTH_MAX; i++)
        assert_int_equal(json_split_feed(&s, (const uint8_t *)"[", 1, collect, &seen), 0);
    rc = json_split_feed(&s, (const uint8_t *)"[", 1, collect, &seen);
    assert_int_equal(rc, RC_MALFORMED);
    json_split_free(&s);
}

static void test_callback_stops(void **state)
{
    struct json_split s;
    struct seen seen = { .fail_at = 2 };
    json_split_init(&s, 64);
    assert_int_equal(json_split_feed(&s, (const uint8_t *)events, sizeof events - 1, collect, &seen), RC_CANCELLED);
    assert_int_equal(seen.count, 2);
    json_split_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),     cmocka_unit_test(test_idle_only_between_objects),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_depth),
        cmocka_unit_test(test_callback_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
