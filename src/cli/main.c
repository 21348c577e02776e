/* main.c - picks the subcommand. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "cli.h"

static const struct {
    const char *title;
    const struct command *commands[8];
} groups[] = {
    { "Everything on this machine", { &cmd_up } },
    { "The parts", { &cmd_server, &cmd_sync, &cmd_dns } },
    { "Finding services", { &cmd_resolve, &cmd_services } },
    { "Znodes of any ZooKeeper ensemble", { &cmd_ls, &cmd_get, &cmd_set, &cmd_create, &cmd_rm, &cmd_stat, &cmd_ensemble } },
    { "Measuring and testing", { &cmd_bench, &cmd_sim } },
};

static void usage(FILE *out)
{
    fprintf(out, "quoll " QUOLL_VERSION " - ZooKeeper-compatible coordination and Kubernetes service discovery\n\n"
                 "Usage: quoll COMMAND [flags]\n");
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        fprintf(out, "\n%s:\n", groups[g].title);
        for (size_t i = 0; i < ARRAY_LEN(groups[g].commands) && groups[g].commands[i]; i++)
            fprintf(out, "  %-10s %s\n", groups[g].commands[i]->name, groups[g].commands[i]->summary);
    }
    fprintf(out, "\n'quoll COMMAND --help' teaches one command. First steps:\n"
                 "  quoll up --manifests examples/shop\n"
                 "  quoll resolve my-service.default\n");
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, ""); /* without it the C locale stands, which is fine */
    signal(SIGPIPE, SIG_IGN);
    if (argc > 0)
        program_path = argv[0];
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc == 2)) {
        usage(stdout);
        return EXIT_OK;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        puts("quoll " QUOLL_VERSION);
        return EXIT_OK;
    }
    bool help = strcmp(name, "help") == 0;
    if (help)
        name = argv[2];
    for (size_t g = 0; g < ARRAY_LEN(groups); g++)
        for (size_t i = 0; i < ARRAY_LEN(groups[g].commands) && groups[g].commands[i]; i++) {
            const struct command *cmd = groups[g].commands[i];
            if (strcmp(cmd->name, name) != 0)
                continue;
            int n = help ? 0 : flags_parse(cmd, argc - 2, argv + 2, &help);
            if (n < 0)
                return -n;
            if (help) {
                command_help(cmd);
                return EXIT_OK;
            }
            int code = cmd->run(n, argv + 2);
            if (fflush(stdout) != 0 && code == EXIT_OK)
                code = EXIT_FAILED; /* a full pipe or disk must not look like success */
            return code;
        }
    fprintf(stderr, "quoll: unknown command %s; 'quoll --help' lists them\n", name);
    return EXIT_USAGE;
}
