/* nemesis.c - the schedule of faults, made from the seed before the run begins. Each fault has randomness of its own, so that leaving one out
 * changes nothing in what the others do, but for what follows from it.
 *
 * Rules      A fault is something that the service must survive without a wrong answer, and recover from when it ends. So nothing that no service could
 *            survive: the disks of a majority are never lost; a server whose disk is damaged is wiped only while all others hold all that
 *            was committed, since it comes back with no memory of what it promised. */
#include "cluster.h"

#include <stdio.h>

#include "reconf.h"

struct pair {
    uint32_t from, to;
};
struct fault {
    struct cluster *cl;
    enum sim_fault kind;
    uint32_t number;
    int64_t from_us, until_us;
    struct sim_rng rng;
    bool active;
    uint32_t shape;
    struct VEC(struct pair) blocked;
    uint32_t nodes;   /* bit per server that it concerns */
    uint32_t strikes; /* of an ambush, so far */
};
struct waiting {
    struct fault *f;
    enum ambush where;
};
struct nemesis {
    struct cluster *cl;
    struct sim_rng rng;
    struct VEC(struct fault *) faults;
    struct VEC(struct waiting) ambushes; /* in the order in which they came */
};

/* ---- choosing ---- */

static struct node *pick(struct fault *f)
{
    return &f->cl->nodes[rng_u64(&f->rng) % f->cl->count];
}

static struct node *leader_of(struct cluster *cl)
{
    struct node *found = NULL;

    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->nodes[i].serving && cl->nodes[i].role == CORE_LEADER && (!found || cl->nodes[i].epoch > found->epoch))
            found = &cl->nodes[i];
    return found;
}

/* Often the leader: most happens there. */
static struct node *pick_often_leader(struct fault *f)
{
    struct node *any = pick(f), *leader = leader_of(f->cl);

    return leader && rng_chance(&f->rng, 400) ? leader : any;
}

static uint32_t pick_some(struct fault *f)
{
    uint32_t nodes = 0, kind = (uint32_t)(rng_u64(&f->rng) % 8);

    if (kind == 0)
        return (1u << f->cl->count) - 1;
    for (uint32_t i = 0; i < (kind < 6 ? 1 : f->cl->count / 2 + 1); i++)
        nodes |= 1u << pick_often_leader(f)->index;
    return nodes;
}

/* ---- the network ---- */

static void block(struct fault *f, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    vnet_block(f->cl->net, from, to, true);
    VEC_PUSH(&f->blocked, ((struct pair){ from, to }));
}

static void block_both(struct fault *f, uint32_t a, uint32_t b)
{
    block(f, a, b);
    block(f, b, a);
}

static void unblock_all(struct fault *f)
{
    for (size_t i = 0; i < f->blocked.len; i++)
        vnet_block(f->cl->net, f->blocked.items[i].from, f->blocked.items[i].to, false);
    f->blocked.len = 0;
}

static void divide(struct fault *f, uint32_t side, uint32_t bridge)
{
    for (uint32_t a = 0; a < f->cl->count; a++)
        for (uint32_t b = a + 1; b < f->cl->count; b++)
            if ((side >> a & 1) != (side >> b & 1) && a != bridge && b != bridge)
                block_both(f, a, b);
}

enum shape {
    SHAPE_DIVIDED,
    SHAPE_LEADER_ALONE,
    SHAPE_ONE_ALONE,
    SHAPE_BRIDGE,
    SHAPE_RING,
    SHAPE_FLAPPING,
    SHAPE_DEPOSED, /* the leader alone, which all others know at once: they elect another while it waits for an answer */
    SHAPES
};

