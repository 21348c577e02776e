/* cache.c - the tree cache: a copy of a subtree, kept fresh by watches and reported as differences.
 *
 * Walk    After every (re)connection the whole tree is read again and compared, since persistent watches lose events
 *         across a disconnect. The watch is in place before the first read of a walk, and the server handles the requests
 *         of a connection in order, so no change falls between. A node is removed only when a reply or an event shows
 *         that it is gone. Large data are read again only when their mzxid moved, children are listed again only when
 *         pzxid moved.
 * Events  Each event makes the node of its path be read again; events for a node that waits to be read are one read. An
 *         event that arrives while a read is in flight causes one more read after it.
 * Order   A node is reported only when its parent has been; otherwise what was read is dropped, because the parent's
 *         list, which is read when the parent appears, brings the child back.
 * Modes   One persistent recursive watch; or, on servers before 3.6, a data and a child watch on every node.
 * Memory  Nodes die in leave() alone, so that no function on the stack loses one under its hands. */
#include "client.h"

#include "base/clock.h"

/* Reads in flight: enough to hide the round trip, few enough to leave the connection to others. */
#define READS_MAX 256
/* Data up to this size are read rather than asked about first. */
#define SMALL_DATA 512

/* What is still to be asked of the server about a node. WANT_WATCH: an exists, which can watch a root that is absent. */
enum { WANT_DATA = 1, WANT_CHILDREN = 2, WANT_WATCH = 4 };
enum busy { IDLE, BUSY_DATA, BUSY_STAT, BUSY_CHILDREN, BUSY_WATCH };

struct node {
    struct quoll_cache_node pub; /* what handlers see; .path is the key in cache->nodes */
    char *path;
    void *data;
    quoll_cache *cache;
    struct node *parent;  /* set while present, except in the root */
    struct list sibling;  /* in parent->children while present */
    struct list children; /* the present ones */
    struct list waiting;  /* in cache->waiting: something is wanted and nothing is in flight */
    struct list dead;     /* in cache->dead: to be freed unless it came back to life */
    unsigned want;
    enum busy busy;
    bool present;     /* has been reported ADDED. pub.stat.mzxid is that of the data held */
    bool stale_reply; /* deleted while a read was in flight: its reply may show the dead */
    bool must_read;   /* the data, without asking first whether they changed */
    bool walking;     /* counted in cache->walk_left */
    bool listed;      /* the children are those of listed_pzxid, but for events since */
    int64_t listed_pzxid;
    bool child_watch; /* per-node mode: the watch of the last listing stands */
};

struct quoll_cache {
    quoll_client *c; /* NULL once the client is gone */
    struct quoll_cache_handler h;
    struct state_listener listener;
    char *root;
    struct strmap nodes; /* path -> struct node; also those that are only being read */
    struct list waiting, dead;
    size_t in_flight; /* requests */
    size_t walk_left; /* nodes that the current walk has not finished */
    bool walk_running, connected, ever_synced, fresh, per_node, closed;
    unsigned depth; /* entries on the stack */
    int64_t stale_since_ms;
};

static void on_watch(quoll_client *c, const struct quoll_event *ev, void *data);

/* ---- nodes ---- */

static struct node *node_find(const quoll_cache *k, const char *path)
{
    return strmap_get_s(&k->nodes, path);
}

static struct node *node_make(quoll_cache *k, const char *path)
{
    struct node *n = node_find(k, path);
    if (n)
        return n;
    n = x_calloc(1, sizeof(*n));
    n->path = x_strdup(path);
    n->pub.path = n->path;
    n->cache = k;
    list_init(&n->sibling);
    list_init(&n->children);
    list_init(&n->waiting);
    list_init(&n->dead);
    strmap_set_s(&k->nodes, path, n);
    return n;
}

static void node_free(void *p)
{
    struct node *n = p;
    free(n->path);
    free(n->data);
    free(n);
}

static bool is_root(const struct node *n)
{
    return strcmp(n->path, n->cache->root) == 0;
}

/* The parent of a node below the root; NULL when it is not present. */
static struct node *present_parent(const struct node *n)
{
    const char *slash = strrchr(n->path, '/');
    size_t len = slash == n->path ? 1 : (size_t)(slash - n->path);
    struct node *p = strmap_get(&n->cache->nodes, buf_of(n->path, len));
    return p && p->present ? p : NULL;
}

