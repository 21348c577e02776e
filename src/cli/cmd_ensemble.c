/* cmd_ensemble.c - quoll ensemble: the members of an ensemble, and changing them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "zk.h"

static struct strs add, drop;
static char *replace, *if_version, *output;

static const struct flag flags[] = {
    { "add", 0, FLAG_LIST, "SERVER", "add or change a server: server.4=host:2888:3888[:observer];[host:]2181; repeats", &add, 0, 0, NULL },
    { "remove", 0, FLAG_LIST, "ID", "remove a server; repeats", &drop, 0, 0, NULL },
    { "replace", 0, FLAG_TEXT, "FILE", "all members at once: server, group and weight lines (\"-\": standard input)", &replace, 0, 0, NULL },
    { "if-version", 0, FLAG_TEXT, "HEX", "only if the list has this version", &if_version, 0, 0, NULL },
    { "output", 'o', FLAG_TEXT, "FORMAT", "table, json or plain (default: table)", &output, 0, 0, NULL },
    { 0 },
};
static const struct flag *const groups[] = { flags, zk_flags, wait_flags, log_flags, NULL };

/* ---- showing ---- */

/* One "server.N=addresses:role;client" line, taken apart in place. */
struct row {
    const char *id, *addrs, *role, *client;
};

static bool row_of(char *line, struct row *ret)
{
    char *eq = strchr(line, '=');

    if (!eq || !str_has_prefix(line, "server."))
        return false;
    *eq = 0;
    *ret = (struct row){ .id = line + strlen("server."), .addrs = eq + 1, .role = "participant", .client = "" };
    char *semicolon = strchr(eq + 1, ';');
    if (semicolon) {
        *semicolon = 0;
        ret->client = semicolon + 1;
    }
    char *colon = strrchr(eq + 1, ':');
    if (colon && (strcmp(colon + 1, "observer") == 0 || strcmp(colon + 1, "participant") == 0)) {
        *colon = 0;
        ret->role = colon + 1;
    }
    return true;
}

static json_t *row_json(const struct row *r)
{
    return json_pack("{s:I, s:s, s:s, s:s*}", "id", (json_int_t)strtoll(r->id, NULL, 10), "role", r->role, "addresses", r->addrs, "client",
                     *r->client ? r->client : NULL);
}

static void show(const char *text, int format)
{
    size_t n;
    char **lines = str_split(text, "\n", &n);
    json_t *members = format == 1 ? json_array() : NULL;
    const char *version = "0";

    if (format == 0)
        printf("%-4s  %-11s  %-40s  %s\n", "ID", "ROLE", "QUORUM AND ELECTION", "CLIENTS");
    for (size_t i = 0; i < n; i++) {
        struct row r;

        if (str_has_prefix(lines[i], "version="))
            version = lines[i] + strlen("version=");
        else if (!row_of(lines[i], &r))
            continue;
        else if (members)
            json_array_append_new(members, row_json(&r));
        else
            printf("%-4s  %-11s  %-40s  %s\n", r.id, r.role, r.addrs, *r.client ? r.client : "-");
    }
    if (members)
        print_json(json_pack("{s:s, s:o}", "version", version, "members", members));
    else
        printf("version %s\n", version);
    str_split_free(lines);
}

/* ---- changing ---- */

static int complain_change(const struct zk *z, int err)
{
    switch (err) {
    case QUOLL_NO_NODE:
        return complain(EXIT_FAILED, "these servers do not show their members");
    case QUOLL_NO_AUTH:
        return complain(EXIT_FAILED, "not allowed: members are changed by a superuser, or by whom the ACL of /zookeeper/config lets write; "
                                     "--auth adds an identity");
    case QUOLL_BAD_VERSION:
        return complain(EXIT_FAILED, "the list has another version by now; 'quoll ensemble' shows it");
    case QUOLL_RECONFIG_DISABLED:
        return complain(EXIT_FAILED, "these servers have reconfigEnabled=false");
    case QUOLL_RECONFIG_IN_PROGRESS:
        return complain(EXIT_FAILED, "another change is under way");
    case QUOLL_NEW_CONFIG_NO_QUORUM:
        return complain(EXIT_FAILED, "no quorum of the new members is connected and up to date: start those that join first");
    case QUOLL_BAD_ARGUMENTS:
    case QUOLL_MARSHALLING_ERROR:
        return complain(EXIT_FAILED, "refused: a malformed server, an address that another one has, no client port, or too few voters; "
                                     "the leader's log says which");
    case QUOLL_UNIMPLEMENTED:
        return complain(EXIT_FAILED, "one server alone has no members to change (standaloneEnabled=false makes it an ensemble)");
    case QUOLL_CONNECTION_LOSS:
        return complain(EXIT_UNREACHABLE, "the connection was lost: the change may or may not have been made; 'quoll ensemble' shows%s%s",
                        *z->last_problem ? ": " : "", z->last_problem);
    default:
        return zk_complain(z, err, "ensemble");
    }
}

