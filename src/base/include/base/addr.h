/* addr.h - socket addresses as text. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <sys/socket.h>

#include "base/core.h"

#define ADDR_TEXT_MAX 64 /* "[ipv6%scope]:65535" and its NUL */

/* Parses "1.2.3.4:53", "[::1]:53", ":53" (any address, IPv6 dual-stack) or "localhost:53" (127.0.0.1).
 * Literal addresses only, no name look-up. RC_INVAL on anything else; *ret is untouched then. */
int addr_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);
/* "1.2.3.4:53" / "[::1]:53". */
void addr_format(const struct sockaddr *sa, char out[ADDR_TEXT_MAX]);
/* The address without the port or brackets. IPv4-mapped IPv6 is shown as IPv4. */
void addr_format_ip(const struct sockaddr *sa, char out[ADDR_TEXT_MAX]);
int addr_port(const struct sockaddr *sa);

#endif
