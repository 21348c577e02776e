/* resolver.c - host names to addresses on threads of their own. */
#include "resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"

#define ADDRS_PER_NAME 16

struct job {
    struct list link;
    uint64_t number;
    struct net_name *names;
    size_t names_len;
    struct sockaddr_storage *addrs;
    size_t addrs_len;
};

/* Shared by the owner and the threads; the last of them frees it. Everything behind the lock, which is never held over a resolution. */
struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list asked, answered;
    size_t refs; /* the owner, and each thread */
    size_t threads, idle, waiting; /* waiting: length of asked */
    uint64_t next_number;
    bool closing;
    int fd;
    qnet_resolve_fn resolve;
    void *data;
};

void net_names_free(struct net_name *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i].host);
    free(names);
}

bool net_names_equal(const struct net_name *a, size_t na, const struct net_name *b, size_t nb)
{
    if (na != nb)
        return false;
    for (size_t i = 0; i < na; i++)
        if (a[i].port != b[i].port || strcmp(a[i].host, b[i].host) != 0)
            return false;
    return true;
}

socklen_t net_addr_len(const struct sockaddr_storage *sa)
{
    return sa->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void set_port(struct sockaddr_storage *sa, uint16_t port)
{
    if (sa->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
}

static size_t look_up(const char *host, int flags, struct sockaddr_storage *ret, size_t cap)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *found = NULL;
    size_t n = 0;

    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return 0;
    for (const struct addrinfo *ai = found; ai && n < cap; ai = ai->ai_next) {
        if (ai->ai_addrlen > sizeof(ret[n]) || (ai->ai_family != AF_INET && ai->ai_family != AF_INET6))
            continue;
        memset(&ret[n], 0, sizeof(ret[n]));
        memcpy(&ret[n++], ai->ai_addr, ai->ai_addrlen);
    }
    freeaddrinfo(found);
    return n;
}

static size_t system_resolve(void *data, const char *host, struct sockaddr_storage *ret, size_t cap)
{
    (void)data;
    return look_up(host, 0, ret, cap);
}

/* Adds the addresses of one name; the array has room for RESOLVER_ADDRS_MAX. */
static size_t add_addrs(struct sockaddr_storage *all, size_t n, struct sockaddr_storage *found, size_t found_len, uint16_t port)
{
    for (size_t i = 0; i < found_len && n < RESOLVER_ADDRS_MAX; i++) {
        bool known = false;

        set_port(&found[i], port);
        for (size_t k = 0; k < n && !known; k++)
            known = memcmp(&all[k], &found[i], net_addr_len(&found[i])) == 0;
        if (!known)
            all[n++] = found[i];
    }
    return n;
}

bool resolve_literals(const struct net_name *names, size_t n, struct resolver_answer *ret)
{
    struct sockaddr_storage found[ADDRS_PER_NAME];
    struct sockaddr_storage *all = x_calloc(RESOLVER_ADDRS_MAX, sizeof(*all));
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        size_t got = look_up(names[i].host, AI_NUMERICHOST, found, ARRAY_LEN(found));
        if (got == 0) {
            free(all);
            return false;
        }
        len = add_addrs(all, len, found, got, names[i].port);
    }
    *ret = (struct resolver_answer){ .addrs = all, .n = len };
    return true;
}

static void job_resolve(struct job *j, qnet_resolve_fn resolve, void *data)
{
    struct sockaddr_storage found[ADDRS_PER_NAME];

    j->addrs = x_calloc(RESOLVER_ADDRS_MAX, sizeof(*j->addrs));
    for (size_t i = 0; i < j->names_len; i++) {
        size_t got = look_up(j->names[i].host, AI_NUMERICHOST, found, ARRAY_LEN(found));
        if (got == 0)
            got = resolve(data, j->names[i].host, found, ARRAY_LEN(found));
        j->addrs_len = add_addrs(j->addrs, j->addrs_len, found, got, j->names[i].port);
    }
}

