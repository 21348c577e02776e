/* check_protocol.c - history.protocol: what the clients themselves could tell was wrong. */
#include "check_internal.h"

void check_protocol(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    for (size_t i = 0; i < in->h->marks.len; i++) {
        const struct hist_mark *k = &in->h->marks.items[i];
        struct check_finding *f;

        if (k->type != HIST_PROTOCOL)
            continue;
        f = check_add(ret, "history.protocol", k->at_us, "client %u, session 0x%llx: %s", k->client,
                      (unsigned long long)k->session_id, k->text);
        if (f)
            f->server = k->server;
    }
}
