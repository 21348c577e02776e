/* exchange.c - requests, replies and events of a session. */
#include "session_internal.h"

#include "ops.h"

/* Offsets in a request frame. */
enum { FRAME_XID = 4, FRAME_TYPE = 8, FRAME_BODY = 12 };

struct request *request_new(int32_t type, quoll_done_fn done, void *data)
{
    struct request *r = x_calloc(1, sizeof(*r));
    list_init(&r->link);
    r->type = type;
    r->done = done;
    r->data = data;
    (void)jute_frame_begin(&r->frame);
    request_header_write(&r->frame, &(struct request_header){ 0, type });
    return r;
}

void request_free(struct request *r)
{
    if (!r)
        return;
    wr_free(&r->frame);
    free(r->path);
    free(r);
}

void exchange_move(struct list *dst, struct list *src)
{
    while (!list_empty(src)) {
        struct list *l = src->next;
        list_remove(l);
        list_push_back(dst, l);
    }
}

/* ---- deadlines: a binary heap, so that mixed deadlines cost the same as equal ones ---- */

static void heap_put(struct session *s, size_t i, struct request *r)
{
    s->heap.items[i] = r;
    r->heap_at = i + 1;
}

static void heap_up(struct session *s, size_t i, struct request *r)
{
    while (i > 0 && s->heap.items[(i - 1) / 2]->deadline_ms > r->deadline_ms) {
        heap_put(s, i, s->heap.items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(s, i, r);
}

static void heap_down(struct session *s, size_t i, struct request *r)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < s->heap.len && s->heap.items[child + 1]->deadline_ms < s->heap.items[child]->deadline_ms)
            child++;
        if (child >= s->heap.len || s->heap.items[child]->deadline_ms >= r->deadline_ms)
            break;
        heap_put(s, i, s->heap.items[child]);
        i = child;
    }
    heap_put(s, i, r);
}

static void heap_add(struct session *s, struct request *r)
{
    if (r->deadline_ms == 0)
        return;
    VEC_PUSH(&s->heap, r);
    heap_up(s, s->heap.len - 1, r);
}

static void heap_remove(struct session *s, struct request *r)
{
    if (r->heap_at == 0)
        return;
    size_t i = r->heap_at - 1;
    r->heap_at = 0;
    struct request *last = s->heap.items[--s->heap.len];
    if (last == r)
        return;
    if (i > 0 && s->heap.items[(i - 1) / 2]->deadline_ms > last->deadline_ms)
        heap_up(s, i, last);
    else
        heap_down(s, i, last);
}

/* ---- ends of requests ---- */

/* Takes r out of every structure, hands out its result and frees it. */
static void complete(struct session *s, struct request *r, const struct quoll_result *res)
{
    list_remove(&r->link);
    heap_remove(s, r);
    s->request_count--;
    s->add_watches_sent -= r->type == ZK_OP_ADD_WATCH && r->xid != 0;
    if (r->done)
        r->done(s->cfg.client, res, r->data);
    request_free(r);
}

static void complete_err(struct session *s, struct request *r, int err)
{
    struct quoll_result res = { .err = err, .zxid = -1 };
    complete(s, r, &res);
}

void exchange_fail(struct session *s, struct list *from, int err)
{
    struct list all;
    list_init(&all);
    exchange_move(&all, from);
    while (!list_empty(&all))
        complete_err(s, CONTAINER_OF(all.next, struct request, link), err);
}

void exchange_fail_auths(struct session *s, int err)
{
    struct quoll_result res = { .err = err, .zxid = -1 };
    for (size_t i = 0; i < s->auths.len; i++) {
        quoll_done_fn done = s->auths.items[i]->done;
        s->auths.items[i]->done = NULL;
        if (done)
            done(s->cfg.client, &res, s->auths.items[i]->data);
    }
}

void exchange_answer_local(struct session *s)
{
    struct list all;
    list_init(&all);
    exchange_move(&all, &s->local);
    while (!list_empty(&all)) {
        struct request *r = CONTAINER_OF(all.next, struct request, link);
        complete_err(s, r, r->err);
    }
}

