/* vclient_load.c - what the virtual client asks for.
 *
 * Tree       /r/N      registers: hot keys that everybody writes, with values that are never repeated; two of them are also deleted and made again
 *            /q/n-     sequential nodes, some ephemeral
 *            /e/N      ephemerals under few names, for which clients compete
 *            /t/A/B    a small tree: every kind of node, ACLs, multis
 * Watches of all kinds lie on all of it. */
#include "vclient_internal.h"

enum { NAMES = 3, EPHEMERALS = 4, PROLOGUE = 4 };

static struct jstr text(struct vclient *v, const char *fmt, uint64_t a, uint64_t b)
{
    const char *s = arena_printf(&v->h->arena, fmt, (unsigned long long)a, (unsigned long long)b);

    return jstr_of(s);
}

/* A value that no other request writes; now and then a long one. */
static struct jbuf value(struct vclient *v)
{
    struct jstr head = text(v, "c%llu.%llu", v->cfg.id, ++v->values);
    int32_t n = vclient_random(v, 40) == 0 ? 2000 : head.n;
    uint8_t *p = arena_alloc(&v->h->arena, (size_t)n);

    memset(p, '.', (size_t)n);
    memcpy(p, head.p, (size_t)head.n);
    return (struct jbuf){ p, n };
}

static struct jacls acl_of(struct vclient *v, int32_t perms)
{
    struct jacl *a = arena_calloc(&v->h->arena, 1, sizeof(*a));

    *a = (struct jacl){ perms, jstr_of("world"), jstr_of("anyone") };
    return (struct jacls){ a, 1 };
}

static struct hist_step create_step(struct vclient *v, int32_t op, struct jstr path, int32_t flags)
{
    return (struct hist_step){ .op = op, .path = path, .data = value(v), .flags = flags, .acl = acl_of(v, ZK_PERM_ALL), .version = -1 };
}

static void send_step(struct vclient *v, struct hist_step s, int64_t now_us)
{
    (void)vclient_request(v, &(struct hist_op){ .arg = s }, now_us);
}

static void send_read(struct vclient *v, int32_t op, struct jstr path, bool watch, uint32_t sync, int64_t now_us)
{
    (void)vclient_request(v, &(struct hist_op){ .arg = { .op = op, .path = path, .version = -1 }, .watch = watch, .sync = sync }, now_us);
}

static struct jstr register_path(struct vclient *v, uint32_t *ret_n)
{
    *ret_n = (uint32_t)vclient_random(v, v->cfg.registers);
    return text(v, "/r/%llu", *ret_n, 0);
}

static struct jstr tree_path(struct vclient *v)
{
    uint64_t a = vclient_random(v, NAMES), b = vclient_random(v, NAMES);

    return vclient_random(v, 2) ? text(v, "/t/%llu", a, 0) : text(v, "/t/%llu/%llu", a, b);
}

/* ---- what there is to do ---- */

static void do_set(struct vclient *v, int64_t now_us)
{
    uint32_t n;
    struct jstr path = register_path(v, &n);

    send_step(v, (struct hist_step){ .op = ZK_OP_SET_DATA, .path = path, .data = value(v), .version = -1 }, now_us);
}

static void do_set_if(struct vclient *v, int64_t now_us)
{
    uint32_t n;
    struct jstr path = register_path(v, &n);

    send_step(v, (struct hist_step){ .op = ZK_OP_SET_DATA, .path = path, .data = value(v), .version = v->versions[n] }, now_us);
}

static void do_sync_get(struct vclient *v, int64_t now_us)
{
    uint32_t n;
    struct jstr path = register_path(v, &n);
    struct hist_op *sync = vclient_request(v, &(struct hist_op){ .arg = { .op = ZK_OP_SYNC, .path = path } }, now_us);

    send_read(v, ZK_OP_GET_DATA, path, vclient_random(v, 4) == 0, sync->id + 1, now_us);
}

/* Who holds an ephemeral now? */
static void do_sync_exists(struct vclient *v, int64_t now_us)
{
    struct jstr path = text(v, "/e/%llu", vclient_random(v, EPHEMERALS), 0);
    struct hist_op *sync = vclient_request(v, &(struct hist_op){ .arg = { .op = ZK_OP_SYNC, .path = path } }, now_us);

    send_read(v, ZK_OP_EXISTS, path, vclient_random(v, 2) == 0, sync->id + 1, now_us);
}