static void want(struct node *n, unsigned what, bool walk)
{
    if (walk && !n->walking) {
        n->walking = true;
        n->cache->walk_left++;
    }
    n->want |= what;
    if (n->busy == IDLE && list_empty(&n->waiting))
        list_push_back(&n->cache->waiting, &n->waiting);
}

/* Puts the node where its state says: waiting, or done with. */
static void settle(struct node *n)
{
    if (n->busy != IDLE)
        return;
    if (n->want) {
        want(n, 0, false);
        return;
    }
    list_remove(&n->waiting);
    if (n->walking) {
        n->walking = false;
        n->cache->walk_left--;
    }
    if (!n->present && list_empty(&n->dead))
        list_push_back(&n->cache->dead, &n->dead);
}

static void report(struct node *n, enum quoll_cache_change change)
{
    quoll_cache *k = n->cache;
    if (!k->closed && k->h.on_change)
        k->h.on_change(k, change, &n->pub, k->h.data);
}

static void remove_one(struct node *n)
{
    list_remove(&n->sibling);
    n->parent = NULL;
    n->present = n->listed = n->child_watch = false;
    report(n, QUOLL_CACHE_REMOVED);
    free(n->data);
    n->data = NULL;
    n->pub = (struct quoll_cache_node){ .path = n->path };
    n->stale_reply = n->busy != IDLE;
    n->want &= ~(unsigned)WANT_CHILDREN; /* was asked of the node that is gone */
    settle(n);
}

/* Removes the node and all below it, children first. */
static void node_remove(struct node *top)
{
    struct node *n = top;
    if (!top->present)
        return;
    for (;;) {
        while (!list_empty(&n->children))
            n = CONTAINER_OF(n->children.next, struct node, sibling);
        struct node *parent = n->parent;
        remove_one(n);
        if (n == top)
            return;
        n = parent;
    }
}

/* ---- entering and leaving ---- */

static void cache_free(quoll_cache *k)
{
    strmap_free(&k->nodes, node_free);
    free(k->root);
    free(k);
}

static void walk_check(quoll_cache *k)
{
    if (!k->walk_running || k->walk_left > 0)
        return;
    k->walk_running = false;
    k->ever_synced = k->fresh = true;
    k->stale_since_ms = 0;
    if (k->h.on_synced)
        k->h.on_synced(k, k->h.data);
}

static void bury(quoll_cache *k)
{
    LIST_EACH_SAFE(it, &k->dead)
    {
        struct node *n = CONTAINER_OF(it, struct node, dead);
        list_remove(&n->dead);
        if (n->present || n->busy != IDLE || n->want)
            continue;
        strmap_del_s(&k->nodes, n->path);
        node_free(n);
    }
}

static void enter(quoll_cache *k)
{
    k->depth++;
}

static void pump(quoll_cache *k);

/* Every entry from outside ends here: reads go out, the dead go, and so does a closed cache. */
static void leave(quoll_cache *k)
{
    if (k->depth == 1 && !k->closed) {
        pump(k);
        walk_check(k);
        bury(k);
    }
    if (--k->depth == 0 && k->closed && k->in_flight == 0)
        cache_free(k);
}

/* ---- reads ---- */

static void read_done(struct node *n, const struct quoll_result *res);

static void on_read(quoll_client *c, const struct quoll_result *res, void *data)
{
    struct node *n = data;
    quoll_cache *k = n->cache;
    enter(k);
    k->in_flight--;
    if (!k->closed)
        read_done(n, res);
    leave(k);
}

/* Picks the next question about n: the Stat of a large value that may not have changed, else its data, then children. */
static int32_t next_question(struct node *n)
{
    if (n->want & WANT_WATCH) {
        n->want &= ~(unsigned)WANT_WATCH;
        n->busy = BUSY_WATCH;
        return ZK_OP_EXISTS;
    }
    if (n->want & WANT_DATA) {
        bool ask = n->present && n->walking && !n->must_read && n->pub.data_len > SMALL_DATA;
        n->want &= ~(unsigned)WANT_DATA;
        n->busy = ask ? BUSY_STAT : BUSY_DATA;
        n->must_read = false;
        return ask ? ZK_OP_EXISTS : ZK_OP_GET_DATA;
    }
    n->want &= ~(unsigned)WANT_CHILDREN;
    n->busy = BUSY_CHILDREN;
    return ZK_OP_GET_CHILDREN2;
}

