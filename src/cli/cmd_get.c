/* cmd_get.c - quoll get: the data of a znode. */
#include <stdio.h>
#include <unistd.h>

#include "zk.h"

static char *output;

static const struct flag flags[] = {
    { "output", 'o', FLAG_TEXT, "FORMAT", "plain (the bytes as they are) or json (with the stat) (default: plain)", &output, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc;
    static const char *const formats[] = { "plain", "json", NULL };
    int format = output_format(output ? output : "plain", formats);
    if (format < 0 || zk_check_path(argv[0]) != EXIT_OK)
        return EXIT_USAGE;
    struct zk z;
    int code = zk_open(&z);
    if (code != EXIT_OK)
        return code;
    struct answer a = { 0 };
    int err = zk_wait(&z, quoll_get(z.client, argv[0], NULL, NULL, zk_answer, &a), &a);
    if (err) {
        code = zk_complain(&z, err, argv[0]);
    } else if (format == 1) {
        print_json(json_pack("{s:s, s:o, s:o}", "path", argv[0], "data", zk_data_json(&a), "stat", zk_stat_json(&a.stat)));
    } else {
        fwrite(a.data, 1, a.data_len, stdout);
        /* Bytes stay bytes in a pipe; on a terminal the prompt should begin a line. */
        if (isatty(STDOUT_FILENO) && (a.data_len == 0 || a.data[a.data_len - 1] != '\n'))
            putchar('\n');
    }
    answer_free(&a);
    zk_close(&z);
    return code;
}

const struct command cmd_get = {
    .name = "get",
    .args = "PATH",
    .summary = "print the data of a znode",
    .text = "Prints the data of PATH.\n\n"
            "  quoll get /app/config > config.yaml\n"
            "  quoll get /app/config --output json",
    .groups = groups,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
