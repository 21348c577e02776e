/* lookup.h - a service table for commands that ask it: connect, fill, ask. */
#ifndef CLI_LOOKUP_H
#define CLI_LOOKUP_H

#include "discovery/table.h"
#include "zk.h"

struct lookup {
    struct zk zk;
    struct svc_table *table;
};
/* Connects and waits until the table is complete. EXIT_OK, or an exit code after a complaint. */
int lookup_open(struct lookup *l, const char *root, const char *cluster);
void lookup_close(struct lookup *l);

#endif
