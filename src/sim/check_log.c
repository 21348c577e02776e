/* check_log.c - log.valid: what the model stumbled over when it replayed the committed log. */
#include "check_internal.h"

void check_log(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    for (size_t i = 0; m && i < m->problems.len; i++)
        (void)check_add(ret, "log.valid", m->problems.items[i].at_us, "%s", m->problems.items[i].text);
}