void exchange_deadlines(struct session *s)
{
    while (s->heap.len && s->heap.items[0]->deadline_ms <= s->now_ms) {
        struct request *r = s->heap.items[0];
        if (r->xid == 0) {
            s->unsent_bytes -= MIN(s->unsent_bytes, r->frame.n);
            complete_err(s, r, QUOLL_OPERATION_TIMEOUT);
            continue;
        }
        /* Its reply is still to come and holds a place in the order: only the caller is let go. */
        heap_remove(s, r);
        quoll_done_fn done = r->done;
        r->done = NULL;
        free(r->path);
        r->path = NULL;
        struct quoll_result res = { .err = QUOLL_OPERATION_TIMEOUT, .zxid = -1 };
        if (done)
            done(s->cfg.client, &res, r->data);
    }
}

/* ---- sending ---- */

/* True when a lasting watch of ours on the same path makes the server send what a one-shot watch of this read would
 * hear. Servers before 3.9 keep one mode for each path, so that asking again would take the lasting watch away. */
static bool watched_already(const struct session *s, const struct request *r)
{
    unsigned lasting = WATCH_BIT(WATCH_PERSISTENT);
    if (r->reg != WATCH_CHILD) /* nobody sends children's events for a recursive one */
        lasting |= WATCH_BIT(WATCH_RECURSIVE);
    if (watches_kinds(&s->watches, r->path, NULL) & lasting)
        return true;
    if (s->add_watches_sent > 0)
        LIST_EACH(it, &s->sent)
        {
            const struct request *q = CONTAINER_OF(it, struct request, link);
            if (q->type == ZK_OP_ADD_WATCH && q->path && (lasting & WATCH_BIT(q->reg)) && strcmp(q->path, r->path) == 0)
                return true;
        }
    return false;
}

static bool is_read(int32_t type)
{
    return type == ZK_OP_EXISTS || type == ZK_OP_GET_DATA || type == ZK_OP_GET_CHILDREN2;
}

static void send_request(struct session *s, struct request *r)
{
    if (r->path && is_read(r->type) && watched_already(s, r))
        r->frame.p[r->frame.n - 1] = 0; /* the watch flag ends these requests */
    s->add_watches_sent += r->type == ZK_OP_ADD_WATCH;
    r->xid = s->next_xid;
    s->next_xid = s->next_xid == INT32_MAX ? 1 : s->next_xid + 1;
    jute_frame_end(&r->frame, 0);
    wr_patch_u32(&r->frame, FRAME_XID, (uint32_t)r->xid);
    wr_bytes(&s->out, r->frame.p, r->frame.n);
    /* The first create2 may meet a server that has only create; then its body is sent again. */
    if (r->type != ZK_OP_CREATE2 || s->create2_known)
        wr_free(&r->frame);
    list_push_back(&s->sent, &r->link);
    s->last_send_ms = s->now_ms;
}

static void use_create1(struct request *r)
{
    r->type = ZK_OP_CREATE; /* same body, and the same reply up to the path */
    wr_patch_u32(&r->frame, FRAME_TYPE, ZK_OP_CREATE);
}

static void send_or_queue(struct session *s, struct request *r)
{
    if (s->phase == PHASE_UP) {
        send_request(s, r);
        return;
    }
    s->unsent_bytes += r->frame.n;
    list_push_back(&s->queue, &r->link);
}

static int32_t wire_watcher_type(unsigned kinds)
{
    switch (kinds) {
    case WATCH_BIT(WATCH_CHILD):
        return ZK_WATCHER_CHILDREN;
    case WATCH_BIT(WATCH_DATA) | WATCH_BIT(WATCH_EXIST):
        return ZK_WATCHER_DATA;
    case WATCH_BIT(WATCH_PERSISTENT):
        return ZK_WATCHER_PERSISTENT;
    case WATCH_BIT(WATCH_RECURSIVE):
        return ZK_WATCHER_PERSISTENT_RECURSIVE;
    default:
        return ZK_WATCHER_ANY;
    }
}

/* Completes the body of a removeWatches. The server holds one entry for all our watchers of a kind: when others of the
 * kind stay, it is only asked whether it has it (checkWatches); the same when a lasting watch goes on which one-shot ones
 * may depend (watched_already). When none at all stays on the path, type "any" says so to every version; types 4 and 5
 * are unknown to servers before 3.9. */