static void partition(struct fault *f)
{
    uint32_t side = (uint32_t)rng_u64(&f->rng), all = f->cl->count;

    switch (f->shape) {
    case SHAPE_LEADER_ALONE:
        divide(f, 1u << pick_often_leader(f)->index, UINT32_MAX);
        break;
    case SHAPE_DEPOSED: {
        struct node *leader = leader_of(f->cl);
        uint32_t one = (leader ? leader : pick(f))->index;
        divide(f, 1u << one, UINT32_MAX);
        vnet_break_others(f->cl->net, one, all);
        break;
    }
    case SHAPE_ONE_ALONE:
        divide(f, 1u << pick(f)->index, UINT32_MAX);
        break;
    case SHAPE_BRIDGE:
        divide(f, side, pick(f)->index);
        break;
    case SHAPE_RING: /* everybody sees a majority, no two the same one */
        for (uint32_t a = 0; a < all; a++)
            for (uint32_t b = a + 1; b < all; b++)
                if (b - a > 1 && b - a < all - 1)
                    block_both(f, a, b);
        break;
    default:
        divide(f, side, UINT32_MAX);
    }
}

static void on_flap(void *data, uint64_t arg)
{
    struct fault *f = data;

    (void)arg;
    if (!f->active)
        return;
    if (f->blocked.len > 0)
        unblock_all(f);
    else
        partition(f);
    world_at(f->cl->w, f->cl->w->now_us + rng_range(&f->rng, 20, 700) * MS_US, TAG_FAULT, on_flap, f, 0);
}

static void one_way(struct fault *f)
{
    uint32_t one = pick_often_leader(f)->index;

    for (uint32_t a = 0; a < f->cl->count; a++)
        for (uint32_t b = 0; b < f->cl->count; b++)
            if (f->shape % 3 == 0 ? a == one : f->shape % 3 == 1 ? b == one : rng_chance(&f->rng, 300))
                block(f, a, b);
}

static void set_delays(struct fault *f, bool slow)
{
    uint32_t hosts = f->cl->count;

    for (uint32_t a = 0; a < hosts; a++)
        for (uint32_t b = 0; b < hosts; b++)
            if (slow && (f->shape % 2 == 0 || f->nodes >> a & 1))
                vnet_set_delay(f->cl->net, a, b, 1000, rng_range(&f->rng, 20, 600) * MS_US);
            else if (!slow)
                vnet_set_delay(f->cl->net, a, b, 60, 3000);
}

static void cut_clients(struct fault *f)
{
    for (uint32_t c = 0; c < f->cl->clients; c++)
        for (uint32_t s = 0; s < f->cl->count; s++)
            if (rng_chance(&f->rng, 300))
                block_both(f, f->cl->count + c, s);
}

/* ---- processes ---- */

static void on_boot(void *data, uint64_t arg)
{
    struct node *n = data;

    (void)arg;
    if (n->state == NODE_RUNNING)
        return;
    if (n->w->now_us < n->hold_until_us) {
        world_at(n->w, n->hold_until_us, TAG_BOOT, on_boot, n, 0);
        return;
    }
    if (n->state == NODE_BROKEN && n->rotten && n->damaged) {
        if (n->cl->opt->reconfig && reconf_needs(n->cl, n)) {
            /* It was one of many when its disk was damaged; by now a change has left none to do without it. */
            world_line(n->w, SIM_LINE_FAULT, n->sid, 0, "the damaged disk is mended");
            vdisk_mend(n->disk);
            n->rotten = false;
        } else if (inv_may_lose(n->cl, n)) {
            world_line(n->w, SIM_LINE_FAULT, n->sid, 0, "the damaged disk is replaced by an empty one");
            vdisk_wipe(n->disk);
            inv_wiped(n);
            n->rotten = false;
        } else {
            world_at(n->w, n->w->now_us + SEC_US, TAG_BOOT, on_boot, n, 0);
            return;
        }
    }
    node_boot(n);
}

bool nemesis_disk_fails(const struct node *n)
{
    const struct cluster *cl = n->cl;

    for (size_t i = 0; i < cl->nemesis->faults.len; i++) {
        const struct fault *f = cl->nemesis->faults.items[i];
        if (f->active && (f->kind == SIM_FAULT_FULL_DISK || f->kind == SIM_FAULT_DISK_ERROR) && f->nodes >> n->index & 1)
            return true;
    }
    return false;
}

