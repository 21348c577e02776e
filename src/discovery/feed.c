/* feed.c - the table's feed: a cache of <root>/<cluster>, whose differences become puts and removes. */
#include <uv.h>

#include "base/clock.h"
#include "quoll/quoll.h"
#include "table_internal.h"

struct table_feed {
    struct svc_table *table; /* NULL: detached, only the timer's memory is left */
    quoll_cache *cache;
    size_t base_len;
    uv_timer_t timer; /* one call of the listeners for all changes of one turn of the loop */
};

static void on_timer(uv_timer_t *timer)
{
    struct table_feed *f = timer->data;
    table_notify(f->table);
}

static void schedule(void *data)
{
    struct table_feed *f = data;
    if (!uv_is_active((uv_handle_t *)&f->timer))
        uv_timer_start(&f->timer, on_timer, 0, 0);
}

static void on_change(quoll_cache *cache, enum quoll_cache_change change, const struct quoll_cache_node *node,
                      void *data)
{
    struct table_feed *f = data;

    if (strlen(node->path) <= f->base_len)
        return; /* the cluster's own node */
    const char *path = node->path + f->base_len + 1;
    if (change == QUOLL_CACHE_REMOVED)
        table_remove(f->table, path, clock_wall_ms());
    else
        table_put(f->table, path, node->data, node->data_len, clock_wall_ms());
}

static void on_synced(quoll_cache *cache, void *data)
{
    struct table_feed *f = data;
    table_set_synced(f->table);
}

static void on_stale(quoll_cache *cache, void *data)
{
    struct table_feed *f = data;
    table_set_stale(f->table, clock_mono_ms());
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int table_attach(struct svc_table *t, struct quoll_client *client, const char *root, const char *cluster)
{
    struct table_feed **slot = table_feed_slot(t), *f;
    size_t n = strlen(root);

    ASSERT(*slot == NULL);
    while (n > 0 && root[n - 1] == '/')
        n--;
    if (root[0] != '/' || !cluster[0] || strchr(cluster, '/') || !quoll_client_loop(client))
        return RC_INVAL;
    char *base = x_asprintf("%.*s/%s", (int)n, root, cluster);
    f = x_calloc(1, sizeof(*f));
    f->table = t;
    f->base_len = strlen(base);
    struct quoll_cache_handler h = {f, on_change, on_synced, on_stale};
    int rc = quoll_cache_open(client, base, &h, &f->cache);
    free(base);
    if (rc != 0) {
        free(f);
        return RC_INVAL;
    }
    uv_timer_init(quoll_client_loop(client), &f->timer);
    f->timer.data = f;
    *slot = f;
    table_set_scheduler(t, schedule, f);
    return 0;
}

void table_detach(struct svc_table *t)
{
    struct table_feed **slot = table_feed_slot(t), *f = *slot;

    if (!f)
        return;
    *slot = NULL;
    table_set_scheduler(t, NULL, NULL);
    quoll_cache_close(f->cache);
    f->table = NULL;
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}
