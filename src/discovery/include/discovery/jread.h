/* jread.h - checked reading of fields out of JSON that came from outside: the registry's nodes, the
 * Kubernetes API.
 *
 * The first problem sticks, as in struct rd: a decoder is a straight list of fields with one check at the
 * end, and what is reported names the field ("ports[2].port: must be 1..65535"). A field that is null counts
 * as absent. `at` is the place of the object inside the document, "" or ending in a dot ("ports[2].").
 * Ownership  strings and containers borrow from the document; the problem is the reader's, free it with
 * jread_done. */
#ifndef DISCOVERY_JREAD_H
#define DISCOVERY_JREAD_H

#include <jansson.h>

#include "base/core.h"

struct jread {
    char *problem; /* NULL: none yet */
};

void jread_fail(struct jread *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Absent gives `def`; a value of another type is a problem and gives `def` too. */
const char *jread_str(struct jread *r, const json_t *obj, const char *at, const char *key, const char *def);
int64_t jread_int(struct jread *r, const json_t *obj, const char *at, const char *key, int64_t min,
                  int64_t max, int64_t def);
bool jread_bool(struct jread *r, const json_t *obj, const char *at, const char *key, bool def);
/* NULL when absent. json_array_size and json_object_foreach accept NULL. */
json_t *jread_array(struct jread *r, const json_t *obj, const char *at, const char *key);
json_t *jread_object(struct jread *r, const json_t *obj, const char *at, const char *key);
/* Element i of an array, which must be of that type; NULL and a problem otherwise. */
const char *jread_str_at(struct jread *r, const json_t *array, size_t i, const char *at, const char *key);
json_t *jread_object_at(struct jread *r, const json_t *array, size_t i, const char *at, const char *key);
/* Moves the problem to *ret (if not NULL, else frees it): RC_MALFORMED, or 0 when there is none. */
int jread_done(struct jread *r, char **ret);

#endif