void nemesis_process_ended(struct node *n)
{
    struct cluster *cl = n->cl;

    if (n->state == NODE_BROKEN && !n->rotten && !nemesis_disk_fails(n))
        world_finding(cl->w, "server.start", n->sid, "the server does not start, though nobody damaged its disk: %s", n->broken_why);
    world_at(cl->w, cl->w->now_us + rng_range(&cl->nemesis->rng, 100, 3000) * MS_US, TAG_BOOT, on_boot, n, 0);
}

static void on_trapped(void *data, int64_t at_us)
{
    struct node *n = data;

    node_die_at(n, at_us, n->rng.s[0] & 1, "between two writes");
}

static void end_process(struct fault *f, struct node *n, bool power)
{
    if (n->state != NODE_RUNNING || n->dying)
        return;
    if (f->shape % 3 == 0) { /* in the middle of what its disk does next */
        vdisk_trap(n->disk, (int32_t)rng_range(&f->rng, 0, 12), on_trapped, n);
        return;
    }
    n->hold_until_us = f->until_us;
    node_crash(n, power, n->w->now_us);
    world_at(n->w, f->until_us, TAG_BOOT, on_boot, n, 0);
}

static void rot(struct fault *f)
{
    struct node *n = pick(f);
    char *what;

    if (reconf_needs(f->cl, n))
        return;
    for (uint32_t i = 0; i < f->cl->count; i++)
        if (f->cl->nodes[i].rotten)
            return; /* one server at a time */
    if (!vdisk_rot(n->disk, &f->rng, f->shape % 3 == 0 ? "snapshot." : NULL, &what))
        return;
    n->rotten = true;
    world_line(n->w, SIM_LINE_FAULT, n->sid, 0, "rots: %s", what);
    free(what);
    if (n->state == NODE_RUNNING && !n->dying && rng_chance(&f->rng, 700)) {
        n->hold_until_us = n->w->now_us + rng_range(&f->rng, 10, 1000) * MS_US;
        node_crash(n, false, n->w->now_us);
        world_at(n->w, n->hold_until_us, TAG_BOOT, on_boot, n, 0);
    }
}

/* ---- ambushes ----
 * Most of what once lost data lies between a learner's ACKEPOCH and the UPTODATE that answers its acknowledgement, or between a leader's election and a quorum's
 * acknowledgement: some milliseconds, which a fault at any time of a minute seldom hits. So some faults wait for the next server that gets there. */

static enum ambush ambush_of(const struct fault *f)
{
    switch (f->kind) {
    case SIM_FAULT_RESET:
        return f->shape % 3 == 1 ? AMBUSH_SYNC : f->shape % 6 == 2 ? AMBUSH_LEAD : AMBUSH_NONE;
    case SIM_FAULT_DISK_ERROR:
        return f->shape % 3 == 1 ? AMBUSH_SYNC : f->shape % 3 == 2 ? AMBUSH_MOVE : AMBUSH_NONE;
    case SIM_FAULT_KILL:
    case SIM_FAULT_POWER:
        return f->shape % 6 == 1 ? AMBUSH_SYNC : f->shape == 4 ? AMBUSH_LEAD : f->shape == 10 ? AMBUSH_MOVE : AMBUSH_NONE;
    case SIM_FAULT_PAUSE:
        return f->shape % 4 == 1 ? AMBUSH_LEAD : AMBUSH_NONE;
    default:
        return AMBUSH_NONE;
    }
}

static void lie_in_wait(struct fault *f, enum ambush where)
{
    VEC_PUSH(&f->cl->nemesis->ambushes, ((struct waiting){ f, where }));
}

/* The one that has waited longest. */
static struct fault *take_ambush(struct nemesis *m, enum ambush where)
{
    for (size_t i = 0; i < m->ambushes.len; i++) {
        struct fault *f = m->ambushes.items[i].f;
        if (m->ambushes.items[i].where != where)
            continue;
        m->ambushes.len--;
        memmove(m->ambushes.items + i, m->ambushes.items + i + 1, (m->ambushes.len - i) * sizeof(*m->ambushes.items));
        return f;
    }
    return NULL;
}

