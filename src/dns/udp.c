/* udp.c - UDP listeners: batches in by recvmmsg, out by sendmmsg.
 *
 * A socket bound to a wildcard address asks the kernel where each query was sent to, and answers from there: a client drops
 * a reply from any other address. */
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/log.h"

enum {
    BATCH = 32,
    BATCHES_MAX = 8, /* before the loop gets its turn */
    QUERY_MAX = 4096,
    SOCKET_BUFFER = 2 << 20,
};

struct udp_listener {
    struct list link;
    struct dns_server *s;
    uv_poll_t poll;
    int fd;
    bool wildcard;
    struct ip local;
    size_t refs; /* jobs that will send through it */
    bool closed;
};

union control {
    size_t alignment; /* that of a cmsghdr */
    uint8_t v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct udp_batch {
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_iov[BATCH], out_iov[BATCH];
    struct sockaddr_storage peer[BATCH];
    union control control[BATCH];
    uint8_t query[BATCH][QUERY_MAX];
    uint8_t reply[BATCH][DNS_UDP_MAX];
};

struct udp_job {
    struct job job;
    struct udp_listener *l;
    struct sockaddr_storage peer;
    socklen_t peer_len;
    union control control;
    size_t control_len;
};

/* ---- where a query was sent to ---- */

/* Reads the packet's destination and turns its control message into that of the reply. */
static struct ip control_turn(struct msghdr *m)
{
    struct ip ip = { 0 };
    struct cmsghdr *c = CMSG_FIRSTHDR(m);

    if (c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;

        memcpy(&info, CMSG_DATA(c), sizeof(info));
        ip.family = 4;
        memcpy(ip.b, &info.ipi_addr, 4);
        info.ipi_spec_dst = info.ipi_addr;
        info.ipi_ifindex = 0; /* routes decide, as for a socket bound to the address */
        memcpy(CMSG_DATA(c), &info, sizeof(info));
    } else if (c && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo info;
        struct sockaddr_in6 sa = { .sin6_family = AF_INET6 };

        memcpy(&info, CMSG_DATA(c), sizeof(info));
        sa.sin6_addr = info.ipi6_addr;
        ip = ip_of_sockaddr((struct sockaddr *)&sa);
        if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) /* those mean nothing without the interface */
            info.ipi6_ifindex = 0;
        memcpy(CMSG_DATA(c), &info, sizeof(info));
    }
    return ip;
}

/* ---- waiting for an upstream ---- */

static void udp_listener_unref(struct udp_listener *l)
{
    if (--l->refs == 0 && l->closed)
        free(l);
}

static void udp_job_done(struct job *j, const uint8_t *reply, size_t n)
{
    struct udp_job *u = CONTAINER_OF(j, struct udp_job, job);
    struct iovec iov = { (void *)reply, n };
    struct msghdr m = { .msg_name = &u->peer, .msg_namelen = u->peer_len, .msg_iov = &iov, .msg_iovlen = 1 };

    if (u->control_len) {
        m.msg_control = &u->control;
        m.msg_controllen = u->control_len;
    }
    if (n > 0 && !u->l->closed)
        (void)sendmsg(u->l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL); /* lost like any datagram: the client asks again */
    job_drop(j);
    udp_listener_unref(u->l);
    free(u);
}

/* False: too many questions under way. */
static bool udp_wait(struct udp_listener *l, const struct msghdr *m, const struct dns_request *req, const struct dns_ask *ask)
{
    struct udp_job *u = x_calloc(1, sizeof(*u));

    u->job.done = udp_job_done;
    if (job_start(l->s, &u->job, req, ask) < 0) {
        free(u);
        return false;
    }
    u->l = l;
    l->refs++;
    memcpy(&u->peer, m->msg_name, m->msg_namelen);
    u->peer_len = m->msg_namelen;
    if (l->wildcard) {
        memcpy(&u->control, m->msg_control, m->msg_controllen);
        u->control_len = m->msg_controllen;
    }
    return true;
}

/* ---- batches ---- */

static void batch_prepare(struct udp_listener *l, struct udp_batch *b)
{
    for (size_t i = 0; i < BATCH; i++) {
        b->in_iov[i] = (struct iovec){ b->query[i], QUERY_MAX };
        b->in[i].msg_hdr = (struct msghdr){ .msg_name = &b->peer[i], .msg_namelen = sizeof(b->peer[i]),
                                            .msg_iov = &b->in_iov[i], .msg_iovlen = 1 };
        if (l->wildcard) {
            b->in[i].msg_hdr.msg_control = &b->control[i];
            b->in[i].msg_hdr.msg_controllen = sizeof(b->control[i]);
        }
    }
}

