/* wire_util.h - bytes written as hexadecimal digits, and the recorded traffic between Apache's servers. */
#ifndef TEST_WIRE_UTIL_H
#define TEST_WIRE_UTIL_H

#include "base/bytes.h"

/* Appends the bytes of a text of hexadecimal digits; blanks and `|` between them are skipped; 'text' in quotes stands for itself. */
void wire_hex(struct wr *w, const char *hex);

/* One direction of one recorded connection, its segments joined. */
struct wire_stream {
    const char *file;
    int stream, server_port;
    bool to_server;
    struct wr bytes;
};
struct wire_streams {
    struct wire_stream *items;
    size_t len, cap;
};
/* Every stream of every recording that has bytes; fails the test when there is none. */
struct wire_streams wire_load(const char *dir);
void wire_free(struct wire_streams *s);

#endif
