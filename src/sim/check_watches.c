/* check_watches.c - history.watches: on each connection exactly the events that its watches call for, each before any reply that shows
 * the change, none before it happened.
 *
 * Method     The model knows which transaction triggers what. Along the stream of a connection (replies and events in the order they came) the
 *            checker keeps its own table of that connection's watches: a reply with zxid Z shows the state at Z, so everything triggered up to
 *            Z must have come before it, and a watch that the reply leaves is there from Z on. At the end of the stream nothing more is
 *            demanded: what was under way then is lost with the connection.
 * Catch-up   The events of setWatches have zxid -1 and come before its reply: they are held until that reply says what state they are of.
 * Source     WatchManager (3.9); ZooKeeper Programmer's Guide, watches. */
#include "check_internal.h"

#define NAME "history.watches"

enum { STANDARD = 1, PERSISTENT = 2, RECURSIVE = 4 };
struct entry { /* what a connection watches at a path */
    struct jstr path;
    unsigned data, child; /* modes */
};
struct due {
    int64_t zxid;
    int32_t event;
    struct jstr path;
    bool matched;
};
struct stream { /* one connection */
    int64_t zxid;      /* triggers up to here are accounted for */
    size_t next;       /* ... the first trigger that is not */
    struct VEC(struct entry) entries;
    struct VEC(struct due) due;       /* called for, not come */
    struct VEC(struct due) catch_up;  /* come with zxid -1, waiting for the reply of setWatches */
    const struct hist_op *last;
};
struct context {
    const struct check_input *in;
    const struct model *m;
    struct check_report *ret;
    struct stream *streams;
};

static const char *event_name(int32_t e)
{
    static const char *const names[] = { "?", "NodeCreated", "NodeDeleted", "NodeDataChanged", "NodeChildrenChanged" };

    return e >= 1 && e <= 4 ? names[e] : names[0];
}

static void complain(struct context *c, const struct hist_mark *k, const char *what, int32_t event, struct jstr path, int64_t zxid,
                     const struct hist_op *op)
{
    struct check_finding *f = check_add(c->ret, NAME, k->at_us, "client %u, session 0x%llx, connection %u: %s: %s of %.*s, zxid 0x%llx",
                                        k->client, (unsigned long long)k->session_id, k->conn, what, event_name(event), path.n, path.p,
                                        (unsigned long long)zxid);
    if (f)
        f->server = k->server;
    check_involve(f, op);
}

/* ---- the table ---- */

static struct entry *entry_find(struct stream *s, struct jstr path)
{
    for (size_t i = 0; i < s->entries.len; i++)
        if (jstr_eq(s->entries.items[i].path, path))
            return &s->entries.items[i];
    return NULL;
}

static void entry_add(struct stream *s, struct jstr path, unsigned data, unsigned child)
{
    struct entry *e = entry_find(s, path), fresh = { path, data, child };

    if (e) {
        e->data |= data;
        e->child |= child;
    } else {
        VEC_PUSH(&s->entries, fresh);
    }
}

static bool is_below(struct jstr path, struct jstr base)
{
    if (base.n == 1)
        return path.n > 1;
    return path.n > base.n && memcmp(path.p, base.p, (size_t)base.n) == 0 && path.p[base.n] == '/';
}

/* Takes what a trigger takes from one of the two tables. Does the connection hear of it? */
static bool table_fires(struct stream *s, struct jstr path, bool child)
{
    bool hears = false;

    for (size_t i = 0; i < s->entries.len; i++) {
        struct entry *e = &s->entries.items[i];
        unsigned *modes = child ? &e->child : &e->data;

        if (jstr_eq(e->path, path)) {
            hears |= *modes != 0;
            *modes &= ~(unsigned)STANDARD;
        } else if (!child && e->data & RECURSIVE && is_below(path, e->path)) {
            hears = true;
        }
    }
    return hears;
}

static void fire(struct stream *s, const struct model_trigger *t)
{
    bool hears = table_fires(s, t->path, t->child);
    struct due d = { t->zxid, t->type, t->path, false };

    if (t->type == ZK_EVENT_DELETED) /* who watches its children hears of it too, once */
        hears |= table_fires(s, t->path, true);
    if (hears && model_allows(t->acl, ZK_PERM_READ))
        VEC_PUSH(&s->due, d);
}

/* Accounts for all that was triggered up to zxid. */
static void advance(struct context *c, struct stream *s, int64_t zxid)
{
    while (s->next < c->m->triggers.len && c->m->triggers.items[s->next].zxid <= zxid) {
        const struct model_trigger *t = &c->m->triggers.items[s->next++];

        if (t->zxid > s->zxid && s->entries.len > 0)
            fire(s, t);
    }
    s->zxid = MAX(s->zxid, zxid);
}

/* ---- what comes ---- */

/* Something shows the state at zxid: what was due up to there has come, or was missed. */
static void settle(struct context *c, struct stream *s, const struct hist_mark *k, int64_t zxid, const struct hist_op *op)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->due.len; i++) {
        const struct due *d = &s->due.items[i];

        if (d->zxid > zxid)
            s->due.items[kept++] = *d;
        else if (!d->matched)
            complain(c, k, "missed, or too late for what was shown next", d->event, d->path, d->zxid, op);
    }
    s->due.len = kept;
}