static void prepare_remove(struct session *s, struct request *r)
{
    const struct watcher *w = r->any_watcher ? NULL : &r->watcher;
    unsigned found = watches_kinds(&s->watches, r->path, w) & r->remove_kinds;
    if (!found) {
        r->err = QUOLL_NO_WATCHER;
        return;
    }
    size_t going = 0;
    for (int k = 0; k < WATCH_KINDS; k++)
        if (found & WATCH_BIT(k))
            going += w ? 1 : watches_count(&s->watches, r->path, WATCH_BIT(k));
    int32_t type = wire_watcher_type(r->remove_kinds);
    if (going == watches_count(&s->watches, r->path, WATCH_ALL))
        type = ZK_WATCHER_ANY;
    else if ((r->remove_kinds & WATCH_LASTING) || going != watches_count(&s->watches, r->path, r->remove_kinds))
        wr_patch_u32(&r->frame, FRAME_TYPE, ZK_OP_CHECK_WATCHES);
    wr_i32(&r->frame, type);
}

static int refusal(const struct session *s, const struct request *r)
{
    if (s->closing)
        return QUOLL_CLOSING;
    if (s->phase == PHASE_DEAD)
        return s->state == QUOLL_STATE_AUTH_FAILED ? QUOLL_AUTH_FAILED : QUOLL_SESSION_EXPIRED;
    if (!r->cache && (s->request_count >= SESSION_REQUESTS_MAX || s->unsent_bytes + s->out.n > SESSION_UNSENT_MAX))
        return QUOLL_THROTTLED;
    return 0;
}

int session_submit(struct session *s, struct request *r, int64_t now_ms)
{
    s->now_ms = MAX(s->now_ms, now_ms);
    int err = refusal(s, r);
    if (err) {
        request_free(r);
        return err;
    }
    s->request_count++;
    if (r->deadline_ms)
        r->deadline_ms += s->now_ms;
    heap_add(s, r);
    if (r->type == ZK_OP_REMOVE_WATCHES)
        prepare_remove(s, r);
    else if (r->type == ZK_OP_ADD_WATCH && s->no_add_watch)
        r->err = QUOLL_UNIMPLEMENTED;
    else if (r->type == ZK_OP_CREATE2 && s->no_create2)
        use_create1(r);
    if (r->err)
        list_push_back(&s->local, &r->link);
    else
        send_or_queue(s, r);
    return 0;
}

static bool forget_pending(struct list *requests, const char *path, struct watcher w)
{
    bool others = false;
    LIST_EACH(it, requests)
    {
        struct request *r = CONTAINER_OF(it, struct request, link);
        if (!r->path)
            continue;
        if (r->watcher.fn == w.fn && r->watcher.data == w.data) {
            free(r->path);
            r->path = NULL;
        } else {
            others |= strcmp(r->path, path) == 0;
        }
    }
    return others;
}

void session_forget(struct session *s, const char *path, struct watcher w, int64_t now_ms)
{
    bool had = watches_kinds(&s->watches, path, &w) != 0;
    watches_forget(&s->watches, w);
    bool others = forget_pending(&s->sent, path, w);
    others |= forget_pending(&s->queue, path, w);
    if (!had || others || s->phase != PHASE_UP || watches_count(&s->watches, path, WATCH_ALL))
        return;
    struct request *r = request_new(ZK_OP_REMOVE_WATCHES, NULL, NULL);
    jute_write_str(&r->frame, jstr_of(path));
    wr_i32(&r->frame, ZK_WATCHER_ANY);
    r->type = ZK_OP_CHECK_WATCHES; /* the header is written: to the session, a request without consequence */
    (void)session_submit(s, r, now_ms); /* refused when closing: then the server forgets anyway */
}

static void send_auth(struct session *s, struct auth *a)
{
    size_t at = jute_frame_begin(&s->out);
    request_header_write(&s->out, &(struct request_header){ ZK_XID_AUTH, ZK_OP_AUTH });
    struct auth_packet p = { 0, jstr_of(a->scheme), { a->cert, (int32_t)a->cert_len } };
    auth_packet_write(&s->out, &p);
    jute_frame_end(&s->out, at);
    VEC_PUSH(&s->auths_sent, a);
    s->last_send_ms = s->now_ms;
}

int session_add_auth(struct session *s, struct auth *a, int64_t now_ms)
{
    s->now_ms = MAX(s->now_ms, now_ms);
    struct request probe = { 0 };
    int err = refusal(s, &probe);
    if (err) {
        free(a->scheme);
        free(a->cert);
        free(a);
        return err;
    }
    VEC_PUSH(&s->auths, a);
    if (s->phase == PHASE_UP)
        send_auth(s, a);
    return 0;
}

