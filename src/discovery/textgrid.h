/* textgrid.h - columns for people: cells are collected, widths follow the widest, two blanks between, none at
 * the end. */
#ifndef DISCOVERY_TEXTGRID_H
#define DISCOVERY_TEXTGRID_H

#include "base/bytes.h"

#define TEXTGRID_COLUMNS_MAX 12

struct textgrid {
    struct VEC(char *) cells; /* row by row */
    size_t columns;
};

/* Adds one row of g->columns texts; the first call sets how many: `cells` ends with NULL. "" is shown as "-".
 */
void textgrid_row(struct textgrid *g, const char *const *cells);
void textgrid_write(struct textgrid *g, struct wr *out); /* and frees g */

#endif