static void job_free(struct job *j)
{
    net_names_free(j->names, j->names_len);
    free(j->addrs);
    free(j);
}

static void jobs_free(struct list *jobs)
{
    LIST_EACH_SAFE(it, jobs)
        job_free(CONTAINER_OF(it, struct job, link));
    list_init(jobs);
}

/* Called with the lock held, which it gives up. */
static void resolver_unref(struct resolver *r)
{
    bool last = --r->refs == 0;

    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    jobs_free(&r->asked);
    jobs_free(&r->answered);
    close(r->fd);
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void *resolver_main(void *arg)
{
    struct resolver *r = arg;

    pthread_mutex_lock(&r->lock);
    while (!r->closing) {
        if (list_empty(&r->asked)) {
            r->idle++;
            pthread_cond_wait(&r->work, &r->lock);
            r->idle--;
            continue;
        }
        struct job *j = CONTAINER_OF(r->asked.next, struct job, link);
        list_remove(&j->link);
        r->waiting--;
        pthread_mutex_unlock(&r->lock);
        job_resolve(j, r->resolve, r->data);
        pthread_mutex_lock(&r->lock);
        list_push_back(&r->answered, &j->link);
        (void)eventfd_write(r->fd, 1); /* fails only when it is as readable as can be */
    }
    resolver_unref(r);
    return NULL;
}

struct resolver *resolver_new(qnet_resolve_fn resolve, void *data)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0)
        return NULL;
    struct resolver *r = x_calloc(1, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    list_init(&r->asked);
    list_init(&r->answered);
    r->refs = 1;
    r->fd = fd;
    r->resolve = resolve ? resolve : system_resolve;
    r->data = data;
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_cond_broadcast(&r->work);
    resolver_unref(r);
}

int resolver_fd(const struct resolver *r)
{
    return r->fd;
}

/* With the lock held. Signals are for other threads. */
static void start_thread(struct resolver *r)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, resolver_main, r) == 0) {
        r->threads++;
        r->refs++;
    }
    /* Else: the threads there are do it. With none, the attempt runs into its deadline and the next one tries to start a thread again. */
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

uint64_t resolver_ask(struct resolver *r, const struct net_name *names, size_t n)
{
    struct job *j = x_calloc(1, sizeof(*j));

    j->names = x_calloc(n, sizeof(*j->names));
    j->names_len = n;
    for (size_t i = 0; i < n; i++)
        j->names[i] = (struct net_name){ x_strdup(names[i].host), names[i].port };
    pthread_mutex_lock(&r->lock);
    uint64_t number = j->number = ++r->next_number;
    list_push_back(&r->asked, &j->link);
    r->waiting++;
    if (r->waiting > r->idle && r->threads < RESOLVER_THREADS)
        start_thread(r);
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    return number;
}

void resolver_forget(struct resolver *r, uint64_t job)
{
    pthread_mutex_lock(&r->lock);
    LIST_EACH_SAFE(it, &r->asked) {
        struct job *j = CONTAINER_OF(it, struct job, link);
        if (j->number != job)
            continue;
        list_remove(&j->link);
        r->waiting--;
        job_free(j);
    }
    pthread_mutex_unlock(&r->lock);
}

bool resolver_next(struct resolver *r, struct resolver_answer *ret)
{
    struct job *j = NULL;
    eventfd_t count;

    pthread_mutex_lock(&r->lock);
    if (!list_empty(&r->answered)) {
        j = CONTAINER_OF(r->answered.next, struct job, link);
        list_remove(&j->link);
    } else {
        (void)eventfd_read(r->fd, &count); /* only clears it */
    }
    pthread_mutex_unlock(&r->lock);
    if (!j)
        return false;
    *ret = (struct resolver_answer){ j->number, j->addrs, j->addrs_len };
    j->addrs = NULL;
    job_free(j);
    return true;
}
