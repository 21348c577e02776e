/* cmd_ls.c - quoll ls: the children of a znode. */
#include <stdio.h>

#include "zk.h"

static bool recursive;
static char *output;

static const struct flag flags[] = {
    { "recursive", 'R', FLAG_BOOL, NULL, "the whole subtree, as full paths", &recursive, 0, 0 },
    { "output", 'o', FLAG_TEXT, "FORMAT", "plain (one a line) or json (default: plain)", &output, 0, 0 },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

static void show(const char *path, json_t *list)
{
    if (list)
        json_array_append_new(list, json_string(path));
    else
        puts(path);
}

static int list(struct zk *z, const char *path, json_t *out)
{
    struct answer a = { 0 };
    int err = zk_wait(z, quoll_get_children(z->client, path, NULL, NULL, zk_answer, &a), &a);
    int code = err ? zk_complain(z, err, path) : EXIT_OK;
    for (size_t i = 0; i < a.children.len && code == EXIT_OK; i++)
        show(a.children.items[i], out);
    answer_free(&a);
    return code;
}

static int walk(struct zk *z, const char *root, json_t *out)
{
    struct strs todo = { 0 }; /* a stack: children go on it in reverse, so that the output is sorted */
    strs_add(&todo, root);
    int code = EXIT_OK;
    while (todo.len && code == EXIT_OK) {
        char *path = todo.items[--todo.len];
        struct answer a = { 0 };
        int err = zk_wait(z, quoll_get_children(z->client, path, NULL, NULL, zk_answer, &a), &a);
        if (err == 0) {
            show(path, out);
            for (size_t i = a.children.len; i-- > 0;) {
                char *child = x_asprintf("%s/%s", strcmp(path, "/") == 0 ? "" : path, a.children.items[i]);
                VEC_PUSH(&todo, child);
            }
        } else if (err != QUOLL_NO_NODE || strcmp(path, root) == 0) { /* below the root it may just have gone */
            code = zk_complain(z, err, path);
        }
        answer_free(&a);
        free(path);
    }
    while (todo.len)
        free(todo.items[--todo.len]);
    VEC_FREE(&todo);
    return code;
}

static int run(int argc, char **argv)
{
    static const char *const formats[] = { "plain", "json", NULL };
    int format = output_format(output ? output : "plain", formats);
    const char *path = argc ? argv[0] : "/";
    if (format < 0 || zk_check_path(path) != EXIT_OK)
        return EXIT_USAGE;
    struct zk z;
    int code = zk_open(&z);
    if (code != EXIT_OK)
        return code;
    json_t *out = format == 1 ? json_array() : NULL;
    code = recursive ? walk(&z, path, out) : list(&z, path, out);
    zk_close(&z);
    if (out && code == EXIT_OK)
        print_json(out);
    else
        json_decref(out);
    return code;
}

const struct command cmd_ls = {
    .name = "ls",
    .args = "[PATH]",
    .summary = "list the children of a znode",
    .text = "Lists the children of PATH (default: /), sorted.\n\n"
            "  quoll ls /\n"
            "  quoll ls -R /quoll/registry --zk zk1:2181,zk2:2181",
    .groups = groups,
    .max_args = 1,
    .run = run,
};
