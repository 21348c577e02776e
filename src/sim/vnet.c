/* vnet.c - see vnet.h. */
#include "vnet.h"

enum { TAG_ARRIVE = 1, TAG_SYN, TAG_OPEN };
#define WINDOW ((size_t)64 << 10)
#define SYN_AGAIN_US (200 * MS_US) /* sooner than a kernel, which would only make runs slower to recover */

enum seg_kind { SEG_DATA, SEG_END, SEG_RESET };
struct seg {
    enum seg_kind kind;
    int64_t depart_us, at_us;
    uint8_t *p;
    size_t n;
};
/* From one end to the other. */
struct pipe {
    struct VEC(struct seg) segs; /* from `head` on */
    size_t head;
    int64_t last_at_us;
    bool silenced, wants_room;
    size_t unread; /* sent and not taken by the receiver */
    uint8_t *rx;   /* arrived, from rx_off to rx_len */
    size_t rx_off, rx_len, rx_cap;
    bool end;
    int64_t stuck_us;
};
struct vsock {
    struct conn *c;
    int side;
    enum vsock_state state;
    void *user;
};
struct conn {
    struct vnet *n;
    uint64_t id;
    uint32_t host[2];
    enum vnet_port port;
    struct vsock *sock[2];
    bool lost[2];        /* that host went without a word */
    struct pipe pipe[2]; /* [i]: from side i */
    uint32_t refs;       /* events under way */
    size_t index;
};
struct link {
    uint32_t blocks;
    int64_t from_us, to_us;
};
struct host {
    bool up, listening[VPORT_COUNT];
    struct vnet_ops ops;
    void *data;
};
struct vnet {
    struct world *w;
    struct sim_rng rng;
    uint32_t hosts;
    struct host *host;
    struct link *links;
    struct VEC(struct conn *) conns;
    uint64_t next_id;
};

static struct link *link_of(const struct vnet *n, uint32_t from, uint32_t to)
{
    return &n->links[from * n->hosts + to];
}

struct vnet *vnet_new(struct world *w, uint32_t hosts)
{
    struct vnet *n = x_calloc(1, sizeof(*n));

    n->w = w;
    n->rng = rng_split(w->seed, RNG_NET, 0);
    n->hosts = hosts;
    n->host = x_calloc(hosts, sizeof(*n->host));
    n->links = x_calloc((size_t)hosts * hosts, sizeof(*n->links));
    for (size_t i = 0; i < (size_t)hosts * hosts; i++) {
        n->links[i].from_us = 60;
        n->links[i].to_us = 3000;
    }
    return n;
}

static void pipe_clear(struct pipe *p)
{
    for (size_t i = p->head; i < p->segs.len; i++)
        free(p->segs.items[i].p);
    p->head = p->segs.len = 0;
}

static void conn_free(struct conn *c)
{
    struct vnet *n = c->n;

    n->conns.items[c->index] = n->conns.items[--n->conns.len];
    n->conns.items[c->index]->index = c->index;
    for (int i = 0; i < 2; i++) {
        pipe_clear(&c->pipe[i]);
        VEC_FREE(&c->pipe[i].segs);
        free(c->pipe[i].rx);
        free(c->sock[i]);
    }
    free(c);
}

void vnet_free(struct vnet *n)
{
    if (!n)
        return;
    while (n->conns.len > 0)
        conn_free(n->conns.items[0]);
    VEC_FREE(&n->conns);
    free(n->host);
    free(n->links);
    free(n);
}

static int64_t lag_of(const struct host *h)
{
    return h->up && h->ops.lag_us ? h->ops.lag_us(h->data) : 0;
}

static int64_t link_delay(struct vnet *n, uint32_t from, uint32_t to)
{
    const struct link *l = link_of(n, from, to);

    return rng_skewed(&n->rng, l->from_us, l->to_us);
}

static void conn_event(struct conn *c, int64_t at_us, uint32_t tag, world_fn fn, int side)
{
    c->refs++;
    world_at(c->n->w, at_us, tag, fn, c, (uint64_t)side);
}

/* At the end of an event: is the connection of use to anybody? */
static void conn_settle(struct conn *c)
{
    if (c->refs == 0 && !c->sock[0] && !c->sock[1])
        conn_free(c);
}

static void look(struct conn *c, int side)
{
    const struct host *h = &c->n->host[c->host[side]];

    if (c->sock[side] && h->up)
        h->ops.look(h->data, c->sock[side]);
}

/* ---- bytes under way ---- */

static bool is_stuck(const struct conn *c, int side)
{
    return c->pipe[side].silenced || link_of(c->n, c->host[side], c->host[1 - side])->blocks > 0;
}

static void on_arrive(void *data, uint64_t side);

