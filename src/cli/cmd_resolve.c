/* cmd_resolve.c - quoll resolve: a name to addresses and ports. */
#include <stdio.h>

#include "daemon.h"
#include "discovery/resolve.h"
#include "lookup.h"

static char *output, *ns;
static bool endpoints, all;

static const struct flag flags[] = {
    { "output", 'o', FLAG_TEXT, "FORMAT",
      "table, json, plain (ip:port lines) or env (the variables that a kubelet would set) (default: table)", &output, 0, 0 },
    { "namespace", 'n', FLAG_TEXT, "NAME", "namespace of names that have none (default: default)", &ns, 0, 0 },
    { "endpoints", 'e', FLAG_BOOL, NULL, "the endpoints, also of a service that has a cluster IP", &endpoints, 0, 0 },
    { "all", 'a', FLAG_BOOL, NULL, "endpoints that are not ready too", &all, 0, 0 },
    { "zone", 0, FLAG_LIST, "NAME", "a zone that names may end in; repeats (default: cluster.local)", &daemon_options.zones, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, registry_flags, zk_flags, wait_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc;
    enum list_format format;
    if (list_format_parse(output ? output : "table", &format) < 0)
        return complain(EXIT_USAGE, "--output: %s is not one of table, json, plain, env", output);
    struct lookup l;
    int code = lookup_open(&l, daemon_options.root, daemon_options.cluster);
    if (code != EXIT_OK)
        return code;
    const struct resolve_query q = {
        .name = argv[0],
        .ns = ns,
        .zones = (const char *const *)daemon_options.zones.items,
        .zone_count = daemon_options.zones.len,
        .endpoints = endpoints,
        .all = all,
    };
    struct resolve_result res;
    char *error = NULL;
    int rc = resolve(l.table, &q, &res, &error);
    if (rc < 0) {
        code = complain(rc == RC_NOTFOUND ? EXIT_NOT_FOUND : rc == RC_UNAVAIL ? EXIT_UNREACHABLE : EXIT_USAGE, "%s",
                        error ? error : rc_str(rc));
        free(error);
    } else {
        struct wr w = wr_init(0);
        resolve_format(&res, format, &w);
        fwrite(w.p, 1, w.n, stdout);
        wr_free(&w);
        resolve_done(&res);
    }
    lookup_close(&l);
    return code;
}

const struct command cmd_resolve = {
    .name = "resolve",
    .args = "NAME",
    .summary = "look a service up: addresses and ports",
    .text = "Looks NAME up in the registry: SERVICE.NAMESPACE, _PORT._PROTOCOL.SERVICE.NAMESPACE, ENDPOINT.SERVICE.NAMESPACE, or\n"
            "SERVICE with --namespace.\n\n"
            "  quoll resolve my-service.default\n"
            "  quoll resolve _http._tcp.my-service.default --output plain\n"
            "  quoll resolve db --namespace shop --output json\n"
            "  eval \"$(quoll resolve my-service.default --output env | sed 's/^/export /')\"",
    .groups = groups,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