/* Answers the query in slot i into out slot `o`. False: no reply now. */
static bool batch_answer(struct udp_listener *l, struct udp_batch *b, size_t i, size_t o)
{
    struct msghdr *m = &b->in[i].msg_hdr;
    struct dns_request req = { .p = b->query[i], .n = b->in[i].msg_len, .local = l->local };
    struct dns_reply reply = { .p = b->reply[o], .cap = DNS_UDP_MAX };

    if (l->wildcard)
        req.local = control_turn(m);
    if (m->msg_flags & MSG_TRUNC) {
        l->s->stats.malformed++;
        return false;
    }
    if (!server_answer(l->s, &req, &reply)) {
        if (udp_wait(l, m, &req, &reply.ask))
            return false;
        server_fail(l->s, &req, &reply);
    }
    if (reply.n == 0)
        return false;
    b->out_iov[o] = (struct iovec){ reply.p, reply.n };
    b->out[o].msg_hdr = (struct msghdr){ .msg_name = m->msg_name, .msg_namelen = m->msg_namelen,
                                         .msg_iov = &b->out_iov[o], .msg_iovlen = 1 };
    if (l->wildcard) {
        b->out[o].msg_hdr.msg_control = m->msg_control;
        b->out[o].msg_hdr.msg_controllen = m->msg_controllen;
    }
    return true;
}

static void batch_send(struct udp_listener *l, struct udp_batch *b, size_t count)
{
    for (size_t sent = 0; sent < count;) {
        int n = sendmmsg(l->fd, b->out + sent, (unsigned)(count - sent), MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            return; /* the send buffer is full: the rest is lost as on a full wire */
        else if (errno != EINTR)
            sent++; /* that one peer cannot be reached */
    }
}

static void on_readable(uv_poll_t *h, int status, int events)
{
    struct udp_listener *l = h->data;
    struct udp_batch *b = l->s->batch;

    for (int k = 0; k < BATCHES_MAX; k++) {
        size_t replies = 0;

        batch_prepare(l, b);
        int n = recvmmsg(l->fd, b->in, BATCH, MSG_DONTWAIT, NULL);

        if (n <= 0)
            return;
        for (size_t i = 0; i < (size_t)n; i++)
            replies += batch_answer(l, b, i, replies);
        batch_send(l, b, replies);
        if (n < BATCH)
            return;
    }
}

/* ---- listeners ---- */

static int udp_socket(const struct sockaddr *addr, socklen_t len, bool wildcard, int *ret_fd)
{
    const int on = 1, off = 0, size = SOCKET_BUFFER, omit = IP_PMTUDISC_OMIT;
    int fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return rc_of_errno(errno);
    /* Best effort: larger buffers, and no path MTU from ICMP, which anyone could forge to make us send fragments. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    int rc = 0;

    if (addr->sa_family == AF_INET) {
        (void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof(omit));
        rc = wildcard ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) : 0;
    } else {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &omit, sizeof(omit));
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, wildcard ? &off : &on, sizeof(on));
        rc = wildcard ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) : 0;
    }
    if (rc < 0 || bind(fd, addr, len) < 0) {
        rc = rc_of_errno(errno);
        (void)close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

int udp_listen(struct dns_server *s, const struct sockaddr *addr, socklen_t len, int *ret_port)
{
    struct ip local = ip_of_sockaddr(addr);
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof(bound);
    int fd = -1, rc = udp_socket(addr, len, local.family == 0, &fd);

    if (rc < 0)
        return rc;
    struct udp_listener *l = x_calloc(1, sizeof(*l));

    if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) < 0 || uv_poll_init(s->loop, &l->poll, fd) < 0) {
        (void)close(fd);
        free(l);
        return RC_IO;
    }
    if (!s->batch)
        s->batch = x_calloc(1, sizeof(*s->batch));
    l->s = s;
    l->fd = fd;
    l->local = local;
    l->wildcard = local.family == 0;
    l->refs = 1;
    l->poll.data = l;
    handles_opened(&s->handles);
    (void)uv_poll_start(&l->poll, UV_READABLE, on_readable); /* fails for bad events only */
    list_push_back(&s->udp, &l->link);
    *ret_port = ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                                 : ((struct sockaddr_in6 *)&bound)->sin6_port);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct udp_listener *l = h->data;
    struct handles *handles = &l->s->handles;

    udp_listener_unref(l);
    handles_closed(handles);
}

static void udp_close(struct udp_listener *l)
{
    list_remove(&l->link);
    l->closed = true;
    uv_close((uv_handle_t *)&l->poll, on_closed);
    (void)close(l->fd); /* uv_close has taken it out of the poll set */
}

void udp_close_last(struct dns_server *s)
{
    udp_close(CONTAINER_OF(s->udp.prev, struct udp_listener, link));
}

void udp_close_all(struct dns_server *s)
{
    while (!list_empty(&s->udp))
        udp_close_last(s);
}

void udp_free(struct dns_server *s)
{
    free(s->batch);
}