static void got_event(struct context *c, struct stream *s, const struct hist_mark *k)
{
    struct due came = { k->zxid, k->event, k->path, false };

    if (k->zxid <= 0) {
        VEC_PUSH(&s->catch_up, came);
        return;
    }
    if (k->zxid < s->zxid) {
        complain(c, k, "came after something newer was shown", k->event, k->path, k->zxid, s->last);
        return;
    }
    advance(c, s, k->zxid - 1);
    settle(c, s, k, k->zxid - 1, NULL); /* events come in the order of zxids */
    advance(c, s, k->zxid);
    for (size_t i = 0; i < s->due.len; i++) {
        struct due *d = &s->due.items[i];

        if (!d->matched && d->zxid == k->zxid && d->event == k->event && jstr_eq(d->path, k->path)) {
            d->matched = true;
            return;
        }
    }
    complain(c, k, model_txn(c->m, k->zxid) ? "not called for by any watch" : "of a transaction that was never committed", k->event, k->path,
             k->zxid, NULL);
}

/* What setWatches calls for on the state of its reply; the others are watches from then on. */
static void set_watches(struct context *c, struct stream *s, const struct hist_mark *k, const struct hist_op *op)
{
    struct VEC(struct due) want = { 0 };

    for (int list = 0; list < 5; list++)
        for (int32_t i = 0; i < op->lists[list].n; i++) {
            struct jstr path = op->lists[list].v[i];
            const struct model_node *n = model_at(c->m, path, op->zxid);
            struct due d = { -1, 0, path, false };

            if (list < 3 && list != 1 && !n)
                d.event = ZK_EVENT_DELETED;
            else if (list == 0 && n->stat.mzxid > op->relative_zxid)
                d.event = ZK_EVENT_DATA_CHANGED;
            else if (list == 1 && n)
                d.event = ZK_EVENT_CREATED;
            else if (list == 2 && n->stat.pzxid > op->relative_zxid)
                d.event = ZK_EVENT_CHILDREN_CHANGED;
            if (d.event != 0)
                VEC_PUSH(&want, d);
            else if (list == 3)
                entry_add(s, path, PERSISTENT, PERSISTENT);
            else
                entry_add(s, path, list == 4 ? RECURSIVE : list == 2 ? 0 : STANDARD, list == 2 ? STANDARD : 0);
        }
    for (size_t i = 0; i < MAX(want.len, s->catch_up.len); i++) {
        const struct due *w = i < want.len ? &want.items[i] : NULL, *g = i < s->catch_up.len ? &s->catch_up.items[i] : NULL;

        if (!g)
            complain(c, k, "setWatches did not say what was missed", w->event, w->path, -1, op);
        else if (!w)
            complain(c, k, "setWatches says what did not happen", g->event, g->path, -1, op);
        else if (w->event != g->event || !jstr_eq(w->path, g->path))
            complain(c, k, "setWatches says something else than what was missed", g->event, g->path, -1, op);
    }
    s->catch_up.len = 0;
    VEC_FREE(&want);
}

static void note_watch(struct stream *s, const struct hist_op *op)
{
    bool ok = op->err == ZK_OK;

    switch (op->arg.op) {
    case ZK_OP_ADD_WATCH:
        if (ok && op->arg.flags == ZK_WATCH_PERSISTENT)
            entry_add(s, op->arg.path, PERSISTENT, PERSISTENT);
        else if (ok)
            entry_add(s, op->arg.path, RECURSIVE, 0);
        break;
    case ZK_OP_GET_DATA:
    case ZK_OP_EXISTS:
        if (ok || (op->arg.op == ZK_OP_EXISTS && op->err == ZK_NONODE))
            entry_add(s, op->arg.path, STANDARD, 0);
        break;
    case ZK_OP_GET_CHILDREN:
    case ZK_OP_GET_CHILDREN2:
        if (ok)
            entry_add(s, op->arg.path, 0, STANDARD);
        break;
    }
}

static void got_zxid(struct context *c, struct stream *s, const struct hist_mark *k, int64_t zxid, const struct hist_op *op)
{
    if (zxid <= 0)
        return;
    advance(c, s, zxid);
    settle(c, s, k, zxid, op);
    s->last = op;
}

static void got_reply(struct context *c, struct stream *s, const struct hist_mark *k, const struct hist_op *op)
{
    got_zxid(c, s, k, op->zxid, op);
    if (op->arg.op == ZK_OP_SET_WATCHES2 && op->err == ZK_OK)
        set_watches(c, s, k, op);
    else if (op->watch)
        note_watch(s, op);
}

void check_watches(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { .in = in, .m = m, .ret = ret };

    if (!m)
        return;
    c.streams = x_calloc(in->h->conns + 1, sizeof(*c.streams));
    for (size_t i = 0; i < in->h->marks.len; i++) {
        const struct hist_mark *k = &in->h->marks.items[i];
        const struct hist_op *op = k->type == HIST_COMPLETED ? in->h->ops.items[k->op] : NULL;

        if (k->conn >= in->h->conns)
            continue;
        struct stream *s = &c.streams[k->conn];
        if (k->type == HIST_EVENT)
            got_event(&c, s, k);
        else if (k->type == HIST_PONG)
            got_zxid(&c, s, k, k->zxid, NULL);
        else if (op && (op->outcome == HIST_OK || op->outcome == HIST_ERROR))
            got_reply(&c, s, k, op);
    }
    for (uint32_t i = 0; i < in->h->conns; i++) {
        VEC_FREE(&c.streams[i].entries);
        VEC_FREE(&c.streams[i].due);
        VEC_FREE(&c.streams[i].catch_up);
    }
    free(c.streams);
}