void exchange_ping(struct session *s)
{
    size_t at = jute_frame_begin(&s->out);
    request_header_write(&s->out, &(struct request_header){ ZK_XID_PING, ZK_OP_PING });
    jute_frame_end(&s->out, at);
    s->last_send_ms = s->now_ms;
}

void exchange_send_close(struct session *s)
{
    struct request *r = request_new(ZK_OP_CLOSE_SESSION, NULL, NULL);
    s->request_count++;
    send_request(s, r);
}

/* The same credentials given twice are replayed once; a caller who still waits for an answer gets it. */
static bool auth_superseded(const struct session *s, size_t i)
{
    const struct auth *a = s->auths.items[i];
    for (size_t j = i + 1; !a->done && j < s->auths.len; j++) {
        const struct auth *b = s->auths.items[j];
        if (strcmp(a->scheme, b->scheme) == 0 && a->cert_len == b->cert_len &&
            (a->cert_len == 0 || memcmp(a->cert, b->cert, a->cert_len) == 0))
            return true;
    }
    return false;
}

void exchange_resume(struct session *s)
{
    for (size_t i = 0; i < s->auths.len; i++)
        if (!auth_superseded(s, i))
            send_auth(s, s->auths.items[i]);
    s->set_watches_sent =
        watches_write_set(&s->watches, &s->out, s->last_zxid, SESSION_WATCH_BATCH, &s->lasting_sent);
    if (s->set_watches_sent)
        s->last_send_ms = s->now_ms;
    s->unsent_bytes = 0;
    while (!list_empty(&s->queue)) {
        struct request *r = CONTAINER_OF(s->queue.next, struct request, link);
        list_remove(&r->link);
        send_request(s, r);
    }
}

/* ---- receiving ---- */

static void on_event(struct session *s, struct rd *r, int64_t zxid)
{
    struct watcher_event ev;
    watcher_event_read(r, &s->arena, &ev);
    if (r->rc != 0 || !ev.path.p) {
        session_drop(s, "malformed watch event");
        return;
    }
    if (ev.type < QUOLL_EVENT_CREATED || ev.type > QUOLL_EVENT_CHILDREN_CHANGED)
        return; /* servers send no others; what a newer one may send is not for our watchers */
    const char *path = arena_strdup(&s->arena, buf_of(ev.path.p, (size_t)ev.path.n));
    struct quoll_event out = { .type = (enum quoll_event_type)ev.type, .state = s->state,
                               .path = ops_client_path(s->cfg.chroot, path), .zxid = zxid };
    watches_fire(&s->watches, s->cfg.client, path, &out);
}

static void on_auth(struct session *s, int32_t err)
{
    if (s->auths_sent.len == 0) {
        session_drop(s, "answer to no auth request");
        return;
    }
    struct auth *a = s->auths_sent.items[0];
    memmove(s->auths_sent.items, s->auths_sent.items + 1, --s->auths_sent.len * sizeof(a));
    quoll_done_fn done = a->done;
    a->done = NULL;
    struct quoll_result res = { .err = err, .zxid = -1 };
    if (done)
        done(s->cfg.client, &res, a->data);
    if (err != 0)
        session_die(s, QUOLL_STATE_AUTH_FAILED, QUOLL_AUTH_FAILED);
}

/* A server that does not know setWatches2 has lost our persistent watches for good; it closes the connection now. */
static void on_set_watches(struct session *s, int32_t err)
{
    if (s->set_watches_sent)
        s->set_watches_sent--;
    if (err != QUOLL_UNIMPLEMENTED || !s->lasting_sent)
        return;
    s->no_add_watch = true;
    struct quoll_event ev = { .type = QUOLL_EVENT_WATCH_REMOVED, .state = s->state, .zxid = -1 };
    watches_remove_kinds(&s->watches, s->cfg.client, WATCH_LASTING, ev, strlen(s->cfg.chroot));
}

static void register_watch(struct session *s, const struct request *r, int32_t err)
{
    enum watch_kind kind = r->reg;
    if (!r->path || r->type == ZK_OP_REMOVE_WATCHES)
        return;
    if (r->type == ZK_OP_EXISTS && err == QUOLL_NO_NODE)
        kind = WATCH_EXIST;
    else if (err != 0 && !(r->type == ZK_OP_ADD_WATCH && err == QUOLL_NO_NODE))
        return;
    watches_add(&s->watches, r->path, kind, r->watcher);
}

