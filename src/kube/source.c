/* source.c - the part that API sources and manifest sources share. */
#include "source.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"

void kube_source_stats(const struct kube_source *s, struct kube_stats *ret)
{
    *ret = (struct kube_stats){ 0 };
    s->ops->stats(s, ret);
}

const char *kube_source_text(const struct kube_source *s)
{
    return s->text;
}

void kube_source_close(struct kube_source *s, void (*closed)(void *data), void *data)
{
    if (!s)
        return;
    ASSERT(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_data = data;
    s->ops->close(s);
}

void kube_source_problem(struct kube_source *s, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    if (s->closing || !s->handler.on_problem)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap); /* a line for people may be cut */
    va_end(ap);
    s->handler.on_problem(s->handler.data, line);
}

void kube_source_closed(struct kube_source *s)
{
    void (*closed)(void *) = s->closed;
    void *data = s->closed_data;
    free(s->text);
    free(s);
    if (closed)
        closed(data);
}
