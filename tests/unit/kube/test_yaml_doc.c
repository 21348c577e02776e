/* YAML and JSON text as values: typing, anchors, limits, what goes wrong and in which line. */
#include "cmocka_all.h"

#include <stdio.h>

#include "base/bytes.h"
#include "yaml_doc.h"

/* All documents as JSON, one behind the other; errors as "!line text". */
static char *load(const char *text, bool json)
{
    struct yaml_docs docs;
    struct wr w = wr_init(0);
    yaml_load(text, strlen(text), json, &docs);
    for (size_t i = 0; i < docs.len; i++) {
        const struct yaml_doc *d = &docs.items[i];
        char *dump = d->json ? json_dumps(d->json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        assert_true((d->json != NULL) != (d->error != NULL));
        if (dump)
            wr_printf(&w, "%s;", dump);
        else
            wr_printf(&w, "!%u %s;", d->line, d->error);
        free(dump);
    }
    yaml_docs_free(&docs);
    char *all = x_strdup(wr_cstr(&w));
    wr_free(&w);
    return all;
}

static void test_values(void **state)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        { "", "" },
        { "# nothing\n", "" },
        { "---\n---\n...\n", "" },
        { "a: 80", "{\"a\":80};" },
        { "a: \"80\"", "{\"a\":\"80\"};" },
        { "a: '80'", "{\"a\":\"80\"};" },
        { "a: !!str 80", "{\"a\":\"80\"};" },
        { "a: |\n  80\n", "{\"a\":\"80\\n\"};" },
        { "a: [yes, no, on, off, y, n]", "{\"a\":[\"yes\",\"no\",\"on\",\"off\",\"y\",\"n\"]};" },
        { "a: [true, True, FALSE, tRue]", "{\"a\":[true,true,false,\"tRue\"]};" },
        { "a: [null, ~, Null, NULL, nUll, '']", "{\"a\":[null,null,null,null,\"nUll\",\"\"]};" },
        { "a:", "{\"a\":null};" },
        { "a: [0x1F, 0o17, 017, -5, +5, 0x, 0xg, 0x-1]", "{\"a\":[31,15,17,-5,5,\"0x\",\"0xg\",\"0x-1\"]};" },
        { "a: [1.5, 1e3, .5, -1., 1.2.3, 10.96.0.1, 1e, '.', 1_000]",
          "{\"a\":[1.5,1000.0,0.5,-1.0,\"1.2.3\",\"10.96.0.1\",\"1e\",\".\",\"1_000\"]};" },
        { "a: [.inf, -.inf, .nan]", "{\"a\":[\".inf\",\"-.inf\",\".nan\"]};" },
        { "a: 2001-12-14", "{\"a\":\"2001-12-14\"};" },
        { "a: 12:30:45", "{\"a\":\"12:30:45\"};" },
        { "a: fd00::1", "{\"a\":\"fd00::1\"};" },
        { "a: 99999999999999999999", "{\"a\":1e20};" },
        { "80: x", "{\"80\":\"x\"};" },
        { "a: &x {b: 1}\nc: *x\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1}};" },
        { "base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  y: 3\n", "{\"base\":{\"x\":1,\"y\":2},\"mine\":{\"y\":3,\"x\":1}};" },
        { "m:\n  <<: [{x: 1}, {x: 2, y: 2}]\n", "{\"m\":{\"x\":1,\"y\":2}};" },
        { "m: {'<<': 1}", "{\"m\":{\"<<\":1}};" },
        { "a: 1\n---\nb: 2\n--- {c: 3}\n", "{\"a\":1};{\"b\":2};{\"c\":3};" },
        { "%YAML 1.2\n---\na: 1\n", "{\"a\":1};" },
        { "a: 1\n...\n---\nb: 2\n", "{\"a\":1};{\"b\":2};" },
        { "a: |\n  ---\n  x\n", "{\"a\":\"---\\nx\\n\"};" },
        { "\xef\xbb\xbf" "a: 1", "{\"a\":1};" },
        { "{\"a\": \"\\ud83d\\ude00\",\t\"b\": [1]}", "{\"a\":\"\xf0\x9f\x98\x80\",\"b\":[1]};" },
        { "{\"a\": 1}\n{\"b\": 2}\n", "{\"a\":1};{\"b\":2};" },
        { "{a: 1, b: [x, y]}", "{\"a\":1,\"b\":[\"x\",\"y\"]};" },
        { "a: 1\r\n---\r\nb: 2\r\n", "{\"a\":1};{\"b\":2};" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].yaml);
        char *got = load(cases[i].yaml, false);
        assert_string_equal(got, cases[i].json);
        free(got);
    }
}

