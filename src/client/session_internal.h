/* session_internal.h - what the two halves of the session share: session.c has the connection's life, exchange.c the
 * requests, replies and events on it. */
#ifndef CLIENT_SESSION_INTERNAL_H
#define CLIENT_SESSION_INTERNAL_H

#include "session.h"

/* session.c */
/* Ends the connection or attempt: in-flight requests fail, the next dial is planned. */
void session_drop(struct session *s, const char *why);
void session_set_state(struct session *s, enum quoll_state state, unsigned drop_watchers);
/* Every request fails with err; final. */
void session_die(struct session *s, enum quoll_state state, int err);
void session_finish(struct session *s);

/* exchange.c */
void exchange_frame(struct session *s, const uint8_t *p, size_t n);
/* The first bytes of a reply that is larger than cfg.max_buffer. False: not one that can be passed over. */
bool exchange_oversized(struct session *s, const uint8_t *header);
/* After the handshake: auth, watches, then what waits in the queue. */
void exchange_resume(struct session *s);
void exchange_ping(struct session *s);
void exchange_send_close(struct session *s);
/* Fails every request of *from, which is emptied first so that callbacks may submit. */
void exchange_fail(struct session *s, struct list *from, int err);
void exchange_fail_auths(struct session *s, int err);
void exchange_deadlines(struct session *s);
void exchange_answer_local(struct session *s);
/* Moves all of src to the end of dst. */
void exchange_move(struct list *dst, struct list *src);

#endif