static void on_resume(void *data, uint64_t life)
{
    struct node *n = data;

    if (n->life == life && n->paused)
        node_pause(n, false);
}

static void on_ambush(void *data, uint64_t arg)
{
    struct fault *f = data;
    struct node *n = &f->cl->nodes[arg];

    if (f->cl->calm || n->state != NODE_RUNNING || n->dying || n->paused)
        return;
    world_line(n->w, SIM_LINE_FAULT, n->sid, 0, "fault %u strikes: %s", f->number, sim_fault_name(f->kind));
    if (f->kind == SIM_FAULT_RESET) {
        vnet_reset_host(f->cl->net, n->index, f->cl->count);
    } else if (f->kind == SIM_FAULT_PAUSE) {
        node_pause(n, true);
        world_at(n->w, n->w->now_us + rng_range(&f->rng, 20, 6 * f->cl->tick_ms) * MS_US, TAG_FAULT, on_resume, n, n->life);
    } else {
        n->hold_until_us = n->w->now_us + rng_range(&f->rng, 20, rng_chance(&f->rng, 500) ? 2000 : 8000) * MS_US;
        node_crash(n, f->kind == SIM_FAULT_POWER, n->w->now_us);
        world_at(n->w, n->hold_until_us, TAG_BOOT, on_boot, n, 0);
    }
}

static void on_end(void *data, uint64_t arg);

/* What its disk does next goes wrong. */
static void strike_disk(struct fault *f, struct node *n)
{
    world_line(n->w, SIM_LINE_FAULT, n->sid, 0, "fault %u strikes: %s", f->number, sim_fault_name(f->kind));
    if (f->kind != SIM_FAULT_DISK_ERROR) {
        vdisk_trap(n->disk, (int32_t)rng_range(&f->rng, 0, 12), on_trapped, n);
        return;
    }
    f->nodes = 1u << n->index;
    if (!f->active) /* its time was over before anybody came */
        world_at(n->w, n->w->now_us + SEC_US, TAG_FAULT, on_end, f, 0);
    f->active = true;
    if (ambush_of(f) == AMBUSH_MOVE && ++f->strikes < 4) /* a bad place of the disk is met again */
        lie_in_wait(f, AMBUSH_MOVE);
    if (rng_chance(&f->rng, 700))
        vdisk_fail_write(n->disk, (int32_t)rng_range(&f->rng, 0, 3));
    else
        vdisk_fail_sync(n->disk, (int32_t)rng_range(&f->rng, 0, 2));
}

void nemesis_lurks(struct node *n, enum ambush where)
{
    struct fault *f = n->cl->calm ? NULL : take_ambush(n->cl->nemesis, where);

    if (!f)
        return;
    if (f->kind == SIM_FAULT_DISK_ERROR || where == AMBUSH_MOVE)
        strike_disk(f, n);
    else
        world_at(n->w, n->w->now_us + (where == AMBUSH_SYNC ? rng_skewed(&f->rng, 50, 40 * MS_US) : rng_range(&f->rng, 500, 12 * MS_US)),
                 TAG_FAULT, on_ambush, f, n->index);
}

/* ---- all of them at once ---- */

/* Trouble with what all servers share: often the network goes first, so that whoever leads has alone what is proposed after that. They come back one
 * after the other, often before their clients do, and often the trouble is not over: it strikes at the first that begins to lead. */
static void on_all_down(void *data, uint64_t arg)
{
    struct fault *f = data;
    struct cluster *cl = f->cl;

    (void)arg;
    unblock_all(f);
    if (!f->active || cl->calm)
        return;
    for (uint32_t i = 0; i < cl->count; i++) {
        struct node *n = &cl->nodes[i];
        for (uint32_t c = 0; c < cl->clients; c++)
            block_both(f, cl->count + c, i);
        if (n->state != NODE_RUNNING || n->dying)
            continue;
        n->hold_until_us = n->w->now_us + rng_range(&f->rng, 10, 1500) * MS_US;
        node_crash(n, f->kind == SIM_FAULT_POWER, n->w->now_us);
        world_at(n->w, n->hold_until_us, TAG_BOOT, on_boot, n, 0);
    }
    for (uint32_t i = 0; i < 2; i++)
        if (rng_chance(&f->rng, 600))
            lie_in_wait(f, AMBUSH_LEAD);
}

