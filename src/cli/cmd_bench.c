/* cmd_bench.c - quoll bench: load for any ZooKeeper. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench_report.h"
#include "jute/proto.h"
#include "zk.h"

static char *root, *mix, *value_size, *spread, *output;
static int64_t connections = 50, in_flight /* 0: by --rate */, keys = 1000, multi_size = 10, duration_s = 10, ops, rate, warm_up_s = 1, seed = 1;
static int64_t session_timeout_ms = 10000, reconnect_ms = 10;
static bool prepare, keep, stay;
static volatile int interrupted;

static const struct flag flags[] = {
    { "zk", 0, FLAG_LIST, "CONNECT_STRING",
      "ZooKeeper servers: host:port[,host:port...][/chroot], Quoll or Apache (default: 127.0.0.1:2181)", &zk_servers_flag, 0, 0 },
    { "mix", 0, FLAG_TEXT, "OP=N,...",
      "operations and their shares, of get, exists, children, sync, set, create, delete, ephemeral (make one and delete it), multi (default: "
      "get=90,set=10)",
      &mix, 0, 0 },
    { "connections", 'c', FLAG_INT, "N", "connections, each with a session (default: 50)", &connections, 1, 20000 },
    { "in-flight", 'i', FLAG_INT, "N", "requests that a connection has under way (default: 1; with --rate 100, at most)", &in_flight, 1, 100000 },
    { "duration", 'd', FLAG_INT, "S", "seconds to measure (default: 10)", &duration_s, 1, 1000000 },
    { "ops", 'n', FLAG_INT, "N", "operations to measure, instead of --duration", &ops, 1, INT64_MAX / 2 },
    { "rate", 'r', FLAG_INT, "N", "operations due per second, whether or not the servers keep up; times count from when each was due", &rate, 1,
      100000000 },
    { "warm-up", 0, FLAG_INT, "S", "seconds of load before the measurement (default: 1)", &warm_up_s, 0, 1000000 },
    { "value-size", 0, FLAG_TEXT, "N[-M]", "bytes of data, fixed or from a range (default: 100)", &value_size, 0, 0 },
    { "keys", 'k', FLAG_INT, "N", "znodes to work on (default: 1000)", &keys, 1, 99999999 },
    { "multi-size", 0, FLAG_INT, "N", "sets in a multi (default: 10)", &multi_size, 1, 10000 },
    { "path", 0, FLAG_TEXT, "PATH", "where the znodes are made (default: /quoll-bench)", &root, 0, 0 },
    { "prepare", 0, FLAG_BOOL, NULL, "make the znodes for later runs, measure nothing", &prepare, 0, 0 },
    { "keep", 0, FLAG_BOOL, NULL, "leave the znodes that the run made", &keep, 0, 0 },
    { "spread", 0, FLAG_TEXT, "HOW", "connections over servers: even, random, or first for all to the first (default: even)", &spread, 0, 0 },
    { "stay", 0, FLAG_BOOL, NULL, "a lost connection tries its own server again instead of the next", &stay, 0, 0 },
    { "reconnect-delay", 0, FLAG_INT, "MS", "between attempts of a lost connection (default: 10)", &reconnect_ms, 1, 60000 },
    { "session-timeout", 0, FLAG_INT, "MS", "what sessions ask for (default: 10000)", &session_timeout_ms, 100, 3600000 },
    { "timeout", 0, FLAG_INT, "MS", "give up when nothing is answered for so long outside of the measurement (default: 10000)", &zk_timeout_ms, 1,
      3600000 },
    { "seed", 0, FLAG_INT, "N", "the same seed picks the same operations, znodes and sizes (default: 1)", &seed, 0, INT64_MAX },
    { "output", 'o', FLAG_TEXT, "FORMAT", "text or json (default: text)", &output, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, log_flags, NULL };

static void on_signal(int sig)
{
    (void)sig;
    interrupted++;
}

static int spread_parse(enum bench_spread *ret)
{
    static const char *const names[] = { "even", "random", "first" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!spread || strcmp(spread, names[i]) == 0) {
            *ret = (enum bench_spread)i;
            return EXIT_OK;
        }
    return complain(EXIT_USAGE, "--spread: %s is not one of even, random, first", spread);
}

static int options(struct bench_options *opt, struct connstr *servers)
{
    char *error = NULL;

    if (bench_mix_parse(mix ? mix : "get=90,set=10", opt->weights, &error) < 0) {
        complain(0, "--mix: %s", error);
        free(error);
        return EXIT_USAGE;
    }
    /* A multi carries several values, and servers take packets of a megabyte unless told otherwise: the user's business. */
    if (bench_size_parse(value_size ? value_size : "100", 16 << 20, &opt->value_min, &opt->value_max) < 0)
        return complain(EXIT_USAGE, "--value-size: %s is neither a number of bytes nor a range like 100-4000, up to 16777216", value_size);
    if (spread_parse(&opt->spread) != EXIT_OK)
        return EXIT_USAGE;
    if (prepare && (ops || rate))
        return complain(EXIT_USAGE, "--prepare measures nothing: it goes with neither --ops nor --rate");
    opt->root = root ? root : "/quoll-bench";
    int code = zk_check_path(opt->root);
    if (code != EXIT_OK)
        return code;
    if (connstr_parse(zk_connect_string(), servers, &error) < 0) {
        complain(0, "--zk: %s", error);
        free(error);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

static int run(int argc, char **argv)
{
    static const char *const formats[] = { "text", "json", NULL };
    struct connstr servers = { 0 };
    struct bench_options opt = { .servers = &servers };
    struct bench_result res;
    char *error = NULL;
    int format = output_format(output ? output : "text", formats);

    (void)argc, (void)argv;
    if (format < 0)
        return EXIT_USAGE;
    int code = options(&opt, &servers);
    if (code != EXIT_OK)
        return code;
    opt.connections = (uint32_t)connections;
    opt.in_flight = in_flight ? (uint32_t)in_flight : rate ? 100 : 1;
    opt.keys = (uint32_t)keys;
    opt.multi_size = (uint32_t)multi_size;
    opt.duration_ms = ops ? 0 : duration_s * 1000;
    opt.ops = (uint64_t)ops;
    opt.rate = (uint64_t)rate;
    opt.warm_up_ms = warm_up_s * 1000;
    opt.prepare_only = prepare;
    opt.keep = keep;
    opt.stay = stay;
    opt.seed = (uint64_t)seed;
    opt.session_timeout_ms = (int32_t)session_timeout_ms;
    opt.timeout_ms = zk_timeout_ms;
    opt.reconnect_ms = reconnect_ms;
    opt.progress = isatty(STDERR_FILENO) ? bench_print_progress : NULL;
    opt.interrupted = &interrupted;
    struct sigaction sa = { .sa_handler = on_signal };
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);

    int rc = bench_run(&opt, &res, &error);
    bench_end_progress();
    if (rc != 0) {
        code = complain(rc == RC_TIMEOUT || rc == RC_UNAVAIL ? EXIT_UNREACHABLE : EXIT_FAILED, "%s", error);
    } else {
        if (format == 1)
            bench_print_json(&opt, &res);
        else
            bench_print_text(&opt, &res);
        uint64_t ok = 0, errors = 0;
        for (int i = 0; i < BENCH_OPS; i++) {
            ok += res.ops[i].ok;
            errors += res.ops[i].errors;
        }
        if (!prepare && (ok == 0 || errors > 0))
            code = complain(EXIT_FAILED, ok == 0 ? "no operation succeeded" : "some operations were answered by errors");
    }
    if (res.left)
        complain(0, "znodes were left below %s", opt.root);
    free(error);
    bench_result_free(&res);
    connstr_free(&servers);
    return code;
}

const struct command cmd_bench = {
    .name = "bench",
    .args = "",
    .summary = "put load on an ensemble and measure it",
    .text = "Puts load on any ZooKeeper, Quoll or Apache, and prints throughput, times up to the 99.99th percentile, the worst second, and the longest\n"
            "time without a success, which is the length of a failover when a server is killed meanwhile. Connections that break are made again;\n"
            "reads that were under way then count as lost, writes as unknown. The znodes are made below --path first and removed at the end; znodes\n"
            "that were there before (--prepare, --keep) are used and left.\n\n"
            "  quoll bench --zk zk1:2181,zk2:2181,zk3:2181 --mix set -c 50 -i 32 -d 30\n"
            "  quoll bench --mix get=70,set=20,create=5,delete=5 --value-size 100-4000 --keys 100000\n"
            "  quoll bench --mix set --rate 5000 -d 60 --output json\n"
            "  quoll bench --prepare --keys 1000000",
    .groups = groups,
    .min_args = 0,
    .max_args = 0,
    .run = run,
};
