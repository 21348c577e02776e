/* source.h - what both kinds of sources are underneath. Private to the module. */
#ifndef KUBE_SOURCE_H
#define KUBE_SOURCE_H

#include "kube/kube.h"

struct kube_source {
    const struct kube_source_ops {
        void (*stats)(const struct kube_source *s, struct kube_stats *ret);
        void (*close)(struct kube_source *s); /* calls kube_source_closed when all is freed */
    } *ops;
    struct kube_handler handler;
    char *text;
    bool closing; /* no callback any more */
    void (*closed)(void *data);
    void *closed_data;
};

void kube_source_problem(struct kube_source *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Frees the text and the source (its first member) and tells the user. */
void kube_source_closed(struct kube_source *s);

#endif