static void put_seg(struct conn *c, int side, struct seg s, int64_t depart_us)
{
    struct pipe *p = &c->pipe[side];

    s.depart_us = depart_us;
    s.at_us = MAX(p->last_at_us, depart_us + link_delay(c->n, c->host[side], c->host[1 - side]));
    p->last_at_us = s.at_us;
    VEC_PUSH(&p->segs, s);
    conn_event(c, s.at_us, TAG_ARRIVE, on_arrive, side);
}

static void reset_to(struct conn *c, int side)
{
    put_seg(c, 1 - side, (struct seg){ .kind = SEG_RESET }, c->n->w->now_us);
}

static void receive(struct conn *c, int side, struct seg *s)
{
    struct pipe *p = &c->pipe[side];
    struct vsock *to = c->sock[1 - side];

    if (!to || to->state == VSOCK_BROKEN) {
        if (s->kind != SEG_RESET && c->sock[side] && c->n->host[c->host[1 - side]].up)
            reset_to(c, side);
        return;
    }
    if (s->kind == SEG_RESET) {
        to->state = VSOCK_BROKEN;
        if (rng_chance(&c->n->rng, 500))
            p->rx_off = p->rx_len = 0;
    } else if (s->kind == SEG_END) {
        p->end = true;
    } else {
        if (p->rx_off == p->rx_len)
            p->rx_off = p->rx_len = 0;
        if (p->rx_len + s->n > p->rx_cap) {
            p->rx_cap = MAX(p->rx_len + s->n, p->rx_cap * 2);
            p->rx = x_realloc(p->rx, p->rx_cap);
        }
        memcpy(p->rx + p->rx_len, s->p, s->n);
        p->rx_len += s->n;
        world_mix_bytes(c->n->w, s->p, s->n);
    }
    look(c, 1 - side);
}

/* Whatever is due, in order. */
static void on_arrive(void *data, uint64_t arg)
{
    struct conn *c = data;
    int side = (int)arg;
    struct pipe *p = &c->pipe[side];
    int64_t now = c->n->w->now_us;

    c->refs--;
    if (is_stuck(c, side)) {
        if (p->stuck_us == 0 && p->head < p->segs.len)
            p->stuck_us = now;
    } else {
        p->stuck_us = 0;
        while (p->head < p->segs.len && p->segs.items[p->head].at_us <= now) {
            struct seg s = p->segs.items[p->head++];
            world_mix(c->n->w, c->id << 3 ^ (uint64_t)s.kind << 1 ^ (uint64_t)side);
            receive(c, side, &s);
            free(s.p);
        }
        if (p->head == p->segs.len)
            p->head = p->segs.len = 0;
    }
    conn_settle(c);
}

/* The link is back: what waited is sent again. */
static void resume(struct conn *c, int side)
{
    if (c->pipe[side].head < c->pipe[side].segs.len && !is_stuck(c, side))
        conn_event(c, c->n->w->now_us + link_delay(c->n, c->host[side], c->host[1 - side]), TAG_ARRIVE, on_arrive, side);
}

/* ---- sockets ---- */

static struct vsock *sock_new(struct conn *c, int side, enum vsock_state state)
{
    struct vsock *s = x_calloc(1, sizeof(*s));

    *s = (struct vsock){ .c = c, .side = side, .state = state };
    c->sock[side] = s;
    return s;
}

static void on_open(void *data, uint64_t arg)
{
    struct conn *c = data;

    c->refs--;
    if (c->sock[0] && c->sock[0]->state == VSOCK_CONNECTING) {
        if (is_stuck(c, 1)) {
            conn_event(c, c->n->w->now_us + SYN_AGAIN_US, TAG_OPEN, on_open, 0);
        } else {
            c->sock[0]->state = arg == 0 ? VSOCK_OPEN : VSOCK_BROKEN;
            look(c, 0);
        }
    }
    conn_settle(c);
}

static void on_syn(void *data, uint64_t arg)
{
    struct conn *c = data;
    struct vnet *n = c->n;
    struct host *h = &n->host[c->host[1]];
    int64_t back = n->w->now_us;

    (void)arg;
    c->refs--;
    if (c->sock[0] && (is_stuck(c, 0) || !h->up)) {
        conn_event(c, n->w->now_us + SYN_AGAIN_US, TAG_SYN, on_syn, 0);
    } else if (c->sock[0]) {
        back += link_delay(n, c->host[1], c->host[0]);
        c->pipe[1].last_at_us = back; /* nothing overtakes the answer */
        if (h->listening[c->port])
            h->ops.accepted(h->data, c->port, sock_new(c, 1, VSOCK_OPEN));
        conn_event(c, back, TAG_OPEN, on_open, h->listening[c->port] ? 0 : 1);
    }
    conn_settle(c);
}

