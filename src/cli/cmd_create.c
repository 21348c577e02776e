/* cmd_create.c - quoll create: make a znode. */
#include <stdio.h>

#include "zk.h"

static bool sequential, container, parents;
static int64_t ttl_ms;

static const struct flag flags[] = {
    { "sequential", 's', FLAG_BOOL, NULL, "append a number that only grows to the name", &sequential, 0, 0 },
    { "container", 'c', FLAG_BOOL, NULL, "a container: the server removes it after its last child", &container, 0, 0 },
    { "ttl", 't', FLAG_INT, "MS", "the server removes it when it was not set for so long and has no children", &ttl_ms, 1,
      (INT64_C(1) << 40) - 1 },
    { "parents", 'p', FLAG_BOOL, NULL, "make missing parents too", &parents, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

static int make_parents(struct zk *z, const char *path)
{
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        char *parent = x_strndup(path, (size_t)(slash - path));
        struct answer a = { 0 };
        int err = zk_wait(z, quoll_create(z->client, parent, "", 0, NULL, 0, QUOLL_PERSISTENT, 0, zk_answer, &a), &a);
        int code = err && err != QUOLL_NODE_EXISTS ? zk_complain(z, err, parent) : EXIT_OK;
        answer_free(&a);
        free(parent);
        if (code != EXIT_OK)
            return code;
    }
    return EXIT_OK;
}

static int run(int argc, char **argv)
{
    uint8_t *value = NULL;
    size_t len = 0;
    if (container && (sequential || ttl_ms))
        return complain(EXIT_USAGE, "--container goes with neither --sequential nor --ttl");
    /* A sequential path is complete only with its number: "/a/" is fine. */
    char *checked = x_asprintf("%s%s", argv[0], sequential ? "0" : "");
    int code = zk_check_path(checked);
    free(checked);
    if (code != EXIT_OK || (argc > 1 && (code = zk_value(argv[1], &value, &len)) != EXIT_OK))
        return code;
    enum quoll_create_mode mode = container ? QUOLL_CONTAINER
                                  : ttl_ms  ? (sequential ? QUOLL_PERSISTENT_SEQUENTIAL_TTL : QUOLL_PERSISTENT_TTL)
                                            : (sequential ? QUOLL_PERSISTENT_SEQUENTIAL : QUOLL_PERSISTENT);
    struct zk z;
    code = zk_open(&z);
    if (code == EXIT_OK) {
        struct answer a = { 0 };
        code = parents ? make_parents(&z, argv[0]) : EXIT_OK;
        if (code == EXIT_OK) {
            int err = zk_wait(&z, quoll_create(z.client, argv[0], value ? value : (const uint8_t *)"", len, NULL, 0, mode, ttl_ms, zk_answer, &a),
                              &a);
            if (err == QUOLL_UNIMPLEMENTED && ttl_ms)
                code = complain(EXIT_FAILED, "the server has TTL nodes switched off (extendedTypesEnabled)");
            else if (err == QUOLL_NO_NODE)
                code = complain(EXIT_NOT_FOUND, "%s: its parent does not exist; --parents makes it", argv[0]);
            else if (err)
                code = zk_complain(&z, err, argv[0]);
            else
                puts(a.path);
        }
        answer_free(&a);
        zk_close(&z);
    }
    free(value);
    return code;
}

const struct command cmd_create = {
    .name = "create",
    .args = "PATH [VALUE]",
    .summary = "make a znode",
    .text = "Makes PATH with VALUE (default: empty; - is standard input, @FILE a file) and prints its final path.\n\n"
            "  quoll create -p /app/config 'debug: false'\n"
            "  quoll create -s /app/tasks/task- @task.json",
    .groups = groups,
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
