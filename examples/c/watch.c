/* watch.c - follows a subtree of a ZooKeeper ensemble and prints what changes.
 *
 *   cc watch.c $(pkg-config --cflags --libs quoll libuv) -o watch
 *   ./watch 127.0.0.1:2181 /
 *
 * Runs on the caller's libuv loop; ctrl-C ends it. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include <quoll/quoll.h>

struct app {
    quoll_client *client;
    quoll_cache *cache;
    uv_signal_t interrupt;
};

static void on_change(quoll_cache *cache, enum quoll_cache_change change, const struct quoll_cache_node *node, void *data)
{
    static const char *const words[] = { "added", "changed", "removed" };
    printf("%-8s %s (%zu bytes)\n", words[change], node->path, node->data_len);
}

static void on_synced(quoll_cache *cache, void *data)
{
    puts("-- up to date");
}

static void on_stale(quoll_cache *cache, void *data)
{
    puts("-- connection lost; the copy stands");
}

static void on_log(quoll_client *client, const char *text, void *data)
{
    fprintf(stderr, "%s\n", text);
}

static void on_interrupt(uv_signal_t *handle, int signum)
{
    struct app *app = handle->data;
    quoll_cache_close(app->cache);
    quoll_close(app->client, NULL, NULL);
    uv_close((uv_handle_t *)handle, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SERVERS PATH\n", argv[0]);
        return 2;
    }
    struct app app = { 0 };
    uv_loop_t *loop = uv_default_loop();
    struct quoll_options options = { .servers = argv[1], .loop = loop, .on_log = on_log };
    char *error;
    if (quoll_open(&options, &app.client, &error) != 0) {
        fprintf(stderr, "%s\n", error);
        free(error);
        return 2;
    }
    struct quoll_cache_handler handler = { .on_change = on_change, .on_synced = on_synced, .on_stale = on_stale };
    int err = quoll_cache_open(app.client, argv[2], &handler, &app.cache);
    if (err != 0)
        fprintf(stderr, "%s: %s\n", argv[2], quoll_strerror(err));
    uv_signal_init(loop, &app.interrupt);
    app.interrupt.data = &app;
    uv_signal_start(&app.interrupt, on_interrupt, SIGINT);
    if (err != 0)
        on_interrupt(&app.interrupt, SIGINT);
    uv_run(loop, UV_RUN_DEFAULT);
    return err == 0 ? 0 : 1;
}
