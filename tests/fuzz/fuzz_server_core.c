/* A session of arbitrary requests: [opcode: i8] [length: u8] [body]. Writes go through the core, the rest to read_execute; opcode
 * -128 applies what is durable, -127 moves time. Whatever comes: the log's digests are the tree's. */
#include "server/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
    struct tree *tree;
    struct core *core;
    struct watch_table *watches;
    struct watcher watcher;
    struct wr out;
    struct arena arena;
    int64_t session, now;
};

static void on_event(void *data, struct watcher *w, enum zk_event_type type, struct jstr path, int64_t zxid)
{
    struct target *t = data;
    wr_reset(&t->out);
    event_encode(&t->out, type, path, zxid);
}

static void flush(struct target *t)
{
    const struct core_effect *e;
    for (int round = 0; round < 2; round++) {
        size_t n = core_effects(t->core, &e);
        for (size_t i = 0; i < n; i++)
            if (e[i].type == CORE_SESSION_READY)
                t->session = e[i].session_id;
        core_effects_clear(t->core);
        core_persisted(t->core, core_last_proposed(t->core));
        core_apply(t->core, 0);
    }
    core_effects_clear(t->core);
}

static void request(struct target *t, int32_t op, struct buf body)
{
    static int32_t xid;
    if (core_op_is_write(op)) {
        core_submit(t->core, &(struct core_request){ .conn = 1, .session_id = t->session, .xid = ++xid, .op = op,
                                                     .body = body, .ids = t->watcher.ids });
        return;
    }
    struct read_context ctx = { .tree = t->tree, .watches = t->watches, .watcher = &t->watcher,
                                .session_id = t->session, .ids = t->watcher.ids };
    wr_reset(&t->out);
    (void)read_execute(&ctx, ++xid, op, body, &t->arena, &t->out);
    ASSERT(t->out.rc == 0);
    ASSERT(t->out.n >= 20);
    arena_reset(&t->arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct core_config cfg = { .server_id = 1, .tick_ms = 2000, .min_session_ms = 4000, .max_session_ms = 40000,
                                            .extended_types = true, .enforce_quota = true, .snap_count = 50,
                                            .container_check_ms = 1000, .container_max_per_minute = 10000,
                                            .max_txn = 4096 };
    struct target t = { .now = 1000 };
    t.tree = tree_new(&(struct tree_options){ .extended_types = true });
    t.core = core_new(&cfg, t.tree, t.now, 1700000000000);
    t.watches = watch_table_new(on_event, &t);
    tree_attach_watches(t.tree, t.watches);
    t.watcher.ids = auth_ids_new("127.0.0.1");
    core_connect(t.core, 1, 0, buf_of("", 0), 4000);
    flush(&t);
    while (size >= 2) {
        int32_t op = (int8_t)data[0];
        size_t n = MIN((size_t)data[1], size - 2);
        uint8_t *body = x_memdup(data + 2, n); /* exactly sized */
        if (op == -128) {
            flush(&t);
        } else if (op == -127) {
            t.now += (int64_t)n * 100;
            core_tick(t.core, t.now, 1700000000000 + t.now);
        } else {
            request(&t, op, buf_of(body, n));
        }
        free(body);
        data += 2 + n;
        size -= 2 + n;
    }
    flush(&t);
    ASSERT(core_digest_mismatches(t.core) == 0);
    tree_check(t.tree);
    watch_remove_all(t.watches, &t.watcher);
    tree_detach_watches(t.tree, t.watches);
    watch_table_free(t.watches);
    core_free(t.core);
    tree_free(t.tree);
    auth_ids_unref(t.watcher.ids);
    wr_free(&t.out);
    arena_free(&t.arena);
    return 0;
}