/* One broken document leaves the others. The text must begin as given; libyaml's wording is its own. */
static void test_errors(void **state)
{
    static const struct {
        const char *text, *begins;
        bool json;
    } cases[] = {
        { "a: 1\n---\nb: [1, 2\n---\nc: 3\n", "{\"a\":1};!", false },
        { "a: 1\na: 2\n", "!2 key \"a\" appears twice", false },
        { "x:\n\ty: 1\n", "!2 ", false },
        { "a: *nope\n", "!1 unknown or recursive alias *nope", false },
        { "a: &x [*x]\n", "!1 unknown or recursive alias *x", false },
        { "a: 1\n---\n? [x]\n: 1\n", "{\"a\":1};!3 a mapping key", false },
        { "a: \"\\0\"\n", "!1 a NUL character", false },
        { "m:\n  <<: 5\n", "!", false },
        { "{\"a\": 1,\n \"b\": }", "!2 ", true },
        { "{\"a\": 1, \"a\": 2}", "!1 duplicate", true },
        { "a: 1", "!1 ", true },
        { "a: \xff\n", "!", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].text);
        char *got = load(cases[i].text, cases[i].json);
        print_message("  %s\n", got);
        assert_int_equal(strncmp(got, cases[i].begins, strlen(cases[i].begins)), 0);
        free(got);
    }
    char *got = load(cases[0].text, false);
    assert_string_equal(strrchr(got, '!') ? strstr(got, ";{\"c\"") : NULL, ";{\"c\":3};");
    free(got);
}

static void test_limits(void **state)
{
    /* A billion laughs. */
    struct wr w = wr_init(0);
    wr_text(&w, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++)
        wr_printf(&w, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1,
                  i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    char *got = load(wr_cstr(&w), false);
    assert_non_null(strstr(got, "aliases expand to too much"));
    free(got);

    wr_reset(&w);
    for (int i = 0; i < YAML_DEPTH_MAX + 1; i++)
        wr_text(&w, "[");
    got = load(wr_cstr(&w), false);
    assert_non_null(strstr(got, "nested deeper"));
    free(got);

    /* Depth cannot be smuggled in through aliases either. */
    wr_reset(&w);
    wr_text(&w, "- &a0 [1]\n");
    for (int i = 1; i < YAML_DEPTH_MAX + 8; i++)
        wr_printf(&w, "- &a%d [*a%d]\n", i, i - 1);
    got = load(wr_cstr(&w), false);
    assert_non_null(strstr(got, "aliases expand to too much"));
    free(got);
    wr_free(&w);
}

static void test_lines(void **state)
{
    static const char yaml[] = "# shop\n"                 /* 1 */
                               "kind: A\n"                /* 2 */
                               "---\n"                    /* 3 */
                               "kind: Service\n"          /* 4 */
                               "metadata:\n"              /* 5 */
                               "  labels:\n"              /* 6 */
                               "    a.b/c: x\n"           /* 7 */
                               "spec:\n"                  /* 8 */
                               "  ports:\n"               /* 9 */
                               "    - name: http\n"       /* 10 */
                               "      port: 80\n"         /* 11 */
                               "    - name: x\n"          /* 12 */
                               "      port: 0\n";         /* 13 */
    static const struct {
        const char *path;
        uint32_t line;
    } cases[] = {
        { "kind", 4 },
        { "", 4 },
        { "metadata.labels[a.b/c]", 7 },
        { "spec.ports[0].port", 11 },
        { "spec.ports[1].port", 13 },
        { "spec.ports[1]", 12 },
        { "spec.ports[1].missing", 12 },
        { "spec.ports[7].port", 9 },
        { "spec.type", 8 },
        { "metadata.name", 5 },
        { "nothing.here", 4 },
    };
    struct yaml_docs docs;
    yaml_load(yaml, strlen(yaml), false, &docs);
    assert_int_equal(docs.len, 2);
    assert_int_equal(docs.items[1].line, 4);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case: %s\n", cases[i].path);
        uint32_t line = yaml_locate(&docs.items[1], cases[i].path);
        if (cases[i].line == 4)
            assert_in_range(line, 3, 4); /* the document's own line */
        else
            assert_int_equal(line, cases[i].line);
    }
    yaml_docs_free(&docs);
    static const char json[] = "\n{\n \"a\": 1,\n \"b\": {\"c\":\n 5}\n}";
    yaml_load(json, strlen(json), true, &docs);
    assert_int_equal(docs.len, 1);
    assert_int_equal(yaml_locate(&docs.items[0], "a"), 3);
    assert_int_equal(yaml_locate(&docs.items[0], "b.c"), 4);
    yaml_docs_free(&docs);
}

/* No prefix of a text may be read out of bounds or leak; the sanitizers look. */
static void test_every_prefix(void **state)
{
    static const char text[] = "a: &x {b: [1, \"two\", *y]}\n---\nc: |\n  text\n...\n{\"d\": [1, {}]}\n--- &z\n- <<: *z\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = x_memdup(text, n);
        struct yaml_docs docs;
        yaml_load(copy, n, false, &docs);
        for (size_t i = 0; i < docs.len; i++)
            assert_true(yaml_locate(&docs.items[i], "a.b[1]") >= 1);
        yaml_docs_free(&docs);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_errors),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_lines),  cmocka_unit_test(test_every_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