/* Our watchers go whatever the server still knew: it is asked so that it stops sending, not for permission. */
static int finish_remove(struct session *s, struct request *r, int32_t err)
{
    if (err != 0 && err != QUOLL_NO_WATCHER && err != QUOLL_MARSHALLING_ERROR)
        return err;
    struct quoll_event ev = { .type = QUOLL_EVENT_WATCH_REMOVED, .state = s->state,
                              .path = ops_client_path(s->cfg.chroot, r->path), .zxid = -1 };
    watches_remove(&s->watches, s->cfg.client, r->path, r->remove_kinds, r->any_watcher ? NULL : &r->watcher, &ev);
    return 0;
}

/* Servers before 3.5 answer create2 with "unimplemented" and hang up. Nothing was done: ask again with create. */
static bool retry_create1(struct session *s, struct request *r, int32_t err)
{
    if (r->type != ZK_OP_CREATE2)
        return false;
    if (err != QUOLL_UNIMPLEMENTED) {
        s->create2_known = true;
        return false;
    }
    if (s->create2_known || r->frame.n == 0)
        return false;
    s->no_create2 = true;
    list_remove(&r->link);
    r->xid = 0;
    use_create1(r);
    s->unsent_bytes += r->frame.n;
    list_push_front(&s->queue, &r->link); /* the connection is about to close: leave it to the next */
    return true;
}

static void on_reply(struct session *s, struct request *r, struct rd *body, const struct reply_header *h)
{
    struct quoll_result res = { .err = h->err, .zxid = h->zxid };
    if (r->type == ZK_OP_CLOSE_SESSION) {
        complete(s, r, &res);
        session_finish(s);
        return;
    }
    if (retry_create1(s, r, h->err))
        return;
    if (r->type == ZK_OP_ADD_WATCH && h->err == QUOLL_UNIMPLEMENTED)
        s->no_add_watch = true;
    if (h->err == 0 && ops_read_reply(r->type, body, &s->arena, s->cfg.chroot, &res) < 0) {
        complete_err(s, r, QUOLL_MARSHALLING_ERROR);
        session_drop(s, "malformed reply");
        return;
    }
    register_watch(s, r, h->err);
    if (r->type == ZK_OP_REMOVE_WATCHES && r->path)
        res.err = finish_remove(s, r, h->err);
    else if (r->type == ZK_OP_ADD_WATCH && h->err == QUOLL_NO_NODE)
        res.err = 0;
    complete(s, r, &res);
}

static struct request *head(struct session *s, int32_t xid)
{
    struct request *r = list_empty(&s->sent) ? NULL : CONTAINER_OF(s->sent.next, struct request, link);
    return r && r->xid == xid ? r : NULL;
}

void exchange_frame(struct session *s, const uint8_t *p, size_t n)
{
    struct rd r = rd_init(p, n);
    struct reply_header h;
    reply_header_read(&r, &s->arena, &h);
    if (r.rc != 0) {
        session_drop(s, "malformed reply header");
        return;
    }
    switch (h.xid) {
    case ZK_XID_EVENT:
        on_event(s, &r, h.zxid);
        break;
    case ZK_XID_PING:
        break;
    case ZK_XID_AUTH:
        on_auth(s, h.err);
        break;
    case ZK_XID_SET_WATCHES:
        on_set_watches(s, h.err);
        break;
    default: {
        struct request *req = head(s, h.xid);
        if (!req) {
            session_drop(s, "reply out of order");
            break;
        }
        if (h.zxid > 0)
            s->last_zxid = h.zxid;
        on_reply(s, req, &r, &h);
    }
    }
    arena_reset(&s->arena);
}

bool exchange_oversized(struct session *s, const uint8_t *header)
{
    struct rd r = rd_init(header, 16);
    struct reply_header h;
    reply_header_read(&r, &s->arena, &h);
    struct request *req = head(s, h.xid);
    if (!req)
        return false;
    if (h.zxid > 0)
        s->last_zxid = h.zxid;
    /* A dropped connection would only bring the same reply again; and what else is in flight would be lost with it. */
    complete_err(s, req, QUOLL_MARSHALLING_ERROR);
    return true;
}
