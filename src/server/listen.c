/* listen.c - the ports that clients connect to: opened at the start, and moved when the list of servers says another place.
 *
 * At the start a host name is resolved on the spot. Later it is net thread 0 that accepts, and serves clients besides: it must not wait for a name server, so
 * a name is resolved by resolver.c, and the port moves when it has an address. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "resolver.h"
#include "server_internal.h"

enum { BACKLOG_DEFAULT = 1024 };

/* ---- opening ---- */

static int listen_fail(struct storage_error *err, const char *text, const char *what)
{
    int rc = errno == EADDRINUSE ? RC_INUSE : errno == EACCES || errno == EPERM ? RC_DENIED : RC_IO;

    snprintf(err->text, sizeof(err->text), "%s: %s: %s", text, what, strerror(errno));
    return rc;
}

/* A host name and a port, where text is none of addr_parse's addresses. */
static bool name_of(const char *text, struct net_name *ret)
{
    const char *colon = strrchr(text, ':');
    int64_t port;

    if (!colon || colon == text || text[0] == '[' || str_to_i64(colon + 1, 0, UINT16_MAX, &port) < 0)
        return false;
    *ret = (struct net_name){ x_strndup(text, (size_t)(colon - text)), (uint16_t)port };
    return true;
}

static int not_an_address(struct storage_error *err, const char *text)
{
    snprintf(err->text, sizeof(err->text), "%s: not an address to listen on", text);
    return RC_INVAL;
}

