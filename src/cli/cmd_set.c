/* cmd_set.c - quoll set: replace the data of a znode. */
#include <stdio.h>

#include "zk.h"

static int64_t version = -1;

static const struct flag flags[] = {
    { "version", 0, FLAG_INT, "N", "only if the data has this version (default: -1, any)", &version, -1, INT32_MAX },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

static int run(int argc, char **argv)
{
    (void)argc;
    uint8_t *value;
    size_t len;
    int code = zk_check_path(argv[0]);
    if (code != EXIT_OK || (code = zk_value(argv[1], &value, &len)) != EXIT_OK)
        return code;
    struct zk z;
    code = zk_open(&z);
    if (code == EXIT_OK) {
        struct answer a = { 0 };
        int err = zk_wait(&z, quoll_set(z.client, argv[0], value, len, (int32_t)version, zk_answer, &a), &a);
        if (err)
            code = zk_complain(&z, err, argv[0]);
        else
            printf("version %d\n", a.stat.version);
        answer_free(&a);
        zk_close(&z);
    }
    free(value);
    return code;
}

const struct command cmd_set = {
    .name = "set",
    .args = "PATH VALUE",
    .summary = "replace the data of a znode",
    .text = "Replaces the data of PATH and prints its new version. VALUE - is standard input, @FILE a file.\n\n"
            "  quoll set /app/config @config.yaml\n"
            "  quoll set /app/counter 7 --version 6",
    .groups = groups,
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