static void pump(quoll_cache *k)
{
    while (k->c && k->connected && k->in_flight < READS_MAX && !list_empty(&k->waiting)) {
        struct node *n = CONTAINER_OF(k->waiting.next, struct node, waiting);
        list_remove(&n->waiting);
        int32_t opcode = next_question(n);
        n->stale_reply = false;
        if (client_cache_read(k->c, opcode, n->path, k->per_node ? on_watch : NULL, k, on_read, n) == 0) {
            k->in_flight++;
            continue;
        }
        /* The client is closing, or dead: nothing will be read any more. */
        k->connected = k->walk_running = k->fresh = false;
        n->busy = IDLE;
        n->want = 0;
        settle(n);
    }
}

static void data_store(struct node *n, const struct quoll_result *res)
{
    free(n->data);
    n->data = res->data ? x_memdup(res->data, res->data_len) : NULL;
    n->pub.data = n->data;
    n->pub.data_len = res->data_len;
}

static bool data_same(const struct node *n, const struct quoll_result *res)
{
    return (n->data == NULL) == (res->data == NULL) && n->pub.data_len == res->data_len &&
           (res->data_len == 0 || memcmp(n->data, res->data, res->data_len) == 0);
}

/* What else there is to read, now that the node's Stat is known. */
static void follow_children(struct node *n)
{
    const struct quoll_stat *st = &n->pub.stat;
    bool none = st->num_children == 0 && list_empty(&n->children);
    if (n->cache->per_node) {
        /* Every node that can have children needs its child watch; ephemerals cannot. */
        if (st->ephemeral_owner == 0 && (n->walking || !n->child_watch))
            want(n, WANT_CHILDREN, false);
        return;
    }
    if (none) {
        n->listed = true;
        n->listed_pzxid = st->pzxid;
    } else if (!n->listed || (n->walking && n->listed_pzxid != st->pzxid)) {
        want(n, WANT_CHILDREN, false);
    } else if (n->walking) {
        LIST_EACH(it, &n->children) want(CONTAINER_OF(it, struct node, sibling), WANT_DATA, true);
    }
}

static void data_read(struct node *n, const struct quoll_result *res)
{
    struct node *parent = is_root(n) ? NULL : present_parent(n);
    if (!parent && !is_root(n))
        return;
    bool changed = n->present && (n->pub.stat.mzxid != res->stat->mzxid || !data_same(n, res));
    n->pub.stat = *res->stat;
    if (!n->present || changed)
        data_store(n, res);
    if (!n->present) {
        n->present = true;
        n->parent = parent;
        if (parent)
            list_push_back(&parent->children, &n->sibling);
        report(n, QUOLL_CACHE_ADDED);
    } else if (changed) {
        report(n, QUOLL_CACHE_CHANGED);
    }
    follow_children(n);
}

static void stat_read(struct node *n, const struct quoll_result *res)
{
    if (!n->present || res->stat->mzxid != n->pub.stat.mzxid) {
        n->must_read = true;
        want(n, WANT_DATA, false);
        return;
    }
    n->pub.stat = *res->stat;
    follow_children(n);
}

static char *child_path(const struct node *n, const char *name)
{
    return x_asprintf("%s/%s", strcmp(n->path, "/") == 0 ? "" : n->path, name);
}

static void children_read(struct node *n, const struct quoll_result *res)
{
    struct strmap listed = { 0 };
    struct quoll_stat st = *res->stat;
    if (!n->present)
        return;
    if (st.mzxid == n->pub.stat.mzxid) {
        n->pub.stat = st;
    } else { /* the data changed after they were read: an event says so, and the Stat shown stays that of the data */
        n->pub.stat.cversion = st.cversion;
        n->pub.stat.num_children = st.num_children;
        n->pub.stat.pzxid = st.pzxid;
    }
    n->listed = true;
    n->listed_pzxid = st.pzxid;
    n->child_watch = n->cache->per_node;
    for (size_t i = 0; i < res->child_count; i++) {
        char *path = child_path(n, res->children[i]);
        struct node *child = node_make(n->cache, path);
        strmap_set_s(&listed, path, child);
        if (n->walking || !child->present)
            want(child, WANT_DATA, n->walking);
        free(path);
    }
    LIST_EACH_SAFE(it, &n->children)
    {
        struct node *child = CONTAINER_OF(it, struct node, sibling);
        if (!strmap_get_s(&listed, child->path))
            node_remove(child);
    }
    strmap_free(&listed, NULL);
}

