/* server_driver.c - the server alone, without the command line around it: for tests that put another disk under it.
 *
 *   server_driver [--data DIR] [--config ZOO.CFG] [--listen ADDR:PORT] [--set KEY=VALUE]... [--disk real|volatile|lying|faulty:CONTROL-FILE]
 *
 * Prints "ready PORT" on standard output once it serves. SIGTERM and SIGINT stop it in good order. Exit codes: 0, 1 a failed start
 * (one line on standard error), 2 wrong arguments, 3 the server gave up. */
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "server/server.h"
#include "faulty_vfs.h"
#include "volatile_vfs.h"

static int usage(const char *why)
{
    fprintf(stderr, "server_driver: %s\n", why);
    return 2;
}

static bool set_pair(struct server_config *cfg, const char *pair, struct storage_error *err)
{
    char *key = x_strdup(pair), *eq = strchr(key, '=');
    int rc = RC_INVAL;

    if (eq) {
        *eq = '\0';
        rc = server_config_set(cfg, key, eq + 1, err);
    }
    free(key);
    return rc == 0;
}

static bool add_listen(struct server_config *cfg, const char *text)
{
    cfg->listen = x_reallocarray(cfg->listen, cfg->listen_count + 1, sizeof(*cfg->listen));
    cfg->listen[cfg->listen_count++] = x_strdup(text);
    return true;
}

/* volatile: what was not synced is lost with the process. lying: and nothing ever is synced. faulty: as its control file says. */
static bool set_disk(struct server_config *cfg, const char *name)
{
    if (strcmp(name, "real") == 0)
        cfg->vfs = NULL;
    else if (strcmp(name, "volatile") == 0 || strcmp(name, "lying") == 0)
        cfg->vfs = volatile_vfs_new(vfs_posix(), strcmp(name, "lying") == 0);
    else if (strncmp(name, "faulty:", 7) == 0)
        cfg->vfs = faulty_vfs_new(name + 7);
    else
        return false;
    return true;
}

static bool parse(struct server_config *cfg, int argc, char **argv, struct storage_error *err)
{
    for (int i = 1; i < argc; i += 2) {
        const char *flag = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool ok = false;

        if (!value)
            snprintf(err->text, sizeof(err->text), "%s: a value is missing", flag);
        else if (strcmp(flag, "--data") == 0)
            ok = server_config_set(cfg, "dataDir", value, err) == 0;
        else if (strcmp(flag, "--config") == 0)
            ok = server_config_read(cfg, value, err) == 0;
        else if (strcmp(flag, "--listen") == 0)
            ok = add_listen(cfg, value);
        else if (strcmp(flag, "--set") == 0)
            ok = set_pair(cfg, value, err);
        else if (strcmp(flag, "--disk") == 0)
            ok = set_disk(cfg, value);
        else
            snprintf(err->text, sizeof(err->text), "%s: unknown flag", flag);
        if (!ok)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct server_config cfg;
    struct storage_error err = { "wrong arguments" };
    struct server *s;
    sigset_t set;
    int sig;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL); /* every thread inherits it: only sigwait below sees them */
    server_config_init(&cfg);
    (void)server_config_set(&cfg, "4lw.commands.whitelist", "*", &err);
    if (!parse(&cfg, argc, argv, &err))
        return usage(err.text);
    if (server_start(&cfg, &s, &err) < 0) {
        fprintf(stderr, "server_driver: %s\n", err.text);
        server_config_free(&cfg);
        return 1;
    }
    printf("ready %d\n", server_port(s, 0));
    fflush(stdout);
    sigwait(&set, &sig);
    server_stop(s);
    server_config_free(&cfg);
    return 0;
}
