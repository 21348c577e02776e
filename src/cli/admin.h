/* admin.h - the pages of the admin HTTP endpoint. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "http/http.h"
#include "parts.h"

/* Routes over the parts, which are borrowed. Free the array with free(). */
struct http_route *admin_routes(struct parts *p);

#endif
