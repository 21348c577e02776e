/* yaml_doc.h - YAML and JSON files as jansson values, with the line numbers that people need.
 *
 * Purpose    Manifests and kubeconfig files. Scalars follow the YAML 1.2 core schema: a quoted scalar is a string,
 *            `80` an integer, `yes` and `no` are strings. Anchors, aliases and the merge key `<<` work, and their
 *            expansion is bounded. A file is cut at its `---` lines first, so one broken document does not
 *            take the others with it.
 * Ownership  A yaml_docs owns its documents. The text given to yaml_load is borrowed until yaml_docs_free when
 *            yaml_locate is used.
 * Source     YAML 1.2.2 chapters 9.1 and 10.3; merge key: yaml.org/type/merge. */
#ifndef KUBE_YAML_DOC_H
#define KUBE_YAML_DOC_H

#include <jansson.h>

#include "base/core.h"

#define YAML_DEPTH_MAX 256
#define YAML_NODES_MAX 1000000        /* values of one document, aliases expanded */
#define YAML_BYTES_MAX (64u << 20)    /* text of one document, aliases expanded */

struct yaml_doc {
    json_t *json;      /* never null JSON; NULL when .error is set */
    char *error;       /* what is wrong, without file and line; or NULL */
    uint32_t line;     /* 1-based: where the document starts, or where the error is */
    /* Where it came from, for yaml_locate: a slice of the text and the document's number in it. */
    const char *text;
    size_t text_len;
    uint32_t text_line, index;
};
struct yaml_docs VEC(struct yaml_doc);

/* Reads every document of `text`. Empty documents are left out. Errors are documents of their own.
 * json: the file says that it is JSON, so syntax errors are told in JSON's terms. */
void yaml_load(const char *text, size_t n, bool json, struct yaml_docs *ret);
void yaml_docs_free(struct yaml_docs *docs);
/* The line of the value at `path` ("spec.ports[0].port", "metadata.labels[a.b/c]"), or of the nearest value
 * around it that exists. */
uint32_t yaml_locate(const struct yaml_doc *doc, const char *path);

#endif
