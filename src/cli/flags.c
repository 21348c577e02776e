/* flags.c - one table of flags gives parsing, the environment, the configuration file and --help. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <yaml.h>

#include "base/str.h"

const char *program_path = "quoll";
static const char *program_command = "";
static char *config_path;

const struct flag log_flags[] = {
    { "log-level", 0, FLAG_LEVEL, "LEVEL", "error, warn, info or debug (default: info)", NULL, 0, 0 },
    { "config", 0, FLAG_TEXT, "FILE", "YAML file with the same names as the flags, e.g. \"zk: zk1:2181\"", &config_path, 0,
      0 },
    { 0 },
};

void strs_add(struct strs *l, const char *s)
{
    VEC_PUSH(l, x_strdup(s));
}

int complain(int code, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "quoll%s%s: ", *program_command ? " " : "", program_command);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return code;
}

int exit_code_of(int rc)
{
    switch (rc) {
    case 0:
        return EXIT_OK;
    case RC_INVAL:
    case RC_MALFORMED:
    case RC_UNSUPPORTED:
        return EXIT_USAGE;
    case RC_NOTFOUND:
    case RC_DENIED:
    case RC_INUSE:
    case RC_BUSY:
    case RC_IO:
        return EXIT_ACCESS;
    default:
        return EXIT_FAILED;
    }
}

int output_format(const char *text, const char *const *names)
{
    struct {
        char text[128];
        size_t n;
    } all = { "", 0 };
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
        int n = snprintf(all.text + all.n, sizeof(all.text) - all.n, "%s%s", i ? ", " : "", names[i]);
        if (n > 0 && (size_t)n < sizeof(all.text) - all.n)
            all.n += (size_t)n;
    }
    complain(0, "--output: %s is not one of %s", text, all.text);
    return -1;
}

/* ---- setting ---- */

/* Where a value came from, for messages: "--zk", "QUOLL_ZK", "quoll.yaml: zk". */
static int flag_set(const struct flag *f, const char *value, bool first, const char *where)
{
    switch (f->type) {
    case FLAG_BOOL:
        if (!value || strcmp(value, "true") == 0)
            *(bool *)f->dest = true;
        else if (strcmp(value, "false") == 0)
            *(bool *)f->dest = false;
        else
            return complain(-EXIT_USAGE, "%s: %s is neither true nor false", where, value);
        return 0;
    case FLAG_TEXT:
        free(*(char **)f->dest);
        *(char **)f->dest = x_strdup(value);
        return 0;
    case FLAG_LIST: {
        struct strs *l = f->dest;
        if (first) {
            for (size_t i = 0; i < l->len; i++)
                free(l->items[i]);
            l->len = 0;
        }
        strs_add(l, value);
        return 0;
    }
    case FLAG_INT:
        if (str_to_i64(value, f->min, f->max, f->dest) < 0)
            return complain(-EXIT_USAGE, "%s: %s is not a number from %lld to %lld", where, value, (long long)f->min,
                            (long long)f->max);
        return 0;
    case FLAG_LEVEL: {
        enum log_level level;
        if (log_level_parse(value, &level) < 0)
            return complain(-EXIT_USAGE, "%s: %s is not one of error, warn, info, debug", where, value);
        log_set_level(level);
        return 0;
    }
    }
    return 0;
}

static const struct flag *flag_find(const struct command *cmd, const char *name, size_t n, char letter)
{
    for (const struct flag *const *g = cmd->groups; *g; g++)
        for (const struct flag *f = *g; f->name; f++)
            if (name ? strlen(f->name) == n && memcmp(f->name, name, n) == 0 : f->letter && f->letter == letter)
                return f;
    return NULL;
}

