/* quorum_internal.h - shared by the files that make and read configurations. */
#ifndef ZAB_QUORUM_INTERNAL_H
#define ZAB_QUORUM_INTERNAL_H

#include "zab/quorum.h"

void quorum_member_done(struct quorum_member *m);
struct quorum_member quorum_member_copy(const struct quorum_member *m);

/* Writes the reason, if err is not NULL, and returns rc. */
int quorum_fail(struct quorum_error *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The value of a server line. *ret is owned by the caller; untouched on error. */
int quorum_member_parse(int64_t sid, const char *value, bool multi_address, struct quorum_member *ret, struct quorum_error *err);
/* "host:q:e|host:q:e:role;client:port", as it is printed everywhere. */
void quorum_member_print(const struct quorum_member *m, struct wr *w);
int quorum_sid_parse(const char *text, int64_t *ret, struct quorum_error *err);

/* Adds or replaces; takes *m. RC_TOOBIG. */
int quorum_builder_put(struct quorum_builder *b, struct quorum_member *m, struct quorum_error *err);
void quorum_builder_drop(struct quorum_builder *b, int64_t sid); /* unknown: nothing happens */
/* The first other member for which clash(m, it) holds; NULL when there is none. */
const struct quorum_member *quorum_builder_find_clash(const struct quorum_builder *b, const struct quorum_member *m,
                                                      bool (*clash)(const struct quorum_member *a, const struct quorum_member *b));
void quorum_builder_version(struct quorum_builder *b, int64_t version);
/* Feeds every key and value of a properties text. */
int quorum_builder_text(struct quorum_builder *b, struct buf text, struct quorum_error *err);

#endif
