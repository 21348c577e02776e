/* properties.h - reads a text in the syntax of Java properties, pair by pair: comments, separators, continued lines, escapes. Private to server. */
#ifndef SERVER_PROPERTIES_H
#define SERVER_PROPERTIES_H

#include "base/bytes.h"

struct properties {
    const char *p, *end;   /* borrowed; p: behind the pair read last */
    int line;              /* of p */
    struct wr key, value;  /* of the pair; blanks behind the value are trimmed, as the reference does */
    int key_line;          /* where it begins */
    const char *raw;       /* the beginning of that line: up to p, the text of the pair */
    struct wr logical;
};

struct properties properties_init(const char *text, size_t n);
void properties_done(struct properties *r);
/* 1: a pair; 0: the end; RC_MALFORMED: a \u escape without four hexadecimal digits. */
int properties_next(struct properties *r);

#endif