static char *joined(const struct strs *list)
{
    struct wr w = wr_init(0);

    for (size_t i = 0; i < list->len; i++)
        wr_printf(&w, "%s%s", i > 0 ? "," : "", list->items[i]);
    char *text = list->len > 0 ? x_strdup(wr_cstr(&w)) : NULL;
    wr_free(&w);
    return text;
}

/* The lines of the file, without what is no member: comments, and the version that 'quoll ensemble -o plain' prints. */
static int read_members(char **ret)
{
    char *source = strcmp(replace, "-") == 0 ? x_strdup("-") : x_asprintf("@%s", replace);
    uint8_t *text = NULL;
    size_t n = 0;
    int code = zk_value(source, &text, &n);
    struct wr w = wr_init(0);

    if (code == EXIT_OK) {
        char *whole = x_strndup((const char *)text, n), **lines = str_split(whole, "\n", NULL);
        for (char **line = lines; *line; line++)
            if ((*line)[0] != '#' && !str_has_prefix(*line, "version"))
                wr_printf(&w, "%s\n", *line);
        *ret = x_strdup(wr_cstr(&w));
        str_split_free(lines);
        free(whole);
    }
    wr_free(&w);
    free(text);
    free(source);
    return code;
}

static int ask(struct zk *z, const char *members, int64_t version, int format)
{
    char *joining = joined(&add), *leaving = joined(&drop);
    bool change = joining || leaving || members;
    struct answer a = { 0 };
    int err = zk_wait(z, change ? quoll_reconfig(z->client, joining, leaving, members, version, zk_answer, &a)
                                : quoll_get_config(z->client, NULL, NULL, zk_answer, &a), &a);
    int code = err ? complain_change(z, err) : EXIT_OK;

    if (code == EXIT_OK && a.data_len == 0)
        code = complain(EXIT_FAILED, "one server alone: it is no ensemble");
    if (code == EXIT_OK) {
        char *text = x_strndup((const char *)a.data, a.data_len);
        if (format == 2)
            puts(text);
        else
            show(text, format);
        free(text);
    }
    answer_free(&a);
    free(joining);
    free(leaving);
    return code;
}

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    static const char *const formats[] = { "table", "json", "plain", NULL };
    int format = output_format(output ? output : "table", formats);
    char *members = NULL, *end = NULL;
    int64_t version = -1;
    struct zk z;

    if (format < 0)
        return EXIT_USAGE;
    if (replace && (add.len > 0 || drop.len > 0))
        return complain(EXIT_USAGE, "--replace gives all members: --add and --remove do not go with it");
    if (if_version) {
        version = (int64_t)strtoull(if_version, &end, 16);
        if (!*if_version || *end || version < 0)
            return complain(EXIT_USAGE, "--if-version: %s is not a hexadecimal number", if_version);
    }
    int code = replace ? read_members(&members) : EXIT_OK;
    if (code == EXIT_OK && (code = zk_open(&z)) == EXIT_OK) {
        code = ask(&z, members, version, format);
        zk_close(&z);
    }
    free(members);
    return code;
}

const struct command cmd_ensemble = {
    .name = "ensemble",
    .args = "",
    .summary = "show or change the members of an ensemble",
    .text = "Prints the servers of the ensemble and the version of their list. With --add, --remove or --replace changes it first, while the\n"
            "ensemble runs; the servers need reconfigEnabled=true, and a server that is to join has to be started before.\n\n"
            "  quoll ensemble --zk zk1:2181\n"
            "  quoll ensemble --auth digest:super:secret --add 'server.4=zk4:2888:3888;2181'\n"
            "  quoll ensemble --auth digest:super:secret --remove 2 --if-version 100000003",
    .groups = groups,
    .min_args = 0,
    .max_args = 0,
    .run = run,
};