static void do_get(struct vclient *v, int64_t now_us)
{
    uint32_t n;
    struct jstr path = register_path(v, &n);

    send_read(v, ZK_OP_GET_DATA, path, vclient_random(v, 3) == 0, 0, now_us);
}

static void do_exists(struct vclient *v, int64_t now_us)
{
    struct jstr path = vclient_random(v, 3) ? tree_path(v) : text(v, "/e/%llu", vclient_random(v, EPHEMERALS), 0);

    send_read(v, ZK_OP_EXISTS, path, vclient_random(v, 2) == 0, 0, now_us);
}

static void do_children(struct vclient *v, int64_t now_us)
{
    static const char *const paths[] = { "/q", "/t", "/e", "/r", "/t/0" };
    struct jstr path = jstr_of(paths[vclient_random(v, ARRAY_LEN(paths))]);

    send_read(v, vclient_random(v, 2) ? ZK_OP_GET_CHILDREN : ZK_OP_GET_CHILDREN2, path, vclient_random(v, 3) == 0, 0, now_us);
}

static void do_tree_get(struct vclient *v, int64_t now_us)
{
    send_read(v, vclient_random(v, 6) ? ZK_OP_GET_DATA : ZK_OP_GET_ACL, tree_path(v), false, 0, now_us);
}

static void do_queue(struct vclient *v, int64_t now_us)
{
    int32_t flags = vclient_random(v, 2) ? ZK_PERSISTENT_SEQUENTIAL : ZK_EPHEMERAL_SEQUENTIAL;

    send_step(v, create_step(v, vclient_random(v, 2) ? ZK_OP_CREATE : ZK_OP_CREATE2, jstr_of("/q/n-"), flags), now_us);
}

static void do_dequeue(struct vclient *v, int64_t now_us)
{
    if (v->own.len == 0) {
        do_queue(v, now_us);
        return;
    }
    struct jstr path = v->own.items[vclient_random(v, v->own.len)];
    send_step(v, (struct hist_step){ .op = ZK_OP_DELETE, .path = path, .version = -1 }, now_us);
}

static void do_ephemeral(struct vclient *v, int64_t now_us)
{
    struct jstr path = text(v, "/e/%llu", vclient_random(v, EPHEMERALS), 0);

    if (vclient_random(v, 3) == 0)
        send_step(v, (struct hist_step){ .op = ZK_OP_DELETE, .path = path, .version = -1 }, now_us);
    else
        send_step(v, create_step(v, ZK_OP_CREATE, path, ZK_EPHEMERAL), now_us);
}

static void do_tree_create(struct vclient *v, int64_t now_us)
{
    struct jstr path = tree_path(v);
    uint64_t kind = vclient_random(v, 8);

    if (kind == 0) {
        send_step(v, create_step(v, ZK_OP_CREATE_CONTAINER, path, ZK_CONTAINER), now_us);
    } else if (kind == 1) {
        struct hist_step s = create_step(v, ZK_OP_CREATE_TTL, path, ZK_PERSISTENT_TTL);

        s.ttl_ms = 1000;
        send_step(v, s, now_us);
    } else {
        send_step(v, create_step(v, kind < 5 ? ZK_OP_CREATE : ZK_OP_CREATE2, path, kind == 2 ? ZK_EPHEMERAL : ZK_PERSISTENT), now_us);
    }
}

static void do_tree_set(struct vclient *v, int64_t now_us)
{
    send_step(v, (struct hist_step){ .op = ZK_OP_SET_DATA, .path = tree_path(v), .data = value(v), .version = -1 }, now_us);
}

static void do_tree_delete(struct vclient *v, int64_t now_us)
{
    int32_t version = vclient_random(v, 4) ? -1 : (int32_t)vclient_random(v, 2);

    send_step(v, (struct hist_step){ .op = ZK_OP_DELETE, .path = tree_path(v), .version = version }, now_us);
}

static void do_acl(struct vclient *v, int64_t now_us)
{
    static const int32_t perms[] = { ZK_PERM_ALL, ZK_PERM_ALL, ZK_PERM_ALL & ~ZK_PERM_READ, ZK_PERM_READ | ZK_PERM_ADMIN,
                                     ZK_PERM_ALL & ~ZK_PERM_CREATE };
    int32_t version = vclient_random(v, 3) ? -1 : (int32_t)vclient_random(v, 3);

    send_step(v, (struct hist_step){ .op = ZK_OP_SET_ACL, .path = tree_path(v), .version = version,
                                     .acl = acl_of(v, perms[vclient_random(v, ARRAY_LEN(perms))]) }, now_us);
}