static bool is_for_all(const struct fault *f)
{
    return (f->kind == SIM_FAULT_KILL || f->kind == SIM_FAULT_POWER) && (f->shape == 2 || f->shape == 8);
}

static void all_down(struct fault *f)
{
    struct cluster *cl = f->cl;
    uint32_t network = (uint32_t)rng_range(&f->rng, 0, 9), side = (uint32_t)rng_u64(&f->rng);
    const struct node *leader = leader_of(cl);
    int64_t after_us = network < 8 ? rng_range(&f->rng, 5, 4 * cl->tick_ms) * MS_US : 0; /* at 5 ticks a leader would give up */

    if (network < 2)
        divide(f, side, UINT32_MAX);
    for (uint32_t a = 0; a < cl->count && network >= 2 && network < 8; a++)
        for (uint32_t b = 0; b < cl->count; b++)
            if (network < 4 || &cl->nodes[a] == leader) /* or it hears all others, whom it does not reach */
                block(f, a, b);
    world_at(cl->w, cl->w->now_us + after_us, TAG_FAULT, on_all_down, f, 0);
    f->until_us = cl->w->now_us + after_us + (rng_chance(&f->rng, 800) ? rng_range(&f->rng, 500, 10000) : 1) * MS_US;
}

/* ---- begin and end ---- */

static void each_node(struct fault *f, void (*fn)(struct fault *f, struct node *n))
{
    for (uint32_t i = 0; i < f->cl->count; i++)
        if (f->nodes >> i & 1)
            fn(f, &f->cl->nodes[i]);
}

static void kill_one(struct fault *f, struct node *n)
{
    end_process(f, n, false);
}

static void power_one(struct fault *f, struct node *n)
{
    end_process(f, n, true);
}

static void pause_one(struct fault *f, struct node *n)
{
    (void)f;
    if (n->state == NODE_RUNNING && !n->dying)
        node_pause(n, true);
}

static void resume_one(struct fault *f, struct node *n)
{
    (void)f;
    if (n->paused)
        node_pause(n, false);
}

static void slow_disk(struct fault *f, struct node *n)
{
    if (f->shape % 2 == 0)
        vdisk_set_speed(n->disk, 2000, rng_range(&f->rng, 20, 800) * MS_US);
    else
        vdisk_stall(n->disk, f->until_us);
}

static void good_disk(struct fault *f, struct node *n)
{
    (void)f;
    vdisk_set_speed(n->disk, 150, 4000);
    vdisk_set_full(n->disk, false);
}

static void full_disk(struct fault *f, struct node *n)
{
    (void)f;
    vdisk_set_full(n->disk, true);
}

static void failing_disk(struct fault *f, struct node *n)
{
    if (f->shape % 2 == 0)
        vdisk_fail_write(n->disk, (int32_t)rng_range(&f->rng, 0, 10));
    else
        vdisk_fail_sync(n->disk, (int32_t)rng_range(&f->rng, 0, 5));
}

static void whole_disk(struct fault *f, struct node *n)
{
    (void)f;
    vdisk_fail_write(n->disk, -1);
    vdisk_fail_sync(n->disk, -1);
}

static void change_clock(struct fault *f, struct node *n)
{
    if (n->state != NODE_RUNNING)
        return;
    if (f->shape % 2 == 0)
        node_set_rate(n, (int32_t)rng_range(&f->rng, -40000, 40000));
    else
        n->wall_offset_ms += rng_range(&f->rng, -3600000, 3600000);
}

static void right_clock(struct fault *f, struct node *n)
{
    (void)f;
    node_set_rate(n, 0);
}

