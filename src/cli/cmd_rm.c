/* cmd_rm.c - quoll rm: delete a znode, or a subtree. */
#include <stdio.h>

#include "zk.h"

static bool recursive;
static int64_t version = -1;

static const struct flag flags[] = {
    { "recursive", 'r', FLAG_BOOL, NULL, "with everything below it", &recursive, 0, 0 },
    { "version", 0, FLAG_INT, "N", "only if the data has this version (default: -1, any)", &version, -1, INT32_MAX },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

static int delete_one(struct zk *z, const char *path, int32_t v)
{
    struct answer a = { 0 };
    int err = zk_wait(z, quoll_delete(z->client, path, v, zk_answer, &a), &a);
    answer_free(&a);
    return err;
}

/* Children first. What vanishes meanwhile is as good as deleted; what appears meanwhile makes the delete of its parent
 * fail, which is reported. */
static int delete_below(struct zk *z, const char *root)
{
    struct strs found = { 0 };
    strs_add(&found, root);
    int code = EXIT_OK;
    for (size_t i = 0; i < found.len && code == EXIT_OK; i++) { /* breadth first: parents stand before children */
        struct answer a = { 0 };
        int err = zk_wait(z, quoll_get_children(z->client, found.items[i], NULL, NULL, zk_answer, &a), &a);
        for (size_t k = 0; k < a.children.len; k++) {
            char *child = x_asprintf("%s/%s", found.items[i], a.children.items[k]);
            VEC_PUSH(&found, child);
        }
        if (err && (err != QUOLL_NO_NODE || i == 0))
            code = zk_complain(z, err, found.items[i]);
        answer_free(&a);
    }
    for (size_t i = found.len; i-- > 0;) {
        if (code == EXIT_OK) {
            int err = delete_one(z, found.items[i], i == 0 ? (int32_t)version : -1);
            if (err && err != QUOLL_NO_NODE)
                code = zk_complain(z, err, found.items[i]);
        }
        free(found.items[i]);
    }
    VEC_FREE(&found);
    return code;
}

static int run(int argc, char **argv)
{
    (void)argc;
    int code = zk_check_path(argv[0]);
    if (code != EXIT_OK)
        return code;
    if (strcmp(argv[0], "/") == 0)
        return complain(EXIT_USAGE, "/ cannot be deleted");
    struct zk z;
    code = zk_open(&z);
    if (code != EXIT_OK)
        return code;
    if (recursive) {
        code = delete_below(&z, argv[0]);
    } else {
        int err = delete_one(&z, argv[0], (int32_t)version);
        code = err ? zk_complain(&z, err, argv[0]) : EXIT_OK;
    }
    zk_close(&z);
    return code;
}

const struct command cmd_rm = {
    .name = "rm",
    .args = "PATH",
    .summary = "delete a znode, or a subtree",
    .text = "Deletes PATH.\n\n"
            "  quoll rm /app/old\n"
            "  quoll rm -r /app/tasks",
    .groups = groups,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
