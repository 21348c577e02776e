/* load.c - the virtual clients and their ends of the network. */
#include "cluster.h"

enum { CONNECT_US = 2000000, PIECE = 8 << 10 };

struct user {
    struct load *load;
    uint32_t id;
    struct vclient *v;
    struct vsock *s;
    bool open;
    int64_t dialed_us;
    struct wr out;
    size_t out_off;
    int64_t wake_us;
};
struct load {
    struct cluster *cl;
    struct sim_rng rng;
    struct user users[CLIENTS_MAX];
    uint32_t count;
};

static void on_user(void *data, uint64_t arg);

static void user_wake(struct user *u, int64_t at_us)
{
    struct world *w = u->load->cl->w;

    at_us = MAX(at_us, w->now_us);
    if (at_us >= u->wake_us)
        return;
    u->wake_us = at_us;
    world_at(w, at_us, TAG_CLIENT, on_user, u, (uint64_t)at_us);
}

static void drop(struct user *u, bool reset)
{
    if (u->s)
        vsock_close(u->s, reset);
    u->s = NULL;
    u->open = false;
    wr_reset(&u->out);
    u->out_off = 0;
}

static void on_dial(void *data, uint32_t client, uint32_t server)
{
    struct load *l = data;
    struct user *u = &l->users[client];

    drop(u, true);
    u->dialed_us = l->cl->w->now_us;
    u->s = vnet_connect(l->cl->net, l->cl->count + client, server, VPORT_CLIENT);
    user_wake(u, u->dialed_us + CONNECT_US);
}

static void on_send(void *data, uint32_t client, const void *p, size_t n)
{
    struct load *l = data;

    wr_bytes(&l->users[client].out, p, n);
}

static void flush(struct user *u)
{
    if (u->s && u->out_off < u->out.n)
        u->out_off += vsock_send(u->s, u->out.p + u->out_off, u->out.n - u->out_off);
    if (u->out_off == u->out.n) {
        wr_reset(&u->out);
        u->out_off = 0;
    }
}

static void on_hangup(void *data, uint32_t client)
{
    struct load *l = data;

    flush(&l->users[client]); /* what was said before goes out, as far as the network takes it */
    drop(&l->users[client], rng_chance(&l->rng, 300));
}

static void lost(struct user *u, int64_t now_us)
{
    drop(u, true);
    vclient_closed(u->v, now_us);
}

/* What its connection has. */
static void poll_conn(struct user *u, int64_t now_us)
{
    uint8_t piece[PIECE];
    int64_t got = RC_BUSY;

    if (!u->s)
        return;
    if (!u->open && vsock_state(u->s) == VSOCK_OPEN) {
        u->open = true;
        vclient_opened(u->v, now_us);
    } else if (!u->open && (vsock_state(u->s) == VSOCK_BROKEN || now_us - u->dialed_us >= CONNECT_US)) {
        lost(u, now_us);
        return;
    }
    while (u->s && u->open && (got = vsock_recv(u->s, piece, sizeof(piece))) > 0)
        vclient_bytes(u->v, piece, (size_t)got, now_us);
    if (u->s && u->open && got != RC_BUSY)
        lost(u, now_us);
}

static void on_user(void *data, uint64_t arg)
{
    struct user *u = data;
    int64_t now = u->load->cl->w->now_us;

    if (u->wake_us != (int64_t)arg)
        return;
    u->wake_us = SIM_NEVER;
    poll_conn(u, now);
    vclient_tick(u->v, now);
    flush(u);
    if (u->s && !u->open)
        user_wake(u, u->dialed_us + CONNECT_US);
    int64_t wake = vclient_wake_us(u->v);
    if (wake < SIM_NEVER)
        user_wake(u, MAX(wake, now + 50));
}

static void on_accepted(void *data, enum vnet_port port, struct vsock *s)
{
    (void)data, (void)port, (void)s;
}

static void on_look(void *data, struct vsock *s)
{
    struct user *u = data;

    if (u->s == s)
        user_wake(u, u->load->cl->w->now_us + rng_range(&u->load->rng, 5, 200));
}

void load_begin(struct cluster *cl)
{
    static const struct vnet_ops ops = { on_accepted, on_look, NULL };
    struct load *l = x_calloc(1, sizeof(*l));
    struct vclient_io io = { on_dial, on_send, on_hangup, l };

    cl->load = l;
    l->cl = cl;
    l->rng = rng_split(cl->w->seed, RNG_CLIENT, 0);
    l->count = cl->clients;
    cl->history = history_new();
    /* A leader that was deposed answers those who only read for as long as it does not know; the first write that it cannot commit ends that. */
    bool one_writes = rng_chance(&l->rng, 200);
    uint32_t writer = (uint32_t)(rng_u64(&l->rng) % l->count);
    for (uint32_t i = 0; i < l->count; i++) {
        struct user *u = &l->users[i];
        struct vclient_config cfg = {
            .id = i,
            .server_count = cl->count,
            .seed = rng_u64(&l->rng),
            .timeout_ms = (int32_t)rng_range(&l->rng, 2 * cl->tick_ms, 12 * cl->tick_ms),
            .think_ms = (int32_t)rng_range(&l->rng, 50, 800),
            .pipeline = (uint32_t)rng_range(&l->rng, 1, 16),
            .registers = (uint32_t)rng_range(&l->rng, 2, 8),
            .calm = rng_chance(&l->rng, 200),
            .changes_members = cl->opt->reconfig && (i == 0 || (i == 1 && l->count > 2)),
            .groups = cl->opt->groups,
            .habit = !one_writes ? VCLIENT_ANY : i == writer ? VCLIENT_WRITER : VCLIENT_READER,
        };

        *u = (struct user){ .load = l, .id = i, .out = wr_init(0), .wake_us = SIM_NEVER };
        vnet_host_up(cl->net, cl->count + i, &ops, u);
        u->v = vclient_new(&cfg, cl->history, &io, cl->w->now_us);
        user_wake(u, rng_range(&l->rng, 0, 2 * SEC_US));
    }
}

void load_stop(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->load->count; i++) {
        vclient_stop(cl->load->users[i].v, cl->w->now_us);
        user_wake(&cl->load->users[i], cl->w->now_us);
    }
}

void load_settle_config(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->load->count; i++)
        vclient_settle_members(cl->load->users[i].v);
}

bool load_config_settled(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->load->count; i++)
        if (!vclient_members_settled(cl->load->users[i].v))
            return false;
    return true;
}

bool load_idle(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->load->count; i++)
        if (!vclient_idle(cl->load->users[i].v))
            return false;
    return true;
}

void load_done(struct cluster *cl)
{
    struct load *l = cl->load;

    if (!l)
        return;
    for (uint32_t i = 0; i < l->count; i++) {
        vclient_free(l->users[i].v);
        wr_free(&l->users[i].out);
    }
    free(l);
    history_free(cl->history);
}

void load_figures(const struct cluster *cl, struct sim_result *ret)
{
    const struct history *h = cl->history;

    ret->operations = h->ops.len;
    for (size_t i = 0; i < h->ops.len; i++)
        ret->unknown_operations += h->ops.items[i]->outcome == HIST_UNKNOWN;
}
