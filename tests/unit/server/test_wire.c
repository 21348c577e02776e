/* A whole server in this process, spoken to in bytes: a conversation cut in two at every position must give the same answers. */
#include "unit.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "jute/records.h"
#include "server/server.h"

static char dir[] = "/tmp/quoll-wire-XXXXXX";
static struct server *server;

static int start(void **state)
{
    struct server_config cfg;
    struct storage_error err;

    log_set_level(LOG_ERROR);
    if (!mkdtemp(dir))
        return -1;
    server_config_init(&cfg);
    cfg.client_addr = x_strdup("127.0.0.1");
    cfg.max_client_cnxns = 0;
    int rc = server_config_set(&cfg, "dataDir", dir, &err);
    if (rc == 0)
        rc = server_config_set(&cfg, "clientPort", "0", &err);
    if (rc == 0)
        rc = server_config_set(&cfg, "quoll.netThreads", "2", &err);
    if (rc == 0)
        rc = server_start(&cfg, &server, &err);
    if (rc < 0)
        print_message("%s\n", err.text);
    server_config_free(&cfg);
    return rc;
}

static int stop(void **state)
{
    char *command = x_asprintf("rm -r %s", dir);

    server_stop(server);
    int rc = system(command);
    free(command);
    return rc;
}

static int dial(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)server_port(server, 0)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { 20, 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static void send_all(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

/* Everything until the server closes. */
static void receive_all(int fd, struct wr *w)
{
    for (;;) {
        uint8_t chunk[4096];
        ssize_t r = recv(fd, chunk, sizeof(chunk), 0);

        assert_true(r >= 0);
        if (r == 0)
            return;
        wr_bytes(w, chunk, (size_t)r);
    }
}

static void word(const char *text, struct wr *w)
{
    int fd = dial();

    send_all(fd, text, strlen(text));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    receive_all(fd, w);
    close(fd);
}

/* Returns once the server has read what was sent before: a later connection was answered. */
static void barrier(void)
{
    struct wr w = wr_init(0);

    word("srvr", &w);
    assert_true(w.n > 0);
    wr_free(&w);
}

static size_t begin(struct wr *w, int32_t xid, int32_t op)
{
    size_t at = jute_frame_begin(w);

    request_header_write(w, &(struct request_header){ xid, op });
    return at;
}

static void put_connect(struct wr *w, int64_t last_zxid, bool old_client)
{
    static const uint8_t zeros[ZK_PASSWORD_LEN];
    size_t at = jute_frame_begin(w);

    connect_request_write(w, &(struct connect_request){ 0, last_zxid, 10000, 0, { zeros, ZK_PASSWORD_LEN } });
    if (!old_client)
        wr_u8(w, 0);
    jute_frame_end(w, at);
}

static void put_path_watch(struct wr *w, int32_t xid, int32_t op, const char *path)
{
    size_t at = begin(w, xid, op);

    path_watch_write(w, &(struct path_watch){ jstr_of(path), false });
    jute_frame_end(w, at);
}

static void put_set(struct wr *w, int32_t xid, const char *path, const char *data)
{
    size_t at = begin(w, xid, ZK_OP_SET_DATA);

    set_data_request_write(w, &(struct set_data_request){ jstr_of(path), { (const uint8_t *)data, (int32_t)strlen(data) }, -1 });
    jute_frame_end(w, at);
}

static void put_create(struct wr *w, int32_t xid, const char *path)
{
    struct jacl open = { ZK_PERM_ALL, jstr_of("world"), jstr_of("anyone") };
    size_t at = begin(w, xid, ZK_OP_CREATE);

    create_request_write(w, &(struct create_request){ jstr_of(path), { (const uint8_t *)"v", 1 }, { &open, 1 }, ZK_EPHEMERAL });
    jute_frame_end(w, at);
}

static void put_bare(struct wr *w, int32_t xid, int32_t op)
{
    jute_frame_end(w, begin(w, xid, op));
}

/* Reads and writes mixed: set 1, get, set 2, get, ping, auth, close. */
static void conversation(struct wr *w)
{
    put_connect(w, 0, false);
    put_create(w, 1, "/cut");
    put_set(w, 2, "/cut", "one");
    put_path_watch(w, 3, ZK_OP_GET_DATA, "/cut");
    put_set(w, 4, "/cut", "two");
    put_path_watch(w, 5, ZK_OP_GET_DATA, "/cut");
    put_path_watch(w, 6, ZK_OP_EXISTS, "/none");
    put_bare(w, ZK_XID_PING, ZK_OP_PING);
    put_bare(w, 7, ZK_OP_WHO_AM_I);
    put_bare(w, 8, ZK_OP_CLOSE_SESSION);
}

static struct buf next_frame(struct rd *r)
{
    uint32_t n = rd_u32(r);
    const uint8_t *p = rd_take(r, n);

    assert_int_equal(r->rc, 0);
    return buf_of(p, n);
}

static struct rd expect_reply(struct rd *r, int32_t xid, int32_t err)
{
    struct rd f = rd_buf(next_frame(r));

    assert_int_equal(rd_i32(&f), xid);
    (void)rd_i64(&f);
    assert_int_equal(rd_i32(&f), err);
    return f;
}

static void expect_data(struct rd *r, int32_t xid, const char *data)
{
    struct rd f = expect_reply(r, xid, ZK_OK);
    struct jbuf b = jute_read_buf(&f);

    assert_int_equal(b.n, strlen(data));
    assert_memory_equal(b.p, data, strlen(data));
}

static void check_answers(const struct wr *got)
{
    struct rd r = rd_init(got->p, got->n);
    struct buf session = next_frame(&r);

    assert_int_equal(session.n, 37);
    assert_int_equal(load_u32(session.p + 4), 10000);
    expect_reply(&r, 1, ZK_OK);
    expect_reply(&r, 2, ZK_OK);
    expect_data(&r, 3, "one"); /* never "two": a read does not see an own later write */
    expect_reply(&r, 4, ZK_OK);
    expect_data(&r, 5, "two");
    expect_reply(&r, 6, ZK_NONODE);
    expect_reply(&r, ZK_XID_PING, ZK_OK);
    expect_reply(&r, 7, ZK_OK);
    expect_reply(&r, 8, ZK_OK);
    assert_int_equal(rd_left(&r), 0);
}

static void test_every_cut(void **state)
{
    struct wr w = wr_init(0);

    conversation(&w);
    for (size_t cut = 1; cut < w.n; cut++) {
        struct wr got = wr_init(0);
        int fd = dial();

        send_all(fd, w.p, cut);
        barrier();
        send_all(fd, w.p + cut, w.n - cut);
        receive_all(fd, &got);
        check_answers(&got);
        close(fd);
        wr_free(&got);
    }
    wr_free(&w);
}

static void test_byte_by_byte(void **state)
{
    struct wr w = wr_init(0), got = wr_init(0);
    int fd = dial();

    conversation(&w);
    for (size_t i = 0; i < w.n; i++)
        send_all(fd, w.p + i, 1);
    receive_all(fd, &got);
    check_answers(&got);
    close(fd);
    wr_free(&w);
    wr_free(&got);
}

/* The client ends its side right behind its last request: everything is answered all the same. */
static void test_half_closed(void **state)
{
    struct wr w = wr_init(0), got = wr_init(0);
    int fd = dial();

    conversation(&w);
    send_all(fd, w.p, w.n);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    receive_all(fd, &got);
    check_answers(&got);
    close(fd);
    wr_free(&w);
    wr_free(&got);
}

/* What ends a connection, and what it still gets. */
static void test_refusals(void **state)
{
    static const struct {
        const char *name;
        int kind;
    } cases[] = { { "a zxid from the future", 0 }, { "oversized length", 1 },   { "negative length", 2 },
                  { "unknown opcode", 3 },         { "createSession op", 4 },   { "short header", 5 },
                  { "unknown auth scheme", 6 },    { "first packet too short", 7 } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr w = wr_init(0), got = wr_init(0);
        int fd = dial(), kind = cases[i].kind;
        size_t at;

        print_message("case: %s\n", cases[i].name);
        if (kind != 7)
            put_connect(&w, kind == 0 ? INT64_MAX : 0, true);
        if (kind == 1)
            wr_u32(&w, ZK_MAX_BUFFER_DEFAULT + 1);
        else if (kind == 2)
            wr_u32(&w, 0x80000000);
        else if (kind == 3 || kind == 4)
            put_bare(&w, 5, kind == 3 ? 77 : ZK_OP_CREATE_SESSION);
        else if (kind == 5 || kind == 7) {
            wr_u32(&w, 4);
            wr_u32(&w, 1);
        } else if (kind == 6) {
            at = begin(&w, ZK_XID_AUTH, ZK_OP_AUTH);
            auth_packet_write(&w, &(struct auth_packet){ 0, jstr_of("none"), { (const uint8_t *)"x", 1 } });
            jute_frame_end(&w, at);
        }
        send_all(fd, w.p, w.n);
        receive_all(fd, &got);
        struct rd r = rd_init(got.p, got.n);
        if (kind != 0 && kind != 7 && got.n > 0)
            assert_int_equal(next_frame(&r).n, 36); /* an old client's answer has no readOnly byte */
        if (kind == 3 || kind == 4)
            expect_reply(&r, 5, ZK_UNIMPLEMENTED);
        if (kind == 6)
            expect_reply(&r, ZK_XID_AUTH, ZK_AUTHFAILED);
        assert_int_equal(rd_left(&r), 0);
        close(fd);
        wr_free(&w);
        wr_free(&got);
    }
}

static void test_words(void **state)
{
    struct wr w = wr_init(0);

    word("srvr\n", &w);
    assert_true(w.n > 0);
    assert_memory_equal(w.p, "Zookeeper version: 3.9.", 23);
    assert_non_null(strstr(wr_cstr(&w), "\nMode: standalone\n"));
    wr_reset(&w);
    word("ruok", &w);
    assert_string_equal(wr_cstr(&w), "ruok is not executed because it is not in the whitelist.\n");
    wr_reset(&w);
    word("none", &w); /* taken for a length, which is too large */
    assert_int_equal(w.n, 0);
    assert_int_equal(server_four_letter(server, "ruok", &w), 0); /* the admin side has no whitelist */
    assert_string_equal(wr_cstr(&w), "imok");
    assert_int_equal(server_four_letter(server, "none", &w), RC_NOTFOUND);
    wr_reset(&w);
    assert_int_equal(server_four_letter(server, "mntr", &w), 0);
    assert_non_null(strstr(wr_cstr(&w), "zk_server_state\tstandalone\n"));
    wr_reset(&w);
    server_metrics_prometheus(server, &w);
    assert_non_null(strstr(wr_cstr(&w), "\nznode_count "));
    wr_free(&w);
}

static void test_second_server(void **state)
{
    struct server_config cfg;
    struct server *other = NULL;
    struct storage_error err = { "" };
    char port[16], address[64];

    server_config_init(&cfg);
    snprintf(port, sizeof(port), "%d", server_port(server, 0));
    snprintf(address, sizeof(address), "127.0.0.1:%s: ", port);
    cfg.client_addr = x_strdup("127.0.0.1");
    assert_int_equal(server_config_set(&cfg, "dataDir", dir, &err), 0);
    assert_int_equal(server_config_set(&cfg, "clientPort", port, &err), 0);
    assert_int_equal(server_start(&cfg, &other, &err), RC_INUSE);
    assert_memory_equal(err.text, address, strlen(address));
    assert_int_equal(server_config_set(&cfg, "clientPort", "0", &err), 0);
    assert_int_equal(server_start(&cfg, &other, &err), RC_BUSY); /* the directory is taken */
    assert_non_null(strstr(err.text, dir));
    server_config_free(&cfg);
}

/* The caller's configuration stays the caller's, to the last string, whether the server started or not. */
static void test_config_is_copied(void **state)
{
    struct server_config cfg;
    struct server *other = NULL;
    struct storage_error err = { "" };
    char *own_dir = x_asprintf("%s/copied", dir);

    server_config_init(&cfg);
    cfg.client_addr = x_strdup("127.0.0.1");
    assert_int_equal(server_config_set(&cfg, "dataDir", dir, &err), 0);
    assert_int_equal(server_config_set(&cfg, "clientPort", "0", &err), 0);
    assert_int_equal(server_config_set(&cfg, "ssl.quorum.keyStore.location", "/nowhere/key.p12", &err), 0);
    assert_int_equal(server_config_set(&cfg, "ssl.quorum.keyStore.password", "between-servers", &err), 0);
    assert_int_equal(server_start(&cfg, &other, &err), RC_BUSY); /* the directory is taken */
    assert_string_equal(cfg.quorum_tls.key.password, "between-servers");
    assert_string_equal(cfg.quorum_tls.key.path, "/nowhere/key.p12");
    assert_int_equal(server_config_set(&cfg, "dataDir", own_dir, &err), 0);
    assert_int_equal(server_start(&cfg, &other, &err), 0);
    server_stop(other);
    assert_string_equal(cfg.quorum_tls.key.password, "between-servers");
    server_config_free(&cfg);
    free(own_dir);
}

/* ---- a disk that fails ---- */

static _Atomic bool disk_broken;
static int (*true_sync)(struct vfs_file *f);

static int broken_sync(struct vfs_file *f)
{
    return atomic_load(&disk_broken) ? RC_IO : true_sync(f);
}

static _Atomic int fatal_calls;

static void on_fatal(void *data, const char *text)
{
    assert_non_null(strstr(text, "log"));
    atomic_fetch_add(&fatal_calls, 1);
}

/* A failed sync is told once, and what it should have made durable is never answered, even when later syncs would work. */
static void test_failed_sync(void **state)
{
    struct vfs vfs = *vfs_posix();
    struct server_config cfg;
    struct server *own, *shared = server;
    struct storage_error err;
    struct wr w = wr_init(0), got = wr_init(0);
    char *own_dir = x_asprintf("%s/broken", dir);

    true_sync = vfs.sync;
    vfs.sync = broken_sync;
    server_config_init(&cfg);
    cfg.vfs = &vfs;
    cfg.client_addr = x_strdup("127.0.0.1");
    assert_int_equal(server_config_set(&cfg, "dataDir", own_dir, &err), 0);
    assert_int_equal(server_config_set(&cfg, "clientPort", "0", &err), 0);
    assert_int_equal(server_start(&cfg, &own, &err), 0);
    server_on_fatal(own, on_fatal, NULL);
    server = own;
    int fd = dial();
    put_connect(&w, 0, false);
    put_create(&w, 1, "/before");
    send_all(fd, w.p, w.n);
    for (uint8_t byte[1]; got.n < 41 + 4 + 16 + 4 + 7;) {
        assert_int_equal(recv(fd, byte, 1, 0), 1);
        wr_bytes(&got, byte, 1);
    }
    atomic_store(&disk_broken, true);
    wr_reset(&w);
    put_create(&w, 2, "/never");
    send_all(fd, w.p, w.n);
    while (atomic_load(&fatal_calls) == 0)
        sched_yield();
    atomic_store(&disk_broken, false);
    wr_reset(&w);
    wr_reset(&got);
    put_create(&w, 3, "/later");
    send_all(fd, w.p, w.n);
    barrier();
    server_stop(own);
    server = shared;
    receive_all(fd, &got);
    assert_int_equal(got.n, 0);
    assert_int_equal(atomic_load(&fatal_calls), 1);
    close(fd);
    server_config_free(&cfg);
    wr_free(&w);
    wr_free(&got);
    free(own_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut), cmocka_unit_test(test_byte_by_byte), cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_words),        cmocka_unit_test(test_second_server),
        cmocka_unit_test(test_config_is_copied),
        cmocka_unit_test(test_failed_sync),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