static void env_name(const char *flag, char out[64])
{
    int n = snprintf(out, 64, "QUOLL_%s", flag);
    ASSERT(n > 0 && n < 64);
    for (char *p = out; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

static int flags_from_env(const struct command *cmd)
{
    for (const struct flag *const *g = cmd->groups; *g; g++)
        for (const struct flag *f = *g; f->name; f++) {
            char name[64];
            env_name(f->name, name);
            const char *value = getenv(name);
            if (!value)
                continue;
            char **parts = f->type == FLAG_LIST ? str_split(value, ",", NULL) : NULL;
            int rc = 0;
            for (size_t i = 0; parts && parts[i] && rc == 0; i++)
                rc = flag_set(f, parts[i], i == 0, name);
            if (!parts)
                rc = flag_set(f, value, true, name);
            str_split_free(parts);
            if (rc < 0)
                return rc;
        }
    return 0;
}

/* One "name: value" or "name: [values]" of the file. */
static int config_entry(const struct command *cmd, yaml_document_t *doc, yaml_node_t *key, yaml_node_t *value, const char *path)
{
    char where[512];
    if (key->type != YAML_SCALAR_NODE)
        return complain(-EXIT_USAGE, "%s:%zu: a name is expected", path, key->start_mark.line + 1);
    const char *name = (const char *)key->data.scalar.value;
    snprintf(where, sizeof(where), "%s:%zu: %s", path, key->start_mark.line + 1, name);
    const struct flag *f = flag_find(cmd, name, strlen(name), 0);
    if (!f)
        return 0; /* one file may serve several commands */
    if (value->type == YAML_SCALAR_NODE)
        return flag_set(f, (const char *)value->data.scalar.value, true, where);
    if (value->type != YAML_SEQUENCE_NODE || f->type != FLAG_LIST)
        return complain(-EXIT_USAGE, "%s: a plain value is expected", where);
    bool first = true;
    for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++, first = false) {
        yaml_node_t *item = yaml_document_get_node(doc, *i);
        if (item->type != YAML_SCALAR_NODE)
            return complain(-EXIT_USAGE, "%s: a list of plain values is expected", where);
        int rc = flag_set(f, (const char *)item->data.scalar.value, first, where);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int flags_from_file(const struct command *cmd, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return complain(-EXIT_ACCESS, "%s: %s", path, strerror(errno));
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_file(&parser, file);
    int rc = 0;
    if (!yaml_parser_load(&parser, &doc)) {
        rc = complain(-EXIT_USAGE, "%s:%zu: %s", path, parser.problem_mark.line + 1, parser.problem ? parser.problem : "bad YAML");
    } else {
        yaml_node_t *root = yaml_document_get_root_node(&doc);
        if (root && root->type != YAML_MAPPING_NODE)
            rc = complain(-EXIT_USAGE, "%s:%zu: a map of flag names is expected", path, root->start_mark.line + 1);
        else if (root)
            for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top && rc == 0; p++)
                rc = config_entry(cmd, &doc, yaml_document_get_node(&doc, p->key), yaml_document_get_node(&doc, p->value),
                                  path);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return rc;
}

/* The file must be read before argv, which may name it: flags win over the environment, that over the file. */
static const char *config_from_argv(int argc, char **argv)
{
    const char *found = getenv("QUOLL_CONFIG");
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (str_has_prefix(argv[i], "--config="))
            found = argv[i] + strlen("--config=");
        else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            found = argv[i + 1];
    }
    return found;
}

static int flags_from_argv(const struct command *cmd, int argc, char **argv, bool *ret_help)
{
    int n = 0;
    struct VEC(const struct flag *) seen = { 0 };
    int rc = 0;
    for (int i = 0; i < argc && rc == 0; i++) {
        char *a = argv[i];
        if (strcmp(a, "--") == 0) {
            for (i++; i < argc; i++)
                argv[n++] = argv[i];
            break;
        }
        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            *ret_help = true;
            break;
        }
        if (a[0] != '-' || a[1] == 0 || (a[1] >= '0' && a[1] <= '9')) {
            argv[n++] = a;
            continue;
        }
        bool is_long = a[1] == '-';
        const char *eq = is_long ? strchr(a, '=') : NULL;
        const struct flag *f = is_long ? flag_find(cmd, a + 2, eq ? (size_t)(eq - a - 2) : strlen(a + 2), 0)
                                       : (a[2] == 0 ? flag_find(cmd, NULL, 0, a[1]) : NULL);
        if (!f) {
            rc = complain(-EXIT_USAGE, "unknown flag %s; see 'quoll %s --help'", a, cmd->name);
            break;
        }
        const char *value = eq ? eq + 1 : NULL;
        if (!value && f->implied && (i + 1 >= argc || argv[i + 1][0] == '-'))
            value = f->implied;
        if (!value && f->type != FLAG_BOOL) {
            if (i + 1 >= argc) {
                rc = complain(-EXIT_USAGE, "--%s needs a value: --%s %s", f->name, f->name, f->arg);
                break;
            }
            value = argv[++i];
        }
        bool first = true;
        for (size_t k = 0; k < seen.len; k++)
            first = first && seen.items[k] != f;
        VEC_PUSH(&seen, f);
        char where[64];
        snprintf(where, sizeof(where), "--%s", f->name);
        rc = flag_set(f, value, first, where);
    }
    VEC_FREE(&seen);
    return rc < 0 ? rc : n;
}

int flags_parse(const struct command *cmd, int argc, char **argv, bool *ret_help)
{
    program_command = cmd->name;
    *ret_help = false;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *ret_help = true; /* help works whatever else is wrong */
            return 0;
        }
    const char *file = config_from_argv(argc, argv);
    int rc = file ? flags_from_file(cmd, file) : 0;
    if (rc == 0)
        rc = flags_from_env(cmd);
    if (rc < 0)
        return rc;
    int n = flags_from_argv(cmd, argc, argv, ret_help);
    if (n < 0 || *ret_help)
        return n;
    if (n < cmd->min_args)
        return complain(-EXIT_USAGE, "missing argument; usage: quoll %s %s", cmd->name, cmd->args);
    if (cmd->max_args >= 0 && n > cmd->max_args)
        return complain(-EXIT_USAGE, "unexpected argument %s; usage: quoll %s %s", argv[cmd->max_args], cmd->name, cmd->args);
    return n;
}