static void do_multi(struct vclient *v, int64_t now_us)
{
    struct hist_op op = { .arg = { .op = ZK_OP_MULTI }, .step_count = 2 + (uint32_t)vclient_random(v, 3) };

    op.steps = arena_calloc(&v->h->arena, op.step_count, sizeof(*op.steps));
    for (uint32_t i = 0; i < op.step_count; i++) {
        struct hist_step *s = &op.steps[i];
        uint32_t n;

        switch (vclient_random(v, 5)) {
        case 0:
            *s = create_step(v, vclient_random(v, 2) ? ZK_OP_CREATE : ZK_OP_CREATE2, tree_path(v), ZK_PERSISTENT);
            break;
        case 1:
            *s = create_step(v, ZK_OP_CREATE, jstr_of("/q/n-"), ZK_EPHEMERAL_SEQUENTIAL);
            break;
        case 2:
            *s = (struct hist_step){ .op = ZK_OP_DELETE, .path = tree_path(v), .version = -1 };
            break;
        case 3:
            *s = (struct hist_step){ .op = ZK_OP_SET_DATA, .path = register_path(v, &n), .data = value(v), .version = -1 };
            break;
        default:
            *s = (struct hist_step){ .op = ZK_OP_CHECK, .path = register_path(v, &n) };
            s->version = vclient_random(v, 2) ? -1 : v->versions[n];
        }
    }
    (void)vclient_request(v, &op, now_us);
}

static void do_lasting_watch(struct vclient *v, int64_t now_us)
{
    static const char *const paths[] = { "/t", "/r", "/q", "/e" };
    int32_t mode = (int32_t)vclient_random(v, 2);

    if (v->lasting[mode]) { /* one of each will do */
        do_exists(v, now_us);
        return;
    }
    v->lasting[mode] = true;
    (void)vclient_request(v, &(struct hist_op){ .arg = { .op = ZK_OP_ADD_WATCH, .flags = mode, .version = -1,
                                                         .path = jstr_of(paths[vclient_random(v, ARRAY_LEN(paths))]) },
                                                .watch = true }, now_us);
}

/* The last two registers come and go. */
static void do_remake(struct vclient *v, int64_t now_us)
{
    uint32_t n = v->cfg.registers - 1 - (uint32_t)vclient_random(v, MIN(v->cfg.registers, 2u));
    struct jstr path = text(v, "/r/%llu", n, 0);

    if (vclient_random(v, 2))
        send_step(v, (struct hist_step){ .op = ZK_OP_DELETE, .path = path, .version = vclient_random(v, 2) ? -1 : v->versions[n] }, now_us);
    else
        send_step(v, create_step(v, ZK_OP_CREATE2, path, ZK_PERSISTENT), now_us);
}

/* To another server, without need: what is under way may arrive by the old way after we came by the new one. */
static void do_move(struct vclient *v, int64_t now_us)
{
    if (!v->cfg.calm)
        vclient_hang_up(v, now_us);
}

static void do_close(struct vclient *v, int64_t now_us)
{
    if (v->cfg.calm)
        return;
    if (vclient_random(v, 2) == 0) {
        vclient_abandon(v, now_us);
        return;
    }
    v->closing = true;
    send_step(v, (struct hist_step){ .op = ZK_OP_CLOSE_SESSION }, now_us);
}

static const struct {
    void (*fn)(struct vclient *v, int64_t now_us);
    uint32_t weight;
} load[] = {
    { do_set, 20 },        { do_set_if, 9 },     { do_sync_get, 14 },     { do_get, 12 },       { do_exists, 5 },
    { do_children, 6 },    { do_tree_get, 4 },   { do_queue, 6 },         { do_dequeue, 4 },    { do_ephemeral, 7 },
    { do_tree_create, 8 }, { do_tree_set, 4 },   { do_tree_delete, 5 },   { do_acl, 2 },        { do_multi, 7 },
    { do_sync_exists, 4 },
    { do_lasting_watch, 1 }, { do_remake, 3 },   { do_close, 1 },
    { do_move, 1 },
};

