/* The files of the ensemble's configuration: their texts, the edited zoo.cfg, what is left when writing fails. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "server/dynconf.h"

#define MEMBERS                                                                                              \
    "server.2=b:1:2:participant;0.0.0.0:3\nserver.10=c:1:2:observer;0.0.0.0:3\nserver.1=a:1:2:participant\n"

static struct quorum_config *config(const char *text)
{
    struct quorum_config *c = NULL;

    assert_int_equal(quorum_config_parse(buf_str(text), &(struct quorum_options){ 0 }, &c, NULL), 0);
    return c;
}

/* As the reference sorts them: as texts, in which 10= comes before 1=. */
static void test_text(void **state)
{
    static const struct {
        const char *text, *with, *without;
    } cases[] = {
        { MEMBERS "version=10000002a",
          "server.10=c:1:2:observer;0.0.0.0:3\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:3\nversion=10000002a",
          "server.10=c:1:2:observer;0.0.0.0:3\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:3" },
        { "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nweight.1=3\nversion=5",
          "group.1=1:2\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=5\nweight.1=3\nweight.2=1",
          "group.1=1:2\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant\nweight.1=3\nweight.2=1" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quorum_config *c = config(cases[i].text);
        struct wr w = wr_init(0);

        dynconf_text(&w, c, true);
        assert_string_equal(wr_cstr(&w), cases[i].with);
        wr_reset(&w);
        dynconf_text(&w, c, false);
        assert_string_equal(wr_cstr(&w), cases[i].without);
        wr_free(&w);
        quorum_config_unref(c);
    }
}

static void test_edit(void **state)
{
#define D "dynamicConfigFile=/d/f\n"
    static const struct {
        const char *name, *before, *after;
        bool drop;
    } cases[] = {
        { "empty", "", D, false },
        { "comments and order stay", "# one\ntickTime=5\n\n! two\ndataDir = /d\n# three\n", "# one\ntickTime=5\n\n! two\ndataDir = /d\n# three\n" D, false },
        { "members go", "server.1=a:1:2\ntickTime=5\ngroup.1=1\nweight.1=2\npeerType=observer\n", "tickTime=5\n" D, false },
        { "in any spelling", "zookeeper.server.1 : a:1:2\n  server.2 a\nserv\\\n  er.3=x\n", D, false },
        { "over several lines", "server.1=\\\n  a:1:2\ntickTime=5", "tickTime=5\n" D, false },
        { "the old file", "dynamicConfigFile=/d/e\ndataDir=/d\n", "dataDir=/d\n" D, false },
        { "client port stays", "clientPort=1\n", "clientPort=1\n" D, false },
        { "client port goes", "clientPort=1\nclientPortAddress=x\nclientPortListenBacklog=5\nsecureClientPort=9\n",
          "clientPortListenBacklog=5\nsecureClientPort=9\n" D, true },
        { "a comment that looks like one", "#server.1=a:1:2\n", "#server.1=a:1:2\n" D, false },
        { "a backslash is the end", "dataDir=/d\\", "dataDir=/d\\\n\n" D, false },
        { "the last line is to be continued", "dataDir=/d\\\r\n", "dataDir=/d\\\r\n\n" D, false },
        { "crlf", "server.1=a:1:2\r\ndataDir=/d\r\n", "dataDir=/d\r\n" D, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr w = wr_init(0);

        print_message("case: %s\n", cases[i].name);
        assert_int_equal(dynconf_edit(&w, buf_str(cases[i].before), cases[i].drop, "/d/f"), 0);
        assert_string_equal(wr_cstr(&w), cases[i].after);
        wr_free(&w);
    }
    struct wr w = wr_init(0);
    assert_int_equal(dynconf_edit(&w, buf_str("a=\\u12\n"), false, "/d/f"), RC_MALFORMED);
    wr_free(&w);
}

static char *read_all(const char *path)
{
    uint8_t *text = NULL;
    size_t n;

    return file_read(path, 1 << 20, &text, &n) == 0 ? (char *)text : NULL;
}

static void expect_file(const char *dir, const char *name, const char *text)
{
    char *path = x_asprintf("%s/%s", dir, name), *got = read_all(path);

    print_message("file: %s\n", name);
    if (text) {
        assert_non_null(got);
        assert_string_equal(got, text);
    } else {
        assert_null(got);
    }
    free(got);
    free(path);
}

/* From a static file over a proposal to the change, and to the next one. */
static void test_files(void **state)
{
    char dir[] = "/tmp/quoll-dynconf-XXXXXX";
    struct storage_error err = { "" };
    const struct vfs *vfs = vfs_posix();
    struct quorum_config *c = config(MEMBERS "version=100000002");

    assert_non_null(mkdtemp(dir));
    char *cfg = x_asprintf("%s/zoo.cfg", dir);
    const char *before = "# mine\nserver.1=a:1:2\nclientPort=3\ndataDir=/d\n";
    FILE *f = fopen(cfg, "w");
    assert_true(f && fputs(before, f) >= 0);
    fclose(f);

    assert_int_equal(dynconf_backup(vfs, cfg, before, &err), 0);
    expect_file(dir, "zoo.cfg.bak", before);
    assert_int_equal(dynconf_write_next(vfs, cfg, c, &err), 0);
    expect_file(dir, "zoo.cfg.dynamic.next", "server.10=c:1:2:observer;0.0.0.0:3\nserver.1=a:1:2:participant\n"
                                             "server.2=b:1:2:participant;0.0.0.0:3\nversion=100000002");
    expect_file(dir, "zoo.cfg", before);

    assert_int_equal(dynconf_commit(vfs, cfg, c, 1, &err), 0); /* our line has no client port: the static one stays */
    char *after = x_asprintf("# mine\nclientPort=3\ndataDir=/d\ndynamicConfigFile=%s/zoo.cfg.dynamic.100000002\n", dir);
    expect_file(dir, "zoo.cfg", after);
    free(after);
    assert_int_equal(dynconf_commit(vfs, cfg, c, 2, &err), 0);
    after = x_asprintf("# mine\ndataDir=/d\ndynamicConfigFile=%s/zoo.cfg.dynamic.100000002\n", dir);
    expect_file(dir, "zoo.cfg", after);
    free(after);
    dynconf_drop_next(vfs, cfg);
    expect_file(dir, "zoo.cfg.dynamic.next", NULL);
    dynconf_drop_next(vfs, cfg);
    expect_file(dir, "zoo.cfg.tmp", NULL);

    /* What cannot be written says so and leaves the rest as it was. */
    char *nowhere = x_asprintf("%s/none/zoo.cfg", dir), *gone = x_asprintf("%s/gone.cfg", dir);
    assert_int_equal(dynconf_write_next(vfs, nowhere, c, &err), RC_NOTFOUND);
    assert_non_null(strstr(err.text, "none/zoo.cfg.dynamic.next"));
    assert_int_equal(dynconf_commit(vfs, gone, c, 1, &err), RC_NOTFOUND);
    assert_non_null(strstr(err.text, "gone.cfg: No such file"));

    char *clean = x_asprintf("rm -r %s", dir);
    assert_int_equal(system(clean), 0);
    free(clean);
    free(nowhere);
    free(gone);
    free(cfg);
    quorum_config_unref(c);
}

/* A static file may hold the passwords of key stores. */
static void test_modes(void **state)
{
    static const mode_t modes[] = { 0600, 0640, 0644 };
    static const char *const names[] = { "zoo.cfg", "zoo.cfg.bak" };
    char dir[] = "/tmp/quoll-dynconf-XXXXXX";
    struct storage_error err = { "" };
    const char *before = "ssl.quorum.keyStore.password=secret\ndataDir=/d\n";
    struct quorum_config *c = config(MEMBERS "version=100000002");

    assert_non_null(mkdtemp(dir));
    char *cfg = x_asprintf("%s/zoo.cfg", dir), *tmp = x_asprintf("%s.tmp", cfg);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        for (int k = 0; k < 2; k++) { /* one that a crash left open to all must not be taken over */
            FILE *f = fopen(k ? tmp : cfg, "w");
            assert_true(f && fputs(before, f) >= 0);
            fclose(f);
            assert_int_equal(chmod(k ? tmp : cfg, k ? 0666 : modes[i]), 0);
        }
        assert_int_equal(dynconf_backup(vfs_posix(), cfg, before, &err), 0);
        assert_int_equal(dynconf_commit(vfs_posix(), cfg, c, 2, &err), 0);
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            char *path = x_asprintf("%s/%s", dir, names[k]);
            struct stat st;
            assert_int_equal(stat(path, &st), 0);
            print_message("%s: %o\n", names[k], (unsigned)st.st_mode & 0777);
            assert_int_equal(st.st_mode & 0777, modes[i]);
            free(path);
        }
    }
    char *clean = x_asprintf("rm -r %s", dir);
    assert_int_equal(system(clean), 0);
    free(clean);
    free(tmp);
    free(cfg);
    quorum_config_unref(c);
}