/* ---- help ---- */

static int terminal_width(void)
{
    struct winsize w;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40)
        return w.ws_col < 110 ? w.ws_col : 110;
    return 100;
}

/* Prints text wrapped to the width, with later lines indented. */
static void print_wrapped(const char *text, int indent, int width)
{
    int col = indent;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (col > indent && col + (int)n > width) {
            printf("\n%*s", indent, "");
            col = indent;
        }
        fwrite(text, 1, n, stdout);
        col += (int)n;
        text += n;
        if (*text == ' ') {
            text++;
            if (col < width)
                putchar(' ');
            col++;
        }
    }
    putchar('\n');
}

void command_help(const struct command *cmd)
{
    int width = terminal_width();
    printf("quoll %s %s%s[flags]\n\n", cmd->name, cmd->args, *cmd->args ? " " : "");
    printf("%s\n\nFlags:\n", cmd->text);
    for (const struct flag *const *g = cmd->groups; *g; g++)
        for (const struct flag *f = *g; f->name; f++) {
            char left[64];
            char letter[6] = "    ";
            if (f->letter)
                snprintf(letter, sizeof(letter), "-%c, ", f->letter);
            snprintf(left, sizeof(left), "  %s--%s%s%s", letter, f->name, f->arg ? " " : "", f->arg ? f->arg : "");
            printf("%-36s ", left);
            if (strlen(left) > 36)
                printf("\n%37s", "");
            print_wrapped(f->help, 37, width);
        }
    printf("  %s%-29s this text\n", "-h, ", "--help");
    printf("\nEvery flag may also be given as a variable (QUOLL_ZK for --zk) or in the file of --config; a flag wins.\n"
           "Exit status: 0 done; 1 failed; 2 wrong flag, argument or configuration; 3 a file, directory or port cannot be had;\n"
           "4 no such znode, service or name; 5 ZooKeeper did not answer in time.\n");
}
