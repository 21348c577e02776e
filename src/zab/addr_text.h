/* addr_text.h - "host:port:port" as server lines and the initial message write it. */
#ifndef ZAB_ADDR_TEXT_H
#define ZAB_ADDR_TEXT_H

#include "base/bytes.h"

/* Splits at colons; a host that starts with `[` ends at `]` and loses both. Parts borrow from text. Returns how many there are, which
 * may be more than max (only max are stored), or -1 when brackets are wrong. */
int addr_text_split(struct buf text, struct buf *parts, int max);
/* A decimal port, 1..65535. */
bool addr_text_port(struct buf text, uint16_t *ret);

#endif