/* What is kept is what the next start reads. A committed list that the static file cannot be made to name stays as the proposed one. */
static void test_keeper(void **state)
{
    char dir[] = "/tmp/quoll-dynconf-XXXXXX";
    struct quorum_options opt = { 0 };
    struct storage_error err = { "" };
    struct quorum_config *c = config(MEMBERS "version=100000002"), *d = config(MEMBERS "version=100000005");
    struct quorum_config *before = config(MEMBERS "version=100000001"), *got = NULL;

    assert_non_null(mkdtemp(dir));
    char *cfg = x_asprintf("%s/zoo.cfg", dir), *first = x_asprintf("%s.dynamic.100000002", cfg);
    struct dynconf_keeper k = { .vfs = vfs_posix(), .cfg_path = cfg, .my_sid = 1 };
    FILE *f = fopen(cfg, "w");
    assert_true(f && fputs("dataDir=/d\n", f) >= 0);
    fclose(f);

    dynconf_seen(&k, c);
    assert_int_equal(dynconf_read_next(vfs_posix(), cfg, &opt, before, &got, &err), 0);
    assert_non_null(got);
    assert_true(buf_eq(got->text, c->text));
    quorum_config_unref(got);
    assert_int_equal(dynconf_read_next(vfs_posix(), cfg, &opt, c, &got, &err), 0); /* a crash after the commit: the file is left over */
    assert_null(got);
    dynconf_active(&k, c);
    assert_null(k.unkept);
    dynconf_seen(&k, NULL);
    assert_int_equal(dynconf_read_next(vfs_posix(), cfg, &opt, before, &got, &err), 0);
    assert_null(got);
    assert_int_equal(dynconf_read(vfs_posix(), first, &opt, &got, &err), 0);
    assert_true(buf_eq(got->text, c->text));
    quorum_config_unref(got);

    assert_int_equal(remove(cfg), 0); /* cannot be edited any more */
    dynconf_seen(&k, d);
    dynconf_active(&k, d);
    assert_ptr_equal(k.unkept, d);
    dynconf_seen(&k, NULL);
    assert_int_equal(dynconf_read_next(vfs_posix(), cfg, &opt, before, &got, &err), 0);
    assert_non_null(got);
    assert_int_equal(got->version, 0x100000005);
    quorum_config_unref(got);
    dynconf_keeper_done(&k);

    f = fopen(first, "a");
    assert_true(f && fputs("\nversion=5\n", f) >= 0);
    fclose(f);
    assert_int_equal(dynconf_read(vfs_posix(), first, &opt, &got, &err), RC_INVAL);
    char *clean = x_asprintf("rm -r %s", dir);
    assert_int_equal(system(clean), 0);
    free(clean);
    free(first);
    free(cfg);
    quorum_config_unref(before);
    quorum_config_unref(c);
    quorum_config_unref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_text), cmocka_unit_test(test_edit), cmocka_unit_test(test_files),
                                        cmocka_unit_test(test_modes), cmocka_unit_test(test_keeper) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