static void begin(struct fault *f)
{
    struct cluster *cl = f->cl;

    if (ambush_of(f) != AMBUSH_NONE) {
        f->nodes = 0; /* none yet */
        lie_in_wait(f, ambush_of(f));
        return;
    }
    if (is_for_all(f)) {
        all_down(f);
        return;
    }
    switch (f->kind) {
    case SIM_FAULT_PARTITION:
        if (f->shape == SHAPE_FLAPPING)
            on_flap(f, 0);
        else
            partition(f);
        return;
    case SIM_FAULT_ONE_WAY:
        one_way(f);
        return;
    case SIM_FAULT_SILENCE:
        for (uint32_t i = 0; i <= f->shape % 3; i++)
            (void)vnet_silence_some(cl->net, &f->rng, cl->count);
        return;
    case SIM_FAULT_RESET:
        for (uint32_t i = 0; i <= f->shape % 4; i++)
            (void)vnet_reset_some(cl->net, &f->rng, cl->count);
        return;
    case SIM_FAULT_DELAY:
        set_delays(f, true);
        return;
    case SIM_FAULT_KILL:
        each_node(f, kill_one);
        return;
    case SIM_FAULT_POWER:
        each_node(f, power_one);
        return;
    case SIM_FAULT_PAUSE:
        each_node(f, pause_one);
        return;
    case SIM_FAULT_SLOW_DISK:
        each_node(f, slow_disk);
        return;
    case SIM_FAULT_FULL_DISK:
        each_node(f, full_disk);
        return;
    case SIM_FAULT_DISK_ERROR:
        each_node(f, failing_disk);
        return;
    case SIM_FAULT_BIT_ROT:
        rot(f);
        return;
    case SIM_FAULT_CLOCK:
        each_node(f, change_clock);
        return;
    case SIM_FAULT_CLIENTS:
        cut_clients(f);
        return;
    case SIM_FAULT_COUNT:
        return;
    }
}

static void end(struct fault *f)
{
    unblock_all(f);
    switch (f->kind) {
    case SIM_FAULT_SILENCE:
        vnet_loud(f->cl->net);
        return;
    case SIM_FAULT_DELAY:
        set_delays(f, false);
        return;
    case SIM_FAULT_PAUSE:
        each_node(f, resume_one);
        return;
    case SIM_FAULT_SLOW_DISK:
    case SIM_FAULT_FULL_DISK:
        each_node(f, good_disk);
        return;
    case SIM_FAULT_DISK_ERROR:
        each_node(f, whole_disk);
        return;
    case SIM_FAULT_CLOCK:
        each_node(f, right_clock);
        return;
    default:
        return;
    }
}

static void on_end(void *data, uint64_t arg)
{
    struct fault *f = data;

    (void)arg;
    if (!f->active)
        return;
    f->active = false;
    world_line(f->cl->w, SIM_LINE_FAULT, 0, 0, "fault %u ends: %s", f->number, sim_fault_name(f->kind));
    end(f);
}

static void on_begin(void *data, uint64_t arg)
{
    struct fault *f = data;

    (void)arg;
    if (f->cl->calm)
        return;
    f->active = true;
    f->nodes = pick_some(f);
    world_line(f->cl->w, SIM_LINE_FAULT, 0, 0, "fault %u: %s, servers %x", f->number, sim_fault_name(f->kind), f->nodes);
    world_mix(f->cl->w, f->number);
    begin(f);
    world_at(f->cl->w, f->until_us, TAG_FAULT, on_end, f, 0);
}

/* ---- the plan ---- */

static bool is_skipped(const struct sim_options *o, uint32_t number)
{
    for (size_t i = 0; i < o->skip_count; i++)
        if (o->skip[i] == number)
            return true;
    return false;
}

static bool is_moment(enum sim_fault kind)
{
    return kind == SIM_FAULT_RESET || kind == SIM_FAULT_BIT_ROT;
}

