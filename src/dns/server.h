/* server.h - what the shell's files share: the server, questions that wait for an upstream, UDP and TCP sockets. */
#ifndef DNS_SERVER_H
#define DNS_SERVER_H

#include "answer.h"
#include "forward.h"

#define TCP_IDLE_MS       15000
#define TCP_CONNS_MAX     1024
#define TCP_INFLIGHT_MAX  64            /* questions of one connection that wait for an upstream */
#define TCP_QUEUED_MAX    (256 * 1024)  /* bytes that a connection has not taken yet */
#define ASKS_MAX          4             /* upstream questions for one query: a chain can change under way */

struct udp_listener;
struct tcp_listener;
struct tcp_conn;
struct udp_batch;

struct dns_server {
    uv_loop_t *loop;
    struct dns_core *core;
    struct forward *forward;
    struct dns_stats stats;
    struct handles handles;
    struct list udp, tcp;   /* listeners */
    struct list conns;      /* the longest silent first */
    size_t conn_count;
    struct list jobs;
    struct udp_batch *batch;
    uv_timer_t idle;
    uint8_t *scratch;       /* DNS_MSG_MAX bytes for one reply */
    uint8_t *tcp_in;        /* what libuv reads into */
    struct wr tcp_out;      /* replies of one connection until they are written together */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* A query that waits for an upstream's answer. */
struct job {
    struct dns_server *s;
    struct forward_waiter waiter;
    struct list link;
    struct dns_ask ask;
    int asks;
    bool tcp;
    struct ip local;
    /* Sends the reply and forgets the job; n 0: no reply. */
    void (*done)(struct job *j, const uint8_t *reply, size_t n);
    uint8_t *query;
    size_t query_len;
};

/* Answers from the table and the cache. True: reply->n bytes are ready (0: drop). False: reply->ask has to be asked first. */
bool server_answer(struct dns_server *s, const struct dns_request *req, struct dns_reply *reply);
/* SERVFAIL for a query whose reply->ask could not be asked. */
void server_fail(struct dns_server *s, const struct dns_request *req, struct dns_reply *reply);
/* Starts a zeroed job whose `done` is set. It takes a copy of the query; done is called once, later. The job is the caller's
 * to free, in done. RC_BUSY: too many under way, nothing was started. */
int job_start(struct dns_server *s, struct job *j, const struct dns_request *req, const struct dns_ask *ask);
/* Forgets a job without calling done; what job_start allocated is freed. */
void job_drop(struct job *j);

/* ---- udp.c ---- */
int udp_listen(struct dns_server *s, const struct sockaddr *addr, socklen_t len, int *ret_port);
void udp_close_last(struct dns_server *s); /* the listener that was made last */
void udp_close_all(struct dns_server *s);
void udp_free(struct dns_server *s);

/* ---- tcp.c ---- */
int tcp_listen(struct dns_server *s, const struct sockaddr *addr);
void tcp_check_idle(struct dns_server *s, int64_t now_ms);
void tcp_close_all(struct dns_server *s);

struct ip ip_of_sockaddr(const struct sockaddr *sa); /* family 0 for any address */
int rc_of_errno(int err);

#endif
