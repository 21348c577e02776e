/* cli.h - what the subcommands share: the command table, flags, exit codes. Private to the program. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/core.h"
#include "base/log.h"

/* Exit codes, the same for every subcommand; shown by --help. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,      /* the operation failed */
    EXIT_USAGE = 2,       /* a flag, an argument or a configuration file is wrong */
    EXIT_ACCESS = 3,      /* a file, a directory, or a port cannot be had */
    EXIT_NOT_FOUND = 4,   /* no such znode, service or name */
    EXIT_UNREACHABLE = 5, /* ZooKeeper did not answer in time */
};

struct strs {
    char **items; /* owned */
    size_t len, cap;
};

enum flag_type {
    FLAG_BOOL,  /* bool *        --name, --name=false */
    FLAG_TEXT,  /* char **       owned; the last one wins */
    FLAG_LIST,  /* struct strs * repeats; the first use replaces the default */
    FLAG_INT,   /* int64_t *     with min and max */
    FLAG_LEVEL, /* applies --log-level at once */
};
struct flag {
    const char *name; /* without the dashes; the environment's name is QUOLL_ and this in capitals */
    char letter;      /* 0: none */
    enum flag_type type;
    const char *arg;  /* placeholder, e.g. "ADDR:PORT" */
    const char *help; /* wrapped by the printer */
    void *dest;
    int64_t min, max; /* FLAG_INT */
    const char *implied; /* FLAG_TEXT: the value of --name alone, at the end or before another flag; NULL: it needs one */
};

struct command {
    const char *name;
    const char *args;    /* positional arguments, e.g. "PATH [VALUE]" */
    const char *summary; /* one line, for the list */
    const char *text;    /* paragraphs and examples */
    const struct flag *const *groups; /* arrays ended by a NULL name; this array ended by NULL */
    int min_args, max_args;           /* max -1: any */
    int (*run)(int argc, char **argv); /* positionals; returns an exit code */
};

extern const struct command cmd_server, cmd_sync, cmd_dns, cmd_up, cmd_resolve, cmd_services, cmd_ls, cmd_get, cmd_set,
    cmd_create, cmd_rm, cmd_stat, cmd_ensemble, cmd_bench, cmd_sim;

/* As it was called: what a person can type again. */
extern const char *program_path;

/* The flags that most commands have. */
extern const struct flag log_flags[]; /* --log-level, --config */

/* Reads environment, configuration file and argv into the flags' destinations. Returns the number of positionals left
 * in argv[0..n), or a negative exit code after one line on stderr; -EXIT_OK is told apart by *ret_help (--help). */
int flags_parse(const struct command *cmd, int argc, char **argv, bool *ret_help);
void command_help(const struct command *cmd);

/* One line on stderr: "quoll ls: text". Returns code. */
int complain(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* An exit code for one of our result codes. */
int exit_code_of(int rc);

void strs_add(struct strs *l, const char *s);

/* --output: index into a NULL-ended list of names, or -1 after a complaint. */
int output_format(const char *text, const char *const *names);

#endif
