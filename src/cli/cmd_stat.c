/* cmd_stat.c - quoll stat: what the server knows about a znode. */
#include <stdio.h>

#include "zk.h"

static char *output;

static const struct flag flags[] = {
    { "output", 'o', FLAG_TEXT, "FORMAT", "table or json (default: table)", &output, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc;
    static const char *const formats[] = { "table", "json", NULL };
    int format = output_format(output ? output : "table", formats);
    if (format < 0 || zk_check_path(argv[0]) != EXIT_OK)
        return EXIT_USAGE;
    struct zk z;
    int code = zk_open(&z);
    if (code != EXIT_OK)
        return code;
    struct answer a = { 0 };
    int err = zk_wait(&z, quoll_exists(z.client, argv[0], NULL, NULL, zk_answer, &a), &a);
    if (err)
        code = zk_complain(&z, err, argv[0]);
    else if (format == 1)
        print_json(zk_stat_json(&a.stat));
    else
        zk_stat_print(&a.stat);
    answer_free(&a);
    zk_close(&z);
    return code;
}

const struct command cmd_stat = {
    .name = "stat",
    .args = "PATH",
    .summary = "print what the server knows about a znode",
    .text = "Prints versions, times, transaction ids, owner and sizes of PATH.\n\n"
            "  quoll stat /app/config",
    .groups = groups,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
