/* check.c - runs the checks and gathers what they find. */
#include <stdarg.h>
#include <stdio.h>

#include "check_internal.h"

static size_t limit_of(const struct check_report *r)
{
    return r->per_check ? r->per_check : 5;
}

bool check_full(const struct check_report *r, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < r->findings.len; i++)
        count += strcmp(r->findings.items[i].name, name) == 0;
    return count >= limit_of(r);
}

struct check_finding *check_add(struct check_report *r, const char *name, int64_t at_us, const char *fmt, ...)
{
    struct check_finding f = { .name = name, .at_us = at_us, .server = UINT32_MAX };
    char text[1024];
    va_list ap;

    if (check_full(r, name))
        return NULL;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* a long one is cut: it is for people */
    va_end(ap);
    f.text = x_strdup(text);
    VEC_PUSH(&r->findings, f);
    return &r->findings.items[r->findings.len - 1];
}

void check_involve(struct check_finding *f, const struct hist_op *op)
{
    struct wr w = wr_init(0);

    if (!f || !op)
        return;
    hist_op_print(&w, op);
    char *text = x_asprintf("%s\n  %s", f->text, wr_cstr(&w));
    free(f->text);
    f->text = text;
    VEC_PUSH(&f->ops, op->id);
    wr_free(&w);
}

void check_report_free(struct check_report *r)
{
    for (size_t i = 0; i < r->findings.len; i++) {
        free(r->findings.items[i].text);
        VEC_FREE(&r->findings.items[i].ops);
    }
    VEC_FREE(&r->findings);
}

void check_all(const struct check_input *in, struct check_report *ret)
{
    struct model *m = in->log_known ? model_new(in->log, in->log_len, in->extended_types) : NULL;

#define X(fn, name, text) check_##fn(in, m, ret);
    SIM_CHECKS(X)
#undef X
    model_free(m);
}
