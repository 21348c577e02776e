/* node_front.c - a server's net thread: its clients' connections, between the network and the shipped rules (front.h). */
#include "cluster.h"

#include <stdio.h>

#include "base/log.h"

enum { PIECE = 8 << 10 };

static struct client_conn *find(const struct node *n, uint64_t id)
{
    for (size_t i = 0; i < n->clients.len; i++)
        if (n->clients.items[i]->id == id)
            return n->clients.items[i];
    return NULL;
}

static void on_send(void *data, uint64_t conn, const void *p, size_t len)
{
    struct client_conn *c = find(data, conn);

    if (c)
        wr_bytes(&c->out, p, len);
}

static void on_close(void *data, uint64_t conn)
{
    struct client_conn *c = find(data, conn);

    if (!c)
        return;
    c->closing = true;
    c->told = true;
}

void front_begin(struct node *n)
{
    struct front_io io = { on_send, on_close, n };
    struct front_config cfg = { .role = CORE_LEARNER, .tick_ms = n->cfg.tick_ms, .super_digest = SIM_SUPER_DIGEST };

    n->front = front_new(n->core, n->tree, &cfg, &io);
}

static void conn_free(struct client_conn *c)
{
    wr_free(&c->out);
    free(c);
}

void front_end(struct node *n)
{
    front_free(n->front);
    n->front = NULL;
    for (size_t i = 0; i < n->clients.len; i++)
        conn_free(n->clients.items[i]);
    n->clients.len = 0;
}

void front_wake(struct node *n, int64_t at_us)
{
    at_us = MAX(at_us, MAX(n->w->now_us, n->busy_until_us));
    if (at_us >= n->front_at_us)
        return;
    n->front_at_us = at_us;
    world_at(n->w, at_us, TAG_FRONT, on_front, n, n->life);
}

void front_accepted(struct node *n, struct vsock *s)
{
    struct client_conn *c = x_calloc(1, sizeof(*c));
    char ip[32];

    c->id = ++n->conns;
    c->s = s;
    VEC_PUSH(&n->clients, c);
    snprintf(ip, sizeof(ip), "10.0.1.%u", vsock_peer(s));
    front_opened(n->front, c->id, ip, node_local_us(n, n->w->now_us));
    front_wake(n, n->w->now_us + rng_range(&n->rng, 3, 60));
}

/* What the client sent, and how its connection fares. */
static void read_conn(struct node *n, struct client_conn *c, int64_t now_us)
{
    uint8_t piece[PIECE];
    int64_t got;

    while ((got = vsock_recv(c->s, piece, sizeof(piece))) > 0)
        if (!c->told)
            front_bytes(n->front, c->id, piece, (size_t)got, now_us);
    if (got == RC_BUSY)
        return;
    if (!c->told)
        front_closed(n->front, c->id);
    c->told = c->closing = true;
    c->out_off = c->out.n;
}

static void flush_conn(struct client_conn *c)
{
    if (c->out_off < c->out.n)
        c->out_off += vsock_send(c->s, c->out.p + c->out_off, c->out.n - c->out_off);
    if (c->out_off == c->out.n) {
        wr_reset(&c->out);
        c->out_off = 0;
    }
}

void front_flush_all(struct node *n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n->clients.len; i++) {
        struct client_conn *c = n->clients.items[i];

        flush_conn(c);
        if (!c->closing || c->out.n > 0) {
            n->clients.items[kept++] = c;
            continue;
        }
        vsock_close(c->s, false);
        conn_free(c);
    }
    n->clients.len = kept;
}

void on_front(void *data, uint64_t life)
{
    struct node *n = data;

    if (n->life != life || n->front_at_us != n->w->now_us)
        return;
    n->front_at_us = SIM_NEVER;
    if (!node_alive(n, life, TAG_FRONT))
        return;
    if (n->w->now_us < n->busy_until_us) {
        front_wake(n, n->busy_until_us);
        return;
    }
    int64_t now_us = node_local_us(n, n->w->now_us);
    for (size_t i = 0; i < n->clients.len; i++)
        read_conn(n, n->clients.items[i], now_us);
    front_turn(n->front, now_us);
    front_flush_all(n);
    if (front_has_mail(n->front))
        node_wake(n, n->w->now_us + rng_range(&n->rng, 3, 60));
    int64_t wake = front_next_wake_us(n->front);
    if (front_has_turn(n->front))
        front_wake(n, n->w->now_us + rng_range(&n->rng, 3, 60));
    else if (wake < SIM_NEVER)
        front_wake(n, n->w->now_us + MAX(1000, (wake - now_us) * 1000000 / (1000000 + n->rate_ppm) + 1));
}