struct vsock *vnet_connect(struct vnet *n, uint32_t from, uint32_t to, enum vnet_port port)
{
    struct conn *c = x_calloc(1, sizeof(*c));
    int64_t depart = n->w->now_us + lag_of(&n->host[from]);

    c->n = n;
    c->id = ++n->next_id;
    c->host[0] = from;
    c->host[1] = to;
    c->port = port;
    c->index = n->conns.len;
    VEC_PUSH(&n->conns, c);
    int64_t at = depart + link_delay(n, from, to);
    c->pipe[0].last_at_us = at;
    conn_event(c, at, TAG_SYN, on_syn, 0);
    return sock_new(c, 0, VSOCK_CONNECTING);
}

enum vsock_state vsock_state(const struct vsock *s)
{
    return s->state;
}

uint32_t vsock_peer(const struct vsock *s)
{
    return s->c->host[1 - s->side];
}

void *vsock_user(const struct vsock *s)
{
    return s->user;
}

void vsock_set_user(struct vsock *s, void *user)
{
    s->user = user;
}

static int64_t depart_of(const struct vsock *s)
{
    return s->c->n->w->now_us + lag_of(&s->c->n->host[s->c->host[s->side]]);
}

size_t vsock_send(struct vsock *s, const void *p, size_t n)
{
    struct pipe *pipe = &s->c->pipe[s->side];

    if (s->state != VSOCK_OPEN)
        return n; /* into the void, as a kernel that does not know yet */
    size_t room = WINDOW - MIN(WINDOW, pipe->unread), part = MIN(n, room);
    if (part > 0) {
        pipe->unread += part;
        put_seg(s->c, s->side, (struct seg){ .kind = SEG_DATA, .p = x_memdup(p, part), .n = part }, depart_of(s));
    }
    if (part < n)
        pipe->wants_room = true;
    return part;
}

int64_t vsock_recv(struct vsock *s, void *p, size_t n)
{
    struct pipe *pipe = &s->c->pipe[1 - s->side];
    size_t part = MIN(n, pipe->rx_len - pipe->rx_off);

    if (part == 0)
        return s->state == VSOCK_BROKEN ? RC_CLOSED : pipe->end ? 0 : RC_BUSY;
    memcpy(p, pipe->rx + pipe->rx_off, part);
    pipe->rx_off += part;
    pipe->unread -= part;
    if (pipe->wants_room && pipe->unread < WINDOW / 2) {
        pipe->wants_room = false;
        look(s->c, 1 - s->side);
    }
    return (int64_t)part;
}

void vsock_shut(struct vsock *s)
{
    if (s->state == VSOCK_OPEN)
        put_seg(s->c, s->side, (struct seg){ .kind = SEG_END }, depart_of(s));
}

void vsock_close(struct vsock *s, bool reset)
{
    struct conn *c = s->c;
    const struct pipe *in = &c->pipe[1 - s->side];

    if (s->state == VSOCK_OPEN)
        put_seg(c, s->side, (struct seg){ .kind = reset || in->rx_len > in->rx_off ? SEG_RESET : SEG_END }, depart_of(s));
    c->sock[s->side] = NULL;
    free(s);
    conn_settle(c);
}

int64_t vsock_stuck_us(const struct vsock *s)
{
    return s->c->pipe[s->side].stuck_us;
}

/* ---- hosts ---- */

void vnet_host_up(struct vnet *n, uint32_t host, const struct vnet_ops *ops, void *data)
{
    struct host *h = &n->host[host];

    ASSERT(!h->up);
    *h = (struct host){ .up = true, .ops = *ops, .data = data };
    /* Who goes on sending to what was there is told when it sends again. */
    for (size_t i = 0; i < n->conns.len; i++) {
        struct conn *c = n->conns.items[i];
        for (int side = 0; side < 2; side++)
            if (c->host[side] == host && c->lost[side] && c->sock[1 - side] && c->pipe[1 - side].unread > 0) {
                c->lost[side] = false;
                put_seg(c, side, (struct seg){ .kind = SEG_RESET }, n->w->now_us + rng_range(&n->rng, 1, 800) * MS_US);
            }
    }
}

/* What would have departed later never did. */
static void drop_future(struct pipe *p, int64_t at_us)
{
    while (p->segs.len > p->head && p->segs.items[p->segs.len - 1].depart_us > at_us) {
        struct seg *s = &p->segs.items[--p->segs.len];
        p->unread -= s->n;
        free(s->p);
    }
    p->last_at_us = p->segs.len > p->head ? p->segs.items[p->segs.len - 1].at_us : MIN(p->last_at_us, at_us);
}

