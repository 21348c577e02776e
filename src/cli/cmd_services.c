/* cmd_services.c - quoll services: the services that there are, once or as they change. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon.h"
#include "discovery/resolve.h"
#include "lookup.h"

static char *output, *ns;
static bool watch;

static const struct flag flags[] = {
    { "output", 'o', FLAG_TEXT, "FORMAT", "table, json, plain (service.namespace lines) or env (default: table)", &output, 0, 0 },
    { "namespace", 'n', FLAG_TEXT, "NAME", "of this namespace only (default: all)", &ns, 0, 0 },
    { "watch", 'w', FLAG_BOOL, NULL, "go on, and print the list again after every change", &watch, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, registry_flags, zk_flags, wait_flags, log_flags, NULL };

struct watching {
    struct lookup lookup;
    enum list_format format;
    struct wr shown; /* what was printed last: a change that changes no line prints nothing */
    bool stop;
};

static void show(struct watching *w)
{
    struct wr now = wr_init(0);
    services_format(w->lookup.table, ns, w->format, &now);
    bool same = w->shown.p && buf_eq(buf_of(now.p, now.n), buf_of(w->shown.p, w->shown.n));
    if (!same) {
        if (w->shown.p && w->format == LIST_TABLE)
            putchar('\n');
        fwrite(now.p, 1, now.n, stdout);
        if (fflush(stdout) != 0)
            w->stop = true; /* the reader of our pipe has gone */
    }
    wr_grow(&now, 1); /* an empty list is shown as well, once */
    wr_free(&w->shown);
    w->shown = now;
}

static void on_change(struct svc_table *t, void *data)
{
    (void)t;
    show(data);
}

static void on_signal(uv_signal_t *s, int number)
{
    (void)number;
    ((struct watching *)s->data)->stop = true;
}

static void watch_until_signal(struct watching *w)
{
    struct table_listener listener = { .fn = on_change, .data = w };
    uv_signal_t sigint, sigterm;
    uv_loop_t *loop = &w->lookup.zk.loop;
    uv_timer_stop(&w->lookup.zk.deadline); /* --timeout was for the first answer */
    uv_signal_init(loop, &sigint);
    uv_signal_init(loop, &sigterm);
    sigint.data = sigterm.data = w;
    uv_signal_start(&sigint, on_signal, SIGINT);
    uv_signal_start(&sigterm, on_signal, SIGTERM);
    table_listen(w->lookup.table, &listener);
    while (!w->stop)
        uv_run(loop, UV_RUN_ONCE);
    table_unlisten(w->lookup.table, &listener);
    uv_close((uv_handle_t *)&sigint, NULL);
    uv_close((uv_handle_t *)&sigterm, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    struct watching w = { .stop = false };
    if (list_format_parse(output ? output : "table", &w.format) < 0)
        return complain(EXIT_USAGE, "--output: %s is not one of table, json, plain, env", output);
    int code = lookup_open(&w.lookup, daemon_options.root, daemon_options.cluster);
    if (code != EXIT_OK)
        return code;
    if (ns && !table_namespace_exists(w.lookup.table, buf_str(ns)) && !watch)
        code = complain(EXIT_NOT_FOUND, "%s: no such namespace", ns);
    else
        show(&w);
    if (watch && code == EXIT_OK)
        watch_until_signal(&w);
    wr_free(&w.shown);
    lookup_close(&w.lookup);
    return code;
}

const struct command cmd_services = {
    .name = "services",
    .args = "",
    .summary = "list the services in the registry; --watch follows changes",
    .text = "Lists services with their type, cluster IP (None: headless), ports and ready endpoints.\n\n"
            "  quoll services\n"
            "  quoll services --namespace shop --watch --output json",
    .groups = groups,
    .run = run,
};
