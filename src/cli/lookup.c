/* lookup.c - a service table for commands that ask it. */
#include "lookup.h"

int lookup_open(struct lookup *l, const char *root, const char *cluster)
{
    *l = (struct lookup){ 0 };
    int code = zk_open(&l->zk);
    if (code != EXIT_OK)
        return code;
    l->table = table_new();
    int rc = table_attach(l->table, l->zk.client, root ? root : REGISTRY_ROOT_DEFAULT,
                          cluster ? cluster : REGISTRY_CLUSTER_DEFAULT);
    if (rc < 0)
        code = complain(EXIT_USAGE, "--registry-root, --cluster: %s", rc_str(rc));
    while (code == EXIT_OK && !table_synced(l->table) && !l->zk.expired)
        uv_run(&l->zk.loop, UV_RUN_ONCE);
    if (code == EXIT_OK && !table_synced(l->table))
        code = complain(EXIT_UNREACHABLE, "the registry could not be read within %.1f s; --timeout gives it longer",
                        (double)zk_timeout_ms / 1000);
    if (code != EXIT_OK)
        lookup_close(l);
    return code;
}

void lookup_close(struct lookup *l)
{
    if (l->table) {
        table_detach(l->table);
        table_free(l->table);
        l->table = NULL;
    }
    zk_close(&l->zk);
}
