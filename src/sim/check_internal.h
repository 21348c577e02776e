/* check_internal.h - what the checks share. */
#ifndef SIM_CHECK_INTERNAL_H
#define SIM_CHECK_INTERNAL_H

#include "check.h"
#include "model.h"

/* Adds a finding, unless its check has enough already: NULL then. The result is valid until the next one. */
struct check_finding *check_add(struct check_report *r, const char *name, int64_t at_us, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Adds an operation to a finding, as a line of its text too. Either may be NULL. */
void check_involve(struct check_finding *f, const struct hist_op *op);
/* Does the check have all the findings it may have? */
bool check_full(const struct check_report *r, const char *name);

#endif