/* text: for messages, and whether any address is meant. */
static int open_at(const struct server *s, const char *text, const struct sockaddr_storage *at, struct listener *ret, struct storage_error *err)
{
    struct listener l = { .fd = -1 };
    struct sockaddr_storage sa = *at;
    socklen_t len = net_addr_len(&sa);
    int on = 1, off = 0, rc = 0;

    l.fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l.fd < 0 && errno == EAFNOSUPPORT && sa.ss_family == AF_INET6 && text[0] == ':') {
        /* "any address" on a machine without IPv6 */
        struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
        int port = addr_port((struct sockaddr *)&sa);

        *v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
        len = sizeof(*v4);
        l.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (l.fd < 0)
        return listen_fail(err, text, "socket");
    (void)setsockopt(l.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* bind tells if it mattered */
    if (sa.ss_family == AF_INET6)
        (void)setsockopt(l.fd, IPPROTO_IPV6, IPV6_V6ONLY, text[0] == ':' ? &off : &on, sizeof(on));
    if (bind(l.fd, (struct sockaddr *)&sa, len) < 0)
        rc = listen_fail(err, text, "cannot listen");
    else if (listen(l.fd, s->cfg->backlog > 0 ? s->cfg->backlog : BACKLOG_DEFAULT) < 0)
        rc = listen_fail(err, text, "cannot listen");
    else if (len = sizeof(sa), getsockname(l.fd, (struct sockaddr *)&sa, &len) < 0)
        rc = listen_fail(err, text, "getsockname");
    if (rc < 0) {
        close(l.fd);
        return rc;
    }
    l.port = addr_port((struct sockaddr *)&sa);
    addr_format((struct sockaddr *)&sa, l.text);
    *ret = l;
    return 0;
}

/* "ADDR:PORT" as addr_parse reads it, or a host name that the system knows: for this it waits. */
static int listener_open(const struct server *s, const char *text, struct listener *ret, struct storage_error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
    struct sockaddr_storage sa = { 0 };
    struct net_name name;
    socklen_t len;

    if (addr_parse(text, &sa, &len) == 0)
        return open_at(s, text, &sa, ret, err);
    if (!name_of(text, &name))
        return not_an_address(err, text);
    int rc = getaddrinfo(name.host, strrchr(text, ':') + 1, &hints, &list);
    free(name.host);
    if (rc != 0)
        return not_an_address(err, text);
    memcpy(&sa, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return open_at(s, text, &sa, ret, err);
}

int listen_all(struct server *s, struct storage_error *err)
{
    if (s->cfg->listen_count == 0) {
        snprintf(err->text, sizeof(err->text), "no address to listen on (clientPort)");
        return RC_INVAL;
    }
    for (size_t i = 0; i < s->cfg->listen_count; i++) {
        struct listener l;
        int rc = listener_open(s, s->cfg->listen[i], &l, err);

        if (rc < 0)
            return rc;
        VEC_PUSH(&s->listeners, l);
    }
    return 0;
}

/* ---- moving ---- */

void listen_move(struct server *s, const char *address)
{
    pthread_mutex_lock(&s->nets[0].fd_mutex);
    free(s->move_to);
    s->move_to = x_strdup(address);
    pthread_mutex_unlock(&s->nets[0].fd_mutex);
    net_wake(&s->nets[0]);
}

/* Which takes it out of the epoll set too. */
static void listener_close(struct listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

/* The new place first. When it overlaps with the old one (another address of the same port), the old one has to go before. */
static void move_to(struct net *n, const char *text, const struct sockaddr_storage *sa)
{
    struct listener *l = &n->s->listeners.items[0], next;
    struct storage_error err = { "" };
    int rc = open_at(n->s, text, sa, &next, &err);

    if (rc == RC_INUSE) {
        listener_close(l);
        rc = open_at(n->s, text, sa, &next, &err);
        if (rc < 0) {
            struct storage_error again = { "" };

            log_error("server", "client port: %s", err.text);
            rc = listener_open(n->s, l->text, &next, &again); /* an address: no name to be resolved */
            err = again;
        }
    }
    if (rc < 0) {
        log_error("server", "client port: %s", err.text);
        return;
    }
    listener_close(l);
    l->fd = next.fd;
    atomic_store(&l->port, next.port);
    memcpy(l->text, next.text, sizeof(l->text));
    log_info("server", "clients connect to %s", l->text);
    net_listen(n);
}

static void ask_for(struct net *n, const struct net_name *name)
{
    struct server *s = n->s;

    if (!s->move_names) {
        s->move_names = resolver_new(NULL, NULL);
        if (s->move_names && !net_watch_move(n, resolver_fd(s->move_names))) {
            resolver_free(s->move_names);
            s->move_names = NULL;
        }
    }
    if (s->move_names)
        s->move_job = resolver_ask(s->move_names, name, 1);
    else
        log_error("server", "client port: no descriptors for resolving %s", name->host);
}

void listen_take_move(struct net *n)
{
    struct server *s = n->s;
    struct sockaddr_storage sa = { 0 };
    struct storage_error err = { "" };
    struct net_name name;
    socklen_t len;

    pthread_mutex_lock(&n->fd_mutex);
    char *address = s->move_to;
    s->move_to = NULL;
    pthread_mutex_unlock(&n->fd_mutex);
    if (!address)
        return;
    free(s->moving_to);
    s->moving_to = address;
    if (s->move_job != 0)
        resolver_forget(s->move_names, s->move_job);
    s->move_job = 0;
    if (n->quiescent)
        return;
    if (addr_parse(address, &sa, &len) == 0) {
        move_to(n, address, &sa);
    } else if (name_of(address, &name)) {
        ask_for(n, &name);
        free(name.host);
    } else {
        (void)not_an_address(&err, address);
        log_error("server", "client port: %s", err.text);
    }
}

void listen_move_resolved(struct net *n)
{
    struct server *s = n->s;
    struct resolver_answer a;

    while (resolver_next(s->move_names, &a)) {
        if (a.job == s->move_job && !n->quiescent) {
            s->move_job = 0;
            if (a.n > 0)
                move_to(n, s->moving_to, &a.addrs[0]);
            else
                log_error("server", "client port: %s: the name has no address", s->moving_to);
        }
        free(a.addrs);
    }
}