static void plan_one(struct nemesis *m, enum sim_fault kind, int64_t at_us, int64_t end_us)
{
    struct cluster *cl = m->cl;
    struct fault *f = x_calloc(1, sizeof(*f));
    char shape[64] = "";

    f->cl = cl;
    f->kind = kind;
    f->number = (uint32_t)m->faults.len;
    f->rng = rng_split(cl->w->seed, RNG_FAULTS, 1 + f->number);
    f->shape = (uint32_t)(rng_u64(&f->rng) % (kind == SIM_FAULT_PARTITION ? SHAPES : 12));
    f->from_us = at_us;
    f->until_us = is_moment(kind) ? at_us : MIN(end_us, at_us + rng_skewed(&f->rng, 0, 12 * SEC_US) + rng_range(&f->rng, 1, 4000) * MS_US);
    VEC_PUSH(&m->faults, f);
    bool skipped = is_skipped(cl->opt, f->number);
    if (kind == SIM_FAULT_PARTITION) {
        static const char *const shapes[] = { "divided", "leader alone", "one alone", "bridge", "ring", "flapping", "leader deposed" };
        snprintf(shape, sizeof(shape), " (%s)", shapes[f->shape]);
    }
    static const char *const places[] = { "", " (in a synchronisation)", " (when a leader begins)", " (when a history is changed)" };
    if (ambush_of(f) != AMBUSH_NONE)
        snprintf(shape, sizeof(shape), "%s", places[ambush_of(f)]);
    if (is_for_all(f))
        snprintf(shape, sizeof(shape), " (all servers)");
    struct sim_planned_fault p = { f->number, kind, f->from_us, f->until_us, x_asprintf("%s%s", sim_fault_text(kind), shape), skipped };
    VEC_PUSH(&cl->w->result->schedule, p);
    if (!skipped)
        world_at(cl->w, at_us, TAG_FAULT, on_begin, f, 0);
}

void nemesis_plan(struct cluster *cl)
{
    struct nemesis *m = x_calloc(1, sizeof(*m));
    int64_t end_us = (cl->opt->duration_ms > 0 ? cl->opt->duration_ms : 60000) * MS_US;
    enum sim_fault kinds[SIM_FAULT_COUNT];
    uint32_t count = 0;

    cl->nemesis = m;
    m->cl = cl;
    m->rng = rng_split(cl->w->seed, RNG_FAULTS, 0);
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        if (cl->opt->faults >> i & 1 && (rng_chance(&m->rng, 450) || cl->opt->all_faults))
            kinds[count++] = (enum sim_fault)i;
    if (count == 0)
        return;
    int64_t gap_ms = rng_range(&m->rng, 700, 5000);
    for (int64_t at = rng_range(&m->rng, 500, 4000) * MS_US; at < end_us; at += rng_range(&m->rng, gap_ms / 4, gap_ms * 2) * MS_US)
        plan_one(m, kinds[rng_u64(&m->rng) % count], at, end_us);
}

void nemesis_stop(struct cluster *cl)
{
    struct nemesis *m = cl->nemesis;

    cl->calm = true;
    for (size_t i = 0; i < m->faults.len; i++)
        on_end(m->faults.items[i], 0);
    vnet_loud(cl->net);
    for (uint32_t i = 0; i < cl->count; i++) {
        struct node *n = &cl->nodes[i];

        if (n->paused)
            node_pause(n, false);
        n->hold_until_us = 0;
        vdisk_trap(n->disk, -1, on_trapped, n);
        vdisk_stall(n->disk, 0);
        good_disk(NULL, n);
        whole_disk(NULL, n);
        if (n->state != NODE_RUNNING)
            world_at(cl->w, cl->w->now_us + 100 * MS_US, TAG_BOOT, on_boot, n, 0);
    }
    world_line(cl->w, SIM_LINE_FAULT, 0, 0, "no more faults");
}

void nemesis_done(struct cluster *cl)
{
    struct nemesis *m = cl->nemesis;

    for (size_t i = 0; i < m->faults.len; i++) {
        VEC_FREE(&m->faults.items[i]->blocked);
        free(m->faults.items[i]);
    }
    VEC_FREE(&m->faults);
    VEC_FREE(&m->ambushes);
    free(m);
}
