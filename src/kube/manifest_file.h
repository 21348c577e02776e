/* manifest_file.h - one file's text as Kubernetes objects; and many files' objects as one wanted set. Pure: no I/O.
 *
 * Ownership  A manifest_objects owns its elements; a wanted set owns references to JSON values.
 * Threading  None. */
#ifndef KUBE_MANIFEST_FILE_H
#define KUBE_MANIFEST_FILE_H

#include "base/map.h"
#include "kube/kube.h"
#include "validate.h"

struct manifest_object {
    enum manifest_kind kind;
    char *key; /* "<kind number>/<namespace>/<name>": unique for an object, sorts by kind */
    json_t *json;
    uint32_t line; /* of its document */
};

struct manifest_objects VEC(struct manifest_object);

struct manifest_sink {
    void *data;
    void (*problem)(void *data, const char *file, uint32_t line, const char *text);
};

/* Reads `text` and replaces what *objects held from an earlier state of the same file. What is malformed is reported; its
 * last good version stays in *objects, or all of the former objects when it cannot be told which one it was. */
void manifest_file_update(const char *file, const char *text, size_t n, struct manifest_objects *objects,
                          const struct manifest_sink *sink);
void manifest_objects_free(struct manifest_objects *objects);

/* The objects of a source, as delivered: key (see manifest_key) -> json_t. Add every file, in order of precedence, then
 * finish once. sink may be NULL: an object that an earlier file has is left out without a word. */
struct manifest_set {
    struct strmap objects;   /* delivered kinds */
    struct strmap endpoints; /* namespace/name -> Endpoints, until finished */
    struct strmap sliced;    /* namespace/service -> has a slice of its own */
};
void manifest_set_add(struct manifest_set *set, const char *file, const struct manifest_objects *objects,
                      const struct manifest_sink *sink);
void manifest_set_finish(struct manifest_set *set);
void manifest_set_free(struct manifest_set *set);
/* "<enum kube_kind>/<namespace>/<name>", owned; and back: *kind and borrowed pointers into `key`, whose second slash
 * is not changed, so ns has ns_len bytes. */
char *manifest_key(enum kube_kind kind, const char *ns, const char *name);

#endif