/* The connection is gone with the answer. The state listener has heard of it, and the next connection walks again. */
static bool lost_with_connection(int err)
{
    return err == QUOLL_CONNECTION_LOSS || err == QUOLL_SESSION_EXPIRED || err == QUOLL_CLOSING ||
           err == QUOLL_AUTH_FAILED;
}

static void log_unreadable(const struct node *n, int err)
{
    quoll_client *c = n->cache->c;
    if (!c || !c->opt.on_log)
        return;
    char *text = x_asprintf("tree cache: %s cannot be read: %s", n->path, quoll_strerror(err));
    c->opt.on_log(c, text, c->opt.data);
    free(text);
}

static void read_good(struct node *n, enum busy was, const struct quoll_result *res)
{
    switch (was) {
    case BUSY_DATA:
        data_read(n, res);
        break;
    case BUSY_STAT:
        stat_read(n, res);
        break;
    case BUSY_CHILDREN:
        children_read(n, res);
        break;
    case BUSY_WATCH: /* it is there after all */
        want(n, WANT_DATA, false);
        break;
    case IDLE:
        ASSERT(false);
    }
}

static void read_done(struct node *n, const struct quoll_result *res)
{
    enum busy was = n->busy;
    bool stale = n->stale_reply;
    n->busy = IDLE;
    n->stale_reply = false;
    if (lost_with_connection(res->err)) {
        n->want = 0;
    } else if (stale) {
        n->want |= WANT_DATA;
    } else if (res->err == 0) {
        read_good(n, was, res);
    } else if (res->err == QUOLL_NO_NODE || res->err == QUOLL_NO_AUTH) {
        /* What we may not see is not there for us. */
        node_remove(n);
        if (n->cache->per_node && is_root(n) && was != BUSY_WATCH)
            n->want |= WANT_WATCH;
    } else if (res->err == QUOLL_THROTTLED) {
        n->want |= was == BUSY_CHILDREN ? WANT_CHILDREN : was == BUSY_WATCH ? WANT_WATCH : WANT_DATA;
    } else {
        log_unreadable(n, res->err); /* what is known stands */
    }
    settle(n);
}

/* ---- the watch, events, the connection ---- */

static void walk_start(quoll_cache *k)
{
    k->walk_running = true;
    want(node_make(k, k->root), WANT_DATA, true);
}

static void use_per_node(quoll_cache *k)
{
    if (k->per_node)
        return;
    k->per_node = true;
    if (k->connected) /* what was read until now has no watch */
        walk_start(k);
}

static void on_watch_set(quoll_client *c, const struct quoll_result *res, void *data)
{
    quoll_cache *k = data;
    enter(k);
    k->in_flight--;
    if (!k->closed && res->err != 0 && !lost_with_connection(res->err))
        use_per_node(k);
    leave(k);
}

