/* table_internal.h - what the feed from ZooKeeper needs of the table beyond its contract. */
#ifndef DISCOVERY_TABLE_INTERNAL_H
#define DISCOVERY_TABLE_INTERNAL_H

#include "discovery/table.h"

struct table_feed;

/* With a schedule function, changes call it instead of the listeners; it calls table_notify once, later. */
void table_set_scheduler(struct svc_table *t, void (*schedule)(void *data), void *data);
void table_notify(struct svc_table *t);
struct table_feed **table_feed_slot(struct svc_table *t);

#endif
