/* rc.h - the result codes of our own functions.
 *
 * A fallible function returns 0 (or a count) or a negative enum rc. ZooKeeper error codes and DNS
 * rcodes are protocol values and live elsewhere (jute/proto.h, dns/dns.h). */
#ifndef BASE_RC_H
#define BASE_RC_H

#define RC_TABLE(X)                                                                                          \
    X(OK, 0, "success")                                                                                      \
    X(NOMEM, -1, "out of memory")                                                                            \
    X(SHORT, -2, "input ends too early")                                                                     \
    X(MALFORMED, -3, "malformed input")                                                                      \
    X(TOOBIG, -4, "larger than the limit")                                                                   \
    X(NOSPACE, -5, "no room in the output")                                                                  \
    X(CORRUPT, -6, "data on disk is corrupt")                                                                \
    X(IO, -7, "input/output error")                                                                          \
    X(NOTFOUND, -8, "not found")                                                                             \
    X(EXISTS, -9, "exists already")                                                                          \
    X(INVAL, -10, "invalid argument")                                                                        \
    X(TIMEOUT, -11, "timed out")                                                                             \
    X(CLOSED, -12, "closed")                                                                                 \
    X(BUSY, -13, "busy")                                                                                     \
    X(UNSUPPORTED, -14, "not supported")                                                                     \
    X(DENIED, -15, "permission denied")                                                                      \
    X(UNAVAIL, -16, "not available now")                                                                     \
    X(CANCELLED, -17, "cancelled")                                                                           \
    X(INUSE, -18, "address already in use")                                                                  \
    X(EXPIRED, -19, "expired")

enum rc {
#define X(name, value, text) RC_##name = value,
    RC_TABLE(X)
#undef X
};

/* Returns a short English text for rc; never NULL. */
const char *rc_str(int rc);

#endif