/* ---- entry points ---- */

void load_session_begun(struct vclient *v)
{
    for (uint32_t i = 0; i < REGISTERS_MAX; i++)
        v->versions[i] = 0;
    v->prologue = 0;
}

/* What every session begins with: the nodes that all the rest needs. Most often they are there. */
static void prologue(struct vclient *v, int64_t now_us)
{
    static const char *const roots[PROLOGUE] = { "/r", "/q", "/e", "/t" };
    uint32_t i = v->prologue++;

    if (i < PROLOGUE)
        send_step(v, create_step(v, ZK_OP_CREATE, jstr_of(roots[i]), ZK_PERSISTENT), now_us);
    else
        send_step(v, create_step(v, ZK_OP_CREATE, text(v, "/r/%llu", i - PROLOGUE, 0), ZK_PERSISTENT), now_us);
}

static void one(struct vclient *v, int64_t now_us)
{
    uint32_t total = 0, at;

    if (load_change_due(v, now_us)) {
        load_change(v, now_us);
        return;
    }
    if (v->focused && (v->cfg.changes_members || vclient_random(v, 20) > 0)) {
        (!v->reader && vclient_random(v, 3) == 0 ? do_set : do_sync_get)(v, now_us);
        return;
    }
    if (v->reader) {
        (vclient_random(v, 2) ? do_get : do_exists)(v, now_us);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(load); i++)
        total += load[i].weight;
    at = (uint32_t)vclient_random(v, total);
    for (size_t i = 0; i < ARRAY_LEN(load); i++) {
        if (at < load[i].weight) {
            load[i].fn(v, now_us);
            return;
        }
        at -= load[i].weight;
    }
}

void load_burst(struct vclient *v, int64_t now_us)
{
    uint64_t count = vclient_random(v, 4) == 0 ? 1 + vclient_random(v, v->cfg.pipeline) : 1;

    if (v->prologue < PROLOGUE + v->cfg.registers)
        count = PROLOGUE + v->cfg.registers;
    for (uint64_t i = 0; i < count && v->phase == V_UP && !v->closing; i++) {
        if (v->prologue < PROLOGUE + v->cfg.registers)
            prologue(v, now_us);
        else if (vclient_pending(v) < v->cfg.pipeline)
            one(v, now_us);
    }
}

/* A write shows that writes are answered, and gives every server the same last zxid. */
void load_final(struct vclient *v, int64_t now_us)
{
    send_step(v, (struct hist_step){ .op = ZK_OP_SET_DATA, .path = jstr_of("/r"), .data = value(v), .version = -1 }, now_us);
    struct hist_op *sync = vclient_request(v, &(struct hist_op){ .arg = { .op = ZK_OP_SYNC, .path = jstr_of("/") } }, now_us);

    v->final_sent = true;
    send_read(v, ZK_OP_EXISTS, jstr_of("/"), false, sync->id + 1, now_us);
}

/* Remembers what later requests build upon. */
static void remember_version(struct vclient *v, const struct hist_op *op)
{
    struct jstr p = op->arg.path;

    if (!op->arg.has_stat || p.n < 4 || memcmp(p.p, "/r/", 3) != 0)
        return;
    uint32_t n = 0;
    for (int32_t i = 3; i < p.n; i++)
        n = n * 10 + (uint32_t)(p.p[i] - '0');
    if (n < REGISTERS_MAX)
        v->versions[n] = op->arg.stat.version;
}

void load_note_answer(struct vclient *v, const struct hist_op *op)
{
    struct jstr made = op->arg.made;

    reconf_note_answer(v, op);

    if (op->outcome == HIST_OK)
        remember_version(v, op);
    if (v->final_sent && vclient_pending(v) == 0) {
        v->idle = op->outcome == HIST_OK && op->arg.op == ZK_OP_EXISTS;
        v->final_sent = v->idle;
    }
    if (op->outcome == HIST_OK && made.n > 3 && memcmp(made.p, "/q/", 3) == 0 && v->own.len < OWN_MAX)
        VEC_PUSH(&v->own, made);
    if (op->arg.op == ZK_OP_DELETE)
        for (size_t i = 0; i < v->own.len; i++)
            if (jstr_eq(v->own.items[i], op->arg.path)) {
                v->own.items[i] = v->own.items[--v->own.len];
                break;
            }
}
