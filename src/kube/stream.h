/* stream.h - cuts a byte stream of JSON objects, one behind the other, into single objects.
 *
 * Purpose    A watch answer is one JSON object per event. The chunks it arrives in say nothing about where an
 *            object ends, so the end is found by counting braces outside of strings.
 * Ownership  The text handed to the callback is borrowed: for the call.
 * Threading  None; one caller at a time.
 * Source     Kubernetes API concepts, "Efficient detection of changes". */
#ifndef KUBE_STREAM_H
#define KUBE_STREAM_H

#include "base/bytes.h"

#define JSON_SPLIT_DEPTH_MAX 512

struct json_split {
    struct wr part; /* the beginning of an object whose end has not come yet */
    uint32_t depth;
    bool in_string, escaped;
    int rc; /* sticky */
};

/* max: the longest object in bytes that is accepted. */
void json_split_init(struct json_split *s, size_t max);
void json_split_free(struct json_split *s);
void json_split_reset(struct json_split *s); /* forgets a partial object and a sticky error */
/* Calls on_object for every object that is complete now; a non-zero return of it stops the call at once and is
 * returned. RC_MALFORMED: something else than an object, or nested too deep. RC_TOOBIG: longer than max. Both stick. */
int json_split_feed(struct json_split *s, const uint8_t *p, size_t n,
                    int (*on_object)(void *data, const char *text, size_t len), void *data);
/* False while the beginning of an object waits for its end. */
bool json_split_idle(const struct json_split *s);

#endif
