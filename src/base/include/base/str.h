/* str.h - parsing of text that came from people: numbers, lists, base64. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/bytes.h"

/* Whole-string parse with range check; RC_INVAL or RC_MALFORMED, *ret untouched on error. */
int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
bool str_ieq(const char *a, const char *b);        /* ASCII case-insensitive; NULLs are equal only to NULL */
bool str_has_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);
/* Splits at any byte of `seps`, trims blanks, drops empty parts. Returns owned array of owned strings, NULL
 * at its end; count in *ret_count if not NULL. Free with str_split_free. */
char **str_split(const char *s, const char *seps, size_t *ret_count);
void str_split_free(char **parts);
/* Standard base64 with padding (RFC 4648 section 4). Encode returns owned text. Decode accepts line breaks,
 * returns owned bytes through *ret and their count, or RC_MALFORMED. */
char *base64_encode(const void *p, size_t n);
int64_t base64_decode(const char *text, size_t n, uint8_t **ret);
/* Reads a whole file of at most max bytes: owned bytes with a NUL behind them that is not counted.
 * RC_NOTFOUND, RC_DENIED, RC_TOOBIG, RC_IO; errno is left set. */
int file_read(const char *path, size_t max, uint8_t **ret, size_t *ret_len);

#endif
