/* zkload.c - load generator for any ZooKeeper server: raw protocol, one thread, many connections, many requests in flight.
 *
 *   zkload HOST:PORT {read|write} CONNECTIONS IN_FLIGHT SECONDS [VALUE_BYTES]
 *
 * Each connection works on a znode of its own under /zkload. Prints one JSON line: operations per second, latency percentiles in
 * microseconds (from sending to receiving, so with N in flight it contains the queue), and the worst second. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/str.h"
#include "jute/records.h"

#define BUCKETS 2048

struct conn {
    int fd;
    bool ready;
    char path[64];
    struct wr out;
    size_t out_done;
    uint8_t *in;
    size_t in_n, in_cap;
    int64_t *sent_us; /* ring of in_flight */
    uint32_t head, tail;
    int32_t xid;
    int setup; /* replies of the set-up still to come */
    bool pollout;
};

static uint64_t histogram[BUCKETS];
static uint64_t ops_total, ops_second, errors;
static uint32_t in_flight;
static size_t value_len = 100;
static bool writing;
static uint8_t *value;

static void die(const char *what)
{
    fprintf(stderr, "zkload: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Log-linear buckets: exact below 64 us, then 32 per power of two (3 % wide). */
static size_t bucket_of(uint64_t us)
{
    if (us < 64)
        return us;
    int shift = 63 - __builtin_clzll(us) - 5; /* us >> shift is in 32..63 */
    size_t b = 64 + (size_t)(shift - 1) * 32 + (us >> shift) - 32;
    return b < BUCKETS ? b : BUCKETS - 1;
}

static uint64_t bucket_value(size_t b)
{
    return b < 64 ? b : (uint64_t)((b - 64) % 32 + 32) << ((b - 64) / 32 + 1);
}

static uint64_t percentile(double p)
{
    uint64_t want = (uint64_t)((double)ops_total * p), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > want)
            return bucket_value(i);
    }
    return 0;
}

static void put_connect(struct conn *c)
{
    static const uint8_t zero[ZK_PASSWORD_LEN];
    size_t at = jute_frame_begin(&c->out);
    connect_request_write(&c->out, &(struct connect_request){ 0, 0, 30000, 0, { zero, ZK_PASSWORD_LEN } });
    wr_u8(&c->out, 0);
    jute_frame_end(&c->out, at);
}

static void put_create(struct conn *c, const char *path)
{
    static struct jacl open_acl = { ZK_PERM_ALL, { "world", 5 }, { "anyone", 6 } };
    size_t at = jute_frame_begin(&c->out);
    request_header_write(&c->out, &(struct request_header){ ++c->xid, ZK_OP_CREATE });
    create_request_write(&c->out, &(struct create_request){ jstr_of(path), { value, (int32_t)value_len }, { &open_acl, 1 }, 0 });
    jute_frame_end(&c->out, at);
    c->setup++;
}

static void put_op(struct conn *c, int64_t now_us)
{
    size_t at = jute_frame_begin(&c->out);
    request_header_write(&c->out, &(struct request_header){ ++c->xid, writing ? ZK_OP_SET_DATA : ZK_OP_GET_DATA });
    if (writing)
        set_data_request_write(&c->out, &(struct set_data_request){ jstr_of(c->path), { value, (int32_t)value_len }, -1 });
    else
        path_watch_write(&c->out, &(struct path_watch){ jstr_of(c->path), false });
    jute_frame_end(&c->out, at);
    c->sent_us[c->tail++ % in_flight] = now_us;
}

static void fill(struct conn *c, int64_t now_us)
{
    while (c->tail - c->head < in_flight)
        put_op(c, now_us);
}

static void flush(int ep, struct conn *c)
{
    while (c->out_done < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->out_done, c->out.n - c->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            die("send");
        c->out_done += (size_t)n;
    }
    bool want = c->out_done < c->out.n;
    if (!want) {
        wr_reset(&c->out);
        c->out_done = 0;
    }
    if (want != c->pollout) {
        struct epoll_event ev = { .events = EPOLLIN | (want ? EPOLLOUT : 0), .data.ptr = c };
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
        c->pollout = want;
    }
}