static void end_side(struct conn *c, int side, bool power, int64_t at_us)
{
    struct vsock *s = c->sock[side];
    struct pipe *in = &c->pipe[1 - side];

    drop_future(&c->pipe[side], at_us);
    if (power) {
        c->lost[side] = true;
        if (is_stuck(c, side)) {
            for (size_t i = c->pipe[side].head; i < c->pipe[side].segs.len; i++)
                c->pipe[side].unread -= c->pipe[side].segs.items[i].n;
            pipe_clear(&c->pipe[side]); /* nobody is there to send it again */
        }
    } else if (s->state == VSOCK_OPEN) {
        bool reset = in->rx_len > in->rx_off || rng_chance(&c->n->rng, 200);
        put_seg(c, side, (struct seg){ .kind = reset ? SEG_RESET : SEG_END }, c->n->w->now_us);
    }
    c->sock[side] = NULL;
    free(s);
}

void vnet_host_down(struct vnet *n, uint32_t host, bool power, int64_t at_us)
{
    struct host *h = &n->host[host];

    *h = (struct host){ 0 };
    for (size_t i = n->conns.len; i-- > 0;) {
        struct conn *c = n->conns.items[i];
        for (int side = 0; side < 2; side++)
            if (c->host[side] == host && c->sock[side])
                end_side(c, side, power, at_us);
        conn_settle(c);
    }
}

void vnet_listen(struct vnet *n, uint32_t host, enum vnet_port port, bool listen)
{
    n->host[host].listening[port] = listen;
}

/* ---- faults ---- */

void vnet_block(struct vnet *n, uint32_t from, uint32_t to, bool block)
{
    struct link *l = link_of(n, from, to);

    ASSERT(block || l->blocks > 0);
    l->blocks += block ? 1 : UINT32_MAX;
    if (block || l->blocks > 0)
        return;
    for (size_t i = 0; i < n->conns.len; i++)
        for (int side = 0; side < 2; side++)
            if (n->conns.items[i]->host[side] == from && n->conns.items[i]->host[1 - side] == to)
                resume(n->conns.items[i], side);
}

bool vnet_blocked(const struct vnet *n, uint32_t from, uint32_t to)
{
    return link_of(n, from, to)->blocks > 0;
}

void vnet_set_delay(struct vnet *n, uint32_t from, uint32_t to, int64_t from_us, int64_t to_us)
{
    link_of(n, from, to)->from_us = from_us;
    link_of(n, from, to)->to_us = to_us;
}

static struct conn *some_conn(struct vnet *n, struct sim_rng *r, uint32_t hosts)
{
    struct VEC(struct conn *) can = { 0 };
    struct conn *c = NULL;

    for (size_t i = 0; i < n->conns.len; i++)
        if (n->conns.items[i]->sock[0] && n->conns.items[i]->sock[1] && n->conns.items[i]->host[0] < hosts &&
            n->conns.items[i]->host[1] < hosts)
            VEC_PUSH(&can, n->conns.items[i]);
    if (can.len > 0)
        c = can.items[rng_u64(r) % can.len];
    VEC_FREE(&can);
    return c;
}

bool vnet_reset_some(struct vnet *n, struct sim_rng *r, uint32_t hosts)
{
    struct conn *c = some_conn(n, r, hosts);

    if (!c)
        return false;
    reset_to(c, 0);
    reset_to(c, 1);
    return true;
}

void vnet_reset_host(struct vnet *n, uint32_t host, uint32_t hosts)
{
    for (size_t i = 0; i < n->conns.len; i++) {
        struct conn *c = n->conns.items[i];
        if (c->host[0] >= hosts || c->host[1] >= hosts || (c->host[0] != host && c->host[1] != host))
            continue;
        reset_to(c, 0);
        reset_to(c, 1);
    }
}

void vnet_break_others(struct vnet *n, uint32_t host, uint32_t hosts)
{
    for (size_t i = 0; i < n->conns.len; i++) {
        struct conn *c = n->conns.items[i];
        int other = c->host[0] == host ? 1 : 0;

        if (c->host[0] >= hosts || c->host[1] >= hosts || (c->host[0] != host && c->host[1] != host) || !c->sock[other])
            continue;
        c->sock[other]->state = VSOCK_BROKEN;
        look(c, other);
    }
}

bool vnet_silence_some(struct vnet *n, struct sim_rng *r, uint32_t hosts)
{
    struct conn *c = some_conn(n, r, hosts);

    if (!c)
        return false;
    c->pipe[0].silenced = true;
    if (rng_chance(r, 600))
        c->pipe[1].silenced = true;
    return true;
}

void vnet_loud(struct vnet *n)
{
    for (size_t i = 0; i < n->conns.len; i++) {
        struct conn *c = n->conns.items[i];
        for (int side = 0; side < 2; side++) {
            bool was = c->pipe[side].silenced;
            c->pipe[side].silenced = false;
            if (was)
                resume(c, side);
        }
    }
}