static bool below_root(const quoll_cache *k, const char *path)
{
    size_t n = strlen(k->root);
    return n == 1 || (strncmp(path, k->root, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static void node_event(quoll_cache *k, const struct quoll_event *ev)
{
    struct node *n = node_find(k, ev->path);
    switch (ev->type) {
    case QUOLL_EVENT_CREATED:
    case QUOLL_EVENT_DATA_CHANGED:
        n = node_make(k, ev->path);
        if (!is_root(n) && !present_parent(n)) {
            settle(n); /* the parent's list will bring it */
            break;
        }
        n->must_read = true;
        want(n, WANT_DATA, false);
        break;
    case QUOLL_EVENT_DELETED:
        if (n && n->present)
            node_remove(n);
        else if (n && n->busy != IDLE)
            n->stale_reply = true;
        if (k->per_node && strcmp(ev->path, k->root) == 0)
            want(node_make(k, k->root), WANT_DATA, false); /* leads to a watch on the absent root */
        break;
    case QUOLL_EVENT_CHILDREN_CHANGED:
        if (!n || !n->present)
            break;
        n->child_watch = false;
        want(n, WANT_CHILDREN, false);
        break;
    default:
        break;
    }
}

static void on_watch(quoll_client *c, const struct quoll_event *ev, void *data)
{
    quoll_cache *k = data;
    if (ev->type == QUOLL_EVENT_SESSION)
        return; /* the listener's business */
    enter(k);
    if (ev->type == QUOLL_EVENT_WATCH_REMOVED)
        use_per_node(k);
    else if (below_root(k, ev->path))
        node_event(k, ev);
    leave(k);
}

static void connection_up(quoll_cache *k)
{
    k->connected = true;
    /* Also when the session has put the watch back: twice is one entry, and only so do we know that it stands. */
    if (!k->per_node && client_cache_watch(k->c, k->root, on_watch, k, on_watch_set, k) == 0)
        k->in_flight++;
    walk_start(k);
}

static void connection_down(quoll_cache *k)
{
    k->connected = k->walk_running = k->fresh = false;
    if (k->ever_synced && k->stale_since_ms == 0)
        k->stale_since_ms = k->c->session.last_recv_ms;
    LIST_EACH_SAFE(it, &k->waiting)
    {
        struct node *n = CONTAINER_OF(it, struct node, waiting);
        n->want = 0;
        settle(n);
    }
    if (k->h.on_stale)
        k->h.on_stale(k, k->h.data);
}

static void on_state(struct state_listener *l, enum quoll_state state)
{
    quoll_cache *k = CONTAINER_OF(l, struct quoll_cache, listener);
    bool up = state == QUOLL_STATE_CONNECTED || state == QUOLL_STATE_READ_ONLY;
    enter(k);
    if (state == QUOLL_STATE_EXPIRED)
        k->per_node = false; /* the new session may meet a newer server */
    if (up && !k->connected)
        connection_up(k);
    else if (!up && k->connected)
        connection_down(k);
    leave(k);
}

static void on_client_gone(struct state_listener *l)
{
    quoll_cache *k = CONTAINER_OF(l, struct quoll_cache, listener);
    k->c = NULL;
    k->connected = false;
}

/* ---- public ---- */

int quoll_cache_open(quoll_client *c, const char *root, const struct quoll_cache_handler *h, quoll_cache **ret)
{
    if (!root || zk_path_problem(root, (int32_t)strlen(root)) || !h || (c->own && thread_is_foreign(c)))
        return QUOLL_BAD_ARGUMENTS;
    quoll_cache *k = x_calloc(1, sizeof(*k));
    k->c = c;
    k->h = *h;
    k->root = x_strdup(root);
    list_init(&k->waiting);
    list_init(&k->dead);
    k->listener = (struct state_listener){ .fn = on_state, .gone = on_client_gone };
    client_listen(c, &k->listener);
    enum quoll_state state = quoll_client_state(c);
    enter(k);
    if (state == QUOLL_STATE_CONNECTED || state == QUOLL_STATE_READ_ONLY)
        connection_up(k);
    leave(k);
    *ret = k;
    return 0;
}

void quoll_cache_close(quoll_cache *k)
{
    if (!k)
        return;
    enter(k);
    k->closed = true;
    if (k->c) {
        list_remove(&k->listener.link);
        client_cache_forget(k->c, k->root, on_watch, k);
    }
    leave(k); /* or, when called from a callback of ours, the outer one */
}

bool quoll_cache_synced(const quoll_cache *k)
{
    return k->ever_synced;
}

int64_t quoll_cache_stale_ms(const quoll_cache *k)
{
    if (!k->ever_synced)
        return -1;
    if (k->fresh)
        return 0;
    return MAX((k->c ? client_now(k->c) : clock_mono_ms()) - k->stale_since_ms, 1);
}

const struct quoll_cache_node *quoll_cache_get(const quoll_cache *k, const char *path)
{
    const struct node *n = node_find(k, path);
    return n && n->present ? &n->pub : NULL;
}

size_t quoll_cache_children(const quoll_cache *k, const char *path,
                            void (*fn)(const struct quoll_cache_node *child, void *data), void *data)
{
    const struct node *n = node_find(k, path);
    size_t count = 0;
    if (!n || !n->present)
        return 0;
    LIST_EACH(it, &n->children)
    {
        if (fn)
            fn(&CONTAINER_OF(it, struct node, sibling)->pub, data);
        count++;
    }
    return count;
}
