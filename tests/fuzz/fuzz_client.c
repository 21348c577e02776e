/* fuzz_client.c - what a server may send to the client: the handshake's answer, replies to one request of every kind, events.
 *
 * The first byte says how many requests are in flight; the rest is the server's stream, fed in two parts. */
#include "client.h"
#include "ops.h"

static size_t touched;

static void on_done(quoll_client *c, const struct quoll_result *res, void *data)
{
    /* Reads every byte that a result promises. */
    for (size_t i = 0; i < res->data_len; i++)
        touched += ((const uint8_t *)res->data)[i];
    for (size_t i = 0; i < res->child_count; i++)
        touched += strlen(res->children[i]);
    for (size_t i = 0; i < res->acl_count; i++)
        touched += strlen(res->acls[i].scheme) + strlen(res->acls[i].id);
    for (size_t i = 0; i < res->result_count; i++)
        on_done(c, &res->results[i], data);
    touched += res->path ? strlen(res->path) : 0;
    touched += res->stat ? (size_t)res->stat->version : 0;
}

static void on_watch(quoll_client *c, const struct quoll_event *ev, void *data)
{
    touched += strlen(ev->path);
}

static void on_change(quoll_cache *k, enum quoll_cache_change change, const struct quoll_cache_node *n, void *data)
{
    touched += strlen(n->path) + n->data_len;
}

static void submit(quoll_client *c, unsigned i)
{
    static const struct quoll_op step = { .type = QUOLL_OP_CHECK, .path = "/a" };
    static const struct quoll_op read = { .type = QUOLL_OP_GET, .path = "/a" };
    switch (i % 12) {
    case 0: quoll_get(c, "/a", on_watch, NULL, on_done, NULL); break;
    case 1: quoll_exists(c, "/a", on_watch, NULL, on_done, NULL); break;
    case 2: quoll_get_children(c, "/a", on_watch, NULL, on_done, NULL); break;
    case 3: quoll_create(c, "/a", "x", 1, NULL, 0, QUOLL_PERSISTENT, 0, on_done, NULL); break;
    case 4: quoll_get_acl(c, "/a", on_done, NULL); break;
    case 5: quoll_multi(c, &step, 1, on_done, NULL); break;
    case 6: quoll_multi_read(c, &read, 1, on_done, NULL); break;
    case 7: quoll_who_am_i(c, on_done, NULL); break;
    case 8: quoll_get_ephemerals(c, "/", on_done, NULL); break;
    case 9: quoll_add_watch(c, "/a", true, on_watch, NULL, on_done, NULL); break;
    case 10: quoll_remove_watches(c, "/a", QUOLL_WATCHER_ANY, NULL, NULL, on_done, NULL); break;
    default: quoll_get_all_children_number(c, "/a", on_done, NULL); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const uint8_t welcome[] = { 0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 39, 16, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 16,
                                       1, 1, 1, 1,  1, 1, 1, 1, 1, 1, 1,  1,  1, 1, 1, 1, 0 };
    static const struct quoll_cache_handler handler = { .on_change = on_change };
    quoll_client *c;
    quoll_cache *k;
    size_t server;
    if (n < 2)
        return 0;
    unsigned requests = p[0] & 0x3f;
    bool handshake = !(p[0] & 0x40), cached = p[0] & 0x80;
    p++, n--;
    client_new(&(struct quoll_options){ .servers = "h/a", .max_buffer = 4096 }, 1, 1, &c, NULL);
    if (cached)
        quoll_cache_open(c, "/", &handler, &k);
    for (unsigned i = 0; i < requests; i++)
        submit(c, i);
    session_tick(&c->session, 1);
    (void)session_poll(&c->session, &server);
    session_connected(&c->session, 1);
    if (handshake)
        session_input(&c->session, welcome, sizeof(welcome), 1);
    session_input(&c->session, p, n / 2, 2);
    session_input(&c->session, p + n / 2, n - n / 2, 2);
    session_tick(&c->session, 100000);
    session_close(&c->session, true, 100000);
    session_tick(&c->session, 100000);
    if (cached)
        quoll_cache_close(k);
    client_free(c);
    return 0;
}
