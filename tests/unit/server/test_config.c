/* zoo.cfg: the syntax of Java properties, every kind of key, errors that name file and line. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "server/server.h"
#include "zab/quorum.h"

static char path[] = "/tmp/quoll-config-XXXXXX";

static int read_text(struct server_config *cfg, const char *text, struct storage_error *err)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    server_config_init(cfg);
    err->text[0] = '\0';
    return server_config_read(cfg, path, err);
}

/* Every line is one way to write dataDir; the value that must come out. */
static void test_syntax(void **state)
{
    static const struct {
        const char *name, *text, *value;
    } cases[] = {
        { "plain", "dataDir=/d\n", "/d" },
        { "no newline at the end", "dataDir=/d", "/d" },
        { "colon", "dataDir:/d\n", "/d" },
        { "blank", "dataDir /d\n", "/d" },
        { "tabs and an equals sign", "\t dataDir\t =\t/d\n", "/d" },
        { "only the first separator counts", "dataDir==/d\n", "=/d" },
        { "separator in the value", "dataDir=/a:b=c d\n", "/a:b=c d" },
        { "trailing blanks are trimmed", "dataDir=/d \t \n", "/d" },
        { "crlf", "# x\r\ndataDir=/d\r\n", "/d" },
        { "cr alone", "tickTime=5\rdataDir=/d\r", "/d" },
        { "comments and empty lines", "\n#dataDir=/x\n  !dataDir=/y\n\ndataDir=/d\n", "/d" },
        { "a comment sign inside a value", "dataDir=/d#1!\n", "/d#1!" },
        { "a comment is not continued", "# x \\\ndataDir=/d\n", "/d" },
        { "continuation", "dataDir=/a\\\n   /b\n", "/a/b" },
        { "continuation with crlf", "dataDir=/a\\\r\n/b\n", "/a/b" },
        { "continuation in the key", "data\\\n  Dir=/d\n", "/d" },
        { "an even number of backslashes ends the line", "dataDir=/a\\\\\ntickTime=7\n", "/a\\" },
        { "a comment sign after a continuation is text", "dataDir=/a\\\n#b\n", "/a#b" },
        { "escapes", "dataDir=/a\\tb\\u00e4\\q\n", "/a\tb\xc3\xa4q" },
        { "escaped separator in the key", "data\\u0044ir=/d\n", "/d" },
        { "the last one wins", "dataDir=/a\ndataDir=/b\n", "/b" },
        { "the -D spelling", "zookeeper.dataDir=/d\n", "/d" },
        { "backslash at the end of the file", "dataDir=/d\\", "/d" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server_config cfg;
        struct storage_error err;

        print_message("case: %s\n", cases[i].name);
        assert_int_equal(read_text(&cfg, cases[i].text, &err), 0);
        assert_string_equal(cfg.data_dir, cases[i].value);
        server_config_free(&cfg);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        int rc, line; /* 0: no line is named */
        const char *what;
    } cases[] = {
        { "tickTime=2000\n", RC_INVAL, 0, "dataDir" },
        { "dataDir=/d\ntickTime=0\n", RC_INVAL, 2, "tickTime" },
        { "dataDir=/d\n\n# c\ntickTime=abc\n", RC_INVAL, 4, "tickTime" },
        { "dataDir=/d\\\n/e\ntickTime=\n", RC_INVAL, 3, "tickTime" },
        { "clientPort=65536\n", RC_INVAL, 1, "clientPort" },
        { "clientPort=0x10\n", RC_INVAL, 1, "clientPort" },
        { "dataDir=/d\nclientPortAddress=::1\n", RC_INVAL, 0, "clientPortAddress" },
        { "dataDir=/d\nminSessionTimeout=9000\nmaxSessionTimeout=8000\n", RC_INVAL, 0, "minSessionTimeout" },
        { "dataDir=/d\nsnapshot.compression.method=zip\n", RC_INVAL, 0, "snapshot.compression.method" },
        { "snapCount=1\n", RC_INVAL, 1, "snapCount" },
        { "dataDir=\\u12\n", RC_MALFORMED, 1, "dataDir" },
        { "dataDir=\\u12g4\n", RC_MALFORMED, 1, "dataDir" },
        { "server.1=a:2888:3888\nserver.2=b:2888:2888\n", RC_INVAL, 2, "server.2" },
        { "server.x=a:2888:3888\n", RC_INVAL, 1, "server.x" },
        { "standaloneEnabled=no\n", RC_INVAL, 1, "standaloneEnabled" },
        { "reconfigEnabled=1\n", RC_INVAL, 1, "reconfigEnabled" },
        { "quorum.auth.enableSasl=yes\n", RC_INVAL, 1, "quorum.auth.enableSasl" },
        { "quorum.auth.learnerRequireSasl=ture\n", RC_INVAL, 1, "quorum.auth.learnerRequireSasl" },
        { "quorum.auth.serverRequireSasl=1\n", RC_INVAL, 1, "quorum.auth.serverRequireSasl" },
        { "sslQuorum=yes\n", RC_INVAL, 1, "sslQuorum" },
        { "ssl.quorum.clientHostnameVerification=ture\n", RC_INVAL, 1, "ssl.quorum.clientHostnameVerification" },
        { "ssl.quorum.ocsp=true\n", RC_UNSUPPORTED, 1, "ssl.quorum.ocsp" },
        { "dataDir=/d\nelectionAlg=1\n", RC_INVAL, 0, "electionAlg" },
        { "dataDir=/d\npeerType=voter\n", RC_INVAL, 0, "peerType" },
        { "dataDir=/d\ndynamicConfigFile=/x\nserver.1=a:2888:3888\n", RC_INVAL, 0, "dynamicConfigFile" },
        { "secureClientPort=2281\n", RC_UNSUPPORTED, 1, "secureClientPort" },
        { "zookeeper.authProvider.1=x.Y\n", RC_UNSUPPORTED, 1, "authProvider.1" },
        { "enforce.auth.enabled=true\n", RC_UNSUPPORTED, 1, "enforce.auth.enabled" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server_config cfg;
        struct storage_error err;
        char where[64];

        print_message("case: %s", cases[i].text);
        assert_int_equal(read_text(&cfg, cases[i].text, &err), cases[i].rc);
        print_message(" -> %s\n", err.text);
        assert_non_null(strstr(err.text, cases[i].what));
        snprintf(where, sizeof(where), "%s:%d: ", path, cases[i].line);
        assert_int_equal(str_has_prefix(err.text, where), cases[i].line > 0);
        assert_true(str_has_prefix(err.text, path));
        server_config_free(&cfg);
    }
}

/* A copy has everything, and is independent. */
static void test_copy(void **state)
{
    static const char text[] = "dataDir=/d\ndataLogDir=/l\nclientPort=2181\nclientPortAddress=::1\npeerType=observer\nssl.quorum.keyStore.location=/k.pem\n"
                               "ssl.quorum.trustStore.password=secret\nssl.quorum.ciphersuites=c\nquorum.auth.server.saslLoginContext=S\n"
                               "java.security.auth.login.config=/jaas\nsnapshotSizeFactor=0.5\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n";
    struct server_config cfg, copy;
    struct storage_error err;

    assert_int_equal(read_text(&cfg, text, &err), 0);
    server_config_copy(&copy, &cfg);
    assert_ptr_not_equal(copy.quorum_tls.key.path, cfg.quorum_tls.key.path);
    server_config_free(&cfg);
    assert_null(cfg.quorum_tls.key.path);
    assert_string_equal(copy.data_dir, "/d");
    assert_string_equal(copy.log_dir, "/l");
    assert_string_equal(copy.client_addr, "::1");
    assert_string_equal(copy.peer_type, "observer");
    assert_string_equal(copy.quorum_tls.key.path, "/k.pem");
    assert_string_equal(copy.quorum_tls.trust.password, "secret");
    assert_string_equal(copy.quorum_tls.ciphers, "c");
    assert_string_equal(copy.quorum_sasl.server_section, "S");
    assert_string_equal(copy.quorum_sasl.jaas_file, "/jaas");
    assert_string_equal(copy.snapshot_size_factor, "0.5");
    assert_string_equal(copy.four_letter_whitelist, "srvr");
    assert_string_equal(copy.config_text, text);
    assert_string_equal(copy.path, path);
    assert_null(copy.super_digest);
    assert_int_equal(copy.listen_count, 1);
    assert_string_equal(copy.listen[0], "[::1]:2181");
    assert_int_equal(copy.member_line_count, 2);
    assert_string_equal(copy.member_lines[1].value, "b:2888:3888");
    server_config_free(&copy);
}

static void test_missing_file(void **state)
{
    struct server_config cfg;
    struct storage_error err = { "" };

    server_config_init(&cfg);
    assert_int_equal(server_config_read(&cfg, "/nonexistent/zoo.cfg", &err), RC_NOTFOUND);
    assert_string_equal(err.text, "/nonexistent/zoo.cfg: No such file or directory");
    server_config_free(&cfg);
}

static void test_values(void **state)
{
    struct server_config cfg;
    struct storage_error err;

    assert_int_equal(read_text(&cfg,
                               "dataDir=/d\ndataLogDir=/l\ntickTime=2000\nclientPort=2182\nclientPortAddress=::1\n"
                               "forceSync=no\nskipACL=yes\nenforceQuota=true\nextendedTypesEnabled=TRUE\n"
                               "digest.enabled=no\nsnapSizeLimitInKb=-1\nzookeeper.snapCount=10\n"
                               "jute.maxbuffer=4194304\nserver.1=a:2888:3888\ninitLimit=10\nunknown.key=1\n"
                               "autopurge.purgeInterval=24\nfsync.warningthresholdms=20\n"
                               "DigestAuthenticationProvider.superDigest=super:x=\n",
                               &err),
                     0);
    assert_string_equal(cfg.data_dir, "/d");
    assert_string_equal(cfg.log_dir, "/l");
    assert_int_equal(cfg.tick_ms, 2000);
    assert_int_equal(cfg.listen_count, 1);
    assert_string_equal(cfg.listen[0], "[::1]:2182");
    assert_false(cfg.force_sync);
    assert_true(cfg.skip_acl);
    assert_true(cfg.enforce_quota);
    assert_true(cfg.extended_types);
    assert_false(cfg.digest_enabled);
    assert_int_equal(cfg.snap_size_limit_kb, -1);
    assert_int_equal(cfg.snap_count, 10);
    assert_int_equal(cfg.max_buffer, 4194304);
    assert_int_equal(cfg.purge_interval_hours, 24);
    assert_int_equal(cfg.fsync_warn_ms, 20);
    assert_string_equal(cfg.super_digest, "super:x=");
    assert_non_null(strstr(cfg.config_text, "unknown.key=1"));
    server_config_free(&cfg);
}

static void test_ensemble_values(void **state)
{
    struct server_config cfg;
    struct storage_error err;

    assert_int_equal(read_text(&cfg,
                               "dataDir=/d\nclientPort=1\nleaderServes=no\nzookeeper.tcpKeepAlive=true\nquorumCnxnTimeoutMs=700\n"
                               "electionPortBindRetry=0\nobserver.reconnectDelayMs=30\nobserver.election.DelayMs=200\n"
                               "leader.maxTimeToWaitForEpoch=400\nreadonlymode.enabled=true\nlocalSessionsEnabled=true\n"
                               "localSessionsUpgradingEnabled=true\n",
                               &err),
                     0);
    assert_false(cfg.leader_serves);
    assert_true(cfg.quorum_keepalive);
    assert_int_equal(cfg.quorum_cnxn_timeout_ms, 700);
    assert_int_equal(cfg.election_bind_tries, 0);
    assert_int_equal(cfg.observer_reconnect_delay_ms, 30);
    assert_int_equal(cfg.observer_election_delay_ms, 200);
    assert_int_equal(cfg.epoch_wait_ms, 400);
    assert_true(cfg.read_only_mode);
    assert_true(cfg.local_sessions);
    assert_true(cfg.local_upgrade);
    server_config_free(&cfg);
    assert_int_equal(read_text(&cfg, "dataDir=/d\nclientPort=1\n", &err), 0);
    assert_true(cfg.leader_serves);
    assert_false(cfg.quorum_keepalive || cfg.read_only_mode || cfg.local_sessions || cfg.local_upgrade);
    assert_int_equal(cfg.quorum_cnxn_timeout_ms, -1);
    assert_int_equal(cfg.election_bind_tries, 3);
    assert_int_equal(cfg.epoch_wait_ms, -1);
    server_config_free(&cfg);
}

static void test_defaults(void **state)
{
    struct server_config cfg;
    struct storage_error err;

    assert_int_equal(read_text(&cfg, "dataDir=/d\nclientPort=2181\n", &err), 0);
    assert_string_equal(cfg.listen[0], ":2181");
    assert_int_equal(cfg.tick_ms, 3000);
    assert_int_equal(cfg.max_client_cnxns, 60);
    assert_int_equal(cfg.max_buffer, 1048575);
    assert_int_equal(cfg.snap_count, 100000);
    assert_int_equal(cfg.global_outstanding_limit, 1000);
    assert_string_equal(cfg.four_letter_whitelist, "srvr");
    assert_true(cfg.force_sync);
    assert_true(cfg.digest_enabled);
    assert_false(cfg.extended_types);
    server_config_free(&cfg);
}

/* What server lines make: an ensemble, a server alone, or an error. */
static void test_members(void **state)
{
#define LIMITS "dataDir=/d\ninitLimit=10\nsyncLimit=5\n"
    static const struct {
        const char *text;
        int rc;
        size_t members, voters; /* 0: standalone */
        const char *what;
    } cases[] = {
        { LIMITS, 0, 0, 0, NULL },
        { LIMITS "server.1=a:2888:3888\n", 0, 0, 0, NULL },
        { LIMITS "server.1=a:2888:3888\nstandaloneEnabled=false\n", 0, 1, 1, NULL },
        { LIMITS "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.7=c:2888:3888:observer\n", 0, 3, 2, NULL },
        { LIMITS "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2\ngroup.2=3\nweight.3=0\n", 0, 3, 3, NULL },
        { "dataDir=/d\nsyncLimit=5\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n", RC_INVAL, 0, 0, "initLimit" },
        { "dataDir=/d\ninitLimit=5\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n", RC_INVAL, 0, 0, "syncLimit" },
        { LIMITS "server.1=a:1:2|b:1:2\nserver.2=b:2888:3888\n", RC_INVAL, 0, 0, "" },
        { LIMITS "multiAddress.enabled=true\nserver.1=a:1:2|b:1:2\nserver.2=b:2888:3888\n", 0, 2, 2, NULL },
        { LIMITS "dynamicConfigFile=/nonexistent/zoo.cfg.dynamic\n", RC_NOTFOUND, 0, 0, "/nonexistent/zoo.cfg.dynamic" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server_config cfg;
        struct storage_error err;

        print_message("case: %s", cases[i].text);
        assert_int_equal(read_text(&cfg, cases[i].text, &err), 0);
        assert_int_equal(server_config_members(&cfg, &err), cases[i].rc);
        if (cases[i].rc < 0)
            assert_non_null(strstr(err.text, cases[i].what));
        if (cases[i].rc == 0)
            assert_int_equal(cfg.members ? cfg.members->members_len : 0, cases[i].members);
        if (cases[i].rc == 0 && cases[i].members > 0)
            assert_int_equal(cfg.members->voters.len, cases[i].voters);
        server_config_free(&cfg);
    }
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

/* The list in a file of its own, whose name carries the version; and the one that was proposed when the server stopped. */
static void test_dynamic_file(void **state)
{
    char dynamic[sizeof(path) + 32], next[sizeof(path) + 32], text[256];
    struct server_config cfg;
    struct storage_error err;

    snprintf(dynamic, sizeof(dynamic), "%s.dynamic.10000002a", path);
    snprintf(next, sizeof(next), "%s.dynamic.next", path);
    snprintf(text, sizeof(text), LIMITS "dynamicConfigFile=%s\n", dynamic);
    write_file(dynamic, "server.1=a:2888:3888;2181\nserver.2=b:2888:3888\n");
    assert_int_equal(read_text(&cfg, text, &err), 0);
    assert_int_equal(server_config_members(&cfg, &err), 0);
    assert_int_equal(cfg.members->version, 0x10000002a);
    assert_int_equal(cfg.members->members[0].client_port, 2181);
    assert_null(cfg.members_next);
    server_config_free(&cfg);

    write_file(next, "server.1=a:2888:3888\nserver.3=c:2888:3888\nversion=200000001\n");
    assert_int_equal(read_text(&cfg, text, &err), 0);
    assert_int_equal(server_config_members(&cfg, &err), 0);
    assert_null(cfg.members_next); /* without reconfigEnabled no proposal counts */
    server_config_free(&cfg);
    snprintf(text, sizeof(text), LIMITS "reconfigEnabled=true\ndynamicConfigFile=%s\n", dynamic);
    assert_int_equal(read_text(&cfg, text, &err), 0);
    assert_int_equal(server_config_members(&cfg, &err), 0);
    assert_int_equal(cfg.members_next->version, 0x200000001);
    server_config_free(&cfg);
    unlink(next);

    write_file(dynamic, "server.1=a:2888:3888\nserver.2=b:2888:3888\nversion=5\n");
    assert_int_equal(read_text(&cfg, text, &err), 0);
    assert_int_equal(server_config_members(&cfg, &err), RC_INVAL);
    assert_non_null(strstr(err.text, "version"));
    server_config_free(&cfg);
    unlink(dynamic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),       cmocka_unit_test(test_errors),   cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_members),      cmocka_unit_test(test_dynamic_file),
        cmocka_unit_test(test_values),       cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_ensemble_values),
    };
    int fd = mkstemp(path);

    if (fd < 0)
        return 1;
    close(fd);
    log_set_level(LOG_ERROR);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