static void on_frame(struct conn *c, const uint8_t *p, size_t n, int64_t now_us, bool measuring)
{
    if (!c->ready) { /* ConnectResponse */
        c->ready = true;
        put_create(c, "/zkload");
        put_create(c, c->path);
        return;
    }
    struct rd r = rd_init(p, n);
    int32_t xid = rd_i32(&r);
    (void)rd_i64(&r);
    int32_t err = rd_i32(&r);
    if (xid < 0)
        return;
    if (c->setup > 0) {
        c->setup--;
        if (c->setup == 0)
            fill(c, now_us);
        return;
    }
    if (r.rc != 0 || err != 0)
        errors++;
    int64_t sent = c->sent_us[c->head++ % in_flight];
    if (measuring) {
        histogram[bucket_of((uint64_t)(now_us - sent))]++;
        ops_total++;
        ops_second++;
    }
}

static bool on_readable(struct conn *c, int64_t now_us, bool measuring)
{
    if (c->in_cap - c->in_n < 65536) {
        c->in_cap = c->in_n + 131072;
        c->in = x_realloc(c->in, c->in_cap);
    }
    ssize_t got = recv(c->fd, c->in + c->in_n, c->in_cap - c->in_n, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return false;
    c->in_n += (size_t)got;
    size_t at = 0;
    while (c->in_n - at >= 4) {
        uint32_t len = load_u32(c->in + at);
        if (c->in_n - at - 4 < len)
            break;
        on_frame(c, c->in + at + 4, len, now_us, measuring);
        at += 4 + len;
    }
    memmove(c->in, c->in + at, c->in_n - at);
    c->in_n -= at;
    if (c->ready && c->setup == 0)
        fill(c, now_us);
    return true;
}

int main(int argc, char **argv)
{
    struct sockaddr_storage sa;
    socklen_t sa_len;
    int64_t conns, flight, seconds, bytes = 100;
    if (argc < 6 || addr_parse(argv[1], &sa, &sa_len) < 0 || (strcmp(argv[2], "read") && strcmp(argv[2], "write")) ||
        str_to_i64(argv[3], 1, 10000, &conns) < 0 || str_to_i64(argv[4], 1, 10000, &flight) < 0 ||
        str_to_i64(argv[5], 1, 600, &seconds) < 0 || (argc > 6 && str_to_i64(argv[6], 0, 1000000, &bytes) < 0)) {
        fprintf(stderr, "usage: zkload HOST:PORT {read|write} CONNECTIONS IN_FLIGHT SECONDS [VALUE_BYTES]\n");
        return 2;
    }
    writing = strcmp(argv[2], "write") == 0;
    in_flight = (uint32_t)flight;
    value_len = (size_t)bytes;
    value = x_malloc(value_len);
    memset(value, 'v', value_len);

    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct conn *c = x_calloc((size_t)conns, sizeof(*c));
    for (int64_t i = 0; i < conns; i++) {
        c[i].fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int one = 1;
        if (c[i].fd < 0 || connect(c[i].fd, (struct sockaddr *)&sa, sa_len) < 0)
            die(argv[1]);
        setsockopt(c[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        snprintf(c[i].path, sizeof(c[i].path), "/zkload/node-%05lld", (long long)i);
        c[i].sent_us = x_calloc(in_flight, sizeof(int64_t));
        struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &c[i] };
        epoll_ctl(ep, EPOLL_CTL_ADD, c[i].fd, &ev);
        put_connect(&c[i]);
        flush(ep, &c[i]);
    }

    /* A second of warm-up is not measured (a JVM would deserve more; callers run it twice). */
    int64_t start = clock_mono_us() + 1000000, end = start + seconds * 1000000, second_end = start + 1000000;
    uint64_t worst_second = UINT64_MAX;
    struct epoll_event ev[256];
    for (int64_t now = clock_mono_us(); now < end; now = clock_mono_us()) {
        int n = epoll_wait(ep, ev, ARRAY_LEN(ev), 100);
        now = clock_mono_us();
        for (int i = 0; i < n; i++) {
            struct conn *k = ev[i].data.ptr;
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !on_readable(k, now, now >= start && now < end)) {
                fprintf(stderr, "zkload: the server closed a connection\n");
                return 1;
            }
            flush(ep, k);
        }
        if (now >= second_end) {
            worst_second = MIN(worst_second, ops_second);
            ops_second = 0;
            second_end += 1000000;
        }
    }
    printf("{\"op\":\"%s\",\"connections\":%lld,\"in_flight\":%lld,\"ops_per_s\":%.0f,\"p50_us\":%llu,\"p99_us\":%llu,"
           "\"p999_us\":%llu,\"worst_second\":%llu,\"errors\":%llu}\n",
           argv[2], (long long)conns, (long long)flight, (double)ops_total / (double)seconds,
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99), (unsigned long long)percentile(0.999),
           (unsigned long long)(worst_second == UINT64_MAX ? ops_second : worst_second), (unsigned long long)errors);
    return errors != 0;
}
