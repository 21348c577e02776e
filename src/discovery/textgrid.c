/* textgrid.c - aligned columns. */
#include "textgrid.h"

void textgrid_row(struct textgrid *g, const char *const *cells)
{
    size_t n = 0;
    for (; cells[n]; n++)
        VEC_PUSH(&g->cells, x_strdup(cells[n][0] ? cells[n] : "-"));
    if (g->columns == 0)
        g->columns = n;
    ASSERT(n == g->columns);
    ASSERT(n <= TEXTGRID_COLUMNS_MAX);
}

void textgrid_write(struct textgrid *g, struct wr *out)
{
    size_t width[TEXTGRID_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < g->cells.len; i++)
        width[i % g->columns] = MAX(width[i % g->columns], strlen(g->cells.items[i]));
    for (size_t i = 0; i < g->cells.len; i++) {
        size_t column = i % g->columns;
        wr_text(out, g->cells.items[i]);
        if (column + 1 == g->columns)
            wr_text(out, "\n");
        else
            wr_printf(out, "%*s", (int)(width[column] - strlen(g->cells.items[i]) + 2), "");
        free(g->cells.items[i]);
    }
    VEC_FREE(&g->cells);
}
